//! `operate_serverPKI` as a drop-in: a database in serverPKI's own shape is taken over, and worked on by its own
//! configuration, under its own name and options. What each option is turned into is tested in
//! `src/manager/legacy/serverpki`; here is what comes of it.
//!
//! Which test shows each of the faults that were reproduced with serverPKI, `tests/README.md` says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

#[path = "inventory/cluster.rs"]
mod cluster;
#[path = "inventory/serverpki.rs"]
mod serverpki;
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cluster::Cluster;
use tempfile::TempDir;
use time::OffsetDateTime;

/// The server of all tests that run at the same time, with a database of serverPKI to copy.
struct Server {
    cluster: Cluster,
    /// How many copies there are; also held while something is asked by psql, which has one script.
    copies: Mutex<u32>,
}

static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Server {
    fn shared() -> Option<Arc<Self>> {
        let mut there = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = there.upgrade() {
            return Some(server);
        }
        let cluster = Cluster::start()?;
        cluster.database("theirs");
        cluster.sql("theirs", &serverpki::schema("rsa_plus_ec", 5));
        cluster.sql("theirs", &serverpki::data("rsa_plus_ec", OffsetDateTime::now_utc()));
        let server = Arc::new(Self { cluster, copies: Mutex::new(0) });
        *there = Arc::downgrade(&server);
        Some(server)
    }

    fn copy(&self) -> String {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        *copies += 1;
        let name = format!("pki_{copies}");
        self.cluster.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE theirs"));
        name
    }
}

/// A site of serverPKI: its database, its directories, its configuration.
struct Site {
    server: Arc<Server>,
    database: String,
    home: TempDir,
}

/// Exit status, standard output, standard error.
type Said = (i32, String, String);

impl Site {
    /// With its data, and nothing of ours.
    fn new() -> Option<Self> {
        let server = Server::shared()?;
        let database = server.copy();
        let home = tempfile::tempdir().unwrap();
        for directory in ["db", "work"] {
            fs::create_dir(home.path().join(directory)).unwrap();
        }
        symlink(support::RESEED, home.path().join("operate_serverPKI")).unwrap();
        let site = Self { server, database, home };
        fs::write(site.path("serverpki.conf"), site.configuration()).unwrap();
        Some(site)
    }

