//! All TLSA records of some names: in one message for each zone, or in the file that it includes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use super::{Placed, Publisher, Target, Way};
use crate::manager::config::Purpose;
use crate::manager::dane;
use crate::manager::dns::delegation::Place;
use crate::manager::dns::update::Change;
use crate::manager::dns::{Data, Record, Zone};
use crate::manager::lineage::Link;
use crate::system::clock;
use crate::system::root::Lock;
use crate::transaction::replace;

/// Held while the file of a zone is written anew from what was in it.
const LOCK: &str = "tlsa.lock";
/// How long another run may hold it, and how often that is looked at.
const TURNS: u32 = 200;
const TURN: Duration = Duration::from_millis(50);

/// The records of some names that are brought out together: all of them, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rrsets {
    /// All records that each name is to have; a name without any loses those that it has.
    pub owners: BTreeMap<String, Vec<dane::Record>>,
    /// What may be there of old. A name that is an alias shares its target with others, so that nothing else is
    /// taken away there.
    pub former: Vec<dane::Record>,
}

/// What is to become of a name, where it really lies.
#[derive(Debug, Default)]
struct Spot {
    /// All that is there goes.
    is_own: bool,
    /// What comes, with its time to live in seconds.
    added: BTreeMap<Record, u32>,
    /// What goes.
    gone: BTreeSet<Record>,
}

/// Every name that changes in a zone.
type Spots = BTreeMap<String, Spot>;

