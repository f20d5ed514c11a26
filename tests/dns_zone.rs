//! Zones that are changed and looked at, with real servers: BIND takes the updates and shows the records.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[path = "lab/zones.rs"]
mod lab;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lab::{KEYS, Lab, SIX, Second, Zone as Made};
use reseed::manager::config::{Primary, Purpose, Site, Update};
use reseed::manager::dane;
use reseed::manager::dns::delegation::Finder;
use reseed::manager::dns::lookup::Patience;
use reseed::manager::dns::observe::{Expect, Wanted, Watcher, observe, observe_all};
use reseed::manager::dns::publish::Publisher;
use reseed::manager::dns::tsig::Key;
use reseed::manager::dns::update::{Change, update};
use reseed::manager::dns::{Data, Missing, Progress, Record, Zone};
use reseed::manager::tree::Tree;
use reseed::system::clock;
use reseed::system::root::Root;

const BOTH: &str = "@ IN NS ns1\n@ IN NS ns2\nns1 IN A 127.0.0.1\nns1 IN AAAA ::1\nns2 IN A 127.0.0.2\n";
const ALONE: &str = "@ IN NS ns1\nns1 IN A 127.0.0.1\n";

fn made(apex: &'static str, records: &str, second: Second) -> Made {
    Made { apex, records: records.to_owned(), updates: true, second }
}

fn primary() -> Primary {
    Primary { server: "127.0.0.1".into(), port: 53 }
}

fn zone(apex: &str) -> Zone {
    Zone { apex: apex.into(), primary: Some(primary()), resolvers: Vec::new(), extra: Vec::new() }
}

fn txt(name: &str, value: &str) -> Record {
    Record { name: name.into(), data: Data::Txt(value.into()) }
}

fn key(lab: &Lab, name: &str) -> Key {
    let path = lab.directory.path().join(name);
    Key::parse(&path, &fs::read_to_string(&path).unwrap()).unwrap()
}

fn add(record: &Record) -> Change {
    Change::Add { record: record.clone(), ttl: 60 }
}

fn send(key: Option<&Key>, zone: &str, changes: &[Change], later: i64) -> Result<usize, String> {
    let now = clock::now() + time::Duration::seconds(later);
    update(&primary(), key, zone, changes, now, &Patience::default()).map_err(|error| error.to_string())
}

/// What an observation saw, missed and told.
#[derive(Debug, Default)]
struct Watched {
    seen: Vec<usize>,
    missing: Vec<Missing>,
    notes: String,
    time: Duration,
}

fn watch(zone: &Zone, records: &[Record], expect: Expect, limit: Duration) -> Watched {
    let (seen, notes) = (Mutex::new(Vec::new()), Mutex::new(String::new()));
    let progress = |progress: Progress| {
        *notes.lock().unwrap() += &match progress {
            Progress::Note(note) => format!("{note}\n"),
            Progress::Misses { server, records, instead } => format!("{server} {instead}: {records:?}\n"),
        };
    };
    let watcher = Watcher { seen: &|index| seen.lock().unwrap().push(index), progress: &progress };
    let begun = Instant::now();
    let missing = match expect {
        Expect::Shown => observe(zone, records, begun + limit, &watcher),
        Expect::Gone => {
            let wanted: Vec<Wanted> =
                records.iter().map(|record| Wanted { zone: 0, record: record.clone() }).collect();
            observe_all(std::slice::from_ref(zone), &wanted, expect, begun + limit, &watcher)
        }
    };
    let time = begun.elapsed();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    Watched { seen, missing, notes: notes.into_inner().unwrap(), time }
}

const SOON: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_millis(600);

