//! Certificates from public authorities (RFC 8555): who we are to them, what we order, how it is proven.
//!
//! ```text
//!  words      here                 identifier, proof, prover, wish, granted, refusal
//!  decisions  chain renewal limits which chain is taken; when an authority wants a renewal; when it wants to hear of us
//!  the world  client jws           the one HTTPS door, and what is signed on its way through
//!             account              accounts on disk: registered, imported, rolled over, deactivated
//!             order                many orders at once, each resumed where it stands
//!             prove  proven        how names are proven; until when they are taken as proven
//! ```

pub mod account;
pub mod chain;
pub mod client;
pub mod failure;
pub mod jws;
pub mod limits;
mod order;
pub mod orders;
pub mod prove;
mod proven;
pub mod renewal;
mod revoke;

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::config::{AlternativeName, Validation};
use super::name::ServiceName;

pub use account::Connection;
pub use order::issue;
pub use proven::proven_until;
pub use renewal::renewal_info;
pub use revoke::{By, revoke};

/// What a certificate is for, as an authority calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identifier {
    /// A host name, A-labels only; `*.example.com` for a wildcard.
    Dns(String),
    /// An address (RFC 8738).
    Ip(IpAddr),
}

impl Identifier {
    /// That of a name in a certificate; nothing for a mailbox, which is proven in other ways.
    pub fn of(name: &AlternativeName) -> Option<Self> {
        match name {
            AlternativeName::Dns(name) => Some(Self::Dns(name.clone())),
            AlternativeName::Address(address) => Some(Self::Ip(*address)),
            AlternativeName::Email(_) => None,
        }
    }

    /// Says whether it stands for all names below one.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Dns(name) if name.starts_with("*."))
    }

    /// The name without the star of a wildcard; an address as text.
    pub fn base(&self) -> String {
        match self {
            Self::Dns(name) => name.strip_prefix("*.").unwrap_or(name).to_owned(),
            Self::Ip(address) => address.to_string(),
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => write!(f, "{address}"),
        }
    }
}

/// What has to be seen by an authority before it believes that an identifier is ours (RFC 8555 section 8).
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// For whose certificate.
    pub service: ServiceName,
    /// What is proven.
    pub identifier: Identifier,
    /// In which way.
    pub kind: Validation,
    /// The authority's token: the file's name for http-01. It has been checked to be base64url and nothing else.
    pub token: String,
    /// The token and the thumbprint of the account's key: the file's content for http-01.
    pub key_authorization: String,
}

impl Proof {
    /// Where the record of dns-01 belongs, absolute and without the last dot.
    pub fn dns_name(&self) -> String {
        format!("_acme-challenge.{}", self.identifier.base())
    }

    /// The text of the record of dns-01.
    pub fn dns_value(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.digest())
    }

    /// SHA-256 of the key authorization: in the certificate of tls-alpn-01 (RFC 8737 section 3).
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.key_authorization.as_bytes()).into()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({} of {} for {}, token elided)", self.kind.name(), self.identifier, self.service)
    }
}

impl Validation {
    /// Its name in RFC 8555 and RFC 8737.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::Dns => "dns-01",
            Self::Alpn => "tls-alpn-01",
        }
    }
}

/// Brings proofs to where authorities look.
pub trait Prover: Sync {
    /// Brings all of them there; calls `seen` for each, by its index, as soon as it can be seen there, or with
    /// the reason when it cannot. Returns when there is nothing more to say.
    fn prove(&self, proofs: &[Proof], seen: &(dyn Fn(usize, Result<(), String>) + Sync));

    /// Takes them away again; what could not be is said in words.
    fn withdraw(&self, proofs: &[Proof]) -> Vec<String>;
}

/// A certificate that is wanted.
#[derive(Debug, Clone)]
pub struct Wish {
    /// For whom.
    pub service: ServiceName,
    /// For which names and addresses; at least one, each once.
    pub identifiers: Vec<Identifier>,
    /// The request (PKCS #10) in DER, for exactly these identifiers.
    pub csr: Vec<u8>,
    /// How the identifiers are proven.
    pub kind: Validation,
    /// The authority's profile, where it has it.
    pub profile: Option<String>,
    /// The common name of the authority at the top of the chain to take, where there is a choice.
    pub preferred_chain: Option<String>,
    /// The certificate that this one replaces, by its name in RFC 9773 section 4.1.
    pub replaces: Option<String>,
    /// The URL of an order that an earlier run left for the same identifiers and the same request.
    pub resume: Option<String>,
}

/// A certificate that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The chain in PEM, the certificate itself first.
    pub chain: String,
    /// What was done otherwise than wished, for people.
    pub note: Option<String>,
    /// URLs of the authorizations that it was granted by.
    pub authorizations: Vec<String>,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The authority does not answer, limits us, or fails: another one may do better.
    #[error("{error}")]
    Authority {
        /// In words.
        error: String,
        /// Before this moment it does not want to be asked again.
        not_before: Option<OffsetDateTime>,
    },
    /// Our own: a record is not seen, a name is refused, a key is bad. Another authority would say the same.
    #[error("{error}")]
    Ours {
        /// In words.
        error: String,
    },
}

impl Refusal {
    /// The authority's, with no word on when to ask again.
    pub fn authority(error: impl Into<String>) -> Self {
        Self::Authority { error: error.into(), not_before: None }
    }

    /// Our own.
    pub fn ours(error: impl Into<String>) -> Self {
        Self::Ours { error: error.into() }
    }
}

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Whose order.
    pub service: ServiceName,
    /// What happens to it now.
    pub step: Step,
}

/// What happens to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The authority has taken it.
    Ordered,
    /// An earlier run's is gone on with.
    Resumed,
    /// The proofs are brought to where the authority looks.
    Proving,
    /// The authority has been asked to look.
    Validating,
    /// The request has been sent, and the authority makes the certificate.
    Finalizing,
    /// The certificate is here.
    Granted,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Ordered => "ordered",
            Step::Resumed => "an earlier run's order is gone on with",
            Step::Proving => "its names are being proven",
            Step::Validating => "the authority looks",
            Step::Finalizing => "the authority signs",
            Step::Granted => "granted",
        };
        write!(f, "{}: {step}", self.service)
    }
}
