//! Brings the TLSA records of certificates into their zones, and looks whether all name servers show them.
//!
//! ```text
//!  instances ──► records of every key ──► one update for each zone ──► every name server asked ──► recorded
//! ```
//!
//! What waits for the records counts from what is recorded here: that is done only when every server of a zone
//! shows all of them. One that lags is named, and the next run looks again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::records::{Shown, prefixes, records};
use super::{OperateError, Operation};
use crate::manager::config::Configuration;
use crate::manager::dns::observe::{Expect, Wanted, Watcher, observe_all};
use crate::manager::dns::publish::{Placed, Publisher, Rrsets};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{Certificate, Name, Objects, State, TlsaPrefix};
use crate::manager::inventory::schedule::Stage;
use crate::manager::run::World;
use crate::manager::tree::Tree;
use crate::pki::container;

/// How long name servers are waited for: the next run looks again, so nobody has to wait for a slow one here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose records are to be out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The certificate.
    pub name: Name,
    /// The instances whose records are out then, for every key of each, and no others.
    pub instances: Vec<i64>,
}

/// Has the records of instances out, and no others at the names of their certificates; `false` for a certificate
/// without TLSA services. Recorded for each instance as soon as every name server shows its records.
///
/// # Errors
/// [`OperateError`] when the inventory does not answer; what failed of single certificates is said in words.
pub fn publish(
    op: &mut Operation<'_>,
    wanted: &[Publication],
) -> Result<BTreeMap<Name, Result<bool, String>>, OperateError> {
    let (mut results, stages, found) = sets(op, wanted)?;
    let (of, sets): (Vec<&Publication>, Vec<Rrsets>) = found.into_iter().unzip();
    for (one, shown) in of.into_iter().zip(show(&op.world, &op.config, &sets)) {
        let known = stages.get(&one.name).map(Vec::as_slice).unwrap_or_default();
        let is_new = |id: &&i64| known.iter().any(|it| it.id == **id && it.published.is_none());
        let events: Vec<Event> =
            one.instances.iter().filter(is_new).map(|id| Event::Published { instance: *id }).collect();
        let mut result = shown.map(|()| true);
        if result.is_ok() && !events.is_empty() {
            // The wait counts from when they were seen, not from when the run began.
            result = op.record(&one.name, &events)?.map(|_| true);
        }
        results.insert(one.name.clone(), result);
    }
    Ok(results)
}

/// Takes all TLSA records away at the names of certificates, and nothing else there; `false` for a certificate
/// without TLSA services.
///
/// # Errors
/// As [`publish`].
pub fn withdraw(
    op: &mut Operation<'_>,
    names: &[Name],
) -> Result<BTreeMap<Name, Result<bool, String>>, OperateError> {
    let nothing = |name: &Name| Publication { name: name.clone(), instances: Vec::new() };
    let wanted: Vec<Publication> = names.iter().map(nothing).collect();
    let (mut results, _, found) = sets(op, &wanted)?;
    let (of, sets): (Vec<&Publication>, Vec<Rrsets>) = found.into_iter().unzip();
    let tree = Tree::new(op.world.root, &op.world.top);
    let placed = Publisher::new(&tree, &op.config.site).put_tlsa(&sets);
    for (one, placed) in of.into_iter().zip(placed) {
        results.insert(one.name.clone(), placed.map(|_| true));
    }
    Ok(results)
}

/// What has become of certificates.
type Results = BTreeMap<Name, Result<bool, String>>;
/// The instances of certificates.
type Stages = BTreeMap<Name, Vec<Stage>>;

/// What is to be at the names of each certificate that has some.
type Sets<'p> = Vec<(&'p Publication, Rrsets)>;

/// What is to be at the names of certificates, and what became of those that have no such names.
fn sets<'p>(
    op: &mut Operation<'_>,
    wanted: &'p [Publication],
) -> Result<(Results, Stages, Sets<'p>), OperateError> {
    if wanted.is_empty() {
        return Ok((Results::new(), Stages::new(), Vec::new()));
    }
    let names: Vec<Name> = wanted.iter().map(|one| one.name.clone()).collect();
    let objects = op.inventory.objects_of(&names)?;
    let stages = stages(op, &names)?;
    let (mut results, mut found) = (Results::new(), Vec::new());
    for one in wanted {
        let known = stages.get(&one.name).map(Vec::as_slice).unwrap_or_default();
        match set(op, &objects, one, known)? {
            Ok(Some(set)) => found.push((one, set)),
            Ok(None) => drop(results.insert(one.name.clone(), Ok(false))),
            Err(why) => drop(results.insert(one.name.clone(), Err(why))),
        }
    }
    Ok((results, stages, found))
}

/// The instances of certificates.
pub(super) fn stages(op: &mut Operation<'_>, names: &[Name]) -> Result<Stages, OperateError> {
    let mut stages = BTreeMap::new();
    op.inventory.standings(Some(names), &mut |standing| {
        stages.insert(standing.certificate, standing.instances);
    })?;
    Ok(stages)
}

