//! Holding units back, in the way that takes effect for their kind, and letting them go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::bus::{Bus, Unit, is_missing, is_pattern};
use super::{Patience, blame, refusal, unreachable, wait};
use crate::generator::MARKS;
use crate::hook::Policy;
use crate::ledger::{Former, GateChange};
use crate::service::ServiceError;
use crate::service::gate::Bar;
use crate::system::root::Root;

/// Stops units and what triggers them, and keeps them from starting.
///
/// Either all of it is done and told, or it is undone: what is recorded nowhere could never be
/// released.
pub(super) fn gate(
    bus: &mut Bus,
    patience: &Patience,
    pattern: &str,
    policy: Policy,
) -> Result<Vec<Former>, ServiceError> {
    let held = Held::find(bus, pattern)?;
    if held.units.is_empty() {
        return Ok(Vec::new());
    }
    // By the condition that the boot has found; a reload of the manager forgets it.
    let passed_over = held.passed_over(bus)?;
    let mut changes = Changes::default();
    let outcome = match policy {
        Policy::Hold => held.stop(bus, patience, policy),
        Policy::Disable => held.stop(bus, patience, policy).and_then(|()| held.bar(bus, &mut changes)),
        Policy::Report => return Ok(Vec::new()),
    };
    let outcome = outcome.and_then(|()| held.stay_down(bus, patience, policy));
    let former = held.former(policy, &changes, &passed_over);
    let Err(error) = outcome else {
        return Ok(former);
    };
    match release(bus, patience, pattern, &former) {
        Ok(()) => Err(error),
        Err(further) => Err(ServiceError(format!("{error}; and when that was undone: {further}"))),
    }
}

/// Undoes what was done to units, the last first, then starts what ran.
///
/// Every unit is tried, whatever becomes of the others. A unit that is no longer installed needs
/// no release.
pub(super) fn release(
    bus: &mut Bus,
    patience: &Patience,
    pattern: &str,
    former: &[Former],
) -> Result<(), ServiceError> {
    let mut faults = Vec::new();
    let mut note = |unit: &str, what: &str, result: zbus::Result<()>| match result {
        Err(error) if !is_missing(&error) => faults.push(refusal(unit, what, &error)),
        _ => {}
    };
    for Former { unit, change, .. } in former.iter().rev() {
        match change {
            GateChange::Disabled => note(unit, "cannot be enabled again", bus.enable(unit)),
            GateChange::Masked => note(unit, "cannot be unmasked", bus.unmask(unit)),
            GateChange::Stopped | GateChange::Held => {}
        }
    }
    if former.iter().any(|former| matches!(former.change, GateChange::Disabled | GateChange::Masked)) {
        bus.reload().map_err(unreachable)?;
    }

    let mut jobs = Vec::new();
    // A socket comes before its service: it refuses to listen for one that runs.
    let mut wanted: Vec<String> =
        former.iter().filter(|former| former.active).map(|former| former.unit.clone()).collect();
    wanted.extend(Held::find(bus, pattern)?.passed_over(bus)?);
    let mut seen = BTreeSet::new();
    for unit in wanted.into_iter().filter(|unit| seen.insert(unit.clone())) {
        match bus.start(&unit) {
            Ok(job) => jobs.push((unit, job)),
            Err(error) => note(&unit, "cannot be started", Err(error)),
        }
    }
    // At boot the starts are of units that come after us; they are in the queue.
    if !jobs.is_empty() && !bus.is_within_job().map_err(unreachable)? {
        let ended = wait(bus, patience, jobs, |_| "start".into())?;
        faults.extend(ended.into_values().filter_map(Result::err));
    }
    if faults.is_empty() { Ok(()) } else { Err(join(&faults)) }
}

/// The units that start those that match a pattern.
pub(super) fn triggers(bus: &mut Bus, pattern: &str) -> Result<Vec<String>, ServiceError> {
    Ok(Held::find(bus, pattern)?.triggers.into_iter().collect())
}

/// The units that are held back together, as they were found.
struct Held {
    /// What triggers them comes first: a socket that listens would start its service again.
    units: Vec<Unit>,
    triggers: BTreeSet<String>,
}

