//! A downloaded chain: whether its certificate is the one that was ordered, and which of several is taken.

use std::collections::BTreeSet;

use super::Identifier;
use crate::pki::armor;
use crate::pki::inspect::Certificate;
use crate::pki::x509::Request;

/// A chain as an authority sends it (RFC 8555 section 9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<(Vec<u8>, Certificate)>,
}

impl Chain {
    /// Reads the text; what stands between the certificates is left out.
    ///
    /// # Errors
    /// In words, for anything that is no row of certificates.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut certificates = Vec::new();
        for block in armor::blocks(text) {
            let line = block.line;
            // RFC 8555 section 11.4: whatever else an authority might send is not written to a disk here.
            if block.label != "CERTIFICATE" {
                return Err(format!("line {line} of the chain begins something else than a certificate"));
            }
            let der = block.body.map_err(|error| format!("line {line} of the chain {error}"))?.to_vec();
            let read =
                Certificate::from_der(&der).map_err(|error| format!("line {line} of the chain: {error}"))?;
            certificates.push((der, read));
        }
        if certificates.is_empty() { Err("the chain is empty".to_owned()) } else { Ok(Self { certificates }) }
    }

    /// The chain in PEM, the certificate itself first.
    pub fn to_pem(&self) -> String {
        let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let one = |(der, _): &(Vec<u8>, Certificate)| {
            pem::encode_config(&pem::Pem::new("CERTIFICATE", der.as_slice()), unix)
        };
        self.certificates.iter().map(one).collect()
    }

    /// Says whether it leads to an authority of this common name: the topmost certificate is its own, or it has
    /// signed that. That is certbot's rule, and the first half of it for chains that end in a root.
    pub fn leads_to(&self, name: &str) -> bool {
        let Some((_, top)) = self.certificates.last() else { return false };
        let by = top.issuer.iter().find(|(short, _)| short == "CN").map(|(_, value)| value.as_str());
        [top.common_name(), by].contains(&Some(name))
    }

    /// Whom it leads to, for people.
    pub fn top(&self) -> String {
        self.certificates.last().map(|(_, top)| top.issuer_line()).unwrap_or_default()
    }

    /// Checks that its certificate is for this request's key and for all of these identifiers.
    ///
    /// # Errors
    /// In words.
    pub fn fits(&self, request: &Request, identifiers: &[Identifier]) -> Result<(), String> {
        let Some((_, leaf)) = self.certificates.first() else { return Err("the chain is empty".to_owned()) };
        if leaf.public_digest != request.public_digest {
            return Err("the certificate is for another key than the one of the request".to_owned());
        }
        let is_missing = |identifier: &&Identifier| match identifier {
            Identifier::Dns(name) => !leaf.dns_names.contains(&name.to_ascii_lowercase()),
            Identifier::Ip(address) => !leaf.addresses.contains(address),
        };
        let missing: Vec<String> = identifiers.iter().filter(is_missing).map(ToString::to_string).collect();
        match missing.as_slice() {
            [] => Ok(()),
            missing => Err(format!("the certificate is not for {}", missing.join(", "))),
        }
    }
}

/// The names that a request asks for must be those that are ordered: the authority refuses it otherwise, after
/// all the proving.
///
/// # Errors
/// In words.
pub fn asks_for(request: &Request, identifiers: &[Identifier]) -> Result<(), String> {
    let asked: BTreeSet<Identifier> = request
        .alternative_names
        .iter()
        .filter_map(Identifier::of)
        .map(|identifier| lower(&identifier))
        .collect();
    let wanted: BTreeSet<Identifier> = identifiers.iter().map(lower).collect();
    if let Some(one) = wanted.difference(&asked).next() {
        return Err(format!("the request does not ask for {one}"));
    }
    match asked.difference(&wanted).next() {
        Some(one) => Err(format!("the request asks for {one}, which is not ordered")),
        None => Ok(()),
    }
}

