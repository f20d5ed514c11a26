//! How private keys are kept in an inventory.

use super::{KeyData, Refusal, Rule, SubjectType};
use crate::pki::encrypted::{self, Salt};

/// How private keys of services and clients are kept. Those of authorities are encrypted whatever is said here.
///
/// The salt is the inventory's, and every manager writes by it: whoever opens a thousand keys derives once. Keys
/// under one passphrase do not get weaker by that, since whoever finds the passphrase of one has all of them; and
/// with another salt in each inventory nothing can be computed beforehand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AtRest {
    /// In clear.
    #[default]
    Clear,
    /// As PKCS#8 under the passphrase of `[keys] passphrase_file`.
    Encrypted {
        /// By which salt new ones are written.
        salt: Salt,
    },
}

impl AtRest {
    /// The salt, where keys are encrypted.
    pub fn salt(self) -> Option<Salt> {
        match self {
            Self::Clear => None,
            Self::Encrypted { salt } => Some(salt),
        }
    }

    /// Says whether keys of a subject are encrypted.
    pub fn encrypts(self, subject: SubjectType) -> bool {
        subject == SubjectType::Ca || self != Self::Clear
    }

    /// Looks whether keys that come in are kept so: it may have been switched since they were written.
    ///
    /// # Errors
    /// [`Rule::AtRest`]
    pub fn suits(self, subject: SubjectType, keys: &[KeyData]) -> Result<(), Refusal> {
        let wanted = self.encrypts(subject);
        let texts = keys.iter().map(|key| key.key.reveal()).filter(|text| !text.is_empty());
        match texts.map(encrypted::is_encrypted).any(|is_so| is_so != wanted) {
            false => Ok(()),
            true if wanted => Err(Refusal::new(
                Rule::AtRest,
                "its private key is in clear, and keys are encrypted here by now",
            )),
            true => Err(Refusal::new(
                Rule::AtRest,
                "its private key is encrypted, and keys are in clear here by now",
            )),
        }
    }
}

impl From<Option<Salt>> for AtRest {
    fn from(salt: Option<Salt>) -> Self {
        salt.map_or(Self::Clear, |salt| Self::Encrypted { salt })
    }
}
