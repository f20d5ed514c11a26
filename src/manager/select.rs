//! Which services a command is about, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Configuration, Signing};
use super::name::ServiceName;
use super::nearest::{hint, shown};

/// Chooses services by words: `group`, `group/service`, `group:one,two`, `group:ALL`, `group:*`.
/// Without words it is the active groups'. Signers come before what they sign.
///
/// # Errors
/// In words, when a group or service is not known, with the nearest that is; and when one that is
/// named cannot be understood.
pub fn select(configuration: &Configuration, words: &[String]) -> Result<Vec<ServiceName>, String> {
    let mut chosen = Vec::new();
    if words.is_empty() {
        let active = configuration.site.groups.iter().filter(|group| group.active);
        chosen.extend(active.flat_map(|group| group.services.iter().cloned()));
    }
    for word in words {
        chosen.extend(one(configuration, word)?);
    }
    Ok(signers_first(configuration, chosen))
}

/// Puts every signer among these before what it signs; otherwise their order stays, and each comes
/// once.
pub fn signers_first(configuration: &Configuration, services: Vec<ServiceName>) -> Vec<ServiceName> {
    let all: BTreeSet<ServiceName> = services.iter().cloned().collect();
    let mut placed = BTreeSet::new();
    let mut ordered = Vec::with_capacity(all.len());
    for service in services {
        // From the service up to the root, or to what has its place already.
        let mut chain = Vec::new();
        let mut next = Some(service);
        while let Some(name) = next.take_if(|name| placed.insert(name.clone())) {
            next = signer(configuration, &name);
            chain.push(name);
        }
        ordered.extend(chain.into_iter().rev().filter(|name| all.contains(name)));
    }
    ordered
}

fn signer(configuration: &Configuration, name: &ServiceName) -> Option<ServiceName> {
    match configuration.signing(configuration.services.get(name)?)? {
        Signing::Own(signer, _) => Some(signer.name.clone()),
        Signing::Itself(_) | Signing::Manual(_) | Signing::Acme(..) => None,
    }
}

/// The services that one word means.
fn one(configuration: &Configuration, word: &str) -> Result<Vec<ServiceName>, String> {
    let (group, services) = match word.split_once([':', '/']) {
        Some((group, services)) => (group, Some(services)),
        None => (word, None),
    };
    let there = there(configuration);
    let Some(known) = there.get(group) else {
        let near = hint(group, there.keys().copied());
        return Err(format!("there is no group {}{near}", shown(group)));
    };
    // A refused one is left out of a whole group: the others go on.
    let usable = |service: &&&str| {
        ServiceName::new(group, service).is_ok_and(|name| configuration.services.contains_key(&name))
    };
    match services {
        None => {
            let listed = configuration.site.groups.iter().find(|listed| listed.name == group);
            if let Some(listed) = listed {
                return Ok(listed.services.clone());
            }
            known.iter().filter(usable).map(|service| ServiceName::new(group, service)).collect()
        }
        Some("*" | "ALL") => {
            known.iter().filter(usable).map(|service| ServiceName::new(group, service)).collect()
        }
        Some(services) => services
            .split(',')
            .map(|service| {
                let service = service.trim();
                if !known.contains(service) {
                    let near = hint(service, known.iter().copied());
                    return Err(format!("there is no service {} in {group}{near}", shown(service)));
                }
                let name = ServiceName::new(group, service)?;
                if configuration.refused.contains(&name) {
                    return Err(refusal(configuration, &name));
                }
                Ok(name)
            })
            .collect(),
    }
}

/// Every group with all that is in it, refused or not.
fn there(configuration: &Configuration) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut there: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for group in &configuration.site.groups {
        there.entry(&group.name).or_default();
    }
    for name in configuration.services.keys().chain(&configuration.refused) {
        there.entry(name.group()).or_default().insert(name.service());
    }
    there
}

