//! `status`: what there is of each certificate. Reads, and holds nobody up: no lock, no question to DNS, no
//! change, whatever state the tree is in.

use serde::Serialize;
use time::OffsetDateTime;

use super::config::{Configuration, Signing};
use super::info;
use super::lineage::{self, Lineage, Link, Version};
use super::manual::request::{Told, waiting};
use super::name::ServiceName;
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
    /// What is still to be done for servers and zones.
    pub pending: Vec<String>,
    /// What is wrong with the configuration.
    pub faults: Vec<String>,
    /// The site wants more said: `verb`.
    #[serde(skip)]
    pub verbose: bool,
    /// The time that the rest is told for.
    #[serde(with = "time::serde::rfc3339")]
    pub now: OffsetDateTime,
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
    let tree = Tree::new(world.root, &world.top);
    let targets = Targets::new(&config.site.renew_targets, &config.site.renew_spreads);
    let mut seer = Seer::new(&tree, &config);
    let mut services = Vec::with_capacity(names.len());
    for name in &names {
        services.push(of_service(world, &config, &tree, (&targets, &mut seer), name));
    }
    let pending = run::pending(&tree)?;
    Ok(Status {
        top: world.top.display().to_string(),
        services,
        pending: pending.iter().map(|(action, state)| told(action, state)).collect(),
        faults: config.faults.iter().map(ToString::to_string).collect(),
        verbose: config.site.verbose,
        now: world.now,
    })
}

/// One thing that is still to be done, in a line.
pub fn told(action: &super::pending::Action, state: &super::pending::State) -> String {
    match &state.error {
        Some(error) => format!("{action}: {error} (attempt {})", state.attempts),
        None => action.to_string(),
    }
}

fn of_service(
    world: &World<'_>,
    config: &Configuration,
    tree: &Tree<'_>,
    (targets, seer): (&Targets, &mut Seer<'_>),
    name: &ServiceName,
) -> ServiceStatus {
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
    let due = config.services.get(name).map(|service| {
        let curr = lineage.live().and_then(|version| seer.see(service, version));
        let next = lineage.waiting().and_then(|version| seer.see(service, version));
        let policy = targets.policy(service);
        schedule::due(name, curr.as_ref(), next.as_ref(), &policy, Demand::Due, world.now)
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
    ServiceStatus { name: name.clone(), versions, requests, due, problems }
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
