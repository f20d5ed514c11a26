//! Machines report into an inventory, and what follows from it for their site: in PostgreSQL with roles that may do
//! nothing else, in files, and on a page that a browser shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[path = "fleet/browser.rs"]
mod browser;
#[path = "inventory/cluster.rs"]
mod cluster;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use reseed::manager::fleet::report::{CertificateReport, HookReport};
use reseed::manager::fleet::{HostReport, report};
use reseed::manager::inventory::model::{
    About, Algorithms, Certificate, Delivery, DistHost, Instance, KeyAlgorithm, KeyData, KeyInfo, Kind, Name,
    Outcome, State, SubjectType, Target,
};
use reseed::manager::inventory::store::{Contents, Inventory};
use reseed::pki::key::Secret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use browser::{Browser, View};
use cluster::Cluster;
use support::{Machine, RESEED, Ran, checked, has, here, is_root, scratch, skipped};

const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";
const CERTIFICATE: &str = "/srv/site.pem";
const SITE: &str = "version = 1\ndescription = \"a site\"\n[applies]\nfiles = [\"/srv\"]\n[[certificate]]\n\
    [[certificate.file]]\npath = \"/srv/site.pem\"\nholds = [\"key\", \"certificate\"]\n";
/// Files that nobody else may know.
const SECRETS: [&str; 4] =
    [CERTIFICATE, "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key", "/etc/bind/rndc.key"];

/// A Debian machine with sshd, named and a site, all of theirs made.
fn machine(name: &str, machine_id: &str) -> Machine {
    let machine = Machine::bare(name);
    machine.accounts(&["root", "bind"]);
    machine.write("/etc/machine-id", &format!("{machine_id}\n"));
    for program in ["/usr/sbin/sshd", "/usr/sbin/named"] {
        machine.write(program, "");
    }
    for directory in ["/etc/ssh", "/etc/bind", "/srv"] {
        machine.directory(directory);
    }
    for hook in ["openssh-server", "bind9-rndc"] {
        let text = fs::read_to_string(here().join(format!("../hooks.d/{hook}.toml"))).unwrap();
        machine.write(&format!("/usr/lib/reseed/hooks.d/{hook}.toml"), &text);
    }
    machine.write("/etc/reseed/hooks.d/site.toml", SITE);
    machine.reseed(&["apply"]).exits(0);
    machine
}

/// A copy of a whole machine that goes by another name; nothing was done about it yet.
fn clone(of: &Machine, name: &str) -> Machine {
    let clone = Machine::of_tree(of.root());
    for secret in SECRETS.iter().chain(&["/var/lib/reseed/ledger.toml", "/etc/ssh/ssh_host_ecdsa_key"]) {
        clone.mode(secret, 0o600);
    }
    clone.rename(name);
    clone
}

fn reports_to(machine: &Machine, place: &str) {
    machine.write("/etc/reseed/reseed.toml", &format!("[fleet]\npush = \"{place}\"\n"));
}

fn push(machine: &Machine) -> Ran {
    let mut command = machine.command(&["status", "--push"]);
    // Only what the test says counts.
    command.env_remove("PGHOST").env_remove("PGPASSWORD").env("HOME", machine.root());
    Ran::of("reseed status --push", &mut command)
}

/// A top directory; with a connection, its inventory is in a database.
fn top(connection: Option<&str>) -> TempDir {
    let top = scratch();
    fs::create_dir_all(top.path().join("conf.d")).unwrap();
    let text = connection.map(|it| format!("[inventory]\npostgres = \"{it}\"\n")).unwrap_or_default();
    fs::write(top.path().join("conf.d/ssl-mgr.conf"), text).unwrap();
    top
}

fn fleet(top: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(RESEED);
    command.args(["manager", "fleet", "--topdir"]).arg(top).args(arguments).env("HOME", top);
    command.env_remove("PGHOST").env_remove("PGPASSWORD").stdin(Stdio::null());
    Ran::of(&format!("reseed manager fleet {}", arguments.join(" ")), &mut command)
}

