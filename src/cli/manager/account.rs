//! `reseed manager account`: who we are to public authorities.

use std::io::{self, Write};
use std::path::PathBuf;

use super::{Failure, Status, text};
use crate::manager::accounts;
use crate::manager::run::World;

/// See to the accounts with public authorities
///
/// One is made by itself when a certificate is ordered first; there is one for each directory and contact.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the accounts that there are
    Show {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Make an account, or find the one that there is
    Register(Which),
    /// Give an account a new key
    ///
    /// The old key is worth nothing afterwards. A run that is interrupted finds out which of both the authority
    /// knows.
    RollKey(Which),
    /// Close an account for good
    ///
    /// Certificates stay valid; nothing can be ordered or revoked with it any more.
    Deactivate(Which),
    /// Take over certbot's account
    ///
    /// Its key is taken as it is, so certbot can go on with it.
    Import {
        #[command(flatten)]
        which: Which,
        /// The account's directory, with private_key.json in it: beneath /etc/letsencrypt/accounts, or in `cb`
        /// beside a service of ssl-mgr
        #[arg(value_name = "DIR")]
        from: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The directory for tests
    #[arg(long)]
    staging: bool,
    /// How the authority reaches whoever answers for it, instead of ca_contact
    #[arg(long, value_name = "URL")]
    contact: Vec<String>,
    /// The authority's name in ca-info.conf
    #[arg(value_name = "CA")]
    authority: String,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let (which, request) = match &arguments.command {
        Command::Show { json } => return show(&world, *json),
        Command::Register(which) => (which, accounts::Request::Register),
        Command::RollKey(which) => (which, accounts::Request::RollKey),
        Command::Deactivate(which) => (which, accounts::Request::Deactivate),
        Command::Import { which, from } => {
            let from = super::top::inside(world.root, from)?;
            (which, accounts::Request::Import(from))
        }
    };
    let which = accounts::Which {
        authority: which.authority.clone(),
        contact: which.contact.clone(),
        staging: which.staging,
    };
    super::outcome::tell(&accounts::change(world, &which, &request)?, false)
}

fn show(world: &World<'_>, json: bool) -> Result<Status, Failure> {
    let all = accounts::all(world)?;
    let mut out = io::stdout().lock();
    if json {
        text::json(&mut out, &all)?;
        return Ok(Status::Done);
    }
    for account in &all {
        let kind = if account.staging { ", for tests" } else { "" };
        let contact = match account.contact.is_empty() {
            true => "nobody to be reached".to_owned(),
            false => account.contact.join(", "),
        };
        let line = format!("{} ({contact}; since {}{kind})", account.url, account.since.date());
        writeln!(out, "{}", text::printable(&line))?;
    }
    Ok(Status::Done)
}
