//! What is in the way of whoever runs a site with ssl-mgr: each test is named after the fault.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration as Span, Instant};

use reseed::manager::schedule::Due;
use reseed::manager::{renew, roll};
use time::Duration;

use crate::loss::now;
use crate::site::Site;
use crate::support::has;

/// Days before the end at which the web service is due, when certificates live for this many days.
fn days_left(globals: &str, renew_info: &str, service: &str, lifetime: u32) -> f64 {
    let site = Site::small();
    site.edit(
        "conf.d/ssl-mgr.conf",
        "min_roll_mins = 0\n",
        &format!("min_roll_mins = 0\n{globals}\n[renew_info]\n{renew_info}\n"),
    );
    site.edit("conf.d/ca/root", "sign_end_days = 1000", &format!("sign_end_days = {lifetime}"));
    let text = site.text("conf.d/example.com/web");
    site.write("conf.d/example.com/web", &format!("{service}\n{text}"));
    let made = now();
    site.renew_at(made, &renew::Request::default());
    site.roll_at(made, &roll::Request::default());
    let status = site.status_at(made);
    let web = status.services.iter().find(|service| service.name.to_string() == "example.com/web").unwrap();
    let Some(Due::Later { at }) = web.due else { panic!("{:?}", web.due) };
    let end = web.versions[0].certificate.as_ref().unwrap().not_after;
    (end - at).as_seconds_f64() / 86_400.0
}

#[test]
fn keys_that_were_ignored_count() {
    // name, of the site, of renew_info, of the service, lifetime, days left
    let cases = [
        ("built in", "", "", "", 90, 30.0),
        ("renew_expire_days", "renew_expire_days = 21", "", "", 90, 21.0),
        ("of a service", "", "", "renew_expire_days = 17", 90, 17.0),
        ("the service before the site", "renew_expire_days = 21", "", "renew_expire_days = 17", 90, 17.0),
        ("as in the shipped example", "", "renew_target_90 = 25", "", 90, 25.0),
        ("as documented", "", "target_90 = 26", "", 90, 26.0),
        ("no shift that nobody asked for", "", "", "", 110, 40.0),
    ];
    for (case, globals, renew_info, service, lifetime, expected) in cases {
        let left = days_left(globals, renew_info, service, lifetime);
        assert!((left - expected).abs() < 0.1, "{case}: {left} days left, not {expected}");
    }
}

/// ssl-mgr renews what lives for less than a day when it has been over for a day.
#[test]
fn short_certificate_is_renewed_before_its_end() {
    let left = days_left("", "", "", 1);
    assert!((0.4..0.8).contains(&left), "{left}");
}

#[test]
fn key_size_is_that_of_bits() {
    if !has("openssl") {
        return;
    }
    let site = Site::small();
    site.edit("conf.d/example.com/web", "ec_algo = 'secp256r1'", "ktype = 'rsa'\nbits = 2048");
    site.sslm("-renew").exits(0);
    let text = site.certificate("certs/example.com/web/next/cert.pem");
    assert!(text.contains("Public-Key: (2048 bit)"), "{text}");
    site.sslm("-s").says("pubkey : pubkey-rsa-2048");
}

/// In ssl-mgr the option's default wins over the file.
#[test]
fn verb_counts() {
    let site = Site::running();
    site.sslm("-s").exits(0).never_says("sans : ");
    site.edit("conf.d/ssl-mgr.conf", "[globals]", "[globals]\nverb = true");
    site.sslm("-s")
        .exits(0)
        .says("sans : [example.com, web.example.com]")
        .says("sig_algo : ecdsa-with-SHA384");
}

#[test]
fn every_pair_of_svc_depends_counts() {
    let site = Site::running();
    let pairs = "svc_depends = [['example.com', ['web']], ['example.com', ['mail']], ['ca', ['root']]]";
    site.edit("conf.d/ssl-mgr.conf", "svc_depends = [['any', ['web']]]", pairs);
    for (service, told) in
        [("web", &["web check", "web reload"][..]), ("mail", &["smtp reload", "web check", "web reload"])]
    {
        site.sslm(&format!("-f -renew example.com:{service}")).exits(0);
        assert_eq!(site.told(), [""; 0], "what is served has not changed");
        site.sslm(&format!("-f -roll example.com:{service}")).exits(0);
        assert_eq!(site.told(), told, "{service}");
    }
}

#[test]
fn renewing_restarts_nobody() {
    let site = Site::running();
    site.sslm("-f -renew").exits(0);
    assert_eq!(site.told(), [""; 0]);
    site.sslm("-f -roll example.com:web").exits(0);
    assert_eq!(site.told(), ["web check", "web reload"], "and a roll only who depends on it");
}

