//! What the tables say.

use std::collections::BTreeMap;

use postgres::fallible_iterator::FallibleIterator;
use postgres::{Row, Transaction};
use time::OffsetDateTime;

use super::super::model::{
    About, Algorithms, Certificate, Delivery, DistHost, FileType, Instance, KeyAlgorithm, KeyData, KeyInfo,
    Kind, Mode, Name, Objects, Outcome, Place, Refusal, Service, ServiceKey, State, SubjectType, Target,
    Word,
};
use super::super::schedule::{Stage, Standing};
use super::super::store::{Contents, InventoryError, Trouble};
use super::keys;
use crate::pki::key::Secret;

type Time = Option<OffsetDateTime>;

fn word<T: Word>(row: &Row, column: &str) -> Result<T, Refusal> {
    T::parse(row.get(column))
}

fn name(row: &Row, column: &str) -> Result<Name, Refusal> {
    Name::new(row.get(column))
}

fn optional_name(row: &Row, column: &str) -> Result<Option<Name>, Refusal> {
    row.get::<_, Option<&str>>(column).map(Name::new).transpose()
}

fn about(row: &Row) -> About {
    About { remarks: row.get("remarks"), created: row.get("created"), updated: row.get("updated") }
}

fn number(row: &Row, column: &str) -> Option<u32> {
    row.get::<_, Option<i64>>(column).and_then(|number| u32::try_from(number).ok())
}

fn service_key(row: &Row) -> Result<ServiceKey, Refusal> {
    let port = row.get::<_, i32>("port");
    let port =
        u16::try_from(port).map_err(|_| Refusal::new(super::Rule::Form, format!("{port} is no port")))?;
    Ok(ServiceKey { name: name(row, "name")?, port })
}

/// All objects.
pub fn objects(transaction: &mut Transaction<'_>) -> Result<Objects, InventoryError> {
    let certificates = certificates(transaction, None)?;
    around(transaction, certificates, &None)
}

/// Some certificates, with what they name.
pub fn objects_of(transaction: &mut Transaction<'_>, names: &[Name]) -> Result<Objects, InventoryError> {
    let certificates = certificates(transaction, Some(names))?;
    let main = certificates.keys().map(Name::folded).collect();
    around(transaction, certificates, &Some(main))
}

