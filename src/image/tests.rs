//! Scratch roots: the power is cut before every change of a seal, and sealing again ends where it would
//! have ended.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::selection::Selection;
use super::{Fingerprint, Report, Sealed, audit, catalogue, seal};
use crate::ledger::Ledger;
use crate::pki::key::PrivateKey;
use crate::pki::{Algorithm, Container};
use crate::plan::Request;
use crate::probe::Prober;
use crate::reseed::{self, ReseedError, World};
use crate::service::Offline;
use crate::store;
use crate::system::root::Root;

const HOOK: &str = "version = 1\ndescription = \"a pair\"\n[applies]\nfiles = [\"/etc/pair\"]\n\
    [[certificate]]\n\
    [[certificate.file]]\npath = \"/etc/pair/x.key\"\nholds = [\"key\"]\n\
    [[certificate.file]]\npath = \"/etc/pair/x.crt\"\nholds = [\"certificate\"]\nhash-link = \"/etc/pair/hash\"\n";

/// A pair that a packaging script made while the machine had no name: only its certificate tells that.
fn placeholder(dir: &Path) {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let mut what = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    what.serial_number = Some(rcgen::SerialNumber::from(vec![1]));
    let certificate = what.self_signed(&key).unwrap();
    let hook = HOOK.replace("/etc/pair", "/etc/other");
    std::fs::create_dir_all(dir.join("etc/other/hash")).unwrap();
    std::fs::write(dir.join("etc/other/x.key"), key.to_pem(Container::Pkcs8).unwrap().reveal()).unwrap();
    std::fs::write(dir.join("etc/other/x.crt"), certificate.pem()).unwrap();
    std::fs::write(dir.join("etc/reseed/hooks.d/other.toml"), hook).unwrap();
}

/// A machine that has lived: a certificate of ours with a backup, and one file for each way of sealing.
fn machine() -> (tempfile::TempDir, Root) {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let me = (crate::system::root::effective_user(), nix::unistd::getegid().as_raw());
    let files = [
        ("etc/hostname", "mail.example.com\n".to_owned()),
        ("etc/passwd", format!("root:x:{}:0::/root:/bin/sh\n", me.0)),
        ("etc/group", format!("root:x:{}:\n", me.1)),
        ("etc/reseed/hooks.d/pair.toml", HOOK.to_owned()),
        ("etc/pair/hash/.keep", String::new()),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n".to_owned()),
        ("var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n".to_owned()),
        ("var/lib/systemd/random-seed", "random".to_owned()),
        ("var/lib/cloud/instances/i-1/sem/x", "x".to_owned()),
        ("var/lib/snmp/snmpd.conf", "oldEngineID 0x80\nsetserialno 1\n".to_owned()),
        ("var/log/daemon.log", "x".to_owned()),
        ("var/log/daemon.log.1", "x".to_owned()),
    ];
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    symlink("/var/lib/cloud/instances/i-1", dir.path().join("var/lib/cloud/instance")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    let report = reseed::apply(world(&root), &Request::default()).unwrap();
    assert_eq!(report.outcomes.len(), 1);
    // A second run, so that there is a backup with a key in it.
    std::fs::write(dir.path().join("etc/hostname"), "www.example.com\n").unwrap();
    let _ = reseed::apply(world(&root), &Request::default()).unwrap();
    assert!(!store::backups(&root).unwrap().is_empty());
    placeholder(dir.path());
    (dir, root)
}

fn world(root: &Root) -> World<'_> {
    // Offline: nobody is told, so nobody is asked.
    let prober = Box::leak(Box::new(Prober::by_hand()));
    World { root, below: None, services: &Offline, prober, now: crate::system::clock::now() }
}

fn run(root: &Root) -> Result<Report, ReseedError> {
    seal(world(root), &Selection::default(), false)
}

/// Everything but the record: path, and content or target.
fn state(dir: &Path) -> BTreeMap<PathBuf, String> {
    let entries = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| !entry.file_type().is_dir());
    files
        .map(|entry| {
            let name = Path::new("/").join(entry.path().strip_prefix(dir).unwrap());
            let content = match entry.path_is_symlink() {
                true => format!("-> {}", std::fs::read_link(entry.path()).unwrap().display()),
                false => std::fs::read_to_string(entry.path()).unwrap(),
            };
            (name, content)
        })
        .filter(|(name, _)| name != Path::new(crate::sealed::PATH) && name != Path::new(store::LEDGER))
        .collect()
}

/// Every key that an audit finds.
fn keys(root: &Root) -> Vec<Fingerprint> {
    audit::directory(root).unwrap().findings.into_iter().flat_map(|finding| finding.fingerprints).collect()
}

