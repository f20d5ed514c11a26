//! Deciding together with the services: the new files stand where every unit took them up.

use std::collections::BTreeMap;

use tracing::{error, info};

use crate::apply::Applied;
use crate::hook::Verb;
use crate::ledger::{Former, GateChange, Ledger};
use crate::plan::HookPlan;
use crate::service::Told;
use crate::store;
use crate::system::root::Lock;

use super::proof::Proof;
use super::{Outcome, Report, ReseedError, World};

/// Tells every unit once, then decides for each step: the new files where all its units took them
/// up, else the old ones, and its units are brought back with those.
///
/// They took them up when they serve them: where a reload does not suffice the unit is restarted,
/// and where nothing new is served at all the old files come back, too.
pub(super) fn decide(
    world: World<'_>,
    lock: &Lock,
    proof: Proof<'_>,
    applied: Vec<(&HookPlan, Applied<'_>)>,
    ledger: &mut Ledger,
    report: &mut Report,
) -> Result<(), ReseedError> {
    let steps: Vec<&HookPlan> = applied.iter().map(|(step, _)| *step).collect();
    let mut units: BTreeMap<String, Verb> = BTreeMap::new();
    for (unit, verb) in steps.iter().flat_map(|step| &step.tell) {
        let told = units.entry(unit.clone()).or_insert(*verb);
        *told = (*told).max(*verb);
    }
    let mut told = tell(world, &units);
    let proven = told.as_mut().map(|told| proof.finish(&steps, told)).unwrap_or_default();
    let mut to_revive = BTreeMap::new();
    for (step, applied) in applied {
        let decided = match refusal(step, &told).or_else(|| proven.refusal(step)) {
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
    report.restarted_after_reload.clone_from(&proven.restarted);
    report.probed = proven.into_report();
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
    if let Some(why) = applied.stands_in {
        report.stand_in(ledger, step, world.now, &why);
    }
    store::save_ledger(world.root, lock, ledger)?;
    committed.finish()?;
    info!(hook = %step.hook, files = applied.entry.file.len(), "{}: made again", step.hook);
    report.outcomes.insert(step.hook.clone(), Outcome::Made(Box::new(applied.entry)));
    Ok(Ok(()))
}

/// Tells units of the running system; there is nobody to be told in another root.
pub(super) fn tell(
    world: World<'_>,
    units: &BTreeMap<String, Verb>,
) -> Result<BTreeMap<String, Told>, String> {
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
        if let Err(error) = world.services.release(unit, &[former]) {
            error!(unit, %error, "does not run with its old files either");
            report.failures.push(format!("{unit} does not run with its old files either: {error}"));
        }
    }
}
