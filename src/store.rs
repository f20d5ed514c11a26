//! Our own files: the directories of hooks, settings and seed with their precedence; the lock;
//! the ledger, the history and the backups on disk.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

use crate::config::{self, Settings};
use crate::fault::Fault;
use crate::hook::{Catalogue, Hook, HookName, manifest};
use crate::ledger::{Ledger, RunId};
use crate::seed::Subject;
use crate::system::process;
use crate::system::root::{self, Kind, Lock, PathError, Root};
use crate::transaction;

/// Directories of hooks, weakest first: packages, run time, the administrator.
pub const HOOKS: [&str; 3] = ["/usr/lib/reseed/hooks.d", "/run/reseed/hooks.d", "/etc/reseed/hooks.d"];
/// What is recorded.
pub const LEDGER: &str = "/var/lib/reseed/ledger.toml";
/// A line for everything that was changed.
pub const HISTORY: &str = "/var/lib/reseed/history.jsonl";
/// What runs replaced.
pub const BACKUPS: &str = "/var/lib/reseed/backups";

/// When the last run that waited for a change to come to rest ended, in seconds since 1970.
const LAST_RUN: &str = "/run/reseed/last-run";
const STATE: &str = "/var/lib/reseed";
const RETRYING: &str = "/run/reseed/retrying";
const LOCK: &str = "/run/reseed/lock";
const SETTINGS: &str = "/etc/reseed/reseed.toml";
const SETTINGS_FRAGMENTS: [&str; 3] =
    ["/usr/lib/reseed/reseed.toml.d", "/run/reseed/reseed.toml.d", "/etc/reseed/reseed.toml.d"];
/// The seed, weakest first; between the vendor's and the site's stands the systemd credential.
const SEED_DEFAULT: &str = "/usr/share/reseed/seed.toml";
const SEED_CREDENTIAL: &str = "/run/credentials/@system/reseed.seed";
/// The site's own seed.
pub const SEED: &str = "/etc/reseed/seed.toml";
const SEED_FRAGMENTS: [&str; 1] = ["/etc/reseed/seed.d"];

/// Something of ours cannot be had: a text that is wrong, or a file that does not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A text that cannot be understood: exit status 2.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The system refused.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Takes the lock of a root; nothing when another run holds it.
///
/// # Errors
/// [`PathError`]
pub fn lock(root: &Root) -> Result<Option<Lock>, PathError> {
    root.lock(Path::new(LOCK))
}

/// Reads the settings.
///
/// # Errors
/// [`StoreError`]
pub fn settings(root: &Root) -> Result<Settings, StoreError> {
    let fragments = fragments(root, &SETTINGS_FRAGMENTS.map(Path::new))?;
    // What packages bring is weaker than the administrator's file.
    let (theirs, others): (Vec<_>, Vec<_>) = fragments.into_iter().partition(|path| path.starts_with("/usr"));
    let files = theirs.into_iter().chain([PathBuf::from(SETTINGS)]).chain(others);
    let mut texts = Vec::new();
    for path in files {
        texts.extend(root.text(&path)?.map(|text| (path, text)));
    }
    let texts: Vec<(&Path, &str)> =
        texts.iter().map(|(path, text)| (path.as_path(), text.as_str())).collect();
    Ok(config::parse(&texts)?)
}

/// Reads the seed, and names the files that it came from.
///
/// # Errors
/// [`StoreError`]
pub fn seed(root: &Root) -> Result<(Subject, Vec<PathBuf>), StoreError> {
    let mut files = vec![PathBuf::from(SEED_DEFAULT)];
    if root.is_live() {
        files.push(PathBuf::from(SEED_CREDENTIAL));
    }
    files.push(PathBuf::from(SEED));
    files.extend(fragments(root, &SEED_FRAGMENTS.map(Path::new))?);
    let mut subject = Subject::default();
    let mut read = Vec::new();
    for path in files {
        if let Some(text) = root.text(&path)? {
            subject = subject.overlaid(Subject::parse(&path, &text)?);
            read.push(path);
        }
    }
    Ok((subject, read))
}

/// A hook file that counts, with the root that it lies in.
type HookFile<'a> = (&'a Root, PathBuf);

