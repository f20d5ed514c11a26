//! What opens the keys of a site: keys of its authorities are kept under a passphrase where `[keys] passphrase_file`
//! names one. The file is read when the first key needs it, once a run.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::name::ServiceName;
use crate::pki::Container;
use crate::pki::encrypted::{self, EncryptedError, Passphrase, Salt};
use crate::pki::key::{PrivateKey, Secret};
use crate::system::root::{Root, effective_user};

/// What opens the keys of a site.
#[derive(Debug)]
pub struct Keyring<'a> {
    root: &'a Root,
    file: Option<PathBuf>,
    passphrase: OnceLock<Result<Passphrase, String>>,
}

impl<'a> Keyring<'a> {
    /// With the passphrase in a file, or with none.
    pub fn new(root: &'a Root, file: Option<&Path>) -> Self {
        Self { root, file: file.map(Path::to_owned), passphrase: OnceLock::new() }
    }

    /// The file of the passphrase, as configured.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The passphrase; nothing where none is configured.
    ///
    /// # Errors
    /// In words, when the file cannot be read, is empty, or may be read by others.
    pub fn passphrase(&self) -> Result<Option<&Passphrase>, String> {
        let Some(file) = &self.file else { return Ok(None) };
        self.passphrase.get_or_init(|| read(self.root, file)).as_ref().map(Some).map_err(Clone::clone)
    }

    /// Reads the first private key of a PEM text, under the passphrase or under none.
    ///
    /// # Errors
    /// In words.
    pub fn open(&self, text: &[u8]) -> Result<PrivateKey, String> {
        if !encrypted::is_encrypted(text) {
            return PrivateKey::from_pem(text).map_err(|error| error.to_string());
        }
        match (encrypted::decrypt(text, self.passphrase()?), &self.file) {
            (Ok(key), _) => Ok(key),
            (Err(EncryptedError::NoPassphrase), _) => Err(format!("it is under a passphrase; {ADVICE}")),
            (Err(EncryptedError::WrongPassphrase), Some(file)) => {
                Err(format!("{}: this is not its passphrase, or the key is damaged", file.display()))
            }
            (Err(error), _) => Err(error.to_string()),
        }
    }

    /// The text of a service's key as it is kept.
    ///
    /// # Errors
    /// In words, when the passphrase cannot be read.
    pub fn keep(&self, name: &ServiceName, key: &PrivateKey) -> Result<Secret, String> {
        match self.passphrase_for(name)? {
            Some(_) => self.encrypted(key, None),
            None => Self::clear(key),
        }
    }

    /// The text of a key under the passphrase, by a salt of others where there is one.
    ///
    /// # Errors
    /// In words, when there is no passphrase, or it cannot be read.
    pub fn encrypted(&self, key: &PrivateKey, salt: Option<Salt>) -> Result<Secret, String> {
        let passphrase = self.passphrase()?.ok_or_else(|| format!("there is no passphrase; {ADVICE}"))?;
        let text = match salt {
            Some(salt) => encrypted::encrypt_by(key, passphrase, salt),
            None => encrypted::encrypt(key, passphrase),
        };
        text.map_err(|error| error.to_string())
    }

    /// The text of a key in clear.
    ///
    /// # Errors
    /// In words, when it cannot be encoded.
    pub fn clear(key: &PrivateKey) -> Result<Secret, String> {
        key.to_pem(Container::Pkcs8).map_err(|error| error.to_string())
    }

    /// Keys of services have to be in clear where they are served, and are here, too.
    fn passphrase_for(&self, name: &ServiceName) -> Result<Option<&Passphrase>, String> {
        if name.is_ca() { self.passphrase() } else { Ok(None) }
    }
}

/// Reads a passphrase's file.
///
/// # Errors
/// In words, as for [`Keyring::passphrase`].
pub fn read(root: &Root, file: &Path) -> Result<Passphrase, String> {
    let shown = file.display();
    let attributes = root.attributes(file).map_err(|error| match error.is_missing() {
        true => format!(
            "{shown}: there is no such file; make a passphrase: (umask 077; openssl rand -base64 33 >{shown})"
        ),
        false => error.to_string(),
    })?;
    if attributes.mode & 0o077 != 0 {
        return Err(format!("{shown}: others than its owner may read or write it; chmod 600 {shown}"));
    }
    if ![0, effective_user()].contains(&attributes.user) {
        return Err(format!("{shown}: it belongs to somebody else; chown it to whoever runs this"));
    }
    let content = root.read(file).map_err(|error| error.to_string())?;
    Passphrase::of_file(content).map_err(|error| format!("{shown}: {error}"))
}

/// What to do where a passphrase is missing.
pub const ADVICE: &str = "name its file in [keys] passphrase_file of ssl-mgr.conf";
