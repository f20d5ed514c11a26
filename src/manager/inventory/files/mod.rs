//! The inventory in files, for one machine that manages others: the default.
//!
//! ```text
//! TOPDIR/inventory/objects.toml                      services, hosts with jails, places
//! TOPDIR/inventory/certificates/NAME/certificate.toml
//! TOPDIR/inventory/certificates/NAME/ID/instance.toml
//! TOPDIR/inventory/certificates/NAME/ID/rsa/{cert,chain,key}.pem, likewise ec
//! TOPDIR/inventory/reports/HOST.json                 what machines say of themselves
//! TOPDIR/inventory/.reseed/                          lock, journal
//! ```
//!
//! All changes of a step are one transaction. Each certificate has files of its own, so that a change writes a
//! few files however many certificates there are, and none of them grows without limit.

mod keys;
mod read;
mod reports;
mod standing;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use self::standing::{standing, troubles};
use self::text::Common;
use super::events::{Event, Record};
use super::model::{
    Alteration, AtRest, Certificate, Checked, Instance, KeyAlgorithm, KeyData, Name, Object, Objects,
    Reference, Refusal, Rule, ServiceKey, Target,
};
use super::schedule::Standing;
use super::store::{Anew, Change, Contents, Each, Inventory, InventoryError, Trouble};
use crate::manager::fleet::{Gathering, HostReport};
use crate::pki::key::Secret;
use crate::system::root::{Lock, PathError, Root};
use crate::transaction::{self, Change as FileChange, Place, Staged, own_attributes, recover};

/// An inventory in files.
#[derive(Debug)]
pub struct Files<'a> {
    root: &'a Root,
    directory: PathBuf,
    /// What is claimed, and the lock that makes it so.
    claimed: BTreeSet<Name>,
    lock: Option<Lock>,
}

const PRIVATE: u32 = 0o600;
const GUARDED: u32 = 0o700;
const OBJECTS: &str = "objects.toml";
const CERTIFICATE: &str = "certificate.toml";
const INSTANCE: &str = "instance.toml";

impl<'a> Files<'a> {
    /// The inventory in a directory; one that is not there is empty.
    pub fn new(root: &'a Root, directory: &Path) -> Self {
        Self { root, directory: directory.to_owned(), claimed: BTreeSet::new(), lock: None }
    }

    /// The directory that a manager's own inventory has.
    pub fn of_top(root: &'a Root, top: &Path) -> Self {
        Self::new(root, &top.join("inventory"))
    }

    fn own(&self, name: &str) -> PathBuf {
        self.directory.join(".reseed").join(name)
    }

