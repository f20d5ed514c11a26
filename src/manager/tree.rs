//! The state tree, `TOPDIR/certs`: where versions lie, how they are written, and how links are switched.
//!
//! ```text
//! TOPDIR/conf.d/…                       what is configured
//! TOPDIR/certs/GROUP/SERVICE/db/DATE/   a version; never changed once a link points to it
//! TOPDIR/certs/GROUP/SERVICE/curr       -> db/DATE, likewise next and prev
//! TOPDIR/certs/GROUP/tlsa.GROUP         what is published for DANE
//! TOPDIR/.reseed/                       lock, journal, what is still to be done
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

use super::keyring::Keyring;
use super::lineage::{Files, Lineage, Link, VERSIONS, Version, VersionName, version};
use super::name::ServiceName;
use crate::pki::key::Secret;
use crate::system::root::{Kind, Lock, PathError, Root};
use crate::transaction::{self, Change, Place, Staged, own_attributes};

/// Directories by who may look into them, as ssl-mgr makes them.
const OPEN: u32 = 0o755;
const GUARDED: u32 = 0o750;
/// Files without a secret, and with one.
const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;

/// A state tree.
#[derive(Debug, Clone)]
pub struct Tree<'a> {
    root: &'a Root,
    top: PathBuf,
    keyring: Arc<Keyring<'a>>,
}

impl<'a> Tree<'a> {
    /// The tree of a top directory.
    pub fn new(root: &'a Root, top: &Path) -> Self {
        Self { root, top: top.to_owned(), keyring: Arc::new(Keyring::new(root, None)) }
    }

    /// The same tree, with what opens its keys.
    pub fn with_keyring(self, keyring: Keyring<'a>) -> Self {
        Self { keyring: Arc::new(keyring), ..self }
    }

