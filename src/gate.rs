//! Holds services back while what they would serve is stale, and lets them go when it is fresh.
//!
//! What was changed of a unit is recorded first and undone exactly. `hold` leaves a mark in
//! `/run/reseed/hold`, on which the unit's condition fails: the generator has written that condition
//! at boot, and where it has not, a drop-in is written here. `disable` keeps the unit from starting
//! at all; `report` only says so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::generator::{self, MARKS};
use crate::hook::{HookName, Policy};
use crate::ledger::{Former, Gate, GateChange, Ledger, Waiver};
use crate::service::{ServiceError, Services};
use crate::system::root::{PathError, Root};
use crate::transaction;

const UNITS: &str = "/run/systemd/system";
const DROP_IN: &str = "50-reseed-hold.conf";
/// Where the generator leaves its drop-ins.
const GENERATED: &str = "/run/systemd/generator";

/// Why a unit could not be held back or let go.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The mark or the drop-in.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The service manager.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Why a hook is stale after a run, as far as it matters for its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It could not be made, in so many boots.
    Failed {
        /// Number of boots.
        boots: u32,
    },
    /// It was not tried: the name is not proper, or a source has not answered yet.
    PutOff,
}

/// Chooses what takes effect now: a service is disabled only when enough boots have failed, and
/// when there is somebody to be asked for it; until then it is held.
pub fn in_effect(policy: Policy, cause: Cause, disable_after_boots: u32, answers: bool) -> Policy {
    let disables = matches!(cause, Cause::Failed { boots } if boots >= disable_after_boots);
    match policy {
        Policy::Disable if !disables || !answers => Policy::Hold,
        policy => policy,
    }
}

/// Who is to be held back, how, and why.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The unit, as its hook names it.
    pub unit: &'a str,
    /// On whose account.
    pub hook: &'a HookName,
    /// How; see [`in_effect`].
    pub policy: Policy,
    /// Why, in words.
    pub reason: &'a str,
    /// The present time.
    pub now: OffsetDateTime,
}

/// Holds a unit back and records what it was before; says whether anything was changed.
///
/// # Errors
/// [`GateError`]; what was changed before it is recorded all the same.
pub fn hold_back(
    root: &Root,
    services: &dyn Services,
    ledger: &mut Ledger,
    wish: Wish<'_>,
) -> Result<bool, GateError> {
    let waived = ledger.waiver.get(wish.unit).is_some_and(|waiver| waiver.hooks.contains(wish.hook));
    if wish.policy == Policy::Report || waived || !root.is_live() {
        return Ok(false);
    }
    let known = ledger.gate.get(wish.unit).map(|gate| gate.policy);
    let stands = match (known, wish.policy) {
        (Some(Policy::Disable), _) => true,
        // What the early stage has marked nobody has been asked about yet.
        (Some(Policy::Hold), Policy::Hold) if services.answers() && is_unasked(ledger, wish.unit) => false,
        (Some(Policy::Hold), Policy::Hold) => is_held(root, services, wish.unit)?,
        _ => false,
    };
    if stands && let Some(gate) = ledger.gate.get_mut(wish.unit) {
        if gate.policy == Policy::Hold && gate.reason != wish.reason {
            mark(root, wish)?;
        }
        gate.reason = wish.reason.to_owned();
        return Ok(gate.hooks.insert(wish.hook.clone()));
    }
    let former = match wish.policy {
        Policy::Hold => hold(root, services, wish)?,
        _ => services.gate(wish.unit, wish.policy)?,
    };
    if !services.answers() && !has_condition(root, wish.unit)? {
        // The generator has looked which units there are. Should it be wrong, the mark is there.
        return Ok(false);
    }
    if services.answers() && former.is_empty() && (wish.policy == Policy::Hold || known.is_none()) {
        // No such unit on this machine, or it neither runs nor would: nothing to undo later.
        unmark(root, wish.unit, &former)?;
        ledger.gate.remove(wish.unit);
        return Ok(false);
    }
    // Only now is it known which units a pattern stands for.
    let found = services.answers() && known.is_some() && is_unasked(ledger, wish.unit);
    record(ledger, wish, former);
    Ok(found || known != Some(wish.policy))
}

