//! Brings what the state tree says to where it is used: the production copy, other machines, the services that
//! read it, the zones. The same at the end of every run, and idempotent: what was not finished is found again,
//! by looking or because it is remembered.
//!
//! ```text
//! compare → remember what is to be done → copy → deliver, run, restart → zones → forget what is done
//! ```

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use super::config::{AfterCopy, Change, Configuration, Service, Site};
use super::dane;
use super::deliver;
use super::exchangers::{self, Exchangers};
use super::issue::records;
use super::lineage::{Files, Lineage, Link, Version};
use super::name::ServiceName;
use super::pending::{Action, Pending};
use super::published::Published;
use super::report::Report;
use super::restarts::{Restart, restarts};
use super::run::{ManagerError, Run, groups};
use crate::system::root::PathError;
use crate::transaction::replace;

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Tell services and zones; else that is only remembered.
    pub acts: bool,
    /// Restart everything that could depend on any of the services, changed or not.
    pub restarts_all: bool,
}

/// Settles some services and the zones of their groups.
///
/// # Errors
/// [`ManagerError`] when nothing could be begun; everything else is in the report.
pub fn settle(run: &Run<'_>, names: &[ServiceName], extent: Extent) -> Result<Report, ManagerError> {
    let mut report = Report::default();
    let lineages = read(run, names, &mut report);
    let Agenda { stale, mut pending, mut published, exchangers } =
        agenda(run, names, &lineages, extent, &mut report)?;
    // On disk before anything is changed: a run that dies here is taken up by the next.
    run.save_pending(&pending)?;

    let failed: BTreeMap<ServiceName, PathError> = run.production.put(&stale).into_iter().collect();
    let copied = changed(&stale).into_iter().filter(|name| !failed.contains_key(name));
    report.published.extend(copied.map(|name| name.to_string()));
    tidy(run, &lineages, &failed, &mut report);
    let told = |(name, error): (&ServiceName, &PathError)| format!("{name}: the production copy: {error}");
    report.failures.extend(failed.iter().map(told));
    if extent.acts {
        act(run, &mut pending, &mut report);
        // Once more, because who has been told by now needs the old records no longer.
        let mut zones = Zones::compute(run, names, &lineages, &exchangers, &pending, &mut Report::default());
        // Who could not be given the new key shows the old one.
        zones.leave(failed.keys().map(ServiceName::group));
        if reads_zones_again(&run.config.site) {
            let changed = zones.changed(&published).into_iter();
            changed.for_each(|apex| pending.add_new(Action::Zone { apex }, run.world.now));
        }
        zones.write(run, &mut pending, &mut published, &mut report);
        run.save_published(&published)?;
        run.save_pending(&pending)?;
    }
    report.pending.extend(pending.iter().map(|(action, state)| match &state.error {
        Some(error) => format!("{action}: {error} (attempt {})", state.attempts),
        None => action.to_string(),
    }));
    Ok(report)
}

/// Says what [`settle`] would do with these lineages, and changes nothing.
///
/// # Errors
/// [`ManagerError`]
pub fn prospect(
    run: &Run<'_>,
    names: &[ServiceName],
    lineages: &BTreeMap<ServiceName, Lineage>,
    extent: Extent,
) -> Result<Report, ManagerError> {
    let mut report = Report::default();
    let agenda = agenda(run, names, lineages, extent, &mut report)?;
    for (name, link, _) in &agenda.stale {
        report.notes.push(format!("{name}: {link} would be copied to production"));
    }
    let verb = if extent.acts { "would be done" } else { "would be remembered" };
    report.notes.extend(agenda.pending.iter().map(|(action, _)| format!("{verb}: {action}")));
    Ok(report)
}

/// What there is to do.
struct Agenda<'l> {
    stale: Vec<Stale<'l>>,
    pending: Pending,
    published: Published,
    exchangers: Exchangers,
}

/// A version of which production has no copy, or an older one.
type Stale<'l> = (&'l ServiceName, Link, &'l Version);

