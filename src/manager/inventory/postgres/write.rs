//! Changes of the tables. The rules are the tables' own; here they get their words.

use std::collections::BTreeMap;
use std::fmt::Display;

use postgres::Transaction;
use postgres::types::ToSql;
use time::OffsetDateTime;

use super::super::events::{Event, Record};
use super::super::model::{
    About, Certificate, Checked, DistHost, Instance, KeyData, Name, Object, Place, Reference, Refusal, Rule,
    Service, ServiceKey, Target,
};
use super::super::store::{Change, Contents, InventoryError};
use super::{alter, failed, read};

type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Makes one change of the objects.
pub fn change(transaction: &mut Transaction<'_>, change: &Change) -> Result<(), InventoryError> {
    match change {
        Change::Add(object) => add(transaction, object),
        Change::Alter(alteration, now) => alter::alter(transaction, alteration, *now),
        Change::Remove(reference) => remove(transaction, reference),
    }
}

/// Inserts, where the only thing that can be taken is what is said.
fn insert(
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

pub(super) fn host_id(transaction: &mut Transaction<'_>, name: &Name) -> Result<i64, InventoryError> {
    let query = "SELECT id FROM reseed.hosts WHERE lower(fqdn COLLATE \"C\") = $1";
    id(transaction, "host", query, name, &[&name.folded()])
}

pub(super) fn place_id(transaction: &mut Transaction<'_>, name: &Name) -> Result<i64, InventoryError> {
    let query = "SELECT id FROM reseed.places WHERE lower(name COLLATE \"C\") = $1";
    id(transaction, "place", query, name, &[&name.folded()])
}

/// A jail by its host; where the host has none of that name, another host's, so that the rules can say so.
fn jail_id(transaction: &mut Transaction<'_>, host: i64, name: &Name) -> Result<i64, InventoryError> {
    let query =
        "SELECT id FROM reseed.jails WHERE lower(name COLLATE \"C\") = $1 ORDER BY host <> $2 LIMIT 1";
    id(transaction, "jail", query, name, &[&name.folded(), &host])
}

pub(super) fn certificate_id(transaction: &mut Transaction<'_>, name: &Name) -> Result<i64, InventoryError> {
    let query = "SELECT certificate FROM reseed.subjects WHERE main AND lower(name COLLATE \"C\") = $1";
    id(transaction, "certificate", query, name, &[&name.folded()])
}

pub(super) fn service_id(transaction: &mut Transaction<'_>, key: &ServiceKey) -> Result<i64, InventoryError> {
    let query = "SELECT id FROM reseed.services WHERE lower(name COLLATE \"C\") = $1 AND port = $2";
    id(transaction, "service", query, key, &[&key.name.folded(), &i32::from(key.port)])
}

fn add(transaction: &mut Transaction<'_>, object: &Object) -> Result<(), InventoryError> {
    match object {
        Object::Service(key, Service { tlsa, about }) => insert(
            transaction,
            &format_args!("a service {key}"),
            "INSERT INTO reseed.services (name, port, tlsa, remarks, created, updated) VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                &key.name.as_str(),
                &i32::from(key.port),
                &tlsa.to_string(),
                &about.remarks,
                &about.created,
                &about.updated,
            ],
        ),
        Object::Host(name, DistHost { jail_root, about, jails }) => {
            insert(
                transaction,
                &format_args!("a host {name}"),
                "INSERT INTO reseed.hosts (fqdn, jail_root, remarks, created, updated) VALUES ($1, $2, $3, $4, $5)",
                &[&name.as_str(), jail_root, &about.remarks, &about.created, &about.updated],
            )?;
            jails.iter().try_for_each(|(jail, about)| add_jail(transaction, name, jail, about))
        }
        Object::Jail { host, name, about } => add_jail(transaction, host, name, about),
        Object::Place(name, place) => add_place(transaction, name, place),
        Object::Certificate(name, certificate) => add_certificate(transaction, name, certificate),
        Object::AltName { certificate, name, about } => {
            let id = certificate_id(transaction, certificate)?;
            add_subject(transaction, id, name, false, about)
        }
        Object::Tlsa { certificate, service } => {
            let id = certificate_id(transaction, certificate)?;
            add_tlsa(transaction, id, certificate, service)
        }
        Object::Target { certificate, target } => {
            let id = certificate_id(transaction, certificate)?;
            add_target(transaction, id, certificate, target)
        }
    }
}

