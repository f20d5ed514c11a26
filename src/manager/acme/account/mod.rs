//! Accounts at authorities: one for each directory and contact, with its key on disk before anybody else knows it.
//!
//! ```text
//! TOPDIR/.reseed/accounts/DIGEST/key.pem       the key; made, and flushed, before the account is
//!                                next-key.pem  the key that is to follow; there only while it is rolled over
//!                                account.toml  directory, contact, URL; missing while nobody has answered yet
//! ```
//!
//! An authority finds an account by its key (RFC 8555 section 7.3.1), so whenever a run is killed, the next one
//! comes back to the same account.

mod certbot;
mod serverpki;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use super::Refusal;
use super::client::{Bounds, Client};
use super::failure::Failure;
use super::jws::{self, Signer};
use crate::fault::Fault;
use crate::manager::config;
use crate::manager::record;
use crate::pki::key::PrivateKey;
use crate::pki::{Algorithm, Container};
use crate::system::root::{PathError, Root};
use crate::transaction;

/// Who we are to an authority, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// URL of its directory.
    pub directory: String,
    /// How it is reached.
    pub bounds: Bounds,
    /// URLs under which the account's owner is reached; may be empty.
    pub contact: Vec<String>,
    /// The account elsewhere to which ours is bound.
    pub binding: Option<Binding>,
    /// Most orders at the same time; at least 1.
    pub parallel_orders: usize,
    /// How long a validation or an issue is waited for before it is left to a later run.
    pub patience: Duration,
}

/// An account that the authority keeps elsewhere (RFC 8555 section 7.3.4).
#[derive(Clone)]
pub struct Binding {
    /// The name of its key.
    pub key_id: String,
    /// The key, decoded.
    pub secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Binding({}, secret elided)", self.key_id)
    }
}

/// How long a validation or an issue is waited for, where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(300);

impl Settings {
    /// Of a directory, with nothing else said.
    pub fn new(directory: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            bounds: Bounds::default(),
            contact: Vec::new(),
            binding: None,
            parallel_orders: 10,
            patience: PATIENCE,
        }
    }

    /// As configured; `test` for the directory for tests.
    ///
    /// # Errors
    /// In words, when there is none for tests, and when a file that is named cannot be read.
    pub fn read(root: &Root, acme: &config::Acme, test: bool) -> Result<Self, String> {
        let directory = if test { acme.test_directory.as_ref() } else { Some(&acme.directory) };
        let directory = directory.ok_or("ca_test_directory is not configured")?;
        let read = |path: &PathBuf| root.read(path).map_err(|error| error.to_string());
        // A binding belongs to what it was given for; test directories want none.
        let binding = acme.binding.as_ref().filter(|_| !test).map(|binding| {
            let text = Zeroizing::new(read(&binding.hmac_file)?);
            let text = std::str::from_utf8(&text).map_err(|_| "is no text".to_owned());
            let secret = text
                .and_then(jws::decode)
                .map_err(|error| format!("{}: {error}", binding.hmac_file.display()))?;
            Ok::<_, String>(Binding { key_id: binding.key_id.clone(), secret: Zeroizing::new(secret) })
        });
        Ok(Self {
            bounds: Bounds {
                trust: acme.trust.as_ref().map(read).transpose()?,
                requests_per_second: acme.requests_per_second,
                ..Bounds::default()
            },
            contact: acme.contact.clone(),
            binding: binding.transpose()?,
            parallel_orders: acme.parallel_orders,
            ..Self::new(directory)
        })
    }
}

/// An authority, spoken to by an account of ours.
pub struct Connection {
    pub(super) runtime: Runtime,
    pub(super) client: Client,
    pub(super) key: Arc<PrivateKey>,
    pub(super) settings: Settings,
    url: String,
    place: PathBuf,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({} as {})", self.client.url(), self.url)
    }
}

/// What is written down of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    version: u32,
    /// URL of the authority's directory.
    pub directory: String,
    /// URLs under which its owner is reached.
    pub contact: Vec<String>,
    /// What the authority calls it.
    pub url: String,
    /// Terms that were in force when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<String>,
    /// When it was made, or first found.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// It is closed; what is left here goes away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

