use super::*;
use crate::fault::Fault;
use crate::manager::config::{AlternativeName, Dane, DaneHosts};
use crate::pki::{Algorithm, key::PrivateKey};

const FILE: &str = "/certs/example.com/tlsa.example.com";

fn certificate() -> Vec<u8> {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let mut what = rcgen::CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
    what.serial_number = Some(rcgen::SerialNumber::from(vec![1]));
    what.self_signed(&key).unwrap().der().to_vec()
}

fn entry(port: u16, usage: u8, selector: u8, matching: u8, hosts: DaneHosts) -> Dane {
    Dane { port, protocol: "tcp".into(), usage, selector, matching, hosts }
}

fn record(owner: &str, matching: u8, data: &[u8]) -> Record {
    Record { owner: owner.into(), ttl: Some(1800), usage: 3, selector: 1, matching, data: data.to_vec() }
}

fn read(text: &str) -> Result<Vec<Record>, Fault> {
    parse(Path::new(FILE), text)
}

#[test]
fn for_which_names() {
    let dns = |names: &[&str]| -> Vec<_> {
        names.iter().map(|name| AlternativeName::Dns((*name).to_owned())).collect()
    };
    let mut sans = dns(&["Example.com.", "www.example.com", "*.example.com", "WWW.example.com", "192.0.2.7"]);
    sans.push(AlternativeName::Address("192.0.2.1".parse().unwrap()));
    sans.push(AlternativeName::Address("2001:db8::1".parse().unwrap()));
    let none: &[&str] = &[];
    let two = ["mx1.example.net.", "mx2.example.net"];
    type Row<'a> = (&'a str, u16, DaneHosts, &'a [&'a str], &'a [&'a str]);
    // name, port, hosts, exchangers, expected hosts
    let cases: [Row<'_>; 9] = [
        ("the SAN", 443, DaneHosts::Sans, &two, &["example.com", "www.example.com"]),
        ("port 25", 25, DaneHosts::Sans, &two, &["example.com", "mx1.example.net", "mx2.example.net"]),
        ("MX", 465, DaneHosts::Mx, &two, &["example.com", "mx1.example.net", "mx2.example.net"]),
        ("no exchanger: the apex is one", 25, DaneHosts::Mx, none, &["example.com"]),
        ("takes no mail", 25, DaneHosts::Mx, &["."], &["example.com"]),
        ("the apex is one", 25, DaneHosts::Mx, &["EXAMPLE.com."], &["example.com"]),
        ("the same twice", 25, DaneHosts::Mx, &["a.test.", "A.test"], &["example.com", "a.test"]),
        ("an address for an exchanger", 25, DaneHosts::Mx, &["192.0.2.1."], &["example.com"]),
        (
            "no names",
            25,
            DaneHosts::Mx,
            &["a b", "x;y.test", "$INCLUDE /etc/x.", "-a", "a..b"],
            &["example.com"],
        ),
    ];
    let der = certificate();
    for (case, port, hosts, exchangers, expected) in cases {
        let exchangers: Vec<_> = exchangers.iter().map(|name| (*name).to_owned()).collect();
        let entries = [entry(port, 3, 1, 1, hosts)];
        let found = records("Example.COM.", None, &entries, &sans, &exchangers, &[&der]).unwrap();
        let owners: Vec<_> = found.iter().map(|record| record.owner.as_str()).collect();
        let expected: Vec<_> = expected.iter().map(|host| format!("_{port}._tcp.{host}")).collect();
        assert_eq!(owners, expected, "{case}");
        let mut sorted: Vec<_> = expected.iter().filter_map(|owner| owner.split_once("_tcp.")).collect();
        sorted.sort_unstable();
        let sorted: Vec<_> = sorted.into_iter().map(|(_, host)| host.to_owned()).collect();
        assert_eq!(super::hosts(&found, port, "tcp"), sorted, "{case}: found again");
        assert_eq!(super::hosts(&found, port, "udp"), Vec::<String>::new(), "{case}");
    }
}

