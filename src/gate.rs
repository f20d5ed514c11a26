//! Holds services back while what they would serve is stale, and lets them go when it is fresh.
//!
//! What was changed of a unit is recorded first and undone exactly. `hold` leaves a mark in
//! `/run/reseed/hold`, which a drop-in makes the unit's condition; `disable` keeps it from starting
//! at all; `report` only says so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::hook::{HookName, Policy};
use crate::ledger::{Gate, Ledger};
use crate::service::{ServiceError, Services};
use crate::system::root::{PathError, Root};
use crate::transaction;

const MARKS: &str = "/run/reseed/hold";
const UNITS: &str = "/run/systemd/system";
const DROP_IN: &str = "50-reseed-hold.conf";

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

/// Who is to be held back, how, and why.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The unit, as its hook names it.
    pub unit: &'a str,
    /// On whose account.
    pub hook: &'a HookName,
    /// How.
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
    if wish.policy == Policy::Report || !root.is_live() {
        return Ok(false);
    }
    let held = ledger.gate.get(wish.unit).is_some_and(|gate| gate.policy == wish.policy);
    // Marks are gone after a boot; what is recorded is not.
    let marked = wish.policy != Policy::Hold || is_marked(root, wish.unit)?;
    if held
        && marked
        && let Some(gate) = ledger.gate.get_mut(wish.unit)
    {
        gate.reason = wish.reason.to_owned();
        return Ok(gate.hooks.insert(wish.hook.clone()));
    }
    if wish.policy == Policy::Hold {
        mark(root, wish.unit, wish.reason)?;
    }
    let former = services.gate(wish.unit, wish.policy)?;
    let known = ledger.gate.remove(wish.unit);
    if former.is_empty() && known.is_none() {
        // No such unit on this machine, or it neither runs nor would: nothing to undo later.
        return Ok(false);
    }
    let mut hooks = known.as_ref().map(|gate| gate.hooks.clone()).unwrap_or_default();
    hooks.insert(wish.hook.clone());
    let former = match known {
        Some(gate) if former.is_empty() => gate.former,
        _ => former,
    };
    let gate = Gate { hooks, policy: wish.policy, since: wish.now, reason: wish.reason.to_owned(), former };
    ledger.gate.insert(wish.unit.to_owned(), gate);
    Ok(true)
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
    for gate in ledger.gate.values_mut() {
        gate.hooks.retain(|hook| stale.contains(hook));
    }
    let free: Vec<String> =
        ledger.gate.iter().filter(|(_, gate)| gate.hooks.is_empty()).map(|(unit, _)| unit.clone()).collect();
    for unit in free {
        let Some(gate) = ledger.gate.get(&unit) else { continue };
        let undone = unmark(root, &unit)
            .map_err(GateError::from)
            .and_then(|()| services.release(&gate.former).map_err(GateError::from));
        match undone {
            Ok(()) => {
                ledger.gate.remove(&unit);
                released.push(unit);
            }
            Err(error) => failed.push((unit, error)),
        }
    }
    (released, failed)
}

/// Instances share the drop-in and the mark of their template.
fn template(unit: &str) -> String {
    match unit.split_once('@') {
        Some((name, rest)) => format!("{name}@.{}", rest.rsplit('.').next().unwrap_or("service")),
        None => unit.to_owned(),
    }
}

fn mark_path(unit: &str) -> PathBuf {
    Path::new(MARKS).join(template(unit))
}

fn drop_in(unit: &str) -> PathBuf {
    Path::new(UNITS).join(format!("{}.d", template(unit))).join(DROP_IN)
}

fn is_marked(root: &Root, unit: &str) -> Result<bool, PathError> {
    Ok(root.status(&mark_path(unit))?.is_some())
}

fn mark(root: &Root, unit: &str, reason: &str) -> Result<(), PathError> {
    let (mark, drop_in) = (mark_path(unit), drop_in(unit));
    root.make_directory(Path::new(MARKS), 0o755)?;
    transaction::replace(root, &mark, format!("{reason}\n").as_bytes(), 0o644)?;
    root.make_directory(drop_in.parent().unwrap_or(Path::new(UNITS)), 0o755)?;
    let text = format!(
        "# Written by reseed: {unit} is held back because what it would serve is stale.\n\
         # Why: `reseed status`. It is let go by the first `reseed apply` that makes it fresh.\n\
         [Unit]\nConditionPathExists=!{}\n",
        mark.display()
    );
    transaction::replace(root, &drop_in, text.as_bytes(), 0o644)
}

fn unmark(root: &Root, unit: &str) -> Result<(), PathError> {
    let drop_in = drop_in(unit);
    for path in [&mark_path(unit), &drop_in] {
        if root.status(path)?.is_some() {
            root.remove(&root.resolve(path)?)?;
        }
    }
    let directory = drop_in.parent().unwrap_or(Path::new(UNITS));
    if root.status(directory)?.is_some() && root.names(directory)?.is_empty() {
        root.remove_directory(&root.resolve(directory)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_their_template() {
        for (unit, expected) in [
            ("httpd.service", "httpd.service"),
            ("httpd@*.service", "httpd@.service"),
            ("postfix@-.service", "postfix@.service"),
            ("cockpit.socket", "cockpit.socket"),
        ] {
            assert_eq!(template(unit), expected);
        }
    }
}
