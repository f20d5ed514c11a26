//! The client for ACME against Debian's Pebble: accounts, orders, revocation, and what is left when a run is cut off.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reseed::manager::acme::account::{self, Binding, Settings};
use reseed::manager::acme::chain::Chain;
use reseed::manager::acme::{
    By, Connection, Granted, Identifier, Progress, Proof, Prover, Refusal, Step, Wish, issue, renewal_info,
    revoke,
};
use reseed::manager::config::Validation;
use reseed::manager::name::ServiceName;
use reseed::pki::key::PrivateKey;
use reseed::pki::serial::Serial;
use reseed::pki::x509::crl::Reason;
use reseed::pki::x509::{self, AlternativeName, Issuer, Name, Profile, Role, request};
use reseed::pki::{Algorithm, Container, Digest, Usage};
use reseed::system::root::Root;
use tempfile::TempDir;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// The key to which accounts are bound where that is wanted; the same as in Pebble's own examples of a length.
const SECRET: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// A Pebble of a test's own, gone when it is dropped.
struct Pebble {
    process: Child,
    directory: TempDir,
    port: u16,
    management: u16,
}

impl Pebble {
    /// Nothing when it is not installed.
    fn start(environment: &[(&str, &str)], wants_binding: bool) -> Option<Self> {
        if !support::has("pebble") {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        own_certificate(directory.path());
        let [port, management] = [free_port(), free_port()];
        let at = |name: &str| directory.path().join(name);
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": at("tls.crt"), "privateKey": at("tls.key"),
            "httpPort": free_port(), "tlsPort": free_port(), "ocspResponderURL": "",
            "externalAccountBindingRequired": wants_binding,
            "externalAccountMACKeys": { "kid-1": SECRET },
            "certificateValidityPeriod": 7_776_000,
        }});
        fs::write(at("pebble.json"), config.to_string()).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let process = Command::new("pebble")
            .arg("-config")
            .arg(at("pebble.json"))
            .args(["-strict", "-dnsserver", "127.0.0.1:1"])
            .envs([
                ("PEBBLE_VA_NOSLEEP", "1"),
                ("PEBBLE_VA_ALWAYS_VALID", "1"),
                ("PEBBLE_WFE_NONCEREJECT", "0"),
                ("PEBBLE_AUTHZREUSE", "0"),
            ])
            .envs(environment.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let pebble = Self { process, directory, port, management };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{}", fs::read_to_string(pebble.at("log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(pebble)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::new(format!("https://127.0.0.1:{}/dir", self.port));
        settings.bounds.trust = Some(fs::read(self.at("ca.crt")).unwrap());
        settings.bounds.requests_per_second = 1000;
        settings.contact = vec!["mailto:hostmaster@example.com".into()];
        settings
    }

    /// The common name of one of its roots.
    fn root(&self, number: usize) -> String {
        let url = format!("https://127.0.0.1:{}/roots/{number}", self.management);
        let shown = Command::new("curl").arg("-sf").arg("--cacert").arg(self.at("ca.crt")).arg(url).output();
        let text = shown.expect("curl").stdout;
        let block = pem::parse(text).unwrap();
        let read = reseed::pki::inspect::Certificate::from_der(block.contents()).unwrap();
        read.common_name().unwrap().to_owned()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What Pebble shows to its clients.
fn own_certificate(directory: &Path) {
    let now = OffsetDateTime::from(std::time::SystemTime::now());
    let [above, below] = [(); 2].map(|()| key());
    let named = |text: &str| Name { common_name: text.into(), ..Name::default() };
    let (top, leaf) = (named("test root"), named("localhost"));
    let names =
        [AlternativeName::Dns("localhost".into()), AlternativeName::Address("127.0.0.1".parse().unwrap())];
    let root = Role::Root { path_len: None };
    let server = Role::Leaf { usages: BTreeSet::from([Usage::Server]) };
    let profile = |subject, alternative_names, role, serial| Profile {
        subject,
        alternative_names,
        role,
        serial: Serial::from_octets(&[serial]).unwrap(),
        now,
        backdate: time::Duration::hours(1),
        not_after: now + time::Duration::days(1),
    };
    let spki = |key: &PrivateKey| key.spki_der().unwrap();
    let own = Issuer::Itself(&above);
    let top = x509::issue(&profile(&top, &[], &root, 1), &spki(&above), own, Digest::Sha256).unwrap().der;
    let by = Issuer::Authority { certificate: &top, key: &above };
    let leaf =
        x509::issue(&profile(&leaf, &names, &server, 2), &spki(&below), by, Digest::Sha256).unwrap().der;
    let pem = |der: &[u8]| pem::encode(&pem::Pem::new("CERTIFICATE", der));
    fs::write(directory.join("ca.crt"), pem(&top)).unwrap();
    fs::write(directory.join("tls.crt"), pem(&leaf)).unwrap();
    fs::write(directory.join("tls.key"), below.to_pem(Container::Pkcs8).unwrap().reveal()).unwrap();
}

fn key() -> PrivateKey {
    PrivateKey::generate(Algorithm::P256).unwrap()
}

/// Where accounts lie.
struct Disk {
    _directory: TempDir,
    root: Root,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        Self { _directory: directory, root }
    }

    fn accounts(&self) -> &Path {
        Path::new("/top/.reseed/accounts")
    }

    fn open(&self, settings: &Settings) -> Result<Connection, Refusal> {
        let now = OffsetDateTime::from(std::time::SystemTime::now());
        Connection::open(&self.root, self.accounts(), settings, now)
    }

    /// A file of an account, as the test's own system sees it.
    fn file(&self, settings: &Settings, name: &str) -> PathBuf {
        let inside = account::place(self.accounts(), settings).join(name);
        self.root.directory().join(inside.strip_prefix("/").unwrap())
    }
}

