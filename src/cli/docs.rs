//! Completions and manual pages, from the definitions that parse the command line.

use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::{CommandLine, Failure, Status};
use crate::manager::legacy;

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
    let mut command = CommandLine::command().disable_help_subcommand(true);
    command.build();
    write(command, &arguments.directory)?;
    for command in legacy::definitions() {
        write(command, &arguments.directory)?;
    }
    Ok(Status::Done)
}

/// Also what `--help` does not list has a page; all of them are for administrators: section 8.
fn write(command: clap::Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().cloned() {
        write(below, directory)?;
    }
    clap_mangen::Man::new(command).section("8").generate_to(directory).map(drop)
}
