//! The packages: built here from this very program, checked by the distributions' own checkers, and installed
//! by rpm, dnf and dpkg into bare systems, some of which are booted afterwards.
//!
//! `rpm/ci/build` builds them. No network is asked for anything. Without root, or without a tool, every case is
//! reported as ignored; `RESEED_TESTS_REQUIRE_ALL=1` makes that a failure.

#[path = "lab/machine.rs"]
mod machine;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use machine::{Machine, checked};

fn main() -> ExitCode {
    let checkers: [(&str, fn()); 2] =
        [("rpmlint_finds_nothing", rpmlint_finds_nothing), ("lintian_finds_nothing", lintian_finds_nothing)];
    let installed: [(&str, fn()); 11] = [
        (
            "rpm_runs_once_for_a_provider_and_twenty_consumers",
            rpm_runs_once_for_a_provider_and_twenty_consumers,
        ),
        (
            "dnf_runs_once_for_a_provider_and_twenty_consumers",
            dnf_runs_once_for_a_provider_and_twenty_consumers,
        ),
        ("provider_may_come_later", provider_may_come_later),
        ("scriptlet_that_cannot_wait_is_served_at_once", scriptlet_that_cannot_wait_is_served_at_once),
        ("upgrade_and_erase_keep_what_was_made", upgrade_and_erase_keep_what_was_made),
        ("consumer_without_a_provider_is_refused", consumer_without_a_provider_is_refused),
        ("who_waits_for_the_name_is_let_in_by_attest", who_waits_for_the_name_is_let_in_by_attest),
        (
            "the_boot_does_it_without_triggers_and_the_running_machine_with_them",
            the_boot_does_it_without_triggers_and_the_running_machine_with_them,
        ),
        (
            "installed_under_one_name_and_booted_under_another",
            installed_under_one_name_and_booted_under_another,
        ),
        ("dpkg_runs_once_for_many", dpkg_runs_once_for_many),
        (
            "purged_and_removed_nothing_is_left_but_what_was_made",
            purged_and_removed_nothing_is_left_but_what_was_made,
        ),
    ];
    machine::run(&[(tools_missing, &checkers), (missing, &installed)])
}

const NAME: &str = "mail.example.com";

// ---- the distributions' checkers -----------------------------------------------------------------

fn rpmlint_finds_nothing() {
    let mut rpmlint = Command::new("rpmlint");
    rpmlint.arg("--strict").arg("--config").arg(repository().join("rpm/rpmlint.toml"));
    checked(rpmlint.args(files_in(&PACKAGES.rpms, ".rpm")).arg(repository().join("rpm/reseed.spec")));
}

fn lintian_finds_nothing() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--no-cfg", "--allow-root", "--fail-on", "error,warning"]);
    checked(lintian.args(
        ["reseed", "reseed-sslm", "reseed-serverpki", "system-identity-gate"].map(|name| PACKAGES.deb(name)),
    ));
}

// ---- RPM -----------------------------------------------------------------------------------------

fn rpm_runs_once_for_a_provider_and_twenty_consumers() {
    let machine = bare("rpm-once", NAME);
    // Those that need it are named first: the order is RPM's own business.
    let said = rpm(&machine, &["-U"], &[&consumers(1..=20), &["test-base", "reseed", "echo-tls"]]);
    assert_eq!(runs(&said), 1, "{said}");
    assert_eq!(made_for(&machine, NAME, 1..=20), 1, "all in one run");
    assert_eq!(
        fs::metadata(machine.path("/etc/pki/consumer-7.pem")).unwrap().permissions().mode() & 0o7777,
        0o640
    );
    verified(&machine);
}

fn dnf_runs_once_for_a_provider_and_twenty_consumers() {
    let machine = bare("dnf-once", NAME);
    let said = text(dnf(&machine, &[], &[&["test-base"], &consumers(1..=20)[..]].concat()));
    assert_eq!(runs(&said), 1, "{said}");
    assert_eq!(made_for(&machine, NAME, 1..=20), 1, "all in one run");
    verified(&machine);
}

