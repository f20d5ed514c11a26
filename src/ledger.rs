//! The ledger: what we made, for which identity, with which serial and digest, hook by hook.
//!
//! Recorded per hook, so that a run that dies half-way leaves exactly the unfinished hooks stale.
//! It holds digests and names, never a key, never the machine-id itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use crate::fault::Fault;
use crate::hook::{HookName, Issuer, Policy};
use crate::identity::{Facet, Identity, Record};
use crate::pki::serial::Serial;

/// The version of the format that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// Everything that is recorded of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ledger {
    version: u32,
    /// The highest serial that was ever set aside for a certificate of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_serial: Option<Serial>,
    /// Every proper name that this machine went by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// The machine as the last run found it that was not put off. What follows the machine is never
    /// put off: machine-id and hardware are those of the last run of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Record>,
    /// What was made, by hook.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hook: BTreeMap<HookName, Entry>,
    /// Hooks whose last run failed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failure: BTreeMap<HookName, Failure>,
    /// Units that are held back, with what they were before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gate: BTreeMap<String, Gate>,
    /// Units that the administrator let go although they were stale.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiver: BTreeMap<String, Waiver>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            version: VERSION,
            highest_serial: None,
            names: BTreeSet::new(),
            identity: None,
            hook: BTreeMap::new(),
            failure: BTreeMap::new(),
            gate: BTreeMap::new(),
            waiver: BTreeMap::new(),
        }
    }
}

/// What one hook's last successful run made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// The run that made it.
    pub run: RunId,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub made: OffsetDateTime,
    /// For whom.
    pub identity: Record,
    /// Whose host keys and secrets these are; they follow the machine and none of its names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Record>,
    /// The files, by their path with all links followed.
    pub file: BTreeMap<PathBuf, Made>,
}

/// One file that was made, or that was found and follows this machine from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Made {
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// The serial of the certificate in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    /// The end of that certificate's validity.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<OffsetDateTime>,
    /// The subject-hash links that lead to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub links: BTreeSet<PathBuf>,
    /// Of an SSH host key, as `ssh-keygen -l` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Who issued what is in it, when that was not itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
}

impl Made {
    /// A file of which nothing but its content is to be said.
    pub fn of(content: &[u8]) -> Self {
        Self {
            sha256: Digest::of(content),
            serial: None,
            not_after: None,
            links: BTreeSet::new(),
            fingerprint: None,
            issuer: None,
        }
    }
}

/// A hook that could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Failure {
    /// How often in a row.
    pub attempts: u32,
    /// When last.
    #[serde(with = "time::serde::rfc3339")]
    pub last: OffsetDateTime,
    /// Why last, in words.
    pub error: String,
    /// In how many boots.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub boots: u32,
    /// In which boot last: the kernel's random id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Only the manager did not deliver: what it has delivered since is installed without a pause.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_manager: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The pause after a first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::minutes(1);
/// The longest pause between two tries of a run that nobody asked for.
const LONGEST_PAUSE: Duration = Duration::days(1);

impl Failure {
    /// When a run that nobody asked for may try again within the same boot.
    pub fn again_at(&self) -> OffsetDateTime {
        let doublings = self.attempts.saturating_sub(1).min(11);
        self.last + (FIRST_PAUSE * 2_i32.pow(doublings)).min(LONGEST_PAUSE)
    }

    /// Says whether a run that nobody asked for may try again: once in each of the first boots,
    /// else when the pause is over. A clock that went backwards holds nothing up.
    pub fn is_due(&self, now: OffsetDateTime, boot: Option<&str>, first_boots: u32) -> bool {
        let new_boot = boot.is_some() && boot != self.boot.as_deref();
        (new_boot && self.boots < first_boots.max(1)) || now >= self.again_at() || now < self.last
    }
}

/// A unit that the administrator let go although what it serves is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Waiver {
    /// The stale hooks at that time; it is forgotten when none of them is stale any more.
    pub hooks: BTreeSet<HookName>,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// A unit that is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gate {
    /// The hooks on whose account; it is released when none is left.
    pub hooks: BTreeSet<HookName>,
    /// How.
    pub policy: Policy,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why, in words.
    pub reason: String,
    /// What was changed of it and of the units that trigger it.
    pub former: Vec<Former>,
}

/// What a unit was before it was held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Former {
    /// Its name.
    pub unit: String,
    /// Whether it ran.
    pub active: bool,
    /// What was done to keep it from starting.
    pub change: GateChange,
}

/// What was done to keep a unit from starting, and so what a release has to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateChange {
    /// Nothing but stopping it: it would not have started by itself.
    Stopped,
    /// It was enabled and is disabled.
    Disabled,
    /// Disabling takes no effect on its kind; it is masked.
    Masked,
    /// Its condition fails while the mark is there.
    Held,
}

