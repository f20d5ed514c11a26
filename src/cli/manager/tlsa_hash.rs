//! `reseed manager tlsa-hash`

use std::io::{self, Write};
use std::path::PathBuf;

use super::material::{Key, Material};
use super::{Failure, Status, callers, shown};
use crate::manager::dane::association;
use crate::pki::inspect::Certificate;

/// Show what a TLSA record of a certificate holds
///
/// Writes the record's data for a server's own certificate (RFC 6698; usage 3): without options 3 1 1, that
/// is SHA-256 over the public key; then whether the private key beside it is that of the certificate.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit status:\n  \
    0   done\n  \
    1   the certificate cannot be read\n  \
    3   the key beside it is another one's")]
pub struct Arguments {
    /// What is taken: 0 the certificate, 1 its public key
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    selector: u8,
    /// How: 0 as it is, 1 SHA-256, 2 SHA-512
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    matching: u8,
    /// A directory with cert.pem and privkey.pem, or a certificate's file
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    place: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<Status, Failure> {
    let (root, place) = callers(&arguments.place)?;
    let material = Material::read(&root, &place)?;
    let broken = |error: String| Failure::Other(format!("{}: {error}", shown(&material.path)));
    let data = association(&material.certificate, arguments.selector, arguments.matching).map_err(broken)?;
    let certificate = Certificate::from_der(&material.certificate).map_err(broken)?;
    let data: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "3 {} {} {data}", arguments.selector, arguments.matching)?;
    let (says, status) = match &material.key {
        Key::Absent => ("there is no key beside it".to_owned(), Status::Done),
        Key::Unknown { path, why } => (format!("{}: {why}; not compared", shown(path)), Status::Done),
        Key::Known { path, public_digest } if *public_digest == certificate.public_digest => {
            (format!("{}: the key is that of the certificate", shown(path)), Status::Done)
        }
        Key::Known { path, .. } => {
            (format!("{}: the key is not that of the certificate", shown(path)), Status::Stale)
        }
    };
    writeln!(out, "{says}")?;
    Ok(status)
}
