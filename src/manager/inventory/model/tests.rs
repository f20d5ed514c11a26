//! The rules that objects keep, as tables.

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn place(file_type: FileType, cert_path: &str) -> Place {
    Place {
        file_type,
        cert_path: cert_path.into(),
        key_path: None,
        user: None,
        group: None,
        mode: None,
        chown_both: false,
        pglink: false,
        reload: None,
        about: About::default(),
    }
}

fn certificate(kind: Kind, targets: &[(&str, Option<&str>, Option<&str>)]) -> Certificate {
    let target = |(host, jail, place): &(&str, Option<&str>, Option<&str>)| Target {
        host: name(host),
        jail: jail.map(name),
        place: place.map(name),
        about: About::default(),
    };
    Certificate {
        subject: SubjectType::Server,
        kind,
        authority: None,
        disabled: false,
        algorithms: Algorithms::Rsa,
        must_staple: false,
        authorized_until: None,
        reminded: None,
        about: About::default(),
        main: About::default(),
        names: [(name("alt.example"), About::default())].into(),
        services: ["https/443".parse().unwrap()].into(),
        targets: targets.iter().map(target).collect(),
    }
}

/// Two hosts, one with jails; two places; one certificate.
fn objects() -> Objects {
    let host = |root: Option<&str>, jails: &[&str]| DistHost {
        jail_root: root.map(Into::into),
        about: About::default(),
        jails: jails.iter().map(|jail| (name(jail), About::default())).collect(),
    };
    let service = Service { tlsa: TlsaPrefix::usual(443).unwrap(), about: About::default() };
    Objects {
        services: [("https/443".parse().unwrap(), service)].into(),
        hosts: [
            (name("a.example"), host(Some("/usr/jails"), &["www", "mail"])),
            (name("b.example"), host(None, &[])),
            (name("c.example"), host(Some("/j/"), &["db"])),
        ]
        .into(),
        places: [
            (name("etc"), place(FileType::Separate, "/etc/ssl")),
            (name("same"), place(FileType::CertOnly, "etc//ssl/")),
            (name("whole path"), place(FileType::CertOnly, "usr/jails/www/etc/ssl")),
            (name("pg"), Place { pglink: true, ..place(FileType::Separate, "/pg") }),
        ]
        .into(),
        certificates: [(
            name("www.example"),
            certificate(
                Kind::Le,
                &[("a.example", Some("www"), Some("etc")), ("b.example", None, Some("pg"))],
            ),
        )]
        .into(),
    }
}

