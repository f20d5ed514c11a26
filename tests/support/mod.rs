//! A scratch machine for tests: a copy of a sample tree with the certificates that an installer
//! leaves in it, the program run on it, what has changed since, and what OpenSSL and GnuTLS say of
//! a certificate.
//!
//! Everything works as root and as an ordinary user. A test that needs a tool which is not there
//! says so and passes; with `RESEED_TESTS_REQUIRE_ALL=1`, as `tests/run` sets it, it fails.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

/// The program under test.
pub const RESEED: &str = match option_env!("CARGO_BIN_EXE_reseed") {
    Some(program) => program,
    // Examples are not told: the one that was built beside them.
    None => concat!(env!("OUT_DIR"), "/../../../reseed"),
};

/// A seed with every field.
pub const SEED: &str = "[subject]\ncountry = \"US\"\nstate = \"Utah\"\nlocality = \"Ogden\"\n\
    organization = \"Example Mail\"\norganizational_unit = \"Operations\"\nemail = \"hostmaster@example.com\"\n";

/// The sample machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Fedora,
    Debian,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Fedora => "fedora",
            Self::Debian => "debian",
        }
    }
}

/// A machine in a directory, gone when it is dropped.
pub struct Machine {
    directory: TempDir,
    _model: Option<Arc<TempDir>>,
}

/// Certificates take a second to make, so each family's are made once and copied from then on.
static MODELS: Mutex<BTreeMap<Family, Weak<TempDir>>> = Mutex::new(BTreeMap::new());

impl Machine {
    /// A machine as its installer left it, with our hooks in it. Nothing when `openssl`, which
    /// makes the old certificates, is missing.
    pub fn new(family: Family) -> Option<Self> {
        if !has("openssl") {
            return None;
        }
        let model = model(family);
        let machine = Self { directory: scratch(), _model: Some(Arc::clone(&model)) };
        copy_tree(model.path(), machine.directory.path(), true);
        Some(machine)
    }

    /// A machine of a tree of files, with no certificates and no hooks but those in the tree.
    pub fn of_tree(tree: &Path) -> Self {
        let machine = Self { directory: scratch(), _model: None };
        copy_tree(tree, machine.directory.path(), false);
        machine
    }

    /// A machine that has this name and nothing else.
    pub fn bare(hostname: &str) -> Self {
        let machine = Self { directory: scratch(), _model: None };
        machine.write("/etc/os-release", "ID=debian\n");
        machine.write("/etc/hostname", &format!("{hostname}\n"));
        machine.accounts(&["root"]);
        machine
    }

