//! `clean`: removes versions that no link leads to, the newest of them kept.

use super::lineage::VersionName;
use super::manual::request::waiting;
use super::name::ServiceName;
use super::report::Report;
use super::run::{ManagerError, Run, World};
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
    let run = Run::begin(world)?;
    let names = match request.all {
        true => run.tree.services()?.into_iter().collect(),
        false => select(&run.config, &request.selection).map_err(ManagerError::Usage)?,
    };
    let keep = request.keep.unwrap_or(run.config.site.keep).max(1);
    let mut report = Report::default();
    for name in &names {
        let removed = surplus(&run, name, keep).and_then(|surplus| {
            for version in &surplus {
                if !request.dry_run {
                    run.tree.remove(&run.lock, name, version)?;
                }
            }
            Ok(surplus)
        });
        let verb = if request.dry_run { "would be removed" } else { "removed" };
        match removed {
            Ok(surplus) => {
                report.done.extend(surplus.iter().map(|version| format!("{name}: {verb}: {version}")))
            }
            Err(error) => report.failures.push(format!("{name}: {error}")),
        }
    }
    Ok(report)
}

/// The versions that go: not linked, not among the newest, and not a request that still waits for an answer. That
/// of a service which an authority of ours signs waits for nobody: an interrupted run left it.
fn surplus(run: &Run<'_>, name: &ServiceName, keep: usize) -> Result<Vec<VersionName>, PathError> {
    let linked = run.tree.linked_versions(name)?;
    let waiting: Vec<VersionName> =
        waiting(&run.tree, name)?.into_iter().map(|request| request.version).collect();
    let mut unlinked = run.tree.versions(name)?;
    unlinked.retain(|version| !linked.contains(version) && !waiting.contains(version));
    let surplus = unlinked.len().saturating_sub(keep);
    unlinked.truncate(surplus);
    Ok(unlinked)
}
