//! `issue`, `renew`: instances of certificates come to be.
//!
//! ```text
//! reserved (it has its number) → keys → signed, by an own authority or by a public one → issued
//! ```
//!
//! Who dies in between leaves an instance that is reserved; whoever goes on makes one of it, or another in its
//! place, and none is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::naming::names;
use super::sign::{self, Signer};
use super::{Certificates, OperateError, Operation, acquire};
use crate::manager::config::{AlternativeName, Subject};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::{Algorithms, Certificate, Kind, Name, State, SubjectType};
use crate::manager::inventory::schedule::{Stage, Standing};

/// An instance that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of which certificate; this manager has claimed it.
    pub name: Name,
    /// With which keys.
    pub algorithms: Algorithms,
    /// Whether it asks for OCSP stapling.
    pub must_staple: bool,
    /// The instance of an issue that was begun and did not end.
    pub resume: Option<i64>,
}

/// An instance that has its number.
pub(super) struct Begun {
    pub name: Name,
    pub instance: i64,
    pub subject_type: SubjectType,
    pub algorithms: Algorithms,
    pub must_staple: bool,
    pub subject: Subject,
    pub names: Vec<AlternativeName>,
}

/// What is wanted, with all that goes into it.
pub(super) struct Draft<'w> {
    pub wanted: &'w Wanted,
    pub certificate: Certificate,
    pub subject: Subject,
    pub names: Vec<AlternativeName>,
}

impl Draft<'_> {
    /// It has its number.
    pub fn begun(self, instance: i64) -> Begun {
        let Self { wanted, certificate, subject, names } = self;
        Begun {
            name: wanted.name.clone(),
            instance,
            subject_type: certificate.subject,
            algorithms: wanted.algorithms,
            must_staple: wanted.must_staple,
            subject,
            names,
        }
    }
}

/// What became of each, by name: the number of its new instance, or why there is none.
pub(super) type Made = BTreeMap<Name, Result<i64, String>>;

/// Makes an instance of each certificate, all of them side by side. What cannot be made says why, and holds up no
/// other.
///
/// # Errors
/// [`OperateError::Inventory`] when the inventory is gone; what was recorded stays.
pub fn make(op: &mut Operation<'_>, wanted: &[Wanted]) -> Result<Made, OperateError> {
    let names: Vec<Name> = wanted.iter().map(|one| one.name.clone()).collect();
    let mut certificates = op.inventory.objects_of(&names)?.certificates;
    let (mut made, mut own, mut public) = (Made::new(), Vec::new(), Vec::new());
    for one in wanted {
        let draft = match certificates.remove_entry(&one.name) {
            Some((name, certificate)) => draft(one, &name, certificate),
            None => Err("it is not in the inventory any more".to_owned()),
        };
        match draft {
            Ok(draft) if draft.certificate.kind == Kind::Local => own.push(draft),
            Ok(draft) => public.push(draft),
            Err(error) => {
                made.insert(one.name.clone(), Err(error));
            }
        }
    }
    made.extend(by_own(op, own)?);
    made.extend(acquire::make(op, public)?);
    Ok(made)
}

fn draft<'w>(wanted: &'w Wanted, name: &Name, certificate: Certificate) -> Result<Draft<'w>, String> {
    match certificate.subject {
        SubjectType::Ca => Err("it is an authority, which `reseed manager ca` makes".to_owned()),
        SubjectType::Reserved => Err("it is reserved: nothing is ever issued for it".to_owned()),
        SubjectType::Client | SubjectType::Server => {
            let (subject, names) = names(name, &certificate)?;
            Ok(Draft { wanted, certificate, subject, names })
        }
    }
}

/// Who signs certificates of a kind that is an own authority's.
fn authority(op: &Operation<'_>, certificate: &Certificate) -> Result<Name, String> {
    match &certificate.authority {
        Some(text) => Name::new(text).map_err(|refusal| refusal.to_string()),
        None => Ok(op.config.site.inventory.issuing.authority.clone()),
    }
}