impl Publisher<'_> {
    /// Puts the TLSA records of names into their zones, in place of those that are there: all of a zone in one
    /// message. For each set what is in its zones now, or in words why not; where a zone of a name is not known or
    /// nobody says how it is changed, no name of its set is changed.
    pub fn put_tlsa(&self, sets: &[Rrsets]) -> Vec<Result<Vec<Placed>, String>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = sets.iter().flat_map(|set| set.owners.keys().cloned()).collect();
        let mut places = self.finder().places(&names).into_iter();
        let mut zones: BTreeMap<Target, Spots> = BTreeMap::new();
        let mut found = Vec::new();
        for set in sets {
            let places: Vec<_> = places.by_ref().take(set.owners.len()).collect();
            found.push(self.targets(&places).map(|places| put(set, places, &mut zones)));
        }
        let failed = self.change_tlsa(&zones);
        let result = |found: Result<(Vec<Placed>, BTreeSet<Target>), String>| {
            let (placed, targets) = found?;
            let why: Vec<&str> =
                targets.iter().filter_map(|target| failed.get(target)).map(String::as_str).collect();
            if why.is_empty() { Ok(placed) } else { Err(why.join("; ")) }
        };
        found.into_iter().map(result).collect()
    }

    /// How the zone of each name is changed; what is wrong with any of them, all at once.
    fn targets(&self, places: &[Result<Place, String>]) -> Result<Vec<(Place, Target)>, String> {
        let (mut found, mut wrong) = (Vec::new(), BTreeSet::new());
        for place in places {
            let target = place.clone().and_then(|place| {
                let way = self.way_of_tlsa(&place.name, &place.zone.apex)?;
                let target = (way, place.zone.apex.clone());
                Ok((place, target))
            });
            match target {
                Ok(target) => found.push(target),
                Err(why) => drop(wrong.insert(why)),
            }
        }
        if wrong.is_empty() { Ok(found) } else { Err(wrong.into_iter().collect::<Vec<_>>().join("; ")) }
    }

    fn way_of_tlsa(&self, name: &str, apex: &str) -> Result<Way, String> {
        if let Some(way) = self.entry(name, Purpose::Tlsa) {
            return Ok(way);
        }
        let directories = &self.site.dns.tlsa_directories;
        if directories.is_empty() {
            return Err(format!(
                "nobody says how {name} gets into the zone {apex}; write [[dns_update]] for it, or tlsa_dirs in [dns]"
            ));
        }
        let group = self.tree.group_tlsa(apex);
        if self.tree.root().status(&group).map_err(|error| error.to_string())?.is_some() {
            return Err(format!(
                "{name}: the file tlsa.{apex} is that of the group {apex}; write [[dns_update]] for the zone"
            ));
        }
        Ok(Way::Include { directories: directories.clone() })
    }

    /// Changes zones; returns what failed, in words.
    fn change_tlsa(&self, zones: &BTreeMap<Target, Spots>) -> BTreeMap<Target, String> {
        let mut updates = Vec::new();
        let mut failed = BTreeMap::new();
        let mut to_read: Vec<&Target> = Vec::new();
        for (target, spots) in zones {
            match &target.0 {
                Way::Update { .. } => updates.push((target, changes(spots))),
                Way::Include { directories } => match self.include_tlsa(&target.1, directories, spots) {
                    Ok(()) => to_read.push(target),
                    Err(why) => drop(failed.insert(target.clone(), why)),
                },
            }
        }
        failed.extend(self.update(&updates).into_iter().map(|(target, why)| (target, why.to_string())));
        if let Err(why) = self.read_again(&to_read) {
            failed.extend(to_read.into_iter().map(|target| (target.clone(), why.clone())));
        }
        failed
    }

    /// Writes the file that a zone includes, wherever one is wanted: other names in it keep what they have.
    fn include_tlsa(&self, apex: &str, directories: &[PathBuf], spots: &Spots) -> Result<(), String> {
        let root = self.tree.root();
        let _lock = self.lock_tlsa()?;
        for directory in directories {
            let path = directory.join(format!("tlsa.{apex}"));
            let text = root.text(&path).map_err(|error| error.to_string())?.unwrap_or_default();
            let fresh = file(apex, &path, &text, spots)?;
            replace(root, &path, fresh.as_bytes(), 0o644).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn lock_tlsa(&self) -> Result<Lock, String> {
        let path = self.tree.own(LOCK);
        for _ in 0..TURNS {
            if let Some(lock) = self.tree.root().lock(&path).map_err(|error| error.to_string())? {
                return Ok(lock);
            }
            clock::pause(TURN);
        }
        Err("another run writes the files of zones; try again".into())
    }
}

/// Notes what becomes of each name of a set, and says what will be in which zones.
fn put(
    set: &Rrsets,
    places: Vec<(Place, Target)>,
    zones: &mut BTreeMap<Target, Spots>,
) -> (Vec<Placed>, BTreeSet<Target>) {
    let (mut placed, mut targets) = (Vec::new(), BTreeSet::new());
    for ((owner, records), (Place { name, zone }, target)) in set.owners.iter().zip(places) {
        let spot = zones.entry(target.clone()).or_default().entry(name.clone()).or_default();
        let is_alias = !name.eq_ignore_ascii_case(owner);
        spot.is_own |= !is_alias;
        if is_alias {
            let former = set.former.iter().filter(|record| record.owner == *owner);
            spot.gone.extend(former.map(|record| located(record, &name)));
        }
        for record in records {
            let record_there = located(record, &name);
            placed.push(Placed {
                zone: Zone { extra: Vec::new(), ..zone.clone() },
                record: record_there.clone(),
            });
            let ttl = record.ttl.unwrap_or(super::tlsa::TLSA_TTL);
            spot.added.entry(record_there).and_modify(|there| *there = ttl.min(*there)).or_insert(ttl);
        }
        targets.insert(target);
    }
    (placed, targets)
}

fn located(record: &dane::Record, name: &str) -> Record {
    let dane::Record { usage, selector, matching, data, .. } = record;
    let (usage, selector, matching) = (*usage, *selector, *matching);
    Record {
        name: name.to_owned(),
        data: Data::Tlsa { usage, selector, matching, association: data.clone() },
    }
}

/// The changes of a zone, name by name. All records of a name get the lowest of their times to live, as they would
/// in a resolver (RFC 2181 section 5.2).
fn changes(spots: &Spots) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, Spot { is_own, added, gone }) in spots {
        if *is_own {
            changes.push(Change::Clear(name.clone()));
        }
        let lowest = added.values().min().copied().unwrap_or_default();
        changes.extend(added.keys().map(|record| Change::Add { record: record.clone(), ttl: lowest }));
        let gone = gone.iter().filter(|record| !is_own && !added.contains_key(record));
        changes.extend(gone.cloned().map(Change::Delete));
    }
    changes
}

