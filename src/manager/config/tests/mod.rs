//! What the texts may say, and how each fault is told with its position.

mod authorities;
mod hostile;
mod service;
mod service_notes;
mod signers;
mod site;
mod site_notes;
mod trees;

use super::*;

const TREE: &str = "/t/conf.d/";

/// A site with an authority of its own, and one leaf that it signs.
pub(super) const SITE: &str = "[[groups]]\ndomain = \"ca\"\nservices = [\"root\"]\nactive = true\n\
    [[groups]]\ndomain = \"example.com\"\nservices = [\"web\"]\nactive = true\n";
pub(super) const AUTHORITIES: &str = "[root]\nca_type = \"self\"\n\
    [le]\nca_type = \"letsencrypt\"\nca_validation = \"dns-01\"\n[bought]\nca_type = \"manual\"\n";
pub(super) const ROOT: &str = "name = \"Root\"\ngroup = \"ca\"\nservice = \"root\"\n[KeyOpts]\n\
    [X509]\nCN = \"Root\"\nO = \"Example\"\nC = \"US\"\n[CA]\nsign_end_days = 3650\n";
pub(super) const WEB: &str = "name = \"Web\"\ngroup = \"example.com\"\nservice = \"web\"\n\
    signing_ca = \"root\"\n[KeyOpts]\n[X509]\nCN = \"example.com\"\nO = \"Example\"\nC = \"US\"\n";

/// Reads a tree at `/t` with these files, each by its path in `conf.d`.
pub(super) fn tree(files: &[(&str, &str)]) -> Configuration {
    let text = |path: &str, text: &str| Text { path: format!("{TREE}{path}").into(), text: text.to_owned() };
    let mut texts = Texts { topdir: "/t".into(), ..Texts::default() };
    for (path, content) in files {
        match (*path, path.split_once('/')) {
            ("ssl-mgr.conf", _) => texts.site = Some(text(path, content)),
            ("ca-info.conf", _) => texts.authorities = Some(text(path, content)),
            (_, Some((group, service))) => texts.services.push(ServiceText {
                group: group.to_owned(),
                service: service.to_owned(),
                file: text(path, content),
                unread: None,
            }),
            _ => panic!("{path} is in no group"),
        }
    }
    read(&texts)
}

/// The sample site with this `ssl-mgr.conf` in front of its groups.
pub(super) fn with_site(head: &str) -> Configuration {
    let site = format!("{head}{SITE}");
    tree(&[
        ("ssl-mgr.conf", &site),
        ("ca-info.conf", AUTHORITIES),
        ("ca/root", ROOT),
        ("example.com/web", WEB),
    ])
}

/// The sample site with another leaf.
pub(super) fn with_leaf(leaf: &str) -> Configuration {
    tree(&[
        ("ssl-mgr.conf", SITE),
        ("ca-info.conf", AUTHORITIES),
        ("ca/root", ROOT),
        ("example.com/web", leaf),
    ])
}

/// Notes as they are shown, without the directory in front.
pub(super) fn shown(notes: &[Fault]) -> Vec<String> {
    notes.iter().map(|note| note.to_string().replacen(TREE, "", 1)).collect()
}

/// One leaf as it is read, with no fault.
pub(super) fn leaf(configuration: &Configuration) -> &Service {
    assert_eq!(shown(&configuration.faults), [""; 0]);
    &configuration.services[&ServiceName::parse("example.com/web").unwrap()]
}

/// Checks that there is one note, and that it begins so.
pub(super) fn one(case: &str, notes: &[Fault], expected: &str) {
    let notes = shown(notes);
    assert!(
        notes.len() == 1 && notes[0].starts_with(expected),
        "{case}: expected {expected:?}, found {notes:#?}"
    );
}
