//! Reads the configuration of Apache httpd: which certificates each virtual host really serves.
//!
//! Sources: httpd 2.4's documentation, "Configuration Files", "core" and `mod_ssl`; its `server/config.c`,
//! `server/util.c` and `modules/ssl/ssl_engine_config.c`, where the documentation is silent.
//!
//! What cannot be known from the files is taken so that no certificate is missed: `<IfVersion>`, and
//! `<IfModule>` of any module but `mod_ssl`, are true (`!` turns that round); `mod_ssl` is there once
//! `LoadModule` named it; nothing is defined by `-D`. Not followed: macros of `mod_macro`,
//! `SSLOpenSSLConfCmd`, `SSLProxyMachineCertificateFile`, `mod_md`.

mod envvars;
mod syntax;
#[cfg(test)]
mod tests;
mod wildcard;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use envvars::environment;
use syntax::{split_word, words};
use wildcard::matches;

use super::{
    Continuation, Directive, MAX_LINE, NoText, Place, Reading, Readout, Refusal, Role, Sources, absolute,
    lines,
};

/// Finds the certificates that an httpd started with `config` serves.
pub(super) fn read(config: &Path, text: &str, sources: Sources<'_>) -> Readout {
    let directory = config.parent().unwrap_or(config);
    let mut reader = Reader {
        environment: environment(directory, sources.files),
        sources,
        server_root: default_server_root(directory),
        defines: BTreeMap::new(),
        ssl_loaded: false,
        https_ports: BTreeSet::new(),
        main: Host::default(),
        open: None,
        hosts: Vec::new(),
        readout: Readout::default(),
    };
    reader.file(config, text);
    reader.finish()
}

struct Reader<'a> {
    sources: Sources<'a>,
    server_root: PathBuf,
    environment: BTreeMap<String, String>,
    defines: BTreeMap<String, Option<String>>,
    ssl_loaded: bool,
    https_ports: BTreeSet<String>,
    main: Host,
    /// The virtual host whose section we are in.
    open: Option<Host>,
    hosts: Vec<Host>,
    readout: Readout,
}

/// A server: the main one, or a virtual host.
#[derive(Default)]
struct Host {
    addresses: Vec<String>,
    name: Option<String>,
    aliases: Vec<String>,
    engine: Option<bool>,
    certificates: Vec<Named>,
    keys: Vec<Named>,
    chain: Option<Named>,
}

/// A file that a directive names, unless that turned out to be no file.
struct Named {
    path: Option<PathBuf>,
    directive: Directive,
}

/// A section that is open, and whether what is in it counts.
struct Section {
    name: String,
    counts: bool,
    line: usize,
}

