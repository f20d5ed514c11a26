//! Behaviour as directories. Each directory in `cases/` is one case: the tree `root/`, the commands
//! in `cmd`, and in `expected` what must be true afterwards. A new case is a new directory.
//!
//! `cmd`, a line each (`#` begins a comment):
//!
//! ```text
//! reseed ARGUMENTS => EXIT STATUS
//! write PATH TEXT           the file holds this one line
//! remove PATH
//! mode OCTAL PATH
//! mark                      from here on `kept` and `made` compare
//! ```
//!
//! `expected`:
//!
//! ```text
//! kept PATH                 the same to the bit: content, owner, mode, inode, times
//! made PATH [SUBJECT]       new, with a certificate of this subject (RFC 2253), or a key
//! absent PATH
//! mode OCTAL PATH
//! says PATH TEXT            `openssl x509 -text` of it holds TEXT
//! hash-links DIRECTORY N    it has N links `<hash>.<number>`, which are those of their targets
//! out: TEXT   err: TEXT     one of the commands wrote this
//! never: TEXT               none did
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test looks at files from outside, and fails by panicking"
)]

mod support;

use std::fs;
use std::path::Path;

use support::{Kind, Machine, Ran, Snapshot};

#[test]
fn every_case_ends_as_expected() {
    if !support::has("openssl") {
        return;
    }
    let mut cases: Vec<_> =
        fs::read_dir(support::here().join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    let failures: Vec<String> = cases
        .iter()
        .flat_map(|case| {
            let wrong = run(case).err().unwrap_or_default();
            wrong.into_iter().map(|what| format!("{}: {what}", case.file_name().unwrap().display()))
        })
        .collect();
    println!("{} cases", cases.len());
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

fn run(case: &Path) -> Result<(), Vec<String>> {
    let machine = Machine::of_tree(&case.join("root"));
    machine.accounts(&["root", "mail"]);
    let mut marked = machine.snapshot();
    let mut ran = Vec::new();
    let mut wrong = Vec::new();
    for line in lines(&case.join("cmd")) {
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match (verb, rest.split_once(' ')) {
            ("reseed", _) => {
                let (arguments, status) = rest.rsplit_once(" => ").expect("=> EXIT STATUS");
                let one = machine.reseed(&arguments.split(' ').collect::<Vec<_>>());
                if one.status != Some(status.parse().unwrap()) {
                    wrong.push(format!("`{line}`: {:?}\n{}{}", one.status, one.out, one.err));
                }
                ran.push(one);
            }
            ("write", Some((path, text))) => machine.write(path, &format!("{text}\n")),
            ("remove", None) => fs::remove_file(machine.path(rest)).unwrap(),
            ("mode", Some((mode, path))) => machine.mode(path, u32::from_str_radix(mode, 8).unwrap()),
            ("mark", None) => marked = machine.snapshot(),
            _ => panic!("{}/cmd: what is `{line}`?", case.display()),
        }
    }
    let now = machine.snapshot();
    let seen = Outcome { machine: &machine, marked: &marked, now: &now, ran: &ran };
    let broken = lines(&case.join("expected"))
        .into_iter()
        .filter_map(|line| seen.holds(&line).err().map(|why| format!("`{line}` does not hold: {why}")));
    wrong.extend(broken);
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// What a case ended in.
struct Outcome<'a> {
    machine: &'a Machine,
    marked: &'a Snapshot,
    now: &'a Snapshot,
    ran: &'a [Ran],
}

impl Outcome<'_> {
    fn holds(&self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (path, detail) = rest.split_once(' ').unwrap_or((rest, ""));
        let out = || self.ran.iter().map(|ran| ran.out.as_str()).collect::<String>();
        let err = || self.ran.iter().map(|ran| ran.err.as_str()).collect::<String>();
        let check = |good: bool, found: String| if good { Ok(()) } else { Err(found) };
        match word {
            "kept" => {
                let (old, new) = (self.marked.get(path), self.now.get(path));
                let same = if old.kind == Kind::Directory { old.equals(new) } else { old == new };
                check(same, format!("{old:?} is now {new:?}"))
            }
            "made" if !self.now.has(path) => Err("it is not there".into()),
            "made" if self.marked.has(path) && self.marked.get(path) == self.now.get(path) => {
                Err("it is what it was".into())
            }
            "made" if detail.is_empty() => {
                let text = self.machine.read(path);
                check(text.contains("PRIVATE KEY"), text)
            }
            "made" => {
                let subject = self.machine.certificate(path).subject();
                check(subject == detail, subject)
            }
            "absent" => check(!self.now.has(path), "it is there".into()),
            "mode" => {
                let mode = self.now.get(detail).mode;
                check(u32::from_str_radix(path, 8) == Ok(mode), format!("{mode:o}"))
            }
            "says" => {
                let text = self.machine.certificate(path).ask(&["-text"]);
                check(text.contains(detail), text)
            }
            "hash-links" => self.hash_links(path, detail.parse().unwrap()),
            "out:" => check(out().contains(rest), out()),
            "err:" => check(err().contains(rest), err()),
            "never:" => check(!(out() + &err()).contains(rest), out() + &err()),
            _ => Err("nobody knows what this means; see cases.rs".into()),
        }
    }

    fn hash_links(&self, directory: &str, expected: usize) -> Result<(), String> {
        let links: Vec<&String> = self
            .now
            .paths()
            .filter(|path| Path::new(path.as_str()).parent() == Some(Path::new(directory)))
            .filter(|path| matches!(self.now.get(path).kind, Kind::Link(_)))
            .collect();
        for link in &links {
            let hash = self.machine.certificate(link).ask(&["-hash"]);
            if !link.contains(&hash) {
                return Err(format!("{link} leads to a certificate of the hash {hash}"));
            }
        }
        if links.len() == expected { Ok(()) } else { Err(format!("{links:?}")) }
    }
}
