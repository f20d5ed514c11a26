//! Which TLSA records the certificates of an instance give, and at which names.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::HostName;
use crate::manager::dane::{Record, association};
use crate::manager::inventory::model::{Certificate, Name, Objects, TlsaPrefix};

/// Octets of a name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// Octets of association data, with the three numbers before it, that fit in a record.
const MAX_DATA: usize = 65_535 - 3;

/// A certificate that is shown to clients, in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Who signed it; a certificate without is its own issuer.
    pub issuer: Option<Vec<u8>>,
}

/// The beginnings of the records of a certificate, each once.
pub fn prefixes<'a>(objects: &'a Objects, certificate: &Certificate) -> BTreeSet<&'a TlsaPrefix> {
    let known = certificate.services.iter().filter_map(|key| objects.services.get(key));
    known.map(|service| &service.tlsa).collect()
}

/// The records that show keys, by the names at which they are: every host name of the certificate with every
/// beginning. A name is there without records where no key is shown. Wildcards, addresses of mail and of hosts, and
/// whatever else is no host name have none.
///
/// # Errors
/// In words, when a certificate cannot be read, or a name or a record is longer than DNS allows.
pub fn records(
    name: &Name,
    certificate: &Certificate,
    prefixes: &BTreeSet<&TlsaPrefix>,
    shown: &[Shown],
) -> Result<BTreeMap<String, Vec<Record>>, String> {
    let mut owners: BTreeMap<String, BTreeSet<Record>> = BTreeMap::new();
    let hosts: BTreeSet<HostName> =
        std::iter::once(name).chain(certificate.names.keys()).filter_map(host).collect();
    for prefix in prefixes {
        let mut data = BTreeSet::new();
        for one in shown {
            let whose = match (prefix.usage, &one.issuer) {
                // Those two speak of an authority (RFC 6698 section 2.1.1).
                (0 | 2, Some(issuer)) => issuer,
                _ => &one.certificate,
            };
            data.insert(association(whose, prefix.selector, prefix.matching)?);
        }
        if let Some(long) = data.iter().find(|data| data.len() > MAX_DATA) {
            let octets = long.len();
            return Err(format!("{octets} octets do not fit in a TLSA record; use a digest: \"{prefix}\""));
        }
        for host in &hosts {
            let owner = prefix.owner_for(host.as_str()).to_ascii_lowercase();
            if owner.len() > MAX_NAME {
                return Err(format!("{owner} is longer than the {MAX_NAME} octets of a name"));
            }
            let records = owners.entry(owner.clone()).or_default();
            records.extend(data.iter().map(|data| Record {
                owner: owner.clone(),
                ttl: Some(prefix.ttl),
                usage: prefix.usage,
                selector: prefix.selector,
                matching: prefix.matching,
                data: data.clone(),
            }));
        }
    }
    Ok(owners.into_iter().map(|(owner, records)| (owner, once(records))).collect())
}

/// A name that can have records.
fn host(name: &Name) -> Option<HostName> {
    let host = HostName::parse(name.as_str()).ok()?;
    host.as_str().parse::<std::net::IpAddr>().is_err().then_some(host)
}

