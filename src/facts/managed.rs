//! What the certificate manager holds: the agent's own narrow look into its tree.
//!
//! `curr` is followed once, so that key, certificate and chain are of one version even while the manager
//! rolls. The agent asks for nothing else of the tree, and works where there is none.

use std::path::{Component, Path, PathBuf};

use time::OffsetDateTime;

use crate::artifact::{Held, Version};
use crate::config::{self, Directory};
use crate::manager::name::ServiceName;
use crate::pki::container;
use crate::pki::inspect::Certificate;
use crate::pki::key::Secret;
use crate::system::root::{Kind, PathError, Root};

/// Where the manager has its configuration and its state, best first; the last where there is none.
const TOPDIRS: [&str; 2] = ["/etc/reseed/manager", "/etc/ssl-mgr"];
/// The directory of its configuration.
const CONFIGURATION: &str = "conf.d";

/// The manager's directory: as the settings say, else where a configuration is found.
pub fn topdir(root: &Root, settings: &config::Manager) -> PathBuf {
    if let Some(topdir) = &settings.topdir {
        return Directory::path(topdir).to_owned();
    }
    let configured = TOPDIRS.iter().find(|topdir| is_there(root, &Path::new(topdir).join(CONFIGURATION)));
    PathBuf::from(configured.or(TOPDIRS.last()).unwrap_or(&""))
}

fn is_there(root: &Root, path: &Path) -> bool {
    root.resolve(path).and_then(|real| root.status(&real)).is_ok_and(|status| status.is_some())
}

/// Reads the current version of a managed certificate; what cannot be installed is told as a reason.
pub fn read(root: &Root, topdir: &Path, service: &ServiceName, now: OffsetDateTime) -> Held {
    match current(root, topdir, service, now) {
        Ok(version) => Held::Version(Box::new(version)),
        Err(Wrong::Path(error)) if error.is_denied() => Held::Hidden(error.to_string()),
        Err(Wrong::Path(error)) => Held::Nothing(error.to_string()),
        Err(Wrong::Says(why)) => Held::Nothing(why),
    }
}

/// Why there is nothing to be installed.
enum Wrong {
    Path(PathError),
    Says(String),
}

impl From<PathError> for Wrong {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::Says(why)
    }
}

fn current(root: &Root, topdir: &Path, service: &ServiceName, now: OffsetDateTime) -> Result<Version, Wrong> {
    let lineage = topdir.join("certs").join(service.group()).join(service.service());
    let curr = lineage.join("curr");
    let Some(target) = root.link_target(&curr)? else {
        return Err(absence(root, topdir, service, &curr)?.into());
    };
    let name = version_name(&target)
        .ok_or_else(|| format!("{} leads to {}, not to db/DATE", curr.display(), target.display()))?;
    let directory = lineage.join("db").join(&name);
    let text = |file: &str| root.read_optional(&directory.join(file));
    let there = |file: &str, content: Option<Vec<u8>>| {
        content.ok_or_else(|| format!("{} is missing", directory.join(file).display()))
    };
    let key = Secret::new(there("privkey.pem", text("privkey.pem")?)?);
    let certificates = container::read(&there("cert.pem", text("cert.pem")?)?).certificates;
    let chain = container::read(&text("chain.pem")?.unwrap_or_default()).certificates;
    let version = join(name, key, certificates, chain)
        .map_err(|why| format!("{} cannot be installed: {why}", directory.display()))?;
    in_force(&version.says, now).map_err(|why| format!("{}: {why}", directory.join("cert.pem").display()))?;
    Ok(version)
}

/// Why there is no link to a current version.
fn absence(root: &Root, topdir: &Path, service: &ServiceName, curr: &Path) -> Result<String, PathError> {
    let configuration = topdir.join(CONFIGURATION);
    if !is_there(root, &configuration) {
        return Ok(format!("the manager is not configured: there is no {}", configuration.display()));
    }
    let file = configuration.join(service.group()).join(service.service());
    if !is_there(root, &file) {
        return Ok(format!("the manager knows no such service: there is no {}", file.display()));
    }
    Ok(match root.status(curr)? {
        Some(status) if status.kind != Kind::Link => format!("{} is no link", curr.display()),
        _ => format!(
            "it has no current certificate yet; `reseed manager renew {service}` makes one, \
             `reseed manager roll {service}` puts it in force"
        ),
    })
}

/// `db/<date>`, which is a directory beside the link and nowhere else.
fn version_name(target: &Path) -> Option<String> {
    let mut parts = target.components();
    match (parts.next()?, parts.next()?, parts.next()) {
        (Component::Normal(db), Component::Normal(name), None) if db == "db" => {
            name.to_str().map(str::to_owned)
        }
        _ => None,
    }
}