/// The version of the format that this program writes, and the only one it reads.
const VERSION: u32 = 1;
const KEY: &str = "key.pem";
const NEXT_KEY: &str = "next-key.pem";
const ACCOUNT: &str = "account.toml";

impl Account {
    fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        record::read(path, text, VERSION)
    }

    fn read(root: &Root, place: &Path) -> Result<Option<Self>, Refusal> {
        let path = place.join(ACCOUNT);
        match root.text(&path).map_err(own)? {
            Some(text) => {
                Self::parse(&path, &text).map(Some).map_err(|fault| Refusal::ours(fault.to_string()))
            }
            None => Ok(None),
        }
    }

    fn write(&self, root: &Root, place: &Path) -> Result<(), Refusal> {
        let text = toml::to_string(self).map_err(|error| Refusal::ours(error.to_string()))?;
        let text =
            format!("# An account at an authority, written by `reseed manager`. Not to be edited.\n{text}");
        transaction::replace(root, &place.join(ACCOUNT), text.as_bytes(), 0o600).map_err(own)
    }
}

/// Every account that is written down beneath `accounts`, in the order of their directories.
///
/// # Errors
/// [`Refusal::Ours`] when one of them cannot be read.
pub fn all(root: &Root, accounts: &Path) -> Result<Vec<Account>, Refusal> {
    let names = root.names(accounts).map_err(own)?;
    let read = names.iter().filter_map(|name| Account::read(root, &accounts.join(name)).transpose());
    let mut found = read.collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|one, other| (&one.directory, &one.url).cmp(&(&other.directory, &other.url)));
    Ok(found)
}

/// Where the account of a directory and a contact lies beneath `accounts`, which is `TOPDIR/.reseed/accounts`.
pub fn place(accounts: &Path, settings: &Settings) -> PathBuf {
    let mut contact = settings.contact.clone();
    contact.sort();
    let text = std::iter::once(&settings.directory).chain(&contact).cloned().collect::<Vec<_>>().join("\n");
    let digest: String = Sha256::digest(text).iter().take(16).map(|octet| format!("{octet:02x}")).collect();
    accounts.join(digest)
}