fn agenda<'l>(
    run: &Run<'_>,
    names: &[ServiceName],
    lineages: &'l BTreeMap<ServiceName, Lineage>,
    extent: Extent,
    report: &mut Report,
) -> Result<Agenda<'l>, ManagerError> {
    let stale = stale_copies(run, lineages, report);
    let told = match extent.restarts_all {
        true => names.iter().cloned().collect(),
        false => changed(&stale),
    };
    let mut pending = run.pending()?;
    let published = run.published()?;
    let (exchangers, notes) = exchangers::ask(run, groups(names));
    report.notes.extend(notes);
    let zones = Zones::compute(run, names, lineages, &exchangers, &pending, report);
    remember(run, &mut pending, &told, &zones.changed(&published));
    if extent.restarts_all {
        let apexes = groups(names).into_iter().filter(|group| group != super::name::CA);
        apexes.for_each(|apex| pending.add(Action::Zone { apex }, [], run.world.now));
    }
    Ok(Agenda { stale, pending, published, exchangers })
}

/// Says whether name servers want to be told of records that changed.
fn reads_zones_again(site: &Site) -> bool {
    site.dns.depends.contains(&Change::Tlsa) || site.dns.depends.contains(&Change::Dns)
}

/// The services that will show another certificate.
fn changed(stale: &[Stale<'_>]) -> BTreeSet<ServiceName> {
    stale.iter().filter(|(_, link, _)| *link == Link::Curr).map(|(name, ..)| (*name).clone()).collect()
}

fn read(run: &Run<'_>, names: &[ServiceName], report: &mut Report) -> BTreeMap<ServiceName, Lineage> {
    let mut lineages = BTreeMap::new();
    for name in names {
        match run.tree.lineage(name) {
            Ok(lineage) => {
                lineages.insert(name.clone(), lineage);
            }
            Err(error) => report.failures.push(format!("{name}: {error}")),
        }
    }
    lineages
}

/// The versions of which production has no copy, or an older one. Only what can be served is ever copied there,
/// and what is there is never taken away for want of something better.
fn stale_copies<'l>(
    run: &Run<'_>,
    lineages: &'l BTreeMap<ServiceName, Lineage>,
    report: &mut Report,
) -> Vec<Stale<'l>> {
    let mut stale = Vec::new();
    for (name, lineage) in lineages {
        let versions = [(Link::Curr, lineage.live()), (Link::Next, lineage.waiting())];
        for (link, version) in versions {
            let Some(version) = version else { continue };
            match run.production.holds(name, link, version) {
                Ok(true) => {}
                Ok(false) => stale.push((name, link, version)),
                Err(error) => report.failures.push(format!("{name}: {error}")),
            }
        }
    }
    stale
}

