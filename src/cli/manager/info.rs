//! `reseed manager info`

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{Failure, Status, callers, shown, text};
use crate::manager::info::{Described, describe};
use crate::pki::key::Secret;
use crate::reseed::World;

/// Show what is in files of keys, requests and certificates
///
/// Every block of every file, in its order: private and public keys, requests, certificates, chains,
/// bundles, "trusted" certificates, revocation lists, PKCS#7, Diffie-Hellman parameters; PEM with any text
/// around the blocks, or DER. What is secret is never shown. A damaged block is named, and those after it
/// are shown all the same.
///
/// With --verbose also the serial, the extensions, and SHA-256 over the certificate and over its public
/// key; the latter is the same for a private key and its certificate.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit status:\n  \
    0   everything was understood\n  \
    1   a file cannot be read, or something in one is damaged")]
pub struct Arguments {
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// The files; without any, or for `-`, standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// A file with its blocks.
#[derive(serde::Serialize)]
struct Shown {
    file: String,
    blocks: Vec<Described>,
}

pub fn run(world: World<'_>, verbose: bool, arguments: &Arguments) -> Result<Status, Failure> {
    let standard_input = vec![PathBuf::from(STANDARD_INPUT)];
    let files = if arguments.files.is_empty() { &standard_input } else { &arguments.files };
    let mut status = Status::Done;
    let mut all = Vec::new();
    for file in files {
        let content = match read(file) {
            Ok(content) => Secret::new(content),
            Err(failure) => {
                writeln!(io::stderr(), "reseed: {failure}")?;
                status = Status::Failed;
                continue;
            }
        };
        let blocks = describe(content.reveal(), world.now);
        if blocks.iter().any(|block| block.fault.is_some()) {
            status = Status::Failed;
        }
        let file = shown(file);
        if arguments.json {
            all.push(Shown { file, blocks });
        } else {
            write(&file, &blocks, verbose)?;
        }
    }
    if arguments.json {
        text::json(&mut io::stdout().lock(), &all)?;
    }
    Ok(status)
}

const STANDARD_INPUT: &str = "-";

/// As much as of a file.
const MAX_INPUT: u64 = 16 * 1024 * 1024;

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    if file == Path::new(STANDARD_INPUT) {
        let mut content = Vec::new();
        io::stdin()
            .lock()
            .take(MAX_INPUT)
            .read_to_end(&mut content)
            .map_err(|error| Failure::Other(format!("standard input: {error}")))?;
        return Ok(content);
    }
    let (root, path) = callers(file)?;
    Ok(root.read(&path)?)
}

fn write(file: &str, blocks: &[Described], verbose: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for block in blocks {
        writeln!(out, "{}\n{file}\n\n{}", "-".repeat(70), block.shown(verbose))?;
    }
    Ok(())
}
