//! Where the identity comes from: a resolver that is silent, images without a machine-id.

use std::collections::BTreeSet;

use crate::machine::Machine;
use crate::site::{APACHE, CYRUS, MAIL, STUNNEL, TLS_ECHO};

/// The domain is in DNS. While that is silent nothing is made, then nothing is rotated, and as soon as it answers
/// everything comes up by itself.
pub fn dns_that_does_not_answer_rotates_nothing() {
    let machine = MAIL.machine("resolver", &[]);
    machine.write("/etc/reseed/reseed.toml", "[identity]\ndomain-from-dns = true\n");
    machine.write("/etc/hostname", "mail\n");
    machine.write("/etc/hosts", "127.0.0.1 localhost\n");
    machine.write("/etc/resolv.conf", &format!("nameserver {SILENT}\noptions timeout:1 attempts:1\n"));
    machine.write("/etc/systemd/system/reseed-retry.timer.d/soon.conf", SOON);
    let built = MAIL.fingerprints(&machine);
    machine.boot();
    assert_eq!(machine.settled(), "running");
    assert_eq!(machine.property("reseed-network.service", "Result"), "success");
    assert_eq!(MAIL.fingerprints(&machine), built, "made for half a name");
    for service in [&APACHE, &CYRUS, &STUNNEL, &TLS_ECHO] {
        assert_eq!(machine.systemctl("is-active", service.unit), "inactive", "{}", service.unit);
    }
    assert_eq!(machine.systemctl("is-active", "reseed-retry.timer"), "active");
    let said = machine.journal("reseed-network.service");
    assert!(said.contains("the resolver does not answer"), "{said}");

    let resolver = machine.resolver(SILENT, MAIL.name);
    machine.wait_until("the domain is known and everything runs", 60, || is_up(&machine));
    MAIL.serves(&machine, MAIL.name);
    machine.wait_until("nothing is left to be tried again", 30, || {
        machine.systemctl("is-active", "reseed-retry.timer") == "inactive"
    });
    drop(resolver);

    machine.power_off();
    let made = MAIL.fingerprints(&machine);
    machine.boot();
    assert_eq!(machine.settled(), "running");
    assert_eq!(MAIL.fingerprints(&machine), made, "a resolver that is silent has rotated a certificate");
    MAIL.serves(&machine, MAIL.name);
}

fn is_up(machine: &Machine) -> bool {
    let runs = |unit: &str| machine.systemctl("is-active", unit) == "active";
    MAIL.services.iter().all(|service| service.unit == TLS_ECHO.unit || runs(service.unit))
}

/// What images have in place of a machine-id is all one: the first boot makes everything for the name it has.
pub fn machine_id_of_an_image_is_all_one() {
    let machine = MAIL.machine("images", &[]);
    for how in ["absent", "empty", "uninitialized"] {
        let name = format!("{how}.example.com");
        machine.rename(&name);
        let before = MAIL.fingerprints(&machine);
        machine.boot_with(&["--machine-id", how]);
        assert_eq!(machine.settled(), "running", "{how}");
        for service in [&APACHE, &CYRUS, &STUNNEL, &TLS_ECHO] {
            let served = service.serves(&machine, &name);
            assert!(!before.contains(&served.fingerprint), "{how}: {} is an old one", service.file);
        }
        assert_eq!(machine.reseed(0, &["check"]), "", "{how}");
        machine.power_off();
    }
}

/// A copy of a machine that nobody has sealed, with a machine-id of its own: its host keys are new, for a name that
/// is new or not, and the journal tells the old ones and the new ones. A rename alone changes none.
pub fn clone_gets_host_keys_of_its_own() {
    let machine = MAIL.machine("original", &[]);
    machine.rename(MAIL.name);
    machine.boot();
    let own = host_keys(&machine);
    assert_eq!(offered(&machine), own.iter().cloned().collect(), "sshd does not offer what is in its files");
    machine.power_off();
    machine.rename("renamed.example.com");
    machine.boot();
    assert_eq!(host_keys(&machine), own, "a new name has changed host keys");
    machine.power_off();

    let clone = machine.cloned("clone");
    clone.rename("clone.example.com");
    clone.boot();
    assert_eq!(clone.settled(), "running");
    let new = host_keys(&clone);
    let said = clone.journal("reseed-early.service") + &clone.journal("reseed.service");
    for (old, new) in own.iter().zip(&new) {
        assert_ne!(old, new, "the clone has its original's host key");
        let told = |line: &str| line.find(old).is_some_and(|at| line[at..].contains(new));
        let told = told(&said.replace('\n', " "));
        assert!(told, "{old} -> {new} is not in the journal:\n{said}");
    }
    assert_eq!(offered(&clone), new.into_iter().collect(), "sshd does not offer what is in its files");
    MAIL.serves(&clone, "clone.example.com");
}

/// The fingerprints of the host keys in their files, one for each kind.
fn host_keys(machine: &Machine) -> Vec<String> {
    let fingerprint = |kind: &str| {
        let file = format!("/etc/ssh/ssh_host_{kind}_key.pub");
        let said = machine.ok(&["ssh-keygen", "-l", "-f", &file]);
        said.split(' ').nth(1).unwrap().to_owned()
    };
    ["ed25519", "ecdsa", "rsa"].map(fingerprint).to_vec()
}

/// The fingerprints that sshd offers.
fn offered(machine: &Machine) -> BTreeSet<String> {
    let scan = "ssh-keyscan 127.0.0.1 2>/dev/null | ssh-keygen -l -f -";
    machine.ok(&["sh", "-c", scan]).lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

/// Nobody has this address.
const SILENT: &str = "198.51.100.253";

const SOON: &str =
    "[Timer]\nOnActiveSec=\nOnUnitInactiveSec=\nOnActiveSec=2s\nOnUnitInactiveSec=2s\nAccuracySec=100ms\n";
