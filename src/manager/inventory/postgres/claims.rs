//! Who works at which certificate.
//!
//! A manager that works holds an advisory lock under its session's number for as long as its connection lasts:
//! that is its life. A claim is a row with that number. It is taken while the certificate's row is locked, where
//! rows that others have locked are skipped; one whose session is gone is noted as orphaned, and taken over when
//! its manager has not come back in time.

use std::collections::BTreeSet;
use std::time::Duration;

use postgres::Transaction;

use super::super::model::Name;
use super::super::store::InventoryError;

/// Begins a session: our number, with what we held before.
pub fn begin(
    transaction: &mut Transaction<'_>,
    manager: &str,
    held: &BTreeSet<Name>,
) -> Result<i32, InventoryError> {
    let row = transaction.query_one(
        "SELECT n, pg_advisory_lock(1919251315, n) FROM (SELECT nextval('reseed.session')::integer AS n OFFSET 0) s",
        &[],
    )?;
    let session: i32 = row.get(0);
    let held: Vec<String> = held.iter().map(Name::folded).collect();
    // What broke off between a claim and our knowing of it is nobody's.
    transaction.execute(
        "DELETE FROM reseed.claims k USING reseed.subjects s
         WHERE k.manager = $1 AND s.certificate = k.certificate AND s.main
             AND lower(s.name COLLATE \"C\") <> ALL ($2)",
        &[&manager, &held],
    )?;
    transaction.execute(
        "UPDATE reseed.claims SET session = $2, orphaned = NULL WHERE manager = $1",
        &[&manager, &session],
    )?;
    Ok(session)
}

/// Claims some certificates. What is ours already, since our connection broke while we worked at it, is ours again.
pub fn claim(
    transaction: &mut Transaction<'_>,
    session: i32,
    manager: &str,
    grace: Duration,
    names: &[Name],
    most: usize,
) -> Result<Vec<Name>, InventoryError> {
    let names: Vec<String> = names.iter().map(Name::folded).collect();
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let living: Vec<i32> = transaction.query_one("SELECT reseed.living()", &[])?.get(0);
    transaction.execute(
        "UPDATE reseed.claims SET orphaned = now() WHERE certificate IN
             (SELECT certificate FROM reseed.claims WHERE orphaned IS NULL AND session <> ALL ($1)
              FOR UPDATE SKIP LOCKED)",
        &[&living],
    )?;
    let rows = transaction.query(
        "WITH free AS (
             SELECT c.id FROM reseed.certificates c
             JOIN reseed.subjects s ON s.certificate = c.id AND s.main
             LEFT JOIN reseed.claims k ON k.certificate = c.id
             WHERE lower(s.name COLLATE \"C\") = ANY ($1) AND (k.certificate IS NULL OR k.session = $5
                 OR k.session <> ALL ($2) AND k.orphaned < now() - make_interval(secs => $3))
             LIMIT $4 FOR NO KEY UPDATE OF c SKIP LOCKED
         ), taken AS (
             INSERT INTO reseed.claims AS k (certificate, session, manager)
             SELECT id, $5, $6 FROM free
             ON CONFLICT (certificate) DO UPDATE
                 SET session = excluded.session, manager = excluded.manager, since = now(), orphaned = NULL
                 WHERE k.session = $5 OR k.session <> ALL ($2) AND k.orphaned < now() - make_interval(secs => $3)
             RETURNING certificate
         )
         SELECT s.name FROM taken JOIN reseed.subjects s ON s.certificate = taken.certificate AND s.main",
        &[&names, &living, &grace.as_secs_f64(), &most, &session, &manager],
    )?;
    rows.iter().map(|row| Ok(Name::new(row.get(0))?)).collect()
}

/// Makes sure that a claim is ours, and stays so until the transaction ends.
pub fn hold(
    transaction: &mut Transaction<'_>,
    session: i32,
    certificate: &Name,
) -> Result<(), InventoryError> {
    let row = transaction.query_opt(
        "SELECT k.session FROM reseed.claims k JOIN reseed.subjects s ON s.certificate = k.certificate AND s.main
         WHERE lower(s.name COLLATE \"C\") = $1 FOR UPDATE OF k",
        &[&certificate.folded()],
    )?;
    match row {
        Some(row) if row.get::<_, i32>(0) == session => Ok(()),
        _ => Err(InventoryError::ClaimLost(certificate.clone())),
    }
}

/// Lets a claim go, where it is still ours.
pub fn release(
    transaction: &mut Transaction<'_>,
    session: i32,
    certificate: &Name,
) -> Result<(), InventoryError> {
    transaction.execute(
        "DELETE FROM reseed.claims k USING reseed.subjects s WHERE s.certificate = k.certificate AND s.main
             AND lower(s.name COLLATE \"C\") = $1 AND k.session = $2",
        &[&certificate.folded(), &session],
    )?;
    Ok(())
}
