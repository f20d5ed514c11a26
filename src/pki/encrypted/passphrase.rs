//! A passphrase: what was typed, or what is in a file; and what was derived from it, which takes long.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use der::Encode;
use pkcs5::pbes2::Kdf;
use zeroize::Zeroizing;

use super::{EncryptedError, Salt, derivation, library};
use crate::pki::key::KeyError;

/// What opens keys at rest. Wiped when dropped, never printed.
pub struct Passphrase {
    octets: Zeroizing<Vec<u8>>,
    /// A file of one line, with its end.
    whole: Option<Zeroizing<Vec<u8>>>,
    salt: Mutex<Option<Salt>>,
    derived: Mutex<BTreeMap<How, Arc<Once>>>,
}

/// A derived key, wiped when the last who uses it is gone.
pub(super) type Derived = Arc<Zeroizing<Vec<u8>>>;
/// One that is derived by whoever wants it first.
type Once = OnceLock<Result<Derived, EncryptedError>>;
/// How one was derived, how long it is, and from which octets, by their number.
type How = (Vec<u8>, usize, usize);

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
        Ok(Self { octets, whole, salt: Mutex::default(), derived: Mutex::default() })
    }

    /// What is written by.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What may open a key, the likelier first.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &[u8]> {
        [Some(&self.octets), self.whole.as_ref()].into_iter().flatten().map(|octets| octets.as_slice())
    }

    /// The salt of all that is written, unless another is given.
    pub(super) fn salt(&self) -> Result<Salt, KeyError> {
        let mut chosen = self.salt.lock().unwrap_or_else(PoisonError::into_inner);
        match *chosen {
            Some(salt) => Ok(salt),
            None => Ok(*chosen.insert(Salt::random().map_err(KeyError::Random)?)),
        }
    }

    /// A key of so many octets, derived from one of the candidates; of two who ask for the same, one waits.
    pub(super) fn derived(&self, octets: &[u8], kdf: &Kdf, size: usize) -> Result<Derived, EncryptedError> {
        let how = (kdf.to_der().map_err(library)?, size, octets.len());
        let slot =
            Arc::clone(self.derived.lock().unwrap_or_else(PoisonError::into_inner).entry(how).or_default());
        slot.get_or_init(|| derivation::derive(octets, kdf, size).map(Arc::new)).clone()
    }
}
