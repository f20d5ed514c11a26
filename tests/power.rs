//! Real power cuts: what `reseed apply` reported as done is on the disk, and whatever it had not finished
//! is put right by the next run.
//!
//! A machine lives on an ext4 image of its own, mounted through a loop device. It was `old.example.com`, and
//! was renamed. `reseed apply` is killed right before a system call that changes a file, by strace, and the
//! file system is shut down in the same moment (`EXT4_IOC_SHUTDOWN`): what had not been flushed is gone, as
//! it is when the plug is pulled. Then the image is checked and mounted, and the next run looked at. No line
//! of the program knows of this test. Without root, or without a tool, every case is reported as ignored;
//! `RESEED_TESTS_REQUIRE_ALL=1` makes that a failure.

#[path = "power/manager.rs"]
mod manager;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each case keeps about one processor busy.
    arguments.test_threads.get_or_insert(2);
    let missing = if arguments.list { None } else { missing() };
    let required = std::env::var_os("RESEED_TESTS_REQUIRE_ALL").is_some_and(|value| value == "1");
    if let Some(reason) = &missing {
        eprintln!("power: no power can be cut: {reason}");
    }
    let cases: [(&str, fn()); 9] = [
        ("what_was_not_flushed_is_lost", what_was_not_flushed_is_lost),
        ("what_is_reported_as_done_is_on_the_disk", what_is_reported_as_done_is_on_the_disk),
        ("all_is_flushed_before_it_is_decided_on", all_is_flushed_before_it_is_decided_on),
        ("cut_before_every_flush", cut_before_every_flush),
        ("cut_before_every_change_once_names_have_reached_the_disk", cut_before_every_change),
        ("cut_again_while_recovering", cut_again_while_recovering),
        ("cut_at_random_moments", cut_at_random_moments),
        ("manager_cut_while_it_renews", manager::cut_while_it_renews),
        ("manager_cut_while_it_rolls", manager::cut_while_it_rolls),
    ];
    let cases = cases.map(|(name, case)| {
        let missing = missing.clone();
        let ignored = missing.is_some() && !required;
        let run = move || match missing {
            Some(reason) => Err(reason.into()),
            None => {
                case();
                Ok(())
            }
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    });
    let start = Instant::now();
    let conclusion = libtest_mimic::run(&arguments, cases.into());
    let tally = TALLY.lock().unwrap();
    if tally.cuts > 0 {
        println!("power: {} cuts in {:.1} s; {}", tally.cuts, start.elapsed().as_secs_f64(), tally.found());
    }
    if missing.is_none() && !arguments.list {
        clear_scratch();
    }
    conclusion.exit_code()
}

/// The negative control: were nothing lost, the other cases would prove nothing.
fn what_was_not_flushed_is_lost() {
    let file = |machine: &Machine| fs::read(machine.path("/etc/written")).unwrap();
    let write = |machine: &Machine, flush_file: bool, flush_directory: bool| {
        let (staged, target) = (machine.path("/etc/.written.new"), machine.path("/etc/written"));
        let mut new = File::create(&staged).unwrap();
        new.write_all(b"new").unwrap();
        if flush_file {
            new.sync_all().unwrap();
        }
        fs::rename(staged, &target).unwrap();
        if flush_directory {
            File::open(target.parent().unwrap()).unwrap().sync_all().unwrap();
        }
    };
    let cases = [
        ("nothing flushed", (false, false), Cut::Unflushed, "old"),
        ("nothing flushed, its name reached the disk", (false, false), Cut::Data, ""),
        ("only the file flushed", (true, false), Cut::Unflushed, "old"),
        ("only the directory flushed", (false, true), Cut::Unflushed, ""),
        ("the file and the directory flushed", (true, true), Cut::Unflushed, "new"),
    ];
    for (case, (flush_file, flush_directory), cut, expected) in cases {
        let machine = Machine::new("control", &template().image);
        fs::write(machine.path("/etc/written"), "old").unwrap();
        File::open(machine.path("/etc/written")).unwrap().sync_all().unwrap();
        File::open(machine.path("/etc")).unwrap().sync_all().unwrap();
        write(&machine, flush_file, flush_directory);
        assert_eq!(file(&machine), b"new", "{case}: it was written");
        machine.cut(machine.switch(), cut);
        assert_eq!(String::from_utf8_lossy(&file(&machine)), expected, "{case}");
    }
}

