//! The production copy, `PRODUCTION/GROUP/SERVICE/curr`: what servers read, in real directories, so that no
//! server has to be let into the state tree.
//!
//! A directory is filled beside the one that it replaces, flushed, and exchanged with it in one step: whoever
//! opens key and certificate by their paths finds the old pair or the new one, and after a power cut there is
//! the one or the other. Nothing is ever removed for want of a link.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::lineage::version::{self, Part};
use super::lineage::{Files, Link, Version};
use super::name::ServiceName;
use super::tree::remove_flat;
use crate::pki::key::Secret;
use crate::system::root::{Attributes, Kind, ONE_BY_ONE, PathError, Root};
use crate::transaction::{own_attributes, replace};

/// The widest mode of a file that holds a key.
const WIDEST_SECRET: u32 = 0o640;

/// Where the copy of a `next` that is none any more is taken away.
const NEXT_GONE: &str = ".next.old";

/// A production tree.
#[derive(Debug, Clone)]
pub struct Production<'a> {
    root: &'a Root,
    top: PathBuf,
}

impl<'a> Production<'a> {
    /// The tree in a directory.
    pub fn new(root: &'a Root, top: &Path) -> Self {
        Self { root, top: top.to_owned() }
    }

    /// Where a service's copy of a version lies.
    pub fn directory(&self, name: &ServiceName, link: Link) -> PathBuf {
        self.top.join(name.group()).join(name.service()).join(link.name())
    }

    /// Says whether the copy of a version is there and the same.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn holds(&self, name: &ServiceName, link: Link, version: &Version) -> Result<bool, PathError> {
        let directory = self.directory(name, link);
        let files = served(name, &version.files);
        for part in &files {
            let path = directory.join(part.file);
            let there = match self.root.read_optional(&path)? {
                Some(there) => Secret::new(there),
                None => return Ok(false),
            };
            if there.reveal() != part.content || (part.is_secret && self.is_too_wide(&path)?) {
                return Ok(false);
            }
        }
        let known = |file: &&std::ffi::OsString| files.iter().any(|part| part.file == *file);
        Ok(self.root.names(&directory)?.iter().filter(|file| !known(file)).count() == 0)
    }

    fn is_too_wide(&self, path: &Path) -> Result<bool, PathError> {
        Ok(is_too_wide(&self.root.attributes(path)?))
    }

    /// Copies versions to where servers read them. A file keeps the owner, mode and attributes that the last
    /// copy of it was given by somebody, but a key is never for everybody. Returns what failed; of those the
    /// old copy stands, whole.
    pub fn put(&self, copies: &[(&ServiceName, Link, &Version)]) -> Vec<(ServiceName, PathError)> {
        let mut failed = Vec::new();
        let mut exchanges = Vec::new();
        for (name, link, version) in copies {
            match self.draft(name, *link, version) {
                Ok(exchange) => exchanges.push(exchange),
                Err(error) => failed.push(((*name).clone(), error)),
            }
        }
        let fresh = exchanges.iter().map(|exchange| exchange.fresh.as_path()).collect();
        let above = exchanges.iter().flat_map(|one| one.target.ancestors().skip(1).take(3)).collect();
        if let Err(error) = self.root.sync_contents(&fresh, &above) {
            let reason = error.to_string();
            failed.extend(
                exchanges.into_iter().map(|one| (one.name, PathError::refused(&one.target, reason.clone()))),
            );
            return failed;
        }
        exchanges.retain(|exchange| match self.carry_out(exchange) {
            Ok(()) => true,
            Err(error) => {
                failed.push((exchange.name.clone(), error));
                false
            }
        });
        let services: BTreeSet<&Path> = exchanges.iter().filter_map(|one| one.target.parent()).collect();
        let flushed = match services.len() {
            0..=ONE_BY_ONE => services.iter().try_for_each(|service| self.root.sync(service)),
            _ => self.root.sync_all(&services),
        };
        for exchange in &exchanges {
            // The name now stands for what was served before.
            let cleared = match &flushed {
                Ok(()) if exchange.replaces => remove_flat(self.root, &exchange.fresh),
                Ok(()) => Ok(()),
                Err(error) => Err(PathError::refused(&exchange.target, error.to_string())),
            };
            if let Err(error) = cleared {
                failed.push((exchange.name.clone(), error));
            }
        }
        failed
    }

    /// Fills a directory beside the one that is read.
    fn draft(&self, name: &ServiceName, link: Link, version: &Version) -> Result<Exchange, PathError> {
        let service = self.service(name)?;
        let target = service.join(link.name());
        let fresh = service.join(format!(".{}.new", link.name()));
        // What an interrupted run left; nobody reads it.
        if self.root.status(&fresh)?.is_some() {
            remove_flat(self.root, &fresh)?;
        }
        let replaces = match self.root.status(&target)?.map(|status| status.kind) {
            None => false,
            Some(Kind::Directory) => true,
            Some(_) => return Err(PathError::refused(&target, "is no directory; move it away")),
        };
        self.root.draft_directory(&fresh, 0o750)?;
        for part in served(name, &version.files) {
            let attributes = self.attributes(&target.join(part.file), part.is_secret)?;
            self.root.draft(&fresh.join(part.file), part.content, &attributes)?;
        }
        Ok(Exchange { name: name.clone(), fresh, target, replaces })
    }

    fn carry_out(&self, exchange: &Exchange) -> Result<(), PathError> {
        match exchange.replaces {
            true => self.root.exchange(&exchange.fresh, &exchange.target),
            false => self.root.rename(&exchange.fresh, &exchange.target),
        }
    }

    /// The service's directory, made where it is missing, free of links.
    fn service(&self, name: &ServiceName) -> Result<PathBuf, PathError> {
        let service = self.group(name.group())?.join(name.service());
        self.root.draft_directory(&service, 0o750)?;
        self.root.resolve(&service)
    }

    fn attributes(&self, existing: &Path, is_secret: bool) -> Result<Attributes, PathError> {
        let fallback = own_attributes(if is_secret { 0o600 } else { 0o644 });
        let kept = match self.root.attributes(existing) {
            Ok(kept) => kept,
            Err(error) if error.is_missing() => fallback,
            Err(error) => return Err(error),
        };
        Ok(if is_secret { narrowed(kept) } else { kept })
    }

    /// Takes away what nobody reads: what an interrupted run left, and the copy of `next` when there is none any
    /// more; that of `curr` never.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn tidy(&self, name: &ServiceName, has_next: bool) -> Result<(), PathError> {
        let service = self.top.join(name.group()).join(name.service());
        let mut gone = Vec::new();
        for entry in self.root.names(&service)? {
            match entry.to_str() {
                Some("next") if !has_next => gone.push(entry),
                Some(".curr.new" | ".next.new" | NEXT_GONE) => gone.push(entry),
                _ => {}
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let service = self.root.resolve(&service)?;
        // One of them may be what was `curr` before an exchange that a power cut could still undo.
        self.root.sync(&service)?;
        // Hidden names sort first, so that the one that `next` gets is free.
        for entry in gone {
            let mut path = service.join(&entry);
            match self.root.status(&path)?.map(|status| status.kind) {
                Some(Kind::Directory) if entry == "next" => {
                    // Out of sight at once, then away.
                    path = service.join(NEXT_GONE);
                    self.root.rename(&service.join(&entry), &path)?;
                }
                Some(Kind::Directory) => {}
                _ => continue,
            }
            remove_flat(self.root, &path)?;
        }
        Ok(())
    }

    /// The certificate with its chain that servers are given now; nothing when there is none.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn full_chain(&self, name: &ServiceName) -> Result<Option<Vec<u8>>, PathError> {
        self.root.read_optional(&self.directory(name, Link::Curr).join(version::FULL_CHAIN))
    }

    /// A group's directory, made where it is missing.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn group(&self, group: &str) -> Result<PathBuf, PathError> {
        let directory = self.top.join(group);
        self.root.make_directory(&self.top, 0o750)?;
        self.root.make_directory(&directory, 0o755)?;
        Ok(directory)
    }

    /// Puts a text beside the services of a group, when it is another than the one that is there; tells whether
    /// it was.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn put_text(&self, group: &str, file: &str, text: &str) -> Result<bool, PathError> {
        let path = self.top.join(group).join(file);
        if self.root.read_optional(&path)?.as_deref() == Some(text.as_bytes()) {
            return Ok(false);
        }
        self.group(group)?;
        replace(self.root, &path, text.as_bytes(), 0o644)?;
        Ok(true)
    }
}

