//! Who signs: what its own certificate says about it.

use time::OffsetDateTime;
use x509_parser::extensions::{KeyUsage, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Profile, Role, X509Error, extension};
use crate::pki::inspect::Certificate;
use crate::pki::key::{PrivateKey, public_digest};

/// An issuer that may sign at the present time.
#[derive(Debug)]
pub(super) struct Authority {
    /// Its subject as it stands in its certificate, in DER.
    pub(super) subject: Vec<u8>,
    /// What others refer to its key by: the identifier in its certificate, or what one would be.
    pub(super) key_identifier: Vec<u8>,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    path_len: Option<u32>,
    line: String,
    key_usage: Option<KeyUsage>,
}

impl Authority {
    /// A certificate that signs itself has no issuer that could set limits.
    pub(super) fn itself(profile: &Profile<'_>, subject: &[u8], key: &PrivateKey) -> Result<Self, X509Error> {
        if matches!(profile.role, Role::Intermediate { .. }) {
            return Err(X509Error::Profile("an intermediate is signed by another authority"));
        }
        if profile.role.is_ca() && profile.subject.is_empty() {
            return Err(X509Error::Profile("an authority needs a subject"));
        }
        Ok(Self {
            subject: subject.to_vec(),
            key_identifier: extension::key_identifier(key.public_bits()),
            not_before: profile.now - profile.backdate,
            not_after: profile.not_after,
            path_len: None,
            line: String::new(),
            key_usage: None,
        })
    }

    /// Reads the certificate of an authority.
    pub(super) fn read(der: &[u8], key: &PrivateKey, now: OffsetDateTime) -> Result<Self, X509Error> {
        let line = Certificate::from_der(der).map_err(X509Error::Unreadable)?.subject_line();
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| X509Error::Unreadable(error.to_string()))?;
        let bits: &[u8] = &certificate.public_key().subject_public_key.data;
        let constraints = certificate.basic_constraints().ok().flatten().map(|constraints| constraints.value);
        let key_identifier =
            certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            });
        let authority = Self {
            subject: certificate.subject().as_raw().to_vec(),
            key_identifier: key_identifier.unwrap_or_else(|| extension::key_identifier(bits)),
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            path_len: constraints.and_then(|constraints| constraints.path_len_constraint),
            line,
            key_usage: certificate.key_usage().ok().flatten().map(|usage| *usage.value),
        };
        if public_digest(bits) != key.public_digest() {
            Err(authority.refuse("the key is not that of its certificate"))
        } else if !constraints.is_some_and(|constraints| constraints.ca) {
            Err(authority.refuse("its certificate is not that of a CA"))
        } else if now < authority.not_before {
            Err(authority.refuse(format!("its certificate is not valid before {}", authority.not_before)))
        } else if now > authority.not_after {
            Err(authority
                .refuse(format!("its certificate has expired at {}; renew it first", authority.not_after)))
        } else {
            Ok(authority)
        }
    }

    /// Looks whether it may sign a certificate of this role.
    pub(super) fn may_sign(self, role: &Role) -> Result<Self, X509Error> {
        if self.key_usage.as_ref().is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(self.refuse("its key may not sign certificates (keyUsage)"));
        }
        match (role, self.path_len) {
            (Role::Root { .. }, _) => Err(X509Error::Profile("a root signs itself")),
            (Role::Intermediate { .. }, Some(0)) => {
                Err(self.refuse("its path length of 0 allows no further authority below it"))
            }
            (Role::Intermediate { path_len }, Some(limit)) if u32::from(*path_len) >= limit => {
                let below = limit - 1;
                Err(self.refuse(format!(
                    "its path length of {limit} allows at most {below} below, not {path_len}"
                )))
            }
            _ => Ok(self),
        }
    }

    /// Looks whether it may sign a list of revoked certificates.
    pub(super) fn may_revoke(self) -> Result<Self, X509Error> {
        if self.key_usage.as_ref().is_some_and(|usage| !usage.crl_sign()) {
            return Err(self.refuse("its key may not sign lists of revoked certificates (keyUsage)"));
        }
        Ok(self)
    }

    fn refuse(&self, why: impl Into<String>) -> X509Error {
        X509Error::Issuer { issuer: self.line.clone(), why: why.into() }
    }
}
