//! Real handshakes with servers made here: well-behaved ones, mixed ones, and hostile ones.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};
use time::OffsetDateTime;

use super::*;
use crate::identity::HostName;
use crate::pki::issue::{self, Profile};
use crate::pki::key::PrivateKey;
use crate::pki::serial::Serial;
use crate::pki::{Algorithm, Container, Usage, container};
use crate::seed::Subject;
use crate::system::clock;

/// A certificate's DER and its key's PEM.
fn pair(name: &str, algorithm: Algorithm, now: OffsetDateTime) -> (Vec<u8>, Vec<u8>) {
    let key = PrivateKey::generate(algorithm).unwrap();
    let profile = Profile {
        fqdn: &HostName::parse(name).unwrap(),
        names: &BTreeSet::new(),
        addresses: &BTreeSet::new(),
        subject: &Subject::default(),
        usage: &BTreeSet::from([Usage::Server]),
        serial: Serial::next(None, None, [7; 20]),
        now,
        days: 398,
        backdate_hours: 24,
    };
    let text = issue::self_signed(&profile, &key).unwrap();
    let der = container::read(text.as_bytes()).certificates.remove(0);
    (der, key.to_pem(Container::Pkcs8).unwrap().reveal().to_vec())
}

/// A certificate that is valid at a time.
pub fn certificate(name: &str, now: OffsetDateTime) -> Vec<u8> {
    pair(name, Algorithm::P256, now).0
}

/// What a server with this certificate shows.
pub fn shown(der: &[u8], kind: KeyKind) -> Shown {
    let certificate = Certificate::from_der(der).ok();
    Shown { fingerprint: Fingerprint::of_certificate(der), kind, certificate, chain: 0 }
}

const NAME: &str = "mail.example.com";

fn limits() -> Limits {
    let time = Duration::from_millis(1500);
    Limits { time, guess: Duration::from_millis(300), octets: 128 * 1024 }
}

/// A server that lives as long as its process; each connection is told its number.
fn serve(talk: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let talk = Arc::new(talk);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let talk = talk.clone();
            std::thread::spawn(move || talk(stream.unwrap(), number));
        }
    });
    port
}

fn endpoint(port: u16, protocol: Protocol) -> Endpoint {
    Endpoint { unit: String::new(), address: Ipv4Addr::LOCALHOST.into(), port, protocol, guessed: false }
}

/// Several keys, chosen by what the client can check.
#[derive(Debug)]
struct Chooser(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(fits).cloned()
    }
}

fn config(
    pairs: &[(Vec<u8>, Vec<u8>)],
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let keys = pairs.iter().map(|(der, key)| {
        let key = PrivateKeyDer::from_pem_slice(key).unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        Arc::new(CertifiedKey::new(vec![der.clone().into()], key))
    });
    let chooser = Chooser(keys.collect());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(chooser));
    Arc::new(config)
}

/// The server's half of a handshake; stays until the client goes.
fn accept(mut stream: TcpStream, config: Arc<ServerConfig>) {
    let mut connection = ServerConnection::new(config).unwrap();
    while connection.is_handshaking() {
        if connection.complete_io(&mut stream).is_err() {
            return;
        }
    }
    let _ = stream.read(&mut [0; 64]);
}

fn ask_one(endpoint: &Endpoint, effort: Effort) -> Vec<Answer> {
    sample::ask(std::slice::from_ref(endpoint), Some(NAME), effort, &limits()).remove(0)
}

fn fingerprints(answers: &[Answer]) -> Vec<(KeyKind, Fingerprint)> {
    let shown = answers.iter().map(|answer| match answer {
        Answer::Shown(shown) => (shown.kind, shown.fingerprint.clone()),
        other => panic!("{other:?}"),
    });
    shown.collect()
}

