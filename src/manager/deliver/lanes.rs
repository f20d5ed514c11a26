//! What is to be done, host by host: on each in its order, the hosts side by side, so that one that is down holds
//! up nobody else. What has been done is recorded as soon as a host is through.
//!
//! ```text
//! copies → post_copy_cmd → restart_cmd → what is served      a copy that fails: the rest waits for it
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError, mpsc};

use super::parcel::{Destination, destinations};
use super::served::Expected;
use super::ssh::Door;
use super::stock::Stock;
use super::{agent, call, is_here};
use crate::manager::config::{Site, Sort};
use crate::manager::pending::{Action, Pending};
use crate::manager::report::Report;
use crate::manager::run::Run;
use crate::system::process;

/// Hosts that are worked on at the same time.
const SIDE_BY_SIDE: usize = 16;

/// What runs where copies go; the same here and there.
const PLACE: &str = include_str!("place.sh");

/// What it says when it is through: a host whose shell does something else does not.
const PLACED: &str = "in place";

/// Carries out all that is pending, except zones.
pub fn carry_out(run: &Run<'_>, pending: &mut Pending, report: &mut Report) {
    let actions: Vec<Action> = pending.iter().map(|(action, _)| action.clone()).collect();
    let ground = Ground::new(run, &actions);
    let lanes = Mutex::new(ground.lanes(&actions));
    let number = lanes.lock().unwrap_or_else(PoisonError::into_inner).len().min(SIDE_BY_SIDE);
    let mut done = BTreeSet::new();
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..number {
            let (sender, lanes, ground) = (sender.clone(), &lanes, &ground);
            scope.spawn(move || {
                loop {
                    let lane = lanes.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(lane) = lane else { return };
                    // Nobody listens any more when this run is given up.
                    let _ = sender.send(ground.follow(lane));
                }
            });
        }
        drop(sender);
        for lane in &results {
            for (action, result) in lane {
                record(pending, &mut done, action, result);
            }
            if let Err(error) = run.save_pending(pending) {
                report.failures.push(format!("what has been done is not remembered: {error}"));
            }
        }
    });
    for action in actions.into_iter().filter(|action| *action == Action::Agent) {
        let result = agent::notify(run);
        record(pending, &mut done, action, result);
    }
    report.done.extend(done.iter().map(ToString::to_string));
}

fn record(pending: &mut Pending, done: &mut BTreeSet<Action>, action: Action, result: Result<(), String>) {
    match result {
        Ok(()) => {
            pending.done(&action);
            done.insert(action);
        }
        Err(error) => pending.failed(&action, error),
    }
}

/// Everything that is known before the first host is spoken to.
struct Ground<'r> {
    site: &'r Site,
    own: &'r str,
    destinations: BTreeMap<&'r str, Vec<Destination<'r>>>,
    /// Empty where nothing is asked of it.
    stock: Result<Stock, String>,
    expected: BTreeMap<Sort, Expected>,
}

impl<'r> Ground<'r> {
    fn new(run: &'r Run<'_>, actions: &[Action]) -> Self {
        let (site, own) = (&run.config.site, run.world.host.as_str());
        let reads = |action: &Action| matches!(action, Action::Deliver { .. } | Action::Probe { .. });
        let stock = match actions.iter().any(reads) {
            true => Stock::read(run.world.root, &site.production).map_err(|error| error.to_string()),
            false => Ok(Stock::default()),
        };
        let mut expected = BTreeMap::new();
        for servers in &site.servers {
            let is_probed =
                |action: &Action| matches!(action, Action::Probe { sort, .. } if *sort == servers.sort);
            if let Ok(stock) = &stock
                && actions.iter().any(is_probed)
            {
                expected.insert(servers.sort, Expected::of(servers, stock, &run.tree));
            }
        }
        Self { site, own, destinations: destinations(site, own), stock, expected }
    }

    /// Actions by host, in their order. All names of this machine are one host.
    fn lanes(&self, actions: &[Action]) -> VecDeque<Vec<Action>> {
        let mut lanes: BTreeMap<&str, Vec<Action>> = BTreeMap::new();
        for action in actions {
            if let Some(host) = action.host() {
                let lane = if is_here(host, self.own) { "" } else { host };
                lanes.entry(lane).or_default().push(action.clone());
            }
        }
        lanes.into_values().collect()
    }

