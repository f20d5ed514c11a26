//! `ca-info.conf`.

use super::*;

#[test]
fn authorities() {
    let acme = |validation, chain: Option<&str>, profile: Option<&str>| {
        AuthorityKind::Acme(Box::new(Acme {
            validation,
            preferred_chain: chain.map(str::to_owned),
            profile: profile.map(str::to_owned),
            directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
            test_directory: Some("https://acme-staging-v02.api.letsencrypt.org/directory".into()),
            trust: None,
            contact: Vec::new(),
            binding: None,
            parallel_orders: 20,
            requests_per_second: 100,
            http_listen: "[::]:80".parse().unwrap(),
            tls_listen: "[::]:443".parse().unwrap(),
        }))
    };
    let cases = [
        ("self", "ca_type = 'self'", AuthorityKind::Own),
        ("local", "ca_type = 'LOCAL'\nca_validation = ''", AuthorityKind::Own),
        ("manual", "ca_type = 'Manual'\nca_desc = 'x'", AuthorityKind::Manual),
        (
            "letsencrypt",
            "ca_type = 'letsencrypt'\nca_validation = 'http-01'",
            acme(Some(Validation::Http), None, Some("tlsserver")),
        ),
        (
            "certbot",
            "ca_type = 'certbot'\nca_validation = 'DNS-01'\nca_preferred_chain = 'ISRG Root X2'",
            acme(Some(Validation::Dns), Some("ISRG Root X2"), Some("tlsserver")),
        ),
        (
            "acme",
            "ca_type = 'acme'\nca_validation = 'tls-alpn-01'",
            acme(Some(Validation::Alpn), None, Some("tlsserver")),
        ),
        (
            "a profile",
            "ca_type = 'certbot'\nca_validation = 'dns'\nca_preferred_acme_profile = 'shortlived'",
            acme(Some(Validation::Dns), None, Some("shortlived")),
        ),
        (
            "no profile",
            "ca_type = 'certbot'\nca_validation = 'dns'\nca_preferred_acme_profile = ''",
            acme(Some(Validation::Dns), None, None),
        ),
    ];
    for (case, table, kind) in cases {
        let found = tree(&[("ssl-mgr.conf", ""), ("ca-info.conf", &format!("[x]\n{table}\n"))]);
        assert_eq!(found.authorities["x"].kind, kind, "{case}");
        assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]), "{case}");
    }
    let profiles = |site: &str, own: &str| {
        let table = format!("[x]\nca_type = 'certbot'\nca_validation = 'dns'\n{own}");
        tree(&[("ssl-mgr.conf", site), ("ca-info.conf", &table)]).authorities["x"].kind.clone()
    };
    let of = |profile| acme(Some(Validation::Dns), None, profile);
    assert_eq!(profiles("preferred_acme_profile = 'classic'", ""), of(Some("classic")));
    assert_eq!(profiles("preferred_acme_profile = ''", ""), of(None));
    assert_eq!(
        profiles("[globals]\npreferred_acme_profile = 'classic'", "ca_preferred_acme_profile = 'tlsserver'"),
        of(Some("tlsserver"))
    );
}

#[test]
fn everything_about_an_authority_that_is_spoken_to() {
    let found = tree(&[
        ("ssl-mgr.conf", ""),
        (
            "ca-info.conf",
            "[x]\nca_type = 'acme'\nca_validation = 'dns-01'\nca_directory = 'https://ca.example/dir'\n\
             ca_test_directory = 'https://test.ca.example/dir'\nca_trust = 'roots.pem'\n\
             ca_contact = ['you@example.com', 'tel:+1234']\nca_eab_kid = 'k1'\nca_eab_hmac_file = '/etc/k1'\n\
             ca_parallel_orders = 3\nca_requests_per_second = 2\nca_http_listen = '8080'\n\
             ca_tls_listen = '192.0.2.1:8443'\nca_preferred_acme_profile = ''\n",
        ),
    ]);
    assert_eq!((shown(&found.faults), shown(&found.warnings)), (vec![], vec![]));
    let expected = Acme {
        validation: Some(Validation::Dns),
        preferred_chain: None,
        profile: None,
        directory: "https://ca.example/dir".into(),
        test_directory: Some("https://test.ca.example/dir".into()),
        trust: Some("/t/roots.pem".into()),
        contact: vec!["mailto:you@example.com".into(), "tel:+1234".into()],
        binding: Some(Binding { key_id: "k1".into(), hmac_file: "/etc/k1".into() }),
        parallel_orders: 3,
        requests_per_second: 2,
        http_listen: "[::]:8080".parse().unwrap(),
        tls_listen: "192.0.2.1:8443".parse().unwrap(),
    };
    assert_eq!(found.authorities["x"].kind, AuthorityKind::Acme(Box::new(expected)));
}

