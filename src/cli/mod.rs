//! The command line: its definitions, which help, manual pages and completions share, and the way
//! to each command's own file.

mod apply;
mod ask;
mod attest;
mod audit;
mod census;
mod check;
mod conform;
mod docs;
mod explain;
mod generator;
mod hook;
mod legacy;
mod log;
mod manager;
mod plan;
mod probe;
mod progress;
mod rehome;
mod release;
mod rollback;
mod seal;
mod status;
mod text;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::{Args, Parser, Subcommand};

use crate::manager::inventory::store::InventoryError;
use crate::probe::Prober;
use crate::reseed::{ReseedError, World};
use crate::service::systemd::Systemd;
use crate::service::{self, Offline, Services};
use crate::system::clock;
use crate::system::root::{PathError, Root};

/// Puts right what a machine made under another name
///
/// A machine is built under one name and lives under another. Certificates made from the old name
/// stay wrong until somebody notices. reseed notices: it records who the machine was when each of
/// them was made, compares that with who the machine is now, and makes again exactly what no
/// longer holds, in one crash-safe step, and tells the services that read it.
#[derive(Debug, Parser)]
#[command(name = "reseed", version, max_term_width = 100, after_long_help = EXIT_STATUS)]
pub struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The same for every command.
const EXIT_STATUS: &str = "Exit status:\n  \
    0   done, or nothing to do\n  \
    1   something failed, and is as it was or is recorded for the next run\n  \
    2   wrong usage, or a file that cannot be understood\n  \
    3   `check`, `plan --exit-code`, `probe`: something is stale; `audit`: something is found;\n  \
            `hook census --exit-code`: something has no hook\n  \
    4   `check`, `attest`, `apply --strict`: the identity is not proper\n  \
    75  another run holds the lock";

#[derive(Debug, Args)]
struct Global {
    /// Work on the system in this directory instead of the running one
    ///
    /// Any directory but `/` is offline, and so is a `/` that an installer has changed its root to:
    /// nothing is restarted, users and groups are those of its own files, and symbolic links are
    /// followed inside it and never out of it.
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Add a directory of hooks below all others
    ///
    /// For a root in which reseed itself is not installed.
    #[arg(long, global = true, value_name = "DIR")]
    hooks: Option<PathBuf>,
    /// Say on standard error what is being done
    #[arg(short, long, global = true)]
    verbose: bool,
}

/// What each is, its own file says: a comment here would replace all of that in its help.
#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Arguments),
    Plan(plan::Arguments),
    Apply(apply::Arguments),
    Rehome(rehome::Arguments),
    Check(check::Arguments),
    Explain(explain::Arguments),
    Probe(probe::Arguments),
    Rollback(rollback::Arguments),
    Release(release::Arguments),
    Seal(seal::Arguments),
    Audit(audit::Arguments),
    Attest(attest::Arguments),
    Hook(hook::Arguments),
    Manager(manager::Arguments),
    #[command(hide = true)]
    Watch(watch::Arguments),
    #[command(hide = true)]
    Generator(generator::Arguments),
    #[command(hide = true)]
    Ask(ask::Arguments),
    Completions(docs::Completions),
    #[command(hide = true)]
    Manual(docs::Manual),
}

/// Does what the program is for under the name that it was called by; nothing for its own name.
pub fn by_another_name(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let called = PathBuf::from(arguments.next()?);
    match called.file_name()?.to_str()? {
        "reseed-generator" => Some(generator::at_boot(arguments.next().map(PathBuf::from))),
        other => legacy::run(other, arguments),
    }
}

/// Carries out a command line, and returns the exit status.
pub fn run(line: CommandLine) -> ExitCode {
    log::start(line.global.verbose);
    ended("reseed", carry_out(&line))
}

/// Says, in the name of the program that was called, what went wrong.
fn ended(called: &str, result: Result<Status, Failure>) -> ExitCode {
    let status = result.unwrap_or_else(|failure| {
        let _ = writeln!(io::stderr(), "{called}: {failure}");
        failure.status()
    });
    ExitCode::from(status as u8)
}

