//! One package's declaration of what it derives from identity, as values.
//!
//! A hook says when it applies, which certificates, host keys and secrets it has, where the
//! program's configuration names them, which units read them, and what is to happen while they are
//! stale. `manifest` reads it from TOML; `reader` finds out what the program really reads.

pub mod issuer;
pub mod manifest;
pub mod program;
pub mod reader;
pub mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::identity::{Facet, HostName};
use crate::pki::container::Part;
use crate::pki::{Algorithm, Usage, ssh};
use crate::probe::protocol::Protocol;

pub use issuer::Issuer;
use template::Template;

/// A hook's name: that of its file without `.toml`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HookName(String);

impl HookName {
    /// Takes a name of letters, digits, `-`, `_`, `.`, `+`, not beginning with a dot.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
        let good = !text.is_empty() && text.len() <= 64 && !text.starts_with('.') && text.bytes().all(fits);
        good.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to a unit while its artifacts are stale after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Stop it and keep it from starting at all, in the way that takes effect for its kind.
    #[default]
    Disable,
    /// Stop it and let its condition fail until it is released.
    Hold,
    /// Only say so.
    Report,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Hold => "hold",
            Self::Report => "report",
        })
    }
}

/// How a unit takes up new files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Its reload reads certificates anew.
    Reload,
    /// Only a restart does.
    Restart,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
        })
    }
}

/// The distribution families of a root, most specific first: `rocky`, `rhel`, `centos`, `fedora`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Families(Vec<String>);

impl Families {
    /// Reads `ID` and `ID_LIKE` of os-release(5).
    pub fn from_os_release(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
                .next_back()
                .map(|value| value.trim_matches(['"', '\'']).to_ascii_lowercase())
                .unwrap_or_default()
        };
        let all = format!("{} {}", value("ID"), value("ID_LIKE"));
        Self(all.split_whitespace().map(str::to_owned).collect())
    }

    /// Says whether something that is for `wanted` families is for this root; for none named
    /// means for all.
    pub fn match_any(&self, wanted: &[String]) -> bool {
        wanted.is_empty() || self.0.iter().any(|family| wanted.contains(family))
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// One package's declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hook {
    /// That of its file.
    pub name: HookName,
    /// The file itself, as seen from inside the root.
    pub path: PathBuf,
    /// One line for people.
    pub description: String,
    /// Any one of these suffices.
    pub applies: Applies,
    /// Facets whose change makes the artifacts stale.
    pub watches: BTreeSet<Facet>,
    /// What to do with its units while it is stale; nothing here leaves it to the settings.
    pub gate: Option<Policy>,
    /// Configurations that say which files are really read.
    pub readers: Vec<Reader>,
    /// Certificates: where the package itself puts them, and what they are like.
    pub certificates: Vec<Certificate>,
    /// SSH host keys: they follow the machine, whatever it is called.
    pub host_keys: Vec<HostKey>,
    /// Texts with something random in them: they follow the machine, too.
    pub secrets: Vec<SecretFile>,
    /// The program that the hook is, where it is none of the declared kind.
    pub program: Option<program::Program>,
    /// Units that read them.
    pub units: Vec<Unit>,
    /// The program's own check of its configuration.
    pub checks: Vec<Check>,
    /// Ports of which the number does not say what is spoken there.
    pub probes: Vec<Probe>,
}

/// When a hook applies to a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Applies {
    /// Paths of which one exists.
    pub files: Vec<PathBuf>,
    /// Packages of which one is installed; asked only when no file decides.
    pub packages: Vec<String>,
}

/// A configuration that names certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reader {
    /// Families that have it at this path.
    pub family: Vec<String>,
    /// Whose language it is in.
    pub program: reader::Program,
    /// Its top file.
    pub config: PathBuf,
}

/// One certificate, or the model for those that a reader finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Certificate {
    /// `server`, `client`: also the role in which a reader may find it.
    pub name: String,
    /// Families that have it at these paths.
    pub family: Vec<String>,
    /// What it may be used for.
    pub usage: BTreeSet<Usage>,
    /// Kind of key; nothing here leaves it to the settings.
    pub algorithm: Option<Algorithm>,
    /// Length of validity in days; nothing here leaves it to the settings.
    pub days: Option<u32>,
    /// Names beside the full one.
    pub names: Vec<ExtraName>,
    /// Who issues it.
    pub issuer: Issuer,
    /// While its manager has none that will do, a self-signed one stands in.
    pub stop_gap: bool,
    /// The files that the program reads.
    pub files: Vec<FileSpec>,
    /// Further copies for other readers: trust directories.
    pub copies: Vec<FileSpec>,
}

