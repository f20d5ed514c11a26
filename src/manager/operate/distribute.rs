//! `distribute` and `consolidate`: what was issued comes to its hosts; what is served comes there once more.

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};

use super::bring::{Shipment, bring, left_out};
use super::{Certificates, Hosts, OperateError, Operation};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{Certificate, Instance, Kind, Name, Objects, Outcome, State};
use crate::manager::inventory::schedule::Standing;
use crate::manager::inventory::store::InventoryError;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Which certificates.
    pub certificates: Certificates,
    /// Which hosts.
    pub hosts: Hosts,
    /// Of the certificates only local ones of which the deployed instance ends within so many days.
    pub within: Option<u32>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Publishes TLSA records: for each certificate the instances whose records are to be out, and no others. `Ok(false)`
/// for a certificate that has no TLSA services.
pub type Publish<'p> = dyn FnMut(
        &mut Operation<'_>,
        &[(Name, Vec<i64>)],
    ) -> Result<BTreeMap<Name, Result<bool, String>>, OperateError>
    + 'p;

/// Brings what was issued to its hosts, and what is deployed to those that still miss it; then has the TLSA records
/// published, and what lies on every host is deployed. Without `publish` records stay as they are.
///
/// # Errors
/// [`OperateError`] when nothing could be begun, or the inventory does not answer any more; everything else is in the
/// report.
pub fn distribute(
    op: &mut Operation<'_>,
    request: &Request,
    mut publish: Option<&mut Publish<'_>>,
) -> Result<(), OperateError> {
    let objects = op.inventory.objects()?;
    let names = chosen(op, &objects, request)?;
    for_each(op, &names, request.dry_run, &mut |op, names| {
        let loads = prepared(op, &objects, names, issued)?;
        if request.dry_run {
            foretell(op, &loads, &request.hosts, false);
            return Ok(());
        }
        let loads = match &mut publish {
            Some(publish) => beside(op, loads, publish)?,
            None => loads,
        };
        let brought = bring(op, &shipments(&loads), &request.hosts, false)?;
        let mut wanted = Vec::new();
        for load in &loads {
            wanted.extend(served(op, load)?.map(|instances| (load.name.clone(), instances)));
        }
        let published = match &mut publish {
            Some(publish) if !wanted.is_empty() => publish(op, &wanted)?,
            _ => BTreeMap::new(),
        };
        for load in &loads {
            let outcomes = (brought.get(&load.name), published.get(&load.name));
            conclude(op, load, outcomes, &request.hosts)?;
        }
        Ok(())
    })
}

/// Brings what is deployed to all of its hosts once more, and has everybody who reads it told; states and TLSA records
/// stay as they are.
///
/// # Errors
/// As [`distribute`].
pub fn consolidate(op: &mut Operation<'_>, request: &Request) -> Result<(), OperateError> {
    let objects = op.inventory.objects()?;
    let names = chosen(op, &objects, request)?;
    for_each(op, &names, request.dry_run, &mut |op, names| {
        let loads = prepared(op, &objects, names, deployed)?;
        if request.dry_run {
            foretell(op, &loads, &request.hosts, true);
            return Ok(());
        }
        let brought = bring(op, &shipments(&loads), &request.hosts, true)?;
        for load in &loads {
            if let Some(Err(error)) = brought.get(&load.name) {
                op.report.failed(load.name.clone(), error.clone());
            }
        }
        Ok(())
    })
}

/// An instance that is brought to its hosts.
struct Load<'o> {
    name: Name,
    certificate: &'o Certificate,
    instance: Instance,
    /// The deployed one, where that is another.
    before: Option<i64>,
}

/// Chooses one instance of those that a certificate has; in words why none.
type Pick = fn(&[Instance], &Name, OffsetDateTime) -> Result<Instance, String>;

/// What is done with certificates that are claimed.
type Work<'w> = dyn FnMut(&mut Operation<'_>, &[Name]) -> Result<(), OperateError> + 'w;

/// Who only looks needs no claim.
fn for_each(
    op: &mut Operation<'_>,
    names: &[Name],
    dry_run: bool,
    work: &mut Work<'_>,
) -> Result<(), OperateError> {
    if dry_run {
        return work(op, names);
    }
    op.each(names, &mut |op, names| work(op, names))
}

