//! How instances of certificates come to be, in files and in PostgreSQL: by an own authority, by a public one, and
//! when managers die in the middle. What was made is looked at by openssl.
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
#[path = "operate/pebble.rs"]
mod pebble;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use reseed::manager::inventory::events::Event;
use reseed::manager::inventory::files::Files;
use reseed::manager::inventory::model::{
    About, Algorithms, Certificate, Instance, KeyAlgorithm, Kind, Name, Object, State, SubjectType,
};
use reseed::manager::inventory::store::{Change, Inventory};
use reseed::manager::operate::issue::{Only, Request, issue};
use reseed::manager::operate::{Certificates, Operation};
use reseed::manager::run::{World, configuration};
use reseed::pki::inspect;
use reseed::pki::serial::Serial;
use reseed::system::root::Root;
use tempfile::TempDir;
use time::OffsetDateTime;

use cluster::Cluster;
use pebble::Pebble;
use support::checked;

/// A site with an inventory, in files or in a database.
struct Site {
    top: TempDir,
    root: Root,
    connection: Option<String>,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl Site {
    fn new(connection: Option<String>) -> Self {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("conf.d")).unwrap();
        let site = Self { top, root: Root::open(Path::new("/")).unwrap(), connection };
        site.passphrase("correct horse");
        site.configure("", "passphrase");
        site
    }

