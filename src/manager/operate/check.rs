//! What is wrong with an inventory: looked at, never changed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::Digest as _;
use time::OffsetDateTime;

use super::{Certificates, OperateError, Operation};
use crate::manager::inventory::model::{
    Algorithms, Certificate, Checked, Instance, KeyAlgorithm, KeyData, Kind, Name, Objects, ServiceKey,
    State, SubjectType, second,
};
use crate::manager::inventory::schedule::minute;
use crate::manager::keyring::{ADVICE, Keyring};
use crate::pki::Algorithm;
use crate::pki::bundle;
use crate::pki::encrypted::is_encrypted;
use crate::pki::inspect;

/// Instances whose keys are read at a time.
const AT_A_TIME: usize = 200;
/// How many authorities may stand above each other.
const DEEPEST: usize = 8;

/// What was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// How many certificates were looked at.
    pub looked_at: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub notes: Vec<String>,
    /// The certificates, each with every place where it goes.
    pub certificates: Vec<Row>,
    /// Their instances, each with every key.
    pub instances: Vec<InstanceRow>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// With which certificate; nothing for the objects together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Name>,
    /// With which of its instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<i64>,
    /// In words.
    pub says: String,
}

/// A certificate and one place where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// What it is for.
    pub subject: SubjectType,
    /// Its name.
    pub certificate: Name,
    /// Who signs.
    pub kind: Kind,
    /// Which keys future instances have.
    pub algorithms: Algorithms,
    /// Future instances ask for OCSP stapling.
    pub must_staple: bool,
    /// Nothing is issued or deployed.
    pub disabled: bool,
    /// Until when its names count as proven.
    #[serde(with = "time::serde::rfc3339::option")]
    pub authorized_until: Option<OffsetDateTime>,
    /// The other names in it.
    pub names: Vec<Name>,
    /// Services for which TLSA records are published.
    pub services: Vec<ServiceKey>,
    /// Where it goes; nothing where it goes nowhere.
    pub host: Option<Name>,
    /// The jail there.
    pub jail: Option<Name>,
    /// The place there.
    pub place: Option<Name>,
}

/// An instance and one of its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InstanceRow {
    /// Its number.
    pub instance: i64,
    /// Of which certificate.
    pub certificate: Name,
    /// Who signs.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// The instance that signed it.
    pub issuer: Option<i64>,
    /// It asks for OCSP stapling.
    pub must_staple: bool,
    /// Start of validity.
    #[serde(with = "time::serde::rfc3339::option")]
    pub not_before: Option<OffsetDateTime>,
    /// End of validity.
    #[serde(with = "time::serde::rfc3339::option")]
    pub not_after: Option<OffsetDateTime>,
    /// Which key; nothing where it has none.
    pub algorithm: Option<KeyAlgorithm>,
    /// SHA-256 of the certificate.
    pub digest: Option<String>,
    /// When it was changed last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub updated: Option<OffsetDateTime>,
}

/// Looks at the chosen certificates, authorities too where all are; the tables are made only where they are `told`.
///
/// # Errors
/// [`OperateError`]
pub fn check(op: &mut Operation<'_>, choice: &Certificates, told: bool) -> Result<Seen, OperateError> {
    let objects = op.inventory.objects()?;
    let names = chosen(choice, &objects)?;
    let all = op.inventory.instances()?;
    let mut seen = Seen { looked_at: names.len(), ..Seen::default() };
    if let Err(refusals) = Checked::new(objects.clone()) {
        let finding = |says| Finding { certificate: None, instance: None, says };
        seen.findings.extend(refusals.into_iter().map(|refusal| finding(refusal.says)));
    }
    let keyring = Keyring::new(op.world.root, op.config.site.passphrase_file.as_deref());
    let mine: Vec<&Instance> = all.iter().filter(|it| names.contains(&it.certificate)).collect();
    let mut authorities = Authorities { instances: &all, read: BTreeMap::new() };
    let mut closed = 0_usize;
    for some in mine.chunks(AT_A_TIME) {
        let some: Vec<Instance> = some.iter().map(|it| (*it).clone()).collect();
        let keys = op.inventory.keys_of(&some)?;
        for (instance, keys) in some.iter().zip(keys) {
            let Some(certificate) = objects.certificates.get(&instance.certificate) else { continue };
            let pool = authorities.above(op, instance)?;
            let look = Look { certificate, instance, keys: &keys, pool: &pool, keyring: &keyring };
            closed += look.all(&mut seen.findings);
        }
    }
    if closed > 0 {
        seen.notes.push(format!("{closed} keys are under a passphrase and were not looked into; {ADVICE}"));
    }
    if told {
        let certificates = objects.certificates.iter().filter(|(name, _)| names.contains(*name));
        seen.certificates = certificates.flat_map(|(name, it)| rows(name, it)).collect();
        let kind = |name: &Name| objects.certificates.get(name).map_or(Kind::Local, |it| it.kind);
        seen.instances = mine.iter().flat_map(|it| instance_rows(it, kind(&it.certificate))).collect();
    }
    Ok(seen)
}

