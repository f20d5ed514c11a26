//! The door to mail: a message goes to a program of this machine or to a relay, and is sent when that has taken it.

use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, SmtpTransport, Transport};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use zeroize::Zeroizing;

use super::config::{Mail, MailWay, Primary};
use super::dns::lookup::addresses;
use crate::system::process;

/// How long a program may take, and a relay for each of its answers.
const DEADLINE: Duration = Duration::from_secs(30);

/// A message in plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose address it comes from.
    pub from: String,
    /// Addresses; at least one.
    pub to: Vec<String>,
    /// One line of ASCII.
    pub subject: String,
    /// Lines, each below 998 octets.
    pub body: String,
    /// When it was written.
    pub date: OffsetDateTime,
    /// What no other message has: a word that may stand before "@".
    pub id: String,
}

impl Message {
    /// The message as it goes out (RFC 5322), with single line feeds.
    ///
    /// # Errors
    /// In words, for a date that cannot be written.
    pub fn text(&self) -> Result<String, String> {
        let Self { from, to, subject, body, date, id } = self;
        let date = date.format(&Rfc2822).map_err(|error| format!("the date of the message: {error}"))?;
        let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let to = to.join(",\n ");
        // Nobody is to be answered that he is on holiday (RFC 3834 section 5).
        Ok(format!(
            "From: {from}\nTo: {to}\nSubject: {subject}\nDate: {date}\nMessage-ID: <{id}@{domain}>\n\
             Auto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: 8bit\n\n{body}"
        ))
    }
}

/// Sends a message; `host` is this machine's name.
///
/// # Errors
/// In words: it was not taken, and as far as can be known nobody gets it.
pub fn send(mail: &Mail, message: &Message, host: &str) -> Result<(), String> {
    let text = message.text()?;
    match &mail.way {
        MailWay::Command(command) => {
            let text = Zeroizing::new(text.into_bytes());
            process::feed(command, text, DEADLINE, process::KEPT).map(drop)
        }
        MailWay::Relay(relay) => hand_over(relay, message, &text, host)
            .map_err(|why| format!("the mail relay {} port {} {why}", relay.server, relay.port)),
    }
}

/// Hands a message over by SMTP: to the first address of the relay that can be reached.
fn hand_over(relay: &Primary, message: &Message, text: &str, host: &str) -> Result<(), String> {
    let address = |text: &String| -> Result<Address, String> {
        text.parse().map_err(|error| format!("cannot be told {text}: {error}"))
    };
    let to = message.to.iter().map(address).collect::<Result<Vec<_>, _>>()?;
    let envelope = Envelope::new(Some(address(&message.from)?), to)
        .map_err(|error| format!("cannot be told: {error}"))?;
    let text = text.replace('\n', "\r\n");
    let mut last = Err("has no address".to_owned());
    for address in addresses(relay, DEADLINE)? {
        let transport = SmtpTransport::builder_dangerous(address.ip().to_string())
            .port(address.port())
            .hello_name(ClientId::Domain(host.to_owned()))
            .timeout(Some(DEADLINE))
            .build();
        last = match transport.send_raw(&envelope, text.as_bytes()) {
            Ok(_) => return Ok(()),
            // Whatever a server answers is its answer; another address is for one that cannot be spoken to.
            Err(error) if error.is_permanent() || error.is_transient() => {
                return Err(format!("does not take it: {}", words(&error)));
            }
            Err(error) => Err(format!("cannot be spoken to: {}", words(&error))),
        };
    }
    last
}

/// An error with what lies beneath it, on one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut beneath = error.source();
    while let Some(error) = beneath {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        beneath = error.source();
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_message_as_it_goes_out() {
        let message = Message {
            from: "reseed@manager.example".into(),
            to: vec!["a@example.com".into(), "b@example.com".into()],
            subject: "Two things".into(),
            body: "one\ntwo\n".into(),
            date: datetime!(2026-06-01 12:00 UTC),
            id: "17".into(),
        };
        let expected = "From: reseed@manager.example\nTo: a@example.com,\n b@example.com\nSubject: Two things\n\
            Date: Mon, 01 Jun 2026 12:00:00 +0000\nMessage-ID: <17@manager.example>\n\
            Auto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
            Content-Transfer-Encoding: 8bit\n\none\ntwo\n";
        assert_eq!(message.text().unwrap(), expected);
    }
}
