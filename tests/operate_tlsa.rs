//! TLSA records of an inventory in real zones: BIND takes the updates, and `dig` says what is there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[allow(dead_code, reason = "each test program uses its own part of this")]
#[path = "lab/zones.rs"]
mod lab;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lab::{Lab, Second, Zone};
use reseed::manager::inventory::files::Files;
use reseed::manager::inventory::model::{
    About, Algorithms, Certificate, Instance, KeyAlgorithm, KeyData, KeyInfo, Kind, Name, Service, State,
    SubjectType,
};
use reseed::manager::inventory::store::{Contents, Inventory};
use reseed::manager::load;
use reseed::manager::operate::publish::{Publication, publish};
use reseed::manager::operate::tlsa::{Request, tlsa};
use reseed::manager::operate::{Certificates, Operation, Outcome};
use reseed::manager::run::World;
use reseed::pki::key::PrivateKey;
use reseed::pki::{Algorithm, Container};
use reseed::system::root::Root;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 0:00 UTC);
const NAMES: &str = "@ IN NS ns1\nns1 IN A 127.0.0.1\na IN A 192.0.2.1\n_443._tcp.a IN A 192.0.2.9\n\
    _443._tcp.alias IN CNAME dane\ndane IN TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000\n";
const BOTH: &str = "@ IN NS ns1\n@ IN NS ns2\nns1 IN A 127.0.0.1\nns2 IN A 127.0.0.2\n";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A key with its certificate, as an authority would have signed it.
fn made(id: i64, algorithm: KeyAlgorithm) -> (KeyData, String) {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let mut what = rcgen::CertificateParams::new(vec!["a.lab.test".to_owned()]).unwrap();
    what.serial_number = Some(rcgen::SerialNumber::from(id.to_be_bytes().to_vec()));
    let certificate = what.self_signed(&key).unwrap();
    let digest: String =
        Sha256::digest(certificate.der()).iter().map(|octet| format!("{octet:02X}")).collect();
    let info = KeyInfo { algorithm, digest: digest.clone(), created: None };
    let key = KeyData {
        info,
        certificate: certificate.pem(),
        chain: String::new(),
        key: key.to_pem(Container::Pkcs8).unwrap(),
    };
    (key, digest)
}

/// A site with an inventory in files.
struct Site {
    lab: Lab,
    root: Root,
    digests: BTreeMap<i64, Vec<String>>,
}

impl Site {
    /// One whose certificates, each with its services and names, have two instances with two keys each: one that is
    /// deployed and one that is issued.
    fn new(lab: Lab, updates: &str, certificates: &[(&str, &[&str], &[&str])]) -> Self {
        let top = lab.directory.path();
        fs::create_dir(top.join("conf.d")).unwrap();
        let text = format!(
            "dns_check_timeout = 2\n[[dns_primary]]\ndomain = 'default'\nserver = '127.0.0.1'\n{updates}"
        );
        fs::write(top.join("conf.d/ssl-mgr.conf"), text).unwrap();
        let mut contents = Contents { next: 100, ..Contents::default() };
        for (key, prefix) in [("https/443", "_443._tcp.{}. 300"), ("smtp/25", "_25._tcp.{}. 600")] {
            let tlsa = format!("{prefix} IN TLSA 3 0 1").parse().unwrap();
            let service = Service { tlsa, about: About::default() };
            contents.objects.services.insert(key.parse().unwrap(), service);
        }
        let (mut digests, mut id) = (BTreeMap::new(), 0);
        for (main, names, services) in certificates {
            let mut certificate = Certificate::new(SubjectType::Server, Kind::Le, Algorithms::Both);
            certificate.names = names.iter().map(|text| (name(text), About::default())).collect();
            certificate.services = services.iter().map(|text| text.parse().unwrap()).collect();
            contents.objects.certificates.insert(name(main), certificate);
            for state in [State::Deployed, State::Issued] {
                id += 1;
                let made = [KeyAlgorithm::Rsa, KeyAlgorithm::Ec].map(|algorithm| made(id, algorithm));
                let (keys, of): (Vec<KeyData>, Vec<String>) = made.into_iter().unzip();
                digests.insert(id, of);
                let instance = Instance {
                    id,
                    certificate: name(main),
                    state,
                    algorithms: Algorithms::Both,
                    must_staple: false,
                    issuer: None,
                    not_before: Some(datetime!(2026-05-01 0:00 UTC)),
                    not_after: Some(datetime!(2026-07-01 0:00 UTC)),
                    published: None,
                    about: About::default(),
                    deliveries: BTreeMap::new(),
                    keys: keys.iter().map(|key| key.info.clone()).collect(),
                };
                contents.instances.push((instance, keys));
            }
        }
        let root = Root::open(Path::new("/")).unwrap();
        Files::of_top(&root, top).fill(&contents).unwrap();
        Self { lab, root, digests }
    }