/// Lets go every unit that no stale hook holds any more; returns their names.
///
/// # Errors
/// The units that could not be let go, with why; they stay recorded and are tried again.
pub fn let_go(
    root: &Root,
    services: &dyn Services,
    ledger: &mut Ledger,
    stale: &BTreeSet<HookName>,
) -> (Vec<String>, Vec<(String, GateError)>) {
    let mut released = Vec::new();
    let mut failed = Vec::new();
    if !root.is_live() {
        return (released, failed);
    }
    ledger.waiver.retain(|_, waiver| waiver.hooks.iter().any(|hook| stale.contains(hook)));
    for gate in ledger.gate.values_mut() {
        gate.hooks.retain(|hook| stale.contains(hook));
    }
    let free: Vec<String> =
        ledger.gate.iter().filter(|(_, gate)| gate.hooks.is_empty()).map(|(unit, _)| unit.clone()).collect();
    for unit in free {
        match release(root, services, ledger, &unit) {
            Ok(true) => released.push(unit),
            Ok(false) => {}
            Err(error) => failed.push((unit, error)),
        }
    }
    (released, failed)
}

/// Lets a unit go although it is stale, and keeps later runs from holding it for the same reason.
///
/// # Errors
/// [`GateError`]; it stays held.
pub fn let_go_anyway(
    root: &Root,
    services: &dyn Services,
    ledger: &mut Ledger,
    unit: &str,
    now: OffsetDateTime,
) -> Result<(), GateError> {
    let hooks = ledger.gate.get(unit).map(|gate| gate.hooks.clone()).unwrap_or_default();
    if release(root, services, ledger, unit)? {
        ledger.waiver.insert(unit.to_owned(), Waiver { hooks, since: now });
    }
    Ok(())
}

// ---- how a unit is held and let go ---------------------------------------------------------------

fn hold(root: &Root, services: &dyn Services, wish: Wish<'_>) -> Result<Vec<Former>, GateError> {
    root.make_directory(Path::new(MARKS), 0o755)?;
    mark(root, wish)?;
    if !services.answers() {
        return Ok(Vec::new());
    }
    let mut names = services.triggers(wish.unit)?;
    names.push(wish.unit.to_owned());
    let mut written = false;
    for name in names {
        if !has_condition(root, &name)? {
            write_condition(root, &name, wish.unit)?;
            written = true;
        }
    }
    if written {
        services.reload()?;
    }
    Ok(services.gate(wish.unit, Policy::Hold)?)
}

/// False for what has to wait until there is somebody to be asked.
fn release(root: &Root, services: &dyn Services, ledger: &mut Ledger, unit: &str) -> Result<bool, GateError> {
    let Some(gate) = ledger.gate.get(unit) else { return Ok(false) };
    if !services.answers() && gate.policy != Policy::Hold {
        return Ok(false);
    }
    if unmark(root, unit, &gate.former)? {
        services.reload()?;
    }
    services.release(unit, &gate.former)?;
    ledger.gate.remove(unit);
    Ok(true)
}

fn record(ledger: &mut Ledger, wish: Wish<'_>, former: Vec<Former>) {
    let known = ledger.gate.remove(wish.unit);
    let since = known.as_ref().map_or(wish.now, |gate| gate.since);
    let (mut hooks, before) = known.map(|gate| (gate.hooks, gate.former)).unwrap_or_default();
    hooks.insert(wish.hook.clone());
    let gate = Gate {
        hooks,
        policy: wish.policy,
        since,
        reason: wish.reason.to_owned(),
        former: joined(before, former),
    };
    ledger.gate.insert(wish.unit.to_owned(), gate);
}

/// What was found earlier counts on: a unit that is held does not run, but it did.
fn joined(before: Vec<Former>, found: Vec<Former>) -> Vec<Former> {
    let mut joined = before;
    for mut former in found {
        former.active |= joined.iter().any(|earlier| earlier.unit == former.unit && earlier.active);
        joined.retain(|earlier| (&earlier.unit, earlier.change) != (&former.unit, former.change));
        joined.push(former);
    }
    let still_held = |former: &Former| former.change != GateChange::Stopped;
    let units: BTreeSet<String> = joined.iter().filter(|f| still_held(f)).map(|f| f.unit.clone()).collect();
    joined.retain(|former| still_held(former) || !units.contains(&former.unit));
    joined
}

// ---- marks and conditions ------------------------------------------------------------------------

