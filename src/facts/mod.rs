//! Gathers what a plan needs to know: who the machine is, which hooks apply, which files their
//! programs really read, and what lies there. Reads, and changes nothing.

mod bundles;
mod identity;
mod machine;
pub mod managed;
mod packages;
mod program;
pub mod scriptlets;
mod tracked;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::config::Settings;
use crate::hook::reader::{Files, NoText};
use crate::hook::{Catalogue, ExtraName, Families, Hook, HookName, Verb};
use crate::identity::{Facet, Identity};
use crate::ledger::Ledger;
use crate::plan::{Facts, HookFacts};
use crate::sealed::Sealed;
use crate::seed::Subject;
use crate::service::Services;
use crate::system::clock;
use crate::system::root::{PathError, Root};

/// What is known before anything is gathered.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The root that is worked on.
    pub root: &'a Root,
    /// The hooks in force.
    pub hooks: &'a Catalogue,
    /// The settings.
    pub settings: &'a Settings,
    /// What is recorded.
    pub ledger: &'a Ledger,
    /// The site's subject fields, and the files that they came from.
    pub seed: &'a (Subject, Vec<PathBuf>),
    /// The keys that were in the image that the machine was made from.
    pub sealed: Option<&'a Sealed>,
    /// The present time.
    pub now: OffsetDateTime,
    /// Gather also facets that no hook asks for: for people.
    pub every_facet: bool,
    /// Ask also what needs the network.
    pub asks_network: bool,
    /// Ask also the hooks that are programs.
    pub asks_programs: bool,
    /// Who runs the programs that ask.
    pub services: &'a dyn Services,
}

/// Gathers the facts.
///
/// # Errors
/// [`PathError`] when the root itself does not answer; what is wrong with one hook's files is a
/// fact of that hook.
pub fn gather(sources: &Sources<'_>) -> Result<Facts, PathError> {
    let root = sources.root;
    let families = families(root)?;
    let (applicable, idle) = packages::applicable(root, sources.hooks);
    let identity = identity::gather(sources, wants_addresses(sources, &applicable))?;
    let hooks = hooks(sources, &identity, &families, &applicable);
    Ok(Facts {
        now: sources.now,
        built: clock::built(),
        identity,
        subject: sources.seed.0.clone(),
        domain_from_dns: sources.settings.identity.domain_from_dns,
        boot: boot(root)?,
        disable_after_boots: sources.settings.gate.disable_after_boots,
        renew_before_days: sources.settings.certificates.renew_before_days.count(),
        hooks,
        idle,
    })
}

/// The kernel's random id of this boot (random(4)).
fn boot(root: &Root) -> Result<Option<String>, PathError> {
    if !root.is_live() {
        return Ok(None);
    }
    let id = root.text(Path::new("/proc/sys/kernel/random/boot_id"))?;
    Ok(id.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()))
}

/// The distribution families of a root.
///
/// # Errors
/// [`PathError`]
pub fn families(root: &Root) -> Result<Families, PathError> {
    let text = root.text(Path::new("/etc/os-release"))?;
    Ok(Families::from_os_release(&text.unwrap_or_default()))
}

/// Gathers who the machine is, every facet, and nothing else.
///
/// # Errors
/// As for [`gather`].
pub fn who(sources: &Sources<'_>) -> Result<Identity, PathError> {
    identity::gather(sources, true)
}

fn wants_addresses(sources: &Sources<'_>, applicable: &[&Hook]) -> bool {
    sources.every_facet
        || applicable.iter().any(|hook| {
            hook.watches.contains(&Facet::Addresses)
                || hook
                    .certificates
                    .iter()
                    .any(|certificate| certificate.names.contains(&ExtraName::Addresses))
        })
}

