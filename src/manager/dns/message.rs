//! Questions to name servers, and the reading of what came back (RFC 1035 section 4, RFC 6891).

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::base::iana::{Opcode, Rcode};
use domain::base::{Message, MessageBuilder, Name, ParsedName, Rtype};
use domain::rdata::AllRecordData;

use super::{Data, Exchanger};
use crate::identity::HostName;

/// Octets of an answer over UDP: what passes without fragments nearly everywhere (DNS flag day 2020).
const PAYLOAD: u16 = 1232;
/// More mail exchangers than any domain has; each means a record in a file.
const MOST_EXCHANGERS: usize = 100;
/// What is read of an answer.
const KINDS: [Rtype; 8] =
    [Rtype::NS, Rtype::SOA, Rtype::A, Rtype::AAAA, Rtype::CNAME, Rtype::MX, Rtype::TXT, Rtype::TLSA];
/// Longest name as text, in octets (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// What is asked for: a name, and which records of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    name: Name<Vec<u8>>,
    kind: Rtype,
}

impl Question {
    /// Asks for records of a name.
    ///
    /// # Errors
    /// In words, when it is no name of anything in DNS.
    pub fn new(name: &str, kind: Rtype) -> Result<Self, String> {
        Ok(Self { name: wire(name)?, kind })
    }

    /// Asks for the alias that the same name may be.
    pub fn for_alias(&self) -> Self {
        Self { kind: Rtype::CNAME, ..self.clone() }
    }

    /// The message; `recursion` for servers that ask others, `extended` for answers of more than 512 octets.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn message(&self, id: u16, recursion: bool, extended: bool) -> Result<Message<Vec<u8>>, String> {
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(id);
        message.header_mut().set_rd(recursion);
        let mut message = message.question();
        message.push((&self.name, self.kind)).map_err(|error| error.to_string())?;
        let mut message = message.additional();
        if extended {
            message
                .opt(|option| {
                    option.set_udp_payload_size(PAYLOAD);
                    Ok(())
                })
                .map_err(|error| error.to_string())?;
        }
        Ok(message.into_message())
    }
}

/// A name as it goes into a message, in lower case: host names and those with an underscore; what needs a
/// backslash in a text is nobody's here.
///
/// # Errors
/// In words.
pub fn wire(name: &str) -> Result<Name<Vec<u8>>, String> {
    let bare = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if bare.is_empty() || bare.len() > LONGEST || !bare.chars().all(is_plain) {
        return Err(format!("\"{}\" is no name in DNS", name.escape_debug()));
    }
    bare.parse().map_err(|error| format!("\"{bare}\" is no name in DNS: {error}"))
}

/// The question for the mail exchangers of a domain.
///
/// # Errors
/// In words, when it is no name of a domain.
pub fn exchangers_of(apex: &str) -> Result<Question, String> {
    let apex = HostName::parse(apex).map_err(|error| error.to_string())?;
    Question::new(apex.as_str(), Rtype::MX)
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// No answer to this question: whoever sent it, the answer may still come.
    Nothing,
    /// The beginning of an answer: it is to be asked over TCP.
    Truncated,
    /// It does not understand EDNS (RFC 6891 section 7): it is to be asked without.
    Plain,
    /// An answer.
    Answer(Answer),
    /// An answer that says nothing, and why.
    Unknown(String),
}

/// An answer that can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The server speaks for the zone.
    pub is_authoritative: bool,
    /// The server asks others.
    pub is_resolver: bool,
    /// Where the aliases lead from the name that was asked for, in their order; none when it is no alias.
    pub aliases: Vec<String>,
    /// The records of the name at the end of the aliases.
    pub records: Vec<Value>,
    /// The records of the authority section: owner, value.
    pub authority: Vec<(String, Value)>,
    /// The records of the additional section.
    pub additional: Vec<(String, Value)>,
}

/// What a record says. Names are in lower case, without the trailing dot; what is no plain letter in one is
/// written as RFC 1035 section 5.1 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NS: a name server.
    Server(String),
    /// SOA: the start of a zone, and its serial number.
    Start(u32),
    /// A.
    V4(Ipv4Addr),
    /// AAAA.
    V6(Ipv6Addr),
    /// CNAME.
    Alias(String),
    /// MX: preference and exchanger, which is empty where the domain takes no mail.
    Exchanger(u16, String),
    /// TXT, its strings joined.
    Text(Vec<u8>),
    /// TLSA.
    Key(Data),
    /// Anything else.
    Other,
}

/// Reads what came back for a question.
pub fn heard(question: &Message<Vec<u8>>, octets: &[u8]) -> Heard {
    let Ok(answer) = Message::from_slice(octets) else { return Heard::Nothing };
    let header = answer.header();
    let is_extended = question.header_counts().arcount() > 0;
    let refuses = matches!(header.rcode(), Rcode::FORMERR | Rcode::NOTIMP);
    if is_extended && refuses && header.qr() && header.id() == question.header().id() {
        // Such a server may not even repeat the question.
        return Heard::Plain;
    }
    if !answer.is_answer(question) || header.opcode() != Opcode::QUERY {
        return Heard::Nothing;
    }
    if header.tc() {
        return Heard::Truncated;
    }
    match header.rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        rcode => return Heard::Unknown(format!("answers {rcode}")),
    }
    match read(answer) {
        Ok(answer) => Heard::Answer(answer),
        Err(why) => Heard::Unknown(why),
    }
}

