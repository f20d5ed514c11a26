//! `account`: who we are to public authorities. Everything is done under the lock, and by the same account that
//! certificates are ordered with.

use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;

use super::acme::Refusal;
use super::acme::account::{self, Account, Connection, Settings};
use super::acquire::ACCOUNTS;
use super::config::{Acme, Authority, AuthorityKind, Configuration};
use super::nearest::{hint, shown};
use super::report::Report;
use super::run::{ManagerError, Run, World, configuration};
use super::tree::Tree;

/// Which account.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// The authority's name in `ca-info.conf`.
    pub authority: String,
    /// Contacts as URLs, instead of the authority's.
    pub contact: Vec<String>,
    /// The one with the directory for tests.
    pub staging: bool,
}

/// What is to be done with it.
#[derive(Debug, Clone)]
pub enum Request {
    /// Make it, or find it.
    Register,
    /// Give it a new key.
    RollKey,
    /// Close it.
    Deactivate,
    /// Take over the one that certbot keeps in this directory, inside the root.
    Import(PathBuf),
}

/// An account, for people and as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shown {
    /// URL of the authority's directory.
    pub directory: String,
    /// URL of the account.
    pub url: String,
    /// Contacts as URLs.
    pub contact: Vec<String>,
    /// Since when it is known here.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// It is with a directory for tests.
    pub staging: bool,
}

/// The accounts that there are; nobody is asked.
///
/// # Errors
/// [`ManagerError`]
pub fn all(world: &World<'_>) -> Result<Vec<Shown>, ManagerError> {
    let tree = Tree::new(world.root, &world.top);
    let apart = Run::apart(world);
    let mut shown = Vec::new();
    for (directory, staging) in [(tree.own(ACCOUNTS), false), (apart.own(ACCOUNTS), true)] {
        let found = account::all(world.root, &directory).map_err(failed)?;
        shown.extend(found.into_iter().map(|Account { directory, url, contact, since, .. }| Shown {
            directory,
            url,
            contact,
            since,
            staging,
        }));
    }
    Ok(shown)
}

/// The public authority that is named, or that of the inventory: its name and the URL of its directory.
///
/// # Errors
/// [`ManagerError`] when there is none, or several.
pub fn public(world: &World<'_>, name: Option<&str>, test: bool) -> Result<(String, String), ManagerError> {
    let config = configuration(world)?;
    let usual = config.site.inventory.issuing.public.as_deref();
    let all = || {
        let is_acme =
            |(_, authority): &(&String, &Authority)| matches!(authority.kind, AuthorityKind::Acme(_));
        config.authorities.iter().filter(is_acme).map(|(name, _)| name.as_str())
    };
    let name = match (name.or(usual), all().next(), all().nth(1)) {
        (Some(name), ..) => name,
        (None, Some(only), None) => only,
        (None, None, _) => {
            let says = "ca-info.conf has no authority that is spoken to by ACME";
            return Err(ManagerError::Usage(says.to_owned()));
        }
        (None, Some(_), Some(_)) => {
            let names = all().collect::<Vec<_>>().join(", ");
            let says = format!("which of {names}? name it, or write it into [inventory] as public");
            return Err(ManagerError::Usage(says));
        }
    };
    let acme = acme(&config, name)?;
    let directory = if test { acme.test_directory.clone() } else { Some(acme.directory.clone()) };
    let says = || ManagerError::Usage("ca_test_directory is not configured".to_owned());
    Ok((name.to_owned(), directory.ok_or_else(says)?))
}

/// Takes over the account in a file of serverPKI, for the public authority of the inventory, where there is none of
/// ours; returns its URL. Nothing where there is nothing to be taken over.
///
/// # Errors
/// [`ManagerError`]
pub fn adopt(world: World<'_>, file: &Path) -> Result<Option<String>, ManagerError> {
    if world.root.status(file)?.is_none() {
        return Ok(None);
    }
    let (name, _) = public(&world, None, false)?;
    let run = Run::begin(world)?;
    let acme = acme(&run.config, &name)?;
    let settings = Settings::read(run.world.root, acme, false).map_err(ManagerError::Usage)?;
    let (root, accounts, now) = (run.world.root, run.tree.own(ACCOUNTS), run.world.now);
    account::adopt(root, &accounts, &settings, file, now).map_err(failed)
}

/// Does something with an account.
///
/// # Errors
/// [`ManagerError`]
pub fn change(world: World<'_>, which: &Which, request: &Request) -> Result<Report, ManagerError> {
    let run = if which.staging { Run::begin_test(world)? } else { Run::begin(world)? };
    let acme = acme(&run.config, &which.authority)?;
    let mut settings = Settings::read(run.world.root, acme, run.is_test).map_err(ManagerError::Usage)?;
    if !which.contact.is_empty() {
        settings.contact.clone_from(&which.contact);
    }
    let (root, accounts, now) = (run.world.root, run.tree.own(ACCOUNTS), run.world.now);
    let open = || Connection::open(root, &accounts, &settings, now).map_err(failed);
    let done = match request {
        Request::Register => format!("the account is {}", open()?.account()),
        Request::RollKey => {
            there(&run, &accounts, &settings)?;
            let mut connection = open()?;
            connection.roll_over(root).map_err(failed)?;
            format!("the account {} has a new key", connection.account())
        }
        Request::Deactivate => {
            there(&run, &accounts, &settings)?;
            let connection = open()?;
            let url = connection.account().to_owned();
            connection.deactivate(root).map_err(failed)?;
            format!("the account {url} is closed")
        }
        Request::Import(from) => {
            let url = account::import(root, &accounts, &settings, from, now).map_err(failed)?;
            format!("the account {url} is taken over")
        }
    };
    Ok(Report { done: vec![format!("{}: {done}", which.authority)], ..Report::default() })
}

/// An account that is not there is not made only to be closed.
fn there(run: &Run<'_>, accounts: &Path, settings: &Settings) -> Result<(), ManagerError> {
    let place = account::place(accounts, settings);
    match run.world.root.status(&place)? {
        Some(_) => Ok(()),
        None => Err(ManagerError::Usage(format!(
            "there is no account with {} for this contact; `reseed manager account show` lists those that there are",
            settings.directory
        ))),
    }
}

fn acme<'c>(config: &'c Configuration, name: &str) -> Result<&'c Acme, ManagerError> {
    match config.authorities.get(name).map(|authority| &authority.kind) {
        Some(AuthorityKind::Acme(acme)) => Ok(acme),
        Some(_) => Err(ManagerError::Usage(format!("{} is not spoken to by ACME", shown(name)))),
        None => {
            let near = hint(name, config.authorities.keys().map(String::as_str));
            let message = format!("ca-info.conf has no table for the CA {}{near}", shown(name));
            Err(ManagerError::Usage(message))
        }
    }
}

fn failed(refusal: Refusal) -> ManagerError {
    ManagerError::Failed(refusal.to_string())
}
