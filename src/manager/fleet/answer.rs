//! What follows from the reports of all machines.

use std::collections::{BTreeMap, BTreeSet};

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
    pub reasons: Vec<String>,
    /// When it reported last.
    #[serde(with = "time::serde::rfc3339")]
    pub seen: OffsetDateTime,
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
    /// It has not reported for a week.
    Silent,
    /// All is well.
    Fresh,
}

impl State {
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
}

/// Puts together what all machines say; of two reports of one machine the later counts.
pub fn answer(reports: &[HostReport], now: OffsetDateTime) -> Answer {
    let mut latest: BTreeMap<&str, &HostReport> = BTreeMap::new();
    for report in reports {
        let known = latest.entry(&report.host).or_insert(report);
        if known.at < report.at {
            *known = report;
        }
    }
    let mut hosts: Vec<Host> = latest.values().map(|report| host(report, now)).collect();
    hosts.sort_by(|one, other| (one.state, &one.host).cmp(&(other.state, &other.host)));
    Answer { hosts, expiries: expiries(&latest), shared: shared(&latest) }
}

fn host(report: &HostReport, now: OffsetDateTime) -> Host {
    let silent = now - report.at > Duration::days(SILENT_DAYS);
    let held: Vec<String> = report.held.iter().map(|(unit, why)| format!("{unit}: {why}")).collect();
    let stale: Vec<String> = report
        .hooks
        .iter()
        .flat_map(|hook| hook.stale.iter().chain(&hook.failure).map(|why| format!("{}: {why}", hook.hook)))
        .collect();
    let (state, reasons) = match (&report.improper, silent) {
        _ if !held.is_empty() => (State::Held, held),
        (Some(why), _) => (State::Improper, vec![why.clone()]),
        _ if !stale.is_empty() => (State::Stale, stale),
        (None, true) => {
            (State::Silent, vec![format!("no report for {} days", (now - report.at).whole_days())])
        }
        (None, false) => (State::Fresh, Vec::new()),
    };
    Host { host: report.host.clone(), state, reasons, seen: report.at }
}

fn expiries(reports: &BTreeMap<&str, &HostReport>) -> Vec<Expiry> {
    let mut found: BTreeMap<&str, Expiry> = BTreeMap::new();
    for (report, certificate) in certificates(reports) {
        let expiry = found.entry(&certificate.fingerprint).or_insert_with(|| Expiry {
            places: Vec::new(),
            names: certificate.names.clone(),
            fingerprint: certificate.fingerprint.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        });
        expiry.places.push(place(report, certificate));
    }
    let mut expiries: Vec<Expiry> = found.into_values().collect();
    expiries
        .sort_by(|one, other| (one.not_after, &one.fingerprint).cmp(&(other.not_after, &other.fingerprint)));
    expiries
}

fn certificates<'r>(
    reports: &BTreeMap<&str, &'r HostReport>,
) -> impl Iterator<Item = (&'r HostReport, &'r CertificateReport)> {
    let of = |report: &&'r HostReport| {
        let report: &'r HostReport = report;
        report.certificates.iter().map(move |certificate| (report, certificate))
    };
    reports.values().flat_map(of)
}

fn place(report: &HostReport, certificate: &CertificateReport) -> Place {
    Place { host: report.host.clone(), path: certificate.path.display().to_string() }
}

