//! Reads Cyrus IMAP's `imapd.conf`, with `cyrus.conf` beside it for the names of the services.
//!
//! Sources: imapd.conf(5), cyrus.conf(5), and Cyrus' `lib/libconfig.c` and `imap/tls.c` (3.x). An option may
//! be given for one service, `imap_tls_server_cert`, where `imap` is the entry's name in `cyrus.conf` and not
//! the program's. The names of before 2.5, `tls_cert_file` and `tls_key_file`, count where the new ones are
//! not set. The value `disabled` for either file switches TLS off.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Continuation, Directive, Place, Problem, Reading, Readout, Role, Sources, absolute, lines};

/// Finds the certificates that the services of one `imapd.conf` use.
pub(super) fn read(config: &Path, text: &str, sources: Sources<'_>) -> Readout {
    let mut reader = Reader { sources, options: BTreeMap::new(), readout: Readout::default() };
    reader.file(config, text);
    let services = match reader.services(config) {
        Some(services) => services,
        None => reader.prefixes(),
    };
    let common = reader.reading(None);
    let mut special: Vec<Reading> = Vec::new();
    for service in services {
        let Some(mut reading) = reader.reading(Some(&service)) else { continue };
        let same = |other: &Reading| other.certificate == reading.certificate && other.key == reading.key;
        if common.as_ref().is_some_and(same) {
            continue;
        }
        if let Some(shared) = special.iter_mut().find(|other| same(other)) {
            shared.service = format!("{}, {service}", shared.service);
        } else {
            reading.service = service;
            special.push(reading);
        }
    }
    let mut readout = reader.readout;
    readout.readings.extend(common.into_iter().chain(special));
    readout
}

struct Reader<'a> {
    sources: Sources<'a>,
    options: BTreeMap<String, Setting>,
    readout: Readout,
}

/// An option's value, and where it stands.
#[derive(Clone)]
struct Setting {
    value: String,
    directive: Directive,
}

