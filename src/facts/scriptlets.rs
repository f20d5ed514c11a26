//! The scripts of a root's installed packages, and the files of some of them: dpkg keeps both as
//! texts, rpm is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::census::Script;
use crate::system::process;
use crate::system::root::{PathError, Root};

const DPKG: &str = "/var/lib/dpkg/info";
/// Scripts of a package that run when it is installed.
const DPKG_SCRIPTS: [&str; 3] = ["preinst", "postinst", "config"];
/// Where an rpm database is, and by which of its files it is known.
const RPM: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
const RPM_FILES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];
const RPM_SCRIPTS: [(&str, &str); 8] = [
    ("pretrans", "%{PRETRANS}"),
    ("pre", "%{PREIN}"),
    ("post", "%{POSTIN}"),
    ("posttrans", "%{POSTTRANS}"),
    ("trigger", "[%{TRIGGERSCRIPTS}\n]"),
    ("filetrigger", "[%{FILETRIGGERSCRIPTS}\n]"),
    ("transfiletrigger", "[%{TRANSFILETRIGGERSCRIPTS}\n]"),
    ("verify", "%{VERIFYSCRIPT}"),
];
/// Between packages and between their scripts: no script has these.
const RECORD: char = '\u{1e}';
const FIELD: char = '\u{1f}';
const PATIENCE: Duration = Duration::from_secs(60);
/// Octets of an answer; all scripts of a large system have a tenth of that.
const ANSWER: u64 = 64 * 1024 * 1024;

/// The packages' scripts could not be read, in words.
#[derive(Debug, thiserror::Error)]
pub enum ScriptletError {
    /// A file of dpkg's.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The rpm program.
    #[error("the rpm database cannot be asked: {0}")]
    Rpm(String),
    /// There is nothing to be asked.
    #[error("this root has no package database: there is neither {DPKG} nor a database of rpm")]
    None,
}

/// The scripts that run when packages are installed.
///
/// # Errors
/// [`ScriptletError`] when there is no package database, or one cannot be read.
pub fn scripts(root: &Root) -> Result<Vec<Script>, ScriptletError> {
    let has_dpkg = root.status(Path::new(DPKG))?.is_some();
    let rpm = rpm_database(root);
    if !has_dpkg && rpm.is_none() {
        return Err(ScriptletError::None);
    }
    let mut scripts = if has_dpkg { in_dpkg(root)? } else { Vec::new() };
    if let Some(database) = rpm {
        scripts.extend(records(&ask_rpm(root, database, &["-a", "--qf", &scripts_format()])?));
    }
    Ok(scripts)
}

/// The files of some packages.
///
/// # Errors
/// [`ScriptletError`] when a database cannot be read.
pub fn files(
    root: &Root,
    packages: &BTreeSet<&str>,
) -> Result<BTreeMap<String, BTreeSet<PathBuf>>, ScriptletError> {
    let mut files: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for (package, name) in dpkg_files(root, &["list"])? {
        if packages.contains(package.as_str()) {
            let list = root.text(&Path::new(DPKG).join(name))?.unwrap_or_default();
            files.entry(package).or_default().extend(list.lines().map(PathBuf::from));
        }
    }
    let others: Vec<&str> = packages.iter().copied().filter(|name| !files.contains_key(*name)).collect();
    let Some(database) = rpm_database(root).filter(|_| !others.is_empty()) else { return Ok(files) };
    let format = format!("[%{{=NAME}}{FIELD}%{{FILENAMES}}\n]");
    let mut question = vec!["--qf", &format, "--"];
    question.extend(others);
    // What rpm has to say beside that has no separator.
    for line in ask_rpm(root, database, &question)?.lines() {
        if let Some((package, path)) = line.split_once(FIELD) {
            files.entry(package.to_owned()).or_default().insert(path.into());
        }
    }
    Ok(files)
}

