//! The units that we ship, in the company that they boot in: systemd's own, networks and cloud-init of
//! both families, servers with and without peculiarities, and what our generator writes for those.
//!
//! The systemd of the machine that runs the tests is asked; without it, these tests are skipped.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{Machine, RESEED, checked, has};
use tempfile::TempDir;

const UNITS: &str = "usr/lib/systemd/system";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// ---- no circle -----------------------------------------------------------------------------------

/// What it is called, os-release(5), units by their names.
type Company = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Networks and cloud-inits, each only with the lines that order it. The network stage of cloud-init is
/// before sysinit.target on Debian and after it on RHEL and Fedora; until 24.2 it was cloud-init.service.
const COMPANIES: [Company; 7] = [
    ("Debian", "ID=debian", &[NETWORKING]),
    (
        "Debian, cloud-init 22",
        "ID=debian",
        &[
            NETWORKING,
            (
                "cloud-init-local.service",
                "DefaultDependencies=no\nConflicts=shutdown.target\nWants=network-pre.target\n\
                After=systemd-remount-fs.service\nBefore=NetworkManager.service network-pre.target shutdown.target sysinit.target\n\
                RequiresMountsFor=/var/lib/cloud",
            ),
            (
                "cloud-init.service",
                "DefaultDependencies=no\nConflicts=shutdown.target\n\
                Wants=cloud-init-local.service sshd-keygen.service sshd.service\n\
                After=cloud-init-local.service systemd-networkd-wait-online.service networking.service\n\
                Before=network-online.target sshd-keygen.service sshd.service sysinit.target systemd-user-sessions.service",
            ),
            CLOUD_CONFIG,
        ],
    ),
    (
        "Debian, cloud-init 25",
        "ID=debian",
        &[
            NETWORKING,
            (
                "cloud-init-main.service",
                "DefaultDependencies=no\nConflicts=shutdown.target\n\
                After=systemd-remount-fs.service\nBefore=cloud-init-local.service shutdown.target\nRequiresMountsFor=/var/lib/cloud",
            ),
            (
                "cloud-init-local.service",
                "DefaultDependencies=no\nConflicts=shutdown.target\nWants=network-pre.target\n\
                Before=network-pre.target shutdown.target sysinit.target",
            ),
            (
                "cloud-init-network.service",
                "DefaultDependencies=no\nConflicts=shutdown.target\n\
                Wants=cloud-init-local.service sshd-keygen.service sshd.service\n\
                After=cloud-init-local.service systemd-networkd-wait-online.service networking.service\n\
                Before=network-online.target sshd-keygen.service sshd.service sysinit.target shutdown.target \
                systemd-user-sessions.service",
            ),
            CLOUD_CONFIG,
        ],
    ),
    ("RHEL", "ID=rhel\nID_LIKE=fedora", &[NETWORK_MANAGER, WAIT_ONLINE]),
    (
        "RHEL, cloud-init 23",
        "ID=rhel\nID_LIKE=fedora",
        &[
            NETWORK_MANAGER,
            WAIT_ONLINE,
            RHEL_LOCAL,
            (
                "cloud-init.service",
                "Wants=cloud-init-local.service sshd-keygen.service sshd.service\n\
                After=cloud-init-local.service NetworkManager.service NetworkManager-wait-online.service\n\
                Before=network-online.target sshd-keygen.service sshd.service systemd-user-sessions.service",
            ),
            CLOUD_CONFIG,
        ],
    ),
    (
        "RHEL, cloud-init 24.4",
        "ID=rhel\nID_LIKE=fedora",
        &[
            NETWORK_MANAGER,
            WAIT_ONLINE,
            (
                "cloud-init-main.service",
                "DefaultDependencies=no\nConflicts=shutdown.target\nRequires=dbus.socket\n\
                After=dbus.socket systemd-remount-fs.service\nBefore=cloud-init-local.service shutdown.target",
            ),
            RHEL_LOCAL,
            ("cloud-init-network.service", RHEL_NETWORK),
            CLOUD_CONFIG,
        ],
    ),
    (
        "Fedora, cloud-init 25",
        "ID=fedora",
        &[
            NETWORK_MANAGER,
            WAIT_ONLINE,
            (
                "cloud-init-main.service",
                "After=systemd-remount-fs.service\nBefore=cloud-init-local.service\nRequiresMountsFor=/var/lib/cloud",
            ),
            ("cloud-init-local.service", "Wants=network-pre.target\nBefore=network-pre.target"),
            (
                "cloud-init-network.service",
                "DefaultDependencies=no\nWants=cloud-init-local.service sshd-keygen.service sshd.service\n\
                After=cloud-init-local.service NetworkManager.service NetworkManager-wait-online.service\n\
                Before=network-online.target sshd-keygen.service sshd.service systemd-user-sessions.service",
            ),
            CLOUD_CONFIG,
        ],
    ),
];
const NETWORKING: (&str, &str) = (
    "networking.service",
    "DefaultDependencies=no\nConflicts=shutdown.target\nWants=network.target\nAfter=local-fs.target network-pre.target \
     systemd-sysctl.service systemd-modules-load.service\nBefore=network.target network-online.target shutdown.target",
);
const NETWORK_MANAGER: (&str, &str) = (
    "NetworkManager.service",
    "Wants=network.target\nAfter=network-pre.target dbus.service\nBefore=network.target",
);
const WAIT_ONLINE: (&str, &str) = (
    "NetworkManager-wait-online.service",
    "Requires=NetworkManager.service\nAfter=NetworkManager.service\nBefore=network-online.target",
);
const CLOUD_CONFIG: (&str, &str) = (
    "cloud-config.service",
    "Wants=network-online.target\nAfter=network-online.target\nBefore=systemd-user-sessions.service",
);
const RHEL_LOCAL: (&str, &str) = (
    "cloud-init-local.service",
    "DefaultDependencies=no\nConflicts=shutdown.target\nRequires=dbus.socket\nAfter=dbus.socket\nWants=network-pre.target\n\
     Before=NetworkManager.service network-pre.target firewalld.target shutdown.target",
);
const RHEL_NETWORK: &str = "Wants=cloud-init-local.service sshd-keygen.service sshd.service\n\
    After=cloud-init-local.service NetworkManager.service NetworkManager-wait-online.service\n\
    Before=network-online.target sshd-keygen.service sshd.service systemd-user-sessions.service";

