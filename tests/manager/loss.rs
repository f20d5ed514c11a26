//! What loses data or takes services off the net with ssl-mgr: each test is named after the fault.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use reseed::manager::lineage::Link;
use reseed::manager::report::{Outcome, Report};
use reseed::manager::schedule::Due;
use reseed::manager::{renew, roll};
use time::{Duration, OffsetDateTime};

use crate::named::Named;
use crate::site::Site;
use crate::support::has;

const WEB: &str = "certs/example.com/web";
const LIVE: &str = "prod/example.com/web/curr";

pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc().replace_nanosecond(0).unwrap()
}

/// What became of one service.
#[track_caller]
pub fn outcome<'r>(report: &'r Report, service: &str) -> &'r Outcome {
    let found = report.services.iter().find(|(name, _)| name.to_string() == service);
    found.map(|(_, outcome)| outcome).unwrap_or_else(|| panic!("nothing about {service}: {report}"))
}

#[test]
fn crash_between_the_renames_of_a_roll_takes_nothing_off_the_net() {
    if !has("openssl") {
        return;
    }
    let site = Site::running();
    let first = site.link(&format!("{WEB}/curr"));
    site.sslm("-f -renew example.com:web").exits(0);
    let second = site.link(&format!("{WEB}/next"));
    fs::rename(site.path(&format!("{WEB}/curr")), site.path(&format!("{WEB}/prev"))).unwrap();
    site.told();

    let before = site.snapshot();
    let said = site.sslm("-s");
    said.exits(0).says("the next run puts this right: curr was missing or broken");
    assert_eq!(site.changed(&before), BTreeSet::new(), "status only reads");
    let live = fs::metadata(site.path(LIVE)).unwrap().ino();

    site.sslm("-renew")
        .exits(0)
        .says(&format!("example.com/web: curr was missing or broken; it is {}", &first[3..]));
    assert_eq!(site.link(&format!("{WEB}/curr")), first);
    assert_eq!(site.link(&format!("{WEB}/next")), second);
    assert_eq!(fs::metadata(site.path(LIVE)).unwrap().ino(), live, "what is served was not touched");
    assert_eq!(site.told(), [""; 0], "and nobody had to be told");
    site.sslm("-roll").exits(0);
    assert_eq!(site.link(&format!("{WEB}/curr")), second);
    assert_eq!(site.link(&format!("{WEB}/prev")), first);
    site.is_pair(LIVE);
}

#[test]
fn failed_renewal_publishes_no_half_made_next() {
    // name, what the failed run left in the directory of next
    let cases: [(&str, &[&str]); 5] = [
        ("an empty directory", &[]),
        ("a key", &["privkey.pem"]),
        ("key and request", &["privkey.pem", "csr.pem"]),
        ("all but the bundle", &["privkey.pem", "csr.pem", "cert.pem", "chain.pem", "fullchain.pem"]),
        ("no key", &["csr.pem", "cert.pem", "chain.pem", "fullchain.pem", "bundle.pem"]),
    ];
    let site = Site::running();
    let curr = site.link(&format!("{WEB}/curr"));
    for (case, files) in cases {
        let half = site.path(&format!("{WEB}/db/20200101-00:00:00"));
        fs::create_dir(&half).unwrap();
        for file in files {
            fs::copy(site.path(&format!("{WEB}/curr/{file}")), half.join(file)).unwrap();
        }
        symlink("db/20200101-00:00:00", site.path(&format!("{WEB}/next"))).unwrap();
        let production = site.files("prod");

        site.sslm("-s").exits(0).says("next was not complete");
        site.sslm("-roll")
            .exits(0)
            .says("example.com/web: next was not complete; it is made anew when it is due");
        assert!(!site.has(&format!("{WEB}/next")), "{case}");
        assert_eq!(site.link(&format!("{WEB}/curr")), curr, "{case}");
        assert_eq!(site.files("prod"), production, "{case}");
        assert_eq!(site.told(), [""; 0], "{case}");
        fs::remove_dir_all(half).unwrap();
    }
}

