//! Revokes certificates at the authority that has issued them (RFC 8555 section 7.6).

use serde_json::json;

use super::Refusal;
use super::account::Connection;
use super::jws::{self, Signer};
use crate::pki::key::PrivateKey;
use crate::pki::x509::crl::Reason;

/// Who asks for it.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// The account that has ordered it, or one that has proven its names.
    Account,
    /// Whoever has the certificate's own key.
    Key(&'a PrivateKey),
}

/// Revokes a certificate, given in DER. One that is revoked already is no failure.
///
/// # Errors
/// [`Refusal`]
pub fn revoke(
    connection: &Connection,
    certificate: &[u8],
    reason: Reason,
    by: By<'_>,
) -> Result<(), Refusal> {
    let client = &connection.client;
    let Some(url) = client.directory().revoke_cert.clone() else {
        return Err(Refusal::authority(format!("{}: does not revoke", client.url())));
    };
    let payload = json!({ "certificate": jws::encode(certificate), "reason": code(reason) });
    let signer = match by {
        By::Account => Signer::Account(&connection.key, connection.account()),
        By::Key(key) => Signer::Key(key),
    };
    match connection.runtime.block_on(client.post_by(signer, &url, &payload)) {
        Ok(_) => Ok(()),
        Err(failure) if failure.is("alreadyRevoked") => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// RFC 5280 section 5.3.1.
fn code(reason: Reason) -> u8 {
    match reason {
        Reason::Unspecified => 0,
        Reason::KeyCompromise => 1,
        Reason::CaCompromise => 2,
        Reason::AffiliationChanged => 3,
        Reason::Superseded => 4,
        Reason::CessationOfOperation => 5,
        Reason::CertificateHold => 6,
        Reason::RemoveFromCrl => 8,
        Reason::PrivilegeWithdrawn => 9,
        Reason::AaCompromise => 10,
    }
}
