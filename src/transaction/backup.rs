//! What a run replaced, kept so that `reseed rollback` can put it back days later.
//!
//! One directory a transaction, only for root: the old contents under numbers, and a manifest
//! that says where each was and with which owner, mode and attributes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::journal::{Item, Kind};
use super::{Change, own_attributes};
use crate::fault::Fault;
use crate::pki::key::Secret;
use crate::system::root::{Attributes, Kind as Lies, PathError, Root};

/// The version of the format that this program writes, and the only one it reads.
const VERSION: u32 = 1;
const MANIFEST: &str = "manifest.toml";

/// A backup that is being filled.
#[derive(Debug)]
pub struct Backup {
    directory: PathBuf,
    manifest: Manifest,
}

/// A backup that was read.
#[derive(Debug)]
pub struct Kept {
    /// What the caller recorded before the run; nothing when it had recorded nothing.
    pub before: Option<String>,
    /// What puts everything back.
    pub changes: Vec<Change>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(default)]
    item: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    #[serde(flatten)]
    was: Was,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "lowercase")]
enum Was {
    Absent,
    Link { target: PathBuf },
    File { content: String, user: u32, group: u32, mode: u32, extended: Vec<Extended> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Extended {
    name: String,
    /// Hexadecimal: an ACL is no text.
    value: String,
}

impl Backup {
    /// A backup in a directory that is not there yet. `before` is what the caller's record said.
    pub fn new(directory: PathBuf, before: Option<String>) -> Self {
        Self { directory, manifest: Manifest { version: VERSION, before, item: Vec::new() } }
    }

    /// Where it lies.
    pub fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    pub(super) fn keep(&mut self, root: &Root, item: &Item) -> Result<(), PathError> {
        root.make_directory(&self.directory, 0o700)?;
        let lies = root.status(&item.path)?.map(|status| status.kind);
        let was = match (item.kind, lies) {
            (Kind::Create, _) | (_, None) => Was::Absent,
            (_, Some(Lies::Link)) => Was::Link { target: root.link_target(&item.path)?.unwrap_or_default() },
            _ => {
                let number = self.manifest.item.len().to_string();
                let content = root.read(&item.path)?;
                let attributes = root.attributes(&item.path)?;
                let stored = root.resolve(&self.directory.join(&number))?;
                root.create(&stored, &content, &own_attributes(0o600))?;
                Was::File {
                    content: number,
                    user: attributes.user,
                    group: attributes.group,
                    mode: attributes.mode,
                    extended: attributes.extended.into_iter().map(Extended::from).collect(),
                }
            }
        };
        self.manifest.item.push(Entry { path: item.path.clone(), was });
        Ok(())
    }

    pub(super) fn close(self, root: &Root) -> Result<(), PathError> {
        let path = root.resolve(&self.directory.join(MANIFEST))?;
        let text =
            toml::to_string(&self.manifest).map_err(|error| PathError::refused(&path, error.to_string()))?;
        root.create(&path, text.as_bytes(), &own_attributes(0o600))?;
        root.sync(&root.resolve(&self.directory)?)
    }
}

impl Kept {
    /// Reads a backup.
    ///
    /// # Errors
    /// [`PathError`] when it is damaged or of another version.
    pub fn read(root: &Root, directory: &Path) -> Result<Self, PathError> {
        let path = directory.join(MANIFEST);
        let text = String::from_utf8_lossy(&root.read(&path)?).into_owned();
        let manifest: Manifest = toml::from_str(&text)
            .map_err(|error| PathError::refused(&path, Fault::toml(&path, &text, &error).to_string()))?;
        if manifest.version != VERSION {
            return Err(PathError::refused(&path, format!("version {} is not known here", manifest.version)));
        }
        let mut changes = Vec::new();
        for entry in manifest.item {
            match entry.was {
                Was::Absent if root.status(&entry.path)?.is_none() => {}
                Was::Absent => changes.push(Change::Remove { path: entry.path }),
                Was::Link { target } => changes.push(Change::Link { path: entry.path, target }),
                Was::File { content, user, group, mode, extended } => {
                    let stored = directory.join(content);
                    let content = root.read(&stored)?;
                    let extended = extended
                        .into_iter()
                        .map(|one| {
                            one.decode().ok_or_else(|| PathError::refused(&path, "a damaged attribute"))
                        })
                        .collect::<Result<_, _>>()?;
                    changes.push(Change::File {
                        path: entry.path,
                        content: Secret::new(content),
                        attributes: Attributes { user, group, mode, extended },
                        exact: true,
                    });
                }
            }
        }
        Ok(Self { before: manifest.before, changes })
    }
}

/// Removes a backup with all that is in it, and the directory above it when that is empty.
///
/// # Errors
/// [`PathError`]
pub fn discard(root: &Root, directory: Option<&Path>) -> Result<(), PathError> {
    let Some(directory) = directory else { return Ok(()) };
    let resolved = root.resolve(directory)?;
    for name in root.names(&resolved)? {
        root.remove(&resolved.join(name))?;
    }
    if root.status(&resolved)?.is_some() {
        root.remove_directory(&resolved)?;
    }
    // Other hooks of the same run may have theirs beside it; then it stays.
    if let Some(above) = resolved.parent()
        && root.status(above)?.is_some()
        && root.names(above)?.is_empty()
    {
        root.remove_directory(above)?;
    }
    Ok(())
}

impl From<(OsString, Vec<u8>)> for Extended {
    fn from((name, value): (OsString, Vec<u8>)) -> Self {
        Self { name: hex(name.as_bytes()), value: hex(&value) }
    }
}

impl Extended {
    fn decode(self) -> Option<(OsString, Vec<u8>)> {
        Some((OsString::from_vec(octets(&self.name)?), octets(&self.value)?))
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}