/// Files `PACKAGE.KIND` and `PACKAGE:ARCHITECTURE.KIND` of dpkg's, with their package.
fn dpkg_files(root: &Root, kinds: &[&str]) -> Result<Vec<(String, String)>, PathError> {
    let names = root.names(Path::new(DPKG))?;
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    let known = names.filter_map(|name| {
        let (package, kind) = name.rsplit_once('.')?;
        let package = package.split(':').next()?.to_owned();
        kinds.contains(&kind).then_some((package, name))
    });
    Ok(known.collect())
}

fn in_dpkg(root: &Root) -> Result<Vec<Script>, PathError> {
    let mut scripts = Vec::new();
    for (package, name) in dpkg_files(root, &DPKG_SCRIPTS)? {
        let text = root.text(&Path::new(DPKG).join(&name))?.unwrap_or_default();
        let kind = name.rsplit('.').next().unwrap_or_default().to_owned();
        scripts.push(Script { package, name: kind, text });
    }
    Ok(scripts)
}

fn rpm_database(root: &Root) -> Option<&'static str> {
    let has =
        |directory: &str, file: &str| matches!(root.status(&Path::new(directory).join(file)), Ok(Some(_)));
    RPM.into_iter().find(|directory| RPM_FILES.iter().any(|file| has(directory, file)))
}

fn ask_rpm(root: &Root, database: &str, question: &[&str]) -> Result<String, ScriptletError> {
    let directory = root.directory().display().to_string();
    let mut command = vec!["rpm", "--root", &directory, "--dbpath", database, "-q"];
    command.extend(question);
    let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
    process::run(&command, PATIENCE, ANSWER).map_err(ScriptletError::Rpm)
}

fn scripts_format() -> String {
    let fields: String = RPM_SCRIPTS.iter().map(|(_, tag)| format!("{FIELD}{tag}")).collect();
    format!("{RECORD}%{{NAME}}{fields}")
}

/// What rpm answers to [`scripts_format`]; what it says before the first record is for people.
fn records(answer: &str) -> Vec<Script> {
    let packages = answer.split(RECORD).skip(1).filter_map(|record| record.split_once(FIELD));
    packages
        .flat_map(|(package, texts)| {
            RPM_SCRIPTS.iter().zip(texts.split(FIELD)).map(|((name, _), text)| Script {
                package: package.to_owned(),
                name: (*name).to_owned(),
                text: text.to_owned(),
            })
        })
        .filter(|script| !script.text.trim().is_empty() && script.text != "(none)")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rpm_answers() {
        let answer = "warning: a word\n\u{1e}mod_ssl\u{1f}(none)\u{1f}\u{1f}umask 077\nsscg -q\u{1f}(none)\
            \u{1e}setup\u{1f}(none)\u{1e}";
        let found: Vec<_> = records(answer).into_iter().map(|s| (s.package, s.name, s.text)).collect();
        assert_eq!(found, [("mod_ssl".into(), "post".into(), "umask 077\nsscg -q".to_owned())]);
        assert!(records("error: no database").is_empty());
    }

    #[test]
    fn what_dpkg_keeps() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        assert!(matches!(scripts(&root), Err(ScriptletError::None)));
        let info = directory.path().join("var/lib/dpkg/info");
        std::fs::create_dir_all(&info).unwrap();
        for (name, text) in [
            ("ssh.postinst", "ssh-keygen -A"),
            ("lib:amd64.preinst", "true"),
            ("ssh.prerm", "rm -f /etc/x"),
            ("ssh.list", "/.\n/usr/sbin/sshd"),
            ("lib:amd64.list", "/usr/lib/x"),
            ("format", "1"),
        ] {
            std::fs::write(info.join(name), text).unwrap();
        }
        let found: Vec<_> = scripts(&root).unwrap().into_iter().map(|s| (s.package, s.name)).collect();
        assert_eq!(found, [("lib".into(), "preinst".into()), ("ssh".into(), "postinst".to_owned())]);
        let files = files(&root, &BTreeSet::from(["ssh"])).unwrap();
        assert!(files.len() == 1 && files["ssh"].contains(Path::new("/usr/sbin/sshd")));
    }
}
