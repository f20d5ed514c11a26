//! What can be asked of an inventory, wherever it lies.

use serde::Serialize;
use time::OffsetDateTime;

use super::events::Event;
use super::model::{
    Alteration, AtRest, Delivery, Instance, KeyAlgorithm, KeyData, Name, Object, Objects, Reference, Refusal,
    SubjectType,
};
use super::schedule::Standing;
use crate::fault::Fault;
use crate::manager::fleet::{Gathering, HostReport};
use crate::pki::key::Secret;
use crate::system::root::PathError;

/// Why an inventory does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// A rule forbids it; nothing was changed.
    #[error("{}", joined(.0))]
    Refused(Vec<Refusal>),
    /// It does not answer, or stopped answering; what was under way was not done.
    #[error("{0}")]
    Gone(String),
    /// It does not let us in, or cannot be used as it is.
    #[error("{0}")]
    Unusable(String),
    /// The work on a certificate was taken over by another manager; nothing was changed.
    #[error("the work on {0} was taken over by another manager")]
    ClaimLost(Name),
    /// Another run holds the lock.
    #[error("another run of the manager holds the lock; wait for it")]
    Busy,
    /// A file of ours cannot be understood.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The system refused.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl From<Refusal> for InventoryError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(vec![refusal])
    }
}

fn joined(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// One change of the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An object comes in.
    Add(Object),
    /// One is changed, at this time.
    Alter(Alteration, OffsetDateTime),
    /// One goes.
    Remove(Reference),
}

/// A delivery that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The certificate.
    pub certificate: Name,
    /// Its instance.
    pub instance: i64,
    /// The host.
    pub host: Name,
    /// How it ended.
    #[serde(flatten)]
    pub delivery: Delivery,
}

/// Everything that an inventory holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    /// The objects.
    pub objects: Objects,
    /// The instances by number, each with its certificates and keys.
    pub instances: Vec<(Instance, Vec<KeyData>)>,
    /// The number of the next instance: none is used twice.
    pub next: i64,
    /// How keys are kept.
    pub at_rest: AtRest,
}

/// A private key as it lies in an inventory.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// Of which instance.
    pub instance: i64,
    /// Of which certificate.
    pub certificate: Name,
    /// What that is for.
    pub subject: SubjectType,
    /// Which of the instance's keys.
    pub algorithm: KeyAlgorithm,
    /// Its text in PEM, never empty.
    pub key: Secret,
}

/// About so many keys are looked at together.
pub const KEYS_AT_A_TIME: usize = 1_000;

/// Looks at some keys.
pub type Each<'a> = dyn FnMut(&[StoredKey]) -> Result<(), InventoryError> + 'a;

/// The new text of each of some keys, in their order; nothing for one that stays as it is.
pub type Anew<'a> = dyn FnMut(&[StoredKey]) -> Result<Vec<Option<Secret>>, InventoryError> + 'a;

/// An inventory. Every call that changes something does all of it or nothing.
pub trait Inventory {
    /// Where it lies, for people; never a password.
    fn shown(&self) -> String;

    /// All objects.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn objects(&mut self) -> Result<Objects, InventoryError>;

    /// Certificates, with the hosts, places and services that they name and with nothing else. One that is not
    /// there is left out.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn objects_of(&mut self, names: &[Name]) -> Result<Objects, InventoryError>;

    /// All instances by their numbers, without what is secret.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn instances(&mut self) -> Result<Vec<Instance>, InventoryError>;

    /// The instances of one certificate by their numbers, without what is secret.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn instances_of(&mut self, certificate: &Name) -> Result<Vec<Instance>, InventoryError>;

    /// Certificates and keys of an instance, RSA first; none for one that is not there.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn keys(&mut self, instance: i64) -> Result<Vec<KeyData>, InventoryError>;

    /// How private keys are kept.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn at_rest(&mut self) -> Result<AtRest, InventoryError>;

    /// Calls for all private keys, some at a time.
    ///
    /// # Errors
    /// [`InventoryError`], also that of the call.
    fn stored_keys(&mut self, each: &mut Each<'_>) -> Result<(), InventoryError>;

    /// Says how private keys are kept from now on, and writes those anew that are to be, in one transaction. Nobody
    /// else stores a key meanwhile.
    ///
    /// # Errors
    /// [`InventoryError`], also that of the call; nothing was changed.
    fn keep_keys(&mut self, at_rest: AtRest, anew: &mut Anew<'_>) -> Result<(), InventoryError>;

    /// Certificates and keys of several instances, in their order, RSA first.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn keys_of(&mut self, instances: &[Instance]) -> Result<Vec<Vec<KeyData>>, InventoryError>;

    /// Deliveries that did not end well, of instances that are issued, prepublished or deployed; the latest first,
    /// at most so many.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn troubles(&mut self, most: usize) -> Result<Vec<Trouble>, InventoryError>;

    /// Calls for each certificate, in the order of their names, with how it stands: some, or all.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn standings(
        &mut self,
        some: Option<&[Name]>,
        each: &mut dyn FnMut(Standing),
    ) -> Result<(), InventoryError>;

    /// Changes objects.
    ///
    /// # Errors
    /// [`InventoryError`]; nothing was changed.
    fn change(&mut self, changes: &[Change]) -> Result<(), InventoryError>;

    /// Takes everything in, into an inventory that is empty.
    ///
    /// # Errors
    /// [`InventoryError`]; nothing was changed.
    fn fill(&mut self, contents: &Contents) -> Result<(), InventoryError>;

    /// Everything.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn contents(&mut self) -> Result<Contents, InventoryError>;

    /// Claims certificates, at most so many, for this manager alone: those on which nobody else works.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn claim(&mut self, names: &[Name], most: usize) -> Result<Vec<Name>, InventoryError>;

    /// Records what happened to a certificate that this manager has claimed; returns the number of an instance
    /// that began.
    ///
    /// # Errors
    /// [`InventoryError`], [`InventoryError::ClaimLost`] where the claim is another manager's by now; nothing
    /// was changed.
    fn record(
        &mut self,
        certificate: &Name,
        events: &[Event],
        now: OffsetDateTime,
    ) -> Result<Option<i64>, InventoryError>;

    /// Lets a claim go.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn release(&mut self, certificate: &Name) -> Result<(), InventoryError>;

    /// Keeps what a machine says of itself, in place of what it said before.
    ///
    /// # Errors
    /// [`InventoryError`], also where there is a later report of that machine; the one that was there stands.
    fn report(&mut self, report: &HostReport, now: OffsetDateTime) -> Result<(), InventoryError>;

    /// Gives all that is known of machines and of what they serve, at one moment.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn gather(&mut self, gathering: &mut Gathering) -> Result<(), InventoryError>;

    /// Removes the report of a machine that is no more; says whether there was one.
    ///
    /// # Errors
    /// [`InventoryError`]
    fn forget(&mut self, host: &Name) -> Result<bool, InventoryError>;
}
