//! A certificate comes into use: its files on every host, its records in their zones, and only then its state.
//!
//! ```text
//! records of old and new → files on every host → records of the new alone → deployed
//! ```
//!
//! Whatever fails leaves the state as it was, and the next run goes on where this one ended. While any host may still
//! serve the old certificate, its records stay.

use std::collections::BTreeMap;

use super::bring::{Shipment, bring};
use super::publish::{Publication, publish};
use super::{Hosts, OperateError, Operation};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{Name, State};
use crate::manager::inventory::schedule::{Stage, Standing};

/// What is to come into use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The certificate.
    pub name: Name,
    /// Its instance.
    pub instance: i64,
    /// The instance that is served until then.
    pub replaces: Option<i64>,
    /// The records of the instance are out beside the others.
    pub is_published: bool,
    /// It is deployed, and hosts are missing.
    pub is_deployed: bool,
}

impl Deployment {
    /// Of an instance of a certificate.
    pub fn of(standing: &Standing, stage: &Stage) -> Self {
        let served = standing.instances.iter().filter(|it| it.state == State::Deployed && it.id != stage.id);
        Self {
            name: standing.certificate.clone(),
            instance: stage.id,
            replaces: served.map(|it| it.id).max(),
            is_published: stage.published.is_some() || standing.tlsa_ttl.is_none(),
            is_deployed: stage.state == State::Deployed,
        }
    }
}

/// Brings instances into use, and says of each certificate whether it is.
///
/// # Errors
/// [`OperateError`]; what was recorded until then stays.
pub fn deploy(
    op: &mut Operation<'_>,
    deployments: &[Deployment],
    hosts: &Hosts,
    with_records: bool,
) -> Result<BTreeMap<Name, Result<(), String>>, OperateError> {
    let mut failed: BTreeMap<Name, String> = BTreeMap::new();
    if with_records {
        let both = deployments.iter().filter(|it| !it.is_published).filter_map(|it| {
            let instances = vec![it.replaces?, it.instance];
            Some(Publication { name: it.name.clone(), instances })
        });
        let both: Vec<Publication> = both.collect();
        failed.extend(errors(publish(op, &both)?));
    }
    let rest = || deployments.iter().filter(|it| !failed.contains_key(&it.name));
    let shipments: Vec<Shipment> =
        rest().map(|it| Shipment { name: it.name.clone(), instance: it.instance }).collect();
    let brought = errors(bring(op, &shipments, hosts, false)?);
    failed.extend(brought);
    if with_records {
        for name in untold(op, &shipments)? {
            let says = "a host has still to be told, and may serve the old certificate: its records stay";
            failed.entry(name).or_insert_with(|| says.to_owned());
        }
        let rest = deployments.iter().filter(|it| !it.is_deployed && !failed.contains_key(&it.name));
        let alone: Vec<Publication> =
            rest.map(|it| Publication { name: it.name.clone(), instances: vec![it.instance] }).collect();
        failed.extend(errors(publish(op, &alone)?));
    }
    let mut ended = BTreeMap::new();
    for it in deployments {
        let result = match failed.remove(&it.name) {
            Some(error) => Err(error),
            None if it.is_deployed => Ok(()),
            None => moved(op, it)?,
        };
        ended.insert(it.name.clone(), result);
    }
    Ok(ended)
}

/// Those with TLSA records whose files lie on every host, where somebody who reads them could not be told.
fn untold(op: &mut Operation<'_>, shipments: &[Shipment]) -> Result<Vec<Name>, OperateError> {
    let names: Vec<Name> = shipments.iter().map(|it| it.name.clone()).collect();
    let mut found = Vec::new();
    op.inventory.standings(Some(&names), &mut |standing| {
        let sent = shipments.iter().filter(|it| it.name == standing.certificate);
        let ids: Vec<i64> = sent.map(|it| it.instance).collect();
        let is_missing = standing.instances.iter().any(|it| ids.contains(&it.id) && it.missing > 0);
        if standing.tlsa_ttl.is_some() && is_missing {
            found.push(standing.certificate);
        }
    })?;
    Ok(found)
}

fn moved(op: &mut Operation<'_>, it: &Deployment) -> Result<Result<(), String>, OperateError> {
    let to = Event::Moved { instance: it.instance, to: State::Deployed, taken_back: false };
    Ok(op.record(&it.name, &[to])?.map(drop))
}

fn errors<T>(results: BTreeMap<Name, Result<T, String>>) -> impl Iterator<Item = (Name, String)> {
    results.into_iter().filter_map(|(name, result)| Some((name, result.err()?)))
}
