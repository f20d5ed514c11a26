//! Private keys: made from the kernel's randomness, written in PEM, recognised again, never shown.

use std::fmt;

use der::Encode;
use der::asn1::{BitString, Null, ObjectIdentifier, OctetStringRef};
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, KeypairBytes};
use getrandom::{SysRng, rand_core::UnwrapErr};
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, EncodeRsaPublicKey, LineEnding};
use rsa::pkcs8::{AlgorithmIdentifierRef, DecodePrivateKey, PrivateKeyInfoRef, SecretDocument};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use sec1::EcPrivateKey;
use sha2::{Digest, Sha256};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use zeroize::Zeroizing;

use super::{Algorithm, Container, armor, public_half};

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
    pub(super) secret: Kind,
    pub(super) public: Vec<u8>,
}

pub(super) enum Kind {
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    P521(p521::SecretKey),
    Ed25519(Box<ed25519_dalek::SigningKey>),
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
    /// Fewer bits than clients take, or more than they can work with.
    #[error("an RSA key of {0} bits is not made, only of 2048 to 8192")]
    Size(u16),
    /// There is a key, but under a password.
    #[error("the private key is under a password; take that off first: openssl pkey -in FILE -out NEW")]
    Encrypted,
    /// Not a key that this program knows: another algorithm, a password, damage.
    #[error("not an unencrypted P-256, P-384, P-521, Ed25519 or RSA private key")]
    Unreadable,
}

