//! `reseed hook list|show|check|census`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Failure, Status, census, conform, text};
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
    ///
    /// A declaration (NAME.toml) is read. A program (an executable file NAME, without a dot) is run, with
    /// your rights, and everything that it does against the protocol is told:
    ///
    ///   NAME describe            prints the hook as TOML: `version`, `description`, `[applies]`, and
    ///                            `[executable]` with `makes` (all its files), `writes` (other paths that
    ///                            it has to write to), `network`, `limit-seconds`; `[[unit]]`, `[[check]]`
    ///                            and `[[probe]]` as in a declaration
    ///   NAME check FACTS         its last line is "fresh", "stale: WHY", or "placeholder: WHY" for files
    ///                            that a packaging script made and nobody meant
    ///   NAME make STAGING FACTS  writes every file of `makes` beneath the directory STAGING at its
    ///                            absolute path, with owner and mode; an existing file keeps its own
    ///
    /// FACTS is one argument, a line of JSON: `fqdn`, `hostname`, `domain`, `addresses`, `subject`,
    /// `families`; what is not known is null. Every call ends with 0, and one that is not known with
    /// another status. `describe` only prints: it is called at every start, and early in the boot.
    /// The other two run in a unit of their own that may write to nothing but STAGING and `writes`.
    #[command(verbatim_doc_comment)]
    Check {
        /// The files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
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
            Err(faults) => {
                status = Status::Wrong;
                for fault in faults {
                    writeln!(io::stderr(), "{fault}")?;
                }
            }
        }
    }
    Ok(status)
}

fn check_one(file: &Path) -> Result<HookName, Vec<Fault>> {
    if file.extension().is_some() {
        return check_declaration(file).map_err(|fault| vec![fault]);
    }
    let wrong = |message: String| vec![Fault::whole(file, message)];
    let name = file.file_name().and_then(|name| name.to_str()).and_then(HookName::parse);
    let name = name.ok_or_else(|| wrong("the file's name is to be that of a hook".into()))?;
    let path = std::path::absolute(file).map_err(|error| wrong(error.to_string()))?;
    let root = Root::open(Path::new("/")).map_err(|error| wrong(error.to_string()))?;
    conform::check(&root, &path, name).map(|hook| hook.name)
}

fn check_declaration(file: &Path) -> Result<HookName, Fault> {
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
