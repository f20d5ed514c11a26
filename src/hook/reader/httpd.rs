//! Reads the configuration of Apache httpd: which certificates each virtual host really serves.
//!
//! Sources: httpd 2.4's documentation, "Configuration Files", "core" and `mod_ssl`; its `server/config.c`,
//! `server/util.c` and `modules/ssl/ssl_engine_config.c`, where the documentation is silent.
//!
//! What cannot be known from the files is taken so that no certificate is missed: `<IfVersion>`, and
//! `<IfModule>` of any module but `mod_ssl`, are true (`!` turns that round); `mod_ssl` is there once
//! `LoadModule` named it; nothing is defined by `-D`. Not followed: macros of `mod_macro`,
//! `SSLOpenSSLConfCmd`, `SSLProxyMachineCertificateFile`, `mod_md`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::{
    Continuation, Directive, Files, MAX_FILES, MAX_LINE, NoText, Place, Reading, Readout, Refusal, Role,
    Sources, absolute, lines,
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

/// Returns the files and directories that an `Include` means, in the order in which httpd reads them.
fn matches(path: &Path, files: &dyn Files) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![PathBuf::new()];
    let mut searching = false;
    let mut parts = path.components().map(Component::as_os_str).peekable();
    while let Some(part) = parts.next() {
        let text = part.to_string_lossy();
        if !searching && !text.contains(['*', '?', '[']) {
            // Whether a path without wildcards exists is seen when it is opened.
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        searching = true;
        let pattern = pattern(&text)?;
        let last = parts.peek().is_none();
        found = found
            .iter()
            .flat_map(|dir| files.names(dir).into_iter().map(|name| (dir.join(&name), name)))
            .filter(|(path, name)| pattern.matches_with(name, WILDCARDS) && (last || files.is_dir(path)))
            .map(|(path, _)| path)
            .take(MAX_FILES)
            .collect();
    }
    Ok(found)
}

/// Translates from fnmatch(3): `[^…]` is the crate's `[!…]`, and `**` has no meaning of its own.
fn pattern(part: &str) -> Result<Pattern, String> {
    let mut text = part.replace("[^", "[!");
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    Pattern::new(&text).map_err(|error| format!("'{part}': {}", error.msg))
}

/// Splits a line into words; quotes of either kind hold blanks together, and a backslash frees a quote or
/// itself.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix(['"', '\'']) {
            Some(quoted) => word(quoted, rest.chars().next()),
            None => word(rest, None),
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

fn word(text: &str, quote: Option<char>) -> (String, &str) {
    let mut word = String::new();
    let mut chars = text.chars();
    loop {
        let here = chars.as_str();
        let Some(c) = chars.next() else { return (word, "") };
        let end = quote.map_or(c.is_whitespace(), |quote| c == quote);
        if end {
            return (word, if quote.is_some() { chars.as_str() } else { here });
        }
        let freed = chars.clone().next().filter(|next| c == '\\' && (*next == '\\' || Some(*next) == quote));
        if freed.is_some() {
            chars.next();
        }
        word.push(freed.unwrap_or(c));
    }
}

fn split_word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
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

/// Reads the plain `export NAME=value` lines of Debian's `envvars`; what the shell would have to work out
/// stays unknown.
fn environment(directory: &Path, files: &dyn Files) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let text = files.text(&directory.join("envvars")).unwrap_or_default();
    for line in text.lines() {
        let assignment =
            line.trim().strip_prefix("export ").and_then(|text| text.trim_start().split_once('='));
        if let Some((name, value)) = assignment
            && let Some(value) = shell_value(value, &environment)
        {
            environment.insert(name.to_owned(), value);
        }
    }
    environment
}

