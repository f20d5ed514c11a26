//! Finds out which certificate files a program *really* reads, from its own configuration.
//!
//! A certificate is worth nothing at the path where it is expected: what counts is the path that the running
//! program opens. So each reader follows its program's own rules (includes, inheritance, macros, overrides)
//! as that program's documentation and source state them, and names the directive that decided, with its file
//! and line.
//!
//! Pure: text in, values out. Other files are reached through [`Files`] only. Other people's configuration is
//! data: whatever is wrong with it becomes a [`Problem`], never a panic, and never an endless walk.

mod cyrus;
mod httpd;
mod sendmail;

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Finds the certificates that `program` reads when it is started with `config`.
///
/// Paths in the result are absolute in the machine's own terms; the caller hangs them beneath its root.
#[must_use]
pub fn read(program: Program, config: &Path, files: &dyn Files) -> Readout {
    let mut sources = Sources::new(files);
    let text = match sources.open(config) {
        Ok(text) => text,
        Err(refusal) => {
            let mut readout = Readout { config_missing: refusal == Refusal::Missing, ..Readout::default() };
            readout.complain(Place { path: config, line: 0 }, refusal.to_string());
            return readout;
        }
    };
    match program {
        Program::Httpd => httpd::read(config, &text, sources),
        Program::CyrusImapd => cyrus::read(config, &text, sources),
        Program::Sendmail => sendmail::read(config, &text),
    }
}

/// The programs whose configuration we can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// Apache's `httpd`, called `apache2` on Debian; its file is `httpd.conf` or `apache2.conf`.
    Httpd,
    /// Cyrus IMAP; its file is `imapd.conf`.
    CyrusImapd,
    /// Sendmail; its file is `sendmail.cf` or `submit.cf`, what `m4` made of the `.mc`.
    Sendmail,
}

impl FromStr for Program {
    type Err = UnknownProgram;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "httpd" => Ok(Self::Httpd),
            "cyrus-imapd" => Ok(Self::CyrusImapd),
            "sendmail" => Ok(Self::Sendmail),
            _ => Err(UnknownProgram(name.to_owned())),
        }
    }
}

/// A name that is none of [`Program`]'s.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no program whose configuration can be read: use httpd, cyrus-imapd or sendmail")]
pub struct UnknownProgram(String);

/// How a reader gets at other files: the only way out of this module, so that parsing stays free of effects.
pub trait Files {
    /// Returns the text of an absolute path, or why it cannot be had.
    ///
    /// # Errors
    ///
    /// [`NoText::Missing`] when there is no such file, [`NoText::Unreadable`] for everything else.
    fn text(&self, path: &Path) -> Result<String, NoText>;

    /// Returns the names (not paths) in a directory, sorted; none when there is no such directory.
    fn names(&self, dir: &Path) -> Vec<String>;

    /// Is it a directory?
    fn is_dir(&self, path: &Path) -> bool;
}

/// Why there is no text to parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoText {
    /// There is no such file.
    Missing,
    /// There is, but it cannot be read; a sentence for the operator, such as "permission denied".
    Unreadable(String),
}

/// What a configuration says, and what was wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Readout {
    /// The certificates in use, in the order of the configuration.
    pub readings: Vec<Reading>,
    /// What could not be understood or followed; the readings are what remains.
    pub problems: Vec<Problem>,
    /// Is there no such configuration at all? Then the program is most likely not installed.
    pub config_missing: bool,
}

/// One place where a configuration names a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The certificate's absolute path.
    pub certificate: PathBuf,
    /// The key's absolute path; equal to `certificate` when one file holds both.
    pub key: PathBuf,
    /// Where the program takes further CA certificates from that it sends along: `SSLCertificateChainFile`,
    /// or the file of trusted CAs from which OpenSSL completes the chain (`tls_client_ca_file`,
    /// `CACertFile`). Often shared.
    pub chain: Option<PathBuf>,
    /// What is served with it: `*:443 www.example.com`, `imap, pop3`, `server`; `*` for what has nothing of
    /// its own.
    pub service: String,
    /// Which side of a connection shows it.
    pub role: Role,
    /// Where the certificate is named.
    pub directive: Directive,
    /// Where the key is named; none when the certificate's own file is taken.
    pub key_directive: Option<Directive>,
}

/// Which side of a connection shows a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The side that is called.
    Server,
    /// The side that calls.
    Client,
}

/// A setting in a configuration, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Directive {
    /// The name, as the program's manual spells it.
    pub name: String,
    /// The file it stands in.
    pub path: PathBuf,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// Something in a configuration that we cannot understand or follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 when it is the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.name)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.message),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.message),
        }
    }
}

impl Readout {
    fn complain(&mut self, place: Place<'_>, message: impl Into<String>) {
        // Nobody reads more, and a broken file may have one on each line.
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                path: place.path.to_owned(),
                line: place.line,
                message: message.into(),
            });
        }
    }
}

/// Where the reader is.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    line: usize,
}

impl Place<'_> {
    fn directive(self, name: &str) -> Directive {
        Directive { name: name.to_owned(), path: self.path.to_owned(), line: self.line }
    }
}

