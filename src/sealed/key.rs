//! The public half of a private key that was found, as fingerprints: what may be shown and kept.

use std::fmt;

use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::pki::Algorithm;
use crate::pki::key::PrivateKey;

/// What identifies a key without giving it away, in one of the two forms in which keys are compared:
///
/// - `spki-sha256:` and 64 hexadecimal digits: SHA-256 over the DER of a certificate's
///   `subjectPublicKeyInfo` (RFC 5280 section 4.1), as in RFC 7469 section 2.4;
/// - `SHA256:` and 43 characters: SHA-256 over the public key of SSH (RFC 4253 section 6.6), as
///   `ssh-keygen -l` prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a `subjectPublicKeyInfo` in DER, from a certificate or a key.
    pub fn of_spki(der: &[u8]) -> Self {
        let hex: String = Sha256::digest(der).iter().map(|octet| format!("{octet:02x}")).collect();
        Self(format!("{SPKI}{hex}"))
    }

    /// Of a public key as SSH writes it, after decoding its base64.
    pub fn of_ssh(blob: &[u8]) -> Self {
        Self(ssh_key::Fingerprint::Sha256(Sha256::digest(blob).into()).to_string())
    }

    /// Takes over what `ssh-keygen -l` printed.
    pub fn from_ssh(text: &str) -> Option<Self> {
        Self::try_from(text.to_owned()).ok().filter(|fingerprint| fingerprint.0.starts_with(SSH))
    }

    /// Both forms of a key, for it may be served in either.
    pub fn of_key(key: &PrivateKey) -> Vec<Self> {
        let spki = key.spki_der().ok().map(|spki| Self::of_spki(&spki));
        let blob = ssh_blob(key).map(|blob| Self::of_ssh(&blob));
        spki.into_iter().chain(blob).collect()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        let good = match (text.strip_prefix(SPKI), text.strip_prefix(SSH)) {
            (Some(rest), _) => rest.len() == 64 && rest.bytes().all(hex),
            (_, Some(rest)) => rest.len() == 43 && rest.bytes().all(base64),
            _ => false,
        };
        if good { Ok(Self(text)) } else { Err(format!("{text:?} is no fingerprint")) }
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const SPKI: &str = "spki-sha256:";
const SSH: &str = "SHA256:";

/// Of the body of a PEM block, or of a whole DER file; none for algorithms that are not known here.
pub fn of_der(label: &str, der: &[u8]) -> Vec<Fingerprint> {
    PrivateKey::from_der(label, der).map(|key| Fingerprint::of_key(&key)).unwrap_or_default()
}

/// Of a private key in OpenSSH's own format: its public half is readable even under a password.
pub fn of_openssh(pem: &str) -> Option<(String, Fingerprint)> {
    let key = ssh_key::PrivateKey::from_openssh(pem).ok()?;
    let text = key.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    Some((key.algorithm().to_string(), Fingerprint::from_ssh(&text)?))
}

/// The public half as SSH writes it (RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4).
fn ssh_blob(key: &PrivateKey) -> Option<Vec<u8>> {
    let public = key.public_bits();
    let curve = |name: &str| {
        let algorithm = format!("ecdsa-sha2-{name}");
        [string(algorithm.as_bytes()), string(name.as_bytes()), string(public)].concat()
    };
    match key.algorithm() {
        Algorithm::P256 => Some(curve("nistp256")),
        Algorithm::P384 => Some(curve("nistp384")),
        Algorithm::P521 => Some(curve("nistp521")),
        Algorithm::Ed25519 => Some([string(b"ssh-ed25519"), string(public)].concat()),
        Algorithm::Rsa(_) => {
            let rsa = rsa::RsaPublicKey::from_pkcs1_der(public).ok()?;
            let number = |octets: &[u8]| {
                let sign = octets.first().is_some_and(|first| first & 0x80 != 0);
                string(&[if sign { &[0][..] } else { &[] }, octets].concat())
            };
            Some([string(b"ssh-rsa"), number(&rsa.e_bytes()), number(&rsa.n_bytes())].concat())
        }
    }
}

fn string(octets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), octets].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Algorithm, Container};

    #[test]
    fn fingerprints_are_what_other_programs_print() {
        // By `openssl pkey -pubout -outform DER` with sha256sum, and by `ssh-keygen -lf`.
        let cases = [
            (
                "P-256",
                "-----BEGIN PRIVATE KEY-----\n\
                 MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCX4GpW/Mn6RxB//N\n\
                 K/AQibR/hgt8K2i/539LUmb1ekmhRANCAARQ+Yppde5kndhHMwwxTOoBqgEXjVoi\n\
                 xl1M7axQWzbHkbjLvkSg66XUMFzYYlRMJ6gmnLf3m3oEkbwRkoTqMu29\n\
                 -----END PRIVATE KEY-----\n",
                "spki-sha256:67e44e0e2f3ef9a046f7d432f84c0b9a89a833bfb11b07acfab87a28e26c0a9c",
                "SHA256:QjAOP8hvdgtRKs9QE5eVbe81DXmslUg/OO8HBEMKN+0",
            ),
            (
                "Ed25519",
                "-----BEGIN PRIVATE KEY-----\n\
                 MC4CAQAwBQYDK2VwBCIEINZ3Qr/uGLzTzStt5qmVRoumULfEtpDkPpucBr93mae1\n\
                 -----END PRIVATE KEY-----\n",
                "spki-sha256:7cf9d06952dbb2b557850452e7b961af50fa7ff47c80e6802ad01ac1ae1e7a0f",
                "SHA256:JBo2+GGctSdJvCnBgxeuQ8tSXUCNqVOX7KI1BmWLtlk",
            ),
        ];
        for (name, pem, spki, ssh) in cases {
            let block = pem::parse(pem).unwrap();
            let found = of_der(block.tag(), block.contents());
            let texts: Vec<_> = found.iter().map(Fingerprint::as_str).collect();
            assert_eq!(texts, [spki, ssh], "{name}");
        }
    }

    #[test]
    fn every_kind_of_ours_has_both_forms() {
        for algorithm in [Algorithm::P256, Algorithm::P384, Algorithm::Rsa(2048)] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let text = key.to_pem(Container::Traditional).unwrap();
            let block = pem::parse(text.reveal()).unwrap();
            assert_eq!(of_der(block.tag(), block.contents()), Fingerprint::of_key(&key), "{algorithm}");
            assert_eq!(Fingerprint::of_key(&key).len(), 2, "{algorithm}");
        }
    }

    #[test]
    fn what_is_no_fingerprint() {
        for text in ["", "SHA256:", "SHA256:abc", "spki-sha256:xyz", "MD5:00:11", &"0".repeat(64)] {
            assert!(Fingerprint::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