fn what_is_reported_as_done_is_on_the_disk() {
    let machine = Machine::new("done", &template().image);
    let switch = machine.switch();
    machine.apply("at first");
    machine.cut(switch, Cut::Unflushed);
    assert_eq!(machine.found("after exit status 0"), [Found::New; 2]);
    machine.must_be_new("after exit status 0");
    machine.must_be_settled("after exit status 0");
}

/// Cuts cannot show this: ext4 brings names to the disk in the order of their changes, so that a later flush
/// makes good for one that is missing. Other file systems keep no order between two directories.
fn all_is_flushed_before_it_is_decided_on() {
    let mut unflushed = BTreeSet::new();
    let mut decisions = 0;
    for (call, arguments) in calls(&template().trace) {
        let new_state = [".swap\"", ".commit\""].iter().any(|end| arguments.contains(end));
        if call == EXIT || new_state && (call.starts_with("rename") || call.starts_with("unlink")) {
            assert!(unflushed.is_empty(), "before {call}({arguments}: {unflushed:?}");
            decisions += 1;
        }
        // The first file or directory that is handed over: `4</directory>`.
        let Some((path, _)) = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')) else {
            continue;
        };
        if FLUSHES.contains(&call) {
            unflushed.remove(path);
        } else if path.starts_with(scratch().to_str().unwrap()) && !arguments.contains(" = -1 ") {
            unflushed.insert(path);
        }
    }
    // For each hook: swap, commit, its end.
    assert_eq!(decisions, 2 * 3 + 1);
}

/// A state of the disk ends with a flush. A cut before any other call finds what the one before the next
/// flush finds, so that those are all the states there are.
fn cut_before_every_flush() {
    let steps = &template().steps;
    for (at, step) in steps.iter().enumerate() {
        if FLUSHES.contains(&step.call.as_str()) || step.call == EXIT {
            cut_and_go_on("flush", at, step, Cut::Unflushed);
        }
    }
}

/// The kernel may write names down on its own account, at any moment, before the contents of the files
/// that they stand for.
fn cut_before_every_change() {
    for (at, step) in template().steps.iter().enumerate() {
        cut_and_go_on("change", at, step, Cut::Data);
    }
}

/// Cuts the power once, and goes on in two ways: with a run that only recovers, and with a whole one.
fn cut_and_go_on(name: &'static str, at: usize, step: &Step, cut: Cut) {
    let case = format!("{cut:?} lost, cut before {step} (step {} of {})", at + 1, template().steps.len());
    let machine = Machine::new(name, &template().image);
    machine.cut_before(step, cut);
    let found = machine.found(&case);
    if step.call == EXIT {
        assert_eq!(found, [Found::New; 2], "{case}: everything had been done");
    }
    let copy = machine.copied();

    machine.only_recover(&case);
    drop(machine);

    let machine = Machine::new(name, &copy);
    machine.apply(&case);
    machine.must_be_new(&case);
    machine.must_be_settled(&case);
}

fn cut_again_while_recovering() {
    let mut seconds = 0;
    for first in spread(&template().steps, 10) {
        let machine = Machine::new("again", &template().image);
        machine.cut_before(first, Cut::Unflushed);
        machine.write("/etc/hostname", "localhost\n");
        machine.flush();
        let half_done = machine.copied();
        let recovery = steps(&machine.trace());
        drop(machine);

        for (at, second) in spread(&recovery, 6).into_iter().enumerate() {
            let cut = if at % 2 == 0 { Cut::Unflushed } else { Cut::Data };
            let case = format!("cut before {first}, then in recovery before {second}, {cut:?} lost");
            let machine = Machine::new("again", &half_done);
            machine.cut_before(second, cut);
            machine.found(&case);
            machine.only_recover(&case);
            machine.write("/etc/hostname", NEW_HOSTNAME);
            machine.apply(&case);
            machine.must_be_new(&case);
            seconds += 1;
        }
    }
    assert!(seconds > 25, "too few cuts in recovery: {seconds}");
}

