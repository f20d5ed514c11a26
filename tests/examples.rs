//! What `seed/` has for installers and image builders: each file is accepted by its owner's own
//! validator, which refuses a broken copy of it; the scripts in it do what they say.
//!
//! The validators are Debian packages or lie in `target/validators` (`tests/validators` fetches
//! them). osbuild-composer cannot be had on Debian: its blueprint is held against a list of its keys.
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

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Family, Machine, checked};

fn seed(path: &str) -> PathBuf {
    support::here().join("../seed").join(path)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn kickstarts() -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(seed("kickstart")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3);
    files
}

/// A program in `target/validators`; nothing, and a word about it, when it is not there.
fn validator(name: &str) -> Option<PathBuf> {
    let path = support::here().join("../target/validators").join(name);
    (path.exists() || support::skipped("tests/validators could not fetch what checks this")).then_some(path)
}

/// Accepts the file, and refuses a copy of it in which `good` has become `bad`.
fn accepts(file: &Path, (good, bad): (&str, &str), check: impl Fn(&Path) -> Command) {
    checked(&mut check(file));
    let broken = text(file);
    assert!(broken.contains(good), "{}: {good}", file.display());
    let dir = support::scratch();
    for entry in fs::read_dir(file.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let copy = dir.path().join(file.file_name().unwrap());
    fs::write(&copy, broken.replacen(good, bad, 1)).unwrap();
    let refused = check(&copy).stdin(Stdio::null()).output().unwrap();
    assert!(!refused.status.success(), "{}: {bad} was accepted", file.display());
}

/// The seed is understood by the program that it is for.
#[track_caller]
fn is_a_seed(name: &str, text: &str) {
    let subject = reseed::seed::Subject::parse(Path::new(name), text).unwrap();
    assert_eq!(subject.organization.as_deref(), Some("Example"), "{name}");
}

#[test]
fn kickstart_files_are_valid_for_each_release() {
    let Some(ksvalidator) = validator("bin/ksvalidator") else { return };
    for file in kickstarts() {
        for release in ["F44", "RHEL9", "RHEL10"] {
            accepts(&file, ("reboot\n", "reboot --frob\n"), |file| {
                let mut command = Command::new(&ksvalidator);
                command.args(["-v", release]).arg(file);
                command
            });
        }
    }
}

/// The body of a section, with the scratch machine where Anaconda mounts the new system.
fn section(file: &Path, header: &str, root: &Path) -> String {
    let text = text(file);
    let (_, rest) = text.split_once(&format!("\n{header}")).unwrap_or_else(|| panic!("{header}"));
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("%end").unwrap().0.replace("/mnt/sysroot", &root.display().to_string())
}

/// What the installer's shell does with a script.
fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[test]
fn kickstart_scripts_put_the_new_system_right() {
    let Some(machine) = Machine::new(Family::Fedora) else { return };
    let file = seed("kickstart/pre-install.ks");
    fs::create_dir_all(machine.path("/usr/sbin")).unwrap();
    symlink(support::RESEED, machine.path("/usr/sbin/reseed")).unwrap();
    fs::create_dir_all(machine.path("/root")).unwrap();
    let _ = fs::remove_dir_all(machine.path("/etc/reseed"));

    checked(&mut shell(&section(&file, "%pre-install", machine.root())));
    is_a_seed("pre-install.ks", &machine.read("/etc/reseed/seed.toml"));
    machine.rename("mail.example.com");
    let said = checked(&mut shell(&section(&file, "%post --nochroot", machine.root())));
    assert!(said.contains("fresh     mod_ssl"), "{said}");
    let made = machine.certificate("/etc/pki/tls/certs/localhost.crt");
    assert!(made.subject().contains("O=Example") && made.subject().contains("CN=mail.example.com"));

    let fetched = section(&seed("kickstart/post.ks"), "%post --nochroot", machine.root());
    for (case, text, good) in
        [("a seed", "version = 1\n", true), ("no seed", "[subject]\ncountry = US\n", false)]
    {
        machine.write("/etc/reseed/seed.toml", text);
        let done = shell(&fetched).stdin(Stdio::null()).output().unwrap();
        assert_eq!(done.status.success(), good, "{case}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn the_anaconda_add_on() {
    let Some(python) = validator("bin/python") else { return };
    let add_on = seed("anaconda/org_reseed");
    let dir = support::scratch();
    checked(
        Command::new(&python)
            .args(["-m", "compileall", "-q"])
            .arg(&add_on)
            .env("PYTHONPYCACHEPREFIX", dir.path()),
    );
    let tests = support::here().join("anaconda");
    checked(Command::new(&python).args(["-B", "-m", "unittest", "discover", "-s"]).arg(tests));
    let section = section(&seed("kickstart/addon.ks"), "%addon org_reseed", Path::new("/"));
    is_a_seed("addon.ks", &section);
}

#[test]
fn cloud_init() {
    let Some(python) = validator("bin/python") else { return };
    let Some(cloud_init) = validator("cloud-init/usr/lib/python3/dist-packages") else { return };
    let file = seed("examples/cloud-init.yaml");
    accepts(&file, ("runcmd:\n  - [reseed, apply]", "runcmd: true"), |file| {
        let mut command = Command::new(&python);
        command.args(["-B", "-m", "cloudinit.cmd.main", "schema", "--config-file"]).arg(file);
        command.env("PYTHONPATH", &cloud_init);
        command
    });
    let content = "import sys, yaml; print(yaml.safe_load(open(sys.argv[1]))['write_files'][0]['content'])";
    is_a_seed("cloud-init.yaml", &checked(Command::new(&python).args(["-c", content]).arg(&file)));
}

/// The keys of osbuild's blueprint that ours could have; from its reference.
#[test]
fn osbuild_blueprint() {
    let file = seed("examples/blueprint.toml");
    let blueprint: toml::Table = text(&file).parse().unwrap();
    let keys = |table: &toml::Table, known: &[&str]| {
        for key in table.keys() {
            assert!(known.contains(&key.as_str()), "a blueprint has no {key}");
        }
    };
    keys(&blueprint, &["name", "description", "version", "packages", "groups", "distro", "customizations"]);
    assert_eq!(blueprint["version"].as_str().unwrap().split('.').count(), 3, "semantic versioning");
    for package in blueprint["packages"].as_array().unwrap() {
        keys(package.as_table().unwrap(), &["name", "version"]);
    }
    let customizations = blueprint["customizations"].as_table().unwrap();
    keys(customizations, &["services", "files", "directories", "user", "group", "kernel", "timezone"]);
    keys(customizations["services"].as_table().unwrap(), &["enabled", "disabled", "masked"]);
    let files = customizations["files"].as_array().unwrap();
    for entry in files {
        let entry = entry.as_table().unwrap();
        keys(entry, &["path", "mode", "user", "group", "data"]);
        assert!(entry["path"].as_str().unwrap().starts_with("/etc/"), "files are allowed in /etc only");
        assert!(u32::from_str_radix(entry["mode"].as_str().unwrap(), 8).unwrap() <= 0o777);
    }
    is_a_seed("blueprint.toml", files[0]["data"].as_str().unwrap());
}

#[test]
fn mkosi() {
    if !support::has("mkosi") {
        return;
    }
    accepts(&seed("examples/mkosi/mkosi.conf"), ("Packages=", "Parcels="), |file| {
        let mut command = Command::new("mkosi");
        command.arg("summary").current_dir(file.parent().unwrap());
        command
    });
    is_a_seed("mkosi.extra", &text(&seed("examples/mkosi/mkosi.extra/etc/reseed/seed.toml")));

    let image = support::scratch();
    stand_in(image.path(), "usr/sbin/reseed");
    let finalize = seed("examples/mkosi/mkosi.finalize");
    for (stage, ran) in [("build", false), ("final", true)] {
        checked(Command::new(&finalize).arg(stage).env("BUILDROOT", image.path()));
        let calls = fs::read_to_string(image.path().join("calls")).unwrap_or_default();
        assert_eq!(calls.contains(" seal"), ran, "{stage}: {calls}");
    }
}

/// A program that notes how it was called, in `calls` of its root.
fn stand_in(root: &Path, path: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let root = "$(dirname \"$0\")/../..";
    fs::write(&path, format!("#!/bin/sh\necho \"${{0##*/}} $*\" >>\"{root}/calls\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// It is built, on a base image that has stand-ins for the programs that it calls.
#[test]
fn bootc_containerfile() {
    if !support::has("buildah") {
        return;
    }
    if !support::is_root() {
        let _ = writeln!(std::io::stderr(), "skipped: bootc_containerfile: only root can build a container");
        return;
    }
    let dir = support::scratch();
    let base = dir.path().join("base");
    for name in ["dnf", "systemctl", "reseed", "bootc"] {
        stand_in(&base, &format!("usr/bin/{name}"));
    }
    let libraries = checked(Command::new("ldd").arg("/bin/sh"));
    let needed = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for file in needed.chain(["/bin/sh", "/usr/bin/dirname"]) {
        let to = base.join(file.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(dir.path().join("store")).arg("--runroot").arg(dir.path().join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments);
        command
    };
    let container = checked(&mut buildah(&["from", "scratch"]));
    let container = container.trim();
    checked(&mut buildah(&["copy", "-q", container, &base.display().to_string(), "/"]));
    checked(&mut buildah(&["commit", "-q", container, "localhost/base"]));
    accepts(&seed("examples/Containerfile"), ("\nRUN bootc", "\nRAN bootc"), |file| {
        let mut command =
            buildah(&["build", "--isolation", "chroot", "--pull-never", "-t", "localhost/made"]);
        command.args(["--build-arg", "BASE=localhost/base", "-f"]).arg(file).arg(file.parent().unwrap());
        command
    });
    let made = checked(&mut buildah(&["from", "localhost/made"]));
    let mounted = PathBuf::from(checked(&mut buildah(&["mount", made.trim()])).trim());
    is_a_seed("Containerfile", &text(&mounted.join("usr/share/reseed/seed.toml")));
    let calls = text(&mounted.join("calls"));
    let last: Vec<&str> = calls.lines().rev().take(3).collect();
    assert_eq!(last, ["bootc container lint", "reseed audit /", "reseed seal --running"], "{calls}");
    checked(&mut buildah(&["umount", "--all"]));
}

#[test]
fn packer() {
    if !support::has("packer") {
        return;
    }
    accepts(&seed("examples/packer.pkr.hcl"), ("shutdown_command", "shutdown_order"), |file| {
        let mut command = Command::new("packer");
        // The checksum is at a server that tests do not ask.
        command.args(["validate", "-var", "checksum=none"]).arg(file.file_name().unwrap());
        command.current_dir(file.parent().unwrap()).env("CHECKPOINT_DISABLE", "1");
        command
    });
    is_a_seed("seed.toml", &text(&seed("examples/seed.toml")));
}
