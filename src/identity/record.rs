//! The identity as it is recorded, and in what it differs from another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Facet, Fingerprint, Identity};

/// The facets that were known when something was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Record {
    /// First label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Rest of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Addresses of global scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<BTreeSet<IpAddr>>,
    /// Digest of the machine-id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<Fingerprint>,
    /// Digest of the hardware's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Fingerprint>,
    /// Digest of the subject fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Fingerprint>,
}

impl Record {
    /// The names this identity went by: the full one and the short one.
    pub fn names(&self) -> BTreeSet<String> {
        let Some(label) = &self.hostname else { return BTreeSet::new() };
        let mut names = BTreeSet::from([label.clone()]);
        if let Some(domain) = &self.domain {
            names.insert(format!("{label}.{domain}"));
        }
        names
    }

    /// What of it tells machines apart: for host keys and secrets nothing else counts.
    pub fn of_machine(&self) -> Self {
        Self { machine_id: self.machine_id.clone(), hardware: self.hardware.clone(), ..Self::default() }
    }

    /// Takes the present machine for the recorded one: it was restored, not cloned.
    pub fn take_machine(&mut self, now: &Identity) {
        let known = now.known();
        self.machine_id = known.machine_id.or(self.machine_id.take());
        self.hardware = known.hardware.or(self.hardware.take());
    }

    pub(super) fn shown(&self) -> BTreeMap<Facet, String> {
        let addresses = self
            .addresses
            .as_ref()
            .map(|set| if set.is_empty() { "none".to_owned() } else { join(set.iter(), ", ") });
        [
            (Facet::Hostname, self.hostname.clone()),
            (Facet::Domain, self.domain.clone()),
            (Facet::Addresses, addresses),
            (Facet::MachineId, self.machine_id.as_ref().map(ToString::to_string)),
            (Facet::Hardware, self.hardware.as_ref().map(ToString::to_string)),
            (Facet::Seed, self.seed.as_ref().map(ToString::to_string)),
        ]
        .into_iter()
        .filter_map(|(facet, value)| Some((facet, value?)))
        .collect()
    }
}

/// The watched facets in which two identities differ; empty when they agree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Drift(pub(super) BTreeMap<Facet, Change>);

/// One facet before and after, as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The recorded value.
    pub was: String,
    /// The present value.
    pub now: String,
}

impl Drift {
    /// Says whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Facets with every one that has to be watched with one of them: a copy of a whole disk keeps its
/// machine-id, and only the hardware tells that it is one.
pub fn with_kin(mut watched: BTreeSet<Facet>) -> BTreeSet<Facet> {
    if watched.contains(&Facet::MachineId) {
        watched.insert(Facet::Hardware);
    }
    watched
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes =
            self.0.iter().map(|(facet, change)| format!("{facet} was {}, is {}", change.was, change.now));
        f.write_str(&join(changes, "; "))
    }
}

fn join<T: fmt::Display>(items: impl Iterator<Item = T>, separator: &str) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(separator)
}
