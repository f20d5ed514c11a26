//! Serial numbers that only go up and cannot be guessed.
//!
//! RFC 5280 section 4.1.2.2 allows 20 octets of a positive number, so 159 bits. The upper 95 are a
//! counter, the lower 64 are random: raising the counter by one puts a serial above every earlier
//! one, and nobody can tell the next. Numbers of others (OpenSSL draws all 159 bits at random) are
//! taken as they are: the counter goes on from their upper part.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, de};

/// Octets in a serial number.
const OCTETS: usize = 20;
/// The largest counter whose number is still positive in 20 octets.
const MAX_COUNTER: u128 = (1 << 95) - 1;

/// A certificate's serial number, of at most 159 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    counter: u128,
    random: u64,
}

impl Serial {
    /// Reads the octets of a certificate, most significant first; `None` when they are more than
    /// 159 bits, which no conforming issuer writes.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len());
        let significant = octets.get(start..)?;
        let mut padded = [0_u8; OCTETS];
        padded.get_mut(OCTETS.checked_sub(significant.len())?..)?.copy_from_slice(significant);
        let (upper, lower) = padded.split_at(OCTETS - 8);
        let counter = upper.iter().fold(0_u128, |sum, octet| sum << 8 | u128::from(*octet));
        let random = lower.iter().fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet));
        (counter <= MAX_COUNTER).then_some(Self { counter, random })
    }

    /// The number as octets, most significant first, without leading zeros.
    pub fn to_octets(self) -> Vec<u8> {
        let upper = self.counter.to_be_bytes();
        let all: Vec<u8> = upper.into_iter().chain(self.random.to_be_bytes()).collect();
        let start = all.iter().position(|octet| *octet != 0).unwrap_or(all.len() - 1);
        all.get(start..).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// The next serial: above `highest` and above `replaced`, as far as 20 octets allow.
    ///
    /// `random` must be fresh from the kernel for every call. When the counter is used up, which
    /// takes a foreign serial at the very top, the number is random in all its bits.
    pub fn next(highest: Option<Self>, replaced: Option<Self>, random: [u8; OCTETS]) -> Self {
        let above = highest.max(replaced).map_or(0, |serial| serial.counter);
        let (upper, lower) = random.split_at(OCTETS - 8);
        let low = lower.iter().fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet));
        let counter = if above < MAX_COUNTER {
            above + 1
        } else {
            (upper.iter().fold(0_u128, |sum, octet| sum << 8 | u128::from(*octet)) & MAX_COUNTER).max(1)
        };
        Self { counter, random: low }
    }

    /// The serial of whatever has a number of its own, which is never given twice: whoever numbers so needs not
    /// know what others number at the same moment.
    ///
    /// All of them lie at the top of what is allowed, above what others have drawn at random, but for one in
    /// 2²⁹. `random` must be fresh from the kernel for every call.
    pub fn numbered(number: u64, random: [u8; 8]) -> Self {
        let counter = MAX_COUNTER - (1 << 65) + u128::from(number);
        Self { counter, random: u64::from_be_bytes(random) }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_octets().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Serial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let octets = (text.len().is_multiple_of(2) && text.is_ascii())
            .then(|| {
                (0..text.len())
                    .step_by(2)
                    .map(|at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                    .collect::<Option<Vec<u8>>>()
            })
            .flatten();
        octets
            .and_then(|octets| Self::from_octets(&octets))
            .ok_or_else(|| "a serial is an even number of hexadecimal digits, at most 40".to_owned())
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(hex: &str) -> Serial {
        serde_json::from_value(serde_json::Value::String(hex.into())).unwrap()
    }

    #[test]
    fn always_above() {
        let top = "7fffffffffffffffffffffffffffffffffffffff";
        let cases = [
            ("the first", None, None),
            ("ours", Some("010000000000000001"), None),
            ("one octet, as the old scriptlets wrote", None, Some("01")),
            (
                "OpenSSL's random 159 bits",
                Some("02ffffffffffffffff"),
                Some("60db29d520c54fd66d7568e1129f42d01313e77f"),
            ),
            ("just below the top", None, Some("7ffffffffffffffffffffffeffffffffffffffff")),
        ];
        for (case, highest, replaced) in cases {
            for random in [[0_u8; 20], [0xff; 20], [0x5a; 20]] {
                let (highest, replaced) = (highest.map(serial), replaced.map(serial));
                let next = Serial::next(highest, replaced, random);
                assert!(Some(next) > highest && Some(next) > replaced, "{case}: {next}");
                assert!(next.to_octets().len() <= 20 && next <= serial(top), "{case}: {next}");
                assert_eq!(Serial::from_octets(&next.to_octets()), Some(next), "{case}");
            }
        }
    }

    #[test]
    fn at_the_top_it_stays_positive_and_new() {
        let top = serial("7fffffffffffffffffffffffffffffffffffffff");
        let next = Serial::next(Some(top), None, [0xa5; 20]);
        assert!(next != top && next.to_octets().len() == 20 && next.to_octets()[0] < 0x80);
    }

    #[test]
    fn numbered_serials_rise_with_their_numbers_above_what_was_drawn_at_random() {
        let random = serial("7ffffffdfffffffffffffffeffffffffffffffff");
        let numbers = [0, 1, 2, 3_u64 << 40, u64::MAX];
        let serials: Vec<Serial> =
            numbers.iter().rev().map(|number| Serial::numbered(*number, [0xff; 8])).collect();
        assert!(serials.is_sorted_by(|later, earlier| later > earlier));
        for serial in serials {
            assert!(serial > random && serial.to_octets().len() == 20, "{serial}");
            // Whoever replaces it has room above it.
            assert!(Serial::next(None, Some(serial), [0; 20]) > serial, "{serial}");
        }
    }

    #[test]
    fn texts() {
        assert_eq!(serial("0001").to_string(), "01");
        assert_eq!(serial("00").to_string(), "00");
        for bad in [
            "1",
            "xx",
            "80ffffffffffffffffffffffffffffffffffffff",
            "0100000000000000000000000000000000000000ff",
        ] {
            let value = serde_json::Value::String(bad.into());
            assert!(serde_json::from_value::<Serial>(value).is_err(), "{bad}");
        }
    }
}
