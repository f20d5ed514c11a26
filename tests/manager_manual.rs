//! A certificate that somebody else signs: the request that goes out, and everything that comes back, right and
//! wrong. Who signs is played by openssl; every chain is verified by it, with the root alone.
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
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Machine, Ran, checked};

const SERVICE: &str = "/etc/ssl-mgr/certs/example.com/web";
const NAMES: &[&str] = &["www.example.com", "example.com"];

const SITE: &str = "[globals]\nprod_cert_dir = \"/srv/certs\"\nmin_roll_mins = 0\n\
    [[groups]]\ndomain = \"example.com\"\nservices = [\"web\", \"own\"]\nactive = true\n";
const AUTHORITIES: &str = "[bought]\nca_desc = \"Bought\"\nca_type = \"manual\"\n";

fn service(name: &str, signer: &str, names: &[&str]) -> String {
    format!(
        "name = \"A test\"\ngroup = \"example.com\"\nservice = \"{name}\"\nsigning_ca = \"{signer}\"\n\
         [KeyOpts]\nktype = \"ec\"\nec_algo = \"secp256r1\"\n[X509]\nCN = \"{}\"\nO = \"Example\"\nC = \"US\"\n\
         sans = {names:?}\n",
        names[0]
    )
}

/// A site with a service whose certificate is bought, and one that signs itself.
struct Site {
    machine: Machine,
    authority: Authority,
}

impl Site {
    fn new() -> Option<Self> {
        if !support::has("openssl") {
            return None;
        }
        let machine = Machine::bare("www.example.com");
        machine.write("/etc/ssl-mgr/conf.d/ssl-mgr.conf", SITE);
        machine.write("/etc/ssl-mgr/conf.d/ca-info.conf", AUTHORITIES);
        machine.write("/etc/ssl-mgr/conf.d/example.com/web", &service("web", "bought", NAMES));
        machine.write("/etc/ssl-mgr/conf.d/example.com/own", &service("own", "self", &["own.example.com"]));
        Some(Self { machine, authority: Authority::new() })
    }

    fn manager(&self, arguments: &[&str]) -> Ran {
        self.machine.reseed(&[&["manager"], arguments].concat())
    }

    /// Imports; what is a file of the authority's is meant by its name.
    fn import(&self, arguments: &[&str]) -> Ran {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| match self.authority.path(argument).is_file() {
                true => self.authority.path(argument).display().to_string(),
                false => (*argument).to_owned(),
            })
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.manager(&[&["import"], arguments.as_slice()].concat())
    }

    /// Has a request made and puts it where the authority finds it.
    fn request(&self, name: &str, options: &[&str]) {
        let file = self.authority.path(name);
        let arguments =
            [&["csr", "--output", file.to_str().unwrap()], options, &["example.com/web"]].concat();
        self.manager(&arguments).exits(0);
    }

    fn versions(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.machine.path(&format!("{SERVICE}/db")))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn link(&self, link: &str) -> Option<String> {
        let target = fs::read_link(self.machine.path(&format!("{SERVICE}/{link}"))).ok()?;
        Some(target.to_str().unwrap().to_owned())
    }

    /// `next` is what openssl takes with the root alone, its key fits, and each file holds what it should.
    #[track_caller]
    fn next_is(&self, certificate: &str, chain: &[&str]) {
        let file = |name: &str| self.machine.read(&format!("{SERVICE}/next/{name}"));
        let certificate = self.authority.text(certificate);
        let chain: String = chain.iter().map(|name| self.authority.text(name)).collect();
        assert_eq!(file("cert.pem"), certificate);
        assert_eq!(file("chain.pem"), chain);
        assert_eq!(file("fullchain.pem"), format!("{certificate}{chain}"));
        assert_eq!(file("bundle.pem"), format!("{}{certificate}{chain}", file("privkey.pem")));
        let path = |name: &str| self.machine.path(&format!("{SERVICE}/next/{name}"));
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-purpose", "sslserver", "-verify_hostname", "www.example.com", "-CAfile"]);
        verify.arg(self.authority.path("root.crt"));
        checked(verify.arg("-untrusted").arg(path("fullchain.pem")).arg(path("fullchain.pem")));
        let public = |kind: &str, option: &str, name: &str| {
            checked(Command::new("openssl").args([kind, option, "-noout", "-in"]).arg(path(name)))
        };
        let of_certificate = public("x509", "-pubkey", "cert.pem");
        let of_key =
            checked(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(path("privkey.pem")));
        assert_eq!(of_certificate, of_key);
        assert_eq!(public("req", "-pubkey", "csr.pem"), of_key);
        let mode = |name: &str| self.machine.snapshot().get(&resolved(&path(name), &self.machine)).mode;
        assert_eq!((mode("privkey.pem"), mode("bundle.pem"), mode("cert.pem")), (0o600, 0o600, 0o644));
    }
}

