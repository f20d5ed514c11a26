//! The small programs of ssl-mgr, each of which is one command.

use clap::Parser;

use super::spelling::translated;
use super::{Line, Translation, Usage};

/// Shows what is in files of keys, requests and certificates: `reseed manager info`
#[derive(Debug, Parser)]
#[command(name = "sslm-info")]
pub struct Info {
    /// Show everything
    #[arg(short, long, visible_alias = "verb")]
    verbose: bool,
    /// Files; without any, standard input
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

pub fn info(arguments: &[String]) -> Result<Translation, Usage> {
    translated(arguments, |info: Info| {
        Ok(vec![Line::of("info").flag(info.verbose, "--verbose").about(&info.files)])
    })
}

/// Checks a certificate and its chain, up to a root: `reseed manager verify`
#[derive(Debug, Parser)]
#[command(name = "sslm-verify")]
pub struct Verify {
    /// A directory with cert.pem and chain.pem, or a file
    #[arg(value_name = "DIR|FILE", required = true)]
    paths: Vec<String>,
}

pub fn verify(arguments: &[String]) -> Result<Translation, Usage> {
    translated(arguments, |verify: Verify| {
        Ok(verify.paths.into_iter().map(|path| Line::of("verify").about(&[path])).collect())
    })
}

/// Writes Diffie-Hellman parameters: `reseed manager dhparm`
#[derive(Debug, Parser)]
#[command(name = "sslm-dhparm")]
pub struct Dhparm {
    /// Groups of RFC 7919 or sizes in bits, with commas between them; the first is the default
    #[arg(short, long, value_name = "LIST")]
    keys: Option<String>,
    /// Write all of them anew
    #[arg(short, long)]
    force: bool,
    /// Days after which parameters of a mere size are made anew
    #[arg(short, long, value_name = "N")]
    age_days: Option<u32>,
    /// In each directory below the named ones, except `ca`
    #[arg(short, long)]
    subdirs: bool,
    /// Directories that get a `dh` in them
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<String>,
}

pub fn dhparm(arguments: &[String]) -> Result<Translation, Usage> {
    translated(arguments, |dhparm: Dhparm| {
        let line = Line::of("dhparm")
            .value("--groups", dhparm.keys)
            .flag(dhparm.force, "--force")
            .value("--age-days", dhparm.age_days)
            .flag(dhparm.subdirs, "--subdirectories");
        Ok(vec![line.about(&dhparm.directories)])
    })
}

/// Shows the digest of a certificate's public key, as in TLSA 3 1 1: `reseed manager tlsa-hash`
#[derive(Debug, Parser)]
#[command(name = "sslm-tlsa-hash")]
pub struct TlsaHash {
    /// A directory with cert.pem
    #[arg(value_name = "DIR")]
    directory: Option<String>,
}

pub fn tlsa_hash(arguments: &[String]) -> Result<Translation, Usage> {
    translated(arguments, |hash: TlsaHash| {
        Ok(vec![Line::of("tlsa-hash").about(&Vec::from_iter(hash.directory))])
    })
}
