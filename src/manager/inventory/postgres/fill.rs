//! Everything at once, into tables that are empty.

use std::collections::BTreeMap;

use postgres::Transaction;
use postgres::types::ToSql;

use super::super::model::{Checked, Name, Refusal, Rule, Service, ServiceKey, Target, Word};
use super::super::store::{Contents, InventoryError};
use super::keys;
use super::objects::add_place;

/// So many rows go in one statement.
const ROWS: usize = 2_000;

/// Columns of rows that go in together, each with its type.
struct Table<'a> {
    head: &'static str,
    types: &'static [&'static str],
    rows: Vec<Vec<Box<dyn ToSql + Sync + 'a>>>,
}

impl<'a> Table<'a> {
    fn new(head: &'static str, types: &'static [&'static str]) -> Self {
        Self { head, types, rows: Vec::new() }
    }

    fn row(&mut self, values: Vec<Box<dyn ToSql + Sync + 'a>>) {
        self.rows.push(values);
    }

    /// Inserts as few statements as the protocol's limit of 65,535 values lets us.
    fn insert(&self, transaction: &mut Transaction<'_>) -> Result<(), InventoryError> {
        let at_once = (60_000 / self.types.len().max(1)).min(ROWS);
        for rows in self.rows.chunks(at_once) {
            let mut query = format!("INSERT INTO reseed.{} VALUES ", self.head);
            for at in 0..rows.len() {
                let column = |(column, kind): (usize, &&str)| {
                    format!("${}::{kind}", at * self.types.len() + column + 1)
                };
                let columns: Vec<_> = self.types.iter().enumerate().map(column).collect();
                query.push_str(if at == 0 { "(" } else { ", (" });
                query.push_str(&columns.join(", "));
                query.push(')');
            }
            let values: Vec<&(dyn ToSql + Sync)> = rows.iter().flatten().map(AsRef::as_ref).collect();
            transaction.execute(query.as_str(), &values)?;
        }
        Ok(())
    }
}

macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$(Box::new($value) as Box<dyn ToSql + Sync>),*] };
}

/// Takes everything in, into tables that are empty.
pub fn fill(transaction: &mut Transaction<'_>, contents: &Contents) -> Result<(), InventoryError> {
    transaction.batch_execute(
        "LOCK TABLE reseed.services, reseed.hosts, reseed.places, reseed.certificates IN EXCLUSIVE MODE",
    )?;
    let row = transaction.query_one(
        "SELECT (SELECT count(*) FROM reseed.services) + (SELECT count(*) FROM reseed.hosts)
            + (SELECT count(*) FROM reseed.places) + (SELECT count(*) FROM reseed.certificates)",
        &[],
    )?;
    if row.get::<_, i64>(0) > 0 {
        let says = "the inventory is not empty; everything is taken in at once, or nothing";
        return Err(InventoryError::Unusable(says.into()));
    }
    // All that is wrong is told, not only what comes first.
    let objects = Checked::new(contents.objects.clone()).map_err(InventoryError::Refused)?.into_objects();
    let numbered = |at: usize| i64::try_from(at + 1).unwrap_or(i64::MAX);

    let mut table = Table::new(
        "services (id, name, port, tlsa, remarks, created, updated)",
        &["bigint", "text", "int", "text", "text", "timestamptz", "timestamptz"],
    );
    let mut services: BTreeMap<&ServiceKey, i64> = BTreeMap::new();
    for (at, (key, Service { tlsa, about })) in objects.services.iter().enumerate() {
        services.insert(key, numbered(at));
        let (name, port) = (key.name.as_str(), i32::from(key.port));
        table.row(row![
            numbered(at),
            name,
            port,
            tlsa.to_string(),
            &about.remarks,
            about.created,
            about.updated
        ]);
    }
    table.insert(transaction)?;

    let mut table = Table::new(
        "hosts (id, fqdn, jail_root, remarks, created, updated)",
        &["bigint", "text", "text", "text", "timestamptz", "timestamptz"],
    );
    let mut jails_table = Table::new(
        "jails (id, host, name, remarks, created, updated)",
        &["bigint", "bigint", "text", "text", "timestamptz", "timestamptz"],
    );
    let (mut hosts, mut jails) = (BTreeMap::new(), BTreeMap::new());
    for (at, (name, host)) in objects.hosts.iter().enumerate() {
        let (id, about) = (numbered(at), &host.about);
        hosts.insert(name, id);
        table.row(row![id, name.as_str(), &host.jail_root, &about.remarks, about.created, about.updated]);
        for (jail, about) in &host.jails {
            let jail_id = numbered(jails.len());
            jails.insert((name, jail), jail_id);
            jails_table.row(row![jail_id, id, jail.as_str(), &about.remarks, about.created, about.updated]);
        }
    }
    table.insert(transaction)?;
    jails_table.insert(transaction)?;

    objects.places.iter().try_for_each(|(name, place)| add_place(transaction, name, place))?;
    let rows = transaction.query("SELECT id, name FROM reseed.places", &[])?;
    let found = rows.iter().map(|row| Ok((Name::new(row.get(1))?, row.get(0))));
    let found: BTreeMap<Name, i64> = found.collect::<Result<_, Refusal>>()?;
    let places: Ids<'_> = found.iter().map(|(name, id)| (name, *id)).collect();
    let certificates = fill_certificates(transaction, &objects, &services, &hosts, &jails, &places)?;
    fill_instances(transaction, contents, &certificates, &hosts)?;
    for table in ["services", "hosts", "jails", "certificates", "subjects", "targets"] {
        let query = format!(
            "SELECT setval('reseed.{table}_id_seq', greatest((SELECT max(id) FROM reseed.{table}), 1),
                EXISTS (SELECT FROM reseed.{table}))"
        );
        transaction.execute(query.as_str(), &[])?;
    }
    let most = contents.instances.iter().map(|(instance, _)| instance.id).max().unwrap_or_default();
    let next = contents.next.max(most + 1).max(1);
    transaction.execute("SELECT setval('reseed.instances_id_seq', $1, false)", &[&next])?;
    keys::settle(transaction, contents.at_rest)?;
    Ok(())
}

