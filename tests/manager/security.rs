//! What lets secrets out, or two runs in: each test is named after the fault of ssl-mgr.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::site::Site;
use crate::support::{RESEED, Ran, has};

#[test]
fn keys_of_authorities_are_not_copied_to_where_servers_read() {
    let site = Site::running();
    site.sslm("-f -renew ca:root").exits(0);
    site.sslm("-renew").exits(0);
    for link in ["curr", "next"] {
        assert!(site.has(&format!("prod/ca/root/{link}/cert.pem")));
    }
    for (path, content) in site.files("prod/ca") {
        let text = String::from_utf8_lossy(&content).into_owned();
        assert!(!text.contains("PRIVATE KEY"), "{}", path.display());
    }
    // What an earlier manager left there goes.
    site.write("prod/ca/root/curr/privkey.pem", &site.text("certs/ca/root/curr/privkey.pem"));
    site.sslm("").exits(0);
    assert!(!site.has("prod/ca/root/curr/privkey.pem"));
}

#[test]
fn reused_key_stays_secret() {
    if !has("openssl") {
        return;
    }
    let site = Site::running();
    let key = site.text("certs/example.com/web/curr/privkey.pem");
    // What ssl-mgr left behind is put right on the way.
    let wide = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(site.path("certs/example.com/web/curr/privkey.pem"), wide).unwrap();
    site.sslm("-r -f -renew example.com:web").exits(0).says("with the same key");
    assert_eq!(site.text("certs/example.com/web/next/privkey.pem"), key);
    site.sslm("-f -roll example.com:web").exits(0);
    for directory in ["certs", "prod"] {
        let directory = format!("{directory}/example.com/web/curr");
        assert_eq!(site.text(&format!("{directory}/privkey.pem")), key);
        for file in ["privkey.pem", "bundle.pem"] {
            assert_eq!(site.mode(&format!("{directory}/{file}")), 0o600, "{directory}/{file}");
        }
        site.is_pair(&directory);
    }
    let serial = |link: &str| site.field(&format!("certs/example.com/web/{link}/cert.pem"), "-serial");
    assert_ne!(serial("curr"), serial("prev"), "another certificate");
}

#[test]
fn production_key_that_everybody_may_read_is_closed_again() {
    let site = Site::running();
    let path = "prod/example.com/web/curr/privkey.pem";
    let wide = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(site.path(path), wide).unwrap();
    site.sslm("").exits(0);
    assert_eq!(site.mode(path) & 0o077 & !0o040, 0);
}

/// A run that is held up by a command of the site, ended when it is dropped.
struct Held<'s> {
    site: &'s Site,
    run: Child,
}

impl<'s> Held<'s> {
    fn new(site: &'s Site) -> Self {
        site.write("hold-web", "");
        site.sslm("-f -renew example.com:web").exits(0);
        let mut command = site.command(site.top(), "roll --force example.com:web");
        let run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while !site.has("held") {
            assert!(begun.elapsed() < Duration::from_secs(30), "it is not held up");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { site, run }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.site.path("hold-web"));
        let _ = self.run.kill();
        let _ = self.run.wait();
    }
}

/// ssl-mgr names its lock by the words in which the tree is named, and in a place that unrelated trees share.
#[test]
fn lock_is_of_the_tree_whatever_it_is_called() {
    let site = Site::running();
    let other = Site::running();
    symlink(site.top(), other.path("elsewhere")).unwrap();
    let held = Held::new(&site);
    let same = other.path("elsewhere");
    for top in [site.top(), same.as_path()] {
        let begun = Instant::now();
        let second = Ran::of("renew", &mut site.command(top, "renew"));
        second.exits(75).complains("another run");
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not wait for long");
    }
    site.sslm("-renew").exits(75);
    // Whoever looks is not held up, and another tree is another matter.
    site.sslm("-s").exits(0).says("web");
    other.sslm("-f -renew").exits(0);
    drop(held);
}

