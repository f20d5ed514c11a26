//! `place.sh` in a directory: killed before each of its steps, watched by strace, led astray by links.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use reseed::manager::inventory::model::Name;
use reseed::manager::operate::parcel::{Body, File, Load, Parcel, Reload};
use reseed::pki::key::Secret;
use tempfile::TempDir;

use crate::support::{self, has, is_root};

const SCRIPT: &str = "../src/manager/operate/place.sh";

const TOOLS: [&str; 24] = [
    "sh",
    "mkdir",
    "rm",
    "rmdir",
    "ln",
    "readlink",
    "find",
    "mv",
    "cat",
    "sync",
    "tar",
    "dd",
    "cmp",
    "id",
    "tr",
    "sed",
    "mktemp",
    "mkfifo",
    "timeout",
    "sha256sum",
    "flock",
    "sleep",
    "env",
    "touch",
];

/// A jail with a directory for certificates and one for keys.
struct Host {
    directory: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { directory: support::scratch() };
        for made in ["bin", "mortal", "jail/srv", "jail/etc"] {
            fs::create_dir_all(host.path(made)).unwrap();
        }
        for tool in TOOLS {
            let found = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|it| Path::new(it).join(tool));
            let found =
                found.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("there is no {tool}"));
            symlink(found, host.path("bin").join(tool)).unwrap();
            let mortal = host.path("mortal").join(tool);
            // The group of processes is the script's own.
            let text = format!(
                "#!/bin/sh\necho >>'{count}'\nat=0\nwhile read -r _; do at=$((at + 1)); done <'{count}'\n\
                 [ $at != \"$KILL_AT\" ] || kill -KILL 0\nexec {found} \"$@\"\n",
                count = host.path("count").display(),
                found = found.display()
            );
            fs::write(&mortal, text).unwrap();
            fs::set_permissions(&mortal, fs::Permissions::from_mode(0o755)).unwrap();
        }
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Two files and a link, in two directories.
    fn parcel(&self, version: &str) -> Vec<u8> {
        let owner = if is_root() { (70, 71) } else { (0, 0) };
        let file = |directory, name: &str, body, mode, (user, group): (u32, u32)| File {
            directory,
            name: name.into(),
            body,
            mode,
            user,
            group,
        };
        let text = |what: &str| Body::Text(Secret::new(format!("{what} {version}\n")));
        let load = Load {
            certificate: Name::new("a.example").unwrap(),
            target: "h".into(),
            tag: "0123".into(),
            base: self.path("jail").display().to_string(),
            directories: vec!["/srv/keys".into(), "/etc/ssl".into()],
            files: vec![
                file(0, "a_key.pem", text("key"), 0o440, owner),
                file(1, "a_cert.pem", text("cert"), 0o644, (0, 0)),
                file(1, "a_both.pem", text("both"), 0o400, owner),
                file(1, "postgresql.crt", Body::Link("a_cert.pem".into()), 0, (0, 0)),
            ],
            is_due: false,
            reload: Some(0),
        };
        let told = self.path("told").display().to_string();
        let reload = Reload { jail: None, command: format!("touch {told}") };
        let parcel = Parcel { loads: vec![load], reloads: vec![reload] };
        parcel.stream().unwrap().reveal().to_vec()
    }

    fn run(&self, before: &[&str], bin: &str, kill_at: usize, stream: &[u8]) -> Output {
        fs::write(self.path("count"), "").unwrap();
        let script = support::here().join(SCRIPT);
        let words = [before, &["/bin/sh", script.to_str().unwrap(), "5"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().env("PATH", self.path(bin)).env("KILL_AT", kill_at.to_string());
        command.env("TMPDIR", self.directory.path()).current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Less than a pipe takes; it may be killed before it reads.
        let _ = child.stdin.take().unwrap().write_all(stream);
        child.wait_with_output().unwrap()
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path("jail").join(path)).ok()
    }

    /// All of a version is there, and nothing else.
    #[track_caller]
    fn has(&self, version: &str, case: &str) {
        for (path, what) in
            [("srv/keys/a_key.pem", "key"), ("etc/ssl/a_cert.pem", "cert"), ("etc/ssl/a_both.pem", "both")]
        {
            assert_eq!(self.text(path), Some(format!("{what} {version}\n")), "{case}: {path}");
        }
        assert_eq!(self.text("etc/ssl/postgresql.crt"), Some(format!("cert {version}\n")), "{case}");
        let count = walkdir::WalkDir::new(self.path("jail")).into_iter().count();
        assert_eq!(count, 9, "{case}: something was left behind");
    }
}