/// Opens configuration files, and keeps includes from going round in circles or on for ever.
struct Sources<'a> {
    files: &'a dyn Files,
    open: Vec<PathBuf>,
    visited: usize,
}

impl<'a> Sources<'a> {
    fn new(files: &'a dyn Files) -> Self {
        Self { files, open: Vec::new(), visited: 0 }
    }

    /// Opens a file that stays open, for the sake of the loop check, until [`Sources::close`].
    fn open(&mut self, path: &Path) -> Result<String, Refusal> {
        self.enter(path)?;
        let text = match self.files.text(path) {
            Ok(text) if text.contains('\0') => Err(Refusal::Because("is not text".into())),
            Ok(text) => Ok(text),
            Err(NoText::Missing) => Err(Refusal::Missing),
            Err(NoText::Unreadable(why)) => Err(Refusal::Because(format!("cannot be read: {why}"))),
        };
        if text.is_err() {
            self.close();
        }
        text
    }

    /// Counts a file or directory in, or refuses it.
    fn enter(&mut self, path: &Path) -> Result<(), Refusal> {
        if self.open.iter().any(|open| open == path) {
            return Err(Refusal::Because("includes itself".into()));
        }
        if self.open.len() > MAX_DEPTH {
            return Err(Refusal::Because(format!("is included more than {MAX_DEPTH} levels deep")));
        }
        if self.visited >= MAX_FILES {
            return Err(Refusal::Because(format!("comes after {MAX_FILES} files: no more are read")));
        }
        self.visited += 1;
        self.open.push(path.to_owned());
        Ok(())
    }

    fn close(&mut self) {
        self.open.pop();
    }
}

/// Why a file is not followed; reads on from the file's name.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Missing,
    Because(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Because(why) => f.write_str(why),
        }
    }
}

/// A line as its program sees it: continuation lines joined on, with the number of the first.
struct Line {
    number: usize,
    text: String,
}

/// How a line is continued.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Continuation {
    /// By a backslash at its end, which goes.
    Backslash,
    /// By a blank at the beginning of the next.
    Indent,
}

/// Splits a text into the lines its program sees, leaving out those that are too long to be meant.
fn lines(path: &Path, text: &str, continuation: Continuation, readout: &mut Readout) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut open = false;
    for (number, part) in (1..).zip(text.lines()) {
        let joins = match continuation {
            Continuation::Backslash => open,
            Continuation::Indent => part.starts_with([' ', '\t']),
        };
        let stripped = part.strip_suffix('\\').filter(|_| continuation == Continuation::Backslash);
        open = stripped.is_some();
        let part = stripped.unwrap_or(part);
        match lines.last_mut() {
            Some(line) if joins => line.text.push_str(part),
            _ => lines.push(Line { number, text: part.to_owned() }),
        }
    }
    lines.retain(|line| {
        let fits = line.text.len() <= MAX_LINE;
        if !fits {
            readout.complain(
                Place { path, line: line.number },
                format!("longer than {MAX_LINE} bytes, ignoring it"),
            );
        }
        fits
    });
    lines
}

/// Turns a configured value into an absolute path, or says why it names no file.
fn absolute(value: &str, base: Option<&Path>) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("names no file".into());
    }
    if value.contains(char::is_control) {
        return Err(format!("{value:?} has a control character in it"));
    }
    let path = match base {
        Some(base) => base.join(value),
        None => PathBuf::from(value),
    };
    if !path.is_absolute() {
        return Err(format!("'{value}' is not an absolute path"));
    }
    Ok(path.components().filter(|part| *part != Component::CurDir).collect())
}

