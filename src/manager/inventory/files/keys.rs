//! The private keys of an inventory in files: looked at, and written anew.

use std::path::PathBuf;

use super::{Files, secret};
use crate::manager::inventory::model::{AtRest, Name, SubjectType};
use crate::manager::inventory::store::{Anew, Each, InventoryError, KEYS_AT_A_TIME, StoredKey};

impl Files<'_> {
    /// Calls for all keys, some at a time.
    pub(super) fn each_key(&self, each: &mut Each<'_>) -> Result<(), InventoryError> {
        let objects = self.read_objects()?.0;
        let mut some = Vec::new();
        for (name, certificate) in &objects.certificates {
            some.extend(self.keys_of(name, certificate.subject)?);
            if some.len() >= KEYS_AT_A_TIME {
                each(&some)?;
                some.clear();
            }
        }
        if some.is_empty() { Ok(()) } else { each(&some) }
    }

    fn keys_of(&self, name: &Name, subject: SubjectType) -> Result<Vec<StoredKey>, InventoryError> {
        let mut found = Vec::new();
        for instance in self.read_instances(name)? {
            for data in self.read_keys(&instance)?.into_iter().filter(|data| !data.key.reveal().is_empty()) {
                let (certificate, algorithm) = (name.clone(), data.info.algorithm);
                found.push(StoredKey {
                    instance: instance.id,
                    certificate,
                    subject,
                    algorithm,
                    key: data.key,
                });
            }
        }
        Ok(found)
    }

    /// Under the lock, in one transaction with the property itself.
    pub(super) fn keep_held(&self, at_rest: AtRest, anew: &mut Anew<'_>) -> Result<(), InventoryError> {
        let mut changes = Vec::new();
        self.each_key(&mut |keys| {
            let texts = anew(keys)?;
            let written = keys.iter().zip(texts).filter_map(|(key, text)| text.map(|text| (key, text)));
            changes.extend(written.map(|(key, text)| secret(self.key_path(key), text)));
            Ok(())
        })?;
        let (objects, mut common) = self.read_common()?.unwrap_or_default();
        if common.at_rest != at_rest {
            common.at_rest = at_rest;
            changes.push(self.objects_change(&objects, common)?);
        }
        self.write(changes)
    }

    fn key_path(&self, key: &StoredKey) -> PathBuf {
        let directory = self.certificate(&key.certificate).join(key.instance.to_string());
        directory.join(key.algorithm.to_string()).join("key.pem")
    }
}
