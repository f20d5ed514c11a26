//! Why an object is refused; the database refuses by the same rules, under the same codes.

use std::fmt;

/// Which rule an object breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// It is not of the form that its kind has.
    Form,
    /// Its name is in use.
    Taken,
    /// It refers to what is not there, or is not there itself.
    Unknown,
    /// Others refer to it.
    InUse,
    /// A jail, on a host without a directory for jails.
    JailRoot,
    /// A target's jail is on another host.
    JailHost,
    /// A path leads out of its jail.
    Climbs,
    /// Two targets would write one file.
    SameFile,
    /// An instance cannot go from its state to that one.
    Transition,
    /// A private key is encrypted, or is not, against what is said of all.
    AtRest,
}

impl Rule {
    /// Every rule with its SQLSTATE. Class `RS` is nobody's; the others are PostgreSQL's own.
    pub const CODES: [(Self, &'static str); 12] = [
        (Self::Form, "RS001"),
        (Self::Form, "23514"),
        (Self::Form, "23502"),
        (Self::Taken, "RS002"),
        (Self::Taken, "23505"),
        (Self::Unknown, "RS003"),
        (Self::InUse, "23503"),
        (Self::JailRoot, "RS004"),
        (Self::JailHost, "RS005"),
        (Self::Climbs, "RS006"),
        (Self::SameFile, "RS007"),
        (Self::Transition, "RS008"),
    ];

    /// The rule that a SQLSTATE stands for.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::CODES.iter().find(|(_, known)| *known == code).map(|(rule, _)| *rule)
    }
}

/// An object that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// By which rule.
    pub rule: Rule,
    /// In words, with what to do where that is not obvious.
    pub says: String,
}

impl Refusal {
    /// Refuses by a rule, in words.
    pub fn new(rule: Rule, says: impl Into<String>) -> Self {
        Self { rule, says: says.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl std::error::Error for Refusal {}
