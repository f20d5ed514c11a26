//! The lists of what own authorities have revoked: one for each of their instances that can sign, all in one file, as
//! servers read it.
//!
//! What is revoked stands in the inventory, and what was forgotten there in the list itself: an entry stays. A list
//! that lacks something, or ends soon, is written anew.

use std::collections::BTreeMap;
use std::path::Path;

use time::{Duration, OffsetDateTime};

use super::keys::open_key;
use super::sign::DIGEST;
use super::{OperateError, Operation};
use crate::manager::inventory::model::{Instance, State, SubjectType};
use crate::pki::container;
use crate::pki::inspect::Certificate;
use crate::pki::key::PrivateKey;
use crate::pki::serial::Serial;
use crate::pki::x509::crl::{self, ListProfile, Reason, Revoked};
use crate::transaction::replace;

/// Days for which a list is valid.
const VALID_DAYS: i64 = 30;
/// Days before its end from which on it is written anew.
const FRESH_DAYS: i64 = 20;
/// What it is called in PEM (RFC 7468 section 6).
const TAG: &str = "X509 CRL";

/// An instance of an own authority that signs a list.
struct Authority {
    instance: i64,
    /// In DER.
    certificate: Vec<u8>,
    key: PrivateKey,
    /// The public key in DER.
    public: Vec<u8>,
}

/// Writes the file where something is to be said that is not in it, or where a list ends soon; says so in the report.
/// Nothing where the site wants no lists. `reasons` has those that are known, by instance.
///
/// # Errors
/// [`OperateError`]; the file is as it was.
pub fn write(op: &mut Operation<'_>, reasons: &BTreeMap<i64, Reason>) -> Result<(), OperateError> {
    let Some(path) = op.config.site.inventory.crl.clone() else { return Ok(()) };
    let failed = |why: String| {
        OperateError::Failed(format!("{}: the lists of revoked certificates: {why}", path.display()))
    };
    let text = op.world.root.text(&path).map_err(|error| failed(error.to_string()))?.unwrap_or_default();
    let mut there = blocks(&path, &text).map_err(OperateError::Failed)?;
    let instances = op.inventory.instances()?;
    let (mut lists, mut said, mut is_changed) = (Vec::new(), 0, false);
    for authority in authorities(op, &instances)? {
        let of_it = |der: &Vec<u8>| crl::is_signed_by(der, &authority.public) == Some(true);
        let old = there.iter().position(of_it).map(|index| there.remove(index));
        let entries = entries(op, &instances, authority.instance, reasons)?;
        let list = match fresh(&authority, old.as_deref(), entries, op.now()).map_err(failed)? {
            Some((list, entries)) => {
                is_changed = true;
                said += entries;
                list
            }
            None => old.unwrap_or_default(),
        };
        lists.push(list);
    }
    if !is_changed {
        return Ok(());
    }
    // Those of an authority whose key is not here stay as they are.
    lists.extend(there);
    let blocks: Vec<pem::Pem> = lists.into_iter().map(|der| pem::Pem::new(TAG, der)).collect();
    let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let text = pem::encode_many_config(&blocks, unix);
    replace(op.world.root, &path, text.as_bytes(), 0o644).map_err(|error| failed(error.to_string()))?;
    op.report.notes.push(format!("{} is written, with {said} revoked", path.display()));
    Ok(())
}

