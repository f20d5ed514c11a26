//! `reseed status`

mod push;
mod report;

use std::io::{self, Write};

use super::{Failure, Status, text};
use crate::plan::{Action, Request};
use crate::reseed::{Outlook, World, look};

/// Show who the machine is, what is stale and why, and what is held back
///
/// With --push the same goes to the inventory of the site, where `reseed manager fleet` puts together what all
/// machines say: with the certificates that lie here and the fingerprints of keys, and never with a secret. Where it
/// goes stands in /etc/reseed/reseed.toml:
///
/// fleet.push = "postgresql://db.example.com/pki?sslmode=verify-full"
///
/// or the directory of an inventory, or ssh://user@host, where `reseed manager fleet receive` is called. When that
/// fails, the status is shown all the same, and the exit status is 1.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Report to the inventory of the site, too
    #[arg(long)]
    push: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let seen = look(world, &Request::default())?;
    show(&seen, arguments.json)?;
    if arguments.push {
        push::push(world, &seen.settings.fleet, &report::report(world, &seen)?)?;
    }
    Ok(if seen.faults.is_empty() { Status::Done } else { Status::Wrong })
}

fn show(seen: &Outlook, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        text::json(
            &mut out,
            &serde_json::json!({
                "identity": seen.plan.identity,
                "kinds": seen.plan.kinds,
                "name": seen.plan.name,
                "put-off": seen.plan.put_off,
                "stale": seen.plan.is_stale(),
                "hooks": seen.plan.hooks,
                "idle": seen.facts.idle,
                "failures": seen.ledger.failure,
                "gates": seen.ledger.gate,
                "waivers": seen.ledger.waiver,
                "faults": seen.faults,
                "notes": seen.notes,
            }),
        )
    } else {
        write(&mut out, seen)
    }
}

fn write(out: &mut impl Write, seen: &Outlook) -> io::Result<()> {
    match (&seen.plan.name, &seen.plan.put_off) {
        (Some(name), _) => writeln!(out, "This machine is {name}.")?,
        (None, Some(why)) => writeln!(out, "This machine has no name for a certificate: {why}")?,
        (None, None) => {}
    }
    text::kinds(out, &seen.plan.kinds)?;
    text::identity(out, &seen.plan.identity)?;
    writeln!(out)?;
    for hook in &seen.plan.hooks {
        let stale = seen.plan.serves_stale(hook);
        let left = !hook.tasks.is_empty() && hook.tasks.iter().all(|task| task.action == Action::Leave);
        let state = match (stale, left, hook.tasks.is_empty() && hook.borrowed.is_empty()) {
            (true, ..) => "STALE",
            (_, true, _) => "not ours",
            (_, _, true) => "nothing",
            _ => "fresh",
        };
        writeln!(out, "{:<9} {}", state, hook.hook)?;
        for task in &hook.tasks {
            writeln!(out, "          {}", text::files(task))?;
            writeln!(out, "          {}", task.verdict)?;
            if let Some(source) = text::source(task) {
                writeln!(out, "          {source}")?;
            }
            if let Some(fingerprint) = &task.fingerprint {
                writeln!(out, "          {fingerprint}")?;
            }
            for reason in &task.reasons {
                writeln!(out, "          because {reason}")?;
            }
        }
        for (path, owner) in &hook.borrowed {
            writeln!(out, "          {} is made by {owner}", path.display())?;
        }
        for problem in &hook.problems {
            writeln!(out, "          note: {problem}")?;
        }
        if let Some(failure) = seen.ledger.failure.get(&hook.hook) {
            let (last, count) = (text::time(failure.last), failure.attempts);
            writeln!(out, "          failed {count} in a row, last on {last}: {}", failure.error)?;
            writeln!(
                out,
                "          tried again by `reseed apply`, at the next boot, by itself from {}",
                text::time(failure.again_at())
            )?;
        }
    }
    for (hook, why) in &seen.facts.idle {
        writeln!(out, "{:<9} {hook}: {why}", "idle")?;
    }
    for (unit, gate) in &seen.ledger.gate {
        writeln!(
            out,
            "{:<9} {unit} ({}) since {}: {}",
            "HELD",
            gate.policy,
            text::time(gate.since),
            gate.reason
        )?;
        writeln!(
            out,
            "          it is let go by the first `reseed apply` that makes it fresh; \
             to let it go as it is: reseed release {unit} --anyway"
        )?;
    }
    for (unit, waiver) in &seen.ledger.waiver {
        let since = text::time(waiver.since);
        writeln!(
            out,
            "{:<9} {unit} since {since}, although it is stale, because it was asked for",
            "LET GO"
        )?;
    }
    for fault in &seen.faults {
        writeln!(out, "{:<9} {fault}", "FAULT")?;
    }
    for note in &seen.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}
