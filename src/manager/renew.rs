//! `renew`: makes `next` where it is due.
//!
//! ```text
//! lock, recover → look, put right → decide → make → link → settle
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::acquire;
use super::config::Signing;
use super::exchangers;
use super::issue::{self, KeyFrom, Made, Order};
use super::lineage::{Link, VersionName};
use super::manual::request::{self, Waiting, key_of_curr, waiting};
use super::name::ServiceName;
use super::report::{Outcome, Report};
use super::run::{Lineages, ManagerError, Run, World, groups, recorded};
use super::schedule::{self, Demand, Due, Targets};
use super::seen::Seer;
use super::select::select;
use super::settle::{Extent, settle};
use super::suggested;
use super::tree::Move;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Which services, in words; none for the active groups'.
    pub selection: Vec<String>,
    /// Renew what is named, due or not.
    pub force: bool,
    /// Renew authorities too.
    pub with_authorities: bool,
    /// Use the key of `curr` again.
    pub reuse_key: bool,
    /// Single steps, for which everything that is named is due; none does all.
    pub only: BTreeSet<Part>,
    /// Have public authorities' directories for tests sign; what comes of it lies apart, and is never served.
    pub staging: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// One step of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    /// A key, with a request for it.
    Key,
    /// A request for the key that waits for one, or for a new one.
    Request,
    /// The certificate, for the key that waits for one, or for a new one.
    Certificate,
}

impl Request {
    /// What of a service is wanted: nobody gets a new authority who only wanted everything to be renewed.
    fn demand(&self, name: &ServiceName) -> Demand {
        let forces = self.force || !self.only.is_empty();
        match (forces && (self.with_authorities || !name.is_ca()), self.with_authorities) {
            (true, _) => Demand::All,
            (false, true) => Demand::DueWithAuthorities,
            (false, false) => Demand::Due,
        }
    }

    /// For which key certificates are made.
    fn key(&self) -> KeyFrom {
        match (self.reuse_key, self.only.contains(&Part::Certificate)) {
            (true, _) => KeyFrom::Curr,
            (false, true) if !self.only.contains(&Part::Key) => KeyFrom::Waiting,
            _ => KeyFrom::Fresh,
        }
    }
}

/// Renews.
///
/// # Errors
/// [`ManagerError`] when nothing could be begun; what failed of single services is in the report.
pub fn renew(world: World<'_>, request: &Request) -> Result<Report, ManagerError> {
    if request.staging {
        return try_out(world, request);
    }
    recorded(world, "renew", request.dry_run, |run| {
        let names = select(&run.config, &request.selection).map_err(ManagerError::Usage)?;
        let lineages = run.lineages(&names, request.dry_run);
        let mut report = opening(run, &lineages);
        if !request.dry_run {
            report.failures.extend(acquire::sweep(run));
            report.notes.extend(suggested::ask(run, &lineages.found)?);
        }
        let orders = decide(run, request, &lineages, &mut report);
        if request.dry_run {
            return Ok(report);
        }
        if !request.only.is_empty() && !request.only.contains(&Part::Certificate) {
            orders.iter().for_each(|(order, _)| prepare(run, request, &order.name, &mut report));
            return Ok(report);
        }
        make(run, request, orders, &lineages, &mut report)?;
        report.absorb(settle(run, &names, Extent { acts: true, restarts_all: false })?);
        Ok(report)
    })
}

/// Has public authorities' directories for tests sign: the same on a tree apart, of which nobody is told.
fn try_out(world: World<'_>, request: &Request) -> Result<Report, ManagerError> {
    let run = if request.dry_run { Run::watch_test(world)? } else { Run::begin_test(world)? };
    let mut names = select(&run.config, &request.selection).map_err(ManagerError::Usage)?;
    names.retain(|name| run.service(name).is_ok_and(|service| !run.config.acme(service).is_empty()));
    let lineages = run.lineages(&names, request.dry_run);
    let mut report = opening(&run, &lineages);
    let orders = decide(&run, request, &lineages, &mut report);
    if !request.dry_run {
        report.failures.extend(acquire::sweep(&run));
        make(&run, request, orders, &lineages, &mut report)?;
        let apart = run.tree.certificates();
        report
            .notes
            .push(format!("what was made is for tests, lies in {}, and is never served", apart.display()));
    }
    Ok(report)
}

