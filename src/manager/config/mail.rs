//! The keys of `[inventory]` that begin with `mail_`: who is told by mail, and how.

use serde::Serialize;

use super::reader::{Table, Word};
use super::site::host_or_address;
use super::{Primary, command};
use crate::manager::nearest::shown;

/// The keys of `[inventory]` that begin with `mail_`: who is told by mail, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// `mail_to`: addresses; at least one.
    pub to: Vec<String>,
    /// `mail_from`: the address that it comes from; nothing for `reseed` on this machine.
    pub from: Option<String>,
    /// `mail_subject`: one line of ASCII; nothing for the usual one.
    pub subject: Option<String>,
    /// `mail_command` or `mail_relay`.
    pub way: MailWay,
}

/// How a message is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MailWay {
    /// `mail_command`: a program and its arguments, which reads the message and takes the recipients from it;
    /// `/usr/sbin/sendmail -t` where neither is given.
    Command(Vec<String>),
    /// `mail_relay`, `HOST` or `HOST:PORT`: a server that takes mail by SMTP, at port 25 unless another is given.
    Relay(Primary),
}

/// What has the usual name on every system that can send mail.
const SENDMAIL: [&str; 2] = ["/usr/sbin/sendmail", "-t"];
/// Where SMTP listens.
const PORT: u16 = 25;

/// Reads the keys; nothing where nobody is to be told.
pub(super) fn read(table: &mut Table<'_>) -> Option<Mail> {
    let to: Vec<String> = table.texts("mail_to").iter().filter_map(address).collect();
    let from = table.filled("mail_from");
    let subject = table.filled("mail_subject").and_then(|word| {
        let is_line = word.text.chars().all(|c| matches!(c, ' '..='~'));
        if !is_line {
            word.place.warn("mail_subject is one line of ASCII; the usual subject is taken");
        }
        is_line.then(|| word.text.to_owned())
    });
    let (program, relay) = (table.filled("mail_command"), table.filled("mail_relay"));
    if let Some(word) = [&from, &program, &relay].into_iter().flatten().next().filter(|_| to.is_empty()) {
        word.place.warn("nobody is told by mail without mail_to");
    }
    let way = match (program, relay) {
        (Some(_), Some(relay)) => {
            return relay.place.refuse("mail goes by mail_command or by mail_relay; write one");
        }
        (Some(program), None) => match command::words(program.text) {
            Ok(words) => MailWay::Command(words),
            Err(error) => return program.place.refuse(error),
        },
        (None, Some(relay)) => MailWay::Relay(server(&relay)?),
        (None, None) => MailWay::Command(SENDMAIL.map(str::to_owned).to_vec()),
    };
    let from = match from {
        Some(word) => Some(address(&word)?),
        None => None,
    };
    (!to.is_empty()).then_some(Mail { to, from, subject, way })
}

/// An address without anything around it: it goes into the head of a message.
fn address(word: &Word<'_>) -> Option<String> {
    let parsed = word.text.parse::<lettre::Address>();
    let is_plain = !word.text.contains(|c: char| c.is_control() || c.is_whitespace());
    match parsed {
        Ok(address) if is_plain => Some(address.to_string()),
        _ => word.place.refuse(format!(
            "{} is no address of mail; write for example hostmaster@example.com",
            shown(word.text)
        )),
    }
}

/// A host, perhaps with a port behind it; an IPv6 address with a port stands in brackets.
fn server(word: &Word<'_>) -> Option<Primary> {
    if let Ok(address) = word.text.parse::<std::net::SocketAddr>() {
        return Some(Primary { server: address.ip().to_string(), port: address.port() });
    }
    let (host, port) = match word.text.rsplit_once(':').filter(|(host, _)| !host.contains(':')) {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)),
        None => (word.text, Some(PORT)),
    };
    let Some(port) = port else {
        let says = "the port of mail_relay is 1 to 65535; write for example mail.example.com:25";
        return word.place.refuse(says);
    };
    let host = Word { text: host, ..word.clone() };
    Some(Primary { server: host_or_address(&host)?, port })
}