#[test]
fn what_is_refused_and_by_which_rule() {
    let target = |host, jail, place| Object::Target {
        certificate: name("www.example"),
        target: certificate(Kind::Le, &[(host, jail, place)]).targets.remove(0),
    };
    let jail = |host, jail| Object::Jail { host: name(host), name: name(jail), about: About::default() };
    let alone = |other: Certificate| Certificate { names: [].into(), ..other };
    let cases = [
        (
            "a name that another has",
            Object::AltName {
                certificate: name("www.example"),
                name: name("ALT.example"),
                about: About::default(),
            },
            Rule::Taken,
        ),
        (
            "a second main name",
            Object::Certificate(name("Alt.example"), Box::new(alone(certificate(Kind::Le, &[])))),
            Rule::Taken,
        ),
        (
            "a name twice",
            Object::Certificate(name("other"), Box::new(certificate(Kind::Le, &[]))),
            Rule::Taken,
        ),
        ("a jail without a root", jail("b.example", "x"), Rule::JailRoot),
        ("a jail twice", jail("a.example", "WWW"), Rule::Taken),
        ("a jail nowhere", jail("d.example", "x"), Rule::Unknown),
        (
            "jails without a root",
            Object::Host(
                name("d.example"),
                DistHost { jails: [(name("j"), About::default())].into(), ..DistHost::default() },
            ),
            Rule::JailRoot,
        ),
        (
            "a root that climbs",
            Object::Host(
                name("d.example"),
                DistHost { jail_root: Some("/usr/../etc".into()), ..DistHost::default() },
            ),
            Rule::Climbs,
        ),
        (
            "a root that is relative",
            Object::Host(
                name("d.example"),
                DistHost { jail_root: Some("jails".into()), ..DistHost::default() },
            ),
            Rule::Form,
        ),
        ("a place that climbs", Object::Place(name("p"), place(FileType::Separate, "../etc")), Rule::Climbs),
        (
            "a key that climbs",
            Object::Place(
                name("p"),
                Place { key_path: Some("/a/../..".into()), ..place(FileType::Separate, "/etc") },
            ),
            Rule::Climbs,
        ),
        (
            "a key with nowhere to go",
            Object::Place(
                name("p"),
                Place { key_path: Some("/k".into()), ..place(FileType::CombineKey, "/etc") },
            ),
            Rule::Form,
        ),
        ("a place nowhere", Object::Place(name("p"), place(FileType::Separate, "")), Rule::Form),
        ("the jail of another host", target("a.example", Some("db"), Some("pg")), Rule::JailHost),
        ("no such jail", target("a.example", Some("x"), Some("pg")), Rule::Unknown),
        ("no such host", target("x.example", None, Some("pg")), Rule::Unknown),
        ("no such place", target("a.example", None, Some("x")), Rule::Unknown),
        ("the same target", target("A.example", Some("WWW"), Some("etc")), Rule::Taken),
        ("another place, the same file", target("a.example", Some("www"), Some("same")), Rule::SameFile),
        ("from outside into the jail", target("a.example", None, Some("whole path")), Rule::SameFile),
        (
            "two links of one name",
            Object::Certificate(
                name("other"),
                Box::new(alone(certificate(Kind::Local, &[("b.example", None, Some("pg"))]))),
            ),
            Rule::SameFile,
        ),
        (
            "a service that is not there",
            Object::Tlsa { certificate: name("www.example"), service: "smtp/25".parse().unwrap() },
            Rule::Unknown,
        ),
        (
            "a service twice",
            Object::Tlsa { certificate: name("www.example"), service: "HTTPS/443".parse().unwrap() },
            Rule::Taken,
        ),
    ];
    for (case, object, rule) in cases {
        let mut checked = Checked::new(objects()).unwrap();
        assert_eq!(checked.add(object).map_err(|refusal| refusal.rule), Err(rule), "{case}");
        assert_eq!(*checked.objects(), objects(), "{case}: nothing is changed");
    }
    for (case, reference, rule) in [
        ("a service in use", Reference::Service("https/443".parse().unwrap()), Rule::InUse),
        ("a host in use", Reference::Host(name("a.example")), Rule::InUse),
        ("a jail in use", Reference::Jail { host: name("a.example"), name: name("www") }, Rule::InUse),
        ("a place in use", Reference::Place(name("etc")), Rule::InUse),
        ("a main name", Reference::AltName(name("www.example")), Rule::InUse),
        ("no such certificate", Reference::Certificate(name("x")), Rule::Unknown),
    ] {
        let mut checked = Checked::new(objects()).unwrap();
        assert_eq!(checked.remove(&reference).map_err(|refusal| refusal.rule), Err(rule), "{case}");
        assert_eq!(*checked.objects(), objects(), "{case}: nothing is changed");
    }
}

#[test]
fn what_was_removed_leaves_room() {
    let mut checked = Checked::new(objects()).unwrap();
    let target = objects().certificates[&name("www.example")].targets[0].clone();
    let whole = Reference::Target { certificate: name("www.example"), target: target.clone() };
    checked.remove(&whole).unwrap();
    let same = Target { place: Some(name("same")), ..target };
    checked.add(Object::Target { certificate: name("www.example"), target: same }).unwrap();
    checked.remove(&Reference::AltName(name("alt.example"))).unwrap();
    let other = Certificate { names: [].into(), ..certificate(Kind::Le, &[]) };
    checked.add(Object::Certificate(name("alt.example"), Box::new(other))).unwrap();
    checked.remove(&Reference::Certificate(name("www.example"))).unwrap();
    checked.remove(&Reference::Host(name("a.example"))).unwrap();
}

