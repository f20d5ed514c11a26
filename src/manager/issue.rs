//! Making new versions: a key, a request, a certificate by whoever signs it, and the files of them; authorities
//! before what they sign, and those of one rank side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use time::{Duration, OffsetDateTime};

use super::acquire;
use super::ca::register::{ISSUED, Issued};
use super::ca::signing::{self, Authorities, random};
use super::config::{Service, Signer, Signing};
use super::dane;
use super::exchangers::Exchangers;
use super::lineage::{Files, Lineage, Version, VersionName, version};
use super::manual::request::{Waiting, waiting};
use super::name::ServiceName;
use super::run::Run;
use crate::pki::container;
use crate::pki::key::PrivateKey;
use crate::pki::serial::Serial;
use crate::pki::x509::{self, Issuer, Profile, Role};
use crate::pki::{Digest, Usage, encrypted};

/// How long before it is made a certificate starts, in hours: clocks of clients are not all right.
const BACKDATE_HOURS: i64 = 1;

/// What is to be made.
#[derive(Debug)]
pub struct Order {
    /// For whom.
    pub name: ServiceName,
    /// For which key.
    pub key: KeyFrom,
}

/// Where the key of a new version comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyFrom {
    /// It is made.
    #[default]
    Fresh,
    /// It is that of `curr`.
    Curr,
    /// It is that of the newest request that waits; where there is none, it is made.
    Waiting,
}

/// A version that was made and lies in its directory; nothing points to it yet.
#[derive(Debug)]
pub struct Made {
    /// Its name.
    pub version: VersionName,
    /// Until when it is valid.
    pub expires: OffsetDateTime,
    /// What is otherwise than wished, for people.
    pub note: Option<String>,
}

/// Makes versions. The serials are recorded before this returns, so that none is used twice even when no
/// link ever leads to what was made.
pub fn make(
    run: &Run<'_>,
    orders: &[Order],
    lineages: &BTreeMap<ServiceName, Lineage>,
    exchangers: &Exchangers,
) -> BTreeMap<ServiceName, Result<Made, String>> {
    let is_public = |order: &&Order| {
        let service = run.config.services.get(&order.name);
        service.is_some_and(|service| !run.config.acme(service).is_empty())
    };
    let (public, own): (Vec<&Order>, Vec<&Order>) = orders.iter().partition(is_public);
    let mut made = acquire::make(run, &public, lineages, exchangers);
    let mut authorities = Authorities::new(&run.tree);
    for rank in ranks(run, own) {
        let (tasks, failed) = tasks(run, &rank, lineages, &mut authorities);
        made.extend(failed.into_iter().map(|(name, error)| (name, Err(error))));
        let results = side_by_side(run, &tasks, &authorities, exchangers);
        let mut lines: BTreeMap<ServiceName, Vec<String>> = BTreeMap::new();
        for (task, result) in tasks.iter().zip(results) {
            let result = result.map(|(one, files)| {
                if let Some(by) = &task.by {
                    let line = Issued::line(&task.service.name, task.serial, run.world.now, one.expires);
                    lines.entry(by.clone()).or_default().push(line);
                }
                if task.service.name.is_ca() {
                    authorities.remember(&task.service.name, files);
                }
                one
            });
            made.insert(task.service.name.clone(), result);
        }
        for (authority, lines) in lines {
            let path = run.tree.service(&authority).join(ISSUED);
            if let Err(error) = run.world.root.append(&path, &lines.join("\n")) {
                // Without the record a serial might be used again: none of these is used at all.
                for task in tasks.iter().filter(|task| task.by.as_ref() == Some(&authority)) {
                    made.insert(task.service.name.clone(), Err(error.to_string()));
                }
            }
        }
    }
    made
}

/// What of the orders cannot be made since a key under a passphrase cannot be opened, in words; looked at before
/// anything is made.
pub fn shut(run: &Run<'_>, orders: &[Order]) -> BTreeMap<ServiceName, String> {
    let mut known: BTreeMap<&ServiceName, Option<String>> = BTreeMap::new();
    let mut shut = BTreeMap::new();
    for order in orders {
        let signer = match run.config.services.get(&order.name).and_then(|it| run.config.signing(it)) {
            Some(Signing::Own(by, _)) => Some(&by.name),
            _ => None,
        };
        // A new key of an authority is not put under another passphrase than its present one.
        let own = order.name.is_ca().then_some(&order.name);
        let kept = own.and_then(|_| run.tree.keyring().passphrase().err());
        let mut keys = signer.into_iter().chain(own);
        let shut_keys = |by| known.entry(by).or_insert_with_key(|by| shut_key(run, by)).clone();
        let error = kept.or_else(|| keys.find_map(shut_keys));
        shut.extend(error.map(|error| (order.name.clone(), error)));
    }
    shut
}

