//! `reseed manager check` on an inventory: what is wrong, and two tables.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use time::OffsetDateTime;

use super::super::{Failure, Status, text};
use super::{Choice, names, operation};
use crate::manager::inventory::schedule::minute;
use crate::manager::operate::check::{Finding, InstanceRow, Row, Seen, check};
use crate::manager::run::World;

/// What is asked.
pub struct Request<'a> {
    /// Names of certificates.
    pub words: &'a [String],
    /// Which others.
    pub choice: &'a Choice,
    /// With the tables.
    pub verbose: bool,
    /// As JSON.
    pub json: bool,
}

/// Looks, and tells.
pub fn run(world: &World<'_>, request: &Request<'_>) -> Result<Status, Failure> {
    let mut op = operation(world)?;
    let chosen = request.choice.with(&names(request.words)?);
    let seen = check(&mut op, &chosen, request.verbose)?;
    let mut out = io::stdout().lock();
    if request.json {
        text::json(&mut out, &seen)?;
    } else {
        if request.verbose {
            certificates(&mut out, &seen.certificates)?;
            writeln!(out)?;
            instances(&mut out, &seen.instances)?;
        }
        tell(&mut out, &seen, request.verbose)?;
    }
    let (config, mut messages) = (&op.config, io::stderr().lock());
    for warning in &config.warnings {
        writeln!(messages, "warning: {warning}")?;
    }
    for fault in &config.faults {
        writeln!(messages, "{fault}")?;
    }
    Ok(match (config.faults.is_empty(), seen.findings.is_empty()) {
        (false, _) => Status::Wrong,
        (true, false) => Status::Stale,
        (true, true) => Status::Done,
    })
}

/// Below tables, what is wrong is a message.
fn tell(out: &mut impl Write, seen: &Seen, beside_tables: bool) -> Result<(), Failure> {
    let mut messages = io::stderr().lock();
    for Finding { certificate, instance, says } in &seen.findings {
        let whose = match (certificate, instance) {
            (Some(name), Some(instance)) => format!("{name}, instance {instance}: "),
            (Some(name), None) => format!("{name}: "),
            (None, _) => String::new(),
        };
        writeln!(messages, "{}", text::printable(&format!("{whose}{says}")))?;
    }
    for note in &seen.notes {
        writeln!(messages, "note: {note}")?;
    }
    if !beside_tables {
        let (certificates, wrong) = (seen.looked_at, seen.findings.len());
        match wrong {
            0 => writeln!(out, "Nothing is wrong with {certificates} certificates.")?,
            _ => writeln!(out, "{wrong} things are wrong with {certificates} certificates.")?,
        }
    }
    Ok(())
}

/// With the columns that serverPKI's table has; a row for each place where a certificate goes.
fn certificates(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let head = [
        "Subject",
        "Cert Name",
        "Type",
        "Algo",
        "OCSP m st",
        "authorized",
        "Alt Name",
        "TLSA",
        "Port",
        "Dist Host",
        "Jail",
        "Place",
    ];
    let row = |it: &Row| {
        let joined = |values: Vec<String>| values.join(", ");
        vec![
            it.subject.to_string(),
            format!("{}{}", it.certificate, if it.disabled { " [DISABLED]" } else { "" }),
            it.kind.to_string(),
            it.algorithms.to_string(),
            truth(it.must_staple),
            time(it.authorized_until),
            joined(it.names.iter().map(ToString::to_string).collect()),
            joined(it.services.iter().map(|service| service.name.to_string()).collect()),
            joined(it.services.iter().map(|service| service.port.to_string()).collect()),
            it.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            it.jail.as_ref().map(ToString::to_string).unwrap_or_default(),
            it.place.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]
    };
    table(out, &head, rows.iter().map(row))
}

/// Likewise; a row for each key of an instance.
fn instances(out: &mut impl Write, rows: &[InstanceRow]) -> io::Result<()> {
    let head = [
        "Serial",
        "Cert Name",
        "Type",
        "State",
        "CI CA",
        "OCSP m st",
        "not before",
        "not after",
        "ALGO",
        "Hash",
        "updated",
    ];
    let row = |it: &InstanceRow| {
        vec![
            it.instance.to_string(),
            it.certificate.to_string(),
            it.kind.to_string(),
            it.state.to_string(),
            it.issuer.map(|issuer| issuer.to_string()).unwrap_or_default(),
            truth(it.must_staple),
            time(it.not_before),
            time(it.not_after),
            it.algorithm.map(|algorithm| algorithm.to_string()).unwrap_or_default(),
            it.digest.clone().unwrap_or_default(),
            time(it.updated),
        ]
    };
    table(out, &head, rows.iter().map(row))
}

fn truth(flag: bool) -> String {
    if flag { "True".into() } else { "False".into() }
}

fn time(time: Option<OffsetDateTime>) -> String {
    time.map(|time| minute(time).to_string()).unwrap_or_default()
}

/// One line a row, however long: so that other programs can read it.
fn table(out: &mut impl Write, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| text::printable(cell)));
    }
    writeln!(out, "{table}")
}
