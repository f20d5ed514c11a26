//! What machines say of themselves, and which instances are in use.

use postgres::Transaction;
use postgres::fallible_iterator::FallibleIterator;

use super::super::store::InventoryError;
use super::{Postgres, failed, words};
use crate::manager::fleet::{Gathering, HostReport, InUse};

/// Keeps a report. The function is all that is asked for: a machine may do nothing else, and may be older or newer
/// than the tables.
pub fn keep(database: &mut Postgres, report: &HostReport) -> Result<(), InventoryError> {
    let said = report.to_text().map_err(InventoryError::Unusable)?;
    let client = database.client()?;
    match client.execute("SELECT reseed.report($1)", &[&said]) {
        Ok(_) => Ok(()),
        Err(error) => match error.code().map(postgres::error::SqlState::code) {
            Some("RS020") => Err(InventoryError::Unusable(words(&error))),
            Some("42883" | "3F000") => Err(InventoryError::Unusable(
                "the database takes no reports; run `reseed manager inventory migrate` on the manager".into(),
            )),
            _ => Err(failed("the report", &error)),
        },
    }
}

/// Gives everything that is known; rows are let go of one by one.
pub fn gather(transaction: &mut Transaction<'_>, gathering: &mut Gathering) -> Result<(), InventoryError> {
    let nothing = || std::iter::empty::<i32>();
    // The planner knows too little of two joined lists, and would compile for seconds what runs for one.
    transaction.batch_execute("SET LOCAL jit = off")?;
    let mut rows = transaction.query_raw("SELECT host, report::text FROM reseed.reports", nothing())?;
    while let Some(row) = rows.next()? {
        match HostReport::parse(row.get(1)) {
            Ok(report) => gathering.report(report),
            Err(why) => gathering.unread(format!("{}: {why}", row.get::<_, &str>(0))),
        }
    }
    drop(rows);
    let mut rows = transaction.query_raw(IN_USE, nothing())?;
    while let Some(row) = rows.next()? {
        let (certificate, not_before, not_after) = (row.get(0), row.get(1), row.get(2));
        gathering.in_use(InUse {
            certificate,
            not_before,
            not_after,
            digests: row.get(3),
            hosts: row.get(4),
        });
    }
    drop(rows);
    let mut rows = transaction.query_raw("SELECT fqdn FROM reseed.hosts", nothing())?;
    while let Some(row) = rows.next()? {
        gathering.expected(row.get(0));
    }
    Ok(())
}

/// Of each certificate the last instance that is out, and of an authority that signs. Keys and deliveries are put
/// together before they are joined: row by row they would be looked for a hundred thousand times.
const IN_USE: &str = "WITH last AS (
        SELECT DISTINCT ON (i.certificate) i.id, i.certificate, i.not_before, i.not_after
        FROM reseed.instances i JOIN reseed.certificates c ON c.id = i.certificate
        WHERE i.not_before IS NOT NULL AND i.not_after IS NOT NULL
            AND (i.state = 'deployed' OR c.subject = 'CA' AND i.state IN ('issued', 'prepublished'))
        ORDER BY i.certificate, i.id DESC),
    keys AS (SELECT instance, array_agg(digest) AS digests FROM reseed.instance_keys GROUP BY instance),
    out AS (SELECT d.instance, array_agg(h.fqdn) AS hosts FROM reseed.deliveries d
        JOIN reseed.hosts h ON h.id = d.host WHERE d.outcome <> 'failed' GROUP BY d.instance)
    SELECT s.name, l.not_before, l.not_after, coalesce(k.digests, '{}'), coalesce(o.hosts, '{}')
    FROM last l
    JOIN reseed.subjects s ON s.certificate = l.certificate AND s.main
    LEFT JOIN keys k ON k.instance = l.id
    LEFT JOIN out o ON o.instance = l.id";
