//! `ssl-mgr.conf`: the keys of the whole site, `[renew_info]`, `[[groups]]` and `[[dns_primary]]`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

use super::reader::{Place, Source, Table, Word};
use super::servers::{self, Mention};
use super::{AfterCopy, Primary, Site, inventory, keys, updates};
use crate::identity::HostName;
use crate::manager::nearest::shown;

/// The lifetime in days that `renew_expire_days` and its spread were written for.
const CLASSIC_LIFETIME: f64 = 90.0;
/// Options of the command line that do nothing as keys.
const OPTIONS: [&str; 7] = ["debug", "dry_run", "force", "renew", "reuse", "roll", "test"];
/// Where ssl-mgr's own program for certbot lies.
const AUTH_HOOK: &str = "/usr/lib/ssl-mgr/sslm-auth-hook";

/// The file with what only makes sense together with the others.
#[derive(Default)]
pub(super) struct Reading<'a> {
    pub(super) site: Site,
    pub(super) groups: Vec<GroupText<'a>>,
    /// `preferred_acme_profile`; the inner nothing asks for none.
    pub(super) profile: Option<Option<String>>,
    /// Services that servers say they depend on.
    pub(super) mentions: Vec<Mention<'a>>,
}

/// One of `[[groups]]`, as it is written.
pub(super) struct GroupText<'a> {
    pub(super) name: Word<'a>,
    pub(super) active: bool,
    /// All that there are.
    pub(super) wild: Option<Place<'a>>,
    pub(super) services: Vec<Word<'a>>,
}

/// Reads the file; `topdir` is where relative paths begin.
pub(super) fn read<'a>(source: Source<'a>, document: &'a Spanned<DeTable<'a>>, topdir: &Path) -> Reading<'a> {
    let mut file = Table::root(source, document);
    file.fold("globals");
    let mut reading = Reading { site: globals(&mut file, topdir), ..Reading::default() };
    reading.profile = file.text("preferred_acme_profile").map(|word| profile(&word));
    renewal(&mut file, &mut reading.site);
    reading.groups = groups(file.tables("groups"));
    reading.site.primaries = primaries(file.tables("dns_primary"));
    reading.site.updates = updates::read(file.tables("dns_update"), topdir);
    reading.site.passphrase_file = keys::read(file.table("keys"), topdir);
    if let Some(table) = file.table("dns") {
        reading.site.dns = servers::dns(table, topdir);
    }
    reading.site.inventory =
        file.table("inventory").map(|table| inventory::read(table, topdir)).unwrap_or_default();
    for sort in servers::SORTS {
        if let Some(table) = file.table(servers::table(sort)) {
            let (servers, mentions) = servers::read(table, sort, topdir);
            reading.site.servers.push(servers);
            reading.mentions.extend(mentions);
        }
    }
    file.finish();
    reading
}

/// What asks for a profile of ACME; nothing for the empty text.
pub(super) fn profile(word: &Word<'_>) -> Option<String> {
    (!word.text.is_empty()).then(|| word.text.to_owned())
}

fn globals(file: &mut Table<'_>, topdir: &Path) -> Site {
    let default = Site::default();
    let mut site = Site { verbose: file.flag("verb").unwrap_or_default(), ..default };
    if let Some(word) = file.text("prod_cert_dir")
        && let Some(path) = production(&word, topdir)
    {
        site.production = path;
    }
    if let Some(path) = file.filled("logdir").map(|word| beneath(topdir, &word)) {
        site.log_directory = path;
    }
    if let Some(value) = file.value("clean_keep")
        && let Some(keep) = value.integer()
    {
        if keep < 1 {
            value.place.warn(format!("clean_keep is {keep}; at least 1 version is kept"));
        }
        site.keep = usize::try_from(keep.max(1)).unwrap_or(usize::MAX);
    }
    if let Some(minutes) = file.value("min_roll_mins").and_then(|value| value.real()) {
        // A part of a minute counts as a whole one: never rolled too early.
        site.roll_after_minutes = minutes.max(0.0).ceil() as u64;
    }
    if let Some(seconds) = file.integer("dns_check_delay") {
        site.dns_check_delay = u64::try_from(seconds).unwrap_or_default();
    }
    if let Some(seconds) = file.value("dns_check_timeout").and_then(|value| value.within(1..=86_400)) {
        site.dns_check_timeout = u64::try_from(seconds).unwrap_or_default();
    }
    site.metrics = file.filled("metrics_file").map(|word| beneath(topdir, &word));
    site.ssh_options = file.texts("ssh_options").iter().map(|word| word.text.to_owned()).collect();
    if let Some(value) = file.value("dns_xtra_ns") {
        site.extra_resolvers = value.texts().iter().filter_map(host_or_address).collect();
    }
    site.after_copy = after_copy(file);
    if let Some(hook) = file.filled("sslm_auth_hook").filter(|hook| hook.text != AUTH_HOOK) {
        hook.place.warn("sslm_auth_hook is not needed: no certbot is run that would call it");
    }
    for option in OPTIONS {
        if let Some(value) = file.value(option) {
            value.place.warn(format!("{option} is an option of the command line; here it does nothing"));
        }
    }
    site
}