/// What was done to which unit's file.
#[derive(Default)]
struct Changes {
    disabled: BTreeSet<String>,
    masked: BTreeSet<String>,
}

impl Held {
    fn find(bus: &mut Bus, pattern: &str) -> Result<Self, ServiceError> {
        let mut members = bus.units(pattern).map_err(unreachable)?;
        if is_pattern(pattern) {
            // A file that nothing has asked for yet is not loaded, and may start all the same.
            let files = bus.files(pattern).map_err(unreachable)?;
            members.extend(bus.named(&files).map_err(unreachable)?);
        }
        let mut names = Vec::new();
        for unit in &members {
            names.extend(bus.triggers(unit).map_err(unreachable)?);
        }
        let mut units = bus.named(&names).map_err(unreachable)?;
        let triggers = units.iter().map(|unit| unit.name.clone()).collect();
        units.extend(members);
        let mut seen = BTreeSet::new();
        units.retain(|unit| seen.insert(unit.name.clone()));
        Ok(Self { units, triggers })
    }

    fn stop(&self, bus: &mut Bus, patience: &Patience, policy: Policy) -> Result<(), ServiceError> {
        let (triggers, members): (Vec<&Unit>, Vec<&Unit>) =
            self.units.iter().partition(|unit| self.triggers.contains(&unit.name));
        stop(bus, patience, policy, &triggers)?;
        stop(bus, patience, policy, &members)
    }

    /// The units that would run, had not their condition failed on a mark of ours.
    fn passed_over(&self, bus: &mut Bus) -> Result<Vec<String>, ServiceError> {
        let mut passed_over = Vec::new();
        for unit in self.units.iter().filter(|unit| unit.is_down()) {
            let conditions = bus.failed_conditions(unit).map_err(unreachable)?;
            if conditions.iter().any(|path| path.starts_with(MARKS)) {
                passed_over.push(unit.name.clone());
            }
        }
        Ok(passed_over)
    }

    /// Disables, looks what that has brought about, and masks where it was not enough.
    fn bar(&self, bus: &mut Bus, changes: &mut Changes) -> Result<(), ServiceError> {
        let mut before = BTreeMap::new();
        for unit in &self.units {
            before.insert(&unit.name, file_state(bus, unit)?);
        }
        let enabled =
            |unit: &&Unit| Bar::of(before.get(&unit.name).and_then(Option::as_deref), false) == Bar::Disable;
        for unit in self.units.iter().filter(enabled) {
            // Another unit's `Also=` may have had this one disabled together with it.
            if disable(bus, unit)? || file_state(bus, unit)?.as_deref() != Some("enabled") {
                changes.disabled.insert(unit.name.clone());
            }
        }
        if !changes.disabled.is_empty() {
            bus.reload().map_err(unreachable)?;
        }

        for unit in &self.units {
            let state = file_state(bus, unit)?;
            let wanted = bus.wanted_by(unit).map_err(unreachable)?;
            let wanted = wanted.iter().any(|by| !self.units.iter().any(|unit| unit.name == *by));
            if Bar::after_disabling(state.as_deref(), wanted) == Bar::Mask {
                bus.mask(&unit.name).map_err(|error| {
                    let state = state.as_deref().unwrap_or_default();
                    let what = format!(
                        "disabling does not keep it ({state}) from starting, and it cannot be masked"
                    );
                    refusal(&unit.name, &what, &error)
                })?;
                changes.masked.insert(unit.name.clone());
            }
        }
        if changes.masked.is_empty() {
            return Ok(());
        }
        bus.reload().map_err(unreachable)?;
        for unit in self.units.iter().filter(|unit| changes.masked.contains(&unit.name)) {
            let state = file_state(bus, unit)?.unwrap_or_default();
            if state != "masked" {
                let what = format!("it was masked, but the manager says {state:?} and would start it again");
                return Err(blame(&unit.name, &what));
            }
        }
        Ok(())
    }

