//! Four hosts with jails and 24 places of all kinds: what is down, full, stubborn or hostile holds up nobody else, and
//! is done once it is repaired.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use reseed::manager::inventory::model::{
    Algorithms, FileType, Kind, Mode, Object, Outcome, Place, State, SubjectType, Target,
};

use crate::fleet::{Fleet, holds, name, place, target};
use crate::network::Network;
use crate::support::{Ran, can_mount, has};

const HOSTS: [&str; 4] = ["one", "down", "full", "stubborn"];
/// Three certificates: a pair of a public authority, one of a name with "key" in it, one of a client.
const CERTIFICATES: [&str; 3] = ["www.example", "monkey.example", "client1"];

fn can_have_hosts() -> bool {
    let tools = ["ip", "unshare", "nsenter", "ss", "ssh", "ssh-keygen", "sshd", "openssl"];
    can_mount() && tools.into_iter().all(has)
}

/// Six kinds of files, each on the host itself, given away there, in a jail, and in a jail with links or a directory
/// for keys.
fn places(fleet: &Fleet) -> Vec<(Place, bool)> {
    let ground = fleet.path("prod").display().to_string();
    let told = fleet.path("host/told").display().to_string();
    let mut places = Vec::new();
    for (at, (file_type, _)) in FileType::ALL.into_iter().enumerate() {
        let key_path = file_type.has_key_file().then(|| "/keys".to_owned());
        let here = place(file_type, &format!("{ground}/srv/h{at}"));
        let mode = Some(Mode::new(0o440).unwrap());
        let given = Place { user: Some(4242), group: Some(4343), mode, chown_both: true, ..here.clone() };
        let jailed = place(file_type, &format!("srv/j{at}/{{}}"));
        let jailed = Place { user: Some(70), group: Some(70), pglink: true, ..jailed };
        let keyed = Place { cert_path: format!("/srv/k{at}"), key_path, pglink: false, ..jailed.clone() };
        let reload = |place: Place, words: &str| Place { reload: Some(format!("{told} {words}")), ..place };
        places.push((reload(here, "host"), false));
        places.push((reload(Place { cert_path: format!("{ground}/srv/g{at}"), ..given }, "host"), false));
        places.push((reload(jailed, "{}"), true));
        places.push((reload(keyed, "{}"), true));
    }
    places
}

/// The place of a number is at a host, for a certificate.
fn whereabouts(at: usize) -> (&'static str, &'static str) {
    (HOSTS[(at / 4 + at) % 4], CERTIFICATES[at % 3])
}

fn run(fleet: &Fleet, network: &Network) -> Ran {
    let manager = fleet.manager();
    let words: Vec<&str> = manager.iter().map(String::as_str).collect();
    network.manager(&words)
}

