//! Instances: what has been issued for a certificate, and what became of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{About, Algorithms, KeyAlgorithm, Name, State};
use crate::pki::key::Secret;

/// One issue of a certificate: one certificate for each of its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its number, by which people name it; never used twice.
    pub id: i64,
    /// Of which certificate, by its main subject.
    pub certificate: Name,
    /// Where it stands.
    pub state: State,
    /// Which keys it has, or is to have.
    pub algorithms: Algorithms,
    /// It asks for OCSP stapling.
    #[serde(default)]
    pub must_staple: bool,
    /// The instance of an own authority, or of the intermediate, that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<i64>,
    /// Start of validity: the latest of its keys'.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub not_before: Option<OffsetDateTime>,
    /// End of validity: the earliest of its keys'.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub not_after: Option<OffsetDateTime>,
    /// Since when its TLSA records are out; nothing while they are not.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub published: Option<OffsetDateTime>,
    /// For people.
    #[serde(default, skip_serializing_if = "About::is_empty")]
    pub about: About,
    /// What became of it on each host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deliveries: BTreeMap<Name, Delivery>,
    /// Its certificates, without what is secret.
    #[serde(default, rename = "key", skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyInfo>,
}

impl Instance {
    /// Says whether it holds a certificate for each of its keys: a pair counts as one.
    pub fn is_whole(&self) -> bool {
        let has = |algorithm: &KeyAlgorithm| self.keys.iter().any(|key| key.algorithm == *algorithm);
        self.algorithms.keys().iter().all(has)
    }

    /// Says whether it is within its time.
    pub fn is_valid(&self, now: OffsetDateTime) -> bool {
        matches!((self.not_before, self.not_after), (Some(from), Some(until)) if from <= now && now < until)
    }

    /// Says whether it lies on a host as it should.
    pub fn is_on(&self, host: &Name) -> bool {
        self.deliveries.get(host).is_some_and(|delivery| delivery.outcome != Outcome::Failed)
    }
}

/// What became of an instance on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// How it ended.
    pub outcome: Outcome,
    /// What the host said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The files lie there, and who reads them has been told.
    Done,
    /// The files lie there; who reads them has still to be told.
    ReloadDue,
    /// The files do not lie there.
    Failed,
}

impl super::Word for Outcome {
    const WHAT: &'static str = "outcome of a delivery";
    const TEXTS: &'static [(Self, &'static str)] =
        &[(Self::Done, "done"), (Self::ReloadDue, "reload-due"), (Self::Failed, "failed")];
}

/// A certificate of an instance, without its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Of which key.
    pub algorithm: KeyAlgorithm,
    /// SHA-256 of the whole certificate, in upper-case hexadecimal digits.
    pub digest: String,
    /// When it came in.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub created: Option<OffsetDateTime>,
}

/// A certificate of an instance, with its key.
#[derive(Clone)]
pub struct KeyData {
    /// What is not secret.
    pub info: KeyInfo,
    /// The certificate in PEM.
    pub certificate: String,
    /// Who is above it, in PEM, the nearest first; empty where the issuer's instance tells.
    pub chain: String,
    /// The private key in PEM, maybe encrypted; empty where there is none, as with an authority elsewhere.
    pub key: Secret,
}

impl PartialEq for KeyData {
    fn eq(&self, other: &Self) -> bool {
        let parts = |data: &Self| (data.info.clone(), data.certificate.clone(), data.chain.clone());
        parts(self) == parts(other) && self.key.reveal() == other.key.reveal()
    }
}

impl fmt::Debug for KeyData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyData").field("info", &self.info).finish_non_exhaustive()
    }
}
