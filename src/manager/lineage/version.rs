//! One version: its files, what they say, and whether they belong together.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::VersionName;
use crate::manager::keyring::Keyring;
use crate::pki::inspect::Certificate;
use crate::pki::key::{Secret, public_digest};
use crate::pki::{armor, container, public_half};

/// The private key (PKCS#8).
pub const KEY: &str = "privkey.pem";
/// The request (PKCS#10).
pub const REQUEST: &str = "csr.pem";
/// The certificate alone.
pub const CERTIFICATE: &str = "cert.pem";
/// Its issuers, nearest first; of an own CA the root too. A root's is itself.
pub const CHAIN: &str = "chain.pem";
/// Certificate and chain; a root's once.
pub const FULL_CHAIN: &str = "fullchain.pem";
/// Key and full chain.
pub const BUNDLE: &str = "bundle.pem";
/// TLSA records of this version.
pub const TLSA: &str = "tlsa.rr";
/// When it became `curr`.
pub const INFO: &str = "info";
/// When and from what it was made; ssl-mgr does not have it.
pub const ISSUE: &str = "issue.toml";

/// The version of [`ISSUE`]'s format that this program writes, and the highest that it reads.
const FORMAT: u32 = 1;

/// The contents of a version's directory, by file; nothing for what is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// [`KEY`]
    pub key: Option<Secret>,
    /// [`REQUEST`]
    pub request: Option<Vec<u8>>,
    /// [`CERTIFICATE`]
    pub certificate: Option<Vec<u8>>,
    /// [`CHAIN`]
    pub chain: Option<Vec<u8>>,
    /// [`FULL_CHAIN`]
    pub full_chain: Option<Vec<u8>>,
    /// [`BUNDLE`]
    pub bundle: Option<Secret>,
    /// [`TLSA`]
    pub tlsa: Option<Vec<u8>>,
    /// [`INFO`]
    pub info: Option<Vec<u8>>,
    /// [`ISSUE`]
    pub issue: Option<Vec<u8>>,
}

/// What is known of a version.
#[derive(Debug)]
pub struct Version {
    /// The name of its directory.
    pub name: VersionName,
    /// Its files.
    pub files: Files,
    /// What its certificate says; nothing when there is none that can be read.
    pub certificate: Option<Certificate>,
    /// When it was made: as recorded, or by the name of its directory.
    pub made: Option<OffsetDateTime>,
    /// Why it cannot be served; nothing when it can.
    pub problems: Vec<String>,
}

/// What is recorded of a version's making.
#[derive(Debug, Serialize, serde::Deserialize)]
struct Issue {
    version: u32,
    made: String,
}

/// The text of [`ISSUE`].
pub fn issue_text(made: OffsetDateTime) -> String {
    let made = made.format(&Rfc3339).unwrap_or_default();
    format!(
        "# When this version was made: it is rolled when it is old enough.\nversion = {FORMAT}\nmade = \"{made}\"\n"
    )
}

/// One file of a version.
#[derive(Debug, Clone, Copy)]
pub struct Part<'f> {
    /// Its name.
    pub file: &'static str,
    /// What is in it.
    pub content: &'f [u8],
    /// There is a private key in it.
    pub is_secret: bool,
}

impl Files {
    /// The files that are there, keys first.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let secrets = [(KEY, &self.key), (BUNDLE, &self.bundle)];
        let others = [
            (REQUEST, &self.request),
            (CERTIFICATE, &self.certificate),
            (CHAIN, &self.chain),
            (FULL_CHAIN, &self.full_chain),
            (TLSA, &self.tlsa),
            (INFO, &self.info),
            (ISSUE, &self.issue),
        ];
        let secrets = secrets.into_iter().filter_map(|(file, content)| {
            content.as_ref().map(|content| Part { file, content: content.reveal(), is_secret: true })
        });
        let others = others.into_iter().filter_map(|(file, content)| {
            content.as_deref().map(|content| Part { file, content, is_secret: false })
        });
        secrets.chain(others)
    }

    /// The files of a version whose parts are known, put together in the order of ssl-mgr: full chain is
    /// certificate and chain, bundle is key and full chain; a root, whose chain is itself, stands once.
    pub fn assemble(key: Secret, request: Vec<u8>, certificate: Vec<u8>, chain: Vec<u8>) -> Self {
        let full_chain =
            if chain == certificate { certificate.clone() } else { [&*certificate, &chain].concat() };
        let bundle = Secret::new([key.reveal(), &full_chain].concat());
        Self {
            key: Some(key),
            request: Some(request),
            certificate: Some(certificate),
            chain: Some(chain),
            full_chain: Some(full_chain),
            bundle: Some(bundle),
            tlsa: None,
            info: None,
            issue: None,
        }
    }
}

