use std::collections::BTreeSet;

use time::macros::datetime;

use super::crl::{ListProfile, Reason, Revoked, revocation_list};
use super::*;
use crate::pki::inspect::Certificate;
use crate::pki::peer::{Holder, Scratch, leaf, made, name, now, pem, try_made};
use crate::pki::{Algorithm, Container, Usage};

const ROOT: Role = Role::Root { path_len: Some(1) };
const INTERMEDIATE: Role = Role::Intermediate { path_len: 0 };
const DIGESTS: [Digest; 3] = [Digest::Sha256, Digest::Sha384, Digest::Sha512];
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::P256, Algorithm::P384, Algorithm::P521, Algorithm::Ed25519, Algorithm::Rsa(2048)];

fn key(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::generate(algorithm).unwrap()
}

/// The same key once more.
fn copy(key: &PrivateKey) -> PrivateKey {
    PrivateKey::from_pem(key.to_pem(Container::Pkcs8).unwrap().reveal()).unwrap()
}

#[test]
fn openssl_and_gnutls_verify_every_kind_of_key_and_digest() {
    let scratch = Scratch::new();
    for algorithm in ALGORITHMS {
        let keys = [key(algorithm), key(algorithm), key(algorithm)];
        for digest in DIGESTS {
            let case = format!("{algorithm} {digest:?}");
            let [root, intermediate, end] = keys.each_ref().map(copy);
            let root = made("Root", &ROOT, root, None, digest, 1);
            let intermediate = made("Intermediate", &INTERMEDIATE, intermediate, Some(&root), digest, 2);
            let end = made("mail.example.com", &leaf(), end, Some(&intermediate), digest, 3);

            scratch.certificates("root", &[&root.der]);
            scratch.certificates("intermediate", &[&intermediate.der]);
            scratch.certificates("leaf", &[&end.der]);
            scratch.certificates("chain", &[&end.der, &intermediate.der, &root.der]);
            let verify = ["verify", "-x509_strict", "-CAfile", "root", "-untrusted", "intermediate"];
            let server = ["-purpose", "sslserver", "-verify_hostname", "mail.example.com"];
            scratch.openssl(&[&verify[..], &server, &["leaf"]].concat());
            scratch.openssl(&["verify", "-x509_strict", "-CAfile", "root", "intermediate"]);
            scratch.openssl(&["verify", "-x509_strict", "-CAfile", "root", "root"]);
            let (content, text) = scratch.run("certtool", &["--verify-chain", "--infile", "chain"]);
            assert!(content && text.contains("Chain verification output: Verified."), "{case}: {text}");

            let list = ListProfile {
                number: 7,
                this_update: now(),
                next_update: now() + Duration::days(1),
                revoked: &[Revoked {
                    serial: Certificate::from_der(&end.der).unwrap().serial.unwrap(),
                    at: now() - Duration::hours(1),
                    reason: Reason::KeyCompromise,
                }],
            };
            let list = revocation_list(&intermediate.der, &intermediate.key, digest, list).unwrap();
            scratch.write("crl", pem("X509 CRL", &list));
            let text = scratch.openssl(&["crl", "-in", "crl", "-CAfile", "intermediate", "-noout", "-text"]);
            for part in
                ["verify OK", "Serial Number: 0703", "Key Compromise", "X509v3 CRL Number", "Authority Key"]
            {
                assert!(text.contains(part), "{case}: {part} in {text}");
            }
            let (content, text) =
                scratch.run("openssl", &[&verify[..], &["-crl_check", "-CRLfile", "crl", "leaf"]].concat());
            assert!(!content && text.contains("certificate revoked"), "{case}: {text}");

            let names =
                [AlternativeName::Dns("*.example.com".into()), AlternativeName::Address([0; 16].into())];
            let wanted = request(&name("mail.example.com"), &names, &end.key, digest).unwrap();
            scratch.write("csr", pem("CERTIFICATE REQUEST", &wanted));
            let text = scratch.openssl(&["req", "-in", "csr", "-verify", "-noout", "-text"]);
            assert!(text.contains("DNS:*.example.com, IP Address:0:0:0:0:0:0:0:0"), "{case}: {text}");
            let (content, text) = scratch.run("certtool", &["--crq-info", "--infile", "csr"]);
            assert!(content && !text.contains("verification failed"), "{case}: {text}");
            let read = read_request(&wanted).unwrap();
            assert!(read.proven, "{case}");
            assert_eq!(read.alternative_names, names, "{case}");
            assert_eq!(
                (read.public_digest, &read.spki),
                (end.key.public_digest(), &end.key.spki_der().unwrap())
            );
        }
    }
}

