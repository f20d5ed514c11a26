//! What a run did, for people, for programs and for the history.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;
use time::OffsetDateTime;
use tracing::{error, warn};

use crate::artifact::What;
use crate::fault::Fault;
use crate::hook::{HookName, Verb};
use crate::ledger::{Entry, Ledger, RunId};
use crate::pki::serial::Serial;
use crate::plan::{Action, HookPlan, Plan};
use crate::probe::Endpoint;
use crate::probe::verdict::Verdict;
use crate::store;
use crate::system::root::Lock;

use super::{Outlook, Recovered, World, seconds};

/// What a run did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The run's name; nothing when there was nothing to do.
    pub run: Option<RunId>,
    /// What was planned.
    pub plan: Plan,
    /// What became of each step.
    pub outcomes: BTreeMap<HookName, Outcome>,
    /// The units that were told, and did what they were asked.
    pub told: BTreeMap<String, Verb>,
    /// What the units that were told serve now, by their patterns.
    pub probed: BTreeMap<String, Vec<Probed>>,
    /// Units that did not take up new files by a reload, and were restarted.
    pub restarted_after_reload: Vec<String>,
    /// The units that are newly held back, with why.
    pub gated: BTreeMap<String, String>,
    /// The units that were let go.
    pub released: Vec<String>,
    /// What went wrong beside the steps.
    pub failures: Vec<String>,
    /// Interrupted earlier runs that were put in order.
    pub recovered: usize,
    /// Hook files that are not in force.
    pub faults: Vec<Fault>,
    /// The kernel's random id of this boot.
    #[serde(skip)]
    boot: Option<String>,
}

/// What one place serves after its unit was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probed {
    /// The place.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// What it serves.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What became of a step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new files stand.
    Made(Box<Entry>),
    /// Everything is as it was, because:
    Failed(String),
}

impl Report {
    /// Says whether anything failed.
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
            || self.outcomes.values().any(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// Says whether there was nothing to be done, and nothing is left to be.
    pub fn has_nothing(&self) -> bool {
        let settled = self.plan.hooks.iter().all(|hook| hook.deferred.is_none());
        let nothing_noted = self.plan.notes().is_empty();
        self.outcomes.is_empty()
            && self.gated.is_empty()
            && self.released.is_empty()
            && settled
            && nothing_noted
    }
}

/// One thing that was made, for people and for the history.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Renewal<'a> {
    /// The file.
    pub path: &'a Path,
    /// Of a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    /// Of the SSH host key that was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<&'a str>,
    /// Of the new SSH host key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<&'a str>,
    /// It is a secret, and never shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

impl fmt::Display for Renewal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(serial) = self.serial {
            write!(f, "  serial {serial}")?;
        }
        match (self.was, self.now) {
            (Some(was), Some(now)) => write!(f, "  {was} -> {now}")?,
            (None, Some(now)) => write!(f, "  {now}")?,
            (_, None) => {}
        }
        if self.secret { f.write_str("  a new secret") } else { Ok(()) }
    }
}

impl Report {
    /// The files that a step made, each with what it may be known by.
    pub fn made<'a>(&'a self, hook: &HookName, entry: &'a Entry) -> Vec<Renewal<'a>> {
        renewals(&self.plan, hook, entry)
    }

    /// Says whether a hook's step failed.
    pub fn has_failed_for(&self, hook: &HookName) -> bool {
        matches!(self.outcomes.get(hook), Some(Outcome::Failed(_)))
    }

    pub(super) fn new(seen: &Outlook, recovered: &Recovered) -> Self {
        Self {
            run: None,
            plan: seen.plan.clone(),
            outcomes: BTreeMap::new(),
            told: BTreeMap::new(),
            probed: BTreeMap::new(),
            restarted_after_reload: Vec::new(),
            gated: BTreeMap::new(),
            released: Vec::new(),
            failures: Vec::new(),
            recovered: recovered.count,
            faults: seen.faults.clone(),
            boot: seen.facts.boot.clone(),
        }
    }

    /// Records that a step failed, and why.
    pub(super) fn fail(&mut self, ledger: &mut Ledger, step: &HookPlan, now: OffsetDateTime, reason: String) {
        error!(hook = %step.hook, reason, "{}: not made, the old files stand: {reason}", step.hook);
        ledger.record_failure(step.hook.clone(), seconds(now), self.boot.as_deref(), reason.clone());
        self.outcomes.insert(step.hook.clone(), Outcome::Failed(reason));
    }

