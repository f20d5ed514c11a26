//! `[dns]`, `[smtp]`, `[imap]`, `[web]` and `[other]` of `ssl-mgr.conf`.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::reader::{Table, Value, Word};
use super::site::beneath;
use super::{Change, Dns, Probe, Servers, Sort, command};
use crate::manager::nearest::{hint, shown};
use crate::probe::protocol::{Guess, Protocol, guess};

/// Every sort, in the order in which they are told.
pub(super) const SORTS: [Sort; 4] = [Sort::Smtp, Sort::Imap, Sort::Web, Sort::Other];

/// Services that a server says it depends on: in a group, or anywhere.
pub(super) struct Mention<'a> {
    pub(super) group: Option<Word<'a>>,
    pub(super) services: Vec<Word<'a>>,
}

/// The name of a sort's table.
pub(super) fn table(sort: Sort) -> &'static str {
    match sort {
        Sort::Smtp => "smtp",
        Sort::Imap => "imap",
        Sort::Web => "web",
        Sort::Other => "other",
    }
}

/// Reads one sort's table.
pub(super) fn read<'a>(mut table: Table<'a>, sort: Sort, topdir: &Path) -> (Servers, Vec<Mention<'a>>) {
    let mut hosts = Vec::new();
    for host in table.texts("servers").iter().filter_map(host) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let restart: Vec<Vec<String>> = table
        .texts("restart_cmd")
        .iter()
        .filter_map(|command| command::words(command.text).map_err(|error| command.place.fault(error)).ok())
        .collect();
    let mentions = mentions(&mut table);
    let servers = Servers {
        sort,
        hosts,
        depends: depends(&mut table).unwrap_or_default(),
        services: mentions
            .iter()
            .map(|mention| {
                let group = mention.group.as_ref().map(|group| group.text.to_owned());
                (group, mention.services.iter().map(|service| service.text.to_owned()).collect())
            })
            .collect(),
        web_root: match sort {
            Sort::Web => table.filled("server_dir").map(|word| beneath(topdir, &word)),
            _ => None,
        },
        skip_copy: table.flag("skip_prod_copy").unwrap_or_default(),
        roots: table.texts("roots").iter().filter_map(root).collect(),
        owner: table.filled("owner").and_then(|word| owner(&word)),
        key_mode: table.value("key_mode").and_then(|value| key_mode(&value)),
        probes: table.texts("probe").iter().filter_map(probe).collect(),
        restart,
    };
    if !servers.restart.is_empty() && servers.depends.is_empty() && servers.services.is_empty() {
        table.warn("restart_cmd is never run: there is neither svc_depends nor depends");
    }
    table.finish();
    (servers, mentions)
}

/// Reads `[dns]`.
pub(super) fn dns(mut table: Table<'_>, topdir: &Path) -> Dns {
    let restart = table.texts("restart_cmd");
    for command in restart.iter().filter(|command| command.text.contains(char::is_whitespace)) {
        command.place.warn(
            "restart_cmd of [dns] is one program, which is given --serial_bump and domains; it is not split",
        );
    }
    let directories = |words: Vec<Word<'_>>| words.iter().map(|word| beneath(topdir, word)).collect();
    let dns = Dns {
        restart: restart.iter().map(|command| command.text.to_owned()).collect(),
        challenge_directories: directories(table.texts("acme_dir")),
        tlsa_directories: directories(table.texts("tlsa_dirs")),
        // A zone that is not loaded again never shows its new TLSA records: what else is it for?
        depends: depends(&mut table).unwrap_or_else(|| BTreeSet::from([Change::Dns])),
    };
    table.finish();
    dns
}

