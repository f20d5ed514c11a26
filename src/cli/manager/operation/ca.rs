//! `reseed manager ca`

use std::path::PathBuf;

use super::super::callers;
use super::{Failure, Status, operation, told};
use crate::manager::inventory::model::Name;
use crate::manager::operate::authority::{Import, Request, make};
use crate::manager::run::World;
use crate::pki::key::Secret;

/// Make an own authority for the inventory, or its successor
///
/// What it is called and what it is like stands in ssl-mgr.conf:
///
///     [inventory]
///     ca_name = "Local CA"
///     ca_subject = { C = "DE", O = "Example", CN = "Example CA" }
///     ca_key = "rsa:4096"
///     ca_days = 3680
///     leaf_days = 375
///
/// Its key is kept under the passphrase in the file that passphrase_file in the table keys names. What it has signed
/// before stays good: the newest signs, older ones stay in the chains.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Ca {
    /// Which one; else that of ca_name
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Take over one that there is already: its certificate and its key in PEM
    #[arg(long, num_args = 2, value_names = ["CERT", "KEY"])]
    import: Vec<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Ca {
    pub fn run(&self, world: &World<'_>) -> Result<Status, Failure> {
        let content = |path: &PathBuf| {
            let (root, path) = callers(path)?;
            Ok::<_, Failure>(root.read(&path)?)
        };
        let import = match self.import.as_slice() {
            [certificate, key] => {
                Some(Import { certificate: content(certificate)?, key: Secret::new(content(key)?) })
            }
            _ => None,
        };
        let request = Request { name: self.name.clone(), import, dry_run: self.dry_run };
        told(operation(world)?, self.json, |operation| make(operation, request))
    }
}
