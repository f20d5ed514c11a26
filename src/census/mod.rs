//! What packages' scripts make that belongs to one machine: certificates, keys, secrets,
//! identifiers; and which of it no hook makes again.
//!
//! A script is read as text and never run: `shell` finds its commands, `maker` knows which of them
//! make something. What a script leaves to a program of its own is not seen, so a census is a list
//! of where to look, and not a proof.

mod maker;
mod shell;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::hook::{Catalogue, Hook, HookName};

/// Characters of a command that are kept for people.
const SHOWN: usize = 120;

/// One script of an installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The package's name, without its architecture.
    pub package: String,
    /// Which of its scripts: `postinst`, `post`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What a command makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Made {
    /// A certificate, mostly with its key.
    Certificate,
    /// A private or shared key.
    Key,
    /// A password, a cookie, random octets.
    Secret,
    /// A number or name that no other machine is to have.
    Identifier,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Secret => "secret",
            Self::Identifier => "identifier",
        })
    }
}

/// One command of a package's script that makes something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The package.
    pub package: String,
    /// Which of its scripts.
    pub script: String,
    /// The line of the script, counted from 1.
    pub line: usize,
    /// What is made.
    pub makes: Made,
    /// The command, cut short.
    pub command: String,
    /// Files that it seems to write.
    pub paths: Vec<PathBuf>,
    /// The hook that makes it again, if there is one.
    pub hook: Option<HookName>,
}

/// Looks through scripts, in the order of packages and lines. A command that several scripts of a
/// package share, in functions of their own copies, counts once.
pub fn findings(scripts: &[Script]) -> Vec<Finding> {
    let mut found: Vec<Finding> = scripts.iter().flat_map(in_script).collect();
    let rank = |finding: &Finding| !["postinst", "post"].contains(&finding.script.as_str());
    found.sort_by_cached_key(|f| (f.package.clone(), rank(f), f.script.clone(), f.line, f.makes));
    let mut seen = BTreeSet::new();
    found.retain(|finding| seen.insert((finding.package.clone(), finding.command.clone())));
    found
}

fn in_script(script: &Script) -> Vec<Finding> {
    let commands = shell::commands(&script.text);
    commands
        .iter()
        .filter_map(|command| {
            let makes = maker::makes(command)?;
            let own = maker::writes(command);
            // The file may be named elsewhere in the statement: `echo "key=$(…)" >FILE`, `… | tee FILE`.
            let beside = || {
                let others = commands.iter().filter(|other| other.statement == command.statement);
                others.flat_map(maker::writes).collect()
            };
            let paths: BTreeSet<PathBuf> = if own.is_empty() { beside() } else { own.into_iter().collect() };
            Some(Finding {
                package: script.package.clone(),
                script: script.name.clone(),
                line: command.line,
                makes,
                command: shown(&command.words.join(" ")),
                paths: paths.into_iter().collect(),
                hook: None,
            })
        })
        .collect()
}

/// Fit for a terminal, whatever a package's author wrote.
fn shown(command: &str) -> String {
    let plain = command.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let plain = plain.collect::<Vec<_>>().join(" ");
    match plain.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", plain.get(..end).unwrap_or_default()),
        None => plain,
    }
}

/// Names the hook of each finding: one that makes a file that the command writes, or one that is for
/// the package: by its name, by the packages it applies to, by a file of the package's that it
/// applies to. `files` are those of the packages that have findings.
pub fn attribute(findings: &mut [Finding], hooks: &Catalogue, files: &BTreeMap<String, BTreeSet<PathBuf>>) {
    let none = BTreeSet::new();
    for finding in findings {
        let owned = files.get(&finding.package).unwrap_or(&none);
        let by_path = hooks.iter().find(|hook| finding.paths.iter().any(|path| makes(hook, path)));
        let by_package = || hooks.iter().find(|hook| is_for(hook, &finding.package, owned));
        finding.hook = by_path.or_else(by_package).map(|hook| hook.name.clone());
    }
}

fn makes(hook: &Hook, path: &Path) -> bool {
    let files =
        hook.certificates.iter().flat_map(|certificate| certificate.files.iter().chain(&certificate.copies));
    let certificates = files.into_iter().map(|file| &file.path);
    let keys = hook.host_keys.iter().map(|key| &key.place.path);
    let secrets = hook.secrets.iter().map(|secret| &secret.place.path);
    certificates.chain(keys).chain(secrets).any(|made| made == path)
}

fn is_for(hook: &Hook, package: &str, owned: &BTreeSet<PathBuf>) -> bool {
    hook.name.as_str() == package
        || hook.applies.packages.iter().any(|wanted| wanted == package)
        || hook.applies.files.iter().any(|file| owned.contains(file))
}

#[cfg(test)]
mod tests;
