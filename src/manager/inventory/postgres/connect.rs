//! How a server is reached: parameters and files of libpq put together, and the connection itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::config::{ChannelBinding, SslMode, TargetSessionAttrs};
use postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::store::InventoryError;
use super::parameters::{Parameters, password};
use super::tls::{self, Mode};
use crate::system::root::Root;

/// What whoever calls brings along.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// What `PG…` variables say.
    pub environment: Parameters,
    /// The home directory.
    pub home: Option<PathBuf>,
    /// The name of the user who calls.
    pub user: Option<String>,
}

/// How to reach a server, any number of times.
pub struct Connector {
    parameters: Parameters,
    hosts: Vec<(String, u16, Option<String>)>,
    tls: Option<(Mode, MakeRustlsConnect)>,
    /// What is odd, for people.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

/// Seconds to wait for a connection where nothing is said.
const PATIENCE: u64 = 30;

impl Connector {
    /// Puts the parameters together; `text` is a URL or `keyword=value`, and may be empty.
    ///
    /// # Errors
    /// [`InventoryError::Unusable`]
    pub fn new(root: &Root, surroundings: &Surroundings, text: &str) -> Result<Self, InventoryError> {
        let refuse =
            |error: String| InventoryError::Unusable(format!("the connection to PostgreSQL: {error}"));
        let mut parameters = Parameters::parse(text).map_err(refuse)?;
        let environment = &surroundings.environment;
        let service = parameters.get("service").or(environment.get("service")).map(ToOwned::to_owned);
        if let Some(service) = service {
            parameters.or(of_service(root, surroundings, &parameters, &service).map_err(refuse)?);
        }
        parameters.or(environment.clone());
        if parameters.get("user").is_none() {
            let user = surroundings.user.clone().ok_or_else(|| refuse("no user is given".into()))?;
            parameters.set("user", user);
        }
        if parameters.get("dbname").is_none() {
            let user = parameters.get("user").unwrap_or_default().to_owned();
            parameters.set("dbname", user);
        }
        let mut warnings = Vec::new();
        let passwords = passwords(root, surroundings, &parameters, &mut warnings).map_err(refuse)?;
        let [database, user] =
            ["dbname", "user"].map(|name| parameters.get(name).unwrap_or_default().to_owned());
        let hosts = parameters.hosts().map_err(refuse)?.into_iter().map(|(host, port)| {
            let given = parameters.get("password").map(ToOwned::to_owned);
            let found = given.or_else(|| password(passwords.as_deref()?, &host, port, &database, &user));
            (host, port, found)
        });
        let hosts: Vec<_> = hosts.collect();
        // Over a socket there is nothing to encrypt.
        let tls = if hosts.iter().all(|(host, ..)| host.starts_with('/')) {
            None
        } else {
            let (mode, config) =
                tls::client(root, surroundings.home.as_deref(), &parameters).map_err(refuse)?;
            Some((mode, MakeRustlsConnect::new(config)))
        };
        Ok(Self { parameters, hosts, tls, warnings })
    }

    /// Database, hosts and user, for people.
    pub fn shown(&self) -> String {
        self.parameters.shown()
    }

    /// Connects to the first host that answers.
    ///
    /// # Errors
    /// [`InventoryError::Gone`] when none does, [`InventoryError::Unusable`] when one refuses us.
    pub fn connect(&self) -> Result<Client, InventoryError> {
        let mut last = None;
        for (host, port, password) in &self.hosts {
            match self.one(host, *port, password.as_deref()) {
                Ok(client) => return Ok(client),
                Err(refused @ InventoryError::Unusable(_)) => return Err(refused),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| InventoryError::Unusable("no host of PostgreSQL is given".into())))
    }

