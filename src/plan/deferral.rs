//! Why a run leaves a hook for a later one, although it is stale.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::{Action, Decision, HookFacts, HookPlan, Reason, Stage, Supply, Task};
use crate::artifact::What;
use crate::hook::ExtraName;
use crate::identity::{Facet, Finding};

/// Why a run leaves a stale hook as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Deferral {
    /// A later part of the boot does it.
    Later {
        /// What is not to be had yet.
        needs: &'static str,
    },
    /// A source that the settings name has not answered.
    Unanswered {
        /// Which, in words.
        source: String,
    },
    /// The certificate manager has nothing that would do.
    Manager {
        /// What is waited for, in words.
        reason: String,
    },
    /// It failed a short while ago.
    Failed {
        /// Why, in words.
        error: String,
        /// When a run that nobody asks for tries again.
        #[serde(with = "time::serde::rfc3339")]
        again: OffsetDateTime,
    },
}

impl fmt::Display for Deferral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later { needs } => write!(f, "it is made later in this boot: it needs {needs}"),
            Self::Unanswered { source } => write!(f, "it waits for an answer: {source}"),
            Self::Manager { reason } => f.write_str(reason),
            Self::Failed { error, .. } => f.write_str(error),
        }
    }
}

impl Decision<'_> {
    /// Leaves what this run cannot make, or should not try again yet, for a later one. Host keys and
    /// secrets need neither name nor network nor anybody's opinion.
    pub(super) fn defer(&self, plan: &mut HookPlan) {
        if plan.has(Action::Make) {
            self.defer_what_is_made(plan);
        }
        if plan.deferred.is_none() {
            plan.deferred = plan.tasks.iter().find_map(awaits);
        }
    }

    fn defer_what_is_made(&self, plan: &mut HookPlan) {
        plan.deferred = self.pause(plan);
        let everything = plan.deferred.is_some();
        if let Some(hook) = self.facts.hooks.get(&plan.hook).filter(|_| !everything)
            && plan.tasks.iter().any(is_certificate_to_make)
        {
            plan.deferred = self.needs_later_stage(plan, hook).or_else(|| self.unanswered(plan, hook));
        }
        if self.request.stage == Some(Stage::Early) {
            // Programs of the system are not started before the system is.
            plan.checks.clear();
        }
        if plan.deferred.is_some() {
            for task in plan.tasks.iter_mut().filter(|task| everything || is_certificate_to_make(task)) {
                if task.action == Action::Make {
                    task.action = Action::Wait;
                }
            }
        }
    }

    fn needs_later_stage(&self, plan: &HookPlan, hook: &HookFacts) -> Option<Deferral> {
        let made = || plan.tasks.iter().filter(|task| is_certificate_to_make(task));
        let issues = made().any(|task| task.supply == Supply::Own);
        let asks = made().any(|task| task.supply == Supply::Asked);
        let needs = match self.request.stage {
            Some(Stage::Early | Stage::Boot) if issues && wants_addresses(hook) => "the machine's addresses",
            Some(Stage::Early | Stage::Boot) if issues && self.domain_is_asked_for(hook) => {
                "the domain from DNS"
            }
            // What it rolls, it tells services of that are ordered after this stage.
            Some(Stage::Early | Stage::Boot) if asks => "the certificate manager",
            Some(Stage::Early) if !plan.checks.is_empty() => "its program's own check",
            _ => return None,
        };
        Some(Deferral::Later { needs })
    }

    /// A certificate for half a name helps nobody; who asks for it by hand gets it.
    fn unanswered(&self, plan: &HookPlan, hook: &HookFacts) -> Option<Deferral> {
        let issues = |task: &Task| is_certificate_to_make(task) && task.supply == Supply::Own;
        if !plan.tasks.iter().any(issues) {
            return None;
        }
        match &self.facts.identity.domain {
            Finding::Unknown { unknown } if self.request.unattended && self.domain_is_asked_for(hook) => {
                Some(Deferral::Unanswered { source: format!("the domain: {unknown}") })
            }
            _ => None,
        }
    }

    fn domain_is_asked_for(&self, hook: &HookFacts) -> bool {
        let unknown = self.facts.identity.domain.value().is_none();
        self.facts.domain_from_dns && unknown && hook.watches.contains(&Facet::Domain)
    }

    fn pause(&self, plan: &HookPlan) -> Option<Deferral> {
        let failure = self.ledger.failure.get(&plan.hook).filter(|_| self.request.unattended)?;
        // What the manager did not deliver then is there now.
        let asks = |task: &Task| task.action == Action::Make && task.supply == Supply::Asked;
        if failure.of_manager && !plan.tasks.iter().any(asks) {
            return None;
        }
        let due = failure.is_due(self.facts.now, self.facts.boot.as_deref(), self.facts.disable_after_boots);
        (!due).then(|| Deferral::Failed { error: failure.error.clone(), again: failure.again_at() })
    }
}

/// What a task that waits for the manager waits for.
fn awaits(task: &Task) -> Option<Deferral> {
    let awaited = |reason: &&Reason| matches!(reason, Reason::Awaits { .. });
    let reason = task.reasons.iter().filter(|_| task.action == Action::Wait).find(awaited)?;
    Some(Deferral::Manager { reason: reason.to_string() })
}

fn is_certificate_to_make(task: &Task) -> bool {
    task.action == Action::Make && matches!(task.bundle.what, What::Certificates(_))
}

fn wants_addresses(hook: &HookFacts) -> bool {
    let certificates = hook.bundles.iter().filter_map(|bundle| match &bundle.what {
        What::Certificates(certificates) => Some(&certificates.models),
        _ => None,
    });
    let models = certificates.flatten();
    hook.watches.contains(&Facet::Addresses)
        || models.flat_map(|model| &model.names).any(|name| *name == ExtraName::Addresses)
}
