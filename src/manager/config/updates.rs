//! `[[dns_update]]` of `ssl-mgr.conf`: zones that are changed by dynamic update.

use std::collections::BTreeSet;
use std::path::Path;

use super::reader::{Table, Word};
use super::site::{apex, beneath, host_or_address};
use super::{Purpose, Update};
use crate::manager::nearest::{hint, shown};

/// Reads the tables; `topdir` is where relative paths begin.
pub(super) fn read(tables: Vec<Table<'_>>, topdir: &Path) -> Vec<Update> {
    tables.into_iter().filter_map(|table| update(table, topdir)).collect()
}

fn update(mut table: Table<'_>, topdir: &Path) -> Option<Update> {
    let missing = "[[dns_update]] without domain; write the zone, or \"default\"";
    let domain = table.required("domain", missing);
    let server = table.required("server", "[[dns_update]] without server; write its name or address");
    let port = match table.value("port") {
        Some(value) => value.within(1..=65535),
        None => Some(53),
    };
    let key_file = table.filled("key_file").map(|word| beneath(topdir, &word));
    if key_file.is_none() {
        table.warn("[[dns_update]] without key_file: the server has to trust our address alone");
    }
    let purposes = match table.value("for") {
        Some(value) => value.texts().iter().filter_map(purpose).collect(),
        None => BTreeSet::from([Purpose::Acme, Purpose::Tlsa]),
    };
    table.finish();
    let domain = apex(&domain?)?;
    Some(Update {
        domain: (domain != "default").then_some(domain),
        server: host_or_address(&server?)?,
        port: u16::try_from(port?).ok()?,
        key_file,
        purposes,
    })
}

fn purpose(word: &Word<'_>) -> Option<Purpose> {
    match word.text.to_ascii_lowercase().as_str() {
        "acme" => Some(Purpose::Acme),
        "tlsa" => Some(Purpose::Tlsa),
        other => {
            let hint = hint(other, ["acme", "tlsa"]);
            word.place
                .refuse(format!("{} are no records of ours; write acme or tlsa{hint}", shown(word.text)))
        }
    }
}
