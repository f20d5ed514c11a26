//! Certificates from public authorities: what is asked for, of whom, and what becomes of the answers.
//!
//! ```text
//! key and request on disk → the preferred authority, its orders on disk → versions
//!                         ↘ where that one fails: the next authority
//! ```
//!
//! A run that dies leaves a request and an open order, with which the next run goes on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::acme::orders::{Open, Orders};
use super::acme::prove::Provers;
use super::acme::{Granted, Identifier, Refusal, Wish, renewal};
use super::config::{Acme, AuthorityKind, Service};
use super::desk::{Answers, Desk};
use super::exchangers::Exchangers;
use super::issue::{self, KeyFrom, Made, Order, encode, reused};
use super::lineage::{Files, Lineage, Version, VersionName, version};
use super::manual::import::forget_request;
use super::manual::request::{self, Waiting, waiting};
use super::name::ServiceName;
use super::run::Run;
use crate::pki::container;

/// Where accounts lie, in our own directory.
pub const ACCOUNTS: &str = "accounts";

/// Acquires certificates, and writes each into a version of its own.
pub fn make(
    run: &Run<'_>,
    orders: &[&Order],
    lineages: &BTreeMap<ServiceName, Lineage>,
    exchangers: &Exchangers,
) -> BTreeMap<ServiceName, Result<Made, String>> {
    let mut made = BTreeMap::new();
    let mut rest = Vec::new();
    for order in orders {
        match Asked::prepare(run, order, lineages.get(&order.name)) {
            Ok(asked) => rest.push(asked),
            Err(error) => {
                made.insert(order.name.clone(), Err(error));
            }
        }
    }
    while !rest.is_empty() {
        let mut again = Vec::new();
        // One after another: two authorities' proofs would be in one another's way.
        for (choice, asked) in choices_of(rest) {
            for (mut one, answer) in choice.ask(run, asked) {
                let result = match answer {
                    Ok(granted) => one.write(run, &granted, exchangers),
                    Err(refusal) => {
                        one.errors.push(format!("{}: {refusal}", choice.name));
                        if matches!(refusal, Refusal::Authority { .. }) && !one.choices.is_empty() {
                            again.push(one);
                            continue;
                        }
                        Err(one.errors.join("; "))
                    }
                };
                made.insert(one.service.name.clone(), result);
            }
        }
        rest = again;
    }
    made
}

/// One certificate that is asked for.
struct Asked<'c> {
    service: &'c Service,
    /// Key and request, on stable storage.
    waiting: Waiting,
    /// Who has not been asked yet, in order of preference.
    choices: VecDeque<(&'c str, &'c Acme)>,
    /// The certificate that is replaced, in DER.
    replaced: Option<Vec<u8>>,
    /// What those said who refused.
    errors: Vec<String>,
}

impl<'c> Asked<'c> {
    fn prepare(run: &'c Run<'_>, order: &Order, lineage: Option<&Lineage>) -> Result<Self, String> {
        let service = run.service(&order.name)?;
        let curr = lineage.and_then(|lineage| lineage.curr.as_ref());
        let reused = match order.key {
            KeyFrom::Curr => Some(reused(run, curr)?),
            KeyFrom::Fresh | KeyFrom::Waiting => None,
        };
        let served = curr.and_then(|curr| curr.certificate.as_ref()).map(|one| one.public_digest);
        let mut there = waiting(&run.tree, &order.name).map_err(|error| error.to_string())?;
        // A request that nobody has answered is as good as a new one, and an order may be open for it.
        let waiting = match request::fitting(run, service, &there, reused.as_ref(), served.as_ref()) {
            Some(at) => there.swap_remove(at),
            None => request::make(run, service, reused).map_err(|error| error.to_string())?,
        };
        let replaced = curr.and_then(|curr| curr.files.certificate.as_deref());
        Ok(Self {
            service,
            waiting,
            choices: choices(run, service)?,
            replaced: replaced.and_then(|pem| container::read(pem).certificates.into_iter().next()),
            errors: Vec::new(),
        })
    }

    /// The wish, to an authority that is spoken to like this.
    fn wish(&self, acme: &Acme, directory: &str, orders: &Orders) -> Result<Wish, Refusal> {
        let name = &self.service.name;
        let open = orders
            .of(name)
            .filter(|open| open.directory == directory && open.version == self.waiting.version);
        Ok(Wish {
            service: name.clone(),
            identifiers: self.service.alternative_names.iter().filter_map(Identifier::of).collect(),
            csr: self.waiting.der().to_vec(),
            kind: acme.validation.ok_or_else(|| Refusal::ours("it has no ca_validation in ca-info.conf"))?,
            profile: acme.profile.clone(),
            preferred_chain: acme.preferred_chain.clone(),
            replaces: self.replaced.as_deref().and_then(|der| renewal::identifier(der).ok()),
            resume: open.map(|open| open.url.clone()),
        })
    }