#[test]
fn equal_entries_make_one_record() {
    let der = certificate();
    let one = entry(443, 3, 1, 1, DaneHosts::Sans);
    let other = entry(443, 3, 1, 2, DaneHosts::Sans);
    let found = records("example.com", Some(60), &[one.clone(), other, one], &[], &[], &[&der]).unwrap();
    assert_eq!(found.iter().map(|record| record.matching).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_authority_is_the_issuer() {
    let (leaf, issuer) = (certificate(), certificate());
    let data = |usage, chain: &[&[u8]]| {
        let entries = [entry(25, usage, 0, 0, DaneHosts::Mx)];
        records("example.com", None, &entries, &[], &[], chain).unwrap().remove(0).data
    };
    for (usage, expected) in [(0, &issuer), (1, &leaf), (2, &issuer), (3, &leaf)] {
        assert_eq!(&data(usage, &[&leaf, &issuer]), expected, "usage {usage}");
        assert_eq!(&data(usage, &[&leaf]), &leaf, "usage {usage}, self-signed");
    }
}

#[test]
fn what_is_refused() {
    let der = certificate();
    let good = entry(25, 3, 1, 1, DaneHosts::Mx);
    let long = vec!["a".repeat(61); 4].join(".");
    let chain: &[&[u8]] = &[&der];
    type Row<'a> = (&'a str, &'a str, Dane, &'a [&'a [u8]], &'a str);
    // name, apex, entry, chain, words
    let cases: [Row<'_>; 9] = [
        ("usage", "a.test", entry(25, 4, 1, 1, DaneHosts::Mx), chain, "4 is no certificate usage"),
        ("selector", "a.test", entry(25, 3, 2, 1, DaneHosts::Mx), chain, "2 is no selector"),
        ("matching type", "a.test", entry(25, 3, 1, 3, DaneHosts::Mx), chain, "3 is no matching type"),
        (
            "protocol",
            "a.test",
            Dane { protocol: "t\ncp".into(), ..good.clone() },
            chain,
            "\"t\\ncp\" is no protocol",
        ),
        ("apex", "a b", good.clone(), chain, "letters, digits"),
        ("climbing apex", "../etc", good.clone(), chain, "empty"),
        ("no certificate", "a.test", good.clone(), &[], "there is no certificate"),
        ("no DER", "a.test", good.clone(), &[b"-----BEGIN"], "not a certificate"),
        ("too long a name", &long, good, chain, "longer than the 253 octets"),
    ];
    for (case, apex, entry, chain, words) in cases {
        let said = records(apex, None, &[entry], &[], &[], chain).unwrap_err();
        assert!(said.contains(words), "{case}: {said}");
    }
}

#[test]
fn what_is_published_when() {
    let (a, b) = (vec![record("_25._tcp.a.test", 1, &[1; 32])], vec![record("_25._tcp.a.test", 1, &[2; 32])]);
    let version =
        |link, records: &Vec<Record>| Version { service: "mail".into(), link, records: records.clone() };
    let cases = [
        ("nothing made", None, None, vec![]),
        ("made, not served yet", None, Some(&b), vec![]),
        ("rolled for the first time", Some(&a), None, vec![version(Link::Curr, &a)]),
        ("renewed", Some(&a), Some(&b), vec![version(Link::Curr, &a), version(Link::Next, &b)]),
        ("rolled", Some(&b), None, vec![version(Link::Curr, &b)]),
        ("switched off", Some(&vec![]), None, vec![]),
        ("switched off for the next", Some(&a), Some(&vec![]), vec![version(Link::Curr, &a)]),
        ("switched on for the next", Some(&vec![]), Some(&b), vec![version(Link::Next, &b)]),
    ];
    for (case, curr, next, expected) in cases {
        assert_eq!(publish("mail", curr.cloned(), next.cloned()), expected, "{case}");
    }
}

#[test]
fn the_files_of_a_service_and_of_a_group() {
    let short = record("_25._tcp.example.com", 1, &[0xab; 32]);
    let long = record("_25._tcp.example.com", 2, &[0xcd; 64]);
    let bare = Record { ttl: None, ..record("_443._tcp.www.example.com", 1, &[1; 32]) };
    let (digest, line, rest) = ("ab".repeat(32), "cd".repeat(36), "cd".repeat(28));
    let indent = " ".repeat(20);
    let lines = format!(
        "_25._tcp.example.com. 1800  IN TLSA 3 1 1 {digest}\n\
         _25._tcp.example.com. 1800  IN TLSA ( 3 1 2\n{indent}{line}\n{indent}{rest} )\n"
    );
    let found = service_file(
        "example.com",
        "mail",
        "20261121-16:36:57",
        &[short.clone(), long.clone(), bare.clone()],
    );
    let without = format!("_443._tcp.www.example.com.  IN TLSA 3 1 1 {}\n", "01".repeat(32));
    assert_eq!(found, format!(";;\n;; tlsa example.com mail 20261121-16:36:57\n;;\n{lines}{without}"));
    assert_eq!(read(&found).unwrap(), [short.clone(), long.clone(), bare]);

    let version = |service: &str, link, records: &[Record]| Version {
        service: service.into(),
        link,
        records: records.to_vec(),
    };
    let both = [
        version("mail", Link::Curr, &[short.clone(), long.clone()]),
        version("mail", Link::Next, &[long.clone(), short.clone()]),
        version("www", Link::Curr, &[]),
    ];
    let commented = format!(
        ";; _25._tcp.example.com. 1800  IN TLSA ( 3 1 2\n;; {indent}{line}\n;; {indent}{rest} )\n\
         ;; _25._tcp.example.com. 1800  IN TLSA 3 1 1 {digest}\n"
    );
    let found = group_file("example.com", &both);
    assert_eq!(
        found,
        format!(
            ";;\n;; TLSA example.com : phase = roll next to curr\n;;\n\
             ;;\n;; mail curr\n;;\n{lines};;\n;; mail next\n;;\n{commented}\n"
        )
    );
    assert_eq!(read(&found).unwrap(), [short.clone(), long]);

    let off = group_file("example.com", &[]);
    assert_eq!(off, ";;\n;; TLSA example.com : phase = normal\n;;\n\n");
    assert_eq!(group_file("example.com", &[version("www", Link::Curr, &[])]), off);
    assert_eq!(read(&off).unwrap(), []);
    // name, published, fresh, changed
    let cases = [
        ("first", None, found.as_str(), true),
        ("first, without any", None, off.as_str(), false),
        ("the same", Some(found.as_str()), &found, false),
        ("withdrawn", Some(&found), &off, true),
        ("only the comments differ", Some(&found), &found.replace("next", "other"), false),
        (
            "another order",
            Some(&found),
            &group_file(
                "example.com",
                &[version("x", Link::Curr, &[record("_25._tcp.example.com", 2, &[0xcd; 64]), short])],
            ),
            false,
        ),
        ("another TTL", Some(&found), &found.replace("1800", "60"), true),
        ("what was published cannot be read", Some("x IN TLSA ( 3 1 2\n"), &off, true),
    ];
    for (case, published, fresh, expected) in cases {
        assert_eq!(changed(Path::new(FILE), published, fresh), expected, "{case}");
    }
}

#[test]
fn one_name_has_one_ttl() {
    let ttl = |ttl, data: u8| Record { ttl, ..record("_25._tcp.a.test", 1, &[data; 32]) };
    let cases = [
        ("the lowest", vec![Some(3600), Some(60)], vec![Some(60), Some(60)]),
        ("the zone's default among them", vec![Some(3600), None], vec![Some(3600), None]),
    ];
    for (case, given, expected) in cases {
        let records = given.into_iter().zip(1..).map(|(given, data)| ttl(given, data)).collect();
        let text = group_file("a.test", &[Version { service: "mail".into(), link: Link::Curr, records }]);
        let found: Vec<_> = read(&text).unwrap().into_iter().map(|record| record.ttl).collect();
        assert_eq!(found, expected, "{case}");
    }
    // Apart from its TTL it is the same record: it stands there once.
    let versions = [Some(3600), Some(60)].map(|given| Version {
        service: "mail".into(),
        link: Link::Curr,
        records: vec![ttl(given, 1)],
    });
    assert_eq!(read(&group_file("a.test", &versions)).unwrap(), [ttl(Some(60), 1)]);
}

#[test]
fn other_spellings_are_read() {
    let expected = |ttl| Record { ttl, ..record("_25._tcp.a.test", 1, &[0xab, 0xcd]) };
    let cases = [
        ("class first", "_25._tcp.a.test. IN 60 TLSA 3 1 1 abcd", Some(60)),
        ("no class", "_25._TCP.A.test. TLSA 3 1 1 ABCD", None),
        ("in lower case, with tabs", "_25._tcp.a.test.\tin\ttlsa\t3 1 1 abcd\r\n", None),
        ("everything in parentheses", "_25._tcp.a.test. IN TLSA (3 1 ; why\n1\n a\nbcd)", None),
        ("an octet over two lines", "_25._tcp.a.test. IN TLSA ( 3 1 1 abc\n\n ; c )\n d ) ; end", None),
    ];
    for (case, text, ttl) in cases {
        assert_eq!(read(text).unwrap(), [expected(ttl)], "{case}");
    }
    let two = read("_25._tcp.a.test. TLSA 3 1 1 abcd\n  TLSA 3 1 1 abcd\n").unwrap();
    assert_eq!(two, [expected(None), expected(None)], "the name of the one before");
}

#[test]
fn what_cannot_be_read() {
    let broken =
        "_25._tcp.a.test. 60  IN TLSA ( 3 1 2\n;;     abcd )\n_443._tcp.a.test. 60  IN TLSA 3 1 1 ab\n";
    let long = "9".repeat(100_000);
    // name, text, where, words
    let cases = [
        ("ssl-mgr's broken one", broken, "1:30", "never closed"),
        ("a parenthesis in another", "a. TLSA ( 3 ( 1", "1:13", "within another"),
        ("a parenthesis too many", "a. TLSA 3 1 1 ab )", "1:18", "no parenthesis is open"),
        ("relative", "\n_25._tcp TLSA 3 1 1 ab", "2:1", "full name"),
        ("a directive", "$TTL 60", "1:1", "full name"),
        ("an include", "$INCLUDE /etc/shadow.", "1:1", "full name"),
        ("another type", "a. 60 IN A 192.0.2.1", "1:10", "only TLSA"),
        ("nothing before it", "  TLSA 3 1 1 ab", "1:16", "no name"),
        ("too few", "a. TLSA 3 1", "1:12", "the matching type is missing"),
        ("no data", "a. TLSA 3 1 1", "1:14", "even number"),
        ("half an octet", "a. TLSA 3 1 1 abc", "1:18", "even number"),
        ("no digits", "a. TLSA 3 1 1 xy", "1:15", "hexadecimal"),
        ("wide letters", "a. TLSA 3 1 1 \u{ff11}\u{ff12}", "1:15", "hexadecimal"),
        ("too large", "a. TLSA 3 256 1 ab", "1:11", "no number"),
        ("too large a TTL", "a. 4294967296 TLSA 3 1 1 ab", "1:4", "no number"),
        ("an endless number", &format!("a. {long} TLSA 3 1 1 ab"), "1:4", "no number"),
    ];
    for (case, text, place, words) in cases {
        let said = read(text).unwrap_err().to_string();
        assert!(said.starts_with(&format!("{FILE}:{place}: ")) && said.contains(words), "{case}: {said}");
    }
}

#[test]
fn whatever_is_thrown_at_it_ends() {
    // Every prefix of a good file, and every octet of it replaced.
    let good = "_25._tcp.a.test. 60  IN TLSA ( 3 1 2\n  abcd )\n;; x\n  TLSA 3 1 1 ef\n";
    for at in 0..good.len() {
        let _ = read(&good[..at]);
        for put in ["(", ")", ";", "\n", " ", "\0", "é", "$", "\""] {
            let _ = read(&[&good[..at], put, &good[at + 1..]].concat());
        }
    }
}
