//! The power goes while a machine boots under a new name, and what was not synced is lost.

use std::fs;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::machine::{Machine, checked};
use crate::site::{APACHE, CYRUS, MAIL, STUNNEL, Service, TLS_ECHO};

/// Twenty cuts, spread at random over the run; the boot after each is a whole one.
pub fn power_cut_in_the_run_leaves_it_whole() {
    let mut random = Random::new();
    let machine = MAIL.machine("cuts", &["--disk"]);
    // The slowest of all to start, and its files are made all the same.
    std::os::unix::fs::symlink("/dev/null", machine.path("/etc/systemd/system/sendmail.service")).unwrap();
    rename(&machine, 0);
    machine.boot();
    is_whole(&machine, 0);
    let span = length_of_the_run(&machine);
    machine.cut();

    let (mut old, mut between, mut interrupted) = (0, 0, 0);
    let began = Instant::now();
    for round in 1..=CUTS {
        rename(&machine, round);
        let before = digests(&machine);
        machine.start();
        let moment = (span * (round - 1) + random.below(span)) / CUTS;
        machine.cut_in("reseed-early.service", moment);
        let after = digests(&machine);
        let same = before.iter().zip(&after).filter(|(before, after)| before == after).count();
        old += u64::from(same == before.len());
        between += u64::from((1..before.len()).contains(&same));
        let journal = machine.path("/var/lib/reseed/journal");
        interrupted += u64::from(fs::read_dir(journal).is_ok_and(|mut journal| journal.next().is_some()));
        machine.boot();
        is_whole(&machine, round);
        machine.cut();
    }
    println!(
        "lab: {CUTS} power cuts in {span} ms of runs (seed {}): {old} before anything was made, {between} between \
         hooks, {interrupted} inside one; each boot after was whole ({} s)",
        random.seed,
        began.elapsed().as_secs()
    );
    assert!(old < CUTS && old + between + interrupted > 0, "the cuts have missed the run");
}

fn rename(machine: &Machine, round: u64) {
    machine.rename(&name(round));
    checked(Command::new("sync").arg("-f").arg(machine.path("/etc")));
}

fn name(round: u64) -> String {
    format!("n{round}.example.com")
}

const SERVICES: [&Service; 4] = [&APACHE, &CYRUS, &STUNNEL, &TLS_ECHO];

fn digests(machine: &Machine) -> Vec<String> {
    SERVICES.iter().map(|service| machine.fingerprint(service.file)).collect()
}

/// From the first stage's start to the second one's end, in milliseconds.
fn length_of_the_run(machine: &Machine) -> u64 {
    let microseconds = |unit: &str, what: &str| machine.property(unit, what).parse::<u64>().unwrap();
    let start = microseconds("reseed-early.service", "InactiveExitTimestampMonotonic");
    let end = microseconds("reseed.service", "ActiveEnterTimestampMonotonic");
    (end - start) / 1000
}

/// Everything is for its name, every key has its own certificate, and nothing is left lying about.
fn is_whole(machine: &Machine, round: u64) {
    let name = name(round);
    assert_eq!(machine.settled(), "running", "round {round}");
    let keys = ["/etc/ssl/private/ssl-cert-snakeoil.key", CYRUS.file, STUNNEL.file, TLS_ECHO.file];
    for (service, key) in SERVICES.into_iter().zip(keys) {
        let openssl = |arguments: &[&str], file: &str| {
            checked(Command::new("openssl").args(arguments).arg("-in").arg(machine.path(file)))
        };
        let of_key = openssl(&["pkey", "-pubout"], key);
        let certified = openssl(&["x509", "-noout", "-pubkey"], service.file);
        assert_eq!(of_key, certified, "round {round}: {key} is not the key of {}", service.file);
        let says = openssl(&["x509", "-noout", "-checkhost", &name], service.file);
        assert!(says.contains("does match"), "round {round}: {}: {says}", service.file);
    }
    assert_eq!(machine.reseed(0, &["check"]), "", "round {round}");
    for service in [&CYRUS, &TLS_ECHO] {
        service.serves(machine, &name);
    }
    let left = machine.ok(&[
        "find",
        "/etc",
        "/var/lib/reseed/journal",
        "-name",
        "*reseed*",
        "-newer",
        "/etc/hostname",
        "-type",
        "f",
    ]);
    assert!(!left.contains("journal/"), "round {round}: {left}");
    let pairs = machine.ok(&["ls", "-A", "/etc/stunnel", "/etc/tls-echo", "/etc/pki/cyrus-imapd"]);
    assert!(!pairs.lines().any(|line| line.starts_with('.')), "round {round}: {pairs}");
}

const CUTS: u64 = 20;

/// Numbers for moments: xorshift, with a seed that can be printed.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Self {
        let seed = u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos()) + 1;
        Self { seed, state: seed }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit.max(1)
    }
}
