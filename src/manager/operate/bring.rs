//! The step that brings instances to the hosts of their certificates.
//!
//! ```text
//! inventory → goods (texts, keys in clear) → a parcel for each host → hosts side by side → what became of each
//! ```
//!
//! An instance counts as being on a host only when that host said so, file by file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::hosts::{Arrival, Ways};
use super::parcel::{Goods, Parcel, Texts};
use super::{Hosts, OperateError, Operation};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{Certificate, Delivery, Instance, KeyData, Name, Objects, Outcome};
use crate::manager::inventory::store::InventoryError;
use crate::manager::keyring::Keyring;
use crate::pki::inspect;
use crate::pki::{Container, armor, bundle};

/// An instance that is to be on its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// The certificate, which this manager has claimed.
    pub name: Name,
    /// The instance.
    pub instance: i64,
}

/// Brings instances to the hosts that are served, hosts side by side; those that have it already only `again`.
/// What became of each at each host is recorded as soon as that host is through. `Ok` for a certificate that lies on
/// all of its hosts; in words why not. A reload that is due fails in the report, and does not keep it from being
/// there.
///
/// # Errors
/// [`OperateError`] when the inventory does not answer; what was recorded stays.
pub fn bring(
    op: &mut Operation<'_>,
    shipments: &[Shipment],
    hosts: &Hosts,
    again: bool,
) -> Result<BTreeMap<Name, Result<(), String>>, OperateError> {
    let names: Vec<Name> = shipments.iter().map(|shipment| shipment.name.clone()).collect();
    let objects = op.inventory.objects_of(&names)?;
    let mut issuers = Issuers::new();
    let mut troubles: BTreeMap<Name, Vec<String>> =
        shipments.iter().map(|shipment| (shipment.name.clone(), Vec::new())).collect();
    let mut trouble = |name: &Name, says: String| troubles.entry(name.clone()).or_default().push(says);
    let mut freight = Freight { objects: &objects, hosts, again, parcels: BTreeMap::new() };
    let mut instances: BTreeMap<Name, i64> = BTreeMap::new();
    let mut recorder = Recorder { began: Instant::now(), lost: BTreeSet::new() };
    for shipment in shipments {
        let name = &shipment.name;
        instances.insert(name.clone(), shipment.instance);
        let found = op.inventory.instances_of(name)?.into_iter().find(|known| known.id == shipment.instance);
        let (Some(certificate), Some(instance)) = (objects.certificates.get(name), found) else {
            trouble(name, format!("the inventory has no instance {} of it", shipment.instance));
            continue;
        };
        let due = freight.due(certificate, &instance);
        due.left_out.iter().for_each(|host| trouble(name, format!("{host}: left out")));
        if due.hosts.is_empty() {
            continue;
        }
        let goods = match texts(op, &instance, &mut issuers)? {
            Ok(texts) => Goods { name, certificate, instance: &instance, texts },
            Err(error) => {
                trouble(name, format!("instance {}: {error}", instance.id));
                continue;
            }
        };
        for (host, is_due) in due.hosts {
            match freight.parcels.entry(host.clone()).or_default().add(&goods, host, &objects, is_due) {
                Ok(notes) => op.report.notes.extend(notes),
                Err(error) => {
                    recorder.record(op, name, instance.id, host, (Outcome::Failed, Some(error.clone())))?;
                    trouble(name, error);
                }
            }
        }
    }
    let Freight { mut parcels, .. } = freight;
    parcels.retain(|_, parcel| !parcel.loads.is_empty());
    let (site, own) = (op.config.site.clone(), op.world.host.clone());
    let mut gone: Option<InventoryError> = None;
    Ways { site: &site, own: &own }.carry(&parcels, &mut |host, arrivals| {
        for (name, (outcome, says)) in outcomes(parcels.get(host), arrivals) {
            let Some(instance) = instances.get(name) else { continue };
            let shown = says.map(|says| format!("{host}: {says}"));
            match recorder.record(op, name, *instance, host, (outcome, shown.clone())) {
                Ok(()) => {}
                Err(error) => {
                    gone = Some(error);
                    return false;
                }
            }
            match (outcome, shown) {
                (Outcome::Failed, Some(says)) => trouble(name, says),
                (Outcome::ReloadDue, Some(says)) => op.report.failed(name.clone(), says),
                _ => op.report.done(name.clone(), format!("instance {instance} lies on {host}")),
            }
        }
        true
    });
    if let Some(error) = gone {
        return Err(error.into());
    }
    for name in recorder.lost {
        trouble(&name, InventoryError::ClaimLost(name.clone()).to_string());
    }
    let joined = |says: Vec<String>| if says.is_empty() { Ok(()) } else { Err(says.join("; ")) };
    Ok(troubles.into_iter().map(|(name, says)| (name, joined(says))).collect())
}

