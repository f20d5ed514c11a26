//! A site whose authority is the stand-in. No network of its own is needed: proofs are files in a directory, where
//! the stand-in looks for them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use reseed::manager::report::Report;
use reseed::manager::run::World;
use reseed::manager::{renew, roll};
use reseed::system::root::Root;
use tempfile::TempDir;
use time::OffsetDateTime;

use super::site::Site;
use super::standin::{Look, Standin};
use crate::support::{RESEED, Ran, scratch};

pub struct Alone {
    pub standin: Standin,
    pub directory: TempDir,
    top: PathBuf,
    root: Root,
}

impl Alone {
    /// One whose authority has these further keys in its table.
    pub fn new(more: &str) -> Self {
        let directory = scratch();
        let standin = Standin::new(directory.path());
        let top = directory.path().join("top");
        let alone = Self { standin, top, root: Root::open("/".as_ref()).unwrap(), directory };
        let host = hostname::get().unwrap().into_string().unwrap();
        let text = format!(
            "[globals]\nprod_cert_dir = 'prod'\nlogdir = 'log'\nmin_roll_mins = 0\ndns_xtra_ns = []\n\
             [[dns_primary]]\ndomain = 'default'\nserver = '127.0.0.1'\nport = 9\n\
             [[groups]]\nactive = true\ndomain = 'lab.test'\nservices = ['*']\n\
             [web]\nservers = ['{host}']\nserver_dir = '{}'\n",
            alone.tokens().display()
        );
        fs::create_dir_all(alone.tokens()).unwrap();
        alone.write("conf.d/ssl-mgr.conf", &text);
        alone.authorities(&alone.table("standin", &alone.standin, more));
        alone.standin.state().look = Some(alone.look());
        alone
    }

    /// The same with a service `web`.
    pub fn with_web(more: &str) -> Self {
        let alone = Self::new(more);
        alone.service("web", "'standin'");
        alone
    }

    /// Looks for tokens where they belong.
    pub fn look(&self) -> Look {
        let tokens = self.tokens().join("lab.test/.well-known/acme-challenge");
        Box::new(move |_, kind, token, proof| {
            let found = fs::read_to_string(tokens.join(token)).unwrap_or_default();
            kind == "http-01" && found.trim_end() == proof
        })
    }

    /// The table of an authority, by http-01.
    pub fn table(&self, name: &str, standin: &Standin, more: &str) -> String {
        let table = Site::acme(name, &standin.directory(), standin.trust(), "http-01", "");
        // A profile is named by the cases that are about them.
        match more.contains("ca_preferred_acme_profile") {
            true => table.replace("ca_preferred_acme_profile = ''\n", "") + more,
            false => table + more,
        }
    }

    pub fn authorities(&self, tables: &str) {
        self.write("conf.d/ca-info.conf", tables);
    }

    /// Writes a service of two names.
    pub fn service(&self, name: &str, signers: &str) {
        let text = format!(
            "name = '{name}'\ngroup = 'lab.test'\nservice = '{name}'\nsigning_ca = {signers}\n\
             [KeyOpts]\nktype = 'ec'\nec_algo = 'secp256r1'\n[X509]\nCN = '{name}.lab.test'\nO = 'Example'\nC = 'US'\n\
             OU = ''\nL = ''\nST = ''\nemail = 'hostmaster@lab.test'\nsans = ['{name}.lab.test', 'www.{name}.lab.test']\n"
        );
        self.write(&format!("conf.d/lab.test/{name}"), &text);
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    fn tokens(&self) -> PathBuf {
        self.directory.path().join("www")
    }

    /// How many tokens lie there.
    pub fn proofs(&self) -> usize {
        let entries = walkdir::WalkDir::new(self.tokens()).into_iter().flatten();
        entries.filter(|entry| entry.file_type().is_file()).count()
    }

    /// `reseed manager` with these arguments.
    pub fn manager(&self, arguments: &str) -> Ran {
        let mut command = Command::new(RESEED);
        command.args(["manager", "--topdir"]).arg(&self.top).args(arguments.split_whitespace());
        command.stdin(std::process::Stdio::null()).env_remove("SSL_MGR_TOPDIR");
        Ran::of(&format!("reseed manager {arguments}"), &mut command)
    }

    /// Renews at a time of the test's choice.
    pub fn renew_at(&self, now: OffsetDateTime) -> Report {
        renew::renew(self.world(now), &renew::Request::default()).unwrap()
    }

    /// Rolls at a time of the test's choice.
    pub fn roll_at(&self, now: OffsetDateTime) -> Report {
        roll::roll(self.world(now), &roll::Request::default()).unwrap()
    }

    fn world(&self, now: OffsetDateTime) -> World<'_> {
        let host = hostname::get().unwrap().into_string().unwrap();
        World { root: &self.root, top: self.top.clone(), config: None, now, host, tell: |_| {} }
    }
}
