//! The tables of serverPKI (schema 5 and 6), as a whole inventory of ours. Views are not asked: they differ.

use std::collections::{BTreeMap, BTreeSet};

use postgres::{Row, Transaction};
use sha2::Digest as _;
use time::OffsetDateTime;

use super::super::model::{
    About, Algorithms, AtRest, Certificate, Delivery, DistHost, FileType, Instance, KeyAlgorithm, KeyData,
    KeyInfo, Kind, Mode, Name, Objects, Outcome, Place, Refusal, Rule, Service, ServiceKey, State,
    SubjectType, Target, Word, second,
};
use super::super::store::{Contents, InventoryError};
use super::Postgres;
use crate::pki::bundle;
use crate::pki::encrypted::Salt;
use crate::pki::inspect;
use crate::pki::key::Secret;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Everything in our words.
    pub contents: Contents,
    /// What is said otherwise here than there, for people.
    pub notes: Vec<String>,
    /// Rows of each of its tables, by name.
    pub rows: BTreeMap<String, usize>,
    /// Its private keys are encrypted with the key file of its configuration.
    pub keys_encrypted: bool,
}

/// Its tables.
const TABLES: [&str; 10] = [
    "certificates",
    "certinstances",
    "certkeydata",
    "certificates_services",
    "disthosts",
    "jails",
    "places",
    "services",
    "subjects",
    "targets",
];

impl Postgres {
    /// Reads the tables of serverPKI in this database; nothing where there are none.
    ///
    /// # Errors
    /// [`InventoryError::Refused`] with everything that cannot be said here: what two rows of it say against each
    /// other, or against our rules.
    pub fn serverpki(&mut self) -> Result<Option<Found>, InventoryError> {
        self.snapshot(|transaction| {
            let there: bool =
                transaction.query_one("SELECT to_regclass('pki.certinstances') IS NOT NULL", &[])?.get(0);
            if there { Reading::new(transaction)?.read().map(Some) } else { Ok(None) }
        })
    }
}

/// Rows by their numbers, on the way.
struct Reading<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    objects: Objects,
    notes: Vec<String>,
    refusals: Vec<Refusal>,
    services: BTreeMap<i32, ServiceKey>,
    hosts: BTreeMap<i32, Name>,
    jails: BTreeMap<i32, Name>,
    places: BTreeMap<i32, Name>,
    certificates: BTreeMap<i32, Name>,
}

/// Timestamps there have no zone; UTC is the likeliest.
const ABOUT: &str = "remarks, created AT TIME ZONE 'UTC' AS created, updated AT TIME ZONE 'UTC' AS updated";

fn about(row: &Row) -> About {
    let time = |column: &str| row.get::<_, Option<OffsetDateTime>>(column).map(second);
    About { remarks: row.get("remarks"), created: time("created"), updated: time("updated") }
}

impl<'a, 'b> Reading<'a, 'b> {
    fn new(transaction: &'a mut Transaction<'b>) -> Result<Self, InventoryError> {
        let row = transaction.query_opt("SELECT schemaversion::int FROM pki.revision WHERE id = 1", &[])?;
        match row.map(|row| row.get::<_, i32>(0)) {
            Some(5 | 6) => {}
            other => {
                let other = other.map_or("none".to_owned(), |version| version.to_string());
                return Err(InventoryError::Unusable(format!(
                    "the tables of serverPKI have version {other}; bring them to 6 by its own scripts first"
                )));
            }
        }
        Ok(Self {
            transaction,
            objects: Objects::default(),
            notes: Vec::new(),
            refusals: Vec::new(),
            services: BTreeMap::new(),
            hosts: BTreeMap::new(),
            jails: BTreeMap::new(),
            places: BTreeMap::new(),
            certificates: BTreeMap::new(),
        })
    }

