//! An own authority is renewed, and takes certificates back.

use std::fs;

use reseed::manager::report::Outcome;
use reseed::manager::{renew, roll};
use time::Duration;

use crate::loss::{now, outcome};
use crate::site::{Site, openssl};
use crate::support::{checked, has};

const ROOT: &str = "certs/ca/my-root/curr/cert.pem";
const SERVICES: [&str; 4] =
    ["ca/my-int", "example.com/web-self", "example.com/mail-self", "example.com/wild-self"];

fn verifies(site: &Site) {
    for service in SERVICES {
        site.verifies(&format!("certs/{service}/curr"), ROOT);
        site.verifies(&format!("etc/prod-certs/{service}/curr"), ROOT);
    }
}

/// ssl-mgr's cron line makes a new root, and signs everything else with the old one.
#[test]
fn authority_is_renewed_on_demand_and_what_it_signed_follows() {
    if !has("openssl") || !has("certtool") {
        return;
    }
    let site = Site::own_ca();
    site.sslm("-renew").exits(0);
    site.sslm("-roll").exits(0);
    verifies(&site);
    let root = site.text(ROOT);
    let later = now() + Duration::days(3650 - 100);

    // Due, and nobody's: it says so, and makes none.
    let report = site.renew_at(later, &renew::Request::default());
    for authority in ["ca/my-root", "ca/my-int"] {
        let said = outcome(&report, authority).to_string();
        assert!(said.contains(&format!("reseed manager renew --renew-ca {authority}")), "{said}");
        assert!(!site.has(&format!("certs/{authority}/next")), "{authority}");
    }
    // A leaf made now ends with its intermediate.
    let end = |path: &str| site.field(path, "-enddate");
    let leaf = "certs/example.com/web-self/next/cert.pem";
    assert_eq!(end(leaf), end("certs/ca/my-int/curr/cert.pem"));

    let wanted = |name: &str| renew::Request {
        selection: vec![name.into()],
        with_authorities: true,
        ..renew::Request::default()
    };
    let at_any_age =
        |name: &str| roll::Request { selection: vec![name.into()], force: true, ..roll::Request::default() };
    let report = site.renew_at(later, &wanted("ca/my-root"));
    assert!(matches!(outcome(&report, "ca/my-root"), Outcome::Made { .. }), "{report}");
    assert!(report.to_string().contains("whoever trusts it has to be given the new certificate"), "{report}");
    site.roll_at(later, &at_any_age("ca/my-root"));
    assert_ne!(site.text(ROOT), root);

    // From here on what it signed is orphaned: the intermediate on demand, leaves by themselves.
    let report = site.renew_at(later, &renew::Request::default());
    assert!(matches!(outcome(&report, "ca/my-int"), Outcome::Asks { .. }), "{report}");
    assert!(
        outcome(&report, "ca/my-int").to_string().contains("its authority has another key now"),
        "{report}"
    );
    let report = site.renew_at(later, &wanted("ca/my-int"));
    assert!(matches!(outcome(&report, "ca/my-int"), Outcome::Made { .. }), "{report}");
    site.roll_at(later, &at_any_age("ca/my-int"));
    let report = site.renew_at(later, &renew::Request::default());
    for leaf in &SERVICES[1..] {
        assert!(matches!(outcome(&report, leaf), Outcome::Made { .. }), "{report}");
    }
    site.roll_at(later, &at_any_age("example.com"));
    let chain = site.text("certs/ca/my-int/curr/fullchain.pem");
    for leaf in &SERVICES[1..] {
        assert_eq!(site.text(&format!("certs/{leaf}/curr/chain.pem")), chain, "{leaf}");
        assert_eq!(site.text(&format!("etc/prod-certs/{leaf}/curr/chain.pem")), chain, "{leaf}");
    }
    // Ten years from now by the clock of the verifiers, too.
    let at = (later + Duration::days(1)).unix_timestamp().to_string();
    for service in SERVICES {
        let directory = site.path(&format!("certs/{service}/curr"));
        let mut verify = openssl("verify -x509_strict -attime");
        verify
            .arg(&at)
            .arg("-CAfile")
            .arg(site.path(ROOT))
            .arg("-untrusted")
            .arg(directory.join("chain.pem"));
        checked(verify.arg(directory.join("cert.pem")));
    }
    let report = site.renew_at(later, &renew::Request::default());
    let all_left = report.services.values().all(|outcome| matches!(outcome, Outcome::Left { .. }));
    assert!(all_left, "nothing is left to be done: {report}");
}

