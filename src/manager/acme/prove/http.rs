//! http-01 by web servers that run anyway: a file for each token beneath `server_dir`, on each host of `[web]`.
//!
//! ```text
//! SERVER_DIR/GROUP/.well-known/acme-challenge/TOKEN      0644, directories 0755
//! ```
//!
//! `server_dir` itself has to be there; what is missing below it is made, and taken away again with the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Shell;
use super::placed::{Place, Placed};
use crate::manager::acme::Proof;
use crate::manager::config::Servers;
use crate::manager::deliver::is_here;
use crate::system::root::{Kind, PathError, Root};
use crate::transaction::{own_attributes, replace};

/// What runs on other hosts.
const SCRIPT: &str = include_str!("tokens.sh");
/// Longest token; those of authorities have 43 characters.
const TOKEN: usize = 128;

/// The files on web servers.
pub struct Files<'a> {
    /// This machine's files.
    pub root: &'a Root,
    /// This machine's name.
    pub own: &'a str,
    /// What has been put where.
    pub record: PathBuf,
    /// Runs a script elsewhere.
    pub shell: &'a Shell<'a>,
    /// Held while the record is changed.
    pub lock: Mutex<()>,
}

impl Files<'_> {
    /// Puts the proofs, each with its number, on all hosts of a table; says of each whether it is there.
    pub fn place(
        &self,
        servers: &Servers,
        web_root: &Path,
        proofs: &[(usize, &Proof)],
    ) -> Vec<(usize, Result<(), String>)> {
        let mut done = Vec::new();
        let mut wanted = Wanted::default();
        for (number, proof) in proofs {
            match path(web_root, proof) {
                Ok(path) => {
                    wanted.add(web_root, &path, &proof.key_authorization);
                    done.push((*number, Ok(())));
                }
                Err(error) => done.push((*number, Err(error))),
            }
        }
        let hosts = self.hosts(servers);
        let failed = self.bring(&hosts, web_root, &wanted);
        if !failed.is_empty() {
            let failed = failed.join("; ");
            done.iter_mut().filter(|(_, result)| result.is_ok()).for_each(|(_, result)| {
                *result = Err(failed.clone());
            });
        }
        done
    }

    /// Takes away what was put anywhere for tokens that are meant; says in words what could not be. That stays
    /// written down.
    pub fn withdraw(&self, is_meant: &(dyn Fn(&str) -> bool + Sync)) -> Vec<String> {
        let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut placed = match self.placed() {
            Ok(placed) if placed.is_empty() => return Vec::new(),
            Ok(placed) => placed,
            Err(error) => return vec![error],
        };
        let on_host = |host: &String| {
            let files = placed.tokens(host, is_meant);
            let directories = placed.directories(host, &files);
            if files.is_empty() && directories.is_empty() {
                return Ok(Vec::new());
            }
            let verbs = files.iter().map(|file| Verb::Remove(file));
            let verbs: Vec<_> = verbs.chain(directories.iter().map(|path| Verb::Clear(path))).collect();
            self.carry_out(host, &verbs).map(|_| [files.as_slice(), &directories].concat())
        };
        let mut failed = Vec::new();
        let mut is_changed = false;
        for (host, gone) in side_by_side(&placed.hosts(), on_host) {
            match gone {
                Ok(gone) => {
                    is_changed |= !gone.is_empty();
                    placed.forget(&host, &gone);
                }
                Err(error) => failed.push(format!("{host}: what was put there for an authority: {error}")),
            }
        }
        if is_changed {
            failed.extend(self.remember(&placed).err());
        }
        failed
    }

    /// The hosts of a table; where there is none, this one.
    fn hosts(&self, servers: &Servers) -> BTreeSet<String> {
        let hosts: BTreeSet<String> = servers.hosts.iter().cloned().collect();
        if hosts.is_empty() { BTreeSet::from([self.own.to_owned()]) } else { hosts }
    }

    /// Looks what is missing, writes down what will be there, and puts it there; says where that failed.
    fn bring(&self, hosts: &BTreeSet<String>, web_root: &Path, wanted: &Wanted) -> Vec<String> {
        if wanted.files.is_empty() {
            return Vec::new();
        }
        let mut failed = Vec::new();
        let mut words = |host: &str, error: String| failed.push(format!("{host}: {error}"));
        let look = |host: &String| {
            let look = wanted.directories.iter().map(|path| Verb::Look(path));
            self.carry_out(host, &std::iter::once(Verb::Need(web_root)).chain(look).collect::<Vec<_>>())
        };
        let mut missing = BTreeMap::new();
        for (host, looked) in side_by_side(hosts, look) {
            match looked {
                Ok(found) => drop(missing.insert(host, found)),
                Err(error) => words(&host, error),
            }
        }
        if let Err(error) = self.expect(&missing, wanted) {
            return vec![error];
        }
        let bring = |host: &String| {
            let make = missing.get(host).into_iter().flatten().map(|path| Verb::Make(path));
            let write = wanted.files.iter().map(|(path, content)| Verb::Write(path, content));
            self.carry_out(host, &make.chain(write).collect::<Vec<_>>())
        };
        for (host, brought) in side_by_side(&missing.keys().cloned().collect(), bring) {
            if let Err(error) = brought {
                words(&host, error);
            }
        }
        failed
    }

    /// Writes down what will be on which host.
    fn expect(&self, missing: &BTreeMap<String, Vec<PathBuf>>, wanted: &Wanted) -> Result<(), String> {
        let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut placed = self.placed()?;
        for (host, directories) in missing {
            let on_host = |path: &PathBuf| Place { host: host.clone(), path: path.clone() };
            placed.token.extend(wanted.files.keys().map(on_host));
            placed.directory.extend(directories.iter().map(on_host));
        }
        self.remember(&placed)
    }

    fn placed(&self) -> Result<Placed, String> {
        let text = self.root.text(&self.record).map_err(|error| error.to_string())?;
        let placed = text.map(|text| Placed::parse(&self.record, &text)).transpose();
        placed.map(Option::unwrap_or_default).map_err(|fault| fault.to_string())
    }

    fn remember(&self, placed: &Placed) -> Result<(), String> {
        let written = if placed.is_empty() {
            self.root.remove(&self.record)
        } else {
            replace(self.root, &self.record, placed.to_text()?.as_bytes(), 0o600)
        };
        written.map_err(|error| error.to_string())
    }

    /// Does things on a host, one after the other; returns the directories that were looked for in vain.
    fn carry_out(&self, host: &str, verbs: &[Verb<'_>]) -> Result<Vec<PathBuf>, String> {
        if is_here(host, self.own) {
            return self.here(verbs).map_err(|error| error.to_string());
        }
        let input: Result<Vec<String>, String> = verbs.iter().map(Verb::line).collect();
        let said = (self.shell)(host, SCRIPT, input?.concat().as_bytes())?;
        // Whatever else the host says, such as its banner, is no directory that was looked for.
        let looked =
            verbs.iter().filter_map(|verb| if let Verb::Look(path) = verb { Some(*path) } else { None });
        Ok(looked
            .filter(|path| said.lines().any(|line| Path::new(line) == *path))
            .map(PathBuf::from)
            .collect())
    }

    fn here(&self, verbs: &[Verb<'_>]) -> Result<Vec<PathBuf>, PathError> {
        let mut missing = Vec::new();
        for verb in verbs {
            match verb {
                Verb::Need(path) if !self.is_directory(path)? => {
                    return Err(PathError::refused(path, "there is no such directory"));
                }
                Verb::Look(path) if !self.is_directory(path)? => missing.push(path.to_path_buf()),
                Verb::Need(_) | Verb::Look(_) => {}
                Verb::Make(path) => self.root.draft_directory(path, 0o755).map(drop)?,
                Verb::Write(path, content) => {
                    let path = self
                        .root
                        .resolve(path.parent().unwrap_or(path))?
                        .join(path.file_name().unwrap_or_default());
                    self.root.remove(&path)?;
                    self.root.draft(&path, content.as_bytes(), &own_attributes(0o644))?;
                }
                Verb::Remove(path) | Verb::Clear(path) => {
                    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
                    let path = self.root.resolve(parent)?.join(name);
                    match verb {
                        Verb::Remove(_) => self.root.remove(&path)?,
                        // What somebody else has put there keeps it.
                        _ if self.root.names(&path).is_ok_and(|names| !names.is_empty()) => {}
                        _ => self.root.remove_directory(&path)?,
                    }
                }
            }
        }
        Ok(missing)
    }

    fn is_directory(&self, path: &Path) -> Result<bool, PathError> {
        let status = self.root.status(&self.root.resolve(path)?)?;
        Ok(status.is_some_and(|status| status.kind == Kind::Directory))
    }
}

/// Where the file of a proof belongs.
///
/// # Errors
/// In words: a wildcard is proven otherwise, and what is no token becomes no path.
pub fn path(web_root: &Path, proof: &Proof) -> Result<PathBuf, String> {
    if proof.identifier.is_wildcard() {
        return Err(format!("{} is a wildcard: only dns-01 proves it", proof.identifier));
    }
    Ok(directories(web_root, proof.service.group()).pop().unwrap_or_default().join(token(proof)?))
}

/// RFC 8555 section 8.3: base64url, no padding. The authority made it up.
///
/// # Errors
/// In words.
pub fn token(proof: &Proof) -> Result<&str, String> {
    let is_base64url =
        |text: &str| text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet));
    let token = proof.token.as_str();
    // The other half stands in a line of its own.
    let is_one_line = !proof.key_authorization.contains(['\n', '\r', '\0']);
    if !token.is_empty() && token.len() <= TOKEN && is_base64url(token) && is_one_line {
        return Ok(token);
    }
    let short: String = token.chars().take(TOKEN).collect();
    Err(format!(
        "the authority's token \"{}\" is not base64url, and no file is named so",
        short.escape_debug()
    ))
}

