//! hostnamed, systemd's own service for the machine's name: setting the static name through it, so that
//! everybody who watches the name hears of it; and hearing of it ourselves.

use std::future::poll_fn;
use std::pin::pin;

// zbus shows this trait nowhere else, and without it no signal can be read.
use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, block_on};

use crate::identity::HostName;
use crate::service::ServiceError;

/// Sets the static name; false when there is no hostnamed on this system, and the file is to be
/// written instead.
///
/// # Errors
/// [`ServiceError`] when hostnamed is there and refuses.
pub fn set_static_name(name: &HostName) -> Result<bool, ServiceError> {
    zbus::block_on(async {
        let Ok(connection) = zbus::Connection::system().await else { return Ok(false) };
        let hostnamed = Hostname1Proxy::new(&connection).await;
        let hostnamed = hostnamed.map_err(|error| ServiceError(format!("hostnamed: {error}")))?;
        match hostnamed.set_static_hostname(name.as_str(), false).await {
            Ok(()) => Ok(true),
            Err(zbus::Error::FDO(error)) if is_absent(&error) => Ok(false),
            Err(error) => Err(ServiceError(format!("hostnamed does not take the name {name}: {error}"))),
        }
    })
}

/// Starts a unit once, for what changed before anybody listened, and then whenever hostnamed tells of a
/// change, without waiting for what the unit does. Returns when the system bus has gone.
///
/// # Errors
/// [`ServiceError`] when the system bus cannot be reached, or the manager refuses.
pub fn watch(unit: &str, mut started: impl FnMut()) -> Result<(), ServiceError> {
    block_on(async {
        let connection = Connection::system().await?;
        // hostnamed comes and goes: the name stands for whoever has it at the time.
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.hostname1")
            .path("/org/freedesktop/hostname1")
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .build()?;
        // Before the unit is started for the first time, so that no change falls in between.
        let stream = MessageStream::for_match_rule(rule, &connection, None).await?;
        let manager = ManagerProxy::new(&connection).await?;
        let mut stream = pin!(stream);
        loop {
            manager.start_unit(unit, "replace").await?;
            started();
            match poll_fn(|context| stream.as_mut().poll_next(context)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return zbus::Result::Ok(()),
            }
        }
    })
    .map_err(|error| ServiceError(error.to_string()))
}

fn is_absent(error: &zbus::fdo::Error) -> bool {
    matches!(error, zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_))
}

/// org.freedesktop.hostname1(5), the one method that is used.
#[zbus::proxy(
    interface = "org.freedesktop.hostname1",
    default_service = "org.freedesktop.hostname1",
    default_path = "/org/freedesktop/hostname1"
)]
trait Hostname1 {
    fn set_static_hostname(&self, name: &str, interactive: bool) -> zbus::Result<()>;
}

/// org.freedesktop.systemd1(5), the one method that is used.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<zbus::OwnedObjectPath>;
}
