//! A certificate that is read, and whether one issued another.

use time::OffsetDateTime;
use x509_parser::extensions::{ExtendedKeyUsage, KeyUsage, NameConstraints, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::pki::inspect;
use crate::pki::signature::verify_signature;
use crate::pki::x509::signed;

/// A certificate of a path, or one that might become part of it.
#[derive(Debug)]
pub(in crate::pki) struct Node<'a> {
    pub(in crate::pki) der: &'a [u8],
    pub(super) parsed: X509Certificate<'a>,
    subject: Vec<Vec<u8>>,
    issuer: Vec<Vec<u8>>,
}

impl<'a> Node<'a> {
    /// Reads DER.
    pub(in crate::pki) fn read(der: &'a [u8]) -> Result<Self, String> {
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|error| format!("not a certificate: {error}"))?;
        let der = der.get(..der.len() - rest.len()).unwrap_or(der);
        if !signed::is_consistent(der, &parsed.tbs_certificate.signature) {
            return Err("not a certificate: it is not signed as it says".to_owned());
        }
        let (subject, issuer) = (inspect::canonical(parsed.subject()), inspect::canonical(parsed.issuer()));
        Ok(Self { der, parsed, subject, issuer })
    }

    /// What people call it: its subject, or its first name where it has none.
    pub(in crate::pki) fn label(&self) -> String {
        let subject = inspect::line(&inspect::attributes(self.parsed.subject()));
        if !subject.is_empty() {
            return subject;
        }
        let name = self.parsed.subject_alternative_name().ok().flatten();
        let name = name.and_then(|names| names.value.general_names.first());
        name.map_or_else(|| "a certificate without a subject".to_owned(), ToString::to_string)
    }

    /// The issuer in one line.
    pub(in crate::pki) fn issuer_label(&self) -> String {
        inspect::line(&inspect::attributes(self.parsed.issuer()))
    }

    /// The subject in the form in which names are compared.
    pub(super) fn subject(&self) -> &[Vec<u8>] {
        &self.subject
    }

    /// Says whether issuer and subject have the same name.
    pub(in crate::pki) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Says whether it is a root.
    pub(in crate::pki) fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.signed(self) != Some(false)
    }

    /// Says whether the other one names it as its issuer.
    pub(in crate::pki) fn is_named_by(&self, issued: &Node<'_>) -> bool {
        self.subject == issued.issuer
    }

    /// Says whether the other one's signature is of its key; nothing for an algorithm that is not known.
    pub(in crate::pki) fn signed(&self, issued: &Node<'_>) -> Option<bool> {
        verify_signature(
            self.parsed.public_key().raw,
            &issued.signature_algorithm(),
            issued.parsed.tbs_certificate.as_ref(),
            &issued.parsed.signature_value.data,
        )
    }

    pub(super) fn signature_algorithm(&self) -> String {
        self.parsed.signature_algorithm.algorithm.to_id_string()
    }

    pub(super) fn not_before(&self) -> OffsetDateTime {
        self.parsed.validity().not_before.to_datetime()
    }

    pub(in crate::pki) fn not_after(&self) -> OffsetDateTime {
        self.parsed.validity().not_after.to_datetime()
    }

    /// Says whether it is that of an authority. Roots of version 1 cannot say so themselves.
    pub(super) fn is_ca(&self) -> bool {
        let constraints = self.parsed.basic_constraints().ok().flatten();
        constraints.is_some_and(|constraints| constraints.value.ca)
    }

    pub(super) fn path_len(&self) -> Option<u32> {
        let constraints = self.parsed.basic_constraints().ok().flatten()?;
        constraints.value.path_len_constraint.filter(|_| constraints.value.ca)
    }

    pub(super) fn key_usage(&self) -> Option<KeyUsage> {
        self.parsed.key_usage().ok().flatten().map(|usage| *usage.value)
    }

    pub(super) fn purposes(&self) -> Option<&ExtendedKeyUsage<'a>> {
        self.find(|extension| match extension {
            ParsedExtension::ExtendedKeyUsage(purposes) => Some(purposes),
            _ => None,
        })
    }

    pub(super) fn name_constraints(&self) -> Option<&NameConstraints<'a>> {
        self.find(|extension| match extension {
            ParsedExtension::NameConstraints(constraints) => Some(constraints),
            _ => None,
        })
    }

    pub(super) fn subject_key(&self) -> Option<&[u8]> {
        self.find(|extension| match extension {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0),
            _ => None,
        })
    }

    pub(super) fn authority_key(&self) -> Option<&[u8]> {
        self.find(|extension| match extension {
            ParsedExtension::AuthorityKeyIdentifier(authority) => {
                authority.key_identifier.as_ref().map(|identifier| identifier.0)
            }
            _ => None,
        })
    }

    fn find<'s, T: ?Sized>(
        &'s self,
        pick: impl FnMut(&'s ParsedExtension<'a>) -> Option<&'s T>,
    ) -> Option<&'s T> {
        self.parsed.extensions().iter().map(|extension| extension.parsed_extension()).find_map(pick)
    }
}