/// Remembers what has to be done because of changed certificates, and of changed records in `zones`.
fn remember(run: &Run<'_>, pending: &mut Pending, changed: &BTreeSet<ServiceName>, zones: &BTreeSet<String>) {
    let now = run.world.now;
    let site = &run.config.site;
    forget_what_nobody_wants(&run.config, pending, now);
    if !changed.is_empty() {
        let elsewhere = |host: &String| !deliver::is_here(host, &run.world.host);
        for host in deliver::hosts(site).into_iter().filter(elsewhere) {
            pending.add(Action::Deliver { host }, groups(changed), now);
        }
        for AfterCopy { host, program } in site.after_copy.iter().cloned() {
            pending.add(Action::AfterCopy { host, program }, [], now);
        }
    }
    if !changed.is_empty() && deliver::agent::reads(run, changed) {
        pending.add(Action::Agent, groups(changed), now);
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
fn forget_what_nobody_wants(config: &Configuration, pending: &mut Pending, now: OffsetDateTime) {
    let site = &config.site;
    let hosts = deliver::hosts(site);
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
    let is_wanted = |action: &Action| match action {
        Action::Deliver { host } => hosts.contains(host),
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

fn actions(told: Restart) -> Vec<Action> {
    let Restart::Host { sort, host, commands } = told else { return Vec::new() };
    let action = |(position, command)| Action::Restart { sort, host: host.clone(), position, command };
    commands.into_iter().enumerate().map(action).collect()
}

/// Takes away the production copies of versions that wait no more, and what interrupted runs left.
fn tidy(
    run: &Run<'_>,
    lineages: &BTreeMap<ServiceName, Lineage>,
    failed: &BTreeMap<ServiceName, PathError>,
    report: &mut Report,
) {
    for (name, lineage) in lineages.iter().filter(|(name, _)| !failed.contains_key(*name)) {
        if let Err(error) = run.production.tidy(name, lineage.waiting().is_some()) {
            report.failures.push(format!("{name}: {error}"));
        }
    }
}

/// Carries out what is pending, except zones; one that fails is in nobody's way but, for a command, that of the
/// later commands of the same table on the same machine.
fn act(run: &Run<'_>, pending: &mut Pending, report: &mut Report) {
    let actions: Vec<Action> = pending.iter().map(|(action, _)| action.clone()).collect();
    for action in actions.iter().filter(|action| !matches!(action, Action::Zone { .. })) {
        match deliver::carry_out(run, action) {
            Ok(()) => {
                pending.done(action);
                report.done.push(action.to_string());
            }
            Err(error) => pending.failed(action, error),
        }
    }
}

/// The records of what servers may still show: of `prev` while one of them has to be told of `curr`, and of the
/// production copy while that is an older one.
fn former(
    run: &Run<'_>,
    service: &Service,
    lineage: &Lineage,
    exchangers: &[String],
    pending: &Pending,
) -> Result<Vec<dane::Record>, String> {
    let failed = |error: PathError| error.to_string();
    let mut former = Vec::new();
    if pending.holds_back(service.name.group()) {
        let prev = run.tree.linked_version(&service.name, Link::Prev).map_err(failed)?;
        if let Some(prev) = prev.filter(|prev| prev.certificate.is_some()) {
            former.extend(records(service, &prev.files, exchangers)?);
        }
    }
    let served = run.production.full_chain(&service.name).map_err(failed)?;
    let curr = lineage.curr.as_ref().and_then(|curr| curr.files.full_chain.as_ref());
    if served.is_some() && served.as_ref() != curr {
        // What cannot be read there is shown by nobody.
        let served = Files { full_chain: served, ..Files::default() };
        former.extend(records(service, &served, exchangers).unwrap_or_default());
    }
    former.sort();
    former.dedup();
    Ok(former)
}

/// What belongs into the zones of some groups.
struct Zones {
    /// By apex domain: the text of the group's file, and the text of each record in it.
    wanted: BTreeMap<String, (String, Vec<String>)>,
    /// Apex domains that have no records and never had: their zones can be read again all the same.
    bare: BTreeSet<String>,
}

impl Zones {
    /// The records of all services of the groups: of what is served and of what will be. While a server has
    /// not taken up the new certificate, those of the old one stay too.
    fn compute(
        run: &Run<'_>,
        names: &[ServiceName],
        lineages: &BTreeMap<ServiceName, Lineage>,
        exchangers: &Exchangers,
        pending: &Pending,
        report: &mut Report,
    ) -> Self {
        let (mut wanted, mut bare) = (BTreeMap::new(), BTreeSet::new());
        for apex in groups(names).into_iter().filter(|group| group != super::name::CA) {
            match Self::of_group(run, &apex, lineages, exchangers, pending) {
                Ok(Some(zone)) => {
                    wanted.insert(apex, zone);
                }
                Ok(None) => {
                    bare.insert(apex);
                }
                Err(error) => {
                    report.failures.push(format!("{apex}: its TLSA records stay as they are: {error}"))
                }
            }
        }
        Self { wanted, bare }
    }

    fn of_group(
        run: &Run<'_>,
        apex: &str,
        lineages: &BTreeMap<ServiceName, Lineage>,
        exchangers: &Exchangers,
        pending: &Pending,
    ) -> Result<Option<(String, Vec<String>)>, String> {
        let exchangers = exchangers.of(apex);
        let services: Vec<&Service> = run
            .config
            .services
            .values()
            .filter(|service| service.name.group() == apex && !service.dane.is_empty())
            .collect();
        let has_file = run.world.root.status(&run.tree.group_tlsa(apex)).is_ok_and(|status| status.is_some());
        if services.is_empty() && !has_file {
            return Ok(None);
        }
        let mut versions = Vec::new();
        for service in services {
            let read;
            let lineage = match lineages.get(&service.name) {
                Some(lineage) => lineage,
                None => {
                    read = run.tree.lineage(&service.name).map_err(|error| error.to_string())?;
                    &read
                }
            };
            // A `curr` that cannot be told what it is would take records away that are still needed.
            if let Some(curr) = lineage.curr.as_ref().filter(|curr| curr.certificate.is_none()) {
                return Err(format!("{}: {}", service.name, curr.problems.join("; ")));
            }
            let of = |version: Option<&Version>| {
                version.map(|version| records(service, &version.files, exchangers)).transpose()
            };
            let name = service.name.service();
            let (curr, next) = (of(lineage.curr.as_ref())?, of(lineage.waiting())?);
            let is_first = curr.is_none();
            versions.extend(dane::publish(name, curr, next));
            if !is_first {
                let records = former(run, service, lineage, exchangers, pending)?;
                if !records.is_empty() {
                    versions.push(dane::Version { service: name.to_owned(), link: Link::Prev, records });
                }
            }
        }
        let records: BTreeSet<String> =
            versions.iter().flat_map(|version| &version.records).map(ToString::to_string).collect();
        Ok(Some((dane::group_file(apex, &versions), records.into_iter().collect())))
    }

    /// The zones that do not hold what they should.
    fn changed(&self, published: &Published) -> BTreeSet<String> {
        self.wanted
            .iter()
            .filter(|(apex, (_, records))| !published.holds(apex, records.iter().cloned()))
            .map(|(apex, _)| apex.clone())
            .collect()
    }

    /// Leaves the zones of some groups as they are.
    fn leave<'g>(&mut self, groups: impl Iterator<Item = &'g str>) {
        groups.for_each(|group| drop(self.wanted.remove(group)));
    }

    /// Writes the group's files, brings them to where zones include them, and has the zones read again.
    fn write(&self, run: &Run<'_>, pending: &mut Pending, published: &mut Published, report: &mut Report) {
        let is_due = |apex: &&String| pending.contains(&Action::Zone { apex: (*apex).clone() });
        let mut due: Vec<String> = self.bare.iter().filter(is_due).cloned().collect();
        for (apex, (text, records)) in &self.wanted {
            let action = Action::Zone { apex: apex.clone() };
            let written = self.file(run, apex, text);
            match written {
                Err(error) if pending.contains(&action) => pending.failed(&action, error),
                // The records are those that are in the zone, but not all of their files are there.
                Err(error) => report.failures.push(format!("{apex}: its TLSA records: {error}")),
                Ok(()) if pending.contains(&action) => due.push(apex.clone()),
                // Who reads the zone is not to be told: it does by itself.
                Ok(()) => published.set(apex, records.iter().cloned(), run.world.now),
            }
        }
        if due.is_empty() {
            return;
        }
        match deliver::refresh_zones(run, &due) {
            Ok(()) => {
                for apex in due {
                    let records =
                        self.wanted.get(&apex).map(|(_, records)| records.clone()).unwrap_or_default();
                    published.set(&apex, records, run.world.now);
                    let action = Action::Zone { apex };
                    pending.done(&action);
                    report.done.push(action.to_string());
                }
            }
            Err(error) => {
                due.into_iter().for_each(|apex| pending.failed(&Action::Zone { apex }, error.clone()));
            }
        }
    }

    /// The group's file: in the state tree, in production, and in every directory of the configuration.
    fn file(&self, run: &Run<'_>, apex: &str, text: &str) -> Result<(), String> {
        let failed = |error: PathError| error.to_string();
        let root = run.world.root;
        let own = run.tree.group_tlsa(apex);
        let name = format!("tlsa.{apex}");
        let elsewhere = run.config.site.dns.tlsa_directories.iter().map(|directory| directory.join(&name));
        for path in std::iter::once(own.clone()).chain(elsewhere) {
            if root.read_optional(&path).map_err(failed)?.as_deref() != Some(text.as_bytes()) {
                if path == own {
                    run.tree.prepare_group(apex).map_err(failed)?;
                }
                replace(root, &path, text.as_bytes(), 0o644).map_err(failed)?;
            }
        }
        run.production.put_text(apex, &name, text).map(drop).map_err(failed)
    }
}
