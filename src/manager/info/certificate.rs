//! Certificates, requests for them, and lists of those that are revoked.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::AlgorithmIdentifier;

use super::{Described, Fields, colons, extension, key, name};

/// A certificate; what OpenSSL's "trusted" ones have behind it is passed over.
pub(super) fn certificate(kind: &str, der: &[u8], now: OffsetDateTime) -> Described {
    let (rest, certificate) = match X509Certificate::from_der(der) {
        Ok(parsed) => parsed,
        Err(error) => return Described::faulty(kind, format!("is damaged: {error}")),
    };
    let alone = der.strip_suffix(rest).unwrap_or(der);
    let mut fields = Fields::default();
    fields.date("Expires", certificate.validity().not_after.to_datetime(), now);
    fields.date("Issued", certificate.validity().not_before.to_datetime(), now);
    fields.text("Issuer", name::distinguished(certificate.issuer()));
    fields.text("Subject", name::distinguished(certificate.subject()));
    let extensions: Vec<_> =
        certificate.extensions().iter().map(|one| one.parsed_extension().clone()).collect();
    fields.list("Sans", extension::alternative_names(&extensions));
    public_key(&mut fields, certificate.public_key().raw);
    fields.text("Sig algo", signature(&certificate.signature_algorithm));
    fields.rare("Serial", colons(certificate.raw_serial()));
    fields.rare("Version", (certificate.version().0 + 1).to_string());
    extension::rare(&mut fields, certificate.extensions());
    fields.rare("SHA-256", colons(&Sha256::digest(alone)));
    key::fingerprint(&mut fields, certificate.public_key().raw);
    Described::new(kind, fields)
}

/// What the key in a certificate is called, `secp384r1` or `rsa-4096`, and the algorithm of its signature, as
/// ssl-mgr writes them; nothing when it is damaged.
pub fn algorithms(der: &[u8]) -> Option<(String, String)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let key = key::public_algorithm(certificate.public_key().raw)?;
    let key = key.strip_prefix("ec ").unwrap_or(&key).trim_end_matches(" bits").replace(' ', "-");
    Some((key, signature(&certificate.signature_algorithm)))
}

/// A request (RFC 2986).
pub(super) fn request(der: &[u8]) -> Described {
    let kind = "certificate request";
    let request = match X509CertificationRequest::from_der(der) {
        Ok((_, request)) => request,
        Err(error) => return Described::faulty(kind, format!("is damaged: {error}")),
    };
    let info = &request.certification_request_info;
    let mut fields = Fields::default();
    fields.text("Subject", name::distinguished(&info.subject));
    let extensions: Vec<_> = request.requested_extensions().into_iter().flatten().cloned().collect();
    fields.list("Sans", extension::alternative_names(&extensions));
    public_key(&mut fields, info.subject_pki.raw);
    fields.text("Sig algo", signature(&request.signature_algorithm));
    key::fingerprint(&mut fields, info.subject_pki.raw);
    Described::new(kind, fields)
}

/// A list of revoked certificates (RFC 5280 section 5).
pub(super) fn revocations(der: &[u8], now: OffsetDateTime) -> Described {
    let kind = "revocation list";
    let list = match CertificateRevocationList::from_der(der) {
        Ok((_, list)) => list,
        Err(error) => return Described::faulty(kind, format!("is damaged: {error}")),
    };
    let mut fields = Fields::default();
    if let Some(next) = list.next_update() {
        fields.date("Expires", next.to_datetime(), now);
    }
    fields.date("Issued", list.last_update().to_datetime(), now);
    fields.text("Issuer", name::distinguished(list.issuer()));
    fields.text("Revoked", list.iter_revoked_certificates().count().to_string());
    fields.text("Sig algo", signature(&list.signature_algorithm));
    extension::rare(&mut fields, list.extensions());
    let revoked = list.iter_revoked_certificates().map(|revoked| {
        let reason = revoked.reason_code().map(|(_, reason)| format!(", {reason}")).unwrap_or_default();
        let since = super::when(revoked.revocation_date.to_datetime(), now);
        format!("{} since {since}{reason}", colons(revoked.raw_serial()))
    });
    fields.rare_list("Serials", revoked.collect());
    Described::new(kind, fields)
}

fn public_key(fields: &mut Fields, spki: &[u8]) {
    let algorithm = key::public_algorithm(spki).unwrap_or_else(|| "of an unknown kind".to_owned());
    fields.text("Pubkey", algorithm);
}

fn signature(algorithm: &AlgorithmIdentifier<'_>) -> String {
    extension::short(&algorithm.algorithm)
}
