//! What machines say of themselves: a file for each, apart from the rest, so that they may come while a manager
//! holds the lock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

use super::super::model::{Instance, Name, State, SubjectType};
use super::super::store::{Inventory, InventoryError};
use super::{Files, GUARDED, PRIVATE, text};
use crate::manager::fleet::{Gathering, HostReport, InUse};
use crate::system::clock;
use crate::system::root::{Lock, PathError};
use crate::transaction;

/// How often a report tries to get at the lock, and how long it waits in between: ten seconds together.
const TRIES: u32 = 200;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Keeps a report.
pub fn keep(files: &Files<'_>, report: &HostReport, now: OffsetDateTime) -> Result<(), InventoryError> {
    let name = Name::new(&report.host)?;
    let said = report.to_text().map_err(InventoryError::Unusable)?;
    // One that is not there is rather misspelt, or not mounted, than to be made.
    if files.root.status(&files.root.resolve(&files.directory)?)?.is_none() {
        let says = "there is no such directory; make or mount it, or set push in [fleet] right";
        return Err(PathError::refused(&files.directory, says).into());
    }
    files.root.make_directory(&directory(files), GUARDED)?;
    let _lock = lock(files)?;
    let path = path(files, &name);
    let before = read(files, &path)?.and_then(Result::ok).map(|report| report.at);
    report.follows(before, now).map_err(InventoryError::Unusable)?;
    Ok(transaction::replace(files.root, &path, said.as_bytes(), PRIVATE)?)
}

/// Gives everything that is known.
pub fn gather(files: &mut Files<'_>, gathering: &mut Gathering) -> Result<(), InventoryError> {
    for name in files.root.names(&directory(files))? {
        let path = directory(files).join(name);
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match read(files, &path)? {
            Some(Ok(report)) => gathering.report(report),
            Some(Err(why)) => gathering.unread(format!("{}: {why}", path.display())),
            None => {}
        }
    }
    let objects = files.objects()?;
    for (name, certificate) in &objects.certificates {
        let is_authority = certificate.subject == SubjectType::Ca;
        let signs = |state: State| is_authority && matches!(state, State::Issued | State::Prepublished);
        let instances = files.read_instances(name)?;
        let last = instances.into_iter().rfind(|it| it.state == State::Deployed || signs(it.state));
        if let Some(in_use) = last.and_then(in_use) {
            gathering.in_use(in_use);
        }
    }
    objects.hosts.keys().for_each(|host| gathering.expected(host.as_str()));
    Ok(())
}

fn in_use(instance: Instance) -> Option<InUse> {
    let hosts = instance.deliveries.keys().filter(|host| instance.is_on(host)).map(Name::to_string).collect();
    Some(InUse {
        certificate: instance.certificate.to_string(),
        not_before: instance.not_before?,
        not_after: instance.not_after?,
        digests: instance.keys.into_iter().map(|key| key.digest).collect(),
        hosts,
    })
}

/// Removes a report.
pub fn forget(files: &Files<'_>, host: &Name) -> Result<bool, InventoryError> {
    let path = path(files, host);
    if files.root.status(&path)?.is_none() {
        return Ok(false);
    }
    let _lock = lock(files)?;
    files.root.remove(&path)?;
    files.root.sync(&directory(files))?;
    Ok(true)
}

fn read(files: &Files<'_>, path: &Path) -> Result<Option<Result<HostReport, String>>, InventoryError> {
    Ok(files.root.text(path)?.map(|text| HostReport::parse(&text)))
}

fn lock(files: &Files<'_>) -> Result<Lock, InventoryError> {
    let path = directory(files).join(".lock");
    for _ in 0..TRIES {
        if let Some(lock) = files.root.lock(&path)? {
            return Ok(lock);
        }
        clock::pause(BETWEEN_TRIES);
    }
    Err(InventoryError::Gone(format!("{}: somebody holds the lock for long", path.display())))
}

fn directory(files: &Files<'_>) -> PathBuf {
    files.directory.join("reports")
}

fn path(files: &Files<'_>, host: &Name) -> PathBuf {
    directory(files).join(format!("{}.json", text::directory(host)))
}
