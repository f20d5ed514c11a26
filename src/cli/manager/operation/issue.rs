//! `reseed manager issue`, and `renew` for an inventory

use super::{Failure, Selection, Status, operation, told};
use crate::manager::operate::Certificates;
use crate::manager::operate::issue::{Only, Request, issue};
use crate::manager::run::World;

/// Have new instances of certificates of the inventory made
///
/// Local certificates are signed by the own authority, the others are acquired by ACME. What is there already stays
/// as it is; `distribute` or `schedule` brings the new one out. One that fails holds up no other.
#[derive(Debug, clap::Args)]
pub struct Issue {
    #[command(flatten)]
    selection: Selection,
    /// Only those that have no instance that is valid and whole
    #[arg(long)]
    missing: bool,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Issue {
    /// Nothing is done.
    pub fn is_dry(&self) -> bool {
        self.dry_run
    }

    pub fn run(&self, world: &World<'_>) -> Result<Status, Failure> {
        let only = if self.missing { Only::Missing } else { Only::Any };
        let certificates = self.selection.certificates();
        let request = Request { certificates, only, dry_run: self.dry_run };
        told(operation(world)?, self.json, |operation| issue(operation, &request))
    }
}

/// `renew` for an inventory.
pub struct Renewal {
    /// Which certificates; all where nothing is said.
    pub certificates: Certificates,
    /// How many days before its end; nothing for when somebody would be reminded.
    pub within: Option<u32>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Write JSON.
    pub json: bool,
}

impl Renewal {
    /// Has successors made of local certificates that end soon and have none yet.
    pub fn run(self, world: &World<'_>) -> Result<Status, Failure> {
        let operation = operation(world)?;
        let days = self.within.unwrap_or(operation.config.site.inventory.policy.remind_days);
        let certificates = Certificates {
            all: self.certificates.all || self.certificates.include.is_empty(),
            ..self.certificates
        };
        let request = Request { certificates, only: Only::Ending(days), dry_run: self.dry_run };
        told(operation, self.json, |operation| issue(operation, &request))
    }
}