/// What is shared, as `what: host host`.
fn shared(answer: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = answer["shared"].as_array().unwrap().iter();
    all.map(|shared| {
        let hosts: Vec<String> =
            shared["places"].as_array().unwrap().iter().map(|place| text(&place["host"])).collect();
        format!("{}: {}", text(&shared["what"]), hosts.join(" "))
    })
    .collect()
}

fn states(answer: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let hosts = answer["hosts"].as_array().unwrap().iter();
    hosts.map(|host| (text(&host["host"]), text(&host["state"]))).collect()
}

/// A certificate that ended yesterday, made by OpenSSL.
fn expired(machine: &Machine) {
    let key = machine.path("/srv/old.key");
    let (csr, pem) = (machine.path("/srv/old.csr"), machine.path(CERTIFICATE));
    let mut request = Command::new("openssl");
    request.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"]);
    checked(request.args(["/O=Trust/CN=c.example.com", "-keyout"]).arg(&key).arg("-out").arg(&csr));
    let mut sign = Command::new("openssl");
    sign.args(["x509", "-req", "-days", "-1", "-in"]).arg(&csr).arg("-signkey").arg(&key);
    checked(sign.arg("-out").arg(&pem));
    let both = fs::read_to_string(&key).unwrap() + &fs::read_to_string(&pem).unwrap();
    fs::write(&pem, both).unwrap();
    for file in [&key, &csr] {
        fs::remove_file(file).unwrap();
    }
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// An inventory whose certificate `www` is what lies on a machine, and is said to be out on another, too.
fn inventory_of(machine: &Machine) -> Contents {
    let name = |text: &str| Name::new(text).unwrap();
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let text = machine.read(CERTIFICATE);
    let pem = &text[text.find("-----BEGIN CERTIFICATE").unwrap()..];
    let der = pem::parse(pem).unwrap().into_contents();
    let digest = hexadecimal(&Sha256::digest(der)).to_uppercase();
    let mut contents = Contents { next: 8, ..Contents::default() };
    let hosts = ["A.example.com", "never.example.com"].map(name);
    for host in &hosts {
        contents.objects.hosts.insert(host.clone(), DistHost::default());
    }
    let mut certificate = Certificate::new(SubjectType::Server, Kind::Local, Algorithms::Rsa);
    certificate.targets = hosts
        .iter()
        .map(|host| Target { host: host.clone(), jail: None, place: None, about: About::default() })
        .collect();
    contents.objects.certificates.insert(name("www"), certificate);
    let info = KeyInfo { algorithm: KeyAlgorithm::Rsa, digest, created: None };
    let done = Delivery { at: now, outcome: Outcome::Done, says: None };
    let instance = Instance {
        id: 7,
        certificate: name("www"),
        state: State::Deployed,
        algorithms: Algorithms::Rsa,
        must_staple: false,
        issuer: None,
        not_before: Some(now - Duration::days(1)),
        not_after: Some(now + Duration::days(397)),
        published: None,
        about: About::default(),
        deliveries: hosts.into_iter().map(|host| (host, done.clone())).collect(),
        keys: vec![info.clone()],
    };
    let key =
        KeyData { info, certificate: pem.into(), chain: String::new(), key: Secret::new("SECRET OF A KEY") };
    contents.instances.push((instance, vec![key]));
    contents
}

#[test]
fn machines_report_into_a_database() {
    if !has("openssl") {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    let mut inventory = cluster.inventory("site");
    let place = cluster.connection("site");
    let top = top(Some(&place));
    let a = machine("a.example.com", MACHINE_ID);
    let b = clone(&a, "b.example.com");
    let c = machine("c.example.com", "fedcba9876543210fedcba9876543210");
    expired(&c);
    inventory.fill(&inventory_of(&a)).unwrap();

    fleet(top.path(), &[]).exits(0).says("0 machines").never_says("never.example.com");
    for machine in [&a, &b, &c] {
        reports_to(machine, &place);
        push(machine).exits(0).says("This machine is ");
    }
    no_secret_is_in_a_report(&cluster, &a);
    clones_moved_machines_and_expired_certificates_are_found(top.path());
    a_report_takes_the_place_of_an_older_one_only(&cluster, &a);
    a_report_that_cannot_be_read_hides_no_other(&cluster, top.path());
    a_machine_that_is_no_more_is_forgotten(top.path());
    a_role_of_a_machine_may_report_for_it_and_nothing_else(&cluster, [&a, &b]);
    what_cannot_be_reported_is_said_after_the_status(&cluster, &a);
}

fn no_secret_is_in_a_report(cluster: &Cluster, a: &Machine) {
    let row = cluster.sql("site", "SELECT report::text FROM reseed.reports WHERE host = 'a.example.com'");
    for secret in SECRETS {
        let text = a.read(secret);
        let words = text.split(['\n', '"', ' ']).filter(|word| word.len() >= 16);
        let words: Vec<&str> = words.filter(|word| !word.starts_with("-----")).collect();
        assert!(!words.is_empty(), "{secret}");
        for word in words {
            assert!(!row.contains(word), "{secret}: {word}");
        }
    }
    assert!(!row.contains(MACHINE_ID) && row.contains(&report::machine(MACHINE_ID)), "{row}");
    let report: Value = serde_json::from_str(&row).unwrap();
    assert_eq!(report["identity"]["hostname"], json!({ "value": "a", "source": "/etc/hostname" }));
    let keys: Vec<&str> =
        report["host-keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    if has("ssh-keygen") {
        let mut list = Command::new("ssh-keygen");
        let said = checked(list.args(["-l", "-f"]).arg(a.path("/etc/ssh/ssh_host_ed25519_key")));
        assert!(keys.contains(&said.split(' ').nth(1).unwrap()), "{keys:?}");
    }
    // OpenSSL, of the whole certificate and of its public key.
    let certificate = &report["certificates"][0];
    let file = a.path(CERTIFICATE).display().to_string();
    let openssl =
        |script: &str| checked(Command::new("sh").args(["-ec", script, "sh", &file])).trim().to_owned();
    let whole = openssl("openssl x509 -in \"$1\" -outform der | sha256sum | cut -d' ' -f1");
    let key = openssl(
        "openssl x509 -in \"$1\" -noout -pubkey | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1",
    );
    assert_eq!(certificate["fingerprint"], json!(whole));
    assert_eq!(certificate["key"], json!(key));
    assert_eq!(certificate["path"], json!(CERTIFICATE));
    assert_eq!(certificate["verdict"], json!("managed: made by reseed, unchanged"));
}

fn clones_moved_machines_and_expired_certificates_are_found(top: &Path) {
    let answer = fleet(top, &["--json"]).exits(0).json();
    let expected = [
        ("a.example.com", "fresh"),
        ("b.example.com", "stale"),
        // Not ours to replace: it is in the list of certificates instead.
        ("c.example.com", "fresh"),
        ("never.example.com", "silent"),
    ];
    let expected = expected.map(|(host, state)| (host.to_owned(), state.to_owned()));
    assert_eq!(states(&answer), expected.into());
    assert_eq!(
        shared(&answer),
        [
            "machine-id: a.example.com b.example.com",
            "host-key: a.example.com b.example.com",
            "host-key: a.example.com b.example.com",
            "host-key: a.example.com b.example.com",
            "certificate: a.example.com b.example.com",
        ]
    );
    // First what has ended; the other is known to the inventory, by its fingerprint.
    let expiries = answer["expiries"].as_array().unwrap();
    assert_eq!(expiries.len(), 2, "{expiries:#?}");
    assert_eq!(expiries[0]["places"], json!([{ "host": "c.example.com", "path": CERTIFICATE }]));
    assert_eq!(expiries[0]["names"], json!(["c.example.com"]));
    assert_eq!(expiries[1]["certificate"], json!("www"));
    let places = json!([{ "host": "a.example.com", "path": CERTIFICATE },
        { "host": "b.example.com", "path": CERTIFICATE }, { "host": "never.example.com" }]);
    assert_eq!(expiries[1]["places"], places);

    let table = fleet(top, &[]);
    table.exits(0).says("4 machines: 1 stale, 1 silent, 2 fresh").says("1 of 2 certificates");
    table.says("stale     b.example.com (reported ").says("          This machine was renamed.");
    table.says("machine-id: one is a clone of the other").says("ended 24 h ago").never_says("www");
    fleet(top, &["--within", "400"]).exits(0).says("2 of 2 certificates").says("www");
    assert_eq!(fleet(top, &["--within", "0", "--json"]).json()["expiries"].as_array().unwrap().len(), 1);
}

fn a_report_takes_the_place_of_an_older_one_only(cluster: &Cluster, a: &Machine) {
    let shift = |by: &str| {
        let sql = format!("UPDATE reseed.reports SET at = now() {by} WHERE host = 'a.example.com'");
        cluster.sql("site", &sql);
    };
    let count = || cluster.sql("site", "SELECT count(*) FROM reseed.reports WHERE host = 'a.example.com'");
    shift("- interval '1 day'");
    push(a).exits(0);
    assert_eq!(count(), "1");
    let age = "SELECT now() - at < interval '1 minute' FROM reseed.reports WHERE host = 'a.example.com'";
    assert_eq!(cluster.sql("site", age), "t");
    shift("+ interval '10 minutes'");
    push(a)
        .exits(1)
        .says("This machine is a.example.com")
        .complains("there is a later report of a.example.com");
    let future = json!({ "version": 1, "host": "a.example.com", "at": "2199-01-01T00:00:00Z" });
    let told = cluster.psql("site", &format!("SELECT reseed.report('{future}')")).unwrap_err();
    assert!(told.contains("set that machine's clock"), "{told}");
    shift("- interval '1 minute'");
}

fn a_report_that_cannot_be_read_hides_no_other(cluster: &Cluster, top: &Path) {
    let newer = json!({ "version": 99, "host": "newer.example.com", "at": "2026-01-01T00:00:00Z" });
    cluster.sql("site", &format!("SELECT reseed.report('{newer}')"));
    let ran = fleet(top, &[]);
    ran.exits(0)
        .says("4 machines")
        .says("not read: newer.example.com: version 99 was written by a newer reseed");
    for (case, text, told) in [
        ("no JSON", "{", "this is no report"),
        ("no object", "[]", "this is no report"),
        ("no host", "{\"at\": \"2026-01-01T00:00:00Z\"}", "neither whose"),
        ("no time", "{\"host\": \"x\", \"at\": \"soon\"}", "this is no report"),
        ("a name that climbs", "{\"host\": \"../x\", \"at\": \"2026-01-01T00:00:00Z\"}", "is no name"),
    ] {
        let found = cluster.psql("site", &format!("SELECT reseed.report('{text}')")).unwrap_err();
        assert!(found.contains(told), "{case}: {found}");
    }
    let long = "SELECT reseed.report(repeat('x', 1048577))";
    assert!(cluster.psql("site", long).unwrap_err().contains("at most 1048576 octets"));
}

fn a_machine_that_is_no_more_is_forgotten(top: &Path) {
    fleet(top, &["forget", "Newer.Example.com"]).exits(0);
    fleet(top, &["forget", "newer.example.com"])
        .exits(1)
        .complains("there is no report of newer.example.com");
    fleet(top, &[]).exits(0).never_says("newer");
}

fn a_role_of_a_machine_may_report_for_it_and_nothing_else(cluster: &Cluster, [a, b]: [&Machine; 2]) {
    cluster.sql(
        "site",
        "CREATE ROLE \"a.example.com\" LOGIN; GRANT USAGE ON SCHEMA reseed TO \"a.example.com\";
         GRANT EXECUTE ON FUNCTION reseed.report(text) TO \"a.example.com\"; CREATE ROLE stranger LOGIN",
    );
    let place = cluster.connection("site");
    let own = place.replace("user=manager", "user=a.example.com");
    reports_to(a, &own);
    push(a).exits(0);
    reports_to(b, &own);
    let ran = push(b);
    ran.exits(1).says("This machine is b.example.com").complains("may report for the host of that name");
    reports_to(a, &place.replace("user=manager", "user=stranger"));
    push(a).exits(1).complains("permission denied").complains("schema reseed");

    let before =
        cluster.sql("site", "SELECT md5(string_agg(r::text, '' ORDER BY host)) FROM reseed.reports r");
    for sql in [
        "SELECT key FROM reseed.instance_keys",
        "SELECT * FROM reseed.instances",
        "SELECT report FROM reseed.reports",
        "SELECT report FROM reseed.reports WHERE host = 'a.example.com'",
        "INSERT INTO reseed.reports VALUES ('x', now(), now(), '{}')",
        "UPDATE reseed.reports SET report = '{}'",
        "DELETE FROM reseed.reports",
        "SELECT reseed.write(ARRAY[1]::bigint[])",
        "CREATE TABLE reseed.mine (x int)",
        "SET ROLE manager",
        "ALTER FUNCTION reseed.report(text) SECURITY INVOKER",
    ] {
        let told = cluster.psql("site", &format!("SET SESSION AUTHORIZATION \"a.example.com\"; {sql}"));
        let told = told.expect_err(sql);
        assert!(told.contains("denied") || told.contains("must be owner"), "{sql}: {told}");
    }
    let after =
        cluster.sql("site", "SELECT md5(string_agg(r::text, '' ORDER BY host)) FROM reseed.reports r");
    assert_eq!(before, after);
    // What it brings along for the names of functions and operators counts for nothing.
    let fooled = "SET SESSION AUTHORIZATION \"a.example.com\";
        CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'a.example.com' $$;
        SET search_path = pg_temp, pg_catalog;
        SELECT reseed.report('{\"host\": \"b.example.com\", \"at\": \"2026-01-01T00:00:00Z\"}')";
    assert!(cluster.psql("site", fooled).unwrap_err().contains("may report for the host of that name"));
    for machine in [a, b] {
        reports_to(machine, &place);
    }
}

fn what_cannot_be_reported_is_said_after_the_status(cluster: &Cluster, a: &Machine) {
    let nobody = cluster.connection("site").replace(&format!("port={}", cluster.port), "port=1");
    let empty = cluster.database("empty");
    for (case, place, told) in [
        ("no database", nobody.as_str(), "is not reported to"),
        ("no tables", empty.as_str(), "run `reseed manager inventory migrate`"),
        ("no directory", "/not/there", "there is no such directory"),
    ] {
        reports_to(a, place);
        let ran = push(a);
        assert_eq!(ran.status, Some(1), "{case}: {}{}", ran.out, ran.err);
        ran.says("This machine is a.example.com.").complains(told);
        // Whoever does not push asks nobody.
        a.reseed(&["status"]).exits(0).never_says("reported");
    }
    a.write("/etc/reseed/reseed.toml", "");
    push(a).exits(2).says("This machine is a.example.com.").complains("write push = ");
}

/// Without a database: the reports lie in files, and come in by a directory or through `receive`.
#[test]
fn machines_report_into_files() {
    let a = machine("a.example.com", MACHINE_ID);
    a.write("/etc/ssl-mgr/conf.d/ssl-mgr.conf", "");
    reports_to(&a, "/etc/ssl-mgr/inventory");
    push(&a).exits(1).complains("there is no such directory");
    a.directory("/etc/ssl-mgr/inventory");
    push(&a).exits(0);
    let file = "/etc/ssl-mgr/inventory/reports/a.example.com.json";
    assert_eq!(a.snapshot().get(file).mode, 0o600);
    push(&a).exits(0);
    let on_it = |arguments: &[&str]| {
        a.reseed(&[&["manager", "--topdir", "/etc/ssl-mgr", "fleet"], arguments].concat())
    };
    on_it(&[]).exits(0).says("1 machines: 1 fresh");

    let receive = |text: &str, arguments: &[&str]| {
        let mut command = a.command(&["manager", "--topdir", "/etc/ssl-mgr", "fleet", "receive"]);
        let input = a.path("/root/report");
        a.write("/root/report", text);
        Ran::of("receive", command.args(arguments).stdin(fs::File::open(input).unwrap()))
    };
    let now = OffsetDateTime::now_utc();
    let report = |host: &str, at: OffsetDateTime| HostReport::new(host, at).to_text().unwrap();
    receive(&report("b.example.com", now), &["--host", "B.example.com"]).exits(0);
    receive(&report("c.example.com", now), &["--host", "b.example.com"])
        .exits(1)
        .complains("only those of b");
    receive(&report("b.example.com", now - Duration::hours(1)), &[])
        .exits(1)
        .complains("there is a later report");
    receive(&report("b.example.com", now + Duration::hours(2)), &[]).exits(1).complains("clock");
    receive(&report("../../evil", now), &[]).exits(2).complains("is no name");
    receive("{}", &[]).exits(1).complains("this is no report");
    receive(&"x".repeat((1 << 20) + 1), &[]).exits(1).complains("at most");
    a.write("/etc/ssl-mgr/inventory/reports/bad.example.com.json", "{");
    on_it(&[]).exits(0).says("2 machines: 2 fresh").says("not read: /etc/ssl-mgr/inventory/reports/bad");
    on_it(&["forget", "b.example.com"]).exits(0);
    on_it(&[]).exits(0).says("1 machines: 1 fresh");
    // An image that has no name yet is not taken for another that has none.
    a.rename("localhost");
    push(&a).exits(0);
    let name = format!("localhost-{}", &report::machine(MACHINE_ID)[..8]);
    on_it(&[]).exits(0).says(&format!("improper  {name}"));
}

/// An sshd in a network of its own lets a machine in by its own host key, and lets it do one thing.
#[test]
fn a_key_reports_over_ssh_for_its_machine_and_no_other() {
    if !["ssh", "ssh-keygen", "sshd", "ip", "ss", "unshare"].into_iter().all(has) {
        return;
    }
    if !is_root() {
        skipped("needs root: an sshd in a network name space");
        return;
    }
    let a = machine("a.example.com", MACHINE_ID);
    let b = clone(&a, "b.example.com");
    let top = top(None);
    let inside = |name: &str| top.path().join(name).display().to_string();
    fs::create_dir(inside("inventory")).unwrap();
    checked(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &inside("host")]));
    let command =
        format!("{RESEED} manager --topdir {} fleet receive --host a.example.com", top.path().display());
    let key = a.read("/etc/ssh/ssh_host_ed25519_key.pub");
    fs::write(inside("authorized"), format!("restrict,command=\"{command}\" {key}")).unwrap();
    let host = fs::read_to_string(inside("host.pub")).unwrap();
    fs::write(inside("known"), format!("127.0.0.1 {host}")).unwrap();
    let config = format!(
        "Port 22\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
         PermitRootLogin forced-commands-only\nPasswordAuthentication no\nLogLevel ERROR\n",
        inside("host"),
        inside("authorized")
    );
    fs::write(inside("config"), config).unwrap();
    let script =
        "ip link set lo up; mount -t tmpfs none /run; mkdir /run/sshd; /usr/sbin/sshd -D -e -f \"$1\" &
        for try in $(seq 400); do ss -Hltn 'sport = :22' | grep -q . && break; sleep 0.05; done
        shift; exec \"$@\"";
    let push = |machine: &Machine| {
        let options =
            ["-F", "none", "-i", &machine.path("/etc/ssh/ssh_host_ed25519_key").display().to_string()]
                .map(ToOwned::to_owned);
        let known = format!("UserKnownHostsFile={}", inside("known"));
        let options: Vec<String> = options.into_iter().chain(["-o".into(), known]).collect();
        let settings = format!("[fleet]\npush = \"ssh://root@127.0.0.1\"\nssh-options = {options:?}\n");
        machine.write("/etc/reseed/reseed.toml", &settings);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", script, "sh"]);
        command.args([&inside("config"), RESEED, "--root"]).arg(machine.root()).args(["status", "--push"]);
        Ran::of("reseed status --push, over ssh", &mut command)
    };
    push(&a).exits(0).says("This machine is a.example.com.");
    let ran = push(&b);
    ran.exits(1).says("This machine is b.example.com.").complains("only those of a.example.com are taken");
    fleet(top.path(), &[]).exits(0).says("1 machines: 1 fresh");
}

