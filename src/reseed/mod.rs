//! The story of a run: lock, recover, gather, plan, apply, record.
//!
//! `look` is the part before anything is changed, `tell` decides together with the services, `proof`
//! with what they really serve, `served` says what that should be, `gating` holds back what stays
//! stale, `release` lets go by hand, `quiet` tells whether a boot has anything to do at all, `rollback` is the story backwards, `rehome` the one that begins
//! with a new name, `settle` the one that waits until the identity has come to rest, `report` is what
//! is told of it.

mod gating;
#[cfg(test)]
mod lineages;
mod look;
#[cfg(test)]
mod programs;
mod proof;
mod quiet;
mod rehome;
mod release;
mod report;
mod rollback;
mod served;
#[cfg(test)]
mod servers;
mod settle;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use time::OffsetDateTime;
use tracing::warn;

use crate::apply::{self, ApplyError, Manager, Payload, Run};
use crate::facts::managed;
use crate::fault::Fault;
use crate::hook::HookName;
use crate::ledger::{Ledger, RunId};
use crate::pki::key::KeyError;
use crate::plan::{Action, Request};
use crate::probe::Prober;
use crate::service::Services;
use crate::store::{self, StoreError};
use crate::system::clock;
use crate::system::root::{Lock, PathError, Root};
use crate::transaction;

pub use look::{Outlook, look};
pub use quiet::{Quiet, early, quiet};
pub use rehome::{Place, rehome};
pub use release::{Release, release, release_all};
pub use report::{Outcome, Probed, Report};
pub use rollback::roll_back;
pub use served::Served;
pub use settle::settle;

/// What a command works on and with.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The root that is worked on.
    pub root: &'a Root,
    /// A further directory of hooks, weaker than all others.
    pub below: Option<&'a Root>,
    /// Whoever can be asked to restart something.
    pub services: &'a dyn Services,
    /// The way to what is really served.
    pub prober: &'a Prober,
    /// The present time.
    pub now: OffsetDateTime,
}

/// Why a run could not be begun, or not be carried to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReseedError {
    /// Exit status 75.
    #[error("another run holds the lock; try again when it is through")]
    Busy,
    /// Exit status 2.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Exit status 2.
    #[error("{0}")]
    Usage(String),
    /// Exit status 1.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Exit status 1.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Exit status 1.
    #[error("{0}")]
    Service(String),
}

impl From<StoreError> for ReseedError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fault(fault) => Self::Fault(fault),
            StoreError::Path(error) => Self::Path(error),
        }
    }
}

/// Makes again what no longer holds.
///
/// # Errors
/// [`ReseedError`] when the run could not be begun, or what it did not be recorded; a hook that
/// fails is in the report.
pub fn apply(world: World<'_>, request: &Request) -> Result<Report, ReseedError> {
    let lock = lock(world.root, request)?;
    run(world, &lock, request)
}

/// Whoever waits for an answer is told at once that another run is under way; a run that a trigger
/// asked for waits for it, because the other may have looked before the trigger came.
fn lock(root: &Root, request: &Request) -> Result<Lock, ReseedError> {
    let mut tries = if request.unattended { TRIES } else { 1 };
    loop {
        if let Some(lock) = store::lock(root)? {
            return Ok(lock);
        }
        tries -= 1;
        if tries == 0 {
            return Err(ReseedError::Busy);
        }
        clock::pause(BETWEEN_TRIES);
    }
}

/// A minute and a half together: as long as a database takes to restart.
const TRIES: u32 = 450;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

// ---- the parts of the story, in their order ------------------------------------------------------

fn run(world: World<'_>, lock: &Lock, request: &Request) -> Result<Report, ReseedError> {
    let mut ledger = store::ledger(world.root)?;
    let recovered = recover(world.root, lock, &mut ledger)?;
    let recorded = ledger.clone();
    let seen = look::outlook(world, request, ledger, false, Vec::new())?;
    let mut report = Report::new(&seen, &recovered);
    let mut ledger = seen.ledger.clone();
    make(world, lock, &seen, &recovered, &mut ledger, &mut report)?;
    know_machine(&seen, request, report.has_failed(), &mut ledger);
    gating::gate_and_release(world, &seen, request, &mut ledger, &mut report);
    if ledger != recorded {
        store::save_ledger(world.root, lock, &ledger)?;
    }
    retry_later(world, request, &mut report);
    Ok(report)
}

/// What a run that nobody waits for leaves undone is tried again while the machine runs. The mark
/// saves the runs that have nothing to do from asking whether the timer runs.
fn retry_later(world: World<'_>, request: &Request, report: &mut Report) {
    let wanted = request.unattended && report.leaves_something();
    if !world.root.is_live() || !world.services.answers() {
        return;
    }
    let done = store::is_retrying(world.root).and_then(|retrying| {
        if wanted == retrying {
            return Ok(());
        }
        if let Err(error) = world.services.retry(wanted) {
            warn!(%error, "what is left undone is not tried again before the next boot");
            return Ok(());
        }
        store::mark_retrying(world.root, wanted)
    });
    if let Err(error) = done {
        report.failures.push(error.to_string());
    }
}

