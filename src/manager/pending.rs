//! What is still to be done after a certificate has changed: remembered on disk for each host until it has
//! been done, so that a server that is down, or a program that fails, is neither forgotten nor in the way of
//! the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::config::Sort;
use super::record;
use crate::fault::Fault;

/// The version of the format that this program writes, and the highest that it reads. Version 1 knows no `probe`.
const VERSION: u32 = 2;

/// One thing to do; the order of the variants is that in which they are done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Bring a host what it needs of the production copy, and the jails on it.
    Deliver {
        /// Which.
        host: String,
    },
    /// Run one of `post_copy_cmd`.
    AfterCopy {
        /// Its argument.
        host: String,
        /// The program.
        program: String,
    },
    /// Run one of a table's `restart_cmd`.
    Restart {
        /// Which table.
        sort: Sort,
        /// On which machine.
        host: String,
        /// Which of the table's commands, counted from 0: they run in the order in which they are written.
        position: usize,
        /// Program and arguments.
        command: Vec<String>,
    },
    /// See whether what a host shows is what it was given.
    Probe {
        /// Which table says where it is asked.
        sort: Sort,
        /// Which host.
        host: String,
    },
    /// Have the agent of this machine install what it serves of the manager's.
    Agent,
    /// Put a group's TLSA records where the zone includes them, and have the zone read again.
    Zone {
        /// The apex domain.
        apex: String,
    },
}

impl Action {
    /// The machine that it is about, where it is about one.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Deliver { host }
            | Self::AfterCopy { host, .. }
            | Self::Restart { host, .. }
            | Self::Probe { host, .. } => Some(host),
            Self::Agent | Self::Zone { .. } => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver { host } => write!(f, "{host}: copy of the production tree"),
            Self::AfterCopy { host, program } => write!(f, "{program} {host}"),
            Self::Restart { host, command, .. } => write!(f, "{host}: {}", command.join(" ")),
            Self::Probe { host, .. } => write!(f, "{host}: what is served"),
            Self::Agent => f.write_str("reseed apply on this machine"),
            Self::Zone { apex } => write!(f, "{apex}: TLSA records into the zone"),
        }
    }
}

/// How an action stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    /// Since when it is to be done.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The groups whose certificates changed: the zones of these wait for it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// How often it was tried in vain.
    #[serde(default)]
    pub attempts: u32,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Everything that is still to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending(BTreeMap<Action, State>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    #[serde(default)]
    action: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    action: Action,
    #[serde(flatten)]
    state: State,
}

