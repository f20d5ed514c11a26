//! Completions and manual pages, from the definitions that parse the command line.

use std::io;
use std::path::{Path, PathBuf};

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
    let mut command = CommandLine::command().disable_help_subcommand(true);
    command.build();
    pages(&command, &arguments.directory)?;
    Ok(Status::Done)
}

/// A page for a command, and one for each below it.
fn pages(command: &clap::Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, directory)?;
    }
    clap_mangen::Man::new(command.clone()).section(SECTION).generate_to(directory)?;
    Ok(())
}

/// man(1): programs for the administrator.
const SECTION: &str = "8";
