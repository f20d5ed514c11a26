//! Subject-hash links: how OpenSSL finds a certificate in a trust directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::made_tasks;
use crate::artifact::Artifact;
use crate::pki::inspect::Certificate;
use crate::plan::HookPlan;
use crate::system::root::{PathError, Root};
use crate::transaction::Change;

/// The subject-hash links of one step: those that led to its files before, and those that will.
pub(super) struct Links<'a> {
    root: &'a Root,
    old: BTreeSet<PathBuf>,
    new: BTreeMap<PathBuf, PathBuf>,
}

impl<'a> Links<'a> {
    pub fn of(root: &'a Root, step: &HookPlan) -> Self {
        let old =
            made_tasks(step).flat_map(|task| task.bundle.artifacts.iter().flat_map(|a| a.links.clone()));
        Self { root, old: old.collect(), new: BTreeMap::new() }
    }

    /// Finds the lowest free number for a certificate's hash: two certificates of the same subject
    /// stand side by side as `.0` and `.1`.
    pub fn place(
        &mut self,
        artifact: &Artifact,
        certificate: &Certificate,
    ) -> Result<BTreeSet<PathBuf>, PathError> {
        let Some(directory) = &artifact.hash_link else { return Ok(BTreeSet::new()) };
        let target = match artifact.real.strip_prefix(directory) {
            Ok(beside) => beside.to_owned(),
            Err(_) => artifact.real.clone(),
        };
        for number in 0..u16::MAX {
            let link = directory.join(format!("{}.{number}", certificate.subject_hash));
            let free = self.old.contains(&link) || self.root.status(&link)?.is_none();
            if free && !self.new.contains_key(&link) {
                self.new.insert(link.clone(), target);
                return Ok(BTreeSet::from([link]));
            }
        }
        Err(PathError::refused(directory, "every number for this subject hash is taken"))
    }

    pub fn into_changes(self) -> Vec<Change> {
        let gone = self.old.iter().filter(|link| !self.new.contains_key(*link)).cloned();
        let removed = gone.map(|path| Change::Remove { path }).collect::<Vec<_>>();
        self.new.into_iter().map(|(path, target)| Change::Link { path, target }).chain(removed).collect()
    }
}
