//! The service manager of a running machine: systemd, over the system bus.
//!
//! `tell` makes units take up new files, `hold` keeps units back and lets them go, `errand` runs other
//! programs in units of their own, `bus` is how systemd is spoken to, in the words of `proxy`. Here are
//! the connection, made when first needed, and how long jobs are waited for.

mod bus;
mod errand;
#[cfg(test)]
mod fake;
mod hold;
mod proxy;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use zbus::Connection;

use self::bus::{Bus, Job};
use super::{Errand, Offline, ServiceError, Services, Told};
use crate::hook::{Policy, Verb};
use crate::ledger::Former;
use crate::system::{clock, root};

/// Systemd. Nothing is connected before the first question.
pub struct Systemd {
    patience: Patience,
    /// In place of the system bus.
    given: Option<Connection>,
    bus: Mutex<Option<Bus>>,
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a job to end; sendmail takes 5 s, a database may take a minute.
    pub job: Duration,
    /// For a job to begin that may be waiting for the one in which we run.
    pub begin: Duration,
    /// For a service to die after all: cyrus does so 250 ms after its job is done.
    pub settle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { job: Duration::from_mins(2), begin: Duration::from_secs(5), settle: Duration::from_secs(1) }
    }
}

impl Systemd {
    /// The manager of this machine.
    pub fn system_bus() -> Self {
        Self { patience: Patience::default(), given: None, bus: Mutex::default() }
    }

    /// A manager at the other end of a connection that exists already.
    pub fn over(connection: Connection, patience: Patience) -> Self {
        Self { patience, given: Some(connection), bus: Mutex::default() }
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(&mut Bus, &Patience) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let mut slot = self.bus.lock().unwrap_or_else(PoisonError::into_inner);
        let bus = match slot.take().filter(|bus| !bus.is_closed()) {
            Some(bus) => bus,
            None => self.connect().map_err(unreachable)?,
        };
        question(slot.insert(bus), &self.patience)
    }

    fn connect(&self) -> zbus::Result<Bus> {
        Bus::new(match &self.given {
            Some(connection) => connection.clone(),
            None => Bus::system(self.patience.job)?,
        })
    }
}

impl Services for Systemd {
    fn tell(&self, requests: &BTreeMap<String, Verb>) -> Result<BTreeMap<String, Told>, ServiceError> {
        if requests.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.ask(|bus, patience| tell::tell(bus, patience, requests))
    }

    fn gate(&self, pattern: &str, policy: Policy) -> Result<Vec<Former>, ServiceError> {
        if policy == Policy::Report {
            return Ok(Vec::new());
        }
        self.ask(|bus, patience| hold::gate(bus, patience, pattern, policy))
    }

    fn triggers(&self, pattern: &str) -> Result<Vec<String>, ServiceError> {
        self.ask(|bus, _| hold::triggers(bus, pattern))
    }

    fn reload(&self) -> Result<(), ServiceError> {
        self.ask(|bus, _| bus.reload().map_err(unreachable))
    }

    fn release(&self, pattern: &str, former: &[Former]) -> Result<(), ServiceError> {
        self.ask(|bus, patience| hold::release(bus, patience, pattern, former))
    }

    fn run(&self, errand: &Errand<'_>) -> Result<String, ServiceError> {
        // Units are root's to start; nobody else has a sandbox of ours to get out of.
        if root::effective_user() != 0 {
            return Offline.run(errand);
        }
        self.ask(|bus, patience| errand::run(bus, patience, errand))
    }

    fn retry(&self, wanted: bool) -> Result<(), ServiceError> {
        self.ask(|bus, _| {
            let asked = if wanted { bus.start(RETRY) } else { bus.stop(RETRY) };
            match asked {
                Err(error) if !bus::is_missing(&error) => Err(refusal(RETRY, "is not available", &error)),
                _ => Ok(()),
            }
        })
    }
}

/// How a unit's job ended, as far as it was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// As was asked.
    Done,
    /// It has not begun, and may be waiting for us; see [`wait`].
    Left,
}

/// Waits until jobs have ended, all of them together.
///
/// A job of a unit that is ordered after the one in which we run begins only when we end, so to
/// wait for it is to wait for ever. That can be so during boot, and whenever our own unit is being
/// started; then a job that has not even begun after a short while is left to itself. It is in the
/// queue, and the files that it will read are in place.
fn wait(
    bus: &mut Bus,
    patience: &Patience,
    jobs: Vec<(String, Job)>,
    what: impl Fn(&str) -> String,
) -> Result<BTreeMap<String, Result<Ended, ServiceError>>, ServiceError> {
    let mut ended = BTreeMap::new();
    let mut pending = jobs;
    if pending.is_empty() {
        return Ok(ended);
    }
    let within_job = bus.is_within_job().map_err(unreachable)?;
    let since = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let may_leave = within_job && since.elapsed() >= patience.begin;
        let overdue = since.elapsed() >= patience.job;
        pending.retain(|(unit, job)| {
            let end = match bus.result(job) {
                Some(result) if result == "done" => Ok(Ended::Done),
                Some(result) => Err(blame(unit, &format!("its {} ended as {result:?}", what(unit)))),
                None if may_leave && bus.is_waiting(job) => Ok(Ended::Left),
                None if overdue => {
                    let seconds = patience.job.as_secs();
                    Err(blame(unit, &format!("its {} has not ended within {seconds} s", what(unit))))
                }
                None => return true,
            };
            ended.insert(unit.clone(), end);
            false
        });
        if pending.is_empty() {
            return Ok(ended);
        }
        if bus.is_closed() {
            return Err(ServiceError("the service manager cannot be reached over D-Bus any more".into()));
        }
        clock::pause(pause);
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// What went wrong with a unit, and where its own account of it is.
fn blame(unit: &str, what: &str) -> ServiceError {
    ServiceError(format!("{unit}: {what}; see `systemctl status {unit}` and `journalctl -u {unit}`"))
}

/// The manager did not do what was asked of it for a unit.
fn refusal(unit: &str, what: &str, error: &zbus::Error) -> ServiceError {
    blame(unit, &format!("{what}: {}", bus::words(error)))
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits `map_err`")]
fn unreachable(error: zbus::Error) -> ServiceError {
    ServiceError(format!("the service manager cannot be reached over D-Bus: {}", bus::words(&error)))
}

/// Tries again what is left undone.
const RETRY: &str = "reseed-retry.timer";

/// Between two looks: a reload takes milliseconds, and who looks late misses a quick death.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LAST_PAUSE: Duration = Duration::from_millis(50);