fn after_copy(file: &mut Table<'_>) -> Vec<AfterCopy> {
    let Some(value) = file.value("post_copy_cmd") else { return Vec::new() };
    let command = |pair: &super::reader::Value<'_>| {
        let words = pair.texts();
        let [host, program] = words.as_slice() else {
            return pair.place.refuse("one of post_copy_cmd is [\"HOST\", \"PROGRAM\"], two texts");
        };
        if program.text.contains(char::is_whitespace) {
            program
                .place
                .warn("post_copy_cmd is one program, with the host as its only argument; it is not split");
        }
        Some(AfterCopy { host: servers::host(host)?, program: program.text.to_owned() })
    };
    value.lists().iter().filter_map(command).collect()
}

/// Targets and spreads: the deprecated pair first, so that what is newer replaces it.
fn renewal(file: &mut Table<'_>, site: &mut Site) {
    if let Some(value) = file.value("renew_expire_days")
        && let Some(days) = value.real()
    {
        if (0.0..CLASSIC_LIFETIME).contains(&days) {
            value
                .place
                .warn(format!("renew_expire_days is the old spelling of target_90 = {days} in [renew_info]"));
            site.renew_targets.push((CLASSIC_LIFETIME, days));
        } else {
            value.place.warn(format!(
                "renew_expire_days is for certificates of 90 days, so {days} is ignored; \
                 write target_LIFETIME = {days} into [renew_info]"
            ));
        }
    }
    if let Some(value) = file.value("renew_expire_days_spread")
        && let Some(days) = value.real()
    {
        if days < 0.0 {
            value.place.fault("renew_expire_days_spread is a number of days, at least 0");
        } else {
            value.place.warn(format!(
                "renew_expire_days_spread is the old spelling of rand_adj_90 = {days} in [renew_info]"
            ));
            site.renew_spreads.push((CLASSIC_LIFETIME, days));
        }
    }
    let Some(table) = file.table("renew_info") else { return };
    for (key, value) in table.others() {
        // `target_7.5` without quotes is the table `target_7` with the key `5`.
        match value.is_table().then(|| table.inner(String::new(), &value)).flatten() {
            None => knot(site, key.text, &key, &value),
            Some(fractions) => {
                for (fraction, value) in fractions.others() {
                    knot(site, &format!("{}.{}", key.text, fraction.text), &key, &value);
                }
            }
        }
    }
}

fn knot(site: &mut Site, name: &str, key: &Word<'_>, value: &super::reader::Value<'_>) {
    let stem = name.strip_prefix("renew_").unwrap_or(name);
    let (days, is_target) = match (stem.strip_prefix("target_"), stem.strip_prefix("rand_adj_")) {
        (Some(days), _) => (days, true),
        (_, Some(days)) => (days, false),
        _ => {
            let hint = crate::manager::nearest::hint(name, ["target_90", "rand_adj_90"]);
            key.place.warn(format!("unknown key {} in [renew_info], which is ignored{hint}", shown(name)));
            return;
        }
    };
    let Some(lifetime) = days.parse().ok().filter(|days: &f64| days.is_finite() && *days >= 0.0) else {
        let message = format!("{} is no lifetime in days; write for example target_90", shown(days));
        return key.place.fault(message);
    };
    let Some(number) = value.real() else { return };
    if number < 0.0 {
        value.place.fault(format!("{} is {number}; write a number of days, at least 0", shown(name)));
    } else if !is_target {
        site.renew_spreads.push((lifetime, number));
    } else if lifetime > 0.0 && number >= lifetime {
        value.place.fault(format!(
            "a certificate of {lifetime} days that is renewed with {number} days left is renewed always; \
             write less than {lifetime}"
        ));
    } else {
        site.renew_targets.push((lifetime, number));
    }
}