/// Servers: one of each kind that the generator has to tell apart.
const SERVERS: [(&str, &str); 12] = [
    ("apache2.service", "After=network.target remote-fs.target nss-lookup.target"),
    (
        "httpd.service",
        "Wants=httpd-init.service\nAfter=network.target remote-fs.target nss-lookup.target httpd-init.service",
    ),
    ("cyrus-imapd.service", "After=network.target"),
    ("sendmail.service", "After=network-online.target\nWants=network-online.target"),
    ("postfix.service", ""),
    (
        "postfix@.service",
        "PartOf=postfix.service\nBefore=postfix.service\nAfter=network-online.target nss-lookup.target",
    ),
    ("sshd-keygen.target", ""),
    ("sshd.service", "Wants=sshd-keygen.target\nAfter=network.target sshd-keygen.target"),
    ("named.service", "Wants=nss-lookup.target\nBefore=nss-lookup.target\nAfter=network.target"),
    ("vpn.service", "Wants=network.target\nBefore=network.target\nAfter=network-pre.target"),
    (
        "firewall.service",
        "DefaultDependencies=no\nWants=network-pre.target\nBefore=network-pre.target\nAfter=local-fs.target",
    ),
    ("mounts.service", "DefaultDependencies=no\nBefore=local-fs.target"),
];
/// Names all of them, and asks for addresses.
const EVERYTHING: &str = "version = 1\ndescription = \"everything\"\nwatches = [\"hostname\", \"addresses\"]\n\
    [applies]\nfiles = [\"/etc/os-release\"]\n[[certificate]]\n[[certificate.file]]\npath = \"/var/lib/x/x.pem\"\n\
    holds = [\"key\", \"certificate\"]\n";

/// A root with the systemd of this machine, our units, and a generator run.
struct Tree(TempDir);

