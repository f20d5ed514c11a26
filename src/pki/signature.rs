//! Signatures of X.509: made with each kind of key over each digest, and verified (RFC 5280 section
//! 4.1.1.3, RFC 5758, RFC 8410).

use der::asn1::{Null, ObjectIdentifier};
use ed25519_dalek::ed25519;
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::ecdsa::signature::{Signer, Verifier};
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs1v15::Pkcs1v15Sign;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use super::Digest;
use super::key::{
    EC_PUBLIC_KEY, ED25519, KeyError, Kind, PRIME256V1, PrivateKey, RSA_ENCRYPTION, SECP384R1, SECP521R1,
    library,
};

impl PrivateKey {
    /// Signs a message: the bits of a certificate's `signatureValue`. Ed25519 has a digest of its own and
    /// ignores this one.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library refuses.
    pub fn sign_with(&self, digest: Digest, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let hash = || hashed(digest, message);
        match &self.secret {
            Kind::P256(key) => PrehashSigner::<p256::ecdsa::DerSignature>::sign_prehash(
                &p256::ecdsa::SigningKey::from(key),
                &hash(),
            )
            .map(|signature| signature.as_bytes().to_vec())
            .map_err(library),
            Kind::P384(key) => PrehashSigner::<p384::ecdsa::DerSignature>::sign_prehash(
                &p384::ecdsa::SigningKey::from(key),
                &hash(),
            )
            .map(|signature| signature.as_bytes().to_vec())
            .map_err(library),
            Kind::P521(key) => PrehashSigner::<p521::ecdsa::DerSignature>::sign_prehash(
                &p521::ecdsa::SigningKey::from(key),
                &hash(),
            )
            .map(|signature| signature.as_bytes().to_vec())
            .map_err(library),
            Kind::Ed25519(key) => {
                key.try_sign(message).map(|signature| signature.to_bytes().to_vec()).map_err(library)
            }
            Kind::Rsa(key) => key.sign(padding(digest), &hash()).map_err(library),
        }
    }

    /// How [`PrivateKey::sign_with`] is called in a certificate.
    pub fn signature_algorithm(&self, digest: Digest) -> AlgorithmIdentifierOwned {
        let (oid, parameters) = match (&self.secret, digest) {
            (Kind::Ed25519(_), _) => (ED25519, None),
            (Kind::Rsa(_), Digest::Sha256) => (RSA_SHA256, Some(Null.into())),
            (Kind::Rsa(_), Digest::Sha384) => (RSA_SHA384, Some(Null.into())),
            (Kind::Rsa(_), Digest::Sha512) => (RSA_SHA512, Some(Null.into())),
            (_, Digest::Sha256) => (ECDSA_SHA256, None),
            (_, Digest::Sha384) => (ECDSA_SHA384, None),
            (_, Digest::Sha512) => (ECDSA_SHA512, None),
        };
        AlgorithmIdentifierOwned { oid, parameters }
    }
}

/// Says whether a signature is of this key and this message; nothing when the algorithm or the kind of
/// key is not known here. `spki` is a `subjectPublicKeyInfo` in DER, `algorithm` the dotted identifier.
pub fn verify_signature(spki: &[u8], algorithm: &str, message: &[u8], signature: &[u8]) -> Option<bool> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).ok()?;
    let key: &[u8] = &spki.subject_public_key.data;
    let kind = ObjectIdentifier::new(&spki.algorithm.algorithm.to_id_string()).ok()?;
    let algorithm = ObjectIdentifier::new(algorithm).ok()?;
    if algorithm == ED25519 {
        let key: &[u8; 32] = (kind == ED25519).then_some(key)?.try_into().ok()?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(key).ok()?;
        let signature = ed25519::Signature::from_slice(signature);
        return Some(signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()));
    }
    let (family, padding, hash) = match algorithm {
        RSA_SHA1 => {
            (RSA_ENCRYPTION, Some(Pkcs1v15Sign::new::<sha1::Sha1>()), sha1::Sha1::digest(message).to_vec())
        }
        RSA_SHA256 => (RSA_ENCRYPTION, Some(padding(Digest::Sha256)), hashed(Digest::Sha256, message)),
        RSA_SHA384 => (RSA_ENCRYPTION, Some(padding(Digest::Sha384)), hashed(Digest::Sha384, message)),
        RSA_SHA512 => (RSA_ENCRYPTION, Some(padding(Digest::Sha512)), hashed(Digest::Sha512, message)),
        ECDSA_SHA1 => (EC_PUBLIC_KEY, None, sha1::Sha1::digest(message).to_vec()),
        ECDSA_SHA256 => (EC_PUBLIC_KEY, None, hashed(Digest::Sha256, message)),
        ECDSA_SHA384 => (EC_PUBLIC_KEY, None, hashed(Digest::Sha384, message)),
        ECDSA_SHA512 => (EC_PUBLIC_KEY, None, hashed(Digest::Sha512, message)),
        _ => return None,
    };
    if family != kind {
        return None;
    }
    if let Some(padding) = padding {
        let key = rsa::RsaPublicKey::from_pkcs1_der(key).ok()?;
        return Some(key.verify(padding, &hash, signature).is_ok());
    }
    let curve = spki.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string();
    match ObjectIdentifier::new(&curve).ok()? {
        PRIME256V1 => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
            let signature = p256::ecdsa::Signature::from_der(signature);
            Some(signature.is_ok_and(|signature| key.verify_prehash(&hash, &signature).is_ok()))
        }
        SECP384R1 => {
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
            let signature = p384::ecdsa::Signature::from_der(signature);
            Some(signature.is_ok_and(|signature| key.verify_prehash(&hash, &signature).is_ok()))
        }
        SECP521R1 => {
            let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
            let signature = p521::ecdsa::Signature::from_der(signature);
            Some(signature.is_ok_and(|signature| key.verify_prehash(&hash, &signature).is_ok()))
        }
        _ => None,
    }
}

