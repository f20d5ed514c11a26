//! Without any other machine: what is chosen, what is recorded, what the TLSA records are to be, and a manager that is
//! killed.

use std::fs;
use std::process::{Command, Stdio};

use reseed::manager::inventory::model::{
    About, Algorithms, FileType, Kind, Object, Outcome, Place, Service, State, SubjectType,
};
use reseed::manager::inventory::store::Change;
use reseed::manager::inventory::store::Inventory;
use reseed::manager::operate::distribute::Request;
use reseed::manager::operate::{Hosts, Report};

use crate::fleet::{Fleet, HERE, all, holds, name, place, target};
use crate::support::has;

/// One host that is this machine, and one that is nowhere; jails of this machine.
fn alone(jails: &[&str]) -> Fleet {
    let settings = "[globals]\nssh_options = ['-o', 'ProxyCommand=false']\n[inventory]\nreload_seconds = 2\n";
    let fleet = Fleet::new(&[(HERE, jails), ("nowhere.example", &[])], settings);
    for jail in jails {
        fs::create_dir_all(fleet.path(&format!("prod/jails/{jail}/srv"))).unwrap();
    }
    let told = fleet.path("told").display().to_string();
    let own = fleet.path("prod/own").display().to_string();
    let places = [
        ("jailed", Place { reload: Some(format!("echo {{}} >>{told}")), ..place(FileType::Separate, "srv") }),
        ("keyed", Place { key_path: Some("/keys".into()), ..place(FileType::CombineCa, "/srv/k") }),
        ("own", Place { reload: Some(format!("echo own >>{told}")), ..place(FileType::CombineBoth, &own) }),
    ];
    for (text, place) in places {
        fleet.add(Object::Place(name(text), place));
    }
    fleet
}

fn said(report: &Report, certificate: &str) -> String {
    let outcomes = report.certificates.get(certificate).map(Vec::as_slice).unwrap_or_default();
    outcomes.iter().map(|outcome| format!("{outcome:?}\n")).collect()
}

fn told(fleet: &Fleet) -> usize {
    fs::read_to_string(fleet.path("told")).unwrap_or_default().lines().count()
}

fn server(fleet: &Fleet, text: &str, targets: Vec<reseed::manager::inventory::model::Target>) {
    fleet.certify(text, Kind::Local, SubjectType::Server, Algorithms::Ec, targets);
}

