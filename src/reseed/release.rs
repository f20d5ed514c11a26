//! Letting one held service go because the administrator says so.

use std::collections::BTreeSet;

use crate::gate;
use crate::hook::HookName;
use crate::plan::Request;
use crate::store;

use super::{ReseedError, World, look, recover, seconds};

/// What became of the wish to let a unit go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// It is let go; whether what it serves is stale all the same.
    Released {
        /// It serves what is stale, and is not held for that again.
        stale: bool,
    },
    /// Nothing holds it.
    NotHeld,
    /// It stays held, because this is stale:
    Stale {
        /// Why it is held, in words.
        reason: String,
        /// On whose account.
        hooks: BTreeSet<HookName>,
    },
}

/// Lets a held unit go when what it serves is fresh, or all the same when told `anyway`.
///
/// # Errors
/// [`ReseedError`]; it stays held.
pub fn release(world: World<'_>, unit: &str, anyway: bool) -> Result<Release, ReseedError> {
    let lock = store::lock(world.root)?.ok_or(ReseedError::Busy)?;
    let mut ledger = store::ledger(world.root)?;
    recover(world.root, &lock, &mut ledger)?;
    let unit = full_name(unit);
    let Some(held) = ledger.gate.get(&unit).cloned() else { return Ok(Release::NotHeld) };
    let seen = look::outlook(world, &Request::default(), ledger.clone(), false, Vec::new())?;
    let is_stale = |hook: &&HookName| {
        seen.plan.hooks.iter().any(|plan| plan.hook == **hook && seen.plan.serves_stale(plan))
    };
    let hooks: BTreeSet<HookName> = held.hooks.iter().filter(is_stale).cloned().collect();
    if !hooks.is_empty() && !anyway {
        return Ok(Release::Stale { reason: held.reason, hooks });
    }
    let done = gate::let_go_anyway(world.root, world.services, &mut ledger, &unit, seconds(world.now));
    if hooks.is_empty() {
        ledger.waiver.remove(&unit);
    }
    store::save_ledger(world.root, &lock, &ledger)?;
    done.map_err(|error| ReseedError::Service(format!("{unit} could not be let go: {error}")))?;
    Ok(Release::Released { stale: !hooks.is_empty() })
}

/// Lets every held unit go, because nobody will be left who could; returns their names.
///
/// # Errors
/// [`ReseedError`] with the units that stay held; all others are let go.
pub fn release_all(world: World<'_>) -> Result<Vec<String>, ReseedError> {
    let lock = store::lock(world.root)?.ok_or(ReseedError::Busy)?;
    let mut ledger = store::ledger(world.root)?;
    let held: Vec<String> = ledger.gate.keys().cloned().collect();
    let mut failures = Vec::new();
    for unit in &held {
        match gate::let_go_anyway(world.root, world.services, &mut ledger, unit, seconds(world.now)) {
            Ok(()) if ledger.gate.contains_key(unit) => {
                failures.push(format!("{unit} cannot be let go before the machine runs"));
            }
            // Whoever comes back judges anew.
            Ok(()) => drop(ledger.waiver.remove(unit)),
            Err(error) => failures.push(format!("{unit} could not be let go: {error}")),
        }
    }
    store::save_ledger(world.root, &lock, &ledger)?;
    if failures.is_empty() { Ok(held) } else { Err(ReseedError::Service(failures.join("; "))) }
}

/// As `systemctl` completes names: without a kind it is a service.
fn full_name(unit: &str) -> String {
    match unit.rsplit_once('.') {
        Some((_, "service" | "socket" | "timer" | "path" | "target" | "mount")) => unit.to_owned(),
        _ => format!("{unit}.service"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        for (given, full) in [
            ("apache2", "apache2.service"),
            ("apache2.service", "apache2.service"),
            ("cockpit.socket", "cockpit.socket"),
            ("postfix@-", "postfix@-.service"),
            ("php8.2-fpm", "php8.2-fpm.service"),
        ] {
            assert_eq!(full_name(given), full);
        }
    }
}
