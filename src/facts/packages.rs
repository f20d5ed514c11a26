//! Which hooks apply to a root: by their files, and by the package database only where no file
//! decides, because asking a database costs more than everything else a quiet run does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::hook::{Catalogue, Hook, HookName};
use crate::system::process;
use crate::system::root::Root;

const DPKG_STATUS: &str = "/var/lib/dpkg/status";
const RPM_DATABASES: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];

/// The hooks that apply, in their order, and why the others do not.
pub fn applicable<'a>(root: &Root, hooks: &'a Catalogue) -> (Vec<&'a Hook>, BTreeMap<HookName, String>) {
    let exists = |path: &Path| {
        root.resolve(path).and_then(|real| root.status(&real)).is_ok_and(|found| found.is_some())
    };
    let by_file: BTreeSet<&HookName> = hooks
        .iter()
        .filter(|hook| hook.applies.files.iter().any(|f| exists(f)))
        .map(|hook| &hook.name)
        .collect();
    let asked: BTreeSet<&str> = hooks
        .iter()
        .filter(|hook| !by_file.contains(&hook.name))
        .flat_map(|hook| hook.applies.packages.iter().map(String::as_str))
        .collect();
    let installed = installed(root, &asked);
    let mut idle = BTreeMap::new();
    let applicable = hooks
        .iter()
        .filter(|hook| {
            let applies = by_file.contains(&hook.name)
                || hook.applies.packages.iter().any(|package| installed.contains(package.as_str()));
            if !applies {
                idle.insert(hook.name.clone(), why_not(hook));
            }
            applies
        })
        .collect();
    (applicable, idle)
}

fn why_not(hook: &Hook) -> String {
    let files = hook.applies.files.iter().map(|path| path.display().to_string());
    let packages = hook.applies.packages.iter().map(|package| format!("the package {package}"));
    format!("there is neither of {}", files.chain(packages).collect::<Vec<_>>().join(", "))
}

fn installed<'a>(root: &Root, asked: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    if asked.is_empty() {
        return BTreeSet::new();
    }
    if let Ok(Some(status)) = root.text(Path::new(DPKG_STATUS)) {
        return in_dpkg_status(&status, asked);
    }
    let has_rpm = RPM_DATABASES.iter().any(|path| matches!(root.status(Path::new(path)), Ok(Some(_))));
    if has_rpm {
        asked.iter().copied().filter(|package| in_rpm(root, package)).collect()
    } else {
        BTreeSet::new()
    }
}

/// deb-control(5) paragraphs: `Package:` and `Status: install ok installed`.
fn in_dpkg_status<'a>(status: &str, asked: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    status
        .split("\n\n")
        .filter(|paragraph| {
            paragraph.lines().any(|line| line.starts_with("Status: ") && line.ends_with(" installed"))
        })
        .filter_map(|paragraph| paragraph.lines().find_map(|line| line.strip_prefix("Package: ")))
        .filter_map(|package| asked.get(package).copied())
        .collect()
}

fn in_rpm(root: &Root, package: &str) -> bool {
    let directory = root.directory().display().to_string();
    let question = ["rpm", "--root", &directory, "-q", "--quiet", "--", package].map(str::to_owned);
    process::run(&question, Duration::from_secs(20), process::KEPT).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let status = "Package: apache2\nStatus: install ok installed\nVersion: 2\n\n\
            Package: sendmail-bin\nStatus: deinstall ok config-files\n\n\
            Package: apache2-bin\nStatus: install ok half-installed\n";
        let asked = BTreeSet::from(["apache2", "sendmail-bin", "apache2-bin", "none"]);
        assert_eq!(in_dpkg_status(status, &asked), BTreeSet::from(["apache2"]));
    }
}
