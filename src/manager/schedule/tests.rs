use std::time::Duration as Span;

use time::{Duration, macros::datetime};

use super::*;
use crate::manager::config::{Dane, DaneHosts, Subject};
use crate::manager::config::{Service, Signer};
use crate::manager::name::ServiceName;
use crate::pki::Algorithm;

const NOW: OffsetDateTime = datetime!(2026-07-01 12:00 UTC);

fn days(days: f64) -> Duration {
    Duration::seconds_f64(days * 86_400.0)
}

fn web() -> ServiceName {
    ServiceName::new("example.com", "web").unwrap()
}

/// Made `age` days ago to live for `lifetime` days.
fn version(age: f64, lifetime: f64) -> Version {
    let made = NOW - days(age);
    let not_after = made + days(lifetime);
    Version {
        not_before: made,
        not_after,
        serial: vec![7],
        made,
        complete: true,
        orphaned: false,
        reconfigured: false,
        suggested: None,
        revoked: false,
    }
}

fn service(name: &str, signer: Option<&str>) -> Service {
    Service {
        path: "/".into(),
        name: ServiceName::parse(name).unwrap(),
        label: String::new(),
        signer: signer.map_or(Signer::Itself, |signer| Signer::Authority(signer.into())),
        other_signers: Vec::new(),
        algorithm: Algorithm::P256,
        subject: Subject::default(),
        alternative_names: Vec::new(),
        dane: Vec::new(),
        dane_ttl: None,
        authority: None,
        renew_target: None,
        renew_spread: None,
    }
}

#[test]
fn days_left_by_lifetime() {
    let built_in = Targets::new(&[], &[]);
    let sites = Targets::new(&[(90.0, 28.0), (45.0, 12.0), (7.5, 3.0), (44.95, 13.0)], &[(90.0, 2.0)]);
    let odd = Targets::new(&[(f64::NAN, 1.0), (90.0, f64::INFINITY), (60.0, -1.0)], &[(90.0, f64::NAN)]);
    let unchanged = Targets::new(&[(90.0, 28.0), (90.0, 30.0)], &[]);
    // name, table, the service's own, lifetime, days left
    let cases = [
        ("two knots", &built_in, None, 6.0, 2.6),
        ("two knots, a broken number", &built_in, None, 6.7, 3.02),
        ("a month", &built_in, None, 30.0, 7.857),
        ("nearly at a knot", &built_in, None, 44.5, 9.929),
        ("between 60 and 90", &built_in, None, 75.0, 25.0),
        ("between 90 and 120", &built_in, None, 100.0, 35.0),
        ("a year and a month", &built_in, None, 398.0, 79.6),
        ("five years", &built_in, None, 1825.0, 365.0),
        ("ten years", &built_in, None, 3650.0, 730.0),
        ("at a knot", &built_in, None, 90.0, 30.0),
        ("the last knot", &built_in, None, 300.0, 60.0),
        ("a day", &built_in, None, 1.0, 0.5),
        ("half a day", &built_in, None, 0.5, 0.375),
        ("an hour: not due from the start", &built_in, None, 1.0 / 24.0, 0.75 / 24.0),
        ("no life at all", &built_in, None, 0.0, 0.0),
        ("ended before it began", &built_in, None, -3.0, 0.0),
        ("a knot of the site", &sites, None, 90.0, 28.0),
        ("the last of two for one knot", &sites, None, 44.95, 13.0),
        ("and it is gone", &sites, None, 45.0, 13.0 + 7.0 * 0.05 / 15.05),
        ("a knot more", &sites, None, 7.5, 3.0),
        ("below it", &sites, None, 6.25, 2.5),
        ("the service's own", &sites, Some(14.0), 90.0, 14.0),
        ("the service's own, of a longer life", &sites, Some(30.0), 6.0, 4.5),
        ("the service's own is no number", &sites, Some(f64::NAN), 90.0, 28.0),
        ("no numbers", &odd, None, 90.0, 30.0),
        ("below nought", &odd, None, 60.0, 20.0),
        ("the later of two", &unchanged, None, 90.0, 30.0),
    ];
    for (case, targets, target, lifetime, expected) in cases {
        let found = Policy { targets, target, spread: None }.target(lifetime);
        assert!((found - expected).abs() < 0.0005, "{case}: {found}");
    }
}