/// The file that makes a unit's condition fail while it is there.
pub fn mark_path(unit: &str) -> PathBuf {
    Path::new(MARKS).join(generator::mark(unit))
}

fn mark(root: &Root, wish: Wish<'_>) -> Result<(), PathError> {
    transaction::replace(root, &mark_path(wish.unit), format!("{}\n", wish.reason).as_bytes(), 0o644)
}

fn drop_in(unit: &str) -> PathBuf {
    Path::new(UNITS).join(format!("{}.d", generator::mark(unit))).join(DROP_IN)
}

fn is_unasked(ledger: &Ledger, unit: &str) -> bool {
    ledger.gate.get(unit).is_some_and(|gate| gate.former.is_empty())
}

/// Marks are gone after a boot; what is recorded is not.
fn is_held(root: &Root, services: &dyn Services, unit: &str) -> Result<bool, PathError> {
    let marked = root.status(&mark_path(unit))?.is_some();
    Ok(marked && (!services.answers() || has_condition(root, unit)?))
}

fn has_condition(root: &Root, unit: &str) -> Result<bool, PathError> {
    let generated =
        Path::new(GENERATED).join(format!("{}.d", generator::mark(unit))).join(generator::DROP_IN);
    Ok(root.status(&generated)?.is_some() || root.status(&drop_in(unit))?.is_some())
}

fn write_condition(root: &Root, name: &str, unit: &str) -> Result<(), PathError> {
    let drop_in = drop_in(name);
    root.make_directory(drop_in.parent().unwrap_or(Path::new(UNITS)), 0o755)?;
    let text = format!(
        "# Written by reseed: {unit} is held back because what it would serve is stale.\n\
         # Why: `reseed status`. It is let go by the first `reseed apply` that makes it fresh,\n\
         # or by `reseed release {unit} --anyway`.\n\
         [Unit]\nConditionPathExists=!{}\n",
        mark_path(unit).display()
    );
    transaction::replace(root, &drop_in, text.as_bytes(), 0o644)
}

/// Says whether a drop-in was removed, of which the manager has to hear.
fn unmark(root: &Root, unit: &str, former: &[Former]) -> Result<bool, PathError> {
    remove(root, &mark_path(unit))?;
    let mut removed = false;
    for name in former.iter().map(|former| former.unit.as_str()).chain([unit]) {
        let drop_in = drop_in(name);
        removed |= remove(root, &drop_in)?;
        let directory = drop_in.parent().unwrap_or(Path::new(UNITS));
        if root.status(directory)?.is_some() && root.names(directory)?.is_empty() {
            root.remove_directory(&root.resolve(directory)?)?;
        }
    }
    Ok(removed)
}

fn remove(root: &Root, path: &Path) -> Result<bool, PathError> {
    if root.status(path)?.is_none() {
        return Ok(false);
    }
    root.remove(&root.resolve(path)?)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_effect_now() {
        use Policy::{Disable, Hold, Report};
        let failed = |boots| Cause::Failed { boots };
        // the policy, why it is stale, somebody to be asked, what takes effect
        let cases = [
            ("the first boot", Disable, failed(1), true, Hold),
            ("the last boot but one", Disable, failed(2), true, Hold),
            ("enough boots", Disable, failed(3), true, Disable),
            ("enough boots, but too early in this one", Disable, failed(3), false, Hold),
            ("a name that is not proper", Disable, Cause::PutOff, true, Hold),
            ("hold stays hold", Hold, failed(9), true, Hold),
            ("report stays report", Report, failed(9), true, Report),
        ];
        for (case, policy, cause, answers, expected) in cases {
            assert_eq!(in_effect(policy, cause, 3, answers), expected, "{case}");
        }
        assert_eq!(in_effect(Disable, failed(1), 0, true), Disable, "0 means at once");
    }

    #[test]
    fn what_was_found_earlier_counts_on() {
        use GateChange::{Disabled, Held, Stopped};
        let former = |unit: &str, active, change| Former { unit: unit.into(), active, change };
        let before = vec![former("a.socket", true, Stopped), former("a.service", true, Held)];
        let found = vec![former("a.socket", false, Disabled), former("a.service", false, Disabled)];
        assert_eq!(
            joined(before, found),
            [
                former("a.service", true, Held),
                former("a.socket", true, Disabled),
                former("a.service", true, Disabled)
            ]
        );
    }
}
