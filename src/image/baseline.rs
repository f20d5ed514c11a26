//! An earlier audit, whose findings are known and accepted: only what is new counts.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::audit::{Audit, Finding};
use crate::fault::Fault;

/// What an earlier audit found, as `reseed audit --json` wrote it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Baseline(BTreeSet<Known>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Known {
    #[serde(default)]
    layers: Vec<String>,
    path: String,
    rule: String,
    #[serde(default)]
    fingerprints: BTreeSet<String>,
}

impl Baseline {
    /// Reads the JSON of an audit.
    ///
    /// # Errors
    /// [`Fault`] with its position.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Text {
            version: u32,
            findings: BTreeSet<Known>,
        }
        let read: Text = serde_json::from_str(text).map_err(|error| {
            let place = format!("{}:{}:{}", path.display(), error.line(), error.column());
            Fault::whole(Path::new(&place), format!("no JSON of `reseed audit --json`: {error}"))
        })?;
        if read.version != super::audit::VERSION {
            let message = format!(
                "version {} was written by another reseed; this one reads {}",
                read.version,
                super::audit::VERSION
            );
            return Err(Fault::whole(path, message));
        }
        Ok(Self(read.findings))
    }

    /// Takes what is known out of an audit, and returns how much that was. A key in the place of another
    /// is new.
    pub fn apply(&self, audit: &mut Audit) -> usize {
        let before = audit.findings.len();
        audit.findings.retain(|finding| !self.0.contains(&Known::of(finding)));
        before - audit.findings.len()
    }
}

impl Known {
    fn of(finding: &Finding) -> Self {
        Self {
            layers: finding.layers.clone(),
            path: finding.path.to_string_lossy().into_owned(),
            rule: finding.rule.to_owned(),
            fingerprints: finding.fingerprints.iter().map(|one| one.as_str().to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_baseline() {
        let cases = [
            ("no JSON", "{", "base.json:1:1: no JSON of `reseed audit --json`"),
            ("other JSON", "{\"version\":1}", "missing field `findings`"),
            ("a later version", "{\"version\":2,\"findings\":[]}", "version 2 was written by another"),
        ];
        for (case, text, expected) in cases {
            let fault = Baseline::parse(Path::new("base.json"), text).expect_err(case).to_string();
            assert!(fault.contains(expected), "{case}: {fault}");
        }
    }
}
