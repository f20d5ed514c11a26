//! What is *really* served: which ports a unit's processes listen on, and which certificate or
//! host key is shown there.
//!
//! "Active", a job that is done, a system that runs: none of it proves that anybody took up new
//! files. What a client is shown does. `listen` finds the ports, `protocol` and `starttls` say how TLS
//! is come by there, `tls` and `ssh` ask, `sample` asks often enough, `verdict` compares with what
//! is on disk. Nothing that a server sends can hurt: every connection has a deadline and a limit of
//! octets, and what is shown is data.

pub mod errand;
pub mod listen;
pub mod protocol;
mod sample;
mod ssh;
mod starttls;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
pub mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::protocol::{Ports, Protocol};
use crate::pki::inspect::Certificate;
use crate::system::root::Root;

/// A place where something is served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The unit as its hook names it; empty for a place given by hand.
    pub unit: String,
    /// Where to ask: a wildcard address is asked on the loopback.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Neither its number nor its hook says so: TLS is tried.
    pub guessed: bool,
}

impl Endpoint {
    fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.socket(), self.protocol)
    }
}

/// SHA-256 of a certificate's DER or of a host key's blob, in the form that its users know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// That of a certificate: 64 hexadecimal digits.
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(Sha256::digest(der).iter().map(|octet| format!("{octet:02x}")).collect())
    }

    /// That of a host key as `ssh-keygen -l` writes it, from a line of its `.pub` file.
    pub fn of_host_key(line: &str) -> Option<Self> {
        let key = ssh_key::PublicKey::from_openssh(line).ok()?;
        Some(Self(key.fingerprint(ssh_key::HashAlg::Sha256).to_string()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of key a client says that it can check; a server with two certificates chooses by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// ECDSA and Ed25519.
    Elliptic,
    /// RSA.
    Rsa,
    /// A host key, by the name of its kind.
    Host,
}

/// What was shown in one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shown {
    /// Of the leaf, or of the host key.
    pub fingerprint: Fingerprint,
    /// The kind that was asked for.
    pub kind: KeyKind,
    /// What the leaf says; nothing for a host key, and where it cannot be understood.
    pub certificate: Option<Certificate>,
    /// Certificates that came after the leaf.
    pub chain: usize,
}

/// One answer of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// This was shown, and the server has its key.
    Shown(Box<Shown>),
    /// The server is there and offers no TLS, or none that works; in words.
    NoTls(String),
    /// Nobody listens.
    Closed,
    /// Nothing can be said: no answer in time, too busy, no tool to ask with; in words.
    Unknown(String),
}

/// How thoroughly an endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effort {
    /// Once for each kind of key: what is spoken there.
    Glance,
    /// Until a worker that still shows the old would have been met.
    Thorough,
}

/// What one connection may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the first packet to the end of the handshake. Sendmail greets after a second or more.
    pub time: Duration,
    /// The same where nobody says that TLS is spoken.
    pub guess: Duration,
    /// Octets that are read.
    pub octets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(10), guess: Duration::from_secs(2), octets: 256 * 1024 }
    }
}

type Listen = dyn Fn(&Root, &BTreeMap<String, Ports>) -> Result<Vec<Endpoint>, String>;
type Ask = dyn Fn(&[Endpoint], Option<&str>, Effort) -> Vec<Vec<Answer>>;

/// The way to what is served. Tests put servers of their own behind it.
pub struct Prober {
    /// The places where the processes of these units listen; see [`listen::listening`].
    pub listen: Box<Listen>,
    /// Asks each endpoint for a certificate of this name; the answers stand in the endpoints' order.
    pub ask: Box<Ask>,
    /// How long is waited for a service to listen again after it was told, in all.
    pub patience: Duration,
}

impl Prober {
    /// The network of this machine.
    pub fn network() -> Self {
        Self {
            listen: Box::new(listen::listening),
            ask: Box::new(|endpoints, name, effort| sample::ask(endpoints, name, effort, &Limits::default())),
            patience: Duration::from_secs(20),
        }
    }

    /// The network, on a machine whose services are not to be asked: none runs that would be told.
    pub fn by_hand() -> Self {
        Self { listen: Box::new(|_, _| Ok(Vec::new())), ..Self::network() }
    }
}
