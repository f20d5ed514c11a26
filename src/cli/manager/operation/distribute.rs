//! `reseed manager distribute` on an inventory, `consolidate` and `tlsa`

use super::{Failure, HostChoice, Selection, Status, operation, told};
use crate::manager::operate::distribute::{self, Request, consolidate};
use crate::manager::operate::publish::{Publication, publish};
use crate::manager::operate::tlsa::{self, tlsa};
use crate::manager::operate::{Certificates, Hosts};
use crate::manager::run::World;

/// `distribute` for an inventory.
pub struct Distribution {
    /// Which certificates.
    pub certificates: Certificates,
    /// Which hosts.
    pub hosts: Hosts,
    /// Only local ones of which the deployed instance ends within so many days.
    pub within: Option<u32>,
    /// TLSA records stay as they are.
    pub no_tlsa: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Write JSON.
    pub json: bool,
}

impl Distribution {
    /// Brings what was issued to its hosts, publishes its records, and notes what is deployed.
    pub fn run(self, world: &World<'_>) -> Result<Status, Failure> {
        let Self { mut certificates, hosts, within, no_tlsa, dry_run, json } = self;
        // What is renewed is looked for among all.
        certificates.all |= within.is_some() && certificates.include.is_empty();
        let request = Request { certificates, hosts, within, dry_run };
        told(operation(world)?, json, |operation| {
            let mut all = |operation: &mut crate::manager::operate::Operation<'_>, wanted: &[_]| {
                let one = |(name, instances): &(crate::manager::inventory::model::Name, Vec<i64>)| {
                    Publication { name: name.clone(), instances: instances.clone() }
                };
                publish(operation, &wanted.iter().map(one).collect::<Vec<_>>())
            };
            let publish: Option<&mut distribute::Publish<'_>> = if no_tlsa { None } else { Some(&mut all) };
            distribute::distribute(operation, &request, publish)
        })
    }
}

/// Bring what is served to its hosts once more
///
/// For hosts that were restored, or whose files were damaged: what is deployed is written there again, and whoever
/// reads it is told. States and TLSA records stay as they are.
#[derive(Debug, clap::Args)]
pub struct Consolidate {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    hosts: HostChoice,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Consolidate {
    /// Does it.
    pub fn run(&self, world: &World<'_>) -> Result<Status, Failure> {
        let request = Request {
            certificates: self.selection.certificates(),
            hosts: self.hosts.hosts(),
            within: None,
            dry_run: self.dry_run,
        };
        told(operation(world)?, self.json, |operation| consolidate(operation, &request))
    }
}

/// Publish the TLSA records of what is served once more, or take them away
///
/// The records of instances that are deployed or prepublished are what is at the names of their certificates then, and
/// nothing else of that type.
#[derive(Debug, clap::Args)]
pub struct Tlsa {
    #[command(flatten)]
    selection: Selection,
    /// Take the records away
    #[arg(long)]
    remove: bool,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Tlsa {
    /// Does it.
    pub fn run(&self, world: &World<'_>) -> Result<Status, Failure> {
        let certificates = self.selection.certificates();
        let request = tlsa::Request { certificates, remove: self.remove, dry_run: self.dry_run };
        told(operation(world)?, self.json, |operation| tlsa(operation, &request))
    }
}
