//! How plans, identities and reports read for people.

use std::io::{self, Write};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::hook::Verb;
use crate::identity::{Finding, Identity};
use crate::plan::{Action, HookPlan, Plan, Task};
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
    match (&plan.put_off, plan.is_stale()) {
        (Some(why), true) => writeln!(out, "Nothing would be made: {why}")?,
        (Some(why), false) => writeln!(out, "Nothing to do; and {why}")?,
        (None, false) => writeln!(out, "Nothing to do.")?,
        (None, true) => {}
    }
    for hook in &plan.hooks {
        hook_plan(out, hook, plan.put_off.is_some())?;
    }
    Ok(())
}

fn hook_plan(out: &mut impl Write, hook: &HookPlan, put_off: bool) -> io::Result<()> {
    for task in hook.tasks.iter().filter(|task| task.action != Action::Keep) {
        let what = match task.action {
            Action::Make if put_off => "is stale",
            Action::Make => "make again",
            _ => "leave alone",
        };
        writeln!(out, "{}: {what} {}", hook.hook, files(task))?;
        writeln!(out, "    it is {}", task.verdict)?;
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
    if hook.makes_something() && !put_off {
        for (unit, verb) in &hook.tell {
            writeln!(out, "    then {verb} {unit}, if it runs")?;
        }
    }
    for problem in &hook.problems {
        writeln!(out, "{}: note: {problem}", hook.hook)?;
    }
    Ok(())
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
    if let Some(why) = &report.plan.put_off {
        writeln!(out, "Nothing is made: {why}")?;
    } else if report.outcomes.is_empty() && report.gated.is_empty() && report.released.is_empty() {
        writeln!(out, "Nothing to do.")?;
    }
    for (hook, outcome) in &report.outcomes {
        match outcome {
            Outcome::Failed(error) => writeln!(out, "{hook}: failed, the old files stand: {error}")?,
            Outcome::Made(entry) => {
                writeln!(out, "{hook}: made again")?;
                for (path, made) in
                    entry.file.iter().filter(|_| entry.run == *report.run.as_ref().unwrap_or(&entry.run))
                {
                    match made.serial {
                        Some(serial) => writeln!(out, "    {}  serial {serial}", path.display())?,
                        None => writeln!(out, "    {}", path.display())?,
                    }
                }
            }
        }
    }
    for (unit, verb) in &report.told {
        let done = match verb {
            Verb::Reload => "reloaded",
            Verb::Restart => "restarted",
        };
        writeln!(out, "{unit}: {done}")?;
    }
    for (unit, reason) in &report.gated {
        writeln!(out, "{unit}: held back: {reason}")?;
    }
    for unit in &report.released {
        writeln!(out, "{unit}: let go")?;
    }
    left_alone(out, &report.plan)
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
