//! `reseed manager csr` and `reseed manager import`: certificates that somebody signs by hand.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Failure, Status, callers, text};
use crate::manager::manual::{import, request};
use crate::manager::run::World;
use crate::pki::key::Secret;
use crate::transaction::replace;

/// Write the request for a certificate that somebody signs by hand
///
/// Makes a key and a request for a service whose signing_ca has ca_type = "manual", and writes the request to
/// standard output. The key stays where it is; what comes back is taken by `reseed manager import`. A request that
/// waits for an answer already, and asks for what the configuration says now, is shown again.
#[derive(Debug, clap::Args)]
pub struct Csr {
    /// Use the key of `curr` again
    #[arg(short, long)]
    reuse_key: bool,
    /// Make a new one, also where one waits for an answer
    #[arg(short, long)]
    force: bool,
    /// Write the request to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// For which service
    #[arg(value_name = "GROUP/SERVICE")]
    service: String,
}

impl Csr {
    pub fn run(&self, world: World<'_>) -> Result<Status, Failure> {
        let Self { reuse_key, force, output, service } = self;
        let asked = request::Request { service: service.clone(), reuse_key: *reuse_key, force: *force };
        let shown = request::csr(world, &asked)?;
        let name = &shown.service;
        let place = text::printable(&shown.path.display().to_string());
        let verb = if shown.waited { "waits for an answer" } else { "was made" };
        let told = format!("{name}: the request {verb}: {place}");
        let also = shown.others.iter().map(|path| {
            format!("{name}: another one waits, too: {}", text::printable(&path.display().to_string()))
        });
        let told: Vec<String> = std::iter::once(told).chain(also).collect();
        // What goes into a file or a pipe is the request alone.
        match output {
            Some(file) => {
                let (root, path) = callers(file)?;
                replace(&root, &path, &shown.text, 0o644)?;
                told.iter().try_for_each(|line| writeln!(io::stdout(), "{line}"))?;
            }
            None => {
                told.iter().try_for_each(|line| writeln!(io::stderr(), "{line}"))?;
                io::stdout().write_all(&shown.text)?;
            }
        }
        Ok(Status::Done)
    }
}

/// Take the certificate that somebody has signed by hand
///
/// Takes certificate and intermediates in any order, in one file or several, as PEM with anything around it, DER or
/// PKCS#7. Finds by its public key which of our keys the certificate belongs to, builds its chain, says what is
/// missing or does not fit, and makes it `next`. The root is left out: clients have it.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// Only for this service; else it is found by its key
    #[arg(long, value_name = "GROUP/SERVICE")]
    service: Option<String>,
    /// The root to which the chain must lead; the system's are not asked
    #[arg(long, value_name = "FILE")]
    anchor: Vec<PathBuf>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// What came back
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl Import {
    pub fn request(&self) -> Result<import::Request, Failure> {
        let read = |files: &[PathBuf]| files.iter().map(|file| sent(file)).collect::<Result<Vec<_>, _>>();
        let (sent, anchors) = (read(&self.files)?, read(&self.anchor)?);
        Ok(import::Request { service: self.service.clone(), sent, anchors })
    }
}

fn sent(file: &Path) -> Result<import::Sent, Failure> {
    let (root, path) = callers(file)?;
    let name = text::printable(&file.display().to_string());
    Ok(import::Sent { name, content: Secret::new(root.read(&path)?) })
}
