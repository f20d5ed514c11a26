//! A passphrase: what was typed, or what is in a file; and what was derived from it, which takes long.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use der::Encode;
use pkcs5::pbes2::Kdf;
use zeroize::Zeroizing;

use super::{EncryptedError, derivation, library};
use crate::pki::key::KeyError;

/// Octets of salt in what is written (NIST SP 800-132 section 5.1 asks for 16).
const SALT: usize = 16;

/// What opens keys at rest. Wiped when dropped, never printed.
pub struct Passphrase {
    octets: Zeroizing<Vec<u8>>,
    /// A file of one line, with its end.
    whole: Option<Zeroizing<Vec<u8>>>,
    derived: Mutex<Derived>,
}

/// Derived keys by how they were derived, and from which octets.
#[derive(Default)]
struct Derived {
    salt: Option<[u8; SALT]>,
    keys: BTreeMap<(Vec<u8>, usize, usize), Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(elided)")
    }
}

impl Passphrase {
    /// Takes over what was typed.
    ///
    /// # Errors
    /// [`EncryptedError::EmptyPassphrase`]
    pub fn typed(text: impl Into<Vec<u8>>) -> Result<Self, EncryptedError> {
        Self::new(Zeroizing::new(text.into()), None)
    }

    /// Takes over what is in a file: of one line without its end, as `openssl -passin file:` reads it; of several
    /// the whole content, as serverPKI does. What was encrypted by a whole line with its end is opened, too.
    ///
    /// # Errors
    /// [`EncryptedError::EmptyPassphrase`]
    pub fn of_file(content: impl Into<Vec<u8>>) -> Result<Self, EncryptedError> {
        let content = Zeroizing::new(content.into());
        let line = content.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        match line.filter(|line| !line.contains(&b'\n')) {
            Some(line) => Self::new(Zeroizing::new(line.to_vec()), Some(content)),
            None => Self::new(content, None),
        }
    }

    fn new(octets: Zeroizing<Vec<u8>>, whole: Option<Zeroizing<Vec<u8>>>) -> Result<Self, EncryptedError> {
        if octets.is_empty() {
            return Err(EncryptedError::EmptyPassphrase);
        }
        Ok(Self { octets, whole, derived: Mutex::default() })
    }

    /// What is written by.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What may open a key, the likelier first.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &[u8]> {
        [Some(&self.octets), self.whole.as_ref()].into_iter().flatten().map(|octets| octets.as_slice())
    }

    /// The salt of all that is written.
    pub(super) fn salt(&self) -> Result<[u8; SALT], KeyError> {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(salt) = derived.salt {
            return Ok(salt);
        }
        let mut salt = [0_u8; SALT];
        getrandom::fill(&mut salt).map_err(|error| KeyError::Random(error.to_string()))?;
        derived.salt = Some(salt);
        Ok(salt)
    }

    /// A key of so many octets, derived from one of the candidates; of two who ask for the same, one waits.
    pub(super) fn derived(
        &self,
        octets: &[u8],
        kdf: &Kdf,
        size: usize,
    ) -> Result<Zeroizing<Vec<u8>>, EncryptedError> {
        let how = (kdf.to_der().map_err(library)?, size, octets.len());
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = derived.keys.get(&how) {
            return Ok(key.clone());
        }
        let key = derivation::derive(octets, kdf, size)?;
        derived.keys.insert(how, key.clone());
        Ok(key)
    }
}
