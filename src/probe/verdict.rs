//! What is served, compared with what is on disk: answers and files in, a verdict out.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use time::OffsetDateTime;

use super::{Answer, Fingerprint, KeyKind, Shown};

/// A certificate or host key on disk that a unit should serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The file, as its configuration names it.
    pub file: PathBuf,
    /// What is in it.
    pub fingerprint: Fingerprint,
    /// It is ours to put right, so it has to cover this machine's name.
    pub ours: bool,
}

/// What an endpoint serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// What is on disk, and nothing else.
    Fresh,
    /// What is on disk, and something else: some workers still have the old.
    Mixed {
        /// Answers that showed what is on disk.
        fresh: usize,
        /// Answers that did not.
        old: usize,
    },
    /// What was on disk.
    Stale,
    /// What is on disk, but that does not cover the name.
    WrongName {
        /// The name.
        name: String,
    },
    /// A certificate whose validity is over.
    Ended,
    /// Something that no file here has, and never had as far as is known.
    Foreign,
    /// Nothing was to be compared: it covers the name and is valid.
    Served,
    /// The server is there and offers no TLS.
    NoTls {
        /// In words.
        reason: String,
    },
    /// Nobody listens.
    Closed,
    /// It could not be found out.
    Unknown {
        /// In words.
        reason: String,
    },
}

impl Verdict {
    /// Says whether something is shown that should not be.
    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::Mixed { .. } | Self::Stale | Self::WrongName { .. } | Self::Ended)
    }

    /// Says whether it could not be found out.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Closed)
    }

    /// Says whether some of what is on disk is served.
    pub fn is_partly_fresh(&self) -> bool {
        matches!(self, Self::Fresh | Self::Mixed { .. } | Self::WrongName { .. } | Self::Ended)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("fresh"),
            Self::Mixed { fresh, old } => write!(f, "MIXED: {old} of {} answers are old", fresh + old),
            Self::Stale => f.write_str("STALE"),
            Self::WrongName { name } => write!(f, "WRONG NAME: not for {name}"),
            Self::Ended => f.write_str("ENDED"),
            Self::Foreign => f.write_str("foreign"),
            Self::Served => f.write_str("served"),
            Self::NoTls { reason } => write!(f, "no TLS: {reason}"),
            Self::Closed => f.write_str("nobody listens"),
            Self::Unknown { reason } => write!(f, "unknown: {reason}"),
        }
    }
}

/// With what an endpoint's answers are compared.
pub struct Measure<'a> {
    /// What should be served; where it is empty, nothing is compared with a file.
    pub expected: &'a [Expected],
    /// The name that the certificate should cover.
    pub name: Option<&'a str>,
    /// The present time.
    pub now: OffsetDateTime,
    /// Says of something that is not on disk whether it was there before.
    pub was_here: &'a dyn Fn(&Shown) -> bool,
}

/// Judges the answers of one endpoint.
pub fn judge(answers: &[Answer], measure: &Measure<'_>) -> Verdict {
    let shown: Vec<&Shown> = answers
        .iter()
        .filter_map(|answer| match answer {
            Answer::Shown(shown) => Some(shown.as_ref()),
            _ => None,
        })
        .collect();
    if shown.is_empty() {
        return silence(answers);
    }
    if measure.expected.is_empty() {
        return by_itself(&shown, measure).unwrap_or(Verdict::Served);
    }
    let matching = |shown: &Shown| measure.expected.iter().find(|file| file.fingerprint == shown.fingerprint);
    let (fresh, others): (Vec<&Shown>, Vec<&Shown>) =
        shown.into_iter().partition(|shown| matching(shown).is_some());
    let fresh_kinds: BTreeSet<KeyKind> = fresh.iter().map(|shown| shown.kind).collect();
    // Another certificate for the other kind of key may be another's; for the same kind, another
    // worker shows it.
    let old =
        others.iter().filter(|shown| (measure.was_here)(shown) || fresh_kinds.contains(&shown.kind)).count();
    match (fresh.len(), old) {
        (0, 0) => Verdict::Foreign,
        (0, _) => Verdict::Stale,
        (fresh, old @ 1..) => Verdict::Mixed { fresh, old },
        _ => {
            let ours: Vec<&Shown> =
                fresh.into_iter().filter(|shown| matching(shown).is_some_and(|file| file.ours)).collect();
            by_itself(&ours, measure).unwrap_or(Verdict::Fresh)
        }
    }
}

