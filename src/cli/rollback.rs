//! `reseed rollback [RUN]`

use std::io::{self, Write};

use super::{Failure, Status};
use crate::ledger::RunId;
use crate::reseed::{self, World};

/// Put back what a run replaced
///
/// The files come back as they were, with owner, mode and attributes, and their services are told.
/// The next `reseed apply` makes them again unless its hook is switched off.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run, as `/var/lib/reseed/backups` names it; the last one when it is not given
    #[arg(value_name = "RUN", value_parser = run_id)]
    run: Option<RunId>,
}

fn run_id(text: &str) -> Result<RunId, String> {
    RunId::try_from(text.to_owned())
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let (run, hooks) = reseed::roll_back(world, arguments.run.as_ref())?;
    let hooks = hooks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    writeln!(io::stdout(), "Rolled back run {run}: {hooks}")?;
    Ok(Status::Done)
}
