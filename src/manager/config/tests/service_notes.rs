//! What is wrong, or odd, with the file of a service, and where.

use super::*;

const WHERE: &str = "example.com/web";

#[test]
fn faults_of_a_leaf() {
    let long = format!("{}.example.com", "a".repeat(60));
    let line = |from: &str, to: &str| WEB.replace(from, to);
    let end = |line: &str| format!("{WEB}{line}\n");
    let top = |line: &str| format!("{line}\n{WEB}");
    let key = |lines: &str| WEB.replace("[KeyOpts]", &format!("[KeyOpts]\n{lines}"));
    let cases = [
        ("syntax", top("x = = 1"), "1:5: "),
        (
            "no group",
            line("group = \"example.com\"\n", ""),
            " there is no group; write group = \"example.com\"",
        ),
        ("no service", line("service = \"web\"\n", ""), " there is no service; write service = \"web\""),
        (
            "another group",
            line("group = \"example.com\"", "group = \"example.org\""),
            "2:9: group is \"example.org\", but its directory is called \"example.com\"; write group = \"example.com\"",
        ),
        (
            "a copy",
            line("service = \"web\"", "service = \"mail\""),
            "3:11: service is \"mail\", but its file is called \"web\"",
        ),
        (
            "a number for a name",
            line("service = \"web\"", "service = 3"),
            "3:11: service is a number; write a text in quotes",
        ),
        (
            "unknown signer",
            line("\"root\"", "\"rot\""),
            "4:14: ca-info.conf has no table for the CA \"rot\"; did you mean \"root\"?",
        ),
        (
            "no subject",
            WEB.split("[X509]").next().unwrap().to_owned(),
            " there is no [X509]; write one with CN, O and C",
        ),
        (
            "a subject that is none",
            top("X509 = 1").split("[X509]").next().unwrap().to_owned(),
            "1:8: X509 is a number",
        ),
        (
            "no common name",
            line("CN = \"example.com\"\n", ""),
            "6:1: [X509] without CN; write the common name",
        ),
        ("an empty common name", line("CN = \"example.com\"", "CN = ''"), "7:6: [X509] without CN"),
        (
            "no organization",
            line("O = \"Example\"\n", "O = ''\n"),
            "8:5: [X509] without O; write the organization",
        ),
        ("no country", line("C = \"US\"\n", ""), "6:1: [X509] without C; write the country, two letters"),
        (
            "a country's name",
            line("C = \"US\"", "C = \"USA\""),
            "9:5: the country \"USA\" is not two letters",
        ),
        (
            "a long organization",
            line("\"Example\"", &format!("'{}'", "x".repeat(65))),
            "8:5: 65 characters, at most 64",
        ),
        ("two lines", line("\"Example\"", "\"a\\nb\""), "8:5: O holds a control character"),
        (
            "a long common name",
            line("\"example.com\"\nO", &format!("'{}'\nO", long)),
            "7:6: 72 characters, at most 64",
        ),
        (
            "a common name that is no host",
            line("CN = \"example.com\"", "CN = \"Web Master\""),
            "7:6: CN: the host name",
        ),
        ("mail", end("email = 'nobody'"), "10:9: an e-mail address is ASCII"),
        (
            "a network",
            end("sans = ['a.example', '192.0.2.0/24']"),
            "10:22: \"192.0.2.0/24\" is a range; a certificate is for single addresses: write 192.0.2.0",
        ),
        ("a network of IPv6", end("sans = '2001:db8::/32'"), "10:8: \"2001:db8::/32\" is a range"),
        (
            "an address with a slip",
            end("sans = ['192.0.2.300']"),
            "10:9: \"192.0.2.300\" is neither a host name nor an address",
        ),
        ("no host", end("sans = ['a b']"), "10:9: the host name"),
        ("a mark", end("sans = ['a_b.example']"), "10:9: the host name"),
        ("a command", end("sans = ['$(reboot)']"), "10:9: the host name"),
        ("only a star", end("sans = ['*']"), "10:9: \"*\": only a whole first label may be *"),
        ("a star inside", end("sans = ['a.*.example']"), "10:9: \"a.*.example\": only"),
        ("part of a label", end("sans = ['w*.example']"), "10:9: \"w*.example\": only"),
        ("two stars", end("sans = ['*.*.example']"), "10:9: \"*.*.example\": only"),
        ("a number", end("sans = [5]"), "10:9: sans is a number; write a text in quotes"),
        (
            "another curve",
            key("ec_algo = 'secp256k1'"),
            "6:11: the curve \"secp256k1\" is not made here; write one of secp256r1, prime256v1, secp384r1, secp521r1",
        ),
        ("brainpool", key("ec_algo = 'brainpoolP256r1'"), "6:11: the curve"),
        (
            "another kind",
            key("ktype = 'dsa'"),
            "6:9: the ktype \"dsa\" is not known; write rsa, ec or ed25519; did you mean \"rsa\"?",
        ),
        (
            "a small key",
            key("ktype = 'rsa'\nrsa_bits = 1024"),
            "7:12: rsa_bits is 1024; write a number from 2048 to 8192",
        ),
        ("a huge key", key("ktype = 'rsa'\nrsa_bits = '16384'"), "7:12: rsa_bits is 16384"),
        ("words for bits", key("ktype = 'rsa'\nrsa_bits = 'many'"), "7:12: rsa_bits is the text \"many\""),
        ("few parts", top("dane_tls = [[25, 'tcp', 3, 1]]"), "1:13: one of dane_tls is"),
        ("many parts", top("dane_tls = [[25, 'tcp', 3, 1, 1, 'MX', 1]]"), "1:13: one of dane_tls is"),
        ("no list", top("dane_tls = [[25, 'tcp', 3, 1, 1], 7]"), "1:35: one of dane_tls is"),
        (
            "port 0",
            top("dane_tls = [[0, 'tcp', 3, 1, 1]]"),
            "1:14: the port of dane_tls is 0; write a number from 1 to 65535",
        ),
        (
            "protocol",
            top("dane_tls = [[25, 'tls', 3, 1, 1]]"),
            "1:18: the protocol \"tls\" is not known; write tcp, udp or sctp",
        ),
        (
            "usage",
            top("dane_tls = [[25, 'tcp', 4, 1, 1]]"),
            "1:25: the usage of dane_tls is 4; write a number from 0 to 3",
        ),
        ("selector", top("dane_tls = [[25, 'tcp', 3, 2, 1]]"), "1:28: the selector of dane_tls is 2"),
        ("matching", top("dane_tls = [[25, 'tcp', 3, 1, 3]]"), "1:31: the matching type of dane_tls is 3"),
        (
            "a negative one",
            top("dane_tls = [[25, 'tcp', 3, 1, -1]]"),
            "1:31: the matching type of dane_tls is -1",
        ),
        (
            "hosts",
            top("dane_tls = [[443, 'tcp', 3, 1, 1, 'ALL']]"),
            "1:35: \"ALL\" are no hosts; write \"MX\" or \"SANS\"",
        ),
        ("a TTL of a life", top("dane_tls_ttl = 3000000000"), "1:16: dane_tls_ttl is 3000000000"),
        ("a target", top("renew_expire_days = -1"), "1:21: a number of days is at least 0"),
        ("a spread", top("renew_expire_days_spread = 'x'"), "1:28: renew_expire_days_spread is the text"),
    ];
    for (case, text, expected) in cases {
        let found = with_leaf(&text);
        one(case, &found.faults, &format!("{WHERE}:{expected}"));
        let (web, root) = (ServiceName::parse(WHERE).unwrap(), ServiceName::parse("ca/root").unwrap());
        assert!(found.refused.contains(&web) && !found.services.contains_key(&web), "{case}");
        assert!(found.services.contains_key(&root) && !found.is_broken, "{case}: the others go on");
    }
}

