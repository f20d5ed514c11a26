//! The inventory in files, for one machine that manages others: the default.
//!
//! ```text
//! TOPDIR/inventory/objects.toml                      services, hosts with jails, places
//! TOPDIR/inventory/certificates/NAME/certificate.toml
//! TOPDIR/inventory/certificates/NAME/ID/instance.toml
//! TOPDIR/inventory/certificates/NAME/ID/rsa/{cert,chain,key}.pem, likewise ec
//! TOPDIR/inventory/.reseed/                          lock, journal
//! ```
//!
//! All changes of a step are one transaction. Each certificate has files of its own, so that a change writes a
//! few files however many certificates there are, and none of them grows without limit.

#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::events::{Event, Record};
use super::model::{
    Alteration, Certificate, Checked, Instance, KeyAlgorithm, KeyData, KeyInfo, Name, Object, Objects,
    Outcome, Reference, Refusal, Rule, ServiceKey, State, Target,
};
use super::schedule::{Stage, Standing};
use super::store::{Change, Contents, Inventory, InventoryError, Trouble};
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

    fn read_objects(&self) -> Result<(Objects, i64), InventoryError> {
        let Some((mut objects, next)) = self.read_common()? else { return Ok((Objects::default(), 1)) };
        for directory in self.root.names(&self.certificates())? {
            objects.certificates.extend(self.read_certificate(&self.certificates().join(directory))?);
        }
        Ok((objects, next))
    }

    /// Services, hosts and places, and the number of the next instance. Without them there is nothing else: they
    /// come last.
    fn read_common(&self) -> Result<Option<(Objects, i64)>, InventoryError> {
        let path = self.directory.join(OBJECTS);
        let content = self.root.text(&path)?;
        Ok(content.map(|content| text::objects(&path, &content)).transpose()?)
    }

    /// The certificate in a directory. One without its file was begun and never came to be.
    fn read_certificate(&self, directory: &Path) -> Result<Option<(Name, Certificate)>, InventoryError> {
        let path = directory.join(CERTIFICATE);
        let content = self.root.text(&path)?;
        Ok(content.map(|content| text::certificate(&path, &content)).transpose()?)
    }

    /// Some certificates with all services, hosts and places, and the number of the next instance.
    fn read_some<'n>(
        &self,
        names: impl IntoIterator<Item = &'n Name>,
    ) -> Result<(Objects, i64), InventoryError> {
        let Some((mut objects, next)) = self.read_common()? else { return Ok((Objects::default(), 1)) };
        for name in names {
            objects.certificates.extend(self.read_certificate(&self.certificate(name))?);
        }
        Ok((objects, next))
    }

    /// An instance by its number alone: each lies in a directory of that name.
    fn find_instance(&self, id: i64) -> Result<Option<Instance>, InventoryError> {
        if self.read_common()?.is_none() {
            return Ok(None);
        }
        for directory in self.root.names(&self.certificates())? {
            let directory = self.certificates().join(directory);
            let path = directory.join(id.to_string()).join(INSTANCE);
            if self.root.status(&path)?.is_none() {
                continue;
            }
            // Without its certificate it was removed with it, and not yet wholly.
            if let Some((name, _)) = self.read_certificate(&directory)?
                && let Some(content) = self.root.text(&path)?
            {
                return Ok(Some(text::instance(&path, &content, &name, id)?));
            }
        }
        Ok(None)
    }

    fn checked(&self) -> Result<(Checked, i64), InventoryError> {
        let (objects, next) = self.read_objects()?;
        let checked = Checked::new(objects).map_err(InventoryError::Refused)?;
        Ok((checked, next))
    }

    fn read_instances(&self, name: &Name) -> Result<Vec<Instance>, InventoryError> {
        let directory = self.certificate(name);
        let mut found = Vec::new();
        for entry in self.root.names(&directory)? {
            let Some(id) = entry.to_str().and_then(|entry| entry.parse::<i64>().ok()) else { continue };
            let path = directory.join(&entry).join(INSTANCE);
            let Some(content) = self.root.text(&path)? else { continue };
            found.push(text::instance(&path, &content, name, id)?);
        }
        found.sort_by_key(|instance: &Instance| instance.id);
        Ok(found)
    }

    fn read_keys(&self, instance: &Instance) -> Result<Vec<KeyData>, InventoryError> {
        let directory = self.certificate(&instance.certificate).join(instance.id.to_string());
        let mut infos: Vec<&KeyInfo> = instance.keys.iter().collect();
        infos.sort();
        let read = |info: &KeyInfo| {
            let directory = directory.join(info.algorithm.to_string());
            let file = |name: &str| self.root.read(&directory.join(name));
            let words = |name: &str| -> Result<String, InventoryError> {
                let content = file(name)?;
                String::from_utf8(content)
                    .map_err(|_| PathError::refused(&directory.join(name), "is no text in PEM").into())
            };
            Ok(KeyData {
                info: info.clone(),
                certificate: words("cert.pem")?,
                chain: words("chain.pem")?,
                key: Secret::new(file("key.pem")?),
            })
        };
        infos.into_iter().map(read).collect()
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

    fn objects_change(&self, objects: &Objects, next: i64) -> Result<FileChange, InventoryError> {
        Ok(file(self.directory.join(OBJECTS), text::of_objects(objects, next)?))
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
        let (mut checked, next) = self.checked()?;
        let (mut touched, mut gone, mut common) = (BTreeSet::new(), BTreeSet::new(), false);
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
            common |= certificate.is_none();
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
        if common || self.root.status(&self.directory.join(OBJECTS))?.is_none() {
            files.push(self.objects_change(objects, next)?);
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

    fn keys(&mut self, instance: i64) -> Result<Vec<KeyData>, InventoryError> {
        match self.find_instance(instance)? {
            Some(instance) => self.read_keys(&instance),
            None => Ok(Vec::new()),
        }
    }

    fn keys_of(&mut self, instances: &[Instance]) -> Result<Vec<Vec<KeyData>>, InventoryError> {
        instances.iter().map(|instance| self.read_keys(instance)).collect()
    }

    fn troubles(&mut self, most: usize) -> Result<Vec<Trouble>, InventoryError> {
        let mut found = Vec::new();
        for it in self.instances()? {
            if !matches!(it.state, State::Issued | State::Prepublished | State::Deployed) {
                continue;
            }
            let bad = it.deliveries.into_iter().filter(|(_, delivery)| delivery.outcome != Outcome::Done);
            found.extend(bad.map(|(host, delivery)| Trouble {
                certificate: it.certificate.clone(),
                instance: it.id,
                host,
                delivery,
            }));
        }
        found.sort_by(|one, other| {
            other.delivery.at.cmp(&one.delivery.at).then_with(|| one.certificate.cmp(&other.certificate))
        });
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
        let text = text::of_objects(checked.objects(), next)?;
        transaction::replace(self.root, &self.directory.join(OBJECTS), text.as_bytes(), PRIVATE)?;
        self.let_go();
        Ok(())
    }

    fn contents(&mut self) -> Result<Contents, InventoryError> {
        let (objects, next) = self.read_objects()?;
        let mut instances = Vec::new();
        for instance in self.instances()? {
            let keys = self.read_keys(&instance)?;
            instances.push((instance, keys));
        }
        Ok(Contents { objects, instances, next })
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
        let (objects, mut next) = self.read_some([certificate])?;
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
        let (mut began, mut files, first) = (None, Vec::new(), next);
        for event in events {
            record.follow(event, next, now)?;
            match event {
                Event::Reserved { .. } => {
                    began = Some(next);
                    next += 1;
                }
                Event::Issued { instance, keys, .. } => {
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
        if next != first {
            files.push(self.objects_change(&objects, next)?);
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
}

/// How a certificate stands.
fn standing(objects: &Objects, name: &Name, certificate: &Certificate, instances: &[Instance]) -> Standing {
    let hosts = certificate.hosts();
    let ttl = |key| objects.services.get(key).map(|service: &super::model::Service| service.tlsa.ttl);
    let stage = |instance: &Instance| {
        let done = |host: &&&Name| {
            instance.deliveries.get(**host).is_some_and(|delivery| delivery.outcome == Outcome::Done)
        };
        let missing = hosts.len() - hosts.iter().filter(done).count();
        Stage {
            id: instance.id,
            state: instance.state,
            whole: instance.is_whole(),
            not_before: instance.not_before,
            not_after: instance.not_after,
            published: instance.published,
            touched: instance.about.updated.or(instance.about.created),
            missing: u32::try_from(missing).unwrap_or(u32::MAX),
        }
    };
    Standing {
        certificate: name.clone(),
        subject: certificate.subject,
        kind: certificate.kind,
        disabled: certificate.disabled,
        algorithms: certificate.algorithms,
        must_staple: certificate.must_staple,
        tlsa_ttl: certificate.services.iter().filter_map(ttl).max(),
        authorized_until: certificate.authorized_until,
        reminded: certificate.reminded,
        instances: instances.iter().map(stage).collect(),
    }
}
