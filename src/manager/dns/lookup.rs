//! Asks the primary of a zone who takes its mail: over UDP, and over TCP where the answer is longer.
#![expect(clippy::disallowed_methods, reason = "this is the door to name servers")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use domain::base::Message;

use super::message::{self, Heard};
use super::{Exchanger, Unknown};
use crate::manager::config::Primary;

/// Addresses of a server that are asked; a server with more is odd.
const MOST_ADDRESSES: usize = 4;
/// Octets of a datagram; an answer that says that it is whole has at most 512 (RFC 1035 section 4.2.1).
const DATAGRAM: usize = 4096;

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

/// The mail exchangers of an apex domain as its primary tells them, by preference; none when there are no MX
/// records, which makes the apex its own exchanger (RFC 5321 section 5.1).
///
/// # Errors
/// [`Unknown`] when the server does not answer, or not properly; what is published then stays.
pub fn exchangers(primary: &Primary, apex: &str, patience: &Patience) -> Result<Vec<Exchanger>, Unknown> {
    let Primary { server, port } = primary;
    let unknown = |why: &str| {
        Unknown(format!(
            "the mail exchangers of {apex} are not known: name server {server} port {port} {why}"
        ))
    };
    let addresses = addresses(primary, patience.time).map_err(|why| unknown(&why))?;
    let mut last = "has no address".to_owned();
    for _ in 0..patience.tries {
        for address in &addresses {
            match ask(*address, apex, Instant::now() + patience.time) {
                Ok(Heard::Exchangers(exchangers)) => return Ok(exchangers),
                Ok(Heard::Unknown(why)) => last = why,
                Ok(Heard::Truncated) => last = "cuts its answer off over TCP, too".into(),
                Ok(Heard::Nothing) => last = "answers another question".into(),
                Err(error) if timed_out(&error) => last = "does not answer in time".into(),
                Err(error) => last = format!("cannot be asked: {error}"),
            }
        }
    }
    Err(unknown(&last))
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The resolver of the C library has no deadline, so it is waited for, and left behind.
fn addresses(primary: &Primary, time: Duration) -> Result<Vec<SocketAddr>, String> {
    let place = (primary.server.clone(), primary.port);
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

fn ask(server: SocketAddr, apex: &str, deadline: Instant) -> io::Result<Heard> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    let question = message::question(u16::from_ne_bytes(id), apex).map_err(io::Error::other)?;
    match by_datagram(server, &question, deadline)? {
        Heard::Truncated => by_stream(server, &question, deadline),
        heard => Ok(heard),
    }
}

/// Listens until an answer to this question comes: what somebody else throws in is passed over.
fn by_datagram(server: SocketAddr, question: &Message<Vec<u8>>, deadline: Instant) -> io::Result<Heard> {
    let socket = match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }?;
    // From here on the kernel takes datagrams of this address and port alone.
    socket.connect(server)?;
    socket.send(question.as_slice())?;
    let mut buffer = [0; DATAGRAM];
    loop {
        socket.set_read_timeout(Some(left(deadline)?))?;
        let length = match socket.recv(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            length => length?,
        };
        match message::heard(question, buffer.get(..length).unwrap_or_default()) {
            Heard::Nothing => {}
            heard => return Ok(heard),
        }
    }
}

/// One message each way, each after its length (RFC 7766 section 8).
fn by_stream(server: SocketAddr, question: &Message<Vec<u8>>, deadline: Instant) -> io::Result<Heard> {
    let mut stream = TcpStream::connect_timeout(&server, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let length = u16::try_from(question.as_slice().len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question.as_slice()].concat())?;
    let mut length = [0; 2];
    fill(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(&mut stream, &mut answer, deadline)?;
    Ok(message::heard(question, &answer))
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

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
