//! One machine of the lab: made from the built root, booted, asked, and gone when it is dropped.
//!
//! The work is done by the shell scripts beside this file, which serve people too.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};

/// Cases by name, and why they cannot run here, if they cannot.
pub type Group<'a> = (fn() -> Option<String>, &'a [(&'a str, fn())]);

/// Runs these cases, two at a time. Those that cannot run here are reported as ignored, or, with
/// `RESEED_TESTS_REQUIRE_ALL=1`, as failed.
pub fn run(groups: &[Group<'_>]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A machine keeps about one processor busy while it boots.
    arguments.test_threads.get_or_insert(2);
    let required = std::env::var_os("RESEED_TESTS_REQUIRE_ALL").is_some_and(|value| value == "1");
    let mut trials = Vec::new();
    for (missing, cases) in groups {
        let missing = if arguments.list { None } else { missing() };
        if let Some(reason) = &missing {
            eprintln!("lab: no machine can be booted: {reason}");
        }
        for &(name, case) in *cases {
            let missing = missing.clone();
            let ignored = missing.is_some() && !required;
            let row = name.to_owned();
            let run = move || match missing {
                Some(reason) => Err(reason.into()),
                None => {
                    let began = Instant::now();
                    case();
                    TIMES.lock().unwrap().push((row, began.elapsed()));
                    Ok(())
                }
            };
            trials.push(Trial::test(name, run).with_ignored_flag(ignored));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for (name, took) in &*TIMES.lock().unwrap() {
        println!("lab: {name:<70} {:>6.1} s", took.as_secs_f64());
    }
    conclusion.exit_code()
}

/// How long the cases took that have passed, in the order of their ends.
static TIMES: Mutex<Vec<(String, Duration)>> = Mutex::new(Vec::new());

/// A machine under test.
pub struct Machine {
    name: &'static str,
    root: PathBuf,
}

impl Machine {
    /// Makes a mail server, not yet booted, with the program under test and the hooks we ship in it.
    pub fn new(name: &'static str) -> Self {
        let machine = Self::of("mail", name, &[]);
        fs::copy(program(), machine.path("/usr/bin/reseed")).unwrap();
        for hook in fs::read_dir(hooks_we_ship()).unwrap() {
            let hook = hook.unwrap();
            let copy = format!("/usr/lib/reseed/hooks.d/{}", hook.file_name().display());
            machine.write(&copy, &fs::read_to_string(hook.path()).unwrap());
        }
        machine
    }

    /// Makes a machine of this variant, not yet booted, with all that a package of `reseed` brings.
    pub fn installed(variant: &str, name: &'static str, options: &[&str]) -> Self {
        let machine = Self::of(variant, name, options);
        checked(script("install.sh").args([&machine.root, &program()]));
        machine
    }

    /// Makes a machine of this variant, not yet booted and without `reseed`. Options are those of `boot.sh`,
    /// such as `--disk`.
    pub fn of(variant: &str, name: &'static str, options: &[&str]) -> Self {
        built_root(variant);
        Self::made(name, &[&["--variant", variant], options].concat())
    }

    /// Copies it, powered off, as it stands; the copy has a machine-id of its own.
    pub fn cloned(&self, name: &'static str) -> Self {
        Self::made(name, &["--clone", self.name])
    }

    /// Whatever an earlier run left under this name goes first.
    fn made(name: &'static str, options: &[&str]) -> Self {
        checked(script("stop.sh").args([name, "--cut", "--remove"]));
        let owner = std::process::id().to_string();
        let root = checked(script("boot.sh").args([name, "--no-start", "--owner", &owner]).args(options));
        Self { name, root: PathBuf::from(root.trim_end()) }
    }

    /// Starts it and waits until its services are up.
    pub fn boot(&self) {
        self.boot_with(&[]);
    }

    /// The same with options of `boot.sh`, such as `--machine-id absent`.
    pub fn boot_with(&self, options: &[&str]) {
        checked(script("boot.sh").arg(self.name).args(options));
    }

    /// Starts it and comes back at once.
    pub fn start(&self) {
        self.boot_with(&["--no-wait"]);
    }

    /// Waits until its start, or a reboot from inside, is over; returns what `systemctl is-system-running` says.
    pub fn settled(&self) -> String {
        checked(script("exec.sh").args([self.name, "--settle", "90"])).trim_end().to_owned()
    }

    /// Powers it off in good order.
    pub fn power_off(&self) {
        self.stop(&[]);
    }

    /// Ends it on the spot. Made with `--disk`, it loses what was not synced.
    pub fn cut(&self) {
        self.stop(&["--cut"]);
    }

    /// The same, so many milliseconds after this unit's program has been started in the boot under way.
    pub fn cut_in(&self, unit: &str, milliseconds: u64) {
        self.stop(&["--cut", "--when", unit, &milliseconds.to_string()]);
    }

    fn stop(&self, options: &[&str]) {
        checked(script("stop.sh").arg(self.name).args(options));
        // So that the files on a disk can be looked at.
        self.boot_with(&["--no-start"]);
    }

    /// Enables a unit, powered off: this target pulls it in from now on.
    pub fn enable(&self, unit: &str, target: &str) {
        checked(
            Command::new("systemctl").arg("--quiet").arg("--root").arg(&self.root).args(["enable", unit]),
        );
        assert!(self.path(&format!("/etc/systemd/system/{target}.wants/{unit}")).is_symlink(), "{unit}");
    }

    /// Has these generators timed from the next boot on.
    pub fn time_generators(&self, generators: &[&str]) {
        for generator in generators {
            let wrapper = format!("/etc/systemd/system-generators/{generator}");
            self.write(&wrapper, &fs::read_to_string(scripts().join("timed-generator")).unwrap());
            fs::set_permissions(self.path(&wrapper), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// How long each run of a timed generator took, in the order of the runs since the boot.
    pub fn generator_times(&self, generator: &str) -> Vec<Duration> {
        let times = self.ok(&["cat", "/run/generator-times"]);
        let of_this_one = times.lines().filter_map(|line| line.strip_prefix(generator)?.strip_prefix(' '));
        of_this_one.map(|nanoseconds| Duration::from_nanos(nanoseconds.parse().unwrap())).collect()
    }

    /// Asks these ports all the time from now on, from outside, and keeps what they show. The machine is started.
    pub fn watch(&self, ports: &[u16]) -> Watch {
        let seen = self.root.with_file_name("watch");
        let ports = ports.iter().map(u16::to_string);
        let mut watch = script("watch.sh");
        watch.arg(self.name).args(ports).stdout(File::create(&seen).unwrap());
        Watch { child: watch.spawn().unwrap(), seen }
    }

    /// Has a name server answer at this address, from outside: it knows this machine by this name. The machine is
    /// started.
    pub fn resolver(&self, address: &str, fqdn: &str) -> Resolver {
        let outside = |command: &[&str]| {
            let mut exec = script("exec.sh");
            exec.args([self.name, "--outside"]).args(command);
            exec
        };
        checked(&mut outside(&["ip", "addr", "add", &format!("{address}/24"), "dev", "eth0"]));
        let perl = scripts().join("resolver.pl");
        let mut serve = outside(&[perl.to_str().unwrap(), address, fqdn, "198.51.100.10"]);
        let mut child = serve.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "no name server");
        Resolver { child }
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

    /// What this unit has written into the journal in this boot.
    pub fn journal(&self, unit: &str) -> String {
        self.ok(&["journalctl", "--sync"]);
        self.ok(&["journalctl", "-q", "-b", "-o", "cat", "-u", unit])
    }

    /// Waits until something holds.
    pub fn wait_until(&self, what: &str, seconds: u64, holds: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !holds() {
            assert!(Instant::now() < end, "{}: not after {seconds} s: {what}", self.name);
            thread::sleep(Duration::from_millis(100));
        }
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

    /// Everything that a port sends, in PEM and in its order, to a client that trusts this root alone and takes
    /// nothing else than a chain that leads to it, for this name.
    pub fn chain_for(&self, fqdn: &str, port: u16, root: &Path) -> Vec<String> {
        let addresses = self.ok(&["ip", "-4", "-o", "addr", "show", "dev", "eth0", "scope", "global"]);
        let address = addresses.split_whitespace().nth(3).unwrap().split('/').next().unwrap();
        let mut client = script("exec.sh");
        client.args([self.name, "--outside", "timeout", "15", "openssl", "s_client", "-showcerts"]);
        client.args([
            "-connect",
            &format!("{address}:{port}"),
            "-servername",
            fqdn,
            "-verify_hostname",
            fqdn,
        ]);
        client.args(["-verify_return_error", "-no-CApath", "-no-CAstore", "-CAfile"]).arg(root);
        if port == 25 {
            client.args(["-starttls", "smtp"]);
        }
        let said = checked(&mut client);
        assert!(said.contains("Verify return code: 0 (ok)"), "port {port}:\n{said}");
        let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n");
        // The certificate itself is told once more after the chain.
        let chain = said.split("Server certificate").next().unwrap();
        chain
            .split(begin)
            .skip(1)
            .map(|rest| format!("{begin}{}{end}", rest.split_once(end).unwrap().0))
            .collect()
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

/// Asks ports of a machine all the time; ends when it is dropped.
pub struct Watch {
    child: Child,
    seen: PathBuf,
}

impl Watch {
    /// Every certificate that was shown until now, in the order of time.
    pub fn shown(&self) -> Vec<Shown> {
        let seen = fs::read_to_string(&self.seen).unwrap();
        // The last line may still be half written.
        let lines = seen.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.map(Shown::from_line).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A name server; ends when it is dropped.
pub struct Resolver {
    child: Child,
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One sight of a certificate.
#[derive(Debug)]
pub struct Shown {
    /// Milliseconds since 1970.
    pub at: u64,
    pub port: u16,
    pub fingerprint: String,
    /// As RFC 2253 writes it.
    pub subject: String,
}

impl Shown {
    fn from_line(line: &str) -> Self {
        let fields: Vec<_> = line.split('\t').collect();
        let [at, port, fingerprint, subject] = fields.try_into().expect("a line of watch.sh");
        Self {
            at: at.parse().unwrap(),
            port: port.parse().unwrap(),
            fingerprint: fingerprint.to_owned(),
            subject: subject.to_owned(),
        }
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

/// The program under test: the one that this variable names, or the one that was built with the tests.
pub fn program() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_reseed"));
    std::env::var_os("RESEED_LAB_BINARY").map_or_else(built, PathBuf::from)
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

/// Builds the root that machines of this variant are copied from, where it is not built yet, and keeps other
/// runs from this checkout waiting.
pub fn built_root(variant: &str) {
    static LOCK: OnceLock<File> = OnceLock::new();
    LOCK.get_or_init(|| {
        fs::create_dir_all(lab_directory()).unwrap();
        let lock = File::create(lab_directory().join("lock")).unwrap();
        lock.lock().unwrap();
        lock
    });
    let built = script("build-root.sh").arg(variant).status().unwrap();
    assert!(built.success(), "the root of {variant} was not built: {built}");
}

/// One of the scripts beside this file.
pub fn script(name: &str) -> Command {
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
