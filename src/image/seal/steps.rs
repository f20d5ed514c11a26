//! What a seal would do, decided from what was seen: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::audit::Seen;
use super::super::catalogue::{self, Act, Operation};
use super::super::selection::Selection;
use crate::system::root::Kind;

/// One file, and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The operation that it belongs to.
    pub operation: &'static str,
    /// The file.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// What is done.
    #[serde(serialize_with = "word")]
    pub act: Act,
    /// A key comes before its certificate.
    #[serde(skip)]
    first: bool,
}

/// One file that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Left {
    /// The file.
    pub path: String,
    /// What it is.
    pub what: String,
    /// Why it stays.
    pub why: String,
    /// The operation that would take it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'static str>,
}

/// Files that a hook makes together, and whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The hook.
    pub hook: String,
    /// Its files, links followed.
    pub files: Vec<PathBuf>,
    /// Links in trust directories that lead to them.
    pub links: Vec<PathBuf>,
    /// They are certificates and their keys.
    pub tls: bool,
    /// The hook makes them again unasked.
    pub replaceable: bool,
    /// Whose they are, in words.
    pub verdict: String,
}

/// Everything that a seal would do, in its order, and what it would leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Work {
    /// What is done.
    pub steps: Vec<Step>,
    /// Directories that go with what was in them, deepest first, if nothing else is in them.
    pub directories: Vec<PathBuf>,
    /// What is left.
    pub left: Vec<Left>,
    paths: BTreeSet<PathBuf>,
}

impl Work {
    /// Says whether a file loses what it has.
    pub fn takes(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }

    /// Says whether a file is taken, or left for a reason that is known.
    pub fn mentions(&self, path: &Path) -> bool {
        self.takes(path) || self.left.iter().any(|left| Path::new(&left.path) == path)
    }
}

/// Decides what is done with what was seen, and with the files of hooks.
pub fn decide(selection: &Selection, seen: &[Seen], owned: &[Owned]) -> Work {
    let mut taken: BTreeMap<PathBuf, Step> = BTreeMap::new();
    let mut left = Vec::new();
    let mut directories = Vec::new();
    let by_path: BTreeMap<&Path, &Seen> = seen.iter().map(|one| (one.path.as_path(), one)).collect();
    for one in seen {
        if let Some((operation, item)) = one.known {
            match place(one, item.act) {
                Place::Directory if selection.has(operation) => directories.push(one.path.clone()),
                Place::File if !selection.has(operation) => {
                    if !one.public && (operation.reported || !one.found.is_empty()) {
                        left.push(not_selected(&one.path, operation));
                    }
                }
                Place::File => {
                    let step = Step {
                        operation: operation.name,
                        path: one.path.clone(),
                        act: item.act,
                        first: !one.found.is_empty(),
                    };
                    taken.insert(one.path.clone(), step);
                }
                Place::Directory | Place::Nowhere => {}
            }
        }
    }
    for bundle in owned {
        of_hook(selection, bundle, &by_path, &mut taken, &mut left);
    }
    if selection.has_name("tls-keys-foreign") {
        let keys = seen.iter().filter(|one| is_private_key(one) && !taken.contains_key(&one.path));
        let keys: Vec<Step> = keys.map(|one| gone("tls-keys-foreign", &one.path, true)).collect();
        left.retain(|one| !keys.iter().any(|key| key.path == Path::new(&one.path)));
        taken.extend(keys.into_iter().map(|step| (step.path.clone(), step)));
    }
    left.retain(|one| !taken.contains_key(Path::new(&one.path)));
    directories.sort_by(|a, b| b.cmp(a));
    let paths = taken.keys().cloned().collect();
    let mut steps: Vec<Step> = taken.into_values().collect();
    let text_last = |step: &Step| matches!(step.act, Act::Write(_));
    steps.sort_by_key(|step| (order(step.operation), !step.first, text_last(step)));
    Work { steps, directories, left, paths }
}

/// Where a file stands towards what would be done with it.
enum Place {
    File,
    Directory,
    /// Already as it shall be, or of a kind that is never touched.
    Nowhere,
}