/// What is on its way.
struct Freight<'a> {
    objects: &'a Objects,
    hosts: &'a Hosts,
    again: bool,
    parcels: BTreeMap<Name, Parcel>,
}

/// Where an instance has to go.
struct Due<'c> {
    /// The hosts, and whether who reads it there has to be told in any case.
    hosts: Vec<(&'c Name, bool)>,
    /// Those that do not have it and are not served.
    left_out: Vec<&'c Name>,
}

impl Freight<'_> {
    fn due<'c>(&self, certificate: &'c Certificate, instance: &Instance) -> Due<'c> {
        let mut due = Due { hosts: Vec::new(), left_out: left_out(certificate, instance, self.hosts) };
        for host in certificate.hosts() {
            let known = instance.deliveries.get(host).map(|delivery| delivery.outcome);
            if self.hosts.serves(host) && self.objects.hosts.contains_key(host) {
                match known {
                    Some(Outcome::Done) if !self.again => {}
                    known => due.hosts.push((host, self.again || known == Some(Outcome::ReloadDue))),
                }
            }
        }
        due
    }
}

/// The hosts of a certificate that are not served and do not have an instance.
pub fn left_out<'c>(certificate: &'c Certificate, instance: &Instance, hosts: &Hosts) -> Vec<&'c Name> {
    let is_left = |host: &&Name| !hosts.serves(host) && !instance.is_on(host);
    certificate.hosts().into_iter().filter(is_left).collect()
}

/// Writes down what became of what.
struct Recorder {
    began: Instant,
    /// Certificates on which another manager works by now.
    lost: BTreeSet<Name>,
}

impl Recorder {
    fn record(
        &mut self,
        op: &mut Operation<'_>,
        name: &Name,
        instance: i64,
        host: &Name,
        (outcome, says): (Outcome, Option<String>),
    ) -> Result<(), InventoryError> {
        let now = op.world.now + self.began.elapsed();
        let delivery = Delivery { at: now, outcome, says };
        let event = Event::Delivered { instance, host: host.clone(), delivery };
        match op.inventory.record(name, &[event], now) {
            Err(InventoryError::ClaimLost(name)) => {
                self.lost.insert(name);
                Ok(())
            }
            Err(InventoryError::Refused(refusals)) => {
                let says: Vec<String> = refusals.iter().map(ToString::to_string).collect();
                op.report.failed(name.clone(), says.join("; "));
                Ok(())
            }
            other => other.map(drop),
        }
    }
}

/// What became of each certificate of a parcel: the worst of its targets.
fn outcomes(parcel: Option<&Parcel>, arrivals: Vec<Arrival>) -> BTreeMap<&Name, (Outcome, Option<String>)> {
    let mut found: BTreeMap<&Name, (Outcome, Option<String>)> = BTreeMap::new();
    let loads = parcel.map(|parcel| parcel.loads.as_slice()).unwrap_or_default();
    for (load, arrival) in loads.iter().zip(arrivals) {
        let (outcome, says) = match arrival {
            Arrival::Done => (Outcome::Done, None),
            Arrival::ReloadDue(says) => (Outcome::ReloadDue, Some(says)),
            Arrival::Failed(says) => (Outcome::Failed, Some(says)),
        };
        let known = found.entry(&load.certificate).or_insert((Outcome::Done, None));
        let rank = |outcome| match outcome {
            Outcome::Done => 0,
            Outcome::ReloadDue => 1,
            Outcome::Failed => 2,
        };
        if rank(outcome) > rank(known.0) {
            *known = (outcome, says);
        } else if rank(outcome) == rank(known.0)
            && let (Some(before), Some(says)) = (&mut known.1, says)
            && *before != says
        {
            *before = format!("{before}; {says}");
        }
    }
    found
}

