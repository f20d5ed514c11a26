//! Where the tree is, and the texts of its `conf.d`.

use std::path::{Path, PathBuf};

use super::config::{self, Configuration, ServiceText, Text, Texts};
use crate::system::root::{Kind, PathError, Root};

/// Trees that are looked for last, in this order.
const TREES: [&str; 2] = ["/etc/reseed/manager", "/etc/ssl-mgr"];

/// Finds the tree: the first candidate that has a directory `conf.d`.
///
/// `named` is what `SSL_MGR_TOPDIR` says, `current` the current directory; both come first.
///
/// # Errors
/// [`PathError`] that names every candidate, when none has one.
pub fn find(root: &Root, named: Option<&Path>, current: Option<&Path>) -> Result<PathBuf, PathError> {
    // An empty variable is none; a relative one begins where we are.
    let named = named.filter(|named| !named.as_os_str().is_empty()).map(|named| match current {
        Some(current) => current.join(named),
        None => named.to_owned(),
    });
    let candidates: Vec<PathBuf> = named
        .into_iter()
        .chain(current.map(Path::to_owned))
        .filter(|candidate| candidate.is_absolute())
        .chain(TREES.map(PathBuf::from))
        .collect();
    for candidate in &candidates {
        if kind(root, &candidate.join("conf.d"))? == Some(Kind::Directory) {
            return Ok(candidate.clone());
        }
    }
    let names: Vec<_> = candidates.iter().map(|candidate| candidate.display().to_string()).collect();
    let message = format!(
        "no directory of this name in {}; set SSL_MGR_TOPDIR to the directory that holds it",
        names.join(", ")
    );
    Err(PathError::refused(Path::new("conf.d"), message))
}

/// Reads the configuration beneath `topdir/conf.d`.
///
/// # Errors
/// [`PathError`] when a directory, or one of the two files in `conf.d` itself, cannot be read; a
/// service's file that cannot be is that service's fault.
pub fn load(root: &Root, topdir: &Path) -> Result<Configuration, PathError> {
    Ok(config::read(&texts(root, topdir)?))
}

fn texts(root: &Root, topdir: &Path) -> Result<Texts, PathError> {
    let directory = topdir.join("conf.d");
    let text = |name: &str| {
        let path = directory.join(name);
        Ok(root.text(&path)?.map(|text| Text { path, text }))
    };
    let mut texts = Texts {
        topdir: topdir.to_owned(),
        site: text("ssl-mgr.conf")?,
        authorities: text("ca-info.conf")?,
        services: Vec::new(),
    };
    for (group, path) in entries(root, &directory)? {
        if kind(root, &path)? != Some(Kind::Directory) {
            continue;
        }
        for (service, path) in entries(root, &path)? {
            if kind(root, &path).is_ok_and(|kind| kind != Some(Kind::File)) {
                continue;
            }
            let (text, unread) = match root.text(&path) {
                Ok(text) => (text.unwrap_or_default(), None),
                Err(error) => (String::new(), Some(error.source.to_string())),
            };
            let (group, file) = (group.clone(), Text { path, text });
            texts.services.push(ServiceText { group, service, file, unread });
        }
    }
    Ok(texts)
}

/// What may be a group or a service: names in UTF-8 that are not hidden, sorted.
fn entries(root: &Root, directory: &Path) -> Result<Vec<(String, PathBuf)>, PathError> {
    let names = root.names(directory)?.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names
        .filter(|name| !name.starts_with('.'))
        .map(|name| {
            let path = directory.join(&name);
            (name, path)
        })
        .collect())
}

