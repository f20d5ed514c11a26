//! A certificate by an own authority: which of its instances signs, and what that makes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use sha2::Digest as _;
use time::{Duration, OffsetDateTime};

use super::issue::Begun;
use super::keys::keep_key;
use super::{OperateError, Operation};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{
    AtRest, KeyAlgorithm, KeyData, KeyInfo, Name, State, SubjectType, second,
};
use crate::manager::inventory::schedule::Standing;
use crate::manager::keyring::Keyring;
use crate::pki::inspect::Certificate;
use crate::pki::key::{PrivateKey, Secret};
use crate::pki::serial::Serial;
use crate::pki::x509::{self, Issuer, Profile, Role};
use crate::pki::{Algorithm, Digest, Usage, container};
use crate::system::root::Root;

/// How long before it is made a certificate starts: clocks of clients are not all right.
pub const BACKDATE: Duration = Duration::days(1);
/// What everything is signed over.
pub const DIGEST: Digest = Digest::Sha384;

/// What own authorities sign with.
pub struct Signers<'a> {
    pub keyring: Keyring<'a>,
    ready: BTreeMap<Name, Arc<Signer>>,
}

/// An instance of an own authority that signs.
pub struct Signer {
    instance: i64,
    /// In DER.
    certificate: Vec<u8>,
    key: PrivateKey,
}

impl<'a> Signers<'a> {
    pub fn new(root: &'a Root, passphrase: Option<&Path>) -> Self {
        Self { keyring: Keyring::new(root, passphrase), ready: BTreeMap::new() }
    }
}

/// An authority, made ready once a run: of its instances the newest that is valid, whole, and has a key.
///
/// # Errors
/// [`OperateError::Failed`] when it cannot sign, with what to do.
pub fn signer(op: &mut Operation<'_>, name: &Name) -> Result<Arc<Signer>, OperateError> {
    if let Some(ready) = op.signers.ready.get(name) {
        return Ok(Arc::clone(ready));
    }
    let failed = |says: String| OperateError::Failed(says);
    let mut standing = None;
    op.inventory.standings(Some(std::slice::from_ref(name)), &mut |found| standing = Some(found))?;
    let standing = standing
        .ok_or_else(|| failed(format!("there is no authority {name}; `reseed manager ca` makes it")))?;
    if standing.subject != SubjectType::Ca {
        let says =
            format!("{name} is of type {} and no authority: nothing is signed by it", standing.subject);
        return Err(failed(says));
    }
    for instance in signing(&standing, op.world.now) {
        let keys = op.inventory.keys(instance)?;
        // The authority of somebody else has none.
        let Some(data) = keys.iter().find(|data| !data.key.reveal().is_empty()) else { continue };
        let about = |error: String| failed(format!("{name}, instance {instance}: {error}"));
        let key =
            op.signers.keyring.open(data.key.reveal()).map_err(|error| about(format!("its key: {error}")))?;
        let certificate = container::read(data.certificate.as_bytes()).certificates.into_iter().next();
        let certificate =
            certificate.ok_or_else(|| about("it has no certificate that can be read".into()))?;
        let read = Certificate::from_der(&certificate).map_err(about)?;
        if read.public_digest != key.public_digest() {
            return Err(about("its key is not that of its certificate".into()));
        }
        let signer = Arc::new(Signer { instance, certificate, key });
        op.signers.ready.insert(name.clone(), Arc::clone(&signer));
        return Ok(signer);
    }
    Err(failed(format!(
        "{name} has no instance that is valid now and has a key; `reseed manager ca` makes one"
    )))
}

/// Forgets what was made ready: there is a newer instance.
pub fn forget(op: &mut Operation<'_>, name: &Name) {
    op.signers.ready.remove(name);
}

/// The instances that may sign, the newest first.
fn signing(standing: &Standing, now: OffsetDateTime) -> Vec<i64> {
    let may = [State::Issued, State::Prepublished, State::Deployed];
    let mut found: Vec<i64> = standing
        .instances
        .iter()
        .filter(|it| may.contains(&it.state) && it.whole)
        .filter(|it| matches!((it.not_before, it.not_after), (Some(from), Some(until)) if from <= now && now < until))
        .map(|it| it.id)
        .collect();
    found.sort_by_key(|id| std::cmp::Reverse(*id));
    found
}

/// Signs what has begun, each with all its keys, on all processors; what cannot be says why.
///
/// # Errors
/// [`OperateError::Inventory`] when the inventory does not say how keys are kept.
pub fn all(
    op: &mut Operation<'_>,
    begun: &[(Begun, Arc<Signer>)],
) -> Result<Vec<Result<Event, String>>, OperateError> {
    let at_rest = op.inventory.at_rest()?;
    let terms = Terms {
        keyring: &op.signers.keyring,
        at_rest,
        now: op.world.now,
        days: op.config.site.inventory.issuing.leaf_days,
        rsa: op.config.site.inventory.issuing.rsa_key,
        ec: op.config.site.inventory.issuing.ec_key,
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let share = begun.len().div_ceil(processors).max(1);
    Ok(thread::scope(|scope| {
        let workers: Vec<_> = begun
            .chunks(share)
            .map(|some| {
                let work = move || some.iter().map(|(one, by)| event(&terms, one, by)).collect::<Vec<_>>();
                (some.len(), scope.spawn(work))
            })
            .collect();
        let lost = |count| vec![Err("the worker that made it is gone".to_owned()); count];
        workers.into_iter().flat_map(|(count, it)| it.join().unwrap_or_else(|_| lost(count))).collect()
    }))
}

/// What holds for all that is signed in a run.
#[derive(Clone, Copy)]
struct Terms<'t> {
    keyring: &'t Keyring<'t>,
    at_rest: AtRest,
    now: OffsetDateTime,
    days: u32,
    rsa: Algorithm,
    ec: Algorithm,
}

