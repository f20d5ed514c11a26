//! The mail exchangers of a domain, asked of a real BIND, and of servers that mean harm or do nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[path = "lab/named.rs"]
mod named;
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use named::{Named, free_port};
use reseed::manager::config::Primary;
use reseed::manager::dns::lookup::{Patience, exchangers};
use reseed::manager::dns::{Exchanger, Unknown};

/// Exchangers of the domain that has many: far more than fit in a datagram.
const MANY: u16 = 60;

fn at(server: &str, port: u16) -> Primary {
    Primary { server: server.into(), port }
}

fn shortly() -> Patience {
    Patience { time: Duration::from_millis(500), tries: 2 }
}

fn names(answer: &Result<Vec<Exchanger>, Unknown>) -> Vec<(u16, &str)> {
    let exchangers = answer.as_ref().unwrap_or_else(|unknown| panic!("{unknown}"));
    exchangers.iter().map(|one| (one.preference, one.name.as_str())).collect()
}

#[test]
fn bind_is_understood() {
    let many: String = (0..MANY).map(|n| format!("@ IN MX {n} mx{n}.with-a-long-name\n")).collect();
    let zones = [
        ("example.com", "@ IN MX 20 c\n@ IN MX 10 MX2.example.com.\n@ IN MX 10 mx1\n"),
        ("none.test", ""),
        ("null.test", "@ IN MX 0 .\n"),
        ("many.test", &many),
        ("odd.test", "@ IN MX 10 a\\032b\n"),
    ];
    let Some(named) = Named::new(&zones) else { return };
    let local = at("127.0.0.1", named.port);
    let ask = |apex: &str| exchangers(&local, apex, &Patience::default());
    let both = [(10, "mx1.example.com"), (10, "mx2.example.com"), (20, "c.example.com")];
    assert_eq!(names(&ask("example.com")), both, "equal preference: both");
    assert_eq!(names(&ask("EXAMPLE.com.")), both);
    assert_eq!(names(&ask("none.test")), []);
    assert_eq!(names(&ask("nowhere.none.test")), [], "no such name");
    assert_eq!(names(&ask("null.test")), [(0, ".")]);
    let many = ask("many.test");
    assert_eq!(names(&many).len(), usize::from(MANY), "by TCP");
    assert_eq!(names(&many)[59], (59, "mx59.with-a-long-name.many.test"));
    for (apex, words) in
        [("elsewhere.test", "answers REFUSED"), ("odd.test", "cannot be read"), ("a b", "letters")]
    {
        let said = ask(apex).unwrap_err().to_string();
        let head = format!(
            "the mail exchangers of {apex} are not known: name server 127.0.0.1 port {} ",
            named.port
        );
        assert!(said.starts_with(&head) && said.contains(words), "{apex}: {said}");
    }
    let by_name = exchangers(&at("localhost", named.port), "example.com", &Patience::default());
    assert_eq!(names(&by_name), both);
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        for apex in ["example.com", "many.test"] {
            let answer = exchangers(&at("::1", named.port), apex, &Patience::default());
            assert_eq!(names(&answer), names(&ask(apex)), "over IPv6");
        }
    }
}

