//! The booted lab: real apache2, cyrus-imapd and sendmail under a real systemd, and what they serve.
//!
//! A machine is built as `localhost.localdomain` and lives as `mail.example.com`. Each case boots one of
//! its own (`lab/machine.rs`) and asks, from outside, which certificate each port shows. Without root, or
//! without a tool, every case is reported as ignored; `RESEED_TESTS_REQUIRE_ALL=1` makes that a failure.

#[path = "lab/machine.rs"]
mod machine;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use machine::{Machine, Served, checked, hooks_we_ship, missing};
use serde_json::Value;

fn main() -> ExitCode {
    let cases: [(&str, fn()); 8] = [
        ("new_name_is_served_after_one_boot", new_name_is_served_after_one_boot),
        ("running_services_are_told", running_services_are_told),
        ("refused_restart_gets_its_old_certificate_back", refused_restart_gets_its_old_certificate_back),
        (
            "reload_that_kills_the_service_gets_its_old_certificate_back",
            reload_that_kills_the_service_gets_its_old_certificate_back,
        ),
        (
            "hook_that_cannot_succeed_disables_the_service_and_success_enables_it",
            hook_that_cannot_succeed_disables_the_service_and_success_enables_it,
        ),
        (
            "ca_issued_certificate_at_the_default_path_is_not_touched",
            ca_issued_certificate_at_the_default_path_is_not_touched,
        ),
        ("hold_marks_what_is_stale_and_success_lets_it_go", hold_marks_what_is_stale_and_success_lets_it_go),
        ("bought_certificate_is_served_everywhere", bought_certificate_is_served_everywhere),
    ];
    machine::run(&[(missing, &cases)])
}

fn new_name_is_served_after_one_boot() {
    let machine = Machine::new("one-boot");
    machine.write("/etc/reseed/seed.toml", SEED);
    machine.rename(NEW_NAME);
    machine.boot();
    let before = SERVICES.map(|service| machine.served(NEW_NAME, service.port));
    let access = FILES.map(|file| machine.access(file));
    let links = trust_links(&machine);
    machine.power_off();

    machine.write("/etc/systemd/system/reseed-lab.service", BOOT_UNIT);
    let wanted = machine.path("/etc/systemd/system/multi-user.target.wants/reseed-lab.service");
    symlink("../reseed-lab.service", wanted).unwrap();
    machine.boot();

    assert_eq!(machine.property("reseed-lab.service", "Result"), "success");
    let after = SERVICES.map(|service| serves_the_new_name(&machine, &service));
    eprint!("{}", table(&before, &after));
    for ((service, before), after) in SERVICES.iter().zip(&before).zip(&after) {
        assert!(!before.matches, "{} served the new name before anything was done: {before:?}", service.unit);
        assert!(
            number(&after.serial) > number(&before.serial),
            "{}: serial fell: {before:?} {after:?}",
            service.unit
        );
        for field in ["C=US", "ST=Kansas", "L=Wichita", "O=Example", "OU=Mail"] {
            assert!(
                after.subject.split(',').any(|part| part == field),
                "{}: no {field} in {after:?}",
                service.unit
            );
        }
    }
    assert_eq!(FILES.map(|file| machine.access(file)), access, "an owner, group or mode changed");
    assert!(links.is_disjoint(&trust_links(&machine)), "links of old subjects are left: {links:?}");

    let settled = machine.listing(&["/etc", "/var/lib/reseed"]);
    machine.reseed(0, &["apply"]);
    assert_eq!(machine.listing(&["/etc", "/var/lib/reseed"]), settled, "a second run changed something");
}

