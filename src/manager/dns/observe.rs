//! Looks for records at every address of every authoritative server, and then at further resolvers, until all
//! show them or there is no more time. An authority may ask any of them: one that lags makes it refuse.
//!
//! ```text
//!  authoritative servers   all at the same time, each again after 50 ms, 100 ms, … 5 s
//!          | a record is shown by all of its zone's
//!          v
//!  further resolvers       which remember for a while that there is none: so they are not asked sooner
//!          | shown by all
//!          v
//!  seen
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::base::Rtype;

use super::authoritative::{self, Server};
use super::lookup::{Failure, Patience, addresses, ask_all};
use super::message::Question;
use super::{Data, Missing, Progress, Record, Zone};
use crate::manager::config::Primary;

/// The first pause between two looks at a server; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long answers are waited for in one look.
const LOOK: Duration = Duration::from_secs(2);
/// Threads; more addresses than these share them.
const MOST_THREADS: usize = 64;
/// Zones whose servers are looked up at a time.
const MOST_LOOKUPS: usize = 8;
const PORT: u16 = 53;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The record is there.
    Shown,
    /// The record is there no longer.
    Gone,
}

/// A record, and the zone in which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which of the zones, by its index.
    pub zone: usize,
    /// The record.
    pub record: Record,
}

/// Who is told how it goes on.
pub struct Watcher<'a> {
    /// Called for each record, by its index, as soon as all show it.
    pub seen: &'a (dyn Fn(usize) + Sync),
    /// Called with whatever else is worth telling.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// Looks for records of one zone until all show them or the deadline has come; returns those that somebody does
/// not show.
pub fn observe(zone: &Zone, records: &[Record], deadline: Instant, watcher: &Watcher<'_>) -> Vec<Missing> {
    let wanted: Vec<Wanted> =
        records.iter().map(|record| Wanted { zone: 0, record: record.clone() }).collect();
    observe_all(std::slice::from_ref(zone), &wanted, Expect::Shown, deadline, watcher)
}

/// The same for several zones at once: an address that serves many is asked by one thread. A zone whose servers
/// are not known misses its records at once.
pub fn observe_all(
    zones: &[Zone],
    wanted: &[Wanted],
    expect: Expect,
    deadline: Instant,
    watcher: &Watcher<'_>,
) -> Vec<Missing> {
    let mut workers: BTreeMap<(SocketAddr, bool), Worker> = BTreeMap::new();
    let mut lost: Vec<(usize, String)> = Vec::new();
    for (number, (zone, servers)) in zones.iter().zip(servers(zones, deadline)).enumerate() {
        let of_zone = |(index, one): (usize, &Wanted)| (one.zone == number).then_some(index);
        let records: Vec<usize> = wanted.iter().enumerate().filter_map(of_zone).collect();
        let found = match servers {
            Ok(found) => found,
            Err(why) => {
                lost.extend(records.iter().map(|record| (*record, why.clone())));
                continue;
            }
        };
        found.notes.into_iter().for_each(|note| (watcher.progress)(Progress::Note(note)));
        found.servers.into_iter().for_each(|server| put(&mut workers, server, false, &records));
        // What is gone, they remember for its time to live.
        if expect == Expect::Shown {
            extra(zone, deadline, watcher)
                .into_iter()
                .for_each(|server| put(&mut workers, server, true, &records));
        }
    }
    let mut workers: Vec<Worker> = workers.into_values().collect();
    let board = Board::new(wanted.len());
    for (number, worker) in workers.iter_mut().enumerate() {
        worker.number = number;
        board.expect(worker);
    }
    lost.into_iter().for_each(|(record, why)| board.lose(record, why));
    let look = Look { wanted, expect, deadline, watcher, board: &board };
    let share = workers.len().div_ceil(MOST_THREADS).max(1);
    std::thread::scope(|scope| {
        for workers in workers.chunks_mut(share) {
            scope.spawn(|| look.work(workers));
        }
    });
    board.missing()
}

