//! `reseed manager metrics`

use std::io::{self, Write};
use std::path::PathBuf;

use super::{Failure, Status, callers};
use crate::manager::metrics::text;
use crate::manager::run::World;
use crate::manager::status::status;
use crate::transaction::replace;

/// Write metrics for Prometheus: when certificates end and are due, what is still to be done, when what last succeeded
///
/// Only reads. With metrics_file in the configuration the same is written at the end of every run that holds the
/// lock, for the textfile collector of node_exporter.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write them to this file, all of it at once
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let text = text(&status(world, &[])?);
    match &arguments.output {
        Some(file) => {
            let (root, path) = callers(file)?;
            replace(&root, &path, text.as_bytes(), 0o644)?;
        }
        None => io::stdout().lock().write_all(text.as_bytes())?,
    }
    Ok(Status::Done)
}
