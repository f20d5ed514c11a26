//! Completions and manual pages, from the definitions that parse the command line.

use std::io;
use std::path::PathBuf;

use clap::CommandFactory;

use super::{CommandLine, Failure, Status};

/// Write a completion script for a shell to standard output
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub fn completions(arguments: &Completions) -> Result<Status, Failure> {
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "reseed", &mut io::stdout());
    Ok(Status::Done)
}

/// Write the manual pages into a directory
#[derive(Debug, clap::Args)]
pub struct Manual {
    /// An existing directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub fn manual(arguments: &Manual) -> Result<Status, Failure> {
    clap_mangen::generate_to(CommandLine::command(), &arguments.directory)?;
    Ok(Status::Done)
}
