//! Bad input: texts that cannot be understood, names that are none, links that lead out, disks
//! that are full, groups that are missing. It is refused with its place, or it fails alone; what
//! was there stands, and nothing outside the root is ever touched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use support::{Kind, Machine, RESEED, Snapshot, can_mount, checked, is_root, scratch};

/// Every command that looks or acts.
const COMMANDS: [&[&str]; 6] =
    [&["status"], &["plan"], &["check"], &["apply"], &["rehome"], &["explain", "/srv/demo.pem"]];

fn hook(path: &str) -> String {
    format!(
        "version = 1\ndescription = \"a test\"\n[applies]\nfiles = [\"/etc/os-release\"]\n[[certificate]]\n\
         [[certificate.file]]\npath = \"{path}\"\nholds = [\"key\", \"certificate\"]\n"
    )
}

fn hook_file(name: &str) -> String {
    format!("/etc/reseed/hooks.d/{name}.toml")
}

/// A machine with one hook, `/srv/demo.pem`, made for mail.example.com.
fn machine() -> Machine {
    let machine = unmade();
    machine.reseed(&["apply"]).exits(0).says("demo: made again");
    machine
}

fn unmade() -> Machine {
    let machine = Machine::bare("mail.example.com");
    machine.directory("/srv");
    machine.write(&hook_file("demo"), &hook("/srv/demo.pem"));
    machine
}

// ---- texts ----------------------------------------------------------------------------------------

#[test]
fn our_own_texts_are_refused_with_their_place() {
    let (settings, seed, ledger) =
        ("/etc/reseed/reseed.toml", "/etc/reseed/seed.toml", "/var/lib/reseed/ledger.toml");
    let cases = [
        (settings, "[gate\n", ":1:6: "),
        (settings, "[gate]\npolice = \"hold\"\n", ":2:1: unknown field `police`"),
        (settings, "[certificates]\nalgorithm = \"rsa1\"\n", ":2:13: unknown variant `rsa1`"),
        (settings, "[certificates]\ndays = -1\n", ":2:8: "),
        (settings, "version = 2\n", ":1:11: version 2"),
        ("/etc/reseed/reseed.toml.d/50-x.toml", "\n[backups]\nkeep = \"all\"\n", ":3:8: "),
        (seed, "[subject]\ncountry = \"Germany\"\n", ":2:11: the country is two capital letters"),
        (seed, "[subject]\nstate = \"Utah\\nO=Evil\"\n", ":2:9: control characters"),
        (seed, "[subject]\norganisation = \"x\"\n", ":2:1: unknown field `organisation`"),
        (seed, "[subject]\nemail = \"no address\"\n", ":2:9: an e-mail address"),
        (seed, "version = 2\n", ":1:11: version 2"),
        ("/etc/reseed/seed.d/50-x.toml", "[subject]\nlocality = \"\"\n", ":2:12: an empty field"),
        (ledger, "version = 2\nthings = \"to come\"\n", ":1:11: version 2 was written by another reseed"),
        (ledger, "version = 1\nhighest-serial = \"xyz\"\n", ":2:18: "),
        (ledger, "version = 1\n[hook.demo]\nrun = \"../../x\"\n", ":3:7: "),
        (ledger, "nonsense", ":1:9: "),
        (ledger, "", ":1:1: "),
    ];
    for (file, text, place) in cases {
        let machine = machine();
        machine.rename("relay.example.com");
        machine.write(file, text);
        let before = machine.snapshot();
        for command in COMMANDS {
            machine.reseed(command).exits(2).complains(&format!("{file}{place}"));
            before.still_holds(&machine, &format!("{command:?} with {text:?}"));
        }
        machine.reseed(&["rehome", "--hostname", "other.example.com"]).exits(2);
        before.still_holds(&machine, &format!("a rehome with {text:?}"));
    }
}