fn carry_out(line: &CommandLine) -> Result<Status, Failure> {
    let open = |path: &Path| Root::open(path).map_err(|error| Failure::Usage(error.to_string()));
    let root = open(&line.global.root)?;
    let below = line.global.hooks.as_deref().map(open).transpose()?;
    let early = matches!(&line.command, Command::Apply(arguments) if arguments.is_early());
    let services = services(&root, early)?;
    let prober = match (!early && service::is_booted(&root)?, &line.command) {
        (false, _) => Prober::by_hand(),
        // Whoever only looks holds no key, and may be anybody.
        (true, Command::Probe(_)) => Prober::network(),
        (true, _) => Prober::by_errand(Rc::clone(&services)),
    };
    let world = World {
        root: &root,
        below: below.as_ref(),
        services: services.as_ref(),
        prober: &prober,
        now: clock::now(),
    };
    match &line.command {
        Command::Status(arguments) => status::run(world, arguments),
        Command::Plan(arguments) => plan::run(world, arguments),
        Command::Apply(arguments) => apply::run(world, arguments),
        Command::Rehome(arguments) => rehome::run(world, arguments),
        Command::Check(arguments) => check::run(world, arguments),
        Command::Explain(arguments) => explain::run(world, arguments),
        Command::Probe(arguments) => probe::run(world, arguments),
        Command::Rollback(arguments) => rollback::run(world, arguments),
        Command::Release(arguments) => release::run(world, arguments),
        Command::Seal(arguments) => seal::run(world, arguments),
        Command::Audit(arguments) => audit::run(arguments),
        Command::Attest(arguments) => attest::run(world, arguments),
        Command::Hook(arguments) => hook::run(world, arguments),
        Command::Manager(arguments) => manager::run(world, line.global.verbose, arguments),
        Command::Watch(arguments) => watch::run(world, arguments),
        Command::Generator(arguments) => generator::run(world, arguments),
        Command::Ask(arguments) => ask::run(world, arguments),
        Command::Completions(arguments) => docs::completions(arguments),
        Command::Manual(arguments) => docs::manual(arguments),
    }
}

/// Before the basic system is up there is no bus, and no service that could be told of anything.
fn services(root: &Root, early: bool) -> Result<Rc<dyn Services>, PathError> {
    Ok(if !early && service::is_booted(root)? { Rc::new(Systemd::system_bus()) } else { Rc::new(Offline) })
}

/// An exit status; see [`EXIT_STATUS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Done = 0,
    Failed = 1,
    Wrong = 2,
    Stale = 3,
    Improper = 4,
    Busy = 75,
}

/// Why a command ends without having done its work.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Reseed(#[from] ReseedError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Other(String),
}

impl Failure {
    fn status(&self) -> Status {
        match self {
            Self::Reseed(ReseedError::Busy) => Status::Busy,
            Self::Reseed(ReseedError::Fault(_) | ReseedError::Usage(_)) | Self::Usage(_) => Status::Wrong,
            Self::Inventory(InventoryError::Busy) => Status::Busy,
            Self::Inventory(InventoryError::Refused(_) | InventoryError::Fault(_)) => Status::Wrong,
            // A reader that has seen enough, such as `head`, is no failure of ours.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Status::Done,
            _ => Status::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// A comment on the variant of a command used to stand for all that the command's own file says.
    #[test]
    fn the_help_of_a_command_is_all_that_its_file_says() {
        let mut line = CommandLine::command();
        for (path, said) in [
            (&["apply"][..], "left alone and named"),
            (&["manager"], "SELECTION is GROUP"),
            (&["manager", "renew"], "waits to be rolled"),
        ] {
            let mut command = &mut line;
            for name in path {
                command = command.find_subcommand_mut(name).unwrap();
            }
            let help = command.render_long_help().to_string();
            assert!(help.contains(said), "{path:?}: {help}");
        }
    }
}