fn event(terms: &Terms<'_>, begun: &Begun, by: &Signer) -> Result<Event, String> {
    let (mut keys, mut from, mut until) = (Vec::new(), None, None);
    for algorithm in begun.algorithms.keys() {
        let (issued, key) = certificate(terms, begun, *algorithm, by)?;
        from = from.max(Some(issued.not_before));
        until =
            until.map_or(Some(issued.not_after), |until: OffsetDateTime| Some(until.min(issued.not_after)));
        let key = keep_key(terms.keyring, terms.at_rest, begun.subject_type, &key)?;
        keys.push(data(*algorithm, &issued.der, String::new(), key, terms.now));
    }
    Ok(Event::Issued {
        instance: begun.instance,
        keys,
        issuer: Some(by.instance),
        not_before: from.ok_or("no key is wished for")?,
        not_after: until.ok_or("no key is wished for")?,
    })
}

fn certificate(
    terms: &Terms<'_>,
    begun: &Begun,
    algorithm: KeyAlgorithm,
    by: &Signer,
) -> Result<(x509::Issued, PrivateKey), String> {
    let kind = match algorithm {
        KeyAlgorithm::Rsa => terms.rsa,
        KeyAlgorithm::Ec => terms.ec,
    };
    let key = PrivateKey::generate(kind).map_err(|error| error.to_string())?;
    let usage = if begun.subject_type == SubjectType::Client { Usage::Client } else { Usage::Server };
    let profile = Profile {
        subject: &begun.subject,
        alternative_names: &begun.names,
        role: &Role::Leaf { usages: BTreeSet::from([usage]) },
        serial: serial(begun.instance, algorithm)?,
        now: terms.now,
        backdate: BACKDATE,
        not_after: terms.now.saturating_add(Duration::days(i64::from(terms.days))),
    };
    let public = key.spki_der().map_err(|error| error.to_string())?;
    let issuer = Issuer::Authority { certificate: &by.certificate, key: &by.key };
    let issue = if begun.must_staple { x509::issue_stapled } else { x509::issue };
    let issued = issue(&profile, &public, issuer, DIGEST).map_err(|error| error.to_string())?;
    Ok((issued, key))
}

/// The serial of a certificate of an instance: the number of an instance is never given twice, by no manager and
/// under no authority.
///
/// # Errors
/// In words, when the kernel has no random numbers.
pub fn serial(instance: i64, algorithm: KeyAlgorithm) -> Result<Serial, String> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| format!("the kernel gives no random numbers: {error}"))?;
    let number = instance.unsigned_abs() << 1 | u64::from(algorithm == KeyAlgorithm::Ec);
    Ok(Serial::numbered(number, random))
}

/// A certificate in DER with its key, as an inventory has them.
pub fn data(algorithm: KeyAlgorithm, der: &[u8], chain: String, key: Secret, now: OffsetDateTime) -> KeyData {
    KeyData {
        info: KeyInfo { algorithm, digest: digest(der), created: Some(second(now)) },
        certificate: pem(der),
        chain,
        key,
    }
}

/// SHA-256 in upper-case hexadecimal digits: what a certificate is found by.
pub fn digest(der: &[u8]) -> String {
    sha2::Sha256::digest(der).iter().map(|octet| format!("{octet:02X}")).collect()
}

/// A certificate in PEM.
pub fn pem(der: &[u8]) -> String {
    let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), unix)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::manager::inventory::model::{Algorithms, Kind};
    use crate::manager::inventory::schedule::Stage;

    const NOW: OffsetDateTime = datetime!(2026-06-01 0:00 UTC);

    #[test]
    fn the_newest_that_is_valid_and_whole_signs_not_the_highest_number() {
        let stage = |id, state, whole, from: i64, until: i64| Stage {
            id,
            state,
            whole,
            not_before: Some(NOW + Duration::days(from)),
            not_after: Some(NOW + Duration::days(until)),
            published: None,
            touched: None,
            missing: 0,
        };
        let instances = vec![
            stage(1, State::Issued, true, -10, 10),
            stage(2, State::Issued, true, -10, 10),
            stage(3, State::Issued, true, -10, 0),
            stage(4, State::Issued, true, 1, 10),
            stage(5, State::Issued, false, -10, 10),
            stage(6, State::Reserved, true, -10, 10),
            stage(7, State::Revoked, true, -10, 10),
            stage(8, State::Archived, true, -10, 10),
        ];
        let standing = Standing {
            certificate: Name::of_own_authority(),
            subject: SubjectType::Ca,
            kind: Kind::Local,
            disabled: false,
            algorithms: Algorithms::Rsa,
            must_staple: false,
            tlsa_ttl: None,
            authorized_until: None,
            reminded: None,
            instances,
        };
        assert_eq!(signing(&standing, NOW), [2, 1]);
    }

    #[test]
    fn no_two_certificates_have_one_serial() {
        let one = |instance, algorithm| serial(instance, algorithm).unwrap();
        let rising = [
            one(1, KeyAlgorithm::Rsa),
            one(1, KeyAlgorithm::Ec),
            one(2, KeyAlgorithm::Rsa),
            one(i64::MAX, KeyAlgorithm::Ec),
        ];
        assert!(rising.is_sorted_by(|a, b| a < b));
        assert_ne!(one(1, KeyAlgorithm::Rsa), one(1, KeyAlgorithm::Rsa));
    }
}
