//! `ca-info.conf`: a table for each authority that may sign.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::acme::Keys;
use super::reader::{Source, Table, Word};
use super::{Authority, AuthorityKind};
use crate::manager::name::{CA, ServiceName};
use crate::manager::nearest::{hint, shown};

/// What is known of those that sign.
#[derive(Default)]
pub(super) struct Authorities {
    pub(super) known: BTreeMap<String, Authority>,
    /// Tables that are there and have a fault.
    pub(super) broken: BTreeSet<String>,
    /// The file cannot be parsed: nothing is known about any name.
    pub(super) unreadable: bool,
}

/// Reads the file; `default` is the site's `preferred_acme_profile`, `topdir` is where relative paths begin.
pub(super) fn read(source: Source<'_>, default: Option<&Option<String>>, topdir: &Path) -> Authorities {
    let Some(document) = source.parse() else {
        return Authorities { unreadable: true, ..Authorities::default() };
    };
    let file = Table::root(source, &document);
    let mut authorities = Authorities::default();
    for (name, value) in file.others() {
        if !value.is_table() {
            name.place.warn(format!(
                "unknown key {}, which is ignored: each authority is a table",
                shown(name.text)
            ));
            continue;
        }
        let Some(table) = file.inner(format!("[{}]", name.text), &value) else { continue };
        match authority(&name, table, default, topdir) {
            Some(authority) => {
                authorities.known.insert(name.text.to_owned(), authority);
            }
            None => {
                authorities.broken.insert(name.text.to_owned());
            }
        }
    }
    authorities
}

fn authority(
    name: &Word<'_>,
    mut table: Table<'_>,
    default: Option<&Option<String>>,
    topdir: &Path,
) -> Option<Authority> {
    let description = table.text("ca_desc").map(|word| word.text.to_owned()).unwrap_or_default();
    let kind = table.required("ca_type", &format!("{} has no ca_type; write {KINDS}", shown(name.text)));
    // Asked for whatever the kind: the shipped examples have them empty in any.
    let keys = Keys::read(&mut table);
    let kind = kind?;
    let result = match kind.text.to_ascii_lowercase().as_str() {
        "self" | "local" => match ServiceName::new(CA, name.text) {
            Ok(_) => Some(AuthorityKind::Own),
            Err(message) => name.place.refuse(message),
        },
        "manual" => Some(AuthorityKind::Manual),
        "acme" | "certbot" | "letsencrypt" => {
            keys.acme(name, &table, default, topdir).map(|acme| AuthorityKind::Acme(Box::new(acme)))
        }
        other => {
            let hint = hint(other, ["self", "local", "acme", "certbot", "letsencrypt", "manual"]);
            kind.place.refuse(format!("the ca_type {} is not known; write {KINDS}{hint}", shown(kind.text)))
        }
    };
    table.finish();
    Some(Authority { description, kind: result? })
}

/// The kinds, for messages.
const KINDS: &str = "self or local for an own one, acme, letsencrypt or certbot for ACME, or manual";
