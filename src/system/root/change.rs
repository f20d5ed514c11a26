//! Changing files beneath a root. Every path here is already resolved; every change passes one
//! counter, so that tests can cut the power before any of them.
#![expect(clippy::disallowed_types, reason = "this is the door to files")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, fchown, linkat, symlinkat, unlinkat};
use xattr::FileExt as _;

use super::{Attributes, Kind, Lock, PathError, Root, Status, open_at, split};

/// For owner, group and others, without the bits that a directory inherits.
const PERMISSIONS: u32 = 0o777;

impl Root {
    /// Creates a new file with its final owner and mode before the first octet is in it, and
    /// flushes it to stable storage.
    ///
    /// # Errors
    /// [`PathError`]; what exists already is never opened.
    pub fn create(&self, path: &Path, content: &[u8], attributes: &Attributes) -> Result<(), PathError> {
        let file = self.fresh(path, content, attributes)?;
        file.sync_all().map_err(|error| PathError::new(path, error))
    }

    /// Creates a new file as [`Root::create`] does, but leaves it to the caller to flush it, by
    /// [`Root::sync_all`], before anything points to it.
    ///
    /// # Errors
    /// As [`Root::create`].
    pub fn draft(&self, path: &Path, content: &[u8], attributes: &Attributes) -> Result<(), PathError> {
        self.fresh(path, content, attributes).map(drop)
    }

    fn fresh(&self, path: &Path, content: &[u8], attributes: &Attributes) -> Result<File, PathError> {
        let (parent, name) = split(path)?;
        let parent = self.open_directory(parent, OFlag::O_PATH)?;
        self.change(path)?;
        // Mode 0: whoever is not root cannot open it before it is what it shall be.
        let how = OpenHow::new()
            .flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
            .mode(Mode::empty())
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let handle = open_at(&parent, name, how).map_err(|error| PathError::new(path, error))?;
        let mut file = File::from(handle);
        self.change(path)?;
        give(&file, attributes).map_err(|error| PathError::new(path, error))?;
        self.change(path)?;
        file.write_all(content).map_err(|error| PathError::new(path, error))?;
        Ok(file)
    }

    /// Takes a file's content away, durably; its name, owner, mode and attributes stay.
    ///
    /// # Errors
    /// [`PathError`]; a link is not followed, and only a regular file has a content to lose.
    pub fn empty(&self, path: &Path) -> Result<(), PathError> {
        let failed = |error: io::Error| PathError::new(path, error);
        let (parent, name) = split(path)?;
        let parent = self.open_directory(parent, OFlag::O_PATH)?;
        let how = OpenHow::new()
            .flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let handle = open_at(&parent, name, how).map_err(|error| PathError::new(path, error))?;
        let file = File::from(handle);
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(PathError::refused(path, "not a regular file"));
        }
        self.change(path)?;
        file.set_len(0).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Gives a file a second name in the same directory.
    ///
    /// # Errors
    /// [`PathError`]; an existing second name is not replaced.
    pub fn link(&self, existing: &Path, second: &Path) -> Result<(), PathError> {
        let (parent, name) = split(existing)?;
        let (_, second_name) = split(second)?;
        let parent = self.open_directory(parent, OFlag::O_PATH)?;
        self.change(second)?;
        linkat(&parent, name, &parent, second_name, AtFlags::empty())
            .map_err(|error| PathError::new(second, error))
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// [`PathError`]; what exists already is not replaced.
    pub fn symlink(&self, path: &Path, target: &Path) -> Result<(), PathError> {
        let (parent, name) = split(path)?;
        let parent = self.open_directory(parent, OFlag::O_PATH)?;
        self.change(path)?;
        symlinkat(target, &parent, name).map_err(|error| PathError::new(path, error))
    }

    /// Renames within one directory, replacing what is there.
    ///
    /// # Errors
    /// [`PathError`] names the new path.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), PathError> {
        let (parent, name) = split(from)?;
        let (_, to_name) = split(to)?;
        let parent = self.open_directory(parent, OFlag::O_PATH)?;
        self.change(to)?;
        nix::fcntl::renameat(&parent, name, &parent, to_name).map_err(|error| PathError::new(to, error))
    }