fn add_jail(
    transaction: &mut Transaction<'_>,
    host: &Name,
    name: &Name,
    about: &About,
) -> Result<(), InventoryError> {
    let host = host_id(transaction, host)?;
    insert(
        transaction,
        &format_args!("a jail {name}"),
        "INSERT INTO reseed.jails (host, name, remarks, created, updated) VALUES ($1, $2, $3, $4, $5)",
        &[&host, &name.as_str(), &about.remarks, &about.created, &about.updated],
    )
}

fn add_place(transaction: &mut Transaction<'_>, name: &Name, place: &Place) -> Result<(), InventoryError> {
    let about = &place.about;
    insert(
        transaction,
        &format_args!("a place {name}"),
        "INSERT INTO reseed.places (name, file_type, cert_path, key_path, owner, \"group\", mode, chown_both, pglink,
            reload, remarks, created, updated) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &[
            &name.as_str(),
            &place.file_type.to_string(),
            &place.cert_path,
            &place.key_path,
            &place.user.map(i64::from),
            &place.group.map(i64::from),
            &place.mode.map(String::from),
            &place.chown_both,
            &place.pglink,
            &place.reload,
            &about.remarks,
            &about.created,
            &about.updated,
        ],
    )
}

fn add_certificate(
    transaction: &mut Transaction<'_>,
    name: &Name,
    certificate: &Certificate,
) -> Result<(), InventoryError> {
    let about = &certificate.about;
    let row = transaction.query_one(
        "INSERT INTO reseed.certificates (subject, kind, authority, disabled, algorithms, must_staple,
            authorized_until, reminded, remarks, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
        &[
            &certificate.subject.to_string(),
            &certificate.kind.to_string(),
            &certificate.authority,
            &certificate.disabled,
            &certificate.algorithms.to_string(),
            &certificate.must_staple,
            &certificate.authorized_until,
            &certificate.reminded,
            &about.remarks,
            &about.created,
            &about.updated,
        ],
    )?;
    let id: i64 = row.get(0);
    add_subject(transaction, id, name, true, &certificate.main)?;
    for (alt, about) in &certificate.names {
        add_subject(transaction, id, alt, false, about)?;
    }
    for service in &certificate.services {
        add_tlsa(transaction, id, name, service)?;
    }
    certificate.targets.iter().try_for_each(|target| add_target(transaction, id, name, target))
}

fn add_subject(
    transaction: &mut Transaction<'_>,
    certificate: i64,
    name: &Name,
    main: bool,
    about: &About,
) -> Result<(), InventoryError> {
    insert(
        transaction,
        &format_args!("a certificate with the name {name}"),
        "INSERT INTO reseed.subjects (certificate, name, main, remarks, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[&certificate, &name.as_str(), &main, &about.remarks, &about.created, &about.updated],
    )
}

fn add_tlsa(
    transaction: &mut Transaction<'_>,
    id: i64,
    certificate: &Name,
    service: &ServiceKey,
) -> Result<(), InventoryError> {
    let service_id = service_id(transaction, service)?;
    insert(
        transaction,
        &format_args!("{service} of {certificate}"),
        "INSERT INTO reseed.certificate_services (certificate, service) VALUES ($1, $2)",
        &[&id, &service_id],
    )
}

fn add_target(
    transaction: &mut Transaction<'_>,
    id: i64,
    certificate: &Name,
    target: &Target,
) -> Result<(), InventoryError> {
    let host = host_id(transaction, &target.host)?;
    let jail = target.jail.as_ref().map(|jail| jail_id(transaction, host, jail)).transpose()?;
    let place = target.place.as_ref().map(|place| place_id(transaction, place)).transpose()?;
    let about = &target.about;
    insert(
        transaction,
        &format_args!("{certificate} at {target}"),
        "INSERT INTO reseed.targets (certificate, host, jail, place, remarks, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[&id, &host, &jail, &place, &about.remarks, &about.created, &about.updated],
    )
}

