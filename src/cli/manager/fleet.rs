//! `reseed manager fleet`

use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;

use time::{Duration, OffsetDateTime};

use super::inventory::place;
use super::{Failure, Status, callers, shown, text};
use crate::manager::fleet::page::{left, page};
use crate::manager::fleet::report::LONGEST;
use crate::manager::fleet::{Answer, Gathering, HostReport, answer};
use crate::manager::inventory::model::Name;
use crate::manager::run::World;
use crate::transaction;

/// Show which machines want somebody, what they share, and which certificates end when
///
/// Machines report what they are by `reseed status --push`; what certificates are out on which hosts, the inventory
/// says itself. A machine is held (services of it are held back), improper (it has no name for a certificate), stale,
/// or silent (no report for a week); two machines that share a machine-id or an SSH host key are clones.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only certificates that end within so many days, or have ended; in a table 30, else all
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16))]
    within: Option<u16>,
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Write one HTML page into this file, which needs nothing else
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Receive(Receive),
    Forget(Forget),
}

/// Take the report of a machine from standard input into the inventory
///
/// Machines call it over SSH. The key of one is kept to its own reports by a line in authorized_keys:
///
/// restrict,command="reseed manager fleet receive --host www.example.com" ssh-ed25519 AAAA…
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Receive {
    /// Refuse reports of any other host
    #[arg(long, value_name = "HOST")]
    host: Option<Name>,
}

/// Remove the report of a machine that is no more
#[derive(Debug, clap::Args)]
struct Forget {
    /// The machine, as it called itself
    host: Name,
}

/// What is shown in a table, in days.
const WITHIN: u16 = 30;

pub fn run(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let asks = arguments.json || arguments.html.is_some() || arguments.within.is_some();
    match &arguments.command {
        Some(_) if asks => Err(Failure::Usage("--within, --json and --html are for what is shown".into())),
        Some(Command::Receive(asked)) => receive(world, asked),
        Some(Command::Forget(asked)) => forget(world, &asked.host),
        None => show(world, arguments),
    }
}

fn receive(world: &World<'_>, asked: &Receive) -> Result<Status, Failure> {
    let mut text = String::new();
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    let read = io::stdin().lock().take(most).read_to_string(&mut text);
    read.map_err(|error| Failure::Other(format!("standard input: {error}")))?;
    let report =
        HostReport::parse(&text).map_err(|why| Failure::Other(format!("this is no report: {why}")))?;
    if let Some(host) = asked.host.as_ref().filter(|host| !host.as_str().eq_ignore_ascii_case(&report.host)) {
        let says = format!(
            "this is a report of {}, and only those of {host} are taken",
            text::printable(&report.host)
        );
        return Err(Failure::Other(says));
    }
    place::configured(world)?.report(&report, world.now)?;
    Ok(Status::Done)
}

fn forget(world: &World<'_>, host: &Name) -> Result<Status, Failure> {
    match place::configured(world)?.forget(host)? {
        true => Ok(Status::Done),
        false => Err(Failure::Other(format!("there is no report of {host}"))),
    }
}

fn show(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let mut gathering = Gathering::new(world.now);
    place::configured(world)?.gather(&mut gathering)?;
    let mut answer = gathering.finish();
    let is_table = !arguments.json && arguments.html.is_none();
    let certificates = answer.expiries.len();
    if let Some(days) = arguments.within.or(is_table.then_some(WITHIN)) {
        let until = world.now + Duration::days(days.into());
        answer.expiries.retain(|expiry| expiry.not_after <= until);
    }
    if let Some(file) = &arguments.html {
        let (root, path) = callers(file)?;
        transaction::replace(&root, &path, page(&answer, world.now).as_bytes(), 0o644)?;
        writeln!(io::stdout().lock(), "{}", shown(&path))?;
        return Ok(Status::Done);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.json {
        text::json(&mut out, &answer)?;
    } else {
        write(&mut out, &answer, certificates, world.now)?;
    }
    out.flush()?;
    Ok(Status::Done)
}

fn write(out: &mut impl Write, answer: &Answer, certificates: usize, now: OffsetDateTime) -> io::Result<()> {
    let counted = answer::State::ALL.iter().filter_map(|state| {
        let count = answer.hosts.iter().filter(|host| host.state == *state).count();
        (count > 0).then(|| format!("{count} {}", state.name()))
    });
    let counted: Vec<String> = counted.collect();
    let states = if counted.is_empty() { String::new() } else { format!(": {}", counted.join(", ")) };
    writeln!(out, "{} machines{states}", answer.hosts.len())?;
    let wanting = answer.hosts.iter().filter(|host| host.state != answer::State::Fresh);
    for host in wanting {
        let seen = host
            .seen
            .map_or_else(|| "never reported".into(), |seen| format!("reported {}", text::time(seen)));
        writeln!(out, "{:<9} {} ({seen})", host.state.name(), text::printable(&host.host))?;
        for reason in host.happened.iter().chain(&host.reasons) {
            writeln!(out, "          {}", text::printable(reason))?;
        }
    }
    writeln!(out, "\n{} keys and ids that several machines share", answer.shared.len())?;
    for shared in &answer.shared {
        writeln!(out, "{}: {} {}", shared.what.name(), shared.what.means(), text::printable(&shared.digest))?;
        for place in &shared.places {
            writeln!(out, "          {}", text::printable(&place.to_string()))?;
        }
    }
    writeln!(out, "\n{} of {certificates} certificates that end soon or have ended", answer.expiries.len())?;
    for expiry in &answer.expiries {
        let end = text::time(expiry.not_after);
        writeln!(out, "{end}  {:<14} {}", left(expiry.not_after, now), text::printable(&expiry.title()))?;
        for place in &expiry.places {
            writeln!(out, "          {}", text::printable(&place.to_string()))?;
        }
    }
    for why in &answer.unread {
        writeln!(out, "not read: {}", text::printable(why))?;
    }
    Ok(())
}