#[test]
fn updates_are_signed() {
    let Some(lab) = Lab::new(&[made("lab.test", ALONE, Second::Nothing)]) else { return };
    let record = |name: &str| txt(&format!("{name}.lab.test"), "x");
    for (name, _) in KEYS {
        let key = key(&lab, &format!("{name}.key"));
        assert_eq!(send(Some(&key), "lab.test", &[add(&record(name))], 0), Ok(1), "{name}");
        let shown = watch(&zone("lab.test"), &[record(name)], Expect::Shown, SOON);
        assert_eq!((shown.seen, shown.missing), (vec![0], vec![]), "{name}");
    }
    let good = key(&lab, "hmac-sha256.key");
    let other = |name: &str, secret: &str| {
        Key::parse(Path::new("k"), &format!("key {name} {{ algorithm hmac-sha256; secret {secret}; }};"))
            .unwrap()
    };
    let (unknown, wrong) = (other("nobody", KEYS[1].1), other("hmac-sha256", KEYS[2].1));
    let fresh = add(&record("fresh"));
    let outside = add(&txt("www.example.com", "x"));
    // name, key, zone, change, seconds by which our clock is ahead, words
    let cases = [
        (
            "a key that it does not know",
            Some(&unknown),
            "lab.test",
            &fresh,
            0,
            "BADKEY: it does not know the key nobody",
        ),
        ("another secret", Some(&wrong), "lab.test", &fresh, 0, "BADSIG"),
        ("our clock is ahead", Some(&good), "lab.test", &fresh, 3600, "s behind ours"),
        ("our clock is behind", Some(&good), "lab.test", &fresh, -3600, "s ahead of ours"),
        ("no key", None, "lab.test", &fresh, 0, "REFUSED"),
        ("another zone", Some(&good), "example.com", &outside, 0, "NOTAUTH"),
        ("a record of another zone", Some(&good), "lab.test", &outside, 0, "NOTZONE"),
    ];
    for (case, key, apex, change, later, words) in cases {
        let said = send(key, apex, std::slice::from_ref(change), later).unwrap_err();
        let head = format!("{apex} cannot be changed: name server 127.0.0.1 port 53 answers ");
        assert!(said.starts_with(&head) && said.contains(words), "{case}: {said}");
        if later != 0 {
            let seconds =
                said.split_whitespace().find_map(|word| word.parse::<u64>().ok().filter(|n| *n > 53));
            assert!(seconds.is_some_and(|seconds| seconds.abs_diff(3600) < 5), "{case}: {said}");
        }
    }
    let gone = watch(&zone("lab.test"), &[record("fresh")], Expect::Shown, NEVER);
    assert_eq!(gone.missing.len(), 1, "nothing of all this has changed it");
}

#[test]
fn a_hundred_records_at_once() {
    let Some(lab) = Lab::new(&[made("lab.test", BOTH, Second::Follows)]) else { return };
    let key = key(&lab, "hmac-sha256.key");
    let value = "x".repeat(43);
    let records: Vec<Record> =
        (0..100).map(|number| txt(&format!("_acme-challenge.host{number}.lab.test"), &value)).collect();
    let begun = Instant::now();
    let changes: Vec<Change> = records.iter().map(add).collect();
    assert_eq!(send(Some(&key), "lab.test", &changes, 0), Ok(1), "one message, over TCP");
    let sent = begun.elapsed();
    let first = watch(&zone("lab.test"), &records, Expect::Shown, SOON);
    assert_eq!((first.seen.len(), first.missing.len()), (100, 0), "{}", first.notes);
    let again = watch(&zone("lab.test"), &records, Expect::Shown, SOON);
    assert_eq!((again.seen.len(), again.missing.len()), (100, 0), "{}", again.notes);
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("100 records: update {sent:?}, seen by all {:?}, once more {:?}\n", first.time, again.time)
            .as_bytes(),
    );
    assert!(again.time < Duration::from_secs(2), "{:?}", again.time);
    let changes: Vec<Change> = records.iter().cloned().map(Change::Delete).collect();
    assert_eq!(send(Some(&key), "lab.test", &changes, 0), Ok(1));
    let gone = watch(&zone("lab.test"), &records, Expect::Gone, SOON);
    assert_eq!((gone.seen.len(), gone.missing.len()), (100, 0), "{}", gone.notes);
    // More than fits into a message.
    let long = "y".repeat(255);
    let many: Vec<Change> = (0..300).map(|number| add(&txt(&format!("a{number}.lab.test"), &long))).collect();
    assert_eq!(send(Some(&key), "lab.test", &many, 0), Ok(2));
    assert_eq!(watch(&zone("lab.test"), &[txt("a299.lab.test", &long)], Expect::Shown, SOON).seen, [0]);
}

