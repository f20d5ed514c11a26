//! What must be so at any moment, and what must be so once a run has come to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::site::Site;
use crate::manager::ca::register::{ISSUED, Issued};
use crate::manager::dane;
use crate::manager::lineage::{Files, Lineage, Link, Version, VersionName, version};
use crate::manager::name::ServiceName;
use crate::manager::run;
use crate::manager::tree::Tree;
use crate::pki::container;
use crate::pki::key::Secret;
use crate::pki::serial::Serial;

const SERVICES: [&str; 4] = ["ca/root", "ca/int", "example.com/mail", "example.com/web"];

/// Looks at a site.
pub struct Look<'a> {
    site: &'a Site,
    lineages: BTreeMap<ServiceName, Lineage>,
}

impl<'a> Look<'a> {
    pub fn at(site: &'a Site) -> Self {
        let root = site.root();
        let tree = Tree::new(&root, Path::new("/top"));
        let names = SERVICES.map(|name| ServiceName::parse(name).unwrap());
        let lineages = names.into_iter().map(|name| (name.clone(), tree.lineage(&name).unwrap())).collect();
        Self { site, lineages }
    }

    fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.lineages.keys()
    }

    /// Asserts what must be so whenever the power goes: `before` is what there was when the run began.
    pub fn must_be_whole(&self, before: &Look<'_>, case: &str) {
        for (name, lineage) in &self.lineages {
            let had = &before.lineages[name];
            assert!(had.curr.is_none() || lineage.live().is_some(), "{case}: {name} lost its curr");
            for version in [&lineage.curr, &lineage.next].into_iter().flatten() {
                assert!(version.is_sound(), "{case}: {name}: {}: {:?}", version.name, version.problems);
            }
        }
        for name in self.names() {
            let served = self.production(name, Link::Curr);
            assert!(served.is_some() || before.production(name, Link::Curr).is_none(), "{case}: {name}");
            for (link, served) in [(Link::Curr, served), (Link::Next, self.production(name, Link::Next))] {
                self.is_one_version(name, served, &format!("{case}: production of {name} {link}"));
            }
        }
        self.no_key_is_open(case);
        self.serials_are_unique(case);
        self.dane_fits(case);
    }

    /// What lies in production is, file by file, what lies in one version, and its key is the certificate's.
    fn is_one_version(&self, name: &ServiceName, served: Option<BTreeMap<String, Vec<u8>>>, case: &str) {
        let Some(served) = served else { return };
        let versions = self.site.path(&format!("top/certs/{name}/db"));
        let is_same = |version: &Path| {
            served
                .iter()
                .filter(|(file, _)| *file != version::INFO)
                .all(|(file, content)| fs::read(version.join(file)).is_ok_and(|other| other == *content))
        };
        let mut versions = fs::read_dir(versions).unwrap().map(|version| version.unwrap().path());
        assert!(versions.any(|version| is_same(&version)), "{case} is no version of it");
        let linked = Link::ALL.into_iter().filter_map(|link| self.lineages[name].version(link));
        let is_known = |version: &Version| {
            version.is_sound()
                && served.get(version::BUNDLE)
                    == version.files.bundle.as_ref().map(|it| it.reveal().to_vec()).as_ref()
        };
        if !name.is_ca() && !linked.into_iter().any(is_known) {
            let read = |file: &str| served.get(file).cloned();
            let files = Files {
                key: read(version::KEY).map(Secret::new),
                certificate: read(version::CERTIFICATE),
                chain: read(version::CHAIN),
                full_chain: read(version::FULL_CHAIN),
                bundle: read(version::BUNDLE).map(Secret::new),
                ..Files::default()
            };
            let version = Version::examine(VersionName::parse("20261101-00:00:00").unwrap(), files);
            assert!(version.is_sound(), "{case}: {:?}", version.problems);
        }
    }

    fn production(&self, name: &ServiceName, link: Link) -> Option<BTreeMap<String, Vec<u8>>> {
        let directory = self.site.path(&format!("production/{name}/{link}"));
        let entries = fs::read_dir(directory).ok()?.map(|entry| entry.unwrap());
        Some(
            entries
                .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
                .collect(),
        )
    }

    /// A file has its mode before it has a content; that of a key is never for everybody.
    fn no_key_is_open(&self, case: &str) {
        for (path, _) in self.listing() {
            let path = self.site.directory().join(path);
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_file() { fs::read(&path).unwrap() } else { continue };
            let mode = meta.permissions().mode() & 0o7777;
            assert!(mode != 0 || content.is_empty(), "{case}: {}", path.display());
            let has_key = content.windows(11).any(|window| window == b"PRIVATE KEY");
            assert!(!has_key || mode & !0o640 == 0, "{case}: {} has mode {mode:o}", path.display());
        }
    }

    /// Every certificate that a link leads to is recorded, under a serial that only it has.
    fn serials_are_unique(&self, case: &str) {
        let mut recorded: BTreeMap<&str, Vec<Serial>> = BTreeMap::new();
        for authority in ["root", "int"] {
            let path = self.site.path(&format!("top/certs/ca/{authority}/{ISSUED}"));
            let text = fs::read_to_string(&path).unwrap_or_default();
            let serials: Vec<Serial> =
                Issued::parse(&path, &text).unwrap().iter().map(|one| one.serial).collect();
            assert!(serials.is_sorted_by(|one, next| one < next), "{case}: {authority}: {serials:?}");
            recorded.insert(authority, serials);
        }
        for (name, lineage) in &self.lineages {
            let by = match name.to_string().as_str() {
                "ca/root" => continue,
                "ca/int" => "root",
                _ => "int",
            };
            for version in [&lineage.curr, &lineage.next].into_iter().flatten() {
                let serial = version.certificate.as_ref().and_then(|certificate| certificate.serial).unwrap();
                assert!(recorded[by].contains(&serial), "{case}: {name}: {serial} is not recorded");
            }
        }
        let mut seen: BTreeMap<(String, Serial), Vec<u8>> = BTreeMap::new();
        for name in self.names() {
            let versions = self.site.path(&format!("top/certs/{name}/db"));
            for directory in fs::read_dir(versions).into_iter().flatten() {
                let directory = directory.unwrap().path();
                let Ok(text) = fs::read(directory.join(version::CERTIFICATE)) else { continue };
                let Some(der) = container::read(&text).certificates.into_iter().next() else { continue };
                let certificate = crate::pki::inspect::Certificate::from_der(&der).unwrap();
                let key = (certificate.issuer_line(), certificate.serial.unwrap());
                let other = seen.insert(key, der.clone());
                assert!(other.is_none_or(|other| other == der), "{case}: {name} has another's serial");
            }
        }
    }

    /// Who asks the name server finds a record of what the server shows. Before the first roll nobody serves
    /// it, and there is none.
    fn dane_fits(&self, case: &str) {
        let Some(taken_up) = self.site.read("taken-up") else { return };
        let der = container::read(&taken_up).certificates.into_iter().next().unwrap();
        let data = dane::association(&der, 1, 1).unwrap();
        let records = self.records("loaded");
        assert!(
            records.is_empty() || records.iter().any(|record| record.data == data),
            "{case}: what is served has no record"
        );
    }

    fn records(&self, file: &str) -> Vec<dane::Record> {
        let text = self.site.read(file).unwrap_or_default();
        dane::parse(Path::new(file), std::str::from_utf8(&text).unwrap()).unwrap()
    }

    /// Asserts that the authority's lists, in all their places, are the same and name so many certificates.
    pub fn must_list(&self, count: usize) {
        let pem = self.site.read("top/certs/ca/int/crl.pem").unwrap();
        assert_eq!(self.site.read("production/ca/int.crl.pem").unwrap(), pem);
        let der = self.site.read("top/certs/ca/int/crl.der").unwrap();
        assert_eq!(::pem::parse(&pem).unwrap().contents(), der);
        assert_eq!(crate::pki::x509::crl::read(&der).unwrap().revoked.len(), count);
    }

    /// Asserts that nothing is left to be done, and nothing lies about.
    pub fn must_be_settled(&self, case: &str) {
        let root = self.site.root();
        let pending = run::pending(&Tree::new(&root, Path::new("/top"))).unwrap();
        assert!(pending.is_empty(), "{case}: {pending:?}");
        for (name, lineage) in &self.lineages {
            for (link, version) in [(Link::Curr, &lineage.curr), (Link::Next, &lineage.next)] {
                let served = self.production(name, link);
                assert_eq!(served.is_some(), version.is_some(), "{case}: production of {name} {link}");
                if let (Some(served), Some(version)) = (served, version) {
                    let expected = version.files.certificate.as_ref().unwrap();
                    assert_eq!(
                        &served[version::CERTIFICATE],
                        expected,
                        "{case}: production of {name} {link}"
                    );
                }
            }
        }
        let served = self.site.read("production/example.com/web/curr/cert.pem");
        assert_eq!(self.site.read("taken-up"), served, "{case}: the server has not taken it up");
        let own = self.records("top/certs/example.com/tlsa.example.com");
        for copy in ["zones/tlsa.example.com", "production/example.com/tlsa.example.com", "loaded"] {
            assert!(self.records(copy) == own, "{case}: {copy}");
        }
        for (path, _) in self.listing() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let litter = name.starts_with('.') && name != ".reseed"
                || path.parent() == Some(Path::new("top/.reseed/journal"));
            assert!(!litter, "{case}: left behind: {}", path.display());
        }
    }

    /// Everything there is, with its mode, and a version by the link that leads to it; the others are counted
    /// by `clean` alone.
    pub fn shape(&self) -> BTreeSet<(String, u32)> {
        let mut shape = BTreeSet::new();
        for (path, mode) in self.listing() {
            let path = path.to_str().unwrap().to_owned();
            match path.split_once("/db/") {
                None => {
                    shape.insert((path, mode));
                }
                Some((service, rest)) => {
                    let (version, file) = rest.split_once('/').unwrap_or((rest, ""));
                    for link in Link::ALL {
                        let target = fs::read_link(self.site.path(&format!("{service}/{link}")));
                        if target.is_ok_and(|target| target == Path::new("db").join(version)) {
                            shape.insert((format!("{service}/{link}/{file}"), mode));
                        }
                    }
                }
            }
        }
        shape
    }

    /// The versions to which no link leads.
    pub fn unlinked(&self) -> BTreeSet<PathBuf> {
        let versions =
            self.listing().into_keys().filter(|path| path.parent().is_some_and(|db| db.ends_with("db")));
        versions
            .filter(|version| {
                let service = version.ancestors().nth(2).unwrap();
                let leads = |link: Link| {
                    let link = self.site.directory().join(service).join(link.name());
                    fs::read_link(link).is_ok_and(|target| version.ends_with(target))
                };
                !Link::ALL.into_iter().any(leads)
            })
            .collect()
    }

    pub fn lineage(&self, name: &str) -> &Lineage {
        &self.lineages[&ServiceName::parse(name).unwrap()]
    }

    fn listing(&self) -> BTreeMap<PathBuf, u32> {
        let entries =
            walkdir::WalkDir::new(self.site.directory()).min_depth(1).into_iter().map(Result::unwrap);
        entries
            .map(|entry| {
                let mode = entry.path().symlink_metadata().unwrap().permissions().mode();
                (entry.path().strip_prefix(self.site.directory()).unwrap().to_owned(), mode)
            })
            .collect()
    }
}
