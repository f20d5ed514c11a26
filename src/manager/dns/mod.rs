//! What the manager asks of name servers and brings into zones, and how little of an answer it believes.
//!
//! ```text
//!  message        questions, and the reading of what came back (pure)
//!  lookup         the door to name servers: UDP with EDNS, TCP where an answer is longer
//!  resolvers      who is asked where no server is configured: /etc/resolv.conf
//!  authoritative  the authoritative servers of a zone, with every address of theirs
//!  delegation     which zone a name lies in, and where an alias has it looked for
//!  observe        asks every address until all show what was published, or a deadline
//!  tsig  update   changes to a zone, signed (RFC 2136, RFC 8945)
//!  challenges     what was published for authorities, remembered until it has been taken away again
//!  publish        which way for which zone: dynamic update, or the include files of ssl-mgr
//! ```
//!
//! A server that does not answer, or not properly, makes a thing *unknown*, and what is unknown changes
//! nothing that is published.

pub mod authoritative;
pub mod challenges;
pub mod delegation;
pub mod lookup;
pub mod message;
pub mod observe;
pub mod publish;
pub mod resolvers;
pub mod tsig;
pub mod update;

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use super::config::Primary;

/// A mail exchanger of a domain (RFC 5321 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Exchanger {
    /// The lower, the sooner it is tried; several may have the same.
    pub preference: u16,
    /// Its host name, without the trailing dot; `.` alone says that the domain takes no mail (RFC 7505).
    pub name: String,
}

/// Why nothing can be said: in words, with the server that was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(pub String);

/// A record that is published, or to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// Its owner: absolute, in lower case, without the trailing dot.
    pub name: String,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// A text; more than 255 octets go out in several strings.
    Txt(String),
    /// Which key a server shows (RFC 6698).
    Tlsa {
        /// Certificate usage, 0 to 3.
        usage: u8,
        /// Selector, 0 or 1.
        selector: u8,
        /// Matching type, 0 to 2.
        matching: u8,
        /// The certificate association data.
        association: Vec<u8>,
    },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.data {
            Data::Txt(_) => write!(f, "TXT {}", self.name),
            Data::Tlsa { .. } => write!(f, "TLSA {}", self.name),
        }
    }
}

/// A zone, and who is asked about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name, in lower case and without the trailing dot.
    pub apex: String,
    /// The server that is configured for it; it is asked for its name servers.
    pub primary: Option<Primary>,
    /// Resolvers of this machine: asked for what the primary does not know.
    pub resolvers: Vec<SocketAddr>,
    /// Further resolvers that must see what is published: a name or an address, perhaps with a port.
    pub extra: Vec<String>,
}

/// A record that not everybody shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which: its index among those that were wanted.
    pub record: usize,
    /// Each server that does not show it, with its address and what it does instead, in words.
    pub servers: Vec<String>,
}

/// How an observation goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Something that is left out, and why.
    Note(String),
    /// A server was asked, and does not show everything.
    Misses {
        /// Its name and address.
        server: String,
        /// The indexes of the records that it does not show.
        records: Vec<usize>,
        /// What it does instead, in words.
        instead: String,
    },
}

#[cfg(test)]
mod tests;
