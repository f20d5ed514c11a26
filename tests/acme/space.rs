//! A private network: namespaces of network, mounts, host name and processes, with a `/run` and a `/srv` of
//! their own. Whatever runs in it ends with it: the kernel ends all processes of a namespace with its first one,
//! and that one reads a pipe that this program holds, so that it ends even when this program is killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support;

/// The machine that the manager runs on.
pub const MANAGER: &str = "manager.lab.test";

/// A machine in namespaces of its own.
pub struct Space {
    holder: Child,
    files: PathBuf,
    links: AtomicU32,
}

/// Why there can be none here.
pub fn missing() -> Option<String> {
    if !support::is_root() {
        return Some("only root can make namespaces".to_owned());
    }
    let tools =
        ["unshare", "nsenter", "ip", "pebble", "named", "rndc", "dig", "openssl", "nginx", "sshd", "ssh"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)).collect();
    let absent: Vec<&str> =
        tools.into_iter().filter(|tool| !places.iter().any(|place| place.join(tool).is_file())).collect();
    if !absent.is_empty() {
        return Some(format!("{} not installed (tests/run does that)", absent.join(", ")));
    }
    let tried =
        Command::new("unshare").args(["--net", "--mount", "--pid", "--uts", "--fork", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

impl Space {
    /// A machine of this name, whose files (`resolv.conf`, `hosts`) are taken from a directory. `addresses` are
    /// those of its loopback besides the usual ones.
    pub fn new(name: &str, files: &Path, addresses: &[&str]) -> Self {
        fs::create_dir_all(files).unwrap();
        for (file, text) in
            [("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n"), ("hosts", HOSTS)]
        {
            let file = files.join(file);
            if !file.exists() {
                fs::write(file, text).unwrap();
            }
        }
        let mut holder = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--uts",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                SETUP,
                "sh",
                name,
            ])
            .arg(files)
            .args(addresses)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "{name} could not be set up");
        Self { holder, files: files.to_owned(), links: AtomicU32::new(0) }
    }

    /// Another machine, reached from this one at its address; here is 10.53.0.1.
    pub fn neighbour(&self, name: &str, address: &str, files: &Path) -> Self {
        let other = Self::new(name, files, &[]);
        let here = format!("v{}", self.links.fetch_add(1, Ordering::Relaxed));
        let target = other.holder.id().to_string();
        let ip = |space: &Self, arguments: &[&str]| support::checked(space.command("ip").args(arguments));
        ip(self, &["link", "add", &here, "type", "veth", "peer", "name", "eth0", "netns", &target]);
        ip(self, &["addr", "add", "10.53.0.1", "peer", address, "dev", &here]);
        ip(self, &["link", "set", &here, "up"]);
        ip(&other, &["addr", "add", address, "peer", "10.53.0.1", "dev", "eth0"]);
        ip(&other, &["link", "set", "eth0", "up"]);
        other
    }

    /// A program in here, run by its caller and waited for: it is the caller's own child.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--uts", "--target", &self.holder.id().to_string(), "--"]);
        command.arg(program).stdin(Stdio::null());
        command
    }

    /// A service in here, with what it writes in a file; it ends with the space.
    pub fn daemon(&self, name: &str, command: &[&str], environment: &[(&str, &str)]) -> Daemon {
        let log = self.files.join(format!("{name}.log"));
        let file = fs::File::create(&log).unwrap();
        let pid = self.holder.id();
        let child = Command::new("nsenter")
            .args(["--net", "--mount", "--uts", "--target", &pid.to_string()])
            .arg(format!("--pid=/proc/{pid}/ns/pid_for_children"))
            .arg("--")
            .args(command)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Daemon { child, log }
    }

    /// A path of this machine's own `/srv`, as this program sees it.
    pub fn srv(&self, path: &str) -> PathBuf {
        self.files.join("srv").join(path)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Something that runs in a space.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// What it has written.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until it writes this; it must not end before.
    #[track_caller]
    pub fn says(&mut self, words: &str) {
        let log = self.log.clone();
        let mut ended = || self.child.try_wait().unwrap().is_some();
        until(|| {
            let said = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
            let found = said.contains(words);
            assert!(found || !ended(), "{}: ended:\n{said}", log.display());
            if found { Ok(()) } else { Err(format!("{words:?} is not in {}:\n{said}", log.display())) }
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        for child in self.children() {
            // It may have ended just now.
            let _ = nix::sys::signal::kill(child, signal);
        }
        // nsenter stops when what it waits for does, and is to go on with it.
        if signal != Signal::SIGSTOP {
            let _ = nix::sys::signal::kill(
                Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
                Signal::SIGCONT,
            );
        }
    }

    /// Ends it, and waits for that.
    pub fn end(&self) {
        self.signal(Signal::SIGKILL);
        until(|| match self.children().is_empty() {
            true => Ok(()),
            false => Err(format!("{} does not end", self.log.display())),
        });
    }

    /// The namespace has its own numbers for its processes; here they are known by their parent.
    fn children(&self) -> Vec<Pid> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().map(|child| Pid::from_raw(child.parse().unwrap())).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What stands in between ends with it, and waits for it.
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Looks again and again until it holds; says the last reason when it does not within half a minute.
#[track_caller]
pub fn until(holds: impl FnMut() -> Result<(), String>) {
    if let Err(reason) = within(Duration::from_secs(30), holds) {
        panic!("{reason}");
    }
}

/// Looks again and again until it holds, or for so long.
pub fn within(time: Duration, mut holds: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let end = Instant::now() + time;
    loop {
        match holds() {
            Ok(()) => return Ok(()),
            Err(reason) if Instant::now() > end => return Err(reason),
            Err(_) => std::thread::sleep(Duration::from_millis(3)),
        }
    }
}

const HOSTS: &str = "127.0.0.1 localhost manager.lab.test pebble.lab.test\n::1 localhost\n\
    10.53.0.11 web1.lab.test web1\n10.53.0.12 web2.lab.test web2\n10.53.0.13 web3.lab.test web3\n";

/// `$1` is the name, `$2` the directory of files, then addresses.
const SETUP: &str = "set -e
name=$1 files=$2; shift 2
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/sshd \"$files/srv\"
mount --bind \"$files/srv\" /srv
for file in resolv.conf hosts; do mount --bind \"$files/$file\" /etc/$file; done
hostname \"$name\"
ip link set lo up
for address; do ip addr add \"$address\" dev lo; done
echo ready
read -r _ || :";