/// Without strace, and without killing: the program sees its disk go away, and must not say that it is done
/// when that is not so.
fn cut_at_random_moments() {
    let machine = Machine::new("random", &template().image);
    let start = Instant::now();
    machine.apply("not cut");
    let whole = start.elapsed();
    drop(machine);

    let mut state = SEED;
    println!("power: random moments from seed {SEED:#x}");
    for _ in 0..20 {
        // Up to a tenth after the end of the run, so that some are through.
        let wait = whole.mul_f64(1.1 * random(&mut state));
        let case = format!("cut after {wait:?} of {whole:?}");
        let machine = Machine::new("random", &template().image);
        let switch = machine.switch();
        let mut run = machine.reseed(&["apply"]);
        let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(wait);
        switch.off(Cut::Unflushed);
        let output = run.wait_with_output().unwrap();
        machine.power_up();
        let found = machine.found(&case);
        if output.status.success() {
            assert_eq!(found, [Found::New; 2], "{case}: reported as done\n{}", said(&output));
        }
        machine.apply(&case);
        machine.must_be_new(&case);
        machine.must_be_settled(&case);
    }
}

// ---- the machine -------------------------------------------------------------------------------------

/// A machine on a disk of its own, mounted; unmounted and removed when it is dropped.
struct Machine {
    image: PathBuf,
    mount: PathBuf,
}

/// What a cut leaves.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Everything that was not flushed is lost.
    Unflushed,
    /// Names, sizes and modes reached the disk, as they do every few seconds; only contents that were not
    /// flushed are lost.
    Data,
}

/// What a hook's files are right after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// Each is as it was.
    Old,
    /// Each is new.
    New,
    /// Some are; the next run decides.
    Between,
}

impl Machine {
    /// Makes a machine from a disk.
    fn new(name: &str, disk: &Path) -> Self {
        let machine = Self {
            image: scratch().join(name).with_extension("img"),
            mount: scratch().join(name).with_extension("mnt"),
        };
        if disk != machine.image {
            fs::copy(disk, &machine.image).unwrap();
        }
        fs::create_dir_all(&machine.mount).unwrap();
        machine.mount();
        machine
    }

    /// A copy of its disk as it is when it has been shut down; it stays mounted.
    fn copied(&self) -> PathBuf {
        self.unmount();
        let copy = self.image.with_extension("copy");
        fs::copy(&self.image, &copy).unwrap();
        self.mount();
        copy
    }

    fn mount(&self) {
        try_mount(&self.image, &self.mount).unwrap_or_else(|error| panic!("{error}"));
    }

