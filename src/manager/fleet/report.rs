//! What one machine says of itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// The version of the format that this program writes, and the highest that it reads.
const VERSION: u32 = 1;

/// A machine's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostReport {
    /// The version of the format.
    pub version: u32,
    /// Its name.
    pub host: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// A digest of its machine-id, by [`machine`]; nothing where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What is known of who it is, by facet.
    #[serde(default)]
    pub identity: BTreeMap<String, String>,
    /// Why it has no name that is fit for a certificate; nothing where it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub improper: Option<String>,
    /// How each hook stands.
    #[serde(default)]
    pub hooks: Vec<HookReport>,
    /// Certificates that it serves.
    #[serde(default)]
    pub certificates: Vec<CertificateReport>,
    /// SSH host keys, as `ssh-keygen -l` prints their digests.
    #[serde(default)]
    pub host_keys: Vec<String>,
    /// Services that are held back, each with the reason.
    #[serde(default)]
    pub held: BTreeMap<String, String>,
}

/// How a hook stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HookReport {
    /// Its name.
    pub hook: String,
    /// Why what it makes no longer holds; empty when it does.
    #[serde(default)]
    pub stale: Vec<String>,
    /// Why its last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A certificate that a machine serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CertificateReport {
    /// Its file.
    pub path: PathBuf,
    /// Whose it is, in a word: managed, foreign, …
    pub verdict: String,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// SHA-256 of its public key (subjectPublicKeyInfo), in hexadecimal digits.
    pub key: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// Start of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// End of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
}

impl HostReport {
    /// Of a machine of which nothing else is known yet.
    pub fn new(host: impl Into<String>, at: OffsetDateTime) -> Self {
        Self {
            version: VERSION,
            host: host.into(),
            at,
            machine: None,
            identity: BTreeMap::new(),
            improper: None,
            hooks: Vec::new(),
            certificates: Vec::new(),
            host_keys: Vec::new(),
            held: BTreeMap::new(),
        }
    }

    /// Reads a report.
    ///
    /// # Errors
    /// In words; also for one that a newer program wrote.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if head.version > VERSION {
            return Err(format!("version {} was written by a newer reseed", head.version));
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// The text of it.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    /// Says whether something of it no longer holds.
    pub fn is_stale(&self) -> bool {
        self.hooks.iter().any(|hook| !hook.stale.is_empty())
    }
}

/// What stands for a machine-id: the same for two machines that have the same, and no way back to it.
pub fn machine(id: &str) -> String {
    let digest = Sha256::new().chain_update(b"reseed fleet\0").chain_update(id.trim()).finalize();
    digest.iter().take(16).map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_its_text() {
        let now = time::macros::datetime!(2026-11-25 10:00 UTC);
        let mut report = HostReport::new("mail.example.com", now);
        report.machine = Some(machine("0123456789abcdef0123456789abcdef\n"));
        report.hooks.push(HookReport {
            hook: "apache2".into(),
            stale: vec!["the hostname is another".into()],
            failure: None,
        });
        let text = report.to_text().unwrap();
        assert_eq!(HostReport::parse(&text).unwrap(), report);
        assert!(report.is_stale() && !text.contains("0123456789abcdef"));
    }

    #[test]
    fn a_newer_one_and_junk_are_refused() {
        assert!(HostReport::parse("{\"version\": 2}").unwrap_err().contains("newer"));
        assert!(HostReport::parse("{\"version\": 1}").unwrap_err().contains("host"));
        assert!(HostReport::parse("[]").is_err());
    }
}
