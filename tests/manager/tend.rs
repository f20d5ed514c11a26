//! A site that is left to its timer: what comes when, what an hour with nothing to do costs, and what is waited for.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use reseed::manager::report::Outcome;
use time::Duration;

use crate::loss::{now, outcome};
use crate::named::Named;
use crate::site::Site;
use crate::support::has;

const ZONE: &str = "zones/tlsa.example.com";
const WEB: &str = "certs/example.com/web";
const MAIL: &str = "certs/example.com/mail";

/// One run makes what there is none of, serves it and says so; the next has nothing to do, and does nothing.
#[test]
fn the_first_run_does_it_all_and_the_next_nothing() {
    let site = Site::small();
    site.dane("[[465, 'tcp', 3, 1, 1]]");
    let ran = site.manager("tend");
    ran.exits(0).says("example.com/web: curr is ").says("ca/root: curr is ");
    assert!(!site.has(&format!("{WEB}/next")));
    assert_eq!(site.records(ZONE).len(), 2);
    assert_eq!(site.told(), ["smtp reload", "web check", "web reload", "zone --serial_bump example.com"]);
    let before = site.snapshot();
    let begun = Instant::now();
    for _ in 0..2 {
        site.manager("tend").exits(0).never_says("curr is ").never_says("copied");
        site.manager("tend --dry-run").exits(0);
    }
    println!("tend: {} ms each with nothing to do", begun.elapsed().as_millis() / 4);
    assert_eq!(site.changed(&before), BTreeSet::new());
    assert_eq!(site.told(), [""; 0]);
}

/// From one certificate to the next with nobody there: made, waited for, rolled, cleaned, and an authority asked for.
#[test]
fn years_go_by() {
    let site = Site::small();
    site.dane("[[465, 'tcp', 3, 1, 1]]");
    site.edit("conf.d/ssl-mgr.conf", "min_roll_mins = 0", "min_roll_mins = 60\nclean_keep = 1");
    site.edit("conf.d/ca/root", "sign_end_days = 1000", "sign_end_days = 4000");
    let begun = now();
    assert!(!site.tend_at(begun).has_failed());
    // 4000 days live leaves and root; 800 before the end the former are due.
    let due = begun + Duration::days(3201);
    let report = site.tend_at(due);
    assert!(matches!(outcome(&report, "example.com/web"), Outcome::Made { .. }), "{report}");
    assert!(matches!(outcome(&report, "ca/root"), Outcome::Asks { .. }), "{report}");
    assert_eq!(site.records(ZONE).len(), 4, "both, before anybody has to have seen the new ones");
    let report = site.tend_at(due + Duration::minutes(59));
    let said = outcome(&report, "example.com/mail").to_string();
    assert!(
        said.contains("too young") && said.ends_with("60 minutes after it was made (min_roll_mins)"),
        "{said}"
    );
    let report = site.tend_at(due + Duration::minutes(61));
    for service in ["example.com/web", "example.com/mail"] {
        assert!(matches!(outcome(&report, service), Outcome::Rolled { .. }), "{report}");
    }
    assert_eq!(site.records(ZONE).len(), 2);
    // Versions that no link leads to, but for one, go.
    for round in 1..=4 {
        for _ in 0..2 {
            site.manager("renew --force example.com/web").exits(0);
        }
        site.manager("roll --force example.com/web").exits(0);
        assert!(!site.tend_at(due + Duration::days(round)).has_failed());
    }
    let versions = std::fs::read_dir(site.path(&format!("{WEB}/db"))).unwrap().count();
    assert_eq!(versions, 3, "curr, prev and one more");
}

/// A server that could not be told is told by the next run, and a first key is said when it is served, not before.
#[test]
fn a_first_key_is_not_said_before_it_is_served() {
    let site = Site::small();
    site.dane("[[465, 'tcp', 3, 1, 1]]");
    site.refuses("smtp", true);
    site.manager("tend").exits(1).says("example.com/mail: curr is ").says("still to be done: localhost: ");
    assert!(site.has(&format!("{MAIL}/curr")));
    assert_eq!(site.records(ZONE), [""; 0], "the mail server still shows what it showed before");
    let json = site.manager("status --json");
    let action = &json.exits(0).json()["actions"][0];
    assert_eq!((&action["host"], &action["attempts"]), (&"localhost".into(), &1.into()), "{action}");
    assert!(action["error"].as_str().unwrap().contains("smtp says no"), "{action}");
    site.told();
    site.manager("tend").exits(1);
    assert_eq!(site.records(ZONE), [""; 0]);
    assert_eq!(site.told(), ["smtp reload"], "nobody else is told again");
    site.refuses("smtp", false);
    site.manager("tend").exits(0);
    assert_eq!(site.records(ZONE).len(), 2);
    assert_eq!(site.told(), ["smtp reload", "zone --serial_bump example.com"]);
    // What is said already is not taken back because another server cannot be told.
    site.refuses("web", true);
    site.manager("renew --force example.com/web").exits(0);
    site.manager("roll --force example.com/web").exits(1);
    assert_eq!(site.records(ZONE).len(), 2);
}

