//! Whose files are, and with that whether they may be replaced unasked: a pure function of what lies
//! there, what is recorded, and the names that this machine goes and went by.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::{Artifact, Bundle, Found};
use crate::pki::container::Part;
use crate::pki::inspect::Certificate;

/// Whose a bundle of files is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is there.
    Absent,
    /// We made it, and nobody changed it.
    Managed,
    /// A packaging script made it.
    Placeholder(String),
    /// It signed itself, in this machine's name.
    StaleSelfSigned(String),
    /// We made it, and somebody changed it.
    Modified(String),
    /// Somebody else's, or unknown.
    Foreign(String),
    /// It follows the machine, and is what is recorded.
    Recorded,
    /// It follows this machine from now on: nothing was recorded of it, or something else.
    Unrecorded(String),
}

impl Verdict {
    /// Says whether the files may be replaced without being asked to.
    pub fn is_replaceable(&self) -> bool {
        !matches!(self, Self::Modified(_) | Self::Foreign(_) | Self::Unrecorded(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Managed => f.write_str("managed: made by reseed, unchanged"),
            Self::Placeholder(why) => write!(f, "placeholder: {why}"),
            Self::StaleSelfSigned(why) => write!(f, "self-signed: {why}"),
            Self::Modified(why) => write!(f, "modified: {why}"),
            Self::Foreign(why) => write!(f, "foreign: {why}"),
            Self::Recorded => f.write_str("as recorded"),
            Self::Unrecorded(why) => write!(f, "taken for this machine's own: {why}"),
        }
    }
}

impl Bundle {
    /// Says whose these files are; `names` are those that the machine goes and went by.
    ///
    /// One file that is somebody else's makes the whole bundle theirs, because a key cannot be
    /// replaced without each of its certificates.
    pub fn verdict(&self, names: &BTreeSet<String>) -> Verdict {
        if let Some(other) = &self.tracked {
            return Verdict::Foreign(other.clone());
        }
        let mut verdict = Verdict::Absent;
        for artifact in &self.artifacts {
            let next = artifact.verdict(names);
            if severity(&next) > severity(&verdict) {
                verdict = next;
            }
        }
        match (&verdict, self.key_without_certificate()) {
            (Verdict::Absent, Some(key)) => Verdict::Foreign(format!(
                "{} holds a key without a certificate; a request for one may be under way",
                key.display()
            )),
            _ => verdict,
        }
    }

