//! Why a run leaves a hook for a later one, although it is stale.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::{Decision, HookFacts, HookPlan, Stage};
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
    /// Decides for a hook whose checks and units, also those of its borrowers, are known.
    pub(super) fn deferral(&self, plan: &HookPlan) -> Option<Deferral> {
        let hook = self.facts.hooks.get(&plan.hook).filter(|_| plan.makes_something())?;
        self.needs_later_stage(plan, hook)
            .or_else(|| self.unanswered(hook))
            .or_else(|| self.pause(&plan.hook))
    }

    fn needs_later_stage(&self, plan: &HookPlan, hook: &HookFacts) -> Option<Deferral> {
        let needs = match self.request.stage {
            Some(Stage::Early | Stage::Boot) if wants_addresses(hook) => "the machine's addresses",
            Some(Stage::Early | Stage::Boot) if self.domain_is_asked_for(hook) => "the domain from DNS",
            // Programs of the system are not started before the system is.
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

fn wants_addresses(hook: &HookFacts) -> bool {
    let models = hook.bundles.iter().flat_map(|bundle| &bundle.models);
    hook.watches.contains(&Facet::Addresses)
        || models.flat_map(|model| &model.names).any(|name| *name == ExtraName::Addresses)
}