/// Says whether a file with a key is for more than its owner, its group and those whom an ACL names. Where there
/// is an ACL, the bits of the group are its mask.
fn is_too_wide(attributes: &Attributes) -> bool {
    let widest = if has_acl(attributes) { WIDEST_SECRET | 0o070 } else { WIDEST_SECRET };
    attributes.mode & !widest != 0
}

/// The same for no more than may have it; an ACL that says otherwise goes.
fn narrowed(mut attributes: Attributes) -> Attributes {
    if is_too_wide(&attributes) {
        attributes.extended.retain(|(name, _)| name != ACL);
        attributes.mode &= WIDEST_SECRET;
    }
    attributes
}

fn has_acl(attributes: &Attributes) -> bool {
    attributes.extended.iter().any(|(name, _)| name == ACL)
}

/// Where the kernel keeps a file's ACL (acl(5)).
const ACL: &str = "system.posix_acl_access";

/// A directory that waits beside the one whose place it takes.
struct Exchange {
    name: ServiceName,
    fresh: PathBuf,
    target: PathBuf,
    replaces: bool,
}

/// What servers get of a version. The keys of our certification authorities stay where they are: no server needs
/// them.
fn served<'f>(name: &ServiceName, files: &'f Files) -> Vec<Part<'f>> {
    files.parts().filter(|part| part.file != version::ISSUE && !(part.is_secret && name.is_ca())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_for_everybody() {
        let attributes = |mode, acl: bool| Attributes {
            extended: if acl { vec![(ACL.into(), vec![2, 0, 0, 0])] } else { Vec::new() },
            ..own_attributes(mode)
        };
        // mode, with an ACL, the mode that it gets, and whether the ACL stays
        let cases = [
            ("as made", 0o600, false, 0o600, false),
            ("given to a group", 0o640, false, 0o640, false),
            ("for everybody", 0o644, false, 0o640, false),
            ("a group that writes", 0o660, false, 0o640, false),
            ("an ACL whose mask is rw", 0o660, true, 0o660, true),
            ("an ACL, and everybody", 0o664, true, 0o640, false),
        ];
        for (case, mode, acl, expected, keeps) in cases {
            let narrow = narrowed(attributes(mode, acl));
            assert_eq!((narrow.mode, has_acl(&narrow)), (expected, keeps), "{case}");
            assert!(!is_too_wide(&narrow), "{case}: it would be copied again and again");
        }
    }
}
