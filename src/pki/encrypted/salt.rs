//! The salt of a derivation: what makes the same passphrase another key elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Octets (NIST SP 800-132 section 5.1 asks for 16).
const SIZE: usize = 16;

/// A salt, which is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt([u8; SIZE]);

impl Salt {
    /// A new one.
    ///
    /// # Errors
    /// In words, when the kernel has no random numbers.
    pub fn random() -> Result<Self, String> {
        let mut octets = [0_u8; SIZE];
        getrandom::fill(&mut octets).map_err(|error| format!("there are no random numbers: {error}"))?;
        Ok(Self(octets))
    }

    /// Its octets.
    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl FromStr for Salt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("\"{}\" is no salt: it has {} hexadecimal digits", text.escape_debug(), 2 * SIZE);
        let digits = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
        let digits = digits.collect::<Option<Vec<u8>>>().ok_or_else(wrong)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let octets: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        octets.try_into().ok().filter(|_| rest.is_empty()).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Salt {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        salt.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let salt = Salt::random().unwrap();
        assert_eq!(salt.to_string().parse(), Ok(salt));
        assert_ne!(Salt::random().unwrap(), salt);
        let long = "0".repeat(33);
        for text in ["", "0", "zz", "00", &long, "+000000000000000000000000000000f"] {
            assert!(text.parse::<Salt>().is_err(), "{text}");
        }
    }
}
