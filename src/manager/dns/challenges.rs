//! What was put into zones for authorities to look at: remembered on disk before it is there, until it has been
//! taken away again, by the next run if need be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::fault::Fault;
use crate::manager::record;

/// The version of the format that this program writes, and the highest that it reads.
const VERSION: u32 = 1;
/// Seconds; as ssl-mgr writes it.
pub const TTL: u32 = 60;

/// How a record gets into its zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Way {
    /// By dynamic update (RFC 2136).
    Update {
        /// Host name or address.
        server: String,
        /// TCP and UDP.
        port: u16,
        /// Where the key lies; none sends unsigned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_file: Option<PathBuf>,
    },
    /// By a file that the zone includes, in each of these directories.
    Include {
        /// Which.
        directories: Vec<PathBuf>,
    },
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Challenge {
    /// The name that an authority asks for.
    pub name: String,
    /// The name that the record has: another one where the first is an alias.
    pub owner: String,
    /// The zone that it is in.
    pub zone: String,
    /// The text.
    pub value: String,
    /// How it got there.
    #[serde(flatten)]
    pub way: Way,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// All that are there, or may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenges(Vec<Challenge>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    #[serde(default)]
    challenge: Vec<Challenge>,
}

impl Challenges {
    /// Reads what was recorded.
    ///
    /// # Errors
    /// [`Fault`] with the position; also for a newer version.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let text: Text = record::read(path, text, VERSION)?;
        Ok(Self(text.challenge))
    }

    /// The text of it.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        let text = Text { version: VERSION, challenge: self.0.clone() };
        toml::to_string(&text).map_err(|error| error.to_string())
    }

    /// Adds one; the same at the same place is there once.
    pub fn add(&mut self, challenge: Challenge) {
        let same = |one: &Challenge| {
            (&one.name, &one.owner, &one.value, &one.way)
                == (&challenge.name, &challenge.owner, &challenge.value, &challenge.way)
        };
        self.0.retain(|one| !same(one));
        self.0.push(challenge);
    }

    /// Forgets some.
    pub fn remove(&mut self, gone: &[Challenge]) {
        self.0.retain(|one| !gone.contains(one));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Challenge> {
        self.0.iter()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The file that a zone includes, without `left_out`: as ssl-mgr writes it, two lines of comment and the
    /// records.
    pub fn include_file(&self, zone: &str, left_out: &[Challenge]) -> String {
        let is_in = |one: &&Challenge| {
            one.zone == zone && matches!(one.way, Way::Include { .. }) && !left_out.contains(one)
        };
        // Two services may wait for the same record; the zone has it once.
        let lines: BTreeSet<String> = self
            .iter()
            .filter(is_in)
            .map(|one| format!("{}. {TTL} IN TXT \"{}\"\n", one.owner, one.value))
            .collect();
        let head = format!(";; acme-challenge for : {zone}\n;; acme-challenge : {zone}\n");
        lines.into_iter().fold(head, |text, line| text + &line)
    }
}

/// Says whether a text can stand in quotes in a zone and in one string of a record; the digests of challenges
/// always can.
pub fn is_plain(value: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    !value.is_empty() && value.len() <= 255 && value.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-25 10:00 UTC);

    fn challenge(owner: &str, value: &str, is_include: bool) -> Challenge {
        let way = if is_include {
            Way::Include { directories: vec!["/etc/zones/inc".into()] }
        } else {
            Way::Update { server: "ns1.example.com".into(), port: 53, key_file: Some("/etc/k".into()) }
        };
        let (zone, value) = ("example.com".into(), value.into());
        Challenge { name: owner.into(), owner: owner.into(), zone, value, way, since: NOW }
    }

    #[test]
    fn it_survives_its_text() {
        let mut challenges = Challenges::default();
        let all =
            [challenge("_acme-challenge.a.example.com", "x", true), challenge("b.example.com", "y", false)];
        all.iter().cloned().for_each(|one| challenges.add(one));
        challenges.add(Challenge { since: NOW + time::Duration::HOUR, ..all[1].clone() });
        let text = challenges.to_text().unwrap();
        let again = Challenges::parse(Path::new("c"), &text).unwrap();
        assert_eq!((again.iter().count(), &again), (2, &challenges), "{text}");
        challenges.remove(&all);
        assert_eq!(challenges.iter().count(), 1, "the later one is another");
    }

    #[test]
    fn a_newer_version_and_junk_are_refused_with_their_position() {
        let fault = |text| Challenges::parse(Path::new("c"), text).unwrap_err().to_string();
        assert!(fault("version = 2\nnew = 1\n").contains("newer"));
        assert!(fault("version = 1\n[[challenge]]\nby = \"post\"\n").starts_with("c:"));
    }

    #[test]
    fn the_file_of_a_zone() {
        let mut challenges = Challenges::default();
        let gone = challenge("_acme-challenge.example.com", "three", true);
        for one in [
            challenge("_acme-challenge.www.example.com", "two", true),
            challenge("_acme-challenge.example.com", "one", true),
            challenge("_acme-challenge.example.com", "by-update", false),
            Challenge {
                name: "other.example.com".into(),
                ..challenge("_acme-challenge.example.com", "one", true)
            },
            Challenge { zone: "example.net".into(), ..challenge("_acme-challenge.example.net", "x", true) },
            gone.clone(),
        ] {
            challenges.add(one);
        }
        let expected = ";; acme-challenge for : example.com\n;; acme-challenge : example.com\n\
            _acme-challenge.example.com. 60 IN TXT \"one\"\n_acme-challenge.www.example.com. 60 IN TXT \"two\"\n";
        assert_eq!(challenges.include_file("example.com", &[gone]), expected);
        let bare = ";; acme-challenge for : example.org\n;; acme-challenge : example.org\n";
        assert_eq!(challenges.include_file("example.org", &[]), bare);
    }

    #[test]
    fn texts_that_stay_in_their_quotes() {
        for good in ["a", "0-_Az", &"a".repeat(255)] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", "a b", "a\"b", "a\\", "a\n$INCLUDE x", "ü", &"a".repeat(256)] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }
}