    /// Writes the version.
    fn write(&self, run: &Run<'_>, granted: &Granted, exchangers: &Exchangers) -> Result<Made, String> {
        let name = &self.service.name;
        let chain = container::read(granted.chain.as_bytes()).certificates;
        let (leaf, above) = chain.split_first().ok_or("the authority sent no certificate")?;
        let pem = run.tree.keyring().keep(name, self.waiting.key())?;
        let text = |der: &Vec<u8>| encode("CERTIFICATE", der.clone());
        let above = above.iter().flat_map(text).collect();
        let mut files = Files::assemble(pem, self.waiting.text().to_vec(), text(leaf), above);
        files.issue = Some(version::issue_text(run.world.now).into_bytes());
        let version = run.tree.newest(name, run.world.now).map_err(|error| error.to_string())?;
        files.tlsa = issue::tlsa(self.service, &version, &files, exchangers.of(name.group()))?;
        let examined = Version::examine(version.clone(), files.clone());
        if let Some(problem) = examined.problems.first() {
            return Err(format!("what the authority sent is not whole: {problem}"));
        }
        let expires = examined.certificate.map(|certificate| certificate.not_after);
        run.tree.draft(&run.lock, name, &version, &files).map_err(|error| error.to_string())?;
        Ok(Made {
            version,
            expires: expires.ok_or("the certificate says no end")?,
            note: granted.note.clone(),
        })
    }
}

/// The authorities that may sign, in order of preference; those with a directory for tests, when the run is one.
fn choices<'c>(run: &'c Run<'_>, service: &'c Service) -> Result<VecDeque<(&'c str, &'c Acme)>, String> {
    let mut choices: VecDeque<_> = run.config.acme(service).into();
    choices.retain(|(_, acme)| !run.is_test || acme.test_directory.is_some());
    match choices.is_empty() {
        true => Err("none of its authorities has a ca_test_directory in ca-info.conf".into()),
        false => Ok(choices),
    }
}

/// Who is asked for something, and who asks.
struct Choice<'c> {
    name: &'c str,
    acme: &'c Acme,
    contact: Vec<String>,
}

impl Choice<'_> {
    /// Asks for all of them at once.
    fn ask<'c>(&self, run: &Run<'_>, asked: Vec<Asked<'c>>) -> Vec<(Asked<'c>, Result<Granted, Refusal>)> {
        let answers = self.answers(run, &asked);
        let none = |one: &Asked<'_>| Refusal::authority(format!("{}: nothing came back", one.service.name));
        let mut answers = match answers {
            Ok(answers) => answers,
            Err(refusal) => {
                asked.iter().map(|one| (one.service.name.clone(), Err(refusal.clone()))).collect()
            }
        };
        asked
            .into_iter()
            .map(|one| {
                let answer = answers.remove(&one.service.name).unwrap_or_else(|| Err(none(&one)));
                (one, answer)
            })
            .collect()
    }

    fn answers(&self, run: &Run<'_>, asked: &[Asked<'_>]) -> Result<Answers, Refusal> {
        let desk = Desk::new(run, self.name, self.acme, self.contact.clone())?;
        let orders = run.open_orders().map_err(|error| Refusal::ours(error.to_string()))?;
        let mut answers = Answers::new();
        let mut wishes = Vec::new();
        for one in asked {
            match one.wish(self.acme, desk.directory(), &orders) {
                Ok(wish) => wishes.push(wish),
                Err(refusal) => {
                    answers.insert(one.service.name.clone(), Err(refusal));
                }
            }
        }
        let versions: BTreeMap<_, _> =
            asked.iter().map(|one| (&one.service.name, &one.waiting.version)).collect();
        let orders = Mutex::new(orders);
        // On disk before anything else is sent: who dies here goes on with it.
        let remember = |name: &ServiceName, url: &str| {
            let Some(version) = versions.get(name) else { return };
            let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
            let directory = desk.directory().to_owned();
            orders.open(name.clone(), Open { directory, url: url.to_owned(), version: (*version).clone() });
            if let Err(error) = run.save_orders(&orders) {
                tracing::warn!("{name}: its order is not on disk, a run that dies now orders again: {error}");
            }
        };
        answers.extend(desk.ask(wishes, &remember)?);
        Ok(answers)
    }
}

/// Forgets orders and requests that were answered by what `next` leads to now.
pub fn forget(run: &Run<'_>, linked: &BTreeMap<ServiceName, VersionName>) -> Vec<String> {
    let is_public = |name: &&ServiceName| {
        run.config.services.get(*name).is_some_and(|service| !run.config.acme(service).is_empty())
    };
    let names: Vec<_> = linked.keys().filter(is_public).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let mut orders = match run.open_orders() {
        Ok(orders) => orders,
        Err(error) => return vec![error.to_string()],
    };
    let mut failures = Vec::new();
    for name in names {
        failures.extend(linked.get(name).into_iter().flat_map(|version| forget_request(run, name, version)));
        orders.close(name);
    }
    failures.extend(run.save_orders(&orders).err().map(|error| error.to_string()));
    failures
}

/// Takes away proofs that an interrupted run has left; what could not be is said in words.
pub fn sweep(run: &Run<'_>) -> Vec<String> {
    let any = run.config.authorities.values().find_map(|authority| match &authority.kind {
        AuthorityKind::Acme(acme) => Some(acme),
        _ => None,
    });
    any.map(|acme| Provers::new(run, acme).sweep()).unwrap_or_default()
}

/// What is asked of one authority.
type Batch<'c> = (Choice<'c>, Vec<Asked<'c>>);

/// Sorts what is asked for by whom the next choice of each is.
fn choices_of(asked: Vec<Asked<'_>>) -> Vec<Batch<'_>> {
    let mut sorted: BTreeMap<(&str, Vec<String>), Batch<'_>> = BTreeMap::new();
    for mut one in asked {
        let Some((name, acme)) = one.choices.pop_front() else { continue };
        let contact = acme.contact_for(one.service);
        let choice = || (Choice { name, acme, contact: contact.clone() }, Vec::new());
        sorted.entry((name, contact.clone())).or_insert_with(choice).1.push(one);
    }
    sorted.into_values().collect()
}