#[test]
fn servers_that_lag_are_named() {
    let six = format!("@ IN NS ns6\nns6 IN AAAA {SIX}\n");
    let far = format!("{ALONE}@ IN NS far\nfar IN AAAA 2001:db8::53\nfar IN A 192.0.2.53\n");
    let dead = format!("{ALONE}@ IN NS dead\ndead IN A 127.0.0.9\n");
    let zones = [
        made("lag.test", BOTH, Second::Lags),
        made("lame.test", BOTH, Second::Nothing),
        made("six.test", &six, Second::Follows),
        made("far.test", &far, Second::Nothing),
        made("dead.test", &dead, Second::Nothing),
        made("bare.test", &format!("{ALONE}@ IN NS nobody.example.\n"), Second::Nothing),
    ];
    let Some(lab) = Lab::new(&zones) else { return };
    let key = key(&lab, "hmac-sha256.key");
    // zone, who is missing and what it does instead, what is noted
    let cases = [
        (
            "lag.test",
            vec!["ns2.lag.test (127.0.0.2) does not show it"],
            "ns2.lag.test (127.0.0.2) does not show",
        ),
        ("lame.test", vec!["ns2.lame.test (127.0.0.2) answers REFUSED"], "answers REFUSED"),
        ("six.test", vec![], ""),
        ("far.test", vec![], "far.far.test (192.0.2.53) cannot be reached from here"),
        ("far.test", vec![], "far.far.test (2001:db8::53) cannot be reached from here"),
        ("dead.test", vec!["dead.dead.test (127.0.0.9) cannot be asked"], "cannot be asked"),
        ("bare.test", vec![], "the name server nobody.example has no address"),
    ];
    for (apex, missing, note) in cases {
        let record = txt(&format!("_acme-challenge.{apex}"), "new");
        assert_eq!(send(Some(&key), apex, &[add(&record)], 0), Ok(1), "{apex}");
        let limit = if missing.is_empty() { SOON } else { NEVER };
        let found = watch(&zone(apex), &[record], Expect::Shown, limit);
        assert!(found.notes.contains(note), "{apex}: {}", found.notes);
        let servers: Vec<&String> = found.missing.iter().flat_map(|one| &one.servers).collect();
        assert_eq!(servers.len(), missing.len(), "{apex}: {servers:?}");
        for (server, words) in servers.iter().zip(&missing) {
            assert!(server.starts_with(words), "{apex}: {server}");
        }
        assert_eq!(found.seen.len(), usize::from(missing.is_empty()), "{apex}");
        if !missing.is_empty() {
            assert!(found.time >= NEVER && found.time < NEVER * 4, "{apex}: {:?}", found.time);
        }
    }
    // Further resolvers are asked last; the second server plays one that knows nothing.
    let record = txt("_acme-challenge.bare.test", "new");
    for (resolver, words) in [("127.0.0.1", ""), ("127.0.0.2:53", "resolver (127.0.0.2) answers REFUSED")] {
        let with = Zone { extra: vec![resolver.into()], ..zone("bare.test") };
        let found = watch(&with, std::slice::from_ref(&record), Expect::Shown, NEVER);
        let servers: Vec<String> = found.missing.into_iter().flat_map(|one| one.servers).collect();
        assert_eq!(servers.concat(), words, "{resolver}");
    }
}

/// A site whose zones are changed by update, with the files of the lab.
fn site(lab: &Lab, domains: &[Option<&str>]) -> Site {
    let updates = domains.iter().map(|domain| Update {
        domain: domain.map(str::to_owned),
        server: "127.0.0.1".into(),
        port: 53,
        key_file: Some(lab.directory.path().join("hmac-sha512.key")),
        purposes: [Purpose::Acme, Purpose::Tlsa].into(),
    });
    Site {
        updates: updates.collect(),
        primaries: [("default".to_owned(), primary())].into(),
        dns_check_timeout: 20,
        ..Site::default()
    }
}