#[test]
fn nothing_is_left_of_a_machine_that_has_lived() {
    let (dir, root) = machine();
    let keys = keys(&root);
    assert_eq!(keys.len(), 6, "the key, the one in the backup, the placeholder's, in two forms each");
    let serial = store::ledger(&root).unwrap().highest_serial;
    let report = run(&root).unwrap();
    let found = audit::directory(&root).unwrap().findings;
    assert!(found.is_empty() && report.left.is_empty(), "{found:#?} {:#?}", report.left);
    let state = state(dir.path());
    let paths: Vec<_> = state.iter().map(|(path, text)| (path.to_str().unwrap(), text.as_str())).collect();
    let kept =
        |path: &&(&str, &str)| !path.0.starts_with("/etc/pair/hash") && !path.0.starts_with("/etc/reseed");
    let paths: Vec<_> = paths.iter().filter(kept).map(|(path, text)| (*path, *text)).collect();
    let group = std::fs::read_to_string(dir.path().join("etc/group")).unwrap();
    let passwd = std::fs::read_to_string(dir.path().join("etc/passwd")).unwrap();
    let expected = [
        ("/etc/group", group.as_str()),
        ("/etc/hostname", "www.example.com\n"),
        ("/etc/machine-id", catalogue::UNINITIALIZED),
        ("/etc/passwd", passwd.as_str()),
        ("/run/reseed/lock", ""),
        ("/var/lib/snmp/snmpd.conf", "setserialno 1\n"),
        ("/var/log/daemon.log", ""),
    ];
    assert_eq!(paths, expected);
    assert!(!dir.path().join("var/lib/cloud/instances/i-1").exists(), "the directory names the instance");
    let ledger = store::ledger(&root).unwrap();
    let mut forgotten = Ledger::default();
    forgotten.highest_serial = serial;
    assert_eq!(ledger, forgotten, "nothing is recorded but how high serials are");
    let sealed = Sealed::read(&root).unwrap().unwrap();
    assert!(keys.iter().all(|key| sealed.contains(key)));
}

#[test]
fn sealing_twice_changes_nothing() {
    let (_dir, root) = machine();
    let _ = run(&root).unwrap();
    let record = root.read(Path::new(crate::sealed::PATH)).unwrap();
    root.cut_power_after(1);
    let again = run(&root).unwrap();
    assert!(again.done.is_empty(), "{:?}", again.done);
    assert_eq!(root.read(Path::new(crate::sealed::PATH)).unwrap(), record);
}

#[test]
fn a_dry_run_says_what_a_run_does() {
    let (dir, root) = machine();
    let before = state(dir.path());
    root.cut_power_after(0);
    let dry = seal(world(&root), &Selection::default(), true).unwrap();
    assert_eq!(state(dir.path()), before);
    root.cut_power_after(usize::MAX);
    assert_eq!(run(&root).unwrap().done, dry.done);
}

#[test]
fn survives_a_cut_before_any_change() {
    let (dir, root) = machine();
    root.cut_power_after(usize::MAX);
    let _ = run(&root).unwrap();
    let (steps, whole) = (root.changes(), state(dir.path()));
    let (mut cut, mut told) = (0, 0);
    for step in 0..steps {
        let (dir, root) = machine();
        let keys = keys(&root);
        root.cut_power_after(step);
        let outcome = run(&root);
        root.cut_power_after(usize::MAX);
        cut += usize::from(outcome.is_err());
        let left = audit::directory(&root).unwrap().findings;
        let id = std::fs::read_to_string(dir.path().join("etc/machine-id")).unwrap();
        if id == catalogue::UNINITIALIZED {
            assert!(left.is_empty(), "cut at {step}: {left:?}");
        } else {
            assert!(left.iter().any(|finding| finding.rule == "machine-id"), "cut at {step}");
            told += 1;
        }
        let again = run(&root).unwrap();
        assert!(again.left.is_empty(), "cut at {step}: {:?}", again.left);
        let same: Vec<_> =
            state(dir.path()).into_keys().filter(|path| !path.starts_with("/etc/pair/hash")).collect();
        let expected: Vec<_> =
            whole.keys().filter(|path| !path.starts_with("/etc/pair/hash")).cloned().collect();
        assert_eq!(same, expected, "cut at {step}");
        let sealed = Sealed::read(&root).unwrap().unwrap();
        assert!(keys.iter().all(|key| sealed.contains(key)), "cut at {step}: a key went without a record");
    }
    assert!(steps > 30 && cut >= steps - 2 && told > 25, "{steps} changes, {cut} cuts, {told} told");
}

#[test]
fn a_clone_of_a_sealed_machine_is_nobody_yet() {
    let (dir, root) = machine();
    let old = keys(&root);
    let _ = run(&root).unwrap();
    std::fs::write(dir.path().join("etc/hostname"), "clone.example.com\n").unwrap();
    let report = reseed::apply(world(&root), &Request::default()).unwrap();
    assert_eq!(report.outcomes.len(), 2, "made again");
    let new = keys(&root);
    assert!(!new.is_empty() && new.iter().all(|key| !old.contains(key)));
}