/// What is wrong with certificates whatever is on disk.
fn by_itself(shown: &[&Shown], measure: &Measure<'_>) -> Option<Verdict> {
    let mut certificates = shown.iter().filter_map(|shown| shown.certificate.as_ref());
    let wrong_name = measure.name.filter(|name| !certificates.clone().all(|one| one.serves(name)));
    if let Some(name) = wrong_name {
        return Some(Verdict::WrongName { name: name.to_owned() });
    }
    certificates.any(|one| one.not_after <= measure.now).then_some(Verdict::Ended)
}

fn silence(answers: &[Answer]) -> Verdict {
    let mut verdict = Verdict::Unknown { reason: "it was not asked".into() };
    for answer in answers {
        match answer {
            // What is known for certain goes before what is not.
            Answer::NoTls(reason) => return Verdict::NoTls { reason: reason.clone() },
            Answer::Closed => verdict = Verdict::Closed,
            Answer::Unknown(reason) => verdict = Verdict::Unknown { reason: reason.clone() },
            Answer::Shown(_) => {}
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tests::{certificate, shown};

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-21 12:00 UTC);

    #[test]
    fn verdicts() {
        let (new, old, other) = (
            certificate("mail.example.com", NOW),
            certificate("old.example.com", NOW),
            certificate("shop.example.net", NOW),
        );
        let ended = certificate("mail.example.com", NOW - time::Duration::days(500));
        let [new, old, other, ended] = [&new, &old, &other, &ended].map(|der| shown(der, KeyKind::Elliptic));
        let rsa = |shown: &Shown| Shown { kind: KeyKind::Rsa, ..shown.clone() };
        let host = |text: &str| Shown {
            fingerprint: Fingerprint(text.into()),
            kind: KeyKind::Host,
            certificate: None,
            chain: 0,
        };
        let on_disk = [&new, &ended, &host("a")].map(|shown| Expected {
            file: "/etc/x.pem".into(),
            fingerprint: shown.fingerprint.clone(),
            ours: true,
        });
        let say = |shown: &Shown| Answer::Shown(Box::new(shown.clone()));
        let mail = Some("mail.example.com");
        let wrong = |name: &str| Verdict::WrongName { name: name.into() };
        let none = || Answer::NoTls("no offer".into());
        let cases = [
            ("all new", vec![say(&new), say(&new)], mail, Verdict::Fresh),
            ("all old", vec![say(&old), say(&old)], mail, Verdict::Stale),
            ("some old", vec![say(&new), say(&old), say(&new)], mail, Verdict::Mixed { fresh: 2, old: 1 }),
            ("another's", vec![say(&other)], mail, Verdict::Foreign),
            ("two kinds, one another's", vec![say(&new), say(&rsa(&other))], mail, Verdict::Fresh),
            (
                "two kinds, one old",
                vec![say(&new), say(&rsa(&old))],
                mail,
                Verdict::Mixed { fresh: 1, old: 1 },
            ),
            ("same kind, unknown", vec![say(&new), say(&other)], mail, Verdict::Mixed { fresh: 1, old: 1 }),
            ("wrong name", vec![say(&new)], Some("web.example.com"), wrong("web.example.com")),
            ("no name asked", vec![say(&new)], None, Verdict::Fresh),
            ("ended", vec![say(&ended)], mail, Verdict::Ended),
            (
                "no tls",
                vec![none(), Answer::Unknown("late".into())],
                mail,
                Verdict::NoTls { reason: "no offer".into() },
            ),
            ("closed", vec![Answer::Closed, Answer::Closed], mail, Verdict::Closed),
            ("late", vec![Answer::Unknown("late".into())], mail, Verdict::Unknown { reason: "late".into() }),
            ("one late", vec![say(&new), Answer::Unknown("late".into())], mail, Verdict::Fresh),
            ("a host key", vec![say(&host("a"))], None, Verdict::Fresh),
            (
                "another host key",
                vec![say(&host("a")), say(&host("b"))],
                None,
                Verdict::Mixed { fresh: 1, old: 1 },
            ),
        ];
        let was_here = |shown: &Shown| shown.fingerprint == old.fingerprint;
        for (case, answers, name, expected) in cases {
            let measure = Measure { expected: &on_disk, name, now: NOW, was_here: &was_here };
            assert_eq!(judge(&answers, &measure), expected, "{case}");
        }
        let by_hand = [
            ("covered", vec![say(&other)], Some("shop.example.net"), Verdict::Served),
            ("not covered", vec![say(&other)], mail, wrong("mail.example.com")),
            ("ended", vec![say(&ended)], mail, Verdict::Ended),
        ];
        for (case, answers, name, expected) in by_hand {
            let measure = Measure { expected: &[], name, now: NOW, was_here: &was_here };
            assert_eq!(judge(&answers, &measure), expected, "by hand: {case}");
        }
    }
}