fn chosen(op: &mut Operation<'_>, objects: &Objects, request: &Request) -> Result<Vec<Name>, OperateError> {
    let names = request.certificates.among(objects)?;
    request.hosts.check(objects)?;
    let Some(days) = request.within else { return Ok(names) };
    let limit = op.now() + Duration::days(days.into());
    let mut ending = BTreeSet::new();
    op.inventory.standings(Some(&names), &mut |standing| {
        if ends_before(&standing, limit) {
            ending.insert(standing.certificate);
        }
    })?;
    Ok(names.into_iter().filter(|name| ending.contains(name)).collect())
}

/// Says whether a certificate of an own authority is deployed and ends before a moment.
fn ends_before(standing: &Standing, limit: OffsetDateTime) -> bool {
    let deployed = standing.instances.iter().filter(|it| it.state == State::Deployed);
    let newest = deployed.max_by_key(|it| it.id);
    standing.kind == Kind::Local
        && !standing.disabled
        && newest.is_some_and(|it| it.not_after.is_none_or(|end| end < limit))
}

/// What of each certificate is to be brought; where there is nothing, that is in the report.
fn prepared<'o>(
    op: &mut Operation<'_>,
    objects: &'o Objects,
    names: &[Name],
    pick: Pick,
) -> Result<Vec<Load<'o>>, OperateError> {
    let mut loads = Vec::new();
    for name in names {
        let Some(certificate) = objects.certificates.get(name) else { continue };
        if certificate.disabled {
            op.report.left(name.clone(), "it is disabled, and nothing of it is brought anywhere");
            continue;
        }
        if certificate.hosts().is_empty() {
            op.report.left(name.clone(), "it goes to no place on any host");
            continue;
        }
        let instances = op.inventory.instances_of(name)?;
        match pick(&instances, name, op.now()) {
            Ok(instance) => {
                let before = newest(&instances, &[State::Deployed]).map(|it| it.id);
                let before = before.filter(|id| *id != instance.id);
                loads.push(Load { name: name.clone(), certificate, instance, before });
            }
            Err(why) => op.report.left(name.clone(), why),
        }
    }
    Ok(loads)
}

fn newest<'i>(instances: &'i [Instance], states: &[State]) -> Option<&'i Instance> {
    instances.iter().filter(|it| states.contains(&it.state)).max_by_key(|it| it.id)
}

/// The newest that was issued; else what is deployed, where it is not everywhere.
fn issued(instances: &[Instance], name: &Name, now: OffsetDateTime) -> Result<Instance, String> {
    let deployed = newest(instances, &[State::Deployed]);
    let fits = |it: &&Instance| {
        matches!(it.state, State::Issued | State::Prepublished)
            && it.is_whole()
            && it.is_valid(now)
            && deployed.is_none_or(|deployed| deployed.id < it.id)
    };
    if let Some(found) = instances.iter().filter(fits).max_by_key(|it| it.id) {
        return Ok(found.clone());
    }
    match deployed {
        Some(deployed) if deployed.is_valid(now) => Ok(deployed.clone()),
        _ => Err(format!("nothing is issued for {name}; `reseed manager issue {name}` makes it")),
    }
}

fn deployed(instances: &[Instance], name: &Name, now: OffsetDateTime) -> Result<Instance, String> {
    match newest(instances, &[State::Deployed]) {
        Some(found) if found.is_valid(now) => Ok(found.clone()),
        Some(found) => Err(format!("instance {} is deployed, and not within its time", found.id)),
        None => Err(format!("nothing is deployed; `reseed manager distribute {name}` brings what is issued")),
    }
}

fn shipments(loads: &[Load<'_>]) -> Vec<Shipment> {
    let shipment = |load: &Load<'_>| Shipment { name: load.name.clone(), instance: load.instance.id };
    loads.iter().map(shipment).collect()
}

/// Has the records of what comes out beside those of what is deployed, where they are not yet: nobody may be shown a
/// certificate whose record is missing. What is not published is not brought.
fn beside<'o>(
    op: &mut Operation<'_>,
    mut loads: Vec<Load<'o>>,
    publish: &mut Publish<'_>,
) -> Result<Vec<Load<'o>>, OperateError> {
    let wanted = loads.iter().filter(|load| {
        let is_new = load.instance.state != State::Deployed && load.instance.published.is_none();
        is_new && !load.certificate.services.is_empty()
    });
    let both = |load: &Load<'_>| Some((load.name.clone(), vec![load.before?, load.instance.id]));
    let wanted: Vec<(Name, Vec<i64>)> = wanted.filter_map(both).collect();
    if wanted.is_empty() {
        return Ok(loads);
    }
    for (name, result) in publish(op, &wanted)? {
        if let Err(error) = result {
            loads.retain(|load| load.name != name);
            op.report.failed(name, format!("TLSA records: {error}; nothing is brought"));
        }
    }
    Ok(loads)
}