fn running_services_are_told() {
    let machine = Machine::new("told");
    machine.boot();
    let before = SERVICES.map(|service| machine.served(NEW_NAME, service.port));
    let starts = SERVICES.map(|service| machine.starts(service.unit));

    machine.rename(NEW_NAME);
    machine.reseed(0, &["apply"]);

    for ((service, before), starts) in SERVICES.iter().zip(&before).zip(starts) {
        let after = serves_the_new_name(&machine, service);
        assert_ne!(after.fingerprint, before.fingerprint);
        assert_eq!(machine.starts(service.unit) - starts, 1, "{} is to be told once", service.unit);
    }
    machine.reseed(0, &["apply"]);
    for (service, starts) in SERVICES.iter().zip(starts) {
        assert_eq!(machine.starts(service.unit) - starts, 1, "{} was told of nothing new", service.unit);
    }
}

fn refused_restart_gets_its_old_certificate_back() {
    let machine = Machine::new("refused");
    // What is stale is gated, by default stopped: here it is to go on as it was.
    machine.write("/etc/reseed/reseed.toml", "[gate]\npolicy = \"report\"\n");
    machine.write(
        "/etc/systemd/system/cyrus-imapd.service.d/refuse.conf",
        &format!("[Service]\nExecStartPre=/bin/sh -c 'openssl x509 -noout -subject -in {} | grep SomeOrganization'\n", CYRUS.file),
    );
    machine.boot();
    let old = machine.contents(CYRUS.file);
    let served = machine.served(NEW_NAME, CYRUS.port);

    machine.rename(NEW_NAME);
    machine.reseed(1, &["apply"]);

    assert_eq!(machine.contents(CYRUS.file), old, "not put back as it was");
    assert_eq!(machine.systemctl("is-active", CYRUS.unit), "active");
    assert_eq!(machine.served(NEW_NAME, CYRUS.port).fingerprint, served.fingerprint);
    serves_the_new_name(&machine, &APACHE);
    serves_the_new_name(&machine, &SENDMAIL);
    let status = machine.run(&["reseed", "status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let failures = status["failures"].as_object().expect("failures by hook");
    assert_eq!(failures.keys().collect::<Vec<_>>(), ["cyrus-imapd"], "{status:#}");
}

/// A reload that is reported as done, its job too, by a server that is dead a moment later.
fn reload_that_kills_the_service_gets_its_old_certificate_back() {
    let machine = Machine::new("killed");
    machine.write("/etc/reseed/reseed.toml", "[gate]\npolicy = \"report\"\n");
    // At OpenSSL's security level 4 apache takes the old P-384 key, and not the P-256 key to come.
    machine.write("/etc/apache2/conf-enabled/strict.conf", "SSLCipherSuite HIGH:!aNULL:@SECLEVEL=4\n");
    let placeholder = ["-sha384", "-subj", "/CN=localhost.localdomain"];
    let mut make = request("P-384");
    make.args(placeholder).arg("-out").arg(machine.path(APACHE.file));
    checked(make.arg("-keyout").arg(machine.path(APACHE_KEY)));
    machine.boot();
    let old = [APACHE.file, APACHE_KEY].map(|file| machine.contents(file));
    let served = machine.served(NEW_NAME, APACHE.port);

    machine.rename(NEW_NAME);
    machine.reseed(1, &["apply"]);

    assert_eq!(machine.starts(APACHE.unit), 3, "it is started, told, and started again");
    assert_eq!([APACHE.file, APACHE_KEY].map(|file| machine.contents(file)), old, "not put back as it was");
    assert_eq!(machine.systemctl("is-active", APACHE.unit), "active");
    assert_eq!(machine.served(NEW_NAME, APACHE.port).fingerprint, served.fingerprint);
    serves_the_new_name(&machine, &CYRUS);
}

fn hook_that_cannot_succeed_disables_the_service_and_success_enables_it() {
    let machine = Machine::new("disabled");
    machine.write("/etc/reseed/reseed.toml", "[gate]\ndisable-after-boots = 0\n");
    let broken = [CYRUS, SENDMAIL];
    for service in &broken {
        break_hook(&machine, service);
    }
    machine.boot();
    let enabled = broken.each_ref().map(|service| machine.property(service.unit, "UnitFileState"));

    machine.rename(NEW_NAME);
    machine.reseed(1, &["apply"]);
    let held_back = |when: &str| {
        for service in &broken {
            assert_eq!(machine.systemctl("is-active", service.unit), "inactive", "{} {when}", service.unit);
            let state = machine.property(service.unit, "UnitFileState");
            assert!(["disabled", "masked"].contains(&state.as_str()), "{} is {state} {when}", service.unit);
            assert!(
                machine.served_now(NEW_NAME, service.port).is_none(),
                "{} is served {when}",
                service.port
            );
        }
        serves_the_new_name(&machine, &APACHE);
    };
    held_back("after the run");
    let status = String::from_utf8(machine.run(&["reseed", "status"]).stdout).unwrap();
    for service in &broken {
        assert!(
            status.contains(service.hook) && status.contains(FAILING_CHECK),
            "status does not say why:\n{status}"
        );
    }
    machine.power_off();
    machine.boot();
    held_back("after a reboot");

    for service in &broken {
        machine.remove(&service.override_file());
    }
    machine.reseed(0, &["apply"]);
    for (service, enabled) in broken.iter().zip(enabled) {
        assert_eq!(machine.systemctl("is-active", service.unit), "active", "{}", service.unit);
        assert_eq!(machine.property(service.unit, "UnitFileState"), enabled, "{}", service.unit);
        serves_the_new_name(&machine, service);
    }
}

fn ca_issued_certificate_at_the_default_path_is_not_touched() {
    let machine = Machine::new("foreign");
    let files = [APACHE.file, APACHE_KEY];
    let [ca, ca_key, certificate, key] =
        ["/root/ca.pem", "/root/ca.key", APACHE.file, APACHE_KEY].map(|file| machine.path(file));
    checked(request("P-256").args(["-subj", "/CN=Lab CA", "-out"]).arg(&ca).arg("-keyout").arg(&ca_key));
    let subject = ["-subj", "/CN=shop.example.net", "-addext", "subjectAltName=DNS:shop.example.net"];
    let mut issue = request("P-256");
    issue.args(subject).arg("-CA").arg(ca).arg("-CAkey").arg(ca_key);
    checked(issue.arg("-out").arg(certificate).arg("-keyout").arg(key));
    machine.boot();
    let whole = |file: &str| {
        let stat = fs::metadata(machine.path(file)).unwrap();
        (machine.contents(file), stat.ino(), stat.mtime(), stat.mtime_nsec(), stat.ctime_nsec())
    };
    let before = files.map(whole);
    let starts = machine.starts(APACHE.unit);

    machine.rename(NEW_NAME);
    machine.reseed(0, &["apply"]);

    assert_eq!(files.map(whole), before);
    assert_eq!(machine.starts(APACHE.unit), starts, "apache2 was told of nothing new");
    assert_eq!(machine.served(NEW_NAME, APACHE.port).fingerprint, machine.fingerprint(APACHE.file));
    serves_the_new_name(&machine, &CYRUS);
    let explained = machine.reseed(0, &["explain", APACHE.file]);
    assert!(explained.contains("foreign") && explained.contains("Lab CA"), "{explained}");
}

fn hold_marks_what_is_stale_and_success_lets_it_go() {
    let machine = Machine::new("held");
    machine.write("/etc/reseed/reseed.toml", "[gate]\npolicy = \"hold\"\n");
    break_hook(&machine, &CYRUS);
    machine.boot();
    let held = || machine.run(&["test", "-e", "/run/reseed/hold/cyrus-imapd.service"]).status.success();
    assert!(!held());

    machine.rename(NEW_NAME);
    machine.reseed(1, &["apply"]);
    assert!(held(), "no hold mark");
    assert_eq!(machine.systemctl("is-active", CYRUS.unit), "inactive");

    machine.remove(&CYRUS.override_file());
    machine.reseed(0, &["apply"]);
    assert!(!held(), "the hold mark stayed");
    serves_the_new_name(&machine, &CYRUS);
}

/// From the request to what apache, sendmail, IMAP and POP send, by way of the five mistakes that somebody once
/// made with it.
fn bought_certificate_is_served_everywhere() {
    let machine = Machine::installed("mail", "bought", &[]);
    machine.rename(NEW_NAME);
    for (file, text) in BOUGHT {
        machine.write(file, text);
    }
    machine.boot();
    let before = SERVICES.each_ref().map(|service| serves_the_new_name(&machine, service).fingerprint);
    let access = FILES.map(|file| machine.access(file));

    let seller = Seller::new();
    seller.write("request.pem", &machine.reseed(0, &["manager", "csr", "example.com/mail"]));
    seller.sign("request.pem", "bought.crt");
    // By the key of the certificate that apache has now: "easy to forget if you only do it once a year".
    let old_key = fs::read_to_string(machine.path(APACHE_KEY)).unwrap();
    seller.write("old.key", &old_key);
    seller.openssl("req -new -key old.key -subj /CN=mail.example.com -out old.csr");
    seller.sign("old.csr", "old.crt");
    let parts = |names: &[&str]| names.iter().map(|name| seller.read(name)).collect::<String>();
    let no_key_has_it = "is of a key that no service here has; the request of example.com/mail that waits";
    let mistakes: [(&str, String, &str); 4] = [
        ("wrong-key.pem", parts(&["old.crt", "issuing.crt"]), no_key_has_it),
        ("wrong-file.key", old_key, "holds a private key, of a key that no service here has"),
        ("wrong-file.csr", seller.read("request.pem"), "the request is for the authority"),
        ("no-intermediate.pem", parts(&["bought.crt"]), "is missing: O = Trust, CN = Issuing"),
    ];
    let import = |name: &str, text: &str| {
        let file = format!("/root/{name}");
        machine.write(&file, text);
        let ran = machine.run(&["reseed", "manager", "import", &file]);
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.code(), String::from_utf8(said).unwrap())
    };
    for (name, text, words) in &mistakes {
        let (status, said) = import(name, text);
        assert!(status == Some(1) && said.contains(words), "{name}: {status:?} {said}");
        assert!(!machine.path(NEXT).is_symlink(), "{name} became next");
    }
    // These two are put right; and once more is no work.
    let with_root = import("root.pem", &parts(&["bought.crt", "issuing.crt", "root.crt"]));
    assert!(with_root.0 == Some(0) && with_root.1.contains("CN = Root was left out"), "{}", with_root.1);
    let turned = import("turned.pem", &parts(&["issuing.crt", "bought.crt"]));
    assert!(turned.0 == Some(0) && turned.1.contains("turned.pem was put in order"), "{}", turned.1);
    let right = import("right.pem", &parts(&["bought.crt", "issuing.crt"]));
    assert!(right.0 == Some(0) && right.1.contains("is next already"), "{}", right.1);
    let served = SERVICES.map(|service| machine.served(NEW_NAME, service.port).fingerprint);
    assert_eq!(served, before, "nothing is served before it is rolled");

    // The manager asks for the run that installs it.
    machine.reseed(0, &["manager", "roll", "--force", "example.com/mail"]);
    machine.wait_until("the run is over", 120, || {
        let bought = machine.fingerprint(&format!("{CURR}/cert.pem"));
        let on_disk = SERVICES.iter().all(|service| machine.fingerprint(service.file) == bought);
        on_disk && machine.systemctl("is-active", "reseed-apply.service") == "inactive"
    });

    let root = seller.path("root.crt");
    let sent = [seller.read("bought.crt"), seller.read("issuing.crt")];
    for port in SERVICES.map(|service| service.port).into_iter().chain([POP]) {
        machine.served(NEW_NAME, port);
        assert_eq!(machine.chain_for(NEW_NAME, port, &root), sent, "port {port}");
    }
    assert_eq!(FILES.map(|file| machine.access(file)), access, "an owner, group or mode changed");
    let combined = fs::read_to_string(machine.path(CYRUS.file)).unwrap();
    let labels: Vec<_> = combined.lines().filter_map(|line| line.strip_prefix("-----BEGIN ")).collect();
    assert_eq!(
        labels,
        ["PRIVATE KEY-----", "CERTIFICATE-----", "CERTIFICATE-----"],
        "one file for all, key first"
    );
    trust_links(&machine);

    let settled = machine.listing(&["/etc/ssl", "/etc/mail", "/etc/pki", "/var/lib/reseed"]);
    let applied = machine.reseed(0, &["apply"]);
    assert!(applied.contains("Nothing to do"), "{applied}");
    assert_eq!(machine.listing(&["/etc/ssl", "/etc/mail", "/etc/pki", "/var/lib/reseed"]), settled);
}

/// Who sells certificates, outside the machine.
struct Seller(tempfile::TempDir);

impl Seller {
    fn new() -> Self {
        let seller = Self(tempfile::tempdir().unwrap());
        for (name, file, by) in
            [("Root", "root", ""), ("Issuing", "issuing", " -CA root.crt -CAkey root.key")]
        {
            seller.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 900 -subj /O=Trust/CN={name} \
                 -addext basicConstraints=critical,CA:TRUE -keyout {file}.key -out {file}.crt{by}"
            ));
        }
        seller.write("extensions", "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:mail.example.com\n");
        seller
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn openssl(&self, arguments: &str) {
        checked(Command::new("openssl").current_dir(self.0.path()).args(arguments.split(' ')));
    }

    fn sign(&self, request: &str, out: &str) {
        self.openssl(&format!(
            "x509 -req -in {request} -CA issuing.crt -CAkey issuing.key -days 365 -extfile extensions -out {out}"
        ));
    }
}