/// Each record once: of those that differ in their time to live alone the one with the shortest.
fn once(records: BTreeSet<Record>) -> Vec<Record> {
    let mut kept: Vec<Record> = Vec::new();
    for record in records {
        match kept.iter_mut().find(|known| known.is_same(&record)) {
            Some(known) => known.ttl = known.ttl.min(record.ttl),
            None => kept.push(record),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256, Sha512};

    use super::*;
    use crate::manager::inventory::model::{About, Algorithms, Kind, Service, ServiceKey, SubjectType};
    use crate::pki::{Algorithm, key::PrivateKey};

    fn der(serial: u8) -> Vec<u8> {
        let key = PrivateKey::generate(Algorithm::P256).unwrap();
        let mut what = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        what.serial_number = Some(rcgen::SerialNumber::from(vec![serial]));
        what.self_signed(&key).unwrap().der().to_vec()
    }

    fn found(
        names: &[&str],
        services: &[&str],
        shown: &[Shown],
    ) -> Result<BTreeMap<String, Vec<Record>>, String> {
        let mut objects = Objects::default();
        let mut certificate = Certificate::new(SubjectType::Server, Kind::Le, Algorithms::Both);
        for (number, prefix) in services.iter().enumerate() {
            let key: ServiceKey = format!("s{number}/1").parse().unwrap();
            let service = Service { tlsa: prefix.parse().unwrap(), about: About::default() };
            objects.services.insert(key.clone(), service);
            certificate.services.insert(key);
        }
        let names: Vec<Name> = names.iter().map(|name| Name::new(name).unwrap()).collect();
        certificate.names = names[1..].iter().map(|name| (name.clone(), About::default())).collect();
        let prefixes = prefixes(&objects, &certificate);
        records(&names[0], &certificate, &prefixes, shown)
    }

    const WEB: &str = "_443._tcp.{}. 3600 IN TLSA 3 0 1";
    const MAIL: &str = "_25._tcp.{}. 300 IN TLSA 3 1 1";

    #[test]
    fn which_names_have_records() {
        let long = format!("{}.{}.example", "a".repeat(60), "b".repeat(60));
        let longest = format!("{0}.{0}.{1}.example", "c".repeat(62), "d".repeat(60));
        type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);
        let rows: [Row<'_>; 9] = [
            ("one", &["a.example"], &[WEB], &["_443._tcp.a.example"]),
            (
                "every name, every service",
                &["a.example", "b.example"],
                &[WEB, MAIL],
                &["_25._tcp.a.example", "_25._tcp.b.example", "_443._tcp.a.example", "_443._tcp.b.example"],
            ),
            ("no services", &["a.example"], &[], &[]),
            ("two services with one beginning", &["a.example"], &[WEB, WEB], &["_443._tcp.a.example"]),
            ("written in capitals", &["A.Example", "a.example."], &[WEB], &["_443._tcp.a.example"]),
            ("wildcards", &["*.example", "b.example"], &[WEB], &["_443._tcp.b.example"]),
            ("addresses", &["192.0.2.1", "2001:db8::1", "who@a.example"], &[WEB], &[]),
            ("no host name", &["Local CA"], &[WEB], &[]),
            (
                "a long one",
                &["a.example", &long],
                &[WEB],
                &[&format!("_443._tcp.{long}"), "_443._tcp.a.example"],
            ),
        ];
        for (case, names, services, expected) in rows {
            let found = found(names, services, &[]).unwrap();
            let mut expected: Vec<&str> = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), expected, "{case}");
            assert!(found.values().all(Vec::is_empty), "{case}: nothing is shown");
        }
        let prefix = format!("_{}._tcp.{{}}. 60 IN TLSA 3 1 1", "1".repeat(60));
        let error = found(&[&longest], &[&prefix], &[]).unwrap_err();
        assert!(error.contains("longer than the 253 octets"), "{error}");
    }

    #[test]
    fn which_records_they_have() {
        let (rsa, ec, above) = (der(1), der(2), der(3));
        let own = |certificate: &Vec<u8>| Shown { certificate: certificate.clone(), issuer: None };
        let under = |certificate: &Vec<u8>| Shown { issuer: Some(above.clone()), ..own(certificate) };
        let sha = |data: &[u8]| Sha256::digest(data).to_vec();
        type Row<'a> = (&'a str, &'a [&'a str], Vec<Shown>, Vec<Vec<u8>>);
        let rows: [Row<'_>; 8] = [
            ("one key", &[WEB], vec![own(&rsa)], vec![sha(&rsa)]),
            ("both keys of a pair", &[WEB], vec![own(&rsa), own(&ec)], vec![sha(&rsa), sha(&ec)]),
            ("one key in two instances", &[WEB], vec![own(&rsa), own(&rsa)], vec![sha(&rsa)]),
            (
                "the whole and SHA-512",
                &["_443._tcp.{}. 60 IN TLSA 3 0 0", "_443._tcp.{}. 60 IN TLSA 3 0 2"],
                vec![own(&rsa)],
                vec![rsa.clone(), Sha512::digest(&rsa).to_vec()],
            ),
            ("an issuer", &["_443._tcp.{}. 60 IN TLSA 2 0 1"], vec![under(&rsa)], vec![sha(&above)]),
            ("its own issuer", &["_443._tcp.{}. 60 IN TLSA 2 0 1"], vec![own(&rsa)], vec![sha(&rsa)]),
            ("its own, though there is an issuer", &[WEB], vec![under(&rsa)], vec![sha(&rsa)]),
            (
                "one issuer of two keys",
                &["_443._tcp.{}. 60 IN TLSA 2 0 1"],
                vec![under(&rsa), under(&ec)],
                vec![sha(&above)],
            ),
        ];
        for (case, services, shown, mut expected) in rows {
            let found = found(&["a.example"], services, &shown).unwrap();
            let mut data: Vec<Vec<u8>> =
                found["_443._tcp.a.example"].iter().map(|record| record.data.clone()).collect();
            data.sort();
            expected.sort();
            assert_eq!(data, expected, "{case}");
        }
        let times = ["_443._tcp.{}. 3600 IN TLSA 3 0 1", "_443._tcp.{}. 60 IN TLSA 3 0 1"];
        let found = found(&["a.example"], &times, &[own(&rsa)]).unwrap();
        let ttls: Vec<_> = found["_443._tcp.a.example"].iter().map(|record| record.ttl).collect();
        assert_eq!(ttls, [Some(60)], "the same record is there once, with the shorter time");
        let garbage = Shown { certificate: b"x".to_vec(), issuer: None };
        assert!(super::tests::found(&["a.example"], &[WEB], &[garbage]).unwrap_err().contains("not a cert"));
    }
}
