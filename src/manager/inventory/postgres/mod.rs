//! The inventory in PostgreSQL: any number of managers on any number of machines share it.
//!
//! ```text
//!  parameters  tls  connect     how a server is reached, as users of libpq expect
//!  schema                       our tables, versioned; the rules are in there, too
//!  read  claims                 what is asked; who works at what
//!  objects  alter  record  fill what is changed; rows has what all of them need
//!  keys                         how private keys are kept, and all of them written anew
//!  reports                      what machines say of themselves
//!  serverpki                    the tables of serverPKI, taken over
//! ```

mod alter;
mod claims;
pub mod connect;
mod fill;
mod keys;
mod objects;
pub mod parameters;
mod read;
mod record;
mod reports;
mod rows;
pub mod schema;
pub mod serverpki;
mod tls;

use std::collections::BTreeSet;
use std::time::Duration;

use postgres::{Client, Transaction};
use time::OffsetDateTime;

pub use connect::{Connector, Surroundings};

use super::events::Event;
use super::model::{AtRest, Instance, KeyData, Name, Objects, Refusal, Rule};
use super::schedule::Standing;
use super::store::{Anew, Change, Contents, Each, Inventory, InventoryError, Trouble};
use crate::manager::fleet::{Gathering, HostReport};

/// An inventory in PostgreSQL.
pub struct Postgres {
    connector: Connector,
    client: Option<Client>,
    /// Who we are, for people and for ourselves after a connection broke.
    manager: String,
    /// Our number among those who work, while the connection lasts.
    session: Option<i32>,
    /// What we have claimed.
    held: BTreeSet<Name>,
    /// How long a claim whose manager is gone is left to it to come back.
    pub grace: Duration,
}

/// A manager whose server was restarted has so long to come back to what it worked at.
const GRACE: Duration = Duration::from_secs(30);

impl Postgres {
    /// Connects, and looks whether the tables are ours and of our version.
    ///
    /// # Errors
    /// [`InventoryError`]
    pub fn open(connector: Connector, manager: &str) -> Result<Self, InventoryError> {
        let mut opened = Self::unchecked(connector, manager)?;
        schema::check(opened.client()?)?;
        Ok(opened)
    }

    /// Connects, whatever tables there are.
    ///
    /// # Errors
    /// [`InventoryError`]
    pub fn unchecked(connector: Connector, manager: &str) -> Result<Self, InventoryError> {
        let client = Some(connector.connect()?);
        let (manager, held) = (manager.to_owned(), BTreeSet::new());
        Ok(Self { connector, client, manager, session: None, held, grace: GRACE })
    }

    /// The connection; a new one after the old one broke.
    ///
    /// # Errors
    /// [`InventoryError::Gone`]
    pub fn client(&mut self) -> Result<&mut Client, InventoryError> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.session = None;
            self.client = None;
            self.client = Some(self.connector.connect()?);
        }
        self.client.as_mut().ok_or_else(|| InventoryError::Gone("there is no connection".into()))
    }

    /// Does something as one transaction.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, InventoryError>,
    ) -> Result<T, InventoryError> {
        let shown = self.shown();
        let mut transaction = self.client()?.transaction().map_err(|error| failed(&shown, &error))?;
        let done = work(&mut transaction)?;
        transaction.commit().map_err(|error| failed(&shown, &error))?;
        Ok(done)
    }
}

impl Inventory for Postgres {
    fn shown(&self) -> String {
        format!("PostgreSQL, {}", self.connector.shown())
    }

    fn objects(&mut self) -> Result<Objects, InventoryError> {
        self.snapshot(read::objects)
    }

    fn objects_of(&mut self, names: &[Name]) -> Result<Objects, InventoryError> {
        self.snapshot(|transaction| read::objects_of(transaction, names))
    }

    fn instances(&mut self) -> Result<Vec<Instance>, InventoryError> {
        self.snapshot(|transaction| read::instances(transaction, None))
    }

    fn instances_of(&mut self, certificate: &Name) -> Result<Vec<Instance>, InventoryError> {
        self.snapshot(|transaction| read::instances(transaction, Some(certificate)))
    }

    fn keys(&mut self, instance: i64) -> Result<Vec<KeyData>, InventoryError> {
        self.snapshot(|transaction| read::keys(transaction, instance))
    }

    fn at_rest(&mut self) -> Result<AtRest, InventoryError> {
        self.snapshot(|transaction| keys::at_rest(transaction, keys::Lock::Nothing))
    }

    fn stored_keys(&mut self, each: &mut Each<'_>) -> Result<(), InventoryError> {
        self.snapshot(|transaction| keys::each(transaction, each))
    }

    fn keep_keys(&mut self, at_rest: AtRest, anew: &mut Anew<'_>) -> Result<(), InventoryError> {
        self.transact(|transaction| keys::keep(transaction, at_rest, anew))
    }