fn resolved(path: &Path, machine: &Machine) -> String {
    let root = fs::canonicalize(machine.root()).unwrap();
    format!("/{}", fs::canonicalize(path).unwrap().strip_prefix(root).unwrap().display())
}

/// Who is paid for certificates: a root, an intermediate, one below that, and a stranger.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(support::scratch());
        authority.own("root", None, "CA:TRUE");
        authority.own("upper", Some("root"), "CA:TRUE,pathlen:1");
        authority.own("lower", Some("upper"), "CA:TRUE,pathlen:0");
        authority.own("stranger", None, "CA:TRUE");
        authority
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn write(&self, file: &str, parts: &[&str]) {
        let text: String = parts.iter().map(|part| self.text(part)).collect();
        fs::write(self.path(file), text).unwrap();
    }

    /// Runs openssl in the authority's directory.
    fn openssl(&self, arguments: &str) {
        checked(Command::new("openssl").current_dir(self.0.path()).args(arguments.split(' ')));
    }

    fn own(&self, name: &str, by: Option<&str>, constraints: &str) {
        let by = by.map(|by| format!(" -CA {by}.crt -CAkey {by}.key")).unwrap_or_default();
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 900 -subj /O=Trust/CN={name} \
             -addext basicConstraints=critical,{constraints} -addext keyUsage=critical,keyCertSign,cRLSign \
             -keyout {name}.key -out {name}.crt{by}"
        ));
    }

    /// Signs a request for these names.
    fn sign(&self, request: &str, by: &str, out: &str, names: &[&str], days: u32) {
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let extensions = format!(
            "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName={}\n\
             authorityInfoAccess=caIssuers;URI:http://ca.example.net/{by}.cer\n",
            names.join(",")
        );
        fs::write(self.path("extensions"), extensions).unwrap();
        self.openssl(&format!(
            "x509 -req -in {request} -CA {by}.crt -CAkey {by}.key -days {days} -extfile extensions -out {out}"
        ));
    }
}

