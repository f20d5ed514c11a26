//! What an operation did, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::manager::inventory::model::Name;

/// What became of a certificate, one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "says")]
pub enum Outcome {
    /// It was done.
    Done(String),
    /// Nothing was done, and nothing had to be.
    Left(String),
    /// It failed; what holds is recorded.
    Failed(String),
}

/// What an operation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// By certificate, each in the order in which it happened.
    pub certificates: BTreeMap<String, Vec<Outcome>>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// What failed besides.
    pub failures: Vec<String>,
}

impl Report {
    /// Notes what was done.
    pub fn done(&mut self, name: Name, says: impl Into<String>) {
        self.add(name, Outcome::Done(says.into()));
    }

    /// Notes why nothing was done.
    pub fn left(&mut self, name: Name, says: impl Into<String>) {
        self.add(name, Outcome::Left(says.into()));
    }

    /// Notes what failed.
    pub fn failed(&mut self, name: Name, says: impl Into<String>) {
        self.add(name, Outcome::Failed(says.into()));
    }

    fn add(&mut self, name: Name, outcome: Outcome) {
        self.certificates.entry(name.into()).or_default().push(outcome);
    }

    /// Says whether anything failed.
    pub fn has_failed(&self) -> bool {
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
        !self.failures.is_empty() || self.certificates.values().flatten().any(failed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcomes) in &self.certificates {
            for outcome in outcomes {
                match outcome {
                    Outcome::Done(says) | Outcome::Left(says) => writeln!(f, "{name}: {says}")?,
                    Outcome::Failed(says) => writeln!(f, "{name}: failed: {says}")?,
                }
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}
