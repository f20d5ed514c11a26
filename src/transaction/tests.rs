//! The power is cut before every single change, and again before every change of the recovery.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

const OLD_LINK: &str = "/etc/ssl/certs/0a0a0a0a.0";
const NEW_LINK: &str = "/etc/ssl/certs/0b0b0b0b.0";

/// A machine with a pair behind a link, a trust directory with the old hash link, and room for a
/// file that is not there yet.
fn machine() -> (tempfile::TempDir, Root) {
    // In memory where there is such a place: the order of changes is what is tested here, and a
    // thousand runs flush a lot. What the disk keeps is tested by real power cuts.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    for sub in ["etc/ssl/certs", "etc/ssl/private", "etc/dovecot", "var/lib"] {
        std::fs::create_dir_all(dir.path().join(sub)).unwrap();
    }
    std::fs::write(dir.path().join("etc/ssl/private/x.key"), "old key").unwrap();
    std::fs::write(dir.path().join("etc/ssl/certs/x.pem"), "old certificate").unwrap();
    symlink("/etc/ssl/certs/x.pem", dir.path().join("etc/dovecot/x.pem")).unwrap();
    symlink("x.pem", dir.path().join(OLD_LINK.trim_start_matches('/'))).unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

fn changes() -> Vec<Change> {
    let file = |path: &str, content: &str| Change::File {
        path: path.into(),
        content: Secret::new(content),
        attributes: own_attributes(0o600),
        exact: false,
    };
    vec![
        file("/etc/ssl/private/x.key", "new key"),
        file("/etc/dovecot/x.pem", "new certificate"),
        file("/etc/ssl/combined.pem", "new both"),
        Change::Link { path: NEW_LINK.into(), target: "x.pem".into() },
        Change::Remove { path: OLD_LINK.into() },
    ]
}

/// Everything outside our own directory: path, and content or target.
fn state(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap) {
        let path = entry.path();
        let name = Path::new("/").join(path.strip_prefix(dir).unwrap());
        if name.starts_with("/var/lib/reseed") || entry.file_type().is_dir() {
            continue;
        }
        let content = if entry.path_is_symlink() {
            format!("-> {}", std::fs::read_link(path).unwrap().display())
        } else {
            std::fs::read_to_string(path).unwrap()
        };
        found.insert(name, content);
    }
    found
}

fn run(root: &Root) -> Result<(), PathError> {
    let backup = Backup::new("/var/lib/reseed/backups/run/hook".into(), Some("before".into()));
    let staged = Staged::begin(root, "run-hook", &changes(), "recorded".into(), Some(backup))?;
    let committed = staged.swap()?.commit()?;
    committed.finish()
}

fn put_in_order(root: &Root) -> Result<Option<String>, PathError> {
    let recovery = recover(root)?;
    if let Some((_, error)) = recovery.stuck.into_iter().next() {
        return Err(error);
    }
    let mut payload = None;
    for one in recovery.committed {
        payload = Some(one.payload().to_owned());
        one.finish()?;
    }
    Ok(payload)
}

#[test]
fn all_new_when_nothing_happens() {
    let (dir, root) = machine();
    run(&root).unwrap();
    let found = state(dir.path());
    assert_eq!(found[Path::new("/etc/ssl/private/x.key")], "new key");
    assert_eq!(found[Path::new("/etc/ssl/certs/x.pem")], "new certificate");
    assert_eq!(found[Path::new("/etc/dovecot/x.pem")], "-> /etc/ssl/certs/x.pem");
    assert_eq!(found[Path::new("/etc/ssl/combined.pem")], "new both");
    assert_eq!(found[Path::new(NEW_LINK)], "-> x.pem");
    assert!(!found.contains_key(Path::new(OLD_LINK)));
    assert_eq!(found.len(), 5, "no litter: {found:?}");
    assert!(!is_interrupted(&root).unwrap());
}