#[test]
fn bad_values_are_told_with_their_place() {
    let web = "conf.d/example.com/web";
    // file, what is replaced, by what, what is said
    let cases = [
        (web, "secp256r1", "secp256r2", "secp256r1"),
        (web, "C = 'US'", "C = 'USA'", "two letters"),
        (web, "'web.example.com'", "'10.0.0.0/8'", "10.0.0.0/8"),
        (web, "group = 'example.com'", "group = 'example.net'", "example.net"),
        (web, "[X509]", "[X509", ":7"),
        (web, "signing_ca = 'root'", "signing_ca = 'rot'", "root"),
        (web, "[KeyOpts]", "dane_tls = [[25, 'tcp', 3]]\n[KeyOpts]", "dane_tls"),
        ("conf.d/ca-info.conf", "'self'", "'selv'", "self"),
    ];
    for (file, from, to, said) in cases {
        let site = Site::small();
        site.edit(file, from, to);
        let checked = site.manager("check");
        let place = format!("{}:", site.path(file).display());
        checked.exits(2).complains(&place).complains(said).never_says("panicked");
        // Whoever is not concerned goes on; it is told again, and by the status.
        let ran = site.sslm("-renew");
        ran.exits(1).complains(&place).never_says("panicked");
        if file == web {
            assert!(site.has("certs/example.com/mail/next"), "{to}: {}{}", ran.out, ran.err);
        }
        assert!(!site.has("certs/example.com/web/next"), "{to}");
        site.sslm("-s").exits(0).complains(&place);
    }
    // The file of the whole site: nothing is done at all.
    for (from, to) in [("[globals]", "[globals"), ("['web', 'mail']", "'web', 'mail'")] {
        let site = Site::small();
        site.edit("conf.d/ssl-mgr.conf", from, to);
        let place = format!("{}:", site.path("conf.d/ssl-mgr.conf").display());
        for arguments in ["-renew", "-s", "-roll", ""] {
            site.sslm(arguments).exits(2).complains(&place).never_says("panicked");
        }
        assert!(!site.has("certs"));
    }
}

#[test]
fn unknown_keys_and_tables_are_told() {
    let site = Site::small();
    let cases = [
        ("conf.d/ssl-mgr.conf", "min_roll_mins = 0", "min_rol_mins = 0", "min_roll_mins"),
        ("conf.d/ssl-mgr.conf", "[web]", "[wbe]", "web"),
        ("conf.d/example.com/web", "ec_algo", "ec_alg", "ec_algo"),
        ("conf.d/example.com/mail", "[X509]", "[Mail]\nx = 1\n[X509]", "Mail"),
        ("conf.d/ca-info.conf", "[root]", "[root]\nca_descr = 'x'", "ca_desc"),
    ];
    for (file, from, to, said) in cases {
        let text = site.text(file);
        site.edit(file, from, to);
        let place = format!("warning: {}:", site.path(file).display());
        site.manager("check").exits(0).complains(&place).complains(said);
        site.write(file, &text);
    }
    site.manager("check").exits(0).never_says("warning");
}

#[test]
fn exit_status_tells_of_every_failure() {
    let site = Site::running();
    // arguments, exit status, what is said
    let cases = [
        ("-s exampel.com", 2, "example.com"),
        ("-renew example.com:wbe", 2, "web"),
        ("-renew example.com:[web]", 2, "web"),
        ("-renew -roll-mins x", 2, "invalid value"),
        ("-renwe", 2, "--renew"),
        ("-s example.com", 0, ""),
        ("-roll", 0, ""),
        ("-renew", 0, ""),
    ];
    for (arguments, status, said) in cases {
        let ran = site.sslm(arguments);
        ran.exits(status).complains(said).never_says("panicked");
    }
    // A group that is named alone is all of its services, not none.
    site.sslm("-f -renew example.com")
        .exits(0)
        .says("example.com/web: next is ")
        .says("example.com/mail: next is ");
    // An authority whose key is gone signs nothing; everybody else goes on.
    site.remove("certs/ca/root/curr/privkey.pem");
    let ran = site.sslm("-f -renew example.com:web");
    ran.exits(1).says("example.com/web: failed, and is as it was: ");
    assert!(site.has("certs/example.com/web/next/cert.pem"));
    let empty = crate::support::scratch();
    let mut lost = std::process::Command::new(site.path("sslm-mgr"));
    let lost = lost.arg("-s").current_dir(empty.path()).env("SSL_MGR_TOPDIR", empty.path()).output().unwrap();
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(lost.status.code() == Some(2) && said.contains("conf.d"), "{said}");
}

