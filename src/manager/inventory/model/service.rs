//! Services: a name, a port, and which TLSA records are published for it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{About, Name, Refusal, Rule};

/// Which service: `https/443`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceKey {
    /// What people call it.
    pub name: Name,
    /// TCP or UDP port, at least 1.
    pub port: u16,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What stands before the digest in its TLSA records.
    pub tlsa: TlsaPrefix,
    /// For people.
    #[serde(default, skip_serializing_if = "About::is_empty")]
    pub about: About,
}

/// The beginning of a TLSA record (RFC 6698): `_443._tcp.{}. 3600 IN TLSA 3 0 1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TlsaPrefix {
    /// The owner, in which `{}` stands for the host.
    pub owner: String,
    /// Seconds.
    pub ttl: u32,
    /// Certificate usage, 0 to 3.
    pub usage: u8,
    /// Selector, 0 or 1.
    pub selector: u8,
    /// Matching type, 0 to 2.
    pub matching: u8,
}

/// RFC 2181 section 8.
const LONGEST_TTL: u32 = i32::MAX as u32;

impl TlsaPrefix {
    /// The prefix that serverPKI's own services have.
    ///
    /// # Errors
    /// Never for a port; as [`TlsaPrefix::from_str`].
    pub fn usual(port: u16) -> Result<Self, Refusal> {
        format!("_{port}._tcp.{{}}. 3600 IN TLSA 3 0 1").parse()
    }

    /// The owner's name for a host, without a dot at its end.
    pub fn owner_for(&self, host: &str) -> String {
        self.owner.replace("{}", host).trim_end_matches('.').to_owned()
    }
}

impl FromStr for TlsaPrefix {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let wrong = |what: &str| {
            let text = text.escape_debug();
            Refusal::new(
                Rule::Form,
                format!(
                    "TLSA prefix \"{text}\": {what}; write for example \"_443._tcp.{{}}. 3600 IN TLSA 3 0 1\""
                ),
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [owner, ttl, class, kind, usage, selector, matching] = words.as_slice() else {
            return Err(wrong("it has seven words"));
        };
        if owner.matches("{}").count() != 1 || !owner.starts_with('_') || !owner.ends_with("{}.") {
            return Err(wrong("the owner is _PORT._PROTOCOL.{}."));
        }
        if !class.eq_ignore_ascii_case("IN") || !kind.eq_ignore_ascii_case("TLSA") {
            return Err(wrong("class and type are IN TLSA"));
        }
        let number = |word: &str, most: u32, what: &str| {
            let digits = word.bytes().all(|octet| octet.is_ascii_digit());
            word.parse::<u32>().ok().filter(|number| digits && *number <= most).ok_or_else(|| wrong(what))
        };
        let small = |word: &str, most: u32, what: &str| {
            number(word, most, what).and_then(|number| u8::try_from(number).map_err(|_| wrong(what)))
        };
        Ok(Self {
            owner: (*owner).to_owned(),
            ttl: number(ttl, LONGEST_TTL, "the TTL is a number of seconds")?,
            usage: small(usage, 3, "the certificate usage is 0 to 3")?,
            selector: small(selector, 1, "the selector is 0 or 1")?,
            matching: small(matching, 2, "the matching type is 0 to 2")?,
        })
    }
}

impl fmt::Display for TlsaPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, ttl, usage, selector, matching } = self;
        write!(f, "{owner} {ttl} IN TLSA {usage} {selector} {matching}")
    }
}

impl FromStr for ServiceKey {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let key = text.rsplit_once('/').and_then(|(name, port)| {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            Some(Self { name: Name::new(name).ok()?, port })
        });
        key.ok_or_else(|| {
            let text = text.escape_debug();
            Refusal::new(
                Rule::Form,
                format!("\"{text}\" is no service; write NAME/PORT, for example https/443"),
            )
        })
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.port)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = Refusal;

            fn try_from(text: String) -> Result<Self, Refusal> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

as_text!(TlsaPrefix, ServiceKey);