    /// The same, taken over.
    fn taken_over() -> Option<Self> {
        let site = Self::new()?;
        let (status, out, err) = site.reseed(&["inventory", "migrate"]);
        assert_eq!(status, 0, "{out}{err}");
        assert!(out.contains("taken over: 46 certificates"), "{out}");
        Some(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn configuration(&self) -> String {
        format!(
            "# serverPKI\n[Pathes]\nhome = {home}\ndb = $home/db\nwork = $home/work\nwork_tlsa = $work/TLSA\n\
             ca_cert = $db/ca_cert.pem\nca_key = $db/ca_key.pem\ndb_encryption_key = $db/db_encryption_key.pem\n\
             le_account = $db/account.json\ntlsa_dns_master = ''\nzone_file_root = $home/zones\ndns_key = $db/dns\n\
             zone_tlsa_inc_mode = 0660\nzone_tlsa_inc_uid = 53\nzone_tlsa_inc_gid = 2053\n\
             zone_file_include_name = acme_challenges.inc\nddns_key_file = $home/ddns-key.conf\n\n\
             [X509atts]\nlifetime = 375\nbits = 2048\n  [[names]]\n  C = DE\n  L = Beispiel\n  O = Example\n  \
             CN = Example Local CA\n  [[extensions]]\n\n\
             [DBAccount]\ndbHost = {sockets}\ndbPort = {port}\ndbUser = manager\ndbDbaUser = ''\ndbSslRequired = no\n\
             dbDatabase = {database}\ndbSearchPath = pki, dd, public\ndbCert = ''\ndbCertKey = ''\n\n\
             [Misc]\nSSH_CLIENT_USER_NAME = root\nLE_SERVER = https://127.0.0.1:1/directory\n\
             LE_EMAIL = hostmaster@example.com\nLE_ZONE_UPDATE_METHOD = ddns\nLOCAL_CA_BITS = 2048\n\
             LOCAL_CA_LIFETIME = 3680\nSUBJECT_LOCAL_CA = Local CA\nSUBJECT_LE_CA = Lets Encrypt CA\n\
             PRE_PUBLISH_TIMEDELTA = 30\nLOCAL_ISSUE_MAIL_TIMEDELTA = 30\nMAIL_RELAY = ''\nMAIL_SUBJECT = ''\n\
             MAIL_SENDER = ''\nMAIL_RECIPIENT = ''\nSYSLOG_FACILITY = syslog.LOG_LOCAL6\n",
            home = self.home.path().display(),
            sockets = self.server.cluster.path("sockets").display(),
            port = self.server.cluster.port,
            database = self.database,
        )
    }

    /// The key file that `ssh-keygen` would have made.
    fn make_key_file(&self) {
        let path = self.path("db/db_encryption_key.pem");
        fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\nonly for this test\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn run(&self, mut command: Command, arguments: &[&str]) -> Said {
        command.current_dir(self.home.path()).env("HOME", self.home.path()).env_remove("PGHOST");
        let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
        let text = |octets| String::from_utf8(octets).unwrap();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    /// `operate_serverPKI -f serverpki.conf …`, the options in one text, with `~` for a blank in a name.
    fn operate(&self, options: &str) -> Said {
        let words: Vec<String> = options.split_whitespace().map(|word| word.replace('~', " ")).collect();
        let words = ["-f", "serverpki.conf"].into_iter().chain(words.iter().map(String::as_str));
        self.operate_with(&words.collect::<Vec<_>>())
    }

    fn operate_with(&self, words: &[&str]) -> Said {
        self.run(Command::new(self.path("operate_serverPKI")), words)
    }

    /// Everything was done; what was said.
    fn good(&self, options: &str) -> String {
        let (status, out, err) = self.operate(options);
        assert_eq!(status, 0, "{options}: {out}{err}");
        out
    }

    fn reseed(&self, words: &[&str]) -> Said {
        let mut command = Command::new(support::RESEED);
        command.args(["manager", "--config", "serverpki.conf"]);
        self.run(command, words)
    }

    fn sql(&self, sql: &str) -> String {
        let _alone = self.server.copies.lock().unwrap_or_else(PoisonError::into_inner);
        self.server.cluster.sql(&self.database, sql)
    }

    /// States of the instances of a certificate, in their order.
    fn states(&self, certificate: &str) -> String {
        self.sql(&format!(
            "SELECT string_agg(i.state, ' ' ORDER BY i.id) FROM reseed.instances i JOIN reseed.subjects s
             ON s.certificate = i.certificate AND s.main WHERE s.name = '{certificate}'"
        ))
    }

    fn newest(&self, certificate: &str) -> String {
        self.sql(&format!(
            "SELECT max(i.id) FROM reseed.instances i JOIN reseed.subjects s
             ON s.certificate = i.certificate AND s.main WHERE s.name = '{certificate}'"
        ))
    }
}

/// From serverPKI's own tables to listing, in the words that its manual has.
#[test]
fn a_site_of_serverpki_changes_over() {
    let Some(site) = Site::new() else { return };
    let (status, _, err) = site.operate("-n -a");
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("only the tables of serverPKI"), "{err}");
    assert!(err.contains("reseed manager inventory migrate"), "{err}");
    let (status, out, err) = site.reseed(&["inventory", "migrate"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");

    let listed = site.good("-n -a -v");
    assert!(listed.contains("| Subject | Cert Name "), "{listed}");
    assert!(listed.contains("| Serial | Cert Name "), "{listed}");
    for name in ["Local CA", "Lets Encrypt CA", "No cert", "Person 5", "www16.example.com"] {
        assert!(listed.contains(&format!("| {name} ")), "{name}: {listed}");
    }
    let one = site.good("-n -o www16.example.com");
    assert!(!one.contains("Person 5"), "{one}");
    let without = site.good("-n -a -e www16.example.com");
    assert!(!without.contains("| www16.example.com "), "{without}");
    // Nothing selected is nothing done, which is no fault.
    assert!(site.good("-n").contains("no certificate is selected"));
    assert_eq!(site.good("-n -q"), "");
}

/// Its listing was a product of other names, services and targets.
#[test]
fn a_listing_is_no_cartesian_product() {
    let Some(site) = Site::taken_over() else { return };
    let counts =
        "SELECT (SELECT count(*) FROM reseed.subjects s WHERE s.certificate = m.certificate AND NOT s.main),
            (SELECT count(*) FROM reseed.certificate_services s WHERE s.certificate = m.certificate),
            (SELECT count(*) FROM reseed.targets t WHERE t.certificate = m.certificate)
        FROM reseed.subjects m WHERE m.main AND m.name = 'www26.example.com'";
    assert_eq!(site.sql(counts), "2|2|3", "enough to be multiplied");
    let (status, out, err) = site.reseed(&["check", "--verbose", "www26.example.com"]);
    assert_eq!(status, 3, "the test's certificates are for another name: {err}");
    let rows = out.lines().filter(|line| line.contains("| server ")).count();
    assert_eq!(rows, 3, "one for each place where it goes: {out}");
    assert!(out.contains("alt0.www26.example.com, alt1.www26.example.com"), "{out}");
    let (_, json, _) = site.reseed(&["check", "--verbose", "--json", "www26.example.com"]);
    let seen: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(seen["certificates"].as_array().unwrap().len(), 3, "{json}");
    assert_eq!(seen["certificates"][0]["names"].as_array().unwrap().len(), 2, "{json}");
    assert!(!json.contains("PRIVATE"), "{json}");
}

/// What is asked for wrongly is refused as a whole, and all of it is told.
#[test]
fn what_cannot_be_meant_is_refused() {
    let Some(site) = Site::taken_over() else { return };
    let before = site.sql("SELECT count(*), max(id) FROM reseed.instances");
    for (case, options, told) in [
        ("three actions", "-C -D -K -a", "too many actions"),
        ("two that do not belong together", "-S -C -a", "-S does not go together with another action"),
        ("two more", "-D -K -a", "do not go together"),
        ("also under -n", "-n -X -Y", "-X does not go together with another action"),
        ("an unknown option", "-C -a --frobnicate", "--frobnicate"),
        ("no number", "-E x", "x"),
    ] {
        let (status, out, err) = site.operate(options);
        assert_eq!((status, out.as_str()), (2, ""), "{case}: {err}");
        assert!(err.starts_with("operate_serverPKI: ") && err.contains(told), "{case}: {err}");
    }
    for (case, options, told) in [
        (
            "only",
            "-C -o nobody.example -o noone.example",
            &["nobody.example is not", "noone.example is not"][..],
        ),
        (
            "include and exclude",
            "-C -i nobody.example -e noone.example",
            &["nobody.example", "noone.example"],
        ),
        ("in a listing", "-n -o nobody.example", &["nobody.example is not in the inventory"]),
        ("hosts", "-D -a -s nohost.example -l nowhere.example", &["nohost.example", "nowhere.example"]),
        ("hosts, of a schedule", "-S -a -s nohost.example", &["nohost.example"]),
    ] {
        let (status, _, err) = site.operate(options);
        assert_eq!(status, 2, "{case}: {err}");
        told.iter().for_each(|told| assert!(err.contains(told), "{case}: {err}"));
    }
    assert_eq!(site.sql("SELECT count(*), max(id) FROM reseed.instances"), before);
}

/// A file that was named and is not there was replaced by another, silently; what was wrong in one stopped nothing.
#[test]
fn a_configuration_is_read_as_a_whole_or_not_at_all() {
    let Some(site) = Site::taken_over() else { return };
    let (status, _, err) = site.operate_with(&["-f", "elsewhere.conf", "-n", "-a"]);
    assert_eq!(status, 2, "{err}");
    assert!(err.contains("elsewhere.conf: there is no such file"), "{err}");
    let good = site.configuration();
    for (case, from, to, told) in [
        ("no number", "bits = 2048", "bits = many", "bad.conf:22:8: "),
        ("out of its range", "PRE_PUBLISH_TIMEDELTA = 30", "PRE_PUBLISH_TIMEDELTA = 3", "bad.conf:"),
        ("a key is missing", "dbUser = manager\n", "", "[DBAccount] has no dbUser"),
        (
            "no user's name",
            "SSH_CLIENT_USER_NAME = root",
            "SSH_CLIENT_USER_NAME = -oProxyCommand",
            "is no name of a user",
        ),
    ] {
        assert!(good.contains(from), "{case}");
        fs::write(site.path("bad.conf"), good.replace(from, to)).unwrap();
        let (status, out, err) = site.operate_with(&["-f", "bad.conf", "-n", "-a"]);
        assert_eq!((status, out.as_str()), (2, ""), "{case}: {err}");
        assert!(err.contains(told), "{case}: {err}");
    }
    // What is unknown is told with its line, once, and stops nothing.
    fs::write(site.path("odd.conf"), good.replace("dbUser =", "dbUsr = x\ndbUser =")).unwrap();
    let (status, _, err) = site.operate_with(&["-f", "odd.conf", "-CD", "-o", "nobody.example"]);
    assert_eq!(status, 2);
    assert_eq!(err.matches("dbUsr").count(), 1, "{err}");
    assert!(err.contains("odd.conf:33:1: "), "{err}");
}

/// `-I`, `-C`, `-E`: an authority, a certificate by it, and what comes out of the database.
#[test]
fn an_authority_issues_and_what_it_issued_is_exported() {
    let Some(site) = Site::taken_over() else { return };
    // It asked for a pass-phrase and stored the key of the authority in clear.
    let (status, _, err) = site.operate("-I");
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("db_encryption_key.pem: there is no such file"), "{err}");
    site.make_key_file();
    assert!(site.good("-I -n").contains("would get an instance"));
    let before = site.newest("Local CA");
    site.good("-I");
    let authority = site.newest("Local CA");
    assert_ne!(authority, before);
    let key =
        format!("SELECT convert_from(key, 'UTF8') FROM reseed.instance_keys WHERE instance = {authority}");
    assert!(site.sql(&key).starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));

    assert_eq!(site.states("Person 15"), "deployed");
    let out = site.good("-C -o Person~15");
    assert_eq!(site.states("Person 15"), "deployed issued", "{out}");
    let instance = site.newest("Person 15");
    let out = site.good(&format!("-E {instance}"));
    let [certificate, key] =
        ["cert", "key"].map(|what| site.path(&format!("work/{what}-{instance}-rsa.pem")));
    assert!(out.contains(certificate.to_str().unwrap()), "{out}");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o077, 0);
    if support::has("openssl") {
        let public = |arguments: &[&str], file: &PathBuf| {
            support::checked(Command::new("openssl").args(arguments).arg("-in").arg(file))
        };
        let of_key = public(&["pkey", "-pubout"], &key);
        assert_eq!(public(&["x509", "-noout", "-pubkey"], &certificate), of_key);
    }
    // As often as somebody likes, as whoever it was.
    site.good(&format!("-E {instance}"));
    let (status, _, err) = site.operate("-E 4711");
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("there is no instance 4711"), "{err}");
    let (_, out, err) = site.reseed(&["check", "Person 15"]);
    let of_it = format!("instance {instance}");
    assert!(!out.contains(&of_it) && !err.contains(&of_it), "nothing is wrong with it: {out}{err}");
}

/// `-C -a` issued the authority and the placeholder anew, and what came of it signed everything from then on.
#[test]
fn all_never_issues_an_authority() {
    let Some(site) = Site::taken_over() else { return };
    site.make_key_file();
    site.good("-I");
    let count = |what: &str| {
        site.sql(&format!(
            "SELECT count(*) FROM reseed.instances i JOIN reseed.certificates c ON c.id = i.certificate
             JOIN reseed.subjects s ON s.certificate = c.id AND s.main WHERE {what}"
        ))
    };
    let (local, authorities) =
        ("c.kind = 'local' AND c.subject <> 'CA' AND NOT c.disabled", "c.subject = 'CA'");
    let before = (count(local), count(authorities));
    // Of the public authority nobody answers; that does not keep back the others, and is told.
    let (status, out, err) = site.operate("-C -a -q");
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("www16.example.com"), "{err}");
    assert_eq!(count(authorities), before.1);
    let wanted = site.sql(
        "SELECT count(*) FROM reseed.certificates c WHERE kind = 'local' AND subject <> 'CA' AND NOT disabled",
    );
    let number = |text: &str| text.parse::<u32>().unwrap();
    assert_eq!(number(&count(local)), number(&before.0) + number(&wanted));
}

