//! `import`: what came back from whoever signs becomes `next`.
//!
//! ```text
//! lock, recover → open the files → whose key → does it fit → draft → link → forget the request → settle
//! ```

use std::collections::BTreeMap;

use super::super::config::Service;
use super::super::config::Signing;
use super::super::exchangers::{self, Exchangers};
use super::super::issue::{self, Made, encode};
use super::super::lineage::{Files, Lineage, Link, Version, VersionName, version};
use super::super::name::ServiceName;
use super::super::renew::opening;
use super::super::report::{Outcome, Report};
use super::super::run::{ManagerError, Run, World, groups, recorded};
use super::super::settle::{Extent, settle};
use super::super::tree::Move;
use super::claim::refusal;
use super::fit::{Question, fit};
use super::keys::{Kept, Keys};
pub use super::parcel::Sent;
use super::parcel::{Parcel, Piece, called};
use super::request;
use crate::pki::bundle;
use crate::pki::container;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// For which service, in words; nothing finds it by its key.
    pub service: Option<String>,
    /// What came back.
    pub sent: Vec<Sent>,
    /// Roots that are trusted; none leaves it open who the root is.
    pub anchors: Vec<Sent>,
}

/// Imports.
///
/// # Errors
/// [`ManagerError`] when nothing could be begun; what was refused is in the report.
pub fn import(world: World<'_>, request: &Request) -> Result<Report, ManagerError> {
    recorded(world, "import", false, |run| take_in(run, request))
}

fn take_in(run: &Run<'_>, request: &Request) -> Result<Report, ManagerError> {
    let asked = asked(run, request.service.as_deref())?;
    let anchors = anchors(&request.anchors)?;
    let parcel = Parcel::open(&request.sent);
    let keys = Keys::of(&run.tree, &asked);
    let (mut claims, doubtful) = claims(&parcel, &keys);
    let names: Vec<ServiceName> = claims.keys().map(|name| (*name).clone()).collect();
    let lineages = run.lineages(&names, false);
    let mut report = opening(run, &lineages);
    let is_nobodys = claims.is_empty() && doubtful.is_empty();
    report.failures.extend(doubtful);
    if is_nobodys {
        report.failures.extend(refusal(run, &parcel, &asked));
    } else {
        report.notes.extend(parcel.remarks());
        report.notes.extend(keys.unreadable.iter().cloned());
    }
    claims.retain(|name, _| lineages.found.contains_key(*name));
    let (exchangers, _) = exchangers::ask(run, groups(&names));
    let mut moves = Vec::new();
    let mut used = Vec::new();
    for (name, claimed) in &claims {
        let Some(lineage) = lineages.found.get(*name) else { continue };
        let task = Task { run, parcel: &parcel, anchors: &anchors, lineage, exchangers: &exchangers };
        let outcome = match task.take(name, claimed, &mut used, &mut report.notes) {
            Ok(Taken::Already(link)) => {
                Outcome::Left { reason: format!("this certificate with its chain is {link} already") }
            }
            Ok(Taken::New { made, reason, reused_key }) => {
                moves.push(Move {
                    changes: vec![run.tree.link(name, Link::Next, &made.version)],
                    fresh: vec![made.version.clone()],
                    name: (*name).clone(),
                });
                Outcome::Made { version: made.version, reason, expires: made.expires, reused_key }
            }
            Err(error) => Outcome::Failed { error },
        };
        report.services.insert((*name).clone(), outcome);
    }
    if !claims.is_empty() {
        let left = parcel.certificates.iter().filter(|piece| !used.contains(&piece.der.as_slice()));
        report.notes.extend(left.map(|piece| {
            format!(
                "{}: {} was left out: it does not belong here",
                parcel.name(piece.file),
                called(&piece.says)
            )
        }));
    }
    let fresh: Vec<(ServiceName, VersionName)> = moves
        .iter()
        .flat_map(|one| one.fresh.iter().map(|version| (one.name.clone(), version.clone())))
        .collect();
    for (name, error) in run.tree.switch(&run.lock, moves) {
        report.services.insert(name, Outcome::Failed { error: error.to_string() });
    }
    for (name, version) in fresh {
        if matches!(report.services.get(&name), Some(Outcome::Made { .. })) {
            report.notes.extend(forget_request(run, &name, &version));
        }
    }
    report.absorb(settle(run, &names, Extent { acts: true, restarts_all: false })?);
    Ok(report)
}