#[test]
fn which_files_a_certificate_becomes() {
    let www = name("www.example");
    let occupant = |kind, algorithms| Occupant {
        name: &www,
        subject: SubjectType::Server,
        chained: kind == Kind::Le,
        algorithms,
    };
    let list = |place: &Place, kind, algorithms| {
        place
            .files(&occupant(kind, algorithms))
            .into_iter()
            .map(|file| file.path)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let rsa = Algorithms::Rsa;
    for (file_type, kind, expected) in [
        (FileType::CertOnly, Kind::Local, "cert.pem"),
        (FileType::KeyOnly, Kind::Le, "key.pem"),
        (FileType::Separate, Kind::Local, "key.pem cert.pem"),
        (FileType::Separate, Kind::Le, "key.pem cert_cacert_chain.pem cert.pem"),
        (FileType::CombineKey, Kind::Local, "key_cert.pem"),
        (FileType::CombineKey, Kind::Le, "key_cert_cacert_chain.pem key_cert.pem"),
        (FileType::CombineCa, Kind::Local, "key.pem cert_cacert.pem"),
        (FileType::CombineCa, Kind::Le, "key.pem cert_cacert_chain.pem"),
        (FileType::CombineBoth, Kind::Local, "key_cert_cacert.pem"),
        (FileType::CombineBoth, Kind::Le, "key_cert_cacert_chain.pem"),
    ] {
        let expected: Vec<_> =
            expected.split(' ').map(|file| format!("/etc/ssl/www.example_server_{file}")).collect();
        assert_eq!(list(&place(file_type, "/etc/ssl/"), kind, rsa), expected.join(" "), "{file_type} {kind}");
    }
    let mut pair = place(FileType::CombineCa, "home/{}/x");
    pair.key_path = Some("/private".into());
    pair.pglink = true;
    assert_eq!(
        list(&pair, Kind::Local, Algorithms::Both),
        "/private/www.example_server_key.pem /home/www.example/x/www.example_server_cert_cacert.pem \
         /private/postgresql.key /home/www.example/x/postgresql.crt \
         /private/www.example_server_ec_key.pem /home/www.example/x/www.example_server_ec_cert_cacert.pem"
    );
}

#[test]
fn words_and_their_texts() {
    for (text, both) in [("rsa_plus_ec", true), ("rsa plus ec", true), ("both", true), ("ec", false)] {
        assert_eq!(text.parse::<Algorithms>().unwrap() == Algorithms::Both, both, "{text}");
    }
    assert_eq!(
        FileType::ALL.map(|(value, _)| value.to_string()),
        FileType::ALL.map(|(_, text)| text.to_owned())
    );
    for bad in ["", "cert", "key only "] {
        assert!(<FileType as Word>::parse(bad).is_err(), "{bad:?}");
    }
    for (text, mode) in [
        ("0440", Some(0o440)),
        ("288", None),
        ("640", Some(0o640)),
        ("77777", None),
        ("0x1f", None),
        ("+17", None),
    ] {
        assert_eq!(text.parse::<Mode>().ok().map(Mode::bits), mode, "{text}");
    }
    for bad in ["", "a/b", "..", ".x", "-x", "a\n", " a"] {
        assert!(Name::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn prefixes_of_tlsa_records() {
    let prefix: TlsaPrefix = "_25._tcp.{}.  3600 in tlsa 3 1 1".parse().unwrap();
    assert_eq!(prefix.to_string(), "_25._tcp.{}. 3600 IN TLSA 3 1 1");
    assert_eq!(prefix.owner_for("mail.example"), "_25._tcp.mail.example");
    for bad in [
        "",
        "_25._tcp.{}. 3600 IN TLSA 3 1",
        "_25._tcp.{} 3600 IN TLSA 3 1 1",
        "_25._tcp.x. 3600 IN TLSA 3 1 1",
        "_25._tcp.{}. -1 IN TLSA 3 1 1",
        "_25._tcp.{}. 3600 CH TLSA 3 1 1",
        "_25._tcp.{}. 3600 IN TLSA 4 1 1",
        "_25._tcp.{}. 3600 IN TLSA 3 2 1",
        "_25._tcp.{}. 3600 IN TLSA 3 1 3",
    ] {
        assert!(bad.parse::<TlsaPrefix>().is_err(), "{bad:?}");
    }
    for bad in ["https", "https/0", "https/65536", "/443", "https/-1"] {
        assert!(bad.parse::<ServiceKey>().is_err(), "{bad:?}");
    }
}
