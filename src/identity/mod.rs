//! Who the machine is: six facets, each known with its source or unknown with a reason.
//!
//! Everything derived from identity hangs on two questions answered here. *Drift*: in which
//! facets do the recorded and the present identity differ? *Proper*: may the present one go into
//! a certificate? Unknown is never changed: a source that does not answer makes no drift.

mod kind;
mod name;
mod record;
pub mod sources;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use kind::{Kind, kinds, sentence};
pub use name::{HostName, NameError};
pub use record::{Change, Drift, Record, with_kin};

/// One aspect of who the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Facet {
    /// The machine's own label: `mail` of `mail.example.com`.
    Hostname,
    /// What follows the first label: `example.com`.
    Domain,
    /// Addresses of global scope on its interfaces.
    Addresses,
    /// `machine-id(5)`, only ever kept and compared as a digest.
    MachineId,
    /// The number that its maker or its hypervisor gave it, only ever kept and compared as a digest.
    Hardware,
    /// The site's certificate subject fields.
    Seed,
}

impl Facet {
    /// Every facet, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Hostname, Self::Domain, Self::Addresses, Self::MachineId, Self::Hardware, Self::Seed];
    /// What tells one machine from another, whatever they are called.
    pub const MACHINE: [Self; 2] = [Self::MachineId, Self::Hardware];
}

impl fmt::Display for Facet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hostname => "hostname",
            Self::Domain => "domain",
            Self::Addresses => "addresses",
            Self::MachineId => "machine-id",
            Self::Hardware => "hardware",
            Self::Seed => "seed",
        })
    }
}

/// What was found out about one facet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", untagged)]
pub enum Finding<T> {
    /// The value, and where it came from.
    Known {
        /// The canonical value.
        value: T,
        /// A file, the kernel, the interfaces: in words for the operator.
        source: String,
    },
    /// No source answered; never taken for a change.
    Unknown {
        /// Why, in words.
        unknown: String,
    },
}

impl<T> Finding<T> {
    /// A value with its source.
    pub fn known(value: T, source: impl Into<String>) -> Self {
        Self::Known { value, source: source.into() }
    }

    /// The absence of an answer, with its reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { unknown: reason.into() }
    }

    /// The value when there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unknown { .. } => None,
        }
    }
}

