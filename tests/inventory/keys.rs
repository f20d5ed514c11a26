//! Private keys of an inventory in a database: encrypted and decrypted by the program, in one transaction.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use reseed::manager::inventory::events::Event;
use reseed::manager::inventory::model::{
    About, Algorithms, AtRest, Certificate, Instance, KeyAlgorithm, KeyData, KeyInfo, Kind, Name, Rule,
    State, SubjectType,
};
use reseed::manager::inventory::postgres::schema;
use reseed::manager::inventory::store::{Contents, Inventory, InventoryError};
use reseed::pki::encrypted::{self, Passphrase};
use reseed::pki::key::{PrivateKey, Secret};
use reseed::pki::{Algorithm, Container};
use time::OffsetDateTime;

use super::cluster::{Cluster, open, unchecked};
use super::{good, manager, said, top_with};

pub const PASSPHRASE: &str = "only for this test\n";
const CONFIGURED: &str = "[keys]\npassphrase_file = \"passphrase\"\n";
/// So many are switched at once, and killed meanwhile.
const MANY: usize = 300;

/// A file that only its owner may read.
pub fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn key() -> &'static PrivateKey {
    static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(Algorithm::P256).unwrap());
    &KEY
}

fn clear() -> Secret {
    key().to_pem(Container::Pkcs8).unwrap()
}

/// As serverPKI keeps it: `Proc-Type: 4,ENCRYPTED`.
fn traditional() -> Secret {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    put(Path::new(&path("key")), std::str::from_utf8(clear().reveal()).unwrap());
    let output = Command::new("openssl")
        .args(["ec", "-aes-256-cbc", "-passout", "env:PASSPHRASE", "-in", &path("key"), "-out", &path("out")])
        .env("PASSPHRASE", PASSPHRASE.trim_end())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read(path("out")).unwrap();
    assert!(String::from_utf8_lossy(&text).contains("Proc-Type: 4,ENCRYPTED"));
    Secret::new(text)
}

/// An authority, one that serverPKI encrypted, and so many others; all in clear but that one.
fn contents(count: usize) -> Contents {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let mut contents = Contents { next: 1, ..Contents::default() };
    for at in 0..count + 2 {
        let (name, subject, key) = match at {
            0 => ("Local CA".to_owned(), SubjectType::Ca, clear()),
            1 => ("old.example".to_owned(), SubjectType::Server, traditional()),
            _ => (format!("www{at:06}.example"), SubjectType::Server, clear()),
        };
        let name = Name::new(&name).unwrap();
        let certificate = Certificate::new(subject, Kind::Local, Algorithms::Ec);
        contents.objects.certificates.insert(name.clone(), certificate);
        let info = KeyInfo { algorithm: KeyAlgorithm::Ec, digest: format!("{at:064X}"), created: Some(now) };
        let instance = Instance {
            id: contents.next,
            certificate: name,
            state: State::Issued,
            algorithms: Algorithms::Ec,
            must_staple: false,
            issuer: None,
            not_before: Some(now),
            not_after: Some(now + time::Duration::days(90)),
            published: None,
            about: About::default(),
            deliveries: BTreeMap::new(),
            keys: vec![info.clone()],
        };
        let data = KeyData { info, certificate: "-".into(), chain: String::new(), key };
        contents.instances.push((instance, vec![data]));
        contents.next += 1;
    }
    contents
}

/// How keys are said to be kept, and how many are in which form: encrypted PKCS#8, as serverPKI did, in clear.
fn forms(cluster: &Cluster, database: &str) -> String {
    let of = |pattern: &str| format!("count(*) FILTER (WHERE convert_from(key, 'UTF8') LIKE '{pattern}%')");
    let sql = format!(
        "SELECT (SELECT key_salt IS NOT NULL FROM reseed.settings), {}, {}, {} FROM reseed.instance_keys",
        of("-----BEGIN ENCRYPTED PRIVATE KEY"),
        of("-----BEGIN EC PRIVATE KEY-----%ENCRYPTED"),
        of("-----BEGIN PRIVATE KEY")
    );
    cluster.sql(database, &sql)
}