impl Reader<'_> {
    /// Follows one file; its sections begin and end in it.
    fn file(&mut self, path: &Path, text: &str) {
        let mut sections: Vec<Section> = Vec::new();
        for line in lines(path, text, Continuation::Backslash, &mut self.readout) {
            let place = Place { path, line: line.number };
            let text = line.text.trim();
            let counts = sections.last().is_none_or(|section| section.counts);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if let Some(name) = text.strip_prefix("</") {
                let name = name.trim_end_matches('>').trim().to_ascii_lowercase();
                match sections.pop_if(|section| section.name == name) {
                    Some(section) => self.leave(&section),
                    None => {
                        self.readout.complain(place, format!("</{name}> closes nothing that is open here"));
                    }
                }
            } else if let Some(section) = text.strip_prefix('<') {
                let (name, argument) =
                    split_word(section.rsplit_once('>').map_or(section, |(section, _)| section));
                let name = name.to_ascii_lowercase();
                let counts = counts && self.enter(place, &name, argument.trim());
                sections.push(Section { name, counts, line: line.number });
            } else if counts {
                let text = self.expand(text);
                let (name, arguments) = split_word(&text);
                self.directive(place, name, &words(arguments));
            }
        }
        for section in sections.iter().rev() {
            self.readout
                .complain(Place { path, line: section.line }, format!("<{}> is never closed", section.name));
            self.leave(section);
        }
    }

    /// Opens a section, and says whether what is in it counts.
    fn enter(&mut self, place: Place<'_>, name: &str, argument: &str) -> bool {
        let (argument, wanted) = match argument.strip_prefix('!') {
            Some(argument) => (argument.trim(), false),
            None => (argument, true),
        };
        let argument = self.expand(argument);
        match name {
            "ifdefine" => self.defines.contains_key(&argument) == wanted,
            "ifmodule" => (!is_mod_ssl(&argument) || self.ssl_loaded) == wanted,
            "ifversion" => wanted,
            "iffile" => {
                let path = words(&argument).first().and_then(|value| self.path(value).ok());
                path.is_some_and(|path| self.exists(&path)) == wanted
            }
            "virtualhost" if self.open.is_some() => {
                self.readout.complain(place, "a <VirtualHost> within another, ignoring it");
                false
            }
            "virtualhost" => {
                self.open = Some(Host { addresses: words(&argument), ..Host::default() });
                true
            }
            // A template: nothing in it counts where it stands.
            "macro" => false,
            // <Directory>, <Location> and the like cannot hold a certificate, but they may hold an Include.
            _ => true,
        }
    }

    fn leave(&mut self, section: &Section) {
        if section.counts && section.name == "virtualhost" {
            self.hosts.extend(self.open.take());
        }
    }

    fn directive(&mut self, place: Place<'_>, name: &str, words: &[String]) {
        let name = name.to_ascii_lowercase();
        let first = words.first().map_or("", String::as_str);
        match name.as_str() {
            "serverroot" => match self.path(first) {
                Ok(path) => self.server_root = path,
                Err(why) => self.readout.complain(place, format!("ServerRoot: {why}")),
            },
            "define" => {
                self.defines.insert(first.to_owned(), words.get(1).cloned());
            }
            "undefine" => {
                self.defines.remove(first);
            }
            "loadmodule" => self.ssl_loaded |= is_mod_ssl(first),
            "include" | "includeoptional" => self.include(place, first, name == "includeoptional"),
            "listen" => self.https_ports.extend(https_port(words)),
            "use" => self.readout.complain(
                place,
                format!("macro '{first}' is not understood: certificates that it names are not seen"),
            ),
            "sslopensslconfcmd"
                if ["certificate", "privatekey"].contains(&first.to_ascii_lowercase().as_str()) =>
            {
                self.readout.complain(place, "SSLOpenSSLConfCmd is not understood: use SSLCertificateFile");
            }
            "servername" => self.host().name = Some(host_name(first).to_owned()),
            "serveralias" => self.host().aliases.extend_from_slice(words),
            "sslengine" => match first.to_ascii_lowercase().as_str() {
                "on" | "optional" => self.host().engine = Some(true),
                "off" => self.host().engine = Some(false),
                _ => self.readout.complain(place, format!("SSLEngine is on, off or optional, not '{first}'")),
            },
            "sslcertificatefile" => {
                let named = self.named(place, CERTIFICATE, first);
                self.host().certificates.push(named);
            }
            "sslcertificatekeyfile" => {
                let named = self.named(place, KEY, first);
                self.host().keys.push(named);
            }
            "sslcertificatechainfile" => self.host().chain = Some(self.named(place, CHAIN, first)),
            _ => {}
        }
    }

    /// The server that a directive is about.
    fn host(&mut self) -> &mut Host {
        self.open.as_mut().unwrap_or(&mut self.main)
    }

    fn named(&mut self, place: Place<'_>, directive: &str, value: &str) -> Named {
        let path = match value.split_once(':') {
            Some(("pkcs11", _)) => Err(format!("'{value}' is in a token, not in a file")),
            None if value == "builtin" => Err("'builtin' is no file".to_owned()),
            _ => self.path(value),
        };
        let path = path.map_err(|why| self.readout.complain(place, format!("{directive}: {why}"))).ok();
        Named { path, directive: place.directive(directive) }
    }

    /// Returns the path that a value means: beneath `ServerRoot`, `..` resolved by name as httpd does.
    fn path(&self, value: &str) -> Result<PathBuf, String> {
        if value.contains("${") {
            return Err(format!("'{value}' has a variable in it that is not defined above"));
        }
        let mut path = PathBuf::new();
        for part in absolute(value, Some(&self.server_root))?.components() {
            if part != Component::ParentDir {
                path.push(part);
            } else if !path.pop() {
                return Err(format!("'{value}' leads out of the file system"));
            }
        }
        Ok(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.sources.files.is_dir(path) || self.sources.files.text(path) != Err(NoText::Missing)
    }

    /// Replaces each `${NAME}` that is defined; the others may mean something else and stay, as does what
    /// would grow without end.
    fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if expanded.len() > MAX_LINE {
                return text.to_owned();
            }
            let variable = after.split_once('}').and_then(|(name, after)| {
                let defined = self.defines.get(name).and_then(Option::as_ref);
                Some((defined.or_else(|| self.environment.get(name))?, after))
            });
            expanded.push_str(before);
            rest = if let Some((value, after)) = variable {
                expanded.push_str(value);
                after
            } else {
                expanded.push_str("${");
                after
            };
        }
        expanded + rest
    }

    fn include(&mut self, place: Place<'_>, value: &str, optional: bool) {
        let found = self.path(value).and_then(|path| matches(&path, self.sources.files));
        match found {
            Ok(paths) if paths.is_empty() && !optional => {
                self.readout.complain(place, format!("Include: nothing matches '{value}'"));
            }
            Ok(paths) => {
                for path in paths {
                    self.included(place, &path, optional);
                }
            }
            Err(why) => self.readout.complain(place, format!("Include: {why}")),
        }
    }

    /// Follows one file, or everything in a directory.
    fn included(&mut self, place: Place<'_>, path: &Path, optional: bool) {
        // Nearly everything is a file, so it is opened as one before it is looked at.
        let followed = match self.sources.open(path) {
            Ok(text) => {
                self.file(path, &text);
                Ok(())
            }
            Err(Refusal::Because(_)) if self.sources.files.is_dir(path) => {
                self.sources.enter(path).map(|()| {
                    for name in self.sources.files.names(path) {
                        self.included(place, &path.join(name), optional);
                    }
                })
            }
            Err(refusal) => Err(refusal),
        };
        match followed {
            Ok(()) => self.sources.close(),
            Err(Refusal::Missing) if optional => {}
            Err(refusal) => self.readout.complain(place, format!("Include: '{}' {refusal}", path.display())),
        }
    }

    fn finish(mut self) -> Readout {
        for host in [&self.main].into_iter().chain(&self.hosts) {
            let certificates = merged(&host.certificates, &self.main.certificates);
            let keys = merged(&host.keys, &self.main.keys);
            let chain = host.chain.as_ref().or(self.main.chain.as_ref()).and_then(|chain| chain.path.clone());
            let engine = host.engine.or(self.main.engine);
            // Without a word about SSLEngine, a host with certificates on a port of protocol https has it on.
            if !engine.unwrap_or_else(|| host.ports().any(|port| self.https_ports.contains(port))) {
                if let (None, false, [first, ..]) =
                    (engine, host.addresses.is_empty(), host.certificates.as_slice())
                {
                    let place = Place { path: &first.directive.path, line: first.directive.line };
                    self.readout.complain(
                        place,
                        "is not served: nothing switches SSLEngine on for this virtual host",
                    );
                }
                continue;
            }
            for (index, certificate) in certificates.into_iter().enumerate() {
                let key = keys.get(index).copied();
                let key_path = key.map_or(&certificate.path, |key| &key.path);
                let (Some(certificate_path), Some(key_path)) = (&certificate.path, key_path) else {
                    continue;
                };
                self.readout.readings.push(Reading {
                    certificate: certificate_path.clone(),
                    key: key_path.clone(),
                    chain: chain.clone(),
                    service: host.service(),
                    role: Role::Server,
                    directive: certificate.directive.clone(),
                    key_directive: key.map(|key| key.directive.clone()),
                });
            }
        }
        self.readout
    }
}

