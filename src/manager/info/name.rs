//! Names as people read them.

use std::net::IpAddr;

use x509_parser::prelude::{GeneralName, X509Name};
use x509_parser::x509::AttributeTypeAndValue;

/// A distinguished name as a string (RFC 4514): the most particular part first.
pub(super) fn distinguished(name: &X509Name<'_>) -> String {
    let parts: Vec<String> =
        name.iter_rdn().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let name = SHORT.iter().find(|(id, _)| *id == oid).map_or(oid.as_str(), |(_, name)| name);
    let value = match attribute.as_str() {
        Ok(text) => escaped(text),
        Err(_) => format!("#{}", super::key::hexadecimal(attribute.as_slice())),
    };
    format!("{name}={value}")
}

/// RFC 4514 section 2.4.
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.chars().enumerate() {
        let outer_blank = c == ' ' && (at == 0 || at == last);
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') || outer_blank || (c == '#' && at == 0) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// RFC 4519 and RFC 2985.
const SHORT: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// One of the SAN: hosts and addresses bare, everything else with its kind.
pub(super) fn alternative(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(octets) => address(octets),
        GeneralName::RFC822Name(name) => format!("email:{name}"),
        GeneralName::URI(name) => format!("URI:{name}"),
        GeneralName::DirectoryName(name) => format!("DirName:{}", distinguished(name)),
        GeneralName::RegisteredID(oid) => format!("RID:{oid}"),
        other => other.to_string(),
    }
}

/// Of a host, or, twice as long, of a network in name constraints.
fn address(octets: &[u8]) -> String {
    let one = |octets: &[u8]| {
        <[u8; 4]>::try_from(octets)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
            .map(|address| address.to_string())
    };
    let network = || {
        let (network, mask) = octets.split_at_checked(octets.len() / 2)?;
        Some(format!("{}/{}", one(network).ok()?, one(mask).ok()?))
    };
    one(octets).ok().or_else(network).unwrap_or_else(|| "an address of an unknown kind".to_owned())
}
