//! Why files no longer hold, in values and in words.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use time::OffsetDateTime;

use crate::hook::Issuer;
use crate::identity::Drift;

/// Why a bundle no longer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A file or link is not there.
    Missing(PathBuf),
    /// The machine is somebody else than when we made it.
    Drifted(Drift),
    /// It is the original's, and this machine is its clone.
    Cloned(Drift),
    /// The certificate does not name this machine.
    Names {
        /// The names that it carries.
        says: String,
    },
    /// The certificate claims what nobody meant.
    Untrue(String),
    /// Its end is near or past.
    Ends {
        /// The end of its validity.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// The hook's own program says so.
    Says(String),
    /// The key is not the certificate's.
    KeyMismatch(PathBuf),
    /// Its key was in the image that this machine was made from: everybody who has that has the key.
    FromImage,
    /// A file does not hold what the certificate manager holds.
    Differs {
        /// The file.
        path: PathBuf,
        /// The version that it is to hold.
        version: String,
    },
    /// It is somebody else's, but who names its issuer asks for it.
    Named(Issuer),
    /// The certificate manager has nothing that would do.
    Awaits {
        /// Who is to issue it.
        issuer: Issuer,
        /// Why there is nothing.
        why: String,
    },
    /// The administrator asks for it.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "{} is missing", path.display()),
            Self::Drifted(drift) => write!(f, "{drift}"),
            Self::Cloned(drift) => write!(f, "this machine is a clone: {drift}"),
            Self::Names { says } => write!(f, "it says {says}"),
            Self::Says(why) => f.write_str(why),
            Self::Untrue(field) => write!(f, "it claims {field}"),
            Self::Ends { at } => write!(f, "it ends on {}", at.date()),
            Self::KeyMismatch(path) => {
                write!(f, "the key in {} belongs to another certificate", path.display())
            }
            Self::FromImage => f.write_str("its key was in the image that this machine was made from"),
            Self::Differs { path, version } => {
                write!(f, "{} is not what the manager has since {version}", path.display())
            }
            Self::Named(issuer) => write!(f, "{issuer} is named as its issuer, which asks for these files"),
            Self::Awaits { issuer, why } => write!(f, "it waits for {issuer}: {why}"),
            Self::Asked => f.write_str("it is asked for"),
        }
    }
}