/// Nothing is reserved before it is known that the authority signs.
fn by_own(op: &mut Operation<'_>, drafts: Vec<Draft<'_>>) -> Result<Made, OperateError> {
    let (mut made, mut begun) = (Made::new(), Vec::new());
    for draft in drafts {
        let name = draft.wanted.name.clone();
        let started = match by(op, &draft.certificate)? {
            Ok(signer) => reserve(op, draft.wanted, false)?.map(|number| (draft.begun(number), signer)),
            Err(error) => Err(error),
        };
        match started {
            Ok(started) => begun.push(started),
            Err(error) => {
                made.insert(name, Err(error));
            }
        }
    }
    let signed = sign::all(op, &begun)?;
    for ((begun, _), event) in begun.into_iter().zip(signed) {
        let result = match event {
            Ok(event) => op.record(&begun.name, &[event])?.map(|_| begun.instance),
            Err(error) => {
                // Nothing of it can be gone on with.
                op.record(&begun.name, &[Event::Discarded { instance: begun.instance }])?.and(Err(error))
            }
        };
        made.insert(begun.name, result);
    }
    Ok(made)
}

/// The authority of a certificate; the inner error is its own.
fn by(
    op: &mut Operation<'_>,
    certificate: &Certificate,
) -> Result<Result<Arc<Signer>, String>, OperateError> {
    match authority(op, certificate) {
        Ok(name) => own_error(sign::signer(op, &name)),
        Err(error) => Ok(Err(error)),
    }
}

/// What ends an operation, outside; what is wrong with one certificate, inside.
fn own_error<T>(result: Result<T, OperateError>) -> Result<Result<T, String>, OperateError> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(OperateError::Failed(error) | OperateError::Usage(error)) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// Gives it its number: a new one, unless what was begun is gone on with.
pub(super) fn reserve(
    op: &mut Operation<'_>,
    wanted: &Wanted,
    goes_on: bool,
) -> Result<Result<i64, String>, OperateError> {
    let Wanted { name, algorithms, must_staple, resume } = wanted;
    if let (Some(instance), true) = (resume, goes_on) {
        return Ok(Ok(*instance));
    }
    // The old number may have been given for other keys than are wanted now.
    let mut events: Vec<Event> = resume.map(|instance| Event::Discarded { instance }).into_iter().collect();
    events.push(Event::Reserved { algorithms: *algorithms, must_staple: *must_staple });
    let number = op.record(name, &events)?;
    Ok(number.and_then(|number| number.ok_or_else(|| "the inventory gave it no number".to_owned())))
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which certificates.
    pub certificates: Certificates,
    /// Which of these.
    pub only: Only,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// How long a server may take to start again.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Which of the certificates that are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// Each of them, whatever there is.
    Any,
    /// Those without an instance that is valid and whole.
    Missing,
    /// Local ones whose deployed instance ends within so many days, and that have no successor yet.
    Ending(u32),
}

/// Has instances made, as somebody says so.
///
/// # Errors
/// [`OperateError`]; what was recorded stays.
pub fn issue(op: &mut Operation<'_>, request: &Request) -> Result<(), OperateError> {
    let objects = op.inventory.objects()?;
    let mut names = request.certificates.among(&objects)?;
    names.retain(|name| {
        let Some(certificate) = objects.certificates.get(name) else { return false };
        let is_named = request.certificates.include.contains(name);
        if request.only != Only::Any
            && (certificate.disabled || certificate.subject == SubjectType::Ca)
            && !is_named
        {
            return false;
        }
        if certificate.disabled && !is_named {
            let says = "it is disabled; name it with --include to have it issued all the same";
            op.report.failed(name.clone(), says);
            return false;
        }
        true
    });
    let wanted = wanted(op, request.only, &names)?;
    let of_wanted: BTreeSet<&Name> = wanted.iter().map(|one| &one.name).collect();
    names.retain(|name| of_wanted.contains(name));
    if request.dry_run {
        for one in wanted {
            let staple = if one.must_staple { ", must staple" } else { "" };
            op.report.left(one.name, format!("would be issued: {}{staple}", one.algorithms));
        }
        return Ok(());
    }
    // What is wrong with an authority is told once, before anything is reserved.
    let (mut shut, mut without) = (BTreeSet::new(), BTreeSet::new());
    for name in &names {
        let Some(certificate) = objects.certificates.get(name) else { continue };
        let signs = matches!(certificate.subject, SubjectType::Client | SubjectType::Server);
        if certificate.kind == Kind::Local && signs {
            let Ok(by) = authority(op, certificate) else { continue };
            if shut.contains(&by) {
                without.insert(name.clone());
            } else if let Err(error) = own_error(sign::signer(op, &by))? {
                op.report.failures.push(error);
                without.insert(name.clone());
                shut.insert(by);
            }
        }
    }
    names.retain(|name| !without.contains(name));
    // What looks for what is missing finds what was done before a store went away.
    op.patience = if request.only == Only::Any { std::time::Duration::ZERO } else { PATIENCE };
    op.each(&names, &mut |op, claimed| {
        // Another manager may have issued it meanwhile.
        let wanted = self::wanted(op, request.only, claimed)?;
        for (name, result) in make(op, &wanted)? {
            match result {
                Ok(instance) => op.report.done(name, format!("instance {instance} is issued")),
                Err(error) => op.report.failed(name, error),
            }
        }
        Ok(())
    })
}

