//! Requests for a certificate: PKCS#10 (RFC 2986), with the wanted names as an extension request.

use std::net::IpAddr;

use der::asn1::{Any, SetOfVec};
use der::{Decode, Encode, Sequence};
use x509_cert::attr::{Attribute, Attributes};
use x509_cert::ext::Extension;
use x509_cert::request::{ExtensionReq, Version};
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::{AlternativeName, Name, X509Error, extension, signed};
use crate::pki::Digest;
use crate::pki::inspect;
use crate::pki::key::{PrivateKey, public_digest};
use crate::pki::signature::verify_signature;

/// What a request asks for. Of its extensions only the names count: what a certificate may do is for its
/// issuer to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Attributes of the subject in their order, by short name where there is one.
    pub subject: Vec<(String, String)>,
    /// The names of the SAN that it asks for, in their order; other kinds than DNS, IP and e-mail are left out.
    pub alternative_names: Vec<AlternativeName>,
    /// The public key, as `subjectPublicKeyInfo` in DER.
    pub spki: Vec<u8>,
    /// See [`public_digest`].
    pub public_digest: [u8; 32],
    /// The signature is of that key: whoever made the request has it. Not so for an algorithm that is not
    /// known here.
    pub proven: bool,
}

/// Makes a request.
///
/// # Errors
/// When a field cannot stand in a certificate, or the key refuses.
pub fn request(
    subject: &Name,
    alternative_names: &[AlternativeName],
    key: &PrivateKey,
    digest: Digest,
) -> Result<Vec<u8>, X509Error> {
    let names = extension::alternative_names(alternative_names, subject.is_empty())?;
    signed_request(subject, names.into_iter().collect(), key, digest)
}

/// Makes a request for a certificate that is only taken with an OCSP response stapled to it (RFC 7633).
///
/// # Errors
/// As for [`request`].
pub fn stapled_request(
    subject: &Name,
    alternative_names: &[AlternativeName],
    key: &PrivateKey,
    digest: Digest,
) -> Result<Vec<u8>, X509Error> {
    let names = extension::alternative_names(alternative_names, subject.is_empty())?;
    signed_request(subject, names.into_iter().chain([extension::must_staple()?]).collect(), key, digest)
}

fn signed_request(
    subject: &Name,
    wanted: Vec<Extension>,
    key: &PrivateKey,
    digest: Digest,
) -> Result<Vec<u8>, X509Error> {
    let mut attributes = Attributes::new();
    if !wanted.is_empty() {
        attributes.insert(Attribute::try_from(ExtensionReq(wanted))?)?;
    }
    let content = RequestInfo {
        version: Version::V1,
        subject: Any::from_der(&subject.to_der()?)?,
        public_key: SubjectPublicKeyInfoOwned::from_der(&key.spki_der()?)?,
        attributes,
    };
    signed::sign(&content.to_der()?, key, digest)
}

/// RFC 2986 section 4.1.
#[derive(Sequence)]
struct RequestInfo {
    version: Version,
    subject: Any,
    public_key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: SetOfVec<Attribute>,
}

/// Reads a request.
///
/// # Errors
/// [`X509Error::Unreadable`] when it is none.
pub fn read_request(der: &[u8]) -> Result<Request, X509Error> {
    let (_, request) = X509CertificationRequest::from_der(der)
        .map_err(|error| X509Error::Unreadable(format!("not a request for a certificate: {error}")))?;
    let info = &request.certification_request_info;
    let mut alternative_names = Vec::new();
    for wanted in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = wanted {
            alternative_names.extend(names.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(AlternativeName::Dns(name.to_ascii_lowercase())),
                GeneralName::IPAddress(octets) => inspect::address(octets).map(AlternativeName::Address),
                GeneralName::RFC822Name(mailbox) => Some(AlternativeName::Email((*mailbox).to_owned())),
                _ => None,
            }));
        }
    }
    Ok(Request {
        subject: inspect::attributes(&info.subject),
        alternative_names,
        spki: info.subject_pki.raw.to_vec(),
        public_digest: public_digest(&info.subject_pki.subject_public_key.data),
        proven: verify_signature(
            info.subject_pki.raw,
            &request.signature_algorithm.algorithm.to_id_string(),
            info.raw,
            &request.signature_value.data,
        ) == Some(true),
    })
}

impl Request {
    /// The addresses among the names.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.alternative_names.iter().filter_map(|name| match name {
            AlternativeName::Address(address) => Some(*address),
            AlternativeName::Dns(_) | AlternativeName::Email(_) => None,
        })
    }
}
