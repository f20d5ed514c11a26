//! Looks for tokens as an authority will, at every address of each name. A machine may not reach its own public
//! address, so what is not seen here is no failure; but whoever reads an authority's refusal is glad of it.
#![expect(clippy::disallowed_methods, reason = "this is the door to the web servers of what is proven")]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::responder::PATH;
use crate::manager::acme::{Identifier, Proof};

/// For all of them together: as long as an authority takes.
const TIME: Duration = Duration::from_secs(1);
/// For one address.
const CONNECTION: Duration = Duration::from_secs(2);
/// Names at a time.
const THREADS: usize = 16;
/// Octets of an answer that are read.
const ANSWER: u64 = 16 * 1024;
/// Where authorities look (RFC 8555 section 8.3).
const PORT: u16 = 80;

/// Looks for each proof, and calls `looked` with its number and what was seen instead at which address, as soon
/// as that is known. Those for which the time does not suffice are called with nothing.
pub fn look(proofs: &[(usize, &Proof)], looked: impl FnMut(usize, Vec<String>)) {
    look_at(PORT, proofs, looked);
}

fn look_at(port: u16, proofs: &[(usize, &Proof)], mut looked: impl FnMut(usize, Vec<String>)) {
    let started = Instant::now();
    let (sender, receiver) = channel();
    let work: VecDeque<(usize, Proof)> =
        proofs.iter().map(|(number, proof)| (*number, (*proof).clone())).collect();
    let work = Arc::new(Mutex::new(work));
    for _ in 0..THREADS.min(proofs.len()) {
        let (work, sender) = (Arc::clone(&work), sender.clone());
        // Not waited for: a resolver may be silent for longer than we are patient. Without threads, nobody looks.
        let _ = std::thread::Builder::new().spawn(move || take(port, &work, &sender));
    }
    drop(sender);
    let mut open: Vec<usize> = proofs.iter().map(|(number, _)| *number).collect();
    while !open.is_empty() {
        match receiver.recv_timeout(TIME.saturating_sub(started.elapsed())) {
            Ok((number, seen)) => {
                open.retain(|one| *one != number);
                looked(number, seen);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    work.lock().unwrap_or_else(PoisonError::into_inner).clear();
    open.into_iter().for_each(|number| looked(number, Vec::new()));
}

fn take(port: u16, work: &Mutex<VecDeque<(usize, Proof)>>, sender: &Sender<(usize, Vec<String>)>) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((number, proof)) = next else { return };
        if sender.send((number, differences(port, &proof))).is_err() {
            return;
        }
    }
}

/// What is seen instead of a proof, by address.
fn differences(port: u16, proof: &Proof) -> Vec<String> {
    let addresses: Vec<SocketAddr> = match &proof.identifier {
        Identifier::Ip(address) => vec![SocketAddr::new(*address, port)],
        Identifier::Dns(name) => match (name.as_str(), port).to_socket_addrs() {
            Ok(found) => found.collect(),
            Err(error) => return vec![format!("{name} has no address that is known here: {error}")],
        },
    };
    let mut different = Vec::new();
    for address in addresses {
        let instead = match ask(address, proof) {
            Ok(answer) => instead(&answer, &proof.key_authorization),
            Err(error) => Some(error.to_string()),
        };
        different.extend(instead.map(|instead| {
            format!(
                "{} does not show its token at {} to this machine: {instead}",
                proof.identifier,
                address.ip()
            )
        }));
    }
    different
}

fn ask(address: SocketAddr, proof: &Proof) -> io::Result<Vec<u8>> {
    let host = match &proof.identifier {
        Identifier::Ip(ip) if ip.is_ipv6() => format!("[{ip}]"),
        identifier => identifier.to_string(),
    };
    let mut stream = TcpStream::connect_timeout(&address, CONNECTION)?;
    stream.set_read_timeout(Some(CONNECTION))?;
    stream.set_write_timeout(Some(CONNECTION))?;
    let request = format!(
        "GET {PATH}{} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: reseed\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        proof.token
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// What an answer is, unless it is as expected. A redirection is followed by authorities, and not judged here.
fn instead(answer: &[u8], expected: &str) -> Option<String> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(start)) = response.parse(answer) else {
        return Some("what it says is no HTTP".to_owned());
    };
    let body = String::from_utf8_lossy(answer.get(start..).unwrap_or_default());
    match response.code {
        Some(300..=399) => None,
        Some(200) if body.contains(expected) => None,
        Some(200) => Some("another page".to_owned()),
        code => Some(format!("status {}", code.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let cases: [(&str, &str, Option<&str>); 7] = [
            ("the page", "HTTP/1.1 200 OK\r\n\r\nabc.x", None),
            ("with a line's end", "HTTP/1.0 200 OK\r\nServer: a\r\n\r\nabc.x\n", None),
            (
                "in pieces",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc.x\r\n0\r\n\r\n",
                None,
            ),
            ("elsewhere", "HTTP/1.1 301 Moved Permanently\r\nLocation: https://a/\r\n\r\n", None),
            ("another", "HTTP/1.1 200 OK\r\n\r\nIt works!", Some("another page")),
            ("none", "HTTP/1.1 404 Not Found\r\n\r\nabc.x", Some("status 404")),
            ("nonsense", "SSH-2.0-OpenSSH_9.9\r\n", Some("what it says is no HTTP")),
        ];
        for (case, answer, expected) in cases {
            assert_eq!(instead(answer.as_bytes(), "abc.x").as_deref(), expected, "{case}");
        }
    }

    #[test]
    fn a_name_without_address_and_a_closed_port_are_told() {
        // Bound and not listening: another test that wants a port does not get this one.
        let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = held.local_addr().unwrap().as_socket().unwrap().port();
        let proof = |identifier| Proof {
            service: crate::manager::name::ServiceName::parse("example.com/web").unwrap(),
            identifier,
            kind: crate::manager::config::Validation::Http,
            token: "abc".into(),
            key_authorization: "abc.x".into(),
        };
        let closed = proof(Identifier::Ip("127.0.0.1".parse().unwrap()));
        let unknown = proof(Identifier::Dns("nothing.invalid".into()));
        let mut seen = std::collections::BTreeMap::new();
        look_at(port, &[(3, &closed), (5, &unknown)], |number, what| {
            seen.insert(number, what);
        });
        assert!(seen[&3][0].contains("127.0.0.1 does not show its token at 127.0.0.1"), "{seen:?}");
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [3, 5]);
    }
}
