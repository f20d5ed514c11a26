//! Three real name servers: BIND as primary at 127.0.0.1, and two that follow it, at 127.0.0.2 and at `::1`. The
//! latter two are one server to the world, which has two addresses.
//!
//! ```text
//!  lab.test       changed by dynamic update: key `acme` for TXT, key `tlsa` for TLSA
//!  files.test     changed by files that the zone includes, and a command that raises its serial
//!  acme-dns.test  changed by dynamic update: where alias.test sends challenges
//!  alias.test     nobody changes it; `_acme-challenge.www` is a CNAME to w1.acme-dns.test
//!  dane.test      as lab.test, and signed by BIND
//! ```

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use nix::sys::signal::Signal;

use super::space::{Daemon, Space, until};
use crate::support;

const ZONES: [&str; 5] = ["lab.test", "files.test", "acme-dns.test", "alias.test", "dane.test"];

pub struct Zones {
    place: PathBuf,
    primary: Daemon,
    secondaries: [Daemon; 2],
}

/// Who of those that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secondary {
    /// At 127.0.0.2.
    V4 = 0,
    /// At `::1`.
    V6 = 1,
}

impl Zones {
    /// Starts all three, and waits until they have every zone.
    pub fn new(space: &Space, place: &Path) -> Self {
        for part in ["primary/acme", "primary/tlsa", "v4", "v6"] {
            fs::create_dir_all(place.join(part)).unwrap();
        }
        let mut keys = String::new();
        for name in ["acme", "tlsa", "transfer", "control"] {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).unwrap();
            let secret = BASE64_STANDARD.encode(secret);
            let key = format!("key \"{name}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n");
            let file = place.join(format!("{name}.key"));
            fs::write(&file, &key).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            keys += &key;
        }
        fs::write(place.join("keys"), keys).unwrap();
        for zone in ZONES {
            fs::write(place.join("primary").join(zone), zone_file(zone)).unwrap();
        }
        for (directory, kind) in [("acme", "acme-challenge"), ("tlsa", "tlsa")] {
            fs::write(place.join(format!("primary/{directory}/{kind}.files.test")), ";;\n").unwrap();
        }
        fs::write(place.join("primary/named.conf"), primary(place)).unwrap();
        for which in [Secondary::V4, Secondary::V6] {
            fs::write(place.join(which.directory()).join("named.conf"), secondary(place, which, true))
                .unwrap();
        }
        let bump = place.join("bump");
        fs::write(&bump, BUMP.replace("PLACE", &place.display().to_string())).unwrap();
        fs::set_permissions(&bump, fs::Permissions::from_mode(0o755)).unwrap();
        let start = |directory: &str| {
            let config = place.join(directory).join("named.conf").display().to_string();
            space.daemon(directory, &["named", "-g", "-n", "1", "-c", &config], &[])
        };
        // Who follows asks at once, and if nobody answers, not again for long.
        let mut primary = start("primary");
        primary.says("all zones loaded");
        let mut secondaries = [start("v4"), start("v6")];
        for secondary in &mut secondaries {
            for zone in ZONES {
                secondary.says(&format!("zone {zone}/IN: transferred serial"));
            }
        }
        Self { place: place.to_owned(), primary, secondaries }
    }

    /// From now on one of those that follow goes on answering, and gets no changes; or gets them again.
    pub fn stale(&mut self, space: &Space, which: Secondary, stale: bool) {
        let place = self.place.join(which.directory()).join("named.conf");
        fs::write(place, secondary(&self.place, which, !stale)).unwrap();
        let server = &mut self.secondaries[which as usize];
        let done = "reloading configuration succeeded";
        let before = server.log().matches(done).count();
        server.signal(Signal::SIGHUP);
        until(|| match server.log().matches(done).count() > before {
            true => Ok(()),
            false => Err(format!("{which:?} does not reload: {}", server.log())),
        });
        for zone in ZONES.iter().filter(|_| !stale) {
            let mut rndc = space.command("rndc");
            rndc.arg("-k").arg(self.place.join("control.key")).args(["-s", "127.0.0.1", "notify", zone]);
            support::checked(&mut rndc);
        }
    }

    /// From now on one of those that follow says nothing at all, or speaks again.
    pub fn silent(&self, which: Secondary, silent: bool) {
        self.secondaries[which as usize].signal(if silent { Signal::SIGSTOP } else { Signal::SIGCONT });
    }

    /// What the primary has written.
    pub fn log(&self) -> String {
        self.primary.log()
    }

    /// A key in a file, as BIND writes it.
    pub fn key(&self, name: &str) -> PathBuf {
        self.place.join(format!("{name}.key"))
    }

    /// The secret of a key, in base64.
    pub fn secret(&self, name: &str) -> String {
        let text = fs::read_to_string(self.key(name)).unwrap();
        text.split('"').nth(3).unwrap().to_owned()
    }

    /// Where `files.test` includes challenges from.
    pub fn challenges(&self) -> PathBuf {
        self.place.join("primary/acme")
    }

    /// Where `files.test` includes TLSA records from.
    pub fn tlsa(&self) -> PathBuf {
        self.place.join("primary/tlsa")
    }

    /// The command that raises serials and has the zones loaded.
    pub fn bump(&self) -> PathBuf {
        self.place.join("bump")
    }

    /// The TXT records of the primary in a zone.
    pub fn published(&self, space: &Space, zone: &str) -> Vec<String> {
        let key = self.key("transfer");
        let mut dig = space.command("dig");
        dig.args(["+noall", "+answer", "+time=2", "+tries=1", "@127.0.0.1", zone, "AXFR", "-k"]).arg(key);
        let said = support::checked(&mut dig);
        said.lines().filter(|line| line.contains("\tTXT\t")).map(str::to_owned).collect()
    }
}