/// Certificates, with what those of these names refer to, or with everything.
fn around(
    transaction: &mut Transaction<'_>,
    certificates: BTreeMap<Name, Certificate>,
    only: &Option<Vec<String>>,
) -> Result<Objects, InventoryError> {
    let mut objects = Objects { certificates, ..Objects::default() };
    let all = "SELECT v.* FROM reseed.services v WHERE $1::text[] IS NULL OR v.id IN (
            SELECT cs.service FROM reseed.certificate_services cs
            JOIN reseed.subjects s ON s.certificate = cs.certificate AND s.main
            WHERE lower(s.name COLLATE \"C\") = ANY ($1))";
    for row in transaction.query(all, &[only])? {
        let tlsa = row.get::<_, &str>("tlsa").parse()?;
        objects.services.insert(service_key(&row)?, Service { tlsa, about: about(&row) });
    }
    let mut ids: BTreeMap<i64, Name> = BTreeMap::new();
    let all = "SELECT h.* FROM reseed.hosts h WHERE $1::text[] IS NULL OR h.id IN (
            SELECT t.host FROM reseed.targets t
            JOIN reseed.subjects s ON s.certificate = t.certificate AND s.main
            WHERE lower(s.name COLLATE \"C\") = ANY ($1))";
    for row in transaction.query(all, &[only])? {
        let host = DistHost { jail_root: row.get("jail_root"), about: about(&row), jails: BTreeMap::new() };
        let name = name(&row, "fqdn")?;
        ids.insert(row.get("id"), name.clone());
        objects.hosts.insert(name, host);
    }
    let some: Option<Vec<i64>> = only.is_some().then(|| ids.keys().copied().collect());
    let all = "SELECT * FROM reseed.jails WHERE $1::bigint[] IS NULL OR host = ANY ($1)";
    for row in transaction.query(all, &[&some])? {
        if let Some(host) = ids.get(&row.get("host")).and_then(|name| objects.hosts.get_mut(name)) {
            host.jails.insert(name(&row, "name")?, about(&row));
        }
    }
    let all = "SELECT p.* FROM reseed.places p WHERE $1::text[] IS NULL OR p.id IN (
            SELECT t.place FROM reseed.targets t
            JOIN reseed.subjects s ON s.certificate = t.certificate AND s.main
            WHERE lower(s.name COLLATE \"C\") = ANY ($1))";
    for row in transaction.query(all, &[only])? {
        objects.places.insert(name(&row, "name")?, place(&row)?);
    }
    Ok(objects)
}

pub(super) fn place(row: &Row) -> Result<Place, Refusal> {
    Ok(Place {
        file_type: word::<FileType>(row, "file_type")?,
        cert_path: row.get("cert_path"),
        key_path: row.get("key_path"),
        user: number(row, "owner"),
        group: number(row, "group"),
        mode: row.get::<_, Option<&str>>("mode").map(str::parse::<Mode>).transpose()?,
        chown_both: row.get("chown_both"),
        pglink: row.get("pglink"),
        reload: row.get("reload"),
        about: about(row),
    })
}

/// Certificates by name: some, or all.
pub fn certificates(
    transaction: &mut Transaction<'_>,
    only: Option<&[Name]>,
) -> Result<BTreeMap<Name, Certificate>, InventoryError> {
    let only: Option<Vec<String>> = only.map(|names| names.iter().map(Name::folded).collect());
    let mut found = BTreeMap::new();
    let mut names: BTreeMap<i64, Name> = BTreeMap::new();
    let main =
        "SELECT c.*, s.name, s.remarks AS main_remarks, s.created AS main_created, s.updated AS main_updated
        FROM reseed.certificates c JOIN reseed.subjects s ON s.certificate = c.id AND s.main
        WHERE $1::text[] IS NULL OR lower(s.name COLLATE \"C\") = ANY ($1)";
    for row in transaction.query(main, &[&only])? {
        let main = About {
            remarks: row.get("main_remarks"),
            created: row.get("main_created"),
            updated: row.get("main_updated"),
        };
        let certificate = Certificate {
            subject: word::<SubjectType>(&row, "subject")?,
            kind: word::<Kind>(&row, "kind")?,
            authority: row.get("authority"),
            disabled: row.get("disabled"),
            algorithms: word::<Algorithms>(&row, "algorithms")?,
            must_staple: row.get("must_staple"),
            authorized_until: row.get("authorized_until"),
            reminded: row.get("reminded"),
            about: about(&row),
            main,
            names: BTreeMap::new(),
            services: Default::default(),
            targets: Vec::new(),
        };
        names.insert(row.get("id"), name(&row, "name")?);
        found.insert(name(&row, "name")?, certificate);
    }
    let ids: Option<Vec<i64>> = only.is_some().then(|| names.keys().copied().collect());
    let mut of = |row: &Row, put: &mut dyn FnMut(&mut Certificate) -> Result<(), Refusal>| match names
        .get(&row.get("certificate"))
        .and_then(|name| found.get_mut(name))
    {
        Some(certificate) => put(certificate),
        None => Ok(()),
    };
    let all =
        "SELECT * FROM reseed.subjects WHERE NOT main AND ($1::bigint[] IS NULL OR certificate = ANY ($1))";
    for row in transaction.query(all, &[&ids])? {
        of(&row, &mut |certificate| {
            certificate.names.insert(name(&row, "name")?, about(&row));
            Ok(())
        })?;
    }
    let all = "SELECT cs.certificate, s.name, s.port FROM reseed.certificate_services cs
        JOIN reseed.services s ON s.id = cs.service WHERE $1::bigint[] IS NULL OR cs.certificate = ANY ($1)";
    for row in transaction.query(all, &[&ids])? {
        of(&row, &mut |certificate| {
            certificate.services.insert(service_key(&row)?);
            Ok(())
        })?;
    }
    let all = "SELECT t.*, h.fqdn, j.name AS jail_name, p.name AS place_name FROM reseed.targets t
        JOIN reseed.hosts h ON h.id = t.host LEFT JOIN reseed.jails j ON j.id = t.jail
        LEFT JOIN reseed.places p ON p.id = t.place
        WHERE $1::bigint[] IS NULL OR t.certificate = ANY ($1) ORDER BY t.id";
    for row in transaction.query(all, &[&ids])? {
        of(&row, &mut |certificate| {
            certificate.targets.push(Target {
                host: name(&row, "fqdn")?,
                jail: optional_name(&row, "jail_name")?,
                place: optional_name(&row, "place_name")?,
                about: about(&row),
            });
            Ok(())
        })?;
    }
    Ok(found)
}

/// Instances by number: those of one certificate, or all.
pub fn instances(
    transaction: &mut Transaction<'_>,
    only: Option<&Name>,
) -> Result<Vec<Instance>, InventoryError> {
    let only = only.map(Name::folded);
    let mut found: BTreeMap<i64, Instance> = BTreeMap::new();
    let all = "SELECT i.*, s.name FROM reseed.instances i
        JOIN reseed.subjects s ON s.certificate = i.certificate AND s.main
        WHERE $1::text IS NULL OR lower(s.name COLLATE \"C\") = $1";
    for row in transaction.query(all, &[&only])? {
        let instance = Instance {
            id: row.get("id"),
            certificate: name(&row, "name")?,
            state: word::<State>(&row, "state")?,
            algorithms: word::<Algorithms>(&row, "algorithms")?,
            must_staple: row.get("must_staple"),
            issuer: row.get("issuer"),
            not_before: row.get("not_before"),
            not_after: row.get("not_after"),
            published: row.get("published"),
            about: about(&row),
            deliveries: BTreeMap::new(),
            keys: Vec::new(),
        };
        found.insert(instance.id, instance);
    }
    let ids: Option<Vec<i64>> = only.is_some().then(|| found.keys().copied().collect());
    let all = "SELECT instance, algorithm, digest, created FROM reseed.instance_keys
        WHERE $1::bigint[] IS NULL OR instance = ANY ($1)";
    for row in transaction.query(all, &[&ids])? {
        if let Some(instance) = found.get_mut(&row.get("instance")) {
            instance.keys.push(key_info(&row)?);
            instance.keys.sort();
        }
    }
    let all = "SELECT d.*, h.fqdn FROM reseed.deliveries d JOIN reseed.hosts h ON h.id = d.host
        WHERE $1::bigint[] IS NULL OR instance = ANY ($1)";
    for row in transaction.query(all, &[&ids])? {
        if let Some(instance) = found.get_mut(&row.get("instance")) {
            let outcome = word::<Outcome>(&row, "outcome")?;
            let delivery = Delivery { at: row.get("at"), outcome, says: row.get("says") };
            instance.deliveries.insert(name(&row, "fqdn")?, delivery);
        }
    }
    Ok(found.into_values().collect())
}

fn key_info(row: &Row) -> Result<KeyInfo, Refusal> {
    Ok(KeyInfo {
        algorithm: word::<KeyAlgorithm>(row, "algorithm")?,
        digest: row.get("digest"),
        created: row.get("created"),
    })
}

fn key_data(row: &Row) -> Result<KeyData, Refusal> {
    Ok(KeyData {
        info: key_info(row)?,
        certificate: row.get("certificate"),
        chain: row.get("chain"),
        key: Secret::new(row.get::<_, Vec<u8>>("key")),
    })
}

/// Certificates and keys of an instance.
pub fn keys(transaction: &mut Transaction<'_>, instance: i64) -> Result<Vec<KeyData>, InventoryError> {
    let all = "SELECT * FROM reseed.instance_keys WHERE instance = $1 ORDER BY algorithm DESC";
    let rows = transaction.query(all, &[&instance])?;
    rows.iter().map(|row| Ok(key_data(row)?)).collect()
}

/// Certificates and keys of some instances, by their numbers.
pub fn keys_of(
    transaction: &mut Transaction<'_>,
    instances: &[i64],
) -> Result<BTreeMap<i64, Vec<KeyData>>, InventoryError> {
    let mut found: BTreeMap<i64, Vec<KeyData>> = BTreeMap::new();
    let some = "SELECT * FROM reseed.instance_keys WHERE instance = ANY ($1) ORDER BY algorithm DESC";
    for row in transaction.query(some, &[&instances])? {
        found.entry(row.get("instance")).or_default().push(key_data(&row)?);
    }
    Ok(found)
}

/// Deliveries that did not end well.
pub fn troubles(transaction: &mut Transaction<'_>, most: usize) -> Result<Vec<Trouble>, InventoryError> {
    let query = "SELECT s.name, h.fqdn, d.* FROM reseed.deliveries d
        JOIN reseed.instances i ON i.id = d.instance JOIN reseed.hosts h ON h.id = d.host
        JOIN reseed.subjects s ON s.certificate = i.certificate AND s.main
        WHERE d.outcome <> 'done' AND i.state IN ('issued', 'prepublished', 'deployed')
        ORDER BY d.at DESC, lower(s.name COLLATE \"C\") LIMIT $1";
    let rows = transaction.query(query, &[&i64::try_from(most).unwrap_or(i64::MAX)])?;
    let trouble = |row: &Row| {
        Ok(Trouble {
            certificate: name(row, "name")?,
            instance: row.get("instance"),
            host: name(row, "fqdn")?,
            delivery: Delivery {
                at: row.get("at"),
                outcome: word::<Outcome>(row, "outcome")?,
                says: row.get("says"),
            },
        })
    };
    rows.iter().map(trouble).collect()
}

/// Everything.
pub fn contents(transaction: &mut Transaction<'_>) -> Result<Contents, InventoryError> {
    let objects = objects(transaction)?;
    let mut of: BTreeMap<i64, Vec<KeyData>> = BTreeMap::new();
    for row in transaction.query("SELECT * FROM reseed.instance_keys ORDER BY algorithm DESC", &[])? {
        of.entry(row.get("instance")).or_default().push(key_data(&row)?);
    }
    let all = instances(transaction, None)?.into_iter();
    let instances = all.map(|instance| {
        let keys = of.remove(&instance.id).unwrap_or_default();
        (instance, keys)
    });
    let instances = instances.collect();
    let next =
        "SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM reseed.instances_id_seq";
    let next = transaction.query_one(next, &[])?.get(0);
    let at_rest = keys::at_rest(transaction, keys::Lock::Nothing)?;
    Ok(Contents { objects, instances, next, at_rest })
}

/// How certificates stand, one after the other: nothing is kept in memory.
pub fn standings(
    transaction: &mut Transaction<'_>,
    some: Option<&[Name]>,
    each: &mut dyn FnMut(Standing),
) -> Result<(), InventoryError> {
    let some: Option<Vec<String>> = some.map(|names| names.iter().map(Name::folded).collect());
    let query =
        if some.is_some() { format!("{STANDINGS} {SOME} {ORDER}") } else { format!("{STANDINGS} {ORDER}") };
    let given: Vec<&(dyn postgres::types::ToSql + Sync)> = some.iter().map(|some| some as _).collect();
    let mut rows = transaction.query_raw(query.as_str(), given)?;
    let mut last: Option<(i64, Standing)> = None;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0);
        if last.as_ref().is_none_or(|(known, _)| *known != id) {
            if let Some((_, done)) = last.take() {
                each(done);
            }
            last = Some((id, standing(&row)?));
        }
        if let (Some((_, standing)), Some(instance)) = (&mut last, row.get::<_, Option<i64>>(10)) {
            standing.instances.push(stage(&row, instance)?);
        }
    }
    if let Some((_, done)) = last {
        each(done);
    }
    Ok(())
}

/// Columns are read by their place: by name they would be searched for in every row.
const STANDINGS: &str = "SELECT c.id, s.name, c.subject, c.kind, c.disabled, c.algorithms, c.must_staple,
        (SELECT max((regexp_match(v.tlsa, '\\s([0-9]+)\\s'))[1]::bigint) FROM reseed.certificate_services cs
            JOIN reseed.services v ON v.id = cs.service WHERE cs.certificate = c.id),
        c.authorized_until, c.reminded,
        i.id, i.state, i.not_before, i.not_after, i.published, coalesce(i.updated, i.created),
        (SELECT count(*) FROM reseed.instance_keys k WHERE k.instance = i.id)
            = CASE i.algorithms WHEN 'both' THEN 2 ELSE 1 END,
        CASE WHEN i.state IN ('issued', 'prepublished', 'deployed') THEN
            (SELECT count(DISTINCT t.host) FROM reseed.targets t WHERE t.certificate = c.id AND t.place IS NOT NULL
                AND NOT EXISTS (SELECT FROM reseed.deliveries d
                    WHERE d.instance = i.id AND d.host = t.host AND d.outcome = 'done')) END
    FROM reseed.certificates c
    JOIN reseed.subjects s ON s.certificate = c.id AND s.main
    LEFT JOIN reseed.instances i ON i.certificate = c.id";
const SOME: &str = "WHERE lower(s.name COLLATE \"C\") = ANY ($1)";
const ORDER: &str = "ORDER BY lower(s.name COLLATE \"C\"), i.id";

fn standing(row: &Row) -> Result<Standing, Refusal> {
    let ttl = row.get::<_, Option<i64>>(7).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
    Ok(Standing {
        certificate: Name::new(row.get(1))?,
        subject: Word::parse(row.get(2))?,
        kind: Word::parse(row.get(3))?,
        disabled: row.get(4),
        algorithms: Word::parse(row.get(5))?,
        must_staple: row.get(6),
        tlsa_ttl: ttl,
        authorized_until: row.get::<_, Time>(8),
        reminded: row.get::<_, Time>(9),
        instances: Vec::new(),
    })
}

fn stage(row: &Row, id: i64) -> Result<Stage, Refusal> {
    let missing = row.get::<_, Option<i64>>(17).unwrap_or_default();
    Ok(Stage {
        id,
        state: Word::parse(row.get(11))?,
        not_before: row.get::<_, Time>(12),
        not_after: row.get::<_, Time>(13),
        published: row.get::<_, Time>(14),
        touched: row.get::<_, Time>(15),
        whole: row.get(16),
        missing: u32::try_from(missing).unwrap_or(u32::MAX),
    })
}
