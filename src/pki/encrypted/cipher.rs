//! The ciphers of keys at rest: blocks chained (CBC), the last one padded (RFC 8018 appendix B.2.5).

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use pkcs5::pbes2::EncryptionScheme;
use zeroize::Zeroizing;

use super::EncryptedError;

/// A cipher with its first block.
pub(super) enum Cipher {
    Aes128([u8; 16]),
    Aes192([u8; 16]),
    Aes256([u8; 16]),
    /// Of OpenSSL's older form.
    TripleDes([u8; 8]),
}

impl Cipher {
    pub(super) fn of(scheme: &EncryptionScheme) -> Result<Self, EncryptedError> {
        match *scheme {
            EncryptionScheme::Aes128Cbc { iv } => Ok(Self::Aes128(iv)),
            EncryptionScheme::Aes192Cbc { iv } => Ok(Self::Aes192(iv)),
            EncryptionScheme::Aes256Cbc { iv } => Ok(Self::Aes256(iv)),
            other => Err(EncryptedError::Unknown(format!("the cipher {}", other.oid()))),
        }
    }

    /// By the name that OpenSSL has for it.
    pub(super) fn named(name: &str, iv: &[u8]) -> Result<Self, EncryptedError> {
        let damaged = |_| EncryptedError::Damaged("its DEK-Info has a first block of another length".into());
        Ok(match name {
            "AES-128-CBC" => Self::Aes128(iv.try_into().map_err(damaged)?),
            "AES-192-CBC" => Self::Aes192(iv.try_into().map_err(damaged)?),
            "AES-256-CBC" => Self::Aes256(iv.try_into().map_err(damaged)?),
            "DES-EDE3-CBC" => Self::TripleDes(iv.try_into().map_err(damaged)?),
            other => return Err(EncryptedError::Unknown(format!("\"{}\"", other.escape_debug()))),
        })
    }

    /// Octets of its key.
    pub(super) fn key_size(&self) -> usize {
        match self {
            Self::Aes128(_) => 16,
            Self::Aes192(_) | Self::TripleDes(_) => 24,
            Self::Aes256(_) => 32,
        }
    }

    /// Decrypts; nothing where the last block is not padded as it must be, as with a wrong key.
    pub(super) fn decrypt(&self, key: &[u8], data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Aes128(iv) => opened::<cbc::Decryptor<aes::Aes128>>(key, iv, data),
            Self::Aes192(iv) => opened::<cbc::Decryptor<aes::Aes192>>(key, iv, data),
            Self::Aes256(iv) => opened::<cbc::Decryptor<aes::Aes256>>(key, iv, data),
            Self::TripleDes(iv) => opened::<cbc::Decryptor<des::TdesEde3>>(key, iv, data),
        }
    }

    /// Encrypts, by AES with 256 bits only.
    pub(super) fn encrypt(&self, key: &[u8], plain: &[u8]) -> Result<Vec<u8>, EncryptedError> {
        let unknown = || EncryptedError::Unknown("a cipher that is only read".into());
        let Self::Aes256(iv) = self else { return Err(unknown()) };
        let mode = cbc::Encryptor::<aes::Aes256>::new_from_slices(key, iv).map_err(|_| unknown())?;
        Ok(mode.encrypt_padded_vec::<Pkcs7>(plain))
    }
}

fn opened<Mode: BlockModeDecrypt + KeyIvInit>(
    key: &[u8],
    iv: &[u8],
    data: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mode = Mode::new_from_slices(key, iv).ok()?;
    let mut buffer = Zeroizing::new(data.to_vec());
    let length = mode.decrypt_padded::<Pkcs7>(&mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}
