//! Telling those who use certificates: programs on this machine, and the zones' name servers. What concerns
//! another machine is refused here in words, and stays remembered.

pub mod agent;

use std::collections::BTreeSet;
use std::time::Duration;

use super::config::Site;
use super::pending::Action;
use super::run::Run;
use crate::system::process;

/// How long a command may take: restarting a mail server takes seconds, signing a zone longer.
const DEADLINE: Duration = Duration::from_secs(120);

/// Every host of the configuration that is to have a production copy.
pub fn hosts(site: &Site) -> BTreeSet<String> {
    site.servers
        .iter()
        .filter(|servers| !servers.skip_copy)
        .flat_map(|servers| servers.hosts.clone())
        .collect()
}

/// Says whether a host of the configuration is this machine: by its name, or by the first label of it.
pub fn is_here(host: &str, own: &str) -> bool {
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    matches!(host, "localhost" | "127.0.0.1" | "::1")
        || same(host, own)
        || (!host.contains('.') && same(host, &label(own)))
        || (!own.contains('.') && same(&label(host), own))
}

/// Carries one action out.
///
/// # Errors
/// In words, with what the program said last.
pub fn carry_out(run: &Run<'_>, action: &Action) -> Result<(), String> {
    match action {
        Action::AfterCopy { host, program } => call(&[program.clone(), host.clone()]),
        Action::Restart { host, command, .. } if is_here(host, &run.world.host) => call(command),
        Action::Restart { host, .. } | Action::Deliver { host } => {
            Err(format!("{host} is another machine, and this version delivers to none"))
        }
        Action::Agent => agent::notify(run),
        Action::Zone { apex } => refresh_zones(run, std::slice::from_ref(apex)),
    }
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
    process::run(command, DEADLINE, process::KEPT).map(drop)
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
