//! Until when an authority does not want to hear of us: `limits.toml`, kept across runs, so that an account is not
//! limited for longer because it does not listen.

use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::fault::Fault;
use crate::manager::name::ServiceName;
use crate::manager::record;

/// Where the record lies, beneath the manager's own directory.
pub const RECORD: &str = "limits.toml";

/// What is kept of limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    version: u32,
    #[serde(default, rename = "limit", skip_serializing_if = "Vec::is_empty")]
    limits: Vec<Limit>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// URL of the authority's directory.
    pub directory: String,
    /// For whose order it was said; nothing for whatever is asked there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// It is not asked before.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// In the authority's words.
    pub why: String,
}

/// The version of the format that this program writes, and the only one it reads.
const VERSION: u32 = 1;

impl Default for Limits {
    fn default() -> Self {
        Self { version: VERSION, limits: Vec::new() }
    }
}

impl Limits {
    /// Reads the text of the record.
    ///
    /// # Errors
    /// [`Fault`] with its position; a later version is refused, never guessed at.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        record::read(path, text, VERSION)
    }

    /// The text as it is written to disk.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        let body = toml::to_string(self).map_err(|error| format!("the limits cannot be written: {error}"))?;
        Ok(format!("# Until when authorities do not want to be asked, written by `reseed manager`.\n{body}"))
    }

    /// The limit that keeps an order from being sent, the one that lasts longest; nothing when there is none.
    pub fn holding(&self, directory: &str, service: &ServiceName, now: OffsetDateTime) -> Option<&Limit> {
        let name = service.to_string();
        let about = |limit: &&Limit| {
            limit.directory == directory
                && limit.until > now
                && limit.service.as_ref().is_none_or(|service| *service == name)
        };
        self.limits.iter().filter(about).max_by_key(|limit| limit.until)
    }

    /// Every limit that is kept, for people.
    pub fn iter(&self) -> impl Iterator<Item = &Limit> {
        self.limits.iter()
    }

    /// Remembers what an authority has said about an order, or about everything (`None`); its last word counts.
    pub fn note(&mut self, directory: &str, service: Option<&ServiceName>, until: OffsetDateTime, why: &str) {
        let service = service.map(ToString::to_string);
        self.limits.retain(|limit| limit.directory != directory || limit.service != service);
        self.limits.push(Limit { directory: directory.to_owned(), service, until, why: why.to_owned() });
        let key = |limit: &Limit| (limit.directory.clone(), limit.service.clone());
        self.limits.sort_by_key(key);
    }

    /// Forgets what is past; says whether there was anything.
    pub fn forget(&mut self, now: OffsetDateTime) -> bool {
        let before = self.limits.len();
        self.limits.retain(|limit| limit.until > now);
        self.limits.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "limits.toml";

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_767_225_600 + seconds).unwrap()
    }

    #[test]
    fn version_1_is_frozen() {
        let text = include_str!("../../../tests/fixtures/acme-limits-v1.toml");
        let limits = Limits::parse(Path::new(PATH), text).unwrap();
        assert_eq!(limits.limits.len(), 2);
        assert_eq!(limits.to_text().unwrap(), text, "what was read is written as it was");
        for (case, text, expected) in [
            ("later", "version = 2\n", ":1:11: version 2"),
            ("none", "", ":1:1: "),
            ("misspelt", "version = 1\nlimits = []\n", ":2:1: unknown field"),
        ] {
            let fault = Limits::parse(Path::new(PATH), text).expect_err(case).to_string();
            assert!(fault.contains(expected), "{case}: {fault}");
        }
    }

    #[test]
    fn who_is_held_back() {
        let [web, mail] = ["web", "mail"].map(|name| ServiceName::new("a.example", name).unwrap());
        let mut limits = Limits::default();
        limits.note("https://a", Some(&web), at(60), "too many of these");
        limits.note("https://b", None, at(30), "busy");
        for (case, directory, service, seconds, expected) in [
            ("its own", "https://a", &web, 0, Some("too many of these")),
            ("another's", "https://a", &mail, 0, None),
            ("over", "https://a", &web, 60, None),
            ("everybody", "https://b", &mail, 29, Some("busy")),
            ("elsewhere", "https://c", &web, 0, None),
        ] {
            let found = limits.holding(directory, service, at(seconds));
            assert_eq!(found.map(|limit| limit.why.as_str()), expected, "{case}");
        }
        limits.note("https://b", Some(&web), at(90), "and you");
        let found = limits.holding("https://b", &web, at(0)).map(|limit| limit.until);
        assert_eq!(found, Some(at(90)), "the one that lasts longest");
        limits.note("https://a", Some(&web), at(10), "shorter now");
        assert_eq!(limits.holding("https://a", &web, at(20)), None, "the last word counts");
        assert!(limits.forget(at(31)) && !limits.forget(at(31)));
        assert_eq!(limits.iter().count(), 1);
    }
}