pub(super) fn lower(identifier: &Identifier) -> Identifier {
    match identifier {
        Identifier::Dns(name) => Identifier::Dns(name.to_ascii_lowercase()),
        Identifier::Ip(address) => Identifier::Ip(*address),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::pki::key::PrivateKey;
    use crate::pki::serial::Serial;
    use crate::pki::x509::{self, AlternativeName, Issuer, Name, Profile, Role};
    use crate::pki::x509::{read_request, request};
    use crate::pki::{Algorithm, Digest, Usage};

    fn key() -> PrivateKey {
        PrivateKey::generate(Algorithm::P256).unwrap()
    }

    fn named(text: &str) -> Name {
        Name { common_name: text.to_owned(), ..Name::default() }
    }

    fn names() -> Vec<AlternativeName> {
        vec![AlternativeName::Dns("a.example".into()), AlternativeName::Address("192.0.2.1".parse().unwrap())]
    }

    /// A root, and what it has signed.
    fn signed(root: &str, leaf: &PrivateKey) -> (String, String) {
        let authority = key();
        let profile = |subject, names, role| Profile {
            subject,
            alternative_names: names,
            role,
            serial: Serial::from_octets(&[7]).unwrap(),
            now: OffsetDateTime::UNIX_EPOCH + Duration::days(20_000),
            backdate: Duration::hours(1),
            not_after: OffsetDateTime::UNIX_EPOCH + Duration::days(20_100),
        };
        let pem = |der: &[u8]| pem::encode(&pem::Pem::new("CERTIFICATE", der));
        let spki = |key: &PrivateKey| key.spki_der().unwrap();
        let (top, empty) = (named(root), Name::default());
        let role = Role::Root { path_len: None };
        let by = Issuer::Itself(&authority);
        let above =
            x509::issue(&profile(&top, &[], &role), &spki(&authority), by, Digest::Sha256).unwrap().der;
        let role = Role::Leaf { usages: BTreeSet::from([Usage::Server]) };
        let names = names();
        let by = Issuer::Authority { certificate: &above, key: &authority };
        let below =
            x509::issue(&profile(&empty, &names, &role), &spki(leaf), by, Digest::Sha256).unwrap().der;
        (pem(&below), pem(&above))
    }

    #[test]
    fn whom_a_chain_leads_to() {
        let (leaf, root) = signed("Root One", &key());
        for (case, text, name, expected) in [
            ("its issuer", leaf.clone(), "Root One", true),
            ("the root in it", format!("{leaf}{root}"), "Root One", true),
            ("another", leaf.clone(), "Root Two", false),
            ("nobody", leaf.clone(), "", false),
        ] {
            let chain = Chain::parse(text.as_bytes()).unwrap();
            assert_eq!(chain.leads_to(name), expected, "{case}");
        }
        let both = Chain::parse(format!("some text\r\n{leaf}\n{root}").as_bytes()).unwrap();
        assert_eq!(Chain::parse(both.to_pem().as_bytes()).unwrap(), both);
        let secret = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (case, text, expected) in [
            ("nothing", String::new(), "empty"),
            ("something else in it", format!("{leaf}{secret}"), "something else"),
            ("damaged", leaf.replace("MI", "*"), "damaged"),
        ] {
            let error = Chain::parse(text.as_bytes()).expect_err(case);
            assert!(error.contains(expected), "{case}: {error}");
        }
    }

    #[test]
    fn what_was_ordered_and_nothing_else() {
        let own = key();
        let (leaf, _) = signed("Root One", &own);
        let chain = Chain::parse(leaf.as_bytes()).unwrap();
        let ask = |key: &PrivateKey, names: &[AlternativeName]| {
            read_request(&request(&Name::default(), names, key, Digest::Sha256).unwrap()).unwrap()
        };
        let dns = |name: &str| Identifier::Dns(name.into());
        let both = [dns("A.example"), Identifier::Ip("192.0.2.1".parse().unwrap())];
        let more = [both.as_slice(), &[dns("b.example")]].concat();
        for (case, request, identifiers, expected) in [
            ("as ordered", ask(&own, &names()), &both[..], None),
            ("another key", ask(&key(), &names()), &both[..], Some("another key")),
            ("a name is missing", ask(&own, &names()), &more, Some("not for b.example")),
        ] {
            let error = chain.fits(&request, identifiers).err();
            assert_eq!(error.is_some(), expected.is_some(), "{case}");
            assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()), "{case}");
        }
        let request = ask(&own, &names());
        assert_eq!(asks_for(&request, &both), Ok(()));
        assert!(asks_for(&request, &more).unwrap_err().contains("does not ask for b.example"));
        assert!(asks_for(&request, &both[..1]).unwrap_err().contains("192.0.2.1, which is not ordered"));
    }
}