fn opened(database: &mut dyn Inventory) -> usize {
    let passphrase = Passphrase::of_file(PASSPHRASE).unwrap();
    let mut count = 0;
    let mut each = |keys: &[reseed::manager::inventory::store::StoredKey]| {
        for stored in keys {
            let found = encrypted::decrypt(stored.key.reveal(), Some(&passphrase)).unwrap();
            assert_eq!(found.public_digest(), key().public_digest());
            count += 1;
        }
        Ok(())
    };
    database.stored_keys(&mut each).unwrap();
    count
}

#[test]
fn keys_in_a_database_are_switched_in_one_transaction() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.inventory("keys").fill(&contents(20)).unwrap();
    let connection = cluster.connection("keys");
    let top = top_with(&connection, CONFIGURED);
    let status = |code| {
        let output = manager(top.path(), &["keys", "status"]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        said(&output)
    };
    assert!(status(3).contains("1 only as serverPKI did"));
    let all_clear = forms(&cluster, "keys");
    assert_eq!(all_clear, "f|0|1|21");
    let dry = good(top.path(), &["keys", "encrypt", "--dry-run"]);
    assert!(dry.contains("would be put under the passphrase: 22"), "{dry}");
    assert_eq!(forms(&cluster, "keys"), all_clear);
    // It committed the flag when the key's file was missing (fault 6.1.4).
    let passphrase = top.path().join("passphrase");
    for (case, text, says) in [
        ("missing", None, "there is no such file"),
        ("another", Some("another\n"), "this is not its passphrase"),
    ] {
        fs::remove_file(&passphrase).unwrap();
        text.iter().for_each(|text| put(&passphrase, text));
        let refused = manager(top.path(), &["keys", "encrypt"]);
        assert_eq!(refused.status.code(), Some(1), "{case}");
        let told = said(&refused);
        assert!(told.contains(says) && told.lines().count() == 1, "{case}: {told}");
        assert_eq!(forms(&cluster, "keys"), all_clear, "{case}");
        put(&passphrase, PASSPHRASE);
    }
    let done = good(top.path(), &["keys", "encrypt"]);
    assert!(done.contains("are under the passphrase now: 22; 0 were so already"), "{done}");
    assert_eq!(forms(&cluster, "keys"), "t|22|0|0");
    let written = "SELECT sum(hashtext(key::text)), max(xmin::text) FROM reseed.instance_keys";
    let before = cluster.sql("keys", written);
    let again = good(top.path(), &["keys", "encrypt"]);
    assert!(again.contains("already: 22"), "{again}");
    let refused = manager(top.path(), &["keys", "encrypt", "--refuse-already"]);
    assert_eq!(refused.status.code(), Some(1), "serverPKI's own status for it");
    assert_eq!(cluster.sql("keys", written), before, "nothing is written twice");
    status(0);
    assert_eq!(opened(&mut open(&connection, "reader").unwrap()), 22);

    // Whoever made a key before it was switched cannot store it in clear, and the switch waits for who stores.
    let mut late = open(&connection, "late").unwrap();
    let name = Name::new("www000005.example").unwrap();
    assert_eq!(late.claim(std::slice::from_ref(&name), 1).unwrap().len(), 1);
    let now = OffsetDateTime::now_utc();
    let begin = Event::Reserved { algorithms: Algorithms::Ec, must_staple: false };
    let instance = late.record(&name, &[begin], now).unwrap().unwrap();
    let issued = |key: Secret| {
        let info = KeyInfo { algorithm: KeyAlgorithm::Ec, digest: "F".repeat(64), created: None };
        let keys = vec![KeyData { info, certificate: "-".into(), chain: String::new(), key }];
        let not_after = now + time::Duration::days(1);
        Event::Issued { instance, keys, issuer: None, not_before: now, not_after }
    };
    match late.record(&name, &[issued(clear())], now) {
        Err(InventoryError::Refused(refusals)) => assert_eq!(refusals[0].rule, Rule::AtRest),
        other => panic!("{other:?}"),
    }
    let under = encrypted::encrypt(key(), &Passphrase::of_file(PASSPHRASE).unwrap()).unwrap();
    late.record(&name, &[issued(under)], now).unwrap();

    let back = good(top.path(), &["keys", "decrypt"]);
    assert!(back.contains("are in clear now: 22; 1 were so already"), "{back}");
    assert_eq!(forms(&cluster, "keys"), "f|1|0|22", "the authority's stays");
    assert!(matches!(late.at_rest().unwrap(), AtRest::Clear));

    // The property is carried to files, and what was taken over from serverPKI says it, too.
    good(top.path(), &["keys", "encrypt"]);
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    good(top.path(), &["inventory", "export", copy.to_str().unwrap()]);
    let text = fs::read_to_string(copy.join("objects.toml")).unwrap();
    let salt = cluster.sql("keys", "SELECT key_salt FROM reseed.settings");
    assert!(text.contains(&format!("key_salt = \"{salt}\"")), "{text}");
}

