//! `reseed seal`: takes out of an image what must be unique.
//!
//! ```text
//!  lock → recover → survey, look → steps → record the keys → carry out → ledger → machine-id
//! ```
//!
//! Whenever the power goes, sealing again ends where it would have ended. The fingerprints are on disk
//! before the first key is gone; a key goes before its certificate, so that what is left of a pair still
//! tells whose it was; the ledger forgets a file after the file is gone; and the machine-id comes last:
//! an image that still has one is not sealed.

mod carry;
mod steps;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::audit::{self, Audit, Finding, Seen};
use super::catalogue::{self, Index, Operation};
use super::selection::Selection;
use crate::ledger::Ledger;
use crate::plan::{HookPlan, Request, Task};
use crate::reseed::{self, ReseedError, World, look};
use crate::sealed::Sealed;
use crate::store;
use crate::system::root::{Kind, Lock, PathError, Root};

pub use steps::{Left, Owned, Step, Work, decide};

/// What a seal did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
    /// What was done, in its order.
    pub done: Vec<Step>,
    /// What was left, and why.
    pub left: Vec<Left>,
    /// Keys whose fingerprints are recorded as taken out.
    pub recorded: usize,
    /// What the user has to know beside it.
    pub notes: Vec<String>,
}

/// Takes out of a root what must be unique, or says what would be taken out.
///
/// # Errors
/// [`ReseedError`]; what was not done yet is done by sealing again.
pub fn seal(world: World<'_>, selection: &Selection, dry_run: bool) -> Result<Report, ReseedError> {
    let lock = match dry_run {
        true => None,
        false => Some(store::lock(world.root)?.ok_or(ReseedError::Busy)?),
    };
    if let Some(lock) = &lock {
        put_in_order(world.root, lock)?;
    }
    let (mut seen, audit) = audit::survey(world.root)?;
    seen.extend(missing_machine_id(world.root)?);
    let plan = look(world, &Request::default())?;
    let owned = owned(world.root, &plan.plan.hooks);
    let work = decide(selection, &seen, &owned);
    let mut report = Report::of(
        world.root,
        &work,
        &audit,
        &plan.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
    );
    let sealed = record(world, &work, &audit)?;
    report.recorded = sealed.fingerprints.len();
    report.dry_run = dry_run;
    if let Some(lock) = &lock {
        write_record(world, &sealed)?;
        carry::out(world.root, &work)?;
        if selection.has_name("reseed-state") {
            forget(world.root, lock, &plan.ledger)?;
        }
        carry::last(world.root, &work)?;
    }
    Ok(report)
}

/// An interrupted run ends before its files go: nothing may come back later.
fn put_in_order(root: &Root, lock: &Lock) -> Result<(), ReseedError> {
    let mut ledger = store::ledger(root)?;
    match reseed::recover(root, lock, &mut ledger)?.stuck.into_values().next() {
        Some(reason) => Err(PathError::refused(Path::new(store::LEDGER), reason).into()),
        None => Ok(()),
    }
}

/// Without a machine-id the first boot may find `/etc` read-only and have no place for one.
fn missing_machine_id(root: &Root) -> Result<Option<Seen>, PathError> {
    let path = Path::new("/etc/machine-id");
    let etc = root.status(Path::new("/etc"))?.is_some_and(|status| status.kind == Kind::Directory);
    let missing = etc && root.status(path)?.is_none();
    let known = Index::default().find(path, b"");
    let seen = Seen {
        path: path.into(),
        kind: Kind::File,
        size: 0,
        known,
        done: false,
        public: false,
        found: Vec::new(),
    };
    Ok(missing.then_some(seen))
}

/// The files of the hooks in force, and whose they are.
fn owned<'a>(root: &Root, hooks: &'a [HookPlan]) -> Vec<Owned> {
    let is = |path: &Path, kind| matches!(root.status(path), Ok(Some(status)) if status.kind == kind);
    let tasks = hooks.iter().flat_map(|hook| hook.tasks.iter().map(move |task| (hook, task)));
    let artifacts = |task: &'a Task| task.bundle.artifacts.iter();
    tasks
        .map(|(hook, task)| Owned {
            hook: hook.hook.to_string(),
            files: artifacts(task).map(|one| one.real.clone()).filter(|path| is(path, Kind::File)).collect(),
            links: artifacts(task)
                .flat_map(|one| one.links.clone())
                .filter(|path| is(path, Kind::Link))
                .collect(),
            tls: artifacts(task).any(|one| !one.holds.is_empty()),
            replaceable: task.verdict.is_replaceable(),
            verdict: task.verdict.to_string(),
        })
        .collect()
}

