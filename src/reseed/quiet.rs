//! Whether a boot has anything for us to do, told by looking once before any unit is loaded.

use std::path::Path;

use crate::artifact::What;
use crate::identity::Kind;
use crate::plan::{Request, Stage};
use crate::store;

use crate::system::root::{PathError, Root};

use super::{Outlook, know_machine};

/// What this boot has for the stages to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// Something, or it cannot be told yet.
    No,
    /// Nothing, unless somebody gives the machine another name while it boots.
    UntilRenamed,
    /// Nothing.
    Yes,
}

/// Programs that may set the machine's name while it boots, by their unit files. What DHCP gives is
/// no static name, and counts only where the settings say so.
const NAMERS: [&str; 8] = [
    "cloud-init.service",
    "cloud-init-local.service",
    "cloud-init-main.service",
    "afterburn-hostname.service",
    "google-guest-agent.service",
    "walinuxagent.service",
    "waagent.service",
    "open-vm-tools.service",
];

/// What the first stage asks for.
pub fn early() -> Request {
    Request { stage: Some(Stage::Early), unattended: true, ..Request::default() }
}

/// Tells whether the stages of this boot would do anything, by what was seen for [`early`]; `units` says
/// which unit files there are.
///
/// # Errors
/// [`PathError`] when the root does not answer.
pub fn quiet(root: &Root, seen: &Outlook, units: &dyn Fn(&str) -> bool) -> Result<Quiet, PathError> {
    // Where /var is a file system of its own, it is not there yet. At a first boot the machine is just
    // being given its id, and perhaps asked for its name.
    let there = |path: &str| Ok::<_, PathError>(root.status(Path::new(path))?.is_some());
    if !there(store::LEDGER)? || there("/run/systemd/first-boot")? {
        return Ok(Quiet::No);
    }
    if !is_settled(seen) {
        return Ok(Quiet::No);
    }
    let renamed = seen.settings.identity.transient_hostname || NAMERS.iter().any(|unit| units(unit));
    Ok(if renamed { Quiet::UntilRenamed } else { Quiet::Yes })
}

/// Nothing is stale, new, held, failed or interrupted, and nothing would be recorded.
fn is_settled(seen: &Outlook) -> bool {
    let mut ledger = seen.ledger.clone();
    know_machine(seen, &early(), false, &mut ledger);
    let nothing_new = seen.plan.kinds.iter().all(|kind| *kind == Kind::Unknown);
    let nothing_open = ledger.failure.is_empty() && ledger.gate.is_empty() && ledger.waiver.is_empty();
    let nothing_wrong = seen.faults.is_empty() && seen.notes.is_empty() && seen.plan.put_off.is_none();
    // What a program says of its files, only a stage can ask.
    let bundles = seen.facts.hooks.values().flat_map(|hook| &hook.bundles);
    let nothing_to_ask = bundles.into_iter().all(|bundle| !matches!(bundle.what, What::Program(_)));
    nothing_new
        && nothing_open
        && nothing_to_ask
        && nothing_wrong
        && !seen.plan.is_stale()
        && seen.plan.notes().is_empty()
        && ledger == seen.ledger
}
