//! tls-alpn-01: a handshake for one name, by one protocol, that shows a certificate with the digest of the key
//! authorization in it (RFC 8737; for addresses RFC 8738 section 6).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, SanType, SerialNumber};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{ServerConfig, ServerConnection};
use time::{Duration, OffsetDateTime};

use super::{Serve, Wire};
use crate::manager::acme::{Identifier, Proof};
use crate::pki::key::PrivateKey;
use crate::pki::{Algorithm, Container};

/// The protocol's name in the handshake.
const PROTOCOL: &[u8] = b"acme-tls/1";
/// How far the clocks of authorities may be from ours.
const SLACK: Duration = Duration::days(2);

/// The certificates that are shown, and the server that shows them.
pub struct Certificates {
    key: PrivateKey,
    signing: Arc<dyn SigningKey>,
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    now: OffsetDateTime,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificates(of {:?}, key elided)", self.shown.names().keys().collect::<Vec<_>>())
    }
}

impl Certificates {
    /// None yet, with one new key for all that will be.
    ///
    /// # Errors
    /// In words, when no key can be made.
    pub fn new(now: OffsetDateTime) -> Result<Self, String> {
        let key = PrivateKey::generate(Algorithm::P256).map_err(|error| error.to_string())?;
        let text = key.to_pem(Container::Pkcs8).map_err(|error| error.to_string())?;
        let block = pem::parse(text.reveal()).map_err(|error| error.to_string())?;
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(block.into_contents()));
        let provider = ring::default_provider();
        let signing = provider.key_provider.load_private_key(secret).map_err(|error| error.to_string())?;
        let shown = Arc::new(Shown::default());
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // A handshake that resumes another shows no certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { key, signing, config: Arc::new(config), shown, now })
    }

    /// Shows a certificate for a proof.
    ///
    /// # Errors
    /// In words: for a wildcard, which cannot be proven so, and while another proof of the same name is shown,
    /// because a handshake has room for one.
    pub fn show(&self, proof: &Proof) -> Result<(), String> {
        if proof.identifier.is_wildcard() {
            return Err(format!("{} is a wildcard: only dns-01 proves it", proof.identifier));
        }
        let name = server_name(&proof.identifier);
        let mut names = self.shown.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.get(&name).is_some_and(|(token, _)| *token != proof.token) {
            return Err(format!(
                "{} is just being proven by tls-alpn-01 for another certificate, and that goes one after \
                 the other; the next run does this one",
                proof.identifier
            ));
        }
        let certificate = self.certificate(proof).map_err(|error| error.to_string())?;
        let certified = CertifiedKey::new(vec![certificate], Arc::clone(&self.signing));
        names.insert(name, (proof.token.clone(), Arc::new(certified)));
        Ok(())
    }

    /// Shows it no longer; says whether none is left.
    pub fn hide(&self, proof: &Proof) -> bool {
        let mut names = self.shown.names.write().unwrap_or_else(PoisonError::into_inner);
        let name = server_name(&proof.identifier);
        if names.get(&name).is_some_and(|(token, _)| *token == proof.token) {
            names.remove(&name);
        }
        names.is_empty()
    }

    /// RFC 8737 section 3: self-signed, one name, and the critical extension.
    fn certificate(&self, proof: &Proof) -> Result<CertificateDer<'static>, rcgen::Error> {
        let digest = proof.digest();
        let mut params = CertificateParams::default();
        // Another one for each proof; at most 20 octets (RFC 5280 section 4.1.2.2).
        let serial: Vec<u8> = digest.iter().copied().take(16).collect();
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![match &proof.identifier {
            Identifier::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Identifier::Ip(address) => SanType::IpAddress(*address),
        }];
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
        (params.not_before, params.not_after) = (self.now - SLACK, self.now + SLACK);
        Ok(params.self_signed(&self.key)?.der().clone())
    }
}

impl Serve for Certificates {
    fn serve(&self, wire: &mut Wire) {
        let Ok(mut connection) = ServerConnection::new(Arc::clone(&self.config)) else { return };
        while connection.is_handshaking() {
            if connection.complete_io(wire).is_err() {
                // The alert that says why.
                let _ = connection.write_tls(wire);
                return;
            }
        }
        connection.send_close_notify();
        let _ = connection.write_tls(wire);
    }
}

/// What a client asks for in the handshake: the name, or the one that stands for an address in reverse lookups.
pub fn server_name(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Dns(name) => name.to_ascii_lowercase(),
        Identifier::Ip(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Identifier::Ip(IpAddr::V6(address)) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

/// Certificates by what is asked for, each with the token of its proof.
#[derive(Debug, Default)]
struct Shown {
    names: RwLock<BTreeMap<String, (String, Arc<CertifiedKey>)>>,
}

impl Shown {
    fn names(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, (String, Arc<CertifiedKey>)>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Shown {
    /// Nothing, and with that no handshake, for a client that does not speak the protocol.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.alpn()?.find(|protocol| *protocol == PROTOCOL)?;
        let name = hello.server_name()?.to_ascii_lowercase();
        self.names().get(&name).map(|(_, certified)| Arc::clone(certified))
    }
}
