//! `status`: what there is of each certificate. Reads, and holds nobody up: no lock, no question to DNS, no
//! change, whatever state the tree is in.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use super::acme::limits::{self, Limit, Limits};
use super::config::{Configuration, Signing};
use super::exchangers;
use super::history::Ran;
use super::info;
use super::lineage::{self, Lineage, Link, Version};
use super::manual::request::{Told, waiting};
use super::name::ServiceName;
use super::outlook::{Outlook, Successors};
use super::pending::{Action, State};
use super::run::{self, ManagerError, World};
use super::schedule::{self, Demand, Due, Targets};
use super::seen::Seer;
use super::select::select;
use super::tree::Tree;
use crate::pki::container;
use crate::pki::inspect::Certificate;

/// What there is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The top directory.
    pub top: String,
    /// By service, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// What is still to be done for servers and zones, each in a line.
    pub pending: Vec<String>,
    /// The same, with all that is known of it.
    pub actions: Vec<ActionStatus>,
    /// When each command last ran.
    pub runs: Vec<Ran>,
    /// Authorities that do not want to be asked for a while.
    pub limits: Vec<LimitStatus>,
    /// What is wrong with the configuration.
    pub faults: Vec<String>,
    /// Every host that can have something to be done.
    #[serde(skip)]
    pub hosts: BTreeSet<String>,
    /// The site wants more said: `verb`.
    #[serde(skip)]
    pub verbose: bool,
    /// The time that the rest is told for.
    #[serde(with = "time::serde::rfc3339")]
    pub now: OffsetDateTime,
}

/// One thing that is still to be done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ActionStatus {
    /// What.
    pub action: String,
    /// For which host; this one's own name where it is done here.
    pub host: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The groups whose old TLSA records stay until it is done.
    pub groups: BTreeSet<String>,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// An authority that does not want to be asked for a while.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LimitStatus {
    /// URL of its directory.
    pub directory: String,
    /// For whose order; nothing for whatever is asked there.
    pub service: Option<String>,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub until: OffsetDateTime,
    /// In its words.
    pub why: String,
}

/// What there is of one service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceStatus {
    /// Its name.
    pub name: ServiceName,
    /// Its versions, `curr` first.
    pub versions: Vec<VersionStatus>,
    /// Requests that wait for an answer, oldest first.
    pub requests: Vec<Told>,
    /// When it is renewed; nothing when its configuration cannot be used.
    pub due: Option<Due>,
    /// From when on the version that is served is due to be renewed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub renew_at: Option<OffsetDateTime>,
    /// What its successor waits for; nothing when there is none.
    pub roll: Option<Outlook>,
    /// What is wrong, and what the next run does about it.
    pub problems: Vec<String>,
}

/// What there is of one version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VersionStatus {
    /// By which link.
    pub link: Link,
    /// The directory's name.
    pub version: String,
    /// What the certificate says; nothing when there is none that can be read.
    pub certificate: Option<Certificate>,
    /// The key in it: `secp384r1`, `rsa-4096`.
    pub key: Option<String>,
    /// The algorithm of its signature.
    pub signature: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339::option")]
    pub made: Option<OffsetDateTime>,
    /// Why it cannot be served.
    pub problems: Vec<String>,
}

/// Looks.
///
/// # Errors
/// [`ManagerError`] when the configuration cannot be read, or names what there is not.
pub fn status(world: &World<'_>, selection: &[String]) -> Result<Status, ManagerError> {
    let config = run::configuration(world)?;
    let names = select(&config, selection).map_err(ManagerError::Usage)?;
    let tree = run::tree(world, &config, &world.top);
    let targets = Targets::new(&config.site.renew_targets, &config.site.renew_spreads);
    let mut seer = Seer::new(&tree, &config);
    let published = run::published(&tree)?;
    let successors = Successors {
        config: &config,
        published: &published,
        least: Duration::from_secs(config.site.roll_after_minutes.saturating_mul(60)),
        force: false,
        now: world.now,
    };
    let mut services = Vec::with_capacity(names.len());
    for name in &names {
        services.push(of_service(world, &successors, &tree, (&targets, &mut seer), name));
    }
    let pending = run::pending(&tree)?;
    let own = |action: &Action| action.host().unwrap_or(&world.host).to_owned();
    let hosts = config.site.servers.iter().flat_map(|servers| servers.hosts.iter().cloned());
    Ok(Status {
        top: world.top.display().to_string(),
        services,
        pending: pending.iter().map(|(action, state)| told(action, state)).collect(),
        actions: pending.iter().map(|(action, state)| action_status(action, own(action), state)).collect(),
        runs: run::history(&tree)?.commands().cloned().collect(),
        limits: limits(&tree, world.now)?,
        hosts: hosts.chain([world.host.clone()]).collect(),
        faults: config.faults.iter().map(ToString::to_string).collect(),
        verbose: config.site.verbose,
        now: world.now,
    })
}

