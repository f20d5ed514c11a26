//! Which orders are open at which authority, and with which key: on disk before anything else is sent, so that
//! a run that dies leaves an order that the next one goes on with.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::lineage::VersionName;
use super::super::name::ServiceName;
use crate::fault::Fault;
use crate::manager::record;

/// The version of the format that this program writes, and the highest that it reads.
const VERSION: u32 = 1;

/// The open orders, one for each service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders(BTreeMap<ServiceName, Open>);

/// An open order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The URL of the authority's directory.
    pub directory: String,
    /// The order's own URL.
    pub url: String,
    /// The version whose request and key it is for.
    pub version: VersionName,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    #[serde(default)]
    order: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    service: String,
    directory: String,
    url: String,
    request: String,
}

impl Orders {
    /// Reads what was recorded.
    ///
    /// # Errors
    /// [`Fault`] with the position; also for a newer version, and for names that are none.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let text: Text = record::read(path, text, VERSION)?;
        let mut orders = Self::default();
        for entry in text.order {
            let name = entry
                .service
                .split_once('/')
                .and_then(|(group, service)| ServiceName::new(group, service).ok());
            let version = VersionName::parse(&entry.request);
            let (Some(name), Some(version)) = (name, version) else {
                let message =
                    format!("{:?} and {:?} are no service and no version", entry.service, entry.request);
                return Err(Fault::whole(path, message));
            };
            orders.0.insert(name, Open { directory: entry.directory, url: entry.url, version });
        }
        Ok(orders)
    }

    /// The text of it.
    ///
    /// # Errors
    /// In the words of the library.
    pub fn to_text(&self) -> Result<String, String> {
        let entry = |(name, open): (&ServiceName, &Open)| Entry {
            service: format!("{}/{}", name.group(), name.service()),
            directory: open.directory.clone(),
            url: open.url.clone(),
            request: open.version.to_string(),
        };
        let order = self.0.iter().map(entry).collect();
        toml::to_string(&Text { version: VERSION, order }).map_err(|error| error.to_string())
    }

    /// Records an order; an earlier one of the same service is forgotten.
    pub fn open(&mut self, name: ServiceName, open: Open) {
        self.0.insert(name, open);
    }

    /// The open order of a service.
    pub fn of(&self, name: &ServiceName) -> Option<&Open> {
        self.0.get(name)
    }

    /// Forgets an order: it was answered, refused, or nobody wants it any more.
    pub fn close(&mut self, name: &ServiceName) {
        self.0.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_survive_their_text() {
        let name = ServiceName::new("example.com", "web").unwrap();
        let open = Open {
            directory: "https://ca.example/dir".into(),
            url: "https://ca.example/order/1".into(),
            version: VersionName::parse("20261125-10:00:00").unwrap(),
        };
        let mut orders = Orders::default();
        orders.open(name.clone(), open.clone());
        let again = Orders::parse(Path::new("orders.toml"), &orders.to_text().unwrap()).unwrap();
        assert_eq!((again.of(&name), &again), (Some(&open), &orders));
        orders.close(&name);
        assert_eq!(orders, Orders::default());
    }

    #[test]
    fn a_newer_version_and_junk_are_refused() {
        let fault = |text: &str| Orders::parse(Path::new("o"), text).unwrap_err().to_string();
        assert!(fault("version = 2\nnew = 1\n").contains("newer"));
        let entry = |service: &str, request: &str| {
            format!(
                "version = 1\n[[order]]\nservice = '{service}'\ndirectory = 'd'\nurl = 'u'\nrequest = '{request}'\n"
            )
        };
        assert!(fault(&entry("../x", "20261125-10:00:00")).contains("no service"));
        assert!(fault(&entry("example.com/web", "../../etc")).contains("no version"));
        assert!(fault("version = 1\n[[order]]\nservice = 1\n").starts_with("o:3:"));
    }
}
