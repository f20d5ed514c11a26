//! Private keys of an inventory: how each is opened, and how each is kept.
//!
//! Whether they are encrypted is said once for the whole inventory, and switched with all keys in one transaction.
//! Keys of authorities are encrypted whatever is said.

mod side_by_side;
mod status;
mod switch;
#[cfg(test)]
mod tests;

pub use status::{Status, Tally, status};
pub use switch::{Switched, switch};

use crate::manager::inventory::model::{AtRest, KeyData, SubjectType};
use crate::manager::keyring::Keyring;
use crate::pki::key::{PrivateKey, Secret};

/// Opens the private key of a certificate, however it is kept: in clear, as encrypted PKCS#8, or as serverPKI left
/// it.
///
/// # Errors
/// In words, when there is none, or the passphrase does not open it.
pub fn open_key(keyring: &Keyring<'_>, data: &KeyData) -> Result<PrivateKey, String> {
    match data.key.reveal() {
        [] => Err(format!("there is no private key of the certificate {}", data.info.digest)),
        text => keyring.open(text),
    }
}

/// The text of a private key as it is kept in an inventory, whose own [`at_rest`] says how.
///
/// [`at_rest`]: crate::manager::inventory::store::Inventory::at_rest
///
/// # Errors
/// In words, when it is to be encrypted and there is no passphrase: it is never kept in clear instead.
pub fn keep_key(
    keyring: &Keyring<'_>,
    at_rest: AtRest,
    subject: SubjectType,
    key: &PrivateKey,
) -> Result<Secret, String> {
    match at_rest.encrypts(subject) {
        true => keyring.encrypted(key, at_rest.salt()),
        false => Keyring::clear(key),
    }
}