#[test]
fn hooks_are_refused_with_their_place_and_alone() {
    let good = hook("/srv/bad.pem");
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let cases = [
        ("no TOML", "version = 1\n[[[\n".to_owned(), ":2:"),
        ("empty", String::new(), ":1:1: missing field `version`"),
        ("not UTF-8", "ISO-8859-1".to_owned(), ": the text is not UTF-8"),
        ("misspelt", with("holds", "hold"), ":8:1: unknown field `hold`"),
        ("later version", with("version = 1", "version = 2"), ":1:11: version 2"),
        ("climbs", with("/srv/bad.pem", "/srv/../../etc/passwd"), ":7:8: "),
        ("relative", with("/srv/bad.pem", "srv/bad.pem"), ":7:8: "),
        ("newline", with("/srv/bad.pem", "/srv/a\\nb.pem"), ":7:8: "),
        ("escape", with("/srv/bad.pem", "/srv/\\u001b[2J.pem"), ":7:8: "),
        ("root itself", with("/srv/bad.pem", "/"), ":7:8: "),
        ("applies climbs", with("/etc/os-release", "/../etc/os-release"), ":4:10: "),
        ("group", format!("{good}group = \"$(id)\"\n"), ":9:9: "),
        ("key for all", format!("{good}mode = \"0644\"\n"), ":9:8: a file that holds a key"),
        ("set-user-id", format!("{good}mode = \"4600\"\n"), ":9:8: "),
        ("hash-link climbs", format!("{good}hash-link = \"/etc/../..\"\n"), ":9:13: "),
        ("unit", format!("{good}[[unit]]\nname = \"a b.service\"\nchange = \"reload\"\n"), ":10:8: "),
        ("check by name", format!("{good}[[check]]\ncommand = [\"sh\"]\n"), ":10:11: "),
        ("reader climbs", format!("{good}[[reader]]\nprogram = \"httpd\"\nconfig = \"../x\"\n"), ":11:10: "),
    ];
    let machine = machine();
    for (case, text, place) in cases {
        let file = hook_file("bad");
        machine.write(&file, &text);
        if text == "ISO-8859-1" {
            fs::write(machine.path(&file), b"description = \"\xfc\"\n").unwrap();
        }
        let before = machine.snapshot();
        for command in COMMANDS.iter().filter(|command| command[0] != "explain") {
            let ran = machine.reseed(command);
            let told = format!("{}{}", ran.out, ran.err);
            assert!(told.contains(&format!("{file}{place}")), "{case}: {command:?}: {told}");
            ran.exits(2);
        }
        before.still_holds(&machine, case);
        // The good one goes on.
        machine.rename(if machine.read("/etc/hostname").contains("mail") {
            "relay.example.com"
        } else {
            "mail.example.com"
        });
        machine.reseed(&["apply"]).exits(2).says("demo: made again");
    }
}

#[test]
fn hooks_that_others_may_write_to_are_refused() {
    for mode in [0o666, 0o664, 0o646] {
        let machine = unmade();
        machine.write(&hook_file("open"), &hook("/srv/open.pem"));
        machine.mode(&hook_file("open"), mode);
        let ran = machine.reseed(&["apply"]);
        ran.exits(2).complains("open.toml: others may write to it").says("demo: made again");
        assert!(!machine.snapshot().has("/srv/open.pem"));
    }
    if is_root() {
        let machine = unmade();
        machine.write(&hook_file("strange"), &hook("/srv/strange.pem"));
        chown(machine.path(&hook_file("strange")), Some(4242), None).unwrap();
        machine.reseed(&["apply"]).exits(2).complains("it belongs to user 4242");
        assert!(!machine.snapshot().has("/srv/strange.pem"));
    }
}

#[test]
fn wrong_usage() {
    let machine = machine();
    let before = machine.snapshot();
    for arguments in [
        &[][..],
        &["aply"],
        &["apply", "--force"],
        &["apply", "../demo"],
        &["apply", "nosuch"],
        &["apply", "--adopt", "/etc/shadow"],
        &["explain"],
        &["explain", "relative.pem"],
        &["rollback", "$(reboot)"],
        &["rehome", "--seed", "/nonexistent/seed.toml"],
        &["hook", "check"],
        &["hook", "check", "/nonexistent/hook.toml"],
        &["hook", "show", "../../etc/passwd"],
        &["--root", "/nonexistent", "status"],
        &["--hooks", "/nonexistent", "status"],
    ] {
        let ran = machine.reseed(arguments);
        assert!(!ran.err.is_empty() && !ran.err.contains("panicked"), "{arguments:?}: {}", ran.err);
        ran.exits(2);
        before.still_holds(&machine, &format!("{arguments:?}"));
    }
}

// ---- names ----------------------------------------------------------------------------------------

