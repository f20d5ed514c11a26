//! What must be unique, operation by operation: where it lies, why it matters, how it comes back, and
//! what `reseed seal` does with it.
//!
//! An operation is a record; selection, help, `seal` and `audit` all read the same ones. Paths are
//! patterns of whole paths inside a root; `**` stands for any depth, and no pattern follows a link.

mod agents;
mod keys;
mod machine;
mod traces;

use std::path::Path;

/// One thing that `reseed seal` does, with the paths that it concerns.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its name on the command line; where virt-sysprep has the same operation, its name there.
    pub name: &'static str,
    /// What it takes out, in a few words.
    pub title: &'static str,
    /// Why it must not be shared, in one sentence.
    pub why: &'static str,
    /// Who makes it again, in words.
    pub returns: &'static str,
    /// Units of which one makes it again at boot; empty when none has to.
    pub makers: &'static [&'static str],
    /// Carried out unless deselected.
    pub default: bool,
    /// An audit reports the files, because they identify a machine or open something.
    pub reported: bool,
    /// The files.
    pub items: &'static [Item],
}

/// Files of one pattern and what becomes of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    /// Whole paths.
    pub pattern: &'static str,
    /// What is done.
    pub act: Act,
    /// A text without which the file is of no concern.
    pub needs: Option<&'static str>,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is removed.
    Remove,
    /// It is removed, and directories below the pattern's fixed part with it.
    RemoveTree,
    /// It is removed if it is a link, which no other of these touches.
    Unlink,
    /// It keeps its name, owner and mode, and loses its content.
    Empty,
    /// Its lines that begin with one of these words are removed.
    DropLines(&'static [&'static str]),
    /// It is replaced by this text.
    Write(&'static str),
}

/// What a machine-id says on a machine that is to get one at its first boot (machine-id(5)).
pub const UNINITIALIZED: &str = "uninitialized\n";

const fn remove(pattern: &'static str) -> Item {
    Item { pattern, act: Act::Remove, needs: None }
}

const fn tree(pattern: &'static str) -> Item {
    Item { pattern, act: Act::RemoveTree, needs: None }
}

const fn empty(pattern: &'static str) -> Item {
    Item { pattern, act: Act::Empty, needs: None }
}

const fn lines(pattern: &'static str, needs: &'static str, words: &'static [&'static str]) -> Item {
    Item { pattern, act: Act::DropLines(words), needs: Some(needs) }
}

/// Every operation, in the order of the list that users see.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    [machine::OPERATIONS, keys::OPERATIONS, agents::OPERATIONS, traces::OPERATIONS].into_iter().flatten()
}

/// The operation of a name.
pub fn operation(name: &str) -> Option<&'static Operation> {
    operations().find(|operation| operation.name == name)
}

/// The patterns of all operations, ready to be compared with many paths.
#[derive(Debug)]
pub struct Index(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    /// The pattern up to its first wildcard: most paths differ already there.
    fixed: &'static str,
    pattern: glob::Pattern,
    operation: &'static Operation,
    item: &'static Item,
}

impl Default for Index {
    fn default() -> Self {
        let entry = |operation: &'static Operation, item: &'static Item| {
            // Every pattern is compiled in a test; one that is none matches nothing.
            let pattern = glob::Pattern::new(item.pattern).ok()?;
            Some(Entry { fixed: fixed(item.pattern), pattern, operation, item })
        };
        let items = operations().flat_map(|operation| operation.items.iter().map(move |i| (operation, i)));
        Self(items.filter_map(|(operation, item)| entry(operation, item)).collect())
    }
}

impl Index {
    /// What the catalogue says of a file at this path with this much of its content.
    pub fn find(&self, path: &Path, head: &[u8]) -> Option<(&'static Operation, &'static Item)> {
        let text = path.to_str()?;
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
        let fits = |entry: &&Entry| {
            text.starts_with(entry.fixed)
                && entry.pattern.matches_with(text, options)
                && entry.item.concerns(head)
        };
        self.0.iter().find(fits).map(|entry| (entry.operation, entry.item))
    }
}

impl Item {
    fn concerns(&self, head: &[u8]) -> bool {
        self.needs.is_none_or(|needs| memchr::memmem::find(head, needs.as_bytes()).is_some())
    }
}

fn fixed(pattern: &'static str) -> &'static str {
    pattern.find(['*', '?', '[']).and_then(|at| pattern.get(..at)).unwrap_or(pattern)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_record_is_whole() {
        let mut names = BTreeSet::new();
        for operation in operations() {
            let name = operation.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()),
                "{name}"
            );
            for text in [operation.title, operation.why, operation.returns] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{name}: {text:?}");
            }
            for item in operation.items {
                assert!(item.pattern.starts_with('/'), "{name}: {}", item.pattern);
                glob::Pattern::new(item.pattern).unwrap_or_else(|error| panic!("{name}: {error}"));
                let below = item.act != Act::RemoveTree || item.pattern.ends_with("/**/*");
                assert!(below, "{name}: {} takes directories along", item.pattern);
            }
        }
        assert!(names.len() > 40, "{}", names.len());
    }

    #[test]
    fn paths_of_each_kind() {
        let index = Index::default();
        let cases = [
            ("a host key", "/etc/ssh/ssh_host_ed25519_key", "x", Some("ssh-hostkeys")),
            ("its public half", "/etc/ssh/ssh_host_rsa_key.pub", "x", Some("ssh-hostkeys")),
            ("the server's settings", "/etc/ssh/sshd_config", "x", None),
            ("a wildcard stays in its directory", "/home/a/b/.bash_history", "x", None),
            ("a user's history", "/home/a/.bash_history", "x", Some("bash-history")),
            ("a tree", "/var/lib/cloud/instances/i-1/sem/config_ssh", "x", Some("cloud-init")),
            ("directly in the tree", "/var/lib/cloud/instances/x", "x", Some("cloud-init")),
            (
                "an initiator",
                "/etc/iscsi/initiatorname.iscsi",
                "InitiatorName=iqn.x",
                Some("iscsi-initiator"),
            ),
            ("one to be made", "/etc/iscsi/initiatorname.iscsi", "GenerateName=yes", None),
            ("the survey's host", "/etc/popularity-contest.conf", "MY_HOSTID=\"a\"", Some("popcon-hostid")),
            ("no survey", "/etc/popularity-contest.conf", "PARTICIPATE=no", None),
            ("a log", "/var/log/apt/history.log", "x", Some("logfiles")),
            ("the same below somewhere", "/srv/image/etc/machine-id", "x", None),
        ];
        for (case, path, content, expected) in cases {
            let found = index.find(Path::new(path), content.as_bytes()).map(|(operation, _)| operation.name);
            assert_eq!(found, expected, "{case}");
        }
    }
}
