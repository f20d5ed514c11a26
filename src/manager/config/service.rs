//! A service's file: `conf.d/<group>/<service>`.

use std::ops::Range;

use super::authorities::Authorities;
use super::reader::{Source, Table, Value, Word};
use super::subject::{self, Role};
use super::{AuthorityKind, CaOptions, Dane, DaneHosts, Service, Signer, key};
use crate::identity::HostName;
use crate::manager::name::ServiceName;
use crate::manager::nearest::{hint, shown};
use crate::pki::Digest;

/// What ssl-mgr writes as the TTL of TLSA records, in seconds.
const DANE_TTL: u32 = 1800;
/// Longest TTL in seconds (RFC 2181 section 8).
const MAX_TTL: i64 = 2_147_483_647;
/// Longest lifetime in days that a CA of ours may give: a century.
const MAX_DAYS: i64 = 36_525;

/// Says whether a file in a group's directory is a service's, as ssl-mgr's wildcard does.
pub(super) fn is_service(text: &str) -> bool {
    let has = |start: &str| {
        text.lines().any(|line| {
            let bare = line.chars().filter(|c| !c.is_whitespace());
            // Lengths are counted in characters of ASCII, so `take` compares exactly the start.
            bare.take(start.len()).eq(start.chars())
        })
    };
    ["name=", "group=", "service=", "[KeyOpts]", "[X509]"].iter().all(|start| has(start))
}

/// Reads the file, and where its signer is named; nothing when what is left would be no service.
pub(super) fn read(
    source: Source<'_>,
    name: &ServiceName,
    authorities: &Authorities,
) -> Option<(Service, Range<usize>)> {
    let document = source.parse()?;
    let mut file = Table::root(source, &document);
    let label = file.filled("name").map(|word| word.text.to_owned());
    if label.is_none() && !file.has("name") {
        source.warn(format!("there is no name; it is called {}", shown(name.service())));
    }
    same(&mut file, "group", name.group(), "directory");
    same(&mut file, "service", name.service(), "file");
    let (signer, other_signers, signing) = signers(&mut file, name, authorities);
    let dane = dane(&mut file, name);
    let dane_ttl = ttl(&mut file);
    let days = |value: Value<'_>| {
        let days = value.real()?;
        if days < 0.0 { value.place.refuse("a number of days is at least 0") } else { Some(days) }
    };
    let renew_target = file.value("renew_expire_days").and_then(days);
    let renew_spread = file.value("renew_expire_days_spread").and_then(days);
    let algorithm = key::read(file.table("KeyOpts"));
    let role = Role {
        is_ca: name.is_ca(),
        is_public: match &signer {
            Signer::Authority(name) => {
                let authority = authorities.known.get(name);
                authority.is_some_and(|authority| matches!(authority.kind, AuthorityKind::Acme(_)))
            }
            Signer::Itself => false,
        },
    };
    let named = match file.table("X509") {
        Some(table) => subject::read(table, role),
        None => {
            if !file.has("X509") {
                source.fault("there is no [X509]; write one with CN, O and C");
            }
            None
        }
    };
    let authority = ca(&mut file, name, &signer);
    file.finish();
    let (subject, alternative_names) = named?;
    let service = Service {
        path: source.path.to_owned(),
        name: name.clone(),
        label: label.unwrap_or_else(|| name.service().to_owned()),
        signer,
        other_signers,
        algorithm: algorithm?,
        subject,
        alternative_names,
        dane,
        dane_ttl,
        authority,
        renew_target,
        renew_spread,
    };
    Some((service, signing))
}

/// A key that repeats what the path says: a guard against copies that nobody finished.
fn same(file: &mut Table<'_>, key: &'static str, path: &str, what: &str) {
    let missing = format!("there is no {key}; write {key} = {}", shown(path));
    if let Some(word) = file.required(key, &missing)
        && word.text != path
    {
        let (found, path) = (shown(word.text), shown(path));
        word.place.fault(format!("{key} is {found}, but its {what} is called {path}; write {key} = {path}"));
    }
}