/// A consumer that only recommends a provider is there first; rpm knows no dependency that orders them.
fn provider_may_come_later() {
    let machine = bare("rpm-later", NAME);
    rpm(&machine, &["-U", "--nodeps"], &[&consumers(1..=3)]);
    assert!(!machine.path("/etc/pki/consumer-1.pem").exists());
    let said = rpm(&machine, &["-U"], &[&["test-base", "reseed"]]);
    assert_eq!(runs(&said), 1, "{said}");
    assert_eq!(made_for(&machine, NAME, 1..=3), 1);
}

fn scriptlet_that_cannot_wait_is_served_at_once() {
    let machine = bare("rpm-eager", NAME);
    let said = rpm(&machine, &["-U"], &[&["eager", "test-base", "reseed"]]);
    assert!(said.contains("eager: found"), "{said}");
    verified(&machine);
}

fn upgrade_and_erase_keep_what_was_made() {
    let machine = bare("rpm-erase", NAME);
    rpm(&machine, &["-U"], &[&["test-base", "reseed", "system-identity-gate"], &consumers(1..=3)[..]]);
    let made = |number: u32| machine.contents(&format!("/etc/pki/consumer-{number}.pem"));
    let first = [made(1), made(2), made(3)];
    rpm_files(&machine, &["-U"], &[PACKAGES.later.join("consumer-1-2-1.noarch.rpm")]);
    let hook = fs::read_to_string(machine.path("/usr/lib/reseed/hooks.d/consumer-1.toml")).unwrap();
    assert!(hook.contains("generation 2"), "{hook}");
    assert_eq!([made(1), made(2), made(3)], first, "nothing is made again at an upgrade");
    verified(&machine);

    let refused = rpm_fails(&machine, &["-e", "reseed"]);
    assert!(refused.contains("system-identity(x509) >= 1 is needed by (installed) consumer-1"), "{refused}");
    text(rpm_run(&machine, &["-e", "consumer-1", "consumer-2"]));
    assert!(!machine.path("/usr/lib/reseed/hooks.d/consumer-1.toml").exists());
    assert_eq!([made(1), made(2), made(3)], first, "what was made stays when its package goes");
    text(rpm_run(&machine, &["-e", "consumer-3", "system-identity-gate", "reseed"]));
    assert!(!machine.path("/usr/sbin/reseed").exists() && !machine.path("/usr/lib/reseed").exists());
    assert!(machine.path("/var/lib/reseed/ledger.toml").exists(), "whoever comes back knows what was made");
    assert_eq!(made(3), first[2]);
    let left = machine.listing(&["/etc/systemd/system"]);
    assert!(!left.contains("reseed"), "{left}");
}

fn consumer_without_a_provider_is_refused() {
    let machine = bare("refused", NAME);
    rpm(&machine, &["-U"], &[&["test-base"]]);
    let consumer = PACKAGES.consumer(1);
    let said = rpm_fails(&machine, &["-U", consumer.to_str().unwrap()]);
    assert!(said.contains("system-identity(x509) >= 1 is needed by consumer-1"), "{said}");
    let said = failed(dnf_from(&PACKAGES.later, &machine, &[], &["consumer-1"]));
    assert!(said.contains("nothing provides system-identity(x509) >= 1 needed by consumer-1"), "{said}");
    let said = failed(dpkg(&machine, &["-i", PACKAGES.deb("consumer-1").to_str().unwrap()]));
    assert!(said.contains("consumer-1 depends on system-identity-x509"), "{said}");
}

