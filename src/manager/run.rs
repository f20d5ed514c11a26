//! What every run of the manager begins with: the lock, recovery, the configuration; and what it ends with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use time::OffsetDateTime;

use super::acme::limits::{self, Limits};
use super::acme::orders::Orders;
use super::acme::renewal::{self, Windows};
use super::config::{Configuration, Service};
use super::exchangers;
use super::history::History;
use super::keyring::Keyring;
use super::lineage::{self, Lineage, Link, Repair};
use super::load;
use super::metrics;
use super::name::ServiceName;
use super::pending::Pending;
use super::production::Production;
use super::published::Published;
use super::report::Report;
use super::status;
use super::tree::{Move, Tree};
use crate::fault::Fault;
use crate::system::root::{Lock, PathError, Root};
use crate::transaction::replace;

/// What a run is told by whoever starts it.
#[derive(Debug, Clone)]
pub struct World<'a> {
    /// The root beneath which everything lies.
    pub root: &'a Root,
    /// The top directory, absolute inside the root.
    pub top: PathBuf,
    /// What is configured, where that is not read from beneath the top directory.
    pub config: Option<Arc<Configuration>>,
    /// The present time.
    pub now: OffsetDateTime,
    /// This machine's own name.
    pub host: String,
    /// Who is told, a line each, how long work goes on.
    pub tell: fn(&str),
}

/// Why a run ends without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// Another run holds the lock.
    #[error("another run of the manager holds the lock; wait for it")]
    Busy,
    /// What somebody wrote cannot be understood.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// What is asked for cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// It cannot be done, and everything is as it was.
    #[error("{0}")]
    Failed(String),
    /// The system refused.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A run that holds the lock.
#[derive(Debug)]
pub struct Run<'a> {
    /// What it was told.
    pub world: World<'a>,
    /// What is configured.
    pub config: Configuration,
    /// The state tree.
    pub tree: Tree<'a>,
    /// The copy that servers read.
    pub production: Production<'a>,
    /// It works with the authorities' directories for tests, on a state tree apart.
    pub is_test: bool,
    /// How many interrupted runs were put in order.
    pub recovered: usize,
    /// An interrupted run is to be put in order, which one that only looks does not do.
    pub is_interrupted: bool,
    /// The lock itself.
    pub lock: Lock,
    /// What it has asked name servers.
    pub exchangers: exchangers::Memory,
    /// When it began, on a clock that nobody sets.
    began: Instant,
}

/// Reads the configuration, without the lock.
///
/// # Errors
/// [`ManagerError::Fault`] for the first text that makes all others doubtful.
pub fn configuration(world: &World<'_>) -> Result<Configuration, ManagerError> {
    if let Some(config) = &world.config {
        return Ok(config.as_ref().clone());
    }
    let config = load::load(world.root, &world.top)?;
    match config.faults.first().filter(|_| config.is_broken) {
        Some(fault) => Err(ManagerError::Fault(fault.clone())),
        None => Ok(config),
    }
}

/// Runs a command under the lock and remembers how it ended; one that changes nothing is not remembered.
///
/// # Errors
/// [`ManagerError`]: when the lock could not be had, or as the command says.
pub fn recorded<'a>(
    world: World<'a>,
    command: &str,
    dry_run: bool,
    story: impl FnOnce(&Run<'a>) -> Result<Report, ManagerError>,
) -> Result<Report, ManagerError> {
    if dry_run {
        return story(&Run::watch(world)?);
    }
    let run = Run::begin(world)?;
    let told = story(&run);
    let failed = told.as_ref().map_or(true, Report::has_failed);
    let remembered = run.remember(command, failed);
    told.map(|mut report| {
        report.failures.extend(remembered.err());
        report
    })
}

impl<'a> Run<'a> {
    /// Takes the lock, puts in order what an interrupted run left, and reads the configuration.
    ///
    /// # Errors
    /// [`ManagerError`]
    pub fn begin(world: World<'a>) -> Result<Self, ManagerError> {
        let top = world.top.clone();
        Self::begin_at(world, &top, false)
    }

