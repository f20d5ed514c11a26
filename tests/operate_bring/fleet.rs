//! A fleet for a test: an inventory in files, an own authority with keys of both kinds, and the manager, here or as a
//! process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reseed::manager::config::Configuration;
use reseed::manager::inventory::events::Event;
use reseed::manager::inventory::files::Files;
use reseed::manager::inventory::model::{
    About, Algorithms, Certificate, DistHost, FileType, Instance, KeyAlgorithm, KeyData, KeyInfo, Kind, Name,
    Object, Objects, Place, State, SubjectType, Target,
};
use reseed::manager::inventory::store::{Change, Inventory};
use reseed::manager::operate::distribute::{Publish, Request, consolidate, distribute};
use reseed::manager::operate::{Certificates, OperateError, Operation, Report};
use reseed::manager::run::{World, configuration};
use reseed::pki::inspect;
use reseed::pki::key::{PrivateKey, Secret};
use reseed::pki::{armor, container};
use reseed::system::root::Root;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::support::{self, checked};

/// What the manager's own machine is called.
pub const HERE: &str = "manager.example";
/// Tells the process that is to be a manager where it works.
const MANAGER: &str = "RESEED_TEST_BRING";

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn place(file_type: FileType, cert_path: &str) -> Place {
    Place {
        file_type,
        cert_path: cert_path.to_owned(),
        key_path: None,
        user: None,
        group: None,
        mode: None,
        chown_both: false,
        pglink: false,
        reload: None,
        about: About::default(),
    }
}

pub fn target(host: &str, jail: Option<&str>, place: &str) -> Target {
    Target { host: name(host), jail: jail.map(name), place: Some(name(place)), about: About::default() }
}

pub struct Fleet {
    directory: TempDir,
    root: Root,
    /// Of the own authority.
    authority: i64,
}

/// Not a test of its own: the manager, when the tests start one.
#[test]
fn a_manager() {
    let Ok(top) = std::env::var(MANAGER) else { return };
    let root = Root::open(Path::new("/")).unwrap();
    let report = work(&root, Path::new(&top), |op| {
        distribute(op, &Request { certificates: all(), ..Request::default() }, None)
    });
    print!("{}", report.0);
    report.1.unwrap();
    println!("{}", if report.0.has_failed() { "something failed" } else { "all is done" });
}

pub fn all() -> Certificates {
    Certificates { all: true, ..Certificates::default() }
}

