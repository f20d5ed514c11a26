//! The proof: what units serve before and after they are told, and what follows from it.
//!
//! A job that is done proves nothing: cyrus goes on with old certificates in some of its children, and
//! it and sendmail stay "active" without any TLS when they do not like a key. So every place where
//! a unit spoke TLS is asked before and after, and the new certificate has to be seen there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::artifact::Found;
use crate::hook::Verb;
use crate::plan::{Action, HookPlan};
use crate::probe::verdict::{self, Measure, Verdict};
use crate::probe::{Answer, Effort, Endpoint, KeyKind, Shown};
use crate::service::Told;
use crate::system::clock;

use super::served::Served;
use super::{Probed, World};

/// Between two looks at a service that takes up its files.
const PAUSE: Duration = Duration::from_millis(300);

/// What units serve while the old files still count.
pub(super) struct Proof<'a> {
    world: World<'a>,
    served: Served<'a>,
    before: Vec<(Endpoint, Vec<Answer>)>,
}

/// What was found out after units were told.
#[derive(Debug, Default)]
pub(super) struct Proven {
    seen: Vec<Seen>,
    /// Units whose reload did not suffice.
    pub(super) restarted: Vec<String>,
}

/// One place before and after.
#[derive(Debug)]
struct Seen {
    endpoint: Endpoint,
    before: Vec<Answer>,
    after: Verdict,
}

impl<'a> Proof<'a> {
    /// Notes what the units of some steps serve. Asked before any file is swapped: a worker that is
    /// started meanwhile reads the new ones.
    pub(super) fn begin(world: World<'a>, served: Served<'a>, steps: &[&HookPlan]) -> Self {
        let mut before = Vec::new();
        if world.root.is_live() {
            let units = served.units(|_, unit| steps.iter().any(|step| step.tell.contains_key(unit)));
            match (world.prober.listen)(world.root, &units) {
                Ok(endpoints) => {
                    let name = served.name();
                    let name = name.as_ref().map(crate::identity::HostName::as_str);
                    let answers = (world.prober.ask)(&endpoints, name, Effort::Glance);
                    before = endpoints.into_iter().zip(answers).filter(is_worth_asking).collect();
                }
                Err(error) => warn!(error, "what is served cannot be asked, proceeding"),
            }
        }
        Self { world, served, before }
    }

    /// Asks again after units were told; restarts those that a reload did not suffice for. What
    /// became of a restart is in `told` afterwards.
    pub(super) fn finish(self, steps: &[&HookPlan], told: &mut BTreeMap<String, Told>) -> Proven {
        let took_up = |told: &BTreeMap<String, Told>, unit: &str| {
            let mut its = told.values().filter(|told| told.pattern == unit).peekable();
            its.peek().is_some() && its.all(|told| told.result.is_ok() && !told.waits)
        };
        let mut proven = Proven::default();
        let asked: Vec<_> = self.before.iter().filter(|(one, _)| took_up(told, &one.unit)).collect();
        for (endpoint, before) in &asked {
            let (endpoint, before) = (endpoint.clone(), before.clone());
            proven.seen.push(Seen { endpoint, before, after: Verdict::Closed });
        }
        self.ask(steps, &mut proven.seen);
        let restart = insufficient(steps, &proven.seen, told);
        if restart.is_empty() {
            return proven;
        }
        let units: Vec<&str> = restart.keys().map(String::as_str).collect();
        warn!("a reload did not suffice for {}; restarting", units.join(", "));
        match self.world.services.tell(&restart) {
            Ok(again) => told.extend(again),
            Err(error) => {
                for told in told.values_mut().filter(|told| restart.contains_key(&told.pattern)) {
                    told.result = Err(error.clone());
                }
            }
        }
        let (mut again, rest): (Vec<Seen>, Vec<Seen>) =
            std::mem::take(&mut proven.seen).into_iter().partition(|seen| {
                restart.contains_key(&seen.endpoint.unit) && took_up(told, &seen.endpoint.unit)
            });
        self.ask(steps, &mut again);
        proven.seen = rest.into_iter().chain(again).collect();
        proven.restarted = restart.into_keys().collect();
        proven
    }

