//! What the file of a service may say.

use super::*;
use crate::pki::Digest;

const WHERE: &str = "example.com/web";

#[test]
fn a_whole_service() {
    let text =
        WEB.replace("[KeyOpts]", "dane_tls = [[443, 'tcp', 3, 1, 1]]\nrenew_expire_days = 20\n[KeyOpts]");
    let found = with_leaf(
        &(text + "OU = ''\nST = 'Ohio'\nL = 'Toledo'\nemail = 'a@example.com'\nsans = ['b.example.com']\n"),
    );
    let expected = Service {
        path: "/t/conf.d/example.com/web".into(),
        name: ServiceName::parse(WHERE).unwrap(),
        label: "Web".into(),
        signer: Signer::Authority("root".into()),
        other_signers: Vec::new(),
        algorithm: Algorithm::P384,
        subject: Subject {
            common_name: "example.com".into(),
            country: Some("US".into()),
            state: Some("Ohio".into()),
            locality: Some("Toledo".into()),
            organization: Some("Example".into()),
            organizational_unit: None,
            email: Some("a@example.com".into()),
        },
        alternative_names: vec![dns("example.com"), dns("b.example.com")],
        dane: vec![dane(443, DaneHosts::Sans)],
        dane_ttl: Some(1800),
        authority: None,
        renew_target: Some(20.0),
        renew_spread: None,
    };
    assert_eq!(leaf(&found), &expected);
    assert_eq!(shown(&found.warnings), [""; 0]);
}

fn dns(name: &str) -> AlternativeName {
    AlternativeName::Dns(name.into())
}

fn dane(port: u16, hosts: DaneHosts) -> Dane {
    Dane { port, protocol: "tcp".into(), usage: 3, selector: 1, matching: 1, hosts }
}

#[test]
fn keys() {
    let cases = [
        ("nothing", "", Algorithm::P384),
        ("ec", "ktype = 'ec'", Algorithm::P384),
        ("P-256", "ktype = 'ec'\nec_algo = 'secp256r1'", Algorithm::P256),
        ("P-256 by its other name", "ec_algo = 'prime256v1'", Algorithm::P256),
        ("P-384 in capitals", "ec_algo = 'SECP384R1'", Algorithm::P384),
        ("P-521", "ktype = 'EC'\nec_algo = 'secp521r1'", Algorithm::P521),
        ("Ed25519", "ktype = 'ed25519'", Algorithm::Ed25519),
        ("RSA", "ktype = 'rsa'", Algorithm::Rsa(4096)),
        ("RSA of a size", "ktype = 'RSA'\nrsa_bits = 3072", Algorithm::Rsa(3072)),
        ("RSA of a size in quotes", "ktype = 'rsa'\nrsa_bits = '2048'", Algorithm::Rsa(2048)),
        ("the largest RSA", "ktype = 'rsa'\nrsa_bits = 8192\nec_algo = 'secp384r1'", Algorithm::Rsa(8192)),
    ];
    for (case, lines, algorithm) in cases {
        let found = with_leaf(&WEB.replace("[KeyOpts]", &format!("[KeyOpts]\n{lines}")));
        assert_eq!(leaf(&found).algorithm, algorithm, "{case}");
        assert_eq!(shown(&found.warnings), [""; 0], "{case}");
    }
    let old = with_leaf(&WEB.replace("[KeyOpts]", "[KeyOpts]\nktype = 'rsa'\nbits = 3072"));
    assert_eq!(leaf(&old).algorithm, Algorithm::Rsa(3072));
    one("bits", &old.warnings, "example.com/web:7:8: bits is an old spelling; write rsa_bits");
}

#[test]
fn names() {
    let address = |text: &str| AlternativeName::Address(text.parse().unwrap());
    let cases = [
        ("none", "", vec![dns("example.com")]),
        ("an empty list", "sans = []", vec![dns("example.com")]),
        ("an empty text", "sans = ''", vec![dns("example.com")]),
        ("one text", "sans = 'a.example.com'", vec![dns("example.com"), dns("a.example.com")]),
        (
            "in their order",
            "sans = ['b.example.com', 'example.com', 'a.example.com']",
            vec![dns("b.example.com"), dns("example.com"), dns("a.example.com")],
        ),
        ("the common name in capitals", "sans = ['EXAMPLE.com.']", vec![dns("example.com")]),
        ("a wildcard", "sans = ['*.example.com']", vec![dns("example.com"), dns("*.example.com")]),
        (
            "addresses",
            "sans = ['192.0.2.1', '2001:DB8::1', '::ffff:192.0.2.1']",
            vec![
                dns("example.com"),
                address("192.0.2.1"),
                address("2001:db8::1"),
                address("::ffff:192.0.2.1"),
            ],
        ),
        ("IDN", "sans = ['*.bücher.example']", vec![dns("example.com"), dns("*.xn--bcher-kva.example")]),
        ("a short name", "sans = ['intranet']", vec![dns("example.com"), dns("intranet")]),
    ];
    for (case, line, expected) in cases {
        let found = with_leaf(&format!("{WEB}{line}\n"));
        assert_eq!(leaf(&found).alternative_names, expected, "{case}");
        assert_eq!(shown(&found.warnings), [""; 0], "{case}");
    }
    let person = WEB.replace("CN = \"example.com\"", "CN = \"Web Master\"");
    let found = with_leaf(&format!("{person}sans = ['a.example.com']\n"));
    assert_eq!(leaf(&found).alternative_names, [dns("a.example.com")]);
    let root = ServiceName::parse("ca/root").unwrap();
    assert_eq!(with_leaf(WEB).services[&root].alternative_names, []);
    let twice = with_leaf(&format!("{WEB}sans = ['a.example', 'A.example']\n"));
    one("twice", &twice.warnings, "example.com/web:10:22: \"A.example\" is given twice");
}

