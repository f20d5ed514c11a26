//! What an inventory holds: certificates with their names, where they go, and their instances.
//!
//! ```text
//!  certificate ── names, services (TLSA), targets ──► host [jail] [place]
//!       └── instances: state, validity, keys, what became of them on every host
//! ```
//!
//! The rules that the objects keep together are in `objects`; the database has the same in triggers.

mod alteration;
mod at_rest;
mod certificate;
mod instance;
mod name;
mod objects;
mod place;
mod refusal;
mod service;
#[cfg(test)]
mod tests;
mod words;

pub use alteration::{Alteration, CertificateParts, HostParts, Part, PlaceParts, ServiceParts};
pub use at_rest::AtRest;
pub use certificate::{Certificate, DistHost, Target};
pub use instance::{Delivery, Instance, KeyData, KeyInfo, Outcome};
pub use name::Name;
pub use objects::{Checked, Object, Objects, Reference};
pub use place::{Content, FileType, Mode, Occupant, Place, PlacedFile};
pub use refusal::{Refusal, Rule};
pub use service::{Service, ServiceKey, TlsaPrefix};
pub use words::{Algorithms, KeyAlgorithm, Kind, State, SubjectType, Word};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// What is noted of every object, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What somebody wrote about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remarks: Option<String>,
    /// When it came in.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub created: Option<OffsetDateTime>,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub updated: Option<OffsetDateTime>,
}

impl About {
    /// Of something that comes in now.
    pub fn new(now: OffsetDateTime, remarks: Option<String>) -> Self {
        Self { remarks, created: Some(second(now)), updated: None }
    }

    /// Says whether nothing is noted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Without what is less than a second: every store can say that.
pub fn second(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}