    fn unmount(&self) {
        // A program that another case starts holds our open files for an instant.
        let end = Instant::now() + Duration::from_secs(5);
        while let Err(error) = tried(tool("umount").arg(&self.mount)) {
            assert!(Instant::now() < end, "{error}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Cuts the power and starts again.
    fn cut(&self, switch: Switch, cut: Cut) {
        switch.off(cut);
        self.power_up();
    }

    /// Starts again after a cut, as a boot does: the journal of the file system is replayed.
    fn power_up(&self) {
        self.unmount();
        let check = tool("e2fsck").arg("-fp").arg(&self.image).output().unwrap();
        assert!(matches!(check.status.code(), Some(0 | 1)), "e2fsck: {}", said(&check));
        self.mount();
        TALLY.lock().unwrap().cuts += 1;
    }

    /// Runs `apply` up to right before a system call, cuts the power there, and starts again.
    fn cut_before(&self, step: &Step, cut: Cut) {
        self.cut_in(&["apply"], step, cut);
    }

    /// Likewise for another command.
    fn cut_in(&self, command: &[&str], step: &Step, cut: Cut) {
        let switch = self.switch();
        let status = self.killed_before(command, step);
        self.cut(switch, cut);
        assert_eq!(status.signal(), Some(9), "{step} was never called: {status}");
    }

    /// Makes ready to cut its power: a helper that waits for the word.
    fn switch(&self) -> Switch {
        let mut helper = tool("perl");
        helper.args(["-e", SHUTDOWN]).arg(&self.mount).stdin(Stdio::piped()).stdout(Stdio::piped());
        Switch { helper: helper.spawn().unwrap() }
    }

    fn killed_before(&self, command: &[&str], step: &Step) -> ExitStatus {
        let Step { call, count } = step;
        let mut strace = strace("/dev/null", call);
        strace.args(["-e", &format!("inject={call}:signal=SIGKILL:when={count}")]);
        self.under(strace, command).status().unwrap()
    }

    /// Runs `apply`; returns what strace tells of the system calls that change files, and of its end.
    fn trace(&self) -> String {
        self.trace_of(&["apply"])
    }

    fn trace_of(&self, command: &[&str]) -> String {
        let trace = self.image.with_extension("trace");
        checked(&mut self.under(strace(&trace, &format!("{CHANGES},{EXIT}")), command));
        fs::read_to_string(&trace).unwrap()
    }

    fn under(&self, mut strace: Command, command: &[&str]) -> Command {
        let reseed = self.reseed(command);
        strace.arg(reseed.get_program()).args(reseed.get_args()).stdout(Stdio::null());
        strace
    }

    fn reseed(&self, arguments: &[&str]) -> Command {
        let mut command = tool(env!("CARGO_BIN_EXE_reseed"));
        command.arg("--root").arg(&self.mount).args(arguments);
        command
    }

    /// Runs `apply`, which must succeed.
    fn apply(&self, case: &str) {
        tried(&mut self.reseed(&["apply"])).unwrap_or_else(|error| panic!("{case}: {error}"));
    }

    /// Runs `apply` under no proper name: it puts in order what was interrupted, and makes nothing. Each
    /// hook's files must then be all old or all new, and the ledger know which.
    fn only_recover(&self, case: &str) {
        self.write("/etc/hostname", "localhost\n");
        self.apply(case);
        for found in self.found_files(case) {
            assert_ne!(found, Found::Between, "{case}: a mixture after recovery");
        }
        self.must_be_in_order(case);
    }

    /// What the power cut left of each hook, counted. Under its final name a file is whole at any moment.
    fn found(&self, case: &str) -> [Found; 2] {
        let found = self.found_files(case);
        TALLY.lock().unwrap().add(found);
        found
    }

    fn found_files(&self, case: &str) -> [Found; 2] {
        let new = FILES.map(|file| {
            let content = self.read(file);
            assert!(!content.is_empty(), "{case}: {file} is empty");
            if content == template().old[file] {
                return false;
            }
            if file != CERTIFICATE {
                self.key(file);
            }
            if file != KEY {
                let says = self.certificate(file);
                assert!(says.is_for_new_name, "{case}: {file} is neither old nor new");
            }
            true
        });
        let pair = match (new[0], new[1]) {
            (false, false) => Found::Old,
            (true, true) => Found::New,
            _ => Found::Between,
        };
        [pair, if new[2] { Found::New } else { Found::Old }]
    }

    /// Asserts that everything is made for the new name, whole, in order, and known to be so.
    fn must_be_new(&self, case: &str) {
        for (_, certificate) in PAIRS {
            assert!(self.certificate(certificate).is_for_new_name, "{case}: {certificate} is stale");
        }
        self.must_be_in_order(case);
        assert!(!self.path(DRAFT).exists(), "{case}: left behind: {DRAFT}");
        let status = checked(&mut self.reseed(&["status", "--json"]));
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["stale"], false, "{case}: {status:#}");
        assert_eq!(status["failures"], serde_json::json!({}), "{case}: {status:#}");
        assert_eq!(status["notes"], serde_json::json!([]), "{case}: {status:#}");
    }

    /// Asserts that no key has another's certificate, nothing is left lying about, access is as the hooks
    /// say, and the ledger tells the truth.
    fn must_be_in_order(&self, case: &str) {
        for (key, certificate) in PAIRS {
            assert_eq!(self.key(key), self.certificate(certificate).key, "{case}: {key} is of another pair");
        }
        for (path, line) in self.listing() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let litter = name.starts_with('.') || path.parent() == Some(Path::new("/var/lib/reseed/journal"));
            assert!(!litter || path == Path::new(DRAFT), "{case}: left behind: {}", path.display());
            let empty = path.starts_with("/etc") && line.is_file && line.size == 0;
            assert!(!empty, "{case}: empty: {}", path.display());
        }
        for (file, mode) in FILES.iter().zip(MODES) {
            let stat = fs::symlink_metadata(self.path(file)).unwrap();
            let found = (stat.is_file(), stat.uid(), stat.gid(), stat.mode() & 0o7777, stat.nlink());
            assert_eq!(found, (true, 0, 0, mode, 1), "{case}: {file}");
        }
        let links: Vec<_> = fs::read_dir(self.path(HASH)).unwrap().map(|link| link.unwrap().path()).collect();
        let [link] = links.as_slice() else { panic!("{case}: links {links:?}") };
        let stem = link.file_name().unwrap().to_str().unwrap().trim_end_matches(".0");
        assert_eq!(stem, self.certificate(CERTIFICATE).subject_hash, "{case}");
        assert_eq!(fs::read_link(link).unwrap(), Path::new(CERTIFICATE), "{case}");

        let ledger = String::from_utf8(self.read("/var/lib/reseed/ledger.toml")).unwrap();
        let ledger: toml::Table = toml::from_str(&ledger).unwrap_or_else(|error| panic!("{case}: {error}"));
        for (hook, file) in HOOK_OF.iter().zip(FILES) {
            let recorded = ledger["hook"][hook]["file"][file]["sha256"].as_str().unwrap();
            let found: String =
                Sha256::digest(self.read(file)).iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(found, recorded, "{case}: the ledger does not know {file}");
        }
    }

    /// Asserts that a further run changes nothing.
    fn must_be_settled(&self, case: &str) {
        let before = self.listing();
        self.apply(case);
        let after = self.listing();
        for path in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            assert_eq!(after.get(path), before.get(path), "{case}: a run more changed {}", path.display());
        }
    }

