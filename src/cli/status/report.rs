//! The status of this machine as a report to its site: digests in place of whatever is to stay here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::super::{Failure, text};
use crate::artifact::{Artifact, What};
use crate::identity::{Finding, Identity, sentence};
use crate::manager::dane::association;
use crate::manager::fleet::HostReport;
use crate::manager::fleet::report::{CertificateReport, FacetReport, FilesReport, HookReport, machine};
use crate::pki::container::{self, Part};
use crate::pki::inspect::Certificate;
use crate::plan::{Action, HookPlan, Task};
use crate::reseed::{Outlook, World};
use crate::system::root::Root;

/// What is to be said of this machine.
///
/// # Errors
/// [`Failure`] where it has nothing by which a report could be told from those of others.
pub fn report(world: World<'_>, seen: &Outlook) -> Result<HostReport, Failure> {
    let machine = machine_id(world.root, &seen.plan.identity)?;
    let host = match (&seen.plan.name, &machine) {
        (Some(name), _) => name.as_str().to_owned(),
        // There may be many that are called so.
        (None, Some(machine)) => {
            let label = seen.plan.identity.hostname.value().map_or("unnamed", String::as_str);
            format!("{label}-{}", machine.get(..8).unwrap_or(machine))
        }
        (None, None) => {
            let says =
                "this machine has neither a proper name nor a machine-id, under which it could be reported";
            return Err(Failure::Other(says.into()));
        }
    };
    let tasks = || seen.plan.hooks.iter().flat_map(|hook| &hook.tasks);
    let host_keys: BTreeSet<String> =
        tasks().filter_map(|task| Some(task.bundle.fingerprint()?.to_owned())).collect();
    let said =
        |values: &mut dyn Iterator<Item = String>| values.map(|value| text::printable(&value)).collect();
    Ok(HostReport {
        machine,
        identity: identity(&seen.plan.identity),
        happened: sentence(&seen.plan.kinds),
        improper: seen.plan.put_off.as_ref().map(|why| text::printable(&why.to_string())),
        hooks: seen.plan.hooks.iter().map(|hook| of_hook(seen, hook)).collect(),
        certificates: certificates(world.root, tasks()),
        host_keys: host_keys.into_iter().collect(),
        held: seen
            .ledger
            .gate
            .iter()
            .map(|(unit, gate)| (unit.clone(), text::printable(&gate.reason)))
            .collect(),
        faults: said(&mut seen.faults.iter().map(ToString::to_string)),
        ..HostReport::new(host, world.now)
    })
}

/// The digest that stands for the machine-id, where that is one.
fn machine_id(root: &Root, identity: &Identity) -> Result<Option<String>, Failure> {
    if identity.machine_id.value().is_none() {
        return Ok(None);
    }
    Ok(root.text(Path::new("/etc/machine-id"))?.map(|id| machine(&id)))
}

fn identity(identity: &Identity) -> BTreeMap<String, FacetReport> {
    let addresses = match &identity.addresses {
        Finding::Known { value, source } => {
            let list = value.iter().map(ToString::to_string).collect::<Vec<_>>();
            Finding::known(list.join(", "), source)
        }
        Finding::Unknown { unknown } => Finding::unknown(unknown),
    };
    let facets = [
        ("hostname", facet(&identity.hostname)),
        ("domain", facet(&identity.domain)),
        ("addresses", facet(&addresses)),
        ("machine-id", facet(&identity.machine_id)),
        ("hardware", facet(&identity.hardware)),
        ("seed", facet(&identity.seed)),
    ];
    facets.into_iter().map(|(name, facet)| (name.to_owned(), facet)).collect()
}

fn facet<T: Display>(finding: &Finding<T>) -> FacetReport {
    let (value, source) = match finding {
        Finding::Known { value, source } => (Some(text::printable(&value.to_string())), source),
        Finding::Unknown { unknown } => (None, unknown),
    };
    FacetReport { value, source: text::printable(source) }
}

fn of_hook(seen: &Outlook, hook: &HookPlan) -> HookReport {
    let is_stale = |task: &&Task| matches!(task.action, Action::Make | Action::Wait);
    let borrows_stale = seen.plan.serves_stale(hook) && !hook.makes_something();
    let reasons: BTreeSet<String> =
        hook.tasks.iter().filter(is_stale).flat_map(because).chain(borrowed(hook, borrows_stale)).collect();
    HookReport {
        hook: hook.hook.to_string(),
        stale: reasons.into_iter().collect(),
        failure: seen.ledger.failure.get(&hook.hook).map(|failure| text::printable(&failure.error)),
        files: hook
            .tasks
            .iter()
            .map(|task| FilesReport {
                paths: task.files.iter().map(|path| shown(path)).collect(),
                verdict: text::printable(&task.verdict.to_string()),
                because: because(task).collect(),
            })
            .collect(),
    }
}

fn because(task: &Task) -> impl Iterator<Item = String> {
    task.reasons.iter().map(|reason| text::printable(&reason.to_string()))
}

fn borrowed(hook: &HookPlan, is_stale: bool) -> impl Iterator<Item = String> {
    let files = hook.borrowed.iter().filter(move |_| is_stale);
    files.map(|(path, owner)| format!("{} is stale, which {owner} makes", shown(path)))
}

/// Every certificate that lies where a hook has one, each file once.
fn certificates<'t>(root: &Root, tasks: impl Iterator<Item = &'t Task>) -> Vec<CertificateReport> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for task in tasks {
        for artifact in
            task.bundle.artifacts.iter().filter(|artifact| may_hold_one(&task.bundle.what, artifact))
        {
            if !seen.insert(&artifact.real) {
                continue;
            }
            let verdict = || text::printable(&task.verdict.to_string());
            found
                .extend(certificate(root, artifact).map(|it| CertificateReport { verdict: verdict(), ..it }));
        }
    }
    found
}

fn may_hold_one(what: &What, artifact: &Artifact) -> bool {
    match what {
        What::Certificates(_) => artifact.holds.contains(&Part::Certificate),
        // Only the program knows what its files hold.
        What::Program(_) => true,
        What::HostKey(_) | What::Secret(_) => false,
    }
}

/// The certificate in a file; nothing where there is none, or where it cannot be read: its verdict says so.
fn certificate(root: &Root, artifact: &Artifact) -> Option<CertificateReport> {
    let contents = container::read(&root.read(&artifact.real).ok()?);
    let der = contents.certificates.first()?;
    let says = Certificate::from_der(der).ok()?;
    let addresses = says.addresses.iter().map(ToString::to_string);
    Some(CertificateReport {
        path: shown(&artifact.path),
        verdict: String::new(),
        fingerprint: hexadecimal(&Sha256::digest(der)),
        key: hexadecimal(&association(der, 1, 1).ok()?),
        names: says.names().into_iter().chain(addresses).map(|name| text::printable(&name)).collect(),
        not_before: says.not_before,
        not_after: says.not_after,
    })
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn shown(path: &Path) -> String {
    text::printable(&path.display().to_string())
}
