//! What happened to a machine since it was last recorded, in one word each: it was renamed, it
//! moved, it is a clone.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Facet, Identity, Record};

/// One thing that happened to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing is recorded of it yet.
    First,
    /// It goes by another name.
    Renamed,
    /// It has other addresses.
    Moved,
    /// The site's subject fields are others.
    Reseeded,
    /// The record is another machine's: machine-id or hardware differ.
    Cloned,
    /// The administrator says that it is the recorded machine, brought back.
    Restored,
    /// Something that is recorded of it does not answer now; that is no change.
    Unknown,
}

/// Finds what happened to the machine of `record`, which is `now`; `restored` is the
/// administrator's word that it is the same machine.
pub fn kinds(record: Option<&Record>, now: &Identity, restored: bool) -> BTreeSet<Kind> {
    let Some(record) = record else { return BTreeSet::from([Kind::First]) };
    let differs = |facets: &[Facet]| !now.drift_from(record, &facets.iter().copied().collect()).is_empty();
    let known = now.known().shown();
    let happened = [
        // A name that is not fit for a certificate is no new name: names flap while a machine boots.
        (Kind::Renamed, differs(&[Facet::Hostname, Facet::Domain]) && now.proper().is_ok()),
        (Kind::Moved, differs(&[Facet::Addresses])),
        (Kind::Reseeded, differs(&[Facet::Seed])),
        (Kind::Cloned, differs(&Facet::MACHINE) && !restored),
        (Kind::Restored, restored),
        (Kind::Unknown, record.shown().keys().any(|facet| !known.contains_key(facet))),
    ];
    happened.into_iter().filter(|(_, is)| *is).map(|(kind, _)| kind).collect()
}

/// Tells it to people; nothing when nothing happened.
pub fn sentence(kinds: &BTreeSet<Kind>) -> Option<String> {
    let words: Vec<&str> = kinds
        .iter()
        .filter_map(|kind| match kind {
            Kind::Renamed => Some("renamed"),
            Kind::Moved => Some("moved"),
            Kind::Reseeded => Some("given another seed"),
            Kind::Cloned => Some("cloned"),
            Kind::Restored => Some("restored"),
            Kind::First | Kind::Unknown => None,
        })
        .collect();
    if kinds.contains(&Kind::First) {
        return Some("Nothing is recorded of this machine yet.".into());
    }
    let (last, others) = words.split_last()?;
    let list =
        if others.is_empty() { (*last).to_owned() } else { format!("{} and {last}", others.join(", ")) };
    Some(format!("This machine was {list}."))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::identity::{Finding, Fingerprint};

    fn machine() -> Identity {
        let number = |text| Finding::known(Fingerprint::of("test", text), "test");
        Identity {
            hostname: Finding::known("mail".into(), "test"),
            domain: Finding::known("example.com".into(), "test"),
            addresses: Finding::known(BTreeSet::from([IpAddr::from([192, 0, 2, 1])]), "test"),
            machine_id: number("id"),
            hardware: number("board"),
            seed: number("seed"),
        }
    }

    #[test]
    fn what_happened() {
        let other = || Finding::known(Fingerprint::of("test", "other"), "test");
        let www = || Finding::known("www".to_owned(), "test");
        let cases = [
            ("nothing", machine(), "", false),
            ("renamed", Identity { hostname: www(), ..machine() }, "renamed", false),
            ("another domain", Identity { domain: www(), ..machine() }, "renamed", false),
            (
                "flapping",
                Identity { hostname: Finding::known("localhost".into(), "test"), ..machine() },
                "",
                false,
            ),
            (
                "moved",
                Identity { addresses: Finding::known(BTreeSet::new(), "test"), ..machine() },
                "moved",
                false,
            ),
            ("another seed", Identity { seed: other(), ..machine() }, "given another seed", false),
            ("another machine-id", Identity { machine_id: other(), ..machine() }, "cloned", false),
            ("another board", Identity { hardware: other(), ..machine() }, "cloned", false),
            ("another board, restored", Identity { hardware: other(), ..machine() }, "restored", true),
            (
                "renamed and cloned",
                Identity { hostname: www(), machine_id: other(), hardware: other(), ..machine() },
                "renamed and cloned",
                false,
            ),
            (
                "everything",
                Identity { hostname: www(), hardware: other(), seed: other(), ..machine() },
                "renamed, given another seed and cloned",
                false,
            ),
        ];
        let record = machine().to_record(None);
        for (case, now, expected, restored) in cases {
            let said = sentence(&kinds(Some(&record), &now, restored)).unwrap_or_default();
            let expected =
                if expected.is_empty() { String::new() } else { format!("This machine was {expected}.") };
            assert_eq!(said, expected, "{case}");
        }
        assert_eq!(kinds(None, &machine(), true), BTreeSet::from([Kind::First]));
    }

    #[test]
    fn what_does_not_answer_is_no_change() {
        let record = machine().to_record(None);
        let silent = || Finding::unknown("silent");
        let cases = [
            ("machine-id", Identity { machine_id: silent(), ..machine() }),
            ("hardware", Identity { hardware: silent(), ..machine() }),
            ("domain", Identity { domain: Finding::unknown("silent"), ..machine() }),
        ];
        for (case, now) in cases {
            assert_eq!(kinds(Some(&record), &now, false), BTreeSet::from([Kind::Unknown]), "{case}");
            assert_eq!(now.to_record(Some(&record)), record, "{case}: the record keeps it");
        }
    }

    #[test]
    fn of_another_machine_nothing_is_kept_that_tells_machines_apart() {
        let record = machine().to_record(None);
        let clone = Identity {
            machine_id: Finding::known(Fingerprint::of("test", "other"), "test"),
            hardware: Finding::unknown("offline"),
            ..machine()
        };
        let now = clone.to_record(Some(&record));
        assert_eq!((now.hardware, now.hostname), (None, record.hostname));
    }
}
