//! What is due for the certificates of a fleet: a function of what the inventory says and of the time.
//!
//! ```text
//!  not_before                              −prepublish        −change-over     not_after
//!      ├──────────────────────────────────────┼───────────────────┼──────────────┤
//!              deployed                       │ issue, publish    │ deploy the   │
//!                                             │ beside it         │ next, expire │
//! ```
//!
//! An action is only what would be done next. Its outcome is recorded, and what follows is due then: nothing is
//! taken as done because it was begun.

mod action;
mod ahead;
#[cfg(test)]
mod tests;

use serde::Serialize;
use time::{Duration, OffsetDateTime};

pub use action::{Action, Next, Reason, Step, minute};
pub use ahead::ahead;

use super::model::{Algorithms, Kind, Name, State, SubjectType};

/// How early things are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Days before its end at which a successor's records are to be out; at most a third of a lifetime.
    pub prepublish_days: u32,
    /// Days before its end at which somebody is reminded of a local certificate; at most a third of a lifetime.
    pub remind_days: u32,
    /// Days for which the record of what has ended is kept.
    pub keep_days: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { prepublish_days: 30, remind_days: 30, keep_days: 365 }
    }
}

/// Before its end at which a successor takes over; at most a tenth of a lifetime.
const CHANGE_OVER: Duration = Duration::days(1);
/// After its end until which an instance that was never out is kept.
const GRACE: Duration = Duration::days(1);
/// An issue that has not ended by then is given up.
const RESERVED: Duration = Duration::days(1);

/// How a certificate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub certificate: Name,
    /// What it is for.
    pub subject: SubjectType,
    /// Who signs.
    pub kind: Kind,
    /// Nothing is issued or deployed.
    pub disabled: bool,
    /// Which keys the next instance has.
    pub algorithms: Algorithms,
    /// The next instance asks for OCSP stapling.
    pub must_staple: bool,
    /// The longest TTL of its TLSA records in seconds; nothing where it has none.
    pub tlsa_ttl: Option<u32>,
    /// Until when the authority takes its names as proven.
    pub authorized_until: Option<OffsetDateTime>,
    /// When somebody was reminded.
    pub reminded: Option<OffsetDateTime>,
    /// Its instances, in any order.
    pub instances: Vec<Stage>,
}

/// How an instance stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its number.
    pub id: i64,
    /// Its state.
    pub state: State,
    /// It holds a certificate for each of its keys.
    pub whole: bool,
    /// Start of validity.
    pub not_before: Option<OffsetDateTime>,
    /// End of validity.
    pub not_after: Option<OffsetDateTime>,
    /// Since when its records are out.
    pub published: Option<OffsetDateTime>,
    /// When it was last changed, or made.
    pub touched: Option<OffsetDateTime>,
    /// Hosts of the certificate that do not have it, or where who reads it has still to be told.
    pub missing: u32,
}

impl Stage {
    fn is_valid(&self, now: OffsetDateTime) -> bool {
        matches!((self.not_before, self.not_after), (Some(from), Some(until)) if from <= now && now < until)
    }

    /// Its end less a length of time that is at most a part of its lifetime.
    fn before_end(&self, length: Duration, part: i32) -> Option<OffsetDateTime> {
        let end = self.not_after?;
        let lifetime = self.not_before.map_or(length, |from| (end - from).max(Duration::ZERO));
        end.checked_sub(length.min(lifetime / part))
    }

    fn is_past(&self, length: Duration, part: i32, now: OffsetDateTime) -> bool {
        self.before_end(length, part).is_none_or(|moment| moment <= now)
    }
}

/// What is due for a certificate now, in the order in which it is to be done.
pub fn due(standing: &Standing, policy: &Policy, now: OffsetDateTime) -> Vec<Action> {
    // An authority is renewed by whoever knows its pass-phrase, and what is reserved is nothing.
    if matches!(standing.subject, SubjectType::Ca | SubjectType::Reserved) {
        return Vec::new();
    }
    let course = Course::of(standing, now);
    let mut actions = course.bookkeeping(policy);
    actions.extend(course.reminder(policy));
    if !standing.disabled {
        actions.extend(course.next(policy));
    }
    actions
}

