//! What is due, as tables; a test for each fault of serverPKI's schedule, named after it.

use time::macros::datetime;

use super::*;
use crate::manager::inventory::model::Word;

const NOW: OffsetDateTime = datetime!(2026-06-01 0:00 UTC);

fn days(count: i64) -> OffsetDateTime {
    NOW + Duration::days(count)
}

/// An instance that ends so many days from now; one of 90 days, published long ago, on every host.
fn stage(id: i64, state: State, ends: i64) -> Stage {
    Stage {
        id,
        state,
        whole: state != State::Reserved,
        not_before: Some(days(ends - 90)),
        not_after: Some(days(ends)),
        published: (state == State::Prepublished).then(|| days(-5)),
        touched: Some(days(ends - 90)),
        missing: 0,
    }
}

fn standing(kind: Kind, instances: Vec<Stage>) -> Standing {
    Standing {
        certificate: Name::new("www.example").unwrap(),
        subject: SubjectType::Server,
        kind,
        disabled: false,
        algorithms: Algorithms::Rsa,
        must_staple: false,
        tlsa_ttl: Some(3600),
        authorized_until: None,
        reminded: None,
        instances,
    }
}

fn said(standing: &Standing) -> Vec<String> {
    let say = |action: Action| {
        let instance = action.step.instance().map(|id| format!(" {id}")).unwrap_or_default();
        let particulars = action.step.particulars();
        format!("{}{instance} {particulars}", action.step.name()).trim_end().to_owned()
    };
    due(standing, &Policy::default(), NOW).into_iter().map(say).collect()
}

#[test]
fn what_is_due_by_what_there_is() {
    use Kind::{Le, Local};
    use State::{Archived, Deployed, Expired, Issued, Prepublished, Reserved, Revoked};
    type Case<'a> = (&'a str, Kind, Vec<Stage>, &'a [&'a str]);
    let cases: Vec<Case<'_>> = vec![
        ("nothing", Le, vec![], &["issue rsa, then deploy"]),
        ("nothing, local", Local, vec![], &["remind"]),
        ("issued alone", Le, vec![stage(1, Issued, 89)], &["deploy 1"]),
        ("prepublished alone", Le, vec![stage(1, Prepublished, 89)], &["deploy 1"]),
        ("deployed, fresh", Le, vec![stage(1, Deployed, 80)], &[]),
        ("deployed, 30 days and an hour", Le, vec![stage(1, Deployed, 31)], &[]),
        ("deployed, 30 days", Le, vec![stage(1, Deployed, 30)], &["issue rsa, then prepublish"]),
        ("deployed, 30 days, local", Local, vec![stage(1, Deployed, 30)], &["remind"]),
        (
            "a successor is issued",
            Le,
            vec![stage(1, Deployed, 20), stage(2, Issued, 80)],
            &["prepublish 2 beside 1"],
        ),
        (
            "local ones are not published early",
            Local,
            vec![stage(1, Deployed, 20), stage(2, Issued, 80)],
            &[],
        ),
        ("a successor is published", Le, vec![stage(1, Deployed, 20), stage(2, Prepublished, 80)], &[]),
        (
            "change-over",
            Le,
            vec![stage(1, Deployed, 1), stage(2, Prepublished, 80)],
            &["deploy 2 then expire 1"],
        ),
        (
            "change-over without records out",
            Le,
            vec![stage(1, Deployed, 1), stage(2, Issued, 80)],
            &["prepublish 2 beside 1"],
        ),
        (
            "change-over, local",
            Local,
            vec![stage(1, Deployed, 1), stage(2, Issued, 80)],
            &["prepublish 2 beside 1"],
        ),
        ("change-over, nothing there", Le, vec![stage(1, Deployed, 1)], &["issue rsa, then deploy"]),
        ("it ends now", Le, vec![stage(1, Deployed, 0), stage(2, Issued, 80)], &["deploy 2 then expire 1"]),
        ("the successor is out", Le, vec![stage(1, Deployed, 1), stage(2, Deployed, 80)], &["expire 1"]),
        ("ended", Le, vec![stage(1, Expired, 0), stage(2, Deployed, 80)], &["archive 1"]),
        ("kept for the record", Le, vec![stage(1, Archived, -200), stage(2, Deployed, 80)], &[]),
        ("kept long enough", Le, vec![stage(1, Archived, -300), stage(2, Deployed, 80)], &["discard 1"]),
        (
            "older than what is deployed",
            Le,
            vec![stage(1, Issued, 60), stage(2, Deployed, 80)],
            &["archive 1"],
        ),
        (
            "never out, over since today",
            Le,
            vec![stage(1, Issued, 0), stage(2, Reserved, 80)],
            &["discard 2", "issue 2 rsa, then deploy"],
        ),
        ("never out, over", Le, vec![stage(1, Issued, -1)], &["expire 1", "issue rsa, then deploy"]),
        (
            "revoked, a successor is there",
            Le,
            vec![stage(1, Revoked, 60), stage(2, Issued, 80)],
            &["deploy 2"],
        ),
    ];
    for (case, kind, instances, expected) in cases {
        assert_eq!(said(&standing(kind, instances)), expected, "{case}");
    }
}

