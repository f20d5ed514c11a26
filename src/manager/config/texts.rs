//! All texts together: each file by itself first, then what only shows between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::authorities::{self, Authorities};
use super::reader::{Notes, Source};
use super::service;
use super::signers::{self, Draft};
use super::site::{self, GroupText, Reading};
use super::{Configuration, Group};
use crate::fault::Fault;
use crate::manager::name::ServiceName;
use crate::manager::nearest::{hint, shown};

/// The files of a tree; what is missing is absent.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    /// The directory that holds `conf.d`: relative paths in `ssl-mgr.conf` begin here.
    pub topdir: PathBuf,
    /// `ssl-mgr.conf`.
    pub site: Option<Text>,
    /// `ca-info.conf`.
    pub authorities: Option<Text>,
    /// What lies in the directories of groups, services' files or not.
    pub services: Vec<ServiceText>,
}

/// One file.
#[derive(Debug, Clone, Default)]
pub struct Text {
    /// Where it stands, for messages.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// A file in the directory of a group.
#[derive(Debug, Clone, Default)]
pub struct ServiceText {
    /// Name of the directory.
    pub group: String,
    /// Name of the file.
    pub service: String,
    /// The file itself.
    pub file: Text,
    /// Why there is no text of it, in words.
    pub unread: Option<String>,
}

/// Reads a whole configuration. It never fails: what is wrong is in [`Configuration::faults`], and
/// what has a fault is left out.
pub fn read(texts: &Texts) -> Configuration {
    let missing = Text { path: texts.topdir.join("conf.d/ssl-mgr.conf"), text: String::new() };
    let site = texts.site.as_ref().unwrap_or(&missing);
    let site_notes = Notes::default();
    let source = source(site, &site_notes);
    if texts.site.is_none() {
        source.warn("there is no such file, so there are no groups");
    }
    let document = source.parse();
    let reading =
        document.as_ref().map(|document| site::read(source, document, &texts.topdir)).unwrap_or_default();

    let authority_notes = Notes::default();
    let authorities = match &texts.authorities {
        Some(text) => {
            authorities::read(self::source(text, &authority_notes), reading.profile.as_ref(), &texts.topdir)
        }
        None => Authorities::default(),
    };
    let is_broken = site_notes.has_faults() || authorities.unreadable;

    let mut services = Services::read(&texts.services, &reading.groups, &authorities);
    services.refuse(signers::faults(&services.drafts, &authorities));
    let groups = services.groups(&reading.groups);
    services.check_mentions(&reading);

    let mut configuration = Configuration {
        site: super::Site { groups, ..reading.site },
        authorities: authorities.known,
        services: services.drafts.into_iter().map(|(name, draft)| (name, draft.service)).collect(),
        refused: services.refused,
        is_broken,
        ..Configuration::default()
    };
    for notes in [&site_notes, &authority_notes] {
        let (faults, warnings) = notes.take();
        configuration.faults.extend(faults);
        configuration.warnings.extend(warnings);
    }
    configuration.faults.extend(services.faults);
    configuration.warnings.extend(services.warnings);
    configuration
}

fn source<'a>(text: &'a Text, notes: &'a Notes) -> Source<'a> {
    Source { path: &text.path, text: &text.text, notes }
}

/// What is in the directories of groups.
struct Services<'a> {
    drafts: BTreeMap<ServiceName, Draft<'a>>,
    refused: BTreeSet<ServiceName>,
    /// By group: what is a service's file, and what is said to be one.
    found: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Services that some group takes.
    wanted: Wanted<'a>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

/// What the groups take, by name or altogether.
struct Wanted<'a> {
    listed: BTreeSet<(&'a str, &'a str)>,
    whole: BTreeSet<&'a str>,
}

impl Wanted<'_> {
    fn has(&self, name: &ServiceName) -> bool {
        self.whole.contains(name.group()) || self.listed.contains(&(name.group(), name.service()))
    }
}

