//! The agent of this machine, where it serves a certificate of the manager: it installs the new one in the form
//! that each package wants, and proves that it is served.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::facts::managed;
use crate::hook::Issuer;
use crate::manager::name::ServiceName;
use crate::manager::run::Run;
use crate::service;
use crate::store;
use crate::system::process;

/// Says whether a hook of this machine has one of some services as its issuer. Where hooks or settings cannot be
/// read, the agent itself says so; nothing waits for it here.
pub fn reads(run: &Run<'_>, services: &BTreeSet<ServiceName>) -> bool {
    let root = run.world.root;
    // An agent that looks at another tree has nothing from this one.
    let (Ok(settings), Ok((hooks, _))) = (store::settings(root), store::hooks(root, None)) else {
        return false;
    };
    if managed::topdir(root, &settings.manager) != run.world.top {
        return false;
    }
    hooks.iter().any(|hook| {
        let by_site = settings.hook(&hook.name).issuer;
        hook.certificates.iter().any(|certificate| match by_site.as_ref().unwrap_or(&certificate.issuer) {
            Issuer::Manager(name) => services.contains(name),
            Issuer::Itself => false,
        })
    })
}

/// Has it look, without waiting: it may be the one that asked for the new certificate, and holds its own lock.
///
/// # Errors
/// In words.
pub fn notify(run: &Run<'_>) -> Result<(), String> {
    match service::is_booted(run.world.root) {
        Ok(true) => {
            let command = ["systemctl", "start", "--no-block", "reseed-apply.service"].map(str::to_owned);
            process::run(&command, DEADLINE, process::KEPT).map(drop)
        }
        // Without a service manager there is nobody to be told; the next run of the agent finds it.
        Ok(false) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

const DEADLINE: Duration = Duration::from_secs(10);
