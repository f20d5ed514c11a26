//! What of a certificate stands in a TLSA record (RFC 6698 section 2.1).

use sha2::{Digest, Sha256, Sha512};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The certificate association data of a certificate in DER.
///
/// # Errors
/// In words, when it is no certificate, or selector or matching type are not of RFC 6698.
pub fn association(certificate: &[u8], selector: u8, matching: u8) -> Result<Vec<u8>, String> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| format!("not a certificate: {error}"))?;
    let selected = match selector {
        0 => certificate,
        1 => parsed.public_key().raw,
        _ => return Err(format!("{selector} is no selector of TLSA: 0 or 1")),
    };
    match matching {
        0 => Ok(selected.to_vec()),
        1 => Ok(Sha256::digest(selected).to_vec()),
        2 => Ok(Sha512::digest(selected).to_vec()),
        _ => Err(format!("{matching} is no matching type of TLSA: 0, 1 or 2")),
    }
}