#[test]
fn a_request_is_made_once_and_kept_until_the_answer_comes() {
    let Some(site) = Site::new() else { return };
    site.manager(&["renew"]).exits(0).says("it is signed by hand: `reseed manager csr example.com/web`");
    let first = site.manager(&["csr", "example.com/web"]);
    first
        .exits(0)
        .says("-----BEGIN CERTIFICATE REQUEST-----")
        .complains("the request was made: /etc/ssl-mgr");
    assert!(first.out.starts_with("-----BEGIN"), "it can be piped: {}", first.out);
    fs::write(site.authority.path("request.pem"), &first.out).unwrap();
    let asked = checked(
        Command::new("openssl")
            .args(["req", "-verify", "-noout", "-text", "-in"])
            .arg(site.authority.path("request.pem")),
    );
    for wanted in
        ["C = US, O = Example, CN = www.example.com", "DNS:www.example.com, DNS:example.com", "P-256"]
    {
        assert!(asked.contains(wanted), "{wanted}: {asked}");
    }
    let [version] = &site.versions()[..] else { panic!("one version") };
    let files = site.machine.snapshot();
    let directory = format!("{SERVICE}/db/{version}");
    let there: Vec<&str> =
        files.paths().filter_map(|path| path.strip_prefix(&format!("{directory}/"))).collect();
    assert_eq!(there, ["csr.pem", "issue.toml", "privkey.pem"]);
    assert_eq!(files.get(&format!("{directory}/privkey.pem")).mode, 0o600);
    assert!(["curr", "next", "prev"].iter().all(|link| site.link(link).is_none()), "nothing leads to it");

    let again = site.manager(&["csr", "example.com/web"]);
    again.exits(0).complains("the request waits for an answer");
    assert_eq!(again.out, first.out);
    site.manager(&["status", "example.com"]).exits(0).says("request: waits for an answer").says("csr.pem");
    site.manager(&["renew"]).exits(0).says("waits for an answer, for `reseed manager import`");
    let status = site.manager(&["status", "--json", "example.com/web"]).json();
    assert_eq!(status["services"][0]["requests"][0]["path"], format!("{directory}/csr.pem"));
    site.manager(&["clean", "--keep", "1"]).exits(0);
    assert_eq!(site.versions().len(), 1, "what waits is not cleaned away");

    // Another configuration wants another request; the old one may still be answered.
    let more = service("web", "bought", &["www.example.com", "example.com", "shop.example.com"]);
    site.machine.write("/etc/ssl-mgr/conf.d/example.com/web", &more);
    let other = site.manager(&["csr", "example.com/web"]);
    other.exits(0).complains("the request was made").complains("another one waits, too");
    assert_ne!(other.out, first.out);
    assert_eq!(site.manager(&["csr", "example.com/web"]).out, other.out);
    assert_ne!(site.manager(&["csr", "--force", "example.com/web"]).out, other.out);
    assert_eq!(site.versions().len(), 3);

    let key = site.machine.path(&format!("{directory}/privkey.pem")).display().to_string();
    for (case, arguments, said) in [
        ("who signs himself", &["csr", "example.com/own"][..], "is signed by itself and not by hand"),
        ("a group", &["csr", "example.com"], "is not one service"),
        ("nobody", &["csr", "example.com/wbe"], "did you mean \"web\"?"),
        ("no key yet", &["csr", "--reuse-key", "example.com/web"], "has no curr whose key"),
        (
            "over a key",
            &["csr", "--output", &key, "example.com/web"],
            "privkey.pem is there and is no request",
        ),
    ] {
        let ran = site.manager(arguments);
        assert_eq!(ran.status, Some(2), "{case}: {}", ran.err);
        ran.complains(said);
    }
}

#[test]
fn every_encoding_is_taken() {
    let Some(site) = Site::new() else { return };
    site.request("request.pem", &[]);
    let authority = &site.authority;
    authority.sign("request.pem", "lower", "web.crt", NAMES, 90);
    authority.write("all.pem", &["web.crt", "lower.crt", "upper.crt"]);
    authority.openssl("x509 -in web.crt -text -out text.pem");
    fs::write(
        authority.path("mail.txt"),
        format!("Dear customer,\r\n\r\n{}\r\nRegards\r\n", authority.text("all.pem").replace('\n', "\r\n")),
    )
    .unwrap();
    for name in ["web", "lower", "upper"] {
        authority.openssl(&format!("x509 -in {name}.crt -outform DER -out {name}.der"));
    }
    authority.openssl("crl2pkcs7 -nocrl -certfile all.pem -out all.p7b");
    authority.openssl("crl2pkcs7 -nocrl -certfile all.pem -outform DER -out all.p7c");
    for (case, files) in [
        ("one file", &["all.pem"][..]),
        ("PEM with text", &["text.pem", "lower.crt", "upper.crt"]),
        ("a mail", &["mail.txt"]),
        ("files the other way round", &["upper.crt", "lower.crt", "web.crt"]),
        ("DER", &["web.der", "upper.der", "lower.der"]),
        ("PKCS#7, PEM", &["all.p7b"]),
        ("PKCS#7, DER", &["all.p7c"]),
        ("the certificate alone, its issuers in a bag", &["web.der", "all.p7b"]),
    ] {
        // As if it had never been imported.
        let _ = fs::remove_file(site.machine.path(&format!("{SERVICE}/next")));
        let ran = site.import(files);
        assert_eq!(ran.status, Some(0), "{case}: {}{}", ran.out, ran.err);
        ran.says("example.com/web: next is 2").says("signed by O = Trust, CN = lower, serial ");
        ran.says("its issuer O = Trust, CN = root did not come")
            .never_says("left out")
            .never_says("in order");
        site.next_is("web.crt", &["lower.crt", "upper.crt"]);
    }
}

