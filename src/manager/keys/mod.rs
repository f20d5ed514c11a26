//! `keys encrypt`, `keys decrypt`, `keys status`: the keys of the site's own authorities under a passphrase, or in
//! clear.
//!
//! ```text
//! lock, recover → look at every version of every authority → write all anew in one transaction
//! ```
//!
//! After a power cut at any moment either all of them are under the passphrase or none is. Keys of services are
//! left alone: whoever serves them needs them in clear.

mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use self::rewrite::rewritten;
use super::keyring::{ADVICE, Keyring};
use super::name::ServiceName;
use super::run::{self, ManagerError, Run, World};
use super::tree::Tree;
use crate::pki::encrypted::{self, EncryptedError, Passphrase};
use crate::pki::key::{PrivateKey, Secret};
use crate::pki::{Container, armor};
use crate::transaction::Change;

/// How keys are to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Under the passphrase.
    Encrypted,
    /// In clear.
    Clear,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'p> {
    /// How all keys shall be kept.
    pub form: Form,
    /// What opens those that the configured passphrase does not open.
    pub old: Option<&'p Passphrase>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Switched {
    /// How all keys are kept now, or would be.
    pub form: Form,
    /// Authorities with a key that was written anew.
    pub services: BTreeSet<ServiceName>,
    /// Files that were written anew.
    pub files: Vec<PathBuf>,
    /// Files that were so already.
    pub already: usize,
    /// Nothing was done.
    pub dry_run: bool,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// Writes the keys of all authorities anew: all of them, or none.
///
/// # Errors
/// [`ManagerError`]; everything is as it was then.
pub fn switch(world: World<'_>, request: &Request<'_>) -> Result<Switched, ManagerError> {
    let Request { form, old, dry_run } = *request;
    let run = if dry_run { Run::watch(world)? } else { Run::begin(world)? };
    let keyring = run.tree.keyring();
    let passphrase = keyring.passphrase().map_err(ManagerError::Failed)?;
    if form == Form::Encrypted && passphrase.is_none() {
        let message = format!("there is no passphrase; {ADVICE}, since whoever renews has to know it");
        return Err(ManagerError::Usage(message));
    }
    let opener = Opener { keyring, old };
    let mut done = Switched {
        form,
        services: BTreeSet::new(),
        files: Vec::new(),
        already: 0,
        dry_run,
        notes: run.repaired().map(str::to_owned).into_iter().collect(),
    };
    let mut changes = Vec::new();
    for file in files(&run.tree)? {
        // One key has one text in all files of a version: the bundle has to begin as the key's file does.
        let mut texts: Vec<([u8; 32], Secret)> = Vec::new();
        for (path, content) in file.contents {
            let is_so = |block: &armor::Block, key: Opened| match form {
                Form::Clear => !block.encrypted,
                Form::Encrypted => block.encrypted && key == Opened::ByConfigured,
            };
            let written = rewritten(content.reveal(), |text, block| {
                let (key, by) = opener.open(text).map_err(|error| format!("{}: {error}", path.display()))?;
                if is_so(block, by) {
                    return Ok(None);
                }
                let digest = key.public_digest();
                if let Some((_, text)) = texts.iter().find(|(known, _)| *known == digest) {
                    return Ok(Some(text.clone()));
                }
                let text =
                    kept(&key, form, passphrase).map_err(|error| format!("{}: {error}", path.display()))?;
                texts.push((digest, text.clone()));
                Ok(Some(text))
            });
            match written.map_err(ManagerError::Failed)? {
                None => done.already += 1,
                Some(content) => {
                    let attributes = run.world.root.attributes(&path)?;
                    changes.push(Change::File { path: path.clone(), content, attributes, exact: false });
                    done.services.insert(file.service.clone());
                    done.files.push(path);
                }
            }
        }
    }
    if form == Form::Clear && keyring.file().is_some() {
        done.notes.push(
            "[keys] passphrase_file still stands in ssl-mgr.conf: keys that are made from now on are put under it"
                .to_owned(),
        );
    }
    if !dry_run && !changes.is_empty() {
        run.tree.replace(&run.lock, &changes)?;
    }
    Ok(done)
}

fn kept(key: &PrivateKey, form: Form, passphrase: Option<&Passphrase>) -> Result<Secret, EncryptedError> {
    match (form, passphrase) {
        (Form::Encrypted, Some(passphrase)) => encrypted::encrypt(key, passphrase),
        (Form::Encrypted, None) => Err(EncryptedError::NoPassphrase),
        (Form::Clear, _) => Ok(key.to_pem(Container::Pkcs8)?),
    }
}

/// What opened a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// Nothing was needed, or the passphrase that is configured.
    ByConfigured,
    /// The old one.
    ByOld,
}

/// The passphrase that is configured, and an older one.
pub(super) struct Opener<'o, 'a> {
    pub(super) keyring: &'o Keyring<'a>,
    pub(super) old: Option<&'o Passphrase>,
}

