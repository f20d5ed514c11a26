//! Whether a service is to be renewed.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::{Policy, Version, minute};
use crate::manager::name::ServiceName;

/// What somebody wants to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demand {
    /// What is due, but no authority: whoever trusts it has to be told.
    #[default]
    Due,
    /// What is due, authorities too.
    DueWithAuthorities,
    /// Everything that is named, due or not.
    All,
}

/// Whether a service is to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "due")]
pub enum Due {
    /// Not yet.
    Later {
        /// From then on.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// Now.
    Renew(Reason),
    /// It has been renewed: what was made waits for being rolled.
    Waiting {
        /// When it was made.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
        /// Until when it is valid.
        #[serde(with = "time::serde::rfc3339")]
        expires: OffsetDateTime,
    },
    /// An authority that should be renewed, which is only done on demand.
    Ask(Reason),
}

/// Why something is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Reason {
    /// There is none.
    Missing,
    /// It ends soon.
    Ends {
        /// Since when it is due.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
        /// When it ends.
        #[serde(with = "time::serde::rfc3339")]
        expires: OffsetDateTime,
    },
    /// Whoever signed it wants it to be replaced (RFC 9773).
    Suggested {
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
        /// When it ends.
        #[serde(with = "time::serde::rfc3339")]
        expires: OffsetDateTime,
    },
    /// It has ended.
    Expired {
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// Its authority has taken it back.
    Revoked,
    /// Its authority has another key now.
    Orphaned,
    /// The names that are configured are others now.
    Reconfigured,
    /// Somebody wants it.
    Demanded,
}

/// Decides whether a service gets a new certificate.
pub fn due(
    name: &ServiceName,
    curr: Option<&Version>,
    next: Option<&Version>,
    policy: &Policy<'_>,
    demand: Demand,
    now: OffsetDateTime,
) -> Due {
    if demand == Demand::All {
        return Due::Renew(Reason::Demanded);
    }
    // A successor that would itself be due as soon as it is rolled is none.
    if let Some(next) = next.filter(|next| next.complete && wrong(name, next, policy, now).is_none()) {
        return Due::Waiting { since: next.made, expires: next.not_after };
    }
    let Some(curr) = curr else { return Due::Renew(Reason::Missing) };
    match wrong(name, curr, policy, now) {
        None => Due::Later { at: policy.renew_at(name, curr) },
        Some(reason) if name.is_ca() && demand == Demand::Due => Due::Ask(reason),
        Some(reason) => Due::Renew(reason),
    }
}

fn wrong(name: &ServiceName, version: &Version, policy: &Policy<'_>, now: OffsetDateTime) -> Option<Reason> {
    let since = policy.renew_at(name, version);
    if version.not_after <= now {
        Some(Reason::Expired { at: version.not_after })
    } else if version.revoked {
        Some(Reason::Revoked)
    } else if version.orphaned {
        Some(Reason::Orphaned)
    } else if version.reconfigured {
        Some(Reason::Reconfigured)
    } else {
        let expires = version.not_after;
        // One that is put off to the last moment is due because it ends.
        let reason = match version.suggested {
            Some(suggested) if suggested == since => Reason::Suggested { since, expires },
            _ => Reason::Ends { since, expires },
        };
        (since <= now).then_some(reason)
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later { at } => write!(f, "is renewed from {}", minute(*at)),
            Self::Renew(reason) => write!(f, "is renewed: {reason}"),
            Self::Waiting { since, expires } => write!(
                f,
                "was renewed at {} and waits to be rolled; the new one ends at {}",
                minute(*since),
                minute(*expires)
            ),
            Self::Ask(reason) => write!(
                f,
                "should be renewed: {reason}; an authority is renewed only on demand, and whoever trusts it \
                 must be given the new one"
            ),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none"),
            Self::Ends { since, expires } => {
                write!(f, "it ends at {} and is due since {}", minute(*expires), minute(*since))
            }
            Self::Suggested { since, expires } => write!(
                f,
                "its authority wants it replaced since {}; it ends at {}",
                minute(*since),
                minute(*expires)
            ),
            Self::Expired { at } => write!(f, "it ended at {}", minute(*at)),
            Self::Revoked => f.write_str("it is revoked"),
            Self::Orphaned => f.write_str("its authority has another key now"),
            Self::Reconfigured => f.write_str("its names are not those that are configured"),
            Self::Demanded => f.write_str("on demand"),
        }
    }
}