#[test]
fn survives_a_crash_before_any_change() {
    let (dir, root) = machine();
    let old = state(dir.path());
    run(&root).unwrap();
    let new = state(dir.path());
    let steps = root.changes_of(|root| run(root).unwrap_or_default());
    let (mut crashes, mut kept_old, mut kept_new) = (0, 0, 0);
    for step in 0..=steps {
        let mut second = 0;
        loop {
            let (dir, root) = machine();
            root.cut_power_after(step);
            let outcome = run(&root);
            // The power is back; it may go again before the recovery is through.
            let again = Root::open(dir.path()).unwrap();
            again.cut_power_after(second);
            let interrupted = put_in_order(&again);
            let last = Root::open(dir.path()).unwrap();
            let payload = put_in_order(&last).unwrap_or_else(|error| panic!("{step}/{second}: {error}"));
            let found = state(dir.path());
            assert!(found == old || found == new, "{step}/{second}: a mixture: {found:?}");
            if let Some(payload) = payload.or(interrupted.as_ref().ok().cloned().flatten()) {
                assert_eq!((payload.as_str(), &found), ("recorded", &new), "{step}/{second}");
            }
            if outcome.is_ok() {
                assert_eq!(found, new, "{step}/{second}: what was reported as done is done");
            }
            assert!(!is_interrupted(&last).unwrap(), "{step}/{second}");
            run(&last).unwrap_or_else(|error| {
                // The link that is to be removed is gone once the new state stands.
                assert!(error.to_string().contains("not there to be removed"), "{step}/{second}: {error}");
            });
            if found == old {
                kept_old += 1
            } else {
                kept_new += 1
            }
            crashes += 1;
            if interrupted.is_ok() {
                break;
            }
            second += 1;
        }
    }
    println!("{crashes} stops, {steps} changes in a run: {kept_old} all old, {kept_new} all new, 0 mixed");
    assert!(steps > 30 && kept_old > 30 && kept_new > 3, "{steps} {kept_old} {kept_new}");
}

/// Then no file and no directory is flushed by itself, but the file system as a whole.
#[test]
fn survives_a_crash_with_more_directories_than_are_flushed_one_by_one() {
    let many = || {
        let (dir, root) = machine();
        for number in 0..ONE_BY_ONE + 8 {
            let directory = dir.path().join(format!("srv/{number}"));
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("x"), "old").unwrap();
        }
        (dir, root)
    };
    let all = |root: &Root| {
        let changes: Vec<_> = (0..ONE_BY_ONE + 8)
            .map(|number| Change::File {
                path: format!("/srv/{number}/x").into(),
                content: Secret::new("new"),
                attributes: own_attributes(0o600),
                exact: false,
            })
            .collect();
        Staged::begin(root, "many", &changes, "recorded".into(), None)?.swap()?.commit()?.finish()
    };
    let (dir, root) = many();
    let old = state(dir.path());
    root.cut_power_after(usize::MAX);
    all(&root).unwrap();
    let (steps, new) = (root.changes(), state(dir.path()));
    let (mut kept_old, mut kept_new) = (0, 0);
    for step in 0..=steps {
        let (dir, root) = many();
        root.cut_power_after(step);
        let outcome = all(&root);
        // Every seventh recovery is cut, too.
        let again = Root::open(dir.path()).unwrap();
        if step % 7 == 0 {
            again.cut_power_after(step / 7);
        }
        let _ = put_in_order(&again);
        put_in_order(&Root::open(dir.path()).unwrap()).unwrap_or_else(|error| panic!("{step}: {error}"));
        let found = state(dir.path());
        assert!(found == old || found == new, "{step}: a mixture: {found:?}");
        assert!(outcome.is_err() || found == new, "{step}: what was reported as done is done");
        if found == old {
            kept_old += 1;
        } else {
            kept_new += 1;
        }
    }
    println!("{steps} stops in {} directories: {kept_old} all old, {kept_new} all new", ONE_BY_ONE + 8);
    // Made, owned, written, kept, swapped, cleared; and the flushes, with those of the journal.
    let changes = 6 * (ONE_BY_ONE + 8);
    assert!(steps > changes && steps < changes + ONE_BY_ONE, "{steps}: flushed one by one");
    assert!(kept_old > 30 && kept_new > 3, "{kept_old} {kept_new}");
}

