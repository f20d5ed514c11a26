use super::*;
use crate::manager::inventory::model::{
    About, Algorithms, DistHost, FileType, Kind, Mode, State, SubjectType,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn place(file_type: FileType) -> Place {
    Place {
        file_type,
        cert_path: "/c".into(),
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

/// What a certificate becomes at one place: each file with mode, owner and what is in it; `K` a key, `C` a
/// certificate, `A` who is above it, a small letter that of the curve.
fn packed(kind: Kind, algorithms: Algorithms, place: Place, jail: Option<&str>) -> Result<Parcel, String> {
    let host = name("h.example");
    let mut objects = Objects::default();
    let mut dist = DistHost { jail_root: Some("/j".into()), ..DistHost::default() };
    dist.jails.extend(jail.map(|jail| (name(jail), About::default())));
    objects.hosts.insert(host.clone(), dist);
    objects.places.insert(name("p"), place);
    let mut certificate = Certificate::new(SubjectType::Server, kind, Algorithms::Rsa);
    certificate.targets.push(Target {
        host: host.clone(),
        jail: jail.map(name),
        place: Some(name("p")),
        about: About::default(),
    });
    let own = name("monkey.example");
    let instance = Instance {
        id: 7,
        certificate: own.clone(),
        state: State::Issued,
        algorithms,
        must_staple: false,
        issuer: None,
        not_before: None,
        not_after: None,
        published: None,
        about: About::default(),
        deliveries: [].into(),
        keys: Vec::new(),
    };
    let texts = algorithms.keys().iter().map(|algorithm| {
        let is_rsa = *algorithm == KeyAlgorithm::Rsa;
        let letter = |rsa: &str, ec: &str| if is_rsa { rsa.to_owned() } else { ec.to_owned() };
        Texts {
            algorithm: *algorithm,
            key: Some(Secret::new(letter("K", "k"))),
            certificate: letter("C\n", "c\n"),
            chain: Ok(letter("A", "a")),
        }
    });
    let goods = Goods { name: &own, certificate: &certificate, instance: &instance, texts: texts.collect() };
    let mut parcel = Parcel::default();
    parcel.add(&goods, &host, &objects, false)?;
    Ok(parcel)
}

fn shown(parcel: &Parcel) -> Vec<String> {
    let line = |load: &Load, file: &File| {
        let path = format!("{}{}/{}", load.base, load.directories[file.directory], file.name);
        let path = path.replace("monkey.example_server_", "S_");
        match &file.body {
            Body::Text(text) => {
                let text = String::from_utf8_lossy(text.reveal()).replace('\n', "");
                format!("{path} {:04o} {}:{} {text}", file.mode, file.user, file.group)
            }
            Body::Link(target) => {
                format!("{path} -> {}", target.replace("monkey.example_server_", "S_"))
            }
        }
    };
    parcel.loads.iter().flat_map(|load| load.files.iter().map(move |file| line(load, file))).collect()
}

#[test]
fn what_a_certificate_becomes_at_each_kind_of_place() {
    use FileType::{CertOnly, CombineBoth, CombineCa, CombineKey, KeyOnly, Separate};
    // For a local certificate, and for one of a public authority.
    let cases: [(FileType, &[&str], &[&str]); 6] = [
        (CertOnly, &["/c/S_cert.pem 0644 0:0 C"], &["/c/S_cert.pem 0644 0:0 C"]),
        (KeyOnly, &["/c/S_key.pem 0400 0:0 K"], &["/c/S_key.pem 0400 0:0 K"]),
        (
            Separate,
            &["/c/S_key.pem 0400 0:0 K", "/c/S_cert.pem 0644 0:0 C"],
            &[
                "/c/S_key.pem 0400 0:0 K",
                "/c/S_cert_cacert_chain.pem 0644 0:0 CA",
                "/c/S_cert.pem 0644 0:0 C",
            ],
        ),
        (
            CombineKey,
            &["/c/S_key_cert.pem 0400 0:0 KC"],
            &["/c/S_key_cert_cacert_chain.pem 0400 0:0 KCA", "/c/S_key_cert.pem 0400 0:0 KC"],
        ),
        (
            CombineCa,
            &["/c/S_key.pem 0400 0:0 K", "/c/S_cert_cacert.pem 0644 0:0 CA"],
            &["/c/S_key.pem 0400 0:0 K", "/c/S_cert_cacert_chain.pem 0644 0:0 CA"],
        ),
        (
            CombineBoth,
            &["/c/S_key_cert_cacert.pem 0400 0:0 KCA"],
            &["/c/S_key_cert_cacert_chain.pem 0400 0:0 KCA"],
        ),
    ];
    for (file_type, local, public) in cases {
        for (kind, expected) in [(Kind::Local, local), (Kind::Le, public)] {
            let parcel = packed(kind, Algorithms::Rsa, place(file_type), None).unwrap();
            assert_eq!(shown(&parcel), expected, "{file_type:?} {kind:?}");
        }
    }
}

#[test]
fn owners_modes_links_pairs_and_jails() {
    use FileType::{CombineBoth, CombineKey, KeyOnly, Separate};
    let mode = |bits| Some(Mode::new(bits).unwrap());
    let owned = |place: Place| Place { user: Some(70), mode: mode(0o440), ..place };
    type Row = (&'static str, Algorithms, Place, Option<&'static str>, &'static [&'static str]);
    let cases: [Row; 11] = [
        (
            "the key is somebody's",
            Algorithms::Rsa,
            owned(place(Separate)),
            None,
            &["/c/S_key.pem 0440 70:0 K", "/c/S_cert.pem 0644 0:0 C"],
        ),
        (
            "both are",
            Algorithms::Rsa,
            Place { group: Some(71), user: None, chown_both: true, ..owned(place(Separate)) },
            None,
            &["/c/S_key.pem 0440 0:71 K", "/c/S_cert.pem 0644 0:71 C"],
        ),
        ("all in one", Algorithms::Rsa, owned(place(CombineKey)), None, &["/c/S_key_cert.pem 0440 70:0 KC"]),
        (
            "a pair",
            Algorithms::Both,
            place(Separate),
            None,
            &[
                "/c/S_key.pem 0400 0:0 K",
                "/c/S_cert.pem 0644 0:0 C",
                "/c/S_ec_key.pem 0400 0:0 k",
                "/c/S_ec_cert.pem 0644 0:0 c",
            ],
        ),
        (
            "a pair, all in one",
            Algorithms::Both,
            place(CombineBoth),
            None,
            &["/c/S_key_cert_cacert.pem 0400 0:0 KCA", "/c/S_key_ec_cert_cacert.pem 0400 0:0 kca"],
        ),
        ("a curve", Algorithms::Ec, place(KeyOnly), None, &["/c/S_ec_key.pem 0400 0:0 k"]),
        (
            "keys elsewhere, for any file of their own",
            Algorithms::Rsa,
            Place { key_path: Some("k/".into()), ..place(Separate) },
            None,
            &["/k/S_key.pem 0400 0:0 K", "/c/S_cert.pem 0644 0:0 C"],
        ),
        (
            "links, also where both are given away; one for a pair",
            Algorithms::Both,
            Place { pglink: true, chown_both: true, user: Some(70), group: Some(70), ..place(Separate) },
            None,
            &[
                "/c/S_key.pem 0400 70:70 K",
                "/c/S_cert.pem 0644 70:70 C",
                "/c/postgresql.key -> S_key.pem",
                "/c/postgresql.crt -> S_cert.pem",
                "/c/S_ec_key.pem 0400 70:70 k",
                "/c/S_ec_cert.pem 0644 70:70 c",
            ],
        ),
        (
            "links to all in one",
            Algorithms::Rsa,
            Place { pglink: true, ..place(CombineKey) },
            None,
            &[
                "/c/S_key_cert.pem 0400 0:0 KC",
                "/c/postgresql.key -> S_key_cert.pem",
                "/c/postgresql.crt -> S_key_cert.pem",
            ],
        ),
        (
            "a client's home in a jail",
            Algorithms::Rsa,
            Place { cert_path: "Users/{}/.postgresql".into(), ..place(KeyOnly) },
            Some("web"),
            &["/j/web/Users/monkey.example/.postgresql/S_key.pem 0400 0:0 K"],
        ),
        (
            "the top of a jail",
            Algorithms::Rsa,
            Place { cert_path: "/".into(), ..place(KeyOnly) },
            Some("web"),
            &["/j/web/S_key.pem 0400 0:0 K"],
        ),
    ];
    for (case, algorithms, place, jail, expected) in cases {
        let parcel = packed(Kind::Local, algorithms, place, jail).unwrap();
        assert_eq!(shown(&parcel), expected, "{case}");
    }
}

/// serverPKI left the jail.
#[test]
fn an_absolute_key_path_stays_in_its_jail() {
    let place = Place { key_path: Some("/etc/keys".into()), ..place(FileType::Separate) };
    let parcel = packed(Kind::Local, Algorithms::Rsa, place, Some("web")).unwrap();
    assert_eq!(shown(&parcel)[0], "/j/web/etc/keys/S_key.pem 0400 0:0 K");
}

/// serverPKI took every file with "key" in its name for a key.
#[test]
fn the_certificate_of_a_monkey_is_not_taken_for_a_key() {
    let place = Place {
        user: Some(70),
        mode: Some(Mode::new(0o400).unwrap()),
        pglink: true,
        ..place(FileType::Separate)
    };
    let parcel = packed(Kind::Local, Algorithms::Rsa, place, None).unwrap();
    let certificate = &parcel.loads[0].files[1];
    assert_eq!(certificate.name, "monkey.example_server_cert.pem");
    assert_eq!((certificate.mode, certificate.user), (0o644, 0));
    assert_eq!(parcel.loads[0].files[2].body, Body::Link("monkey.example_server_key.pem".into()));
}

#[test]
fn reload_commands_name_the_jail_as_data() {
    type Row = (&'static str, &'static str, Option<&'static str>, Result<Option<&'static str>, &'static str>);
    let cases: [Row; 8] = [
        ("a host", "service nginx reload", None, Ok(Some("service nginx reload"))),
        (
            "a jail",
            "jexec {} service nginx reload",
            Some("web-1.b"),
            Ok(Some("jexec web-1.b service nginx reload")),
        ),
        ("within quotes", "jexec '{}' x \"{}\"", Some("web"), Ok(Some("jexec 'web' x \"web\""))),
        ("a hostile jail", "jexec {} x", Some("a; id >x"), Ok(Some("jexec 'a; id >x' x"))),
        ("a hostile one with quotes", "jexec {} x", Some("a'$(id)'"), Ok(Some("jexec 'a'\\''$(id)'\\''' x"))),
        ("a hostile one within quotes", "jexec '{}' x", Some("a; id"), Err("write that without any")),
        ("a jail's command at a host", "jexec {} x", None, Ok(None)),
        ("a jail that is not named", "restart all", Some("a; id"), Ok(Some("restart all"))),
    ];
    for (case, command, jail, expected) in cases {
        let place = Place { reload: Some(command.into()), ..place(FileType::CertOnly) };
        match (reload(&place, jail.map(name).as_ref()), expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found.map(|found| found.command).as_deref(), expected, "{case}");
            }
            (Err(error), Err(words)) => assert!(error.contains(words), "{case}: {error}"),
            (found, expected) => panic!("{case}: {found:?}, not {expected:?}"),
        }
    }
}

/// What serverPKI ran up to four times.
#[test]
fn one_command_of_one_jail_is_run_once() {
    let place = Place { reload: Some("jexec {} x".into()), ..place(FileType::Separate) };
    let mut parcel = packed(Kind::Le, Algorithms::Both, place.clone(), Some("web")).unwrap();
    let other = packed(Kind::Le, Algorithms::Both, place, Some("web")).unwrap();
    assert_eq!(parcel.reloads, other.reloads);
    parcel.loads.extend(other.loads);
    let stream = parcel.stream().unwrap();
    let text = String::from_utf8_lossy(stream.reveal()).into_owned();
    assert_eq!(text.matches("reload 0 0,1 jexec web x\n").count(), 1);
}

#[test]
fn what_is_missing_is_said_and_nothing_is_sent() {
    let own = name("a.example");
    let host = name("h.example");
    let mut objects = Objects::default();
    objects.hosts.insert(host.clone(), DistHost::default());
    objects.places.insert(name("p"), place(FileType::CombineBoth));
    let mut certificate = Certificate::new(SubjectType::Server, Kind::Local, Algorithms::Rsa);
    let target = Target { host: host.clone(), jail: None, place: Some(name("p")), about: About::default() };
    certificate.targets.push(target);
    let instance = Instance {
        id: 1,
        certificate: own.clone(),
        state: State::Issued,
        algorithms: Algorithms::Rsa,
        must_staple: false,
        issuer: None,
        not_before: None,
        not_after: None,
        published: None,
        about: About::default(),
        deliveries: [].into(),
        keys: Vec::new(),
    };
    let texts = |key: Option<&str>, chain: Result<&str, &str>| Texts {
        algorithm: KeyAlgorithm::Rsa,
        key: key.map(Secret::new),
        certificate: "C".into(),
        chain: chain.map(str::to_owned).map_err(str::to_owned),
    };
    let cases = [
        ("a key", vec![texts(None, Ok("A"))], "does not have its key"),
        ("a chain", vec![texts(Some("K"), Err("nobody knows"))], "nobody knows"),
        ("a certificate", vec![], "no certificate for its key of rsa"),
    ];
    for (case, texts, words) in cases {
        let goods = Goods { name: &own, certificate: &certificate, instance: &instance, texts };
        let mut parcel = Parcel::default();
        let error = parcel.add(&goods, &host, &objects, false).unwrap_err();
        assert!(error.contains(words) && error.contains("place p"), "{case}: {error}");
        assert!(parcel.loads.is_empty() && parcel.reloads.is_empty(), "{case}");
    }
}
