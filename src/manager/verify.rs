//! Whether a certificate as it lies in its directory will serve: what a client would say of it, and what
//! only its owner can see, such as whose the key is.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::HostName;
use crate::pki::Usage;
use crate::pki::inspect::Certificate;
use crate::pki::path::{self, Problem, Question, Report};

/// What it must be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Being connected to.
    Server,
    /// Connecting out.
    Client,
    /// Signing others.
    Ca,
}

/// The key that lies beside a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// There is none.
    Absent,
    /// Whose it is cannot be told; why not.
    Unknown(String),
    /// Its [`crate::pki::key::public_digest`].
    Known([u8; 32]),
}

/// What is asked. Certificates and lists are DER.
#[derive(Debug)]
pub struct Request<'a> {
    /// The certificate.
    pub certificate: &'a [u8],
    /// What stands after it in its file, or in `chain.pem`.
    pub chain: &'a [Vec<u8>],
    /// Who is trusted; nobody means the root of the chain itself.
    pub anchors: &'a [Vec<u8>],
    /// Lists of revoked certificates; none asks nothing about revocation.
    pub lists: &'a [Vec<u8>],
    /// What lies beside it.
    pub key: Key,
    /// The host that a client would ask for.
    pub name: Option<&'a str>,
    /// What it must be good for; nothing goes by whether it is an authority's.
    pub purpose: Option<Purpose>,
    /// The present time.
    pub now: OffsetDateTime,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// Whether it leads to somebody who is trusted.
    Path,
    /// Whether it and everything above it is valid now.
    Dates,
    /// Whether it is for the hosts that it should be for.
    Name,
    /// Whether the key beside it is its own.
    Key,
    /// Whether it may be used for what it is used for.
    Purpose,
    /// Whether it or anything above it has been revoked.
    Revocation,
}

impl Aspect {
    const ALL: [Self; 6] = [Self::Path, Self::Dates, Self::Name, Self::Key, Self::Purpose, Self::Revocation];

    fn of(problem: &Problem) -> Self {
        match problem {
            Problem::NotYetValid { .. } | Problem::Expired { .. } => Self::Dates,
            Problem::Name { .. } => Self::Name,
            Problem::Purpose(_) | Problem::CaAsServer => Self::Purpose,
            Problem::Revoked { .. } | Problem::StaleList { .. } | Problem::UnsignedList => Self::Revocation,
            _ => Self::Path,
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Path => "path",
            Self::Dates => "dates",
            Self::Name => "name",
            Self::Key => "key",
            Self::Purpose => "purpose",
            Self::Revocation => "revocation",
        })
    }
}

/// What was found about one aspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// There is nothing by which to tell.
    NotChecked,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "holds",
            Self::Fails => "FAILS",
            Self::NotChecked => "not checked",
        })
    }
}

/// One aspect with its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub aspect: Aspect,
    /// What came of it.
    pub outcome: Outcome,
    /// In words: what holds; or all that stands against it; then what is merely odd.
    pub says: Vec<String>,
}

/// Says whether nothing stands against the certificate.
pub fn is_good(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Fails)
}

/// Looks at every aspect of a certificate.
///
/// # Errors
/// In words, when it is no certificate.
pub fn verify(request: &Request<'_>) -> Result<Vec<Check>, String> {
    let certificate = Certificate::from_der(request.certificate)?;
    let is_ca = is_ca(request.certificate);
    let purpose = request.purpose.unwrap_or(if is_ca { Purpose::Ca } else { Purpose::Server });
    let own_root = own_root(request, &certificate);
    let report = path::verify(&Question {
        certificate: request.certificate,
        intermediates: request.chain,
        anchors: if request.anchors.is_empty() { &own_root } else { request.anchors },
        lists: request.lists,
        now: request.now,
        name: request.name,
        purpose: match purpose {
            Purpose::Server => Some(Usage::Server),
            Purpose::Client => Some(Usage::Client),
            Purpose::Ca => None,
        },
    });
    Ok(Aspect::ALL
        .into_iter()
        .map(|aspect| match aspect {
            Aspect::Path => of_report(&report, aspect, way(request, &report)),
            Aspect::Dates => of_report(&report, aspect, vec![dates(&certificate)]),
            Aspect::Name => name(request, &certificate, purpose, &report),
            Aspect::Key => key(&request.key, &certificate),
            Aspect::Purpose => used_as(&report, purpose, is_ca),
            Aspect::Revocation => revocation(request, &report),
        })
        .collect())
}

