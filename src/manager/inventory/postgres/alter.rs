//! Changes of rows that are there already: only what is named, so that nobody's other change is undone.

use postgres::Transaction;
use time::OffsetDateTime;

use super::super::model::{
    Alteration, CertificateParts, HostParts, Name, PlaceParts, ServiceKey, ServiceParts,
};
use super::super::store::InventoryError;
use super::{read, rows};

/// Changes one object.
pub fn alter(
    transaction: &mut Transaction<'_>,
    alteration: &Alteration,
    now: OffsetDateTime,
) -> Result<(), InventoryError> {
    match alteration {
        Alteration::Certificate(name, parts) => certificate(transaction, name, parts, now),
        Alteration::Host(name, parts) => host(transaction, name, parts, now),
        Alteration::Place(name, parts) => place(transaction, name, parts, now),
        Alteration::Service(key, parts) => service(transaction, key, parts, now),
    }
}

fn certificate(
    transaction: &mut Transaction<'_>,
    name: &Name,
    parts: &CertificateParts,
    now: OffsetDateTime,
) -> Result<(), InventoryError> {
    let id = rows::certificate_id(transaction, name)?;
    transaction.execute(
        "UPDATE reseed.certificates SET disabled = coalesce($2, disabled), kind = coalesce($3, kind),
            authority = CASE WHEN $4 THEN $5 ELSE authority END, algorithms = coalesce($6, algorithms),
            must_staple = coalesce($7, must_staple), remarks = CASE WHEN $8 THEN $9 ELSE remarks END, updated = $10
         WHERE id = $1",
        &[
            &id,
            &parts.disabled,
            &parts.kind.map(|kind| kind.to_string()),
            &parts.authority.is_some(),
            &parts.authority.clone().flatten(),
            &parts.algorithms.map(|algorithms| algorithms.to_string()),
            &parts.must_staple,
            &parts.remarks.is_some(),
            &parts.remarks.clone().flatten(),
            &now,
        ],
    )?;
    Ok(())
}

fn host(
    transaction: &mut Transaction<'_>,
    name: &Name,
    parts: &HostParts,
    now: OffsetDateTime,
) -> Result<(), InventoryError> {
    let id = rows::host_id(transaction, name)?;
    transaction.execute(
        "UPDATE reseed.hosts SET jail_root = CASE WHEN $2 THEN $3 ELSE jail_root END,
            remarks = CASE WHEN $4 THEN $5 ELSE remarks END, updated = $6 WHERE id = $1",
        &[
            &id,
            &parts.jail_root.is_some(),
            &parts.jail_root.clone().flatten(),
            &parts.remarks.is_some(),
            &parts.remarks.clone().flatten(),
            &now,
        ],
    )?;
    Ok(())
}

/// What a place says, it says as a whole: it is read, changed, looked at, and written.
fn place(
    transaction: &mut Transaction<'_>,
    name: &Name,
    parts: &PlaceParts,
    now: OffsetDateTime,
) -> Result<(), InventoryError> {
    let id = rows::place_id(transaction, name)?;
    let row = transaction.query_one("SELECT * FROM reseed.places WHERE id = $1 FOR UPDATE", &[&id])?;
    let mut place = read::place(&row)?;
    parts.apply(&mut place, now);
    place.check(name)?;
    transaction.execute(
        "UPDATE reseed.places SET file_type = $2, cert_path = $3, key_path = $4, owner = $5, \"group\" = $6, mode = $7,
            chown_both = $8, pglink = $9, reload = $10, remarks = $11, updated = $12 WHERE id = $1",
        &[
            &id,
            &place.file_type.to_string(),
            &place.cert_path,
            &place.key_path,
            &place.user.map(i64::from),
            &place.group.map(i64::from),
            &place.mode.map(String::from),
            &place.chown_both,
            &place.pglink,
            &place.reload,
            &place.about.remarks,
            &place.about.updated,
        ],
    )?;
    Ok(())
}

fn service(
    transaction: &mut Transaction<'_>,
    key: &ServiceKey,
    parts: &ServiceParts,
    now: OffsetDateTime,
) -> Result<(), InventoryError> {
    let id = rows::service_id(transaction, key)?;
    transaction.execute(
        "UPDATE reseed.services SET tlsa = coalesce($2, tlsa), remarks = CASE WHEN $3 THEN $4 ELSE remarks END,
            updated = $5 WHERE id = $1",
        &[
            &id,
            &parts.tlsa.as_ref().map(ToString::to_string),
            &parts.remarks.is_some(),
            &parts.remarks.clone().flatten(),
            &now,
        ],
    )?;
    Ok(())
}
