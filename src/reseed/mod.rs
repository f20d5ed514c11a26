//! The story of a run: lock, recover, gather, plan, apply, record.
//!
//! `look` is the part before anything is changed, `tell` decides together with the services, `gating`
//! holds back what stays stale, `rollback` is the story backwards, `report` is what is told of it.

mod gating;
mod look;
mod report;
mod rollback;
mod tell;
#[cfg(test)]
mod tests;

use std::path::Path;

use time::OffsetDateTime;
use tracing::warn;

use crate::apply::{self, Payload, Run};
use crate::fault::Fault;
use crate::ledger::{Ledger, RunId};
use crate::pki::key::KeyError;
use crate::plan::Request;
use crate::service::Services;
use crate::store::{self, StoreError};
use crate::system::root::{Lock, PathError, Root};
use crate::transaction;

pub use look::{Outlook, look};
pub use report::{Outcome, Report};
pub use rollback::roll_back;

/// What a command works on and with.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The root that is worked on.
    pub root: &'a Root,
    /// A further directory of hooks, weaker than all others.
    pub below: Option<&'a Root>,
    /// Whoever can be asked to restart something.
    pub services: &'a dyn Services,
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
    let lock = store::lock(world.root)?.ok_or(ReseedError::Busy)?;
    let mut ledger = store::ledger(world.root)?;
    let recovered = recover(world.root, &lock, &mut ledger)?;
    let seen = look::outlook(world, request, ledger, false, Vec::new())?;
    let mut report = Report::new(&seen, recovered);
    let mut ledger = seen.ledger.clone();
    make(world, &lock, &seen, &mut ledger, &mut report)?;
    gating::gate_and_release(world, &seen, request, &mut ledger, &mut report);
    if let Some(name) = &report.plan.name {
        ledger.names.extend([name.as_str().to_owned(), name.label().to_owned()]);
    }
    if ledger != seen.ledger {
        store::save_ledger(world.root, &lock, &ledger)?;
    }
    Ok(report)
}

// ---- the parts of the story, in their order ------------------------------------------------------

fn recover(root: &Root, lock: &Lock, ledger: &mut Ledger) -> Result<usize, ReseedError> {
    if !transaction::is_interrupted(root)? {
        return Ok(0);
    }
    let (committed, taken_back) = transaction::recover(root)?;
    let count = committed.len() + taken_back;
    for one in committed {
        record(ledger, one.payload())?;
        store::save_ledger(root, lock, ledger)?;
        one.finish()?;
    }
    warn!(taken_back, finished = count - taken_back, "an earlier run was interrupted; put in order");
    Ok(count)
}

fn record(ledger: &mut Ledger, payload: &str) -> Result<(), ReseedError> {
    let payload: Payload = toml::from_str(payload)
        .map_err(|error| Fault::toml(Path::new("the journal's payload"), payload, &error))?;
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
    ledger: &mut Ledger,
    report: &mut Report,
) -> Result<(), ReseedError> {
    let steps = seen.plan.steps();
    if steps.is_empty() {
        return Ok(());
    }
    let id = RunId::new(world.now);
    report.run = Some(id.clone());
    let mut ready = apply::make_ready(&steps, ledger)?;
    // The serials are set aside before the first of them can be seen by anybody.
    store::save_ledger(world.root, lock, ledger)?;
    let backdate_hours = seen.settings.certificates.backdate_hours.count();
    let run = Run { root: world.root, facts: &seen.facts, id: &id, backdate_hours };
    let mut applied = Vec::new();
    for step in steps {
        let Some(ready) = ready.remove(&step.hook) else { continue };
        match apply::apply(&run, step, ready, seen.ledger.hook.get(&step.hook)) {
            Ok(done) => applied.push((step, done)),
            Err(error) => report.fail(ledger, step, world.now, error.to_string()),
        }
    }
    tell::decide(world, lock, applied, ledger, report)?;
    for (hook, outcome) in &report.outcomes {
        report::note(world, lock, &report::history(&id, hook, outcome, &report.plan));
    }
    store::prune_backups(world.root, seen.settings.backups.keep)?;
    Ok(())
}

/// What is recorded for people has no fractions of a second.
fn seconds(now: OffsetDateTime) -> OffsetDateTime {
    now.replace_nanosecond(0).unwrap_or(now)
}
