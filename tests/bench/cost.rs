//! What things cost, as ratios within one run. Nothing is asserted. What is measured is the program that was built
//! beside this: `cargo build --release`, then `cargo run --release --example cost`.
//!
//! - a quiet `reseed apply` (four hooks, nothing to do) against `/bin/true`;
//! - a key with its certificate, made by the library, against `openssl req -x509` doing the same;
//! - the whole `reseed apply` that makes one certificate, against the same;
//! - what many certificates cost the manager, against making their keys alone;
//! - a certificate of a hundred names from Pebble, against lego and certbot; fifty at once, against one;
//! - what the inventory of a large fleet costs, by itself with `-- inventory`.
//!
//! Samples of both sides alternate, so that whatever else the machine does hits both; what is
//! compared is the median.

mod acme;
mod inventory;
mod manager;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use reseed::identity::HostName;
use reseed::pki::Container;
use reseed::pki::issue::{Profile, self_signed};
use reseed::pki::key::PrivateKey;
use reseed::pki::serial::Serial;
use reseed::pki::{Algorithm, Usage};
use reseed::seed::Subject;

use support::RESEED;

fn main() {
    if manager::measures() {
        return;
    }
    // `-- acme`, and likewise `inventory`, leaves out the rest.
    if std::env::args().any(|argument| argument == "inventory") {
        return inventory::run();
    }
    if std::env::args().any(|argument| argument == "acme") {
        acme::run();
        return;
    }
    let scratch = if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
    let dir = tempfile::tempdir_in(scratch).unwrap();
    machine(dir.path());
    let apply = || command(RESEED, &["--root", &dir.path().display().to_string(), "apply"]);
    run(apply());
    println!("{:<58} {:>9} {:>9} {:>6}", "medians in milliseconds", "ours", "other", "ratio");
    compare(
        "apply with nothing to do, 4 hooks : /bin/true",
        400,
        || run(apply()),
        || run(command("/bin/true", &[])),
    );
    let version = || command(RESEED, &["--version"]);
    compare("starting the program : /bin/true", 400, || run(version()), || run(command("/bin/true", &[])));
    for (algorithm, options, samples) in [
        (Algorithm::P256, &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..], 100),
        (Algorithm::Rsa(2048), &["-newkey", "rsa:2048"], 60),
    ] {
        let openssl = || {
            let key = dir.path().join("o.key").display().to_string();
            let certificate = dir.path().join("o.crt").display().to_string();
            let common =
                ["req", "-x509", "-nodes", "-days", "398", "-subj", "/O=Example/CN=mail.example.com"];
            let names =
                ["-addext", "subjectAltName=DNS:mail.example.com", "-keyout", &key, "-out", &certificate];
            run(command("openssl", &[&common[..], options, &names].concat()));
        };
        compare(
            &format!("making {algorithm} key and certificate : openssl req"),
            samples,
            || make(algorithm),
            openssl,
        );
        std::fs::write(
            dir.path().join("etc/reseed/reseed.toml"),
            format!("[certificates]\nalgorithm = \"{algorithm}\"\n"),
        )
        .unwrap();
        let one = || {
            std::fs::remove_file(dir.path().join("etc/pki/cyrus-imapd/cyrus-imapd.pem")).unwrap();
            run(apply());
        };
        compare(
            &format!("apply that makes one {algorithm} certificate : openssl req"),
            samples,
            one,
            openssl,
        );
    }
    manager::run();
    acme::run();
    inventory::run();
}

/// Four hooks that apply, each with files of its own.
fn machine(dir: &Path) {
    let me = (nix::unistd::geteuid(), nix::unistd::getegid());
    let group = |name: &str| format!("{name}:x:{}:\n", me.1);
    let files = [
        ("etc/hostname", "mail.example.com\n".to_owned()),
        ("etc/os-release", "ID=fedora\n".to_owned()),
        ("etc/passwd", format!("root:x:{}:{}::/:/bin/sh\n", me.0, me.1)),
        ("etc/group", ["root", "mail", "ssl-cert", "smmsp"].map(group).concat()),
        (
            "etc/httpd/conf/httpd.conf",
            "ServerRoot /etc/httpd\nListen 80\nLoadModule ssl_module modules/mod_ssl.so\nIncludeOptional conf.d/*.conf\n".into(),
        ),
        (
            "etc/httpd/conf.d/ssl.conf",
            "Listen 443 https\n<VirtualHost _default_:443>\nSSLEngine on\n\
             SSLCertificateFile /etc/pki/tls/certs/localhost.crt\n\
             SSLCertificateKeyFile /etc/pki/tls/private/localhost.key\n</VirtualHost>\n"
                .into(),
        ),
        (
            "etc/imapd.conf",
            "configdirectory: /var/lib/imap\ntls_server_cert: /etc/pki/cyrus-imapd/cyrus-imapd.pem\n\
             tls_server_key: /etc/pki/cyrus-imapd/cyrus-imapd-key.pem\n"
                .into(),
        ),
        ("etc/cyrus.conf", "SERVICES {\n imaps cmd=\"imapd -s\" listen=\"imaps\" prefork=0\n}\n".into()),
        (
            "etc/mail/sendmail.cf",
            "O ServerCertFile=/etc/pki/tls/certs/sendmail.pem\nO ServerKeyFile=/etc/pki/tls/private/sendmail.key\n".into(),
        ),
        ("usr/sbin/make-ssl-cert", String::new()),
        ("etc/pki/tls/certs/.keep", String::new()),
        ("etc/pki/tls/private/.keep", String::new()),
        ("etc/pki/cyrus-imapd/.keep", String::new()),
        ("etc/ssl/certs/.keep", String::new()),
        ("etc/ssl/private/.keep", String::new()),
        ("etc/reseed/.keep", String::new()),
    ];
    for (path, text) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let hooks = dir.join("usr/lib/reseed/hooks.d");
    std::fs::create_dir_all(&hooks).unwrap();
    for hook in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks.d")).unwrap() {
        let hook = hook.unwrap();
        std::fs::write(hooks.join(hook.file_name()), std::fs::read(hook.path()).unwrap()).unwrap();
    }
}

fn make(algorithm: Algorithm) {
    let key = PrivateKey::generate(algorithm).unwrap();
    let subject = Subject { organization: Some("Example".into()), ..Subject::default() };
    let profile = Profile {
        fqdn: &HostName::parse("mail.example.com").unwrap(),
        names: &BTreeSet::new(),
        addresses: &BTreeSet::new(),
        subject: &subject,
        usage: &BTreeSet::from([Usage::Server]),
        serial: Serial::next(None, None, [7; 20]),
        now: time::OffsetDateTime::now_utc(),
        days: 398,
        backdate_hours: 24,
    };
    assert!(!self_signed(&profile, &key).unwrap().is_empty());
    assert!(!key.to_pem(Container::Pkcs8).unwrap().reveal().is_empty());
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(mut command: Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn compare(what: &str, samples: usize, ours: impl Fn(), other: impl Fn()) {
    let time = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1000.0
    };
    let (mut a, mut b): (Vec<f64>, Vec<f64>) = (0..samples).map(|_| (time(&ours), time(&other))).unzip();
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let (a, b) = (a[samples / 2], b[samples / 2]);
    println!("{what:<58} {a:>9.2} {b:>9.2} {:>6.2}", a / b);
}
