//! The authoritative servers of a zone, each with all its addresses: whoever looks for a record may ask any.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use domain::base::Rtype;

use super::lookup::{Failure, Patience, addresses, ask_any, ask_each};
use super::message::{Answer, Question, Value};
use super::{Unknown, Zone};

/// More name servers than a zone has.
const MOST: usize = 20;
/// More addresses than a name server has.
const MOST_ADDRESSES: usize = 8;
const PORT: u16 = 53;

/// One address of a name server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// Where it is asked.
    pub address: SocketAddr,
    /// Its name, for messages.
    pub name: String,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address.port() {
            PORT => write!(f, "{} ({})", self.name, self.address.ip()),
            port => write!(f, "{} ({} port {port})", self.name, self.address.ip()),
        }
    }
}

/// The servers of a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// Every address, each once.
    pub servers: Vec<Server>,
    /// What is left out, and why.
    pub notes: Vec<String>,
}

/// Finds them: their names and addresses from the primary, and from this machine's resolvers what that does not
/// know. The primary is one of them even where the zone does not name it.
///
/// # Errors
/// [`Unknown`] when nobody names them, or none has an address.
pub fn servers(zone: &Zone, patience: &Patience) -> Result<Servers, Unknown> {
    let apex = &zone.apex;
    let unknown = |why: String| Unknown(format!("the name servers of {apex} are not known: {why}"));
    let mut found = Servers::default();
    let primary: Vec<SocketAddr> = match &zone.primary {
        Some(primary) => {
            addresses(primary, patience.time).map_err(|why| unknown(format!("{} {why}", primary.server)))?
        }
        None => Vec::new(),
    };
    let question = Question::new(apex, Rtype::NS).map_err(unknown)?;
    let (answer, why) = names(zone, &primary, &question, patience).map_err(unknown)?;
    // A resolver that is configured as the primary holds no zone of its own.
    let is_one = why.is_some() || answer.is_authoritative;
    found
        .notes
        .extend(why.map(|why| format!("{apex}: {why}; its name servers are those the resolver names")));
    let mut names: Vec<String> = answer.records.iter().filter_map(server).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MOST {
        found.notes.push(format!("{apex} names more than {MOST} name servers; only the first are asked"));
        names.truncate(MOST);
    }
    if let Some(server) = zone.primary.as_ref().filter(|_| is_one) {
        let name = &server.server;
        found.servers.extend(primary.iter().map(|address| Server { address: *address, name: name.clone() }));
    }
    let known = addresses_of(&names, &answer, &primary, &zone.resolvers, patience);
    for name in names {
        let addresses = known.get(&name).map(Vec::as_slice).unwrap_or_default();
        if addresses.is_empty() {
            found.notes.push(format!("{apex}: the name server {name} has no address, and is not asked"));
        }
        for address in addresses.iter().take(MOST_ADDRESSES) {
            // The port of the primary is known, that of the others is DNS's.
            let own = primary.iter().find(|primary| primary.ip() == *address);
            let address = own.copied().unwrap_or(SocketAddr::new(*address, PORT));
            match found.servers.iter_mut().find(|server| server.address == address) {
                Some(server) => server.name.clone_from(&name),
                None => found.servers.push(Server { address, name: name.clone() }),
            }
        }
    }
    if found.servers.is_empty() {
        return Err(unknown(format!("none of them has an address ({})", found.notes.join("; "))));
    }
    Ok(found)
}

fn server(value: &Value) -> Option<String> {
    match value {
        Value::Server(name) => Some(name.clone()),
        _ => None,
    }
}

/// The answer that names the servers; from the resolver with the reason why not from the primary.
fn names(
    zone: &Zone,
    primary: &[SocketAddr],
    question: &Question,
    patience: &Patience,
) -> Result<(Answer, Option<String>), String> {
    let ask = |addresses: &[SocketAddr]| match ask_any(addresses, question, patience) {
        Ok(answer) if answer.records.iter().any(|value| server(value).is_some()) => Ok(answer),
        Ok(_) => Err("names none".to_owned()),
        Err(failure) => Err(failure.to_string()),
    };
    let Some(server) = &zone.primary else {
        if zone.resolvers.is_empty() {
            return Err("no server is configured for it, and /etc/resolv.conf names no resolver".into());
        }
        return Ok((ask(&zone.resolvers).map_err(|why| format!("the resolver {why}"))?, None));
    };
    let first = ask(primary).map_err(|why| format!("{} port {} {why}", server.server, server.port));
    match first {
        Ok(answer) => Ok((answer, None)),
        Err(why) if zone.resolvers.is_empty() => Err(why),
        Err(why) => match ask(&zone.resolvers) {
            Ok(answer) => Ok((answer, Some(why))),
            Err(other) => Err(format!("{why}; the resolver {other}")),
        },
    }
}

/// What is asked for each name: both families.
const FAMILIES: [Rtype; 2] = [Rtype::A, Rtype::AAAA];

/// The addresses of name servers: from glue, the primary, the resolvers, in this order.
fn addresses_of(
    names: &[String],
    answer: &Answer,
    primary: &[SocketAddr],
    resolvers: &[SocketAddr],
    patience: &Patience,
) -> BTreeMap<String, Vec<IpAddr>> {
    let mut known: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let mut open: Vec<(String, Rtype)> = Vec::new();
    for name in names {
        let glue = answer.additional.iter().filter(|(owner, _)| owner == name);
        let glue: Vec<IpAddr> = glue.filter_map(|(_, value)| address(value)).collect();
        for family in FAMILIES {
            if !glue.iter().any(|address| address.is_ipv4() == (family == Rtype::A)) {
                open.push((name.clone(), family));
            }
        }
        known.insert(name.clone(), glue);
    }
    for asked in [primary, resolvers] {
        if asked.is_empty() || open.is_empty() {
            continue;
        }
        open.retain(|(name, family)| Question::new(name, *family).is_ok());
        let questions: Vec<Question> =
            open.iter().filter_map(|(name, family)| Question::new(name, *family).ok()).collect();
        let answers = ask_each(asked, &questions, true, patience.time);
        open = std::mem::take(&mut open)
            .into_iter()
            .zip(answers)
            .filter_map(|((name, family), answer)| match answer {
                // Who speaks for the name may say that it has no such address.
                Ok(answer) if answer.knows() => {
                    let found = answer.records.iter().filter_map(address);
                    known.entry(name).or_default().extend(found);
                    None
                }
                Ok(_) | Err(Failure::Said(_) | Failure::Silent | Failure::NoRoute) => Some((name, family)),
            })
            .collect();
    }
    for addresses in known.values_mut() {
        addresses.sort_unstable();
        addresses.dedup();
    }
    known
}

fn address(value: &Value) -> Option<IpAddr> {
    match value {
        Value::V4(address) => Some(IpAddr::V4(*address)),
        Value::V6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
