//! In which zone a name lies, and where an alias has it looked for: `_acme-challenge.www.example.com` may be a
//! CNAME to a name in a zone that is made for nothing but challenges.
//!
//! Servers that speak for the zone are asked, never a resolver about the name itself: that would remember for
//! a while that there is no such name.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use domain::base::Rtype;

use super::Zone;
use super::authoritative;
use super::lookup::{Failure, Patience, addresses, ask_any, ask_each};
use super::message::{Answer, Question, Value};
use crate::manager::config::{Primary, Site};

/// Aliases that follow each other; more are a mistake.
const MOST_ALIASES: usize = 8;
/// Zones below each other between the root and a name.
const MOST_CUTS: usize = 8;
/// For names that have no entry of their own.
const DEFAULT: &str = "default";

/// Where a record of a name is to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name at the end of the aliases.
    pub name: String,
    /// The zone that it is in.
    pub zone: Zone,
}

/// Finds places.
#[derive(Debug)]
pub struct Finder<'a> {
    site: &'a Site,
    resolvers: Vec<SocketAddr>,
    patience: Patience,
    /// The servers of zones that resolvers named.
    known: BTreeMap<String, Vec<SocketAddr>>,
}

/// What a server says about a name.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// It is the alias of another one.
    Alias(Vec<String>),
    /// It lies in the zone of this name.
    Zone(String),
    /// Others speak for it: the servers of this zone.
    Elsewhere(String),
    /// Nothing: its parent is to be asked for.
    Nothing,
}

impl<'a> Finder<'a> {
    /// One that has asked nobody yet; `resolvers` are those of this machine.
    pub fn new(site: &'a Site, resolvers: Vec<SocketAddr>, patience: Patience) -> Self {
        Self { site, resolvers, patience, known: BTreeMap::new() }
    }

    /// The places of some names, in their order; those that the same server is asked for are asked together.
    ///
    /// Each fails in words: no server answers, the aliases go in a circle, or there are more than eight.
    pub fn places(&mut self, names: &[String]) -> Vec<Result<Place, String>> {
        let mut open: Vec<(usize, Vec<String>)> =
            names.iter().map(|name| vec![name.to_ascii_lowercase()]).enumerate().collect();
        let mut places: Vec<Result<Place, String>> =
            names.iter().map(|name| Err(format!("{name} was not looked up"))).collect();
        while !open.is_empty() {
            let mut by_server: BTreeMap<Option<(String, u16)>, Vec<(usize, Vec<String>)>> = BTreeMap::new();
            for one in open {
                let server = one.1.last().and_then(|name| server_for(self.site, name));
                by_server.entry(server.map(|server| (server.server, server.port))).or_default().push(one);
            }
            open = Vec::new();
            for (server, chains) in by_server {
                let server = server.map(|(server, port)| Primary { server, port });
                let asked: Vec<String> =
                    chains.iter().filter_map(|(_, chain)| chain.last().cloned()).collect();
                for ((index, mut chain), said) in chains.into_iter().zip(self.ask(server.as_ref(), &asked)) {
                    let found = match said {
                        Ok((Said::Alias(next), _)) => match follow(&mut chain, next) {
                            Ok(()) => {
                                open.push((index, chain));
                                continue;
                            }
                            Err(why) => Err(why),
                        },
                        Ok((Said::Zone(apex), primary)) => Ok(Place {
                            name: chain.pop().unwrap_or_default(),
                            zone: Zone {
                                apex,
                                primary,
                                resolvers: self.resolvers.clone(),
                                extra: self.site.extra_resolvers.clone(),
                            },
                        }),
                        Ok((Said::Elsewhere(_) | Said::Nothing, _)) => {
                            Err(format!("the zone of {} is not known: nobody speaks for it", name_of(&chain)))
                        }
                        Err(why) => Err(format!("the zone of {} is not known: {why}", name_of(&chain))),
                    };
                    if let Some(place) = places.get_mut(index) {
                        *place = found;
                    }
                }
            }
        }
        places
    }

