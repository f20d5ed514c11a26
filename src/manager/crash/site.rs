//! A site in a directory: an authority of its own, two services, a server that takes up what is in production,
//! and a name server that loads what is in its directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};

use crate::manager::report::Report;
use crate::manager::run::{ManagerError, World};
use crate::system::root::Root;

/// The moment at which a site is begun.
pub const START: OffsetDateTime = time::macros::datetime!(2026-11-25 10:00 UTC);

/// All of it, in a directory of its own.
pub struct Site {
    directory: tempfile::TempDir,
}

/// What a run is asked for.
pub type Command = fn(World<'_>) -> Result<Report, ManagerError>;

impl Site {
    /// Where nothing has been made yet.
    pub fn new() -> Self {
        let site = Self { directory: scratch() };
        for directory in ["top/conf.d/ca", "top/conf.d/example.com", "zones"] {
            fs::create_dir_all(site.path(directory)).unwrap();
        }
        site.write("top/conf.d/ca-info.conf", AUTHORITIES);
        site.write("top/conf.d/ca/root", &service("ca", "root", "self", "[CA]\nsign_end_days = 3650\n"));
        site.write("top/conf.d/ca/int", &service("ca", "int", "root", "[CA]\nsign_end_days = 90\n"));
        let dane = "dane_tls = [[443, \"tcp\", 3, 1, 1]]\ndane_tls_ttl = 60\n";
        site.write("top/conf.d/example.com/mail", &service("example.com", "mail", "int", ""));
        site.write(
            "top/conf.d/example.com/web",
            &(dane.to_owned() + &service("example.com", "web", "int", "")),
        );
        site.configure();
        site
    }

    /// A copy that has nothing in common with it.
    pub fn copy(&self) -> Self {
        let copy = Self { directory: scratch() };
        for entry in walkdir::WalkDir::new(self.directory.path()).min_depth(1) {
            let entry = entry.unwrap();
            let to = copy.directory.path().join(entry.path().strip_prefix(self.directory.path()).unwrap());
            if entry.file_type().is_dir() {
                fs::create_dir(&to).unwrap();
                fs::set_permissions(&to, entry.metadata().unwrap().permissions()).unwrap();
            } else if entry.path_is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), to).unwrap();
            } else {
                // With its mode.
                fs::copy(entry.path(), to).unwrap();
            }
        }
        copy.configure();
        copy
    }

    /// Programs are run on the running system, so they are told where this site lies.
    fn configure(&self) {
        let top = self.directory.path().display();
        self.write("top/conf.d/ssl-mgr.conf", &CONFIGURATION.replace("TOP", &top.to_string()));
        for (program, text) in [("reload", RELOAD), ("zone", ZONE)] {
            self.write(program, &text.replace("TOP", &top.to_string()));
            fs::set_permissions(self.path(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Its root; what is told of it by one handle is not known to another.
    pub fn root(&self) -> Root {
        Root::open(self.directory.path()).unwrap().pretend_live()
    }

    /// Runs a command so many days after the start.
    pub fn run(&self, root: &Root, days: i64, command: Command) -> Result<Report, ManagerError> {
        let now = START + Duration::days(days);
        command(World {
            root,
            top: "/top".into(),
            config: None,
            now,
            host: "mail.example.com".into(),
            tell: |_| {},
        })
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.path(path)).ok()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }
}

/// In memory where there is such a place: the order of changes is what is tested here.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn service(group: &str, name: &str, signer: &str, more: &str) -> String {
    let subject = format!("CN = \"{name}.example.com\"\nO = \"Example\"\nC = \"US\"\n");
    let names = if group == "ca" { String::new() } else { format!("sans = [\"{name}.example.com\"]\n") };
    format!(
        "name = \"{name}\"\ngroup = \"{group}\"\nservice = \"{name}\"\nsigning_ca = \"{signer}\"\n\
         [KeyOpts]\nktype = \"ec\"\nec_algo = \"secp256r1\"\n[X509]\n{subject}{names}{more}"
    )
}

const AUTHORITIES: &str = "[root]\nca_desc = \"root\"\nca_type = \"self\"\n\
    [int]\nca_desc = \"int\"\nca_type = \"local\"\n";

const CONFIGURATION: &str = r#"
[globals]
prod_cert_dir = "/production"
min_roll_mins = 0
clean_keep = 1
[[groups]]
domain = "ca"
services = ["root", "int"]
active = true
[[groups]]
domain = "example.com"
services = ["mail", "web"]
active = true
[dns]
restart_cmd = "TOP/zone"
tlsa_dirs = ["/zones"]
depends = ["dns"]
[web]
servers = ["localhost"]
restart_cmd = "TOP/reload"
skip_prod_copy = true
svc_depends = [["example.com", ["web"]]]
"#;

/// A server: what it serves from now on.
const RELOAD: &str = "#!/bin/sh\nexec cp TOP/production/example.com/web/curr/cert.pem TOP/taken-up\n";

/// A name server: what it answers from now on.
const ZONE: &str = "#!/bin/sh\nexec cp TOP/zones/tlsa.example.com TOP/loaded\n";
