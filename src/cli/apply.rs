//! `reseed apply`

use std::io::{self, Write};

use super::plan::Selection;
use super::{Failure, Status, text};
use crate::plan::PutOff;
use crate::reseed::{self, Report, World};

/// Make again what no longer holds
///
/// Files that are not ours are left alone and named. A machine whose identity is not proper gets
/// nothing made, its stale services are held back, and the exit status is 0 all the same, so that
/// installers and boots go on.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Wait first until the name, the addresses and the seed have come to rest
    ///
    /// How long, and how often at most this leads to a run, is in [watch] of the settings. What changes
    /// during the run is put right before this returns.
    #[arg(long)]
    settle: bool,
    #[command(flatten)]
    pub output: Output,
}

/// How the outcome is told.
#[derive(Debug, clap::Args)]
pub struct Output {
    /// Exit with 4 when the identity is not proper
    #[arg(long)]
    strict: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let request = arguments.selection.request();
    let run = if arguments.settle { reseed::settle } else { reseed::apply };
    let report = run(world, &request)?;
    arguments.output.tell(&report)
}

impl Output {
    /// Writes the report and finds the exit status.
    pub fn tell(&self, report: &Report) -> Result<Status, Failure> {
        let mut out = io::stdout().lock();
        if self.json {
            text::json(&mut out, report)?;
        } else {
            text::report(&mut out, report)?;
        }
        let mut messages = io::stderr().lock();
        for failure in &report.failures {
            writeln!(messages, "reseed: {failure}")?;
        }
        for fault in &report.faults {
            writeln!(messages, "reseed: {fault}; this hook is left out")?;
        }
        let improper = matches!(report.plan.put_off, Some(PutOff::Improper(_)));
        Ok(match (report.has_failed(), report.faults.is_empty()) {
            (true, _) => Status::Failed,
            (_, false) => Status::Wrong,
            _ if self.strict && improper => Status::Improper,
            _ => Status::Done,
        })
    }
}
