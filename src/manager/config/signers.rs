//! Who signs whom among our own authorities: every chain ends, and nothing in it has a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::authorities::Authorities;
use super::texts::Text;
use super::{AuthorityKind, Service, Signer};
use crate::fault::Fault;
use crate::manager::name::{CA, ServiceName};

/// A service that can be understood by itself.
pub(super) struct Draft<'a> {
    pub(super) service: Service,
    /// Its file, and where in it the signer is named.
    pub(super) text: &'a Text,
    pub(super) signing: Range<usize>,
}

/// The services whose signer cannot sign, each with the reason.
pub(super) fn faults(
    drafts: &BTreeMap<ServiceName, Draft<'_>>,
    authorities: &Authorities,
) -> Vec<(ServiceName, Fault)> {
    let mut judged: BTreeMap<ServiceName, Option<String>> = BTreeMap::new();
    for name in drafts.keys() {
        judge(name, drafts, authorities, &mut judged);
    }
    judged
        .into_iter()
        .filter_map(|(name, reason)| {
            let draft = drafts.get(&name)?;
            let fault = Fault::at(&draft.text.path, &draft.text.text, draft.signing.clone(), reason?);
            Some((name, fault))
        })
        .collect()
}

/// Follows the signers upwards until one is judged, signs itself, is not ours, or comes again.
fn judge(
    name: &ServiceName,
    drafts: &BTreeMap<ServiceName, Draft<'_>>,
    authorities: &Authorities,
    judged: &mut BTreeMap<ServiceName, Option<String>>,
) {
    let mut path: Vec<ServiceName> = Vec::new();
    let mut on_path = BTreeSet::new();
    let mut current = name.clone();
    let end = loop {
        if let Some(reason) = judged.get(&current) {
            break reason.as_ref().map(|_| faulty(&current));
        }
        let Some(draft) = drafts.get(&current) else { break Some(faulty(&current)) };
        if !on_path.insert(current.clone()) {
            // Those below the circle are not part of it; they only depend on it.
            let start = path.iter().position(|name| *name == current).unwrap_or_default();
            let circle = path.split_off(start);
            let names: Vec<_> = circle.iter().chain([&current]).map(ToString::to_string).collect();
            let reason = format!("these sign each other in a circle: {}", names.join(", "));
            judged.extend(circle.into_iter().map(|name| (name, Some(reason.clone()))));
            break Some(faulty(&current));
        }
        path.push(current);
        match signer(&draft.service, authorities) {
            Some(above) => current = above,
            None => break None,
        }
    };
    let mut reason = end;
    for name in path.into_iter().rev() {
        let next = reason.as_ref().map(|_| faulty(&name));
        judged.insert(name, reason);
        reason = next;
    }
}

fn faulty(name: &ServiceName) -> String {
    format!("it is signed by {name}, which is missing or has a fault; see conf.d/{name}")
}

/// The service of ours that signs this one.
fn signer(service: &Service, authorities: &Authorities) -> Option<ServiceName> {
    let Signer::Authority(name) = &service.signer else { return None };
    let authority = authorities.known.get(name)?;
    if authority.kind == AuthorityKind::Own { ServiceName::new(CA, name).ok() } else { None }
}
