//! Hosts for a test: each a network name space of its own with an sshd on port 22, and a view of the file system
//! in which the production tree and a directory of commands are its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{self, Ran, checked};

/// Hosts and the name space of the manager; all is gone when it is dropped.
pub struct Network {
    directory: TempDir,
    top: PathBuf,
    /// In the names of its name spaces: nobody else has it.
    mark: String,
    hosts: Vec<Host>,
}

pub struct Host {
    pub name: &'static str,
    address: String,
    space: String,
    /// Octets of its production tree, where that is small.
    size: Option<&'static str>,
    server: Option<Child>,
}

/// How many networks this process has had.
static COUNT: AtomicU32 = AtomicU32::new(0);

fn ip(arguments: &str) {
    checked(Command::new("ip").args(arguments.split_whitespace()));
}

impl Network {
    /// Hosts by name, whether each is behind the first one, and the size of its production tree in `top`.
    pub fn new(top: &Path, hosts: &[(&'static str, bool, Option<&'static str>)]) -> Self {
        let mark = format!("rsd{}-{}-", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = support::scratch();
        let mut network = Self { directory, top: top.to_owned(), mark, hosts: Vec::new() };
        let manager = network.space("m");
        ip(&format!("netns add {manager}"));
        ip(&format!("-n {manager} link set lo up"));
        let key = network.path("key");
        keygen(&key);
        let (mut known, mut config, mut names) = (String::new(), String::new(), String::new());
        for (at, (name, is_behind, size)) in hosts.iter().enumerate() {
            let own = network.space(&at.to_string());
            ip(&format!("netns add {own}"));
            ip(&format!("-n {own} link set lo up"));
            let near = if *is_behind { network.space("0") } else { manager.clone() };
            ip(&format!("link add n{at} netns {near} type veth peer name far netns {own}"));
            ip(&format!("-n {near} address add 10.99.{at}.1/24 dev n{at}"));
            ip(&format!("-n {own} address add 10.99.{at}.2/24 dev far"));
            ip(&format!("-n {near} link set n{at} up"));
            ip(&format!("-n {own} link set far up"));
            let address = format!("10.99.{at}.2");
            for directory in ["prod", "host"] {
                fs::create_dir_all(network.path(name).join(directory)).unwrap();
            }
            keygen(&network.path(name).join("key"));
            let public = fs::read_to_string(network.path(name).join("key.pub")).unwrap();
            known.push_str(&format!("{address} {public}"));
            names.push_str(&format!("{address} {name}\n"));
            let jump = if *is_behind { format!("ProxyJump {}\n", hosts[0].0) } else { String::new() };
            config.push_str(&format!("Host {name}\nHostName {address}\n{jump}"));
            network.hosts.push(Host { name, address, space: own, size: *size, server: None });
        }
        fs::write(network.path("known"), known).unwrap();
        fs::write(network.path("names"), format!("127.0.0.1 localhost\n{names}")).unwrap();
        let at = |file: &str| network.path(file).display().to_string();
        config.push_str(&format!(
            "Host *\nUser root\nIdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\n\
             GlobalKnownHostsFile none\nStrictHostKeyChecking yes\nConnectTimeout 3\n",
            at("key"),
            at("known")
        ));
        fs::write(network.path("ssh_config"), config).unwrap();
        fs::create_dir_all(top.join("host")).unwrap();
        for at in 0..network.hosts.len() {
            network.up(network.hosts[at].name);
        }
        network
    }

    fn space(&self, of: &str) -> String {
        format!("{}{of}", self.mark)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.iter_mut().find(|host| host.name == name).unwrap()
    }

    /// Starts a host's sshd, with its own view of the file system.
    pub fn up(&mut self, name: &str) {
        let own = self.path(name);
        let (top, authorized) = (self.top.clone(), self.path("key.pub"));
        let host = self.host(name);
        let config = own.join("sshd_config");
        fs::write(
            &config,
            format!(
                "Port 22\nListenAddress {}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
                 PidFile none\nPermitRootLogin yes\nPasswordAuthentication no\nLogLevel ERROR\n",
                host.address,
                own.join("key").display(),
                authorized.display()
            ),
        )
        .unwrap();
        let mount = match host.size {
            Some(size) => format!("mount -t tmpfs -o size={size} none \"$2/prod\""),
            None => "mount --bind \"$1/prod\" \"$2/prod\"".to_owned(),
        };
        let script = format!(
            "mount -t tmpfs none /run && mkdir /run/sshd && {mount} && mount --bind \"$1/host\" \"$2/host\" && \
             exec /usr/sbin/sshd -D -e -f \"$3\""
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host.space, "unshare", "--mount", "sh", "-c", &script, "sh"]);
        command.arg(&own).arg(&top).arg(&config).stdin(Stdio::null());
        host.server = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while !self.listens(name) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{name}: its sshd does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn listens(&mut self, name: &str) -> bool {
        let host = self.host(name);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host.space, "ss", "-Hltn", "sport = :22"]);
        !checked(&mut command).trim().is_empty()
    }

    /// Ends all that runs in a host.
    pub fn down(&mut self, name: &str) {
        let host = self.host(name);
        host.kill();
    }

    /// A file of a host as itself sees it, beneath `top`.
    pub fn seen(&mut self, name: &str, path: &str) -> PathBuf {
        let top = self.top.clone();
        let pid = self.host(name).server.as_ref().unwrap().id();
        PathBuf::from(format!("/proc/{pid}/root{}", top.join(path).display()))
    }

    /// Makes a program of a host, in `host/` beneath `top`.
    pub fn program(&self, name: &str, program: &str, text: &str) {
        let path = self.path(name).join("host").join(program);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a program in a host.
    pub fn run(&mut self, name: &str, arguments: &[&str]) -> String {
        let pid = self.host(name).server.as_ref().unwrap().id().to_string();
        checked(Command::new("nsenter").args(["--net", "--mount", "--target", &pid]).args(arguments))
    }

    /// Runs a program where the manager is: it knows the hosts by their names.
    pub fn manager(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("ip");
        let script = "mount --bind \"$1\" /etc/hosts && cd \"$2\" && shift 2 && exec \"$@\"";
        command.args(["netns", "exec", &self.space("m"), "unshare", "--mount", "sh", "-c", script, "sh"]);
        command.arg(self.path("names")).arg(&self.top).args(arguments).stdin(Stdio::null());
        Ran::of(&arguments.join(" "), &mut command)
    }
}

impl Host {
    fn kill(&mut self) {
        // Everything in the name space is ours: nobody else knows it.
        let listed = Command::new("ip").args(["netns", "pids", &self.space]).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        for pid in listed.unwrap_or_default().lines().filter_map(|pid| pid.trim().parse().ok()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let mut spaces = vec![self.space("m")];
        for host in &mut self.hosts {
            host.kill();
            spaces.push(host.space.clone());
        }
        for space in spaces {
            let _ = Command::new("ip").args(["netns", "del", &space]).output();
        }
    }
}

fn keygen(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    checked(command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(path));
}
