//! The intent of a transaction on stable storage: which paths, under which names, how far.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::own_attributes;
use crate::fault::Fault;
use crate::ledger::Digest;
use crate::system::root::{PathError, Root};

/// Where the agent's journals lie, one file a transaction.
const AGENT: &str = "/var/lib/reseed/journal";
/// The version of the format that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// The root that transactions change, and the directory in which they are written down. Only who has that
/// place to himself, by a lock, may begin or recover there.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// Where the files are.
    pub root: &'a Root,
    /// Where the journals are, one file a transaction.
    pub journals: PathBuf,
}

impl<'a> From<&'a Root> for Place<'a> {
    /// The agent's own.
    fn from(root: &'a Root) -> Self {
        Self { root, journals: PathBuf::from(AGENT) }
    }
}

/// How far a transaction got; the suffix of its journal's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Files are being staged; no target has been touched.
    Prepare,
    /// Targets are being replaced.
    Swap,
    /// The new files stand.
    Commit,
}

impl State {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Prepare, "prepare"), (Self::Swap, "swap"), (Self::Commit, "commit")];

    fn suffix(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("prepare", |(_, suffix)| suffix)
    }
}

/// What is done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing was there.
    Create,
    /// A file or link was there.
    Replace,
    /// It is taken away.
    Remove,
}

/// One path of a transaction; all paths are free of links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The target.
    pub path: PathBuf,
    /// What is done to it.
    pub kind: Kind,
    /// Where the new file waits.
    pub new: PathBuf,
    /// The second name of the old file.
    pub old: PathBuf,
    /// Digest of the new content, or of what the new link says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Digest>,
}

/// A transaction's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    id: String,
    directory: PathBuf,
    /// How far it got.
    pub state: State,
    /// Its paths, in the order in which they are swapped.
    pub items: Vec<Item>,
    /// For the caller.
    pub payload: String,
    /// Where the old files are kept for later.
    pub backup: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    payload: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup: Option<PathBuf>,
    #[serde(default)]
    item: Vec<Item>,
}

impl Journal {
    /// A journal that is not written yet.
    pub fn new(
        place: &Place<'_>,
        id: &str,
        items: Vec<Item>,
        payload: String,
        backup: Option<PathBuf>,
    ) -> Self {
        let directory = place.journals.clone();
        Self { id: id.to_owned(), directory, state: State::Prepare, items, payload, backup }
    }

    /// Writes it; only a whole journal ever has its name.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn write(&self, root: &Root) -> Result<(), PathError> {
        let path = self.path(self.state);
        let text = Text {
            version: VERSION,
            payload: self.payload.clone(),
            backup: self.backup.clone(),
            item: self.items.clone(),
        };
        let text = toml::to_string(&text).map_err(|error| PathError::refused(&path, error.to_string()))?;
        if let Some(above) = self.directory.parent() {
            root.make_directory(above, 0o700)?;
        }
        root.make_directory(&self.directory, 0o700)?;
        let draft = root.resolve(&path.with_extension("draft"))?;
        root.create(&draft, text.as_bytes(), &own_attributes(0o600))?;
        root.rename(&draft, &root.resolve(&path)?)?;
        self.sync(root)
    }

    /// Moves on to the next state: one rename, durable when this returns.
    ///
    /// # Errors
    /// [`PathError`]; whether the state changed is then decided by what is on disk.
    pub fn advance(&self, root: &Root, state: State) -> Result<Self, PathError> {
        root.rename(&root.resolve(&self.path(self.state))?, &root.resolve(&self.path(state))?)?;
        self.sync(root)?;
        Ok(Self { state, ..self.clone() })
    }

    /// Removes it: the transaction is over.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn remove(&self, root: &Root) -> Result<(), PathError> {
        for (state, _) in State::ALL {
            let path = root.resolve(&self.path(state))?;
            if root.status(&path)?.is_some() {
                root.remove(&path)?;
            }
        }
        self.sync(root)
    }

    /// Every journal that an interrupted run left, in the order of their names.
    ///
    /// # Errors
    /// [`PathError`] with the position for one that cannot be understood.
    pub fn all(place: &Place<'_>) -> Result<Vec<Self>, PathError> {
        let root = place.root;
        let mut journals = Vec::new();
        for (path, id, state) in Self::names(place)? {
            let Some(state) = state else {
                // A draft: the power went before it had a name, so nothing was done under it.
                root.remove(&root.resolve(&path)?)?;
                continue;
            };
            let text = root.text(&path)?.unwrap_or_default();
            let read: Text = toml::from_str(&text)
                .map_err(|error| PathError::refused(&path, Fault::toml(&path, &text, &error).to_string()))?;
            if read.version != VERSION {
                let reason = format!("version {} was written by another reseed; run that one", read.version);
                return Err(PathError::refused(&path, reason));
            }
            journals.push(Self {
                id,
                directory: place.journals.clone(),
                state,
                items: read.item,
                payload: read.payload,
                backup: read.backup,
            });
        }
        Ok(journals)
    }

    /// Says whether there is any, be it a draft.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn any(place: &Place<'_>) -> Result<bool, PathError> {
        Ok(!Self::names(place)?.is_empty())
    }

    fn names(place: &Place<'_>) -> Result<Vec<(PathBuf, String, Option<State>)>, PathError> {
        let directory = &place.journals;
        let names = place.root.names(directory)?;
        Ok(names
            .iter()
            .filter_map(|name| name.to_str())
            .filter_map(|name| {
                let (id, suffix) = name.rsplit_once('.')?;
                let state = State::ALL.iter().find(|(_, known)| *known == suffix).map(|(state, _)| *state);
                (state.is_some() || suffix == "draft").then(|| (directory.join(name), id.to_owned(), state))
            })
            .collect())
    }

    fn path(&self, state: State) -> PathBuf {
        self.directory.join(format!("{}.{}", self.id, state.suffix()))
    }

    fn sync(&self, root: &Root) -> Result<(), PathError> {
        root.sync(&root.resolve(&self.directory)?)
    }
}
