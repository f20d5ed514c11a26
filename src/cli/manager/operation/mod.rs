//! Commands on the inventory of a fleet: which certificates and hosts they are about, and how what was done is told.

mod ca;
pub mod check;
mod distribute;
mod export;
mod issue;
mod register;
pub mod status;
pub mod tend;

use std::io::{self, Write};

use super::inventory::place;
use super::{Failure, Status, outcome, text};
use crate::manager::config::Configuration;
use crate::manager::inventory::model::Name;
use crate::manager::operate::{Certificates, Hosts, OperateError, Operation, Report};
use crate::manager::run::{World, configuration};
pub use ca::Ca;
pub use distribute::{Consolidate, Distribution, Tlsa};
pub use export::Export;
pub use issue::{Issue, Renewal};
pub use register::{Register, adopt};

/// Which certificates, besides those that are named.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Certificates of the inventory")]
pub struct Choice {
    /// Every certificate, but authorities
    #[arg(long)]
    pub all: bool,
    /// This one, too; may be given more than once
    #[arg(long, value_name = "CERTIFICATE")]
    pub include: Vec<Name>,
    /// Not this one; may be given more than once
    #[arg(long, value_name = "CERTIFICATE")]
    pub exclude: Vec<Name>,
}

/// Which certificates, by their names too.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Selection {
    /// Which certificates
    #[arg(value_name = "CERTIFICATE")]
    pub names: Vec<Name>,
    #[command(flatten)]
    pub choice: Choice,
}

/// Which hosts are served.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Hosts of the inventory")]
pub struct HostChoice {
    /// Leave this host out; may be given more than once
    #[arg(long, value_name = "HOST")]
    pub skip_host: Vec<Name>,
    /// Serve only this host; may be given more than once
    #[arg(long, value_name = "HOST")]
    pub only_host: Vec<Name>,
}

impl Choice {
    /// With those that are named.
    pub fn with(&self, names: &[Name]) -> Certificates {
        let include = names.iter().chain(&self.include).cloned().collect();
        Certificates { all: self.all, include, exclude: self.exclude.clone() }
    }

    /// Says whether it says anything: then the inventory is meant.
    pub fn is_given(&self) -> bool {
        self.all || !self.include.is_empty() || !self.exclude.is_empty()
    }
}

impl Selection {
    /// The certificates that are meant.
    pub fn certificates(&self) -> Certificates {
        self.choice.with(&self.names)
    }
}

impl HostChoice {
    /// The hosts that are meant.
    pub fn hosts(&self) -> Hosts {
        Hosts {
            only: self.only_host.iter().cloned().collect(),
            skip: self.skip_host.iter().cloned().collect(),
        }
    }

    /// Says whether it says anything: then the inventory is meant.
    pub fn is_given(&self) -> bool {
        !self.only_host.is_empty() || !self.skip_host.is_empty()
    }
}

/// Says whether a fleet's inventory is kept here: it is configured, or it lies beneath the top directory.
pub fn is_kept(world: &World<'_>, config: &Configuration) -> Result<bool, Failure> {
    // Reports of machines may lie in that directory without any inventory.
    let there = || world.root.status(&world.top.join("inventory/objects.toml"));
    Ok(config.site.inventory.is_configured || there()?.is_some())
}

/// Says whether a command that both have is about the inventory: where one is kept, unless the selection can only
/// mean services of the tree.
pub fn is_meant(world: &World<'_>, selection: &[String]) -> Result<bool, Failure> {
    Ok(!is_of_tree(selection) && is_kept(world, &configuration(world)?)?)
}

/// Says whether a selection can only mean services of the tree.
pub fn is_of_tree(selection: &[String]) -> bool {
    selection.iter().any(|word| word.contains(['/', ':']))
}

/// Where no inventory is kept, what only an inventory has cannot be asked for.
pub fn refuse(is_given: bool) -> Result<(), Failure> {
    let says = "--all, --include, --exclude, --skip-host, --only-host, --no-tlsa, --within and --instance are about \
                the certificates of an inventory, and none is kept here, or the selection is one of the tree";
    if is_given { Err(Failure::Usage(says.into())) } else { Ok(()) }
}

/// What only a tree has cannot be asked of an inventory.
pub fn refuse_of_tree(given: &[(&str, bool)]) -> Result<(), Failure> {
    let given: Vec<&str> = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
    if given.is_empty() {
        return Ok(());
    }
    let says = format!(
        "{} is about services of the tree, and an inventory is kept here; name the services as GROUP/SERVICE",
        given.join(", ")
    );
    Err(Failure::Usage(says))
}

/// Words of the command line as names of certificates.
pub fn names(words: &[String]) -> Result<Vec<Name>, Failure> {
    words.iter().map(|word| Name::new(word).map_err(|refusal| Failure::Usage(refusal.to_string()))).collect()
}

/// What works on the inventory that is configured.
pub fn operation<'a>(world: &World<'a>) -> Result<Operation<'a>, Failure> {
    let config = configuration(world)?;
    Ok(Operation::new(world.clone(), config, place::configured(world)?))
}

/// Does work and tells what was done, also where it ended early.
pub fn told(
    mut operation: Operation<'_>,
    json: bool,
    work: impl FnOnce(&mut Operation<'_>) -> Result<(), OperateError>,
) -> Result<Status, Failure> {
    let done = work(&mut operation);
    let status = tell(&operation.report, json)?;
    done?;
    Ok(status)
}

/// Writes the report and finds the exit status.
pub fn tell(report: &Report, json: bool) -> Result<Status, Failure> {
    let (mut out, quiet) = (io::stdout().lock(), outcome::is_quiet());
    match (json, quiet) {
        (true, _) => text::json(&mut out, report)?,
        (false, true) => {}
        (false, false) => write!(out, "{report}")?,
    }
    let mut messages = io::stderr().lock();
    if quiet && !json {
        use crate::manager::operate::Outcome;
        for (name, outcomes) in &report.certificates {
            for outcome in outcomes {
                if let Outcome::Failed(says) = outcome {
                    writeln!(messages, "reseed: {name}: {}", text::printable(says))?;
                }
            }
        }
    }
    for failure in &report.failures {
        writeln!(messages, "reseed: {}", text::printable(failure))?;
    }
    Ok(if report.has_failed() { Status::Failed } else { Status::Done })
}

impl From<OperateError> for Failure {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::Inventory(error) => Self::Inventory(error),
            OperateError::Usage(says) => Self::Usage(says),
            OperateError::Failed(says) => Self::Other(says),
        }
    }
}
