//! One machine of the lab: made from the built root, booted, asked, and gone when it is dropped.
//!
//! The work is done by the shell scripts beside this file, which serve people too.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// A machine under test.
pub struct Machine {
    name: &'static str,
    root: PathBuf,
}

impl Machine {
    /// Makes a machine, not yet booted, with the program under test and the hooks we ship in it.
    /// Whatever an earlier run left under this name goes first.
    pub fn new(name: &'static str) -> Self {
        built_root();
        checked(script("stop.sh").args([name, "--cut", "--remove"]));
        let owner = std::process::id().to_string();
        let root = checked(script("boot.sh").args([name, "--no-start", "--owner", &owner]));
        let machine = Self { name, root: PathBuf::from(root.trim_end()) };
        fs::copy(env!("CARGO_BIN_EXE_reseed"), machine.path("/usr/bin/reseed")).unwrap();
        for hook in fs::read_dir(hooks_we_ship()).unwrap() {
            let hook = hook.unwrap();
            let copy = format!("/usr/lib/reseed/hooks.d/{}", hook.file_name().display());
            machine.write(&copy, &fs::read_to_string(hook.path()).unwrap());
        }
        machine
    }

    /// Starts it and waits until its services are up.
    pub fn boot(&self) {
        checked(script("boot.sh").arg(self.name));
    }

    /// Powers it off in good order.
    pub fn power_off(&self) {
        checked(script("stop.sh").arg(self.name));
    }

