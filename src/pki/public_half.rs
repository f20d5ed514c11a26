//! The public half of a key as it stands beside the secret one, taken without any arithmetic: enough to tell which
//! of many keys belongs to a certificate, where reading each whole would cost more than all the rest.

use der::{Decode, Encode};
use rsa::pkcs1::RsaPrivateKeyRef;
use rsa::pkcs8::PrivateKeyInfoRef;
use sec1::EcPrivateKey;

use super::key::{EC_PUBLIC_KEY, RSA_ENCRYPTION};

/// The first octet of a point with both of its coordinates (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// What the body of a PEM block says of its public half, in the form that a certificate's `subjectPublicKey` has;
/// nothing when it says nothing, or in another form. Nobody has looked whether it is true.
pub fn stated(label: &str, der: &[u8]) -> Option<Vec<u8>> {
    match label {
        "EC PRIVATE KEY" => point(der),
        "RSA PRIVATE KEY" => numbers(der),
        "PRIVATE KEY" => {
            let info = PrivateKeyInfoRef::from_der(der).ok()?;
            match info.algorithm.oid {
                EC_PUBLIC_KEY => point(info.private_key.as_bytes()),
                RSA_ENCRYPTION => numbers(info.private_key.as_bytes()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// RFC 5915 section 3.
fn point(der: &[u8]) -> Option<Vec<u8>> {
    let point = EcPrivateKey::from_der(der).ok()?.public_key?;
    (point.first() == Some(&UNCOMPRESSED)).then(|| point.to_vec())
}

/// RFC 8017 appendix A.1.
fn numbers(der: &[u8]) -> Option<Vec<u8>> {
    RsaPrivateKeyRef::from_der(der).ok()?.public_key().to_der().ok()
}

#[cfg(test)]
mod tests {
    use super::super::key::PrivateKey;
    use super::super::{Algorithm, Container};
    use super::*;

    #[test]
    fn what_is_stated_is_what_is_computed() {
        let all =
            [Algorithm::P256, Algorithm::P384, Algorithm::P521, Algorithm::Rsa(2048), Algorithm::Ed25519];
        for algorithm in all {
            let key = PrivateKey::generate(algorithm).unwrap();
            for container in [Container::Pkcs8, Container::Traditional] {
                let text = key.to_pem(container).unwrap();
                let block = pem::parse(text.reveal()).unwrap();
                let expected = (algorithm != Algorithm::Ed25519).then(|| key.public_bits().to_vec());
                assert_eq!(stated(block.tag(), block.contents()), expected, "{algorithm} {container:?}");
            }
        }
        assert_eq!(stated("PRIVATE KEY", b"junk"), None);
        assert_eq!(stated("ENCRYPTED PRIVATE KEY", b"junk"), None);
    }

    /// Keys without it are read whole, and those that lie about it are not taken.
    #[test]
    fn what_is_not_stated_is_computed_and_what_is_false_is_refused() {
        let [key, other] = [(); 2].map(|()| PrivateKey::generate(Algorithm::P256).unwrap());
        let text = key.to_pem(Container::Traditional).unwrap();
        let der = pem::parse(text.reveal()).unwrap().into_contents();
        let with = |public_key| {
            let read = EcPrivateKey::from_der(&der).unwrap();
            EcPrivateKey { public_key, ..read }.to_der().unwrap()
        };
        let without = with(None);
        assert_eq!(stated("EC PRIVATE KEY", &without), None);
        let read = PrivateKey::from_der("EC PRIVATE KEY", &without).unwrap();
        assert_eq!(read.public_bits(), key.public_bits());
        assert!(PrivateKey::from_der("EC PRIVATE KEY", &with(Some(other.public_bits()))).is_err());
    }
}
