//! A Pebble of a test's own, that takes every proof.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use reseed::pki::inspect;
use tempfile::TempDir;

use crate::support::{self, checked};

pub struct Pebble {
    process: Child,
    directory: TempDir,
    port: u16,
    management: u16,
}

/// One of its roots.
pub struct Trusted {
    /// Its common name.
    pub name: String,
    /// In PEM.
    pub certificate: String,
}

impl Pebble {
    /// Nothing when it is not installed.
    pub fn start(environment: &[(&str, &str)]) -> Option<Self> {
        if !support::has("pebble") || !support::has("openssl") {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        // It shows a certificate that signs itself, which is all that its clients trust.
        let mut make = Command::new("openssl");
        make.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]);
        make.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        make.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]);
        checked(make.arg(at("tls.key")).arg("-out").arg(at("tls.crt")));
        let [port, management] = [free_port(), free_port()];
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": at("tls.crt"), "privateKey": at("tls.key"),
            "httpPort": free_port(), "tlsPort": free_port(), "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        fs::write(at("pebble.json"), config.to_string()).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let process = Command::new("pebble")
            .arg("-config")
            .arg(at("pebble.json"))
            .args(["-strict", "-dnsserver", "127.0.0.1:1"])
            .envs([
                ("PEBBLE_VA_NOSLEEP", "1"),
                ("PEBBLE_VA_ALWAYS_VALID", "1"),
                ("PEBBLE_WFE_NONCEREJECT", "0"),
                ("PEBBLE_AUTHZREUSE", "0"),
            ])
            .envs(environment.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let pebble = Self { process, directory, port, management };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{}", fs::read_to_string(pebble.at("log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(pebble)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap()
    }

    pub fn trust(&self) -> PathBuf {
        self.at("tls.crt")
    }

    pub fn root(&self, number: usize) -> Trusted {
        let url = format!("https://127.0.0.1:{}/roots/{number}", self.management);
        let certificate = checked(Command::new("curl").arg("-sf").arg("--cacert").arg(self.trust()).arg(url));
        let block = pem::parse(&certificate).unwrap();
        let read = inspect::Certificate::from_der(block.contents()).unwrap();
        Trusted { name: read.common_name().unwrap().to_owned(), certificate }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