/// Nobody nests includes deeper on purpose.
const MAX_DEPTH: usize = 20;
/// A large hoster's virtual hosts fit; two files that include each other's directory end here.
const MAX_FILES: usize = 10_000;
/// A file of another kind altogether does not fill the memory with what is wrong with it.
const MAX_PROBLEMS: usize = 1000;
/// Far above every limit that the programs themselves have had on a line that names a file.
const MAX_LINE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Files in memory: path and text; a text of `!why` cannot be read.
    #[derive(Clone, Default)]
    pub struct Tree(pub BTreeMap<PathBuf, String>);

    impl Tree {
        pub fn new(files: &[(&str, &str)]) -> Self {
            Self(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
        }

        /// The same files, with every prefix of each file's text in its place.
        pub fn every_prefix(&self) -> impl Iterator<Item = Tree> + '_ {
            self.0.iter().flat_map(move |(path, text)| {
                text.char_indices().map(move |(end, _)| {
                    let mut tree = self.clone();
                    tree.0.insert(path.clone(), text[..end].to_owned());
                    tree
                })
            })
        }
    }

    impl Files for Tree {
        fn text(&self, path: &Path) -> Result<String, NoText> {
            match self.0.get(path) {
                Some(text) => match text.strip_prefix('!') {
                    Some(why) => Err(NoText::Unreadable(why.to_owned())),
                    None => Ok(text.clone()),
                },
                None if self.is_dir(path) => Err(NoText::Unreadable("is a directory".into())),
                None => Err(NoText::Missing),
            }
        }

        fn names(&self, dir: &Path) -> Vec<String> {
            let mut names: Vec<String> = self
                .0
                .keys()
                .filter_map(|path| path.strip_prefix(dir).ok()?.components().next())
                .map(|name| name.as_os_str().to_string_lossy().into_owned())
                .collect();
            names.dedup();
            names
        }

        fn is_dir(&self, path: &Path) -> bool {
            self.0.keys().any(|file| file != path && file.starts_with(path))
        }
    }

    /// A readout in short: one line a reading, `service: certificate key [chain] @file:line`.
    pub fn shown(readout: &Readout) -> Vec<String> {
        let name = |path: &Path| path.display().to_string();
        let reading = |reading: &Reading| {
            let chain = reading.chain.as_deref().map(|chain| format!(" {}", name(chain))).unwrap_or_default();
            format!(
                "{}: {} {}{chain} @{}:{}",
                reading.service,
                name(&reading.certificate),
                name(&reading.key),
                name(&reading.directive.path),
                reading.directive.line,
            )
        };
        readout.readings.iter().map(reading).collect()
    }

    /// The problems as the operator sees them.
    pub fn complaints(readout: &Readout) -> Vec<String> {
        readout.problems.iter().map(ToString::to_string).collect()
    }

    const PROGRAMS: [(&str, Program); 3] =
        [("httpd", Program::Httpd), ("cyrus-imapd", Program::CyrusImapd), ("sendmail", Program::Sendmail)];

    #[test]
    fn programs_have_one_name_in_text_and_in_toml() {
        for (name, program) in PROGRAMS {
            assert_eq!(name.parse(), Ok(program), "{name}");
            assert_eq!(serde_json::from_value::<Program>(name.into()).unwrap(), program, "{name}");
        }
        assert!("apache".parse::<Program>().is_err());
    }

    #[test]
    fn a_config_that_cannot_be_had_is_a_problem() {
        let files = Tree::new(&[("/etc/locked", "!permission denied"), ("/etc/junk", "a\0b")]);
        for (path, missing, message) in [
            ("/etc/none", true, "/etc/none: does not exist"),
            ("/etc/locked", false, "/etc/locked: cannot be read: permission denied"),
            ("/etc/junk", false, "/etc/junk: is not text"),
        ] {
            for (name, program) in PROGRAMS {
                let readout = read(program, Path::new(path), &files);
                assert!(readout.readings.is_empty(), "{name} {path}");
                assert_eq!(readout.config_missing, missing, "{name} {path}");
                assert_eq!(complaints(&readout), [message], "{name} {path}");
            }
        }
    }

    #[test]
    fn lines_are_joined_and_counted_as_their_program_does() {
        type Lines<'a> = &'a [(usize, &'a str)];
        let cases: [(&str, Continuation, &str, Lines); 6] = [
            ("plain", Continuation::Backslash, "a\nb\n", &[(1, "a"), (2, "b")]),
            ("backslash", Continuation::Backslash, "a \\\n b\nc", &[(1, "a  b"), (3, "c")]),
            ("at the end", Continuation::Backslash, "a\\", &[(1, "a")]),
            ("from windows", Continuation::Backslash, "a\\\r\nb\r\n", &[(1, "ab")]),
            ("indent", Continuation::Indent, "a\n\tb\nc\\\nd", &[(1, "a\tb"), (3, "c\\"), (4, "d")]),
            ("indent first", Continuation::Indent, " a", &[(1, " a")]),
        ];
        for (name, continuation, text, expected) in cases {
            let lines = lines(Path::new("/c"), text, continuation, &mut Readout::default());
            let lines: Vec<_> = lines.iter().map(|line| (line.number, line.text.as_str())).collect();
            assert_eq!(lines, expected, "{name}");
        }
    }

    #[test]
    fn an_overlong_line_is_a_problem() {
        let text = format!("a\n{}\nb", "x".repeat(MAX_LINE + 1));
        let mut readout = Readout::default();
        assert_eq!(lines(Path::new("/c"), &text, Continuation::Backslash, &mut readout).len(), 2);
        assert_eq!(complaints(&readout), ["/c:2: longer than 16384 bytes, ignoring it"]);
    }

    #[test]
    fn values_become_absolute_paths() {
        let base = Some(Path::new("/etc/httpd"));
        for (name, value, base, expected) in [
            ("absolute", "/a.crt", None, Ok("/a.crt")),
            ("relative to a base", "conf/a.crt", base, Ok("/etc/httpd/conf/a.crt")),
            ("dots and slashes", "/a//./b", None, Ok("/a/b")),
            ("relative", "a.crt", None, Err("'a.crt' is not an absolute path")),
            ("empty", "", base, Err("names no file")),
            ("control", "/a\u{7}b", base, Err("\"/a\\u{7}b\" has a control character in it")),
        ] {
            let expected = expected.map(PathBuf::from).map_err(str::to_owned);
            assert_eq!(absolute(value, base), expected, "{name}");
        }
    }
}
