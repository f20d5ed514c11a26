//! `reseed manager keys`

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use super::operation::{is_meant, operation};
use super::{Failure, Status, callers, text};
use crate::manager::keyring;
use crate::manager::keys::{self, Form, Request};
use crate::manager::operate;
use crate::manager::run::World;
use crate::pki::encrypted::Passphrase;

/// Put the keys of own authorities under a passphrase, or take it off
///
/// [keys] passphrase_file of ssl-mgr.conf names the file of the passphrase, which only its owner may read: one line,
/// or anything. With it, new keys of authorities are put under it. All keys are changed in one step, or none is:
/// privkey.pem and bundle.pem of every version, as encrypted PKCS#8 (RFC 8018), which every other program reads.
/// Keys of services stay in clear: whoever serves them needs them so. A passphrase is never an option.
///
/// Where an inventory is kept, it is about the keys in there instead, those of services and clients too: whether they
/// are encrypted is said once for all of them, and with every key in one transaction. Keys of authorities are put
/// under the passphrase by `encrypt`, and stay so. What serverPKI encrypted is written anew.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit status:\n  \
    0   done, or nothing to do: keys are kept so already\n  \
    1   a passphrase is missing or wrong, or a key cannot be read; nothing is changed\n  \
    2   no passphrase is configured\n  \
    3   `status`: keys are not kept as is configured, or cannot be opened")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Put all of them under the passphrase
    Encrypt(Switch),
    /// Take the passphrase off all of them
    Decrypt(Switch),
    /// Show how each is kept, and whether it can be opened
    Status {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Switch {
    /// The file of an older passphrase, for keys that the configured one does not open
    #[arg(long, value_name = "FILE")]
    old_passphrase_file: Option<PathBuf>,
    /// Ask for that older passphrase on the terminal
    #[arg(long, conflicts_with = "old_passphrase_file")]
    ask: bool,
    /// Where keys are kept so already, end as serverPKI does: with 1
    #[arg(long, hide = true)]
    refuse_already: bool,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub fn run(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    match &arguments.command {
        Command::Encrypt(asked) => switch(world, Form::Encrypted, asked),
        Command::Decrypt(asked) => switch(world, Form::Clear, asked),
        Command::Status { json } => status(world, *json),
    }
}

fn switch(world: &World<'_>, form: Form, asked: &Switch) -> Result<Status, Failure> {
    let old = match (&asked.old_passphrase_file, asked.ask) {
        (Some(file), _) => {
            let (root, path) = callers(file)?;
            Some(keyring::read(&root, &path).map_err(Failure::Other)?)
        }
        (None, true) => Some(ask("Passphrase of the keys: ")?),
        (None, false) => None,
    };
    let request = Request { form, old: old.as_ref(), dry_run: asked.dry_run };
    match is_meant(world, &[])? {
        true => {
            let done = operate::keys::switch(&mut operation(world)?, &request)?;
            say(asked.json, &done)?;
            if asked.refuse_already && done.is_already() {
                return Ok(Status::Failed);
            }
        }
        false => say(asked.json, &keys::switch(world.clone(), &request)?)?,
    }
    Ok(Status::Done)
}

fn say(json: bool, what: &(impl serde::Serialize + Display)) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match json {
        true => text::json(&mut out, what)?,
        false => what.to_string().lines().try_for_each(|line| writeln!(out, "{}", text::printable(line)))?,
    }
    Ok(())
}

fn status(world: &World<'_>, json: bool) -> Result<Status, Failure> {
    let is_good = match is_meant(world, &[])? {
        true => {
            let status = operate::keys::status(&mut operation(world)?)?;
            say(json, &status)?;
            status.is_good()
        }
        false => {
            let status = keys::status(world)?;
            say(json, &status)?;
            status.is_good()
        }
    };
    Ok(if is_good { Status::Done } else { Status::Stale })
}

/// Asks on the terminal, without showing what is typed.
fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    if !io::stdin().is_terminal() {
        let message = "there is no terminal to ask for the passphrase; write --old-passphrase-file";
        return Err(Failure::Usage(message.to_owned()));
    }
    let typed = rpassword::prompt_password(prompt)?;
    Passphrase::typed(typed).map_err(|error| Failure::Usage(error.to_string()))
}