    /// Gives it another name in `/etc/hostname` and `/etc/hosts`, and where it runs, in its kernel too.
    pub fn rename(&self, fqdn: &str) {
        let short = fqdn.split('.').next().unwrap_or(fqdn);
        self.write("/etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {fqdn} {short}\n::1 localhost\n"));
        self.write("/etc/hostname", &format!("{fqdn}\n"));
        if script("exec.sh").args([self.name, "true"]).stderr(Stdio::null()).status().unwrap().success() {
            self.ok(&["hostnamectl", "set-hostname", fqdn]);
        }
    }

    /// Runs a command in it.
    pub fn run(&self, command: &[&str]) -> Output {
        script("exec.sh").arg(self.name).args(command).output().unwrap()
    }

    /// Runs a command that must succeed; returns what it prints.
    pub fn ok(&self, command: &[&str]) -> String {
        checked(script("exec.sh").arg(self.name).args(command))
    }

    /// Runs `reseed` with these arguments; it must end with this status. Returns its standard output.
    pub fn reseed(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(&[&["reseed"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "reseed {arguments:?} said:\n{said}{complained}");
        said
    }

    /// What `systemctl` answers to a question such as `is-active`: a word, whatever its exit status.
    pub fn systemctl(&self, question: &str, unit: &str) -> String {
        String::from_utf8(self.run(&["systemctl", question, unit]).stdout).unwrap().trim_end().to_owned()
    }

    /// Asks the service manager for one property of a unit.
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.ok(&["systemctl", "show", "--value", "-p", property, unit]).trim_end().to_owned()
    }

    /// How often this boot has started or reloaded a unit.
    pub fn starts(&self, unit: &str) -> usize {
        // systemd.journal-catalog(7): SD_MESSAGE_UNIT_STARTED and SD_MESSAGE_UNIT_RELOADED.
        let unit = format!("UNIT={unit}");
        let started = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf";
        let reloaded = "MESSAGE_ID=7b05ebc668384222baa8881179cfda54";
        self.ok(&["journalctl", "--sync"]);
        self.ok(&["journalctl", "-q", "-b", "-o", "cat", "_PID=1", &unit, started, reloaded]).lines().count()
    }

    /// Asks, from outside, for the certificate on a port. A service may need a moment after its start.
    pub fn served(&self, fqdn: &str, port: u16) -> Served {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            match self.served_now(fqdn, port) {
                Some(served) => return served,
                None => assert!(Instant::now() < end, "{}: no TLS on port {port}", self.name),
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Asks once; `None` when there is no TLS on that port.
    pub fn served_now(&self, fqdn: &str, port: u16) -> Option<Served> {
        // It ends with 1 when a name does not match, which is for us to judge.
        let output = script("probe.sh").args([self.name, fqdn, &port.to_string()]).output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        let fields: Vec<_> = line.trim_end().split('\t').map(str::to_owned).collect();
        let [_, verdict, fingerprint, serial, subject] = fields.try_into().expect("a line of probe.sh");
        (verdict != "NOTLS").then(|| Served { matches: verdict == "MATCH", fingerprint, serial, subject })
    }

    /// The SHA-256 fingerprint of the first certificate in one of its files.
    pub fn fingerprint(&self, file: &str) -> String {
        let file = self.path(file);
        let said = checked(
            Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(file),
        );
        said.trim_end().split_once('=').unwrap().1.to_owned()
    }

    /// Where one of its files is on the host.
    pub fn path(&self, file: &str) -> PathBuf {
        self.root.join(file.trim_start_matches('/'))
    }

    /// Writes one of its files, and the directories above it.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Removes one of its files.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    /// The bytes of a file, its owner, group and mode.
    pub fn contents(&self, file: &str) -> (Vec<u8>, Access) {
        (fs::read(self.path(file)).unwrap(), self.access(file))
    }

    /// The owner, group and mode of a file.
    pub fn access(&self, file: &str) -> Access {
        let stat = fs::metadata(self.path(file)).unwrap();
        Access { owner: stat.uid(), group: stat.gid(), mode: stat.mode() & 0o7777 }
    }

    /// Every file beneath these directories with all that a write would change: inode, size, owner, mode,
    /// time stamps to the nanosecond (not the time of access), and where links lead.
    pub fn listing(&self, directories: &[&str]) -> String {
        let paths = directories.iter().map(|directory| self.path(directory));
        let listing =
            checked(Command::new("find").args(paths).args(["-printf", "%p %i %y %s %U:%G %m %T@ %C@ %l\\n"]));
        let mut lines: Vec<_> = listing.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }
}

impl Drop for Machine {
    /// Leaves nothing behind, and where its case failed, its journal.
    fn drop(&mut self) {
        if thread::panicking() {
            let journal = lab_directory().join(format!("{}.journal", self.name));
            let _ = fs::write(&journal, self.run(&["journalctl", "-q", "-b", "--no-hostname"]).stdout);
            eprintln!("lab: {}: its journal is in \"{}\"", self.name, journal.display());
        }
        let _ = script("stop.sh").args([self.name, "--cut", "--remove"]).status();
    }
}

/// What a service showed to a client.
#[derive(Debug)]
pub struct Served {
    /// Whether the certificate holds for the name asked for.
    pub matches: bool,
    pub fingerprint: String,
    /// Hexadecimal digits.
    pub serial: String,
    /// As RFC 2253 writes it.
    pub subject: String,
}

/// Who may do what with a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Access {
    owner: u32,
    group: u32,
    mode: u32,
}

/// Why no machine can run here; `None` when one can.
pub fn missing() -> Option<String> {
    let Ok(output) =
        Command::new("bash").arg("-c").arg(". \"$0\"; lab_missing").arg(scripts().join("common.sh")).output()
    else {
        return Some("bash not found".to_owned());
    };
    let reason = [output.stdout, output.stderr].concat();
    let reason = String::from_utf8_lossy(&reason).trim_end().to_owned();
    (!reason.is_empty()).then_some(reason)
}

/// Where the hooks that we ship are.
pub fn hooks_we_ship() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks.d")
}

/// Runs a command that must succeed; returns what it prints.
pub fn checked(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// Builds the root that machines are copied from, once, and keeps other runs from this checkout waiting.
fn built_root() {
    static LOCK: OnceLock<File> = OnceLock::new();
    LOCK.get_or_init(|| {
        fs::create_dir_all(lab_directory()).unwrap();
        let lock = File::create(lab_directory().join("lock")).unwrap();
        lock.lock().unwrap();
        let built = script("build-root.sh").arg("mail").status().unwrap();
        assert!(built.success(), "the root was not built: {built}");
        lock
    });
}

fn script(name: &str) -> Command {
    let mut command = Command::new(scripts().join(name));
    command.env("RESEED_LAB_DIR", lab_directory()).stdin(Stdio::null());
    command
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab")
}

fn lab_directory() -> PathBuf {
    let beside_builds = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("lab");
    std::env::var_os("RESEED_LAB_DIR").map_or_else(beside_builds, PathBuf::from)
}
