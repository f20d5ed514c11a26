//! What becomes of host keys and secrets: they follow the machine, whatever it is called, and only
//! a clone gets new ones.

use std::collections::BTreeSet;

use super::{Action, Decision, HookFacts, Reason, Task};
use crate::artifact::{Bundle, Found, Verdict, What};
use crate::identity::{Drift, Facet, Kind};
use crate::ledger::Entry;

/// What is known beside the file itself.
#[derive(Debug, Clone, Copy)]
struct Around<'a> {
    /// In what the machine of the record and the present one differ.
    drift: &'a Drift,
    /// Something tells this machine from others.
    is_known: bool,
    /// The machine as a whole is known to be a clone.
    is_clone: bool,
    /// Another host key of the same hook is there.
    has_siblings: bool,
}

impl Decision<'_> {
    /// Decides about a host key or a secret.
    pub(super) fn machine_task(&self, hook: &HookFacts, entry: Option<&Entry>, bundle: &Bundle) -> Task {
        let recorded = entry.and_then(|entry| entry.machine.as_ref());
        let watched = BTreeSet::from(Facet::MACHINE);
        let drift = recorded.map(|record| self.facts.identity.drift_from(record, &watched));
        let around = Around {
            drift: &drift.unwrap_or_default(),
            is_known: self.facts.identity.is_known_machine(),
            is_clone: self.kinds.contains(&Kind::Cloned),
            has_siblings: matches!(bundle.what, What::HostKey(_)) && has_host_key(hook),
        };
        let absent = Found::Absent;
        let found = bundle.secret_file().map_or(&absent, |file| &file.found);
        let (verdict, mut action, reason) = decide(found, around);
        let mut reasons: Vec<Reason> = reason.map(|reason| reason.at(bundle)).into_iter().collect();
        if self.is_asked_for(bundle) {
            reasons.push(Reason::Asked);
            action = Action::Make;
        }
        let mut task = Task::new(bundle, verdict, reasons, action);
        // Clients still know the one that is gone.
        if action == Action::Make && task.fingerprint.is_none() {
            let recorded = entry.zip(bundle.secret_file());
            let recorded = recorded.and_then(|(entry, file)| entry.file.get(&file.real));
            task.fingerprint = recorded.and_then(|made| made.fingerprint.clone());
        }
        task
    }
}

fn has_host_key(hook: &HookFacts) -> bool {
    let keys = hook.bundles.iter().filter(|bundle| matches!(bundle.what, What::HostKey(_)));
    keys.filter_map(Bundle::secret_file).any(|file| file.found != Found::Absent)
}

/// Why something is made.
enum Why {
    Missing,
    Cloned(Drift),
    FromImage,
}

impl Why {
    fn at(self, bundle: &Bundle) -> Reason {
        match self {
            Self::Missing => {
                Reason::Missing(bundle.secret_file().map(|file| file.path.clone()).unwrap_or_default())
            }
            Self::Cloned(drift) => Reason::Cloned(drift),
            Self::FromImage => Reason::FromImage,
        }
    }
}

