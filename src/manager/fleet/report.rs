//! What one machine says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

/// The version of the format that this program writes, and the highest that it reads.
const VERSION: u32 = 1;
/// Octets that a report has at most; that of a machine with a thousand certificates has half of it.
pub const LONGEST: usize = 1 << 20;
/// How far ahead a machine's clock may be. A report from the future would keep all later ones out.
const AHEAD: Duration = Duration::hours(1);

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
    pub identity: BTreeMap<String, FacetReport>,
    /// What happened to it since it was last put right, in a sentence: that it was renamed, that it is a clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub happened: Option<String>,
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
    /// What is wrong with its hooks' own files, so that they are not in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// What is known of one facet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FacetReport {
    /// The value, or a digest of what is not to be spread; nothing where it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where it came from, or why it is unknown.
    pub source: String,
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
    /// Its files, those together that are made together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FilesReport>,
}

/// Files of a hook that are made together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FilesReport {
    /// Their paths.
    pub paths: Vec<String>,
    /// Whose they are, with the reason.
    pub verdict: String,
    /// Why they no longer hold, also where they are not reseed's to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

/// A certificate that a machine serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CertificateReport {
    /// Its file.
    pub path: String,
    /// Whose it is, with the reason.
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
            happened: None,
            improper: None,
            hooks: Vec::new(),
            certificates: Vec::new(),
            host_keys: Vec::new(),
            held: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// Says whether it may be kept in place of one that was made `before`.
    ///
    /// # Errors
    /// In words: it is older than that one, or from the future.
    pub fn follows(&self, before: Option<OffsetDateTime>, now: OffsetDateTime) -> Result<(), String> {
        if self.at > now + AHEAD {
            return Err(format!(
                "the report of {} was made on {}, which is still to come; set that machine's clock",
                self.host, self.at
            ));
        }
        match before {
            Some(before) if self.at < before => Err(format!(
                "there is a later report of {}, of {before}; this one was made on {}",
                self.host, self.at
            )),
            _ => Ok(()),
        }
    }

    /// Reads a report.
    ///
    /// # Errors
    /// In words; also for one that a newer program wrote, or that is longer than [`LONGEST`].
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("a report has at most {LONGEST} octets, and this one has {}", text.len()));
        }
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
    /// In words; also where it is longer than [`LONGEST`].
    pub fn to_text(&self) -> Result<String, String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        match text.len() {
            0..=LONGEST => Ok(text),
            long => Err(format!("the report has {long} octets, and at most {LONGEST} are kept")),
        }
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
            files: Vec::new(),
        });
        let text = report.to_text().unwrap();
        assert_eq!(HostReport::parse(&text).unwrap(), report);
        assert!(!text.contains("0123456789abcdef"));
    }

    /// The format is frozen: what machines of today write is read by every later program.
    #[test]
    fn what_was_written_by_the_first_program_is_read() {
        let text = r#"{"version":1,"host":"mail.example.com","at":"2026-11-25T10:00:00Z","machine":"00ff",
            "identity":{"hostname":{"value":"mail","source":"/etc/hostname"},"domain":{"source":"nobody says"}},
            "happened":"This machine was renamed.","improper":null,
            "hooks":[{"hook":"mod_ssl","stale":["renamed"],"failure":"no room",
                "files":[{"paths":["/a"],"verdict":"managed","because":["renamed"]}]}],
            "certificates":[{"path":"/a","verdict":"managed","fingerprint":"ab","key":"cd","names":["mail"],
                "not-before":"2026-11-25T10:00:00Z","not-after":"2027-11-25T10:00:00Z"}],
            "host-keys":["SHA256:x"],"held":{"httpd.service":"stale"},"faults":["a"],"of-a-later-one":1}"#;
        let report = HostReport::parse(text).unwrap();
        assert_eq!(report.identity["hostname"].value.as_deref(), Some("mail"));
        assert_eq!(report.hooks[0].files[0].because, ["renamed"]);
        assert_eq!(report.certificates[0].not_after.year(), 2027);
        assert_eq!((report.held.len(), report.faults.len(), report.host_keys.len()), (1, 1, 1));
    }

    #[test]
    fn which_report_takes_the_place_of_which() {
        let now = time::macros::datetime!(2026-11-25 10:00 UTC);
        let rows = [
            ("the first", None, 0, None),
            ("a later one", Some(-5), 0, None),
            ("the same once more", Some(0), 0, None),
            ("an older one", Some(1), 0, Some("a later report")),
            ("a clock that is ahead", None, 59, None),
            ("a clock that is far ahead", None, 61, Some("set that machine's clock")),
        ];
        for (case, before, at, refused) in rows {
            let report = HostReport::new("a", now + Duration::minutes(at));
            let before = before.map(|minutes| now + Duration::minutes(minutes));
            match (report.follows(before, now), refused) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => assert!(error.contains(part), "{case}: {error}"),
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_newer_one_and_junk_are_refused() {
        assert!(HostReport::parse("{\"version\": 2}").unwrap_err().contains("newer"));
        assert!(HostReport::parse("{\"version\": 1}").unwrap_err().contains("host"));
        assert!(HostReport::parse("[]").is_err());
    }
}
