//! The story of a run: lock, recover, gather, plan, apply, record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;
use tracing::{error, info, warn};

use crate::apply::{self, Applied, Payload, Run};
use crate::config::Settings;
use crate::facts::{self, Sources};
use crate::fault::Fault;
use crate::gate::{self, Wish};
use crate::hook::{Catalogue, HookName, Verb};
use crate::ledger::{Entry, Former, GateChange, Ledger, RunId};
use crate::pki::key::KeyError;
use crate::plan::{self, Facts, HookPlan, Plan, PutOff, Request};
use crate::service::{Services, Told};
use crate::store::{self, StoreError};
use crate::system::root::{Lock, PathError, Root};
use crate::transaction::{self, Backup, Kept, Staged};

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

/// Everything that a command looks at before anything is changed.
#[derive(Debug)]
pub struct Outlook {
    /// What is recorded.
    pub ledger: Ledger,
    /// The settings.
    pub settings: Settings,
    /// The hooks in force.
    pub hooks: Catalogue,
    /// Hook files that are not in force because something is wrong with them.
    pub faults: Vec<Fault>,
    /// What was found out.
    pub facts: Facts,
    /// What a run would do.
    pub plan: Plan,
    /// What the user may want to know beside it.
    pub notes: Vec<String>,
}

/// What a run did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The run's name; nothing when there was nothing to do.
    pub run: Option<RunId>,
    /// What was planned.
    pub plan: Plan,
    /// What became of each step.
    pub outcomes: BTreeMap<HookName, Outcome>,
    /// The units that were told, and did what they were asked.
    pub told: BTreeMap<String, Verb>,
    /// The units that are newly held back, with why.
    pub gated: BTreeMap<String, String>,
    /// The units that were let go.
    pub released: Vec<String>,
    /// What went wrong beside the steps.
    pub failures: Vec<String>,
    /// Interrupted earlier runs that were put in order.
    pub recovered: usize,
    /// Hook files that are not in force.
    pub faults: Vec<Fault>,
}

/// What became of a step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new files stand.
    Made(Entry),
    /// Everything is as it was, because:
    Failed(String),
}

impl Report {
    /// Says whether anything failed.
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
            || self.outcomes.values().any(|outcome| matches!(outcome, Outcome::Failed(_)))
    }
}

/// Looks, without changing anything: for `status`, `plan`, `check`, `explain`.
///
/// # Errors
/// [`ReseedError`]
pub fn look(world: World<'_>, request: &Request) -> Result<Outlook, ReseedError> {
    let mut notes = Vec::new();
    let ledger = match store::ledger(world.root) {
        Err(StoreError::Path(error)) if error.is_denied() => {
            notes.push(format!("{} may not be read by this user: judged without it", store::LEDGER));
            Ledger::default()
        }
        ledger => ledger?,
    };
    if transaction::is_interrupted(world.root).unwrap_or(false) {
        notes.push("an earlier run was interrupted; `reseed apply` puts that in order first".into());
    }
    outlook(world, request, ledger, true, notes)
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
    let seen = outlook(world, request, ledger, false, Vec::new())?;
    let mut report = Report::new(&seen, recovered);
    let mut ledger = seen.ledger.clone();
    make(world, &lock, &seen, &mut ledger, &mut report)?;
    gate_and_release(world, &seen, request, &mut ledger, &mut report);
    if let Some(name) = &report.plan.name {
        ledger.names.extend([name.as_str().to_owned(), name.label().to_owned()]);
    }
    if ledger != seen.ledger {
        store::save_ledger(world.root, &lock, &ledger)?;
    }
    Ok(report)
}

