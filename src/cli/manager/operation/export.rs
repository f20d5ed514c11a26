//! `reseed manager export`

use std::io::{self, Write};
use std::path::PathBuf;

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
    /// Where to
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
}

impl Export {
    pub fn run(&self, world: &World<'_>) -> Result<Status, Failure> {
        let (root, directory) = callers(&self.to)?;
        let mut operation = operation(world)?;
        let written = export(&mut operation, self.instance, &root, &directory)?;
        let mut out = io::stdout().lock();
        written.iter().try_for_each(|path| writeln!(out, "{}", shown(path)))?;
        Ok(Status::Done)
    }
}
