//! Services that are held back because their certificates cannot be made, and how they come back.

use std::path::Path;

use crate::machine::{Machine, hooks_we_ship};
use crate::site::{APACHE, CYRUS, MAIL, SENDMAIL, STUNNEL, Service, TLS_ECHO, hook_file};

/// Held at the first boot, disabled at the second, enabled and started when the cause is mended; and the ways
/// out before that: it becomes fresh, somebody says so, its hook goes away.
pub fn hook_that_cannot_succeed_holds_and_then_disables() {
    let machine = MAIL.machine("gated", &[]);
    machine.write("/etc/reseed/reseed.toml", "[gate]\ndisable-after-boots = 2\n");
    let hooks = ["cyrus-imapd", "sendmail", "ssl-cert", "stunnel", "tls-echo"];
    for hook in hooks {
        break_hook(&machine, hook);
    }
    machine.rename(MAIL.name);
    machine.boot();
    let built = MAIL.fingerprints(&machine);

    for service in [&APACHE, &CYRUS, &SENDMAIL, &STUNNEL, &TLS_ECHO] {
        is_held(&machine, service);
    }
    assert_eq!(machine.systemctl("is-active", "tls-echo.socket"), "inactive");
    let status = machine.reseed(0, &["status"]);
    for hook in hooks {
        assert!(status.contains(hook), "{hook}:\n{status}");
    }
    assert!(status.contains(FAILING_CHECK), "status does not say why:\n{status}");

    // It becomes fresh.
    machine.write(&hook_file("stunnel"), MAIL.hook("stunnel"));
    machine.reseed(0, &["apply", "stunnel"]);
    STUNNEL.serves(&machine, MAIL.name);
    is_held(&machine, &CYRUS);

    // Somebody says so; and it is not held again for the same reason.
    machine.reseed(3, &["release", APACHE.unit]);
    is_held(&machine, &APACHE);
    machine.reseed(0, &["release", APACHE.unit, "--anyway"]);
    serves_what_was_built(&machine, &APACHE, &built);
    machine.reseed(1, &["apply"]);
    serves_what_was_built(&machine, &APACHE, &built);

    // Its hook goes away.
    machine.remove(&hook_file("tls-echo"));
    machine.reseed(1, &["apply"]);
    assert_eq!(machine.systemctl("is-active", "tls-echo.socket"), "active");
    serves_what_was_built(&machine, &TLS_ECHO, &built);

    machine.power_off();
    machine.boot();
    for service in [&CYRUS, &SENDMAIL] {
        let state = machine.property(service.unit, "UnitFileState");
        assert!(["disabled", "masked"].contains(&state.as_str()), "{} is {state}", service.unit);
        assert_eq!(machine.systemctl("is-active", service.unit), "inactive", "{}", service.unit);
        assert!(machine.served_now(MAIL.name, service.port).is_none(), "{} serves", service.unit);
    }
    serves_what_was_built(&machine, &APACHE, &built);
    serves_what_was_built(&machine, &TLS_ECHO, &built);
    STUNNEL.serves(&machine, MAIL.name);

    // The cause is mended.
    for hook in ["cyrus-imapd", "sendmail", "ssl-cert"] {
        machine.remove(&hook_file(hook));
    }
    machine.write(&hook_file("tls-echo"), MAIL.hook("tls-echo"));
    machine.reseed(0, &["apply"]);
    for service in [&CYRUS, &SENDMAIL] {
        assert_eq!(machine.systemctl("is-active", service.unit), "active", "{}", service.unit);
    }
    MAIL.serves(&machine, MAIL.name);
    machine.power_off();
    machine.boot();
    assert_eq!(machine.settled(), "running");
    MAIL.serves(&machine, MAIL.name);
    assert!(!machine.reseed(0, &["status"]).contains("HELD"));
}

/// Held, which is neither failed nor disabled.
fn is_held(machine: &Machine, service: &Service) {
    let unit = service.unit;
    assert_eq!(machine.systemctl("is-active", unit), "inactive", "{unit}");
    let state = machine.property(unit, "UnitFileState");
    assert!(!["disabled", "masked", "masked-runtime"].contains(&state.as_str()), "{unit} is {state}");
    let mark = if unit.contains('@') { "stunnel@.service" } else { unit };
    let mark = Path::new("/run/reseed/hold").join(mark);
    let why = machine.ok(&["cat", mark.to_str().unwrap()]);
    assert!(why.contains(FAILING_CHECK), "{unit}: the mark does not say why: {why}");
    assert!(machine.served_now(MAIL.name, service.port).is_none(), "{unit} serves");
}

fn serves_what_was_built(machine: &Machine, service: &Service, built: &[String]) {
    let served = machine.served(MAIL.name, service.port);
    assert!(built.contains(&served.fingerprint), "{}: {served:?}", service.unit);
    assert!(!served.matches, "{}: {served:?}", service.unit);
}

/// Replaces a hook by one that cannot succeed: a check of its program's configuration fails.
fn break_hook(machine: &Machine, name: &str) {
    let shipped = hooks_we_ship().join(format!("{name}.toml"));
    let hook = std::fs::read_to_string(shipped).unwrap_or_else(|_| MAIL.hook(name).to_owned());
    machine.write(&hook_file(name), &format!("{hook}\n[[check]]\ncommand = [\"{FAILING_CHECK}\"]\n"));
}

const FAILING_CHECK: &str = "/usr/bin/false";