#[test]
fn tlsa() {
    let cases = [
        ("none", "[]", vec![]),
        ("an empty text", "''", vec![]),
        ("a host", "[[443, 'tcp', 3, 1, 1]]", vec![dane(443, DaneHosts::Sans)]),
        ("one without a list around it", "[443, 'tcp', 3, 1, 1]", vec![dane(443, DaneHosts::Sans)]),
        ("port 25", "[[25, 'tcp', 3, 1, 1]]", vec![dane(25, DaneHosts::Mx)]),
        ("port 25 said", "[[25, 'tcp', 3, 1, 1, 'MX']]", vec![dane(25, DaneHosts::Mx)]),
        ("submission", "[[587, '_TCP', 3, 1, 1, 'mx']]", vec![dane(587, DaneHosts::Mx)]),
        (
            "two",
            "[['465', 'tcp', '3', 1, 1, 'SANS'], [993, 'tcp', 3, 1, 1]]",
            vec![dane(465, DaneHosts::Sans), dane(993, DaneHosts::Sans)],
        ),
        (
            "everything at its end",
            "[[65535, 'sctp', 0, 0, 0], [1, 'udp', 2, 0, 2]]",
            vec![
                Dane {
                    protocol: "sctp".into(),
                    usage: 0,
                    selector: 0,
                    matching: 0,
                    ..dane(65535, DaneHosts::Sans)
                },
                Dane {
                    protocol: "udp".into(),
                    usage: 2,
                    selector: 0,
                    matching: 2,
                    ..dane(1, DaneHosts::Sans)
                },
            ],
        ),
    ];
    for (case, value, expected) in cases {
        let found = with_leaf(&format!("dane_tls = {value}\n{WEB}"));
        assert_eq!(leaf(&found).dane, expected, "{case}");
        assert_eq!(shown(&found.warnings), [""; 0], "{case}");
    }
    let sans = with_leaf(&format!("dane_tls = [[25, 'tcp', 3, 1, 1, 'SANS']]\n{WEB}"));
    assert_eq!(leaf(&sans).dane, [dane(25, DaneHosts::Mx)]);
    one("port 25 for the SAN", &sans.warnings, "example.com/web:1:34: port 25 is for the mail exchangers");
    for (ttl, expected) in [("3600", Some(3600)), ("0", None), ("-1", None), ("'60'", Some(60))] {
        let found = with_leaf(&format!("dane_tls_ttl = {ttl}\n{WEB}"));
        assert_eq!(leaf(&found).dane_ttl, expected, "{ttl}");
    }
}

#[test]
fn public_authorities_need_no_organization() {
    let bare = WEB.replace("O = \"Example\"\nC = \"US\"\n", "");
    let public = with_leaf(&bare.replace("\"root\"", "\"le\""));
    assert_eq!(leaf(&public).subject.organization, None);
    for signer in ["\"root\"", "\"bought\"", "\"self\""] {
        let found = with_leaf(&bare.replace("\"root\"", signer));
        let expected = [
            "example.com/web:6:1: [X509] without O; write the organization",
            "example.com/web:6:1: [X509] without C; write the country, two letters",
        ];
        assert_eq!(shown(&found.faults), expected, "{signer}");
    }
}

#[test]
fn digests() {
    let sha3 = "is in no signature scheme of TLS";
    let cases = [
        ("", Digest::Sha384, None),
        ("digest = ''", Digest::Sha384, None),
        ("digest = 'sha256'", Digest::Sha256, None),
        ("digest = 'SHA384'", Digest::Sha384, None),
        ("digest = 'sha-512'", Digest::Sha512, None),
        ("digest = 'sha224'", Digest::Sha256, Some("ca/root:11:10: sha224 is too short for TLS 1.3")),
        ("digest = 'sha3_224'", Digest::Sha256, Some(sha3)),
        ("digest = 'sha3_256'", Digest::Sha256, Some(sha3)),
        ("digest = 'sha3_384'", Digest::Sha384, Some(sha3)),
        ("digest = 'sha3_512'", Digest::Sha512, Some(sha3)),
    ];
    for (line, digest, warning) in cases {
        let root = format!("{ROOT}{line}\n");
        let found =
            tree(&[("ssl-mgr.conf", SITE), ("ca-info.conf", AUTHORITIES), ("ca/root", &root), (WHERE, WEB)]);
        let options = found.services[&ServiceName::parse("ca/root").unwrap()].authority;
        assert_eq!(options, Some(CaOptions { days: 3650, digest }), "{line}");
        let warnings = shown(&found.warnings);
        match warning {
            None => assert_eq!(warnings, [""; 0], "{line}"),
            Some(warning) => {
                assert!(warnings.len() == 1 && warnings[0].contains(warning), "{line}: {warnings:?}")
            }
        }
    }
}
