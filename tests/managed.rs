//! Certificates that the manager issues, in the forms that packages want: the lineage is made by openssl,
//! the hooks are those that we ship. What a run does with a manager that can be asked is tested in
//! `src/reseed/lineages.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Machine, checked};

const SERVICE: &str = "/etc/ssl-mgr/certs/example.com/web-ec";
const SETTINGS: &str = "[hook.mod_ssl]\nissuer = \"manager:example.com/web-ec\"\n\
    [hook.cyrus-imapd]\nissuer = \"manager:example.com/web-ec\"\n";
const HTTPD: &str = "Listen 443 https\n<VirtualHost *:443>\nServerName mail.example.com\nSSLEngine on\n\
    SSLCertificateFile /etc/pki/tls/certs/localhost.crt\n\
    SSLCertificateKeyFile /etc/pki/tls/private/localhost.key\n</VirtualHost>\n";
const COMBINED: &str = "/etc/pki/cyrus-imapd/both.pem";
const CERTIFICATE: &str = "/etc/pki/tls/certs/localhost.crt";
const KEY: &str = "/etc/pki/tls/private/localhost.key";
const CHAIN: &str = "/etc/pki/tls/certs/chain.crt";

/// A machine with httpd and Cyrus, both of which take what the manager has.
fn machine(httpd: &str) -> Option<Machine> {
    if !support::has("openssl") {
        return None;
    }
    let machine = Machine::bare("mail.example.com");
    machine.write("/etc/os-release", "ID=fedora\n");
    machine.accounts(&["root", "mail"]);
    for hook in ["mod_ssl.toml", "cyrus-imapd.toml"] {
        let text = fs::read_to_string(support::here().join("../hooks.d").join(hook)).unwrap();
        machine.write(&format!("/usr/lib/reseed/hooks.d/{hook}"), &text);
    }
    machine.write("/etc/httpd/conf/httpd.conf", "Include conf.d/*.conf\nServerRoot /etc/httpd\n");
    machine.write("/etc/httpd/conf.d/ssl.conf", httpd);
    machine.write("/etc/imapd.conf", &format!("tls_server_cert: {COMBINED}\ntls_server_key: {COMBINED}\n"));
    for directory in ["/etc/pki/tls/certs", "/etc/pki/tls/private", "/etc/pki/cyrus-imapd"] {
        machine.directory(directory);
    }
    machine.write("/etc/reseed/reseed.toml", SETTINGS);
    Some(machine)
}

/// The authority of a site: a root, and what it signed to sign with.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(support::scratch());
        authority.issue("root", "/O=Example/CN=Root", None, "CA:TRUE", "");
        authority.issue("issuing", "/O=Example/CN=Issuing", Some("root"), "CA:TRUE,pathlen:0", "");
        authority
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn issue(&self, name: &str, subject: &str, by: Option<&str>, constraints: &str, names: &str) {
        let key = self.path(&format!("{name}.key"));
        let mut command = Command::new("openssl");
        checked(
            command
                .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
                .arg(&key),
        );
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-new", "-days", "90", "-subj", subject, "-key"]).arg(&key);
        command.args(["-addext", &format!("basicConstraints=critical,{constraints}")]);
        if !names.is_empty() {
            command.args(["-addext", &format!("subjectAltName={names}")]);
        }
        if let Some(by) = by {
            command.arg("-CA").arg(self.path(&format!("{by}.crt")));
            command.arg("-CAkey").arg(self.path(&format!("{by}.key")));
        }
        checked(command.arg("-out").arg(self.path(&format!("{name}.crt"))));
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// Makes a version in the lineage, as the manager lays it out, and has `curr` lead to it.
    fn roll(&self, machine: &Machine, version: &str, name: &str) {
        self.issue("leaf", &format!("/CN={name}"), Some("issuing"), "CA:FALSE", &format!("DNS:{name}"));
        let (leaf, issuing, root) = (self.text("leaf.crt"), self.text("issuing.crt"), self.text("root.crt"));
        let key = self.text("leaf.key");
        let directory = format!("{SERVICE}/db/{version}");
        for (file, content) in [
            ("privkey.pem", key.clone()),
            ("cert.pem", leaf.clone()),
            ("chain.pem", format!("{issuing}{root}")),
            ("fullchain.pem", format!("{leaf}{issuing}{root}")),
            ("bundle.pem", format!("{key}{leaf}{issuing}{root}")),
        ] {
            machine.write(&format!("{directory}/{file}"), &content);
        }
        machine.mode(&format!("{directory}/privkey.pem"), 0o600);
        let curr = machine.path(&format!("{SERVICE}/curr"));
        let _ = fs::remove_file(&curr);
        symlink(format!("db/{version}"), curr).unwrap();
    }

    /// `openssl verify`, with nothing but the root and what stands in the file.
    fn verifies(&self, leaf: &Path, untrusted: &Path) {
        let mut command = Command::new("openssl");
        command.args(["verify", "-purpose", "sslserver", "-verify_hostname", "mail.example.com", "-CAfile"]);
        checked(command.arg(self.path("root.crt")).arg("-untrusted").arg(untrusted).arg(leaf));
    }

    /// The file holds these blocks, in this order, and no others.
    fn is(&self, machine: &Machine, file: &str, blocks: &[&str]) {
        let expected: String = blocks.iter().map(|block| self.text(block)).collect();
        assert_eq!(machine.read(file), expected, "{file}");
    }
}