#[test]
fn openssl_reads_every_key_and_we_read_its() {
    let scratch = Scratch::new();
    for (algorithm, made_by) in [
        (Algorithm::P256, &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..]),
        (Algorithm::P384, &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        (Algorithm::P521, &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
        (Algorithm::Ed25519, &["ED25519"]),
        (Algorithm::Rsa(2056), &["RSA", "-pkeyopt", "rsa_keygen_bits:2056"]),
    ] {
        let ours = key(algorithm);
        assert_eq!(ours.algorithm(), algorithm);
        for container in [Container::Pkcs8, Container::Traditional] {
            scratch.write("key", ours.to_pem(container).unwrap().reveal());
            scratch.openssl(&["pkey", "-in", "key", "-pubout", "-outform", "DER", "-out", "public"]);
            assert_eq!(scratch.read("public"), ours.spki_der().unwrap(), "{algorithm} {container:?}");
        }
        scratch.openssl(&[&["genpkey", "-out", "theirs", "-algorithm"], made_by].concat());
        let old: &[&str] = if algorithm == Algorithm::Ed25519 { &[] } else { &["-traditional"] };
        scratch.openssl(&[&["pkey", "-in", "theirs", "-out", "traditional"], old].concat());
        scratch.openssl(&["pkey", "-in", "theirs", "-pubout", "-outform", "DER", "-out", "public"]);
        for file in ["theirs", "traditional"] {
            let read = PrivateKey::from_pem(&scratch.read(file)).unwrap();
            assert_eq!(read.algorithm(), algorithm);
            assert_eq!(read.spki_der().unwrap(), scratch.read("public"), "{algorithm} {file}");
        }
        scratch.openssl(&["pkey", "-in", "theirs", "-aes128", "-passout", "pass:x", "-out", "locked"]);
        let locked = PrivateKey::from_pem(&scratch.read("locked")).unwrap_err();
        assert_eq!(locked, KeyError::Encrypted);
    }
    // OpenSSL's own wrapping, which is encrypted below an ordinary label.
    scratch.openssl(&["genrsa", "-traditional", "-aes128", "-passout", "pass:x", "-out", "locked", "2048"]);
    assert_eq!(PrivateKey::from_pem(&scratch.read("locked")).unwrap_err(), KeyError::Encrypted);
}

#[test]
fn each_role_has_its_extensions_and_no_others() {
    let scratch = Scratch::new();
    let root = made("Root", &Role::Root { path_len: None }, key(Algorithm::P256), None, Digest::Sha256, 1);
    let intermediate = made("Int", &INTERMEDIATE, key(Algorithm::P256), Some(&root), Digest::Sha384, 2);
    let both = Role::Leaf { usages: [Usage::Server, Usage::Client].into() };
    let rsa = made("a.example", &both, key(Algorithm::Rsa(2048)), Some(&intermediate), Digest::Sha512, 3);
    let ec = made("b.example", &leaf(), key(Algorithm::P256), Some(&intermediate), Digest::Sha256, 4);
    let alone = made("c.example", &leaf(), key(Algorithm::Ed25519), None, Digest::Sha256, 5);
    let ca = "Digital Signature, Certificate Sign, CRL Sign";
    let server = "TLS Web Server Authentication";
    let client = "TLS Web Server Authentication, TLS Web Client Authentication";
    for (case, holder, constraints, usage, purpose) in [
        ("root", &root, "CA:TRUE", ca, None),
        ("intermediate", &intermediate, "CA:TRUE, pathlen:0", ca, None),
        ("RSA leaf", &rsa, "CA:FALSE", "Digital Signature, Key Encipherment", Some(client)),
        ("EC leaf", &ec, "CA:FALSE", "Digital Signature", Some(server)),
        ("alone", &alone, "CA:FALSE", "Digital Signature", Some(server)),
    ] {
        scratch.certificates("x", &[&holder.der]);
        let text = scratch.openssl(&["x509", "-in", "x", "-noout", "-text"]);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let after = |head: &str| lines.iter().position(|line| *line == head).and_then(|at| lines.get(at + 1));
        assert!(text.contains("Version: 3"), "{case}");
        assert_eq!(after("X509v3 Basic Constraints: critical"), Some(&constraints), "{case}: {text}");
        assert_eq!(after("X509v3 Key Usage: critical"), Some(&usage), "{case}: {text}");
        assert_eq!(after("X509v3 Extended Key Usage:").copied(), purpose, "{case}: {text}");
        assert_eq!(after("X509v3 Subject Alternative Name:").is_some(), purpose.is_some(), "{case}: {text}");
        let extensions = lines
            .iter()
            .filter(|line| line.starts_with("X509v3 ") && line.contains(": ") | line.ends_with(':'));
        let head = 1;
        assert_eq!(extensions.count() - head, if purpose.is_some() { 6 } else { 4 }, "{case}: {text}");
    }
}

#[test]
fn a_subject_is_written_in_its_order_without_empty_parts() {
    let subject = Name {
        common_name: "mail.example.com".into(),
        country: Some("US".into()),
        state: Some(String::new()),
        locality: Some("Ulm".into()),
        organization: Some("Bücher".into()),
        organizational_unit: None,
        email: Some("root@example.com".into()),
    };
    let key = key(Algorithm::P256);
    let profile = Profile {
        subject: &subject,
        alternative_names: &[],
        role: &leaf(),
        serial: Serial::from_octets(&[0xff; 8]).unwrap(),
        now: datetime!(2049-12-31 23:00 UTC),
        backdate: Duration::hours(2),
        not_after: datetime!(2050-01-01 00:00:00.5 UTC),
    };
    let issued = issue(&profile, &key.spki_der().unwrap(), Issuer::Itself(&key), Digest::Sha256).unwrap();
    assert_eq!(issued.not_before, datetime!(2049-12-31 21:00 UTC));
    assert_eq!(issued.not_after, datetime!(2050-01-01 00:00 UTC));
    let scratch = Scratch::new();
    scratch.write("x", &issued.der);
    let text = scratch.openssl(&["asn1parse", "-inform", "DER", "-in", "x"]);
    let found: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("STRING ") | line.contains("TIME") && !line.contains("[HEX DUMP]"))
        .filter_map(|line| line.split("prim:").nth(1))
        .map(str::trim)
        .filter(|line| !line.starts_with("OCTET") && !line.starts_with("BIT"))
        .collect();
    let of_name: [(&str, &str); 5] = [
        ("PRINTABLESTRING", "US"),
        ("UTF8STRING", "Ulm"),
        ("UTF8STRING", "Bücher"),
        ("UTF8STRING", "mail.example.com"),
        ("IA5STRING", "root@example.com"),
    ];
    let times = [("UTCTIME", "491231210000Z"), ("GENERALIZEDTIME", "20500101000000Z")];
    let expected: Vec<_> = of_name.into_iter().chain(times).chain(of_name).collect();
    let found: Vec<_> = found
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(tag, value)| (tag.trim(), value))
        .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn the_authority_key_is_the_issuers_as_it_stands() {
    // An issuer whose identifier was computed otherwise (SHA-1, as OpenSSL does), and one without any.
    let scratch = Scratch::new();
    let issuer_key = key(Algorithm::P256);
    scratch.write("key", issuer_key.to_pem(Container::Pkcs8).unwrap().reveal());
    let own = public_digest(issuer_key.public_bits())[..20].to_vec();
    for (case, identifier) in [("SHA-1", "hash"), ("none", "none")] {
        let extension = format!("subjectKeyIdentifier={identifier}");
        scratch.write(
            "conf",
            format!(
                "[req]\ndistinguished_name=d\n[d]\n[x]\nbasicConstraints=critical,CA:true\n{extension}\n"
            ),
        );
        scratch.openssl(&[
            "req",
            "-x509",
            "-config",
            "conf",
            "-extensions",
            "x",
            "-key",
            "key",
            "-subj",
            "/CN=Old",
            "-days",
            "30",
            "-outform",
            "DER",
            "-out",
            "issuer",
        ]);
        let issuer = Holder { der: scratch.read("issuer"), key: copy(&issuer_key) };
        let end = made("mail.example.com", &leaf(), key(Algorithm::P256), Some(&issuer), Digest::Sha256, 3);
        let (_, parsed) = x509_parser::parse_x509_certificate(&end.der).unwrap();
        let found = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(found) => {
                found.key_identifier.clone()
            }
            _ => None,
        });
        let found = found.unwrap().0.to_vec();
        assert_eq!(found == own, case == "none", "{case}");
        scratch.certificates("root", &[&issuer.der]);
        scratch.certificates("leaf", &[&end.der]);
        scratch.openssl(&["verify", "-CAfile", "root", "leaf"]);
    }
}

