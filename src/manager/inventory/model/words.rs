//! Words with few values: what a subject is, who signs, which keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{FileType, Refusal, Rule};

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SubjectType {
    /// A certification authority.
    #[serde(rename = "CA")]
    Ca,
    /// A client.
    #[serde(rename = "client")]
    Client,
    /// A server.
    #[serde(rename = "server")]
    Server,
    /// Nothing that is ever issued.
    #[serde(rename = "reserved")]
    Reserved,
}

/// Who signs: somebody outside, by ACME, or an own authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A public authority.
    #[serde(rename = "LE")]
    Le,
    /// An own authority.
    #[serde(rename = "local")]
    Local,
}

/// Which keys a certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithms {
    /// One of RSA.
    Rsa,
    /// One on a curve.
    Ec,
    /// Two, as a pair.
    Both,
}

impl Algorithms {
    /// The keys, in the order in which they are made.
    pub fn keys(self) -> &'static [KeyAlgorithm] {
        match self {
            Self::Rsa => &[KeyAlgorithm::Rsa],
            Self::Ec => &[KeyAlgorithm::Ec],
            Self::Both => &[KeyAlgorithm::Rsa, KeyAlgorithm::Ec],
        }
    }
}

/// What kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyAlgorithm {
    /// RSA.
    Rsa,
    /// On a curve.
    Ec,
}

/// Where an instance stands; in the order of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has a number, and is being issued.
    Reserved,
    /// Certificates and keys are in the inventory, on no host.
    Issued,
    /// Its TLSA records are out beside those that are served.
    Prepublished,
    /// It is on every host where it belongs.
    Deployed,
    /// Its authority has taken it back.
    Revoked,
    /// Its successor is out, or its time is over without it ever having been out.
    Expired,
    /// Kept for the record; nothing is done with it.
    Archived,
}

/// A word with few values, each with its text.
pub trait Word: Copy + PartialEq + 'static {
    /// What it is called in messages.
    const WHAT: &'static str;
    /// Every value; the first text of each is what is written, further ones are understood.
    const TEXTS: &'static [(Self, &'static str)];

    /// Its text.
    fn text(self) -> &'static str {
        Self::TEXTS.iter().find(|(value, _)| *value == self).map_or("", |(_, text)| text)
    }

    /// The value of a text.
    ///
    /// # Errors
    /// [`Rule::Form`] for a text that has none, with those that have one.
    fn parse(text: &str) -> Result<Self, Refusal> {
        let found = Self::TEXTS.iter().find(|(_, known)| known.eq_ignore_ascii_case(text));
        found.map(|(value, _)| *value).ok_or_else(|| {
            let known: Vec<&str> = Self::TEXTS.iter().map(|(_, text)| *text).collect();
            let (text, what, known) = (text.escape_debug(), Self::WHAT, known.join("\", \""));
            Refusal::new(Rule::Form, format!("\"{text}\" is no {what}; write one of \"{known}\""))
        })
    }
}

macro_rules! words {
    ($($type:ident, $what:literal: $($value:ident $text:literal),*;)*) => {$(
        impl Word for $type {
            const WHAT: &'static str = $what;
            const TEXTS: &'static [(Self, &'static str)] = &[$((Self::$value, $text)),*];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.text())
            }
        }

        impl FromStr for $type {
            type Err = Refusal;

            fn from_str(text: &str) -> Result<Self, Refusal> {
                <Self as Word>::parse(text)
            }
        }
    )*};
}

words! {
    SubjectType, "type of a subject": Ca "CA", Client "client", Server "server", Reserved "reserved";
    Kind, "kind of a certificate": Le "LE", Local "local";
    Algorithms, "choice of keys": Rsa "rsa", Ec "ec", Both "both", Both "rsa plus ec", Both "rsa_plus_ec";
    KeyAlgorithm, "kind of key": Rsa "rsa", Ec "ec";
    State, "state": Reserved "reserved", Issued "issued", Prepublished "prepublished", Deployed "deployed",
        Revoked "revoked", Expired "expired", Archived "archived";
    FileType, "type of files": CertOnly "cert only", KeyOnly "key only", Separate "separate",
        CombineKey "combine key", CombineCa "combine cacert", CombineBoth "combine both";
}
