use domain::base::Message;

use super::Exchanger;
use super::message::{self, exchangers_of};

const ID: u16 = 0x1234;
const CLASS_IN: [u8; 2] = [0, 1];
const A: u16 = 1;
const CNAME: u16 = 5;
const MX: u16 = 15;
/// Where the name of the question stands, as a pointer (RFC 1035 section 4.1.4).
const ASKED: [u8; 2] = [0xc0, 12];

/// What is found out about exchangers.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Truncated,
    Plain,
    Exchangers(Vec<Exchanger>),
    Unknown(String),
}

fn heard(question: &Message<Vec<u8>>, octets: &[u8]) -> Heard {
    match message::heard(question, octets) {
        message::Heard::Nothing => Heard::Nothing,
        message::Heard::Truncated => Heard::Truncated,
        message::Heard::Plain => Heard::Plain,
        message::Heard::Unknown(why) => Heard::Unknown(why),
        message::Heard::Answer(answer) => match answer.exchangers() {
            Ok(exchangers) => Heard::Exchangers(exchangers),
            Err(why) => Heard::Unknown(why),
        },
    }
}

/// Names as labels.
fn labels(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut octets: Vec<u8> =
        labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat()).collect();
    octets.push(0);
    octets
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [owner, &kind.to_be_bytes(), &CLASS_IN, &[0, 0, 0, 60], &length, data].concat()
}

fn mx(preference: u8, name: &str) -> Vec<u8> {
    record(&ASKED, MX, &[&[0, preference], labels(name).as_slice()].concat())
}

/// An answer to the question for example.com.
fn answer(flags: [u8; 2], count: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let counts = [[0, 1], count.to_be_bytes(), [0, 0], [0, 0]].concat();
    let asked = [labels("example.com").as_slice(), &MX.to_be_bytes(), &CLASS_IN].concat();
    [ID.to_be_bytes().as_slice(), &flags, &counts, &asked, &records.concat()].concat()
}

fn asked() -> Message<Vec<u8>> {
    exchangers_of("example.com").unwrap().message(ID, true, false).unwrap()
}

fn named(exchangers: &[(u16, &str)]) -> Heard {
    let exchanger =
        |(preference, name): &(u16, &str)| Exchanger { preference: *preference, name: (*name).into() };
    Heard::Exchangers(exchangers.iter().map(exchanger).collect())
}

/// Answer, authoritative.
const GOOD: [u8; 2] = [0x84, 0];
/// The same, and there is no such domain.
const NONE: [u8; 2] = [0x84, 3];

#[test]
fn answers() {
    let alias = record(&ASKED, CNAME, &labels("other.test"));
    let of_alias = record(&labels("other.test"), MX, &[&[0, 5], labels("mx.other.test").as_slice()].concat());
    let stray = record(&labels("evil.test"), MX, &[&[0, 1], labels("mx.evil.test").as_slice()].concat());
    // name, answer, expected
    let cases = [
        (
            "equal preference: both",
            answer(GOOD, 3, &[mx(20, "C.example.com"), mx(10, "b.example.com"), mx(10, "a.example.com")]),
            named(&[(10, "a.example.com"), (10, "b.example.com"), (20, "c.example.com")]),
        ),
        ("the same twice", answer(GOOD, 2, &[mx(10, "a.test"), mx(10, "A.test")]), named(&[(10, "a.test")])),
        ("none", answer(GOOD, 0, &[]), named(&[])),
        ("no such domain", answer(NONE, 0, &[]), named(&[])),
        ("none, from a resolver", answer([0x80, 0x80], 0, &[]), named(&[])),
        ("takes no mail", answer(GOOD, 1, &[mx(0, "")]), named(&[(0, ".")])),
        ("by an alias", answer(GOOD, 2, &[alias, of_alias]), named(&[(5, "mx.other.test")])),
        ("of another domain", answer(GOOD, 2, &[stray, mx(1, "a.test")]), named(&[(1, "a.test")])),
        ("an address in between", answer(GOOD, 2, &[record(&ASKED, A, &[1; 4]), mx(1, "a.test")]), {
            named(&[(1, "a.test")])
        }),
        ("cut off", answer([0x86, 0], 0, &[]), Heard::Truncated),
    ];
    for (case, octets, expected) in cases {
        assert_eq!(heard(&asked(), &octets), expected, "{case}");
    }
}

