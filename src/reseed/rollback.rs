//! The story backwards: puts back what a run replaced, records what was recorded before, and tells
//! the services.

use std::collections::BTreeMap;
use std::path::Path;

use tracing::info;

use crate::apply::Payload;
use crate::fault::Fault;
use crate::hook::HookName;
use crate::ledger::{Entry, Ledger, RunId};
use crate::plan::Request;
use crate::store;
use crate::system::root::{Lock, PathError};
use crate::transaction::{Backup, Kept, Staged};

use super::look::outlook;
use super::report::note;
use super::tell::tell;
use super::{ReseedError, World, record, recover};

/// Puts back what a run replaced: the last one that has a backup, or the one that is named.
///
/// # Errors
/// [`ReseedError`]
pub fn roll_back(world: World<'_>, run: Option<&RunId>) -> Result<(RunId, Vec<HookName>), ReseedError> {
    let lock = store::lock(world.root)?.ok_or(ReseedError::Busy)?;
    let mut ledger = store::ledger(world.root)?;
    let recovered = recover(world.root, &lock, &mut ledger)?;
    let kept = store::backups(world.root)?;
    let found = kept.into_iter().rev().find(|(id, _)| run.is_none_or(|run| run == id));
    let (run, hooks) = found.ok_or_else(|| match run {
        Some(run) => ReseedError::Usage(format!(
            "there is no backup of a run {run}; `ls {}` lists them",
            store::BACKUPS
        )),
        None => ReseedError::Usage("there is no backup of any run".into()),
    })?;
    let seen = outlook(world, &Request::default(), ledger.clone(), false, Vec::new())?;
    let id = RunId::new(world.now);
    let mut units = BTreeMap::new();
    for hook in &hooks {
        if let Some(reason) = recovered.stuck.get(hook) {
            return Err(PathError::refused(Path::new(store::BACKUPS), reason.clone()).into());
        }
        put_back(world, &lock, &mut ledger, &run, hook, &id)?;
        units.extend(
            seen.plan.hooks.iter().filter(|plan| plan.hook == *hook).flat_map(|plan| plan.tell.clone()),
        );
    }
    tell(world, &units)
        .map_err(|error| ReseedError::Path(PathError::refused(Path::new(store::BACKUPS), error)))?;
    note(world, &lock, &serde_json::json!({ "run": id, "rolled-back": run, "hooks": hooks }));
    Ok((run, hooks))
}

fn put_back(
    world: World<'_>,
    lock: &Lock,
    ledger: &mut Ledger,
    run: &RunId,
    hook: &HookName,
    id: &RunId,
) -> Result<(), ReseedError> {
    let kept = Kept::read(world.root, &store::backup_directory(run, hook))?;
    let entry = kept.before.as_deref().map(toml::from_str::<Entry>).transpose();
    let entry = entry.map_err(|error| {
        Fault::whole(
            &store::backup_directory(run, hook),
            format!("the recorded entry cannot be read: {error}"),
        )
    })?;
    let now = ledger.hook.get(hook).map(toml::to_string).transpose();
    let now = now.map_err(|error| ReseedError::Usage(error.to_string()))?;
    let payload = toml::to_string(&Payload { hook: hook.clone(), entry })
        .map_err(|error| ReseedError::Usage(error.to_string()))?;
    let backup = Backup::new(store::backup_directory(id, hook), now);
    let staged =
        Staged::begin(world.root, &format!("{id}-{hook}"), &kept.changes, payload.clone(), Some(backup))?;
    let committed = staged.swap()?.commit()?;
    record(ledger, &payload)?;
    store::save_ledger(world.root, lock, ledger)?;
    committed.finish()?;
    info!(%hook, %run, "rolled back");
    Ok(())
}
