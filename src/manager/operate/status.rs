//! How an inventory stands, in a few figures: read from one end to the other, with nothing kept of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::{OperateError, Operation};
use crate::manager::inventory::model::{Kind, Name, State, SubjectType};
use crate::manager::inventory::schedule::{Action, Standing, ahead, due, minute};
use crate::manager::inventory::store::Trouble;

/// What is due next, and deliveries that failed: so many are told.
const TOLD: usize = 10;

/// How an inventory stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Where it lies.
    pub inventory: String,
    /// How many certificates there are.
    pub certificates: Certificates,
    /// Instances by state.
    pub instances: BTreeMap<&'static str, u64>,
    /// What is due now, by what it is; `reseed manager schedule` does it.
    pub due: BTreeMap<&'static str, u64>,
    /// What is due next, soonest first.
    pub next: Vec<Next>,
    /// The latest deliveries that did not end well, of instances that are still to be served.
    pub failed: Vec<Trouble>,
}

/// How many certificates there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Certificates {
    /// All, without authorities and what is reserved.
    pub all: u64,
    /// By a public authority.
    pub public: u64,
    /// By an own one.
    pub local: u64,
    /// For which nothing is issued or deployed.
    pub disabled: u64,
    /// With an instance that is deployed and valid.
    pub served: u64,
    /// With one that is deployed and over.
    pub over: u64,
    /// Authorities.
    pub authorities: u64,
}

/// Something that will be due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// Counts: of the named ones, or of all.
///
/// # Errors
/// [`OperateError`], also for a name that is not in the inventory.
pub fn status(op: &mut Operation<'_>, some: Option<&[Name]>) -> Result<Status, OperateError> {
    let (policy, now) = (op.config.site.inventory.policy, op.now());
    let mut status = Status {
        inventory: op.inventory.shown(),
        certificates: Certificates::default(),
        instances: BTreeMap::new(),
        due: BTreeMap::new(),
        next: Vec::new(),
        failed: Vec::new(),
    };
    let mut seen = 0_usize;
    op.inventory.standings(some, &mut |standing| {
        seen += 1;
        status.count(&standing, now);
        for action in due(&standing, &policy, now) {
            *status.due.entry(action.step.name()).or_default() += 1;
        }
        if let Some((at, action)) = ahead(&standing, &policy, now) {
            status.soonest(Next { at, action });
        }
    })?;
    if some.is_some_and(|some| some.len() > seen) {
        let says =
            "not all of these certificates are in the inventory; `reseed manager inventory list` names all";
        return Err(OperateError::Usage(says.to_owned()));
    }
    status.failed = op.inventory.troubles(if some.is_some() { usize::MAX } else { TOLD })?;
    if let Some(some) = some {
        status.failed.retain(|trouble| some.contains(&trouble.certificate));
        status.failed.truncate(TOLD);
    }
    Ok(status)
}

impl Status {
    fn count(&mut self, standing: &Standing, now: OffsetDateTime) {
        for stage in &standing.instances {
            use crate::manager::inventory::model::Word as _;
            *self.instances.entry(stage.state.text()).or_default() += 1;
        }
        let counts = &mut self.certificates;
        match standing.subject {
            SubjectType::Ca => return counts.authorities += 1,
            SubjectType::Reserved => return,
            _ => counts.all += 1,
        }
        match standing.kind {
            Kind::Le => counts.public += 1,
            Kind::Local => counts.local += 1,
        }
        counts.disabled += u64::from(standing.disabled);
        let deployed = || standing.instances.iter().filter(|stage| stage.state == State::Deployed);
        let is_over = |end: Option<OffsetDateTime>| end.is_some_and(|end| end <= now);
        if deployed().any(|stage| !is_over(stage.not_after)) {
            counts.served += 1;
        } else if deployed().next().is_some() {
            counts.over += 1;
        }
    }

    /// Keeps what comes soonest.
    fn soonest(&mut self, next: Next) {
        let at = self.next.partition_point(|known| known.at <= next.at);
        if at < TOLD {
            self.next.insert(at, next);
            self.next.truncate(TOLD);
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Certificates { all, public, local, disabled, served, over, authorities } = self.certificates;
        writeln!(f, "{}", self.inventory)?;
        writeln!(
            f,
            "{all} certificates: {public} by a public authority, {local} by an own one; {served} served, {over} \
             served beyond their end, {disabled} disabled; {authorities} authorities"
        )?;
        writeln!(f, "instances: {}", counted(&self.instances))?;
        writeln!(f, "due now: {}", counted(&self.due))?;
        if let Some(first) = self.next.first() {
            writeln!(f, "due next, from {} on:", minute(first.at))?;
        }
        for Next { at, action } in &self.next {
            writeln!(f, "  {}  {}  {}", minute(*at), action.step.name(), action.certificate)?;
        }
        if !self.failed.is_empty() {
            writeln!(f, "failed lately:")?;
        }
        for Trouble { certificate, instance, host, delivery } in &self.failed {
            use crate::manager::inventory::model::Word as _;
            let says = delivery.says.as_ref().map(|says| format!(": {says}")).unwrap_or_default();
            let how = delivery.outcome.text();
            writeln!(f, "  {}  {host}  {certificate} {instance} {how}{says}", minute(delivery.at))?;
        }
        Ok(())
    }
}

fn counted(counts: &BTreeMap<&str, u64>) -> String {
    if counts.is_empty() {
        return "nothing".to_owned();
    }
    counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
