//! Since when each TLSA record is in its zone: a successor may take over only when no resolver can still
//! hold a set of records without its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::fault::Fault;
use crate::ledger::Digest;

/// The version of the format that this program writes, and the highest that it reads.
const VERSION: u32 = 1;

/// The records that are in the zones, by apex domain; each by the digest of its text, with its time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published(BTreeMap<String, BTreeMap<Digest, OffsetDateTime>>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    #[serde(default)]
    record: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    zone: String,
    digest: Digest,
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
}

impl Published {
    /// Reads what was recorded.
    ///
    /// # Errors
    /// [`Fault`] with the position; also for a newer version.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let read: Text = toml::from_str(text).map_err(|error| Fault::toml(path, text, &error))?;
        if read.version > VERSION {
            let message = format!("version {} was written by a newer reseed", read.version);
            return Err(Fault::whole(path, message));
        }
        let mut published = Self::default();
        for entry in read.record {
            published.0.entry(entry.zone).or_default().insert(entry.digest, entry.since);
        }
        Ok(published)
    }

    /// The text of it.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        let of_zone = |(zone, records): (&String, &BTreeMap<Digest, OffsetDateTime>)| {
            let entry = |(digest, since): (&Digest, &OffsetDateTime)| Entry {
                zone: zone.clone(),
                digest: digest.clone(),
                since: *since,
            };
            records.iter().map(entry).collect::<Vec<_>>()
        };
        let record = self.0.iter().flat_map(of_zone).collect();
        toml::to_string(&Text { version: VERSION, record }).map_err(|error| error.to_string())
    }

    /// Records that a zone holds exactly these records now; those that it held before keep their time.
    pub fn set(&mut self, zone: &str, records: impl IntoIterator<Item = String>, now: OffsetDateTime) {
        let before = self.0.remove(zone).unwrap_or_default();
        let records: BTreeMap<_, _> = records
            .into_iter()
            .map(|record| {
                let digest = Digest::of(record.as_bytes());
                let since = before.get(&digest).copied().unwrap_or(now);
                (digest, since)
            })
            .collect();
        if !records.is_empty() {
            self.0.insert(zone.to_owned(), records);
        }
    }

    /// Since when all of these records are in a zone; nothing while one of them is not.
    pub fn since<'a>(
        &self,
        zone: &str,
        records: impl IntoIterator<Item = &'a str>,
    ) -> Option<OffsetDateTime> {
        let zone = self.0.get(zone)?;
        let times: Option<BTreeSet<_>> =
            records.into_iter().map(|record| zone.get(&Digest::of(record.as_bytes())).copied()).collect();
        times?.last().copied()
    }

    /// Says whether a zone holds exactly these records.
    pub fn holds(&self, zone: &str, records: impl IntoIterator<Item = String>) -> bool {
        let wanted: BTreeSet<_> = records.into_iter().map(|record| Digest::of(record.as_bytes())).collect();
        let there: BTreeSet<_> =
            self.0.get(zone).map(|zone| zone.keys().cloned().collect()).unwrap_or_default();
        there == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_its_time_and_all_count() {
        let at = |hour| time::macros::datetime!(2026-11-25 00:00 UTC) + time::Duration::hours(hour);
        let own = |records: &[&str]| records.iter().map(|record| (*record).to_owned()).collect::<Vec<_>>();
        let mut published = Published::default();
        published.set("example.com", own(&["a"]), at(1));
        published.set("example.com", own(&["a", "b"]), at(2));
        let again = Published::parse(Path::new("p"), &published.to_text().unwrap()).unwrap();
        assert_eq!(again, published);
        assert_eq!(again.since("example.com", ["a"]), Some(at(1)));
        assert_eq!(again.since("example.com", ["a", "b"]), Some(at(2)));
        assert_eq!(again.since("example.com", ["a", "c"]), None);
        assert_eq!(again.since("example.net", ["a"]), None);
        assert!(again.holds("example.com", own(&["b", "a"])) && !again.holds("example.com", own(&["a"])));
        assert!(again.holds("example.net", own(&[])));
        published.set("example.com", own(&[]), at(3));
        published.set("example.com", own(&["a"]), at(4));
        assert_eq!(published.since("example.com", ["a"]), Some(at(4)), "it was withdrawn in between");
        assert!(Published::parse(Path::new("p"), "version = 2\n").is_err());
    }
}