#[test]
fn nobody_is_shifted_unasked() {
    let policy = Policy { targets: &Targets::new(&[], &[]), target: None, spread: None };
    for lifetime in 0..4000 {
        assert!(policy.spread(f64::from(lifetime)).abs() < f64::EPSILON, "{lifetime}");
    }
    let sites = Targets::new(&[], &[(90.0, 2.0), (300.0, 30.0)]);
    // name, the service's own, lifetime, largest shift
    let cases = [
        ("at the knot", None, 90.0, 2.0),
        ("half-way to the next", None, 75.0, 1.0),
        ("above the last", None, 600.0, 60.0),
        ("the service's own", Some(5.0), 90.0, 5.0),
        ("never to the end", Some(40.0), 90.0, 15.0),
    ];
    for (case, spread, lifetime, expected) in cases {
        let found = Policy { targets: &sites, target: None, spread }.spread(lifetime);
        assert!((found - expected).abs() < 0.0005, "{case}: {found}");
    }
}

#[test]
fn the_shift_is_drawn_once_and_evenly() {
    let targets = Targets::new(&[], &[(90.0, 5.0)]);
    let policy = Policy { targets: &targets, target: None, spread: None };
    let left = |name: &ServiceName, serial: u16| {
        let version = Version { serial: serial.to_be_bytes().to_vec(), ..version(0.0, 90.0) };
        let again = policy.renew_at(name, &version);
        assert_eq!(policy.renew_at(name, &version), again);
        (version.not_after - again).as_seconds_f64() / 86_400.0
    };
    let all: Vec<f64> = (0..10_000).map(|serial| left(&web(), serial)).collect();
    assert!(all.iter().all(|days| (25.0..=35.0).contains(days)));
    for tenth in 0..10 {
        let from = 25.0 + f64::from(tenth);
        let share = all.iter().filter(|days| (from..from + 1.0).contains(*days)).count();
        assert!((850..1150).contains(&share), "{share} of 10000 between {from} and {}", from + 1.0);
    }
    let other = ServiceName::new("example.com", "mail").unwrap();
    assert!((left(&other, 1) - left(&web(), 1)).abs() > 0.01, "services of one serial are spread, too");
    // Written down: a change would move the dates of every site.
    assert!((left(&web(), 1) - FROZEN).abs() < 1e-4, "{}", left(&web(), 1));
}

/// `printf 'example.com/web\0\0\1' | sha256sum` begins with 5c0d1be7.
const FROZEN: f64 = 28.595_750;

