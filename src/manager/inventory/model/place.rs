//! Places: which files a certificate becomes on a host, where they lie, and who may read them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::words::{Algorithms, KeyAlgorithm, SubjectType};
use super::{About, Name, Refusal, Rule};

/// Where and how a certificate lies on a host or in a jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Which files.
    pub file_type: FileType,
    /// The directory, always beneath the jail or the host's root; `{}` stands for the certificate's name.
    pub cert_path: String,
    /// The directory of a key that has a file of its own; else it is `cert_path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_path: Option<String>,
    /// Number of the owner of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Number of the group of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// Permission bits of keys, in octal digits; 0400 where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner and group are given to certificates, too.
    #[serde(default)]
    pub chown_both: bool,
    /// Links `postgresql.key` and `postgresql.crt` lead to the files.
    #[serde(default)]
    pub pglink: bool,
    /// What is run after a change; `{}` stands for the jail's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "About::is_empty")]
    pub about: About,
}

/// Which files a certificate becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FileType {
    /// The certificate alone.
    #[serde(rename = "cert only")]
    CertOnly,
    /// The key alone.
    #[serde(rename = "key only")]
    KeyOnly,
    /// Key and certificate, each in a file.
    #[serde(rename = "separate")]
    Separate,
    /// Key and certificate in one file.
    #[serde(rename = "combine key")]
    CombineKey,
    /// The key in one file, certificate and CA in another.
    #[serde(rename = "combine cacert")]
    CombineCa,
    /// All in one file.
    #[serde(rename = "combine both")]
    CombineBoth,
}

impl FileType {
    /// Every one, with its name.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::CertOnly, "cert only"),
        (Self::KeyOnly, "key only"),
        (Self::Separate, "separate"),
        (Self::CombineKey, "combine key"),
        (Self::CombineCa, "combine cacert"),
        (Self::CombineBoth, "combine both"),
    ];

    /// Says whether the key has a file of its own.
    pub fn has_key_file(self) -> bool {
        matches!(self, Self::KeyOnly | Self::Separate | Self::CombineCa)
    }

    /// The files, in the order in which they are written; those with the chain only where there is one.
    fn contents(self, chained: bool) -> &'static [Content] {
        use Content::{Cert, CertChain, Key, KeyCert, KeyCertChain};
        match (self, chained) {
            (Self::CertOnly, _) => &[Cert],
            (Self::KeyOnly, _) => &[Key],
            (Self::Separate, false) => &[Key, Cert],
            (Self::Separate, true) => &[Key, CertChain, Cert],
            (Self::CombineKey, false) => &[KeyCert],
            (Self::CombineKey, true) => &[KeyCertChain, KeyCert],
            (Self::CombineCa, _) => &[Key, CertChain],
            (Self::CombineBoth, _) => &[KeyCertChain],
        }
    }
}

/// What is in a file, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// The key.
    Key,
    /// The certificate.
    Cert,
    /// The certificate, and who is above it.
    CertChain,
    /// Key and certificate.
    KeyCert,
    /// Key, certificate, and who is above it.
    KeyCertChain,
    /// A symbolic link to the file with the key.
    KeyLink,
    /// A symbolic link to the file with the certificate.
    CertLink,
}

impl Content {
    /// Says whether who reads the file has the key.
    pub fn has_key(self) -> bool {
        matches!(self, Self::Key | Self::KeyCert | Self::KeyCertChain)
    }
}

/// One file of a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlacedFile {
    /// Absolute beneath the jail, or the host's root.
    pub path: String,
    /// What is in it.
    pub content: Content,
    /// Of which key.
    pub algorithm: KeyAlgorithm,
}

/// What of a certificate decides names of files.
#[derive(Debug, Clone, Copy)]
pub struct Occupant<'a> {
    /// Its name.
    pub name: &'a Name,
    /// What it is for.
    pub subject: SubjectType,
    /// A public authority signs it: the files say that they hold a chain.
    pub chained: bool,
    /// Its keys.
    pub algorithms: Algorithms,
}

