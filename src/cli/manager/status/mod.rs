//! `reseed manager status`

mod long;
mod table;

use std::io::{self, IsTerminal, Write};

use super::{Failure, Status, operation, text};
use crate::manager::run::{ManagerError, World, configuration};
use crate::manager::status::status;

/// Show every certificate, until when it is valid and when it is renewed; or how an inventory stands
///
/// Where an inventory is kept: how many certificates and instances there are, what is due next and when, and which
/// hosts could not be served lately. Else every service of the tree.
///
/// Only reads, whatever state the tree is in. On a terminal a table; else, and with --long, every version in the
/// layout of ssl-mgr.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Show every version, on a terminal too
    #[arg(long)]
    long: bool,
    /// Show the names of each certificate too; implies --long
    #[arg(long)]
    sans: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    choice: operation::Choice,
    /// Which services, or which certificates of the inventory
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

pub fn run(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let (words, choice) = (arguments.selection.as_slice(), &arguments.choice);
    // What the tree is like is told whatever is wrong with its configuration.
    let is_broken = matches!(configuration(world), Err(ManagerError::Fault(_)));
    if !is_broken && operation::is_meant(world, words)? {
        operation::refuse_of_tree(&[("--long", arguments.long), ("--sans", arguments.sans)])?;
        return operation::status::run(world, words, choice, arguments.json);
    }
    operation::refuse(choice.is_given())?;
    let seen = status(world, &arguments.selection)?;
    let mut out = io::stdout().lock();
    if arguments.json {
        text::json(&mut out, &seen)?;
        return Ok(Status::Done);
    }
    if out.is_terminal() && !arguments.long && !arguments.sans {
        table::write(&mut out, &seen)?;
    } else {
        long::write(&mut out, &seen, arguments.sans)?;
    }
    for (told, action) in seen.pending.iter().zip(&seen.actions) {
        writeln!(out, "still to be done: {told} (since {})", text::time(action.since))?;
    }
    for limit in &seen.limits {
        let about = limit.service.as_ref().map(|service| format!(" about {service}")).unwrap_or_default();
        let why = text::printable(&limit.why);
        writeln!(out, "{} is not asked{about} until {}: {why}", limit.directory, text::time(limit.until))?;
    }
    let mut messages = io::stderr().lock();
    for fault in &seen.faults {
        writeln!(messages, "{fault}")?;
    }
    Ok(Status::Done)
}

/// A length of time that is not negative, in days; in hours below two of them.
fn days(length: time::Duration) -> String {
    match length.whole_hours().max(0) {
        hours @ 0..48 => format!("{hours} h"),
        hours => format!("{} d", hours / 24),
    }
}