fn answers(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_script_for_hosts_is_clean() {
    if has("shellcheck") {
        support::checked(Command::new("shellcheck").arg(support::here().join(SCRIPT)));
    }
}

/// Whoever is killed leaves all old or all new to the next, also where the next has nothing new to bring, and a reload
/// that was not done is done.
#[test]
fn killed_before_every_step() {
    let host = Host::new();
    assert!(answers(&host.run(&[], "bin", 0, &host.parcel("1"))).contains("bring: end"));
    host.has("1", "the first");
    let (old, new) = (host.parcel("1"), host.parcel("2"));
    let mut steps = 0;
    for kill_at in 1.. {
        let _ = fs::remove_file(host.path("told"));
        let killed = host.run(&[], "mortal", kill_at, &new);
        let case = format!("killed before step {kill_at}");
        // Whoever comes next may have nothing but what was there before.
        let (next, version) = if kill_at % 2 == 0 { (&old, "1") } else { (&new, "2") };
        let count = fs::read_to_string(host.path("count")).unwrap();
        if count.lines().count() < kill_at {
            host.has("2", &case);
            break;
        }
        // What a reload command runs is in a group of its own; and two that begin together may both be the next step.
        let is_dead = killed.status.signal() == Some(9) || answers(&killed).contains("untold 0");
        assert!(is_dead || answers(&killed).contains("bring: end"), "{case}: {killed:?}");
        let was_told = host.path("told").exists();
        let was_new = host.text("srv/keys/a_key.pem") == Some("key 2\n".into());
        let finished = host.run(&[], "bin", 0, next);
        assert!(answers(&finished).contains("bring: end"), "{case}: {finished:?}");
        host.has(version, &case);
        let changed = was_new || version == "2";
        assert!(was_told || !changed || host.path("told").exists(), "{case}: nobody was told");
        steps += 1;
        if version == "1" {
            continue;
        }
        // Back to the beginning.
        assert!(answers(&host.run(&[], "bin", 0, &old)).contains("bring: end"), "{case}");
        host.has("1", &case);
    }
    assert!(steps > 30, "{steps} steps");
    println!("killed before {steps} steps");
}

/// serverPKI uploaded keys for everybody to read, and closed them afterwards.
#[test]
fn a_key_is_never_readable_too_widely() {
    if !is_root() || !has("strace") {
        return;
    }
    let host = Host::new();
    let log = host.path("log").display().to_string();
    let watch = ["/usr/bin/strace", "-f", "-qq", "-s", "200", "-o", &log, "-e", "trace=desc,file,process"];
    let ran = host.run(&watch, "bin", 0, &host.parcel("1"));
    host.has("1", &format!("{ran:?}"));
    let log = fs::read_to_string(&log).unwrap();
    let (mut made, mut given, mut opened) = (0, 0, 0);
    for line in log.lines().filter(|line| line.contains("_key.pem") || line.contains("_both.pem")) {
        if line.contains("O_CREAT") {
            let call = line.split([')', '<']).next().unwrap().trim_end();
            let mode = u32::from_str_radix(call.rsplit(", ").next().unwrap(), 8).unwrap();
            assert!(line.contains("O_EXCL") && mode & 0o077 == 0, "{line}");
            made += 1;
        }
    }
    for line in log.lines() {
        // Whose it is comes first, and who else may read it then.
        given += usize::from(line.contains("chown") && line.contains("70, 71"));
        if line.contains("chmod") && line.contains("0440") {
            assert!(given > 0, "{line}");
            opened += 1;
        }
    }
    assert!(made >= 2 && given >= 2 && opened >= 1, "{made} made, {given} given away, {opened} opened");
}

#[test]
fn links_lead_nobody_out_of_a_jail() {
    let host = Host::new();
    let outside = host.path("outside");
    fs::create_dir_all(outside.join("ssl")).unwrap();
    type Trap = fn(&Host, &Path);
    let traps: [(&str, Trap); 4] = [
        ("a directory on the way", |host, outside| {
            fs::remove_dir_all(host.path("jail/etc")).unwrap();
            symlink(outside, host.path("jail/etc")).unwrap();
        }),
        ("the directory itself", |host, outside| {
            symlink(outside.join("ssl"), host.path("jail/etc/ssl")).unwrap();
        }),
        ("one that leads nowhere", |host, outside| {
            symlink(outside.join("new"), host.path("jail/srv/keys")).unwrap();
        }),
        ("where it is unpacked", |host, outside| {
            fs::create_dir(host.path("jail/srv/keys")).unwrap();
            symlink(outside, host.path("jail/srv/keys/.reseed-0123.go")).unwrap();
        }),
    ];
    for (case, trap) in traps {
        let _ = fs::remove_dir_all(host.path("jail"));
        for made in ["jail/srv", "jail/etc"] {
            fs::create_dir_all(host.path(made)).unwrap();
        }
        trap(&host, &outside);
        let said = answers(&host.run(&[], "bin", 0, &host.parcel("1")));
        assert!(said.contains("bring: failed 0 ") && said.contains("is a link"), "{case}: {said}");
        let inside = walkdir::WalkDir::new(&outside).into_iter().count();
        assert_eq!(inside, 2, "{case}: something went outside");
        assert!(!host.path("told").exists(), "{case}");
    }
    // A link where a file belongs is nobody's way: the file takes its place.
    let _ = fs::remove_dir_all(host.path("jail"));
    for made in ["jail/srv", "jail/etc/ssl"] {
        fs::create_dir_all(host.path(made)).unwrap();
    }
    fs::write(outside.join("passwd"), "theirs").unwrap();
    symlink(outside.join("passwd"), host.path("jail/etc/ssl/a_cert.pem")).unwrap();
    symlink(&outside, host.path("jail/etc/ssl/a_both.pem")).unwrap();
    let said = answers(&host.run(&[], "bin", 0, &host.parcel("1")));
    assert!(said.contains("bring: placed 0"), "{said}");
    host.has("1", "links where files belong");
    assert_eq!(fs::read_to_string(outside.join("passwd")).unwrap(), "theirs");
}

/// What is cut on its way is as if it had not been sent.
#[test]
fn what_ends_early_changes_nothing() {
    let host = Host::new();
    host.run(&[], "bin", 0, &host.parcel("1"));
    let stream = host.parcel("2");
    for part in 1..8 {
        let cut = host.run(&[], "bin", 0, &stream[..stream.len() * part / 8]);
        assert!(!cut.status.success() && !answers(&cut).contains("bring: end"), "{part}: {cut:?}");
        host.has("1", &format!("cut after {part} eighths"));
    }
}
