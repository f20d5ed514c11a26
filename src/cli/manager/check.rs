//! `reseed manager check`

use std::io::{self, Write};

use super::{Failure, Status, text};
use crate::manager::describe::describe;
use crate::manager::load::load;
use crate::manager::run::World;
use crate::manager::select::select;

/// Check the configuration, and say what each service will do
///
/// Exits with 2 when something in it cannot be meant; warnings are for people.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Which services
    #[arg(value_name = "SELECTION")]
    selection: Vec<String>,
}

pub fn run(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let config = load(world.root, &world.top)?;
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
