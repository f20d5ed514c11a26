//! TLSA records as text that a zone includes (RFC 1035 section 5.1), in the layout of ssl-mgr.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Link, Record, Version};

/// Digits of a line; a value of as many goes into parentheses.
const WIDTH: usize = 72;
const INDENT: usize = 20;

/// The text of `tlsa.rr`; `date` is the name of the directory that it lies in.
pub fn service_file(apex: &str, service: &str, date: &str, records: &[Record]) -> String {
    let mut text = format!(";;\n;; tlsa {apex} {service} {date}\n;;\n");
    text.extend(records.iter().map(Record::to_string));
    text
}

/// The text of `tlsa.<apex>`: what is in the zone for all services of a group. Without any record it is the
/// header alone, which takes away what was published before.
///
/// A record that has been written already is kept as a comment, all of its lines. All records of a name get
/// the lowest of their TTLs, as they would in a resolver (RFC 2181 section 5.2), unless the zone's default is
/// among them.
pub fn group_file(apex: &str, versions: &[Version]) -> String {
    let phase = match versions.iter().any(|version| version.link == Link::Next) {
        true => "roll next to curr",
        false => "normal",
    };
    let mut text = format!(";;\n;; TLSA {apex} : phase = {phase}\n;;\n");
    let lowest = lowest_ttls(versions);
    let mut seen = BTreeSet::new();
    for version in versions.iter().filter(|version| !version.records.is_empty()) {
        let link = match version.link {
            Link::Curr => "curr",
            Link::Next => "next",
        };
        text.extend([";;\n;; ", version.service.as_str(), " ", link, "\n;;\n"]);
        for record in &version.records {
            let ttl = lowest.get(record.owner.as_str()).copied().or(record.ttl);
            let lines = Record { ttl, ..record.clone() }.to_string();
            let mark = if seen.insert(record.identity()) { "" } else { ";; " };
            text.extend(lines.split_inclusive('\n').flat_map(|line| [mark, line]));
        }
    }
    text.push('\n');
    text
}

/// For each name the lowest TTL; nothing where the zone's default, which is not known here, is among them.
fn lowest_ttls(versions: &[Version]) -> BTreeMap<&str, u32> {
    let mut lowest: BTreeMap<&str, Option<u32>> = BTreeMap::new();
    for record in versions.iter().flat_map(|version| &version.records) {
        let ttl = lowest.entry(&record.owner).or_insert(record.ttl);
        *ttl = (*ttl).min(record.ttl);
    }
    lowest.into_iter().filter_map(|(owner, ttl)| Some((owner, ttl?))).collect()
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { owner, ttl, usage, selector, matching, data } = self;
        write!(f, "{owner}. ")?;
        if let Some(ttl) = ttl {
            write!(f, "{ttl} ")?;
        }
        let hex = data.iter().fold(String::with_capacity(2 * data.len()), |mut hex, octet| {
            let _ = write!(hex, "{octet:02x}");
            hex
        });
        if hex.len() < WIDTH {
            return writeln!(f, " IN TLSA {usage} {selector} {matching} {hex}");
        }
        write!(f, " IN TLSA ( {usage} {selector} {matching}")?;
        let mut rest = hex.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(WIDTH));
            write!(f, "\n{:INDENT$}{line}", "")?;
            rest = after;
        }
        writeln!(f, " )")
    }
}