/// What is wanted of certificates, as they stand now.
fn wanted(op: &mut Operation<'_>, only: Only, names: &[Name]) -> Result<Vec<Wanted>, OperateError> {
    let (mut found, now) = (Vec::new(), op.now());
    op.inventory.standings(Some(names), &mut |standing| {
        if is_meant(&standing, only, now) {
            let begun = standing.instances.iter().filter(|it| it.state == State::Reserved);
            found.push(Wanted {
                algorithms: standing.algorithms,
                must_staple: standing.must_staple,
                resume: begun.map(|it| it.id).max(),
                name: standing.certificate,
            });
        }
    })?;
    Ok(found)
}

fn is_meant(standing: &Standing, only: Only, now: OffsetDateTime) -> bool {
    let out = [State::Issued, State::Prepublished, State::Deployed];
    let valid = |it: &&Stage| {
        it.whole
            && matches!((it.not_before, it.not_after), (Some(from), Some(until)) if from <= now && now < until)
    };
    let mut usable = standing.instances.iter().filter(|it| out.contains(&it.state)).filter(valid);
    match only {
        Only::Any => true,
        Only::Missing => usable.next().is_none(),
        Only::Ending(days) => {
            let deployed = standing.instances.iter().filter(|it| it.state == State::Deployed);
            let Some(deployed) = deployed.max_by_key(|it| it.id) else { return false };
            let ends =
                deployed.not_after.is_none_or(|end| end < now.saturating_add(Duration::days(days.into())));
            let succeeded = usable.any(|it| it.id > deployed.id && it.not_after > deployed.not_after);
            standing.kind == Kind::Local && ends && !succeeded
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-06-01 0:00 UTC);

    #[test]
    fn which_are_meant() {
        let stage = |id, state, whole, until: i64| Stage {
            id,
            state,
            whole,
            not_before: Some(NOW - Duration::days(10)),
            not_after: Some(NOW + Duration::days(until)),
            published: None,
            touched: None,
            missing: 0,
        };
        use State::{Deployed, Expired, Issued, Reserved};
        let rows: [(&str, Kind, Vec<Stage>, [bool; 3]); 9] = [
            ("nothing", Kind::Local, vec![], [true, true, false]),
            ("begun", Kind::Local, vec![stage(1, Reserved, false, 90)], [true, true, false]),
            ("issued", Kind::Local, vec![stage(1, Issued, true, 90)], [true, false, false]),
            ("half", Kind::Local, vec![stage(1, Issued, false, 90)], [true, true, false]),
            ("over", Kind::Local, vec![stage(1, Issued, true, 0)], [true, true, false]),
            ("expired", Kind::Local, vec![stage(1, Expired, true, 9)], [true, true, false]),
            ("ends soon", Kind::Local, vec![stage(1, Deployed, true, 29)], [true, false, true]),
            ("ends soon, public", Kind::Le, vec![stage(1, Deployed, true, 29)], [true, false, false]),
            (
                "has a successor",
                Kind::Local,
                vec![stage(1, Deployed, true, 29), stage(2, Issued, true, 300)],
                [true, false, false],
            ),
        ];
        for (case, kind, instances, expected) in rows {
            let standing = Standing {
                certificate: Name::new("a.example").unwrap(),
                subject: SubjectType::Server,
                kind,
                disabled: false,
                algorithms: Algorithms::Rsa,
                must_staple: false,
                tlsa_ttl: None,
                authorized_until: None,
                reminded: None,
                instances,
            };
            let all = [Only::Any, Only::Missing, Only::Ending(30)];
            assert_eq!(all.map(|only| is_meant(&standing, only, NOW)), expected, "{case}");
        }
    }
}
