//! Files beneath a directory that stands for `/`: the one place that reads and changes files.
//!
//! Symbolic links are resolved inside the root and never out of it: reading goes through
//! `openat2(2)` with `RESOLVE_IN_ROOT`; changing works on a path whose links have been resolved
//! here, opened again with `RESOLVE_NO_SYMLINKS`, so that nobody can slip a link in between.
//!
//! Reading is here, changing in `change`, everything below a directory in `walk`.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the door to files")]

mod change;
#[cfg(test)]
pub mod power;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstatat};
use time::OffsetDateTime;
use xattr::FileExt as _;

/// More than any certificate, configuration or ledger has; what is larger is not read.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Links followed in one path, as the kernel does.
const MAX_LINKS: usize = 40;

/// What happened to which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct PathError {
    /// The path as seen from inside the root.
    pub path: PathBuf,
    /// What the system, or a check here, said.
    pub source: io::Error,
}

impl PathError {
    fn new(path: &Path, source: impl Into<io::Error>) -> Self {
        Self { path: path.to_owned(), source: source.into() }
    }

    /// A refusal by this program, in words.
    pub fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::new(path, io::Error::other(reason.into()))
    }

    /// Says whether the file simply is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    /// Says whether this user may not.
    pub fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// Owner, mode and extended attributes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Number of the owner.
    pub user: u32,
    /// Number of the group.
    pub group: u32,
    /// Permission bits.
    pub mode: u32,
    /// ACLs, SELinux label, `user.*`: copied as they are.
    pub extended: Vec<(OsString, Vec<u8>)>,
}

/// What a path without its last link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A directory.
    Directory,
    /// A socket, a device, a pipe.
    Other,
}

/// What `lstat` tells that decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Which kind of file.
    pub kind: Kind,
    /// Number of the owner.
    pub user: u32,
    /// Number of the group.
    pub group: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A directory that stands for `/`.
#[derive(Debug)]
pub struct Root {
    directory: PathBuf,
    handle: OwnedFd,
    live: bool,
    #[cfg(test)]
    power: power::Power,
}

impl Root {
    /// Opens a root; `/` is the running system's, everything else is offline, and so is a `/` that is
    /// itself a directory of the running system.
    ///
    /// # Errors
    /// [`PathError`] when there is no such directory.
    pub fn open(directory: &Path) -> Result<Self, PathError> {
        let failed = |error: io::Error| PathError::new(directory, error);
        let directory = directory.canonicalize().map_err(failed)?;
        let handle = File::open(&directory).map_err(failed)?;
        if !handle.metadata().map_err(failed)?.is_dir() {
            return Err(PathError::refused(&directory, "not a directory"));
        }
        Ok(Self {
            live: directory == Path::new("/") && !is_changed_root(),
            directory,
            handle: handle.into(),
            #[cfg(test)]
            power: power::Power::default(),
        })
    }

    /// Says whether this is the running system's own root.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Where the root lies, as the caller's system sees it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    // ---- reading -------------------------------------------------------------------------------

