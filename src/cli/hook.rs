//! `reseed hook list|show|check|census`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Failure, Status, census, text};
use crate::fault::Fault;
use crate::hook::{HookName, manifest};
use crate::plan::Request;
use crate::reseed::{World, look};
use crate::store;
use crate::system::root::Root;

/// Show and check hooks
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the hooks in force
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a hook as it is understood
    Show {
        /// Its name
        #[arg(value_name = "HOOK")]
        name: String,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Check hook files for their author
    Check {
        /// The files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// List what packages' scripts make that belongs to one machine, and which hook makes it again
    Census(census::Arguments),
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    match &arguments.command {
        Command::List { json } => list(world, *json),
        Command::Show { name, json } => show(world, name, *json),
        Command::Check { files } => check(files),
        Command::Census(arguments) => census::run(world, arguments),
    }
}

fn list(world: World<'_>, json: bool) -> Result<Status, Failure> {
    let seen = look(world, &Request::default())?;
    let mut out = io::stdout().lock();
    if json {
        text::json(
            &mut out,
            &serde_json::json!({ "hooks": seen.hooks, "idle": seen.facts.idle, "faults": seen.faults }),
        )?;
    } else {
        for hook in seen.hooks.iter() {
            let state = if seen.facts.idle.contains_key(&hook.name) { "idle" } else { "applies" };
            writeln!(out, "{:<8} {:<16} {:<48} {}", state, hook.name, hook.path.display(), hook.description)?;
        }
        for fault in &seen.faults {
            writeln!(io::stderr(), "reseed: {fault}")?;
        }
    }
    Ok(if seen.faults.is_empty() { Status::Done } else { Status::Wrong })
}

fn show(world: World<'_>, name: &str, json: bool) -> Result<Status, Failure> {
    let (hooks, faults) = store::hooks(world.root, world.below)?;
    let hook = HookName::parse(name).and_then(|name| hooks.get(&name).cloned());
    let Some(hook) = hook else {
        let fault = faults.iter().find(|fault| fault.path.file_stem().is_some_and(|stem| stem == name));
        return Err(Failure::Usage(fault.map_or_else(
            || format!("there is no hook {name}; `reseed hook list` shows them"),
            ToString::to_string,
        )));
    };
    let mut out = io::stdout().lock();
    if json {
        text::json(&mut out, &hook)?;
    } else {
        writeln!(out, "# {}", hook.path.display())?;
        let shown = toml::to_string_pretty(&hook).map_err(|error| Failure::Other(error.to_string()))?;
        write!(out, "{shown}")?;
    }
    Ok(Status::Done)
}

/// The files lie on the author's own system, wherever `--root` points.
fn check(files: &[PathBuf]) -> Result<Status, Failure> {
    let mut out = io::stdout().lock();
    let mut status = Status::Done;
    for file in files {
        match check_one(file) {
            Ok(hook) => writeln!(out, "{}: the hook {hook} is well formed", file.display())?,
            Err(fault) => {
                status = Status::Wrong;
                writeln!(io::stderr(), "{fault}")?;
            }
        }
    }
    Ok(status)
}

fn check_one(file: &Path) -> Result<HookName, Fault> {
    let wrong = |message: String| Fault::whole(file, message);
    let path = std::path::absolute(file).map_err(|error| wrong(error.to_string()))?;
    let stem = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".toml"));
    let name =
        stem.and_then(HookName::parse).ok_or_else(|| wrong("the file's name is to be NAME.toml".into()))?;
    let root = Root::open(Path::new("/")).map_err(|error| wrong(error.to_string()))?;
    let text = root.read(&path).map_err(|error| wrong(error.source.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| wrong("the text is not UTF-8".into()))?;
    manifest::parse(name, file, &text).map(|hook| hook.name)
}