/// Records who the machine is, for the next run to tell what happened in between. What this run has
/// not seen to has still happened then: hooks that nobody asked for, that failed, or that wait.
fn know_machine(seen: &Outlook, request: &Request, has_failed: bool, ledger: &mut Ledger) {
    let now = &seen.facts.identity;
    if let Some(name) = &seen.plan.name {
        ledger.names.extend([name.as_str().to_owned(), name.label().to_owned()]);
    }
    ledger.complete(now);
    if request.only.is_empty() && !has_failed {
        let waits = seen.plan.hooks.iter().any(|hook| hook.has(Action::Wait));
        ledger.know(now, waits || seen.plan.put_off.is_some());
    }
}

/// What became of interrupted earlier runs.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Transactions that were put in order.
    count: usize,
    /// Hooks whose files must not be touched in this run, and why.
    pub(crate) stuck: BTreeMap<HookName, String>,
}

pub(crate) fn recover(root: &Root, lock: &Lock, ledger: &mut Ledger) -> Result<Recovered, ReseedError> {
    if !transaction::is_interrupted(root)? {
        return Ok(Recovered::default());
    }
    let recovery = transaction::recover(root)?;
    let mut recovered = Recovered { count: recovery.taken_back, ..Recovered::default() };
    for one in recovery.committed {
        record(ledger, one.payload())?;
        store::save_ledger(root, lock, ledger)?;
        one.finish()?;
        recovered.count += 1;
    }
    for (text, error) in recovery.stuck {
        let reason = format!("an interrupted run of it cannot be put in order: {error}");
        recovered.stuck.insert(payload(&text)?.hook, reason);
    }
    warn!(put_in_order = recovered.count, stuck = recovered.stuck.len(), "an earlier run was interrupted");
    Ok(recovered)
}

fn payload(text: &str) -> Result<Payload, Fault> {
    toml::from_str(text).map_err(|error| Fault::toml(Path::new("the journal's payload"), text, &error))
}

fn record(ledger: &mut Ledger, text: &str) -> Result<(), ReseedError> {
    let payload = self::payload(text)?;
    match payload.entry {
        Some(entry) => ledger.record(payload.hook, entry),
        None => {
            ledger.hook.remove(&payload.hook);
        }
    }
    Ok(())
}

fn make(
    world: World<'_>,
    lock: &Lock,
    seen: &Outlook,
    recovered: &Recovered,
    ledger: &mut Ledger,
    report: &mut Report,
) -> Result<(), ReseedError> {
    let began = after(ledger.latest(), world.now);
    let id = RunId::new(began);
    let backdate_hours = seen.settings.certificates.backdate_hours.count();
    let topdir = managed::topdir(world.root, &seen.settings.manager);
    let manager = Manager::new(world.root, world.services, topdir, seconds(world.now));
    let run = Run {
        manager: &manager,
        root: world.root,
        services: world.services,
        facts: &seen.facts,
        id: &id,
        began: seconds(began),
        backdate_hours,
    };
    for hook in seen.plan.notes().into_iter().filter(|hook| !recovered.stuck.contains_key(&hook.hook)) {
        let entry = apply::noted(&run, hook, ledger.hook.get(&hook.hook));
        ledger.hook.insert(hook.hook.clone(), entry);
    }
    let steps = seen.plan.steps();
    if steps.is_empty() {
        return Ok(());
    }
    report.run = Some(id.clone());
    let mut ready = apply::make_ready(&steps, ledger)?;
    // The serials are set aside before the first of them can be seen by anybody.
    store::save_ledger(world.root, lock, ledger)?;
    let served = Served { root: world.root, facts: &seen.facts, names: &seen.ledger.names };
    let proof = proof::Proof::begin(world, served, &steps);
    let mut applied = Vec::new();
    for step in steps {
        if let Some(reason) = recovered.stuck.get(&step.hook) {
            report.fail(ledger, step, world.now, reason.clone());
            continue;
        }
        let Some(ready) = ready.remove(&step.hook) else { continue };
        match apply::apply(&run, step, ready, seen.ledger.hook.get(&step.hook)) {
            Ok(done) => applied.push((step, done)),
            Err(error) => {
                report.fail(ledger, step, world.now, error.to_string());
                if matches!(error, ApplyError::Manager(_)) {
                    ledger.blame_manager(&step.hook);
                }
            }
        }
    }
    tell::decide(world, lock, proof, applied, ledger, report)?;
    for (hook, outcome) in &report.outcomes {
        report::note(world, lock, &report::history(&id, hook, outcome, &report.plan));
    }
    store::prune_backups(world.root, seen.settings.backups.keep)?;
    Ok(())
}

/// A clock that went back must not let this run pass for an older one: backups go by their age, and
/// host keys are made whatever the clock says.
fn after(latest: Option<OffsetDateTime>, now: OffsetDateTime) -> OffsetDateTime {
    latest.filter(|latest| *latest > now).map_or(now, |latest| latest + time::Duration::SECOND)
}

/// What is recorded for people has no fractions of a second.
fn seconds(now: OffsetDateTime) -> OffsetDateTime {
    now.replace_nanosecond(0).unwrap_or(now)
}
