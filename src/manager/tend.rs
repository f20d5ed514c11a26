//! `tend`: everything that a site needs from time to time, for a timer. Where nothing is due, nobody is told; an
//! authority is asked when it wants renewals as often as it says, and a zone for its mail exchangers once a day.
//!
//! ```text
//! lock, recover → look, put right → renew what is due → roll what has waited → settle → clean → remember
//! ```

use std::collections::{BTreeMap, BTreeSet};

use time::Duration;

use super::issue::Order;
use super::lineage::Lineage;
use super::name::ServiceName;
use super::pending::Action;
use super::renew::{self, opening};
use super::report::{Outcome, Report};
use super::roll;
use super::run::{self, ManagerError, Run, World, groups, recorded};
use super::select::select;
use super::settle::{self, Extent, settle};
use super::{acquire, clean, exchangers, revoke, suggested};

/// How long the mail exchangers of a zone are believed to be who they were: a new one without TLSA records is
/// sent mail all the same.
const EXCHANGERS_KEPT: Duration = Duration::DAY;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Which services, in words; none for the active groups'.
    pub selection: Vec<String>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Tends a site.
///
/// # Errors
/// [`ManagerError`] when nothing could be begun; everything else is in the report.
pub fn tend(world: World<'_>, request: &Request) -> Result<Report, ManagerError> {
    let Request { selection, dry_run } = request.clone();
    let renewal = renew::Request { selection: selection.clone(), dry_run, ..renew::Request::default() };
    let rolling = roll::Request { selection, dry_run, ..roll::Request::default() };
    let extent = Extent { acts: true, restarts_all: false };
    recorded(world, "tend", dry_run, |run| {
        let names = select(&run.config, &request.selection).map_err(ManagerError::Usage)?;
        let mut lineages = run.lineages(&names, dry_run);
        let mut report = opening(run, &lineages);
        if !dry_run {
            report.failures.extend(acquire::sweep(run));
            report.notes.extend(suggested::ask(run, &lineages.found)?);
        }
        let orders = renew::decide(run, &renewal, &lineages, &mut report);
        leave_quiet_zones(run, &lineages.found, &orders)?;
        if !orders.is_empty() && !dry_run {
            // Whatever else is to be done does not wait for a passphrase.
            if let Err(error) = renew::make(run, &renewal, orders, &lineages, &mut report) {
                report.failures.push(error.to_string());
            }
            lineages = run.lineages(&names, dry_run);
        }
        for (name, outcome) in roll::take_over(run, &rolling, &lineages)? {
            let waits = lineages.found.get(&name).is_some_and(|lineage| lineage.waiting().is_some());
            tell(&mut report, name, outcome, waits);
        }
        if dry_run {
            report.absorb(settle::prospect(run, &names, &lineages.found, extent)?);
        } else {
            report.absorb(settle(run, &names, extent)?);
            revoke::refresh(run, &mut report);
        }
        clean::remove(run, &names, run.config.site.keep, dry_run, &mut report);
        Ok(report)
    })
}

/// The zones of groups with nothing to do are not asked for their mail exchangers, once they have been lately.
fn leave_quiet_zones(
    run: &Run<'_>,
    found: &BTreeMap<ServiceName, Lineage>,
    orders: &[(Order, String)],
) -> Result<(), ManagerError> {
    let mut busy = groups(orders.iter().map(|(order, _)| &order.name));
    busy.extend(groups(found.iter().filter(|(_, lineage)| lineage.next.is_some()).map(|(name, _)| name)));
    busy.extend(run.pending()?.iter().filter_map(|(action, _)| match action {
        Action::Zone { apex } => Some(apex.clone()),
        _ => None,
    }));
    let history = run::history(&run.tree).unwrap_or_default();
    let is_known = |group: &String| {
        history.last_asked(group).is_some_and(|at| (at..at + EXCHANGERS_KEPT).contains(&run.world.now))
    };
    let all: BTreeSet<String> = groups(found.keys());
    exchangers::leave(run, all.difference(&busy).filter(|group| is_known(group)).cloned());
    Ok(())
}

/// Tells what became of a successor beside what became of its service before, as far as it says more.
fn tell(report: &mut Report, name: ServiceName, outcome: Outcome, waits: bool) {
    match (report.services.get(&name), &outcome) {
        (Some(_), Outcome::Left { .. }) if !waits => {}
        (Some(Outcome::Made { .. } | Outcome::Failed { .. }), Outcome::Left { .. }) => {}
        (Some(Outcome::Failed { error }), _) => {
            let error = format!("{name}: {error}");
            report.failures.push(error);
            report.services.insert(name, outcome);
        }
        _ => {
            report.services.insert(name, outcome);
        }
    }
}
