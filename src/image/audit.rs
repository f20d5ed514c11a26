//! `reseed audit`: every file of a directory or a tar, looked into; nothing is changed.
//!
//! A file is known by the catalogue, by its path, or by its content. Of large files the beginning is
//! looked at by every rule and the first 64 MiB for PEM blocks; programs and libraries are passed over.
//! Layers of container images are looked into wherever they lie.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Serialize;

use super::archive;
use super::catalogue::{Act, Index, Item, Operation};
use super::content::{self, Found, RULES};
use crate::sealed::Fingerprint;
use crate::system::root::{Kind, PathError, Root};

/// What an audit found.
#[derive(Debug, Serialize)]
#[must_use]
pub struct Audit {
    version: u32,
    /// Every secret and id, in the order of paths.
    pub findings: Vec<Finding>,
    /// What could not be looked into, and why.
    pub unread: Vec<Unread>,
    /// How much was looked at.
    pub counts: Counts,
}

impl Default for Audit {
    fn default() -> Self {
        Self { version: VERSION, findings: Vec::new(), unread: Vec::new(), counts: Counts::default() }
    }
}

/// The version of the JSON that is written, and the only one that is read as a baseline.
pub const VERSION: u32 = 1;

/// How much was looked at.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Counts {
    /// Regular files, those in layers among them.
    pub files: u64,
    /// Octets of their contents that were read.
    pub octets: u64,
    /// Layers of container images.
    pub layers: u64,
    /// Files of which only the first 64 MiB were looked at.
    pub large: u64,
}

/// Something that is in the image and must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The archives inside the image that it lies in, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// Where it lies in its root.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Its kind: an id of [`RULES`], or the name of an operation.
    pub rule: &'static str,
    /// What it is.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do about it.
    pub remedy: String,
    /// Of the public half.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<Fingerprint>,
}

/// Something that could not be looked into.
#[derive(Debug, Clone, Serialize)]
pub struct Unread {
    /// Where.
    pub path: String,
    /// Why not.
    pub why: String,
}

/// One file of a root, looked into.
#[derive(Debug)]
pub struct Seen {
    /// Where.
    pub path: PathBuf,
    /// A file, a link, a directory.
    pub kind: Kind,
    /// Length in octets.
    pub size: u64,
    /// What the catalogue knows of it.
    pub known: Option<(&'static Operation, &'static Item)>,
    /// It is already what sealing would make of it.
    pub done: bool,
    /// It is the public half of something: to be taken out with the other, but no secret.
    pub public: bool,
    /// What its content gives away.
    pub found: Vec<Found>,
}

/// Looks into every file of a root.
///
/// # Errors
/// [`PathError`] when the root cannot be read at all.
pub fn directory(root: &Root) -> Result<Audit, PathError> {
    let (_, audit) = survey(root)?;
    Ok(audit)
}

/// Looks into every file of a tar, plain or gzip.
pub fn tar(name: &Path, reader: &mut dyn Read) -> Audit {
    let mut eye = Eye::default();
    if let Err(error) = eye.archive(&[], reader) {
        eye.audit.unread.push(Unread { path: name.to_string_lossy().into_owned(), why: error.to_string() });
    }
    eye.finish()
}

/// Looks into every file of a root, and keeps what was seen of each that matters to [`super::seal()`].
///
/// # Errors
/// [`PathError`] when the root cannot be read at all.
pub(super) fn survey(root: &Root) -> Result<(Vec<Seen>, Audit), PathError> {
    let mut eye = Eye::default();
    let mut kept = Vec::new();
    let unread = root.walk(&mut |path, kind| match eye.entry(root, path, kind) {
        Ok(seen) if seen.known.is_some() || !seen.found.is_empty() => kept.push(seen),
        Ok(_) => {}
        // Gone since it was listed: nothing to look at.
        Err(error) if error.is_missing() => {}
        Err(error) => eye.audit.unread.push(error.into()),
    })?;
    eye.audit.unread.extend(unread.into_iter().map(Unread::from));
    kept.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((kept, eye.finish()))
}

impl From<PathError> for Unread {
    fn from(error: PathError) -> Self {
        Self { path: error.path.to_string_lossy().into_owned(), why: error.source.to_string() }
    }
}

/// Octets of a file that every rule sees.
const HEAD: u64 = 1024 * 1024;
/// Octets of a file that are looked through for PEM blocks.
const MAX_SCAN: u64 = 64 * 1024 * 1024;
/// Archives in archives: an image holds layers, and a layer may hold an image.
const MAX_NESTED: usize = 4;
/// Octets read of all archives together: what is more is meant to hurt.
const BUDGET: u64 = 1 << 38;

struct Eye {
    index: Index,
    audit: Audit,
    budget: Rc<Cell<u64>>,
}

impl Default for Eye {
    fn default() -> Self {
        Self { index: Index::default(), audit: Audit::default(), budget: Rc::new(Cell::new(BUDGET)) }
    }
}

impl Eye {
    fn finish(mut self) -> Audit {
        self.audit.findings.sort();
        self.audit.findings.dedup();
        self.audit
    }

    /// One entry of a directory.
    fn entry(&mut self, root: &Root, path: &Path, kind: Kind) -> Result<Seen, PathError> {
        let known = |head: &[u8]| self.index.find(path, head);
        if kind != Kind::File {
            let known = known(b"");
            return Ok(Seen {
                path: path.into(),
                kind,
                size: 0,
                known,
                done: false,
                public: false,
                found: Vec::new(),
            });
        }
        let (mut reader, size) = root.reader(path)?;
        let failed = |error: io::Error| PathError::refused(path, error.to_string());
        self.file(&[], path, size, &mut reader).map_err(failed)
    }