fn groups<'a>(tables: Vec<Table<'a>>) -> Vec<GroupText<'a>> {
    let mut groups: Vec<GroupText<'a>> = Vec::new();
    for mut table in tables {
        let active = table.flag("active").unwrap_or_default();
        let name = table.filled("domain");
        let (all, services): (Vec<_>, Vec<_>) =
            table.texts("services").into_iter().partition(|word| matches!(word.text, "*" | "ALL"));
        let wild = all.into_iter().next().map(|word| word.place);
        match name {
            Some(name) => {
                if active && wild.is_none() && services.is_empty() {
                    table.warn(format!("the group {} is active and has no services", shown(name.text)));
                }
                let group = GroupText { name, active, wild, services };
                match groups.iter_mut().find(|earlier| earlier.name.text == group.name.text) {
                    Some(earlier) => {
                        let message =
                            format!("the group {} is given twice; this one counts", shown(group.name.text));
                        group.name.place.warn(message);
                        *earlier = group;
                    }
                    None => groups.push(group),
                }
            }
            None => table.warn("a group without domain, which is ignored"),
        }
        table.finish();
    }
    groups
}

fn primaries(tables: Vec<Table<'_>>) -> BTreeMap<String, Primary> {
    let mut primaries = BTreeMap::new();
    for mut table in tables {
        let missing = "[[dns_primary]] without domain; write the apex domain, or \"default\"";
        let domain = table.required("domain", missing);
        let server = table.required("server", "[[dns_primary]] without server; write its name or address");
        let port = match table.value("port") {
            Some(value) => value.within(1..=65535),
            None => Some(53),
        };
        if let (Some(domain), Some(server)) = (domain, server)
            && let Some(apex) = apex(&domain)
            && let Some(server) = host_or_address(&server)
            && let Some(port) = port.and_then(|port| u16::try_from(port).ok())
            && primaries.insert(apex, Primary { server, port }).is_some()
        {
            domain.place.warn(format!("the primary of {} is given twice; this one counts", domain.text));
        }
        table.finish();
    }
    primaries
}

/// The domain of a primary, in canonical form.
pub(super) fn apex(word: &Word<'_>) -> Option<String> {
    if matches!(word.text, "*" | "default") {
        return Some("default".into());
    }
    match HostName::parse(word.text) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(error) => word.place.refuse(error.to_string()),
    }
}

/// A server by its name or address.
pub(super) fn host_or_address(word: &Word<'_>) -> Option<String> {
    if word.text.parse::<std::net::IpAddr>().is_ok() {
        return Some(word.text.to_owned());
    }
    match HostName::parse(word.text) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(error) => word.place.refuse(format!("{error}; write a name or an address")),
    }
}

/// A path as it is, or beneath the tree when it is relative.
pub(super) fn beneath(topdir: &Path, word: &Word<'_>) -> PathBuf {
    // Through its components: `./etc` is `etc`.
    topdir.join(word.text).components().filter(|part| *part != Component::CurDir).collect()
}

/// The production tree: copies replace what is there, so it must be a directory of its own.
fn production(word: &Word<'_>, topdir: &Path) -> Option<PathBuf> {
    if word.text.is_empty() {
        return word.place.refuse("prod_cert_dir is empty; write the directory of the live copy");
    }
    let path = beneath(topdir, word);
    if path.components().any(|part| part == Component::ParentDir) {
        return word.place.refuse("prod_cert_dir climbs; write it without \"..\"");
    }
    let state = [topdir.join("certs"), topdir.join("conf.d")];
    if topdir.starts_with(&path) || state.iter().any(|state| path.starts_with(state)) {
        let message = format!(
            "prod_cert_dir is {}, which holds or lies in our own files; write a directory of its own",
            path.display()
        );
        return word.place.refuse(message);
    }
    Some(path)
}
