//! What can be asked of a service manager, and by whom it is answered.
//!
//! The one trait at the edge of the boot path: a directory can stand in for `/`, but nothing
//! stands in for PID 1. `systemd` speaks to it over D-Bus; [`Offline`] is for every other root.

pub mod gate;
pub mod hostnamed;
pub mod systemd;

use std::collections::BTreeMap;
use std::path::Path;

use crate::hook::{Policy, Verb};
use crate::ledger::Former;
use crate::system::root::{PathError, Root};

/// Says whether a service manager runs on this root: sd_booted(3) tells by the same directory.
///
/// # Errors
/// [`PathError`] when the directory cannot be looked at.
pub fn is_booted(root: &Root) -> Result<bool, PathError> {
    Ok(root.is_live() && root.status(Path::new("/run/systemd/system"))?.is_some())
}

/// The service manager could not be asked, or did not do as asked; in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(pub String);

/// How one unit took up new files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The pattern by which the hook named it.
    pub pattern: String,
    /// What it was asked to do.
    pub verb: Verb,
    /// Whether it did, and still ran a moment later.
    pub result: Result<(), ServiceError>,
    /// Its job waits for the one in which we run: nothing can be seen of it before we end.
    pub waits: bool,
}

/// What can be asked of a service manager.
pub trait Services {
    /// Asks every active unit that matches a pattern to take up new files: each once, by the
    /// stronger verb where two patterns match it, all at the same time; waits for their jobs and
    /// looks again a moment later. Units that do not run are not told. By the units' names.
    ///
    /// # Errors
    /// [`ServiceError`] when the manager itself cannot be asked; a unit that fails is in the answer.
    fn tell(&self, requests: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, ServiceError>;

    /// Keeps the units that match a pattern, and what triggers them, from running, in the way that
    /// takes effect for their kind. For [`Policy::Hold`] the caller has already written the marks
    /// and drop-ins; the manager reads them anew and stops the units.
    ///
    /// # Errors
    /// [`ServiceError`] when a unit still runs, or would start again.
    fn gate(&self, pattern: &str, policy: Policy) -> Result<Vec<Former>, ServiceError>;

    /// Undoes a gate: what was enabled is enabled, what ran is started.
    ///
    /// # Errors
    /// [`ServiceError`] when the manager refuses.
    fn release(&self, former: &[Former]) -> Result<(), ServiceError>;
}

/// No service manager: the root that is worked on does not run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offline;

impl Services for Offline {
    fn tell(&self, _: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, ServiceError> {
        Ok(BTreeMap::new())
    }

    fn gate(&self, _: &str, _: Policy) -> Result<Vec<Former>, ServiceError> {
        Ok(Vec::new())
    }

    fn release(&self, _: &[Former]) -> Result<(), ServiceError> {
        Ok(())
    }
}