#[test]
fn an_issuer_is_held_to_its_certificate() {
    let digest = Digest::Sha256;
    let end = key(Algorithm::P256);
    let late = now() + Duration::days(400);
    let root = made("Root", &Role::Root { path_len: None }, key(Algorithm::P256), None, digest, 1);
    let one = made("One", &Role::Intermediate { path_len: 1 }, key(Algorithm::P256), Some(&root), digest, 2);
    let zero = made("Zero", &INTERMEDIATE, key(Algorithm::P256), Some(&one), digest, 3);
    let server = made("a.example", &leaf(), key(Algorithm::P256), Some(&one), digest, 4);
    let stranger = Holder { der: root.der.clone(), key: key(Algorithm::P256) };
    let broken = Holder { der: root.der[..40].to_vec(), key: copy(&root.key) };
    let role = |path_len| Role::Intermediate { path_len };
    type Case<'a> = (&'a str, Option<&'a Holder>, Role, Result<(), &'a str>);
    let cases: [Case<'_>; 11] = [
        ("root signs any depth", Some(&root), role(9), Ok(())),
        ("one signs a leaf", Some(&one), leaf(), Ok(())),
        ("one signs zero", Some(&one), role(0), Ok(())),
        ("zero signs a leaf", Some(&zero), leaf(), Ok(())),
        ("one signs no one", Some(&one), role(1), Err("at most 0 below, not 1")),
        ("zero signs no authority", Some(&zero), role(0), Err("allows no further authority")),
        ("a leaf signs nothing", Some(&server), leaf(), Err("not that of a CA")),
        ("another key", Some(&stranger), leaf(), Err("not that of its certificate")),
        ("no certificate", Some(&broken), leaf(), Err("not a certificate")),
        ("a root below a root", Some(&root), ROOT, Err("a root signs itself")),
        ("an intermediate alone", None, role(0), Err("signed by another")),
    ];
    for (case, issuer, role, expected) in cases {
        match (try_made("x.example", &role, &end, issuer, digest, 9, late), expected) {
            (Ok(issued), Ok(())) => {
                let limit = Certificate::from_der(&issuer.unwrap().der).unwrap().not_after;
                assert_eq!(issued.not_after, limit, "{case}: clamped");
                assert_eq!(Certificate::from_der(&issued.der).unwrap().not_after, limit, "{case}");
            }
            (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{case}: {error}"),
            other => panic!("{case}: {other:?}"),
        }
    }
    let spki = end.spki_der().unwrap();
    let by = Issuer::Authority { certificate: &root.der, key: &root.key };
    for (case, shift, why) in [("expired", 11, "has expired"), ("too early", -1, "not valid before")] {
        let profile = Profile {
            subject: &name("x.example"),
            alternative_names: &[],
            role: &leaf(),
            serial: Serial::from_octets(&[1]).unwrap(),
            now: now() + Duration::days(shift),
            backdate: Duration::ZERO,
            not_after: late,
        };
        let error = issue(&profile, &spki, by, digest).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("CN = Root"), "{case}: {error}");
    }
    let error = try_made("x.example", &leaf(), &end, Some(&root), digest, 9, now()).unwrap_err();
    assert!(error.to_string().contains("must end after"), "{error}");
    let itself = Issuer::Itself(&root.key);
    let profile = Profile {
        subject: &name("x.example"),
        alternative_names: &[],
        role: &leaf(),
        serial: Serial::from_octets(&[1]).unwrap(),
        now: now(),
        backdate: Duration::ZERO,
        not_after: late,
    };
    assert!(matches!(issue(&profile, &spki, itself, digest), Err(X509Error::Profile(_))));
    assert!(matches!(issue(&profile, b"\x30\x00", by, digest), Err(X509Error::Unreadable(_))));
}