/// The manager with one service whose certificate is bought, and the hooks that take it.
const BOUGHT: [(&str, &str); 4] = [
    (
        "/etc/ssl-mgr/conf.d/ssl-mgr.conf",
        "[[groups]]\ndomain = \"example.com\"\nservices = [\"mail\"]\nactive = true\n",
    ),
    ("/etc/ssl-mgr/conf.d/ca-info.conf", "[trust]\nca_desc = \"Trust\"\nca_type = \"manual\"\n"),
    (
        "/etc/ssl-mgr/conf.d/example.com/mail",
        "name = \"Mail\"\ngroup = \"example.com\"\nservice = \"mail\"\nsigning_ca = \"trust\"\n[KeyOpts]\n\
         ktype = \"rsa\"\nrsa_bits = 2048\n[X509]\nCN = \"mail.example.com\"\nO = \"Example\"\nC = \"US\"\n",
    ),
    (
        "/etc/reseed/reseed.toml",
        // Until it is bought, what signs itself is served.
        "[hook.ssl-cert]\nissuer = \"manager:example.com/mail\"\nstop-gap = true\n\
         [hook.cyrus-imapd]\nissuer = \"manager:example.com/mail\"\nstop-gap = true\n\
         [hook.sendmail]\nissuer = \"manager:example.com/mail\"\nstop-gap = true\n",
    ),
];
const NEXT: &str = "/etc/ssl-mgr/certs/example.com/mail/next";
const CURR: &str = "/etc/ssl-mgr/certs/example.com/mail/curr";
/// Cyrus, too.
const POP: u16 = 995;