    /// What opens its keys.
    pub fn keyring(&self) -> &Keyring<'a> {
        &self.keyring
    }

    /// The root beneath which it lies.
    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// The top directory.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// A file of the manager's own.
    pub fn own(&self, name: &str) -> PathBuf {
        self.top.join(".reseed").join(name)
    }

    /// Takes the tree's lock; nothing when another run holds it.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn lock(&self) -> Result<Option<Lock>, PathError> {
        self.root.make_directory(&self.top.join(".reseed"), 0o700)?;
        self.root.lock(&self.own("lock"))
    }

    /// Keeps runs out as long as it is held, and makes nothing for that: of a tree in which none ever ran, its
    /// directory stands for the lock. Nothing when another run holds it.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn watch(&self) -> Result<Option<Lock>, PathError> {
        let lock = self.own("lock");
        match self.root.status(&lock)? {
            Some(_) => self.root.lock(&lock),
            None => self.root.hold(&self.top),
        }
    }

    /// Says whether an interrupted run is to be put in order.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn is_interrupted(&self) -> Result<bool, PathError> {
        transaction::is_interrupted(self.place())
    }

    /// Where its transactions are written down.
    fn place(&self) -> Place<'a> {
        Place { root: self.root, journals: self.own("journal") }
    }

    /// Puts in order what an interrupted run left; returns how many transactions that were.
    ///
    /// # Errors
    /// [`PathError`]; the links of that transaction may not be changed before it is put in order.
    pub fn recover(&self, _lock: &Lock) -> Result<usize, PathError> {
        if !transaction::is_interrupted(self.place())? {
            return Ok(0);
        }
        let recovery = transaction::recover(self.place())?;
        if let Some((_, error)) = recovery.stuck.into_iter().next() {
            return Err(error);
        }
        let count = recovery.taken_back + recovery.committed.len();
        recovery.committed.into_iter().try_for_each(transaction::Committed::finish)?;
        Ok(count)
    }

    /// `TOPDIR/certs`.
    pub fn certificates(&self) -> PathBuf {
        self.top.join("certs")
    }

    /// A service's directory.
    pub fn service(&self, name: &ServiceName) -> PathBuf {
        self.certificates().join(name.group()).join(name.service())
    }

    /// What is published for DANE of a group.
    pub fn group_tlsa(&self, group: &str) -> PathBuf {
        self.certificates().join(group).join(format!("tlsa.{group}"))
    }

    /// Every service that has a directory, sorted.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn services(&self) -> Result<BTreeSet<ServiceName>, PathError> {
        let mut found = BTreeSet::new();
        for group in self.root.names(&self.certificates())? {
            let directory = self.certificates().join(&group);
            for service in self.root.names(&directory)? {
                let versions = directory.join(&service).join(VERSIONS);
                let (Some(group), Some(service)) = (group.to_str(), service.to_str()) else { continue };
                let Ok(name) = ServiceName::new(group, service) else { continue };
                if self.is_directory(&versions)? {
                    found.insert(name);
                }
            }
        }
        Ok(found)
    }

    fn is_directory(&self, path: &Path) -> Result<bool, PathError> {
        Ok(self.root.status(path)?.is_some_and(|status| status.kind == Kind::Directory))
    }

    // ---- reading -------------------------------------------------------------------------------

    /// What there is of a service's certificate; `prev` only where `curr` cannot be served.
    ///
    /// # Errors
    /// [`PathError`] when something is there and cannot be read.
    pub fn lineage(&self, name: &ServiceName) -> Result<Lineage, PathError> {
        let (curr, next) = (self.linked_version(name, Link::Curr)?, self.linked_version(name, Link::Next)?);
        // Nobody asks for what was before while what is now can be served.
        let prev = match &curr {
            Some(curr) if curr.is_sound() => None,
            _ => self.linked_version(name, Link::Prev)?,
        };
        Ok(Lineage { curr, next, prev })
    }

    /// The version to which a link leads, when that is there.
    fn linked(&self, name: &ServiceName, link: Link) -> Result<Option<VersionName>, PathError> {
        let target = self.root.link_target(&self.service(name).join(link.name()))?;
        let Some(version) = target.and_then(|target| VersionName::of_link(&target)) else { return Ok(None) };
        Ok(self.is_directory(&self.directory(name, &version))?.then_some(version))
    }

    /// The version to which a link leads, read.
    ///
    /// # Errors
    /// As for [`Tree::lineage`].
    pub fn linked_version(&self, name: &ServiceName, link: Link) -> Result<Option<Version>, PathError> {
        self.linked(name, link)?.map(|version| self.version(name, version)).transpose()
    }

    /// A version's directory.
    pub fn directory(&self, name: &ServiceName, version: &VersionName) -> PathBuf {
        self.service(name).join(version.target())
    }

    /// Reads a version.
    ///
    /// # Errors
    /// [`PathError`] when a file is there and cannot be read.
    pub fn version(&self, name: &ServiceName, version: VersionName) -> Result<Version, PathError> {
        let directory = self.directory(name, &version);
        let read = |file: &str| self.root.read_optional(&directory.join(file));
        let files = Files {
            key: read(version::KEY)?.map(Secret::new),
            request: read(version::REQUEST)?,
            certificate: read(version::CERTIFICATE)?,
            chain: read(version::CHAIN)?,
            full_chain: read(version::FULL_CHAIN)?,
            bundle: read(version::BUNDLE)?.map(Secret::new),
            tlsa: read(version::TLSA)?,
            info: read(version::INFO)?,
            issue: read(version::ISSUE)?,
        };
        Ok(Version::examine(version, files))
    }

    /// The names of all versions, linked or not, oldest first; directories with other names are left out.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn versions(&self, name: &ServiceName) -> Result<Vec<VersionName>, PathError> {
        let names = self.root.names(&self.service(name).join(VERSIONS))?;
        Ok(names.iter().filter_map(|name| VersionName::parse(name.to_str()?)).collect())
    }

    /// One file of a version.
    ///
    /// # Errors
    /// [`PathError`] when it is there and cannot be read.
    pub fn file(
        &self,
        name: &ServiceName,
        version: &VersionName,
        file: &str,
    ) -> Result<Option<Vec<u8>>, PathError> {
        self.root.read_optional(&self.directory(name, version).join(file))
    }

    /// The versions to which a link leads.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn linked_versions(&self, name: &ServiceName) -> Result<BTreeSet<VersionName>, PathError> {
        let mut linked = BTreeSet::new();
        for link in Link::ALL {
            linked.extend(self.linked(name, link)?);
        }
        Ok(linked)
    }

    // ---- writing -------------------------------------------------------------------------------

    /// The name of a new version that comes after all others, also where two are begun within a second and
    /// where the clock was set back.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn newest(&self, name: &ServiceName, now: OffsetDateTime) -> Result<VersionName, PathError> {
        let last = self.versions(name)?.iter().filter_map(VersionName::moment).max();
        let after = last.and_then(|last| last.checked_add(time::Duration::SECOND));
        self.unused(name, after.map_or(now, |after| after.max(now)))
    }

    /// The name of a new version: none that is there already.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn unused(&self, name: &ServiceName, now: OffsetDateTime) -> Result<VersionName, PathError> {
        let taken = self.root.names(&self.service(name).join(VERSIONS))?;
        Ok(VersionName::unused(now, |name| taken.iter().any(|taken| taken == name.as_str())))
    }

    /// Writes the files of a new version into a directory of its own. Nothing points to it, and it is not
    /// flushed yet: [`Tree::switch`] does that for all that it is given.
    ///
    /// # Errors
    /// [`PathError`]; what was written is cleaned away by a later run.
    pub fn draft(
        &self,
        _lock: &Lock,
        name: &ServiceName,
        version: &VersionName,
        files: &Files,
    ) -> Result<(), PathError> {
        self.prepare(name)?;
        let directory = self.directory(name, version);
        self.root.draft_directory(&directory, GUARDED)?;
        let directory = self.root.resolve(&directory)?;
        files.parts().try_for_each(|part| {
            let mode = if part.is_secret { PRIVATE } else { PUBLIC };
            self.root.draft(&directory.join(part.file), part.content, &own_attributes(mode))
        })
    }

    /// Makes a group's directory.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn prepare_group(&self, group: &str) -> Result<(), PathError> {
        self.root.make_directory(&self.certificates(), OPEN)?;
        self.root.make_directory(&self.certificates().join(group), GUARDED)
    }

    /// Makes a service's directories; [`Tree::switch`] flushes them.
    fn prepare(&self, name: &ServiceName) -> Result<(), PathError> {
        self.prepare_group(name.group())?;
        self.root.draft_directory(&self.service(name), OPEN)?;
        self.root.draft_directory(&self.service(name).join(VERSIONS), GUARDED).map(drop)
    }

    /// Switches links, those of many services in one step: after a power cut at any moment either all of them
    /// lead to the old versions or all to the new ones. Returns what failed; those services are as they were,
    /// and no other suffers from it.
    pub fn switch(&self, _lock: &Lock, moves: Vec<Move>) -> Vec<(ServiceName, PathError)> {
        let moves: Vec<Move> = moves.into_iter().filter(|one| !one.changes.is_empty()).collect();
        if moves.is_empty() {
            return Vec::new();
        }
        match self.switch_together(&moves) {
            Ok(()) => Vec::new(),
            Err(error) if moves.len() == 1 => {
                moves.into_iter().map(|one| one.name).zip(std::iter::once(error)).collect()
            }
            // Nothing may be changed over what could not be taken back: the next run does that first.
            Err(error) if !matches!(transaction::is_interrupted(self.place()), Ok(false)) => {
                let reason = error.to_string();
                let refused = |one: Move| {
                    let error = PathError::refused(&self.service(&one.name), reason.clone());
                    (one.name, error)
                };
                moves.into_iter().map(refused).collect()
            }
            // One of them is in the way of all others; alone it is in nobody's.
            Err(_) => moves
                .into_iter()
                .filter_map(|one| {
                    self.switch_together(std::slice::from_ref(&one)).err().map(|error| (one.name, error))
                })
                .collect(),
        }
    }

    fn switch_together(&self, moves: &[Move]) -> Result<(), PathError> {
        // What a link will lead to is on stable storage before the link is.
        self.flush(moves.iter().flat_map(|one| one.fresh.iter().map(|version| (&one.name, version))))?;
        let changes: Vec<Change> = moves.iter().flat_map(|one| one.changes.iter().cloned()).collect();
        self.change(&changes)
    }

    /// Flushes versions that were only drafted so far, for those to which no link will lead yet.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn keep(&self, _lock: &Lock, name: &ServiceName, version: &VersionName) -> Result<(), PathError> {
        self.flush([(name, version)].into_iter())
    }

    /// Brings versions to stable storage, with all directories above them.
    fn flush<'n>(
        &self,
        fresh: impl Iterator<Item = (&'n ServiceName, &'n VersionName)>,
    ) -> Result<(), PathError> {
        let (mut versions, mut above) = (BTreeSet::new(), BTreeSet::new());
        for (name, version) in fresh {
            let service = self.root.resolve(&self.service(name))?;
            versions.insert(service.join(version.target()));
            above.insert(service.join(VERSIONS));
            above.extend(service.ancestors().take(3).map(Path::to_owned));
        }
        self.root.sync_contents(
            &versions.iter().map(PathBuf::as_path).collect(),
            &above.iter().map(PathBuf::as_path).collect(),
        )
    }

    /// Makes some changes in one step: after a power cut all of them are made, or none.
    ///
    /// # Errors
    /// [`PathError`]; everything is as it was, or will be when the next run begins.
    pub fn replace(&self, _lock: &Lock, changes: &[Change]) -> Result<(), PathError> {
        self.change(changes)
    }

    fn change(&self, changes: &[Change]) -> Result<(), PathError> {
        // Of one that cannot be taken back now, the files must stay as they are until it can.
        if transaction::is_interrupted(self.place())? {
            let message = "an earlier change could not be finished; the next run does that first";
            return Err(PathError::refused(&self.own("journal"), message));
        }
        let staged = Staged::begin(self.place(), "switch", changes, String::new(), None)?;
        staged.swap()?.commit()?.finish()
    }

    /// Puts a link where it shall lead.
    pub fn link(&self, name: &ServiceName, link: Link, version: &VersionName) -> Change {
        Change::Link { path: self.service(name).join(link.name()), target: version.target() }
    }

    /// Takes a link away, when it is there.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn unlink(&self, name: &ServiceName, link: Link) -> Result<Option<Change>, PathError> {
        let path = self.service(name).join(link.name());
        Ok(self.root.status(&path)?.map(|_| Change::Remove { path }))
    }

    /// Puts a small file beside those of a version.
    pub fn note(&self, name: &ServiceName, version: &VersionName, file: &str, text: &str) -> Change {
        Change::File {
            path: self.directory(name, version).join(file),
            content: Secret::new(text),
            attributes: own_attributes(PUBLIC),
            exact: false,
        }
    }

    /// Removes a version that no link leads to.
    ///
    /// # Errors
    /// [`PathError`]; a version to which a link leads is refused.
    pub fn remove(&self, _lock: &Lock, name: &ServiceName, version: &VersionName) -> Result<(), PathError> {
        let directory = self.root.resolve(&self.directory(name, version))?;
        if self.linked_versions(name)?.contains(version) {
            return Err(PathError::refused(&directory, "a link leads to it"));
        }
        remove_flat(self.root, &directory)
    }
}

/// Links of one service that are to be switched together.
#[derive(Debug)]
pub struct Move {
    /// Whose.
    pub name: ServiceName,
    /// What is changed.
    pub changes: Vec<Change>,
    /// Versions that were only drafted so far.
    pub fresh: Vec<VersionName>,
}

/// Removes a directory that holds nothing but files and links.
///
/// # Errors
/// [`PathError`]; a directory inside is refused, by the system.
pub fn remove_flat(root: &Root, directory: &Path) -> Result<(), PathError> {
    for name in root.names(directory)? {
        root.remove(&directory.join(name))?;
    }
    root.remove_directory(directory)
}
