use time::Duration;

use super::*;
use crate::pki::key::PrivateKey;
use crate::pki::peer::{Holder, Scratch, leaf, made, now, pem, try_made};
use crate::pki::x509::Role;
use crate::pki::x509::crl::{ListProfile, Reason, Revoked, revocation_list};
use crate::pki::{Algorithm, Container, Digest};

const HOST: &str = "mail.example.com";
const ROOT: Role = Role::Root { path_len: None };

fn key() -> PrivateKey {
    PrivateKey::generate(Algorithm::P256).unwrap()
}

fn copy(key: &PrivateKey) -> PrivateKey {
    PrivateKey::from_pem(key.to_pem(Container::Pkcs8).unwrap().reveal()).unwrap()
}

fn path_len(path_len: u8) -> Role {
    Role::Intermediate { path_len }
}

/// A certificate with the name and the key of another one.
fn twin(of: &Holder, name: &str, role: &Role, issuer: Option<&Holder>, days: i64) -> Vec<u8> {
    let end = now() + Duration::days(days);
    try_made(name, role, &of.key, issuer, Digest::Sha256, 99, end).unwrap().der
}

/// A certificate of a key by OpenSSL, self-signed, with what we never write.
fn foreign(scratch: &Scratch, key: &PrivateKey, subject: &str, extensions: &str) -> Vec<u8> {
    scratch.write("foreign.key", key.to_pem(Container::Pkcs8).unwrap().reveal());
    scratch.write("foreign.conf", format!("[req]\ndistinguished_name=d\n[d]\n[x]\n{extensions}\n"));
    let named = [
        "-key",
        "foreign.key",
        "-utf8",
        "-subj",
        subject,
        "-days",
        "20",
        "-outform",
        "DER",
        "-out",
        "foreign",
    ];
    scratch.openssl(&[&["req", "-x509", "-config", "foreign.conf", "-extensions", "x"], &named[..]].concat());
    scratch.read("foreign")
}

struct Case<'a> {
    name: &'a str,
    question: Question<'a>,
    expected: &'a [&'a str],
    /// What OpenSSL says where it is not the same.
    openssl: Option<bool>,
}