    /// In files, and in PostgreSQL where there is one.
    fn all(database: &str) -> (Option<Cluster>, Vec<Self>) {
        let cluster = Cluster::start();
        let connection = cluster.as_ref().map(|cluster| {
            cluster.inventory(database);
            cluster.connection(database)
        });
        let mut sites = vec![Self::new(None)];
        sites.extend(connection.map(|connection| Self::new(Some(connection))));
        (cluster, sites)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn configure(&self, inventory: &str, passphrase_file: &str) {
        let postgres = self.connection.as_ref().map(|text| format!("postgres = \"{text}\"\n"));
        let keys = match passphrase_file {
            "" => String::new(),
            file => format!("[keys]\npassphrase_file = \"{file}\"\n"),
        };
        let text = format!(
            "[inventory]\n{}leaf_curve = \"p384\"\nca_subject = {{ C = \"DE\", O = \"Example\", CN = \"Example CA\" }}\n\
             {inventory}{keys}",
            postgres.unwrap_or_default()
        );
        fs::write(self.path("conf.d/ssl-mgr.conf"), text).unwrap();
    }

    fn passphrase(&self, text: &str) {
        fs::write(self.path("passphrase"), format!("{text}\n")).unwrap();
        fs::set_permissions(self.path("passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(support::RESEED);
        command.arg("manager").arg("--topdir").arg(self.top.path()).args(arguments);
        // Only what the test says counts.
        command.env_remove("PGHOST").env_remove("PGPASSWORD").env("HOME", self.top.path());
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn runs(&self, arguments: &[&str], status: i32) -> String {
        let Output { status: ended, stdout, stderr } = self.command(arguments).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(ended.code(), Some(status), "{arguments:?}: {said}");
        said
    }

    fn inventory(&self) -> Box<dyn Inventory + '_> {
        match &self.connection {
            Some(text) => {
                let mut opened = cluster::open(text, "test").unwrap();
                opened.grace = GRACE;
                Box::new(opened)
            }
            None => Box::new(Files::of_top(&self.root, self.top.path())),
        }
    }

    fn add(&self, text: &str, certificate: Certificate) {
        let object = Object::Certificate(name(text), Box::new(certificate));
        self.inventory().change(&[Change::Add(object)]).unwrap();
    }

    fn instances(&self) -> BTreeMap<Name, Vec<Instance>> {
        let mut found: BTreeMap<Name, Vec<Instance>> = BTreeMap::new();
        for instance in self.inventory().instances().unwrap() {
            found.entry(instance.certificate.clone()).or_default().push(instance);
        }
        found
    }

    /// The only instance of a certificate.
    #[track_caller]
    fn only(&self, text: &str) -> Instance {
        let mut instances = self.instances().remove(&name(text)).unwrap_or_default();
        assert_eq!(instances.len(), 1, "{text}: {instances:?}");
        instances.remove(0)
    }

    /// What it exports, by its file's name.
    fn exported(&self, instance: i64) -> BTreeMap<String, PathBuf> {
        let to = self.path("out");
        fs::create_dir_all(&to).unwrap();
        let said = self.runs(&["export", &instance.to_string(), "--to", to.to_str().unwrap()], 0);
        let paths = said.lines().map(PathBuf::from);
        paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path)).collect()
    }
}

const GRACE: Duration = Duration::from_millis(200);

fn local(subject: SubjectType, algorithms: Algorithms) -> Certificate {
    Certificate::new(subject, Kind::Local, algorithms)
}

fn openssl(arguments: &[&str], file: &Path) -> String {
    checked(Command::new("openssl").args(arguments).arg(file))
}

fn serial(pem: &Path) -> Serial {
    let block = ::pem::parse(fs::read(pem).unwrap()).unwrap();
    inspect::Certificate::from_der(block.contents()).unwrap().serial.unwrap()
}

/// The key of a certificate file and that of a key file are one.
#[track_caller]
fn fits(certificate: &Path, key: &Path) {
    assert_eq!(
        openssl(&["x509", "-noout", "-pubkey", "-in"], certificate),
        openssl(&["pkey", "-pubout", "-in"], key)
    );
}

#[test]
fn an_own_authority_signs_what_openssl_takes() {
    if !support::has("openssl") {
        return;
    }
    let (cluster, sites) = Site::all("signs");
    for site in &sites {
        assert!(site.runs(&["ca", "--dry-run"], 0).contains("would get an instance: rsa4096"));
        assert!(site.instances().is_empty(), "a dry run makes nothing");
        let made = site.runs(&["ca"], 0);
        assert!(made.contains("is made: rsa4096, its key is under the passphrase"), "{made}");
        let mut both = local(SubjectType::Server, Algorithms::Both);
        both.names = ["www.example.org", "192.0.2.7"].map(|text| (name(text), About::default())).into();
        both.must_staple = true;
        site.add("example.org", both);
        site.add("ec.example.org", local(SubjectType::Server, Algorithms::Ec));
        let mut person = local(SubjectType::Client, Algorithms::Rsa);
        person.names = [(name("client1"), About::default())].into();
        site.add("jo@example.org", person);
        let said = site.runs(&["issue", "--all"], 0);
        assert_eq!(said.lines().count(), 3, "the authority is no part of all: {said}");

        let authority = site.only("Local CA");
        let root = site.exported(authority.id);
        let root = &root[&format!("cert-{}-rsa.pem", authority.id)];
        let text = openssl(&["x509", "-noout", "-text", "-in"], root);
        for part in [
            "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0",
            "X509v3 Key Usage: critical\n                Digital Signature, Certificate Sign, CRL Sign",
            "Subject: C = DE, O = Example, CN = Example CA",
            "Public-Key: (4096 bit)",
            "sha384WithRSAEncryption",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }

        let mut serials = vec![serial(root)];
        let mut look = |text: &str, parts: &[(KeyAlgorithm, &[&str])]| {
            let instance = site.only(text);
            assert_eq!((instance.state, instance.issuer), (State::Issued, Some(authority.id)), "{text}");
            let files = site.exported(instance.id);
            assert_eq!(files.len(), parts.len() * 2, "{text}");
            for (algorithm, parts) in parts {
                let certificate = &files[&format!("cert-{}-{algorithm}.pem", instance.id)];
                let key = &files[&format!("key-{}-{algorithm}.pem", instance.id)];
                let mut verify = Command::new("openssl");
                checked(verify.args(["verify", "-x509_strict", "-CAfile"]).arg(root).arg(certificate));
                fits(certificate, key);
                let shown = openssl(&["x509", "-noout", "-text", "-in"], certificate);
                for part in *parts {
                    assert!(shown.contains(part), "{text}, {algorithm}: {part}: {shown}");
                }
                serials.push(serial(certificate));
            }
        };
        let names = "DNS:example.org, IP Address:192.0.2.7, DNS:www.example.org";
        let staple = "TLS Feature: \n                status_request";
        let server = "Extended Key Usage: \n                TLS Web Server Authentication\n";
        let usage = "Key Usage: critical\n                Digital Signature";
        look(
            "example.org",
            &[
                (KeyAlgorithm::Rsa, &["rsaEncryption", "(2048 bit)", names, staple, server, usage]),
                (KeyAlgorithm::Ec, &["id-ecPublicKey", "secp384r1", names, staple, server, usage]),
            ],
        );
        look("ec.example.org", &[(KeyAlgorithm::Ec, &["id-ecPublicKey", "DNS:ec.example.org"])]);
        let client = "Extended Key Usage: \n                TLS Web Client Authentication\n";
        look(
            "jo@example.org",
            &[(KeyAlgorithm::Rsa, &["email:jo@example.org, DNS:client1", client, "rsaEncryption"])],
        );
        serials.sort();
        let once: BTreeSet<Serial> = serials.iter().copied().collect();
        assert_eq!(once.len(), 5, "{serials:?}");
        assert!(once.first() == Some(&serial(root)), "serials rise above the authority's own");
    }
    drop(sites);
    drop(cluster);
}

#[test]
fn the_key_of_an_authority_is_never_in_clear() {
    if !support::has("openssl") {
        return;
    }
    let (cluster, sites) = Site::all("clear");
    for site in &sites {
        site.configure("ca_key = \"ec:p384\"\n", "");
        let refused = site.runs(&["ca"], 2);
        assert!(refused.contains("name its file in [keys] passphrase_file"), "{refused}");
        assert!(site.instances().is_empty() && site.inventory().objects().unwrap().certificates.is_empty());
        site.configure("ca_key = \"ec:p384\"\n", "passphrase");
        site.runs(&["ca"], 0);
        let authority = site.only("local ca");
        let keys = site.inventory().keys(authority.id).unwrap();
        assert!(keys[0].key.reveal().starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        match (&site.connection, &cluster) {
            (Some(_), Some(cluster)) => {
                let sql = "SELECT convert_from(key, 'UTF8') FROM reseed.instance_keys";
                assert!(cluster.sql("clear", sql).starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
            }
            _ => {
                let mut grep = Command::new("grep");
                grep.args(["-rlE", "BEGIN (EC )?PRIVATE KEY"]).arg(self::inventory(site));
                assert_eq!(grep.output().unwrap().status.code(), Some(1), "no key in clear");
            }
        }
        // With the passphrase, and only with it, openssl opens it.
        let file = site.path("ca.key");
        fs::write(&file, keys[0].key.reveal()).unwrap();
        let opens = |word: &str| {
            let mut command = Command::new("openssl");
            command.args(["pkey", "-noout", "-passin", &format!("pass:{word}"), "-in"]).arg(&file);
            command.output().unwrap().status.success()
        };
        assert!(opens("correct horse") && !opens("wrong"));

        // A wrong passphrase is told once, and nothing is reserved.
        for number in 0..3 {
            site.add(&format!("host{number}.example"), local(SubjectType::Server, Algorithms::Ec));
        }
        site.passphrase("battery staple");
        let refused = site.runs(&["issue", "--all"], 1);
        assert_eq!(refused.matches("this is not its passphrase").count(), 1, "{refused}");
        assert_eq!(site.instances().len(), 1, "nothing was reserved");
        let refused = site.runs(&["ca"], 1);
        assert!(refused.contains("this is not its passphrase"), "{refused}");
        assert_eq!(site.instances()[&name("Local CA")].len(), 1);
    }
    drop(sites);
}

fn inventory(site: &Site) -> PathBuf {
    site.path("inventory")
}

/// serverPKI issued its authority anew with all others, and whatever was called like it signed from then on.
#[test]
fn issuing_all_never_makes_an_authority() {
    let site = Site::new(None);
    site.configure("ca_key = \"ec:p256\"\n", "passphrase");
    site.add("web.example", local(SubjectType::Server, Algorithms::Ec));
    let refused = site.runs(&["issue", "--all"], 1);
    assert!(refused.contains("there is no authority Local CA; `reseed manager ca` makes it"), "{refused}");
    site.runs(&["ca"], 0);
    site.runs(&["issue", "--all"], 0);
    site.runs(&["issue", "--all"], 0);
    let first = site.only("Local CA");
    assert_eq!(site.instances()[&name("web.example")].len(), 2);
    let refused = site.runs(&["issue", "--include", "Local CA"], 1);
    assert!(refused.contains("it is an authority, which `reseed manager ca` makes"), "{refused}");
    // A certificate that is called like the authority of the site becomes none.
    site.configure("ca_key = \"ec:p256\"\nca_name = \"web.example\"\n", "passphrase");
    let refused = site.runs(&["ca"], 2);
    assert!(
        refused.contains("web.example is a certificate of type server, and becomes no authority"),
        "{refused}"
    );
    site.add("b.example", local(SubjectType::Server, Algorithms::Ec));
    let refused = site.runs(&["issue", "-i", "b.example"], 1);
    assert!(refused.contains("web.example is of type server and no authority"), "{refused}");
    // A successor signs from then on, and the first stays for what it has signed.
    site.configure("ca_key = \"ec:p384\"\n", "passphrase");
    site.runs(&["ca"], 0);
    site.runs(&["issue", "--missing", "--all"], 0);
    let second = site.instances()[&name("Local CA")].iter().map(|it| it.id).max().unwrap();
    assert!(second > first.id);
    assert_eq!(site.only("b.example").issuer, Some(second));
    assert_eq!(site.instances()[&name("web.example")][0].issuer, Some(first.id));
}

#[test]
fn what_is_disabled_is_issued_only_when_it_is_named() {
    let site = Site::new(None);
    site.configure("ca_key = \"ec:p256\"\nleaf_days = 20\n", "passphrase");
    site.runs(&["ca"], 0);
    let mut off = local(SubjectType::Server, Algorithms::Ec);
    off.disabled = true;
    site.add("off.example", off);
    site.add("on.example", local(SubjectType::Server, Algorithms::Ec));
    let mut never = local(SubjectType::Server, Algorithms::Ec);
    never.authority = Some("Nobody".into());
    site.add("lost.example", never);
    let said = site.runs(&["issue", "--all"], 1);
    assert!(said.contains("off.example: failed: it is disabled"), "{said}");
    assert!(said.contains("there is no authority Nobody"), "{said}");
    assert_eq!(site.only("on.example").state, State::Issued, "a failure stops no other");
    site.runs(&["issue", "-i", "off.example"], 0);
    assert_eq!(site.only("off.example").state, State::Issued);
    let dry = site.runs(&["issue", "--missing", "--all", "-n", "-e", "lost.example"], 0);
    assert!(!dry.contains("on.example"), "{dry}");

    // Only what is deployed is renewed.
    assert!(!site.runs(&["renew-local", "--within", "30", "-n"], 0).contains("on.example"));
    let now = OffsetDateTime::now_utc();
    let mut inventory = site.inventory();
    inventory.claim(&[name("on.example")], 1).unwrap();
    let instance = site.only("on.example").id;
    let deployed = Event::Moved { instance, to: State::Deployed, taken_back: false };
    inventory.record(&name("on.example"), &[deployed], now).unwrap();
    drop(inventory);
    assert!(site.runs(&["renew-local", "--within", "10", "-n"], 0).is_empty());
    site.configure("leaf_days = 90\n", "passphrase");
    let renewed = site.runs(&["renew-local", "--within", "30"], 0);
    assert!(renewed.contains("on.example: instance") && !renewed.contains("off.example"), "{renewed}");
    assert!(site.runs(&["renew-local", "--within", "30"], 0).is_empty(), "it has a successor");
}

#[test]
fn an_authority_that_there_is_already_is_taken_over() {
    if !support::has("openssl") {
        return;
    }
    let site = Site::new(None);
    let file = |name: &str| site.path(name).display().to_string();
    let (key, certificate, other) = (file("old.key"), file("old.pem"), file("other.key"));
    let subject = ["-subj", "/O=Example/CN=Old CA", "-days", "90"];
    let extensions = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"];
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &certificate]);
    checked(make.args(subject).args(extensions));
    checked(Command::new("openssl").args(["genrsa", "-out", &other, "2048"]));
    let refused = site.runs(&["ca", "--import", &certificate, &other], 1);
    assert!(refused.contains("the key is not that of its certificate"), "{refused}");
    assert!(site.instances().is_empty());
    site.runs(&["ca", "--import", &certificate, &key], 0);
    let authority = site.only("Local CA");
    let kept = site.inventory().keys(authority.id).unwrap();
    assert!(kept[0].key.reveal().starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert!(site.runs(&["ca", "--import", &certificate, &key], 1).contains("in the inventory already"));
    site.add("web.example", local(SubjectType::Server, Algorithms::Ec));
    site.runs(&["issue", "--all"], 0);
    let instance = site.only("web.example");
    let files = site.exported(instance.id);
    let leaf = &files[&format!("cert-{}-ec.pem", instance.id)];
    checked(Command::new("openssl").args(["verify", "-x509_strict", "-CAfile", &certificate]).arg(leaf));
    assert!(instance.not_after <= authority.not_after, "nothing outlives its authority");
    // openssl draws its serials at random; ours are above them all the same.
    assert!(serial(leaf) > serial(Path::new(&certificate)));

    // What is exported again replaces what was, which nobody may write.
    let key = &files[&format!("key-{}-ec.pem", instance.id)];
    let before = fs::metadata(key).unwrap();
    assert_eq!(before.mode() & 0o7777, 0o400);
    let again = site.exported(instance.id);
    assert_ne!(fs::metadata(&again[&format!("key-{}-ec.pem", instance.id)]).unwrap().ino(), before.ino());
    assert!(site.runs(&["export", "999"], 1).contains("there is no instance 999"));
}

const TOP: &str = "RESEED_TEST_TOP";
const DATABASE: &str = "RESEED_TEST_DATABASE";

/// Not a test of its own: a manager of the test below, a process that can be killed.
#[test]
fn a_manager() {
    let Some(top) = std::env::var_os(TOP).map(PathBuf::from) else { return };
    let root = Root::open(Path::new("/")).unwrap();
    let now = OffsetDateTime::now_utc();
    let world = World { root: &root, top: top.clone(), config: None, now, host: "test".into(), tell: |_| () };
    let config = configuration(&world).unwrap();
    let inventory: Box<dyn Inventory> = match std::env::var(DATABASE) {
        Ok(text) => {
            let mut opened = cluster::open(&text, &format!("test:{}", std::process::id())).unwrap();
            opened.grace = GRACE;
            Box::new(opened)
        }
        Err(_) => Box::new(Files::of_top(&root, &top)),
    };
    let mut operation = Operation::new(world, config, inventory);
    let certificates = Certificates { all: true, ..Certificates::default() };
    let request = Request { certificates, only: Only::Missing, dry_run: false };
    issue(&mut operation, &request).unwrap();
    assert!(!operation.report.has_failed(), "{}", operation.report);
}

fn manager(site: &Site) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_manager", "--nocapture"]).env(TOP, site.top.path());
    if let Some(text) = &site.connection {
        command.env(DATABASE, text);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Managers are killed at any moment, several at work at once where the store lets them, until all is there.
#[test]
fn each_certificate_is_issued_once_however_often_managers_are_killed() {
    const CERTIFICATES: usize = 36;
    let (cluster, sites) = Site::all("killed");
    for site in &sites {
        site.configure("ca_key = \"ec:p256\"\n", "passphrase");
        site.runs(&["ca"], 0);
        let changes: Vec<Change> = (0..CERTIFICATES)
            .map(|number| {
                let algorithms = if number % 3 == 0 { Algorithms::Both } else { Algorithms::Ec };
                let certificate = local(SubjectType::Server, algorithms);
                Change::Add(Object::Certificate(
                    name(&format!("host{number}.example")),
                    Box::new(certificate),
                ))
            })
            .collect();
        site.inventory().change(&changes).unwrap();
        let side_by_side = if site.connection.is_some() { 3 } else { 1 };
        let done = |site: &Site| {
            let all = site.instances();
            all.values().flatten().filter(|it| it.state == State::Issued).count() == CERTIFICATES + 1
        };
        let mut kills = 0;
        for round in 0_u64.. {
            if done(site) {
                break;
            }
            assert!(round < 60, "it does not get on: {kills} kills");
            let mut managers: Vec<Child> = (0..side_by_side).map(|_| manager(site)).collect();
            // Later ones are left to work: what matters is what the killed ones have left.
            if round < 6 {
                let mut random = [0_u8; 1];
                getrandom::fill(&mut random).unwrap();
                std::thread::sleep(Duration::from_millis(150 + 2 * u64::from(random[0])));
                for manager in &mut managers {
                    kills += usize::from(manager.try_wait().unwrap().is_none());
                    manager.kill().unwrap();
                }
            }
            for mut manager in managers {
                manager.wait().unwrap();
            }
            std::thread::sleep(GRACE);
        }
        assert!(kills > 0, "somebody was killed at work");
        let mut digests = BTreeSet::new();
        for (certificate, instances) in site.instances() {
            assert_eq!(instances.len(), 1, "{certificate}: {instances:?}");
            let instance = &instances[0];
            assert!(instance.is_whole() && instance.state == State::Issued, "{instance:?}");
            digests.extend(instance.keys.iter().map(|key| key.digest.clone()));
        }
        assert_eq!(digests.len(), CERTIFICATES + CERTIFICATES / 3 + 1);
    }
    drop(sites);
    drop(cluster);
}

fn public(algorithms: Algorithms) -> Certificate {
    Certificate::new(SubjectType::Server, Kind::Le, algorithms)
}

impl Site {
    /// `ca-info.conf` with this authority, whose proofs nobody looks for.
    fn public(&self, pebble: &Pebble, more: &str) {
        let text = format!(
            "[pebble]\nca_desc = 'Pebble'\nca_type = 'acme'\nca_validation = 'http-01'\nca_directory = '{}'\n\
             ca_trust = '{}'\nca_contact = ['hostmaster@example.org']\nca_preferred_acme_profile = ''\n\
             ca_http_listen = '127.0.0.1:{}'\n{more}",
            pebble.directory(),
            pebble.trust().display(),
            pebble::free_port()
        );
        fs::write(self.path("conf.d/ca-info.conf"), text).unwrap();
    }
}

/// serverPKI gave the certificate of the EC key the intermediate of the RSA one, and kept one of the chain.
#[test]
fn each_key_of_a_pair_has_its_own_whole_chain() {
    let environment = [("PEBBLE_CHAIN_LENGTH", "2"), ("PEBBLE_ALTERNATE_ROOTS", "1")];
    let Some(pebble) = Pebble::start(&environment) else { return };
    let site = Site::new(None);
    let root = pebble.root(1);
    site.public(&pebble, &format!("ca_preferred_chain = '{}'\n", root.name));
    let mut pair = public(Algorithms::Both);
    pair.names = [(name("www.example.org"), About::default())].into();
    pair.must_staple = true;
    site.add("example.org", pair);
    site.add("mail.example.org", public(Algorithms::Ec));
    site.runs(&["issue", "--all"], 0);
    let trusted = site.path("root.pem");
    fs::write(&trusted, &root.certificate).unwrap();
    let instance = site.only("example.org");
    assert_eq!((instance.state, instance.keys.len(), instance.issuer), (State::Issued, 2, None));
    let files = site.exported(instance.id);
    for data in site.inventory().keys(instance.id).unwrap() {
        let algorithm = data.info.algorithm;
        let leaf = &files[&format!("cert-{}-{algorithm}.pem", instance.id)];
        fits(leaf, &files[&format!("key-{}-{algorithm}.pem", instance.id)]);
        let kind = if algorithm == KeyAlgorithm::Ec { "id-ecPublicKey" } else { "rsaEncryption" };
        assert!(openssl(&["x509", "-noout", "-text", "-in"], leaf).contains(kind), "{algorithm}");
        assert_eq!(data.chain.matches("BEGIN CERTIFICATE").count(), 2, "{algorithm}");
        let chain = site.path("chain.pem");
        fs::write(&chain, &data.chain).unwrap();
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-verify_hostname", "www.example.org", "-CAfile"]).arg(&trusted);
        checked(verify.arg("-untrusted").arg(&chain).arg(leaf));
    }
    assert_eq!(site.only("mail.example.org").state, State::Issued);
    let objects = site.inventory().objects().unwrap();
    let authorized = objects.certificates[&name("example.org")].authorized_until;
    assert!(authorized.is_some_and(|until| until > OffsetDateTime::now_utc()), "{authorized:?}");
    let left = fs::read_dir(site.path(".reseed/requests")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "what the inventory has is nowhere else");
}

#[test]
fn who_dies_with_an_open_order_goes_on_with_it_and_its_key() {
    let Some(pebble) = Pebble::start(&[("PEBBLE_VA_NOSLEEP", "0"), ("PEBBLE_VA_SLEEPTIME", "2")]) else {
        return;
    };
    let site = Site::new(None);
    site.public(&pebble, "");
    site.add("example.org", public(Algorithms::Ec));
    let mut manager = site.command(&["issue", "--missing", "--all"]).stderr(Stdio::null()).spawn().unwrap();
    let record = || {
        let entry = fs::read_dir(site.path(".reseed/requests")).ok()?.flatten().next()?.path();
        let text = fs::read_to_string(entry.join("request.toml")).ok()?;
        text.contains("[order]").then_some(entry)
    };
    let place = loop {
        if let Some(place) = record() {
            break place;
        }
        assert!(manager.try_wait().unwrap().is_none(), "it ended before it ordered");
        std::thread::sleep(Duration::from_millis(5));
    };
    manager.kill().unwrap();
    manager.wait().unwrap();
    let reserved = site.only("example.org");
    assert_eq!(reserved.state, State::Reserved);
    let key = openssl(&["pkey", "-pubout", "-in"], &place.join("key.pem"));
    assert_eq!(fs::metadata(place.join("key.pem")).unwrap().mode() & 0o777, 0o600);

    site.runs(&["issue", "--missing", "--all"], 0);
    assert_eq!(pebble.log().matches("POST /order-plz").count(), 1, "it is not ordered twice");
    let issued = site.only("example.org");
    assert_eq!((issued.id, issued.state), (reserved.id, State::Issued));
    let files = site.exported(issued.id);
    let of_certificate =
        openssl(&["x509", "-noout", "-pubkey", "-in"], &files[&format!("cert-{}-ec.pem", issued.id)]);
    assert_eq!(of_certificate, key);
    assert!(site.runs(&["issue", "--missing", "--all"], 0).is_empty(), "nothing is missing");
}
