//! The booted lab, from power-on: what a machine does at its boot, with units, generator and hooks installed as
//! a package would.
//!
//! Each case boots machines of its own (`lab/machine.rs`). Without root, or without a tool, every case is
//! reported as ignored; `RESEED_TESTS_REQUIRE_ALL=1` makes that a failure.

#[path = "boot/cost.rs"]
mod cost;
#[path = "boot/gates.rs"]
mod gates;
#[path = "boot/image.rs"]
mod image;
#[path = "lab/machine.rs"]
mod machine;
#[path = "boot/names.rs"]
mod names;
#[path = "boot/power.rs"]
mod power;
#[path = "lab/qemu.rs"]
mod qemu;
#[path = "boot/served.rs"]
mod served;
#[path = "boot/site.rs"]
mod site;
#[path = "boot/sources.rs"]
mod sources;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use machine::{Machine, missing};
use qemu::Qemu;

fn main() -> ExitCode {
    let booted: [(&str, fn()); 14] = [
        // The longest first.
        ("power_cut_in_the_run_leaves_it_whole", power::power_cut_in_the_run_leaves_it_whole),
        ("mail_server_boots_as_who_it_is", names::mail_server_boots_as_who_it_is),
        ("directory_server_boots_as_who_it_is", names::directory_server_boots_as_who_it_is),
        ("name_becomes_proper_while_running", names::name_becomes_proper_while_running),
        (
            "hook_that_cannot_succeed_holds_and_then_disables",
            gates::hook_that_cannot_succeed_holds_and_then_disables,
        ),
        ("dns_that_does_not_answer_rotates_nothing", sources::dns_that_does_not_answer_rotates_nothing),
        ("machine_id_of_an_image_is_all_one", sources::machine_id_of_an_image_is_all_one),
        ("clone_gets_host_keys_of_its_own", sources::clone_gets_host_keys_of_its_own),
        ("sealed_root_boots_twice_with_nothing_shared", image::sealed_root_boots_twice_with_nothing_shared),
        ("audit_of_a_bare_system_finds_what_is_there", image::audit_of_a_bare_system_finds_what_is_there),
        ("probe_of_the_mail_server", served::probe_of_the_mail_server),
        ("probe_of_the_directory_server", served::probe_of_the_directory_server),
        ("cut_loses_what_was_not_synced", cut_loses_what_was_not_synced),
        ("image_and_clone_get_a_machine_id_of_their_own", image_and_clone_get_a_machine_id_of_their_own),
    ];
    // Whoever builds a root keeps a copy of every mount, also of a machine's disk, for as long as that takes.
    if missing().is_none() {
        ["mail", "directory"].into_iter().for_each(machine::built_root);
    }
    let virtual_machines: [(&str, fn()); 1] =
        [("power_cut_of_a_virtual_machine_leaves_it_whole", power_cut_of_a_virtual_machine_leaves_it_whole)];
    machine::run(&[(missing, &booted), (Qemu::missing, &virtual_machines)])
}

/// The negative control: were nothing lost, or nothing seen, the other cases would prove nothing.
fn cut_loses_what_was_not_synced() {
    let machine = Machine::of("directory", "control", &["--disk"]);
    machine.time_generators(&["systemd-fstab-generator"]);
    machine.rename("directory.example.com");
    machine.start();
    let watch = machine.watch(&[636, 993]);
    assert_eq!(machine.settled(), "running");
    for (port, command) in [(636, "slapd"), (993, "dovecot")] {
        let served = machine.served("directory.example.com", port);
        let shown = watch.shown();
        let seen: Vec<_> = shown.iter().filter(|shown| shown.port == port).collect();
        assert!(!seen.is_empty(), "{command} was not seen");
        assert!(seen.iter().all(|shown| shown.fingerprint == served.fingerprint), "{seen:?}");
        assert!(seen.iter().all(|shown| shown.subject == served.subject), "{seen:?}");
    }
    drop(watch);
    let took = machine.generator_times("systemd-fstab-generator");
    assert!(matches!(took[..], [one] if one > Duration::ZERO && one < Duration::from_secs(1)), "{took:?}");

    machine.ok(&["sh", "-c", "echo synced >/etc/synced; sync -f /etc; echo lost >/etc/lost"]);
    assert!(machine.path("/etc/lost").exists());
    machine.cut();
    assert_eq!(fs::read_to_string(machine.path("/etc/synced")).unwrap(), "synced\n");
    assert!(!machine.path("/etc/lost").exists(), "what was not synced is on the disk");
    machine.boot();
    assert_eq!(machine.settled(), "running");
}

/// What the cases about clones and images rest on.
fn image_and_clone_get_a_machine_id_of_their_own() {
    let machine = Machine::of("mail", "image", &[]);
    let id = |machine: &Machine| fs::read_to_string(machine.path("/etc/machine-id")).unwrap();
    let mut seen = vec![id(&machine)];
    for how in ["absent", "empty", "uninitialized"] {
        machine.boot_with(&["--machine-id", how]);
        let new = machine.ok(&["cat", "/etc/machine-id"]);
        assert_eq!(new.trim_end().len(), 32, "{how}: {new}");
        assert!(!seen.contains(&new), "{how}: it came back: {seen:?}");
        seen.push(new);
        machine.power_off();
    }
    let clone = machine.cloned("copy");
    assert!(!seen.contains(&id(&clone)), "a clone has the id of its original");
    assert_eq!(machine.fingerprint("/etc/stunnel/lab.pem"), clone.fingerprint("/etc/stunnel/lab.pem"));
    clone.write("/etc/hostname", "other.example.com\n");
    assert_ne!(fs::read_to_string(machine.path("/etc/hostname")).unwrap(), "other.example.com\n");
}

/// A kernel, a disk and a cut that are not this host's. One boot of each kind: a smoke test, no proof.
fn power_cut_of_a_virtual_machine_leaves_it_whole() {
    let machine = Qemu::new("virtual");
    let moment = u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_millis()) * 3;
    let before = machine.cut("rename", "first run done", moment);
    assert!(before.contains("first run done"), "{before}");
    let after = machine.run("check");
    let name = after.lines().find_map(|line| line.strip_prefix("qemu: back as ")).expect("a name").trim_end();
    println!("lab: QEMU, cut {moment} ms after the first run: back as {name}");
    assert!(after.contains("qemu: whole"), "cut {moment} ms after the first run:\n{after}");
}
