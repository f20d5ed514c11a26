//! `reseed audit`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Failure, Status, text};
use crate::image::audit::{self, Audit};
use crate::image::baseline::Baseline;
use crate::image::sarif;
use crate::system::root::Root;

/// List every secret and id that is baked into an image; change nothing
///
/// Looks into every file of a directory or of a tar (plain or gzip; `-` for standard input), and into the
/// layers of container images in it: private keys in every usual wrapping, tokens, the machine-id, names
/// and seeds that only one machine may have. The content decides, not the name. No link is followed, and
/// no secret is shown: only paths, kinds, and fingerprints of public keys.
///
/// A key that is compiled into a program is none of the machine's, and is passed over. Of files over 1 MiB
/// PEM keys are found behind the first MiB, and none behind 64 MiB. Layers that are compressed
/// otherwise than with gzip are named as not looked into.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit status:\n  \
    0   nothing is found\n  \
    1   nothing is found, but something could not be looked into\n  \
    2   wrong usage, or a baseline that cannot be understood\n  \
    3   something is found")]
pub struct Arguments {
    /// The root of an image, or a tar of one
    #[arg(value_name = "DIR|TAR")]
    image: PathBuf,
    /// Write JSON
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Write SARIF 2.1.0
    #[arg(long)]
    sarif: bool,
    /// Leave out what an earlier `audit --json` found
    ///
    /// Another key in the same place is found all the same.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<Status, Failure> {
    let baseline = arguments.baseline.as_deref().map(read_baseline).transpose()?;
    let mut audit = look(&arguments.image)?;
    let known = baseline.map_or(0, |baseline| baseline.apply(&mut audit));
    let mut out = io::stdout().lock();
    if arguments.sarif {
        text::json(&mut out, &sarif::log(&audit))?;
    } else if arguments.json {
        text::json(&mut out, &audit)?;
    } else {
        write(&mut out, &audit, known)?;
    }
    Ok(match (audit.findings.is_empty(), audit.unread.is_empty()) {
        (false, _) => Status::Stale,
        (_, false) => Status::Failed,
        _ => Status::Done,
    })
}

fn look(image: &Path) -> Result<Audit, Failure> {
    if image == Path::new("-") {
        return Ok(audit::tar(image, &mut io::stdin().lock()));
    }
    let missing = match Root::open(image) {
        Ok(root) => return Ok(audit::directory(&root)?),
        Err(error) => error,
    };
    match file(image) {
        Some((root, path)) => {
            let (mut reader, _) = root.reader(&path)?;
            Ok(audit::tar(image, &mut reader))
        }
        None => Err(Failure::Usage(missing.to_string())),
    }
}

/// A file of the caller's own system: its directory is opened, links are followed from there.
fn file(path: &Path) -> Option<(Root, PathBuf)> {
    let name = path.file_name()?;
    let above = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let inside = Root::open(above).ok()?.directory().join(name);
    let root = Root::open(Path::new("/")).ok()?;
    let there = root.reader(&inside).is_ok();
    there.then_some((root, inside))
}

fn read_baseline(path: &Path) -> Result<Baseline, Failure> {
    let not_there = || Failure::Usage(format!("{}: there is no such file", path.display()));
    let (root, inside) = file(path).ok_or_else(not_there)?;
    let content = root.text(&inside)?.ok_or_else(not_there)?;
    Baseline::parse(path, &content).map_err(|fault| Failure::Usage(fault.to_string()))
}

fn write(out: &mut impl Write, audit: &Audit, known: usize) -> io::Result<()> {
    for finding in &audit.findings {
        writeln!(out, "{}", text::printable(&finding.place()))?;
        writeln!(out, "    {}", finding.what)?;
        for fingerprint in &finding.fingerprints {
            writeln!(out, "    {fingerprint}")?;
        }
        writeln!(out, "    why it matters: {}", finding.why)?;
        writeln!(out, "    what to do:     {}", finding.remedy)?;
    }
    for one in &audit.unread {
        writeln!(out, "{}: not looked into: {}", text::printable(&one.path), one.why)?;
    }
    let counts = &audit.counts;
    let layers = if counts.layers > 0 { format!(" in {} layers", counts.layers) } else { String::new() };
    write!(
        out,
        "{} found in {} files{layers} ({} MiB read)",
        audit.findings.len(),
        counts.files,
        counts.octets >> 20
    )?;
    if known > 0 {
        write!(out, "; {known} known from the baseline")?;
    }
    if counts.large > 0 {
        write!(out, "; of {} only the first 64 MiB", counts.large)?;
    }
    writeln!(out, ".")
}