/// The hooks in force, and the faults of those that are not for that reason. `below` is a further
/// directory of the caller's own system, weaker than all others, opened as a root of its own.
///
/// # Errors
/// [`PathError`] when a directory cannot be read.
pub fn hooks(root: &Root, below: Option<&Root>) -> Result<(Catalogue, Vec<Fault>), PathError> {
    let mut hooks = Vec::new();
    let mut faults = Vec::new();
    for (name, (root, path)) in hook_files(root, below)? {
        // The administrator switches a hook off with a link to /dev/null.
        if root.link_target(&path)?.is_some_and(|target| target == Path::new("/dev/null")) {
            continue;
        }
        // One of the caller's own system is named by where it lies there.
        let shown = match below {
            Some(below) if std::ptr::eq(root, below) => {
                below.directory().join(path.file_name().unwrap_or_default())
            }
            _ => path.clone(),
        };
        match read_hook(root, &path, &shown, &name) {
            Ok(hook) => hooks.push(hook),
            Err(fault) => faults.push(fault),
        }
    }
    Ok((hooks.into_iter().collect(), faults))
}

/// The hook files that count, by the hook's name: a later directory replaces an earlier one's, and in
/// one directory a declaration a program. A program of a root that does not run is none: nothing of
/// such a root is ever run here.
fn hook_files<'a>(
    root: &'a Root,
    below: Option<&'a Root>,
) -> Result<BTreeMap<OsString, HookFile<'a>>, PathError> {
    let mut files = BTreeMap::new();
    let sources = below.map(|below| (below, Path::new("/"))).into_iter();
    for (root, directory) in sources.chain(HOOKS.iter().map(|directory| (root, Path::new(*directory)))) {
        for name in root.names(directory)? {
            let path = directory.join(&name);
            if let Some(stem) = Path::new(&name).file_stem().filter(|_| is_declaration(&path)) {
                files.insert(stem.to_owned(), (root, path));
            } else if root.is_live() && may_be_program(root, &path) {
                files.insert(name, (root, path));
            }
        }
    }
    Ok(files)
}

