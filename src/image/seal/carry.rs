//! The changes of a seal: each is all or nothing for its file, durable before the next operation begins,
//! and does no harm when it is done again.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::catalogue::Act;
use super::steps::{LAST, Step, Work};
use crate::system::root::{Attributes, Kind, PathError, Root};
use crate::transaction::own_attributes;

/// Carries out everything but what comes last.
///
/// # Errors
/// [`PathError`] of the first file that cannot be changed; those before it are.
pub fn out(root: &Root, work: &Work) -> Result<(), PathError> {
    let steps: Vec<&Step> = work.steps.iter().filter(|step| step.operation != LAST).collect();
    for group in steps.chunk_by(|a, b| a.operation == b.operation) {
        all(root, group)?;
    }
    for directory in &work.directories {
        // One that is not empty holds what is not ours to take.
        if root.names(directory)?.is_empty() {
            root.remove_directory(directory)?;
            flush(root, directory)?;
        }
    }
    Ok(())
}

/// Carries out what comes last: D-Bus' copy of the machine-id, then the machine-id.
///
/// # Errors
/// [`PathError`]
pub fn last(root: &Root, work: &Work) -> Result<(), PathError> {
    work.steps.iter().filter(|step| step.operation == LAST).try_for_each(|step| all(root, &[step]))
}

/// Removes one file and makes that last.
///
/// # Errors
/// [`PathError`]
pub fn remove(root: &Root, path: &Path) -> Result<(), PathError> {
    root.remove(path)?;
    flush(root, path)
}

fn all(root: &Root, steps: &[&Step]) -> Result<(), PathError> {
    let mut directories = BTreeSet::new();
    for step in steps {
        one(root, &step.path, step.act)?;
        directories.insert(parent(&step.path));
    }
    directories.into_iter().try_for_each(|directory| root.sync(directory))
}

fn one(root: &Root, path: &Path, act: Act) -> Result<(), PathError> {
    match act {
        Act::Remove | Act::RemoveTree | Act::Unlink => root.remove(path),
        Act::Empty => root.empty(path),
        Act::Write(text) => rewrite(root, path, text.as_bytes()),
        Act::DropLines(words) => {
            let content = root.read(path)?;
            let kept: Vec<u8> = content
                .split_inclusive(|b| *b == b'\n')
                .filter(|line| !words.iter().any(|word| line.trim_ascii_start().starts_with(word.as_bytes())))
                .flatten()
                .copied()
                .collect();
            rewrite(root, path, &kept)
        }
    }
}

/// Puts a new content in a file's place, with its owner, mode and label.
fn rewrite(root: &Root, path: &Path, content: &[u8]) -> Result<(), PathError> {
    let attributes = match root.status(path)?.map(|status| status.kind) {
        Some(Kind::File) => root.attributes(path)?,
        _ => Attributes { mode: 0o444, ..own_attributes(0o444) },
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| PathError::refused(path, "the name is not UTF-8"))?;
    let staged = path.with_file_name(format!(".{name}.reseed"));
    root.remove(&staged)?;
    root.create(&staged, content, &attributes)?;
    root.rename(&staged, path)
}

fn flush(root: &Root, path: &Path) -> Result<(), PathError> {
    match root.sync(parent(path)) {
        Err(error) if error.is_missing() => Ok(()),
        done => done,
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}
