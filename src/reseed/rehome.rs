//! The story that begins with a new name: everything is understood, and the lock held, before the
//! first thing is changed.

use std::path::Path;

use crate::identity::HostName;
use crate::plan::Request;
use crate::service::{self, hostnamed};
use crate::store;
use crate::system::root::PathError;
use crate::transaction;

use super::{Report, ReseedError, World, run};

/// Where the machine is to live.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// Its new full name.
    pub hostname: Option<&'a HostName>,
    /// The text of its new seed, already understood.
    pub seed: Option<&'a str>,
    /// It is the recorded machine, brought back: no clone.
    pub restored: bool,
}

/// Sets name and seed where they are given, then makes again what no longer holds.
///
/// # Errors
/// As [`super::apply()`]; and when the name cannot be set.
pub fn rehome(world: World<'_>, place: Place<'_>) -> Result<Report, ReseedError> {
    let lock = store::lock(world.root)?.ok_or(ReseedError::Busy)?;
    store::ledger(world.root)?;
    store::settings(world.root)?;
    if place.seed.is_none() {
        store::seed(world.root)?;
    }
    if let Some(text) = place.seed {
        world.root.make_directory(Path::new("/etc/reseed"), 0o755)?;
        transaction::replace(world.root, Path::new(store::SEED), text.as_bytes(), 0o644)?;
    }
    if let Some(name) = place.hostname {
        set_name(world, name)?;
    }
    run(world, &lock, &Request { restored: place.restored, ..Request::default() })
}

fn set_name(world: World<'_>, name: &HostName) -> Result<(), ReseedError> {
    let file = Path::new("/etc/hostname");
    if service::is_booted(world.root)? {
        match hostnamed::set_static_name(name) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => return Err(PathError::refused(file, error.to_string()).into()),
        }
    }
    Ok(transaction::replace(world.root, file, format!("{name}\n").as_bytes(), 0o644)?)
}
