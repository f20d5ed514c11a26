//! Whole runs with a hook that is a program: what it makes is swapped in like everything else, and what
//! it does wrong harms nobody.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::tests::{Fake, machine, rename, world};
use super::*;
use crate::service::Offline;

const FILE: &str = "/etc/demo/name";
const DESCRIBE: &str = "version = 1\ndescription = \"d\"\nwatches = [\"hostname\"]\n[applies]\nfiles = [\"/etc/demo\"]\n\
    [executable]\nmakes = [\"/etc/demo/name\"]\nlimit-seconds = 1\n\
    [[unit]]\nname = \"demo.service\"\nchange = \"restart\"\n";
const CHECK: &str = "case $(cat $root/etc/demo/name) in \"$(name \"$2\")\") echo fresh;; \
    localhost) echo placeholder: it says localhost;; *) echo stale: it says another;; esac";
const MAKE: &str = "mkdir -p $2/etc/demo; umask 027; name \"$3\" >$2/etc/demo/name";

/// A machine with the program and no other hook.
fn with(describe: &str, check: &str, make: &str) -> (tempfile::TempDir, Root) {
    let (dir, root) = machine("old.example.com");
    let hooks = dir.path().join("etc/reseed/hooks.d");
    for declared in ["pair.toml", "combined.toml"] {
        std::fs::remove_file(hooks.join(declared)).unwrap();
    }
    std::fs::create_dir_all(dir.path().join("etc/demo")).unwrap();
    let text = format!(
        "#!/bin/sh\nroot=${{0%/etc/reseed/*}}\necho \"$1\" >>$root/calls\n\
         name() {{ printf '%s\\n' \"$1\" | sed -n 's/.*\"fqdn\":\"\\([^\"]*\\)\".*/\\1/p'; }}\n\
         case $1 in describe) cat <<'E'\n{describe}E\n;;\ncheck) {check} ;;\nmake) {make} ;;\n*) exit 2;; esac\n"
    );
    std::fs::write(hooks.join("demo"), text).unwrap();
    std::fs::set_permissions(hooks.join("demo"), PermissionsExt::from_mode(0o755)).unwrap();
    (dir, root.pretend_live())
}

fn run(root: &Root) -> (Report, Vec<String>) {
    let fake = Fake::default();
    let report = apply(world(root, &fake), &Request::default()).unwrap();
    let asked = fake.asked();
    (report, asked)
}

fn says(root: &Root) -> Option<String> {
    root.text(Path::new(FILE)).unwrap().map(|text| text.trim().to_owned())
}

fn staging_is_gone(root: &Root) -> bool {
    root.names(Path::new(apply::program::STAGING)).unwrap().is_empty()
}

#[test]
fn its_files_follow_what_it_says() {
    let (dir, root) = with(DESCRIBE, CHECK, MAKE);
    let (report, asked) = run(&root);
    assert!(!report.has_failed(), "{:?}", report.outcomes);
    assert_eq!(
        (says(&root).as_deref(), asked),
        (Some("old.example.com"), vec!["restart demo.service".to_owned()])
    );
    let status = root.status(Path::new(FILE)).unwrap().unwrap();
    assert_eq!(status.mode, 0o640, "a new file is as the program made it");
    assert!(staging_is_gone(&root));
    root.cut_power_after(usize::MAX);
    let (_, asked) = run(&root);
    assert_eq!((root.changes(), asked.len()), (0, 0), "a second run has nothing to do");
    rename(&dir, "new.example.com");
    std::fs::set_permissions(dir.path().join("etc/demo/name"), PermissionsExt::from_mode(0o600)).unwrap();
    run(&root);
    let status = root.status(Path::new(FILE)).unwrap().unwrap();
    assert_eq!(
        (says(&root).as_deref(), status.mode),
        (Some("new.example.com"), 0o600),
        "an existing one keeps its mode"
    );
    assert!(store::ledger(&root).unwrap().hook.len() == 1);
    rename(&dir, "localhost");
    let (report, asked) = run(&root);
    assert!(report.plan.put_off.is_some() && says(&root).as_deref() == Some("new.example.com"), "{asked:?}");
}

#[test]
fn what_is_not_ours_is_left() {
    // name, what lies there, what a run makes of it
    for (case, there, expected) in [
        ("a placeholder", "localhost", "old.example.com"),
        ("somebody's", "www.example.org", "www.example.org"),
        ("right already", "old.example.com", "old.example.com"),
    ] {
        let (dir, root) = with(DESCRIBE, CHECK, MAKE);
        std::fs::write(dir.path().join("etc/demo/name"), there).unwrap();
        run(&root);
        assert_eq!(says(&root).as_deref(), Some(expected), "{case}");
        let adopt = Request { adopt: BTreeSet::from([FILE.into()]), ..Request::default() };
        apply(world(&root, &Fake::default()), &adopt).unwrap();
        assert_eq!(says(&root).as_deref(), Some("old.example.com"), "{case}: adopted");
        std::fs::write(dir.path().join("etc/demo/name"), "edited").unwrap();
        run(&root);
        assert_eq!(says(&root).as_deref(), Some("edited"), "{case}: modified");
    }
}

