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
mod outcome;
mod schedule;
mod status;
mod tlsa_hash;
mod top;
mod verbs;
mod verify;

use std::path::{Path, PathBuf};

use super::{Failure, Status, text};
use crate::manager::manual::import;
use crate::manager::{clean, distribute, renew, revoke, roll, tend};
use crate::reseed::World;
use crate::system::root::Root;

/// The certificate manager
///
/// Certificates of many services, each in a lineage of versions: `curr` is served, `next` waits, `prev` was.
/// They are signed by an own authority or by somebody else's, rolled over so that DANE never breaks, and brought
/// to where they are served. It reads the configuration of ssl-mgr as it is, in conf.d beneath its top directory,
/// and keeps its trees.
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
    Fleet(fleet::Arguments),
    Account(account::Arguments),
    Metrics(metrics::Arguments),
    Keys(keys::Arguments),
    Info(info::Arguments),
    Verify(verify::Arguments),
    Dhparm(dhparm::Arguments),
    TlsaHash(tlsa_hash::Arguments),
}

pub fn run(world: World<'_>, verbose: bool, arguments: &Arguments) -> Result<Status, Failure> {
    let there = || top::world(&world, arguments.topdir.as_deref());
    let report = match &arguments.command {
        Command::Dhparm(arguments) => return dhparm::run(world, arguments),
        Command::Info(arguments) => return info::run(world, verbose, arguments),
        Command::TlsaHash(arguments) => return tlsa_hash::run(arguments),
        Command::Verify(arguments) => return verify::run(world, arguments),
        Command::Status(arguments) => return status::run(&there()?, arguments),
        Command::Check(arguments) => return check::run(&there()?, arguments),
        Command::Inventory(asked) => return inventory::run(&there()?, asked),
        Command::Fleet(asked) => return fleet::run(&there()?, asked),
        Command::Schedule(asked) => return schedule::run(&there()?, asked),
        Command::Account(arguments) => return account::run(there()?, arguments),
        Command::Metrics(arguments) => return metrics::run(&there()?, arguments),
        Command::Csr(asked) => return asked.run(there()?),
        Command::Keys(arguments) => return keys::run(&there()?, arguments),
        Command::Import(asked) => import::import(there()?, &asked.request()?)?,
        Command::Tend(asked) => tend::tend(there()?, &asked.request())?,
        Command::Renew(asked) => renew::renew(there()?, &asked.request())?,
        Command::Roll(asked) => roll::roll(there()?, &asked.request())?,
        Command::Distribute(asked) => distribute::distribute(there()?, &asked.request())?,
        Command::DnsRefresh(asked) => distribute::distribute(there()?, &asked.request())?,
        Command::Clean(asked) => clean::clean(there()?, &asked.request())?,
        Command::Revoke(asked) => revoke::revoke(there()?, &asked.request()?)?,
        Command::Crl(asked) => revoke::lists(there()?, &asked.authorities)?,
    };
    outcome::tell(&report, arguments.command.wants_json())
}

impl Command {
    fn wants_json(&self) -> bool {
        match self {
            Self::Tend(verbs::Tend { json, .. })
            | Self::Renew(verbs::Renew { json, .. })
            | Self::Roll(verbs::Roll { json, .. })
            | Self::Import(manual::Import { json, .. })
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
