//! What Pebble issues, in every way that names can be proven.

use std::fs;
use std::time::Instant;

use super::bed::Bed;
use super::pebble::{BINDING_KEY, KEY_ID, Knobs};
use crate::support::checked;

pub const CASES: &[crate::Case] = &[
    ("a_hundred_names_by_dynamic_update", a_hundred_names_by_dynamic_update),
    ("a_hundred_names_by_include_files", a_hundred_names_by_include_files),
    ("wildcard_and_its_apex_share_a_name", wildcard_and_its_apex_share_a_name),
    ("delegated_challenges_go_where_the_cname_points", delegated_challenges_go_where_the_cname_points),
    ("http_by_a_directory_that_nginx_serves", http_by_a_directory_that_nginx_serves),
    ("http_by_directories_of_other_hosts", http_by_directories_of_other_hosts),
    ("names_and_addresses_by_responders_of_our_own", names_and_addresses_by_responders_of_our_own),
    ("accounts_are_bound_to_those_kept_elsewhere", accounts_are_bound_to_those_kept_elsewhere),
    ("the_chain_is_the_preferred_one", the_chain_is_the_preferred_one),
    ("refused_nonces_and_slow_answers_are_lived_with", refused_nonces_and_slow_answers_are_lived_with),
    ("what_is_revoked_is_revoked_there", what_is_revoked_is_revoked_there),
    ("both_keys_of_an_instance_are_revoked_there", both_keys_of_an_instance_are_revoked_there),
    ("staging_is_kept_apart", staging_is_kept_apart),
    ("a_dry_run_writes_nothing_and_asks_nobody", a_dry_run_writes_nothing_and_asks_nobody),
];

/// Renews a service whose `next` must then be there, whole, for these names; nothing is left in the zones.
#[track_caller]
fn issues(bed: &Bed, service: &str, names: &[&str]) {
    bed.manager(&format!("renew {service}")).exits(0).says(&format!("{service}: next is "));
    let next = format!("{service}/next");
    bed.site.is_issued(&next, &bed.pebble.root(&bed.space, 0));
    let mut names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    names.sort();
    assert_eq!(bed.site.names(&next), names);
    assert_eq!(bed.challenges(), Vec::<String>::new(), "what was published is withdrawn");
}

