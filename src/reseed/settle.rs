//! The story of a run after a change: wait until the identity has come to rest, run, and look whether
//! it has changed meanwhile.

use std::time::Duration;

use tracing::info;

use crate::config::Settings;
use crate::facts::{self, Sources};
use crate::hook::Catalogue;
use crate::identity::Identity;
use crate::ledger::Ledger;
use crate::plan::Request;
use crate::store;
use crate::system::clock;
use crate::watch::{self, Next};

use super::{Report, ReseedError, World, apply, seconds};

/// Longest time between two looks at the identity.
const LOOK: Duration = Duration::from_secs(1);

/// Runs once the identity has come to rest, and again when it changed during the run; reports the last
/// run.
///
/// # Errors
/// As for [`apply()`], but another run that holds the lock is waited for: it may have begun before the
/// change that this one is for.
pub fn settle(world: World<'_>, request: &Request) -> Result<Report, ReseedError> {
    loop {
        let settled = come_to_rest(world)?;
        let report = match apply(World { now: clock::now(), ..world }, request) {
            Err(ReseedError::Busy) => {
                clock::pause(LOOK);
                continue;
            }
            report => report?,
        };
        store::save_last_run(world.root, clock::now())?;
        if who(world, &store::settings(world.root)?)? == settled {
            return Ok(report);
        }
        info!("the identity has changed during the run; once more");
    }
}

/// Waits until a run may begin; returns who the machine is by then.
fn come_to_rest(world: World<'_>) -> Result<Identity, ReseedError> {
    let settings = store::settings(world.root)?;
    let mut identity = who(world, &settings)?;
    let mut changed = clock::now();
    loop {
        match watch::next(clock::now(), store::last_run(world.root)?, changed, &settings.watch) {
            Next::Run => return Ok(identity),
            Next::Wait(length) => clock::pause(length.min(LOOK)),
        }
        let present = who(world, &settings)?;
        if present != identity {
            (identity, changed) = (present, clock::now());
        }
    }
}

fn who(world: World<'_>, settings: &Settings) -> Result<Identity, ReseedError> {
    let sources = Sources {
        root: world.root,
        hooks: &Catalogue::default(),
        settings,
        ledger: &Ledger::default(),
        seed: &store::seed(world.root)?,
        now: seconds(clock::now()),
        sealed: None,
        every_facet: true,
        // Not every second; what the resolver says counts in the run itself.
        asks_network: false,
        asks_programs: false,
        services: world.services,
    };
    Ok(facts::who(&sources)?)
}
