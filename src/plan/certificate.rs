//! What becomes of certificates: those that we made hold until what they were made for has changed, all
//! others speak for themselves.

use std::collections::BTreeSet;
use std::path::Path;

use time::Duration;

use super::{Action, Decision, HookFacts, Reason, Task};
use crate::artifact::{self, Bundle, Certificates, Found, Verdict};
use crate::ledger::Entry;

impl Decision<'_> {
    /// Decides about a key with its certificates.
    pub(super) fn certificate_task(
        &self,
        hook: &HookFacts,
        entry: Option<&Entry>,
        bundle: &Bundle,
        certificates: &Certificates,
    ) -> Task {
        let verdict = bundle.verdict(self.names);
        let mut reasons = match &verdict {
            Verdict::Absent | Verdict::Managed => self.managed(hook, entry, bundle, certificates.days),
            other => self.unmanaged(bundle, certificates.models.len(), other.is_replaceable()),
        };
        let make = if self.is_put_off { Action::Wait } else { Action::Make };
        let action = if self.is_asked_for(bundle) {
            reasons.push(Reason::Asked);
            make
        } else if reasons.is_empty() {
            Action::Keep
        } else if verdict.is_replaceable() || hook.adopt {
            make
        } else {
            Action::Leave
        };
        Task::new(bundle, verdict, reasons, action)
    }

    /// Reasons for files that we made, or that are not there: the ledger says for whom.
    pub(super) fn managed(
        &self,
        hook: &HookFacts,
        entry: Option<&Entry>,
        bundle: &Bundle,
        days: u32,
    ) -> Vec<Reason> {
        let mut reasons = missing(bundle, true);
        if let Some(entry) = entry
            // A name that is not fit for a certificate is no change: names flap while a machine boots.
            && self.proper.is_some()
        {
            let drift = self.facts.identity.drift_from(&entry.identity, &hook.watches);
            let learnt = self.facts.identity.learnt_since(&entry.identity, &hook.watches);
            reasons
                .extend([drift, learnt].into_iter().filter(|drift| !drift.is_empty()).map(Reason::Drifted));
        }
        // Of a short life the last third is its end, or it would be made anew at every run.
        let days = self.facts.renew_before_days.min(days / 3);
        let limit = self.facts.now + Duration::days(i64::from(days));
        let ends = bundle.artifacts.iter().filter_map(|artifact| match &artifact.found {
            // Somebody else renews it, up to its end.
            Found::Ours(made) if made.issuer.is_some() => made.not_after.filter(|end| *end <= self.facts.now),
            Found::Ours(made) => made.not_after.filter(|end| *end <= limit),
            _ => None,
        });
        reasons.extend(ends.min().map(|at| Reason::Ends { at }));
        reasons
    }

    /// Reasons for files that the ledger does not know: they speak for themselves.
    ///
    /// A certificate that is somebody else's, at a place of their own, need not name this machine: a
    /// customer's virtual host does not. It no longer holds when it names whom this machine was.
    fn unmanaged(&self, bundle: &Bundle, models: usize, is_replaceable: bool) -> Vec<Reason> {
        let mut reasons = missing(bundle, false);
        if bundle.artifacts.iter().any(|artifact| artifact.content().is_some_and(|there| there.from_image)) {
            reasons.push(Reason::FromImage);
        }
        let keys: Vec<(&Path, &[u8; 32])> = bundle
            .artifacts
            .iter()
            .filter_map(|a| Some((a.path.as_path(), a.content()?.key.as_ref()?.as_ref().ok()?)))
            .collect();
        for model in 0..models {
            let Some(certificate) = bundle.certificate(model) else { continue };
            let names = certificate.names();
            let named = self
                .proper
                .is_none_or(|name| names.contains(name.as_str()) || certificate.covers(name.as_str()));
            let nobody = names.iter().all(|name| name.starts_with("localhost"));
            let ours = is_replaceable || bundle.artifacts.iter().any(|artifact| artifact.default_path);
            let concerns_us = ours || nobody || names.iter().any(|name| self.names.contains(name));
            if concerns_us && (!named || nobody) {
                let says = if names.is_empty() { "no name".into() } else { join(&names) };
                reasons.push(Reason::Names { says });
            }
            reasons.extend(artifact::claims_something_untrue(certificate).map(Reason::Untrue));
            if certificate.not_after <= self.facts.now {
                reasons.push(Reason::Ends { at: certificate.not_after });
            }
            if let Some((path, _)) = keys.iter().find(|(_, digest)| **digest != certificate.public_digest) {
                reasons.push(Reason::KeyMismatch((*path).to_owned()));
            }
        }
        reasons.dedup();
        reasons
    }
}

/// A copy that nobody has made yet is no reason to make its certificate anew.
pub(super) fn missing(bundle: &Bundle, with_copies: bool) -> Vec<Reason> {
    let counts = bundle.artifacts.iter().filter(|artifact| with_copies || !artifact.copy);
    let files = counts.filter(|a| a.found == Found::Absent).map(|a| a.path.clone());
    let links = bundle.artifacts.iter().filter_map(|artifact| match &artifact.found {
        Found::Ours(made) => made.links.iter().find(|link| !artifact.links.contains(*link)).cloned(),
        _ => None,
    });
    files.chain(links).map(Reason::Missing).collect()
}

pub(super) fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
