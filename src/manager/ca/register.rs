//! What an authority has issued, a line of JSON each, and what it has revoked: beside the authority, so that
//! no serial is used twice and a revocation outlives the certificate's own directory.

use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::fault::Fault;
use crate::manager::name::ServiceName;
use crate::manager::record;
use crate::pki::serial::Serial;
use crate::pki::x509::crl::Reason;

/// The file of issued certificates, in the authority's directory.
pub const ISSUED: &str = "issued.jsonl";
/// The file of revocations.
pub const REVOKED: &str = "revoked.toml";
/// The version of both formats that this program writes, and the highest that it reads.
const VERSION: u32 = 1;

/// One issued certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Issued {
    /// Of the line's format.
    pub version: u32,
    /// Its serial.
    pub serial: Serial,
    /// For whom: `GROUP/SERVICE`.
    pub service: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Until when it is valid.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
}

impl Issued {
    /// A line of the file, without its end.
    pub fn line(
        service: &ServiceName,
        serial: Serial,
        at: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> String {
        let issued = Self { version: VERSION, serial, service: service.to_string(), at, not_after };
        serde_json::to_string(&issued).unwrap_or_default()
    }

    /// Reads the file. The last line may have been cut by a power cut before its certificate was used.
    ///
    /// # Errors
    /// [`Fault`] for any other line that cannot be understood: a serial might be used twice.
    pub fn parse(path: &Path, text: &str) -> Result<Vec<Self>, Fault> {
        let lines: Vec<&str> = text.lines().collect();
        let mut issued = Vec::with_capacity(lines.len());
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            match serde_json::from_str::<Self>(line) {
                Ok(one) if one.version > VERSION => {
                    let message = format!("version {} was written by a newer reseed", one.version);
                    return Err(Fault { path: path.to_owned(), line: at + 1, column: 1, message });
                }
                Ok(one) => issued.push(one),
                Err(_) if at + 1 == lines.len() && !text.ends_with('\n') => {}
                Err(error) => {
                    let message = format!("this is no record of an issued certificate: {error}");
                    return Err(Fault {
                        path: path.to_owned(),
                        line: at + 1,
                        column: error.column(),
                        message,
                    });
                }
            }
        }
        Ok(issued)
    }
}

/// One revoked certificate (RFC 5280 section 5.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Revoked {
    /// Its serial.
    pub serial: Serial,
    /// Whose it was.
    pub service: String,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why.
    pub reason: Reason,
}

/// The revocations of an authority, and the number of its last CRL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocations {
    version: u32,
    /// The number of the last CRL that was written (RFC 5280 section 5.2.3).
    pub number: u64,
    /// What is revoked.
    #[serde(default)]
    pub revoked: Vec<Revoked>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { version: VERSION, number: 0, revoked: Vec::new() }
    }
}

impl Revocations {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Fault`] with the position; also for a newer version.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        record::read(path, text, VERSION)
    }

    /// The text of it.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: OffsetDateTime = time::macros::datetime!(2026-11-25 10:00 UTC);

    #[test]
    fn what_was_issued_is_read_again_and_half_a_line_is_none() {
        let name = ServiceName::parse("example.com/web").unwrap();
        let serial = Serial::next(None, None, [3; 20]);
        let line = Issued::line(&name, serial, AT, AT);
        let read = |text: &str| Issued::parse(Path::new("issued.jsonl"), text);
        let two = read(&format!("{line}\n{line}\n")).unwrap();
        assert_eq!((two.len(), two[1].serial, two[0].service.as_str()), (2, serial, "example.com/web"));
        assert_eq!(read(&format!("{line}\n{}", &line[..40])).unwrap().len(), 1);
        let fault = read(&format!("{}\n{line}\n", &line[..40])).unwrap_err().to_string();
        assert!(fault.starts_with("issued.jsonl:1:"), "{fault}");
        assert!(read(&format!("{}\n", line.replace("\"version\":1", "\"version\":2"))).is_err());
    }

    #[test]
    fn revocations() {
        let mut revocations = Revocations { number: 7, ..Revocations::default() };
        let serial = Serial::next(None, None, [3; 20]);
        let (service, reason) = ("example.com/web".to_owned(), Reason::KeyCompromise);
        revocations.revoked.push(Revoked { serial, service, at: AT, reason });
        let text = revocations.to_text().unwrap();
        assert_eq!(Revocations::parse(Path::new("r"), &text).unwrap(), revocations);
        assert!(Revocations::parse(Path::new("r"), "version = 2\nnumber = 1\n").is_err());
    }
}
