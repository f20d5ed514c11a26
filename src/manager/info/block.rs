//! From the octets of a file to its blocks.

use time::OffsetDateTime;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Described, Fields, certificate, key};
use crate::pki::armor::{self, Block};
use crate::pki::bundle::{self, Bundle};

/// Says what is in a file. Never nothing: a file without anything known is one block with a fault.
pub fn describe(content: &[u8], now: OffsetDateTime) -> Vec<Described> {
    let blocks = armor::blocks(content);
    let described: Vec<Described> = match blocks.is_empty() {
        true => octets(content, now),
        false => blocks.iter().flat_map(|block| one(block, now)).collect(),
    };
    if described.is_empty() { vec![Described::faulty("file", "there is nothing in it")] } else { described }
}

fn one(block: &Block, now: OffsetDateTime) -> Vec<Described> {
    let described = match &block.body {
        Err(why) => vec![Described::faulty(&plain(&block.label), why)],
        Ok(_) if block.encrypted => vec![locked()],
        Ok(body) if is_wrapped(&block.label, body) => wrapped(body, now),
        Ok(body) => vec![labelled(&block.label, body, now)],
    };
    described.into_iter().map(|described| described.at(block.line)).collect()
}

fn locked() -> Described {
    Described::new("private key under a password", Fields::default())
}

/// Some programs write a whole PKCS#7 below the label of a certificate.
fn is_wrapped(label: &str, body: &[u8]) -> bool {
    let is_certificate = || X509Certificate::from_der(body).is_ok();
    match label {
        "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => true,
        "CERTIFICATE" => !is_certificate() && !bundle::read(body).certificates.is_empty(),
        _ => false,
    }
}

fn wrapped(body: &[u8], now: OffsetDateTime) -> Vec<Described> {
    let inside = octets(body, now);
    let found = inside.iter().filter(|one| one.fault.is_none()).count();
    let mut fields = Fields::default();
    fields.text("Holds", if found == 1 { "1 block".to_owned() } else { format!("{found} blocks") });
    [Described::new("PKCS#7", fields)].into_iter().chain(inside).collect()
}

/// DER.
fn octets(content: &[u8], now: OffsetDateTime) -> Vec<Described> {
    let Bundle { certificates, requests, lists, keys, public_keys, encrypted, troubles } =
        bundle::read(content);
    let certificates = certificates.iter().map(|der| certificate::certificate("certificate", der, now));
    let requests = requests.iter().map(|der| certificate::request(der));
    let lists = lists.iter().map(|der| certificate::revocations(der, now));
    let keys = keys.iter().map(key::known);
    let public_keys = public_keys.iter().map(|der| key::public(der));
    let encrypted = encrypted.iter().map(|_| locked());
    let found: Vec<Described> =
        certificates.chain(requests).chain(lists).chain(keys).chain(public_keys).chain(encrypted).collect();
    if found.is_empty()
        && let Some(rare) = rare(content)
    {
        return vec![rare];
    }
    found
        .into_iter()
        .chain(troubles.iter().map(|trouble| Described::faulty("file", trouble.to_string())))
        .collect()
}

/// DER of kinds that this program can make nothing of but their names.
fn rare(content: &[u8]) -> Option<Described> {
    let private = ["PRIVATE KEY", "DSA PRIVATE KEY"].iter().map(|label| key::private(label, content));
    private.chain([key::dh(content)]).find(|described| described.fault.is_none())
}

/// By the label of PEM (RFC 7468, and those of OpenSSL).
fn labelled(label: &str, body: &[u8], now: OffsetDateTime) -> Described {
    match label {
        "CERTIFICATE" | "X509 CERTIFICATE" => certificate::certificate("certificate", body, now),
        "TRUSTED CERTIFICATE" => certificate::certificate("certificate with trust", body, now),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => certificate::request(body),
        "X509 CRL" => certificate::revocations(body, now),
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "DSA PRIVATE KEY" => key::private(label, body),
        "OPENSSH PRIVATE KEY" => key::openssh(body),
        "PUBLIC KEY" => key::public(body),
        "RSA PUBLIC KEY" => key::public_rsa(body),
        "DH PARAMETERS" | "X9.42 DH PARAMETERS" => key::dh(body),
        "EC PARAMETERS" => key::curve(body),
        "DSA PARAMETERS" => key::dsa(body),
        other => Described::new(&plain(other), Fields::default()),
    }
}

/// A label as the kind of a block.
fn plain(label: &str) -> String {
    format!("block \"{}\"", label.escape_debug())
}
