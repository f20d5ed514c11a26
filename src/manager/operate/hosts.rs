//! Hosts, side by side: each is spoken to once for all that it gets, and one that is down holds up nobody else.
//! What became of a parcel is told as soon as its host is through.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use super::parcel::Parcel;
use crate::manager::config::Site;
use crate::manager::deliver::is_here;
use crate::manager::deliver::ssh::Door;
use crate::manager::inventory::model::Name;
use crate::system::process;

/// Hosts that are worked on at the same time.
const SIDE_BY_SIDE: usize = 16;
/// What runs on a host; the same here and there.
const PLACE: &str = include_str!("place.sh");
/// With what every answer of it begins: a banner of the host may come before, and between.
const ANSWER: &str = "bring: ";
/// How long a host may take, besides its reload commands: it may wait a minute for another manager.
const DEADLINE: Duration = Duration::from_secs(120);
/// Seconds that a reload command may take where nothing else is configured.
const RELOAD: u32 = 30;
/// What the host adds to them until it has killed one.
const KILLING: u32 = 5;
/// Octets of what a host says that are kept: besides, and for each file and each command.
const KEPT: (u64, u64) = (64 << 10, 1024);

/// What became of the files of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// They lie there, and who reads them has been told.
    Done,
    /// They lie there; in words why who reads them has still to be told.
    ReloadDue(String),
    /// They do not lie there; in words why.
    Failed(String),
}

/// How hosts are reached.
#[derive(Debug, Clone, Copy)]
pub struct Ways<'a> {
    /// The configuration.
    pub site: &'a Site,
    /// This machine's own name.
    pub own: &'a str,
    /// This machine's own files are those that we work on: else nothing is put into them.
    pub is_live: bool,
}

impl Ways<'_> {
    /// Brings each host its parcel, and tells what became of each target of it, in their order, as soon as that host
    /// is through. Nobody new is spoken to once `told` says that it is enough.
    pub fn carry(self, parcels: &BTreeMap<Name, Parcel>, told: &mut dyn FnMut(&Name, Vec<Arrival>) -> bool) {
        // All names of this machine are one host.
        let mut lanes: BTreeMap<Option<&Name>, Vec<(&Name, &Parcel)>> = BTreeMap::new();
        for (host, parcel) in parcels {
            let lane = (!is_here(host.as_str(), self.own)).then_some(host);
            lanes.entry(lane).or_default().push((host, parcel));
        }
        let lanes: Mutex<VecDeque<_>> = Mutex::new(lanes.into_values().collect());
        let next = || lanes.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let number = lanes.lock().unwrap_or_else(PoisonError::into_inner).len().min(SIDE_BY_SIDE);
        let (sender, results) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..number {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    while let Some(lane) = next() {
                        for (host, parcel) in lane {
                            // Nobody listens any more when this run is given up.
                            let _ = sender.send((host, self.send(host, parcel)));
                        }
                    }
                });
            }
            drop(sender);
            for (host, arrivals) in results {
                if !told(host, arrivals) {
                    lanes.lock().unwrap_or_else(PoisonError::into_inner).clear();
                }
            }
        });
    }

    fn send(self, host: &Name, parcel: &Parcel) -> Vec<Arrival> {
        let said = self.place(host, parcel);
        let failed = |error: String| vec![Arrival::Failed(error); parcel.loads.len()];
        said.map_or_else(failed, |said| arrivals(parcel, &said))
    }

    fn place(self, host: &Name, parcel: &Parcel) -> Result<String, String> {
        let stream = parcel.stream()?;
        let inventory = &self.site.inventory;
        let seconds = inventory.reload_seconds.unwrap_or(RELOAD);
        let commands = u32::try_from(parcel.reloads.len()).unwrap_or(u32::MAX);
        let reloading = seconds.saturating_add(KILLING).saturating_mul(commands);
        let deadline = DEADLINE + Duration::from_secs(reloading.into());
        let files = parcel.loads.iter().map(|load| load.files.len() + 1).sum::<usize>();
        let lines = files.saturating_add(parcel.reloads.len()) as u64;
        let kept = KEPT.0.saturating_add(KEPT.1.saturating_mul(lines));
        let user = inventory.ssh_user.as_deref().unwrap_or("root");
        let address = format!("{user}@{host}");
        let door = match is_here(host.as_str(), self.own) {
            true if !self.is_live => {
                return Err("this machine is served only where --root is its own root".to_owned());
            }
            true => Door::Here,
            false => Door::Ssh { host: &address, options: &self.site.ssh_options },
        };
        door.script_within(PLACE, &[&seconds.to_string()], stream.reveal(), (deadline, kept))
    }
}

