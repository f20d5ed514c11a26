//! Turns what a hook declares and what its program's configuration names into bundles of files,
//! and looks what lies there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Sources;
use crate::artifact::{Artifact, Bundle, Certificates, Content, Found, Model, What};
use crate::config::Days;
use crate::hook::reader::{self, Files, Reading, Role};
use crate::hook::{self, ExtraName, Families, FileSpec, Hook, HookName};
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
pub fn candidates(hook: &Hook, families: &Families, files: &dyn Files) -> Candidates {
    let models: Vec<&hook::Certificate> =
        hook.certificates.iter().filter(|certificate| families.match_any(&certificate.family)).collect();
    let readouts: Vec<_> = hook
        .readers
        .iter()
        .filter(|reader| families.match_any(&reader.family))
        .map(|reader| reader::read(reader.program, &reader.config, files))
        .filter(|readout| !readout.config_missing)
        .collect();
    if readouts.is_empty() {
        let certificates = models.into_iter().map(Candidate::by_default).collect();
        return Candidates { by_itself: true, certificates, problems: Vec::new() };
    }
    let problems = readouts.iter().flat_map(|r| r.problems.iter().map(ToString::to_string)).collect();
    let certificates = readouts
        .iter()
        .flat_map(|readout| &readout.readings)
        .filter_map(|reading| {
            let role = match reading.role {
                Role::Server => "server",
                Role::Client => "client",
            };
            let model = models.iter().find(|model| model.name == role).or_else(|| models.first())?;
            Some(Candidate::by_reading(model, reading))
        })
        .collect();
    Candidates { by_itself: false, certificates, problems }
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

    fn by_reading(model: &hook::Certificate, reading: &Reading) -> Self {
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
        let files = if reading.key == reading.certificate {
            let holds = match key_like {
                Some(spec) if spec.holds.contains(&Part::Certificate) => spec.holds.clone(),
                _ => vec![Part::Key, Part::Certificate],
            };
            vec![file(&reading.certificate, holds, key_like, Some(&reading.directive))]
        } else {
            let certificate_like = like(Part::Certificate);
            let holds = |spec: Option<&FileSpec>, part: Part, other: Part| match spec {
                Some(spec) if !spec.holds.contains(&other) => spec.holds.clone(),
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
            let certificates = Certificates {
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

/// Files that another program renews.
pub struct Tracked {
    certmonger: Vec<(PathBuf, String)>,
}

impl Tracked {
    /// Reads certmonger's requests, where there are any.
    pub fn gather(root: &Root) -> Self {
        let directory = Path::new("/var/lib/certmonger/requests");
        let names = root.names(directory).unwrap_or_default();
        let read = |name| {
            let path = directory.join(name);
            Some((path.clone(), root.text(&path).ok()??))
        };
        Self { certmonger: names.into_iter().filter_map(read).collect() }
    }

    fn by(&self, path: &Path, real: &Path) -> Option<String> {
        if real.starts_with("/etc/letsencrypt") {
            return Some(format!("{} is renewed by certbot", path.display()));
        }
        let names_it = |text: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .filter(|(key, _)| {
                    *key == "cert_file"
                        || *key == "key_file"
                        || *key == "key_storage_location"
                        || *key == "cert_storage_location"
                })
                .any(|(_, value)| Path::new(value) == path || Path::new(value) == real)
        };
        self.certmonger.iter().find(|(_, text)| names_it(text)).map(|(request, _)| {
            format!("{} is tracked by certmonger ({})", path.display(), request.display())
        })
    }
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

    #[test]
    fn who_tracks_a_file() {
        let request = "id=1\nkey_storage_location=/etc/pki/tls/private/x.key\ncert_storage_location=/etc/pki/tls/certs/x.crt\n";
        let tracked = Tracked { certmonger: vec![("/var/lib/certmonger/requests/1".into(), request.into())] };
        let by = |path: &str, real: &str| tracked.by(Path::new(path), Path::new(real));
        assert!(by("/etc/pki/tls/certs/x.crt", "/etc/pki/tls/certs/x.crt").unwrap().contains("certmonger"));
        assert!(by("/etc/x.pem", "/etc/letsencrypt/archive/x/cert1.pem").unwrap().contains("certbot"));
        assert_eq!(by("/etc/y.pem", "/etc/y.pem"), None);
    }
}
