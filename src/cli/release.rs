//! `reseed release UNIT`

use std::io::{self, Write};

use super::{Failure, Status};
use crate::reseed::{Release, World, release, release_all};

/// Let a service go that is held back
///
/// A service whose files are fresh is let go by the run that makes them so; this is for the one that
/// must serve although they are stale. It is then not held back again before they have been fresh
/// once. Exits with 3 when the files are stale and --anyway is not given.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The unit, as `reseed status` names it
    #[arg(value_name = "UNIT", required_unless_present = "all")]
    unit: Option<String>,
    /// Let it go although what it serves is stale
    #[arg(long)]
    anyway: bool,
    /// Let everything go that is held back; for the removal of reseed
    #[arg(long, conflicts_with = "unit")]
    all: bool,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let Some(unit) = &arguments.unit else {
        for unit in release_all(world)? {
            writeln!(io::stdout(), "{unit}: let go")?;
        }
        return Ok(Status::Done);
    };
    match release(world, unit, arguments.anyway)? {
        Release::Released { stale: false } => writeln!(io::stdout(), "{unit}: let go")?,
        Release::Released { stale: true } => {
            writeln!(io::stdout(), "{unit}: let go, although what it serves is stale")?;
        }
        Release::NotHeld => writeln!(io::stdout(), "{unit} is not held back; `reseed status` shows what is")?,
        Release::Stale { reason, hooks } => {
            let hooks = hooks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            writeln!(
                io::stderr(),
                "reseed: {unit} stays held back, because {hooks} is stale: {reason}\n\
                 reseed: `reseed apply` puts that right once the cause is mended; \
                 to let it go all the same: reseed release {unit} --anyway"
            )?;
            return Ok(Status::Stale);
        }
    }
    Ok(Status::Done)
}
