//! What a file holds that somebody sent: certificates, requests, lists, keys, in any of the wrappings in
//! which authorities and administrators pass them on.

mod chain;
mod signed_data;
#[cfg(test)]
mod tests;

use std::fmt;

use der::asn1::ObjectIdentifier;
use der::{Reader, SliceReader, Tag, Tagged};
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs8::EncodePublicKey;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::revocation_list::CertificateRevocationList;

use super::armor;
use super::key::PrivateKey;
use super::path::Node;
use super::x509::signed;

pub use chain::{Chain, chain};

/// Everything that was found, in its order and each thing once; DER where nothing else is said.
#[derive(Debug, Default)]
pub struct Bundle {
    /// Certificates.
    pub certificates: Vec<Vec<u8>>,
    /// Requests for certificates.
    pub requests: Vec<Vec<u8>>,
    /// Lists of revoked certificates.
    pub lists: Vec<Vec<u8>>,
    /// Private keys.
    pub keys: Vec<PrivateKey>,
    /// Public keys, as `subjectPublicKeyInfo`.
    pub public_keys: Vec<Vec<u8>>,
    /// The lines at which there are private keys under a password, counted from 1; 0 without lines.
    pub encrypted: Vec<usize>,
    /// What could not be read.
    pub troubles: Vec<Trouble>,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The line where it begins, counted from 1; 0 when the whole is meant.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

/// Reads PEM with anything around its blocks, or DER. What is damaged stops nothing else.
pub fn read(content: &[u8]) -> Bundle {
    let mut bundle = Bundle::default();
    let blocks = armor::blocks(content);
    for block in &blocks {
        let message = match &block.body {
            _ if block.encrypted && block.label.ends_with("PRIVATE KEY") => {
                bundle.encrypted.push(block.line);
                continue;
            }
            Ok(body) => bundle.take_block(&block.label, body),
            Err(why) => Err(why.clone()),
        };
        if let Err(why) = message {
            let message = format!("the block \"{}\" {why}", block.label.escape_debug());
            bundle.troubles.push(Trouble { line: block.line, message });
        }
    }
    if blocks.is_empty() {
        bundle.take_octets(content);
    }
    bundle
}

impl Bundle {
    /// Says whether nothing was found, not even something damaged.
    pub fn is_empty(&self) -> bool {
        let Self { certificates, requests, lists, keys, public_keys, encrypted, troubles } = self;
        [certificates, requests, lists, public_keys].into_iter().all(Vec::is_empty)
            && keys.is_empty()
            && encrypted.is_empty()
            && troubles.is_empty()
    }

    fn take_block(&mut self, label: &str, body: &[u8]) -> Result<(), String> {
        let taken = match label {
            // Some programs write a whole PKCS#7 below the label of a single certificate. What OpenSSL
            // trusts has a second part after the certificate, of no use to others.
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                self.certificate(body) || self.signed_data(body)?
            }
            "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => self.signed_data(body)?,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => self.request(body),
            "X509 CRL" => self.list(body),
            "PUBLIC KEY" => self.public_key(body),
            "RSA PUBLIC KEY" => self.rsa_public_key(body),
            "DH PARAMETERS" | "X9.42 DH PARAMETERS" | "EC PARAMETERS" => true,
            label if label.ends_with("PRIVATE KEY") => match PrivateKey::from_der(label, body) {
                Ok(key) => self.key(key),
                Err(error) => return Err(format!("is {error}")),
            },
            _ => return Err("is of no kind that is known here".to_owned()),
        };
        if taken { Ok(()) } else { Err("is damaged: what it holds is not what its label says".to_owned()) }
    }

    /// DER, one thing after the other.
    fn take_octets(&mut self, content: &[u8]) {
        if content.trim_ascii().is_empty() {
            return;
        }
        let mut rest = content;
        while !rest.is_empty() {
            let Some(whole) = first(rest) else {
                let message = "neither PEM nor DER; of DER with indefinite lengths (BER), make PEM first";
                self.troubles.push(Trouble { line: 0, message: message.to_owned() });
                return;
            };
            if let Err(message) = self.take_one(whole) {
                self.troubles.push(Trouble { line: 0, message });
                return;
            }
            rest = rest.get(whole.len()..).unwrap_or_default();
        }
    }