/// The story that the certificate manager owes its part to: each mistake in it, then the right file.
#[test]
fn five_mistakes_and_the_right_file() {
    let Some(site) = Site::new() else { return };
    let authority = &site.authority;
    site.request("request.pem", &[]);
    authority.sign("request.pem", "lower", "web.crt", NAMES, 90);
    // Made by hand from a key that somebody found in another directory.
    authority.openssl("req -newkey rsa:2048 -nodes -subj /CN=www.example.com -keyout old.key -out old.csr");
    authority.sign("old.csr", "lower", "old.crt", NAMES, 90);
    authority.write("combined.pem", &["old.key", "old.crt", "lower.crt", "upper.crt"]);
    authority.write("issuers.pem", &["lower.crt", "upper.crt"]);
    authority.write("turned.pem", &["root.crt", "upper.crt", "lower.crt", "web.crt"]);
    let before = site.machine.snapshot();
    let waiting = format!("the request of example.com/web that waits for an answer is {SERVICE}/db/");
    let own = site.versions()[0].clone();
    // Case, what is imported, what is said.
    let cases: [(&str, &[&str], &[&str]); 11] = [
        ("the wrong key", &["old.crt", "issuers.pem"], &["is of a key that no service here has", &waiting]),
        ("the wrong key, brought along", &["combined.pem"], &["keys are not imported", &waiting]),
        ("the wrong file: a key", &["old.key"], &["old.key holds a private key, of a key that no service"]),
        (
            "the wrong file: the request",
            &["request.pem"],
            &["holds a request, of the key of example.com/web", "import what that sends back"],
        ),
        ("the wrong file: words", &["extensions"], &["holds no certificate that can be read"]),
        ("the wrong file: issuers alone", &["issuers.pem"], &["authorities' certificates only"]),
        (
            "no intermediate",
            &["web.crt"],
            &[
                "the issuer of C = US, O = Example, CN = www.example.com is missing: O = Trust, CN = lower",
                "it is published at http://ca.example.net/lower.cer",
            ],
        ),
        ("the root in its place", &["web.crt", "root.crt"], &["is missing: O = Trust, CN = lower"]),
        (
            "an intermediate too few, as the root tells",
            &["--anchor", "root.crt", "web.crt", "lower.crt"],
            &["the issuer of O = Trust, CN = lower is missing: O = Trust, CN = upper"],
        ),
        (
            "another root than is trusted",
            &["--anchor", "stranger.crt", "turned.pem"],
            &["without it there is no way to the root of --anchor"],
        ),
        (
            "another service",
            &["--service", "example.com/own", "web.crt"],
            &["is signed by itself and not by hand"],
        ),
    ];
    for (case, files, said) in cases {
        let ran = site.import(files);
        assert!(matches!(ran.status, Some(1 | 2)), "{case}: {:?} {}{}", ran.status, ran.out, ran.err);
        for words in said {
            let text = format!("{}{}", ran.out, ran.err);
            assert!(text.contains(words), "{case}: {words:?} is not in:\n{text}");
        }
        assert_eq!(site.versions(), std::slice::from_ref(&own), "{case}");
        assert_eq!(site.link("next"), None, "{case}");
    }
    let changed: Vec<String> = before.changed(&site.machine.snapshot()).into_iter().collect();
    assert!(changed.iter().all(|path| path.starts_with("/etc/ssl-mgr/.reseed")), "{changed:?}");

    // The last two are put right: the root goes, the order is made.
    let ran = site.import(&["--anchor", "root.crt", "turned.pem"]);
    ran.exits(0)
        .says("turned.pem was put in order")
        .says("CN = root was left out of the chain: it is the root");
    site.next_is("web.crt", &["lower.crt", "upper.crt"]);
    assert!(!site.versions().contains(&own), "the request is answered");
    site.manager(&["status", "example.com/web"]).exits(0).never_says("waits for an answer");

    // Twice is once.
    let settled = site.machine.snapshot();
    for files in [&["turned.pem"][..], &["web.crt", "issuers.pem"]] {
        site.import(files).exits(0).says("this certificate with its chain is next already");
    }
    let changed: Vec<String> = settled.changed(&site.machine.snapshot()).into_iter().collect();
    assert!(changed.iter().all(|path| path.starts_with("/etc/ssl-mgr/.reseed")), "{changed:?}");
    site.manager(&["roll", "--force", "example.com/web"]).exits(0).says("example.com/web: curr is");
    assert_eq!(
        site.machine.read("/srv/certs/example.com/web/curr/fullchain.pem"),
        format!("{}{}", authority.text("web.crt"), authority.text("issuers.pem"))
    );
    site.import(&["turned.pem"]).exits(0).says("is curr already");
    assert_eq!(site.link("next"), None);
}