#[test]
fn a_certificate_goes_the_whole_way() {
    if !has("openssl") {
        return;
    }
    let fleet = alone(&["web"]);
    server(
        &fleet,
        "a.example",
        vec![target(HERE, Some("web"), "jailed"), target(HERE, Some("web"), "keyed")],
    );
    server(&fleet, "b.example", vec![target(HERE, None, "own")]);
    server(&fleet, "nowhere", Vec::new());
    let request = || Request { certificates: all(), ..Request::default() };
    let report = fleet.distribute(request(), None);
    assert!(!report.has_failed(), "{report}");
    assert!(said(&report, "a.example").contains("`reseed manager issue a.example` makes it"), "{report}");
    assert!(said(&report, "nowhere").contains("goes to no place"), "{report}");
    let (a, b) = (fleet.issue("a.example", 20), fleet.issue("b.example", 90));

    let dry = fleet.distribute(Request { dry_run: true, ..request() }, None);
    assert!(said(&dry, "a.example").contains(&format!("would bring instance {a} to {HERE}")), "{dry}");
    assert_eq!(holds(&fleet.path("prod"), &[], "dry run"), 0);
    fleet.is("a.example", a, State::Issued);

    let report = fleet.distribute(request(), None);
    assert!(!report.has_failed(), "{report}");
    fleet.is("a.example", a, State::Deployed);
    fleet.is("b.example", b, State::Deployed);
    let expected = [fleet.expected(a), fleet.expected(b)];
    assert_eq!(holds(&fleet.path("prod"), &expected, "distributed"), 5);
    // serverPKI never ran the command of a host without a jail.
    assert_eq!(fs::read_to_string(fleet.path("told")).unwrap(), "web\nown\n");
    // The chain of a key on a curve is that of the authority's own such key: serverPKI took the one of RSA.
    let combined =
        fs::read_to_string(fleet.path("prod/own/b.example_server_key_ec_cert_cacert.pem")).unwrap();
    let above = fs::read_to_string(fleet.path("ca-ec.pem")).unwrap();
    assert!(combined.ends_with(&above), "{}", combined.replace('A', ""));

    // Nothing new, nothing told; once more, everything told.
    assert!(!fleet.distribute(request(), None).has_failed());
    assert_eq!(told(&fleet), 2);
    fs::write(fleet.path("prod/own/b.example_server_key_ec_cert_cacert.pem"), "damaged").unwrap();
    let report = fleet.consolidate(&request());
    assert!(!report.has_failed(), "{report}");
    assert_eq!((holds(&fleet.path("prod"), &expected, "consolidated"), told(&fleet)), (5, 4));

    // Only what ends soon.
    let (next, other) = (fleet.issue("a.example", 90), fleet.issue("b.example", 120));
    fleet.distribute(Request { within: Some(30), ..request() }, None);
    fleet.is("a.example", next, State::Deployed);
    fleet.is("b.example", other, State::Issued);

    // In clear where they are served, however they are kept.
    fleet.encrypt();
    let kept = fleet.files().keys(next).unwrap().remove(0).key;
    assert!(kept.reveal().starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    fs::remove_dir_all(fleet.path("prod/own")).unwrap();
    let report = fleet.consolidate(&request());
    assert!(!report.has_failed(), "{report}");
    let expected = [fleet.expected(next), fleet.expected(b)];
    assert_eq!(holds(&fleet.path("prod"), &expected, "encrypted"), 5);
}

#[test]
fn a_reload_that_fails_is_due_until_it_succeeds() {
    if !has("openssl") {
        return;
    }
    let fleet = alone(&[]);
    server(&fleet, "a.example", vec![target(HERE, None, "own")]);
    fs::create_dir(fleet.path("told")).unwrap();
    let id = fleet.issue("a.example", 90);
    let request = || Request { certificates: all(), ..Request::default() };
    let report = fleet.distribute(request(), None);
    assert!(
        report.has_failed() && said(&report, "a.example").contains("the reload command failed"),
        "{report}"
    );
    let outcome = |fleet: &Fleet| fleet.instance("a.example", id).deliveries[&name(HERE)].outcome;
    assert_eq!(outcome(&fleet), Outcome::ReloadDue);
    assert!(fleet.distribute(request(), None).has_failed(), "it is tried again");
    fs::remove_dir(fleet.path("told")).unwrap();
    let report = fleet.distribute(request(), None);
    assert!(!report.has_failed(), "{report}");
    assert_eq!((outcome(&fleet), told(&fleet)), (Outcome::Done, 1));
    holds(&fleet.path("prod"), &[fleet.expected(id)], "no mark is left");
}

/// serverPKI moved the records to the new certificate although hosts showed the old one.
#[test]
fn records_of_both_are_out_while_a_host_lacks_the_new_one() {
    if !has("openssl") {
        return;
    }
    let fleet = alone(&[]);
    let service =
        Service { tlsa: "_443._tcp.{}. 3600 IN TLSA 3 0 1".parse().unwrap(), about: About::default() };
    let key = reseed::manager::inventory::model::ServiceKey { name: name("https"), port: 443 };
    fleet.files().change(&[Change::Add(Object::Service(key.clone(), service))]).unwrap();
    server(&fleet, "a.example", vec![target(HERE, None, "own")]);
    fleet.add(Object::Tlsa { certificate: name("a.example"), service: key });
    let mut wanted: Vec<Vec<i64>> = Vec::new();
    let mut distribute = |hosts: Hosts, answer: Result<bool, String>| {
        let mut publish = |_: &mut reseed::manager::operate::Operation<'_>, asked: &[(_, Vec<i64>)]| {
            wanted.extend(asked.iter().map(|(_, instances)| instances.clone()));
            Ok(asked
                .iter()
                .map(|(name, _): &(reseed::manager::inventory::model::Name, _)| {
                    (name.clone(), answer.clone())
                })
                .collect())
        };
        fleet.distribute(Request { certificates: all(), hosts, ..Request::default() }, Some(&mut publish))
    };
    let first = fleet.issue("a.example", 60);
    let report = distribute(Hosts::default(), Err("the name server refuses".into()));
    assert!(
        report.has_failed() && said(&report, "a.example").contains("the name server refuses"),
        "{report}"
    );
    fleet.is("a.example", first, State::Issued);
    assert!(!distribute(Hosts::default(), Ok(true)).has_failed());
    fleet.is("a.example", first, State::Deployed);

    // Another host comes in, and is left out.
    let far = reseed::manager::inventory::model::Target {
        host: name("nowhere.example"),
        ..target(HERE, None, "own")
    };
    fleet.add(Object::Target { certificate: name("a.example"), target: far });
    let second = fleet.issue("a.example", 90);
    let skip = Hosts { skip: [name("nowhere.example")].into(), ..Hosts::default() };
    let report = distribute(skip.clone(), Err("the name server refuses".into()));
    assert!(report.has_failed() && said(&report, "a.example").contains("nothing is brought"), "{report}");
    let instances = fleet.files().instances_of(&name("a.example")).unwrap();
    assert!(instances.iter().find(|it| it.id == second).unwrap().deliveries.is_empty());
    let report = distribute(skip, Ok(true));
    assert!(!report.has_failed(), "{report}");
    assert!(said(&report, "a.example").contains("stays issued: nowhere.example was left out"), "{report}");
    fleet.is("a.example", second, State::Issued);
    let report = distribute(Hosts::default(), Ok(true));
    assert!(
        report.has_failed() && said(&report, "a.example").contains("nowhere.example: ssh failed"),
        "{report}"
    );
    fleet.is("a.example", second, State::Issued);
    // The first has nothing beside it; of the second both are out before it is brought, and stay.
    let both = vec![first, second];
    assert_eq!(wanted, [vec![vec![first]; 2], vec![both; 5]].concat());
}