    /// Asks until everything is fresh, or waiting longer would show nothing new.
    fn ask(&self, steps: &[&HookPlan], seen: &mut [Seen]) {
        let name = self.served.name();
        let name = name.as_ref().map(crate::identity::HostName::as_str);
        let was_here = |shown: &Shown| steps.iter().any(|step| was_of(step, shown));
        let since = Instant::now();
        let mut pending: Vec<&mut Seen> = seen.iter_mut().collect();
        // A program that has just been told may need a moment: what is not right gets a second look.
        for look in 0.. {
            let endpoints: Vec<Endpoint> = pending.iter().map(|seen| seen.endpoint.clone()).collect();
            let answers = (self.world.prober.ask)(&endpoints, name, Effort::Thorough);
            for (seen, answers) in pending.iter_mut().zip(answers) {
                let expected = self.served.expected(&seen.endpoint);
                let measure = Measure { expected: &expected, name, now: self.world.now, was_here: &was_here };
                seen.after = verdict::judge(&answers, &measure);
            }
            let in_time = since.elapsed() < self.world.prober.patience;
            pending.retain(|seen| match seen.after {
                Verdict::Closed => in_time,
                Verdict::Mixed { .. } | Verdict::Stale | Verdict::NoTls { .. } => in_time && look == 0,
                _ => false,
            });
            if pending.is_empty() {
                return;
            }
            clock::pause(PAUSE);
        }
    }
}

impl Proven {
    /// Why a step's old files have to come back; nothing while any of it is served, or while it is
    /// not known.
    pub(super) fn refusal(&self, step: &HookPlan) -> Option<String> {
        let its: Vec<&Seen> = self.seen.iter().filter(|seen| seen.showed(step)).collect();
        let mut reasons = Vec::new();
        for seen in its {
            reasons.push(match &seen.after {
                Verdict::Stale => format!("{} still shows the old one", seen.endpoint),
                Verdict::NoTls { reason } => format!("{} offers no TLS any more: {reason}", seen.endpoint),
                Verdict::Closed => format!("nobody listens at {} any more", seen.endpoint),
                _ => return None,
            });
        }
        let units: BTreeSet<&str> = self
            .seen
            .iter()
            .filter(|seen| seen.showed(step))
            .map(|seen| seen.endpoint.unit.as_str())
            .collect();
        let units = units.into_iter().collect::<Vec<_>>().join(", ");
        (!reasons.is_empty())
            .then(|| format!("the new certificate is not served by {units}: {}", reasons.join("; ")))
    }

    /// What the units serve, for the report.
    pub(super) fn into_report(self) -> BTreeMap<String, Vec<Probed>> {
        let mut probed: BTreeMap<String, Vec<Probed>> = BTreeMap::new();
        for Seen { endpoint, after: verdict, .. } in self.seen {
            if verdict.is_wrong() {
                warn!(unit = endpoint.unit, "{endpoint}: {verdict}");
            }
            probed.entry(endpoint.unit.clone()).or_default().push(Probed { endpoint, verdict });
        }
        probed
    }
}

impl Seen {
    /// Says whether it served what a step replaces.
    fn showed(&self, step: &HookPlan) -> bool {
        step.tell.contains_key(&self.endpoint.unit)
            && self.before.iter().any(|answer| matches!(answer, Answer::Shown(shown) if was_of(step, shown)))
    }
}

/// The units that were reloaded and do not serve what they should.
fn insufficient(steps: &[&HookPlan], seen: &[Seen], told: &BTreeMap<String, Told>) -> BTreeMap<String, Verb> {
    let reloaded = |unit: &str| {
        told.values().any(|told| told.pattern == unit && told.verb == Verb::Reload && told.result.is_ok())
    };
    let falls_short = |seen: &&Seen| match seen.after {
        Verdict::Mixed { .. } => true,
        Verdict::Stale | Verdict::NoTls { .. } | Verdict::Closed => {
            steps.iter().any(|step| seen.showed(step))
        }
        _ => false,
    };
    seen.iter()
        .filter(falls_short)
        .filter(|seen| reloaded(&seen.endpoint.unit))
        .map(|seen| (seen.endpoint.unit.clone(), Verb::Restart))
        .collect()
}

/// A place that nobody could ask before says nothing afterwards either, and a port that turned out
/// not to speak TLS is left in peace.
fn is_worth_asking((endpoint, before): &(Endpoint, Vec<Answer>)) -> bool {
    before.iter().any(|answer| match answer {
        Answer::Shown(_) => true,
        Answer::NoTls(_) => !endpoint.guessed,
        Answer::Closed | Answer::Unknown(_) => false,
    })
}

/// Says whether something is what a step replaces. Serials are never used twice; an `sshd` shows
/// nothing but this machine's host keys.
fn was_of(step: &HookPlan, shown: &Shown) -> bool {
    if shown.kind == KeyKind::Host {
        return true;
    }
    let Some(certificate) = &shown.certificate else { return false };
    step.tasks.iter().filter(|task| task.action == Action::Make).flat_map(|task| &task.bundle.artifacts).any(
        |artifact| match &artifact.found {
            Found::Ours(made) => made.serial.is_some() && made.serial == certificate.serial,
            Found::Other(content) => {
                content.certificate.as_ref().is_some_and(|found| found.as_ref() == Ok(certificate))
            }
            Found::Absent | Found::Unreadable(_) => false,
        },
    )
}
