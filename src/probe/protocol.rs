//! Which protocol is spoken at a port, and how a place is written that is to be asked.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::identity::HostName;

/// What is spoken before TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Nothing: TLS from the first octet.
    Tls,
    /// RFC 3207; submission (RFC 6409) is the same.
    Smtp,
    /// RFC 2033 with RFC 3207.
    Lmtp,
    /// RFC 9051 section 6.2.1.
    Imap,
    /// RFC 2595 section 4.
    Pop3,
    /// `ManageSieve`, RFC 5804 section 2.2.
    Sieve,
    /// RFC 4511 section 4.14.
    Ldap,
    /// `SSLRequest` of `PostgreSQL`'s frontend/backend protocol.
    Postgres,
    /// RFC 4217.
    Ftp,
    /// RFC 6120 section 5, as a client.
    XmppClient,
    /// RFC 6120 section 5, as another server.
    XmppServer,
    /// Not TLS at all: SSH's host keys, RFC 4253.
    Ssh,
}

/// Every protocol with its name and the port that it has by default.
pub(super) const ALL: [(Protocol, &str, u16); 12] = [
    (Protocol::Tls, "tls", 443),
    (Protocol::Smtp, "smtp", 25),
    (Protocol::Lmtp, "lmtp", 24),
    (Protocol::Imap, "imap", 143),
    (Protocol::Pop3, "pop3", 110),
    (Protocol::Sieve, "sieve", 4190),
    (Protocol::Ldap, "ldap", 389),
    (Protocol::Postgres, "postgres", 5432),
    (Protocol::Ftp, "ftp", 21),
    (Protocol::XmppClient, "xmpp-client", 5222),
    (Protocol::XmppServer, "xmpp-server", 5269),
    (Protocol::Ssh, "ssh", 22),
];

impl Protocol {
    /// The port where it is usually spoken.
    pub fn default_port(self) -> u16 {
        ALL.iter().find(|(protocol, ..)| *protocol == self).map_or(443, |(.., port)| *port)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALL.iter().find(|(protocol, ..)| protocol == self).map_or("", |(_, name, _)| name))
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = ALL.iter().find(|(_, name, _)| *name == text).map(|(protocol, ..)| *protocol);
        found.ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|(_, name, _)| *name).collect();
            format!("{text:?} is no protocol that can be asked; those are {}", names.join(", "))
        })
    }
}

/// Ports of which a hook says what is spoken there.
pub type Ports = BTreeMap<u16, Protocol>;

/// What a port's number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// This is spoken there.
    Known(Protocol),
    /// Something without TLS, or with a TLS that is begun in a way not known here: not asked.
    Plain,
    /// Nothing: TLS is tried, for a short while.
    Unknown,
}

/// Tells by its number what is spoken at a port.
pub fn guess(port: u16) -> Guess {
    match port {
        443 | 465 | 636 | 853 | 989 | 990 | 992 | 993 | 994 | 995 | 5061 | 5223 | 5270 | 6697 | 8443 => {
            Guess::Known(Protocol::Tls)
        }
        25 | 587 => Guess::Known(Protocol::Smtp),
        24 | 2003 => Guess::Known(Protocol::Lmtp),
        143 => Guess::Known(Protocol::Imap),
        110 => Guess::Known(Protocol::Pop3),
        2000 | 4190 => Guess::Known(Protocol::Sieve),
        389 => Guess::Known(Protocol::Ldap),
        5432 => Guess::Known(Protocol::Postgres),
        21 => Guess::Known(Protocol::Ftp),
        5222 => Guess::Known(Protocol::XmppClient),
        5269 => Guess::Known(Protocol::XmppServer),
        22 => Guess::Known(Protocol::Ssh),
        // domain, http, sunrpc, auth, nntp, ipp, rsync, nfs, mysql, redis, http once more.
        53 | 80 | 111 | 113 | 119 | 631 | 873 | 2049 | 3306 | 6379 | 8000 | 8080 | 11211 => Guess::Plain,
        _ => Guess::Unknown,
    }
}

/// A place given by hand: `HOST[:PORT][/PROTOCOL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A host name or an address.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// Whom a place names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, to be looked up; certificates are asked to cover it.
    Name(HostName),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, protocol) = match text.split_once('/') {
            Some((place, protocol)) => (place, Some(protocol.parse::<Protocol>()?)),
            None => (text, None),
        };
        let (host, port) = split(place)?;
        let host = match host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(HostName::parse(host).map_err(|error| format!("{text:?}: {error}"))?),
        };
        let port = match port {
            Some(port) => {
                let number = port.parse().ok().filter(|port| *port > 0);
                number.ok_or_else(|| format!("{text:?}: {port:?} is no port"))?
            }
            None => protocol.unwrap_or(Protocol::Tls).default_port(),
        };
        let by_number = || match guess(port) {
            Guess::Known(protocol) => protocol,
            Guess::Plain | Guess::Unknown => Protocol::Tls,
        };
        Ok(Self { host, port, protocol: protocol.unwrap_or_else(by_number) })
    }
}

/// Host and port; an IPv6 address with a port stands in brackets (RFC 3986 section 3.2.2).
fn split(place: &str) -> Result<(&str, Option<&str>), String> {
    if place.parse::<IpAddr>().is_ok() {
        return Ok((place, None));
    }
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) =
            rest.split_once(']').ok_or_else(|| format!("{place:?}: the bracket stays open"))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(format!("{place:?}: after the bracket comes \":\" and a port")),
        };
    }
    Ok(place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hook_files() {
        for (protocol, name, _) in ALL {
            assert_eq!(serde_json::to_value(protocol).unwrap(), name);
            assert_eq!((name.parse(), protocol.to_string()), (Ok(protocol), name.to_owned()));
            assert_eq!(guess(protocol.default_port()), Guess::Known(protocol), "{name}");
        }
    }

    #[test]
    fn places() {
        let cases = [
            ("mail.example.com", Some(("mail.example.com", 443, Protocol::Tls))),
            ("mail.example.com:25", Some(("mail.example.com", 25, Protocol::Smtp))),
            ("mail.example.com:2525/smtp", Some(("mail.example.com", 2525, Protocol::Smtp))),
            ("mail.example.com/imap", Some(("mail.example.com", 143, Protocol::Imap))),
            ("[2001:db8::1]:443", Some(("2001:db8::1", 443, Protocol::Tls))),
            ("[2001:db8::1]", Some(("2001:db8::1", 443, Protocol::Tls))),
            ("2001:db8::1", Some(("2001:db8::1", 443, Protocol::Tls))),
            ("192.0.2.1:22", Some(("192.0.2.1", 22, Protocol::Ssh))),
            ("192.0.2.1:80", Some(("192.0.2.1", 80, Protocol::Tls))),
            ("mail.example.com:0", None),
            ("mail.example.com:65536", None),
            ("mail.example.com:25/gopher", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]443", None),
            ("-oProxyCommand=x", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let place = text.parse::<Place>().ok();
            let place = place.map(|place| (place.host.to_string(), place.port, place.protocol));
            assert_eq!(place, expected.map(|(host, port, p)| (host.to_owned(), port, p)), "{text}");
        }
    }
}