/// Sees everything at once, but for one name.
#[derive(Default)]
struct Says {
    unseen: Option<&'static str>,
    proven: Mutex<Vec<Proof>>,
    withdrawn: Mutex<Vec<Proof>>,
}

impl Prover for Says {
    fn prove(&self, proofs: &[Proof], seen: &(dyn Fn(usize, Result<(), String>) + Sync)) {
        self.proven.lock().unwrap().extend_from_slice(proofs);
        for (index, proof) in proofs.iter().enumerate() {
            let is_unseen = self.unseen == Some(proof.identifier.to_string().as_str());
            seen(index, if is_unseen { Err("ns2.example does not show it".into()) } else { Ok(()) });
        }
    }

    fn withdraw(&self, proofs: &[Proof]) -> Vec<String> {
        self.withdrawn.lock().unwrap().extend_from_slice(proofs);
        Vec::new()
    }
}

fn wish(service: &str, names: &[&str], kind: Validation, key: &PrivateKey) -> Wish {
    let identifiers: Vec<Identifier> = names
        .iter()
        .map(|name| name.parse().map_or_else(|_| Identifier::Dns((*name).to_owned()), Identifier::Ip))
        .collect();
    let alternative = |one: &Identifier| match one {
        Identifier::Dns(name) => AlternativeName::Dns(name.clone()),
        Identifier::Ip(address) => AlternativeName::Address(*address),
    };
    let asked: Vec<_> = identifiers.iter().map(alternative).collect();
    Wish {
        service: ServiceName::new("example.com", service).unwrap(),
        csr: request(&Name::default(), &asked, key, Digest::Sha256).unwrap(),
        identifiers,
        kind,
        profile: None,
        preferred_chain: None,
        replaces: None,
        resume: None,
    }
}

/// Orders one certificate; returns the URLs of its orders too.
fn one(connection: &Connection, wish: &Wish, prover: &Says) -> (Result<Granted, Refusal>, Vec<String>) {
    let urls = Mutex::new(Vec::new());
    let ordered = |_: &ServiceName, url: &str| urls.lock().unwrap().push(url.to_owned());
    let mut results = issue(connection, std::slice::from_ref(wish), prover, &ordered, &|_| {});
    (results.remove(&wish.service).unwrap(), urls.into_inner().unwrap())
}

fn der(granted: &Granted) -> Vec<u8> {
    pem::parse_many(granted.chain.as_bytes()).unwrap().remove(0).into_contents()
}