/// Many keys take one derivation, not one each; whoever kills it meanwhile finds all of them in one form.
#[test]
fn a_switch_that_is_killed_has_done_all_or_nothing() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.inventory("many").fill(&contents(MANY)).unwrap();
    let connection = cluster.connection("many");
    let top = top_with(&connection, CONFIGURED);
    let begun = Instant::now();
    good(top.path(), &["keys", "encrypt"]);
    let there = begun.elapsed();
    let (clear, encrypted) = (format!("f|1|0|{}", MANY + 1), format!("t|{}|0|0", MANY + 2));
    assert_eq!(forms(&cluster, "many"), encrypted);
    let begun = Instant::now();
    good(top.path(), &["keys", "status"]);
    let looked = begun.elapsed();
    let mut seen = [0, 0];
    for part in [0.2, 0.5, 0.8, 0.95] {
        good(top.path(), &["keys", "decrypt"]);
        assert_eq!(forms(&cluster, "many"), clear);
        let mut command = Command::new(env!("CARGO_BIN_EXE_reseed"));
        command.args(["manager", "--topdir"]).arg(top.path()).args(["keys", "encrypt"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(there.mul_f64(part));
        let _ = child.kill();
        child.wait().unwrap();
        // The server may still be at it.
        std::thread::sleep(Duration::from_millis(100));
        let found = forms(&cluster, "many");
        assert!(found == clear || found == encrypted, "{part}: {found}");
        seen[usize::from(found == encrypted)] += 1;
        assert_eq!(opened(&mut open(&connection, "reader").unwrap()), MANY + 2, "{part}");
    }
    println!(
        "{} keys: encrypted in {there:?}, looked at in {looked:?}; killed {} times before it was done, {} after",
        MANY + 2,
        seen[0],
        seen[1]
    );
    assert!(seen[0] > 0, "it was killed in the middle");
}

/// Tables of version 1, with data, become ours without losing a row.
#[test]
fn tables_of_version_1_are_brought_to_ours_with_their_data() {
    let Some(cluster) = Cluster::start() else { return };
    let connection = cluster.database("one");
    let first = include_str!("../../src/manager/inventory/postgres/schema/0001_inventory.sql");
    cluster.sql(
        "one",
        &format!(
            "CREATE SCHEMA reseed;
             CREATE TABLE reseed.version (version integer PRIMARY KEY, since timestamptz NOT NULL DEFAULT now());
             {first}
             INSERT INTO reseed.version VALUES (1);
             BEGIN;
             INSERT INTO reseed.certificates (id, kind) VALUES (1, 'local');
             INSERT INTO reseed.subjects (certificate, name, main) VALUES (1, 'www.example', true);
             INSERT INTO reseed.instances (id, certificate, algorithms) VALUES (7, 1, 'ec');
             INSERT INTO reseed.instance_keys (instance, algorithm, digest, certificate, key)
                 VALUES (7, 'ec', repeat('A', 64), '-', 'a key');
             COMMIT;"
        ),
    );
    let top = top_with(&connection, "");
    let refused = said(&manager(top.path(), &["inventory", "list"]));
    assert!(
        refused.contains("has version 1 of its tables") && refused.contains("inventory migrate"),
        "{refused}"
    );
    let done = good(top.path(), &["inventory", "migrate"]);
    assert!(done.contains(&format!("have version {} (before: 1)", schema::VERSION)), "{done}");
    let mut database = unchecked(&connection, "reader").unwrap();
    let found = database.contents().unwrap();
    assert_eq!((found.objects.certificates.len(), found.instances.len()), (1, 1));
    assert_eq!(found.instances[0].1[0].key.reveal(), b"a key");
    assert_eq!(found.at_rest, AtRest::Clear);
    assert!(good(top.path(), &["inventory", "migrate"]).contains(&format!("before: {}", schema::VERSION)));
}