#[test]
fn what_it_does_wrong_harms_nobody() {
    let into = "mkdir -p $2/etc/demo; echo x >$2/etc/demo/name;";
    for (case, make, words) in [
        ("it fails", format!("{into} echo no luck; exit 1"), "no luck"),
        ("it takes too long", format!("{into} sleep 60"), "still running"),
        ("it makes more", format!("{into} echo x >$2/etc/passwd"), "/etc/passwd, which it does not declare"),
        ("it makes nothing", "true".into(), "did not make /etc/demo/name"),
        (
            "it makes a link",
            "mkdir -p $2/etc/demo; ln -s /etc/passwd $2/etc/demo/name".into(),
            "neither a file",
        ),
        ("for everybody to write", format!("{into} chmod 666 $2/etc/demo/name"), "mode 0666"),
        ("set-user-id", format!("{into} chmod 4755 $2/etc/demo/name"), "mode 4755"),
        ("empty", "mkdir -p $2/etc/demo; : >$2/etc/demo/name".into(), "is empty"),
    ] {
        let (dir, root) = with(DESCRIBE, CHECK, &make);
        std::fs::write(dir.path().join("etc/demo/name"), "localhost").unwrap();
        let (report, asked) = run(&root);
        let failure = format!("{:?}", report.outcomes);
        assert!(report.has_failed() && failure.contains(words), "{case}: {failure}");
        assert_eq!(says(&root).as_deref(), Some("localhost"), "{case}: the old file stands");
        assert!(staging_is_gone(&root), "{case}");
        assert_eq!(asked, ["hold demo.service"], "{case}");
    }
}

#[test]
fn what_it_does_not_answer_is_unknown_and_changes_nothing() {
    for (case, check) in [("fails", "exit 1"), ("says nothing", "true"), ("says else", "echo maybe")] {
        let (dir, root) = with(DESCRIBE, check, MAKE);
        std::fs::write(dir.path().join("etc/demo/name"), "localhost").unwrap();
        let (report, asked) = run(&root);
        assert!(asked.is_empty() && says(&root).as_deref() == Some("localhost"), "{case}");
        assert!(report.plan.hooks.iter().any(|hook| !hook.problems.is_empty()), "{case}: it is told");
    }
    let (_dir, root) = with("version = 1\n", CHECK, MAKE);
    assert_eq!(run(&root).0.faults.len(), 1, "no hook, and a fault");
}

#[test]
fn where_nothing_runs_it_is_not_run() {
    let (dir, root) = with(DESCRIBE, CHECK, MAKE);
    let calls = || std::fs::read_to_string(dir.path().join("calls")).unwrap_or_default();
    let offline = Root::open(dir.path()).unwrap();
    apply(world(&offline, &Offline), &Request::default()).unwrap();
    assert_eq!(calls(), "", "of another root, nothing is run");
    apply(world(&root, &Offline), &early()).unwrap();
    assert_eq!((calls().as_str(), says(&root)), ("describe\n", None), "early in the boot it only describes");
    let hook = dir.path().join("etc/reseed/hooks.d/demo");
    std::fs::remove_file(&hook).unwrap();
    std::os::unix::fs::symlink("/dev/null", &hook).unwrap();
    assert!(run(&root).0.faults.is_empty() && calls() == "describe\n", "it is switched off");
}

#[test]
fn a_boot_with_a_program_is_never_known_to_have_nothing_to_do() {
    let (_dir, root) = with(DESCRIBE, CHECK, MAKE);
    run(&root);
    let seen = look(world(&root, &Offline), &early()).unwrap();
    assert!(!seen.plan.is_stale());
    assert_eq!(quiet(&root, &seen, &|_| false).unwrap(), Quiet::No);
}

#[test]
fn a_run_that_dies_is_made_good_by_the_next() {
    let changes = {
        let (_dir, root) = with(DESCRIBE, CHECK, MAKE);
        root.cut_power_after(usize::MAX);
        run(&root);
        root.changes()
    };
    for stop in 0..changes {
        let (_dir, root) = with(DESCRIBE, CHECK, MAKE);
        root.cut_power_after(stop);
        let _ = apply(world(&root, &Fake::default()), &Request::default());
        assert!(says(&root).is_none_or(|name| name == "old.example.com"), "{stop}: all or nothing");
        root.cut_power_after(usize::MAX);
        run(&root);
        assert_eq!(says(&root).as_deref(), Some("old.example.com"), "{stop}");
        assert!(staging_is_gone(&root), "{stop}");
    }
}
