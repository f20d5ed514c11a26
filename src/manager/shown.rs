//! Whether every name server of a zone shows the TLSA records that were brought into it. From then on, and not
//! before, a resolver that asks anew learns of them, wherever it asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::dane;
use super::dns::observe::{Expect, Wanted, Watcher, observe_all};
use super::dns::{Data, Record, Zone, resolvers};
use super::outlook::askable;
use super::published::Published;
use super::run::Run;

/// How long name servers are waited for: the next run looks again, so nobody has to wait for a slow one here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks for the records of zones, as far as they are in them and not all name servers are known to show them.
/// Remembers what was seen, and says of each zone which servers do not show them yet.
pub fn look(
    run: &Run<'_>,
    records: &BTreeMap<String, Vec<dane::Record>>,
    published: &mut Published,
) -> Vec<String> {
    // The network is that of the system that runs.
    if !run.world.root.is_live() {
        return Vec::new();
    }
    let mut looked_for = Vec::new();
    let (mut zones, mut wanted) = (Vec::new(), Vec::new());
    for (apex, records) in records {
        let is_unseen = |record: &&dane::Record| {
            published.state(apex, [*record]).is_some_and(|state| state.seen.is_none())
        };
        let records: BTreeSet<&dane::Record> =
            askable(&run.config, apex, records).into_iter().filter(is_unseen).collect();
        if records.is_empty() {
            continue;
        }
        for record in records {
            looked_for.push((apex, record));
            wanted.push(Wanted { zone: zones.len(), record: asked(record) });
        }
        zones.push(zone(run, apex));
    }
    if wanted.is_empty() {
        return Vec::new();
    }
    let times = Mutex::new(BTreeMap::new());
    let seen = |index: usize| {
        times.lock().unwrap_or_else(PoisonError::into_inner).insert(index, run.now());
    };
    let deadline = Instant::now() + PATIENCE.min(Duration::from_secs(run.config.site.dns_check_timeout));
    let watcher = Watcher { seen: &seen, progress: &|_| {} };
    let mut missing: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for one in observe_all(&zones, &wanted, Expect::Shown, deadline, &watcher) {
        missing.entry(one.record).or_default().extend(one.servers);
    }
    let times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut late: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (index, (apex, record)) in looked_for.into_iter().enumerate() {
        let servers = missing.remove(&index).unwrap_or_default();
        late.entry(apex).or_default().extend(servers.iter().cloned());
        published.looked(apex, record, servers, times.get(&index).copied().unwrap_or_else(|| run.now()));
    }
    late.retain(|_, servers| !servers.is_empty());
    let said = |(apex, servers): (&str, BTreeSet<String>)| {
        let servers: Vec<String> = servers.into_iter().collect();
        format!("{apex}: not every name server shows its TLSA records yet: {}", servers.join("; "))
    };
    late.into_iter().map(said).collect()
}

/// Whom to ask. Not the further resolvers of the site: what they remember is what the TTL is waited for.
fn zone(run: &Run<'_>, apex: &str) -> Zone {
    Zone {
        apex: apex.to_ascii_lowercase(),
        primary: run.config.site.primary(apex).cloned(),
        resolvers: resolvers::of_system(run.world.root),
        extra: Vec::new(),
    }
}

fn asked(record: &dane::Record) -> Record {
    let dane::Record { owner, usage, selector, matching, data, .. } = record;
    let (usage, selector, matching) = (*usage, *selector, *matching);
    let data = Data::Tlsa { usage, selector, matching, association: data.clone() };
    Record { name: owner.clone(), data }
}
