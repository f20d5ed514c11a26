//! How plans, identities and reports read for people.

use std::collections::BTreeSet;
use std::io::{self, Write};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::artifact::Managed;
use crate::hook::Verb;
use crate::identity::{Finding, Identity, Kind, sentence};
use crate::plan::{Action, HookPlan, Plan, Supply, Task};
use crate::reseed::{Outcome, Report};

/// Writes JSON with a line end.
pub fn json(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// A path or message without anything that a terminal would obey.
pub fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// A time as people read it, in UTC.
pub fn time(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC")).unwrap_or_default()
}

/// Writes what happened to the machine, when anything did.
pub fn kinds(out: &mut impl Write, kinds: &BTreeSet<Kind>) -> io::Result<()> {
    match sentence(kinds) {
        Some(sentence) => writeln!(out, "{sentence}"),
        None => Ok(()),
    }
}

/// Writes the facets, a line each with its source.
pub fn identity(out: &mut impl Write, identity: &Identity) -> io::Result<()> {
    let addresses = match &identity.addresses {
        Finding::Known { value, source } => {
            let list = value.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Finding::known(list, source)
        }
        Finding::Unknown { unknown } => Finding::unknown(unknown),
    };
    facet(out, "hostname", &identity.hostname)?;
    facet(out, "domain", &identity.domain)?;
    facet(out, "addresses", &addresses)?;
    facet(out, "machine-id", &identity.machine_id)?;
    facet(out, "hardware", &identity.hardware)?;
    facet(out, "seed", &identity.seed)
}

fn facet<T: std::fmt::Display>(out: &mut impl Write, name: &str, finding: &Finding<T>) -> io::Result<()> {
    match finding {
        Finding::Known { value, source } => writeln!(out, "  {name:<11} {value}  ({source})"),
        Finding::Unknown { unknown } => writeln!(out, "  {name:<11} unknown: {unknown}"),
    }
}

/// Writes what a run would do for every hook.
pub fn plan(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    kinds(out, &plan.kinds)?;
    let acts = !plan.steps().is_empty() || !plan.notes().is_empty();
    match (&plan.put_off, plan.is_stale()) {
        (Some(why), true) if acts => writeln!(out, "No certificate would be made: {why}")?,
        (Some(why), true) => writeln!(out, "Nothing would be made: {why}")?,
        (Some(why), false) if !acts => writeln!(out, "Nothing to do; and {why}")?,
        (None, false) if !acts => writeln!(out, "Nothing to do.")?,
        _ => {}
    }
    for hook in &plan.hooks {
        hook_plan(out, hook)?;
    }
    Ok(())
}

fn hook_plan(out: &mut impl Write, hook: &HookPlan) -> io::Result<()> {
    for task in hook.tasks.iter().filter(|task| task.action != Action::Keep) {
        let what = match task.action {
            Action::Wait => "is stale",
            Action::Make if task.supply == Supply::Installed => "install",
            Action::Make if task.supply == Supply::Asked => "ask for, and install",
            Action::Make => "make again",
            Action::Note => "record as this machine's own",
            Action::Leave | Action::Keep => "leave alone",
        };
        writeln!(out, "{}: {what} {}", hook.hook, files(task))?;
        writeln!(out, "    it is {}", task.verdict)?;
        if let Some(source) = source(task) {
            writeln!(out, "    it {source}")?;
        }
        if let Some(fingerprint) = &task.fingerprint {
            writeln!(out, "    with the fingerprint {fingerprint}")?;
        }
        for reason in &task.reasons {
            writeln!(out, "    because {reason}")?;
        }
        if task.action == Action::Leave {
            writeln!(
                out,
                "    to replace it all the same: reseed apply --adopt {}",
                task.headline().display()
            )?;
        }
    }
    if hook.has(Action::Make) {
        for (unit, verb) in &hook.tell {
            writeln!(out, "    then {verb} {unit}, if it runs")?;
        }
    }
    for problem in &hook.problems {
        writeln!(out, "{}: note: {problem}", hook.hook)?;
    }
    Ok(())
}

/// Where a task's certificate comes from, when it is not made here.
pub fn source(task: &Task) -> Option<String> {
    let issuer = task.issuer.as_ref()?;
    let managed = task.bundle.certificates().and_then(|certificates| certificates.managed.as_deref());
    Some(match managed.and_then(Managed::version) {
        Some(version) => {
            let (subject, end) = (version.says.subject_line(), time(version.says.not_after));
            format!("comes from {issuer}, which has {} since {}, until {end}", subject, version.name)
        }
        None => format!("is to come from {issuer}"),
    })
}

/// The files of a task in one line.
pub fn files(task: &Task) -> String {
    task.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Writes what a run did.
pub fn report(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if report.recovered > 0 {
        writeln!(out, "An interrupted earlier run was put in order.")?;
    }
    kinds(out, &report.plan.kinds)?;
    match &report.plan.put_off {
        Some(why) if report.outcomes.is_empty() => writeln!(out, "Nothing is made: {why}")?,
        Some(why) => writeln!(out, "No certificate is made: {why}")?,
        None if report.has_nothing() => writeln!(out, "Nothing to do.")?,
        None => {}
    }
    noted(out, report)?;
    for (hook, outcome) in &report.outcomes {
        match outcome {
            Outcome::Failed(error) => writeln!(out, "{hook}: failed, the old files stand: {error}")?,
            Outcome::Made(entry) => {
                writeln!(out, "{hook}: made again")?;
                for made in report.made(hook, entry) {
                    writeln!(out, "    {made}")?;
                }
            }
        }
    }
    deferred(out, &report.plan)?;
    let by_reload = |unit: &str| !report.restarted_after_reload.iter().any(|restarted| restarted == unit);
    for (unit, verb) in report.told.iter().filter(|(unit, _)| by_reload(unit)) {
        let done = match verb {
            Verb::Reload => "reloaded",
            Verb::Restart => "restarted",
        };
        writeln!(out, "{unit}: {done}")?;
    }
    for unit in &report.restarted_after_reload {
        writeln!(out, "{unit}: restarted, because after a reload it did not serve what it should")?;
    }
    for (unit, places) in &report.probed {
        for probed in places {
            writeln!(out, "{unit}: {}: {}", probed.endpoint, probed.verdict)?;
        }
    }
    for (unit, reason) in &report.gated {
        writeln!(out, "{unit}: held back: {reason}")?;
    }
    for unit in &report.released {
        writeln!(out, "{unit}: let go")?;
    }
    left_alone(out, &report.plan)
}

/// What is stale and left for a later run.
fn deferred(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    for hook in plan.hooks.iter() {
        if let Some(why) = &hook.deferred {
            writeln!(out, "{}: left for later: {why}", hook.hook)?;
        }
    }
    Ok(())
}

/// What was found and is recorded as this machine's from now on.
fn noted(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for hook in report.plan.hooks.iter().filter(|hook| !report.has_failed_for(&hook.hook)) {
        for task in hook.tasks.iter().filter(|task| task.action == Action::Note) {
            let fingerprint = task.fingerprint.as_deref().map(|text| format!("  {text}")).unwrap_or_default();
            writeln!(out, "{}: recorded as this machine's own: {}{fingerprint}", hook.hook, files(task))?;
        }
    }
    Ok(())
}

/// What is stale and stays so until the administrator says otherwise.
fn left_alone(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    for hook in &plan.hooks {
        for task in hook.tasks.iter().filter(|task| task.action == Action::Leave) {
            let reasons = task.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            writeln!(out, "{}: left alone: {}: {}; {reasons}", hook.hook, files(task), task.verdict)?;
        }
    }
    Ok(())
}
