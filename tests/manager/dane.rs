//! The life of TLSA records: what is in the zone before, during and after each roll-over, and who is told when.

use std::collections::BTreeSet;

use reseed::manager::report::Outcome;
use reseed::manager::{renew, roll};
use time::Duration;

use crate::loss::{now, outcome};
use crate::site::Site;
use crate::support::{checked, has};

const ZONE: &str = "zones/tlsa.example.com";
const MAIL: &str = "certs/example.com/mail";
/// Two names, and two records for each: key and certificate.
const ENTRIES: &str = "[[465, 'tcp', 3, 1, 1], [465, 'tcp', 3, 0, 1]]";

/// What a zone should hold of a version, reckoned by OpenSSL.
fn expected(site: &Site, versions: &[&str]) -> Vec<String> {
    let mut records = BTreeSet::new();
    for version in versions {
        let certificate = site.path(&format!("{MAIL}/{version}/cert.pem"));
        let sha256 = |command: &str| {
            let script = format!("{command} | openssl dgst -sha256 -r");
            let said =
                checked(std::process::Command::new("sh").args(["-c", &script, "sh"]).arg(&certificate));
            said.split(' ').next().unwrap().to_owned()
        };
        let key = sha256("openssl x509 -noout -pubkey -in \"$1\" | openssl pkey -pubin -outform der");
        let whole = sha256("openssl x509 -outform der -in \"$1\"");
        for host in ["example.com", "mail.example.com"] {
            records.insert(format!("_465._tcp.{host}. 300  IN TLSA 3 1 1 {key}"));
            records.insert(format!("_465._tcp.{host}. 300  IN TLSA 3 0 1 {whole}"));
        }
    }
    records.into_iter().collect()
}

#[track_caller]
fn zone_is(site: &Site, versions: &[&str]) {
    assert_eq!(site.records(ZONE), expected(site, versions));
    site.zone_loads(ZONE);
    for copy in ["certs/example.com/tlsa.example.com", "prod/example.com/tlsa.example.com"] {
        assert_eq!(site.text(copy), site.text(ZONE), "{copy}");
    }
}

#[test]
fn records_from_first_use_to_the_end() {
    if !has("openssl") {
        return;
    }
    let site = Site::small();
    site.dane(ENTRIES);
    site.edit("conf.d/ssl-mgr.conf", "min_roll_mins = 0", "min_roll_mins = 5");
    let begun = now();
    let (all, any) = (renew::Request::default(), roll::Request::default());

    // Nobody serves the first one yet: a record of it would turn mail away.
    site.renew_at(begun, &all);
    assert_eq!(site.records(ZONE), [""; 0]);
    site.zone_loads(ZONE);
    assert!(!site.told().iter().any(|told| told.starts_with("smtp")));
    // Served first, then said; and at once, because nobody can hold another record of it.
    let report = site.roll_at(begun, &any);
    assert!(matches!(outcome(&report, "example.com/mail"), Outcome::Rolled { .. }), "{report}");
    zone_is(&site, &["curr"]);
    let told = site.told();
    assert_eq!(told.last().unwrap(), "zone --serial_bump example.com", "the zone comes last: {told:?}");
    assert_eq!(told.iter().filter(|told| *told == "smtp reload").count(), 1, "{told:?}");

    // Both, as long as resolvers may hold what was there before: twice the TTL of 300 s, from the time when the
    // zone was read again, which fails at first.
    let renewed = begun + Duration::days(500);
    let forced = renew::Request { force: true, selection: vec!["example.com:mail".into()], ..all.clone() };
    site.refuses("zone", true);
    assert!(site.renew_at(renewed, &forced).has_failed());
    assert_eq!(
        site.told(),
        ["zone --serial_bump example.com"],
        "no server: nothing that it shows has changed"
    );
    let report = site.roll_at(renewed + Duration::hours(1), &any);
    let said = outcome(&report, "example.com/mail").to_string();
    assert_eq!(said, "is not rolled: its TLSA records are not in the zone yet");
    site.refuses("zone", false);
    let published = renewed + Duration::hours(2);
    assert!(!site.renew_at(published, &all).has_failed());
    zone_is(&site, &["curr", "next"]);
    site.told();
    for (seconds, rolls) in [(0, false), (301, false), (599, false), (601, true)] {
        let only_shown = roll::Request { dry_run: true, ..any.clone() };
        let report = site.roll_at(published + Duration::seconds(seconds), &only_shown);
        let said = outcome(&report, "example.com/mail").to_string();
        assert_eq!(said.starts_with("is rolled: old enough"), rolls, "{seconds} s: {said}");
    }
    assert_eq!(site.told(), [""; 0]);

    // The new one alone, as soon as the mail server shows it, and not before.
    site.refuses("smtp", true);
    let rolled = published + Duration::seconds(601);
    let report = site.roll_at(rolled, &any);
    assert!(
        report.has_failed() && matches!(outcome(&report, "example.com/mail"), Outcome::Rolled { .. }),
        "{report}"
    );
    zone_is(&site, &["prev", "curr"]);
    assert_eq!(site.told()[0], "smtp reload");
    site.refuses("smtp", false);
    assert!(!site.renew_at(rolled + Duration::hours(1), &all).has_failed());
    zone_is(&site, &["curr"]);
    assert_eq!(site.told(), ["smtp reload", "zone --serial_bump example.com"]);

    // Other names or ports are said at once, by whatever run comes next.
    site.dane("[[993, 'tcp', 3, 1, 1]]");
    site.renew_at(rolled + Duration::hours(2), &all);
    let records = site.records(ZONE);
    assert!(
        records.len() == 2 && records.iter().all(|record| record.starts_with("_993._tcp.")),
        "{records:?}"
    );
    // And at the end none.
    site.dane("[]");
    site.renew_at(rolled + Duration::hours(3), &all);
    assert_eq!(site.records(ZONE), [""; 0]);
    site.zone_loads(ZONE);
}