impl Connection {
    /// Opens an authority with the account that is on disk beneath `accounts`; where there is none, makes one.
    /// What an interrupted run has left is put in order first.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn open(
        root: &Root,
        accounts: &Path,
        settings: &Settings,
        now: OffsetDateTime,
    ) -> Result<Self, Refusal> {
        let runtime = runtime()?;
        let place = place(accounts, settings);
        root.make_directory(&place, 0o700).map_err(own)?;
        let mut known = Account::read(root, &place)?;
        if known.as_ref().is_some_and(|account| account.closed) {
            forget(root, &place)?;
            root.make_directory(&place, 0o700).map_err(own)?;
            known = None;
        }
        let client = runtime.block_on(Client::open(&settings.directory, settings.bounds.clone()))?;
        let mut key = match read_key(root, &place.join(KEY))? {
            Some(key) => key,
            None => {
                if let Some(lost) = known.take() {
                    tracing::warn!("the key of the account {} is gone; another account is made", lost.url);
                    root.remove(&place.join(ACCOUNT)).map_err(own)?;
                }
                make_key(root, &place.join(KEY))?
            }
        };
        if let Some(settled) = runtime.block_on(settle(root, &place, &client))? {
            key = settled;
        }
        let key = Arc::new(key);
        let account = match known {
            Some(account) => account,
            None => {
                let url = runtime.block_on(register(&client, &key, settings))?;
                let account = Account {
                    version: VERSION,
                    directory: settings.directory.clone(),
                    contact: settings.contact.clone(),
                    url,
                    terms: client.directory().meta.terms_of_service.clone(),
                    since: now,
                    closed: false,
                };
                account.write(root, &place)?;
                account
            }
        };
        client.set_account(Arc::clone(&key), account.url.clone());
        Ok(Self { runtime, client, key, settings: settings.clone(), url: account.url, place })
    }

    /// URL of the account.
    pub fn account(&self) -> &str {
        &self.url
    }

    /// Where the account is written down.
    pub(super) fn record(&self) -> PathBuf {
        self.place.join(ACCOUNT)
    }

    /// URL of the directory.
    pub fn directory(&self) -> &str {
        self.client.url()
    }

    /// The kind of the account's key.
    pub fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// The account as the authority shows it: its status, its contacts.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn show(&self) -> Result<Value, Refusal> {
        let answer = self.runtime.block_on(self.client.post(&self.url, None))?;
        Ok(answer.json()?)
    }

    /// Gives the account a new key (RFC 8555 section 7.3.5). That one is on disk before it is sent; a run that is
    /// killed leaves both, and the next [`Connection::open`] finds out which of them the authority knows.
    ///
    /// # Errors
    /// [`Refusal`]; the key is the old one, or it is found out later.
    pub fn roll_over(&mut self, root: &Root) -> Result<(), Refusal> {
        let Some(change) = self.client.directory().key_change.clone() else {
            return Err(Refusal::authority(format!("{}: does not change keys", self.directory())));
        };
        let next = make_key(root, &self.place.join(NEXT_KEY))?;
        let payload = json!({ "account": self.url, "oldKey": jws::jwk(&self.key).map_err(Refusal::ours)? });
        let inner = jws::sign(Signer::Key(&next), None, &change, &jws::encode(payload.to_string()));
        let inner = inner.map_err(Refusal::ours)?;
        let sent = self.runtime.block_on(self.client.post(&change, Some(&inner)));
        // Whatever the answer was, the authority knows best.
        match self.runtime.block_on(settle(root, &self.place, &self.client))? {
            Some(key) => {
                self.key = Arc::new(key);
                self.client.set_account(Arc::clone(&self.key), self.url.clone());
                Ok(())
            }
            None => match sent {
                Err(failure) => Err(failure.into()),
                Ok(_) => Err(Refusal::authority(format!(
                    "{change}: the authority has taken a new key and does not know it; try again"
                ))),
            },
        }
    }

    /// Closes the account at the authority, for good, and takes it off the disk. Its certificates stay valid.
    ///
    /// # Errors
    /// [`Refusal`]; the account is as it was, or it is taken away by the next run.
    pub fn deactivate(self, root: &Root) -> Result<(), Refusal> {
        let closing = json!({ "status": "deactivated" });
        let done = self.runtime.block_on(self.client.post(&self.url, Some(&closing)));
        match done {
            Ok(_) => {}
            // RFC 8555 section 7.3.6: so it answers what comes from an account that is closed already.
            Err(failure) if failure.is("unauthorized") || failure.is("accountDoesNotExist") => {}
            Err(failure) => return Err(failure.into()),
        }
        if let Some(account) = Account::read(root, &self.place)? {
            Account { closed: true, ..account }.write(root, &self.place)?;
        }
        forget(root, &self.place)
    }
}

pub(super) fn runtime() -> Result<Runtime, Refusal> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(|error| Refusal::ours(format!("the network cannot be used: {error}")))
}

fn own(error: PathError) -> Refusal {
    Refusal::ours(error.to_string())
}

fn read_key(root: &Root, path: &Path) -> Result<Option<PrivateKey>, Refusal> {
    let Some(text) = root.read_optional(path).map_err(own)? else { return Ok(None) };
    let text = Zeroizing::new(text);
    let key = PrivateKey::from_pem(&text);
    key.map(Some).map_err(|error| Refusal::ours(format!("{}: {error}", path.display())))
}

/// Makes a key and brings it to stable storage.
fn make_key(root: &Root, path: &Path) -> Result<PrivateKey, Refusal> {
    let key = PrivateKey::generate(Algorithm::P256).map_err(|error| Refusal::ours(error.to_string()))?;
    write_key(root, path, &key)?;
    Ok(key)
}

fn write_key(root: &Root, path: &Path, key: &PrivateKey) -> Result<(), Refusal> {
    let text = key.to_pem(Container::Pkcs8).map_err(|error| Refusal::ours(error.to_string()))?;
    transaction::replace(root, path, text.reveal(), 0o600).map_err(own)
}

/// Takes away what is left of a closed account; what says that it is closed goes last.
fn forget(root: &Root, place: &Path) -> Result<(), Refusal> {
    for name in [NEXT_KEY, KEY, ACCOUNT] {
        root.remove(&place.join(name)).map_err(own)?;
        root.sync(place).map_err(own)?;
    }
    root.remove_directory(place).map_err(own)
}

