//! `reseed rehome`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::apply::Output;
use super::{Failure, Status};
use crate::identity::{HostName, sources};
use crate::plan::Request;
use crate::reseed::{self, ReseedError, World};
use crate::seed::Subject;
use crate::service::hostnamed;
use crate::store;
use crate::system::root::Root;
use crate::transaction;

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
    #[command(flatten)]
    output: Output,
}

fn host_name(text: &str) -> Result<HostName, String> {
    let name = HostName::parse(text).map_err(|error| error.to_string())?;
    name.proper().map_err(|why| why.to_string())?;
    Ok(name)
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    // Everything is understood before the first thing is changed.
    let seed = arguments.seed.as_deref().map(read_seed).transpose()?;
    if let Some(text) = seed {
        world.root.make_directory(Path::new("/etc/reseed"), 0o755)?;
        transaction::replace(world.root, Path::new(store::SEED), text.as_bytes(), 0o644)?;
    }
    if let Some(name) = &arguments.hostname {
        set_name(world, name)?;
    }
    let report = reseed::apply(world, &Request::default())?;
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

fn set_name(world: World<'_>, name: &HostName) -> Result<(), Failure> {
    let booted = world.root.is_live() && world.root.status(Path::new("/run/systemd/system"))?.is_some();
    if booted && hostnamed::set_static_name(name).map_err(|error| Failure::Other(error.to_string()))? {
        return Ok(());
    }
    Ok(transaction::replace(world.root, Path::new("/etc/hostname"), format!("{name}\n").as_bytes(), 0o644)?)
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
