//! The versions of our tables. Each is one file that leads from the one before; none is ever changed.

use postgres::{Client, GenericClient};

use super::super::store::InventoryError;
use super::failed;

/// Every step, in order: the first makes version 1.
const STEPS: &[&str] = &[
    include_str!("schema/0001_inventory.sql"),
    include_str!("schema/0002_settings.sql"),
    include_str!("schema/0003_reports.sql"),
];

/// The version that this program reads and writes.
pub const VERSION: i32 = STEPS.len() as i32;

/// One at a time: an advisory lock of this number, "rese" in octets, is held meanwhile.
const LOCK: i64 = 0x7265_7365;

/// The version that a database has; 0 where there is none of our tables.
///
/// # Errors
/// [`InventoryError`]
pub fn version(client: &mut impl GenericClient) -> Result<i32, InventoryError> {
    let there: bool = client.query_one("SELECT to_regclass('reseed.version') IS NOT NULL", &[])?.get(0);
    if !there {
        return Ok(0);
    }
    Ok(client.query_one("SELECT coalesce(max(version), 0) FROM reseed.version", &[])?.get(0))
}

/// Looks whether the tables are of our version.
///
/// # Errors
/// [`InventoryError::Unusable`], with what to do.
pub fn check(client: &mut Client) -> Result<(), InventoryError> {
    server(client)?;
    match version(client)? {
        VERSION => Ok(()),
        0 => {
            let theirs = client.query_one("SELECT to_regclass('pki.certinstances') IS NOT NULL", &[])?.get(0);
            let says = match theirs {
                true => {
                    "the database has only the tables of serverPKI; take them over by \
                     `reseed manager inventory migrate`"
                }
                false => "the database has no inventory; make one by `reseed manager inventory migrate`",
            };
            Err(InventoryError::Unusable(says.into()))
        }
        older if older < VERSION => Err(InventoryError::Unusable(format!(
            "the inventory has version {older} of its tables, and this program wants {VERSION}; \
             run `reseed manager inventory migrate`"
        ))),
        newer => Err(is_newer(newer)),
    }
}

/// Brings the tables to our version; returns from which one.
///
/// # Errors
/// [`InventoryError`]; everything is as it was.
pub fn migrate(client: &mut Client) -> Result<i32, InventoryError> {
    server(client)?;
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    let before = version(&mut transaction)?;
    if before > VERSION {
        return Err(is_newer(before));
    }
    if before == 0 {
        transaction.batch_execute(
            "CREATE SCHEMA IF NOT EXISTS reseed;
             CREATE TABLE reseed.version (version integer PRIMARY KEY, since timestamptz NOT NULL DEFAULT now())",
        )?;
    }
    for (at, step) in STEPS.iter().enumerate().skip(usize::try_from(before).unwrap_or_default()) {
        let number = i32::try_from(at + 1).unwrap_or(VERSION);
        transaction
            .batch_execute(step)
            .map_err(|error| failed(&format!("step {number} of the tables"), &error))?;
        transaction.execute("INSERT INTO reseed.version VALUES ($1)", &[&number])?;
    }
    transaction.commit()?;
    Ok(before)
}

fn is_newer(newer: i32) -> InventoryError {
    InventoryError::Unusable(format!(
        "the inventory has version {newer} of its tables, which is newer than this program's {VERSION}; \
         use a newer program"
    ))
}

/// Looks whether the server is new enough.
fn server(client: &mut Client) -> Result<(), InventoryError> {
    let row = client.query_one("SELECT current_setting('server_version_num')::integer", &[])?;
    match row.get::<_, i32>(0) {
        OLDEST.. => Ok(()),
        old => Err(InventoryError::Unusable(format!(
            "the server is PostgreSQL {}; {} or newer is needed",
            old / 10_000,
            OLDEST / 10_000
        ))),
    }
}

const OLDEST: i32 = 140_000;
