//! `export`: the certificates and keys of an instance as files, the keys in clear.

use std::path::{Path, PathBuf};

use super::{OperateError, Operation};
use crate::manager::inventory::model::KeyData;
use crate::pki::Container;
use crate::pki::key::Secret;
use crate::system::root::{PathError, Root};
use crate::transaction::replace;

/// Nobody but its owner reads a key, and nobody writes it.
const SECRET: u32 = 0o400;
const PUBLIC: u32 = 0o644;

/// Writes `cert-ID-ALGORITHM.pem` and `key-ID-ALGORITHM.pem` into a directory; what was exported before is replaced.
/// Returns what was written.
///
/// # Errors
/// [`OperateError`]: there is no such instance, a key cannot be opened, the system refuses. Keys are opened before
/// anything is written.
pub fn export(
    op: &mut Operation<'_>,
    instance: i64,
    root: &Root,
    directory: &Path,
) -> Result<Vec<PathBuf>, OperateError> {
    let keys = op.inventory.keys(instance)?;
    if keys.is_empty() {
        return Err(OperateError::Failed(format!(
            "there is no instance {instance} with a certificate; `reseed manager inventory list` names those that \
             there are"
        )));
    }
    let mut opened = Vec::new();
    for data in &keys {
        opened.push((data, in_clear(op, instance, data)?));
    }
    let path = |error: PathError| OperateError::Failed(error.to_string());
    let mut written = Vec::new();
    for (data, key) in opened {
        let algorithm = data.info.algorithm;
        let certificate = directory.join(format!("cert-{instance}-{algorithm}.pem"));
        replace(root, &certificate, data.certificate.as_bytes(), PUBLIC).map_err(path)?;
        written.push(certificate);
        if let Some(key) = key {
            let file = directory.join(format!("key-{instance}-{algorithm}.pem"));
            replace(root, &file, key.reveal(), SECRET).map_err(path)?;
            written.push(file);
        }
    }
    Ok(written)
}

/// Nothing where there is no key, as with an authority elsewhere.
fn in_clear(op: &Operation<'_>, instance: i64, data: &KeyData) -> Result<Option<Secret>, OperateError> {
    if data.key.reveal().is_empty() {
        return Ok(None);
    }
    let failed = |error: String| OperateError::Failed(format!("instance {instance}: its key: {error}"));
    let key = op.signers.keyring.open(data.key.reveal()).map_err(failed)?;
    key.to_pem(Container::Traditional).map(Some).map_err(|error| failed(error.to_string()))
}
