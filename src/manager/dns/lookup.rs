//! The door to name servers: questions over UDP, many at a time on one socket, and over TCP where an answer is
//! longer; and who takes a domain's mail.
#![expect(clippy::disallowed_methods, reason = "this is the door to name servers")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use domain::base::Message;

use super::message::{self, Answer, Heard, Question};
use super::{Exchanger, Unknown};
use crate::manager::config::Primary;

/// Addresses of a server that are asked; a server with more is odd.
const MOST_ADDRESSES: usize = 4;
/// Octets of a datagram that is read; none is asked to be longer than a third of it.
const DATAGRAM: usize = 4096;
/// Questions that are under way at a time: their answers fit into the socket's buffer.
const WINDOW: usize = 50;
/// After this time without an answer a question is sent again; then after twice as long, and so on.
const AGAIN: Duration = Duration::from_millis(400);

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one try at one address, both protocols together; and for finding the addresses.
    pub time: Duration,
    /// How often each address is tried.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { time: Duration::from_secs(3), tries: 2 }
    }
}

/// Why a server has not answered a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// This machine has no way to such an address: not even a route.
    #[error("cannot be reached from here: there is no route")]
    NoRoute,
    /// It was asked in vain.
    #[error("does not answer in time")]
    Silent,
    /// Anything else, in words after the name of the server.
    #[error("{0}")]
    Said(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            // The second: a machine without any address of this family but the loopback's; the third: a kernel
            // without the family.
            ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => Self::NoRoute,
            _ if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => Self::NoRoute,
            _ => Self::Said(format!("cannot be asked: {error}")),
        }
    }
}

/// The mail exchangers of an apex domain as its primary tells them, by preference; none when there are no MX
/// records, which makes the apex its own exchanger (RFC 5321 section 5.1).
///
/// # Errors
/// [`Unknown`] when the server does not answer, or not properly; what is published then stays.
pub fn exchangers(primary: &Primary, apex: &str, patience: &Patience) -> Result<Vec<Exchanger>, Unknown> {
    let Primary { server, port } = primary;
    let unknown = |why: &dyn std::fmt::Display| {
        Unknown(format!(
            "the mail exchangers of {apex} are not known: name server {server} port {port} {why}"
        ))
    };
    let question = message::exchangers_of(apex).map_err(|why| unknown(&format!("cannot be asked: {why}")))?;
    let answer = ask_server(primary, &question, patience).map_err(|why| unknown(&why))?;
    answer.exchangers().map_err(|why| unknown(&why))
}

/// Asks the addresses of a server in turn, until one answers.
///
/// # Errors
/// [`Failure`] of the last one.
pub fn ask_server(server: &Primary, question: &Question, patience: &Patience) -> Result<Answer, Failure> {
    let addresses = addresses(server, patience.time).map_err(Failure::Said)?;
    ask_any(&addresses, question, patience)
}

/// Asks addresses in turn, until one answers.
///
/// # Errors
/// [`Failure`] of the last one.
pub fn ask_any(
    addresses: &[SocketAddr],
    question: &Question,
    patience: &Patience,
) -> Result<Answer, Failure> {
    let mut last = Failure::Said("has no address".into());
    for _ in 0..patience.tries {
        let question = std::slice::from_ref(question);
        match ask_each(addresses, question, true, patience.time).pop() {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(failure)) => last = failure,
            None => {}
        }
    }
    Err(last)
}

/// Asks addresses of one server in turn, each what those before it have not answered; the answers come in the
/// order of the questions. So long is waited for each address.
pub fn ask_each(
    addresses: &[SocketAddr],
    questions: &[Question],
    recursion: bool,
    time: Duration,
) -> Vec<Result<Answer, Failure>> {
    let mut answers = vec![Err(Failure::Said("has no address".into())); questions.len()];
    for (turn, address) in addresses.iter().enumerate() {
        let open: Vec<usize> = open(&answers);
        let asked: Vec<Question> = open.iter().filter_map(|index| questions.get(*index).cloned()).collect();
        if asked.is_empty() {
            break;
        }
        for (index, answer) in open.into_iter().zip(ask_all(*address, &asked, recursion, time)) {
            // That one of several addresses is out of reach says less than what another one said.
            if turn == 0 || answer != Err(Failure::NoRoute) {
                put(&mut answers, index, answer);
            }
        }
    }
    answers
}