    /// What is said of names by the server that is configured for them, or else by those whom resolvers name; and
    /// the first where it speaks for the zone.
    fn ask(
        &mut self,
        server: Option<&Primary>,
        names: &[String],
    ) -> Vec<Result<(Said, Option<Primary>), String>> {
        let first = match server {
            Some(server) => self.ask_configured(server, names),
            None => names.iter().map(|_| Err("no server is configured for it".to_owned())).collect(),
        };
        let zipped = names.iter().zip(first);
        zipped
            .map(|(name, first)| match first {
                Ok(said) => Ok((said, server.cloned())),
                Err(why) if self.resolvers.is_empty() => {
                    Err(format!("{why}; and /etc/resolv.conf names no resolver: write [[dns_primary]]"))
                }
                Err(why) => match self.ask_around(name) {
                    Ok(said) => Ok((said, None)),
                    Err(other) => Err(format!("{why}; {other}")),
                },
            })
            .collect()
    }

    fn ask_configured(&self, server: &Primary, names: &[String]) -> Vec<Result<Said, String>> {
        let Primary { server: host, port } = server;
        let found = match addresses(server, self.patience.time) {
            Ok(found) => found,
            Err(why) => return names.iter().map(|_| Err(format!("name server {host} {why}"))).collect(),
        };
        self.climb(&found, names)
            .into_iter()
            .map(|said| match said {
                Ok(said @ (Said::Alias(_) | Said::Zone(_))) => Ok(said),
                Ok(Said::Elsewhere(_) | Said::Nothing) => {
                    Err(format!("name server {host} port {port} does not speak for it"))
                }
                Err(why) => Err(format!("name server {host} port {port} {why}")),
            })
            .collect()
    }

    /// Asks some addresses of one server for names, and for those above them where nothing is said.
    fn climb(&self, servers: &[SocketAddr], names: &[String]) -> Vec<Result<Said, String>> {
        let mut result: Vec<Result<Said, String>> = names.iter().map(|_| Ok(Said::Nothing)).collect();
        let mut open: Vec<(usize, String)> = names.iter().cloned().enumerate().collect();
        while !open.is_empty() {
            let asked: Vec<Result<Question, String>> =
                open.iter().map(|(_, name)| Question::new(name, Rtype::SOA)).collect();
            let questions: Vec<Question> =
                asked.iter().filter_map(|one| one.as_ref().ok().cloned()).collect();
            let mut answers = self.ask_twice(servers, &questions).into_iter();
            let mut higher = Vec::new();
            for ((index, name), question) in open.into_iter().zip(asked) {
                let said = match question {
                    Err(why) => Err(why),
                    Ok(_) => match answers.next() {
                        Some(Ok(answer)) => match said(&name, &answer) {
                            // An alias further up has nothing to do with what is below it.
                            Said::Alias(_) if names.get(index) != Some(&name) => Ok(Said::Nothing),
                            said => Ok(said),
                        },
                        Some(Err(failure)) => Err(failure.to_string()),
                        None => Err("was not asked".to_owned()),
                    },
                };
                match (&said, parent(&name)) {
                    (Ok(Said::Nothing), Some(parent)) => higher.push((index, parent.to_owned())),
                    _ => {
                        if let Some(place) = result.get_mut(index) {
                            *place = said;
                        }
                    }
                }
            }
            open = higher;
        }
        result
    }