/// Whoever only looks may look at everything.
fn chosen(choice: &Certificates, objects: &Objects) -> Result<BTreeSet<Name>, OperateError> {
    let everything = choice.all || choice.include.is_empty();
    let mut names: BTreeSet<Name> =
        Certificates { all: true, ..choice.clone() }.among(objects)?.into_iter().collect();
    if everything {
        names = objects.certificates.keys().filter(|name| !choice.exclude.contains(name)).cloned().collect();
    } else {
        names.retain(|name| choice.include.contains(name));
    }
    Ok(names)
}

/// A row for each place where it goes, and one where it goes nowhere.
fn rows(name: &Name, it: &Certificate) -> Vec<Row> {
    let row = |host: Option<&Name>, jail: Option<&Name>, place: Option<&Name>| Row {
        subject: it.subject,
        certificate: name.clone(),
        kind: it.kind,
        algorithms: it.algorithms,
        must_staple: it.must_staple,
        disabled: it.disabled,
        authorized_until: it.authorized_until,
        names: it.names.keys().cloned().collect(),
        services: it.services.iter().cloned().collect(),
        host: host.cloned(),
        jail: jail.cloned(),
        place: place.cloned(),
    };
    if it.targets.is_empty() {
        return vec![row(None, None, None)];
    }
    it.targets.iter().map(|at| row(Some(&at.host), at.jail.as_ref(), at.place.as_ref())).collect()
}

fn instance_rows(it: &Instance, kind: Kind) -> Vec<InstanceRow> {
    let row = |algorithm, digest: Option<&String>| InstanceRow {
        instance: it.id,
        certificate: it.certificate.clone(),
        kind,
        state: it.state,
        issuer: it.issuer,
        must_staple: it.must_staple,
        not_before: it.not_before,
        not_after: it.not_after,
        algorithm,
        digest: digest.cloned(),
        updated: it.about.updated.or(it.about.created),
    };
    if it.keys.is_empty() {
        return vec![row(None, None)];
    }
    it.keys.iter().map(|key| row(Some(key.algorithm), Some(&key.digest))).collect()
}

/// Certificates of those who sign, read once.
struct Authorities<'a> {
    instances: &'a [Instance],
    read: BTreeMap<i64, Vec<Vec<u8>>>,
}

impl Authorities<'_> {
    /// Every certificate above an instance, as far as the inventory knows them, in DER.
    fn above(&mut self, op: &mut Operation<'_>, of: &Instance) -> Result<Vec<Vec<u8>>, OperateError> {
        let mut pool = Vec::new();
        let mut next = of.issuer;
        for _ in 0..DEEPEST {
            let Some(id) = next.take().filter(|id| *id != of.id) else { break };
            let found = self.instances.binary_search_by_key(&id, |it| it.id).ok();
            let Some(issuer) = found.and_then(|at| self.instances.get(at)) else { break };
            let found = match self.read.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unread) => {
                    let keys = op.inventory.keys_of(std::slice::from_ref(issuer))?;
                    unread.insert(keys.iter().flatten().flat_map(|key| ders(&key.certificate)).collect())
                }
            };
            pool.extend(found.iter().cloned());
            next = issuer.issuer.filter(|above| *above != id);
        }
        Ok(pool)
    }
}

fn ders(pem: &str) -> Vec<Vec<u8>> {
    bundle::read(pem.as_bytes()).certificates
}

/// One instance that is looked at.
struct Look<'a> {
    certificate: &'a Certificate,
    instance: &'a Instance,
    keys: &'a [KeyData],
    /// Who is above it.
    pool: &'a [Vec<u8>],
    keyring: &'a Keyring<'a>,
}

