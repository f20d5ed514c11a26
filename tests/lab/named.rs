//! A real BIND that answers for zones of a test.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{has, scratch};

/// BIND on a port of its own, ended when it is dropped.
pub struct Named {
    server: Child,
    pub port: u16,
    _directory: tempfile::TempDir,
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Named {
    /// Zones by name, each with what it holds besides its head. Nothing where BIND is not installed.
    pub fn new(zones: &[(&str, &str)]) -> Option<Self> {
        if !has("named") {
            return None;
        }
        let directory = scratch();
        let port = free_port();
        let head = "$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n";
        let place = directory.path().display();
        let mut config = format!(
            "options {{ directory \"{place}\"; pid-file none; session-keyfile none; recursion no;\n\
             listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 port {port} {{ ::1; }};\n\
             allow-query {{ any; }}; dnssec-validation no; notify no; check-names primary ignore; }};\ncontrols {{ }};\n"
        );
        for (zone, records) in zones {
            fs::write(directory.path().join(zone), format!("{head}{records}")).unwrap();
            config += &format!("zone \"{zone}\" {{ type primary; file \"{zone}\"; }};\n");
        }
        let file = directory.path().join("named.conf");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut server = Command::new("named")
            .args(["-g", "-n", "1", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let log = || fs::read_to_string(directory.path().join("log")).unwrap();
        while !log().contains("all zones loaded") {
            let ended = server.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(60), "{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self { server, port, _directory: directory })
    }
}

/// Free for both protocols.
pub fn free_port() -> u16 {
    let free = || {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
    };
    (0..100).find_map(|_| free()).unwrap()
}