/// Returns what a shell makes of a plain value, with unset variables empty; nothing when there is more to
/// work out.
fn shell_value(value: &str, environment: &BTreeMap<String, String>) -> Option<String> {
    if let Some(quoted) = value.strip_prefix('\'') {
        return Some(quoted.split_once('\'')?.0.to_owned());
    }
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?.0,
        None => split_word(value).0,
    };
    let mut parts = value.split('$');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = match part.strip_prefix('{') {
            Some(part) => part.split_once('}')?,
            None => part.split_at(part.find(|c| !is_variable(c)).unwrap_or(part.len())),
        };
        if name.is_empty() || !name.chars().all(is_variable) {
            return None;
        }
        expanded.push_str(environment.get(name).map_or("", String::as_str));
        expanded.push_str(rest);
    }
    let plain = expanded.len() <= MAX_LINE && !expanded.contains(['`', '\\', '"', '\'']);
    plain.then_some(expanded)
}

fn is_variable(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

const CERTIFICATE: &str = "SSLCertificateFile";
const KEY: &str = "SSLCertificateKeyFile";
const CHAIN: &str = "SSLCertificateChainFile";
/// As `apr_fnmatch` with `APR_FNM_PERIOD`.
const WILDCARDS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

#[cfg(test)]
mod tests {
    use super::super::tests::{Tree, complaints, shown};
    use super::super::{MAX_DEPTH, MAX_PROBLEMS, Program, Readout, read};
    use super::{shell_value, words};
    use std::path::Path;

    const CONF: &str = "/etc/httpd/conf/httpd.conf";
    const SITE: &str = "/etc/httpd/conf.d/a.conf";

    /// Fedora's layout, shortened.
    const FEDORA: [(&str, &str); 5] = [
        (
            CONF,
            "# main\nServerRoot \"/etc/httpd\"\nListen 80\nInclude conf.modules.d/*.conf\nIncludeOptional conf.d/*.conf\n",
        ),
        ("/etc/httpd/conf.modules.d/00-ssl.conf", "LoadModule ssl_module modules/mod_ssl.so\n"),
        ("/etc/httpd/conf.d/README", "SSLEngine on\nSSLCertificateFile /not/read\n"),
        ("/etc/httpd/conf.d/.hidden.conf", "SSLEngine on\nSSLCertificateFile /not/read\n"),
        (
            "/etc/httpd/conf.d/ssl.conf",
            "Listen 443 https\n<VirtualHost _default_:443>\n#ServerName www.example.com:443\nSSLEngine on\n\
             SSLCertificateFile /etc/pki/tls/certs/localhost.crt\n\
             SSLCertificateKeyFile /etc/pki/tls/private/localhost.key\n\
             #SSLCertificateChainFile /etc/pki/tls/certs/server-chain.crt\n\
             <FilesMatch \"\\.(cgi|php)$\">\n    SSLOptions +StdEnvVars\n</FilesMatch>\n</VirtualHost>\n",
        ),
    ];

    const DEBIAN_CONF: &str = "/etc/apache2/apache2.conf";

    /// Debian's layout, shortened.
    const DEBIAN: [(&str, &str); 7] = [
        (
            DEBIAN_CONF,
            "#ServerRoot \"/etc/apache2\"\nDefaultRuntimeDir ${APACHE_RUN_DIR}\nIncludeOptional mods-enabled/*.load\n\
             IncludeOptional mods-enabled/*.conf\nInclude ports.conf\nIncludeOptional conf-enabled/*.conf\n\
             IncludeOptional sites-enabled/*.conf\n",
        ),
        (
            "/etc/apache2/envvars",
            "unset HOME\nexport APACHE_RUN_DIR=/var/run/apache2$SUFFIX\nexport APACHE_TLS=\"/srv/tls\"\n",
        ),
        ("/etc/apache2/ports.conf", "Listen 80\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n"),
        ("/etc/apache2/mods-enabled/ssl.load", "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n"),
        (
            "/etc/apache2/sites-enabled/000-default.conf",
            "<VirtualHost *:80>\n\tDocumentRoot /var/www/html\n</VirtualHost>\n",
        ),
        (
            "/etc/apache2/sites-enabled/default-ssl.conf",
            "<IfModule mod_ssl.c>\n<VirtualHost *:443>\n\tSSLEngine on\n\
             \tSSLCertificateFile      /etc/ssl/certs/ssl-cert-snakeoil.pem\n\
             \tSSLCertificateKeyFile   /etc/ssl/private/ssl-cert-snakeoil.key\n</VirtualHost>\n</IfModule>\n",
        ),
        (
            "/etc/apache2/sites-enabled/shop.conf",
            "<VirtualHost *:443>\n\tServerName https://shop.example.org:443\n\tServerAlias example.org\n\tSSLEngine on\n\
             \tSSLCertificateFile ${APACHE_TLS}/shop.pem\n</VirtualHost>\n",
        ),
    ];

    fn read_at(config: &str, files: &[(&str, &str)]) -> Readout {
        read(Program::Httpd, Path::new(config), &Tree::new(files))
    }

    #[test]
    fn reads_fedoras_layout() {
        let readout = read_at(CONF, &FEDORA);
        assert_eq!(
            shown(&readout),
            ["_default_:443: /etc/pki/tls/certs/localhost.crt /etc/pki/tls/private/localhost.key \
              @/etc/httpd/conf.d/ssl.conf:5"]
        );
        assert_eq!(readout.readings[0].directive.name, "SSLCertificateFile");
        assert_eq!(readout.readings[0].key_directive.as_ref().map(|key| key.line), Some(6));
        assert!(readout.problems.is_empty(), "{:?}", readout.problems);
    }

    #[test]
    fn reads_debians_layout() {
        let readout = read_at(DEBIAN_CONF, &DEBIAN);
        assert_eq!(
            shown(&readout),
            [
                "*:443: /etc/ssl/certs/ssl-cert-snakeoil.pem /etc/ssl/private/ssl-cert-snakeoil.key \
                 @/etc/apache2/sites-enabled/default-ssl.conf:4",
                "*:443 shop.example.org example.org: /srv/tls/shop.pem /srv/tls/shop.pem \
                 @/etc/apache2/sites-enabled/shop.conf:5",
            ]
        );
        assert!(readout.problems.is_empty(), "{:?}", readout.problems);
    }

    #[test]
    fn without_mod_ssl_its_sections_do_not_count() {
        let mut files = DEBIAN.to_vec();
        files.retain(|(path, _)| !path.ends_with("ssl.load") && !path.ends_with("shop.conf"));
        assert!(read_at(DEBIAN_CONF, &files).readings.is_empty());
    }

    /// Reads one text as the whole configuration; `{}` in it stands for a complete host's certificate.
    fn read_text(text: &str) -> Readout {
        read_at(CONF, &[(CONF, &text.replace("{}", "SSLEngine on\nSSLCertificateFile"))])
    }

    #[test]
    fn understands_the_forms_of_a_directive() {
        let at = |line: usize, file: &str| format!("*: {file} {file} @{CONF}:{line}");
        for (name, text, expected) in [
            ("plain", "SSLEngine on\nSSLCertificateFile /a", at(2, "/a")),
            ("case and blanks", "  sslengine ON\n\tSSLCERTIFICATEFILE\t /a  ", at(2, "/a")),
            ("optional", "SSLEngine optional\nSSLCertificateFile /a", at(2, "/a")),
            ("relative to ServerRoot", "{} conf/a.crt", at(2, "/etc/httpd/conf/a.crt")),
            ("another ServerRoot", "ServerRoot /srv\n{} a.crt", at(3, "/srv/a.crt")),
            ("dots", "{} /etc/./pki/../a.crt", at(2, "/etc/a.crt")),
            ("double quotes", "{} \"/a b\\\"c\"", at(2, "/a b\"c")),
            ("single quotes", "{} '/a b'", at(2, "/a b")),
            ("backslashes", "{} /a\\\\b\\c", at(2, "/a\\b\\c")),
            ("no trailing comments", "{} /a #b", at(2, "/a")),
            ("continued", "# a \\\n comment\n{} \\\n  /a", at(4, "/a")),
            ("from windows", "{} \\\r\n /a\r\n", at(2, "/a")),
            ("variable", "Define dir /tls\nDefine full ${dir}/x\n{} ${full}/a", at(4, "/tls/x/a")),
            ("variable in quotes", "Define dir \"/t l\"\n{} \"${dir}/a\"", at(3, "/t l/a")),
        ] {
            let readout = read_text(text);
            assert_eq!(shown(&readout), [expected], "{name}");
            assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
        }
    }

    #[test]
    fn follows_conditions() {
        for (name, text, counts) in [
            ("defined", "Define X\n<IfDefine X>\n{} /a\n</IfDefine>", true),
            ("defined with a value", "Define X off\n<IfDefine X>\n{} /a\n</IfDefine>", true),
            ("not defined", "<IfDefine X>\n{} /a\n</IfDefine>", false),
            ("negated", "<IfDefine !X>\n{} /a\n</IfDefine>", true),
            ("undefined again", "Define X\nUnDefine X\n<IfDefine X>\n{} /a\n</IfDefine>", false),
            ("defined too late", "<IfDefine X>\n{} /a\n</IfDefine>\nDefine X", false),
            ("no mod_ssl", "<IfModule mod_ssl.c>\n{} /a\n</IfModule>", false),
            ("no mod_ssl, negated", "<IfModule !ssl_module>\n{} /a\n</IfModule>", true),
            ("mod_ssl", "LoadModule ssl_module m.so\n<ifmodule mod_ssl.c>\n{} /a\n</IFMODULE>", true),
            ("another module", "<IfModule mod_http2.c>\n{} /a\n</IfModule>", true),
            ("another module, negated", "<IfModule !mod_http2.c>\n{} /a\n</IfModule>", false),
            ("version", "<IfVersion >= 2.4>\n{} /a\n</IfVersion>", true),
            ("file", "<IfFile conf/httpd.conf>\n{} /a\n</IfFile>", true),
            ("directory", "<IfFile \"conf\">\n{} /a\n</IfFile>", true),
            ("no file", "<IfFile /none>\n{} /a\n</IfFile>", false),
            ("no file, negated", "<IfFile !/none>\n{} /a\n</IfFile>", true),
            (
                "within one that does not count",
                "<IfDefine X>\n<IfVersion 2>\n{} /a\n</IfVersion>\n</IfDefine>",
                false,
            ),
            (
                "defines do not count either",
                "<IfDefine X>\nDefine Y\n</IfDefine>\n<IfDefine Y>\n{} /a\n</IfDefine>",
                false,
            ),
            ("behind one that does not count", "<IfDefine X>\n</IfDefine>\n{} /a", true),
        ] {
            let readout = read_text(text);
            assert_eq!(readout.readings.len(), usize::from(counts), "{name}");
            assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
        }
    }

    #[test]
    fn knows_what_each_virtual_host_serves() {
        let cases: [(&str, &str, &[&str]); 12] = [
            ("off", "<VirtualHost *:443>\nSSLEngine off\nSSLCertificateFile /a\n</VirtualHost>", &[]),
            (
                "two kinds of key",
                "<VirtualHost *:443>\nSSLEngine on\nSSLCertificateFile /rsa.crt\nSSLCertificateFile /ec.crt\n\
              SSLCertificateKeyFile /rsa.key\nSSLCertificateKeyFile /ec.key\n</VirtualHost>",
                &["*:443: /rsa.crt /rsa.key @F:3", "*:443: /ec.crt /ec.key @F:4"],
            ),
            (
                "second key in its certificate's file",
                "{} /rsa.crt\nSSLCertificateFile /ec.pem\nSSLCertificateKeyFile /rsa.key",
                &["*: /rsa.crt /rsa.key @F:2", "*: /ec.pem /ec.pem @F:3"],
            ),
            ("chain", "{} /a\nSSLCertificateChainFile /ca", &["*: /a /a /ca @F:2"]),
            (
                "several addresses",
                "<VirtualHost 192.0.2.1:443 [2001:db8::1]:443 >\nServerName a.example\n{} /a\n</VirtualHost>",
                &["192.0.2.1:443 [2001:db8::1]:443 a.example: /a /a @F:4"],
            ),
            (
                "inherited certificate",
                "SSLCertificateFile /a\nSSLCertificateKeyFile /k\nSSLCertificateChainFile /ca\n\
              <VirtualHost *:443>\nSSLEngine on\n</VirtualHost>\n<VirtualHost *:80>\n</VirtualHost>",
                &["*:443: /a /k /ca @F:1"],
            ),
            (
                "inherited, set further down",
                "<VirtualHost *:443>\nSSLEngine on\n</VirtualHost>\nSSLCertificateFile /a",
                &["*:443: /a /a @F:4"],
            ),
            (
                "inherited engine",
                "{} /a\n<VirtualHost *:443>\nSSLCertificateFile /b\n</VirtualHost>\n\
              <VirtualHost *:80>\nSSLEngine off\n</VirtualHost>",
                &["*: /a /a @F:2", "*:443: /b /b @F:4"],
            ),
            // As mod_ssl merges: place by place, so that the inherited key goes with the host's own
            // certificate.
            (
                "own certificate, inherited key",
                "SSLCertificateFile /a\nSSLCertificateKeyFile /k\nSSLCertificateFile /a2\n\
              <VirtualHost *:443>\n{} /b\n</VirtualHost>",
                &["*:443: /b /k @F:6", "*:443: /a2 /a2 @F:3"],
            ),
            (
                "on by the port",
                "Listen 443\n<VirtualHost *:443>\nSSLCertificateFile /a\n</VirtualHost>",
                &["*:443: /a /a @F:3"],
            ),
            (
                "on by the protocol",
                "<VirtualHost *:8443>\nSSLCertificateFile /a\n</VirtualHost>\nListen [::]:8443 https",
                &["*:8443: /a /a @F:2"],
            ),
            (
                "off in spite of the port",
                "Listen 443\n<VirtualHost *:443>\nSSLEngine off\nSSLCertificateFile /a\n</VirtualHost>",
                &[],
            ),
        ];
        for (name, text, expected) in cases {
            let readout = read_text(text);
            let expected: Vec<_> =
                expected.iter().map(|line| line.replace("@F", &format!("@{CONF}"))).collect();
            assert_eq!(shown(&readout), expected, "{name}");
            assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
        }
    }

    #[test]
    fn says_what_it_does_not_understand() {
        for (name, text, line, message) in [
            (
                "never switched on",
                "<VirtualHost *:443>\nSSLCertificateFile /a\n</VirtualHost>",
                2,
                "is not served: nothing switches SSLEngine on for this virtual host",
            ),
            (
                "token",
                "{} pkcs11:object=a",
                2,
                "SSLCertificateFile: 'pkcs11:object=a' is in a token, not in a file",
            ),
            ("builtin", "{} builtin", 2, "SSLCertificateFile: 'builtin' is no file"),
            (
                "undefined",
                "{} ${no}/a",
                2,
                "SSLCertificateFile: '${no}/a' has a variable in it that is not defined above",
            ),
            ("no value", "{}", 2, "SSLCertificateFile: names no file"),
            (
                "out of the root",
                "{} ../../../a",
                2,
                "SSLCertificateFile: '../../../a' leads out of the file system",
            ),
            ("half a switch", "SSLEngine maybe", 1, "SSLEngine is on, off or optional, not 'maybe'"),
            (
                "macro",
                "<Macro Site $n>\n{} /$n\n</Macro>\nUse Site a",
                5,
                "macro 'Site' is not understood: certificates that it names are not seen",
            ),
            (
                "command for OpenSSL",
                "SSLOpenSSLConfCmd Certificate /a",
                1,
                "SSLOpenSSLConfCmd is not understood: use SSLCertificateFile",
            ),
            (
                "never closed",
                "<Directory />\n<VirtualHost *:80>\n</VirtualHost>",
                1,
                "<directory> is never closed",
            ),
            ("never opened", "</VirtualHost>", 1, "</virtualhost> closes nothing that is open here"),
            (
                "nested",
                "<VirtualHost a:1>\n<VirtualHost b:2>\n{} /a\n</VirtualHost>\n</VirtualHost>",
                2,
                "a <VirtualHost> within another, ignoring it",
            ),
            (
                "grows without end",
                "Define A aaaaaaaaaaaaaaaa\n{A}Include ${A}",
                61,
                "Include: '${A}' has a variable in it that is not defined above",
            ),
            ("no such file", "Include none.conf", 1, "Include: '/etc/httpd/none.conf' does not exist"),
            ("no match", "Include none/*.conf", 1, "Include: nothing matches 'none/*.conf'"),
            ("bad pattern", "Include conf/[a", 1, "Include: '[a': invalid range pattern"),
        ] {
            let text = text.replace("{A}", &"Define A ${A}${A}\n".repeat(59));
            let readout = read_text(&text);
            assert!(readout.readings.is_empty(), "{name}: {:?}", shown(&readout));
            let expected = format!("{CONF}:{line}: {message}");
            if name == "grows without end" {
                assert!(complaints(&readout)[0].starts_with(&format!("{CONF}:{line}: Include: ")), "{name}");
            } else {
                assert_eq!(complaints(&readout), [expected], "{name}");
            }
        }
    }

    #[test]
    fn includes_what_httpd_includes() {
        let certificate = |name: &str| format!("SSLEngine on\nSSLCertificateFile /{name}\n");
        let cases: [(&str, &str, &[&str], &[&str]); 12] = [
            ("file", "conf.d/b.conf", &["conf.d/b.conf", "conf.d/a.conf"], &["/conf.d/b.conf"]),
            ("absolute", "/srv/a", &["/srv/a"], &["//srv/a"]),
            (
                "sorted",
                "conf.d/*.conf",
                &["conf.d/b.conf", "conf.d/a.conf"],
                &["/conf.d/a.conf", "/conf.d/b.conf"],
            ),
            ("one character", "conf.d/?.conf", &["conf.d/b.conf", "conf.d/bb.conf"], &["/conf.d/b.conf"]),
            ("set", "conf.d/[!a].conf", &["conf.d/a.conf", "conf.d/b.conf"], &["/conf.d/b.conf"]),
            (
                "set of the other form",
                "conf.d/[^a].conf",
                &["conf.d/a.conf", "conf.d/b.conf"],
                &["/conf.d/b.conf"],
            ),
            ("hidden", "conf.d/*", &["conf.d/.a", "conf.d/b"], &["/conf.d/b"]),
            ("hidden on purpose", "conf.d/.*", &["conf.d/.a", "conf.d/b"], &["/conf.d/.a"]),
            ("directories", "*.d/*/s.conf", &["a.d/x/s.conf", "a.d/y", "b.d/x/t.conf"], &["/a.d/x/s.conf"]),
            ("everything below", "conf.d", &["conf.d/z/a", "conf.d/b~"], &["/conf.d/b~", "/conf.d/z/a"]),
            ("everything below matches", "conf.*", &["conf.d/z/a", "conf.x"], &["/conf.d/z/a", "/conf.x"]),
            ("stars", "conf.d/**.conf", &["conf.d/a.conf"], &["/conf.d/a.conf"]),
        ];
        for (name, include, present, expected) in cases {
            let mut tree = Tree::new(&[("/etc/my/conf/httpd.conf", &format!("Include {include}\n"))]);
            for file in present {
                tree.0.insert(Path::new("/etc/my").join(file), certificate(file));
            }
            let readout = read(Program::Httpd, Path::new("/etc/my/conf/httpd.conf"), &tree);
            let found: Vec<_> =
                readout.readings.iter().map(|reading| reading.certificate.display().to_string()).collect();
            let expected: Vec<_> = expected.iter().map(|path| path.replace("//", "/")).collect();
            assert_eq!(found, expected, "{name}");
            assert!(readout.problems.is_empty(), "{name}: {:?}", readout.problems);
        }
    }

    #[test]
    fn an_include_within_a_virtual_host_is_part_of_it() {
        let site = "<VirtualHost *:443>\nServerName a.example\nInclude tls.inc\n</VirtualHost>\n";
        let readout =
            read_at(CONF, &[(CONF, site), ("/etc/httpd/tls.inc", "SSLEngine on\nSSLCertificateFile /a\n")]);
        assert_eq!(shown(&readout), ["*:443 a.example: /a /a @/etc/httpd/tls.inc:2"]);
        assert!(readout.problems.is_empty(), "{:?}", readout.problems);
    }

    #[test]
    fn includes_come_to_an_end() {
        let main = "Include conf.d/a.conf\nSSLEngine on\nSSLCertificateFile /c";
        for (name, included, problem) in [
            (
                "unreadable",
                "!permission denied",
                Some(format!("{CONF}:1: Include: '{SITE}' cannot be read: permission denied")),
            ),
            ("junk", "\u{1}\0", Some(format!("{CONF}:1: Include: '{SITE}' is not text"))),
            (
                "in a circle",
                "Include conf/httpd.conf",
                Some(format!("{SITE}:1: Include: '{CONF}' includes itself")),
            ),
            (
                "in a circle by a wildcard",
                "Include */httpd.conf",
                Some(format!("{SITE}:1: Include: '{CONF}' includes itself")),
            ),
            ("optional and missing", "IncludeOptional none\nIncludeOptional x/*", None),
        ] {
            let readout = read_at(CONF, &[(CONF, main), (SITE, included)]);
            assert_eq!(shown(&readout), [format!("*: /c /c @{CONF}:3")], "{name}");
            assert_eq!(complaints(&readout), problem.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn deep_and_wide_includes_come_to_an_end() {
        // Each file includes the next one twice: two to the power of the depth, if nobody counts.
        for (name, levels, problem) in [
            ("deep", MAX_DEPTH + 2, "is included more than 20 levels deep"),
            ("wide", MAX_DEPTH - 4, "comes after 10000 files: no more are read"),
        ] {
            let mut tree = Tree::new(&[(CONF, "Include conf/1\n")]);
            for level in 1..=levels {
                let next = if level < levels {
                    format!("Include conf/{0}\nInclude conf/{0}\n", level + 1)
                } else {
                    String::new()
                };
                tree.0.insert(format!("/etc/httpd/conf/{level}").into(), next);
            }
            let readout = read(Program::Httpd, Path::new(CONF), &tree);
            assert!(complaints(&readout)[0].ends_with(problem), "{name}: {:?}", readout.problems.first());
            assert!(readout.problems.len() <= MAX_PROBLEMS, "{name}");
        }
    }

    #[test]
    fn words_are_split_as_httpd_does() {
        let cases: [(&str, &str, &[&str]); 8] = [
            ("blanks", "  a\tb  ", &["a", "b"]),
            ("nothing", " ", &[]),
            ("empty quotes", "\"\" a", &["", "a"]),
            ("quotes", "\"a b\" 'c \"d\"'", &["a b", "c \"d\""]),
            ("freed quote", r#""a\"b\\c\d""#, &[r#"a"b\c\d"#]),
            ("never closed", "'a b", &["a b"]),
            ("quote within", "a\"b c\"", &["a\"b", "c\""]),
            ("right behind", "\"a\"b", &["a", "b"]),
        ];
        for (name, text, expected) in cases {
            assert_eq!(words(text), expected, "{name}");
        }
    }

    #[test]
    fn shell_values_are_plain_or_unknown() {
        let environment = [("A".to_owned(), "x".to_owned())].into();
        for (name, value, expected) in [
            ("plain", "/run/a # comment", Some("/run/a")),
            ("empty", "", Some("")),
            ("variables", "$A-${A}$SUFFIX", Some("x-x")),
            ("double quotes", "\"a $A\"", Some("a x")),
            ("single quotes", "'a $A'", Some("a $A")),
            ("command", "$(hostname)", None),
            ("older command", "`hostname`", None),
            ("default", "${B:-b}", None),
            ("never closed", "\"a", None),
        ] {
            assert_eq!(shell_value(value, &environment).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn every_prefix_is_read_without_panic() {
        let odd = "Include \"conf.d/[!x]*.conf\"\nDefine A '\\'é'\n{} ${A}/\\\n\"${A\"\n<IfFile !\"x\">\n</IfFile>\n<Macro x>\n";
        for (config, files) in
            [(CONF, FEDORA.as_slice()), (DEBIAN_CONF, DEBIAN.as_slice()), (CONF, &[(CONF, odd)])]
        {
            for tree in Tree::new(files).every_prefix() {
                let _ = read(Program::Httpd, Path::new(config), &tree);
            }
        }
    }
}
