//! The settings: `reseed.toml` with its fragments, texts in, values out.
//!
//! Every setting has a default, so a machine without a settings file is a configured machine. Each
//! fragment is checked by itself, so that a fault has its own file and line; then the tables are
//! laid over one another, later over earlier, key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::fault::Fault;
use crate::hook::{HookName, Issuer, Policy};
use crate::pki::Algorithm;

/// What the administrator can set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    version: Version,
    /// Which sources of identity count.
    pub identity: Identity,
    /// What certificates are like where their hook leaves it open.
    pub certificates: Certificates,
    /// What happens to services whose files stay stale.
    pub gate: Gate,
    /// What is kept of replaced files.
    pub backups: Backups,
    /// When changes at run time are acted on.
    pub watch: Watch,
    /// Where the certificate manager is.
    pub manager: Manager,
    /// Where the machine reports what it is.
    pub fleet: Fleet,
    hook: BTreeMap<String, HookSettings>,
}

/// Which sources of identity count.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Identity {
    /// Take the kernel's name where `/etc/hostname` gives none: DHCP or hostnamed set it.
    pub transient_hostname: bool,
    /// Ask the resolver for the domain where no file gives one.
    pub domain_from_dns: bool,
    /// Interfaces whose addresses do not count, as patterns.
    pub ignore_interfaces: Vec<Pattern>,
    /// Addresses that do not count.
    pub ignore_addresses: BTreeSet<IpAddr>,
}

/// What certificates are like where their hook leaves it open.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Certificates {
    /// Kind of key.
    #[serde(deserialize_with = "crate::pki::agent_algorithm")]
    pub algorithm: Algorithm,
    /// Length of validity in days.
    pub days: Days<398>,
    /// Days before its end at which a certificate of ours is made anew.
    pub renew_before_days: Days<30>,
    /// Hours before the present at which validity starts.
    pub backdate_hours: Hours,
}

/// What happens to services whose files stay stale.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Gate {
    /// For hooks that do not say it themselves.
    pub policy: Policy,
    /// Number of boots in which a hook has failed before its units are disabled; until then they
    /// are held.
    pub disable_after_boots: u32,
}

impl Default for Gate {
    fn default() -> Self {
        Self { policy: Policy::default(), disable_after_boots: 3 }
    }
}

/// What is kept of replaced files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Backups {
    /// Number of runs whose backups are kept.
    pub keep: usize,
}

impl Default for Backups {
    fn default() -> Self {
        Self { keep: 10 }
    }
}

/// When changes at run time are acted on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Watch {
    /// Seconds for which nothing may have changed before a run.
    pub settle_seconds: u32,
    /// Seconds in which there is at most one run.
    pub window_seconds: u32,
}

impl Default for Watch {
    fn default() -> Self {
        Self { settle_seconds: 5, window_seconds: 60 }
    }
}

/// Where the certificate manager is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Manager {
    /// The directory above its configuration and its state; nothing here leaves it to where it is found.
    pub topdir: Option<Directory>,
}

/// Where the machine reports what it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Fleet {
    /// The inventory that `reseed status --push` writes into; nothing here, and no report is made.
    pub push: Option<Push>,
    /// What `ssh` is given before the host: which key, which configuration.
    pub ssh_options: Vec<String>,
}

/// How an inventory is reached, checked when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Push {
    /// Its directory on this machine.
    Directory(Directory),
    /// Its database, as libpq is told: it holds a password only where somebody wrote one into it.
    Database(String),
    /// A host, as `ssh` is told it, on which `reseed manager fleet receive` takes the report.
    Host(String),
}

