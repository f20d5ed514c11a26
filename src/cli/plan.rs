//! `reseed plan`

use std::io::{self, Write};
use std::path::PathBuf;

use super::{Failure, Status, text};
use crate::hook::HookName;
use crate::plan::Request;
use crate::reseed::{World, look};

/// Show what `apply` would do, and why; change nothing
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub selection: Selection,
    /// Exit with 3 when something is stale
    #[arg(long)]
    exit_code: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Which hooks, and which files beside those that are ours.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// Only these hooks
    #[arg(value_name = "HOOK", value_parser = hook_name)]
    only: Vec<HookName>,
    /// Replace this file although it is not ours, or is fresh; may be given several times
    #[arg(long, value_name = "FILE")]
    adopt: Vec<PathBuf>,
    /// This is the recorded machine, brought back from a backup or on other hardware: no clone
    #[arg(long)]
    restored: bool,
}

impl Selection {
    /// What is asked for, as a plan understands it.
    pub fn request(&self) -> Request {
        Request {
            only: self.only.iter().cloned().collect(),
            adopt: self.adopt.iter().cloned().collect(),
            restored: self.restored,
            ..Request::default()
        }
    }
}

fn hook_name(text: &str) -> Result<HookName, String> {
    HookName::parse(text).ok_or_else(|| "not a name of a hook; `reseed hook list` shows them".into())
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let seen = look(world, &arguments.selection.request())?;
    let mut out = io::stdout().lock();
    if arguments.json {
        let notes = &seen.notes;
        text::json(
            &mut out,
            &serde_json::json!({ "plan": seen.plan, "faults": seen.faults, "notes": notes }),
        )?;
    } else {
        text::plan(&mut out, &seen.plan)?;
        for note in &seen.notes {
            writeln!(out, "note: {note}")?;
        }
        for fault in &seen.faults {
            writeln!(io::stderr(), "reseed: {fault}; this hook is left out")?;
        }
    }
    Ok(match (seen.faults.is_empty(), arguments.exit_code && seen.plan.is_stale()) {
        (false, _) => Status::Wrong,
        (_, true) => Status::Stale,
        _ => Status::Done,
    })
}
