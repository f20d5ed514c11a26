//! Who issues a certificate: it signs itself, or the certificate manager has it in a lineage.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::manager::name::ServiceName;

/// Who issues a certificate, as hooks, settings and the ledger write it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Issuer {
    /// `self`: we make it, and it signs itself.
    Itself,
    /// `manager:GROUP/SERVICE`: what this managed certificate holds at the moment.
    Manager(ServiceName),
}

impl Issuer {
    /// The managed certificate, when it is one.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Itself => None,
            Self::Manager(service) => Some(service),
        }
    }
}

impl TryFrom<String> for Issuer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == ITSELF {
            return Ok(Self::Itself);
        }
        let Some(name) = text.strip_prefix(MANAGER) else {
            return Err(format!(
                "the issuer is \"self\" or \"manager:GROUP/SERVICE\", not \"{}\"",
                text.escape_debug()
            ));
        };
        let service = ServiceName::parse(name)?;
        // Whoever has it could sign for everybody, and here every program that reads it would.
        if service.is_ca() {
            return Err(format!("{service} is a certification authority; its key is for no service"));
        }
        Ok(Self::Manager(service))
    }
}

impl From<Issuer> for String {
    fn from(issuer: Issuer) -> Self {
        issuer.to_string()
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str(ITSELF),
            Self::Manager(service) => write!(f, "{MANAGER}{service}"),
        }
    }
}

const ITSELF: &str = "self";
const MANAGER: &str = "manager:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_issuer_may_be() {
        for text in ["self", "manager:example.com/web-ec"] {
            assert_eq!(Issuer::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for (case, text, says) in [
            ("nobody", "", "is \"self\" or"),
            ("somebody else", "certbot:x/y", "is \"self\" or"),
            ("no service", "manager:example.com", "is not GROUP/SERVICE"),
            ("out of the tree", "manager:../x", "no name of a group"),
            ("an authority", "manager:ca/root", "certification authority"),
        ] {
            let wrong = Issuer::try_from(text.to_owned()).expect_err(case);
            assert!(wrong.contains(says), "{case}: {wrong}");
        }
    }
}
