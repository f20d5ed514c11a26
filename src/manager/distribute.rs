//! `distribute` and `dns-refresh`: bring what the state tree says to where it is used, and do what is still to
//! be done.

use super::name::CA;
use super::pending::Action;
use super::renew::opening;
use super::report::Report;
use super::revoke;
use super::run::{ManagerError, World, groups, recorded};
use super::select::select;
use super::settle::{self, Extent, settle};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which services, in words; none for the active groups'.
    pub selection: Vec<String>,
    /// How far it goes.
    pub extent: Extent,
    /// Have all zones read again, changed or not.
    pub refreshes_zones: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Distributes.
///
/// # Errors
/// [`ManagerError`] when nothing could be begun; everything else is in the report.
pub fn distribute(world: World<'_>, request: &Request) -> Result<Report, ManagerError> {
    let command = if request.refreshes_zones { "dns-refresh" } else { "distribute" };
    recorded(world, command, request.dry_run, |run| {
        let names = select(&run.config, &request.selection).map_err(ManagerError::Usage)?;
        let lineages = run.lineages(&names, request.dry_run);
        let mut report = opening(run, &lineages);
        if request.dry_run {
            report.absorb(settle::prospect(run, &names, &lineages.found, request.extent)?);
            return Ok(report);
        }
        if request.refreshes_zones {
            let mut pending = run.pending()?;
            for apex in groups(&names).into_iter().filter(|group| group != CA) {
                pending.add(Action::Zone { apex }, [], run.world.now);
            }
            run.save_pending(&pending)?;
        }
        report.absorb(settle(run, &names, request.extent)?);
        revoke::refresh(run, &mut report);
        Ok(report)
    })
}
