//! `revoke`: what has been issued is taken back, by whoever signed it; the schedule then brings a successor.
//!
//! A public authority is asked, and the inventory says so when it has answered. An own one has taken back what the
//! inventory says, and its list follows.

use std::collections::BTreeMap;
use std::path::Path;

use super::crl;
use super::keys::open_key;
use super::{OperateError, Operation};
use crate::manager::acme::account::{Connection, Settings};
use crate::manager::acme::{self, By};
use crate::manager::acquire::ACCOUNTS;
use crate::manager::config::{Acme, AuthorityKind, Configuration};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{Certificate, Instance, KeyData, Kind, Name, State, SubjectType};
use crate::manager::run::Run;
use crate::pki::container;
use crate::pki::x509::crl::Reason;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Certificates of which what is deployed is taken back.
    pub names: Vec<Name>,
    /// Instances, by their numbers.
    pub instances: Vec<i64>,
    /// Why.
    pub reason: Reason,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Takes instances back, and writes the lists of own authorities.
///
/// # Errors
/// [`OperateError`]; what was recorded until then stays, and is in the lists the next time that they are written.
pub fn revoke(op: &mut Operation<'_>, request: &Request) -> Result<(), OperateError> {
    let meant = meant(&op.inventory.instances()?, request).map_err(OperateError::Usage)?;
    let names: Vec<Name> = meant.keys().cloned().collect();
    let objects = op.inventory.objects_of(&names)?;
    let authority = objects.certificates.iter().find(|(_, it)| it.subject == SubjectType::Ca);
    if let Some((name, _)) = authority {
        let says = format!(
            "{name} is an authority: nothing of ours takes it back; `reseed manager ca` makes its successor"
        );
        return Err(OperateError::Usage(says));
    }
    if request.dry_run {
        for (name, instances) in &meant {
            for it in instances {
                op.report
                    .left(name.clone(), format!("instance {} would be revoked ({})", it.id, request.reason));
            }
        }
        return Ok(());
    }
    let mut revoked = BTreeMap::new();
    op.each(&names, &mut |op, claimed| {
        for name in claimed {
            let Some(certificate) = objects.certificates.get(name) else { continue };
            for it in meant.get(name).into_iter().flatten() {
                match one(op, certificate, it, request.reason)? {
                    Ok(()) => {
                        revoked.insert(it.id, request.reason);
                        let says = format!("instance {} is revoked ({})", it.id, request.reason);
                        op.report.done(name.clone(), says);
                    }
                    Err(why) => op.report.failed(name.clone(), why),
                }
            }
        }
        Ok(())
    })?;
    if revoked.is_empty() {
        return Ok(());
    }
    let next = "hosts serve what is revoked until its successor is deployed: `reseed manager schedule` does so, after \
        `reseed manager issue` where an own authority signs";
    op.report.notes.push(next.to_owned());
    crl::write(op, &revoked)
}

/// Which instances, by their certificates.
fn meant(instances: &[Instance], request: &Request) -> Result<BTreeMap<Name, Vec<Instance>>, String> {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for name in &request.names {
        let deployed = instances.iter().filter(|it| it.certificate == *name && it.state == State::Deployed);
        match deployed.max_by_key(|it| it.id) {
            Some(it) => found.push(it),
            None => wrong.push(format!("nothing of {name} is deployed; name an instance by its number")),
        }
    }
    for id in &request.instances {
        match instances.iter().find(|it| it.id == *id) {
            Some(it) if matches!(it.state, State::Issued | State::Prepublished | State::Deployed) => {
                found.push(it)
            }
            Some(it) => wrong.push(format!(
                "instance {id} of {} is {}; nobody needs it to be revoked",
                it.certificate, it.state
            )),
            None => wrong.push(format!("there is no instance {id}")),
        }
    }
    if found.is_empty() && wrong.is_empty() {
        wrong.push("nothing is named; name a certificate, or an instance by its number".to_owned());
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    let mut by_name: BTreeMap<Name, Vec<Instance>> = BTreeMap::new();
    for it in found {
        let of_it = by_name.entry(it.certificate.clone()).or_default();
        if of_it.iter().all(|known| known.id != it.id) {
            of_it.push(it.clone());
        }
    }
    Ok(by_name)
}

fn one(
    op: &mut Operation<'_>,
    certificate: &Certificate,
    instance: &Instance,
    reason: Reason,
) -> Result<Result<(), String>, OperateError> {
    if certificate.kind == Kind::Le {
        let keys = op.inventory.keys(instance.id)?;
        if let Err(why) = public(op, certificate, &keys, reason) {
            return Ok(Err(format!("instance {}: {why}", instance.id)));
        }
    }
    let event = Event::Moved { instance: instance.id, to: State::Revoked, taken_back: true };
    Ok(op.record(&instance.certificate, &[event])?.map(drop))
}

/// Has every certificate of an instance revoked by the authority that signed it. One that was revoked before is no
/// failure, so that what broke off is done again.
fn public(
    op: &Operation<'_>,
    certificate: &Certificate,
    keys: &[KeyData],
    reason: Reason,
) -> Result<(), String> {
    if keys.is_empty() {
        return Err("it holds no certificate".into());
    }
    // Accounts are one run's at a time.
    let run = Run::begin(op.world.clone()).map_err(|error| error.to_string())?;
    let mut errors = Vec::new();
    for (name, acme) in authorities(&op.config, certificate)? {
        match at(op, &run.tree.own(ACCOUNTS), acme, keys, reason) {
            Ok(()) => return Ok(()),
            Err(error) => errors.push(format!("{name}: {error}")),
        }
    }
    Err(errors.join("; "))
}

/// Who may have signed it: the one that is named, or each that is spoken to by ACME.
fn authorities<'c>(
    config: &'c Configuration,
    certificate: &Certificate,
) -> Result<Vec<(&'c str, &'c Acme)>, String> {
    let named = certificate.authority.as_deref().or(config.site.inventory.issuing.public.as_deref());
    let tables = config.authorities.iter().filter_map(|(name, it)| match &it.kind {
        AuthorityKind::Acme(acme) => Some((name.as_str(), acme.as_ref())),
        _ => None,
    });
    let found: Vec<_> = tables.filter(|(name, _)| named.is_none_or(|named| named == *name)).collect();
    match (found.is_empty(), named) {
        (false, _) => Ok(found),
        (true, Some(named)) => Err(format!(
            "ca-info.conf has no table \"{}\" of an authority that is spoken to by ACME",
            named.escape_debug()
        )),
        (true, None) => Err("ca-info.conf has no table of an authority that is spoken to by ACME".into()),
    }
}

