//! What follows from the reports of all machines, and from what the inventory says is out.
//!
//! Reports come one at a time and are let go of at once: what is kept of each is what the answer says of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::report::{CertificateReport, HostReport};

/// After how long without a report a machine counts as silent, in days.
const SILENT_DAYS: i64 = 7;

/// What is to be said of all machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// How each machine stands, those first that want somebody.
    pub hosts: Vec<Host>,
    /// Every certificate, those first that end first.
    pub expiries: Vec<Expiry>,
    /// What several machines have that each should have for itself.
    pub shared: Vec<Shared>,
    /// Reports that cannot be read, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// How a machine stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Host {
    /// Its name.
    pub host: String,
    /// In a word.
    pub state: State,
    /// Why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What happened to it since it was last put right, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub happened: Option<String>,
    /// When it reported last; nothing where it never did.
    #[serde(with = "time::serde::rfc3339::option")]
    pub seen: Option<OffsetDateTime>,
}

/// How a machine stands, in a word; the order is that in which they are looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Services are held back.
    Held,
    /// It has no name that is fit for a certificate.
    Improper,
    /// Something that follows from who it is no longer holds.
    Stale,
    /// It has not reported for a week, or never.
    Silent,
    /// All is well.
    Fresh,
}

impl State {
    /// Every state, in the order in which they are looked after.
    pub const ALL: [Self; 5] = [Self::Held, Self::Improper, Self::Stale, Self::Silent, Self::Fresh];

    /// In lower case, for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Improper => "improper",
            Self::Stale => "stale",
            Self::Silent => "silent",
            Self::Fresh => "fresh",
        }
    }
}

/// When a certificate ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Expiry {
    /// Under which name the inventory has it; nothing where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The machines that serve it, each with the file.
    pub places: Vec<Place>,
    /// The names that it is for.
    pub names: Vec<String>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// Start of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// End of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
}

impl Expiry {
    /// What people call it.
    pub fn title(&self) -> String {
        let name = self.certificate.as_ref().or(self.names.first());
        match (name, self.places.first()) {
            (Some(name), _) => name.clone(),
            (None, Some(place)) => place.to_string(),
            (None, None) => self.fingerprint.clone(),
        }
    }
}

/// Where something lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// The machine.
    pub host: String,
    /// The file, where it is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.host),
            false => write!(f, "{}:{}", self.host, self.path),
        }
    }
}

/// What several machines have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shared {
    /// What it is.
    pub what: What,
    /// Its digest.
    pub digest: String,
    /// Where.
    pub places: Vec<Place>,
}

/// What should be one machine's alone; the order is that of how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The machine-id: one is a copy of the other.
    MachineId,
    /// An SSH host key: whoever has the one can stand in for the other.
    HostKey,
    /// The key of different certificates.
    Key,
    /// The key of one certificate that several serve, which may be meant.
    Certificate,
}

impl What {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::MachineId => "machine-id",
            Self::HostKey => "SSH host key",
            Self::Key => "key",
            Self::Certificate => "certificate",
        }
    }

    /// What it means, for people.
    pub fn means(self) -> &'static str {
        match self {
            Self::MachineId => "one is a clone of the other",
            Self::HostKey => "each can stand in for the other",
            Self::Key => "different certificates have one key",
            Self::Certificate => "one certificate, which may be meant",
        }
    }
}

/// An instance of the inventory that is out on hosts, or signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The certificate's name.
    pub certificate: String,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// SHA-256 of the certificate of each of its keys, in hexadecimal digits.
    pub digests: Vec<String>,
    /// The hosts that have it.
    pub hosts: Vec<String>,
}

/// An answer that is being put together. Of a machine comes at most one report.
#[derive(Debug)]
pub struct Gathering {
    now: OffsetDateTime,
    answer: Answer,
    reported: HashSet<String>,
    expiries: HashMap<String, Expiry>,
    /// Machine-ids and host keys.
    marks: HashMap<(What, String), Vec<Place>>,
    keys: HashMap<String, KeyUse>,
}

/// Who has a key of certificates.
#[derive(Debug)]
struct KeyUse {
    /// The first certificate that was seen of it.
    fingerprint: String,
    /// There are others.
    is_of_several: bool,
    places: Vec<Place>,
}

impl Gathering {
    /// Begins one of which nothing is known yet.
    pub fn new(now: OffsetDateTime) -> Self {
        Self {
            now,
            answer: Answer::default(),
            reported: HashSet::new(),
            expiries: HashMap::new(),
            marks: HashMap::new(),
            keys: HashMap::new(),
        }
    }

    /// Takes a report.
    pub fn report(&mut self, report: HostReport) {
        self.answer.hosts.push(host(&report, self.now));
        let mark = |what: What, digest: String| ((what, digest), whole(&report.host));
        let keys = report.host_keys.iter().map(|key| mark(What::HostKey, key.clone()));
        for (key, place) in report.machine.iter().map(|id| mark(What::MachineId, id.clone())).chain(keys) {
            self.marks.entry(key).or_default().push(place);
        }
        for certificate in report.certificates {
            self.certificate(&report.host, certificate);
        }
        self.reported.insert(report.host.to_ascii_lowercase());
    }

