//! Private keys at rest: PKCS#8 under a passphrase (RFC 5958 section 3), by PBES2 of RFC 8018 section 6.2.
//!
//! ```text
//!  passphrase  salt
//!               what opens them, and the keys derived from it
//!  derivation   PBKDF2 and scrypt, within bounds
//!  cipher       AES and triple DES in CBC
//!  traditional  OpenSSL's older form, read only
//! ```
//!
//! Written is what every other program reads: PBKDF2 with HMAC-SHA-256, AES-256 in CBC. That has no checksum: a
//! wrong passphrase is told by what comes out of it, which is then no key.

mod cipher;
mod derivation;
mod passphrase;
mod salt;
#[cfg(test)]
mod tests;
mod traditional;

use der::Decode;
use der::asn1::OctetStringRef;
use pkcs5::EncryptionScheme;
use pkcs5::pbes2::{self, Kdf, Parameters, Pbkdf2Params};
use pkcs8::{
    EncryptedPrivateKeyInfo, EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument,
};
use zeroize::Zeroizing;

use self::cipher::Cipher;
pub use self::passphrase::Passphrase;
pub use self::salt::Salt;
use super::key::{KeyError, PrivateKey, Secret};
use super::{Container, armor};

/// Iterations of PBKDF2 in what is written: what OWASP asks for since 2023; a fifth of a second.
const ITERATIONS: u32 = 600_000;
/// What a block of PKCS#8 under a passphrase is called (RFC 7468 section 11).
const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Why a key under a passphrase could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncryptedError {
    /// The passphrase opens it not; a damaged content looks the same.
    #[error("the passphrase is not that of the key, or the key is damaged")]
    WrongPassphrase,
    /// There is no passphrase, and it has one.
    #[error("the key is under a passphrase, and none was given")]
    NoPassphrase,
    /// A passphrase of no octets protects nothing.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// A cipher or a derivation that is not known here.
    #[error(
        "the key is under a passphrase by {0}, which is not read here; write it anew: openssl pkcs8 -topk8"
    )]
    Unknown(String),
    /// What it asks for would take minutes, or memory that nobody has: it is not begun.
    #[error("to open the key would take {0}; this is not tried")]
    Excessive(String),
    /// Not the form that its first line promises.
    #[error("the key is damaged: {0}")]
    Damaged(String),
    /// It was opened, or is none that is under a passphrase, and then it could not be read; or not be written.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Says whether the first private key of a PEM text is under a passphrase.
pub fn is_encrypted(text: &[u8]) -> bool {
    first(text).is_some_and(|block| block.encrypted)
}

/// Says whether it is so as encrypted PKCS#8, and in no older form.
pub fn is_encrypted_pkcs8(text: &[u8]) -> bool {
    first(text).is_some_and(|block| block.encrypted && block.label == LABEL)
}

fn first(text: &[u8]) -> Option<armor::Block> {
    armor::blocks(text).into_iter().find(|block| block.label.ends_with("PRIVATE KEY"))
}

/// Reads the first private key of a PEM text, under the passphrase or under none.
///
/// The first key that one passphrase opens takes as long as its derivation is made to take; others that were
/// written by the same run take no time.
///
/// # Errors
/// [`EncryptedError`]; a wrong passphrase is [`EncryptedError::WrongPassphrase`] and nothing else.
pub fn decrypt(text: &[u8], passphrase: Option<&Passphrase>) -> Result<PrivateKey, EncryptedError> {
    let block = first(text).ok_or(KeyError::Unreadable)?;
    if !block.encrypted {
        return Ok(PrivateKey::from_pem(text)?);
    }
    let passphrase = passphrase.ok_or(EncryptedError::NoPassphrase)?;
    let body = block.body.map_err(EncryptedError::Damaged)?;
    if block.label != LABEL {
        let info = block.dek_info.as_deref().unwrap_or_default();
        return traditional::decrypt(&block.label, info, &body, passphrase);
    }
    let info = EncryptedPrivateKeyInfoRef::from_der(&body).map_err(form)?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(EncryptedError::Unknown("PBES1".into()));
    };
    let cipher = Cipher::of(&parameters.encryption)?;
    passphrase
        .candidates()
        .find_map(|octets| {
            let key = match passphrase.derived(octets, &parameters.kdf, cipher.key_size()) {
                Ok(key) => key,
                Err(error) => return Some(Err(error)),
            };
            let plain = cipher.decrypt(&key, info.encrypted_data.as_bytes())?;
            // What is no PKCS#8 has come out of the wrong passphrase.
            PrivateKeyInfoRef::from_der(&plain).ok()?;
            Some(PrivateKey::from_der("PRIVATE KEY", &plain).map_err(EncryptedError::Key))
        })
        .unwrap_or(Err(EncryptedError::WrongPassphrase))
}

/// Writes a private key under a passphrase, as PEM. All that one [`Passphrase`] writes has the same salt, and each
/// its own first block: deriving once is enough for any number of keys.
///
/// # Errors
/// [`EncryptedError::Key`] when the key cannot be encoded, or the kernel has no random numbers.
pub fn encrypt(key: &PrivateKey, passphrase: &Passphrase) -> Result<Secret, EncryptedError> {
    encrypt_by(key, passphrase, passphrase.salt()?)
}

/// The same by a salt that others write by, too: what they all wrote is opened by deriving once.
///
/// # Errors
/// As for [`encrypt`].
pub fn encrypt_by(key: &PrivateKey, passphrase: &Passphrase, salt: Salt) -> Result<Secret, EncryptedError> {
    let text = key.to_pem(Container::Pkcs8)?;
    let block = first(text.reveal()).ok_or(KeyError::Unreadable)?;
    let plain: Zeroizing<Vec<u8>> = block.body.map_err(EncryptedError::Damaged)?;
    let mut iv = [0_u8; 16];
    getrandom::fill(&mut iv).map_err(|error| KeyError::Random(error.to_string()))?;
    let kdf = Kdf::Pbkdf2(Pbkdf2Params::hmac_sha256(ITERATIONS, salt.octets()).map_err(library)?);
    let encryption = pbes2::EncryptionScheme::Aes256Cbc { iv };
    let cipher = Cipher::of(&encryption)?;
    let derived = passphrase.derived(passphrase.octets(), &kdf, cipher.key_size())?;
    let data = cipher.encrypt(&derived, &plain)?;
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: EncryptionScheme::Pbes2(Parameters { kdf, encryption }),
        encrypted_data: OctetStringRef::new(&data).map_err(library)?,
    };
    let text = SecretDocument::encode_msg(&info).and_then(|document| document.to_pem(LABEL, LineEnding::LF));
    Ok(Secret::new(text.map_err(library)?.as_bytes()))
}

fn form(error: der::Error) -> EncryptedError {
    match error.kind() {
        der::ErrorKind::OidUnknown { oid } => EncryptedError::Unknown(oid.to_string()),
        _ => EncryptedError::Damaged(error.to_string()),
    }
}

fn library(error: impl std::fmt::Display) -> KeyError {
    super::key::library(error)
}
