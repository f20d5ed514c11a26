//! One connection: the upgrade to TLS, the handshake, and the certificate that is shown in it.
//!
//! The certificate is recorded, not judged: who issued it is not the question here. That the
//! server has its key is checked, by the signature over the handshake.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::starttls::{Dialogue, Next};
use super::{Answer, Endpoint, Fingerprint, KeyKind, Limits, Shown};
use crate::pki::inspect::Certificate;

/// How we call ourselves to mail servers; a literal needs no name that anybody could look up.
const ME: &str = "[127.0.0.1]";

/// Connects to an endpoint and takes what it shows for a kind of key. Where it shows something, the
/// connection stays open while `hold` is called.
pub fn ask(
    endpoint: &Endpoint,
    name: Option<&str>,
    kind: KeyKind,
    limits: &Limits,
    hold: impl Fn(),
) -> Answer {
    let time = if endpoint.guessed { limits.guess } else { limits.time };
    let deadline = Instant::now() + time;
    let stream = match connect(endpoint.socket(), time) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Answer::Closed,
        Err(error) => return Answer::Unknown(format!("no connection: {error}")),
    };
    let mut wire = Wire { stream, deadline, left: limits.octets };
    match converse(&mut wire, endpoint, name) {
        Ok(()) => handshake(&mut wire, endpoint, name, kind, hold),
        Err(answer) => answer,
    }
}

/// A wildcard socket is asked on the loopback of IPv6, which may be switched off.
#[expect(clippy::disallowed_methods, reason = "this is the door to servers")]
fn connect(socket: SocketAddr, time: Duration) -> io::Result<TcpStream> {
    let there = TcpStream::connect_timeout(&socket, time);
    match there {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable && socket.ip().is_loopback() => {
            let other = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), socket.port());
            TcpStream::connect_timeout(&other, time)
        }
        there => there,
    }
}

/// What is said in plain text.
fn converse(wire: &mut Wire, endpoint: &Endpoint, name: Option<&str>) -> Result<(), Answer> {
    let name = name.map_or_else(|| endpoint.address.to_string(), str::to_owned);
    let Some((mut dialogue, mut next)) = Dialogue::begin(endpoint.protocol, &name, ME) else {
        return Ok(());
    };
    let mut buffer = [0_u8; 1024];
    loop {
        match next {
            Next::Upgraded => return Ok(()),
            Next::Refused(why) => return Err(Answer::NoTls(why)),
            Next::Busy(why) => return Err(Answer::Unknown(why)),
            Next::Say(octets) => wire.write_all(&octets).map_err(|error| broken(&error))?,
            Next::Listen => {}
        }
        let length = match wire.read(&mut buffer) {
            Ok(0) => return Err(Answer::NoTls("it closed the connection before TLS began".into())),
            Ok(length) => length,
            Err(error) => return Err(broken(&error)),
        };
        next = dialogue.hear(buffer.get(..length).unwrap_or_default());
    }
}

fn handshake(
    wire: &mut Wire,
    endpoint: &Endpoint,
    name: Option<&str>,
    kind: KeyKind,
    hold: impl Fn(),
) -> Answer {
    let recorder = Arc::new(Recorder::new(kind));
    let mut connection = match client(&recorder, endpoint, name) {
        Ok(connection) => connection,
        Err(error) => return Answer::Unknown(error.to_string()),
    };
    let mut ended = Ok(());
    while ended.is_ok() && connection.is_handshaking() {
        ended = connection.complete_io(wire).map(|_| ());
    }
    let shown = recorder.into_shown();
    if shown.is_some() {
        hold();
    }
    connection.send_close_notify();
    let _ = connection.write_tls(wire);
    // A server that wants a certificate of ours breaks off only after it has shown its own.
    match (shown, ended) {
        (Some(shown), _) => Answer::Shown(Box::new(shown)),
        (None, Err(error)) => broken(&error),
        (None, Ok(())) => Answer::NoTls("it showed no certificate".into()),
    }
}