/// The rules, in the order of what lies there.
fn decide(found: &Found, around: Around<'_>) -> (Verdict, Action, Option<Why>) {
    match found {
        // Whatever were made or recorded here, every machine made from this image would have it.
        Found::Absent if !around.is_known => (Verdict::Absent, Action::Keep, None),
        Found::Other(_) if !around.is_known => {
            let why = "it is not recorded, because nothing tells yet which machine this is";
            (Verdict::Foreign(why.into()), Action::Keep, None)
        }
        // An administrator who took one of several away does not want it back; an image that was
        // sealed has none, and needs all.
        Found::Absent if around.has_siblings => (Verdict::Absent, Action::Keep, None),
        Found::Absent => (Verdict::Absent, Action::Make, Some(Why::Missing)),
        Found::Unreadable(why) => (Verdict::Foreign(format!("it cannot be read: {why}")), Action::Keep, None),
        Found::Ours(_) if around.drift.is_empty() => (Verdict::Recorded, Action::Keep, None),
        Found::Ours(_) => (Verdict::Recorded, Action::Make, Some(Why::Cloned(around.drift.clone()))),
        Found::Other(content) if content.from_image => (
            Verdict::Unrecorded("it was in the image that this machine was made from".into()),
            Action::Make,
            Some(Why::FromImage),
        ),
        // A package, an installer, cloud-init or the administrator made it after what is recorded:
        // whether for this machine is not known, and what is not known is not changed.
        Found::Other(content) => {
            let what =
                if content.was_ours { "it is not the one that is recorded" } else { "it was not recorded" };
            let doubt = if around.is_clone { "; on a clone it may be the original's, too" } else { "" };
            (Verdict::Unrecorded(format!("{what}{doubt}")), Action::Note, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Content;
    use crate::identity::{Finding, Fingerprint, Identity};
    use crate::ledger::{Digest, Made};

    fn drift() -> Drift {
        let machine = |id| Identity {
            hostname: Finding::unknown("test"),
            domain: Finding::unknown("test"),
            addresses: Finding::unknown("test"),
            machine_id: Finding::known(Fingerprint::of("machine-id", id), "test"),
            hardware: Finding::unknown("test"),
            seed: Finding::unknown("test"),
        };
        machine("new").drift_from(&machine("old").to_record(None), &BTreeSet::from(Facet::MACHINE))
    }

    fn other(was_ours: bool) -> Found {
        let digest = Digest::of(b"other");
        Found::Other(Box::new(Content {
            digest,
            was_ours,
            certificate: None,
            key: None,
            fingerprint: None,
            from_image: false,
        }))
    }

    #[test]
    fn the_rules() {
        let ours = || Found::Ours(Made::of(b"key"));
        let denied = || Found::Unreadable("permission denied".into());
        let (same, cloned) = (false, true);
        // name, what lies there, clone, siblings, what is done, the verdict holds
        let cases = [
            ("as recorded", ours(), same, true, Action::Keep, "as recorded"),
            ("as recorded, on a clone", ours(), cloned, true, Action::Make, "as recorded"),
            ("found, not recorded", other(false), same, true, Action::Note, "it was not recorded"),
            (
                "found, not recorded, on a clone",
                other(false),
                cloned,
                true,
                Action::Note,
                "may be the original's",
            ),
            ("replaced by somebody", other(true), same, true, Action::Note, "not the one that is recorded"),
            ("replaced by cloud-init on a clone", other(true), cloned, true, Action::Note, "not the one"),
            ("taken away, others are there", Found::Absent, same, true, Action::Keep, "absent"),
            ("taken away, others are there, on a clone", Found::Absent, cloned, true, Action::Keep, "absent"),
            ("a sealed image", Found::Absent, same, false, Action::Make, "absent"),
            ("a sealed image, on a clone", Found::Absent, cloned, false, Action::Make, "absent"),
            ("not for this user", denied(), same, true, Action::Keep, "cannot be read"),
            ("not for this user, on a clone", denied(), cloned, true, Action::Keep, "cannot be read"),
        ];
        for (case, found, is_clone, has_siblings, expected, words) in cases {
            let drift = if is_clone { drift() } else { Drift::default() };
            let around = Around { drift: &drift, is_known: true, is_clone, has_siblings };
            let (verdict, action, reason) = decide(&found, around);
            assert_eq!(action, expected, "{case}");
            let (_, in_an_image, _) =
                decide(&found, Around { is_known: false, drift: &Drift::default(), ..around });
            assert_eq!(in_an_image, Action::Keep, "{case}, of an image that has no machine yet");
            assert!(verdict.to_string().contains(words), "{case}: {verdict}");
            assert_eq!(reason.is_some(), expected == Action::Make, "{case}: what is made has a reason");
        }
    }
}