#[test]
fn it_is_installed_in_the_form_that_each_place_wants_and_again_when_it_was_rolled() {
    let Some(machine) = machine(HTTPD) else { return };
    let authority = Authority::new();
    authority.roll(&machine, "20261101-10:00:00", "mail.example.com");
    machine.reseed(&["plan"]).exits(0).says(&format!("mod_ssl: install {KEY}, {CERTIFICATE}")).says(
        "it comes from manager:example.com/web-ec, which has CN = mail.example.com since 20261101-10:00:00",
    );
    machine.reseed(&["apply"]).exits(0);
    authority.is(&machine, KEY, &["leaf.key"]);
    authority.is(&machine, CERTIFICATE, &["leaf.crt", "issuing.crt"]);
    authority.is(&machine, COMBINED, &["leaf.key", "leaf.crt", "issuing.crt"]);
    for file in [CERTIFICATE, COMBINED] {
        authority.verifies(&machine.path(file), &machine.path(file));
    }
    let seen = machine.snapshot();
    assert_eq!(
        (seen.get(KEY).mode, seen.get(CERTIFICATE).mode, seen.get(COMBINED).mode),
        (0o600, 0o644, 0o640)
    );
    machine.reseed(&["apply"]).exits(0).says("Nothing to do");
    assert_eq!(machine.snapshot(), seen, "a second run changes nothing");
    machine
        .reseed(&["explain", COMBINED])
        .exits(0)
        .says("It comes from manager:example.com/web-ec")
        .says("installed from manager:example.com/web-ec for cyrus-imapd");
    machine.reseed(&["status"]).exits(0).says("comes from manager:example.com/web-ec").never_says("STALE");

    // An administrator's order, mode and parameters stay.
    let reordered = format!("{}{}", authority.text("leaf.crt"), authority.text("leaf.key"));
    machine.write(COMBINED, &reordered);
    machine.mode(COMBINED, 0o600);
    authority.roll(&machine, "20261102-10:00:00", "mail.example.com");
    machine.reseed(&["check"]).exits(3).says("since 20261102-10:00:00");
    machine.reseed(&["apply"]).exits(0);
    authority.is(&machine, COMBINED, &["leaf.crt", "issuing.crt", "leaf.key"]);
    authority.is(&machine, CERTIFICATE, &["leaf.crt", "issuing.crt"]);
    authority.is(&machine, KEY, &["leaf.key"]);
    assert_eq!(machine.snapshot().get(COMBINED).mode, 0o600);
    machine.reseed(&["rollback"]).exits(0);
    assert_eq!(machine.read(COMBINED), reordered);
}

