//! The bed of a case: a private network with Pebble, three BIND servers, and a site whose certificates come from
//! there. Others (nginx, sshd, further machines) are added by the cases that want them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::pebble::{Knobs, Pebble};
use super::site::Site;
use super::space::{Daemon, MANAGER, Space};
use super::zones::Zones;
use crate::support::{RESEED, Ran, checked, scratch};

/// Everything that a case works with. Fields are dropped in their order: services, then the network.
pub struct Bed {
    pub pebble: Pebble,
    pub zones: Zones,
    pub site: Site,
    pub space: Space,
    directory: TempDir,
}

impl Bed {
    /// The usual one.
    pub fn new() -> Self {
        Self::with(&Knobs::default())
    }

    /// One whose Pebble behaves otherwise.
    pub fn with(knobs: &Knobs) -> Self {
        let directory = scratch();
        let place = directory.path();
        let space = Space::new(MANAGER, &place.join("net"), &["127.0.0.2/8"]);
        // Its keys take longer than BIND does.
        let mut pebble = Pebble::new(&space, &place.join("pebble"), knobs);
        let zones = Zones::new(&space, &place.join("dns"));
        pebble.ready();
        let site = Site::new(&place.join("top"), &zones, &pebble);
        Self { pebble, zones, site, space, directory }
    }

    /// A second authority beside the first, which listens elsewhere.
    pub fn second(&self, port: u16) -> Pebble {
        let knobs = Knobs { port, ..Knobs::default() };
        let mut pebble = Pebble::new(&self.space, &self.path(&format!("pebble-{port}")), &knobs);
        pebble.ready();
        pebble
    }

    /// `reseed manager` with these arguments.
    pub fn manager(&self, arguments: &str) -> Ran {
        Ran::of(&format!("reseed manager {arguments}"), &mut self.command(arguments))
    }

    /// The same, not yet run.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = self.space.command(RESEED);
        command.args(["manager", "--topdir"]).arg(self.site.top()).args(arguments.split_whitespace());
        command.env_remove("SSL_MGR_TOPDIR");
        command
    }

    /// The same, begun; its messages go to a file.
    pub fn begin(&self, arguments: &str) -> Child {
        let log = fs::File::create(self.path("begun.log")).unwrap();
        self.command(arguments).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// A path of the bed.
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// What is published of challenges, in every zone.
    pub fn challenges(&self) -> Vec<String> {
        let zones = ["lab.test", "files.test", "acme-dns.test", "dane.test"];
        let records = zones.iter().flat_map(|zone| self.zones.published(&self.space, zone));
        records.filter(|line| line.starts_with("_acme-challenge.") || line.starts_with("w1.")).collect()
    }

    /// nginx for the tokens of http-01 at port 80, from this directory, in a space.
    pub fn nginx(&self, space: &Space, root: &Path) -> Daemon {
        fs::create_dir_all(root).unwrap();
        let place = self.path("nginx");
        fs::create_dir_all(&place).unwrap();
        let config = place.join("nginx.conf");
        let text = format!(
            "daemon off; master_process off; user root; pid {0}/pid; error_log {0}/error.log notice;\n\
             events {{ }}\nhttp {{ access_log {0}/access.log;\n\
             client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d;\n\
             scgi_temp_path {0}/e; server {{ listen 80; root {1}; }} }}\n",
            place.display(),
            root.display()
        );
        fs::write(&config, text).unwrap();
        checked(space.command("nginx").args(["-t", "-q", "-c"]).arg(&config));
        let daemon = space.daemon("nginx", &["nginx", "-c", &config.display().to_string()], &[]);
        answers(space, "127.0.0.1", 80);
        daemon
    }

    /// Another machine with sshd, which takes the key of [`Self::ssh_options`].
    pub fn host(&self, name: &str, address: &str) -> Host {
        let space = self.space.neighbour(name, address, &self.path(name));
        let keys = self.path("ssh");
        if !keys.exists() {
            fs::create_dir(&keys).unwrap();
            for key in ["host", "user"] {
                let mut keygen = Command::new("ssh-keygen");
                checked(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(keys.join(key)));
            }
            fs::set_permissions(&keys, fs::Permissions::from_mode(0o755)).unwrap();
            fs::copy(keys.join("user.pub"), keys.join("authorized_keys")).unwrap();
            let key = fs::read_to_string(keys.join("host.pub")).unwrap();
            fs::write(keys.join("known_hosts"), format!("* {key}")).unwrap();
        }
        let text = format!(
            "Port 22\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\nPidFile none\nStrictModes no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\nUsePAM no\nMaxStartups 100\n",
            keys.display()
        );
        fs::write(self.path(name).join("sshd_config"), text).unwrap();
        let daemon = self.sshd(&space, name);
        Host { daemon, space }
    }

    /// The sshd of another machine.
    pub fn sshd(&self, space: &Space, name: &str) -> Daemon {
        let config = self.path(name).join("sshd_config").display().to_string();
        let mut daemon = space.daemon("sshd", &["/usr/sbin/sshd", "-D", "-e", "-f", &config], &[]);
        daemon.says("Server listening on 0.0.0.0 port 22");
        daemon
    }

    /// What `ssh` needs before the host, as `ssh_options` has it.
    pub fn ssh_options(&self) -> String {
        let keys = self.path("ssh");
        format!(
            "['-F', 'none', '-i', '{0}/user', '-o', 'UserKnownHostsFile={0}/known_hosts', '-o', 'BatchMode=yes']",
            keys.display()
        )
    }
}

/// Another machine.
pub struct Host {
    pub daemon: Daemon,
    pub space: Space,
}

/// Waits until somebody listens.
pub fn answers(space: &Space, address: &str, port: u16) {
    super::space::until(|| {
        let mut ss = space.command("ss");
        let listening = checked(ss.args(["-Hltn", "src", &format!("{address}:{port}")]));
        let any = checked(space.command("ss").args(["-Hltn", &format!("sport = :{port}")]));
        match listening.is_empty() && any.is_empty() {
            false => Ok(()),
            true => Err(format!("nobody listens at {address}:{port}")),
        }
    });
}

/// A program of somebody else in a space, run to its end.
pub fn peer(mut command: Command) -> Ran {
    let line = format!("{command:?}");
    Ran::of(&line, command.stdin(Stdio::null()))
}
