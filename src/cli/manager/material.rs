//! A certificate as it lies in a directory of the manager, or in a file by itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Failure, shown};
use crate::pki::key::{KeyError, Secret};
use crate::pki::{armor, bundle};
use crate::system::root::{PathError, Root};

/// What is there to be checked.
#[derive(Debug)]
pub struct Material {
    /// The file of the certificate.
    pub path: PathBuf,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// What lies beside it to lead to a root, in DER.
    pub chain: Vec<Vec<u8>>,
    /// Its key.
    pub key: Key,
}

/// A private key, of which only that much is kept.
#[derive(Debug)]
pub enum Key {
    /// There is none.
    Absent,
    /// There is one, but whose it is cannot be told.
    Unknown {
        /// Its file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// There is one.
    Known {
        /// Its file.
        path: PathBuf,
        /// See [`crate::pki::key::PrivateKey::public_digest`].
        public_digest: [u8; 32],
    },
}

const CERTIFICATE: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
const KEY: &str = "privkey.pem";

/// The files of a directory of the manager: whichever is named, the directory is meant.
const FILES: [&str; 7] = [CERTIFICATE, CHAIN, KEY, "fullchain.pem", "bundle.pem", "csr.pem", "tlsa.rr"];

impl Material {
    /// Reads `cert.pem`, `chain.pem` and `privkey.pem` of a directory, also where one of its files is
    /// named; of any other file its first certificate, with the others in it as the chain and the key in it
    /// or in `privkey.pem` beside it.
    ///
    /// # Errors
    /// [`Failure`] when there is no certificate.
    pub fn read(root: &Root, place: &Path) -> Result<Self, Failure> {
        let named = place.file_name().and_then(OsStr::to_str);
        match root.read(place) {
            Err(_) if !root.names(place)?.is_empty() => Self::of_directory(root, place),
            Err(error) => Err(error.into()),
            Ok(content) => match (named, place.parent()) {
                (Some(name), Some(directory)) if FILES.contains(&name) => Self::of_directory(root, directory),
                _ => Self::of_file(root, place, content),
            },
        }
    }

    fn of_directory(root: &Root, directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(CERTIFICATE);
        let certificate = first(&path, bundle::read(&root.read(&path)?).certificates)?.0;
        let chain = root.read_optional(&directory.join(CHAIN))?.unwrap_or_default();
        Ok(Self {
            path,
            certificate,
            chain: bundle::read(&chain).certificates,
            key: Key::beside(root, directory),
        })
    }

    fn of_file(root: &Root, path: &Path, content: Vec<u8>) -> Result<Self, Failure> {
        let content = Secret::new(content);
        let (certificate, chain) = first(path, bundle::read(content.reveal()).certificates)?;
        let key = match Key::of(path, content.reveal()) {
            Key::Absent => Key::beside(root, path.parent().unwrap_or(path)),
            inside => inside,
        };
        Ok(Self { path: path.to_owned(), certificate, chain, key })
    }
}

impl Key {
    fn beside(root: &Root, directory: &Path) -> Self {
        let path = directory.join(KEY);
        match root.read_optional(&path).map(|content| content.map(Secret::new)) {
            Ok(None) => Self::Absent,
            Ok(Some(content)) => match Self::of(&path, content.reveal()) {
                Self::Absent => Self::Unknown { path, why: "there is no private key in it".to_owned() },
                there => there,
            },
            // Whoever is not root may look at the rest all the same.
            Err(PathError { source, .. }) => Self::Unknown { path, why: source.to_string() },
        }
    }

    fn of(path: &Path, content: &[u8]) -> Self {
        let path = path.to_owned();
        let bundle = bundle::read(content);
        match (bundle.keys.first(), bundle.encrypted.is_empty()) {
            (Some(key), _) => Self::Known { path, public_digest: key.public_digest() },
            (None, false) => Self::Unknown { path, why: KeyError::Encrypted.to_string() },
            (None, true) if is_key(content) => Self::Unknown { path, why: KeyError::Unreadable.to_string() },
            (None, true) => Self::Absent,
        }
    }
}

/// Of a kind that is not known here, or damaged.
fn is_key(content: &[u8]) -> bool {
    armor::blocks(content).iter().any(|block| block.label.ends_with("PRIVATE KEY"))
}

fn first(path: &Path, certificates: Vec<Vec<u8>>) -> Result<(Vec<u8>, Vec<Vec<u8>>), Failure> {
    let mut certificates = certificates.into_iter();
    let first = certificates
        .next()
        .ok_or_else(|| Failure::Other(format!("{}: there is no certificate in it", shown(path))))?;
    Ok((first, certificates.collect()))
}
