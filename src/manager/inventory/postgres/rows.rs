//! Rows by the names that people use: their numbers, and one that comes in.

use std::fmt::Display;

use postgres::Transaction;
use postgres::types::ToSql;

use super::super::model::{Name, Refusal, Rule, ServiceKey};
use super::super::store::InventoryError;
use super::failed;

/// What is given to a statement.
pub type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Inserts, where the only thing that can be taken is what is said.
pub fn insert(
    transaction: &mut Transaction<'_>,
    what: &dyn Display,
    query: &str,
    values: Values<'_>,
) -> Result<(), InventoryError> {
    match transaction.execute(query, values) {
        Ok(_) => Ok(()),
        Err(error) => Err(match failed("PostgreSQL", &error) {
            InventoryError::Refused(refusals)
                if refusals.iter().any(|refusal| refusal.rule == Rule::Taken) =>
            {
                Refusal::new(Rule::Taken, format!("there is {what} already")).into()
            }
            other => other,
        }),
    }
}

/// The number of what has a name.
fn id(
    transaction: &mut Transaction<'_>,
    what: &str,
    query: &str,
    name: &dyn Display,
    values: Values<'_>,
) -> Result<i64, InventoryError> {
    match transaction.query_opt(query, values)? {
        Some(row) => Ok(row.get(0)),
        None => Err(Refusal::new(Rule::Unknown, format!("there is no {what} {name}")).into()),
    }
}

/// The number of a host.
pub fn host_id(transaction: &mut Transaction<'_>, name: &Name) -> Result<i64, InventoryError> {
    let query = "SELECT id FROM reseed.hosts WHERE lower(fqdn COLLATE \"C\") = $1";
    id(transaction, "host", query, name, &[&name.folded()])
}

/// The number of a place.
pub fn place_id(transaction: &mut Transaction<'_>, name: &Name) -> Result<i64, InventoryError> {
    let query = "SELECT id FROM reseed.places WHERE lower(name COLLATE \"C\") = $1";
    id(transaction, "place", query, name, &[&name.folded()])
}

/// A jail by its host; where the host has none of that name, another host's, so that the rules can say so.
pub fn jail_id(transaction: &mut Transaction<'_>, host: i64, name: &Name) -> Result<i64, InventoryError> {
    let query =
        "SELECT id FROM reseed.jails WHERE lower(name COLLATE \"C\") = $1 ORDER BY host <> $2 LIMIT 1";
    id(transaction, "jail", query, name, &[&name.folded(), &host])
}

/// The number of a certificate.
pub fn certificate_id(transaction: &mut Transaction<'_>, name: &Name) -> Result<i64, InventoryError> {
    let query = "SELECT certificate FROM reseed.subjects WHERE main AND lower(name COLLATE \"C\") = $1";
    id(transaction, "certificate", query, name, &[&name.folded()])
}

/// The number of a service.
pub fn service_id(transaction: &mut Transaction<'_>, key: &ServiceKey) -> Result<i64, InventoryError> {
    let query = "SELECT id FROM reseed.services WHERE lower(name COLLATE \"C\") = $1 AND port = $2";
    id(transaction, "service", query, key, &[&key.name.folded(), &i32::from(key.port)])
}