    /// Removes a file or link; one that is gone already is no error.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn remove(&self, path: &Path) -> Result<(), PathError> {
        self.unlink(path, UnlinkatFlags::NoRemoveDir)
    }

    /// Removes an empty directory; one that is gone already is no error.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn remove_directory(&self, path: &Path) -> Result<(), PathError> {
        self.unlink(path, UnlinkatFlags::RemoveDir)
    }

    fn unlink(&self, path: &Path, flags: UnlinkatFlags) -> Result<(), PathError> {
        let (parent, name) = split(path)?;
        let parent = match self.open_directory(parent, OFlag::O_PATH) {
            Ok(parent) => parent,
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error),
        };
        self.change(path)?;
        match unlinkat(&parent, name, flags) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(PathError::new(path, error)),
        }
    }

    /// Makes a directory and those above it that are missing, each flushed into its parent.
    ///
    /// # Errors
    /// [`PathError`]; an existing directory keeps its mode.
    pub fn make_directory(&self, path: &Path, mode: u32) -> Result<(), PathError> {
        match self.draft_directory(path, mode)? {
            Some(parent) => self.sync(&parent),
            None => Ok(()),
        }
    }

    /// Makes a directory as [`Root::make_directory`] does, but leaves it to the caller to flush the directory
    /// above it, which is returned when it was made here.
    ///
    /// # Errors
    /// As [`Root::make_directory`].
    pub fn draft_directory(&self, path: &Path, mode: u32) -> Result<Option<PathBuf>, PathError> {
        if matches!(self.status(path)?, Some(Status { kind: Kind::Directory, .. })) {
            return Ok(None);
        }
        let (parent, name) = split(path)?;
        if parent != Path::new("/") {
            self.make_directory(parent, 0o755)?;
        }
        let resolved = self.resolve(parent)?;
        let handle = self.open_directory(&resolved, OFlag::O_PATH)?;
        self.change(path)?;
        match mkdirat(&handle, name, Mode::from_bits_truncate(mode)) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Ok(None),
            Err(error) => return Err(PathError::new(path, error)),
        }
        self.widen(&resolved.join(name), mode)?;
        Ok(Some(resolved))
    }

    /// Gives a new directory what the umask took from its mode; what it has from the one above it stays.
    fn widen(&self, directory: &Path, mode: u32) -> Result<(), PathError> {
        let handle = File::from(self.open_directory(directory, OFlag::O_RDONLY)?);
        let there = handle.metadata().map_err(|error| PathError::new(directory, error))?.mode();
        if there & PERMISSIONS == mode & PERMISSIONS {
            return Ok(());
        }
        let wanted = Mode::from_bits_truncate(there & !PERMISSIONS | mode & PERMISSIONS);
        fchmod(&handle, wanted).map_err(|error| PathError::new(directory, error))
    }

    /// Flushes a directory's entries to stable storage: without this a rename may be lost.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn sync(&self, directory: &Path) -> Result<(), PathError> {
        let handle = self.open_directory(directory, OFlag::O_RDONLY)?;
        self.change(directory)?;
        File::from(handle).sync_all().map_err(|error| PathError::new(directory, error))
    }

    /// Flushes whole file systems: those on which the directories lie. For many files at once this is
    /// far quicker than each by itself. A directory that is gone has nothing to flush.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn sync_all(&self, directories: &BTreeSet<&Path>) -> Result<(), PathError> {
        let mut done = BTreeSet::new();
        for directory in directories {
            let handle = match self.open_directory(directory, OFlag::O_RDONLY) {
                Ok(handle) => File::from(handle),
                Err(error) if error.is_missing() => continue,
                Err(error) => return Err(error),
            };
            let device = handle.metadata().map_err(|error| PathError::new(directory, error))?.dev();
            if done.insert(device) {
                self.change(directory)?;
                nix::unistd::syncfs(&handle).map_err(|error| PathError::new(directory, error))?;
            }
        }
        Ok(())
    }

    /// Flushes the files of some directories, and the directories, and those above them: a few each by itself,
    /// more by their file systems.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn sync_contents(
        &self,
        directories: &BTreeSet<&Path>,
        above: &BTreeSet<&Path>,
    ) -> Result<(), PathError> {
        if directories.len() + above.len() > ONE_BY_ONE {
            return self.sync_all(&directories.union(above).copied().collect());
        }
        for directory in directories {
            self.names(directory)?.iter().try_for_each(|name| self.sync_file(&directory.join(name)))?;
        }
        directories.union(above).try_for_each(|directory| self.sync(directory))
    }

    /// Flushes one file. A link has nothing but its name, which is flushed with the directory.
    fn sync_file(&self, path: &Path) -> Result<(), PathError> {
        let (parent, name) = split(path)?;
        let parent = self.open_directory(parent, OFlag::O_PATH)?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        match open_at(&parent, name, how) {
            Ok(handle) => File::from(handle).sync_all(),
            Err(Errno::ELOOP) => Ok(()),
            Err(error) => Err(error.into()),
        }
        .map_err(|error| PathError::new(path, error))
    }

    /// Exchanges two names in one directory, both of which are there: who looks sees the one or the other.
    ///
    /// # Errors
    /// [`PathError`]; a file system that cannot do it refuses.
    pub fn exchange(&self, one: &Path, other: &Path) -> Result<(), PathError> {
        let (parent, name) = split(one)?;
        let (_, other_name) = split(other)?;
        let parent = self.open_directory(parent, OFlag::O_PATH)?;
        self.change(one)?;
        nix::fcntl::renameat2(&parent, name, &parent, other_name, nix::fcntl::RenameFlags::RENAME_EXCHANGE)
            .map_err(|error| PathError::new(one, error))
    }

    /// Adds a line to a file of ours, made with mode 0600 when it is missing, and flushes it.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn append(&self, path: &Path, line: &str) -> Result<(), PathError> {
        let (above, name) = split(path)?;
        let above = self.resolve(above)?;
        let is_new = self.status(path)?.is_none();
        let parent = self.open_directory(&above, OFlag::O_PATH)?;
        self.change(path)?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
            .mode(Mode::S_IRUSR | Mode::S_IWUSR)
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let handle = open_at(&parent, name, how).map_err(|error| PathError::new(path, error))?;
        let mut file = File::from(handle);
        self.change(path)?;
        let written = end_of_line_is_missing(&file)
            .and_then(|missing| {
                file.write_all(format!("{}{line}\n", if missing { "\n" } else { "" }).as_bytes())
            })
            .and_then(|()| file.sync_all());
        written.map_err(|error| PathError::new(path, error))?;
        if is_new { self.sync(&above) } else { Ok(()) }
    }

    /// Takes the lock at a path; nothing when another run holds it. The file is opened, never
    /// replaced: a replaced lock file would let two runs lock two files.
    ///
    /// # Errors
    /// [`PathError`] when the file can neither be opened nor made.
    pub fn lock(&self, path: &Path) -> Result<Option<Lock>, PathError> {
        let (parent, name) = split(path)?;
        self.make_directory(parent, 0o755)?;
        let parent = self.open_directory(&self.resolve(parent)?, OFlag::O_PATH)?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
            .mode(Mode::S_IRUSR | Mode::S_IWUSR)
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let handle = open_at(&parent, name, how).map_err(|error| PathError::new(path, error))?;
        hold(File::from(handle), path)
    }

    /// Locks a directory that is there, and changes nothing; nothing when it is locked already.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be opened.
    pub fn hold(&self, path: &Path) -> Result<Option<Lock>, PathError> {
        hold(File::from(self.open_directory(&self.resolve(path)?, OFlag::O_RDONLY)?), path)
    }
}

