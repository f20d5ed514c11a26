//! From which state an instance may go to which, and when. Nothing else says so, but the database, which keeps
//! the same pairs.
//!
//! ```text
//!  reserved ──► issued ──► prepublished ──► deployed ──► expired ──► archived
//!                  │            │              │            │            ▲
//!                  └────────────┴──────────────┴────────────┴► revoked ──┘
//! ```

use std::collections::BTreeSet;

use serde::Serialize;
use time::OffsetDateTime;

use super::model::{Instance, Name, Refusal, Rule, State};

/// When an instance may take a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It holds a certificate for each of its keys.
    Whole,
    /// Its records are out.
    Published,
    /// Every host of its certificate has it, and it is within its time.
    OnEveryHost,
    /// A later instance is deployed, on every host.
    SuccessorOut,
    /// A later instance is deployed, or its time is over.
    NoLongerServed,
    /// Its time is over.
    Over,
    /// Its authority says that it has taken it back.
    TakenBack,
    /// Nothing more can come of it.
    Ended,
}

/// One step that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// When.
    pub when: Condition,
}

/// Every step. The first state is [`State::Reserved`], and an instance leaves the inventory from there when its
/// issue was given up, or from [`State::Archived`].
pub const TRANSITIONS: [Transition; 14] = [
    step(State::Reserved, State::Issued, Condition::Whole),
    step(State::Issued, State::Prepublished, Condition::Published),
    step(State::Issued, State::Deployed, Condition::OnEveryHost),
    step(State::Prepublished, State::Deployed, Condition::OnEveryHost),
    step(State::Deployed, State::Expired, Condition::SuccessorOut),
    step(State::Issued, State::Expired, Condition::Over),
    step(State::Prepublished, State::Expired, Condition::Over),
    step(State::Issued, State::Archived, Condition::SuccessorOut),
    step(State::Prepublished, State::Archived, Condition::SuccessorOut),
    step(State::Issued, State::Revoked, Condition::TakenBack),
    step(State::Prepublished, State::Revoked, Condition::TakenBack),
    step(State::Deployed, State::Revoked, Condition::TakenBack),
    step(State::Expired, State::Archived, Condition::Ended),
    step(State::Revoked, State::Archived, Condition::NoLongerServed),
];

const fn step(from: State, to: State, when: Condition) -> Transition {
    Transition { from, to, when }
}

/// What decides whether a condition holds.
#[derive(Debug, Clone)]
pub struct Circumstances<'a> {
    /// Every host of the certificate.
    pub hosts: &'a BTreeSet<&'a Name>,
    /// A later instance of the certificate is deployed.
    pub successor_out: bool,
    /// The authority says that it has taken the certificate back.
    pub taken_back: bool,
    /// The present time.
    pub now: OffsetDateTime,
}