impl Look<'_> {
    /// Finds what is wrong; returns how many keys could not be looked into.
    fn all(&self, findings: &mut Vec<Finding>) -> usize {
        let it = self.instance;
        let mut find = |says: String| {
            let (certificate, instance) = (Some(it.certificate.clone()), Some(it.id));
            findings.push(Finding { certificate, instance, says });
        };
        if matches!(it.state, State::Reserved | State::Archived) {
            return 0;
        }
        for algorithm in it.algorithms.keys() {
            if !self.keys.iter().any(|key| key.info.algorithm == *algorithm) {
                find(format!("it is {} and has no {algorithm} certificate", it.state));
            }
        }
        let (mut starts, mut ends, mut closed) = (Vec::new(), Vec::new(), 0);
        for key in self.keys {
            let algorithm = key.info.algorithm;
            let Some(der) = ders(&key.certificate).into_iter().next() else {
                find(format!("its {algorithm} certificate is no certificate"));
                continue;
            };
            let read = match inspect::Certificate::from_der(&der) {
                Ok(read) => read,
                Err(error) => {
                    find(format!("its {algorithm} certificate: {error}"));
                    continue;
                }
            };
            starts.push(read.not_before);
            ends.push(read.not_after);
            let digest: String =
                sha2::Sha256::digest(&der).iter().map(|octet| format!("{octet:02X}")).collect();
            if digest != key.info.digest {
                find(format!("its {algorithm} certificate is another than its digest says"));
            }
            closed += self.key(key, &read, &mut find);
            self.names(algorithm, &read, &mut find);
            self.chain(key, &der, &read, &mut find);
        }
        self.dates(starts.into_iter().max(), ends.into_iter().min(), &mut find);
        closed
    }

    fn key(&self, key: &KeyData, read: &inspect::Certificate, find: &mut dyn FnMut(String)) -> usize {
        let (algorithm, text) = (key.info.algorithm, key.key.reveal());
        if text.is_empty() {
            // An intermediate of somebody else has its key there.
            if !(self.certificate.subject == SubjectType::Ca && self.certificate.kind == Kind::Le) {
                find(format!("its {algorithm} key is not there"));
            }
            return 0;
        }
        if is_encrypted(text) && self.keyring.file().is_none() {
            return 1;
        }
        match self.keyring.open(text) {
            Err(error) => find(format!("its {algorithm} key: {error}")),
            Ok(private) => {
                if private.public_digest() != read.public_digest {
                    find(format!("its {algorithm} key does not belong to its certificate"));
                }
                let is_rsa = matches!(private.algorithm(), Algorithm::Rsa(_));
                if is_rsa != (algorithm == KeyAlgorithm::Rsa) {
                    let really = if is_rsa { "RSA" } else { "on a curve" };
                    find(format!("its key is called {algorithm} and is {really}"));
                }
            }
        }
        0
    }

    fn names(&self, algorithm: KeyAlgorithm, read: &inspect::Certificate, find: &mut dyn FnMut(String)) {
        let it = self.instance;
        if !matches!(it.state, State::Issued | State::Prepublished | State::Deployed) {
            return;
        }
        match self.certificate.subject {
            SubjectType::Server => {
                let fold = |name: &Name| name.as_str().to_ascii_lowercase();
                let wanted: BTreeSet<String> =
                    self.certificate.names.keys().map(fold).chain([fold(&it.certificate)]).collect();
                let has = |name: &String| {
                    let address = name.parse().ok();
                    read.dns_names.contains(name) || address.is_some_and(|it| read.addresses.contains(&it))
                };
                let lacks: Vec<&str> = wanted.iter().filter(|name| !has(name)).map(String::as_str).collect();
                let besides: Vec<&str> = read.dns_names.difference(&wanted).map(String::as_str).collect();
                if !lacks.is_empty() {
                    find(format!("its {algorithm} certificate is not for {}", lacks.join(", ")));
                }
                if !besides.is_empty() {
                    let besides = besides.join(", ");
                    find(format!(
                        "its {algorithm} certificate is for {besides}, which the inventory does not name"
                    ));
                }
            }
            SubjectType::Client => {
                if read.common_name().is_some_and(|name| name != it.certificate.as_str()) {
                    let name = read.common_name().unwrap_or_default().escape_debug();
                    find(format!("its {algorithm} certificate is for \"{name}\""));
                }
            }
            SubjectType::Ca | SubjectType::Reserved => {}
        }
    }

    fn chain(&self, key: &KeyData, der: &[u8], read: &inspect::Certificate, find: &mut dyn FnMut(String)) {
        let algorithm = key.info.algorithm;
        if read.self_signed {
            if self.certificate.subject != SubjectType::Ca {
                find(format!("its {algorithm} certificate is signed by nobody but itself"));
            }
            return;
        }
        let pool: Vec<Vec<u8>> = ders(&key.chain).into_iter().chain(self.pool.iter().cloned()).collect();
        let public = self.certificate.kind == Kind::Le;
        match bundle::chain(der, &pool) {
            Err(error) => find(format!("its {algorithm} certificate: {error}")),
            Ok(found) => {
                let enough = found.root.is_some() || public && !found.intermediates.is_empty();
                let is_intermediate = public && self.certificate.subject == SubjectType::Ca;
                if let Some(missing) = found.missing.filter(|_| !enough && !is_intermediate) {
                    find(format!(
                        "its {algorithm} certificate is signed by {}, whom the inventory does not have",
                        missing.escape_debug()
                    ));
                }
            }
        }
    }

    fn dates(
        &self,
        start: Option<OffsetDateTime>,
        end: Option<OffsetDateTime>,
        find: &mut dyn FnMut(String),
    ) {
        let it = self.instance;
        let differs = |ours: Option<OffsetDateTime>, theirs: Option<OffsetDateTime>| matches!((ours, theirs), (ours, Some(theirs)) if ours != Some(second(theirs)));
        for (what, ours, theirs) in [("begins", it.not_before, start), ("ends", it.not_after, end)] {
            if differs(ours, theirs) {
                let say = |time: Option<OffsetDateTime>| {
                    time.map_or_else(|| "at an unknown time".to_owned(), |time| minute(time).to_string())
                };
                find(format!(
                    "it {what} {} by its certificates, and {} by the inventory",
                    say(theirs),
                    say(ours)
                ));
            }
        }
    }
}
