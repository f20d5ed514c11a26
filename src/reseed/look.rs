//! What a command looks at before anything is changed: the same for a run and for whoever only asks.

use crate::config::Settings;
use crate::facts::{self, Sources};
use crate::fault::Fault;
use crate::hook::Catalogue;
use crate::ledger::Ledger;
use crate::plan::{self, Facts, Plan, Request, Stage};
use crate::sealed::Sealed;
use crate::store::{self, StoreError};
use crate::system::root::Root;
use crate::transaction;

use super::{ReseedError, World, seconds};

/// Everything that a command looks at before anything is changed.
#[derive(Debug)]
pub struct Outlook {
    /// What is recorded.
    pub ledger: Ledger,
    /// The settings.
    pub settings: Settings,
    /// The hooks in force.
    pub hooks: Catalogue,
    /// Hook files that are not in force because something is wrong with them.
    pub faults: Vec<Fault>,
    /// What was found out.
    pub facts: Facts,
    /// What a run would do.
    pub plan: Plan,
    /// What the user may want to know beside it.
    pub notes: Vec<String>,
}

/// Looks, without changing anything: for `status`, `plan`, `check`, `explain`.
///
/// # Errors
/// [`ReseedError`]
pub fn look(world: World<'_>, request: &Request) -> Result<Outlook, ReseedError> {
    let mut notes = Vec::new();
    let mut is_blind = false;
    let ledger = match store::ledger(world.root) {
        Err(StoreError::Path(error)) if error.is_denied() => {
            notes.push(format!("{} may not be read by this user: judged without it", store::LEDGER));
            is_blind = true;
            Ledger::default()
        }
        ledger => ledger?,
    };
    if transaction::is_interrupted(world.root).unwrap_or(false) {
        notes.push("an earlier run was interrupted; `reseed apply` puts that in order first".into());
    }
    let mut seen = outlook(world, request, ledger, true, notes)?;
    if is_blind {
        // What is not seen to be recorded may be recorded all the same.
        seen.plan.kinds.clear();
    }
    Ok(seen)
}

/// Gathers and plans with a ledger that is known already.
pub(super) fn outlook(
    world: World<'_>,
    request: &Request,
    mut ledger: Ledger,
    every_facet: bool,
    notes: Vec<String>,
) -> Result<Outlook, ReseedError> {
    let settings = store::settings(world.root)?;
    let (hooks, faults) = store::hooks(world.root, world.below)?;
    let seed = store::seed(world.root)?;
    let root = world.root;
    let sealed = sealed(root)?;
    let sources = Sources {
        root,
        hooks: &hooks,
        settings: &settings,
        ledger: &ledger,
        seed: &seed,
        sealed: sealed.as_ref(),
        now: seconds(world.now),
        every_facet,
        asks_network: Stage::asks_network(request.stage),
        asks_programs: request.stage != Some(Stage::Early),
        services: world.services,
    };
    let facts = facts::gather(&sources)?;
    if request.restored {
        ledger.restore(&facts.identity);
    }
    let request = resolved(root, request, &hooks, &facts)?;
    let plan = plan::plan(&facts, &ledger, &request);
    Ok(Outlook { ledger, settings, hooks, faults, facts, plan, notes })
}

/// Who may not read the record of the image may not read the keys either.
fn sealed(root: &Root) -> Result<Option<Sealed>, StoreError> {
    match Sealed::read(root) {
        Err(StoreError::Path(error)) if error.is_denied() => Ok(None),
        sealed => sealed,
    }
}

/// What the user names must be something that there is.
fn resolved(
    root: &Root,
    request: &Request,
    hooks: &Catalogue,
    facts: &Facts,
) -> Result<Request, ReseedError> {
    for name in &request.only {
        if hooks.get(name).is_none() {
            return Err(ReseedError::Usage(format!(
                "there is no hook {name}; `reseed hook list` shows them"
            )));
        }
    }
    let artifacts =
        || facts.hooks.values().flat_map(|hook| &hook.bundles).flat_map(|bundle| &bundle.artifacts);
    for path in &request.adopt {
        let real = root.resolve(path)?;
        if !artifacts().any(|artifact| artifact.path == *path || artifact.real == real) {
            let message = format!(
                "no hook in force has the file {}; `reseed explain` tells what is known of it",
                path.display()
            );
            return Err(ReseedError::Usage(message));
        }
    }
    let reals = request.adopt.iter().filter_map(|path| root.resolve(path).ok());
    let adopt = request.adopt.iter().cloned().chain(reals).collect();
    Ok(Request { adopt, ..request.clone() })
}
