//! What happens to certificates, as it is written.

use postgres::Transaction;
use time::OffsetDateTime;

use super::super::events::{Event, Record};
use super::super::model::{Instance, KeyData, Name, Refusal, Rule, Word};
use super::super::store::InventoryError;
use super::rows::{certificate_id, host_id, insert};
use super::{keys, read};

/// Records what happened to a certificate; returns the number of an instance that began.
pub fn record(
    transaction: &mut Transaction<'_>,
    name: &Name,
    events: &[Event],
    now: OffsetDateTime,
) -> Result<Option<i64>, InventoryError> {
    let unknown = || Refusal::new(Rule::Unknown, format!("there is no certificate {name}"));
    // What is decided on must not change until it is written.
    let id = certificate_id(transaction, name)?;
    transaction.execute("SELECT FROM reseed.certificates WHERE id = $1 FOR NO KEY UPDATE", &[&id])?;
    transaction.execute("SELECT FROM reseed.instances WHERE certificate = $1 FOR UPDATE", &[&id])?;
    let mut certificates = read::certificates(transaction, Some(std::slice::from_ref(name)))?;
    let (name, certificate) = certificates.pop_first().ok_or_else(unknown)?;
    let instances = read::instances(transaction, Some(&name))?;
    let mut record = Record { name, certificate, instances };
    let mut began = None;
    for event in events {
        let fresh = match event {
            Event::Reserved { .. } => {
                transaction.query_one("SELECT nextval('reseed.instances_id_seq')", &[])?.get(0)
            }
            _ => 0,
        };
        record.follow(event, fresh, now)?;
        let of = |id: i64| record.instances.iter().find(|known| known.id == id);
        match event {
            Event::Reserved { .. } => {
                began = Some(fresh);
                if let Some(instance) = of(fresh) {
                    let about = &instance.about;
                    transaction.execute(
                        "INSERT INTO reseed.instances (id, certificate, algorithms, must_staple, created)
                         VALUES ($1, $2, $3, $4, $5)",
                        &[
                            &fresh,
                            &id,
                            &instance.algorithms.to_string(),
                            &instance.must_staple,
                            &about.created,
                        ],
                    )?;
                }
            }
            Event::Issued { instance, keys, .. } => {
                keys::at_rest(transaction, keys::Lock::Shared)?.suits(record.certificate.subject, keys)?;
                keys.iter().try_for_each(|key| insert_key(transaction, *instance, key))?;
                of(*instance).map(|instance| save(transaction, instance)).transpose()?;
            }
            Event::Delivered { instance, host, delivery } => {
                let host = host_id(transaction, host)?;
                transaction.execute(
                    "INSERT INTO reseed.deliveries (instance, host, at, outcome, says) VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT (instance, host) DO UPDATE
                         SET at = excluded.at, outcome = excluded.outcome, says = excluded.says",
                    &[instance, &host, &delivery.at, &Word::text(delivery.outcome), &delivery.says],
                )?;
            }
            Event::Published { instance } | Event::Moved { instance, .. } => {
                of(*instance).map(|instance| save(transaction, instance)).transpose()?;
            }
            Event::Discarded { instance } => {
                transaction.execute("DELETE FROM reseed.instances WHERE id = $1", &[instance])?;
            }
            Event::Reminded | Event::Authorized { .. } => {}
        }
    }
    let certificate = &record.certificate;
    transaction.execute(
        "UPDATE reseed.certificates SET authorized_until = $2, reminded = $3
         WHERE id = $1 AND (authorized_until, reminded) IS DISTINCT FROM ($2, $3)",
        &[&id, &certificate.authorized_until, &certificate.reminded],
    )?;
    Ok(began)
}

fn save(transaction: &mut Transaction<'_>, instance: &Instance) -> Result<(), InventoryError> {
    transaction.execute(
        "UPDATE reseed.instances SET state = $2, issuer = $3, not_before = $4, not_after = $5, published = $6,
            updated = $7 WHERE id = $1",
        &[
            &instance.id,
            &instance.state.to_string(),
            &instance.issuer,
            &instance.not_before,
            &instance.not_after,
            &instance.published,
            &instance.about.updated,
        ],
    )?;
    Ok(())
}

fn insert_key(transaction: &mut Transaction<'_>, instance: i64, key: &KeyData) -> Result<(), InventoryError> {
    insert(
        transaction,
        &format_args!("the certificate {}", key.info.digest),
        "INSERT INTO reseed.instance_keys (instance, algorithm, digest, certificate, chain, key, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            &instance,
            &key.info.algorithm.to_string(),
            &key.info.digest,
            &key.certificate,
            &key.chain,
            &key.key.reveal(),
            &key.info.created,
        ],
    )
}
