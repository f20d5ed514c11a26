//! Keys of own authorities under a passphrase, as a site does it: by the program, on a tree that it made. Every way
//! that this can be interrupted is tried beside the code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[allow(dead_code, reason = "each test program uses its own part of this")]
#[path = "manager/site.rs"]
mod site;
#[allow(dead_code, reason = "each test program uses its own part of this")]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use reseed::pki::encrypted;
use site::Site;
use support::has;

/// A site with certificates, and with a passphrase that it knows of.
fn site() -> Site {
    let site = Site::running();
    let text = site.text("conf.d/ssl-mgr.conf");
    site.write("conf.d/ssl-mgr.conf", &format!("{text}[keys]\npassphrase_file = 'passphrase'\n"));
    put(&site, "a long one\n");
    site
}

fn put(site: &Site, passphrase: &str) {
    site.write("passphrase", passphrase);
    fs::set_permissions(site.path("passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// Files with a key of an authority.
fn kept(site: &Site) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(site.path("certs/ca")).sort_by_file_name().into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    files.filter(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).contains("PRIVATE KEY")).collect()
}

fn encrypted(site: &Site) -> usize {
    kept(site).iter().filter(|path| encrypted::is_encrypted(&fs::read(path).unwrap())).count()
}

#[test]
fn an_authority_works_under_a_passphrase_and_comes_back() {
    if !has("openssl") {
        return;
    }
    let site = site();
    let all = kept(&site).len();
    assert!(all > 1 && encrypted(&site) == 0);
    let before: Vec<Vec<u8>> = kept(&site).iter().map(|path| fs::read(path).unwrap()).collect();
    site.manager("keys status").exits(3).says("in clear");
    // A dry run tells, and changes nothing: not even a time stamp.
    let seen = site.snapshot();
    site.manager("keys encrypt --dry-run").exits(0).says("would be put under the passphrase");
    assert!(seen == site.snapshot());

    site.manager("keys encrypt").exits(0).says("is under the passphrase").never_says("a long one");
    assert_eq!(encrypted(&site), all);
    site.manager("keys status").exits(0).says("under the passphrase").never_says("in clear");
    site.manager("keys encrypt").exits(0).says("are under the passphrase already");
    for path in kept(&site) {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-noout", "-passin", "file:passphrase", "-in"]).arg(&path);
        support::checked(openssl.current_dir(site.top()));
    }

    // It signs, renews itself, and lists what it took back.
    site.sslm("-renew -f").exits(0);
    site.sslm("-roll -f").exits(0);
    site.is_pair("certs/example.com/web/curr");
    site.verifies("certs/example.com/web/curr", "certs/ca/root/curr/cert.pem");
    site.manager("renew --force --renew-ca ca/root").exits(0);
    let now = kept(&site).len();
    assert!(now > all && encrypted(&site) == now, "a new key of an authority is under it from the beginning");
    site.manager("crl ca/root").exits(0);
    let key = site.text("certs/example.com/web/curr/privkey.pem");
    assert!(!key.contains("ENCRYPTED"), "a service's is in clear");

    site.manager("keys decrypt").exits(0).says("is in clear");
    assert_eq!(encrypted(&site), 0);
    let after: Vec<Vec<u8>> = kept(&site).iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(before.iter().all(|text| after.contains(text)), "every old key is what it was");
}

#[test]
fn a_wrong_passphrase_is_one_clear_error_and_nothing_is_changed() {
    let site = site();
    site.manager("keys encrypt").exits(0);
    type Spoil = fn(&Site);
    let cases: [(&str, Spoil, &str); 4] = [
        ("another", |site| put(site, "another\n"), "this is not its passphrase, or the key is damaged"),
        ("empty", |site| put(site, "\n"), "the passphrase is empty"),
        ("missing", |site| site.remove("passphrase"), "there is no such file; make a passphrase"),
        (
            "everybody's",
            |site| fs::set_permissions(site.path("passphrase"), fs::Permissions::from_mode(0o644)).unwrap(),
            "others than its owner may read or write it; chmod 600",
        ),
    ];
    for (case, spoil, says) in cases {
        put(&site, "a long one\n");
        spoil(&site);
        let before = site.snapshot();
        for command in ["keys decrypt", "keys decrypt --dry-run", "keys encrypt", "renew --force"] {
            let ran = site.manager(command);
            ran.exits(1).complains(says).never_says("a long one");
            assert_eq!(ran.err.lines().count(), 1, "{case}, {command}: {}", ran.err);
            let changed = site.changed(&before);
            let changed: Vec<_> = changed.iter().filter(|path| !path.contains(".reseed")).collect();
            assert!(changed.is_empty(), "{case}, {command}: {changed:?}");
        }
        site.manager("keys status").exits(3).says(says);
    }
    put(&site, "a long one\n");
    site.manager("keys status").exits(0);
}

/// Whoever is killed in the middle leaves keys that can be read; the next run has all of them in one form.
#[test]
fn killed_in_the_middle_every_key_can_be_read() {
    for milliseconds in [5, 15, 30, 60, 120, 240, 400] {
        let site = site();
        let all = kept(&site).len();
        let mut command = site.command(site.top(), "keys encrypt");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
        // Whichever form each has now, the program reads it, and has all of them in one when it has begun again.
        let status = site.manager("keys status");
        status.never_says("cannot be opened");
        site.manager("renew").exits(0);
        let found = encrypted(&site);
        assert!(found == 0 || found == all, "{milliseconds} ms: {found} of {all}");
        site.manager("keys encrypt").exits(0);
        assert_eq!(encrypted(&site), all, "{milliseconds} ms");
    }
}