#[test]
fn what_is_wrong_is_said_and_openssl_agrees() {
    let digest = Digest::Sha256;
    let scratch = Scratch::new();
    let root = made("Root", &ROOT, key(), None, digest, 1);
    let upper = made("Upper", &path_len(1), key(), Some(&root), digest, 2);
    let lower = made("Lower", &path_len(0), key(), Some(&upper), digest, 3);
    let end = made(HOST, &leaf(), key(), Some(&lower), digest, 4);
    let alone = made(HOST, &leaf(), key(), None, digest, 5);
    let stranger = made("Lower", &path_len(0), key(), Some(&upper), digest, 6);

    let anchors = vec![root.der.clone()];
    let alone_trusted = vec![alone.der.clone()];
    let file = vec![lower.der.clone(), upper.der.clone()];
    let untidy = vec![upper.der.clone(), lower.der.clone(), root.der.clone(), stranger.der.clone()];
    let only_lower = vec![lower.der.clone()];
    let with_root = vec![lower.der.clone(), upper.der.clone(), root.der.clone()];
    let with_stranger = vec![stranger.der.clone(), upper.der.clone()];
    let with_junk = vec![lower.der.clone(), b"junk".to_vec(), upper.der.clone()];
    let with_leaf = vec![twin(&lower, "Lower", &leaf(), Some(&upper), 10), upper.der.clone()];
    let short = vec![twin(&lower, "Lower", &path_len(0), Some(&upper), 5), upper.der.clone()];
    let renewed = vec![short[0].clone(), lower.der.clone(), upper.der.clone()];
    let narrow = vec![lower.der.clone(), twin(&upper, "Upper", &path_len(0), Some(&root), 10)];
    let narrow = (narrow, "Upper: allows 0 authorities below it (pathLen), but there are 1");
    let root_name = "/O=Bücher/CN=Root";
    let ca = "basicConstraints=critical,CA:true\nsubjectKeyIdentifier=";
    let other_key = vec![foreign(&scratch, &root.key, root_name, &format!("{ca}hash"))];
    let no_sign = vec![foreign(&scratch, &root.key, root_name, &format!("{ca}none\nkeyUsage=cRLSign"))];
    let limits = |names: &str| {
        vec![foreign(&scratch, &root.key, root_name, &format!("{ca}none\nnameConstraints=critical,{names}"))]
    };
    let outside = limits("permitted;DNS:example.org,permitted;IP:192.0.2.0/255.255.255.0");
    let inside =
        limits("permitted;DNS:example.com,permitted;IP:192.0.2.0/255.255.255.0,excluded;DNS:example.org");
    let excluded = limits("excluded;IP:192.0.2.0/255.255.255.0");
    let client_only =
        vec![foreign(&scratch, &root.key, root_name, &format!("{ca}none\nextendedKeyUsage=clientAuth"))];
    let critical =
        vec![foreign(&scratch, &root.key, root_name, &format!("{ca}none\n1.2.3.4=critical,DER:0500"))];
    let no_names = foreign(&scratch, &key(), &format!("/CN={HOST}"), "");
    let no_names_trusted = vec![no_names.clone()];
    let encipher = foreign(
        &scratch,
        &key(),
        &format!("/CN={HOST}"),
        "keyUsage=keyCertSign\nsubjectAltName=DNS:mail.example.com",
    );
    let encipher_trusted = vec![encipher.clone()];
    let listing = |holder: &Holder, serial: u8, due: i64| {
        let serial = crate::pki::serial::Serial::from_octets(&[7, serial]).unwrap();
        let revoked = [Revoked { serial, at: now() - Duration::days(1), reason: Reason::Superseded }];
        let (this_update, next_update) = (now() - Duration::minutes(1), now() + Duration::days(due));
        let profile = ListProfile { number: 1, this_update, next_update, revoked: &revoked };
        revocation_list(&holder.der, &holder.key, digest, profile).unwrap()
    };
    let of_root = [listing(&root, 90, 1), listing(&upper, 91, 1)];
    let revoked = [&[listing(&lower, 4, 1)], &of_root[..]].concat();
    let upper_revoked = vec![listing(&root, 2, 1), listing(&upper, 91, 1), listing(&lower, 92, 1)];
    let others = [&[listing(&lower, 93, 1)], &of_root[..]].concat();
    let stale = [&[listing(&lower, 93, 0)], &of_root[..]].concat();
    let forged = [&[listing(&stranger, 4, 1)], &of_root[..]].concat();

    let good = Question {
        certificate: &end.der,
        intermediates: &file,
        anchors: &anchors,
        lists: &[],
        now: now(),
        name: None,
        purpose: None,
    };
    let server = Some(Usage::Server);
    let case = |name, question, expected| Case { name, question, expected, openssl: None };
    let but = |name, question, expected, openssl| Case { name, question, expected, openssl: Some(openssl) };
    let cases = [
        case("good", good, &[][..]),
        case("good for a name", Question { name: Some(HOST), purpose: server, ..good }, &[]),
        case("good for an address", Question { name: Some("192.0.2.4"), ..good }, &[]),
        case("an authority", Question { certificate: &lower.der, intermediates: &file[1..], ..good }, &[]),
        case("a root", Question { certificate: &root.der, intermediates: &[], ..good }, &[]),
        case(
            "trusted by itself",
            Question { certificate: &alone.der, intermediates: &[], anchors: &alone_trusted, ..good },
            &[],
        ),
        case(
            "self-signed",
            Question { certificate: &alone.der, intermediates: &[], ..good },
            &["mail.example.com: is a root that is not trusted"],
        ),
        case(
            "nothing but the certificate",
            Question { intermediates: &[], ..good },
            &["mail.example.com: its issuer is missing: O = Bücher, CN = Lower"],
        ),
        case(
            "one missing",
            Question { intermediates: &only_lower, ..good },
            &["Lower: its issuer is missing: O = Bücher, CN = Upper"],
        ),
        case(
            "nobody trusted",
            Question { anchors: &[], ..good },
            &["Upper: its issuer is missing: O = Bücher, CN = Root"],
        ),
        case(
            "a root in the file, nobody trusted",
            Question { anchors: &[], intermediates: &with_root, ..good },
            &["Root: is a root that is not trusted", "Root: is a root, and need not be in the file"],
        ),
        case(
            "untidy",
            Question { intermediates: &untidy, ..good },
            &[
                "Upper: does not stand right after",
                "Root: is a root, and need not be in the file",
                "Lower: is in the file, but issued nothing",
            ],
        ),
        case(
            "another of that name",
            Question { intermediates: &with_stranger, ..good },
            &[
                "mail.example.com: its signature is not of the key of O = Bücher, CN = Lower",
                "Lower: is in the file, but",
                "Upper: is in the file, but",
            ],
        ),
        // It is not shown the junk.
        but(
            "junk in the file",
            Question { intermediates: &with_junk, ..good },
            &["intermediate 2: not a certificate"],
            true,
        ),
        case(
            "signed by a leaf",
            Question { intermediates: &with_leaf, ..good },
            &["Lower: is not an authority's"],
        ),
        case(
            "outlives its issuer",
            Question { intermediates: &short, ..good },
            &["mail.example.com: ends after its issuer"],
        ),
        case(
            "expired in the middle",
            Question { intermediates: &short, now: now() + Duration::days(7), ..good },
            &["mail.example.com: ends after its issuer", "Lower: has expired at"],
        ),
        case(
            "the renewed one beside it",
            Question { intermediates: &renewed, now: now() + Duration::days(7), ..good },
            &["Lower: is in the file, but issued nothing"],
        ),
        case(
            "all expired",
            Question { now: now() + Duration::days(11), ..good },
            &["mail.example.com: has expired", "Lower: has", "Upper: has", "Root: has"],
        ),
        case(
            "too early",
            Question { now: now() - Duration::hours(2), ..good },
            &["mail.example.com: is not valid before", "Lower: is not", "Upper: is not", "Root: is not"],
        ),
        case("path length", Question { intermediates: &narrow.0, ..good }, std::slice::from_ref(&narrow.1)),
        case(
            "another key identifier",
            Question { anchors: &other_key, ..good },
            &["Upper: refers to another key than that of O = Bücher, CN = Root"],
        ),
        case("key usage", Question { anchors: &no_sign, ..good }, &["Root: may not sign certificates"]),
        case("inside its limits", Question { anchors: &inside, ..good }, &[]),
        case(
            "outside its limits",
            Question { anchors: &outside, ..good },
            &["mail.example.com: is for mail.example.com, for which O = Bücher, CN = Root may not sign"],
        ),
        case(
            "excluded",
            Question { anchors: &excluded, ..good },
            &["mail.example.com: is for 192.0.2.4, for which O = Bücher, CN = Root may not sign"],
        ),
        case(
            "unknown and critical",
            Question { anchors: &critical, ..good },
            &["Root: has a critical extension that is not known here: 1.2.3.4"],
        ),
        case(
            "purpose of the root",
            Question { anchors: &client_only, purpose: server, ..good },
            &["Root: may not be used by a server"],
        ),
        case(
            "purpose",
            Question { purpose: Some(Usage::Client), ..good },
            &["mail.example.com: may not be used by a client"],
        ),
        case(
            "key usage of a server",
            Question {
                certificate: &encipher,
                intermediates: &[],
                anchors: &encipher_trusted,
                purpose: server,
                ..good
            },
            &["mail.example.com: may not be used by a server"],
        ),
        // It refuses no authority as a server, as some clients do.
        case(
            "an authority as a server",
            Question { certificate: &lower.der, intermediates: &file[1..], purpose: server, ..good },
            &["Lower: is an authority's, which many clients refuse"],
        ),
        case(
            "another name",
            Question { name: Some("www.example.com"), ..good },
            &["mail.example.com: is not for www.example.com, only for mail.example.com, 192.0.2.4"],
        ),
        // OpenSSL still takes the common name.
        but(
            "the common name alone",
            Question {
                certificate: &no_names,
                intermediates: &[],
                anchors: &no_names_trusted,
                name: Some(HOST),
                ..good
            },
            &["mail.example.com: is not for mail.example.com: it has no subjectAltName"],
            true,
        ),
        case("revoked", Question { lists: &revoked, ..good }, &["mail.example.com: is revoked since"]),
        case(
            "an authority revoked",
            Question { lists: &upper_revoked, ..good },
            &["Upper: is revoked since"],
        ),
        case("others revoked", Question { lists: &others, ..good }, &[]),
        // Without a list OpenSSL takes nothing when it is told to look.
        but(
            "an old list",
            Question { lists: &stale, now: now() + Duration::hours(1), ..good },
            &["mail.example.com: whether it is revoked is not known: a newer list"],
            false,
        ),
        but(
            "a list by somebody else",
            Question { lists: &forged, ..good },
            &["mail.example.com: whether it is revoked is not known: the list is not signed"],
            false,
        ),
    ];
    for Case { name, question, expected, openssl } in &cases {
        let report = verify(question);
        let found: Vec<String> = report
            .findings
            .iter()
            .map(|finding| finding.to_string().replacen("O = Bücher, ", "", 1).replacen("CN = ", "", 1))
            .collect();
        assert_eq!(found.len(), expected.len(), "{name}: {found:#?}");
        for (found, expected) in found.iter().zip(*expected) {
            assert!(found.starts_with(expected), "{name}: {found}");
        }
        let (content, text) = asked(&scratch, question);
        assert_eq!(content, openssl.unwrap_or(report.is_good()), "{name}: {found:?} {text}");
        assert!(serde_json::to_string(&report).is_ok(), "{name}");
    }
}

