//! The tools of `reseed manager`, on files that OpenSSL made.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory of files; nothing where OpenSSL is not installed.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            assert!(std::env::var_os("RESEED_TESTS_REQUIRE_ALL").is_none(), "install openssl");
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
    }

    /// Runs OpenSSL here; the words of a command are parted by blanks.
    fn openssl(&self, line: &str) {
        let done = Command::new("openssl").args(line.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(done.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Runs our program here.
    fn manager(&self, line: &str) -> Said {
        self.with_input(line, b"")
    }

    fn with_input(&self, line: &str, input: &[u8]) -> Said {
        let mut program = Command::new(env!("CARGO_BIN_EXE_reseed"))
            .arg("manager")
            .args(line.split(' '))
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        program.stdin.take().unwrap().write_all(input).unwrap();
        let done = program.wait_with_output().unwrap();
        let text = |octets| String::from_utf8(octets).unwrap();
        let said =
            Said { status: done.status.code().unwrap(), out: text(done.stdout), error: text(done.stderr) };
        assert!(!said.error.contains("panicked"), "{line}: {said:?}");
        said
    }
}

#[derive(Debug)]
struct Said {
    status: i32,
    out: String,
    error: String,
}

impl Said {
    fn shows(&self, status: i32, needles: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        for needle in needles {
            assert!(self.out.contains(needle) || self.error.contains(needle), "no {needle:?} in {self:?}");
        }
    }
}

/// Files of every kind, each with what is to be said of it.
fn kinds(scene: &Scene) -> Vec<(&'static str, Vec<String>)> {
    let pkey = |name: &str, options: &str| {
        scene.openssl(&format!("genpkey -out {name}.key {options}"));
        scene.openssl(&format!("pkey -in {name}.key -pubout -out {name}.pub"));
    };
    pkey("ec", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384");
    pkey("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    pkey("ed25519", "-algorithm ED25519");
    pkey("ed448", "-algorithm ED448");
    pkey("x448", "-algorithm X448");
    pkey("dh", "-algorithm DH -pkeyopt group:ffdhe2048");
    scene.openssl("dsaparam -out dsa.params 2048");
    scene.openssl("gendsa -out dsa.key dsa.params");
    scene.openssl("pkey -in dsa.key -pubout -out dsa.pub");
    scene.openssl("ecparam -name secp521r1 -genkey -out curve-first.key");
    scene.openssl("rsa -in rsa.key -traditional -out rsa-old.key");
    scene.openssl("rsa -in rsa.key -RSAPublicKey_out -out rsa-old.pub");
    scene.openssl("pkey -in rsa.key -aes256 -passout pass:secret -out locked.key");
    scene.openssl("rsa -in rsa.key -traditional -aes128 -passout pass:secret -out locked-old.key");
    scene.openssl("genpkey -genparam -algorithm DH -pkeyopt group:ffdhe3072 -out dh.params");
    scene.openssl("req -new -key ec.key -subj /CN=www.example.com -addext subjectAltName=DNS:www.example.com -out csr.pem");
    scene.openssl(
        "req -x509 -key ec.key -days 30 -out cert.pem -subj /C=US/O=Example/CN=www.example.com \
         -addext subjectAltName=DNS:www.example.com,DNS:*.example.com,IP:192.0.2.7,IP:2001:db8::7",
    );
    scene.openssl("x509 -in cert.pem -trustout -addtrust serverAuth -out trusted.pem");
    scene.openssl("crl2pkcs7 -nocrl -certfile cert.pem -out pkcs7.pem");
    scene.openssl("crl2pkcs7 -nocrl -certfile cert.pem -outform DER -out pkcs7.der");
    scene.openssl("x509 -in cert.pem -outform DER -out cert.der");
    scene.openssl("req -in csr.pem -outform DER -out csr.der");
    scene.openssl("pkey -in ec.key -outform DER -out ec.der");
    scene.openssl("pkey -in rsa.key -pubout -outform DER -out rsa-pub.der");
    scene.write("index", "");
    scene.write("number", "07\n");
    scene.write(
        "ca.conf",
        "[ca]\ndefault_ca=c\n[c]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=7\n",
    );
    scene.openssl(
        "ca -config ca.conf -revoke cert.pem -crl_reason keyCompromise -keyfile ec.key -cert cert.pem",
    );
    scene.openssl("ca -config ca.conf -gencrl -keyfile ec.key -cert cert.pem -out crl.pem");
    scene.openssl("crl -in crl.pem -outform DER -out crl.der");
    let bundle = format!("{}{}", scene.read("ec.key"), scene.read("cert.pem"));
    scene.write("bundle.pem", &bundle);
    scene.write("fullchain.pem", scene.read("cert.pem").repeat(3));
    let lines = scene.read("cert.pem").lines().count();
    let (second, third) =
        (format!("certificate, line {}", lines + 1), format!("certificate, line {}", 2 * lines + 1));
    scene.write("crlf.pem", scene.read("cert.pem").replace('\n', "\r\n"));
    scene.write("text.pem", format!("Example Root\n============\n{bundle}that was all\n"));
    let cases: Vec<(&'static str, Vec<&str>)> = vec![
        ("ec.key", vec!["private key, line 1", "Key algo : prvkey-ec secp384r1"]),
        ("rsa.key", vec!["prvkey-rsa 2048 bits"]),
        ("ed25519.key", vec!["prvkey-ed25519"]),
        ("ed448.key", vec!["prvkey-ed448"]),
        ("x448.key", vec!["prvkey-x448"]),
        ("dh.key", vec!["prvkey-dh 2048 bits"]),
        ("dsa.key", vec!["prvkey-dsa 2048 bits"]),
        ("curve-first.key", vec!["curve parameters, line 1", "private key, line 4", "prvkey-ec secp521r1"]),
        ("rsa-old.key", vec!["prvkey-rsa 2048 bits"]),
        ("locked.key", vec!["private key under a password"]),
        ("locked-old.key", vec!["private key under a password"]),
        ("ec.pub", vec!["public key", "pubkey-ec secp384r1"]),
        ("rsa.pub", vec!["pubkey-rsa 2048 bits"]),
        ("rsa-old.pub", vec!["pubkey-rsa 2048 bits"]),
        ("ed25519.pub", vec!["pubkey-ed25519"]),
        ("ed448.pub", vec!["pubkey-ed448"]),
        ("x448.pub", vec!["pubkey-x448"]),
        ("dh.pub", vec!["pubkey-dh 2048 bits"]),
        ("dsa.pub", vec!["pubkey-dsa 2048 bits"]),
        ("dh.params", vec!["Diffie-Hellman parameters", "dh ffdhe3072 3072 bits"]),
        ("dsa.params", vec!["DSA parameters", "dsa 2048 bits"]),
        ("csr.pem", vec!["certificate request", "CN=www.example.com", "Sans : www.example.com"]),
        ("cert.pem", vec!["Subject : CN=www.example.com,O=Example,C=US", "(in 29 days)", "2001:db8::7"]),
        ("trusted.pem", vec!["certificate with trust", "CN=www.example.com", "Sig algo : ecdsa-with-SHA256"]),
        ("bundle.pem", vec!["private key, line 1", "certificate, line 7"]),
        ("fullchain.pem", vec!["certificate, line 1\n", &second, &third]),
        ("crlf.pem", vec!["certificate, line 1", "CN=www.example.com"]),
        ("text.pem", vec!["private key, line 3", "certificate, line 9"]),
        ("crl.pem", vec!["revocation list", "Revoked : 1", "Number : 7"]),
        ("pkcs7.pem", vec!["PKCS#7", "certificate", "CN=www.example.com"]),
        ("pkcs7.der", vec!["certificate", "CN=www.example.com"]),
        ("cert.der", vec!["certificate\n", "CN=www.example.com"]),
        ("csr.der", vec!["certificate request\n", "CN=www.example.com"]),
        ("ec.der", vec!["private key\n", "prvkey-ec secp384r1"]),
        ("rsa-pub.der", vec!["public key\n", "pubkey-rsa 2048 bits"]),
        ("crl.der", vec!["revocation list\n", "Revoked : 1"]),
    ];
    let owned = |expected: Vec<&str>| expected.into_iter().map(str::to_owned).collect();
    cases.into_iter().map(|(file, expected)| (file, owned(expected))).collect()
}

#[test]
fn info_tells_every_kind_and_no_secret() {
    let Some(scene) = Scene::new() else { return };
    for (file, expected) in kinds(&scene) {
        for option in ["", "--verbose ", "--json "] {
            let said = scene.manager(&format!("info {option}{file}"));
            if option == "--json " {
                let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
                assert_eq!((said.status, &json[0]["file"]), (0, &file.into()), "{file}: {said:?}");
            } else {
                said.shows(0, &expected.iter().map(String::as_str).collect::<Vec<_>>());
                assert!(said.out.starts_with(&format!("{}\n{file}\n\n", "-".repeat(70))), "{said:?}");
            }
            if file.ends_with(".key") {
                let text = scene.read(file);
                let body = text.lines().filter(|line| !line.starts_with("-----") && line.len() > 20);
                for line in body {
                    assert!(!said.out.contains(&line[..20]), "{file} {option}: {said:?}");
                }
            }
        }
    }
    // One call for many files, and standard input.
    let all = scene.manager("info ec.key cert.pem");
    all.shows(0, &["ec.key\n", "cert.pem\n"]);
    scene.with_input("info", scene.read("cert.pem").as_bytes()).shows(0, &["\n-\n", "CN=www.example.com"]);
    // What the certificate and its key have in common, and what OpenSSL says of it.
    let fingerprint = |file: &str| {
        let said = scene.manager(&format!("info --verbose {file}"));
        said.out.lines().find(|line| line.starts_with("Key SHA-256")).unwrap().to_owned()
    };
    assert_eq!(fingerprint("ec.key"), fingerprint("cert.pem"));
    assert_eq!(fingerprint("ec.pub"), fingerprint("csr.pem"));
    let openssl = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(scene.path("cert.pem"))
        .output()
        .unwrap();
    let digest = String::from_utf8(openssl.stdout).unwrap();
    scene.manager("info --verbose cert.pem").shows(0, &[digest.trim().split('=').nth(1).unwrap()]);
}

/// The four inputs on which sslm-info ends in a traceback, and some more.
#[test]
fn info_survives_what_breaks_sslm_info() {
    let Some(scene) = Scene::new() else { return };
    scene.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key");
    scene.openssl("req -x509 -key key -subj /CN=x.example -out cert");
    scene.openssl("pkey -in key -aes256 -passout pass:x -out locked");
    let cert = scene.read("cert");
    let lines: Vec<&str> = cert.lines().collect();
    let second = format!("certificate, line {}", lines.len() + 1);
    let damaged = cert.replacen(lines[2], &"*".repeat(lines[2].len()), 1);
    let other_octets = cert.replacen(&lines[2][..8], "AAAAAAAA", 1);
    scene.write("text-before", format!("# Example Root\n\n{cert}"));
    scene.write("no-pem", "hello\n");
    scene.write("noise", (0..4096_u32).map(|n| (n * 37 % 251) as u8).collect::<Vec<_>>());
    scene.write("nothing", "");
    scene.write("damaged", format!("{damaged}{cert}"));
    scene.write("other-octets", format!("{other_octets}{cert}"));
    scene.write("no-end", format!("-----BEGIN CERTIFICATE-----\nMIIB\n{cert}"));
    scene.write("cut", &cert[..200]);
    scene.write("half.der", &fs::read(scene.path("cert")).unwrap()[..50]);
    scene.write("unknown", "-----BEGIN SOMETHING-----\nYWJj\n-----END SOMETHING-----\n");
    let cases: [(&str, i32, &[&str]); 11] = [
        ("text-before", 0, &["certificate, line 3", "CN=x.example"]),
        ("no-pem", 1, &["Fault : "]),
        ("noise", 1, &["Fault : "]),
        ("nothing", 1, &["Fault : "]),
        ("damaged", 1, &["line 1\n", "damaged", &second, "CN=x.example"]),
        ("other-octets", 1, &["line 1\n", "damaged", "CN=x.example"]),
        ("no-end", 1, &["no END", "certificate, line 3", "CN=x.example"]),
        ("cut", 1, &["no END"]),
        ("locked", 0, &["under a password"]),
        ("unknown", 0, &["SOMETHING"]),
        ("none", 1, &["none: ", "No such file"]),
    ];
    for (file, status, expected) in cases {
        for option in ["", "--verbose "] {
            scene.manager(&format!("info {option}{file}")).shows(status, expected);
        }
    }
    // A missing file does not hide the next one.
    scene.manager("info none cert").shows(1, &["No such file", "CN=x.example"]);
}

/// What every published group is to OpenSSL.
fn check(path: &Path) {
    let done =
        Command::new("openssl").args(["dhparam", "-check", "-noout", "-in"]).arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("appear to be ok"), "{}: {said}", path.display());
}

/// The default call of sslm-dhparm ends in an IndexError after the first directory.
#[test]
fn dhparm_does_what_it_is_asked_for() {
    let Some(scene) = Scene::new() else { return };
    scene.write("a/x", "");
    scene.write("b/x", "");
    scene.manager("dhparm a b").shows(0, &["a/dh/dh-ffdhe8192.pem: made", "b/dh/dhparam.pem: leads to"]);
    let mode = |name: &str| fs::metadata(scene.path(name)).unwrap().permissions().mode() & 0o7777;
    for directory in ["a", "b"] {
        let names: Vec<String> = ["8192", "6144", "4096", "3072", "2048"]
            .map(|bits| format!("{directory}/dh/dh-ffdhe{bits}.pem"))
            .to_vec();
        for name in &names {
            check(&scene.path(name));
            assert_eq!(mode(name), 0o644);
        }
        // The umask can only take away.
        assert_eq!(mode(&format!("{directory}/dh")) & !0o750, 0);
        assert_eq!(fs::read_dir(scene.path(directory).join("dh")).unwrap().count(), 6);
        let link = fs::read_link(scene.path(directory).join("dh/dhparam.pem")).unwrap();
        assert_eq!(link, Path::new("dh-ffdhe8192.pem"));
    }
    scene.manager("dhparm a b").shows(0, &["a/dh: nothing to do", "b/dh: nothing to do"]);

    // Only what is asked for.
    scene.write("c/x", "");
    scene.manager("dhparm --groups ffdhe2048 c").shows(0, &[]);
    assert_eq!(fs::read_dir(scene.path("c/dh")).unwrap().count(), 2);

    // A file that holds something else is put right, and a directory that is not there stops no other.
    scene.write("a/dh/dh-ffdhe2048.pem", scene.read("a/dh/dh-ffdhe3072.pem"));
    scene.manager("dhparm none a").shows(1, &["none: there is no such directory", "held something else"]);
    scene.manager("info a/dh/dh-ffdhe2048.pem").shows(0, &["ffdhe2048 2048 bits"]);

    // A file where the link would be is nobody's to take away.
    fs::remove_file(scene.path("c/dh/dhparam.pem")).unwrap();
    scene.write("c/dh/dhparam.pem", "mine");
    scene.manager("dhparm --groups ffdhe2048 c").shows(1, &["is there and is no link"]);
    assert_eq!(scene.read("c/dh/dhparam.pem"), "mine");

    for (list, says) in [("1024", "not between"), ("../x", "is no group"), (",", "no group is named")] {
        scene.manager(&format!("dhparm --groups {list} a")).shows(2, &[says]);
    }
}

#[test]
fn dhparm_works_below_a_directory_but_not_in_the_ca() {
    let Some(scene) = Scene::new() else { return };
    for directory in ["certs/example.com", "certs/ca", "certs/.hidden", "certs/dh"] {
        scene.write(&format!("{directory}/x"), "");
    }
    scene.manager("dhparm --groups ffdhe2048 --subdirectories certs").shows(0, &["certs/example.com/dh/"]);
    for (directory, made) in [("example.com", true), ("ca", false), (".hidden", false), ("dh", false)] {
        assert_eq!(scene.path(&format!("certs/{directory}/dh")).exists(), made, "{directory}");
    }
}

/// A size is made on the spot, kept while it is young, and made again when it is old.
#[test]
fn dhparm_makes_a_size_again_when_it_is_old() {
    let Some(scene) = Scene::new() else { return };
    scene.write("a/x", "");
    // A search takes a minute, so there is only one: a published group will do for the old file.
    scene.manager("dhparm --groups ffdhe2048 a").shows(0, &[]);
    let first = scene.read("a/dh/dh-ffdhe2048.pem");
    scene.write("a/dh/dh2048.pem", &first);
    let aged = |days: u64| {
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(days * 86_400 + 60);
        fs::File::open(scene.path("a/dh/dh2048.pem")).unwrap().set_modified(time).unwrap();
    };
    aged(119);
    scene.manager("dhparm --groups 2048 a").shows(0, &["dh/dhparam.pem: leads to dh2048.pem"]);
    scene.manager("dhparm --groups 2048 a").shows(0, &["nothing to do"]);
    assert_eq!(scene.read("a/dh/dh2048.pem"), first);
    aged(121);
    scene.manager("dhparm --groups 2048 a").shows(0, &["was 121 days old"]);
    assert_ne!(scene.read("a/dh/dh2048.pem"), first);
    check(&scene.path("a/dh/dh2048.pem"));
}

/// A root, an intermediate, and a directory `good` as the manager leaves it.
fn authorities(scene: &Scene) {
    scene.write(
        "int.ext",
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
        subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    );
    key(scene, "root.key");
    scene.openssl(
        "req -x509 -key root.key -subj /CN=Root -days 100 -out root.pem -addext keyUsage=critical,keyCertSign",
    );
    key(scene, "int.key");
    scene.openssl("req -new -key int.key -subj /CN=Intermediate -out int.csr");
    scene.openssl("x509 -req -in int.csr -CA root.pem -CAkey root.key -CAcreateserial -days 90 -extfile int.ext -out int.pem");
    leaf(scene, "good", "CN=www.example.com", "DNS:www.example.com,DNS:*.example.com,IP:192.0.2.7", 30);
}

fn key(scene: &Scene, name: &str) {
    scene.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}"));
}

/// A directory with a key, a certificate of the intermediate, and the chain with the root at its end.
fn leaf(scene: &Scene, directory: &str, subject: &str, names: &str, days: i32) {
    fs::create_dir(scene.path(directory)).unwrap();
    key(scene, &format!("{directory}/privkey.pem"));
    scene.write(
        "leaf.ext",
        format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n\
             subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n{}",
            if names.is_empty() { String::new() } else { format!("subjectAltName={names}\n") },
        ),
    );
    scene
        .openssl(&format!("req -new -key {directory}/privkey.pem -subj /{subject} -out {directory}/csr.pem"));
    scene.openssl(&format!(
        "x509 -req -in {directory}/csr.pem -CA int.pem -CAkey int.key -CAcreateserial -days {days} \
         -extfile leaf.ext -out {directory}/cert.pem"
    ));
    scene.write(&format!("{directory}/chain.pem"), scene.read("int.pem") + &scene.read("root.pem"));
}

/// A copy of the good directory with one file changed.
fn copy(scene: &Scene, directory: &str, file: &str, content: &str) {
    for name in ["cert.pem", "chain.pem", "privkey.pem"] {
        scene.write(&format!("{directory}/{name}"), scene.read(&format!("good/{name}")));
    }
    scene.write(&format!("{directory}/{file}"), content);
}

#[test]
fn verify_tells_what_holds_and_what_does_not() {
    let Some(scene) = Scene::new() else { return };
    authorities(&scene);
    key(&scene, "other.key");
    let (cert, chain) = (scene.read("good/cert.pem"), scene.read("good/chain.pem"));
    scene.openssl("pkey -in good/privkey.pem -aes256 -passout pass:x -out locked.key");
    leaf(&scene, "expired", "CN=www.example.com", "DNS:www.example.com", -1);
    leaf(&scene, "nameless", "CN=www.example.com", "", 30);
    leaf(&scene, "inconsistent", "CN=www.example.com", "DNS:mail.example.com", 30);
    copy(&scene, "wrong-key", "privkey.pem", &scene.read("other.key"));
    copy(&scene, "locked-key", "privkey.pem", &scene.read("locked.key"));
    copy(&scene, "no-intermediate", "chain.pem", &scene.read("root.pem"));
    copy(&scene, "no-root", "chain.pem", &scene.read("int.pem"));
    copy(&scene, "damaged", "cert.pem", &cert.replacen("MII", "AAA", 1));
    copy(&scene, "empty", "cert.pem", "");
    scene.write("alone.pem", format!("{cert}{chain}"));
    scene.write("trust/root.pem", scene.read("root.pem"));
    scene.write("trust/README", "who is trusted");
    key(&scene, "strange.key");
    scene.openssl("req -x509 -key strange.key -subj /CN=Root -days 100 -out strange.pem");

    let good = "holds        CN = www.example.com <- CN = Intermediate <- CN = Root";
    let cases: [(&str, i32, &[&str]); 25] = [
        ("good", 0, &["good/cert.pem: good", good, "trusted only because", "the key beside it is its own"]),
        ("good/chain.pem", 0, &["good/cert.pem: good"]),
        ("--anchor root.pem good", 0, &[good]),
        ("--anchor trust good", 0, &[good]),
        ("--anchor strange.pem good", 3, &["path        FAILS"]),
        ("--anchor root.pem no-root", 0, &[good]),
        ("no-root", 3, &["path        FAILS", "its issuer is missing: CN = Root"]),
        ("no-intermediate", 3, &["path        FAILS", "its issuer is missing: CN = Intermediate"]),
        ("expired", 3, &["dates       FAILS", "has expired"]),
        ("wrong-key", 3, &["key         FAILS", "another one's"]),
        ("locked-key", 0, &["key         not checked", "locked-key/privkey.pem"]),
        ("--name www.example.com good", 0, &["name        holds        for www.example.com"]),
        ("--name mail.example.com good", 0, &["name        holds        for mail.example.com"]),
        ("--name 192.0.2.7 good", 0, &["name        holds"]),
        ("--name a.b.example.com good", 3, &["name        FAILS", "is not for a.b.example.com"]),
        ("nameless", 3, &["name        FAILS", "no subjectAltName"]),
        ("inconsistent", 3, &["name        FAILS", "www.example.com is not in the subjectAltName"]),
        ("--purpose client good", 3, &["purpose     FAILS", "may not be used by a client"]),
        ("--purpose ca good", 3, &["purpose     FAILS", "may not sign"]),
        ("--anchor root.pem int.pem", 0, &["purpose     holds        may sign certificates"]),
        ("alone.pem", 0, &[good, "key         not checked"]),
        ("damaged", 1, &["damaged/cert.pem: "]),
        ("empty", 1, &["empty/cert.pem: there is no certificate in it"]),
        ("none", 1, &["none: "]),
        ("--anchor trust/README good", 1, &["trust/README: there is no certificate in it"]),
    ];
    for (line, status, expected) in cases {
        scene.manager(&format!("verify {line}")).shows(status, expected);
    }
    let json = scene.manager("verify --json wrong-key");
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["good"], &json["checks"][3]["outcome"]), (&false.into(), &"fails".into()), "{json}");
}

