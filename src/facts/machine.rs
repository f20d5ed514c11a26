//! What follows the machine and none of its names: the host keys and secrets of a hook, and what
//! lies there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Sources;
use super::bundles::{Built, look_at};
use crate::artifact::{Artifact, Bundle, Found, What};
use crate::hook::{Families, Hook, HookName, PlaceSpec};
use crate::pki::ssh;
use crate::system::root::{PathError, Root};

/// Mode of the public half of a host key.
const PUBLIC: u32 = 0o644;

/// The files of a hook that decide, on this family.
pub fn paths<'a>(hook: &'a Hook, families: &'a Families) -> impl Iterator<Item = &'a Path> {
    things(hook, families).map(|(_, place, _)| place.path.as_path())
}

/// Adds the hook's host keys and secrets to its bundles. A file that another hook has is left to
/// that one; one that cannot be reached is a problem of this one.
pub fn build(
    sources: &Sources<'_>,
    hook: &Hook,
    families: &Families,
    owners: &BTreeMap<PathBuf, HookName>,
    built: &mut Built,
) {
    for (what, place, unless) in things(hook, families) {
        let real = match resolve(sources.root, &place.path) {
            Ok(real) => real,
            Err(error) => {
                built.problems.push(error.to_string());
                continue;
            }
        };
        if let Some(owner) = owners.get(&real).filter(|owner| **owner != hook.name) {
            built.borrowed.insert(real, owner.clone());
            continue;
        }
        let bundle = bundle(sources, what, place, real);
        let is_absent = bundle.secret_file().is_some_and(|file| file.found == Found::Absent);
        if is_absent && unless.iter().any(|path| is_there(sources.root, path)) {
            continue;
        }
        built.bundles.push(bundle);
    }
}

fn things<'a>(
    hook: &'a Hook,
    families: &'a Families,
) -> impl Iterator<Item = (What, &'a PlaceSpec, &'a [PathBuf])> {
    let keys = hook.host_keys.iter().filter(|key| families.match_any(&key.family));
    let keys = keys.map(|key| (What::HostKey(key.algorithm), &key.place, [].as_slice()));
    let secrets = hook.secrets.iter().filter(|secret| families.match_any(&secret.family));
    keys.chain(secrets.map(|s| (What::Secret(s.content.clone()), &s.place, s.unless.as_slice())))
}

fn bundle(sources: &Sources<'_>, what: What, place: &PlaceSpec, real: PathBuf) -> Bundle {
    let root = sources.root;
    let artifact = |path: &Path, real: PathBuf, mode, found| Artifact {
        path: path.to_owned(),
        real,
        holds: Vec::new(),
        model: 0,
        owner: place.owner.clone(),
        group: place.group.clone(),
        mode,
        hash_link: None,
        default_path: true,
        copy: false,
        named_by: None,
        found,
        links: std::collections::BTreeSet::new(),
    };
    let artifacts = match &what {
        What::HostKey(_) => {
            let path = public_half(&place.path);
            // Where its link leads nowhere, it is made beside the private half.
            let public = resolve(root, &path).unwrap_or_else(|_| public_half(&real));
            let private_found = look_at(sources, &real, |content, found| {
                let public = root.read_optional(&public).ok().flatten().unwrap_or_default();
                found.fingerprint = ssh::fingerprint(content, &public);
            });
            let public_found = look_at(sources, &public, |_, _| ());
            vec![
                artifact(&place.path, real, place.mode, private_found),
                artifact(&path, public, PUBLIC, public_found),
            ]
        }
        What::Secret(_) | What::Certificates(_) => {
            let found = look_at(sources, &real, |_, _| ());
            vec![artifact(&place.path, real, place.mode, found)]
        }
    };
    Bundle { what, artifacts, tracked: None }
}

/// What this user may not look at is there all the same.
fn resolve(root: &Root, path: &Path) -> Result<PathBuf, PathError> {
    match root.resolve(path) {
        Err(error) if error.is_denied() => Ok(path.to_owned()),
        done => done,
    }
}

fn is_there(root: &Root, path: &Path) -> bool {
    root.resolve(path).and_then(|real| root.status(&real)).is_ok_and(|status| status.is_some())
}

fn public_half(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}
