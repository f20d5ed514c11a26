//! A site that has its certificates from the bed's authorities: what it has written down, and what it has got.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::pebble::Pebble;
use super::zones::Zones;
use crate::support::{Snapshot, checked};

pub struct Site {
    top: PathBuf,
    /// `ssl-mgr.conf` in parts: `[globals]`, then tables.
    globals: String,
    tables: String,
}

impl Site {
    /// One without services, whose authority is `pebble`, by dns-01 and dynamic update.
    pub fn new(top: &Path, zones: &Zones, pebble: &Pebble) -> Self {
        let server = "server = '127.0.0.1'\nport = 53\n";
        let mut tables = format!("[[dns_primary]]\ndomain = 'default'\n{server}");
        for zone in ["lab.test", "acme-dns.test", "dane.test"] {
            for (key, purpose) in [("acme", "acme"), ("tlsa", "tlsa")] {
                let key = zones.key(key);
                tables += &format!(
                    "[[dns_update]]\ndomain = '{zone}'\n{server}key_file = '{}'\nfor = ['{purpose}']\n",
                    key.display()
                );
            }
        }
        tables += &format!(
            "[dns]\nrestart_cmd = '{}'\nacme_dir = '{}'\ntlsa_dirs = ['{}']\n",
            zones.bump().display(),
            zones.challenges().display(),
            zones.tlsa().display()
        );
        for group in ["lab.test", "files.test", "alias.test", "dane.test"] {
            tables += &format!("[[groups]]\nactive = true\ndomain = '{group}'\nservices = ['*']\n");
        }
        let globals = "[globals]\nprod_cert_dir = '/srv/prod'\nlogdir = 'log'\nmin_roll_mins = 0\ndns_xtra_ns = []\n\
            dns_check_timeout = 20\n";
        let site = Self { top: top.to_owned(), globals: globals.to_owned(), tables };
        for group in ["lab.test", "files.test", "alias.test", "dane.test"] {
            fs::create_dir_all(site.path(&format!("conf.d/{group}"))).unwrap();
        }
        site.configure("", "");
        site.authorities(&site.authority("pebble", pebble, "dns-01", ""));
        site
    }

    /// Writes `ssl-mgr.conf` with further globals and tables.
    pub fn configure(&self, globals: &str, tables: &str) {
        let key = |line: &str| line.split(" = ").next().unwrap_or_default().to_owned();
        let given: Vec<String> = globals.lines().map(key).collect();
        let kept = self.globals.split_inclusive('\n').filter(|line| !given.contains(&key(line)));
        let kept: String = kept.collect();
        self.write("conf.d/ssl-mgr.conf", &format!("{kept}{globals}{}{tables}", self.tables));
    }

    /// The table of an authority.
    pub fn authority(&self, name: &str, pebble: &Pebble, validation: &str, more: &str) -> String {
        Self::acme(name, &pebble.directory(), pebble.trust(), validation, more)
    }

    /// The table of any authority.
    pub fn acme(name: &str, directory: &str, trust: &Path, validation: &str, more: &str) -> String {
        format!(
            "[{name}]\nca_desc = '{name}'\nca_type = 'acme'\nca_validation = '{validation}'\n\
             ca_directory = '{directory}'\nca_trust = '{}'\nca_contact = ['hostmaster@lab.test']\n\
             ca_preferred_acme_profile = ''\n{more}",
            trust.display()
        )
    }

    /// Writes `ca-info.conf`.
    pub fn authorities(&self, tables: &str) {
        self.write("conf.d/ca-info.conf", tables);
    }

    /// Writes a service that `pebble` signs.
    pub fn service(&self, group: &str, name: &str, sans: &[&str]) {
        self.service_of(group, name, sans, "'pebble'", "");
    }

    /// Writes a service; `signers` is the value of `signing_ca`.
    pub fn service_of(&self, group: &str, name: &str, sans: &[&str], signers: &str, more: &str) {
        let quoted: Vec<String> = sans.iter().map(|san| format!("'{san}'")).collect();
        let text = format!(
            "name = '{name}'\ngroup = '{group}'\nservice = '{name}'\nsigning_ca = {signers}\n{more}\
             [KeyOpts]\nktype = 'ec'\nec_algo = 'secp256r1'\n[X509]\nCN = '{}'\nO = 'Example'\nC = 'US'\nOU = ''\n\
             L = ''\nST = ''\nemail = 'hostmaster@lab.test'\nsans = [{}]\n",
            sans[0],
            quoted.join(", ")
        );
        self.write(&format!("conf.d/{group}/{name}"), &text);
    }

    pub fn top(&self) -> &Path {
        &self.top
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes what only its owner may read.
    pub fn secret(&self, path: &str, text: &str) {
        self.write(path, text);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.top)
    }

    /// Names of the certificate of a version, such as `lab.test/web/next`: by OpenSSL, sorted.
    #[track_caller]
    pub fn names(&self, version: &str) -> Vec<String> {
        let said = self.openssl("x509 -noout -ext subjectAltName -in", &format!("certs/{version}/cert.pem"));
        let names = said.lines().skip(1).flat_map(|line| line.trim().split(", "));
        let names =
            names.filter_map(|name| name.strip_prefix("DNS:").or_else(|| name.strip_prefix("IP Address:")));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The serial of a version's certificate, in hexadecimal.
    #[track_caller]
    pub fn serial(&self, version: &str) -> String {
        let said = self.openssl("x509 -noout -serial -in", &format!("certs/{version}/cert.pem"));
        said.trim().trim_start_matches("serial=").to_owned()
    }

    /// Key and certificate belong together, and the chain leads to this root; by OpenSSL.
    #[track_caller]
    pub fn is_issued(&self, version: &str, root: &str) {
        self.is_pair(version);
        self.write("root.pem", root);
        let mut verify = std::process::Command::new("openssl");
        verify.args(["verify", "-CAfile"]).arg(self.path("root.pem")).arg("-untrusted");
        verify.arg(self.path(&format!("certs/{version}/chain.pem")));
        checked(verify.arg(self.path(&format!("certs/{version}/cert.pem"))));
        fs::remove_file(self.path("root.pem")).unwrap();
    }

    /// Key and certificate belong together.
    #[track_caller]
    pub fn is_pair(&self, version: &str) {
        let key = self.openssl("pkey -pubout -in", &format!("certs/{version}/privkey.pem"));
        let public = self.openssl("x509 -noout -pubkey -in", &format!("certs/{version}/cert.pem"));
        assert_eq!(key, public, "{version} is a mixed pair");
    }

    #[track_caller]
    pub fn openssl(&self, arguments: &str, file: &str) -> String {
        checked(std::process::Command::new("openssl").args(arguments.split(' ')).arg(self.path(file)))
    }
}