impl Secondary {
    fn directory(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

fn zone_file(zone: &str) -> String {
    let mut text = format!(
        "$TTL 60\n$ORIGIN {zone}.\n@ SOA ns1 hostmaster (\n 1 ; serial\n 3600 3600 86400 2 )\n\
         @ NS ns1\n@ NS ns2\n@ A 127.0.0.1\n@ MX 10 mx1\nns1 A 127.0.0.1\nns2 A 127.0.0.2\nns2 AAAA ::1\n\
         www A 127.0.0.1\nmx1 A 127.0.0.1\n*.apps A 127.0.0.1\n"
    );
    for host in 1..4 {
        let _ = writeln!(text, "web{host} A 10.53.0.1{host}");
    }
    match zone {
        "files.test" => text += "$INCLUDE acme/acme-challenge.files.test\n$INCLUDE tlsa/tlsa.files.test\n",
        "alias.test" => text += "_acme-challenge.www CNAME w1.acme-dns.test.\n",
        _ => {}
    }
    text
}

/// Pebble takes only TXT records out of an answer, so a CNAME has to be followed for it, and BIND does that only
/// with recursion. Nothing leaves the machine: forwarding only, to where nobody listens.
fn primary(place: &Path) -> String {
    let mut text = format!(
        "include \"{0}/keys\";\n\
         options {{ directory \"{0}/primary\"; pid-file none; session-keyfile none; managed-keys-directory \".\";\n\
         listen-on {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; allow-recursion {{ any; }};\n\
         recursion yes; forward only; forwarders port 9 {{ 127.0.0.1; }}; dnssec-validation no;\n\
         empty-zones-enable no; minimal-responses yes; allow-transfer {{ key transfer; }};\n\
         notify explicit; notify-delay 0; also-notify {{ 127.0.0.2; ::1; }};\n\
         serial-query-rate 1000; notify-rate 1000; startup-notify-rate 1000; }};\n\
         controls {{ inet 127.0.0.1 port 953 allow {{ any; }} keys {{ control; }}; }};\n",
        place.display()
    );
    for zone in ZONES {
        let more = match zone {
            "files.test" | "alias.test" => "",
            "dane.test" => {
                "dnssec-policy default; inline-signing yes; update-policy { grant acme zonesub TXT; grant tlsa zonesub TLSA; };"
            }
            _ => "update-policy { grant acme zonesub TXT; grant tlsa zonesub TLSA; };",
        };
        let _ = writeln!(text, "zone \"{zone}\" {{ type primary; file \"{zone}\"; {more} }};");
    }
    text
}

fn secondary(place: &Path, which: Secondary, follows: bool) -> String {
    let (v4, v6) = match which {
        Secondary::V4 => ("127.0.0.2", "none"),
        Secondary::V6 => ("none", "::1"),
    };
    let port = if follows { 53 } else { 9 };
    let mut text = format!(
        "include \"{0}/keys\";\n\
         options {{ directory \"{0}/{1}\"; pid-file none; session-keyfile none; managed-keys-directory \".\";\n\
         listen-on {{ {v4}; }}; listen-on-v6 {{ {v6}; }}; recursion no; dnssec-validation no;\n\
         empty-zones-enable no; minimal-responses yes; notify no; transfer-source 127.0.0.1;\n\
         allow-notify {{ 127.0.0.1; ::1; }}; serial-query-rate 1000; transfers-in 100; transfers-per-ns 100; }};\n\
         controls {{ }};\n",
        place.display(),
        which.directory(),
    );
    for zone in ZONES {
        let _ = writeln!(
            text,
            "zone \"{zone}\" {{ type secondary; file \"{zone}\"; primaries port {port} {{ 127.0.0.1 key transfer; }}; }};"
        );
    }
    text
}

/// Called as `bump --serial_bump ZONE…`, as ssl-mgr does.
const BUMP: &str = "#!/bin/sh
[ \"$1\" = --serial_bump ] || { echo \"called with $*\" >&2; exit 2; }
shift
cd PLACE/primary || exit 1
for zone; do
    serial=$(sed -n 's/^ \\([0-9]*\\) ; serial$/\\1/p' \"$zone\")
    sed \"s/^ $serial ; serial$/ $((serial + 1)) ; serial/\" \"$zone\" >\"$zone.new\" && mv \"$zone.new\" \"$zone\" || exit 1
    rndc -k ../control.key -s 127.0.0.1 -p 953 reload \"$zone\" >/dev/null || exit 1
done
";