#[test]
fn killed_run_leaves_no_lock() {
    let site = Site::running();
    let mut held = Held::new(&site);
    held.run.kill().unwrap();
    held.run.wait().unwrap();
    // The command that it had started lives on, and holds nothing; what it was started for is not forgotten.
    let begun = Instant::now();
    let second = site.manager("distribute --no-restart");
    second.exits(1).says("still to be done: localhost: ");
    assert!(begun.elapsed() < Duration::from_secs(20), "nobody is waited for");
    drop(held);
    site.sslm("").exits(0).says("done: localhost: ");
    assert!(site.has("certs/example.com/web/curr") && !site.has("certs/example.com/web/next"));
}

/// RFC 5280 section 4.2.1, where ssl-mgr gives every certificate every usage.
#[test]
fn certificates_say_what_they_are_for_and_no_more() {
    if !has("openssl") {
        return;
    }
    let site = Site::own_ca();
    // The intermediate would sign for longer than it lives itself.
    site.edit("conf.d/ca/my-root", "sign_end_days = 3650", "sign_end_days = 100");
    site.sslm("-renew").exits(0);
    site.sslm("-roll").exits(0);
    let text = |name: &str| site.certificate(&format!("certs/{name}/curr/cert.pem"));
    // name, said, not said
    let cases: [(&str, &[&str], &[&str]); 3] = [
        (
            "ca/my-root",
            &["X509v3 Basic Constraints: critical\n                CA:TRUE\n", "Certificate Sign, CRL Sign"],
            &["Extended Key Usage", "Digital Signature, Key Enc", "Key Agreement", "pathlen"],
        ),
        (
            "ca/my-int",
            &[
                "CA:TRUE, pathlen:0",
                "X509v3 Key Usage: critical",
                "Certificate Sign, CRL Sign",
                "Authority Key Identifier",
            ],
            &["Extended Key Usage", "Key Encipherment", "Key Agreement"],
        ),
        (
            "example.com/web-self",
            &[
                "CA:FALSE",
                "Digital Signature",
                "TLS Web Server Authentication, TLS Web Client Authentication",
                "DNS:example.com, DNS:www.example.com, IP Address:192.0.2.80, IP Address:2001:DB8:0:0:0:0:0:80",
            ],
            &["Code Signing", "Time Stamping", "E-mail Protection", "Certificate Sign"],
        ),
    ];
    for (name, said, unsaid) in cases {
        let text = text(name);
        said.iter().for_each(|words| assert!(text.contains(words), "{name}: {words:?} is not in {text}"));
        unsaid.iter().for_each(|words| assert!(!text.contains(words), "{name}: {words:?} is in {text}"));
        let subject = site.field(&format!("certs/{name}/curr/cert.pem"), "-subject");
        assert!(!subject.contains("L =") && !subject.contains("ST ="), "nothing empty: {subject}");
    }
    // Key identifiers: a certificate's authority is who signed it.
    let identifier = |name: &str, label: &str| {
        let text = text(name);
        let at = text.find(label).unwrap_or_else(|| panic!("{name}: no {label}"));
        text[at..].lines().nth(1).unwrap().trim().trim_start_matches("keyid:").to_owned()
    };
    for (name, by) in [("ca/my-int", "ca/my-root"), ("example.com/web-self", "ca/my-int")] {
        assert_eq!(
            identifier(name, "Authority Key Identifier"),
            identifier(by, "Subject Key Identifier"),
            "{name}"
        );
    }
    let end = |name: &str| site.field(&format!("certs/{name}/curr/cert.pem"), "-enddate");
    assert_eq!(end("example.com/web-self"), end("ca/my-int"), "no longer than who signed it");
}

/// With --root, commands of the configuration were run on the system that runs.
#[test]
fn of_another_root_nothing_is_run() {
    let site = Site::running();
    let offline = |arguments: &str| {
        let mut command = Command::new(RESEED);
        command.arg("--root").arg(site.top()).args(["manager", "--topdir", "/"]);
        Ran::of(arguments, command.args(arguments.split_whitespace()).stdin(Stdio::null()))
    };
    offline("renew --force example.com").exits(0);
    let rolled = offline("roll --force example.com");
    rolled.exits(0).says("example.com/web: curr is ").says("to be done when this system runs: ");
    assert_eq!(site.told(), [""; 0]);
    site.sslm("").exits(0);
    assert!(site.told().contains(&"web reload".to_owned()), "it is remembered");
}