/// The same question to OpenSSL.
fn asked(scratch: &Scratch, question: &Question<'_>) -> (bool, String) {
    let all = |ders: &[Vec<u8>], label| ders.iter().map(|der| pem(label, der)).collect::<String>();
    scratch.write("leaf", pem("CERTIFICATE", question.certificate));
    scratch
        .write("file", all(question.intermediates, "CERTIFICATE").replace(&pem("CERTIFICATE", b"junk"), ""));
    scratch.write("anchors", all(question.anchors, "CERTIFICATE"));
    scratch.write("lists", all(question.lists, "X509 CRL"));
    let time = question.now.unix_timestamp().to_string();
    let mut arguments = vec!["verify", "-attime", &time, "-no-CApath", "-no-CAstore"];
    match question.anchors {
        [] => arguments.push("-no-CAfile"),
        _ => arguments.extend(["-CAfile", "anchors"]),
    }
    if !question.intermediates.is_empty() {
        arguments.extend(["-untrusted", "file"]);
    }
    if !question.lists.is_empty() {
        arguments.extend(["-CRLfile", "lists", "-crl_check_all"]);
    }
    match question.name {
        Some(name) if name.parse::<std::net::IpAddr>().is_ok() => arguments.extend(["-verify_ip", name]),
        Some(name) => arguments.extend(["-verify_hostname", name]),
        None => {}
    }
    match question.purpose {
        Some(Usage::Server) => arguments.extend(["-purpose", "sslserver"]),
        Some(Usage::Client) => arguments.extend(["-purpose", "sslclient"]),
        None => {}
    }
    arguments.push("leaf");
    scratch.run("openssl", &arguments)
}

