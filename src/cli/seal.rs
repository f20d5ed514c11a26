//! `reseed seal`

use std::io::{self, Write};

use super::{Failure, Status, text};
use crate::image::catalogue;
use crate::image::seal::{Report, seal};
use crate::image::selection::Selection;
use crate::reseed::World;

/// Take out of an image what must be unique, and make sure that it is made again
///
/// Use it as the last step of building an image, with --root on a root that nothing runs in. Removes host
/// keys, ids, seeds, leases, memberships, logs and histories; sets the machine-id to `uninitialized`;
/// forgets what reseed made, so that the next boot makes it for the machine that boots. Which keys were
/// in the image is recorded by their fingerprints in /var/lib/reseed/image.toml, so that none of them is
/// ever served. What is left, and why, is listed.
///
/// The running machine can be sealed too, with --running, just before it is shut down: services that
/// still run write some of it again until then, so seal a root offline where you can.
///
/// Contents are removed, not wiped: copy the files, or run fstrim, before you publish a disk image.
/// An interrupted seal is simply run again.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Carry out exactly these operations, separated by commas
    #[arg(long, value_name = "OPERATIONS", conflicts_with = "operations")]
    enable: Option<String>,
    /// Carry out this selection, from left to right: `defaults,-logfiles`, `all,-cron-spool`
    #[arg(long, value_name = "OPERATIONS", allow_hyphen_values = true)]
    operations: Option<String>,
    /// List every operation; those with a star are carried out by default
    #[arg(long)]
    list_operations: bool,
    /// Say what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Seal the machine that is running
    #[arg(long)]
    running: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let mut out = io::stdout().lock();
    if arguments.list_operations {
        list(&mut out)?;
        return Ok(Status::Done);
    }
    let selection = match (&arguments.enable, &arguments.operations) {
        (Some(list), _) => Selection::enable(list),
        (_, Some(list)) => Selection::operations(list),
        _ => Ok(Selection::default()),
    };
    let selection = selection.map_err(Failure::Usage)?;
    let live = world.root.is_live();
    if live && !arguments.running && !arguments.dry_run {
        let message = "this is the running machine, which would lose its host keys, its machine-id and more; \
                       name an image with --root DIR, or say --running just before you shut it down";
        return Err(Failure::Usage(message.into()));
    }
    let mut report = seal(world, &selection, arguments.dry_run)?;
    if live {
        report.notes.push(
            "services still run and write some of this again: shut down now, and start no copy of this disk \
             before it is off"
                .into(),
        );
    }
    if arguments.json {
        text::json(&mut out, &report)?;
    } else {
        write(&mut out, &report)?;
    }
    Ok(Status::Done)
}

fn list(out: &mut impl Write) -> io::Result<()> {
    for operation in catalogue::operations() {
        let star = if operation.default { '*' } else { ' ' };
        writeln!(out, "{star} {:22} {}", operation.name, operation.title)?;
        writeln!(out, "{:25}why: {}", "", operation.why)?;
        writeln!(out, "{:25}made again: {}", "", operation.returns)?;
    }
    Ok(())
}

fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for step in &report.done {
        let path = text::printable(&step.path.to_string_lossy());
        writeln!(out, "{:22} {:13} {path}", step.operation, step.act.word())?;
    }
    for left in &report.left {
        writeln!(out, "left: {}", text::printable(&left.path))?;
        writeln!(out, "    {}: {}", left.what, left.why)?;
        if let Some(operation) = left.operation {
            writeln!(out, "    to take it out: reseed seal --operations defaults,{operation}")?;
        }
    }
    for note in &report.notes {
        writeln!(out, "note: {}", text::printable(note))?;
    }
    match (report.done.is_empty(), report.dry_run) {
        (true, _) => writeln!(out, "Nothing to do."),
        (_, true) => writeln!(out, "Nothing was changed: this is what would be done."),
        _ => writeln!(
            out,
            "Sealed: {} files; {} fingerprints of keys that were in the image are recorded.",
            report.done.len(),
            report.recorded
        ),
    }
}
