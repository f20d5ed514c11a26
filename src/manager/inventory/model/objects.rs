//! All objects of an inventory, and the rules that they keep together.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use time::OffsetDateTime;

use super::{
    About, Alteration, Certificate, DistHost, Name, Place, Refusal, Rule, Service, ServiceKey, Target,
};

/// Everything but the instances, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// Services, by name and port.
    #[serde(default)]
    pub services: BTreeMap<ServiceKey, Service>,
    /// Hosts, with their jails.
    #[serde(default)]
    pub hosts: BTreeMap<Name, DistHost>,
    /// Places.
    #[serde(default)]
    pub places: BTreeMap<Name, Place>,
    /// Certificates, by their main subject.
    #[serde(default)]
    pub certificates: BTreeMap<Name, Certificate>,
}

/// An object that comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A service.
    Service(ServiceKey, Service),
    /// A host.
    Host(Name, DistHost),
    /// A jail on a host.
    Jail {
        /// The host.
        host: Name,
        /// The jail.
        name: Name,
        /// For people.
        about: About,
    },
    /// A place.
    Place(Name, Place),
    /// A certificate, with all that it brings along.
    Certificate(Name, Box<Certificate>),
    /// A further name of a certificate.
    AltName {
        /// The certificate.
        certificate: Name,
        /// The name.
        name: Name,
        /// For people.
        about: About,
    },
    /// TLSA records of a service, for a certificate.
    Tlsa {
        /// The certificate.
        certificate: Name,
        /// The service.
        service: ServiceKey,
    },
    /// Where a certificate goes.
    Target {
        /// The certificate.
        certificate: Name,
        /// Where.
        target: Target,
    },
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A service.
    Service(ServiceKey),
    /// A host.
    Host(Name),
    /// A jail.
    Jail {
        /// Its host.
        host: Name,
        /// The jail.
        name: Name,
    },
    /// A place.
    Place(Name),
    /// A certificate, with its instances.
    Certificate(Name),
    /// A further name of a certificate.
    AltName(Name),
    /// TLSA records of a service, for a certificate.
    Tlsa {
        /// The certificate.
        certificate: Name,
        /// The service.
        service: ServiceKey,
    },
    /// Where a certificate goes.
    Target {
        /// The certificate.
        certificate: Name,
        /// Where; what is noted of it does not matter.
        target: Target,
    },
}

/// Objects that keep the rules.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    objects: Objects,
    /// Every name of a certificate, and whose it is.
    subjects: HashMap<Name, Name>,
    /// Every file on every host, and which target writes it.
    written: HashMap<(Name, String), (Name, String)>,
}