#[test]
fn a_file_for_the_chain_alone_gets_it() {
    let httpd = HTTPD.replace("</V", &format!("SSLCertificateChainFile {CHAIN}\n</V"));
    let Some(machine) = machine(&httpd) else { return };
    let authority = Authority::new();
    machine.write(CHAIN, &authority.text("root.crt"));
    authority.roll(&machine, "20261101-10:00:00", "mail.example.com");
    machine.reseed(&["apply"]).exits(0);
    authority.is(&machine, CHAIN, &["issuing.crt"]);
    authority.verifies(&machine.path(CERTIFICATE), &machine.path(CHAIN));
    machine.reseed(&["apply"]).exits(0).says("Nothing to do");
    // Who signs himself has no use for it: without the manager the file is nobody's.
    machine.write("/etc/reseed/reseed.toml", "");
    machine.reseed(&["explain", CHAIN]).exits(0).says("No hook in force has this file");
}

#[test]
fn who_names_the_manager_asks_for_the_files_but_not_for_those_of_others() {
    let shop = HTTPD
        .replace("mail.example.com", "shop.example.net")
        .replace("localhost", "shop")
        .replace("Listen 443 https\n", "");
    let Some(machine) = machine(&format!("{HTTPD}{shop}")) else { return };
    let authority = Authority::new();
    for (name, file) in [("mail.example.com", "localhost"), ("shop.example.net", "shop")] {
        authority.issue("other", &format!("/CN={name}"), Some("root"), "CA:FALSE", &format!("DNS:{name}"));
        machine.write(&format!("/etc/pki/tls/certs/{file}.crt"), &authority.text("other.crt"));
        machine.write(&format!("/etc/pki/tls/private/{file}.key"), &authority.text("other.key"));
    }
    let customers = machine.read("/etc/pki/tls/certs/shop.crt");
    authority.roll(&machine, "20261101-10:00:00", "mail.example.com");
    let asks = "because manager:example.com/web-ec is named as its issuer, which asks for these files";
    machine.reseed(&["plan"]).exits(0).says(asks).says("shop.crt stays whose it is");
    machine.reseed(&["apply"]).exits(0);
    authority.is(&machine, CERTIFICATE, &["leaf.crt", "issuing.crt"]);
    assert_eq!(machine.read("/etc/pki/tls/certs/shop.crt"), customers);
    machine.reseed(&["apply", "--adopt", "/etc/pki/tls/certs/shop.crt"]).exits(0);
    authority.is(&machine, "/etc/pki/tls/certs/shop.crt", &["leaf.crt", "issuing.crt"]);
}