#[test]
fn a_swap_that_is_taken_back_leaves_the_very_same_files() {
    let (dir, root) = machine();
    let inode = |path: &str| {
        std::fs::symlink_metadata(dir.path().join(path)).map(|meta| (meta.ino(), meta.mtime())).unwrap()
    };
    let paths = ["etc/ssl/private/x.key", "etc/ssl/certs/x.pem", "etc/ssl/certs/0a0a0a0a.0"];
    let before = (state(dir.path()), paths.map(inode));
    let backup = Backup::new("/var/lib/reseed/backups/run/hook".into(), None);
    let staged = Staged::begin(&root, "run-hook", &changes(), String::new(), Some(backup)).unwrap();
    staged.swap().unwrap().take_back().unwrap();
    assert_eq!((state(dir.path()), paths.map(inode)), before);
    assert!(
        root.names(Path::new("/var/lib/reseed/backups")).unwrap().is_empty(),
        "no backup of what was not replaced"
    );
}

#[test]
fn a_backup_puts_back_contents_modes_and_links() {
    let (dir, root) = machine();
    let old = state(dir.path());
    run(&root).unwrap();
    let kept = Kept::read(&root, Path::new("/var/lib/reseed/backups/run/hook")).unwrap();
    assert_eq!(kept.before.as_deref(), Some("before"));
    let staged = Staged::begin(&root, "back", &kept.changes, String::new(), None).unwrap();
    staged.swap().unwrap().commit().unwrap().finish().unwrap();
    assert_eq!(state(dir.path()), old);
}

#[test]
fn a_backup_of_a_file_that_is_no_text_is_the_very_same_octets() {
    let (dir, root) = machine();
    let key = dir.path().join("etc/ssl/private/x.key");
    let octets = b"# S\xfcdbahnhof\n\x00\xff".to_vec();
    std::fs::write(&key, &octets).unwrap();
    run(&root).unwrap();
    let kept = Kept::read(&root, Path::new("/var/lib/reseed/backups/run/hook")).unwrap();
    let staged = Staged::begin(&root, "back", &kept.changes, String::new(), None).unwrap();
    staged.swap().unwrap().commit().unwrap().finish().unwrap();
    assert_eq!(std::fs::read(&key).unwrap(), octets);
}

#[test]
fn what_somebody_else_put_at_a_new_path_is_not_taken_away() {
    let (dir, root) = machine();
    let staged = Staged::begin(&root, "run-hook", &changes(), String::new(), None).unwrap();
    let swapped = staged.swap().unwrap();
    std::fs::write(dir.path().join("etc/ssl/combined.pem"), "the administrator's").unwrap();
    swapped.take_back().unwrap();
    assert_eq!(
        std::fs::read_to_string(dir.path().join("etc/ssl/combined.pem")).unwrap(),
        "the administrator's"
    );
}

#[test]
fn a_directory_or_a_missing_one_in_the_way_changes_nothing() {
    for (case, path) in [("a directory lies there", "/etc/ssl"), ("its directory is missing", "/etc/none/x")]
    {
        let (dir, root) = machine();
        let old = state(dir.path());
        let mut changes = changes();
        changes.push(Change::File {
            path: path.into(),
            content: Secret::new("x"),
            attributes: own_attributes(0o600),
            exact: false,
        });
        assert!(Staged::begin(&root, "run-hook", &changes, String::new(), None).is_err(), "{case}");
        assert_eq!(state(dir.path()), old, "{case}");
        assert!(!is_interrupted(&root).unwrap(), "{case}");
    }
}

#[test]
fn extended_attributes_of_the_replaced_file_are_kept() {
    let (dir, root) = machine();
    let key = dir.path().join("etc/ssl/private/x.key");
    if xattr::set(&key, "user.note", b"kept").is_err() {
        eprintln!("this file system has no extended attributes; the lab has one that does");
        return;
    }
    run(&root).unwrap();
    assert_eq!(xattr::get(&key, "user.note").unwrap().as_deref(), Some(b"kept".as_slice()));
}

impl Root {
    /// Counts the changes of something done on a machine of its own.
    fn changes_of(&self, work: impl Fn(&Root)) -> usize {
        let (_dir, root) = machine();
        root.cut_power_after(usize::MAX);
        work(&root);
        root.changes()
    }
}
