//! After a run: what stays stale is held back, what is fresh is let go.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::gate::{self, Cause, Wish};
use crate::hook::HookName;
use crate::ledger::Ledger;
use crate::plan::{Deferral, HookPlan, PutOff, Request};

use super::{Outlook, Report, World, seconds};

/// Holds back and lets go, and says so in the report.
pub(super) fn gate_and_release(
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
        hold_back(world, seen, ledger, report, hook, &reason);
    }
    report.plan.hooks = hooks;
    stale.extend(undecided(seen, request));
    let (released, failed) = gate::let_go(world.root, world.services, ledger, &stale);
    for unit in &released {
        info!(object_systemd_unit = unit, "reseed: {unit} is let go: what it serves is fresh");
    }
    report.released = released;
    report
        .failures
        .extend(failed.into_iter().map(|(unit, error)| format!("{unit} could not be let go: {error}")));
}

fn hold_back(
    world: World<'_>,
    seen: &Outlook,
    ledger: &mut Ledger,
    report: &mut Report,
    hook: &HookPlan,
    reason: &str,
) {
    let cause = match ledger.failure.get(&hook.hook) {
        Some(failure) => Cause::Failed { boots: failure.boots },
        None => Cause::PutOff,
    };
    let is_for_later = |name: &HookName| {
        let planned = seen.plan.hooks.iter().find(|planned| planned.hook == *name);
        planned.is_some_and(|planned| matches!(planned.deferred, Some(Deferral::Later { .. })))
    };
    let waits = is_for_later(&hook.hook) || hook.borrowed.values().any(is_for_later);
    let boots = seen.settings.gate.disable_after_boots;
    let policy = gate::in_effect(hook.policy, cause, boots, world.services.answers());
    for unit in hook.units.keys() {
        let wish = Wish { unit, hook: &hook.hook, policy, reason, now: seconds(world.now) };
        match gate::hold_back(world.root, world.services, ledger, wish) {
            // It waits for this boot to go on, as it would for anything that it is ordered after.
            Ok(true) if waits => {
                info!(hook = %hook.hook, "{unit} waits: {reason}");
            }
            Ok(true) => {
                // Whoever asks `systemctl status` for the unit is told too (systemd.journal-fields(7)).
                let former = ledger.gate.get(unit).into_iter().flat_map(|gate| &gate.former);
                let held: BTreeSet<&str> =
                    former.map(|former| former.unit.as_str()).chain([&**unit]).collect();
                for name in held {
                    warn!(
                        object_systemd_unit = name,
                        hook = %hook.hook,
                        policy = %policy,
                        "reseed: {name} is held back, because what it would serve is stale: {reason}; \
                         see `reseed status`, let it go with `reseed apply` once that is mended, \
                         or with `reseed release {unit} --anyway`"
                    );
                }
                report.gated.insert(unit.clone(), reason.to_owned());
            }
            Ok(false) => {}
            Err(error) => report.failures.push(format!("{unit} could not be held back: {error}")),
        }
    }
}

/// Hooks that this run did not look at, or could not read: what is held on their account stays.
fn undecided(seen: &Outlook, request: &Request) -> BTreeSet<HookName> {
    let not_asked = seen.hooks.iter().map(|hook| &hook.name);
    let not_asked =
        not_asked.filter(|name| !request.only.is_empty() && !request.only.contains(*name)).cloned();
    let faulty = seen.faults.iter().filter_map(|fault| HookName::parse(fault.path.file_stem()?.to_str()?));
    not_asked.chain(faulty).collect()
}