impl Opener<'_, '_> {
    /// Opens a key by whichever fits.
    pub(super) fn open(&self, text: &[u8]) -> Result<(PrivateKey, Opened), String> {
        match (self.keyring.open(text), self.old) {
            (Ok(key), _) => Ok((key, Opened::ByConfigured)),
            (Err(_), Some(old)) if encrypted::is_encrypted(text) => match encrypted::decrypt(text, Some(old))
            {
                Ok(key) => Ok((key, Opened::ByOld)),
                Err(EncryptedError::WrongPassphrase) => {
                    Err("no passphrase that was given is that of the key, or the key is damaged".to_owned())
                }
                Err(error) => Err(error.to_string()),
            },
            (Err(error), _) => Err(error),
        }
    }
}

/// What of one version has private keys in it.
struct Kept {
    service: ServiceName,
    contents: Vec<(PathBuf, Secret)>,
}

/// Every file with a private key in every version of every authority, linked or not: also old keys sign what people
/// still trust.
fn files(tree: &Tree<'_>) -> Result<Vec<Kept>, ManagerError> {
    let mut found = Vec::new();
    for service in tree.services()?.into_iter().filter(ServiceName::is_ca) {
        for version in tree.versions(&service)? {
            let directory = tree.directory(&service, &version);
            let mut contents = Vec::new();
            for name in tree.root().names(&directory)? {
                let path = directory.join(name);
                let content = Secret::new(tree.root().read(&path)?);
                if armor::blocks(content.reveal()).iter().any(|block| block.label.ends_with(LABEL)) {
                    contents.push((path, content));
                }
            }
            found.push(Kept { service: service.clone(), contents });
        }
    }
    Ok(found)
}

/// What the label of every private key ends with.
const LABEL: &str = "PRIVATE KEY";

/// How the keys of all authorities are kept.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The file of the passphrase, where one is configured.
    pub passphrase_file: Option<PathBuf>,
    /// Files with a key.
    pub files: Vec<File>,
    /// What is wrong with the passphrase itself.
    pub problem: Option<String>,
}

/// A file with a key.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct File {
    /// Whose.
    pub service: ServiceName,
    /// Where, inside the root.
    pub path: PathBuf,
    /// How its key is kept.
    pub form: Form,
    /// Why it cannot be opened.
    pub problem: Option<String>,
}

impl Status {
    /// Says whether all keys are kept as is configured, and can be opened.
    pub fn is_good(&self) -> bool {
        let wanted = if self.passphrase_file.is_some() { Form::Encrypted } else { Form::Clear };
        let good = |file: &File| file.form == wanted && file.problem.is_none();
        self.problem.is_none() && self.files.iter().all(good)
    }
}

/// Looks how keys are kept. Changes nothing, and needs no lock.
///
/// # Errors
/// [`ManagerError`]
pub fn status(world: &World<'_>) -> Result<Status, ManagerError> {
    let config = run::configuration(world)?;
    let tree = run::tree(world, &config, &world.top);
    let problem = tree.keyring().passphrase().err();
    let mut found = Vec::new();
    for kept in files(&tree)? {
        for (path, content) in kept.contents {
            let is_encrypted = encrypted::is_encrypted(content.reveal());
            // What is wrong with the passphrase is said once.
            let opened = (problem.is_none() || !is_encrypted).then(|| tree.keyring().open(content.reveal()));
            found.push(File {
                service: kept.service.clone(),
                path,
                form: if is_encrypted { Form::Encrypted } else { Form::Clear },
                problem: opened.and_then(Result::err),
            });
        }
    }
    Ok(Status { passphrase_file: config.site.passphrase_file, files: found, problem })
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypted => "under the passphrase",
            Self::Clear => "in clear",
        })
    }
}

impl fmt::Display for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { form, files, already, dry_run, .. } = self;
        let verb = if *dry_run { "would be put" } else { "is" };
        for path in files {
            writeln!(f, "{}: {verb} {form}", path.display())?;
        }
        match (files.len(), already) {
            (0, 0) => writeln!(f, "there is no authority with a key"),
            (0, _) => writeln!(f, "all {already} files with keys of authorities are {form} already"),
            (_, 0) => Ok(()),
            _ => writeln!(f, "{already} more were {form} already"),
        }?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.passphrase_file {
            Some(file) => {
                writeln!(f, "new keys of authorities are put under the passphrase in {}", file.display())
            }
            None => writeln!(f, "new keys of authorities are kept in clear; {ADVICE} to have them encrypted"),
        }?;
        if let Some(problem) = &self.problem {
            writeln!(f, "{problem}")?;
        }
        for File { path, form, problem, .. } in &self.files {
            match problem {
                Some(problem) => writeln!(f, "{}: {form}, and cannot be opened: {problem}", path.display()),
                None => writeln!(f, "{}: {form}", path.display()),
            }?;
        }
        Ok(())
    }
}