    /// The same for a run that only looks: what an earlier one left is not put in order, and nothing is made.
    ///
    /// # Errors
    /// [`ManagerError`]
    pub fn watch(world: World<'a>) -> Result<Self, ManagerError> {
        let top = world.top.clone();
        Self::watch_at(world, &top, false)
    }

    /// The same for a run that only tries: what it makes lies apart, in `.reseed/staging`, and is never served.
    ///
    /// # Errors
    /// [`ManagerError`]
    pub fn begin_test(world: World<'a>) -> Result<Self, ManagerError> {
        let apart = Tree::new(world.root, &world.top).own(STAGING);
        Self::begin_at(world, &apart, true)
    }

    /// Both: only looks at what a run that only tries would do.
    ///
    /// # Errors
    /// [`ManagerError`]
    pub fn watch_test(world: World<'a>) -> Result<Self, ManagerError> {
        let apart = Tree::new(world.root, &world.top).own(STAGING);
        // Where none has tried yet, there is nothing to be seen.
        let there = if world.root.status(&apart)?.is_some() { apart } else { world.top.clone() };
        Self::watch_at(world, &there, true)
    }

    /// The state tree of runs that only try.
    pub fn apart(world: &World<'a>) -> Tree<'a> {
        Tree::new(world.root, &Tree::new(world.root, &world.top).own(STAGING))
    }

    fn begin_at(world: World<'a>, top: &Path, is_test: bool) -> Result<Self, ManagerError> {
        let config = configuration(&world)?;
        let tree = tree(&world, &config, top);
        let lock = tree.lock()?.ok_or(ManagerError::Busy)?;
        let recovered = tree.recover(&lock)?;
        Ok(Self { recovered, ..Self::with(world, config, tree, is_test, lock) })
    }

    fn watch_at(world: World<'a>, top: &Path, is_test: bool) -> Result<Self, ManagerError> {
        let config = configuration(&world)?;
        let tree = tree(&world, &config, top);
        let lock = tree.watch()?.ok_or(ManagerError::Busy)?;
        Ok(Self { is_interrupted: tree.is_interrupted()?, ..Self::with(world, config, tree, is_test, lock) })
    }

    fn with(world: World<'a>, config: Configuration, tree: Tree<'a>, is_test: bool, lock: Lock) -> Self {
        let production = Production::new(world.root, &config.site.production);
        let (exchangers, began) = (exchangers::Memory::default(), Instant::now());
        let (recovered, is_interrupted) = (0, false);
        Self { world, config, tree, production, is_test, recovered, is_interrupted, lock, exchangers, began }
    }

    /// What was put in order of an interrupted earlier run, or would be, in words.
    pub fn repaired(&self) -> Option<&'static str> {
        match (self.is_interrupted, self.recovered) {
            (true, _) => Some("An interrupted earlier run would be put in order."),
            (false, 0) => None,
            (false, _) => Some("An interrupted earlier run was put in order."),
        }
    }

    /// The present time, while `world.now` is that at which it began.
    pub fn now(&self) -> OffsetDateTime {
        self.world.now + self.began.elapsed()
    }

    /// Remembers how a command ended, and writes the metrics that the site wants.
    fn remember(&self, command: &str, failed: bool) -> Result<(), String> {
        let now = self.now();
        // One that cannot be read says nothing that could not be had again.
        let mut history = history(&self.tree).unwrap_or_default();
        history.ended(command, failed, now);
        self.exchangers.answered().iter().for_each(|zone| history.asked(zone, now));
        let saved = self.save(HISTORY, &history.to_text());
        let written = match &self.config.site.metrics {
            Some(path) => self.write_metrics(path, now),
            None => Ok(()),
        };
        saved.map_err(|error| error.to_string()).and(written)
    }

    fn write_metrics(&self, path: &Path, now: OffsetDateTime) -> Result<(), String> {
        let status = status::status(&World { now, ..self.world.clone() }, &[]);
        let text = metrics::text(&status.map_err(|error| format!("metrics: {error}"))?);
        // Whoever collects them is somebody else.
        replace(self.world.root, path, text.as_bytes(), 0o644).map_err(|error| format!("metrics: {error}"))
    }