/// The directories of a group below `server_dir`, from above.
fn directories(web_root: &Path, group: &str) -> Vec<PathBuf> {
    let group = web_root.join(group);
    let well_known = group.join(".well-known");
    let challenge = well_known.join("acme-challenge");
    vec![group, well_known, challenge]
}

/// What is to be on each host.
#[derive(Debug, Default)]
struct Wanted {
    /// Every directory below `server_dir`; those above come first.
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, String>,
}

impl Wanted {
    fn add(&mut self, web_root: &Path, path: &Path, content: &str) {
        let above = path.ancestors().skip(1).take_while(|directory| *directory != web_root);
        self.directories.extend(above.map(Path::to_path_buf));
        self.files.insert(path.to_owned(), content.to_owned());
    }
}

/// One thing to do on a host.
#[derive(Debug)]
enum Verb<'a> {
    /// Fails unless the directory is there.
    Need(&'a Path),
    /// Says when the directory is missing.
    Look(&'a Path),
    /// Makes the directory.
    Make(&'a Path),
    /// Makes the file anew.
    Write(&'a Path, &'a str),
    /// Removes the file.
    Remove(&'a Path),
    /// Removes the directory if nothing is in it.
    Clear(&'a Path),
}

impl Verb<'_> {
    /// As the script reads it.
    fn line(&self) -> Result<String, String> {
        let (verb, path) = match self {
            Self::Need(path) => ("need", path),
            Self::Look(path) => ("look", path),
            Self::Make(path) => ("make", path),
            Self::Write(path, _) => ("write", path),
            Self::Remove(path) => ("remove", path),
            Self::Clear(path) => ("clear", path),
        };
        let path = path.to_str().filter(|path| path.starts_with('/') && !path.contains(['\n', '\0']));
        let path = path.ok_or("server_dir is no path that can be said to another host")?;
        Ok(match self {
            Self::Write(_, content) => format!("{verb} {path}\n{content}\n"),
            _ => format!("{verb} {path}\n"),
        })
    }
}

/// Does something on all hosts at the same time.
fn side_by_side<T: Send>(
    hosts: &BTreeSet<String>,
    act: impl Fn(&String) -> Result<T, String> + Sync,
) -> Vec<(String, Result<T, String>)> {
    let act = &act;
    std::thread::scope(|scope| {
        let threads: Vec<_> = hosts.iter().map(|host| (host, scope.spawn(move || act(host)))).collect();
        let join = |(host, thread): (&String, std::thread::ScopedJoinHandle<'_, _>)| {
            let ended = thread.join().unwrap_or_else(|_| Err("it could not be asked".to_owned()));
            (host.clone(), ended)
        };
        threads.into_iter().map(join).collect()
    })
}