/// A service of the machine: what tells it, and which file its port shows.
struct Service {
    hook: &'static str,
    unit: &'static str,
    port: u16,
    file: &'static str,
}

impl Service {
    /// Where an administrator replaces its hook.
    fn override_file(&self) -> String {
        format!("/etc/reseed/hooks.d/{}.toml", self.hook)
    }
}

/// Asserts that the port shows a certificate for the new name, and the one on disk.
fn serves_the_new_name(machine: &Machine, service: &Service) -> Served {
    let served = machine.served(NEW_NAME, service.port);
    assert!(served.matches, "port {} is not {NEW_NAME}: {served:?}", service.port);
    assert_eq!(
        served.fingerprint,
        machine.fingerprint(service.file),
        "port {} shows another file",
        service.port
    );
    served
}

/// Replaces a hook by one that cannot succeed: it has a check of its program's configuration that fails.
fn break_hook(machine: &Machine, service: &Service) {
    let hook = fs::read_to_string(hooks_we_ship().join(format!("{}.toml", service.hook))).unwrap();
    let broken = format!("{hook}\n[[check]]\ncommand = [\"{FAILING_CHECK}\"]\n");
    machine.write(&service.override_file(), &broken);
}

/// An `openssl req` that makes a key on this curve and a certificate.
fn request(curve: &str) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.args("req -x509 -nodes -days 365 -newkey ec -pkeyopt".split(' '));
    openssl.arg(format!("ec_paramgen_curve:{curve}"));
    openssl
}

