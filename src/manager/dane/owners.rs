//! For which names there are TLSA records: `_port._protocol.host` (RFC 6698 section 3).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Record, association};
use crate::identity::HostName;
use crate::manager::config::{AlternativeName, Dane, DaneHosts};

/// The port of mail transport, where a client looks for the records of the exchanger (RFC 7672).
const SMTP: u16 = 25;
/// Octets of a name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// Octets of association data, with the three numbers before it, that fit in a record.
const MAX_DATA: usize = 65_535 - 3;

/// The records of one certificate: for the apex, and as each entry says for every mail exchanger or every
/// host of the SAN; no name twice, no addresses, no wildcards.
///
/// `chain` is DER, the certificate first, then who issued it. Usages 0 and 2 speak of an authority (RFC 6698
/// section 2.1.1), which is the issuer; a self-signed certificate is its own.
///
/// # Errors
/// In words, when the certificate cannot be read, a name does not fit, or an entry is not of RFC 6698.
pub fn records(
    apex: &str,
    ttl: Option<u32>,
    entries: &[Dane],
    sans: &[AlternativeName],
    exchangers: &[String],
    chain: &[&[u8]],
) -> Result<Vec<Record>, String> {
    let apex = HostName::parse(apex).map_err(|error| error.to_string())?;
    let mut records: Vec<Record> = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in entries {
        let certificate = match entry.usage {
            0 | 2 => chain.get(1).or(chain.first()),
            1 | 3 => chain.first(),
            usage => return Err(format!("{usage} is no certificate usage of TLSA: 0 to 3")),
        };
        let certificate = certificate.ok_or("there is no certificate for the TLSA records")?;
        let data = association(certificate, entry.selector, entry.matching)?;
        if data.len() > MAX_DATA {
            return Err(format!("{} octets do not fit in a TLSA record; use a digest", data.len()));
        }
        for host in names(entry, &apex, sans, exchangers) {
            let record = Record {
                owner: owner(entry, &host)?,
                ttl,
                usage: entry.usage,
                selector: entry.selector,
                matching: entry.matching,
                data: data.clone(),
            };
            if seen.insert(record.clone()) {
                records.push(record);
            }
        }
    }
    Ok(records)
}

/// The apex first, then the others in their order.
fn names(entry: &Dane, apex: &HostName, sans: &[AlternativeName], exchangers: &[String]) -> Vec<HostName> {
    let others: Vec<&str> = if entry.port == SMTP || entry.hosts == DaneHosts::Mx {
        exchangers.iter().map(String::as_str).collect()
    } else {
        let names = sans.iter().filter_map(|san| match san {
            AlternativeName::Dns(name) => Some(name.as_str()),
            AlternativeName::Address(_) | AlternativeName::Email(_) => None,
        });
        names.collect()
    };
    let mut hosts = vec![apex.clone()];
    for host in others.into_iter().filter_map(host) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// A name that can have records: neither wildcard nor address, nor the root, which says in an MX record that
/// the domain takes no mail (RFC 7505).
fn host(name: &str) -> Option<HostName> {
    let host = HostName::parse(name).ok()?;
    host.as_str().parse::<IpAddr>().is_err().then_some(host)
}

fn owner(entry: &Dane, host: &HostName) -> Result<String, String> {
    let Dane { port, protocol, .. } = entry;
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("\"{}\" is no protocol of TLSA: tcp, udp or sctp", protocol.escape_debug()));
    }
    let owner = format!("_{port}._{protocol}.{host}");
    if owner.len() > MAX_NAME {
        return Err(format!("{owner} is longer than the {MAX_NAME} octets of a name"));
    }
    Ok(owner)
}

/// The hosts that have records for a port: who was a mail exchanger when these were published. They stand in
/// for an answer of DNS that cannot be had.
pub fn hosts(records: &[Record], port: u16, protocol: &str) -> Vec<String> {
    let prefix = format!("_{port}._{protocol}.");
    let hosts: BTreeSet<&str> =
        records.iter().filter_map(|record| record.owner.strip_prefix(&prefix)).collect();
    hosts.into_iter().map(str::to_owned).collect()
}
