//! `reseed-generator`, which systemd runs before it loads any unit (systemd.generator(7)), and the same
//! by hand for any root. What is written is decided in `crate::generator`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Failure, Status};
use crate::facts;
use crate::generator::{self, DROP_IN, Machine, NETWORK_STAGE, Output, UnitFile};
use crate::hook::Hook;
use crate::identity::sources;
use crate::probe::Prober;
use crate::reseed::{self, Quiet, World};
use crate::service::Offline;
use crate::store;
use crate::system::clock;
use crate::system::root::{PathError, Root};
use crate::transaction::own_attributes;

/// Where unit files lie (systemd.unit(5)), strongest first.
const UNITS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const INIT_SCRIPTS: &str = "/etc/init.d";

/// Write the drop-ins of the units that hooks name, as at boot
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An existing directory to write into
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    let complaints = write(world, &Root::open(&arguments.directory)?)?;
    tell(&complaints);
    Ok(if complaints.is_empty() { Status::Done } else { Status::Failed })
}

/// Called by systemd. Whatever is wrong, the boot goes on, and what could be written is there.
pub fn at_boot(directory: Option<PathBuf>) -> ExitCode {
    if let Err(error) = generate_at_boot(directory) {
        tell(&[error.to_string()]);
    }
    ExitCode::SUCCESS
}

fn generate_at_boot(directory: Option<PathBuf>) -> Result<(), PathError> {
    let root = Root::open(Path::new("/"))?;
    // In an initrd the machine's own units are not there yet; systemd calls again when they are.
    if root.status(Path::new("/etc/initrd-release"))?.is_some() {
        return Ok(());
    }
    let Some(directory) = directory else {
        return Err(PathError::refused(
            Path::new("reseed-generator"),
            "is called by systemd, with a directory",
        ));
    };
    let prober = Prober::by_hand();
    let world = World { root: &root, below: None, services: &Offline, prober: &prober, now: clock::now() };
    tell(&write(world, &Root::open(&directory)?)?);
    Ok(())
}

fn tell(complaints: &[String]) {
    for complaint in complaints {
        let _ = writeln!(io::stderr(), "reseed-generator: {complaint}");
    }
}

/// Writes everything that can be written; what could not, and what could not be read, is returned.
fn write(world: World<'_>, to: &Root) -> Result<Vec<String>, PathError> {
    let root = world.root;
    let (hooks, faults) = store::hooks(root, world.below)?;
    let mut complaints: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let domain_from_dns = match store::settings(root) {
        Ok(settings) => settings.identity.domain_from_dns && !has_domain(root),
        Err(error) => {
            complaints.push(error.to_string());
            false
        }
    };
    let families = facts::families(root).unwrap_or_default();
    let files = Units::find(root);
    // What a stage would see; where it cannot be seen, the stages say so where that is read. A package
    // database is not asked while PID 1 waits, and perhaps a transaction holds its lock.
    let by_package = |hook: &Hook| !hook.applies.packages.is_empty() && !has_file(root, hook);
    let seen = if hooks.iter().any(by_package) { None } else { reseed::look(world, &reseed::early()).ok() };
    let artifacts = seen.iter().flat_map(|seen| seen.facts.hooks.values()).flat_map(|hook| &hook.bundles);
    let machine = Machine {
        directories: artifacts
            .flat_map(|bundle| &bundle.artifacts)
            .filter_map(|artifact| artifact.real.parent().map(Path::to_owned))
            .collect(),
        hooks: hooks.iter().filter(|hook| may_apply(root, hook)).collect(),
        families: &families,
        domain_from_dns,
        units: files.0.keys().cloned().collect(),
        read: &|unit| files.read(root, unit),
    };
    let quiet = match &seen {
        Some(seen) => reseed::quiet(root, seen, &|unit| files.0.contains_key(unit))?,
        None => Quiet::No,
    };
    let skipped: &[&str] = match quiet {
        Quiet::No => &[],
        Quiet::UntilRenamed => std::slice::from_ref(&generator::STAGES[0]),
        Quiet::Yes => &generator::STAGES,
    };
    let skipped = skipped.iter().map(|stage| generator::skip(stage));
    for output in generator::generate(&machine).into_iter().chain(skipped) {
        complaints.extend(put(to, &files, &output).err().map(|error| error.to_string()));
    }
    Ok(complaints)
}