/// The chain's own roots, and the certificate where it is one.
fn own_root(request: &Request<'_>, certificate: &Certificate) -> Vec<Vec<u8>> {
    let itself = certificate.self_signed.then(|| request.certificate.to_vec());
    let is_root = |der: &&Vec<u8>| Certificate::from_der(der).is_ok_and(|above| above.self_signed);
    request.chain.iter().filter(is_root).cloned().chain(itself).collect()
}

/// What the report says about an aspect, or else that it holds, and why.
fn of_report(report: &Report, aspect: Aspect, holds: Vec<String>) -> Check {
    let about = |finding: &&path::Finding| Aspect::of(&finding.problem) == aspect;
    let faults: Vec<String> = report.faults().filter(about).map(ToString::to_string).collect();
    let remarks = report.remarks().filter(about).map(|finding| format!("note: {finding}"));
    match faults.is_empty() {
        true => Check { aspect, outcome: Outcome::Holds, says: holds.into_iter().chain(remarks).collect() },
        false => Check { aspect, outcome: Outcome::Fails, says: faults.into_iter().chain(remarks).collect() },
    }
}

fn way(request: &Request<'_>, report: &Report) -> Vec<String> {
    let mut says = vec![report.path.join(" <- ")];
    if request.anchors.is_empty() {
        says.push("note: its root is trusted only because it is there; --anchor tells who is really".into());
    }
    says
}

fn dates(certificate: &Certificate) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    format!("until {}", certificate.not_after.format(format).unwrap_or_default())
}

/// A host that is asked for, or all that the certificate says about hosts.
fn name(request: &Request<'_>, certificate: &Certificate, purpose: Purpose, report: &Report) -> Check {
    let aspect = Aspect::Name;
    if let Some(name) = request.name {
        return of_report(report, aspect, vec![format!("for {name}")]);
    }
    if purpose != Purpose::Server {
        let says = vec!["nobody asks a client or an authority for the name of a host".to_owned()];
        return Check { aspect, outcome: Outcome::NotChecked, says };
    }
    let faults = inconsistent(certificate);
    if !faults.is_empty() {
        return Check { aspect, outcome: Outcome::Fails, says: faults };
    }
    let addresses = certificate.addresses.iter().map(ToString::to_string);
    let all: Vec<String> = certificate.dns_names.iter().cloned().chain(addresses).collect();
    Check { aspect, outcome: Outcome::Holds, says: vec![format!("for {}", all.join(", "))] }
}

fn inconsistent(certificate: &Certificate) -> Vec<String> {
    if certificate.dns_names.is_empty() && certificate.addresses.is_empty() {
        return vec!["it has no subjectAltName, and clients look at nothing else".to_owned()];
    }
    let is_host = |name: &str| {
        HostName::parse(name.strip_prefix("*.").unwrap_or(name)).is_ok_and(|host| !host.as_str().is_empty())
    };
    let bad = certificate.dns_names.iter().filter(|name| !is_host(name));
    let mut faults: Vec<String> =
        bad.map(|name| format!("\"{}\" is no host's name", name.escape_debug())).collect();
    // A common name need be no host's; where it looks like one, somebody counts on it.
    if let Some(common) = certificate.common_name()
        && common.contains('.')
        && is_host(&common.to_ascii_lowercase())
        && !certificate.dns_names.contains(&common.to_ascii_lowercase())
        && !certificate.serves(common)
    {
        faults.push(format!("its common name {common} is not in the subjectAltName, where clients look"));
    }
    faults
}

fn key(key: &Key, certificate: &Certificate) -> Check {
    let (outcome, says) = match key {
        Key::Absent => (Outcome::NotChecked, "there is no key beside it"),
        Key::Unknown(why) => (Outcome::NotChecked, why.as_str()),
        Key::Known(digest) if *digest == certificate.public_digest => {
            (Outcome::Holds, "the key beside it is its own")
        }
        Key::Known(_) => {
            (Outcome::Fails, "the key beside it is another one's: no server starts with the two")
        }
    };
    Check { aspect: Aspect::Key, outcome, says: vec![says.to_owned()] }
}

