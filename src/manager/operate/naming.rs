//! Which names stand in a certificate of the inventory: its own first, then the others.

use crate::identity::HostName;
use crate::manager::config::{AlternativeName, Subject, alternative_name};
use crate::manager::inventory::model::{Certificate, Name, SubjectType};

/// Characters that a common name may have (RFC 5280 appendix A.1).
const LONGEST: usize = 64;

/// The subject and the names of the SAN.
///
/// # Errors
/// In words, when a name cannot stand there.
pub fn names(name: &Name, certificate: &Certificate) -> Result<(Subject, Vec<AlternativeName>), String> {
    let mut found = Vec::new();
    for one in std::iter::once(name).chain(certificate.names.keys()) {
        let named = match certificate.subject {
            SubjectType::Client => client(one.as_str()),
            _ => Some(alternative_name(one.as_str())?),
        };
        found.extend(named.filter(|named| !found.contains(named)));
    }
    // What is too long for it stands in the SAN, where clients look.
    let fits = name.as_str().chars().count() <= LONGEST || found.is_empty();
    let common_name = if fits { name.as_str().to_owned() } else { String::new() };
    Ok((Subject { common_name, ..Subject::default() }, found))
}

/// A client may be a person, a machine or just somebody: only what is a mailbox becomes one, and what is neither
/// that nor a name of DNS is the common name alone.
fn client(text: &str) -> Option<AlternativeName> {
    match text.split_once('@') {
        Some((local, host)) => {
            let is_mailbox = !local.is_empty()
                && local.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'@')
                && HostName::parse(host).is_ok();
            is_mailbox.then(|| AlternativeName::Email(text.to_owned()))
        }
        None => alternative_name(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::inventory::model::{About, Algorithms, Kind};

    #[test]
    fn a_client_without_an_address_gets_no_rfc822_name() {
        type Row<'a> = (&'a str, SubjectType, &'a [&'a str], Result<&'a [&'a str], &'a str>);
        let rows: [Row<'_>; 9] = [
            (
                "a server",
                SubjectType::Server,
                &["www.example", "b.example"],
                Ok(&["DNS www.example", "DNS b.example"]),
            ),
            (
                "an address",
                SubjectType::Server,
                &["www.example", "192.0.2.1"],
                Ok(&["DNS www.example", "IP 192.0.2.1"]),
            ),
            ("a wildcard", SubjectType::Server, &["*.example.org"], Ok(&["DNS *.example.org"])),
            ("no server", SubjectType::Server, &["a server"], Err("a server")),
            ("a person", SubjectType::Client, &["jo@example.org"], Ok(&["MAIL jo@example.org"])),
            (
                "a machine",
                SubjectType::Client,
                &["client1.example", "ops@example.org"],
                Ok(&["DNS client1.example", "MAIL ops@example.org"]),
            ),
            ("a short name", SubjectType::Client, &["client1"], Ok(&["DNS client1"])),
            ("somebody", SubjectType::Client, &["Jo Doe"], Ok(&[])),
            ("half a mailbox", SubjectType::Client, &["@example.org"], Ok(&[])),
        ];
        for (case, subject, texts, expected) in rows {
            let parsed: Vec<Name> = texts.iter().map(|text| Name::new(text).unwrap()).collect();
            let mut certificate = Certificate::new(subject, Kind::Local, Algorithms::Rsa);
            certificate.names = parsed[1..].iter().map(|name| (name.clone(), About::default())).collect();
            let shown = |name: &AlternativeName| match name {
                AlternativeName::Dns(name) => format!("DNS {name}"),
                AlternativeName::Address(address) => format!("IP {address}"),
                AlternativeName::Email(mailbox) => format!("MAIL {mailbox}"),
            };
            match (names(&parsed[0], &certificate), expected) {
                (Ok((subject, found)), Ok(expected)) => {
                    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected, "{case}");
                    assert_eq!(subject.common_name, texts[0], "{case}");
                }
                (Err(error), Err(part)) => assert!(error.contains(part), "{case}: {error}"),
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_long_name_stands_in_the_san_alone() {
        let label = "a".repeat(60);
        let name = Name::new(&format!("{label}.example.org")).unwrap();
        let certificate = Certificate::new(SubjectType::Server, Kind::Local, Algorithms::Rsa);
        let (subject, found) = names(&name, &certificate).unwrap();
        assert_eq!((subject.common_name.as_str(), found.len()), ("", 1));
    }
}