/// A host for `ssh` and `rsync`, as they are given it: a name or address of theirs, perhaps with a
/// user; never an option, never a path.
pub(super) fn host(word: &Word<'_>) -> Option<String> {
    let (user, host) = word.text.rsplit_once('@').unwrap_or(("x", word.text));
    let plain = |text: &str, more: &[char]| {
        !text.is_empty()
            && text.len() <= 253
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    if plain(user, &['.', '_', '-']) && plain(host, &['.', '_', '-', ':']) {
        return Some(word.text.to_owned());
    }
    word.place.refuse(format!("{} is no host; write its name or address", shown(word.text)))
}

/// A jail or chroot on a host.
fn root(word: &Word<'_>) -> Option<PathBuf> {
    let path = Path::new(word.text);
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(plain) {
        return Some(path.components().collect());
    }
    word.place.refuse(format!(
        "{} is no directory of a jail; write its whole path, without \"..\"",
        shown(word.text)
    ))
}

/// `USER` or `USER:GROUP`, by name or number.
fn owner(word: &Word<'_>) -> Option<(String, Option<String>)> {
    let plain = |text: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
        !text.is_empty() && text.len() <= 32 && !text.starts_with('-') && text.chars().all(is_plain)
    };
    let (user, group) = match word.text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (word.text, None),
    };
    if plain(user) && group.is_none_or(plain) {
        return Some((user.to_owned(), group.map(str::to_owned)));
    }
    word.place.refuse(format!("{} is no owner; write USER or USER:GROUP", shown(word.text)))
}

/// Permission bits in octal digits: a key is for its owner and one group.
fn key_mode(value: &Value<'_>) -> Option<u32> {
    let word = value.text()?;
    match u32::from_str_radix(word.text.trim_start_matches("0o"), 8) {
        Ok(mode) if mode & !0o640 == 0 && mode & 0o400 != 0 => Some(mode),
        _ => word.place.refuse(format!(
            "the key_mode {} lets too many read, or nobody; write \"0600\", \"0640\", \"0440\" or \"0400\"",
            shown(word.text)
        )),
    }
}

/// `PORT`, or `PORT/PROTOCOL` where the port does not say how TLS begins there.
fn probe(word: &Word<'_>) -> Option<Probe> {
    let (port, protocol) = match word.text.split_once('/') {
        Some((port, protocol)) => (port, Some(protocol.to_ascii_lowercase().parse::<Protocol>())),
        None => (word.text, None),
    };
    let port = port.parse::<u16>().ok().filter(|port| *port > 0);
    match (port, protocol) {
        (Some(port), Some(Ok(protocol))) => Some(Probe { port, protocol }),
        (Some(port), None) => match guess(port) {
            Guess::Known(protocol) => Some(Probe { port, protocol }),
            Guess::Plain | Guess::Unknown => Some(Probe { port, protocol: Protocol::Tls }),
        },
        (Some(_), Some(Err(error))) => word.place.refuse(error),
        (None, _) => {
            let text = shown(word.text);
            word.place.refuse(format!("{text} cannot be asked; write for example \"443\" or \"25/smtp\""))
        }
    }
}

/// `depends`; nothing when the key is missing.
fn depends(table: &mut Table<'_>) -> Option<BTreeSet<Change>> {
    let change = |word: &Word<'_>| match word.text.to_ascii_lowercase().as_str() {
        "cert" => Some(Change::Cert),
        "tlsa" => Some(Change::Tlsa),
        "dns" => Some(Change::Dns),
        other => {
            let hint = hint(other, ["cert", "tlsa", "dns"]);
            let message = format!("nothing depends on {}; write cert, tlsa or dns{hint}", shown(word.text));
            word.place.refuse(message)
        }
    };
    Some(table.value("depends")?.texts().iter().filter_map(change).collect())
}

/// Every pair of `svc_depends`.
fn mentions<'a>(table: &mut Table<'a>) -> Vec<Mention<'a>> {
    let Some(value) = table.value("svc_depends") else { return Vec::new() };
    value.lists().iter().filter_map(mention).collect()
}

fn mention<'a>(pair: &Value<'a>) -> Option<Mention<'a>> {
    let items = if pair.is_list() { pair.items() } else { Vec::new() };
    let [group, services] = items.as_slice() else {
        return pair.place.refuse("one of svc_depends is [\"DOMAIN\", [\"SERVICE\", …]]");
    };
    let group = group.text()?;
    let group = (!matches!(group.text, "any" | "all" | "ANY" | "ALL" | "*")).then_some(group);
    Some(Mention { group, services: services.texts() })
}
