//! Turns what a hook declares and what its program's configuration names into bundles of files,
//! and looks what lies there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::tracked::Tracked;
use super::{Sources, managed};
use crate::artifact::{Artifact, Bundle, Certificates, Content, Found, Held, Managed, Model, Version, What};
use crate::config::{Days, HookSettings};
use crate::hook::reader::{self, Files, Reading, Role};
use crate::hook::{self, ExtraName, Families, FileSpec, Hook, HookName, Issuer};
use crate::identity::Facet;
use crate::ledger::Digest;
use crate::pki::container::{self, Part};
use crate::pki::inspect::Certificate;
use crate::pki::key::Secret;
use crate::sealed::{Fingerprint, Sealed};
use crate::system::root::Root;

/// The certificates of a hook before anybody has looked at their files.
pub struct Candidates {
    /// The hook has them without a configuration that names them.
    pub by_itself: bool,
    certificates: Vec<Candidate>,
    problems: Vec<String>,
}

struct Candidate {
    model: Model,
    algorithm: Option<crate::pki::Algorithm>,
    days: Option<u32>,
    issuer: Issuer,
    stop_gap: bool,
    files: Vec<CandidateFile>,
}

struct CandidateFile {
    spec: FileSpec,
    default_path: bool,
    copy: bool,
    named_by: Option<String>,
}

/// A hook's bundles, and what is to be said of them.
pub struct Built {
    pub bundles: Vec<Bundle>,
    pub borrowed: BTreeMap<PathBuf, HookName>,
    pub problems: Vec<String>,
}

impl Built {
    /// Every file that the hook's units read, links followed.
    pub fn reals(&self) -> BTreeSet<PathBuf> {
        let own = self
            .bundles
            .iter()
            .flat_map(|bundle| bundle.artifacts.iter().map(|artifact| artifact.real.clone()));
        own.chain(self.borrowed.keys().cloned()).collect()
    }
}

impl Candidates {
    /// Every path, as it is named.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.certificates
            .iter()
            .flat_map(|certificate| certificate.files.iter().map(|file| file.spec.path.as_path()))
    }
}

/// What the hook's program reads: what its configuration names, or, where there is no
/// configuration to ask, what the package itself writes.
pub fn candidates(
    hook: &Hook,
    settings: &HookSettings,
    families: &Families,
    files: &dyn Files,
) -> Candidates {
    let models: Vec<hook::Certificate> = hook
        .certificates
        .iter()
        .filter(|certificate| families.match_any(&certificate.family))
        .map(|certificate| as_set(certificate, settings))
        .collect();
    let readouts: Vec<_> = hook
        .readers
        .iter()
        .filter(|reader| families.match_any(&reader.family))
        .map(|reader| (reader.program, reader::read(reader.program, &reader.config, files)))
        .filter(|(_, readout)| !readout.config_missing)
        .collect();
    if readouts.is_empty() {
        let certificates = models.iter().map(Candidate::by_default).collect();
        return Candidates { by_itself: true, certificates, problems: Vec::new() };
    }
    let problems = readouts.iter().flat_map(|(_, r)| r.problems.iter().map(ToString::to_string)).collect();
    let certificates = readouts
        .iter()
        .flat_map(|(program, readout)| readout.readings.iter().map(move |reading| (*program, reading)))
        .filter_map(|(program, reading)| {
            let role = match reading.role {
                Role::Server => "server",
                Role::Client => "client",
            };
            let model = models.iter().find(|model| model.name == role).or_else(|| models.first())?;
            // What the others name is a file of trusted authorities, which is nobody's chain.
            let chain = reading.chain.as_deref().filter(|_| program == reader::Program::Httpd);
            Some(Candidate::by_reading(model, reading, chain))
        })
        .collect();
    Candidates { by_itself: false, certificates, problems }
}

/// A certificate with what the site says differently of it.
fn as_set(certificate: &hook::Certificate, settings: &HookSettings) -> hook::Certificate {
    let issuer = settings.issuer.clone().unwrap_or_else(|| certificate.issuer.clone());
    hook::Certificate {
        issuer,
        stop_gap: settings.stop_gap.unwrap_or(certificate.stop_gap),
        ..certificate.clone()
    }
}

