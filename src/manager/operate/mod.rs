//! Working on an inventory: what `operate_serverPKI` does, for any number of managers at once.
//!
//! ```text
//!  words      choice  report                 which certificates and hosts are meant; what was done
//!  stories    schedule  deploy               everything that is due; what comes into use
//!             issue  distribute  tlsa        one kind of it, because somebody says so
//!             authority  export  revoke
//!             check  status                what is wrong; how it stands
//!  decisions  naming                         which names stand in a certificate
//!  steps      sign  acquire  errand          a certificate by an own authority; by a public one, and what that
//!                                            is asked with
//!             bring  parcel  hosts           files to their places on hosts
//!             publish  records               TLSA records into zones; which those are
//!             crl                            what own authorities have taken back
//!             remind                         somebody is told of what somebody has to do
//!             keys                           private keys, opened and kept
//! ```
//!
//! A step works only on certificates that this manager has claimed, and records what became of each as soon as
//! that is known: whoever dies leaves nothing that the next does not see.

mod acquire;
pub mod authority;
pub mod bring;
pub mod check;
pub mod choice;
pub mod crl;
pub mod deploy;
pub mod distribute;
mod errand;
pub mod export;
pub mod hosts;
pub mod issue;
pub mod keys;
mod naming;
pub mod parcel;
pub mod publish;
pub mod records;
pub mod remind;
pub mod report;
pub mod revoke;
pub mod schedule;
mod sign;
pub mod status;
pub mod tlsa;

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use self::sign::Signers;
use super::config::Configuration;
use super::inventory::events::Event;
use super::inventory::model::Name;
use super::inventory::store::{Inventory, InventoryError};
use super::run::World;
use crate::system::clock;

pub use choice::{Certificates, Hosts};
pub use report::{Outcome, Report};

/// Certificates that are claimed at a time: as many as a public authority is asked for at once, and few enough to
/// leave others theirs.
const AT_A_TIME: usize = 20;

/// Certificates that are looked through for some to claim: enough for many managers to find their own among them.
const WINDOW: usize = 400;

/// After how long a store that is gone is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// What works on an inventory.
pub struct Operation<'a> {
    /// What it was told.
    pub world: World<'a>,
    /// What is configured.
    pub config: Configuration,
    /// The inventory.
    pub inventory: Box<dyn Inventory + 'a>,
    /// What has been done.
    pub report: Report,
    /// When it began, on a clock that nobody sets.
    began: Instant,
    /// How long a store that is gone is waited for; only what looks again before it works may wait at all.
    pub patience: Duration,
    /// What own authorities sign with, as far as it was needed.
    signers: Signers<'a>,
}

/// Why an operation ends early. What was recorded stays; nothing else was done.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The inventory does not do what it is asked for.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// What is asked for cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// It cannot be done.
    #[error("{0}")]
    Failed(String),
}

/// What is done with some certificates that were claimed.
pub type Work<'w, 'a> = dyn FnMut(&mut Operation<'a>, &[Name]) -> Result<(), OperateError> + 'w;

impl<'a> Operation<'a> {
    /// One that has done nothing yet.
    pub fn new(world: World<'a>, config: Configuration, inventory: Box<dyn Inventory + 'a>) -> Self {
        let signers = Signers::new(world.root, config.site.passphrase_file.as_deref());
        let (report, patience) = (Report::default(), Duration::ZERO);
        Self { world, config, inventory, report, began: Instant::now(), patience, signers }
    }

    /// The present time, while `world.now` is that at which it began.
    pub fn now(&self) -> OffsetDateTime {
        self.world.now + self.began.elapsed()
    }

    /// Has work done on certificates that nobody else works at, some at a time, each once. Those that are left to
    /// other managers are noted in the report.
    ///
    /// # Errors
    /// [`OperateError`], also that of the work; what was claimed is let go.
    pub fn each(&mut self, names: &[Name], work: &mut Work<'_, 'a>) -> Result<(), OperateError> {
        let mut waited = Duration::ZERO;
        for window in names.chunks(WINDOW) {
            let mut rest = window.to_vec();
            while !rest.is_empty() {
                match self.some(&rest, work) {
                    Ok(claimed) if claimed.is_empty() => break,
                    Ok(claimed) => rest.retain(|name| !claimed.contains(name)),
                    Err(OperateError::Inventory(InventoryError::Gone(says))) if waited < self.patience => {
                        if waited.is_zero() {
                            (self.world.tell)(&format!("waits for the inventory: {says}"));
                        }
                        clock::pause(AGAIN);
                        waited += AGAIN;
                    }
                    Err(error) => return Err(error),
                }
            }
            for name in rest {
                self.report.left(name, "another manager works at it");
            }
        }
        Ok(())
    }

    /// Claims some certificates and has work done on them.
    fn some(&mut self, names: &[Name], work: &mut Work<'_, 'a>) -> Result<Vec<Name>, OperateError> {
        let claimed = self.inventory.claim(names, AT_A_TIME)?;
        let worked = work(self, &claimed);
        // A store that is gone lets go by itself, and the first error is the one that tells.
        let let_go = claimed.iter().try_for_each(|name| self.inventory.release(name));
        worked?;
        let_go?;
        Ok(claimed)
    }

    /// Records what happened to a certificate. What the inventory refuses concerns that certificate alone.
    ///
    /// # Errors
    /// [`OperateError`] when nothing can be recorded of any certificate.
    pub fn record(
        &mut self,
        name: &Name,
        events: &[Event],
    ) -> Result<Result<Option<i64>, String>, OperateError> {
        match self.inventory.record(name, events, self.now()) {
            Ok(fresh) => Ok(Ok(fresh)),
            Err(error @ (InventoryError::Refused(_) | InventoryError::ClaimLost(_))) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }
}
