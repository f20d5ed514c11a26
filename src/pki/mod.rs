//! Keys and certificates: which kinds there are, how they are made, read and numbered.

pub mod container;
pub mod dh;
pub mod inspect;
pub mod issue;
pub mod key;
pub mod serial;
pub mod ssh;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds of key that this program makes; the numbers are bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// ECDSA on NIST P-256: small, fast, understood everywhere.
    #[default]
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// RSA of 2048 bits, for clients that know no elliptic curves.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        })
    }
}

/// The hash that a signature is made over (FIPS 180-4, FIPS 202); Ed25519 has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// What a certificate may be used for in TLS (RFC 5280 section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// Being connected to: `serverAuth`.
    Server,
    /// Connecting out: `clientAuth`.
    Client,
}

/// The ASN.1 wrapping of a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// `BEGIN PRIVATE KEY` (RFC 5958).
    #[default]
    Pkcs8,
    /// `BEGIN RSA PRIVATE KEY` (RFC 8017) or `BEGIN EC PRIVATE KEY` (RFC 5915): what some old
    /// programs look for.
    Traditional,
}