    /// Asks once more, for the alias alone, where a server fails: BIND does when aliases go in a circle.
    fn ask_twice(&self, servers: &[SocketAddr], questions: &[Question]) -> Vec<Result<Answer, Failure>> {
        let mut answers = ask_each(servers, questions, false, self.patience.time);
        let is_failed = |answer: &Result<Answer, Failure>| matches!(answer, Err(Failure::Said(_)));
        let again: Vec<Question> = questions
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| is_failed(answer))
            .map(|(question, _)| question.for_alias())
            .collect();
        let found = ask_each(servers, &again, false, self.patience.time);
        let failed = answers.iter_mut().filter(|answer| is_failed(answer));
        for (answer, found) in failed.zip(found) {
            if found.as_ref().is_ok_and(|found| !found.aliases.is_empty()) {
                *answer = found;
            }
        }
        answers
    }

    /// Has the resolvers name the zone above the name, and asks the servers of that one, and of those below it.
    fn ask_around(&mut self, name: &str) -> Result<Said, String> {
        let host = name.split('.').filter(|label| !label.starts_with('_')).collect::<Vec<_>>().join(".");
        let mut apex = self.enclosing(&host)?;
        for _ in 0..MOST_CUTS {
            let servers = self.servers(&apex)?;
            match self.climb(&servers, &[name.to_owned()]).pop() {
                Some(Ok(Said::Elsewhere(deeper))) if deeper != apex => apex = deeper,
                Some(Ok(said @ (Said::Alias(_) | Said::Zone(_)))) => return Ok(said),
                Some(Err(why)) => return Err(format!("a name server of {apex} {why}")),
                _ => return Err(format!("the name servers of {apex} do not speak for it")),
            }
        }
        Err("there are too many zones above it".into())
    }

    /// The zone of a host, as the resolvers know it.
    fn enclosing(&self, host: &str) -> Result<String, String> {
        let mut name = Some(host);
        while let Some(at) = name {
            let question = Question::new(at, Rtype::SOA)?;
            let answer = ask_any(&self.resolvers, &question, &self.patience)
                .map_err(|failure| format!("the resolver {failure}"))?;
            let starts = answer.records.iter().any(|value| matches!(value, Value::Start(_)));
            // Of an alias, the zone is that of the target; its own is found further up.
            if answer.aliases.is_empty() && starts {
                return Ok(at.to_owned());
            }
            if answer.aliases.is_empty()
                && let Some(apex) = start_above(at, &answer)
            {
                return Ok(apex);
            }
            name = parent(at);
        }
        Err("the resolver knows no zone above it".into())
    }

    fn servers(&mut self, apex: &str) -> Result<Vec<SocketAddr>, String> {
        if let Some(known) = self.known.get(apex) {
            return Ok(known.clone());
        }
        let zone = Zone {
            apex: apex.to_owned(),
            primary: None,
            resolvers: self.resolvers.clone(),
            extra: Vec::new(),
        };
        let found = authoritative::servers(&zone, &self.patience).map_err(|unknown| unknown.to_string())?;
        let found: Vec<SocketAddr> = found.servers.into_iter().map(|server| server.address).collect();
        self.known.insert(apex.to_owned(), found.clone());
        Ok(found)
    }
}

/// The server that is configured for a name: the one of the longest zone above it, of two the primary.
fn server_for(site: &Site, name: &str) -> Option<Primary> {
    let primaries = site.primaries.iter().filter(|(apex, _)| is_within(name, apex));
    let primaries = primaries.map(|(apex, primary)| (apex.len(), 1, primary.clone()));
    let updates = site.updates.iter().filter_map(|update| {
        let apex = update.domain.as_ref().filter(|apex| is_within(name, apex))?;
        Some((apex.len(), 0, Primary { server: update.server.clone(), port: update.port }))
    });
    let closest = primaries.chain(updates).max_by_key(|(length, order, _)| (*length, *order));
    let default = || {
        let update = site.updates.iter().find(|update| update.domain.is_none());
        let update = || update.map(|update| Primary { server: update.server.clone(), port: update.port });
        site.primaries.get(DEFAULT).cloned().or_else(update)
    };
    closest.map(|(_, _, primary)| primary).or_else(default)
}

