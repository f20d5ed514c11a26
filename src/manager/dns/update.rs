//! Changes to a zone at its primary (RFC 2136), signed where there is a key: exact records are added and taken
//! away, many in one message, all of a message or none.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use domain::base::iana::{
    Class, Opcode, Rcode, TlsaCertificateUsage, TlsaMatchingType, TlsaSelector, TsigRcode,
};
use domain::base::message_builder::{AdditionalBuilder, AuthorityBuilder};
use domain::base::rdata::UnknownRecordData;
use domain::base::{Message, MessageBuilder, Record as Wire, Rtype, Ttl};
use domain::rdata::tsig::Time48;
use domain::rdata::{Tlsa, Tsig, Txt};
use domain::tsig::{ClientTransaction, ValidationError};
use time::OffsetDateTime;

use super::lookup::{Failure, Patience, addresses, connect, connected, exchange, left};
use super::message::wire;
use super::tsig::Key;
use super::{Data, Record};
use crate::manager::config::Primary;

/// Octets of records in one message: below what its length can say, with room for head and signature.
const MOST: usize = 60_000;
/// Octets of a message that goes out as a datagram (RFC 1035 section 4.2.1); longer ones go over TCP.
const DATAGRAM: usize = 512;
/// Octets of an answer that is read.
const BUFFER: usize = 4096;
/// What a record has besides its owner and data (RFC 1035 section 4.1.3).
const HEAD: usize = 10;
/// Most seconds by which the clocks of both sides may differ (RFC 8945 section 10).
const FUDGE: u16 = 300;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a record; one that is there already gets the time to live.
    Add {
        /// Which.
        record: Record,
        /// Seconds.
        ttl: u32,
    },
    /// Takes away exactly this record; one that is gone already is no error.
    Delete(Record),
    /// Takes away all TLSA records of a name, whatever they say; other types stay. With what is added at the
    /// name behind it, it is one step, which is never spread over two messages.
    Clear(String),
}

impl Change {
    /// The name that it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Add { record, .. } | Self::Delete(record) => &record.name,
            Self::Clear(name) => name,
        }
    }
}

/// Why a zone was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The server refuses: the zone is as it was. In words, with the server.
    #[error("{0}")]
    Refused(String),
    /// There is no answer that can be trusted: whether the zone was changed is not known.
    #[error("{0}")]
    Unknown(String),
}

/// Changes a zone: in one message, or in as few as hold all changes; a later one is not sent when one before
/// was refused. Returns how many were sent.
///
/// # Errors
/// [`Refusal`]; with several messages, those before it have changed the zone.
pub fn update(
    server: &Primary,
    key: Option<&Key>,
    zone: &str,
    changes: &[Change],
    now: OffsetDateTime,
    patience: &Patience,
) -> Result<usize, Refusal> {
    let place = format!("{} port {}", server.server, server.port);
    let refused = |why: String| Refusal::Refused(format!("{zone} cannot be changed: {why}"));
    let parts = parts(changes).map_err(refused)?;
    if parts.is_empty() {
        return Ok(0);
    }
    let addresses =
        addresses(server, patience.time).map_err(|why| refused(format!("name server {place} {why}")))?;
    for (number, part) in parts.iter().enumerate() {
        let mut last = Err(refused(format!("name server {place} has no address")));
        'tries: for _ in 0..patience.tries {
            for address in &addresses {
                last = send(*address, key, zone, part, now, patience).map_err(|refusal| match refusal {
                    Refusal::Refused(why) => refused(format!("name server {place} {why}")),
                    Refusal::Unknown(why) => Refusal::Unknown(format!(
                        "whether {zone} was changed is not known: name server {place} {why}"
                    )),
                });
                if !matches!(last, Err(Refusal::Unknown(_))) {
                    break 'tries;
                }
            }
        }
        match last {
            Err(Refusal::Refused(why)) if number > 0 => {
                return Err(Refusal::Unknown(format!("{why}; a part of the changes is made")));
            }
            last => last?,
        }
    }
    Ok(parts.len())
}