/// `sslm-verify cert.pem` fails in the directory itself, for want of a directory's name.
#[test]
fn verify_takes_a_bare_file_name() {
    let Some(scene) = Scene::new() else { return };
    authorities(&scene);
    for name in ["cert.pem", "chain.pem", "."] {
        let done = Command::new(env!("CARGO_BIN_EXE_reseed"))
            .args(["manager", "verify", name])
            .current_dir(scene.path("good"))
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(0), "{name}: {done:?}");
    }
}

#[test]
fn verify_looks_into_lists_of_the_revoked() {
    let Some(scene) = Scene::new() else { return };
    authorities(&scene);
    scene.write("index", "");
    scene
        .write("ca.conf", "[ca]\ndefault_ca=c\n[c]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=7\n");
    let ca = "ca -config ca.conf -keyfile int.key -cert int.pem";
    scene.openssl(&format!("{ca} -gencrl -out before.crl"));
    scene.openssl(&format!(
        "{ca} -gencrl -crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z -out old.crl"
    ));
    scene.openssl(&format!("{ca} -revoke good/cert.pem -crl_reason keyCompromise"));
    scene.openssl(&format!("{ca} -gencrl -out after.crl"));
    scene.openssl("ca -config ca.conf -keyfile root.key -cert root.pem -gencrl -out root.crl");
    let cases: [(&str, i32, &[&str]); 5] = [
        ("before.crl", 0, &["revocation  holds        not revoked"]),
        ("after.crl", 3, &["revocation  FAILS", "is revoked since", "keyCompromise"]),
        ("old.crl", 3, &["revocation  FAILS", "a newer list was due"]),
        ("root.crl", 3, &["revocation  FAILS", "none of the lists is of its issuer"]),
        ("root.pem", 1, &["there is no revocation list in it"]),
    ];
    for (list, status, expected) in cases {
        scene.manager(&format!("verify --crl {list} good")).shows(status, expected);
    }
}

