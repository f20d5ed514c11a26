//! What a host shows once it has been told, compared with what it was given. A program that says that it has
//! reloaded may still show the old certificate; then the old TLSA records have to stay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use super::parcel;
use super::stock::Stock;
use crate::manager::config::{Probe, Servers};
use crate::manager::lineage::version::CERTIFICATE;
use crate::manager::name::ServiceName;
use crate::manager::tree::Tree;
use crate::pki::container;
use crate::pki::inspect::Certificate;
use crate::probe::{Answer, Effort, Endpoint, Fingerprint, Prober, Shown};
use crate::system::clock;

/// How long is waited for a server that takes a moment to take up the new.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// Of more names than this each is asked for once only, not until every worker has been met.
const MANY: usize = 4;

/// What the servers of a table should show.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The names for which they are asked: one of each certificate.
    names: BTreeSet<String>,
    /// What they were given.
    current: BTreeSet<Fingerprint>,
    /// What they were given before, in words.
    former: BTreeMap<Fingerprint, String>,
}

impl Expected {
    /// By what production has for a table, and by the older versions in the state tree.
    pub fn of(servers: &Servers, stock: &Stock, tree: &Tree<'_>) -> Self {
        let mut expected = Self::default();
        let wanted = stock.services.iter().filter(|(name, _)| !name.is_ca() && parcel::wants(servers, name));
        for (name, copies) in wanted {
            let text = copies.curr.iter().find(|file| file.name == CERTIFICATE);
            let Some((fingerprint, certificate)) = text.and_then(|file| leaf(file.content.reveal())) else {
                continue;
            };
            expected.names.extend(asked(&certificate));
            expected.current.insert(fingerprint);
            expected.former.extend(former(tree, name));
        }
        expected
    }

    /// Asks a host until all that it shows is what it was given, for a short while.
    ///
    /// # Errors
    /// In words: what it shows instead.
    pub fn check(&self, host: &str, probes: &[Probe]) -> Result<(), String> {
        let prober = Prober::network();
        let effort = if self.names.len() > MANY { Effort::Glance } else { Effort::Thorough };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let mut places = Vec::new();
        for probe in probes {
            places.push(addresses(host, *probe)?);
        }
        let begun = Instant::now();
        loop {
            let look = || {
                places.iter().try_for_each(|endpoints| {
                    self.names.iter().try_for_each(|name| {
                        let answers = (prober.ask)(endpoints, Some(name), effort);
                        self.judge(name, endpoints, &answers)
                    })
                })
            };
            match look() {
                Err(_) if begun.elapsed() < PATIENCE => clock::pause(PAUSE),
                found => return found,
            }
        }
    }

    /// Judges the answers of the addresses of one port.
    fn judge(&self, name: &str, endpoints: &[Endpoint], answers: &[Vec<Answer>]) -> Result<(), String> {
        let mut shows = false;
        let mut silence = Err(format!("nobody was asked for {name}"));
        for (endpoint, answers) in endpoints.iter().zip(answers) {
            for answer in answers {
                let said = match answer {
                    Answer::Shown(shown) if self.current.contains(&shown.fingerprint) => {
                        shows = true;
                        continue;
                    }
                    Answer::Shown(shown) => {
                        return Err(format!("{endpoint} shows {name} {}", self.other(shown)));
                    }
                    Answer::NoTls(reason) => format!("no TLS: {reason}"),
                    Answer::Closed => "nobody listens".to_owned(),
                    Answer::Unknown(reason) => reason.clone(),
                };
                silence = Err(format!("{endpoint}: {said}"));
            }
        }
        // An address that cannot be reached from here is nobody's who can be reached by another.
        if shows { Ok(()) } else { silence }
    }

    fn other(&self, shown: &Shown) -> String {
        if let Some(former) = self.former.get(&shown.fingerprint) {
            return format!("an older certificate still: {former}");
        }
        match &shown.certificate {
            Some(certificate) => format!(
                "a certificate that is none of ours: {}, until {}",
                certificate.subject_line(),
                certificate.not_after.date()
            ),
            None => "a certificate that is none of ours".to_owned(),
        }
    }
}

