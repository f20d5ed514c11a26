//! Servers of our own, for machines on which no other answers an authority: they live as long as something is
//! to be proven, and say nothing but what proves it.
//!
//! ```text
//!  here      listening, and what a connection may cost
//!  request   http-01 (RFC 8555 section 8.3)
//!  alpn      tls-alpn-01 (RFC 8737, RFC 8738)
//! ```
//!
//! Everybody can connect: no connection lasts longer than a deadline, sends more than a limit, or keeps others
//! out, because where there are too many, the oldest gives way.

mod alpn;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::system::clock;

pub use alpn::Certificates;
#[cfg(test)]
pub use alpn::server_name;
pub use request::{PATH, Pages};

/// Time that a connection gets.
const TIME: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// Connections that wait in the kernel to be taken.
const BACKLOG: i32 = 128;
/// Before the next attempt, when the system has no room for another connection.
const BREATH: Duration = Duration::from_millis(50);

/// How a connection is answered.
pub trait Serve: Send + Sync + 'static {
    /// Answers one connection, and returns when it has nothing more to say.
    fn serve(&self, wire: &mut Wire);
}

/// A server that runs until it is dropped; then its port is free again.
#[derive(Debug)]
pub struct Responder {
    listener: Arc<TcpListener>,
    open: Arc<Open>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Listens at an address. `[::]` takes IPv4 too; where IPv6 is switched off, it is all of IPv4.
    ///
    /// # Errors
    /// When the port is taken, or may not be.
    pub fn start(address: SocketAddr, server: Arc<dyn Serve>) -> io::Result<Self> {
        let listener = Arc::new(listen(address)?);
        let open = Arc::new(Open::default());
        let (taken, known) = (Arc::clone(&listener), Arc::clone(&open));
        let thread = std::thread::Builder::new()
            .name("responder".to_owned())
            .spawn(move || accept(&taken, &known, server.as_ref()))?;
        Ok(Self { listener, open, thread: Some(thread) })
    }

    /// Where it really listens.
    ///
    /// # Errors
    /// When the system does not say.
    #[cfg(test)]
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.open.ended.store(true, Ordering::SeqCst);
        // The one way to wake a thread that waits in accept(2).
        let _ = SockRef::from(self.listener.as_ref()).shutdown(Shutdown::Both);
        self.open.streams().values().for_each(close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Opens the socket.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let is_off = |error: &io::Error| {
        [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL]
            .iter()
            .any(|errno| error.raw_os_error() == Some(*errno as i32))
    };
    match socket(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && is_off(&error) => {
            socket(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
        }
        opened => opened,
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    // Connections that an earlier responder closed may still be known to the kernel.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Takes connections, each into a thread of its own, until the responder ends; all threads end before it does.
fn accept(listener: &TcpListener, open: &Open, server: &dyn Serve) {
    std::thread::scope(|scope| {
        while !open.ended.load(Ordering::SeqCst) {
            let Ok((stream, _)) = listener.accept() else {
                // Out of descriptors, or the other side has gone already: both pass.
                if !open.ended.load(Ordering::SeqCst) {
                    clock::pause(BREATH);
                }
                continue;
            };
            let Some(number) = open.add(&stream) else { continue };
            let answer = move || {
                let mut wire = Wire::new(stream);
                server.serve(&mut wire);
                wire.end();
                open.remove(number);
            };
            if std::thread::Builder::new().spawn_scoped(scope, answer).is_err() {
                open.remove(number);
                clock::pause(BREATH);
            }
        }
    });
}

/// The connections that are open, in the order of their age.
#[derive(Debug, Default)]
struct Open {
    ended: AtomicBool,
    streams: Mutex<BTreeMap<u64, TcpStream>>,
}

impl Open {
    fn streams(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows one more; where there are too many, the oldest is closed. Nothing when the responder has ended.
    fn add(&self, stream: &TcpStream) -> Option<u64> {
        let known = stream.try_clone().ok()?;
        let mut streams = self.streams();
        // Looked at under the lock: whoever ends the responder closes what is known afterwards.
        if self.ended.load(Ordering::SeqCst) {
            return None;
        }
        while streams.len() >= CONNECTIONS {
            streams.pop_first().iter().for_each(|(_, oldest)| close(oldest));
        }
        let number = streams.last_key_value().map_or(0, |(number, _)| number.wrapping_add(1));
        streams.insert(number, known);
        Some(number)
    }

    fn remove(&self, number: u64) {
        self.streams().remove(&number);
    }
}

fn close(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

/// A connection with a deadline for everything together, and a limit of octets that it may send.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    deadline: Instant,
    left: usize,
}

impl Wire {
    fn new(stream: TcpStream) -> Self {
        Self { stream, deadline: Instant::now() + TIME, left: OCTETS }
    }

    fn remaining(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            time => Ok(Some(time)),
        }
    }

    /// Ends the connection so that the answer arrives: what is closed with octets unread is torn down, and the
    /// answer with it.
    fn end(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.deadline = self.deadline.min(Instant::now() + LINGER);
        let mut rest = [0_u8; 1024];
        while self.read(&mut rest).is_ok_and(|length| length > 0) {}
    }
}

/// Octets that a connection may send: more than a request, a handshake, or the body of a form.
const OCTETS: usize = 64 * 1024;
/// How long the other side may take to close.
const LINGER: Duration = Duration::from_secs(1);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.remaining()?)?;
        let room = buffer.len().min(self.left);
        let Some(buffer) = buffer.get_mut(..room).filter(|buffer| !buffer.is_empty()) else {
            return Err(ErrorKind::FileTooLarge.into());
        };
        let length = self.stream.read(buffer)?;
        self.left = self.left.saturating_sub(length);
        Ok(length)
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.remaining()?)?;
        self.stream.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