fn who_waits_for_the_name_is_let_in_by_attest() {
    let machine = bare("attest", "localhost.localdomain");
    rpm(&machine, &["-U"], &[&["test-base", "reseed"]]);
    let statements = machine.path("/var/lib/reseed/repository");
    let attest = || {
        let mut attest = Command::new(env!("CARGO_BIN_EXE_reseed"));
        attest.arg("--root").arg(machine.path("/")).args(["attest", "--repository"]).arg(&statements);
        attest.output().unwrap()
    };
    let refused = attest();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(!statements.exists());

    fs::create_dir(&statements).unwrap();
    checked(Command::new("createrepo_c").arg("--quiet").arg(&statements));
    let stated = format!("--repofrompath=stated,file://{}", statements.display());
    let strict = || dnf(&machine, &[&stated, "--refresh"], &["strict"]);
    let said = failed(strict());
    assert!(said.contains("nothing provides system-identity(permanent) needed by strict"), "{said}");

    machine.rename("mail-1.example.com");
    let stated = text(attest());
    assert!(stated.contains("/system-identity-attestation-2"), "{stated}");
    assert!(!statements.join("system-identity-attestation.spec").exists());
    text(strict());
    let provides = text(rpm_run(&machine, &["-q", "--provides", "system-identity-attestation"]));
    assert!(provides.contains("system-identity(fqdn:mail-1.example.com)"), "{provides}");
    // A later statement takes its place, in the repository and on the machine.
    machine.rename("mail-2.example.com");
    thread::sleep(Duration::from_secs(1));
    text(attest());
    assert_eq!(files_in(&statements, ".rpm").len(), 1);
    rpm_files(&machine, &["-U"], &files_in(&statements, ".rpm"));
    let provides = text(rpm_run(&machine, &["-q", "--provides", "system-identity-attestation"]));
    assert!(provides.contains("(fqdn:mail-2.example.com)") && !provides.contains("mail-1"), "{provides}");
}

fn the_boot_does_it_without_triggers_and_the_running_machine_with_them() {
    let machine = bare("rpm-boot", NAME);
    rpm(&machine, &["-U", "--notriggers"], &[&["test-base", "reseed"], &consumers(1..=5)[..]]);
    assert!(!machine.path("/etc/pki/consumer-1.pem").exists());
    machine.boot();
    assert_eq!(machine.settled(), "running");
    assert_eq!(made_for(&machine, NAME, 1..=5), 1);

    // The running machine: its programs lie on what is read-only until now.
    machine.ok(&["mount", "-o", "remount,bind,rw", "/usr"]);
    fs::create_dir(machine.path("/root/one")).unwrap();
    for package in (6..=10).map(|number| PACKAGES.consumer(number)).chain([PACKAGES.rpm("echo-tls")]) {
        let name = package.file_name().unwrap().to_str().unwrap();
        fs::copy(&package, machine.path("/root").join(name)).unwrap();
    }
    assert_eq!(machine.starts("reseed-apply.service"), 0);
    machine.ok(&["sh", "-c", "rpm --force-debian -U /root/*.rpm"]);
    // The transaction does not wait for it.
    come_to_rest(&machine, 1);
    assert_eq!(machine.starts("reseed-apply.service"), 1);
    assert_eq!(made_for(&machine, NAME, 1..=5), 1);
    assert_eq!(made_for(&machine, NAME, 6..=10), 1);
    assert!(machine.path("/etc/pki/echo-tls/echo-tls.pem").exists());
    let drop_in = machine.ok(&["systemctl", "cat", "echo-tls.service"]);
    assert!(drop_in.contains("50-reseed.conf"), "the generator has seen the new hook: {drop_in}");
    assert_eq!(machine.ok(&["rpm", "-Va"]), "");

    // One transaction after the other, some of them while a run for an earlier one is under way.
    for package in (11..=20).map(|number| PACKAGES.consumer(number)) {
        fs::copy(&package, machine.path("/root/one").join(package.file_name().unwrap())).unwrap();
    }
    machine.ok(&["sh", "-c", "for package in /root/one/*; do rpm --force-debian -U $package; done"]);
    come_to_rest(&machine, 2);
    made_for(&machine, NAME, 11..=20);

    // Who goes holds nothing back any longer.
    machine.write("/usr/lib/reseed/hooks.d/echo-tls.toml", ECHO_WITHOUT_ITS_DIRECTORY);
    assert!(!machine.run(&["systemctl", "start", "reseed-apply.service"]).status.success());
    assert!(machine.run(&["test", "-e", "/run/reseed/hold/echo-tls.service"]).status.success());
    machine.ok(&["rpm", "-e", "--nodeps", "reseed"]);
    machine.ok(&["systemctl", "start", "echo-tls.service"]);
    assert_eq!(machine.systemctl("is-active", "echo-tls.service"), "active");
    for unit in ["reseed-check.timer", "reseed-retry.timer", "reseed-apply.path"] {
        assert_eq!(machine.systemctl("is-active", unit), "inactive", "{unit}");
    }
}