impl Candidate {
    fn new(model: &hook::Certificate, files: Vec<CandidateFile>) -> Self {
        let copies = model.copies.iter().map(|spec| CandidateFile {
            spec: spec.clone(),
            default_path: true,
            copy: true,
            named_by: None,
        });
        Self {
            model: Model { name: model.name.clone(), usage: model.usage.clone(), names: model.names.clone() },
            algorithm: model.algorithm,
            days: model.days,
            issuer: model.issuer.clone(),
            stop_gap: model.stop_gap,
            files: files.into_iter().chain(copies).collect(),
        }
    }

    fn by_default(model: &hook::Certificate) -> Self {
        let files = model.files.iter().map(|spec| CandidateFile {
            spec: spec.clone(),
            default_path: true,
            copy: false,
            named_by: None,
        });
        Self::new(model, files.collect())
    }

    /// `chain` is a file from which the program takes what it sends along; a self-signed certificate has
    /// no use for it, so that it is left alone.
    fn by_reading(model: &hook::Certificate, reading: &Reading, chain: Option<&Path>) -> Self {
        let written_by_package = |path: &Path| model.files.iter().any(|spec| spec.path == path);
        let like = |part: Part| model.files.iter().find(|spec| spec.holds.contains(&part));
        let file = |path: &Path,
                    holds: Vec<Part>,
                    like: Option<&FileSpec>,
                    directive: Option<&reader::Directive>| {
            let like = like.cloned();
            CandidateFile {
                default_path: written_by_package(path),
                copy: false,
                named_by: directive.map(ToString::to_string),
                spec: FileSpec {
                    path: path.to_owned(),
                    holds,
                    owner: like.as_ref().map_or("root".into(), |like| like.owner.clone()),
                    group: like.as_ref().map_or("root".into(), |like| like.group.clone()),
                    mode: like.as_ref().map_or(0o600, |like| like.mode),
                    hash_link: like.and_then(|like| like.hash_link),
                },
            }
        };
        let key_like = like(Part::Key);
        let with_chain = |mut holds: Vec<Part>| {
            if like(Part::Certificate).is_some_and(|spec| spec.holds.contains(&Part::Chain)) {
                holds.push(Part::Chain);
            }
            holds
        };
        let mut files = if reading.key == reading.certificate {
            let holds = match key_like {
                Some(spec) if spec.holds.contains(&Part::Certificate) => spec.holds.clone(),
                _ => with_chain(vec![Part::Key, Part::Certificate]),
            };
            vec![file(&reading.certificate, holds, key_like, Some(&reading.directive))]
        } else {
            let certificate_like = like(Part::Certificate);
            let holds = |spec: Option<&FileSpec>, part: Part, other: Part| match (spec, part) {
                (Some(spec), _) if !spec.holds.contains(&other) => spec.holds.clone(),
                (_, Part::Certificate) => with_chain(vec![part]),
                _ => vec![part],
            };
            let key_directive = reading.key_directive.as_ref();
            vec![
                file(&reading.key, holds(key_like, Part::Key, Part::Certificate), key_like, key_directive),
                file(
                    &reading.certificate,
                    holds(certificate_like, Part::Certificate, Part::Key),
                    certificate_like,
                    Some(&reading.directive),
                ),
            ]
        };
        let is_managed = model.issuer.service().is_some();
        if let Some(chain) = chain.filter(|chain| is_managed && !files.iter().any(|f| f.spec.path == **chain))
        {
            let mut one = file(chain, vec![Part::Chain], like(Part::Certificate), Some(&reading.directive));
            one.spec.hash_link = None;
            files.push(one);
        }
        Self::new(model, files)
    }
}