fn remove(transaction: &mut Transaction<'_>, reference: &Reference) -> Result<(), InventoryError> {
    let (what, done): (String, _) = match reference {
        Reference::Service(key) => {
            let id = service_id(transaction, key)?;
            let done = transaction.execute("DELETE FROM reseed.services WHERE id = $1", &[&id]);
            (format!("service {key}"), done)
        }
        Reference::Host(name) => {
            let id = host_id(transaction, name)?;
            (format!("host {name}"), transaction.execute("DELETE FROM reseed.hosts WHERE id = $1", &[&id]))
        }
        Reference::Jail { host, name } => {
            let host = host_id(transaction, host)?;
            let query = "DELETE FROM reseed.jails WHERE host = $1 AND lower(name COLLATE \"C\") = $2";
            (format!("jail {name}"), transaction.execute(query, &[&host, &name.folded()]))
        }
        Reference::Place(name) => {
            let id = place_id(transaction, name)?;
            (format!("place {name}"), transaction.execute("DELETE FROM reseed.places WHERE id = $1", &[&id]))
        }
        Reference::Certificate(name) => {
            let id = certificate_id(transaction, name)?;
            let done = transaction.execute("DELETE FROM reseed.certificates WHERE id = $1", &[&id]);
            (format!("certificate {name}"), done)
        }
        Reference::AltName(name) => {
            let query = "DELETE FROM reseed.subjects WHERE lower(name COLLATE \"C\") = $1";
            (format!("name {name}"), transaction.execute(query, &[&name.folded()]))
        }
        Reference::Tlsa { certificate, service } => {
            let (certificate_id, service_id) =
                (certificate_id(transaction, certificate)?, service_id(transaction, service)?);
            let query = "DELETE FROM reseed.certificate_services WHERE certificate = $1 AND service = $2";
            let done = transaction.execute(query, &[&certificate_id, &service_id]);
            (format!("{service} of {certificate}"), done)
        }
        Reference::Target { certificate, target } => {
            let id = certificate_id(transaction, certificate)?;
            let host = host_id(transaction, &target.host)?;
            let jail = target.jail.as_ref().map(|jail| jail_id(transaction, host, jail)).transpose()?;
            let place = target.place.as_ref().map(|place| place_id(transaction, place)).transpose()?;
            let query = "DELETE FROM reseed.targets WHERE certificate = $1 AND host = $2
                AND jail IS NOT DISTINCT FROM $3 AND place IS NOT DISTINCT FROM $4";
            let done = transaction.execute(query, &[&id, &host, &jail, &place]);
            (format!("{certificate} at {target}"), done)
        }
    };
    match done {
        Ok(0) => Err(Refusal::new(Rule::Unknown, format!("there is no {what}")).into()),
        Ok(_) => Ok(()),
        Err(error)
            if error
                .as_db_error()
                .is_some_and(|it| it.table() == Some("subjects") || it.detail().is_none()) =>
        {
            Err(failed("PostgreSQL", &error))
        }
        Err(error) => Err(match failed("PostgreSQL", &error) {
            InventoryError::Refused(refusals)
                if refusals.iter().any(|refusal| refusal.rule == Rule::InUse) =>
            {
                Refusal::new(Rule::InUse, format!("{what} is in use; remove what uses it first")).into()
            }
            other => other,
        }),
    }
}

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
                keys.iter().try_for_each(|key| insert_key(transaction, *instance, key))?;
                of(*instance).map(|instance| save(transaction, instance)).transpose()?;
            }
            Event::Delivered { instance, host, delivery } => {
                let host = host_id(transaction, host)?;
                transaction.execute(
                    "INSERT INTO reseed.deliveries (instance, host, at, outcome, says) VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT (instance, host) DO UPDATE
                         SET at = excluded.at, outcome = excluded.outcome, says = excluded.says",
                    &[instance, &host, &delivery.at, &super::super::model::Word::text(delivery.outcome), &delivery.says],
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
            let outcome = super::super::model::Word::text(delivery.outcome);
            deliveries.row(row![it.id, host, delivery.at, outcome, &delivery.says]);
        }
    }
    for table in [table, keys_table, deliveries] {
        table.insert(transaction)?;
    }
    Ok(())
}