#[test]
fn unreachable_server_stops_no_other() {
    let site = Site::running();
    site.edit(
        "conf.d/ssl-mgr.conf",
        "[web]\nservers = ['localhost']",
        "[web]\nservers = ['down.example.net', 'localhost']",
    );
    let copied =
        format!("prod_cert_dir = 'prod'\npost_copy_cmd = [['pbx', '{}']]", site.path("copied").display());
    site.edit("conf.d/ssl-mgr.conf", "prod_cert_dir = 'prod'", &copied);
    site.edit("conf.d/ssl-mgr.conf", "depends = ['dns']", "depends = ['dns', 'cert']");
    // The one that waits is copied, too.
    let said = site.sslm("-f -renew");
    said.exits(1).says("still to be done: down.example.net: copy").never_says("/web reload");
    let said = site.sslm("-roll");
    said.exits(1).says("still to be done: down.example.net: copy of the production tree: ssh failed");
    said.says("still to be done: down.example.net: ").says("/web reload");
    let everybody_else =
        ["copied pbx", "smtp reload", "web check", "web reload", "zone --serial_bump example.com"];
    // Hosts are told side by side.
    let mut told = site.told();
    told.sort();
    assert_eq!(told, everybody_else);
    site.is_pair(LIVE);

    // Neither forgotten nor "all good", and nobody else is told again.
    for _ in 0..2 {
        let said = site.sslm("-renew");
        said.exits(1).says("still to be done: down.example.net");
        assert_eq!(site.told(), [""; 0]);
    }
    site.sslm("-s").exits(0).says("still to be done: down.example.net: copy of the production tree");
    let json = site.manager("status --json").json();
    assert!(json["pending"][0].as_str().unwrap().starts_with("down.example.net"), "{json}");
    // It is no server any more.
    site.edit("conf.d/ssl-mgr.conf", "'down.example.net', ", "");
    site.sslm("-renew").exits(0).never_says("still to be done");
}

#[test]
fn failed_restart_neither_suppresses_the_zone_nor_is_forgotten() {
    let site = Site::with_dane("[[465, 'tcp', 3, 1, 1]]");
    let zone = "zones/tlsa.example.com";
    let old = site.records(zone);
    site.sslm("-f -renew example.com").exits(0);
    let both = site.records(zone);
    site.told();
    site.refuses("smtp", true);
    site.refuses("web", true);
    let said = site.sslm("-f -roll");
    said.exits(1).says("smtp says no");
    // The second command of a table waits for the first; the zone is read all the same where it has changed,
    // and goes on holding what the server that failed still shows.
    let told = site.told();
    assert!(told.contains(&"smtp reload".to_owned()) && told.contains(&"web check".to_owned()), "{told:?}");
    assert_eq!(site.records(zone), both);
    assert!(both.len() == 2 * old.len() && old.iter().all(|record| both.contains(record)));

    site.refuses("smtp", false);
    site.refuses("web", false);
    let said = site.sslm("-renew");
    said.exits(0).says("done: localhost: ");
    assert_eq!(site.told(), ["smtp reload", "web check", "web reload", "zone --serial_bump example.com"]);
    let new = site.records(zone);
    assert!(new.len() == old.len() && new.iter().all(|record| !old.contains(record)), "{new:?}");
    site.sslm("-renew").exits(0);
    assert_eq!(site.told(), [""; 0]);
}

#[test]
fn zone_that_cannot_be_read_again_is_not_forgotten() {
    let site = Site::with_dane("[[465, 'tcp', 3, 1, 1]]");
    site.refuses("zone", true);
    site.sslm("-f -renew example.com")
        .exits(1)
        .says("still to be done: example.com: TLSA records into the zone: ");
    assert_eq!(site.told(), ["zone --serial_bump example.com"]);
    // What is not in the zone is not rolled.
    site.sslm("-roll").exits(1).says("is not rolled: its TLSA records are not in the zone yet");
    site.refuses("zone", false);
    site.told();
    site.sslm("-renew").exits(0);
    assert_eq!(site.told(), ["zone --serial_bump example.com"]);
}