impl Pending {
    /// Reads what was recorded.
    ///
    /// # Errors
    /// [`Fault`] with the position; also for a newer version.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let text: Text = record::read(path, text, VERSION)?;
        Ok(Self(text.action.into_iter().map(|entry| (entry.action, entry.state)).collect()))
    }

    /// The text of it.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        let action = self
            .iter()
            .map(|(action, state)| Entry { action: action.clone(), state: state.clone() })
            .collect();
        toml::to_string(&Text { version: VERSION, action }).map_err(|error| error.to_string())
    }

    /// Adds an action, for the sake of some groups; one that is known already starts anew, because what it
    /// brings is newer.
    pub fn add(&mut self, action: Action, groups: impl IntoIterator<Item = String>, now: OffsetDateTime) {
        let fresh = State { since: now, groups: BTreeSet::new(), attempts: 0, error: None };
        let state = self.0.entry(action).or_insert(fresh);
        (state.attempts, state.error) = (0, None);
        state.groups.extend(groups);
    }

    /// Adds an action that is found by looking: one that is known already goes on counting its attempts.
    pub fn add_new(&mut self, action: Action, now: OffsetDateTime) {
        if !self.contains(&action) {
            self.add(action, [], now);
        }
    }

    /// Forgets an action, because it has been done or nobody wants it any more.
    pub fn done(&mut self, action: &Action) {
        self.0.remove(action);
    }

    /// Records a failed attempt.
    pub fn failed(&mut self, action: &Action, error: String) {
        if let Some(state) = self.0.get_mut(action) {
            state.attempts = state.attempts.saturating_add(1);
            state.error = Some(error);
        }
    }

    /// All actions in the order in which they are done.
    pub fn iter(&self) -> impl Iterator<Item = (&Action, &State)> {
        self.0.iter()
    }

    /// Says whether nothing is left to be done.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether an action is still to be done.
    pub fn contains(&self, action: &Action) -> bool {
        self.0.contains_key(action)
    }

    /// Says whether servers of a group have yet to take up a new certificate: until then the records of the
    /// old one stay in the zone.
    pub fn holds_back(&self, group: &str) -> bool {
        self.0.iter().any(|(action, state)| {
            let serves = matches!(
                action,
                Action::Deliver { .. } | Action::Restart { .. } | Action::Probe { .. } | Action::Agent
            );
            serves && state.groups.contains(group)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-25 10:00 UTC);

    fn restart(sort: Sort, host: &str, position: usize, program: &str) -> Action {
        Action::Restart { sort, host: host.into(), position, command: vec![program.into(), "reload".into()] }
    }

    fn all() -> [Action; 8] {
        [
            Action::Deliver { host: "mx2.example.com".into() },
            Action::AfterCopy { host: "pbx.example.com".into(), program: "/usr/local/bin/own".into() },
            restart(Sort::Smtp, "mx1.example.com", 0, "postmap"),
            restart(Sort::Smtp, "mx1.example.com", 1, "postfix"),
            restart(Sort::Web, "www.example.com", 0, "nginx"),
            Action::Probe { sort: Sort::Web, host: "www.example.com".into() },
            Action::Agent,
            Action::Zone { apex: "example.com".into() },
        ]
    }

    #[test]
    fn zones_come_last_and_commands_in_their_order() {
        let mut pending = Pending::default();
        for action in all().into_iter().rev() {
            pending.add(action, ["example.com".to_owned()], NOW);
        }
        assert_eq!(pending.iter().map(|(action, _)| action.clone()).collect::<Vec<_>>(), all());
    }

    #[test]
    fn it_survives_its_text_with_errors_and_all() {
        let mut pending = Pending::default();
        all().into_iter().for_each(|action| pending.add(action, ["example.com".to_owned()], NOW));
        pending.failed(&all()[4], "nginx: exit status 1".into());
        pending.failed(&all()[4], "nginx: exit status 2".into());
        let text = pending.to_text().unwrap();
        let again = Pending::parse(Path::new("pending.toml"), &text).unwrap();
        assert_eq!(again, pending);
        let (_, state) = again.iter().find(|(action, _)| **action == all()[4]).unwrap();
        assert_eq!((state.attempts, state.error.as_deref()), (2, Some("nginx: exit status 2")));
    }

    #[test]
    fn what_the_first_version_wrote_is_read() {
        let text = include_str!("../../tests/fixtures/pending-v1.toml");
        let mut pending = Pending::parse(Path::new("pending-v1.toml"), text).unwrap();
        let found: Vec<Action> = pending.iter().map(|(action, _)| action.clone()).collect();
        let known = all().into_iter().filter(|action| !matches!(action, Action::Probe { .. }));
        assert_eq!(found, known.collect::<Vec<_>>());
        assert!(pending.holds_back("example.com"));
        pending.done(&all()[0]);
        assert_eq!(Pending::parse(Path::new("p"), &pending.to_text().unwrap()), Ok(pending));
    }

    #[test]
    fn a_newer_version_and_junk_are_refused_with_their_position() {
        let fault = |text| Pending::parse(Path::new("p"), text).unwrap_err().to_string();
        assert!(fault("version = 3\nnew = 1\n").contains("newer"));
        assert!(fault("version = 1\n[[action]]\ndo = \"dance\"\n").starts_with("p:"));
    }

    #[test]
    fn only_servers_of_the_group_hold_its_zone_back() {
        let mut pending = Pending::default();
        pending.add(all()[7].clone(), ["example.com".to_owned()], NOW);
        assert!(!pending.holds_back("example.com"));
        pending.add(all()[4].clone(), ["example.com".to_owned()], NOW);
        assert!(pending.holds_back("example.com") && !pending.holds_back("example.net"));
        pending.done(&all()[4]);
        assert!(!pending.holds_back("example.com"));
        pending.add(all()[5].clone(), ["example.com".to_owned()], NOW);
        assert!(pending.holds_back("example.com"), "it may show the old one still");
    }
}
