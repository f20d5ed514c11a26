//! Images: what is baked into a bare system, and that two machines made from a sealed one share nothing.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::machine::{Machine, checked, program};
use crate::site::MAIL;

/// A machine that has lived is sealed, cloned twice and booted: each of the two has host keys, certificates
/// and a machine-id of its own, and nothing of what was in the image before.
pub fn sealed_root_boots_twice_with_nothing_shared() {
    let machine = MAIL.machine("sealed", &[]);
    machine.rename(MAIL.name);
    machine.boot();
    machine.power_off();
    let before = keys(&machine);
    let id = machine_id(&machine);
    assert!(before.len() >= 6, "three host keys and three certificates at least: {before:?}");

    let said = checked(Command::new(program()).arg("--root").arg(machine.path("/")).arg("seal"));
    println!("lab: seal: {}", said.lines().last().unwrap_or_default());
    assert_eq!(machine_id(&machine), "uninitialized");
    let left = keys(&machine);
    let again = checked(Command::new(program()).arg("--root").arg(machine.path("/")).arg("seal"));
    assert!(again.contains("Nothing to do"), "sealed once more: {again}");

    let booted = ["one", "two"].map(|name| {
        let clone = machine.cloned(name);
        // As the image has it: the copy's own id comes from its first boot.
        clone.write("/etc/machine-id", "uninitialized\n");
        let fqdn = format!("{name}.example.com");
        clone.rename(&fqdn);
        clone.boot();
        assert_eq!(clone.settled(), "running");
        MAIL.serves(&clone, &fqdn);
        clone.power_off();
        (keys(&clone), machine_id(&clone))
    });
    let [(one, first), (two, second)] = &booted;
    assert!(first != second && ![&id, "uninitialized"].contains(&first.as_str()), "{id}, {first}, {second}");
    let unexpected = |set: BTreeSet<String>| set.difference(&left).cloned().collect::<Vec<_>>();
    let shared = unexpected(one.intersection(two).cloned().collect());
    assert!(shared.is_empty(), "both have {shared:?}");
    for now in [one, two] {
        let kept = unexpected(now.intersection(&before).cloned().collect());
        assert!(kept.is_empty(), "from the image: {kept:?}");
        assert!(now.len() >= 6, "not everything was made again: {now:?}");
    }
    println!(
        "lab: sealed root: {} keys before, {} left, {} and {} made",
        before.len(),
        left.len(),
        one.len(),
        two.len()
    );
}

/// A bare system says little, and all of it is true: its machine-id, and what its packages made.
pub fn audit_of_a_bare_system_finds_what_is_there() {
    let machine = Machine::of("mail", "audited", &[]);
    let found = audit(&machine);
    let paths: BTreeSet<&str> = found.iter().map(|finding| finding["path"].as_str().unwrap()).collect();
    let known = [
        "/etc/machine-id",
        "/var/lib/dbus/machine-id",
        "/etc/ssh/ssh_host_ecdsa_key",
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/ssh/ssh_host_rsa_key",
        "/etc/ssl/private/ssl-cert-snakeoil.key",
        "/etc/mail/tls/sendmail-common.key",
        "/etc/pki/cyrus-imapd/cyrus-imapd.pem",
        "/etc/stunnel/lab.pem",
        "/etc/tls-echo/tls-echo.pem",
    ];
    for path in &paths {
        assert!(known.contains(path), "{path} is no secret: {found:#?}");
    }
    for path in known.iter().filter(|path| fs::metadata(machine.path(path)).is_ok_and(|file| file.len() > 0))
    {
        assert!(paths.contains(path), "{path} is not found");
    }
    println!("lab: audit of a bare system with a mail server: {} findings", found.len());
}

/// The fingerprints of every private key in its root.
fn keys(machine: &Machine) -> BTreeSet<String> {
    let findings = audit(machine);
    let prints = findings.iter().filter_map(|finding| finding["fingerprints"].as_array()).flatten();
    prints.map(|print| print.as_str().unwrap().to_owned()).collect()
}

fn audit(machine: &Machine) -> Vec<Value> {
    let output = Command::new(program()).arg("audit").arg(machine.path("/")).arg("--json").output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["findings"].as_array().unwrap().clone()
}

fn machine_id(machine: &Machine) -> String {
    fs::read_to_string(machine.path("/etc/machine-id")).unwrap().trim_end().to_owned()
}
