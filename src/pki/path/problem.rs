//! What can be wrong with a certificate in a path, in words that say what to do.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use crate::pki::Usage;
use crate::pki::x509::crl::Reason;

/// What is wrong with one certificate, or odd about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// It is no certificate; in the words of the reader.
    Unreadable(String),
    /// It starts later.
    NotYetValid {
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        from: OffsetDateTime,
    },
    /// It has ended.
    Expired {
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// Its issuer is neither in the file nor trusted.
    MissingIssuer {
        /// The issuer's subject.
        issuer: String,
    },
    /// It is a root that nobody trusts.
    UntrustedRoot,
    /// There is a certificate with its issuer's name, whose key did not sign it.
    Signature {
        /// The issuer's subject.
        issuer: String,
    },
    /// The signature cannot be looked at.
    UnknownAlgorithm {
        /// Its identifier, dotted.
        algorithm: String,
    },
    /// The way up has too many certificates.
    TooLong,
    /// It signed another one, but is no authority's.
    NotCa,
    /// It signed another one, but its key usage does not allow that.
    MayNotSign,
    /// More authorities follow below it than it allows.
    PathLength {
        /// How many it allows.
        limit: u32,
        /// How many there are.
        found: usize,
    },
    /// It refers to another key of its issuer.
    AuthorityKey {
        /// The issuer's subject.
        issuer: String,
    },
    /// It is not for that name.
    Name {
        /// The name that was asked for.
        name: String,
        /// The names that it is for.
        names: Vec<String>,
    },
    /// It may not be used for that.
    Purpose(Usage),
    /// An authority above may not sign for a name that is in it.
    Constraint {
        /// The authority's subject.
        issuer: String,
        /// The name.
        name: String,
    },
    /// It has a critical extension that is not known here, so that nobody can say what it means.
    CriticalExtension {
        /// Its identifier, dotted.
        extension: String,
    },
    /// It is signed over a digest for which collisions are made: MD5, SHA-1.
    WeakDigest,
    /// Its RSA key has fewer than 2048 bits.
    WeakKey {
        /// How many.
        bits: usize,
    },
    /// Its issuer has revoked it.
    Revoked {
        /// Since when.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
        /// Why.
        reason: Reason,
    },
    /// Remark: it ends after its issuer.
    OutlivesIssuer {
        /// When the issuer ends.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// Remark: in the file it does not stand right after the one that it issued.
    WrongOrder,
    /// Remark: it is a root and stands in the file; clients have it, or do not trust it.
    RootInFile,
    /// Remark: it stands in the file and issued nothing of it.
    Unused,
    /// Remark: it is an authority's; many clients refuse that of a server.
    CaAsServer,
    /// Remark: the list of what its issuer revoked is out of date.
    StaleList {
        /// When the next one was due.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
    /// Remark: a list with its issuer's name is not signed by that one's key.
    UnsignedList,
}

impl Problem {
    /// Says whether clients take the certificate all the same.
    pub fn is_remark(&self) -> bool {
        matches!(
            self,
            Self::OutlivesIssuer { .. }
                | Self::WrongOrder
                | Self::RootInFile
                | Self::Unused
                | Self::CaAsServer
                | Self::StaleList { .. }
                | Self::UnsignedList
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => f.write_str(why),
            Self::NotYetValid { from } => write!(f, "is not valid before {from}"),
            Self::Expired { at } => write!(f, "has expired at {at}"),
            Self::MissingIssuer { issuer } => {
                write!(f, "its issuer is missing: {issuer}; add that certificate to the file, or trust it")
            }
            Self::UntrustedRoot => f.write_str("is a root that is not trusted"),
            Self::Signature { issuer } => {
                write!(f, "its signature is not of the key of {issuer}; that is another one of the same name")
            }
            Self::UnknownAlgorithm { algorithm } => {
                write!(f, "its signature cannot be verified: algorithm {algorithm} is not known here")
            }
            Self::TooLong => f.write_str("is not the last of too many certificates"),
            Self::NotCa => f.write_str("is not an authority's, but has signed the one below it"),
            Self::MayNotSign => f.write_str("may not sign certificates (keyUsage), but has"),
            Self::PathLength { limit, found } => {
                write!(f, "allows {limit} authorities below it (pathLen), but there are {found}")
            }
            Self::AuthorityKey { issuer } => write!(
                f,
                "refers to another key than that of {issuer} (authorityKeyIdentifier): OpenSSL does not find \
                 its issuer; make it again"
            ),
            Self::Name { name, names } if names.is_empty() => {
                write!(f, "is not for {name}: it has no subjectAltName, and clients look at nothing else")
            }
            Self::Name { name, names } => write!(f, "is not for {name}, only for {}", names.join(", ")),
            Self::Purpose(Usage::Server) => f.write_str("may not be used by a server (extendedKeyUsage)"),
            Self::Purpose(Usage::Client) => f.write_str("may not be used by a client (extendedKeyUsage)"),
            Self::Constraint { issuer, name } => {
                write!(f, "is for {name}, for which {issuer} may not sign (nameConstraints)")
            }
            Self::CriticalExtension { extension } => {
                write!(f, "has a critical extension that is not known here: {extension}")
            }
            Self::WeakDigest => f.write_str("is signed over MD5 or SHA-1, which clients refuse"),
            Self::WeakKey { bits } => {
                write!(f, "has an RSA key of {bits} bits; clients refuse less than 2048")
            }
            Self::Revoked { at, reason } => write!(f, "is revoked since {at} ({reason})"),
            Self::OutlivesIssuer { at } => write!(f, "ends after its issuer, which ends at {at}"),
            Self::WrongOrder => f.write_str("does not stand right after the certificate that it issued"),
            Self::RootInFile => f.write_str("is a root, and need not be in the file"),
            Self::Unused => f.write_str("is in the file, but issued nothing in it"),
            Self::CaAsServer => f.write_str("is an authority's, which many clients refuse of a server"),
            Self::StaleList { since } => {
                write!(f, "whether it is revoked is not known: a newer list was due at {since}")
            }
            Self::UnsignedList => {
                f.write_str("whether it is revoked is not known: the list is not signed by its issuer's key")
            }
        }
    }
}