    /// The public half of the key in a file, by OpenSSL.
    fn key(&self, file: &str) -> String {
        self.openssl(&["pkey", "-pubout", "-in"], file)
    }

    /// What OpenSSL says of the certificate in a file.
    fn certificate(&self, file: &str) -> Certificate {
        let question = ["x509", "-noout", "-pubkey", "-subject_hash", "-checkhost", NEW_NAME, "-in"];
        let says = self.openssl(&question, file);
        let end = "-----END PUBLIC KEY-----\n";
        let key = says.find(end).map(|at| says[..at + end.len()].to_owned()).expect("a public key");
        let subject_hash = says.lines().find(|line| line.len() == 8).expect("a hash of 8 digits").to_owned();
        Certificate { key, subject_hash, is_for_new_name: says.contains("does match certificate") }
    }

    /// Asks OpenSSL about a file; what it said of the same content it is not asked again.
    fn openssl(&self, question: &[&'static str], file: &str) -> String {
        static SAID: Mutex<BTreeMap<(&str, Vec<u8>), String>> = Mutex::new(BTreeMap::new());
        let about = (question[0], self.read(file));
        let known = SAID.lock().unwrap().get(&about).cloned();
        known.unwrap_or_else(|| {
            let says = checked(tool("openssl").args(question).arg(self.path(file)));
            SAID.lock().unwrap().insert(about, says.clone());
            says
        })
    }

    fn listing(&self) -> BTreeMap<PathBuf, Line> {
        let files = walkdir::WalkDir::new(&self.mount).into_iter().map(Result::unwrap);
        let line = |entry: walkdir::DirEntry| {
            let stat = entry.path().symlink_metadata().unwrap();
            let line = Line {
                is_file: stat.is_file(),
                inode: stat.ino(),
                size: stat.size(),
                access: (stat.mode(), stat.uid(), stat.gid()),
                changed: [(stat.mtime(), stat.mtime_nsec()), (stat.ctime(), stat.ctime_nsec())],
            };
            (Path::new("/").join(entry.path().strip_prefix(&self.mount).unwrap()), line)
        };
        files.map(line).collect()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        let path = self.path(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn flush(&self) {
        checked(tool("sync").arg("-f").arg(&self.mount));
    }

    fn path(&self, file: &str) -> PathBuf {
        self.mount.join(file.trim_start_matches('/'))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            clear(&self.mount);
        } else {
            self.unmount();
        }
        let _ = fs::remove_file(&self.image);
    }
}

/// What a file or directory is; a change to it shows.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    is_file: bool,
    inode: u64,
    size: u64,
    access: (u32, u32, u32),
    changed: [(i64, i64); 2],
}

/// What OpenSSL says of a certificate.
struct Certificate {
    key: String,
    subject_hash: String,
    is_for_new_name: bool,
}

/// A helper that holds a file system open, and shuts it down when it is told to.
struct Switch {
    helper: Child,
}

impl Switch {
    /// The power is off when this returns.
    fn off(mut self, cut: Cut) {
        // EXT4_GOING_FLAGS_NOLOGFLUSH and EXT4_GOING_FLAGS_LOGFLUSH.
        let flag = match cut {
            Cut::Unflushed => 2,
            Cut::Data => 1,
        };
        writeln!(self.helper.stdin.take().unwrap(), "{flag}").unwrap();
        let status = self.helper.wait().unwrap();
        assert!(status.success(), "the file system cannot be shut down: {status}");
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // Without a word it ends, and nothing is cut.
        drop(self.helper.stdin.take());
        let _ = self.helper.wait();
    }
}

/// Linux answers to `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`, only through ioctl(2), for which Rust
/// wants `unsafe`, and this package forbids that. Perl is on every Debian system.
const SHUTDOWN: &str = r#"
    open(my $directory, "<", $ARGV[0]) or die "$ARGV[0]: $!";
    my $flag = <STDIN>;
    exit unless defined $flag;
    ioctl($directory, 0x8004587d, pack("L", $flag)) or die "EXT4_IOC_SHUTDOWN: $!";
"#;

// ---- steps of a run ----------------------------------------------------------------------------------

/// A system call of the program's main thread.
struct Step {
    call: String,
    /// How many of the same call there were, with this one.
    count: usize,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.call, self.count)
    }
}