#[test]
fn warnings_about_a_leaf() {
    let cases = [
        ("no label", WEB.replace("name = \"Web\"\n", ""), ": there is no name; it is called \"web\""),
        (
            "a misspelt key",
            format!("signin_ca = 'x'\n{WEB}"),
            ":1:1: unknown key \"signin_ca\", which is ignored; did you mean \"signing_ca\"?",
        ),
        (
            "a misspelt table",
            format!("{WEB}[Keyopts]\n"),
            ":10:2: unknown table \"Keyopts\", which is ignored; did you mean \"KeyOpts\"?",
        ),
        (
            "a key of the subject",
            format!("{WEB}san = ['x']\n"),
            ":10:1: unknown key \"san\" in [X509], which is ignored; did you mean \"sans\"?",
        ),
        (
            "a small letter",
            format!("{WEB}l = 'x'\n"),
            ":10:1: unknown key \"l\" in [X509], which is ignored; did you mean \"L\"?",
        ),
        (
            "a key of the key",
            WEB.replace("[KeyOpts]", "[KeyOpts]\nrsa_bit = 1"),
            ":6:1: unknown key \"rsa_bit\" in [KeyOpts]",
        ),
        (
            "an authority that is none",
            format!("{WEB}[CA]\nsign_end_days = 1\n"),
            ":10:1: [CA] is for services of the group ca, and is ignored",
        ),
    ];
    for (case, text, expected) in cases {
        let found = with_leaf(&text);
        leaf(&found);
        one(case, &found.warnings, &format!("{WHERE}{expected}"));
    }
}

#[test]
fn faults_of_an_authority() {
    let cases = [
        (
            "no options",
            ROOT.split("[CA]").next().unwrap().to_owned(),
            "ca/root: there is no [CA]; write one with sign_end_days",
        ),
        (
            "no lifetime",
            ROOT.replace("sign_end_days = 3650\n", ""),
            "ca/root:9:1: [CA] without sign_end_days",
        ),
        (
            "no day",
            ROOT.replace("3650", "0"),
            "ca/root:10:17: sign_end_days is 0; write a number from 1 to 36525",
        ),
        (
            "a digest",
            ROOT.to_owned() + "digest = 'md5'\n",
            "ca/root:11:10: the digest \"md5\" is not known; write sha256, sha384 or sha512",
        ),
        ("records", "dane_tls = [[25, 'tcp', 3, 1, 1]]\n".to_owned() + ROOT, ""),
    ];
    for (case, root, expected) in cases {
        let files =
            [("ssl-mgr.conf", SITE), ("ca-info.conf", AUTHORITIES), ("ca/root", root.as_str()), (WHERE, WEB)];
        let found = tree(&files);
        let faults = shown(&found.faults);
        if expected.is_empty() {
            assert_eq!(faults, [""; 0], "{case}");
            continue;
        }
        assert!(faults[0].starts_with(expected), "{case}: {faults:?}");
        // What it would sign cannot be signed.
        let leaf = "example.com/web:4:14: it is signed by ca/root, which is missing or has a fault; see conf.d/ca/root";
        assert_eq!(faults[1..], [leaf], "{case}");
        assert!(found.services.is_empty(), "{case}");
    }
}
