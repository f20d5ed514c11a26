//! Everything that is due, done: the story of `reseed manager schedule`.
//!
//! What is due is a function of what the inventory says. Each certificate goes through it again after every step,
//! until nothing more is due now or a step of it failed: what comes next is never assumed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::crl;
use super::deploy::{Deployment, deploy};
use super::issue::{self, Wanted};
use super::publish::{Publication, publish};
use super::remind::remind;
use super::{Certificates, Hosts, OperateError, Operation};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{Name, State};
use crate::manager::inventory::schedule::{Action, Reason, Standing, Step, due, minute};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which certificates.
    pub certificates: Certificates,
    /// Which hosts are served.
    pub hosts: Hosts,
    /// TLSA records are published.
    pub with_records: bool,
}

/// How long a server may take to start again.
const PATIENCE: Duration = Duration::from_secs(60);

/// More steps than any certificate has to take in one run.
const ROUNDS: usize = 8;

/// Does what is due.
///
/// # Errors
/// [`OperateError`]; what was recorded until then stays.
pub fn schedule(op: &mut Operation<'_>, request: &Request) -> Result<(), OperateError> {
    let names = chosen(op, request)?;
    // It looks before every step, so that a store which comes back finds it where it was.
    op.patience = PATIENCE;
    let (_, actions) = look(op, names.as_deref())?;
    let is_now = |action: &&Action| !matches!(action.step, Step::Wait { .. } | Step::Remind);
    let busy: BTreeSet<Name> = actions.iter().filter(is_now).map(|it| it.certificate.clone()).collect();
    // Lists end, whether anything is revoked or not, and before what is revoked is put away.
    let listed = crl::write(op, &BTreeMap::new());
    op.each(&Vec::from_iter(busy), &mut |op, claimed| batch(op, request, claimed))?;
    reminders(op, names.as_deref())?;
    listed
}

/// Which certificates; nothing for all, however many there are.
fn chosen(op: &mut Operation<'_>, request: &Request) -> Result<Option<Vec<Name>>, OperateError> {
    if request.certificates.is_all() && request.hosts.is_all() {
        return Ok(None);
    }
    let objects = op.inventory.objects()?;
    request.hosts.check(&objects)?;
    request.certificates.among(&objects).map(Some)
}

/// What is due now for some certificates, or for all; and how many there are.
///
/// # Errors
/// [`OperateError`]
pub fn look(op: &mut Operation<'_>, names: Option<&[Name]>) -> Result<(usize, Vec<Action>), OperateError> {
    let (policy, now) = (op.config.site.inventory.policy, op.now());
    let (mut known, mut actions) = (0, Vec::new());
    op.inventory.standings(names, &mut |standing| {
        known += 1;
        actions.extend(due(&standing, &policy, now));
    })?;
    Ok((known, actions))
}

/// Takes some certificates as far as they go.
fn batch(op: &mut Operation<'_>, request: &Request, claimed: &[Name]) -> Result<(), OperateError> {
    let policy = op.config.site.inventory.policy;
    let mut failed: BTreeSet<Name> = BTreeSet::new();
    let mut issued: BTreeSet<Name> = BTreeSet::new();
    for _ in 0..ROUNDS {
        let now = op.now();
        let rest: Vec<Name> = claimed.iter().filter(|name| !failed.contains(*name)).cloned().collect();
        let mut work = Work::default();
        op.inventory.standings(Some(&rest), &mut |standing| {
            let actions = due(&standing, &policy, now);
            work.add(&standing, actions);
        })?;
        if work.is_empty() {
            for (name, says) in work.waits {
                op.report.left(name, says);
            }
            return Ok(());
        }
        // Whatever an authority sends, no certificate is issued twice in one run.
        let (fresh, again) =
            work.issue.into_iter().partition(|(wanted, _)| issued.insert(wanted.name.clone()));
        work.issue = fresh;
        for (Wanted { name, .. }, _) in Vec::from_iter(again) {
            failed.insert(name.clone());
            op.report.failed(name, "what was just issued cannot be used; `reseed manager check` says why");
        }
        failed.extend(work.carry_out(op, request)?);
    }
    Ok(())
}

