//! Where the inventory lies, and what of the caller's surroundings says how its database is reached.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::Failure;
use crate::manager::inventory::files::Files;
use crate::manager::inventory::postgres::parameters::Parameters;
use crate::manager::inventory::postgres::{Connector, Postgres, Surroundings};
use crate::manager::inventory::store::Inventory;
use crate::manager::run::{World, configuration};
use crate::system::root::Root;

/// The inventory that is configured.
pub fn configured<'a>(world: &World<'a>) -> Result<Box<dyn Inventory + 'a>, Failure> {
    let configured = configuration(world)?.site.inventory;
    match configured.postgres {
        Some(text) => {
            let mut database = postgres(world, &text, Postgres::open)?;
            if let Some(seconds) = configured.takeover_seconds {
                database.grace = Duration::from_secs(seconds.into());
            }
            Ok(Box::new(database))
        }
        None => Ok(Box::new(Files::of_top(world.root, &world.top))),
    }
}

/// The database that is configured, whatever tables it has.
pub fn database(world: &World<'_>) -> Result<Postgres, Failure> {
    match configuration(world)?.site.inventory.postgres {
        Some(text) => postgres(world, &text, Postgres::unchecked),
        None => {
            let says = "no database is configured; write postgres = \"…\" into [inventory] of ssl-mgr.conf";
            Err(Failure::Usage(says.into()))
        }
    }
}

/// An inventory by its directory, or by how its database is reached.
pub fn named<'a>(world: &World<'a>, text: &str) -> Result<Box<dyn Inventory + 'a>, Failure> {
    if text.contains("://") || text.contains('=') {
        return Ok(Box::new(postgres(world, text, Postgres::open)?));
    }
    if !world.root.is_live() && !text.starts_with('/') {
        return Err(Failure::Usage(format!("{text}: with --root the directory is named from /")));
    }
    let directory = if world.root.is_live() { std::path::absolute(text)? } else { PathBuf::from(text) };
    Ok(Box::new(Files::new(world.root, &directory)))
}

/// A database into which a machine reports: that is all that it may do there, so nothing else is looked at.
pub fn reporter(text: &str) -> Result<Postgres, Failure> {
    // A password is the caller's own, whichever root is reported.
    let connector = Connector::new(&Root::open(Path::new("/"))?, &surroundings(), text)?;
    for warning in &connector.warnings {
        writeln!(io::stderr().lock(), "warning: {warning}")?;
    }
    Ok(Postgres::unchecked(connector, "")?)
}

type Open = fn(Connector, &str) -> Result<Postgres, crate::manager::inventory::store::InventoryError>;

fn postgres(world: &World<'_>, text: &str, open: Open) -> Result<Postgres, Failure> {
    // Service files and passwords are the caller's own, wherever the tree lies.
    let root = Root::open(Path::new("/"))?;
    let connector = Connector::new(&root, &surroundings(), text)?;
    for warning in &connector.warnings {
        writeln!(io::stderr().lock(), "warning: {warning}")?;
    }
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| Failure::Other(format!("no random number: {error}")))?;
    let manager = format!("{}:{}:{:016x}", world.host, std::process::id(), u64::from_ne_bytes(random));
    Ok(open(connector, &manager)?)
}

/// What libpq would look at.
#[expect(clippy::disallowed_methods, reason = "the door to the variables of libpq")]
fn surroundings() -> Surroundings {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    Surroundings {
        environment: Parameters::of_environment(|name| std::env::var(name).ok()),
        home: home.or_else(|| user.as_ref().map(|user| user.dir.clone())),
        user: user.map(|user| user.name),
    }
}
