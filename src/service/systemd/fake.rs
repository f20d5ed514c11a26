//! A manager of our own at the other end of a socket pair: units as data, and a few ways to
//! misbehave. It moves like systemd 252 as far as we look at it.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, MutexGuard};
use std::thread;

use zbus::connection::Builder;
use zbus::fdo::{Error, Result};
use zbus::object_server::SignalEmitter;
use zbus::{Guid, ObjectServer, OwnedObjectPath, OwnedVariant, Variant, block_on};

use super::*;

/// What a unit does when it is asked for a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    Obeys,
    /// The signal goes out before the reply does.
    Hurries,
    /// The same, among more signals of other jobs than a queue holds.
    Floods,
    Fails(&'static str),
    /// Its job is refused.
    Refuses,
    /// Its job never ends.
    Hangs,
    /// Its job waits for another.
    Waits,
    /// It is active when its job is done, and dead so much later.
    Dies(Duration),
    /// It is started again by itself so much later.
    Loops(Duration),
    /// It runs again, however often it is stopped.
    Returns,
    /// Its file is where its mask would be.
    InEtc,
    /// Its mask does nothing.
    Unmaskable,
}

#[derive(Debug, Clone)]
pub(super) struct FakeUnit {
    pub name: &'static str,
    pub active: &'static str,
    pub file: &'static str,
    pub way: Way,
    pub queued: Option<&'static str>,
    pub triggered_by: Vec<String>,
    pub wanted_by: Vec<String>,
    pub fragment: String,
    /// The condition on which its last start failed.
    pub passed_over_by: Option<String>,
    /// What happens to it by itself, and when.
    pub fate: Option<(Instant, Way)>,
}

pub(super) fn unit(name: &'static str, active: &'static str, file: &'static str, way: Way) -> FakeUnit {
    FakeUnit {
        name,
        active,
        file,
        way,
        queued: None,
        triggered_by: Vec::new(),
        wanted_by: Vec::new(),
        fragment: String::new(),
        passed_over_by: None,
        fate: None,
    }
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub units: Vec<FakeUnit>,
    pub state: &'static str,
    /// We belong to the first unit, and it is being started.
    pub within_job: bool,
    /// What was asked for, in order.
    pub calls: Vec<String>,
    pub jobs: u32,
    /// What a transient unit does.
    pub script: &'static str,
}

impl World {
    fn find(&mut self, name: &str) -> Option<&mut FakeUnit> {
        self.units.iter_mut().find(|unit| unit.name == name)
    }

    /// What has come true by now of what was to happen.
    fn catch_up(&mut self) {
        for unit in &mut self.units {
            if let Some((_, Way::Dies(_))) = unit.fate.filter(|(at, _)| *at <= Instant::now()) {
                unit.active = "failed";
            }
        }
    }

    fn change(&mut self, verb: &str, files: &[String]) -> Result<Vec<Change>> {
        self.calls.push(format!("{verb} {}", files.join(" ")));
        let mut changes = Vec::new();
        for name in files {
            let Some(unit) = self.find(name) else {
                return Err(Error::FileNotFound(format!("unit file {name} does not exist")));
            };
            let new = match (verb, unit.file) {
                ("mask", _) if unit.way == Way::InEtc => {
                    return Err(Error::Failed(format!("File /etc/systemd/system/{name} already exists.")));
                }
                ("mask", _) if unit.way == Way::Unmaskable => continue,
                ("disable", "enabled") if !unit.fragment.is_empty() => "",
                ("disable", "enabled") => "disabled",
                ("enable", "disabled" | "linked") => "enabled",
                ("mask", _) => "masked",
                ("unmask", "masked") => "generated",
                _ => continue,
            };
            unit.file = new;
            changes.push(("symlink".to_owned(), format!("/etc/systemd/system/{name}"), String::new()));
        }
        Ok(changes)
    }
}

type Change = (String, String, String);
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<World>>);

