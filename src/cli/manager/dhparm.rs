//! `reseed manager dhparm`

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::{Failure, Status, callers, shown};
use crate::manager::dhparm::{DEFAULT, DIRECTORY, LINK, Policy, Present, Reason, Wanted, plan};
use crate::manager::name::CA;
use crate::pki::dh::Parameters;
use crate::reseed::World;
use crate::system::root::{Kind, Root};
use crate::transaction;

/// Make the Diffie-Hellman parameters that servers are to use
///
/// Writes DIR/dh/dh-NAME.pem for each group of RFC 7919 and DIR/dh/dhBITS.pem for each size, as far as
/// they are not there, and the link DIR/dh/dhparam.pem to the first of them.
///
/// A group of RFC 7919 is ready at once. A size is a safe prime that is searched for on the spot, with
/// the generator 2: about a minute for 2048 bits, half an hour for 4096, half a day for 8192.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Groups of RFC 7919 and sizes in bits, with commas in between; the first is what is linked to
    #[arg(long, value_name = "LIST", default_value = DEFAULT)]
    groups: String,
    /// Make every one of them again
    #[arg(long)]
    force: bool,
    /// Make a size again when its file is older than this; a group of RFC 7919 does not age
    #[arg(long, value_name = "DAYS", default_value_t = 120)]
    age_days: u32,
    /// Work in each directory below DIR except `ca`, not in DIR itself
    #[arg(long)]
    subdirectories: bool,
    /// Directories of certificates
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let wanted = Wanted::list(&arguments.groups)
        .map_err(|error| Failure::Usage(format!("--groups {}: {error}", arguments.groups)))?;
    let policy = Policy { force: arguments.force, age_days: arguments.age_days };
    let mut status = Status::Done;
    for named in &arguments.directories {
        let (root, directory) = callers(named)?;
        let done = directories(&root, &directory, arguments.subdirectories).and_then(|directories| {
            directories.iter().try_for_each(|directory| make(world, &root, directory, &wanted, policy))
        });
        match done {
            Ok(()) => {}
            Err(Failure::Output(error)) => return Err(Failure::Output(error)),
            // The other directories are no worse for it.
            Err(failure) => {
                writeln!(io::stderr(), "reseed: {failure}")?;
                status = Status::Failed;
            }
        }
    }
    Ok(status)
}

/// Where to work: a directory, or those below it.
fn directories(root: &Root, directory: &Path, below: bool) -> Result<Vec<PathBuf>, Failure> {
    // A file, and what is not there, has no names; nor need an empty directory have any.
    let is_directory = |path: &Path| {
        let resolved = root.resolve(path)?;
        let top = resolved == Path::new("/");
        Ok(top || root.status(&resolved)?.is_some_and(|status| status.kind == Kind::Directory))
    };
    if !is_directory(directory).map_err(Failure::Path)? {
        return Err(Failure::Other(format!("{}: there is no such directory", directory.display())));
    }
    if !below {
        return Ok(vec![directory.to_owned()]);
    }
    let is_passed_over =
        |name: &OsStr| name == CA || name == DIRECTORY || name.to_string_lossy().starts_with('.');
    let mut found = Vec::new();
    for name in root.names(directory)? {
        let path = directory.join(&name);
        let kind = root.status(&path)?.map(|status| status.kind);
        if kind == Some(Kind::Directory) && !is_passed_over(&name) {
            found.push(path);
        }
    }
    Ok(found)
}

fn make(
    world: World<'_>,
    root: &Root,
    directory: &Path,
    wanted: &[Wanted],
    policy: Policy,
) -> Result<(), Failure> {
    let directory = root.resolve(&directory.join(DIRECTORY))?;
    let mut there = BTreeMap::new();
    for wanted in wanted {
        let path = directory.join(wanted.file_name());
        if let (Some(content), Some(since)) = (root.read_optional(&path)?, root.modified(&path)?) {
            there.insert(*wanted, Present::new(&content, world.now - since));
        }
    }
    let steps = plan(wanted, &there, policy);
    root.make_directory(&directory, 0o750)?;
    for (wanted, reason) in &steps {
        make_one(root, &directory.join(wanted.file_name()), *wanted, *reason)?;
    }
    let linked = link(root, &directory, wanted)?;
    if steps.is_empty() && !linked {
        writeln!(io::stdout(), "{}: nothing to do", shown(&directory))?;
    }
    Ok(())
}

fn make_one(root: &Root, path: &Path, wanted: Wanted, reason: Reason) -> Result<(), Failure> {
    if matches!(wanted, Wanted::Own(_)) && io::stderr().is_terminal() {
        writeln!(io::stderr(), "{}: searching; this takes long", shown(path))?;
    }
    let parameters = match wanted {
        Wanted::Published(group) => Ok(group.parameters()),
        Wanted::Own(bits) => Parameters::generate(bits),
    };
    let content = parameters.and_then(|parameters| parameters.to_pem());
    let content = content.map_err(|error| Failure::Other(format!("{}: {error}", shown(path))))?;
    transaction::replace(root, path, content.as_bytes(), 0o644)?;
    writeln!(io::stdout(), "{}: made {wanted}: {reason}", shown(path))?;
    Ok(())
}

/// Says whether there was anything to do.
fn link(root: &Root, directory: &Path, wanted: &[Wanted]) -> Result<bool, Failure> {
    let Some(first) = wanted.first() else { return Ok(false) };
    let path = directory.join(LINK);
    let target = PathBuf::from(first.file_name());
    if root.link_target(&path)?.as_ref() == Some(&target) {
        return Ok(false);
    }
    transaction::replace_link(root, &path, &target)?;
    writeln!(io::stdout(), "{}: leads to {}", shown(&path), target.display())?;
    Ok(true)
}