#[test]
fn what_is_due() {
    let targets = Targets::new(&[], &[]);
    let policy = Policy { targets: &targets, target: None, spread: None };
    let ca = ServiceName::new("ca", "root").unwrap();
    let (young, old) = (version(10.0, 90.0), version(65.0, 90.0));
    let ends = Reason::Ends { since: NOW - days(5.0), expires: NOW + days(25.0) };
    let ended = Reason::Expired { at: NOW - days(1.0) };
    let next = Due::Waiting { since: NOW - days(2.0), expires: NOW + days(88.0) };
    let broken = Version { complete: false, ..version(2.0, 90.0) };
    let renamed = Version { reconfigured: true, ..young.clone() };
    let orphan = Version { orphaned: true, ..young.clone() };
    let waiting = Some(version(2.0, 90.0));
    // name, service, curr, next, demand, expected
    let cases = [
        ("none", web(), None, None, Demand::Due, Due::Renew(Reason::Missing)),
        ("young", web(), Some(young.clone()), None, Demand::Due, Due::Later { at: NOW + days(50.0) }),
        ("old", web(), Some(old.clone()), None, Demand::Due, Due::Renew(ends)),
        ("at the minute", web(), Some(version(60.0, 90.0)), None, Demand::Due, {
            Due::Renew(Reason::Ends { since: NOW, expires: NOW + days(30.0) })
        }),
        ("ended", web(), Some(version(91.0, 90.0)), None, Demand::Due, Due::Renew(ended)),
        ("half a day, after a third", web(), Some(version(0.2, 0.5)), None, Demand::Due, {
            Due::Renew(Reason::Ends { since: NOW - days(0.075), expires: NOW + days(0.3) })
        }),
        ("half a day, just made", web(), Some(version(0.0, 0.5)), None, Demand::Due, {
            Due::Later { at: NOW + days(0.125) }
        }),
        ("renewed already", web(), Some(old.clone()), waiting.clone(), Demand::Due, next),
        ("the first waits", web(), None, waiting.clone(), Demand::Due, next),
        ("ended, but renewed", web(), Some(version(91.0, 90.0)), waiting.clone(), Demand::Due, next),
        ("half a next", web(), Some(old.clone()), Some(broken.clone()), Demand::Due, Due::Renew(ends)),
        ("half a next, not due", web(), Some(young.clone()), Some(broken), Demand::Due, {
            Due::Later { at: NOW + days(50.0) }
        }),
        ("a next that has ended", web(), Some(old.clone()), Some(version(91.0, 90.0)), Demand::Due, {
            Due::Renew(ends)
        }),
        ("a next that is due itself", web(), Some(old.clone()), Some(version(65.0, 90.0)), Demand::Due, {
            Due::Renew(ends)
        }),
        ("on demand", web(), Some(young.clone()), waiting.clone(), Demand::All, {
            Due::Renew(Reason::Demanded)
        }),
        ("other names", web(), Some(renamed), None, Demand::Due, Due::Renew(Reason::Reconfigured)),
        ("orphaned", web(), Some(orphan.clone()), None, Demand::Due, Due::Renew(Reason::Orphaned)),
        ("orphaned, renewed", web(), Some(orphan.clone()), waiting, Demand::Due, next),
        ("orphaned, renewed before", web(), Some(orphan.clone()), Some(orphan), Demand::Due, {
            Due::Renew(Reason::Orphaned)
        }),
        ("no authority yet", ca.clone(), None, None, Demand::Due, Due::Renew(Reason::Missing)),
        ("an authority", ca.clone(), Some(old.clone()), None, Demand::Due, Due::Ask(ends)),
        ("an authority, wanted", ca.clone(), Some(old), None, Demand::DueWithAuthorities, Due::Renew(ends)),
        ("a young authority, wanted", ca.clone(), Some(young.clone()), None, Demand::DueWithAuthorities, {
            Due::Later { at: NOW + days(50.0) }
        }),
        ("an authority, on demand", ca, Some(young), None, Demand::All, Due::Renew(Reason::Demanded)),
    ];
    for (case, name, curr, next, demand, expected) in cases {
        let found = due(&name, curr.as_ref(), next.as_ref(), &policy, demand, NOW);
        assert_eq!(found, expected, "{case}");
        assert_eq!(found, due(&name, curr.as_ref(), next.as_ref(), &policy, demand, NOW), "{case}, again");
    }
}

