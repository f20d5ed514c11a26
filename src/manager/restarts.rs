//! Which servers are told, and how, after something changed: only those that depend on it.
//!
//! The order keeps DANE whole: whoever serves has the new key before name servers drop the old
//! record.

use std::collections::BTreeSet;

use serde::Serialize;

use super::config::{Change, Servers, Site, Sort};
use super::name::ServiceName;

/// Something to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "where")]
pub enum Restart {
    /// On a host, one command after the other; one that fails does not stop the next.
    Host {
        /// Which table it comes from.
        sort: Sort,
        /// The host.
        host: String,
        /// Programs with their arguments.
        commands: Vec<Vec<String>>,
    },
    /// Here, as `PROGRAM --serial_bump APEX…`.
    Dns {
        /// The program.
        program: String,
        /// Apex domains, sorted.
        domains: Vec<String>,
    },
}

/// Decides who is told: smtp, imap, web, other, and name servers last.
///
/// `changed` are the services that present another certificate than before; `records` the apex domains whose TLSA records
/// did change.
pub fn restarts(site: &Site, changed: &BTreeSet<ServiceName>, records: &BTreeSet<String>) -> Vec<Restart> {
    let mut changes = BTreeSet::new();
    if !changed.is_empty() {
        changes.insert(Change::Cert);
    }
    if !records.is_empty() {
        changes.extend([Change::Tlsa, Change::Dns]);
    }
    let mut told = Vec::new();
    for servers in &site.servers {
        if servers.restart.is_empty() || !concerns(servers, changed, &changes) {
            continue;
        }
        told.extend(servers.hosts.iter().map(|host| Restart::Host {
            sort: servers.sort,
            host: host.clone(),
            commands: servers.restart.clone(),
        }));
    }
    let domains = domains(&site.dns.depends, changed, records);
    if !domains.is_empty() {
        told.extend(
            site.dns
                .restart
                .iter()
                .map(|program| Restart::Dns { program: program.clone(), domains: domains.clone() }),
        );
    }
    told
}

/// Says whether servers depend on anything that changed.
fn concerns(servers: &Servers, changed: &BTreeSet<ServiceName>, changes: &BTreeSet<Change>) -> bool {
    !servers.depends.is_disjoint(changes) || changed.iter().any(|name| servers.serves(name))
}

/// The apex domains that name servers are told of.
fn domains(
    depends: &BTreeSet<Change>,
    changed: &BTreeSet<ServiceName>,
    records: &BTreeSet<String>,
) -> Vec<String> {
    let mut domains = BTreeSet::new();
    if depends.contains(&Change::Tlsa) || depends.contains(&Change::Dns) {
        domains.extend(records.iter().cloned());
    }
    if depends.contains(&Change::Cert) {
        let groups = changed.iter().filter(|name| !name.is_ca());
        domains.extend(groups.map(|name| name.group().to_owned()));
    }
    domains.into_iter().collect()
}