/// Who signs; of several, which only public ones can be, the first and the others.
fn signers(
    file: &mut Table<'_>,
    name: &ServiceName,
    authorities: &Authorities,
) -> (Signer, Vec<String>, Range<usize>) {
    let words = file.texts("signing_ca");
    let Some((first, others)) = words.split_first() else { return (Signer::Itself, Vec::new(), 0..0) };
    let (signer, span) = self::signer(first, name, authorities);
    let is_public = |signer: &Signer| match signer {
        Signer::Authority(name) => match authorities.known.get(name) {
            Some(authority) => matches!(authority.kind, AuthorityKind::Acme(_)),
            // What is wrong with it has been told.
            None => true,
        },
        Signer::Itself => false,
    };
    let mut more = Vec::new();
    for word in others {
        match self::signer(word, name, authorities).0 {
            Signer::Authority(other)
                if is_public(&signer) && is_public(&Signer::Authority(other.clone())) =>
            {
                more.push(other);
            }
            _ => word.place.fault("only public CAs can stand in for one another; name one signing_ca"),
        }
    }
    (signer, more, span)
}

fn signer(word: &Word<'_>, name: &ServiceName, authorities: &Authorities) -> (Signer, Range<usize>) {
    let span = word.place.span();
    if word.text == "self" {
        return (Signer::Itself, span);
    }
    let signer = word.text.to_owned();
    match authorities.known.get(&signer) {
        // A root that names itself.
        Some(authority)
            if authority.kind == AuthorityKind::Own && name.is_ca() && signer == name.service() =>
        {
            return (Signer::Itself, span);
        }
        Some(_) => {}
        None if authorities.unreadable => {}
        None if authorities.broken.contains(&signer) => {
            word.place.fault(format!("[{signer}] of ca-info.conf has a fault"));
        }
        None => {
            let known = authorities.known.keys().map(String::as_str).chain(["self"]);
            let hint = hint(&signer, known);
            word.place.fault(format!("ca-info.conf has no table for the CA {}{hint}", shown(&signer)));
        }
    }
    (Signer::Authority(signer), span)
}

fn ttl(file: &mut Table<'_>) -> Option<u32> {
    let Some(value) = file.value("dane_tls_ttl") else { return Some(DANE_TTL) };
    let seconds = value.within(i64::MIN..=MAX_TTL)?;
    u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}

fn dane(file: &mut Table<'_>, name: &ServiceName) -> Vec<Dane> {
    let Some(value) = file.value("dane_tls") else { return Vec::new() };
    let items = value.lists();
    if !items.is_empty() && HostName::parse(name.group()).is_err() {
        let message = format!("TLSA records are for a domain, and the group {} is none", shown(name.group()));
        value.place.fault(message);
    }
    items.iter().filter_map(entry).collect()
}

