//! Brings what the state tree says to where it is used: the production copy, other machines, the services that
//! read it, the zones. The same at the end of every run, and idempotent: what was not finished is found again,
//! by looking or because it is remembered.
//!
//! ```text
//! compare → remember what is to be done → copy → deliver, run, restart → zones → forget what is done → look
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Change, Site};
use super::deliver;
use super::dns::publish::Publisher;
use super::exchangers::{self, Exchangers};
use super::lineage::{Lineage, Link, Version};
use super::name::ServiceName;
use super::pending::{Action, Pending};
use super::published::Published;
use super::remember::remember;
use super::report::Report;
use super::run::{ManagerError, Run, groups};
use super::shown;
use super::status::told;
use super::zones::Zones;
use crate::system::root::PathError;

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
    // Of a system that does not run, nothing is run here: it is told when it does.
    let is_live = run.world.root.is_live();
    let extent = Extent { acts: extent.acts && is_live, ..extent };
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
    let refused = |(name, error): (&ServiceName, &PathError)| format!("{name}: the production copy: {error}");
    report.failures.extend(failed.iter().map(refused));
    if extent.acts {
        act(run, &mut pending, &mut report);
        // Once more, because who has been told by now needs the old records no longer.
        let recorded = (&pending, &published);
        let mut zones = Zones::compute(run, names, &lineages, &exchangers, recorded, &mut Report::default());
        // Who could not be given the new key shows the old one.
        zones.leave(failed.keys().map(ServiceName::group));
        let changed = zones.changed(&published);
        let publisher = Publisher::new(&run.tree, &run.config.site);
        let is_told = |apex: &&String| reads_zones_again(&run.config.site) || publisher.updates_tlsa(apex);
        for apex in changed.iter().filter(is_told).cloned() {
            pending.add_new(Action::Zone { apex }, run.world.now);
        }
        zones.write(run, &mut pending, &mut published, &mut report);
        run.save_published(&published)?;
        run.save_pending(&pending)?;
        report.notes.extend(shown::look(run, &zones.records(&changed), &mut published));
        run.save_published(&published)?;
    }
    let left = pending.iter().map(|(action, state)| told(action, state));
    match is_live {
        true => report.pending.extend(left),
        false => report.notes.extend(left.map(|left| format!("to be done when this system runs: {left}"))),
    }
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
    let zones = Zones::compute(run, names, lineages, &exchangers, (&pending, &published), report);
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
