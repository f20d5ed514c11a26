//! The inventory on a PostgreSQL that the test starts: taken over from serverPKI, carried between the stores, kept by
//! the same rules everywhere, and shared by managers that die.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[path = "inventory/cluster.rs"]
mod cluster;
#[path = "inventory/keys.rs"]
mod keys;
#[path = "inventory/managers.rs"]
mod managers;
#[path = "inventory/serverpki.rs"]
mod serverpki;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use reseed::manager::inventory::files::Files;
use reseed::manager::inventory::model::{
    About, Certificate, DistHost, FileType, Kind, Name, Object, Place, Reference, Rule, Service, State,
    Target, TlsaPrefix, Word,
};
use reseed::manager::inventory::postgres::schema;
use reseed::manager::inventory::schedule::{Policy, due};
use reseed::manager::inventory::states::TRANSITIONS;
use reseed::manager::inventory::store::{Change, Contents, Inventory, InventoryError};
use reseed::system::root::Root;
use time::OffsetDateTime;

use cluster::Cluster;

/// A top directory whose inventory is in a database.
fn top(connection: &str) -> tempfile::TempDir {
    top_with(connection, "")
}

/// The same, with more settings of the inventory, and whatever follows; its passphrase is in a file.
fn top_with(connection: &str, more: &str) -> tempfile::TempDir {
    let top = tempfile::tempdir().unwrap();
    fs::create_dir(top.path().join("conf.d")).unwrap();
    let text = format!("[inventory]\npostgres = \"{connection}\"\n{more}");
    fs::write(top.path().join("conf.d/ssl-mgr.conf"), text).unwrap();
    keys::put(&top.path().join("passphrase"), keys::PASSPHRASE);
    top
}

