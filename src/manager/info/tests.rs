//! What the integration tests cannot show: every octet damaged, and texts that a terminal would obey.

use super::*;
use crate::pki::dh::Group;
use crate::pki::key::PrivateKey;
use crate::pki::peer::{leaf, made, now, pem};
use crate::pki::{Algorithm, Container, Digest};

fn certificate() -> Vec<u8> {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    made("www.example.com", &leaf(), key, None, Digest::Sha256, 1).der
}

#[test]
fn no_damage_makes_it_panic_or_fall_silent() {
    let key = PrivateKey::generate(Algorithm::P256).unwrap();
    let key = key.to_pem(Container::Pkcs8).unwrap();
    let key = ::pem::parse(key.reveal()).unwrap();
    let dh = Group::Ffdhe2048.parameters().to_pem().unwrap();
    let dh = ::pem::parse(dh).unwrap();
    let cases = [
        ("CERTIFICATE", certificate()),
        ("TRUSTED CERTIFICATE", certificate()),
        ("CERTIFICATE REQUEST", certificate()),
        ("X509 CRL", certificate()),
        ("PKCS7", certificate()),
        ("PRIVATE KEY", key.contents().to_vec()),
        ("EC PRIVATE KEY", key.contents().to_vec()),
        ("RSA PRIVATE KEY", key.contents().to_vec()),
        ("DSA PRIVATE KEY", key.contents().to_vec()),
        ("OPENSSH PRIVATE KEY", key.contents().to_vec()),
        ("PUBLIC KEY", key.contents().to_vec()),
        ("RSA PUBLIC KEY", key.contents().to_vec()),
        ("EC PARAMETERS", key.contents().to_vec()),
        ("DSA PARAMETERS", key.contents().to_vec()),
        ("DH PARAMETERS", dh.contents().to_vec()),
    ];
    let look = |content: &[u8]| {
        let described = describe(content, now());
        assert!(!described.is_empty());
        for block in described {
            assert!(block.shown(true).to_string().starts_with("      Block : "), "{block:?}");
            serde_json::to_string(&block).unwrap();
        }
    };
    for (label, der) in cases {
        for at in 0..der.len() {
            let mut damaged = der.clone();
            damaged[at] ^= 0xff;
            look(&damaged);
            look(pem(label, &damaged).as_bytes());
            look(&der[..at]);
            look(pem(label, &der[..at]).as_bytes());
        }
    }
}

#[test]
fn nothing_reaches_the_terminal_that_it_would_obey() {
    let text = "-----BEGIN \u{1b}[2J-----\nYWJj\n-----END \u{1b}[2J-----\n";
    let mut fields = Fields::default();
    fields.text("Subject", "CN=\u{1b}[2J\nIssuer : CN=Root");
    fields.list("Sans", vec!["\u{7}".to_owned()]);
    let forged = Described::new("certificate", fields);
    for shown in [describe(text.as_bytes(), now())[0].shown(true).to_string(), forged.shown(true).to_string()]
    {
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
    assert_eq!(forged.shown(true).to_string().lines().count(), 3);
}

#[test]
fn long_lists_are_wrapped() {
    let list = |length: usize| (0..length).map(|n| format!("host-{n}.example.com")).collect::<Vec<_>>();
    assert_eq!(wrapped(&[]), Vec::<String>::new());
    assert_eq!(wrapped(&list(2)), ["host-0.example.com, host-1.example.com"]);
    let many = wrapped(&list(100));
    assert!(many.iter().all(|line| line.len() <= COLUMNS + 2), "{many:?}");
    assert_eq!(many.join(" ").split(", ").count(), 100);
    assert_eq!(wrapped(&["x".repeat(200), "y".into()]), ["x".repeat(200) + ",", "y".into()]);
}

#[test]
fn distances() {
    let now = time::macros::datetime!(2030-01-01 12:00 UTC);
    for (time, expected) in [
        (time::macros::datetime!(2030-01-11 12:00 UTC), "2030-01-11 12:00:00 UTC (in 10 days)"),
        (time::macros::datetime!(2030-01-02 18:00 UTC), "2030-01-02 18:00:00 UTC (in 30 hours)"),
        (time::macros::datetime!(2030-01-01 13:00 UTC), "2030-01-01 13:00:00 UTC (in 60 minutes)"),
        (time::macros::datetime!(2029-12-29 12:00 UTC), "2029-12-29 12:00:00 UTC (3 days ago)"),
    ] {
        assert_eq!(when(time, now), expected);
    }
}
