//! What belongs into the zones of the groups whose services have TLSA records, and how it gets there.

use std::collections::{BTreeMap, BTreeSet};

use super::config::Service;
use super::dane;
use super::deliver;
use super::dns::publish::Publisher;
use super::exchangers::Exchangers;
use super::issue::records;
use super::lineage::{Files, Lineage, Link, Version};
use super::name::ServiceName;
use super::pending::{Action, Pending};
use super::published::Published;
use super::report::Report;
use super::run::{Run, groups};
use crate::system::root::PathError;
use crate::transaction::replace;

/// What belongs into the zones of some groups.
#[derive(Debug)]
pub struct Zones {
    /// By apex domain: the text of the group's file, and each record in it.
    wanted: BTreeMap<String, (String, Vec<dane::Record>)>,
    /// Apex domains that have no records and never had: their zones can be read again all the same.
    bare: BTreeSet<String>,
}

impl Zones {
    /// The records of all services of the groups: of what is served and of what will be. While a server has
    /// not taken up the new certificate, those of the old one stay too.
    pub fn compute(
        run: &Run<'_>,
        names: &[ServiceName],
        lineages: &BTreeMap<ServiceName, Lineage>,
        exchangers: &Exchangers,
        (pending, published): (&Pending, &Published),
        report: &mut Report,
    ) -> Self {
        let (mut wanted, mut bare) = (BTreeMap::new(), BTreeSet::new());
        for apex in groups(names).into_iter().filter(|group| group != super::name::CA) {
            match Self::of_group(run, &apex, lineages, exchangers, (pending, published)) {
                Ok(Some(zone)) => {
                    wanted.insert(apex, zone);
                }
                Ok(None) => {
                    bare.insert(apex);
                }
                Err(error) => {
                    report.failures.push(format!("{apex}: its TLSA records stay as they are: {error}"))
                }
            }
        }
        Self { wanted, bare }
    }

    fn of_group(
        run: &Run<'_>,
        apex: &str,
        lineages: &BTreeMap<ServiceName, Lineage>,
        exchangers: &Exchangers,
        (pending, published): (&Pending, &Published),
    ) -> Result<Option<(String, Vec<dane::Record>)>, String> {
        let exchangers = exchangers.of(apex);
        let services: Vec<&Service> = run
            .config
            .services
            .values()
            .filter(|service| service.name.group() == apex && !service.dane.is_empty())
            .collect();
        let has_file = run.world.root.status(&run.tree.group_tlsa(apex)).is_ok_and(|status| status.is_some());
        if services.is_empty() && !has_file {
            return Ok(None);
        }
        // Which records it has is not known; to leave them out would withdraw what servers still show.
        if let Some(refused) = run.config.refused.iter().find(|name| has_file && name.group() == apex) {
            return Err(format!("the configuration of {refused} cannot be used"));
        }
        let mut versions = Vec::new();
        for service in services {
            let read;
            let lineage = match lineages.get(&service.name) {
                Some(lineage) => lineage,
                None => {
                    read = run.tree.lineage(&service.name).map_err(|error| error.to_string())?;
                    &read
                }
            };
            // A `curr` that cannot be told what it is would take records away that are still needed.
            if let Some(curr) = lineage.curr.as_ref().filter(|curr| curr.certificate.is_none()) {
                return Err(format!("{}: {}", service.name, curr.problems.join("; ")));
            }
            let of = |version: Option<&Version>| {
                version.map(|version| records(service, &version.files, exchangers)).transpose()
            };
            let name = service.name.service();
            let (curr, next) = (of(lineage.curr.as_ref())?, of(lineage.waiting())?);
            let is_first = curr.is_none();
            if is_withheld(run, service, curr.as_deref(), pending, published)? {
                continue;
            }
            versions.extend(dane::publish(name, curr, next));
            if !is_first {
                let records = former(run, service, lineage, exchangers, pending)?;
                if !records.is_empty() {
                    versions.push(dane::Version { service: name.to_owned(), link: Link::Prev, records });
                }
            }
        }
        let records: BTreeSet<dane::Record> =
            versions.iter().flat_map(|version| &version.records).cloned().collect();
        Ok(Some((dane::group_file(apex, &versions), records.into_iter().collect())))
    }

    /// The zones that do not hold what they should.
    pub fn changed(&self, published: &Published) -> BTreeSet<String> {
        self.wanted
            .iter()
            .filter(|(apex, (_, records))| !published.holds(apex, records))
            .map(|(apex, _)| apex.clone())
            .collect()
    }

    /// The records that belong into some of the zones.
    pub fn records(&self, apexes: &BTreeSet<String>) -> BTreeMap<String, Vec<dane::Record>> {
        let wanted = self.wanted.iter().filter(|(apex, _)| apexes.contains(*apex));
        wanted.map(|(apex, (_, records))| (apex.clone(), records.clone())).collect()
    }