#[test]
fn answers_that_say_nothing() {
    let many: Vec<_> = (0..101).map(|number| mx(1, &format!("mx{number}.test"))).collect();
    let circle = [record(&ASKED, CNAME, &labels("b.test")), record(&labels("b.test"), CNAME, &ASKED)];
    // name, answer, words
    let cases = [
        ("failure", answer([0x84, 2], 0, &[]), "answers SERVFAIL"),
        ("refused", answer([0x80, 5], 0, &[]), "answers REFUSED"),
        ("names others to ask", answer([0x80, 0], 0, &[]), "no server for this domain"),
        ("no such domain, it guesses", answer([0x80, 3], 0, &[]), "no server for this domain"),
        ("more than there are", answer(GOOD, 2, &[mx(1, "a.test")]), "cannot be read"),
        ("too short", answer(GOOD, 1, &[record(&ASKED, MX, &[0])]), "cannot be read"),
        ("a pointer to itself", answer(GOOD, 1, &[record(&ASKED, MX, &[0, 1, 0xc0, 43])]), "cannot be read"),
        (
            "a pointer out of it",
            answer(GOOD, 1, &[record(&ASKED, MX, &[0, 1, 0xff, 0xff])]),
            "cannot be read",
        ),
        ("aliases in a circle", answer(GOOD, 2, &circle), "aliases do not end"),
        ("a blank in a name", answer(GOOD, 1, &[mx(1, "a b.test")]), "letters, digits"),
        ("a line of its own", answer(GOOD, 1, &[mx(1, "a\n$INCLUDE x.test")]), "letters, digits"),
        ("a comment", answer(GOOD, 1, &[mx(1, "a;b.test")]), "letters, digits"),
        ("too many", answer(GOOD, 101, &many), "more than 100"),
    ];
    for (case, octets, words) in cases {
        match heard(&asked(), &octets) {
            Heard::Unknown(said) => assert!(said.contains(words), "{case}: {said}"),
            other => panic!("{case}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_answer() {
    let good = answer(GOOD, 1, &[mx(1, "a.test")]);
    let with = |at: usize, put: u8| {
        let mut octets = good.clone();
        octets[at] = put;
        octets
    };
    let cases = [
        ("another number", with(0, 0xff)),
        ("a question", with(2, 0x04)),
        ("another operation", with(2, 0xac)),
        ("no question in it", with(5, 0)),
        ("two questions in it", with(5, 2)),
        ("another name", with(13, b'f')),
        ("another type", with(26, 1)),
        ("another class", with(28, 3)),
        ("nothing", Vec::new()),
        ("half a header", good[..7].to_vec()),
        ("the header alone", good[..12].to_vec()),
    ];
    for (case, octets) in cases {
        assert_eq!(heard(&asked(), &octets), Heard::Nothing, "{case}");
    }
}

#[test]
fn whatever_is_thrown_at_it_ends() {
    let good = answer(GOOD, 2, &[mx(10, "mx1.example.com"), mx(10, "mx2.example.com")]);
    for at in 0..good.len() {
        let _ = heard(&asked(), &good[..at]);
        for put in 0..=u8::MAX {
            let mut octets = good.clone();
            octets[at] = put;
            let _ = heard(&asked(), &octets);
        }
    }
}

#[test]
fn what_is_asked() {
    for bad in ["", ".", "a b", "a..b", "../x", &"a".repeat(64), &vec!["a".repeat(60); 5].join(".")] {
        assert!(exchangers_of(bad).is_err(), "{bad}");
    }
    let octets = exchangers_of("Bücher.Example.").unwrap().message(ID, true, false).unwrap().into_octets();
    let asked = [labels("xn--bcher-kva.example"), vec![0, 15, 0, 1]].concat();
    assert_eq!(octets, [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], asked.as_slice()].concat());
}