/// The new text of the file of a zone.
fn file(apex: &str, path: &Path, text: &str, spots: &Spots) -> Result<String, String> {
    let there = dane::parse(path, text).map_err(|fault| fault.to_string())?;
    let stays = |record: &dane::Record| {
        let name = record.owner.to_ascii_lowercase();
        let gone = |spot: &Spot| spot.is_own || spot.gone.contains(&located(record, &name));
        !spots.get(&name).is_some_and(gone)
    };
    let mut records: BTreeSet<dane::Record> = there.into_iter().filter(stays).collect();
    for (record, ttl) in spots.values().flat_map(|spot| &spot.added) {
        let Data::Tlsa { usage, selector, matching, association } = &record.data else { continue };
        records.insert(dane::Record {
            owner: record.name.clone(),
            ttl: Some(*ttl),
            usage: *usage,
            selector: *selector,
            matching: *matching,
            data: association.clone(),
        });
    }
    let records = records.into_iter().collect();
    let version = dane::Version { service: "inventory".into(), link: Link::Curr, records };
    Ok(dane::group_file(apex, &[version]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "_443._tcp.a.test";
    const ALIAS: &str = "_443._tcp.b.test";
    const TARGET: &str = "dane.test";

    fn tlsa(owner: &str, data: u8, ttl: u32) -> dane::Record {
        let (owner, ttl) = (owner.to_owned(), Some(ttl));
        dane::Record { owner, ttl, usage: 3, selector: 1, matching: 1, data: vec![data; 32] }
    }

    fn spots(sets: &[Rrsets]) -> Spots {
        let mut zones = BTreeMap::new();
        let zone = Zone { apex: "test".into(), primary: None, resolvers: Vec::new(), extra: Vec::new() };
        for set in sets {
            let places = set.owners.keys().map(|owner| {
                let name = if owner == ALIAS { TARGET } else { owner };
                let target = (Way::Include { directories: Vec::new() }, "test".to_owned());
                (Place { name: name.to_owned(), zone: zone.clone() }, target)
            });
            put(set, places.collect(), &mut zones);
        }
        zones.into_values().next().unwrap_or_default()
    }

    fn set(owner: &str, records: &[(u8, u32)], former: &[u8]) -> Rrsets {
        let records = records.iter().map(|(data, ttl)| tlsa(owner, *data, *ttl)).collect();
        let former = former.iter().map(|data| tlsa(owner, *data, 60)).collect();
        Rrsets { owners: [(owner.to_owned(), records)].into(), former }
    }

    #[test]
    fn changes_of_a_zone() {
        let octet = |record: &Record| match &record.data {
            Data::Tlsa { association, .. } => association[0],
            Data::Txt(_) => 0,
        };
        let shown = |change: &Change| match change {
            Change::Clear(name) => format!("-{name}"),
            Change::Add { record, ttl } => format!("+{} {} {ttl}", record.name, octet(record)),
            Change::Delete(record) => format!("-{} {}", record.name, octet(record)),
        };
        let rows = [
            ("nothing", vec![], ""),
            (
                "all of a name is replaced",
                vec![set(OWN, &[(1, 60)], &[7])],
                "-_443._tcp.a.test, +_443._tcp.a.test 1 60",
            ),
            ("all of a name is removed", vec![set(OWN, &[], &[7])], "-_443._tcp.a.test"),
            (
                "one time to live",
                vec![set(OWN, &[(1, 60), (2, 30)], &[])],
                "-_443._tcp.a.test, +_443._tcp.a.test 1 30, +_443._tcp.a.test 2 30",
            ),
            (
                "what others have at the target of an alias stays",
                vec![set(ALIAS, &[(1, 60)], &[1, 7])],
                "+dane.test 1 60, -dane.test 7",
            ),
        ];
        for (case, sets, expected) in rows {
            let changes: Vec<String> = changes(&spots(&sets)).iter().map(shown).collect();
            assert_eq!(changes.join(", "), expected, "{case}");
        }
    }

    #[test]
    fn the_file_of_a_zone_keeps_other_names() {
        let other = tlsa("_25._tcp.z.test", 9, 60).to_string();
        let there = format!("{other}{}{}", tlsa(OWN, 7, 60), tlsa(TARGET, 8, 60));
        let spots = spots(&[set(OWN, &[(1, 60)], &[]), set(ALIAS, &[(2, 60)], &[7])]);
        let path = Path::new("/dns/tlsa.test");
        let text = file("test", path, &there, &spots).unwrap();
        let mut records = dane::parse(path, &text).unwrap();
        records.sort();
        let mut expected =
            [tlsa("_25._tcp.z.test", 9, 60), tlsa(OWN, 1, 60), tlsa(TARGET, 2, 60), tlsa(TARGET, 8, 60)];
        expected.sort();
        assert_eq!(records, expected, "{text}");
        assert!(file("test", path, "what is this", &spots).is_err(), "a file of somebody else is not lost");
    }
}
