//! The TLSA records of an apex domain by dynamic update: what is new comes, what is old goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use super::{Placed, Publication, Publisher, Target};
use crate::manager::config::Purpose;
use crate::manager::dane;
use crate::manager::dns::delegation::is_within;
use crate::manager::dns::update::Change;
use crate::manager::dns::{Data, Record};

/// Seconds that a TLSA record without a time to live of its own gets, as with ssl-mgr.
pub(super) const TLSA_TTL: u32 = 1800;

/// What has become of TLSA records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replaced {
    /// Those that are in their zones now.
    pub added: Publication,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl Publisher<'_> {
    /// Says whether the TLSA records of an apex domain are changed by dynamic update.
    pub fn updates_tlsa(&self, apex: &str) -> bool {
        self.entry(apex, Purpose::Tlsa).is_some()
    }

    /// Replaces TLSA records of an apex domain by dynamic update: the difference, in one message for each zone.
    /// `old` are those that were published before.
    ///
    /// # Errors
    /// In words; the zones are as they were, or that is not known.
    pub fn replace_tlsa(
        &self,
        apex: &str,
        old: &[dane::Record],
        new: &[dane::Record],
    ) -> Result<Replaced, String> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut replaced = Replaced::default();
        let (changes, outside) = difference(apex, old, new);
        replaced.notes.extend(outside.into_iter().map(|owner| {
            format!("the TLSA records of {owner} belong to a zone other than {apex}, and are left out")
        }));
        let names: Vec<String> = changes.iter().map(|change| change.name().to_owned()).collect();
        let mut zones: BTreeMap<Target, Vec<Change>> = BTreeMap::new();
        for (change, place) in changes.into_iter().zip(self.finder().places(&names)) {
            let place = place?;
            let way = self.entry(&place.name, Purpose::Tlsa).ok_or_else(|| {
                format!("there is no [[dns_update]] for the TLSA records of {}", place.name)
            })?;
            let renamed = |record: Record| Record { name: place.name.clone(), ..record };
            let change = match change {
                Change::Add { record, ttl } => {
                    let record = renamed(record);
                    replaced.added.0.push(Ok(Placed { zone: place.zone.clone(), record: record.clone() }));
                    Change::Add { record, ttl }
                }
                Change::Delete(record) => Change::Delete(renamed(record)),
                Change::Clear(_) => Change::Clear(place.name.clone()),
            };
            zones.entry((way, place.zone.apex)).or_default().push(change);
        }
        let updates: Vec<(&Target, Vec<Change>)> =
            zones.iter().map(|(target, changes)| (target, changes.clone())).collect();
        let failed: Vec<String> =
            self.update(&updates).into_values().map(|refusal| refusal.to_string()).collect();
        if failed.is_empty() { Ok(replaced) } else { Err(failed.join("; ")) }
    }
}

/// What makes the new records of the old ones, and the owners that are not in the apex domain. What is added
/// comes first: at no moment is there a name without any.
fn difference(apex: &str, old: &[dane::Record], new: &[dane::Record]) -> (Vec<Change>, BTreeSet<String>) {
    let mut outside = BTreeSet::new();
    let mut set = |records: &[dane::Record]| -> BTreeMap<Record, u32> {
        let mut set = BTreeMap::new();
        for record in records {
            let owner = record.owner.to_ascii_lowercase();
            if !is_within(&owner, apex) {
                outside.insert(owner);
                continue;
            }
            let dane::Record { usage, selector, matching, .. } = *record;
            let data = Data::Tlsa { usage, selector, matching, association: record.data.clone() };
            set.insert(Record { name: owner, data }, record.ttl.unwrap_or(TLSA_TTL));
        }
        set
    };
    let (old, new) = (set(old), set(new));
    let added = new.iter().filter(|(record, ttl)| old.get(record) != Some(ttl));
    let mut changes: Vec<Change> =
        added.map(|(record, ttl)| Change::Add { record: record.clone(), ttl: *ttl }).collect();
    let deleted = old.into_keys().filter(|record| !new.contains_key(record));
    changes.extend(deleted.map(Change::Delete));
    (changes, outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlsa(owner: &str, data: u8, ttl: Option<u32>) -> dane::Record {
        dane::Record { owner: owner.into(), ttl, usage: 3, selector: 1, matching: 1, data: vec![data; 32] }
    }

    #[test]
    fn differences() {
        let (smtp, web) = ("_25._tcp.mx.example.com", "_443._tcp.example.com");
        let shown = |changes: &[Change]| -> Vec<String> {
            let one = |change: &Change| match change {
                Change::Add { record, ttl } => format!("+{} {ttl}", record.name),
                Change::Delete(_) | Change::Clear(_) => format!("-{}", change.name()),
            };
            changes.iter().map(one).collect()
        };
        let (a, b) = (tlsa(smtp, 1, None), tlsa(web, 2, Some(60)));
        let (longer, other) = (tlsa(web, 2, Some(120)), tlsa("_25._tcp.mx.other.test", 3, None));
        // name, old, new, changes, outside
        let cases = [
            ("nothing", vec![], vec![], vec![], 0),
            ("the same", vec![a.clone(), b.clone()], vec![b.clone(), a.clone()], vec![], 0),
            (
                "one comes, one goes",
                vec![a.clone()],
                vec![b.clone()],
                vec![format!("+{web} 60"), format!("-{smtp}")],
                0,
            ),
            ("another time to live", vec![b.clone()], vec![longer], vec![format!("+{web} 120")], 0),
            ("twice", vec![], vec![a.clone(), a.clone()], vec![format!("+{smtp} 1800")], 0),
            ("elsewhere", vec![other.clone()], vec![a, other], vec![format!("+{smtp} 1800")], 1),
        ];
        for (case, old, new, expected, outside) in cases {
            let (changes, left_out) = difference("example.com", &old, &new);
            assert_eq!((shown(&changes), left_out.len()), (expected, outside), "{case}");
        }
    }
}