/// A file belongs to the first hook that has it without being told by a configuration, else to
/// the first whose program reads it; to all others it is borrowed.
fn hooks(
    sources: &Sources<'_>,
    identity: &Identity,
    families: &Families,
    applicable: &[&Hook],
) -> BTreeMap<HookName, HookFacts> {
    let files = RootFiles(sources.root);
    let settings = |hook: &Hook| sources.settings.hook(&hook.name);
    let found: Vec<_> =
        applicable.iter().map(|hook| bundles::candidates(hook, &settings(hook), families, &files)).collect();
    let mut owners: BTreeMap<PathBuf, HookName> = BTreeMap::new();
    for by_itself in [true, false] {
        for (hook, found) in applicable.iter().zip(&found).filter(|(_, found)| found.by_itself == by_itself) {
            for path in found.paths().chain(machine::paths(hook, families)).chain(program::paths(hook)) {
                let real = sources.root.resolve(path).unwrap_or_else(|_| path.to_owned());
                owners.entry(real).or_insert_with(|| hook.name.clone());
            }
        }
    }
    let tracked = tracked::Tracked::gather(sources.root);
    applicable
        .iter()
        .zip(found)
        .map(|(hook, found)| {
            let settings = sources.settings.hook(&hook.name);
            let mut built = bundles::build(sources, hook, found, &owners, &tracked);
            machine::build(sources, hook, families, &owners, &mut built);
            program::build(sources, hook, (identity, families), &owners, &mut built);
            let units = units(sources.root, hook, families, &built.reals());
            let facts = HookFacts {
                watches: hook.watches.clone(),
                policy: settings.gate.or(hook.gate).unwrap_or(sources.settings.gate.policy),
                adopt: settings.adopt,
                bundles: built.bundles,
                borrowed: built.borrowed,
                units,
                checks: hook
                    .checks
                    .iter()
                    .filter(|check| families.match_any(&check.family))
                    .cloned()
                    .collect(),
                probes: hook
                    .probes
                    .iter()
                    .filter(|probe| families.match_any(&probe.family))
                    .map(|probe| (probe.port, probe.protocol))
                    .collect(),
                problems: built.problems,
            };
            (hook.name.clone(), facts)
        })
        .collect()
}

fn units(root: &Root, hook: &Hook, families: &Families, reals: &BTreeSet<PathBuf>) -> BTreeMap<String, Verb> {
    let leads_to_us = |path: &Path| root.resolve(path).is_ok_and(|real| reals.contains(&real));
    let mentions_us = |pattern: &String| {
        root.matching(pattern).iter().any(|path| {
            let text = root.text(path).ok().flatten().unwrap_or_default();
            mentions(&text, reals)
        })
    };
    hook.units
        .iter()
        .filter(|unit| families.match_any(&unit.family))
        .filter(|unit| {
            let always = unit.reads.is_empty() && unit.mentioned_in.is_empty();
            always
                || unit.reads.iter().any(|path| leads_to_us(path))
                || unit.mentioned_in.iter().any(mentions_us)
        })
        .map(|unit| (unit.name.clone(), unit.change))
        .collect()
}

/// Says whether a line that is no comment holds one of the paths as a word.
fn mentions(text: &str, paths: &BTreeSet<PathBuf>) -> bool {
    text.lines()
        .filter(|line| !line.trim_start().starts_with(['#', ';']))
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || "=<>'\",;".contains(c)))
        .any(|word| paths.contains(Path::new(word)))
}

/// A reader's way to files beneath a root.
struct RootFiles<'a>(&'a Root);

impl Files for RootFiles<'_> {
    fn text(&self, path: &Path) -> Result<String, NoText> {
        match self.0.text(path) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(NoText::Missing),
            Err(error) => Err(NoText::Unreadable(error.source.to_string())),
        }
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let names = self.0.names(directory).unwrap_or_default();
        names.into_iter().filter_map(|name| name.into_string().ok()).collect()
    }

    fn is_dir(&self, path: &Path) -> bool {
        let real = self.0.resolve(path).and_then(|real| self.0.status(&real));
        real.ok().flatten().is_some_and(|status| status.kind == crate::system::root::Kind::Directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_mentioned() {
        let paths = BTreeSet::from([PathBuf::from("/etc/ssl/certs/ssl-cert-snakeoil.pem")]);
        let cases = [
            ("postfix", "smtpd_tls_cert_file=/etc/ssl/certs/ssl-cert-snakeoil.pem\n", true),
            ("postgresql", "ssl_cert_file = '/etc/ssl/certs/ssl-cert-snakeoil.pem'\n", true),
            ("dovecot", "ssl_cert = </etc/ssl/certs/ssl-cert-snakeoil.pem\n", true),
            ("comment", "  # smtpd_tls_cert_file=/etc/ssl/certs/ssl-cert-snakeoil.pem\n", false),
            ("a longer path", "x = /etc/ssl/certs/ssl-cert-snakeoil.pem.old\n", false),
        ];
        for (case, text, expected) in cases {
            assert_eq!(mentions(text, &paths), expected, "{case}");
        }
    }
}