    /// Stops once more what was started by something else in the meantime; then it must be down.
    fn stay_down(&self, bus: &mut Bus, patience: &Patience, policy: Policy) -> Result<(), ServiceError> {
        let names: Vec<String> = self.units.iter().map(|unit| unit.name.clone()).collect();
        let back = bus.named(&names).map_err(unreachable)?;
        stop(bus, patience, policy, &back.iter().collect::<Vec<_>>())?;
        let left = bus.named(&names).map_err(unreachable)?;
        match left.iter().find(|unit| is_up(unit, policy)) {
            Some(unit) => Err(blame(&unit.name, &format!("it is {} although it was stopped", unit.active))),
            None => Ok(()),
        }
    }

    /// What a release has to undo.
    ///
    /// A unit whose start was still queued counts as one that ran: its release in a later boot
    /// comes after systemd has decided what that boot starts.
    fn former(&self, policy: Policy, changes: &Changes, passed_over: &[String]) -> Vec<Former> {
        let mut former = Vec::new();
        for unit in &self.units {
            let mut done = Vec::new();
            if changes.disabled.contains(&unit.name) {
                done.push(GateChange::Disabled);
            }
            if changes.masked.contains(&unit.name) {
                done.push(GateChange::Masked);
            }
            if policy == Policy::Hold {
                done.push(GateChange::Held);
            }
            if done.is_empty() && !unit.is_down() {
                done.push(GateChange::Stopped);
            }
            let active = unit.is_meant_to_run() || passed_over.contains(&unit.name);
            former.extend(done.into_iter().map(|change| Former { unit: unit.name.clone(), active, change }));
        }
        former
    }
}

/// Says whether a unit has to be stopped. A start that is queued is let be where the condition
/// fails: it is passed over, and whoever looks is told by which condition.
fn is_up(unit: &Unit, policy: Policy) -> bool {
    match policy {
        Policy::Hold => unit.is_active() || unit.active == "activating",
        _ => !unit.is_down(),
    }
}

fn stop(bus: &mut Bus, patience: &Patience, policy: Policy, units: &[&Unit]) -> Result<(), ServiceError> {
    let mut jobs = Vec::new();
    for unit in units.iter().filter(|unit| is_up(unit, policy)) {
        match bus.stop(&unit.name) {
            Ok(job) => jobs.push((unit.name.clone(), job)),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(refusal(&unit.name, "cannot be stopped", &error)),
        }
    }
    let ended = wait(bus, patience, jobs, |_| "stop".into())?;
    let faults: Vec<ServiceError> = ended.into_values().filter_map(Result::err).collect();
    if faults.is_empty() { Ok(()) } else { Err(join(&faults)) }
}

/// Disables a unit; says whether anything was changed by that.
///
/// Systemd removes with the other links also the one by which a unit file elsewhere is known at
/// all, and nothing could enable it by its name again. That link is put back.
fn disable(bus: &mut Bus, unit: &Unit) -> Result<bool, ServiceError> {
    let fragment = bus.fragment(unit).map_err(unreachable)?;
    let link = if fragment.is_empty() { None } else { elsewhere(Path::new(&fragment)) };
    let refused = |error: zbus::Error| refusal(&unit.name, "cannot be disabled", &error);
    let changed = bus.disable(&unit.name).map_err(refused)?;
    if let Some(file) = link
        && file_state(bus, unit)?.is_none()
    {
        bus.link(&file).map_err(|error| {
            let what = format!("its unit file {file} cannot be linked again");
            refusal(&unit.name, &what, &error)
        })?;
    }
    Ok(changed)
}

/// Where a unit file really is that systemd knows through a link.
fn elsewhere(fragment: &Path) -> Option<String> {
    let target = Root::open(Path::new("/")).ok()?.link_target(fragment).ok()??;
    target.is_absolute().then(|| target.to_str().map(str::to_owned)).flatten()
}

fn file_state(bus: &mut Bus, unit: &Unit) -> Result<Option<String>, ServiceError> {
    bus.file_state(&unit.name)
        .map_err(|error| refusal(&unit.name, "the state of its file is not known", &error))
}

fn join(faults: &[ServiceError]) -> ServiceError {
    ServiceError(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
