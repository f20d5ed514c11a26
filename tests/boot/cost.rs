//! What our units cost a boot.

use crate::machine::Machine;

/// Prints what a boot with nothing to do has spent on us, in time and as a share of its userspace.
pub fn print(machine: &Machine, variant: &str) {
    println!("{}", machine.ok(&["systemctl", "show", "-p", "CPUUsageNSec,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic", "reseed-early.service", "reseed.service"]));
    println!("{}", machine.ok(&["systemd-analyze"]));
    println!("{}", machine.ok(&["systemd-analyze", "critical-chain"]));
    println!("{} {}", variant, machine.ok(&["journalctl", "-q", "-b", "-u", "reseed*"]));
}