/// What names a run: the time it began, to the microsecond, so that names sort as runs came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// Makes the name of a run that begins at `now`.
    pub fn new(now: OffsetDateTime) -> Self {
        let (date, time) = (now.date(), now.time());
        Self(format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}-{:06}",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.microsecond()
        ))
    }

    /// The name as text: fit for a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let good = (8..=40).contains(&text.len()) && text.bytes().all(fits);
        if good { Ok(Self(text)) } else { Err(format!("{text:?} is no name of a run")) }
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// Computes it.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).iter().map(|octet| format!("{octet:02x}")).collect())
    }
}

impl Ledger {
    /// Reads a ledger's text.
    ///
    /// # Errors
    /// [`Fault`] with its position; a later version is refused, never guessed at.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Versioned {
            version: toml::Spanned<u32>,
        }
        let versioned: Versioned = toml::from_str(text).map_err(|error| Fault::toml(path, text, &error))?;
        if *versioned.version.as_ref() != VERSION {
            let message = format!(
                "version {} was written by another reseed; this one reads {VERSION}",
                versioned.version.as_ref()
            );
            return Err(Fault::at(path, text, versioned.version.span(), message));
        }
        toml::from_str(text).map_err(|error| Fault::toml(path, text, &error))
    }

    /// The text as it is written to disk.
    ///
    /// # Errors
    /// In the words of the library, for a path that is no UTF-8.
    pub fn to_text(&self) -> Result<String, String> {
        let body = toml::to_string(self).map_err(|error| format!("the ledger cannot be written: {error}"))?;
        Ok(format!("# Written by reseed: what it made, and for whom. Not to be edited.\n{body}"))
    }

    /// Records what a hook's run made, and that it no longer fails.
    pub fn record(&mut self, name: HookName, entry: Entry) {
        self.failure.remove(&name);
        self.hook.insert(name, entry);
    }

    /// Records that a hook's run failed in a boot, with the number of failures in a row.
    pub fn record_failure(&mut self, name: HookName, now: OffsetDateTime, boot: Option<&str>, error: String) {
        let before = self.failure.get(&name);
        let attempts = before.map_or(0, |failure| failure.attempts).saturating_add(1);
        let same_boot = before.is_some_and(|failure| failure.boots > 0 && failure.boot.as_deref() == boot);
        let boots = before.map_or(0, |failure| failure.boots).saturating_add(u32::from(!same_boot));
        let boot = boot.map(str::to_owned);
        self.failure.insert(name, Failure { attempts, last: now, error, boots, boot, of_manager: false });
    }

    /// Says of a recorded failure that only the manager did not deliver.
    pub fn blame_manager(&mut self, name: &HookName) {
        if let Some(failure) = self.failure.get_mut(name) {
            failure.of_manager = true;
        }
    }

    /// The latest time at which anything is recorded.
    pub fn latest(&self) -> Option<OffsetDateTime> {
        self.hook.values().map(|entry| entry.made).max()
    }

    /// Fills in what was not known of this machine when its host keys and secrets were recorded.
    pub fn complete(&mut self, now: &Identity) {
        let watched = BTreeSet::from(Facet::MACHINE);
        let machines = self.hook.values_mut().filter_map(|entry| entry.machine.as_mut());
        for record in machines.filter(|record| now.drift_from(record, &watched).is_empty()) {
            *record = now.to_record(Some(record)).of_machine();
        }
    }

    /// Records who the machine is; of a run that was put off, or left something for a later one, only
    /// which machine it is.
    pub fn know(&mut self, now: &Identity, is_put_off: bool) {
        let present = now.to_record(self.identity.as_ref());
        match &mut self.identity {
            None if is_put_off => {}
            Some(record) if is_put_off => {
                *record =
                    Record { machine_id: present.machine_id, hardware: present.hardware, ..record.clone() };
            }
            identity => *identity = Some(present),
        }
    }

    /// Takes the present machine for every recorded one: it was restored, not cloned.
    pub fn restore(&mut self, now: &Identity) {
        let entries = self.hook.values_mut();
        let records = entries.flat_map(|entry| [Some(&mut entry.identity), entry.machine.as_mut()]);
        records.chain([self.identity.as_mut()]).flatten().for_each(|record| record.take_machine(now));
    }

    /// What is recorded of a file, and by which hook.
    pub fn made(&self, path: &Path) -> Option<(&HookName, &Entry, &Made)> {
        self.hook.iter().find_map(|(name, entry)| Some((name, entry, entry.file.get(path)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Finding, Fingerprint};

    fn path() -> &'static Path {
        Path::new("/var/lib/reseed/ledger.toml")
    }

    #[test]
    fn version_1_is_frozen() {
        let text = include_str!("../tests/fixtures/ledger-v1.toml");
        let ledger = Ledger::parse(path(), text).unwrap();
        assert_eq!(ledger.hook.len(), 2);
        assert_eq!(ledger.gate.len(), 1);
        assert_eq!(ledger.to_text().unwrap(), text, "what was read is written as it was");
    }

    #[test]
    fn what_a_manager_issued_is_frozen_too() {
        let text = include_str!("../tests/fixtures/ledger-v1-issuer.toml");
        let ledger = Ledger::parse(path(), text).unwrap();
        let issuers = ledger.hook.values().flat_map(|entry| entry.file.values());
        let issuers: Vec<_> = issuers.filter_map(|made| made.issuer.as_ref()?.service()).collect();
        assert_eq!(issuers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["example.com/web-ec"; 2]);
        assert!(ledger.failure.values().all(|failure| failure.of_manager));
        assert_eq!(ledger.to_text().unwrap(), text, "what was read is written as it was");
    }

    #[test]
    fn what_follows_the_machine_is_frozen_too() {
        let text = include_str!("../tests/fixtures/ledger-v1-machine.toml");
        let mut ledger = Ledger::parse(path(), text).unwrap();
        assert_eq!(ledger.to_text().unwrap(), text, "what was read is written as it was");
        let known = |text| Finding::known(Fingerprint::of("test", text), "test");
        let silent = || Finding::unknown("silent");
        let now = Identity {
            hostname: Finding::known("www".into(), "test"),
            domain: Finding::unknown("silent"),
            addresses: Finding::unknown("silent"),
            machine_id: known("other"),
            hardware: silent(),
            seed: silent(),
        };
        let before = ledger.clone();
        ledger.restore(&now);
        let (entry, was) = (ledger.hook.values().next().unwrap(), before.hook.values().next().unwrap());
        for (record, was) in [
            (entry.machine.as_ref(), was.machine.as_ref()),
            (ledger.identity.as_ref(), before.identity.as_ref()),
        ] {
            let (record, was) = (record.unwrap(), was.unwrap());
            assert_eq!(record.machine_id.as_ref(), now.machine_id.value());
            assert_eq!(
                (&record.hardware, &record.hostname),
                (&was.hardware, &was.hostname),
                "the rest stays"
            );
        }
    }

    #[test]
    fn faults() {
        let cases = [
            ("later version", "version = 2\nnew = true\n", ":1:11: version 2"),
            ("no version", "", ":1:1: "),
            ("misspelt", "version = 1\nhooks = 1\n", ":2:1: unknown field"),
            ("no TOML", "version = 1\n[", ":2:2: "),
            ("bad serial", "version = 1\nhighest-serial = \"xyz\"\n", ":2:18: "),
        ];
        for (case, text, expected) in cases {
            let fault = Ledger::parse(path(), text).expect_err(case).to_string();
            assert!(fault.contains(expected), "{case}: {fault}");
        }
    }

    #[test]
    fn failures_are_counted_until_one_succeeds() {
        let name = HookName::parse("sendmail").unwrap();
        let mut ledger = Ledger::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        for (boot, error) in [("a", "first"), ("a", "second"), ("b", "third")] {
            ledger.record_failure(name.clone(), now, Some(boot), error.into());
        }
        let failure = &ledger.failure[&name];
        assert_eq!((failure.attempts, failure.boots, failure.error.as_str()), (3, 2, "third"));
        let entry = Entry {
            run: RunId::new(now),
            made: now,
            identity: Record::default(),
            machine: None,
            file: BTreeMap::new(),
        };
        ledger.record(name.clone(), entry);
        assert!(ledger.failure.is_empty() && ledger.hook.contains_key(&name));
    }

    #[test]
    fn when_a_run_that_nobody_asked_for_tries_again() {
        let at = |minutes: i64| OffsetDateTime::UNIX_EPOCH + Duration::days(1) + Duration::minutes(minutes);
        // failures in a row, in how many boots, the last in this boot, minutes since, due
        let cases = [
            ("at once after the first", 1, 1, true, 0, false),
            ("a minute after the first", 1, 1, true, 1, true),
            ("a minute after the second", 2, 1, true, 1, false),
            ("two minutes after the second", 2, 1, true, 2, true),
            ("in the next boot", 1, 1, false, 0, true),
            ("in the third boot", 2, 2, false, 0, true),
            ("in the boot after the first three", 3, 3, false, 0, false),
            ("the same, when the pause is over", 3, 3, false, 4, true),
            ("after many failures a day is enough", 4_000_000, 3, true, 24 * 60, true),
            ("but not less", 4_000_000, 3, true, 24 * 60 - 1, false),
            ("the clock went backwards", 3, 3, true, -60, true),
        ];
        for (case, attempts, boots, same_boot, minutes, due) in cases {
            let boot = Some(if same_boot { "this" } else { "earlier" }.to_owned());
            let error = String::new();
            let failure = Failure { attempts, last: at(0), error, boots, boot, of_manager: false };
            assert_eq!(failure.is_due(at(minutes), Some("this"), 3), due, "{case}");
        }
    }

    #[test]
    fn runs_are_named_by_their_time() {
        assert_eq!(RunId::new(OffsetDateTime::UNIX_EPOCH).as_str(), "19700101T000000-000000");
        assert!(RunId::try_from("../../etc/passwd".to_owned()).is_err());
    }
}
