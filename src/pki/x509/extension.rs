//! The extensions of a certificate by its role (RFC 5280 section 4.2): what clients need, and nothing
//! that would let it do more.

use der::Encode;
use der::asn1::{ObjectIdentifier, OctetString};
use der::flagset::FlagSet;
use der::oid::AssociatedOid;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::{AlternativeName, Profile, Role, X509Error};
use crate::pki::Usage;
use crate::pki::key::{RSA_ENCRYPTION, public_digest};

/// Every extension of a certificate; `issuer` is the key identifier of its issuer, nothing for one that
/// signs itself.
pub(super) fn of_certificate(
    profile: &Profile<'_>,
    public_key: &SubjectPublicKeyInfoOwned,
    issuer: &[u8],
) -> Result<Vec<Extension>, X509Error> {
    let role = profile.role;
    let path_len_constraint = match role {
        Role::Root { path_len } => *path_len,
        Role::Intermediate { path_len } => Some(*path_len),
        Role::Leaf { .. } => None,
    };
    let subject_key = key_identifier(public_key.subject_public_key.raw_bytes());
    let mut all = vec![
        extension(true, &BasicConstraints { ca: role.is_ca(), path_len_constraint })?,
        extension(true, &KeyUsage(key_usage(role, public_key.algorithm.oid == RSA_ENCRYPTION)))?,
    ];
    if let Role::Leaf { usages } = role
        && !usages.is_empty()
    {
        let purpose = |usage: &Usage| match usage {
            Usage::Server => SERVER_AUTH,
            Usage::Client => CLIENT_AUTH,
        };
        all.push(extension(false, &ExtendedKeyUsage(usages.iter().map(purpose).collect()))?);
    }
    all.push(extension(false, &SubjectKeyIdentifier(OctetString::new(subject_key)?))?);
    all.push(authority_key(issuer)?);
    all.extend(alternative_names(profile.alternative_names, profile.subject.is_empty())?);
    Ok(all)
}

/// The SAN; nothing when there are no names. Critical where it has to stand for the subject.
pub(super) fn alternative_names(
    names: &[AlternativeName],
    critical: bool,
) -> Result<Option<Extension>, X509Error> {
    let mut once = Vec::new();
    for name in names {
        let name = name.general()?;
        if !once.contains(&name) {
            once.push(name);
        }
    }
    if once.is_empty() { Ok(None) } else { extension(critical, &SubjectAltName(once)).map(Some) }
}

/// It is only taken with an OCSP response stapled to it: the feature `status_request` (RFC 7633 section 4).
pub(super) fn must_staple() -> Result<Extension, X509Error> {
    let extn_value = OctetString::new(vec![STATUS_REQUEST].to_der()?)?;
    Ok(Extension { extn_id: TLS_FEATURE, critical: false, extn_value })
}

/// Who signed it, by the identifier of the key.
pub(super) fn authority_key(identifier: &[u8]) -> Result<Extension, X509Error> {
    let key_identifier = Some(OctetString::new(identifier)?);
    extension(false, &AuthorityKeyIdentifier { key_identifier, ..AuthorityKeyIdentifier::default() })
}

/// RFC 7093 section 2, method 1: the leftmost 160 bits of SHA-256 over the key's bits.
pub(super) fn key_identifier(bits: &[u8]) -> Vec<u8> {
    public_digest(bits).iter().copied().take(20).collect()
}

/// Wraps one extension.
pub(super) fn extension<T: Encode + AssociatedOid>(
    critical: bool,
    value: &T,
) -> Result<Extension, X509Error> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

/// RSA keys may also take part in the key transport of TLS 1.2; others only sign.
fn key_usage(role: &Role, rsa: bool) -> FlagSet<KeyUsages> {
    match role {
        Role::Leaf { .. } if rsa => KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment,
        Role::Leaf { .. } => KeyUsages::DigitalSignature.into(),
        _ => KeyUsages::DigitalSignature | KeyUsages::KeyCertSign | KeyUsages::CRLSign,
    }
}

// RFC 7633 section 6; RFC 6066 section 1.1.
const TLS_FEATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.24");
const STATUS_REQUEST: u8 = 5;
// RFC 5280 section 4.2.1.12.
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
