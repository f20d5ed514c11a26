//! Scratch roots: what is followed, what is refused, what is left when the power goes.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

fn scratch() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["etc/ssl", "var/real"] {
        std::fs::create_dir_all(dir.path().join(sub)).unwrap();
    }
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

fn mine(mode: u32) -> Attributes {
    Attributes { user: effective_user(), group: nix::unistd::getegid().as_raw(), mode, extended: Vec::new() }
}

#[test]
fn links_are_followed_inside_the_root() {
    let (dir, root) = scratch();
    symlink("/var/real", dir.path().join("etc/absolute")).unwrap();
    symlink("../var/real/file", dir.path().join("etc/relative")).unwrap();
    symlink("../../../../etc/passwd", dir.path().join("etc/climbs")).unwrap();
    symlink("loop", dir.path().join("etc/loop")).unwrap();
    std::fs::write(dir.path().join("var/real/file"), "inside").unwrap();
    let cases = [
        ("plain", "/etc/ssl/x", Some("/etc/ssl/x")),
        ("absolute link", "/etc/absolute/file", Some("/var/real/file")),
        ("relative link", "/etc/relative", Some("/var/real/file")),
        ("not there", "/no/such/thing", Some("/no/such/thing")),
        ("out of the root", "/etc/climbs", None),
        ("loop", "/etc/loop", None),
    ];
    for (case, path, expected) in cases {
        let found = root.resolve(Path::new(path)).ok();
        assert_eq!(found.as_deref(), expected.map(Path::new), "{case}");
    }
    assert_eq!(root.read(Path::new("/etc/absolute/file")).unwrap(), b"inside");
    assert_eq!(root.read(Path::new("/etc/relative")).unwrap(), b"inside");
    let outside = root.read(Path::new("/etc/climbs")).unwrap_err();
    assert!(outside.is_missing(), "resolved inside the root, where there is no passwd: {outside}");
}

#[test]
fn a_file_has_its_mode_whatever_the_umask() {
    let (dir, root) = scratch();
    for mode in [0o400, 0o600, 0o640, 0o644] {
        let path = PathBuf::from(format!("/etc/ssl/{mode:o}"));
        root.create(&path, b"x", &mine(mode)).unwrap();
        let meta = std::fs::metadata(dir.path().join(format!("etc/ssl/{mode:o}"))).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, mode);
        assert_eq!(root.attributes(&path).unwrap(), mine(mode));
    }
}

/// What the umask of nearly everybody takes away is among these.
#[test]
fn a_directory_has_its_mode_whatever_the_umask() {
    let (dir, root) = scratch();
    let above = dir.path().join("etc/ssl");
    std::fs::set_permissions(&above, std::fs::Permissions::from_mode(0o2755)).unwrap();
    for mode in [0o700, 0o750, 0o755, 0o770, 0o777] {
        root.make_directory(&PathBuf::from(format!("/etc/ssl/{mode:o}")), mode).unwrap();
        let meta = std::fs::metadata(above.join(format!("{mode:o}"))).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o2000 | mode, "and the group of the one above");
    }
}

#[test]
fn nothing_is_created_through_a_link_or_over_a_file() {
    let (dir, root) = scratch();
    symlink("/var/real", dir.path().join("etc/link")).unwrap();
    assert!(root.create(Path::new("/etc/link/new"), b"x", &mine(0o600)).is_err());
    root.create(Path::new("/etc/ssl/one"), b"x", &mine(0o600)).unwrap();
    assert!(root.create(Path::new("/etc/ssl/one"), b"y", &mine(0o600)).is_err());
    assert_eq!(root.read(Path::new("/etc/ssl/one")).unwrap(), b"x");
}

#[test]
fn pipes_and_directories_are_not_read() {
    let (dir, root) = scratch();
    nix::unistd::mkfifo(&dir.path().join("etc/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(root.read(Path::new("/etc/pipe")).is_err());
    assert!(root.read(Path::new("/etc/ssl")).is_err());
}

#[test]
fn only_one_run_holds_the_lock() {
    let (_dir, root) = scratch();
    let path = Path::new("/run/reseed/lock");
    let held = root.lock(path).unwrap();
    assert!(held.is_some() && root.lock(path).unwrap().is_none());
    drop(held);
    assert!(root.lock(path).unwrap().is_some());
}

#[test]
fn half_a_line_stays_alone() {
    let (dir, root) = scratch();
    std::fs::write(dir.path().join("etc/log"), "one\nhal").unwrap();
    root.append(Path::new("/etc/log"), "three").unwrap();
    assert_eq!(root.read(Path::new("/etc/log")).unwrap(), b"one\nhal\nthree\n");
}

#[test]
fn after_the_cut_nothing_changes() {
    let (_dir, root) = scratch();
    root.cut_power_after(3);
    root.create(Path::new("/etc/a"), b"x", &mine(0o600)).unwrap();
    assert!(root.create(Path::new("/etc/b"), b"x", &mine(0o600)).is_err());
    assert!(root.remove(Path::new("/etc/a")).is_err());
    assert_eq!(root.read(Path::new("/etc/a")).unwrap(), b"x");
}

#[test]
fn a_rename_elsewhere_does_not_make_a_file_unreadable() {
    let (dir, root) = scratch();
    symlink("../../var/real/file", dir.path().join("etc/ssl/relative")).unwrap();
    std::fs::write(dir.path().join("var/real/file"), "inside").unwrap();
    let (there, back) = (dir.path().join("a"), dir.path().join("b"));
    std::fs::write(&there, "").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::fs::rename(&there, &back).unwrap();
                std::fs::rename(&back, &there).unwrap();
            }
        });
        let failed = (0..20_000).find_map(|_| root.read(Path::new("/etc/ssl/relative")).err());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(failed.is_none(), "{failed:?}");
    });
}
