//! `clean`: removes versions that no link leads to, the newest of them kept.

use super::lineage::VersionName;
use super::manual::request::waiting;
use super::name::ServiceName;
use super::report::Report;
use super::run::{ManagerError, Run, World, recorded};
use super::select::select;
use crate::system::root::PathError;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Which services, in words; none for the active groups'.
    pub selection: Vec<String>,
    /// Every service that has a directory, configured or not.
    pub all: bool,
    /// How many are kept, instead of the configuration's.
    pub keep: Option<usize>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Cleans.
///
/// # Errors
/// [`ManagerError`] when nothing could be begun; what cannot be removed is in the report.
pub fn clean(world: World<'_>, request: &Request) -> Result<Report, ManagerError> {
    recorded(world, "clean", request.dry_run, |run| {
        let names = match request.all {
            true => run.tree.services()?.into_iter().collect(),
            false => select(&run.config, &request.selection).map_err(ManagerError::Usage)?,
        };
        let keep = request.keep.unwrap_or(run.config.site.keep);
        let mut report = Report::default();
        remove(run, &names, keep, request.dry_run, &mut report);
        Ok(report)
    })
}

/// Removes what some services have more of than is kept.
pub(super) fn remove(run: &Run<'_>, names: &[ServiceName], keep: usize, dry_run: bool, report: &mut Report) {
    for name in names {
        let removed = surplus(run, name, keep.max(1)).and_then(|surplus| {
            for version in &surplus {
                if !dry_run {
                    run.tree.remove(&run.lock, name, version)?;
                }
            }
            Ok(surplus)
        });
        let verb = if dry_run { "would be removed" } else { "removed" };
        match removed {
            Ok(surplus) => {
                report.done.extend(surplus.iter().map(|version| format!("{name}: {verb}: {version}")))
            }
            Err(error) => report.failures.push(format!("{name}: {error}")),
        }
    }
}

/// The versions that go: not linked, not among the newest, and not a request that still waits for an answer. That
/// of a service which an authority of ours signs waits for nobody: an interrupted run left it.
fn surplus(run: &Run<'_>, name: &ServiceName, keep: usize) -> Result<Vec<VersionName>, PathError> {
    let mut unlinked = run.tree.versions(name)?;
    // Most have nothing that could go, and nothing of theirs has to be read.
    if unlinked.len() <= keep {
        return Ok(Vec::new());
    }
    let linked = run.tree.linked_versions(name)?;
    let waiting: Vec<VersionName> =
        waiting(&run.tree, name)?.into_iter().map(|request| request.version).collect();
    unlinked.retain(|version| !linked.contains(version) && !waiting.contains(version));
    let surplus = unlinked.len().saturating_sub(keep);
    unlinked.truncate(surplus);
    Ok(unlinked)
}
