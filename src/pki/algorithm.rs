//! Which kinds of key there are, and what they are called in texts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The kinds of key that this program makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    /// ECDSA on NIST P-256: small, fast, understood everywhere.
    #[default]
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521: some browsers do not take it.
    P521,
    /// Ed25519 (RFC 8410): most browsers do not take it.
    Ed25519,
    /// RSA of this many bits, [`Algorithm::MIN_RSA`] to [`Algorithm::MAX_RSA`], for clients that know
    /// no elliptic curves.
    Rsa(u16),
}

impl Algorithm {
    /// The fewest bits of an RSA key: clients refuse less.
    pub const MIN_RSA: u16 = 2048;
    /// The most bits of an RSA key: the library takes no more, and one alone may take a minute to make.
    pub const MAX_RSA: u16 = 8192;

    /// Says whether it is RSA.
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa(_))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("p256"),
            Self::P384 => f.write_str("p384"),
            Self::P521 => f.write_str("p521"),
            Self::Ed25519 => f.write_str("ed25519"),
            Self::Rsa(bits) => write!(f, "rsa{bits}"),
        }
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "p256" => Ok(Self::P256),
            "p384" => Ok(Self::P384),
            "p521" => Ok(Self::P521),
            "ed25519" => Ok(Self::Ed25519),
            _ => text
                .strip_prefix("rsa")
                .filter(|bits| bits.bytes().all(|digit| digit.is_ascii_digit()))
                .and_then(|bits| bits.parse().ok())
                .filter(|bits| (Self::MIN_RSA..=Self::MAX_RSA).contains(bits))
                .map(Self::Rsa)
                .ok_or_else(|| {
                    format!("\"{text}\" is no kind of key: p256, p384, p521, ed25519, rsa2048 to rsa8192")
                }),
        }
    }
}

impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Reads a kind of key from a hook or from the agent's settings: of all kinds those that every server
/// and every client takes, for the agent makes certificates unasked.
///
/// # Errors
/// In the words of `serde`, for anything else.
pub fn agent_algorithm<'de, D: Deserializer<'de>, T: From<Algorithm>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    if AGENT.contains(&text.as_str()) {
        text.parse().map(|algorithm: Algorithm| algorithm.into()).map_err(de::Error::custom)
    } else {
        Err(de::Error::unknown_variant(&text, &AGENT))
    }
}

const AGENT: [&str; 5] = ["p256", "p384", "rsa2048", "rsa3072", "rsa4096"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, algorithm) in [
            ("p256", Algorithm::P256),
            ("p384", Algorithm::P384),
            ("p521", Algorithm::P521),
            ("ed25519", Algorithm::Ed25519),
            ("rsa2048", Algorithm::Rsa(2048)),
            ("rsa8192", Algorithm::Rsa(8192)),
        ] {
            let json = format!("\"{text}\"");
            assert_eq!(serde_json::from_str::<Algorithm>(&json).unwrap(), algorithm);
            assert_eq!(serde_json::to_string(&algorithm).unwrap(), json);
        }
        for bad in ["", "P256", "rsa", "rsa1024", "rsa2047", "rsa8193", "rsa+2048", "rsa65537", "dsa"] {
            assert!(bad.parse::<Algorithm>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_agent_reads_what_it_always_read() {
        #[derive(Deserialize)]
        struct Text {
            #[serde(default, deserialize_with = "agent_algorithm")]
            algorithm: Option<Algorithm>,
        }
        let read = |text: &str| toml::from_str::<Text>(text).map(|text| text.algorithm);
        for good in AGENT {
            let found = read(&format!("algorithm = \"{good}\"")).unwrap();
            assert_eq!(found.map(|algorithm| algorithm.to_string()).as_deref(), Some(good));
        }
        assert_eq!(read("").unwrap(), None);
        for bad in ["p521", "ed25519", "rsa2049", "rsa8192"] {
            let error = read(&format!("algorithm = \"{bad}\"")).unwrap_err().to_string();
            assert!(error.contains("unknown variant") && error.contains("`rsa4096`"), "{error}");
        }
    }
}
