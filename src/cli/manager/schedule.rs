//! `reseed manager schedule`

use std::io::{self, Write};

use super::inventory::place;
use super::{Failure, Status, text};
use crate::manager::inventory::model::Name;
use crate::manager::inventory::schedule::{Action, due};
use crate::manager::run::{World, configuration};

/// Say what is due for the certificates of the inventory
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Say what would be done, and change nothing
    #[arg(short = 'n', long, required = true)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Which certificates; else all
    #[arg(value_name = "CERTIFICATE")]
    certificates: Vec<Name>,
}

pub fn run(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let policy = configuration(world)?.site.inventory.policy;
    let mut inventory = place::configured(world)?;
    let some = Some(arguments.certificates.as_slice()).filter(|names| !names.is_empty());
    let (mut actions, mut known): (Vec<Action>, _) = (Vec::new(), 0_usize);
    inventory.standings(some, &mut |standing| {
        known += 1;
        actions.extend(due(&standing, &policy, world.now));
    })?;
    if some.is_some_and(|names| names.len() > known) {
        let says =
            "not all of these certificates are in the inventory; `reseed manager inventory list` names them";
        return Err(Failure::Usage(says.into()));
    }
    let mut out = io::stdout().lock();
    if arguments.json {
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
