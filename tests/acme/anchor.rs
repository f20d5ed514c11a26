//! Who signs what servers of the bed show: a root in memory, and what it signs.

use std::collections::BTreeSet;

use reseed::pki::key::PrivateKey;
use reseed::pki::serial::Serial;
use reseed::pki::x509::{AlternativeName, Issuer, Name, Profile, Role, issue};
use reseed::pki::{Algorithm, Container, Digest, Usage};
use time::{Duration, OffsetDateTime};

/// An authority with its key.
pub struct Authority {
    key: PrivateKey,
    pub der: Vec<u8>,
}

impl Authority {
    /// One that signs itself.
    pub fn root(name: &str) -> Self {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let role = Role::Root { path_len: None };
        let der =
            sign(name, &[], &role, Duration::days(3000), &key.spki_der().unwrap(), Issuer::Itself(&key));
        Self { key, der }
    }

    /// One whose certificates have a second issuer above them: the same name and key, signed by another root.
    pub fn below(&self, name: &str, other: &Self) -> (Self, Vec<u8>) {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let role = Role::Intermediate { path_len: 0 };
        let public = key.spki_der().unwrap();
        let by = |root: &Self| sign(name, &[], &role, Duration::days(2000), &public, root.issuer());
        let (der, crossed) = (by(self), by(other));
        (Self { key, der }, crossed)
    }

    /// A leaf for these names and this public key.
    pub fn leaf(&self, names: &[AlternativeName], public: &[u8], lifetime: Duration) -> Vec<u8> {
        let role = Role::Leaf { usages: BTreeSet::from([Usage::Server]) };
        let common =
            names.first().map(ToString::to_string).filter(|name| name.len() <= 64).unwrap_or_default();
        sign(&common, names, &role, lifetime, public, self.issuer())
    }

    /// A server's key and certificate, in PEM.
    pub fn server(&self, names: &[&str]) -> (String, String) {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let names: Vec<AlternativeName> = names.iter().map(|name| alternative(name)).collect();
        let der = self.leaf(&names, &key.spki_der().unwrap(), Duration::days(30));
        let secret = key.to_pem(Container::Pkcs8).unwrap();
        (String::from_utf8(secret.reveal().to_vec()).unwrap(), pem(&der))
    }

    pub fn pem(&self) -> String {
        pem(&self.der)
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer::Authority { certificate: &self.der, key: &self.key }
    }
}

/// A name of a SAN.
pub fn alternative(name: &str) -> AlternativeName {
    match name.parse() {
        Ok(address) => AlternativeName::Address(address),
        Err(_) => AlternativeName::Dns(name.to_owned()),
    }
}

pub fn pem(der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), config)
}

fn sign(
    name: &str,
    alternative_names: &[AlternativeName],
    role: &Role,
    lifetime: Duration,
    public: &[u8],
    issuer: Issuer<'_>,
) -> Vec<u8> {
    let mut random = [0; 20];
    getrandom::fill(&mut random).unwrap();
    let subject = Name { common_name: name.to_owned(), ..Name::default() };
    let now = OffsetDateTime::now_utc();
    let profile = Profile {
        subject: &subject,
        alternative_names,
        role,
        serial: Serial::next(None, None, random),
        now,
        backdate: Duration::hours(1),
        not_after: now + lifetime,
    };
    issue(&profile, public, issuer, Digest::Sha256).unwrap().der
}