/// What is at a path, links followed.
fn kind(root: &Root, path: &Path) -> Result<Option<Kind>, PathError> {
    Ok(match root.status(path)? {
        Some(status) if status.kind == Kind::Link => {
            root.status(&root.resolve(path)?)?.map(|status| status.kind)
        }
        status => status.map(|status| status.kind),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let scratch = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = Root::open(scratch.path()).unwrap();
        (scratch, root)
    }

    #[test]
    fn the_first_tree_that_has_a_configuration() {
        let (_scratch, root) = tree(&[
            ("srv/tls/conf.d/ssl-mgr.conf", ""),
            ("home/conf.d/ssl-mgr.conf", ""),
            ("home/inner/conf.d/ssl-mgr.conf", ""),
            ("etc/ssl-mgr/conf.d/ssl-mgr.conf", ""),
            ("etc/file/conf.d", ""),
        ]);
        let cases = [
            ("named", Some("/srv/tls"), Some("/home"), "/srv/tls"),
            ("named from here", Some("inner"), Some("/home"), "/home/inner"),
            ("named without one", Some("/srv"), Some("/home"), "/home"),
            ("an empty name", Some(""), Some("/home"), "/home"),
            ("a file is none", Some("/etc/file"), Some("/"), "/etc/ssl-mgr"),
            ("neither", None, None, "/etc/ssl-mgr"),
        ];
        for (case, named, current, expected) in cases {
            let found = find(&root, named.map(Path::new), current.map(Path::new)).unwrap();
            assert_eq!(found, Path::new(expected), "{case}");
        }
        let (_other, root) = tree(&[("etc/reseed/manager/conf.d/x", ""), ("etc/ssl-mgr/conf.d/x", "")]);
        assert_eq!(find(&root, None, None).unwrap(), Path::new("/etc/reseed/manager"));
    }

    #[test]
    fn no_tree_names_every_candidate() {
        let (_scratch, root) = tree(&[]);
        let error = find(&root, Some(Path::new("/a")), Some(Path::new("/b"))).unwrap_err().to_string();
        assert_eq!(
            error,
            "conf.d: no directory of this name in /a, /b, /etc/reseed/manager, /etc/ssl-mgr; \
             set SSL_MGR_TOPDIR to the directory that holds it"
        );
    }

    #[test]
    fn what_lies_in_a_tree() {
        let (scratch, root) = tree(&[
            ("t/conf.d/ssl-mgr.conf", "[[groups]]\ndomain = \"g\"\nactive = true\nservices = [\"*\"]\n"),
            ("t/conf.d/README", "words"),
            ("t/conf.d/g/a", SERVICE),
            ("t/conf.d/g/notes", "words"),
            ("t/conf.d/g/.hidden", SERVICE),
            ("t/conf.d/g/directory/a", SERVICE),
            ("t/elsewhere", &SERVICE.replace("\"a\"", "\"linked\"")),
        ]);
        let directory = scratch.path().join("t/conf.d/g");
        std::os::unix::fs::symlink("../../elsewhere", directory.join("linked")).unwrap();
        fs::write(directory.join("latin"), b"name='a'\ngroup='g'\nservice='\xe9'\n[KeyOpts]\n[X509]\n")
            .unwrap();
        let configuration = load(&root, Path::new("/t")).unwrap();
        let names: Vec<_> = configuration.services.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["g/a", "g/linked"]);
        let faults: Vec<_> = configuration.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["/t/conf.d/g/latin:3:10: an octet that is no UTF-8; write the file in UTF-8"]);
        assert_eq!(configuration.warnings, []);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_its_services_fault() {
        let (scratch, root) = tree(&[
            (
                "t/conf.d/ssl-mgr.conf",
                "[[groups]]\ndomain = \"g\"\nactive = true\nservices = [\"a\", \"big\"]\n",
            ),
            ("t/conf.d/g/a", SERVICE),
        ]);
        let big = fs::File::create(scratch.path().join("t/conf.d/g/big")).unwrap();
        big.set_len(17 << 20).unwrap();
        let configuration = load(&root, Path::new("/t")).unwrap();
        assert_eq!(configuration.services.len(), 1);
        let faults: Vec<_> = configuration.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["/t/conf.d/g/big: larger than 16 MiB"]);
        assert!(!configuration.is_broken);
    }

    const SERVICE: &str = "name = \"A\"\ngroup = \"g\"\nservice = \"a\"\n[KeyOpts]\n[X509]\n\
        CN = \"a.example\"\nO = \"Example\"\nC = \"US\"\n";
}