impl Tree {
    fn new(os_release: &str, company: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.path("usr/lib")).unwrap();
        symlink("usr/lib", tree.path("lib")).unwrap();
        checked(
            Command::new("cp")
                .args(["-r", "--preserve=links", "/usr/lib/systemd", "/lib/systemd"])
                .arg(tree.path("usr/lib")),
        );
        tree.write("etc/os-release", &format!("{os_release}\n"));
        tree.write("etc/hostname", "mail.example.com\n");
        for file in [
            "etc/imapd.conf",
            "etc/mail/sendmail.cf",
            "etc/apache2/mods-enabled/ssl.load",
            "etc/httpd/conf.d/ssl.conf",
        ] {
            tree.write(file, "");
        }
        for (unit, lines) in company.iter().chain(&SERVERS) {
            let service = if unit.ends_with(".service") { "[Service]\nExecStart=/bin/true\n" } else { "" };
            tree.write(&format!("{UNITS}/{unit}"), &format!("[Unit]\n{lines}\n{service}"));
            let started = unit.replace("@.", "@-.");
            tree.wants("multi-user.target", &started, unit);
        }
        let named =
            SERVERS.map(|(unit, _)| format!("[[unit]]\nname = \"{unit}\"\nchange = \"restart\"\n")).concat();
        tree.write("etc/reseed/hooks.d/everything.toml", &format!("{EVERYTHING}{named}"));
        tree.install();
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn wants(&self, target: &str, started: &str, unit: &str) {
        let directory = self.path(&format!("etc/systemd/system/{target}.wants"));
        fs::create_dir_all(&directory).unwrap();
        symlink(format!("/{UNITS}/{unit}"), directory.join(started)).unwrap();
    }

    fn install(&self) {
        let install = repository().join("tests/lab/install.sh");
        checked(Command::new(install).arg(self.0.path()).arg(RESEED));
    }

    /// What the generator writes, by path.
    fn generate(&self) -> BTreeMap<String, String> {
        let to = self.path("etc/systemd/system");
        let before = listing(&to);
        checked(Command::new(RESEED).arg("--root").arg(self.0.path()).arg("generator").arg(&to));
        listing(&to).into_iter().filter(|(path, _)| !before.contains_key(path)).collect()
    }

