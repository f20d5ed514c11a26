//! `reseed rehome`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::apply::Output;
use super::{Failure, Status};
use crate::identity::{HostName, sources};
use crate::reseed::{self, Place, ReseedError, World};
use crate::seed::Subject;
use crate::system::root::Root;

/// Give the machine its place: set its name or seed if asked to, then apply
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The machine's new full name
    ///
    /// Set through hostnamed when that runs, else written to /etc/hostname.
    #[arg(long, value_name = "FQDN", value_parser = host_name)]
    hostname: Option<HostName>,
    /// A seed file to be put at /etc/reseed/seed.toml
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// This is the recorded machine, brought back from a backup or on other hardware: no clone
    #[arg(long)]
    restored: bool,
    #[command(flatten)]
    output: Output,
}

fn host_name(text: &str) -> Result<HostName, String> {
    let name = HostName::parse(text).map_err(|error| error.to_string())?;
    name.proper().map_err(|why| why.to_string())?;
    Ok(name)
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let seed = arguments.seed.as_deref().map(read_seed).transpose()?;
    let hostname = arguments.hostname.as_ref();
    let place = Place { hostname, seed: seed.as_deref(), restored: arguments.restored };
    let report = reseed::rehome(world, place)?;
    let status = arguments.output.tell(&report)?;
    if let Some(name) = &arguments.hostname {
        hint_at_hosts(world, name)?;
    }
    Ok(status)
}

fn read_seed(file: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(file)?;
    let text = Root::open(Path::new("/"))?.text(&path)?;
    let text = text.ok_or_else(|| Failure::Usage(format!("{}: there is no such file", file.display())))?;
    Subject::parse(file, &text).map_err(ReseedError::Fault)?;
    Ok(text)
}

/// The file belongs to the administrator; a name that stays in it is worth a word.
fn hint_at_hosts(world: World<'_>, name: &HostName) -> Result<(), Failure> {
    let text = world.root.text(Path::new("/etc/hosts"))?.unwrap_or_default();
    if sources::domain_in_hosts(&text, name.label()).is_none() && name.domain().is_some() {
        writeln!(
            io::stderr(),
            "reseed: note: /etc/hosts does not name {name}; some programs look there for it"
        )?;
    }
    Ok(())
}
