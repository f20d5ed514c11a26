//! Several files replaced together: all old or all new, whenever the power goes.
//!
//! ```text
//!  begin            swap               commit            finish
//!    │ ID.prepare     │ ID.swap          │ ID.commit        │ (journal gone)
//!    ▼                ▼                  ▼                  ▼
//!  stage beside,    rename over        nothing left       remove the old
//!  keep the old     the targets        to undo            names
//! ```
//!
//! The journal is one file whose suffix is its state; a rename of it is each point of decision.
//! What is found as `prepare` is cleared away, what is found as `swap` is put back, what is found
//! as `commit` is finished. Putting back and finishing may themselves be interrupted and begun
//! again any number of times. Every new name is on stable storage before the next state is.

mod backup;
mod journal;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use backup::{Backup, Kept};
use journal::{Item, Journal, Kind, State};

use crate::ledger::Digest;
use crate::pki::key::Secret;
use crate::system::root::{Attributes, PathError, Root};

/// One change to one path. Paths are resolved when the transaction begins.
#[derive(Debug, Clone)]
pub enum Change {
    /// Puts a file there, through links; an existing one keeps its owner, mode, ACL and label.
    File {
        /// Where.
        path: PathBuf,
        /// The whole content.
        content: Secret,
        /// For a file that is not there yet, or always when `exact`.
        attributes: Attributes,
        /// Set the attributes even where a file with others exists: for putting things back.
        exact: bool,
    },
    /// Puts a symbolic link there; only a link or nothing may be there before.
    Link {
        /// Where.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// Takes a file or link away.
    Remove {
        /// Where.
        path: PathBuf,
    },
}

impl Change {
    fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } | Self::Link { path, .. } | Self::Remove { path } => path,
        }
    }
}

/// New files beside their targets, and the old ones under a second name; nothing is changed yet.
#[derive(Debug)]
#[must_use = "swap it, or take it back"]
pub struct Staged<'a> {
    root: &'a Root,
    journal: Journal,
}

/// The new files in place; they can still be taken back.
#[derive(Debug)]
#[must_use = "commit it, or take it back"]
pub struct Swapped<'a> {
    root: &'a Root,
    journal: Journal,
}

/// Decided; only the old names are still to be cleared away.
#[derive(Debug)]
#[must_use = "record what it made, then finish it"]
pub struct Committed<'a> {
    root: &'a Root,
    journal: Journal,
}

impl<'a> Staged<'a> {
    /// Stages the changes under a journal named `id`.
    ///
    /// `payload` is handed back by [`recover`] if the power goes between commit and finish: what
    /// the caller would have recorded. `backup` is filled before anything is changed.
    ///
    /// # Errors
    /// [`PathError`]; everything is as it was.
    pub fn begin(
        root: &'a Root,
        id: &str,
        changes: &[Change],
        payload: String,
        backup: Option<Backup>,
    ) -> Result<Self, PathError> {
        let items =
            changes.iter().map(|change| Item::of(root, id, change)).collect::<Result<Vec<_>, PathError>>()?;
        let journal = Journal::new(id, items, payload, backup.as_ref().map(Backup::directory));
        journal.write(root)?;
        let staged = stage(root, &journal, changes, backup).and_then(|()| journal.advance(root, State::Swap));
        match staged {
            Ok(journal) => Ok(Self { root, journal }),
            Err(error) => {
                // What cannot be cleared away now is cleared away by the next run.
                let _ = clear(root, &journal);
                Err(error)
            }
        }
    }

    /// Renames every new file over its target.
    ///
    /// # Errors
    /// [`PathError`]; everything has been put back.
    pub fn swap(self) -> Result<Swapped<'a>, PathError> {
        let swapped = self.journal.items.iter().try_for_each(|item| match &item.kind {
            Kind::Remove => self.root.remove(&item.path),
            Kind::Create | Kind::Replace => self.root.rename(&item.new, &item.path),
        });
        match swapped.and_then(|()| sync_directories(self.root, &self.journal)) {
            Ok(()) => Ok(Swapped { root: self.root, journal: self.journal }),
            Err(error) => {
                put_back(self.root, &self.journal)?;
                Err(error)
            }
        }
    }
}

impl<'a> Swapped<'a> {
    /// Decides for the new files.
    ///
    /// # Errors
    /// [`PathError`]; everything has been put back.
    pub fn commit(self) -> Result<Committed<'a>, PathError> {
        match self.journal.advance(self.root, State::Commit) {
            Ok(journal) => Ok(Committed { root: self.root, journal }),
            Err(error) => {
                put_back(self.root, &self.journal)?;
                Err(error)
            }
        }
    }

    /// Decides for the old files and puts them back, the very same inodes.
    ///
    /// # Errors
    /// [`PathError`]; the journal stays, and the next run puts them back.
    pub fn take_back(self) -> Result<(), PathError> {
        put_back(self.root, &self.journal)
    }
}

