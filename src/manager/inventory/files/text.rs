//! The texts of an inventory in files. Each has a version; a newer one is refused.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::super::model::{AtRest, Certificate, Instance, Name, Objects};
use super::super::store::InventoryError;
use crate::fault::Fault;
use crate::pki::encrypted::Salt;

/// The version that this program writes, and the only one that it reads.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Head {
    version: Spanned<u32>,
}

#[derive(Serialize, Deserialize)]
struct ObjectsText {
    version: u32,
    /// The number of the next instance.
    next_instance: i64,
    /// Where keys are encrypted, by which salt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_salt: Option<Salt>,
    #[serde(flatten)]
    objects: Objects,
}

#[derive(Serialize, Deserialize)]
struct CertificateText {
    version: u32,
    name: Name,
    certificate: Certificate,
}

#[derive(Serialize, Deserialize)]
struct InstanceText {
    version: u32,
    instance: Instance,
}

/// What all objects have in common.
#[derive(Debug, Clone, Copy)]
pub struct Common {
    /// The number of the next instance.
    pub next: i64,
    /// How keys are kept.
    pub at_rest: AtRest,
}

impl Default for Common {
    fn default() -> Self {
        Self { next: 1, at_rest: AtRest::Clear }
    }
}

fn read<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Fault> {
    let refuse = |error: &toml::de::Error| Fault::toml(path, text, error);
    // First the version: what a newer one has is no mistake.
    let head: Head = toml::from_str(text).map_err(|error| refuse(&error))?;
    if *head.version.get_ref() != VERSION {
        let says =
            format!("version {} is not {VERSION}; use the program that wrote it", head.version.get_ref());
        return Err(Fault::at(path, text, head.version.span(), says));
    }
    toml::from_str(text).map_err(|error| refuse(&error))
}

fn write(value: &impl Serialize) -> Result<String, InventoryError> {
    toml::to_string(value).map_err(|error| InventoryError::Unusable(format!("cannot be written: {error}")))
}

/// Services, hosts and places, and what all have in common.
pub fn objects(path: &Path, text: &str) -> Result<(Objects, Common), Fault> {
    let ObjectsText { objects, next_instance, key_salt, .. } = read(path, text)?;
    if !objects.certificates.is_empty() {
        return Err(Fault::whole(path, "certificates have files of their own"));
    }
    Ok((objects, Common { next: next_instance, at_rest: key_salt.into() }))
}

/// The text of services, hosts and places.
pub fn of_objects(objects: &Objects, common: Common) -> Result<String, InventoryError> {
    let Objects { services, hosts, places, .. } = objects.clone();
    let objects = Objects { services, hosts, places, ..Objects::default() };
    let Common { next: next_instance, at_rest } = common;
    write(&ObjectsText { version: VERSION, next_instance, key_salt: at_rest.salt(), objects })
}

/// A certificate with its name.
pub fn certificate(path: &Path, text: &str) -> Result<(Name, Certificate), Fault> {
    let CertificateText { name, certificate, .. } = read(path, text)?;
    let lies = path.parent().and_then(Path::file_name).and_then(|it| it.to_str());
    if lies != Some(directory(&name).as_str()) {
        return Err(Fault::whole(path, format!("the certificate of {name} lies in {}", directory(&name))));
    }
    Ok((name, certificate))
}

/// The text of a certificate.
pub fn of_certificate(name: &Name, certificate: &Certificate) -> Result<String, InventoryError> {
    write(&CertificateText { version: VERSION, name: name.clone(), certificate: certificate.clone() })
}

/// An instance of a certificate.
pub fn instance(path: &Path, text: &str, name: &Name, id: i64) -> Result<Instance, Fault> {
    let InstanceText { instance, .. } = read(path, text)?;
    if instance.id != id || instance.certificate != *name {
        let says =
            format!("instance {} of {} lies in the directory of another", instance.id, instance.certificate);
        return Err(Fault::whole(path, says));
    }
    Ok(instance)
}

/// The text of an instance.
pub fn of_instance(instance: &Instance) -> Result<String, InventoryError> {
    write(&InstanceText { version: VERSION, instance: instance.clone() })
}

/// The directory of a certificate: its name in lower case, with everything unusual as `%` and its octets.
pub fn directory(name: &Name) -> String {
    let mut written = String::new();
    for octet in name.folded().bytes() {
        match octet {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'@' => written.push(char::from(octet)),
            other => written.push_str(&format!("%{other:02x}")),
        }
    }
    written
}
