//! Keys and certificates: which kinds there are, how they are made, read and numbered.

mod algorithm;
pub mod armor;
pub mod bundle;
pub mod container;
pub mod dh;
pub mod encrypted;
pub mod inspect;
pub mod issue;
pub mod key;
pub mod path;
#[cfg(test)]
pub(crate) mod peer;
pub mod public_half;
pub mod serial;
pub mod signature;
pub mod ssh;
pub mod x509;

pub use algorithm::{Algorithm, agent_algorithm};
use serde::{Deserialize, Serialize};

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