#[test]
fn long_records_of_several_names_load() {
    let every = "[[465, 'tcp', 3, 1, 2], [465, 'tcp', 3, 0, 0], [993, 'tcp', 3, 1, 2], [993, 'tcp', 3, 1, 1], [25, 'tcp', 2, 0, 2]]";
    let site = Site::with_dane(every);
    let zone = "zones/tlsa.example.com";
    site.zone_loads(zone);
    site.sslm("-f -renew example.com").exits(0);
    site.zone_loads(zone);
    let records = site.records(zone);
    let of = |owner: &str| records.iter().filter(|record| record.starts_with(owner)).count();
    assert_eq!((of("_465._tcp.example.com. "), of("_465._tcp.mail.example.com. ")), (4, 4), "{records:#?}");
    // An authority's is the same before and after, and stands once.
    assert_eq!(of("_25._tcp.example.com. "), 1, "{records:#?}");
    site.sslm("-f -roll example.com").exits(0);
    site.zone_loads(zone);
}

#[test]
fn dane_switched_off_is_withdrawn() {
    let site = Site::with_dane("[[465, 'tcp', 3, 1, 1]]");
    assert_eq!(site.records("zones/tlsa.example.com").len(), 2);
    site.dane("[]");
    site.sslm("-renew").exits(0);
    assert_eq!(site.told(), ["zone --serial_bump example.com"]);
    for file in ["zones", "certs/example.com", "prod/example.com"] {
        assert_eq!(site.records(&format!("{file}/tlsa.example.com")), [""; 0], "{file}");
    }
    site.zone_loads("zones/tlsa.example.com");
    site.sslm("-renew").exits(0);
    assert_eq!(site.told(), [""; 0], "once");
}

#[test]
fn exchangers_of_equal_preference_all_have_records() {
    let Some(named) = Named::new(&[("example.com", "@ IN MX 10 one\n@ IN MX 10 two\n@ IN MX 20 three\n")])
    else {
        return;
    };
    let site = Site::small();
    site.dane("[[25, 'tcp', 3, 1, 1, 'MX']]");
    let primary =
        format!("[[dns_primary]]\ndomain = 'default'\nserver = '127.0.0.1'\nport = {}\n[dns]\n", named.port);
    site.edit("conf.d/ssl-mgr.conf", "[dns]\n", &primary);
    site.sslm("-renew").exits(0);
    site.sslm("-roll").exits(0);
    let owners = |site: &Site| -> Vec<String> {
        let records = site.records("zones/tlsa.example.com");
        records.iter().map(|record| record.split(' ').next().unwrap().to_owned()).collect()
    };
    let all = [
        "_25._tcp.example.com.",
        "_25._tcp.one.example.com.",
        "_25._tcp.three.example.com.",
        "_25._tcp.two.example.com.",
    ];
    assert_eq!(owners(&site), all);
    site.zone_loads("zones/tlsa.example.com");
    // The server is gone: that takes no records away.
    drop(named);
    site.told();
    site.sslm("-renew").exits(0).says("its mail exchangers are unknown, the published ones stay");
    assert_eq!(owners(&site), all);
    assert_eq!(site.told(), [""; 0]);
}

#[test]
fn two_runs_within_a_second_share_no_directory() {
    let site = Site::small();
    let at = now();
    let forced = renew::Request { force: true, with_authorities: true, ..renew::Request::default() };
    let mut versions = BTreeSet::new();
    for _ in 0..3 {
        site.renew_at(at, &forced);
        site.roll_at(at, &roll::Request { force: true, ..roll::Request::default() });
        site.renew_at(at, &forced);
        for link in ["curr", "next"] {
            versions.insert(site.link(&format!("{WEB}/{link}")));
        }
        assert_ne!(site.link(&format!("{WEB}/curr")), site.link(&format!("{WEB}/next")));
        if has("openssl") {
            for directory in [&format!("{WEB}/curr"), &format!("{WEB}/next"), LIVE] {
                site.is_pair(directory);
            }
        }
    }
    assert_eq!(versions.len(), 6, "{versions:?}");
}

