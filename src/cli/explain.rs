//! `reseed explain FILE`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Failure, Status, text};
use crate::artifact::{Artifact, Found, Verdict};
use crate::plan::{Action, HookPlan, Request, Supply, Task};
use crate::reseed::{Outlook, World, look};

/// Tell whose a file is, what reads it, and what would be done with it
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file, as seen from inside the root
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub fn run(world: World<'_>, arguments: &Arguments) -> Result<Status, Failure> {
    if !arguments.file.is_absolute() {
        return Err(Failure::Usage("name the file by its absolute path".into()));
    }
    let seen = look(world, &Request::default())?;
    let real = world.root.resolve(&arguments.file)?;
    let known: Vec<_> =
        seen.plan.hooks.iter().flat_map(|hook| matches(hook, &arguments.file, &real)).collect();
    let mut out = io::stdout().lock();
    if arguments.json {
        let tasks: Vec<_> = known
            .iter()
            .map(|(hook, task, artifact)| {
                serde_json::json!({
                    "hook": hook.hook, "real": artifact.real, "named-by": artifact.named_by,
                    "task": task, "tell": hook.tell, "made": seen.ledger.made(&artifact.real).map(|(_, _, made)| made),
                })
            })
            .collect();
        text::json(&mut out, &serde_json::json!({ "file": arguments.file, "real": real, "known": tasks }))?;
        return Ok(Status::Done);
    }
    if real != arguments.file {
        writeln!(out, "{} leads to {}.", arguments.file.display(), real.display())?;
    }
    for (hook, task, artifact) in &known {
        write(&mut out, &seen, hook, task, artifact)?;
    }
    let borrowers = seen.plan.hooks.iter().filter(|hook| hook.borrowed.contains_key(&real));
    for hook in borrowers {
        writeln!(out, "The hook {} reads it too: {} is told.", hook.hook, units(hook))?;
    }
    if known.is_empty() {
        writeln!(out, "No hook in force has this file: reseed never touches it.")?;
    }
    Ok(Status::Done)
}

fn matches<'a>(
    hook: &'a HookPlan,
    path: &'a Path,
    real: &'a Path,
) -> impl Iterator<Item = (&'a HookPlan, &'a Task, &'a Artifact)> {
    hook.tasks.iter().flat_map(move |task| {
        let fits = move |artifact: &&Artifact| {
            artifact.real == real || artifact.path == path || artifact.links.contains(path)
        };
        task.bundle.artifacts.iter().filter(fits).map(move |artifact| (hook, task, artifact))
    })
}

fn write(
    out: &mut impl Write,
    seen: &Outlook,
    hook: &HookPlan,
    task: &Task,
    artifact: &Artifact,
) -> Result<(), io::Error> {
    if task.bundle.follows_machine() {
        let half = if task.bundle.secret_file() == Some(artifact) { "" } else { ", its public half" };
        writeln!(out, "The hook {} has it; it is {}{half}.", hook.hook, task.bundle.what)?;
    } else {
        let holds = artifact.holds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        writeln!(out, "The hook {} has it; it holds: {holds}.", hook.hook)?;
    }
    match &artifact.named_by {
        _ if task.bundle.follows_machine() => {
            writeln!(out, "It follows this machine, whatever that is called; only a clone gets a new one.")?;
        }
        Some(directive) => writeln!(out, "What reads it is told so by {directive}.")?,
        None if artifact.copy => writeln!(out, "It is a copy for other readers.")?,
        None => writeln!(out, "The package itself writes it there; no configuration names it.")?,
    }
    writeln!(out, "It is {}.", task.verdict)?;
    if let Some(source) = text::source(task) {
        writeln!(out, "It {source}.")?;
    }
    if let Found::Unreadable(why) = &artifact.found {
        writeln!(out, "It cannot be read: {why}.")?;
    }
    if let Some(fingerprint) = &task.fingerprint {
        writeln!(out, "Its fingerprint is {fingerprint}.")?;
    }
    if let Some(content) = artifact.content()
        && let Some(Ok(certificate)) = &content.certificate
    {
        writeln!(
            out,
            "Its certificate is for {}, issued by {}.",
            certificate.subject_line(),
            certificate.issuer_line()
        )?;
        writeln!(out, "It is valid until {}.", text::time(certificate.not_after))?;
    }
    if let Some((by, entry, made)) = seen.ledger.made(&artifact.real) {
        let serial = made.serial.map(|serial| format!(", with serial {serial}")).unwrap_or_default();
        let what = match &made.issuer {
            Some(issuer) => format!("installed from {issuer}"),
            None if task.bundle.follows_machine() => "recorded".to_owned(),
            None => "made".to_owned(),
        };
        writeln!(out, "The ledger says: {what} for {by}, last in the run {}{serial}.", entry.run)?;
    }
    for reason in &task.reasons {
        writeln!(out, "It no longer holds: {reason}.")?;
    }
    let adopt = format!("To replace it all the same: reseed apply --adopt {}", artifact.path.display());
    match task.action {
        Action::Keep if task.verdict == Verdict::Absent && !seen.plan.identity.is_known_machine() => {
            writeln!(out, "It is made when it is known which machine this is: at its first boot.")
        }
        Action::Keep if task.verdict == Verdict::Absent => {
            writeln!(out, "Other host keys are there, so this one is not missed. {adopt}")
        }
        Action::Keep if task.verdict.is_replaceable() => writeln!(out, "Nothing would be done with it."),
        Action::Keep => writeln!(out, "Nothing would be done with it. {adopt}"),
        Action::Wait if hook.deferred.is_some() => writeln!(out, "It is left for later, and stays as it is."),
        Action::Wait => writeln!(out, "It would be made again, but the run is put off."),
        Action::Note => {
            writeln!(out, "`reseed apply` records it as this machine's, and leaves it as it is.")?;
            writeln!(out, "To have a new one all the same: reseed apply --adopt {}", artifact.path.display())
        }
        Action::Make => {
            let verb = match task.supply {
                Supply::Own => "makes it again",
                Supply::Installed => "installs it",
                Supply::Asked => "asks the manager for another one and installs that",
            };
            writeln!(out, "`reseed apply` {verb}, with {}, and tells {}.", text::files(task), units(hook))
        }
        Action::Leave => writeln!(out, "It is left alone. {adopt}"),
    }
}

fn units(hook: &HookPlan) -> String {
    let told: Vec<String> = hook.tell.iter().map(|(unit, verb)| format!("{unit} ({verb})")).collect();
    if told.is_empty() { "nobody".into() } else { told.join(", ") }
}
