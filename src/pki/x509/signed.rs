//! What is signed: the shell that certificates, requests and lists share (RFC 5280 section 4.1.1).

use std::time::Duration;

use der::asn1::{Any, BitString};
use der::{DateTime, Decode, Encode, Sequence};
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