    fn take_one(&mut self, der: &[u8]) -> Result<(), String> {
        if self.certificate(der) || self.list(der) || self.request(der) || self.public_key(der) {
            return Ok(());
        }
        let labels = ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"];
        if let Some(key) = labels.iter().find_map(|label| PrivateKey::from_der(label, der).ok()) {
            self.key(key);
        } else if is_encrypted_key(der) {
            self.encrypted.push(0);
        } else if is_pkcs12(der) {
            return Err(
                "a PKCS#12 file; take it apart first: openssl pkcs12 -in FILE -nodes -out NEW".to_owned()
            );
        } else if !self.rsa_public_key(der) && !self.signed_data(der)? {
            return Err("DER of no kind that is known here".to_owned());
        }
        Ok(())
    }

    fn certificate(&mut self, der: &[u8]) -> bool {
        let Some(whole) = first(der).filter(|whole| Node::read(whole).is_ok()) else {
            return false;
        };
        once(&mut self.certificates, whole)
    }

    fn request(&mut self, der: &[u8]) -> bool {
        signed::is_whole(der)
            && X509CertificationRequest::from_der(der).is_ok()
            && once(&mut self.requests, der)
    }

    fn list(&mut self, der: &[u8]) -> bool {
        signed::is_whole(der)
            && CertificateRevocationList::from_der(der).is_ok()
            && once(&mut self.lists, der)
    }

    fn public_key(&mut self, der: &[u8]) -> bool {
        SubjectPublicKeyInfo::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
            && once(&mut self.public_keys, der)
    }

    fn rsa_public_key(&mut self, der: &[u8]) -> bool {
        let key = rsa::RsaPublicKey::from_pkcs1_der(der).ok();
        let spki = key.and_then(|key| key.to_public_key_der().ok());
        spki.is_some_and(|spki| once(&mut self.public_keys, spki.as_bytes()))
    }

    fn key(&mut self, key: PrivateKey) -> bool {
        if !self.keys.iter().any(|other| other.public_digest() == key.public_digest()) {
            self.keys.push(key);
        }
        true
    }

    fn signed_data(&mut self, der: &[u8]) -> Result<bool, String> {
        let Some(parts) = signed_data::read(der)? else { return Ok(false) };
        let mut damaged = 0;
        for certificate in parts.certificates {
            damaged += usize::from(!self.certificate(certificate));
        }
        for list in parts.lists {
            damaged += usize::from(!self.list(list));
        }
        if damaged == 0 {
            Ok(true)
        } else {
            Err(format!("has {damaged} parts that are damaged or not known here"))
        }
    }
}

fn once(all: &mut Vec<Vec<u8>>, one: &[u8]) -> bool {
    if !all.iter().any(|other| other == one) {
        all.push(one.to_vec());
    }
    true
}

/// The first whole value of DER.
fn first(der: &[u8]) -> Option<&[u8]> {
    SliceReader::new(der).ok()?.tlv_bytes().ok()
}

/// `EncryptedPrivateKeyInfo` (RFC 5958 section 3): an algorithm that is based on a password, and octets.
fn is_encrypted_key(der: &[u8]) -> bool {
    let algorithm = || -> Option<ObjectIdentifier> {
        let outer = signed_data::parts(der).ok()?;
        let inner = signed_data::parts(outer.first()?.value()).ok()?;
        let [algorithm, octets] = inner.as_slice() else { return None };
        (octets.tag() == Tag::OctetString).then_some(())?;
        signed_data::parts(algorithm.value()).ok()?.first()?.decode_as().ok()
    };
    // PKCS#5 and the older ways of PKCS#12.
    let password_based = ["1.2.840.113549.1.5.", "1.2.840.113549.1.12.1."];
    algorithm().is_some_and(|oid| password_based.iter().any(|arc| oid.to_string().starts_with(arc)))
}

/// `PFX` (RFC 7292 section 4): begins with version 3.
fn is_pkcs12(der: &[u8]) -> bool {
    let version = || -> Option<u8> {
        let outer = signed_data::parts(der).ok()?;
        signed_data::parts(outer.first()?.value()).ok()?.first()?.decode_as().ok()
    };
    version() == Some(3)
}