fn hold(file: File, path: &Path) -> Result<Option<Lock>, PathError> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(Some(Lock { _held: held })),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(PathError::new(path, error)),
    }
}

/// So many directories are flushed each by itself; more, with everything else on their file system.
pub const ONE_BY_ONE: usize = 32;

/// Owner first, because a change of owner may clear bits; then ACL and label; the mode last,
/// unless an ACL has already said it.
fn give(file: &File, attributes: &Attributes) -> io::Result<()> {
    let now = file.metadata()?;
    let user = (now.uid() != attributes.user).then(|| nix::unistd::Uid::from_raw(attributes.user));
    let group = (now.gid() != attributes.group).then(|| nix::unistd::Gid::from_raw(attributes.group));
    if user.is_some() || group.is_some() {
        fchown(file, user, group)?;
    }
    // What the directory's default ACL handed down was granted for other files than this one.
    if file.get_xattr(ACL).unwrap_or_default().is_some() {
        file.remove_xattr(ACL)?;
    }
    let mut by_acl = false;
    for (name, value) in &attributes.extended {
        if file.get_xattr(name).ok().flatten().as_ref() != Some(value) {
            file.set_xattr(name, value)?;
        }
        by_acl |= name == ACL;
    }
    if !by_acl {
        fchmod(file, Mode::from_bits_truncate(attributes.mode))?;
    }
    Ok(())
}

/// Where the kernel keeps a file's ACL (acl(5)).
const ACL: &str = "system.posix_acl_access";

/// A power cut may have left half a line; the next one must not be glued to it.
fn end_of_line_is_missing(file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut last = [0_u8; 1];
    Ok(length > 0 && file.read_at(&mut last, length - 1)? == 1 && last != [b'\n'])
}