// ---- the page ------------------------------------------------------------------------------------

/// Texts that would be something else than text, if a page took them for it.
const HOSTILE: &str = "<script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>.example.com";

/// What is looked at on the page: sizes, contrast, tables, what was taken for more than text.
const LOOK: &str = r#"(() => {
    const seen = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
    const light = c => {
        const [r, g, b] = c.match(/[\d.]+/g).map(Number).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = getComputedStyle(document.body).backgroundColor;
    const contrast = e => {
        const [a, b] = [light(getComputedStyle(e).color), light(paper)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    };
    const texts = [...document.querySelectorAll('body *')]
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && seen(e));
    const wide = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5
        && !e.closest('thead'));
    return {
        title: document.title, lang: document.documentElement.lang, paper,
        overflow: document.documentElement.scrollWidth - innerWidth,
        wide: wide.slice(0, 3).map(e => e.outerHTML.slice(0, 200)),
        pale: texts.filter(e => contrast(e) < 4.5).map(e => e.outerHTML.slice(0, 200)),
        bars: [...document.querySelectorAll('.timeline .bar')].map(seen),
        rows: document.querySelectorAll('.timeline tbody tr').length,
        periods: [...document.querySelectorAll('.timeline tbody th')].every(seen),
        tables: [...document.querySelectorAll('table')].map(t =>
            t.querySelectorAll('thead th[scope=col]').length),
        headings: [...document.querySelectorAll('h1, h2')].filter(seen).map(e => e.innerText),
        foreign: document.querySelectorAll('script, img, iframe, link, object, embed, form, a').length,
        hacked: typeof window.hacked,
        text: document.body.innerText,
        elements: document.querySelectorAll('*').length,
    };
})()"#;

