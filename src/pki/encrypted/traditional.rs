//! Keys in OpenSSL's older form, a PEM block with the headers `Proc-Type: 4,ENCRYPTED` and `DEK-Info`: what
//! `openssl genrsa -aes256` wrote, and serverPKI keeps. Read only: one round of MD5 keeps nobody off.

use der::Decode;
use md5::{Digest, Md5};
use sec1::EcPrivateKey;
use zeroize::Zeroizing;

use super::cipher::Cipher;
use super::{EncryptedError, Passphrase};
use crate::pki::key::PrivateKey;

/// Octets of the first block that are the salt, too.
const SALT: usize = 8;

/// Reads the body of a block that has the label and the `DEK-Info`.
pub(super) fn decrypt(
    label: &str,
    info: &str,
    body: &[u8],
    passphrase: &Passphrase,
) -> Result<PrivateKey, EncryptedError> {
    let damaged = |why: &str| EncryptedError::Damaged(why.into());
    let (name, digits) = info.split_once(',').ok_or_else(|| damaged("it has no DEK-Info that is whole"))?;
    let iv = octets(digits.trim()).ok_or_else(|| damaged("its DEK-Info has no hexadecimal digits"))?;
    let cipher = Cipher::named(name.trim(), &iv)?;
    let salt = iv.get(..SALT).ok_or_else(|| damaged("its DEK-Info is too short"))?;
    let opened = passphrase.candidates().find_map(|octets| {
        let key = derive(octets, salt, cipher.key_size());
        let plain = cipher.decrypt(&key, body)?;
        // What is no such form has come out of the wrong passphrase.
        is_form(label, &plain).then(|| PrivateKey::from_der(label, &plain).map_err(EncryptedError::Key))
    });
    opened.unwrap_or(Err(EncryptedError::WrongPassphrase))
}

fn is_form(label: &str, plain: &[u8]) -> bool {
    match label {
        "RSA PRIVATE KEY" => rsa::pkcs1::RsaPrivateKeyRef::from_der(plain).is_ok(),
        "EC PRIVATE KEY" => EcPrivateKey::from_der(plain).is_ok(),
        // DSA has no key here: whatever comes out is not read.
        _ => true,
    }
}

/// `EVP_BytesToKey` with MD5 and one round: each digest over the one before it, the passphrase and the salt.
fn derive(passphrase: &[u8], salt: &[u8], size: usize) -> Zeroizing<Vec<u8>> {
    let mut key: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(size.next_multiple_of(16)));
    let mut last = 0;
    while key.len() < size {
        let digest = Md5::new()
            .chain_update(key.get(last..).unwrap_or_default())
            .chain_update(passphrase)
            .chain_update(salt)
            .finalize();
        last = key.len();
        key.extend_from_slice(&digest);
    }
    key.truncate(size);
    key
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    let nibbles: Vec<u8> = digits
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|it| u8::try_from(it).ok()))
        .collect::<Option<_>>()?;
    nibbles.chunks(2).map(|pair| if let [high, low] = pair { Some(high << 4 | low) } else { None }).collect()
}
