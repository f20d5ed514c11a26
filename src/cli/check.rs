//! `reseed check`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use time::{Duration, OffsetDateTime};

use super::{Failure, Status, text};
use crate::artifact::Found;
use crate::hook::HookName;
use crate::plan::{Action, Plan, PutOff, Request};
use crate::reseed::{World, look};

/// Tell by the exit status whether the identity is proper and everything fresh
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Tell also which certificates end soon, ours or not
    ///
    /// Soon is within the renew-before-days of the settings. Those that a run would make again are
    /// told as stale. The exit status does not depend on it.
    #[arg(long)]
    report: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let seen = look(world, &Request::default())?;
    let improper = match &seen.plan.put_off {
        Some(PutOff::Improper(why)) => Some(why),
        _ => None,
    };
    let days = i64::from(seen.facts.renew_before_days);
    let ending = match arguments.report {
        true => ending(&seen.plan, seen.facts.now + Duration::days(days)),
        false => BTreeMap::new(),
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        let proper = improper.is_none();
        let stale: Vec<_> =
            seen.plan.hooks.iter().filter(|hook| seen.plan.serves_stale(hook)).map(|h| &h.hook).collect();
        let mut found = serde_json::json!({ "proper": proper, "why": improper, "stale": stale });
        if let (true, Some(found)) = (arguments.report, found.as_object_mut()) {
            let ending = ending.iter().map(|(path, end)| {
                serde_json::json!({ "hook": end.hook, "file": path, "ends": end.at.unix_timestamp() })
            });
            found.insert("ending".into(), ending.collect());
        }
        text::json(&mut out, &found)?;
    } else {
        if let Some(why) = improper {
            writeln!(out, "not proper: {why}")?;
        }
        for hook in &seen.plan.hooks {
            for task in hook.tasks.iter().filter(|task| matches!(task.action, Action::Make | Action::Wait)) {
                let reasons = task.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                writeln!(out, "stale: {}: {}: {reasons}", hook.hook, text::files(task))?;
            }
        }
        for (path, end) in &ending {
            let verb = if end.at <= seen.facts.now { "has ended" } else { "ends" };
            let (path, at) = (path.display(), text::time(end.at));
            writeln!(out, "{verb}: {}: {path}: {at}; {}", end.hook, end.whose)?;
        }
        for fault in &seen.faults {
            writeln!(io::stderr(), "reseed: {fault}")?;
        }
    }
    Ok(match (seen.faults.is_empty(), improper.is_some(), seen.plan.is_stale()) {
        (false, ..) => Status::Wrong,
        (_, true, _) => Status::Improper,
        (_, _, true) => Status::Stale,
        _ => Status::Done,
    })
}

/// A certificate that ends soon.
struct End<'a> {
    hook: &'a HookName,
    at: OffsetDateTime,
    whose: String,
}

/// The certificates that end before a limit and that a run would not make again; each file once.
fn ending(plan: &Plan, limit: OffsetDateTime) -> BTreeMap<&PathBuf, End<'_>> {
    let mut ending = BTreeMap::new();
    for hook in &plan.hooks {
        for task in hook.tasks.iter().filter(|task| task.action != Action::Make) {
            for artifact in &task.bundle.artifacts {
                let end = match &artifact.found {
                    Found::Ours(made) => made.not_after,
                    Found::Other(content) => match &content.certificate {
                        Some(Ok(certificate)) => Some(certificate.not_after),
                        _ => None,
                    },
                    _ => None,
                };
                if let Some(at) = end.filter(|at| *at <= limit) {
                    let end = End { hook: &hook.hook, at, whose: task.verdict.to_string() };
                    ending.entry(&artifact.path).or_insert(end);
                }
            }
        }
    }
    ending
}