#[test]
fn an_account_is_found_again_whenever_a_run_was_cut_off() {
    let Some(pebble) = Pebble::start(&[], false) else { return };
    let (disk, settings) = (Disk::new(), pebble.settings());
    let at = |name| disk.file(&settings, name);
    let open = || disk.open(&settings).unwrap();
    let first = open().account().to_owned();
    assert_eq!(open().account(), first, "the next run");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(at("key.pem")).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o600);

    fs::remove_file(at("account.toml")).unwrap();
    assert_eq!(open().account(), first, "cut off after the authority had made it");

    let other = Settings { contact: vec!["mailto:other@example.com".into()], ..settings.clone() };
    assert_ne!(disk.open(&other).unwrap().account(), first, "another contact, another account");
    assert_eq!(account::all(&disk.root, disk.accounts()).unwrap().len(), 2);

    let before = fs::read(at("key.pem")).unwrap();
    fs::write(at("next-key.pem"), key().to_pem(Container::Pkcs8).unwrap().reveal()).unwrap();
    assert_eq!(open().account(), first, "cut off before the new key was sent");
    assert!(!at("next-key.pem").exists());
    assert_eq!(fs::read(at("key.pem")).unwrap(), before);

    let mut connection = open();
    connection.roll_over(&disk.root).unwrap();
    assert_eq!(connection.show().unwrap()["status"], "valid", "goes on with the new key");
    let after = fs::read(at("key.pem")).unwrap();
    assert_ne!(after, before);
    assert!(!at("next-key.pem").exists());
    fs::rename(at("key.pem"), at("next-key.pem")).unwrap();
    fs::write(at("key.pem"), &before).unwrap();
    let connection = open();
    assert_eq!(connection.account(), first, "cut off after the authority had taken the new key");
    assert_eq!(fs::read(at("key.pem")).unwrap(), after);
    assert_eq!(connection.show().unwrap()["status"], "valid");

    connection.deactivate(&disk.root).unwrap();
    assert!(!at("").exists());
    let second = open().account().to_owned();
    assert_ne!(second, first, "a closed account stays closed");

    let text = fs::read_to_string(at("account.toml")).unwrap();
    open().deactivate(&disk.root).unwrap();
    fs::create_dir(at("")).unwrap();
    fs::write(at("account.toml"), format!("{text}closed = true\n")).unwrap();
    assert_ne!(open().account(), second, "cut off while a closed one was taken away");
}

#[test]
fn accounts_are_bound_where_that_is_wanted() {
    let Some(pebble) = Pebble::start(&[], true) else { return };
    let bound = |secret: &[u8]| Settings {
        binding: Some(Binding { key_id: "kid-1".into(), secret: Zeroizing::new(secret.to_vec()) }),
        ..pebble.settings()
    };
    let disk = Disk::new();
    let error = disk.open(&pebble.settings()).expect_err("no binding").to_string();
    assert!(error.contains("ca_eab_kid"), "{error}");
    disk.open(&bound(b"wrong")).expect_err("another secret");
    let secret = reseed::manager::acme::jws::decode(SECRET).unwrap();
    let first = disk.open(&bound(&secret)).unwrap();
    assert_eq!(disk.open(&bound(&secret)).unwrap().account(), first.account());
}

