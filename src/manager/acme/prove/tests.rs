use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::manager::acme::Identifier;
use crate::manager::config::Sort;
use crate::manager::name::ServiceName;
use crate::system::clock;
use crate::system::root::Root;

const OWN: &str = "here.example.com";
const OTHER: &str = "www2.example.com";
const DOWN: &str = "www3.example.com";

fn proof(kind: Validation, service: &str, identifier: &str, token: &str) -> Proof {
    Proof {
        service: ServiceName::parse(service).unwrap(),
        identifier: match identifier.parse() {
            Ok(address) => Identifier::Ip(address),
            Err(_) => Identifier::Dns(identifier.to_owned()),
        },
        kind,
        token: token.to_owned(),
        key_authorization: format!("{token}.thumbprint"),
    }
}

/// Names that nobody has, so that nobody is asked for them.
fn tokens() -> [Proof; 3] {
    [
        proof(Validation::Http, "example.com/web", "www.one.invalid", "one_-1"),
        proof(Validation::Http, "example.com/web", "two.invalid", "-two"),
        proof(Validation::Http, "example.net/web", "three.invalid", "three"),
    ]
}

fn authority(listen: &str) -> Acme {
    Acme {
        validation: None,
        preferred_chain: None,
        profile: None,
        directory: String::new(),
        test_directory: None,
        trust: None,
        contact: Vec::new(),
        binding: None,
        parallel_orders: 1,
        requests_per_second: 1,
        http_listen: listen.parse().unwrap(),
        tls_listen: listen.parse().unwrap(),
    }
}

/// A site in a directory; other hosts are this one, reached by a shell of their own.
struct Bench {
    directory: tempfile::TempDir,
    root: Root,
    site: Site,
    is_down: AtomicBool,
    told: Mutex<Vec<String>>,
}