    /// The configuration of a service.
    ///
    /// # Errors
    /// In words, when its file cannot be used; that is told in full elsewhere.
    pub fn service(&self, name: &ServiceName) -> Result<&Service, String> {
        let usable = self.config.services.get(name).filter(|_| !self.config.refused.contains(name));
        usable.ok_or_else(|| {
            format!("the configuration of {name} cannot be used; `reseed manager check` says why")
        })
    }

    /// What there is of some services, after what interrupted or faulty runs left has been put right; with
    /// `dry_run` as it would be, with nothing changed. What cannot be read or put right is told by service.
    pub fn lineages(&self, names: &[ServiceName], dry_run: bool) -> Lineages {
        let mut lineages = Lineages { dry_run, ..Lineages::default() };
        let mut moves = Vec::new();
        for name in names {
            match self.tree.lineage(name) {
                Ok(mut lineage) => {
                    let repairs = lineage::repair(&lineage);
                    if dry_run {
                        repairs.iter().for_each(|repair| lineage.follow(repair));
                    }
                    if !repairs.is_empty() && !dry_run {
                        moves.extend(self.repair(name, &repairs).map_err(|error| {
                            lineages.failed.insert(name.clone(), error.to_string());
                        }));
                    }
                    if !repairs.is_empty() {
                        lineages.repaired.insert(name.clone(), repairs);
                    }
                    lineages.found.insert(name.clone(), lineage);
                }
                Err(error) => {
                    lineages.failed.insert(name.clone(), error.to_string());
                }
            }
        }
        for (name, error) in self.tree.switch(&self.lock, moves) {
            lineages.repaired.remove(&name);
            lineages.failed.insert(name, error.to_string());
        }
        for name in lineages.repaired.keys().filter(|_| !dry_run) {
            match self.tree.lineage(name) {
                Ok(lineage) => lineages.found.insert(name.clone(), lineage),
                Err(error) => {
                    lineages.failed.insert(name.clone(), error.to_string());
                    None
                }
            };
        }
        lineages.found.retain(|name, _| !lineages.failed.contains_key(name));
        lineages
    }

    fn repair(&self, name: &ServiceName, repairs: &[Repair]) -> Result<Move, PathError> {
        let mut changes = Vec::new();
        for repair in repairs {
            match repair {
                Repair::Curr(version) => {
                    changes.push(self.tree.link(name, Link::Curr, version));
                    changes.extend(self.tree.unlink(name, Link::Prev)?);
                }
                Repair::DropNext(_) => changes.extend(self.tree.unlink(name, Link::Next)?),
            }
        }
        Ok(Move { name: name.clone(), changes, fresh: Vec::new() })
    }

    /// What is still to be done.
    ///
    /// # Errors
    /// [`ManagerError`]
    pub fn pending(&self) -> Result<Pending, ManagerError> {
        pending(&self.tree)
    }

    /// Remembers what is still to be done.
    ///
    /// # Errors
    /// [`PathError`]; what was remembered before stands.
    pub fn save_pending(&self, pending: &Pending) -> Result<(), PathError> {
        self.save(PENDING, &pending.to_text())
    }

    /// Since when which records are in which zone.
    ///
    /// # Errors
    /// [`ManagerError`]
    pub fn published(&self) -> Result<Published, ManagerError> {
        published(&self.tree)
    }