/// The services that are signed by hand: all, or the one that is named.
fn asked(run: &Run<'_>, service: Option<&str>) -> Result<Vec<ServiceName>, ManagerError> {
    let Some(word) = service else {
        let services = run.config.services.values();
        let by_hand =
            services.filter(|service| matches!(run.config.signing(service), Some(Signing::Manual(_))));
        return Ok(by_hand.map(|service| service.name.clone()).collect());
    };
    let name = request::one(run, word)?;
    request::by_hand(run, run.service(&name).map_err(ManagerError::Usage)?)?;
    Ok(vec![name])
}

fn anchors(sent: &[Sent]) -> Result<Vec<Vec<u8>>, ManagerError> {
    let mut anchors = Vec::new();
    for Sent { name, content } in sent {
        let certificates = bundle::read(content.reveal()).certificates;
        if certificates.is_empty() {
            return Err(ManagerError::Usage(format!("--anchor {name}: there is no certificate in it")));
        }
        anchors.extend(certificates);
    }
    Ok(anchors)
}

/// A certificate, and our key that it is of.
type Claimed<'p, 'k> = (&'p Piece, &'k Kept);

/// Whose certificates came: by service, the newest first. A key of several services is nobody's.
fn claims<'p, 'k>(
    parcel: &'p Parcel,
    keys: &'k Keys,
) -> (BTreeMap<&'k ServiceName, Vec<Claimed<'p, 'k>>>, Vec<String>) {
    let (mut claims, mut doubtful): (BTreeMap<_, Vec<_>>, _) = (BTreeMap::new(), Vec::new());
    for piece in &parcel.certificates {
        match keys.owners(&piece.says.public_digest) {
            [] => {}
            [kept] => claims.entry(&kept.service).or_default().push((piece, kept)),
            several => {
                let names: Vec<_> = several.iter().map(|kept| kept.service.to_string()).collect();
                doubtful.push(format!(
                    "{}: {} is of a key that {} share; say which by --service",
                    parcel.name(piece.file),
                    called(&piece.says),
                    names.join(" and ")
                ));
            }
        }
    }
    claims.values_mut().for_each(|claimed: &mut Vec<Claimed<'_, '_>>| {
        claimed.sort_by_key(|(piece, _)| std::cmp::Reverse(piece.says.not_before));
    });
    (claims, doubtful)
}

/// What became of what came for a service.
enum Taken {
    Already(Link),
    New { made: Made, reason: String, reused_key: bool },
}

/// What is taken, from what, and for whom.
struct Task<'t, 'w> {
    run: &'t Run<'w>,
    parcel: &'t Parcel,
    anchors: &'t [Vec<u8>],
    lineage: &'t Lineage,
    exchangers: &'t Exchangers,
}

