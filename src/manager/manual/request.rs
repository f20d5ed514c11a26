//! `csr`: the request that is carried to whoever signs, and which requests wait for an answer.

use std::path::PathBuf;

use serde::Serialize;
use time::OffsetDateTime;

use super::super::config::{AlternativeName, Configuration, Service, Signing, Subject};
use super::super::issue::encode;
use super::super::lineage::{Files, Link, Version, VersionName, version};
use super::super::name::ServiceName;
use super::super::run::{ManagerError, Run, World};
use super::super::select::select;
use super::super::tree::Tree;
use crate::pki::key::PrivateKey;
use crate::pki::x509::{self, X509Error};
use crate::pki::{Digest, bundle, encrypted};
use crate::system::root::PathError;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// For which service, in words.
    pub service: String,
    /// Use the key of `curr` again.
    pub reuse_key: bool,
    /// Make a new one, whatever waits.
    pub force: bool,
}

/// A request, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whose.
    pub service: ServiceName,
    /// Its file, inside the root.
    pub path: PathBuf,
    /// The request in PEM.
    pub text: Vec<u8>,
    /// When it was made.
    pub made: Option<OffsetDateTime>,
    /// It waited already.
    pub waited: bool,
    /// Files of other requests of this service that wait, too.
    pub others: Vec<PathBuf>,
}

/// A request that waits for an answer.
#[derive(Debug)]
pub struct Waiting {
    /// The name of its directory.
    pub version: VersionName,
    /// The request's file, inside the root.
    pub path: PathBuf,
    /// When it was made.
    pub made: Option<OffsetDateTime>,
    pub(super) text: Vec<u8>,
    der: Vec<u8>,
    pub(super) key: PrivateKey,
}

/// A request that waits for an answer, for people and as JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    /// The request's file.
    pub path: PathBuf,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339::option")]
    pub made: Option<OffsetDateTime>,
}

impl Waiting {
    /// Its key.
    pub fn into_key(self) -> PrivateKey {
        self.key
    }

