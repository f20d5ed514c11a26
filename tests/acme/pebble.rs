//! Debian's Pebble: an authority for tests, with its knobs, and what its log and its management say.

use std::fs;
use std::path::{Path, PathBuf};

use super::anchor::Authority;
use super::space::{Daemon, Space};
use crate::support;

/// How it behaves. The default is as quick as it can be.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// Percentage of good nonces that it refuses.
    pub refused_nonces: u8,
    /// It sleeps up to this many seconds before it validates; none for not at all.
    pub validation_sleep: Option<u8>,
    /// How many further roots its issuers have.
    pub alternate_roots: u8,
    /// How many intermediates are above a certificate.
    pub chain_length: u8,
    /// Lifetime in seconds of what it issues.
    pub validity: u32,
    /// It takes only accounts that are bound to [`KEY_ID`].
    pub binding_required: bool,
    /// Percentage of authorizations that are used for further orders.
    pub authorization_reuse: u8,
    /// Its directory is here.
    pub port: u16,
}

/// The key that accounts are bound with, and its name.
pub const KEY_ID: &str = "lab-kid";
pub const BINDING_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

impl Default for Knobs {
    fn default() -> Self {
        Self {
            refused_nonces: 0,
            validation_sleep: None,
            alternate_roots: 0,
            chain_length: 1,
            validity: 90 * 86_400,
            binding_required: false,
            authorization_reuse: 0,
            port: 14_000,
        }
    }
}

pub struct Pebble {
    server: Daemon,
    port: u16,
    trust: PathBuf,
}

impl Pebble {
    /// Starts it; it answers soon after, see [`Self::ready`].
    pub fn new(space: &Space, place: &Path, knobs: &Knobs) -> Self {
        fs::create_dir_all(place).unwrap();
        let root = Authority::root("bed");
        let (key, certificate) = root.server(&["localhost", "pebble.lab.test", "127.0.0.1"]);
        let trust = place.join("trust.pem");
        for (file, text) in [("trust.pem", root.pem()), ("server.key", key), ("server.pem", certificate)] {
            fs::write(place.join(file), text).unwrap();
        }
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", knobs.port),
            "managementListenAddress": format!("127.0.0.1:{}", knobs.port + 1000),
            "certificate": place.join("server.pem"),
            "privateKey": place.join("server.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": knobs.binding_required,
            "externalAccountMACKeys": { KEY_ID: BINDING_KEY },
            "domainBlocklist": ["blocked"],
            "certificateValidityPeriod": knobs.validity,
        }});
        let file = place.join("config.json");
        fs::write(&file, config.to_string()).unwrap();
        let number = |value: u8| value.to_string();
        let (nonces, roots) = (number(knobs.refused_nonces), number(knobs.alternate_roots));
        let (length, reuse) = (number(knobs.chain_length), number(knobs.authorization_reuse));
        let sleep = number(knobs.validation_sleep.unwrap_or(0));
        let mut environment = vec![
            ("PEBBLE_WFE_NONCEREJECT", nonces.as_str()),
            ("PEBBLE_ALTERNATE_ROOTS", &roots),
            ("PEBBLE_CHAIN_LENGTH", &length),
            ("PEBBLE_AUTHZREUSE", &reuse),
        ];
        match knobs.validation_sleep {
            None => environment.push(("PEBBLE_VA_NOSLEEP", "1")),
            Some(_) => environment.push(("PEBBLE_VA_SLEEPTIME", &sleep)),
        }
        let file = file.display().to_string();
        let command = ["pebble", "-config", &file, "-dnsserver", "127.0.0.1:53", "-strict"];
        let name = format!("pebble-{}", knobs.port);
        Self { server: space.daemon(&name, &command, &environment), port: knobs.port, trust }
    }

    /// Waits until it answers.
    pub fn ready(&mut self) {
        self.server.says("ACME directory available at");
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// Whom its own HTTPS is checked against.
    pub fn trust(&self) -> &Path {
        &self.trust
    }

    /// What it has written.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// How many accounts it has.
    pub fn accounts(&self) -> usize {
        self.counted("There are now ", " accounts in memory")
    }

    /// How many orders it has.
    pub fn orders(&self) -> usize {
        self.counted("There are now ", " orders in the db")
    }

    /// How many certificates it has issued.
    pub fn issued(&self) -> usize {
        self.log().matches("Issued certificate serial").count()
    }

    /// How many challenges it was asked to validate.
    pub fn validations(&self) -> usize {
        // The VA says so when it begins with one.
        self.log().matches("Pulled a task from the Tasks queue").count()
    }

    fn counted(&self, before: &str, after: &str) -> usize {
        let log = self.log();
        let numbers =
            log.lines().filter_map(|line| line.split_once(before)?.1.strip_suffix(after)?.parse().ok());
        numbers.max().unwrap_or(0)
    }

    /// One of its roots: what the management shows. 0 is the first.
    pub fn root(&self, space: &Space, index: usize) -> String {
        self.managed(space, &format!("roots/{index}"))
    }

    /// What the management says of a certificate, by its serial in hexadecimal.
    pub fn status(&self, space: &Space, serial: &str) -> serde_json::Value {
        let serial = serial.trim_start_matches('0').to_lowercase();
        serde_json::from_str(&self.managed(space, &format!("cert-status-by-serial/{serial}"))).unwrap()
    }

    fn managed(&self, space: &Space, path: &str) -> String {
        let mut curl = space.command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "10", "--cacert"]).arg(&self.trust);
        support::checked(curl.arg(format!("https://localhost:{}/{path}", self.port + 1000)))
    }

    /// Ends it at once: from now on nobody listens there.
    pub fn end(&self) {
        self.server.end();
    }
}
