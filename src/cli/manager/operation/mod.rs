//! Commands that work on the inventory: how each begins, and how what it did is told.

mod ca;
mod export;
mod issue;

use std::io::{self, Write};

use super::inventory::place;
use super::{Failure, Status, text};
use crate::manager::operate::{Certificates, OperateError, Operation, Report};
use crate::manager::run::{World, configuration};

pub use ca::Ca;
pub use export::Export;
pub use issue::{Issue, Renew};

/// What works on the inventory that is configured.
pub fn operation<'a>(world: &World<'a>) -> Result<Operation<'a>, Failure> {
    let config = configuration(world)?;
    let inventory = place::configured(world)?;
    Ok(Operation::new(world.clone(), config, inventory))
}

/// Writes the report and finds the exit status.
pub fn tell(report: &Report, json: bool) -> Result<Status, Failure> {
    let mut out = io::stdout().lock();
    if json {
        text::json(&mut out, report)?;
    } else {
        write!(out, "{report}")?;
    }
    let mut messages = io::stderr().lock();
    for failure in &report.failures {
        writeln!(messages, "reseed: {failure}")?;
    }
    Ok(if report.has_failed() { Status::Failed } else { Status::Done })
}

/// Does work and tells what was done, also where it ended early.
pub fn told(
    mut operation: Operation<'_>,
    json: bool,
    work: impl FnOnce(&mut Operation<'_>) -> Result<(), OperateError>,
) -> Result<Status, Failure> {
    let done = work(&mut operation);
    let status = tell(&operation.report, json)?;
    done?;
    Ok(status)
}

/// Which certificates
#[derive(Debug, Clone, clap::Args)]
pub struct Selection {
    /// All, but authorities
    #[arg(short, long)]
    all: bool,
    /// This one, too; may be given several times
    #[arg(short, long, value_name = "CERTIFICATE")]
    include: Vec<crate::manager::inventory::model::Name>,
    /// But not this one; may be given several times
    #[arg(short, long, value_name = "CERTIFICATE")]
    exclude: Vec<crate::manager::inventory::model::Name>,
}

impl Selection {
    /// What they mean.
    pub fn certificates(&self) -> Certificates {
        Certificates { all: self.all, include: self.include.clone(), exclude: self.exclude.clone() }
    }

    /// The same, where nothing said means all.
    pub fn or_all(&self) -> Certificates {
        Certificates { all: self.all || self.include.is_empty(), ..self.certificates() }
    }
}

impl From<OperateError> for Failure {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::Inventory(error) => Self::Inventory(error),
            OperateError::Usage(message) => Self::Usage(message),
            OperateError::Failed(message) => Self::Other(message),
        }
    }
}