    /// Leaves the zones of some groups as they are.
    pub fn leave<'g>(&mut self, groups: impl Iterator<Item = &'g str>) {
        groups.for_each(|group| drop(self.wanted.remove(group)));
    }

    /// Writes the group's files, brings them to where zones include them, and has the zones read again.
    pub fn write(
        &self,
        run: &Run<'_>,
        pending: &mut Pending,
        published: &mut Published,
        report: &mut Report,
    ) {
        let is_due = |apex: &&String| pending.contains(&Action::Zone { apex: (*apex).clone() });
        let mut due: Vec<String> = self.bare.iter().filter(is_due).cloned().collect();
        let publisher = Publisher::new(&run.tree, &run.config.site);
        for (apex, (text, records)) in &self.wanted {
            let action = Action::Zone { apex: apex.clone() };
            let by_update = pending.contains(&action) && publisher.updates_tlsa(apex);
            let updated = if by_update { update(run, &publisher, apex, records, report) } else { Ok(()) };
            // The file tells what is in the zone, so where it is not included there it comes last.
            match updated.and_then(|()| self.file(run, apex, text)) {
                Ok(()) if by_update => {
                    published.set(apex, records, run.now());
                    pending.done(&action);
                    report.done.push(action.to_string());
                }
                Err(error) if pending.contains(&action) => pending.failed(&action, error),
                // The records are those that are in the zone, but not all of their files are there.
                Err(error) => report.failures.push(format!("{apex}: its TLSA records: {error}")),
                Ok(()) if pending.contains(&action) => due.push(apex.clone()),
                // Who reads the zone is not to be told: it does by itself.
                Ok(()) => published.set(apex, records, run.now()),
            }
        }
        if due.is_empty() {
            return;
        }
        match deliver::refresh_zones(run, &due) {
            Ok(()) => {
                for apex in due {
                    let records = self.wanted.get(&apex).map(|(_, records)| records.as_slice());
                    published.set(&apex, records.unwrap_or_default(), run.now());
                    let action = Action::Zone { apex };
                    pending.done(&action);
                    report.done.push(action.to_string());
                }
            }
            Err(error) => {
                due.into_iter().for_each(|apex| pending.failed(&Action::Zone { apex }, error.clone()));
            }
        }
    }

    /// The group's file: in the state tree, in production, and in every directory of the configuration.
    fn file(&self, run: &Run<'_>, apex: &str, text: &str) -> Result<(), String> {
        let failed = |error: PathError| error.to_string();
        let root = run.world.root;
        let own = run.tree.group_tlsa(apex);
        let name = format!("tlsa.{apex}");
        let elsewhere = run.config.site.dns.tlsa_directories.iter().map(|directory| directory.join(&name));
        for path in std::iter::once(own.clone()).chain(elsewhere) {
            if root.read_optional(&path).map_err(failed)?.as_deref() != Some(text.as_bytes()) {
                if path == own {
                    run.tree.prepare_group(apex).map_err(failed)?;
                }
                replace(root, &path, text.as_bytes(), 0o644).map_err(failed)?;
            }
        }
        run.production.put_text(apex, &name, text).map(drop).map_err(failed)
    }
}

/// Brings the records into a zone by dynamic update, and takes those away that are there no more. All are sent:
/// what was there before may have come there in another way, or not at all.
fn update(
    run: &Run<'_>,
    publisher: &Publisher<'_>,
    apex: &str,
    records: &[dane::Record],
    report: &mut Report,
) -> Result<(), String> {
    let path = run.tree.group_tlsa(apex);
    let text = run.world.root.text(&path).map_err(|error| error.to_string())?.unwrap_or_default();
    let mut gone = dane::parse(&path, &text).map_err(|fault| fault.to_string())?;
    gone.retain(|there| !records.iter().any(|record| record.is_same(there)));
    report.notes.extend(publisher.replace_tlsa(apex, &gone, records)?.notes);
    Ok(())
}

/// Says whether the records of a first certificate have to wait: where a server has not taken it up, nobody shows
/// what they say. What is published already is not taken away.
fn is_withheld(
    run: &Run<'_>,
    service: &Service,
    curr: Option<&[dane::Record]>,
    pending: &Pending,
    published: &Published,
) -> Result<bool, String> {
    let group = service.name.group();
    let Some(curr) = curr.filter(|curr| !curr.is_empty() && pending.holds_back(group)) else {
        return Ok(false);
    };
    let prev = run.tree.linked_version(&service.name, Link::Prev).map_err(|error| error.to_string())?;
    Ok(prev.is_none() && published.state(group, curr).is_none())
}

/// The records of what servers may still show: of `prev` while one of them has to be told of `curr`, and of the
/// production copy while that is an older one.
fn former(
    run: &Run<'_>,
    service: &Service,
    lineage: &Lineage,
    exchangers: &[String],
    pending: &Pending,
) -> Result<Vec<dane::Record>, String> {
    let failed = |error: PathError| error.to_string();
    let mut former = Vec::new();
    if pending.holds_back(service.name.group()) {
        let prev = run.tree.linked_version(&service.name, Link::Prev).map_err(failed)?;
        if let Some(prev) = prev.filter(|prev| prev.certificate.is_some()) {
            former.extend(records(service, &prev.files, exchangers)?);
        }
    }
    let served = run.production.full_chain(&service.name).map_err(failed)?;
    let curr = lineage.curr.as_ref().and_then(|curr| curr.files.full_chain.as_ref());
    if served.is_some() && served.as_ref() != curr {
        // What cannot be read there is shown by nobody.
        let served = Files { full_chain: served, ..Files::default() };
        former.extend(records(service, &served, exchangers).unwrap_or_default());
    }
    former.sort();
    former.dedup();
    Ok(former)
}
