//! `reseed manager issue`, and `renew` for an inventory

use super::{Failure, Selection, Status, operation, told};
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
    pub fn run(&self, world: &World<'_>) -> Result<Status, Failure> {
        let only = if self.missing { Only::Missing } else { Only::Any };
        let certificates = self.selection.certificates();
        let request = Request { certificates, only, dry_run: self.dry_run };
        told(operation(world)?, self.json, |operation| issue(operation, &request))
    }
}

/// Have successors made of local certificates that end soon
///
/// Those whose deployed instance ends within so many days and that have no successor yet; disabled ones only when
/// they are named.
#[derive(Debug, clap::Args)]
pub struct Renew {
    #[command(flatten)]
    selection: Selection,
    /// How many days before its end
    #[arg(long, value_name = "DAYS")]
    within: u32,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Renew {
    pub fn run(&self, world: &World<'_>) -> Result<Status, Failure> {
        let only = Only::Ending(self.within);
        let request = Request { certificates: self.selection.or_all(), only, dry_run: self.dry_run };
        told(operation(world)?, self.json, |operation| issue(operation, &request))
    }
}
