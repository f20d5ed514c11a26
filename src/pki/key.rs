//! Private keys: made from the kernel's randomness, written in PEM, recognised again, never shown.

use getrandom::{SysRng, rand_core::UnwrapErr};
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, EncodeRsaPublicKey, LineEnding};
use rsa::pkcs1v15;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

use super::Algorithm;
use super::Container;

/// Content that may hold a private key: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over a content. It need not be text: a file that is put back is what it was.
    pub fn new(content: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(content.into()))
    }

    /// The content itself, for its file and for nothing else.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(elided)")
    }
}

/// A private key with its public half in the form that X.509 wants.
pub struct PrivateKey {
    secret: Kind,
    public: Vec<u8>,
}

enum Kind {
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    Rsa(Box<rsa::RsaPrivateKey>),
}

fn rsa_kind(key: rsa::RsaPrivateKey) -> Kind {
    Kind::Rsa(Box::new(key))
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret: _, public } = self;
        write!(f, "PrivateKey({} octets public, secret elided)", public.len())
    }
}

/// Why a key could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The kernel gave no random numbers.
    #[error("the kernel gives no random numbers: {0}")]
    Random(String),
    /// The library refused, in its own words.
    #[error("the key cannot be made or written: {0}")]
    Library(String),
    /// Not a key that this program knows: another algorithm, a password, damage.
    #[error("not an unencrypted P-256, P-384 or RSA private key")]
    Unreadable,
}

impl PrivateKey {
    /// Makes a new key. RSA takes 40 to 800 ms, the others less than one.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the kernel has no randomness to give.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        // Asked for once by hand: the libraries below panic where the kernel refuses.
        let mut probe = [0_u8; 1];
        getrandom::fill(&mut probe).map_err(|error| KeyError::Random(error.to_string()))?;
        match algorithm {
            Algorithm::P256 => Ok(Self::from_kind(Kind::P256(p256::SecretKey::generate()))?),
            Algorithm::P384 => Ok(Self::from_kind(Kind::P384(p384::SecretKey::generate()))?),
            Algorithm::Rsa2048 => Self::rsa(2048),
            Algorithm::Rsa3072 => Self::rsa(3072),
            Algorithm::Rsa4096 => Self::rsa(4096),
        }
    }

    fn rsa(bits: usize) -> Result<Self, KeyError> {
        rsa::RsaPrivateKey::new(&mut UnwrapErr(SysRng), bits)
            .map_err(library)
            .map(rsa_kind)
            .and_then(Self::from_kind)
    }

    /// Reads the body of a PEM block with one of the labels `PRIVATE KEY`, `RSA PRIVATE KEY`,
    /// `EC PRIVATE KEY`.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`] for anything else, a key under a password among it.
    pub fn from_der(label: &str, der: &[u8]) -> Result<Self, KeyError> {
        let kind = match label {
            "RSA PRIVATE KEY" => rsa::RsaPrivateKey::from_pkcs1_der(der).ok().map(rsa_kind),
            "EC PRIVATE KEY" => p256::SecretKey::from_sec1_der(der)
                .ok()
                .map(Kind::P256)
                .or_else(|| p384::SecretKey::from_sec1_der(der).ok().map(Kind::P384)),
            "PRIVATE KEY" => p256::SecretKey::from_pkcs8_der(der)
                .ok()
                .map(Kind::P256)
                .or_else(|| p384::SecretKey::from_pkcs8_der(der).ok().map(Kind::P384))
                .or_else(|| rsa::RsaPrivateKey::from_pkcs8_der(der).ok().map(rsa_kind)),
            _ => None,
        };
        kind.ok_or(KeyError::Unreadable).and_then(Self::from_kind)
    }

    fn from_kind(secret: Kind) -> Result<Self, KeyError> {
        let public = match &secret {
            Kind::P256(key) => key.public_key().to_sec1_point(false).as_bytes().to_vec(),
            Kind::P384(key) => key.public_key().to_sec1_point(false).as_bytes().to_vec(),
            Kind::Rsa(key) => key.to_public_key().to_pkcs1_der().map_err(library)?.into_vec(),
        };
        Ok(Self { secret, public })
    }

    /// The PEM text of this key in a container.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot encode it.
    pub fn to_pem(&self, container: Container) -> Result<Secret, KeyError> {
        let end = LineEnding::LF;
        let text = match (&self.secret, container) {
            (Kind::P256(key), Container::Pkcs8) => key.to_pkcs8_pem(end).map_err(library)?,
            (Kind::P384(key), Container::Pkcs8) => key.to_pkcs8_pem(end).map_err(library)?,
            (Kind::Rsa(key), Container::Pkcs8) => key.to_pkcs8_pem(end).map_err(library)?,
            (Kind::P256(key), Container::Traditional) => key.to_sec1_pem(end).map_err(library)?,
            (Kind::P384(key), Container::Traditional) => key.to_sec1_pem(end).map_err(library)?,
            (Kind::Rsa(key), Container::Traditional) => key.to_pkcs1_pem(end).map_err(library)?,
        };
        Ok(Secret::new(text.as_bytes()))
    }

    /// The key itself, when it is one on P-256.
    pub(super) fn p256(&self) -> Option<&p256::SecretKey> {
        match &self.secret {
            Kind::P256(key) => Some(key),
            _ => None,
        }
    }

    /// The numbers n, e, d, p, q and q⁻¹ mod p of an RSA key (RFC 8017 section 3.2), most significant
    /// octet first.
    pub(super) fn rsa_numbers(&self) -> Option<[Zeroizing<Vec<u8>>; 6]> {
        let Kind::Rsa(key) = &self.secret else { return None };
        let [p, q] = key.primes() else { return None };
        let inverse = key.crt_coefficient()?;
        let octets = |number: &rsa::BoxedUint| Zeroizing::new(number.to_be_bytes().into_vec());
        Some([octets(key.n()), octets(key.e()), octets(key.d()), octets(p), octets(q), octets(&inverse)])
    }

    /// What identifies the key without giving it away: SHA-256 over the bits of the public key as
    /// they stand in a certificate's `subjectPublicKey`.
    pub fn public_digest(&self) -> [u8; 32] {
        public_digest(&self.public)
    }
}

