//! The question for mail exchangers, and the reading of what came back (RFC 1035 section 4).

use domain::base::iana::{Opcode, Rcode};
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::Mx;

use super::Exchanger;
use crate::identity::HostName;

/// More than any domain has; each means a record in a file.
const MOST: usize = 100;

/// The question for the mail exchangers of a domain.
///
/// # Errors
/// In words, when it is no name of a domain.
pub fn question(id: u16, apex: &str) -> Result<Message<Vec<u8>>, String> {
    let apex = HostName::parse(apex).map_err(|error| error.to_string())?;
    let name: Name<Vec<u8>> = apex.as_str().parse().map_err(|error| format!("{apex}: {error}"))?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    // For a server that is no primary, but asks one.
    message.header_mut().set_rd(true);
    let mut message = message.question();
    message.push((&name, Rtype::MX)).map_err(|error| format!("{apex}: {error}"))?;
    Ok(message.into_message())
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// No answer to this question: whoever sent it, the answer may still come.
    Nothing,
    /// The beginning of an answer: it is to be asked over TCP.
    Truncated,
    /// The exchangers by preference; none when the domain has none, or does not exist.
    Exchangers(Vec<Exchanger>),
    /// An answer that says nothing, and why.
    Unknown(String),
}

/// Reads what came back for a question.
pub fn heard(question: &Message<Vec<u8>>, octets: &[u8]) -> Heard {
    let Ok(answer) = Message::from_slice(octets) else { return Heard::Nothing };
    if !answer.is_answer(question) || answer.header().opcode() != Opcode::QUERY {
        return Heard::Nothing;
    }
    if answer.header().tc() {
        return Heard::Truncated;
    }
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        rcode => return Heard::Unknown(format!("answers {rcode}")),
    }
    match exchangers(answer) {
        Err(why) => Heard::Unknown(why),
        // Without either bit it knows nothing about the domain, and names others to ask.
        Ok(none) if none.is_empty() && !answer.header().aa() && !answer.header().ra() => {
            Heard::Unknown("is no server for this domain".into())
        }
        Ok(exchangers) => Heard::Exchangers(exchangers),
    }
}

fn exchangers(answer: &Message<[u8]>) -> Result<Vec<Exchanger>, String> {
    let unread = |what: &dyn std::fmt::Display| format!("sends an answer that cannot be read: {what}");
    let name = answer.canonical_name().ok_or_else(|| unread(&"its aliases do not end"))?;
    let mut exchangers = Vec::new();
    for record in answer.answer().map_err(|error| unread(&error))?.limit_to::<Mx<_>>() {
        let record = record.map_err(|error| unread(&error))?;
        if *record.owner() != name {
            continue;
        }
        let exchange = record.data().exchange();
        let name = match exchange.is_root() {
            true => ".".to_owned(),
            false => HostName::parse(&exchange.to_string()).map_err(|error| unread(&error))?.to_string(),
        };
        exchangers.push(Exchanger { preference: record.data().preference(), name });
        if exchangers.len() > MOST {
            return Err(format!("names more than {MOST} mail exchangers"));
        }
    }
    exchangers.sort();
    exchangers.dedup();
    Ok(exchangers)
}