/// With a spread of many days ssl-mgr draws once to begin, and again, and then stops half-way.
#[test]
fn decision_to_renew_is_made_once() {
    let site = Site::small();
    site.edit("conf.d/ca/root", "sign_end_days = 1000", "sign_end_days = 90");
    site.edit(
        "conf.d/ssl-mgr.conf",
        "[[groups]]\nactive = true\ndomain = 'ca'",
        "[renew_info]\ntarget_90 = 30\nrand_adj_90 = 15\n[[groups]]\nactive = true\ndomain = 'ca'",
    );
    let begun = now();
    site.renew_at(begun, &renew::Request::default());
    site.roll_at(begun, &roll::Request::default());
    let Some(Due::Later { at }) = due(&site, begun, "example.com/web") else {
        panic!("it has just been made")
    };
    let days = (at - begun).whole_days();
    assert!((44..=76).contains(&days), "30 days before the end, 15 to either side: after {days} days");
    for hours in [-24 * 14, -48, -1] {
        let Some(Due::Later { at: again }) = due(&site, at + Duration::hours(hours), "example.com/web")
        else {
            panic!("{hours} hours before")
        };
        assert_eq!(again, at, "the same at any time");
    }
    // Both services at the moment of the later of them: whole, or left.
    let report = site.renew_at(at + Duration::seconds(1), &renew::Request::default());
    assert!(matches!(outcome(&report, "example.com/web"), Outcome::Made { .. }), "{report}");
    let status = site.status_at(at + Duration::seconds(1));
    let next = status
        .services
        .iter()
        .flat_map(|service| &service.versions)
        .find(|version| version.link == Link::Next);
    assert_eq!(next.unwrap().problems, [""; 0]);
}

fn due(site: &Site, at: OffsetDateTime, service: &str) -> Option<Due> {
    let status = site.status_at(at);
    status.services.iter().find(|one| one.name.to_string() == service).and_then(|one| one.due)
}

/// ssl-mgr takes the seconds within the day, and reckons from a start that is dated back.
#[test]
fn age_for_a_roll_is_neither_modulo_a_day_nor_from_the_start_of_validity() {
    let site = Site::running();
    site.edit("conf.d/ssl-mgr.conf", "min_roll_mins = 0", "min_roll_mins = 90");
    let made = now();
    let forced =
        renew::Request { force: true, selection: vec!["example.com".into()], ..renew::Request::default() };
    site.renew_at(made, &forced);
    // minutes after it was made, whether it is rolled
    for (minutes, rolls) in [(0, false), (59, false), (61, false), (89, false), (24 * 60 + 5, true)] {
        let report = site.roll_at(
            made + Duration::minutes(minutes),
            &roll::Request { dry_run: true, ..roll::Request::default() },
        );
        let said = report.to_string();
        assert_eq!(said.contains("example.com/web: is rolled: old enough"), rolls, "{minutes}: {said}");
    }
    let report = site.roll_at(made + Duration::minutes(24 * 60 + 5), &roll::Request::default());
    assert!(matches!(outcome(&report, "example.com/web"), Outcome::Rolled { .. }), "{report}");
}

#[test]
fn renewing_again_before_the_roll_issues_nothing() {
    let site = Site::running();
    site.sslm("-f -renew example.com").exits(0);
    let (next, issued) = (site.link(&format!("{WEB}/next")), site.issued("root"));
    let before = site.snapshot();
    // Even when curr is long due.
    let much_later = now() + Duration::days(900);
    for _ in 0..2 {
        site.sslm("-renew").exits(0).says("example.com/web: was renewed at ").never_says("next is ");
    }
    assert_eq!(site.changed(&before), BTreeSet::new());
    let report = site.renew_at(now() + Duration::days(500), &renew::Request::default());
    assert!(matches!(outcome(&report, "example.com/web"), Outcome::Left { .. }), "{report}");
    assert_eq!((site.link(&format!("{WEB}/next")), site.issued("root")), (next.clone(), issued));
    // One that would be due itself is no successor.
    let report = site.renew_at(much_later, &renew::Request::default());
    assert!(matches!(outcome(&report, "example.com/web"), Outcome::Made { .. }), "{report}");
    assert_ne!(site.link(&format!("{WEB}/next")), next);
}

#[test]
fn staging_touches_nothing_that_is_served() {
    let site = Site::running();
    let (certs, production) = (site.files("certs"), site.files("prod"));
    for arguments in ["-t -f -renew", "-t -f -renew -roll", "-t -roll", "-t"] {
        site.sslm(arguments);
        assert_eq!(site.files("prod"), production, "{arguments}");
        assert_eq!(site.files("certs"), certs, "{arguments}");
        assert!(!site.has(&format!("{WEB}/next")), "{arguments}");
        assert_eq!(site.told(), [""; 0], "{arguments}");
    }
}