#[test]
fn a_list_is_read_as_it_was_written() {
    let root = made("Root", &ROOT, key(Algorithm::P256), None, Digest::Sha256, 1);
    let all = [
        "unspecified",
        "keyCompromise",
        "cACompromise",
        "affiliationChanged",
        "superseded",
        "cessationOfOperation",
        "certificateHold",
        "privilegeWithdrawn",
        "aACompromise",
    ];
    let at = now().replace_nanosecond(0).unwrap();
    let revoked: Vec<Revoked> = (1..)
        .zip(all)
        .map(|(serial, reason)| {
            let reason: Reason = reason.parse().unwrap();
            Revoked { serial: Serial::from_octets(&[0x80, serial]).unwrap(), at, reason }
        })
        .collect();
    for entries in [&revoked[..], &[]] {
        let profile = ListProfile {
            number: u64::MAX,
            this_update: at,
            next_update: at + Duration::days(7),
            revoked: entries,
        };
        let der = revocation_list(&root.der, &root.key, Digest::Sha256, profile).unwrap();
        let list = crl::read(&der).unwrap();
        assert_eq!(
            (list.number, list.this_update, list.next_update),
            (Some(u64::MAX), at, Some(at + Duration::days(7)))
        );
        assert_eq!(list.revoked, entries);
        let names: Vec<String> = list.revoked.iter().map(|entry| entry.reason.to_string()).collect();
        assert_eq!(names, all[..entries.len()]);
        assert_eq!(crl::is_signed_by(&der, &root.key.spki_der().unwrap()), Some(true));
        assert_eq!(crl::is_signed_by(&der, &key(Algorithm::P256).spki_der().unwrap()), Some(false));
    }
    assert!("keycompromise".parse::<Reason>().is_ok() && "lost".parse::<Reason>().is_err());
    let end = made("a.example", &leaf(), key(Algorithm::P256), Some(&root), Digest::Sha256, 2);
    let profile = ListProfile { number: 1, this_update: at, next_update: at, revoked: &[] };
    assert!(revocation_list(&end.der, &end.key, Digest::Sha256, profile).is_err(), "a leaf revokes nothing");
}