/// ssl-mgr's takes the lock, asks DNS, writes, and may restart everything.
#[test]
fn status_only_reads_whatever_the_tree_is_like() {
    let site = Site::with_dane("[[25, 'tcp', 3, 1, 1, 'MX']]");
    // A server that never answers.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let primary =
        format!("[[dns_primary]]\ndomain = 'default'\nserver = '127.0.0.1'\nport = {port}\n[dns]\n");
    site.edit("conf.d/ssl-mgr.conf", "[dns]\n", &primary);
    // Someone has lost production, broken a lineage, and begun another service.
    fs::remove_dir_all(site.path("prod/example.com/web")).unwrap();
    site.write("certs/example.com/web/curr/cert.pem", "no certificate");
    site.service("example.com", "third", "root", "");
    site.edit("conf.d/ssl-mgr.conf", "'mail']\n", "'mail', 'third']\n");
    // The lock of somebody who never gives it back.
    let lock = fs::File::open(site.path(".reseed/lock")).unwrap();
    lock.lock().unwrap();

    let before = site.snapshot();
    let begun = Instant::now();
    let ran = site.sslm("-s");
    ran.exits(0).says("  third\n").says("there is none").says("problem : cert.pem holds no certificate");
    site.sslm("-s -v").exits(0);
    let json = site.manager("status --json").exits(0).json();
    assert!(begun.elapsed() < Span::from_secs(30), "nobody is waited for: {:?}", begun.elapsed());
    assert_eq!(json["services"].as_array().unwrap().len(), 4);
    assert!(site.changed(&before).is_empty(), "{:?}", site.changed(&before));
    let (times, later) = (before, site.snapshot());
    for path in times.paths() {
        assert_eq!(times.get(path).times[..2], later.get(path).times[..2], "{path}");
    }
    assert_eq!(
        silent.set_nonblocking(true).map(|()| silent.recv(&mut [0]).is_err()).ok(),
        Some(true),
        "nobody was asked"
    );
    assert_eq!(site.told(), [""; 0]);
    site.sslm("-renew").exits(75);
}

/// ssl-mgr shows an expired one as if it were valid for some hours.
#[test]
fn expired_certificate_looks_expired() {
    let site = Site::small();
    site.edit("conf.d/ca/root", "sign_end_days = 1000", "sign_end_days = 30");
    let made = now() - Duration::days(30) - Duration::hours(12);
    site.renew_at(made, &renew::Request::default());
    site.roll_at(made, &roll::Request::default());
    let said = site.sslm("-s example.com:web");
    said.exits(0).says(" curr         : EXPIRED: ").never_says("expires:").says(" ago)").says("it ended at ");
    let days = said.out.lines().find(|line| line.contains("EXPIRED")).unwrap();
    assert!(days.contains("   0d 12:0") && days.ends_with("ago)"), "{days}");
    let json = site.manager("status --json example.com/web").json();
    assert!(json["services"][0]["due"].to_string().contains("expired"), "{json}");
    // A next that holds no certificate says so, where ssl-mgr shows an empty date.
    site.write("certs/example.com/web/db/20200101-00:00:00/privkey.pem", "");
    std::os::unix::fs::symlink("db/20200101-00:00:00", site.path("certs/example.com/web/next")).unwrap();
    site.sslm("-s example.com:web")
        .exits(0)
        .says("next         : expires: no certificate")
        .says("cert.pem is missing");
}

#[test]
fn own_authority_needs_no_name_server() {
    let site = Site::own_ca();
    assert!(!site.text("conf.d/ssl-mgr.conf").contains("[[dns_primary]]"));
    for arguments in ["-s", "-renew", "-roll", "-s", ""] {
        site.sslm(arguments).exits(0).never_says("note: example.com");
    }
    site.manager("check").exits(0).never_says("dns_primary");
}

#[test]
fn output_of_a_command_that_fails_is_not_lost() {
    let site = Site::running();
    site.refuses("smtp", true);
    site.sslm("-f -renew example.com:mail").exits(0);
    let said = site.sslm("-f -roll example.com:mail");
    said.exits(1).says("smtp says no").says("exit status: 3");
    site.sslm("-s").exits(0).says("smtp says no");
    // Nor is it tried for ever when it is no longer configured.
    site.edit("conf.d/ssl-mgr.conf", "smtp reload'", "imap reload'");
    site.told();
    site.sslm("-renew").exits(0).never_says("still to be done");
    let told: BTreeSet<String> = site.told().into_iter().collect();
    assert!(!told.contains("smtp reload"), "{told:?}");
}
