//! Names proven to a real authority, Pebble, by servers of ours and by files that a web server shows.
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

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reseed::manager::acme::account::{Connection, Settings};
use reseed::manager::acme::prove::Provers;
use reseed::manager::acme::{Granted, Identifier, Refusal, Wish, issue};
use reseed::manager::config::{Acme, Servers, Site, Sort, Validation};
use reseed::manager::name::ServiceName;
use reseed::manager::run::World;
use reseed::manager::tree::Tree;
use reseed::pki::key::PrivateKey;
use reseed::pki::x509::{AlternativeName, Name, request};
use reseed::pki::{Algorithm, Digest};
use reseed::system::clock;
use reseed::system::root::Root;

/// A program that is ended when it is dropped.
struct Program(Child);

impl Program {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0");
        Self(command.spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn wait_for(port: u16) {
    let started = Instant::now();
    while !is_open(port) {
        assert!(started.elapsed() < Duration::from_secs(20), "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An authority that looks at ports of this machine, whatever the name.
struct Authority {
    directory: tempfile::TempDir,
    http: u16,
    tls: u16,
    url: String,
    _programs: [Program; 2],
}

impl Authority {
    fn start() -> Option<Self> {
        if !["pebble", "pebble-challtestsrv", "openssl"].into_iter().all(support::has) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
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
                "2",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args([
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                &at("key.pem"),
                "-out",
                &at("cert.pem"),
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let [acme, management, http, tls, dns, tests] = [(); 6].map(|()| free_port());
        let config = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:{acme}", "managementListenAddress": "127.0.0.1:{management}",
            "certificate": {:?}, "privateKey": {:?}, "httpPort": {http}, "tlsPort": {tls},
            "ocspResponderURL": "", "externalAccountBindingRequired": false}}}}"#,
            at("cert.pem"),
            at("key.pem")
        );
        fs::write(at("pebble.json"), config).unwrap();
        let (dns, tests) = (format!("127.0.0.1:{dns}"), format!("127.0.0.1:{tests}"));
        let names = Program::start(
            "pebble-challtestsrv",
            &[
                "-defaultIPv4",
                "127.0.0.1",
                "-defaultIPv6",
                "",
                "-dns01",
                &dns,
                "-management",
                &tests,
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
            ],
        );
        let pebble = Program::start("pebble", &["-config", &at("pebble.json"), "-dnsserver", &dns]);
        wait_for(acme);
        let url = format!("https://localhost:{acme}/dir");
        fs::create_dir(directory.path().join(".reseed")).unwrap();
        Some(Self { directory, http, tls, url, _programs: [names, pebble] })
    }

    fn config(&self) -> Acme {
        Acme {
            validation: None,
            preferred_chain: None,
            profile: None,
            directory: self.url.clone(),
            test_directory: None,
            trust: Some(self.directory.path().join("cert.pem")),
            contact: Vec::new(),
            binding: None,
            parallel_orders: 10,
            requests_per_second: 100,
            http_listen: format!("[::]:{}", self.http).parse().unwrap(),
            tls_listen: format!("[::]:{}", self.tls).parse().unwrap(),
        }
    }

    /// Orders a certificate for each of some services, with everything that a run has.
    fn issue(&self, site: &Site, wishes: &[Wish]) -> BTreeMap<ServiceName, Result<Granted, Refusal>> {
        let root = Root::open(Path::new("/")).unwrap();
        let top = self.directory.path().to_owned();
        let (tree, config) = (Tree::new(&root, &top), self.config());
        let world = World {
            root: &root,
            top: top.clone(),
            config: None,
            now: clock::now(),
            host: "here.example.com".into(),
            tell: |_| {},
        };
        let settings = Settings::read(&root, &config, false).unwrap();
        let connection = Connection::open(&root, &tree.own("accounts"), &settings, world.now).unwrap();
        let shell = |host: &str, _: &str, _: &[u8]| Err(format!("nobody is to go to {host}"));
        let provers = Provers::with(&world, &tree, site, &config).through(shell);
        issue(&connection, wishes, &provers, &|_, _| (), &|_| ())
    }
}

fn wish(service: &str, kind: Validation, names: &[&str]) -> Wish {
    let identify = |name: &&str| match name.parse() {
        Ok(address) => Identifier::Ip(address),
        Err(_) => Identifier::Dns((*name).to_owned()),
    };
    let identifiers: Vec<_> = names.iter().map(identify).collect();
    let alternative = |identifier: &Identifier| match identifier {
        Identifier::Dns(name) => AlternativeName::Dns(name.clone()),
        Identifier::Ip(address) => AlternativeName::Address(*address),
    };
    let asked: Vec<_> = identifiers.iter().map(alternative).collect();
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    Wish {
        service: ServiceName::parse(service).unwrap(),
        csr: request(&Name::default(), &asked, &key, Digest::Sha256).unwrap(),
        identifiers,
        kind,
        profile: None,
        preferred_chain: None,
        replaces: None,
        resume: None,
    }
}

/// The names in a certificate, as OpenSSL reads them.
fn names(granted: &Granted, directory: &Path) -> String {
    let file = directory.join("granted.pem");
    fs::write(&file, &granted.chain).unwrap();
    let shown = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName", "-in", file.to_str().unwrap()])
        .output()
        .unwrap();
    String::from_utf8(shown.stdout).unwrap().lines().nth(1).unwrap_or_default().trim().to_owned()
}

#[test]
fn names_and_addresses_are_proven_by_servers_of_our_own() {
    for kind in [Validation::Http, Validation::Alpn] {
        // Another one each time: it would remember what has been proven to it.
        let Some(authority) = Authority::start() else { return };
        let port = if kind == Validation::Http { authority.http } else { authority.tls };
        let wishes = [
            wish("one.test/web", kind, &["one.test", "www.one.test", "127.0.0.1"]),
            wish("two.test/web", kind, &["two.test"]),
        ];
        let results = authority.issue(&Site::default(), &wishes);
        for (wish, expected) in
            wishes.iter().zip(["DNS:one.test, DNS:www.one.test, IP Address:127.0.0.1", "DNS:two.test"])
        {
            let granted = results[&wish.service].as_ref().unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            assert_eq!(names(granted, authority.directory.path()), expected, "{kind:?}");
        }
        assert!(!is_open(port), "{kind:?}: nothing is left of it");
    }
}

#[test]
fn a_name_for_two_certificates_is_proven_by_tls_one_after_the_other() {
    let Some(authority) = Authority::start() else { return };
    let wishes = [
        wish("one.test/web-ec", Validation::Alpn, &["one.test"]),
        wish("one.test/web-rsa", Validation::Alpn, &["one.test"]),
    ];
    let results = authority.issue(&Site::default(), &wishes);
    let late: Vec<_> = wishes.iter().filter(|wish| results[&wish.service].is_err()).cloned().collect();
    assert_eq!(late.len(), 1, "{results:?}");
    for late in &late {
        let refusal = results[&late.service].as_ref().unwrap_err().to_string();
        assert!(refusal.contains("one after the other"), "{refusal}");
    }
    assert!(authority.issue(&Site::default(), &late).values().all(Result::is_ok));
}

#[test]
fn names_are_proven_by_files_that_a_web_server_shows() {
    let Some(authority) = Authority::start() else { return };
    if !support::has("python3") {
        return;
    }
    let web_root = authority.directory.path().join("www");
    fs::create_dir_all(web_root.join("one.test")).unwrap();
    let site = Site {
        servers: vec![Servers {
            sort: Sort::Web,
            hosts: vec!["here".into()],
            restart: Vec::new(),
            depends: Default::default(),
            services: Vec::new(),
            web_root: Some(web_root.clone()),
            skip_copy: false,
            roots: Vec::new(),
            owner: None,
            key_mode: None,
            probes: Vec::new(),
        }],
        ..Site::default()
    };
    let (port, shown) = (authority.http.to_string(), web_root.join("one.test"));
    let _server = Program::start("python3", &["-m", "http.server", "-d", shown.to_str().unwrap(), &port]);
    wait_for(authority.http);
    let wish = wish("one.test/web", Validation::Http, &["one.test", "127.0.0.1"]);
    let results = authority.issue(&site, std::slice::from_ref(&wish));
    let granted = results[&wish.service].as_ref().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(names(granted, authority.directory.path()), "DNS:one.test, IP Address:127.0.0.1");
    assert!(shown.exists() && !shown.join(".well-known").exists(), "what was made is gone, and nothing else");
    assert!(!authority.directory.path().join(".reseed/tokens.toml").exists());

    // Where another program has the port, and shows nothing, the error says so and the port's own stays.
    let results = authority.issue(&Site::default(), std::slice::from_ref(&wish));
    let refusal = results[&wish.service].as_ref().map(drop).unwrap_err().to_string();
    assert!(refusal.contains("is taken by another program; give [web] server_dir"), "{refusal}");
    assert!(is_open(authority.http));
}
