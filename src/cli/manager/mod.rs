//! `reseed manager …`

mod dhparm;
mod info;
mod material;
mod tlsa_hash;
mod verify;

use std::path::{Path, PathBuf};

use super::{Failure, Status, text};
use crate::reseed::World;
use crate::system::root::Root;

/// The certificate manager
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Dhparm(dhparm::Arguments),
    Info(info::Arguments),
    TlsaHash(tlsa_hash::Arguments),
    Verify(verify::Arguments),
}

pub fn run(world: World<'_>, verbose: bool, arguments: &Arguments) -> Result<Status, Failure> {
    match &arguments.command {
        Command::Dhparm(arguments) => dhparm::run(world, arguments),
        Command::Info(arguments) => info::run(world, verbose, arguments),
        Command::TlsaHash(arguments) => tlsa_hash::run(arguments),
        Command::Verify(arguments) => verify::run(world, arguments),
    }
}

/// The root in which a path of the command line lies, and the whole path: it is the caller's own, wherever
/// `--root` points.
fn callers(path: &Path) -> Result<(Root, PathBuf), Failure> {
    Ok((Root::open(Path::new("/"))?, std::path::absolute(path)?))
}

/// A path without anything that a terminal would obey.
fn shown(path: &Path) -> String {
    text::printable(&path.display().to_string())
}