/// Splits changes so that each part fits into a message, and what is one step stays in one.
fn parts(changes: &[Change]) -> Result<Vec<&[Change]>, String> {
    let mut parts = Vec::new();
    let (mut start, mut octets) = (0, 0);
    for step in steps(changes) {
        let length = step.iter().map(length).sum::<Result<usize, String>>()?;
        if length > MOST {
            let name = step.first().map(Change::name).unwrap_or_default();
            return Err(format!("the records of {name} have {length} octets, which no message holds"));
        }
        let before: usize = parts.iter().map(|part: &&[Change]| part.len()).sum();
        if octets + length > MOST {
            parts.extend(changes.get(before..start).filter(|part| !part.is_empty()));
            octets = 0;
        }
        start += step.len();
        octets += length;
    }
    let before: usize = parts.iter().map(|part| part.len()).sum();
    parts.extend(changes.get(before..).filter(|part| !part.is_empty()));
    Ok(parts)
}

/// What is done at once: a change alone, or what is added where everything was taken away before.
fn steps(changes: &[Change]) -> Vec<&[Change]> {
    let mut steps = Vec::new();
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let follows =
            |change: &&Change| matches!(change, Change::Add { .. }) && change.name() == first.name();
        let added = match first {
            Change::Clear(_) => rest.iter().skip(1).take_while(follows).count(),
            Change::Add { .. } | Change::Delete(_) => 0,
        };
        let (step, after) = rest.split_at(added + 1);
        steps.push(step);
        rest = after;
    }
    steps
}

/// Octets of a change in a message.
fn length(change: &Change) -> Result<usize, String> {
    let data = match change {
        Change::Clear(_) => 0,
        Change::Add { record, .. } | Change::Delete(record) => match &record.data {
            Data::Txt(text) => text.len() + text.len().div_ceil(255).max(1),
            Data::Tlsa { association, .. } => association.len() + 3,
        },
    };
    Ok(wire(change.name())?.len() + HEAD + data)
}

/// One message to one address.
fn send(
    server: SocketAddr,
    key: Option<&Key>,
    zone: &str,
    changes: &[Change],
    now: OffsetDateTime,
    patience: &Patience,
) -> Result<(), Refusal> {
    let own = |why: String| Refusal::Refused(format!("cannot be told: {why}"));
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| own(error.to_string()))?;
    let mut message = build(u16::from_ne_bytes(id), zone, changes).map_err(own)?;
    let time = Time48::from_u64(u64::try_from(now.unix_timestamp()).unwrap_or_default());
    let transaction = match key {
        Some(key) => Some(
            ClientTransaction::request_with_fudge(key.inner(), &mut message, time, FUDGE)
                .map_err(|error| own(error.to_string()))?,
        ),
        None => None,
    };
    let request = message.into_message();
    let answer = carry(server, &request, Instant::now() + patience.time)?;
    read(&request, answer, transaction.as_ref(), key, time)
}

/// Brings a message there and waits for what belongs to it.
fn carry(server: SocketAddr, request: &Message<Vec<u8>>, deadline: Instant) -> Result<Vec<u8>, Refusal> {
    let octets = request.as_slice();
    let unknown = |error: io::Error| Refusal::Unknown(Failure::from(error).to_string());
    if octets.len() > DATAGRAM {
        let mut stream = connect(server, deadline).map_err(unknown)?;
        return exchange(&mut stream, octets, deadline).map_err(unknown);
    }
    let socket = connected(server).map_err(unknown)?;
    socket.send(octets).map_err(unknown)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        socket.set_read_timeout(Some(left(deadline).map_err(unknown)?)).map_err(unknown)?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let answer = buffer.get(..length).unwrap_or_default();
                if is_answer(request, answer) {
                    return Ok(answer.to_vec());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unknown(error)),
        }
    }
}

/// The zone may be left out of an answer (RFC 2136 section 3.8).
fn is_answer(request: &Message<Vec<u8>>, octets: &[u8]) -> bool {
    Message::from_slice(octets).is_ok_and(|answer| {
        let header = answer.header();
        header.qr() && header.id() == request.header().id() && header.opcode() == Opcode::UPDATE
    })
}

