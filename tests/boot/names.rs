//! Names and seeds that are new at a boot, or at run time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cost;
use crate::machine::Machine;
use crate::site::{DIRECTORY, MAIL, STUNNEL, Service, Site, TLS_ECHO};

/// Built as A, booted as B; booted again; booted with another seed; booted with a hundred hooks.
pub fn mail_server_boots_as_who_it_is() {
    let machine = MAIL.machine("mail-named", &[]);
    boots_as_who_it_is(&machine, &MAIL);
    hundred_hooks(&machine);
}

/// The same with what reads certificates in other ways.
pub fn directory_server_boots_as_who_it_is() {
    boots_as_who_it_is(&DIRECTORY.machine("directory-named", &[]), &DIRECTORY);
}

fn boots_as_who_it_is(machine: &Machine, site: &Site) {
    machine.time_generators(&["reseed-generator", "systemd-fstab-generator"]);
    let host_keys = machine.listing(&["/etc/ssh"]);
    machine.rename(site.name);
    serves_only_what_is_new(machine, site);
    assert_eq!(machine.reseed(0, &["check"]), "");

    // Booted again.
    machine.power_off();
    let made = machine.listing(OURS);
    machine.boot();
    assert_eq!(machine.settled(), "running");
    site.serves(machine, site.name);
    assert_eq!(machine.listing(OURS), made, "a boot with nothing to do changed something");
    cost::print(machine, site.variant);

    // Another seed.
    machine.power_off();
    let before = site.fingerprints(machine);
    machine.write("/etc/reseed/seed.toml", SEED);
    serves_only_what_is_new(machine, site);
    for (service, before) in site.services.iter().zip(before) {
        let served = service.serves(machine, site.name);
        assert_ne!(served.fingerprint, before, "{} is the old one", service.file);
        assert!(served.subject.contains("O=Example,"), "{}: {}", service.file, served.subject);
    }
    assert_eq!(machine.listing(&["/etc/ssh"]), host_keys, "a name or a seed is nothing to host keys");
}

/// Boots while every port is asked all the time: none may show anything but what is right, and each service is
/// started once.
fn serves_only_what_is_new(machine: &Machine, site: &Site) {
    machine.start();
    let mut seen = BTreeSet::new();
    let watched: Vec<&Service> = site.services.iter().filter(|service| seen.insert(service.unit)).collect();
    let ports: Vec<u16> = watched.iter().map(|service| service.port).collect();
    let watch = machine.watch(&ports);
    assert_eq!(machine.settled(), "running");
    site.serves(machine, site.name);
    for service in watched {
        let right = machine.fingerprint(service.file);
        let shown = watch.shown();
        let shown: Vec<_> = shown.iter().filter(|shown| shown.port == service.port).collect();
        assert!(!shown.is_empty(), "{} was not seen by the watch", service.unit);
        for shown in shown {
            assert_eq!(shown.fingerprint, right, "{} showed {shown:?}", service.unit);
        }
        assert_eq!(machine.starts(service.unit), 1, "{} is to be started once", service.unit);
    }
}

/// A hundred hooks, each with a unit of its own, beside the generator of `/etc/fstab`.
fn hundred_hooks(machine: &Machine) {
    machine.power_off();
    for number in 0..100 {
        machine.write(
            &format!("/usr/lib/reseed/hooks.d/many-{number}.toml"),
            &format!(
                "version = 1\ndescription = \"one of many\"\n[applies]\nfiles = [\"/etc/many/{number}.conf\"]\n\
                 [[certificate]]\n[[certificate.file]]\npath = \"/etc/many/{number}.pem\"\nholds = [\"key\", \
                 \"certificate\"]\n[[unit]]\nname = \"many-{number}.service\"\nchange = \"restart\"\n"
            ),
        );
        machine.write(&format!("/etc/many/{number}.conf"), "");
        let unit = "[Service]\nExecStart=/bin/sleep infinity\n";
        machine.write(&format!("/etc/systemd/system/many-{number}.service"), unit);
    }
    machine.boot();
    machine.settled();
    let drop_ins = machine.ok(&["sh", "-c", "ls -d /run/systemd/generator/many-*.service.d | wc -l"]);
    assert_eq!(drop_ins.trim_end(), "100", "a drop-in for each unit that a hook names");
    let took = |generator: &str| -> Duration {
        let times = machine.generator_times(generator);
        *times.first().unwrap_or_else(|| panic!("{generator} did not run"))
    };
    let (ours, fstab) = (took("reseed-generator"), took("systemd-fstab-generator"));
    println!(
        "lab: reseed-generator with 100 hooks {:.1} ms, systemd-fstab-generator in the same boot {:.1} ms",
        ours.as_secs_f64() * 1e3,
        fstab.as_secs_f64() * 1e3
    );
    assert!(ours < Duration::from_secs(2), "{ours:?}");
}