    fn operation(&self) -> Operation<'_> {
        let top = self.lab.directory.path();
        let config = load::load(&self.root, top).unwrap();
        assert!(config.faults.is_empty(), "{:?}", config.faults);
        let (host, tell) = ("manager.lab.test".to_owned(), |_: &str| {});
        let world = World { root: &self.root, top: top.to_owned(), now: NOW, host, tell, config: None };
        Operation::new(world, config, Box::new(Files::of_top(&self.root, top)))
    }

    /// `reseed manager tlsa`, and what became of the first certificate.
    fn tlsa(&self, names: &[&str], remove: bool) -> Vec<Outcome> {
        let mut op = self.operation();
        let include = names.iter().map(|text| name(text)).collect();
        let certificates = Certificates { include, ..Certificates::default() };
        tlsa(&mut op, &Request { certificates, remove, dry_run: false }).unwrap();
        op.report.certificates[names[0]].clone()
    }

    /// Has instances out.
    fn publish(&self, wanted: &[(&str, &[i64])]) -> Vec<Result<bool, String>> {
        let mut op = self.operation();
        let names: Vec<Name> = wanted.iter().map(|(text, _)| name(text)).collect();
        assert_eq!(op.inventory.claim(&names, 9).unwrap(), names);
        let one = |(text, instances): &(&str, &[i64])| Publication {
            name: name(text),
            instances: instances.to_vec(),
        };
        let wanted: Vec<Publication> = wanted.iter().map(one).collect();
        let mut results = publish(&mut op, &wanted).unwrap();
        names.iter().map(|name| results.remove(name).unwrap()).collect()
    }

    /// The digests of instances.
    fn of(&self, instances: &[i64]) -> Vec<String> {
        let mut digests: Vec<String> = instances.iter().flat_map(|id| self.digests[id].clone()).collect();
        digests.sort();
        digests
    }

    /// Which instances are known to be published, and when.
    fn published(&self) -> Vec<(i64, OffsetDateTime)> {
        let instances = Files::of_top(&self.root, self.lab.directory.path()).instances().unwrap();
        instances.into_iter().filter_map(|it| Some((it.id, it.published?))).collect()
    }
}

fn dig(owner: &str, kind: &str) -> Vec<String> {
    let mut dig = Command::new("dig");
    dig.args(["@127.0.0.1", "+noall", "+answer", "+nosplit", "+time=2", owner, kind]);
    let said = support::checked(&mut dig);
    said.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
}

/// The digests at a name, which all have usage 3, selector 0 and matching type 1.
fn shown(owner: &str, ttl: u32) -> Vec<String> {
    let head = format!("{ttl} IN TLSA 3 0 1 ");
    let mut digests: Vec<String> =
        dig(owner, "TLSA").iter().map(|line| line.strip_prefix(&head).unwrap().to_owned()).collect();
    digests.sort();
    digests
}

fn lab(zones: &[Zone]) -> Option<Lab> {
    if !support::has("dig") {
        return None;
    }
    Lab::new(zones)
}

fn zone(apex: &'static str, records: &str, updates: bool, second: Second) -> Zone {
    Zone { apex, records: records.to_owned(), updates, second }
}