/// The instances of a certificate by the part that they play.
struct Course<'a> {
    standing: &'a Standing,
    now: OffsetDateTime,
    /// The latest that is deployed.
    deployed: Option<&'a Stage>,
    /// The latest that is prepublished, later than what is deployed, and fit to be.
    prepublished: Option<&'a Stage>,
    /// Likewise of those that are issued.
    issued: Option<&'a Stage>,
}

impl<'a> Course<'a> {
    fn of(standing: &'a Standing, now: OffsetDateTime) -> Self {
        let latest =
            |state| standing.instances.iter().filter(move |it| it.state == state).max_by_key(|it| it.id);
        let deployed = latest(State::Deployed);
        let fit = |state| {
            let later = |it: &&Stage| deployed.is_none_or(|deployed| it.id > deployed.id);
            let all = standing.instances.iter().filter(move |it| it.state == state);
            // One whose time has not come yet is waited for, not made once more: its authority's clock is ahead.
            let lives = |it: &&Stage| it.whole && it.not_after.is_some_and(|end| now < end);
            all.filter(later).filter(lives).max_by_key(|it| (it.is_valid(now), it.id))
        };
        let (prepublished, issued) = (fit(State::Prepublished), fit(State::Issued));
        Self { standing, now, deployed, prepublished, issued }
    }

    fn action(&self, step: Step, because: Reason) -> Action {
        Action { certificate: self.standing.certificate.clone(), step, because }
    }

    /// What ends.
    fn bookkeeping(&self, policy: &Policy) -> Vec<Action> {
        let old = |it: &Stage, age: Duration| it.touched.is_none_or(|touched| touched + age <= self.now);
        let mut instances: Vec<&Stage> = self.standing.instances.iter().collect();
        instances.sort_by_key(|it| it.id);
        let one = |it: &&Stage| {
            let id = it.id;
            let superseded = self.deployed.is_some_and(|deployed| deployed.id > id);
            let over = it.not_after.is_none_or(|end| end + GRACE <= self.now);
            let (step, because) = match it.state {
                State::Reserved if old(it, RESERVED) => (Step::Discard { instance: id }, Reason::NeverIssued),
                State::Archived if old(it, Duration::days(policy.keep_days.into())) => {
                    (Step::Discard { instance: id }, Reason::KeptLongEnough)
                }
                State::Expired => (Step::Archive { instance: id }, Reason::Ended),
                State::Revoked if superseded || over => (Step::Archive { instance: id }, Reason::Ended),
                State::Deployed if superseded => (Step::Expire { instance: id }, Reason::SuccessorOut),
                State::Issued | State::Prepublished if superseded => {
                    (Step::Archive { instance: id }, Reason::SuccessorOut)
                }
                State::Issued | State::Prepublished if over => (Step::Expire { instance: id }, Reason::Over),
                _ => return None,
            };
            Some(self.action(step, because))
        };
        instances.iter().filter_map(one).collect()
    }

