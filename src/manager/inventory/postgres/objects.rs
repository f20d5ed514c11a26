//! Changes of the objects. The rules are the tables' own; here they get their words.

use postgres::Transaction;

use super::super::model::{
    About, Certificate, DistHost, Name, Object, Place, Reference, Refusal, Rule, Service, ServiceKey, Target,
};
use super::super::store::{Change, InventoryError};
use super::rows::{certificate_id, host_id, insert, jail_id, place_id, service_id};
use super::{alter, failed};

/// Makes one change of the objects.
pub fn change(transaction: &mut Transaction<'_>, change: &Change) -> Result<(), InventoryError> {
    match change {
        Change::Add(object) => add(transaction, object),
        Change::Alter(alteration, now) => alter::alter(transaction, alteration, *now),
        Change::Remove(reference) => remove(transaction, reference),
    }
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

/// Takes a place in.
pub fn add_place(
    transaction: &mut Transaction<'_>,
    name: &Name,
    place: &Place,
) -> Result<(), InventoryError> {
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