/// What instances of authorities hold, by number.
type Issuers = BTreeMap<i64, Vec<KeyData>>;

/// The texts of an instance; in words why it cannot be brought anywhere.
fn texts(
    op: &mut Operation<'_>,
    instance: &Instance,
    issuers: &mut Issuers,
) -> Result<Result<Vec<Texts>, String>, OperateError> {
    if !instance.is_whole() {
        return Ok(Err("it does not hold a certificate for each of its keys".to_owned()));
    }
    let keys = op.inventory.keys_of(std::slice::from_ref(instance))?.pop().unwrap_or_default();
    if let Some(issuer) = instance.issuer
        && !issuers.contains_key(&issuer)
        && keys.iter().any(|key| key.chain.trim().is_empty())
    {
        issuers.insert(issuer, op.inventory.keys(issuer)?);
    }
    let issuer = instance.issuer.and_then(|issuer| issuers.get(&issuer)).map_or(&[][..], Vec::as_slice);
    Ok(keys.iter().map(|key| opened(key, &op.signers.keyring, issuer)).collect())
}

fn opened(data: &KeyData, keyring: &Keyring<'_>, issuer: &[KeyData]) -> Result<Texts, String> {
    let algorithm = data.info.algorithm;
    let der =
        certificate(&data.certificate).map_err(|error| format!("the {algorithm} certificate {error}"))?;
    let says = inspect::Certificate::from_der(&der)
        .map_err(|error| format!("the {algorithm} certificate cannot be read: {error}"))?;
    let key = match data.key.reveal() {
        [] => None,
        text => {
            let key = keyring.open(text).map_err(|error| format!("its {algorithm} key: {error}"))?;
            if key.public_digest() != says.public_digest {
                return Err(format!("its {algorithm} key is not that of the certificate"));
            }
            // The form that serverPKI writes, which every program reads.
            Some(key.to_pem(Container::Traditional).map_err(|error| error.to_string())?)
        }
    };
    let chain = chain(data, &der, says.self_signed, issuer);
    Ok(Texts { algorithm, key, certificate: data.certificate.clone(), chain })
}

fn certificate(text: &str) -> Result<Vec<u8>, String> {
    let block = armor::blocks(text.as_bytes()).into_iter().find(|block| block.label == "CERTIFICATE");
    let block = block.ok_or("is no text in PEM")?;
    block.body.map(|body| body.to_vec()).map_err(|error| format!("is damaged: {error}"))
}

/// Who is above a certificate. Of several that the issuer's instance holds it is the one that has signed it: an
/// authority with two keys has two certificates.
fn chain(data: &KeyData, der: &[u8], is_self_signed: bool, issuer: &[KeyData]) -> Result<String, String> {
    if !data.chain.trim().is_empty() {
        return Ok(data.chain.clone());
    }
    if is_self_signed {
        return Ok(String::new());
    }
    let above = match issuer {
        [] => return Err("the inventory does not say who has signed it".to_owned()),
        [only] => only,
        several => {
            let read = |key: &KeyData| certificate(&key.certificate).unwrap_or_default();
            let pool: Vec<Vec<u8>> = several.iter().map(read).collect();
            let found = bundle::chain(der, &pool)?;
            let signer = found.intermediates.into_iter().next().or(found.root);
            let signer = several.iter().zip(&pool).find(|(_, known)| Some(*known) == signer.as_ref());
            signer.ok_or("none of the certificates of its issuer has signed it")?.0
        }
    };
    Ok(format!("{}\n{}", above.certificate.trim_end(), above.chain))
}