fn read(message: &Message<[u8]>) -> Result<Answer, String> {
    let end = message.canonical_name().ok_or_else(|| unread(&"its aliases do not end"))?;
    let end = text(&end);
    let asked = message.first_question().map(|question| text(question.qname())).unwrap_or_default();
    let (header, mut answer) = (message.header(), Answer::default());
    answer.is_authoritative = header.aa();
    answer.is_resolver = header.ra();
    let records = section(message.answer().map_err(|error| unread(&error))?)?;
    let mut at = asked;
    while at != end {
        let next = records.iter().find_map(|(owner, value)| match value {
            Value::Alias(next) if *owner == at => Some(next.clone()),
            _ => None,
        });
        at = next.ok_or_else(|| unread(&"its aliases lead nowhere"))?;
        answer.aliases.push(at.clone());
        if answer.aliases.len() > records.len() {
            return Err(unread(&"its aliases do not end"));
        }
    }
    answer.records = records.into_iter().filter(|(owner, _)| *owner == end).map(|(_, value)| value).collect();
    answer.authority = section(message.authority().map_err(|error| unread(&error))?)?;
    answer.additional = section(message.additional().map_err(|error| unread(&error))?)?;
    Ok(answer)
}

type Section<'a> = domain::base::message::RecordSection<'a, [u8]>;

fn section(section: Section<'_>) -> Result<Vec<(String, Value)>, String> {
    let mut found = Vec::new();
    for record in section {
        let record = record.map_err(|error| unread(&error))?;
        let owner = text(&record.owner());
        // What is no business of ours need not be readable either.
        if !KINDS.contains(&record.rtype()) {
            found.push((owner, Value::Other));
            continue;
        }
        let record =
            record.into_any_record::<AllRecordData<_, ParsedName<_>>>().map_err(|error| unread(&error))?;
        found.push((owner, value(record.data())));
    }
    Ok(found)
}

fn value(data: &AllRecordData<&[u8], ParsedName<&[u8]>>) -> Value {
    match data {
        AllRecordData::Ns(ns) => Value::Server(text(ns.nsdname())),
        AllRecordData::Soa(soa) => Value::Start(soa.serial().into_int()),
        AllRecordData::A(a) => Value::V4(a.addr()),
        AllRecordData::Aaaa(aaaa) => Value::V6(aaaa.addr()),
        AllRecordData::Cname(cname) => Value::Alias(text(cname.cname())),
        AllRecordData::Mx(mx) => Value::Exchanger(mx.preference(), text(mx.exchange())),
        AllRecordData::Txt(txt) => Value::Text(txt.iter().flatten().copied().collect()),
        AllRecordData::Tlsa(tlsa) => Value::Key(Data::Tlsa {
            usage: tlsa.usage().to_int(),
            selector: tlsa.selector().to_int(),
            matching: tlsa.matching_type().to_int(),
            association: tlsa.data().to_vec(),
        }),
        _ => Value::Other,
    }
}

/// The root is the empty name.
fn text(name: &ParsedName<&[u8]>) -> String {
    let text = name.to_string().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn unread(what: &dyn std::fmt::Display) -> String {
    format!("sends an answer that cannot be read: {what}")
}

impl Answer {
    /// Says whether the server knows: it speaks for the zone, or has asked who does. Any other names others to
    /// ask.
    pub fn knows(&self) -> bool {
        self.is_authoritative || self.is_resolver
    }

    /// Says whether a record with this data is among those of the name.
    pub fn shows(&self, data: &Data) -> bool {
        self.records.iter().any(|value| match (value, data) {
            (Value::Text(found), Data::Txt(wanted)) => found == wanted.as_bytes(),
            (Value::Key(found), wanted) => found == wanted,
            _ => false,
        })
    }

    /// The mail exchangers by preference; none when the domain has none, or does not exist.
    ///
    /// # Errors
    /// In words, after the name of the server.
    pub fn exchangers(&self) -> Result<Vec<Exchanger>, String> {
        let mut exchangers = Vec::new();
        for value in &self.records {
            let Value::Exchanger(preference, exchange) = value else { continue };
            let name = match exchange.as_str() {
                "" | "." => ".".to_owned(),
                exchange => HostName::parse(exchange).map_err(|error| unread(&error))?.to_string(),
            };
            exchangers.push(Exchanger { preference: *preference, name });
        }
        if exchangers.is_empty() && !self.knows() {
            return Err("is no server for this domain".into());
        }
        if exchangers.len() > MOST_EXCHANGERS {
            return Err(format!("names more than {MOST_EXCHANGERS} mail exchangers"));
        }
        exchangers.sort();
        exchangers.dedup();
        Ok(exchangers)
    }
}
