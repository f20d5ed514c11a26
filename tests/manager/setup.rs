//! The layout of ssl-mgr's own-CA example, set up by the calls that its `make-ca` makes.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::site::{Site, openssl};
use crate::support::{RESEED, Ran, checked, has};

const ROOT: &str = "certs/ca/my-root/curr/cert.pem";
const SERVICES: [&str; 5] =
    ["ca/my-root", "ca/my-int", "example.com/web-self", "example.com/mail-self", "example.com/wild-self"];

fn has_tools() -> bool {
    ["openssl", "certtool", "curl", "gnutls-cli"].into_iter().all(has)
}

/// In the order of `make-ca`, then the rest.
fn set_up() -> Site {
    let site = Site::own_ca();
    for authority in ["ca:my-root", "ca:my-int"] {
        site.sslm(&format!("-renew {authority}")).exits(0).says("next is ");
        site.sslm(&format!("-f -roll {authority}")).exits(0).says("curr is ");
    }
    site.sslm("-renew").exits(0).says("example.com/web-self: next is ");
    site.sslm("-roll").exits(0).says("example.com/web-self: curr is ");
    site
}

#[test]
fn own_certificates_verify_and_serve() {
    if !has_tools() {
        return;
    }
    let site = set_up();
    for service in SERVICES {
        site.verifies(&format!("certs/{service}/curr"), ROOT);
    }
    for service in &SERVICES[2..] {
        let directory = site.path(&format!("certs/{service}/curr"));
        site.is_pair(&format!("certs/{service}/curr"));
        for purpose in ["sslserver", "sslclient"] {
            let mut verify = openssl("verify -x509_strict -verify_hostname example.com -purpose");
            verify.arg(purpose).arg("-CAfile").arg(site.path(ROOT));
            verify.arg("-untrusted").arg(directory.join("chain.pem"));
            checked(verify.arg(directory.join("cert.pem")));
        }
        let said = site.certificate(&format!("certs/{service}/curr/cert.pem"));
        assert!(!said.contains("Code Signing") && !said.contains("E-mail Protection"), "{said}");
    }
    pem_order(&site);
    layout(&site);
    // What servers read is what is served.
    let web = Served::new(&site, "etc/prod-certs/example.com/web-self/curr");
    let root = site.path(ROOT);
    assert_eq!(web.curl(&root, "www.example.com"), Ok(()));
    assert!(web.curl(&root, "mail.example.com").is_err(), "a name that is not in it");
    let stranger = site.path("stranger.pem");
    let make = "req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=x -keyout /dev/null -out";
    checked(openssl(make).arg(&stranger));
    assert!(web.curl(&stranger, "www.example.com").is_err(), "no anchor, no trust");
    assert!(web.gnutls(&root, "www.example.com").contains("- Status: The certificate is trusted."));
    assert!(!web.gnutls(&root, "mail.example.com").contains("- Status: The certificate is trusted."));
    let wild = Served::new(&site, "etc/prod-certs/example.com/wild-self/curr");
    assert_eq!(wild.curl(&root, "anything.example.com"), Ok(()));
}

/// Leaf, intermediate, root; a root's own stands once; the key of a bundle comes first.
fn pem_order(site: &Site) {
    let text = |service: &str, file: &str| site.text(&format!("certs/{service}/curr/{file}.pem"));
    let (root, intermediate) = (text("ca/my-root", "cert"), text("ca/my-int", "cert"));
    for service in SERVICES {
        let (key, certificate) = (text(service, "privkey"), text(service, "cert"));
        let chain = match service {
            "ca/my-root" | "ca/my-int" => root.clone(),
            _ => format!("{intermediate}{root}"),
        };
        let full = if chain == certificate { chain.clone() } else { format!("{certificate}{chain}") };
        assert_eq!(text(service, "chain"), chain, "{service}");
        assert_eq!(text(service, "fullchain"), full, "{service}");
        assert_eq!(text(service, "bundle"), format!("{key}{full}"), "{service}");
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n") && key.ends_with("-----\n"), "{service}");
        let request = checked(
            openssl("req -noout -verify -text -in").arg(site.path(&format!("certs/{service}/curr/csr.pem"))),
        );
        assert_eq!(request.contains("DNS:example.com"), service.starts_with("example.com/"), "{request}");
        let info = text_of_info(site, service);
        let name = service.split_once('/').unwrap().1;
        let moment = info.strip_prefix(&format!("# {name} rolled to curr : ")).unwrap().trim_end();
        assert!(moment.len() == 17 && moment.as_bytes()[8] == b'-', "{info}");
    }
}

