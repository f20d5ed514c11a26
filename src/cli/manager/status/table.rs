//! A line for each service, for people.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use time::OffsetDateTime;

use super::days;
use crate::cli::text;
use crate::manager::lineage::Link;
use crate::manager::schedule::Due;
use crate::manager::status::{ServiceStatus, Status, VersionStatus};

/// Writes all of it.
pub fn write(out: &mut impl Write, seen: &Status) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["SERVICE", "SERVED UNTIL", "LEFT", "RENEWAL", "KEY", "REMARKS"]);
    for service in &seen.services {
        table.add_row(row(service, seen.now));
    }
    writeln!(out, "{}", table.trim_fmt())
}

fn row(service: &ServiceStatus, now: OffsetDateTime) -> [String; 6] {
    let curr = service.versions.iter().find(|version| version.link == Link::Curr);
    let until = curr.and_then(|curr| curr.certificate.as_ref()).map(|certificate| certificate.not_after);
    let left = match until {
        Some(until) if until > now => days(until - now),
        Some(_) => "EXPIRED".to_owned(),
        None => "-".to_owned(),
    };
    [
        service.name.to_string(),
        until.map_or_else(|| "nothing is served".to_owned(), |until| until.date().to_string()),
        left,
        service.due.as_ref().map_or_else(|| "unknown".to_owned(), |due| renewal(due, now)),
        curr.and_then(|curr| curr.key.clone()).unwrap_or_default(),
        remarks(service),
    ]
}

fn renewal(due: &Due, now: OffsetDateTime) -> String {
    match due {
        Due::Later { at } => format!("in {}", days(*at - now)),
        Due::Renew(reason) => format!("now: {reason}"),
        // What it waits for is among the remarks.
        Due::Waiting { .. } => "next waits to be rolled".to_owned(),
        Due::Ask(reason) => format!("on demand: {reason}"),
    }
}

fn remarks(service: &ServiceStatus) -> String {
    let of_version = |version: &VersionStatus| {
        let link = version.link;
        version.problems.iter().map(|problem| format!("{link}: {problem}")).collect::<Vec<_>>()
    };
    let mut remarks: Vec<String> = service.versions.iter().flat_map(of_version).collect();
    remarks.extend(service.problems.iter().cloned());
    remarks.extend(service.roll.as_ref().map(|roll| format!("next {roll}")));
    remarks.extend(service.requests.last().map(|_| "a request waits for an answer".to_owned()));
    text::printable(&remarks.join("; "))
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::manager::name::ServiceName;
    use crate::manager::schedule::Reason;

    const NOW: OffsetDateTime = datetime!(2026-11-25 10:00 UTC);

    #[test]
    fn what_a_row_says() {
        let certificate = || {
            let subject = crate::seed::Subject::default();
            crate::pki::issue::tests::made("www.example.com", crate::pki::Algorithm::P256, &subject).0
        };
        let version = |not_after| VersionStatus {
            link: Link::Curr,
            version: "20261101-00:00:00".into(),
            certificate: Some(crate::pki::inspect::Certificate { not_after, ..certificate() }),
            key: Some("secp256r1".into()),
            signature: None,
            made: None,
            problems: Vec::new(),
        };
        let service = |versions, due, problems: &[&str]| ServiceStatus {
            name: ServiceName::parse("example.com/www").unwrap(),
            versions,
            requests: Vec::new(),
            due,
            renew_at: None,
            roll: None,
            problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
        };
        let later = Due::Later { at: NOW + Duration::days(30) };
        let cases = [
            (
                "good",
                service(vec![version(NOW + Duration::days(60))], Some(later), &[]),
                ["2027-01-24", "60 d", "in 30 d", "secp256r1", ""],
            ),
            (
                "hours",
                service(vec![version(NOW + Duration::hours(30))], Some(later), &[]),
                ["2026-11-26", "30 h", "in 30 d", "secp256r1", ""],
            ),
            (
                "expired",
                service(vec![version(NOW - Duration::hours(1))], Some(Due::Renew(Reason::Missing)), &[]),
                ["2026-11-25", "EXPIRED", "now: there is none", "secp256r1", ""],
            ),
            (
                "nothing, with what a terminal would obey",
                service(Vec::new(), None, &["odd\x1b[2J"]),
                ["nothing is served", "-", "unknown", "", "odd\\u{1b}[2J"],
            ),
        ];
        for (case, service, expected) in cases {
            assert_eq!(row(&service, NOW)[1..], expected.map(str::to_owned), "{case}");
        }
    }
}