#[test]
fn certbots_account_is_taken_over_as_it_is() {
    let Some(pebble) = Pebble::start(&[], false) else { return };
    if !support::has("certbot") {
        return;
    }
    let (disk, settings) = (Disk::new(), pebble.settings());
    let place = disk.root.directory().join("letsencrypt");
    let done = Command::new("certbot")
        .args([
            "register",
            "--non-interactive",
            "--agree-tos",
            "--no-eff-email",
            "-m",
            "a@example.com",
            "--server",
        ])
        .arg(&settings.directory)
        .args(["--config-dir", place.to_str().unwrap(), "--work-dir", place.to_str().unwrap()])
        .args(["--logs-dir", place.to_str().unwrap()])
        .env("REQUESTS_CA_BUNDLE", pebble.at("ca.crt"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let found = walkdir::WalkDir::new(place.join("accounts")).into_iter().filter_map(Result::ok);
    let key_file =
        found.map(walkdir::DirEntry::into_path).find(|path| path.ends_with("private_key.json")).unwrap();
    let outside = key_file.parent().unwrap();
    let inside = Path::new("/").join(outside.strip_prefix(disk.root.directory()).unwrap());
    let registration: serde_json::Value =
        serde_json::from_slice(&fs::read(outside.join("regr.json")).unwrap()).unwrap();
    let before = fs::read(&key_file).unwrap();

    let now = OffsetDateTime::from(std::time::SystemTime::now());
    let import = |settings| account::import(&disk.root, disk.accounts(), settings, &inside, now);
    let url = import(&settings).unwrap();
    assert_eq!(url, registration["uri"].as_str().unwrap());
    assert_eq!(import(&settings).unwrap(), url, "once more");
    let mut connection = disk.open(&settings).unwrap();
    assert_eq!(connection.account(), url);
    let own = key();
    let (result, _) =
        one(&connection, &wish("web", &["a.example.com"], Validation::Http, &own), &Says::default());
    result.unwrap();
    assert_eq!(fs::read(&key_file).unwrap(), before, "certbot goes on with it");

    connection.roll_over(&disk.root).unwrap();
    assert_eq!(connection.algorithm(), Algorithm::P256);
    let error = import(&settings).expect_err("the key is another now").to_string();
    assert!(error.contains("there is an account"), "{error}");
    let fresh = Settings { contact: vec!["mailto:c@example.com".into()], ..settings.clone() };
    let error = import(&fresh).expect_err("the authority knows the new key only").to_string();
    assert!(error.contains("does not know the account") && error.contains(&url), "{error}");
}

/// Half of all nonces are refused: the library alone would give up on every eighth request.
#[test]
fn twenty_orders_at_once() {
    let Some(pebble) = Pebble::start(&[("PEBBLE_WFE_NONCEREJECT", "50")], false) else { return };
    let (disk, settings) = (Disk::new(), pebble.settings());
    let connection = disk.open(&settings).unwrap();
    let own = key();
    let mut wishes: Vec<Wish> = (0..17)
        .map(|number| {
            wish(&format!("web{number}"), &[&format!("w{number}.example.com")], Validation::Http, &own)
        })
        .collect();
    wishes.push(wish("wild", &["example.com", "*.example.com"], Validation::Dns, &own));
    // Not both in one: Debian's Pebble sorts addresses of both kinds one way in the order, another in the request.
    wishes.push(wish("address", &["192.0.2.7"], Validation::Alpn, &own));
    wishes.push(wish("address6", &["2001:db8::7"], Validation::Alpn, &own));
    let prover = Says::default();
    let (urls, steps) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeMap::<Step, usize>::new()));
    let ordered = |_: &ServiceName, url: &str| {
        urls.lock().unwrap().insert(url.to_owned());
    };
    let progress = |progress: Progress| *steps.lock().unwrap().entry(progress.step).or_default() += 1;
    let start = Instant::now();
    let results = issue(&connection, &wishes, &prover, &ordered, &progress);
    eprintln!("20 orders, every other nonce refused: {:?}", start.elapsed());
    assert_eq!(results.len(), 20);
    for wish in &wishes {
        let granted =
            results[&wish.service].as_ref().unwrap_or_else(|error| panic!("{}: {error}", wish.service));
        assert_eq!(granted.note, None);
        let asked = x509::read_request(&wish.csr).unwrap();
        Chain::parse(granted.chain.as_bytes()).unwrap().fits(&asked, &wish.identifiers).unwrap();
    }
    assert_eq!(urls.into_inner().unwrap().len(), 20);
    let steps = steps.into_inner().unwrap();
    for step in [Step::Ordered, Step::Proving, Step::Validating, Step::Finalizing, Step::Granted] {
        assert_eq!(steps.get(&step), Some(&20), "{step:?}");
    }
    let proven = prover.proven.into_inner().unwrap();
    assert_eq!(proven.len(), 21);
    assert_eq!(proven, prover.withdrawn.into_inner().unwrap());
    let wild: BTreeSet<_> =
        proven.iter().filter(|one| one.kind == Validation::Dns).map(Proof::dns_name).collect();
    assert_eq!(wild, BTreeSet::from(["_acme-challenge.example.com".to_owned()]), "one name, two records");
}

#[test]
fn a_name_that_is_not_seen_is_not_sent_to_validation() {
    let Some(pebble) = Pebble::start(&[], false) else { return };
    let connection = Disk::new().open(&pebble.settings()).unwrap();
    let own = key();
    let wishes = [
        wish("web", &["a.example.com", "b.example.com"], Validation::Dns, &own),
        wish("mail", &["c.example.com"], Validation::Dns, &own),
    ];
    let prover = Says { unseen: Some("b.example.com"), ..Says::default() };
    let urls = Mutex::new(BTreeMap::new());
    let ordered = |name: &ServiceName, url: &str| {
        urls.lock().unwrap().insert(name.clone(), url.to_owned());
    };
    let steps = Mutex::new(Vec::new());
    let progress =
        |progress: Progress| steps.lock().unwrap().push((progress.service.to_string(), progress.step));
    let results = issue(&connection, &wishes, &prover, &ordered, &progress);
    match &results[&wishes[0].service] {
        Err(Refusal::Ours { error }) => {
            let expected = "not sent to validation: b.example.com, dns-01: ns2.example does not show it";
            assert_eq!(error, expected);
        }
        other => panic!("{other:?}"),
    }
    results[&wishes[1].service].as_ref().expect("the other order is not held up");
    let steps = steps.into_inner().unwrap();
    assert!(!steps.contains(&("example.com/web".into(), Step::Validating)), "{steps:?}");
    assert_eq!(prover.withdrawn.lock().unwrap().len(), 3, "everything is taken away again");

    // The order is as it was: the next run goes on with it.
    let old = urls.lock().unwrap()[&wishes[0].service].clone();
    let again = Wish { resume: Some(old.clone()), ..wishes[0].clone() };
    let (result, urls) = one(&connection, &again, &Says::default());
    result.unwrap();
    assert_eq!(urls.len(), 1);
    assert_eq!(urls[0], old);
}