/// The servers of each zone, a few zones at a time.
fn servers(zones: &[Zone], deadline: Instant) -> Vec<Result<authoritative::Servers, String>> {
    let patience = Patience::default();
    let time = patience.time.min(deadline.saturating_duration_since(Instant::now()));
    let patience = Patience { time, ..patience };
    let mut found = Vec::new();
    for some in zones.chunks(MOST_LOOKUPS) {
        let some: Vec<_> = std::thread::scope(|scope| {
            let lookup = |zone| scope.spawn(move || authoritative::servers(zone, &patience));
            let threads: Vec<_> = some.iter().map(lookup).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        found.extend(some.into_iter().map(|joined| match joined {
            Ok(servers) => servers.map_err(|unknown| unknown.to_string()),
            Err(_) => Err("its name servers could not be looked up".to_owned()),
        }));
    }
    found
}

/// The addresses of the further resolvers.
fn extra(zone: &Zone, deadline: Instant, watcher: &Watcher<'_>) -> Vec<Server> {
    let mut found = Vec::new();
    for name in &zone.extra {
        let address = name.parse().or_else(|_| name.parse().map(|ip| SocketAddr::new(ip, PORT)));
        if let Ok(address) = address {
            found.push(Server { address, name: "resolver".into() });
            continue;
        }
        let place = Primary { server: name.clone(), port: PORT };
        let time = Patience::default().time.min(deadline.saturating_duration_since(Instant::now()));
        match addresses(&place, time) {
            Ok(addresses) => found.extend(
                addresses.into_iter().map(|address| Server { address, name: format!("resolver {name}") }),
            ),
            Err(why) => {
                (watcher.progress)(Progress::Note(format!("the resolver {name} {why}, and is not asked")));
            }
        }
    }
    found
}

/// One address, and what it is still to show.
struct Worker {
    number: usize,
    server: Server,
    is_resolver: bool,
    open: BTreeSet<usize>,
    /// What it was asked for before.
    asked: BTreeSet<usize>,
    next: Instant,
    pause: Duration,
    /// What was told of it last.
    told: Option<Progress>,
}

fn put(
    workers: &mut BTreeMap<(SocketAddr, bool), Worker>,
    server: Server,
    is_resolver: bool,
    records: &[usize],
) {
    let worker = workers.entry((server.address, is_resolver)).or_insert_with(|| Worker {
        number: 0,
        server,
        is_resolver,
        open: BTreeSet::new(),
        asked: BTreeSet::new(),
        next: Instant::now(),
        pause: FIRST_PAUSE,
        told: None,
    });
    worker.open.extend(records);
}

/// What all threads look for.
struct Look<'a> {
    wanted: &'a [Wanted],
    expect: Expect,
    deadline: Instant,
    watcher: &'a Watcher<'a>,
    board: &'a Board,
}

impl Look<'_> {
    /// Asks some addresses until each has shown everything, or there is no more time.
    fn work(&self, workers: &mut [Worker]) {
        while Instant::now() < self.deadline {
            let mut next: Option<Instant> = None;
            let turn = self.board.turn();
            for worker in workers.iter_mut() {
                let ready = self.board.ready(worker);
                let is_new = !ready.is_subset(&worker.asked);
                if is_new {
                    worker.pause = FIRST_PAUSE;
                }
                if !ready.is_empty() && (is_new || worker.next <= Instant::now()) {
                    self.ask(worker, ready);
                    worker.next = Instant::now() + worker.pause;
                    worker.pause = (worker.pause * 2).min(LONGEST_PAUSE);
                }
                if !worker.open.is_empty() {
                    // One that waits for others is woken by them.
                    let when = if self.board.ready(worker).is_empty() { self.deadline } else { worker.next };
                    next = Some(next.map_or(when, |next| next.min(when)));
                }
            }
            let Some(next) = next else { return };
            self.board.wait(turn, next.min(self.deadline));
        }
    }

    /// One look at one address.
    fn ask(&self, worker: &mut Worker, records: BTreeSet<usize>) {
        let mut names: BTreeMap<(&str, bool), Vec<usize>> = BTreeMap::new();
        for index in &records {
            if let Some(Wanted { record, .. }) = self.wanted.get(*index) {
                let is_text = matches!(record.data, Data::Txt(_));
                names.entry((&record.name, is_text)).or_default().push(*index);
            }
        }
        worker.asked.extend(&records);
        let mut questions = Vec::new();
        let mut asked = Vec::new();
        for ((name, is_text), indexes) in names {
            match Question::new(name, if is_text { Rtype::TXT } else { Rtype::TLSA }) {
                Ok(question) => {
                    questions.push(question);
                    asked.push(indexes);
                }
                Err(why) => self.give_up(worker, &indexes, &why),
            }
        }
        let time = LOOK.min(self.deadline.saturating_duration_since(Instant::now()));
        let answers = ask_all(worker.server.address, &questions, worker.is_resolver, time);
        let (mut shown, mut reasons) = (Vec::new(), Vec::new());
        for (indexes, answer) in asked.into_iter().zip(answers) {
            let answer = match answer {
                Err(Failure::NoRoute) => return self.leave_out(worker),
                Ok(answer) if answer.is_authoritative || worker.is_resolver => Ok(answer),
                Ok(_) => Err("does not speak for the zone".to_owned()),
                Err(failure) => Err(failure.to_string()),
            };
            for index in indexes {
                let Some(Wanted { record, .. }) = self.wanted.get(index) else { continue };
                match &answer {
                    Ok(answer) if answer.shows(&record.data) == (self.expect == Expect::Shown) => {
                        shown.push(index);
                    }
                    Ok(_) if self.expect == Expect::Shown => reasons.push((index, "does not show it".into())),
                    Ok(_) => reasons.push((index, "still shows it".to_owned())),
                    Err(why) => reasons.push((index, why.clone())),
                }
            }
        }
        for index in &shown {
            worker.open.remove(index);
        }
        self.tell(worker, &reasons);
        let seen = self.board.answered(worker, &shown, reasons);
        seen.into_iter().for_each(|index| (self.watcher.seen)(index));
    }

    /// Tells what a server misses, when that is another thing than before.
    fn tell(&self, worker: &mut Worker, reasons: &[(usize, String)]) {
        let Some((_, instead)) = reasons.first() else { return };
        let progress = Progress::Misses {
            server: worker.server.to_string(),
            records: reasons.iter().map(|(index, _)| *index).collect(),
            instead: instead.clone(),
        };
        if worker.told.as_ref() != Some(&progress) {
            worker.told = Some(progress.clone());
            (self.watcher.progress)(progress);
        }
    }

    /// An address that this machine cannot reach says nothing about what others see there.
    fn leave_out(&self, worker: &mut Worker) {
        let note = format!("{} {}, and is left out", worker.server, Failure::NoRoute);
        (self.watcher.progress)(Progress::Note(note));
        worker.open.clear();
        let seen = self.board.left_out(worker);
        seen.into_iter().for_each(|index| (self.watcher.seen)(index));
    }

    /// What cannot be asked is not asked again.
    fn give_up(&self, worker: &mut Worker, records: &[usize], why: &str) {
        for record in records {
            worker.open.remove(record);
            self.board.lose(*record, why.to_owned());
        }
    }
}

