//! When each command of the manager last ran, and when it last did all that it had to: for metrics, and for
//! whoever asks whether the timer still does its work.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::record;
use crate::fault::Fault;

/// The version of the format that this program writes, and the highest that it reads.
const VERSION: u32 = 1;

/// How a command ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Which.
    pub command: String,
    /// When its last run ended.
    #[serde(with = "time::serde::rfc3339")]
    pub last: OffsetDateTime,
    /// When the last one ended that left nothing undone.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub success: Option<OffsetDateTime>,
    /// The last one failed, or left something undone.
    pub failed: bool,
}

/// Everything that is remembered of runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    commands: BTreeMap<String, Ran>,
    asked: BTreeMap<String, OffsetDateTime>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    #[serde(default)]
    run: Vec<Ran>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    asked: Vec<Asked>,
}

#[derive(Serialize, Deserialize)]
struct Asked {
    zone: String,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

impl History {
    /// Reads what was recorded.
    ///
    /// # Errors
    /// [`Fault`] with the position; also for a newer version.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let text: Text = record::read(path, text, VERSION)?;
        Ok(Self {
            commands: text.run.into_iter().map(|ran| (ran.command.clone(), ran)).collect(),
            asked: text.asked.into_iter().map(|asked| (asked.zone, asked.at)).collect(),
        })
    }

    /// The text of it.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        let asked = self.asked.iter().map(|(zone, at)| Asked { zone: zone.clone(), at: *at }).collect();
        let text = Text { version: VERSION, run: self.commands().cloned().collect(), asked };
        toml::to_string(&text).map_err(|error| error.to_string())
    }

    /// Records that a command ended.
    pub fn ended(&mut self, command: &str, failed: bool, now: OffsetDateTime) {
        let before = self.commands.get(command).and_then(|ran| ran.success);
        let success = if failed { before } else { Some(now) };
        self.commands
            .insert(command.to_owned(), Ran { command: command.to_owned(), last: now, success, failed });
    }

    /// Every command that ever ran, in the order of their names.
    pub fn commands(&self) -> impl Iterator<Item = &Ran> {
        self.commands.values()
    }

    /// Records that the name servers of a zone were asked for its mail exchangers, and answered.
    pub fn asked(&mut self, zone: &str, now: OffsetDateTime) {
        self.asked.insert(zone.to_owned(), now);
    }

    /// When the name servers of a zone last told its mail exchangers.
    pub fn last_asked(&self, zone: &str) -> Option<OffsetDateTime> {
        self.asked.get(zone).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_keeps_the_last_success() {
        let at = |hour| time::macros::datetime!(2026-11-25 00:00 UTC) + time::Duration::hours(hour);
        let mut history = History::default();
        history.ended("tend", true, at(1));
        history.ended("roll", false, at(1));
        history.asked("example.com", at(1));
        let told = |history: &History| {
            history
                .commands()
                .map(|ran| (ran.command.clone(), ran.last, ran.success, ran.failed))
                .collect::<Vec<_>>()
        };
        let roll = ("roll".to_owned(), at(1), Some(at(1)), false);
        let tend = |last, success, failed| ("tend".to_owned(), last, success, failed);
        assert_eq!(told(&history), [roll.clone(), tend(at(1), None, true)]);
        history.ended("tend", false, at(2));
        history.ended("tend", true, at(3));
        assert_eq!(told(&history), [roll, tend(at(3), Some(at(2)), true)]);
        let again = History::parse(Path::new("runs.toml"), &history.to_text().unwrap()).unwrap();
        assert_eq!(again, history);
        assert_eq!((again.last_asked("example.com"), again.last_asked("x")), (Some(at(1)), None));
        let newer = History::parse(Path::new("runs.toml"), "version = 2\nmore = 1\n").unwrap_err();
        assert_eq!(
            newer.to_string(),
            "runs.toml:1:11: version 2 was written by a newer reseed; this one reads 1"
        );
    }

    #[test]
    fn the_first_version_is_read_and_written_as_ever() {
        let text = include_str!("../../tests/fixtures/manager-runs-v1.toml");
        let history = History::parse(Path::new("runs.toml"), text).unwrap();
        assert_eq!(history.to_text().unwrap(), text);
        assert_eq!(history.commands().map(|ran| ran.failed).collect::<Vec<_>>(), [true, false]);
    }
}
