//! Sets the machine's static name through systemd's own service for it, so that everybody who
//! watches the name hears of it.

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
