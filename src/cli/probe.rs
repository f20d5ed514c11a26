//! `reseed probe`

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};

use serde::Serialize;
use time::OffsetDateTime;

use super::{Failure, Status, text};
use crate::hook::HookName;
use crate::identity::HostName;
use crate::plan::Request;
use crate::probe::protocol::{Host, Place, Protocol};
use crate::probe::verdict::{self, Expected, Measure, Verdict};
use crate::probe::{Answer, Effort, Endpoint, Shown};
use crate::reseed::{self, Served, World};
use crate::store;

/// Show what is really served, against what is on disk
///
/// Without arguments: every place where the units of an applicable hook listen is asked, by TLS or
/// STARTTLS (smtp, lmtp, imap, pop3, sieve, ldap, postgres, ftp, xmpp-client, xmpp-server) or, for
/// ssh, for its host keys. Each is asked often enough to notice workers that still serve the old
/// certificate. With names of hooks: only their units.
///
/// A place by hand is HOST, HOST:PORT or HOST:PORT/PROTOCOL, an IPv6 address with a port in
/// brackets: `mail.example.com:25`, `[2001:db8::1]:8443/tls`. It need not be on this machine. What
/// it serves is compared with the files of the hooks that are named beside it; without one it is
/// only looked at for its name and its end.
///
/// Nothing is changed, and no lock is needed; only root sees where services listen.
///
/// Exit status: 0 everything is as it should be; 3 something served is old, mixed, at its end or
/// for another name, or there is no TLS where there should be; 1 something could not be asked.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Hooks, or places as HOST, HOST:PORT or HOST:PORT/PROTOCOL
    #[arg(value_name = "HOOK|PLACE")]
    what: Vec<String>,
    /// Ask for this name, and compare with it, instead of the machine's or the place's own
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<HostName>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<HostName, String> {
    HostName::parse(text).map_err(|error| error.to_string())
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let (hooks, places) = sorted(world, &arguments.what)?;
    let mut asked = Vec::new();
    let mut failed = Vec::new();
    if places.is_empty() || !hooks.is_empty() {
        let seen = reseed::look(world, &Request { only: hooks.clone(), ..Request::default() })?;
        let served = Served { root: world.root, facts: &seen.facts, names: &seen.ledger.names };
        if places.is_empty() {
            asked = of_hooks(world, served, &hooks, arguments.name.as_ref())?;
        } else {
            let files = seen.facts.hooks.iter().filter(|(name, _)| hooks.contains(*name));
            let files: Vec<Expected> = files.flat_map(|(_, hook)| served.certificates(hook)).collect();
            by_hand(world, &places, arguments.name.as_ref(), &files, (&mut asked, &mut failed));
        }
    } else {
        by_hand(world, &places, arguments.name.as_ref(), &[], (&mut asked, &mut failed));
    }
    let mut out = io::stdout().lock();
    if arguments.json {
        text::json(&mut out, &serde_json::json!({ "probed": asked, "failures": failed }))?;
    } else {
        write(&mut out, &asked, world.now)?;
    }
    for failure in &failed {
        writeln!(io::stderr(), "reseed: {failure}")?;
    }
    let unknown = !failed.is_empty() || asked.iter().any(|row| row.verdict.is_unknown());
    Ok(match (asked.iter().any(|row| row.wrong), unknown) {
        (true, _) => Status::Stale,
        (_, true) => Status::Failed,
        _ => Status::Done,
    })
}

/// One place that was asked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    /// The hook whose unit listens there, or the place as it was given.
    hook: String,
    #[serde(flatten)]
    endpoint: Endpoint,
    #[serde(flatten)]
    verdict: Verdict,
    /// It should not be so.
    wrong: bool,
    /// What was shown, each once.
    served: Vec<Shown>,
    /// The files that have it, or should have it.
    files: BTreeSet<std::path::PathBuf>,
}

/// Tells names of hooks from places.
fn sorted(world: World<'_>, what: &[String]) -> Result<(BTreeSet<HookName>, Vec<Place>), Failure> {
    let (catalogue, _) = store::hooks(world.root, world.below)?;
    let (mut hooks, mut places) = (BTreeSet::new(), Vec::new());
    for text in what {
        match HookName::parse(text).filter(|name| catalogue.get(name).is_some()) {
            Some(name) => {
                hooks.insert(name);
            }
            None => places.push(text.parse().map_err(|error| {
                Failure::Usage(format!(
                    "{text:?} is neither a hook (`reseed hook list`) nor a place: {error}"
                ))
            })?),
        }
    }
    Ok((hooks, places))
}

fn of_hooks(
    world: World<'_>,
    served: Served<'_>,
    hooks: &BTreeSet<HookName>,
    name: Option<&HostName>,
) -> Result<Vec<Row>, Failure> {
    let wanted = |hook: &HookName, _: &str| hooks.is_empty() || hooks.contains(hook);
    let endpoints = (world.prober.listen)(world.root, &served.units(wanted)).map_err(Failure::Other)?;
    let name = name.cloned().or_else(|| served.name());
    let name = name.as_ref().map(HostName::as_str);
    let answers = (world.prober.ask)(&endpoints, name, Effort::Thorough);
    let was_here = |shown: &Shown| was_this_machine(shown, served.names, name);
    let mut rows = Vec::new();
    for (endpoint, answers) in endpoints.into_iter().zip(answers) {
        let is_tls = answers.iter().any(|answer| matches!(answer, Answer::Shown(_)));
        if endpoint.guessed && !is_tls {
            continue;
        }
        let expected = served.expected(&endpoint);
        let verdict = verdict::judge(
            &answers,
            &Measure { expected: &expected, name, now: world.now, was_here: &was_here },
        );
        let hook =
            served.hooks(&endpoint.unit).find(|(hook, _)| wanted(hook, "")).map(|(hook, _)| hook.to_string());
        rows.push(row(hook.unwrap_or_default(), endpoint.clone(), &answers, &expected, verdict));
    }
    without_tls(&mut rows);
    Ok(rows)
}

