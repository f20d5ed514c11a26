//! Lists of revoked certificates (RFC 5280 section 5).

use std::fmt;
use std::str::FromStr;

use der::asn1::{Any, Uint};
use der::{Decode, Encode, Sequence};
use serde::{Deserialize, Deserializer, Serialize, de};
use time::OffsetDateTime;
use x509_cert::Version;
use x509_cert::crl::RevokedCert;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{CrlNumber, CrlReason};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::authority::Authority;
use super::{X509Error, extension, signed};
use crate::pki::key::PrivateKey;
use crate::pki::serial::Serial;
use crate::pki::signature::verify_signature;
use crate::pki::{Digest, inspect};

/// One certificate that is no longer good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Its number.
    pub serial: Serial,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why.
    pub reason: Reason,
}

/// Why a certificate was revoked (RFC 5280 section 5.3.1), written as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Reason {
    /// `unspecified`: not said.
    #[default]
    Unspecified,
    /// `keyCompromise`: somebody else has the key.
    KeyCompromise,
    /// `cACompromise`: somebody else has the issuer's key.
    CaCompromise,
    /// `affiliationChanged`: a field of its subject is no longer true.
    AffiliationChanged,
    /// `superseded`: another one took its place.
    Superseded,
    /// `cessationOfOperation`: it is no longer needed.
    CessationOfOperation,
    /// `certificateHold`: for the time being.
    CertificateHold,
    /// `removeFromCRL`: no longer held; in delta lists only.
    RemoveFromCrl,
    /// `privilegeWithdrawn`: it was allowed something that it is no longer.
    PrivilegeWithdrawn,
    /// `aACompromise`: somebody else has the key of the attribute authority.
    AaCompromise,
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// Attributes of its issuer in their order, by short name where there is one.
    pub issuer: Vec<(String, String)>,
    /// Its number, when it has one of at most 64 bits.
    pub number: Option<u64>,
    /// When it was made.
    pub this_update: OffsetDateTime,
    /// When the next one comes at the latest.
    pub next_update: Option<OffsetDateTime>,
    /// What is revoked; numbers of more than 159 bits are left out.
    pub revoked: Vec<Revoked>,
}

/// What goes into a list, besides who signs it.
#[derive(Debug, Clone, Copy)]
pub struct ListProfile<'a> {
    /// Its number: above that of every earlier list of this issuer.
    pub number: u64,
    /// The present time.
    pub this_update: OffsetDateTime,
    /// When the next one comes at the latest: clients refuse it afterwards.
    pub next_update: OffsetDateTime,
    /// What is revoked.
    pub revoked: &'a [Revoked],
}

/// Makes a list; `issuer` is the certificate of the authority in DER, `key` its key.
///
/// # Errors
/// As for [`super::issue`]: when the issuer may not sign it at the present time.
pub fn revocation_list(
    issuer: &[u8],
    key: &PrivateKey,
    digest: Digest,
    profile: ListProfile<'_>,
) -> Result<Vec<u8>, X509Error> {
    let ListProfile { number, this_update, next_update, revoked } = profile;
    let authority = Authority::read(issuer, key, this_update)?.may_revoke()?;
    let entries = revoked.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let list = TbsCertList {
        version: Version::V2,
        signature: key.signature_algorithm(digest),
        issuer: Any::from_der(&authority.subject)?,
        this_update: signed::time(this_update)?,
        next_update: Some(signed::time(next_update)?),
        // An empty list is left out altogether (RFC 5280 section 5.1.2.6).
        revoked_certificates: (!entries.is_empty()).then_some(entries),
        crl_extensions: vec![
            extension::authority_key(&authority.key_identifier)?,
            extension::extension(false, &CrlNumber(Uint::new(&number.to_be_bytes())?))?,
        ],
    };
    signed::sign(&list.to_der()?, key, digest)
}