fn work(
    root: &Root,
    top: &Path,
    story: impl FnOnce(&mut Operation<'_>) -> Result<(), OperateError>,
) -> (Report, Result<(), OperateError>) {
    let world = World {
        root,
        top: top.to_owned(),
        config: None,
        now: OffsetDateTime::now_utc(),
        host: HERE.to_owned(),
        tell: |_| {},
    };
    let config: Configuration = configuration(&world).unwrap();
    let inventory = Box::new(Files::of_top(root, top));
    let mut op = Operation::new(world, config, inventory);
    let done = story(&mut op);
    (op.report, done)
}

impl Fleet {
    /// Hosts, each with jails whose directory is `jails` beneath `ground`.
    pub fn new(hosts: &[(&str, &[&str])], settings: &str) -> Self {
        let directory = support::scratch();
        let root = Root::open(Path::new("/")).unwrap();
        let mut fleet = Self { directory, root, authority: 0 };
        for made in ["conf.d", "prod", "host"] {
            fs::create_dir_all(fleet.path(made)).unwrap();
        }
        fs::write(fleet.path("conf.d/ssl-mgr.conf"), settings).unwrap();
        for (host, inside) in hosts {
            let jails = inside.iter().map(|jail| (name(jail), About::default())).collect();
            let jail_root = Some(fleet.path("prod/jails").display().to_string());
            fleet.add(Object::Host(name(host), DistHost { jail_root, jails, about: About::default() }));
        }
        fleet.found();
        fleet
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub fn top(&self) -> &Path {
        self.directory.path()
    }

    pub fn files(&self) -> Files<'_> {
        Files::of_top(&self.root, self.top())
    }

    pub fn add(&self, object: Object) {
        self.files().change(&[Change::Add(object)]).unwrap();
    }

    pub fn certify(
        &self,
        text: &str,
        kind: Kind,
        subject: SubjectType,
        keys: Algorithms,
        targets: Vec<Target>,
    ) {
        let mut certificate = Certificate::new(subject, kind, keys);
        certificate.targets = targets;
        self.add(Object::Certificate(name(text), Box::new(certificate)));
    }

    /// An authority with a certificate for each kind of key, of the same name.
    fn found(&mut self) {
        for (algorithm, made) in [("rsa", "rsa:2048"), ("ec", "ec")] {
            let mut command = self.openssl("req -x509 -days 3650 -subj /CN=Fleet_CA -set_serial 1");
            self.key(&mut command, made, &format!("ca-{algorithm}"));
            checked(&mut command);
        }
        let kind = (SubjectType::Ca, Kind::Local);
        self.certify("Local CA", kind.1, kind.0, Algorithms::Both, Vec::new());
        let texts = ["rsa", "ec"].map(|algorithm| {
            // Its keys are kept elsewhere.
            (self.text(&format!("ca-{algorithm}.pem")), String::new())
        });
        self.authority = self.enter("Local CA", Algorithms::Both, &texts, None, "", 3650);
    }

    fn openssl(&self, words: &str) -> Command {
        let mut command = Command::new("openssl");
        command.current_dir(self.top()).args(words.split(' '));
        command
    }

    fn key(&self, command: &mut Command, made: &str, file: &str) {
        command.args(["-newkey", made]);
        if made == "ec" {
            command.args(["-pkeyopt", "ec_paramgen_curve:P-256"]);
        }
        command.args(["-nodes", "-keyout", &format!("{file}.key"), "-out", &format!("{file}.pem")]);
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// An instance of a certificate, with new keys; public ones bring their chain along.
    pub fn issue(&self, text: &str, days: i64) -> i64 {
        let objects: Objects = self.files().objects().unwrap();
        let certificate = &objects.certificates[&name(text)];
        let mut texts = Vec::new();
        for algorithm in certificate.algorithms.keys() {
            let words = format!("req -x509 -days {days} -subj /CN={text} -CA ca-{algorithm}.pem");
            let mut command = self.openssl(&format!("{words} -CAkey ca-{algorithm}.key"));
            let made = if *algorithm == KeyAlgorithm::Rsa { "rsa:2048" } else { "ec" };
            self.key(&mut command, made, "leaf");
            checked(&mut command);
            texts.push((self.text("leaf.pem"), self.text("leaf.key")));
        }
        let (issuer, chain) = match certificate.kind {
            Kind::Local => (Some(self.authority), String::new()),
            Kind::Le => (None, self.text("ca-rsa.pem")),
        };
        self.enter(text, certificate.algorithms, &texts, issuer, &chain, days)
    }

    fn enter(
        &self,
        text: &str,
        algorithms: Algorithms,
        texts: &[(String, String)],
        issuer: Option<i64>,
        chain: &str,
        days: i64,
    ) -> i64 {
        let mut files = self.files();
        let now = OffsetDateTime::now_utc();
        assert_eq!(files.claim(&[name(text)], 1).unwrap(), [name(text)]);
        let begin = Event::Reserved { algorithms, must_staple: false };
        let instance = files.record(&name(text), &[begin], now).unwrap().unwrap();
        let keys = algorithms.keys().iter().zip(texts).map(|(algorithm, (certificate, key))| KeyData {
            info: KeyInfo { algorithm: *algorithm, digest: digest(certificate), created: Some(now) },
            certificate: certificate.clone(),
            chain: chain.to_owned(),
            key: Secret::new(key.as_bytes()),
        });
        let issued = Event::Issued {
            instance,
            keys: keys.collect(),
            issuer,
            not_before: now - Duration::days(1),
            not_after: now + Duration::days(days),
        };
        files.record(&name(text), &[issued], now).unwrap();
        files.release(&name(text)).unwrap();
        instance
    }

    pub fn instance(&self, text: &str, id: i64) -> Instance {
        let found = self.files().instances_of(&name(text)).unwrap();
        found.into_iter().find(|instance| instance.id == id).unwrap()
    }

    #[track_caller]
    pub fn is(&self, text: &str, id: i64, state: State) {
        assert_eq!(self.instance(text, id).state, state, "{text} {id}");
    }

    /// The manager as a process of its own.
    pub fn manager(&self) -> Vec<String> {
        let program = std::env::current_exe().unwrap().display().to_string();
        let top = format!("{MANAGER}={}", self.top().display());
        ["env", &top, &program, "fleet::a_manager", "--exact", "--nocapture"].map(str::to_owned).to_vec()
    }

    /// Distributes from this process.
    pub fn distribute(&self, request: Request, publish: Option<&mut Publish<'_>>) -> Report {
        let (report, done) = work(&self.root, self.top(), |op| distribute(op, &request, publish));
        done.unwrap();
        report
    }

    pub fn consolidate(&self, request: &Request) -> Report {
        let (report, done) = work(&self.root, self.top(), |op| consolidate(op, request));
        done.unwrap();
        report
    }

    /// What a certificate's instance has: digests of its certificates, and of their public keys.
    pub fn expected(&self, id: i64) -> BTreeMap<String, [u8; 32]> {
        let keys = self.files().keys(id).unwrap();
        keys.iter().map(|key| (key.info.digest.clone(), public_digest(&key.certificate))).collect()
    }
}

fn der(certificate: &str) -> Vec<u8> {
    armor::blocks(certificate.as_bytes()).remove(0).body.unwrap().to_vec()
}

fn digest(certificate: &str) -> String {
    Sha256::digest(der(certificate)).iter().map(|octet| format!("{octet:02X}")).collect()
}

fn public_digest(certificate: &str) -> [u8; 32] {
    inspect::Certificate::from_der(&der(certificate)).unwrap().public_digest
}

/// Every file with something in PEM beneath a directory belongs to one of some instances: its first certificate and
/// its key. Returns how many there are, and fails for what was left behind.
#[track_caller]
pub fn holds(directory: &Path, instances: &[BTreeMap<String, [u8; 32]>], case: &str) -> usize {
    let mut count = 0;
    for entry in walkdir::WalkDir::new(directory).into_iter().map(Result::unwrap) {
        let path = entry.path();
        let shown = path.display();
        assert!(
            !entry.file_name().to_string_lossy().starts_with(".reseed"),
            "{case}: {shown} was left behind"
        );
        if !entry.file_type().is_file() || !path.extension().is_some_and(|it| it == "pem") {
            continue;
        }
        count += 1;
        let content = fs::read(path).unwrap();
        let found = container::read(&content);
        if let Some(first) = found.certificates.first() {
            let digest: String = Sha256::digest(first).iter().map(|octet| format!("{octet:02X}")).collect();
            let known = instances.iter().any(|instance| instance.contains_key(&digest));
            assert!(known, "{case}: {shown} has another certificate");
        }
        if content.windows(11).any(|window| window == b"PRIVATE KEY") {
            let key = PrivateKey::from_pem(&content).unwrap().public_digest();
            let known = instances.iter().any(|instance| instance.values().any(|known| *known == key));
            assert!(known, "{case}: {shown} has another key");
        }
    }
    count
}