#[test]
fn every_kind_of_key_and_digest_is_verified() {
    for algorithm in
        [Algorithm::P256, Algorithm::P384, Algorithm::P521, Algorithm::Ed25519, Algorithm::Rsa(2048)]
    {
        let keys = [(); 2].map(|()| PrivateKey::generate(algorithm).unwrap());
        for digest in [Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            let [root, end] = keys.each_ref().map(copy);
            let root = made("Root", &ROOT, root, None, digest, 1);
            let end = made(HOST, &leaf(), end, Some(&root), digest, 2);
            let anchors = [root.der];
            let question = Question {
                certificate: &end.der,
                intermediates: &[],
                anchors: &anchors,
                lists: &[],
                now: now(),
                name: Some(HOST),
                purpose: Some(Usage::Server),
            };
            let report = verify(&question);
            assert!(report.findings.is_empty(), "{algorithm} {digest:?}: {report:?}");
            assert_eq!(report.path, ["O = Bücher, CN = mail.example.com", "O = Bücher, CN = Root"]);
        }
    }
}

#[test]
fn weak_cryptography_is_named() {
    let scratch = Scratch::new();
    let make = |bits: &str, digest: &str, name: &str| {
        scratch.openssl(&[
            "req",
            "-x509",
            "-newkey",
            &format!("rsa:{bits}"),
            "-nodes",
            "-keyout",
            "key",
            digest,
            "-subj",
            "/CN=x",
            "-days",
            "1",
            "-outform",
            "DER",
            "-out",
            name,
        ]);
        scratch.read(name)
    };
    let (small, old) = (make("1024", "-sha256", "small"), make("2048", "-sha1", "old"));
    let problems = |certificate: &[u8], anchors: &[Vec<u8>]| -> Vec<Problem> {
        let question = Question {
            certificate,
            intermediates: &[],
            anchors,
            lists: &[],
            now: now(),
            name: None,
            purpose: None,
        };
        verify(&question).findings.into_iter().map(|finding| finding.problem).collect()
    };
    assert_eq!(problems(&small, std::slice::from_ref(&small)), [Problem::WeakKey { bits: 1024 }]);
    assert_eq!(problems(&old, std::slice::from_ref(&old)), []);
    assert_eq!(problems(&old, &[]), [Problem::WeakDigest, Problem::UntrustedRoot]);
}

