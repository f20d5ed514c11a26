//! `place.sh` in a directory: killed before each of its steps, with each of the tools that exchange directories.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{self, has};

const TOOLS: [&str; 21] = [
    "sh", "mkdir", "rm", "ln", "readlink", "find", "mv", "cat", "sync", "df", "tar", "stat", "chmod",
    "chown", "id", "diff", "cmp", "sleep", "getfacl", "setfacl", "env",
];

/// What exchanges directories, and whether there is `flock` beside it.
const HELPERS: [(&str, bool); 3] = [("perl", true), ("python3", false), ("mv", true)];

const FILES: [&str; 3] = ["bundle.pem", "cert.pem", "privkey.pem"];

/// Where a program lies.
fn find(tool: &str) -> Option<PathBuf> {
    let directories = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(Path::new);
    directories.iter().map(|directory| directory.join(tool)).find(|path| path.exists())
}

fn which(tool: &str) -> PathBuf {
    find(tool).unwrap_or_else(|| panic!("there is no {tool}"))
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A host: the programs that it has, and the same in a form that can be killed before any of them.
struct Host {
    directory: TempDir,
}

impl Host {
    fn new(helpers: &[&str], has_flock: bool) -> Self {
        let host = Self { directory: support::scratch() };
        for directory in ["bin", "mortal", "old"] {
            fs::create_dir(host.path(directory)).unwrap();
        }
        let mut tools: Vec<&str> = TOOLS.to_vec();
        tools.extend(has_flock.then_some("flock"));
        tools.extend(helpers.iter().filter(|helper| **helper != "mv"));
        for tool in &tools {
            // Access lists are somebody's wish, not a need.
            if let Some(path) = find(tool) {
                symlink(path, host.path("bin").join(tool)).unwrap();
            }
        }
        if helpers.contains(&"mv") {
            // What coreutils 9.5 has.
            let python = "import ctypes, os, sys; one, other = map(os.fsencode, sys.argv[1:]); \
                sys.exit(0 if ctypes.CDLL(None).renameat2(-100, one, -100, other, 2) == 0 else 1)";
            fs::remove_file(host.path("bin/mv")).unwrap();
            program(
                &host.path("bin/mv"),
                &format!(
                    "#!/bin/sh\nif [ \"$1 $2 $3\" = '--exchange -T --' ]; then shift 3; \
                     exec {} -I -S -c '{python}' \"$@\"; fi\nexec {} \"$@\"\n",
                    which("python3").display(),
                    which("mv").display()
                ),
            );
        }
        for tool in fs::read_dir(host.path("bin")).unwrap() {
            let tool = tool.unwrap().path();
            // The group of processes is the script's own.
            program(
                &host.path("mortal").join(tool.file_name().unwrap()),
                &format!(
                    "#!/bin/sh\nread -r at <'{count}'\nat=$((at + 1))\necho $at >'{count}'\n\
                     [ $at != \"$KILL_AT\" ] || kill -KILL 0\nexec {tool} \"$@\"\n",
                    count = host.path("count").display(),
                    tool = tool.display()
                ),
            );
        }
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn spawn(&self, bin: &str, kill_at: usize, arguments: &[&str], archive: &[u8]) -> Child {
        fs::write(self.path("count"), "0\n").unwrap();
        let mut command = Command::new("/bin/sh");
        command.arg(support::here().join("../src/manager/deliver/place.sh")).args(arguments);
        command.env_clear().env("PATH", self.path(bin)).env("KILL_AT", kill_at.to_string());
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Less than a pipe takes; it may be killed before it reads.
        let _ = child.stdin.take().unwrap().write_all(archive);
        child
    }

    fn place(&self, archive: &[u8]) -> Output {
        let production = self.path("prod");
        self.spawn("bin", 0, &["", production.to_str().unwrap(), "64"], archive).wait_with_output().unwrap()
    }

    /// An archive of a version of two services, of which one has a `next` too in odd versions.
    fn archive(&self, version: u32) -> Vec<u8> {
        let directory = support::scratch();
        let top = directory.path();
        let mut manifest = String::new();
        let mut pair = |path: &str, link: &str| {
            let below = top.join("data").join(path).join(link);
            fs::create_dir_all(&below).unwrap();
            for file in FILES {
                fs::write(below.join(file), format!("{file} {version}\n")).unwrap();
                let mode = if file == "cert.pem" { 0o644 } else { 0o600 };
                fs::set_permissions(below.join(file), fs::Permissions::from_mode(mode)).unwrap();
            }
            manifest.push_str(&format!("pair {path} {link} - -\n"));
        };
        pair("example.com/mail", "curr");
        pair("example.com/web", "curr");
        if version % 2 == 1 {
            pair("example.com/web", "next");
        } else {
            manifest.push_str("gone example.com/web next - -\n");
        }
        fs::write(top.join("data/example.com/tlsa.example.com"), format!("records {version}\n")).unwrap();
        manifest.push_str("file example.com/tlsa.example.com - - -\n");
        fs::write(top.join("manifest"), manifest).unwrap();
        fs::write(top.join("end"), "").unwrap();
        let mut command = Command::new("tar");
        command.arg("-C").arg(top).args(["-cf", "-", "manifest", "data", "end"]);
        command.output().unwrap().stdout
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path("prod/example.com").join(path)).ok()
    }

    /// Whatever has happened: every pair is one, and no key can be read by others.
    #[track_caller]
    fn is_whole(&self, case: &str) {
        for pair in ["mail/curr", "web/curr", "web/next"] {
            let found: Vec<Option<String>> =
                FILES.iter().map(|file| self.text(&format!("{pair}/{file}"))).collect();
            let versions: Vec<Option<&str>> = found
                .iter()
                .map(|text| text.as_deref().and_then(|text| text.trim_end().rsplit(' ').next()))
                .collect();
            let is_one = versions.iter().all(|version| *version == versions[0]);
            assert!(is_one && (versions[0].is_some() || pair == "web/next"), "{case}: {pair}: {versions:?}");
        }
        for entry in walkdir::WalkDir::new(self.path("prod")).into_iter().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode();
            if entry.file_name() == ".reseed.new" {
                assert_eq!(mode & 0o777, 0o700, "{case}");
            } else if entry.file_type().is_file() && entry.file_name() != "cert.pem" {
                let is_key = FILES.iter().any(|file| entry.file_name() == *file);
                assert!(!is_key || mode & 0o777 & !0o640 == 0, "{case}: {entry:?} {mode:o}");
            }
        }
    }

    /// It is all there, and nothing else.
    #[track_caller]
    fn has(&self, version: u32, case: &str) {
        let mut expected = BTreeMap::new();
        let next = (version % 2 == 1).then_some("web/next");
        for pair in ["mail/curr", "web/curr"].into_iter().chain(next) {
            for file in FILES {
                expected.insert(format!("example.com/{pair}/{file}"), format!("{file} {version}\n"));
            }
        }
        expected.insert("example.com/tlsa.example.com".into(), format!("records {version}\n"));
        assert_eq!(self.files(), expected, "{case}");
        let hidden = fs::read_dir(self.path("prod")).unwrap().count();
        assert_eq!(hidden, 1, "{case}: only the group's directory");
        let links = fs::read_dir(self.path("prod/example.com/web")).unwrap().count();
        assert_eq!(links, 1 + usize::from(next.is_some()), "{case}");
    }

    fn files(&self) -> BTreeMap<String, String> {
        let production = self.path("prod");
        let entries = walkdir::WalkDir::new(&production).into_iter().map(Result::unwrap);
        entries
            .filter(|entry| !entry.file_type().is_dir())
            .map(|entry| {
                let path = entry.path().strip_prefix(&production).unwrap().display().to_string();
                (path, fs::read_to_string(entry.path()).unwrap_or_default())
            })
            .collect()
    }

    /// The first version is in place; `old` is what is begun with.
    fn begun(&self) {
        let placed = self.place(&self.archive(1));
        assert!(placed.status.success(), "{placed:?}");
        self.has(1, "the first");
        fs::rename(self.path("prod"), self.path("old/prod")).unwrap();
    }

    fn again(&self) {
        let _ = fs::remove_dir_all(self.path("prod"));
        support::checked(Command::new("cp").arg("-a").arg(self.path("old/prod")).arg(self.path("prod")));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Killed before its every `stride`th step, and begun again.
fn survives(helper: &str, has_flock: bool, stride: usize) {
    if !has("perl") || !has("python3") {
        return;
    }
    let host = Host::new(&[helper], has_flock);
    host.begun();
    let archive = host.archive(2);
    let mut steps = 0;
    for kill_at in (1..).step_by(stride) {
        host.again();
        let production = host.path("prod");
        let arguments = ["", production.to_str().unwrap(), "64"];
        let killed = host.spawn("mortal", kill_at, &arguments, &archive).wait_with_output().unwrap();
        let case = format!("{helper}, killed before step {kill_at}");
        host.is_whole(&case);
        if killed.status.success() {
            host.has(2, &case);
            break;
        }
        assert_eq!(killed.status.signal(), Some(9), "{case}: {killed:?}");
        let finished = host.place(&archive);
        assert!(finished.status.success(), "{case}: {finished:?}");
        host.has(2, &case);
        steps += 1;
    }
    assert!(steps * stride > 30, "{helper}: {steps} steps");
    println!("{helper}: killed before {steps} steps");
}

#[test]
fn the_scripts_for_hosts_are_clean() {
    if has("shellcheck") {
        let scripts = ["deliver/place.sh", "acme/prove/tokens.sh"];
        let manager = support::here().join("../src/manager");
        support::checked(Command::new("shellcheck").args(scripts.map(|script| manager.join(script))));
    }
}

#[test]
fn killed_before_every_step_with_perl() {
    survives("perl", true, 1);
}

#[test]
fn killed_before_steps_with_python_and_without_flock() {
    survives("python3", false, 2);
}

#[test]
fn killed_before_steps_with_a_new_mv() {
    survives("mv", true, 3);
}

#[test]
fn killed_at_any_moment() {
    if !has("perl") {
        return;
    }
    for (helper, has_flock) in HELPERS {
        let host = Host::new(&[helper], has_flock);
        host.begun();
        let archive = host.archive(2);
        for round in 0..12_u64 {
            host.again();
            let production = host.path("prod");
            let child = host.spawn("bin", 0, &["", production.to_str().unwrap(), "64"], &archive);
            std::thread::sleep(Duration::from_millis(4 * round + round * round % 7));
            let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            drop(child.wait_with_output());
            let case = format!("{helper}, round {round}");
            host.is_whole(&case);
            assert!(host.place(&archive).status.success(), "{case}");
            host.has(2, &case);
        }
    }
}

#[test]
fn without_anything_that_exchanges_it_leaves_everything_as_it_was() {
    let host = Host::new(&["perl"], true);
    host.begun();
    host.again();
    let before = host.files();
    for tool in ["bin/perl", "bin/tar"] {
        fs::remove_file(host.path(tool)).unwrap();
        let refused = host.place(&host.archive(2));
        assert_eq!(refused.status.code(), Some(1));
        let missing = if tool == "bin/perl" { "exchanges two directories" } else { "there is no tar" };
        assert!(said(&refused).contains(missing), "{}", said(&refused));
        assert_eq!(host.files(), before, "{tool}");
        host.has(1, tool);
    }
}

#[test]
fn what_cannot_be_placed_is_refused_and_nothing_is_left_behind() {
    let host = Host::new(&["perl"], true);
    host.begun();
    host.again();
    let archive = host.archive(2);
    let production = host.path("prod");
    let production = production.to_str().unwrap();
    let jail = host.path("jail");
    fs::create_dir(&jail).unwrap();
    symlink(host.path("old"), jail.join("srv")).unwrap();
    let (jail, none) = (jail.to_str().unwrap(), host.path("none"));
    // name, arguments, octets of the archive, what is said
    let whole = archive.len();
    let cases: [(&str, [&str; 3], usize, &str); 5] = [
        ("too large", ["", production, "99999999999"], whole, "99999999999 KiB are needed"),
        ("cut inside a file", ["", production, "64"], 5000, "cannot be unpacked"),
        ("cut at once", ["", production, "64"], 0, ""),
        ("a jail that leads outside", [jail, "/srv/prod", "64"], whole, "is a link"),
        ("no jail", [none.to_str().unwrap(), "/srv/prod", "64"], whole, "there is no jail"),
    ];
    for (case, arguments, octets, words) in cases {
        let child = host.spawn("bin", 0, &arguments, &archive[..octets]);
        let refused = child.wait_with_output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{case}: {refused:?}");
        assert!(said(&refused).contains(words) && !said(&refused).is_empty(), "{case}: {}", said(&refused));
        host.has(1, case);
    }
    // Cut between two files, tar has nothing to say.
    let at = archive.windows(4).position(|window| window == b"end\0").unwrap();
    let child = host.spawn("bin", 0, &["", production, "64"], &archive[..at / 512 * 512]);
    let refused = child.wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(said(&refused).contains("ends early"), "{}", said(&refused));
    host.has(1, "cut between two files");
    // A directory is in the way of none, but something else where a pair belongs is somebody's.
    let curr = host.path("prod/example.com/web/curr");
    fs::rename(&curr, host.path("kept")).unwrap();
    symlink(host.path("kept"), &curr).unwrap();
    let refused = host.place(&archive);
    assert!(said(&refused).contains("is no directory; move it away"), "{}", said(&refused));
    assert_eq!(host.text("mail/curr/cert.pem").unwrap(), "cert.pem 1\n", "nothing of it was begun");
}

#[test]
fn two_at_once_come_one_after_the_other() {
    for (helper, has_flock) in HELPERS {
        let host = Host::new(&[helper], has_flock);
        host.begun();
        host.again();
        let production = host.path("prod");
        let arguments = ["", production.to_str().unwrap(), "64"];
        let children = [2, 4, 3].map(|version| host.spawn("bin", 0, &arguments, &host.archive(version)));
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{helper}: {output:?}");
        }
        host.is_whole(helper);
        let last = host.text("web/curr/cert.pem").unwrap();
        host.has(last.trim().rsplit(' ').next().unwrap().parse().unwrap(), helper);
    }
}

#[test]
fn owner_mode_and_access_list_are_kept_and_narrowed() {
    if !support::is_root() || !has("setfacl") {
        return;
    }
    let host = Host::new(&["perl"], true);
    host.begun();
    host.again();
    let key = host.path("prod/example.com/web/curr/privkey.pem");
    support::checked(Command::new("chown").arg("8:12").arg(&key));
    support::checked(Command::new("chmod").arg("0664").arg(&key));
    support::checked(Command::new("setfacl").args(["-m", "u:33:r"]).arg(&key));
    let mail = host.path("prod/example.com/mail/curr/privkey.pem");
    support::checked(Command::new("chmod").arg("0440").arg(&mail));
    assert!(host.place(&host.archive(2)).status.success());
    host.has(2, "placed");
    let stat = |path: &Path| support::checked(Command::new("stat").args(["-c", "%u:%g %a"]).arg(path));
    assert_eq!(stat(&key).trim(), "8:12 640");
    assert_eq!(stat(&mail).trim(), "0:0 440");
    let list = support::checked(Command::new("getfacl").args(["-cnp"]).arg(&key));
    assert!(list.contains("user:33:r--") && list.contains("other::---"), "{list}");
    // The same once more changes nothing, not even the directory.
    let number = |path: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(host.path(path)).unwrap());
    let before = number("prod/example.com/web/curr");
    assert!(host.place(&host.archive(2)).status.success());
    assert_eq!(number("prod/example.com/web/curr"), before);
}