impl Committed<'_> {
    /// What was given to [`Staged::begin`].
    pub fn payload(&self) -> &str {
        &self.journal.payload
    }

    /// Clears the old names and the journal away.
    ///
    /// # Errors
    /// [`PathError`]; the journal stays, and the next run finishes.
    pub fn finish(self) -> Result<(), PathError> {
        for item in &self.journal.items {
            remove_if_there(self.root, &item.old)?;
            remove_if_there(self.root, &item.new)?;
        }
        sync_directories(self.root, &self.journal)?;
        self.journal.remove(self.root)
    }
}

/// What became of the transactions of interrupted runs.
#[derive(Debug, Default)]
pub struct Recovery<'a> {
    /// Decided for the new files: to be recorded and finished.
    pub committed: Vec<Committed<'a>>,
    /// How many were taken back.
    pub taken_back: usize,
    /// Those that cannot be put in order now, by their payload, and why. Their files must not be
    /// changed before they are: a later recovery would put older ones over newer ones.
    pub stuck: Vec<(String, PathError)>,
}

/// Puts in order what interrupted runs left, each transaction by itself.
///
/// # Errors
/// [`PathError`] when a journal cannot be read; nothing is touched then.
pub fn recover(root: &Root) -> Result<Recovery<'_>, PathError> {
    let mut recovery = Recovery::default();
    for journal in Journal::all(root)? {
        let done = match journal.state {
            State::Prepare => clear(root, &journal),
            State::Swap => put_back(root, &journal),
            State::Commit => {
                recovery.committed.push(Committed { root, journal });
                continue;
            }
        };
        match done {
            Ok(()) => recovery.taken_back += 1,
            Err(error) => recovery.stuck.push((journal.payload, error)),
        }
    }
    Ok(recovery)
}

/// Says whether an interrupted run waits to be put in order; changes nothing.
///
/// # Errors
/// [`PathError`] when the journal directory cannot be read.
pub fn is_interrupted(root: &Root) -> Result<bool, PathError> {
    Journal::any(root)
}

/// Replaces one file of our own, durably: write, flush, rename, flush the directory.
///
/// # Errors
/// [`PathError`]; the old file stands.
pub fn replace(root: &Root, path: &Path, content: &[u8], mode: u32) -> Result<(), PathError> {
    let path = root.resolve(path)?;
    let staged = beside(&path, "new")?;
    let attributes = own_attributes(mode);
    root.remove(&staged)?;
    root.create(&staged, content, &attributes)?;
    root.rename(&staged, &path)?;
    root.sync(parent(&path))
}

/// Replaces one symbolic link of our own, durably: there is no moment without one.
///
/// # Errors
/// [`PathError`]; the old link stands. A file or directory at its place is refused, not replaced.
pub fn replace_link(root: &Root, path: &Path, target: &Path) -> Result<(), PathError> {
    use crate::system::root::Kind as Lies;
    let name = path.file_name().ok_or_else(|| PathError::refused(path, "names no link"))?;
    let path = root.resolve(parent(path))?.join(name);
    if root.status(&path)?.is_some_and(|status| status.kind != Lies::Link) {
        return Err(PathError::refused(&path, "is there and is no link; move it away"));
    }
    let staged = beside(&path, "new")?;
    root.remove(&staged)?;
    root.symlink(&staged, target)?;
    root.rename(&staged, &path)?;
    root.sync(parent(&path))
}

/// Removes a backup that is no longer wanted.
///
/// # Errors
/// [`PathError`]
pub fn discard_backup(root: &Root, directory: &Path) -> Result<(), PathError> {
    backup::discard(root, Some(directory))
}

/// For files of our own: whoever runs this, and a mode.
pub fn own_attributes(mode: u32) -> Attributes {
    Attributes {
        user: nix::unistd::geteuid().as_raw(),
        group: nix::unistd::getegid().as_raw(),
        mode,
        extended: Vec::new(),
    }
}

fn stage(
    root: &Root,
    journal: &Journal,
    changes: &[Change],
    backup: Option<Backup>,
) -> Result<(), PathError> {
    if let Some(mut backup) = backup {
        for item in &journal.items {
            backup.keep(root, item)?;
        }
        backup.close(root)?;
    }
    for (item, change) in journal.items.iter().zip(changes) {
        match change {
            Change::File { content, attributes, exact, .. } => {
                let existing = match item.kind {
                    Kind::Replace if !exact => Some(root.attributes(&item.path)?),
                    _ => None,
                };
                root.create(&item.new, content.reveal(), existing.as_ref().unwrap_or(attributes))?;
            }
            Change::Link { target, .. } => root.symlink(&item.new, target)?,
            Change::Remove { .. } => {}
        }
        if matches!(item.kind, Kind::Replace | Kind::Remove) {
            root.link(&item.path, &item.old)?;
        }
    }
    sync_directories(root, journal)
}