/// With the same key a record of the key is the same: nothing is published, and nothing has to wait.
#[test]
fn reused_key_changes_no_record() {
    let site = Site::with_dane("[[465, 'tcp', 3, 1, 1]]");
    let text = site.records(ZONE);
    site.sslm("-r -f -renew example.com:mail").exits(0);
    assert_eq!(site.records(ZONE), text);
    assert_eq!(site.told(), [""; 0]);
    site.sslm("-f -roll example.com:mail").exits(0);
    assert_eq!(site.records(ZONE), text);
    assert_eq!(site.told(), ["smtp reload"]);
}

/// The copy that servers read could not be made: they show the old key, so its records stay.
#[test]
fn records_of_what_could_not_be_copied_stay() {
    let site = Site::with_dane("[[465, 'tcp', 3, 1, 1]]");
    let old = site.records(ZONE);
    site.sslm("-f -renew example.com:mail").exits(0);
    // Something of somebody's is in the way of the copy.
    site.write("prod/example.com/mail/.curr.new/of/somebody", "");
    site.sslm("-f -roll example.com:mail").exits(1).complains("example.com/mail: the production copy: ");
    let records = site.records(ZONE);
    assert!(old.iter().all(|record| records.contains(record)), "{records:?}");
    std::fs::remove_dir_all(site.path("prod/example.com/mail/.curr.new")).unwrap();
    site.told();
    site.sslm("").exits(0);
    assert_eq!(site.told(), ["smtp reload", "zone --serial_bump example.com"]);
    assert_eq!(site.records(ZONE).len(), old.len());
    assert_eq!(site.text("prod/example.com/mail/curr/cert.pem"), site.text(&format!("{MAIL}/curr/cert.pem")));
}

/// Which records a service has is not known while its file cannot be understood: those that are published stay.
#[test]
fn records_of_what_cannot_be_understood_stay() {
    let site = Site::with_dane("[[465, 'tcp', 3, 1, 1]]");
    let published = site.records(ZONE);
    assert!(!published.is_empty());
    let file = "conf.d/example.com/mail";
    let text = site.text(file);
    site.write(file, &text.replace("dane_tls", "dane_tls = 1 # "));
    site.sslm("-renew").exits(1).complains("its TLSA records stay as they are");
    assert_eq!(site.records(ZONE), published);
    site.write(file, &text);
    site.sslm("-renew").exits(0);
    assert_eq!(site.records(ZONE), published);
}