impl TryFrom<String> for Push {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_plain = |host: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || ".-_@:[]%".contains(c);
            !host.is_empty() && !host.starts_with('-') && host.chars().all(fits)
        };
        if text.starts_with('/') {
            return Directory::try_from(PathBuf::from(text)).map(Self::Directory);
        }
        match text.split_once("://") {
            Some(("postgresql" | "postgres", _)) => Ok(Self::Database(text)),
            Some(("ssh", host)) if is_plain(host) => Ok(Self::Host(text)),
            None if is_plain(&text) => Ok(Self::Host(text)),
            None if text.contains('=') => Ok(Self::Database(text)),
            _ => Err("reports go to postgresql://…, to a directory, or to ssh://[user@]host".into()),
        }
    }
}

/// An absolute path that does not climb, checked when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
pub struct Directory(PathBuf);

impl Directory {
    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<PathBuf> for Directory {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        match path.is_absolute() && path.components().all(plain) {
            true => Ok(Self(path)),
            false => Err("a directory is an absolute path without \"..\"".into()),
        }
    }
}

/// What the site says differently for one hook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct HookSettings {
    /// Overrides the hook's own policy.
    pub gate: Option<Policy>,
    /// Overrides the hook's own kind of key.
    #[serde(deserialize_with = "crate::pki::agent_algorithm")]
    pub algorithm: Option<Algorithm>,
    /// Overrides the hook's own lifetime in days.
    pub days: Option<Days<398>>,
    /// Replace stale files of this hook even where they are foreign or modified.
    pub adopt: bool,
    /// Overrides who issues each of the hook's certificates.
    pub issuer: Option<Issuer>,
    /// Overrides whether a self-signed one stands in while the manager has none that will do.
    pub stop_gap: Option<bool>,
}

impl Settings {
    /// What the site says for one hook; the defaults where it says nothing.
    pub fn hook(&self, name: &HookName) -> HookSettings {
        self.hook.get(name.as_str()).cloned().unwrap_or_default()
    }
}

/// Reads texts in their order and lays each over those before it.
///
/// # Errors
/// The first [`Fault`], in the file that has it.
pub fn parse(texts: &[(&Path, &str)]) -> Result<Settings, Fault> {
    let mut merged = toml::Table::new();
    let mut last = Path::new("reseed.toml");
    for (path, text) in texts {
        toml::from_str::<Settings>(text).map_err(|error| Fault::toml(path, text, &error))?;
        let table: toml::Table = toml::from_str(text).map_err(|error| Fault::toml(path, text, &error))?;
        overlay(&mut merged, table);
        last = path;
    }
    if merged.is_empty() {
        return Ok(Settings::default());
    }
    Settings::deserialize(merged).map_err(|error| Fault::whole(last, error.message().to_owned()))
}

fn overlay(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// The version of the format; only 1 is known.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "u32")]
struct Version;

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        match version {
            1 => Ok(Self),
            other => Err(format!("version {other} is not known here; this program reads 1")),
        }
    }
}

/// A number of days from 1 to 3650, with its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Days<const DEFAULT: u32>(u32);

impl<const DEFAULT: u32> Days<DEFAULT> {
    /// The number.
    pub fn count(self) -> u32 {
        self.0
    }
}

impl<const DEFAULT: u32> Default for Days<DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const DEFAULT: u32> TryFrom<u32> for Days<DEFAULT> {
    type Error = String;

    fn try_from(days: u32) -> Result<Self, String> {
        if (1..=3650).contains(&days) { Ok(Self(days)) } else { Err("a number of days is 1 to 3650".into()) }
    }
}

/// A number of hours up to a week.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub struct Hours(u32);

impl Hours {
    /// The number.
    pub fn count(self) -> u32 {
        self.0
    }
}

impl Default for Hours {
    /// A day, which is what clocks are most often off by where nobody set the time zone.
    fn default() -> Self {
        Self(24)
    }
}

impl TryFrom<u32> for Hours {
    type Error = String;

    fn try_from(hours: u32) -> Result<Self, String> {
        if hours <= 168 { Ok(Self(hours)) } else { Err("a number of hours is 0 to 168".into()) }
    }
}

/// A pattern of a shell, checked when it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(glob::Pattern);