/// Looks at the files, and puts those that share a key into one bundle.
pub fn build(
    sources: &Sources<'_>,
    hook: &Hook,
    candidates: Candidates,
    owners: &BTreeMap<PathBuf, HookName>,
    tracked: &Tracked,
) -> Built {
    let settings = sources.settings.hook(&hook.name);
    let defaults = &sources.settings.certificates;
    let mut built = Built { bundles: Vec::new(), borrowed: BTreeMap::new(), problems: candidates.problems };
    for mut candidate in candidates.certificates {
        // Whoever is made anew when the addresses change carries them.
        let names = &mut candidate.model.names;
        if hook.watches.contains(&Facet::Addresses) && !names.contains(&ExtraName::Addresses) {
            names.push(ExtraName::Addresses);
        }
        let mut located = Vec::new();
        let mut lent_by = None;
        for file in candidate.files {
            match sources.root.resolve(&file.spec.path) {
                Ok(real) => {
                    if let Some(owner) = owners.get(&real).filter(|owner| **owner != hook.name) {
                        built.borrowed.insert(real.clone(), owner.clone());
                        lent_by = Some(owner.clone());
                    }
                    located.push((file, real));
                }
                // What this user may not look at is there all the same.
                Err(error) if error.is_denied() => {
                    let path = file.spec.path.clone();
                    located.push((file, path));
                }
                Err(error) => built.problems.push(error.to_string()),
            }
        }
        // Virtual hosts with keys of their own may name one file for the chain.
        let is_elsewhere = |real: &Path| {
            built.bundles.iter().flat_map(|bundle| &bundle.artifacts).any(|artifact| artifact.real == real)
        };
        located.retain(|(file, real)| file.spec.holds != [Part::Chain] || !is_elsewhere(real));
        if let Some(owner) = lent_by {
            if !located.iter().all(|(file, real)| file.copy || owners.get(real) == Some(&owner)) {
                let certificate = located.first().map(|(file, _)| file.spec.path.display().to_string());
                built.problems.push(format!(
                    "{} is shared with the hook {owner}, but not all of its files are; left alone",
                    certificate.unwrap_or_default()
                ));
            }
            continue;
        }
        let key = located
            .iter()
            .find(|(file, _)| file.spec.holds.contains(&Part::Key))
            .map(|(_, real)| real.clone());
        let Some(key) = key else { continue };
        let place = built.bundles.iter().position(|bundle| bundle.has_key(&key)).unwrap_or_else(|| {
            let managed = candidate.issuer.service().map(|service| {
                let topdir = managed::topdir(sources.root, &sources.settings.manager);
                Box::new(Managed {
                    service: service.clone(),
                    stop_gap: candidate.stop_gap,
                    is_live: sources.root.is_live(),
                    held: managed::read(sources.root, &topdir, service, sources.now),
                    differing: BTreeSet::new(),
                })
            });
            if let Some(Managed { service, held: Held::Hidden(why), .. }) = managed.as_deref() {
                built.problems.push(format!("what the manager holds of {service} may not be seen: {why}"));
            }
            let certificates = Certificates {
                managed,
                algorithm: settings.algorithm.or(candidate.algorithm).unwrap_or(defaults.algorithm),
                days: settings
                    .days
                    .map(Days::count)
                    .or(candidate.days)
                    .unwrap_or_else(|| defaults.days.count()),
                models: Vec::new(),
            };
            built.bundles.push(Bundle {
                what: What::Certificates(certificates),
                artifacts: Vec::new(),
                tracked: None,
            });
            built.bundles.len() - 1
        });
        if let Some(bundle) = built.bundles.get_mut(place) {
            let first = bundle.certificates().and_then(|all| all.managed.as_deref());
            if first.map(|managed| &managed.service) != candidate.issuer.service() {
                built.problems.push(format!(
                    "{} holds the key of certificates with different issuers; the first of them counts",
                    key.display()
                ));
            }
            add(bundle, sources, candidate.model, located, tracked);
        }
    }
    built
}

fn add(
    bundle: &mut Bundle,
    sources: &Sources<'_>,
    model: Model,
    located: Vec<(CandidateFile, PathBuf)>,
    tracked: &Tracked,
) {
    let known = |bundle: &Bundle, real: &Path| bundle.artifacts.iter().any(|artifact| artifact.real == real);
    // A second virtual host that reads the very same pair adds nothing.
    if located.iter().all(|(_, real)| known(bundle, real)) {
        return;
    }
    // Two certificates of one key and one subject pass for one another's issuer, and OpenSSL then
    // trusts only the first: what may be one certificate in two files is one.
    let alike = |other: &Model| other.usage == model.usage && other.names == model.names;
    let What::Certificates(Certificates { models, .. }) = &mut bundle.what else { return };
    let place = models.iter().position(alike).unwrap_or_else(|| {
        models.push(model);
        models.len() - 1
    });
    for (file, real) in located {
        if known(bundle, &real) {
            continue;
        }
        if differs(sources, managed_version(bundle), &real, &file.spec.holds) {
            note_difference(bundle, &file.spec.path);
        }
        bundle.tracked = bundle.tracked.take().or_else(|| tracked.by(&file.spec.path, &real));
        let found = look(sources, &real);
        let links = match &file.spec.hash_link {
            Some(directory) => links(sources.root, directory, &real, &found),
            None => BTreeSet::new(),
        };
        bundle.artifacts.push(Artifact {
            holds: file.spec.holds,
            path: file.spec.path,
            real,
            model: place,
            owner: file.spec.owner,
            group: file.spec.group,
            mode: file.spec.mode,
            hash_link: file.spec.hash_link,
            default_path: file.default_path,
            copy: file.copy,
            named_by: file.named_by,
            found,
            links,
        });
    }
}