#[test]
fn damaged_certificates_never_panic() {
    let root = made("Root", &ROOT, key(), None, Digest::Sha256, 1);
    let end = made(HOST, &leaf(), key(), Some(&root), Digest::Sha256, 2);
    let revoked = [];
    let profile = ListProfile {
        number: 1,
        this_update: now(),
        next_update: now() + Duration::days(1),
        revoked: &revoked,
    };
    let list = revocation_list(&root.der, &root.key, Digest::Sha256, profile).unwrap();
    let mut good = 0;
    let mut random = 0x5eed_u64;
    for round in 0..10_000 {
        let mut ders = [end.der.clone(), root.der.clone(), list.clone()];
        let which = round % 3;
        for _ in 0..=round % 2 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(random >> 33).unwrap() % ders[which].len();
            ders[which][at] = u8::try_from(random >> 24 & 0xff).unwrap();
        }
        let [certificate, anchor, list] = ders;
        let (anchors, lists) = ([anchor], [list]);
        let question = Question {
            certificate: &certificate,
            intermediates: &[],
            anchors: &anchors,
            lists: &lists,
            now: now(),
            name: Some(HOST),
            purpose: Some(Usage::Server),
        };
        // Whatever is changed in the certificate breaks its signature, or is no change at all.
        let is_good = verify(&question).is_good();
        assert!(which != 0 || !is_good || certificate == end.der, "round {round}");
        good += usize::from(is_good);
    }
    assert!(good > 0);
}
