//! A host name in canonical form: lower case, no trailing dot, A-labels, lengths checked.
//!
//! RFC 1123 section 2.1 and RFC 1035 section 2.3.4 give the shape; RFC 5890 the A-labels. Whatever
//! does not fit is refused here, so that no later part ever sees `$(reboot)` or `../..`.

use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::Improper;

/// Longest name in octets, without the trailing dot (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// Longest label in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A valid host name of one or more labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HostName(String);

impl HostName {
    /// Takes a name in any spelling into canonical form.
    ///
    /// # Errors
    /// [`NameError`] says which rule the name breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        // Checked before any conversion: a name of a megabyte is refused, not converted.
        if text.len() > 4 * MAX_NAME {
            return Err(NameError::TooLong(text.len()));
        }
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| NameError::Idn(shown(text)))?
        };
        if ascii.len() > MAX_NAME {
            return Err(NameError::TooLong(ascii.len()));
        }
        ascii.split('.').try_for_each(|label| check_label(label, &ascii))?;
        Ok(Self(ascii))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first label.
    pub fn label(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }

    /// What follows the first label; nothing for a name of one label.
    pub fn domain(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, domain)| domain)
    }

    /// Says whether the name may stand in a certificate, or in words why not.
    ///
    /// # Errors
    /// [`Improper`] for `localhost`, anything in `localdomain`, and an address.
    pub fn proper(&self) -> Result<(), Improper> {
        let name = &self.0;
        let reason = if self.label() == "localhost" || name.ends_with(".localhost") {
            format!("the machine is still called {name}")
        } else if name == "localdomain" || name.ends_with(".localdomain") {
            format!("{name} lies in localdomain, which names no machine")
        } else if name.parse::<Ipv4Addr>().is_ok() {
            format!("{name} is an address, not a name")
        } else {
            return Ok(());
        };
        Err(Improper(format!("{reason}; set one with `reseed rehome --hostname NAME`")))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rule that a host name breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the host name is empty")]
    Empty,
    /// Octets, of which 253 are allowed.
    #[error("the host name has {0} octets, at most {MAX_NAME} are allowed")]
    TooLong(usize),
    /// A label of none or more than 63 octets.
    #[error("the host name {0} has a label that is empty or longer than {MAX_LABEL} octets")]
    Label(String),
    /// A character or a hyphen where none may stand.
    #[error("the host name {0} may hold only letters, digits and inner hyphens")]
    Character(String),
    /// Not convertible by UTS 46.
    #[error("the host name {0} cannot be turned into A-labels")]
    Idn(String),
}

fn check_label(label: &str, name: &str) -> Result<(), NameError> {
    if label.is_empty() || label.len() > MAX_LABEL {
        return Err(NameError::Label(shown(name)));
    }
    let inner = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !inner || label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::Character(shown(name)));
    }
    Ok(())
}

/// A hostile name as it may stand in a message: short, and with no control characters.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical() {
        let long = "a".repeat(300);
        let label = format!("{}.example.com", "a".repeat(64));
        let cases = [
            ("as it is", "mail.example.com", Ok("mail.example.com")),
            ("case, dot, blanks", " Mail.Example.COM.\n", Ok("mail.example.com")),
            ("one label", "mail", Ok("mail")),
            ("IDN", "bücher.example", Ok("xn--bcher-kva.example")),
            ("A-label stays", "xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("empty", " \n", Err("empty")),
            ("only a dot", ".", Err("empty")),
            ("command", "$(reboot)", Err("only letters")),
            ("path", "../../etc/passwd", Err("label")),
            ("slash", "a/b", Err("only letters")),
            ("newline", "a\nb", Err("only letters")),
            ("underscore", "my_host", Err("only letters")),
            ("hyphen first", "-mail", Err("only letters")),
            ("300 characters", long.as_str(), Err("300 octets")),
            ("long label", label.as_str(), Err("longer than 63")),
            ("empty label", "mail..example.com", Err("empty or longer")),
        ];
        for (case, text, expected) in cases {
            match (HostName::parse(text), expected) {
                (Ok(name), Ok(canonical)) => assert_eq!(name.as_str(), canonical, "{case}"),
                (Err(error), Err(words)) => {
                    assert!(error.to_string().contains(words), "{case}: {error}");
                    assert!(!error.to_string().contains('\n'), "{case}: {error}");
                }
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }
}
