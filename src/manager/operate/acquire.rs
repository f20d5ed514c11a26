//! Certificates by public authorities: every key of an instance is an order of its own, all orders of a batch are sent
//! at once, and an instance is issued when each of its keys has its certificate, with the whole chain.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::errand::{self, Errand};
use super::issue::{Begun, Draft, Made, reserve};
use super::keys::keep_key;
use super::sign::{data, pem};
use super::{OperateError, Operation};
use crate::manager::acme::{Granted, Identifier, Refusal, Wish, renewal};
use crate::manager::acquire;
use crate::manager::config::{Acme, AuthorityKind, Configuration};
use crate::manager::desk::{Answers, Desk, Proven};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{Certificate, KeyAlgorithm, Name, State};
use crate::manager::name::ServiceName;
use crate::manager::nearest::{hint, shown};
use crate::manager::run::{ManagerError, Run, World};
use crate::pki::inspect;
use crate::pki::key::{PrivateKey, Secret};
use crate::pki::{Algorithm, container};
use crate::system::clock;

/// How long another run of this machine is waited for: accounts, limits and proofs are one run's at a time.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(100);

/// Has an instance of each acquired.
///
/// # Errors
/// [`OperateError::Inventory`] when the inventory is gone; orders and keys stay for the next run.
pub fn make(op: &mut Operation<'_>, drafts: Vec<Draft<'_>>) -> Result<Made, OperateError> {
    let mut made = Made::new();
    if drafts.is_empty() {
        return Ok(made);
    }
    let run = match held(&op.world) {
        Ok(run) => run,
        Err(error) => {
            made.extend(drafts.iter().map(|draft| (draft.wanted.name.clone(), Err(error.clone()))));
            return Ok(made);
        }
    };
    op.report.notes.extend(acquire::sweep(&run));
    op.report.notes.extend(errand::sweep(&run));
    let mut sorted: BTreeMap<&str, (&Acme, Vec<Draft<'_>>)> = BTreeMap::new();
    for draft in drafts {
        match authority(&run.config, &draft.certificate) {
            Ok((name, acme)) => sorted.entry(name).or_insert_with(|| (acme, Vec::new())).1.push(draft),
            Err(error) => {
                made.insert(draft.wanted.name.clone(), Err(error));
            }
        }
    }
    // One after another: two authorities' proofs would be in one another's way.
    for (name, (acme, drafts)) in sorted {
        match Desk::new(&run, name, acme, acme.contact.clone()) {
            Ok(desk) => made.extend(at_desk(op, &run, &desk, drafts)?),
            Err(refusal) => {
                let error = format!("{name}: {refusal}");
                made.extend(drafts.iter().map(|draft| (draft.wanted.name.clone(), Err(error.clone()))));
            }
        }
    }
    Ok(made)
}

/// Takes the lock of the top directory, waiting for whoever holds it.
fn held<'a>(world: &World<'a>) -> Result<Run<'a>, String> {
    let mut waited = Duration::ZERO;
    loop {
        match Run::begin(world.clone()) {
            Ok(run) => return Ok(run),
            Err(ManagerError::Busy) if waited < PATIENCE => {
                if waited.is_zero() {
                    (world.tell)("waits for another run of the manager on this machine");
                }
                clock::pause(PAUSE);
                waited += PAUSE;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// The table of `ca-info.conf` by which a certificate is acquired.
fn authority<'c>(
    config: &'c Configuration,
    certificate: &Certificate,
) -> Result<(&'c str, &'c Acme), String> {
    let acme = |name: &'c str, kind: &'c AuthorityKind| match kind {
        AuthorityKind::Acme(acme) => Some((name, acme.as_ref())),
        _ => None,
    };
    let tables = || config.authorities.iter().filter_map(|(name, it)| acme(name, &it.kind));
    let named = certificate.authority.as_ref().or(config.site.inventory.issuing.public.as_ref());
    let Some(named) = named else {
        let all: Vec<_> = tables().collect();
        return match all.as_slice() {
            [one] => Ok(*one),
            [] => Err("ca-info.conf has no table of an authority that is spoken to by ACME".to_owned()),
            _ => {
                Err("ca-info.conf has several tables for ACME; name one with public in [inventory]"
                    .to_owned())
            }
        };
    };
    tables().find(|(name, _)| name == named).ok_or_else(|| {
        let near = hint(named, tables().map(|(name, _)| name));
        format!("ca-info.conf has no table {} of an authority that is spoken to by ACME{near}", shown(named))
    })
}

/// An instance that is acquired, with an errand for each of its keys.
struct Instance {
    begun: Begun,
    errands: Vec<(ServiceName, Errand)>,
}

fn at_desk(
    op: &mut Operation<'_>,
    run: &Run<'_>,
    desk: &Desk<'_, '_>,
    drafts: Vec<Draft<'_>>,
) -> Result<Made, OperateError> {
    let (mut made, mut instances, mut wishes) = (Made::new(), Vec::new(), Vec::new());
    let names: Vec<Name> = drafts.iter().map(|draft| draft.wanted.name.clone()).collect();
    let mut replaced = replaced(op, &names)?;
    for draft in drafts {
        let name = draft.wanted.name.clone();
        let started = match begin(op, run, draft)? {
            Ok(instance) => {
                let replaced = replaced.remove(&name).unwrap_or_default();
                wishes_of(&instance, desk, &replaced).map(|wishes| (instance, wishes))
            }
            Err(error) => Err(error),
        };
        match started {
            Ok((instance, more)) => {
                instances.push(instance);
                wishes.extend(more);
            }
            Err(error) => {
                made.insert(name, Err(error));
            }
        }
    }
    let at_rest = op.inventory.at_rest()?;
    let (mut answers, proven) = ask(run, desk, &instances, wishes);
    for instance in instances {
        let result = match issued(&instance, &mut answers, op.now(), &|key| {
            keep_key(&op.signers.keyring, at_rest, instance.begun.subject_type, key)
        }) {
            Ok((event, notes)) => {
                // All names of a certificate are in each of its orders.
                let until = instance.errands.iter().filter_map(|(service, _)| proven.get(service)).min();
                let authorized = until.map(|until| Event::Authorized { until: Some(*until) });
                let events: Vec<Event> = [event].into_iter().chain(authorized).collect();
                let recorded = op.record(&instance.begun.name, &events)?;
                // Only what the inventory has is not needed here any more.
                if recorded.is_ok() {
                    let left = instance.errands.iter().filter_map(|(_, errand)| errand.forget(run).err());
                    op.report.notes.extend(left.map(|error| error.to_string()).chain(notes));
                }
                recorded.map(|_| instance.begun.instance)
            }
            Err(error) => Err(error),
        };
        made.insert(instance.begun.name, result);
    }
    Ok(made)
}

/// Gives it its number and its keys, or finds those that an earlier run has left here.
fn begin(
    op: &mut Operation<'_>,
    run: &Run<'_>,
    draft: Draft<'_>,
) -> Result<Result<Instance, String>, OperateError> {
    let issuing = op.config.site.inventory.issuing.clone();
    let algorithms = draft.wanted.algorithms.keys();
    let mut services = Vec::new();
    for algorithm in algorithms {
        match ServiceName::new(draft.wanted.name.as_str(), &algorithm.to_string()) {
            Ok(service) => services.push(service),
            Err(error) => return Ok(Err(error)),
        }
    }
    if let Some(name) = draft.names.iter().find(|name| Identifier::of(name).is_none()) {
        return Ok(Err(format!(
            "{name} is no name that a public authority takes; it is signed by an own one"
        )));
    }
    let mut waiting = Vec::new();
    for algorithm in algorithms {
        let found = draft.wanted.resume.map(|id| Errand::waiting(run, &draft, id, *algorithm));
        match found.transpose() {
            Ok(found) => waiting.extend(found.flatten()),
            Err(error) => return Ok(Err(error)),
        }
    }
    let goes_on = waiting.len() == algorithms.len();
    let number = match reserve(op, draft.wanted, goes_on)? {
        Ok(number) => number,
        Err(error) => return Ok(Err(error)),
    };
    let errands: Result<Vec<Errand>, String> = if goes_on {
        Ok(waiting)
    } else {
        let kind = |algorithm: &KeyAlgorithm| -> (KeyAlgorithm, Algorithm) {
            match algorithm {
                KeyAlgorithm::Rsa => (*algorithm, issuing.rsa_key),
                KeyAlgorithm::Ec => (*algorithm, issuing.ec_key),
            }
        };
        algorithms.iter().map(|algorithm| Errand::make(run, &draft, number, kind(algorithm))).collect()
    };
    let begun = draft.begun(number);
    Ok(errands.map(|errands| Instance { begun, errands: services.into_iter().zip(errands).collect() }))
}

/// The certificates in DER that are replaced, by certificate and key.
fn replaced(
    op: &mut Operation<'_>,
    names: &[Name],
) -> Result<BTreeMap<Name, BTreeMap<KeyAlgorithm, Vec<u8>>>, OperateError> {
    let mut deployed = Vec::new();
    op.inventory.standings(Some(names), &mut |standing| {
        let out = standing.instances.iter().filter(|it| it.state == State::Deployed);
        deployed.extend(out.map(|it| it.id).max().map(|id| (standing.certificate, id)));
    })?;
    let mut found = BTreeMap::new();
    for (name, instance) in deployed {
        let keys = op.inventory.keys(instance)?;
        let der = keys.into_iter().filter_map(|data| {
            let der = container::read(data.certificate.as_bytes()).certificates.into_iter().next()?;
            Some((data.info.algorithm, der))
        });
        found.insert(name, der.collect());
    }
    Ok(found)
}

fn wishes_of(
    instance: &Instance,
    desk: &Desk<'_, '_>,
    replaced: &BTreeMap<KeyAlgorithm, Vec<u8>>,
) -> Result<Vec<Wish>, String> {
    let acme = desk.acme();
    let kind = acme.validation.ok_or("its authority has no ca_validation in ca-info.conf")?;
    let wish = |(service, errand): &(ServiceName, Errand)| Wish {
        service: service.clone(),
        identifiers: instance.begun.names.iter().filter_map(Identifier::of).collect(),
        csr: errand.request.clone(),
        kind,
        profile: acme.profile.clone(),
        preferred_chain: acme.preferred_chain.clone(),
        replaces: replaced.get(&errand.algorithm).and_then(|der| renewal::identifier(der).ok()),
        resume: errand.order(desk.directory()),
    };
    Ok(instance.errands.iter().map(wish).collect())
}

fn ask(run: &Run<'_>, desk: &Desk<'_, '_>, instances: &[Instance], wishes: Vec<Wish>) -> (Answers, Proven) {
    let all = || instances.iter().flat_map(|instance| &instance.errands);
    let errands: BTreeMap<&ServiceName, &Errand> = all().map(|(service, errand)| (service, errand)).collect();
    let remember = |name: &ServiceName, url: &str| {
        let Some(errand) = errands.get(name) else { return };
        if let Err(error) = errand.ordered(run, desk.directory(), url) {
            tracing::warn!("{name}: its order is not on disk, a run that dies now orders again: {error}");
        }
    };
    desk.ask_proven(wishes, &remember).unwrap_or_else(|refusal| {
        let refused = all().map(|(service, _)| (service.clone(), Err(refusal.clone()))).collect();
        (refused, Proven::new())
    })
}

/// What has come of an instance: everything, or why not.
fn issued(
    instance: &Instance,
    answers: &mut Answers,
    now: OffsetDateTime,
    keep: &dyn Fn(&PrivateKey) -> Result<Secret, String>,
) -> Result<(Event, Vec<String>), String> {
    let (mut keys, mut notes, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    let (mut from, mut until) = (None, None);
    for (service, errand) in &instance.errands {
        let none = || Err(Refusal::authority("nothing came back"));
        let answer = answers.remove(service).unwrap_or_else(none);
        let whole = answer.map_err(|refusal| refusal.to_string()).and_then(|granted| taken(errand, granted));
        match whole {
            Ok(Taken { leaf, chain, read, note }) => {
                from = from.max(Some(read.not_before));
                until = until
                    .map_or(Some(read.not_after), |until: OffsetDateTime| Some(until.min(read.not_after)));
                keys.push(data(errand.algorithm, &leaf, chain, keep(&errand.key)?, now));
                notes.extend(note.map(|note| format!("{service}: {note}")));
            }
            Err(error) => errors.push(format!("{}: {error}", errand.algorithm)),
        }
    }
    let (Some(not_before), Some(not_after), true) = (from, until, errors.is_empty()) else {
        return Err(errors.join("; "));
    };
    let instance = instance.begun.instance;
    Ok((Event::Issued { instance, keys, issuer: None, not_before, not_after }, notes))
}

/// What an authority has sent.
struct Taken {
    /// In DER.
    leaf: Vec<u8>,
    /// All of what is above it, in PEM.
    chain: String,
    read: inspect::Certificate,
    note: Option<String>,
}

fn taken(errand: &Errand, granted: Granted) -> Result<Taken, String> {
    let mut certificates = container::read(granted.chain.as_bytes()).certificates.into_iter();
    let leaf = certificates.next().ok_or("the authority sent no certificate")?;
    let read = inspect::Certificate::from_der(&leaf)?;
    if read.public_digest != errand.key.public_digest() {
        return Err("the authority sent a certificate for another key".to_owned());
    }
    Ok(Taken { chain: certificates.map(|der| pem(&der)).collect(), leaf, read, note: granted.note })
}