/// Mail exchangers are asked for where something is to be done, and else once a day.
#[test]
fn an_hour_with_nothing_to_do_asks_nobody() {
    let Some(named) = Named::new(&[("example.com", "@ IN MX 10 mx1\nmx1 IN A 127.0.0.1\n")]) else { return };
    let site = Site::small();
    let primary =
        format!("[[dns_primary]]\ndomain = 'default'\nserver = '127.0.0.1'\nport = {}\n[dns]\n", named.port);
    site.edit("conf.d/ssl-mgr.conf", "[dns]\n", &primary);
    // Nobody is to be asked for what is published nowhere.
    site.edit("conf.d/ssl-mgr.conf", "tlsa_dirs = ['zones']\n", "");
    site.dane("[[25, 'tcp', 3, 1, 1]]");
    let begun = now();
    let note = "its mail exchangers are unknown";
    assert!(!site.tend_at(begun).to_string().contains(note));
    assert_eq!(site.records("certs/example.com/tlsa.example.com").len(), 2, "the apex and mx1");
    drop(named);
    let before = site.snapshot();
    for hours in [1, 23] {
        let report = site.tend_at(begun + Duration::hours(hours));
        assert!(!report.to_string().contains(note) && !report.has_failed(), "{report}");
    }
    assert_eq!(site.changed(&before), BTreeSet::new());
    let report = site.tend_at(begun + Duration::hours(25));
    assert!(report.to_string().contains(note), "{report}");
    assert_eq!(site.records("certs/example.com/tlsa.example.com").len(), 2);
    site.manager("roll").exits(0).says(note);
}

/// A zone whose name server does not show the records: the roll waits, and says for whom.
#[test]
fn a_name_server_that_lags_keeps_the_roll_waiting() {
    let zone = "@ IN NS ns\n";
    let Some(named) = Named::new(&[("example.com", zone)]) else { return };
    let site = Site::small();
    let primary =
        format!("[[dns_primary]]\ndomain = 'default'\nserver = '127.0.0.1'\nport = {}\n[dns]\n", named.port);
    site.edit("conf.d/ssl-mgr.conf", "[dns]\n", &primary);
    site.edit("conf.d/ssl-mgr.conf", "[globals]\n", "[globals]\ndns_check_timeout = 1\n");
    site.dane("[[465, 'tcp', 3, 1, 1]]");
    site.manager("tend").exits(0).says("example.com/mail: curr is ");
    site.manager("renew --force example.com/mail").exits(0).says("example.com: not every name server shows");
    let ran = site.manager("tend");
    ran.exits(0)
        .says("example.com/mail: is not rolled: not every name server of the zone shows its TLSA records: ");
    let why = ran.out.lines().find(|line| line.starts_with("example.com/mail: is not rolled")).unwrap();
    assert!(why.contains("ns.example.com"), "{why}");
    // Whoever only looks is told the same, from what was recorded.
    site.manager("status").exits(0).says("not every name server of the zone shows its TLSA records: ");
    let json = site.manager("status --json").json();
    let services = json["services"].as_array().unwrap();
    let mail = services.iter().find(|service| service["name"] == "example.com/mail").unwrap();
    assert_eq!(mail["roll"]["roll"], "unseen", "{mail}");
    assert!(mail["roll"]["missing"][0].as_str().unwrap().contains("ns.example.com"), "{mail}");
    // On demand it is rolled all the same.
    site.manager("roll --force example.com/mail").exits(0).says("example.com/mail: curr is ");
}

/// Killed while a command of the site runs: what is left is done by the next run, and nobody is told twice of what
/// was done.
#[test]
fn killed_in_the_middle_it_goes_on() {
    let site = Site::running();
    let before = site.link(&format!("{WEB}/curr"));
    site.edit("conf.d/example.com/web", "'web.example.com'", "'web.example.com', 'new.example.com'");
    std::fs::write(site.path("hold-web"), "").unwrap();
    let mut run = site.command(site.top(), "tend").stdout(std::process::Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !site.has("held") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Somebody else does not get in between.
    site.manager("tend").exits(75);
    run.kill().unwrap();
    assert_eq!(run.wait().unwrap().signal(), Some(9));
    site.remove("hold-web");
    let rolled = site.link(&format!("{WEB}/curr"));
    assert_ne!(rolled, before);
    site.told();
    site.manager("tend").exits(0).never_says("next is ").never_says("curr is ");
    assert_eq!(site.link(&format!("{WEB}/curr")), rolled);
    assert_eq!(site.told(), ["web check", "web reload"]);
    site.is_pair("prod/example.com/web/curr");
    if has("openssl") {
        assert!(site.certificate("prod/example.com/web/curr/cert.pem").contains("DNS:new.example.com"));
    }
    site.manager("tend").exits(0);
    assert_eq!(site.told(), [""; 0]);
}
