//! Which keys are ours, by the public half that stands in a certificate: of every version of a service, also of
//! old ones and of requests.

use std::collections::BTreeMap;

use super::super::lineage::{VersionName, version};
use super::super::name::ServiceName;
use super::super::tree::Tree;
use crate::pki::key::{PrivateKey, Secret};

/// Where a key lies.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) service: ServiceName,
    /// The newest version that has it.
    pub(super) version: VersionName,
    pub(super) key: PrivateKey,
}

/// Keys by their public half; one key may be that of several services.
#[derive(Debug, Default)]
pub(super) struct Keys {
    found: BTreeMap<[u8; 32], Vec<Kept>>,
    /// What could not be read: with it, a key may be missing here.
    pub(super) unreadable: Vec<String>,
}

impl Keys {
    pub(super) fn of<'n>(tree: &Tree<'_>, services: impl IntoIterator<Item = &'n ServiceName>) -> Self {
        let mut keys = Self::default();
        for name in services {
            match tree.versions(name) {
                Ok(versions) => versions.into_iter().for_each(|version| keys.take(tree, name, version)),
                Err(error) => keys.unreadable.push(error.to_string()),
            }
        }
        keys
    }

    /// Versions come oldest first.
    fn take(&mut self, tree: &Tree<'_>, name: &ServiceName, version: VersionName) {
        let key = match tree.file(name, &version, version::KEY) {
            Ok(Some(text)) => tree.keyring().open(Secret::new(text).reveal()),
            Ok(None) => return,
            Err(error) => Err(error.to_string()),
        };
        match key {
            Ok(key) => {
                let places = self.found.entry(key.public_digest()).or_default();
                places.retain(|place| place.service != *name);
                places.push(Kept { service: name.clone(), version, key });
            }
            Err(error) => self.unreadable.push(format!("the key of {name}, {version}: {error}")),
        }
    }

    /// The services whose key this is.
    pub(super) fn owners(&self, public_digest: &[u8; 32]) -> &[Kept] {
        self.found.get(public_digest).map_or(&[], Vec::as_slice)
    }
}