/// Says whether an instance may go to a state now.
///
/// # Errors
/// [`Rule::Transition`]: there is no such step, or its condition does not hold.
pub fn may(instance: &Instance, to: State, circumstances: &Circumstances<'_>) -> Result<(), Refusal> {
    let from = instance.state;
    let refuse = |why: String| {
        let says = format!(
            "instance {} of {} cannot go from {from} to {to}: {why}",
            instance.id, instance.certificate
        );
        Refusal::new(Rule::Transition, says)
    };
    let Some(transition) = TRANSITIONS.iter().find(|known| known.from == from && known.to == to) else {
        return Err(refuse("there is no such step".into()));
    };
    let Circumstances { hosts, successor_out, taken_back, now } = circumstances;
    let is_over = instance.not_after.is_none_or(|end| end <= *now);
    match transition.when {
        Condition::Whole if !instance.is_whole() => {
            Err(refuse("it does not hold a certificate for each of its keys".into()))
        }
        Condition::Published if instance.published.is_none() => Err(refuse("its records are not out".into())),
        Condition::OnEveryHost if !instance.is_whole() || !instance.is_valid(*now) => {
            Err(refuse("it is not within its time".into()))
        }
        Condition::OnEveryHost => match hosts.iter().find(|host| !instance.is_on(host)) {
            Some(host) => Err(refuse(format!("it is not on {host}"))),
            None => Ok(()),
        },
        Condition::SuccessorOut if !successor_out => Err(refuse("no later one is deployed".into())),
        Condition::NoLongerServed if !successor_out && !is_over => {
            Err(refuse("no later one is deployed, and it may still be served".into()))
        }
        Condition::Over if !is_over => Err(refuse("its time is not over".into())),
        Condition::TakenBack if !taken_back => Err(refuse("its authority has not taken it back".into())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::manager::inventory::model::{
        About, Algorithms, Delivery, KeyAlgorithm, KeyInfo, Outcome, Word,
    };

    const NOW: OffsetDateTime = datetime!(2026-06-01 0:00 UTC);

    fn instance(state: State) -> Instance {
        let host = Name::new("a.example").unwrap();
        let delivery = Delivery { at: NOW, outcome: Outcome::Done, says: None };
        Instance {
            id: 7,
            certificate: Name::new("www.example").unwrap(),
            state,
            algorithms: Algorithms::Both,
            must_staple: false,
            issuer: None,
            not_before: Some(datetime!(2026-05-01 0:00 UTC)),
            not_after: Some(datetime!(2026-07-01 0:00 UTC)),
            published: Some(NOW),
            about: About::default(),
            deliveries: [(host, delivery)].into(),
            keys: [KeyAlgorithm::Rsa, KeyAlgorithm::Ec]
                .map(|algorithm| KeyInfo { algorithm, digest: "00".into(), created: None })
                .into(),
        }
    }

    #[test]
    fn every_step_is_taken_when_its_condition_holds_and_only_then() {
        let host = Name::new("A.example").unwrap();
        let hosts = BTreeSet::from([&host]);
        for transition in TRANSITIONS {
            let case = format!("{} to {}", transition.from, transition.to);
            let holds = Circumstances { hosts: &hosts, successor_out: true, taken_back: true, now: NOW };
            let mut good = instance(transition.from);
            if transition.when == Condition::Over {
                good.not_after = Some(NOW);
            }
            assert_eq!(may(&good, transition.to, &holds), Ok(()), "{case}");
            let mut circumstances = Circumstances { successor_out: false, taken_back: false, ..holds };
            let mut bad = instance(transition.from);
            match transition.when {
                Condition::Whole => drop(bad.keys.pop()),
                Condition::Published => bad.published = None,
                Condition::OnEveryHost => bad.deliveries.clear(),
                Condition::Ended => continue,
                _ => circumstances.now = NOW,
            }
            assert_eq!(
                may(&bad, transition.to, &circumstances).unwrap_err().rule,
                Rule::Transition,
                "{case}"
            );
        }
    }

    #[test]
    fn a_pair_that_lacks_a_key_is_never_deployed() {
        let mut half = instance(State::Issued);
        half.keys.pop();
        let circumstances =
            Circumstances { hosts: &BTreeSet::new(), successor_out: false, taken_back: false, now: NOW };
        assert!(may(&half, State::Deployed, &circumstances).is_err());
    }

    #[test]
    fn a_host_that_failed_keeps_the_state() {
        let mut failed = instance(State::Issued);
        failed.deliveries.values_mut().for_each(|delivery| delivery.outcome = Outcome::Failed);
        let host = Name::new("a.example").unwrap();
        let hosts = BTreeSet::from([&host]);
        let circumstances =
            Circumstances { hosts: &hosts, successor_out: false, taken_back: false, now: NOW };
        let refusal = may(&failed, State::Deployed, &circumstances).unwrap_err();
        assert!(refusal.says.contains("it is not on a.example"), "{refusal}");
    }

    #[test]
    fn nothing_leads_back() {
        for (from, _) in State::TEXTS {
            for (to, _) in State::TEXTS {
                let is_known = TRANSITIONS.iter().any(|step| step.from == *from && step.to == *to);
                assert!(!is_known || from < to, "{from} to {to}");
            }
        }
    }
}