#[test]
fn faults_of_an_authority_that_is_spoken_to() {
    let cases = [
        (
            "ca_directory = 'http://ca.example/'",
            "3:16: \"http://ca.example/\" is no URL that begins with https://",
        ),
        ("ca_directory = 'ca.example'", "3:16: \"ca.example\" is no URL"),
        ("ca_contact = 'you'", "3:14: \"you\" is no contact"),
        ("ca_eab_kid = 'k'", "3:14: ca_eab_kid without ca_eab_hmac_file"),
        ("ca_eab_hmac_file = 'k'", "3:20: ca_eab_hmac_file without ca_eab_kid"),
        ("ca_parallel_orders = 0", "3:22: ca_parallel_orders is 0; write a number from 1"),
        ("ca_http_listen = 'everywhere'", "3:18: \"everywhere\" is no address with a port"),
    ];
    for (line, expected) in cases {
        let text = format!("[x]\nca_type = 'acme'\n{line}\nca_validation = 'http-01'\n");
        let found = tree(&[("ssl-mgr.conf", ""), ("ca-info.conf", &text)]);
        one(line, &found.faults, &format!("ca-info.conf:{expected}"));
        assert!(!found.authorities.contains_key("x"), "{line}");
    }
}

#[test]
fn notes_about_authorities() {
    let cases = [
        ("syntax", "[x\n", "ca-info.conf:1:3: ", true, true),
        ("no type", "[x]\nca_desc = ''\n", "ca-info.conf:1:1: \"x\" has no ca_type; write self", true, false),
        (
            "unknown type",
            "[x]\nca_type = 'selfe'\n",
            "ca-info.conf:2:11: the ca_type \"selfe\" is not known; write self or local for an own one, acme, letsencrypt or certbot for ACME, or manual; did you mean \"self\"?",
            true,
            false,
        ),
        (
            "type of the type",
            "[x]\nca_type = 1\n",
            "ca-info.conf:2:11: ca_type is a number; write a text in quotes",
            true,
            false,
        ),
        (
            "validation",
            "[x]\nca_type = 'certbot'\nca_validation = 'email-01'\n",
            "ca-info.conf:3:17: \"email-01\" validates nothing",
            true,
            false,
        ),
        (
            "an own one that climbs",
            "['../x']\nca_type = 'self'\n",
            "ca-info.conf:1:2: \"../x\" is no name of a service",
            true,
            false,
        ),
        (
            "no validation",
            "[x]\nca_type = 'certbot'\n",
            "ca-info.conf:1:1: \"x\" has no ca_validation",
            false,
            false,
        ),
        (
            "a misspelt key",
            "[x]\nca_type = 'self'\nca_descr = ''\n",
            "ca-info.conf:3:1: unknown key \"ca_descr\" in [x], which is ignored; did you mean \"ca_desc\"?",
            false,
            false,
        ),
        (
            "a key at the top",
            "ca_type = 'self'\n",
            "ca-info.conf:1:1: unknown key \"ca_type\", which is ignored: each authority is a table",
            false,
            false,
        ),
    ];
    for (case, text, expected, is_fault, is_broken) in cases {
        let found = tree(&[("ssl-mgr.conf", ""), ("ca-info.conf", text)]);
        let (notes, others) = (&found.faults, &found.warnings);
        let (notes, others) = if is_fault { (notes, others) } else { (others, notes) };
        one(case, notes, expected);
        assert_eq!(shown(others), [""; 0], "{case}");
        assert_eq!(found.is_broken, is_broken, "{case}");
        assert!(!is_fault || !found.authorities.contains_key("x"), "{case}");
    }
}