    fn key_without_certificate(&self) -> Option<&Path> {
        let keys = self.artifacts.iter().find(|a| a.content().is_some_and(|c| c.key.is_some()))?;
        let certificates =
            self.artifacts.iter().any(|a| a.content().is_some_and(|c| c.certificate.is_some()));
        (!certificates).then_some(keys.path.as_path())
    }
}

impl Artifact {
    fn verdict(&self, names: &BTreeSet<String>) -> Verdict {
        let path = self.path.display();
        match &self.found {
            Found::Absent => Verdict::Absent,
            Found::Ours(_) => Verdict::Managed,
            // A key that an ordinary user may not read says nothing; its certificate does.
            Found::Unreadable(_) if !self.holds.contains(&Part::Certificate) => Verdict::Absent,
            Found::Unreadable(why) => Verdict::Foreign(format!("{path} cannot be read: {why}")),
            Found::Other(content) if content.was_ours => {
                Verdict::Modified(format!("{path} was made by reseed and has been changed since"))
            }
            Found::Other(content) => match &content.certificate {
                Some(Ok(certificate)) => judge(certificate, names, self.default_path),
                Some(Err(why)) => Verdict::Foreign(format!("{path}: {why}")),
                None if self.holds.contains(&Part::Certificate) => {
                    Verdict::Foreign(format!("{path} holds no certificate"))
                }
                None => Verdict::Absent,
            },
        }
    }
}

/// Whose a certificate is that the ledger does not know.
fn judge(certificate: &Certificate, names: &BTreeSet<String>, default_path: bool) -> Verdict {
    if let Some(field) = placeholder_field(certificate) {
        return Verdict::Placeholder(format!("made by a packaging script: it says {field}"));
    }
    if !certificate.self_signed {
        return Verdict::Foreign(format!("issued by {}", certificate.issuer_line()));
    }
    let mut named = certificate.names();
    if !named.is_empty() && named.iter().all(|name| is_localhost(name)) {
        return Verdict::Placeholder("made by a packaging script: it says localhost".into());
    }
    named.retain(|name| !is_localhost(name));
    if let Some(name) = named.iter().find(|name| names.contains(*name)) {
        return Verdict::StaleSelfSigned(format!("signed by itself in this machine's name {name}"));
    }
    if default_path && says_nothing_but_a_name(certificate) {
        let name = certificate.common_name().unwrap_or("a host");
        return Verdict::Placeholder(format!(
            "at the package's own path, signed by itself, says nothing but {name}"
        ));
    }
    Verdict::Foreign(format!(
        "signed by itself for {}, which is no name of this machine",
        certificate.subject_line()
    ))
}

/// Subject fields that packaging scripts write; nobody means them.
///
/// Sources: the scriptlets of sendmail, postfix, prosody and unrealircd; `make-dummy-cert` of
/// openssl; sscg (`O=Unspecified`); Debian's `update_tls` (`O=Sendmail`); openssl's built-in
/// defaults.
const PLACEHOLDERS: [(&str, &str); 9] = [
    ("ST", "SomeState"),
    ("L", "SomeCity"),
    ("O", "SomeOrganization"),
    ("OU", "SomeOrganizationalUnit"),
    ("C", "--"),
    ("O", "Default Company Ltd"),
    ("O", "Internet Widgits Pty Ltd"),
    ("O", "Unspecified"),
    ("O", "Sendmail"),
];

/// The field by which a certificate is known as a placeholder. One that somebody else signed is
/// one only if its issuer is a placeholder too: sscg's throw-away CA.
fn placeholder_field(certificate: &Certificate) -> Option<String> {
    let says = |attributes: &[(String, String)]| {
        let known = |(name, value): &&(String, String)| {
            PLACEHOLDERS.iter().any(|(field, text)| field == name && text == value)
        };
        attributes.iter().find(known).map(|(name, value)| format!("{name}={value}"))
    };
    let field = says(&certificate.subject)?;
    (certificate.self_signed || says(&certificate.issuer).is_some()).then_some(field)
}

/// Fields that claim something untrue of the site, not only a name that may have been right.
pub fn claims_something_untrue(certificate: &Certificate) -> Option<String> {
    let untrue = |(name, value): &&(String, String)| {
        value.starts_with("Some") && PLACEHOLDERS.iter().any(|(field, text)| field == name && text == value)
    };
    certificate.subject.iter().find(untrue).map(|(name, value)| format!("{name}={value}"))
}

fn says_nothing_but_a_name(certificate: &Certificate) -> bool {
    certificate.subject.iter().all(|(name, _)| name == "CN" || name == "emailAddress")
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.starts_with("localhost.") || name.ends_with(".localdomain")
}

/// Of several verdicts in one bundle the one that protects most decides.
fn severity(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Absent => 0,
        Verdict::Placeholder(_) => 1,
        Verdict::StaleSelfSigned(_) => 2,
        Verdict::Managed | Verdict::Recorded => 3,
        Verdict::Modified(_) => 4,
        Verdict::Foreign(_) | Verdict::Unrecorded(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::artifact::{Certificates, Content, What};
    use crate::ledger::{Digest, Made};
    use crate::pki::Algorithm;

    fn certificate(subject: &[(&str, &str)], issuer: &[(&str, &str)], names: &[&str]) -> Certificate {
        let pairs = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        Certificate {
            subject: pairs(subject),
            issuer: pairs(issuer),
            dns_names: names.iter().map(|name| (*name).into()).collect(),
            addresses: BTreeSet::new(),
            serial: None,
            not_before: OffsetDateTime::UNIX_EPOCH,
            not_after: OffsetDateTime::UNIX_EPOCH,
            self_signed: subject == issuer,
            public_digest: [0; 32],
            subject_hash: String::new(),
        }
    }

    #[test]
    fn whose_a_certificate_is() {
        let names = BTreeSet::from(["old.example.com".to_owned(), "old".to_owned()]);
        let dummy: &[_] = &[("C", "--"), ("ST", "SomeState"), ("CN", "mail.example.com")];
        let sscg: &[_] = &[("C", "US"), ("O", "Unspecified"), ("CN", "box")];
        let throwaway: &[_] = &[("C", "US"), ("O", "Unspecified"), ("OU", "ca-123")];
        let sendmail: &[_] = &[("O", "Sendmail"), ("OU", "Sendmail Server"), ("CN", "box.build")];
        let real_ca: &[_] = &[("O", "Example CA"), ("CN", "Issuing 1")];
        let ours: &[_] = &[("CN", "old.example.com")];
        let host: &[_] = &[("CN", "factory.build")];
        let site: &[_] = &[("O", "Example"), ("CN", "shop.example.com")];
        let local: &[_] = &[("CN", "localhost.localdomain"), ("emailAddress", "root@localhost.localdomain")];
        // name, subject, issuer, SAN, at the package's path, verdict begins with
        let cases = [
            ("make-dummy-cert", dummy, dummy, &[][..], false, "placeholder"),
            ("sscg with its throw-away CA", sscg, throwaway, &["box"], false, "placeholder"),
            ("Debian's sendmail", sendmail, sendmail, &[], true, "placeholder"),
            ("localhost", local, local, &[], false, "placeholder"),
            ("placeholder fields, but a real CA", dummy, real_ca, &[], true, "foreign: issued"),
            ("issued by a CA for our name", ours, real_ca, &["old.example.com"], true, "foreign: issued"),
            ("self-signed in our old name", ours, ours, &["old.example.com"], false, "self-signed"),
            (
                "self-signed, our name only in the SAN",
                site,
                site,
                &["shop.example.com", "old"],
                false,
                "self-signed",
            ),
            ("a host name at the package's path", host, host, &["factory.build"], true, "placeholder"),
            ("the same elsewhere", host, host, &["factory.build"], false, "foreign: signed by itself"),
            (
                "somebody's own at the package's path",
                site,
                site,
                &["shop.example.com"],
                true,
                "foreign: signed",
            ),
        ];
        for (case, subject, issuer, san, default_path, expected) in cases {
            let found = judge(&certificate(subject, issuer, san), &names, default_path).to_string();
            assert!(found.starts_with(expected), "{case}: {found}");
        }
    }

    fn artifact(holds: Part, found: Found) -> Artifact {
        Artifact {
            path: format!("/etc/x.{holds}").into(),
            real: format!("/etc/x.{holds}").into(),
            holds: vec![holds],
            model: 0,
            owner: "root".into(),
            group: "root".into(),
            mode: 0o600,
            hash_link: None,
            default_path: true,
            copy: false,
            named_by: None,
            found,
            links: BTreeSet::new(),
        }
    }

    fn other(was_ours: bool, certificate: Option<Certificate>, key: bool) -> Found {
        Found::Other(Box::new(Content {
            digest: Digest::of(b"x"),
            was_ours,
            certificate: certificate.map(Ok),
            key: key.then_some(Ok([0; 32])),
            fingerprint: None,
            from_image: false,
        }))
    }

    #[test]
    fn the_file_that_needs_most_protection_decides_for_its_bundle() {
        let made = Made::of(b"x");
        let ours = || Found::Ours(made.clone());
        let dummy = || certificate(&[("O", "SomeOrganization")], &[("O", "SomeOrganization")], &[]);
        let bought = || certificate(&[("CN", "x")], &[("O", "CA")], &[]);
        let denied = || Found::Unreadable("permission denied".into());
        let cases = [
            ("nothing there", Found::Absent, Found::Absent, "absent"),
            ("both ours", ours(), ours(), "managed"),
            ("our certificate gone", ours(), Found::Absent, "managed"),
            ("our key changed", other(true, None, true), ours(), "modified"),
            (
                "our certificate changed for a bought one",
                ours(),
                other(true, Some(bought()), false),
                "modified",
            ),
            ("placeholder", other(false, None, true), other(false, Some(dummy()), false), "placeholder"),
            (
                "placeholder whose key is gone",
                Found::Absent,
                other(false, Some(dummy()), false),
                "placeholder",
            ),
            ("bought", other(false, None, true), other(false, Some(bought()), false), "foreign: issued"),
            ("key alone", other(false, None, true), Found::Absent, "foreign: /etc/x.key holds a key"),
            ("key not readable, placeholder", denied(), other(false, Some(dummy()), false), "placeholder"),
            (
                "certificate not readable",
                other(false, None, true),
                denied(),
                "foreign: /etc/x.certificate cannot",
            ),
            (
                "not a certificate",
                other(false, None, true),
                other(false, None, false),
                "foreign: /etc/x.certificate holds no",
            ),
        ];
        for (case, key, cert, expected) in cases {
            let bundle = Bundle {
                what: What::Certificates(Certificates {
                    managed: None,
                    algorithm: Algorithm::P256,
                    days: 398,
                    models: Vec::new(),
                }),
                artifacts: vec![artifact(Part::Key, key), artifact(Part::Certificate, cert)],
                tracked: None,
            };
            let found = bundle.verdict(&BTreeSet::new()).to_string();
            assert!(found.starts_with(expected), "{case}: {found}");
            let tracked = Bundle { tracked: Some("renewed by certbot".into()), ..bundle };
            assert!(!tracked.verdict(&BTreeSet::new()).is_replaceable(), "{case}, tracked");
        }
    }
}