    fn verify(&self) -> String {
        let ours = fs::read_dir(repository().join("systemd")).unwrap();
        let ours = ours.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let ours =
            ours.filter(|name| [".service", ".timer", ".path"].iter().any(|kind| name.ends_with(kind)));
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", "--root"]).arg(self.0.path()).arg("multi-user.target").args(ours);
        said(&command.output().unwrap())
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn a_boot_with_nothing_to_do_passes_the_stages_over() {
    let machine = support::Machine::bare("mail.example.com");
    machine.accounts(&["root"]);
    machine.write("/etc/machine-id", "00000000000000000000000000000001\n");
    machine.directory("/srv");
    machine.directory("/out");
    let hook = |applies: &str, file: &str| {
        format!(
            "version = 1\ndescription = \"a site\"\n[applies]\n{applies}\n[[certificate]]\n\
             [[certificate.file]]\npath = \"{file}\"\nholds = [\"key\", \"certificate\"]\n"
        )
    };
    machine.write("/etc/reseed/hooks.d/site.toml", &hook("files = [\"/srv\"]", "/srv/site.pem"));
    let skipped = || {
        let to = machine.path("/out");
        machine.reseed(&["generator", to.to_str().unwrap()]).exits(0);
        let written = listing(&to);
        fs::remove_dir_all(&to).unwrap();
        fs::create_dir(&to).unwrap();
        ["reseed-early", "reseed"]
            .map(|stage| written.contains_key(&format!("{stage}.service.d/60-reseed-quiet.conf")))
    };
    assert_eq!(skipped(), [false, false], "nothing is made yet");
    machine.reseed(&["apply"]).exits(0);
    assert_eq!(skipped(), [true, true]);
    machine.write("/usr/lib/systemd/system/cloud-init.service", "[Unit]\n");
    assert_eq!(skipped(), [true, false], "cloud-init may give it another name");
    // Whether that applies only a package database knows, and that is not asked while PID 1 waits.
    machine.write("/etc/reseed/hooks.d/other.toml", &hook("packages = [\"other\"]", "/srv/other.pem"));
    assert_eq!(skipped(), [false, false]);
}

/// Files and links below a directory, with what is in them.
fn listing(directory: &Path) -> BTreeMap<String, String> {
    let entries = walkdir::WalkDir::new(directory).into_iter().map(Result::unwrap);
    let entries = entries.filter(|entry| !entry.file_type().is_dir()).map(|entry| {
        let text = match fs::read_link(entry.path()) {
            Ok(target) => target.display().to_string(),
            Err(_) => fs::read_to_string(entry.path()).unwrap(),
        };
        (entry.path().strip_prefix(directory).unwrap().display().to_string(), text)
    });
    entries.collect()
}

#[test]
fn no_company_makes_a_circle() {
    if !has("systemd-analyze") {
        return;
    }
    for (case, os_release, company) in COMPANIES {
        let tree = Tree::new(os_release, company);
        let written = tree.generate();
        assert!(
            written.contains_key("multi-user.target.wants/reseed-network.service"),
            "{case}: {written:#?}"
        );
        let told = tree.verify();
        assert!(!told.contains("cycle"), "{case}: {told}");
        let ours: Vec<&str> = told.lines().filter(|line| line.contains("reseed")).collect();
        assert!(ours.is_empty(), "{case}: {ours:#?}");
    }
}

/// The same question must find what is there to be found: our order, and the generator's, are in effect.
#[test]
fn circles_are_found() {
    if !has("systemd-analyze") {
        return;
    }
    let rhel = COMPANIES[5];
    let cases = [
        (
            "an early stage that waits for cloud-init",
            "reseed-early.service",
            "After=cloud-init-network.service",
        ),
        ("a service before the stage that it is after", "httpd.service", "Before=cloud-init-local.service"),
        ("a resolver after the network stage", "named.service", "After=reseed-network.service"),
    ];
    for (case, unit, line) in cases {
        let tree = Tree::new(rhel.1, rhel.2);
        tree.generate();
        tree.write(&format!("etc/systemd/system/{unit}.d/99-circle.conf"), &format!("[Unit]\n{line}\n"));
        let told = tree.verify();
        assert!(told.contains("cycle"), "{case}: {told}");
    }
}

// ---- the sandbox ---------------------------------------------------------------------------------

/// Most that `systemd-analyze security` may say, in tenths.
const EXPOSURE: u32 = 20;
/// The same of what speaks to another host.
const EXPOSURE_OF_A_CLIENT: u32 = 21;
/// The same of the manager, which runs whatever commands a site has configured.
const EXPOSURE_OF_COMMANDS: u32 = 85;
const SERVICES: [(&str, u32); 9] = [
    ("reseed-early.service", EXPOSURE),
    ("reseed.service", EXPOSURE),
    ("reseed-check.service", EXPOSURE),
    ("reseed-hostname.service", EXPOSURE),
    ("reseed-network.service", EXPOSURE),
    ("reseed-apply.service", EXPOSURE),
    ("reseed-watch.service", EXPOSURE),
    ("reseed-report.service", EXPOSURE_OF_A_CLIENT),
    ("reseed-manager.service", EXPOSURE_OF_COMMANDS),
];

#[test]
fn services_are_sandboxed() {
    if !has("systemd-analyze") {
        return;
    }
    let tree = Tree(tempfile::tempdir().unwrap());
    tree.install();
    let services = fs::read_dir(repository().join("systemd")).unwrap();
    let services = services
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "service"));
    assert_eq!(services.count(), SERVICES.len(), "every service has its figure");
    for (service, most) in SERVICES {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--no-pager", "--offline=true", &format!("--threshold={most}"), "--root"]);
        let output = command.arg(tree.0.path()).arg(service).output().unwrap();
        let told = said(&output);
        let figure = told.lines().find_map(|line| line.split("exposure level for ").nth(1)).unwrap_or(&told);
        println!("units: {figure}");
        assert!(output.status.success(), "{told}");
        // Its own drop-in stands in place of everybody's: else reloading a mail server would fail.
        let writes_anywhere = told.lines().any(|line| line.contains("✗") && line.contains(" ProtectSystem="));
        assert_eq!(writes_anywhere, service == "reseed-manager.service", "{service}: {told}");
    }
}

