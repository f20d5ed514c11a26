//! Dialogues as servers hold them, cut anywhere, injected into, and without end.

use super::*;

/// Plays a server: what it says, piece by piece, and what becomes of it.
fn play(protocol: Protocol, says: &[&[u8]]) -> (String, Next) {
    let (mut dialogue, mut next) = Dialogue::begin(protocol, "mail.example.com", "me").unwrap();
    let mut said = Vec::new();
    for piece in says {
        if let Next::Say(octets) = &next {
            said.extend_from_slice(octets);
        }
        next = dialogue.hear(piece);
    }
    (String::from_utf8_lossy(&said).into_owned(), next)
}

#[test]
fn every_protocol_comes_to_tls() {
    type Case = (Protocol, &'static [&'static [u8]], &'static str);
    let cases: [Case; 11] = [
        (
            Protocol::Smtp,
            &[b"220-one\r\n220 two ESMTP\r\n", b"250-mail\r\n250-STARTTLS\r\n250 HELP\r\n", b"220 go\r\n"],
            "EHLO me\r\nSTARTTLS\r\n",
        ),
        (
            Protocol::Lmtp,
            &[b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 2.0.0\r\n"],
            "LHLO me\r\nSTARTTLS\r\n",
        ),
        (
            Protocol::Imap,
            &[b"* OK ready\r\n", b"* CAPABILITY IMAP4rev1\r\na1 OK begin\r\n"],
            "a1 STARTTLS\r\n",
        ),
        (Protocol::Pop3, &[b"+OK <1@x>\r\n", b"+OK begin\r\n"], "STLS\r\n"),
        (
            Protocol::Sieve,
            &[b"\"IMPLEMENTATION\" \"x\"\r\n\"STARTTLS\"\r\nOK\r\n", b"OK \"begin\"\r\n"],
            "STARTTLS\r\n",
        ),
        (Protocol::Ftp, &[b"220-hello\r\n  there\r\n220 x\r\n", b"234 go\r\n"], "AUTH TLS\r\n"),
        (
            Protocol::Ldap,
            &[b"\x30\x0c\x02\x01\x01\x78", b"\x07\x0a\x01\x00\x04\x00\x04\x00"],
            "0\u{1d}\u{2}\u{1}\u{1}w\u{18}\u{fffd}\u{16}1.3.6.1.4.1.1466.20037",
        ),
        (Protocol::Ldap, &[b"\x30\x84\0\0\0\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"], ""),
        (Protocol::Postgres, &[b"S"], "\0\0\0\u{8}\u{4}\u{fffd}\u{16}/"),
        (
            Protocol::XmppClient,
            &[
                b"<?xml version='1.0'?><stream:stream id='1'>",
                b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
                b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            ],
            "",
        ),
        (
            Protocol::XmppServer,
            &[
                b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
                b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>",
            ],
            "",
        ),
    ];
    for (protocol, says, expected) in cases {
        let (said, next) = play(protocol, says);
        assert_eq!(next, Next::Upgraded, "{protocol}");
        assert!(said.contains(expected), "{protocol}: {said:?}");
        // The same, an octet at a time: nothing depends on how it is cut.
        let (mut dialogue, _) = Dialogue::begin(protocol, "mail.example.com", "me").unwrap();
        let octets: Vec<u8> = says.concat();
        let outcomes: Vec<Next> = octets.iter().map(|octet| dialogue.hear(&[*octet])).collect();
        assert_eq!(outcomes.last(), Some(&Next::Upgraded), "{protocol}, octet by octet");
        // What comes with the last piece is plain text injected.
        let mut injected: Vec<Vec<u8>> = says.iter().map(|piece| piece.to_vec()).collect();
        injected.last_mut().unwrap().extend_from_slice(b"injected\r\n");
        let pieces: Vec<&[u8]> = injected.iter().map(Vec::as_slice).collect();
        let (_, next) = play(protocol, &pieces);
        assert!(matches!(&next, Next::Refused(why) if why.contains("injected")), "{protocol}: {next:?}");
    }
}

#[test]
fn refusals_say_why() {
    type Case = (&'static str, Protocol, &'static [&'static [u8]], &'static str);
    let cases: [Case; 12] = [
        ("no offer", Protocol::Smtp, &[b"220 x\r\n", b"250-x\r\n250 HELP\r\n"], "does not offer"),
        (
            "a bad key",
            Protocol::Smtp,
            &[b"220 x\r\n", b"250 STARTTLS\r\n", b"454 4.3.3 TLS not available\r\n"],
            "454",
        ),
        ("no smtp", Protocol::Smtp, &[b"554 go away\r\n"], "554"),
        ("http", Protocol::Smtp, &[b"HTTP/1.1 400 Bad Request\r\n"], "HTTP"),
        ("no imap tls", Protocol::Imap, &[b"* OK\r\n", b"a1 BAD no\r\n"], "BAD"),
        ("preauth", Protocol::Imap, &[b"* PREAUTH x\r\n"], "PREAUTH"),
        ("pop3", Protocol::Pop3, &[b"+OK\r\n", b"-ERR no\r\n"], "-ERR"),
        ("sieve", Protocol::Sieve, &[b"\"SIEVE\" \"x\"\r\nOK\r\n"], "does not offer"),
        ("postgres", Protocol::Postgres, &[b"N"], "no TLS"),
        ("ldap", Protocol::Ldap, &[b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"], "result 2"),
        ("ldap garbage", Protocol::Ldap, &[b"\x30\xff\xff"], "no LDAP"),
        ("xmpp", Protocol::XmppClient, &[b"<stream:stream><stream:error>"], "error"),
    ];
    for (case, protocol, says, expected) in cases {
        let (_, next) = play(protocol, says);
        assert!(matches!(&next, Next::Refused(why) if why.contains(expected)), "{case}: {next:?}");
    }
    let (_, next) = play(Protocol::Smtp, &[b"421 4.3.2 try later\r\n"]);
    assert!(matches!(next, Next::Busy(_)), "a server that is busy says nothing about TLS: {next:?}");
}

#[test]
fn nobody_talks_without_end() {
    let long = [b'x'; MAX_LINE + 1];
    let (_, next) = play(Protocol::Imap, &[&long]);
    assert!(matches!(&next, Next::Refused(why) if why.contains("a line of more")), "{next:?}");
    let (mut dialogue, _) = Dialogue::begin(Protocol::Smtp, "x", "me").unwrap();
    let ends = (0..10_000).any(|_| matches!(dialogue.hear(b"220-and more\r\n"), Next::Refused(_)));
    assert!(ends, "a greeting that never ends");
}

#[test]
fn garbage_is_no_panic() {
    for (protocol, ..) in crate::probe::protocol::ALL {
        let Some((mut dialogue, _)) = Dialogue::begin(protocol, "x", "me") else { continue };
        for octet in 0..=255_u8 {
            let _ = dialogue.hear(&[octet, 0x30, 0x84, octet, b'\n', 0xff]);
        }
    }
}