/// A name that a certificate carries beside the full one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtraName {
    /// The first label.
    Short,
    /// Every address of global scope.
    Addresses,
    /// This one.
    Name(HostName),
}

/// One file of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileSpec {
    /// Where the package's own generator writes it.
    pub path: PathBuf,
    /// What is in it, in this order.
    pub holds: Vec<Part>,
    /// Owner of a new file; an existing one keeps its own.
    pub owner: String,
    /// Group of a new file.
    pub group: String,
    /// Permission bits of a new file.
    pub mode: u32,
    /// A directory in which `<subject hash>.0` is to point to this file.
    pub hash_link: Option<PathBuf>,
}

/// An SSH host key. Its public half lies beside it, under the same name with `.pub`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostKey {
    /// Families that have it at this path.
    pub family: Vec<String>,
    /// Kind of key.
    pub algorithm: ssh::Algorithm,
    /// Where its private half lies.
    #[serde(flatten)]
    pub place: PlaceSpec,
}

/// A file with something random in it that no other machine is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SecretFile {
    /// Families that have it at this path.
    pub family: Vec<String>,
    /// What is in it.
    pub content: Template,
    /// Where one of these is, the file is not missed.
    pub unless: Vec<PathBuf>,
    /// Where it lies.
    #[serde(flatten)]
    pub place: PlaceSpec,
}

/// Where a secret file lies, and whose a new one is; an existing one keeps its owner and mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlaceSpec {
    /// Where its program reads it.
    pub path: PathBuf,
    /// Owner of a new file.
    pub owner: String,
    /// Group of a new file.
    pub group: String,
    /// Permission bits of a new file; never any for everybody.
    pub mode: u32,
}

/// A unit that reads the hook's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unit {
    /// Its name, or a pattern such as `postfix@*.service`.
    pub name: String,
    /// Families that have it.
    pub family: Vec<String>,
    /// What makes it take up new files.
    pub change: Verb,
    /// It counts only where one of these paths leads to a file of this hook.
    pub reads: Vec<PathBuf>,
    /// It counts only where one of these texts (patterns allowed) names a file of this hook.
    pub mentioned_in: Vec<String>,
}

/// A program's own check of its configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Check {
    /// Families that have it.
    pub family: Vec<String>,
    /// Program and arguments, never through a shell.
    pub command: Vec<String>,
    /// Paths that it has to write to; everything else is read-only for it.
    pub writes: Vec<PathBuf>,
    /// Whether it needs the network.
    pub network: bool,
}

/// A port of the hook's units, and what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Families that have it.
    pub family: Vec<String>,
    /// The port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// The hooks in force, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Catalogue(BTreeMap<HookName, Hook>);

impl Catalogue {
    /// Every hook in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Hook> {
        self.0.values()
    }

    /// The hook of a name.
    pub fn get(&self, name: &HookName) -> Option<&Hook> {
        self.0.get(name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Hook> for Catalogue {
    fn from_iter<I: IntoIterator<Item = Hook>>(hooks: I) -> Self {
        Self(hooks.into_iter().map(|hook| (hook.name.clone(), hook)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families() {
        let rocky = "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
        let cases = [
            ("rocky", rocky, "fedora", true),
            ("rocky", rocky, "debian", false),
            ("debian", "ID=debian\n", "debian", true),
            ("ubuntu", "ID=ubuntu\nID_LIKE=debian\n", "debian", true),
            ("none", "", "debian", false),
        ];
        for (case, text, wanted, expected) in cases {
            let families = Families::from_os_release(text);
            assert_eq!(families.match_any(&[wanted.into()]), expected, "{case} {wanted}");
            assert!(families.match_any(&[]), "{case}: for none named means for all");
        }
    }

    #[test]
    fn names() {
        for (text, good) in [
            ("mod_ssl", true),
            ("20-postfix", true),
            ("../x", false),
            (".x", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(HookName::parse(text).is_some(), good, "{text}");
        }
    }
}