    fn place(&self) -> Place<'a> {
        Place { root: self.root, journals: self.own("journal") }
    }

    /// Takes the lock for as long as `self` lives, and puts in order what was interrupted.
    fn hold(&mut self) -> Result<(), InventoryError> {
        if self.lock.is_some() {
            return Ok(());
        }
        self.root.make_directory(&self.own("journal"), GUARDED)?;
        let lock = self.root.lock(&self.own("lock"))?.ok_or(InventoryError::Busy)?;
        let recovery = recover(self.place())?;
        if let Some((_, error)) = recovery.stuck.into_iter().next() {
            return Err(error.into());
        }
        recovery.committed.into_iter().try_for_each(transaction::Committed::finish)?;
        self.lock = Some(lock);
        Ok(())
    }

    /// Lets the lock go where nothing is claimed.
    fn let_go(&mut self) {
        if self.claimed.is_empty() {
            self.lock = None;
        }
    }

    fn certificates(&self) -> PathBuf {
        self.directory.join("certificates")
    }

    fn certificate(&self, name: &Name) -> PathBuf {
        self.certificates().join(text::directory(name))
    }

    fn checked(&self) -> Result<(Checked, Common), InventoryError> {
        let (objects, common) = self.read_objects()?;
        let checked = Checked::new(objects).map_err(InventoryError::Refused)?;
        Ok((checked, common))
    }

    /// Writes all at once.
    fn write(&self, changes: Vec<FileChange>) -> Result<(), InventoryError> {
        if changes.is_empty() {
            return Ok(());
        }
        for change in &changes {
            if let FileChange::File { path, .. } = change
                && let Some(parent) = path.parent()
            {
                self.root.make_directory(parent, GUARDED)?;
            }
        }
        let staged = Staged::begin(self.place(), "inventory", &changes, String::new(), None)?;
        Ok(staged.swap()?.commit()?.finish()?)
    }

    fn objects_change(&self, objects: &Objects, common: Common) -> Result<FileChange, InventoryError> {
        Ok(file(self.directory.join(OBJECTS), text::of_objects(objects, common)?))
    }

    fn certificate_change(&self, name: &Name, it: &Certificate) -> Result<FileChange, InventoryError> {
        Ok(file(self.certificate(name).join(CERTIFICATE), text::of_certificate(name, it)?))
    }

    fn instance_change(&self, instance: &Instance) -> Result<FileChange, InventoryError> {
        let directory = self.certificate(&instance.certificate).join(instance.id.to_string());
        Ok(file(directory.join(INSTANCE), text::of_instance(instance)?))
    }

    fn key_changes(&self, instance: &Instance, keys: &[KeyData]) -> Vec<FileChange> {
        let directory = self.certificate(&instance.certificate).join(instance.id.to_string());
        let of = |key: &KeyData| {
            let directory = directory.join(key.info.algorithm.to_string());
            [
                file(directory.join("cert.pem"), key.certificate.clone()),
                file(directory.join("chain.pem"), key.chain.clone()),
                secret(directory.join("key.pem"), key.key.clone()),
            ]
        };
        keys.iter().flat_map(of).collect()
    }

    /// Takes away every file of an instance.
    fn removal(&self, name: &Name, id: i64) -> Result<Vec<FileChange>, InventoryError> {
        let directory = self.certificate(name).join(id.to_string());
        let mut changes = vec![FileChange::Remove { path: directory.join(INSTANCE) }];
        for algorithm in [KeyAlgorithm::Rsa, KeyAlgorithm::Ec] {
            let directory = directory.join(algorithm.to_string());
            let names = self.root.names(&directory)?;
            changes.extend(names.into_iter().map(|name| FileChange::Remove { path: directory.join(name) }));
        }
        Ok(changes)
    }

    /// Takes away the directories that a removal left empty; those that are not are left.
    fn tidy(&self, name: &Name, id: i64) {
        let directory = self.certificate(name).join(id.to_string());
        for algorithm in [KeyAlgorithm::Rsa, KeyAlgorithm::Ec] {
            let _ = self.root.remove_directory(&directory.join(algorithm.to_string()));
        }
        let _ = self.root.remove_directory(&directory);
    }

    /// Certificates without the file that makes them count are what an import left that did not end.
    fn refuse_leftovers(&self) -> Result<(), InventoryError> {
        let is_whole = self.root.status(&self.directory.join(OBJECTS))?.is_some();
        if is_whole || self.root.names(&self.certificates())?.is_empty() {
            return Ok(());
        }
        let says = "is left from an import that did not end; remove it, and import again";
        Err(PathError::refused(&self.certificates(), says).into())
    }

    fn change_held(&mut self, changes: &[Change]) -> Result<(), InventoryError> {
        self.refuse_leftovers()?;
        let (mut checked, common) = self.checked()?;
        let (mut touched, mut gone, mut shared) = (BTreeSet::new(), BTreeSet::new(), false);
        for change in changes {
            let certificate = match change {
                Change::Add(object) => owner(object),
                Change::Remove(Reference::AltName(alt)) => {
                    let all = checked.objects().certificates.iter();
                    let mut owners = all.filter(|(_, it)| it.names.contains_key(alt));
                    owners.next().map(|(name, _)| name.clone())
                }
                Change::Remove(
                    Reference::Certificate(name)
                    | Reference::Tlsa { certificate: name, .. }
                    | Reference::Target { certificate: name, .. },
                ) => Some(name.clone()),
                Change::Alter(Alteration::Certificate(name, _), _) => Some(name.clone()),
                Change::Alter(..) | Change::Remove(_) => None,
            };
            shared |= certificate.is_none();
            match change {
                Change::Add(object) => checked.add(object.clone())?,
                Change::Alter(alteration, now) => checked.alter(alteration, *now)?,
                Change::Remove(reference) => checked.remove(reference)?,
            }
            if let (Change::Remove(Reference::Certificate(name)), _) = (change, &certificate) {
                gone.insert(name.clone());
            } else if let Some(name) = &certificate {
                gone.remove(name);
            }
            touched.extend(certificate);
        }
        let objects = checked.objects();
        let mut files = Vec::new();
        let mut old: Vec<(Name, i64)> = Vec::new();
        for name in &touched {
            let instances = if gone.contains(name) { self.read_instances(name)? } else { Vec::new() };
            for instance in &instances {
                files.extend(self.removal(name, instance.id)?);
                old.push((name.clone(), instance.id));
            }
            let path = self.certificate(name).join(CERTIFICATE);
            match objects.certificates.get(name) {
                Some(certificate) => files.push(self.certificate_change(name, certificate)?),
                None if self.root.status(&path)?.is_some() => files.push(FileChange::Remove { path }),
                None => {}
            }
        }
        if shared || self.root.status(&self.directory.join(OBJECTS))?.is_none() {
            files.push(self.objects_change(objects, common)?);
        }
        self.write(files)?;
        old.iter().for_each(|(name, id)| self.tidy(name, *id));
        for name in &gone {
            let _ = self.root.remove_directory(&self.certificate(name));
        }
        Ok(())
    }
}