    /// Carries out the actions of one host; what waits for one that failed is not tried, and not in the answer.
    fn follow(&self, lane: Vec<Action>) -> Vec<(Action, Result<(), String>)> {
        let mut tried: Vec<(Action, Result<(), String>)> = Vec::new();
        for action in lane {
            if !tried.iter().any(|(before, result)| result.is_err() && waits(&action, before)) {
                let result = self.carry_out(&action);
                tried.push((action, result));
            }
        }
        tried
    }

    fn carry_out(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Deliver { host } => self.deliver(host),
            Action::AfterCopy { host, program } => call(&[program.clone(), host.clone()]),
            Action::Restart { host, command, .. } => self.door(host).run(command).map(drop),
            Action::Probe { sort, host } => self.probe(*sort, host),
            // These are about no host.
            Action::Agent | Action::Zone { .. } => Ok(()),
        }
    }

    fn door<'a>(&'a self, host: &'a str) -> Door<'a> {
        match is_here(host, self.own) {
            true => Door::Here,
            false => Door::Ssh { host, options: &self.site.ssh_options },
        }
    }

    fn deliver(&self, host: &str) -> Result<(), String> {
        let stock = self.stock.as_ref()?;
        let production = &self.site.production;
        let production = production.to_str().ok_or_else(|| format!("{production:?} is no text"))?;
        for destination in self.destinations.get(host).into_iter().flatten() {
            let parcel = destination.pack(stock)?;
            let jail = destination.jail.as_deref().unwrap_or("".as_ref());
            let jail = jail.to_str().ok_or_else(|| format!("{jail:?} is no text"))?;
            let arguments = [jail, production, &parcel.kib.to_string()];
            let said = self.door(host).script(PLACE, &arguments, parcel.archive.reveal())?;
            if !said.lines().any(|line| line == PLACED) {
                let said = process::last_words(said.as_bytes());
                return Err(format!("what was sent was not put in its place there{said}"));
            }
        }
        Ok(())
    }

    fn probe(&self, sort: Sort, host: &str) -> Result<(), String> {
        self.stock.as_ref()?;
        let Some(expected) = self.expected.get(&sort) else { return Ok(()) };
        let servers = self.site.servers.iter().find(|servers| servers.sort == sort);
        servers.map_or(Ok(()), |servers| expected.check(host, &servers.probes))
    }
}

/// Says whether an action is in vain while another one has failed: on a host that has not got the copy, and where
/// a host that was not told would be asked what it shows. One command does not wait for another.
fn waits(action: &Action, failed: &Action) -> bool {
    match (action, failed) {
        (_, Action::Deliver { host }) => action.host() == Some(host),
        (Action::Probe { sort, host }, Action::Restart { sort: told, host: other, .. }) => {
            sort == told && host == other
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_what() {
        let deliver = |host: &str| Action::Deliver { host: host.into() };
        let copied = |host: &str| Action::AfterCopy { host: host.into(), program: "p".into() };
        let restart = |sort, position| Action::Restart {
            sort,
            host: "a".into(),
            position,
            command: vec!["reload".into()],
        };
        let probe = |sort| Action::Probe { sort, host: "a".into() };
        let cases = [
            ("a command after a copy", restart(Sort::Web, 0), deliver("a"), true),
            ("a program of ours after a copy", copied("a"), deliver("a"), true),
            ("a look after a copy", probe(Sort::Web), deliver("a"), true),
            ("another host's copy", restart(Sort::Web, 0), deliver("b"), false),
            ("a command after a program of ours", restart(Sort::Web, 0), copied("a"), false),
            ("a command after another", restart(Sort::Web, 1), restart(Sort::Web, 0), false),
            ("a look after a command", probe(Sort::Web), restart(Sort::Web, 0), true),
            ("a look after another table's", probe(Sort::Web), restart(Sort::Smtp, 0), false),
        ];
        for (case, action, failed, expected) in cases {
            assert_eq!(waits(&action, &failed), expected, "{case}");
        }
    }
}
