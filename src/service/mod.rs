//! What can be asked of a service manager, and by whom it is answered.
//!
//! The one trait at the edge of the boot path: a directory can stand in for `/`, but nothing
//! stands in for PID 1. `systemd` speaks to it over D-Bus; [`Offline`] is for every other root.

pub mod gate;
pub mod hostnamed;
pub mod systemd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::hook::{Policy, Verb};
use crate::ledger::Former;
use crate::system::process;
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

/// A program of somebody else's, and what it may do.
#[derive(Debug, Clone, Copy)]
pub struct Errand<'a> {
    /// Program and arguments, never through a shell.
    pub command: &'a [String],
    /// Paths that it may write to; all others are read-only.
    pub writes: &'a [PathBuf],
    /// Whether it may use the network.
    pub network: bool,
    /// How long it may take.
    pub limit: Duration,
    /// Octets of its output that are kept: its beginning.
    pub kept: u64,
    /// The capabilities that it may have, as a set of bits (capabilities(7)); all when nothing is said.
    pub capabilities: Option<u64>,
}

impl<'a> Errand<'a> {
    /// A program that writes nothing, has no network, and whose output is for a message.
    pub fn new(command: &'a [String], limit: Duration) -> Self {
        Self { command, writes: &[], network: false, limit, kept: process::KEPT, capabilities: None }
    }
}

/// Where this program itself lies, to be sent on an errand.
///
/// # Errors
/// In words, when the kernel does not say so.
pub fn this_program() -> Result<String, String> {
    Root::open(Path::new("/"))
        .and_then(|root| root.link_target(Path::new("/proc/self/exe")))
        .map_err(|error| error.to_string())?
        .and_then(|path| path.to_str().map(str::to_owned))
        .ok_or_else(|| "it is not known where this program lies".into())
}

/// What can be asked of a service manager.
pub trait Services {
    /// Says whether there is anybody to be asked: not in another root, and not yet in early boot.
    fn answers(&self) -> bool {
        true
    }

    /// Asks every active unit that matches a pattern to take up new files: each once, by the
    /// stronger verb where two patterns match it, all at the same time; waits for their jobs and
    /// looks again a moment later. Units that do not run are not told. By the units' names.
    ///
    /// # Errors
    /// [`ServiceError`] when the manager itself cannot be asked; a unit that fails is in the answer.
    fn tell(&self, requests: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, ServiceError>;

    /// The units that start those that match a pattern when something happens: sockets, timers.
    ///
    /// # Errors
    /// [`ServiceError`] when the manager itself cannot be asked.
    fn triggers(&self, pattern: &str) -> Result<Vec<String>, ServiceError>;

    /// Makes the manager read all unit files anew.
    ///
    /// # Errors
    /// [`ServiceError`] when the manager itself cannot be asked.
    fn reload(&self) -> Result<(), ServiceError>;

    /// Keeps the units that match a pattern, and what triggers them, from running. For
    /// [`Policy::Disable`] in the way that takes effect for their kind; for [`Policy::Hold`] their
    /// condition already fails, and only what runs is stopped. Nothing in the answer means that
    /// there is no such unit, or that nothing had to be done.
    ///
    /// # Errors
    /// [`ServiceError`] when a unit still runs, or would start again.
    fn gate(&self, pattern: &str, policy: Policy) -> Result<Vec<Former>, ServiceError>;

    /// Undoes a gate: what was enabled is enabled, what ran is started, and so is what matches the
    /// pattern and was passed over because its condition failed.
    ///
    /// # Errors
    /// [`ServiceError`] when the manager refuses.
    fn release(&self, pattern: &str, former: &[Former]) -> Result<(), ServiceError>;

    /// Runs a program to its end, away from our own sandbox and within what it has declared, and
    /// returns the beginning of what it printed.
    ///
    /// # Errors
    /// [`ServiceError`] when it could not be run, failed, or was not through in time.
    fn run(&self, errand: &Errand<'_>) -> Result<String, ServiceError>;

    /// Starts or stops the timer that tries again what is left undone; waits for nothing.
    ///
    /// # Errors
    /// [`ServiceError`] when the manager refuses; a timer that is not installed is no error.
    fn retry(&self, wanted: bool) -> Result<(), ServiceError>;
}

/// No service manager: the root that is worked on does not run, or not yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offline;

impl Services for Offline {
    fn answers(&self) -> bool {
        false
    }

    fn tell(&self, _: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, ServiceError> {
        Ok(BTreeMap::new())
    }

    fn triggers(&self, _: &str) -> Result<Vec<String>, ServiceError> {
        Ok(Vec::new())
    }

    fn reload(&self) -> Result<(), ServiceError> {
        Ok(())
    }

    fn gate(&self, _: &str, _: Policy) -> Result<Vec<Former>, ServiceError> {
        Ok(Vec::new())
    }

    fn release(&self, _: &str, _: &[Former]) -> Result<(), ServiceError> {
        Ok(())
    }

    /// There is no sandbox of ours either: the program runs as our own child.
    fn run(&self, errand: &Errand<'_>) -> Result<String, ServiceError> {
        process::run(errand.command, errand.limit, errand.kept).map_err(ServiceError)
    }

    fn retry(&self, _: bool) -> Result<(), ServiceError> {
        Ok(())
    }
}
