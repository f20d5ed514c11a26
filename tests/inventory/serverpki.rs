//! A database in serverPKI's shape, as a fresh install or an upgrade leaves it, with data of the kind that its own
//! suite has: 45 certificates, 24 places of every kind. Schema and data are written anew.

use std::fmt::Write;

use reseed::identity::HostName;
use reseed::pki::issue::{Profile, self_signed};
use reseed::pki::key::PrivateKey;
use reseed::pki::serial::Serial;
use reseed::pki::{Algorithm, Usage};
use reseed::seed::Subject;
use sha2::Digest;
use time::OffsetDateTime;

/// The tables; `dual` is how two keys are spelt, `version` what the schema calls itself.
pub fn schema(dual: &str, version: u32) -> String {
    let about = "updated dd.updated, created dd.created, remarks text";
    format!(
        "CREATE SCHEMA dd; CREATE EXTENSION citext SCHEMA dd; CREATE SCHEMA pki; SET search_path = pki, dd, public;
         CREATE DOMAIN dd.created timestamp DEFAULT CURRENT_TIMESTAMP NOT NULL; CREATE DOMAIN dd.updated timestamp;
         CREATE DOMAIN dd.port_number int4 CHECK (VALUE >= 0 AND VALUE <= 65536);
         CREATE TYPE dd.subject_type AS ENUM ('CA', 'client', 'server', 'reserved');
         CREATE TYPE dd.place_cert_file_type AS ENUM ('cert only', 'separate', 'combine key', 'combine cacert', 'combine both');
         CREATE TYPE dd.cert_type AS ENUM ('LE', 'local');
         CREATE TYPE dd.cert_state AS ENUM ('reserved', 'issued', 'prepublished', 'deployed', 'revoked', 'expired', 'archived');
         CREATE TYPE dd.cert_encryption_algo AS ENUM ('rsa', 'ec', '{dual}');
         CREATE TABLE revision (id serial PRIMARY KEY, schemaversion int2 NOT NULL DEFAULT 5, keysencrypted bool NOT NULL DEFAULT false, updated dd.updated);
         CREATE TABLE certificates (id serial PRIMARY KEY, type cert_type NOT NULL, disabled bool NOT NULL DEFAULT false,
             authorized_until timestamp, encryption_algo cert_encryption_algo NOT NULL DEFAULT 'rsa',
             ocsp_must_staple bool NOT NULL DEFAULT false, {about});
         CREATE TABLE certinstances (id serial PRIMARY KEY, certificate int4 NOT NULL REFERENCES certificates ON DELETE CASCADE,
             state cert_state NOT NULL, ocsp_must_staple bool NOT NULL DEFAULT false,
             cacert int4 NOT NULL REFERENCES certinstances DEFERRABLE INITIALLY DEFERRED,
             not_before timestamp NOT NULL DEFAULT now(), not_after timestamp NOT NULL DEFAULT now(), updated dd.updated, remarks text);
         CREATE TABLE certkeydata (id serial PRIMARY KEY, certinstance int4 NOT NULL REFERENCES certinstances ON DELETE CASCADE,
             encryption_algo cert_encryption_algo NOT NULL DEFAULT 'rsa', cert bytea NOT NULL, key bytea NOT NULL,
             hash text NOT NULL UNIQUE, created dd.created, UNIQUE (certinstance, encryption_algo));
         CREATE TABLE subjects (id serial PRIMARY KEY, type subject_type NOT NULL DEFAULT 'server', name citext NOT NULL UNIQUE,
             isaltname bool NOT NULL DEFAULT true, certificate int4 REFERENCES certificates ON DELETE CASCADE, {about});
         CREATE TABLE services (id serial PRIMARY KEY, name citext NOT NULL, port port_number NOT NULL, tlsaprefix text NOT NULL, {about}, UNIQUE (name, port));
         CREATE TABLE certificates_services (certificate int4 REFERENCES certificates ON DELETE CASCADE,
             service int4 REFERENCES services ON DELETE CASCADE, PRIMARY KEY (certificate, service));
         CREATE TABLE disthosts (id serial PRIMARY KEY, fqdn citext NOT NULL UNIQUE, jailroot text, {about});
         CREATE TABLE jails (id serial PRIMARY KEY, name citext NOT NULL UNIQUE, disthost int4 NOT NULL REFERENCES disthosts ON DELETE CASCADE, {about});
         CREATE TABLE places (id serial PRIMARY KEY, name citext NOT NULL UNIQUE, cert_file_type place_cert_file_type NOT NULL DEFAULT 'separate',
             cert_path text NOT NULL, key_path text, uid int2, gid int2, mode int2, chownboth bool NOT NULL DEFAULT false,
             pglink bool NOT NULL DEFAULT false, reload_command text, {about});
         CREATE TABLE targets (id serial PRIMARY KEY, disthost int4 NOT NULL REFERENCES disthosts ON DELETE CASCADE,
             jail int4 REFERENCES jails ON DELETE SET NULL, place int4 REFERENCES places ON DELETE SET NULL,
             certificate int4 NOT NULL REFERENCES certificates ON DELETE CASCADE, {about}, UNIQUE (disthost, jail, place, certificate));
         INSERT INTO revision (schemaversion) VALUES ({version});
         BEGIN;
         INSERT INTO certificates (id, type, disabled) VALUES (1, 'local', true);
         INSERT INTO subjects (id, type, name, isaltname, certificate) VALUES (1, 'CA', 'No cert', false, 1);
         INSERT INTO certinstances (id, certificate, state, cacert) VALUES (1, 1, 'reserved', 1);
         SELECT setval('certificates_id_seq', 2); SELECT setval('subjects_id_seq', 2); SELECT setval('certinstances_id_seq', 2);
         COMMIT;\n"
    )
}

