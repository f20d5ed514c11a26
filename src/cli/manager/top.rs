//! Which tree the manager works on, or which site of serverPKI.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use super::super::Failure;
use super::outcome;
use crate::manager::legacy::serverpki_conf::site::{self, Taken};
use crate::manager::load;
use crate::manager::run::World;
use crate::reseed;
use crate::system::root::Root;

/// Where the manager works.
pub struct Place<'a> {
    /// What a run is told.
    pub world: World<'a>,
    /// What serverPKI's configuration says besides; nothing on a tree.
    pub serverpki: Option<Taken>,
}

/// The tree, or the site of serverPKI, whose configuration is read.
///
/// # Errors
/// [`Failure`] when there is none, and with every fault of serverPKI's configuration.
pub fn place<'a>(
    world: &reseed::World<'a>,
    top: Option<&Path>,
    config: Option<&Path>,
) -> Result<Place<'a>, Failure> {
    let Some(config) = config else {
        return Ok(Place { world: self::world(world, top)?, serverpki: None });
    };
    let path = inside(world.root, config)?;
    let text = world
        .root
        .text(&path)?
        .ok_or_else(|| Failure::Usage(format!("{}: there is no such file", path.display())))?;
    let taken = site::take(&path, &text).map_err(|faults| {
        Failure::Usage(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    static TOLD: Once = Once::new();
    let mut told = Ok(());
    TOLD.call_once(|| told = tell(&path, &taken));
    told?;
    let configured = World {
        root: world.root,
        top: taken.top.clone(),
        config: Some(Arc::new(taken.configuration.clone())),
        now: world.now,
        host: host(),
        tell: super::super::progress::line,
    };
    Ok(Place { world: configured, serverpki: Some(taken) })
}

/// Once, however many things a call is: what is odd, and what is not as it was.
fn tell(path: &Path, taken: &Taken) -> io::Result<()> {
    if outcome::is_quiet() {
        return Ok(());
    }
    let mut messages = io::stderr().lock();
    for warning in &taken.configuration.warnings {
        writeln!(messages, "warning: {warning}")?;
    }
    taken.notes.iter().try_for_each(|note| writeln!(messages, "note: {}: {note}", path.display()))
}

fn host() -> String {
    hostname::get().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// The top directory: as told, or found where ssl-mgr finds it, and what else a run is told.
///
/// # Errors
/// [`Failure`] when there is none.
pub fn world<'a>(world: &reseed::World<'a>, told: Option<&Path>) -> Result<World<'a>, Failure> {
    let top = match told {
        Some(told) => inside(world.root, told)?,
        None => {
            // Both are the caller's own, and mean nothing in another root.
            let (named, current) =
                if world.root.is_live() { (named(), std::path::absolute(".").ok()) } else { (None, None) };
            load::find(world.root, named.as_deref(), current.as_deref())
                .map_err(|error| Failure::Usage(error.to_string()))?
        }
    };
    let host = host();
    Ok(World {
        root: world.root,
        top,
        config: None,
        now: world.now,
        host,
        tell: super::super::progress::line,
    })
}

/// A directory of the command line is the caller's own on the running system, and lies in the root elsewhere.
pub fn inside(root: &Root, told: &Path) -> Result<PathBuf, Failure> {
    match (root.is_live(), told.is_absolute()) {
        (true, _) => Ok(std::path::absolute(told)?),
        (false, true) => Ok(told.to_owned()),
        (false, false) => {
            Err(Failure::Usage(format!("{}: with --root the directory is named from /", told.display())))
        }
    }
}

/// `SSL_MGR_TOPDIR`, as scripts for ssl-mgr set it.
#[expect(clippy::disallowed_methods, reason = "the door to this one variable")]
fn named() -> Option<PathBuf> {
    std::env::var_os("SSL_MGR_TOPDIR").filter(|value| !value.is_empty()).map(PathBuf::from)
}