    /// Reads a regular file of at most 16 MiB, without touching its access time where allowed.
    ///
    /// # Errors
    /// [`PathError`]; a device, a pipe or a directory is refused.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, PathError> {
        let too_large = || PathError::refused(path, "larger than 16 MiB");
        let (file, length) = self.open_file(path)?;
        if length > MAX_FILE {
            return Err(too_large());
        }
        // One octet more than its length: a file that does not grow is read in one piece.
        let room = usize::try_from(length).map_err(|_| too_large())?.saturating_add(1);
        let mut content = Vec::with_capacity(room);
        file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(|error| PathError::new(path, error))?;
        if content.len() as u64 > MAX_FILE {
            return Err(too_large());
        }
        Ok(content)
    }

    /// Reads a file that may be absent.
    ///
    /// # Errors
    /// As [`Root::read`], but not for a missing file.
    pub fn read_optional(&self, path: &Path) -> Result<Option<Vec<u8>>, PathError> {
        match self.read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a text that may be absent; octets that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// As [`Root::read_optional`].
    pub fn text(&self, path: &Path) -> Result<Option<String>, PathError> {
        Ok(self.read_optional(path)?.map(|content| match String::from_utf8(content) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }))
    }

    /// Owner, mode and extended attributes of a file, links followed.
    ///
    /// # Errors
    /// [`PathError`] when the file cannot be opened or its attributes not be read.
    pub fn attributes(&self, path: &Path) -> Result<Attributes, PathError> {
        let failed = |error: io::Error| PathError::new(path, error);
        let (file, _) = self.open_file(path)?;
        let meta = file.metadata().map_err(failed)?;
        let names = match file.list_xattr() {
            Ok(names) => names.collect(),
            // A file system without extended attributes has none to keep.
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let mut extended = Vec::new();
        for name in names {
            // Signatures and measures of the old content, or granted by the kernel anew.
            if [OsStr::new("security.ima"), OsStr::new("security.evm"), OsStr::new("security.capability")]
                .contains(&name.as_os_str())
            {
                continue;
            }
            if let Some(value) = file.get_xattr(&name).map_err(failed)? {
                extended.push((name, value));
            }
        }
        Ok(Attributes { user: meta.uid(), group: meta.gid(), mode: meta.mode() & 0o7777, extended })
    }

    /// What lies at a path, its last link not followed; nothing when nothing is there.
    ///
    /// # Errors
    /// [`PathError`] when the directories above cannot be searched.
    pub fn status(&self, path: &Path) -> Result<Option<Status>, PathError> {
        let (parent, name) = split(path)?;
        let Some(parent) = self.open_parent(path, parent)? else { return Ok(None) };
        match fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Status {
                kind: match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
                    SFlag::S_IFREG => Kind::File,
                    SFlag::S_IFLNK => Kind::Link,
                    SFlag::S_IFDIR => Kind::Directory,
                    _ => Kind::Other,
                },
                user: stat.st_uid,
                group: stat.st_gid,
                mode: stat.st_mode & 0o7777,
            })),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(PathError::new(path, error)),
        }
    }

    /// When a file's content was last changed, links followed; nothing when it is not there.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be opened, or is no regular file.
    pub fn modified(&self, path: &Path) -> Result<Option<OffsetDateTime>, PathError> {
        let failed = |error: io::Error| PathError::new(path, error);
        match self.open_file(path) {
            Ok((file, _)) => {
                file.metadata().and_then(|meta| meta.modified()).map(|time| Some(time.into())).map_err(failed)
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The target of a symbolic link as it is written; nothing when there is no link.
    ///
    /// # Errors
    /// [`PathError`] when the directories above cannot be searched.
    pub fn link_target(&self, path: &Path) -> Result<Option<PathBuf>, PathError> {
        let (parent, name) = split(path)?;
        let Some(parent) = self.open_parent(path, parent)? else { return Ok(None) };
        match nix::fcntl::readlinkat(&parent, name) {
            Ok(target) => Ok(Some(target.into())),
            Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(PathError::new(path, error)),
        }
    }

    /// The names in a directory, sorted; none when there is no such directory.
    ///
    /// # Errors
    /// [`PathError`] when it may not be read.
    pub fn names(&self, path: &Path) -> Result<Vec<OsString>, PathError> {
        let opened =
            self.quiet_open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, ResolveFlag::RESOLVE_IN_ROOT);
        let handle = match opened {
            Ok(handle) => handle,
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut directory = nix::dir::Dir::from_fd(handle).map_err(|error| PathError::new(path, error))?;
        let mut names = Vec::new();
        for entry in directory.iter() {
            let entry = entry.map_err(|error| PathError::new(path, error))?;
            let name = std::os::unix::ffi::OsStrExt::from_bytes(entry.file_name().to_bytes());
            let name: &OsStr = name;
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The paths that match a pattern of a shell, part by part; hidden names only where the pattern
    /// has the dot. Directories that cannot be read hold nothing.
    pub fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let mut found = vec![PathBuf::from("/")];
        for part in parts(Path::new(pattern)) {
            let part = part.to_string_lossy().into_owned();
            let wild = part.contains(['*', '?', '[']).then(|| glob::Pattern::new(&part).ok()).flatten();
            found = match wild {
                None => found.into_iter().map(|directory| directory.join(&part)).collect(),
                Some(wild) => found
                    .into_iter()
                    .flat_map(|directory| {
                        let names = self.names(&directory).unwrap_or_default();
                        names
                            .into_iter()
                            .filter(|name| name.to_str().is_some_and(|name| wild.matches_with(name, options)))
                            .map(|name| directory.join(name))
                            .collect::<Vec<_>>()
                    })
                    .collect(),
            };
        }
        found.retain(|path| matches!(self.status(path), Ok(Some(_))));
        found
    }

    /// The same path with every symbolic link in it followed inside the root; its last part need
    /// not exist.
    ///
    /// # Errors
    /// [`PathError`] for a loop, and for a link that climbs above an offline root.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, PathError> {
        if self.is_without_links(path) {
            return Ok(path.to_owned());
        }
        let mut resolved = PathBuf::from("/");
        let mut rest: VecDeque<OsString> = parts(path);
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                if !resolved.pop() && !self.live {
                    return Err(PathError::refused(path, "leads out of the root that is worked on"));
                }
                continue;
            }
            let next = resolved.join(&part);
            let target = match self.read_link(&next) {
                Ok(Some(target)) => target,
                Ok(None) => {
                    resolved = next;
                    continue;
                }
                Err(error) if error.is_missing() => {
                    resolved = next;
                    continue;
                }
                Err(error) => return Err(PathError::new(path, error.source)),
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(PathError::new(path, Errno::ELOOP));
            }
            if target.is_absolute() {
                resolved = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
        }
        Ok(resolved)
    }

    // ---- below: how ----------------------------------------------------------------------------

    /// The directory above a path, its links followed; nothing when it is not there.
    fn open_parent(&self, path: &Path, parent: &Path) -> Result<Option<OwnedFd>, PathError> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        match open_at(self.handle.as_fd(), &relative(parent), how) {
            Ok(handle) => Ok(Some(handle)),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(PathError::new(path, error)),
        }
    }

    /// Asks the kernel in one question what a walk would ask part by part.
    fn is_without_links(&self, path: &Path) -> bool {
        let plain = path.is_absolute() && path.components().all(|part| part != Component::ParentDir);
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        plain && open_at(self.handle.as_fd(), &relative(path), how).is_ok()
    }

    /// A regular file, and its length in octets.
    fn open_file(&self, path: &Path) -> Result<(File, u64), PathError> {
        // Non-blocking, so that a pipe laid at the path cannot hang a run.
        let handle = self.quiet_open(
            path,
            OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY,
            ResolveFlag::RESOLVE_IN_ROOT,
        )?;
        let file = File::from(handle);
        let meta = file.metadata().map_err(|error| PathError::new(path, error))?;
        if !meta.is_file() {
            return Err(PathError::refused(path, "not a regular file"));
        }
        let length = meta.len();
        Ok((file, length))
    }

    fn open_directory(&self, path: &Path, access: OFlag) -> Result<OwnedFd, PathError> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let how = OpenHow::new().flags(access | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(resolve);
        open_at(self.handle.as_fd(), &relative(path), how).map_err(|error| PathError::new(path, error))
    }

    /// Opens without touching the access time; only a file's owner and root may ask for that.
    fn quiet_open(&self, path: &Path, flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, PathError> {
        let how = |flags| OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        open_at(self.handle.as_fd(), &relative(path), how(flags | OFlag::O_NOATIME))
            .or_else(|error| match error {
                Errno::EPERM => open_at(self.handle.as_fd(), &relative(path), how(flags)),
                other => Err(other),
            })
            .map_err(|error| PathError::new(path, error))
    }

    fn read_link(&self, path: &Path) -> Result<Option<PathBuf>, PathError> {
        match nix::fcntl::readlinkat(self.handle.as_fd(), &relative(path)) {
            Ok(target) => Ok(Some(target.into())),
            Err(Errno::EINVAL) => Ok(None),
            Err(error) => Err(PathError::new(path, error)),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests' place to cut the power")]
    fn change(&self, _path: &Path) -> Result<(), PathError> {
        Ok(())
    }

    #[cfg(test)]
    fn change(&self, path: &Path) -> Result<(), PathError> {
        self.power.change().map_err(|error| PathError::new(path, error))
    }
}

/// The right to change a root, held until dropped.
#[derive(Debug)]
pub struct Lock {
    _held: Flock<File>,
}

/// Says whether `/` is where an installer, `rpm --root` or the like has changed its root to (chroot(2)):
/// then the first process has another one. A service in its sandbox may not see that process.
fn is_changed_root() -> bool {
    let place = |path| nix::sys::stat::stat(path).map(|status| (status.st_dev, status.st_ino));
    match (place("/proc/1/root"), place("/")) {
        (Ok(first), Ok(ours)) => first != ours,
        // What runs has its /proc.
        _ => place("/proc/self").is_err(),
    }
}

/// The user this program runs as, in effect.
pub fn effective_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Opens by `openat2(2)`. The kernel gives up with `EAGAIN` when something was renamed or mounted
/// anywhere while it followed a `..`, and asks to be asked again.
fn open_at<P: nix::NixPath + ?Sized>(directory: impl AsFd, path: &P, how: OpenHow) -> Result<OwnedFd, Errno> {
    for _ in 0..ATTEMPTS {
        match openat2(&directory, path, how) {
            Err(Errno::EAGAIN) => std::thread::yield_now(),
            done => return done,
        }
    }
    openat2(&directory, path, how)
}

/// Each fails only if a rename falls into the microseconds that it takes.
const ATTEMPTS: usize = 1000;

fn split(path: &Path) -> Result<(&Path, &OsStr), PathError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(PathError::refused(path, "names no file")),
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn relative(path: &Path) -> PathBuf {
    let inside = path.strip_prefix("/").unwrap_or(path);
    if inside.as_os_str().is_empty() { PathBuf::from(".") } else { inside.to_owned() }
}
