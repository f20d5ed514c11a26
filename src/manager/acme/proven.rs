//! Until when an authority takes names as proven (RFC 8555 section 7.1.4): what it says of the authorizations that an
//! order had.

use futures_util::future::join_all;
use serde::Deserialize;
use time::OffsetDateTime;

use super::{Connection, Granted};

/// What is read of an authorization.
#[derive(Deserialize)]
struct Authorization {
    status: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires: Option<OffsetDateTime>,
}

/// The earliest end of what a certificate was granted by; nothing where the authority does not say it for all of
/// its names.
pub fn proven_until(connection: &Connection, granted: &Granted) -> Option<OffsetDateTime> {
    let one = async |url: &String| {
        let answer = connection.client.post(url, None).await.ok()?;
        let read: Authorization = answer.json().ok()?;
        read.expires.filter(|_| read.status == "valid")
    };
    let all = connection.runtime.block_on(join_all(granted.authorizations.iter().map(one)));
    all.into_iter().collect::<Option<Vec<_>>>()?.into_iter().min()
}