fn shared(reports: &BTreeMap<&str, &HostReport>) -> Vec<Shared> {
    let mut found: BTreeMap<(What, &str), BTreeSet<Place>> = BTreeMap::new();
    let whole = |report: &HostReport| Place { host: report.host.clone(), path: String::new() };
    for report in reports.values() {
        if let Some(machine) = &report.machine {
            found.entry((What::MachineId, machine)).or_default().insert(whole(report));
        }
        for key in &report.host_keys {
            found.entry((What::HostKey, key)).or_default().insert(whole(report));
        }
    }
    let mut of_key: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, certificate) in certificates(reports) {
        of_key.entry(&certificate.key).or_default().insert(&certificate.fingerprint);
    }
    for (report, certificate) in certificates(reports) {
        let is_one = of_key.get(certificate.key.as_str()).is_some_and(|all| all.len() == 1);
        let what = if is_one { What::Certificate } else { What::Key };
        found.entry((what, &certificate.key)).or_default().insert(place(report, certificate));
    }
    let on_several =
        |places: &BTreeSet<Place>| places.iter().map(|place| &place.host).collect::<BTreeSet<_>>().len() > 1;
    found
        .into_iter()
        .filter(|(_, places)| on_several(places))
        .map(|((what, digest), places)| Shared {
            what,
            digest: digest.to_owned(),
            places: places.into_iter().collect(),
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::report::{HookReport, machine};
    use super::*;

    pub const NOW: OffsetDateTime = time::macros::datetime!(2026-11-25 10:00 UTC);

    pub fn certificate(path: &str, fingerprint: &str, key: &str, days: i64) -> CertificateReport {
        CertificateReport {
            path: path.into(),
            verdict: "managed".into(),
            fingerprint: fingerprint.into(),
            key: key.into(),
            names: vec![format!("{fingerprint}.example.com")],
            not_before: NOW - Duration::days(60),
            not_after: NOW + Duration::days(days),
        }
    }

    #[test]
    fn how_machines_stand() {
        let stale = HookReport { hook: "apache2".into(), stale: vec!["renamed".into()], failure: None };
        let failed = HookReport { hook: "apache2".into(), stale: vec![], failure: Some("no room".into()) };
        let hook = |hook: &HookReport| {
            let hook = hook.clone();
            move |report: &mut HostReport| report.hooks.push(hook.clone())
        };
        type Change = Box<dyn Fn(&mut HostReport)>;
        let cases: [(&str, Change, State, &str); 7] = [
            ("nothing", Box::new(|_| {}), State::Fresh, ""),
            ("stale", Box::new(hook(&stale)), State::Stale, "apache2: renamed"),
            ("failed", Box::new(hook(&failed)), State::Stale, "apache2: no room"),
            (
                "improper",
                Box::new(|one| one.improper = Some("localhost".into())),
                State::Improper,
                "localhost",
            ),
            (
                "held, whatever else",
                Box::new(|one| {
                    one.improper = Some("localhost".into());
                    one.held.insert("apache2.service".into(), "stale".into());
                }),
                State::Held,
                "apache2.service: stale",
            ),
            ("a week ago", Box::new(|one| one.at = NOW - Duration::days(7)), State::Fresh, ""),
            (
                "longer ago",
                Box::new(|one| one.at = NOW - Duration::hours(24 * 7 + 1)),
                State::Silent,
                "no report for 7 days",
            ),
        ];
        for (case, change, state, reason) in cases {
            let mut report = HostReport::new("a.example.com", NOW);
            change(&mut report);
            let found = answer(&[report], NOW);
            let [host] = found.hosts.as_slice() else { panic!("{case}") };
            assert_eq!((host.state, host.reasons.join("; ").as_str()), (state, reason), "{case}");
        }
    }

    #[test]
    fn the_later_report_of_a_machine_counts() {
        let old = HostReport { improper: Some("x".into()), ..HostReport::new("a", NOW - Duration::days(1)) };
        let new = HostReport::new("a", NOW);
        for reports in [[old.clone(), new.clone()], [new, old]] {
            let found = answer(&reports, NOW);
            assert_eq!(found.hosts.iter().map(|host| host.state).collect::<Vec<_>>(), [State::Fresh]);
        }
    }

    #[test]
    fn what_is_shared() {
        let report =
            |host: &str, id: &str, host_key: &str, certificates: Vec<CertificateReport>| HostReport {
                machine: Some(machine(id)),
                host_keys: vec![host_key.into()],
                certificates,
                ..HostReport::new(host, NOW)
            };
        let reports = [
            report(
                "a",
                "1",
                "SHA256:x",
                vec![certificate("/c", "f1", "k1", 10), certificate("/d", "f2", "k2", 5)],
            ),
            report("b", "1", "SHA256:y", vec![certificate("/c", "f1", "k1", 10)]),
            report(
                "c",
                "2",
                "SHA256:y",
                vec![certificate("/c", "f3", "k2", 1), certificate("/e", "f4", "k4", 2)],
            ),
            report(
                "d",
                "3",
                "SHA256:z",
                vec![certificate("/c", "f5", "k5", 3), certificate("/e", "f6", "k5", 4)],
            ),
        ];
        let found = answer(&reports, NOW);
        let shared: Vec<String> = found
            .shared
            .iter()
            .map(|shared| {
                let places: Vec<String> =
                    shared.places.iter().map(|place| format!("{}{}", place.host, place.path)).collect();
                format!("{}: {}", shared.what.name(), places.join(" "))
            })
            .collect();
        assert_eq!(shared, ["machine-id: a b", "SSH host key: b c", "key: a/d c/c", "certificate: a/c b/c"]);
        let ends: Vec<&str> = found.expiries.iter().map(|expiry| expiry.fingerprint.as_str()).collect();
        assert_eq!(ends, ["f3", "f4", "f5", "f6", "f2", "f1"]);
        assert_eq!(found.expiries[5].places.len(), 2);
    }
}
