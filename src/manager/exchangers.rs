//! The mail exchangers of the groups that publish TLSA records for them. Where the zone's server does not
//! answer, those for which records are published already stand in: an answer that cannot be had changes
//! nothing.

use std::collections::BTreeMap;

use super::config::{Dane, DaneHosts};
use super::dane;
use super::dns::lookup::{self, Patience};
use super::run::Run;

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

/// Asks for the groups of some services, each once; what could not be had is said in words.
pub fn ask(run: &Run<'_>, groups: impl IntoIterator<Item = String>) -> (Exchangers, Vec<String>) {
    let mut exchangers = Exchangers::default();
    let mut notes = Vec::new();
    for group in groups {
        let entries: Vec<&Dane> = run
            .config
            .services
            .values()
            .filter(|service| service.name.group() == group)
            .flat_map(|service| &service.dane)
            .filter(|entry| entry.port == SMTP || entry.hosts == DaneHosts::Mx)
            .collect();
        let primaries = &run.config.site.primaries;
        let primary = primaries.get(&group).or_else(|| primaries.get("default"));
        let (Some(primary), false) = (primary, entries.is_empty()) else { continue };
        // The network is that of the system that runs.
        if !run.world.root.is_live() {
            exchangers.0.insert(group.clone(), published(run, &group, &entries));
            continue;
        }
        let hosts = match lookup::exchangers(primary, &group, &Patience::default()) {
            Ok(found) => found.into_iter().map(|exchanger| exchanger.name).collect(),
            Err(error) => {
                notes.push(format!(
                    "{group}: its mail exchangers are unknown, the published ones stay: {error}"
                ));
                published(run, &group, &entries)
            }
        };
        exchangers.0.insert(group, hosts);
    }
    (exchangers, notes)
}

/// For whom there are records in the group's file.
fn published(run: &Run<'_>, group: &str, entries: &[&Dane]) -> Vec<String> {
    let path = run.tree.group_tlsa(group);
    let text = run.world.root.text(&path).ok().flatten().unwrap_or_default();
    let records = dane::parse(&path, &text).unwrap_or_default();
    let mut hosts: Vec<String> =
        entries.iter().flat_map(|entry| dane::hosts(&records, entry.port, &entry.protocol)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}
