//! Whether a hook that is a program keeps to the protocol: it is asked everything once, and what it
//! makes goes to a scratch directory.

use std::path::Path;
use std::time::Duration;

use crate::apply::program as staging;
use crate::fault::Fault;
use crate::hook::program::{self, Answer, Program};
use crate::hook::{Families, Hook, HookName};
use crate::identity::{Finding, Identity};
use crate::seed::Subject;
use crate::store;
use crate::system::process;
use crate::system::root::Root;

/// Words that no version of the protocol has.
const UNKNOWN_CALL: &str = "no-such-call";
const DEPTH: usize = 32;

/// Asks a program everything; its hook, or every rule that it violates.
pub fn check(root: &Root, path: &Path, name: HookName) -> Result<Hook, Vec<Fault>> {
    let fault = |message: String| Fault::whole(path, message);
    store::only_the_owner_writes(root, path).map_err(|message| vec![fault(message)])?;
    let described = || store::describe(root, path, path, name.clone()).map_err(|fault| vec![fault]);
    let hook = described()?;
    let Some(program) = &hook.program else { return Err(vec![fault("it describes no program".to_owned())]) };
    let mut wrong = Vec::new();
    if described()? != hook {
        wrong.push("`describe` says something else the second time".to_owned());
    }
    if call(root, program, &[UNKNOWN_CALL]).is_ok() {
        wrong.push(format!("`{UNKNOWN_CALL}` ends with 0: a call that it does not know is to fail"));
    }
    let facts = program::facts(&sample(), &Subject::default(), &Families::default());
    match call(root, program, &["check", &facts]).map(|output| Answer::parse(&output)) {
        Ok(Answer::Unknown(why)) | Err(why) => wrong.push(format!("`check`: {why}")),
        Ok(_) => {}
    }
    if let Err(why) = make(root, program, &facts) {
        wrong.push(format!("`make`: {why}"));
    }
    if wrong.is_empty() { Ok(hook) } else { Err(wrong.into_iter().map(fault).collect()) }
}

/// With the caller's own rights, and without the unit that a run puts around it.
fn call(root: &Root, program: &Program, arguments: &[&str]) -> Result<String, String> {
    let limit = Duration::from_secs(program.limit_seconds.into());
    process::run(&program.call(root.directory(), arguments), limit, process::KEPT)
}

fn make(root: &Root, program: &Program, facts: &str) -> Result<(), String> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    // A name that nobody can have laid something at before.
    let scratch = format!("/tmp/reseed-hook-check-{:016x}", u64::from_ne_bytes(random));
    let scratch = Path::new(&scratch);
    root.make_directory(scratch, 0o700).map_err(|error| error.to_string())?;
    let outside = root.directory().join(scratch.strip_prefix("/").unwrap_or(scratch));
    let made = call(root, program, &["make", &outside.display().to_string(), facts])
        .and_then(|_| staging::take(root, program, scratch).map(|_| ()));
    staging::clear(root, scratch, DEPTH).map_err(|error| error.to_string())?;
    made
}

/// A machine that every program is to be able to make its files for.
fn sample() -> Identity {
    Identity {
        hostname: Finding::known("mail".into(), "a sample"),
        domain: Finding::known("example.com".into(), "a sample"),
        addresses: Finding::unknown("a sample"),
        machine_id: Finding::unknown("a sample"),
        hardware: Finding::unknown("a sample"),
        seed: Finding::unknown("a sample"),
    }
}
