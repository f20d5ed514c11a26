//! `[X509]` of a service's file: the subject and the names that a certificate is for.
//!
//! Limits are the upper bounds of RFC 5280 appendix A.1.

use std::net::IpAddr;

use super::reader::{Table, Word};
use super::{AlternativeName, Subject};
use crate::identity::HostName;
use crate::manager::nearest::shown;

/// Who needs what in a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Role {
    /// A certification authority: its common name is no host's.
    pub(super) is_ca: bool,
    /// Signed by a public CA, which writes only the names that it has validated.
    pub(super) is_public: bool,
}

/// Reads the table.
pub(super) fn read(mut table: Table<'_>, role: Role) -> Option<(Subject, Vec<AlternativeName>)> {
    let common_name = table.required("CN", "[X509] without CN; write the common name");
    // A public CA writes only what it has validated, so there they may be missing.
    let mut needed = |key, missing| match role.is_public {
        true => table.filled(key),
        false => table.required(key, missing),
    };
    let organization = needed("O", "[X509] without O; write the organization");
    let country = needed("C", "[X509] without C; write the country, two letters");
    let subject = Subject {
        common_name: field(common_name.clone(), 64).unwrap_or_default(),
        country: country.and_then(|word| code(&word)),
        state: field(table.filled("ST"), 128),
        locality: field(table.filled("L"), 128),
        organization: field(organization, 64),
        organizational_unit: field(table.filled("OU"), 64),
        email: table.filled("email").and_then(|word| email(&word)),
    };
    let mut names = Vec::new();
    for word in table.texts("sans") {
        match alternative_name(word.text) {
            Ok(name) if names.contains(&name) => {
                word.place.warn(format!("{} is given twice", shown(word.text)));
            }
            Ok(name) => names.push(name),
            Err(message) => word.place.fault(message),
        }
    }
    let common_name = common_name?;
    if !role.is_ca {
        match alternative_name(common_name.text) {
            Ok(name) if names.contains(&name) => {}
            Ok(name) => names.insert(0, name),
            // Where no public CA looks, a person's or program's name may stand beside real names.
            Err(_) if !names.is_empty() && !role.is_public => {}
            Err(message) => common_name.place.fault(format!("CN: {message}")),
        }
    }
    table.finish();
    Some((subject, names))
}

/// A name of the SAN as it is written: a host, a wildcard, an address.
///
/// # Errors
/// In words, when it is none of these.
pub fn alternative_name(text: &str) -> Result<AlternativeName, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(AlternativeName::Address(address));
    }
    if let Some((address, _)) = text.split_once('/')
        && address.parse::<IpAddr>().is_ok()
    {
        return Err(format!(
            "{} is a range; a certificate is for single addresses: write {address}",
            shown(text)
        ));
    }
    let (star, host) = match text.strip_prefix("*.") {
        Some(host) => ("*.", host),
        None => ("", text),
    };
    if host.contains('*') {
        return Err(format!("{}: only a whole first label may be *, as in *.example.com", shown(text)));
    }
    let name = HostName::parse(host).map_err(|error| error.to_string())?;
    // No top-level domain is a number (RFC 3696 section 2): it is an address with a slip in it.
    if name.as_str().rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("{} is neither a host name nor an address", shown(text)));
    }
    Ok(AlternativeName::Dns(format!("{star}{name}")))
}

pub(super) fn field(word: Option<Word<'_>>, limit: usize) -> Option<String> {
    let word = word?;
    let length = word.text.chars().count();
    if length > limit {
        return word
            .place
            .refuse(format!("{length} characters, at most {limit} are allowed (RFC 5280 appendix A.1)"));
    }
    Some(word.text.to_owned())
}

pub(super) fn code(word: &Word<'_>) -> Option<String> {
    if word.text.len() == 2 && word.text.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Some(word.text.to_ascii_uppercase());
    }
    word.place.refuse(format!(
        "the country {} is not two letters; write for example \"US\" (ISO 3166)",
        shown(word.text)
    ))
}

pub(super) fn email(word: &Word<'_>) -> Option<String> {
    let shape = word.text.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    if shape && word.text.is_ascii() && !word.text.contains(' ') && word.text.len() <= 128 {
        return Some(word.text.to_owned());
    }
    word.place.refuse("an e-mail address is ASCII of the form local@domain, at most 128 characters")
}
