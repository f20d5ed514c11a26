//! What has been put on web servers for authorities: written down before it is put there, so that whatever a
//! run left, the next one takes away; of directories, those that were made for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::manager::record;

/// The version of the format that this program writes, and the highest that it reads.
const VERSION: u32 = 1;

/// Something on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The host, as the configuration calls it.
    pub host: String,
    /// Where on it.
    pub path: PathBuf,
}

/// Everything that was put somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    version: u32,
    /// Files of tokens.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub token: BTreeSet<Place>,
    /// Directories that were made for them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub directory: BTreeSet<Place>,
}

impl Placed {
    /// Reads what was recorded.
    ///
    /// # Errors
    /// [`Fault`] with the position; also for a newer version.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        record::read(path, text, VERSION)
    }

    /// The text of it.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        toml::to_string(&Self { version: VERSION, ..self.clone() }).map_err(|error| error.to_string())
    }

    /// Says whether nothing is anywhere.
    pub fn is_empty(&self) -> bool {
        self.token.is_empty() && self.directory.is_empty()
    }

    /// The hosts on which something is.
    pub fn hosts(&self) -> BTreeSet<String> {
        self.token.iter().chain(&self.directory).map(|place| place.host.clone()).collect()
    }

    /// The files on a host whose tokens are meant.
    pub fn tokens(&self, host: &str, is_meant: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let name =
            |place: &&Place| place.path.file_name().and_then(|name| name.to_str()).is_some_and(&is_meant);
        let here = self.token.iter().filter(|place| place.host == host);
        here.filter(name).map(|place| place.path.clone()).collect()
    }

    /// The directories on a host in which nothing of ours will be once these files are gone, the deepest first.
    pub fn directories(&self, host: &str, gone: &[PathBuf]) -> Vec<PathBuf> {
        let is_used = |directory: &Path| {
            let left = self.token.iter().filter(|place| place.host == host && !gone.contains(&place.path));
            left.into_iter().any(|place| place.path.starts_with(directory))
        };
        let here = self.directory.iter().filter(|place| place.host == host && !is_used(&place.path));
        here.rev().map(|place| place.path.clone()).collect()
    }

    /// Forgets what is gone from a host.
    pub fn forget(&mut self, host: &str, gone: &[PathBuf]) {
        let stays = |place: &Place| place.host != host || !gone.contains(&place.path);
        self.token.retain(stays);
        self.directory.retain(stays);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str, path: &str) -> Place {
        Place { host: host.to_owned(), path: path.into() }
    }

    #[test]
    fn what_is_left_of_it() {
        let mut placed = Placed::default();
        placed.token.extend([
            place("a", "/w/x/acme/one"),
            place("a", "/w/x/acme/two"),
            place("b", "/w/x/acme/one"),
        ]);
        placed.directory.extend([place("a", "/w/x"), place("a", "/w/x/acme"), place("b", "/w/x/acme")]);
        let again = Placed::parse(Path::new("p"), &placed.to_text().unwrap()).unwrap();
        assert_eq!((again.token, again.directory), (placed.token.clone(), placed.directory.clone()));
        assert_eq!(placed.hosts(), BTreeSet::from(["a".to_owned(), "b".to_owned()]));

        let one = placed.tokens("a", |token| token == "one");
        assert_eq!(one, [PathBuf::from("/w/x/acme/one")]);
        assert!(placed.directories("a", &one).is_empty(), "two is still in there");
        placed.forget("a", &one);
        let two = placed.tokens("a", |_| true);
        assert_eq!(two, [PathBuf::from("/w/x/acme/two")]);
        let directories = placed.directories("a", &two);
        assert_eq!(directories, [PathBuf::from("/w/x/acme"), PathBuf::from("/w/x")], "the deepest first");
        placed.forget("a", &[two, directories].concat());
        assert_eq!(placed.hosts(), BTreeSet::from(["b".to_owned()]));
        assert!(!placed.is_empty());
    }

    #[test]
    fn a_newer_version_and_junk_are_refused_with_their_position() {
        let fault = |text| Placed::parse(Path::new("p"), text).unwrap_err().to_string();
        assert!(fault("version = 2\nnew = 1\n").contains("newer"));
        assert!(fault("version = 1\n[[token]]\nhost = 'a'\n").starts_with("p:"));
    }
}