    /// Its key, to look at.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The request in PEM.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The request in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

impl From<Waiting> for Told {
    fn from(waiting: Waiting) -> Self {
        Self { path: waiting.path, made: waiting.made }
    }
}

/// Makes a request, or finds the one that waits already.
///
/// # Errors
/// [`ManagerError`]; nothing was made then that counts.
pub fn csr(world: World<'_>, request: &Request) -> Result<Shown, ManagerError> {
    let run = Run::begin(world)?;
    let name = one(&run, &request.service)?;
    let service = run.service(&name).map_err(ManagerError::Usage)?;
    by_hand(&run, service)?;
    // What interrupted runs left is put right before anything is taken from it.
    if let Some(error) = run.lineages(std::slice::from_ref(&name), false).failed.remove(&name) {
        return Err(ManagerError::Failed(format!("{name}: {error}")));
    }
    let curr = run.tree.linked_version(&name, Link::Curr)?;
    let reused = if request.reuse_key { Some(key_of_curr(&run, &name, curr.as_ref())?) } else { None };
    let served = curr.and_then(|curr| curr.certificate).map(|certificate| certificate.public_digest);
    let mut waiting = waiting(&run.tree, &name)?;
    let found = fitting(&run, service, &waiting, reused.as_ref(), served.as_ref()).filter(|_| !request.force);
    let (one, waited) = match found {
        Some(at) => (waiting.remove(at), true),
        None => (make(&run, service, reused)?, false),
    };
    Ok(Shown {
        service: name,
        path: one.path,
        text: one.text,
        made: one.made,
        waited,
        others: waiting.into_iter().map(|other| other.path).collect(),
    })
}

/// The newest of the requests that wait that is still what would be asked for: for the key that is to be used
/// again, or for one that is not served yet.
pub fn fitting(
    run: &Run<'_>,
    service: &Service,
    waiting: &[Waiting],
    reused: Option<&PrivateKey>,
    served: Option<&[u8; 32]>,
) -> Option<usize> {
    waiting.iter().rposition(|waiting| {
        let digest = waiting.key.public_digest();
        let key = match reused {
            Some(key) => key.public_digest() == digest,
            None => waiting.key.algorithm() == service.algorithm && served != Some(&digest),
        };
        key && asks_for(&run.config, waiting, service)
    })
}

/// The one service that a word means.
pub(super) fn one(run: &Run<'_>, word: &str) -> Result<ServiceName, ManagerError> {
    let names = select(&run.config, &[word.to_owned()]).map_err(ManagerError::Usage)?;
    match names.as_slice() {
        [name] if word.contains(['/', ':']) => Ok(name.clone()),
        _ => Err(ManagerError::Usage(format!("\"{word}\" is not one service; write GROUP/SERVICE"))),
    }
}

pub(super) fn by_hand(run: &Run<'_>, service: &Service) -> Result<(), ManagerError> {
    let name = &service.name;
    let by = match run.config.signing(service) {
        Some(Signing::Manual(_)) => return Ok(()),
        Some(Signing::Itself(_)) => "itself".to_owned(),
        Some(Signing::Own(by, _)) => by.name.to_string(),
        Some(Signing::Acme(by, _)) => by.to_owned(),
        None => "nobody who is configured".to_owned(),
    };
    Err(ManagerError::Usage(format!(
        "{name} is signed by {by} and not by hand: `reseed manager renew {name}` makes its certificate; for one \
         that is bought, its signing_ca is a table of ca-info.conf with ca_type = \"manual\""
    )))
}

/// The key of what is served.
///
/// # Errors
/// [`ManagerError`] when there is none.
pub fn key_of_curr(
    run: &Run<'_>,
    name: &ServiceName,
    curr: Option<&Version>,
) -> Result<PrivateKey, ManagerError> {
    let key = curr.and_then(|curr| curr.files.key.as_ref()).ok_or_else(|| {
        ManagerError::Usage(format!(
            "{name} has no curr whose key could be used again; leave --reuse-key out"
        ))
    })?;
    let opened = run.tree.keyring().open(key.reveal());
    opened.map_err(|error| ManagerError::Failed(format!("{name}: the key of curr: {error}")))
}

/// Says whether a request names what the configuration names now.
fn asks_for(config: &Configuration, waiting: &Waiting, service: &Service) -> bool {
    let asked = x509::read_request(&waiting.der);
    let wanted = sign(config, service, &waiting.key).and_then(|der| x509::read_request(&der));
    matches!((asked, wanted), (Ok(asked), Ok(wanted)) if asked == wanted)
}

/// The request of a service for a key.
pub(super) fn sign(
    config: &Configuration,
    service: &Service,
    key: &PrivateKey,
) -> Result<Vec<u8>, X509Error> {
    // An authority has a name for people, none that anybody connects to.
    let names = if service.name.is_ca() { &[] } else { service.alternative_names.as_slice() };
    if config.acme(service).is_empty() {
        return x509::request(&service.subject, names, key, Digest::default());
    }
    // A public CA writes nothing but names that it has validated, and some refuse a request that says more.
    let is_host = AlternativeName::Dns(service.subject.common_name.clone());
    let common_name = names.contains(&is_host).then(|| service.subject.common_name.clone());
    let subject = Subject { common_name: common_name.unwrap_or_default(), ..Subject::default() };
    x509::request(&subject, names, key, Digest::default())
}

/// Makes a request, and the key for it unless there is one, in a version to which nothing leads.
///
/// # Errors
/// [`ManagerError`]; nothing was made then that counts.
pub fn make(run: &Run<'_>, service: &Service, reused: Option<PrivateKey>) -> Result<Waiting, ManagerError> {
    let name = &service.name;
    let failed = |error: String| ManagerError::Failed(format!("{name}: {error}"));
    let key = match reused {
        Some(key) => key,
        None => PrivateKey::generate(service.algorithm).map_err(|error| failed(error.to_string()))?,
    };
    let der = sign(&run.config, service, &key).map_err(|error| failed(error.to_string()))?;
    let text = encode("CERTIFICATE REQUEST", der.clone());
    let files = Files {
        key: Some(run.tree.keyring().keep(name, &key).map_err(failed)?),
        request: Some(text.clone()),
        issue: Some(version::issue_text(run.world.now).into_bytes()),
        ..Files::default()
    };
    let version = run.tree.newest(name, run.world.now)?;
    run.tree.draft(&run.lock, name, &version, &files)?;
    // Somebody pays for what is signed for this key: it is on stable storage before the request is shown.
    run.tree.keep(&run.lock, name, &version)?;
    let path = run.tree.directory(name, &version).join(version::REQUEST);
    Ok(Waiting { version, path, made: Some(run.world.now), text, der, key })
}

/// The requests that wait for an answer, oldest first: made after what is `curr` or `next`, and whole.
///
/// # Errors
/// [`PathError`]
pub fn waiting(tree: &Tree<'_>, name: &ServiceName) -> Result<Vec<Waiting>, PathError> {
    let linked = tree.linked_versions(name)?;
    // One that somebody named by hand has no place in the order.
    let last = linked.iter().filter(|version| version.moment().is_some()).max();
    let mut found = Vec::new();
    for version in tree.versions(name)? {
        if last.is_none_or(|last| version > *last) && !linked.contains(&version) {
            found.extend(unanswered(tree, name, version)?);
        }
    }
    Ok(found)
}

/// A version as a request, when it has no certificate and its request is of its key.
pub(super) fn unanswered(
    tree: &Tree<'_>,
    name: &ServiceName,
    version: VersionName,
) -> Result<Option<Waiting>, PathError> {
    let path = tree.directory(name, &version).join(version::REQUEST);
    let Some(text) = tree.file(name, &version, version::REQUEST)? else { return Ok(None) };
    if tree.root().status(&path.with_file_name(version::CERTIFICATE))?.is_some() {
        return Ok(None);
    }
    let Some(key) = tree.file(name, &version, version::KEY)?.map(crate::pki::key::Secret::new) else {
        return Ok(None);
    };
    let der = bundle::read(&text).requests.into_iter().next();
    let key = match tree.keyring().open(key.reveal()) {
        Ok(key) => Some(key),
        // It is not known whether somebody pays for it.
        Err(error) if encrypted::is_encrypted(key.reveal()) => {
            return Err(PathError::refused(&path.with_file_name(version::KEY), error));
        }
        Err(_) => None,
    };
    let (Some(der), Some(key)) = (der, key) else { return Ok(None) };
    let is_whole = x509::read_request(&der).is_ok_and(|read| read.public_digest == key.public_digest());
    let made = tree.file(name, &version, version::ISSUE)?;
    let made = made.as_deref().and_then(version::recorded).or_else(|| version.moment());
    Ok(is_whole.then_some(Waiting { version, path, made, text, der, key }))
}