    /// Accounts, all with the numbers of whoever runs the test: nobody else could give files away.
    pub fn accounts(&self, names: &[&str]) {
        let (user, group) = whoami();
        let lines = |number| names.iter().map(|name| format!("{name}:x:{number}:\n")).collect::<String>();
        self.write("/etc/passwd", &lines(user));
        self.write("/etc/group", &lines(group));
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// A path of the machine as the host sees it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Writes a file of mode 0644, and the directories above it.
    pub fn write(&self, path: &str, text: &str) {
        let file = self.path(path);
        self.directory(Path::new(path).parent().and_then(Path::to_str).unwrap_or("/"));
        fs::write(&file, text).unwrap_or_else(|error| panic!("{path}: {error}"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub fn directory(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    pub fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The machine is called something else from now on.
    pub fn rename(&self, hostname: &str) {
        self.write("/etc/hostname", &format!("{hostname}\n"));
    }

    /// Runs `reseed --root` on this machine.
    pub fn reseed(&self, arguments: &[&str]) -> Ran {
        Ran::of(&format!("reseed {}", arguments.join(" ")), &mut self.command(arguments))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(RESEED);
        command.arg("--root").arg(self.root()).args(arguments).stdin(Stdio::null());
        command
    }

    /// The relocation that most tests begin with.
    pub fn rehomed(self) -> Self {
        let seed = self.seed_file(SEED);
        let ran = self.reseed(&["rehome", "--hostname", "mail.example.com", "--seed", &seed]);
        ran.exits(0);
        self
    }

    /// A seed file outside `/etc/reseed`, as an administrator brings it; its path on the host.
    pub fn seed_file(&self, text: &str) -> String {
        self.write("/root/seed.toml", text);
        self.path("/root/seed.toml").display().to_string()
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.root())
    }

    pub fn certificate(&self, path: &str) -> Certificate {
        Certificate { path: self.path(path) }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A test may have taken away what removing a directory needs.
        for entry in walkdir::WalkDir::new(self.root()).into_iter().flatten() {
            if entry.file_type().is_dir() {
                let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o755));
            }
        }
    }
}

fn model(family: Family) -> Arc<TempDir> {
    let mut models = MODELS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(model) = models.get(&family).and_then(Weak::upgrade) {
        return model;
    }
    let model = Arc::new(scratch());
    let machines = here().join("machines");
    copy_tree(&machines.join(family.name()), model.path(), false);
    let hooks = model.path().join("usr/lib/reseed/hooks.d");
    fs::create_dir_all(&hooks).unwrap();
    copy_tree(&here().join("../hooks.d"), &hooks, false);
    checked(Command::new("sh").arg(machines.join("make-old")).arg(model.path()).arg(family.name()));
    models.insert(family, Arc::downgrade(&model));
    model
}

/// The directory of the tests.
pub fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

pub fn scratch() -> TempDir {
    let directory = tempfile::Builder::new().prefix("reseed-test-").tempdir().unwrap();
    // As `/` is: some tests look through the eyes of another user.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

pub fn whoami() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

pub fn is_root() -> bool {
    whoami().0 == 0
}

/// Copies a tree with its links. `exact` keeps owners and modes too; a tree from the repository
/// gets the modes that an installer gives, whatever the umask of the checkout was.
fn copy_tree(from: &Path, to: &Path, exact: bool) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let meta = entry.metadata().unwrap();
        if meta.is_symlink() {
            symlink(fs::read_link(&source).unwrap(), &target).unwrap();
            continue;
        }
        if meta.is_dir() {
            if !target.is_dir() {
                fs::create_dir(&target).unwrap();
            }
            copy_tree(&source, &target, exact);
        } else if entry.file_name() != ".keep" {
            fs::copy(&source, &target).unwrap();
        } else {
            continue;
        }
        if exact {
            chown(&target, Some(meta.uid()), Some(meta.gid())).unwrap();
        }
        let mode = match (exact, meta.is_dir()) {
            (true, _) => meta.mode() & 0o7777,
            (false, true) => 0o755,
            (false, false) => 0o644,
        };
        fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// What a run of the program did.
#[derive(Debug)]
pub struct Ran {
    line: String,
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Runs a command to its end; `line` is what it is called when something is wrong with it.
    pub fn of(line: &str, command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            line: line.to_owned(),
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub fn exits(&self, status: i32) -> &Self {
        assert_eq!(self.status, Some(status), "{}\n{}{}", self.line, self.out, self.err);
        self
    }

    /// Standard output says so.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        assert!(self.out.contains(words), "{}: {words:?} is not in:\n{}{}", self.line, self.out, self.err);
        self
    }

    /// Standard error says so.
    #[track_caller]
    pub fn complains(&self, words: &str) -> &Self {
        assert!(self.err.contains(words), "{}: {words:?} is not in:\n{}", self.line, self.err);
        self
    }

    #[track_caller]
    pub fn never_says(&self, words: &str) -> &Self {
        let found = self.out.contains(words) || self.err.contains(words);
        assert!(!found, "{}: {words:?} is in:\n{}{}", self.line, self.out, self.err);
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{}: {error}:\n{}", self.line, self.out))
    }
}

/// Everything that can be seen of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, Seen>);

/// What can be seen of one path. No file is opened in a way that changes its access time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub kind: Kind,
    pub user: u32,
    pub group: u32,
    pub mode: u32,
    pub inode: u64,
    /// Modified, changed, and, of a file, read.
    pub times: [(i64, i64); 3],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Link(PathBuf),
    Directory,
    Other,
}

impl Seen {
    /// The same to whoever uses it: content, owner, mode.
    pub fn equals(&self, other: &Self) -> bool {
        (&self.kind, self.user, self.group, self.mode) == (&other.kind, other.user, other.group, other.mode)
    }
}

impl Snapshot {
    pub fn of(root: &Path) -> Self {
        let mut seen = BTreeMap::new();
        for entry in walkdir::WalkDir::new(root) {
            let entry = entry.unwrap();
            let meta = entry.path().symlink_metadata().unwrap();
            let kind = if meta.is_symlink() {
                Kind::Link(fs::read_link(entry.path()).unwrap())
            } else if meta.is_dir() {
                Kind::Directory
            } else if meta.is_file() {
                Kind::File(quietly_read(entry.path()))
            } else {
                Kind::Other
            };
            let read = if meta.is_file() { (meta.atime(), meta.atime_nsec()) } else { (0, 0) };
            let times = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()), read];
            let path = format!("/{}", entry.path().strip_prefix(root).unwrap().display());
            let mode = meta.mode() & 0o7777;
            let one = Seen { kind, user: meta.uid(), group: meta.gid(), mode, inode: meta.ino(), times };
            seen.insert(path, one);
        }
        Self(seen)
    }