fn at(
    op: &Operation<'_>,
    accounts: &Path,
    acme: &Acme,
    keys: &[KeyData],
    reason: Reason,
) -> Result<(), String> {
    let root = op.world.root;
    let settings = Settings::read(root, acme, false)?;
    let settings = Settings { contact: acme.contact.clone(), ..settings };
    let connection = Connection::open(root, accounts, &settings, op.world.now);
    let connection = connection.map_err(|refusal| refusal.to_string())?;
    for data in keys {
        let certificate = container::read(data.certificate.as_bytes()).certificates.into_iter().next();
        let certificate =
            certificate.ok_or_else(|| format!("its {} certificate cannot be read", data.info.algorithm))?;
        // Another manager may have ordered it with another account: its own key is proof enough.
        let by_key = open_key(&op.signers.keyring, data).and_then(|key| {
            acme::revoke(&connection, &certificate, reason, By::Key(&key))
                .map_err(|refusal| refusal.to_string())
        });
        let Err(why) = by_key else { continue };
        // Where its key is not here, the account that ordered it is asked.
        acme::revoke(&connection, &certificate, reason, By::Account).map_err(|_| why)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::inventory::model::{About, Algorithms};

    #[test]
    fn which_instances_are_taken_back() {
        let name = |text: &str| Name::new(text).unwrap();
        let states = [State::Archived, State::Deployed, State::Deployed, State::Issued, State::Reserved];
        let instance = |(id, state): (i64, &State)| Instance {
            id,
            certificate: name("a.example"),
            state: *state,
            algorithms: Algorithms::Rsa,
            must_staple: false,
            issuer: None,
            not_before: None,
            not_after: None,
            published: None,
            about: About::default(),
            deliveries: BTreeMap::new(),
            keys: Vec::new(),
        };
        let instances: Vec<Instance> = (1..).zip(&states).map(instance).collect();
        type Row<'a> = (&'a str, &'a [&'a str], &'a [i64], Result<&'a [i64], &'a str>);
        let rows: [Row<'_>; 8] = [
            ("nothing", &[], &[], Err("nothing is named")),
            ("the latest that is deployed", &["A.example"], &[], Ok(&[3])),
            ("by numbers", &[], &[2, 4], Ok(&[2, 4])),
            ("twice", &["a.example"], &[3, 3], Ok(&[3])),
            ("nothing deployed", &["b.example"], &[], Err("nothing of b.example is deployed")),
            ("what has ended", &[], &[1], Err("instance 1 of a.example is archived")),
            ("what never was", &[], &[5], Err("instance 5 of a.example is reserved")),
            ("nobody knows it", &[], &[9], Err("there is no instance 9")),
        ];
        for (case, names, numbers, expected) in rows {
            let names = names.iter().map(|text| name(text)).collect();
            let request = Request { names, instances: numbers.to_vec(), ..Request::default() };
            match (meant(&instances, &request), expected) {
                (Ok(found), Ok(expected)) => {
                    let ids: Vec<i64> = found.into_values().flatten().map(|it| it.id).collect();
                    assert_eq!(ids, expected, "{case}");
                }
                (Err(said), Err(words)) => assert!(said.contains(words), "{case}: {said}"),
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }
}