#[test]
fn tlsa_hash_is_that_of_openssl() {
    let Some(scene) = Scene::new() else { return };
    authorities(&scene);
    scene.openssl("x509 -in good/cert.pem -outform DER -out cert.der");
    scene.openssl("pkey -in good/privkey.pem -pubout -outform DER -out key.der");
    let digest = |algorithm: &str, file: &str| {
        scene.openssl(&format!("dgst -{algorithm} -r -out digest {file}"));
        scene.read("digest").split(' ').next().unwrap().to_owned()
    };
    let whole: String = fs::read(scene.path("key.der")).unwrap().iter().map(|o| format!("{o:02x}")).collect();
    for (line, expected) in [
        ("good", format!("3 1 1 {}\n", digest("sha256", "key.der"))),
        ("good/cert.pem", format!("3 1 1 {}\n", digest("sha256", "key.der"))),
        ("--matching 2 good", format!("3 1 2 {}\n", digest("sha512", "key.der"))),
        ("--matching 0 good", format!("3 1 0 {whole}\n")),
        ("--selector 0 good", format!("3 0 1 {}\n", digest("sha256", "cert.der"))),
    ] {
        let said = scene.manager(&format!("tlsa-hash {line}"));
        said.shows(0, &["good/privkey.pem: the key is that of the certificate"]);
        assert!(said.out.starts_with(&expected), "{line}: {said:?}");
    }
    key(&scene, "other.key");
    copy(&scene, "wrong-key", "privkey.pem", &scene.read("other.key"));
    scene.manager("tlsa-hash wrong-key").shows(3, &["3 1 1 ", "the key is not that of the certificate"]);
    scene.manager("tlsa-hash root.pem").shows(0, &["3 1 1 ", "there is no key beside it"]);
    scene.manager("tlsa-hash --selector 2 good").shows(2, &[]);
    scene.manager("tlsa-hash none").shows(1, &["none: "]);
}