/// ssl-mgr copies file by file into the directory that servers read.
#[test]
fn production_is_exchanged_as_a_whole() {
    let site = Site::running();
    let live = site.path(LIVE);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                // A server opens the directory's files by name: each is there at any time, and whole.
                let content = fs::read_to_string(live.join("bundle.pem")).expect("it is there at any time");
                assert!(
                    content.starts_with("-----BEGIN PRIVATE KEY")
                        && content.ends_with("END CERTIFICATE-----\n")
                );
                seen.insert(content);
            }
            seen
        });
        for _ in 0..3 {
            let old = fs::File::open(live.join("privkey.pem")).unwrap();
            let (before, directory) =
                (fs::read(live.join("privkey.pem")).unwrap(), fs::metadata(&live).unwrap().ino());
            site.sslm("-f -renew example.com:web").exits(0);
            site.sslm("-f -roll example.com:web").exits(0);
            assert_ne!(fs::metadata(&live).unwrap().ino(), directory);
            let mut still = Vec::new();
            std::io::Read::read_to_end(&mut &old, &mut still).unwrap();
            assert_eq!(still, before, "no file was written in its place");
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap().len() > 1);
    });
    let left = fs::read_dir(site.path("prod/example.com/web")).unwrap().count();
    assert_eq!(left, 1, "only curr");
}

#[test]
fn options_that_did_nothing_or_too_much_do_what_they_say() {
    let site = Site::running();
    site.sslm("-dns").exits(0);
    assert_eq!(site.told(), ["zone --serial_bump example.com"]);
    site.sslm("-dns example.com").exits(0);
    assert_eq!(site.told(), ["zone --serial_bump example.com"]);
    site.sslm("dev -fsr").exits(0);
    assert_eq!(site.told(), ["smtp reload", "web check", "web reload", "zone --serial_bump example.com"]);
    // A zone that is to be read again when certificates change is, whatever its records are.
    site.edit("conf.d/ssl-mgr.conf", "depends = ['dns']", "depends = ['cert']");
    site.sslm("-f -renew example.com:web").exits(0);
    site.sslm("-f -roll example.com:web").exits(0);
    assert_eq!(site.told(), ["web check", "web reload", "zone --serial_bump example.com"]);
    // What only shows changes nothing, in a whole tree and in one that needs repair.
    for broken in [false, true] {
        if broken {
            fs::create_dir(site.path(&format!("{WEB}/db/20200101-00:00:00"))).unwrap();
            symlink("db/20200101-00:00:00", site.path(&format!("{WEB}/next"))).unwrap();
            fs::rename(site.path("certs/example.com/mail/curr"), site.path("certs/example.com/mail/prev"))
                .unwrap();
        }
        let before = site.snapshot();
        for arguments in [
            "-d -f -renew",
            "-n -f -renew",
            "-n -f -renew -roll",
            "-d -f -roll",
            "-n",
            "-d",
            "dev -n -ntoc",
            "dev -n -certs-prod",
            "dev -d -fsr",
            "-n -clean-keep 1",
            "-n -dns",
        ] {
            site.sslm(arguments).exits(0);
            assert_eq!(site.changed(&before), BTreeSet::new(), "{arguments}");
            assert_eq!(site.told(), [""; 0], "{arguments}");
        }
    }
    site.sslm("-n -f -renew").says("example.com/web: would be renewed: on demand");
    site.sslm("-n").says("example.com/mail: would be put right: curr was missing or broken");
    fs::remove_dir_all(site.path(LIVE)).unwrap();
    let said = site.manager("distribute --dry-run");
    said.exits(0).says("note: example.com/web: curr would be copied to production");
    said.says("note: would be done: localhost: ").says("/web reload");
    assert!(!site.has(LIVE) && site.told().is_empty());
    // Copies and tells nobody, but does not forget whom.
    site.sslm("dev -certs-prod")
        .exits(1)
        .says("example.com/web: copied to production")
        .says("still to be done: ");
    assert_eq!(site.told(), [""; 0]);
    site.sslm("").exits(0);
    assert_eq!(site.told(), ["web check", "web reload", "zone --serial_bump example.com"]);
}
