//! What we cost a boot in which there is nothing to do.

use std::time::Duration;

use crate::machine::Machine;

/// The stages of such a boot, in their order.
const STAGES: [&str; 2] = ["reseed-early.service", "reseed.service"];

/// Prints the time that the boot has waited for each stage and for the generator, and their share of its
/// userspace.
pub fn print(machine: &Machine, variant: &str) {
    let mut ours = Duration::ZERO;
    let mut parts = String::new();
    for stage in STAGES {
        let took = between(machine, stage, "InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic");
        parts += &format!("{stage} {:.0} ms, ", milliseconds(took));
        ours += took;
    }
    let generator = machine.generator_times("reseed-generator").into_iter().next().expect("it has run");
    ours += generator;
    let userspace = between(machine, "", "UserspaceTimestampMonotonic", "FinishTimestampMonotonic");
    let share = ours.as_secs_f64() / userspace.as_secs_f64();
    println!(
        "lab: boot with nothing to do, {variant}: {parts}generator {:.0} ms: {:.1} % of {:.0} ms of userspace; CPU of \
         both runs {}",
        milliseconds(generator),
        share * 100.0,
        milliseconds(userspace),
        cpu(machine),
    );
    // A program that is built for debugging proves nothing here.
    let counts = std::env::var_os("RESEED_LAB_BINARY").is_some();
    assert!(!counts || share < 0.15, "{:.1} %", share * 100.0);
}

fn between(machine: &Machine, unit: &str, from: &str, to: &str) -> Duration {
    let at = |what: &str| -> u64 {
        let command = ["systemctl", "show", "--value", "-p", what, unit];
        let said = machine.ok(&command[..command.len() - usize::from(unit.is_empty())]);
        said.trim_end().parse().unwrap_or_else(|_| panic!("{what} of {unit:?} is {said:?}"))
    };
    Duration::from_micros(at(to) - at(from))
}

/// As the shell measures it: the lab's control groups do not account for it.
fn cpu(machine: &Machine) -> String {
    let runs = "for stage in early boot; do reseed apply --stage $stage; done >/dev/null 2>/dev/null";
    let timed = format!("TIMEFORMAT='%3U + %3S s'; {{ time {runs}; }}; :");
    let output = machine.run(&["bash", "-c", &timed]);
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