#[test]
fn what_cannot_be_served_is_refused() {
    let Some(site) = Site::new() else { return };
    let authority = &site.authority;
    site.request("request.pem", &[]);
    authority.sign("request.pem", "lower", "expired.crt", NAMES, 0);
    authority.sign("request.pem", "lower", "names.crt", &["www.example.com", "mail.example.com"], 90);
    authority.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout x.key -subj /CN=x -out x.crt",
    );
    let version = site.versions()[0].clone();
    let key = site.machine.path(&format!("{SERVICE}/db/{version}/privkey.pem"));
    fs::copy(key, authority.path("ours.key")).unwrap();
    authority.openssl("req -x509 -key ours.key -subj /CN=www.example.com -addext subjectAltName=DNS:www.example.com -out self.crt");
    fs::write(
        authority.path("client"),
        "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:*.example.com,DNS:example.com\n",
    )
    .unwrap();
    authority
        .openssl("x509 -req -in request.pem -CA lower.crt -CAkey lower.key -extfile client -out client.crt");
    fs::write(
        authority.path("ca"),
        "basicConstraints=CA:TRUE\nsubjectAltName=DNS:www.example.com,DNS:example.com\n",
    )
    .unwrap();
    authority
        .openssl("x509 -req -in request.pem -CA upper.crt -CAkey upper.key -extfile ca -out authority.crt");
    authority.own("lower2", Some("upper"), "CA:TRUE,pathlen:0");
    authority.write("renamed.pem", &["lower2.crt"]);
    let cases: [(&str, &[&str], &str); 6] = [
        ("expired", &["expired.crt", "lower.crt", "upper.crt"], "has expired on 2"),
        (
            "other names",
            &["names.crt", "lower.crt", "upper.crt"],
            "is for mail.example.com, www.example.com, but not for example.com, which the service's file names",
        ),
        ("signed by itself", &["self.crt"], "has signed itself"),
        ("for clients", &["client.crt", "lower.crt", "upper.crt"], "may not be used by a server"),
        ("an authority", &["authority.crt", "upper.crt"], "is an authority's, not a server's"),
        ("another intermediate", &["names.crt", "renamed.pem"], "is missing: O = Trust, CN = lower"),
    ];
    for (case, files, said) in cases {
        let ran = site.import(files);
        assert_eq!(ran.status, Some(1), "{case}: {}{}", ran.out, ran.err);
        assert!(
            ran.out.contains("example.com/web: failed, and is as it was"),
            "{case}: {}{}",
            ran.out,
            ran.err
        );
        assert!(ran.out.contains(said), "{case}: {}{}", ran.out, ran.err);
        assert_eq!((site.versions().len(), site.link("next")), (1, None), "{case}");
    }
    // A wildcard is for the names beneath it; what is for nobody here is named and left out.
    authority.sign("request.pem", "lower", "wild.crt", &["*.example.com", "example.com"], 90);
    let ran = site.import(&["stranger.crt", "wild.crt", "expired.crt", "lower.crt", "upper.crt"]);
    ran.exits(0).says("CN = stranger was left out: it does not belong here").says("of several certificates");
    site.next_is("wild.crt", &["lower.crt", "upper.crt"]);
    // It is as good as one with the names themselves.
    site.manager(&["roll", "--force", "example.com/web"]).exits(0);
    site.manager(&["renew", "example.com/web"]).exits(0).never_says("csr");
    let more = service("web", "bought", &["www.example.com", "example.com", "a.b.example.com"]);
    site.machine.write("/etc/ssl-mgr/conf.d/example.com/web", &more);
    site.manager(&["renew", "example.com/web"])
        .exits(0)
        .says("names")
        .says("`reseed manager csr example.com/web`");
}