#[test]
fn names_that_are_none() {
    let long = "a".repeat(300);
    let label = format!("{}.example.com", "a".repeat(64));
    let name = format!("{}example.com", "abcdefgh.".repeat(30));
    let names = [
        "$(reboot)",
        "`reboot`",
        "mail;reboot",
        "../../etc/passwd",
        "mail/../../x",
        "-mail.example.com",
        "mail..example.com",
        "mail_1.example.com",
        "mail example.com",
        "*.example.com",
        "mail.example.com\\n",
        "\u{202e}liam.example.com",
        &long,
        &label,
        &name,
    ];
    let machine = machine();
    let made = machine.snapshot();
    for name in names {
        machine.reseed(&["rehome", "--hostname", name]).exits(2);
        made.still_holds(&machine, name);
    }
    for name in ["", "mail\nexample.com", "localhost", "192.0.2.7", "mail.localdomain"] {
        machine.reseed(&["rehome", "--hostname", name]).exits(2);
        made.still_holds(&machine, name);
    }
    for name in names {
        machine.rename(name);
        let before = machine.snapshot();
        machine.reseed(&["status"]).exits(0).says("no name for a certificate");
        machine.reseed(&["check"]).exits(4);
        machine.reseed(&["apply"]).exits(0);
        machine.reseed(&["apply", "--strict"]).exits(4);
        before.still_holds(&machine, name);
    }
}

#[test]
fn what_is_hostile_is_not_written_to_the_terminal() {
    let machine = machine();
    machine.write("/etc/hostname", "\u{1b}]0;owned\u{7}\u{1b}[2J\n");
    machine.reseed(&["status"]).exits(0).never_says("\u{1b}").never_says("\u{7}");
    machine.reseed(&["rehome", "--hostname", "\u{1b}[2J"]).exits(2).never_says("\u{1b}");
    machine.write("/etc/hostname", &"x\u{301}".repeat(100_000));
    let ran = machine.reseed(&["status"]);
    assert!(ran.exits(0).out.len() < 10_000, "{} octets", ran.out.len());
}

#[test]
fn a_bad_seed_is_refused_before_anything_is_changed() {
    let machine = machine();
    for text in [
        "[subject]\nstate = \"a\\nb\"\n",
        "[subject]\nlocality = \"\"\"\na\nb\"\"\"\n",
        "[subject\n",
        "x = 1\n",
    ] {
        let seed = machine.seed_file(text);
        let before = machine.snapshot();
        let ran = machine.reseed(&["rehome", "--hostname", "relay.example.com", "--seed", &seed]);
        ran.exits(2).complains(&format!("{seed}:"));
        before.still_holds(&machine, text);
    }
}

// ---- links ----------------------------------------------------------------------------------------

/// Something outside of every root, and a path to it that climbs from anywhere.
struct Outside {
    directory: tempfile::TempDir,
    before: Snapshot,
}