/// The certificate whose file an object is in; nothing for those that have one together.
fn owner(object: &Object) -> Option<Name> {
    match object {
        Object::Certificate(name, _)
        | Object::AltName { certificate: name, .. }
        | Object::Tlsa { certificate: name, .. }
        | Object::Target { certificate: name, .. } => Some(name.clone()),
        _ => None,
    }
}

fn file(path: PathBuf, content: String) -> FileChange {
    secret(path, Secret::new(content))
}

fn secret(path: PathBuf, content: Secret) -> FileChange {
    FileChange::File { path, content, attributes: own_attributes(PRIVATE), exact: false }
}

impl Inventory for Files<'_> {
    fn shown(&self) -> String {
        self.directory.display().to_string()
    }

    fn objects(&mut self) -> Result<Objects, InventoryError> {
        Ok(self.read_objects()?.0)
    }

    fn objects_of(&mut self, names: &[Name]) -> Result<Objects, InventoryError> {
        let mut objects = self.read_some(names)?.0;
        let named = objects.certificates.values();
        let targets: Vec<&Target> = named.clone().flat_map(|it| &it.targets).collect();
        let services: BTreeSet<&ServiceKey> = named.flat_map(|it| &it.services).collect();
        let hosts: BTreeSet<&Name> = targets.iter().map(|target| &target.host).collect();
        let places: BTreeSet<&Name> = targets.iter().filter_map(|target| target.place.as_ref()).collect();
        objects.services.retain(|key, _| services.contains(key));
        objects.hosts.retain(|name, _| hosts.contains(name));
        objects.places.retain(|name, _| places.contains(name));
        Ok(objects)
    }

    fn instances(&mut self) -> Result<Vec<Instance>, InventoryError> {
        let objects = self.read_objects()?.0;
        let mut found = Vec::new();
        for name in objects.certificates.keys() {
            found.extend(self.read_instances(name)?);
        }
        found.sort_by_key(|instance| instance.id);
        Ok(found)
    }

    fn instances_of(&mut self, certificate: &Name) -> Result<Vec<Instance>, InventoryError> {
        self.read_instances(certificate)
    }

    fn keys(&mut self, instance: i64) -> Result<Vec<KeyData>, InventoryError> {
        match self.find_instance(instance)? {
            Some(instance) => self.read_keys(&instance),
            None => Ok(Vec::new()),
        }
    }

    fn at_rest(&mut self) -> Result<AtRest, InventoryError> {
        Ok(self.read_common()?.map(|(_, common)| common.at_rest).unwrap_or_default())
    }

    fn stored_keys(&mut self, each: &mut Each<'_>) -> Result<(), InventoryError> {
        self.each_key(each)
    }

    fn keep_keys(&mut self, at_rest: AtRest, anew: &mut Anew<'_>) -> Result<(), InventoryError> {
        self.hold()?;
        let done = self.keep_held(at_rest, anew);
        self.let_go();
        done
    }

    fn keys_of(&mut self, instances: &[Instance]) -> Result<Vec<Vec<KeyData>>, InventoryError> {
        instances.iter().map(|instance| self.read_keys(instance)).collect()
    }

    fn troubles(&mut self, most: usize) -> Result<Vec<Trouble>, InventoryError> {
        let mut found = troubles(self.instances()?);
        found.truncate(most);
        Ok(found)
    }

    fn standings(
        &mut self,
        some: Option<&[Name]>,
        each: &mut dyn FnMut(Standing),
    ) -> Result<(), InventoryError> {
        let objects = match some {
            Some(some) => self.read_some(some)?.0,
            None => self.read_objects()?.0,
        };
        for (name, certificate) in &objects.certificates {
            each(standing(&objects, name, certificate, &self.read_instances(name)?));
        }
        Ok(())
    }

    fn change(&mut self, changes: &[Change]) -> Result<(), InventoryError> {
        self.hold()?;
        let done = self.change_held(changes);
        self.let_go();
        done
    }

    fn fill(&mut self, contents: &Contents) -> Result<(), InventoryError> {
        let checked = Checked::new(contents.objects.clone()).map_err(InventoryError::Refused)?;
        if self.root.status(&self.directory.join(OBJECTS))?.is_some() {
            let says = "the inventory is not empty; everything is taken in at once, or nothing";
            return Err(InventoryError::Unusable(format!("{}: {says}", self.shown())));
        }
        self.hold()?;
        self.refuse_leftovers()?;
        // Without objects.toml nothing else counts: it comes last.
        let (certificates, instances) = (&checked.objects().certificates, &contents.instances);
        let mut changes = Vec::new();
        for (name, certificate) in certificates {
            changes.push(self.certificate_change(name, certificate)?);
        }
        for (instance, keys) in instances {
            if !certificates.contains_key(&instance.certificate) {
                let says =
                    format!("instance {}: there is no certificate {}", instance.id, instance.certificate);
                return Err(Refusal::new(Rule::Unknown, says).into());
            }
            changes.push(self.instance_change(instance)?);
            changes.extend(self.key_changes(instance, keys));
        }
        let mut directories = BTreeSet::new();
        for change in changes {
            let FileChange::File { path, content, attributes, .. } = change else { continue };
            if let Some(parent) = path.parent() {
                if directories.insert(parent.to_owned()) {
                    self.root.make_directory(parent, GUARDED)?;
                }
                self.root.remove(&path)?;
                self.root.draft(&path, content.reveal(), &attributes)?;
            }
        }
        self.root.make_directory(&self.directory, GUARDED)?;
        self.root.sync_all(&BTreeSet::from([self.directory.as_path()]))?;
        let most = instances.iter().map(|(instance, _)| instance.id).max().unwrap_or_default();
        let next = contents.next.max(most + 1);
        let common = Common { next, at_rest: contents.at_rest };
        let text = text::of_objects(checked.objects(), common)?;
        transaction::replace(self.root, &self.directory.join(OBJECTS), text.as_bytes(), PRIVATE)?;
        self.let_go();
        Ok(())
    }

    fn contents(&mut self) -> Result<Contents, InventoryError> {
        let (objects, Common { next, at_rest }) = self.read_objects()?;
        let mut instances = Vec::new();
        for instance in self.instances()? {
            let keys = self.read_keys(&instance)?;
            instances.push((instance, keys));
        }
        Ok(Contents { objects, instances, next, at_rest })
    }

    /// The lock is claimed, and with it everything.
    fn claim(&mut self, names: &[Name], most: usize) -> Result<Vec<Name>, InventoryError> {
        self.hold()?;
        let objects = self.read_some(names)?.0;
        // The lock is ours, and so is everything.
        let known = |name: &&Name| objects.certificates.contains_key(name);
        let taken: Vec<Name> = names.iter().filter(known).take(most).cloned().collect();
        self.claimed.extend(taken.iter().cloned());
        self.let_go();
        Ok(taken)
    }

    fn record(
        &mut self,
        certificate: &Name,
        events: &[Event],
        now: OffsetDateTime,
    ) -> Result<Option<i64>, InventoryError> {
        if !self.claimed.contains(certificate) || self.lock.is_none() {
            return Err(InventoryError::ClaimLost(certificate.clone()));
        }
        let (objects, common) = self.read_some([certificate])?;
        let before =
            objects.certificates.get(certificate).cloned().ok_or_else(|| {
                Refusal::new(Rule::Unknown, format!("there is no certificate {certificate}"))
            })?;
        let known: BTreeMap<i64, Instance> =
            self.read_instances(certificate)?.into_iter().map(|it| (it.id, it)).collect();
        let mut record = Record {
            name: certificate.clone(),
            certificate: before.clone(),
            instances: known.values().cloned().collect(),
        };
        let (mut began, mut files, mut next) = (None, Vec::new(), common.next);
        for event in events {
            record.follow(event, next, now)?;
            match event {
                Event::Reserved { .. } => {
                    began = Some(next);
                    next += 1;
                }
                Event::Issued { instance, keys, .. } => {
                    common.at_rest.suits(before.subject, keys)?;
                    if let Some(instance) = record.instances.iter().find(|it| it.id == *instance) {
                        files.extend(self.key_changes(instance, keys));
                    }
                }
                _ => {}
            }
        }
        for instance in record.instances.iter().filter(|it| known.get(&it.id) != Some(it)) {
            files.push(self.instance_change(instance)?);
        }
        let gone: Vec<i64> =
            known.keys().filter(|id| !record.instances.iter().any(|it| it.id == **id)).copied().collect();
        for id in &gone {
            files.extend(self.removal(certificate, *id)?);
        }
        if record.certificate != before {
            files.push(self.certificate_change(certificate, &record.certificate)?);
        }
        if next != common.next {
            files.push(self.objects_change(&objects, Common { next, ..common })?);
        }
        self.write(files)?;
        gone.iter().for_each(|id| self.tidy(certificate, *id));
        Ok(began)
    }

    fn release(&mut self, certificate: &Name) -> Result<(), InventoryError> {
        self.claimed.remove(certificate);
        self.let_go();
        Ok(())
    }

    fn report(&mut self, report: &HostReport, now: OffsetDateTime) -> Result<(), InventoryError> {
        reports::keep(self, report, now)
    }

    fn gather(&mut self, gathering: &mut Gathering) -> Result<(), InventoryError> {
        reports::gather(self, gathering)
    }

    fn forget(&mut self, host: &Name) -> Result<bool, InventoryError> {
        reports::forget(self, host)
    }
}