fn certificate(host: &str, index: i64, days: i64, now: OffsetDateTime) -> CertificateReport {
    CertificateReport {
        path: format!("/etc/ssl/{index}.pem"),
        verdict: "managed: made by reseed, unchanged".into(),
        fingerprint: hexadecimal(&Sha256::digest(format!("{host}{index}"))),
        key: format!("key of {host} {index}"),
        names: vec![format!("www{index}.{host}")],
        not_before: now - Duration::days(60),
        not_after: now + Duration::days(days),
    }
}

/// A site of so many machines with five certificates each, some of them in trouble.
fn site(top: &Path, machines: i64) {
    let now = OffsetDateTime::now_utc();
    let reports = top.join("inventory/reports");
    fs::create_dir_all(&reports).unwrap();
    for index in 0..machines {
        let host =
            if index == 0 { HOSTILE.replace('/', "\u{2215}") } else { format!("host{index:05}.example.com") };
        let mut report =
            HostReport::new(host.clone(), now - Duration::days(if index % 10 == 3 { 9 } else { 0 }));
        report.machine =
            Some(report::machine(&format!("{}", index / 2 * 2 + index % 2 * i64::from(index % 20 != 1))));
        report.certificates =
            (0..5).map(|at| certificate(&host, at, (index * 7 + at * 31) % 300 - 2, now)).collect();
        if index % 7 == 0 {
            let because = vec![format!("{HOSTILE} has changed from old.example.com to {host}")];
            let hook =
                HookReport { hook: "mod_ssl".into(), stale: because, failure: None, files: Vec::new() };
            report.hooks.push(hook);
        }
        if index % 11 == 0 {
            report.held.insert("httpd.service".into(), format!("what it reads is stale: {HOSTILE}"));
        }
        fs::write(reports.join(format!("{index}.json")), report.to_text().unwrap()).unwrap();
    }
}