#[test]
fn challenges_along_aliases_and_back() {
    let alias = format!(
        "{ALONE}_acme-challenge.www IN CNAME w1.acme.test.\n_acme-challenge.loop IN CNAME loop2\n\
         loop2 IN CNAME _acme-challenge.loop\n_acme-challenge.out IN CNAME x.nowhere.example.\n"
    );
    let zones = [
        made("lab.test", BOTH, Second::Follows),
        made("sub.lab.test", ALONE, Second::Nothing),
        Made { apex: "alias.test", records: alias, updates: false, second: Second::Nothing },
        made("acme.test", ALONE, Second::Nothing),
    ];
    let Some(lab) = Lab::new(&zones) else { return };
    let site = site(&lab, &[Some("lab.test"), Some("acme.test")]);
    let root = Root::open(Path::new("/")).unwrap();
    let tree = Tree::new(&root, lab.directory.path());
    let publisher = Publisher::new(&tree, &site);
    let names = [
        "lab.test",
        "lab.test",
        "a.sub.lab.test",
        "www.alias.test",
        "loop.alias.test",
        "out.alias.test",
        "alias.test",
    ];
    let wanted: Vec<Record> = names
        .iter()
        .enumerate()
        .map(|(number, name)| txt(&format!("_acme-challenge.{name}"), &format!("value{number}")))
        .collect();
    let publication = publisher.publish(&wanted);
    let placed: Vec<String> = publication
        .0
        .iter()
        .map(|placed| match placed {
            Ok(placed) => format!("{} in {}", placed.record.name, placed.zone.apex),
            Err(why) => why.clone(),
        })
        .collect();
    let expected = [
        "_acme-challenge.lab.test in lab.test",
        "_acme-challenge.lab.test in lab.test",
        "_acme-challenge.a.sub.lab.test in sub.lab.test",
        "w1.acme.test in acme.test",
        "go in a circle: _acme-challenge.loop.alias.test -> loop2.alias.test -> ",
        "x.nowhere.example is not known",
        "write [[dns_update]] for it, or acme_dir in [dns]",
    ];
    for ((name, placed), words) in names.iter().zip(&placed).zip(expected) {
        assert!(placed.contains(words), "{name}: {placed}");
    }
    let seen = Mutex::new(vec![None; names.len()]);
    publisher.observe(&publication, &|index, how| seen.lock().unwrap()[index] = Some(how.is_ok()), &|_| {});
    let good = [true, true, true, true, false, false, false].map(Some);
    assert_eq!(seen.into_inner().unwrap(), good);
    let file = lab.directory.path().join(".reseed/challenges.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The run is killed; the next one takes everything away.
    assert_eq!(Publisher::new(&tree, &site).withdraw(&wanted[..1]), Vec::<String>::new());
    let left = fs::read_to_string(&file).unwrap();
    assert!(!left.contains("value0") && left.contains("value1") && left.contains("w1.acme.test"), "{left}");
    let lab_zone = zone("lab.test");
    assert_eq!(watch(&lab_zone, &wanted[..1], Expect::Gone, SOON).seen, [0]);
    assert_eq!(watch(&lab_zone, &wanted[1..2], Expect::Shown, SOON).seen, [0]);
    assert_eq!(Publisher::new(&tree, &site).withdraw_all(), Vec::<String>::new());
    assert!(!file.exists());
    assert_eq!(watch(&lab_zone, &wanted[1..2], Expect::Gone, SOON).seen, [0]);
    assert_eq!(watch(&zone("acme.test"), &[txt("w1.acme.test", "value3")], Expect::Gone, SOON).seen, [0]);
}

#[test]
fn a_zone_that_no_primary_is_configured_for() {
    let Some(_lab) = Lab::new(&[made("lab.test", BOTH, Second::Follows)]) else { return };
    let site = Site::default();
    let name = ["_acme-challenge.www.lab.test".to_owned()];
    let alone = Finder::new(&site, Vec::new(), Patience::default()).places(&name);
    assert!(alone[0].as_ref().unwrap_err().contains("write [[dns_primary]]"), "{alone:?}");
    let resolver = "127.0.0.2:53".parse().unwrap();
    let found = Finder::new(&site, vec![resolver], Patience::default()).places(&name);
    let place = found[0].as_ref().unwrap();
    assert_eq!((place.name.as_str(), place.zone.apex.as_str()), (name[0].as_str(), "lab.test"));
}

#[test]
fn zones_that_include_a_file() {
    let apexes = ["inc.test", "inc2.test"];
    let zones = apexes.map(|apex| Made {
        updates: false,
        ..made(apex, &format!("{ALONE}$INCLUDE acme-challenge.{apex}\n"), Second::Nothing)
    });
    let Some(lab) = Lab::new(&zones) else { return };
    let place = lab.directory.path().join("first");
    let script = lab.directory.path().join("zone-refresh");
    let text = format!(
        "#!/bin/sh\necho \"$@\" >> {0}/told\nshift\nfor zone; do sed -i 's/hostmaster 1 /hostmaster 2 /' {0}/$zone; done\n\
         kill -HUP {1}\n",
        place.display(),
        lab.first()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut site = site(&lab, &[]);
    site.dns.restart = vec![script.display().to_string()];
    site.dns.challenge_directories = vec![place.clone()];
    // Their zone does not load while its file is missing: nobody speaks for it then.
    for apex in apexes {
        fs::write(place.join(format!("acme-challenge.{apex}")), "").unwrap();
    }
    support::checked(std::process::Command::new("kill").args(["-HUP", &lab.first().to_string()]));
    let root = Root::open(Path::new("/")).unwrap();
    let tree = Tree::new(&root, lab.directory.path());
    let publisher = Publisher::new(&tree, &site);
    let wanted = apexes.map(|apex| txt(&format!("_acme-challenge.www.{apex}"), "value"));
    let begun = Instant::now();
    let publication = loop {
        let publication = publisher.publish(&wanted);
        if publication.0.iter().all(Result::is_ok) {
            break publication;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{publication:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let text = fs::read_to_string(place.join("acme-challenge.inc.test")).unwrap();
    assert!(text.ends_with("_acme-challenge.www.inc.test. 60 IN TXT \"value\"\n"), "{text}");
    assert_eq!(fs::read_to_string(place.join("told")).unwrap(), "--serial_bump inc.test inc2.test\n");
    let seen = Mutex::new(Vec::new());
    publisher.observe(&publication, &|_, how| seen.lock().unwrap().push(how), &|_| {});
    assert_eq!(seen.into_inner().unwrap(), [Ok(()), Ok(())]);
    assert_eq!(publisher.withdraw(&wanted), Vec::<String>::new());
    let bare = ";; acme-challenge for : inc.test\n;; acme-challenge : inc.test\n";
    assert_eq!(fs::read_to_string(place.join("acme-challenge.inc.test")).unwrap(), bare);
}

#[test]
fn keys_of_servers_by_update() {
    let Some(lab) = Lab::new(&[made("lab.test", BOTH, Second::Follows)]) else { return };
    let site = site(&lab, &[None]);
    let root = Root::open(Path::new("/")).unwrap();
    let tree = Tree::new(&root, lab.directory.path());
    let publisher = Publisher::new(&tree, &site);
    assert!(publisher.updates_tlsa("lab.test"));
    let record = |data: u8, matching: u8, length: usize| dane::Record {
        owner: "_25._tcp.mx.lab.test".into(),
        ttl: Some(300),
        usage: 3,
        selector: 1,
        matching,
        data: vec![data; length],
    };
    let (curr, next) = (record(1, 1, 32), record(2, 0, 900));
    let elsewhere = dane::Record { owner: "_25._tcp.mx.example.org".into(), ..curr.clone() };
    let own = |record: &dane::Record| Record {
        name: record.owner.clone(),
        data: Data::Tlsa {
            usage: 3,
            selector: 1,
            matching: record.matching,
            association: record.data.clone(),
        },
    };
    let first = publisher.replace_tlsa("lab.test", &[], &[curr.clone(), elsewhere]).unwrap();
    assert!(first.notes.concat().contains("_25._tcp.mx.example.org"), "{first:?}");
    publisher.replace_tlsa("lab.test", std::slice::from_ref(&curr), &[curr.clone(), next.clone()]).unwrap();
    assert_eq!(watch(&zone("lab.test"), &[own(&curr), own(&next)], Expect::Shown, SOON).seen, [0, 1]);
    let last = publisher
        .replace_tlsa("lab.test", &[curr.clone(), next.clone()], std::slice::from_ref(&next))
        .unwrap();
    assert!(last.added.0.is_empty());
    assert_eq!(watch(&zone("lab.test"), &[own(&curr)], Expect::Gone, SOON).seen, [0]);
    assert_eq!(watch(&zone("lab.test"), &[own(&next)], Expect::Shown, SOON).seen, [0]);
    // A key that everybody may read.
    let file = lab.directory.path().join("hmac-sha512.key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let said = publisher.replace_tlsa("lab.test", &[next], &[]).unwrap_err();
    assert!(said.contains("everybody may read") && said.contains("hmac-sha512.key"), "{said}");
}