    /// One regular file, of a directory or of an archive.
    fn file(&mut self, layers: &[String], path: &Path, size: u64, reader: &mut dyn Read) -> io::Result<Seen> {
        self.audit.counts.files += 1;
        let mut head = Vec::with_capacity(usize::try_from(size.min(HEAD)).unwrap_or_default());
        reader.take(HEAD).read_to_end(&mut head)?;
        self.audit.counts.octets += head.len() as u64;
        let (mut known, mut found) = (None, Vec::new());
        let (mut done, mut public) = (false, false);
        if archive::may_be_layer(path) && archive::is_archive(&head) && layers.len() < MAX_NESTED {
            self.audit.counts.layers += 1;
            let layers = [layers, &[path.to_string_lossy().into_owned()]].concat();
            self.archive(&layers, &mut head.as_slice().chain(reader))?;
        } else {
            if archive::may_be_layer(path) && archive::is_unreadable(&head) {
                return Err(io::Error::other("a layer compressed otherwise than with gzip is not read"));
            }
            found = content::inspect(&head, size <= head.len() as u64);
            if !content::is_program(&head) {
                let end = head.get(head.len().saturating_sub(content::OVERLAP)..);
                found.extend(self.rest(end, size, reader)?);
            }
            let mut once = BTreeSet::new();
            found.retain(|one| once.insert((one.rule, one.fingerprints.clone())));
            known = self.index.find(path, &head);
            public = found.is_empty() && content::is_public(&head);
            done = known.is_some_and(|(_, item)| item.act.is_done(&head));
        }
        let seen = Seen { path: path.to_owned(), kind: Kind::File, size, known, done, public, found };
        self.audit.findings.extend(findings(layers, &seen));
        Ok(seen)
    }

    /// Looks through what comes after the head, in parts that overlap.
    fn rest(&mut self, end: Option<&[u8]>, size: u64, reader: &mut dyn Read) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        let mut part = end.unwrap_or_default().to_vec();
        let mut read = HEAD;
        while read < size.min(MAX_SCAN) {
            let keep = part.len().saturating_sub(content::OVERLAP);
            part.drain(..keep);
            let more = reader.take(HEAD).read_to_end(&mut part)? as u64;
            if more == 0 {
                break;
            }
            read += more;
            self.audit.counts.octets += more;
            found.extend(content::inspect_part(&part));
        }
        if size > MAX_SCAN {
            self.audit.counts.large += 1;
        }
        Ok(found)
    }

    fn archive(&mut self, layers: &[String], reader: &mut dyn Read) -> io::Result<()> {
        let budget = Rc::clone(&self.budget);
        archive::walk(reader, &budget, &mut |path, size, reader| {
            if let Err(error) = self.file(layers, path, size, reader) {
                let path = place(layers, path);
                self.audit.unread.push(Unread { path, why: error.to_string() });
            }
            Ok(())
        })
    }
}

/// A path with the archives that it lies in before it.
fn place(layers: &[String], path: &Path) -> String {
    let layers: String = layers.iter().map(|layer| format!("{layer}!")).collect();
    format!("{layers}{}", path.display())
}

impl Finding {
    /// Where it lies: its path, with the archives inside the image before it.
    pub fn place(&self) -> String {
        place(&self.layers, &self.path)
    }
}

/// What is to be said of a file.
pub(super) fn findings(layers: &[String], seen: &Seen) -> Vec<Finding> {
    let operation = seen.known.map(|(operation, _)| operation);
    let finding = |rule, what, why, fingerprints| Finding {
        layers: layers.to_vec(),
        path: seen.path.clone(),
        rule,
        what,
        why,
        remedy: remedy(operation),
        fingerprints,
    };
    if !seen.found.is_empty() {
        let why = operation
            .map_or("whoever has the image has it, and every machine made from it shares it", |o| o.why);
        let of = |found: &Found| {
            let title = RULES.iter().find(|rule| rule.id == found.rule).map_or(found.rule, |rule| rule.title);
            let detail = found.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            finding(found.rule, format!("{title}{detail}"), why, found.fingerprints.clone())
        };
        return seen.found.iter().map(of).collect();
    }
    match operation {
        Some(operation)
            if operation.reported
                && seen.kind == Kind::File
                && seen.size > 0
                && !seen.done
                && !seen.public =>
        {
            vec![finding(operation.name, operation.title.to_owned(), operation.why, Vec::new())]
        }
        _ => Vec::new(),
    }
}

fn remedy(operation: Option<&Operation>) -> String {
    match operation {
        Some(operation) if operation.default => {
            format!("`reseed seal` removes it; then: {}", operation.returns)
        }
        Some(operation) => format!(
            "`reseed seal --operations defaults,{}` removes it; then: {}",
            operation.name, operation.returns
        ),
        None => "take it out of the image, and let it be made or brought on each machine".into(),
    }
}

impl Act {
    /// Says whether a content is already what this would make of it.
    pub fn is_done(self, content: &[u8]) -> bool {
        match self {
            Self::Write(text) => content == text.as_bytes(),
            Self::Empty => content.is_empty(),
            Self::Remove | Self::RemoveTree | Self::Unlink | Self::DropLines(_) => false,
        }
    }
}

fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}
