//! Speaking to systemd over D-Bus: each thing that is asked of it, as one blocking call.
//!
//! zbus is asynchronous and this program is not, so every call runs to its end here. While it runs,
//! the signals that tell of finished jobs are taken in: a job may end before the reply that names
//! it has arrived, and a full queue of signals would hold that reply up.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

// zbus shows this trait nowhere else, and without it no signal can be read.
use zbus::export::futures_core::Stream as _;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, Result, Variant, block_on};

use super::proxy::{JobProxy, JobRemovedStream, ManagerProxy, Row, ServiceProxy, UnitProxy};

/// A job that the manager was asked for.
pub(super) type Job = OwnedObjectPath;

/// A unit as the manager lists it.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Its own name, never an alias.
    pub name: String,
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// `running`, `exited`, `auto-restart`, …
    pub sub: String,
    /// `start`, `stop`, … where one is queued.
    pub job: Option<String>,
    path: OwnedObjectPath,
}

impl Unit {
    /// Says whether it runs, and not merely is about to.
    pub fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "refreshing")
    }

    /// Says whether it is down, and no job is going to change that.
    pub fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed") && self.job.is_none()
    }

    /// Says whether it runs or would run soon, were it left alone.
    pub fn is_meant_to_run(&self) -> bool {
        let queued = matches!(self.job.as_deref(), Some("start" | "restart"));
        self.is_active() || self.active == "activating" || queued
    }
}

/// A connection on which the manager reports finished jobs.
pub(super) struct Bus {
    connection: Connection,
    manager: ManagerProxy<'static>,
    jobs: Jobs,
}

impl Bus {
    /// Connects to the system bus; no call on it waits longer than `timeout` for its reply.
    pub fn system(timeout: Duration) -> Result<Connection> {
        block_on(zbus::connection::Builder::system().method_timeout(timeout).build())
    }

    /// Subscribes before anything is asked, so that no job can end unseen.
    pub fn new(connection: Connection) -> Result<Self> {
        let (manager, stream) = block_on(async {
            let manager =
                ManagerProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
            let stream = manager.receive_job_removed().await?;
            manager.subscribe().await?;
            Result::Ok((manager, stream))
        })?;
        Ok(Self { connection, manager, jobs: Jobs { stream, ended: HashMap::new() } })
    }

    /// Says whether the other end has gone.
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// The units that a name or a pattern of names stands for, in whatever state.
    ///
    /// A name is asked for as such, because patterns match neither aliases nor what is not loaded.
    pub fn units(&mut self, pattern: &str) -> Result<Vec<Unit>> {
        if !is_pattern(pattern) {
            return self.named(&[pattern.to_owned()]);
        }
        let rows = self.jobs.during(self.manager.list_units_by_patterns(&[], &[pattern]))?;
        Ok(rows.into_iter().filter_map(unit).collect())
    }