    fn one(&self, host: &str, port: u16, password: Option<&str>) -> Result<Client, InventoryError> {
        let place = format!("PostgreSQL, {} at {host}:{port}", self.parameters.get("dbname").unwrap_or("?"));
        let unusable = |error: String| InventoryError::Unusable(format!("{place}: {error}"));
        let mut config = self.config(host, port).map_err(unusable)?;
        if let Some(password) = password {
            config.password(password);
        }
        let connected = match &self.tls {
            Some((mode, tls)) if *mode != Mode::Disable && !host.starts_with('/') => {
                config.ssl_mode(if *mode == Mode::Prefer { SslMode::Prefer } else { SslMode::Require });
                config.connect(tls.clone())
            }
            _ => config.ssl_mode(SslMode::Disable).connect(NoTls),
        };
        connected.map_err(|error| {
            let says = super::words(&error);
            match error.code().map(postgres::error::SqlState::code) {
                // It starts, it stops, it has no room: later, it may.
                Some("57P03" | "57P01" | "53300") => InventoryError::Gone(format!("{place}: {says}")),
                Some(_) => unusable(says),
                None if says.contains("password missing") => {
                    unusable("it wants a password, and none is given: write it into ~/.pgpass".into())
                }
                None => InventoryError::Gone(format!("{place}: {says}")),
            }
        })
    }

    fn config(&self, host: &str, port: u16) -> Result<Config, String> {
        let parameters = &self.parameters;
        let mut config = Config::new();
        config.host(host).port(port);
        for name in ["user", "dbname"] {
            let value = parameters.get(name).unwrap_or_default();
            if name == "user" {
                config.user(value)
            } else {
                config.dbname(value)
            };
        }
        let name = parameters.get("application_name").or(parameters.get("fallback_application_name"));
        config.application_name(name.unwrap_or("reseed"));
        if let Some(options) = parameters.get("options") {
            config.options(options);
        }
        let seconds = match parameters.get("connect_timeout") {
            Some(text) => text.parse().map_err(|_| "connect_timeout is no number of seconds".to_owned())?,
            None => PATIENCE,
        };
        if seconds > 0 {
            config.connect_timeout(Duration::from_secs(seconds));
        }
        match parameters.get("channel_binding") {
            None | Some("prefer") => {}
            Some("disable") => drop(config.channel_binding(ChannelBinding::Disable)),
            Some("require") => drop(config.channel_binding(ChannelBinding::Require)),
            Some(other) => {
                return Err(format!("channel_binding \"{other}\" is not disable, prefer or require"));
            }
        }
        // The inventory is written to.
        config.target_session_attrs(match parameters.get("target_session_attrs") {
            Some("any") => TargetSessionAttrs::Any,
            _ => TargetSessionAttrs::ReadWrite,
        });
        Ok(config)
    }
}

fn of_service(
    root: &Root,
    surroundings: &Surroundings,
    parameters: &Parameters,
    service: &str,
) -> Result<Parameters, String> {
    let environment = &surroundings.environment;
    let named = parameters.get("servicefile").or(environment.get("servicefile")).map(PathBuf::from);
    let directory = environment.get("sysconfdir").map_or(Path::new(SYSTEM), Path::new);
    let own = named.or_else(|| Some(surroundings.home.as_ref()?.join(".pg_service.conf")));
    for path in own.into_iter().chain([directory.join("pg_service.conf")]) {
        let Some(text) = root.text(&path).map_err(|error| error.to_string())? else { continue };
        let found = Parameters::of_service(&text, service);
        if let Some(found) = found.map_err(|error| format!("{}: {error}", path.display()))? {
            return Ok(found);
        }
    }
    Err(format!("no service file has the service \"{}\"", service.escape_debug()))
}

/// Where Debian's libpq looks for what is everybody's.
const SYSTEM: &str = "/etc/postgresql-common";

/// The file of passwords; one that others may read is not used, as in libpq.
fn passwords(
    root: &Root,
    surroundings: &Surroundings,
    parameters: &Parameters,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, String> {
    let named = parameters.get("passfile").map(PathBuf::from);
    let Some(path) = named.or_else(|| Some(surroundings.home.as_ref()?.join(".pgpass"))) else {
        return Ok(None);
    };
    let attributes = match root.attributes(&path) {
        Ok(attributes) => attributes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if attributes.mode & 0o077 != 0 {
        warnings
            .push(format!("{}: others may read it, so it is not used; make its mode 0600", path.display()));
        return Ok(None);
    }
    root.text(&path).map_err(|error| error.to_string())
}