#[test]
fn who_is_left_out() {
    let mut it = standing(Kind::Local, vec![]);
    // Fault 6.1.2: `-C -a` issued for the CA and for the placeholder.
    for subject in [SubjectType::Ca, SubjectType::Reserved] {
        it.subject = subject;
        assert_eq!(said(&it), Vec::<String>::new(), "{subject}");
    }
    let mut disabled = standing(Kind::Le, vec![stage(1, State::Deployed, 1), stage(2, State::Issued, 80)]);
    disabled.disabled = true;
    assert_eq!(said(&disabled), Vec::<String>::new());
    disabled.kind = Kind::Local;
    disabled.instances.pop();
    assert_eq!(said(&disabled), ["remind"], "it is still served, and ends");
}

/// Fault 6.1.1.
#[test]
fn the_state_follows_what_happened_on_every_host() {
    let mut behind = stage(1, State::Deployed, 80);
    behind.missing = 2;
    let actions = due(&standing(Kind::Le, vec![behind]), &Policy::default(), NOW);
    assert_eq!(actions[0].because, Reason::HostsMissing { hosts: 2 });
    // A deployment that failed leaves the successor as it was, and what is deployed, too.
    let mut failed = stage(2, State::Prepublished, 80);
    failed.missing = 1;
    let both = standing(Kind::Le, vec![stage(1, State::Deployed, 1), failed]);
    assert_eq!(said(&both), ["deploy 2 then expire 1"]);
}

/// Fault 6.1.6: a fresh one that ended less than 30 days after the deployed one was deleted.
#[test]
fn early_renewed_certificates_are_kept() {
    for ends in [41, 69] {
        let early = standing(Kind::Le, vec![stage(1, State::Deployed, 40), stage(2, State::Issued, ends)]);
        assert_eq!(said(&early), Vec::<String>::new(), "{ends}");
        let later =
            standing(Kind::Le, vec![stage(1, State::Deployed, 1), stage(2, State::Prepublished, ends)]);
        assert_eq!(said(&later), ["deploy 2 then expire 1"], "{ends}");
    }
}

/// Fault 6.1.7.
#[test]
fn expired_only_when_the_successor_is_out() {
    let alone = standing(Kind::Local, vec![stage(1, State::Deployed, -10)]);
    assert_eq!(said(&alone), ["remind"], "it stays deployed, and somebody hears of it");
    let public = standing(Kind::Le, vec![stage(1, State::Deployed, -10)]);
    assert_eq!(said(&public), ["issue rsa, then deploy"]);
}

/// Fault 6.1.7: a reminder that could not be sent counted as sent.
#[test]
fn a_reminder_is_remembered_only_when_it_was_sent() {
    let mut it = standing(Kind::Local, vec![stage(1, State::Deployed, 20)]);
    assert_eq!(said(&it), ["remind"]);
    assert_eq!(said(&it), ["remind"], "to be due changes nothing");
    it.reminded = Some(days(-9));
    assert_eq!(said(&it), Vec::<String>::new());
    it.reminded = Some(days(-200));
    assert_eq!(said(&it), ["remind"], "that was for an earlier one");
}

/// Fault 6.1.13: a revoked instance ended the schedule.
#[test]
fn a_revoked_instance_is_replaced() {
    let revoked = standing(Kind::Le, vec![stage(1, State::Revoked, 60)]);
    let actions = due(&revoked, &Policy::default(), NOW);
    assert_eq!(actions.len(), 1);
    assert_eq!(actions[0].because, Reason::Revoked);
    let replaced = standing(Kind::Le, vec![stage(1, State::Revoked, 60), stage(2, State::Deployed, 80)]);
    assert_eq!(said(&replaced), ["archive 1"]);
}