/// What is to be at the names of a certificate; nothing where it has no TLSA services.
fn set(
    op: &mut Operation<'_>,
    objects: &Objects,
    wanted: &Publication,
    stages: &[Stage],
) -> Result<Result<Option<Rrsets>, String>, OperateError> {
    let Publication { name, instances } = wanted;
    let Some(certificate) = objects.certificates.get(name) else {
        return Ok(Err("it is not in the inventory".into()));
    };
    let prefixes = prefixes(objects, certificate);
    if prefixes.is_empty() {
        return Ok(Ok(None));
    }
    let mut shown = Vec::new();
    for id in instances {
        match keys(op, *id, &prefixes)? {
            Ok(keys) => shown.extend(keys),
            Err(why) => return Ok(Err(why)),
        }
    }
    let owners = match records(name, certificate, &prefixes, &shown) {
        Ok(owners) => owners,
        Err(why) => return Ok(Err(why)),
    };
    let former = former(op, (name, certificate), &prefixes, instances, stages)?;
    Ok(Ok(Some(Rrsets { owners, former })))
}

/// The records of the other instances, as far as they can be known: one that cannot be read has none.
fn former(
    op: &mut Operation<'_>,
    (name, certificate): (&Name, &Certificate),
    prefixes: &BTreeSet<&TlsaPrefix>,
    but: &[i64],
    stages: &[Stage],
) -> Result<Vec<crate::manager::dane::Record>, OperateError> {
    let mut former = Vec::new();
    let is_other = |it: &&Stage| {
        let was_never_out = matches!(it.state, State::Reserved | State::Archived);
        !but.contains(&it.id) && !was_never_out && it.published.is_some()
    };
    for stage in stages.iter().filter(is_other) {
        let keys = keys(op, stage.id, prefixes)?.unwrap_or_default();
        let found = records(name, certificate, prefixes, &keys).unwrap_or_default();
        former.extend(found.into_values().flatten());
    }
    Ok(former)
}

/// The certificates of an instance, for every key of it.
fn keys(
    op: &mut Operation<'_>,
    instance: i64,
    prefixes: &BTreeSet<&TlsaPrefix>,
) -> Result<Result<Vec<Shown>, String>, OperateError> {
    let keys = op.inventory.keys(instance)?;
    if keys.is_empty() {
        return Ok(Err(format!("instance {instance} holds no certificate")));
    }
    let first = |pem: &str| container::read(pem.as_bytes()).certificates.into_iter().next();
    let speaks_of_issuer = prefixes.iter().any(|prefix| matches!(prefix.usage, 0 | 2));
    let mut above = None;
    if speaks_of_issuer && keys.iter().any(|key| first(&key.chain).is_none()) {
        // Where an own authority signed, its instance tells.
        let issuer = op.inventory.instances()?.into_iter().find(|it| it.id == instance);
        if let Some(issuer) = issuer.and_then(|it| it.issuer) {
            above = op.inventory.keys(issuer)?.first().and_then(|key| first(&key.certificate));
        }
    }
    let mut shown = Vec::new();
    for key in keys {
        let Some(certificate) = first(&key.certificate) else {
            let algorithm = key.info.algorithm;
            return Ok(Err(format!("instance {instance}: its {algorithm} certificate cannot be read")));
        };
        let issuer = first(&key.chain).or_else(|| above.clone());
        shown.push(Shown { certificate, issuer });
    }
    Ok(Ok(shown))
}

/// Brings records into their zones and waits until every name server shows them; for each set how that ended.
fn show(world: &World<'_>, config: &Configuration, sets: &[Rrsets]) -> Vec<Result<(), String>> {
    let tree = Tree::new(world.root, &world.top);
    let placed = Publisher::new(&tree, &config.site).put_tlsa(sets);
    let mut results = Vec::new();
    let (mut zones, mut wanted, mut of) = (Vec::new(), Vec::new(), Vec::new());
    for (number, placed) in placed.into_iter().enumerate() {
        results.push(placed.map(|placed| {
            for Placed { zone, record } in placed {
                let known = zones.iter().position(|known| *known == zone);
                let zone = known.unwrap_or_else(|| {
                    zones.push(zone);
                    zones.len() - 1
                });
                wanted.push(Wanted { zone, record });
                of.push(number);
            }
        }));
    }
    if wanted.is_empty() {
        return results;
    }
    let deadline = Instant::now() + PATIENCE.min(Duration::from_secs(config.site.dns_check_timeout));
    let watcher = Watcher { seen: &|_| {}, progress: &|_| {} };
    let mut late: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for missing in observe_all(&zones, &wanted, Expect::Shown, deadline, &watcher) {
        if let Some(number) = of.get(missing.record) {
            late.entry(*number).or_default().extend(missing.servers);
        }
    }
    for (number, servers) in late {
        if let Some(result) = results.get_mut(number) {
            let servers: Vec<String> = servers.into_iter().collect();
            *result =
                Err(format!("not every name server shows its TLSA records yet: {}", servers.join("; ")));
        }
    }
    results
}
