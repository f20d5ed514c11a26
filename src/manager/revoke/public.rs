//! Taking back what a public authority has signed: whoever ordered it may, and whoever has its key.

use super::super::acme::account::{Connection, Settings};
use super::super::acme::{self, By};
use super::super::acquire::ACCOUNTS;
use super::super::ca::register::{REVOKED, Revoked};
use super::super::config::{Acme, Service};
use super::super::lineage::Version;
use super::super::report::Report;
use super::super::run::{ManagerError, Run};
use super::Request;
use crate::pki::container;
use crate::pki::key::PrivateKey;
use crate::transaction::replace;

/// Has a certificate revoked by whichever of the service's authorities has signed it.
///
/// # Errors
/// [`ManagerError`], with what each of them said; nothing is revoked then.
pub fn revoke(run: &Run<'_>, service: &Service, request: &Request) -> Result<Report, ManagerError> {
    let name = &service.name;
    let version = find(run, service, request)?;
    let pem = version.files.certificate.as_deref().unwrap_or_default();
    let certificate = container::read(pem).certificates.into_iter().next();
    let certificate =
        certificate.ok_or_else(|| ManagerError::Failed(format!("{name}: it has no certificate")))?;
    let key = version.files.key.as_ref().and_then(|key| run.tree.keyring().open(key.reveal()).ok());
    let mut errors = Vec::new();
    for (authority, acme) in run.config.acme(service) {
        match at(run, acme, service, &certificate, key.as_ref(), request) {
            Ok(()) => {
                remember(run, &version, service, request)?;
                let mut report = Report::default();
                let what = format!("{name}: {} is revoked by {authority} ({})", version.name, request.reason);
                report.done.push(what);
                report.notes.push(super::until_renewed(name));
                return Ok(report);
            }
            Err(error) => errors.push(format!("{authority}: {error}")),
        }
    }
    Err(ManagerError::Failed(errors.join("; ")))
}

/// The version that is meant: the one that is served, or that with the serial.
fn find(run: &Run<'_>, service: &Service, request: &Request) -> Result<Version, ManagerError> {
    let name = &service.name;
    let Some(serial) = request.serial else {
        let curr = run.tree.lineage(name)?.curr;
        return curr.ok_or_else(|| {
            ManagerError::Usage(format!("{name} has no curr; name the certificate by --serial"))
        });
    };
    for version in run.tree.versions(name)?.into_iter().rev() {
        let version = run.tree.version(name, version)?;
        if version.certificate.as_ref().and_then(|certificate| certificate.serial) == Some(serial) {
            return Ok(version);
        }
    }
    Err(ManagerError::Usage(format!("no version of {name} has the serial {serial}")))
}

/// Remembers it, so that the certificate is due.
fn remember(
    run: &Run<'_>,
    version: &Version,
    service: &Service,
    request: &Request,
) -> Result<(), ManagerError> {
    let Some(serial) = version.certificate.as_ref().and_then(|certificate| certificate.serial) else {
        return Ok(());
    };
    let mut revocations = super::revocations(run, &service.name).map_err(ManagerError::Failed)?;
    revocations.revoked.retain(|one| one.serial != serial);
    let service_name = service.name.to_string();
    revocations.revoked.push(Revoked {
        serial,
        service: service_name,
        at: run.world.now,
        reason: request.reason,
    });
    let path = run.tree.service(&service.name).join(REVOKED);
    let text = revocations.to_text().map_err(ManagerError::Failed)?;
    Ok(replace(run.world.root, &path, text.as_bytes(), 0o644)?)
}

fn at(
    run: &Run<'_>,
    acme: &Acme,
    service: &Service,
    certificate: &[u8],
    key: Option<&PrivateKey>,
    request: &Request,
) -> Result<(), String> {
    let root = run.world.root;
    let settings = Settings::read(root, acme, run.is_test)?;
    let settings = Settings { contact: acme.contact_for(service), ..settings };
    let connection = Connection::open(root, &run.tree.own(ACCOUNTS), &settings, run.world.now);
    let connection = connection.map_err(|refusal| refusal.to_string())?;
    let by_account = acme::revoke(&connection, certificate, request.reason, By::Account);
    let Err(refusal) = by_account else { return Ok(()) };
    // Another account may have ordered it: then its key is proof enough.
    let by_key = key.map(|key| acme::revoke(&connection, certificate, request.reason, By::Key(key)));
    match by_key {
        Some(Ok(())) => Ok(()),
        _ => Err(refusal.to_string()),
    }
}
