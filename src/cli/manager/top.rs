//! Which tree the manager works on.

use std::path::{Path, PathBuf};

use super::super::Failure;
use crate::manager::load;
use crate::manager::run::World;
use crate::reseed;
use crate::system::root::Root;

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
    let host = hostname::get().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
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
