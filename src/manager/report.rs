//! What a run of the manager did, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::lineage::VersionName;
use super::name::ServiceName;

/// What became of one service.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// A new version is `next`.
    Made {
        /// Its name.
        version: VersionName,
        /// Why it was made.
        reason: String,
        /// Until when it is valid.
        #[serde(with = "time::serde::rfc3339")]
        expires: OffsetDateTime,
        /// Its key is that of `curr`.
        reused_key: bool,
    },
    /// `next` has become `curr`.
    Rolled {
        /// Its name.
        version: VersionName,
        /// Why now.
        reason: String,
    },
    /// Nothing was done, and nothing had to be.
    Left {
        /// Why.
        reason: String,
    },
    /// Nothing was done, and somebody has to do something.
    Asks {
        /// What.
        request: String,
    },
    /// It failed, and is as it was.
    Failed {
        /// Why.
        error: String,
    },
}

/// What a run did.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// By service, in the order of their names.
    pub services: BTreeMap<ServiceName, Outcome>,
    /// What was put in order before anything else.
    pub repaired: Vec<String>,
    /// Services whose production copy was brought up to date.
    pub published: Vec<String>,
    /// Actions that were carried out.
    pub done: Vec<String>,
    /// Actions that are still to be done, each with the reason.
    pub pending: Vec<String>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// What failed besides.
    pub failures: Vec<String>,
}

impl Report {
    /// Says whether anything failed or is still to be done.
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
            || !self.pending.is_empty()
            || self.services.values().any(|outcome| matches!(outcome, Outcome::Failed { .. }))
    }

    /// Takes over what another part of the run did.
    pub fn absorb(&mut self, other: Self) {
        self.services.extend(other.services);
        self.repaired.extend(other.repaired);
        self.published.extend(other.published);
        self.done.extend(other.done);
        self.pending.extend(other.pending);
        self.notes.extend(other.notes);
        self.failures.extend(other.failures);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made { version, reason, expires, reused_key } => {
                let key = if *reused_key { ", with the same key" } else { "" };
                write!(f, "next is {version}, valid until {}{key}: {reason}", expires.date())
            }
            Self::Rolled { version, reason } => write!(f, "curr is {version}: {reason}"),
            Self::Left { reason } => f.write_str(reason),
            Self::Asks { request } => f.write_str(request),
            Self::Failed { error } => write!(f, "failed, and is as it was: {error}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.repaired {
            writeln!(f, "{line}")?;
        }
        for (name, outcome) in &self.services {
            writeln!(f, "{name}: {outcome}")?;
        }
        for name in &self.published {
            writeln!(f, "{name}: copied to production")?;
        }
        for action in &self.done {
            writeln!(f, "done: {action}")?;
        }
        for action in &self.pending {
            writeln!(f, "still to be done: {action}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}