/// The lists in a file.
fn blocks(path: &Path, text: &str) -> Result<Vec<Vec<u8>>, String> {
    let wrong =
        || format!("{} holds something that is no list; take it away, or name another file", path.display());
    let blocks = pem::parse_many(text).map_err(|_| wrong())?;
    if blocks.iter().any(|block| block.tag() != TAG) || blocks.is_empty() && !text.trim().is_empty() {
        return Err(wrong());
    }
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

/// Those that can sign, the newest first.
fn authorities(op: &mut Operation<'_>, instances: &[Instance]) -> Result<Vec<Authority>, OperateError> {
    let now = op.now();
    let mut names: Vec<_> = instances.iter().map(|it| it.certificate.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let mut owners = Vec::new();
    op.inventory.standings(Some(&names), &mut |standing| {
        if standing.subject == SubjectType::Ca {
            owners.push(standing.certificate);
        }
    })?;
    let may = [State::Issued, State::Prepublished, State::Deployed];
    let is_one = |it: &&Instance| {
        may.contains(&it.state) && it.is_whole() && it.is_valid(now) && owners.contains(&it.certificate)
    };
    let mut found = Vec::new();
    for instance in instances.iter().rev().filter(is_one) {
        let keys = op.inventory.keys(instance.id)?;
        // The authority of somebody else has none.
        let Some(data) = keys.iter().find(|data| !data.key.reveal().is_empty()) else { continue };
        let wrong = |why: String| {
            OperateError::Failed(format!("{}, instance {}: {why}", instance.certificate, instance.id))
        };
        let key = open_key(&op.signers.keyring, data).map_err(|why| wrong(format!("its key: {why}")))?;
        let certificate = container::read(data.certificate.as_bytes()).certificates.into_iter().next();
        let certificate = certificate.ok_or_else(|| wrong("its certificate cannot be read".into()))?;
        let public = key.spki_der().map_err(|error| wrong(error.to_string()))?;
        found.push(Authority { instance: instance.id, certificate, key, public });
    }
    Ok(found)
}

/// What is revoked of what an instance has signed, by the inventory.
fn entries(
    op: &mut Operation<'_>,
    instances: &[Instance],
    by: i64,
    reasons: &BTreeMap<i64, Reason>,
) -> Result<Vec<Revoked>, OperateError> {
    let mut entries = Vec::new();
    for it in instances.iter().filter(|it| it.state == State::Revoked && it.issuer == Some(by)) {
        let at = it.about.updated.unwrap_or(op.now());
        let reason = reasons.get(&it.id).copied().unwrap_or_default();
        for data in op.inventory.keys(it.id)? {
            let read = container::read(data.certificate.as_bytes()).certificates.into_iter().next();
            let read = read.and_then(|der| Certificate::from_der(&der).ok()).and_then(|read| read.serial);
            let serial = read.ok_or_else(|| {
                let (name, id) = (&it.certificate, it.id);
                OperateError::Failed(format!(
                    "{name}, instance {id}: its serial cannot be read, and it is in no list"
                ))
            })?;
            entries.push(Revoked { serial, at, reason });
        }
    }
    Ok(entries)
}

/// A new list, with how many entries it has; nothing where the old one says everything and does not end soon.
fn fresh(
    authority: &Authority,
    old: Option<&[u8]>,
    entries: Vec<Revoked>,
    now: OffsetDateTime,
) -> Result<Option<(Vec<u8>, usize)>, String> {
    let old = old.map(crl::read).transpose().map_err(|error| error.to_string())?;
    let ends = old.as_ref().and_then(|old| old.next_update);
    let is_fresh = ends.is_some_and(|ends| ends - now > Duration::days(VALID_DAYS - FRESH_DAYS));
    let number = old.as_ref().and_then(|old| old.number);
    let mut revoked: BTreeMap<Serial, Revoked> =
        old.into_iter().flat_map(|old| old.revoked).map(|one| (one.serial, one)).collect();
    let before = revoked.len();
    for one in entries {
        revoked.entry(one.serial).or_insert(one);
    }
    if is_fresh && revoked.len() == before {
        return Ok(None);
    }
    // Rising also where the file was lost, and on whichever machine it is written (RFC 5280 section 5.2.3).
    let clock = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    let number = number.map_or(clock, |number| clock.max(number.saturating_add(1)));
    let revoked: Vec<Revoked> = revoked.into_values().collect();
    let next_update = now + Duration::days(VALID_DAYS);
    let profile = ListProfile { number, this_update: now, next_update, revoked: &revoked };
    let list = crl::revocation_list(&authority.certificate, &authority.key, DIGEST, profile);
    Ok(Some((list.map_err(|error| error.to_string())?, revoked.len())))
}