/// It is for those who have a site, and a site is a directory: where there is none, nothing runs.
#[test]
fn the_manager_is_tended_where_there_is_a_site_and_somebody_wants_it() {
    let read = |name: &str| fs::read_to_string(repository().join("systemd").join(name)).unwrap();
    let (service, timer) = (read("reseed-manager.service"), read("reseed-manager.timer"));
    for tree in ["/etc/reseed/manager/conf.d", "/etc/ssl-mgr/conf.d"] {
        assert!(service.contains(&format!("\nConditionPathExists=|{tree}\n")), "{tree}");
    }
    for line in ["OnCalendar=hourly", "RandomizedDelaySec=30min", "Persistent=true"] {
        assert!(timer.lines().any(|found| found == line), "{line}");
    }
    assert!(read("90-reseed.preset").lines().any(|line| line == "disable reseed-manager.timer"));
    for file in ["rpm/reseed.spec", "rpm/debian/rules"] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        assert!(text.contains("reseed-manager.timer"), "{file}");
    }
    let command = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let told = Command::new(RESEED).args(words).arg("--help").output().unwrap();
    assert!(told.status.success(), "{command}");
}

/// A machine says nothing of itself to anybody unless somebody has said to whom.
#[test]
fn a_machine_reports_daily_where_somebody_wants_it() {
    let read = |name: &str| fs::read_to_string(repository().join("systemd").join(name)).unwrap();
    let (service, timer) = (read("reseed-report.service"), read("reseed-report.timer"));
    for line in ["Wants=network-online.target", "After=network-online.target"] {
        assert!(service.lines().any(|found| found == line), "{line}");
    }
    for line in ["OnCalendar=daily", "RandomizedDelaySec=6h", "Persistent=true"] {
        assert!(timer.lines().any(|found| found == line), "{line}");
    }
    assert!(read("90-reseed.preset").lines().any(|line| line == "disable reseed-report.timer"));
    for file in ["rpm/reseed.spec", "rpm/debian/rules"] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        assert!(text.contains("reseed-report.timer"), "{file}");
    }
    assert!(service.contains("\nExecStart=/usr/sbin/reseed status --push\n"));
    let told = Command::new(RESEED).args(["status", "--help"]).output().unwrap();
    assert!(String::from_utf8(told.stdout).unwrap().contains("--push"));
}

// ---- the generator -------------------------------------------------------------------------------

#[test]
fn what_the_generator_writes() {
    let stage = |after: &str, mark: &str| {
        let order = |stage: &str| format!("After={stage}\n");
        let after: String = after.split_whitespace().map(order).collect();
        (after, format!("ConditionPathExists=!/run/reseed/hold/{mark}\n"))
    };
    let main = "reseed-network.service reseed.service";
    let cases = [
        ("apache2.service", stage(main, "apache2.service")),
        ("postfix.service", stage(main, "postfix.service")),
        // It is started with postfix.service, whose mark holds it back, too.
        ("postfix@.service", stage(main, "postfix.service")),
        ("named.service", stage("reseed.service", "named.service")),
        ("vpn.service", stage("reseed-early.service", "vpn.service")),
        ("firewall.service", stage("reseed-early.service", "firewall.service")),
        ("mounts.service", stage("", "mounts.service")),
    ];
    if !has("systemctl") {
        return;
    }
    let tree = Tree::new("ID=debian", &[NETWORKING]);
    let written = tree.generate();
    for (unit, (after, condition)) in cases {
        let text = &written[&format!("{unit}.d/50-reseed.conf")];
        let afters: String =
            text.lines().filter(|line| line.starts_with("After=")).map(|line| format!("{line}\n")).collect();
        assert_eq!(afters, after, "{unit}: {text}");
        assert!(text.contains(&condition), "{unit}: {text}");
    }
    assert_eq!(
        written["multi-user.target.wants/reseed-network.service"],
        "/usr/lib/systemd/system/reseed-network.service"
    );
    assert!(
        written["reseed-apply.service.d/50-reseed-paths.conf"].ends_with("ReadWritePaths=\"-/var/lib/x\"\n")
    );
    let again = tree.generate();
    assert!(again.is_empty(), "written again: {again:#?}");
}

/// One hook that cannot be understood is named, the others are served; at boot that is no failure.
#[test]
fn one_bad_hook_stops_no_other() {
    if !has("systemctl") {
        return;
    }
    let tree = Tree::new("ID=debian", &[]);
    tree.write("etc/reseed/hooks.d/bad.toml", "version = 1\nwrong");
    let to = tree.path("etc/systemd/system");
    let output =
        Command::new(RESEED).arg("--root").arg(tree.0.path()).arg("generator").arg(&to).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("bad.toml:2:"), "{}", said(&output));
    assert!(to.join("named.service.d/50-reseed.conf").exists());
}