fn text_of_info(site: &Site, service: &str) -> String {
    site.text(&format!("certs/{service}/curr/info"))
}

/// Every path with its mode, as ssl-mgr makes them; what is ours besides is marked.
fn layout(site: &Site) {
    let mut expected: BTreeSet<String> =
        ["0755 certs", "0755 etc", "0750 etc/prod-certs"].map(str::to_owned).into();
    for own in ["0700 .reseed", "0600 .reseed/lock", "0700 .reseed/journal", "0600 .reseed/pending.toml"] {
        expected.insert(own.to_owned());
    }
    expected.insert("0600 .reseed/published.toml".to_owned());
    expected.insert("0600 .reseed/runs.toml".to_owned());
    for authority in ["my-root", "my-int"] {
        expected.insert(format!("0600 certs/ca/{authority}/issued.jsonl"));
    }
    for group in ["ca", "example.com"] {
        expected.insert(format!("0750 certs/{group}"));
        expected.insert(format!("0755 etc/prod-certs/{group}"));
    }
    expected.insert("0644 certs/example.com/tlsa.example.com".to_owned());
    expected.insert("0644 etc/prod-certs/example.com/tlsa.example.com".to_owned());
    for service in SERVICES {
        let version = site.link(&format!("certs/{service}/curr"));
        let date = version.strip_prefix("db/").unwrap();
        assert!(date.len() == 17, "{version}");
        expected.insert(format!("0755 certs/{service}"));
        expected.insert(format!("0750 certs/{service}/db"));
        expected.insert(format!("link certs/{service}/curr"));
        expected.insert(format!("0750 certs/{service}/{version}"));
        expected.insert(format!("0750 etc/prod-certs/{service}"));
        expected.insert(format!("0750 etc/prod-certs/{service}/curr"));
        let open = ["csr.pem", "cert.pem", "chain.pem", "fullchain.pem", "info"];
        let records = (service == "example.com/mail-self").then_some("tlsa.rr");
        for file in open.into_iter().chain(records) {
            expected.insert(format!("0644 certs/{service}/{version}/{file}"));
            expected.insert(format!("0644 etc/prod-certs/{service}/curr/{file}"));
        }
        expected.insert(format!("0644 certs/{service}/{version}/issue.toml"));
        for secret in ["privkey.pem", "bundle.pem"] {
            expected.insert(format!("0600 certs/{service}/{version}/{secret}"));
            // Keys of authorities leave the state tree for nowhere.
            if !service.starts_with("ca/") {
                expected.insert(format!("0600 etc/prod-certs/{service}/curr/{secret}"));
            }
        }
    }
    let mut found = BTreeSet::new();
    for top in [".reseed", "certs", "etc"] {
        for entry in walkdir::WalkDir::new(site.path(top)).into_iter().map(Result::unwrap) {
            let path = entry.path().strip_prefix(site.top()).unwrap().display().to_string();
            let meta = fs::symlink_metadata(entry.path()).unwrap();
            let mode = meta.permissions().mode() & 0o7777;
            found.insert(if meta.is_symlink() {
                format!("link {path}")
            } else {
                format!("{mode:04o} {path}")
            });
        }
    }
    let (missing, surplus): (Vec<_>, Vec<_>) =
        (expected.difference(&found).collect(), found.difference(&expected).collect());
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}, surplus {surplus:#?}");
    for service in SERVICES {
        for file in ["cert.pem", "fullchain.pem", "info"] {
            let (state, live) =
                (format!("certs/{service}/curr/{file}"), format!("etc/prod-certs/{service}/curr/{file}"));
            assert_eq!(site.text(&state), site.text(&live));
        }
    }
}

/// ssl-mgr signs leaves before there is an authority, and ends with a traceback.
#[test]
fn plain_renewal_of_a_fresh_tree_makes_authorities_first() {
    if !has_tools() {
        return;
    }
    let site = Site::own_ca();
    let ran = site.sslm("-renew");
    ran.exits(0);
    for service in SERVICES {
        ran.says(&format!("{service}: next is "));
        assert!(!site.has(&format!("certs/{service}/curr")), "{service}");
        site.verifies(&format!("certs/{service}/next"), "certs/ca/my-root/next/cert.pem");
    }
    let before = site.snapshot();
    let again = site.sslm("-renew");
    again.exits(0).never_says("next is ");
    assert_eq!(site.changed(&before), BTreeSet::new(), "nothing is left to be done");
    let ran = site.sslm("-roll");
    ran.exits(0);
    for service in SERVICES {
        ran.says(&format!("{service}: curr is "));
        site.verifies(&format!("certs/{service}/curr"), ROOT);
        assert!(!site.has(&format!("certs/{service}/next")), "{service}");
    }
}