    /// Remembers it.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn save_published(&self, published: &Published) -> Result<(), PathError> {
        self.save(PUBLISHED, &published.to_text())
    }

    /// The orders that are open at public authorities.
    ///
    /// # Errors
    /// [`ManagerError`]
    pub fn open_orders(&self) -> Result<Orders, ManagerError> {
        let path = self.tree.own(ORDERS);
        match self.world.root.text(&path)? {
            Some(text) => Ok(Orders::parse(&path, &text)?),
            None => Ok(Orders::default()),
        }
    }

    /// Until when authorities do not want to be asked.
    ///
    /// # Errors
    /// [`ManagerError`]
    pub fn limits(&self) -> Result<Limits, ManagerError> {
        let path = self.tree.own(limits::RECORD);
        match self.world.root.text(&path)? {
            Some(text) => Ok(Limits::parse(&path, &text)?),
            None => Ok(Limits::default()),
        }
    }

    /// Remembers it.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn save_limits(&self, limits: &Limits) -> Result<(), PathError> {
        self.save(limits::RECORD, &limits.to_text())
    }

    /// When authorities want certificates to be renewed.
    ///
    /// # Errors
    /// [`ManagerError`]
    pub fn windows(&self) -> Result<Windows, ManagerError> {
        let path = self.tree.own(renewal::RECORD);
        match self.world.root.text(&path)? {
            Some(text) => Ok(Windows::parse(&path, &text)?),
            None => Ok(Windows::default()),
        }
    }

    /// Remembers it.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn save_windows(&self, windows: &Windows) -> Result<(), PathError> {
        self.save(renewal::RECORD, &windows.to_text())
    }

    /// Remembers them.
    ///
    /// # Errors
    /// [`PathError`]
    pub fn save_orders(&self, orders: &Orders) -> Result<(), PathError> {
        self.save(ORDERS, &orders.to_text())
    }

    /// Writes a file of ours when it is another than the one that is there.
    fn save(&self, file: &str, text: &Result<String, String>) -> Result<(), PathError> {
        let path = self.tree.own(file);
        let text = text.as_ref().map_err(|error| PathError::refused(&path, error.clone()))?;
        if self.world.root.read_optional(&path)?.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        replace(self.world.root, &path, text.as_bytes(), 0o600)
    }

    /// The services of a group that are configured, in the order of their names.
    pub fn of_group(&self, group: &str) -> Vec<ServiceName> {
        self.config.services.keys().filter(|name| name.group() == group).cloned().collect()
    }
}

/// The tree of a top directory, with what opens its keys.
pub(super) fn tree<'a>(world: &World<'a>, config: &Configuration, top: &Path) -> Tree<'a> {
    Tree::new(world.root, top).with_keyring(Keyring::new(world.root, config.site.passphrase_file.as_deref()))
}

/// What is still to be done, for those who only look.
///
/// # Errors
/// [`ManagerError`]
pub fn pending(tree: &Tree<'_>) -> Result<Pending, ManagerError> {
    let path = tree.own(PENDING);
    match tree.root().text(&path)? {
        Some(text) => Ok(Pending::parse(&path, &text)?),
        None => Ok(Pending::default()),
    }
}

/// Since when which records are in which zone, for those who only look.
///
/// # Errors
/// [`ManagerError`]
pub fn published(tree: &Tree<'_>) -> Result<Published, ManagerError> {
    let path = tree.own(PUBLISHED);
    match tree.root().text(&path)? {
        Some(text) => Ok(Published::parse(&path, &text)?),
        None => Ok(Published::default()),
    }
}

/// How the commands of earlier runs ended.
///
/// # Errors
/// [`ManagerError`]
pub fn history(tree: &Tree<'_>) -> Result<History, ManagerError> {
    let path = tree.own(HISTORY);
    match tree.root().text(&path)? {
        Some(text) => Ok(History::parse(&path, &text)?),
        None => Ok(History::default()),
    }
}

/// Where the state tree of runs that only try lies, in our own directory.
const STAGING: &str = "staging";
const ORDERS: &str = "orders.toml";
const PENDING: &str = "pending.toml";
const PUBLISHED: &str = "published.toml";
const HISTORY: &str = "runs.toml";

/// What there is of the services of a run.
#[derive(Debug, Default)]
pub struct Lineages {
    /// What was found.
    pub found: BTreeMap<ServiceName, Lineage>,
    /// What was put right, and how.
    pub repaired: BTreeMap<ServiceName, Vec<Repair>>,
    /// It is as it would be after the repairs, which were not made.
    pub dry_run: bool,
    /// What cannot be read or put right, and why; its links may not be changed.
    pub failed: BTreeMap<ServiceName, String>,
}

/// The groups of some services.
pub fn groups<'a>(names: impl IntoIterator<Item = &'a ServiceName>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.group().to_owned()).collect()
}
