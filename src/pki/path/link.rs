//! What is wrong with each step of a way (RFC 5280 section 6.1).

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

use super::node::Node;
use super::search::{End, Way};
use super::{Finding, Problem, Question, constraint, revocation};
use crate::pki::{Usage, inspect, signature};

/// Everything about one way, from the certificate upwards.
pub(super) fn judge(way: &Way<'_, '_>, intermediates: &[Node<'_>], question: &Question<'_>) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let last = way.nodes.len().saturating_sub(1);
    for (depth, node) in way.nodes.iter().enumerate() {
        let trusted = depth == last && matches!(way.end, End::Trusted);
        of_itself(node, trusted, question, &mut findings);
        if let Some(below) = depth.checked_sub(1) {
            as_issuer(node, trusted, way.nodes.get(1..=below).unwrap_or_default(), &mut findings);
        } else {
            of_the_end(node, question, &mut findings);
        }
        if let Some(issuer) = way.nodes.get(depth + 1) {
            below_issuer(node, issuer, &mut findings);
            revocation::check(node, issuer, question, |problem| findings.add(node, problem));
        }
        for authority in way.nodes.get(depth + 1..).unwrap_or_default() {
            if depth == 0 || !node.is_self_issued() {
                for name in constraint::violated(authority, node) {
                    findings.add(node, Problem::Constraint { issuer: authority.label(), name });
                }
            }
        }
        if depth == last {
            of_where_it_ends(node, way.end, &mut findings);
        }
    }
    of_the_file(way, intermediates, &mut findings);
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, node: &Node<'_>, problem: Problem) {
        self.0.push(Finding { certificate: node.label(), problem });
    }
}

fn of_itself(node: &Node<'_>, trusted: bool, question: &Question<'_>, findings: &mut Findings) {
    let (not_before, not_after) = (node.not_before(), node.not_after());
    if question.now < not_before {
        findings.add(node, Problem::NotYetValid { from: not_before });
    }
    if question.now > not_after {
        findings.add(node, Problem::Expired { at: not_after });
    }
    if let Ok(PublicKey::RSA(key)) = node.parsed.public_key().parsed()
        && key.key_size() < 2048
    {
        findings.add(node, Problem::WeakKey { bits: key.key_size() });
    }
    // Nobody looks at the signature of what he trusts.
    if !trusted && signature::is_broken(&node.signature_algorithm()) {
        findings.add(node, Problem::WeakDigest);
    }
    for extension in node.parsed.extensions().iter().filter(|extension| extension.critical) {
        let known = matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::NameConstraints(_)
                | ParsedExtension::SubjectKeyIdentifier(_)
                | ParsedExtension::AuthorityKeyIdentifier(_)
                | ParsedExtension::CRLDistributionPoints(_)
                | ParsedExtension::CertificatePolicies(_)
        );
        if !known {
            findings.add(node, Problem::CriticalExtension { extension: extension.oid.to_id_string() });
        }
    }
    if let Some(usage) = question.purpose
        && let Some(purposes) = node.purposes()
    {
        let wanted = match usage {
            Usage::Server => purposes.server_auth,
            Usage::Client => purposes.client_auth,
        };
        if !wanted && !purposes.any {
            findings.add(node, Problem::Purpose(usage));
        }
    }
}

fn of_the_end(node: &Node<'_>, question: &Question<'_>, findings: &mut Findings) {
    if let Some(usage) = question.purpose {
        let signs = |usage: x509_parser::extensions::KeyUsage| {
            usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
        };
        if node.key_usage().is_some_and(|usage| !signs(usage)) {
            findings.add(node, Problem::Purpose(usage));
        }
        if node.is_ca() {
            findings.add(node, Problem::CaAsServer);
        }
    }
    if let Some(name) = question.name
        && let Ok(certificate) = inspect::Certificate::from_der(node.der)
        && !certificate.serves(name)
    {
        let addresses = certificate.addresses.iter().map(ToString::to_string);
        let names = certificate.dns_names.iter().cloned().chain(addresses).collect();
        findings.add(node, Problem::Name { name: name.to_owned(), names });
    }
}

fn as_issuer(node: &Node<'_>, trusted: bool, below: &[&Node<'_>], findings: &mut Findings) {
    // Before version 3 a certificate could not say it; such roots are still trusted.
    let silent = trusted && node.parsed.version() != X509Version::V3;
    if !node.is_ca() && !silent {
        findings.add(node, Problem::NotCa);
    } else if node.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
        findings.add(node, Problem::MayNotSign);
    }
    let found = below.iter().filter(|node| !node.is_self_issued()).count();
    if let Some(limit) = node.path_len()
        && usize::try_from(limit).is_ok_and(|limit| found > limit)
    {
        findings.add(node, Problem::PathLength { limit, found });
    }
}

fn below_issuer(node: &Node<'_>, issuer: &Node<'_>, findings: &mut Findings) {
    if issuer.signed(node).is_none() {
        findings.add(node, Problem::UnknownAlgorithm { algorithm: node.signature_algorithm() });
    }
    if let (Some(wanted), Some(there)) = (node.authority_key(), issuer.subject_key())
        && wanted != there
    {
        findings.add(node, Problem::AuthorityKey { issuer: issuer.label() });
    }
    if node.not_after() > issuer.not_after() {
        findings.add(node, Problem::OutlivesIssuer { at: issuer.not_after() });
    }
}

fn of_where_it_ends(node: &Node<'_>, end: End<'_, '_>, findings: &mut Findings) {
    match end {
        End::Trusted => {}
        End::Root => findings.add(node, Problem::UntrustedRoot),
        End::Missing => findings.add(node, Problem::MissingIssuer { issuer: node.issuer_label() }),
        End::Unsigned(issuer) => findings.add(node, Problem::Signature { issuer: issuer.label() }),
        End::TooLong => findings.add(node, Problem::TooLong),
    }
}

/// Servers send the file as it is, and some clients take the order at its word (RFC 5246 section 7.4.2).
fn of_the_file(way: &Way<'_, '_>, intermediates: &[Node<'_>], findings: &mut Findings) {
    let place = |node: &Node<'_>| way.nodes.iter().position(|other| other.der == node.der);
    let mut expected = 1;
    for node in intermediates {
        match place(node) {
            _ if node.is_self_signed() => findings.add(node, Problem::RootInFile),
            None | Some(0) => findings.add(node, Problem::Unused),
            Some(at) if at == expected => expected += 1,
            Some(_) => findings.add(node, Problem::WrongOrder),
        }
    }
}

/// The names of a certificate for people, as `openssl` writes them.
pub(super) fn written(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            (*name).to_owned()
        }
        GeneralName::IPAddress(octets) => inspect::address(octets)
            .map_or_else(|| "a damaged address".to_owned(), |address| address.to_string()),
        GeneralName::DirectoryName(name) => inspect::line(&inspect::attributes(name)),
        other => other.to_string(),
    }
}
