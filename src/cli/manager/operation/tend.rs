//! `reseed manager tend` where an inventory is kept: what is due in the tree, and then in the inventory.

use std::io::{self, Write};

use serde_json::json;

use super::super::{Failure, Status, outcome, text};
use super::{is_kept, is_of_tree, names, operation, tell};
use crate::manager::inventory::model::Name;
use crate::manager::operate::schedule::{Request, look, schedule};
use crate::manager::operate::{Certificates, Hosts};
use crate::manager::run::{World, configuration};
use crate::manager::tend::{self, tend};

/// Does what is due in both; where one fails, the other is seen to all the same, and the first failure is told.
pub fn run(world: &World<'_>, request: &tend::Request, as_json: bool) -> Result<Status, Failure> {
    let config = configuration(world)?;
    let words = &request.selection;
    let in_inventory = !is_of_tree(words) && is_kept(world, &config)?;
    // A name is that of a certificate; all means both.
    let in_tree = !in_inventory || words.is_empty() && !config.services.is_empty();
    let tree = if in_tree { Some(tend(world.clone(), request)) } else { None };
    if !in_inventory {
        return match tree {
            Some(report) => outcome::tell(&report?, as_json),
            None => Ok(Status::Done),
        };
    }
    let mut op = operation(world)?;
    let include: Vec<Name> = names(words)?;
    let certificates = Certificates { all: include.is_empty(), include, exclude: Vec::new() };
    if request.dry_run {
        let named = match certificates.is_all() {
            true => None,
            false => Some(certificates.among(&op.inventory.objects()?)?),
        };
        let (known, actions) = look(&mut op, named.as_deref())?;
        let mut out = io::stdout().lock();
        if as_json {
            let tree = tree.transpose()?;
            let inventory = json!({ "certificates": known, "due": actions });
            text::json(&mut out, &json!({ "tree": tree, "inventory": inventory }))?;
            return Ok(Status::Done);
        }
        drop(out);
        let status = tree.map_or(Ok(Status::Done), |report| outcome::tell(&report?, false));
        let mut out = io::stdout().lock();
        for action in &actions {
            let certificate = text::printable(action.certificate.as_str());
            writeln!(out, "{certificate}: {} would be done: {}", action.step.name(), action.because)?;
        }
        return status;
    }
    let request = Request { certificates, hosts: Hosts::default(), with_records: true };
    let done = schedule(&mut op, &request);
    if as_json {
        let tree = tree.transpose()?;
        text::json(&mut io::stdout().lock(), &json!({ "tree": tree, "inventory": &op.report }))?;
        done?;
        let failed = op.report.has_failed() || tree.is_some_and(|report| report.has_failed());
        return Ok(if failed { Status::Failed } else { Status::Done });
    }
    let first = tree.map_or(Ok(Status::Done), |report| outcome::tell(&report?, false));
    let second = tell(&op.report, false)?;
    done?;
    Ok(if first? == Status::Done { second } else { Status::Failed })
}