impl Version {
    /// Looks at the files of a version.
    pub fn examine(name: VersionName, files: Files) -> Self {
        let mut problems = Vec::new();
        let parsed = files.certificate.as_deref().map(container::read);
        let der = parsed.as_ref().and_then(|contents| contents.certificates.first());
        let certificate = match (&parsed, der) {
            (None, _) => {
                problems.push(format!("{CERTIFICATE} is missing"));
                None
            }
            (Some(_), None) => {
                problems.push(format!("{CERTIFICATE} holds no certificate"));
                None
            }
            (_, Some(der)) => match Certificate::from_der(der) {
                Ok(certificate) => Some(certificate),
                Err(error) => {
                    problems.push(format!("{CERTIFICATE}: {error}"));
                    None
                }
            },
        };
        problems.extend(key_problem(&files, certificate.as_ref()));
        problems.extend(assembly_problems(&files));
        let made = files.issue.as_deref().and_then(recorded).or_else(|| name.moment());
        Self { name, files, certificate, made, problems }
    }

    /// Computes what was believed when it was examined: that its key is the certificate's.
    ///
    /// # Errors
    /// In words.
    pub fn prove(&self, keyring: &Keyring<'_>) -> Result<(), String> {
        let text = self.files.key.as_ref().ok_or_else(|| format!("{KEY} is missing"))?;
        let key = keyring.open(text.reveal()).map_err(|error| format!("{KEY}: {error}"))?;
        match &self.certificate {
            Some(certificate) if certificate.public_digest == key.public_digest() => Ok(()),
            _ => Err(format!("{KEY} is not the key of {CERTIFICATE}")),
        }
    }