/// It asks for more than there is, so the service is stale.
const ECHO_WITHOUT_ITS_DIRECTORY: &str = "version = 1\ndescription = \"An echo service that cannot be served\"\n\
    [applies]\nfiles = [\"/usr/lib/systemd/system/echo-tls.service\"]\n[[certificate]]\n[[certificate.file]]\n\
    path = \"/etc/pki/nowhere/echo-tls.pem\"\nholds = [\"key\", \"certificate\"]\n[[unit]]\n\
    name = \"echo-tls.service\"\nchange = \"restart\"\n";

/// Waits until so many runs have begun that packages asked for, and none is under way or asked for.
fn come_to_rest(machine: &Machine, runs: usize) {
    let end = Instant::now() + Duration::from_secs(60);
    let rests = || {
        machine.systemctl("is-active", "reseed-apply.service") == "inactive"
            && !machine.run(&["test", "-e", "/run/reseed/asked"]).status.success()
            && machine.starts("reseed-apply.service") >= runs
    };
    while !rests() {
        assert!(Instant::now() < end, "{}", machine.ok(&["journalctl", "-b", "-u", "reseed-apply.*"]));
        thread::sleep(Duration::from_millis(200));
    }
}

fn installed_under_one_name_and_booted_under_another() {
    let machine = bare("rpm-moved", "built-here.example.org");
    rpm(&machine, &["-U"], &[&["test-base", "reseed", "echo-tls"], &consumers(1..=20)[..]]);
    made_for(&machine, "built-here.example.org", 1..=20);
    machine.rename(NAME);
    offline(&machine, &["enable", "echo-tls.service"]);
    machine.start();
    let watch = machine.watch(&[9443]);
    assert_eq!(machine.settled(), "running");
    let served = machine.served(NAME, 9443);
    assert!(served.matches, "{served:?}");
    assert!(watch.shown().iter().all(|shown| shown.fingerprint == served.fingerprint), "never the old one");
    assert_eq!(made_for(&machine, NAME, 1..=20), 1);
    assert_eq!(machine.starts("echo-tls.service"), 1);
}

// ---- Debian --------------------------------------------------------------------------------------

fn dpkg_runs_once_for_many() {
    let machine = bare("dpkg-once", NAME);
    let debs: Vec<PathBuf> = (1..=5).map(|number| PACKAGES.deb(&format!("consumer-{number}"))).collect();
    let files =
        |files: &[PathBuf]| -> Vec<String> { files.iter().map(|file| file.display().to_string()).collect() };
    let reseed = files(&[PACKAGES.deb("reseed")]);
    text(dpkg(&machine, &["-i", &reseed[0]]));
    let all = files(&debs);
    let arguments: Vec<&str> = ["-i"].into_iter().chain(all.iter().map(String::as_str)).collect();
    let said = text(dpkg(&machine, &arguments));
    assert_eq!(said.matches("Processing triggers for reseed").count(), 1, "{said}");
    assert_eq!(runs(&said), 1, "{said}");
    assert_eq!(made_for(&machine, NAME, 1..=5), 1);
    for unit in ["reseed-early.service", "reseed.service", "reseed-check.timer"] {
        assert_eq!(offline(&machine, &["is-enabled", unit]), "enabled", "{unit}");
    }
    assert_eq!(offline(&machine, &["is-enabled", "reseed-watch.path"]), "disabled");
    machine.boot();
    assert_eq!(machine.settled(), "running");
    assert_eq!(machine.property("reseed.service", "Result"), "success");
    assert_eq!(made_for(&machine, NAME, 1..=5), 1);
}