impl Fake {
    pub fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.lock().unwrap();
        world.catch_up();
        world
    }

    fn rows(&self, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
        let row = |(index, unit): (usize, &FakeUnit)| {
            let sub = if unit.active == "active" { "running" } else { "dead" };
            let text = |text: &str| text.to_owned();
            let job = u32::from(unit.queued.is_some());
            let kind = text(unit.queued.unwrap_or_default());
            (
                text(unit.name),
                text(""),
                text("loaded"),
                text(unit.active),
                text(sub),
                text(""),
                unit_path(index),
                job,
                kind,
                path("/"),
            )
        };
        self.world().units.iter().enumerate().filter(|(_, unit)| wanted(unit.name)).map(row).collect()
    }

    async fn job(
        &self,
        verb: &str,
        name: &str,
        emitter: SignalEmitter<'_>,
        server: &ObjectServer,
    ) -> Result<OwnedObjectPath> {
        let (id, way) = {
            let mut world = self.world();
            world.calls.push(format!("{verb} {name}"));
            world.jobs += 1;
            let id = world.jobs;
            let Some(unit) = world.find(name) else {
                return Err(Error::FileNotFound(format!("Unit {name} not found.")));
            };
            let way = unit.way;
            unit.queued = None;
            match (verb, way) {
                (_, Way::Refuses) => {
                    return Err(Error::AccessDenied("Interactive authentication required.".into()));
                }
                (_, Way::Fails(_) | Way::Hangs | Way::Waits) | ("stop", Way::Returns) => {}
                ("stop", _) => unit.active = "inactive",
                ("start", _) if unit.file == "masked" => {
                    return Err(Error::Failed(format!("Unit {name} is masked.")));
                }
                ("start", _) => unit.active = "active",
                (_, Way::Dies(after) | Way::Loops(after)) => unit.fate = Some((Instant::now() + after, way)),
                _ => {}
            }
            (id, way)
        };
        let job = path(&format!("/org/freedesktop/systemd1/job/{id}"));
        let result = match way {
            Way::Fails(result) => result,
            _ => "done",
        };
        let say = {
            let (emitter, job, name) = (emitter.to_owned(), job.clone(), name.to_owned());
            async move { Self::job_removed(&emitter, id, job, &name, result).await }
        };
        match way {
            Way::Hangs => {}
            Way::Waits => drop(server.at(job.clone(), FakeJob).await),
            Way::Floods => {
                for other in 1000..1300 {
                    let job = path(&format!("/org/freedesktop/systemd1/job/{other}"));
                    drop(Self::job_removed(&emitter, other, job, "x.service", "done").await);
                }
                say.await.map_err(|error| Error::Failed(error.to_string()))?;
            }
            Way::Hurries => say.await.map_err(|error| Error::Failed(error.to_string()))?,
            _ => drop(thread::spawn(|| {
                clock::pause(Duration::from_millis(5));
                // Nobody may be listening any more.
                drop(block_on(say));
            })),
        }
        Ok(job)
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Fake {
    fn subscribe(&self) {
        self.world().calls.push("subscribe".into());
    }

    fn reload(&self) {
        self.world().calls.push("reload".into());
    }

    fn list_units_by_names(&self, names: Vec<String>) -> Result<Vec<Row>> {
        if names.iter().any(|name| name.contains("@.")) {
            return Err(Error::InvalidArgs("Unit name is missing the instance name.".into()));
        }
        Ok(self.rows(|name| names.iter().any(|wanted| wanted == name)))
    }

    fn list_units_by_patterns(&self, _states: Vec<String>, patterns: Vec<String>) -> Vec<Row> {
        let pattern = glob::Pattern::new(&patterns[0]).unwrap();
        self.rows(|name| pattern.matches(name) && !name.starts_with("unloaded"))
    }

    fn list_unit_files_by_patterns(
        &self,
        _states: Vec<String>,
        patterns: Vec<String>,
    ) -> Vec<(String, String)> {
        let pattern = glob::Pattern::new(&patterns[0]).unwrap();
        let units = self.world().units.clone();
        let mut files: Vec<_> =
            units.iter().map(|unit| (unit.name.to_owned(), unit.file.to_owned())).collect();
        files.push(("postfix@.service".into(), "disabled".into()));
        files.retain(|(name, _)| pattern.matches(name));
        files.into_iter().map(|(name, state)| (format!("/lib/systemd/system/{name}"), state)).collect()
    }

    fn get_unit_file_state(&self, name: &str) -> Result<String> {
        match self.world().find(name) {
            Some(unit) if !unit.file.is_empty() => Ok(unit.file.into()),
            _ => Err(Error::FileNotFound("No such file or directory".into())),
        }
    }

    #[zbus(name = "GetUnitByPID")]
    fn get_unit_by_pid(&self, _pid: u32) -> Result<OwnedObjectPath> {
        if self.world().within_job {
            return Ok(unit_path(0));
        }
        Err(Error::Failed("PID 1 does not belong to any loaded unit.".into()))
    }

    async fn start_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath> {
        self.job("start", name, emitter, server).await
    }

    async fn stop_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath> {
        self.job("stop", name, emitter, server).await
    }

    async fn try_restart_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath> {
        self.job("restart", name, emitter, server).await
    }

    async fn reload_or_try_restart_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath> {
        self.job("reload", name, emitter, server).await
    }

    /// Really runs the program, with the output that it was given.
    async fn start_transient_unit(
        &self,
        name: String,
        _mode: &str,
        properties: Vec<(String, OwnedVariant)>,
        _aux: Vec<(String, Vec<(String, OwnedVariant)>)>,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath> {
        let mut command = None;
        let mut outputs: Vec<std::os::fd::OwnedFd> = Vec::new();
        for (key, value) in properties {
            match (key.as_str(), &*value) {
                ("ExecStart", Variant::Array(lines)) => {
                    let line: Vec<_> = lines.iter().map(ToString::to_string).collect();
                    command = Some(line.join(" "));
                }
                ("StandardOutputFileDescriptor" | "StandardErrorFileDescriptor", Variant::Fd(fd)) => {
                    outputs.push(fd.try_clone().unwrap().try_into().unwrap());
                }
                (_, value) => self.world().calls.push(format!("{key}={value}")),
            }
        }
        self.world().calls.push(format!("run {}", command.unwrap()));
        let script = self.world().script;
        let job = path("/org/freedesktop/systemd1/job/4711");
        let (emitter, told) = (emitter.to_owned(), job.clone());
        drop(thread::spawn(move || {
            let [out, errors] = outputs.try_into().unwrap();
            let mut shell = std::process::Command::new("/bin/sh");
            let done = shell.args(["-c", script]).stdout(out).stderr(errors).status().unwrap().success();
            drop(shell);
            let result = if done { "done" } else { "failed" };
            drop(block_on(Self::job_removed(&emitter, 4711, told, &name, result)));
        }));
        Ok(job)
    }

    fn disable_unit_files(&self, files: Vec<String>, _runtime: bool) -> Result<Vec<Change>> {
        self.world().change("disable", &files)
    }

    fn enable_unit_files(
        &self,
        files: Vec<String>,
        _runtime: bool,
        _force: bool,
    ) -> Result<(bool, Vec<Change>)> {
        Ok((true, self.world().change("enable", &files)?))
    }

    fn link_unit_files(&self, files: Vec<String>, _runtime: bool, _force: bool) -> Vec<Change> {
        let mut world = self.world();
        world.calls.push(format!("link {}", files.join(" ")));
        for unit in world.units.iter_mut().filter(|unit| files[0].ends_with(unit.name)) {
            unit.file = "linked";
        }
        Vec::new()
    }

    fn mask_unit_files(&self, files: Vec<String>, _runtime: bool, _force: bool) -> Result<Vec<Change>> {
        self.world().change("mask", &files)
    }

    fn unmask_unit_files(&self, files: Vec<String>, _runtime: bool) -> Result<Vec<Change>> {
        self.world().change("unmask", &files)
    }

    #[zbus(property)]
    fn system_state(&self) -> String {
        self.world().state.into()
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// The unit of this place in the world.
struct FakeObject(Fake, usize);

impl FakeObject {
    fn unit(&self) -> FakeUnit {
        self.0.world().units[self.1].clone()
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl FakeObject {
    #[zbus(property)]
    fn job(&self) -> (u32, OwnedObjectPath) {
        (u32::from(self.0.world().within_job), path("/"))
    }

    #[zbus(property)]
    fn triggered_by(&self) -> Vec<String> {
        self.unit().triggered_by
    }

    #[zbus(property)]
    fn wanted_by(&self) -> Vec<String> {
        self.unit().wanted_by
    }

    #[zbus(property)]
    fn required_by(&self) -> Vec<String> {
        Vec::new()
    }

    #[zbus(property)]
    fn fragment_path(&self) -> String {
        self.unit().fragment
    }

    #[zbus(property)]
    fn conditions(&self) -> Vec<(String, bool, bool, String, i32)> {
        let failed = |path| ("ConditionPathExists".to_owned(), false, true, path, -1);
        self.unit().passed_over_by.into_iter().map(failed).collect()
    }
}

struct FakeService(FakeObject);

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl FakeService {
    #[zbus(property)]
    fn result(&self) -> String {
        if self.0.unit().active == "failed" { "exit-code" } else { "success" }.into()
    }

    #[zbus(property, name = "NRestarts")]
    fn n_restarts(&self) -> u32 {
        // It has been through this before: what counts is growth.
        let grown = |(at, way)| matches!(way, Way::Loops(_)) && at <= Instant::now();
        7 + u32::from(self.0.unit().fate.is_some_and(grown))
    }
}

struct FakeJob;

#[zbus::interface(name = "org.freedesktop.systemd1.Job")]
impl FakeJob {
    #[zbus(property)]
    fn state(&self) -> String {
        "waiting".into()
    }
}

fn path(text: &str) -> OwnedObjectPath {
    text.try_into().unwrap()
}

fn unit_path(index: usize) -> OwnedObjectPath {
    path(&format!("/org/freedesktop/systemd1/unit/_{index}"))
}

pub(super) const PATIENCE: Patience = Patience {
    job: Duration::from_millis(400),
    begin: Duration::from_millis(50),
    settle: Duration::from_millis(200),
};

/// A manager of these units, and us connected to it.
pub(super) fn manager_of(units: Vec<FakeUnit>, state: &'static str) -> (Systemd, Fake) {
    let fake = Fake(Arc::new(Mutex::new(World { units, state, ..World::default() })));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let served = fake.clone();
    thread::spawn(move || {
        block_on(async {
            let count = served.world().units.len();
            let mut builder = Builder::unix_stream(theirs).server(Guid::generate()).p2p();
            builder = builder.serve_at("/org/freedesktop/systemd1", served.clone());
            for index in 0..count {
                let object = || FakeObject(served.clone(), index);
                builder = builder.serve_at(unit_path(index), object());
                builder = builder.serve_at(unit_path(index), FakeService(object()));
            }
            builder.build().await.unwrap().closed().await;
        });
    });
    let builder = Builder::unix_stream(ours).p2p().method_timeout(Duration::from_secs(2));
    (Systemd::over(block_on(builder.build()).unwrap(), PATIENCE), fake)
}
