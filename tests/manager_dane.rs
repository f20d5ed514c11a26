//! The files of TLSA records, read by those for whom they are written: BIND loads every one, and a client of
//! OpenSSL finds the server's key in them.
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

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reseed::manager::config::{AlternativeName, Dane, DaneHosts};
use reseed::manager::dane::{
    Link, Record, Version, association, changed, group_file, parse, publish, records, service_file,
};
use support::{checked, has, scratch};

const APEX: &str = "example.com";
/// The longest name that has room for `_443._tcp.`, in labels of the longest kind.
fn longest() -> String {
    let label = |length| "a".repeat(length);
    [label(63), label(63), label(63), label(39), APEX.to_owned()].join(".")
}

/// A root and what it signed, in DER and PEM, with the key of the latter; the key is of 4096 bits, so that
/// the whole of the certificate takes more than a kilobyte.
struct Pair {
    directory: tempfile::TempDir,
}

impl Pair {
    /// Nothing where OpenSSL is missing.
    fn new(bits: u32) -> Option<Self> {
        if !has("openssl") {
            return None;
        }
        let directory = scratch();
        let openssl = |arguments: &str| {
            checked(Command::new("openssl").args(arguments.split(' ')).current_dir(directory.path()))
        };
        fs::write(directory.path().join("ext"), "subjectAltName=DNS:example.com,DNS:www.example.com\n")
            .unwrap();
        let root = "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 9 -subj /CN=root";
        openssl(root);
        let request = format!("req -new -newkey rsa:{bits} -nodes -keyout key -out csr -subj /CN={APEX}");
        openssl(&request);
        openssl(
            "x509 -req -in csr -CA root.pem -CAkey root.key -CAcreateserial -days 9 -extfile ext -out leaf.pem",
        );
        for name in ["root", "leaf"] {
            openssl(&format!("x509 -in {name}.pem -outform der -out {name}.der"));
        }
        Some(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn der(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn records(&self, entries: &[Dane], ttl: Option<u32>) -> Vec<Record> {
        let (leaf, root) = (self.der("leaf.der"), self.der("root.der"));
        let exchangers = ["mx1.example.com.", "mx2.example.com", "MX1.example.com"].map(str::to_owned);
        records(APEX, ttl, entries, &sans(), &exchangers, &[&leaf, &root]).unwrap()
    }
}

fn sans() -> Vec<AlternativeName> {
    let longest = longest();
    let names = ["example.com", "www.example.com.", "*.example.com", "WWW.example.com", longest.as_str()];
    let mut sans: Vec<_> = names.map(|name| AlternativeName::Dns(name.to_owned())).into();
    sans.push(AlternativeName::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    sans
}

fn entry(port: u16, usage: u8, selector: u8, matching: u8) -> Dane {
    Dane { port, protocol: "tcp".into(), usage, selector, matching, hosts: DaneHosts::Sans }
}

/// All that RFC 6698 knows, on a port for the SAN and on one for the mail exchangers.
fn every_entry() -> Vec<Dane> {
    let mut entries = Vec::new();
    for port in [25, 443] {
        for usage in 0..4 {
            for selector in 0..2 {
                entries.extend((0..3).map(|matching| entry(port, usage, selector, matching)));
            }
        }
    }
    entries
}

/// A zone that includes the file.
fn zone(directory: &Path, text: &str) -> PathBuf {
    fs::write(directory.join("tlsa.example.com"), text).unwrap();
    let zone = directory.join("zone");
    let head = "$TTL 86400\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n\
        @ IN MX 10 mx1\n@ IN MX 10 mx2\nmx1 IN A 127.0.0.1\nmx2 IN A 127.0.0.1\n";
    let include = directory.join("tlsa.example.com");
    fs::write(&zone, format!("{head}$INCLUDE {}\n", include.display())).unwrap();
    zone
}

/// The TLSA records that BIND has loaded from a file: owner, TTL, and the four fields.
fn loaded(text: &str) -> BTreeSet<(String, String, String)> {
    let directory = scratch();
    let zone = zone(directory.path(), text);
    let dump = directory.path().join("dump");
    let mut command = Command::new("named-checkzone");
    let said = checked(command.args(["-q", "-s", "full", "-D", "-o"]).arg(&dump).arg(APEX).arg(&zone));
    assert_eq!(said, "", "BIND warns");
    let dump = fs::read_to_string(dump).unwrap();
    let lines = dump.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [owner, ttl, "IN", "TLSA", usage, selector, matching, data @ ..] = words.as_slice() else {
            return None;
        };
        let fields = format!("{usage} {selector} {matching} {}", data.concat().to_lowercase());
        Some(((*owner).to_owned(), (*ttl).to_owned(), fields))
    });
    lines.collect()
}

/// The same of our records.
fn expected(records: &[Record]) -> BTreeSet<(String, String, String)> {
    let records = records.iter().map(|record| {
        let ttl = record.ttl.unwrap_or(86400).to_string();
        let Record { owner, usage, selector, matching, data, .. } = record;
        let hex: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
        (format!("{owner}."), ttl, format!("{usage} {selector} {matching} {hex}"))
    });
    records.collect()
}

#[test]
fn bind_loads_every_kind_of_record_for_every_name() {
    if !has("named-checkzone") {
        return;
    }
    let Some(pair) = Pair::new(4096) else { return };
    assert!(pair.der("leaf.der").len() > 1000, "a record of more than a kilobyte");
    let single = every_entry().into_iter().map(|entry| vec![entry]);
    let mut count = 0;
    for entries in single.chain([every_entry()]) {
        for ttl in [Some(1800), None] {
            let records = pair.records(&entries, ttl);
            assert_eq!(records.len(), 3 * entries.len(), "apex and two more, each once: {records:?}");
            let service = service_file(APEX, "mail", "20261121-16:36:57", &records);
            let version = Version { service: "mail".into(), link: Link::Curr, records: records.clone() };
            let group = group_file(APEX, &[version]);
            for text in [service, group] {
                assert_eq!(loaded(&text), expected(&records), "{text}");
                assert_eq!(parse(Path::new("x"), &text).unwrap(), records, "read back by ourselves");
                count += 1;
            }
        }
    }
    assert_eq!(count, (2 * 4 * 2 * 3 + 1) * 4);
}

#[test]
fn a_roll_over_from_the_first_key_to_none() {
    if !has("named-checkzone") {
        return;
    }
    let (Some(a), Some(b)) = (Pair::new(2048), Pair::new(2048)) else { return };
    // Long records of one key for several names: ssl-mgr's duplicates broke the zone.
    let entries = [entry(25, 3, 1, 2), entry(25, 3, 0, 0), entry(443, 2, 1, 2), entry(443, 3, 1, 1)];
    let (a, b) = (a.records(&entries, Some(1800)), b.records(&entries, Some(1800)));
    let none = || Some(Vec::new());
    let both: Vec<Record> = a.iter().chain(&b).cloned().collect();
    // name, curr and next of two services with the same names, what is in the zone, whether that is a change
    let steps = [
        ("nothing is served yet", [(None, Some(a.clone())), (None, None)], vec![], false),
        ("rolled", [(Some(a.clone()), None), (None, None)], a.clone(), true),
        (
            "another service with its key",
            [(Some(a.clone()), None), (Some(a.clone()), None)],
            a.clone(),
            false,
        ),
        ("renewed", [(Some(a.clone()), Some(b.clone())), (Some(a.clone()), None)], both.clone(), true),
        (
            "renewed with the same key",
            [(Some(a.clone()), Some(b.clone())), (Some(a), Some(b.clone()))],
            both,
            false,
        ),
        ("rolled again", [(Some(b.clone()), None), (Some(b.clone()), None)], b.clone(), true),
        ("one switched off", [(Some(b.clone()), None), (none(), None)], b, false),
        ("switched off", [(none(), None), (none(), None)], vec![], true),
    ];
    let mut published: Option<String> = None;
    for (step, services, records, change) in steps {
        let versions = ["mail", "web"].into_iter().zip(services);
        let versions: Vec<_> =
            versions.flat_map(|(service, (curr, next))| publish(service, curr, next)).collect();
        let text = group_file(APEX, &versions);
        assert_eq!(loaded(&text), expected(&records), "{step}: {text}");
        let was = published.as_deref();
        assert_eq!(changed(Path::new("x"), was, &text), change, "{step}");
        assert!(text.ends_with("\n\n") && text.starts_with(";;\n;; TLSA example.com : phase = "), "{step}");
        published = Some(text);
    }
}

#[test]
fn openssl_makes_the_same_digests() {
    let Some(pair) = Pair::new(2048) else { return };
    let key = pair.path("spki.der");
    let public = ["pkey", "-pubout", "-outform", "der"];
    checked(Command::new("openssl").args(public).arg("-in").arg(pair.path("key")).arg("-out").arg(&key));
    let leaf = pair.der("leaf.der");
    for (selector, file) in [(0, pair.path("leaf.der")), (1, key)] {
        assert_eq!(association(&leaf, selector, 0).unwrap(), fs::read(&file).unwrap());
        for (matching, digest) in [(1, "-sha256"), (2, "-sha512")] {
            let said = checked(Command::new("openssl").args(["dgst", "-r", digest]).arg(&file));
            let ours = association(&leaf, selector, matching).unwrap();
            let ours: String = ours.iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(said.split(' ').next().unwrap(), ours, "{selector} {digest}");
        }
    }
}

#[test]
fn a_client_of_openssl_finds_the_server_by_its_records() {
    let Some(pair) = Pair::new(2048) else { return };
    let Some(other) = Pair::new(2048) else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-www"])
        .arg("-key")
        .arg(pair.path("key"))
        .arg("-cert")
        .arg(pair.path("leaf.pem"))
        .arg("-cert_chain")
        .arg(pair.path("root.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line == "ACCEPT"), "the server does not begin");
    std::thread::spawn(move || said.for_each(drop));
    // RFC 7671 section 4: usages 0 and 1 need a public authority besides; OpenSSL refuses them for that.
    let mut wrong = Vec::new();
    for (usage, selector, matching) in
        [2, 3].into_iter().flat_map(|usage| (0..6).map(move |kind| (usage, kind / 3, kind % 3)))
    {
        for (who, expected) in [(&pair, true), (&other, false)] {
            let record = who.records(&[entry(443, usage, selector, matching)], None).remove(0);
            let hex: String = record.data.iter().map(|octet| format!("{octet:02x}")).collect();
            let output = Command::new("openssl")
                .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-dane_tlsa_domain", APEX])
                .args(["-dane_tlsa_rrdata", &format!("{usage} {selector} {matching} {hex}")])
                .args(["-servername", APEX, "-verify_return_error", "-brief"])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let matched = output.status.success() && said.contains("DANE TLSA");
            if matched != expected {
                wrong.push(format!("{usage} {selector} {matching}, expected {expected}: {said}"));
            }
        }
    }
    let _ = server.kill();
    let _ = server.wait();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
