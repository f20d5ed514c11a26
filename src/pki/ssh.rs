//! SSH host keys: made here, written in OpenSSH's own format, recognised by their fingerprint.

use std::fmt;

use serde::{Deserialize, Serialize};
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, KeypairData, RsaKeypair, RsaPrivateKey};
use ssh_key::public::RsaPublicKey;
use ssh_key::{HashAlg, LineEnding, Mpint, PublicKey};
use zeroize::Zeroizing;

use super::key::{KeyError, PrivateKey, Secret, library};

/// The kinds of host key that this program makes; the numbers are bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Ed25519 (RFC 8709).
    Ed25519,
    /// ECDSA on NIST P-256 (RFC 5656).
    EcdsaP256,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits: what ssh-keygen makes.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        })
    }
}

/// A new host key: the two files, and what clients know it by.
pub struct HostKey {
    pair: KeypairData,
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(elided)")
    }
}

/// A host key as its files hold it.
#[derive(Debug)]
pub struct Written {
    /// The private half.
    pub private: Secret,
    /// The public half: one line with its comment.
    pub public: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

impl HostKey {
    /// Makes a new key. RSA takes 40 to 800 ms, the others less than one.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the kernel has no randomness to give.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            Algorithm::Ed25519 => ed25519()?,
            Algorithm::EcdsaP256 => ecdsa(&PrivateKey::generate(super::Algorithm::P256)?)?,
            Algorithm::Rsa2048 => rsa(&PrivateKey::generate(super::Algorithm::Rsa(2048))?)?,
            Algorithm::Rsa3072 => rsa(&PrivateKey::generate(super::Algorithm::Rsa(3072))?)?,
            Algorithm::Rsa4096 => rsa(&PrivateKey::generate(super::Algorithm::Rsa(4096))?)?,
        };
        Ok(Self { pair })
    }

    /// Writes it with a comment, as `ssh-keygen -C` does.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot encode it.
    pub fn write(self, comment: &str) -> Result<Written, KeyError> {
        let key = ssh_key::PrivateKey::new(self.pair, comment).map_err(library)?;
        let private = key.to_openssh(LineEnding::LF).map_err(library)?;
        Ok(Written {
            private: Secret::new(private.as_bytes()),
            public: format!("{}\n", key.public_key().to_openssh().map_err(library)?),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        })
    }
}

/// Finds the fingerprint of a host key from its private file; from its public one where the private
/// one is in a format of its time, or may not be read.
pub fn fingerprint(private: &[u8], public: &[u8]) -> Option<String> {
    let of_private = ssh_key::PrivateKey::from_openssh(private).ok();
    let of_private = of_private.map(|key| key.fingerprint(HashAlg::Sha256));
    let of_public = || {
        let key = PublicKey::from_openssh(std::str::from_utf8(public).ok()?.trim_end()).ok()?;
        Some(key.fingerprint(HashAlg::Sha256))
    };
    of_private.or_else(of_public).map(|fingerprint| fingerprint.to_string())
}

fn ed25519() -> Result<KeypairData, KeyError> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| KeyError::Random(error.to_string()))?;
    Ok(Ed25519Keypair::from_seed(&seed).into())
}

fn ecdsa(key: &PrivateKey) -> Result<KeypairData, KeyError> {
    let key = key.p256().ok_or(KeyError::Unreadable)?;
    let public = key.public_key().into();
    Ok(EcdsaKeypair::NistP256 { public, private: key.clone().into() }.into())
}

/// The numbers of a key of ours; the library's own way would bring in a second set of them.
fn rsa(key: &PrivateKey) -> Result<KeypairData, KeyError> {
    let [n, e, d, p, q, iqmp] = key.rsa_numbers().ok_or(KeyError::Unreadable)?;
    let number = |octets: &[u8]| Mpint::from_positive_bytes(octets);
    let public = RsaPublicKey::new(number(&e), number(&n)).map_err(library)?;
    let private = RsaPrivateKey::new(number(&d), number(&iqmp), number(&p), number(&q)).map_err(library)?;
    Ok(RsaKeypair::new(public, private).map_err(library)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Algorithm; 3] = [Algorithm::Ed25519, Algorithm::EcdsaP256, Algorithm::Rsa3072];

    #[test]
    fn a_key_is_read_back_as_what_was_made() {
        for algorithm in ALL {
            let made = HostKey::generate(algorithm).unwrap().write("root@mail.example.com").unwrap();
            let fingerprint = |private: &[u8], public: &str| super::fingerprint(private, public.as_bytes());
            assert_eq!(fingerprint(made.private.reveal(), ""), Some(made.fingerprint.clone()), "{algorithm}");
            assert_eq!(fingerprint(b"", &made.public), Some(made.fingerprint), "{algorithm}");
            assert!(made.public.ends_with(" root@mail.example.com\n"), "{}", made.public);
            let key = ssh_key::PrivateKey::from_openssh(made.private.reveal()).unwrap();
            assert_eq!(key.comment().as_str_lossy(), "root@mail.example.com");
        }
    }

    #[test]
    fn junk_has_no_fingerprint() {
        for (case, private, public) in [
            ("nothing", "", ""),
            ("junk", "junk", "junk"),
            ("half", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "ssh-rsa A"),
        ] {
            assert_eq!(fingerprint(private.as_bytes(), public.as_bytes()), None, "{case}");
        }
    }
}
