//! Actions, and why they are due.

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use crate::manager::inventory::model::{Algorithms, Name};

/// Something that is due for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// Its name.
    pub certificate: Name,
    /// What.
    #[serde(flatten)]
    pub step: Step,
    /// Why.
    pub because: Reason,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Step {
    /// Have a new instance made.
    Issue {
        /// With which keys.
        algorithms: Algorithms,
        /// Whether it asks for OCSP stapling.
        must_staple: bool,
        /// The authority takes the names as proven.
        proven: bool,
        /// The instance of an issue that was begun and did not end.
        resume: Option<i64>,
        /// What is due afterwards.
        then: Next,
    },
    /// Publish its records, for each of its keys, beside those of what is deployed.
    Prepublish {
        /// Whose.
        instance: i64,
        /// What is deployed, and keeps its records.
        beside: i64,
    },
    /// Bring it to every host that does not have it.
    Deploy {
        /// What.
        instance: i64,
        /// What expires once it is on every host.
        replaces: Option<i64>,
    },
    /// Nothing yet: its records have to be known everywhere first.
    Wait {
        /// What.
        instance: i64,
        /// Until when.
        #[serde(with = "time::serde::rfc3339")]
        until: OffsetDateTime,
    },
    /// Remind whoever issues local certificates; remembered when the message is really sent.
    Remind,
    /// Note that it is over.
    Expire {
        /// What.
        instance: i64,
    },
    /// Keep it for the record only.
    Archive {
        /// What.
        instance: i64,
    },
    /// Remove the record.
    Discard {
        /// What.
        instance: i64,
    },
}

/// What is due after an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    /// It is published beside what is deployed.
    Prepublish,
    /// It is deployed at once.
    Deploy,
}

/// Why something is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// What is deployed ends.
    Ends {
        /// Its number.
        instance: i64,
        /// When.
        #[serde(with = "time::serde::rfc3339::option")]
        at: Option<OffsetDateTime>,
    },
    /// Nothing is deployed.
    NothingDeployed,
    /// Nothing has been issued.
    NothingIssued,
    /// What was deployed has been revoked.
    Revoked,
    /// Hosts of the certificate do not have it.
    HostsMissing {
        /// How many.
        hosts: u32,
    },
    /// Its records are not yet known everywhere.
    RecordsYoung,
    /// Its validity has not begun.
    NotYetValid,
    /// A later instance is deployed.
    SuccessorOut,
    /// Its time is over, and it was never out.
    Over,
    /// It has ended.
    Ended,
    /// Its issue was begun and never ended.
    NeverIssued,
    /// The record has been kept as long as it is to be.
    KeptLongEnough,
}

impl Step {
    /// One word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Issue { .. } => "issue",
            Self::Prepublish { .. } => "prepublish",
            Self::Deploy { .. } => "deploy",
            Self::Wait { .. } => "wait",
            Self::Remind => "remind",
            Self::Expire { .. } => "expire",
            Self::Archive { .. } => "archive",
            Self::Discard { .. } => "discard",
        }
    }

    /// The instance that it is about; nothing before there is one.
    pub fn instance(&self) -> Option<i64> {
        match self {
            Self::Issue { resume, .. } => *resume,
            Self::Remind => None,
            Self::Prepublish { instance, .. }
            | Self::Deploy { instance, .. }
            | Self::Wait { instance, .. }
            | Self::Expire { instance }
            | Self::Archive { instance }
            | Self::Discard { instance } => Some(*instance),
        }
    }

    /// The particulars, for people.
    pub fn particulars(&self) -> String {
        match self {
            Self::Issue { algorithms, must_staple, proven, then, .. } => {
                let staple = if *must_staple { ", must staple" } else { "" };
                let proven = if *proven { ", names proven" } else { "" };
                let then = if *then == Next::Deploy { "deploy" } else { "prepublish" };
                format!("{algorithms}{staple}{proven}, then {then}")
            }
            Self::Prepublish { beside, .. } => format!("beside {beside}"),
            Self::Deploy { replaces: Some(old), .. } => format!("then expire {old}"),
            Self::Wait { until, .. } => format!("until {}", minute(*until)),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ends { instance, at: Some(at) } => write!(f, "{instance} ends {}", minute(*at)),
            Self::Ends { instance, at: None } => write!(f, "nobody knows when {instance} ends"),
            Self::NothingDeployed => f.write_str("nothing is deployed"),
            Self::NothingIssued => f.write_str("nothing has been issued"),
            Self::Revoked => f.write_str("what was deployed is revoked"),
            Self::HostsMissing { hosts: 1 } => f.write_str("1 host does not have it"),
            Self::HostsMissing { hosts } => write!(f, "{hosts} hosts do not have it"),
            Self::NotYetValid => f.write_str("it is not valid yet"),
            Self::RecordsYoung => f.write_str("its records are not known everywhere"),
            Self::SuccessorOut => f.write_str("a later one is deployed"),
            Self::Over => f.write_str("its time is over"),
            Self::Ended => f.write_str("it has ended"),
            Self::NeverIssued => f.write_str("its issue never ended"),
            Self::KeptLongEnough => f.write_str("it has been kept long enough"),
        }
    }
}

/// A time to the minute, in UTC.
pub fn minute(time: OffsetDateTime) -> impl fmt::Display {
    let time = time.to_offset(time::UtcOffset::UTC);
    fmt::from_fn(move |f| write!(f, "{} {:02}:{:02}", time.date(), time.hour(), time.minute()))
}
