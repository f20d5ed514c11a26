//! What is said in plain text before TLS begins, protocol by protocol: octets in, octets to send
//! or the outcome out.
//!
//! Nothing may follow the line that grants the upgrade: what stands there in plain text would be
//! taken for something said under TLS (CVE-2011-0411, CVE-2021-23222).

#[cfg(test)]
mod tests;

use super::protocol::Protocol;

/// Longest line in octets; a list of capabilities takes a few hundred.
const MAX_LINE: usize = 8 * 1024;
/// Octets that a server may say before the upgrade, all together.
const MAX_DIALOGUE: usize = 64 * 1024;

/// What comes next in a dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this, then listen.
    Say(Vec<u8>),
    /// Listen for more.
    Listen,
    /// TLS begins.
    Upgraded,
    /// There is no TLS to be had, and why.
    Refused(String),
    /// The server would rather be asked another time, in its words.
    Busy(String),
}

/// A dialogue with one server.
#[derive(Debug)]
pub struct Dialogue {
    script: Script,
    stage: usize,
    heard: Vec<u8>,
    total: usize,
    offered: bool,
}

/// What is said and what is waited for.
#[derive(Debug)]
enum Script {
    Lines(Vec<Stage>),
    Xmpp { open: String },
    Ldap,
    Postgres,
}

/// Something said, and how the answer's lines are understood.
#[derive(Debug)]
struct Stage {
    say: String,
    hear: fn(&str) -> Line,
    /// The answer is where STARTTLS is offered or not.
    offers: Option<&'static str>,
}

/// What one line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    More,
    Good,
    Bad,
    Busy,
}

impl Dialogue {
    /// Begins a dialogue; nothing where TLS is spoken from the first octet. `name` is the host as
    /// the server is to know it, `me` who we say that we are.
    pub fn begin(protocol: Protocol, name: &str, me: &str) -> Option<(Self, Next)> {
        let stage = |say: &str, hear: fn(&str) -> Line| Stage { say: say.to_owned(), hear, offers: None };
        let hello = |verb: &str| Stage {
            say: format!("{verb} {me}\r\n"),
            hear: |line| reply(line, "250"),
            offers: Some("STARTTLS"),
        };
        let mail = |verb: &str| {
            vec![
                stage("", |line| reply(line, "220")),
                hello(verb),
                stage("STARTTLS\r\n", |line| reply(line, "220")),
            ]
        };
        let script = match protocol {
            Protocol::Tls | Protocol::Ssh => return None,
            Protocol::Smtp => Script::Lines(mail("EHLO")),
            Protocol::Lmtp => Script::Lines(mail("LHLO")),
            Protocol::Imap => {
                Script::Lines(vec![stage("", imap_greeting), stage("a1 STARTTLS\r\n", imap_answer)])
            }
            Protocol::Pop3 => Script::Lines(vec![stage("", pop3), stage("STLS\r\n", pop3)]),
            Protocol::Sieve => {
                let greeting = Stage { say: String::new(), hear: sieve, offers: Some("\"STARTTLS\"") };
                Script::Lines(vec![greeting, stage("STARTTLS\r\n", sieve)])
            }
            Protocol::Ftp => Script::Lines(vec![
                stage("", |line| reply(line, "220")),
                stage("AUTH TLS\r\n", |line| reply(line, "234")),
            ]),
            Protocol::XmppClient => Script::Xmpp { open: stream(name, "jabber:client") },
            Protocol::XmppServer => Script::Xmpp { open: stream(name, "jabber:server") },
            Protocol::Ldap => Script::Ldap,
            Protocol::Postgres => Script::Postgres,
        };
        let first = match &script {
            Script::Lines(_) => Next::Listen,
            Script::Xmpp { open } => Next::Say(open.clone().into_bytes()),
            Script::Ldap => Next::Say(LDAP_START_TLS.to_vec()),
            Script::Postgres => Next::Say(POSTGRES_SSL_REQUEST.to_vec()),
        };
        Some((Self { script, stage: 0, heard: Vec::new(), total: 0, offered: false }, first))
    }