impl<'t> Task<'t, '_> {
    /// Takes the newest of the certificates that are for a service; of what came, `used` has a place.
    fn take(
        &self,
        name: &ServiceName,
        claimed: &[Claimed<'t, '_>],
        used: &mut Vec<&'t [u8]>,
        notes: &mut Vec<String>,
    ) -> Result<Taken, String> {
        let (piece, kept) = claimed.first().ok_or("nothing came for it")?;
        used.extend(claimed.iter().map(|(piece, _)| piece.der.as_slice()));
        let mut remark = |note: String| notes.push(format!("{name}: {note}"));
        for (older, _) in claimed.iter().skip(1) {
            remark(format!(
                "of several certificates the newest was taken; one of {} was left out",
                older.says.not_before.date()
            ));
        }
        let service = self.run.service(name)?;
        let pool: Vec<Vec<u8>> = self.parcel.certificates.iter().map(|piece| piece.der.clone()).collect();
        let question = Question {
            certificate: &piece.der,
            pool: &pool,
            anchors: self.anchors,
            is_ca: name.is_ca(),
            names: &service.alternative_names,
            now: self.run.world.now,
        };
        let fit = match fit(&question) {
            Ok(fit) => fit,
            Err(against) => {
                // What else came is told of when the rest is right.
                used.extend(self.parcel.certificates.iter().map(|piece| piece.der.as_slice()));
                return Err(against.join("; "));
            }
        };
        let chain = fit.intermediates.iter().chain(&fit.root).map(Vec::as_slice);
        let belongs = |piece: &&Piece| chain.clone().any(|der| der == piece.der);
        used.extend(self.parcel.certificates.iter().filter(belongs).map(|piece| piece.der.as_slice()));
        for file in self.parcel.disordered(std::iter::once(piece.der.as_slice()).chain(chain.clone())) {
            remark(format!(
                "{file} was put in order: the certificate first, then each followed by its issuer"
            ));
        }
        fit.notes.iter().cloned().for_each(&mut remark);
        if let Some(link) = self.holds(&piece.der, &fit.intermediates) {
            return Ok(Taken::Already(link));
        }
        let live = self.lineage.live().and_then(|live| live.certificate.as_ref());
        if live.is_some_and(|live| live.not_after > piece.says.not_after) {
            remark("it ends before the one that is served now".to_owned());
        }
        if let Some(next) = self.lineage.waiting() {
            remark(format!("{} was next and is so no more", next.name));
        }
        let made = self.draft(service, piece, kept, &fit.intermediates)?;
        let serial = piece.says.serial.map(|serial| format!(", serial {serial}")).unwrap_or_default();
        let issuer = piece.says.issuer_line();
        let reused_key = live.is_some_and(|live| live.public_digest == piece.says.public_digest);
        Ok(Taken::New { made, reason: format!("signed by {issuer}{serial}"), reused_key })
    }

    /// The link to a version that is the same.
    fn holds(&self, certificate: &[u8], intermediates: &[Vec<u8>]) -> Option<Link> {
        let is_same = |version: &&Version| {
            let read =
                |file: &Option<Vec<u8>>| container::read(file.as_deref().unwrap_or_default()).certificates;
            read(&version.files.certificate).iter().eq([certificate])
                && read(&version.files.chain) == intermediates
        };
        let links = [(Link::Next, self.lineage.waiting()), (Link::Curr, self.lineage.live())];
        links.into_iter().find_map(|(link, version)| version.filter(|version| is_same(version)).map(|_| link))
    }

    /// Writes the new version, with a copy of the key.
    fn draft(
        &self,
        service: &Service,
        piece: &Piece,
        kept: &Kept,
        intermediates: &[Vec<u8>],
    ) -> Result<Made, String> {
        let (run, name) = (self.run, &service.name);
        let pem = run.tree.keyring().keep(name, &kept.key)?;
        let request =
            match run.tree.file(name, &kept.version, version::REQUEST).map_err(|error| error.to_string())? {
                Some(request) => request,
                None => {
                    let der = request::sign(&self.run.config, service, &kept.key)
                        .map_err(|error| error.to_string())?;
                    encode("CERTIFICATE REQUEST", der)
                }
            };
        let text = |der: &Vec<u8>| encode("CERTIFICATE", der.clone());
        let chain = intermediates.iter().flat_map(text).collect();
        let mut files = Files::assemble(pem, request, text(&piece.der), chain);
        files.issue = Some(version::issue_text(run.world.now).into_bytes());
        let version = run.tree.newest(name, run.world.now).map_err(|error| error.to_string())?;
        files.tlsa = issue::tlsa(service, &version, &files, self.exchangers.of(name.group()))?;
        let examined = Version::examine(version.clone(), files.clone());
        if let Some(problem) = examined.problems.first() {
            return Err(format!("what was put together is not whole: {problem}"));
        }
        run.tree.draft(&run.lock, name, &version, &files).map_err(|error| error.to_string())?;
        Ok(Made { version, expires: piece.says.not_after, note: None })
    }
}

/// Removes the request that was answered: its key now lies beside the certificate.
pub fn forget_request(run: &Run<'_>, name: &ServiceName, answer: &VersionName) -> Vec<String> {
    let failed = |error: crate::system::root::PathError| format!("{name}: {error}");
    let key = match run.tree.version(name, answer.clone()) {
        Ok(version) => version.certificate.map(|certificate| certificate.public_digest),
        Err(error) => return vec![failed(error)],
    };
    let versions = run.tree.versions(name).unwrap_or_default();
    let mut failures = Vec::new();
    for version in versions.into_iter().filter(|version| version != answer) {
        let removed = request::unanswered(&run.tree, name, version).and_then(|request| match request {
            Some(request) if Some(request.key.public_digest()) == key => {
                run.tree.remove(&run.lock, name, &request.version)
            }
            _ => Ok(()),
        });
        failures.extend(removed.err().map(failed));
    }
    failures
}
