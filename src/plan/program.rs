//! What becomes of files that a hook's own program makes: the program says whether they hold, and the
//! ledger whether they are ours to replace.

use super::{Action, Decision, HookFacts, Reason, Task};
use crate::artifact::{Bundle, Found, Verdict};
use crate::hook::program::Answer;
use crate::ledger::Entry;

impl Decision<'_> {
    /// Decides about the files of a program.
    pub(super) fn program_task(
        &self,
        hook: &HookFacts,
        entry: Option<&Entry>,
        bundle: &Bundle,
        answer: &Answer,
    ) -> Task {
        let verdict = verdict(bundle, answer);
        let mut reasons = match answer {
            Answer::Unknown(_) => return Task::new(bundle, verdict, Vec::new(), Action::Keep),
            _ => self.managed(hook, entry, bundle, 0),
        };
        if let Answer::Stale(why) | Answer::Placeholder(why) = answer {
            reasons.push(Reason::Says(why.clone()));
        }
        let is_asked_for = self.is_asked_for(bundle);
        if is_asked_for {
            reasons.push(Reason::Asked);
        }
        let may_replace = is_asked_for || verdict.is_replaceable() || hook.adopt;
        let action = match (reasons.is_empty(), may_replace) {
            (true, _) => Action::Keep,
            (_, false) => Action::Leave,
            _ if self.is_put_off => Action::Wait,
            _ => Action::Make,
        };
        Task::new(bundle, verdict, reasons, action)
    }
}

/// One file that is somebody else's makes all of them theirs: they are made together.
fn verdict(bundle: &Bundle, answer: &Answer) -> Verdict {
    let mut verdict = Verdict::Absent;
    for artifact in &bundle.artifacts {
        let path = artifact.path.display();
        match (&artifact.found, answer) {
            (Found::Unreadable(why), _) => return Verdict::Foreign(format!("{path} cannot be read: {why}")),
            (Found::Other(content), _) if content.was_ours => {
                return Verdict::Modified(format!("{path} was made by reseed and has been changed since"));
            }
            (Found::Other(_), Answer::Placeholder(why)) => verdict = Verdict::Placeholder(why.clone()),
            (Found::Other(_), _) => return Verdict::Foreign(format!("{path} was there before")),
            (Found::Ours(_), _) if verdict == Verdict::Absent => verdict = Verdict::Managed,
            (Found::Ours(_) | Found::Absent, _) => {}
        }
    }
    verdict
}