/// A name for which a server would show a certificate; of a wildcard, one that it covers.
fn asked(certificate: &Certificate) -> Option<String> {
    let names = &certificate.dns_names;
    let plain = names.iter().find(|name| !name.starts_with("*."));
    let name = plain.or(names.first())?;
    Some(name.strip_prefix("*.").map_or_else(|| name.clone(), |domain| format!("www.{domain}")))
}

fn leaf(text: &[u8]) -> Option<(Fingerprint, Certificate)> {
    let der = container::read(text).certificates.into_iter().next()?;
    Some((Fingerprint::of_certificate(&der), Certificate::from_der(&der).ok()?))
}

/// The versions of a service that there are besides; what cannot be read is only called none of ours.
fn former(tree: &Tree<'_>, name: &ServiceName) -> Vec<(Fingerprint, String)> {
    let versions = tree.versions(name).unwrap_or_default();
    let found = versions.into_iter().filter_map(|version| {
        let text = tree.file(name, &version, CERTIFICATE).ok()??;
        Some((leaf(&text)?.0, format!("{name} of {version}")))
    });
    found.collect()
}

fn addresses(host: &str, probe: Probe) -> Result<Vec<Endpoint>, String> {
    let found = (host, probe.port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let addresses: BTreeSet<_> = found.map(|socket| socket.ip()).collect();
    let endpoint = |address| Endpoint {
        unit: String::new(),
        address,
        port: probe.port,
        protocol: probe.protocol,
        guessed: false,
    };
    Ok(addresses.into_iter().map(endpoint).collect())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use time::OffsetDateTime;

    use super::*;
    use crate::probe::KeyKind;
    use crate::probe::protocol::Protocol;
    use crate::probe::tests::{certificate, shown};

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-25 12:00 UTC);

    #[test]
    fn what_is_shown_is_what_was_given() {
        let [new, rsa, old, other] = ["www.example.com", "www.example.com", "www.example.com", "x.example"]
            .map(|name| certificate(name, NOW));
        let print = |der: &Vec<u8>| Fingerprint::of_certificate(der);
        let expected = Expected {
            names: BTreeSet::from(["www.example.com".into()]),
            current: BTreeSet::from([print(&new), print(&rsa)]),
            former: BTreeMap::from([(print(&old), "example.com/web of 20260101-00:00:00".into())]),
        };
        let say = |der: &[u8]| Answer::Shown(Box::new(shown(der, KeyKind::Elliptic)));
        let closed = || vec![Answer::Closed, Answer::Closed];
        // name, the answers of each address, and what is said of them
        let cases = [
            ("new", vec![vec![say(&new), say(&new)]], ""),
            ("both kinds of key", vec![vec![say(&new), say(&rsa)]], ""),
            (
                "old",
                vec![vec![say(&old)]],
                "shows www.example.com an older certificate still: example.com/web of 20260101-00:00:00",
            ),
            (
                "a worker of four is old",
                vec![vec![say(&new), say(&new), say(&old), say(&new)]],
                "an older certificate still",
            ),
            ("another's", vec![vec![say(&other)]], "a certificate that is none of ours: "),
            ("nobody", vec![closed()], "192.0.2.0:443 (tls): nobody listens"),
            ("one address of two", vec![closed(), vec![say(&new)]], ""),
            ("the other is old", vec![vec![say(&new)], vec![say(&old)]], "192.0.2.1:443 (tls) shows"),
            ("late", vec![vec![Answer::Unknown("no answer in time".into())]], "no answer in time"),
            ("no address", vec![], "nobody was asked"),
        ];
        for (case, answers, said) in cases {
            let endpoints: Vec<Endpoint> = (0..answers.len())
                .map(|at| Endpoint {
                    unit: String::new(),
                    address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(at).unwrap())),
                    port: 443,
                    protocol: Protocol::Tls,
                    guessed: false,
                })
                .collect();
            match expected.judge("www.example.com", &endpoints, &answers) {
                Ok(()) => assert_eq!(said, "", "{case}"),
                Err(error) => assert!(!said.is_empty() && error.contains(said), "{case}: {error}"),
            }
        }
    }
}