/// Says whether a signature algorithm rests on a digest for which collisions are made.
pub fn is_broken(algorithm: &str) -> bool {
    ["1.2.840.113549.1.1.2", "1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"]
        .contains(&algorithm)
}

fn hashed(digest: Digest, message: &[u8]) -> Vec<u8> {
    match digest {
        Digest::Sha256 => Sha256::digest(message).to_vec(),
        Digest::Sha384 => Sha384::digest(message).to_vec(),
        Digest::Sha512 => Sha512::digest(message).to_vec(),
    }
}

fn padding(digest: Digest) -> Pkcs1v15Sign {
    match digest {
        Digest::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
        Digest::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
        Digest::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
    }
}

// RFC 8017 appendix A.2.4.
const RSA_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
// RFC 5758 section 3.2.
const ECDSA_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");

// `rcgen` asks each key for the digest that goes with it, and knows no P-521.

impl rcgen::PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.secret {
            Kind::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Kind::P384(_) | Kind::P521(_) => &rcgen::PKCS_ECDSA_P384_SHA384,
            Kind::Ed25519(_) => &rcgen::PKCS_ED25519,
            Kind::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let digest = match self.secret {
            Kind::P256(_) | Kind::Ed25519(_) | Kind::Rsa(_) => Digest::Sha256,
            Kind::P384(_) => Digest::Sha384,
            Kind::P521(_) => return Err(rcgen::Error::UnsupportedSignatureAlgorithm),
        };
        self.sign_with(digest, message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Algorithm;

    #[test]
    fn every_kind_signs_over_every_digest() {
        for algorithm in
            [Algorithm::P256, Algorithm::P384, Algorithm::P521, Algorithm::Ed25519, Algorithm::Rsa(2048)]
        {
            let key = PrivateKey::generate(algorithm).unwrap();
            let (spki, other) = (key.spki_der().unwrap(), PrivateKey::generate(Algorithm::P256).unwrap());
            for digest in [Digest::Sha256, Digest::Sha384, Digest::Sha512] {
                let case = format!("{algorithm} {digest:?}");
                let oid = key.signature_algorithm(digest).oid.to_string();
                let mut signature = key.sign_with(digest, b"message").unwrap();
                let verify =
                    |message: &[u8], signature: &[u8]| verify_signature(&spki, &oid, message, signature);
                assert_eq!(verify(b"message", &signature), Some(true), "{case}");
                assert_eq!(verify(b"massage", &signature), Some(false), "{case}");
                let foreign = verify_signature(&other.spki_der().unwrap(), &oid, b"message", &signature);
                assert_ne!(foreign, Some(true), "{case}");
                let last = signature.len() - 1;
                signature[last] ^= 1;
                assert_eq!(verify(b"message", &signature), Some(false), "{case}");
                assert_eq!(verify(b"message", b""), Some(false), "{case}");
            }
            assert_eq!(verify_signature(&spki, "1.2.3", b"message", b""), None);
        }
    }
}
