//! All private keys of an inventory under the passphrase, or in clear: all of them, or none.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::side_by_side::side_by_side;
use crate::manager::inventory::model::{AtRest, SubjectType};
use crate::manager::inventory::store::{InventoryError, StoredKey};
use crate::manager::keyring::{ADVICE, Keyring};
use crate::manager::keys::{Form, Opened, Opener, Request};
use crate::manager::operate::{OperateError, Operation};
use crate::pki::encrypted::{self, Salt};
use crate::pki::key::Secret;

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Switched {
    /// How keys are kept now, or would be.
    pub form: Form,
    /// How they were to be kept before.
    pub was: Form,
    /// Keys that were written anew.
    pub changed: usize,
    /// Keys that were so already.
    pub already: usize,
    /// Nothing was done.
    pub dry_run: bool,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

impl Switched {
    /// Says whether there was nothing to do.
    pub fn is_already(&self) -> bool {
        self.was == self.form && self.changed == 0
    }
}

/// Says how keys are kept from now on, and writes all of them so. Keys of authorities are put under the passphrase,
/// and never taken out.
///
/// # Errors
/// [`OperateError::Usage`] when no passphrase is configured, [`OperateError::Inventory`] with the first key that
/// cannot be opened; everything is as it was.
pub fn switch(op: &mut Operation<'_>, request: &Request<'_>) -> Result<Switched, OperateError> {
    let Request { form, old, dry_run } = *request;
    let keyring = Keyring::new(op.world.root, op.config.site.passphrase_file.as_deref());
    let passphrase = keyring.passphrase().map_err(OperateError::Failed)?;
    if form == Form::Encrypted && passphrase.is_none() {
        let message = format!("there is no passphrase; {ADVICE}, on every machine that has a manager");
        return Err(OperateError::Usage(message));
    }
    let before = op.inventory.at_rest()?;
    let at_rest = match (form, before) {
        (Form::Clear, _) => AtRest::Clear,
        (Form::Encrypted, AtRest::Encrypted { salt }) => AtRest::Encrypted { salt },
        (Form::Encrypted, AtRest::Clear) => {
            AtRest::Encrypted { salt: Salt::random().map_err(OperateError::Failed)? }
        }
    };
    let was = if before == AtRest::Clear { Form::Clear } else { Form::Encrypted };
    let mut done = Switched { form, was, changed: 0, already: 0, dry_run, notes: Vec::new() };
    let press =
        Press { opener: Opener { keyring: &keyring, old }, at_rest, has_failed: AtomicBool::new(false) };
    let mut anew = |keys: &[StoredKey]| press.all(keys, &mut done);
    match dry_run {
        true => op.inventory.stored_keys(&mut |keys| anew(keys).map(drop))?,
        false => op.inventory.keep_keys(at_rest, &mut anew)?,
    }
    Ok(done)
}

/// What writes keys anew.
struct Press<'p, 'a> {
    opener: Opener<'p, 'a>,
    at_rest: AtRest,
    /// One key was not opened: the others are not tried, since each may take a while.
    has_failed: AtomicBool,
}

/// What becomes of a key.
enum Fate {
    Stays,
    /// It is an authority's, and was not opened.
    Left(String),
    Anew(Secret),
}

impl Press<'_, '_> {
    /// The new texts of some keys.
    fn all(&self, keys: &[StoredKey], done: &mut Switched) -> Result<Vec<Option<Secret>>, InventoryError> {
        let lost = || Err("the worker that had it is gone".to_owned());
        let fates = side_by_side(keys, |key| {
            if self.has_failed.load(Ordering::Relaxed) {
                return Ok(Fate::Stays);
            }
            self.one(key).inspect_err(|_| self.has_failed.store(true, Ordering::Relaxed))
        });
        let texts = keys.iter().zip(fates).map(|(key, fate)| {
            let place = format!("{}, instance {}", key.certificate, key.instance);
            match fate.unwrap_or_else(lost) {
                Ok(Fate::Anew(text)) => {
                    done.changed += 1;
                    Ok(Some(text))
                }
                Ok(Fate::Stays) => {
                    done.already += 1;
                    Ok(None)
                }
                Ok(Fate::Left(why)) => {
                    done.notes.push(format!("{place}: the key of the authority stays as it is: {why}"));
                    Ok(None)
                }
                Err(error) => Err(InventoryError::Unusable(format!("{place}: {error}"))),
            }
        });
        texts.collect()
    }

    fn one(&self, key: &StoredKey) -> Result<Fate, String> {
        let text = key.key.reveal();
        let is_authority = key.subject == SubjectType::Ca;
        let is_clear = !encrypted::is_encrypted(text);
        if self.at_rest == AtRest::Clear && (is_authority || is_clear) {
            return Ok(Fate::Stays);
        }
        match self.opener.open(text) {
            // Its passphrase may be one that people type.
            Err(why) if is_authority && !is_clear => Ok(Fate::Left(why)),
            Err(why) => Err(why),
            Ok((key, by)) => match self.at_rest {
                AtRest::Clear => Keyring::clear(&key).map(Fate::Anew),
                AtRest::Encrypted { .. }
                    if by == Opened::ByConfigured && encrypted::is_encrypted_pkcs8(text) =>
                {
                    Ok(Fate::Stays)
                }
                AtRest::Encrypted { salt } => self.opener.keyring.encrypted(&key, Some(salt)).map(Fate::Anew),
            },
        }
    }
}

impl fmt::Display for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { form, changed, already, dry_run, .. } = self;
        match (self.is_already(), dry_run) {
            (true, _) => writeln!(f, "the keys of the inventory are {form} already: {already}"),
            (false, true) => {
                writeln!(f, "keys of the inventory would be put {form}: {changed}; {already} are so already")
            }
            (false, false) => {
                writeln!(f, "keys of the inventory are {form} now: {changed}; {already} were so already")
            }
        }?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}
