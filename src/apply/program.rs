//! Has a hook's own program make its files: into a directory that nobody else may enter, from where the
//! transaction takes them. What it did not declare, and what it left out, is refused as a whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::hook::HookName;
use crate::hook::program::Program;
use crate::pki::key::Secret;
use crate::service::{Errand, Services};
use crate::system::root::{Attributes, Kind, PathError, Root};

/// In memory, and gone with the next boot whatever becomes of this run.
pub const STAGING: &str = "/run/reseed/staging";
/// Directories within directories that a program may make.
const DEPTH: usize = 32;

/// A file as the program made it.
pub struct Staged {
    /// Where it goes.
    pub path: PathBuf,
    /// What is in it.
    pub content: Secret,
    /// Whose it is to be.
    pub attributes: Attributes,
}

/// Runs the program and takes what it made; the staging directory is gone afterwards.
///
/// # Errors
/// In words: what the program did wrong, or which file could not be had.
pub fn make(
    root: &Root,
    services: &dyn Services,
    (hook, program, facts): (&HookName, &Program, &str),
) -> Result<Vec<Staged>, String> {
    let words = |error: PathError| error.to_string();
    let staging = Path::new(STAGING).join(hook.as_str());
    clear(root, &staging, DEPTH).map_err(words)?;
    root.make_directory(&staging, 0o700).map_err(words)?;
    let made = call(root, services, program, &staging, facts).and_then(|()| take(root, program, &staging));
    clear(root, &staging, DEPTH).map_err(words)?;
    made
}

fn call(
    root: &Root,
    services: &dyn Services,
    program: &Program,
    staging: &Path,
    facts: &str,
) -> Result<(), String> {
    let outside = root.directory().join(staging.strip_prefix("/").unwrap_or(staging));
    let command = program.call(root.directory(), &["make", &outside.display().to_string(), facts]);
    let mut writes = program.writes.clone();
    writes.push(outside);
    let limit = Duration::from_secs(program.limit_seconds.into());
    let errand = Errand { writes: &writes, network: program.network, ..Errand::new(&command, limit) };
    services.run(&errand).map(|_| ()).map_err(|error| error.0)
}

/// Takes what lies in a staging directory, if it is exactly what was declared.
///
/// # Errors
/// Every rule that is violated, in words.
pub fn take(root: &Root, program: &Program, staging: &Path) -> Result<Vec<Staged>, String> {
    let mut found = BTreeSet::new();
    let mut wrong = Vec::new();
    walk(root, staging, DEPTH, &mut found, &mut wrong).map_err(|error| error.to_string())?;
    let declared: BTreeSet<&Path> = program.makes.iter().map(PathBuf::as_path).collect();
    let inside = |path: &PathBuf| Path::new("/").join(path.strip_prefix(staging).unwrap_or(path));
    let targets: BTreeSet<PathBuf> = found.iter().map(inside).collect();
    let undeclared = targets.iter().filter(|path| !declared.contains(path.as_path()));
    wrong.extend(undeclared.map(|path| format!("it made {}, which it does not declare", path.display())));
    let missing = declared.iter().filter(|path| !targets.contains(**path));
    wrong.extend(missing.map(|path| format!("it did not make {}", path.display())));
    let mut staged = Vec::new();
    for path in &found {
        match one(root, path, inside(path)) {
            Ok(file) => staged.push(file),
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() { Ok(staged) } else { Err(wrong.join("; ")) }
}

fn one(root: &Root, path: &Path, target: PathBuf) -> Result<Staged, String> {
    let shown = target.display().to_string();
    let attributes = root.attributes(path).map_err(|error| error.to_string())?;
    if attributes.mode & !0o777 != 0 || attributes.mode & 0o002 != 0 {
        return Err(format!("{shown} has the mode {:04o}; nobody may gain rights by it", attributes.mode));
    }
    let content = Secret::new(root.read(path).map_err(|error| error.to_string())?);
    if content.reveal().is_empty() {
        return Err(format!("{shown} is empty"));
    }
    Ok(Staged { path: target, content, attributes: Attributes { extended: Vec::new(), ..attributes } })
}

fn walk(
    root: &Root,
    directory: &Path,
    depth: usize,
    found: &mut BTreeSet<PathBuf>,
    wrong: &mut Vec<String>,
) -> Result<(), PathError> {
    for name in root.names(directory)? {
        let path = directory.join(name);
        match root.status(&path)?.map(|status| status.kind) {
            Some(Kind::Directory) if depth > 0 => walk(root, &path, depth - 1, found, wrong)?,
            Some(Kind::File) => {
                found.insert(path);
            }
            _ => wrong.push(format!("{} is neither a file nor a directory", path.display())),
        }
    }
    Ok(())
}

/// Takes a directory of ours away with all that is in it; links are not followed.
///
/// # Errors
/// [`PathError`]
pub fn clear(root: &Root, directory: &Path, depth: usize) -> Result<(), PathError> {
    match root.status(directory)?.map(|status| status.kind) {
        None => return Ok(()),
        Some(Kind::Directory) => {}
        Some(_) => return root.remove(directory),
    }
    if depth == 0 {
        return Err(PathError::refused(directory, "lies too deep to be cleared away"));
    }
    for name in root.names(directory)? {
        clear(root, &directory.join(name), depth - 1)?;
    }
    root.remove_directory(directory)
}