/// What is due for a batch, sorted by who does it.
#[derive(Debug, Default)]
struct Work {
    events: Vec<(Name, Event, String)>,
    issue: Vec<(Wanted, String)>,
    prepublish: Vec<(Publication, i64, String)>,
    deploy: Vec<(Deployment, String)>,
    waits: Vec<(Name, String)>,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.issue.is_empty()
            && self.prepublish.is_empty()
            && self.deploy.is_empty()
    }

    fn add(&mut self, standing: &Standing, actions: Vec<Action>) {
        for Action { certificate: name, step, because } in actions {
            let because = because.to_string();
            let moved = |instance, to| Event::Moved { instance, to, taken_back: false };
            match step {
                Step::Issue { algorithms, must_staple, resume, .. } => {
                    self.issue.push((Wanted { name, algorithms, must_staple, resume }, because));
                }
                Step::Prepublish { instance, beside } => {
                    let publication = Publication { name, instances: vec![beside, instance] };
                    self.prepublish.push((publication, instance, because));
                }
                Step::Deploy { instance, .. } => {
                    let stage = standing.instances.iter().find(|it| it.id == instance);
                    self.deploy.extend(stage.map(|stage| (Deployment::of(standing, stage), because)));
                }
                Step::Wait { until, .. } => {
                    self.waits.push((name, format!("waits until {}: {because}", minute(until))));
                }
                // One message for all of them comes last.
                Step::Remind => {}
                Step::Expire { instance } => {
                    let says = format!("instance {instance} is expired: {because}");
                    self.events.push((name, moved(instance, State::Expired), says));
                }
                Step::Archive { instance } => {
                    let says = format!("instance {instance} is archived: {because}");
                    self.events.push((name, moved(instance, State::Archived), says));
                }
                Step::Discard { instance } => {
                    let says = format!("instance {instance} is removed: {because}");
                    self.events.push((name, Event::Discarded { instance }, says));
                }
            }
        }
    }

    /// Does it, and says which certificates are not gone on with.
    fn carry_out(self, op: &mut Operation<'_>, request: &Request) -> Result<BTreeSet<Name>, OperateError> {
        let mut told = Told { op, failed: BTreeSet::new() };
        for (name, event, says) in self.events {
            let result = told.op.record(&name, &[event])?;
            told.tell(name, result.map(|_| says));
        }
        let (wanted, because): (Vec<Wanted>, Vec<String>) = self.issue.into_iter().unzip();
        let because: BTreeMap<Name, String> = wanted.iter().map(|it| it.name.clone()).zip(because).collect();
        for (name, result) in issue::make(told.op, &wanted)? {
            let why = because.get(&name).map(String::as_str).unwrap_or_default();
            told.tell(name, result.map(|instance| format!("instance {instance} is issued: {why}")));
        }
        told.prepublish(request, self.prepublish)?;
        told.deploy(request, self.deploy)?;
        Ok(told.failed)
    }
}

/// Who tells what became of each certificate.
struct Told<'o, 'a> {
    op: &'o mut Operation<'a>,
    failed: BTreeSet<Name>,
}

impl Told<'_, '_> {
    fn tell(&mut self, name: Name, result: Result<String, String>) {
        match result {
            Ok(says) => self.op.report.done(name, says),
            Err(error) => {
                self.failed.insert(name.clone());
                self.op.report.failed(name, error);
            }
        }
    }

    fn prepublish(
        &mut self,
        request: &Request,
        wanted: Vec<(Publication, i64, String)>,
    ) -> Result<(), OperateError> {
        // Without records the time would pass, and nobody would know of the next key.
        if !request.with_records {
            for (publication, instance, _) in wanted {
                let says = format!("instance {instance} is not prepublished without its TLSA records");
                self.failed.insert(publication.name.clone());
                self.op.report.left(publication.name, says);
            }
            return Ok(());
        }
        let publications: Vec<Publication> = wanted.iter().map(|(it, ..)| it.clone()).collect();
        let mut published = publish(self.op, &publications)?;
        for (Publication { name, .. }, instance, because) in wanted {
            let to = Event::Moved { instance, to: State::Prepublished, taken_back: false };
            let result = match published.remove(&name) {
                // Where there are no records, none is missing.
                Some(Ok(_)) => self.op.record(&name, &[Event::Published { instance }, to])?.map(drop),
                Some(Err(error)) => Err(error),
                None => Err("nobody said what became of its records".to_owned()),
            };
            self.tell(name, result.map(|()| format!("instance {instance} is prepublished: {because}")));
        }
        Ok(())
    }

    fn deploy(&mut self, request: &Request, wanted: Vec<(Deployment, String)>) -> Result<(), OperateError> {
        let deployments: Vec<Deployment> = wanted.iter().map(|(it, _)| it.clone()).collect();
        let mut ended = deploy(self.op, &deployments, &request.hosts, request.with_records)?;
        for (Deployment { name, instance, .. }, because) in wanted {
            let result =
                ended.remove(&name).unwrap_or_else(|| Err("nobody said what became of it".to_owned()));
            self.tell(name, result.map(|()| format!("instance {instance} is deployed: {because}")));
        }
        Ok(())
    }
}

/// Has one message sent for all that somebody has to be reminded of.
fn reminders(op: &mut Operation<'_>, names: Option<&[Name]>) -> Result<(), OperateError> {
    let (_, actions) = look(op, names)?;
    let wanted: BTreeSet<Name> = reasons(actions).into_iter().map(|(name, _)| name).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let claimed = op.inventory.claim(&Vec::from_iter(wanted), usize::MAX)?;
    // Somebody else may have reminded between our look and our claim.
    let reminded = look(op, Some(&claimed)).and_then(|(_, actions)| match reasons(actions) {
        none if none.is_empty() => Ok(()),
        some => remind(op, &some),
    });
    claimed.iter().try_for_each(|name| op.inventory.release(name))?;
    reminded
}

fn reasons(actions: Vec<Action>) -> Vec<(Name, Reason)> {
    let reminds = actions.into_iter().filter(|action| action.step == Step::Remind);
    reminds.map(|action| (action.certificate, action.because)).collect()
}
