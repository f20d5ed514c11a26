//! `reseed manager check`

use std::io::{self, Write};

use super::{Failure, Status, operation, text};
use crate::manager::describe::describe;
use crate::manager::load::load;
use crate::manager::run::World;
use crate::manager::select::select;

/// Check the configuration and say what each service will do, or check an inventory
///
/// Of a tree: what each service will do. Of an inventory, where one is kept: objects that break the rules, instances
/// without keys, keys that do not belong to their certificates, dates and names that differ, issuers that are
/// missing; with --verbose two tables, of certificates with where they go, and of their instances.
///
/// Exits with 2 when something in the configuration cannot be meant, and with 3 when something is wrong with the
/// inventory; warnings are for people.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    choice: operation::Choice,
    /// Which services, or which certificates of the inventory
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

pub fn run(world: &World<'_>, verbose: bool, arguments: &Arguments) -> Result<Status, Failure> {
    let (words, choice) = (arguments.selection.as_slice(), &arguments.choice);
    let config = match &world.config {
        Some(config) => config.as_ref().clone(),
        None => load(world.root, &world.top)?,
    };
    if !config.is_broken && !operation::is_of_tree(words) && operation::is_kept(world, &config)? {
        let request = operation::check::Request { words, choice, verbose, json: arguments.json };
        return operation::check::run(world, &request);
    }
    operation::refuse(choice.is_given())?;
    let mut outlooks = describe(&config);
    if !arguments.selection.is_empty() {
        let chosen = select(&config, &arguments.selection).map_err(Failure::Usage)?;
        outlooks.retain(|outlook| chosen.contains(&outlook.service));
    }
    let mut out = io::stdout().lock();
    if arguments.json {
        let (faults, warnings) = (&config.faults, &config.warnings);
        let all = serde_json::json!({ "services": outlooks, "faults": faults, "warnings": warnings });
        text::json(&mut out, &all)?;
    } else {
        for outlook in &outlooks {
            writeln!(out, "{outlook}")?;
        }
        let mut messages = io::stderr().lock();
        for warning in &config.warnings {
            writeln!(messages, "warning: {warning}")?;
        }
        for fault in &config.faults {
            writeln!(messages, "{fault}")?;
        }
    }
    Ok(if config.faults.is_empty() { Status::Done } else { Status::Wrong })
}
