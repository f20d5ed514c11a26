//! TLSA records (RFC 6698, RFC 7671): which key a server shows, said in DNS.
//!
//! ```text
//!  association    what of a certificate stands in a record
//!  owners         for which names there are records
//!  publish        which versions' records are in the zone, before, during and after a roll-over
//!  write, read    the text that the zone includes
//! ```
//!
//! Everything here is values in, values out: who asks for mail exchangers and who writes the files is
//! elsewhere.

pub mod association;
pub mod owners;
pub mod read;
pub mod write;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::lineage::Link;

pub use association::association;
pub use owners::{hosts, records};
pub use read::parse;
pub use write::{group_file, service_file};

/// One TLSA record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Record {
    /// `_port._protocol.host`, in lower case and without the trailing dot.
    pub owner: String,
    /// Seconds; nothing for the zone's default.
    pub ttl: Option<u32>,
    /// Certificate usage, 0 to 3.
    pub usage: u8,
    /// Selector, 0 or 1.
    pub selector: u8,
    /// Matching type, 0 to 2.
    pub matching: u8,
    /// The certificate association data: a digest, or the whole.
    pub data: Vec<u8>,
}

impl Record {
    /// Says whether it is the same record for DNS.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    /// What makes it another record for DNS; the TTL does not (RFC 2181 section 5).
    fn identity(&self) -> (&str, u8, u8, u8, &[u8]) {
        (&self.owner, self.usage, self.selector, self.matching, &self.data)
    }
}

/// The records of one version of a service, as they go into the file of its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The service's name inside the group.
    pub service: String,
    /// Which version.
    pub link: Link,
    /// Its records.
    pub records: Vec<Record>,
}

/// Which of a service's records are in the zone.
///
/// ```text
///                        curr    next    published
///  made, never rolled     -       B      nothing: nobody serves B, and a record would make mail fail
///  rolled                 A       -      A
///  renewed                A       B      A, B
///  rolled                 B       -      B
/// ```
pub fn publish(service: &str, curr: Option<Vec<Record>>, next: Option<Vec<Record>>) -> Vec<Version> {
    let Some(curr) = curr else { return Vec::new() };
    let version = |link, records| Version { service: service.to_owned(), link, records };
    let mut versions = vec![version(Link::Curr, curr)];
    versions.extend(next.map(|next| version(Link::Next, next)));
    versions.retain(|version| !version.records.is_empty());
    versions
}

/// Says whether DNS would see another set of records than in the file that is published; one that cannot be
/// read is always another. `path` is where that file lies.
pub fn changed(path: &Path, published: Option<&str>, fresh: &str) -> bool {
    let set = |text| parse(path, text).map(BTreeSet::from_iter);
    match (set(published.unwrap_or_default()), set(fresh)) {
        (Ok(published), Ok(fresh)) => published != fresh,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