/// A server that answers each datagram with these; ends with the test.
fn answering(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let port = free_port();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            for answer in answers(&buffer[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    port
}

/// The question made an answer, with these flags and one exchanger of this name.
fn answer(question: &[u8], flags: [u8; 2], label: &[u8]) -> Vec<u8> {
    // Without the OPT record of EDNS, which is the question's last.
    let mut answer = question[..question.len() - 11].to_vec();
    answer[2..4].copy_from_slice(&flags);
    (answer[7], answer[11]) = (1, 0);
    let name = [&[u8::try_from(label.len()).unwrap()], label, &[0]].concat();
    let length = u8::try_from(name.len() + 2).unwrap();
    answer.extend([0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, length, 0, 10]);
    answer.extend(name);
    answer
}

const GOOD: [u8; 2] = [0x84, 0];
const CUT: [u8; 2] = [0x86, 0];

#[test]
fn servers_that_mean_harm_over_udp() {
    type Answers = Box<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send>;
    let changed = |question: &[u8], at: usize| {
        let mut answer = answer(question, GOOD, b"evil");
        answer[at] ^= 1;
        answer
    };
    // name, answers, what is found out
    let cases: Vec<(&str, Answers, Result<&str, &str>)> = vec![
        ("a good one", Box::new(|question| vec![answer(question, GOOD, b"mx")]), Ok("mx")),
        (
            "others before the good one",
            Box::new(move |question| {
                vec![
                    Vec::new(),
                    vec![0xff; 4000],
                    question.to_vec(),
                    changed(question, 0),
                    changed(question, 14),
                    answer(question, GOOD, b"mx"),
                    answer(question, GOOD, b"evil"),
                ]
            }),
            Ok("mx"),
        ),
        (
            "only wrong numbers",
            Box::new(move |question| vec![changed(question, 1); 100]),
            Err("does not answer in time"),
        ),
        ("the question back", Box::new(|question| vec![question.to_vec()]), Err("does not answer in time")),
        ("nothing", Box::new(|_| Vec::new()), Err("does not answer in time")),
        (
            "a name of lines",
            Box::new(|question| vec![answer(question, GOOD, b"a\n$INCLUDE x")]),
            Err("cannot be read"),
        ),
        (
            "half of it",
            Box::new(|question| {
                let mut answer = answer(question, GOOD, b"mx");
                answer.truncate(answer.len() - 3);
                vec![answer]
            }),
            Err("cannot be read"),
        ),
        (
            "larger than is read",
            Box::new(|question| {
                let mut answer = answer(question, GOOD, b"mx");
                answer[6] = 0xff;
                answer.resize(60_000, 0);
                vec![answer]
            }),
            Err("cannot be read"),
        ),
        ("a failure", Box::new(|question| vec![answer(question, [0x84, 2], b"mx")]), Err("answers SERVFAIL")),
        (
            "cut off, and no TCP",
            Box::new(|question| vec![answer(question, CUT, b"mx")]),
            Err("cannot be asked"),
        ),
    ];
    for (case, answers, expected) in cases {
        let port = answering(answers);
        let begun = Instant::now();
        let found = exchangers(&at("127.0.0.1", port), "example.com", &shortly());
        assert!(begun.elapsed() < Duration::from_secs(3), "{case}: {:?}", begun.elapsed());
        match (found, expected) {
            (Ok(found), Ok(name)) => {
                assert_eq!(found, [Exchanger { preference: 10, name: name.into() }], "{case}");
            }
            (Err(Unknown(said)), Err(words)) => assert!(said.contains(words), "{case}: {said}"),
            (found, _) => panic!("{case}: {found:?}"),
        }
    }
}

#[test]
fn servers_that_mean_harm_over_tcp() {
    type Talk = fn(&mut std::net::TcpStream, &[u8]);
    // name, what is said, what is found out
    let cases: Vec<(&str, Talk, Result<&str, &str>)> = vec![
        ("a good one", |stream, question| say(stream, &answer(question, GOOD, b"mx")), Ok("mx")),
        (
            "cut off again",
            |stream, question| say(stream, &answer(question, CUT, b"mx")),
            Err("over TCP, too"),
        ),
        ("another question", |stream, _| say(stream, &[0; 40]), Err("another question")),
        ("nothing", |_, _| {}, Err("it closed the connection")),
        ("half a length", |stream, _| stream.write_all(&[1]).unwrap(), Err("it closed the connection")),
        ("no length", |stream, _| stream.write_all(&[0, 0]).unwrap(), Err("another question")),
        (
            "less than it says",
            |stream, question| stream.write_all(&[&[0xff, 0xff], question].concat()).unwrap(),
            Err("it closed the connection"),
        ),
        (
            "an octet now and then",
            |stream, _| {
                let _ = stream.write_all(&[0xff, 0xff]);
                while stream.write_all(&[0]).is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            },
            Err("does not answer in time"),
        ),
    ];
    for (case, talk, expected) in cases {
        let port = answering(|question| vec![answer(question, CUT, b"cut")]);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).unwrap();
                talk(&mut stream, &question);
            }
        });
        let begun = Instant::now();
        let found = exchangers(&at("127.0.0.1", port), "example.com", &shortly());
        assert!(begun.elapsed() < Duration::from_secs(3), "{case}: {:?}", begun.elapsed());
        match (found, expected) {
            (Ok(found), Ok(name)) => assert_eq!(found[0].name, name, "{case}"),
            (Err(Unknown(said)), Err(words)) => assert!(said.contains(words), "{case}: {said}"),
            (found, _) => panic!("{case}: {found:?}"),
        }
    }
}

fn say(stream: &mut std::net::TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, message].concat()).unwrap();
}

#[test]
fn nobody_there() {
    let cases = [
        ("nobody listens", at("127.0.0.1", free_port()), "cannot be asked"),
        ("no such name", at("nobody.invalid", 53), "has no address"),
        ("no name at all", at("a b\n", 53), "has no address"),
        ("empty", at("", 53), "port 53 "),
    ];
    for (case, primary, words) in cases {
        let said = exchangers(&primary, "example.com", &shortly()).unwrap_err().to_string();
        assert!(said.contains(words), "{case}: {said}");
    }
}