impl Host {
    /// Returns what the operator knows the server by: addresses first, then names; `*` for the main server's
    /// address.
    fn service(&self) -> String {
        let addresses = self.addresses.iter().map(String::as_str);
        let main = self.addresses.is_empty().then_some("*");
        let names = self.name.iter().chain(&self.aliases).map(String::as_str);
        addresses.chain(main).chain(names).collect::<Vec<_>>().join(" ")
    }

    fn ports(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().filter_map(|address| Some(address.rsplit_once(':')?.1))
    }
}

/// Lays a virtual host's files over the main server's, each over the one at the same place in the order.
fn merged<'a>(own: &'a [Named], inherited: &'a [Named]) -> Vec<&'a Named> {
    own.iter().chain(inherited.iter().skip(own.len())).collect()
}

/// A module goes by its source's name or by its identifier.
fn is_mod_ssl(name: &str) -> bool {
    name == "mod_ssl.c" || name == "ssl_module"
}

/// Takes scheme and port off `ServerName`, which may have both.
fn host_name(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}

/// Returns the port of a `Listen` whose protocol is https, which on port 443 goes without saying.
fn https_port(words: &[String]) -> Option<String> {
    let address = words.first()?;
    let port = address.rsplit_once(':').map_or(address.as_str(), |(_, port)| port);
    let protocol = words.get(1).map_or(if port == "443" { "https" } else { "http" }, String::as_str);
    protocol.eq_ignore_ascii_case("https").then(|| port.to_owned())
}

/// What `ServerRoot` is until it is set: on Fedora the file is in `conf` beneath it, on Debian in it.
fn default_server_root(directory: &Path) -> PathBuf {
    let is_conf = directory.file_name() == Some(OsStr::new("conf"));
    directory.parent().filter(|_| is_conf).unwrap_or(directory).to_owned()
}

const CERTIFICATE: &str = "SSLCertificateFile";
const KEY: &str = "SSLCertificateKeyFile";
const CHAIN: &str = "SSLCertificateChainFile";