    /// Takes what the server said.
    pub fn hear(&mut self, octets: &[u8]) -> Next {
        self.total = self.total.saturating_add(octets.len());
        if self.total > MAX_DIALOGUE {
            return Next::Refused(format!("it said more than {MAX_DIALOGUE} octets and never came to TLS"));
        }
        self.heard.extend_from_slice(octets);
        let next = match &self.script {
            Script::Lines(_) => self.lines(),
            Script::Xmpp { .. } => self.xmpp(),
            Script::Ldap => self.ldap(),
            Script::Postgres => self.postgres(),
        };
        match next {
            Next::Upgraded if !self.heard.is_empty() => {
                Next::Refused("plain text was injected after the line that grants the upgrade".into())
            }
            next => next,
        }
    }

    fn lines(&mut self) -> Next {
        while let Some(end) = self.heard.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            if line.len() > MAX_LINE {
                return too_long();
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let Script::Lines(stages) = &self.script else { return Next::Listen };
            let Some(stage) = stages.get(self.stage) else { return Next::Listen };
            if let Some(offer) = stage.offers {
                self.offered |= line.to_ascii_uppercase().contains(offer);
            }
            match (stage.hear)(&line) {
                Line::More => {}
                Line::Bad => return Next::Refused(format!("it said {}", quoted(&line))),
                Line::Busy => return Next::Busy(format!("it said {}", quoted(&line))),
                Line::Good if stage.offers.is_some() && !self.offered => {
                    return Next::Refused("it does not offer STARTTLS".into());
                }
                Line::Good => {
                    self.stage += 1;
                    return match stages.get(self.stage) {
                        Some(next) => Next::Say(next.say.clone().into_bytes()),
                        None => Next::Upgraded,
                    };
                }
            }
        }
        if self.heard.len() > MAX_LINE { too_long() } else { Next::Listen }
    }

    /// RFC 6120 section 5.4: stream, features, `<starttls/>`, `<proceed/>`.
    fn xmpp(&mut self) -> Next {
        let text = String::from_utf8_lossy(&self.heard).into_owned();
        if ["<stream:error", "</stream:stream>", "<failure"].iter().any(|end| text.contains(end)) {
            return Next::Refused(format!("it said {}", quoted(&text)));
        }
        if self.stage == 0 {
            let Some((features, _)) = text.split_once("</stream:features>") else { return Next::Listen };
            if !features.contains("urn:ietf:params:xml:ns:xmpp-tls") {
                return Next::Refused("it does not offer STARTTLS".into());
            }
            self.stage = 1;
            self.heard.clear();
            return Next::Say(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec());
        }
        let Some((_, rest)) = text.split_once("<proceed") else { return Next::Listen };
        let after = match rest.split_once('>') {
            None => return Next::Listen,
            Some((tag, after)) if tag.ends_with('/') => after,
            Some((_, after)) => match after.split_once("</proceed>") {
                None => return Next::Listen,
                Some((_, after)) => after,
            },
        };
        self.heard = after.trim().as_bytes().to_vec();
        Next::Upgraded
    }

    /// RFC 4511 section 4.14.2: one extended response, whose result code is to be 0.
    fn ldap(&mut self) -> Next {
        let no_answer = || Next::Refused("its answer to StartTLS is no LDAP message".into());
        let (message, rest) = match element(&self.heard) {
            Element::Partial => return Next::Listen,
            Element::Other => return no_answer(),
            Element::Whole { tag: 0x30, content, rest } => (content.to_vec(), rest.to_vec()),
            Element::Whole { .. } => return no_answer(),
        };
        self.heard = rest;
        let code = || {
            let Element::Whole { tag: 0x02, rest, .. } = element(&message) else { return None };
            let Element::Whole { tag: 0x78, content, .. } = element(rest) else { return None };
            let Element::Whole { tag: 0x0a, content, .. } = element(content) else { return None };
            content.first().copied()
        };
        match code() {
            Some(0) => Next::Upgraded,
            // RFC 4511 appendix A.2: busy and unavailable.
            Some(code @ (51 | 52)) => Next::Busy(format!("it answers StartTLS with result {code}")),
            Some(code) => Next::Refused(format!("it answers StartTLS with result {code}")),
            None => no_answer(),
        }
    }