fn used_as(report: &Report, purpose: Purpose, is_ca: bool) -> Check {
    let aspect = Aspect::Purpose;
    match purpose {
        Purpose::Server => of_report(report, aspect, vec!["may be used by a server".to_owned()]),
        Purpose::Client => of_report(report, aspect, vec!["may be used by a client".to_owned()]),
        Purpose::Ca if is_ca => {
            Check { aspect, outcome: Outcome::Holds, says: vec!["may sign certificates".to_owned()] }
        }
        Purpose::Ca => {
            let says = "may not sign certificates (basicConstraints, keyUsage)".to_owned();
            Check { aspect, outcome: Outcome::Fails, says: vec![says] }
        }
    }
}

/// Whoever gives a list wants to know; what cannot be told from it is then no good answer.
fn revocation(request: &Request<'_>, report: &Report) -> Check {
    let aspect = Aspect::Revocation;
    if request.lists.is_empty() {
        let says = vec!["no list is given; --crl tells which".to_owned()];
        return Check { aspect, outcome: Outcome::NotChecked, says };
    }
    let about = report.findings.iter().filter(|finding| Aspect::of(&finding.problem) == aspect);
    let mut says: Vec<String> = about.map(ToString::to_string).collect();
    if !is_listed(request) {
        says.push("none of the lists is of its issuer".to_owned());
    }
    match says.is_empty() {
        true => Check { aspect, outcome: Outcome::Holds, says: vec!["not revoked".to_owned()] },
        false => Check { aspect, outcome: Outcome::Fails, says },
    }
}

/// Says whether one of the lists is of the certificate's issuer; a root has none above it.
fn is_listed(request: &Request<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(request.certificate) else { return false };
    let issuer = certificate.issuer().as_raw();
    let is_own = |list: &Vec<u8>| {
        x509_parser::parse_x509_crl(list).is_ok_and(|(_, list)| list.issuer().as_raw() == issuer)
    };
    certificate.subject().as_raw() == issuer || request.lists.iter().any(is_own)
}

fn is_ca(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    let signs = certificate.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    let authority = certificate.basic_constraints().ok().flatten();
    signs && authority.is_some_and(|constraints| constraints.value.ca)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::PrivateKey;
    use crate::pki::peer::{leaf, made, now};
    use crate::pki::x509::Role;
    use crate::pki::{Algorithm, Digest};

    fn new_key() -> PrivateKey {
        PrivateKey::generate(Algorithm::P256).unwrap()
    }

    #[test]
    fn what_only_the_owner_can_see() {
        let root = made("Root", &Role::Root { path_len: None }, new_key(), None, Digest::Sha256, 1);
        let plain = made("www.example.com", &leaf(), new_key(), Some(&root), Digest::Sha256, 2);
        let label = made("a_b.example.com", &leaf(), new_key(), Some(&root), Digest::Sha256, 3);
        let chain = vec![root.der.clone()];
        let own = Key::Known(plain.key.public_digest());
        let (fails, holds, not_checked) = (Outcome::Fails, Outcome::Holds, Outcome::NotChecked);
        let cases = [
            ("its own key", &plain, own.clone(), None, Aspect::Key, holds),
            ("another one's key", &plain, Key::Known([0; 32]), None, Aspect::Key, fails),
            ("no key", &plain, Key::Absent, None, Aspect::Key, not_checked),
            ("a locked key", &plain, Key::Unknown("locked".into()), None, Aspect::Key, not_checked),
            ("good names", &plain, own.clone(), None, Aspect::Name, holds),
            ("a name of no host", &label, own.clone(), None, Aspect::Name, fails),
            ("no server", &label, own.clone(), Some(Purpose::Client), Aspect::Name, not_checked),
            ("an authority", &root, own.clone(), None, Aspect::Purpose, holds),
            (
                "an authority as a client",
                &root,
                own.clone(),
                Some(Purpose::Client),
                Aspect::Name,
                not_checked,
            ),
            ("no authority", &plain, own.clone(), Some(Purpose::Ca), Aspect::Purpose, fails),
            ("the root of the chain", &plain, own.clone(), None, Aspect::Path, holds),
            ("no list", &plain, own, None, Aspect::Revocation, not_checked),
        ];
        for (case, holder, key, purpose, aspect, expected) in cases {
            let request = Request {
                certificate: &holder.der,
                chain: &chain,
                anchors: &[],
                lists: &[],
                key,
                name: None,
                purpose,
                now: now(),
            };
            let checks = verify(&request).unwrap();
            assert_eq!(checks.len(), Aspect::ALL.len(), "{case}");
            let check = checks.iter().find(|check| check.aspect == aspect).unwrap();
            assert_eq!(check.outcome, expected, "{case}: {check:?}");
            assert!(!check.says.is_empty(), "{case}");
        }
    }
}