fn open(answers: &[Result<Answer, Failure>]) -> Vec<usize> {
    answers.iter().enumerate().filter(|(_, answer)| answer.is_err()).map(|(index, _)| index).collect()
}

/// The addresses of a server. The resolver of the C library has no deadline, so it is waited for, and left
/// behind.
///
/// # Errors
/// In words, after the name of the server.
pub fn addresses(server: &Primary, time: Duration) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = server.server.parse() {
        return Ok(vec![SocketAddr::new(address, server.port)]);
    }
    let place = (server.server.clone(), server.port);
    let (sender, receiver) = mpsc::channel();
    let resolver = std::thread::Builder::new().spawn(move || {
        let found = place.to_socket_addrs().map(|found| found.take(MOST_ADDRESSES).collect());
        let _ = sender.send(found);
    });
    resolver.map_err(|error| format!("cannot be looked up: {error}"))?;
    match receiver.recv_timeout(time) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(format!("has no address: {error}")),
        Err(_) => Err("has no address: the resolver does not answer in time".into()),
    }
}

/// Asks one address many questions, several at a time, and waits so long for all of them together; the answers
/// come in the order of the questions. `recursion` is for servers that are to ask others.
pub fn ask_all(
    server: SocketAddr,
    questions: &[Question],
    recursion: bool,
    time: Duration,
) -> Vec<Result<Answer, Failure>> {
    let mut talk = Talk {
        server,
        questions,
        recursion,
        deadline: Instant::now() + time,
        waiting: Vec::new(),
        cut: Vec::new(),
        answers: vec![Err(Failure::Silent); questions.len()],
    };
    if let Err(error) = talk.by_datagrams().and_then(|()| talk.by_stream()) {
        let failure = Failure::from(error);
        let open = talk.waiting.iter().map(|waiting| waiting.index).chain(talk.cut.iter().map(|cut| cut.0));
        for index in open {
            put(&mut talk.answers, index, Err(failure.clone()));
        }
        // What was not even sent fails for the same reason, unless there was just no time left.
        for answer in talk.answers.iter_mut().filter(|answer| **answer == Err(Failure::Silent)) {
            *answer = Err(failure.clone());
        }
    }
    talk.answers
}

/// A question that is under way.
struct Waiting {
    index: usize,
    message: Message<Vec<u8>>,
    /// When it is sent again, and how long after that once more.
    again: Instant,
    pause: Duration,
}

/// The questions to one address.
struct Talk<'a> {
    server: SocketAddr,
    questions: &'a [Question],
    recursion: bool,
    deadline: Instant,
    waiting: Vec<Waiting>,
    /// Those whose answers were cut off.
    cut: Vec<(usize, Message<Vec<u8>>)>,
    answers: Vec<Result<Answer, Failure>>,
}