    /// One octet: `S` or `N`; an old server says `E` and more.
    fn postgres(&mut self) -> Next {
        let Some((first, rest)) = self.heard.split_first() else { return Next::Listen };
        let (first, rest) = (*first, rest.to_vec());
        self.heard = rest;
        match first {
            b'S' => Next::Upgraded,
            b'N' => Next::Refused("it says that it has no TLS".into()),
            other => Next::Refused(format!("it answers SSLRequest with {:?}", char::from(other))),
        }
    }
}

/// RFC 5321 section 4.2.1 and RFC 959 section 4.2: `250-` goes on, `250 ` ends.
fn reply(line: &str, good: &str) -> Line {
    match line.strip_prefix(good) {
        Some(rest) if rest.starts_with('-') => Line::More,
        Some(_) => Line::Good,
        None if line.starts_with("421") => Line::Busy,
        // FTP's greeting may have lines without a number between its first and its last.
        None if line.starts_with(|c: char| c.is_ascii_digit()) => Line::Bad,
        None if good == "220" && line.starts_with(' ') => Line::More,
        None => Line::Bad,
    }
}

fn imap_greeting(line: &str) -> Line {
    if line.starts_with("* OK") { Line::Good } else { Line::Bad }
}

fn imap_answer(line: &str) -> Line {
    match line.strip_prefix("a1 ") {
        Some(answer) if answer.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("OK")) => Line::Good,
        None if line.starts_with("* BYE") => Line::Bad,
        None if line.starts_with("* ") => Line::More,
        _ => Line::Bad,
    }
}

fn pop3(line: &str) -> Line {
    if line.starts_with("+OK") { Line::Good } else { Line::Bad }
}

fn sieve(line: &str) -> Line {
    match line.get(..2).map(str::to_ascii_uppercase).as_deref() {
        Some("OK") => Line::Good,
        Some("NO" | "BY") => Line::Bad,
        _ if line.starts_with('"') => Line::More,
        _ => Line::Bad,
    }
}

fn stream(name: &str, namespace: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{name}' version='1.0' xmlns='{namespace}' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

/// `ExtendedRequest` with the OID 1.3.6.1.4.1.1466.20037.
const LDAP_START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// Length 8, code 80877103.
const POSTGRES_SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The first element of BER octets (X.690 section 8.1), as far as LDAP uses it.
enum Element<'a> {
    Partial,
    Other,
    Whole { tag: u8, content: &'a [u8], rest: &'a [u8] },
}

fn element(octets: &[u8]) -> Element<'_> {
    let Some((tag, rest)) = octets.split_first() else { return Element::Partial };
    let Some((length, rest)) = rest.split_first() else { return Element::Partial };
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let count = usize::from(long & 0x7f);
            let Some((octets, rest)) = rest.split_at_checked(count) else { return Element::Partial };
            (octets.iter().fold(0_usize, |sum, octet| (sum << 8) | usize::from(*octet)), rest)
        }
        _ => return Element::Other,
    };
    if length > MAX_DIALOGUE {
        return Element::Other;
    }
    match rest.split_at_checked(length) {
        Some((content, rest)) => Element::Whole { tag: *tag, content, rest },
        None => Element::Partial,
    }
}

fn too_long() -> Next {
    Next::Refused(format!("it sent a line of more than {MAX_LINE} octets"))
}

/// The beginning of what a server said, fit for a terminal.
fn quoted(text: &str) -> String {
    let text: String = text.chars().take(120).collect();
    format!("{text:?}")
}
