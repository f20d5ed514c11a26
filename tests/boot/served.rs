//! `reseed probe` against real servers: right, for another name, right again, and mixed.

use serde_json::Value;

use crate::machine::{Machine, checked};
use crate::site::{CYRUS, DIRECTORY, MAIL, Site, hook_file};

/// Also: cyrus with some of its children serving the old certificate, found by the probe, and put right by a run
/// whose hook says that a reload is enough.
pub fn probe_of_the_mail_server() {
    let machine = MAIL.machine("mail-probed", &[]);
    right_mismatch_right(&machine, &MAIL);

    // A child that has served keeps what it has read.
    machine.served(RENAMED, 143);
    machine.served(RENAMED, CYRUS.port);
    let pem = machine.path(CYRUS.file);
    let other = machine.path("/etc/other.pem");
    let mut openssl = std::process::Command::new("openssl");
    openssl.args("req -x509 -nodes -days 90 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj".split(' '));
    openssl.arg(format!("/CN={RENAMED}")).arg("-addext").arg(format!("subjectAltName=DNS:{RENAMED}"));
    let certificate = checked(openssl.arg("-keyout").arg(&other));
    let key = std::fs::read_to_string(&other).unwrap();
    std::fs::write(&pem, format!("{key}{certificate}")).unwrap();
    let rows = probed(&machine, 3);
    let mixed = rows.iter().filter(|row| row["verdict"] == "mixed");
    assert!(mixed.clone().count() > 0, "{rows:#?}");
    assert!(mixed.clone().all(|row| row["hook"] == "cyrus-imapd"), "{rows:#?}");

    reload_that_leaves_it_mixed(&machine);
}

/// The run notices and restarts, and the report says so.
fn reload_that_leaves_it_mixed(machine: &Machine) {
    machine.ok(&["systemctl", "restart", CYRUS.unit]);
    let shipped = std::fs::read_to_string(crate::machine::hooks_we_ship().join("cyrus-imapd.toml")).unwrap();
    let reloads = shipped.replace("change = \"restart\"", "change = \"reload\"");
    assert_ne!(reloads, shipped);
    machine.write(&hook_file("cyrus-imapd"), &format!("{reloads}\n"));
    machine
        .write("/etc/systemd/system/cyrus-imapd.service.d/reload.conf", "[Service]\nExecReload=/bin/true\n");
    machine.ok(&["systemctl", "daemon-reload"]);
    for port in [143, CYRUS.port, 995] {
        machine.served(RENAMED, port);
    }
    machine.rename(MAIL.name);
    let said = machine.reseed(0, &["apply", "--adopt", CYRUS.file]);
    let line = said.lines().find(|line| line.starts_with(CYRUS.unit)).unwrap_or_default();
    assert!(line.contains("restarted"), "the report does not say that it was restarted:\n{said}");
    MAIL.serves(machine, MAIL.name);
    all_right(machine, &MAIL);
}

pub fn probe_of_the_directory_server() {
    right_mismatch_right(&DIRECTORY.machine("directory-probed", &[]), &DIRECTORY);
}

fn right_mismatch_right(machine: &Machine, site: &Site) {
    machine.rename(site.name);
    machine.boot();
    all_right(machine, site);

    machine.rename(RENAMED);
    let rows = probed(machine, 3);
    for service in site.services {
        let of_port: Vec<_> = rows.iter().filter(|row| row["port"] == service.port).collect();
        assert!(!of_port.is_empty(), "port {} is not probed: {rows:#?}", service.port);
        assert!(of_port.iter().all(|row| row["wrong"] == true), "port {}: {of_port:#?}", service.port);
    }

    machine.reseed(0, &["apply"]);
    site.serves(machine, RENAMED);
    all_right(machine, site);
}

fn all_right(machine: &Machine, site: &Site) {
    // What its socket starts has to run to be found.
    for service in site.services {
        machine.served(site.name, service.port);
    }
    let rows = probed(machine, 0);
    for service in site.services {
        let of_port: Vec<_> = rows.iter().filter(|row| row["port"] == service.port).collect();
        assert!(!of_port.is_empty(), "port {} is not probed: {rows:#?}", service.port);
        assert!(of_port.iter().all(|row| row["verdict"] == "fresh"), "port {}: {of_port:#?}", service.port);
    }
}

fn probed(machine: &Machine, status: i32) -> Vec<Value> {
    let said = machine.reseed(status, &["probe", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    said["probed"].as_array().expect("rows").clone()
}

const RENAMED: &str = "renamed.example.com";
