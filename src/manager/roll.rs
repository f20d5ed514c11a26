//! `roll`: makes `next` into `curr` where it is old enough.
//!
//! ```text
//! lock, recover → look, put right → decide → switch all links in one step → settle
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use super::exchangers::{self, Exchangers};
use super::issue::records;
use super::lineage::{Lineage, Link, Version, VersionName, version};
use super::name::ServiceName;
use super::outlook::{Outlook, Successors};
use super::published::Published;
use super::renew::opening;
use super::report::{Outcome, Report};
use super::run::{Lineages, ManagerError, Run, World, groups, recorded};
use super::schedule::Roll;
use super::select::select;
use super::settle::{Extent, settle};
use super::shown;
use super::tree::Move;
use crate::system::root::PathError;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Which services, in words; none for the active groups'.
    pub selection: Vec<String>,
    /// Roll at any age.
    pub force: bool,
    /// The least age in minutes, instead of the configuration's.
    pub least_minutes: Option<u64>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Rolls.
///
/// # Errors
/// [`ManagerError`] when nothing could be begun; what failed of single services is in the report.
pub fn roll(world: World<'_>, request: &Request) -> Result<Report, ManagerError> {
    recorded(world, "roll", request.dry_run, |run| {
        let names = select(&run.config, &request.selection).map_err(ManagerError::Usage)?;
        let lineages = run.lineages(&names, request.dry_run);
        let mut report = opening(run, &lineages);
        let outcomes = take_over(run, request, &lineages)?;
        report.services.extend(outcomes);
        if !request.dry_run {
            report.absorb(settle(run, &names, Extent { acts: true, restarts_all: false })?);
        }
        Ok(report)
    })
}

/// Lets every successor take over that has waited long enough, all in one step.
///
/// # Errors
/// [`ManagerError`] when what was recorded cannot be read or kept.
pub(super) fn take_over(
    run: &Run<'_>,
    request: &Request,
    lineages: &Lineages,
) -> Result<BTreeMap<ServiceName, Outcome>, ManagerError> {
    let mut published = run.published()?;
    let waiting = lineages.found.iter().filter(|(_, lineage)| lineage.waiting().is_some());
    let (exchangers, _) = exchangers::ask(run, groups(waiting.map(|(name, _)| name)));
    if !request.dry_run {
        look(run, lineages, &exchangers, &mut published)?;
    }
    let successors = Successors {
        config: &run.config,
        published: &published,
        least: least(run, request),
        force: request.force,
        now: run.now(),
    };
    let (mut outcomes, mut moves) = (BTreeMap::new(), Vec::new());
    for (name, lineage) in &lineages.found {
        let outlook = successors.outlook(name, lineage, exchangers.of(name.group()));
        let outcome = match (outlook, lineage.waiting()) {
            (Err(error), _) => Outcome::Failed { error },
            (Ok(outlook @ Outlook { roll: Roll::Now(_), .. }), Some(next)) if !request.dry_run => {
                let proven = next.prove(run.tree.keyring());
                match proven
                    .and_then(|()| switch(run, name, lineage, next).map_err(|error| error.to_string()))
                {
                    Ok(one) => {
                        moves.push(one);
                        Outcome::Rolled { version: next.name.clone(), reason: outlook.to_string() }
                    }
                    Err(error) => Outcome::Failed { error },
                }
            }
            // Somebody has to look: it would wait for ever.
            (Ok(outlook @ Outlook { roll: Roll::Unseen | Roll::Unpublished, .. }), _)
                if has_ended(lineage, successors.now) =>
            {
                Outcome::Failed { error: format!("curr has ended, and next {outlook}") }
            }
            (Ok(outlook), _) => Outcome::Left { reason: outlook.to_string() },
        };
        outcomes.insert(name.clone(), outcome);
    }
    for (name, error) in run.tree.switch(&run.lock, moves) {
        outcomes.insert(name, Outcome::Failed { error: error.to_string() });
    }
    Ok(outcomes)
}

fn has_ended(lineage: &Lineage, now: OffsetDateTime) -> bool {
    let certificate = lineage.live().and_then(|curr| curr.certificate.as_ref());
    certificate.is_some_and(|certificate| certificate.not_after <= now)
}

fn least(run: &Run<'_>, request: &Request) -> Duration {
    let minutes = request.least_minutes.unwrap_or(run.config.site.roll_after_minutes);
    Duration::from_secs(minutes.saturating_mul(60))
}

/// Asks name servers for the records of successors, as far as not all of them showed those before.
fn look(
    run: &Run<'_>,
    lineages: &Lineages,
    exchangers: &Exchangers,
    published: &mut Published,
) -> Result<(), ManagerError> {
    let mut wanted = BTreeMap::new();
    for (name, lineage) in &lineages.found {
        // Of what has never been served nothing is published, and it waits for nobody.
        let (Some(next), Some(_), Ok(service)) = (lineage.waiting(), lineage.live(), run.service(name))
        else {
            continue;
        };
        // What is wrong with them is said where it is decided.
        let records = records(service, &next.files, exchangers.of(name.group())).unwrap_or_default();
        wanted.entry(name.group().to_owned()).or_insert_with(Vec::new).extend(records);
    }
    // What is still missing is said with what waits for it.
    shown::look(run, &wanted, published);
    run.save_published(published)?;
    Ok(())
}

/// The links of one service, all in one step: `next` becomes `curr`, `curr` becomes `prev`.
fn switch(run: &Run<'_>, name: &ServiceName, lineage: &Lineage, next: &Version) -> Result<Move, PathError> {
    let tree = &run.tree;
    let mut changes = vec![
        tree.note(name, &next.name, version::INFO, &info(name, run.world.now)),
        tree.link(name, Link::Curr, &next.name),
    ];
    // A broken one is nothing to go back to.
    let former: Option<&VersionName> = lineage.live().map(|version| &version.name);
    if let Some(former) = former {
        changes.push(tree.link(name, Link::Prev, former));
    }
    changes.extend(tree.unlink(name, Link::Next)?);
    Ok(Move { name: name.clone(), changes, fresh: Vec::new() })
}

/// The line of ssl-mgr's `info`.
fn info(name: &ServiceName, now: time::OffsetDateTime) -> String {
    let format = format_description!("[year][month][day]-[hour]:[minute]:[second]");
    format!("# {} rolled to curr : {}\n", name.service(), now.format(format).unwrap_or_default())
}
