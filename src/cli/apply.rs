//! `reseed apply`

use std::io::{self, Write};

use super::plan::Selection;
use super::{Failure, Status, text};
use crate::plan::{PutOff, Request, Stage};
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
    /// The part of the boot in which this run takes place; for the boot units
    ///
    /// `early` writes files and marks and asks nobody; `boot` asks nothing of the network; `network`
    /// does what needs it. Each implies --unattended.
    #[arg(long, value_enum)]
    stage: Option<Stage>,
    /// Try again with growing pauses what failed, and wait for another run; for units and triggers
    #[arg(long)]
    unattended: bool,
    /// Wait first until the name, the addresses and the seed have come to rest
    ///
    /// How long, and how often at most this leads to a run, is in the section watch of the settings. What changes
    /// during the run is put right before this returns.
    #[arg(long)]
    settle: bool,
    #[command(flatten)]
    pub output: Output,
}

impl Arguments {
    /// Says whether the run takes place before there is a service manager to be asked.
    pub fn is_early(&self) -> bool {
        self.stage == Some(Stage::Early)
    }
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
    let request = Request {
        unattended: arguments.unattended || arguments.stage.is_some(),
        stage: arguments.stage,
        ..arguments.selection.request()
    };
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