/// The record as it will be: every key that was ever taken out, and those that are left in now.
fn record(world: World<'_>, work: &Work, audit: &Audit) -> Result<Sealed, ReseedError> {
    let mut sealed = Sealed::read(world.root)?.unwrap_or_else(|| Sealed::new(world.now));
    for finding in &audit.findings {
        let left = !finding.layers.is_empty() || !work.takes(&finding.path);
        for fingerprint in &finding.fingerprints {
            sealed.add(fingerprint.clone(), finding.place(), left);
        }
    }
    Ok(sealed)
}

fn write_record(world: World<'_>, sealed: &Sealed) -> Result<(), ReseedError> {
    let old = Sealed::read(world.root)?;
    if old.as_ref() != Some(sealed) {
        let mut sealed = sealed.clone();
        sealed.sealed = world.now;
        sealed.write(world.root)?;
    }
    Ok(())
}

/// What the ledger says of files that are gone is forgotten, and with it whom they were made for. The
/// highest serial stays, because serials only go up; so does what is held back, to be let go.
fn forget(root: &Root, lock: &Lock, ledger: &Ledger) -> Result<(), ReseedError> {
    let there = |path: &PathBuf| matches!(root.status(path), Ok(Some(status)) if status.kind == Kind::File);
    let mut hook = ledger.hook.clone();
    hook.retain(|_, entry| {
        entry.file.retain(|path, _| there(path));
        !entry.file.is_empty()
    });
    let names = if hook.is_empty() { Default::default() } else { ledger.names.clone() };
    let mut kept = Ledger::default();
    kept.highest_serial = ledger.highest_serial;
    kept.names = names;
    kept.hook = hook;
    kept.gate = ledger.gate.clone();
    if kept == *ledger {
        return Ok(());
    }
    if kept == Ledger::default() {
        return Ok(carry::remove(root, Path::new(store::LEDGER))?);
    }
    Ok(store::save_ledger(root, lock, &kept)?)
}

impl Report {
    fn of(root: &Root, work: &Work, audit: &Audit, faults: &[String]) -> Self {
        let mut left = work.left.clone();
        for finding in &audit.findings {
            if !finding.layers.is_empty() || !work.mentions(&finding.path) {
                left.push(Left::of(finding));
            }
        }
        left.sort();
        left.dedup();
        let mut notes: Vec<String> =
            faults.iter().map(|fault| format!("{fault}; what this hook makes is not known")).collect();
        notes.extend(audit.unread.iter().map(|one| format!("{}: not looked into: {}", one.path, one.why)));
        notes.extend(without_maker(root, work));
        notes.extend(without_fingerprint(work, audit));
        Self { dry_run: false, done: work.steps.clone(), left, recorded: 0, notes }
    }
}

/// What is taken out and would not come back on this root, as far as units tell.
fn without_maker(root: &Root, work: &Work) -> Vec<String> {
    const DIRECTORIES: [&str; 3] = ["/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system"];
    let is_there = |unit: &str| {
        DIRECTORIES.iter().any(|dir| matches!(root.status(&Path::new(dir).join(unit)), Ok(Some(_))))
    };
    let mut told: Vec<&Operation> = Vec::new();
    for operation in work.steps.iter().filter_map(|step| catalogue::operation(step.operation)) {
        let lost = !operation.makers.is_empty() && !operation.makers.iter().any(|unit| is_there(unit));
        if lost && !told.contains(&operation) {
            told.push(operation);
        }
    }
    told.iter()
        .map(|operation| {
            format!(
                "{}: nothing in this root makes it again: none of {} is there; install reseed with its units, \
                 or leave it with `--operations defaults,-{}`",
                operation.title,
                operation.makers.join(", "),
                operation.name
            )
        })
        .collect()
}

/// Keys that are taken out but cannot be recognised later, should one come back from a backup.
fn without_fingerprint(work: &Work, audit: &Audit) -> Vec<String> {
    let is_one = |finding: &&Finding| {
        let key = finding.rule.contains("private-key") || ["pkcs12", "java-keystore"].contains(&finding.rule);
        key && finding.fingerprints.is_empty() && work.takes(&finding.path)
    };
    let note =
        |finding: &Finding| format!("{}: its public half is not known, and not recorded", finding.place());
    audit.findings.iter().filter(is_one).map(note).collect()
}

impl Left {
    fn of(finding: &Finding) -> Self {
        Self {
            path: finding.place(),
            what: finding.what.clone(),
            why: "no operation and no hook knows it, and nobody would make it again".into(),
            operation: None,
        }
    }
}