fn purged_and_removed_nothing_is_left_but_what_was_made() {
    let machine = bare("dpkg-purge", NAME);
    let all =
        ["reseed", "system-identity-gate", "consumer-1"].map(|name| PACKAGES.deb(name).display().to_string());
    text(dpkg(&machine, &["-i", &all[0], &all[1], &all[2]]));
    assert_eq!(made_for(&machine, NAME, 1..=1), 1);
    assert_eq!(offline(&machine, &["is-enabled", "reseed-watch.path"]), "enabled");
    let made = machine.contents("/etc/pki/consumer-1.pem");
    text(dpkg(&machine, &["--purge", "reseed", "system-identity-gate", "consumer-1"]));
    assert_eq!(machine.contents("/etc/pki/consumer-1.pem"), made);
    let left = machine.listing(
        &["/etc/systemd", "/etc/reseed", "/usr/lib/reseed", "/var/lib/reseed", "/lib/systemd"]
            .map(|path| if machine.path(path).exists() { path } else { "/etc/hostname" }),
    );
    assert!(!left.contains("reseed"), "{left}");
}

// ---- what the cases are made of ------------------------------------------------------------------

/// Everything that is built once for all cases.
struct Packages {
    /// Kept for as long as anybody may look.
    _scratch: tempfile::TempDir,
    rpms: PathBuf,
    consumers: PathBuf,
    later: PathBuf,
    debs: PathBuf,
}

static PACKAGES: LazyLock<Packages> = LazyLock::new(|| {
    let scratch = tempfile::tempdir().unwrap();
    let [rpms, consumers, later, debs] =
        ["rpms", "consumers", "later", "debs"].map(|name| scratch.path().join(name));
    for directory in [&rpms, &consumers, &later, &debs] {
        fs::create_dir(directory).unwrap();
    }
    let mut build = Command::new(repository().join("rpm/ci/build"));
    checked(build.arg(&rpms).arg(env!("CARGO_BIN_EXE_reseed")));
    for deb in files_in(&rpms, ".deb") {
        fs::rename(&deb, debs.join(deb.file_name().unwrap())).unwrap();
    }
    for (directory, generation) in [(&consumers, 1), (&later, 2)] {
        let mut build = Command::new("rpmbuild");
        build.args(["--quiet", "--nodeps", "-bb"]);
        for macros in ["rpm/ci/macros.compat", "rpm/macros.reseed"] {
            build.arg(format!("--load={}", repository().join(macros).display()));
        }
        build.arg("--define").arg(format!("_topdir {}", scratch.path().join("work").display()));
        build.arg("--define").arg(format!("_rpmdir {}", directory.display()));
        build.arg("--define").arg(format!("generation {generation}"));
        checked(build.arg(repository().join("tests/packages/consumers.spec")));
    }
    for number in 1..=5 {
        debian_consumer(scratch.path(), &debs, number);
    }
    for package in files_in(&rpms, ".rpm") {
        fs::hard_link(&package, consumers.join(package.file_name().unwrap())).unwrap();
    }
    for repository in [&consumers, &later] {
        checked(Command::new("createrepo_c").arg("--quiet").arg(repository));
    }
    Packages { _scratch: scratch, rpms, consumers, later, debs }
});