/// Encryption that could not be switched on was noted as on; `-n` did not keep it from being done.
#[test]
fn encrypting_without_a_key_file_changes_nothing() {
    let Some(site) = Site::taken_over() else { return };
    let keys = "SELECT count(*) FILTER (WHERE convert_from(key, 'UTF8') LIKE '%ENCRYPTED%'), count(*),
        md5(string_agg(md5(key), '' ORDER BY digest)) FROM reseed.instance_keys WHERE key <> ''";
    let before = site.sql(keys);
    assert!(before.starts_with("0|"), "{before}");
    let (status, _, err) = site.operate("-X");
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("db_encryption_key.pem"), "{err}");
    assert_eq!(site.sql(keys), before);
    let instance = site.newest("www16.example.com");
    site.good(&format!("-E {instance}"));

    site.make_key_file();
    site.good("-X -n");
    assert_eq!(site.sql(keys), before, "nothing is done under -n");
    site.good("-X");
    let encrypted = site.sql(keys);
    let parts: Vec<&str> = encrypted.split('|').collect();
    assert_eq!(parts[0], parts[1], "all of them: {encrypted}");
    site.good(&format!("-E {instance}"));
    let exported = fs::read_to_string(site.path(&format!("work/key-{instance}-ec.pem")))
        .or_else(|_| fs::read_to_string(site.path(&format!("work/key-{instance}-rsa.pem"))));
    assert!(!exported.unwrap().contains("ENCRYPTED"));
    site.good("-Y");
    assert_ne!(site.sql(keys), encrypted);
}

