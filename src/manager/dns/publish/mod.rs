//! Brings records into zones, and takes them away again: by dynamic update where `[[dns_update]]` says so, else
//! challenges by the include files of ssl-mgr and the program that has the zones read again.
//!
//! ```text
//!  places            where each name is to be put: which zone, along which aliases
//!  ways              how that zone is changed; a name without a way fails before anything is changed
//!  challenges.toml   written before anything is there, so that it never stays for good
//!  zones             one message for each, or its file; the program once for all
//! ```
//!
//! `tlsa` brings the difference of a group's records into its zone, `rrsets` all records of some names.

mod rrsets;
mod tlsa;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::challenges::{Challenge, Challenges, TTL, Way, is_plain};
use super::delegation::{Finder, is_within};
use super::lookup::Patience;
use super::observe::{Expect, Wanted, Watcher, observe_all};
use super::tsig::Key;
use super::update::{Change, Refusal, update};
use super::{Data, Missing, Progress, Record, Zone, resolvers};
use crate::manager::config::{Primary, Purpose, Site};
use crate::manager::tree::Tree;
use crate::system::{clock, process};
use crate::transaction::replace;

pub use rrsets::Rrsets;
pub use tlsa::Replaced;

/// What was published and may still be there, beneath the manager's own directory.
const CHALLENGES: &str = "challenges.toml";
/// How long the program that has zones read again may take: signing one takes a while.
const DEADLINE: Duration = Duration::from_secs(120);
/// Zones that are changed at a time.
const MOST_UPDATES: usize = 8;

/// Changes zones.
#[derive(Debug)]
pub struct Publisher<'a> {
    tree: &'a Tree<'a>,
    site: &'a Site,
    patience: Patience,
    /// Several orders may be proven at the same time; files and zones are changed one after the other.
    turn: Mutex<()>,
}

/// A record that is in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The zone.
    pub zone: Zone,
    /// The record, by the name that it has there.
    pub record: Record,
}

/// What was published, in the order in which it was wanted; what could not be, says why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publication(pub Vec<Result<Placed, String>>);

/// Where the records of one zone go.
type Target = (Way, String);

impl<'a> Publisher<'a> {
    /// One that changes nothing yet.
    pub fn new(tree: &'a Tree<'a>, site: &'a Site) -> Self {
        Self { tree, site, patience: Patience::default(), turn: Mutex::new(()) }
    }

    /// Publishes texts, those of one zone together. What is there already stays.
    pub fn publish(&self, wanted: &[Record]) -> Publication {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let names: Vec<String> = wanted.iter().map(|record| record.name.clone()).collect();
        let mut found = Vec::new();
        let mut challenges: BTreeMap<usize, Challenge> = BTreeMap::new();
        for (index, (record, place)) in wanted.iter().zip(self.finder().places(&names)).enumerate() {
            let placed = place.and_then(|place| {
                let Data::Txt(value) = &record.data else { return Err(format!("{record} is no challenge")) };
                if !is_plain(value) {
                    return Err(format!("the text for {} is none of a challenge", record.name));
                }
                let way = self.way(&place.name, &place.zone.apex)?;
                let challenge = Challenge {
                    name: record.name.clone(),
                    owner: place.name.clone(),
                    zone: place.zone.apex.clone(),
                    value: value.clone(),
                    way,
                    since: now,
                };
                challenges.insert(index, challenge);
                Ok(Placed {
                    zone: place.zone,
                    record: Record { name: place.name, data: record.data.clone() },
                })
            });
            found.push(placed);
        }
        let failed = self.put(&challenges);
        for (index, challenge) in challenges {
            let target = (challenge.way, challenge.zone);
            if let (Some(why), Some(place)) = (failed.get(&target), found.get_mut(index)) {
                *place = Err(why.clone());
            }
        }
        Publication(found)
    }

    /// Remembers challenges, and puts them into their zones; returns what failed.
    fn put(&self, challenges: &BTreeMap<usize, Challenge>) -> BTreeMap<Target, String> {
        let mut zones: BTreeMap<Target, Vec<Challenge>> = BTreeMap::new();
        for challenge in challenges.values() {
            let target = (challenge.way.clone(), challenge.zone.clone());
            zones.entry(target).or_default().push(challenge.clone());
        }
        let all_failed = |why: String| zones.keys().map(|target| (target.clone(), why.clone())).collect();
        if zones.is_empty() {
            return BTreeMap::new();
        }
        let remembered = self.challenges().and_then(|mut all| {
            challenges.values().cloned().for_each(|challenge| all.add(challenge));
            self.save(&all).map(|()| all)
        });
        let mut all = match remembered {
            Ok(all) => all,
            Err(why) => return all_failed(format!("nothing was published: {why}")),
        };
        let add = |one: &Challenge| Change::Add { record: record(one), ttl: TTL };
        let failed = self.change(&all, &zones, &add, &[]);
        // What was refused is not there; nobody has to take it away.
        let gone: Vec<Challenge> = failed
            .iter()
            .filter(|(_, refusal)| matches!(refusal, Refusal::Refused(_)))
            .filter_map(|(target, _)| zones.get(target))
            .flatten()
            .cloned()
            .collect();
        if !gone.is_empty() {
            all.remove(&gone);
            // A record too many in it costs one question later.
            let _ = self.save(&all);
        }
        failed.into_iter().map(|(target, refusal)| (target, refusal.to_string())).collect()
    }