const FLUSHES: [&str; 2] = ["fsync", "fdatasync"];
/// A question mark: not every architecture has it. What openat(2) creates is named by the calls after it:
/// no file of ours is used before its mode is set, or an octet is in it.
const CHANGES: &str = "?fsync,?fdatasync,?sync_file_range,?syncfs,?rename,?renameat,?renameat2,?link,?linkat,\
    ?symlink,?symlinkat,?unlink,?unlinkat,?rmdir,?mkdir,?mkdirat,?fchmod,?fchmodat,?fchown,?fchownat,\
    ?ftruncate,?fsetxattr,?fremovexattr,?write,?pwrite64,?writev";
/// The last call: everything is done, and has been reported.
const EXIT: &str = "exit_group";

/// The calls in a trace that change files.
fn steps(trace: &str) -> Vec<Step> {
    let mut counts = BTreeMap::new();
    let mut steps = Vec::new();
    for (call, arguments) in calls(trace) {
        let count = counts.entry(call).or_insert(0);
        *count += 1;
        let has_failed = arguments.contains(" = -1 ");
        let is_report = call == "write" && arguments.starts_with("1<");
        if !has_failed && !is_report {
            steps.push(Step { call: call.to_owned(), count: *count });
        }
    }
    steps
}

/// The calls of the main thread in a trace, each with its arguments and what came of it:
/// `PID call(arguments) = result`.
fn calls(trace: &str) -> impl Iterator<Item = (&str, &str)> {
    // Others may be the first to change a file, but only the main thread ends the program.
    let last = trace.lines().rev().find(|line| line.contains(EXIT)).unwrap_or_default();
    let main = last.split_whitespace().next().unwrap_or_default();
    let is_word = |text: &str| text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
    trace
        .lines()
        .filter_map(move |line| line.strip_prefix(main)?.trim_start().split_once('('))
        .filter(move |(call, _)| is_word(call))
}

/// A few of many, evenly spread, the first and the last among them.
fn spread(steps: &[Step], few: usize) -> Vec<&Step> {
    let few = few.min(steps.len());
    (0..few).map(|at| &steps[at * (steps.len() - 1) / (few - 1).max(1)]).collect()
}

/// SplitMix64, from 0 to 1: the same moments in every run.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from(u32::try_from(mixed >> 32).unwrap()) / f64::from(u32::MAX)
}

// ---- what is counted ---------------------------------------------------------------------------------

/// How many cuts there were, and what they left of each hook.
struct Tally {
    cuts: usize,
    found: BTreeMap<(usize, Found), usize>,
}

static TALLY: Mutex<Tally> = Mutex::new(Tally { cuts: 0, found: BTreeMap::new() });

impl Tally {
    fn add(&mut self, found: [Found; 2]) {
        for key in found.into_iter().enumerate() {
            *self.found.entry(key).or_default() += 1;
        }
    }