/// An authority's suggestion (RFC 9773) decides when, but never leaves less than time for what goes wrong.
#[test]
fn what_an_authority_suggests() {
    let targets = Targets::new(&[], &[]);
    // A shift would hide what a suggestion does.
    let policy = Policy { targets: &targets, target: None, spread: None };
    let suggests = |in_days: f64, age, lifetime| Version {
        suggested: Some(NOW + days(in_days)),
        ..version(age, lifetime)
    };
    let later = |in_days: f64| Due::Later { at: NOW + days(in_days) };
    let suggested = |ago: f64, left: f64| {
        Due::Renew(Reason::Suggested { since: NOW - days(ago), expires: NOW + days(left) })
    };
    let ends =
        |ago: f64, left: f64| Due::Renew(Reason::Ends { since: NOW - days(ago), expires: NOW + days(left) });
    // name, curr, expected; the own targets are 30 of 90 days, 10 of 45, 2.6 of 6, 60 of 300
    let cases = [
        ("later than our target", suggests(5.0, 65.0, 90.0), later(5.0)),
        ("earlier than our target", suggests(0.0, 10.0, 90.0), suggested(0.0, 80.0)),
        ("revoked: long ago", suggests(-30.0, 40.0, 90.0), suggested(30.0, 50.0)),
        ("earlier, but not yet", suggests(3.0, 10.0, 90.0), later(3.0)),
        ("too late: a tenth is kept", suggests(24.0, 70.0, 90.0), later(11.0)),
        ("too late, the tenth begins", suggests(24.0, 81.0, 90.0), ends(0.0, 9.0)),
        ("at the end itself", suggests(9.0, 81.0, 90.0), ends(0.0, 9.0)),
        ("after the end", suggests(60.0, 60.0, 90.0), later(21.0)),
        ("after the end of a long one", suggests(400.0, 0.0, 300.0), later(270.0)),
        ("45 days, as late as it may be", suggests(40.0, 0.0, 45.0), later(40.5 - 0.5)),
        ("45 days, later than that", suggests(44.0, 0.0, 45.0), later(40.5)),
        ("ten days: at least one", suggests(9.5, 0.0, 10.0), later(9.0)),
        ("six days, in its middle", suggests(1.0, 2.0, 6.0), later(1.0)),
        ("six days: at least one", suggests(3.9, 2.0, 6.0), later(3.0)),
        ("six days, the sixth begins", suggests(0.9, 5.0, 6.0), ends(0.0, 1.0)),
        ("a day: at least four hours", suggests(0.9, 0.0, 1.0), later(5.0 / 6.0)),
        ("ended", suggests(1.0, 91.0, 90.0), Due::Renew(Reason::Expired { at: NOW - days(1.0) })),
    ];
    for (case, curr, expected) in cases {
        assert_eq!(due(&web(), Some(&curr), None, &policy, Demand::Due, NOW), expected, "{case}");
    }
    // A successor that its authority wants replaced is none.
    let (curr, next) = (version(65.0, 90.0), suggests(-1.0, 2.0, 90.0));
    let found = due(&web(), Some(&curr), Some(&next), &policy, Demand::Due, NOW);
    assert_eq!(found, ends(5.0, 25.0));
    let text = suggested(1.0, 9.0).to_string();
    assert_eq!(
        text,
        "is renewed: its authority wants it replaced since 2026-06-30 12:00 UTC; it ends at 2026-07-10 12:00 UTC"
    );
}

#[test]
fn ends_of_time_do_not_overflow() {
    let targets = Targets::new(&[(0.0, f64::MAX)], &[(0.0, f64::MAX)]);
    let policy = Policy { targets: &targets, target: Some(f64::MAX), spread: Some(f64::MAX) };
    let never = Version {
        not_before: datetime!(-9999-01-01 0:00 UTC),
        not_after: datetime!(9999-12-31 23:59:59 UTC),
        made: datetime!(9999-12-31 0:00 UTC),
        ..version(0.0, 1.0)
    };
    policy.renew_at(&web(), &never);
    let tlsa = Some(Tlsa { ttl: u32::MAX, shown: Shown::Written(never.made) });
    let wait = Wait { least: Span::MAX, tlsa };
    assert!(matches!(roll(Some(&never), Some(&never), &wait, false, NOW), Roll::Later { .. }));
}

