//! What follows the machine: a rename keeps host keys and secrets, a clone gets new ones, and what
//! is not known changes nothing. OpenSSH itself is asked about the keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use support::{Machine, checked, has, here};

const KEYS: [&str; 3] =
    ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_rsa_key"];
const SECRETS: [&str; 2] = ["/etc/iscsi/initiatorname.iscsi", "/etc/bind/rndc.key"];
const CERTIFICATE: &str = "/srv/site.pem";
const SITE: &str = "version = 1\ndescription = \"a site\"\n[applies]\nfiles = [\"/srv\"]\n[[certificate]]\n\
    [[certificate.file]]\npath = \"/srv/site.pem\"\nholds = [\"key\", \"certificate\"]\n";
const ORIGINAL: &str = "00000000000000000000000000000001";
const CLONE: &str = "00000000000000000000000000000002";

/// A Debian machine with sshd, iscsid and named, and nothing of theirs made yet.
fn sealed() -> Machine {
    let machine = Machine::bare("mail.example.com");
    machine.accounts(&["root", "bind"]);
    machine.write("/etc/machine-id", &format!("{ORIGINAL}\n"));
    for program in ["/usr/sbin/sshd", "/usr/sbin/iscsid", "/usr/sbin/named"] {
        machine.write(program, "");
    }
    for directory in ["/etc/ssh", "/etc/iscsi", "/etc/bind", "/srv"] {
        machine.directory(directory);
    }
    for hook in ["openssh-server", "open-iscsi", "bind9-rndc"] {
        let text = fs::read_to_string(here().join(format!("../hooks.d/{hook}.toml"))).unwrap();
        machine.write(&format!("/usr/lib/reseed/hooks.d/{hook}.toml"), &text);
    }
    machine.write("/etc/reseed/hooks.d/site.toml", SITE);
    machine
}

/// The same after its first run.
fn machine() -> Machine {
    let machine = sealed();
    machine.reseed(&["apply"]).exits(0).says("Nothing is recorded of this machine yet.");
    machine
}

fn files(machine: &Machine) -> BTreeMap<&'static str, String> {
    let all = KEYS.iter().chain(&SECRETS).chain([&CERTIFICATE]);
    all.map(|path| (*path, machine.read(path))).collect()
}

/// The files that differ.
fn changed(before: &BTreeMap<&'static str, String>, machine: &Machine) -> Vec<&'static str> {
    let now = files(machine);
    KEYS.iter()
        .chain(&SECRETS)
        .chain([&CERTIFICATE])
        .copied()
        .filter(|path| before[path] != now[path])
        .collect()
}

fn of_machine() -> Vec<&'static str> {
    KEYS.iter().chain(&SECRETS).copied().collect()
}

fn ssh_keygen(machine: &Machine, arguments: &[&str], path: &str) -> String {
    checked(Command::new("ssh-keygen").args(arguments).arg("-f").arg(machine.path(path))).trim().to_owned()
}