    /// Says whether it can be served: all files are there, and belong together.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

fn key_problem(files: &Files, certificate: Option<&Certificate>) -> Option<String> {
    let Some(text) = &files.key else { return Some(format!("{KEY} is missing")) };
    let certificate = certificate?;
    // What stands beside the secret is believed: a key that was damaged differs from the one in the bundle.
    let block = armor::blocks(text.reveal()).into_iter().find(|block| block.label.ends_with("PRIVATE KEY"));
    // One under a passphrase is believed whole, until it is used.
    if block.as_ref().is_some_and(|block| block.encrypted && block.body.is_ok()) {
        return None;
    }
    let stated = block.and_then(|block| public_half::stated(&block.label, &block.body.ok()?));
    if stated.is_some_and(|bits| public_digest(&bits) == certificate.public_digest) {
        return None;
    }
    match container::read(text.reveal()).key {
        Some((Ok(key), _)) if key.public_digest() == certificate.public_digest => None,
        Some((Ok(_), _)) => Some(format!("{KEY} is not the key of {CERTIFICATE}")),
        Some((Err(error), _)) => Some(format!("{KEY}: {error}")),
        None => Some(format!("{KEY} holds no private key")),
    }
}

/// The files that repeat others say the same as they.
fn assembly_problems(files: &Files) -> Vec<String> {
    let mut problems = Vec::new();
    let mut missing = |name: &str| problems.push(format!("{name} is missing"));
    match (&files.certificate, &files.chain, &files.full_chain) {
        (_, None, _) => missing(CHAIN),
        (_, _, None) => missing(FULL_CHAIN),
        (Some(certificate), Some(chain), Some(full)) => {
            let once = chain == certificate && full == certificate;
            if !once && full.strip_prefix(certificate.as_slice()) != Some(chain) {
                problems.push(format!("{FULL_CHAIN} is not {CERTIFICATE} and {CHAIN}"));
            }
        }
        (None, ..) => {}
    }
    match (&files.key, &files.full_chain, &files.bundle) {
        (_, _, None) => problems.push(format!("{BUNDLE} is missing")),
        (Some(key), Some(full), Some(bundle))
            if bundle.reveal().strip_prefix(key.reveal()) != Some(full.as_slice()) =>
        {
            problems.push(format!("{BUNDLE} is not {KEY} and {FULL_CHAIN}"));
        }
        _ => {}
    }
    problems
}

/// When a version was made, by the text of [`ISSUE`]; nothing when that cannot be understood.
pub fn recorded(text: &[u8]) -> Option<OffsetDateTime> {
    let issue: Issue = toml::from_str(std::str::from_utf8(text).ok()?).ok()?;
    (issue.version <= FORMAT).then(|| OffsetDateTime::parse(&issue.made, &Rfc3339).ok()).flatten()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pki::issue::tests::made;
    use crate::pki::{Algorithm, Container};
    use crate::seed::Subject;

    fn files() -> Files {
        let (_, certificate, key) = made("www.example.com", Algorithm::P256, &Subject::default());
        let key = key.to_pem(Container::Pkcs8).unwrap();
        Files::assemble(key, b"request".to_vec(), certificate.clone().into(), certificate.into())
    }

    /// A version that can be served.
    pub fn sound(name: &str) -> Option<Version> {
        let version = Version::examine(VersionName::parse(name).unwrap(), files());
        assert!(version.is_sound(), "{:?}", version.problems);
        Some(version)
    }

    /// A version without its bundle.
    pub fn broken(name: &str) -> Option<Version> {
        let files = Files { bundle: None, ..files() };
        Some(Version::examine(VersionName::parse(name).unwrap(), files))
    }

    #[test]
    fn what_is_wrong_is_said() {
        let name = || VersionName::parse("20261101-00:00:00").unwrap();
        let other = files();
        let cases: [(&str, Files, &[&str]); 8] = [
            ("whole", files(), &[]),
            ("no key", Files { key: None, ..files() }, &["privkey.pem is missing"]),
            (
                "another's key",
                Files { key: other.key, ..files() },
                &[
                    "privkey.pem is not the key of cert.pem",
                    "bundle.pem is not privkey.pem and fullchain.pem",
                ],
            ),
            ("no bundle", Files { bundle: None, ..files() }, &["bundle.pem is missing"]),
            (
                "half a certificate",
                Files { certificate: files().certificate.map(|text| text[..100].to_vec()), ..files() },
                &["cert.pem holds no certificate", "fullchain.pem is not cert.pem and chain.pem"],
            ),
            (
                "another's chain",
                Files { chain: other.chain, ..files() },
                &["fullchain.pem is not cert.pem and chain.pem"],
            ),
            (
                "nothing but a key",
                Files { key: files().key, ..Files::default() },
                &["cert.pem is missing", "chain.pem is missing", "bundle.pem is missing"],
            ),
            (
                "an empty key",
                Files { key: Some(Secret::new("")), ..files() },
                &["privkey.pem holds no private key", "bundle.pem is not privkey.pem and fullchain.pem"],
            ),
        ];
        for (case, files, expected) in cases {
            // A mixture of two makings may be told apart in more than one way; all are named.
            assert_eq!(Version::examine(name(), files).problems, expected, "{case}");
        }
    }

    #[test]
    fn when_it_was_made_is_recorded_and_else_by_its_name() {
        let name = VersionName::parse("20261101-00:00:00").unwrap();
        let recorded = time::macros::datetime!(2026-11-01 10:30 UTC);
        let with = |issue: Option<&str>| {
            let files = Files { issue: issue.map(|text| text.as_bytes().to_vec()), ..Files::default() };
            Version::examine(name.clone(), files).made
        };
        assert_eq!(with(Some(&issue_text(recorded))), Some(recorded));
        assert_eq!(with(None), name.moment());
        assert_eq!(with(Some("version = 2\nmade = \"2026-11-01T10:30:00Z\"\n")), name.moment());
        assert_eq!(with(Some("junk")), name.moment());
    }
}