/// Makes what was decided on, and lets `next` lead to it.
///
/// # Errors
/// [`ManagerError::Failed`] where nothing can be made since the key that would sign cannot be opened.
pub(super) fn make(
    run: &Run<'_>,
    request: &Request,
    orders: Vec<(Order, String)>,
    lineages: &Lineages,
    report: &mut Report,
) -> Result<(), ManagerError> {
    let (exchangers, _) = exchangers::ask(run, groups(orders.iter().map(|(order, _)| &order.name)));
    let reasons: BTreeMap<_, _> =
        orders.iter().map(|(order, why)| (order.name.clone(), why.clone())).collect();
    let orders: Vec<Order> = orders.into_iter().map(|(order, _)| order).collect();
    let shut = issue::shut(run, &orders);
    let (orders, left): (Vec<Order>, Vec<Order>) =
        orders.into_iter().partition(|order| !shut.contains_key(&order.name));
    let errors: BTreeSet<&String> = shut.values().collect();
    if let (true, Some(error)) = (orders.is_empty(), errors.first()) {
        return Err(ManagerError::Failed((*error).clone()));
    }
    // Said once, and nobody else waits for it.
    report.failures.extend(errors.into_iter().cloned());
    for order in left {
        let reason = "not made: the key that would sign it cannot be opened".to_owned();
        report.services.insert(order.name, Outcome::Left { reason });
    }
    let made = issue::make(run, &orders, &lineages.found, &exchangers);
    link(run, made, &reasons, request.reuse_key, report);
    Ok(())
}

/// What was put in order before anything else, and what cannot be touched.
pub fn opening(run: &Run<'_>, lineages: &Lineages) -> Report {
    let mut report = Report::default();
    report.repaired.extend(run.repaired().map(str::to_owned));
    for (name, repairs) in &lineages.repaired {
        let would = if lineages.dry_run { "would be put right: " } else { "" };
        report.repaired.extend(repairs.iter().map(|repair| format!("{name}: {would}{repair}")));
    }
    let failed =
        |(name, error): (&ServiceName, &String)| (name.clone(), Outcome::Failed { error: error.clone() });
    report.services.extend(lineages.failed.iter().map(failed));
    report.failures.extend(run.config.faults.iter().map(ToString::to_string));
    report
}