/// One line of dashes and the name of each group, two blanks and the name of each service, then the lines of
/// ssl-mgr for each version, and ours.
#[test]
fn status_has_the_lines_of_ssl_mgr() {
    if !has("openssl") {
        return;
    }
    let site = set_up();
    site.sslm("-f -renew example.com:web-self").exits(0);
    let said = site.sslm("-s -v example.com:web-self");
    said.exits(0);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(
        lines[0].chars().all(|c| c == '-') && lines[1] == "example.com" && lines[2] == "  web-self",
        "{}",
        said.out
    );
    let end = date(&site, "certs/example.com/web-self/curr/cert.pem", "-enddate");
    let start = date(&site, "certs/example.com/web-self/curr/cert.pem", "-startdate");
    let shapes = [
        format!("         curr         : expires: {end} UTC (1824d ??:??:??)"),
        format!("                      : issued : {start} UTC (   0d ??:??:?? ago) (1825 day cert)"),
        "               issuer : CN=Example Intermediate O=Example Limited".to_owned(),
        "              subject : CN=example.com O=Example Limited".to_owned(),
        "               pubkey : pubkey-secp256r1".to_owned(),
        "                 sans : [example.com, www.example.com, 192.0.2.80, 2001:db8::80]".to_owned(),
        "             sig_algo : ecdsa-with-SHA384".to_owned(),
    ];
    for (line, shape) in lines[3..].iter().zip(&shapes) {
        let same =
            line.len() == shape.len() && line.chars().zip(shape.chars()).all(|(a, b)| a == b || b == '?');
        assert!(same, "{line:?} is not {shape:?}:\n{}", said.out);
    }
    assert!(lines[10].starts_with("         next         : expires: "), "{}", said.out);
    said.says("waits to be rolled");
    let json = site.manager("status --json").exits(0).json();
    assert_eq!(json["services"].as_array().unwrap().len(), SERVICES.len());
    // On a terminal, a line for each.
    let command = format!("{RESEED} manager --topdir {} status", site.top().display());
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &format!("stty cols 200; {command}"), "/dev/null"]).stdin(Stdio::null());
    let table = Ran::of("status on a terminal", &mut terminal);
    table.exits(0).says("SERVED UNTIL").says("next waits to be rolled");
    let web = table.out.lines().find(|line| line.contains("example.com/web-self"));
    assert!(web.is_some_and(|line| line.contains("1824 d")), "{}", table.out);
    assert_eq!(json["services"][2]["versions"][0]["key"], "secp256r1");
    // The others have a length that each kind of key has.
    for (service, key) in [("ca:my-root", "secp384r1"), ("example.com:mail-self", "secp384r1")] {
        site.sslm(&format!("-s {service}")).says(&format!("               pubkey : pubkey-{key}\n"));
    }
}

fn date(site: &Site, path: &str, option: &str) -> String {
    let said = checked(openssl("x509 -noout -dateopt iso_8601").arg(option).arg("-in").arg(site.path(path)));
    said.trim().split_once('=').unwrap().1.trim_end_matches('Z').to_owned()
}

/// OpenSSL's server with the files of a directory, ended when it is dropped.
struct Served {
    server: Child,
    port: u16,
}

impl Served {
    fn new(site: &Site, directory: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = site.path(directory);
        let server = Command::new("openssl")
            .args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-cert"])
            .arg(directory.join("cert.pem"))
            .arg("-cert_chain")
            .arg(directory.join("fullchain.pem"))
            .arg("-key")
            .arg(directory.join("privkey.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "openssl s_server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { server, port }
    }

    /// A page, fetched with this anchor alone; else what curl says.
    fn curl(&self, anchor: &Path, name: &str) -> Result<(), String> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "30", "--output", "/dev/null", "--cacert"])
            .arg(anchor)
            .args(["--resolve", &format!("{name}:{}:127.0.0.1", self.port)])
            .arg(format!("https://{name}:{}/", self.port))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// What GnuTLS says of it.
    fn gnutls(&self, anchor: &Path, name: &str) -> String {
        let output = Command::new("gnutls-cli")
            .arg("--x509cafile")
            .arg(anchor)
            .args(["--verify-hostname", name, "--port", &self.port.to_string(), "127.0.0.1"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
