//! `ca`: an own authority comes to be, and its successors.
//!
//! It lives in the inventory as a certificate of type CA; each issue is an instance of it. The newest signs, older
//! ones stay for the chains of what they have signed. Its key is under the passphrase, always.

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use super::keys::keep_key;
use super::sign::{BACKDATE, DIGEST, data, digest, forget, pem, serial};
use super::{OperateError, Operation};
use crate::manager::config::Subject;
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{
    About, Algorithms, Certificate, KeyAlgorithm, Kind, Name, Object, State, SubjectType,
};
use crate::manager::inventory::schedule::minute;
use crate::manager::inventory::store::Change;
use crate::manager::keyring::ADVICE;
use crate::pki::encrypted;
use crate::pki::inspect;
use crate::pki::key::{PrivateKey, Secret};
use crate::pki::x509::{self, Issuer, Profile, Role};
use crate::pki::{Algorithm, Usage, container};

/// What is asked for.
#[derive(Debug, Default)]
pub struct Request {
    /// By its name in the inventory; nothing for the one that is configured.
    pub name: Option<Name>,
    /// One that there is already; nothing to make one.
    pub import: Option<Import>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// An authority that there is already.
#[derive(Debug)]
pub struct Import {
    /// Its certificate in PEM, and who is above it.
    pub certificate: Vec<u8>,
    /// Its key in PEM, in clear or under the passphrase.
    pub key: Secret,
}

/// A new instance, before it has its number.
struct Fresh {
    key: PrivateKey,
    /// In DER; nothing where it signs itself when it has its number.
    certificate: Option<Vec<u8>>,
    chain: String,
}

/// Makes an instance of an own authority, and the authority where it is not there yet.
///
/// # Errors
/// [`OperateError`]; nothing was made then.
pub fn make(op: &mut Operation<'_>, request: Request) -> Result<(), OperateError> {
    let name = request.name.unwrap_or_else(|| op.config.site.inventory.issuing.authority.clone());
    let passphrase = op.signers.keyring.passphrase().map_err(OperateError::Failed)?;
    if passphrase.is_none() {
        let says =
            format!("there is no passphrase, and the key of an authority is never kept in clear; {ADVICE}");
        return Err(OperateError::Usage(says));
    }
    let known = op.inventory.objects_of(std::slice::from_ref(&name))?.certificates.remove(&name);
    if let Some(known) = known.as_ref().filter(|known| known.subject != SubjectType::Ca) {
        let says = format!(
            "{name} is a certificate of type {}, and becomes no authority; give the authority another name with \
             ca_name in [inventory]",
            known.subject
        );
        return Err(OperateError::Usage(says));
    }
    let digests = present(op, &name)?;
    let fresh = match request.import {
        Some(import) => imported(op, import, &digests)?,
        None => {
            let kind = op.config.site.inventory.issuing.authority_key;
            let until = minute(end(op));
            if request.dry_run {
                op.report.left(name, format!("would get an instance: {kind}, valid until {until}"));
                return Ok(());
            }
            let key = PrivateKey::generate(kind).map_err(|error| OperateError::Failed(error.to_string()))?;
            Fresh { key, certificate: None, chain: String::new() }
        }
    };
    if request.dry_run {
        op.report.left(name, "would be taken over");
        return Ok(());
    }
    let algorithms = if fresh.key.algorithm().is_rsa() { Algorithms::Rsa } else { Algorithms::Ec };
    if known.is_none() {
        let mut certificate = Certificate::new(SubjectType::Ca, Kind::Local, algorithms);
        certificate.about = About::new(op.world.now, None);
        let object = Object::Certificate(name.clone(), Box::new(certificate));
        op.inventory.change(&[Change::Add(object)])?;
    }
    op.each(std::slice::from_ref(&name), &mut |op, claimed| {
        claimed.iter().try_for_each(|name| record(op, name, &fresh, algorithms))
    })?;
    forget(op, &name);
    Ok(())
}

/// Digests of the certificates that it has; the newest key that it has must be under the passphrase that there is.
fn present(op: &mut Operation<'_>, name: &Name) -> Result<BTreeSet<String>, OperateError> {
    let mut instances = Vec::new();
    op.inventory.standings(Some(std::slice::from_ref(name)), &mut |standing| {
        let there = standing.instances.iter().filter(|it| it.state != State::Reserved);
        instances.extend(there.map(|it| it.id));
    })?;
    instances.sort_unstable();
    let (mut digests, mut newest) = (BTreeSet::new(), None);
    for instance in instances {
        for data in op.inventory.keys(instance)? {
            digests.insert(data.info.digest);
            if encrypted::is_encrypted(data.key.reveal()) {
                newest = Some((instance, data.key));
            }
        }
    }
    if let Some((instance, key)) = newest {
        let opened = op.signers.keyring.open(key.reveal());
        opened.map_err(|error| {
            OperateError::Failed(format!("{name}, instance {instance}: its key: {error}"))
        })?;
    }
    Ok(digests)
}

fn end(op: &Operation<'_>) -> OffsetDateTime {
    op.world.now.saturating_add(Duration::days(op.config.site.inventory.issuing.authority_days.into()))
}

/// Looks whether it really can sign: by a certificate that nobody gets.
fn imported(op: &Operation<'_>, import: Import, known: &BTreeSet<String>) -> Result<Fresh, OperateError> {
    let failed = |says: String| OperateError::Failed(says);
    let mut certificates = container::read(&import.certificate).certificates.into_iter();
    let certificate =
        certificates.next().ok_or_else(|| failed("the file has no certificate in it".into()))?;
    if known.contains(&digest(&certificate)) {
        return Err(failed("this authority is in the inventory already".into()));
    }
    let key =
        op.signers.keyring.open(import.key.reveal()).map_err(|error| failed(format!("the key: {error}")))?;
    let trial = PrivateKey::generate(Algorithm::P256).map_err(|error| failed(error.to_string()))?;
    let profile = Profile {
        subject: &Subject { common_name: "trial".into(), ..Subject::default() },
        alternative_names: &[],
        role: &Role::Leaf { usages: BTreeSet::from([Usage::Server]) },
        serial: serial(0, KeyAlgorithm::Ec).map_err(failed)?,
        now: op.world.now,
        backdate: BACKDATE,
        not_after: op.world.now.saturating_add(Duration::days(1)),
    };
    let public = trial.spki_der().map_err(|error| failed(error.to_string()))?;
    let issuer = Issuer::Authority { certificate: &certificate, key: &key };
    x509::issue(&profile, &public, issuer, DIGEST).map_err(|error| failed(error.to_string()))?;
    let chain = certificates.map(|der| pem(&der)).collect();
    Ok(Fresh { key, certificate: Some(certificate), chain })
}

fn record(
    op: &mut Operation<'_>,
    name: &Name,
    fresh: &Fresh,
    algorithms: Algorithms,
) -> Result<(), OperateError> {
    let failed = |says: String| OperateError::Failed(says);
    let reserved = op.record(name, &[Event::Reserved { algorithms, must_staple: false }])?.map_err(failed)?;
    let instance = reserved.ok_or_else(|| failed("the inventory gave it no number".into()))?;
    let event = event(op, fresh, algorithms, instance);
    match event {
        Ok((event, until)) => {
            op.record(name, &[event])?.map_err(failed)?;
            let kind = fresh.key.algorithm();
            let says = format!(
                "instance {instance} is made: {kind}, its key is under the passphrase, valid until {}",
                minute(until)
            );
            op.report.done(name.clone(), says);
            Ok(())
        }
        Err(error) => {
            op.record(name, &[Event::Discarded { instance }])?.map_err(failed)?;
            Err(failed(error))
        }
    }
}

fn event(
    op: &mut Operation<'_>,
    fresh: &Fresh,
    algorithms: Algorithms,
    instance: i64,
) -> Result<(Event, OffsetDateTime), String> {
    let algorithm = if algorithms == Algorithms::Rsa { KeyAlgorithm::Rsa } else { KeyAlgorithm::Ec };
    let now = op.world.now;
    let der = match &fresh.certificate {
        Some(der) => der.clone(),
        None => {
            let profile = Profile {
                subject: &op.config.site.inventory.issuing.subject,
                alternative_names: &[],
                role: &Role::Root { path_len: Some(0) },
                serial: serial(instance, algorithm)?,
                now,
                backdate: BACKDATE,
                not_after: end(op),
            };
            let public = fresh.key.spki_der().map_err(|error| error.to_string())?;
            let issued = x509::issue(&profile, &public, Issuer::Itself(&fresh.key), DIGEST);
            issued.map_err(|error| error.to_string())?.der
        }
    };
    let at_rest = op.inventory.at_rest().map_err(|error| error.to_string())?;
    let key = keep_key(&op.signers.keyring, at_rest, SubjectType::Ca, &fresh.key)?;
    let read = inspect::Certificate::from_der(&der)?;
    let keys = vec![data(algorithm, &der, fresh.chain.clone(), key, now)];
    let (not_before, not_after) = (read.not_before, read.not_after);
    Ok((Event::Issued { instance, keys, issuer: None, not_before, not_after }, not_after))
}
