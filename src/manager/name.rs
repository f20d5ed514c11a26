//! The name of a managed certificate: a service inside a group, `example.com/web-ec`.

use std::fmt;

use serde::Serialize;

/// The group whose services are certification authorities.
pub const CA: &str = "ca";

/// Which managed certificate: its group, an apex domain or [`CA`], and the service's own name in it.
///
/// Both parts are names of directories, so neither can climb out of the tree or hide in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    group: String,
    service: String,
}

impl ServiceName {
    /// Joins a group and a service.
    ///
    /// # Errors
    /// In words, when one of them can be no directory's name.
    pub fn new(group: &str, service: &str) -> Result<Self, String> {
        part("group", group)?;
        part("service", service)?;
        Ok(Self { group: group.to_owned(), service: service.to_owned() })
    }

    /// Reads `GROUP/SERVICE`.
    ///
    /// # Errors
    /// As for [`ServiceName::new`], and when there is no slash.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (group, service) =
            text.split_once('/').ok_or_else(|| format!("\"{text}\" is not GROUP/SERVICE"))?;
        Self::new(group, service)
    }

    /// The group: an apex domain, or [`CA`].
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The service's name inside its group.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Says whether it is a certification authority.
    pub fn is_ca(&self) -> bool {
        self.group == CA
    }
}

/// Says what is wrong with one part of a name.
fn part(what: &str, text: &str) -> Result<(), String> {
    let fits = !text.is_empty()
        && text.len() <= 255
        && !text.starts_with('.')
        && !text.starts_with('-')
        && !text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/');
    if fits { Ok(()) } else { Err(format!("\"{}\" is no name of a {what}", text.escape_debug())) }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.service)
    }
}

impl Serialize for ServiceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["example.com/web-ec", "ca/root-2030", "xn--bcher-kva.example/www"] {
            assert_eq!(ServiceName::parse(good).unwrap().to_string(), good);
        }
        for bad in ["web", "a/../b", "../a", "/a", "a/", "a/.hidden", "-f/x", "a/b\n", "a/b c", "a/b/c"] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ServiceName::parse("ca/root").unwrap().is_ca());
    }
}
