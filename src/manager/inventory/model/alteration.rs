//! What is changed of an object that is there already. What is not named stays as it is.

use time::OffsetDateTime;

use super::{
    About, Algorithms, Certificate, DistHost, FileType, Kind, Mode, Name, Place, Service, ServiceKey,
    TlsaPrefix, second,
};

/// Which object is changed, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// A certificate.
    Certificate(Name, CertificateParts),
    /// A host.
    Host(Name, HostParts),
    /// A place.
    Place(Name, Box<PlaceParts>),
    /// A service.
    Service(ServiceKey, ServiceParts),
}

/// A new value, where there is to be one. The inner nothing takes the old one away.
pub type Part<T> = Option<Option<T>>;

/// Of a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateParts {
    /// Whether anything is issued and deployed.
    pub disabled: Option<bool>,
    /// Who signs.
    pub kind: Option<Kind>,
    /// Which authority, where it is not the usual one.
    pub authority: Part<String>,
    /// Which keys future instances have.
    pub algorithms: Option<Algorithms>,
    /// Whether future instances ask for OCSP stapling.
    pub must_staple: Option<bool>,
    /// For people.
    pub remarks: Part<String>,
}

/// Of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostParts {
    /// The directory beneath which its jails lie.
    pub jail_root: Part<String>,
    /// For people.
    pub remarks: Part<String>,
}

/// Of a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaceParts {
    /// Which files.
    pub file_type: Option<FileType>,
    /// The directory.
    pub cert_path: Option<String>,
    /// The directory of keys.
    pub key_path: Part<String>,
    /// Number of the owner of keys.
    pub user: Part<u32>,
    /// Number of the group of keys.
    pub group: Part<u32>,
    /// Permission bits of keys.
    pub mode: Part<Mode>,
    /// Whether owner and group are given to certificates, too.
    pub chown_both: Option<bool>,
    /// Whether there are links for PostgreSQL.
    pub pglink: Option<bool>,
    /// What is run after a change.
    pub reload: Part<String>,
    /// For people.
    pub remarks: Part<String>,
}

/// Of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceParts {
    /// How its records begin.
    pub tlsa: Option<TlsaPrefix>,
    /// For people.
    pub remarks: Part<String>,
}

impl CertificateParts {
    /// Changes a certificate.
    pub fn apply(&self, it: &mut Certificate, now: OffsetDateTime) {
        put(&mut it.disabled, self.disabled.as_ref());
        put(&mut it.kind, self.kind.as_ref());
        put(&mut it.authority, self.authority.as_ref());
        put(&mut it.algorithms, self.algorithms.as_ref());
        put(&mut it.must_staple, self.must_staple.as_ref());
        noted(&mut it.about, &self.remarks, now);
    }
}

impl HostParts {
    /// Changes a host.
    pub fn apply(&self, it: &mut DistHost, now: OffsetDateTime) {
        put(&mut it.jail_root, self.jail_root.as_ref());
        noted(&mut it.about, &self.remarks, now);
    }
}

impl PlaceParts {
    /// Changes a place.
    pub fn apply(&self, it: &mut Place, now: OffsetDateTime) {
        put(&mut it.file_type, self.file_type.as_ref());
        put(&mut it.cert_path, self.cert_path.as_ref());
        put(&mut it.key_path, self.key_path.as_ref());
        put(&mut it.user, self.user.as_ref());
        put(&mut it.group, self.group.as_ref());
        put(&mut it.mode, self.mode.as_ref());
        put(&mut it.chown_both, self.chown_both.as_ref());
        put(&mut it.pglink, self.pglink.as_ref());
        put(&mut it.reload, self.reload.as_ref());
        noted(&mut it.about, &self.remarks, now);
    }
}

impl ServiceParts {
    /// Changes a service.
    pub fn apply(&self, it: &mut Service, now: OffsetDateTime) {
        put(&mut it.tlsa, self.tlsa.as_ref());
        noted(&mut it.about, &self.remarks, now);
    }
}

fn put<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

fn noted(about: &mut About, remarks: &Part<String>, now: OffsetDateTime) {
    put(&mut about.remarks, remarks.as_ref());
    about.updated = Some(second(now));
}