/// Without a proper name nothing is made, what is stale is held back, and the boot is a good one. With the name,
/// given at run time, everything comes up by itself.
pub fn name_becomes_proper_while_running() {
    let machine = MAIL.machine("improper", &[]);
    machine.write("/etc/reseed/reseed.toml", "[watch]\nsettle-seconds = 1\nwindow-seconds = 5\n");
    machine.enable("reseed-watch.path", "multi-user.target");
    let built = MAIL.fingerprints(&machine);
    machine.start();
    let ports = MAIL.services.iter().map(|service| service.port).collect::<Vec<_>>();
    let watch = machine.watch(&ports);
    assert_eq!(machine.settled(), "running", "a name that is not proper must not fail a boot");

    assert_eq!(MAIL.fingerprints(&machine), built, "made for a name that is not proper");
    let held: BTreeSet<&str> = MAIL.services.iter().map(|service| service.unit).collect();
    let status = machine.reseed(0, &["status"]);
    for unit in held.iter().copied().chain(["tls-echo.socket"]) {
        assert_eq!(machine.systemctl("is-active", unit), "inactive", "{unit}");
        assert_eq!(machine.systemctl("is-failed", unit), "inactive", "{unit}");
        let said = String::from_utf8(machine.run(&["systemctl", "status", unit]).stdout).unwrap();
        // Nobody has tried to start what its socket would start.
        let tried = unit != TLS_ECHO.unit;
        assert_eq!(said.contains("ConditionPathExists=!/run/reseed/hold/"), tried, "{unit}:\n{said}");
    }
    for unit in held {
        // What is enabled stays so: it is held, not disabled.
        assert!(
            !["disabled", "masked"].contains(&machine.property(unit, "UnitFileState").as_str()),
            "{unit}"
        );
        if unit == STUNNEL.unit {
            continue; // The message is about its template.
        }
        let said = String::from_utf8(machine.run(&["systemctl", "status", "-n", "50", unit]).stdout).unwrap();
        assert!(
            said.contains("reseed release"),
            "systemctl status does not say what to do for {unit}:\n{said}"
        );
        assert!(said.contains("localhost"), "systemctl status does not say why for {unit}:\n{said}");
        assert!(
            status.contains(unit.split('@').next().unwrap()),
            "reseed status does not name {unit}:\n{status}"
        );
    }
    assert!(watch.shown().is_empty(), "{:?}", watch.shown());
    machine.reseed(4, &["check"]);

    machine.rename(MAIL.name);
    machine.wait_until("every service runs", 60, || {
        let waits_for_its_socket = |service: &Service| service.unit == TLS_ECHO.unit;
        let runs = |service: &Service| machine.systemctl("is-active", service.unit) == "active";
        MAIL.services.iter().all(|service| waits_for_its_socket(service) || runs(service))
    });
    MAIL.serves(&machine, MAIL.name);
    let right = MAIL.fingerprints(&machine);
    for shown in watch.shown() {
        assert!(right.contains(&shown.fingerprint), "{shown:?}");
    }
    assert_eq!(machine.settled(), "running");
    assert_eq!(machine.reseed(0, &["check"]), "");
    let boots = machine.ok(&["journalctl", "-q", "--list-boots"]);
    assert_eq!(boots.lines().count(), 1, "it was rebooted:\n{boots}");
}

/// Where our files are, and those that we make.
const OURS: &[&str] =
    &["/etc/reseed", "/var/lib/reseed", "/etc/ssl", "/etc/ssh", "/etc/stunnel", "/etc/systemd/system"];

const SEED: &str = r#"version = 1
[subject]
country = "US"
state = "Kansas"
locality = "Wichita"
organization = "Example"
organizational_unit = "Mail"
"#;
