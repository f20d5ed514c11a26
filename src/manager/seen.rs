//! What the schedule sees of a version: its dates, whether it is whole, and whether it still is what it should
//! be by the configuration and by who signed it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use time::OffsetDateTime;

use super::acme::renewal::{self, Windows};
use super::ca::register::{REVOKED, Revocations};
use super::ca::signing;
use super::config::{AlternativeName, Configuration, Service, Signing};
use super::lineage::Version;
use super::name::ServiceName;
use super::schedule;
use super::tree::Tree;
use crate::pki::container;
use crate::pki::inspect::Certificate;
use crate::pki::serial::Serial;

/// Looks at versions; the chain of each authority is read once.
#[derive(Debug)]
pub struct Seer<'a> {
    tree: &'a Tree<'a>,
    config: &'a Configuration,
    chains: BTreeMap<ServiceName, Option<Vec<u8>>>,
    /// By whose record it is.
    revoked: BTreeMap<ServiceName, Vec<Serial>>,
    windows: Windows,
}

impl<'a> Seer<'a> {
    /// One that has seen nothing yet.
    pub fn new(tree: &'a Tree<'a>, config: &'a Configuration) -> Self {
        // A record that cannot be read leaves it to our own targets.
        let path = tree.own(renewal::RECORD);
        let text = tree.root().text(&path).ok().flatten();
        let windows = text.and_then(|text| Windows::parse(&path, &text).ok()).unwrap_or_default();
        Self { tree, config, chains: BTreeMap::new(), revoked: BTreeMap::new(), windows }
    }

    /// What the schedule sees; nothing when the certificate says nothing.
    pub fn see(&mut self, service: &Service, version: &Version) -> Option<schedule::Version> {
        let certificate = version.certificate.as_ref()?;
        Some(schedule::Version {
            orphaned: self.is_orphaned(service, version),
            revoked: self.is_revoked(service, certificate),
            reconfigured: self.is_reconfigured(service, certificate),
            suggested: self.suggested(service, version),
            ..dates(version)?
        })
    }

    /// When the public authority that signed it wants it to be renewed.
    fn suggested(&self, service: &Service, version: &Version) -> Option<OffsetDateTime> {
        let Some(Signing::Acme(..)) = self.config.signing(service) else { return None };
        let text = container::read(version.files.certificate.as_deref()?);
        let id = renewal::identifier(text.certificates.first()?).ok()?;
        Some(self.windows.of(&id)?.moment(&id))
    }

    /// Says whether the authority that signed it signs with something else by now. Of an authority that cannot
    /// be read nothing is known.
    fn is_orphaned(&mut self, service: &Service, version: &Version) -> bool {
        let Some(Signing::Own(by, _)) = self.config.signing(service) else { return false };
        let tree = self.tree;
        let chain = self.chains.entry(by.name.clone()).or_insert_with_key(|by| {
            signing::files(tree, by).ok().flatten().and_then(|files| files.full_chain)
        });
        chain.is_some() && *chain != version.files.chain
    }

    /// Says whether it was revoked from here: an authority of ours has a record of that, and a service that a
    /// public one signs has its own.
    fn is_revoked(&mut self, service: &Service, certificate: &Certificate) -> bool {
        let keeper = match self.config.signing(service) {
            Some(Signing::Own(by, _)) => &by.name,
            Some(Signing::Acme(..)) => &service.name,
            _ => return false,
        };
        let tree = self.tree;
        let revoked = self.revoked.entry(keeper.clone()).or_insert_with_key(|keeper| {
            let path = tree.service(keeper).join(REVOKED);
            let text = tree.root().text(&path).ok().flatten();
            let record = text.and_then(|text| Revocations::parse(&path, &text).ok()).unwrap_or_default();
            record.revoked.iter().map(|one| one.serial).collect()
        });
        certificate.serial.is_some_and(|serial| revoked.contains(&serial))
    }

    /// Says whether the names that are configured are others by now. Somebody else's authority may have put in
    /// more than was asked for, or a wildcard; ours does not.
    fn is_reconfigured(&self, service: &Service, certificate: &Certificate) -> bool {
        if service.name.is_ca() {
            return false;
        }
        if let Some(Signing::Own(..) | Signing::Itself(_)) = self.config.signing(service) {
            return configured(service) != (certificate.dns_names.clone(), certificate.addresses.clone());
        }
        !service.alternative_names.iter().all(|name| certificate.serves(&name.to_string()))
    }
}

fn configured(service: &Service) -> (BTreeSet<String>, BTreeSet<IpAddr>) {
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for name in &service.alternative_names {
        match name {
            AlternativeName::Dns(name) => {
                names.insert(name.to_ascii_lowercase());
            }
            AlternativeName::Address(address) => {
                addresses.insert(*address);
            }
            // No service is told to have one.
            AlternativeName::Email(_) => {}
        }
    }
    (names, addresses)
}

/// What the certificate itself says; nothing when there is none that can be read.
pub fn dates(version: &Version) -> Option<schedule::Version> {
    let certificate = version.certificate.as_ref()?;
    Some(schedule::Version {
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        serial: certificate.serial.map(Serial::to_octets).unwrap_or_default(),
        made: version.made.unwrap_or(certificate.not_before),
        complete: version.is_sound(),
        orphaned: false,
        revoked: false,
        reconfigured: false,
        suggested: None,
    })
}
