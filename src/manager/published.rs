//! Since when each TLSA record is in its zone, and since when every name server shows it: a successor may take
//! over only when no resolver can still hold a set of records without its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::dane::Record;
use super::record;
use super::schedule::UNKNOWN_TTL;
use crate::fault::Fault;
use crate::ledger::Digest;

/// The version of the format that this program writes, and the highest that it reads.
const VERSION: u32 = 1;

/// The records that are in the zones, by apex domain; each by the digest of its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published(BTreeMap<String, BTreeMap<Digest, State>>);

/// How it stands with one record, or with several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Since when it is in the zone; of several, the last.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Since when every name server of the zone is known to show it; of several, the last, and nothing while one
    /// of them is not.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub seen: Option<OffsetDateTime>,
    /// Its TTL in seconds; nothing for the zone's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// For how many seconds resolvers may hold the set of records that was in the zone before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u32>,
    /// The name servers that did not show it when they were last asked, in words.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub missing: BTreeSet<String>,
}

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
    #[serde(flatten)]
    state: State,
}

impl Published {
    /// Reads what was recorded.
    ///
    /// # Errors
    /// [`Fault`] with the position; also for a newer version.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let read: Text = record::read(path, text, VERSION)?;
        let mut published = Self::default();
        for entry in read.record {
            published.0.entry(entry.zone).or_default().insert(entry.digest, entry.state);
        }
        Ok(published)
    }

    /// The text of it.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        let of_zone = |(zone, records): (&String, &BTreeMap<Digest, State>)| {
            let entry = |(digest, state): (&Digest, &State)| Entry {
                zone: zone.clone(),
                digest: digest.clone(),
                state: state.clone(),
            };
            records.iter().map(entry).collect::<Vec<_>>()
        };
        let record = self.0.iter().flat_map(of_zone).collect();
        toml::to_string(&Text { version: VERSION, record }).map_err(|error| error.to_string())
    }

    /// Records that a zone holds exactly these records now; what is known of those that it held before stays.
    pub fn set<'r>(
        &mut self,
        zone: &str,
        records: impl IntoIterator<Item = &'r Record>,
        now: OffsetDateTime,
    ) {
        let before = self.0.remove(zone).unwrap_or_default();
        let held = before.values().map(|state| state.ttl.unwrap_or(UNKNOWN_TTL)).max();
        let records: BTreeMap<_, _> = records
            .into_iter()
            .map(|record| {
                let digest = digest(record);
                let fresh =
                    || State { since: now, seen: None, ttl: record.ttl, held, missing: BTreeSet::new() };
                let state = before.get(&digest).cloned().unwrap_or_else(fresh);
                (digest, state)
            })
            .collect();
        if !records.is_empty() {
            self.0.insert(zone.to_owned(), records);
        }
    }

    /// How it stands with all of these records together; nothing while one of them is not in the zone, and for
    /// no records.
    pub fn state<'r>(&self, zone: &str, records: impl IntoIterator<Item = &'r Record>) -> Option<State> {
        let zone = self.0.get(zone)?;
        let states: Option<Vec<State>> =
            records.into_iter().map(|record| zone.get(&digest(record)).cloned()).collect();
        states?.into_iter().reduce(|mut all, one| {
            all.missing.extend(one.missing);
            State {
                since: all.since.max(one.since),
                seen: all.seen.zip(one.seen).map(|(all, one)| all.max(one)),
                ttl: all.ttl.zip(one.ttl).map(|(all, one)| all.max(one)),
                held: all.held.max(one.held),
                missing: all.missing,
            }
        })
    }

    /// Records that a zone's name servers were asked for a record of it: all show it, or these do not.
    pub fn looked(&mut self, zone: &str, record: &Record, missing: BTreeSet<String>, now: OffsetDateTime) {
        let state = self.0.get_mut(zone).and_then(|records| records.get_mut(&digest(record)));
        if let Some(state) = state.filter(|state| state.seen.is_none()) {
            state.seen = missing.is_empty().then_some(now);
            state.missing = missing;
        }
    }

    /// Says whether a zone holds exactly these records.
    pub fn holds<'r>(&self, zone: &str, records: impl IntoIterator<Item = &'r Record>) -> bool {
        let wanted: BTreeSet<_> = records.into_iter().map(digest).collect();
        let there: BTreeSet<_> =
            self.0.get(zone).map(|zone| zone.keys().cloned().collect()).unwrap_or_default();
        there == wanted
    }
}