    fn keys_of(&mut self, instances: &[Instance]) -> Result<Vec<Vec<KeyData>>, InventoryError> {
        let ids: Vec<i64> = instances.iter().map(|instance| instance.id).collect();
        let mut found = self.snapshot(|transaction| read::keys_of(transaction, &ids))?;
        Ok(ids.iter().map(|id| found.remove(id).unwrap_or_default()).collect())
    }

    fn troubles(&mut self, most: usize) -> Result<Vec<Trouble>, InventoryError> {
        self.snapshot(|transaction| read::troubles(transaction, most))
    }

    fn standings(
        &mut self,
        some: Option<&[Name]>,
        each: &mut dyn FnMut(Standing),
    ) -> Result<(), InventoryError> {
        self.snapshot(|transaction| read::standings(transaction, some, each))
    }

    fn change(&mut self, changes: &[Change]) -> Result<(), InventoryError> {
        self.transact(|transaction| {
            changes.iter().try_for_each(|change| objects::change(transaction, change))
        })
    }

    fn fill(&mut self, contents: &Contents) -> Result<(), InventoryError> {
        self.transact(|transaction| fill::fill(transaction, contents))
    }

    fn contents(&mut self) -> Result<Contents, InventoryError> {
        self.snapshot(read::contents)
    }

    fn claim(&mut self, names: &[Name], most: usize) -> Result<Vec<Name>, InventoryError> {
        let session = self.session()?;
        let (manager, grace) = (self.manager.clone(), self.grace);
        let claimed =
            self.transact(|transaction| claims::claim(transaction, session, &manager, grace, names, most))?;
        self.held.extend(claimed.iter().cloned());
        Ok(claimed)
    }

    fn record(
        &mut self,
        certificate: &Name,
        events: &[Event],
        now: OffsetDateTime,
    ) -> Result<Option<i64>, InventoryError> {
        let session = self.session()?;
        let recorded = self.transact(|transaction| {
            claims::hold(transaction, session, certificate)?;
            record::record(transaction, certificate, events, now)
        });
        if matches!(recorded, Err(InventoryError::ClaimLost(_))) {
            self.held.remove(certificate);
        }
        recorded
    }

    fn release(&mut self, certificate: &Name) -> Result<(), InventoryError> {
        let session = self.session()?;
        self.transact(|transaction| claims::release(transaction, session, certificate))?;
        self.held.remove(certificate);
        Ok(())
    }

    fn report(&mut self, report: &HostReport, _now: OffsetDateTime) -> Result<(), InventoryError> {
        reports::keep(self, report)
    }

    fn gather(&mut self, gathering: &mut Gathering) -> Result<(), InventoryError> {
        self.snapshot(|transaction| reports::gather(transaction, gathering))
    }

    fn forget(&mut self, host: &Name) -> Result<bool, InventoryError> {
        let host = host.folded();
        let gone = self.client()?.execute("DELETE FROM reseed.reports WHERE host = $1", &[&host])?;
        Ok(gone > 0)
    }
}

impl Postgres {
    /// Reads everything as it is at one moment.
    fn snapshot<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, InventoryError>,
    ) -> Result<T, InventoryError> {
        let shown = self.shown();
        let begun = self.client()?.build_transaction();
        let begun = begun.isolation_level(postgres::IsolationLevel::RepeatableRead).read_only(true).start();
        let mut transaction = begun.map_err(|error| failed(&shown, &error))?;
        work(&mut transaction)
    }

    /// Our number; with a new connection a new one, to which our claims are moved.
    fn session(&mut self) -> Result<i32, InventoryError> {
        self.client()?;
        if let Some(session) = self.session {
            return Ok(session);
        }
        let (manager, held) = (self.manager.clone(), self.held.clone());
        let session = self.transact(|transaction| claims::begin(transaction, &manager, &held))?;
        self.session = Some(session);
        Ok(session)
    }
}

impl From<postgres::Error> for InventoryError {
    fn from(error: postgres::Error) -> Self {
        failed("PostgreSQL", &error)
    }
}

/// What an error of the client means.
fn failed(place: &str, error: &postgres::Error) -> InventoryError {
    let Some(database) = error.as_db_error() else {
        return InventoryError::Gone(format!("{place}: the connection is lost: {}", words(error)));
    };
    let code = database.code().code();
    if let Some(rule) = Rule::of_code(code) {
        return Refusal::new(rule, database.message()).into();
    }
    match code {
        // An administrator or a crash ended the connection; or two waited for each other.
        "57P01" | "57P02" | "57P03" | "40001" | "40P01" => {
            InventoryError::Gone(format!("{place}: {}", database.message()))
        }
        "42501" => InventoryError::Unusable(format!(
            "{place}: {}; grant this user the rights on the schema reseed",
            database.message()
        )),
        _ => InventoryError::Unusable(format!("{place}: {} ({code})", database.message())),
    }
}

/// An error with its causes, in one line.
fn words(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(database) => database.message().to_owned(),
        None => {
            let mut says = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                let inner_says = inner.to_string();
                if !says.contains(&inner_says) {
                    says = format!("{says}: {inner_says}");
                }
                cause = inner.source();
            }
            says
        }
    }
}