fn client(
    recorder: &Arc<Recorder>,
    endpoint: &Endpoint,
    name: Option<&str>,
) -> Result<ClientConnection, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(recorder.clone())
        .with_no_client_auth();
    // Every sample is a handshake of its own.
    config.resumption = Resumption::disabled();
    let by_address = || ServerName::IpAddress(endpoint.address.into());
    // An address is not sent as a server name (RFC 6066 section 3).
    let server = name.and_then(|name| ServerName::try_from(name.to_owned()).ok()).unwrap_or_else(by_address);
    ClientConnection::new(Arc::new(config), server)
}

/// What a connection that broke says about TLS.
fn broken(error: &io::Error) -> Answer {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return Answer::NoTls(match error {
            Error::InvalidMessage(_) => "what it says is no TLS".into(),
            Error::AlertReceived(alert) => format!("it broke the handshake off: {alert:?}"),
            Error::PeerIncompatible(_) => "it has no version of TLS in common with clients of today".into(),
            other => format!("the handshake failed: {other}"),
        });
    }
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Answer::Unknown("it did not answer in time".into()),
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => Answer::NoTls("it closed the connection instead of an answer".into()),
        ErrorKind::FileTooLarge => Answer::NoTls(error.to_string()),
        _ => Answer::Unknown(error.to_string()),
    }
}

/// A stream with a deadline for everything together and a limit of octets.
struct Wire {
    stream: TcpStream,
    deadline: Instant,
    left: usize,
}

impl Wire {
    fn remaining(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            time => Ok(Some(time)),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.remaining()?)?;
        let room = buffer.len().min(self.left);
        let Some(buffer) = buffer.get_mut(..room).filter(|buffer| !buffer.is_empty()) else {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "it sent more than a handshake takes"));
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

/// Keeps the certificates that a server shows, and whether it has the key.
#[derive(Debug)]
struct Recorder {
    kind: KeyKind,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    leaf: Vec<u8>,
    chain: usize,
    proven: bool,
}

impl Recorder {
    fn new(kind: KeyKind) -> Self {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        Self { kind, algorithms, seen: Mutex::default() }
    }

    fn prove(
        &self,
        certificate: &CertificateDer<'_>,
        verified: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = match verified {
            Err(_) if is_beyond_checking(certificate) => Ok(HandshakeSignatureValid::assertion()),
            verified => verified,
        };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).proven = verified.is_ok();
        verified
    }

    fn into_shown(self: Arc<Self>) -> Option<Shown> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.proven && !seen.leaf.is_empty()).then(|| Shown {
            fingerprint: Fingerprint::of_certificate(&seen.leaf),
            kind: self.kind,
            certificate: Certificate::from_der(&seen.leaf).ok(),
            chain: seen.chain,
        })
    }
}

/// Says whether the library cannot check a signature by this certificate: it reads X.509 v3 alone,
/// where Debian's sendmail makes v1, and no RSA key of less than 2048 bits.
fn is_beyond_checking(certificate: &CertificateDer<'_>) -> bool {
    if ParsedCertificate::try_from(certificate).is_err() {
        return true;
    }
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return true };
    matches!(certificate.public_key().parsed(), Ok(PublicKey::RSA(key)) if key.key_size() < 2048)
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Seen { leaf: leaf.to_vec(), chain: chain.len(), proven: false };
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_tls12_signature(message, certificate, signature, &self.algorithms);
        self.prove(certificate, verified)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_tls13_signature(message, certificate, signature, &self.algorithms);
        self.prove(certificate, verified)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self.kind {
            KeyKind::Elliptic | KeyKind::Host => vec![
                SignatureScheme::ECDSA_NISTP256_SHA256,
                SignatureScheme::ECDSA_NISTP384_SHA384,
                SignatureScheme::ED25519,
            ],
            KeyKind::Rsa => vec![
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::RSA_PSS_SHA384,
                SignatureScheme::RSA_PSS_SHA512,
                SignatureScheme::RSA_PKCS1_SHA256,
                SignatureScheme::RSA_PKCS1_SHA384,
                SignatureScheme::RSA_PKCS1_SHA512,
            ],
        }
    }
}