const UPDATE: &str = "[[dns_update]]\ndomain = 'lab.test'\nserver = '127.0.0.1'\nkey_file = 'odd.key'\n";

/// serverPKI's `-R` deleted every type at the name, its `-T` ended with a traceback, and it took no key with a digit
/// in its name or "+" in its secret.
#[test]
fn records_come_double_and_go_alone_with_a_key_that_serverpki_refused() {
    let Some(lab) = lab(&[zone("lab.test", NAMES, true, Second::Nothing)]) else { return };
    let names = ["b.lab.test", "*.lab.test", "192.0.2.1", "who@lab.test"];
    let certificates: [(&str, &[&str], &[&str]); 3] = [
        ("a.lab.test", &names, &["https/443", "smtp/25"]),
        ("alias.lab.test", &[], &["https/443"]),
        ("plain.lab.test", &[], &[]),
    ];
    let site = Site::new(lab, UPDATE, &certificates);
    let owners = ["_443._tcp.a.lab.test", "_443._tcp.b.lab.test"];
    let old = site.of(&[1]);
    assert_eq!(
        site.tlsa(&["a.lab.test"], false),
        [Outcome::Done("the TLSA records of instance 1 are out".into())]
    );
    owners.iter().for_each(|owner| assert_eq!(shown(owner, 300), old, "{owner}"));
    assert_eq!(shown("_25._tcp.a.lab.test", 600), old);
    assert_eq!(site.published().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1]);
    assert!(site.published()[0].1 >= NOW);

    // The old and the new one beside each other, and then the new one alone.
    assert_eq!(site.publish(&[("a.lab.test", &[1, 2])]), [Ok(true)]);
    owners.iter().for_each(|owner| assert_eq!(shown(owner, 300), site.of(&[1, 2]), "{owner}"));
    assert_eq!(site.published().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(site.publish(&[("a.lab.test", &[2])]), [Ok(true)]);
    owners.iter().for_each(|owner| assert_eq!(shown(owner, 300), site.of(&[2]), "{owner}"));

    // What others have at the target of an alias stays, and what is ours there goes.
    let others = "0".repeat(64);
    let target = |ids: &[i64]| {
        let mut expected = site.of(ids);
        expected.insert(0, others.clone());
        let lines = dig("dane.lab.test", "TLSA");
        let mut found: Vec<String> =
            lines.iter().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
        found.sort();
        assert_eq!(found, expected, "{ids:?}");
    };
    assert_eq!(site.publish(&[("alias.lab.test", &[3]), ("plain.lab.test", &[5])]), [Ok(true), Ok(false)]);
    target(&[3]);
    assert_eq!(site.publish(&[("alias.lab.test", &[4])]), [Ok(true)]);
    target(&[4]);

    let removed = site.tlsa(&["a.lab.test", "alias.lab.test"], true);
    assert_eq!(removed, [Outcome::Done("its TLSA records are taken away".into())]);
    owners.iter().for_each(|owner| assert_eq!(dig(owner, "TLSA"), [] as [&str; 0], "{owner}"));
    assert_eq!(dig(owners[0], "A"), ["60 IN A 192.0.2.9"]);
    target(&[]);
    let left = Outcome::Left("no services with TLSA records are linked with it".into());
    assert_eq!(site.tlsa(&["plain.lab.test"], false), std::slice::from_ref(&left));
    assert_eq!(site.tlsa(&["plain.lab.test"], true), [left]);
}

