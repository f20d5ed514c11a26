//! Asks the certificate manager for another certificate, as its administrator would: by running it. It is
//! no part of this story, and what it did shows in its tree.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

use crate::artifact::{Held, Version};
use crate::facts::managed;
use crate::identity::HostName;
use crate::manager::name::ServiceName;
use crate::service::{Errand, Services, this_program};
use crate::system::root::Root;

/// One call: an authority on the network is asked, and name servers are waited for.
const LIMIT: Duration = Duration::from_mins(5);
/// Where sites keep what it writes beside its own directory: the live copy, zone files, logs.
const WRITES: [&str; 5] = ["/etc", "/opt", "/run", "/srv", "/var"];

/// The certificate manager, and what it has refused in this run.
pub struct Manager<'a> {
    root: &'a Root,
    services: &'a dyn Services,
    topdir: PathBuf,
    now: OffsetDateTime,
    refused: RefCell<BTreeMap<ServiceName, String>>,
}

impl<'a> Manager<'a> {
    /// The manager whose directory is `topdir`.
    pub fn new(root: &'a Root, services: &'a dyn Services, topdir: PathBuf, now: OffsetDateTime) -> Self {
        Self { root, services, topdir, now, refused: RefCell::default() }
    }

    /// Asks for a certificate that names this machine, once in a run for each service, and returns what
    /// is current then.
    ///
    /// # Errors
    /// In words: what it said, or that it still has none.
    pub(super) fn ask(&self, service: &ServiceName, name: &HostName) -> Result<Version, String> {
        let covers = |version: &Version| version.says.covers(name.as_str());
        // It may have rolled by itself since this run began, or been asked for another hook.
        if let Ok(version) = self.current(service)
            && covers(&version)
        {
            return Ok(version);
        }
        if let Some(refusal) = self.refused.borrow().get(service) {
            return Err(refusal.clone());
        }
        let called = self.call(service, "renew").and_then(|()| self.call(service, "roll"));
        let asked = match self.current(service) {
            Ok(version) if covers(&version) => return Ok(version),
            Ok(version) => {
                let names = version.says.names().into_iter().collect::<Vec<_>>().join(", ");
                format!("{service} was to name {name}, and still says {names}")
            }
            Err(why) => why,
        };
        let refusal = match called {
            Ok(()) => format!("the manager was asked, but {asked}"),
            Err(said) => format!("the manager was asked, but {asked}: {said}"),
        };
        self.refused.borrow_mut().insert(service.clone(), refusal.clone());
        Err(refusal)
    }

    fn current(&self, service: &ServiceName) -> Result<Version, String> {
        match managed::read(self.root, &self.topdir, service, self.now) {
            Held::Version(version) => Ok(*version),
            Held::Nothing(why) | Held::Hidden(why) => Err(why),
        }
    }

    fn call(&self, service: &ServiceName, what: &str) -> Result<(), String> {
        let command = [this_program()?, "manager".to_owned(), what.to_owned(), service.to_string()];
        let mut writes: Vec<PathBuf> = WRITES.iter().map(|path| Path::new(path).to_owned()).collect();
        writes.extend(self.root.resolve(&self.topdir));
        let errand = Errand { writes: &writes, network: true, ..Errand::new(&command, LIMIT) };
        self.services.run(&errand).map(|_| ()).map_err(|error| error.0)
    }
}