impl Reader<'_> {
    /// Takes in the options of one file and of those it includes.
    fn file(&mut self, path: &Path, text: &str) {
        for line in lines(path, text, Continuation::Backslash, &mut self.readout) {
            let place = Place { path, line: line.number };
            let text = line.text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, value) = match text.split_once(':') {
                Some((name, value)) if is_name(name) => (name.to_ascii_lowercase(), value.trim()),
                _ => {
                    self.readout.complain(place, "is no 'name: value': cyrus does not start with it");
                    continue;
                }
            };
            if value.is_empty() {
                self.readout.complain(place, format!("{name} has no value: cyrus does not start with it"));
            } else if name == "@include" {
                self.include(place, Path::new(value));
            } else if let Some(first) = self.options.get(&name) {
                // A file with this does not work at all, so only what concerns us is worth a word.
                if is_ours(&name) {
                    let message =
                        format!("{name} is set a second time, first on line {}", first.directive.line);
                    self.readout.complain(place, message);
                }
            } else {
                let directive = place.directive(&name);
                self.options.insert(name, Setting { value: value.to_owned(), directive });
            }
        }
    }

    fn include(&mut self, place: Place<'_>, path: &Path) {
        match self.sources.open(path) {
            Ok(text) => {
                self.file(path, &text);
                self.sources.close();
            }
            Err(refusal) => self.readout.complain(place, format!("'{}' {refusal}", path.display())),
        }
    }

    /// Returns the services with files of their own among those of the `cyrus.conf` beside `config` that read
    /// `config`; nothing when there is no such file.
    fn services(&mut self, config: &Path) -> Option<Vec<String>> {
        let path = config.with_file_name("cyrus.conf");
        let text = self.sources.open(&path).ok()?;
        self.sources.close();
        let mut services = Vec::new();
        let mut section = String::new();
        for line in lines(&path, &text, Continuation::Backslash, &mut self.readout) {
            let text = line.text.trim();
            let word = text.split([' ', '\t', '{']).next().unwrap_or_default().to_ascii_lowercase();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if text.starts_with('}') {
                section.clear();
            } else if text.ends_with('{') {
                section = word;
            } else if section == "services" {
                match other_config(text).filter(|other| Path::new(other) != config) {
                    Some(other) => {
                        let message =
                            format!("the service {word} reads '{other}', which is not looked at here");
                        self.readout.complain(Place { path: &path, line: line.number }, message);
                    }
                    None if self.has_own(&word) && !services.contains(&word) => services.push(word),
                    None => {}
                }
            }
        }
        Some(services)
    }

    /// Returns everything that could be a service's name, going by the options alone.
    fn prefixes(&self) -> Vec<String> {
        let prefixes = self.options.keys().filter_map(|name| {
            let own =
                OWN.into_iter().flatten().find_map(|option| name.strip_suffix(option)?.strip_suffix('_'));
            own.filter(|prefix| !prefix.is_empty()).map(str::to_owned)
        });
        prefixes.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Is there any file that this service has of its own?
    fn has_own(&self, service: &str) -> bool {
        OWN.into_iter().flatten().any(|option| self.options.contains_key(&format!("{service}_{option}")))
    }

    /// Returns what a service, or any service, reads; nothing when TLS is off for it.
    fn reading(&mut self, service: Option<&str>) -> Option<Reading> {
        let certificate = self.setting(service, CERTIFICATE).filter(Setting::is_enabled)?;
        let key = self.setting(service, KEY);
        if key.as_ref().is_some_and(|key| !key.is_enabled()) {
            return None;
        }
        if key.is_none() {
            // `tls_enabled` wants both set, although what loads them would take the key from the
            // certificate's file.
            let message =
                "there is no tls_server_key: cyrus 2.2 and later offer no TLS until it names a file";
            self.complain_once(&certificate.directive, message.to_owned());
        }
        let certificate_path = self.path(&certificate)?;
        let key_path = match &key {
            Some(key) => self.path(key)?,
            None => certificate_path.clone(),
        };
        let chain = self.setting(service, CHAIN).and_then(|chain| self.path(&chain));
        Some(Reading {
            certificate: certificate_path,
            key: key_path,
            chain,
            service: "*".into(),
            role: Role::Server,
            directive: certificate.directive,
            key_directive: key.map(|key| key.directive),
        })
    }

    /// Returns the setting in force: of two names the new one, and under each name the service's own.
    fn setting(&self, service: Option<&str>, names: [&str; 2]) -> Option<Setting> {
        let found = names.into_iter().find_map(|name| {
            let own = service.and_then(|service| self.options.get(&format!("{service}_{name}")));
            own.or_else(|| self.options.get(name))
        });
        found.cloned()
    }

    fn path(&mut self, setting: &Setting) -> Option<PathBuf> {
        let value = match setting.value.get(..CONFIG_DIRECTORY.len()) {
            Some(start) if start.eq_ignore_ascii_case(CONFIG_DIRECTORY) => {
                let directory =
                    self.options.get("configdirectory").map_or(CONFIG_DIRECTORY, |dir| dir.value.as_str());
                format!("{directory}{}", &setting.value[CONFIG_DIRECTORY.len()..])
            }
            _ => setting.value.clone(),
        };
        let path = absolute(&value, None);
        path.map_err(|why| {
            self.complain_once(&setting.directive, format!("{}: {why}", setting.directive.name));
        })
        .ok()
    }

    /// One setting serves many services; what is wrong with it is said once.
    fn complain_once(&mut self, directive: &Directive, message: String) {
        let problem = Problem { path: directive.path.clone(), line: directive.line, message };
        if !self.readout.problems.contains(&problem) {
            self.readout.problems.push(problem);
        }
    }
}

impl Setting {
    fn is_enabled(&self) -> bool {
        !self.value.eq_ignore_ascii_case("disabled")
    }
}