    pub fn get(&self, path: &str) -> &Seen {
        self.0.get(path).unwrap_or_else(|| panic!("{path} is not there"))
    }

    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    pub fn paths(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The paths that came, went, or are in anything not what they were, down to the inode and the
    /// times; of directories, only what is not due to their entries.
    pub fn changed(&self, later: &Self) -> BTreeSet<String> {
        let all: BTreeSet<&String> = self.0.keys().chain(later.0.keys()).collect();
        all.into_iter()
            .filter(|path| match (self.0.get(*path), later.0.get(*path)) {
                (Some(a), Some(b)) if a.kind == Kind::Directory => !a.equals(b),
                (a, b) => a != b,
            })
            .cloned()
            .collect()
    }

    /// Nothing at all has happened since: no byte, no time stamp, no inode.
    #[track_caller]
    pub fn still_holds(&self, machine: &Machine, after: &str) {
        let now = machine.snapshot();
        let all: BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        let different: Vec<_> =
            all.into_iter().filter(|path| self.0.get(*path) != now.0.get(*path)).collect();
        assert!(different.is_empty(), "{after} has changed {different:?}");
    }
}

fn quietly_read(path: &Path) -> Vec<u8> {
    let quiet =
        fs::OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NOATIME.bits()).open(path);
    let mut content = Vec::new();
    match quiet {
        Ok(mut file) => std::io::Read::read_to_end(&mut file, &mut content).map(|_| content).unwrap(),
        Err(_) => fs::read(path).unwrap_or_default(),
    }
}

/// A certificate in a file, as OpenSSL and GnuTLS see it.
pub struct Certificate {
    path: PathBuf,
}

impl Certificate {
    /// `openssl x509 -noout …`
    pub fn ask(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-in"]).arg(&self.path).args(arguments);
        checked(&mut command).trim().to_owned()
    }

    /// The subject in the order of RFC 2253: common name and e-mail address first.
    pub fn subject(&self) -> String {
        self.ask(&["-subject", "-nameopt", "RFC2253,-esc_msb,utf8"]).replacen("subject=", "", 1)
    }

    pub fn issuer(&self) -> String {
        self.ask(&["-issuer", "-nameopt", "RFC2253,-esc_msb,utf8"]).replacen("issuer=", "", 1)
    }

    /// The serial in hexadecimal, comparable as text.
    pub fn serial(&self) -> String {
        format!("{:0>40}", self.ask(&["-serial"]).replacen("serial=", "", 1).to_lowercase())
    }

