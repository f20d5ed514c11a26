//! What the manager asks of name servers, and how little of an answer it believes.
//!
//! A server that does not answer, or not properly, makes a thing *unknown*, and what is unknown changes
//! nothing that is published.

pub mod lookup;
mod message;

use serde::Serialize;

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

#[cfg(test)]
mod tests;
