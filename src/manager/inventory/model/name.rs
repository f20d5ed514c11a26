//! Names of subjects, hosts, jails and places, which are compared as DNS does: without regard to case.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::{Refusal, Rule};

/// A name as somebody wrote it. Two that differ only in the case of ASCII letters are the same name.
///
/// It becomes a part of names of files, so it can neither climb out of a directory nor hide in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Octets; what a name of DNS has at most, and a name of a file.
const LONGEST: usize = 200;

impl Name {
    /// Takes a text.
    ///
    /// # Errors
    /// [`Rule::Form`] when it can be no name.
    pub fn new(text: &str) -> Result<Self, Refusal> {
        let fits = !text.is_empty()
            && text.len() <= LONGEST
            && text.trim() == text
            && !text.starts_with(['.', '-'])
            && !text.chars().any(|c| c.is_control() || c == '/');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::new(
                Rule::Form,
                format!(
                    "\"{}\" is no name: it has 1 to {LONGEST} octets, no \"/\", no blank at an end, and begins \
                     with neither \".\" nor \"-\"",
                    text.escape_debug()
                ),
            ))
        }
    }

    /// What a site's own authority is called where nothing else is said, as with serverPKI.
    pub fn of_own_authority() -> Self {
        Self("Local CA".to_owned())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In lower case: equal for names that are the same.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        let mine = self.0.bytes().map(|octet| octet.to_ascii_lowercase());
        mine.cmp(other.0.bytes().map(|octet| octet.to_ascii_lowercase()))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.bytes().for_each(|octet| octet.to_ascii_lowercase().hash(state));
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl std::str::FromStr for Name {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        Self::new(text)
    }
}