#[test]
fn an_order_is_gone_on_with_wherever_a_run_was_cut_off() {
    let Some(pebble) = Pebble::start(&[], false) else { return };
    let (disk, settings) = (Disk::new(), pebble.settings());
    let own = key();
    for (step, again) in [
        (Step::Ordered, true),
        (Step::Proving, true),
        (Step::Validating, true),
        (Step::Finalizing, true),
        (Step::Granted, false),
    ] {
        let wanted = wish("web", &["a.example.com", "b.example.com"], Validation::Http, &own);
        let urls = Mutex::new(Vec::new());
        let ordered = |_: &ServiceName, url: &str| urls.lock().unwrap().push(url.to_owned());
        let cut = |progress: Progress| assert_ne!(progress.step, step, "cut off");
        let connection = disk.open(&settings).unwrap();
        let run = || issue(&connection, std::slice::from_ref(&wanted), &Says::default(), &ordered, &cut);
        catch_unwind(AssertUnwindSafe(run)).expect_err("it is cut off");
        let url = urls.into_inner().unwrap().pop().unwrap();

        let connection = disk.open(&settings).unwrap();
        let (result, urls) =
            one(&connection, &Wish { resume: Some(url.clone()), ..wanted.clone() }, &Says::default());
        let granted = result.unwrap_or_else(|error| panic!("{step:?}: {error}"));
        let expected = if again { vec![url.clone()] } else { Vec::new() };
        assert_eq!(urls, expected, "{step:?}: no second order");

        // The key of that run is lost: the certificate is no use, and another is ordered.
        let fresh = key();
        let lost =
            Wish { resume: Some(url.clone()), ..wish("web", &["a.example.com"], Validation::Http, &fresh) };
        let (result, urls) = one(&connection, &lost, &Says::default());
        assert_ne!(der(&result.unwrap()), der(&granted));
        assert_eq!(urls.len(), 1, "{step:?}");
    }
    let gone = format!("https://127.0.0.1:{}/my-order/gone", pebble.port);
    let wanted = Wish { resume: Some(gone), ..wish("web", &["a.example.com"], Validation::Http, &own) };
    let (result, urls) = one(&disk.open(&settings).unwrap(), &wanted, &Says::default());
    result.unwrap();
    assert_eq!(urls.len(), 1, "what the authority does not know is ordered anew");
}

#[test]
fn the_preferred_chain_and_what_an_authority_does_not_have() {
    let environment = [("PEBBLE_ALTERNATE_ROOTS", "2"), ("PEBBLE_CHAIN_LENGTH", "2")];
    let Some(pebble) = Pebble::start(&environment, false) else { return };
    if !support::has("curl") {
        return;
    }
    let connection = Disk::new().open(&pebble.settings()).unwrap();
    let own = key();
    for number in 0..3 {
        let root = pebble.root(number);
        let wanted = wish("web", &["a.example.com"], Validation::Http, &own);
        let wanted = Wish { preferred_chain: Some(root.clone()), ..wanted };
        let granted = one(&connection, &wanted, &Says::default()).0.unwrap();
        assert!(Chain::parse(granted.chain.as_bytes()).unwrap().leads_to(&root), "{root}");
        assert_eq!(granted.note, None, "{root}");
    }
    let wanted = wish("web", &["a.example.com"], Validation::Http, &own);
    let wanted = Wish {
        preferred_chain: Some("Nobody".into()),
        profile: Some("nosuch".into()),
        replaces: Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".into()),
        ..wanted
    };
    let granted = one(&connection, &wanted, &Says::default()).0.unwrap();
    let note = granted.note.clone().unwrap();
    assert!(
        note.contains("no chain leads to \"Nobody\"") && note.contains("no profile \"nosuch\""),
        "{note}"
    );

    // Debian's Pebble does not know it.
    let asked = [(wanted.service.clone(), der(&granted))];
    let now = OffsetDateTime::from(std::time::SystemTime::now());
    assert!(renewal_info(&pebble.settings(), &asked, now).unwrap().is_none());
}