fn entry(item: &Value<'_>) -> Option<Dane> {
    let parts = if item.is_list() { item.items() } else { Vec::new() };
    let (fields, hosts) = match parts.as_slice() {
        [fields @ .., hosts] if fields.len() == 5 => (fields, Some(hosts)),
        fields => (fields, None),
    };
    let [port, protocol, usage, selector, matching] = fields else {
        return item.place.refuse(
            "one of dane_tls is [PORT, \"PROTOCOL\", USAGE, SELECTOR, MATCH], or that with \"MX\" or \"SANS\"",
        );
    };
    let port = port.called("the port of dane_tls").within(1..=65535);
    let protocol = protocol.called("the protocol of dane_tls").text().and_then(|word| {
        let protocol = word.text.trim_start_matches('_').to_ascii_lowercase();
        if ["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
            return Some(protocol);
        }
        word.place.refuse(format!("the protocol {} is not known; write tcp, udp or sctp", shown(word.text)))
    });
    let small = |value: &Value<'_>, name: &'static str, most: i64| {
        let value = Value::called(value, name).within(0..=most);
        value.and_then(|number| u8::try_from(number).ok())
    };
    let usage = small(usage, "the usage of dane_tls", 3);
    let selector = small(selector, "the selector of dane_tls", 1);
    let matching = small(matching, "the matching type of dane_tls", 2);
    let asked = match hosts {
        Some(value) => value.called("the hosts of dane_tls").text().map(|word| (hosts_of(&word), word)),
        None => None,
    };
    if let Some((None, _)) = asked {
        return None;
    }
    let (port, asked) = (u16::try_from(port?).ok()?, asked);
    let hosts = match (port, asked) {
        (25, Some((Some(DaneHosts::Sans), word))) => {
            word.place.warn("port 25 is for the mail exchangers whatever is asked for (RFC 7672)");
            DaneHosts::Mx
        }
        (25, _) => DaneHosts::Mx,
        (_, Some((Some(hosts), _))) => hosts,
        (_, _) => DaneHosts::Sans,
    };
    Some(Dane { port, protocol: protocol?, usage: usage?, selector: selector?, matching: matching?, hosts })
}

fn hosts_of(word: &Word<'_>) -> Option<DaneHosts> {
    match word.text.to_ascii_uppercase().as_str() {
        "MX" => Some(DaneHosts::Mx),
        "SANS" => Some(DaneHosts::Sans),
        _ => word.place.refuse(format!("{} are no hosts; write \"MX\" or \"SANS\"", shown(word.text))),
    }
}

/// `[CA]`: needed by an authority; for another service it says what its own signature is like.
fn ca(file: &mut Table<'_>, name: &ServiceName, signer: &Signer) -> Option<CaOptions> {
    let Some(mut table) = file.table("CA") else {
        if name.is_ca() && !file.has("CA") {
            file.fault("there is no [CA]; write one with sign_end_days, the lifetime of what it signs");
        }
        return None;
    };
    if !name.is_ca() && *signer != Signer::Itself {
        table.warn("[CA] is for services of the group ca, and is ignored");
        return None;
    }
    let days = match table.value("sign_end_days") {
        Some(value) => value.within(1..=MAX_DAYS),
        None => {
            table.fault("[CA] without sign_end_days; write the lifetime in days of what it signs");
            None
        }
    };
    let digest = match table.filled("digest") {
        Some(word) => digest(&word),
        None => Some(Digest::Sha384),
    };
    table.finish();
    Some(CaOptions { days: u32::try_from(days?).ok()?, digest: digest? })
}

fn digest(word: &Word<'_>) -> Option<Digest> {
    let asked = word.text.to_ascii_lowercase().replace('-', "_");
    let (digest, why) = match asked.trim_start_matches("sha_").trim_start_matches("sha") {
        "256" => (Digest::Sha256, None),
        "384" => (Digest::Sha384, None),
        "512" => (Digest::Sha512, None),
        "224" => (Digest::Sha256, Some("is too short for TLS 1.3, which has no signature with it")),
        "3_224" | "3_256" => (Digest::Sha256, Some(NOT_IN_TLS)),
        "3_384" => (Digest::Sha384, Some(NOT_IN_TLS)),
        "3_512" => (Digest::Sha512, Some(NOT_IN_TLS)),
        _ => {
            let hint = hint(&asked, ["sha256", "sha384", "sha512"]);
            let message =
                format!("the digest {} is not known; write sha256, sha384 or sha512{hint}", shown(word.text));
            return word.place.refuse(message);
        }
    };
    if let Some(why) = why {
        let name = format!("{digest:?}").to_lowercase();
        word.place.warn(format!("{} {why}; {name} is taken", word.text));
    }
    Some(digest)
}

/// Why SHA-3 is not used.
const NOT_IN_TLS: &str =
    "is in no signature scheme of TLS (RFC 8446 section 4.2.3), so no client would accept it";
