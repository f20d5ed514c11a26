use std::process::{Command, Stdio};

use super::*;
use crate::manager::acme::{Identifier, Proof};
use crate::manager::config::Validation;
use crate::manager::name::ServiceName;

const ANY: &str = "[::]:0";
const PAGE: &str = "abc.thumbprint";

fn start(server: Arc<dyn Serve>) -> (Responder, u16) {
    let responder = Responder::start(ANY.parse().unwrap(), server).unwrap();
    let port = responder.address().unwrap().port();
    (responder, port)
}

fn pages() -> (Responder, u16) {
    let pages = Pages::default();
    pages.show("abc", PAGE);
    start(Arc::new(pages))
}

/// Sends octets and returns everything that comes back.
fn say(port: u16, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // Who is refused early is not read to the end.
    let _ = stream.write_all(octets);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(port: u16) -> String {
    say(port, b"GET /.well-known/acme-challenge/abc HTTP/1.1\r\nHost: example.com\r\n\r\n")
}

/// What a program prints on both outputs; nothing where it is missing.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: {program}: {error}");
            return None;
        }
    };
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn what_curl_sees() {
    let (_responder, port) = pages();
    let url = |host: &str, path: &str| format!("http://{host}:{port}{path}");
    let token = "/.well-known/acme-challenge/abc";
    let body = format!("\r\n\r\n{PAGE}");
    let cases: [(&str, Vec<&str>, String, &str, &str); 6] = [
        ("over IPv4", vec![], url("127.0.0.1", token), "200", &body),
        ("over IPv6", vec![], url("[::1]", token), "200", &body),
        ("its head", vec!["-I"], url("127.0.0.1", token), "200", "Content-Length: 14\r\n"),
        ("a form", vec!["-d", "x=y"], url("127.0.0.1", token), "404", "Content-Length: 0\r\n"),
        (
            "another token",
            vec![],
            url("127.0.0.1", "/.well-known/acme-challenge/abd"),
            "404",
            "Length: 0\r\n",
        ),
        ("another page", vec![], url("127.0.0.1", "/"), "404", "Content-Length: 0\r\n"),
    ];
    for (case, mut arguments, url, status, part) in cases {
        arguments.extend(["-s", "-i", "--path-as-is", &url]);
        let Some(seen) = ask("curl", &arguments) else { return };
        assert!(seen.starts_with(&format!("HTTP/1.1 {status} ")) && seen.contains(part), "{case}: {seen}");
        assert!(seen.contains("Content-Type: application/octet-stream\r\n"), "{case}: {seen}");
    }
}

#[test]
fn hostile_requests_get_nothing_and_keep_nobody_out() {
    let (_responder, port) = pages();
    let endless = [b"GET /".as_slice(), &[b'a'; 1024 * 1024]].concat();
    let cases: [(&str, &[u8], &str); 5] = [
        ("a target without end", &endless, "HTTP/1.1 400 "),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "HTTP/1.1 400 "),
        ("zeros", &[0; 4096], "HTTP/1.1 400 "),
        ("a way out", b"GET /.well-known/acme-challenge/../../etc/passwd HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "),
        ("a body", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 404 "),
    ];
    for (case, request, expected) in cases {
        let answer = say(port, request);
        // An answer to a megabyte may be torn down with it.
        assert!(
            answer.starts_with(expected) || request.len() > OCTETS && answer.is_empty(),
            "{case}: {answer}"
        );
        assert!(get(port).ends_with(PAGE), "after {case}");
    }
    // More than are taken at a time, and none of them says a word.
    let mut silent: Vec<_> =
        (0..3 * CONNECTIONS).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let started = Instant::now();
    assert!(get(port).ends_with(PAGE));
    assert!(started.elapsed() < TIME / 2, "{:?}", started.elapsed());
    let oldest = silent.first_mut().unwrap();
    oldest.set_read_timeout(Some(TIME / 2)).unwrap();
    assert!(matches!(oldest.read(&mut [0]), Ok(0) | Err(_)), "the oldest gave way");
}

#[test]
fn it_ends_at_once_and_its_port_is_free() {
    let (responder, port) = pages();
    let mut waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
    waiting.write_all(b"GET /").unwrap();
    assert!(get(port).ends_with(PAGE));
    let taken = Responder::start(format!("[::]:{port}").parse().unwrap(), Arc::new(Pages::default()));
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
    let started = Instant::now();
    drop(responder);
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(waiting.read(&mut [0]).unwrap_or(0), 0);
    Responder::start(format!("[::]:{port}").parse().unwrap(), Arc::new(Pages::default())).unwrap();
}

fn proof(identifier: Identifier, token: &str) -> Proof {
    Proof {
        service: ServiceName::parse("example.com/web").unwrap(),
        identifier,
        kind: Validation::Alpn,
        token: token.to_owned(),
        key_authorization: format!("{token}.thumbprint"),
    }
}

fn certificates(proofs: &[Proof]) -> Arc<Certificates> {
    let certificates = Certificates::new(clock::now()).unwrap();
    proofs.iter().for_each(|proof| certificates.show(proof).unwrap());
    Arc::new(certificates)
}

