//! The mail exchangers of the groups that publish TLSA records for them. Where the zone's server does not
//! answer, those for which records are published already stand in: an answer that cannot be had changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::config::{Configuration, Dane, DaneHosts};
use super::dane;
use super::dns::lookup::{self, Patience};
use super::run::Run;
use super::tree::Tree;

/// The port of mail transport.
const SMTP: u16 = 25;

/// The exchangers of each group; none for a group that did not have to be asked for.
#[derive(Debug, Default)]
pub struct Exchangers(BTreeMap<String, Vec<String>>);

impl Exchangers {
    /// Those of a group.
    pub fn of(&self, group: &str) -> &[String] {
        self.0.get(group).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What a run knows already: no server is asked twice.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, Known>>);

/// What is known of a group.
#[derive(Debug, Clone, Default)]
struct Known {
    hosts: Vec<String>,
    note: Option<String>,
    answered: bool,
}

impl Memory {
    fn get(&self, group: &str) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }

    fn keep(&self, group: &str, known: Known) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(group.to_owned(), known);
    }

    /// The groups whose servers were asked, and answered.
    pub fn answered(&self) -> BTreeSet<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(_, known)| known.answered).map(|(group, _)| group.clone()).collect()
    }
}

/// Asks for the groups of some services, each once in a run; what could not be had is said in words.
pub fn ask(run: &Run<'_>, groups: impl IntoIterator<Item = String>) -> (Exchangers, Vec<String>) {
    let mut exchangers = Exchangers::default();
    let mut notes = Vec::new();
    for group in groups {
        let known = match run.exchangers.get(&group) {
            Some(known) => known,
            None => {
                let Some(known) = learn(run, &group) else { continue };
                run.exchangers.keep(&group, known.clone());
                known
            }
        };
        notes.extend(known.note);
        exchangers.0.insert(group, known.hosts);
    }
    (exchangers, notes)
}

/// From here on these groups are not asked for in this run: what is published stands.
pub fn leave(run: &Run<'_>, groups: impl IntoIterator<Item = String>) {
    for group in groups.into_iter().filter(|group| concerns(&run.config, group)) {
        let hosts = published(&run.tree, &run.config, &group);
        run.exchangers.keep(&group, Known { hosts, ..Known::default() });
    }
}

/// Nothing when nobody has to be asked.
fn learn(run: &Run<'_>, group: &str) -> Option<Known> {
    if !concerns(&run.config, group) {
        return None;
    }
    let primary = run.config.site.primary(group)?;
    let published = || published(&run.tree, &run.config, group);
    // The network is that of the system that runs.
    if !run.world.root.is_live() {
        return Some(Known { hosts: published(), ..Known::default() });
    }
    Some(match lookup::exchangers(primary, group, &Patience::default()) {
        Ok(found) => {
            let hosts = found.into_iter().map(|exchanger| exchanger.name).collect();
            Known { hosts, note: None, answered: true }
        }
        Err(error) => {
            let note = format!("{group}: its mail exchangers are unknown, the published ones stay: {error}");
            Known { hosts: published(), note: Some(note), answered: false }
        }
    })
}

/// Says whether a group publishes records of its exchangers.
fn concerns(config: &Configuration, group: &str) -> bool {
    !entries(config, group).is_empty()
}

fn entries<'c>(config: &'c Configuration, group: &str) -> Vec<&'c Dane> {
    config
        .services
        .values()
        .filter(|service| service.name.group() == group)
        .flat_map(|service| &service.dane)
        .filter(|entry| entry.port == SMTP || entry.hosts == DaneHosts::Mx)
        .collect()
}

/// For whom there are records in the group's file.
pub fn published(tree: &Tree<'_>, config: &Configuration, group: &str) -> Vec<String> {
    let path = tree.group_tlsa(group);
    let text = tree.root().text(&path).ok().flatten().unwrap_or_default();
    let records = dane::parse(&path, &text).unwrap_or_default();
    let entries = entries(config, group);
    let hosts: BTreeSet<String> =
        entries.iter().flat_map(|entry| dane::hosts(&records, entry.port, &entry.protocol)).collect();
    hosts.into_iter().collect()
}