    fn found(&self) -> String {
        let count = |hook, found| self.found.get(&(hook, found)).copied().unwrap_or_default();
        let hook = |hook| [Found::Old, Found::New, Found::Between].map(|found| count(hook, found));
        let ([old, new, between], [combined_old, combined_new, _]) = (hook(0), hook(1));
        format!(
            "before recovery the pair was old {old} times, new {new}, in between {between}; \
             the single file old {combined_old}, new {combined_new}"
        )
    }
}

// ---- what every case starts from ---------------------------------------------------------------------

/// A machine that was just renamed, on a disk that is not mounted.
struct Template {
    image: PathBuf,
    /// What its files hold.
    old: BTreeMap<&'static str, Vec<u8>>,
    /// What strace tells of a run that is not cut.
    trace: String,
    /// The steps of that run.
    steps: Vec<Step>,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let machine = Machine::new("template", &blank().unwrap());
        machine.write("/etc/hostname", "old.example.com\n");
        machine.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        machine.write("/etc/group", "root:x:0:\n");
        machine.write("/etc/reseed/hooks.d/pair.toml", PAIR);
        machine.write("/etc/reseed/hooks.d/combined.toml", COMBINED);
        fs::create_dir_all(machine.path(HASH)).unwrap();
        fs::create_dir_all(machine.path("/etc/combined")).unwrap();
        machine.apply("under the old name");
        machine.must_be_in_order("under the old name");
        assert!(PAIRS.iter().all(|(_, certificate)| !machine.certificate(certificate).is_for_new_name));
        let old = FILES.into_iter().map(|file| (file, machine.read(file))).collect();
        machine.write("/etc/hostname", NEW_HOSTNAME);
        let image = machine.copied();
        let trace = machine.trace();
        let steps = steps(&trace);
        let flushes = steps.iter().filter(|step| FLUSHES.contains(&step.call.as_str())).count();
        assert!(steps.len() > 30 && flushes > 10, "{} steps, {flushes} flushes", steps.len());
        assert!(steps.last().is_some_and(|step| step.call == EXIT));
        Template { image, old, trace, steps }
    })
}

/// Makes an empty disk.
fn blank() -> Result<PathBuf, String> {
    blank_as("blank.disk")
}

/// Makes an empty disk under a name that nobody else makes one under at the same time.
fn blank_as(name: &str) -> Result<PathBuf, String> {
    let image = scratch().join(name);
    let made = File::create(&image).and_then(|file| file.set_len(6 << 20));
    made.map_err(|error| format!("{}: {error}", image.display()))?;
    let mut mkfs = tool("mkfs.ext4");
    mkfs.args(["-q", "-F", "-b", "1024", "-J", "size=1", "-N", "512", "-m", "0", "-E", "nodiscard"]);
    tried(mkfs.arg(&image))?;
    Ok(image)
}

fn try_mount(image: &Path, mount: &Path) -> Result<String, String> {
    // `noauto_da_alloc` and `commit`: ext4 is not to flush of its own accord what the program forgot, nor in
    // the middle of a case. `nobarrier`: what lies under the loop device keeps its power.
    let options = "loop,noauto_da_alloc,commit=600,nobarrier,noatime";
    tried(tool("mount").args(["-t", "ext4", "-o", options]).arg(image).arg(mount))
}

/// Why no power can be cut here; `None` when it can. Clears away what a killed run left.
fn missing() -> Option<String> {
    static LOCK: OnceLock<File> = OnceLock::new();
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can mount a file system".to_owned());
    }
    let tools = ["mkfs.ext4", "e2fsck", "mount", "umount", "losetup", "sync", "strace", "openssl", "perl"];
    let search = search_path();
    let is_there = |name: &str| search.split(':').any(|at| Path::new(at).join(name).exists());
    if let Some(name) = tools.into_iter().find(|name| !is_there(name)) {
        return Some(format!("{name} not found"));
    }
    LOCK.get_or_init(|| {
        let lock = File::create(scratch().with_extension("lock")).unwrap();
        lock.lock().unwrap();
        lock
    });
    clear_scratch();
    fs::create_dir_all(scratch()).unwrap();

    let mut kill = strace("/dev/null", EXIT);
    let kill = kill.args(["-e", &format!("inject={EXIT}:signal=SIGKILL:when=1"), "true"]).output().unwrap();
    if kill.status.signal() != Some(9) {
        return Some(format!("strace cannot kill a program: {}", said(&kill)));
    }
    let mount = scratch().join("blank.mnt");
    fs::create_dir_all(&mount).unwrap();
    let mounted = blank().and_then(|image| try_mount(&image, &mount));
    clear(&mount);
    mounted.err()
}

