//! How the private keys of an inventory are kept, and whether they can be opened.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::side_by_side::side_by_side;
use crate::manager::inventory::model::{AtRest, SubjectType};
use crate::manager::inventory::store::StoredKey;
use crate::manager::keyring::{ADVICE, Keyring};
use crate::manager::keys::Form;
use crate::manager::operate::{OperateError, Operation};
use crate::pki::encrypted;

/// How keys are kept.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The file of the passphrase, where one is configured.
    pub passphrase_file: Option<PathBuf>,
    /// How keys of services and clients are to be kept.
    pub form: Form,
    /// Keys of services and clients.
    pub services: Tally,
    /// Keys of authorities.
    pub authorities: Tally,
    /// What is wrong with the passphrase itself.
    pub problem: Option<String>,
    /// Keys that cannot be opened, each with why.
    pub problems: Vec<String>,
}

/// How many keys are kept in which form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tally {
    /// Encrypted PKCS#8.
    pub encrypted: usize,
    /// As serverPKI encrypted them, which keeps nobody off: `keys encrypt` writes them anew.
    pub weak: usize,
    /// In clear.
    pub clear: usize,
}

impl Status {
    /// Says whether all keys are kept as they are to be, and can be opened.
    pub fn is_good(&self) -> bool {
        let Tally { encrypted, weak, clear } = self.services;
        let services = match self.form {
            Form::Encrypted => weak + clear == 0,
            Form::Clear => weak + encrypted == 0,
        };
        let authorities = self.authorities.weak + self.authorities.clear == 0;
        self.problem.is_none() && self.problems.is_empty() && services && authorities
    }
}

/// Looks at all keys. Changes nothing.
///
/// # Errors
/// [`OperateError`]
pub fn status(op: &mut Operation<'_>) -> Result<Status, OperateError> {
    let keyring = Keyring::new(op.world.root, op.config.site.passphrase_file.as_deref());
    let form = if op.inventory.at_rest()? == AtRest::Clear { Form::Clear } else { Form::Encrypted };
    let mut found = Status {
        passphrase_file: op.config.site.passphrase_file.clone(),
        form,
        services: Tally::default(),
        authorities: Tally::default(),
        problem: keyring.passphrase().err(),
        problems: Vec::new(),
    };
    let is_usable = found.problem.is_none();
    op.inventory.stored_keys(&mut |keys| {
        let opened = side_by_side(keys, |key: &StoredKey| {
            let text = key.key.reveal();
            // What is wrong with the passphrase is said once.
            let is_tried = is_usable || !encrypted::is_encrypted(text);
            if is_tried { keyring.open(text).err() } else { None }
        });
        for (key, problem) in keys.iter().zip(opened) {
            let tally =
                if key.subject == SubjectType::Ca { &mut found.authorities } else { &mut found.services };
            let text = key.key.reveal();
            match (encrypted::is_encrypted_pkcs8(text), encrypted::is_encrypted(text)) {
                (true, _) => tally.encrypted += 1,
                (false, true) => tally.weak += 1,
                (false, false) => tally.clear += 1,
            }
            let says = |why| format!("{}, instance {}: {why}", key.certificate, key.instance);
            found.problems.extend(problem.flatten().map(says));
        }
        Ok(())
    })?;
    Ok(found)
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { form, services, authorities, .. } = self;
        writeln!(f, "keys of services are to be {form}: {services}")?;
        writeln!(f, "keys of authorities are always under the passphrase: {authorities}")?;
        match &self.passphrase_file {
            Some(file) => writeln!(f, "the passphrase is in {}", file.display()),
            None => writeln!(f, "there is no passphrase; {ADVICE}"),
        }?;
        self.problem.iter().chain(&self.problems).try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { encrypted, weak, clear } = self;
        write!(f, "{encrypted} encrypted, {clear} in clear")?;
        match weak {
            0 => Ok(()),
            _ => write!(f, ", {weak} only as serverPKI did, which `keys encrypt` mends"),
        }
    }
}
