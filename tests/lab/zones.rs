//! Name servers in a network of the test's own, at the ports that name servers have: a primary that takes
//! updates, and a second server of which some zones lag.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use crate::support::{checked, has, is_root, scratch, skipped};

/// Names of keys, which are those of algorithms, and their secrets.
pub const KEYS: [(&str, &str); 4] = [
    ("hmac-sha1", "c2hhMS1zZWNyZXQtc2hhMS1zZWNyZXQ="),
    ("hmac-sha256", "c2hhMjU2LXNlY3JldC1zaGEyNTYtc2VjcmV0LXNoYTI1Ng=="),
    ("hmac-sha384", "c2hhMzg0LXNlY3JldC1zaGEzODQtc2VjcmV0LXNoYTM4NA=="),
    ("hmac-sha512", "c2hhNTEyLXNlY3JldC1zaGE1MTItc2VjcmV0LXNoYTUxMg=="),
];

/// A key whose name and secret have what serverPKI takes no key with: a digit, a dot, "_", "+" and "/".
pub const ODD: (&str, &str) = ("fleet_2.example-key", "+/+/b2RkLXNlY3JldC1vZGQtc2VjcmV0LW9kZC1zZWNyZXQ+/w==");

/// The second server in the second family alone.
pub const SIX: &str = "fd00::53";

/// What a zone holds, besides its start; who may change it; what the second server does with it.
pub struct Zone {
    pub apex: &'static str,
    pub records: String,
    pub updates: bool,
    pub second: Second,
}

/// What the second server does with a zone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// It knows nothing of it.
    Nothing,
    /// It follows.
    Follows,
    /// It has a copy, which never changes.
    Lags,
}

pub struct Lab {
    servers: Vec<Child>,
    pub directory: tempfile::TempDir,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Lab {
    /// Nothing where BIND is not installed, or no network can be made.
    pub fn new(zones: &[Zone]) -> Option<Self> {
        if !has("named") || !has("ip") {
            return None;
        }
        if !is_root() || unshare(CloneFlags::CLONE_NEWNET).is_err() {
            skipped("only root can make a network of its own");
            return None;
        }
        for command in ["link set lo up", "addr add 127.0.0.2/8 dev lo", "-6 addr add fd00::53/128 dev lo"] {
            checked(Command::new("ip").args(command.split(' ')));
        }
        let mut lab = Self { servers: Vec::new(), directory: scratch() };
        let (first, second) = (lab.place("first"), lab.place("second"));
        let mut keys = String::new();
        for (name, secret) in KEYS {
            let key = format!("key \"{name}\" {{ algorithm {name}; secret \"{secret}\"; }};\n");
            lab.key(&format!("{name}.key"), &key);
            keys += &key;
        }
        let odd = format!("key \"{}\" {{ algorithm hmac-sha256; secret \"{}\"; }};\n", ODD.0, ODD.1);
        lab.key("odd.key", &odd);
        keys += &odd;
        let names: Vec<String> =
            KEYS.iter().chain([&ODD]).map(|(name, _)| format!("key \"{name}\";")).collect();
        let names = names.join(" ");
        let (mut of_first, mut of_second) = (keys, String::new());
        for Zone { apex, records, updates, second: follows } in zones {
            let text = format!("$TTL 60\n@ IN SOA ns1 hostmaster 1 3600 600 86400 60\n{records}");
            fs::write(first.join(apex), &text).unwrap();
            let policy = if *updates { names.clone() } else { "none;".to_owned() };
            of_first += &format!(
                "zone \"{apex}\" {{ type primary; file \"{apex}\"; allow-update {{ {policy} }};\n\
                 notify explicit; also-notify {{ 127.0.0.2; }}; notify-delay 0; allow-transfer {{ any; }}; }};\n"
            );
            match follows {
                Second::Nothing => {}
                Second::Follows => {
                    of_second += &format!(
                        "zone \"{apex}\" {{ type secondary; file \"{apex}\"; primaries {{ 127.0.0.1; }};\n\
                         allow-notify {{ any; }}; }};\n"
                    );
                }
                Second::Lags => {
                    fs::write(second.join(apex), &text).unwrap();
                    of_second += &format!("zone \"{apex}\" {{ type primary; file \"{apex}\"; }};\n");
                }
            }
        }
        lab.start(&first, "127.0.0.1", "::1", &of_first);
        lab.start(&second, "127.0.0.2", SIX, &of_second);
        Some(lab)
    }

    fn place(&self, name: &str) -> PathBuf {
        let place = self.directory.path().join(name);
        fs::create_dir(&place).unwrap();
        place
    }

    fn start(&mut self, directory: &Path, v4: &str, v6: &str, zones: &str) {
        let place = directory.display();
        let file = directory.join("named.conf");
        let config = format!(
            "options {{ directory \"{place}\"; pid-file none; session-keyfile none; recursion no;\n\
             listen-on {{ {v4}; }}; listen-on-v6 {{ {v6}; }}; allow-query {{ any; }};\n\
             dnssec-validation no; check-names primary ignore; notify no; transfer-source {v4}; }};\ncontrols {{ }};\n{zones}"
        );
        fs::write(&file, config).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let server = Command::new("named")
            .args(["-g", "-n", "1", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.servers.push(server);
        let begun = Instant::now();
        let log = || fs::read_to_string(directory.join("log")).unwrap();
        while !log().contains("all zones loaded") || !log().contains("running") {
            let ended = self.servers.last_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(60), "{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The number of the first server's process.
    pub fn first(&self) -> u32 {
        self.servers[0].id()
    }

    /// Writes a key's file, and returns where it lies.
    pub fn key(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}