/// A digest that stands for something not to be spread: the machine-id, the hardware's number, the seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The first 128 bits of SHA-256 over a label and the text, in hexadecimal.
    ///
    /// The label keeps digests of different things apart; `machine-id(5)` asks that the id itself
    /// is not handed on, and a keyed digest is what it recommends instead.
    pub fn of(label: &str, text: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(label.as_bytes());
        digest.update([0]);
        digest.update(text.as_bytes());
        Self(digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// All facets at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// The first label of the machine's name.
    pub hostname: Finding<String>,
    /// The rest of its name; absent from a name of one label.
    pub domain: Finding<String>,
    /// Addresses of global scope.
    pub addresses: Finding<BTreeSet<IpAddr>>,
    /// Digest of a valid machine-id.
    pub machine_id: Finding<Fingerprint>,
    /// Digest of the hardware's number.
    pub hardware: Finding<Fingerprint>,
    /// Digest of the subject fields.
    pub seed: Finding<Fingerprint>,
}

impl Identity {
    /// Returns the full name: `hostname.domain`, or the bare label where no domain is known.
    pub fn fqdn(&self) -> Option<HostName> {
        let label = self.hostname.value()?;
        let full = match self.domain.value() {
            Some(domain) => format!("{label}.{domain}"),
            None => label.clone(),
        };
        HostName::parse(&full).ok()
    }

    /// Says whether this identity is fit to be put into a certificate, or in words why not.
    ///
    /// # Errors
    /// [`Improper`] for no name at all, `localhost`, `localdomain`, an address, an invalid name.
    pub fn proper(&self) -> Result<HostName, Improper> {
        if let Finding::Unknown { unknown } = &self.hostname {
            return Err(Improper(unknown.clone()));
        }
        let Some(fqdn) = self.fqdn() else {
            return Err(Improper("the name and its domain together are no valid host name".into()));
        };
        fqdn.proper()?;
        Ok(fqdn)
    }

    /// The facets as they go into the ledger: what is unknown now keeps what `before` says.
    ///
    /// Of another machine nothing is kept that tells machines apart: what is unknown of a clone now
    /// would otherwise look like one more change when it is known.
    pub fn to_record(&self, before: Option<&Record>) -> Record {
        let empty = Record::default();
        let before = before.unwrap_or(&empty);
        let is_same = self.drift_from(before, &BTreeSet::from(Facet::MACHINE)).is_empty();
        let machine = if is_same { before } else { &empty };
        Record {
            hostname: self.hostname.value().or(before.hostname.as_ref()).cloned(),
            domain: self.domain.value().or(before.domain.as_ref()).cloned(),
            addresses: self.addresses.value().or(before.addresses.as_ref()).cloned(),
            machine_id: self.machine_id.value().or(machine.machine_id.as_ref()).cloned(),
            hardware: self.hardware.value().or(machine.hardware.as_ref()).cloned(),
            seed: self.seed.value().or(before.seed.as_ref()).cloned(),
        }
    }

    /// This identity with its unknown facets filled from a record: a resolver that is silent
    /// while a certificate is made must not take the domain out of it.
    pub fn filled_from(&self, record: &Record) -> Self {
        fn fill<T: Clone>(finding: &Finding<T>, recorded: Option<&T>) -> Finding<T> {
            match (finding, recorded) {
                (Finding::Unknown { .. }, Some(value)) => Finding::known(value.clone(), "the ledger"),
                _ => finding.clone(),
            }
        }
        Self {
            hostname: fill(&self.hostname, record.hostname.as_ref()),
            domain: fill(&self.domain, record.domain.as_ref()),
            addresses: fill(&self.addresses, record.addresses.as_ref()),
            machine_id: fill(&self.machine_id, record.machine_id.as_ref()),
            hardware: fill(&self.hardware, record.hardware.as_ref()),
            seed: fill(&self.seed, record.seed.as_ref()),
        }
    }

    /// Says whether anything tells this machine from others. In an image that waits for its first boot
    /// nothing does, and what is made for it then would be the same on every machine made from it.
    pub fn is_known_machine(&self) -> bool {
        self.machine_id.value().is_some() || self.hardware.value().is_some()
    }

    fn known(&self) -> Record {
        Record {
            hostname: self.hostname.value().cloned(),
            domain: self.domain.value().cloned(),
            addresses: self.addresses.value().cloned(),
            machine_id: self.machine_id.value().cloned(),
            hardware: self.hardware.value().cloned(),
            seed: self.seed.value().cloned(),
        }
    }

    /// The watched facets in which this identity differs from a recorded one.
    ///
    /// See [`Self::learnt_since`] for what was unknown then.
    pub fn drift_from(&self, record: &Record, watched: &BTreeSet<Facet>) -> Drift {
        let now = self.known().shown();
        let was = record.shown();
        Drift(
            watched
                .iter()
                .filter_map(|facet| match (was.get(facet), now.get(facet)) {
                    (Some(was), Some(now)) if was != now => {
                        Some((*facet, Change { was: was.clone(), now: now.clone() }))
                    }
                    _ => None,
                })
                .collect(),
        )
    }

    /// The watched facets that were unknown when something was made and are known now: a certificate
    /// for half a name, or without the addresses, says less than it should.
    pub fn learnt_since(&self, record: &Record, watched: &BTreeSet<Facet>) -> Drift {
        let (was, now) = (record.shown(), self.known().shown());
        let learnt = [Facet::Domain, Facet::Addresses].into_iter().filter_map(|facet| {
            let now = now.get(&facet).filter(|_| watched.contains(&facet) && !was.contains_key(&facet))?;
            Some((facet, Change { was: "unknown".to_owned(), now: now.clone() }))
        });
        Drift(learnt.collect())
    }
}

/// Why an identity may not go into a certificate, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{0}")]
#[serde(transparent)]
pub struct Improper(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(hostname: Option<&str>, domain: Option<&str>) -> Identity {
        let finding = |value: Option<&str>| match value {
            Some(value) => Finding::known(value.to_owned(), "test"),
            None => Finding::unknown("no source answered"),
        };
        Identity {
            hostname: finding(hostname),
            domain: finding(domain),
            addresses: Finding::unknown("not live"),
            machine_id: Finding::unknown("absent"),
            hardware: Finding::unknown("not live"),
            seed: Finding::known(Fingerprint::of("seed", ""), "no file"),
        }
    }

    #[test]
    fn proper() {
        let cases = [
            ("full name", Some("mail"), Some("example.com"), Ok("mail.example.com")),
            ("short name", Some("mail"), None, Ok("mail")),
            ("localhost", Some("localhost"), None, Err("localhost")),
            ("the packaging default", Some("localhost"), Some("localdomain"), Err("localhost")),
            ("localhost in a real domain", Some("localhost"), Some("example.com"), Err("localhost")),
            ("localdomain", Some("mail"), Some("localdomain"), Err("localdomain")),
            ("an address", Some("192"), Some("0.2.1"), Err("address")),
            ("no name", None, Some("example.com"), Err("no source")),
        ];
        for (case, hostname, domain, expected) in cases {
            let found = identity(hostname, domain).proper();
            match expected {
                Ok(name) => assert_eq!(found.as_ref().map(HostName::as_str), Ok(name), "{case}"),
                Err(word) => {
                    let reason = found.expect_err(case).0;
                    assert!(reason.contains(word), "{case}: {reason}");
                }
            }
        }
    }

    #[test]
    fn what_was_unknown_and_is_known_now_is_learnt() {
        let short = identity(Some("mail"), None).to_record(None);
        let watched = BTreeSet::from([Facet::Hostname, Facet::Domain]);
        let cases = [
            ("the resolver answers at last", Some("example.com"), "domain was unknown, is example.com"),
            ("it is still silent", None, ""),
        ];
        for (case, domain, expected) in cases {
            let now = identity(Some("mail"), domain);
            assert_eq!(now.learnt_since(&short, &watched).to_string(), expected, "{case}");
            assert!(now.drift_from(&short, &watched).is_empty(), "{case}: it is no change");
            assert!(now.learnt_since(&short, &BTreeSet::from([Facet::Seed])).is_empty(), "{case}");
        }
    }

    #[test]
    fn unknown_is_not_changed() {
        let record = identity(Some("mail"), Some("example.com")).to_record(None);
        let watched = BTreeSet::from(Facet::ALL);
        let cases = [
            ("the same", Some("mail"), Some("example.com"), ""),
            ("resolver silent", Some("mail"), None, ""),
            ("nothing answers", None, None, ""),
            ("renamed", Some("www"), Some("example.com"), "hostname was mail, is www"),
            ("moved domain", Some("mail"), Some("example.org"), "domain was example.com, is example.org"),
        ];
        for (case, hostname, domain, expected) in cases {
            let drift = identity(hostname, domain).drift_from(&record, &watched);
            assert_eq!(drift.to_string(), expected, "{case}");
        }
    }

    #[test]
    fn a_silent_resolver_takes_nothing_out_of_the_record() {
        let full = identity(Some("mail"), Some("example.com")).to_record(None);
        let silent = identity(Some("mail"), None);
        assert_eq!(silent.to_record(Some(&full)), full);
        assert_eq!(silent.filled_from(&full).fqdn().unwrap().as_str(), "mail.example.com");
    }

    #[test]
    fn facets_that_are_not_watched_make_no_drift() {
        let record = identity(Some("mail"), Some("example.com")).to_record(None);
        let drift =
            identity(Some("www"), Some("example.com")).drift_from(&record, &BTreeSet::from([Facet::Seed]));
        assert!(drift.is_empty());
    }
}