/// What would be brought where.
fn foretell(op: &mut Operation<'_>, loads: &[Load<'_>], hosts: &Hosts, again: bool) {
    for Load { name, certificate, instance, .. } in loads {
        let is_done = |host: &Name| {
            instance.deliveries.get(host).is_some_and(|delivery| delivery.outcome == Outcome::Done)
        };
        let wanted = certificate.hosts().into_iter();
        let wanted = wanted.filter(|host| hosts.serves(host) && (again || !is_done(host)));
        let wanted: Vec<&str> = wanted.map(Name::as_str).collect();
        let id = instance.id;
        match wanted.as_slice() {
            [] => op.report.left(name.clone(), format!("instance {id} lies on every host that is served")),
            wanted => {
                op.report.done(name.clone(), format!("would bring instance {id} to {}", wanted.join(", ")))
            }
        }
    }
}

/// How an instance stands now.
fn present(op: &mut Operation<'_>, load: &Load<'_>) -> Result<Instance, OperateError> {
    let found = op.inventory.instances_of(&load.name)?.into_iter().find(|it| it.id == load.instance.id);
    Ok(found.unwrap_or_else(|| load.instance.clone()))
}

/// The instances of which somebody may be shown a certificate: while one host has the new one and another does not, or
/// has not been told, that is both. Nothing where no host has it.
fn served(op: &mut Operation<'_>, load: &Load<'_>) -> Result<Option<Vec<i64>>, OperateError> {
    if load.certificate.services.is_empty() {
        return Ok(None);
    }
    let instance = present(op, load)?;
    let hosts = load.certificate.hosts();
    let is_done = |host: &&Name| {
        instance.deliveries.get(*host).is_some_and(|delivery| delivery.outcome == Outcome::Done)
    };
    if !hosts.iter().any(|host| instance.deliveries.contains_key(*host)) {
        return Ok(None);
    }
    let before = load.before.filter(|_| !hosts.iter().all(is_done));
    Ok(Some(before.into_iter().chain([instance.id]).collect()))
}

type Outcomes<'r> = (Option<&'r Result<(), String>>, Option<&'r Result<bool, String>>);

/// Says what became of it, and moves it on where it lies on every host.
fn conclude(
    op: &mut Operation<'_>,
    load: &Load<'_>,
    (brought, published): Outcomes<'_>,
    hosts: &Hosts,
) -> Result<(), OperateError> {
    let Load { name, certificate, .. } = load;
    let instance = present(op, load)?;
    let (id, state) = (instance.id, instance.state);
    if let Some(Err(error)) = published {
        op.report.failed(name.clone(), format!("TLSA records: {error}"));
    }
    if let Some(Err(error)) = brought {
        let left: Vec<&str> = left_out(certificate, &instance, hosts).into_iter().map(Name::as_str).collect();
        let is_only_left =
            certificate.hosts().into_iter().all(|host| !hosts.serves(host) || instance.is_on(host));
        if is_only_left && !left.is_empty() {
            let left = left.join(", ");
            op.report.left(name.clone(), format!("instance {id} stays {state}: {left} was left out"));
        } else {
            op.report.failed(name.clone(), error.clone());
        }
        return Ok(());
    }
    if state == State::Deployed {
        if load.instance.deliveries == instance.deliveries {
            op.report.left(name.clone(), format!("instance {id} is deployed, and nothing newer is issued"));
        }
        return Ok(());
    }
    if matches!(published, Some(Err(_))) {
        return Ok(());
    }
    let now = op.now();
    match op.inventory.record(
        name,
        &[Event::Moved { instance: id, to: State::Deployed, taken_back: false }],
        now,
    ) {
        Ok(_) => op.report.done(name.clone(), format!("instance {id} is deployed")),
        Err(error @ (InventoryError::ClaimLost(_) | InventoryError::Refused(_))) => {
            op.report.failed(name.clone(), error.to_string());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
