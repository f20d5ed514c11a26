//! What a hook that is a program says of its files, and what lies there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Sources;
use super::bundles::{Built, look_at};
use crate::artifact::{Artifact, Bundle, Programmed, What};
use crate::hook::program::{self, Answer, Program};
use crate::hook::{Families, Hook, HookName};
use crate::identity::Identity;
use crate::service::Errand;

/// The files that it makes.
pub fn paths(hook: &Hook) -> impl Iterator<Item = &Path> {
    hook.program.iter().flat_map(|program| program.makes.iter().map(PathBuf::as_path))
}

/// Adds the program's files to the hook's bundles.
pub fn build(
    sources: &Sources<'_>,
    hook: &Hook,
    (identity, families): (&Identity, &Families),
    owners: &BTreeMap<PathBuf, HookName>,
    built: &mut Built,
) {
    let Some(program) = &hook.program else { return };
    let mut artifacts = Vec::new();
    for path in &program.makes {
        let real = match sources.root.resolve(path) {
            Ok(real) => real,
            Err(error) => return built.problems.push(error.to_string()),
        };
        if let Some(owner) = owners.get(&real).filter(|owner| **owner != hook.name) {
            let path = path.display();
            return built
                .problems
                .push(format!("{path} is also the hook {owner}'s; nothing of this one is made"));
        }
        artifacts.push(artifact(sources, path, real));
    }
    let facts = program::facts(identity, &sources.seed.0, families);
    let answer = ask(sources, program, &facts);
    if let Answer::Unknown(why) = &answer {
        built.problems.push(format!("its program: {why}"));
    }
    let what = What::Program(Box::new(Programmed { program: program.clone(), facts, answer }));
    built.bundles.push(Bundle { what, artifacts, tracked: None });
}

/// Before the boot's main stage, and of a root that does not run, no program of somebody else's is run.
fn ask(sources: &Sources<'_>, program: &Program, facts: &str) -> Answer {
    if !sources.asks_programs || !sources.root.is_live() {
        return Answer::Unknown("it is not asked before the machine runs".into());
    }
    let command = program.call(sources.root.directory(), &["check", facts]);
    let limit = Duration::from_secs(program.limit_seconds.into());
    let errand = Errand { network: program.network, ..Errand::new(&command, limit) };
    match sources.services.run(&errand) {
        Ok(output) => Answer::parse(&output),
        Err(error) => Answer::Unknown(error.0),
    }
}

fn artifact(sources: &Sources<'_>, path: &Path, real: PathBuf) -> Artifact {
    let found = look_at(sources, &real, |_, _| ());
    Artifact {
        path: path.to_owned(),
        real,
        holds: Vec::new(),
        model: 0,
        // Of a new file, that which the program gives it.
        owner: "root".into(),
        group: "root".into(),
        mode: 0o600,
        hash_link: None,
        default_path: true,
        copy: false,
        named_by: None,
        found,
        links: BTreeSet::new(),
    }
}