impl<'a> Services<'a> {
    fn read(texts: &'a [ServiceText], groups: &[GroupText<'a>], authorities: &Authorities) -> Self {
        let listed = groups.iter().flat_map(|group| {
            group.services.iter().map(|service| (group.name.text, service.text)).collect::<Vec<_>>()
        });
        let whole = groups.iter().filter(|group| group.wild.is_some()).map(|group| group.name.text);
        let mut services = Self {
            drafts: BTreeMap::new(),
            refused: BTreeSet::new(),
            found: BTreeMap::new(),
            wanted: Wanted { listed: listed.collect(), whole: whole.collect() },
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        for text in texts {
            let is_listed = services.wanted.listed.contains(&(text.group.as_str(), text.service.as_str()));
            let is_unread = text.unread.is_some() && services.wanted.whole.contains(text.group.as_str());
            if is_listed || is_unread || service::is_service(&text.file.text) {
                services.add(text, authorities);
            }
        }
        services
    }

    fn add(&mut self, text: &'a ServiceText, authorities: &Authorities) {
        let name = match ServiceName::new(&text.group, &text.service) {
            Ok(name) => name,
            Err(message) => {
                self.warnings.push(Fault::whole(&text.file.path, format!("{message}, so it is ignored")));
                return;
            }
        };
        self.found.entry(&text.group).or_default().insert(&text.service);
        if let Some(reason) = &text.unread {
            return self.refuse_one(name, vec![Fault::whole(&text.file.path, reason.as_str())]);
        }
        let notes = Notes::default();
        let draft = service::read(source(&text.file, &notes), &name, authorities);
        let is_refused = notes.has_faults();
        let (faults, warnings) = notes.take();
        self.warnings.extend(warnings);
        match draft {
            Some((service, signing)) if !is_refused => {
                let draft = Draft { service, text: &text.file, signing };
                self.drafts.insert(name, draft);
            }
            _ => self.refuse_one(name, faults),
        }
    }

    /// Faults of a service that no group takes hold nobody up.
    fn refuse_one(&mut self, name: ServiceName, faults: Vec<Fault>) {
        let notes = if self.wanted.has(&name) { &mut self.faults } else { &mut self.warnings };
        notes.extend(faults);
        self.refused.insert(name);
    }

    fn refuse(&mut self, faults: Vec<(ServiceName, Fault)>) {
        for (name, fault) in faults {
            self.drafts.remove(&name);
            self.refuse_one(name, vec![fault]);
        }
    }

    /// The groups with those of their services that can be understood.
    fn groups(&mut self, texts: &[GroupText<'_>]) -> Vec<Group> {
        let mut groups = Vec::new();
        for text in texts {
            if let Err(message) = ServiceName::new(text.name.text, "x") {
                text.name.place.fault(message);
                continue;
            }
            let mut services: Vec<ServiceName> = Vec::new();
            match &text.wild {
                Some(place) => {
                    let all = self.drafts.keys().filter(|name| name.group() == text.name.text);
                    services.extend(all.cloned());
                    if text.active && !self.found.contains_key(text.name.text) {
                        let name = text.name.text;
                        place.warn(format!("there is no service's file in conf.d/{}", name.escape_debug()));
                    }
                }
                None => services.extend(self.listed(text)),
            }
            groups.push(Group { name: text.name.text.to_owned(), active: text.active, services });
        }
        groups
    }

    fn listed(&self, group: &GroupText<'_>) -> Vec<ServiceName> {
        let mut seen = BTreeSet::new();
        let mut services = Vec::new();
        for word in &group.services {
            let there = self.found.get(group.name.text);
            if !seen.insert(word.text) {
                word.place.warn(format!("{} is given twice", shown(word.text)));
            } else if there.is_some_and(|there| there.contains(word.text)) {
                services.extend(ServiceName::new(group.name.text, word.text));
            } else {
                let near = hint(word.text, there.into_iter().flatten().copied());
                let message = format!(
                    "there is no file conf.d/{}/{}{near}",
                    group.name.text.escape_debug(),
                    word.text.escape_debug()
                );
                if group.active { word.place.fault(message) } else { word.place.warn(message) }
            }
        }
        services.retain(|name| self.drafts.contains_key(name));
        services
    }

    /// Warns of services in `svc_depends` that there are not.
    fn check_mentions(&self, reading: &Reading<'_>) {
        let all: BTreeSet<&str> = self.found.values().flatten().copied().collect();
        for mention in &reading.mentions {
            let there = match &mention.group {
                None => &all,
                Some(group) => match self.found.get(group.text) {
                    Some(there) => there,
                    None => {
                        let near = hint(group.text, self.found.keys().copied());
                        group.place.warn(format!("there is no group {}{near}", shown(group.text)));
                        continue;
                    }
                },
            };
            for service in mention.services.iter().filter(|service| !matches!(service.text, "*" | "ALL")) {
                if !there.contains(service.text) {
                    let near = hint(service.text, there.iter().copied());
                    service.place.warn(format!("there is no service {}{near}", shown(service.text)));
                }
            }
        }
    }
}