fn manager(top: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseed"));
    command.arg("manager").arg("--topdir").arg(top).args(arguments);
    // Only what the test says counts.
    command.env_remove("PGHOST").env_remove("PGPASSWORD").env("HOME", top).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn good(top: &Path, arguments: &[&str]) -> String {
    let output = manager(top, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Everything that serverPKI has comes over, from both spellings, and is listed and scheduled.
#[test]
fn a_database_of_serverpki_is_taken_over_without_losing_a_row() {
    let Some(cluster) = Cluster::start() else { return };
    let now = OffsetDateTime::now_utc();
    for (database, dual, version) in [("fresh", "rsa_plus_ec", 5), ("upgraded", "rsa plus ec", 6)] {
        let connection = cluster.database(database);
        cluster.sql(database, &serverpki::schema(dual, version));
        cluster.sql(database, &serverpki::data(dual, now));
        let count = |table: &str| {
            cluster.sql(database, &format!("SELECT count(*) FROM {table}")).parse::<usize>().unwrap()
        };
        let top = top(&connection);
        assert_eq!(manager(top.path(), &["inventory", "list"]).status.code(), Some(1), "there is none yet");
        let dry = good(top.path(), &["inventory", "migrate", "--dry-run"]);
        assert!(dry.contains("would be taken over: 46 certificates"), "{dry}");
        assert_eq!(
            cluster.sql(database, "SELECT to_regnamespace('reseed') IS NULL"),
            "t",
            "nothing was changed"
        );
        let done = good(top.path(), &["inventory", "migrate"]);
        assert!(done.contains("taken over: 46 certificates"), "{done}");
        assert!(done.contains("is there twice for one certificate"), "{done}");
        for (theirs, ours, lost) in [
            ("pki.certificates", "reseed.certificates", 0),
            ("pki.subjects", "reseed.subjects", 0),
            ("pki.services", "reseed.services", 0),
            ("pki.certificates_services", "reseed.certificate_services", 0),
            ("pki.disthosts", "reseed.hosts", 0),
            ("pki.jails", "reseed.jails", 0),
            ("pki.places", "reseed.places", 0),
            // The one that was there twice.
            ("pki.targets", "reseed.targets", 1),
            ("pki.certinstances", "reseed.instances", 0),
            ("pki.certkeydata", "reseed.instance_keys", 0),
        ] {
            assert_eq!(count(theirs), count(ours) + lost, "{database}: {theirs}");
        }
        assert_eq!(count("pki.certificates"), serverpki::CERTIFICATES + 1);
        // Row by row, as far as both say the same.
        let same = |ours: &str, theirs: &str| {
            let sql = format!(
                "SELECT count(*) FROM (({ours} EXCEPT {theirs}) UNION ALL ({theirs} EXCEPT {ours})) d"
            );
            assert_eq!(cluster.sql(database, &sql), "0", "{database}: {ours}");
        };
        same(
            "SELECT i.id::int, i.state, i.must_staple, s.name FROM reseed.instances i JOIN reseed.subjects s ON s.certificate = i.certificate AND s.main",
            "SELECT i.id, i.state::text, i.ocsp_must_staple, s.name::text FROM pki.certinstances i JOIN pki.subjects s ON s.certificate = i.certificate AND NOT s.isaltname",
        );
        same(
            "SELECT instance::int, algorithm, digest, key, convert_to(certificate, 'UTF8') FROM reseed.instance_keys",
            "SELECT certinstance, encryption_algo::text, hash, key, cert FROM pki.certkeydata",
        );
        same(
            "SELECT name, \"group\"::int, ('x' || lpad(to_hex(0), 8, '0'))::bit(32)::int + coalesce(substr(mode, 2, 1)::int * 64 + substr(mode, 3, 1)::int * 8 + substr(mode, 4, 1)::int, -1), reload FROM reseed.places",
            "SELECT name::text, gid::int, coalesce(mode::int, -1), reload_command FROM pki.places",
        );
        same(
            "SELECT fqdn, jail_root, remarks FROM reseed.hosts",
            "SELECT fqdn::text, jailroot, remarks FROM pki.disthosts",
        );
        // Fault 6.2: whole days there, the certificates' own seconds here.
        let exact =
            "SELECT count(*) FROM reseed.instances WHERE state <> 'reserved' AND not_after::time <> '00:00'";
        assert_ne!(cluster.sql(database, exact), "0");
        // What serverPKI took a place for that had a key_path.
        assert_eq!(
            cluster.sql(database, "SELECT file_type FROM reseed.places WHERE name = 'Place 9'"),
            "separate"
        );
        // Fault 6.1.15: the listing was every name times every service times every target.
        let listing = good(top.path(), &["inventory", "list", "certificates", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&listing).unwrap();
        assert_eq!(listed.as_object().unwrap().len(), serverpki::CERTIFICATES + 1);
        let both = listed.as_object().unwrap().values().filter(|it| it["algorithms"] == "both").count();
        assert!(both > 0, "fault 6.1.5: neither spelling of two keys ends a run");
        let listing = good(top.path(), &["inventory", "list", "instances", "--json"]);
        assert!(!listing.contains("PRIVATE KEY"));
        for what in ["hosts", "places", "services"] {
            good(top.path(), &["inventory", "list", what]);
        }
        let plan = good(top.path(), &["schedule", "--dry-run"]);
        assert!(plan.contains("issue") && plan.contains("remind") && plan.contains("archive"), "{plan}");
        assert!(!plan.contains("Local CA") && !plan.contains("No cert"), "fault 6.1.2: {plan}");
        let json = good(top.path(), &["schedule", "--dry-run", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["due"].as_array().unwrap().len(), plan.lines().count());
        let again = good(top.path(), &["inventory", "migrate"]);
        assert!(again.contains("nothing is taken over"), "{again}");
    }
    let old = cluster.database("old");
    cluster.sql("old", &serverpki::schema("rsa plus ec", 4));
    let refused = said(&manager(top(&old).path(), &["inventory", "migrate"]));
    assert!(refused.contains("version 4"), "{refused}");
}

/// What serverPKI's triggers let pass is told, all at once, before anything is taken over.
#[test]
fn what_cannot_be_taken_over_is_told_and_nothing_is() {
    let Some(cluster) = Cluster::start() else { return };
    let connection = cluster.database("bad");
    cluster.sql("bad", &serverpki::schema("rsa_plus_ec", 5));
    cluster.sql("bad", &serverpki::data("rsa_plus_ec", OffsetDateTime::now_utc()));
    cluster.sql(
        "bad",
        "SET search_path = pki, dd;
         INSERT INTO places (name, cert_path) VALUES ('climbs', '../../etc');
         INSERT INTO subjects (name) VALUES ('nobody.example');
         INSERT INTO services (name, port, tlsaprefix) VALUES ('odd', 65536, '_1._tcp.{}. 3600 IN TLSA 3 0 1');",
    );
    let top = top(&connection);
    let refused = manager(top.path(), &["inventory", "migrate"]);
    assert_eq!(refused.status.code(), Some(2));
    let refused = said(&refused);
    for says in ["climbs out of its jail", "nobody.example belongs to no certificate", "odd/65536"] {
        assert!(refused.contains(says), "{refused}");
    }
    cluster.sql(
        "bad",
        "SET search_path = pki, dd; DELETE FROM places WHERE name = 'climbs'; DELETE FROM subjects WHERE certificate IS NULL;
         DELETE FROM services WHERE name = 'odd';
         INSERT INTO targets (disthost, jail, place, certificate) VALUES (1, 4, 1, 5);",
    );
    // Fault 6.1.14: the jail of host 2, on host 1.
    let refused = said(&manager(top.path(), &["inventory", "migrate"]));
    assert!(refused.contains("jail jail21 is on Host2.example.net, not on Host1.example.net"), "{refused}");
    assert_eq!(cluster.sql("bad", "SELECT count(*) FROM reseed.certificates"), "0");
}

#[test]
fn files_to_postgres_to_files_loses_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    let connection = cluster.database("source");
    cluster.sql("source", &serverpki::schema("rsa_plus_ec", 5));
    cluster.sql("source", &serverpki::data("rsa_plus_ec", OffsetDateTime::now_utc()));
    let first = top(&connection);
    good(first.path(), &["inventory", "migrate"]);
    let directories = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|it| directories.path().join(it));
    let said_one = good(first.path(), &["inventory", "export", one.to_str().unwrap()]);
    drop(cluster.inventory("target"));
    let second = top(&cluster.connection("target"));
    good(second.path(), &["inventory", "import", one.to_str().unwrap()]);
    good(second.path(), &["inventory", "export", two.to_str().unwrap()]);
    assert!(said_one.starts_with("46 certificates"), "{said_one}");
    let tree = |top: &Path| -> BTreeMap<String, Vec<u8>> {
        let files = walkdir::WalkDir::new(top).into_iter().flatten().filter(|it| it.file_type().is_file());
        let files = files.filter(|it| !it.path().to_string_lossy().contains("/.reseed/"));
        files
            .map(|it| {
                (it.path().strip_prefix(top).unwrap().display().to_string(), fs::read(it.path()).unwrap())
            })
            .collect()
    };
    let (one_tree, two_tree) = (tree(&one), tree(&two));
    assert!(one_tree.len() > 200);
    assert_eq!(one_tree.keys().collect::<Vec<_>>(), two_tree.keys().collect::<Vec<_>>());
    for (path, content) in &one_tree {
        assert!(two_tree[path] == *content, "{path} differs");
    }
    // Values, too, and the other way round.
    let root = Root::open(Path::new("/")).unwrap();
    let mut files = Files::new(&root, &one);
    let mut database = cluster::open(&cluster.connection("target"), "reader").unwrap();
    let contents = files.contents().unwrap();
    assert_eq!(contents, database.contents().unwrap());
    assert_eq!(contents, cluster::open(&connection, "reader").unwrap().contents().unwrap());
    for path in ["key.pem"] {
        let keys = walkdir::WalkDir::new(&one).into_iter().flatten().filter(|it| it.file_name() == path);
        for key in keys {
            let mode = std::os::unix::fs::PermissionsExt::mode(&key.metadata().unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
    }
    // Some of it, as both have it, and as it is among everything.
    let all = &contents.objects;
    let some: Vec<Name> = all.certificates.keys().step_by(7).cloned().chain([name("no.such.one")]).collect();
    let few = files.objects_of(&some).unwrap();
    assert_eq!(few, database.objects_of(&some).unwrap());
    assert_eq!(few.certificates.len(), some.len() - 1);
    assert!(few.certificates.iter().all(|(name, it)| all.certificates[name] == *it));
    for it in few.certificates.values() {
        assert!(it.services.iter().all(|key| few.services[key] == all.services[key]));
        assert!(it.targets.iter().all(|target| few.hosts[&target.host] == all.hosts[&target.host]));
        let places = it.targets.iter().filter_map(|target| target.place.as_ref());
        assert!(places.into_iter().all(|place| few.places[place] == all.places[place]));
    }
    assert!(few.hosts.len() < all.hosts.len() && few.places.len() < all.places.len());
    for (instance, keys) in &contents.instances {
        assert_eq!(files.keys(instance.id).unwrap(), *keys);
    }
    // Both see the same due.
    let plan = |inventory: &mut dyn Inventory| {
        let mut actions = Vec::new();
        let now = OffsetDateTime::now_utc();
        inventory.standings(None, &mut |it| actions.extend(due(&it, &Policy::default(), now))).unwrap();
        actions
    };
    assert_eq!(plan(&mut files), plan(&mut database));
    let refused = said(&manager(second.path(), &["inventory", "import", one.to_str().unwrap()]));
    assert!(refused.contains("is not empty"), "{refused}");
    let refused = said(&manager(second.path(), &["inventory", "export", two.to_str().unwrap()]));
    assert!(refused.contains("is not empty"), "{refused}");
}

/// Hosts, jails, places and a certificate from which refusals start.
fn start() -> Vec<Object> {
    let about = About::default;
    let place = |path: &str, file_type| Place {
        file_type,
        cert_path: path.into(),
        key_path: None,
        user: None,
        group: None,
        mode: None,
        chown_both: false,
        pglink: path == "/pg",
        reload: None,
        about: about(),
    };
    let host = |root: Option<&str>, jails: &[&str]| DistHost {
        jail_root: root.map(Into::into),
        about: about(),
        jails: jails.iter().map(|jail| (name(jail), about())).collect(),
    };
    vec![
        Object::Service(
            "https/443".parse().unwrap(),
            Service { tlsa: TlsaPrefix::usual(443).unwrap(), about: about() },
        ),
        Object::Host(name("a.example"), host(Some("/usr/jails"), &["www", "mail"])),
        Object::Host(name("b.example"), host(None, &[])),
        Object::Host(name("c.example"), host(Some("/j"), &["db"])),
        Object::Place(name("etc"), place("/etc/ssl", FileType::Separate)),
        Object::Place(name("same"), place("etc//ssl/", FileType::CertOnly)),
        Object::Place(name("whole path"), place("usr/jails/www/etc/ssl", FileType::CertOnly)),
        Object::Place(name("pg"), place("/pg", FileType::Separate)),
        certificate(
            "www.example",
            &["alt.example"],
            &[("a.example", Some("www"), Some("etc")), ("b.example", None, Some("pg"))],
        ),
    ]
}

type Goes<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

fn goes((host, jail, place): &Goes<'_>) -> Target {
    Target { host: name(host), jail: jail.map(name), place: place.map(name), about: About::default() }
}

fn certificate(main: &str, names: &[&str], targets: &[Goes<'_>]) -> Object {
    Object::Certificate(
        name(main),
        Box::new(Certificate {
            subject: "server".parse().unwrap(),
            kind: Kind::Le,
            authority: None,
            disabled: false,
            algorithms: "both".parse().unwrap(),
            must_staple: false,
            authorized_until: None,
            reminded: None,
            about: About::default(),
            main: About::default(),
            names: names.iter().map(|alt| (name(alt), About::default())).collect(),
            services: ["https/443".parse().unwrap()].into(),
            targets: targets.iter().map(goes).collect(),
        }),
    )
}

fn rule(error: InventoryError) -> Rule {
    match error {
        InventoryError::Refused(refusals) => refusals[0].rule,
        other => panic!("{other}"),
    }
}

#[test]
fn the_database_and_the_files_refuse_the_same() {
    let Some(cluster) = Cluster::start() else { return };
    let mut database = cluster.inventory("rules");
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let mut files = Files::new(&root, directory.path());
    let both: [&mut dyn Inventory; 2] = [&mut database, &mut files];
    let mut said: Vec<Vec<String>> = Vec::new();
    for inventory in both {
        let all: Vec<Change> = start().into_iter().map(Change::Add).collect();
        inventory.change(&all).unwrap();
        let before = inventory.contents().unwrap();
        let target = |it: Goes<'_>| Object::Target { certificate: name("www.example"), target: goes(&it) };
        let jail = |host: &str, jail: &str| Object::Jail {
            host: name(host),
            name: name(jail),
            about: About::default(),
        };
        let cases = [
            (
                "a name that another has",
                Object::AltName {
                    certificate: name("www.example"),
                    name: name("ALT.example"),
                    about: About::default(),
                },
                Rule::Taken,
            ),
            ("a second main name", certificate("Alt.example", &[], &[]), Rule::Taken),
            ("a jail without a root", jail("b.example", "x"), Rule::JailRoot),
            ("a jail twice", jail("a.example", "WWW"), Rule::Taken),
            ("a jail nowhere", jail("d.example", "x"), Rule::Unknown),
            (
                "a root that climbs",
                Object::Host(
                    name("d.example"),
                    DistHost { jail_root: Some("/usr/../etc".into()), ..DistHost::default() },
                ),
                Rule::Climbs,
            ),
            (
                "a root that is relative",
                Object::Host(
                    name("d.example"),
                    DistHost { jail_root: Some("jails".into()), ..DistHost::default() },
                ),
                Rule::Form,
            ),
            ("the jail of another host", target(("a.example", Some("db"), Some("pg"))), Rule::JailHost),
            ("no such jail", target(("a.example", Some("x"), Some("pg"))), Rule::Unknown),
            ("no such host", target(("x.example", None, Some("pg"))), Rule::Unknown),
            ("no such place", target(("a.example", None, Some("x"))), Rule::Unknown),
            ("the same target", target(("A.example", Some("WWW"), Some("etc"))), Rule::Taken),
            (
                "another place, the same file",
                target(("a.example", Some("www"), Some("same"))),
                Rule::SameFile,
            ),
            ("from outside into the jail", target(("a.example", None, Some("whole path"))), Rule::SameFile),
            (
                "two links of one name",
                certificate("other", &[], &[("b.example", None, Some("pg"))]),
                Rule::SameFile,
            ),
            (
                "a service that is not there",
                Object::Tlsa { certificate: name("www.example"), service: "smtp/25".parse().unwrap() },
                Rule::Unknown,
            ),
            (
                "a service twice",
                Object::Tlsa { certificate: name("www.example"), service: "HTTPS/443".parse().unwrap() },
                Rule::Taken,
            ),
        ];
        let place = |cert: &str, key: Option<&str>| {
            let Some(Object::Place(_, place)) = start().into_iter().nth(4) else { panic!() };
            Object::Place(name("p"), Place { cert_path: cert.into(), key_path: key.map(Into::into), ..place })
        };
        let climbing = [
            ("a place that climbs", place("../etc", None), Rule::Climbs),
            ("a key that climbs", place("/etc", Some("a/../..")), Rule::Climbs),
            ("a place nowhere", place("", None), Rule::Form),
        ];
        let mut words = Vec::new();
        for (case, object, expected) in cases.into_iter().chain(climbing) {
            // What is refused takes with it what came before in the same step.
            let host = Object::Host(name("before.example"), DistHost::default());
            let error = inventory.change(&[Change::Add(host), Change::Add(object)]).expect_err(case);
            words.push(format!("{case}: {error}"));
            assert_eq!(rule(error), expected, "{}: {case}", inventory.shown());
        }
        for (case, reference, expected) in [
            ("a service in use", Reference::Service("https/443".parse().unwrap()), Rule::InUse),
            ("a host in use", Reference::Host(name("a.example")), Rule::InUse),
            ("a jail in use", Reference::Jail { host: name("a.example"), name: name("www") }, Rule::InUse),
            ("a place in use", Reference::Place(name("etc")), Rule::InUse),
            ("a main name", Reference::AltName(name("www.example")), Rule::InUse),
            ("no such certificate", Reference::Certificate(name("x")), Rule::Unknown),
        ] {
            let error = inventory.change(&[Change::Remove(reference)]).expect_err(case);
            words.push(format!("{case}: {error}"));
            assert_eq!(rule(error), expected, "{}: {case}", inventory.shown());
        }
        assert_eq!(inventory.contents().unwrap(), before, "nothing was changed");
        said.push(words);
    }
    // Whatever psql does, the files of targets are those that the program would write.
    let objects = database.objects().unwrap();
    let mut expected = Vec::new();
    for (main, it) in &objects.certificates {
        for target in it.targets.iter() {
            let place = &objects.places[target.place.as_ref().unwrap()];
            let base = objects.hosts[&target.host].base(target.jail.as_ref());
            expected.extend(
                place
                    .files(&it.occupant(main))
                    .into_iter()
                    .map(|file| format!("{}|{base}{}", target.host, file.path)),
            );
        }
    }
    expected.sort();
    let written = cluster.sql(
        "rules",
        "SELECT fqdn, path FROM reseed.written w JOIN reseed.hosts h ON h.id = w.host ORDER BY 1, 2",
    );
    let mut written: Vec<_> = written.lines().map(ToOwned::to_owned).collect();
    written.sort();
    assert_eq!(written, expected);
    // The same by psql.
    for (sql, says) in [
        (
            "UPDATE reseed.places SET cert_path = 'usr/jails/www/etc/ssl' WHERE name = 'pg'; UPDATE reseed.targets SET place = (SELECT id FROM reseed.places WHERE name = 'etc')",
            "there is",
        ),
        ("UPDATE reseed.hosts SET jail_root = NULL WHERE fqdn = 'a.example'", "has jails and no directory"),
        ("UPDATE reseed.places SET key_path = '/x/../../y' WHERE name = 'etc'", "climbs out"),
        ("UPDATE reseed.subjects SET main = false WHERE main", "stays what it is"),
        ("DELETE FROM reseed.subjects WHERE main", "remove the certificate"),
        ("INSERT INTO reseed.certificates (kind) VALUES ('LE')", "has no main subject"),
        (
            "INSERT INTO reseed.targets (certificate, host, place) SELECT c.id, h.id, p.id FROM reseed.certificates c, reseed.hosts h, reseed.places p WHERE h.fqdn = 'a.example' AND p.name = 'whole path'",
            "would write /usr/jails/www/etc/ssl",
        ),
        (
            "UPDATE reseed.targets SET jail = (SELECT id FROM reseed.jails WHERE name = 'db') WHERE jail IS NOT NULL",
            "is on another host",
        ),
        ("INSERT INTO reseed.services (name, port, tlsa) VALUES ('x', 1, 'nonsense')", "violates check"),
        ("UPDATE reseed.places SET mode = '999'", "violates check"),
    ] {
        let error = cluster.psql("rules", sql).err().unwrap_or_default();
        assert!(says == "there is" || error.contains(says), "{sql}: {error}");
    }
}

/// One table of transitions, in the code and in the database.
#[test]
fn the_database_has_the_program_s_transitions() {
    let Some(cluster) = Cluster::start() else { return };
    drop(cluster.inventory("states"));
    let listed =
        cluster.sql("states", "SELECT from_state || ' ' || to_state FROM reseed.transitions ORDER BY 1");
    let mut expected: Vec<String> = TRANSITIONS.iter().map(|it| format!("{} {}", it.from, it.to)).collect();
    expected.sort();
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
    cluster.sql("states", "WITH c AS (INSERT INTO reseed.certificates (kind) VALUES ('LE') RETURNING id), s AS (INSERT INTO reseed.subjects (certificate, name, main) SELECT id, 'x', true FROM c) INSERT INTO reseed.instances (certificate, algorithms) SELECT id, 'rsa' FROM c");
    for (state, _) in State::TEXTS {
        let is_step = TRANSITIONS.iter().any(|it| it.from == State::Reserved && it.to == *state);
        let sql = format!("BEGIN; UPDATE reseed.instances SET state = '{state}'; ROLLBACK");
        assert_eq!(cluster.psql("states", &sql).is_ok(), is_step || *state == State::Reserved, "{state}");
    }
}

#[test]
fn what_does_not_let_us_in_is_told() {
    let Some(cluster) = Cluster::start() else { return };
    let connection = cluster.database("doors");
    drop(cluster.inventory("inside"));
    let tcp = |rest: &str| format!("host=127.0.0.1 port={} user=manager dbname=inside {rest}", cluster.port);
    let home = tempfile::tempdir().unwrap();
    for (case, text, says, status) in [
        ("no tables", connection.clone(), "inventory migrate", 1),
        ("no database", cluster.connection("nowhere"), "does not exist", 1),
        ("a wrong password", tcp("password=wrong sslmode=disable"), "password authentication failed", 1),
        ("no password", tcp("sslmode=disable"), "write it into ~/.pgpass", 1),
        ("nobody there", "host=127.0.0.1 port=1 user=x dbname=y".to_owned(), "127.0.0.1:1", 1),
        ("a misspelt parameter", "hots=a".to_owned(), "no parameter of a connection", 2),
        ("nobody to trust", tcp("sslmode=verify-full"), "give sslrootcert", 1),
        ("no TLS there", tcp("sslmode=require password=x"), "TLS", 1),
    ] {
        let top = top(&text);
        let output = manager(top.path(), &["inventory", "list"]);
        assert_eq!(output.status.code(), Some(status), "{case}: {}", said(&output));
        assert!(said(&output).contains(says), "{case}: {}", said(&output));
        assert!(!said(&output).contains("wrong"), "{case}: a password is told: {}", said(&output));
    }
    // A newer program has been here.
    cluster.sql("inside", &format!("INSERT INTO reseed.version VALUES ({})", schema::VERSION + 1));
    let newer = top(&cluster.connection("inside"));
    for command in [&["inventory", "list"][..], &["inventory", "migrate"]] {
        let refused = said(&manager(newer.path(), command));
        assert!(refused.contains("newer than this program's"), "{refused}");
    }
    cluster.sql("inside", "DELETE FROM reseed.version WHERE version > 1");
    // The surroundings of libpq: .pgpass, a service file, variables.
    let pgpass = home.path().join(".pgpass");
    fs::write(&pgpass, format!("127.0.0.1:{}:inside:manager:{}\n", cluster.port, cluster::PASSWORD)).unwrap();
    let service = format!("[fleet]\nhost=127.0.0.1\nport={}\nuser=manager\n", cluster.port);
    fs::write(home.path().join(".pg_service.conf"), service).unwrap();
    let by_service = top("service=fleet");
    let run = |mode: u32| {
        fs::set_permissions(&pgpass, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_reseed"));
        command.args(["manager", "--topdir"]).arg(by_service.path()).args(["inventory", "list"]);
        command.env("HOME", home.path()).env("PGDATABASE", "inside").output().unwrap()
    };
    let output = run(0o600);
    assert!(output.status.success(), "{}", said(&output));
    let output = run(0o644);
    assert!(said(&output).contains("others may read it, so it is not used"), "{}", said(&output));
}

#[test]
fn tls_is_as_sslmode_says() {
    let Some(cluster) = Cluster::start() else { return };
    drop(cluster.inventory("inside"));
    let data = cluster.path("data");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .arg("-keyout")
        .arg(data.join("server.key"))
        .arg("-out")
        .arg(data.join("server.crt"))
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        println!("skipped: openssl is not installed");
        return;
    }
    if nix::unistd::geteuid().is_root() {
        let owner = nix::unistd::User::from_name("postgres").unwrap().unwrap();
        std::os::unix::fs::chown(data.join("server.key"), Some(owner.uid.as_raw()), None).unwrap();
    }
    let trusted = cluster.path("trusted.pem");
    fs::copy(data.join("server.crt"), &trusted).unwrap();
    let (other, _) = serverpki::certificate(OffsetDateTime::now_utc() + time::Duration::days(30));
    let stranger = cluster.path("stranger.pem");
    fs::write(&stranger, pem::encode(&pem::Pem::new("CERTIFICATE", other))).unwrap();
    cluster.sql("inside", "ALTER SYSTEM SET ssl = on");
    cluster.control("restart");
    let (trusted, stranger) = (trusted.display(), stranger.display());
    for (case, text, says) in [
        ("preferred", "host=127.0.0.1".to_owned(), None),
        ("required", "host=127.0.0.1 sslmode=require".to_owned(), None),
        ("verified", format!("host=localhost sslmode=verify-full sslrootcert={trusted}"), None),
        ("any name", format!("host=127.0.0.1 sslmode=verify-ca sslrootcert={trusted}"), None),
        (
            "bound to the channel",
            format!("host=localhost sslmode=verify-full sslrootcert={trusted} channel_binding=require"),
            None,
        ),
        (
            "another name",
            format!("host=127.0.0.1 sslmode=verify-full sslrootcert={trusted}"),
            Some("certificate"),
        ),
        (
            "a stranger",
            format!("host=localhost sslmode=verify-full sslrootcert={stranger}"),
            Some("certificate"),
        ),
        (
            "a stranger, required",
            format!("host=localhost sslmode=require sslrootcert={stranger}"),
            Some("certificate"),
        ),
    ] {
        let text = format!(
            "{text} port={} user=manager dbname=inside password='{}'",
            cluster.port,
            cluster::PASSWORD
        );
        let opened = cluster::open(&text, "tls");
        match (opened, says) {
            (Ok(mut opened), None) => {
                let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
                assert!(opened.client().unwrap().query_one(query, &[]).unwrap().get::<_, bool>(0), "{case}");
            }
            (Err(error), Some(says)) => assert!(error.to_string().contains(says), "{case}: {error}"),
            (Ok(_), Some(_)) => panic!("{case}: let in"),
            (Err(error), None) => panic!("{case}: {error}"),
        }
    }
}

#[test]
fn a_store_that_disappears_in_the_middle_is_told_and_comes_back() {
    let Some(cluster) = Cluster::start() else { return };
    let mut database = cluster.inventory("inside");
    let all: Vec<Change> = start().into_iter().map(Change::Add).collect();
    database.change(&all).unwrap();
    cluster.control("stop");
    let host = |text: &str| Change::Add(Object::Host(name(text), DistHost::default()));
    for _ in 0..2 {
        let error = database.change(&[host("d.example")]).unwrap_err();
        assert!(matches!(error, InventoryError::Gone(_)), "{error}");
    }
    cluster.control("start");
    database.change(&[host("d.example")]).unwrap();
    assert!(database.objects().unwrap().hosts.contains_key(&name("d.example")));

    // A command that waits for somebody else's lock when the server is killed.
    let client = database.client().unwrap();
    client.batch_execute("BEGIN; LOCK TABLE reseed.hosts IN ACCESS EXCLUSIVE MODE").unwrap();
    let top = top(&cluster.connection("inside"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseed"));
    command.args(["manager", "--topdir"]).arg(top.path()).args(["inventory", "add", "host", "e.example"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let waiting = command.spawn().unwrap();
    let query = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    for _ in 0..200 {
        if client.query_one(query, &[]).unwrap().get::<_, i64>(0) > 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    cluster.control("stop");
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the connection is lost"), "{}", said(&output));
    cluster.control("start");
    assert!(!good(top.path(), &["inventory", "list", "hosts"]).contains("e.example"));
    good(top.path(), &["inventory", "add", "host", "e.example"]);
}

/// Objects without SQL, in both stores alike.
#[test]
fn objects_come_and_go_by_commands() {
    let Some(cluster) = Cluster::start() else { return };
    drop(cluster.inventory("words"));
    let files = tempfile::tempdir().unwrap();
    fs::create_dir(files.path().join("conf.d")).unwrap();
    fs::write(files.path().join("conf.d/ssl-mgr.conf"), "").unwrap();
    let database = top(&cluster.connection("words"));
    let mut lists = Vec::new();
    for top in [files.path(), database.path()] {
        let add = |words: &[&str]| good(top, &[&["inventory", "add"], words].concat());
        add(&["service", "https/443"]);
        add(&["service", "smtp/25", "--tlsa", "_25._tcp.{}. 300 IN TLSA 3 1 1"]);
        add(&["host", "h.example", "--jail-root", "/jails", "--remarks", "rack 1"]);
        add(&["jail", "h.example", "www"]);
        add(&[
            "place",
            "etc",
            "--type",
            "key only",
            "--cert-path",
            "/etc/ssl",
            "--mode",
            "0440",
            "--group",
            "70000",
        ]);
        add(&[
            "certificate",
            "www.example",
            "--name",
            "example",
            "--tlsa",
            "https/443",
            "--host",
            "h.example",
            "--jail",
            "www",
            "--place",
            "etc",
        ]);
        add(&["name", "www.example", "more.example"]);
        add(&["tlsa", "www.example", "smtp/25"]);
        add(&["target", "www.example", "h.example"]);
        let twice = manager(top, &["inventory", "add", "host", "H.example"]);
        assert_eq!(twice.status.code(), Some(2), "{}", said(&twice));
        assert!(said(&twice).contains("there is a host"), "{}", said(&twice));
        let climbs = manager(top, &["inventory", "add", "place", "x", "--cert-path", "/a/../../b"]);
        assert!(said(&climbs).contains("climbs out of its jail"), "{}", said(&climbs));
        let shown = good(top, &["inventory", "show", "more.example"]);
        assert!(shown.contains("h.example, jail www, place etc"), "{shown}");
        let plan = good(top, &["schedule", "--dry-run"]);
        assert!(plan.contains("www.example  issue") && plan.contains("rsa, then deploy"), "{plan}");
        // Times differ; everything else must not.
        let mut all: serde_json::Value =
            serde_json::from_str(&good(top, &["inventory", "list", "--json"])).unwrap();
        forget_times(&mut all);
        lists.push(all);
        good(top, &["inventory", "remove", "target", "www.example", "h.example"]);
        good(top, &["inventory", "remove", "name", "more.example"]);
        good(top, &["inventory", "remove", "tlsa", "www.example", "smtp/25"]);
        good(top, &["inventory", "remove", "certificate", "www.example"]);
        good(top, &["inventory", "remove", "place", "etc"]);
        good(top, &["inventory", "remove", "jail", "h.example", "www"]);
        good(top, &["inventory", "remove", "host", "h.example"]);
        assert_eq!(good(top, &["schedule", "--dry-run"]), "Nothing is due for 0 certificates.\n");
    }
    assert_eq!(lists[0], lists[1]);
}

/// What is changed is changed in both stores alike, by the same rules, and nothing else is.
#[test]
fn objects_are_changed_by_commands() {
    let Some(cluster) = Cluster::start() else { return };
    drop(cluster.inventory("changed"));
    let files = tempfile::tempdir().unwrap();
    fs::create_dir(files.path().join("conf.d")).unwrap();
    fs::write(files.path().join("conf.d/ssl-mgr.conf"), "").unwrap();
    let database = top(&cluster.connection("changed"));
    let mut lists = Vec::new();
    for top in [files.path(), database.path()] {
        let run =
            |words: &str| good(top, &[&["inventory"], &words.split(' ').collect::<Vec<_>>()[..]].concat());
        run("add service https/443");
        assert!(run("add host h.example --jail-root /jails --dry-run").contains("nothing is changed"));
        run("add host h.example --jail-root /jails");
        run("add jail h.example www");
        run("add host i.example --jail-root /jails");
        run("add place etc --cert-path /etc/ssl --key-path /etc/keys --group 7 --reload true");
        run("add place srv --cert-path /srv --type separate");
        run("add certificate a.example --host h.example --jail www --place etc --must-staple");
        run("add certificate b.example --host h.example --jail www --place srv");
        run("add target b.example h.example --place etc");
        run("disable a.example b.example");
        run("enable b.example");
        run(
            "set certificate a.example --algorithms both --must-staple=false --authority other --remarks why",
        );
        run("set certificate b.example --kind local");
        run("set place etc --unset key-path --mode 0440 --group 8 --unset reload --pglink");
        run("set host i.example --unset jail-root");
        good(top, &["inventory", "set", "service", "https/443", "--tlsa", "_443._tcp.{}. 60 IN TLSA 3 1 1"]);
        let refused: [(&str, &[&str], &str, i32); 8] = [
            ("nobody", &["disable", "a.example", "c.example"], "there is no certificate c.example", 2),
            ("nothing", &["set", "certificate", "a.example"], "nothing is to be changed", 2),
            (
                "two links of one name",
                &["set", "place", "srv", "--cert-path", "/etc/ssl", "--pglink"],
                "postgresql",
                2,
            ),
            ("it climbs", &["set", "place", "srv", "--cert-path", "/a/../../b"], "climbs out of its jail", 2),
            (
                "a key path without a key",
                &["set", "place", "etc", "--type", "combine both", "--key-path", "/k"],
                "leave key_path out",
                2,
            ),
            (
                "jails without their root",
                &["set", "host", "h.example", "--unset", "jail-root"],
                "give it a jail root",
                2,
            ),
            (
                "no word",
                &["set", "certificate", "a.example", "--algorithms", "dsa"],
                "is no choice of keys",
                2,
            ),
            ("no host", &["set", "host", "x.example", "--jail-root", "/j"], "there is no host x.example", 2),
        ];
        for (case, words, told, status) in refused {
            let output = manager(top, &[&["inventory"], words].concat());
            assert_eq!(output.status.code(), Some(status), "{case}: {}", said(&output));
            assert!(said(&output).contains(told), "{case}: {}", said(&output));
        }
        let mut all: serde_json::Value =
            serde_json::from_str(&good(top, &["inventory", "list", "--json"])).unwrap();
        forget_times(&mut all);
        let a = &all["certificates"]["a.example"];
        assert_eq!(
            (&a["disabled"], &a["algorithms"], &a["must_staple"], &a["authority"], &a["about"]["remarks"]),
            (&true.into(), &"both".into(), &false.into(), &"other".into(), &"why".into()),
            "{a}"
        );
        assert_eq!(all["certificates"]["b.example"]["disabled"], false);
        let etc = &all["places"]["etc"];
        assert_eq!(
            (&etc["mode"], &etc["group"], &etc["key_path"]),
            (&"0440".into(), &8.into(), &serde_json::Value::Null)
        );
        assert_eq!(all["hosts"]["i.example"]["jail_root"], serde_json::Value::Null);
        lists.push(all);
    }
    assert_eq!(lists[0], lists[1]);
}

fn forget_times(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.remove("created");
            map.remove("updated");
            // What is noted is noted in both.
            map.retain(|key, value| {
                !(["about", "main"].contains(&key.as_str()) && *value == serde_json::json!({}))
            });
            map.values_mut().for_each(forget_times);
        }
        serde_json::Value::Array(all) => all.iter_mut().for_each(forget_times),
        _ => {}
    }
}

#[test]
fn an_inventory_that_is_empty_is_one() {
    let Some(cluster) = Cluster::start() else { return };
    let mut database = cluster.inventory("none");
    assert_eq!(database.contents().unwrap(), Contents { next: 1, ..Contents::default() });
}
