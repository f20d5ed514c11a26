//! When a certificate is renewed, when its successor takes over, and in which order services come.
//!
//! ```text
//!  targets  how many days before its end a certificate is due
//!  due      whether a service is to be renewed
//!  roll     whether a successor takes over
//! ```
//!
//! Every decision follows from what is recorded: two runs at the same time decide alike.

mod due;
mod roll;
mod targets;

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

pub use due::{Demand, Due, Reason, due};
pub use roll::{Roll, RollReason, Shown, Tlsa, UNKNOWN_TTL, Wait, roll, tlsa_ttl};
pub use targets::{Policy, Targets};

/// What the schedule has to know of one version of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Start of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// End of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// The serial number's octets, most significant first.
    pub serial: Vec<u8>,
    /// When it was made, as recorded; public authorities date `not_before` back.
    #[serde(with = "time::serde::rfc3339")]
    pub made: OffsetDateTime,
    /// Every file is there, and they belong together.
    pub complete: bool,
    /// An authority of ours signed it with a key that it no longer has.
    pub orphaned: bool,
    /// Whoever signed it has taken it back.
    pub revoked: bool,
    /// Its names are no longer those that are configured.
    pub reconfigured: bool,
    /// When whoever signed it wants it to be renewed (RFC 9773), where that is known.
    #[serde(with = "time::serde::rfc3339::option")]
    pub suggested: Option<OffsetDateTime>,
}

/// A moment to the minute, in UTC.
pub fn minute(time: OffsetDateTime) -> impl fmt::Display {
    let time = time.to_offset(time::UtcOffset::UTC);
    fmt::from_fn(move |f| write!(f, "{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute()))
}

#[cfg(test)]
mod tests;
