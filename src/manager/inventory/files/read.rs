//! Reading an inventory in files.

use std::path::Path;

use super::text::{self, Common};
use super::{CERTIFICATE, Files, INSTANCE, OBJECTS};
use crate::manager::inventory::model::{Certificate, Instance, KeyData, KeyInfo, Name, Objects};
use crate::manager::inventory::store::InventoryError;
use crate::pki::key::Secret;
use crate::system::root::PathError;

impl Files<'_> {
    pub(super) fn read_objects(&self) -> Result<(Objects, Common), InventoryError> {
        let Some((mut objects, common)) = self.read_common()? else {
            return Ok((Objects::default(), Common::default()));
        };
        for directory in self.root.names(&self.certificates())? {
            objects.certificates.extend(self.read_certificate(&self.certificates().join(directory))?);
        }
        Ok((objects, common))
    }

    /// Services, hosts and places, and what all have in common. Without them there is nothing else: they come last.
    pub(super) fn read_common(&self) -> Result<Option<(Objects, Common)>, InventoryError> {
        let path = self.directory.join(OBJECTS);
        let content = self.root.text(&path)?;
        Ok(content.map(|content| text::objects(&path, &content)).transpose()?)
    }

    /// The certificate in a directory. One without its file was begun and never came to be.
    pub(super) fn read_certificate(
        &self,
        directory: &Path,
    ) -> Result<Option<(Name, Certificate)>, InventoryError> {
        let path = directory.join(CERTIFICATE);
        let content = self.root.text(&path)?;
        Ok(content.map(|content| text::certificate(&path, &content)).transpose()?)
    }

    /// Some certificates with all services, hosts and places, and what they have in common.
    pub(super) fn read_some<'n>(
        &self,
        names: impl IntoIterator<Item = &'n Name>,
    ) -> Result<(Objects, Common), InventoryError> {
        let Some((mut objects, common)) = self.read_common()? else {
            return Ok((Objects::default(), Common::default()));
        };
        for name in names {
            objects.certificates.extend(self.read_certificate(&self.certificate(name))?);
        }
        Ok((objects, common))
    }

    /// An instance by its number alone: each lies in a directory of that name.
    pub(super) fn find_instance(&self, id: i64) -> Result<Option<Instance>, InventoryError> {
        if self.read_common()?.is_none() {
            return Ok(None);
        }
        for directory in self.root.names(&self.certificates())? {
            let directory = self.certificates().join(directory);
            let path = directory.join(id.to_string()).join(INSTANCE);
            if self.root.status(&path)?.is_none() {
                continue;
            }
            // Without its certificate it was removed with it, and not yet wholly.
            if let Some((name, _)) = self.read_certificate(&directory)?
                && let Some(content) = self.root.text(&path)?
            {
                return Ok(Some(text::instance(&path, &content, &name, id)?));
            }
        }
        Ok(None)
    }

    pub(super) fn read_instances(&self, name: &Name) -> Result<Vec<Instance>, InventoryError> {
        let directory = self.certificate(name);
        let mut found = Vec::new();
        for entry in self.root.names(&directory)? {
            let Some(id) = entry.to_str().and_then(|entry| entry.parse::<i64>().ok()) else { continue };
            let path = directory.join(&entry).join(INSTANCE);
            let Some(content) = self.root.text(&path)? else { continue };
            found.push(text::instance(&path, &content, name, id)?);
        }
        found.sort_by_key(|instance: &Instance| instance.id);
        Ok(found)
    }

    pub(super) fn read_keys(&self, instance: &Instance) -> Result<Vec<KeyData>, InventoryError> {
        let directory = self.certificate(&instance.certificate).join(instance.id.to_string());
        let mut infos: Vec<&KeyInfo> = instance.keys.iter().collect();
        infos.sort();
        let read = |info: &KeyInfo| {
            let directory = directory.join(info.algorithm.to_string());
            let file = |name: &str| self.root.read(&directory.join(name));
            let words = |name: &str| -> Result<String, InventoryError> {
                let content = file(name)?;
                String::from_utf8(content)
                    .map_err(|_| PathError::refused(&directory.join(name), "is no text in PEM").into())
            };
            Ok(KeyData {
                info: info.clone(),
                certificate: words("cert.pem")?,
                chain: words("chain.pem")?,
                key: Secret::new(file("key.pem")?),
            })
        };
        infos.into_iter().map(read).collect()
    }
}
