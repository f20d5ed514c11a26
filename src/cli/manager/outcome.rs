//! How what the manager did is told.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Failure, Status, text};
use crate::manager::report::Report;
use crate::manager::run::ManagerError;
use crate::reseed::ReseedError;

/// The same for everything that a call does.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Says whether only what went wrong is to be told.
pub fn quietly(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether only what went wrong is told.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Writes the report and finds the exit status.
pub fn tell(report: &Report, json: bool) -> Result<Status, Failure> {
    let mut out = io::stdout().lock();
    if json {
        text::json(&mut out, report)?;
    } else if !is_quiet() {
        write!(out, "{report}")?;
    }
    let mut messages = io::stderr().lock();
    for failure in &report.failures {
        writeln!(messages, "reseed: {failure}")?;
    }
    Ok(if report.has_failed() { Status::Failed } else { Status::Done })
}

impl From<ManagerError> for Failure {
    fn from(error: ManagerError) -> Self {
        match error {
            ManagerError::Busy => Self::Reseed(ReseedError::Busy),
            ManagerError::Fault(fault) => Self::Usage(fault.to_string()),
            ManagerError::Usage(message) => Self::Usage(message),
            ManagerError::Failed(message) => Self::Other(message),
            ManagerError::Path(error) => Self::Path(error),
        }
    }
}
