//! `roll`: makes `next` into `curr` where it is old enough.
//!
//! ```text
//! lock, recover → look, put right → decide → switch all links in one step → settle
//! ```

use std::time::Duration;

use time::macros::format_description;

use super::exchangers::{self, Exchangers};
use super::issue::records;
use super::lineage::{Lineage, Link, Version, VersionName, version};
use super::name::ServiceName;
use super::published::Published;
use super::renew::opening;
use super::report::{Outcome, Report};
use super::run::{ManagerError, Run, World, groups};
use super::schedule::{self, Roll, Tlsa, Wait};
use super::seen::dates;
use super::select::select;
use super::settle::{Extent, settle};
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
    let run = Run::begin(world)?;
    let names = select(&run.config, &request.selection).map_err(ManagerError::Usage)?;
    let lineages = if request.dry_run { run.prospect(&names) } else { run.lineages(&names) };
    let mut report = opening(&run, &lineages);
    let published = run.published()?;
    let (exchangers, _) = exchangers::ask(&run, groups(&names));
    let mut moves = Vec::new();
    for (name, lineage) in &lineages.found {
        let decision = decide(&run, request, name, lineage, &published, &exchangers);
        let outcome = match (decision, lineage.waiting()) {
            (Err(error), _) => Outcome::Failed { error },
            (Ok(decision @ Roll::Now(_)), Some(next)) if !request.dry_run => {
                let proven = next.prove();
                match proven
                    .and_then(|()| switch(&run, name, lineage, next).map_err(|error| error.to_string()))
                {
                    Ok(one) => {
                        moves.push(one);
                        Outcome::Rolled { version: next.name.clone(), reason: decision.to_string() }
                    }
                    Err(error) => Outcome::Failed { error },
                }
            }
            (Ok(decision), _) => Outcome::Left { reason: decision.to_string() },
        };
        report.services.insert(name.clone(), outcome);
    }
    if request.dry_run {
        return Ok(report);
    }
    for (name, error) in run.tree.switch(&run.lock, moves) {
        report.services.insert(name, Outcome::Failed { error: error.to_string() });
    }
    report.absorb(settle(&run, &names, Extent { acts: true, restarts_all: false })?);
    Ok(report)
}

fn decide(
    run: &Run<'_>,
    request: &Request,
    name: &ServiceName,
    lineage: &Lineage,
    published: &Published,
    exchangers: &Exchangers,
) -> Result<Roll, String> {
    let least = request.least_minutes.unwrap_or(run.config.site.roll_after_minutes);
    let next = lineage.waiting();
    let tlsa = match (next, run.service(name)) {
        (Some(next), Ok(service)) if !service.dane.is_empty() => {
            let records = records(service, &next.files, exchangers.of(name.group()))?;
            let records: Vec<String> = records.iter().map(ToString::to_string).collect();
            let published = published.since(name.group(), records.iter().map(String::as_str));
            schedule::tlsa_ttl(service).map(|ttl| Tlsa { ttl, published })
        }
        _ => None,
    };
    let wait = Wait { least: Duration::from_secs(least.saturating_mul(60)), tlsa };
    let (next, curr) = (next.and_then(dates), lineage.live().and_then(dates));
    Ok(schedule::roll(next.as_ref(), curr.as_ref(), &wait, request.force, run.world.now))
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
