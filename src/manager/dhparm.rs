//! Which files of Diffie-Hellman parameters a directory is to have, and which of them are to be made.
//!
//! Published groups are made once. Those of one's own are made again when they are old: whoever wants
//! them wants them fresh.

use std::collections::BTreeMap;
use std::fmt;

use time::Duration;

use crate::pki::dh::{Group, LABEL, Parameters};

/// Below a directory of certificates, where the files are.
pub const DIRECTORY: &str = "dh";

/// The link to the file that servers are to use.
pub const LINK: &str = "dhparam.pem";

/// What is made when nothing is said: the first is what servers are to use.
pub const DEFAULT: &str = "ffdhe8192,ffdhe6144,ffdhe4096,ffdhe3072,ffdhe2048";

/// Sizes in bits that one's own may have: less is weak, and more is not made within a day.
const SIZES: std::ops::RangeInclusive<u32> = 2048..=8192;

/// One file of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A group of RFC 7919.
    Published(Group),
    /// A group of one's own, of that many bits.
    Own(u32),
}

impl Wanted {
    /// Reads a list with commas in between: names of RFC 7919 and sizes in bits. What is said twice
    /// counts once.
    ///
    /// # Errors
    /// In words, for the first that is neither, and for an empty list.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let mut list = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let wanted = Self::parse(name)?;
            if !list.contains(&wanted) {
                list.push(wanted);
            }
        }
        if list.is_empty() { Err("no group is named".to_owned()) } else { Ok(list) }
    }

    fn parse(name: &str) -> Result<Self, String> {
        if let Some(group) = Group::parse(&name.to_ascii_lowercase()) {
            return Ok(Self::Published(group));
        }
        match name.parse() {
            Ok(bits) if SIZES.contains(&bits) => Ok(Self::Own(bits)),
            Ok(bits) => Err(format!("{bits} bits are not between {} and {}", SIZES.start(), SIZES.end())),
            Err(_) => {
                let groups = Group::ALL.map(Group::name).join(", ");
                Err(format!("\"{}\" is no group; there are {groups}, and sizes in bits", name.escape_debug()))
            }
        }
    }

    /// The name of its file.
    pub fn file_name(self) -> String {
        match self {
            Self::Published(group) => format!("dh-{group}.pem"),
            Self::Own(bits) => format!("dh{bits}.pem"),
        }
    }

    /// Says whether these parameters are what it stands for.
    fn is(self, parameters: &Parameters) -> bool {
        match self {
            Self::Published(group) => parameters.group() == Some(group),
            Self::Own(bits) => parameters.bits() == bits as usize,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published(group) => write!(f, "{group}"),
            Self::Own(bits) => write!(f, "a group of {bits} bits"),
        }
    }
}

/// A file that is there.
#[derive(Debug, Clone)]
pub struct Present {
    /// What can be read from it.
    parameters: Option<Parameters>,
    /// Since its content was changed.
    age: Duration,
}

impl Present {
    /// Reads a file's content.
    pub fn new(content: &[u8], age: Duration) -> Self {
        let blocks = pem::parse_many(content).unwrap_or_default();
        let block = blocks.iter().find(|block| block.tag() == LABEL);
        let parameters = block.and_then(|block| Parameters::from_der(block.contents()).ok());
        Self { parameters, age }
    }
}

/// When a file is made, whatever there is.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Make every file again.
    pub force: bool,
    /// How old in days one's own group may become.
    pub age_days: u32,
}

/// Why a file is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is not there.
    Missing,
    /// It holds something else.
    Wrong,
    /// It is that many days old.
    Old(i64),
    /// It was asked for.
    Forced,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("was not there"),
            Self::Wrong => f.write_str("held something else"),
            Self::Old(days) => write!(f, "was {days} days old"),
            Self::Forced => f.write_str("as asked for"),
        }
    }
}

/// The files that are to be made, in the order in which they are wanted, and why.
pub fn plan(wanted: &[Wanted], there: &BTreeMap<Wanted, Present>, policy: Policy) -> Vec<(Wanted, Reason)> {
    let reason = |wanted: &Wanted| match there.get(wanted) {
        None => Some(Reason::Missing),
        Some(_) if policy.force => Some(Reason::Forced),
        Some(Present { parameters, .. }) if !parameters.as_ref().is_some_and(|own| wanted.is(own)) => {
            Some(Reason::Wrong)
        }
        Some(Present { age, .. }) => {
            let old = matches!(wanted, Wanted::Own(_)) && *age > Duration::days(policy.age_days.into());
            old.then(|| Reason::Old(age.whole_days()))
        }
    };
    wanted.iter().filter_map(|wanted| Some((*wanted, reason(wanted)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let published = |group| Wanted::Published(group);
        for (case, text, expected) in [
            ("names", "ffdhe4096,ffdhe2048", vec![published(Group::Ffdhe4096), published(Group::Ffdhe2048)]),
            ("a size", "3072", vec![Wanted::Own(3072)]),
            ("blanks, capitals, twice", " FFDHE2048 ,ffdhe2048,", vec![published(Group::Ffdhe2048)]),
        ] {
            assert_eq!(Wanted::list(text), Ok(expected), "{case}");
        }
        assert_eq!(Wanted::list(DEFAULT).unwrap().len(), Group::ALL.len());
        for (case, text, says) in [
            ("weak", "1024", "1024 bits are not between 2048 and 8192"),
            ("without end", "65536", "65536 bits are not"),
            ("no group", "ffdhe1024", "\"ffdhe1024\" is no group; there are ffdhe2048, "),
            ("no path", "../x", "is no group"),
            ("nothing", ", ,", "no group is named"),
        ] {
            let error = Wanted::list(text).unwrap_err();
            assert!(error.contains(says), "{case}: {error}");
        }
    }

    #[test]
    fn what_is_made_and_why() {
        let named = Wanted::Published(Group::Ffdhe2048);
        let own = Wanted::Own(2048);
        let text = Group::Ffdhe2048.parameters().to_pem().unwrap();
        // The published group has 2048 bits, so it will do as an own one as well.
        let aged = |days, text: &str| Present::new(text.as_bytes(), Duration::days(days));
        let gentle = Policy { force: false, age_days: 120 };
        let force = Policy { force: true, ..gentle };
        let cases = [
            ("nothing there", named, None, gentle, Some(Reason::Missing)),
            ("named, there", named, Some(aged(1, &text)), gentle, None),
            ("named, never old", named, Some(aged(9999, &text)), gentle, None),
            ("named, forced", named, Some(aged(1, &text)), force, Some(Reason::Forced)),
            ("named, empty", named, Some(aged(1, "")), gentle, Some(Reason::Wrong)),
            ("named, half", named, Some(aged(1, &text[..200])), gentle, Some(Reason::Wrong)),
            ("own, young", own, Some(aged(120, &text)), gentle, None),
            ("own, old", own, Some(aged(121, &text)), gentle, Some(Reason::Old(121))),
            ("own, from tomorrow", own, Some(aged(-1, &text)), gentle, None),
            ("own, of another size", Wanted::Own(3072), Some(aged(1, &text)), gentle, Some(Reason::Wrong)),
        ];
        for (case, wanted, there, policy, expected) in cases {
            let there = there.into_iter().map(|there| (wanted, there)).collect();
            let expected: Vec<_> = expected.into_iter().map(|reason| (wanted, reason)).collect();
            assert_eq!(plan(&[wanted], &there, policy), expected, "{case}");
        }
    }
}