impl Packages {
    fn rpm(&self, name: &str) -> PathBuf {
        let is_it = |file: &PathBuf| {
            let rest = file.file_name().unwrap().to_str().unwrap().strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('-') && rest.as_bytes()[1].is_ascii_digit())
        };
        files_in(&self.consumers, ".rpm")
            .into_iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("no package {name}"))
    }

    fn consumer(&self, number: u32) -> PathBuf {
        self.consumers.join(format!("consumer-{number}-1-1.noarch.rpm"))
    }

    fn deb(&self, name: &str) -> PathBuf {
        let is_it =
            |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().starts_with(&format!("{name}_"));
        files_in(&self.debs, ".deb").into_iter().find(is_it).unwrap_or_else(|| panic!("no package {name}"))
    }
}

/// The same hook as of the RPM packages, in a package of dpkg's.
fn debian_consumer(scratch: &Path, debs: &Path, number: u32) {
    let name = format!("consumer-{number}");
    let tree = scratch.join(&name);
    let write = |file: &str, text: &str| {
        let path = tree.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "DEBIAN/control",
        &format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\n\
             Depends: system-identity-x509 (>= 1)\nDescription: a package with a certificate\n For tests.\n"
        ),
    );
    fs::create_dir_all(tree.join("etc/pki")).unwrap();
    write(&format!("usr/share/{name}/present"), "");
    write(
        &format!("usr/lib/reseed/hooks.d/{name}.toml"),
        &format!(
            "version = 1\ndescription = \"{name}\"\n[applies]\nfiles = [\"/usr/share/{name}/present\"]\n\
             [[certificate]]\n[[certificate.file]]\npath = \"/etc/pki/{name}.pem\"\nholds = [\"key\", \"certificate\"]\n"
        ),
    );
    checked(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(debs));
}

/// A bare system, not booted, that goes by this name.
fn bare(machine: &'static str, name: &str) -> Machine {
    let machine = Machine::of("packages", machine, &[]);
    machine.rename(name);
    machine
}

fn consumers(numbers: std::ops::RangeInclusive<u32>) -> Vec<&'static str> {
    const NAMES: [&str; 20] = [
        "consumer-1",
        "consumer-2",
        "consumer-3",
        "consumer-4",
        "consumer-5",
        "consumer-6",
        "consumer-7",
        "consumer-8",
        "consumer-9",
        "consumer-10",
        "consumer-11",
        "consumer-12",
        "consumer-13",
        "consumer-14",
        "consumer-15",
        "consumer-16",
        "consumer-17",
        "consumer-18",
        "consumer-19",
        "consumer-20",
    ];
    numbers.map(|number| NAMES[number as usize - 1]).collect()
}

/// Installs packages, in the order given; returns what was said.
fn rpm(machine: &Machine, how: &[&str], packages: &[&[&str]]) -> String {
    let files: Vec<PathBuf> = packages.concat().iter().map(|name| PACKAGES.rpm(name)).collect();
    rpm_files(machine, how, &files)
}

fn rpm_files(machine: &Machine, how: &[&str], files: &[PathBuf]) -> String {
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    text(rpm_run(machine, &[how, &files].concat()))
}

fn rpm_fails(machine: &Machine, arguments: &[&str]) -> String {
    failed(rpm_run(machine, arguments))
}

fn rpm_run(machine: &Machine, arguments: &[&str]) -> Output {
    let mut rpm = Command::new("rpm");
    rpm.args(["--force-debian", "--dbpath", "/var/lib/rpm", "--root"]).arg(machine.path("/"));
    rpm.args(arguments).output().unwrap()
}

fn dnf(machine: &Machine, options: &[&str], packages: &[&str]) -> Output {
    dnf_from(&PACKAGES.consumers, machine, options, packages)
}

