//! `reseed check`

use std::io::{self, Write};

use super::{Failure, Status, text};
use crate::plan::{Action, PutOff, Request};
use crate::reseed::{World, look};

/// Tell by the exit status whether the identity is proper and everything fresh
#[derive(Debug, clap::Args)]
pub struct Arguments {
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
    let mut out = io::stdout().lock();
    if arguments.json {
        let proper = improper.is_none();
        let stale: Vec<_> =
            seen.plan.hooks.iter().filter(|hook| seen.plan.serves_stale(hook)).map(|h| &h.hook).collect();
        text::json(&mut out, &serde_json::json!({ "proper": proper, "why": improper, "stale": stale }))?;
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
