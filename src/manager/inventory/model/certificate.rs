//! Certificates as they are wished for, and the hosts to which they go.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::place::{Occupant, below};
use super::{About, Algorithms, Kind, Name, Refusal, Rule, ServiceKey, SubjectType};

/// A certificate: what it is for, who signs it, and where its instances go. Its main subject is its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// What it is for.
    pub subject: SubjectType,
    /// Who signs.
    pub kind: Kind,
    /// The table of `ca-info.conf`, or the own authority, that signs; nothing for the usual one of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Nothing is issued or deployed.
    #[serde(default)]
    pub disabled: bool,
    /// Which keys future instances have.
    pub algorithms: Algorithms,
    /// Future instances ask for OCSP stapling (RFC 7633).
    #[serde(default)]
    pub must_staple: bool,
    /// Until when the authority takes its names as proven.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub authorized_until: Option<OffsetDateTime>,
    /// When somebody was last reminded to issue it; only what was really sent.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub reminded: Option<OffsetDateTime>,
    /// For people.
    #[serde(default, skip_serializing_if = "About::is_empty")]
    pub about: About,
    /// Its main subject, for people.
    #[serde(default, skip_serializing_if = "About::is_empty")]
    pub main: About,
    /// The other names in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<Name, About>,
    /// Services for which TLSA records are published.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub services: BTreeSet<ServiceKey>,
    /// Where it goes.
    #[serde(default, rename = "target", skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
}

/// One place to which a certificate goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The host.
    pub host: Name,
    /// The jail on it; nothing for the host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail: Option<Name>,
    /// The place; nothing is written before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Name>,
    /// For people.
    #[serde(default, skip_serializing_if = "About::is_empty")]
    pub about: About,
}

/// A host to which certificates are brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistHost {
    /// The directory beneath which its jails lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail_root: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "About::is_empty")]
    pub about: About,
    /// Its jails.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jails: BTreeMap<Name, About>,
}

impl Certificate {
    /// One that goes nowhere yet, with its main name only.
    pub fn new(subject: SubjectType, kind: Kind, algorithms: Algorithms) -> Self {
        Self {
            subject,
            kind,
            authority: None,
            disabled: false,
            algorithms,
            must_staple: false,
            authorized_until: None,
            reminded: None,
            about: About::default(),
            main: About::default(),
            names: BTreeMap::new(),
            services: BTreeSet::new(),
            targets: Vec::new(),
        }
    }

    /// What decides names of files.
    pub fn occupant<'a>(&self, name: &'a Name) -> Occupant<'a> {
        Occupant { name, subject: self.subject, chained: self.kind == Kind::Le, algorithms: self.algorithms }
    }

    /// Every host that has to have it.
    pub fn hosts(&self) -> BTreeSet<&Name> {
        self.targets.iter().filter(|target| target.place.is_some()).map(|target| &target.host).collect()
    }
}

impl Target {
    /// Says whether both mean the same.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.host, &self.jail, &self.place) == (&other.host, &other.jail, &other.place)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, jail, place, .. } = self;
        write!(f, "{host}")?;
        if let Some(jail) = jail {
            write!(f, ", jail {jail}")?;
        }
        if let Some(place) = place {
            write!(f, ", place {place}")?;
        }
        Ok(())
    }
}

impl DistHost {
    /// Looks at it alone.
    ///
    /// # Errors
    /// [`Rule::JailRoot`], [`Rule::Climbs`], [`Rule::Form`]
    pub fn check(&self, name: &Name) -> Result<(), Refusal> {
        match &self.jail_root {
            None if !self.jails.is_empty() => Err(Refusal::new(
                Rule::JailRoot,
                format!("host {name} has jails and no directory for them; give it a jail root"),
            )),
            None => Ok(()),
            Some(root) if root.split('/').any(|part| part == "..") => Err(Refusal::new(
                Rule::Climbs,
                format!(
                    "host {name}: the jail root \"{}\" climbs; write it without \"..\"",
                    root.escape_debug()
                ),
            )),
            Some(root) if !root.starts_with('/') || root.chars().any(char::is_control) => Err(Refusal::new(
                Rule::Form,
                format!("host {name}: the jail root \"{}\" is no absolute path", root.escape_debug()),
            )),
            Some(_) => Ok(()),
        }
    }

    /// The directory beneath which the files of a jail, or of the host itself, lie.
    pub fn base(&self, jail: Option<&Name>) -> String {
        match (jail, &self.jail_root) {
            (Some(jail), Some(root)) => format!("{}/{jail}", below(root)),
            _ => String::new(),
        }
    }
}