#[test]
fn a_host_that_is_down_does_not_count_as_deployed() {
    if !can_have_hosts() {
        return;
    }
    let jails: Vec<String> = HOSTS.iter().map(|host| format!("{host}; touch escaped")).collect();
    let layout: Vec<(&str, [&str; 1])> =
        HOSTS.iter().zip(&jails).map(|(host, jail)| (*host, [jail.as_str()])).collect();
    let layout: Vec<(&str, &[&str])> = layout.iter().map(|(host, jails)| (*host, jails.as_slice())).collect();
    let fleet = Fleet::new(&layout, "");
    let mut network =
        Network::new(fleet.top(), &HOSTS.map(|host| (host, false, (host == "full").then_some("640k"))));
    let ssh = network.path("ssh_config").display().to_string();
    let settings = format!("[globals]\nssh_options = ['-F', '{ssh}']\n[inventory]\nreload_seconds = 2\n");
    fs::write(fleet.path("conf.d/ssl-mgr.conf"), settings).unwrap();
    let mut targets: BTreeMap<&str, Vec<Target>> = BTreeMap::new();
    for (at, (place, is_jailed)) in places(&fleet).into_iter().enumerate() {
        let (host, certificate) = whereabouts(at);
        let jail = format!("{host}; touch escaped");
        fleet.add(Object::Place(name(&format!("p{at}")), place));
        let target = target(host, is_jailed.then_some(jail.as_str()), &format!("p{at}"));
        targets.entry(certificate).or_default().push(target);
    }
    for (at, certificate) in CERTIFICATES.into_iter().enumerate() {
        let kind = if at == 0 { Kind::Le } else { Kind::Local };
        let subject = if at == 2 { SubjectType::Client } else { SubjectType::Server };
        let keys = if at == 0 { Algorithms::Both } else { Algorithms::Ec };
        fleet.certify(certificate, kind, subject, keys, targets.remove(certificate).unwrap());
    }
    for host in HOSTS {
        network.program(host, "told", "echo \"$*|$#\" >>\"${0%/*}/log\"");
        for made in ["srv".to_owned(), format!("jails/{host}; touch escaped/srv")] {
            fs::create_dir_all(network.seen(host, "prod").join(made)).unwrap();
        }
        // The directory of a client's home is made, and only that.
        for at in 0..6 {
            let inside = network.seen(host, "prod").join(format!("jails/{host}; touch escaped/srv/j{at}"));
            fs::create_dir(inside).unwrap();
        }
    }
    let issue = || CERTIFICATES.map(|certificate| fleet.issue(certificate, 90));
    let expected = |ids: &[i64]| ids.iter().map(|id| fleet.expected(*id)).collect::<Vec<_>>();
    let first = issue();
    run(&fleet, &network).exits(0).says("all is done").never_says("something failed");
    let mut counts = Vec::new();
    for host in HOSTS {
        counts.push(holds(&network.seen(host, "prod"), &expected(&first), host));
        let log = fs::read_to_string(network.path(host).join("host/log")).unwrap();
        let mut lines: Vec<&str> = log.lines().collect();
        lines.sort_unstable();
        let jail = format!("{host}; touch escaped|1");
        let mut expected = [jail.as_str(), "host|1"];
        expected.sort_unstable();
        assert_eq!(lines, expected, "{host}: once each");
    }
    assert!(counts.iter().all(|count| *count >= 6), "{counts:?}");
    attributes(&mut network);
    for (certificate, id) in CERTIFICATES.iter().zip(first) {
        fleet.is(certificate, id, State::Deployed);
    }

    // One is down, one is full, one does not come to an end, and of one a jail leads outside.
    network.down("down");
    let filler = network.seen("full", "prod/filler");
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err(), "it is full");
    network.program("stubborn", "told", "echo \"$*\" >>\"${0%/*}/log\"; echo busy; sleep 60");
    let inside = network.seen("one", "prod/jails/one; touch escaped/srv");
    fs::rename(&inside, inside.with_file_name("kept")).unwrap();
    let outside = network.seen("one", "prod/outside");
    fs::create_dir(&outside).unwrap();
    symlink(fleet.path("prod/outside"), &inside).unwrap();
    let second = issue();
    let said = run(&fleet, &network);
    said.exits(0).says("something failed");
    said.says("down: ssh failed (exit status: 255)").says("No space left").says("is a link; put a directory");
    said.says("was still running after 2 s and was killed: busy");
    for (certificate, id) in CERTIFICATES.iter().zip(second) {
        fleet.is(certificate, id, State::Issued);
        let instance = fleet.instance(certificate, id);
        for (host, delivery) in &instance.deliveries {
            let expected = match (host.as_str(), *certificate) {
                ("one", "www.example") => Outcome::Done,
                ("stubborn", _) => Outcome::ReloadDue,
                _ => Outcome::Failed,
            };
            assert_eq!(delivery.outcome, expected, "{certificate} on {host}: {:?}", delivery.says);
        }
        assert_eq!(instance.deliveries.len(), 3, "{certificate}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing leaves a jail");
    assert_eq!(holds(&network.seen("full", "prod"), &expected(&first), "full"), counts[2]);

    // Repaired, the next run does what is missing, and no more.
    network.up("down");
    fs::remove_file(&filler).unwrap();
    network.program("stubborn", "told", "echo \"$*|$#\" >>\"${0%/*}/log\"");
    fs::remove_file(&inside).unwrap();
    fs::rename(inside.with_file_name("kept"), &inside).unwrap();
    run(&fleet, &network).exits(0).says("all is done").never_says("something failed");
    for (host, count) in HOSTS.into_iter().zip(counts) {
        assert_eq!(holds(&network.seen(host, "prod"), &expected(&second), host), count, "{host}");
    }
    for (certificate, id) in CERTIFICATES.iter().zip(second) {
        fleet.is(certificate, id, State::Deployed);
    }
    let lines = |host: &str| fs::read_to_string(network.path(host).join("host/log")).unwrap().lines().count();
    let before = HOSTS.map(lines);
    run(&fleet, &network).exits(0).says("is deployed, and nothing newer is issued").says("all is done");
    assert_eq!(HOSTS.map(lines), before, "who has it is not told again");
    assert!(!fleet.path("escaped").exists() && !std::path::Path::new("/escaped").exists());
}

/// Whose the files are, and who may read them.
fn attributes(network: &mut Network) {
    for at in 0..24 {
        let (host, _) = whereabouts(at);
        let (kind, number) = (["h", "g", "j", "k"][at % 4], at / 4);
        let inside = match kind {
            "h" | "g" => format!("prod/srv/{kind}{number}"),
            _ => format!("prod/jails/{host}; touch escaped/srv/{kind}{number}"),
        };
        let mut seen = 0;
        // A place for keys alone, which have a directory of their own, has nothing here.
        for entry in walkdir::WalkDir::new(network.seen(host, &inside)).into_iter().flatten() {
            if !entry.file_type().is_file() {
                continue;
            }
            let meta = entry.metadata().unwrap();
            let has_key = fs::read_to_string(entry.path()).unwrap().contains("PRIVATE KEY");
            let expected = match (kind, has_key) {
                ("h", true) => (0o400, 0, 0),
                ("g", true) => (0o440, 4242, 4343),
                ("g", false) => (0o644, 4242, 4343),
                (_, true) => (0o400, 70, 70),
                _ => (0o644, 0, 0),
            };
            let found = (meta.permissions().mode() & 0o7777, meta.uid(), meta.gid());
            assert_eq!(found, expected, "{}", entry.path().display());
            seen += 1;
        }
        assert!(seen > 0 || kind == "k", "{host}: {inside} is empty");
    }
}