/// As a run decides it, but without asking the package database: a drop-in too many does no harm.
fn may_apply(root: &Root, hook: &Hook) -> bool {
    !hook.applies.packages.is_empty() || has_file(root, hook)
}

fn has_file(root: &Root, hook: &Hook) -> bool {
    let exists = |path: &PathBuf| {
        root.resolve(path).and_then(|real| root.status(&real)).is_ok_and(|found| found.is_some())
    };
    hook.applies.files.iter().any(exists)
}

fn has_domain(root: &Root) -> bool {
    let text = root.text(Path::new("/etc/hostname")).ok().flatten().unwrap_or_default();
    sources::hostname_file(&text).is_ok_and(|name| name.domain().is_some())
}

fn put(to: &Root, files: &Units, output: &Output) -> Result<(), PathError> {
    let (Output::File(path, _) | Output::Wants(path)) = output;
    let path = Path::new("/").join(path);
    to.make_directory(path.parent().unwrap_or(Path::new("/")), 0o755)?;
    // By hand, an earlier run may have been here.
    to.remove(&path)?;
    match output {
        Output::File(_, text) => to.create(&path, text.as_bytes(), &own_attributes(0o644)),
        Output::Wants(_) => match files.0.get(NETWORK_STAGE).and_then(|files| files.first()) {
            Some(file) => to.symlink(&path, file),
            None => Ok(()),
        },
    }
}

/// Where the files of units are: of each the strongest first. A service that has none is made of an
/// init script.
struct Units(BTreeMap<String, Vec<PathBuf>>);

impl Units {
    fn find(root: &Root) -> Self {
        let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for directory in UNITS.map(Path::new) {
            for name in names(root, directory) {
                let file = directory.join(&name);
                files.entry(name).or_default().push(file);
            }
        }
        for script in names(root, Path::new(INIT_SCRIPTS)) {
            let file = Path::new(INIT_SCRIPTS).join(&script);
            files.entry(format!("{script}.service")).or_insert_with(|| vec![file]);
        }
        Self(files)
    }

    /// Reads the strongest file of a unit and its drop-ins, weakest first; nothing for one that is masked.
    fn read(&self, root: &Root, unit: &str) -> Option<UnitFile> {
        let file = self.0.get(unit)?.first()?;
        // A link to /dev/null is no regular file.
        let mut text = root.text(file).ok().flatten().filter(|text| !text.is_empty())?;
        if file.starts_with(INIT_SCRIPTS) {
            return Some(UnitFile::parse_init_script(&text));
        }
        for fragment in self.drop_ins(root, unit) {
            text.push('\n');
            text.push_str(&root.text(&fragment).ok().flatten().unwrap_or_default());
        }
        Some(UnitFile::parse(&text))
    }

    /// By name, a stronger directory's file in place of a weaker one's; ours are not among them.
    fn drop_ins(&self, root: &Root, unit: &str) -> Vec<PathBuf> {
        let mut fragments: BTreeMap<String, PathBuf> = BTreeMap::new();
        let name = format!("{unit}.d");
        if !self.0.contains_key(&name) {
            return Vec::new();
        }
        for directory in UNITS.iter().rev().map(|directory| Path::new(directory).join(&name)) {
            for fragment in names(root, &directory).into_iter().filter(|name| name != DROP_IN) {
                let file = directory.join(&fragment);
                fragments.insert(fragment, file);
            }
        }
        fragments.into_values().collect()
    }
}

fn names(root: &Root, directory: &Path) -> BTreeSet<String> {
    let names = root.names(directory).unwrap_or_default();
    names.iter().filter_map(|name| OsStr::to_str(name).map(str::to_owned)).collect()
}
