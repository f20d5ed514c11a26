//! The record that a seal leaves in the image: whose keys a machine made from it must not serve.

pub mod key;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::fault::Fault;
use crate::system::root::{PathError, Root};
use crate::{store::StoreError, transaction};

pub use key::Fingerprint;

/// Where it lies.
pub const PATH: &str = "/var/lib/reseed/image.toml";
/// The version of the format that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// The private keys that were in an image when it was sealed, by their public halves.
///
/// A key that is served and whose fingerprint [`Sealed::contains`] is in the hands of everybody who has
/// the image: it is made again, whatever else the record of the machine says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sealed {
    version: u32,
    /// When the image was last sealed.
    #[serde(with = "time::serde::rfc3339")]
    pub sealed: OffsetDateTime,
    /// Keys that were taken out, each with where it lay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fingerprints: BTreeMap<Fingerprint, String>,
    /// Keys that were left in, because the administrator wants it so or has to decide.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left: BTreeMap<Fingerprint, String>,
}

impl Sealed {
    /// An image that is sealed now and of which nothing is recorded yet.
    pub fn new(now: OffsetDateTime) -> Self {
        Self { version: VERSION, sealed: now, fingerprints: BTreeMap::new(), left: BTreeMap::new() }
    }

    /// Says whether a key was taken out of the image; one that was left in on purpose is none.
    pub fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.fingerprints.contains_key(fingerprint)
    }

    /// Adds a key that is taken out, or left in. What was once taken out stays so.
    pub fn add(&mut self, fingerprint: Fingerprint, place: String, left: bool) {
        if !left {
            self.left.remove(&fingerprint);
            self.fingerprints.entry(fingerprint).or_insert(place);
        } else if !self.contains(&fingerprint) {
            self.left.entry(fingerprint).or_insert(place);
        }
    }

    /// Reads the text of a record.
    ///
    /// # Errors
    /// [`Fault`] with its position; a later version is refused, never guessed at.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Versioned {
            version: toml::Spanned<u32>,
        }
        let fault = |error| Fault::toml(path, text, &error);
        let versioned: Versioned = toml::from_str(text).map_err(fault)?;
        let version = *versioned.version.as_ref();
        if version != VERSION {
            let message =
                format!("version {version} was written by another reseed; this one reads {VERSION}");
            return Err(Fault::at(path, text, versioned.version.span(), message));
        }
        toml::from_str(text).map_err(fault)
    }

    /// The text as it is written to disk.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        let body = toml::to_string(self).map_err(|error| format!("the record cannot be written: {error}"))?;
        Ok(format!("# Written by `reseed seal`: keys that were in this image. Not to be edited.\n{body}"))
    }

    /// Reads the record of a root; nothing when it was never sealed.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn read(root: &Root) -> Result<Option<Self>, StoreError> {
        let path = Path::new(PATH);
        Ok(root.text(path)?.map(|text| Self::parse(path, &text)).transpose()?)
    }

    /// Writes the record of a root, durably.
    ///
    /// # Errors
    /// [`PathError`]; the old one stands.
    pub fn write(&self, root: &Root) -> Result<(), PathError> {
        let path = Path::new(PATH);
        let text = self.to_text().map_err(|error| PathError::refused(path, error))?;
        root.make_directory(Path::new("/var/lib/reseed"), 0o700)?;
        transaction::replace(root, path, text.as_bytes(), 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_frozen() {
        let text = include_str!("../../tests/fixtures/image-v1.toml");
        let sealed = Sealed::parse(Path::new(PATH), text).unwrap();
        assert_eq!((sealed.fingerprints.len(), sealed.left.len()), (2, 1));
        assert_eq!(sealed.to_text().unwrap(), text, "what was read is written as it was");
    }

    #[test]
    fn faults() {
        let cases = [
            ("later version", "version = 2\nnew = true\n", ":1:11: version 2"),
            ("no version", "", ":1:1: "),
            ("misspelt", "version = 1\nsealed = \"2026-01-01T00:00:00Z\"\nkeys = 1\n", ":3:1: unknown field"),
            (
                "no fingerprint",
                "version = 1\nsealed = \"2026-01-01T00:00:00Z\"\n[fingerprints]\nabc = \"/x\"\n",
                "is no fingerprint",
            ),
        ];
        for (case, text, expected) in cases {
            let fault = Sealed::parse(Path::new(PATH), text).expect_err(case).to_string();
            assert!(fault.contains(expected), "{case}: {fault}");
        }
    }

    #[test]
    fn what_was_taken_out_once_is_never_served() {
        let key = Fingerprint::of_ssh(b"x");
        let mut sealed = Sealed::new(OffsetDateTime::UNIX_EPOCH);
        sealed.add(key.clone(), "/a".into(), true);
        assert!(!sealed.contains(&key) && sealed.left.contains_key(&key));
        sealed.add(key.clone(), "/a".into(), false);
        assert!(sealed.contains(&key) && sealed.left.is_empty());
        sealed.add(key.clone(), "/a".into(), true);
        assert!(sealed.contains(&key) && sealed.left.is_empty());
    }
}