    fn read(mut self) -> Result<Found, InventoryError> {
        let mut rows = BTreeMap::new();
        for table in TABLES {
            let query = format!("SELECT count(*) FROM pki.{table}");
            let count: i64 = self.transaction.query_one(query.as_str(), &[])?.get(0);
            rows.insert(table.to_owned(), usize::try_from(count).unwrap_or_default());
        }
        self.services()?;
        self.hosts()?;
        self.places()?;
        self.certificates()?;
        self.targets()?;
        let instances = self.instances()?;
        let row = self.transaction.query_one("SELECT keysencrypted FROM pki.revision WHERE id = 1", &[])?;
        let next = "SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END
            FROM pki.certinstances_id_seq";
        let next = self.transaction.query_one(next, &[])?.get(0);
        if !self.refusals.is_empty() {
            return Err(InventoryError::Refused(self.refusals));
        }
        let keys_encrypted: bool = row.get(0);
        let at_rest = match keys_encrypted {
            true => AtRest::Encrypted { salt: Salt::random().map_err(InventoryError::Unusable)? },
            false => AtRest::Clear,
        };
        let contents = Contents { objects: self.objects, instances, next, at_rest };
        Ok(Found { contents, notes: self.notes, rows, keys_encrypted })
    }

    /// Takes what could be read; what could not is told with its row.
    fn take<T>(&mut self, row: impl std::fmt::Display, read: Result<T, Refusal>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(refusal) => {
                let says = format!("{row}: {refusal}");
                self.refusals.push(Refusal { says, ..refusal });
                None
            }
        }
    }

    fn services(&mut self) -> Result<(), InventoryError> {
        let query = format!("SELECT id, name::text, port::int, tlsaprefix, {ABOUT} FROM pki.services");
        for row in self.transaction.query(query.as_str(), &[])? {
            let id: i32 = row.get("id");
            let (name, port) = (row.get::<_, String>("name"), row.get::<_, i32>("port"));
            let read = format!("{name}/{port}").parse::<ServiceKey>().and_then(|key| {
                let tlsa = row.get::<_, &str>("tlsaprefix").parse()?;
                Ok((key, Service { tlsa, about: about(&row) }))
            });
            if let Some((key, service)) = self.take(format_args!("services {id}"), read) {
                self.services.insert(id, key.clone());
                self.objects.services.insert(key, service);
            }
        }
        Ok(())
    }

    fn hosts(&mut self) -> Result<(), InventoryError> {
        let query = format!("SELECT id, fqdn::text, jailroot, {ABOUT} FROM pki.disthosts");
        for row in self.transaction.query(query.as_str(), &[])? {
            let id: i32 = row.get("id");
            let Some(name) = self.take(format_args!("disthosts {id}"), Name::new(row.get("fqdn"))) else {
                continue;
            };
            self.hosts.insert(id, name.clone());
            // A relative one was always taken from the root.
            let jail_root =
                row.get::<_, Option<String>>("jailroot").map(|root| match root.starts_with('/') {
                    true => root,
                    false => format!("/{root}"),
                });
            let host = DistHost { jail_root, about: about(&row), jails: BTreeMap::new() };
            self.objects.hosts.insert(name, host);
        }
        let query = format!("SELECT id, name::text, disthost, {ABOUT} FROM pki.jails");
        for row in self.transaction.query(query.as_str(), &[])? {
            let id: i32 = row.get("id");
            let Some(name) = self.take(format_args!("jails {id}"), Name::new(row.get("name"))) else {
                continue;
            };
            self.jails.insert(id, name.clone());
            let host = self.hosts.get(&row.get("disthost")).and_then(|host| self.objects.hosts.get_mut(host));
            if let Some(host) = host {
                host.jails.insert(name, about(&row));
            }
        }
        Ok(())
    }

    fn places(&mut self) -> Result<(), InventoryError> {
        let query = format!(
            "SELECT id, name::text, cert_file_type::text, cert_path, key_path, uid::int, gid::int, mode::int,
                chownboth, pglink, reload_command, {ABOUT} FROM pki.places"
        );
        for row in self.transaction.query(query.as_str(), &[])? {
            let id: i32 = row.get("id");
            let read = self.place(&row);
            if let Some((name, place)) = self.take(format_args!("places {id}"), read) {
                self.places.insert(id, name.clone());
                self.objects.places.insert(name, place);
            }
        }
        Ok(())
    }

    fn place(&mut self, row: &Row) -> Result<(Name, Place), Refusal> {
        let name = Name::new(row.get("name"))?;
        let number = |column: &str| match row.get::<_, Option<i32>>(column) {
            None => Ok(None),
            Some(number) => u32::try_from(number)
                .map(Some)
                .map_err(|_| Refusal::new(Rule::Form, format!("place {name}: {column} is {number}"))),
        };
        let mut file_type: FileType = Word::parse(row.get("cert_file_type"))?;
        // Nothing is not a directory of its own.
        let key_path = row.get::<_, Option<String>>("key_path").filter(|path| !path.is_empty());
        if key_path.is_some() && !file_type.has_key_file() {
            self.notes.push(format!(
                "place {name}: with a key_path serverPKI wrote key and certificate separately, not \"{file_type}\"; \
                 so it is \"{}\" now",
                FileType::Separate
            ));
            file_type = FileType::Separate;
        }
        let place = Place {
            file_type,
            cert_path: row.get("cert_path"),
            key_path,
            user: number("uid")?,
            group: number("gid")?,
            mode: number("mode")?.map(Mode::new).transpose()?,
            chown_both: row.get("chownboth"),
            pglink: row.get("pglink"),
            reload: row
                .get::<_, Option<String>>("reload_command")
                .filter(|command| !command.trim().is_empty()),
            about: about(row),
        };
        place.check(&name)?;
        Ok((name, place))
    }

    fn certificates(&mut self) -> Result<(), InventoryError> {
        let query = format!(
            "SELECT id, type::text, name::text, isaltname, certificate, {ABOUT} FROM pki.subjects ORDER BY id"
        );
        let mut subjects: BTreeMap<i32, Vec<(SubjectType, Name, bool, About)>> = BTreeMap::new();
        for row in self.transaction.query(query.as_str(), &[])? {
            let id: i32 = row.get("id");
            let read = Word::parse(row.get("type")).and_then(|kind| Ok((kind, Name::new(row.get("name"))?)));
            let Some((kind, name)) = self.take(format_args!("subjects {id}"), read) else { continue };
            match row.get::<_, Option<i32>>("certificate") {
                Some(certificate) => {
                    let subject = (kind, name, row.get("isaltname"), about(&row));
                    subjects.entry(certificate).or_default().push(subject);
                }
                None => {
                    let says = format!("subjects {id}: {name} belongs to no certificate; remove it first");
                    self.refusals.push(Refusal::new(Rule::Unknown, says));
                }
            }
        }
        let query = format!(
            "SELECT id, type::text, disabled, authorized_until AT TIME ZONE 'UTC' AS authorized_until,
                encryption_algo::text, ocsp_must_staple, {ABOUT} FROM pki.certificates"
        );
        for row in self.transaction.query(query.as_str(), &[])? {
            let id: i32 = row.get("id");
            let of = subjects.remove(&id).unwrap_or_default();
            let (alts, mains): (Vec<_>, Vec<_>) = of.into_iter().partition(|(_, _, is_alt, _)| *is_alt);
            let Ok([(subject, name, _, main)]) = <[_; 1]>::try_from(mains) else {
                let says = format!("certificates {id}: it has not exactly one main subject");
                self.refusals.push(Refusal::new(Rule::Form, says));
                continue;
            };
            let words = Word::parse(row.get("type"))
                .and_then(|kind: Kind| Ok((kind, Word::parse(row.get("encryption_algo"))?)));
            let Some((kind, algorithms)) = self.take(format_args!("certificates {id}"), words) else {
                continue;
            };
            // For local ones it is when the reminder was sent.
            let until = row.get::<_, Option<OffsetDateTime>>("authorized_until").map(second);
            let (authorized_until, reminded) = if kind == Kind::Le { (until, None) } else { (None, until) };
            for (other, alt, ..) in alts.iter().filter(|(other, ..)| *other != subject) {
                self.notes.push(format!(
                    "name {alt}: it was of type {other}, its certificate {name} is of {subject}"
                ));
            }
            self.certificates.insert(id, name.clone());
            let certificate = Certificate {
                subject,
                kind,
                authority: None,
                disabled: row.get("disabled"),
                algorithms,
                must_staple: row.get("ocsp_must_staple"),
                authorized_until,
                reminded,
                about: about(&row),
                main,
                names: alts.into_iter().map(|(_, name, _, about)| (name, about)).collect(),
                services: BTreeSet::new(),
                targets: Vec::new(),
            };
            self.objects.certificates.insert(name, certificate);
        }
        for row in
            self.transaction.query("SELECT certificate, service FROM pki.certificates_services", &[])?
        {
            let (certificate, service): (i32, i32) = (row.get(0), row.get(1));
            let service = self.services.get(&service).cloned();
            if let (Some(certificate), Some(service)) =
                (certificate_mut(&self.certificates, &mut self.objects, certificate), service)
            {
                certificate.services.insert(service);
            }
        }
        Ok(())
    }

    fn targets(&mut self) -> Result<(), InventoryError> {
        let query =
            format!("SELECT id, disthost, jail, place, certificate, {ABOUT} FROM pki.targets ORDER BY id");
        for row in self.transaction.query(query.as_str(), &[])? {
            let id: i32 = row.get("id");
            let Some(host) = self.hosts.get(&row.get("disthost")).cloned() else { continue };
            let jail = row.get::<_, Option<i32>>("jail").and_then(|jail| self.jails.get(&jail).cloned());
            let place = row.get::<_, Option<i32>>("place").and_then(|place| self.places.get(&place).cloned());
            let target = Target { host, jail, place, about: about(&row) };
            let Some(certificate) =
                certificate_mut(&self.certificates, &mut self.objects, row.get("certificate"))
            else {
                continue;
            };
            if certificate.targets.iter().any(|known| known.is_same(&target)) {
                self.notes.push(format!(
                    "targets {id}: {target} is there twice for one certificate; once is enough"
                ));
                continue;
            }
            certificate.targets.push(target);
        }
        Ok(())
    }

    fn instances(&mut self) -> Result<Vec<(Instance, Vec<KeyData>)>, InventoryError> {
        let mut keys: BTreeMap<i32, Vec<(KeyData, Option<inspect::Certificate>)>> = BTreeMap::new();
        let query = "SELECT id, certinstance, encryption_algo::text, cert, key, hash,
            created AT TIME ZONE 'UTC' AS created FROM pki.certkeydata ORDER BY certinstance, encryption_algo";
        for row in self.transaction.query(query, &[])? {
            let id: i32 = row.get("id");
            let read = key_data(&row, &mut self.notes);
            if let Some(read) = self.take(format_args!("certkeydata {id}"), read) {
                keys.entry(row.get("certinstance")).or_default().push(read);
            }
        }
        let query = "SELECT i.id, i.certificate, i.state::text, i.ocsp_must_staple, i.cacert, i.remarks,
                c.encryption_algo::text AS wished, i.not_before AT TIME ZONE 'UTC' AS not_before,
                i.not_after AT TIME ZONE 'UTC' AS not_after, i.updated AT TIME ZONE 'UTC' AS updated
            FROM pki.certinstances i JOIN pki.certificates c ON c.id = i.certificate ORDER BY i.id";
        let mut found = Vec::new();
        for row in self.transaction.query(query, &[])? {
            let id: i32 = row.get("id");
            let Some(name) = self.certificates.get(&row.get("certificate")).cloned() else { continue };
            let of = keys.remove(&id).unwrap_or_default();
            let read = self.instance(&row, id, name, of);
            found.extend(self.take(format_args!("certinstances {id}"), read));
        }
        Ok(found)
    }

    fn instance(
        &self,
        row: &Row,
        id: i32,
        name: Name,
        keys: Vec<(KeyData, Option<inspect::Certificate>)>,
    ) -> Result<(Instance, Vec<KeyData>), Refusal> {
        let state: State = Word::parse(row.get("state"))?;
        let has = |algorithm| keys.iter().any(|(key, _)| key.info.algorithm == algorithm);
        let algorithms = match (has(KeyAlgorithm::Rsa), has(KeyAlgorithm::Ec)) {
            (true, true) => Algorithms::Both,
            (false, true) => Algorithms::Ec,
            (true, false) => Algorithms::Rsa,
            (false, false) => Word::parse(row.get("wished"))?,
        };
        // There they are cut to whole days; in the certificates they are not.
        let exact = |pick: fn(&inspect::Certificate) -> OffsetDateTime| {
            keys.iter().filter_map(|(_, says)| says.as_ref()).map(pick).collect::<Vec<_>>()
        };
        let noted = |column: &str| row.get::<_, Option<OffsetDateTime>>(column);
        let not_before = exact(|says| says.not_before).into_iter().max().or(noted("not_before")).map(second);
        let not_after = exact(|says| says.not_after).into_iter().min().or(noted("not_after")).map(second);
        let updated = noted("updated").map(second);
        let mut deliveries = BTreeMap::new();
        if state == State::Deployed
            && let Some(certificate) = self.objects.certificates.get(&name)
            && let Some(at) = updated.or(not_before)
        {
            for host in certificate.hosts() {
                let says = Some("taken over as deployed".to_owned());
                deliveries.insert(host.clone(), Delivery { at, outcome: Outcome::Done, says });
            }
        }
        let issuer: i32 = row.get("cacert");
        let keys: Vec<KeyData> = keys.into_iter().map(|(key, _)| key).collect();
        let mut infos: Vec<KeyInfo> = keys.iter().map(|key| key.info.clone()).collect();
        infos.sort();
        let instance = Instance {
            id: i64::from(id),
            certificate: name,
            state,
            algorithms,
            must_staple: row.get("ocsp_must_staple"),
            issuer: (issuer != id).then_some(i64::from(issuer)),
            not_before,
            not_after,
            published: matches!(state, State::Prepublished | State::Deployed).then_some(updated).flatten(),
            about: About { remarks: row.get("remarks"), created: None, updated },
            deliveries,
            keys: infos,
        };
        Ok((instance, keys))
    }
}

