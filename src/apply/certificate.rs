//! A key with its certificates: made here, or what the manager holds, in the form that each place wants.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::links::Links;
use super::material::Material;
use super::{ApplyError, Maker, Output, Shape};
use crate::artifact::{Bundle, Certificates, Managed, Version};
use crate::hook::{ExtraName, Issuer};
use crate::identity::HostName;
use crate::ledger::{Digest, Made};
use crate::pki::container::{self, Part, Pieces};
use crate::pki::inspect::Certificate;
use crate::pki::issue::{self, Profile};
use crate::pki::key::{KeyError, PrivateKey, Secret};
use crate::pki::serial::Serial;
use crate::plan::{Supply, Task};

/// A certificate as text and as what it says.
struct Issued<'a> {
    text: String,
    says: Certificate,
    /// What it is of, where the manager issued it.
    of: Option<(&'a Version, &'a Issuer)>,
}

impl Issued<'_> {
    /// Those that issued it, for a file with these parts. What signed itself has nobody above it, and is
    /// all that a file for the chain alone can hold.
    fn chain_for(&self, holds: &[Part]) -> String {
        match self.of {
            Some((version, _)) => version.chain_for(holds).into_iter().map(text).collect(),
            None if holds.contains(&Part::Certificate) => String::new(),
            None => self.text.clone(),
        }
    }
}

impl Maker<'_> {
    /// Gets a key with its certificates from where they come from.
    pub(super) fn supply(
        &self,
        task: &Task,
        certificates: &Certificates,
        material: Material,
        links: &mut Links<'_>,
        made: &mut Output,
    ) -> Result<(), ApplyError> {
        let own = match material {
            Material::Key { key, serials } => Some((key, serials)),
            _ => None,
        };
        let asked = match (task.supply, certificates.managed.as_deref()) {
            (Supply::Asked, Some(managed)) => Some(self.ask(managed)),
            (Supply::Installed, Some(managed)) => managed.version().cloned().map(Ok),
            _ => None,
        };
        match (asked, own) {
            (Some(Ok(version)), _) => self.install(task, certificates, &version, links, made),
            (Some(Err(why)), None) => Err(ApplyError::Manager(why)),
            (refused, Some(own)) => {
                made.stands_in = refused.and_then(Result::err).or(made.stands_in.take());
                self.certificates(task, certificates, own, links, made)
            }
            // What was made ready is what the task asks for.
            (None, None) => Ok(()),
        }
    }

    fn ask(&self, managed: &Managed) -> Result<Version, String> {
        let name = self.run.facts.identity.proper().map_err(|why| why.0)?;
        self.run.manager.ask(&managed.service, &name)
    }

    /// Puts what the manager holds into the form that each place wants.
    fn install(
        &self,
        task: &Task,
        certificates: &Certificates,
        version: &Version,
        links: &mut Links<'_>,
        made: &mut Output,
    ) -> Result<(), ApplyError> {
        let Some(issuer) = &task.issuer else { return Ok(()) };
        let shapes = self.shapes(&task.bundle)?;
        let container = shapes.iter().find_map(|shape| shape.container).unwrap_or_default();
        let (key, _) = container::read(version.key.reveal()).key.ok_or(KeyError::Unreadable)?;
        let key = key?.to_pem(container)?;
        let one = |_| Issued {
            text: text(&version.certificate),
            says: version.says.clone(),
            of: Some((version, issuer)),
        };
        let issued: Vec<Issued<'_>> = certificates.models.iter().map(one).collect();
        self.bundle(&task.bundle, &shapes, (&key, &issued), links, made)
    }

    fn certificates(
        &self,
        task: &Task,
        certificates: &Certificates,
        (key, serials): (PrivateKey, Vec<Serial>),
        links: &mut Links<'_>,
        made: &mut Output,
    ) -> Result<(), ApplyError> {
        // What is unknown at the moment is taken as it was when the hook was last made.
        let identity = match self.recorded {
            Some(entry) => self.run.facts.identity.filled_from(&entry.identity),
            None => self.run.facts.identity.clone(),
        };
        let fqdn = identity.proper().map_err(|why| ApplyError::Certificate(why.0))?;
        let issued = serials
            .into_iter()
            .zip(&certificates.models)
            .map(|(serial, model)| {
                let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
                for extra in &model.names {
                    match extra {
                        ExtraName::Short => names.extend(HostName::parse(fqdn.label()).ok()),
                        ExtraName::Addresses => {
                            addresses.extend(identity.addresses.value().into_iter().flatten())
                        }
                        ExtraName::Name(name) => names.extend([name.clone()]),
                    }
                }
                let profile = Profile {
                    fqdn: &fqdn,
                    names: &names,
                    addresses: &addresses,
                    subject: &self.run.facts.subject,
                    usage: &model.usage,
                    serial,
                    now: self.run.facts.now,
                    days: certificates.days,
                    backdate_hours: self.run.backdate_hours,
                };
                issue_and_verify(&profile, &key)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let shapes = self.shapes(&task.bundle)?;
        let container = shapes.iter().find_map(|shape| shape.container).unwrap_or_default();
        let key = key.to_pem(container)?;
        self.bundle(&task.bundle, &shapes, (&key, &issued), links, made)
    }

    fn bundle(
        &self,
        bundle: &Bundle,
        shapes: &[Shape],
        (key, issued): (&Secret, &[Issued<'_>]),
        links: &mut Links<'_>,
        output: &mut Output,
    ) -> Result<(), ApplyError> {
        for (artifact, shape) in bundle.artifacts.iter().zip(shapes) {
            let Some(certificate) = issued.get(artifact.model) else { continue };
            let chain = certificate.chain_for(&shape.holds);
            let pieces = Pieces { key, certificate: &certificate.text, chain: &chain, dh: &shape.dh };
            let content = container::write(&shape.holds, &pieces);
            let holds_certificate = artifact.holds.contains(&Part::Certificate);
            let made = Made {
                sha256: Digest::of(content.reveal()),
                serial: certificate.says.serial.filter(|_| holds_certificate),
                not_after: holds_certificate.then_some(certificate.says.not_after),
                links: links.place(artifact, &certificate.says)?,
                fingerprint: None,
                issuer: certificate.of.map(|(_, issuer)| issuer.clone()),
            };
            output.file.insert(artifact.real.clone(), made);
            output.changes.push(self.change(artifact, content)?);
        }
        Ok(())
    }
}

/// Reads back what was written: nothing goes to disk that does not hold what it should.
fn issue_and_verify(profile: &Profile<'_>, key: &PrivateKey) -> Result<Issued<'static>, ApplyError> {
    let text =
        issue::self_signed(profile, key).map_err(|error| ApplyError::Certificate(error.to_string()))?;
    let der = container::read(text.as_bytes()).certificates.into_iter().next().unwrap_or_default();
    let says = Certificate::from_der(&der).map_err(ApplyError::Certificate)?;
    let right = says.covers(profile.fqdn.as_str())
        && says.public_digest == key.public_digest()
        && says.serial == Some(profile.serial)
        && says.self_signed
        && covers_now(&says, profile.now);
    if right {
        Ok(Issued { text, says, of: None })
    } else {
        Err(ApplyError::Certificate("it does not say what it should".into()))
    }
}

/// A certificate as PEM.
fn text(der: &[u8]) -> String {
    let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), unix)
}

fn covers_now(certificate: &Certificate, now: OffsetDateTime) -> bool {
    certificate.not_before <= now && now < certificate.not_after
}