fn managed_version(bundle: &Bundle) -> Option<&Version> {
    bundle.certificates()?.managed.as_deref()?.version()
}

/// Says whether a file that is there holds something else than the manager's version. What may not be
/// read, or is not there, is told in other ways.
fn differs(sources: &Sources<'_>, version: Option<&Version>, real: &Path, holds: &[Part]) -> bool {
    let Some(version) = version else { return false };
    match sources.root.read_optional(real).map(|content| content.map(Secret::new)) {
        Ok(Some(content)) if !content.reveal().is_empty() => !version.is_in(content.reveal(), holds),
        _ => false,
    }
}

fn note_difference(bundle: &mut Bundle, path: &Path) {
    if let What::Certificates(Certificates { managed: Some(managed), .. }) = &mut bundle.what {
        managed.differing.insert(path.to_owned());
    }
}

fn look(sources: &Sources<'_>, real: &Path) -> Found {
    look_at(sources, real, |content, found| {
        let contents = container::read(content);
        found.certificate = contents.certificates.first().map(|der| Certificate::from_der(der));
        found.key = contents.key.map(|(key, _)| key.map(|k| k.public_digest()).map_err(|e| e.to_string()));
    })
}

/// Looks what lies there; `read` says more of a content that is not what is recorded.
pub fn look_at(sources: &Sources<'_>, real: &Path, read: impl FnOnce(&[u8], &mut Content)) -> Found {
    let Sources { root, ledger, sealed, .. } = *sources;
    let content = match root.read_optional(real) {
        Ok(None) => return Found::Absent,
        Ok(Some(content)) if content.is_empty() => return Found::Absent,
        // It may be a key.
        Ok(Some(content)) => Secret::new(content),
        Err(error) => return Found::Unreadable(error.source.to_string()),
    };
    let digest = Digest::of(content.reveal());
    let recorded = ledger.made(real).map(|(_, _, made)| made);
    if let Some(made) = recorded
        && made.sha256 == digest
    {
        return Found::Ours(made.clone());
    }
    let was_ours = recorded.is_some();
    let mut found =
        Content { digest, was_ours, certificate: None, key: None, fingerprint: None, from_image: false };
    read(content.reveal(), &mut found);
    found.from_image = sealed.is_some_and(|sealed| is_from_image(sealed, content.reveal(), &found));
    Found::Other(Box::new(found))
}

/// A key that lay in an image is in the hands of everybody who has the image.
fn is_from_image(sealed: &Sealed, content: &[u8], found: &Content) -> bool {
    let of_host_key = found.fingerprint.as_deref().and_then(Fingerprint::from_ssh);
    let key = container::read(content).key.and_then(|(key, _)| key.ok());
    let of_key = key.iter().flat_map(Fingerprint::of_key);
    of_host_key.into_iter().chain(of_key).any(|fingerprint| sealed.contains(&fingerprint))
}

/// The subject-hash links in a trust directory that lead to a file. For a file that we made, those
/// that we made with it are enough; a whole directory is not read at every boot.
fn links(root: &Root, directory: &Path, real: &Path, found: &Found) -> BTreeSet<PathBuf> {
    let leads_here = |link: &PathBuf| {
        let is_link = root.link_target(link).ok().flatten().is_some();
        is_link && root.resolve(link).is_ok_and(|target| target == real)
    };
    match found {
        Found::Ours(made) => made.links.iter().filter(|link| leads_here(link)).cloned().collect(),
        _ => {
            let names = root.names(directory).unwrap_or_default();
            let hashes = names.iter().filter_map(|name| name.to_str()).filter(|name| is_hash_link(name));
            hashes.map(|name| directory.join(name)).filter(leads_here).collect()
        }
    }
}

/// `<eight hexadecimal digits>.<number>`
fn is_hash_link(name: &str) -> bool {
    name.split_once('.').is_some_and(|(hash, number)| {
        hash.len() == 8
            && hash.bytes().all(|b| b.is_ascii_hexdigit())
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_links() {
        for (name, is) in [
            ("4efd88c8.0", true),
            ("4efd88c8.12", true),
            ("4efd88c8.r0", false),
            ("x.0", false),
            ("4efd88c8.", false),
        ] {
            assert_eq!(is_hash_link(name), is, "{name}");
        }
    }
}