/// Installs packages from one repository and whatever the options name.
fn dnf_from(repository: &Path, machine: &Machine, options: &[&str], packages: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
    fs::create_dir(home.path().join("log")).unwrap();
    let here = |name: &str| home.path().join(name).display().to_string();
    let mut dnf = Command::new("dnf");
    dnf.env("HOME", home.path())
        .arg(format!("--installroot={}", machine.path("/").display()))
        .args(["-y", "--releasever=1", "--disablerepo=*", "--nogpgcheck", "--setopt=reposdir=/dev/null"])
        .arg(format!("--repofrompath=local,file://{}", repository.display()))
        .args([format!("--setopt=cachedir={}", here("cache")), format!("--setopt=logdir={}", here("log"))])
        .args(["--setopt=install_weak_deps=False", "--setopt=module_platform_id=platform:test"])
        .args(["--setopt=plugins=0"])
        .args(options)
        .arg("install")
        .args(packages);
    dnf.output().unwrap()
}

fn dpkg(machine: &Machine, arguments: &[&str]) -> Output {
    let mut dpkg = Command::new("dpkg");
    dpkg.env("DEBIAN_FRONTEND", "noninteractive").arg(format!("--root={}", machine.path("/").display()));
    dpkg.arg("--force-unsafe-io").args(arguments).output().unwrap()
}

/// What `systemctl` says of a machine that does not run.
fn offline(machine: &Machine, arguments: &[&str]) -> String {
    let mut systemctl = Command::new("systemctl");
    let output = systemctl.arg("--root").arg(machine.path("/")).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// How many runs a transaction led to: each that makes nothing says so, the others make the first consumer's.
fn runs(said: &str) -> usize {
    said.lines().filter(|line| ["Nothing to do.", "consumer-1: made again"].contains(line)).count()
}

/// Checks that these consumers have their certificates for this name, and returns in how many runs they were
/// made.
fn made_for(machine: &Machine, name: &str, numbers: std::ops::RangeInclusive<u32>) -> usize {
    let ledger = fs::read_to_string(machine.path("/var/lib/reseed/ledger.toml")).unwrap();
    let ledger: toml::Table = ledger.parse().unwrap();
    let mut runs = BTreeSet::new();
    for number in numbers {
        let file = machine.path(&format!("/etc/pki/consumer-{number}.pem"));
        let certificate =
            checked(Command::new("openssl").args(["x509", "-noout", "-subject", "-in"]).arg(&file));
        assert!(certificate.trim_end().ends_with(&format!("CN = {name}")), "{number}: {certificate}");
        runs.insert(
            ledger["hook"][format!("consumer-{number}").as_str()]["run"].as_str().unwrap().to_owned(),
        );
    }
    runs.len()
}

/// RPM's own look at everything that it installed.
fn verified(machine: &Machine) {
    assert_eq!(text(rpm_run(machine, &["-Va"])), "", "rpm -V");
}

fn text(output: Output) -> String {
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{}: {said}", output.status);
    said
}

fn failed(output: Output) -> String {
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!output.status.success(), "{said}");
    said
}

fn files_in(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_str().unwrap().ends_with(suffix)).collect();
    files.sort();
    files
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Why nothing can be built or checked here.
fn tools_missing() -> Option<String> {
    let tools = [
        ("rpmbuild", "rpm"),
        ("createrepo_c", "createrepo-c"),
        ("rpmlint", "rpmlint"),
        ("lintian", "lintian"),
        ("dh", "debhelper"),
        ("dnf", "dnf"),
        ("strip", "binutils"),
        ("dpkg-shlibdeps", "dpkg-dev"),
    ];
    let there = |tool: &str| Path::new("/usr/bin").join(tool).exists();
    tools
        .iter()
        .find(|(tool, _)| !there(tool))
        .map(|(tool, package)| format!("{tool} not found (package {package})"))
}

fn missing() -> Option<String> {
    tools_missing().or_else(machine::missing)
}
