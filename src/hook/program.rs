//! A hook that is a program: what it says of itself, and how it is called.
//!
//! ```text
//! HOOK describe            prints the hook as TOML, with [executable] in place of [[certificate]]
//! HOOK check FACTS         the last line: "fresh", "stale: WHY" or "placeholder: WHY"
//! HOOK make STAGING FACTS  writes each file beneath STAGING at its absolute path
//! ```
//!
//! Each ends with 0; another status, or more time than it has asked for, is a failure. FACTS is one
//! argument of JSON. Pure: whoever runs it is elsewhere.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Families;
use crate::identity::Identity;
use crate::seed::Subject;

/// What a program makes, and what it may do meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Program {
    /// The program itself, as seen from inside the root.
    pub path: PathBuf,
    /// The files that it makes, all of them each time.
    pub makes: Vec<PathBuf>,
    /// Paths that it has to write to beside the staging directory; everything else is read-only for it.
    pub writes: Vec<PathBuf>,
    /// Whether it needs the network.
    pub network: bool,
    /// How long one call may take, in seconds.
    pub limit_seconds: u32,
}

impl Program {
    /// A call of it, in a root that lies at `directory`.
    pub fn call(&self, directory: &Path, arguments: &[&str]) -> Vec<String> {
        let program = directory.join(self.path.strip_prefix("/").unwrap_or(&self.path));
        let program = program.display().to_string();
        std::iter::once(program).chain(arguments.iter().map(|argument| (*argument).to_owned())).collect()
    }
}

/// What a program says of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// They hold.
    Fresh,
    /// They do not, and why.
    Stale(String),
    /// They do not, and nobody made them on purpose: a packaging script did.
    Placeholder(String),
    /// It was not asked, or gave no answer; what is unknown is not changed.
    Unknown(String),
}

impl Answer {
    /// Reads the last line of what `check` printed.
    pub fn parse(output: &str) -> Self {
        let last = output.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let why = |text: &str| text.trim().chars().filter(|c| !c.is_control()).take(200).collect::<String>();
        match last.split_once(':') {
            None if last == "fresh" => Self::Fresh,
            Some(("stale", reason)) if !reason.trim().is_empty() => Self::Stale(why(reason)),
            Some(("placeholder", reason)) if !reason.trim().is_empty() => Self::Placeholder(why(reason)),
            _ => Self::Unknown(format!(
                "`check` is to end with \"fresh\", \"stale: WHY\" or \"placeholder: WHY\", and ended with \"{}\"",
                why(last)
            )),
        }
    }
}

/// What a program is told of the machine, as one line of JSON; it holds no secret.
pub fn facts(identity: &Identity, subject: &Subject, families: &Families) -> String {
    serde_json::json!({
        "version": 1,
        "fqdn": identity.proper().ok().map(|name| name.as_str().to_owned()),
        "hostname": identity.hostname.value(),
        "domain": identity.domain.value(),
        "addresses": identity.addresses.value(),
        "subject": subject,
        "families": families,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let cases = [
            ("fresh", "fresh\n", Answer::Fresh),
            ("after other words", "warning: x\nfresh\n\n", Answer::Fresh),
            ("stale", "stale: it says old.example.com\n", Answer::Stale("it says old.example.com".into())),
            ("placeholder", "placeholder: by a script", Answer::Placeholder("by a script".into())),
            ("nothing is made up of control characters", "stale: a\u{1b}[2Jb", Answer::Stale("a[2Jb".into())),
        ];
        for (case, output, expected) in cases {
            assert_eq!(Answer::parse(output), expected, "{case}");
        }
        for wrong in ["", "ok", "stale", "stale:", "fresh: really", "fresh\nbut"] {
            assert!(matches!(Answer::parse(wrong), Answer::Unknown(_)), "{wrong}");
        }
    }
}
