//! Reads `sendmail.cf` and `submit.cf`: what counts is the `.cf`, whatever the `.mc` beside it says.
//!
//! Sources: "Sendmail Installation and Operation Guide", chapter 5 (format of the file, options
//! `ServerCertFile` and its kin), and sendmail's `readcf.c` and `tls.c` (8.17). Of two settings the later
//! wins; names may be shortened; a second pair may follow the first after a comma. Without a key sendmail
//! offers no STARTTLS. Not followed: certificates chosen per listener or per connection (`DaemonPortOptions`,
//! `srv_features`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Continuation, Directive, Place, Reading, Readout, Role, absolute, lines};

/// Finds the certificates in one `.cf` file.
pub(super) fn read(config: &Path, text: &str) -> Readout {
    let mut readout = Readout::default();
    let mut macros = Macros::default();
    let mut settings = BTreeMap::new();
    for line in lines(config, text, Continuation::Indent, &mut readout) {
        let place = Place { path: config, line: line.number };
        let text = uncommented(&line.text);
        if let Some(definition) = text.strip_prefix('D') {
            macros.define(definition);
        } else if let Some((name, value)) = option(&text) {
            // Sendmail expands a value when it reads it, with the macros defined so far.
            match macros.expand(value) {
                Ok(value) => {
                    settings.insert(name, Setting { value, directive: place.directive(name) });
                }
                Err(why) => readout.complain(place, format!("{name}: {why}")),
            }
        }
    }
    for (role, service, certificate, key) in [
        (Role::Server, "server", "ServerCertFile", "ServerKeyFile"),
        (Role::Client, "client", "ClientCertFile", "ClientKeyFile"),
    ] {
        pairs(&settings, role, service, [certificate, key], &mut readout);
    }
    readout
}

/// A setting's expanded value, and where it stands.
struct Setting {
    value: String,
    directive: Directive,
}

impl Setting {
    fn place(&self) -> Place<'_> {
        Place { path: &self.directive.path, line: self.directive.line }
    }
}

type Settings = BTreeMap<&'static str, Setting>;

