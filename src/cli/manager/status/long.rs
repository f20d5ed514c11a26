//! Every version of every service, in the layout of ssl-mgr, so that what reads it goes on reading it.

use std::io::{self, Write};

use time::OffsetDateTime;

use super::days;
use crate::cli::text;
use crate::manager::lineage::Link;
use crate::manager::schedule::Due;
use crate::manager::status::{ServiceStatus, Status, VersionStatus};

/// Writes all of it.
pub fn write(out: &mut impl Write, seen: &Status, sans: bool) -> io::Result<()> {
    let mut group = "";
    for service in &seen.services {
        if service.name.group() != group {
            group = service.name.group();
            writeln!(out, "{RULE}\n{group}")?;
        }
        of_service(out, service, seen.now, sans || seen.verbose)?;
    }
    Ok(())
}

const RULE: &str = "----------------------------------------------------------------------";

fn of_service(
    out: &mut impl Write,
    service: &ServiceStatus,
    now: OffsetDateTime,
    sans: bool,
) -> io::Result<()> {
    writeln!(out, "  {}", service.name.service())?;
    for version in &service.versions {
        of_version(out, version, now, sans)?;
    }
    for request in &service.requests {
        let made = request.made.map(|made| format!(" ({} ago)", clock(now - made))).unwrap_or_default();
        let path = text::printable(&request.path.display().to_string());
        line(out, "", "request", format_args!("waits for an answer{made}: {path}"))?;
    }
    match &service.due {
        Some(due @ Due::Later { at }) => {
            line(out, "", "renewal", format_args!("{due} (in {})", days(*at - now)))?
        }
        Some(due) => line(out, "", "renewal", due)?,
        None => {}
    }
    if let Some(roll) = &service.roll {
        line(out, "", "roll", text::printable(&format!("next {roll}")))?;
    }
    for problem in &service.problems {
        line(out, "", "problem", problem)?;
    }
    Ok(())
}

fn of_version(
    out: &mut impl Write,
    version: &VersionStatus,
    now: OffsetDateTime,
    sans: bool,
) -> io::Result<()> {
    let link = version.link.name();
    match &version.certificate {
        Some(certificate) => {
            let (from, until) = (certificate.not_before, certificate.not_after);
            let days = (until - from).whole_hours() / 24;
            let left = if until > now { clock(until - now) } else { format!("{} ago", clock(now - until)) };
            let verb = if until > now { "expires" } else { "EXPIRED" };
            line(out, link, verb, format_args!("{} ({left})", text::time(until)))?;
            let age = clock(now - from);
            line(out, "", "issued ", format_args!("{} ({age} ago) ({days} day cert)", text::time(from)))?;
            labelled(out, "issuer", names(&certificate.issuer))?;
            labelled(out, "subject", names(&certificate.subject))?;
            if let Some(key) = &version.key {
                labelled(out, "pubkey", format!("pubkey-{key}"))?;
            }
            if sans {
                let addresses = certificate.addresses.iter().map(ToString::to_string);
                let names: Vec<_> = certificate.dns_names.iter().cloned().chain(addresses).collect();
                labelled(out, "sans", format!("[{}]", names.join(", ")))?;
                labelled(out, "sig_algo", version.signature.clone().unwrap_or_default())?;
            }
        }
        None => line(out, link, "expires", "no certificate")?,
    }
    if let (Link::Next, Some(made)) = (version.link, version.made) {
        labelled(out, "made", format!("{} ({} ago)", text::time(made), clock(now - made)))?;
    }
    version.problems.iter().try_for_each(|problem| labelled(out, "problem", problem))
}

fn line(out: &mut impl Write, link: &str, verb: &str, what: impl std::fmt::Display) -> io::Result<()> {
    writeln!(out, "         {link:<12} : {verb}: {what}")
}

fn labelled(out: &mut impl Write, label: &str, what: impl std::fmt::Display) -> io::Result<()> {
    writeln!(out, "         {label:>12} : {what}")
}

/// Common name and organisation.
fn names(attributes: &[(String, String)]) -> String {
    ["CN", "O"]
        .iter()
        .filter_map(|wanted| attributes.iter().find(|(name, _)| name == wanted))
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Days and the time of day of a length of time that is not negative.
fn clock(length: time::Duration) -> String {
    let seconds = length.whole_seconds().max(0);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    format!("{days:>4}d {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}