/// As systemd calls it: by name, with three directories. This machine has no hooks.
#[test]
fn whatever_is_wrong_the_boot_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    for arguments in
        [vec![], vec!["/nonexistent", "/nonexistent", "/nonexistent"], vec![dir, dir, dir], vec!["--help"]]
    {
        let output = Command::new(RESEED).arg0("/x/reseed-generator").args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert_eq!(
            output.stderr.is_empty(),
            arguments.len() == 3 && arguments[0] == dir,
            "{arguments:?}: {}",
            said(&output)
        );
    }
}

// ---- changes at run time -------------------------------------------------------------------------

/// A name that flaps leads to one run, and a change during the window to one more.
#[test]
fn changes_come_to_rest() {
    let machine = Machine::bare("one.example.com");
    machine.write("/etc/reseed/reseed.toml", "[watch]\nsettle-seconds = 2\nwindow-seconds = 4\n");
    machine.write(
        "/etc/reseed/hooks.d/x.toml",
        "version = 1\ndescription = \"x\"\n[applies]\nfiles = [\"/etc/hostname\"]\n[[certificate]]\n\
         [[certificate.file]]\npath = \"/etc/x.pem\"\nholds = [\"key\", \"certificate\"]\n",
    );
    let settle = || machine.command(&["apply", "--settle"]).stdout(Stdio::null()).spawn().unwrap();
    let runs = || machine.read("/var/lib/reseed/history.jsonl").lines().count();
    let mut child = settle();
    for name in ["localhost", "one.example.com", "two.example.com"] {
        thread::sleep(Duration::from_millis(700));
        machine.rename(name);
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(runs(), 1, "a run for each name");
    let ended = Instant::now();
    machine.rename("three.example.com");
    assert!(settle().wait().unwrap().success());
    assert!(ended.elapsed() > Duration::from_secs(3), "two runs within {:?}", ended.elapsed());
    assert_eq!(runs(), 2);
}

// ---- NetworkManager's dispatcher -----------------------------------------------------------------

#[test]
fn what_the_dispatcher_starts() {
    let script = repository().join("systemd/90-reseed");
    if has("shellcheck") {
        let scripts = ["tests/lab/install.sh", "rpm/install", "rpm/package-trigger", "rpm/ci/build"];
        checked(
            Command::new("shellcheck").arg(&script).args(scripts.map(|script| repository().join(script))),
        );
    }
    const START: &str = "--no-block start reseed-watch.service\n";
    let cases: [(&str, &[&str], &str, &str); 8] = [
        ("renamed, watched by path", &["none", "hostname"], "reseed-watch.path", START),
        ("renamed, watched by name", &["none", "hostname"], "reseed-hostname.service", START),
        ("renamed, not watched", &["none", "hostname"], "nothing", ""),
        ("an address, watched", &["eth0", "dhcp4-change"], "reseed-watch.path", START),
        ("resolver, watched", &["", "dns-change"], "reseed-watch.path", START),
        ("going down, watched", &["eth0", "pre-down"], "reseed-watch.path", ""),
        ("called without a reason", &[], "reseed-watch.path", ""),
        ("a hostile interface", &["$(touch x)", "up; touch x"], "reseed-watch.path", ""),
    ];
    for (case, arguments, enabled, expected) in cases {
        for status in [0, 1] {
            let dir = tempfile::tempdir().unwrap();
            let log = dir.path().join("log");
            let fake = format!(
                "#!/bin/sh\ncase $* in *is-enabled*) case $* in *{enabled}) exit 0;; esac; exit 1;; esac\n\
                 echo \"$*\" >>'{}'\nexit {status}\n",
                log.display()
            );
            fs::write(dir.path().join("systemctl"), fake).unwrap();
            fs::set_permissions(dir.path().join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
            let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
            let output = Command::new(&script)
                .args(arguments)
                .env("PATH", path)
                .current_dir(dir.path())
                .output()
                .unwrap();
            assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""), "{case}");
            assert_eq!(fs::read_to_string(&log).unwrap_or_default(), expected, "{case}");
            assert!(!dir.path().join("x").exists(), "{case}");
        }
    }
}