/// Certificates besides the placeholder, and places.
pub const CERTIFICATES: usize = 45;
pub const PLACES: usize = 24;

/// Data of every kind. `now` is when it was written.
pub fn data(dual: &str, now: OffsetDateTime) -> String {
    let mut sql = String::from("SET search_path = pki, dd, public; BEGIN;\n");
    for (name, port) in [("https", 443), ("caldav", 8443), ("imap", 143), ("imap", 587), ("smtp", 25)] {
        let prefix = format!("_{port}._tcp.{{}}. 3600 IN TLSA 3 0 1");
        writeln!(sql, "INSERT INTO services (name, port, tlsaprefix) VALUES ('{name}', {port}, '{prefix}');")
            .unwrap();
    }
    for host in 1..=6 {
        let root = if host <= 4 { "'/usr/jails'" } else { "NULL" };
        writeln!(sql, "INSERT INTO disthosts (fqdn, jailroot, remarks) VALUES ('Host{host}.example.net', {root}, 'rack {host}');").unwrap();
        for jail in (1..=3).filter(|_| host <= 4) {
            writeln!(sql, "INSERT INTO jails (name, disthost) VALUES ('jail{host}{jail}', {host});").unwrap();
        }
    }
    let kinds = ["cert only", "separate", "combine key", "combine cacert", "combine both"];
    for place in 1..=PLACES {
        let kind = kinds[place % kinds.len()];
        let path =
            if place % 6 == 0 { format!("Users/{{}}/.p{place}") } else { format!("/usr/local/etc/p{place}") };
        // Whatever the type, serverPKI took key_path; 9 is "combine both", 11 is "separate".
        let key = if [9, 11].contains(&place) { format!("'private/p{place}'") } else { "NULL".into() };
        let (user, group, mode) = if place % 3 == 0 { ("70", "70", "288") } else { ("NULL", "NULL", "NULL") };
        let reload = if place % 4 == 0 { "'jexec {} service nginx restart'" } else { "NULL" };
        let (both, links) = (place % 7 == 0, place % 6 == 0);
        writeln!(
            sql,
            "INSERT INTO places (name, cert_file_type, cert_path, key_path, uid, gid, mode, chownboth, pglink, reload_command)
             VALUES ('Place {place}', '{kind}', '{path}', {key}, {user}, {group}, {mode}, {both}, {links}, {reload});"
        )
        .unwrap();
    }
    let mut instance = 2;
    for at in 1..=CERTIFICATES {
        let id = at + 2;
        let (kind, subject, name) = match at {
            1 => ("local", "CA", "Local CA".to_owned()),
            2 => ("LE", "CA", "Lets Encrypt CA".to_owned()),
            _ if at % 5 == 0 => ("local", "client", format!("Person {at}")),
            _ if at % 3 == 0 => ("local", "server", format!("db{at}.example.net")),
            _ => ("LE", "server", format!("www{at}.example.com")),
        };
        let algorithm = match at % 9 {
            4 => "ec",
            7 if kind == "LE" => dual,
            _ => "rsa",
        };
        let until = if at % 4 == 0 { "'2026-08-01'" } else { "NULL" };
        writeln!(
            sql,
            "INSERT INTO certificates (type, disabled, authorized_until, encryption_algo, ocsp_must_staple)
             VALUES ('{kind}', {}, {until}, '{algorithm}', {});
             INSERT INTO subjects (type, name, isaltname, certificate) VALUES ('{subject}', '{name}', false, {id});",
            at % 11 == 0,
            at % 8 == 0
        )
        .unwrap();
        for alt in 0..(if subject == "server" { at % 4 } else { 0 }) {
            writeln!(sql, "INSERT INTO subjects (type, name, certificate) VALUES ('{subject}', 'alt{alt}.{name}', {id});").unwrap();
        }
        if subject == "server" && at % 2 == 0 {
            writeln!(
                sql,
                "INSERT INTO certificates_services VALUES ({id}, {}), ({id}, {});",
                at % 5 + 1,
                (at + 1) % 5 + 1
            )
            .unwrap();
        }
        for target in 0..(if subject == "CA" { 0 } else { at % 3 + 1 }) {
            let host = (at + target) % 6 + 1;
            let jail = if host <= 4 && at % 2 == 0 {
                ((host - 1) * 3 + at % 3 + 1).to_string()
            } else {
                "NULL".into()
            };
            let place = (at * 5 + target) % PLACES + 1;
            let place = if at == 44 && target == 0 { "NULL".into() } else { place.to_string() };
            writeln!(sql, "INSERT INTO targets (disthost, jail, place, certificate) VALUES ({host}, {jail}, {place}, {id});").unwrap();
        }
        let states: &[(&str, i64)] = match at % 6 {
            0 => &[("deployed", 1), ("issued", 80)],
            1 => &[("deployed", 50)],
            2 => &[("expired", -3), ("deployed", 70)],
            3 => &[("deployed", 20)],
            4 => &[("deployed", 15), ("prepublished", 75)],
            _ => &[],
        };
        for (state, days) in if subject == "CA" { &[("issued", 3000)][..] } else { states } {
            instance += 1;
            let issuer = if subject == "CA" {
                instance
            } else if kind == "LE" {
                4
            } else {
                3
            };
            let until = now + time::Duration::days(*days);
            writeln!(
                sql,
                "INSERT INTO certinstances (certificate, state, cacert, not_before, not_after, updated)
                 VALUES ({id}, '{state}', {issuer}, '{}', '{}', '{}');",
                (until - time::Duration::days(90)).date(),
                until.date(),
                now.date()
            )
            .unwrap();
            let keys: &[(&str, &str)] = match algorithm {
                "rsa" => &[("rsa", "r")],
                "ec" => &[("ec", "e")],
                _ => &[("rsa", "r"), ("ec", "e")],
            };
            for (key, _) in keys {
                let (certificate, private) = certificate(until);
                let digest: String =
                    sha2::Sha256::digest(&certificate).iter().map(|octet| format!("{octet:02X}")).collect();
                let pem = pem::encode(&pem::Pem::new("CERTIFICATE", certificate));
                let private = if name.starts_with("Lets") { String::new() } else { private };
                writeln!(
                    sql,
                    "INSERT INTO certkeydata (certinstance, encryption_algo, cert, key, hash)
                     VALUES ({instance}, '{key}', convert_to('{pem}', 'UTF8'), convert_to('{private}', 'UTF8'), '{digest}');"
                )
                .unwrap();
            }
        }
    }
    // Nothing is distinct from nothing there: the same target twice.
    sql.push_str("INSERT INTO targets (disthost, jail, place, certificate) SELECT disthost, jail, place, certificate FROM targets WHERE jail IS NULL LIMIT 1;\n");
    sql + "COMMIT;\n"
}

/// A certificate that ends then, to the second, and its key.
pub fn certificate(until: OffsetDateTime) -> (Vec<u8>, String) {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let mut random = [0; 20];
    getrandom::fill(&mut random).unwrap();
    let profile = Profile {
        fqdn: &HostName::parse("www.example.com").unwrap(),
        names: &Default::default(),
        addresses: &Default::default(),
        subject: &Subject::default(),
        usage: &[Usage::Server].into(),
        serial: Serial::next(None, None, random),
        now: until - time::Duration::days(90),
        days: 90,
        backdate_hours: 0,
    };
    let certificate = pem::parse(self_signed(&profile, &key).unwrap()).unwrap().into_contents();
    let private = key.to_pem(reseed::pki::Container::Pkcs8).unwrap();
    (certificate, String::from_utf8(private.reveal().to_vec()).unwrap())
}