/// The message without its signature.
fn build(id: u16, zone: &str, changes: &[Change]) -> Result<AdditionalBuilder<Vec<u8>>, String> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    message.header_mut().set_opcode(Opcode::UPDATE);
    let mut message = message.question();
    message.push((wire(zone)?, Rtype::SOA)).map_err(|error| error.to_string())?;
    let mut message = message.authority();
    for change in changes {
        match change {
            Change::Add { record, ttl } => push(&mut message, record, Class::IN, Ttl::from_secs(*ttl))?,
            Change::Delete(record) => push(&mut message, record, Class::NONE, Ttl::ZERO)?,
            // RFC 2136 section 2.5.2.
            Change::Clear(name) => {
                let nothing = UnknownRecordData::from_octets(Rtype::TLSA, []).map_err(|e| e.to_string())?;
                let all: Wire<_, UnknownRecordData<[u8; 0]>> =
                    Wire::new(wire(name)?, Class::ANY, Ttl::ZERO, nothing);
                message.push(all).map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(message.additional())
}

fn push(
    message: &mut AuthorityBuilder<Vec<u8>>,
    record: &Record,
    class: Class,
    ttl: Ttl,
) -> Result<(), String> {
    let owner = wire(&record.name)?;
    let pushed = match &record.data {
        Data::Txt(text) => {
            let data =
                Txt::<Vec<u8>>::build_from_slice(text.as_bytes()).map_err(|error| error.to_string())?;
            message.push(Wire::new(owner, class, ttl, data))
        }
        Data::Tlsa { usage, selector, matching, association } => {
            let data = Tlsa::try_new(
                TlsaCertificateUsage::from_int(*usage),
                TlsaSelector::from_int(*selector),
                TlsaMatchingType::from_int(*matching),
                association.as_slice(),
            );
            message.push(Wire::new(owner, class, ttl, data.map_err(|error| error.to_string())?))
        }
    };
    pushed.map_err(|error| error.to_string())
}

/// Reads what a server says about a change.
fn read(
    request: &Message<Vec<u8>>,
    answer: Vec<u8>,
    transaction: Option<&ClientTransaction<&domain::tsig::Key>>,
    key: Option<&Key>,
    now: Time48,
) -> Result<(), Refusal> {
    let unknown = |why: String| Refusal::Unknown(why);
    if !is_answer(request, &answer) {
        return Err(unknown("answers something else".into()));
    }
    let mut answer = Message::from_octets(answer).map_err(|_| unknown("sends half an answer".into()))?;
    let rcode = answer.header().rcode();
    if let (Some(transaction), Some(key)) = (transaction, key) {
        let complaint = complaint(&answer);
        if let Err(error) = transaction.answer(&mut answer, now) {
            return Err(unsigned(&error, rcode, complaint, key));
        }
    }
    let why = match rcode {
        Rcode::NOERROR => return Ok(()),
        Rcode::REFUSED => match key {
            Some(key) => {
                format!("answers REFUSED: its update-policy does not grant the key {} this", key.name())
            }
            None => "answers REFUSED: it takes no changes without a key; write key_file".into(),
        },
        Rcode::NOTAUTH => "answers NOTAUTH: it is no server for this zone".into(),
        Rcode::NOTZONE => "answers NOTZONE: a record is not in this zone".into(),
        Rcode::NOTIMP => "answers NOTIMP: it knows no dynamic updates".into(),
        rcode => format!("answers {rcode}"),
    };
    Err(Refusal::Refused(why))
}

/// What the signature of an answer says is wrong with ours; the clocks of both sides in seconds for BADTIME.
#[derive(Debug, Clone, Copy)]
struct Complaint {
    error: TsigRcode,
    ours: u64,
    theirs: Option<u64>,
}

fn complaint(answer: &Message<Vec<u8>>) -> Option<Complaint> {
    let additional = answer.additional().ok()?;
    let tsig = additional.limit_to::<Tsig<_, _>>().last()?.ok()?;
    let seconds = |time: Time48| {
        let octets = time.into_octets();
        octets.iter().fold(0_u64, |sum, octet| (sum << 8) | u64::from(*octet))
    };
    let data = tsig.data();
    Some(Complaint {
        error: data.error(),
        ours: seconds(data.time_signed()),
        theirs: data.other_time().map(seconds),
    })
}

/// Why an answer cannot be trusted, or what it says about our signature. Complaints need not be signed, and a lie
/// costs no more than one try: the zone counts as not changed, and what was added is looked for anyway.
fn unsigned(error: &ValidationError, rcode: Rcode, complaint: Option<Complaint>, key: &Key) -> Refusal {
    let (name, algorithm) = (key.name(), key.algorithm());
    let complaint = complaint.filter(|_| rcode == Rcode::NOTAUTH);
    let is_unsigned = matches!(error, ValidationError::ServerUnsigned);
    let why = match (complaint.map(|complaint| complaint.error), complaint) {
        // BIND signs this one in a way that the library does not follow.
        (Some(TsigRcode::BADTIME), Some(Complaint { ours, theirs: Some(theirs), .. })) => {
            let direction = if theirs > ours { "ahead of" } else { "behind" };
            let seconds = theirs.abs_diff(ours);
            format!(
                "answers BADTIME: its clock is {seconds} s {direction} ours, and at most {FUDGE} s are allowed; \
                 set both clocks by NTP"
            )
        }
        (Some(TsigRcode::BADKEY), _) => format!(
            "answers BADKEY: it does not know the key {name} with {algorithm}; compare the key files of both sides"
        ),
        (Some(TsigRcode::BADSIG), _) => {
            format!("answers BADSIG: its key {name} has another secret; compare the key files of both sides")
        }
        _ if is_unsigned && rcode != Rcode::NOERROR => {
            format!("answers {rcode}, unsigned")
        }
        _ if is_unsigned => {
            return Refusal::Unknown("sends an answer that is not signed".into());
        }
        _ => return Refusal::Unknown(format!("sends an answer whose signature does not hold: {error}")),
    };
    Refusal::Refused(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(octets: usize) -> Change {
        let data = Data::Txt("x".repeat(octets));
        Change::Delete(Record { name: "_acme-challenge.example.com".into(), data })
    }

    #[test]
    fn messages_hold_what_fits() {
        // name, octets of the texts, how many are in each message
        let cases: [(&str, Vec<usize>, &[usize]); 5] = [
            ("nothing", vec![], &[]),
            ("a few", vec![43; 100], &[100]),
            ("many", vec![250; 500], &[206, 206, 88]),
            ("a large one in between", vec![43, 59_600, 43, 43], &[2, 2]),
            ("a large one first", vec![59_500, 59_500], &[1, 1]),
        ];
        for (case, octets, expected) in cases {
            let changes: Vec<Change> = octets.into_iter().map(text).collect();
            let parts = parts(&changes).unwrap();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), expected, "{case}");
            for part in parts {
                let message = build(7, "example.com", part).unwrap().into_message();
                assert!(message.as_slice().len() <= MOST + 100, "{case}: {}", message.as_slice().len());
            }
        }
        assert!(parts(&[text(60_000)]).unwrap_err().contains("no message holds"));
    }

    #[test]
    fn what_replaces_a_name_is_in_one_message() {
        let added = |name: &str, octets: usize| {
            let data = Data::Tlsa { usage: 3, selector: 0, matching: 0, association: vec![0; octets] };
            Change::Add { record: Record { name: name.into(), data }, ttl: 60 }
        };
        let whole = |name: &str, octets: usize| {
            [Change::Clear(name.into()), added(name, octets), added(name, octets)].to_vec()
        };
        // name, changes, how many are in each message
        let cases: [(&str, Vec<Change>, &[usize]); 4] = [
            ("all fit", [whole("a.test", 90), whole("b.test", 90)].concat(), &[6]),
            ("one each", [whole("a.test", 20_000), whole("b.test", 20_000)].concat(), &[3, 3]),
            (
                "what is added elsewhere is another step",
                { [whole("a.test", 20_000), vec![added("b.test", 20_000)]].concat() },
                &[3, 1],
            ),
            (
                "nothing but removals",
                vec![Change::Clear("a.test".into()), Change::Clear("b.test".into())],
                &[2],
            ),
        ];
        for (case, changes, expected) in cases {
            let parts = parts(&changes).unwrap();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), expected, "{case}");
        }
        assert!(parts(&whole("a.test", 30_000)).unwrap_err().contains("no message holds"));
    }

    #[test]
    fn what_belongs_to_a_change() {
        let request = build(0x1234, "example.com", &[text(1)]).unwrap().into_message();
        let head = |id: [u8; 2], flags: [u8; 2]| [id.as_slice(), &flags, &[0; 8]].concat();
        let cases = [
            ("an answer without the zone", head([0x12, 0x34], [0xa8, 0]), true),
            ("another number", head([0x12, 0x35], [0xa8, 0]), false),
            ("a question", head([0x12, 0x34], [0x28, 0]), false),
            ("an answer to a question", head([0x12, 0x34], [0x80, 0]), false),
            ("half of it", head([0x12, 0x34], [0xa8, 0])[..7].to_vec(), false),
            ("nothing", Vec::new(), false),
        ];
        for (case, octets, expected) in cases {
            assert_eq!(is_answer(&request, &octets), expected, "{case}");
        }
    }
}
