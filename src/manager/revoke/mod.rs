//! `revoke` and `crl`: what an authority of ours takes back, and the list of it (RFC 5280 section 5).
//!
//! The list lies beside the authority, as PEM and DER, and in production; it is written anew before it ends.

mod public;

use std::path::PathBuf;

use time::{Duration, OffsetDateTime};

use super::ca::register::{ISSUED, Issued, REVOKED, Revocations, Revoked};
use super::ca::signing;
use super::config::Signing;
use super::name::{CA, ServiceName};
use super::remember::remember_list;
use super::report::Report;
use super::run::{ManagerError, Run, World, recorded};
use crate::pki::container;
use crate::pki::key::Secret;
use crate::pki::serial::Serial;
use crate::pki::x509::crl::{self, ListProfile, Reason};
use crate::transaction::{Change, own_attributes};

/// Days for which a list is valid.
const VALID_DAYS: i64 = 30;
/// Days before its end at which it is written anew by any run that has to do with its authority.
const FRESH_DAYS: i64 = 20;
/// The list, in the authority's directory.
pub const LIST: &str = "crl.pem";
/// The same in DER, as it is put on web servers.
const LIST_DER: &str = "crl.der";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose certificate, `GROUP/SERVICE`.
    pub service: String,
    /// Which of them; nothing for the one that is served.
    pub serial: Option<Serial>,
    /// Why.
    pub reason: Reason,
}

/// Revokes a certificate and writes the list.
///
/// # Errors
/// [`ManagerError`]; nothing is revoked then.
pub fn revoke(world: World<'_>, request: &Request) -> Result<Report, ManagerError> {
    recorded(world, "revoke", false, |run| take_back(run, request))
}

fn take_back(run: &Run<'_>, request: &Request) -> Result<Report, ManagerError> {
    let name = ServiceName::parse(&request.service).map_err(ManagerError::Usage)?;
    let service = run.service(&name).map_err(ManagerError::Usage)?;
    let by = match run.config.signing(service) {
        Some(Signing::Own(by, _)) => by,
        Some(Signing::Acme(..)) => return public::revoke(run, service, request),
        _ => {
            let message =
                format!("{name} is signed by nobody who is spoken to; only who signed it can revoke it");
            return Err(ManagerError::Usage(message));
        }
    };
    let by = by.name.clone();
    let serial = match request.serial {
        Some(serial) => serial,
        None => served(run, &name)?,
    };
    if !issued(run, &by)?.iter().any(|one| one.serial == serial) && request.serial.is_some() {
        return Err(ManagerError::Usage(format!(
            "{by} has no record of a certificate with the serial {serial}"
        )));
    }
    let mut revocations = revocations(run, &by).map_err(ManagerError::Usage)?;
    if revocations.revoked.iter().any(|one| one.serial == serial) {
        return Err(ManagerError::Usage(format!("the certificate {serial} of {name} is revoked already")));
    }
    revocations.revoked.push(Revoked {
        serial,
        service: name.to_string(),
        at: run.world.now,
        reason: request.reason,
    });
    let mut report = Report::default();
    report.done.push(format!("{name}: {serial} is revoked ({})", request.reason));
    write(run, &by, revocations, &mut report)?;
    report.notes.push(until_renewed(&name));
    Ok(report)
}

/// Writes the lists of some authorities; all that can sign one, when none is named.
///
/// # Errors
/// [`ManagerError`]; lists that were written before stand.
pub fn lists(world: World<'_>, names: &[String]) -> Result<Report, ManagerError> {
    recorded(world, "crl", false, |run| write_all(run, names))
}

fn write_all(run: &Run<'_>, names: &[String]) -> Result<Report, ManagerError> {
    let mut report = Report::default();
    let named: Vec<ServiceName> = match names {
        [] => run.of_group(CA),
        names => names
            .iter()
            .map(|name| ServiceName::new(CA, name.strip_prefix("ca/").unwrap_or(name)))
            .collect::<Result<_, _>>()
            .map_err(ManagerError::Usage)?,
    };
    for by in named {
        let revocations = revocations(run, &by).map_err(ManagerError::Usage)?;
        write(run, &by, revocations, &mut report)?;
    }
    Ok(report)
}

