//! Files that a hook owns: certificates with their keys, host keys, secrets; and what was found of
//! them. Whose they are, `verdict` says.

mod managed;
mod verdict;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::hook::ExtraName;
use crate::hook::program::{Answer, Program};
use crate::hook::template::Template;
use crate::ledger::{Digest, Made};
use crate::pki::container::Part;
use crate::pki::inspect::Certificate;
use crate::pki::{Algorithm, Usage, ssh};

pub use managed::{Held, Managed, Version};
pub use verdict::{Verdict, claims_something_untrue};

/// Files that are made together or not at all, because they hold one key or one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What is made.
    pub what: What,
    /// The files; of a host key the private half comes first.
    pub artifacts: Vec<Artifact>,
    /// Another program that renews one of the files, in words.
    pub tracked: Option<String>,
}

/// What a bundle is, and with that what it follows: the machine's name, or the machine itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// One key with its certificates: they follow the name.
    Certificates(Certificates),
    /// An SSH host key: it follows the machine.
    HostKey(ssh::Algorithm),
    /// A text with something random in it: it follows the machine.
    Secret(Template),
    /// Files that a hook's own program makes: they follow what the program says.
    Program(Box<Programmed>),
}

/// A hook's own program, and what it said of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programmed {
    /// The program.
    pub program: Program,
    /// What it was told, and will be told again when it makes them.
    pub facts: String,
    /// Whether they hold.
    pub answer: Answer,
}

/// What the certificates of one key are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// Kind of key.
    pub algorithm: Algorithm,
    /// Length of validity in days.
    pub days: u32,
    /// What each certificate is like; a file refers to one by its place here.
    pub models: Vec<Model>,
    /// Where they come from, where we do not make them; all of one key come from one place.
    pub managed: Option<Box<Managed>>,
}

/// What one certificate of a bundle is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// `server`, `client`.
    pub name: String,
    /// What it may be used for.
    pub usage: BTreeSet<Usage>,
    /// Names beside the full one.
    pub names: Vec<ExtraName>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// As the configuration or the hook names it.
    pub path: PathBuf,
    /// With every link followed: the file that is written.
    pub real: PathBuf,
    /// What will be in it of a certificate, in this order.
    pub holds: Vec<Part>,
    /// Place of its certificate in the bundle.
    pub model: usize,
    /// Owner of a new file.
    pub owner: String,
    /// Group of a new file.
    pub group: String,
    /// Permission bits of a new file.
    pub mode: u32,
    /// A directory in which `<subject hash>.N` points to this file.
    pub hash_link: Option<PathBuf>,
    /// It is where the package's own generator writes.
    pub default_path: bool,
    /// A further copy that no configuration names.
    pub copy: bool,
    /// The directive that names it: `/etc/httpd/conf.d/ssl.conf:101: SSLCertificateFile`.
    pub named_by: Option<String>,
    /// What lies there.
    pub found: Found,
    /// Links in its trust directory that lead to it.
    pub links: BTreeSet<PathBuf>,
}

/// What lies at an artifact's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or a file without a single octet.
    Absent,
    /// Something that this user may not read, or that is no file.
    Unreadable(String),
    /// Exactly what the ledger says that we made.
    Ours(Made),
    /// Something else.
    Other(Box<Content>),
}

/// What is in a file that is not known by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Of the whole file.
    pub digest: Digest,
    /// The ledger says that we made this file, with another digest.
    pub was_ours: bool,
    /// The first certificate, or why it is none.
    pub certificate: Option<Result<Certificate, String>>,
    /// Digest of the key's public half, or why it cannot be read.
    pub key: Option<Result<[u8; 32], String>>,
    /// Of an SSH host key, as `ssh-keygen -l` prints it.
    pub fingerprint: Option<String>,
    /// Its key was in the image that this machine was made from.
    pub from_image: bool,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates(_) => f.write_str("a key with its certificates"),
            Self::HostKey(algorithm) => write!(f, "an SSH host key ({algorithm})"),
            Self::Secret(_) => f.write_str("a secret"),
            Self::Program(_) => f.write_str("files of the hook's own program"),
        }
    }
}

impl Bundle {
    /// What its certificates are like, when it has any.
    pub fn certificates(&self) -> Option<&Certificates> {
        match &self.what {
            What::Certificates(certificates) => Some(certificates),
            What::HostKey(_) | What::Secret(_) | What::Program(_) => None,
        }
    }

    /// Says whether it follows the machine, whatever that is called.
    pub fn follows_machine(&self) -> bool {
        matches!(self.what, What::HostKey(_) | What::Secret(_))
    }

    /// The file that decides over one that follows the machine: the private half, or the secret.
    pub fn secret_file(&self) -> Option<&Artifact> {
        self.artifacts.first()
    }

    /// The fingerprint of the host key that lies there, where it is one and can be told.
    pub fn fingerprint(&self) -> Option<&str> {
        match &self.secret_file()?.found {
            Found::Ours(made) => made.fingerprint.as_deref(),
            Found::Other(content) => content.fingerprint.as_deref(),
            Found::Absent | Found::Unreadable(_) => None,
        }
    }

    /// The certificate that lies there, by the place of its model.
    pub fn certificate(&self, model: usize) -> Option<&Certificate> {
        self.artifacts
            .iter()
            .filter(|artifact| !artifact.copy && artifact.model == model && artifact.holds != [Part::Chain])
            .find_map(|artifact| artifact.content()?.certificate.as_ref()?.as_ref().ok())
    }

    /// Says whether its key lies in this file.
    pub fn has_key(&self, real: &Path) -> bool {
        self.artifacts.iter().any(|artifact| artifact.real == real && artifact.holds.contains(&Part::Key))
    }
}

impl Artifact {
    /// What was found, when it is not known by its digest.
    pub fn content(&self) -> Option<&Content> {
        match &self.found {
            Found::Other(content) => Some(content),
            _ => None,
        }
    }
}
