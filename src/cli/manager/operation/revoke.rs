//! `reseed manager revoke` on an inventory.

use super::{Failure, Status, operation, told};
use crate::manager::inventory::model::Name;
use crate::manager::operate::revoke::{Request, revoke};
use crate::manager::run::World;
use crate::pki::x509::crl::Reason;

/// What is taken back.
pub struct Revocation(Request);

impl Revocation {
    /// A certificate by its name, or an instance by its number.
    pub fn of(word: &str, reason: Reason) -> Result<Self, Failure> {
        let mut request = Request { reason, ..Request::default() };
        match word.parse::<i64>() {
            Ok(instance) => request.instances.push(instance),
            Err(_) => {
                request.names.push(Name::new(word).map_err(|refusal| Failure::Usage(refusal.to_string()))?)
            }
        }
        Ok(Self(request))
    }

    /// Does it.
    pub fn run(&self, world: &World<'_>) -> Result<Status, Failure> {
        told(operation(world)?, false, |operation| revoke(operation, &self.0))
    }
}