impl Talk<'_> {
    /// Listens until an answer to each question has come: what somebody else throws in is passed over.
    fn by_datagrams(&mut self) -> io::Result<()> {
        let socket = connected(self.server)?;
        let mut fresh = self.questions.iter().enumerate();
        let mut buffer = [0; DATAGRAM];
        loop {
            while self.waiting.len() < WINDOW {
                let Some((index, question)) = fresh.next() else { break };
                match self.message(question, true) {
                    Ok(message) => {
                        send(&socket, message.as_slice())?;
                        let again = Instant::now() + AGAIN;
                        self.waiting.push(Waiting { index, message, again, pause: AGAIN });
                    }
                    Err(error) => put(&mut self.answers, index, Err(error)),
                }
            }
            let Some(next) = self.waiting.iter().map(|waiting| waiting.again).min() else { return Ok(()) };
            let now = Instant::now();
            for waiting in self.waiting.iter_mut().filter(|waiting| waiting.again <= now) {
                send(&socket, waiting.message.as_slice())?;
                waiting.pause *= 2;
                waiting.again = now + waiting.pause;
            }
            let until = next.saturating_duration_since(now).max(Duration::from_millis(1));
            socket.set_read_timeout(Some(left(self.deadline)?.min(until)))?;
            match socket.recv(&mut buffer) {
                Ok(length) => self.hear(&socket, buffer.get(..length).unwrap_or_default())?,
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn hear(&mut self, socket: &UdpSocket, octets: &[u8]) -> io::Result<()> {
        let is_its = |waiting: &Waiting| octets.get(..2) == waiting.message.as_slice().get(..2);
        let Some(at) = self.waiting.iter().position(is_its) else { return Ok(()) };
        let Some(waiting) = self.waiting.get_mut(at) else { return Ok(()) };
        let index = waiting.index;
        match message::heard(&waiting.message, octets) {
            Heard::Nothing => return Ok(()),
            Heard::Plain => {
                let Some(question) = self.questions.get(index) else { return Ok(()) };
                let id = waiting.message.header().id();
                let plain = question.message(id, self.recursion, false).map_err(io::Error::other)?;
                send(socket, plain.as_slice())?;
                waiting.message = plain;
                return Ok(());
            }
            Heard::Truncated => self.cut.push((index, waiting.message.clone())),
            Heard::Answer(answer) => put(&mut self.answers, index, Ok(answer)),
            Heard::Unknown(why) => put(&mut self.answers, index, Err(Failure::Said(why))),
        }
        self.waiting.swap_remove(at);
        Ok(())
    }

    /// A message with a number that no other one under way has.
    fn message(&self, question: &Question, extended: bool) -> Result<Message<Vec<u8>>, Failure> {
        loop {
            let mut id = [0; 2];
            getrandom::fill(&mut id).map_err(|error| Failure::Said(error.to_string()))?;
            let id = u16::from_ne_bytes(id);
            if self.waiting.iter().all(|waiting| waiting.message.header().id() != id) {
                return question.message(id, self.recursion, extended).map_err(Failure::Said);
            }
        }
    }

    /// Those whose answers were too long, on one connection.
    fn by_stream(&mut self) -> io::Result<()> {
        if self.cut.is_empty() {
            return Ok(());
        }
        let mut stream = connect(self.server, self.deadline)?;
        while let Some((index, question)) = self.cut.last() {
            let octets = exchange(&mut stream, question.as_slice(), self.deadline)?;
            let answer = match message::heard(question, &octets) {
                Heard::Answer(answer) => Ok(answer),
                Heard::Unknown(why) => Err(Failure::Said(why)),
                Heard::Truncated => Err(Failure::Said("cuts its answer off over TCP, too".into())),
                Heard::Nothing | Heard::Plain => Err(Failure::Said("answers another question".into())),
            };
            put(&mut self.answers, *index, answer);
            self.cut.pop();
        }
        Ok(())
    }
}

fn put(answers: &mut [Result<Answer, Failure>], index: usize, answer: Result<Answer, Failure>) {
    if let Some(place) = answers.get_mut(index) {
        *place = answer;
    }
}

/// A socket for datagrams; from here on the kernel takes those of this address and port alone.
///
/// # Errors
/// What the system says, a missing route for one.
pub fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }?;
    socket.connect(server)?;
    Ok(socket)
}

/// A datagram that does not fit into the buffer now is sent again later.
fn send(socket: &UdpSocket, octets: &[u8]) -> io::Result<()> {
    match socket.send(octets) {
        Err(error) if is_pause(&error) => Ok(()),
        sent => sent.map(drop),
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Opens a connection.
///
/// # Errors
/// What the system says.
pub fn connect(server: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, left(deadline)?)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One message each way, each after its length (RFC 7766 section 8).
///
/// # Errors
/// What the system says; also for a message that is too long for its length.
pub fn exchange(stream: &mut TcpStream, message: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(left(deadline)?))?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())?;
    let mut length = [0; 2];
    fill(stream, &mut length, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(stream, &mut answer, deadline)?;
    Ok(answer)
}

/// Reads as much as fits; a server that sends an octet now and then gets no more time.
fn fill(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection")),
            Ok(length) => buffer = buffer.get_mut(length..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time that is left.
///
/// # Errors
/// [`ErrorKind::TimedOut`] when there is none.
pub fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