fn is_declaration(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// As for run-parts(8), a name with a dot is a copy or a backup that somebody left. A link to
/// /dev/null, which switches a program off, is a device.
fn may_be_program(root: &Root, path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let status = root.resolve(path).and_then(|real| root.status(&real)).ok().flatten();
    let runs = |status: root::Status| match status.kind {
        Kind::File => status.mode & 0o111 != 0,
        kind => kind == Kind::Other,
    };
    HookName::parse(name).is_some() && !name.contains('.') && status.is_some_and(runs)
}

/// How long a program may take to say what it is: a boot waits for it.
const DESCRIBE: Duration = Duration::from_secs(5);
/// Octets of what it may say.
const DESCRIPTION: u64 = 64 * 1024;

/// Asks a program what it is. Whoever calls has seen to it that only its owner writes it.
///
/// # Errors
/// [`Fault`] when it does not answer, or what it says is no hook.
pub fn describe(root: &Root, path: &Path, shown: &Path, name: HookName) -> Result<Hook, Fault> {
    let program = root.directory().join(path.strip_prefix("/").unwrap_or(path));
    let command = [program.display().to_string(), "describe".to_owned()];
    let text = process::run(&command, DESCRIBE, DESCRIPTION).map_err(|error| Fault::whole(shown, error))?;
    manifest::describe(name, shown, &text)
}

fn read_hook(root: &Root, path: &Path, shown: &Path, name: &OsStr) -> Result<Hook, Fault> {
    let stem = name.to_str().and_then(HookName::parse);
    let name = stem.ok_or_else(|| Fault::whole(shown, "the file's name is no name of a hook"))?;
    only_the_owner_writes(root, path).map_err(|reason| Fault::whole(shown, reason))?;
    if !is_declaration(path) {
        return describe(root, path, shown, name);
    }
    let text = root.read(path).map_err(|error| Fault::whole(shown, error.source.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| Fault::whole(shown, "the text is not UTF-8"))?;
    manifest::parse(name, shown, &text)
}

/// A hook acts with the rights of root, so nobody else may have written it.
///
/// # Errors
/// In words, who else may.
pub fn only_the_owner_writes(root: &Root, path: &Path) -> Result<(), String> {
    let failed = |error: PathError| error.source.to_string();
    let real = root.resolve(path).map_err(failed)?;
    let status = root.status(&real).map_err(failed)?.ok_or("the file is not there")?;
    if status.user != 0 && status.user != root::effective_user() {
        return Err(format!("it belongs to user {}, not to root; refused", status.user));
    }
    if status.kind == Kind::File && status.mode & 0o022 != 0 {
        return Err(format!("others may write to it (mode {:04o}); refused; `chmod go-w` it", status.mode));
    }
    Ok(())
}

/// Says whether the timer that tries again was started in this boot.
///
/// # Errors
/// [`PathError`]
pub fn is_retrying(root: &Root) -> Result<bool, PathError> {
    Ok(root.status(Path::new(RETRYING))?.is_some())
}

/// Remembers, for this boot, whether the timer that tries again was started.
///
/// # Errors
/// [`PathError`]
pub fn mark_retrying(root: &Root, retrying: bool) -> Result<(), PathError> {
    let path = Path::new(RETRYING);
    if retrying { transaction::replace(root, path, b"", 0o644) } else { root.remove(&root.resolve(path)?) }
}

/// Reads the ledger; an empty one where none is yet.
///
/// # Errors
/// [`StoreError`]
pub fn ledger(root: &Root) -> Result<Ledger, StoreError> {
    let path = Path::new(LEDGER);
    match root.text(path)? {
        Some(text) => Ok(Ledger::parse(path, &text)?),
        None => Ok(Ledger::default()),
    }
}

/// Writes the ledger, durably.
///
/// # Errors
/// [`PathError`]; the old one stands.
pub fn save_ledger(root: &Root, _lock: &Lock, ledger: &Ledger) -> Result<(), PathError> {
    let path = Path::new(LEDGER);
    let text = ledger.to_text().map_err(|error| PathError::refused(path, error))?;
    root.make_directory(Path::new(STATE), 0o700)?;
    transaction::replace(root, path, text.as_bytes(), 0o600)
}

/// Adds a line to the history: one JSON object, no secret in it.
///
/// # Errors
/// [`PathError`]
pub fn note(root: &Root, _lock: &Lock, line: &serde_json::Value) -> Result<(), PathError> {
    root.make_directory(Path::new(STATE), 0o700)?;
    root.append(Path::new(HISTORY), &line.to_string())
}

/// When the last run that waited for a change to come to rest ended; nothing in a new boot.
///
/// # Errors
/// [`PathError`]
pub fn last_run(root: &Root) -> Result<Option<OffsetDateTime>, PathError> {
    let seconds = root.text(Path::new(LAST_RUN))?.and_then(|text| text.trim().parse().ok());
    Ok(seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()))
}

/// Records when such a run ended.
///
/// # Errors
/// [`PathError`]
pub fn save_last_run(root: &Root, at: OffsetDateTime) -> Result<(), PathError> {
    transaction::replace(root, Path::new(LAST_RUN), format!("{}\n", at.unix_timestamp()).as_bytes(), 0o644)
}

/// Where a run keeps what one hook's files were.
pub fn backup_directory(run: &RunId, hook: &HookName) -> PathBuf {
    Path::new(BACKUPS).join(run.as_str()).join(hook.as_str())
}

/// The runs whose backups are kept, oldest first, each with its hooks.
///
/// # Errors
/// [`PathError`]
pub fn backups(root: &Root) -> Result<Vec<(RunId, Vec<HookName>)>, PathError> {
    let mut runs = Vec::new();
    for name in root.names(Path::new(BACKUPS))? {
        let Some(run) = name.to_str().and_then(|name| RunId::try_from(name.to_owned()).ok()) else {
            continue;
        };
        let hooks = root.names(&Path::new(BACKUPS).join(run.as_str()))?;
        let hooks = hooks.iter().filter_map(|hook| HookName::parse(hook.to_str()?)).collect();
        runs.push((run, hooks));
    }
    Ok(runs)
}

/// Removes the backups of all but the last `keep` runs.
///
/// # Errors
/// [`PathError`]
pub fn prune_backups(root: &Root, keep: usize) -> Result<(), PathError> {
    let runs = backups(root)?;
    for (run, hooks) in runs.iter().take(runs.len().saturating_sub(keep)) {
        for hook in hooks {
            transaction::discard_backup(root, &backup_directory(run, hook))?;
        }
    }
    Ok(())
}

/// The `.toml` files of drop-in directories by name: a later directory replaces an earlier one's,
/// a link to `/dev/null` leaves nothing.
fn fragments(root: &Root, directories: &[&Path]) -> Result<Vec<PathBuf>, PathError> {
    let mut files = BTreeMap::new();
    for directory in directories {
        for name in root.names(directory)? {
            if Path::new(&name).extension().is_some_and(|extension| extension == "toml") {
                let path = directory.join(&name);
                let masked = root.link_target(&path)?.is_some_and(|target| target == Path::new("/dev/null"));
                files.insert(name, (!masked).then_some(path));
            }
        }
    }
    Ok(files.into_values().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const HOOK: &str = "version = 1\ndescription = \"DESCRIPTION\"\n[applies]\nfiles = [\"/x\"]\n[[certificate]]\n\
        [[certificate.file]]\npath = \"/x.pem\"\nholds = [\"key\", \"certificate\"]\n";

    #[test]
    fn settings_of_packages_are_weaker_than_the_administrators() {
        let days = |number| format!("[certificates]\ndays = {number}\n");
        let vendor = ("usr/lib/reseed/reseed.toml.d/90-vendor.toml", days(1));
        let own = ("etc/reseed/reseed.toml", days(2));
        let fragment = ("etc/reseed/reseed.toml.d/10-own.toml", days(3));
        for (case, files, expected) in [
            ("a package's", vec![&vendor], 1),
            ("the administrator's file", vec![&vendor, &own], 2),
            ("the administrator's fragment", vec![&vendor, &own, &fragment], 3),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = dir.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            let settings = settings(&Root::open(dir.path()).unwrap()).unwrap();
            assert_eq!(settings.certificates.days.count(), expected, "{case}");
        }
    }

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, description) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if *description == "/dev/null" {
                symlink(description, &path).unwrap();
            } else {
                std::fs::write(&path, HOOK.replace("DESCRIPTION", description)).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            }
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn later_directories_replace_earlier_ones_and_null_switches_off() {
        let (_dir, root) = machine(&[
            ("usr/lib/reseed/hooks.d/a.toml", "vendor"),
            ("usr/lib/reseed/hooks.d/b.toml", "vendor"),
            ("usr/lib/reseed/hooks.d/c.toml", "vendor"),
            ("run/reseed/hooks.d/b.toml", "run"),
            ("etc/reseed/hooks.d/b.toml", "site"),
            ("etc/reseed/hooks.d/c.toml", "/dev/null"),
            ("etc/reseed/hooks.d/README", "no hook"),
        ]);
        let (_below_dir, below) = machine(&[("a.toml", "below"), ("d.toml", "below")]);
        let (hooks, faults) = hooks(&root, Some(&below)).unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        let found: Vec<_> =
            hooks.iter().map(|hook| (hook.name.as_str(), hook.description.as_str())).collect();
        assert_eq!(found, [("a", "vendor"), ("b", "site"), ("d", "below")]);
    }

    #[test]
    fn one_bad_hook_does_not_stop_the_others() {
        let (dir, root) = machine(&[
            ("etc/reseed/hooks.d/good.toml", "good"),
            ("etc/reseed/hooks.d/open.toml", "open"),
            ("etc/reseed/hooks.d/typo.toml", "\"\ntypo = \"x"),
        ]);
        let open = dir.path().join("etc/reseed/hooks.d/open.toml");
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o666)).unwrap();
        let (hooks, faults) = hooks(&root, None).unwrap();
        assert_eq!(hooks.iter().map(|hook| hook.name.as_str()).collect::<Vec<_>>(), ["good"]);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(faults[0].starts_with("/etc/reseed/hooks.d/open.toml: others may write"), "{faults:?}");
        assert!(faults[1].starts_with("/etc/reseed/hooks.d/typo.toml:3:1: unknown field"), "{faults:?}");
    }
}
