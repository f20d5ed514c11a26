//! Making certificates: X.509 v3 by RFC 5280, with `rcgen` writing and our keys signing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::Usage;
use super::key::PrivateKey;
use super::serial::Serial;
use crate::identity::HostName;
use crate::seed::Subject;

/// Longest common name in characters (RFC 5280 appendix A.1, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

/// What goes into one certificate, besides its key.
#[derive(Debug, Clone)]
pub struct Profile<'a> {
    /// The machine's full name: always in the SAN.
    pub fqdn: &'a HostName,
    /// Further DNS names of the SAN.
    pub names: &'a BTreeSet<HostName>,
    /// Addresses of the SAN.
    pub addresses: &'a BTreeSet<IpAddr>,
    /// The site's subject fields.
    pub subject: &'a Subject,
    /// Being connected to, connecting out, or both.
    pub usage: &'a BTreeSet<Usage>,
    /// The number that this issuer has not used before.
    pub serial: Serial,
    /// The present time.
    pub now: OffsetDateTime,
    /// Length of validity in days, the part before `now` included.
    pub days: u32,
    /// How long before `now` it starts, in hours: clients whose clock is slow take it too.
    pub backdate_hours: u32,
}

/// Makes a self-signed end-entity certificate and returns its PEM text.
///
/// # Errors
/// In the words of the library; no input that the modules above let through leads there.
pub fn self_signed(profile: &Profile<'_>, key: &PrivateKey) -> Result<String, rcgen::Error> {
    Ok(parameters(profile, key)?.self_signed(key)?.pem().replace('\r', ""))
}

fn parameters(profile: &Profile<'_>, key: &PrivateKey) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let start = profile.now - Duration::hours(i64::from(profile.backdate_hours));
    params.not_before = start;
    // Both ends belong to the validity (RFC 5280 section 4.1.2.5), so the last second is one less.
    params.not_after = start + Duration::days(i64::from(profile.days)) - Duration::seconds(1);
    params.serial_number = Some(SerialNumber::from_slice(&profile.serial.to_octets()));
    params.distinguished_name = distinguished_name(profile.fqdn, profile.subject)?;
    params.subject_alt_names = alternative_names(profile)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = key_usages(key);
    params.extended_key_usages = profile
        .usage
        .iter()
        .map(|usage| match usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        })
        .collect();
    // RFC 7093 section 2, method 1: the leftmost 160 bits of SHA-256 over the key's bits.
    params.key_identifier_method =
        KeyIdMethod::PreSpecified(key.public_digest().iter().copied().take(20).collect());
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn distinguished_name(fqdn: &HostName, subject: &Subject) -> Result<DistinguishedName, rcgen::Error> {
    let mut name = DistinguishedName::new();
    let utf8 = |text: &String| DnValue::Utf8String(text.clone());
    if let Some(country) = &subject.country {
        name.push(DnType::CountryName, DnValue::PrintableString(country.as_str().try_into()?));
    }
    for (kind, field) in [
        (DnType::StateOrProvinceName, &subject.state),
        (DnType::LocalityName, &subject.locality),
        (DnType::OrganizationName, &subject.organization),
        (DnType::OrganizationalUnitName, &subject.organizational_unit),
    ] {
        if let Some(field) = field {
            name.push(kind, utf8(field));
        }
    }
    // A name too long for the field goes there by its first label; the SAN has all of it.
    let common = if fqdn.as_str().len() <= MAX_COMMON_NAME { fqdn.as_str() } else { fqdn.label() };
    name.push(DnType::CommonName, DnValue::Utf8String(common.to_owned()));
    if let Some(email) = &subject.email {
        name.push(
            DnType::CustomDnType(EMAIL_ADDRESS.to_vec()),
            DnValue::Ia5String(email.as_str().try_into()?),
        );
    }
    Ok(name)
}

/// `emailAddress` of RFC 2985 section 5.2.1.
const EMAIL_ADDRESS: [u64; 7] = [1, 2, 840, 113_549, 1, 9, 1];

fn alternative_names(profile: &Profile<'_>) -> Result<Vec<SanType>, rcgen::Error> {
    let dns = std::iter::once(profile.fqdn)
        .chain(profile.names.iter().filter(|name| *name != profile.fqdn))
        .map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
    let addresses = profile.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)));
    dns.chain(addresses).collect()
}

/// RSA keys may also take part in the key transport of TLS 1.2; others only sign.
fn key_usages(key: &PrivateKey) -> Vec<KeyUsagePurpose> {
    let mut usages = vec![KeyUsagePurpose::DigitalSignature];
    if rcgen::PublicKeyData::algorithm(key) == &rcgen::PKCS_RSA_SHA256 {
        usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    usages
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::inspect::Certificate;
    use super::super::{Algorithm, container};
    use super::*;

    pub(crate) fn made(
        fqdn: &str,
        algorithm: Algorithm,
        subject: &Subject,
    ) -> (Certificate, String, PrivateKey) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let profile = Profile {
            fqdn: &HostName::parse(fqdn).unwrap(),
            names: &BTreeSet::from([HostName::parse("mail").unwrap()]),
            addresses: &BTreeSet::from(["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
            subject,
            usage: &BTreeSet::from([Usage::Server, Usage::Client]),
            serial: Serial::next(None, None, [7; 20]),
            now: OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(),
            days: 398,
            backdate_hours: 24,
        };
        let text = self_signed(&profile, &key).unwrap();
        let der = container::read(text.as_bytes()).certificates.remove(0);
        (Certificate::from_der(&der).unwrap(), text, key)
    }

    #[test]
    fn what_is_asked_for_is_in_it() {
        let subject = Subject {
            country: Some("US".into()),
            organization: Some("Bücher".into()),
            email: Some("root@example.com".into()),
            ..Subject::default()
        };
        for algorithm in [Algorithm::P256, Algorithm::P384, Algorithm::Rsa(2048)] {
            let (found, _, key) = made("mail.example.com", algorithm, &subject);
            assert_eq!(
                found.subject_line(),
                "C = US, O = Bücher, CN = mail.example.com, emailAddress = root@example.com"
            );
            assert!(found.self_signed && found.covers("mail.example.com") && found.covers("mail"));
            assert!(!found.covers("example.com"));
            assert_eq!(found.addresses.len(), 2);
            assert_eq!(found.public_digest, key.public_digest());
            assert_eq!(found.serial, Some(Serial::next(None, None, [7; 20])));
            assert_eq!((found.not_after - found.not_before).whole_seconds(), 398 * 86_400 - 1);
        }
    }

    #[test]
    fn a_name_of_more_than_64_characters_stands_in_the_san_only() {
        let long = format!("mail.{}.example.com", "a".repeat(60));
        let (found, ..) = made(&long, Algorithm::P256, &Subject::default());
        assert_eq!(found.common_name(), Some("mail"));
        assert!(found.covers(&long));
        assert_eq!(found.subject_line(), "CN = mail", "no field is invented for a site without a seed");
    }

    #[test]
    fn a_changed_signature_is_not_its_own() {
        let (_, text, _) = made("mail.example.com", Algorithm::P256, &Subject::default());
        let mut der = container::read(text.as_bytes()).certificates.remove(0);
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(!Certificate::from_der(&der).unwrap().self_signed);
    }
}