impl Pattern {
    /// The pattern itself.
    pub fn glob(&self) -> &glob::Pattern {
        &self.0
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        glob::Pattern::new(&text).map(Self).map_err(|error| format!("not a pattern: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_lies_over_earlier_key_by_key() {
        let vendor = "[gate]\npolicy = \"hold\"\n[certificates]\ndays = 90\n";
        let site = "[certificates]\nalgorithm = \"rsa2048\"\n[hook.mod_ssl]\nadopt = true\n";
        let settings = parse(&[(Path::new("a"), vendor), (Path::new("b"), site)]).unwrap();
        assert_eq!(settings.gate.policy, Policy::Hold);
        assert_eq!(settings.certificates.days.count(), 90);
        assert_eq!(settings.certificates.algorithm, Algorithm::Rsa(2048));
        assert_eq!(settings.certificates.renew_before_days.count(), 30);
        assert!(settings.hook(&HookName::parse("mod_ssl").unwrap()).adopt);
        assert!(!settings.hook(&HookName::parse("sendmail").unwrap()).adopt);
        assert!(settings.manager.topdir.is_none());
    }

    #[test]
    fn a_manager_is_named_hook_by_hook() {
        let text = "[manager]\ntopdir = \"/srv/certs\"\n[hook.mod_ssl]\nissuer = \"manager:example.com/web\"\nstop-gap = true\n";
        let settings = parse(&[(Path::new("a"), text)]).unwrap();
        assert_eq!(settings.manager.topdir.as_ref().unwrap().path(), Path::new("/srv/certs"));
        let hook = settings.hook(&HookName::parse("mod_ssl").unwrap());
        assert_eq!(hook.issuer.unwrap().to_string(), "manager:example.com/web");
        assert_eq!(hook.stop_gap, Some(true));
        assert_eq!(settings.hook(&HookName::parse("sendmail").unwrap()).issuer, None);
    }

    #[test]
    fn where_a_machine_reports() {
        let push = |text: &str| {
            parse(&[(Path::new("a"), &format!("[fleet]\npush = \"{text}\"\n"))]).unwrap().fleet.push.unwrap()
        };
        let database = "postgresql://db.example.com/pki?sslmode=verify-full";
        assert_eq!(push(database), Push::Database(database.into()));
        assert_eq!(push("service=pki"), Push::Database("service=pki".into()));
        for host in ["ssh://reseed@manager.example.com:2222", "reseed@manager", "manager.example.com"] {
            assert_eq!(push(host), Push::Host(host.into()));
        }
        let directory = Directory::try_from(PathBuf::from("/srv/inventory")).unwrap();
        assert_eq!(push("/srv/inventory"), Push::Directory(directory));
    }

    #[test]
    fn faults_name_their_own_file_and_line() {
        let cases = [
            ("misspelt key", "[gate]\npolice = \"hold\"\n", "b:2:1: unknown field"),
            ("unknown policy", "[gate]\npolicy = \"ban\"\n", "b:2:10: "),
            ("no days", "[certificates]\ndays = 0\n", "b:2:8: a number of days"),
            ("later version", "version = 2\n", "b:1:11: version 2"),
            ("address", "[identity]\nignore-addresses = [\"x\"]\n", "b:2:21: "),
            ("topdir", "[manager]\ntopdir = \"../x\"\n", "b:2:10: a directory is an absolute path"),
            ("issuer", "[hook.x]\nissuer = \"ca\"\n", "b:2:10: the issuer is"),
            ("nowhere", "[fleet]\npush = \"http://x\"\n", "b:2:8: reports go to"),
            ("an option", "[fleet]\npush = \"ssh://-oX\"\n", "b:2:8: reports go to"),
            ("pattern", "[identity]\nignore-interfaces = [\"[\"]\n", "b:2:21: not a pattern"),
        ];
        for (case, text, expected) in cases {
            let fault = parse(&[(Path::new("a"), ""), (Path::new("b"), text)]).expect_err(case).to_string();
            assert!(fault.starts_with(expected), "{case}: {fault}");
        }
    }
}