#[test]
fn what_a_server_has_is_shown_for_each_kind_of_key() {
    let now = clock::now();
    let (p256, rsa) = (pair(NAME, Algorithm::P256, now), pair(NAME, Algorithm::Rsa(2048), now));
    let cases = [
        ("one, TLS 1.3", vec![p256.clone()], &rustls::version::TLS13, vec![KeyKind::Elliptic]),
        ("one, TLS 1.2", vec![p256.clone()], &rustls::version::TLS12, vec![KeyKind::Elliptic]),
        ("RSA, TLS 1.2", vec![rsa.clone()], &rustls::version::TLS12, vec![KeyKind::Rsa]),
        (
            "both, TLS 1.3",
            vec![rsa.clone(), p256.clone()],
            &rustls::version::TLS13,
            vec![KeyKind::Elliptic, KeyKind::Rsa],
        ),
        (
            "both, TLS 1.2",
            vec![p256.clone(), rsa.clone()],
            &rustls::version::TLS12,
            vec![KeyKind::Elliptic, KeyKind::Rsa],
        ),
    ];
    for (case, pairs, version, kinds) in cases {
        let config = config(&pairs, version);
        let port = serve(move |stream, _| accept(stream, config.clone()));
        let seen = fingerprints(&ask_one(&endpoint(port, Protocol::Tls), Effort::Glance));
        assert_eq!(seen.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), kinds, "{case}");
        for (kind, fingerprint) in seen {
            let der = if kind == KeyKind::Rsa { &rsa.0 } else { &p256.0 };
            assert_eq!(fingerprint, Fingerprint::of_certificate(der), "{case}");
        }
    }
}

#[test]
fn a_worker_that_still_has_the_old_one_is_met() {
    let now = clock::now();
    let [new, old] = [pair(NAME, Algorithm::P256, now), pair("old.example.com", Algorithm::P256, now)];
    let configs = [&new, &old].map(|pair| config(std::slice::from_ref(pair), &rustls::version::TLS13));
    // A third of the workers, in turn, as accept(2) wakes them.
    let mixed = configs.clone();
    let port = serve(move |stream, number| accept(stream, mixed[usize::from(number % 3 == 2)].clone()));
    let seen = fingerprints(&ask_one(&endpoint(port, Protocol::Tls), Effort::Thorough));
    let count = |pair: &(Vec<u8>, Vec<u8>)| {
        seen.iter().filter(|(_, one)| *one == Fingerprint::of_certificate(&pair.0)).count()
    };
    assert!(count(&new) > 0 && count(&old) > 0, "{} and {}", count(&new), count(&old));
    // Old workers that take their leave are not held against it.
    let port = serve(move |stream, number| accept(stream, configs[usize::from(number < 4)].clone()));
    let seen = fingerprints(&ask_one(&endpoint(port, Protocol::Tls), Effort::Thorough));
    assert!(seen.iter().all(|(_, one)| *one == Fingerprint::of_certificate(&new.0)), "{seen:?}");
}

#[test]
fn starttls_with_a_real_server() {
    let pair = pair(NAME, Algorithm::P256, clock::now());
    let config = config(std::slice::from_ref(&pair), &rustls::version::TLS13);
    let port = serve(move |mut stream, _| {
        stream.write_all(b"220 mail ESMTP\r\n").unwrap();
        let _ = stream.read(&mut [0; 64]);
        stream.write_all(b"250-mail\r\n250 STARTTLS\r\n").unwrap();
        let _ = stream.read(&mut [0; 64]);
        stream.write_all(b"220 go\r\n").unwrap();
        accept(stream, config.clone());
    });
    let answers = ask_one(&endpoint(port, Protocol::Smtp), Effort::Thorough);
    assert!(fingerprints(&answers).len() >= 8);
}

