//! How private keys are kept, and all of them written anew.
//!
//! The row that says how is locked first: whoever stores a key meanwhile looks at it under a lock of its own, and
//! so comes either before or after. Then nobody else writes keys at all.

use postgres::Transaction;

use super::super::model::{AtRest, Name, Word};
use super::super::store::{Anew, Each, InventoryError, KEYS_AT_A_TIME, StoredKey};
use crate::pki::encrypted::Salt;
use crate::pki::key::Secret;

/// What is to stay until the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Nothing.
    Nothing,
    /// What is said of keys.
    Shared,
}

/// How keys are kept.
pub fn at_rest(transaction: &mut Transaction<'_>, lock: Lock) -> Result<AtRest, InventoryError> {
    let query = match lock {
        Lock::Nothing => "SELECT key_salt FROM reseed.settings",
        Lock::Shared => "SELECT key_salt FROM reseed.settings FOR SHARE",
    };
    let row = transaction.query_opt(query, &[])?;
    let salt = row.and_then(|row| row.get::<_, Option<String>>(0)).map(|salt| salt.parse::<Salt>());
    let salt =
        salt.transpose().map_err(|error| InventoryError::Unusable(format!("reseed.settings: {error}")))?;
    Ok(salt.into())
}

/// Says how keys are kept.
pub fn settle(transaction: &mut Transaction<'_>, at_rest: AtRest) -> Result<(), InventoryError> {
    let salt = at_rest.salt().map(|salt| salt.to_string());
    let query = "INSERT INTO reseed.settings (key_salt) VALUES ($1)
        ON CONFLICT (single) DO UPDATE SET key_salt = excluded.key_salt";
    transaction.execute(query, &[&salt])?;
    Ok(())
}

/// Calls for all keys, some at a time.
pub fn each(transaction: &mut Transaction<'_>, each: &mut Each<'_>) -> Result<(), InventoryError> {
    walk(transaction, &mut |_, keys| each(keys))
}

/// Says how keys are kept, and writes them anew.
pub fn keep(
    transaction: &mut Transaction<'_>,
    at_rest: AtRest,
    anew: &mut Anew<'_>,
) -> Result<(), InventoryError> {
    settle(transaction, at_rest)?;
    transaction.batch_execute("LOCK TABLE reseed.instance_keys IN SHARE ROW EXCLUSIVE MODE")?;
    walk(transaction, &mut |transaction, keys| {
        let texts = anew(keys)?;
        let (mut instances, mut algorithms, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for (key, text) in keys.iter().zip(&texts) {
            if let Some(text) = text {
                instances.push(key.instance);
                algorithms.push(key.algorithm.text());
                written.push(text.reveal());
            }
        }
        if !instances.is_empty() {
            transaction.execute(
                "UPDATE reseed.instance_keys k SET key = n.key
                 FROM unnest($1::bigint[], $2::text[], $3::bytea[]) AS n (instance, algorithm, key)
                 WHERE k.instance = n.instance AND k.algorithm = n.algorithm",
                &[&instances, &algorithms, &written],
            )?;
        }
        Ok(())
    })
}

type Visit<'v> = dyn FnMut(&mut Transaction<'_>, &[StoredKey]) -> Result<(), InventoryError> + 'v;

/// Goes through all keys by the numbers of their instances: no more of them are in memory than are looked at.
fn walk(transaction: &mut Transaction<'_>, visit: &mut Visit<'_>) -> Result<(), InventoryError> {
    let mut last = i64::MIN;
    loop {
        let rows = transaction.query(
            "SELECT k.instance, k.algorithm, k.key, s.name, c.subject FROM
                 (SELECT id, certificate FROM reseed.instances WHERE id > $1 ORDER BY id LIMIT $2) i
             JOIN reseed.instance_keys k ON k.instance = i.id
             JOIN reseed.certificates c ON c.id = i.certificate
             JOIN reseed.subjects s ON s.certificate = c.id AND s.main
             WHERE k.key <> '' ORDER BY k.instance, k.algorithm DESC",
            &[&last, &i64::try_from(KEYS_AT_A_TIME).unwrap_or(i64::MAX)],
        )?;
        let keys = rows.iter().map(|row| {
            Ok(StoredKey {
                instance: row.get(0),
                certificate: Name::new(row.get(3))?,
                subject: Word::parse(row.get(4))?,
                algorithm: Word::parse(row.get(1))?,
                key: Secret::new(row.get::<_, Vec<u8>>(2)),
            })
        });
        let keys = keys.collect::<Result<Vec<_>, InventoryError>>()?;
        if !keys.is_empty() {
            visit(transaction, &keys)?;
        }
        let query =
            "SELECT max(id) FROM (SELECT id FROM reseed.instances WHERE id > $1 ORDER BY id LIMIT $2) i";
        let most = i64::try_from(KEYS_AT_A_TIME).unwrap_or(i64::MAX);
        match transaction.query_one(query, &[&last, &most])?.get(0) {
            Some(next) => last = next,
            None => return Ok(()),
        }
    }
}