    fn certificate(&mut self, host: &str, certificate: CertificateReport) {
        let place = Place { host: host.to_owned(), path: certificate.path };
        let fingerprint = certificate.fingerprint.to_ascii_lowercase();
        let used = self.keys.entry(certificate.key).or_insert_with(|| KeyUse {
            fingerprint: fingerprint.clone(),
            is_of_several: false,
            places: Vec::new(),
        });
        used.is_of_several |= used.fingerprint != fingerprint;
        used.places.push(place.clone());
        let expiry = self.expiries.entry(fingerprint.clone()).or_insert_with(|| Expiry {
            certificate: None,
            places: Vec::new(),
            names: certificate.names,
            fingerprint,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        });
        expiry.places.push(place);
    }

    /// Takes a report that cannot be read, with the reason.
    pub fn unread(&mut self, why: String) {
        self.answer.unread.push(why);
    }

    /// Takes an instance of the inventory; of a certificate that machines report, it has the same fingerprint.
    pub fn in_use(&mut self, instance: InUse) {
        for digest in instance.digests {
            let fingerprint = digest.to_ascii_lowercase();
            let expiry = self.expiries.entry(fingerprint.clone()).or_insert_with(|| Expiry {
                certificate: None,
                places: Vec::new(),
                names: Vec::new(),
                fingerprint,
                not_before: instance.not_before,
                not_after: instance.not_after,
            });
            expiry.certificate = Some(instance.certificate.clone());
            let known: HashSet<String> =
                expiry.places.iter().map(|place| place.host.to_ascii_lowercase()).collect();
            let others = instance.hosts.iter().filter(|host| !known.contains(&host.to_ascii_lowercase()));
            expiry.places.extend(others.map(|host| whole(host)));
        }
    }

    /// Takes a host of the inventory: one that never reported is silent. Where no machine of the site reports,
    /// nobody expects any to.
    pub fn expected(&mut self, host: &str) {
        if self.reported.is_empty() || self.reported.contains(&host.to_ascii_lowercase()) {
            return;
        }
        self.answer.hosts.push(Host {
            host: host.to_owned(),
            state: State::Silent,
            reasons: vec!["it is in the inventory, and has never reported".into()],
            happened: None,
            seen: None,
        });
    }

    /// The answer.
    pub fn finish(mut self) -> Answer {
        self.answer.hosts.sort_by(|one, other| (one.state, &one.host).cmp(&(other.state, &other.host)));
        self.answer.expiries = self.expiries.into_values().collect();
        for expiry in &mut self.answer.expiries {
            expiry.places.sort();
        }
        let order = |one: &Expiry, other: &Expiry| {
            (one.not_after, &one.fingerprint).cmp(&(other.not_after, &other.fingerprint))
        };
        self.answer.expiries.sort_by(order);
        let keys = self.keys.into_iter().map(|(digest, used)| {
            let what = if used.is_of_several { What::Key } else { What::Certificate };
            ((what, digest), used.places)
        });
        self.answer.shared = shared(self.marks.into_iter().chain(keys));
        self.answer
    }
}

fn whole(host: &str) -> Place {
    Place { host: host.to_owned(), path: String::new() }
}

fn shared(found: impl Iterator<Item = ((What, String), Vec<Place>)>) -> Vec<Shared> {
    let on_several = |places: &[Place]| {
        places.first().is_some_and(|first| places.iter().any(|place| place.host != first.host))
    };
    let found = found.filter(|(_, places)| on_several(places));
    let sorted: BTreeMap<(What, String), Vec<Place>> = found.collect();
    sorted
        .into_iter()
        .map(|((what, digest), places)| {
            let places: BTreeSet<Place> = places.into_iter().collect();
            Shared { what, digest, places: places.into_iter().collect() }
        })
        .collect()
}

fn host(report: &HostReport, now: OffsetDateTime) -> Host {
    let silent = now - report.at > Duration::days(SILENT_DAYS);
    let held: Vec<String> = report.held.iter().map(|(unit, why)| format!("{unit}: {why}")).collect();
    let of_hooks = report
        .hooks
        .iter()
        .flat_map(|hook| hook.stale.iter().chain(&hook.failure).map(|why| format!("{}: {why}", hook.hook)));
    let stale: Vec<String> = of_hooks.chain(report.faults.iter().cloned()).collect();
    let (state, reasons) = match (&report.improper, silent) {
        _ if !held.is_empty() => (State::Held, held),
        (Some(why), _) => (State::Improper, vec![why.clone()]),
        _ if !stale.is_empty() => (State::Stale, stale),
        (None, true) => {
            (State::Silent, vec![format!("no report for {} days", (now - report.at).whole_days())])
        }
        (None, false) => (State::Fresh, Vec::new()),
    };
    Host {
        host: report.host.clone(),
        state,
        reasons,
        happened: report.happened.clone(),
        seen: Some(report.at),
    }
}

#[cfg(test)]
pub(super) mod tests;