/// Takes away what was staged; the targets have not been touched.
fn clear(root: &Root, journal: &Journal) -> Result<(), PathError> {
    for item in &journal.items {
        remove_if_there(root, &item.new)?;
        remove_if_there(root, &item.old)?;
    }
    sync_directories(root, journal)?;
    backup::discard(root, journal.backup.as_deref())?;
    journal.remove(root)
}

fn put_back(root: &Root, journal: &Journal) -> Result<(), PathError> {
    for item in &journal.items {
        match item.kind {
            Kind::Replace | Kind::Remove => {
                if root.status(&item.old)?.is_some() {
                    root.rename(&item.old, &item.path)?;
                    // Two names of one inode: the rename above did nothing, and both are still there.
                    root.remove(&item.old)?;
                }
            }
            // Still under its staged name means that it never reached the target; and what has
            // been put there since by somebody else is not ours to take away.
            Kind::Create => {
                if root.status(&item.new)?.is_none() && item.is_what_lies_there(root)? {
                    root.remove(&item.path)?;
                }
            }
        }
        remove_if_there(root, &item.new)?;
    }
    sync_directories(root, journal)?;
    backup::discard(root, journal.backup.as_deref())?;
    journal.remove(root)
}

/// A read-only file system refuses to remove even what is not there.
fn remove_if_there(root: &Root, path: &Path) -> Result<(), PathError> {
    if root.status(path)?.is_some() { root.remove(path) } else { Ok(()) }
}

fn sync_directories(root: &Root, journal: &Journal) -> Result<(), PathError> {
    let directories: BTreeSet<&Path> = journal.items.iter().map(|item| parent(&item.path)).collect();
    directories.into_iter().try_for_each(|directory| match root.sync(directory) {
        // Whoever removed the directory since has removed what there was to flush.
        Err(error) if error.is_missing() => Ok(()),
        done => done,
    })
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// A hidden name in the same directory: no include pattern of any program takes it up.
fn beside(path: &Path, suffix: &str) -> Result<PathBuf, PathError> {
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(path.with_file_name(format!(".{name}.{suffix}"))),
        None => Err(PathError::refused(path, "the name is not UTF-8")),
    }
}

impl Item {
    fn of(root: &Root, id: &str, change: &Change) -> Result<Self, PathError> {
        use crate::system::root::Kind as Lies;
        let path = match change {
            Change::File { path, .. } => root.resolve(path)?,
            Change::Link { path, .. } | Change::Remove { path } => {
                let name = path.file_name().ok_or_else(|| PathError::refused(path, "names no file"))?;
                root.resolve(parent(path))?.join(name)
            }
        };
        if !matches!(root.status(parent(&path))?.map(|status| status.kind), Some(Lies::Directory))
            && parent(&path) != Path::new("/")
        {
            return Err(PathError::refused(
                &path,
                "its directory is missing; install the package that owns it",
            ));
        }
        let lies = root.status(&path)?.map(|status| status.kind);
        let kind = match (change, lies) {
            (Change::File { .. } | Change::Link { .. }, None) => Kind::Create,
            (Change::File { .. }, Some(Lies::File)) | (Change::Link { .. }, Some(Lies::Link)) => {
                Kind::Replace
            }
            (Change::Remove { .. }, Some(Lies::File | Lies::Link)) => Kind::Remove,
            (Change::Remove { .. }, None) => {
                return Err(PathError::refused(&path, "is not there to be removed"));
            }
            (_, Some(_)) => {
                return Err(PathError::refused(
                    change.path(),
                    "something else than the expected kind of file lies there",
                ));
            }
        };
        let made = match change {
            Change::File { content, .. } => Some(Digest::of(content.reveal())),
            Change::Link { target, .. } => Some(Digest::of(target.as_os_str().as_encoded_bytes())),
            Change::Remove { .. } => None,
        };
        let (new, old) = (beside(&path, &format!("{id}.new"))?, beside(&path, &format!("{id}.old"))?);
        Ok(Self { path, kind, new, old, made })
    }

    fn is_what_lies_there(&self, root: &Root) -> Result<bool, PathError> {
        let found = match root.link_target(&self.path)? {
            Some(target) => Some(Digest::of(target.as_os_str().as_encoded_bytes())),
            None => root.read_optional(&self.path)?.map(|content| Digest::of(&content)),
        };
        Ok(found.is_some() && found == self.made)
    }
}

#[cfg(test)]
mod tests;
