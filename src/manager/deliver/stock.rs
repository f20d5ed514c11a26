//! What the production tree of this machine has: from it, and from nothing else, other hosts and jails are given
//! their copies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::manager::lineage::{Link, version};
use crate::manager::name::{CA, ServiceName};
use crate::pki::key::Secret;
use crate::system::root::{Kind, PathError, Root};

/// The directory of a group with parameters for Diffie and Hellman.
const DH: &str = "dh";
/// What a list of revoked certificates is called, after the authority's name.
const LIST: &str = ".crl.pem";

/// Everything in a production tree.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    /// By service; only those that have a `curr`.
    pub services: BTreeMap<ServiceName, Copies>,
    /// What lies beside the services, by group.
    pub loose: BTreeMap<String, Vec<Loose>>,
}

/// The copies of one service.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    /// Of its current version.
    pub curr: Vec<File>,
    /// Of the one that waits; none when there is none.
    pub next: Vec<File>,
}

/// A file of a copy.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub content: Secret,
    /// There is a private key in it.
    pub is_secret: bool,
}

/// A file that lies beside the services of a group; everybody may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loose {
    /// Its path in the group: `tlsa.example.com`, `dh/dh2048.pem`.
    pub path: String,
    /// The authority, where it is a list of revoked certificates.
    pub list_of: Option<String>,
    /// What is in it.
    pub content: Content,
}

/// What a file beside the services is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text(Vec<u8>),
    /// A link to a file beside it.
    Link(PathBuf),
}

impl Stock {
    /// Reads a production tree.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn read(root: &Root, top: &Path) -> Result<Self, PathError> {
        let mut stock = Self::default();
        for group in words(root, top)? {
            let directory = top.join(&group);
            if !is(root, &directory, Kind::Directory)? {
                continue;
            }
            for entry in words(root, &directory)? {
                let path = directory.join(&entry);
                if is(root, &path, Kind::Directory)? {
                    let Ok(name) = ServiceName::new(&group, &entry) else { continue };
                    let curr = copy(root, &path.join(Link::Curr.name()))?;
                    if !curr.is_empty() {
                        let next = copy(root, &path.join(Link::Next.name()))?;
                        stock.services.insert(name, Copies { curr, next });
                    }
                }
            }
            let loose = loose(root, &directory, &group)?;
            stock.loose.insert(group, loose);
        }
        Ok(stock)
    }
}

/// A file of a copy, by what is in it.
pub(super) fn file(name: &str, content: Vec<u8>) -> File {
    let has_key = content.windows(KEY_LABEL.len()).any(|window| window == KEY_LABEL);
    let is_secret = matches!(name, version::KEY | version::BUNDLE) || has_key;
    File { name: name.to_owned(), content: Secret::new(content), is_secret }
}

/// In the label of every private key (RFC 7468).
const KEY_LABEL: &[u8] = b"PRIVATE KEY";

fn copy(root: &Root, directory: &Path) -> Result<Vec<File>, PathError> {
    let mut files = Vec::new();
    for name in words(root, directory)? {
        let path = directory.join(&name);
        if is(root, &path, Kind::File)? {
            files.push(file(&name, root.read(&path)?));
        }
    }
    Ok(files)
}

fn loose(root: &Root, directory: &Path, group: &str) -> Result<Vec<Loose>, PathError> {
    let mut found = Vec::new();
    let text = |path: &Path| Ok::<_, PathError>(Content::Text(root.read(path)?));
    for name in words(root, directory)? {
        let path = directory.join(&name);
        let list_of = (group == CA).then(|| name.strip_suffix(LIST).map(str::to_owned)).flatten();
        let is_records = name.strip_prefix("tlsa.") == Some(group);
        if (is_records || list_of.is_some()) && is(root, &path, Kind::File)? {
            found.push(Loose { path: name, list_of, content: text(&path)? });
        }
    }
    let directory = directory.join(DH);
    for name in words(root, &directory)? {
        let path = directory.join(&name);
        let content = match root.link_target(&path)? {
            Some(target) if target.components().count() == 1 => Content::Link(target),
            Some(_) => continue,
            None if is(root, &path, Kind::File)? => text(&path)?,
            None => continue,
        };
        found.push(Loose { path: format!("{DH}/{name}"), list_of: None, content });
    }
    Ok(found)
}

/// The names in a directory that can be written in a line: neither hidden, nor with blanks.
fn words(root: &Root, directory: &Path) -> Result<Vec<String>, PathError> {
    let names = root.names(directory)?.into_iter().filter_map(|name| name.into_string().ok());
    let is_word = |name: &String| {
        !name.starts_with(['.', '-']) && !name.chars().any(|c| c.is_whitespace() || c.is_control())
    };
    Ok(names.filter(is_word).collect())
}

fn is(root: &Root, path: &Path, kind: Kind) -> Result<bool, PathError> {
    Ok(root.status(path)?.is_some_and(|status| status.kind == kind))
}