/// Writes the lists anew of those authorities that have one which ends soon.
pub fn refresh(run: &Run<'_>, report: &mut Report) {
    for by in run.of_group(CA) {
        let path = run.tree.service(&by).join(LIST_DER);
        let list = match run.world.root.read_optional(&path) {
            Ok(Some(list)) => crl::read(&list),
            _ => continue,
        };
        let fresh = |next: OffsetDateTime| next - run.world.now > Duration::days(VALID_DAYS - FRESH_DAYS);
        if list.is_ok_and(|list| list.next_update.is_some_and(fresh)) {
            continue;
        }
        let written = revocations(run, &by)
            .map_err(ManagerError::Usage)
            .and_then(|revocations| write(run, &by, revocations, report));
        if let Err(error) = written {
            report.failures.push(format!("{by}: its list of revoked certificates: {error}"));
        }
    }
}

/// Signs and writes a list with the next number.
fn write(
    run: &Run<'_>,
    by: &ServiceName,
    mut revocations: Revocations,
    report: &mut Report,
) -> Result<(), ManagerError> {
    let wrong = |error: String| ManagerError::Usage(format!("{by}: {error}"));
    let digest = run.service(by).map_err(wrong)?.authority.map(|ca| ca.digest).unwrap_or_default();
    let files = signing::files(&run.tree, by).map_err(wrong)?;
    let files = files.ok_or_else(|| wrong("it has no certificate yet".to_owned()))?;
    let key = files.key.as_ref().ok_or_else(|| wrong("it has no key".to_owned()))?;
    let key = run.tree.keyring().open(key.reveal()).map_err(|error| wrong(format!("its key: {error}")))?;
    let certificate = container::read(files.certificate.as_deref().unwrap_or_default()).certificates;
    let certificate = certificate.first().ok_or_else(|| wrong("it has no certificate".to_owned()))?;
    revocations.number = revocations.number.saturating_add(1);
    let entries: Vec<_> = revocations
        .revoked
        .iter()
        .map(|one| crl::Revoked { serial: one.serial, at: one.at, reason: one.reason })
        .collect();
    let profile = ListProfile {
        number: revocations.number,
        this_update: run.world.now,
        next_update: run.world.now + Duration::days(VALID_DAYS),
        revoked: &entries,
    };
    let der =
        crl::revocation_list(certificate, &key, digest, profile).map_err(|error| wrong(error.to_string()))?;
    let pem = pem::encode_config(
        &pem::Pem::new("X509 CRL", der.clone()),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    );
    let directory = run.tree.service(by);
    let text = revocations.to_text().map_err(wrong)?;
    let production = run.production.group(CA)?.join(format!("{}.crl.pem", by.service()));
    let file = |path: PathBuf, content: &[u8], mode: u32| Change::File {
        path,
        content: Secret::new(content),
        attributes: own_attributes(mode),
        exact: false,
    };
    let mut pending = run.pending()?;
    if remember_list(run, &mut pending, by) {
        run.save_pending(&pending)?;
        report.notes.push(format!("{by}: other hosts get the list at the next run"));
    }
    // In one step: what is revoked is in every list, or not revoked yet and revoked by the next attempt.
    let changes = [
        file(directory.join(REVOKED), text.as_bytes(), 0o600),
        file(directory.join(LIST_DER), &der, 0o644),
        file(directory.join(LIST), pem.as_bytes(), 0o644),
        file(production, pem.as_bytes(), 0o644),
    ];
    run.tree.replace(&run.lock, &changes)?;
    let count = revocations.revoked.len();
    report.done.push(format!(
        "{by}: list {} with {count} revoked, {}",
        revocations.number,
        directory.join(LIST).display()
    ));
    Ok(())
}

fn served(run: &Run<'_>, name: &ServiceName) -> Result<Serial, ManagerError> {
    let lineage = run.tree.lineage(name)?;
    let serial = lineage.curr.and_then(|curr| curr.certificate).and_then(|certificate| certificate.serial);
    serial.ok_or_else(|| ManagerError::Usage(format!("{name} has no curr; name the certificate by --serial")))
}

/// What an authority has issued.
fn issued(run: &Run<'_>, by: &ServiceName) -> Result<Vec<Issued>, ManagerError> {
    let path = run.tree.service(by).join(ISSUED);
    let text = run.world.root.tail(&path, u64::MAX)?;
    Ok(Issued::parse(&path, &text.unwrap_or_default())?)
}

/// What is still to be done about a certificate that was revoked.
fn until_renewed(name: &ServiceName) -> String {
    format!("{name} goes on serving it until `reseed manager renew {name}` and `reseed manager roll {name}`")
}

/// What an authority has revoked.
fn revocations(run: &Run<'_>, by: &ServiceName) -> Result<Revocations, String> {
    let path = run.tree.service(by).join(REVOKED);
    match run.world.root.text(&path).map_err(|error| error.to_string())? {
        Some(text) => Revocations::parse(&path, &text).map_err(|error| error.to_string()),
        None => Ok(Revocations::default()),
    }
}
