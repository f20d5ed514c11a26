//! Whether a successor takes over.

use std::fmt;

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::{Version, minute};
use crate::manager::config::Service;

/// The TTL in seconds to reckon with where the zone's own default is in force, which is not known here.
pub const UNKNOWN_TTL: u32 = 86_400;

/// How long a successor has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The site's least age.
    pub least: std::time::Duration,
    /// Its TLSA records, where it has any.
    pub tlsa: Option<Tlsa>,
}

/// The TLSA records of a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlsa {
    /// The largest TTL in seconds with which old ones may still be held by resolvers.
    pub ttl: u32,
    /// Where they can be found.
    pub shown: Shown,
}

/// Where the TLSA records of a successor can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Nowhere: they are still to be brought into the zone.
    Nowhere,
    /// In the zone since then; its name servers cannot be asked.
    Written(OffsetDateTime),
    /// In the zone, but not at all of its name servers.
    Somewhere,
    /// At every name server of the zone since then.
    Everywhere(OffsetDateTime),
}

/// The TTL in seconds to wait for on behalf of a service's TLSA records; nothing when it has none.
pub fn tlsa_ttl(service: &Service) -> Option<u32> {
    (!service.dane.is_empty()).then(|| service.dane_ttl.unwrap_or(UNKNOWN_TTL))
}

/// Whether `next` becomes `curr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "roll")]
pub enum Roll {
    /// There is no `next`.
    Nothing,
    /// Now.
    Now(RollReason),
    /// It is too young, or not yet valid.
    Later {
        /// From then on.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// Its TLSA records must be in the zone first.
    Unpublished,
    /// Its TLSA records must be at every name server of the zone first.
    Unseen,
    /// Files are missing, or do not belong together; not even on demand.
    Incomplete,
    /// It has ended while it waited; not even on demand.
    Expired {
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
}

/// Why it is rolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum RollReason {
    /// There is no `curr` that anybody could still rely on.
    First,
    /// It is old enough.
    Aged {
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// Somebody wants it.
    Demanded,
}

/// Decides whether a successor takes over; `force` takes it at any age.
///
/// Old enough means: the site's least age has passed since it was made, and so has the TTL of the old TLSA
/// records since every name server shows the new ones, so that no resolver holds a set without them (RFC 7671
/// section 8.1). Where name servers cannot be asked, it is twice the TTL since they came into the zone.
pub fn roll(
    next: Option<&Version>,
    curr: Option<&Version>,
    wait: &Wait,
    force: bool,
    now: OffsetDateTime,
) -> Roll {
    let Some(next) = next else { return Roll::Nothing };
    if !next.complete {
        return Roll::Incomplete;
    }
    if next.not_after <= now {
        return Roll::Expired { at: next.not_after };
    }
    if next.not_before > now {
        return Roll::Later { at: next.not_before };
    }
    // What has ended is no use to anybody, save where a TLSA record says that the key alone counts.
    if curr.is_none_or(|curr| curr.not_after <= now && wait.tlsa.is_none()) {
        return Roll::Now(RollReason::First);
    }
    if force {
        return Roll::Now(RollReason::Demanded);
    }
    let mut at = next.made.saturating_add(Duration::try_from(wait.least).unwrap_or(Duration::MAX));
    if let Some(tlsa) = wait.tlsa {
        let (since, times) = match tlsa.shown {
            Shown::Nowhere => return Roll::Unpublished,
            Shown::Somewhere => return Roll::Unseen,
            Shown::Written(since) => (since, 2),
            Shown::Everywhere(since) => (since, 1),
        };
        let held = Duration::seconds(times * i64::from(tlsa.ttl));
        at = at.max(since.max(next.made).saturating_add(held));
    }
    if at <= now { Roll::Now(RollReason::Aged { since: at }) } else { Roll::Later { at } }
}

impl fmt::Display for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("has nothing to roll"),
            Self::Now(RollReason::First) => f.write_str("is rolled: there is no other that is valid"),
            Self::Now(RollReason::Aged { since }) => {
                write!(f, "is rolled: old enough since {}", minute(*since))
            }
            Self::Now(RollReason::Demanded) => f.write_str("is rolled: on demand"),
            Self::Later { at } => write!(f, "is too young: it is rolled from {}", minute(*at)),
            Self::Unpublished => f.write_str("is not rolled: its TLSA records are not in the zone yet"),
            Self::Unseen => {
                f.write_str("is not rolled: not every name server of the zone shows its TLSA records")
            }
            Self::Incomplete => f.write_str("is not rolled: the next one is not complete; renew it"),
            Self::Expired { at } => {
                write!(f, "is not rolled: the next one ended at {}; renew it", minute(*at))
            }
        }
    }
}
