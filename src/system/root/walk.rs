//! Everything below a directory of a root, and contents too large to be read in one piece.
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, ResolveFlag};
use nix::sys::stat::fstat;
use nix::sys::statfs;

use super::{Kind, PathError, Root};

/// Directories in one path; deeper ones are not looked into.
const MAX_DEPTH: usize = 128;

/// File systems of the kernel: what is seen there is not on any disk.
const KERNEL: [statfs::FsType; 13] = [
    statfs::AUTOFS_SUPER_MAGIC,
    statfs::BPF_FS_MAGIC,
    statfs::CGROUP2_SUPER_MAGIC,
    statfs::CGROUP_SUPER_MAGIC,
    statfs::DEBUGFS_MAGIC,
    statfs::DEVPTS_SUPER_MAGIC,
    statfs::HUGETLBFS_MAGIC,
    statfs::NSFS_MAGIC,
    statfs::PROC_SUPER_MAGIC,
    statfs::SECURITYFS_MAGIC,
    statfs::SYSFS_MAGIC,
    statfs::TMPFS_MAGIC,
    statfs::TRACEFS_MAGIC,
];

/// File systems of other machines: what is there is theirs, and shared.
const NETWORK: [statfs::FsType; 9] = [
    statfs::AFS_SUPER_MAGIC,
    statfs::CODA_SUPER_MAGIC,
    statfs::FUSE_SUPER_MAGIC,
    statfs::NCP_SUPER_MAGIC,
    statfs::NFS_SUPER_MAGIC,
    statfs::SMB_SUPER_MAGIC,
    // CIFS, SMB 2, Ceph: statfs(2).
    statfs::FsType(0xff53_4d42),
    statfs::FsType(0xfe53_4d42),
    statfs::FsType(0x00c3_6400),
];

impl Root {
    /// Shows everything in the root but the root itself, each directory before what is in it and in
    /// the order of names. No link is followed; what the kernel mounts (proc, tmpfs, …) is passed over.
    ///
    /// # Errors
    /// [`PathError`] when not even the root can be read. What cannot be read below it, is mounted from
    /// another machine, or lies deeper than 128 directories, is returned.
    pub fn walk(&self, visit: &mut dyn FnMut(&Path, Kind)) -> Result<Vec<PathError>, PathError> {
        let top = Path::new("/");
        let device = |handle: &OwnedFd| fstat(handle).map(|stat| stat.st_dev).ok();
        let root_device = device(&self.open_for_list(top)?);
        let mut unread = Vec::new();
        let mut waiting = vec![(top.to_owned(), 0)];
        while let Some((path, depth)) = waiting.pop() {
            if depth > 0 {
                visit(&path, Kind::Directory);
            }
            let handle = match self.open_for_list(&path) {
                Ok(handle) => handle,
                Err(error) => {
                    unread.push(error);
                    continue;
                }
            };
            if device(&handle) != root_device {
                let kind = statfs::fstatfs(&handle).map(|status| status.filesystem_type()).ok();
                if kind.is_some_and(|kind| KERNEL.contains(&kind)) {
                    continue;
                }
                if kind.is_some_and(|kind| NETWORK.contains(&kind)) {
                    unread.push(PathError::refused(&path, "mounted from another machine"));
                    continue;
                }
            }
            if depth == MAX_DEPTH {
                unread.push(PathError::refused(&path, "too deep to be looked into"));
                continue;
            }
            let below = match list(&path, handle) {
                Ok(below) => below,
                Err(error) => {
                    unread.push(error);
                    continue;
                }
            };
            for (name, kind) in below {
                let path = path.join(name);
                match kind {
                    Kind::Directory => waiting.push((path, depth + 1)),
                    kind => visit(&path, kind),
                }
            }
        }
        Ok(unread)
    }

    /// A regular file's content, to be read piece by piece, and its length in octets.
    ///
    /// # Errors
    /// As [`Root::read`], but for the length.
    pub fn reader(&self, path: &Path) -> Result<(impl Read + use<>, u64), PathError> {
        self.open_file(path)
    }

    fn open_for_list(&self, path: &Path) -> Result<OwnedFd, PathError> {
        self.quiet_open(
            path,
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW,
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS,
        )
    }
}

/// What is in a directory, in reverse: the last that waits is taken first.
fn list(path: &Path, handle: OwnedFd) -> Result<Vec<(OsString, Kind)>, PathError> {
    let failed = |error| PathError::new(path, error);
    let mut directory = Dir::from_fd(handle).map_err(failed)?;
    let mut below = Vec::new();
    for entry in directory.iter() {
        let entry = entry.map_err(failed)?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            Some(Type::File) => Kind::File,
            Some(Type::Symlink) => Kind::Link,
            Some(Type::Directory) => Kind::Directory,
            _ => Kind::Other,
        };
        below.push((name.to_owned(), kind));
    }
    below.sort_by(|(a, _), (b, _)| b.cmp(a));
    Ok(below)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn everything_is_shown_once_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        std::fs::create_dir_all(dir.path().join("etc/a")).unwrap();
        std::fs::write(dir.path().join("etc/a/file"), "x").unwrap();
        std::fs::write(dir.path().join("etc/b"), "x").unwrap();
        symlink(outside.path(), dir.path().join("etc/out")).unwrap();
        symlink("/etc", dir.path().join("loop")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut seen: Vec<(PathBuf, Kind)> = Vec::new();
        let unread = root.walk(&mut |path, kind| seen.push((path.to_owned(), kind))).unwrap();
        assert!(unread.is_empty(), "{unread:?}");
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            ("/etc", Kind::Directory),
            ("/etc/a", Kind::Directory),
            ("/etc/a/file", Kind::File),
            ("/etc/b", Kind::File),
            ("/etc/out", Kind::Link),
            ("/loop", Kind::Link),
        ];
        assert_eq!(seen, expected.map(|(path, kind)| (PathBuf::from(path), kind)));
    }

    #[test]
    fn a_depth_without_end_has_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("d/".repeat(200))).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut count = 0;
        let unread = root.walk(&mut |_, _| count += 1).unwrap();
        assert_eq!((count, unread.len()), (MAX_DEPTH, 1), "{unread:?}");
    }

    #[test]
    fn only_a_file_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log"), "x").unwrap();
        symlink("log", dir.path().join("link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(root.empty(Path::new("/link")).is_err());
        root.empty(Path::new("/log")).unwrap();
        assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), b"");
    }
}
