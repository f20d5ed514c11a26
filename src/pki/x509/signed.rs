//! What is signed: the shell that certificates, requests and lists share (RFC 5280 section 4.1.1).

use std::time::Duration;

use der::asn1::{Any, BitString};
use der::{DateTime, Decode, Encode, Sequence, Tag, Tagged};
use time::OffsetDateTime;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

use super::X509Error;
use crate::pki::Digest;
use crate::pki::key::PrivateKey;

#[derive(Sequence)]
struct Signed {
    content: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// Signs a content that names the algorithm itself.
pub(super) fn sign(content: &[u8], key: &PrivateKey, digest: Digest) -> Result<Vec<u8>, X509Error> {
    let signature = BitString::from_bytes(&key.sign_with(digest, content)?)?;
    let algorithm = key.signature_algorithm(digest);
    Ok(Signed { content: Any::from_der(content)?, algorithm, signature }.to_der()?)
}

/// Says whether the shell is whole, and names the algorithm that the signed content names (RFC 5280
/// section 4.1.1.2). No signature protects it, and the lenient reader takes one octet for another there.
pub(in crate::pki) fn is_consistent(der: &[u8], inside: &x509_parser::x509::AlgorithmIdentifier<'_>) -> bool {
    Signed::from_der(der).is_ok_and(|Signed { content, algorithm, .. }| {
        content.tag() == Tag::Sequence
            && algorithm.oid.to_string() == inside.algorithm.to_id_string()
            && algorithm.parameters.as_ref().map(Any::value)
                == inside.parameters.as_ref().map(|parameters| parameters.data)
    })
}

/// Says whether the shell of a request is whole: that names no algorithm inside.
pub(in crate::pki) fn is_whole(der: &[u8]) -> bool {
    Signed::from_der(der).is_ok_and(|Signed { content, .. }| content.tag() == Tag::Sequence)
}

/// The same time without a fraction: certificates have none.
pub(super) fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}

/// A point in time: with two digits of the year before 2050, with four from then on (RFC 5280 section
/// 4.1.2.5).
pub(super) fn time(time: OffsetDateTime) -> Result<Time, X509Error> {
    let seconds = u64::try_from(time.unix_timestamp())
        .map_err(|_| X509Error::Profile("times before 1970 cannot be written"))?;
    Ok(DateTime::from_unix_duration(Duration::from_secs(seconds))?.into())
}