/// Whatever failed, serverPKI ended with 0, and cron never noticed.
#[test]
fn the_exit_status_tells_of_what_was_not_done() {
    let Some(site) = Site::taken_over() else { return };
    site.make_key_file();
    site.good("-I");
    site.good("-C -o db6.example.net");
    let before = site.states("db6.example.net");
    let (status, out, err) = site.operate("-D -o db6.example.net -N");
    assert_eq!(status, 1, "nobody is at those hosts: {out}{err}");
    assert_eq!(site.states("db6.example.net"), before, "a host that is down does not count");
    // Told also where only what went wrong is to be told.
    let (status, out, err) = site.operate("-D -o db6.example.net -N -q");
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("db6.example.net"), "{err}");
    let (status, out, _) = site.reseed(&["status", "--json"]);
    let seen: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status, 0);
    assert!(seen["failed"].as_array().unwrap().iter().any(|it| it["outcome"] == "failed"), "{out}");
    let (status, _, err) = site.operate("-T -a");
    assert_eq!(status, 1, "no name server is there: {err}");
    let (status, _, err) = site.operate("-Z");
    assert_eq!(status, 1, "no authority is there: {err}");
}

/// What is due, for a database that a fresh install left: version 5, and a spelling that its own program did not know.
#[test]
fn a_fresh_install_is_scheduled_without_an_error() {
    let Some(site) = Site::taken_over() else { return };
    let due = site.good("-S -n -a");
    for (name, step) in
        [("db6.example.net", "prepublish"), ("www17.example.com", "issue"), ("Person 5 ", "remind")]
    {
        let found = due.lines().any(|line| line.starts_with(name) && line.contains(step));
        assert!(found, "{name} {step}: {due}");
    }
    assert!(!due.contains("Local CA") && !due.contains("No cert"), "{due}");
    let one = site.good("-S -n -o db6.example.net");
    assert!(one.lines().all(|line| line.starts_with("db6.example.net")), "{one}");
    let renewed = site.good("-r 30 -n");
    assert!(renewed.contains("Person 15") && !renewed.contains("Person 25"), "{renewed}");
    // As the manual has it, the whole run.
    let (_, out, _) = site.reseed(&["status"]);
    assert!(out.contains("due now: ") && out.contains("due next, from "), "{out}");
}

/// The table of `tests/README.md` names a test for each fault, and each of these is one.
#[test]
fn every_fault_of_serverpki_has_a_test() {
    fn sources(directory: &std::path::Path, into: &mut String) {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|it| it == "rs") {
                into.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut texts = String::new();
    ["src/manager", "tests"].iter().for_each(|directory| sources(&here.join(directory), &mut texts));
    let readme = fs::read_to_string(here.join("tests/README.md")).unwrap();
    let (_, table) = readme.split_once("## Faults of serverPKI").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let tests = row.split('|').nth(3).unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(texts.contains(&format!("fn {name}()")), "{name} is no test");
        }
        rows += 1;
    }
    assert!(rows >= 15, "{rows}");
}