    /// One extension as OpenSSL writes it, without its own heading.
    pub fn extension(&self, name: &str) -> String {
        self.ask(&["-ext", name]).lines().map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// Start and end of its validity.
    pub fn validity(&self) -> (time::OffsetDateTime, time::OffsetDateTime) {
        let format = time::macros::format_description!(
            "[month repr:short] [day padding:space] [hour]:[minute]:[second] [year] GMT"
        );
        let dates = self.ask(&["-dates"]);
        let mut dates = dates.lines().map(|line| line.split_once('=').unwrap().1).map(|text| {
            time::PrimitiveDateTime::parse(text, format)
                .unwrap_or_else(|e| panic!("{text}: {e}"))
                .assume_utc()
        });
        (dates.next().unwrap(), dates.next().unwrap())
    }

    pub fn public_key(&self) -> String {
        self.ask(&["-pubkey"])
    }

    /// `openssl verify` takes it, trusting nobody but itself, for a server or client of this name.
    #[track_caller]
    pub fn verified_by_openssl(&self, name: &str, purpose: &str) {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-check_ss_sig", "-purpose", purpose]);
        command.args(["-verify_hostname", name, "-CAfile"]).arg(&self.path).arg(&self.path);
        checked(&mut command);
        let answer = self.ask(&["-checkhost", name]);
        assert!(answer.contains("does match certificate"), "{answer}");
    }

    /// `certtool` reads it and finds its signature, its time and its name right. That it complains
    /// of an issuer which is no CA lies in certtool, which never takes a certificate for its own
    /// trust anchor; GnuTLS itself does, see [`gnutls_connects`].
    #[track_caller]
    pub fn verified_by_gnutls(&self, name: &str) {
        checked(Command::new("certtool").arg("--certificate-info").arg("--infile").arg(&self.path));
        let mut command = Command::new("certtool");
        command.arg("--verify").arg("--verify-hostname").arg(name);
        command.arg("--load-ca-certificate").arg(&self.path).arg("--infile").arg(&self.path);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let verdict = said.rsplit("output:").next().unwrap_or_default();
        assert!(
            verdict.contains("Verified.") || verdict.contains("The certificate issuer is not a CA."),
            "{said}"
        );
        for wrong in ["signature in", "does not match", "not yet activated", "expired", "insecure", "purpose"]
        {
            assert!(!verdict.contains(wrong), "{said}");
        }
    }
}

/// The public half of the first key in a file.
pub fn public_half(path: &Path) -> String {
    checked(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(path)).trim().to_owned()
}

/// A GnuTLS client connects to an OpenSSL server that has this pair, and trusts its certificate.
#[track_caller]
pub fn gnutls_connects(certificate: &Path, key: &Path, name: &str) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{free}"), "-cert"])
        .arg(certificate)
        .arg("-key")
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    for _ in 0..50 {
        let output = Command::new("gnutls-cli")
            .arg("--x509cafile")
            .arg(certificate)
            .args(["--verify-hostname", name, "--port", &free, "127.0.0.1"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains("- Status:") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let _ = server.kill();
    let _ = server.wait();
    assert!(said.contains("- Status: The certificate is trusted."), "{said}");
}

/// Runs a program to its end; what it writes. Panics with all it said when it fails.
#[track_caller]
pub fn checked(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {out}{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// Whether a tool is installed; see the head of this file for what happens when it is not.
pub fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    let package = match tool {
        "certtool" | "gnutls-cli" => "gnutls-bin",
        "named" => "bind9",
        "named-checkzone" | "rndc" | "dnssec-dsfromkey" => "bind9-utils",
        "dig" => "bind9-dnsutils",
        "ip" | "ss" => "iproute2",
        "unshare" | "nsenter" => "util-linux",
        "ssh" | "ssh-keygen" => "openssh-client",
        "sshd" => "openssh-server",
        "nginx" => "nginx-light",
        "pebble-challtestsrv" => "pebble",
        other => other,
    };
    found || skipped(&format!("install {package} (tests/run does)"))
}

/// Says that a test is not run, and why; always `false`. A test is told once, since `tests/run` counts the lines.
pub fn skipped(why: &str) -> bool {
    let required = std::env::var_os("RESEED_TESTS_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "{why}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Without threads every test is "main".
    if test == "main" || told.insert(test.clone()) {
        // Not by a macro: the test harness would keep that to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
    }
    false
}

/// Some tests need the rights of root, whatever is required of the rest.
pub fn can_mount() -> bool {
    if !is_root() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr(), "skipped: {test}: only root can mount a file system");
    }
    is_root()
}