/// What a host has when the manager dies is known to the next.
#[test]
fn a_manager_that_is_killed_is_taken_up_by_the_next() {
    if !has("openssl") {
        return;
    }
    let fleet = alone(&["web", "mail"]);
    server(
        &fleet,
        "a.example",
        ["web", "mail"]
            .into_iter()
            .flat_map(|jail| ["jailed", "keyed"].map(|place| target(HERE, Some(jail), place)))
            .chain([target(HERE, None, "own")])
            .collect(),
    );
    let manager = fleet.manager();
    let mut unfinished = 0;
    for round in 0..6_u64 {
        let id = fleet.issue("a.example", 90 + i64::try_from(round).unwrap());
        let mut command = Command::new(&manager[0]);
        let mut child =
            command.args(&manager[1..]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30 + 70 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        unfinished += usize::from(fleet.instance("a.example", id).state != State::Deployed);
        let before = told(&fleet);
        let report = fleet.distribute(Request { certificates: all(), ..Request::default() }, None);
        assert!(!report.has_failed(), "round {round}: {report}");
        fleet.is("a.example", id, State::Deployed);
        assert_eq!(holds(&fleet.path("prod"), &[fleet.expected(id)], &format!("round {round}")), 9);
        assert!(told(&fleet) >= before, "round {round}");
    }
    assert!(unfinished > 0, "no manager was killed before its end");
    assert!(told(&fleet) >= 6 * 3, "who reads them was told in every round");
}