#[test]
fn the_page_is_readable_in_a_browser() {
    if !has("chromium") {
        return;
    }
    let (few, many) = (top(None), top(None));
    site(few.path(), 40);
    site(many.path(), 600);
    let mut browser = Browser::start();
    let views = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")];
    for (top, machines, views) in [(few.path(), 40, &views[..]), (many.path(), 600, &views[1..3])] {
        let file = top.join("fleet.html");
        fleet(top, &["--html", file.to_str().unwrap()]).exits(0).says("fleet.html");
        let size = fs::metadata(&file).unwrap().len();
        assert!(size < 1_500_000, "{machines} machines: {size} octets");
        for (width, scheme) in views {
            let case = format!("{machines} machines, {width}, {scheme}");
            browser.open(&file, View { width: *width, height: 900, scheme });
            let seen = browser.value(LOOK);
            assert!(browser.complaints().is_empty(), "{case}: {:#?}", browser.complaints());
            assert_eq!(browser.requests().len(), 1, "{case}: only the page: {:?}", browser.requests());
            assert!(seen["title"].as_str().unwrap().starts_with("Certificates and machines, 20"), "{case}");
            assert_eq!(seen["lang"], "en");
            assert!(seen["overflow"].as_i64().unwrap() <= 0, "{case}: {} {}", seen["overflow"], seen["wide"]);
            assert_eq!(seen["wide"], json!([]), "{case}");
            assert_eq!(seen["pale"], json!([]), "{case}");
            assert_eq!(
                seen["paper"],
                if *scheme == "dark" { "rgb(13, 17, 23)" } else { "rgb(255, 255, 255)" }
            );
            let bars = seen["bars"].as_array().unwrap();
            assert!(bars.len() >= 15 && bars.iter().all(|bar| *bar == json!(true)), "{case}: {bars:?}");
            assert_eq!((&seen["rows"], &seen["periods"]), (&json!(27), &json!(true)), "{case}");
            assert_eq!(seen["tables"], json!([2, 4, 3, 4]), "{case}: every column has its head");
            assert_eq!(
                seen["headings"],
                json!([
                    "Certificates and machines",
                    "When certificates end",
                    "Machines that want somebody",
                    "What several machines share",
                    "Certificates, by their end"
                ])
            );
            assert_eq!((&seen["foreign"], &seen["hacked"]), (&json!(0), &json!("undefined")), "{case}");
            let text = seen["text"].as_str().unwrap();
            for part in [
                "<script>window.hacked=1<",
                "Ended",
                "ended 2 d ago",
                "(soon)",
                "one is a clone of the other",
            ] {
                assert!(text.contains(part), "{case}: {part}");
            }
            assert_eq!(text.contains("more are left out of this page"), machines > 500, "{case}");
            assert!(seen["elements"].as_i64().unwrap() < 30_000, "{case}: {}", seen["elements"]);
        }
    }
}