#[test]
fn what_is_rolled() {
    let minutes = |minutes: i64| NOW - Duration::minutes(minutes);
    let made = |age| Version { made: minutes(age), ..version(0.5, 90.0) };
    let first = Roll::Now(RollReason::First);
    let demanded = Roll::Now(RollReason::Demanded);
    let aged = |age| Roll::Now(RollReason::Aged { since: minutes(age) });
    let later = |wait: i64| Roll::Later { at: minutes(-wait) };
    let curr = Some(version(60.0, 90.0));
    let ended = Some(version(91.0, 90.0));
    let broken = Version { complete: false, ..made(500) };
    let future = Version { not_before: minutes(-5), ..made(500) };
    let tlsa = |ttl, age: i64| Some(Tlsa { ttl, shown: Shown::Written(minutes(age)) });
    let seen = |ttl, age: i64| Some(Tlsa { ttl, shown: Shown::Everywhere(minutes(age)) });
    let due_to_dns = Some(Tlsa { ttl: 60, shown: Shown::Nowhere });
    let late = Some(Tlsa { ttl: 60, shown: Shown::Somewhere });
    let gone = Roll::Expired { at: NOW - days(1.0) };
    // name, next, curr, TLSA, force, expected
    let cases = [
        ("nothing", None, curr.clone(), None, false, Roll::Nothing),
        ("nothing, on demand", None, curr.clone(), None, true, Roll::Nothing),
        ("too young", Some(made(89)), curr.clone(), None, false, later(1)),
        ("old enough", Some(made(90)), curr.clone(), None, false, aged(0)),
        ("a day and five minutes", Some(made(1445)), curr.clone(), None, false, aged(1355)),
        ("dated back by its authority", Some(made(1)), curr.clone(), None, false, later(89)),
        ("the first", Some(made(0)), None, None, false, first),
        ("the first, with records", Some(made(0)), None, tlsa(86_400, 0), false, first),
        ("the last has ended", Some(made(0)), ended.clone(), None, false, first),
        ("ended, but its key counts", Some(made(0)), ended, tlsa(60, 0), false, later(90)),
        ("on demand", Some(made(0)), curr.clone(), tlsa(86_400, 0), true, demanded),
        ("a short TTL", Some(made(90)), curr.clone(), tlsa(1800, 90), false, aged(0)),
        ("a long TTL", Some(made(90)), curr.clone(), tlsa(3600, 90), false, later(30)),
        ("a long TTL, waited for", Some(made(120)), curr.clone(), tlsa(3600, 120), false, aged(0)),
        ("published late", Some(made(500)), curr.clone(), tlsa(3600, 20), false, later(100)),
        ("published before: the same key", Some(made(119)), curr.clone(), tlsa(3600, 999), false, later(1)),
        ("not published", Some(made(500)), curr.clone(), due_to_dns, false, Roll::Unpublished),
        ("not published, on demand", Some(made(500)), curr.clone(), due_to_dns, true, demanded),
        ("seen, a long TTL", Some(made(90)), curr.clone(), seen(7200, 90), false, later(30)),
        ("seen, a long TTL, waited for", Some(made(120)), curr.clone(), seen(7200, 120), false, aged(0)),
        ("seen late", Some(made(500)), curr.clone(), seen(3600, 20), false, later(40)),
        ("seen before: the same key", Some(made(91)), curr.clone(), seen(7200, 999), false, later(29)),
        ("seen, the site waits longer", Some(made(80)), curr.clone(), seen(60, 70), false, later(10)),
        ("not seen everywhere", Some(made(500)), curr.clone(), late, false, Roll::Unseen),
        ("not seen everywhere, the first", Some(made(0)), None, late, false, first),
        ("not seen everywhere, on demand", Some(made(0)), curr.clone(), late, true, demanded),
        ("incomplete", Some(broken.clone()), curr.clone(), None, true, Roll::Incomplete),
        ("incomplete, the first", Some(broken), None, None, true, Roll::Incomplete),
        ("it has ended", Some(version(91.0, 90.0)), curr.clone(), None, true, gone),
        ("not yet valid", Some(future.clone()), curr.clone(), None, true, later(5)),
        ("not yet valid, the first", Some(future), None, None, false, later(5)),
        ("made by a clock that was wrong", Some(made(-10)), curr, None, false, later(100)),
    ];
    for (case, next, curr, tlsa, force, expected) in cases {
        let wait = Wait { least: Span::from_secs(90 * 60), tlsa };
        assert_eq!(roll(next.as_ref(), curr.as_ref(), &wait, force, NOW), expected, "{case}");
    }
}

#[test]
fn the_ttl_to_wait_for() {
    let entry = Dane {
        port: 443,
        protocol: "tcp".into(),
        usage: 3,
        selector: 1,
        matching: 1,
        hosts: DaneHosts::Sans,
    };
    let cases = [
        ("no records", Vec::new(), Some(1800), None),
        ("records", vec![entry.clone()], Some(1800), Some(1800)),
        ("the zone's default", vec![entry], None, Some(UNKNOWN_TTL)),
    ];
    for (case, dane, dane_ttl, expected) in cases {
        assert_eq!(tlsa_ttl(&Service { dane, dane_ttl, ..service("a/b", None) }), expected, "{case}");
    }
}

#[test]
fn texts_say_what_and_when() {
    let at = datetime!(2026-07-01 14:05 +2);
    let cases = [
        (Due::Later { at }.to_string(), "is renewed from 2026-07-01 12:05 UTC"),
        (Due::Renew(Reason::Expired { at }).to_string(), "is renewed: it ended at 2026-07-01 12:05 UTC"),
        (Roll::Later { at }.to_string(), "is too young: it is rolled from 2026-07-01 12:05 UTC"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    let json = serde_json::to_value(Due::Renew(Reason::Ends { since: at, expires: at })).unwrap();
    assert_eq!((&json["due"], &json["reason"]), (&"renew".into(), &"ends".into()), "{json}");
}