    /// Records that something self-signed stands in for what the certificate manager was asked for.
    pub(super) fn stand_in(&mut self, ledger: &mut Ledger, step: &HookPlan, now: OffsetDateTime, why: &str) {
        let told = format!("{}: a self-signed certificate stands in: {why}", step.hook);
        warn!(hook = %step.hook, "{told}");
        ledger.record_failure(step.hook.clone(), seconds(now), self.boot.as_deref(), why.to_owned());
        ledger.blame_manager(&step.hook);
        self.failures.push(told);
    }

    /// Why what a hook's units would serve is stale after this run; nothing when it is not.
    pub(super) fn why_stale(&self, planned: &Plan, hook: &HookPlan) -> Option<String> {
        let is_tided_over = |name: &HookName| {
            let owner = planned.hooks.iter().find(|planned| planned.hook == *name);
            owner.is_none_or(HookPlan::is_tided_over)
        };
        if hook.is_tided_over() && hook.borrowed.values().all(is_tided_over) {
            return None;
        }
        let failed = |name: &HookName| match self.outcomes.get(name) {
            Some(Outcome::Failed(reason)) => Some(reason.clone()),
            _ => None,
        };
        let lent = || hook.borrowed.values().find_map(failed);
        let put_off = || {
            let stale = planned.serves_stale(hook);
            self.plan.put_off.as_ref().filter(|_| stale).map(ToString::to_string)
        };
        let deferred = |name: &HookName| {
            let planned = planned.hooks.iter().find(|planned| planned.hook == *name)?;
            planned.deferred.as_ref().map(ToString::to_string)
        };
        let lent_later = || hook.borrowed.values().find_map(deferred);
        let own_later = || hook.deferred.as_ref().map(ToString::to_string);
        failed(&hook.hook).or_else(lent).or_else(put_off).or_else(own_later).or_else(lent_later)
    }

    /// Says whether something is left that a later run could do, though nothing is changed.
    pub(super) fn leaves_something(&self) -> bool {
        self.has_failed() || self.plan.hooks.iter().any(|hook| hook.deferred.is_some())
    }
}

fn renewals<'a>(plan: &'a Plan, hook: &HookName, entry: &'a Entry) -> Vec<Renewal<'a>> {
    let tasks = plan.hooks.iter().filter(|planned| planned.hook == *hook).flat_map(|planned| &planned.tasks);
    let made = tasks.filter(|task| task.action == Action::Make);
    made.flat_map(|task| task.bundle.artifacts.iter().map(move |artifact| (task, artifact)))
        .filter_map(|(task, artifact)| {
            let (path, made) = entry.file.get_key_value(&artifact.real)?;
            Some(Renewal {
                path,
                serial: made.serial,
                was: task.fingerprint.as_deref().filter(|_| made.fingerprint.is_some()),
                now: made.fingerprint.as_deref(),
                secret: matches!(task.bundle.what, What::Secret(_)),
            })
        })
        .collect()
}

/// A line of the history.
pub(super) fn history(run: &RunId, hook: &HookName, outcome: &Outcome, plan: &Plan) -> serde_json::Value {
    let planned = plan.hooks.iter().find(|planned| planned.hook == *hook);
    let reasons: Vec<String> = planned
        .into_iter()
        .flat_map(|planned| &planned.tasks)
        .flat_map(|task| task.reasons.iter().map(ToString::to_string))
        .collect();
    match outcome {
        Outcome::Made(entry) => {
            let made = renewals(plan, hook, entry);
            let files: Vec<&Path> = made.iter().map(|renewal| renewal.path).collect();
            let mut line = serde_json::json!({ "run": run, "hook": hook, "made": files, "because": reasons });
            let (keys, secrets): (Vec<_>, Vec<_>) = made
                .iter()
                .filter(|renewal| renewal.now.is_some() || renewal.secret)
                .partition(|r| !r.secret);
            if let Some(line) = line.as_object_mut() {
                if !keys.is_empty() {
                    line.insert("host-keys".into(), serde_json::json!(keys));
                }
                if !secrets.is_empty() {
                    let paths: Vec<&Path> = secrets.iter().map(|secret| secret.path).collect();
                    line.insert("secrets".into(), serde_json::json!(paths));
                }
            }
            line
        }
        Outcome::Failed(error) => {
            serde_json::json!({ "run": run, "hook": hook, "failed": error, "because": reasons })
        }
    }
}

/// The history is for people; a run that could not write a line of it has not failed.
pub(super) fn note(world: World<'_>, lock: &Lock, line: &serde_json::Value) {
    if let Err(error) = store::note(world.root, lock, line) {
        warn!(%error, "the history could not be written, proceeding");
    }
}