/// What is to be made, and why; everything else goes into the report.
pub(super) fn decide(
    run: &Run<'_>,
    request: &Request,
    lineages: &Lineages,
    report: &mut Report,
) -> Vec<(Order, String)> {
    let targets = Targets::new(&run.config.site.renew_targets, &run.config.site.renew_spreads);
    let mut orders = Vec::new();
    let mut seer = Seer::new(&run.tree, &run.config);
    for (name, lineage) in &lineages.found {
        let service = match run.service(name) {
            Ok(service) => service,
            Err(error) => {
                report.services.insert(name.clone(), Outcome::Failed { error });
                continue;
            }
        };
        let (curr, next) = (
            lineage.live().and_then(|version| seer.see(service, version)),
            lineage.waiting().and_then(|version| seer.see(service, version)),
        );
        let policy = targets.policy(service);
        let due =
            schedule::due(name, curr.as_ref(), next.as_ref(), &policy, request.demand(name), run.world.now);
        let outcome = match due {
            Due::Renew(reason) => match run.config.signing(service) {
                Some(Signing::Manual(_)) => {
                    Outcome::Asks { request: format!("{reason}; {}", by_hand(run, name)) }
                }
                _ => {
                    let key = match request.key() {
                        KeyFrom::Curr if lineage.curr.is_none() => KeyFrom::Fresh,
                        key => key,
                    };
                    orders.push((Order { name: name.clone(), key }, reason.to_string()));
                    continue;
                }
            },
            Due::Ask(reason) => Outcome::Asks {
                request: format!(
                    "{reason}; who trusts it has to be told of a new one, so that is made only by \
                     `reseed manager renew --renew-ca {name}`"
                ),
            },
            other => Outcome::Left { reason: other.to_string() },
        };
        report.services.insert(name.clone(), outcome);
    }
    if request.dry_run {
        for (order, reason) in &orders {
            report
                .services
                .insert(order.name.clone(), Outcome::Left { reason: format!("would be renewed: {reason}") });
        }
    }
    let authorities: Vec<_> = orders.iter().filter(|(order, _)| order.name.is_ca()).collect();
    for (order, _) in authorities {
        if lineages.found.get(&order.name).is_some_and(|lineage| lineage.curr.is_some()) {
            report.notes.push(format!(
                "{}: when it is rolled, what it has signed is due, and whoever trusts it has to be given \
                 the new certificate",
                order.name
            ));
        }
    }
    orders
}

/// Makes a key and a request to which nothing leads yet.
fn prepare(run: &Run<'_>, request: &Request, name: &ServiceName, report: &mut Report) {
    let key = || match (request.reuse_key, request.only.contains(&Part::Key)) {
        (true, _) => key_of_curr(run, name, run.tree.linked_version(name, Link::Curr)?.as_ref()).map(Some),
        (false, true) => Ok(None),
        (false, false) => Ok(waiting(&run.tree, name)?.pop().map(Waiting::into_key)),
    };
    let service = run.service(name).map_err(ManagerError::Failed);
    let made = service.and_then(|service| request::make(run, service, key()?));
    let outcome = match made {
        Ok(waiting) => {
            Outcome::Left { reason: format!("{} waits for a certificate", waiting.path.display()) }
        }
        Err(error) => Outcome::Failed { error: error.to_string() },
    };
    report.services.insert(name.clone(), outcome);
}

/// What somebody has to do for a certificate that is signed by hand.
fn by_hand(run: &Run<'_>, name: &ServiceName) -> String {
    match waiting(&run.tree, name).unwrap_or_default().pop() {
        Some(request) => format!(
            "it is signed by hand: {} waits for an answer, for `reseed manager import`",
            request.path.display()
        ),
        None => format!("it is signed by hand: `reseed manager csr {name}`"),
    }
}

/// Lets `next` lead to what was made.
fn link(
    run: &Run<'_>,
    made: BTreeMap<ServiceName, Result<Made, String>>,
    reasons: &BTreeMap<ServiceName, String>,
    reused_key: bool,
    report: &mut Report,
) {
    let mut moves = Vec::new();
    for (name, result) in made {
        let outcome = match result {
            Ok(made) => {
                moves.push(Move {
                    changes: vec![run.tree.link(&name, Link::Next, &made.version)],
                    fresh: vec![made.version.clone()],
                    name: name.clone(),
                });
                report.notes.extend(made.note.map(|note| format!("{name}: {note}")));
                let reason = reasons.get(&name).cloned().unwrap_or_default();
                Outcome::Made { version: made.version, reason, expires: made.expires, reused_key }
            }
            Err(error) => Outcome::Failed { error },
        };
        report.services.insert(name, outcome);
    }
    let mut linked: BTreeMap<ServiceName, VersionName> = moves
        .iter()
        .flat_map(|one| one.fresh.iter().map(|version| (one.name.clone(), version.clone())))
        .collect();
    for (name, error) in run.tree.switch(&run.lock, moves) {
        linked.remove(&name);
        report.services.insert(name, Outcome::Failed { error: error.to_string() });
    }
    report.failures.extend(acquire::forget(run, &linked));
}
