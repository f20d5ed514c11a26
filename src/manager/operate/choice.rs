//! Which certificates and which hosts an operation is about.

use std::collections::BTreeSet;

use super::OperateError;
use crate::manager::inventory::model::{Certificate, Name, Objects, SubjectType};

/// Which certificates. Nothing is chosen unless something says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Every one.
    pub all: bool,
    /// These, too.
    pub include: Vec<Name>,
    /// But not these.
    pub exclude: Vec<Name>,
}

/// Which hosts are served. Unless something says otherwise, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Only these; empty for all.
    pub only: BTreeSet<Name>,
    /// Not these.
    pub skip: BTreeSet<Name>,
}

impl Certificates {
    /// Says whether every ordinary certificate is meant, so that none has to be looked up.
    pub fn is_all(&self) -> bool {
        self.all && self.include.is_empty() && self.exclude.is_empty()
    }

    /// Those that are meant, in the order of their names. "All" leaves out authorities and what is reserved:
    /// neither is issued or brought anywhere with the rest.
    ///
    /// # Errors
    /// [`OperateError::Usage`] with every name that is not in the inventory, and where nothing is chosen.
    pub fn among(&self, objects: &Objects) -> Result<Vec<Name>, OperateError> {
        let is_known = |name: &&Name| objects.certificates.contains_key(*name);
        let unknown: Vec<String> = self
            .include
            .iter()
            .chain(&self.exclude)
            .filter(|name| !is_known(name))
            .map(|name| format!("{name} is not in the inventory; `reseed manager inventory list` names all"))
            .collect();
        if !unknown.is_empty() {
            return Err(OperateError::Usage(unknown.join("\n")));
        }
        if !self.all && self.include.is_empty() {
            return Err(OperateError::Usage("no certificate is chosen; name some, or say --all".to_owned()));
        }
        let is_ordinary = |it: &Certificate| !matches!(it.subject, SubjectType::Ca | SubjectType::Reserved);
        let chosen = objects.certificates.iter().filter(|(name, it)| {
            let is_meant = self.include.contains(name) || self.all && is_ordinary(it);
            is_meant && !self.exclude.contains(name)
        });
        Ok(chosen.map(|(name, _)| name.clone()).collect())
    }
}

impl Hosts {
    /// Says whether every host is served.
    pub fn is_all(&self) -> bool {
        self.only.is_empty() && self.skip.is_empty()
    }

    /// Says whether a host is served.
    pub fn serves(&self, host: &Name) -> bool {
        (self.only.is_empty() || self.only.contains(host)) && !self.skip.contains(host)
    }

    /// Looks whether all of them are known.
    ///
    /// # Errors
    /// [`OperateError::Usage`] with every one that is not.
    pub fn check(&self, objects: &Objects) -> Result<(), OperateError> {
        let unknown: Vec<String> = self
            .only
            .iter()
            .chain(&self.skip)
            .filter(|host| !objects.hosts.contains_key(*host))
            .map(|host| format!("host {host} is not in the inventory"))
            .collect();
        if unknown.is_empty() { Ok(()) } else { Err(OperateError::Usage(unknown.join("\n"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::inventory::model::{Algorithms, DistHost, Kind};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn objects() -> Objects {
        let mut objects = Objects::default();
        let rows = [
            ("Local CA", SubjectType::Ca),
            ("No cert", SubjectType::Reserved),
            ("a.example", SubjectType::Server),
            ("b.example", SubjectType::Client),
        ];
        for (text, subject) in rows {
            let certificate = Certificate::new(subject, Kind::Local, Algorithms::Rsa);
            objects.certificates.insert(name(text), certificate);
        }
        objects.hosts.insert(name("h.example"), DistHost::default());
        objects
    }

    #[test]
    fn what_is_chosen() {
        type Row<'r> = (&'r str, bool, &'r [&'r str], &'r [&'r str], Result<&'r str, &'r str>);
        let rows: [Row<'_>; 7] = [
            ("nothing", false, &[], &[], Err("no certificate is chosen")),
            ("all but authorities", true, &[], &[], Ok("a.example b.example")),
            ("an authority by its name", true, &["local ca"], &[], Ok("a.example b.example Local CA")),
            ("one", false, &["A.example"], &[], Ok("a.example")),
            ("all but one", true, &[], &["a.example"], Ok("b.example")),
            ("one that is left out", false, &["a.example"], &["a.example"], Ok("")),
            ("one that nobody knows", true, &["c.example"], &["d.example"], Err("d.example is not in")),
        ];
        for (case, all, include, exclude, expected) in rows {
            let names = |texts: &[&str]| texts.iter().map(|text| name(text)).collect();
            let choice = Certificates { all, include: names(include), exclude: names(exclude) };
            match (choice.among(&objects()), expected) {
                (Ok(found), Ok(expected)) => {
                    let found: Vec<&str> = found.iter().map(Name::as_str).collect();
                    assert_eq!(found.join(" "), expected, "{case}");
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{case}: {error}"),
                (found, expected) => panic!("{case}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn which_hosts_are_served() {
        let one = || BTreeSet::from([name("h.example")]);
        let (all, only) = (Hosts::default(), Hosts { only: one(), skip: BTreeSet::new() });
        let skip = Hosts { only: BTreeSet::new(), skip: one() };
        let served = |hosts: &Hosts| [hosts.serves(&name("H.example")), hosts.serves(&name("i.example"))];
        assert_eq!(
            [served(&all), served(&only), served(&skip)],
            [[true, true], [true, false], [false, true]]
        );
        let unknown = Hosts { only: [name("j.example")].into(), skip: BTreeSet::new() };
        assert!(skip.check(&objects()).is_ok());
        assert!(unknown.check(&objects()).unwrap_err().to_string().contains("j.example"));
    }
}