#[test]
fn a_pair_is_one() {
    let mut half = stage(2, State::Issued, 80);
    half.whole = false;
    let mut it = standing(Kind::Le, vec![stage(1, State::Deployed, 20), half]);
    it.algorithms = Algorithms::Both;
    it.must_staple = true;
    it.authorized_until = Some(days(3));
    assert_eq!(said(&it), ["issue both, must staple, names proven, then prepublish"]);
}

#[test]
fn short_lifetimes_have_short_notice() {
    let six_days = |ends: i64| Stage { not_before: Some(days(ends - 6)), ..stage(1, State::Deployed, ends) };
    assert_eq!(said(&standing(Kind::Le, vec![six_days(3)])), Vec::<String>::new());
    assert_eq!(said(&standing(Kind::Le, vec![six_days(2)])), ["issue rsa, then prepublish"]);
}

#[test]
fn records_are_known_everywhere_before_the_change_over() {
    let mut young = stage(2, State::Prepublished, 80);
    young.published = Some(NOW - Duration::minutes(30));
    let it = standing(Kind::Le, vec![stage(1, State::Deployed, 1), young]);
    assert_eq!(said(&it), ["wait 2 until 2026-06-01 01:30"]);
}

/// Whatever states there are together, a schedule has an answer, and never lets go of the only one that is served.
#[test]
fn every_pair_of_states_has_an_answer() {
    for kind in [Kind::Le, Kind::Local] {
        for (first, _) in State::TEXTS {
            for (second, _) in State::TEXTS {
                for ends in [-400, -1, 0, 1, 20, 80] {
                    let it = standing(kind, vec![stage(1, *first, ends), stage(2, *second, 85)]);
                    for action in due(&it, &Policy::default(), NOW) {
                        let Step::Expire { instance: 1 } = action.step else { continue };
                        let served = *first == State::Deployed && *second != State::Deployed;
                        assert!(!served, "{kind} {first} {second} {ends}");
                    }
                }
            }
        }
    }
}

/// The moment before, nothing of it is due; at that moment it is.
#[test]
fn what_is_due_next_and_when() {
    use Kind::{Le, Local};
    use State::{Archived, Deployed, Issued, Prepublished, Reserved};
    let policy = Policy::default();
    let cases: Vec<(&str, Kind, Vec<Stage>, Option<(i64, &str)>)> = vec![
        ("nothing happens by itself", Le, vec![], None),
        ("deployed, fresh", Le, vec![stage(1, Deployed, 80)], Some((50, "issue"))),
        ("deployed, fresh, local", Local, vec![stage(1, Deployed, 80)], Some((50, "remind"))),
        ("published", Le, vec![stage(1, Deployed, 20), stage(2, Prepublished, 80)], Some((19, "deploy"))),
        ("issued in vain", Local, vec![stage(1, Deployed, 80), stage(2, Issued, 70)], Some((50, "remind"))),
        ("begun", Local, vec![Stage { touched: Some(NOW), ..stage(1, Reserved, 0) }], Some((1, "discard"))),
        ("kept", Local, vec![Stage { touched: Some(NOW), ..stage(1, Archived, -1) }], Some((365, "discard"))),
    ];
    for (name, kind, instances, expected) in cases {
        let standing = standing(kind, instances);
        let next = ahead(&standing, &policy, NOW);
        let found = next.as_ref().map(|(at, action)| ((*at - NOW).whole_days(), action.step.name()));
        assert_eq!(found, expected, "{name}");
        let Some((at, action)) = next else { continue };
        assert!(due(&standing, &policy, at).contains(&action), "{name}");
        assert!(!due(&standing, &policy, at - Duration::SECOND).contains(&action), "{name}");
    }
}

/// What an authority signs may begin a little later than now.
#[test]
fn an_authority_whose_clock_is_ahead_is_not_asked_again() {
    let ahead = |state| Stage { not_before: Some(NOW + Duration::minutes(1)), ..stage(2, state, 89) };
    let first = standing(Kind::Le, vec![ahead(State::Issued)]);
    assert_eq!(said(&first), ["wait 2 until 2026-06-01 00:01"]);
    let next = standing(Kind::Le, vec![stage(1, State::Deployed, 20), ahead(State::Issued)]);
    assert_eq!(said(&next), ["prepublish 2 beside 1"], "records may be out before");
    let older = standing(Kind::Le, vec![stage(1, State::Issued, 80), ahead(State::Issued)]);
    assert_eq!(said(&older), ["deploy 1"], "one that can be used is");
}
