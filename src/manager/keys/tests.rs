use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::manager::crash::site::{START, Site};
use crate::manager::renew;
use crate::manager::report::Outcome;
use crate::system::root::Root;

const FILE: &str = "top/passphrase";

/// A site that has certificates, with or without a passphrase that it knows of.
fn site(configured: bool) -> Site {
    let site = Site::new();
    renewed(&site, false).unwrap();
    assert_eq!(open(&site), 4);
    if configured {
        configure(&site, "a long one\n");
    }
    site
}

/// A copy, whose configuration is written anew.
fn copied(site: &Site) -> Site {
    let copy = site.copy();
    name_passphrase(&copy);
    copy
}

fn name_passphrase(site: &Site) {
    let path = site.path("top/conf.d/ssl-mgr.conf");
    let text = fs::read_to_string(&path).unwrap();
    if !text.contains("[keys]") {
        fs::write(&path, format!("{text}[keys]\npassphrase_file = \"passphrase\"\n")).unwrap();
    }
}

fn configure(site: &Site, passphrase: &str) {
    name_passphrase(site);
    fs::write(site.path(FILE), passphrase).unwrap();
    fs::set_permissions(site.path(FILE), fs::Permissions::from_mode(0o600)).unwrap();
}

fn world<'a>(root: &'a Root, days: i64) -> World<'a> {
    let now = START + time::Duration::days(days);
    World { root, top: "/top".into(), config: None, now, host: "mail.example.com".into(), tell: |_| {} }
}

fn switched(site: &Site, form: Form) -> Result<Switched, ManagerError> {
    switch(world(&site.root(), 0), &Request { form, old: None, dry_run: false })
}

/// Renews everything, authorities with the others.
fn renewed(site: &Site, reuse_key: bool) -> Result<crate::manager::report::Report, ManagerError> {
    let request =
        renew::Request { force: true, with_authorities: true, reuse_key, ..renew::Request::default() };
    let report = renew::renew(world(&site.root(), 1), &request)?;
    assert!(report.services.values().all(|outcome| matches!(outcome, Outcome::Made { .. })), "{report:#?}");
    Ok(report)
}

/// Files of authorities with a key.
fn kept(site: &Site) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(site.path("top/certs/ca")).sort_by_file_name();
    let files = entries.into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let has_key = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).contains("PRIVATE KEY");
    // What is written beside a file, before it takes its place, begins with a dot.
    let files = files.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    files.map(walkdir::DirEntry::into_path).filter(has_key).collect()
}

/// How many of them are in clear.
fn open(site: &Site) -> usize {
    let is_open = |path: &&PathBuf| !encrypted::is_encrypted(&fs::read(path).unwrap());
    kept(site).iter().filter(is_open).count()
}