    /// The units of these names, loaded for the purpose; those that do not exist are left out.
    pub fn named(&mut self, names: &[String]) -> Result<Vec<Unit>> {
        // A template cannot run, and the manager refuses the whole list on its account.
        let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.contains("@.")).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.jobs.during(self.manager.list_units_by_names(&names))?;
        Ok(rows.into_iter().filter_map(unit).collect())
    }

    /// The names of the unit files that match a pattern.
    pub fn files(&mut self, pattern: &str) -> Result<Vec<String>> {
        let files = self.jobs.during(self.manager.list_unit_files_by_patterns(&[], &[pattern]))?;
        Ok(files.iter().filter_map(|(path, _)| Some(path.rsplit_once('/')?.1.to_owned())).collect())
    }

    /// What the manager calls the state of a unit's file; nothing where there is no file.
    pub fn file_state(&mut self, unit: &str) -> Result<Option<String>> {
        match self.jobs.during(self.manager.get_unit_file_state(unit)) {
            Err(error) if is_missing(&error) => Ok(None),
            state => state.map(Some),
        }
    }

    /// Asks for a restart of a unit that runs.
    pub fn restart(&mut self, unit: &str) -> Result<Job> {
        self.jobs.during(self.manager.try_restart_unit(unit, REPLACE))
    }

    /// Asks for a reload of a unit that runs, or a restart if it cannot reload.
    pub fn reload_unit(&mut self, unit: &str) -> Result<Job> {
        self.jobs.during(self.manager.reload_or_try_restart_unit(unit, REPLACE))
    }

    /// Asks for a start.
    pub fn start(&mut self, unit: &str) -> Result<Job> {
        self.jobs.during(self.manager.start_unit(unit, REPLACE))
    }

    /// Asks for a stop, which also cancels a start that is queued.
    pub fn stop(&mut self, unit: &str) -> Result<Job> {
        self.jobs.during(self.manager.stop_unit(unit, REPLACE))
    }

    /// Starts a unit that has no file and goes with its end.
    pub fn start_transient(&mut self, name: &str, properties: Vec<(&str, Variant<'_>)>) -> Result<Job> {
        self.jobs.during(self.manager.start_transient_unit(name, "fail", properties, Vec::new()))
    }

    /// Removes the links that enable a unit; says whether there were any.
    pub fn disable(&mut self, unit: &str) -> Result<bool> {
        Ok(!self.jobs.during(self.manager.disable_unit_files(&[unit], false))?.is_empty())
    }

    /// Makes the links that enable a unit.
    pub fn enable(&mut self, unit: &str) -> Result<()> {
        self.jobs.during(self.manager.enable_unit_files(&[unit], false, false)).map(drop)
    }

    /// Makes a unit file outside systemd's directories known.
    pub fn link(&mut self, file: &str) -> Result<()> {
        self.jobs.during(self.manager.link_unit_files(&[file], false, false)).map(drop)
    }

    /// Makes a unit's name lead to nothing.
    pub fn mask(&mut self, unit: &str) -> Result<()> {
        self.jobs.during(self.manager.mask_unit_files(&[unit], false, false)).map(drop)
    }

    /// Undoes a mask.
    pub fn unmask(&mut self, unit: &str) -> Result<()> {
        self.jobs.during(self.manager.unmask_unit_files(&[unit], false)).map(drop)
    }

    /// Makes the manager read all unit files anew.
    pub fn reload(&mut self) -> Result<()> {
        self.jobs.during(self.manager.reload())
    }

    /// Says whether a job that waits may be waiting for us: during boot, and within a job of the
    /// unit that we belong to.
    pub fn is_within_job(&mut self) -> Result<bool> {
        let state = self.jobs.during(self.manager.system_state())?;
        if matches!(state.as_str(), "initializing" | "starting") {
            return Ok(true);
        }
        // 0 stands for the caller; one that belongs to no unit is answered with an error.
        let Ok(own) = self.jobs.during(self.manager.get_unit_by_pid(0)) else {
            return Ok(false);
        };
        let job = async { unit_proxy(&self.connection, &own).await?.job().await };
        Ok(self.jobs.during(job)?.0 != 0)
    }

    /// The units that start this one when something happens: sockets, timers, paths.
    pub fn triggers(&mut self, unit: &Unit) -> Result<Vec<String>> {
        let call = async { unit_proxy(&self.connection, &unit.path).await?.triggered_by().await };
        self.jobs.during(call)
    }

    /// The units that pull this one in when they start.
    pub fn wanted_by(&mut self, unit: &Unit) -> Result<Vec<String>> {
        let call = async {
            let proxy = unit_proxy(&self.connection, &unit.path).await?;
            let mut all = proxy.wanted_by().await?;
            all.extend(proxy.required_by().await?);
            // Only since systemd 249.
            all.extend(proxy.upheld_by().await.unwrap_or_default());
            Ok(all)
        };
        self.jobs.during(call)
    }

    /// The parameters of the conditions that failed when the unit was last to be started.
    pub fn failed_conditions(&mut self, unit: &Unit) -> Result<Vec<String>> {
        let call = async { unit_proxy(&self.connection, &unit.path).await?.conditions().await };
        let conditions = self.jobs.during(call)?;
        let failed = conditions.into_iter().filter(|(.., state)| *state < 0);
        Ok(failed.map(|(_, _, _, parameter, _)| parameter).collect())
    }

    /// Where the unit's file is.
    pub fn fragment(&mut self, unit: &Unit) -> Result<String> {
        let call = async { unit_proxy(&self.connection, &unit.path).await?.fragment_path().await };
        self.jobs.during(call)
    }

    /// Why a service last ended, and how often it was started again by itself since it was last
    /// started by somebody; nothing for what is no service.
    pub fn course(&mut self, unit: &Unit) -> Option<(String, u32)> {
        let call = async {
            let proxy = ServiceProxy::builder(&self.connection)
                .path(&unit.path)
                .cache_properties(CacheProperties::No)
                .build()
                .await?;
            Result::Ok((proxy.result().await?, proxy.n_restarts().await?))
        };
        self.jobs.during(call).ok()
    }

    /// How a job ended, told once; nothing while it has not.
    pub fn result(&mut self, job: &Job) -> Option<String> {
        self.jobs.during(async {});
        self.jobs.ended.remove(job)
    }

    /// Says whether a job waits for other jobs.
    pub fn is_waiting(&mut self, job: &Job) -> bool {
        let call = async {
            let builder = JobProxy::builder(&self.connection).path(job);
            builder.cache_properties(CacheProperties::No).build().await?.state().await
        };
        // A job that cannot be asked has just ended; its signal is on the way.
        self.jobs.during(call).is_ok_and(|state| state == "waiting")
    }
}

/// Says whether a name may stand for several units.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Says whether the manager answered that there is no such unit.
pub(super) fn is_missing(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::FDO(error) => matches!(**error, zbus::fdo::Error::FileNotFound(_)),
        zbus::Error::MethodError(name, ..) => name.as_str() == "org.freedesktop.systemd1.NoSuchUnit",
        _ => false,
    }
}

/// The manager's own words, without the name of the error that goes with them.
pub(super) fn words(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.trim_end_matches('.').to_owned(),
        other => other.to_string().trim_end_matches('.').to_owned(),
    }
}

/// Which jobs have ended, and how.
struct Jobs {
    stream: JobRemovedStream,
    ended: HashMap<Job, String>,
}

impl Jobs {
    fn during<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        block_on(poll_fn(|context| {
            self.take_in(context);
            call.as_mut().poll(context)
        }))
    }

    fn take_in(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(signal)) = Pin::new(&mut self.stream).poll_next(context) {
            // A signal that cannot be understood tells of no job of ours.
            if let Ok(ended) = signal.args() {
                self.ended.insert(ended.job.to_owned().into(), ended.result.to_owned());
            }
        }
    }
}

fn unit((name, _, load, active, sub, _, path, job, kind, _): Row) -> Option<Unit> {
    (load != "not-found").then(|| Unit { name, active, sub, job: (job != 0).then_some(kind), path })
}

async fn unit_proxy<'a>(connection: &Connection, path: &'a OwnedObjectPath) -> Result<UnitProxy<'a>> {
    UnitProxy::builder(connection).path(path).cache_properties(CacheProperties::No).build().await
}

/// A new job takes the place of one that contradicts it.
const REPLACE: &str = "replace";