/// SHA-256 over the content of a certificate's `subjectPublicKey`.
pub fn public_digest(bits: &[u8]) -> [u8; 32] {
    Sha256::digest(bits).into()
}

impl rcgen::PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.secret {
            Kind::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Kind::P384(_) => &rcgen::PKCS_ECDSA_P384_SHA384,
            Kind::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let refused = |_| rcgen::Error::RemoteKeyError;
        match &self.secret {
            Kind::P256(key) => {
                let signature: p256::ecdsa::DerSignature =
                    p256::ecdsa::SigningKey::from(key).try_sign(message).map_err(refused)?;
                Ok(signature.to_vec())
            }
            Kind::P384(key) => {
                let signature: p384::ecdsa::DerSignature =
                    p384::ecdsa::SigningKey::from(key).try_sign(message).map_err(refused)?;
                Ok(signature.to_vec())
            }
            Kind::Rsa(key) => {
                let signer = pkcs1v15::SigningKey::<Sha256>::new(key.as_ref().clone());
                Ok(signer.try_sign(message).map_err(refused)?.to_vec())
            }
        }
    }
}

pub(super) fn library(error: impl fmt::Display) -> KeyError {
    KeyError::Library(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_both_containers() {
        for algorithm in [Algorithm::P256, Algorithm::P384, Algorithm::Rsa2048] {
            let key = PrivateKey::generate(algorithm).unwrap();
            for container in [Container::Pkcs8, Container::Traditional] {
                let text = key.to_pem(container).unwrap();
                let block = pem::parse(text.reveal()).unwrap();
                let again = PrivateKey::from_der(block.tag(), block.contents()).unwrap();
                assert_eq!(again.public_digest(), key.public_digest(), "{algorithm} {container:?}");
            }
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let text = key.to_pem(Container::Pkcs8).unwrap();
        let body: String = String::from_utf8_lossy(&text.reveal()[28..38]).into_owned();
        assert!(!format!("{key:?} {text:?}").contains(&body));
    }

    #[test]
    fn junk_is_no_key() {
        for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", ""] {
            assert_eq!(PrivateKey::from_der(label, b"junk").err(), Some(KeyError::Unreadable), "{label}");
        }
    }
}
