//! `reseed manager export`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::{callers, shown};
use super::{Failure, Status, operation};
use crate::manager::operate::export::export;
use crate::manager::run::World;

/// Write certificates and keys of an instance into files
///
/// They are called cert-ID-rsa.pem and key-ID-rsa.pem, likewise with ec. Keys are in clear, for their owner alone.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The number of the instance
    #[arg(value_name = "ID")]
    instance: i64,
    /// Where to; else the current directory, or serverPKI's work directory
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl Export {
    /// `work` is where instances are exported to where nothing is said.
    pub fn run(&self, world: &World<'_>, work: Option<&Path>) -> Result<Status, Failure> {
        let to = self.to.as_deref().or(work).unwrap_or_else(|| Path::new("."));
        let (root, directory) = callers(to)?;
        let mut operation = operation(world)?;
        let written = export(&mut operation, self.instance, &root, &directory)?;
        let mut out = io::stdout().lock();
        written.iter().try_for_each(|path| writeln!(out, "{}", shown(path)))?;
        Ok(Status::Done)
    }
}
