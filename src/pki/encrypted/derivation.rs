//! From a passphrase to a key: PBKDF2 (RFC 8018 section 5.2) and scrypt (RFC 7914), within bounds, since how much
//! is computed stands in the file, which may be anybody's.

use pbkdf2::{Algorithm, Params, pbkdf2_hmac, pbkdf2_hmac_with_params};
use pkcs5::pbes2::{Kdf, Pbkdf2Params, Pbkdf2Prf, ScryptParams};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::EncryptedError;

/// Iterations of PBKDF2: RFC 8018 section 4.2 names as many for the most valuable keys; some seconds.
const MAX_ITERATIONS: u32 = 10_000_000;
/// Octets of memory that scrypt takes.
const MAX_MEMORY: u64 = 256 << 20;
/// How often scrypt fills it.
const MAX_PARALLEL: u16 = 16;

/// Derives a key of so many octets.
pub(super) fn derive(
    passphrase: &[u8],
    kdf: &Kdf,
    size: usize,
) -> Result<Zeroizing<Vec<u8>>, EncryptedError> {
    if kdf.key_length().is_some_and(|length| usize::from(length) != size) {
        return Err(EncryptedError::Damaged("its derived key is not as long as its cipher's".into()));
    }
    let mut key = Zeroizing::new(vec![0_u8; size]);
    match kdf {
        Kdf::Pbkdf2(parameters) => by_pbkdf2(passphrase, parameters, &mut key)?,
        Kdf::Scrypt(parameters) => by_scrypt(passphrase, parameters, &mut key)?,
        other => return Err(EncryptedError::Unknown(other.oid().to_string())),
    }
    Ok(key)
}

fn by_pbkdf2(passphrase: &[u8], parameters: &Pbkdf2Params, key: &mut [u8]) -> Result<(), EncryptedError> {
    let (salt, count) = (parameters.salt.as_bytes(), parameters.iteration_count);
    if count == 0 {
        return Err(EncryptedError::Damaged("it has an iteration count of 0".into()));
    }
    if count > MAX_ITERATIONS {
        let message = format!("{count} iterations of PBKDF2, where {MAX_ITERATIONS} are the most");
        return Err(EncryptedError::Excessive(message));
    }
    match parameters.prf {
        Pbkdf2Prf::HmacWithSha1 => pbkdf2_hmac::<Sha1>(passphrase, salt, count, key),
        Pbkdf2Prf::HmacWithSha224 => pbkdf2_hmac::<Sha224>(passphrase, salt, count, key),
        Pbkdf2Prf::HmacWithSha256 => by_sha256(passphrase, salt, count, key),
        Pbkdf2Prf::HmacWithSha384 => pbkdf2_hmac::<Sha384>(passphrase, salt, count, key),
        Pbkdf2Prf::HmacWithSha512 => pbkdf2_hmac::<Sha512>(passphrase, salt, count, key),
        other => return Err(EncryptedError::Unknown(other.oid().to_string())),
    }
    Ok(())
}

/// What most keys are under. The library's own instance of it, where it has one for the count: it is optimised also
/// in a program that is not.
fn by_sha256(passphrase: &[u8], salt: &[u8], count: u32, key: &mut [u8]) {
    match Params::new(count) {
        Ok(rounds) => pbkdf2_hmac_with_params(passphrase, salt, Algorithm::Pbkdf2Sha256, rounds, key),
        Err(_) => pbkdf2_hmac::<Sha256>(passphrase, salt, count, key),
    }
}

fn by_scrypt(passphrase: &[u8], parameters: &ScryptParams, key: &mut [u8]) -> Result<(), EncryptedError> {
    let ScryptParams { salt, cost_parameter: cost, block_size, parallelization, .. } = *parameters;
    let memory = u64::from(block_size).checked_mul(128).and_then(|block| block.checked_mul(cost));
    if memory.is_none_or(|memory| memory > MAX_MEMORY) {
        let message = format!("more memory for scrypt than {} MiB", MAX_MEMORY >> 20);
        return Err(EncryptedError::Excessive(message));
    }
    if parallelization > MAX_PARALLEL {
        let message = format!("{parallelization} rounds of scrypt, where {MAX_PARALLEL} are the most");
        return Err(EncryptedError::Excessive(message));
    }
    let power = u8::try_from(cost.trailing_zeros()).ok().filter(|_| cost.is_power_of_two());
    let parameters = power
        .and_then(|power| scrypt::Params::new(power, block_size.into(), parallelization.into()).ok())
        .ok_or_else(|| EncryptedError::Damaged("its parameters for scrypt are none".into()))?;
    scrypt::scrypt(passphrase, salt.as_bytes(), &parameters, key)
        .map_err(|error| EncryptedError::Damaged(error.to_string()))
}