/// The text of the certificate that OpenSSL is shown.
fn handshake(port: u16, arguments: &[&str]) -> Option<String> {
    let address = format!("127.0.0.1:{port}");
    ask("openssl", &[&["s_client", "-connect", &address, "-showcerts"], arguments].concat())
}

#[test]
fn what_openssl_is_shown() {
    let proofs = [
        proof(Identifier::Dns("www.example.com".into()), "one"),
        proof(Identifier::Ip("192.0.2.7".parse().unwrap()), "two"),
        proof(Identifier::Ip("2001:db8::1".parse().unwrap()), "three"),
    ];
    let (_responder, port) = start(certificates(&proofs));
    let directory = tempfile::tempdir().unwrap();
    for (proof, san) in
        proofs.iter().zip(["DNS:www.example.com", "IP Address:192.0.2.7", "IP Address:2001:DB8:0:0:0:0:0:1"])
    {
        for version in ["-tls1_2", "-tls1_3"] {
            let name = server_name(&proof.identifier);
            let Some(seen) =
                handshake(port, &[version, "-alpn", "h2,acme-tls/1", "-servername", &name.to_uppercase()])
            else {
                return;
            };
            assert!(seen.contains("ALPN protocol: acme-tls/1"), "{name}: {seen}");
            let file = directory.path().join("shown.pem");
            std::fs::write(&file, pem::encode_many(&pem::parse_many(&seen).unwrap())).unwrap();
            let file = file.to_str().unwrap();
            let text = ask("openssl", &["x509", "-in", file, "-noout", "-text"]).unwrap();
            let names = text.split_once("Subject Alternative Name:").unwrap().1;
            assert_eq!(names.lines().nth(1).unwrap().trim(), san);
            // id-pe-acmeIdentifier, critical, an OCTET STRING of 32 octets in it.
            let der = pem::parse(std::fs::read(file).unwrap()).unwrap().into_contents();
            let (_, read) = x509_parser::parse_x509_certificate(&der).unwrap();
            let extension =
                read.extensions().iter().find(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
            assert!(extension.critical);
            assert_eq!(extension.value, [&[4, 32], proof.digest().as_slice()].concat());
            assert!(text.contains("1.3.6.1.5.5.7.1.31: critical"), "{text}");
            let verified = ask("openssl", &["verify", "-ignore_critical", "-CAfile", file, file]).unwrap();
            assert!(verified.contains(": OK"), "signed by itself, and valid now: {verified}");
        }
    }
}

#[test]
fn handshakes_that_get_nothing() {
    let proofs = [proof(Identifier::Dns("www.example.com".into()), "one")];
    let certificates = certificates(&proofs);
    let (_responder, port) = start(Arc::clone(&certificates) as Arc<dyn Serve>);
    let name = ["-servername", "www.example.com"];
    let ours = ["-alpn", "acme-tls/1"];
    let cases: [(&str, Vec<&str>); 5] = [
        ("no protocol", name.to_vec()),
        ("another protocol", [name.as_slice(), &["-alpn", "h2,http/1.1"]].concat()),
        ("another name", [ours.as_slice(), &["-servername", "example.com"]].concat()),
        ("no name", [ours.as_slice(), &["-noservername"]].concat()),
        ("an old version", [ours.as_slice(), &name, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]].concat()),
    ];
    for (case, arguments) in cases {
        let Some(seen) = handshake(port, &arguments) else { return };
        assert!(!seen.contains("BEGIN CERTIFICATE"), "{case}: {seen}");
    }
    let seen = handshake(port, &[ours, name].concat()).unwrap();
    assert!(seen.contains("BEGIN CERTIFICATE"), "{seen}");
    assert!(certificates.hide(&proofs[0]));
    let seen = handshake(port, &[ours, name].concat()).unwrap();
    assert!(!seen.contains("BEGIN CERTIFICATE"), "{seen}");
}

#[test]
fn one_proof_of_a_name_at_a_time_and_no_wildcards() {
    let name = || Identifier::Dns("www.example.com".into());
    let (one, two) = (proof(name(), "one"), proof(name(), "two"));
    let certificates = certificates(std::slice::from_ref(&one));
    assert!(certificates.show(&two).unwrap_err().contains("one after the other"));
    assert!(!certificates.hide(&two), "the first is still shown");
    assert!(certificates.hide(&one));
    certificates.show(&two).unwrap();
    let wildcard = proof(Identifier::Dns("*.example.com".into()), "three");
    assert!(certificates.show(&wildcard).unwrap_err().contains("dns-01"));
}

#[test]
fn names_of_addresses() {
    let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    for (address, expected) in [("192.0.2.7", "7.2.0.192.in-addr.arpa"), ("2001:db8::1", six)] {
        assert_eq!(server_name(&Identifier::Ip(address.parse().unwrap())), expected);
    }
    assert_eq!(server_name(&Identifier::Dns("WWW.example.com".into())), "www.example.com");
}