#[test]
fn revoked_by_the_account_or_by_the_certificates_own_key() {
    let Some(pebble) = Pebble::start(&[], false) else { return };
    let connection = Disk::new().open(&pebble.settings()).unwrap();
    for algorithm in [Algorithm::P256, Algorithm::P384, Algorithm::Rsa(2048)] {
        let own = PrivateKey::generate(algorithm).unwrap();
        let wanted = wish("web", &["a.example.com"], Validation::Http, &own);
        let [by_account, by_key] =
            [(); 2].map(|()| der(&one(&connection, &wanted, &Says::default()).0.unwrap()));
        let error = revoke(&connection, &by_key, Reason::KeyCompromise, By::Key(&key()));
        error.expect_err("another's key");
        revoke(&connection, &by_key, Reason::KeyCompromise, By::Key(&own)).unwrap();
        revoke(&connection, &by_account, Reason::Superseded, By::Account).unwrap();
        revoke(&connection, &by_account, Reason::Superseded, By::Account)
            .expect("it is revoked already, which is what was wanted");
    }
}

#[test]
fn why_a_validation_has_failed() {
    let Some(pebble) = Pebble::start(&[("PEBBLE_VA_ALWAYS_VALID", "0")], false) else { return };
    let connection = Disk::new().open(&pebble.settings()).unwrap();
    let own = key();
    for (kind, name) in
        [(Validation::Http, "http-01"), (Validation::Dns, "dns-01"), (Validation::Alpn, "tls-alpn-01")]
    {
        let prover = Says::default();
        let (result, _) = one(&connection, &wish("web", &["a.example.com"], kind, &own), &prover);
        let Err(Refusal::Ours { error }) = result else { panic!("{result:?}") };
        assert!(error.contains(&format!("a.example.com, {name}: ")), "{error}");
        for proof in prover.proven.into_inner().unwrap() {
            assert!(!error.contains(&proof.token), "{error}");
        }
    }
}

/// An authority that answers what the test wants, for what Debian's Pebble does not do.
struct StandIn {
    directory: TempDir,
    port: u16,
    /// What was sent to it: path and payload.
    heard: Arc<Mutex<Vec<(String, serde_json::Value)>>>,
}

/// Path, payload, how often this path was asked before: status, further headers, body.
type Answers = fn(&str, &serde_json::Value, usize) -> (u16, String, serde_json::Value);

impl StandIn {
    fn start(answers: Answers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        own_certificate(directory.path());
        let read =
            |name: &str| pem::parse(fs::read(directory.path().join(name)).unwrap()).unwrap().into_contents();
        let key = rustls::pki_types::PrivateKeyDer::try_from(read("tls.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![read("tls.crt").into()], key)
            .unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<(String, serde_json::Value)>>> = Arc::default();
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream);
                let _ = Self::serve(&mut stream, port, &all, answers);
            }
        });
        Self { directory, port, heard }
    }

    fn serve(
        stream: &mut (impl Read + Write),
        port: u16,
        heard: &Mutex<Vec<(String, serde_json::Value)>>,
        answers: Answers,
    ) -> std::io::Result<()> {
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        let body = loop {
            let count = stream.read(&mut chunk)?;
            request.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .to_lowercase()
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
            if body.len() >= length {
                break body.to_owned();
            }
        };
        let path = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap().to_owned();
        let signed: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let payload = signed["payload"].as_str().unwrap_or_default();
        let payload = reseed::manager::acme::jws::decode(payload).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
        let mut heard = heard.lock().unwrap();
        let before = heard.iter().filter(|(other, _)| *other == path).count();
        heard.push((path.clone(), payload.clone()));
        let at = |name: &str| format!("https://127.0.0.1:{port}/{name}");
        let (status, headers, body) = match path.as_str() {
            "/dir" => (
                200,
                String::new(),
                serde_json::json!({
                    "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
                    "renewalInfo": at("ari"), "meta": { "profiles": { "short": "six days" } },
                }),
            ),
            "/nonce" => (200, String::new(), serde_json::Value::Null),
            "/account" => {
                (201, format!("Location: {}\r\n", at("account/1")), serde_json::json!({"status": "valid"}))
            }
            _ => answers(&path, &payload, before),
        };
        // Nobody is told anything: the connection ends.
        if status == 0 {
            return Ok(());
        }
        let body = if path == "/nonce" { String::new() } else { body.to_string().replace("AT/", &at("")) };
        let headers = headers.replace("AT/", &at(""));
        let kind = if status < 400 { "application/json" } else { "application/problem+json" };
        write!(
            stream,
            "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nReplay-Nonce: bm9uY2U\r\n\
             Connection: close\r\n{headers}\r\n{body}",
            body.len()
        )?;
        stream.flush()
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::new(format!("https://127.0.0.1:{}/dir", self.port));
        settings.bounds.trust = Some(fs::read(self.directory.path().join("ca.crt")).unwrap());
        settings.bounds.requests_per_second = 1000;
        settings
    }

    fn open(&self) -> (Disk, Connection) {
        let disk = Disk::new();
        let connection = disk.open(&self.settings()).unwrap();
        (disk, connection)
    }

    fn heard(&self, path: &str) -> Vec<serde_json::Value> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(other, _)| other == path).map(|(_, payload)| payload.clone()).collect()
    }
}