/// Removes what an earlier run left: only beneath our own directory.
fn clear_scratch() {
    let entries: Vec<_> = fs::read_dir(scratch()).into_iter().flatten().flatten().collect();
    for mount in entries.iter().filter(|entry| entry.path().is_dir()) {
        clear(&mount.path());
    }
    for image in entries.iter().filter(|entry| entry.path().is_file()) {
        // A run that was killed while it mounted.
        let devices = tried(tool("losetup").args(["-n", "-O", "NAME", "-j"]).arg(image.path()));
        for device in devices.unwrap_or_default().lines() {
            let _ = tried(tool("losetup").args(["-d", device.trim()]));
        }
    }
    let _ = fs::remove_dir_all(scratch());
}

/// Unmounts whatever is mounted there, at once for everybody who looks.
fn clear(mount: &Path) {
    let device = |path: &Path| fs::metadata(path).ok().map(|stat| stat.dev());
    while device(mount).is_some_and(|it| Some(it) != device(scratch())) {
        if tried(tool("umount").arg("-l").arg(mount)).is_err() {
            break;
        }
    }
}

fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("power"))
}

// ---- programs ----------------------------------------------------------------------------------------

/// A strace that tells of these system calls.
fn strace(output: impl AsRef<Path>, calls: &str) -> Command {
    let mut strace = tool("strace");
    strace.args(["-f", "-y", "-qq", "-o"]).arg(output.as_ref()).args(["-e", &format!("trace={calls}")]);
    strace
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", search_path()).env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// A shell that was not logged into does not look where the tools for disks are.
fn search_path() -> String {
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", std::env::var("PATH").unwrap_or_default())
}

/// Runs a command that must succeed; returns what it prints.
fn checked(command: &mut Command) -> String {
    tried(command).unwrap_or_else(|error| panic!("{error}"))
}

fn tried(command: &mut Command) -> Result<String, String> {
    let output = command.output();
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
    let output = output.map_err(|error| format!("{words:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{words:?}: {}: {}", output.status, said(&output)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn said(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).trim_end().to_owned()
}

const SEED: u64 = 0x0002_5e5e_edc4_7500;

const NEW_NAME: &str = "new.example.com";
const NEW_HOSTNAME: &str = "new.example.com\n";

/// Goes when the ledger is next written; a run with nothing to do writes nothing.
const DRAFT: &str = "/var/lib/reseed/.ledger.toml.new";

const KEY: &str = "/etc/pair/x.key";
const CERTIFICATE: &str = "/etc/pair/x.crt";
const BOTH: &str = "/etc/combined/x.pem";
const HASH: &str = "/etc/pair/hash";
const FILES: [&str; 3] = [KEY, CERTIFICATE, BOTH];
const MODES: [u32; 3] = [0o640, 0o644, 0o600];
const HOOK_OF: [&str; 3] = ["pair", "pair", "combined"];
const PAIRS: [(&str, &str); 2] = [(KEY, CERTIFICATE), (BOTH, BOTH)];

const PAIR: &str = r#"version = 1
description = "a pair"
gate = "report"
[applies]
files = ["/etc/pair"]
[[certificate]]
[[certificate.file]]
path = "/etc/pair/x.key"
holds = ["key"]
mode = "0640"
[[certificate.file]]
path = "/etc/pair/x.crt"
holds = ["certificate"]
mode = "0644"
hash-link = "/etc/pair/hash"
[[unit]]
name = "pair.service"
change = "reload"
"#;

const COMBINED: &str = r#"version = 1
description = "one file"
gate = "report"
[applies]
files = ["/etc/combined"]
[[certificate]]
[[certificate.file]]
path = "/etc/combined/x.pem"
holds = ["key", "certificate"]
mode = "0600"
[[unit]]
name = "combined.service"
change = "restart"
"#;