#[test]
fn damaged_input_is_refused_and_never_panics() {
    let root = made("Root", &ROOT, key(Algorithm::P256), None, Digest::Sha256, 1);
    let wanted =
        request(&name("a.example"), &[AlternativeName::Dns("a.example".into())], &root.key, Digest::Sha256);
    let wanted = wanted.unwrap();
    let revoked =
        [Revoked { serial: Serial::from_octets(&[1]).unwrap(), at: now(), reason: Reason::Superseded }];
    let profile = ListProfile { number: 1, this_update: now(), next_update: now(), revoked: &revoked };
    let list = revocation_list(&root.der, &root.key, Digest::Sha256, profile).unwrap();
    let spki = root.key.spki_der().unwrap();
    let mut seen = BTreeSet::new();
    for original in [&root.der, &wanted, &list, &spki] {
        for at in 0..original.len() {
            assert!(read_request(&original[..at]).is_err() && crl::read(&original[..at]).is_err());
            seen.insert(tried(&original[..at], &root.key));
        }
        // Knuth's generator: the same changes in each run.
        let mut random = 0x5eed_u64;
        for _ in 0..2_500 {
            let mut der = original.clone();
            for _ in 0..3 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(random >> 33).unwrap() % der.len();
                der[at] = u8::try_from(random >> 24 & 0xff).unwrap();
            }
            seen.insert(tried(&der, &root.key));
        }
    }
    assert!(seen.len() > 1, "nothing was ever understood");
}

/// Gives octets to every reader; says how many took them.
fn tried(der: &[u8], key: &PrivateKey) -> usize {
    let profile = Profile {
        subject: &name("x.example"),
        alternative_names: &[],
        role: &leaf(),
        serial: Serial::from_octets(&[1]).unwrap(),
        now: now(),
        backdate: Duration::ZERO,
        not_after: now() + Duration::days(1),
    };
    let by = Issuer::Authority { certificate: der, key };
    let spki = key.spki_der().unwrap();
    usize::from(issue(&profile, &spki, by, Digest::Sha256).is_ok())
        + usize::from(issue(&profile, der, Issuer::Itself(key), Digest::Sha256).is_ok())
        + usize::from(read_request(der).is_ok_and(|request| request.proven))
        + usize::from(crl::read(der).is_ok())
        + usize::from(crl::is_signed_by(der, &spki) == Some(true))
        + usize::from(
            crate::pki::signature::verify_signature(der, "1.2.840.10045.4.3.2", b"", der) == Some(true),
        )
}