impl PrivateKey {
    /// Makes a new key. RSA takes 40 to 800 ms up to 4096 bits, and up to a minute with 8192; the others
    /// less than one.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the kernel has no randomness to give, [`KeyError::Size`] for RSA of a
    /// size that nobody takes.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        // Asked for once by hand: the libraries below panic where the kernel refuses.
        let mut probe = [0_u8; 1];
        fill(&mut probe)?;
        match algorithm {
            Algorithm::P256 => Self::from_kind(Kind::P256(p256::SecretKey::generate())),
            Algorithm::P384 => Self::from_kind(Kind::P384(p384::SecretKey::generate())),
            Algorithm::P521 => Self::from_kind(Kind::P521(p521::SecretKey::generate())),
            Algorithm::Ed25519 => {
                let mut seed = Zeroizing::new([0_u8; 32]);
                fill(seed.as_mut())?;
                Self::from_kind(Kind::Ed25519(Box::new((&*seed).into())))
            }
            Algorithm::Rsa(bits @ Algorithm::MIN_RSA..=Algorithm::MAX_RSA) => {
                rsa::RsaPrivateKey::new(&mut UnwrapErr(SysRng), bits.into())
                    .map_err(library)
                    .map(rsa_kind)
                    .and_then(Self::from_kind)
            }
            Algorithm::Rsa(bits) => Err(KeyError::Size(bits)),
        }
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
                .or_else(|| p384::SecretKey::from_sec1_der(der).ok().map(Kind::P384))
                .or_else(|| p521::SecretKey::from_sec1_der(der).ok().map(Kind::P521)),
            "PRIVATE KEY" => p256::SecretKey::from_pkcs8_der(der)
                .ok()
                .map(Kind::P256)
                .or_else(|| p384::SecretKey::from_pkcs8_der(der).ok().map(Kind::P384))
                .or_else(|| p521::SecretKey::from_pkcs8_der(der).ok().map(Kind::P521))
                .or_else(|| {
                    ed25519_dalek::SigningKey::from_pkcs8_der(der).ok().map(Box::new).map(Kind::Ed25519)
                })
                .or_else(|| rsa::RsaPrivateKey::from_pkcs8_der(der).ok().map(rsa_kind)),
            _ => None,
        };
        let secret = kind.ok_or(KeyError::Unreadable)?;
        match (&secret, public_half::stated(label, der)) {
            // The library has compared it with the secret.
            (Kind::P256(_) | Kind::P384(_) | Kind::P521(_), Some(public)) => Ok(Self { secret, public }),
            _ => Self::from_kind(secret),
        }
    }

    /// Reads the first private key in a PEM text, with anything around it.
    ///
    /// # Errors
    /// [`KeyError::Encrypted`] when that one is under a password, [`KeyError::Unreadable`] when there is
    /// none, or none of a kind that is known here.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let block = armor::blocks(text).into_iter().find(|block| block.label.ends_with("PRIVATE KEY"));
        let block = block.ok_or(KeyError::Unreadable)?;
        if block.encrypted {
            return Err(KeyError::Encrypted);
        }
        Self::from_der(&block.label, &block.body.map_err(|_| KeyError::Unreadable)?)
    }

    fn from_kind(secret: Kind) -> Result<Self, KeyError> {
        let public = match &secret {
            Kind::P256(key) => key.public_key().to_sec1_point(false).as_bytes().to_vec(),
            Kind::P384(key) => key.public_key().to_sec1_point(false).as_bytes().to_vec(),
            Kind::P521(key) => key.public_key().to_sec1_point(false).as_bytes().to_vec(),
            Kind::Ed25519(key) => key.verifying_key().to_bytes().to_vec(),
            Kind::Rsa(key) => key.to_public_key().to_pkcs1_der().map_err(library)?.into_vec(),
        };
        Ok(Self { secret, public })
    }

    /// The PEM text of this key in a container. Ed25519 has no traditional one and is always PKCS#8.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot encode it.
    pub fn to_pem(&self, container: Container) -> Result<Secret, KeyError> {
        let end = LineEnding::LF;
        let text = match (&self.secret, container) {
            (Kind::P256(key), Container::Pkcs8) => self.point_pem(PRIME256V1, &key.to_bytes())?,
            (Kind::P384(key), Container::Pkcs8) => self.point_pem(SECP384R1, &key.to_bytes())?,
            (Kind::P521(key), Container::Pkcs8) => self.point_pem(SECP521R1, &key.to_bytes())?,
            (Kind::Rsa(key), Container::Pkcs8) => key.to_pkcs8_pem(end).map_err(library)?,
            // Without the public half: that is version 1, and OpenSSL 3.0 and GnuTLS 3.7 read no other.
            (Kind::Ed25519(key), _) => KeypairBytes { secret_key: key.to_bytes(), public_key: None }
                .to_pkcs8_pem(end)
                .map_err(library)?,
            (Kind::P256(key), Container::Traditional) => key.to_sec1_pem(end).map_err(library)?,
            (Kind::P384(key), Container::Traditional) => key.to_sec1_pem(end).map_err(library)?,
            (Kind::P521(key), Container::Traditional) => key.to_sec1_pem(end).map_err(library)?,
            (Kind::Rsa(key), Container::Traditional) => key.to_pkcs1_pem(end).map_err(library)?,
        };
        Ok(Secret::new(text.as_bytes()))
    }

    /// PKCS#8 of a key on a curve, with the public half that is known already: the library would compute it anew,
    /// which costs as much as the key itself did.
    fn point_pem(&self, curve: ObjectIdentifier, secret: &[u8]) -> Result<Zeroizing<String>, KeyError> {
        let key = EcPrivateKey { private_key: secret, parameters: None, public_key: Some(&self.public) };
        let key = Zeroizing::new(key.to_der().map_err(library)?);
        let algorithm = AlgorithmIdentifierRef { oid: EC_PUBLIC_KEY, parameters: Some((&curve).into()) };
        let key = OctetStringRef::new(&key).map_err(library)?;
        let document =
            SecretDocument::encode_msg(&PrivateKeyInfoRef::new(algorithm, key)).map_err(library)?;
        document.to_pem("PRIVATE KEY", LineEnding::LF).map_err(library)
    }

    /// Which kind of key it is.
    pub fn algorithm(&self) -> Algorithm {
        match &self.secret {
            Kind::P256(_) => Algorithm::P256,
            Kind::P384(_) => Algorithm::P384,
            Kind::P521(_) => Algorithm::P521,
            Kind::Ed25519(_) => Algorithm::Ed25519,
            Kind::Rsa(key) => Algorithm::Rsa(u16::try_from(key.n().bits()).unwrap_or(u16::MAX)),
        }
    }

    /// The public half as the `subjectPublicKeyInfo` of a certificate (RFC 5280 section 4.1), in DER.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot encode it.
    pub fn spki_der(&self) -> Result<Vec<u8>, KeyError> {
        let (oid, parameters) = match &self.secret {
            Kind::P256(_) => (EC_PUBLIC_KEY, Some((&PRIME256V1).into())),
            Kind::P384(_) => (EC_PUBLIC_KEY, Some((&SECP384R1).into())),
            Kind::P521(_) => (EC_PUBLIC_KEY, Some((&SECP521R1).into())),
            Kind::Ed25519(_) => (ED25519, None),
            Kind::Rsa(_) => (RSA_ENCRYPTION, Some(Null.into())),
        };
        let algorithm = AlgorithmIdentifierOwned { oid, parameters };
        let subject_public_key = BitString::from_bytes(&self.public).map_err(library)?;
        SubjectPublicKeyInfoOwned { algorithm, subject_public_key }.to_der().map_err(library)
    }

    /// The public half as it stands in the bits of a certificate's `subjectPublicKey`: a point, or the
    /// numbers of RSA in DER.
    pub fn public_bits(&self) -> &[u8] {
        &self.public
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

pub(super) fn library(error: impl fmt::Display) -> KeyError {
    KeyError::Library(error.to_string())
}

fn fill(octets: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(octets).map_err(|error| KeyError::Random(error.to_string()))
}

/// RFC 5480 section 2.1.1.
pub(super) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const SECP521R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// RFC 8410 section 3; names the key and the signature.
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// RFC 8017 appendix A.1.
pub(super) const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Algorithm; 5] =
        [Algorithm::P256, Algorithm::P384, Algorithm::P521, Algorithm::Ed25519, Algorithm::Rsa(2048)];

    #[test]
    fn every_kind_survives_both_containers() {
        for algorithm in ALL {
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