/// Adds the readings of one side: its certificate, and the second one after a comma.
fn pairs(settings: &Settings, role: Role, service: &str, names: [&'static str; 2], readout: &mut Readout) {
    let [certificate_name, key_name] = names;
    let Some(certificate) = settings.get(certificate_name).filter(|setting| !setting.value.is_empty()) else {
        return;
    };
    let key = settings.get(key_name);
    let chain = settings.get("CACertFile").and_then(|setting| path(setting, &setting.value, readout));
    let key_value = key.map_or("", |key| key.value.as_str());
    // Only a second certificate makes sendmail look for a second key.
    let values = match certificate.value.split_once(',') {
        Some((first, second)) => {
            let (first_key, second_key) = key_value.split_once(',').unwrap_or((key_value, ""));
            vec![(first, first_key), (second, second_key)]
        }
        None => vec![(certificate.value.as_str(), key_value)],
    };
    for (certificate_value, key_value) in values {
        let Some(key) = key.filter(|_| !key_value.is_empty()) else {
            let message =
                format!("'{certificate_value}' has no key: set {key_name}, sendmail does not use it without");
            readout.complain(certificate.place(), message);
            continue;
        };
        let certificate_path = path(certificate, certificate_value, readout);
        let key_path = path(key, key_value, readout);
        if let (Some(certificate_path), Some(key_path)) = (certificate_path, key_path) {
            readout.readings.push(Reading {
                certificate: certificate_path,
                key: key_path,
                chain: chain.clone(),
                service: service.to_owned(),
                role,
                directive: certificate.directive.clone(),
                key_directive: Some(key.directive.clone()),
            });
        }
    }
}

/// Returns the path that a value names, or complains.
fn path(setting: &Setting, value: &str, readout: &mut Readout) -> Option<PathBuf> {
    if value.is_empty() {
        return None;
    }
    let path = absolute(value, None).map_err(|why| format!("{}: {why}", setting.directive.name));
    path.map_err(|message| readout.complain(setting.place(), message)).ok()
}

/// Returns the option that a line sets, if it is one of ours, and its value.
fn option(line: &str) -> Option<(&'static str, &str)> {
    let setting = line.strip_prefix("O ")?;
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    let name = name.trim().to_ascii_lowercase();
    let (known, _) = OPTIONS
        .into_iter()
        .find(|(known, shortest)| name.len() >= *shortest && known.to_ascii_lowercase().starts_with(&name))?;
    Some((known, value.trim()))
}

/// Cuts a comment off, which may begin anywhere; `$#` belongs to rules, and `\#` is a plain `#`.
fn uncommented(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for c in line.chars() {
        match (text.chars().next_back(), c) {
            (Some('\\'), '#') => {
                text.pop();
                text.push('#');
            }
            (Some('$'), '#') => text.push('#'),
            (_, '#') => break,
            (_, c) => text.push(c),
        }
    }
    text
}

/// The macros that the file defines: `DnVALUE` and `D{name}VALUE`.
#[derive(Default)]
struct Macros(BTreeMap<String, String>);

impl Macros {
    fn define(&mut self, definition: &str) {
        if let Some((name, value)) = macro_name(definition) {
            self.0.insert(name.to_owned(), value.trim_end().to_owned());
        }
    }

    /// Expands `$n`, `${name}` and `$&{name}`; a macro's own value is expanded in its turn.
    fn expand(&self, value: &str) -> Result<String, String> {
        let mut expanded = String::new();
        // What is still to be read, innermost last: a stack instead of recursion, so that one count bounds it
        // all.
        let mut open = vec![value];
        let mut steps = 0;
        while let Some(text) = open.pop() {
            let Some((plain, reference)) = text.split_once('$') else {
                expanded.push_str(text);
                continue;
            };
            expanded.push_str(plain);
            let reference = reference.strip_prefix('&').unwrap_or(reference);
            let (name, rest) =
                macro_name(reference).ok_or_else(|| format!("'{value}' ends within a macro"))?;
            let inner = self
                .0
                .get(name)
                .ok_or_else(|| format!("'{value}' uses the macro '{name}', not defined above"))?;
            steps += 1;
            if steps > MAX_STEPS || expanded.len() > MAX_VALUE {
                return Err(format!("'{value}' expands without end"));
            }
            open.extend([rest, inner]);
        }
        Ok(expanded)
    }
}

/// Splits a macro's name off the text that it begins.
fn macro_name(text: &str) -> Option<(&str, &str)> {
    if let Some(long) = text.strip_prefix('{') {
        return long.split_once('}');
    }
    let first = text.chars().next()?;
    Some(text.split_at(first.len_utf8()))
}

/// The options that name files of ours, and how many characters tell each from all other options.
const OPTIONS: [(&str, usize); 5] = [
    ("ServerCertFile", "ServerC".len()),
    ("ServerKeyFile", "ServerK".len()),
    ("ClientCertFile", "ClientC".len()),
    ("ClientKeyFile", "ClientK".len()),
    ("CACertFile", "CACertF".len()),
];
/// More macros than any path is made of.
const MAX_STEPS: usize = 1000;
/// Longer than any path.
const MAX_VALUE: usize = 8192;

#[cfg(test)]
mod tests {
    use super::super::tests::{Tree, complaints, shown};
    use super::super::{Program, Role, read};
    use std::path::Path;

    const CF: &str = "/etc/mail/sendmail.cf";

    /// The TLS part of what `sendmailconfig` makes on Debian.
    const DEBIAN: &str = "\
V10/Berkeley
DSsmart
DnMAILER-DAEMON
O PrivacyOptions=needmailhelo
\t,noexpn
# CA directory
O CACertPath=/etc/ssl/certs
O CACertFile=/etc/mail/tls/sendmail-server.crt
# Server Cert
O ServerCertFile=/etc/mail/tls/sendmail-server.crt
# Server private key
O ServerKeyFile=/etc/mail/tls/sendmail-common.key
O ClientCertFile=/etc/mail/tls/sendmail-client.crt
O ClientKeyFile=/etc/mail/tls/sendmail-common.key
#O CertFingerprintAlgorithm
R$* $| $*\t$#error $@ 5.7.0 $: no $&{cert_subject}
";

    #[test]
    fn finds_both_sides_of_debians_file() {
        let readout = read(Program::Sendmail, Path::new(CF), &Tree::new(&[(CF, DEBIAN)]));
        assert_eq!(
            shown(&readout),
            [
                "server: /etc/mail/tls/sendmail-server.crt /etc/mail/tls/sendmail-common.key \
                 /etc/mail/tls/sendmail-server.crt @/etc/mail/sendmail.cf:10",
                "client: /etc/mail/tls/sendmail-client.crt /etc/mail/tls/sendmail-common.key \
                 /etc/mail/tls/sendmail-server.crt @/etc/mail/sendmail.cf:13",
            ]
        );
        assert_eq!(
            readout.readings.iter().map(|reading| reading.role).collect::<Vec<_>>(),
            [Role::Server, Role::Client]
        );
        assert_eq!(readout.readings[0].key_directive.as_ref().map(|key| key.line), Some(12));
        assert!(readout.problems.is_empty(), "{:?}", readout.problems);
    }

    #[test]
    fn understands_the_forms_of_a_setting() {
        let one = ["server: /a.crt /a.key @/etc/mail/sendmail.cf:1"];
        for (name, text) in [
            ("plain", "O ServerCertFile=/a.crt\nO ServerKeyFile=/a.key\n"),
            ("blanks", "O ServerCertFile = /a.crt \nO ServerKeyFile\t=\t/a.key\t\n"),
            ("case", "O servercertfile=/a.crt\nO SERVERKEYFILE=/a.key"),
            ("shortened", "O ServerCert=/a.crt\nO ServerK=/a.key"),
            ("comment behind", "O ServerCertFile=/a.crt # the old one\nO ServerKeyFile=/a.key#x"),
            (
                "comment before",
                "O ServerCertFile=/a.crt\n#O ServerCertFile=/b.crt\n\tstill a comment\nO ServerKeyFile=/a.key",
            ),
            ("continued", "O ServerCertFile=\n /a.crt\nO ServerKeyFile=\n\t/a.key"),
            ("from windows", "O ServerCertFile=/a.crt\r\nO ServerKeyFile=/a.key\r\n"),
            ("unknown option", "O ServerCertFile=/a.crt\nO ServerSSLOptions=x\nO ServerKeyFile=/a.key"),
        ] {
            let readout = read(Program::Sendmail, Path::new(CF), &Tree::new(&[(CF, text)]));
            assert_eq!(shown(&readout), one, "{name}");
            assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
        }
    }

    #[test]
    fn follows_macros_pairs_and_repetitions() {
        let cases: [(&str, &str, &[&str], &[&str]); 12] = [
            ("nothing", "", &[], &[]),
            ("commented out", "#O ServerCertFile=/a.crt\n#O ServerKeyFile=/a.key", &[], &[]),
            ("emptied", "O ServerCertFile\nO ServerKeyFile=/a.key", &[], &[]),
            (
                "macros",
                "D{tls}/etc/tls\nD{name}a\nDH${tls}/host\nO ServerCertFile=${tls}/a.crt\nO ServerKeyFile=$H/$&{name}.key",
                &["server: /etc/tls/a.crt /etc/tls/host/a.key @/etc/mail/sendmail.cf:4"],
                &[],
            ),
            (
                "the later wins",
                "O ServerCertFile=/a.crt\nO ServerCertFile=/b.crt\nO ServerKeyFile=/b.key",
                &["server: /b.crt /b.key @/etc/mail/sendmail.cf:2"],
                &[],
            ),
            (
                "two pairs",
                "O ClientCertFile=/a.crt,/b.crt\nO ClientKeyFile=/a.key,/b.key",
                &[
                    "client: /a.crt /a.key @/etc/mail/sendmail.cf:1",
                    "client: /b.crt /b.key @/etc/mail/sendmail.cf:1",
                ],
                &[],
            ),
            (
                "second without key",
                "O ServerCertFile=/a.crt,/b.crt\nO ServerKeyFile=/a.key",
                &["server: /a.crt /a.key @/etc/mail/sendmail.cf:1"],
                &[
                    "/etc/mail/sendmail.cf:1: '/b.crt' has no key: set ServerKeyFile, sendmail does not use it without",
                ],
            ),
            (
                "no key",
                "O ServerCertFile=/a.crt",
                &[],
                &[
                    "/etc/mail/sendmail.cf:1: '/a.crt' has no key: set ServerKeyFile, sendmail does not use it without",
                ],
            ),
            (
                "relative",
                "O ServerCertFile=a.crt\nO ServerKeyFile=/a.key",
                &[],
                &["/etc/mail/sendmail.cf:1: ServerCertFile: 'a.crt' is not an absolute path"],
            ),
            (
                "undefined macro",
                "O ServerCertFile=${tls}/a.crt\nO ServerKeyFile=/a.key",
                &[],
                &[
                    "/etc/mail/sendmail.cf:1: ServerCertFile: '${tls}/a.crt' uses the macro 'tls', not defined above",
                ],
            ),
            (
                "macro of itself",
                "D{a}${b}${b}\nD{b}${a}\nO ServerCertFile=${a}",
                &[],
                &["/etc/mail/sendmail.cf:3: ServerCertFile: '${a}' expands without end"],
            ),
            (
                "cut off in a macro",
                "O ServerCertFile=/a$",
                &[],
                &["/etc/mail/sendmail.cf:1: ServerCertFile: '/a$' ends within a macro"],
            ),
        ];
        for (name, text, readings, problems) in cases {
            let readout = read(Program::Sendmail, Path::new(CF), &Tree::new(&[(CF, text)]));
            assert_eq!(shown(&readout), readings, "{name}");
            assert_eq!(complaints(&readout), problems, "{name}");
        }
    }

    #[test]
    fn every_prefix_is_read_without_panic() {
        for tree in Tree::new(&[(CF, DEBIAN)]).every_prefix() {
            let _ = read(Program::Sendmail, Path::new(CF), &tree);
        }
    }
}