fn contents(site: &Site) -> Vec<(PathBuf, Vec<u8>)> {
    kept(site).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn there_and_back() {
    let site = site(true);
    let before = contents(&site);
    let done = switched(&site, Form::Encrypted).unwrap();
    assert_eq!((done.files.len(), done.already, done.services.len()), (4, 0, 2));
    assert_eq!(open(&site), 0);
    for path in kept(&site) {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let output = Command::new("openssl")
            .args(["pkey", "-noout", "-in", path.to_str().unwrap()])
            .arg("-passin")
            .arg(format!("file:{}", site.path(FILE).display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {output:?}", path.display());
    }
    let status = status(&world(&site.root(), 0)).unwrap();
    assert!(status.is_good() && status.files.len() == 4, "{status}");
    let again = switched(&site, Form::Encrypted).unwrap();
    assert_eq!((again.files.len(), again.already), (0, 4));
    let back = switched(&site, Form::Clear).unwrap();
    assert_eq!((back.files.len(), back.notes.len()), (4, 1));
    assert_eq!(contents(&site), before, "everything is as it was");
    assert!(!super::status(&world(&site.root(), 0)).unwrap().is_good(), "a passphrase is configured");
}

#[test]
fn authorities_go_on_signing() {
    let site = site(true);
    switched(&site, Form::Encrypted).unwrap();
    for reuse_key in [false, true] {
        renewed(&site, reuse_key).unwrap();
        assert_eq!(open(&site), 0, "what is new is under the passphrase, too");
    }
    let root = site.root();
    crate::manager::roll::roll(world(&root, 3), &Default::default()).unwrap();
    assert!(site.read("production/ca/int/curr/cert.pem").is_some());
    let mut served = walkdir::WalkDir::new(site.path("production")).into_iter().map(Result::unwrap);
    let is_encrypted = |path: &std::path::Path| {
        path.is_file() && String::from_utf8_lossy(&fs::read(path).unwrap()).contains("ENCRYPTED")
    };
    assert!(!served.any(|entry| is_encrypted(entry.path())), "no key of an authority is in production");
    let key = site.read("production/example.com/web/curr/privkey.pem").unwrap();
    assert!(!encrypted::is_encrypted(&key), "those of services are in clear");
    crate::manager::revoke::lists(world(&root, 3), &[]).unwrap();
    assert!(site.read("production/ca/int.crl.pem").is_some());
}

#[test]
fn a_wrong_or_missing_passphrase_is_one_clear_error_and_nothing_is_changed() {
    type Spoil = fn(&Site);
    let cases: [(&str, Spoil, &str); 6] = [
        ("another", |site| configure(site, "another\n"), "/top/passphrase: this is not its passphrase"),
        ("an empty one", |site| configure(site, "\n"), "/top/passphrase: the passphrase is empty"),
        (
            "no file",
            |site| fs::remove_file(site.path(FILE)).unwrap(),
            "/top/passphrase: there is no such file",
        ),
        (
            "one that everybody may read",
            |site| fs::set_permissions(site.path(FILE), fs::Permissions::from_mode(0o644)).unwrap(),
            "others than its owner may read",
        ),
        (
            "a directory",
            |site| {
                fs::remove_file(site.path(FILE)).unwrap();
                fs::create_dir(site.path(FILE)).unwrap();
                fs::set_permissions(site.path(FILE), fs::Permissions::from_mode(0o700)).unwrap();
            },
            "/top/passphrase",
        ),
        (
            "none configured",
            |site| {
                let path = site.path("top/conf.d/ssl-mgr.conf");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.replace("passphrase_file", "#")).unwrap();
            },
            "under a passphrase; name its file in [keys] passphrase_file",
        ),
    ];
    let whole = site(true);
    switched(&whole, Form::Encrypted).unwrap();
    for (case, spoil, told) in cases {
        let site = copied(&whole);
        spoil(&site);
        let (before, versions) = (contents(&site), site.read("top/certs/ca/int/issued"));
        let errors = [
            renewed(&site, false).unwrap_err(),
            renewed(&site, true).unwrap_err(),
            switched(&site, Form::Clear).unwrap_err(),
        ];
        for error in errors {
            let error = error.to_string();
            assert!(error.contains(told), "{case}: {error}");
            assert_eq!(error.lines().count(), 1, "{case}: {error}");
        }
        assert_eq!(contents(&site), before, "{case}");
        assert_eq!(site.read("top/certs/ca/int/issued"), versions, "{case}");
        let status = status(&world(&site.root(), 0)).unwrap();
        assert!(!status.is_good() && status.to_string().contains(told), "{case}: {status}");
    }
}

#[test]
fn without_a_passphrase_nothing_is_encrypted() {
    let site = site(false);
    let error = switched(&site, Form::Encrypted).unwrap_err();
    assert!(matches!(&error, ManagerError::Usage(told) if told.contains("passphrase_file")), "{error}");
    assert_eq!(switched(&site, Form::Clear).unwrap().already, 4);
    assert!(status(&world(&site.root(), 0)).unwrap().is_good());
}

#[test]
fn a_passphrase_is_exchanged_for_another() {
    let site = site(true);
    switched(&site, Form::Encrypted).unwrap();
    let first = contents(&site);
    configure(&site, "a newer one\n");
    let root = site.root();
    let with = |old: &str, dry_run: bool| {
        let old = Passphrase::typed(old).unwrap();
        switch(world(&root, 0), &Request { form: Form::Encrypted, old: Some(&old), dry_run })
    };
    let error = with("wrong", false).unwrap_err().to_string();
    assert!(error.contains("no passphrase that was given"), "{error}");
    assert_eq!(with("a long one", true).unwrap().files.len(), 4);
    assert_eq!(contents(&site), first, "nothing yet");
    assert_eq!(with("a long one", false).unwrap().files.len(), 4);
    assert!(status(&world(&site.root(), 0)).unwrap().is_good());
}

#[test]
fn one_key_that_cannot_be_read_leaves_all_as_they_were() {
    let site = site(true);
    let path = kept(&site).pop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("MI", "!!", 1)).unwrap();
    let before = contents(&site);
    let error = switched(&site, Form::Encrypted).unwrap_err().to_string();
    assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
    assert_eq!(contents(&site), before);
}

/// Before any single change the power goes: all keys are in clear then, or all are under the passphrase, once the
/// next run has begun; and it can go on.
#[test]
fn all_or_none_whenever_it_is_killed() {
    for (form, done) in [(Form::Encrypted, 0), (Form::Clear, 4)] {
        let start = site(true);
        if form == Form::Clear {
            switched(&start, Form::Encrypted).unwrap();
        }
        let whole = copied(&start);
        let root = whole.root();
        root.cut_power_after(usize::MAX);
        switch(world(&root, 0), &Request { form, old: None, dry_run: false }).unwrap();
        let (changes, mut cut) = (root.changes(), [0, 0]);
        for change in 0..changes {
            let site = copied(&start);
            let root = site.root();
            root.kill_after(change);
            let request = Request { form, old: None, dry_run: false };
            let ended = catch_unwind(AssertUnwindSafe(|| switch(world(&root, 0), &request)));
            assert!(ended.is_err(), "killed after {change}");
            assert_eq!(kept(&site).len(), 4, "killed after {change}: no key is lost");
            let root = site.root();
            let run = Run::begin(world(&root, 0)).unwrap();
            let left = open(&site);
            assert!(left == 0 || left == 4, "killed after {change} of {changes}: {left} of 4 are in clear");
            cut[usize::from(left == done)] += 1;
            for name in run.tree.services().unwrap() {
                let lineage = run.tree.lineage(&name).unwrap();
                for version in [&lineage.curr, &lineage.next].into_iter().flatten() {
                    assert!(version.is_sound(), "killed after {change}: {:?}", version.problems);
                    version.prove(run.tree.keyring()).unwrap();
                }
            }
            drop(run);
            switched(&site, form).unwrap();
            assert_eq!(open(&site), done, "killed after {change}");
            let litter = walkdir::WalkDir::new(site.path("top/certs")).into_iter().map(Result::unwrap);
            let litter: Vec<_> =
                litter.filter(|it| it.file_name().to_string_lossy().starts_with('.')).collect();
            assert!(litter.is_empty(), "killed after {change}: {litter:?}");
        }
        println!("{form}: {changes} changes, before it {}, after it {}", cut[0], cut[1]);
        assert!(changes > 5 && cut[0] > 0 && cut[1] > 0, "{changes} {cut:?}");
    }
}