impl Bench {
    /// With the tokens of these hosts below a directory whose name a shell could misread.
    fn new(hosts: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(".reseed")).unwrap();
        let web_root = directory.path().join("w $(touch x) 'w' \\");
        fs::create_dir(&web_root).unwrap();
        let web = Servers {
            sort: Sort::Web,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            restart: Vec::new(),
            depends: BTreeSet::new(),
            services: Vec::new(),
            web_root: Some(web_root),
            skip_copy: false,
            roots: Vec::new(),
            owner: None,
            key_mode: None,
            probes: Vec::new(),
        };
        Self {
            directory,
            root: Root::open(Path::new("/")).unwrap(),
            site: Site { servers: vec![web], ..Site::default() },
            is_down: AtomicBool::new(true),
            told: Mutex::default(),
        }
    }

    fn web_root(&self) -> PathBuf {
        self.site.servers[0].web_root.clone().unwrap()
    }

    fn file(&self, group: &str, token: &str) -> PathBuf {
        self.web_root().join(group).join(".well-known/acme-challenge").join(token)
    }

    fn record(&self) -> String {
        fs::read_to_string(self.directory.path().join(".reseed/tokens.toml")).unwrap_or_default()
    }

    fn shell(&self, host: &str, script: &str, input: &[u8]) -> Result<String, String> {
        if host == DOWN && self.is_down.load(Ordering::SeqCst) {
            return Err("no route to host".to_owned());
        }
        for line in String::from_utf8_lossy(input).lines().filter_map(|line| line.strip_prefix("write ")) {
            let token = line.rsplit('/').next().unwrap();
            assert!(self.record().contains(token), "written down before it is there");
        }
        // As over ssh, with a host that greets.
        Door::Here.script(&format!("echo Welcome\n{script}"), &[], input)
    }

    /// What a run does with provers of its own.
    fn run<T>(&self, act: impl FnOnce(&Provers<'_>) -> T) -> T {
        self.run_at("[::]:0", act)
    }

    fn run_at<T>(&self, listen: &str, act: impl FnOnce(&Provers<'_>) -> T) -> T {
        let (root, top) = (&self.root, self.directory.path().to_owned());
        let world = World { root, top, config: None, now: clock::now(), host: OWN.to_owned(), tell: |_| {} };
        let shell = |host: &str, script: &str, input: &[u8]| self.shell(host, script, input);
        let tell = |line: &str| held(&self.told).push(line.to_owned());
        let tree = Tree::new(root, &world.top);
        act(&Provers::with(&world, &tree, &self.site, &authority(listen)).through(shell).telling(tell))
    }
}

fn prove(provers: &Provers<'_>, proofs: &[Proof]) -> BTreeMap<usize, Result<(), String>> {
    let results = Mutex::new(BTreeMap::new());
    provers.prove(proofs, &|number, result| {
        assert!(held(&results).insert(number, result).is_none(), "{number} is told twice");
    });
    results.into_inner().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn files_come_and_go_here_and_elsewhere() {
    for host in [OWN, OTHER] {
        let bench = Bench::new(&[host]);
        // Somebody's own directories and files, and a link where a token belongs.
        let theirs = bench.web_root().join("example.com/.well-known");
        fs::create_dir_all(&theirs).unwrap();
        let proofs = tokens();
        let elsewhere = bench.directory.path().join("elsewhere");
        fs::write(&elsewhere, "untouched").unwrap();
        fs::create_dir(theirs.join("acme-challenge")).unwrap();
        symlink(&elsewhere, bench.file("example.com", "-two")).unwrap();

        let results = bench.run(|provers| prove(provers, &proofs));
        assert!(results.len() == 3 && results.values().all(Result::is_ok), "{host}: {results:?}");
        for proof in &proofs {
            let file = bench.file(proof.service.group(), &proof.token);
            assert_eq!(fs::read_to_string(&file).unwrap(), proof.key_authorization, "{host}");
            assert_eq!(mode(&file), 0o644, "{host}");
            assert!(bench.record().contains(&proof.token), "{host}");
        }
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched", "{host}");
        for made in ["example.net", "example.net/.well-known", "example.net/.well-known/acme-challenge"] {
            assert_eq!(mode(&bench.web_root().join(made)), 0o755, "{host}: {made}");
        }

        // One by one, by another run.
        bench.run(|provers| {
            assert_eq!(provers.withdraw(&proofs[..1]), Vec::<String>::new());
            assert!(!bench.file("example.com", "one_-1").exists());
            assert!(
                bench.file("example.com", "-two").exists() && bench.file("example.net", "three").exists()
            );
            assert_eq!(provers.withdraw(&proofs[1..]), Vec::<String>::new());
        });
        assert!(theirs.join("acme-challenge").exists(), "{host}: it was there before");
        assert!(!bench.web_root().join("example.net").exists(), "{host}: it was made");
        assert_eq!(bench.record(), "", "{host}");
        assert!(!Path::new("x").exists());
    }
}

#[test]
fn what_others_put_into_our_directories_keeps_them() {
    for host in [OWN, OTHER] {
        let bench = Bench::new(&[host]);
        bench.run(|provers| prove(provers, &tokens()));
        let guest = bench.file("example.net", "somebody's");
        fs::write(&guest, "").unwrap();
        assert_eq!(bench.run(|provers| provers.sweep()), Vec::<String>::new(), "after a crash");
        assert!(guest.exists() && !bench.file("example.net", "three").exists(), "{host}");
        assert!(!bench.web_root().join("example.com").exists(), "{host}");
        assert_eq!(bench.record(), "", "{host}");
    }
}

#[test]
fn a_host_that_is_down_is_waited_for() {
    let bench = Bench::new(&[OWN, DOWN]);
    let proofs = tokens();
    let results = bench.run(|provers| prove(provers, &proofs));
    assert!(
        results.values().all(|result| result == &Err(format!("{DOWN}: no route to host"))),
        "{results:?}"
    );

    bench.is_down.store(false, Ordering::SeqCst);
    assert!(bench.run(|provers| prove(provers, &proofs)).values().all(Result::is_ok));
    bench.is_down.store(true, Ordering::SeqCst);
    let left = bench.run(|provers| provers.withdraw(&proofs));
    assert!(left.len() == 1 && left[0].starts_with(DOWN), "{left:?}");
    assert!(bench.record().contains(DOWN) && !bench.record().contains(OWN), "{}", bench.record());
    bench.is_down.store(false, Ordering::SeqCst);
    assert_eq!(bench.run(|provers| provers.sweep()), Vec::<String>::new());
    assert_eq!(bench.record(), "");
}

#[test]
fn what_cannot_be_placed_is_told() {
    for host in [OWN, OTHER] {
        let mut bench = Bench::new(&[host]);
        let bad = [
            proof(Validation::Http, "example.com/web", "*.one.invalid", "one"),
            proof(Validation::Http, "example.com/web", "one.invalid", "../../../etc/cron.d/x"),
            proof(Validation::Http, "example.com/web", "one.invalid", ""),
            proof(Validation::Http, "example.com/web", "one.invalid", &"x".repeat(1000)),
            proof(Validation::Http, "example.com/web", "one.invalid", "good"),
        ];
        let results = bench.run(|provers| prove(provers, &bad));
        let parts = ["is a wildcard", "is not base64url", "is not base64url", "is not base64url"];
        for (number, part) in parts.into_iter().enumerate() {
            assert!(results[&number].as_ref().unwrap_err().contains(part), "{host}: {results:?}");
        }
        assert_eq!(results[&4], Ok(()));
        assert_eq!(bench.run(|provers| provers.withdraw(&bad)), Vec::<String>::new());

        let missing = bench.directory.path().join("missing");
        bench.site.servers[0].web_root = Some(missing.clone());
        let results = bench.run(|provers| prove(provers, &tokens()));
        let error = results[&0].clone().unwrap_err();
        assert!(error.contains("missing: there is no such directory"), "{error}");
        assert!(!missing.exists() && bench.record().is_empty(), "{host}");
    }
}

#[test]
fn what_is_not_seen_from_here_is_told_and_is_no_failure() {
    let bench = Bench::new(&[OWN]);
    assert!(bench.run(|provers| prove(provers, &tokens())).values().all(Result::is_ok));
    let told = held(&bench.told).join("\n");
    assert!(told.contains("two.invalid has no address"), "{told}");
}

#[test]
fn responders_run_while_there_is_something_to_prove() {
    let port = std::net::TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let listen = format!("[::]:{port}");
    let is_open = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    for kind in [Validation::Http, Validation::Alpn] {
        let mut bench = Bench::new(&[]);
        bench.site.servers.clear();
        let proofs = [
            proof(kind, "example.com/web", "one.invalid", "one"),
            proof(kind, "example.com/web", "*.one.invalid", "two"),
            proof(kind, "example.com/web", "192.0.2.1", "three"),
        ];
        bench.run_at(&listen, |provers| {
            assert!(!is_open());
            let results = prove(provers, &proofs);
            assert!(results[&0].is_ok() && results[&2].is_ok(), "{results:?}");
            assert!(results[&1].as_ref().unwrap_err().contains("only dns-01"), "{results:?}");
            assert!(is_open());
            let taken = bench.run_at(&listen, |others| prove(others, &proofs[..1]));
            let error = taken[&0].clone().unwrap_err();
            assert!(error.starts_with(&format!("port {port} is taken by another program; ")), "{error}");
            assert_eq!(provers.withdraw(&proofs[..1]), Vec::<String>::new());
            assert!(is_open(), "the third is still to be seen");
            provers.withdraw(&proofs[1..]);
            assert!(!is_open());
            assert!(prove(provers, &proofs)[&0].is_ok(), "again");
        });
        assert!(!is_open(), "the provers are gone");
    }
}