fn a_hundred_names(zone: &str) {
    let bed = Bed::new();
    let names: Vec<String> = (0..100).map(|name| format!("n{name}.{zone}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bed.site.service(zone, "web", &names);
    let began = Instant::now();
    issues(&bed, &format!("{zone}/web"), &names);
    eprintln!("acme: a hundred names of {zone} after {:.2} s", began.elapsed().as_secs_f64());
    assert_eq!((bed.pebble.accounts(), bed.pebble.orders(), bed.pebble.issued()), (1, 1, 1));
    assert_eq!(bed.pebble.validations(), 100);
}

fn a_hundred_names_by_dynamic_update() {
    a_hundred_names("lab.test");
}

fn a_hundred_names_by_include_files() {
    a_hundred_names("files.test");
}

fn wildcard_and_its_apex_share_a_name() {
    let bed = Bed::new();
    for zone in ["lab.test", "files.test"] {
        let names = [zone, &format!("*.{zone}"), &format!("*.apps.{zone}")];
        bed.site.service(zone, "web", &names);
        issues(&bed, &format!("{zone}/web"), &names);
    }
    assert_eq!(bed.pebble.accounts(), 1);
}

fn delegated_challenges_go_where_the_cname_points() {
    let bed = Bed::new();
    bed.site.service("alias.test", "web", &["www.alias.test"]);
    issues(&bed, "alias.test/web", &["www.alias.test"]);
}

fn http_by_a_directory_that_nginx_serves() {
    let bed = Bed::new();
    let web = format!("[web]\nservers = ['{}']\nserver_dir = '/srv/www'\n", super::space::MANAGER);
    bed.site.configure("", &web);
    bed.site.authorities(&bed.site.authority("pebble", &bed.pebble, "http-01", ""));
    let root = bed.space.srv("www/lab.test");
    let _nginx = bed.nginx(&bed.space, &root);
    bed.site.service("lab.test", "web", &["lab.test", "www.lab.test"]);
    issues(&bed, "lab.test/web", &["lab.test", "www.lab.test"]);
    assert_eq!(files(&root), 0, "tokens are taken away");
    assert!(
        fs::read_to_string(bed.path("nginx/access.log")).unwrap().contains("/.well-known/acme-challenge/")
    );
}

/// Two hosts, one name each: a token is on both, for nobody says which of them an authority will ask.
fn http_by_directories_of_other_hosts() {
    let bed = Bed::new();
    let hosts = [("web1", "10.53.0.11"), ("web2", "10.53.0.12")];
    let hosts = hosts.map(|(name, address)| bed.host(&format!("{name}.lab.test"), address));
    let nginx: Vec<_> =
        hosts.iter().map(|host| bed.nginx(&host.space, &host.space.srv("www/lab.test"))).collect();
    let web = "[web]\nservers = ['web1.lab.test', 'web2.lab.test']\nserver_dir = '/srv/www'\n";
    bed.site.configure(&format!("ssh_options = {}\n", bed.ssh_options()), web);
    bed.site.authorities(&bed.site.authority("pebble", &bed.pebble, "http-01", ""));
    bed.site.service("lab.test", "web", &["web1.lab.test", "web2.lab.test"]);
    issues(&bed, "lab.test/web", &["web1.lab.test", "web2.lab.test"]);
    for host in &hosts {
        assert_eq!(files(&host.space.srv("www/lab.test")), 0, "tokens are taken away");
    }
    drop(nginx);
}

fn files(top: &std::path::Path) -> usize {
    walkdir::WalkDir::new(top).into_iter().flatten().filter(|entry| entry.file_type().is_file()).count()
}

fn names_and_addresses_by_responders_of_our_own() {
    let bed = Bed::new();
    for (service, validation) in [("http", "http-01"), ("alpn", "tls-alpn-01")] {
        bed.site.authorities(&bed.site.authority("pebble", &bed.pebble, validation, ""));
        let names = ["www.lab.test", "lab.test", "127.0.0.1"];
        bed.site.service("lab.test", service, &names);
        issues(&bed, &format!("lab.test/{service}"), &names);
        let listening = checked(bed.space.command("ss").args(["-Hltn"]));
        assert!(!listening.contains(":80 ") && !listening.contains(":443 "), "{listening}");
    }
    assert_eq!(bed.pebble.validations(), 6);
}

fn accounts_are_bound_to_those_kept_elsewhere() {
    let bed = Bed::with(&Knobs { binding_required: true, ..Knobs::default() });
    bed.site.service("lab.test", "web", &["www.lab.test"]);
    bed.manager("renew").exits(1);
    assert_eq!((bed.pebble.accounts(), bed.pebble.orders()), (0, 0), "without a binding");
    let binding = format!("ca_eab_kid = '{KEY_ID}'\nca_eab_hmac_file = 'hmac'\n");
    bed.site.authorities(&bed.site.authority("pebble", &bed.pebble, "dns-01", &binding));
    bed.site.secret("hmac", "Zm9yIHNvbWVib2R5IGVsc2Ugc2luY2UgYSBsb25nIHRpbWU");
    bed.manager("renew").exits(1);
    assert_eq!((bed.pebble.accounts(), bed.pebble.orders()), (0, 0), "by another key");
    bed.site.secret("hmac", &format!("{BINDING_KEY}\n"));
    issues(&bed, "lab.test/web", &["www.lab.test"]);
    assert_eq!(bed.pebble.accounts(), 1);
    for secret in [BINDING_KEY, "Zm9yIHNvbWVib2R5"] {
        bed.manager("renew --force -v").exits(0).never_says(secret);
    }
    assert_eq!(bed.pebble.accounts(), 1);
}

fn the_chain_is_the_preferred_one() {
    let bed = Bed::with(&Knobs { alternate_roots: 2, chain_length: 2, ..Knobs::default() });
    bed.site.service("lab.test", "web", &["www.lab.test"]);
    for root in [2, 0, 1] {
        let pem = bed.pebble.root(&bed.space, root);
        bed.site.write("seen.pem", &pem);
        let subject = bed.site.openssl("x509 -noout -subject -nameopt multiline -in", "seen.pem");
        let name = subject.lines().find_map(|line| line.trim().strip_prefix("commonName")).unwrap();
        let name = name.trim_start_matches([' ', '=']);
        let preferred = format!("ca_preferred_chain = '{name}'\n");
        bed.site.authorities(&bed.site.authority("pebble", &bed.pebble, "dns-01", &preferred));
        bed.manager("renew --force lab.test/web").exits(0).never_says("chain");
        bed.site.is_issued("lab.test/web/next", &pem);
    }
    let unknown = "ca_preferred_chain = 'Nobody'\n";
    bed.site.authorities(&bed.site.authority("pebble", &bed.pebble, "dns-01", unknown));
    let ran = bed.manager("renew --force lab.test/web");
    ran.exits(0);
    assert!(format!("{}{}", ran.out, ran.err).contains("Nobody"), "{ran:?}");
    bed.site.is_issued("lab.test/web/next", &bed.pebble.root(&bed.space, 0));
}

fn refused_nonces_and_slow_answers_are_lived_with() {
    let bed = Bed::with(&Knobs { refused_nonces: 50, validation_sleep: Some(3), ..Knobs::default() });
    let names: Vec<String> = (0..10).map(|name| format!("n{name}.lab.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bed.site.service("lab.test", "web", &names);
    issues(&bed, "lab.test/web", &names);
    // Each challenge is asked for once, but for refusals.
    let log = bed.pebble.log();
    assert!(log.contains("Configured to reject 50% of good nonces"), "{log}");
    assert!(log.matches("POST /chalZ/").count() > names.len(), "none was refused");
    assert_eq!((bed.pebble.accounts(), bed.pebble.orders(), bed.pebble.issued()), (1, 1, 1));
}

fn what_is_revoked_is_revoked_there() {
    let bed = Bed::new();
    bed.site.service("lab.test", "web", &["www.lab.test"]);
    issues(&bed, "lab.test/web", &["www.lab.test"]);
    bed.manager("roll").exits(0);
    let serial = bed.site.serial("lab.test/web/curr");
    assert_eq!(bed.pebble.status(&bed.space, &serial)["Status"], "Valid");
    bed.manager("revoke lab.test/web --reason superseded").exits(0);
    let status = bed.pebble.status(&bed.space, &serial);
    assert_eq!(status["Status"], "Revoked", "{status}");
    assert_eq!(status["Reason"], 4, "{status}");
    // What is revoked is replaced, due or not.
    issues(&bed, "lab.test/web", &["www.lab.test"]);
}

/// An instance of an inventory: by its own keys, since another manager's account has ordered it.
fn both_keys_of_an_instance_are_revoked_there() {
    let bed = Bed::new();
    bed.site.configure("", "[inventory]\npublic = 'pebble'\n");
    bed.manager("inventory add certificate www.lab.test --kind LE --algorithms both").exits(0);
    bed.manager("schedule --all").exits(0);
    let instance = bed.site.path("inventory/certificates/www.lab.test/1");
    let serial = |algorithm: &str| {
        let certificate = instance.join(algorithm).join("cert.pem");
        let mut openssl = std::process::Command::new("openssl");
        let said = checked(openssl.args(["x509", "-noout", "-serial", "-in"]).arg(certificate));
        said.trim().trim_start_matches("serial=").to_ascii_lowercase()
    };
    let serials = ["rsa", "ec"].map(serial);
    fs::remove_dir_all(bed.site.path(".reseed/accounts")).unwrap();
    bed.manager("revoke www.lab.test --reason keyCompromise")
        .exits(0)
        .says("instance 1 is revoked (keyCompromise)");
    for serial in &serials {
        let status = bed.pebble.status(&bed.space, serial);
        assert_eq!((&status["Status"], &status["Reason"]), (&"Revoked".into(), &1.into()), "{status}");
    }
    // Once more is one too many, and the schedule brings a successor.
    bed.manager("revoke --instance 1").exits(2).complains("instance 1 of www.lab.test is revoked");
    bed.manager("schedule --all").exits(0).says("www.lab.test: instance 2 is deployed");
}

fn staging_is_kept_apart() {
    let bed = Bed::new();
    let test = bed.second(24_000);
    let trust = bed.path("both.pem");
    let anchors = [bed.pebble.trust(), test.trust()].map(|path| fs::read_to_string(path).unwrap());
    fs::write(&trust, anchors.concat()).unwrap();
    let more = format!("ca_test_directory = '{}'\n", test.directory());
    let table = super::site::Site::acme("pebble", &bed.pebble.directory(), &trust, "dns-01", &more);
    bed.site.authorities(&table);
    bed.site.service("lab.test", "web", &["www.lab.test"]);
    bed.manager("renew --staging").exits(0);
    assert_eq!((test.accounts(), test.issued()), (1, 1));
    assert_eq!((bed.pebble.accounts(), bed.pebble.orders()), (0, 0));
    assert!(!bed.site.has("certs/lab.test/web/next"), "nothing of it is ours to roll");
    assert_eq!(files(&bed.space.srv("prod")), 0, "nor to serve");
    assert_eq!(bed.challenges(), Vec::<String>::new());
    issues(&bed, "lab.test/web", &["www.lab.test"]);
    assert_eq!((bed.pebble.accounts(), bed.pebble.issued()), (1, 1));
    assert_eq!((test.accounts(), test.issued()), (1, 1));
}

fn a_dry_run_writes_nothing_and_asks_nobody() {
    let bed = Bed::new();
    bed.site.service("lab.test", "web", &["www.lab.test"]);
    let before = bed.site.snapshot();
    let log = bed.pebble.log();
    bed.manager("renew --dry-run").exits(0).says("lab.test/web");
    assert_eq!(before.changed(&bed.site.snapshot()).into_iter().collect::<Vec<_>>(), [""; 0]);
    assert_eq!(bed.pebble.log(), log);
    assert!(!bed.zones.log().contains("updating zone"));
}
