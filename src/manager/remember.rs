//! What has to be done because of changed certificates and records: remembered before anything is changed.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::config::{AfterCopy, Configuration, Servers};
use super::deliver::agent;
use super::deliver::parcel::{destinations, wants};
use super::name::ServiceName;
use super::pending::{Action, Pending};
use super::restarts::{Restart, restarts};
use super::run::{Run, groups};

/// Remembers what has to be done because of changed certificates, of `waiting` ones that have come, and of changed
/// records in `zones`.
pub fn remember(
    run: &Run<'_>,
    pending: &mut Pending,
    changed: &BTreeSet<ServiceName>,
    waiting: &BTreeSet<ServiceName>,
    zones: &BTreeSet<String>,
) {
    let now = run.world.now;
    let site = &run.config.site;
    let destinations = destinations(site, &run.world.host);
    let hosts: BTreeSet<&str> = destinations.keys().copied().collect();
    forget_what_nobody_wants(&run.config, &hosts, pending, now);
    for (host, trees) in &destinations {
        let wants = |name: &&ServiceName| trees.iter().any(|tree| tree.wants(name));
        // What waits is shown by nobody, and no zone waits for it.
        if changed.union(waiting).any(|name| wants(&name)) {
            let groups = groups(changed.iter().filter(wants));
            pending.add(Action::Deliver { host: (*host).to_owned() }, groups, now);
        }
    }
    if !changed.is_empty() {
        for AfterCopy { host, program } in site.after_copy.iter().cloned() {
            pending.add(Action::AfterCopy { host, program }, [], now);
        }
    }
    if !changed.is_empty() && agent::reads(run, changed) {
        pending.add(Action::Agent, groups(changed), now);
    }
    for action in probes(&run.config, |servers| is_shown_by(servers, changed)) {
        pending.add(action, groups(changed), now);
    }
    for told in restarts(site, changed, zones) {
        match told {
            Restart::Dns { domains, .. } => {
                domains.into_iter().for_each(|apex| pending.add(Action::Zone { apex }, [], now));
            }
            told @ Restart::Host { .. } => {
                actions(told).into_iter().for_each(|action| pending.add(action, groups(changed), now));
            }
        }
    }
}

/// What is no longer configured is not tried for ever; what is configured in its place is tried instead, because
/// whoever was to be told has not been.
fn forget_what_nobody_wants(
    config: &Configuration,
    hosts: &BTreeSet<&str>,
    pending: &mut Pending,
    now: OffsetDateTime,
) {
    let site = &config.site;
    let commands: BTreeSet<Action> = site
        .servers
        .iter()
        .flat_map(|servers| {
            servers.hosts.iter().flat_map(|host| {
                let (sort, host, commands) = (servers.sort, host.clone(), servers.restart.clone());
                actions(Restart::Host { sort, host, commands })
            })
        })
        .collect();
    let after_copy: BTreeSet<Action> = site
        .after_copy
        .iter()
        .cloned()
        .map(|AfterCopy { host, program }| Action::AfterCopy { host, program })
        .collect();
    let probes: BTreeSet<Action> = probes(config, |_| true).collect();
    let is_wanted = |action: &Action| match action {
        Action::Deliver { host } => hosts.contains(host.as_str()),
        Action::Probe { .. } => probes.contains(action),
        Action::AfterCopy { .. } => after_copy.contains(action),
        Action::Restart { .. } => commands.contains(action),
        Action::Agent | Action::Zone { .. } => true,
    };
    let unwanted: Vec<(Action, BTreeSet<String>)> = pending
        .iter()
        .filter(|(action, _)| !is_wanted(action))
        .map(|(action, state)| (action.clone(), state.groups.clone()))
        .collect();
    for (action, groups) in unwanted {
        pending.done(&action);
        let instead = commands.union(&after_copy).filter(|other| match (&action, other) {
            (
                Action::Restart { sort, host, .. },
                Action::Restart { sort: other_sort, host: other_host, .. },
            ) => sort == other_sort && host == other_host,
            (Action::AfterCopy { host, .. }, Action::AfterCopy { host: other, .. }) => host == other,
            _ => false,
        });
        instead.for_each(|other| pending.add(other.clone(), groups.clone(), now));
    }
}

/// A look at each host of the tables that say where.
fn probes(config: &Configuration, is_meant: impl Fn(&Servers) -> bool) -> impl Iterator<Item = Action> {
    let meant =
        config.site.servers.iter().filter(move |servers| !servers.probes.is_empty() && is_meant(servers));
    meant.flat_map(|servers| {
        let sort = servers.sort;
        servers.hosts.iter().map(move |host| Action::Probe { sort, host: host.clone() })
    })
}

/// Says whether the servers of a table show another certificate now.
fn is_shown_by(servers: &Servers, changed: &BTreeSet<ServiceName>) -> bool {
    changed.iter().any(|name| !name.is_ca() && wants(servers, name))
}

fn actions(told: Restart) -> Vec<Action> {
    let Restart::Host { sort, host, commands } = told else { return Vec::new() };
    let action = |(position, command)| Action::Restart { sort, host: host.clone(), position, command };
    commands.into_iter().enumerate().map(action).collect()
}
