//! What follows from reports and from what is out, as tables.

use super::super::report::{HookReport, machine};
use super::*;

pub fn answer(reports: impl IntoIterator<Item = HostReport>, now: OffsetDateTime) -> Answer {
    let mut gathering = Gathering::new(now);
    reports.into_iter().for_each(|report| gathering.report(report));
    gathering.finish()
}

pub const NOW: OffsetDateTime = time::macros::datetime!(2026-11-25 10:00 UTC);

pub fn certificate(path: &str, fingerprint: &str, key: &str, days: i64) -> CertificateReport {
    CertificateReport {
        path: path.into(),
        verdict: "managed".into(),
        fingerprint: fingerprint.into(),
        key: key.into(),
        names: vec![format!("{fingerprint}.example.com")],
        not_before: NOW - Duration::days(60),
        not_after: NOW + Duration::days(days),
    }
}

#[test]
fn how_machines_stand() {
    let stale = HookReport {
        hook: "apache2".into(),
        stale: vec!["renamed".into()],
        failure: None,
        files: Vec::new(),
    };
    let failed = HookReport { stale: Vec::new(), failure: Some("no room".into()), ..stale.clone() };
    let hook = |hook: &HookReport| {
        let hook = hook.clone();
        move |report: &mut HostReport| report.hooks.push(hook.clone())
    };
    type Change = Box<dyn Fn(&mut HostReport)>;
    let cases: [(&str, Change, State, &str); 8] = [
        ("nothing", Box::new(|_| {}), State::Fresh, ""),
        ("stale", Box::new(hook(&stale)), State::Stale, "apache2: renamed"),
        ("failed", Box::new(hook(&failed)), State::Stale, "apache2: no room"),
        (
            "a hook that is not in force",
            Box::new(|one| one.faults.push("a.toml:1:1: what is that?".into())),
            State::Stale,
            "a.toml:1:1: what is that?",
        ),
        ("improper", Box::new(|one| one.improper = Some("localhost".into())), State::Improper, "localhost"),
        (
            "held, whatever else",
            Box::new(|one| {
                one.improper = Some("localhost".into());
                one.held.insert("apache2.service".into(), "stale".into());
            }),
            State::Held,
            "apache2.service: stale",
        ),
        ("a week ago", Box::new(|one| one.at = NOW - Duration::days(7)), State::Fresh, ""),
        (
            "longer ago",
            Box::new(|one| one.at = NOW - Duration::hours(24 * 7 + 1)),
            State::Silent,
            "no report for 7 days",
        ),
    ];
    for (case, change, state, reason) in cases {
        let mut report = HostReport::new("a.example.com", NOW);
        change(&mut report);
        let found = answer([report], NOW);
        let [host] = found.hosts.as_slice() else { panic!("{case}") };
        assert_eq!((host.state, host.reasons.join("; ").as_str()), (state, reason), "{case}");
    }
}

#[test]
fn what_the_inventory_has_is_joined_by_the_fingerprint() {
    let served = HostReport {
        certificates: vec![certificate("/c", "AB", "k1", 10)],
        ..HostReport::new("A.example.com", NOW)
    };
    let in_use = |name: &str, digests: &[&str], hosts: &[&str]| InUse {
        certificate: name.into(),
        not_before: NOW - Duration::days(1),
        not_after: NOW + Duration::days(20),
        digests: digests.iter().map(|digest| (*digest).into()).collect(),
        hosts: hosts.iter().map(|host| (*host).into()).collect(),
    };
    let mut gathering = Gathering::new(NOW);
    gathering.report(served);
    gathering.in_use(in_use("www", &["AB", "CD"], &["a.example.com", "b.example.com"]));
    gathering.in_use(in_use("ca", &["EF"], &[]));
    for host in ["a.example.com", "b.example.com"] {
        gathering.expected(host);
    }
    let found = gathering.finish();
    let expiries: Vec<String> = found
        .expiries
        .iter()
        .map(|expiry| {
            let places: Vec<String> = expiry.places.iter().map(Place::to_string).collect();
            format!("{} {}: {}", expiry.title(), expiry.fingerprint, places.join(" "))
        })
        .collect();
    let expected =
        ["www ab: A.example.com:/c b.example.com", "www cd: a.example.com b.example.com", "ca ef: "];
    assert_eq!(expiries, expected);
    let hosts: Vec<_> = found.hosts.iter().map(|host| (host.host.as_str(), host.state)).collect();
    assert_eq!(hosts, [("b.example.com", State::Silent), ("A.example.com", State::Fresh)]);
}

#[test]
fn where_no_machine_reports_none_is_expected_to() {
    let mut gathering = Gathering::new(NOW);
    gathering.expected("a.example.com");
    assert_eq!(gathering.finish(), Answer::default());
}

#[test]
fn what_is_shared() {
    let report = |host: &str, id: &str, host_key: &str, certificates: Vec<CertificateReport>| HostReport {
        machine: Some(machine(id)),
        host_keys: vec![host_key.into()],
        certificates,
        ..HostReport::new(host, NOW)
    };
    let reports = [
        report(
            "a",
            "1",
            "SHA256:x",
            vec![certificate("/c", "f1", "k1", 10), certificate("/d", "f2", "k2", 5)],
        ),
        report("b", "1", "SHA256:y", vec![certificate("/c", "f1", "k1", 10)]),
        report(
            "c",
            "2",
            "SHA256:y",
            vec![certificate("/c", "f3", "k2", 1), certificate("/e", "f4", "k4", 2)],
        ),
        report(
            "d",
            "3",
            "SHA256:z",
            vec![certificate("/c", "f5", "k5", 3), certificate("/e", "f6", "k5", 4)],
        ),
    ];
    let found = answer(reports, NOW);
    let shared: Vec<String> = found
        .shared
        .iter()
        .map(|shared| {
            let places: Vec<String> =
                shared.places.iter().map(|place| format!("{}{}", place.host, place.path)).collect();
            format!("{}: {}", shared.what.name(), places.join(" "))
        })
        .collect();
    assert_eq!(shared, ["machine-id: a b", "SSH host key: b c", "key: a/d c/c", "certificate: a/c b/c"]);
    let ends: Vec<&str> = found.expiries.iter().map(|expiry| expiry.fingerprint.as_str()).collect();
    assert_eq!(ends, ["f3", "f4", "f5", "f6", "f2", "f1"]);
    assert_eq!(found.expiries[5].places.len(), 2);
}