/// Puts a version together from what its files hold, if it fits together.
fn join(
    name: String,
    key: Secret,
    certificates: Vec<Vec<u8>>,
    chain: Vec<Vec<u8>>,
) -> Result<Version, String> {
    let certificate = certificates.into_iter().next().ok_or("cert.pem holds no certificate")?;
    let says = Certificate::from_der(&certificate).map_err(|why| format!("cert.pem: {why}"))?;
    let (read, _) = container::read(key.reveal()).key.ok_or("privkey.pem holds no key")?;
    let public_digest = read.map_err(|why| format!("privkey.pem: {why}"))?.public_digest();
    if public_digest != says.public_digest {
        return Err("the key in privkey.pem belongs to another certificate than cert.pem".into());
    }
    let mut version =
        Version { name, key, public_digest, certificate, says, chain: Vec::new(), anchor: None };
    let mut last = version.says.clone();
    for der in chain {
        // Of a certificate that signed itself, the chain is itself.
        if last.self_signed {
            break;
        }
        let next = Certificate::from_der(&der).map_err(|why| format!("chain.pem: {why}"))?;
        if next.subject != last.issuer {
            return Err(format!(
                "chain.pem goes on with {}, but what is before it was issued by {}",
                next.subject_line(),
                last.issuer_line()
            ));
        }
        match next.self_signed {
            true => version.anchor = Some(der),
            false => version.chain.push(der),
        }
        last = next;
    }
    Ok(version)
}

fn in_force(says: &Certificate, now: OffsetDateTime) -> Result<(), String> {
    if says.not_after <= now {
        return Err(format!("the certificate ended on {}", says.not_after.date()));
    }
    if says.not_before > now {
        return Err(format!("the certificate holds from {} on", says.not_before.date()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::pki::issue::tests::made;
    use crate::pki::{Algorithm, Container};
    use crate::seed::Subject;

    fn pair(name: &str) -> (String, String) {
        let (_, certificate, key) = made(name, Algorithm::P256, &Subject::default());
        let key = key.to_pem(Container::Pkcs8).unwrap();
        (String::from_utf8(key.reveal().to_vec()).unwrap(), certificate)
    }

    fn machine(files: &[(&str, &str)], curr: Option<&str>) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join("etc/ssl-mgr").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        if let Some(target) = curr {
            let lineage = dir.path().join("etc/ssl-mgr/certs/example.com/web");
            std::fs::create_dir_all(&lineage).unwrap();
            symlink(target, lineage.join("curr")).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    const KEY: &str = "certs/example.com/web/db/1/privkey.pem";
    const CERT: &str = "certs/example.com/web/db/1/cert.pem";
    const CHAIN: &str = "certs/example.com/web/db/1/chain.pem";

    #[test]
    fn what_there_is_to_be_installed() {
        let service = ServiceName::parse("example.com/web").unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let ((key, cert), (other_key, other)) = (pair("www.example.com"), pair("ca.example.com"));
        let whole = [(KEY, key.as_str()), (CERT, cert.as_str()), (CHAIN, cert.as_str())];
        let configured = [("conf.d/example.com/web", "")];
        // name, files, link, years later, why not
        let cases: [(&str, &[(&str, &str)], _, _, _); 13] = [
            ("whole", &whole, Some("db/1"), 0, ""),
            ("no chain at all", &whole[..2], Some("db/1"), 0, ""),
            ("nothing", &[], None, 0, "there is no /etc/ssl-mgr/conf.d"),
            ("another service", &[("conf.d/a/b", "")], None, 0, "knows no such service"),
            ("nothing yet", &configured, None, 0, "no current certificate yet"),
            ("out of the lineage", &whole, Some("../other/db/1"), 0, "not to db/DATE"),
            ("absolute", &whole, Some("/etc/ssl-mgr/certs/example.com/web/db/1"), 0, "not to db/DATE"),
            ("half a version", &whole[..1], Some("db/1"), 0, "db/1/cert.pem is missing"),
            (
                "another key",
                &[(KEY, other_key.as_str()), (CERT, cert.as_str())],
                Some("db/1"),
                0,
                "belongs to another certificate",
            ),
            ("no key", &[(KEY, "x"), (CERT, cert.as_str())], Some("db/1"), 0, "holds no key"),
            ("no certificate", &[(KEY, key.as_str()), (CERT, "x")], Some("db/1"), 0, "holds no certificate"),
            ("gone by", &whole, Some("db/1"), 2, "the certificate ended on"),
            ("not yet", &whole, Some("db/1"), -2, "the certificate holds from"),
        ];
        for (case, files, curr, years, why) in cases {
            let (_dir, root) = machine(files, curr);
            let topdir = topdir(&root, &config::Manager::default());
            let now = now + time::Duration::days(365 * years);
            match read(&root, &topdir, &service, now) {
                Held::Version(version) => {
                    assert!(why.is_empty(), "{case}");
                    assert_eq!((version.name.as_str(), version.chain.len()), ("1", 0), "{case}");
                }
                Held::Nothing(said) => {
                    assert!(!why.is_empty() && said.contains(why), "{case}: {said}");
                }
                Held::Hidden(said) => panic!("{case}: {said}"),
            }
        }
        let wrong = join("1".into(), Secret::new(key), vec![], vec![]).unwrap_err();
        assert!(wrong.contains("no certificate") && !other.is_empty());
    }

    #[test]
    fn the_managers_place() {
        for (case, files, expected) in [
            ("none", &[][..], "/etc/ssl-mgr"),
            ("ssl-mgr's", &["etc/ssl-mgr/conf.d"], "/etc/ssl-mgr"),
            ("our own", &["etc/ssl-mgr/conf.d", "etc/reseed/manager/conf.d"], "/etc/reseed/manager"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for path in files {
                std::fs::create_dir_all(dir.path().join(path)).unwrap();
            }
            let root = Root::open(dir.path()).unwrap();
            assert_eq!(topdir(&root, &config::Manager::default()), Path::new(expected), "{case}");
        }
    }
}