impl Checked {
    /// Looks at all objects.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn new(objects: Objects) -> Result<Self, Vec<Refusal>> {
        let mut checked = Self::default();
        let mut refusals = Vec::new();
        let Objects { services, hosts, places, certificates } = objects;
        let first = services.into_iter().map(|(key, service)| Object::Service(key, service));
        let second = hosts.into_iter().map(|(name, host)| Object::Host(name, host));
        let third = places.into_iter().map(|(name, place)| Object::Place(name, place));
        let last = certificates.into_iter().map(|(name, it)| Object::Certificate(name, Box::new(it)));
        for object in first.chain(second).chain(third).chain(last) {
            refusals.extend(checked.add(object).err());
        }
        if refusals.is_empty() { Ok(checked) } else { Err(refusals) }
    }

    /// The objects.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The objects, without what watches over them.
    pub fn into_objects(self) -> Objects {
        self.objects
    }

    /// Takes an object in.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed.
    pub fn add(&mut self, object: Object) -> Result<(), Refusal> {
        match object {
            Object::Service(key, service) => {
                free(self.objects.services.contains_key(&key), "service", &key)?;
                self.objects.services.insert(key, service);
            }
            Object::Host(name, host) => {
                free(self.objects.hosts.contains_key(&name), "host", &name)?;
                host.check(&name)?;
                self.objects.hosts.insert(name, host);
            }
            Object::Jail { host, name, about } => {
                let there = self.objects.hosts.get_mut(&host).ok_or_else(|| unknown("host", &host))?;
                free(there.jails.contains_key(&name), "jail", &name)?;
                if there.jail_root.is_none() {
                    let says = format!("host {host} has no directory for jails; give it a jail root");
                    return Err(Refusal::new(Rule::JailRoot, says));
                }
                there.jails.insert(name, about);
            }
            Object::Place(name, place) => {
                free(self.objects.places.contains_key(&name), "place", &name)?;
                place.check(&name)?;
                self.objects.places.insert(name, place);
            }
            Object::Certificate(name, certificate) => self.add_certificate(name, *certificate)?,
            Object::AltName { certificate, name, about } => {
                self.free_subject(&name)?;
                self.certificate(&certificate)?.names.insert(name.clone(), about);
                self.subjects.insert(name, certificate);
            }
            Object::Tlsa { certificate, service } => {
                self.known_service(&service)?;
                if !self.certificate(&certificate)?.services.insert(service.clone()) {
                    return Err(Refusal::new(Rule::Taken, format!("{certificate} has {service} already")));
                }
            }
            Object::Target { certificate, target } => {
                let there = self.certificate(&certificate)?.clone();
                self.write(&certificate, &there, std::slice::from_ref(&target), &there.targets)?;
                self.certificate(&certificate)?.targets.push(target);
            }
        }
        Ok(())
    }

    fn add_certificate(&mut self, name: Name, certificate: Certificate) -> Result<(), Refusal> {
        self.free_subject(&name)?;
        for alt in certificate.names.keys() {
            self.free_subject(alt)?;
            if *alt == name {
                return Err(Refusal::new(
                    Rule::Taken,
                    format!("{alt} is the certificate's own name already"),
                ));
            }
        }
        certificate.services.iter().try_for_each(|service| self.known_service(service))?;
        self.write(&name, &certificate, &certificate.targets, &[])?;
        for alt in certificate.names.keys().chain([&name]) {
            self.subjects.insert(alt.clone(), name.clone());
        }
        self.objects.certificates.insert(name, certificate);
        Ok(())
    }

    /// Changes an object. All objects are looked at again: what one says decides what others may.
    ///
    /// # Errors
    /// [`Rule::Unknown`] when it is not there, and the rule that the object would break; nothing is changed.
    pub fn alter(&mut self, alteration: &Alteration, now: OffsetDateTime) -> Result<(), Refusal> {
        let mut objects = self.objects.clone();
        match alteration {
            Alteration::Certificate(name, parts) => {
                let found = objects.certificates.get_mut(name).ok_or_else(|| unknown("certificate", name))?;
                parts.apply(found, now);
            }
            Alteration::Host(name, parts) => {
                let found = objects.hosts.get_mut(name).ok_or_else(|| unknown("host", name))?;
                parts.apply(found, now);
            }
            Alteration::Place(name, parts) => {
                let found = objects.places.get_mut(name).ok_or_else(|| unknown("place", name))?;
                parts.apply(found, now);
            }
            Alteration::Service(key, parts) => {
                let found = objects.services.get_mut(key).ok_or_else(|| unknown("service", key))?;
                parts.apply(found, now);
            }
        }
        match Self::new(objects) {
            Ok(checked) => *self = checked,
            Err(refusals) => return refusals.into_iter().next().map_or(Ok(()), Err),
        }
        Ok(())
    }

    /// Takes an object out.
    ///
    /// # Errors
    /// [`Rule::Unknown`] when it is not there, [`Rule::InUse`] while others refer to it; nothing is changed.
    pub fn remove(&mut self, reference: &Reference) -> Result<(), Refusal> {
        let certificates = &self.objects.certificates;
        let targets =
            || certificates.iter().flat_map(|(name, it)| it.targets.iter().map(move |at| (name, at)));
        match reference {
            Reference::Service(key) => {
                self.known_service(key)?;
                let mut users = certificates.iter().filter(|(_, it)| it.services.contains(key));
                unused("service", key, users.next().map(|(name, _)| name))?;
                self.objects.services.remove(key);
            }
            Reference::Host(name) => {
                known(self.objects.hosts.contains_key(name), "host", name)?;
                unused("host", name, targets().find(|(_, at)| at.host == *name).map(|(name, _)| name))?;
                self.objects.hosts.remove(name);
            }
            Reference::Jail { host, name } => {
                let is_there = self.objects.hosts.get(host).is_some_and(|it| it.jails.contains_key(name));
                known(is_there, "jail", name)?;
                let mut users =
                    targets().filter(|(_, at)| at.host == *host && at.jail.as_ref() == Some(name));
                unused("jail", name, users.next().map(|(name, _)| name))?;
                self.objects.hosts.get_mut(host).and_then(|it| it.jails.remove(name));
            }
            Reference::Place(name) => {
                known(self.objects.places.contains_key(name), "place", name)?;
                let mut users = targets().filter(|(_, at)| at.place.as_ref() == Some(name));
                unused("place", name, users.next().map(|(name, _)| name))?;
                self.objects.places.remove(name);
            }
            Reference::Certificate(name) => {
                self.objects.certificates.remove(name).ok_or_else(|| unknown("certificate", name))?;
                self.subjects.retain(|_, owner| owner != name);
                self.written.retain(|_, (owner, _)| owner != name);
            }
            Reference::AltName(name) => {
                let owner = self.subjects.get(name).cloned().ok_or_else(|| unknown("name", name))?;
                if owner == *name {
                    let says = format!("{name} is a certificate's main name; remove the certificate");
                    return Err(Refusal::new(Rule::InUse, says));
                }
                self.certificate(&owner)?.names.remove(name);
                self.subjects.remove(name);
            }
            Reference::Tlsa { certificate, service } => {
                if !self.certificate(certificate)?.services.remove(service) {
                    return Err(Refusal::new(Rule::Unknown, format!("{certificate} has no {service}")));
                }
            }
            Reference::Target { certificate, target } => {
                let there = self.certificate(certificate)?;
                let at = there.targets.iter().position(|known| known.is_same(target)).ok_or_else(|| {
                    Refusal::new(Rule::Unknown, format!("{certificate} does not go to {target}"))
                })?;
                let gone = there.targets.remove(at);
                let mine = (certificate.clone(), gone.to_string());
                self.written.retain(|_, owner| *owner != mine);
            }
        }
        Ok(())
    }

    fn certificate(&mut self, name: &Name) -> Result<&mut Certificate, Refusal> {
        self.objects.certificates.get_mut(name).ok_or_else(|| unknown("certificate", name))
    }

    fn known_service(&self, key: &ServiceKey) -> Result<(), Refusal> {
        known(self.objects.services.contains_key(key), "service", key)
    }

    fn free_subject(&self, name: &Name) -> Result<(), Refusal> {
        match self.subjects.get(name) {
            None => Ok(()),
            Some(owner) => Err(Refusal::new(Rule::Taken, format!("the name {name} is in use by {owner}"))),
        }
    }

    /// Notes which files targets write.
    fn write(
        &mut self,
        name: &Name,
        certificate: &Certificate,
        targets: &[Target],
        before: &[Target],
    ) -> Result<(), Refusal> {
        let mut fresh: HashMap<(Name, String), (Name, String)> = HashMap::new();
        for (at, target) in targets.iter().enumerate() {
            let earlier = targets.iter().take(at).chain(before);
            if earlier.into_iter().any(|known| known.is_same(target)) {
                return Err(Refusal::new(Rule::Taken, format!("{name} goes to {target} already")));
            }
            for path in self.paths(name, certificate, target)? {
                let file = (target.host.clone(), path);
                let taken = self.written.get(&file).or_else(|| fresh.get(&file));
                if let Some((owner, other)) = taken {
                    let (host, path) = &file;
                    let says = format!(
                        "{name} ({target}) would write {path} on {host}, which {owner} ({other}) writes already; \
                         give one of them another place"
                    );
                    return Err(Refusal::new(Rule::SameFile, says));
                }
                fresh.insert(file, (name.clone(), target.to_string()));
            }
        }
        self.written.extend(fresh);
        Ok(())
    }

    /// The files of a target as its host sees them.
    fn paths(&self, name: &Name, certificate: &Certificate, target: &Target) -> Result<Vec<String>, Refusal> {
        let host = self.objects.hosts.get(&target.host).ok_or_else(|| unknown("host", &target.host))?;
        if let Some(jail) = target.jail.as_ref().filter(|jail| !host.jails.contains_key(jail)) {
            let elsewhere = self.objects.hosts.iter().find(|(_, it)| it.jails.contains_key(jail));
            return Err(match elsewhere {
                Some((other, _)) => {
                    let says = format!("jail {jail} is on {other}, not on {}", target.host);
                    Refusal::new(Rule::JailHost, says)
                }
                None => unknown("jail", jail),
            });
        }
        let Some(place) = &target.place else { return Ok(Vec::new()) };
        let place = self.objects.places.get(place).ok_or_else(|| unknown("place", place))?;
        let base = host.base(target.jail.as_ref());
        let files = place.files(&certificate.occupant(name));
        Ok(files.into_iter().map(|file| base.clone() + &file.path).collect())
    }
}

fn unknown(what: &str, name: &impl fmt::Display) -> Refusal {
    Refusal::new(Rule::Unknown, format!("there is no {what} {name}"))
}

fn known(is_there: bool, what: &str, name: &impl fmt::Display) -> Result<(), Refusal> {
    if is_there { Ok(()) } else { Err(unknown(what, name)) }
}

fn free(is_there: bool, what: &str, name: &impl fmt::Display) -> Result<(), Refusal> {
    if is_there {
        return Err(Refusal::new(Rule::Taken, format!("there is a {what} {name} already")));
    }
    Ok(())
}

fn unused(what: &str, name: &impl fmt::Display, user: Option<&Name>) -> Result<(), Refusal> {
    match user {
        None => Ok(()),
        Some(user) => {
            let says = format!("{what} {name} is in use by {user}; remove that first");
            Err(Refusal::new(Rule::InUse, says))
        }
    }
}