/// An order that has failed already: how it came to be is what is looked at.
fn failed_order() -> (u16, String, serde_json::Value) {
    let order = serde_json::json!({
        "status": "pending", "authorizations": ["AT/authz"], "finalize": "AT/finalize",
    });
    (201, "Location: AT/order/1\r\n".into(), order)
}

fn problem(status: u16, kind: &str, headers: &str) -> (u16, String, serde_json::Value) {
    let kind = format!("urn:ietf:params:acme:error:{kind}");
    (status, headers.to_owned(), serde_json::json!({ "type": kind, "detail": "said so" }))
}

#[test]
fn an_authority_that_limits_says_until_when() {
    let stand_in = StandIn::start(|path, _, _| match path {
        "/order" => problem(429, "rateLimited", "Retry-After: 3600\r\n"),
        _ => problem(404, "malformed", ""),
    });
    let (_disk, connection) = stand_in.open();
    let start = OffsetDateTime::from(std::time::SystemTime::now());
    let (result, urls) =
        one(&connection, &wish("web", &["a.example.com"], Validation::Http, &key()), &Says::default());
    let Err(Refusal::Authority { error, not_before: Some(until) }) = result else { panic!("{result:?}") };
    assert!(error.contains("said so (rateLimited)"), "{error}");
    assert!((3600..3660).contains(&(until - start).whole_seconds()), "{until}");
    assert_eq!((urls.len(), stand_in.heard("/order").len()), (0, 1), "it is not asked twice");
}

#[test]
fn what_breaks_off_is_sent_again_and_what_is_not_wanted_is_left_out() {
    let stand_in = StandIn::start(|path, payload, before| match (path, before) {
        ("/order", 0) => (0, String::new(), serde_json::Value::Null),
        ("/order", 1) => problem(503, "serverInternal", "Retry-After: 1\r\n"),
        ("/order", _) if payload.get("replaces").is_some() => problem(409, "alreadyReplaced", ""),
        ("/order", _) if payload.get("profile").is_some() => problem(400, "invalidProfile", ""),
        ("/order", _) => failed_order(),
        ("/authz", _) => (
            200,
            String::new(),
            serde_json::json!({
                "status": "pending", "identifier": { "type": "dns", "value": "a.example.com" },
                "challenges": [{ "type": "dns-persist-01", "url": "AT/c", "status": "pending", "token": "t" }],
            }),
        ),
        _ => problem(404, "malformed", ""),
    });
    let (_disk, connection) = stand_in.open();
    let wanted = Wish {
        replaces: Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".into()),
        profile: Some("short".into()),
        ..wish("web", &["a.example.com"], Validation::Http, &key())
    };
    let (result, urls) = one(&connection, &wanted, &Says::default());
    let Err(Refusal::Ours { error }) = result else { panic!("{result:?}") };
    assert!(
        error.contains("a.example.com: the authority does not offer http-01, only dns-persist-01"),
        "{error}"
    );
    assert_eq!(urls, [format!("https://127.0.0.1:{}/order/1", stand_in.port)]);
    let sent: Vec<_> = stand_in
        .heard("/order")
        .iter()
        .map(|order| (order["profile"].as_str() == Some("short"), order.get("replaces").is_some()))
        .collect();
    assert_eq!(sent, [(true, true), (true, true), (true, true), (true, false), (false, false)]);
    let given_back = stand_in.heard("/authz");
    assert_eq!(given_back.last().unwrap()["status"], "deactivated", "no order rots");
}