/// The second word of `ssh-keygen -l`.
fn fingerprint(machine: &Machine, path: &str) -> String {
    ssh_keygen(machine, &["-l"], path).split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn what_is_made_has_the_form_that_its_program_wants() {
    let machine = machine();
    let seen = machine.snapshot();
    for path in KEYS {
        assert_eq!((seen.get(path).mode, seen.get(&format!("{path}.pub")).mode), (0o600, 0o644), "{path}");
    }
    assert_eq!((seen.get(SECRETS[0]).mode, seen.get(SECRETS[1]).mode), (0o600, 0o640));
    let name = machine.read(SECRETS[0]);
    let name = name.lines().last().unwrap().strip_prefix("InitiatorName=iqn.1993-08.org.debian:01:").unwrap();
    assert!(name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    let key = machine.read(SECRETS[1]);
    assert!(key.starts_with("key \"rndc-key\" {\n\talgorithm hmac-sha256;\n\tsecret \""), "{key}");
    assert!(key.ends_with("=\";\n};\n"), "{key}");
}

#[test]
fn openssh_agrees_about_the_host_keys() {
    if !has("ssh-keygen") {
        return;
    }
    let machine = machine();
    let shown = machine.reseed(&["status"]);
    for (path, kind) in KEYS.into_iter().zip(["ssh-ed25519 ", "ecdsa-sha2-nistp256 ", "ssh-rsa "]) {
        let public = machine.read(&format!("{path}.pub"));
        assert_eq!(ssh_keygen(&machine, &["-y"], path), public.trim(), "{path}");
        assert!(public.starts_with(kind) && public.ends_with(" root@mail.example.com\n"), "{public}");
        shown.says(&fingerprint(&machine, path));
        machine.reseed(&["explain", path]).exits(0).says(&fingerprint(&machine, path));
    }
}

#[test]
fn a_second_run_changes_nothing() {
    let machine = machine();
    let before = machine.snapshot();
    machine.reseed(&["apply"]).exits(0).says("Nothing to do.");
    before.still_holds(&machine, "a second run");
}

#[test]
fn a_rename_keeps_them_and_a_clone_gets_new_ones() {
    let machine = machine();
    let before = files(&machine);
    machine.rename("www.example.com");
    machine.reseed(&["apply"]).exits(0).says("This machine was renamed.");
    assert_eq!(changed(&before, &machine), [CERTIFICATE]);

    let before = files(&machine);
    let old = has("ssh-keygen").then(|| KEYS.map(|path| fingerprint(&machine, path)));
    machine.write("/etc/machine-id", &format!("{CLONE}\n"));
    machine.reseed(&["check"]).exits(3);
    machine
        .reseed(&["plan"])
        .exits(0)
        .says("This machine was cloned.")
        .says("because this machine is a clone");
    let status = machine.reseed(&["status", "--json"]).json();
    assert_eq!(status["kinds"], serde_json::json!(["cloned"]));
    let report = machine.reseed(&["apply"]);
    report.exits(0).says("This machine was cloned.").says("/etc/bind/rndc.key  a new secret");
    assert_eq!(changed(&before, &machine), of_machine(), "the certificate follows the name");
    for (path, old) in KEYS.into_iter().zip(old.into_iter().flatten()) {
        let line = format!("{path}  {old} -> {}", fingerprint(&machine, path));
        report.says(&line);
        let history = machine.read("/var/lib/reseed/history.jsonl");
        assert!(history.contains(&format!("\"was\":\"{old}\"")), "{history}");
    }
    let secret = machine.read("/etc/bind/rndc.key");
    let secret = secret.split('"').nth(3).unwrap();
    let history = machine.read("/var/lib/reseed/history.jsonl");
    for (where_, text) in [("report", &report.out), ("messages", &report.err), ("history", &history)] {
        assert!(!text.contains(secret), "a secret in the {where_}");
    }
    assert!(!machine.read("/var/lib/reseed/ledger.toml").contains(secret));
    assert!(history.contains("\"secrets\":[\"/etc/bind/rndc.key\"]"), "{history}");
    machine.reseed(&["apply"]).exits(0).says("Nothing to do.").never_says("cloned");
}

#[test]
fn a_copy_of_a_whole_tree_is_a_clone() {
    let original = machine();
    let clone = Machine::of_tree(original.root());
    for path in KEYS.iter().chain(&SECRETS).chain([&"/var/lib/reseed/ledger.toml"]) {
        clone.mode(path, 0o600);
    }
    clone.write("/etc/machine-id", &format!("{CLONE}\n"));
    clone.rename("www.example.com");
    clone.reseed(&["apply"]).exits(0).says("This machine was renamed and cloned.");
    let (one, other) = (files(&original), files(&clone));
    assert!(one.iter().all(|(path, text)| other[path] != *text), "two machines share nothing");
}

#[test]
fn restored_is_not_cloned() {
    let machine = machine();
    let before = files(&machine);
    machine.write("/etc/machine-id", &format!("{CLONE}\n"));
    machine.reseed(&["plan", "--restored"]).exits(0).says("Nothing to do.");
    machine.reseed(&["apply", "--restored"]).exits(0).says("This machine was restored.");
    assert!(changed(&before, &machine).is_empty());
    machine.reseed(&["apply"]).exits(0).says("Nothing to do.");
    machine.write("/etc/machine-id", &format!("{ORIGINAL}\n"));
    machine.reseed(&["rehome", "--restored"]).exits(0).says("This machine was restored.");
    assert!(changed(&before, &machine).is_empty());
}

#[test]
fn an_image_without_a_machine_id_says_nothing() {
    for (case, text) in [("empty", Some("")), ("uninitialized", Some("uninitialized\n")), ("absent", None)] {
        let machine = machine();
        let before = files(&machine);
        match text {
            Some(text) => machine.write("/etc/machine-id", text),
            None => fs::remove_file(machine.path("/etc/machine-id")).unwrap(),
        }
        machine.reseed(&["apply"]).exits(0).says("Nothing to do.");
        assert!(changed(&before, &machine).is_empty(), "{case}");
        // Its first boot gives it one, and with that it is another machine.
        machine.write("/etc/machine-id", &format!("{CLONE}\n"));
        machine.reseed(&["apply"]).exits(0).says("This machine was cloned.");
        assert_eq!(changed(&before, &machine), of_machine(), "{case}");
    }
}

#[test]
fn an_image_gets_nothing_that_all_machines_made_from_it_would_share() {
    for (case, text) in [("empty", Some("")), ("uninitialized", Some("uninitialized\n")), ("absent", None)] {
        let image = sealed();
        match text {
            Some(text) => image.write("/etc/machine-id", text),
            None => fs::remove_file(image.path("/etc/machine-id")).unwrap(),
        }
        image.reseed(&["apply"]).exits(0);
        assert!(image.path(CERTIFICATE).exists(), "{case}: it has a name");
        assert!(of_machine().iter().all(|path| !image.path(path).exists()), "{case}");
        image.reseed(&["explain", KEYS[0]]).exits(0).says("at its first boot");
        let [one, other] = [ORIGINAL, CLONE].map(|id| {
            let machine = Machine::of_tree(image.root());
            machine.write("/etc/machine-id", &format!("{id}\n"));
            machine.reseed(&["apply"]).exits(0).says(KEYS[0]).says(SECRETS[0]);
            files(&machine)
        });
        assert!(of_machine().iter().all(|path| one[path] != other[path]), "{case}");
    }
}

#[test]
fn they_wait_for_no_name() {
    let machine = sealed();
    machine.rename("localhost.localdomain");
    machine.reseed(&["apply"]).exits(0).says("No certificate is made: the identity is not proper");
    assert!(!machine.path(CERTIFICATE).exists());
    let before: Vec<String> = of_machine().iter().map(|path| machine.read(path)).collect();
    machine.rename("mail.example.com");
    machine.reseed(&["apply"]).exits(0);
    assert!(machine.path(CERTIFICATE).exists());
    let after: Vec<String> = of_machine().iter().map(|path| machine.read(path)).collect();
    assert_eq!(before, after);
}

#[test]
fn what_was_taken_away_stays_away_and_a_sealed_image_gets_all() {
    let machine = machine();
    let remove = |path: &str| {
        fs::remove_file(machine.path(path)).unwrap();
        let _ = fs::remove_file(machine.path(&format!("{path}.pub")));
    };
    remove(KEYS[1]);
    machine.reseed(&["apply"]).exits(0).says("Nothing to do.");
    assert!(!machine.path(KEYS[1]).exists());
    machine.reseed(&["explain", KEYS[1]]).exits(0).says("Other host keys are there");
    machine.reseed(&["apply", "--adopt", KEYS[1]]).exits(0).says(KEYS[1]);
    machine.reseed(&["explain", KEYS[1]]).exits(0).says("an SSH host key (ecdsa-p256)").says("as recorded");
    let ledger = machine.read("/var/lib/reseed/ledger.toml");
    let known = ledger.lines().filter_map(|line| line.strip_prefix("fingerprint = \"")?.strip_suffix('"'));
    KEYS.into_iter().chain(SECRETS).for_each(remove);
    let report = machine.reseed(&["apply"]);
    report.exits(0).says(KEYS[0]).says(SECRETS[0]);
    assert_eq!(known.map(|old| report.says(&format!("{old} -> SHA256:"))).count(), 3, "clients know the old");
    assert!(of_machine().iter().all(|path| machine.path(path).exists()));
    remove(SECRETS[1]);
    machine.write("/etc/bind/rndc.conf", "");
    machine.reseed(&["apply"]).exits(0).says("Nothing to do.");
}

#[test]
fn what_somebody_else_made_is_recorded_and_kept_until_there_is_a_clone() {
    if !has("ssh-keygen") {
        return;
    }
    let machine = sealed();
    ssh_keygen(&machine, &["-q", "-t", "ed25519", "-N", ""], KEYS[0]);
    ssh_keygen(&machine, &["-q", "-t", "rsa", "-m", "PEM", "-N", ""], KEYS[2]);
    machine.mode(KEYS[0], 0o640);
    let mine = [KEYS[0], KEYS[2]].map(|path| (machine.read(path), fingerprint(&machine, path)));
    let noted = machine.reseed(&["apply"]);
    noted.exits(0).says("openssh-server: recorded as this machine's own: /etc/ssh/ssh_host_ed25519_key");
    for (path, (text, fingerprint)) in [KEYS[0], KEYS[2]].into_iter().zip(&mine) {
        noted.says(fingerprint);
        assert_eq!(machine.read(path), *text, "{path}");
    }
    assert!(!machine.path(KEYS[1]).exists(), "whoever made two did not want the third");
    machine.reseed(&["apply"]).exits(0).says("Nothing to do.");
    // As cloud-init does on a clone, before anybody else: what it made is kept, the rest is new.
    fs::remove_file(machine.path(KEYS[2])).unwrap();
    ssh_keygen(&machine, &["-q", "-t", "rsa", "-N", ""], KEYS[2]);
    let cloud_init = machine.read(KEYS[2]);
    machine.write("/etc/machine-id", &format!("{CLONE}\n"));
    machine.reseed(&["apply"]).exits(0).says(&format!("{} -> ", mine[0].1));
    assert_ne!(machine.read(KEYS[0]), mine[0].0);
    assert_eq!(machine.read(KEYS[2]), cloud_init);
    assert_eq!(machine.snapshot().get(KEYS[0]).mode, 0o640, "a file that is there keeps its mode");
    machine.reseed(&["apply"]).exits(0).says("Nothing to do.");
}

/// Whoever puts a key back that a seal took out, by a copy of the old /etc or an old package, has put back
/// what everybody has who has the image.
#[test]
fn a_key_that_was_in_the_image_is_never_kept() {
    let machine = machine();
    let before = files(&machine);
    machine.reseed(&["seal"]).exits(0);
    machine.write("/etc/machine-id", &format!("{CLONE}\n"));
    for path in [KEYS[0], CERTIFICATE] {
        machine.write(path, &before[path]);
    }
    machine.reseed(&["plan"]).exits(0).says("was in the image that this machine was made from");
    machine.reseed(&["apply"]).exits(0);
    for path in [KEYS[0], CERTIFICATE] {
        assert_ne!(machine.read(path), before[path], "{path}");
    }
}

#[test]
fn a_rollback_brings_the_old_ones_back() {
    let machine = machine();
    let before = files(&machine);
    machine.write("/etc/machine-id", &format!("{CLONE}\n"));
    machine.reseed(&["apply"]).exits(0);
    assert_eq!(changed(&before, &machine), of_machine());
    machine.reseed(&["rollback"]).exits(0);
    assert!(changed(&before, &machine).is_empty());
    machine.reseed(&["apply", "--restored"]).exits(0);
    assert!(changed(&before, &machine).is_empty());
}