/// The links in OpenSSL's directory of trusted certificates that lead to the ones we make. Each must be
/// called by the hash of the subject that its certificate has now, and none may be missing.
fn trust_links(machine: &Machine) -> BTreeSet<String> {
    let directory = machine.path("/etc/ssl/certs");
    let mut links = BTreeSet::new();
    for certificate in [APACHE.file, SENDMAIL.file, "/etc/mail/tls/sendmail-client.crt"] {
        let hash = checked(
            Command::new("openssl")
                .args(["x509", "-noout", "-subject_hash", "-in"])
                .arg(machine.path(certificate)),
        );
        let known = links.len();
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let leads = fs::read_link(entry.path())
                .is_ok_and(|target| target.file_name() == Path::new(certificate).file_name());
            if let (true, Some((stem, _))) = (leads, name.split_once('.')) {
                assert_eq!(stem, hash.trim_end(), "the link {name} to {certificate}");
                links.insert(name);
            }
        }
        assert!(links.len() > known, "no link {}.* to {certificate}", hash.trim_end());
    }
    links
}

/// What was served before and after, for people.
fn table(before: &[Served], after: &[Served]) -> String {
    let mut table = format!("{:<5} {:<7} {:<40} subject\n", "port", "", "serial");
    for ((service, before), after) in SERVICES.iter().zip(before).zip(after) {
        for (when, served) in [("before", before), ("after", after)] {
            writeln!(table, "{:<5} {when:<7} {:<40} {}", service.port, served.serial, served.subject)
                .unwrap();
        }
    }
    table
}

