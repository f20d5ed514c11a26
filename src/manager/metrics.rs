//! What there is of certificates, of what is still to be done, and of runs, as text for Prometheus (its
//! exposition format 0.0.4), such as node_exporter reads from a directory.

use std::collections::BTreeMap;
use std::fmt::Write;

use time::OffsetDateTime;

use super::status::Status;

/// A metric's name and what it says; all are gauges.
const METRICS: [(&str, &str); 8] = [
    (NOT_BEFORE, "When the certificate begins to be valid, in seconds since 1970."),
    (NOT_AFTER, "When the certificate ends, in seconds since 1970."),
    (RENEWAL, "When the certificate that is served is due to be renewed, in seconds since 1970."),
    (PENDING, "How much is still to be done for a host."),
    (PENDING_SINCE, "Since when the oldest of it is to be done, in seconds since 1970."),
    (LAST_RUN, "When the last run of the command ended, in seconds since 1970."),
    (LAST_SUCCESS, "When the last run ended that left nothing undone, in seconds since 1970."),
    (LAST_FAILED, "Whether the last run of the command failed, or left something undone: 1, else 0."),
];
const NOT_BEFORE: &str = "reseed_certificate_not_before_timestamp_seconds";
const NOT_AFTER: &str = "reseed_certificate_not_after_timestamp_seconds";
const RENEWAL: &str = "reseed_certificate_renewal_timestamp_seconds";
const PENDING: &str = "reseed_pending_actions";
const PENDING_SINCE: &str = "reseed_pending_since_timestamp_seconds";
const LAST_RUN: &str = "reseed_last_run_timestamp_seconds";
const LAST_SUCCESS: &str = "reseed_last_success_timestamp_seconds";
const LAST_FAILED: &str = "reseed_last_run_failed";

/// The text.
pub fn text(status: &Status) -> String {
    let samples = samples(status);
    let mut text = String::new();
    for (name, help) in METRICS {
        let Some(of_metric) = samples.get(name) else { continue };
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (labels, value) in of_metric {
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    }
    text
}

/// By metric: labels and value, no labels twice.
type Samples = BTreeMap<&'static str, BTreeMap<String, i64>>;

fn samples(status: &Status) -> Samples {
    let mut samples = Samples::new();
    let mut add = |metric, labels: &[(&str, &str)], value| {
        samples.entry(metric).or_default().insert(labelled(labels), value);
    };
    for service in &status.services {
        let (group, name) = (service.name.group(), service.name.service());
        for version in &service.versions {
            let Some(certificate) = &version.certificate else { continue };
            let labels = [("group", group), ("service", name), ("link", version.link.name())];
            add(NOT_BEFORE, &labels, certificate.not_before.unix_timestamp());
            add(NOT_AFTER, &labels, certificate.not_after.unix_timestamp());
        }
        if let Some(at) = service.renew_at {
            add(RENEWAL, &[("group", group), ("service", name)], at.unix_timestamp());
        }
    }
    // A host with nothing to do says so: what is gone cannot be told from what was never there.
    let mut hosts: BTreeMap<&str, (i64, Option<OffsetDateTime>)> =
        status.hosts.iter().map(|host| (host.as_str(), (0, None))).collect();
    for action in &status.actions {
        let (count, since) = hosts.entry(&action.host).or_default();
        *count += 1;
        *since = Some(since.map_or(action.since, |since| since.min(action.since)));
    }
    for (host, (count, since)) in hosts {
        add(PENDING, &[("host", host)], count);
        if let Some(since) = since {
            add(PENDING_SINCE, &[("host", host)], since.unix_timestamp());
        }
    }
    for ran in &status.runs {
        let labels = [("command", ran.command.as_str())];
        add(LAST_RUN, &labels, ran.last.unix_timestamp());
        add(LAST_FAILED, &labels, i64::from(ran.failed));
        if let Some(success) = ran.success {
            add(LAST_SUCCESS, &labels, success.unix_timestamp());
        }
    }
    samples
}

fn labelled(labels: &[(&str, &str)]) -> String {
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    labels.join(",")
}

/// A label's value: a backslash, a quote and the end of a line are written as two characters.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::manager::history::Ran;
    use crate::manager::lineage::Link;
    use crate::manager::name::ServiceName;
    use crate::manager::status::{ActionStatus, ServiceStatus, VersionStatus};

    const NOW: OffsetDateTime = datetime!(2026-11-25 10:00 UTC);

    #[test]
    fn all_of_it() {
        let subject = crate::seed::Subject::default();
        let certificate =
            crate::pki::issue::tests::made("a.example", crate::pki::Algorithm::P256, &subject).0;
        let version = |link, days| VersionStatus {
            link,
            version: "20261101-00:00:00".into(),
            certificate: Some(crate::pki::inspect::Certificate {
                not_before: NOW,
                not_after: NOW + time::Duration::days(days),
                ..certificate.clone()
            }),
            key: None,
            signature: None,
            made: None,
            problems: Vec::new(),
        };
        let service = |name: &str, versions, renew_at| ServiceStatus {
            name: ServiceName::parse(name).unwrap(),
            versions,
            requests: Vec::new(),
            due: None,
            renew_at,
            roll: None,
            problems: Vec::new(),
        };
        let action = |host: &str, hours| ActionStatus {
            action: String::new(),
            host: host.into(),
            since: NOW - time::Duration::hours(hours),
            groups: Default::default(),
            attempts: 0,
            error: None,
        };
        let ran =
            |command: &str, success, failed| Ran { command: command.into(), last: NOW, success, failed };
        let status = Status {
            services: vec![
                service("a.example/w\"e\\b", vec![version(Link::Curr, 1), version(Link::Next, 2)], Some(NOW)),
                service("a.example/none", Vec::new(), None),
            ],
            hosts: ["mx".to_owned(), "web".to_owned()].into(),
            actions: vec![action("mx", 1), action("mx", 3), action("gone", 2)],
            runs: vec![ran("renew", Some(NOW), false), ran("tend", None, true)],
            ..Status::empty(NOW)
        };
        let n = NOW.unix_timestamp();
        let said: Vec<String> =
            text(&status).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let labels = "group=\"a.example\",service=\"w\\\"e\\\\b\"";
        let expected = [
            format!("{NOT_BEFORE}{{{labels},link=\"curr\"}} {n}"),
            format!("{NOT_BEFORE}{{{labels},link=\"next\"}} {n}"),
            format!("{NOT_AFTER}{{{labels},link=\"curr\"}} {}", n + 86_400),
            format!("{NOT_AFTER}{{{labels},link=\"next\"}} {}", n + 172_800),
            format!("{RENEWAL}{{{labels}}} {n}"),
            format!("{PENDING}{{host=\"gone\"}} 1"),
            format!("{PENDING}{{host=\"mx\"}} 2"),
            format!("{PENDING}{{host=\"web\"}} 0"),
            format!("{PENDING_SINCE}{{host=\"gone\"}} {}", n - 7200),
            format!("{PENDING_SINCE}{{host=\"mx\"}} {}", n - 10_800),
            format!("{LAST_RUN}{{command=\"renew\"}} {n}"),
            format!("{LAST_RUN}{{command=\"tend\"}} {n}"),
            format!("{LAST_SUCCESS}{{command=\"renew\"}} {n}"),
            format!("{LAST_FAILED}{{command=\"renew\"}} 0"),
            format!("{LAST_FAILED}{{command=\"tend\"}} 1"),
        ];
        assert_eq!(said, expected);
        assert_eq!(escaped("a\nb"), "a\\nb");
    }
}