/// Which server is still to show which record.
struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Standing>,
    /// Counts what others may wait for.
    turn: u64,
}

/// How one record stands.
#[derive(Default)]
struct Standing {
    /// Numbers of the authoritative servers that are to show it, each with its name and what it does instead.
    servers: BTreeMap<usize, (String, String)>,
    /// Likewise of the further resolvers.
    resolvers: BTreeMap<usize, (String, String)>,
    /// Some authoritative server has shown it.
    is_shown: bool,
    is_seen: bool,
    /// Why it will never be seen.
    lost: Option<String>,
}

impl Board {
    fn new(records: usize) -> Self {
        let records = std::iter::repeat_with(Standing::default).take(records).collect();
        Self { state: Mutex::new(State { records, turn: 0 }), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, worker: &Worker) {
        let mut state = self.state();
        for index in &worker.open {
            if let Some(standing) = state.records.get_mut(*index) {
                let open = if worker.is_resolver { &mut standing.resolvers } else { &mut standing.servers };
                open.insert(worker.number, (worker.server.to_string(), "was not asked".into()));
            }
        }
    }

    /// What a server can be asked for now; what is lost, it is never asked for.
    fn ready(&self, worker: &mut Worker) -> BTreeSet<usize> {
        let state = self.state();
        worker.open.retain(|index| state.records.get(*index).is_some_and(|one| one.lost.is_none()));
        let is_ready = |index: &&usize| {
            !worker.is_resolver || state.records.get(**index).is_some_and(|one| one.servers.is_empty())
        };
        worker.open.iter().filter(is_ready).copied().collect()
    }

    /// Writes down what a server has shown and what not; returns what is seen by all now.
    fn answered(&self, worker: &Worker, shown: &[usize], reasons: Vec<(usize, String)>) -> Vec<usize> {
        let mut state = self.state();
        for (index, why) in reasons {
            if let Some(standing) = state.records.get_mut(index) {
                let open = if worker.is_resolver { &mut standing.resolvers } else { &mut standing.servers };
                open.insert(worker.number, (worker.server.to_string(), why));
            }
        }
        for index in shown {
            if let Some(standing) = state.records.get_mut(*index) {
                standing.servers.remove(&worker.number);
                standing.resolvers.remove(&worker.number);
                standing.is_shown = true;
            }
        }
        self.settle(&mut state)
    }

    fn left_out(&self, worker: &Worker) -> Vec<usize> {
        let mut state = self.state();
        for standing in &mut state.records {
            let was_one = standing.servers.remove(&worker.number).is_some();
            standing.resolvers.remove(&worker.number);
            if was_one && standing.servers.is_empty() && !standing.is_shown {
                standing.lost = Some("none of its name servers can be reached from here".into());
            }
        }
        self.settle(&mut state)
    }

    /// Wakes those who wait, and returns what is newly seen.
    fn settle(&self, state: &mut State) -> Vec<usize> {
        let mut seen = Vec::new();
        for (index, standing) in state.records.iter_mut().enumerate() {
            let is_done = standing.servers.is_empty() && standing.resolvers.is_empty();
            if is_done && standing.is_shown && standing.lost.is_none() && !standing.is_seen {
                standing.is_seen = true;
                seen.push(index);
            }
        }
        state.turn += 1;
        self.changed.notify_all();
        seen
    }

    fn lose(&self, record: usize, why: String) {
        let mut state = self.state();
        if let Some(standing) = state.records.get_mut(record) {
            standing.lost = Some(why);
        }
        state.turn += 1;
        self.changed.notify_all();
    }

    fn turn(&self) -> u64 {
        self.state().turn
    }

    /// Waits until then, or until something has changed since `turn`; a thread's own changes count too, which
    /// costs it one more round at most.
    fn wait(&self, turn: u64, until: Instant) {
        let time = until.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout_while(self.state(), time, |state| state.turn == turn);
        drop(waited);
    }

    fn missing(self) -> Vec<Missing> {
        let records = self.state.into_inner().unwrap_or_else(PoisonError::into_inner).records;
        let missing = |(record, standing): (usize, Standing)| {
            let words = |(server, why): (String, String)| format!("{server} {why}");
            let servers: Vec<String> = match standing.lost {
                _ if standing.is_seen => return None,
                Some(why) => vec![why],
                // A resolver that was not asked yet misses nothing.
                None if !standing.servers.is_empty() => standing.servers.into_values().map(words).collect(),
                None => standing.resolvers.into_values().map(words).collect(),
            };
            Some(Missing { record, servers })
        };
        records.into_iter().enumerate().filter_map(missing).collect()
    }
}
