//! Certificates from public authorities, against real ones in private networks: Debian's Pebble, three BIND
//! servers, nginx and sshd; and against a stand-in for what Pebble lacks. Without root, or without a tool, what
//! needs a network is reported as ignored; `RESEED_TESTS_REQUIRE_ALL=1` makes that a failure.

#[path = "acme/alone.rs"]
mod alone;
#[path = "acme/anchor.rs"]
mod anchor;
#[path = "acme/bed.rs"]
mod bed;
#[path = "inventory/cluster.rs"]
mod cluster;
#[path = "acme/decided.rs"]
mod decided;
#[path = "acme/faults.rs"]
mod faults;
#[path = "acme/fleet.rs"]
mod fleet;
#[path = "acme/issued.rs"]
mod issued;
#[path = "acme/itself.rs"]
mod itself;
#[path = "acme/pebble.rs"]
mod pebble;
#[path = "inventory/serverpki.rs"]
mod serverpki;
#[path = "acme/site.rs"]
mod site;
#[path = "acme/space.rs"]
mod space;
#[path = "acme/standin/mod.rs"]
mod standin;
mod support;
#[path = "acme/zones.rs"]
mod zones;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};

type Case = (&'static str, fn());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They mostly wait: for servers, for zones that spread, for what is asked again later.
    arguments.test_threads.get_or_insert(4);
    let required = std::env::var_os("RESEED_TESTS_REQUIRE_ALL").is_some_and(|value| value == "1");
    let missing = if arguments.list { None } else { space::missing() };
    if let Some(reason) = &missing {
        eprintln!("acme: no network can be made: {reason}");
    }
    let mut trials = Vec::new();
    // The longest first.
    let in_networks = |cases: &'static [Case]| cases.iter().map(|case| (true, case));
    let alone = decided::CASES.iter().map(|case| (false, case));
    let first = in_networks(faults::CASES).chain(alone).chain(in_networks(fleet::CASES));
    let rest = in_networks(issued::CASES).chain(in_networks(itself::CASES));
    for (needs_network, &(name, case)) in first.chain(rest) {
        let missing = missing.clone().filter(|_| needs_network);
        let ignored = missing.is_some() && !required;
        let run = move || match missing {
            Some(reason) => Err(reason.into()),
            None => timed(name, case),
        };
        trials.push(Trial::test(name, run).with_ignored_flag(ignored));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for (name, took) in &*TIMES.lock().unwrap() {
        println!("acme: {name:<70} {:>6.1} s", took.as_secs_f64());
    }
    conclusion.exit_code()
}

fn timed(name: &'static str, case: fn()) -> Result<(), libtest_mimic::Failed> {
    let began = Instant::now();
    case();
    TIMES.lock().unwrap().push((name, began.elapsed()));
    Ok(())
}

/// How long the cases took that have passed, in the order of their ends.
static TIMES: Mutex<Vec<(&str, Duration)>> = Mutex::new(Vec::new());
