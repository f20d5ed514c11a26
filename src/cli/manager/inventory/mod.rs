//! `reseed manager inventory`

mod list;
mod objects;
pub mod place;
mod set;

use std::io::{self, Write};

use super::{Failure, Status, text};
use crate::manager::inventory::model::Checked;
use crate::manager::inventory::store::{Change, Contents, Inventory, InventoryError};
use crate::manager::run::World;

/// What the fleet has: certificates, hosts, jails, places, services, and the instances of certificates
///
/// It lies in files beneath the top directory, or in PostgreSQL where ssl-mgr.conf says so:
///
///     [inventory]
///     postgres = "postgresql://manager@db.example.com/pki?sslmode=verify-full"
///
/// What is not in there is taken as by psql: from PGHOST and the other variables, a service file, ~/.pgpass.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::List),
    Show(list::Show),
    Add(objects::Add),
    Set(set::Set),
    Enable(set::Enable),
    Disable(set::Disable),
    Remove(objects::Remove),
    Import(Import),
    Export(Export),
    Migrate(Migrate),
}

/// Take everything from another inventory into this one, which must be empty
#[derive(Debug, clap::Args)]
struct Import {
    /// A directory, or how a database is reached
    #[arg(value_name = "DIR|CONNECTION")]
    from: String,
}

/// Bring everything from this inventory into another one, which must be empty
#[derive(Debug, clap::Args)]
struct Export {
    /// A directory, or how a database is reached
    #[arg(value_name = "DIR|CONNECTION")]
    to: String,
}

/// Make the tables in the database, or bring them to this program's version
///
/// Where serverPKI's tables are in the database and ours are empty, everything is taken over from them: nothing
/// of them is changed, and what cannot be taken over is told before anything is.
#[derive(Debug, clap::Args)]
struct Migrate {
    /// Say what would be taken over, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub fn run(world: &World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let open = || place::configured(world);
    match &arguments.command {
        Command::List(asked) => asked.run(open()?.as_mut()),
        Command::Show(asked) => asked.run(open()?.as_mut()),
        Command::Add(asked) => {
            change(open()?.as_mut(), &[Change::Add(asked.object(world.now)?)], asked.dry_run)
        }
        Command::Set(asked) => change(open()?.as_mut(), &[asked.change(world.now)?], asked.dry_run),
        Command::Enable(asked) => change(open()?.as_mut(), &asked.changes(world.now), asked.dry_run),
        Command::Disable(asked) => change(open()?.as_mut(), &asked.changes(world.now), asked.dry_run),
        Command::Remove(asked) => {
            change(open()?.as_mut(), &[Change::Remove(asked.reference()?)], asked.dry_run)
        }
        Command::Import(asked) => {
            let mut from = place::named(world, &asked.from)?;
            carry(from.as_mut(), open()?.as_mut())
        }
        Command::Export(asked) => {
            let mut to = place::named(world, &asked.to)?;
            carry(open()?.as_mut(), to.as_mut())
        }
        Command::Migrate(asked) => migrate(world, asked.dry_run),
    }
}

fn change(inventory: &mut dyn Inventory, changes: &[Change], dry_run: bool) -> Result<Status, Failure> {
    if !dry_run {
        inventory.change(changes)?;
        return Ok(Status::Done);
    }
    // The rules are the same without the store.
    let mut checked = Checked::new(inventory.objects()?).map_err(InventoryError::Refused)?;
    for change in changes {
        let done = match change {
            Change::Add(object) => checked.add(object.clone()),
            Change::Alter(alteration, now) => checked.alter(alteration, *now),
            Change::Remove(reference) => checked.remove(reference),
        };
        done.map_err(InventoryError::from)?;
    }
    writeln!(io::stdout().lock(), "it would be done; nothing is changed")?;
    Ok(Status::Done)
}

fn carry(from: &mut dyn Inventory, to: &mut dyn Inventory) -> Result<Status, Failure> {
    let contents = from.contents()?;
    to.fill(&contents)?;
    writeln!(io::stdout().lock(), "{} in {}", counted(&contents), text::printable(&to.shown()))?;
    Ok(Status::Done)
}

/// How much there is, in one line.
fn counted(contents: &Contents) -> String {
    let objects = &contents.objects;
    let certificates = objects.certificates.values();
    let (names, targets) = certificates
        .fold((0, 0), |(names, targets), it| (names + it.names.len() + 1, targets + it.targets.len()));
    format!(
        "{} certificates with {names} names and {targets} targets, {} instances with {} keys, {} hosts with {} \
         jails, {} places, {} services",
        objects.certificates.len(),
        contents.instances.len(),
        contents.instances.iter().map(|(_, keys)| keys.len()).sum::<usize>(),
        objects.hosts.len(),
        objects.hosts.values().map(|host| host.jails.len()).sum::<usize>(),
        objects.places.len(),
        objects.services.len(),
    )
}

fn migrate(world: &World<'_>, dry_run: bool) -> Result<Status, Failure> {
    use crate::manager::inventory::postgres::schema;
    let mut database = place::database(world)?;
    let mut out = io::stdout().lock();
    let found = database.serverpki()?;
    let before = schema::version(database.client()?)?;
    if !dry_run {
        schema::migrate(database.client()?)?;
    }
    writeln!(
        out,
        "the tables {} version {} (before: {before})",
        if dry_run { "would get" } else { "have" },
        schema::VERSION
    )?;
    let Some(found) = found else { return Ok(Status::Done) };
    let is_empty =
        before == 0 || (!dry_run && database.contents()? == Contents { next: 1, ..Contents::default() });
    if !is_empty {
        writeln!(out, "the inventory is in use; nothing is taken over from serverPKI's tables")?;
        return Ok(Status::Done);
    }
    for note in &found.notes {
        writeln!(out, "note: {}", text::printable(note))?;
    }
    let rows: Vec<String> = found.rows.iter().map(|(table, count)| format!("{table} {count}")).collect();
    writeln!(out, "serverPKI has: {}", rows.join(", "))?;
    if !dry_run {
        database.fill(&found.contents)?;
    }
    writeln!(
        out,
        "{}: {}",
        if dry_run { "would be taken over" } else { "taken over" },
        counted(&found.contents)
    )?;
    if found.keys_encrypted {
        writeln!(out, "the private keys are encrypted as serverPKI left them")?;
    }
    Ok(Status::Done)
}