#[test]
fn an_older_key_is_found_and_a_reused_one_too() {
    let Some(site) = Site::new() else { return };
    let authority = &site.authority;
    site.request("first.pem", &[]);
    site.request("second.pem", &["--force"]);
    for (request, certificate) in [("first.pem", "first.crt"), ("second.pem", "second.crt")] {
        authority.sign(request, "lower", certificate, NAMES, 90);
    }
    // The request before the last one is answered.
    site.import(&["first.crt", "lower.crt", "upper.crt"]).exits(0);
    site.next_is("first.crt", &["lower.crt", "upper.crt"]);
    site.manager(&["roll", "--force", "example.com/web"]).exits(0);
    // Then the other one after all.
    site.import(&["second.crt", "lower.crt", "upper.crt"]).exits(0);
    site.next_is("second.crt", &["lower.crt", "upper.crt"]);
    site.manager(&["roll", "--force", "example.com/web"]).exits(0);
    assert_eq!(site.versions().len(), 2, "two versions, no request");

    // A new certificate for the key that is served.
    site.request("reused.pem", &["--reuse-key"]);
    site.request("own.pem", &[]);
    assert_ne!(authority.text("reused.pem"), authority.text("own.pem"), "a key of its own");
    site.request("again.pem", &["--reuse-key"]);
    assert_eq!(authority.text("reused.pem"), authority.text("again.pem"));
    authority.sign("reused.pem", "lower", "third.crt", NAMES, 60);
    let ran = site.import(&["third.crt", "lower.crt", "upper.crt"]);
    ran.exits(0).says("with the same key").says("it ends before the one that is served now");
    site.next_is("third.crt", &["lower.crt", "upper.crt"]);
    site.manager(&["roll", "--force", "example.com/web"]).exits(0);

    // And once more the one that was before: it is prev's key by now.
    site.import(&["second.crt", "lower.crt", "upper.crt"]).exits(0).says("next is");
    site.next_is("second.crt", &["lower.crt", "upper.crt"]);
}

#[test]
fn a_root_that_signs_itself_what_it_sells_has_to_be_named() {
    let Some(site) = Site::new() else { return };
    site.request("request.pem", &[]);
    site.authority.sign("request.pem", "root", "web.crt", NAMES, 90);
    site.import(&["web.crt"]).exits(1).says("if it is a root, name it by --anchor FILE");
    let ran = site.import(&["--anchor", "root.crt", "web.crt"]);
    ran.exits(0).never_says("left out");
    site.next_is("web.crt", &[]);
    let ran = site.import(&["web.crt", "root.crt"]);
    ran.exits(0).says("is next already");
    site.manager(&["roll", "--force", "example.com/web"]).exits(0);
    assert_eq!(
        site.machine.read("/srv/certs/example.com/web/curr/fullchain.pem"),
        site.authority.text("web.crt")
    );
}

/// Whoever dies between two files leaves the key whole: what is there is listed after each half.
#[test]
fn what_an_interrupted_import_leaves_is_in_nobodys_way() {
    let Some(site) = Site::new() else { return };
    let authority = &site.authority;
    site.request("request.pem", &[]);
    authority.sign("request.pem", "lower", "web.crt", NAMES, 90);
    let request = site.versions()[0].clone();
    // A version that was begun and not linked: a certificate, half a chain, half a key.
    let half = format!("{SERVICE}/db/20990101-00:00:00");
    site.machine.write(&format!("{half}/cert.pem"), &authority.text("web.crt"));
    site.machine.write(&format!("{half}/privkey.pem"), "-----BEGIN PRIVATE KEY-----\nMIGH");
    site.manager(&["status", "example.com/web"]).exits(0).says("waits for an answer");
    let shown = site.manager(&["csr", "example.com/web"]);
    shown.exits(0);
    assert_eq!(shown.out, authority.text("request.pem"));
    let ran = site.import(&["web.crt", "lower.crt", "upper.crt"]);
    ran.exits(0).says("20990101-00:00:00");
    site.next_is("web.crt", &["lower.crt", "upper.crt"]);
    assert!(!site.versions().contains(&request));
    // Nor is a request that was begun and is not whole taken for one.
    site.machine.write(&format!("{SERVICE}/db/20990201-00:00:00/csr.pem"), &authority.text("request.pem"));
    site.manager(&["status", "example.com/web"]).exits(0).never_says("waits for an answer");
    site.manager(&["clean", "--keep", "1"]).exits(0).says("removed: 20990101-00:00:00");
}
