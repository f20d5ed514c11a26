//! Names in certificates: the subject, and those of the SAN.

use std::fmt;
use std::net::IpAddr;

use der::Encode;
use der::asn1::{Any, Ia5String, ObjectIdentifier, OctetString, PrintableString, SetOfVec, Utf8StringRef};
use serde::Serialize;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::name::GeneralName;

use super::X509Error;

/// A distinguished name, in the order in which it is written (RFC 5280 section 4.1.2.6). Empty fields are
/// left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Name {
    /// `CN`; at most 64 characters.
    pub common_name: String,
    /// `C`: two letters.
    pub country: Option<String>,
    /// `ST`.
    pub state: Option<String>,
    /// `L`.
    pub locality: Option<String>,
    /// `O`.
    pub organization: Option<String>,
    /// `OU`.
    pub organizational_unit: Option<String>,
    /// `emailAddress`, in ASCII.
    pub email: Option<String>,
}

impl Name {
    /// Encodes it, each attribute in a set of its own.
    ///
    /// # Errors
    /// [`X509Error::Field`] for what cannot stand there.
    pub(super) fn to_der(&self) -> Result<Vec<u8>, X509Error> {
        let fields = [
            ("C", COUNTRY, 2, self.country.as_ref()),
            ("ST", STATE, 128, self.state.as_ref()),
            ("L", LOCALITY, 128, self.locality.as_ref()),
            ("O", ORGANIZATION, 64, self.organization.as_ref()),
            ("OU", ORGANIZATIONAL_UNIT, 64, self.organizational_unit.as_ref()),
            ("CN", COMMON_NAME, 64, Some(&self.common_name)),
            ("emailAddress", EMAIL_ADDRESS, 255, self.email.as_ref()),
        ];
        let mut name = Vec::new();
        for (field, oid, limit, value) in fields {
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            let wrong = |why| X509Error::Field { field, value: value.clone(), why };
            if value.chars().count() > limit {
                return Err(wrong("is longer than a certificate allows (RFC 5280 appendix A.1)"));
            }
            if value.chars().any(char::is_control) {
                return Err(wrong("has a control character"));
            }
            let value = match oid {
                COUNTRY if value.len() == 2 && value.bytes().all(|letter| letter.is_ascii_alphabetic()) => {
                    Any::encode_from(&PrintableString::new(value)?)?
                }
                COUNTRY => return Err(wrong("is no two letters of ISO 3166")),
                EMAIL_ADDRESS if value.is_ascii() => Any::encode_from(&Ia5String::new(value)?)?,
                EMAIL_ADDRESS => return Err(wrong("is not ASCII")),
                _ => Any::encode_from(&Utf8StringRef::new(value)?)?,
            };
            name.push(SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }])?);
        }
        Ok(Encode::to_der(&name)?)
    }

    /// Says whether nothing of it is set.
    pub(super) fn is_empty(&self) -> bool {
        let Self { common_name, country, state, locality, organization, organizational_unit, email } = self;
        [country, state, locality, organization, organizational_unit, email]
            .into_iter()
            .flatten()
            .chain([common_name])
            .all(String::is_empty)
    }
}

/// A name of the SAN (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlternativeName {
    /// A host name as A-labels, in lower case; may begin with `*.`.
    Dns(String),
    /// An address.
    Address(IpAddr),
    /// A mailbox, in ASCII: what a certificate of a person has.
    Email(String),
}

impl fmt::Display for AlternativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Email(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl AlternativeName {
    pub(super) fn general(&self) -> Result<GeneralName, X509Error> {
        let wrong = |value: &String, why| X509Error::Field { field: "DNS", value: value.clone(), why };
        match self {
            Self::Dns(name) if name.is_empty() || name.len() > 253 => {
                Err(wrong(name, "is empty, or longer than 253 characters"))
            }
            Self::Dns(name) if !name.bytes().all(|octet| octet.is_ascii_graphic()) => {
                Err(wrong(name, "is not in A-labels (RFC 5890)"))
            }
            Self::Dns(name) => Ok(GeneralName::DnsName(Ia5String::new(name)?)),
            Self::Address(IpAddr::V4(address)) => {
                Ok(GeneralName::IpAddress(OctetString::new(address.octets())?))
            }
            Self::Address(IpAddr::V6(address)) => {
                Ok(GeneralName::IpAddress(OctetString::new(address.octets())?))
            }
            Self::Email(mailbox) if !mailbox.bytes().all(|octet| octet.is_ascii_graphic()) => {
                Err(X509Error::Field { field: "e-mail", value: mailbox.clone(), why: "is not ASCII" })
            }
            Self::Email(mailbox) => Ok(GeneralName::Rfc822Name(Ia5String::new(mailbox)?)),
        }
    }
}

// RFC 4519 section 2.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const LOCALITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.7");
const STATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
/// RFC 2985 section 5.2.1.
const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_name_is_refused() {
        let named = |change: fn(&mut Name)| {
            let mut name = Name { common_name: "mail.example.com".into(), ..Name::default() };
            change(&mut name);
            name.to_der()
        };
        type Case<'a> = (&'a str, fn(&mut Name), Option<&'a str>);
        let cases: [Case<'_>; 10] = [
            ("plain", |_| (), None),
            ("empty fields", |name| name.locality = Some(String::new()), None),
            ("all of Unicode", |name| name.organization = Some("Bücher 本".into()), None),
            ("64 wide characters", |name| name.common_name = "ü".repeat(64), None),
            ("65", |name| name.common_name = "x".repeat(65), Some("longer")),
            ("three letters", |name| name.country = Some("USA".into()), Some("longer")),
            ("no letters", |name| name.country = Some("1ü".into()), Some("two letters")),
            ("one letter", |name| name.country = Some("U".into()), Some("two letters")),
            ("e-mail", |name| name.email = Some("ü@example.com".into()), Some("ASCII")),
            ("a line end", |name| name.state = Some("a\nb".into()), Some("control")),
        ];
        for (case, change, why) in cases {
            match (named(change), why) {
                (Ok(_), None) => {}
                (Err(error), Some(why)) => assert!(error.to_string().contains(why), "{case}: {error}"),
                other => panic!("{case}: {other:?}"),
            }
        }
        assert_eq!(Name::default().to_der().unwrap(), [0x30, 0]);
        assert!(Name::default().is_empty());
        for bad in ["", "bücher.example", "a b", &"a".repeat(254)] {
            assert!(AlternativeName::Dns(bad.to_owned()).general().is_err(), "{bad}");
        }
    }
}