impl Place {
    /// Looks at it alone.
    ///
    /// # Errors
    /// [`Rule::Climbs`] for a path that would leave the jail, [`Rule::Form`] for everything else.
    pub fn check(&self, name: &Name) -> Result<(), Refusal> {
        directory(name, "cert_path", &self.cert_path)?;
        if let Some(path) = &self.key_path {
            directory(name, "key_path", path)?;
            if !self.file_type.has_key_file() {
                return Err(Refusal::new(
                    Rule::Form,
                    format!(
                        "place {name}: \"{}\" has no file for the key alone; leave key_path out",
                        self.file_type
                    ),
                ));
            }
        }
        if let Some(reload) = &self.reload
            && (reload.trim().is_empty() || reload.chars().any(char::is_control))
        {
            return Err(Refusal::new(
                Rule::Form,
                format!("place {name}: the reload command is not one line"),
            ));
        }
        Ok(())
    }

    /// The files that a certificate becomes here.
    pub fn files(&self, occupant: &Occupant<'_>) -> Vec<PlacedFile> {
        let name = occupant.name.as_str();
        let cert_directory = below(&self.cert_path.replace("{}", name));
        let key_directory = self.key_path.as_ref().map_or_else(|| cert_directory.clone(), |path| below(path));
        let mut files = Vec::new();
        for (at, algorithm) in occupant.algorithms.keys().iter().enumerate() {
            for content in self.file_type.contents(occupant.chained) {
                let directory = if *content == Content::Key { &key_directory } else { &cert_directory };
                let file = file_name(occupant, *content, *algorithm);
                files.push(PlacedFile {
                    path: format!("{directory}/{file}"),
                    content: *content,
                    algorithm: *algorithm,
                });
            }
            // There is one link for both keys of a pair: it leads to the first.
            if self.pglink && at == 0 {
                let mut link = |directory: &str, name: &str, content| {
                    let path = format!("{directory}/{name}");
                    files.push(PlacedFile { path, content, algorithm: *algorithm });
                };
                if self.file_type != FileType::CertOnly {
                    link(&key_directory, "postgresql.key", Content::KeyLink);
                }
                if self.file_type != FileType::KeyOnly {
                    link(&cert_directory, "postgresql.crt", Content::CertLink);
                }
            }
        }
        files
    }
}

/// The names that serverPKI gives to files.
fn file_name(occupant: &Occupant<'_>, content: Content, algorithm: KeyAlgorithm) -> String {
    let ec = if algorithm == KeyAlgorithm::Ec { "ec_" } else { "" };
    let chain = if occupant.chained { "cert_cacert_chain" } else { "cert_cacert" };
    let Occupant { name, subject, .. } = occupant;
    match content {
        Content::Key | Content::KeyLink => format!("{name}_{subject}_{ec}key.pem"),
        Content::Cert | Content::CertLink => format!("{name}_{subject}_{ec}cert.pem"),
        Content::CertChain => format!("{name}_{subject}_{ec}{chain}.pem"),
        Content::KeyCert => format!("{name}_{subject}_key_{ec}cert.pem"),
        Content::KeyCertChain => format!("{name}_{subject}_key_{ec}{chain}.pem"),
    }
}

/// A directory of a place: whatever it says, it lies beneath the jail.
fn directory(place: &Name, key: &str, path: &str) -> Result<(), Refusal> {
    if path.split('/').any(|part| part == "..") {
        let path = path.escape_debug();
        return Err(Refusal::new(
            Rule::Climbs,
            format!("place {place}: {key} \"{path}\" climbs out of its jail; write it without \"..\""),
        ));
    }
    if path.is_empty() || path.chars().any(char::is_control) {
        let path = path.escape_debug();
        return Err(Refusal::new(Rule::Form, format!("place {place}: {key} \"{path}\" is no directory")));
    }
    Ok(())
}

/// An absolute path without a slash at its end, and without empty parts.
pub fn below(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.fold(String::new(), |path, part| path + "/" + part)
}

/// Permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// Takes a number, as `chmod` would.
    ///
    /// # Errors
    /// [`Rule::Form`] above 07777.
    pub fn new(bits: u32) -> Result<Self, Refusal> {
        let wrong = || Refusal::new(Rule::Form, format!("{bits:#o} is no mode of a file"));
        if bits <= 0o7777 { Ok(Self(bits)) } else { Err(wrong()) }
    }

    /// The number.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl std::str::FromStr for Mode {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|octet| (b'0'..=b'7').contains(&octet));
        match u32::from_str_radix(text, 8) {
            Ok(bits) if octal => Self::new(bits),
            _ => {
                let text = text.escape_debug();
                Err(Refusal::new(
                    Rule::Form,
                    format!("\"{text}\" is no mode; write octal digits, such as 0440"),
                ))
            }
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}