/// Orders serials, given as hexadecimal digits, by their value.
fn number(serial: &str) -> (usize, &str) {
    let digits = serial.trim_start_matches('0');
    (digits.len(), digits)
}

const NEW_NAME: &str = "mail.example.com";

const APACHE: Service = Service {
    hook: "ssl-cert",
    unit: "apache2.service",
    port: 443,
    file: "/etc/ssl/certs/ssl-cert-snakeoil.pem",
};
const APACHE_KEY: &str = "/etc/ssl/private/ssl-cert-snakeoil.key";
const CYRUS: Service = Service {
    hook: "cyrus-imapd",
    unit: "cyrus-imapd.service",
    port: 993,
    file: "/etc/pki/cyrus-imapd/cyrus-imapd.pem",
};
const SENDMAIL: Service = Service {
    hook: "sendmail",
    unit: "sendmail.service",
    port: 25,
    file: "/etc/mail/tls/sendmail-server.crt",
};
const SERVICES: [Service; 3] = [APACHE, CYRUS, SENDMAIL];

/// Every file with a certificate or a key in it.
const FILES: [&str; 6] = [
    APACHE.file,
    APACHE_KEY,
    CYRUS.file,
    SENDMAIL.file,
    "/etc/mail/tls/sendmail-client.crt",
    "/etc/mail/tls/sendmail-common.key",
];

const FAILING_CHECK: &str = "/usr/bin/false";

const SEED: &str = r#"[subject]
country = "US"
state = "Kansas"
locality = "Wichita"
organization = "Example"
organizational_unit = "Mail"
"#;

/// Runs before the services that read what it writes, and so needs to tell none of them.
const BOOT_UNIT: &str = "[Unit]
After=dbus.socket network.target
Before=apache2.service cyrus-imapd.service sendmail.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/reseed apply
";