/// Whatever else is wrong with an authority is told of each that it would have signed.
fn shut_key(run: &Run<'_>, by: &ServiceName) -> Option<String> {
    let key = signing::files(&run.tree, by).ok()??.key.filter(|key| encrypted::is_encrypted(key.reveal()))?;
    let error = run.tree.keyring().open(key.reveal()).err()?;
    Some(format!("the key of {by}: {error}"))
}

/// The orders by rank: those that sign themselves, then what these sign, and so on.
fn ranks<'o>(run: &Run<'_>, orders: Vec<&'o Order>) -> Vec<Vec<&'o Order>> {
    let mut ranks: BTreeMap<usize, Vec<&Order>> = BTreeMap::new();
    for order in orders {
        ranks.entry(rank(run, &order.name)).or_default().push(order);
    }
    ranks.into_values().collect()
}

/// How many authorities of ours stand above a service. Circles are refused when the configuration is read;
/// the bound is for what was refused.
fn rank(run: &Run<'_>, name: &ServiceName) -> usize {
    let above = |name: &ServiceName| match run.config.signing(run.config.services.get(name)?) {
        Some(Signing::Own(by, _)) => Some(by.name.clone()),
        _ => None,
    };
    std::iter::successors(above(name), above).take(run.config.services.len()).count()
}

/// One certificate to be made.
struct Task<'c> {
    service: &'c Service,
    /// The authority of ours that signs it; nothing for its own key.
    by: Option<ServiceName>,
    serial: Serial,
    key: Option<PrivateKey>,
    digest: Digest,
    days: u32,
    version: VersionName,
}

fn tasks<'c>(
    run: &'c Run<'_>,
    orders: &[&Order],
    lineages: &BTreeMap<ServiceName, Lineage>,
    authorities: &mut Authorities<'_>,
) -> (Vec<Task<'c>>, Vec<(ServiceName, String)>) {
    let (mut tasks, mut failed) = (Vec::new(), Vec::new());
    for order in orders {
        match task(run, order, lineages.get(&order.name), authorities) {
            Ok(task) => tasks.push(task),
            Err(error) => failed.push((order.name.clone(), error)),
        }
    }
    (tasks, failed)
}

fn task<'c>(
    run: &'c Run<'_>,
    order: &Order,
    lineage: Option<&Lineage>,
    authorities: &mut Authorities<'_>,
) -> Result<Task<'c>, String> {
    let service = run.service(&order.name)?;
    let curr = lineage.and_then(|lineage| lineage.curr.as_ref());
    let replaced = curr.and_then(serial_of);
    let key = match order.key {
        KeyFrom::Fresh => None,
        KeyFrom::Curr => Some(reused(run, curr)?),
        KeyFrom::Waiting => {
            let waiting = waiting(&run.tree, &order.name).map_err(|error| error.to_string())?;
            waiting.into_iter().next_back().map(Waiting::into_key)
        }
    };
    let (by, serial, options) = match run.config.signing(service).ok_or("who signs it is not configured")? {
        Signing::Itself(options) => (None, Serial::next(None, replaced, random()?), options),
        Signing::Own(by, options) => {
            let waiting = lineage.and_then(|lineage| lineage.next.as_ref()).and_then(serial_of);
            let serial = authorities.next_serial(&by.name, waiting.max(replaced))?;
            (Some(by.name.clone()), serial, options)
        }
        Signing::Manual(_) => {
            return Err(format!("it is signed by hand: `reseed manager csr {}`", order.name));
        }
        Signing::Acme(name, _) => return Err(format!("{name} signs it elsewhere")),
    };
    let version = run.tree.unused(&order.name, run.world.now).map_err(|error| error.to_string())?;
    Ok(Task { service, by, serial, key, digest: options.digest, days: options.days, version })
}

fn serial_of(version: &Version) -> Option<Serial> {
    version.certificate.as_ref().and_then(|certificate| certificate.serial)
}

pub(super) fn reused(run: &Run<'_>, curr: Option<&Version>) -> Result<PrivateKey, String> {
    let key = curr
        .and_then(|curr| curr.files.key.as_ref())
        .ok_or("there is no curr whose key could be used again")?;
    run.tree.keyring().open(key.reveal()).map_err(|error| format!("the key of curr: {error}"))
}

/// Makes what does not depend on one another on all processors.
fn side_by_side(
    run: &Run<'_>,
    tasks: &[Task<'_>],
    authorities: &Authorities<'_>,
    exchangers: &Exchangers,
) -> Vec<Result<(Made, Files), String>> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let share = tasks.len().div_ceil(processors).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = tasks
            .chunks(share)
            .map(|tasks| {
                scope.spawn(move || {
                    tasks.iter().map(|task| one(run, task, authorities, exchangers)).collect::<Vec<_>>()
                })
            })
            .collect();
        let lost = |_| vec![Err("the worker that made it is gone".to_owned())];
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(lost)).collect()
    })
}

