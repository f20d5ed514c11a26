//! What a certificate says: names, validity, serial, whether it signed itself, whose key it carries.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha1::Digest;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate, X509Name};

use super::key::public_digest;
use super::serial::Serial;
use super::signature::verify_signature;

/// The parts of a certificate on which decisions rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Attributes of the subject in their order, by short name where there is one: `("CN", "…")`.
    pub subject: Vec<(String, String)>,
    /// Attributes of the issuer.
    pub issuer: Vec<(String, String)>,
    /// DNS names of the SAN, in lower case.
    pub dns_names: BTreeSet<String>,
    /// Addresses of the SAN.
    pub addresses: BTreeSet<IpAddr>,
    /// The serial; nothing when it has more than 159 bits.
    pub serial: Option<Serial>,
    /// Start of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// End of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Issuer and subject are the same and the signature verifies with its own key. A signature
    /// algorithm that is not known here counts by the names alone.
    pub self_signed: bool,
    /// See [`public_digest`].
    #[serde(skip)]
    pub public_digest: [u8; 32],
    /// The file name without suffix under which OpenSSL's `CApath` looks for this subject.
    pub subject_hash: String,
}

impl Certificate {
    /// Reads DER.
    ///
    /// # Errors
    /// In words, when it is no certificate (RFC 5280 section 4.1).
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| format!("not a certificate: {error}"))?;
        let mut dns_names = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        if let Ok(Some(san)) = certificate.subject_alternative_name() {
            for name in &san.value.general_names {
                match name {
                    GeneralName::DNSName(name) => {
                        dns_names.insert(name.to_ascii_lowercase());
                    }
                    GeneralName::IPAddress(octets) => addresses.extend(address(octets)),
                    _ => {}
                }
            }
        }
        Ok(Self {
            subject: attributes(certificate.subject()),
            issuer: attributes(certificate.issuer()),
            dns_names,
            addresses,
            serial: Serial::from_octets(certificate.raw_serial()),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            self_signed: is_self_signed(&certificate),
            public_digest: public_digest(&certificate.public_key().subject_public_key.data),
            subject_hash: subject_hash(certificate.subject()),
        })
    }

    /// The common name of the subject.
    pub fn common_name(&self) -> Option<&str> {
        self.attribute("CN")
    }

    /// The first attribute of the subject with this short name.
    pub fn attribute(&self, short: &str) -> Option<&str> {
        self.subject.iter().find(|(name, _)| name == short).map(|(_, value)| value.as_str())
    }

    /// Every host name it goes by: the SAN's, and the common name, which older clients read.
    pub fn names(&self) -> BTreeSet<String> {
        self.dns_names.iter().cloned().chain(self.common_name().map(str::to_ascii_lowercase)).collect()
    }

    /// Says whether a client of today takes it for `name`: by the SAN alone (RFC 9525 section 6).
    pub fn covers(&self, name: &str) -> bool {
        self.dns_names.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => name.split_once('.').is_some_and(|(_, domain)| domain == parent),
            None => pattern == name,
        })
    }

    /// Says whether a client that connects to `host`, a name or an address, takes it for that one.
    pub fn serves(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.covers(&host.to_ascii_lowercase()),
        }
    }

    /// The subject in one line, as `openssl x509 -subject` writes it.
    pub fn subject_line(&self) -> String {
        line(&self.subject)
    }

    /// The issuer in one line.
    pub fn issuer_line(&self) -> String {
        line(&self.issuer)
    }
}

/// Where the issuer of a certificate is published, by what the certificate says (RFC 5280 section 4.2.2.1).
pub fn issuer_addresses(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let access = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => Some(access),
        _ => None,
    });
    let issuers = access.into_iter().flat_map(|access| access.iter()).filter_map(|one| {
        match (one.access_method.to_id_string().as_str(), &one.access_location) {
            (CA_ISSUERS, GeneralName::URI(address)) => Some((*address).to_owned()),
            _ => None,
        }
    });
    issuers.filter(|address| address.bytes().all(|octet| octet.is_ascii_graphic())).collect()
}

/// `id-ad-caIssuers`.
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// A name in one line, as `openssl x509 -subject` writes it.
pub(super) fn line(attributes: &[(String, String)]) -> String {
    attributes.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn attributes(name: &X509Name<'_>) -> Vec<(String, String)> {
    name.iter_attributes()
        .map(|attribute| {
            let oid = attribute.attr_type().to_id_string();
            let short =
                SHORT_NAMES.iter().find(|(id, _)| *id == oid).map_or(oid.as_str(), |(_, short)| short);
            let value = attribute
                .as_str()
                .map_or_else(|_| String::from_utf8_lossy(attribute.as_slice()).into_owned(), str::to_owned);
            // Control characters in a foreign subject must not reach a terminal.
            (short.to_owned(), value.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect())
        })
        .collect()
}

/// RFC 4519 and RFC 2985 names of the attributes in use.
const SHORT_NAMES: [(&str, &str); 8] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

pub(super) fn address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    if certificate.subject().as_raw() != certificate.issuer().as_raw() {
        return false;
    }
    verify_signature(
        certificate.public_key().raw,
        &certificate.signature_algorithm.algorithm.to_id_string(),
        certificate.tbs_certificate.as_ref(),
        &certificate.signature_value.data,
    )
    .unwrap_or(true)
}

/// OpenSSL's `X509_NAME_hash`: SHA-1 over the canonical subject, its first four octets as a
/// little-endian number.
fn subject_hash(name: &X509Name<'_>) -> String {
    let digest = sha1::Sha1::digest(canonical(name).concat());
    let octets: [u8; 4] = std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default());
    format!("{:08x}", u32::from_le_bytes(octets))
}

/// The parts of a name in the form in which OpenSSL compares them: every text value as UTF-8 in lower
/// case with blanks trimmed and runs of them made one, and no outer SEQUENCE.
pub(super) fn canonical(name: &X509Name<'_>) -> Vec<Vec<u8>> {
    let parts = name.iter_rdn().map(|rdn| {
        let attributes: Vec<u8> = rdn
            .iter()
            .flat_map(|attribute| {
                let value = match attribute.as_str() {
                    Ok(text) => tlv(UTF8_STRING, canonical_text(text).as_bytes()),
                    Err(_) => tlv(
                        attribute.attr_value().tag().0.try_into().unwrap_or(UTF8_STRING),
                        attribute.as_slice(),
                    ),
                };
                let oid = tlv(OBJECT_IDENTIFIER, attribute.attr_type().as_bytes());
                tlv(SEQUENCE, &[oid, value].concat())
            })
            .collect();
        tlv(SET, &attributes)
    });
    parts.collect()
}

fn canonical_text(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase()
}

// Universal tags of X.690 section 8.
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(u8::try_from(short).unwrap_or_default()),
        _ => {
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
            out.extend(significant);
        }
    }
    out.extend(content);
    out
}