/// Where a change of keys was begun: takes over the new key if the authority knows it, throws it away if not.
async fn settle(root: &Root, place: &Path, client: &Client) -> Result<Option<PrivateKey>, Refusal> {
    let path = place.join(NEXT_KEY);
    let Some(next) = read_key(root, &path)? else { return Ok(None) };
    match find(client, &next).await? {
        Some(_) => {
            root.rename(&path, &place.join(KEY)).map_err(own)?;
            root.sync(place).map_err(own)?;
            Ok(Some(next))
        }
        None => {
            root.remove(&path).map_err(own)?;
            root.sync(place).map_err(own)?;
            Ok(None)
        }
    }
}

/// The account of a key (RFC 8555 section 7.3.1).
async fn find(client: &Client, key: &PrivateKey) -> Result<Option<String>, Failure> {
    let url = &client.directory().new_account;
    match client.post_by(Signer::Key(key), url, &json!({ "onlyReturnExisting": true })).await {
        Ok(answer) => answer.location().map(Some),
        Err(failure) if failure.is("accountDoesNotExist") => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Makes the account of a key, or finds it. That the authority is configured is the site's agreement to its terms.
async fn register(client: &Client, key: &PrivateKey, settings: &Settings) -> Result<String, Refusal> {
    let directory = client.directory();
    let mut payload = json!({ "termsOfServiceAgreed": true, "contact": settings.contact });
    match &settings.binding {
        Some(Binding { key_id, secret }) => {
            let bound = jws::bind(key, key_id, secret, &directory.new_account).map_err(Refusal::ours)?;
            if let Some(members) = payload.as_object_mut() {
                members.insert("externalAccountBinding".into(), bound);
            }
        }
        None if directory.meta.external_account_required => {
            return Err(Refusal::authority(format!(
                "{}: wants accounts that are bound to one with it: get a key there, and write ca_eab_kid and \
                 ca_eab_hmac_file",
                client.url()
            )));
        }
        None => {}
    }
    let answer = client.post_by(Signer::Key(key), &directory.new_account, &payload).await?;
    Ok(answer.location()?)
}

pub use certbot::import;
pub use serverpki::adopt;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_for_each_directory_and_contact() {
        let accounts = Path::new("/top/.reseed/accounts");
        let settings = |directory: &str, contact: &[&str]| Settings {
            contact: contact.iter().map(|text| (*text).to_owned()).collect(),
            ..Settings::new(directory)
        };
        let one = place(accounts, &settings("https://a/dir", &["mailto:a@x", "mailto:b@x"]));
        assert_eq!(one, place(accounts, &settings("https://a/dir", &["mailto:b@x", "mailto:a@x"])), "order");
        assert_ne!(one, place(accounts, &settings("https://a/dir", &["mailto:a@x"])), "contact");
        assert_ne!(
            one,
            place(accounts, &settings("https://b/dir", &["mailto:a@x", "mailto:b@x"])),
            "directory"
        );
        assert_eq!(one.file_name().unwrap().len(), 32);
    }

    #[test]
    fn version_1_is_frozen() {
        let text = include_str!("../../../../tests/fixtures/acme-account-v1.toml");
        let account = Account::parse(Path::new(ACCOUNT), text).unwrap();
        assert_eq!(account.url, "https://acme.example/acct/7");
        let (_, body) = text.split_once('\n').unwrap();
        assert_eq!(toml::to_string(&account).unwrap(), body, "what was read is written as it was");
        for (case, from, to, expected) in [
            ("later", "version = 1", "version = 2", ":2:11: version 2"),
            ("misspelt", "url =", "uri =", ": unknown field"),
        ] {
            let fault = Account::parse(Path::new(ACCOUNT), &text.replace(from, to)).expect_err(case);
            assert!(fault.to_string().contains(expected), "{case}: {fault}");
        }
    }

    #[test]
    fn a_binding_shows_no_secret() {
        let binding = Binding { key_id: "kid".into(), secret: Zeroizing::new(b"hidden".to_vec()) };
        assert_eq!(format!("{binding:?}"), "Binding(kid, secret elided)");
    }
}