#[test]
fn nothing_that_a_server_sends_can_hurt() {
    type Talk = fn(TcpStream, usize);
    fn greet(stream: &mut TcpStream, says: &[&[u8]]) {
        for line in says {
            let _ = stream.write_all(line);
            let _ = stream.read(&mut [0; 256]);
        }
    }
    fn flood(stream: &mut TcpStream, line: &[u8]) {
        while stream.write_all(line).is_ok() {}
    }
    let injects: Talk = |mut stream, _| {
        greet(&mut stream, &[b"220 x\r\n", b"250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"]);
    };
    let plain_after: Talk = |mut stream, _| {
        greet(&mut stream, &[b"220 x\r\n", b"250 STARTTLS\r\n", b"220 go\r\n", b"250 plain text it is\r\n"]);
    };
    let endless_banner: Talk = |mut stream, _| flood(&mut stream, b"220-more\r\n");
    let one_line: Talk = |mut stream, _| flood(&mut stream, &[b'x'; 65536]);
    let drip: Talk = |mut stream, _| {
        while stream.write_all(b"2").is_ok() {
            clock::pause(Duration::from_millis(200));
        }
    };
    let drip_tls: Talk = |mut stream, _| {
        // A record of 16 KiB that never ends.
        let _ = stream.write_all(b"\x16\x03\x03\x40\x00");
        while stream.write_all(b"\x02").is_ok() {
            clock::pause(Duration::from_millis(200));
        }
    };
    let garbage: Talk = |mut stream, _| greet(&mut stream, &[b"HTTP/1.0 400 Bad Request\r\n\r\n"]);
    let endless_records: Talk = |mut stream, _| {
        // Handshake records of a certificate of 16 MB.
        let record = [b"\x16\x03\x03\x40\x00\x0b\xff\xff\xff".as_slice(), &[0; 16379]].concat();
        flood(&mut stream, &record);
    };
    let silent: Talk = |mut stream, _| while stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {};
    let closes: Talk = |stream, _| drop(stream);
    let cases = [
        ("injected text", Protocol::Smtp, injects, "injected"),
        ("plain text after the upgrade", Protocol::Smtp, plain_after, "no TLS"),
        ("an endless banner", Protocol::Smtp, endless_banner, "octets"),
        ("one line without end", Protocol::Imap, one_line, "line of more"),
        ("an octet now and then", Protocol::Smtp, drip, "in time"),
        ("an octet of a record now and then", Protocol::Tls, drip_tls, "in time"),
        ("no ServerHello", Protocol::Tls, garbage, "no TLS"),
        ("records without end", Protocol::Tls, endless_records, ""),
        ("silence", Protocol::Tls, silent, "in time"),
        ("silence in plain text", Protocol::Pop3, silent, "in time"),
        ("closes at once", Protocol::Tls, closes, "closed the connection"),
        ("closes in plain text", Protocol::Imap, closes, "closed the connection"),
    ];
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (case, protocol, talk, expected) in cases {
            let asked = &asked;
            scope.spawn(move || {
                let since = Instant::now();
                let answers = ask_one(&endpoint(serve(talk), protocol), Effort::Thorough);
                assert!(since.elapsed() < Duration::from_secs(5), "{case}: {:?}", since.elapsed());
                assert!(!answers.is_empty(), "{case}");
                for answer in answers {
                    let (Answer::NoTls(why) | Answer::Unknown(why)) = &answer else {
                        panic!("{case}: {answer:?}");
                    };
                    assert!(why.contains(expected), "{case}: {why}");
                }
                asked.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), cases.len());
}

#[test]
fn who_does_not_have_the_key_is_not_believed() {
    let now = clock::now();
    let (shows, has) = (pair(NAME, Algorithm::P256, now), pair("x.example.com", Algorithm::P256, now));
    let config = config(&[(shows.0, has.1)], &rustls::version::TLS13);
    let port = serve(move |stream, _| accept(stream, config.clone()));
    let answers = ask_one(&endpoint(port, Protocol::Tls), Effort::Glance);
    assert!(matches!(&answers[0], Answer::NoTls(why) if why.contains("handshake")), "{answers:?}");
}

#[test]
fn nobody_listens() {
    // Bound and not listening: another test that wants a port does not get this one.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    held.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = held.local_addr().unwrap().as_socket().unwrap().port();
    assert_eq!(ask_one(&endpoint(port, Protocol::Tls), Effort::Glance)[0], Answer::Closed);
}

#[test]
fn a_port_that_nobody_explains_is_tried_for_a_short_while() {
    let port = serve(|mut stream, _| while stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {});
    let guessed = Endpoint { guessed: true, ..endpoint(port, Protocol::Tls) };
    let since = Instant::now();
    assert!(matches!(ask_one(&guessed, Effort::Glance)[0], Answer::Unknown(_)));
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}
