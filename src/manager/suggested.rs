//! When public authorities want certificates to be renewed (ARI, RFC 9773): asked when it is time to ask again, and
//! kept for the schedule. An authority that does not answer, or says nothing of it, leaves it to our own targets.

use std::collections::{BTreeMap, BTreeSet};

use super::acme::account::Settings;
use super::acme::renewal::{self, Answers};
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
}

/// Asks about everything that is served and public, as far as it is time; what could not be had is said in words.
///
/// # Errors
/// [`ManagerError`] when what is kept cannot be read or written.
pub fn ask(run: &Run<'_>, found: &BTreeMap<ServiceName, Lineage>) -> Result<Vec<String>, ManagerError> {
    let (kept, now) = (run.windows()?, run.world.now);
    let mut windows = kept.clone();
    let all: Vec<Question<'_>> =
        found.iter().filter_map(|(name, lineage)| question(run, name, lineage)).collect();
    // What is no longer served is forgotten, but only where all that is served was looked at.
    let known: BTreeSet<String> = all.iter().map(|one| one.id.clone()).collect();
    if found.len() == run.config.services.len() {
        windows.keep(&known);
    }
    let mut rest: Vec<Question<'_>> = all.into_iter().filter(|one| windows.is_to_ask(&one.id, now)).collect();
    let mut notes = Vec::new();
    for choice in 0.. {
        rest.retain(|one| one.choices.len() > choice);
        if rest.is_empty() {
            break;
        }
        for (acme, some) in by_authority(rest.split_off(0), choice) {
            if windows.is_silent(&acme.directory, now) {
                rest.extend(some);
                continue;
            }
            let mut answers = match answers(run, acme, &some) {
                Ok(answers) => {
                    windows.note_silence(&acme.directory, answers.is_none(), now);
                    answers.unwrap_or_default()
                }
                Err(error) => {
                    notes.push(format!("when renewals are wanted is not known: {error}"));
                    Answers::new()
                }
            };
            for one in some {
                match answers.remove(&one.name) {
                    Some(Ok(window)) => windows.note(&one.id, window),
                    // It may be another one's.
                    Some(Err(_)) | None => rest.push(one),
                }
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
    choices.first()?;
    let pem = lineage.live()?.files.certificate.as_deref()?;
    let certificate = container::read(pem).certificates.into_iter().next()?;
    let id = renewal::identifier(&certificate).ok()?;
    Some(Question { name: name.clone(), id, certificate, choices })
}

type Batch<'c> = (&'c Acme, Vec<Question<'c>>);

fn by_authority(questions: Vec<Question<'_>>, choice: usize) -> Vec<Batch<'_>> {
    let mut sorted: BTreeMap<&str, Batch<'_>> = BTreeMap::new();
    for one in questions {
        let Some(acme) = one.choices.get(choice).copied() else { continue };
        sorted.entry(&acme.directory).or_insert_with(|| (acme, Vec::new())).1.push(one);
    }
    sorted.into_values().collect()
}

fn answers(run: &Run<'_>, acme: &Acme, some: &[Question<'_>]) -> Result<Option<Answers>, String> {
    let settings = Settings::read(run.world.root, acme, run.is_test)?;
    let asked: Vec<_> = some.iter().map(|one| (one.name.clone(), one.certificate.clone())).collect();
    renewal::renewal_info(&settings, &asked, run.world.now).map_err(|refusal| refusal.to_string())
}