/// What a host said of a parcel, target by target: what it did not say did not happen.
fn arrivals(parcel: &Parcel, said: &str) -> Vec<Arrival> {
    let mut heard = Heard::default();
    said.lines().filter_map(|line| line.strip_prefix(ANSWER)).for_each(|line| heard.hear(line));
    if !heard.is_whole {
        let words = process::last_words(said.as_bytes());
        let failed = Arrival::Failed(format!("what was sent was not put in its place there{words}"));
        return vec![failed; parcel.loads.len()];
    }
    let arrival = |(at, load): (usize, &super::parcel::Load)| {
        if let Some(why) = heard.failed.get(&at) {
            return Arrival::Failed(format!("{}: {why}", load.target));
        }
        let differs = load.files.iter().enumerate().find(|(number, file)| {
            heard.digests.get(&(at, number + 1)).copied() != Some(file.body.digest().as_str())
        });
        if let Some((_, file)) = differs {
            let says = format!("{}: {} there is not what was sent", load.target, file.name);
            return Arrival::Failed(says);
        }
        match load.reload.and_then(|reload| heard.untold.get(&reload)) {
            Some(why) => Arrival::ReloadDue(format!("{}: the reload command {why}", load.target)),
            None => Arrival::Done,
        }
    };
    parcel.loads.iter().enumerate().map(arrival).collect()
}

/// What a host said.
#[derive(Default)]
struct Heard<'s> {
    /// By target and number of the file.
    digests: BTreeMap<(usize, usize), &'s str>,
    /// By target.
    failed: BTreeMap<usize, &'s str>,
    /// By reload.
    untold: BTreeMap<usize, &'s str>,
    is_whole: bool,
}

impl<'s> Heard<'s> {
    fn hear(&mut self, line: &'s str) {
        let number = |text: &'s str| {
            let (number, rest) = text.split_once(' ').unwrap_or((text, ""));
            Some((number.parse::<usize>().ok()?, rest))
        };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, number(rest)) {
            ("failed", Some((at, why))) => drop(self.failed.insert(at, why)),
            ("untold", Some((at, why))) => drop(self.untold.insert(at, why)),
            ("lies", Some((at, rest))) => {
                if let Some((file, digest)) = number(rest) {
                    self.digests.insert((at, file), digest);
                }
            }
            ("end", None) => self.is_whole = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parcel::{Body, File, Load, Reload};
    use super::*;
    use crate::pki::key::Secret;

    /// SHA-256 of "text".
    const DIGEST: &str = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";

    fn parcel() -> Parcel {
        let file = |body| File { directory: 0, name: "f".into(), body, mode: 0o400, user: 0, group: 0 };
        let load = |reload| Load {
            certificate: Name::new("a.example").unwrap(),
            target: "h".into(),
            tag: "00".into(),
            base: String::new(),
            directories: vec!["/d".into()],
            files: vec![file(Body::Text(Secret::new("text"))), file(Body::Link("f".into()))],
            is_due: false,
            reload,
        };
        let reload = Reload { jail: None, command: "r".into() };
        Parcel { loads: vec![load(Some(0)), load(None)], reloads: vec![reload] }
    }

    #[test]
    fn only_what_a_host_says_has_happened() {
        let lies = format!("bring: lies 0 1 {DIGEST}\nbring: lies 0 2 f\n");
        let both = format!("{lies}{}", lies.replace("lies 0", "lies 1"));
        // name, what is said, and of each target the first letter and a part of what is said of it
        let cases: [(&str, String, [&str; 2]); 9] = [
            ("all of it", format!("Welcome!\n{both}bring: told 0\nbring: end\n"), ["D", "D"]),
            ("nothing", String::new(), ["Fwas not put in its place", "Fwas not put in its place"]),
            ("something else", "This account is closed.\n".into(), ["Fclosed.", "Fclosed."]),
            ("no end", both.clone(), ["Fnot put", "Fnot put"]),
            ("one target", format!("{lies}bring: end\n"), ["D", "Ff there is not what was sent"]),
            (
                "another content",
                format!("{}bring: end\n", both.replacen("982d", "0000", 1)),
                ["Ff there is not what was sent", "D"],
            ),
            (
                "another link",
                format!("{}bring: end\n", both.replacen("lies 1 2 f", "lies 1 2 g", 1)),
                ["D", "Fnot what was sent"],
            ),
            ("no room", format!("bring: failed 0 it is full\n{both}bring: end\n"), ["Fh: it is full", "D"]),
            (
                "a reload",
                format!("{both}bring: untold 0 failed (exit status: 1): no\nbring: end\n"),
                ["Rh: the reload command failed (exit status: 1): no", "D"],
            ),
        ];
        for (case, said, expected) in cases {
            for (arrival, expected) in arrivals(&parcel(), &said).into_iter().zip(expected) {
                let (letter, says) = match arrival {
                    Arrival::Done => ("D", String::new()),
                    Arrival::ReloadDue(says) => ("R", says),
                    Arrival::Failed(says) => ("F", says),
                };
                let (wanted, words) = expected.split_at(1);
                assert!(letter == wanted && says.contains(words), "{case}: {letter} {says}, not {expected}");
            }
        }
    }
}
