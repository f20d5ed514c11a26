//! What our authorities sign with, each made ready once a run, and the serials that they use next.

use std::collections::BTreeMap;

use super::register::{ISSUED, Issued};
use crate::manager::lineage::{Files, Lineage};
use crate::manager::name::ServiceName;
use crate::manager::tree::Tree;
use crate::pki::container;
use crate::pki::key::PrivateKey;
use crate::pki::serial::Serial;

/// The authorities that were asked for.
#[derive(Debug)]
pub struct Authorities<'t> {
    tree: &'t Tree<'t>,
    known: BTreeMap<ServiceName, Authority>,
    /// What was made in this run of authorities; nothing leads to it yet.
    fresh: BTreeMap<ServiceName, Files>,
}

/// What an authority signs with.
#[derive(Debug)]
pub struct Authority {
    /// Its key.
    pub key: PrivateKey,
    /// Its certificate in DER.
    pub certificate: Vec<u8>,
    /// The chain of what it signs in PEM: its own full chain.
    pub chain: Vec<u8>,
    /// The highest serial that it has used.
    highest: Option<Serial>,
}

impl<'t> Authorities<'t> {
    /// None yet.
    pub fn new(tree: &'t Tree<'t>) -> Self {
        Self { tree, known: BTreeMap::new(), fresh: BTreeMap::new() }
    }

    /// One that has been made ready.
    pub fn get(&self, by: &ServiceName) -> Option<&Authority> {
        self.known.get(by)
    }

    /// Keeps what was made for an authority in this run.
    pub fn remember(&mut self, by: &ServiceName, files: Files) {
        self.fresh.insert(by.clone(), files);
    }

    /// The next serial of an authority, which is made ready for signing: above all that it has used, and above
    /// the one that is replaced.
    ///
    /// # Errors
    /// In words, when it cannot sign.
    pub fn next_serial(&mut self, by: &ServiceName, replaced: Option<Serial>) -> Result<Serial, String> {
        if !self.known.contains_key(by) {
            let authority = self.ready(by)?;
            self.known.insert(by.clone(), authority);
        }
        let authority = self.known.get_mut(by).ok_or("it is not there")?;
        let serial = Serial::next(authority.highest, replaced, random()?);
        authority.highest = authority.highest.max(Some(serial));
        Ok(serial)
    }

    /// What it signs with: `curr`; where it has none yet, what will be its first, and of several the one that
    /// was made last.
    fn ready(&self, by: &ServiceName) -> Result<Authority, String> {
        let path = self.tree.service(by).join(ISSUED);
        // Serials only go up, so the highest is among the last.
        let text = self.tree.root().tail(&path, 1 << 16).map_err(|error| error.to_string())?;
        let issued = Issued::parse(&path, &text.unwrap_or_default()).map_err(|error| error.to_string())?;
        let highest = issued.iter().map(|one| one.serial).max();
        let lineage = self.tree.lineage(by).map_err(|error| error.to_string())?;
        let fresh = self.fresh.get(by).filter(|_| lineage.curr.is_none()).cloned();
        let files = match fresh {
            Some(files) => Some(files),
            None => signing(by, lineage)?,
        };
        let files = files
            .ok_or_else(|| format!("{by} has no certificate yet; `reseed manager renew {by}` makes it"))?;
        let (Some(key), Some(certificate), Some(chain)) = (files.key, files.certificate, files.full_chain)
        else {
            return Err(format!("{by} is not complete"));
        };
        let key =
            self.tree.keyring().open(key.reveal()).map_err(|error| format!("the key of {by}: {error}"))?;
        let der = container::read(&certificate).certificates.into_iter().next();
        let certificate = der.ok_or_else(|| format!("{by} has no certificate"))?;
        Ok(Authority { key, certificate, chain, highest })
    }
}

/// The files of the version that an authority signs with: `curr`, or the `next` that will be its first.
///
/// # Errors
/// In words, when they cannot be read.
pub fn files(tree: &Tree<'_>, by: &ServiceName) -> Result<Option<Files>, String> {
    signing(by, tree.lineage(by).map_err(|error| error.to_string())?)
}

fn signing(by: &ServiceName, lineage: Lineage) -> Result<Option<Files>, String> {
    let version = match (&lineage.curr, &lineage.next) {
        (Some(curr), _) if curr.is_sound() => lineage.curr,
        (Some(curr), _) => return Err(format!("{by} is broken: {}", curr.problems.join("; "))),
        (None, Some(next)) if next.is_sound() => lineage.next,
        (None, _) => None,
    };
    Ok(version.map(|version| version.files))
}

/// Random octets for a serial.
///
/// # Errors
/// In words, when the kernel has none to give.
pub fn random() -> Result<[u8; 20], String> {
    let mut octets = [0_u8; 20];
    getrandom::fill(&mut octets).map_err(|error| format!("the kernel gives no random numbers: {error}"))?;
    Ok(octets)
}