fn certificate_mut<'a>(
    names: &BTreeMap<i32, Name>,
    objects: &'a mut Objects,
    id: i32,
) -> Option<&'a mut Certificate> {
    names.get(&id).and_then(|name| objects.certificates.get_mut(name))
}

fn key_data(row: &Row, notes: &mut Vec<String>) -> Result<(KeyData, Option<inspect::Certificate>), Refusal> {
    let algorithm: KeyAlgorithm = Word::parse(row.get("encryption_algo"))?;
    let content: Vec<u8> = row.get("cert");
    let first = bundle::read(&content).certificates.into_iter().next();
    let says = first.as_ref().and_then(|der| inspect::Certificate::from_der(der).ok());
    let noted = row.get::<_, String>("hash").to_ascii_uppercase();
    let digest = match (&first, &says) {
        (Some(der), Some(_)) => {
            sha2::Sha256::digest(der).iter().map(|octet| format!("{octet:02X}")).collect()
        }
        _ => noted.clone(),
    };
    if digest.len() != 64 || !digest.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return Err(Refusal::new(
            Rule::Form,
            "neither its certificate can be read, nor is its hash one of SHA-256",
        ));
    }
    if says.is_none() {
        notes.push(format!(
            "certkeydata {}: its certificate cannot be read, and is taken as it is",
            row.get::<_, i32>("id")
        ));
    } else if digest != noted {
        notes.push(format!("certkeydata {}: its hash was not its certificate's", row.get::<_, i32>("id")));
    }
    let certificate = String::from_utf8(content)
        .map_err(|_| Refusal::new(Rule::Form, "its certificate is no text in PEM"))?;
    let created = row.get::<_, Option<OffsetDateTime>>("created").map(second);
    let key = Secret::new(row.get::<_, Vec<u8>>("key"));
    let info = KeyInfo { algorithm, digest, created };
    Ok((KeyData { info, certificate, chain: String::new(), key }, says))
}
