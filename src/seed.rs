//! The seed: the site's certificate subject fields, in the file that Kickstart writes.
//!
//! Several texts may each give some of them; a later one replaces field by field. Limits are the
//! upper bounds of RFC 5280 appendix A.1. A site without a seed gets certificates without these
//! fields: nothing is ever invented for them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::fault::Fault;
use crate::identity::Fingerprint;

/// The subject fields of the site's certificates; what is not set stays out of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// C: two capital letters (ISO 3166).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// ST: at most 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// L: at most 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// O: at most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// OU: at most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizational_unit: Option<String>,
    /// emailAddress: at most 128 characters of ASCII, the limit that OpenSSL keeps to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl Subject {
    /// Reads one text: `[subject]` with any of the six fields.
    ///
    /// # Errors
    /// [`Fault`] with the position of a misspelt key or a value beyond its limits.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let file: File = toml::from_str(text).map_err(|error| Fault::toml(path, text, &error))?;
        if let Some(version) = file.version
            && *version.as_ref() != VERSION
        {
            return Err(Fault::at(
                path,
                text,
                version.span(),
                format!(
                    "version {} of the seed is not known here; this program reads {VERSION}",
                    version.as_ref()
                ),
            ));
        }
        let checked = |field: Option<Spanned<String>>, check: fn(&str) -> Result<(), String>| match field {
            None => Ok(None),
            Some(value) => match check(value.as_ref()) {
                Ok(()) => Ok(Some(value.into_inner())),
                Err(message) => Err(Fault::at(path, text, value.span(), message)),
            },
        };
        let fields = file.subject;
        Ok(Self {
            country: checked(fields.country, country)?,
            state: checked(fields.state, at_most_128)?,
            locality: checked(fields.locality, at_most_128)?,
            organization: checked(fields.organization, at_most_64)?,
            organizational_unit: checked(fields.organizational_unit, at_most_64)?,
            email: checked(fields.email, email)?,
        })
    }

    /// This subject with every field that `later` sets replaced.
    #[must_use]
    pub fn overlaid(self, later: Self) -> Self {
        Self {
            country: later.country.or(self.country),
            state: later.state.or(self.state),
            locality: later.locality.or(self.locality),
            organization: later.organization.or(self.organization),
            organizational_unit: later.organizational_unit.or(self.organizational_unit),
            email: later.email.or(self.email),
        }
    }

    /// The value of the facet `seed`: equal for equal fields, wherever they were written.
    pub fn fingerprint(&self) -> Fingerprint {
        let fields = [
            &self.country,
            &self.state,
            &self.locality,
            &self.organization,
            &self.organizational_unit,
            &self.email,
        ];
        // A line each: no field holds a line end, so different fields never run into one another.
        let text: String = fields.iter().map(|f| format!("{}\n", f.as_deref().unwrap_or_default())).collect();
        Fingerprint::of("seed", &text)
    }
}

/// The version of the format that this program reads.
const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Option<Spanned<u32>>,
    #[serde(default)]
    subject: Fields,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    country: Option<Spanned<String>>,
    state: Option<Spanned<String>>,
    locality: Option<Spanned<String>>,
    organization: Option<Spanned<String>>,
    organizational_unit: Option<Spanned<String>>,
    email: Option<Spanned<String>>,
}

fn country(value: &str) -> Result<(), String> {
    if value.len() == 2 && value.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(());
    }
    Err("the country is two capital letters, such as \"US\" (RFC 5280, ISO 3166)".into())
}

fn at_most_128(value: &str) -> Result<(), String> {
    plain_text(value, 128)
}

fn at_most_64(value: &str) -> Result<(), String> {
    plain_text(value, 64)
}

fn email(value: &str) -> Result<(), String> {
    plain_text(value, 128)?;
    let shape = value.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    if shape && value.is_ascii() && !value.contains(' ') {
        return Ok(());
    }
    Err("an e-mail address is ASCII of the form local@domain".into())
}

fn plain_text(value: &str, limit: usize) -> Result<(), String> {
    let length = value.chars().count();
    if value.trim().is_empty() {
        return Err("an empty field: leave the line out instead".into());
    }
    if length > limit {
        return Err(format!("{length} characters, at most {limit} are allowed (RFC 5280 appendix A.1)"));
    }
    if value.chars().any(char::is_control) {
        return Err("control characters are not allowed in a subject field".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Subject, String> {
        Subject::parse(Path::new("/etc/reseed/seed.toml"), text).map_err(|fault| fault.to_string())
    }

    #[test]
    fn limits() {
        let long = format!("[subject]\norganization = \"{}\"\n", "x".repeat(65));
        let wide = format!("[subject]\norganization = \"{}\"\n", "ü".repeat(64));
        let cases = [
            ("empty", "", Ok(())),
            ("country", "[subject]\ncountry = \"US\"\n", Ok(())),
            ("64 wide characters", wide.as_str(), Ok(())),
            ("with its version", "version = 1\n[subject]\n", Ok(())),
            ("a later version", "version = 2\n", Err(":1:11: version 2")),
            ("small letters", "[subject]\ncountry = \"us\"\n", Err(":2:11: the country")),
            ("the old placeholder", "[subject]\ncountry = \"--\"\n", Err(":2:11: the country")),
            ("65 characters", long.as_str(), Err(":2:16: 65 characters")),
            ("newline", "[subject]\nstate = \"a\\nb\"\n", Err(":2:9: control")),
            ("empty field", "[subject]\nlocality = \" \"\n", Err(":2:12: an empty field")),
            ("email", "[subject]\nemail = \"root\"\n", Err(":2:9: an e-mail")),
            ("misspelt", "[subject]\norganisation = \"x\"\n", Err(":2:1: unknown field")),
            ("no TOML", "[subject\n", Err(":1:9: ")),
        ];
        for (case, text, expected) in cases {
            match (parse(text), expected) {
                (Ok(_), Ok(())) => {}
                (Err(found), Err(words)) => assert!(found.contains(words), "{case}: {found}"),
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn fragments_replace_field_by_field() {
        let vendor = parse("[subject]\ncountry = \"US\"\norganization = \"Vendor\"\n").unwrap();
        let site = parse("[subject]\norganization = \"Example\"\n").unwrap();
        let both = vendor.overlaid(site);
        assert_eq!(both.country.as_deref(), Some("US"));
        assert_eq!(both.organization.as_deref(), Some("Example"));
    }

    #[test]
    fn the_fingerprint_tells_fields_apart() {
        let state = parse("[subject]\nstate = \"Utah\"\n").unwrap();
        let locality = parse("[subject]\nlocality = \"Utah\"\n").unwrap();
        assert_ne!(state.fingerprint(), locality.fingerprint());
        assert_eq!(state.fingerprint(), parse("[subject]\nstate='Utah'\n").unwrap().fingerprint());
    }
}