/// A service whose certificates are on disk, and which shows none anywhere, is not well: sendmail and
/// cyrus are so with a key that they do not like.
fn without_tls(rows: &mut [Row]) {
    let mut shows: BTreeMap<String, bool> = BTreeMap::new();
    for row in rows.iter() {
        *shows.entry(row.hook.clone()).or_default() |= !row.served.is_empty();
    }
    for row in rows {
        let nothing = !row.files.is_empty() && shows.get(&row.hook) == Some(&false);
        let should = row.endpoint.protocol == Protocol::Tls || nothing;
        row.wrong |= should && matches!(row.verdict, Verdict::NoTls { .. });
    }
}

fn by_hand(
    world: World<'_>,
    places: &[Place],
    name: Option<&HostName>,
    expected: &[Expected],
    (rows, failed): (&mut Vec<Row>, &mut Vec<String>),
) {
    for place in places {
        let addresses = match addresses(place) {
            Ok(addresses) => addresses,
            Err(error) => {
                failed.push(format!("{}: {error}", place.host));
                continue;
            }
        };
        let own = match &place.host {
            Host::Name(name) => name.to_string(),
            Host::Address(address) => address.to_string(),
        };
        let wanted = name.map_or(own, ToString::to_string);
        let endpoints: Vec<Endpoint> = addresses
            .into_iter()
            .map(|socket| Endpoint {
                unit: String::new(),
                address: socket.ip(),
                port: place.port,
                protocol: place.protocol,
                guessed: false,
            })
            .collect();
        let answers = (world.prober.ask)(&endpoints, Some(&wanted), Effort::Thorough);
        for (endpoint, answers) in endpoints.into_iter().zip(answers) {
            let was_here = |shown: &Shown| was_this_machine(shown, &BTreeSet::new(), Some(&wanted));
            let measure = Measure { expected, name: Some(&wanted), now: world.now, was_here: &was_here };
            let verdict = verdict::judge(&answers, &measure);
            let mut row = row(place.host.to_string(), endpoint, &answers, expected, verdict);
            row.wrong |= matches!(row.verdict, Verdict::NoTls { .. });
            rows.push(row);
        }
    }
}

/// Every address of a place, each once.
fn addresses(place: &Place) -> io::Result<BTreeSet<SocketAddr>> {
    match &place.host {
        Host::Address(address) => Ok(BTreeSet::from([SocketAddr::new(*address, place.port)])),
        Host::Name(name) => Ok((name.as_str(), place.port).to_socket_addrs()?.collect()),
    }
}

/// Of a certificate that is in no file: whether it was this machine's, by the names that it has.
fn was_this_machine(shown: &Shown, names: &BTreeSet<String>, name: Option<&str>) -> bool {
    shown.certificate.as_ref().is_none_or(|certificate| {
        certificate
            .names()
            .iter()
            .any(|one| names.contains(one) || name == Some(one.as_str()) || one.starts_with("localhost"))
    })
}

fn row(hook: String, endpoint: Endpoint, answers: &[Answer], expected: &[Expected], verdict: Verdict) -> Row {
    let mut served: Vec<Shown> = Vec::new();
    for answer in answers {
        if let Answer::Shown(shown) = answer
            && !served.iter().any(|one| one.fingerprint == shown.fingerprint)
        {
            served.push(shown.as_ref().clone());
        }
    }
    let has = |file: &&Expected| served.iter().any(|shown| shown.fingerprint == file.fingerprint);
    let mut files: BTreeSet<_> = expected.iter().filter(has).map(|file| file.file.clone()).collect();
    if files.is_empty() {
        files = expected.iter().map(|file| file.file.clone()).collect();
    }
    Row { hook, endpoint, wrong: verdict.is_wrong(), verdict, served, files }
}

fn write(out: &mut impl Write, rows: &[Row], now: OffsetDateTime) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "Nobody listens: no unit of an applicable hook serves anything.");
    }
    for row in rows {
        let endpoint = &row.endpoint;
        let unit = if endpoint.unit.is_empty() { "-" } else { &endpoint.unit };
        let socket = SocketAddr::new(endpoint.address, endpoint.port).to_string();
        let protocol = endpoint.protocol.to_string();
        writeln!(out, "{:<14} {unit:<22} {socket:<21} {protocol:<9} {}", row.hook, row.verdict)?;
        for shown in &row.served {
            writeln!(out, "               {}", describe(shown, now))?;
        }
        for file in &row.files {
            let which = if row.verdict.is_partly_fresh() { "is in" } else { "should be" };
            writeln!(out, "               {which} {}", file.display())?;
        }
    }
    Ok(())
}

fn describe(shown: &Shown, now: OffsetDateTime) -> String {
    let Some(certificate) = &shown.certificate else { return shown.fingerprint.to_string() };
    let serial = certificate.serial.map_or_else(|| "(long)".into(), |serial| serial.to_string());
    let days = (certificate.not_after - now).whole_days();
    let end = certificate.not_after.date();
    format!("{}, serial {serial}, until {end} ({days} days)", certificate.subject_line())
}