/// Everything at once is a chain of the old root until the next run, never a broken one.
#[test]
fn forced_renewal_of_everything_ends_in_whole_chains() {
    if !has("openssl") || !has("certtool") {
        return;
    }
    let site = Site::own_ca();
    site.sslm("-renew").exits(0);
    site.sslm("-roll").exits(0);
    let root = site.path("first-root.pem");
    fs::copy(site.path(ROOT), &root).unwrap();
    // Who only wants everything anew gets no new authority.
    site.sslm("-f -renew").exits(0);
    assert!(
        !site.path("certs/ca/my-root/next").is_symlink() && !site.path("certs/ca/my-int/next").is_symlink()
    );
    site.sslm("-f -renew ca:ALL example.com:ALL").exits(0);
    site.sslm("-f -roll").exits(0);
    // Who trusts the first root still can; what is served was not mixed.
    for service in &SERVICES[1..] {
        site.verifies(&format!("certs/{service}/curr"), "first-root.pem");
    }
    for authority in ["ca:my-root", "ca:my-int"] {
        site.sslm(&format!("-renew {authority}")).exits(0);
        site.sslm(&format!("-f -roll {authority}")).exits(0);
    }
    site.sslm("-renew").exits(0);
    // Records of the mail server's new key have to be in the zone for an hour, else.
    site.sslm("-f -roll").exits(0);
    verifies(&site);
    let said = site.sslm("-renew");
    said.exits(0).never_says("next is ").never_says("another key");
}

#[test]
fn revoked_certificate_is_refused_by_who_reads_the_list() {
    if !has("openssl") {
        return;
    }
    let site = Site::running();
    let check = |service: &str| {
        let directory = site.path(&format!("certs/example.com/{service}/curr"));
        let mut verify = openssl("verify -x509_strict -crl_check -CAfile");
        verify
            .arg(site.path("certs/ca/root/curr/cert.pem"))
            .arg("-CRLfile")
            .arg(site.path("certs/ca/root/crl.pem"));
        let output = verify.arg(directory.join("cert.pem")).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    site.manager("crl").exits(0).says("list 1 with 0 revoked");
    assert!(check("web").0 && check("mail").0, "{:?}", check("web"));
    site.manager("revoke --reason keyCompromise example.com/web").exits(0).says("is revoked (keyCompromise)");
    let (accepted, said) = check("web");
    assert!(!accepted && said.contains("certificate revoked"), "{said}");
    assert!(check("mail").0, "the other is as good as before");
    let text = checked(
        openssl("crl -noout -text -CAfile")
            .arg(site.path("certs/ca/root/curr/cert.pem"))
            .arg("-in")
            .arg(site.path("certs/ca/root/crl.pem")),
    );
    assert!(
        text.contains("Key Compromise") && text.contains("X509v3 CRL Number: \n                2"),
        "{text}"
    );
    assert_eq!(site.text("prod/ca/root.crl.pem"), site.text("certs/ca/root/crl.pem"));
    assert_eq!(
        checked(openssl("crl -inform der -noout -crlnumber -in").arg(site.path("certs/ca/root/crl.der")))
            .trim_start_matches("crlNumber=0x")
            .trim(),
        "02"
    );
    site.manager("revoke example.com/web").exits(2).complains("is revoked already");
    site.manager("revoke --serial 7f example.com/web").exits(2).complains("no record of a certificate");
    site.manager("revoke example.com/wbe").exits(2);
    // Made again it is another one.
    site.sslm("-f -renew example.com:web").exits(0);
    site.sslm("-f -roll example.com:web").exits(0);
    assert!(check("web").0);
}

#[test]
fn cleaning_keeps_what_links_lead_to() {
    let site = Site::running();
    site.edit("conf.d/ssl-mgr.conf", "min_roll_mins = 0", "min_roll_mins = 0\nclean_keep = 2");
    let linked = |site: &Site| {
        ["curr", "next", "prev"].map(|link| site.link(&format!("certs/example.com/web/{link}")))
    };
    let count = |site: &Site| fs::read_dir(site.path("certs/example.com/web/db")).unwrap().count();
    for _ in 0..4 {
        site.sslm("-f -renew example.com:web").exits(0);
        site.sslm("-f -roll example.com:web").exits(0);
    }
    // By itself at the end of each run.
    assert_eq!(count(&site), 2 + 2, "curr, prev, and the two that are kept");
    site.sslm("-f -renew example.com:web").exits(0);
    // A directory with a name of its own is somebody's.
    site.write("certs/example.com/web/db/by-hand/note", "");
    let before = linked(&site);
    site.sslm("-clean-keep 1 example.com:web").exits(0).says("example.com/web: removed: ");
    assert_eq!(linked(&site), before);
    for link in ["curr", "next", "prev"] {
        assert!(site.has(&format!("certs/example.com/web/{link}/cert.pem")), "{link}");
    }
    assert_eq!(count(&site), 3 + 1 + 1);
    assert!(site.has("certs/example.com/web/db/by-hand/note"));
    // Also those that nobody has configured any more.
    site.edit("conf.d/ssl-mgr.conf", "['web', 'mail']", "['mail']");
    site.remove("conf.d/example.com/web");
    for made in ["20200101-00:00:00", "20200102-00:00:00"] {
        site.write(&format!("certs/example.com/web/db/{made}/cert.pem"), "");
    }
    site.sslm("-clean-all -clean-keep 1").exits(0).says("example.com/web: removed: 20200101-00:00:00");
    assert_eq!(linked(&site), before);
}
