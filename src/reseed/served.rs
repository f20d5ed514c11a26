//! What the units of the hooks should serve: the certificates and host keys on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::artifact::Artifact;
use crate::hook::HookName;
use crate::identity::HostName;
use crate::pki::container::{self, Part};
use crate::plan::{Facts, HookFacts};
use crate::probe::protocol::{Ports, Protocol};
use crate::probe::verdict::Expected;
use crate::probe::{Endpoint, Fingerprint};
use crate::system::root::Root;

/// Where `sshd` has the public halves of its host keys by default.
const HOST_KEYS: &str = "/etc/ssh/ssh_host_*_key.pub";
/// Where it is told of others, by `HostKey`.
const SSHD: [&str; 2] = ["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf"];

/// What hooks say about what their units serve.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    /// The root that is worked on.
    pub root: &'a Root,
    /// What was found out.
    pub facts: &'a Facts,
    /// Names that this machine goes and went by.
    pub names: &'a BTreeSet<String>,
}

impl<'a> Served<'a> {
    /// The units of some hooks, with the ports of which any hook says what is spoken there.
    pub fn units(&self, wanted: impl Fn(&HookName, &str) -> bool) -> BTreeMap<String, Ports> {
        let mut units: BTreeMap<String, Ports> = BTreeMap::new();
        for (name, hook) in &self.facts.hooks {
            for unit in hook.units.keys().filter(|unit| wanted(name, unit)) {
                units.entry(unit.clone()).or_default().extend(&hook.probes);
            }
        }
        units
    }

    /// The hooks that have a unit.
    pub fn hooks(&self, unit: &'a str) -> impl Iterator<Item = (&'a HookName, &'a HookFacts)> {
        self.facts.hooks.iter().filter(move |(_, hook)| hook.units.contains_key(unit))
    }

    /// The name that clients ask for.
    pub fn name(&self) -> Option<HostName> {
        self.facts.identity.proper().ok()
    }

    /// What an endpoint's unit should serve, as it is on disk at this moment.
    pub fn expected(&self, endpoint: &'a Endpoint) -> Vec<Expected> {
        if endpoint.protocol == Protocol::Ssh {
            return host_keys(self.root);
        }
        self.hooks(&endpoint.unit).flat_map(|(_, hook)| self.certificates(hook)).collect()
    }

    /// The certificates on disk that a hook's program reads: its own, and those that it borrows.
    pub fn certificates(&self, hook: &HookFacts) -> Vec<Expected> {
        let own = hook.bundles.iter().flat_map(|bundle| {
            let ours = bundle.verdict(self.names).is_replaceable();
            let shown = |artifact: &&Artifact| !artifact.copy && artifact.holds.contains(&Part::Certificate);
            bundle
                .artifacts
                .iter()
                .filter(shown)
                .filter_map(move |one| on_disk(self.root, &one.path, &one.real, ours || one.default_path))
        });
        let borrowed = hook.borrowed.keys().filter_map(|real| on_disk(self.root, real, real, true));
        own.chain(borrowed).collect()
    }
}

fn on_disk(root: &Root, file: &Path, real: &Path, ours: bool) -> Option<Expected> {
    let content = root.read_optional(real).ok()??;
    let leaf = container::read(&content).certificates.into_iter().next()?;
    Some(Expected { file: file.to_owned(), fingerprint: Fingerprint::of_certificate(&leaf), ours })
}

fn host_keys(root: &Root) -> Vec<Expected> {
    let texts = SSHD.iter().flat_map(|pattern| root.matching(pattern));
    let texts: Vec<String> = texts.filter_map(|path| root.text(&path).ok().flatten()).collect();
    let named = texts.iter().flat_map(|text| text.lines()).filter_map(|line| {
        let (word, path) = line.trim().split_once([' ', '\t', '='])?;
        word.eq_ignore_ascii_case("HostKey").then(|| PathBuf::from(format!("{}.pub", path.trim())))
    });
    let key = |file: PathBuf| {
        let fingerprint = Fingerprint::of_host_key(root.text(&file).ok()??.trim())?;
        Some(Expected { file, fingerprint, ours: true })
    };
    root.matching(HOST_KEYS).into_iter().chain(named).filter_map(key).collect()
}