type Ids<'a> = BTreeMap<&'a Name, i64>;

fn fill_certificates<'a>(
    transaction: &mut Transaction<'_>,
    objects: &'a super::Objects,
    services: &BTreeMap<&ServiceKey, i64>,
    hosts: &Ids<'_>,
    jails: &BTreeMap<(&Name, &Name), i64>,
    places: &Ids<'_>,
) -> Result<Ids<'a>, InventoryError> {
    let mut table = Table::new(
        "certificates (id, subject, kind, authority, disabled, algorithms, must_staple, authorized_until, reminded,
            remarks, created, updated)",
        &[
            "bigint", "text", "text", "text", "bool", "text", "bool", "timestamptz", "timestamptz", "text",
            "timestamptz", "timestamptz",
        ],
    );
    let mut subjects = Table::new(
        "subjects (certificate, name, main, remarks, created, updated)",
        &["bigint", "text", "bool", "text", "timestamptz", "timestamptz"],
    );
    let mut links = Table::new("certificate_services (certificate, service)", &["bigint", "bigint"]);
    let mut targets = Table::new(
        "targets (certificate, host, jail, place, remarks, created, updated)",
        &["bigint", "bigint", "bigint", "bigint", "text", "timestamptz", "timestamptz"],
    );
    let mut ids = BTreeMap::new();
    for (at, (name, it)) in objects.certificates.iter().enumerate() {
        let (id, about) = (i64::try_from(at + 1).unwrap_or(i64::MAX), &it.about);
        ids.insert(name, id);
        table.row(row![
            id,
            it.subject.to_string(),
            it.kind.to_string(),
            &it.authority,
            it.disabled,
            it.algorithms.to_string(),
            it.must_staple,
            it.authorized_until,
            it.reminded,
            &about.remarks,
            about.created,
            about.updated,
        ]);
        for (name, main, about) in std::iter::once((name, true, &it.main))
            .chain(it.names.iter().map(|(name, about)| (name, false, about)))
        {
            subjects.row(row![id, name.as_str(), main, &about.remarks, about.created, about.updated]);
        }
        for service in it.services.iter().filter_map(|service| services.get(service)) {
            links.row(row![id, *service]);
        }
        for Target { host, jail, place, about } in &it.targets {
            let jail = jail.as_ref().and_then(|jail| jails.get(&(host, jail)).copied());
            let place = place.as_ref().and_then(|place| places.get(place).copied());
            let host = hosts.get(host).copied();
            targets.row(row![id, host, jail, place, &about.remarks, about.created, about.updated]);
        }
    }
    for table in [table, subjects, links, targets] {
        table.insert(transaction)?;
    }
    Ok(ids)
}

fn fill_instances(
    transaction: &mut Transaction<'_>,
    contents: &Contents,
    certificates: &Ids<'_>,
    hosts: &Ids<'_>,
) -> Result<(), InventoryError> {
    let mut table = Table::new(
        "instances (id, certificate, state, algorithms, must_staple, issuer, not_before, not_after, published, remarks,
            created, updated)",
        &[
            "bigint", "bigint", "text", "text", "bool", "bigint", "timestamptz", "timestamptz", "timestamptz", "text",
            "timestamptz", "timestamptz",
        ],
    );
    let mut keys_table = Table::new(
        "instance_keys (instance, algorithm, digest, certificate, chain, key, created)",
        &["bigint", "text", "text", "text", "text", "bytea", "timestamptz"],
    );
    let mut deliveries = Table::new(
        "deliveries (instance, host, at, outcome, says)",
        &["bigint", "bigint", "timestamptz", "text", "text"],
    );
    for (it, keys) in &contents.instances {
        let certificate = certificates.get(&it.certificate).copied().ok_or_else(|| {
            Refusal::new(
                Rule::Unknown,
                format!("instance {}: there is no certificate {}", it.id, it.certificate),
            )
        })?;
        let about = &it.about;
        table.row(row![
            it.id,
            certificate,
            it.state.to_string(),
            it.algorithms.to_string(),
            it.must_staple,
            it.issuer,
            it.not_before,
            it.not_after,
            it.published,
            &about.remarks,
            about.created,
            about.updated,
        ]);
        for key in keys {
            let info = &key.info;
            keys_table.row(row![
                it.id,
                info.algorithm.to_string(),
                &info.digest,
                &key.certificate,
                &key.chain,
                key.key.reveal(),
                info.created,
            ]);
        }
        for (host, delivery) in &it.deliveries {
            let host = hosts.get(host).copied().ok_or_else(|| {
                Refusal::new(Rule::Unknown, format!("instance {}: there is no host {host}", it.id))
            })?;
            let outcome = Word::text(delivery.outcome);
            deliveries.row(row![it.id, host, delivery.at, outcome, &delivery.says]);
        }
    }
    for table in [table, keys_table, deliveries] {
        table.insert(transaction)?;
    }
    Ok(())
}