fn place(one: &Seen, act: Act) -> Place {
    match (one.kind, act) {
        _ if one.done => Place::Nowhere,
        (Kind::File, Act::Unlink) => Place::Nowhere,
        (Kind::File, _) | (Kind::Link, Act::Unlink | Act::RemoveTree) => Place::File,
        (Kind::Directory, Act::RemoveTree) => Place::Directory,
        _ => Place::Nowhere,
    }
}

fn of_hook(
    selection: &Selection,
    bundle: &Owned,
    seen: &BTreeMap<&Path, &Seen>,
    taken: &mut BTreeMap<PathBuf, Step>,
    left: &mut Vec<Left>,
) {
    let name = if bundle.tls { "tls-keys" } else { "hook-secrets" };
    let (wanted, why) = match (bundle.replaceable, bundle.tls) {
        (true, _) => (selection.has_name(name), None),
        (false, _) => (selection.has_name("tls-keys-foreign"), Some("tls-keys-foreign")),
    };
    let holds_key = |path: &Path| seen.get(path).is_some_and(|one| !one.found.is_empty());
    // A secret that an operation knows is left to that operation.
    let free =
        |path: &&PathBuf| !seen.get(path.as_path()).is_some_and(|one| !bundle.tls && one.known.is_some());
    if wanted {
        for path in bundle.files.iter().filter(free).chain(&bundle.links) {
            let step = gone(why.unwrap_or(name), path, holds_key(path));
            taken.entry(path.clone()).or_insert(step);
        }
    } else {
        // Only what holds a secret has to be named: the certificate of a key is public.
        let keys = bundle.files.iter().filter(free).filter(|path| holds_key(path));
        left.extend(keys.map(|path| Left {
            path: path.display().to_string(),
            what: format!("key of the hook {}", bundle.hook),
            why: bundle.verdict.clone(),
            operation: why.or(Some(name)),
        }));
    }
}

fn not_selected(path: &Path, operation: &Operation) -> Left {
    let why = if operation.default {
        "deselected".to_owned()
    } else {
        format!("comes back: {}", operation.returns)
    };
    Left {
        path: path.display().to_string(),
        what: operation.title.to_owned(),
        why,
        operation: Some(operation.name),
    }
}

fn gone(operation: &'static str, path: &Path, first: bool) -> Step {
    Step { operation, path: path.to_owned(), act: Act::Remove, first }
}

/// A key that somebody may serve, where an administrator puts one; keys in /usr are examples and tests
/// of packages.
fn is_private_key(one: &Seen) -> bool {
    const KINDS: [&str; 4] = ["pem-private-key", "der-private-key", "pkcs12", "java-keystore"];
    let of_packages = one.path.starts_with("/usr") && !one.path.starts_with("/usr/local");
    let known = one.known.is_some();
    !known && !of_packages && one.found.iter().any(|found| KINDS.contains(&found.rule))
}

/// As the catalogue has them, but the machine-id at the very end.
fn order(operation: &str) -> usize {
    if operation == LAST {
        return usize::MAX;
    }
    catalogue::operations().position(|one| one.name == operation).unwrap_or(usize::MAX - 1)
}

/// What is done when everything else is.
pub(super) const LAST: &str = "machine-id";

fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn word<S: serde::Serializer>(act: &Act, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(act.word())
}

impl Act {
    /// What was done, in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Remove | Self::RemoveTree | Self::Unlink => "removed",
            Self::Empty => "emptied",
            Self::DropLines(_) => "lines removed",
            Self::Write(_) => "reset",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::content::Found;
    use super::*;

    fn seen(path: &str, rule: Option<&'static str>) -> Seen {
        let found = rule.map(|rule| Found { rule, detail: None, fingerprints: Vec::new() });
        Seen {
            path: path.into(),
            kind: Kind::File,
            size: 1,
            known: catalogue::Index::default().find(Path::new(path), b"InitiatorName="),
            done: false,
            public: false,
            found: found.into_iter().collect(),
        }
    }