/// Puts back what a run replaced: the last one that has a backup, or the one that is named.
///
/// # Errors
/// [`ReseedError`]
pub fn roll_back(world: World<'_>, run: Option<&RunId>) -> Result<(RunId, Vec<HookName>), ReseedError> {
    let lock = store::lock(world.root)?.ok_or(ReseedError::Busy)?;
    let mut ledger = store::ledger(world.root)?;
    recover(world.root, &lock, &mut ledger)?;
    let kept = store::backups(world.root)?;
    let found = kept.into_iter().rev().find(|(id, _)| run.is_none_or(|run| run == id));
    let (run, hooks) = found.ok_or_else(|| match run {
        Some(run) => ReseedError::Usage(format!(
            "there is no backup of a run {run}; `ls {}` lists them",
            store::BACKUPS
        )),
        None => ReseedError::Usage("there is no backup of any run".into()),
    })?;
    let seen = outlook(world, &Request::default(), ledger.clone(), false, Vec::new())?;
    let id = RunId::new(world.now);
    let mut units = BTreeMap::new();
    for hook in &hooks {
        put_back(world, &lock, &mut ledger, &run, hook, &id)?;
        units.extend(
            seen.plan.hooks.iter().filter(|plan| plan.hook == *hook).flat_map(|plan| plan.tell.clone()),
        );
    }
    tell(world, &units)
        .map_err(|error| ReseedError::Path(PathError::refused(Path::new(store::BACKUPS), error)))?;
    note(world, &lock, &serde_json::json!({ "run": id, "rolled-back": run, "hooks": hooks }));
    Ok((run, hooks))
}

// ---- the parts of the story, in their order ------------------------------------------------------

fn outlook(
    world: World<'_>,
    request: &Request,
    ledger: Ledger,
    every_facet: bool,
    notes: Vec<String>,
) -> Result<Outlook, ReseedError> {
    let settings = store::settings(world.root)?;
    let (hooks, faults) = store::hooks(world.root, world.below)?;
    let seed = store::seed(world.root)?;
    let root = world.root;
    let sources = Sources {
        root,
        hooks: &hooks,
        settings: &settings,
        ledger: &ledger,
        seed: &seed,
        now: world.now,
        every_facet,
    };
    let facts = facts::gather(&sources)?;
    let request = resolved(root, request, &hooks, &facts)?;
    let plan = plan::plan(&facts, &ledger, &request);
    Ok(Outlook { ledger, settings, hooks, faults, facts, plan, notes })
}

/// What the user names must be something that there is.
fn resolved(
    root: &Root,
    request: &Request,
    hooks: &Catalogue,
    facts: &Facts,
) -> Result<Request, ReseedError> {
    for name in &request.only {
        if hooks.get(name).is_none() {
            return Err(ReseedError::Usage(format!(
                "there is no hook {name}; `reseed hook list` shows them"
            )));
        }
    }
    let artifacts =
        || facts.hooks.values().flat_map(|hook| &hook.bundles).flat_map(|bundle| &bundle.artifacts);
    for path in &request.adopt {
        let real = root.resolve(path)?;
        if !artifacts().any(|artifact| artifact.path == *path || artifact.real == real) {
            let message = format!(
                "no hook in force has the file {}; `reseed explain` tells what is known of it",
                path.display()
            );
            return Err(ReseedError::Usage(message));
        }
    }
    let reals = request.adopt.iter().filter_map(|path| root.resolve(path).ok());
    Ok(Request { only: request.only.clone(), adopt: request.adopt.iter().cloned().chain(reals).collect() })
}

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
    decide(world, lock, applied, ledger, report)?;
    for (hook, outcome) in &report.outcomes {
        note(world, lock, &history(&id, hook, outcome, &report.plan));
    }
    store::prune_backups(world.root, seen.settings.backups.keep)?;
    Ok(())
}

