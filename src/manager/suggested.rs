//! When public authorities want certificates to be renewed (ARI, RFC 9773): asked when it is time to ask again, and
//! kept for the schedule. An authority that does not answer, or says nothing of it, leaves it to our own targets.

use std::collections::{BTreeMap, BTreeSet};

use super::acme::account::{Connection, Settings};
use super::acme::{self, renewal};
use super::acquire::ACCOUNTS;
use super::config::Acme;
use super::lineage::Lineage;
use super::name::ServiceName;
use super::run::{ManagerError, Run};
use crate::pki::container;

/// A certificate about which an authority is asked.
struct Question<'c> {
    name: ServiceName,
    /// What it is called, by [`renewal::identifier`].
    id: String,
    /// In DER.
    certificate: Vec<u8>,
    /// Who may have signed it, in order of preference.
    choices: Vec<&'c Acme>,
    contact: Vec<String>,
}

/// Asks about everything that is served and public, as far as it is time; what could not be had is said in words.
///
/// # Errors
/// [`ManagerError`] when what is kept cannot be read or written.
pub fn ask(run: &Run<'_>, found: &BTreeMap<ServiceName, Lineage>) -> Result<Vec<String>, ManagerError> {
    let kept = run.windows()?;
    let mut windows = kept.clone();
    let all: Vec<Question<'_>> =
        found.iter().filter_map(|(name, lineage)| question(run, name, lineage)).collect();
    // What is no longer served is forgotten, but only where all that is served was looked at.
    let known: BTreeSet<String> = all.iter().map(|one| one.id.clone()).collect();
    if found.len() == run.config.services.len() {
        windows.keep(&known);
    }
    let mut rest: Vec<Question<'_>> =
        all.into_iter().filter(|one| windows.is_to_ask(&one.id, run.world.now)).collect();
    let mut notes = Vec::new();
    for choice in 0.. {
        rest.retain(|one| one.choices.len() > choice);
        if rest.is_empty() {
            break;
        }
        for (acme, contact, some) in by_authority(rest.split_off(0), choice) {
            match told(run, acme, &contact, &some) {
                Ok(mut told) => {
                    for one in some {
                        match told.remove(&one.name) {
                            Some(Ok(window)) => windows.note(&one.id, window),
                            // It may be another one's.
                            Some(Err(_)) | None => rest.push(one),
                        }
                    }
                }
                Err(error) => notes.push(format!("{}: {error}", acme.directory)),
            }
        }
    }
    if windows != kept {
        run.save_windows(&windows)?;
    }
    Ok(notes)
}

fn question<'c>(run: &'c Run<'_>, name: &ServiceName, lineage: &Lineage) -> Option<Question<'c>> {
    let service = run.service(name).ok()?;
    let choices: Vec<&Acme> = run.config.acme(service).into_iter().map(|(_, acme)| acme).collect();
    let pem = lineage.live()?.files.certificate.as_deref()?;
    let certificate = container::read(pem).certificates.into_iter().next()?;
    let id = renewal::identifier(&certificate).ok()?;
    let contact = choices.first()?.contact_for(service);
    Some(Question { name: name.clone(), id, certificate, choices, contact })
}

type Batch<'c> = (&'c Acme, Vec<String>, Vec<Question<'c>>);

fn by_authority<'c>(questions: Vec<Question<'c>>, choice: usize) -> Vec<Batch<'c>> {
    let mut sorted: BTreeMap<(String, Vec<String>), Batch<'c>> = BTreeMap::new();
    for one in questions {
        let Some(acme) = one.choices.get(choice).copied() else { continue };
        let key = (acme.directory.clone(), one.contact.clone());
        let batch = || (acme, one.contact.clone(), Vec::new());
        sorted.entry(key).or_insert_with(batch).2.push(one);
    }
    sorted.into_values().collect()
}

type Told = BTreeMap<ServiceName, Result<renewal::Window, acme::Refusal>>;

fn told(run: &Run<'_>, acme: &Acme, contact: &[String], some: &[Question<'_>]) -> Result<Told, String> {
    let settings = Settings::read(run.world.root, acme, run.is_test)?;
    let settings = Settings { contact: contact.to_vec(), ..settings };
    let accounts = run.tree.own(ACCOUNTS);
    let connection = Connection::open(run.world.root, &accounts, &settings, run.world.now);
    let connection = connection.map_err(|refusal| refusal.to_string())?;
    if !renewal::is_offered(&connection) {
        return Ok(Told::new());
    }
    let asked: Vec<_> = some.iter().map(|one| (one.name.clone(), one.certificate.clone())).collect();
    Ok(acme::renewal_info(&connection, &asked, run.world.now))
}