/// Why a service cannot be taken: its first fault.
fn refusal(configuration: &Configuration, name: &ServiceName) -> String {
    let file = format!("conf.d/{name}");
    let notes = configuration.faults.iter().chain(&configuration.warnings);
    match notes.into_iter().find(|note| note.path.ends_with(&file)) {
        Some(fault) => format!("{name} has a fault: {fault}"),
        None => format!("{name} has a fault"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::config::{ServiceText, Text, Texts, read};

    fn service(name: &str, signer: &str) -> ServiceText {
        let (group, service) = name.split_once('/').unwrap();
        let text = format!(
            "name = 'x'\ngroup = '{group}'\nservice = '{service}'\nsigning_ca = '{signer}'\n[KeyOpts]\n[X509]\n\
             CN = 'a.example'\nO = 'x'\nC = 'US'\n{}",
            if group == "ca" { "[CA]\nsign_end_days = 10\n" } else { "" }
        );
        let file = Text { path: format!("/t/conf.d/{name}").into(), text };
        ServiceText { group: group.into(), service: service.into(), file, unread: None }
    }

    fn configuration() -> Configuration {
        let text = |path: &str, text: &str| Some(Text { path: path.into(), text: text.into() });
        let mut bad = service("a.example/bad", "root");
        bad.file.text = bad.file.text.replace("'US'", "'USA'");
        read(&Texts {
            topdir: "/t".into(),
            site: text(
                "/t/conf.d/ssl-mgr.conf",
                "[[groups]]\nactive = true\ndomain = 'a.example'\nservices = ['web', 'mail', 'bad']\n\
                 [[groups]]\nactive = true\ndomain = 'ca'\nservices = ['leafy', 'int', 'root']\n\
                 [[groups]]\ndomain = 'b.example'\nservices = ['web']\n",
            ),
            authorities: text(
                "/t/conf.d/ca-info.conf",
                "[root]\nca_type = 'self'\n[int]\nca_type = 'local'\n[leafy]\nca_type = 'local'\n",
            ),
            services: vec![
                service("a.example/web", "int"),
                service("a.example/mail", "leafy"),
                service("a.example/more", "root"),
                bad,
                service("b.example/web", "self"),
                service("c.example/web", "root"),
                service("ca/root", "self"),
                service("ca/int", "root"),
                service("ca/leafy", "int"),
            ],
        })
    }

    #[test]
    fn words() {
        let configuration = configuration();
        let cases: [(&str, &[&str], &str); 16] = [
            ("nothing: the active groups", &[], "ca/root ca/int a.example/web ca/leafy a.example/mail"),
            ("a group as it is listed", &["a.example"], "a.example/web a.example/mail"),
            ("a group that is not active", &["b.example"], "b.example/web"),
            ("a group that is not listed", &["c.example"], "c.example/web"),
            ("authorities", &["ca"], "ca/root ca/int ca/leafy"),
            ("one service", &["a.example/mail"], "a.example/mail"),
            ("one service, old spelling", &["a.example:mail"], "a.example/mail"),
            ("two in the order of the words", &["a.example:mail,web"], "a.example/mail a.example/web"),
            ("one that no group has", &["a.example:more"], "a.example/more"),
            ("ALL", &["a.example:ALL"], "a.example/mail a.example/more a.example/web"),
            ("a star", &["a.example:*"], "a.example/mail a.example/more a.example/web"),
            ("signers first", &["a.example:web", "ca:int,root"], "ca/root ca/int a.example/web"),
            ("a signer further up", &["a.example:mail", "ca:root"], "ca/root a.example/mail"),
            ("twice is once", &["a.example:web", "a.example/web"], "a.example/web"),
            ("an apex and another", &["b.example", "a.example:web"], "b.example/web a.example/web"),
            ("all of ca", &["ca:*"], "ca/root ca/int ca/leafy"),
        ];
        for (case, words, expected) in cases {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let found: Vec<_> =
                select(&configuration, &words).unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{case}");
        }
    }

    #[test]
    fn unknown_words_name_the_nearest() {
        let configuration = configuration();
        let cases = [
            ("group", "a.exmaple", "there is no group \"a.exmaple\"; did you mean \"a.example\"?"),
            ("nothing near", "zzz", "there is no group \"zzz\""),
            ("service", "a.example:wbe", "there is no service \"wbe\" in a.example; did you mean \"web\"?"),
            ("no service", "a.example:", "there is no service \"\" in a.example"),
            ("no group", ":web", "there is no group \"\""),
            ("a path", "../a.example/web", "there is no group \"..\""),
            (
                "one that has a fault",
                "a.example:web,bad",
                "a.example/bad has a fault: /t/conf.d/a.example/bad:9:5: the country",
            ),
        ];
        for (case, word, expected) in cases {
            let error = select(&configuration, &[word.to_owned()]).unwrap_err();
            assert!(error.starts_with(expected), "{case}: {error}");
        }
    }
}