/// Says whether a name is that of a zone, or below it.
pub fn is_within(name: &str, apex: &str) -> bool {
    let rest = name.strip_suffix(apex);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

fn name_of(chain: &[String]) -> &str {
    chain.last().map(String::as_str).unwrap_or_default()
}

/// Goes along aliases.
fn follow(chain: &mut Vec<String>, next: Vec<String>) -> Result<(), String> {
    for name in next {
        let is_circle = chain.contains(&name);
        chain.push(name);
        let first = chain.first().cloned().unwrap_or_default();
        if is_circle {
            return Err(format!("the aliases of {first} go in a circle: {}", chain.join(" -> ")));
        }
        if chain.len() > MOST_ALIASES + 1 {
            return Err(format!("{first} is an alias of an alias, more than {MOST_ALIASES} times"));
        }
    }
    Ok(())
}

/// What an answer to the question for the start of a zone says about a name.
fn said(name: &str, answer: &Answer) -> Said {
    if !answer.is_authoritative {
        let others = answer.authority.iter().filter(|(_, value)| matches!(value, Value::Server(_)));
        let deeper = others.map(|(owner, _)| owner).filter(|owner| is_within(name, owner));
        return deeper
            .max_by_key(|owner| owner.len())
            .map_or(Said::Nothing, |apex| Said::Elsewhere(apex.clone()));
    }
    if !answer.aliases.is_empty() {
        return Said::Alias(answer.aliases.clone());
    }
    if answer.records.iter().any(|value| matches!(value, Value::Start(_))) {
        return Said::Zone(name.to_owned());
    }
    start_above(name, answer).map_or(Said::Nothing, Said::Zone)
}

/// The start of a zone that a negative answer brings along (RFC 2308 section 3).
fn start_above(name: &str, answer: &Answer) -> Option<String> {
    let starts = answer.authority.iter().filter(|(_, value)| matches!(value, Value::Start(_)));
    starts.map(|(owner, _)| owner).find(|owner| is_within(name, owner)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains() {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let long: Vec<String> = (0..9).map(|number| format!("a{number}")).collect();
        let cases = [
            ("one", "a", names("b"), Ok("a b")),
            ("several", "a b", names("c d"), Ok("a b c d")),
            ("to itself", "a", names("a"), Err("in a circle: a -> a")),
            ("back to the first", "a b", names("a"), Err("in a circle: a -> b -> a")),
            ("back inside of an answer", "a", names("b c b"), Err("in a circle: a -> b -> c -> b")),
            ("as many as may be", "a", long[..8].to_vec(), Ok("a a0 a1 a2 a3 a4 a5 a6 a7")),
            ("one more", "a", long, Err("more than 8 times")),
        ];
        for (case, before, next, expected) in cases {
            let mut chain = names(before);
            match (follow(&mut chain, next), expected) {
                (Ok(()), Ok(expected)) => assert_eq!(chain, names(expected), "{case}"),
                (Err(said), Err(words)) => assert!(said.contains(words), "{case}: {said}"),
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn answers() {
        let start = |owner: &str| vec![(owner.to_owned(), Value::Start(1))];
        let good = Answer { is_authoritative: true, ..Answer::default() };
        let name = "_acme-challenge.www.example.com";
        let cases = [
            ("the zone above", Answer { authority: start("example.com"), ..good.clone() }, {
                Said::Zone("example.com".into())
            }),
            ("another zone", Answer { authority: start("ample.com"), ..good.clone() }, Said::Nothing),
            (
                "its own zone",
                Answer { records: vec![Value::Start(7)], ..good.clone() },
                Said::Zone(name.into()),
            ),
            (
                "an alias, with the start of the target's zone",
                Answer { aliases: vec!["w.acme.test".into()], authority: start("acme.test"), ..good.clone() },
                Said::Alias(vec!["w.acme.test".into()]),
            ),
            (
                "others speak for it",
                Answer {
                    authority: vec![
                        ("com".into(), Value::Server("ns.test".into())),
                        ("www.example.com".into(), Value::Server("ns.test".into())),
                        ("example.net".into(), Value::Server("ns.test".into())),
                    ],
                    ..Answer::default()
                },
                Said::Elsewhere("www.example.com".into()),
            ),
            ("who does not speak for it", Answer { authority: start("example.com"), ..Answer::default() }, {
                Said::Nothing
            }),
            ("nothing", good, Said::Nothing),
        ];
        for (case, answer, expected) in cases {
            assert_eq!(said(name, &answer), expected, "{case}");
        }
    }

    #[test]
    fn servers_for_names() {
        use crate::manager::config::Update;
        let primary = |server: &str| Primary { server: server.into(), port: 53 };
        let update = |domain: Option<&str>, server: &str| Update {
            domain: domain.map(str::to_owned),
            server: server.into(),
            port: 53,
            key_file: None,
            purposes: [].into(),
        };
        let mut site = Site::default();
        assert_eq!(server_for(&site, "example.com"), None);
        site.updates = vec![update(None, "u0"), update(Some("example.com"), "u1")];
        assert_eq!(server_for(&site, "example.net"), Some(primary("u0")));
        site.primaries =
            [("default".into(), primary("p0")), ("sub.example.com".into(), primary("p2"))].into();
        for (name, server) in [
            ("example.net", "p0"),
            ("notexample.com", "p0"),
            ("www.example.com", "u1"),
            ("sub.example.com", "p2"),
            ("a.sub.example.com", "p2"),
        ] {
            assert_eq!(server_for(&site, name), Some(primary(server)), "{name}");
        }
        site.primaries.insert("example.com".into(), primary("p1"));
        assert_eq!(server_for(&site, "www.example.com"), Some(primary("p1")));
    }
}