fn digest(record: &Record) -> Digest {
    Digest::of(record.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(data: u8, ttl: Option<u32>) -> Record {
        let owner = "_443._tcp.example.com".to_owned();
        Record { owner, ttl, usage: 3, selector: 1, matching: 1, data: vec![data] }
    }

    #[test]
    fn a_record_keeps_its_time_and_all_count() {
        let at = |hour| time::macros::datetime!(2026-11-25 00:00 UTC) + time::Duration::hours(hour);
        let [a, b, c] = [(1, Some(60)), (2, Some(30)), (3, None)].map(|(data, ttl)| record(data, ttl));
        let mut published = Published::default();
        published.set("example.com", [&a], at(1));
        published.looked("example.com", &a, BTreeSet::new(), at(1));
        published.set("example.com", [&a, &b], at(2));
        let again = Published::parse(Path::new("p"), &published.to_text().unwrap()).unwrap();
        assert_eq!(again, published);
        let since = |records: &[&Record]| {
            again.state("example.com", records.iter().copied()).map(|state| state.since)
        };
        assert_eq!([since(&[&a]), since(&[&a, &b]), since(&[&a, &c])], [Some(at(1)), Some(at(2)), None]);
        assert_eq!(again.state("example.net", [&a]), None);
        assert!(again.holds("example.com", [&b, &a]) && !again.holds("example.com", [&a]));
        assert!(again.holds("example.net", []));

        // Until all are seen, none is; and what they replace is held for the longest of the old TTLs.
        let both = |published: &Published| published.state("example.com", [&a, &b]).unwrap();
        assert_eq!((both(&published).seen, both(&published).held), (None, Some(60)));
        published.looked("example.com", &b, BTreeSet::from(["ns2: is late".to_owned()]), at(3));
        assert_eq!(both(&published).missing, BTreeSet::from(["ns2: is late".to_owned()]));
        published.looked("example.com", &b, BTreeSet::new(), at(4));
        published.looked("example.com", &a, BTreeSet::from(["ns2: was restarted".to_owned()]), at(5));
        assert_eq!((both(&published).seen, both(&published).missing), (Some(at(4)), BTreeSet::new()));
        assert_eq!(Published::parse(Path::new("p"), &published.to_text().unwrap()).unwrap(), published);

        published.set("example.com", [&c], at(6));
        published.set("example.com", [&a], at(7));
        let state = published.state("example.com", [&a]).unwrap();
        assert_eq!(state.since, at(7), "it was withdrawn in between");
        assert_eq!((state.seen, state.held), (None, Some(UNKNOWN_TTL)));
        assert!(Published::parse(Path::new("p"), "version = 2\n").is_err());
    }

    /// The first of them is as an earlier release wrote it, before name servers were asked.
    #[test]
    fn the_first_version_is_read_and_written_as_ever() {
        let text = include_str!("../../tests/fixtures/manager-published-v1.toml");
        let published = Published::parse(Path::new("p"), text).unwrap();
        let again = Published::parse(Path::new("p"), &published.to_text().unwrap()).unwrap();
        assert_eq!(again, published);
        let state = |zone: &str, data, ttl| published.state(zone, [&record(data, ttl)]).unwrap();
        let first = state("example.com", 1, None);
        assert_eq!((first.seen, first.held, first.ttl), (None, None, None));
        let second = state("example.com", 2, Some(300));
        assert_eq!(second.seen, Some(time::macros::datetime!(2026-11-25 02:00:03.25 UTC)));
        assert_eq!((second.ttl, second.held), (Some(300), Some(3600)));
        assert_eq!(state("example.net", 1, None).missing.len(), 1);
    }
}