    fn owned(replaceable: bool, tls: bool, path: &str) -> Owned {
        Owned {
            hook: "demo".into(),
            files: vec![path.into()],
            links: Vec::new(),
            tls,
            replaceable,
            verdict: "foreign: issued by CA".into(),
        }
    }

    #[test]
    fn what_becomes_of_a_file() {
        const KEY: &str = "/etc/pki/tls/private/x.key";
        const HOST: &str = "/etc/ssh/ssh_host_rsa_key";
        let key = Some("pem-private-key");
        let all = "defaults,tls-keys-foreign";
        // name, selection, path, found, hook that has it, operation that takes it, operation that would
        type Text = Option<&'static str>;
        type Row = (&'static str, &'static str, &'static str, Text, Option<Owned>, Text, Text);
        let cases: [Row; 14] = [
            ("a host key", "defaults", HOST, Some("openssh-private-key"), None, Some("ssh-hostkeys"), None),
            ("deselected", "defaults,-ssh-hostkeys", HOST, None, None, None, Some("ssh-hostkeys")),
            (
                "a hook's host key",
                "ssh-hostkeys",
                HOST,
                None,
                Some(owned(true, false, HOST)),
                Some("ssh-hostkeys"),
                None,
            ),
            (
                "a hook's host key, deselected",
                "defaults,-ssh-hostkeys",
                HOST,
                None,
                Some(owned(true, false, HOST)),
                None,
                Some("ssh-hostkeys"),
            ),
            ("guarded", "defaults", "/var/db/tang/a.jwk", None, None, None, Some("tang-keys")),
            ("guarded, asked for", "all", "/var/db/tang/a.jwk", None, None, Some("tang-keys"), None),
            ("ours", "defaults", KEY, key, Some(owned(true, true, KEY)), Some("tls-keys"), None),
            (
                "ours, deselected",
                "defaults,-tls-keys",
                KEY,
                key,
                Some(owned(true, true, KEY)),
                None,
                Some("tls-keys"),
            ),
            ("a CA's", "defaults", KEY, key, Some(owned(false, true, KEY)), None, Some("tls-keys-foreign")),
            (
                "a CA's, asked for",
                all,
                KEY,
                key,
                Some(owned(false, true, KEY)),
                Some("tls-keys-foreign"),
                None,
            ),
            ("nobody's", "defaults", KEY, key, None, None, None),
            ("nobody's, asked for", all, KEY, key, None, Some("tls-keys-foreign"), None),
            ("a package's example", all, "/usr/share/doc/x.key", key, None, None, None),
            (
                "a hook's secret",
                "defaults",
                "/etc/x",
                None,
                Some(owned(true, false, "/etc/x")),
                Some("hook-secrets"),
                None,
            ),
        ];
        for (case, selection, path, rule, hook, taken, left) in cases {
            let selection = Selection::operations(selection).unwrap();
            let hooks: Vec<Owned> = hook.into_iter().collect();
            let work = decide(&selection, &[seen(path, rule)], &hooks);
            assert_eq!(work.steps.first().map(|step| step.operation), taken, "{case}: {work:?}");
            assert_eq!(work.left.first().and_then(|left| left.operation), left, "{case}: {work:?}");
            assert_eq!(work.takes(Path::new(path)), taken.is_some(), "{case}");
            assert!(work.steps.len() + work.left.len() <= 1, "{case}: {work:?}");
        }
    }

    #[test]
    fn keys_go_first_and_the_machine_id_last() {
        let seen = [
            seen("/etc/machine-id", None),
            seen("/etc/ssh/ssh_host_rsa_key.pub", None),
            seen("/etc/ssh/ssh_host_rsa_key", Some("openssh-private-key")),
            seen("/root/.bash_history", None),
            seen("/var/lib/dbus/machine-id", None),
        ];
        let work = decide(&Selection::default(), &seen, &[]);
        let order: Vec<_> = work.steps.iter().map(|step| step.path.to_str().unwrap()).collect();
        let expected = [
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/ssh/ssh_host_rsa_key.pub",
            "/root/.bash_history",
            "/var/lib/dbus/machine-id",
            "/etc/machine-id",
        ];
        assert_eq!(order, expected);
    }
}
