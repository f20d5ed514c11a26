//! `reseed probe` from the command line, against servers of OpenSSL.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const HOOK: &str = "version = 1\ndescription = \"a test\"\n[applies]\nfiles = [\"/etc/pair\"]\n[[certificate]]\n\
    [[certificate.file]]\npath = \"/etc/pair/x.key\"\nholds = [\"key\"]\n\
    [[certificate.file]]\npath = \"/etc/pair/x.crt\"\nholds = [\"certificate\"]\n\
    [[unit]]\nname = \"pair.service\"\nchange = \"reload\"\n\
    [[probe]]\nport = 2525\nprotocol = \"smtp\"\n";

/// A root with one hook, and a server with a certificate of its own.
struct Scene {
    root: tempfile::TempDir,
    server: Child,
    port: u16,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Scene {
    /// Nothing where OpenSSL is not installed.
    fn new(extensions: bool) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let path = |file: &str| root.path().join(file);
        std::fs::create_dir_all(path("etc/reseed/hooks.d")).unwrap();
        std::fs::create_dir_all(path("etc/pair")).unwrap();
        std::fs::write(path("etc/hostname"), "mail.example.com\n").unwrap();
        std::fs::write(path("etc/reseed/hooks.d/pair.toml"), HOOK).unwrap();
        if !certificate(&path("key"), &path("crt"), extensions) {
            assert!(std::env::var_os("RESEED_TESTS_REQUIRE_ALL").is_none(), "install openssl");
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new("openssl")
            .args(["s_server", "-accept", &format!("127.0.0.1:{port}")])
            .arg("-key")
            .arg(path("key"))
            .arg("-cert")
            .arg(path("crt"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut said = said.map_while(Result::ok);
        assert!(said.any(|line| line == "ACCEPT"), "the server does not begin");
        // It must not be held up by what it would say further.
        std::thread::spawn(move || said.for_each(drop));
        Some(Self { root, server, port })
    }

    fn served(&self) -> PathBuf {
        self.root.path().join("crt")
    }

    fn on_disk(&self) -> PathBuf {
        self.root.path().join("etc/pair/x.crt")
    }

    fn probe(&self, arguments: &[&str]) -> (i32, String) {
        let mut all = vec!["--root", self.root.path().to_str().unwrap(), "probe"];
        all.extend(arguments);
        reseed(&all)
    }
}

/// Makes a self-signed certificate; without extensions it is of X.509's version 1, as those of
/// Debian's sendmail are.
fn certificate(key: &Path, certificate: &Path, extensions: bool) -> bool {
    let request = certificate.with_extension("csr");
    let extension = certificate.with_extension("ext");
    std::fs::write(&extension, "subjectAltName = DNS:mail.example.com\n").unwrap();
    let run = |arguments: &[&str], files: &[(&str, &Path)]| {
        let mut command = Command::new("openssl");
        command.args(arguments);
        for (option, file) in files {
            command.arg(option).arg(file);
        }
        command.output().is_ok_and(|output| output.status.success())
    };
    let subject = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mail.example.com"];
    let mut sign = vec![("-in", request.as_path()), ("-signkey", key), ("-out", certificate)];
    if extensions {
        sign.push(("-extfile", &extension));
    }
    run(&subject, &[("-keyout", key), ("-out", &request)]) && run(&["x509", "-req", "-days", "9"], &sign)
}

fn reseed(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_reseed")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(text).unwrap())
}

#[test]
fn a_place_against_the_files_of_a_hook() {
    let Some(scene) = Scene::new(true) else { return };
    let place = format!("127.0.0.1:{}/tls", scene.port);
    let name = ["--name", "mail.example.com"];
    let cases: [(&str, Vec<&str>, i32, &str); 4] = [
        ("by its name", [&[place.as_str()], &name[..]].concat(), 0, "served"),
        ("another name", vec![&place, "--name", "web.example.com"], 3, "WRONG NAME: not for web.example.com"),
        ("by its address", vec![&place], 3, "WRONG NAME: not for 127.0.0.1"),
        ("its end", [&[place.as_str()], &name[..]].concat(), 0, "(8 days)"),
    ];
    for (case, arguments, status, expected) in cases {
        let (code, said) = scene.probe(&arguments);
        assert!(code == status && said.contains(expected), "{case}: {code}: {said}");
    }
    std::fs::copy(scene.served(), scene.on_disk()).unwrap();
    let with_hook = [&["pair", place.as_str()], &name[..]].concat();
    let (code, said) = scene.probe(&with_hook);
    assert!(code == 0 && said.contains("fresh") && said.contains("is in /etc/pair/x.crt"), "{said}");
    let key = scene.root.path().join("other");
    assert!(certificate(&key, &scene.on_disk(), true));
    let (code, said) = scene.probe(&with_hook);
    assert!(code == 3 && said.contains("STALE") && said.contains("should be /etc/pair/x.crt"), "{said}");
    let (code, said) = scene.probe(&[&with_hook[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let row = &json["probed"][0];
    assert_eq!((code, &row["verdict"], &row["wrong"]), (3, &"stale".into(), &true.into()), "{said}");
    assert_eq!(row["served"].as_array().unwrap().len(), 1, "each certificate once");
}

#[test]
fn a_certificate_of_version_1_is_seen() {
    let Some(scene) = Scene::new(false) else { return };
    std::fs::copy(scene.served(), scene.on_disk()).unwrap();
    let place = format!("127.0.0.1:{}/tls", scene.port);
    let (code, said) = scene.probe(&["pair", &place, "--name", "mail.example.com"]);
    assert!(code == 3 && said.contains("WRONG NAME"), "it has no names that a client of today reads: {said}");
    assert!(said.contains("is in /etc/pair/x.crt"), "{said}");
}

#[test]
fn what_cannot_be_asked() {
    // Bound and not listening: another test that wants a port does not get this one.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    held.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = held.local_addr().unwrap().as_socket().unwrap().port();
    let nobody = format!("127.0.0.1:{port}/tls");
    let cases = [
        (vec![nobody.as_str()], 1, "nobody listens"),
        (vec!["no.such.name.invalid:25"], 1, "no.such.name.invalid"),
        (vec!["127.0.0.1:25/gopher"], 2, "is no protocol that can be asked"),
        (vec!["../etc/passwd"], 2, "neither a hook"),
        (vec!["127.0.0.1", "--name", "not a name"], 2, "--name"),
    ];
    for (arguments, status, expected) in cases {
        let (code, said) = reseed(&[&["probe"], &arguments[..]].concat());
        assert!(code == status && said.contains(expected), "{arguments:?}: {code}: {said}");
    }
}