#[test]
fn what_does_not_fit_together_is_refused_with_its_reason() {
    let Some(machine) = machine(HTTPD) else { return };
    let authority = Authority::new();
    authority.roll(&machine, "20261101-10:00:00", "mail.example.com");
    machine.reseed(&["apply"]).exits(0);
    let there = [KEY, CERTIFICATE, COMBINED].map(|file| machine.read(file));
    authority.issue("stranger", "/CN=mail.example.com", Some("root"), "CA:FALSE", "DNS:mail.example.com");
    let (root, issuing) = (authority.text("root.crt"), authority.text("issuing.crt"));
    // name, file, what is in it, what is said
    let cases = [
        (
            "another key",
            "privkey.pem",
            authority.text("stranger.key"),
            "privkey.pem belongs to another certificate",
        ),
        ("another certificate", "cert.pem", authority.text("stranger.crt"), "belongs to another certificate"),
        ("no key", "privkey.pem", issuing.clone(), "privkey.pem holds no key"),
        ("no intermediate", "chain.pem", root.clone(), "issued by O = Example, CN = Issuing"),
        (
            "the wrong order",
            "chain.pem",
            format!("{root}{issuing}"),
            "chain.pem goes on with O = Example, CN = Root",
        ),
        ("no certificate", "cert.pem", String::new(), "cert.pem holds no certificate"),
    ];
    for (case, file, content, said) in cases {
        authority.roll(&machine, "20261102-10:00:00", "mail.example.com");
        machine.write(&format!("{SERVICE}/db/20261102-10:00:00/{file}"), &content);
        machine.reseed(&["apply"]).exits(0).says("left for later: it waits for manager:").says(said);
        machine.reseed(&["check"]).exits(3).says(said);
        assert_eq!([KEY, CERTIFICATE, COMBINED].map(|file| machine.read(file)), there, "{case}");
    }
    // A machine with another name wants another certificate; where it does not run, nobody can be asked.
    authority.roll(&machine, "20261102-10:00:00", "mail.example.com");
    machine.reseed(&["apply"]).exits(0);
    machine.rename("www.example.com");
    machine.reseed(&["apply"]).exits(0).says("it is asked for another one where this machine runs");
    authority.is(&machine, CERTIFICATE, &["leaf.crt", "issuing.crt"]);
    machine.write("/etc/reseed/reseed.toml", &SETTINGS.replace("web-ec\"\n", "web-ec\"\nstop-gap = true\n"));
    machine.reseed(&["apply"]).exits(0);
    assert_eq!(machine.certificate(CERTIFICATE).subject(), "CN=www.example.com");
    machine.reseed(&["check"]).exits(3).says("waits for manager:example.com/web-ec");
    authority.roll(&machine, "20261103-10:00:00", "www.example.com");
    machine.reseed(&["apply"]).exits(0);
    authority.is(&machine, COMBINED, &["leaf.key", "leaf.crt", "issuing.crt"]);
    machine.reseed(&["check"]).exits(0);
}

#[test]
fn a_hook_says_it_itself_and_is_checked() {
    let Some(machine) = machine(HTTPD) else { return };
    let hook = fs::read_to_string(support::here().join("../hooks.d/cyrus-imapd.toml")).unwrap();
    let with = |lines: &str| hook.replace("[[certificate]]\n", &format!("[[certificate]]\n{lines}"));
    for (case, lines, status, said) in [
        ("an issuer", "issuer = \"manager:example.com/web-ec\"\nstop-gap = true\n", 0, "well formed"),
        ("itself", "issuer = \"self\"\n", 0, "well formed"),
        ("nobody", "issuer = \"example.com/web-ec\"\n", 2, ":21:10: the issuer is \"self\" or"),
        ("an authority", "issuer = \"manager:ca/root\"\n", 2, ":21:10: ca/root is a certification authority"),
        ("out of the tree", "issuer = \"manager:../x\"\n", 2, ":21:10: \"..\" is no name"),
        ("a gap in nothing", "stop-gap = true\n", 2, ":21:12: a stop-gap is for"),
    ] {
        machine.write("/etc/reseed/hooks.d/cyrus-imapd.toml", &with(lines));
        let file = machine.path("/etc/reseed/hooks.d/cyrus-imapd.toml").display().to_string();
        let ran = machine.reseed(&["hook", "check", &file]);
        assert_eq!(ran.status, Some(status), "{case}: {}", ran.err);
        assert!(ran.out.contains(said) || ran.err.contains(said), "{case}: {}{}", ran.out, ran.err);
    }
    machine.write("/etc/reseed/hooks.d/cyrus-imapd.toml", &with("issuer = \"manager:example.com/web-ec\"\n"));
    machine.write("/etc/reseed/reseed.toml", "[manager]\ntopdir = \"/srv/manager\"\n");
    let authority = Authority::new();
    authority.roll(&machine, "20261101-10:00:00", "mail.example.com");
    machine.reseed(&["apply"]).exits(0).says("not configured: there is no /srv/manager/conf.d");
    assert_eq!(machine.certificate(CERTIFICATE).subject(), "CN=mail.example.com", "httpd's signs itself");
    machine.directory("/srv");
    fs::rename(machine.path("/etc/ssl-mgr"), machine.path("/srv/manager")).unwrap();
    machine.reseed(&["apply"]).exits(0);
    authority.is(&machine, COMBINED, &["leaf.key", "leaf.crt", "issuing.crt"]);
}