fn is_name(name: &str) -> bool {
    let rest = name.strip_prefix('@').unwrap_or(name);
    !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn is_ours(name: &str) -> bool {
    OWN.into_iter().flatten().chain(CHAIN).any(|option| name.ends_with(option))
}

/// Returns the file that a service's command names with `-C` instead of the usual one.
fn other_config(entry: &str) -> Option<&str> {
    let mut words = entry.split([' ', '\t', '"']);
    let option = words.find_map(|word| word.strip_prefix("-C"))?;
    if option.is_empty() { words.find(|word| !word.is_empty()) } else { Some(option) }
}

/// Today's name of each option, and the name that it had before.
const CERTIFICATE: [&str; 2] = ["tls_server_cert", "tls_cert_file"];
const KEY: [&str; 2] = ["tls_server_key", "tls_key_file"];
const CHAIN: [&str; 2] = ["tls_client_ca_file", "tls_ca_file"];
/// The options whose presence gives a service a pair of its own.
const OWN: [[&str; 2]; 2] = [CERTIFICATE, KEY];
/// What a path may begin with, for the value of `configdirectory`.
const CONFIG_DIRECTORY: &str = "{configdirectory}";

#[cfg(test)]
mod tests {
    use super::super::tests::{Tree, complaints, shown};
    use super::super::{Program, Readout, read};
    use std::path::Path;

    const CONF: &str = "/etc/imapd.conf";
    const MASTER: &str = "/etc/cyrus.conf";

    /// Fedora's file, shortened.
    const FEDORA: &str = "\
defaultpartition: default
configdirectory: /var/lib/imap
# TLS
tls_server_cert: /etc/pki/cyrus-imapd/cyrus-imapd.pem
tls_server_key: /etc/pki/cyrus-imapd/cyrus-imapd-key.pem
tls_client_ca_file: /etc/pki/cyrus-imapd/cyrus-imapd-ca.pem
";

    const SERVICES: &str = "\
START {
  recover\tcmd=\"ctl_cyrusdb -r\"
}

SERVICES {
  # one line a service
  imap\t\tcmd=\"imapd\" listen=\"imap\" prefork=5
  imaps cmd=\"imapd -s\" listen=\"imaps\" prefork=1
  pop3 cmd=\"pop3d\" listen=\"pop3\"
  #nntp cmd=\"nntpd\" listen=\"nntp\"
  lmtpunix cmd=\"lmtpd\" listen=\"/run/cyrus/socket/lmtp\"
}

EVENTS {
  checkpoint cmd=\"ctl_cyrusdb -c\" period=30
}
";

    fn read_with(files: &[(&str, &str)]) -> Readout {
        read(Program::CyrusImapd, Path::new(CONF), &Tree::new(files))
    }

    #[test]
    fn reads_fedoras_file() {
        let readout = read_with(&[(CONF, FEDORA), (MASTER, SERVICES)]);
        assert_eq!(
            shown(&readout),
            ["*: /etc/pki/cyrus-imapd/cyrus-imapd.pem /etc/pki/cyrus-imapd/cyrus-imapd-key.pem \
              /etc/pki/cyrus-imapd/cyrus-imapd-ca.pem @/etc/imapd.conf:4"]
        );
        assert_eq!(readout.readings[0].key_directive.as_ref().map(|key| key.line), Some(5));
        assert!(readout.problems.is_empty(), "{:?}", readout.problems);
    }

    #[test]
    fn finds_what_each_service_uses() {
        const BASE: &str = "tls_server_cert: /a.pem\ntls_server_key: /a.pem\n";
        let base = "*: /a.pem /a.pem @/etc/imapd.conf:1";
        let cases: [(&str, &str, &[&str]); 13] = [
            ("one file for both", "", &[base]),
            ("old names", "tls_cert_file: /old.pem\ntls_key_file: /old.pem", &[base]),
            (
                "own pair",
                "imap_tls_server_cert: /i.pem\nimap_tls_server_key: /i.key",
                &[base, "imap: /i.pem /i.key @/etc/imapd.conf:3"],
            ),
            (
                "own certificate only",
                "imap_tls_server_cert: /i.pem",
                &[base, "imap: /i.pem /a.pem @/etc/imapd.conf:3"],
            ),
            (
                "own key only",
                "imap_tls_server_key: /i.key",
                &[base, "imap: /a.pem /i.key @/etc/imapd.conf:1"],
            ),
            ("the same again", "imap_tls_server_cert: /a.pem", &[base]),
            (
                "two alike",
                "pop3_tls_server_cert: /i.pem\nimap_tls_server_cert: /i.pem",
                &[base, "imap, pop3: /i.pem /a.pem @/etc/imapd.conf:4"],
            ),
            ("off for one", "imap_tls_server_cert: disabled", &[base]),
            ("off by key", "imap_tls_server_cert: /i.pem\nimap_tls_server_key: Disabled", &[base]),
            ("no such service", "nntp_tls_server_cert: /n.pem", &[base]),
            ("the program's name is no service", "lmtp_tls_server_cert: /l.pem", &[base]),
            ("upper case", "IMAP_TLS_Server_Cert:/i.pem", &[base, "imap: /i.pem /a.pem @/etc/imapd.conf:3"]),
            // The new name is set, if only for all, and so the old one is not looked at.
            ("own old name", "imap_tls_cert_file: /i.pem", &[base]),
        ];
        for (name, more, readings) in cases {
            let readout = read_with(&[(CONF, &format!("{BASE}{more}")), (MASTER, SERVICES)]);
            assert_eq!(shown(&readout), readings, "{name}");
            assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
        }
    }

    #[test]
    fn understands_the_forms_of_the_file() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str]);
        let cases: [Case; 12] = [
            ("nothing set", &[(CONF, "configdirectory: /var\n#tls_server_cert: /a")], &[], &[]),
            ("off", &[(CONF, "tls_server_cert: disabled\ntls_server_key: disabled")], &[], &[]),
            (
                "off but for one",
                &[
                    (CONF, "tls_server_cert: disabled\nimaps_tls_server_cert: /a\nimaps_tls_server_key: /k"),
                    (MASTER, SERVICES),
                ],
                &["imaps: /a /k @/etc/imapd.conf:2"],
                &[],
            ),
            (
                "old names",
                &[(CONF, "tls_cert_file: /a  \ntls_key_file: /k\t")],
                &["*: /a /k @/etc/imapd.conf:1"],
                &[],
            ),
            (
                "no cyrus.conf",
                &[(CONF, "imap_tls_cert_file: /a\nimap_tls_key_file: /k")],
                &["imap: /a /k @/etc/imapd.conf:1"],
                &[],
            ),
            (
                "continued",
                &[(CONF, "# a \\\ncomment: x\ntls_server_cert: \\\n/a\ntls_server_key: /k")],
                &["*: /a /k @/etc/imapd.conf:3"],
                &[],
            ),
            (
                "in the configuration directory",
                &[(
                    CONF,
                    "tls_server_cert: {configDirectory}/a\ntls_server_key: /k\nconfigdirectory: /var/lib/imap",
                )],
                &["*: /var/lib/imap/a /k @/etc/imapd.conf:1"],
                &[],
            ),
            (
                "included",
                &[
                    (CONF, "@include: /etc/tls.conf\ntls_server_key: /k"),
                    ("/etc/tls.conf", "\ntls_server_cert: /a"),
                ],
                &["*: /a /k @/etc/tls.conf:2"],
                &[],
            ),
            (
                "no key",
                &[(CONF, "tls_server_cert: /a")],
                &["*: /a /a @/etc/imapd.conf:1"],
                &[
                    "/etc/imapd.conf:1: there is no tls_server_key: cyrus 2.2 and later offer no TLS until it names a file",
                ],
            ),
            (
                "relative",
                &[(CONF, "tls_server_cert: a.pem\ntls_server_key: /k\nimap_tls_server_key: /i")],
                &[],
                &["/etc/imapd.conf:1: tls_server_cert: 'a.pem' is not an absolute path"],
            ),
            (
                "another configuration",
                &[
                    (CONF, "tls_server_cert: /a\ntls_server_key: /k\nimap_tls_server_key: /i"),
                    (
                        MASTER,
                        "SERVICES {\n imap cmd=\"imapd -C /etc/other.conf\"\n pop3 cmd=\"pop3d -C/etc/imapd.conf\"\n}",
                    ),
                ],
                &["*: /a /k @/etc/imapd.conf:1"],
                &["/etc/cyrus.conf:2: the service imap reads '/etc/other.conf', which is not looked at here"],
            ),
            (
                "not understood",
                &[(CONF, "hello\ntls_server_cert:\ntls server: x\ntls_server_cert: /a\ntls_server_cert: /b")],
                &["*: /a /a @/etc/imapd.conf:4"],
                &[
                    "/etc/imapd.conf:1: is no 'name: value': cyrus does not start with it",
                    "/etc/imapd.conf:2: tls_server_cert has no value: cyrus does not start with it",
                    "/etc/imapd.conf:3: is no 'name: value': cyrus does not start with it",
                    "/etc/imapd.conf:5: tls_server_cert is set a second time, first on line 4",
                    "/etc/imapd.conf:4: there is no tls_server_key: cyrus 2.2 and later offer no TLS until it names a file",
                ],
            ),
        ];
        for (name, files, readings, problems) in cases {
            let readout = read_with(files);
            assert_eq!(shown(&readout), readings, "{name}");
            assert_eq!(complaints(&readout), problems, "{name}");
        }
    }

    #[test]
    fn includes_come_to_an_end() {
        for (name, included, problem) in [
            ("missing", None, "/etc/imapd.conf:1: '/etc/a' does not exist"),
            (
                "unreadable",
                Some("!permission denied"),
                "/etc/imapd.conf:1: '/etc/a' cannot be read: permission denied",
            ),
            ("in a circle", Some("@include: /etc/imapd.conf"), "/etc/a:1: '/etc/imapd.conf' includes itself"),
            ("of itself", Some("@include: /etc/a"), "/etc/a:1: '/etc/a' includes itself"),
        ] {
            let mut files = vec![(CONF, "@include: /etc/a\ntls_server_cert: /c\ntls_server_key: /k")];
            files.extend(included.map(|text| ("/etc/a", text)));
            let readout = read_with(&files);
            assert_eq!(shown(&readout), ["*: /c /k @/etc/imapd.conf:2"], "{name}");
            assert_eq!(complaints(&readout), [problem], "{name}");
        }
    }

    #[test]
    fn every_prefix_is_read_without_panic() {
        let own = format!("{FEDORA}imap_tls_server_cert: /i\\\n.pem\n@include: /etc/cyrus.conf\n");
        for tree in Tree::new(&[(CONF, &own), (MASTER, SERVICES)]).every_prefix() {
            let _ = read(Program::CyrusImapd, Path::new(CONF), &tree);
        }
    }
}