#[test]
fn an_order_that_takes_its_time_is_left_to_a_later_run() {
    let stand_in = StandIn::start(|path, _, before| match path {
        "/order" | "/order/1" => {
            let order = serde_json::json!({
                "status": if before == 0 { "pending" } else { "processing" },
                "authorizations": ["AT/authz"], "finalize": "AT/finalize",
            });
            let wait = if before == 0 { "" } else { "Retry-After: 600\r\n" };
            (200, format!("Location: AT/order/1\r\n{wait}"), order)
        }
        "/authz" => (
            200,
            String::new(),
            serde_json::json!({
                "status": "valid", "identifier": { "type": "dns", "value": "a.example.com" }, "challenges": [],
            }),
        ),
        _ => problem(404, "malformed", ""),
    });
    let (_disk, connection) = stand_in.open();
    let wanted = wish("web", &["a.example.com"], Validation::Http, &key());
    let (prover, start) = (Says::default(), OffsetDateTime::from(std::time::SystemTime::now()));
    let (result, _) = one(&connection, &wanted, &prover);
    let Err(Refusal::Authority { error, not_before: Some(until) }) = result else { panic!("{result:?}") };
    assert!(error.contains("not done yet"), "{error}");
    assert!((600..660).contains(&(until - start).whole_seconds()), "{until}");
    assert!(prover.proven.into_inner().unwrap().is_empty(), "what is valid already is not proven again");
}

#[test]
fn an_account_that_the_authority_has_forgotten() {
    let stand_in = StandIn::start(|_, _, _| problem(400, "accountDoesNotExist", ""));
    let (_disk, connection) = stand_in.open();
    let wanted = wish("web", &["a.example.com"], Validation::Http, &key());
    let error = one(&connection, &wanted, &Says::default()).0.expect_err("no account").to_string();
    assert!(error.contains("account/1 made anew, remove \"/top/.reseed/accounts/"), "{error}");
}

#[test]
fn no_more_requests_in_a_second_than_the_site_allows() {
    let stand_in = StandIn::start(|_, _, _| (200, String::new(), serde_json::json!({ "status": "valid" })));
    let mut settings = Settings::new(format!("https://127.0.0.1:{}/dir", stand_in.port));
    settings.bounds.trust = Some(fs::read(stand_in.directory.path().join("ca.crt")).unwrap());
    settings.bounds.requests_per_second = 4;
    let start = Instant::now();
    // The directory, which brings a nonce, and the account; two more, and the fifth has to wait.
    let connection = Disk::new().open(&settings).unwrap();
    (0..3).for_each(|_| drop(connection.show().unwrap()));
    assert!(start.elapsed() >= Duration::from_millis(990), "{:?}", start.elapsed());
}

#[test]
fn when_an_authority_wants_a_renewal() {
    let stand_in = StandIn::start(|path, _, before| match before {
        _ if !path.starts_with("/ari/") => problem(404, "malformed", ""),
        0 => (
            200,
            "Retry-After: 7200\r\n".into(),
            serde_json::json!({ "suggestedWindow": {
            "start": "2026-01-02T04:00:00Z", "end": "2026-01-03T04:00:00Z" }, "explanationURL": "https://a/why" }),
        ),
        _ => (
            200,
            String::new(),
            serde_json::json!({ "suggestedWindow": {
            "start": "2026-01-03T04:00:00Z", "end": "2026-01-02T04:00:00Z" } }),
        ),
    });
    let leaf =
        pem::parse(fs::read(stand_in.directory.path().join("tls.crt")).unwrap()).unwrap().into_contents();
    let service = ServiceName::new("example.com", "web").unwrap();
    let now = OffsetDateTime::from(std::time::SystemTime::now());
    let asked = [(service.clone(), leaf)];
    let told = || renewal_info(&stand_in.settings(), &asked, now).unwrap().unwrap().remove(&service).unwrap();
    let window = told().unwrap();
    assert_eq!(
        (window.end - window.start, window.ask_again - now),
        (time::Duration::DAY, time::Duration::hours(2))
    );
    assert_eq!(window.explanation.as_deref(), Some("https://a/why"));
    let error = told().expect_err("turned round");
    assert!(error.to_string().contains("ends before it begins"), "{error}");
}

#[test]
fn an_authority_that_is_not_there() {
    let mut settings = Settings::new(format!("https://127.0.0.1:{}/dir", free_port()));
    settings.bounds.timeout = Duration::from_secs(1);
    settings.bounds.retries = 1;
    let disk = Disk::new();
    own_certificate(disk.root.directory());
    settings.bounds.trust = Some(fs::read(disk.root.directory().join("ca.crt")).unwrap());
    match disk.open(&settings).expect_err("nobody answers") {
        Refusal::Authority { error, not_before: None } => {
            assert!(error.contains("onnection refused"), "{error}")
        }
        other => panic!("{other:?}"),
    }
    let Some(pebble) = Pebble::start(&[], false) else { return };
    let stranger = Settings { bounds: settings.bounds, ..pebble.settings() };
    let error = disk.open(&stranger).expect_err("another's certificate").to_string();
    assert!(error.contains("certificate"), "{error}");
}
