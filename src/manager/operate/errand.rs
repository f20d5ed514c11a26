//! A key and the request for it, on stable storage of this machine before an authority hears of them: who dies goes
//! on with the same key and the same order. Another machine knows nothing of them and orders anew.
//!
//! ```text
//! TOPDIR/.reseed/requests/ID-ALGORITHM/{key,request}.pem
//!                                      request.toml      for which certificate; where its order is
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::Duration;

use super::issue::Draft;
use crate::manager::config::{AlternativeName, Subject};
use crate::manager::inventory::model::{KeyAlgorithm, Name};
use crate::manager::record;
use crate::manager::run::Run;
use crate::pki::key::PrivateKey;
use crate::pki::x509::{self, X509Error};
use crate::pki::{Algorithm, Container, Digest, bundle};
use crate::system::root::PathError;
use crate::transaction::replace;

/// Where they lie, in our own directory.
const REQUESTS: &str = "requests";
const KEY: &str = "key.pem";
const REQUEST: &str = "request.pem";
const RECORD: &str = "request.toml";
const FILES: [&str; 3] = [RECORD, REQUEST, KEY];

/// The version of the format that this program writes, and the highest that it reads.
const VERSION: u32 = 1;
/// No authority keeps an order open for so long.
const KEPT: Duration = Duration::days(30);

/// A key and its request.
pub struct Errand {
    place: PathBuf,
    pub algorithm: KeyAlgorithm,
    pub key: PrivateKey,
    /// In DER.
    pub request: Vec<u8>,
    record: Record,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    certificate: Name,
    must_staple: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// URL of the authority's directory.
    directory: String,
    url: String,
}

impl Errand {
    /// What an earlier run has left for an instance, where it is what would be asked for now.
    ///
    /// # Errors
    /// In words, when it cannot be read.
    pub fn waiting(
        run: &Run<'_>,
        draft: &Draft<'_>,
        instance: i64,
        algorithm: KeyAlgorithm,
    ) -> Result<Option<Self>, String> {
        let place = place(run, instance, algorithm);
        let words = |error: PathError| error.to_string();
        let file = |name: &str| run.world.root.read_optional(&place.join(name)).map_err(words);
        let path = place.join(RECORD);
        let Some(text) = run.world.root.text(&path).map_err(words)? else { return Ok(None) };
        let record: Record = record::read(&path, &text, VERSION).map_err(|fault| fault.to_string())?;
        let (Some(key), Some(request)) = (file(KEY)?, file(REQUEST)?) else { return Ok(None) };
        let key = crate::pki::key::Secret::new(key);
        let Ok(key) = PrivateKey::from_pem(key.reveal()) else { return Ok(None) };
        let Some(request) = bundle::read(&request).requests.into_iter().next() else { return Ok(None) };
        let is_same = record.certificate == draft.wanted.name
            && record.must_staple == draft.wanted.must_staple
            && key.algorithm().is_rsa() == (algorithm == KeyAlgorithm::Rsa)
            && asks_the_same(&request, &asked(draft, &key).map_err(|error| error.to_string())?);
        Ok(is_same.then_some(Self { place, algorithm, key, request, record }))
    }

    /// Makes a key and its request; both are on stable storage when this returns.
    ///
    /// # Errors
    /// In words.
    pub fn make(
        run: &Run<'_>,
        draft: &Draft<'_>,
        instance: i64,
        (algorithm, kind): (KeyAlgorithm, Algorithm),
    ) -> Result<Self, String> {
        let key = PrivateKey::generate(kind).map_err(|error| error.to_string())?;
        let request = asked(draft, &key).map_err(|error| error.to_string())?;
        let (certificate, must_staple) = (draft.wanted.name.clone(), draft.wanted.must_staple);
        let record = Record { version: VERSION, certificate, must_staple, order: None };
        let made = Self { place: place(run, instance, algorithm), algorithm, key, request, record };
        made.write(run)?;
        Ok(made)
    }

    fn write(&self, run: &Run<'_>) -> Result<(), String> {
        let root = run.world.root;
        let words = |error: PathError| error.to_string();
        root.make_directory(&self.place, 0o700).map_err(words)?;
        let key = self.key.to_pem(Container::Pkcs8).map_err(|error| error.to_string())?;
        let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let request = pem::encode_config(&pem::Pem::new("CERTIFICATE REQUEST", self.request.clone()), unix);
        replace(root, &self.place.join(KEY), key.reveal(), 0o600).map_err(words)?;
        replace(root, &self.place.join(REQUEST), request.as_bytes(), 0o600).map_err(words)?;
        self.save(run, &self.record)
    }

    fn save(&self, run: &Run<'_>, record: &Record) -> Result<(), String> {
        let text = toml::to_string(record).map_err(|error| error.to_string())?;
        let path = self.place.join(RECORD);
        replace(run.world.root, &path, text.as_bytes(), 0o600).map_err(|error| error.to_string())
    }

    /// The order that is open for it with an authority.
    pub fn order(&self, directory: &str) -> Option<String> {
        let order = self.record.order.as_ref().filter(|order| order.directory == directory)?;
        Some(order.url.clone())
    }

    /// Remembers where its order is.
    ///
    /// # Errors
    /// In words.
    pub fn ordered(&self, run: &Run<'_>, directory: &str, url: &str) -> Result<(), String> {
        let order = Order { directory: directory.to_owned(), url: url.to_owned() };
        self.save(run, &Record { order: Some(order), ..self.record.clone() })
    }

    /// Takes it away: the inventory has what came of it.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn forget(&self, run: &Run<'_>) -> Result<(), PathError> {
        remove(run, &self.place)
    }
}

/// The request for a key. Public authorities write nothing but names that they have validated.
fn asked(draft: &Draft<'_>, key: &PrivateKey) -> Result<Vec<u8>, X509Error> {
    let main = AlternativeName::Dns(draft.subject.common_name.to_ascii_lowercase());
    let is_host = draft.names.contains(&main);
    let common_name = if is_host { draft.subject.common_name.clone() } else { String::new() };
    let subject = Subject { common_name, ..Subject::default() };
    let request = if draft.wanted.must_staple { x509::stapled_request } else { x509::request };
    request(&subject, &draft.names, key, Digest::default())
}

fn asks_the_same(one: &[u8], other: &[u8]) -> bool {
    matches!((x509::read_request(one), x509::read_request(other)), (Ok(one), Ok(other)) if one == other)
}

fn place(run: &Run<'_>, instance: i64, algorithm: KeyAlgorithm) -> PathBuf {
    run.tree.own(REQUESTS).join(format!("{instance}-{algorithm}"))
}

fn remove(run: &Run<'_>, place: &Path) -> Result<(), PathError> {
    let root = run.world.root;
    // What is left of it without its record means nothing.
    FILES.iter().try_for_each(|name| root.remove(&place.join(name)))?;
    root.remove_directory(place)
}

/// Takes away what nobody has come back for; what could not be is said in words.
pub fn sweep(run: &Run<'_>) -> Vec<String> {
    let (root, all) = (run.world.root, run.tree.own(REQUESTS));
    let old = |place: &PathBuf| {
        let modified = root.modified(&place.join(RECORD)).ok().flatten();
        modified.is_some_and(|modified| modified + KEPT < run.world.now)
    };
    let names = root.names(&all).unwrap_or_default();
    let places = names.into_iter().map(|name| all.join(name)).filter(old);
    places.filter_map(|place| remove(run, &place).err()).map(|error| error.to_string()).collect()
}
