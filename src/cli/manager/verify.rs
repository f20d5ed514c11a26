//! `reseed manager verify`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::material::{Key, Material};
use super::{Failure, Status, callers, shown, text};
use crate::manager::verify::{self, Check, Purpose, Request, is_good, verify};
use crate::pki::bundle;
use crate::reseed::World;
use crate::system::root::{PathError, Root};

/// Check a certificate as a client would, and its key
///
/// Takes cert.pem, chain.pem and privkey.pem of a directory, also where one of them is named; of any other
/// file the first certificate, and the rest of it as the chain. Says of each: whether it leads to a root,
/// is valid now, is for its hosts, has its own key beside it, may be used as it is, and is not revoked.
///
/// Without --anchor a root in the chain itself counts as trusted, which proves only that the chain is whole.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit status:\n  \
    0   everything that could be checked holds\n  \
    1   something cannot be read\n  \
    3   something does not hold")]
pub struct Arguments {
    /// Ask for this host, a name or an address, as a client would
    ///
    /// Without it, every name in a server's certificate must be one that a client can ask for.
    #[arg(long, value_name = "HOST")]
    name: Option<String>,
    /// What it must be good for; without, `ca` for an authority's, `server` for any other
    #[arg(long, value_enum, value_name = "PURPOSE")]
    purpose: Option<Purpose>,
    /// Trust the certificates in this file or directory, and no others; may be given several times
    #[arg(long, value_name = "FILE|DIR")]
    anchor: Vec<PathBuf>,
    /// Look into this list of revoked certificates; may be given several times
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// A directory of the manager, or a certificate's file
    #[arg(value_name = "DIR|FILE")]
    place: PathBuf,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let (root, place) = callers(&arguments.place)?;
    let material = Material::read(&root, &place)?;
    let anchors = all(&arguments.anchor, "certificate", anchors)?;
    let lists =
        all(&arguments.crl, "revocation list", |root, path| Ok(bundle::read(&root.read(path)?).lists))?;
    let checks = verify(&Request {
        certificate: &material.certificate,
        chain: &material.chain,
        anchors: &anchors,
        lists: &lists,
        key: match &material.key {
            Key::Absent => verify::Key::Absent,
            Key::Unknown { path, why } => verify::Key::Unknown(format!("{}: {why}", shown(path))),
            Key::Known { public_digest, .. } => verify::Key::Known(*public_digest),
        },
        name: arguments.name.as_deref(),
        purpose: arguments.purpose,
        now: world.now,
    })
    .map_err(|error| Failure::Other(format!("{}: {error}", shown(&material.path))))?;
    let good = is_good(&checks);
    let file = shown(&material.path);
    let mut out = io::stdout().lock();
    if arguments.json {
        text::json(&mut out, &serde_json::json!({ "file": file, "good": good, "checks": checks }))?;
    } else {
        write(&mut out, &file, good, &checks)?;
    }
    Ok(if good { Status::Done } else { Status::Stale })
}

fn write(out: &mut impl Write, file: &str, good: bool, checks: &[Check]) -> io::Result<()> {
    writeln!(out, "{file}: {}", if good { "good" } else { "NOT good" })?;
    for Check { aspect, outcome, says } in checks {
        let mut left = format!("{aspect:<10}  {outcome:<11}");
        for line in says {
            writeln!(out, "  {left}  {}", text::printable(line))?;
            left = " ".repeat(left.len());
        }
    }
    Ok(())
}

/// What is in several files; one that holds nothing is a mistake, not an answer.
fn all(
    places: &[PathBuf],
    what: &str,
    read: impl Fn(&Root, &Path) -> Result<Vec<Vec<u8>>, PathError>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut found = Vec::new();
    for place in places {
        let (root, path) = callers(place)?;
        let there = read(&root, &path)?;
        if there.is_empty() {
            return Err(Failure::Other(format!("{}: there is no {what} in it", shown(&path))));
        }
        found.extend(there);
    }
    Ok(found)
}

/// The certificates of a file, or of all files of a directory.
fn anchors(root: &Root, path: &Path) -> Result<Vec<Vec<u8>>, PathError> {
    let names = root.names(path).unwrap_or_default();
    if names.is_empty() {
        return Ok(bundle::read(&root.read(path)?).certificates);
    }
    // What is no file, or no certificate, is nobody whom to trust.
    let files = names.iter().filter_map(|name| root.read(&path.join(name)).ok());
    Ok(files.flat_map(|content| bundle::read(&content).certificates).collect())
}