#[cfg(test)]
impl Status {
    /// Of a site with nothing in it.
    pub fn empty(now: OffsetDateTime) -> Self {
        Self {
            top: String::new(),
            services: Vec::new(),
            pending: Vec::new(),
            actions: Vec::new(),
            runs: Vec::new(),
            limits: Vec::new(),
            faults: Vec::new(),
            hosts: BTreeSet::new(),
            verbose: false,
            now,
        }
    }
}

/// One thing that is still to be done, in a line.
pub fn told(action: &Action, state: &State) -> String {
    match &state.error {
        Some(error) => format!("{action}: {error} (attempt {})", state.attempts),
        None => action.to_string(),
    }
}

fn limits(tree: &Tree<'_>, now: OffsetDateTime) -> Result<Vec<LimitStatus>, ManagerError> {
    let path = tree.own(limits::RECORD);
    let kept = match tree.root().text(&path)? {
        Some(text) => Limits::parse(&path, &text)?,
        None => Limits::default(),
    };
    let holding = kept.iter().filter(|limit| limit.until > now).cloned();
    let told = |Limit { directory, service, until, why }| LimitStatus { directory, service, until, why };
    Ok(holding.map(told).collect())
}

fn action_status(action: &Action, host: String, state: &State) -> ActionStatus {
    ActionStatus {
        action: action.to_string(),
        host,
        since: state.since,
        groups: state.groups.clone(),
        attempts: state.attempts,
        error: state.error.clone(),
    }
}

fn of_service(
    world: &World<'_>,
    successors: &Successors<'_>,
    tree: &Tree<'_>,
    (targets, seer): (&Targets, &mut Seer<'_>),
    name: &ServiceName,
) -> ServiceStatus {
    let config: &Configuration = successors.config;
    let mut problems = Vec::new();
    let lineage = tree.lineage(name).unwrap_or_else(|error| {
        problems.push(error.to_string());
        Lineage::default()
    });
    problems.extend(
        lineage::repair(&lineage).iter().map(|repair| format!("the next run puts this right: {repair}")),
    );
    let versions: Vec<_> = [Link::Curr, Link::Next]
        .into_iter()
        .filter_map(|link| lineage.version(link).map(|version| of_version(link, version)))
        .collect();
    let (due, renew_at) = config
        .services
        .get(name)
        .map(|service| {
            let curr = lineage.live().and_then(|version| seer.see(service, version));
            let next = lineage.waiting().and_then(|version| seer.see(service, version));
            let policy = targets.policy(service);
            let due = schedule::due(name, curr.as_ref(), next.as_ref(), &policy, Demand::Due, world.now);
            (due, curr.map(|curr| policy.renew_at(name, &curr)))
        })
        .unzip();
    let roll = lineage.waiting().and_then(|_| {
        let exchangers = exchangers::published(tree, config, name.group());
        let outlook = successors.outlook(name, &lineage, &exchangers);
        outlook.map_err(|error| problems.push(error)).ok()
    });
    let is_by_hand = config
        .services
        .get(name)
        .is_some_and(|service| matches!(config.signing(service), Some(Signing::Manual(_))));
    let requests = match is_by_hand {
        true => waiting(tree, name).unwrap_or_else(|error| {
            problems.push(error.to_string());
            Vec::new()
        }),
        false => Vec::new(),
    };
    let requests = requests.into_iter().map(Told::from).collect();
    ServiceStatus {
        name: name.clone(),
        versions,
        requests,
        due,
        renew_at: renew_at.flatten(),
        roll,
        problems,
    }
}

fn of_version(link: Link, version: &Version) -> VersionStatus {
    let der = version.files.certificate.as_deref().map(container::read);
    let der = der.as_ref().and_then(|contents| contents.certificates.first());
    let (key, signature) = der.and_then(|der| info::algorithms(der)).unzip();
    VersionStatus {
        link,
        version: version.name.to_string(),
        certificate: version.certificate.clone(),
        key,
        signature,
        made: version.made,
        problems: version.problems.clone(),
    }
}