    /// A successor that outlives what is deployed.
    fn successor(&self) -> Option<&'a Stage> {
        let end = self.deployed.and_then(|deployed| deployed.not_after);
        [self.prepublished, self.issued].into_iter().flatten().find(|it| it.not_after > end)
    }

    /// Local certificates are issued by people; disabled ones, too, are not forgotten while they are served.
    fn reminder(&self, policy: &Policy) -> Option<Action> {
        let standing = self.standing;
        if standing.kind != Kind::Local || self.successor().is_some() {
            return None;
        }
        let Some(deployed) = self.deployed else {
            let was_served = standing.instances.iter().any(|it| it.state == State::Revoked);
            let because = if was_served { Reason::Revoked } else { Reason::NothingIssued };
            let wanted = !standing.disabled && standing.reminded.is_none();
            return wanted.then(|| self.action(Step::Remind, because));
        };
        let from = deployed.before_end(Duration::days(policy.remind_days.into()), 3)?;
        let reminded = standing.reminded.is_some_and(|reminded| reminded >= from);
        (from <= self.now && !reminded).then(|| self.action(Step::Remind, ends(deployed)))
    }

    /// What moves the certificate on.
    fn next(&self, policy: &Policy) -> Option<Action> {
        let Some(deployed) = self.deployed else {
            let was_served = self.standing.instances.iter().any(|it| it.state == State::Revoked);
            let because = if was_served { Reason::Revoked } else { Reason::NothingDeployed };
            return match self.prepublished.or(self.issued) {
                Some(next) => Some(self.deploy(next, None, because)),
                None => self.issue(Next::Deploy, because),
            };
        };
        if deployed.is_past(CHANGE_OVER, 10, self.now) {
            return match self.prepublished.or(self.issued).filter(|next| self.is_later_end(next)) {
                Some(next) => Some(self.change_over(deployed, next)),
                None => self.issue(Next::Deploy, ends(deployed)),
            };
        }
        if deployed.missing > 0 {
            let step = Step::Deploy { instance: deployed.id, replaces: None };
            return Some(self.action(step, Reason::HostsMissing { hosts: deployed.missing }));
        }
        let span = Duration::days(policy.prepublish_days.into());
        let waits = self.prepublished.is_some_and(|next| self.is_later_end(next));
        if self.standing.kind != Kind::Le || waits || !deployed.is_past(span, 3, self.now) {
            return None;
        }
        match self.issued.filter(|next| self.is_later_end(next)) {
            Some(next) => Some(self.publish(deployed, next, ends(deployed))),
            None => self.issue(Next::Prepublish, ends(deployed)),
        }
    }

    /// Says whether an instance outlives what is deployed.
    fn is_later_end(&self, next: &Stage) -> bool {
        self.deployed.is_none_or(|deployed| next.not_after > deployed.not_after)
    }

    /// Nobody may be left with records of the old key alone while the new one is served.
    fn change_over(&self, deployed: &Stage, next: &Stage) -> Action {
        let because = ends(deployed);
        let Some(ttl) = self.standing.tlsa_ttl else { return self.deploy(next, Some(deployed), because) };
        let length = Duration::seconds(i64::from(ttl) * 2);
        let is_there_time = deployed.not_after.is_some_and(|end| self.now + length < end);
        match next.published {
            Some(since) if since + length <= self.now => self.deploy(next, Some(deployed), because),
            _ if !is_there_time => self.deploy(next, Some(deployed), because),
            Some(since) => {
                let step = Step::Wait { instance: next.id, until: since + length };
                self.action(step, Reason::RecordsYoung)
            }
            None => self.publish(deployed, next, because),
        }
    }

    fn deploy(&self, next: &Stage, replaces: Option<&Stage>, because: Reason) -> Action {
        if let Some(until) = next.not_before.filter(|from| self.now < *from) {
            return self.action(Step::Wait { instance: next.id, until }, Reason::NotYetValid);
        }
        let step = Step::Deploy { instance: next.id, replaces: replaces.map(|deployed| deployed.id) };
        self.action(step, because)
    }

    fn publish(&self, deployed: &Stage, next: &Stage, because: Reason) -> Action {
        self.action(Step::Prepublish { instance: next.id, beside: deployed.id }, because)
    }

    /// Local certificates are issued when somebody says so.
    fn issue(&self, then: Next, because: Reason) -> Option<Action> {
        let standing = self.standing;
        if standing.kind == Kind::Local {
            return None;
        }
        // One that has begun is finished, not begun again.
        let begun = standing.instances.iter().filter(|it| it.state == State::Reserved);
        let step = Step::Issue {
            algorithms: standing.algorithms,
            must_staple: standing.must_staple,
            proven: standing.authorized_until.is_some_and(|until| until > self.now),
            resume: begun.map(|it| it.id).max(),
            then,
        };
        Some(self.action(step, because))
    }
}

fn ends(stage: &Stage) -> Reason {
    Reason::Ends { instance: stage.id, at: stage.not_after }
}