impl Servers {
    /// Says whether a pair of `svc_depends` names the service.
    pub fn serves(&self, name: &ServiceName) -> bool {
        self.services.iter().any(|(group, services)| {
            group.as_deref().is_none_or(|group| group == name.group())
                && services
                    .iter()
                    .any(|service| matches!(service.as_str(), "*" | "ALL") || service == name.service())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::config::{Text, Texts, read};

    fn site(text: &str) -> Site {
        let site = Some(Text { path: "ssl-mgr.conf".into(), text: text.into() });
        let found = read(&Texts { topdir: "/t".into(), site, ..Texts::default() });
        assert_eq!(found.faults, []);
        found.site
    }

    const ALL: &str = "[dns]\nrestart_cmd = ['/zone', '/other']\ndepends = ['dns']\n\
        [other]\nservers = ['o']\nrestart_cmd = 'o'\ndepends = ['cert']\n\
        [web]\nservers = ['w1', 'w2']\nrestart_cmd = ['a b', 'c']\nsvc_depends = [['any', ['web']]]\n\
        [imap]\nservers = ['i']\nrestart_cmd = 'i'\nsvc_depends = [['x.example', ['rsa']], ['x.example', ['ec']]]\n\
        [smtp]\nservers = ['s']\nrestart_cmd = 's'\nsvc_depends = [['x.example', ['ec']]]\ndepends = ['tlsa']\n";

    #[test]
    fn only_those_that_depend_on_what_changed() {
        type Names = &'static [&'static str];
        let cases: [(&str, &str, Names, Names, &str); 17] = [
            ("nothing changed", ALL, &[], &[], ""),
            ("a service", ALL, &["x.example/web"], &[], "w1: a b; c | w2: a b; c | o: o"),
            ("the same in another group", ALL, &["y.example/web"], &[], "w1: a b; c | w2: a b; c | o: o"),
            ("the first pair", ALL, &["x.example/rsa"], &[], "i: i | o: o"),
            ("the last pair", ALL, &["x.example/ec"], &[], "s: s | i: i | o: o"),
            ("of another group", ALL, &["y.example/ec"], &[], "o: o"),
            (
                "records alone",
                ALL,
                &[],
                &["y.example", "x.example"],
                "s: s | /zone x.example y.example | /other x.example y.example",
            ),
            (
                "everything, name servers last",
                ALL,
                &["x.example/ec", "x.example/web"],
                &["x.example"],
                "s: s | i: i | w1: a b; c | w2: a b; c | o: o | /zone x.example | /other x.example",
            ),
            (
                "a name server that nobody asked to depend",
                "[dns]\nrestart_cmd = '/zone'\n",
                &[],
                &["x"],
                "/zone x",
            ),
            (
                "one that depends on nothing",
                "[dns]\nrestart_cmd = '/z'\ndepends = []\n",
                &["x/a"],
                &["x"],
                "",
            ),
            (
                "one that depends on certificates",
                "[dns]\nrestart_cmd = '/z'\ndepends = 'cert'\n",
                &["x/a", "ca/r", "b/c"],
                &["y"],
                "/z b x",
            ),
            ("no command", "[web]\nservers = ['w']\ndepends = ['cert']\n", &["x/a"], &[], ""),
            ("no server", "[web]\nrestart_cmd = 'c'\ndepends = ['cert']\n", &["x/a"], &[], ""),
            ("depends on nothing", "[web]\nservers = ['w']\nrestart_cmd = 'c'\n", &["x/a"], &["x"], ""),
            ("on dns", "[web]\nservers = ['w']\nrestart_cmd = 'c'\ndepends = 'dns'\n", &[], &["x"], "w: c"),
            (
                "every service of a group",
                "[web]\nservers = ['w']\nrestart_cmd = 'c'\nsvc_depends = ['x', '*']\n",
                &["x/a"],
                &[],
                "w: c",
            ),
            (
                "but of no other",
                "[web]\nservers = ['w']\nrestart_cmd = 'c'\nsvc_depends = ['x', '*']\n",
                &["y/a"],
                &[],
                "",
            ),
        ];
        for (case, text, changed, records, expected) in cases {
            let changed = changed.iter().map(|name| ServiceName::parse(name).unwrap()).collect();
            let records = records.iter().map(|domain| (*domain).to_owned()).collect();
            let told: Vec<_> = restarts(&site(text), &changed, &records)
                .iter()
                .map(|restart| match restart {
                    Restart::Host { host, commands, .. } => {
                        let commands: Vec<_> = commands.iter().map(|words| words.join(" ")).collect();
                        format!("{host}: {}", commands.join("; "))
                    }
                    Restart::Dns { program, domains } => format!("{program} {}", domains.join(" ")),
                })
                .collect();
            assert_eq!(told.join(" | "), expected, "{case}");
        }
    }
}
