//! How units are told, held back and let go, with a manager of our own.

use std::os::unix::net::UnixStream;
use std::thread;

use zbus::connection::Builder;
use zbus::{Guid, block_on};

use super::fake::{Fake, FakeUnit, PATIENCE, Way, manager_of, unit};
use super::*;
use crate::ledger::GateChange::{self, Disabled, Held, Masked, Stopped};

fn calls(fake: &Fake) -> Vec<String> {
    fake.world().calls.iter().filter(|call| *call != "subscribe").cloned().collect()
}

fn requests(list: &[(&str, Verb)]) -> BTreeMap<String, Verb> {
    list.iter().map(|(pattern, verb)| ((*pattern).to_owned(), *verb)).collect()
}

type Gating<'a> = (&'a str, FakeUnit, &'a [Former], &'a [&'a str], &'a [&'a str]);

fn former(unit: &str, active: bool, change: GateChange) -> Former {
    Former { unit: unit.into(), active, change }
}

#[test]
fn every_running_unit_is_told_once_by_the_stronger_verb() {
    let (systemd, fake) = manager_of(
        vec![
            unit("apache2.service", "active", "enabled", Way::Obeys),
            unit("cyrus-imapd.service", "inactive", "enabled", Way::Obeys),
            unit("dovecot.service", "activating", "enabled", Way::Obeys),
            unit("postfix.service", "active", "enabled", Way::Hurries),
            unit("postfix@-.service", "active", "indirect", Way::Obeys),
            unit("postfix@out.service", "reloading", "indirect", Way::Obeys),
        ],
        "running",
    );
    let asked = requests(&[
        ("apache2.service", Verb::Reload),
        ("apache*.service", Verb::Restart),
        ("cyrus-imapd.service", Verb::Restart),
        ("dovecot.service", Verb::Reload),
        ("nowhere.service", Verb::Reload),
        ("postfix*", Verb::Reload),
        ("postfix@*.service", Verb::Reload),
        ("template@.service", Verb::Reload),
    ]);
    let told = systemd.tell(&asked).unwrap();
    let summary: Vec<_> =
        told.iter().map(|(unit, told)| (unit.as_str(), told.pattern.as_str(), told.verb)).collect();
    assert_eq!(
        summary,
        [
            ("apache2.service", "apache*.service", Verb::Restart),
            ("postfix.service", "postfix*", Verb::Reload),
            ("postfix@-.service", "postfix*", Verb::Reload),
            ("postfix@out.service", "postfix*", Verb::Reload),
        ]
    );
    assert!(told.values().all(|told| told.result == Ok(())), "{told:?}");
    assert_eq!(
        calls(&fake),
        [
            "restart apache2.service",
            "reload postfix.service",
            "reload postfix@-.service",
            "reload postfix@out.service"
        ]
    );
}

#[test]
fn what_can_become_of_a_unit_that_is_told() {
    let soon = Duration::from_millis(60);
    let cases = [
        ("obeys", Way::Obeys, "running", None),
        ("signal before reply", Way::Hurries, "running", None),
        ("signals in masses", Way::Floods, "running", None),
        ("fails", Way::Fails("failed"), "running", Some("its restart ended as \"failed\"")),
        ("dependency", Way::Fails("dependency"), "running", Some("ended as \"dependency\"")),
        ("refused", Way::Refuses, "running", Some("restart refused: ")),
        ("hangs", Way::Hangs, "running", Some("has not ended within")),
        ("hangs at boot", Way::Hangs, "starting", Some("has not ended within")),
        ("waits", Way::Waits, "running", Some("has not ended within")),
        ("waits for us at boot", Way::Waits, "starting", None),
        ("waits for us", Way::Waits, "our own job", None),
        ("dies", Way::Dies(soon), "running", Some("is failed (dead), result \"exit-code\" ")),
        ("loops", Way::Loops(soon), "running", Some("died and was started again by itself")),
    ];
    for (case, way, state, expected) in cases {
        // The other one is told all the same.
        let units = vec![
            unit("a.service", "active", "enabled", way),
            unit("b.service", "active", "enabled", Way::Obeys),
        ];
        let (systemd, fake) = manager_of(units, state);
        fake.world().within_job = state == "our own job";
        let told = systemd.tell(&requests(&[("?.service", Verb::Restart)])).unwrap();
        assert_eq!(told["b.service"].result, Ok(()), "{case}");
        match (&told["a.service"].result, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => {
                let error = error.to_string();
                assert!(error.starts_with("a.service: ") && error.contains(expected), "{case}: {error}");
                assert!(error.ends_with("`journalctl -u a.service`"), "{case}: {error}");
            }
            other => panic!("{case}: {other:?}"),
        }
    }
}

#[test]
fn gates_by_what_takes_effect_and_releases_to_what_was() {
    let queued = |unit: FakeUnit| FakeUnit { queued: Some("start"), ..unit };
    let wanted = |unit: FakeUnit| FakeUnit { wanted_by: vec!["x.target".into()], ..unit };
    // case, unit, what is recorded, what was asked for to gate it and to release it
    let cases: [Gating<'_>; 10] = [
        (
            "enabled and running",
            unit("a.service", "active", "enabled", Way::Obeys),
            &[former("a.service", true, Disabled)],
            &["stop a.service", "disable a.service", "reload"],
            &["enable a.service", "reload", "start a.service"],
        ),
        (
            "disabling changes nothing",
            unit("a.service", "active", "generated", Way::Obeys),
            &[former("a.service", true, Masked)],
            &["stop a.service", "mask a.service", "reload"],
            &["unmask a.service", "reload", "start a.service"],
        ),
        (
            "disabled, but wanted by another",
            wanted(unit("a.service", "inactive", "enabled", Way::Obeys)),
            &[former("a.service", false, Disabled), former("a.service", false, Masked)],
            &["disable a.service", "reload", "mask a.service", "reload"],
            &["unmask a.service", "enable a.service", "reload"],
        ),
        (
            "the queued start of a boot",
            queued(unit("a.service", "inactive", "generated", Way::Obeys)),
            &[former("a.service", true, Masked)],
            &["stop a.service", "mask a.service", "reload"],
            &["unmask a.service", "reload", "start a.service"],
        ),
        (
            "merely running",
            unit("a.service", "active", "disabled", Way::Obeys),
            &[former("a.service", true, Stopped)],
            &["stop a.service"],
            &["start a.service"],
        ),
        ("at rest", unit("a.service", "inactive", "disabled", Way::Obeys), &[], &[], &[]),
        ("masked by the administrator", unit("a.service", "inactive", "masked", Way::Obeys), &[], &[], &[]),
        (
            "without a file",
            unit("a.service", "active", "", Way::Obeys),
            &[former("a.service", true, Stopped)],
            &["stop a.service"],
            &["start a.service"],
        ),
        ("another", unit("b.service", "active", "enabled", Way::Obeys), &[], &[], &[]),
        (
            "signal before reply",
            unit("a.service", "active", "enabled", Way::Hurries),
            &[former("a.service", true, Disabled)],
            &["stop a.service", "disable a.service", "reload"],
            &["enable a.service", "reload", "start a.service"],
        ),
    ];
    for (case, unit, expected, gating, releasing) in cases {
        let before = (unit.active, unit.file);
        let before = if unit.queued.is_some() { ("active", before.1) } else { before };
        let (systemd, fake) = manager_of(vec![unit], "running");
        let former = systemd.gate("a.service", Policy::Disable).unwrap();
        assert_eq!(former, expected, "{case}");
        assert_eq!(calls(&fake), gating, "{case}");
        fake.world().calls.clear();
        systemd.release("a.service", &former).unwrap();
        assert_eq!(calls(&fake), releasing, "{case}");
        let after = {
            let world = fake.world();
            (world.units[0].active, world.units[0].file)
        };
        // The fake forgets what was beneath a mask.
        let after = if after.1 == "generated" { (after.0, before.1) } else { after };
        assert_eq!(after, before, "{case}");
    }
}

#[test]
fn what_triggers_a_unit_is_held_back_before_it() {
    let service = FakeUnit {
        triggered_by: vec!["imap.socket".into(), "gone.timer".into()],
        ..unit("imap.service", "active", "static", Way::Obeys)
    };
    let units = || vec![service.clone(), unit("imap.socket", "active", "enabled", Way::Obeys)];
    let (systemd, fake) = manager_of(units(), "running");
    let held = systemd.gate("imap.service", Policy::Disable).unwrap();
    assert_eq!(held, [former("imap.socket", true, Disabled), former("imap.service", true, Masked)]);
    assert_eq!(
        calls(&fake),
        [
            "stop imap.socket",
            "stop imap.service",
            "disable imap.socket",
            "reload",
            "mask imap.service",
            "reload"
        ]
    );
    fake.world().calls.clear();
    systemd.release("imap.service", &held).unwrap();
    assert_eq!(
        calls(&fake),
        ["unmask imap.service", "enable imap.socket", "reload", "start imap.socket", "start imap.service"]
    );

    let (systemd, fake) = manager_of(units(), "running");
    let held = systemd.gate("imap.service", Policy::Hold).unwrap();
    assert_eq!(held, [former("imap.socket", true, Held), former("imap.service", true, Held)]);
    assert_eq!(calls(&fake), ["stop imap.socket", "stop imap.service"]);
    fake.world().calls.clear();
    systemd.release("imap.service", &held).unwrap();
    assert_eq!(calls(&fake), ["start imap.socket", "start imap.service"]);
}

#[test]
fn a_queued_start_is_left_to_its_condition_and_made_up_for() {
    let mut queued = unit("imap.service", "inactive", "enabled", Way::Obeys);
    queued.queued = Some("start");
    let (systemd, fake) = manager_of(vec![queued], "starting");
    let held = systemd.gate("imap.service", Policy::Hold).unwrap();
    assert_eq!(held, [former("imap.service", true, Held)]);
    assert_eq!(calls(&fake), Vec::<String>::new());

    // Held before anybody could be asked: nothing is recorded, but systemd knows what it passed over.
    let passed_over = |mark: &str| FakeUnit {
        passed_over_by: Some(mark.to_owned()),
        ..unit("a.service", "inactive", "enabled", Way::Obeys)
    };
    for (mark, expected) in [("/run/reseed/hold/a.service", &["start a.service"][..]), ("/etc/other", &[])] {
        let (systemd, fake) = manager_of(vec![passed_over(mark)], "running");
        systemd.release("a.service", &[]).unwrap();
        assert_eq!(calls(&fake), expected, "{mark}");
        // Asked while it is held, that is recorded: a reload of the manager forgets it.
        let held = systemd.gate("a.service", Policy::Hold).unwrap();
        assert_eq!(held, [former("a.service", !expected.is_empty(), Held)], "{mark}");
    }
}

#[test]
fn a_pattern_also_means_files_that_are_not_loaded() {
    let units = vec![
        unit("unloaded-a.service", "inactive", "enabled", Way::Obeys),
        unit("unloaded-b.service", "inactive", "disabled", Way::Obeys),
    ];
    let (systemd, _fake) = manager_of(units, "running");
    let held = systemd.gate("unloaded-*", Policy::Disable).unwrap();
    assert_eq!(held, [former("unloaded-a.service", false, Disabled)]);
    assert_eq!(systemd.gate("postfix@*.service", Policy::Disable), Ok(Vec::new()), "a template cannot run");
}

#[test]
fn a_gate_that_takes_no_effect_is_undone() {
    let cases = [
        ("lives where its mask would be", "static", Way::InEtc, "it cannot be masked: "),
        ("mask without effect", "static", Way::Unmaskable, "it was masked, but the manager says \"static\""),
        ("comes back", "enabled", Way::Returns, "it is active although it was stopped"),
        ("cannot be stopped", "enabled", Way::Refuses, "cannot be stopped: "),
        ("does not stop", "enabled", Way::Hangs, "its stop has not ended within"),
        ("stop fails", "enabled", Way::Fails("canceled"), "its stop ended as \"canceled\""),
    ];
    for (case, file, way, expected) in cases {
        let first = unit("a.service", "active", "enabled", Way::Obeys);
        let (systemd, fake) = manager_of(vec![first, unit("b.service", "active", file, way)], "running");
        let error = systemd.gate("?.service", Policy::Disable).unwrap_err().to_string();
        assert!(error.contains("b.service: ") && error.contains(expected), "{case}: {error}");
        let units = fake.world().units.clone();
        assert_eq!(units[0].file, "enabled", "{case}: {error}");
        assert_eq!((units[0].active, units[1].active), ("active", "active"), "{case}: {error}");
    }
}

#[test]
fn the_link_to_a_unit_file_elsewhere_is_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let link = scratch.path().join("a.service");
    nix::unistd::symlinkat("/opt/vendor/a.service", nix::fcntl::AT_FDCWD, &link).unwrap();
    let unit = FakeUnit {
        fragment: link.to_str().unwrap().into(),
        ..unit("a.service", "active", "enabled", Way::Obeys)
    };
    let (systemd, fake) = manager_of(vec![unit], "running");
    let held = systemd.gate("a.service", Policy::Disable).unwrap();
    assert_eq!(held, [former("a.service", true, Disabled)]);
    assert!(calls(&fake).contains(&"link /opt/vendor/a.service".to_owned()));
    systemd.release("a.service", &held).unwrap();
    assert_eq!(fake.world().units[0].file, "enabled");
}

#[test]
fn a_release_tries_every_unit() {
    let cases = [
        ("no longer installed", Way::Obeys, "gone.service", None),
        (
            "does not start",
            Way::Fails("failed"),
            "a.service",
            Some("a.service: its start ended as \"failed\""),
        ),
        ("refused", Way::Refuses, "a.service", Some("a.service: cannot be started: ")),
    ];
    for (case, way, name, expected) in cases {
        let units = vec![
            unit("a.service", "inactive", "disabled", way),
            unit("b.service", "inactive", "masked", Way::Obeys),
        ];
        let (systemd, fake) = manager_of(units, "running");
        let held = [former(name, true, Disabled), former("b.service", true, Masked)];
        match (systemd.release("a.service", &held), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{case}: {error}"),
            other => panic!("{case}: {other:?}"),
        }
        assert_eq!(fake.world().units[1].active, "active", "{case}");
    }
}

#[test]
fn a_start_at_boot_is_not_waited_for() {
    let (systemd, fake) = manager_of(vec![unit("a.service", "inactive", "disabled", Way::Waits)], "starting");
    let since = Instant::now();
    systemd.release("a.service", &[former("a.service", true, Disabled)]).unwrap();
    assert!(since.elapsed() < PATIENCE.job, "{:?}", since.elapsed());
    assert_eq!(calls(&fake), ["enable a.service", "reload", "start a.service"]);
}

#[test]
fn an_errand_has_a_unit_of_its_own_and_is_heard_to_the_end() {
    let command = ["/usr/sbin/check".to_owned(), "a b".to_owned()];
    let limit = Duration::from_secs(7);
    let writes = ["/run/check".into()];
    let errand = Errand { writes: &writes, ..Errand::new(&command, limit) };
    let (systemd, fake) = manager_of(Vec::new(), "running");
    fake.world().script = "echo fine; head -c 300000 /dev/zero";
    let said = systemd.run(&errand).unwrap();
    assert!(said.starts_with("fine\n") && said.len() == 4096, "its beginning, and no flood of it");
    let asked = calls(&fake).join("\n");
    for expected in [
        "ProtectSystem=\"strict\"",
        "ReadWritePaths=[\"-/run/check\"]",
        "PrivateNetwork=true",
        "TimeoutStartUSec=uint64 7000000",
        "\"/usr/sbin/check\", \"a b\"",
    ] {
        assert!(asked.contains(expected), "{expected} in:\n{asked}");
    }
    fake.world().script = "echo first; echo 'line 7: no such file' >&2; exit 3";
    let error = systemd.run(&errand).unwrap_err().to_string();
    assert_eq!(error, "/usr/sbin/check failed: first; line 7: no such file");
}

#[test]
fn nothing_to_do_asks_nobody() {
    let (systemd, fake) = manager_of(vec![unit("a.service", "active", "enabled", Way::Obeys)], "running");
    assert_eq!(systemd.tell(&BTreeMap::new()), Ok(BTreeMap::new()));
    assert_eq!(systemd.gate("a.service", Policy::Report), Ok(Vec::new()));
    assert!(fake.world().calls.is_empty());
}

#[test]
fn a_manager_that_cannot_be_reached_is_said_in_words() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = thread::spawn(|| {
        block_on(async {
            let server = Builder::unix_stream(theirs).server(Guid::generate()).p2p().build().await.unwrap();
            clock::pause(Duration::from_millis(20));
            drop(server);
        });
    });
    let connection =
        block_on(Builder::unix_stream(ours).p2p().method_timeout(Duration::from_secs(2)).build()).unwrap();
    server.join().unwrap();
    let systemd = Systemd::over(connection, PATIENCE);
    let error = systemd.gate("a.service", Policy::Disable).unwrap_err().to_string();
    assert!(error.starts_with("the service manager cannot be reached over D-Bus: "), "{error}");
}