/// serverPKI left names out for whose zone it found no directory, and said nothing.
#[test]
fn a_name_whose_zone_nobody_changes_is_an_error_that_names_it() {
    let zones = [
        zone("lab.test", NAMES, true, Second::Nothing),
        zone("closed.test", NAMES, false, Second::Nothing),
        zone("lag.test", BOTH, true, Second::Lags),
    ];
    let Some(lab) = lab(&zones) else { return };
    let certificates: [(&str, &[&str], &[&str]); 4] = [
        ("a.lab.test", &["a.closed.test"], &["https/443"]),
        ("c.closed.test", &[], &["https/443"]),
        ("l.lag.test", &[], &["https/443"]),
        ("n.nowhere.test", &["d.lab.test"], &["https/443"]),
    ];
    let updates = format!("{UPDATE}{}", UPDATE.replace("lab.test", "lag.test"));
    let site = Site::new(lab, &updates, &certificates);
    let failed = |results: &[Result<bool, String>], index: usize, words: &[&str]| {
        let said = results[index].as_ref().unwrap_err();
        words.iter().for_each(|word| assert!(said.contains(word), "{said}"));
    };
    let wanted: [(&str, &[i64]); 4] =
        [("a.lab.test", &[1]), ("c.closed.test", &[3]), ("l.lag.test", &[5]), ("n.nowhere.test", &[7])];
    let results = site.publish(&wanted);
    let way = "nobody says how _443._tcp.a.closed.test gets into the zone closed.test; write [[dns_update]]";
    failed(&results, 0, &[way]);
    assert_eq!(dig("_443._tcp.a.lab.test", "TLSA"), [] as [&str; 0], "all names of a certificate, or none");
    failed(&results, 1, &["_443._tcp.c.closed.test"]);
    failed(&results, 2, &["not every name server shows its TLSA records yet", "127.0.0.2"]);
    assert_eq!(shown("_443._tcp.l.lag.test", 300), site.of(&[5]), "the primary has them");
    failed(&results, 3, &["_443._tcp.n.nowhere.test"]);
    assert_eq!(dig("_443._tcp.d.lab.test", "TLSA"), [] as [&str; 0]);
    assert_eq!(site.published(), [], "nothing counts from here");

    // A server that takes no change, and a key of another secret.
    let top = site.lab.directory.path();
    let config = top.join("conf.d/ssl-mgr.conf");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}{}", UPDATE.replace("lab.test", "closed.test"))).unwrap();
    failed(&site.publish(&[("c.closed.test", &[3])]), 0, &["REFUSED", "fleet_2.example-key"]);
    let key = fs::read_to_string(top.join("odd.key")).unwrap();
    site.lab.key("odd.key", &key.replace("b2Rk", "b3Rk"));
    let said = site.publish(&[("l.lag.test", &[5])]);
    failed(&said, 0, &["BADSIG"]);
    assert!(!said[0].as_ref().unwrap_err().contains("b3Rk"), "no secret is told");
}

/// The way of ssl-mgr: a file that the zone includes, and a program that has it read again.
#[test]
fn a_zone_that_includes_a_file_has_it_read_again() {
    let Some(lab) = lab(&[zone("lab.test", NAMES, false, Second::Nothing)]) else { return };
    let first = lab.directory.path().join("first");
    let (file, include) = (first.join("lab.test"), first.join("tlsa.lab.test"));
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}$INCLUDE tlsa.lab.test\n")).unwrap();
    fs::write(&include, "_25._tcp.old.lab.test. 60 IN TLSA 3 1 1 00\n").unwrap();
    let program = lab.directory.path().join("reread");
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = '--serial_bump lab.test' ] || exit 1\n\
         sed -i 's/hostmaster 1 /hostmaster 2 /' {}\nkill -HUP {}\n",
        file.display(),
        lab.first()
    );
    fs::write(&program, &script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let updates = format!("[dns]\nrestart_cmd = '{}'\ntlsa_dirs = ['first']\n", program.display());
    let certificates: [(&str, &[&str], &[&str]); 1] = [("a.lab.test", &[], &["https/443"])];
    let site = Site::new(lab, &updates, &certificates);
    assert_eq!(site.publish(&[("a.lab.test", &[1, 2])]), [Ok(true)]);
    assert_eq!(shown("_443._tcp.a.lab.test", 300), site.of(&[1, 2]));
    assert!(fs::read_to_string(&include).unwrap().contains("_25._tcp.old.lab.test"), "others keep theirs");
}
