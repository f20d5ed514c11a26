//! How certificates in files stand: what the database computes by itself.

use crate::manager::inventory::model::{Certificate, Instance, Name, Objects, Outcome, Service, State};
use crate::manager::inventory::schedule::{Stage, Standing};
use crate::manager::inventory::store::Trouble;

/// How a certificate stands.
pub fn standing(
    objects: &Objects,
    name: &Name,
    certificate: &Certificate,
    instances: &[Instance],
) -> Standing {
    let hosts = certificate.hosts();
    let ttl = |key| objects.services.get(key).map(|service: &Service| service.tlsa.ttl);
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

/// Deliveries that did not end well, the latest first.
pub fn troubles(instances: Vec<Instance>) -> Vec<Trouble> {
    let mut found = Vec::new();
    for it in instances {
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
    found
}
