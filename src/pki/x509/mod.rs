//! Certificates as an authority makes them: X.509 v3 by the profiles of RFC 5280, with any key over any
//! digest. Requests and lists of revoked certificates beside them.
//!
//! ```text
//!  name  extension      what goes in
//!  authority            who signs: what its own certificate allows it, and how it is referred to
//!  signed               the outer shell of all three
//!  request  crl         the other two kinds
//! ```
//!
//! Values in, DER out: serial, times and keys are arguments.

mod authority;
pub mod crl;
mod extension;
mod name;
mod request;
pub(super) mod signed;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use der::asn1::Any;
use der::{Decode, Encode, Sequence};
use time::{Duration, OffsetDateTime};
use x509_cert::Version;
use x509_cert::ext::Extension;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Validity;

use self::authority::Authority;
use super::Digest;
use super::key::{KeyError, PrivateKey, public_digest};
use super::serial::Serial;

pub use name::{AlternativeName, Name};
pub use request::{Request, read_request, request, stapled_request};

/// What a certificate is for; decides its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Signs itself, and intermediates or leaves.
    Root {
        /// How many intermediates may follow one another below it; nothing sets no limit.
        path_len: Option<u8>,
    },
    /// Signed by a root or another intermediate, signs others.
    Intermediate {
        /// How many further intermediates may follow below it; 0 signs leaves only.
        path_len: u8,
    },
    /// Serves or connects.
    Leaf {
        /// What it may be used for in TLS.
        usages: BTreeSet<super::Usage>,
    },
}

impl Role {
    fn is_ca(&self) -> bool {
        !matches!(self, Self::Leaf { .. })
    }
}

/// What goes into one certificate, besides its key and its issuer.
#[derive(Debug, Clone)]
pub struct Profile<'a> {
    /// Whose certificate it is.
    pub subject: &'a Name,
    /// The names of its SAN, in this order; none leaves the extension out.
    pub alternative_names: &'a [AlternativeName],
    /// What it is for.
    pub role: &'a Role,
    /// The number that this issuer has not used before.
    pub serial: Serial,
    /// The present time.
    pub now: OffsetDateTime,
    /// How long before `now` it starts: clients whose clock is slow take it too.
    pub backdate: Duration,
    /// When it ends; never after its issuer.
    pub not_after: OffsetDateTime,
}

/// Who signs a certificate.
#[derive(Debug, Clone, Copy)]
pub enum Issuer<'a> {
    /// The key that it is about: a root, or a leaf that stands alone.
    Itself(&'a PrivateKey),
    /// An authority.
    Authority {
        /// Its certificate in DER.
        certificate: &'a [u8],
        /// The key of that certificate.
        key: &'a PrivateKey,
    },
}

/// A new certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub der: Vec<u8>,
    /// When it really starts.
    pub not_before: OffsetDateTime,
    /// When it really ends: what was asked for, or the issuer's own end where that is earlier.
    pub not_after: OffsetDateTime,
}

/// Why something cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// A field that cannot stand in a certificate.
    #[error("{field} \"{}\" {why}", value.escape_debug())]
    Field {
        /// The field as certificates call it.
        field: &'static str,
        /// What was to go there.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The issuer's certificate does not allow it to sign this.
    #[error("{issuer} cannot sign this: {why}")]
    Issuer {
        /// The subject of the issuer's certificate.
        issuer: String,
        /// What stands against it.
        why: String,
    },
    /// A combination that makes no certificate.
    #[error("{0}")]
    Profile(&'static str),
    /// What was given as a certificate, a request, a list or a public key is none.
    #[error("{0}")]
    Unreadable(String),
    /// The key refuses.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The library refuses to encode it.
    #[error("cannot be encoded: {0}")]
    Encoding(#[from] der::Error),
}

/// Makes a certificate for a public key, which is a `subjectPublicKeyInfo` in DER.
///
/// # Errors
/// When a field cannot stand in a certificate, and when the issuer is no CA, is not valid at the present
/// time, has another key than its certificate, or may not sign such a certificate.
pub fn issue(
    profile: &Profile<'_>,
    subject_public_key: &[u8],
    issuer: Issuer<'_>,
    digest: Digest,
) -> Result<Issued, X509Error> {
    issue_with(profile, subject_public_key, issuer, digest, None)
}

/// Makes one that is only taken with an OCSP response stapled to it (RFC 7633).
///
/// # Errors
/// As for [`issue`].
pub fn issue_stapled(
    profile: &Profile<'_>,
    subject_public_key: &[u8],
    issuer: Issuer<'_>,
    digest: Digest,
) -> Result<Issued, X509Error> {
    issue_with(profile, subject_public_key, issuer, digest, Some(extension::must_staple()?))
}

fn issue_with(
    profile: &Profile<'_>,
    subject_public_key: &[u8],
    issuer: Issuer<'_>,
    digest: Digest,
    more: Option<Extension>,
) -> Result<Issued, X509Error> {
    let subject = profile.subject.to_der()?;
    let (authority, key) = match issuer {
        Issuer::Itself(key) => (Authority::itself(profile, &subject, key)?, key),
        Issuer::Authority { certificate, key } => {
            (Authority::read(certificate, key, profile.now)?.may_sign(profile.role)?, key)
        }
    };
    let public_key = SubjectPublicKeyInfoOwned::from_der(subject_public_key)
        .map_err(|error| X509Error::Unreadable(format!("not a public key: {error}")))?;
    if matches!(issuer, Issuer::Itself(_))
        && public_digest(public_key.subject_public_key.raw_bytes()) != key.public_digest()
    {
        return Err(X509Error::Profile("a certificate that signs itself is signed by its own key"));
    }
    let not_before = (profile.now - profile.backdate).max(authority.not_before);
    let not_after = profile.not_after.min(authority.not_after);
    let (not_before, not_after) = (signed::whole_seconds(not_before), signed::whole_seconds(not_after));
    if not_after <= profile.now {
        return Err(X509Error::Profile("a certificate must end after the present time"));
    }
    let mut extensions = extension::of_certificate(profile, &public_key, &authority.key_identifier)?;
    extensions.extend(more);
    let certificate = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&profile.serial.to_octets())?,
        signature: key.signature_algorithm(digest),
        issuer: Any::from_der(&authority.subject)?,
        validity: Validity::new(signed::time(not_before)?, signed::time(not_after)?),
        subject: Any::from_der(&subject)?,
        extensions,
        subject_public_key_info: public_key,
    };
    Ok(Issued { der: signed::sign(&certificate.to_der()?, key, digest)?, not_before, not_after })
}

/// RFC 5280 section 4.1. The two names are taken over octet for octet: a path is found by comparing them.
#[derive(Sequence)]
struct TbsCertificate {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial_number: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Any,
    validity: Validity,
    subject: Any,
    subject_public_key_info: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}
