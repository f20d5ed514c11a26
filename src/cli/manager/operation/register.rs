//! `reseed manager register`

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::super::top::Place;
use super::super::{Failure, Status, outcome};
use crate::manager::accounts::{self, Request, Which};
use crate::manager::run::World;

/// Make an account with the public authority of the inventory, or find the one that there is
///
/// Which authority that is, the key public of ssl-mgr.conf's inventory says, where ca-info.conf has more than one. One account
/// is made by itself when a certificate is ordered first, so this only says beforehand whether it can be. Its terms
/// are agreed to: on a terminal, only once somebody says so.
#[derive(Debug, clap::Args)]
pub struct Register {
    /// The authority's name in ca-info.conf
    #[arg(value_name = "CA")]
    authority: Option<String>,
    /// How the authority reaches whoever answers for it, instead of ca_contact
    #[arg(long, value_name = "URL")]
    contact: Vec<String>,
    /// With the directory for tests
    #[arg(long)]
    staging: bool,
    /// Ask nothing, and agree to the terms
    #[arg(short, long)]
    yes: bool,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Register {
    /// Registers.
    pub fn run(&self, place: Place<'_>) -> Result<Status, Failure> {
        let world = place.world;
        let (name, directory) = accounts::public(&world, self.authority.as_deref(), self.staging)?;
        if self.dry_run {
            if !outcome::is_quiet() {
                let says = format!("would have an account with {name}, {directory}, or find it there");
                writeln!(io::stdout().lock(), "{says}")?;
            }
            return Ok(Status::Done);
        }
        if let Some(taken) = &place.serverpki {
            adopt(&world, &taken.account)?;
        }
        let terminal = io::stdin().is_terminal();
        if terminal && !self.yes && !agrees(&directory)? {
            return Err(Failure::Other("nothing was done".to_owned()));
        }
        let which = Which { authority: name, contact: self.contact.clone(), staging: self.staging };
        outcome::tell(&accounts::change(world, &which, &Request::Register)?, self.json)
    }
}

/// Takes over serverPKI's account, where there is one and none of ours.
pub fn adopt(world: &World<'_>, file: &Path) -> Result<(), Failure> {
    if let Some(url) = accounts::adopt(world.clone(), file)?
        && !outcome::is_quiet()
    {
        writeln!(io::stderr().lock(), "note: the account {url} of serverPKI is taken over")?;
    }
    Ok(())
}

fn agrees(directory: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    write!(out, "Have an account with {directory}, and agree to its terms of service? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
