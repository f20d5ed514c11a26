//! Making units take up new files, and looking whether they survive it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::bus::{Bus, Unit, words};
use super::{Ended, Patience, blame, unreachable, wait};
use crate::hook::Verb;
use crate::service::{ServiceError, Told};
use crate::system::clock;

/// Asks all units at once, waits for their jobs, and looks again a moment later.
///
/// A unit that is only just starting is not told: it is no running unit, and one that systemd
/// keeps starting because its old files were wrong comes round by itself now.
pub(super) fn tell(
    bus: &mut Bus,
    patience: &Patience,
    requests: &BTreeMap<String, Verb>,
) -> Result<BTreeMap<String, Told>, ServiceError> {
    let mut told = running(bus, requests)?;
    let mut jobs = Vec::new();
    for (unit, told) in &mut told {
        let job = match told.verb {
            Verb::Reload => bus.reload_unit(unit),
            Verb::Restart => bus.restart(unit),
        };
        match job {
            Ok(job) => jobs.push((unit.clone(), job)),
            Err(error) => {
                told.result = Err(blame(unit, &format!("{} refused: {}", told.verb, words(&error))));
            }
        }
    }
    let verb = |unit: &str| told.get(unit).map_or_else(String::new, |told| told.verb.to_string());
    let ended = wait(bus, patience, jobs, verb)?;

    let mut done = Vec::new();
    for (unit, end) in ended {
        match end {
            Ok(Ended::Done) => done.push(unit),
            // Nothing can be seen of it before we end; that it was asked is all that is known.
            Ok(Ended::Left) => {
                if let Some(told) = told.get_mut(&unit) {
                    told.waits = true;
                }
            }
            Err(error) => fail(&mut told, &unit, error),
        }
    }
    look_again(bus, patience, done, &mut told)?;
    Ok(told)
}

/// The running units that are meant, each with the stronger verb.
fn running(bus: &mut Bus, requests: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, ServiceError> {
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    for (pattern, &verb) in requests {
        for unit in bus.units(pattern).map_err(unreachable)?.into_iter().filter(Unit::is_active) {
            if told.get(&unit.name).is_none_or(|earlier| earlier.verb < verb) {
                told.insert(unit.name, Told { pattern: pattern.clone(), verb, result: Ok(()), waits: false });
            }
        }
    }
    Ok(told)
}

/// Watches units for a moment after their jobs are done: "done" only says that the program was
/// started. One that dies and is started again by systemd, perhaps for ever, has not survived.
fn look_again(
    bus: &mut Bus,
    patience: &Patience,
    mut names: Vec<String>,
    told: &mut BTreeMap<String, Told>,
) -> Result<(), ServiceError> {
    let since = Instant::now();
    let mut restarts = BTreeMap::new();
    while !names.is_empty() {
        let last = since.elapsed() >= patience.settle;
        let units = bus.named(&names).map_err(unreachable)?;
        names.retain(|name| {
            let unit = units.iter().find(|unit| unit.name == *name);
            let course =
                unit.filter(|_| last || !restarts.contains_key(name)).and_then(|unit| bus.course(unit));
            let count = course.map_or(0, |(_, count)| count);
            let before = *restarts.entry(name.clone()).or_insert(count);
            let after = format!("{} ms after its", since.elapsed().as_millis());
            let fault = match unit {
                None => format!("has vanished {after}"),
                Some(unit) if !unit.is_active() => {
                    let result = bus.course(unit).map(|(result, _)| format!(", result {result:?}"));
                    format!("is {} ({}){} {after}", unit.active, unit.sub, result.unwrap_or_default())
                }
                Some(_) if count > before => format!("died and was started again by itself {after}"),
                Some(_) => return true,
            };
            let verb = told.get(name).map_or_else(String::new, |told| told.verb.to_string());
            fail(told, name, blame(name, &format!("{fault} {verb}")));
            false
        });
        if last {
            break;
        }
        clock::pause(patience.settle / LOOKS);
    }
    Ok(())
}

fn fail(told: &mut BTreeMap<String, Told>, unit: &str, error: ServiceError) {
    if let Some(told) = told.get_mut(unit) {
        told.result = Err(error);
    }
}

/// How often one looks while a service settles.
const LOOKS: u32 = 10;