    /// Takes texts away again that were published; what could not be is said in words, and remembered.
    pub fn withdraw(&self, published: &[Record]) -> Vec<String> {
        let wanted: BTreeSet<(&str, &Data)> =
            published.iter().map(|record| (record.name.as_str(), &record.data)).collect();
        self.take(&|one| wanted.contains(&(one.name.as_str(), &Data::Txt(one.value.clone()))))
    }

    /// Takes everything away that was published before, by this run or one that was interrupted.
    pub fn withdraw_all(&self) -> Vec<String> {
        self.take(&|_| true)
    }

    fn take(&self, is_wanted: &dyn Fn(&Challenge) -> bool) -> Vec<String> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = match self.challenges() {
            Ok(all) => all,
            Err(why) => return vec![format!("what was published is not known, and stays: {why}")],
        };
        let gone: Vec<Challenge> = all.iter().filter(|one| is_wanted(one)).cloned().collect();
        if gone.is_empty() {
            return Vec::new();
        }
        let mut zones: BTreeMap<Target, Vec<Challenge>> = BTreeMap::new();
        for challenge in &gone {
            let target = (challenge.way.clone(), challenge.zone.clone());
            zones.entry(target).or_default().push(challenge.clone());
        }
        let failed = self.change(&all, &zones, &|one| Change::Delete(record(one)), &gone);
        for (target, challenges) in &zones {
            if !failed.contains_key(target) {
                all.remove(challenges);
            }
        }
        let mut words: Vec<String> = failed
            .into_iter()
            .map(|((_, zone), refusal)| format!("challenges stay in the zone {zone}: {refusal}"))
            .collect();
        if let Err(why) = self.save(&all) {
            words.push(why);
        }
        words
    }

    /// Changes zones, each in its way; returns what failed.
    fn change(
        &self,
        all: &Challenges,
        zones: &BTreeMap<Target, Vec<Challenge>>,
        change: &dyn Fn(&Challenge) -> Change,
        gone: &[Challenge],
    ) -> BTreeMap<Target, Refusal> {
        let mut updates = Vec::new();
        let mut failed = BTreeMap::new();
        let mut to_read: Vec<&Target> = Vec::new();
        for (target, challenges) in zones {
            match &target.0 {
                Way::Update { .. } => updates.push((target, challenges.iter().map(change).collect())),
                Way::Include { directories } => match self.include(all, &target.1, directories, gone) {
                    Ok(()) => to_read.push(target),
                    Err(why) => drop(failed.insert(target.clone(), Refusal::Unknown(why))),
                },
            }
        }
        failed.extend(self.update(&updates));
        if let Err(why) = self.read_again(&to_read) {
            failed.extend(to_read.into_iter().map(|target| (target.clone(), Refusal::Unknown(why.clone()))));
        }
        failed
    }

    /// Writes the file that a zone includes, wherever one is wanted.
    fn include(
        &self,
        all: &Challenges,
        zone: &str,
        directories: &[PathBuf],
        gone: &[Challenge],
    ) -> Result<(), String> {
        let text = all.include_file(zone, gone);
        for directory in directories {
            let path = directory.join(format!("acme-challenge.{zone}"));
            replace(self.tree.root(), &path, text.as_bytes(), 0o644).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Has zones read again: each program of the configuration once for all of them.
    fn read_again(&self, zones: &[&Target]) -> Result<(), String> {
        let zones: BTreeSet<&String> = zones.iter().map(|(_, zone)| zone).collect();
        for program in self.site.dns.restart.iter().filter(|_| !zones.is_empty()) {
            let mut command = vec![program.clone(), "--serial_bump".to_owned()];
            command.extend(zones.iter().map(|zone| (*zone).clone()));
            process::run(&command, DEADLINE, process::KEPT)?;
        }
        Ok(())
    }

    /// Sends updates, a few zones at a time.
    fn update(&self, updates: &[(&Target, Vec<Change>)]) -> BTreeMap<Target, Refusal> {
        let mut failed = BTreeMap::new();
        for some in updates.chunks(MOST_UPDATES) {
            let results: Vec<_> = std::thread::scope(|scope| {
                let start = |(target, changes)| scope.spawn(move || self.update_one(target, changes));
                let threads: Vec<_> =
                    some.iter().map(|(target, changes)| start((*target, changes))).collect();
                threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
            });
            for ((target, _), result) in some.iter().zip(results) {
                let result = result.unwrap_or_else(|_| Err(Refusal::Unknown("the update broke off".into())));
                if let Err(refusal) = result {
                    failed.insert((*target).clone(), refusal);
                }
            }
        }
        failed
    }

    fn update_one(&self, (way, zone): &Target, changes: &[Change]) -> Result<(), Refusal> {
        let Way::Update { server, port, key_file } = way else { return Ok(()) };
        let key = self.key(key_file.as_deref()).map_err(Refusal::Refused)?;
        let server = Primary { server: server.clone(), port: *port };
        update(&server, key.as_ref(), zone, changes, clock::now(), &self.patience).map(drop)
    }

    fn key(&self, path: Option<&Path>) -> Result<Option<Key>, String> {
        path.map(|path| Key::read(self.tree.root(), path).map_err(|fault| fault.to_string())).transpose()
    }

    /// Waits until all name servers show what was published, or for as long as the configuration says; `seen` is
    /// called once for each record, by its index, with why not where they do not.
    pub fn observe(
        &self,
        publication: &Publication,
        seen: &(dyn Fn(usize, Result<(), String>) + Sync),
        progress: &(dyn Fn(Progress) + Sync),
    ) {
        let mut zones: Vec<Zone> = Vec::new();
        let (mut wanted, mut indexes) = (Vec::new(), Vec::new());
        for (index, placed) in publication.0.iter().enumerate() {
            match placed {
                Err(why) => seen(index, Err(why.clone())),
                Ok(Placed { zone, record }) => {
                    let number = zones.iter().position(|known| known == zone).unwrap_or_else(|| {
                        zones.push(zone.clone());
                        zones.len() - 1
                    });
                    wanted.push(Wanted { zone: number, record: record.clone() });
                    indexes.push(index);
                }
            }
        }
        if wanted.is_empty() {
            return;
        }
        clock::pause(Duration::from_secs(self.site.dns_check_delay));
        let deadline = Instant::now() + Duration::from_secs(self.site.dns_check_timeout);
        let of = |number: usize| indexes.get(number).copied();
        let renumbered = |progress_of: Progress| match progress_of {
            Progress::Misses { server, records, instead } => {
                let records = records.into_iter().filter_map(of).collect();
                progress(Progress::Misses { server, records, instead });
            }
            note @ Progress::Note(_) => progress(note),
        };
        let watcher = Watcher {
            seen: &|number| {
                if let Some(index) = of(number) {
                    seen(index, Ok(()));
                }
            },
            progress: &renumbered,
        };
        for Missing { record, servers } in observe_all(&zones, &wanted, Expect::Shown, deadline, &watcher) {
            let name = wanted.get(record).map(|one| one.record.to_string()).unwrap_or_default();
            if let Some(index) = of(record) {
                seen(index, Err(format!("{name} is not seen everywhere: {}", servers.join("; "))));
            }
        }
    }

    fn finder(&self) -> Finder<'a> {
        Finder::new(self.site, resolvers::of_system(self.tree.root()), self.patience)
    }

    /// How challenges get into a zone.
    fn way(&self, name: &str, zone: &str) -> Result<Way, String> {
        if let Some(way) = self.entry(name, Purpose::Acme) {
            return Ok(way);
        }
        let directories = &self.site.dns.challenge_directories;
        if directories.is_empty() {
            return Err(format!(
                "nobody says how {name} gets into the zone {zone}; write [[dns_update]] for it, or acme_dir in [dns]"
            ));
        }
        Ok(Way::Include { directories: directories.clone() })
    }

    /// The entry of the configuration for a name: that of the longest domain.
    fn entry(&self, name: &str, purpose: Purpose) -> Option<Way> {
        let fits = |domain: &Option<String>| domain.as_ref().is_none_or(|domain| is_within(name, domain));
        let entries = self.site.updates.iter();
        let entry = entries
            .filter(|entry| entry.purposes.contains(&purpose) && fits(&entry.domain))
            .max_by_key(|entry| entry.domain.as_ref().map(String::len))?;
        Some(Way::Update { server: entry.server.clone(), port: entry.port, key_file: entry.key_file.clone() })
    }

    fn challenges(&self) -> Result<Challenges, String> {
        let path = self.tree.own(CHALLENGES);
        match self.tree.root().text(&path).map_err(|error| error.to_string())? {
            Some(text) => Challenges::parse(&path, &text).map_err(|fault| fault.to_string()),
            None => Ok(Challenges::default()),
        }
    }

    fn save(&self, all: &Challenges) -> Result<(), String> {
        let (root, path) = (self.tree.root(), self.tree.own(CHALLENGES));
        if all.is_empty() {
            return root.remove(&path).map_err(|error| error.to_string());
        }
        let text = all.to_text()?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        root.make_directory(directory, 0o700).map_err(|error| error.to_string())?;
        replace(root, &path, text.as_bytes(), 0o600).map_err(|error| error.to_string())
    }
}

fn record(challenge: &Challenge) -> Record {
    Record { name: challenge.owner.clone(), data: Data::Txt(challenge.value.clone()) }
}
