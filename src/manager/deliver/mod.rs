//! Telling those who use certificates: this machine and others, over OpenSSH, get their copies, run their
//! programs and are asked what they show; name servers read their zones again.

pub mod agent;
mod lanes;
pub mod parcel;
pub mod served;
pub mod ssh;
pub mod stock;

use super::run::Run;
use crate::system::process;

pub use self::lanes::carry_out;

/// Says whether a host of the configuration is this machine: by its name, or by the first label of it.
pub fn is_here(host: &str, own: &str) -> bool {
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    matches!(host, "localhost" | "127.0.0.1" | "::1")
        || same(host, own)
        || (!host.contains('.') && same(host, &label(own)))
        || (!own.contains('.') && same(&label(host), own))
}

/// Has zones read again: each program of the configuration once for all of them.
///
/// # Errors
/// In words; none of the zones counts as read then.
pub fn refresh_zones(run: &Run<'_>, apexes: &[String]) -> Result<(), String> {
    for program in &run.config.site.dns.restart {
        let mut command = vec![program.clone(), "--serial_bump".to_owned()];
        command.extend(apexes.iter().cloned());
        call(&command)?;
    }
    Ok(())
}

fn call(command: &[String]) -> Result<(), String> {
    process::run(command, ssh::DEADLINE, process::KEPT).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn here_or_elsewhere() {
        let cases = [
            ("mx1.example.com", "mx1.example.com", true),
            ("MX1.example.com", "mx1.example.com", true),
            ("mx1", "mx1.example.com", true),
            ("mx1.example.com", "mx1", true),
            ("localhost", "mx1.example.com", true),
            ("mx2.example.com", "mx1.example.com", false),
            ("mx1.example.net", "mx1.example.com", false),
            ("mx", "mx1.example.com", false),
        ];
        for (host, own, expected) in cases {
            assert_eq!(is_here(host, own), expected, "{host} on {own}");
        }
    }
}
