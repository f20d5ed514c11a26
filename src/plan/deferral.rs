//! Why a run leaves a hook for a later one, although it is stale.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::{Action, Decision, HookFacts, HookPlan, Stage, Task};
use crate::artifact::What;
use crate::hook::{ExtraName, HookName};
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
            Self::Failed { error, .. } => f.write_str(error),
        }
    }
}

impl Decision<'_> {
    /// Leaves what this run cannot make, or should not try again yet, for a later one. Host keys and
    /// secrets need neither name nor network nor anybody's opinion.
    pub(super) fn defer(&self, plan: &mut HookPlan) {
        if !plan.has(Action::Make) {
            return;
        }
        plan.deferred = self.pause(&plan.hook);
        let everything = plan.deferred.is_some();
        if let Some(hook) = self.facts.hooks.get(&plan.hook).filter(|_| !everything)
            && plan.tasks.iter().any(is_certificate_to_make)
        {
            plan.deferred = self.needs_later_stage(plan, hook).or_else(|| self.unanswered(hook));
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
        let needs = match self.request.stage {
            Some(Stage::Early | Stage::Boot) if wants_addresses(hook) => "the machine's addresses",
            Some(Stage::Early | Stage::Boot) if self.domain_is_asked_for(hook) => "the domain from DNS",
            Some(Stage::Early) if !plan.checks.is_empty() => "its program's own check",
            _ => return None,
        };
        Some(Deferral::Later { needs })
    }

    /// A certificate for half a name helps nobody; who asks for it by hand gets it.
    fn unanswered(&self, hook: &HookFacts) -> Option<Deferral> {
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

    fn pause(&self, name: &HookName) -> Option<Deferral> {
        let failure = self.ledger.failure.get(name).filter(|_| self.request.unattended)?;
        let due = failure.is_due(self.facts.now, self.facts.boot.as_deref(), self.facts.disable_after_boots);
        (!due).then(|| Deferral::Failed { error: failure.error.clone(), again: failure.again_at() })
    }
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