fn entry(revoked: &Revoked) -> Result<RevokedCert, X509Error> {
    // That it is not said, is said by leaving it out (RFC 5280 section 5.3.1).
    let reason = (revoked.reason != Reason::Unspecified)
        .then(|| extension::extension(false, &revoked.reason.code()))
        .transpose()?;
    Ok(RevokedCert {
        serial_number: SerialNumber::new(&revoked.serial.to_octets())?,
        revocation_date: signed::time(revoked.at)?,
        crl_entry_extensions: reason.map(|reason| vec![reason]),
    })
}

/// RFC 5280 section 5.1.
#[derive(Sequence)]
struct TbsCertList {
    version: Version,
    signature: AlgorithmIdentifierOwned,
    issuer: Any,
    this_update: Time,
    next_update: Option<Time>,
    revoked_certificates: Option<Vec<RevokedCert>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    crl_extensions: Vec<Extension>,
}

/// Reads a list. Whether it is really of its issuer, [`is_signed_by`] says.
///
/// # Errors
/// [`X509Error::Unreadable`] when it is none.
pub fn read(der: &[u8]) -> Result<RevocationList, X509Error> {
    let list = parse(der)?;
    let revoked = list.iter_revoked_certificates().filter_map(|entry| {
        Some(Revoked {
            serial: Serial::from_octets(entry.raw_serial())?,
            at: entry.revocation_date.to_datetime(),
            reason: entry.reason_code().map_or(Reason::Unspecified, |(_, code)| Reason::from_code(code.0)),
        })
    });
    Ok(RevocationList {
        issuer: inspect::attributes(list.issuer()),
        number: list.crl_number().and_then(|number| u64::try_from(number).ok()),
        this_update: list.last_update().to_datetime(),
        next_update: list.next_update().map(|time| time.to_datetime()),
        revoked: revoked.collect(),
    })
}

/// Says whether a list is signed by the key of a `subjectPublicKeyInfo` in DER; nothing when the
/// algorithm is not known here, or it is no list.
pub fn is_signed_by(der: &[u8], spki: &[u8]) -> Option<bool> {
    let list = parse(der).ok()?;
    let algorithm = list.signature_algorithm.algorithm.to_id_string();
    verify_signature(spki, &algorithm, list.tbs_cert_list.as_ref(), &list.signature_value.data)
}

fn parse(der: &[u8]) -> Result<CertificateRevocationList<'_>, X509Error> {
    CertificateRevocationList::from_der(der)
        .map(|(_, list)| list)
        .map_err(|error| X509Error::Unreadable(format!("not a list of revoked certificates: {error}")))
}

impl Reason {
    const ALL: [(Self, &'static str, CrlReason); 10] = [
        (Self::Unspecified, "unspecified", CrlReason::Unspecified),
        (Self::KeyCompromise, "keyCompromise", CrlReason::KeyCompromise),
        (Self::CaCompromise, "cACompromise", CrlReason::CaCompromise),
        (Self::AffiliationChanged, "affiliationChanged", CrlReason::AffiliationChanged),
        (Self::Superseded, "superseded", CrlReason::Superseded),
        (Self::CessationOfOperation, "cessationOfOperation", CrlReason::CessationOfOperation),
        (Self::CertificateHold, "certificateHold", CrlReason::CertificateHold),
        (Self::RemoveFromCrl, "removeFromCRL", CrlReason::RemoveFromCRL),
        (Self::PrivilegeWithdrawn, "privilegeWithdrawn", CrlReason::PrivilegeWithdrawn),
        (Self::AaCompromise, "aACompromise", CrlReason::AaCompromise),
    ];

    fn code(self) -> CrlReason {
        let found = Self::ALL.iter().find(|(reason, ..)| *reason == self);
        found.map_or(CrlReason::Unspecified, |(.., code)| *code)
    }

    fn from_code(number: u8) -> Self {
        let found = Self::ALL.iter().find(|(.., code)| *code as u32 == u32::from(number));
        found.map_or(Self::Unspecified, |(reason, ..)| *reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.iter().find(|(reason, ..)| reason == self);
        f.write_str(found.map_or("unspecified", |(_, name, _)| name))
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(reason, ..)| *reason).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(_, name, _)| *name).collect();
            format!("\"{}\" is no reason for a revocation: {}", text.escape_debug(), names.join(", "))
        })
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