fn one(
    run: &Run<'_>,
    task: &Task<'_>,
    authorities: &Authorities<'_>,
    exchangers: &Exchangers,
) -> Result<(Made, Files), String> {
    let service = task.service;
    let fresh;
    let key = match &task.key {
        Some(key) => key,
        None => {
            fresh = PrivateKey::generate(service.algorithm).map_err(|error| error.to_string())?;
            &fresh
        }
    };
    let authority = match &task.by {
        Some(by) => Some(authorities.get(by).ok_or_else(|| format!("{by} is not there"))?),
        None => None,
    };
    let issuer = match authority {
        Some(authority) => Issuer::Authority { certificate: &authority.certificate, key: &authority.key },
        None => Issuer::Itself(key),
    };
    let now = run.world.now;
    let profile = Profile {
        subject: &service.subject,
        // An authority has a name for people, none that anybody connects to.
        alternative_names: if service.name.is_ca() { &[] } else { &service.alternative_names },
        role: &role(run, service),
        serial: task.serial,
        now,
        backdate: Duration::hours(BACKDATE_HOURS),
        not_after: now.saturating_add(Duration::days(i64::from(task.days))),
    };
    let text = |error: x509::X509Error| error.to_string();
    let public = key.spki_der().map_err(|error| error.to_string())?;
    let issued = x509::issue(&profile, &public, issuer, task.digest).map_err(text)?;
    let request =
        x509::request(&service.subject, &service.alternative_names, key, task.digest).map_err(text)?;
    let certificate = encode("CERTIFICATE", issued.der.clone());
    let chain = authority.map_or_else(|| certificate.clone(), |authority| authority.chain.clone());
    let pem = run.tree.keyring().keep(&service.name, key)?;
    let mut files = Files::assemble(pem, encode("CERTIFICATE REQUEST", request), certificate, chain);
    files.issue = Some(version::issue_text(now).into_bytes());
    files.tlsa = tlsa(service, &task.version, &files, exchangers.of(service.name.group()))?;
    let examined = Version::examine(task.version.clone(), files.clone());
    if let Some(problem) = examined.problems.first() {
        return Err(format!("what was made is not whole: {problem}"));
    }
    run.tree.draft(&run.lock, &service.name, &task.version, &files).map_err(|error| error.to_string())?;
    Ok((Made { version: task.version.clone(), expires: issued.not_after, note: None }, files))
}

/// The text of a version's own records; what is published is the group's file.
pub(super) fn tlsa(
    service: &Service,
    version: &VersionName,
    files: &Files,
    exchangers: &[String],
) -> Result<Option<Vec<u8>>, String> {
    if service.dane.is_empty() {
        return Ok(None);
    }
    let records = records(service, files, exchangers)?;
    let (group, name) = (service.name.group(), service.name.service());
    Ok(Some(dane::service_file(group, name, version.as_str(), &records).into_bytes()))
}

/// The TLSA records of a version of a service.
///
/// # Errors
/// In words, when its certificate cannot be read.
pub fn records(service: &Service, files: &Files, exchangers: &[String]) -> Result<Vec<dane::Record>, String> {
    let chain = container::read(files.full_chain.as_deref().unwrap_or_default()).certificates;
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let (group, entries) = (service.name.group(), &service.dane);
    dane::records(group, service.dane_ttl, entries, &service.alternative_names, exchangers, &chain)
}

/// What its certificate is for. Below an intermediate there may be as many more as are configured.
fn role(run: &Run<'_>, service: &Service) -> Role {
    if !service.name.is_ca() {
        return Role::Leaf { usages: BTreeSet::from([Usage::Server, Usage::Client]) };
    }
    match service.signer {
        Signer::Itself => Role::Root { path_len: None },
        Signer::Authority(_) => {
            Role::Intermediate { path_len: u8::try_from(height(run, &service.name, 0)).unwrap_or(u8::MAX) }
        }
    }
}

/// How many authorities follow one another below this one.
fn height(run: &Run<'_>, name: &ServiceName, depth: usize) -> usize {
    if depth > MAX_DEPTH {
        return 0;
    }
    let below = run.config.services.values().filter(|service| {
        let by = run.config.signing(service);
        service.name.is_ca() && matches!(by, Some(Signing::Own(by, _)) if by.name == *name)
    });
    below.map(|service| 1 + height(run, &service.name, depth + 1)).max().unwrap_or(0)
}

/// Authorities in a row; circles are refused when the configuration is read.
const MAX_DEPTH: usize = 16;

/// DER as PEM.
pub(super) fn encode(label: &str, der: Vec<u8>) -> Vec<u8> {
    let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), unix).into_bytes()
}
