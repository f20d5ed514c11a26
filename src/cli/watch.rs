//! `reseed watch`

use std::time::Duration;

use tracing::{info, warn};

use super::{Failure, Status};
use crate::reseed::World;
use crate::service::hostnamed;
use crate::system::clock;

/// The unit whose run waits until the change has come to rest.
const RUN: &str = "reseed-watch.service";
/// Between two attempts to reach the system bus.
const AGAIN: Duration = Duration::from_secs(5);

/// Wait for changes of the name at run time, and have them put right
///
/// Listens to hostnamed, through which DHCP clients, desktops and administrators change the name, and
/// starts reseed-watch.service. This is what reseed-hostname.service runs; it ends when it is told to.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn run(world: World<'_>, _: &Arguments) -> Result<Status, Failure> {
    if !world.root.is_live() {
        return Err(Failure::Usage("only the running system can be watched".into()));
    }
    loop {
        match hostnamed::watch(RUN, || info!("{RUN} is started, which looks whether anything has changed")) {
            Ok(()) => warn!("the system bus has gone; it is tried again in {} s", AGAIN.as_secs()),
            Err(error) => {
                warn!(%error, "the system bus is not there; it is tried again in {} s", AGAIN.as_secs())
            }
        }
        clock::pause(AGAIN);
    }
}