impl Outside {
    fn new() -> Self {
        let directory = scratch();
        fs::write(directory.path().join("canary.pem"), "").unwrap();
        fs::write(directory.path().join("hostname"), "outside.example.com\n").unwrap();
        fs::write(directory.path().join("hook.toml"), hook("/srv/outside.pem")).unwrap();
        fs::write(directory.path().join("seed.toml"), "[subject]\norganization = \"Outside\"\n").unwrap();
        fs::create_dir(directory.path().join("empty")).unwrap();
        for entry in fs::read_dir(directory.path()).unwrap() {
            let path = entry.unwrap().path();
            let mode = if path.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let before = Snapshot::of(directory.path());
        Self { directory, before }
    }

    fn absolute(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn climbing(&self, name: &str) -> PathBuf {
        Path::new(&"../".repeat(30)).join(self.absolute(name).strip_prefix("/").unwrap())
    }

    #[track_caller]
    fn is_untouched(&self, case: &str) {
        assert_eq!(self.before, Snapshot::of(self.directory.path()), "{case}");
    }
}

#[test]
fn links_never_lead_out_of_the_root() {
    // The link in the machine, what it leads to, whether its directory is replaced.
    let links = [
        ("/srv/demo.pem", "canary.pem"),
        ("/srv", "empty"),
        ("/etc/hostname", "hostname"),
        ("/etc/reseed/seed.toml", "seed.toml"),
        ("/etc/reseed/hooks.d/outside.toml", "hook.toml"),
        ("/var/lib/reseed", "empty"),
        ("/var/lib", "empty"),
        ("/run/reseed", "empty"),
        ("/run/reseed/lock", "canary.pem"),
        ("/var/lib/reseed/ledger.toml", "canary.pem"),
        ("/var/lib/reseed/history.jsonl", "canary.pem"),
    ];
    for (link, target) in links {
        for climbs in [false, true] {
            let outside = Outside::new();
            let machine = unmade();
            let path = machine.path(link);
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap();
            } else {
                let _ = fs::remove_file(&path);
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let target = if climbs { outside.climbing(target) } else { outside.absolute(target) };
            symlink(&target, &path).unwrap();
            let case = format!("{link} -> {}", target.display());
            for command in COMMANDS {
                let ran = machine.reseed(command);
                assert!(ran.status.is_some_and(|status| status <= 4), "{case}: {ran:?}");
                assert!(!ran.out.contains("outside.example.com"), "{case}: {ran:?}");
                outside.is_untouched(&case);
            }
            machine.reseed(&["rehome", "--hostname", "relay.example.com"]);
            machine.reseed(&["rollback"]);
            outside.is_untouched(&case);
            assert!(!machine.snapshot().has("/srv/outside.pem"), "{case}: a hook from outside");
        }
    }
}

#[test]
fn a_link_at_the_path_that_leads_in_a_circle() {
    let machine = unmade();
    symlink("there.pem", machine.path("/srv/here.pem")).unwrap();
    symlink("here.pem", machine.path("/srv/there.pem")).unwrap();
    machine.write(&hook_file("circle"), &hook("/srv/here.pem"));
    machine.reseed(&["apply"]).says("demo: made again");
    assert!(matches!(machine.snapshot().get("/srv/here.pem").kind, Kind::Link(_)));
}

#[test]
fn other_kinds_of_files_neither_hang_nor_fill_memory() {
    let pipes =
        ["/srv/demo.pem", "/etc/hostname", "/etc/reseed/seed.toml", "/etc/os-release", "/etc/machine-id"];
    for pipe in pipes {
        let machine = unmade();
        let _ = fs::remove_file(machine.path(pipe));
        machine.directory(Path::new(pipe).parent().unwrap().to_str().unwrap());
        nix::unistd::mkfifo(&machine.path(pipe), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let started = Instant::now();
        for command in [&["status"][..], &["apply"]] {
            let ran = machine.reseed(command);
            assert!(ran.status.is_some() && !ran.err.contains("panicked"), "{pipe}: {ran:?}");
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{pipe}");
        assert!(matches!(machine.snapshot().get(pipe).kind, Kind::Other), "{pipe} was replaced");
    }
    // A sparse file of a terabyte.
    let machine = unmade();
    File::create(machine.path("/srv/demo.pem")).unwrap().set_len(1 << 40).unwrap();
    machine.reseed(&["apply"]).exits(0).says("Nothing to do.");
    machine.reseed(&["status"]).exits(0).says("larger than 16 MiB");
    assert_eq!(fs::metadata(machine.path("/srv/demo.pem")).unwrap().len(), 1 << 40);
}

// ---- a machine that does not play along -----------------------------------------------------------

/// A file system that is gone again when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(directory: &Path, size: &str) -> Self {
        let options = format!("size={size},mode=755");
        checked(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory));
        Self(directory.to_owned())
    }

    fn read_only(directory: &Path) -> Self {
        checked(Command::new("mount").arg("--bind").arg(directory).arg(directory));
        let mounted = Self(directory.to_owned());
        checked(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(directory));
        mounted
    }

    /// Writes until nothing more goes in.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [4096, 1] {
            while file.write_all(&vec![0; size]).and_then(|()| file.sync_all()).is_ok() {}
        }
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk() {
    if !can_mount() {
        return;
    }
    for full in ["/full", "/var/lib/reseed"] {
        let machine = unmade();
        machine.directory("/full");
        machine.directory("/var/lib/reseed");
        let disk = Mounted::tmpfs(&machine.path(full), "256k");
        machine.write(&hook_file("full"), &hook("/full/demo.pem"));
        machine.reseed(&["apply"]).exits(0);
        machine.rename("relay.example.com");
        let filler = disk.fill();
        let before = machine.snapshot();
        let ran = machine.reseed(&["apply"]);
        ran.exits(1).never_says("panicked");
        let after = machine.snapshot();
        let stands = |path: &str| assert_eq!(before.get(path).kind, after.get(path).kind, "{full}: {path}");
        stands("/full/demo.pem");
        if full == "/full" {
            ran.says("full: failed, the old files stand").says("demo: made again");
        } else {
            stands("/srv/demo.pem");
        }
        let left: Vec<_> =
            after.paths().filter(|path| path.starts_with("/srv/") || path.starts_with("/full/")).collect();
        assert!(left.len() <= 3, "{full}: {left:?}");
        fs::remove_file(filler).unwrap();
        machine.reseed(&["apply"]).exits(0);
        machine.reseed(&["check"]).exits(0);
    }
}

#[test]
fn a_read_only_etc() {
    let Some(machine) = Machine::new(support::Family::Debian) else { return };
    machine.rename("mail.example.com");
    machine.write(&hook_file("elsewhere"), &hook("/srv/demo.pem"));
    machine.directory("/srv");
    let before = machine.snapshot();
    let directories: Vec<(PathBuf, u32)> = walkdir::WalkDir::new(machine.path("/etc"))
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_dir())
        .map(|entry| (entry.path().to_owned(), entry.metadata().unwrap().permissions().mode()))
        .collect();
    let mount = is_root().then(|| Mounted::read_only(&machine.path("/etc")));
    let set = |writable: bool| {
        for (directory, mode) in directories.iter().filter(|_| !is_root()) {
            let mode = if writable { *mode } else { *mode & !0o222 };
            fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set(false);
    let ran = machine.reseed(&["apply"]);
    ran.exits(1).says("elsewhere: made again");
    for hook in ["cyrus-imapd", "sendmail", "ssl-cert"] {
        ran.says(&format!("{hook}: failed, the old files stand"));
    }
    machine.reseed(&["rehome", "--hostname", "relay.example.com"]).exits(1);
    machine.reseed(&["status"]).exits(0).says("failed 1 ");
    // It stays so for another run, which still does what can be done.
    fs::remove_file(machine.path("/srv/demo.pem")).unwrap();
    machine.reseed(&["apply"]).exits(1).says("elsewhere: made again");
    drop(mount);
    set(true);
    let after = machine.snapshot();
    for path in before.paths().filter(|path| path.starts_with("/etc/")) {
        assert!(before.get(path).equals(after.get(path)), "{path}");
        assert_eq!(before.get(path).inode, after.get(path).inode, "{path}");
    }
    assert_eq!(
        before.paths().filter(|path| path.starts_with("/etc")).count(),
        after.paths().filter(|path| path.starts_with("/etc")).count()
    );
    machine.reseed(&["apply"]).exits(0);
    machine.reseed(&["check"]).exits(0);
}

#[test]
fn a_group_that_is_gone() {
    let machine = unmade();
    machine.accounts(&["root", "mail"]);
    machine
        .write(&hook_file("mail"), &format!("{}group = \"mail\"\nmode = \"0640\"\n", hook("/srv/mail.pem")));
    machine.reseed(&["apply"]).exits(0);
    machine.accounts(&["root"]);
    machine.rename("relay.example.com");
    let before = machine.snapshot();
    let ran = machine.reseed(&["apply"]);
    ran.exits(1).says("mail: failed, the old files stand").says("demo: made again");
    ran.says("there is no group \"mail\"");
    let after = machine.snapshot();
    assert_eq!(before.get("/srv/mail.pem"), after.get("/srv/mail.pem"));
    assert_ne!(before.get("/srv/demo.pem"), after.get("/srv/demo.pem"));
    machine.accounts(&["root", "mail"]);
    machine.reseed(&["apply"]).exits(0).says("mail: made again");
    machine.reseed(&["status"]).exits(0).never_says("failed");
}

#[test]
fn a_directory_that_is_not_there() {
    let machine = unmade();
    machine.write(&hook_file("deep"), &hook("/opt/not/there/demo.pem"));
    let ran = machine.reseed(&["apply"]);
    ran.exits(1).says("deep: failed").says("demo: made again");
    assert!(!machine.snapshot().has("/opt"));
}

#[test]
fn another_run_holds_the_lock() {
    let machine = machine();
    let seed = machine.seed_file(support::SEED);
    machine.reseed(&["check"]).exits(0);
    let lock = File::open(machine.path("/run/reseed/lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error).unwrap();
    let before = machine.snapshot();
    for arguments in [
        &["apply"][..],
        &["rollback"],
        &["rehome"],
        &["rehome", "--hostname", "relay.example.com"],
        &["rehome", "--seed", &seed],
    ] {
        machine.reseed(arguments).exits(75).complains("another run holds the lock");
        before.still_holds(&machine, &format!("{arguments:?}"));
    }
    // Looking needs no lock.
    for look in [&["status"][..], &["plan"], &["check"], &["hook", "list"]] {
        machine.reseed(look).exits(0);
    }
    drop(lock);
    machine.reseed(&["apply"]).exits(0);
}

#[test]
fn output_that_nobody_reads() {
    let Some(machine) = Machine::new(support::Family::Debian) else { return };
    machine.rename("mail.example.com");
    for arguments in [&["status"][..], &["plan", "--json"], &["hook", "list"], &["--help"], &["apply"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(RESEED);
        command.arg("--root").arg(machine.root()).args(arguments).stdin(Stdio::null()).stdout(writer);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    }
    // What was asked for is done all the same.
    machine.reseed(&["check"]).exits(0);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = machine.command(&["status"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("standard output"), "{said}");
}
