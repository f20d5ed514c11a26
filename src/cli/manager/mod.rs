//! `reseed manager …`

mod account;
mod check;
mod dhparm;
mod fleet;
mod info;
pub mod inventory;
mod keys;
mod manual;
mod material;
mod metrics;
mod operation;
mod outcome;
mod schedule;
mod status;
mod tlsa_hash;
mod top;
mod verbs;
mod verify;

use std::path::{Path, PathBuf};

use super::{Failure, Status, text};
use crate::manager;
use crate::manager::manual::import;
use crate::manager::operate;
use crate::manager::{clean, distribute, renew, revoke, roll};
use crate::reseed::World;
use crate::system::root::Root;

/// The certificate manager
///
/// Certificates of many services, each in a lineage of versions: `curr` is served, `next` waits, `prev` was.
/// They are signed by an own authority or by somebody else's, rolled over so that DANE never breaks, and brought
/// to where they are served. It reads the configuration of ssl-mgr as it is, in conf.d beneath its top directory,
/// and keeps its trees.
///
/// A site with many hosts keeps an inventory instead, in files or in PostgreSQL: which certificates there are, where
/// they go, in which state each is. Where there is one, CERTIFICATE is what it calls a certificate.
///
/// SELECTION is GROUP, GROUP/SERVICE or GROUP:SERVICE,SERVICE; none means the groups that are active.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The top directory
    ///
    /// Else $SSL_MGR_TOPDIR, the current directory, /etc/reseed/manager or /etc/ssl-mgr: the first that has a
    /// directory conf.d.
    #[arg(long, global = true, value_name = "DIR")]
    topdir: Option<PathBuf>,
    /// The configuration of serverPKI, instead of a tree's
    ///
    /// Its inventory is the database that it names; our own state lies in its directory db.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "topdir")]
    config: Option<PathBuf>,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Status(status::Arguments),
    Check(check::Arguments),
    Tend(verbs::Tend),
    Renew(verbs::Renew),
    Roll(verbs::Roll),
    Csr(manual::Csr),
    Import(manual::Import),
    Distribute(verbs::Distribute),
    DnsRefresh(verbs::DnsRefresh),
    Clean(verbs::Clean),
    Revoke(verbs::Revoke),
    Crl(verbs::Crl),
    Inventory(inventory::Arguments),
    Schedule(schedule::Arguments),
    Issue(operation::Issue),
    Consolidate(operation::Consolidate),
    Tlsa(operation::Tlsa),
    Ca(operation::Ca),
    Export(operation::Export),
    Register(operation::Register),
    Fleet(fleet::Arguments),
    Account(account::Arguments),
    Metrics(metrics::Arguments),
    Keys(keys::Arguments),
    Info(info::Arguments),
    Verify(verify::Arguments),
    Dhparm(dhparm::Arguments),
    TlsaHash(tlsa_hash::Arguments),
}

impl Arguments {
    /// Takes this configuration of serverPKI where none was named.
    pub fn or_config(&mut self, file: &Path) {
        self.config.get_or_insert_with(|| file.to_owned());
    }

    /// Whether a configuration of serverPKI was named.
    pub fn has_config(&self) -> bool {
        self.config.is_some()
    }
}

pub fn run(world: World<'_>, verbose: bool, arguments: &Arguments) -> Result<Status, Failure> {
    outcome::quietly(arguments.quiet);
    let place = || top::place(&world, arguments.topdir.as_deref(), arguments.config.as_deref());
    let there = || place().map(|place| place.world);
    let report = match &arguments.command {
        Command::Dhparm(arguments) => return dhparm::run(world, arguments),
        Command::Info(arguments) => return info::run(world, verbose, arguments),
        Command::TlsaHash(arguments) => return tlsa_hash::run(arguments),
        Command::Verify(arguments) => return verify::run(world, arguments),
        Command::Status(arguments) => return status::run(&there()?, arguments),
        Command::Check(arguments) => return check::run(&there()?, verbose, arguments),
        Command::Inventory(asked) => return inventory::run(&there()?, asked),
        Command::Fleet(asked) => return fleet::run(&there()?, asked),
        Command::Schedule(asked) => return schedule::run(&ready(place()?, asked.is_dry())?, asked),
        Command::Issue(asked) => return asked.run(&ready(place()?, asked.is_dry())?),
        Command::Consolidate(asked) => return asked.run(&there()?),
        Command::Tlsa(asked) => return asked.run(&there()?),
        Command::Ca(asked) => return asked.run(&there()?),
        Command::Export(asked) => {
            let place = place()?;
            return asked.run(&place.world, place.serverpki.as_ref().map(|taken| taken.work.as_path()));
        }
        Command::Register(asked) => return asked.run(place()?),
        Command::Account(arguments) => return account::run(there()?, arguments),
        Command::Metrics(arguments) => return metrics::run(&there()?, arguments),
        Command::Csr(asked) => return asked.run(there()?),
        Command::Keys(arguments) => return keys::run(&there()?, arguments),
        Command::Import(asked) => import::import(there()?, &asked.request()?)?,
        Command::Tend(asked) => {
            let world = ready(place()?, asked.is_dry())?;
            return operation::tend::run(&world, &asked.request(), asked.json);
        }
        Command::Renew(asked) => {
            let world = there()?;
            if let Some(renewal) = asked.of_inventory(&world)? {
                return renewal.run(&world);
            }
            renew::renew(world, &asked.request())?
        }
        Command::Roll(asked) => roll::roll(there()?, &asked.request())?,
        Command::Distribute(asked) => {
            let world = there()?;
            if let Some(distribution) = asked.of_inventory(&world)? {
                return distribution.run(&world);
            }
            distribute::distribute(world, &asked.request())?
        }
        Command::DnsRefresh(asked) => distribute::distribute(there()?, &asked.request())?,
        Command::Clean(asked) => clean::clean(there()?, &asked.request())?,
        Command::Revoke(asked) => {
            let world = there()?;
            if let Some(request) = asked.of_inventory(&world)? {
                let operation = operation::operation(&world)?;
                return operation::told(operation, asked.json, |op| operate::revoke::revoke(op, &request));
            }
            revoke::revoke(world, &asked.request()?)?
        }
        Command::Crl(asked) => revoke::lists(there()?, &asked.authorities)?,
    };
    outcome::tell(&report, arguments.command.wants_json())
}

/// Before certificates are ordered, the account of serverPKI is ours.
fn ready(place: top::Place<'_>, dry_run: bool) -> Result<manager::run::World<'_>, Failure> {
    if let Some(taken) = place.serverpki.as_ref().filter(|_| !dry_run) {
        operation::adopt(&place.world, &taken.account)?;
    }
    Ok(place.world)
}

impl Command {
    fn wants_json(&self) -> bool {
        match self {
            Self::Renew(verbs::Renew { json, .. })
            | Self::Roll(verbs::Roll { json, .. })
            | Self::Import(manual::Import { json, .. })
            | Self::Revoke(verbs::Revoke { json, .. })
            | Self::Distribute(verbs::Distribute { json, .. }) => *json,
            _ => false,
        }
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
