//! `reseed manager schedule`

use std::io::{self, Write};

use super::operation::{HostChoice, Selection, operation, told};
use super::{Failure, Status, text};
use crate::manager::inventory::schedule::Action;
use crate::manager::operate::schedule::{Request, look, schedule};
use crate::manager::operate::{Certificates, Operation};
use crate::manager::run::World;

/// Do what is due for the certificates of the inventory
///
/// Public ones are issued, their TLSA records published beside those of what is served, and brought to their hosts
/// when it is time; what has ended is filed. Of local ones somebody is reminded. Any number of managers may do this
/// at once: each certificate is one manager's at a time. What fails stays as it is and is tried at the next run.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    hosts: HostChoice,
    /// Leave TLSA records as they are
    #[arg(long)]
    no_tlsa: bool,
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Nothing is done.
    pub fn is_dry(&self) -> bool {
        self.dry_run
    }
}

pub fn run(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let named = arguments.selection.certificates();
    // Whatever is due is meant where nothing is named.
    let certificates = Certificates { all: named.all || named.include.is_empty(), ..named };
    let operation = operation(world)?;
    if arguments.dry_run {
        return foretell(operation, &certificates, arguments.json);
    }
    let request = Request { certificates, hosts: arguments.hosts.hosts(), with_records: !arguments.no_tlsa };
    told(operation, arguments.json, |operation| schedule(operation, &request))
}

fn foretell(mut op: Operation<'_>, choice: &Certificates, json: bool) -> Result<Status, Failure> {
    let names = match choice.is_all() {
        true => None,
        false => Some(choice.among(&op.inventory.objects()?)?),
    };
    let (known, actions) = look(&mut op, names.as_deref())?;
    let mut out = io::stdout().lock();
    if json {
        text::json(&mut out, &serde_json::json!({ "certificates": known, "due": actions }))?;
        return Ok(Status::Done);
    }
    if actions.is_empty() {
        writeln!(out, "Nothing is due for {known} certificates.")?;
        return Ok(Status::Done);
    }
    let widths =
        actions.iter().map(|action| action.certificate.as_str().chars().count()).max().unwrap_or_default();
    for Action { certificate, step, because } in &actions {
        let instance = step.instance().map(|id| id.to_string()).unwrap_or_default();
        let certificate = text::printable(certificate.as_str());
        let line = format!(
            "{certificate:<widths$}  {:<10} {instance:>8}  {because}; {}",
            step.name(),
            step.particulars()
        );
        writeln!(out, "{}", line.trim_end().trim_end_matches(';'))?;
    }
    Ok(Status::Done)
}
