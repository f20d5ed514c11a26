//! `reseed manager status`

mod long;
mod table;

use std::io::{self, IsTerminal, Write};

use super::{Failure, Status, text};
use crate::manager::run::World;
use crate::manager::status::status;

/// Show every certificate, until when it is valid and when it is renewed
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
    /// Which services
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

pub fn run(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
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