/// Tells every unit once, then decides for each step: the new files where all its units took them
/// up, else the old ones, and its units are brought back with those.
fn decide(
    world: World<'_>,
    lock: &Lock,
    applied: Vec<(&HookPlan, Applied<'_>)>,
    ledger: &mut Ledger,
    report: &mut Report,
) -> Result<(), ReseedError> {
    let mut units: BTreeMap<String, Verb> = BTreeMap::new();
    for (unit, verb) in applied.iter().flat_map(|(step, _)| &step.tell) {
        let told = units.entry(unit.clone()).or_insert(*verb);
        *told = (*told).max(*verb);
    }
    let told = tell(world, &units);
    let mut to_revive = BTreeMap::new();
    for (step, applied) in applied {
        let decided = match refusal(step, &told) {
            None => stand(world, lock, step, applied, ledger, report)?,
            Some(reason) => applied.swapped.take_back().map(|()| Err(reason))?,
        };
        if let Err(reason) = decided {
            report.fail(ledger, step, world.now, reason);
            to_revive.extend(step.tell.keys().map(|unit| (unit.clone(), Verb::Restart)));
        }
    }
    let told = told.unwrap_or_default();
    let did = told.iter().filter(|(_, told)| told.result.is_ok());
    report.told = did.map(|(unit, told)| (unit.clone(), told.verb)).collect();
    revive(world, &to_revive, &told, report);
    Ok(())
}

/// Commits a step and records it at once. The inner error says why the old files are back.
fn stand(
    world: World<'_>,
    lock: &Lock,
    step: &HookPlan,
    applied: Applied<'_>,
    ledger: &mut Ledger,
    report: &mut Report,
) -> Result<Result<(), String>, ReseedError> {
    let committed = match applied.swapped.commit() {
        Ok(committed) => committed,
        Err(error) => return Ok(Err(error.to_string())),
    };
    ledger.record(step.hook.clone(), applied.entry.clone());
    store::save_ledger(world.root, lock, ledger)?;
    committed.finish()?;
    info!(hook = %step.hook, files = applied.entry.file.len(), "made again");
    report.outcomes.insert(step.hook.clone(), Outcome::Made(applied.entry));
    Ok(Ok(()))
}

fn tell(world: World<'_>, units: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, String> {
    if units.is_empty() || !world.root.is_live() {
        return Ok(BTreeMap::new());
    }
    world.services.tell(units).map_err(|error| error.to_string())
}

/// Why a step's units did not take up its files; nothing when they did.
fn refusal(step: &HookPlan, told: &Result<BTreeMap<String, Told>, String>) -> Option<String> {
    match told {
        Err(_) if step.tell.is_empty() => None,
        Err(error) => Some(error.clone()),
        Ok(told) => told
            .values()
            .filter(|told| step.tell.contains_key(&told.pattern))
            .find_map(|told| told.result.as_ref().err().map(ToString::to_string)),
    }
}

/// Brings units back that were told about files which are gone again: those that still run take up
/// the old ones, those that died are started.
fn revive(
    world: World<'_>,
    units: &BTreeMap<String, Verb>,
    first: &BTreeMap<String, Told>,
    report: &mut Report,
) {
    if units.is_empty() || first.is_empty() {
        return;
    }
    let again = match tell(world, units) {
        Ok(again) => again,
        Err(error) => return report.failures.push(error),
    };
    let dead = first.iter().filter(|(unit, told)| {
        let runs = again.get(*unit).is_some_and(|told| told.result.is_ok());
        told.result.is_err() && units.contains_key(&told.pattern) && !runs
    });
    for (unit, _) in dead {
        let former = Former { unit: unit.clone(), active: true, change: GateChange::Stopped };
        if let Err(error) = world.services.release(&[former]) {
            error!(unit, %error, "does not run with its old files either");
            report.failures.push(format!("{unit} does not run with its old files either: {error}"));
        }
    }
}

fn gate_and_release(
    world: World<'_>,
    seen: &Outlook,
    request: &Request,
    ledger: &mut Ledger,
    report: &mut Report,
) {
    // A wrong clock says nothing about what is stale.
    if matches!(report.plan.put_off, Some(PutOff::Clock(_))) {
        return;
    }
    let mut stale: BTreeSet<HookName> = BTreeSet::new();
    let hooks = std::mem::take(&mut report.plan.hooks);
    for hook in &hooks {
        let Some(reason) = report.why_stale(&seen.plan, hook) else { continue };
        stale.insert(hook.hook.clone());
        for unit in hook.units.keys() {
            let wish = Wish {
                unit,
                hook: &hook.hook,
                policy: hook.policy,
                reason: &reason,
                now: seconds(world.now),
            };
            match gate::hold_back(world.root, world.services, ledger, wish) {
                Ok(true) => {
                    warn!(unit, hook = %hook.hook, policy = %hook.policy, reason, "held back");
                    report.gated.insert(unit.clone(), reason.clone());
                }
                Ok(false) => {}
                Err(error) => report.failures.push(format!("{unit} could not be held back: {error}")),
            }
        }
    }
    report.plan.hooks = hooks;
    stale.extend(undecided(seen, request));
    let (released, failed) = gate::let_go(world.root, world.services, ledger, &stale);
    for unit in &released {
        info!(unit, "let go");
    }
    report.released = released;
    report
        .failures
        .extend(failed.into_iter().map(|(unit, error)| format!("{unit} could not be let go: {error}")));
}

/// Hooks that this run did not look at, or could not read: what is held on their account stays.
fn undecided(seen: &Outlook, request: &Request) -> BTreeSet<HookName> {
    let not_asked = seen.hooks.iter().map(|hook| &hook.name);
    let not_asked =
        not_asked.filter(|name| !request.only.is_empty() && !request.only.contains(*name)).cloned();
    let faulty = seen.faults.iter().filter_map(|fault| HookName::parse(fault.path.file_stem()?.to_str()?));
    not_asked.chain(faulty).collect()
}

fn put_back(
    world: World<'_>,
    lock: &Lock,
    ledger: &mut Ledger,
    run: &RunId,
    hook: &HookName,
    id: &RunId,
) -> Result<(), ReseedError> {
    let kept = Kept::read(world.root, &store::backup_directory(run, hook))?;
    let entry = kept.before.as_deref().map(toml::from_str::<Entry>).transpose();
    let entry = entry.map_err(|error| {
        Fault::whole(
            &store::backup_directory(run, hook),
            format!("the recorded entry cannot be read: {error}"),
        )
    })?;
    let now = ledger.hook.get(hook).map(toml::to_string).transpose();
    let now = now.map_err(|error| ReseedError::Usage(error.to_string()))?;
    let payload = toml::to_string(&Payload { hook: hook.clone(), entry })
        .map_err(|error| ReseedError::Usage(error.to_string()))?;
    let backup = Backup::new(store::backup_directory(id, hook), now);
    let staged =
        Staged::begin(world.root, &format!("{id}-{hook}"), &kept.changes, payload.clone(), Some(backup))?;
    let committed = staged.swap()?.commit()?;
    record(ledger, &payload)?;
    store::save_ledger(world.root, lock, ledger)?;
    committed.finish()?;
    info!(%hook, %run, "rolled back");
    Ok(())
}

impl Report {
    fn new(seen: &Outlook, recovered: usize) -> Self {
        Self {
            run: None,
            plan: seen.plan.clone(),
            outcomes: BTreeMap::new(),
            told: BTreeMap::new(),
            gated: BTreeMap::new(),
            released: Vec::new(),
            failures: Vec::new(),
            recovered,
            faults: seen.faults.clone(),
        }
    }

    fn fail(&mut self, ledger: &mut Ledger, step: &HookPlan, now: OffsetDateTime, reason: String) {
        error!(hook = %step.hook, reason, "not made; the old files stand");
        ledger.record_failure(step.hook.clone(), seconds(now), reason.clone());
        self.outcomes.insert(step.hook.clone(), Outcome::Failed(reason));
    }

    /// Why what a hook's units would serve is stale after this run; nothing when it is not.
    fn why_stale(&self, planned: &Plan, hook: &HookPlan) -> Option<String> {
        let failed = |name: &HookName| match self.outcomes.get(name) {
            Some(Outcome::Failed(reason)) => Some(reason.clone()),
            _ => None,
        };
        let lent = || hook.borrowed.values().find_map(failed);
        let put_off = || {
            let stale = planned.serves_stale(hook);
            self.plan.put_off.as_ref().filter(|_| stale).map(ToString::to_string)
        };
        failed(&hook.hook).or_else(lent).or_else(put_off)
    }
}

/// What is recorded for people has no fractions of a second.
fn seconds(now: OffsetDateTime) -> OffsetDateTime {
    now.replace_nanosecond(0).unwrap_or(now)
}

fn history(run: &RunId, hook: &HookName, outcome: &Outcome, plan: &Plan) -> serde_json::Value {
    let planned = plan.hooks.iter().find(|planned| planned.hook == *hook);
    let reasons: Vec<String> = planned
        .into_iter()
        .flat_map(|planned| &planned.tasks)
        .flat_map(|task| task.reasons.iter().map(ToString::to_string))
        .collect();
    match outcome {
        Outcome::Made(entry) => {
            let files: Vec<&PathBuf> = entry.file.keys().collect();
            serde_json::json!({ "run": run, "hook": hook, "made": files, "because": reasons })
        }
        Outcome::Failed(error) => {
            serde_json::json!({ "run": run, "hook": hook, "failed": error, "because": reasons })
        }
    }
}

/// The history is for people; a run that could not write a line of it has not failed.
fn note(world: World<'_>, lock: &Lock, line: &serde_json::Value) {
    if let Err(error) = store::note(world.root, lock, line) {
        warn!(%error, "the history could not be written, proceeding");
    }
}

#[cfg(test)]
mod tests;
