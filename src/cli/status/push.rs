//! The way of a report into the inventory of the site.

use std::path::Path;

use super::super::Failure;
use super::super::manager::inventory::place;
use crate::config::{Fleet, Push};
use crate::manager::deliver::ssh::Door;
use crate::manager::fleet::HostReport;
use crate::manager::inventory::files::Files;
use crate::manager::inventory::store::Inventory;
use crate::reseed::World;

/// What is called on the host that takes reports.
const RECEIVE: [&str; 4] = ["reseed", "manager", "fleet", "receive"];

/// Brings a report to where the settings say.
///
/// # Errors
/// [`Failure`]: what was reported before stands.
pub fn push(world: World<'_>, fleet: &Fleet, report: &HostReport) -> Result<(), Failure> {
    match &fleet.push {
        Some(Push::Directory(directory)) => {
            into(&mut Files::new(world.root, directory.path()), world, report, &shown(directory.path()))
        }
        Some(Push::Database(connection)) => {
            let mut database = place::reporter(connection).map_err(|failure| failed("the database", &failure))?;
            let shown = database.shown();
            into(&mut database, world, report, &shown)
        }
        Some(Push::Host(host)) => {
            let text = report.to_text().map_err(Failure::Other)?;
            let door = Door::Ssh { host, options: &fleet.ssh_options };
            let said = door.feed(&RECEIVE.map(str::to_owned), text.into_bytes());
            said.map(drop).map_err(|error| failed(host, &error))
        }
        None => Err(Failure::Usage(
            "nobody takes a report of this machine; write push = \"…\" into [fleet] of /etc/reseed/reseed.toml, as \
             `reseed status --help` tells"
                .into(),
        )),
    }
}

fn into(
    inventory: &mut dyn Inventory,
    world: World<'_>,
    report: &HostReport,
    shown: &str,
) -> Result<(), Failure> {
    inventory.report(report, world.now).map_err(|error| failed(shown, &error))
}

fn failed(place: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(format!("this machine is not reported to {place}: {error}"))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
