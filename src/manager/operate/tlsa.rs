//! `tlsa`: brings the TLSA records of what is served, and of what will be, into their zones again; or takes them
//! away.

use super::choice::Certificates;
use super::publish::{Publication, publish, stages, withdraw};
use super::{OperateError, Operation};
use crate::manager::inventory::model::{Name, State};
use crate::manager::inventory::schedule::Stage;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Whose records.
    pub certificates: Certificates,
    /// Take them away.
    pub remove: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

const NO_SERVICES: &str = "no services with TLSA records are linked with it";

/// Publishes again, or removes.
///
/// # Errors
/// [`OperateError`]; what failed of single certificates is in the report.
pub fn tlsa(op: &mut Operation<'_>, request: &Request) -> Result<(), OperateError> {
    let names = request.certificates.among(&op.inventory.objects()?)?;
    if request.dry_run {
        return would(op, &names, request.remove);
    }
    op.each(&names, &mut |op, names| match request.remove {
        true => remove(op, names),
        false => again(op, names),
    })
}

fn would(op: &mut Operation<'_>, names: &[Name], remove: bool) -> Result<(), OperateError> {
    let objects = op.inventory.objects_of(names)?;
    let stages = stages(op, names)?;
    for name in names {
        let has_services = objects.certificates.get(name).is_some_and(|it| !it.services.is_empty());
        let out = stages.get(name).map(|stages| out(stages)).unwrap_or_default();
        let says = match (has_services, remove, out.is_empty()) {
            (false, ..) => NO_SERVICES.to_owned(),
            (true, true, _) => "its TLSA records would be taken away".to_owned(),
            (true, false, true) => NOTHING.to_owned(),
            (true, false, false) => {
                format!("the TLSA records of {} would be published", numbers(&out))
            }
        };
        op.report.left(name.clone(), says);
    }
    Ok(())
}

const NOTHING: &str = "nothing of it is served, so its TLSA records stay as they are";

fn again(op: &mut Operation<'_>, names: &[Name]) -> Result<(), OperateError> {
    let stages = stages(op, names)?;
    let mut wanted = Vec::new();
    for name in names {
        let instances = stages.get(name).map(|stages| out(stages)).unwrap_or_default();
        match instances.is_empty() {
            true => op.report.left(name.clone(), NOTHING),
            false => wanted.push(Publication { name: name.clone(), instances }),
        }
    }
    let mut results = publish(op, &wanted)?;
    for Publication { name, instances } in wanted {
        match results.remove(&name) {
            Some(Ok(true)) => {
                op.report.done(name, format!("the TLSA records of {} are out", numbers(&instances)));
            }
            Some(Ok(false)) => op.report.left(name, NO_SERVICES),
            Some(Err(why)) => op.report.failed(name, why),
            None => {}
        }
    }
    Ok(())
}

fn remove(op: &mut Operation<'_>, names: &[Name]) -> Result<(), OperateError> {
    for (name, result) in withdraw(op, names)? {
        match result {
            Ok(true) => op.report.done(name, "its TLSA records are taken away"),
            Ok(false) => op.report.left(name, NO_SERVICES),
            Err(why) => op.report.failed(name, why),
        }
    }
    Ok(())
}

/// Those that some host may show: what is deployed or prepublished, and what is on its way to hosts with its
/// records already out.
fn out(stages: &[Stage]) -> Vec<i64> {
    let deployed = stages.iter().filter(|it| it.state == State::Deployed).map(|it| it.id).max();
    let is_out = |it: &&Stage| match it.state {
        State::Deployed | State::Prepublished => true,
        State::Issued => it.published.is_some() && deployed.is_none_or(|deployed| it.id > deployed),
        State::Reserved | State::Revoked | State::Expired | State::Archived => false,
    };
    stages.iter().filter(is_out).map(|it| it.id).collect()
}

fn numbers(instances: &[i64]) -> String {
    let words: Vec<String> = instances.iter().map(ToString::to_string).collect();
    let noun = if instances.len() == 1 { "instance" } else { "instances" };
    format!("{noun} {}", words.join(" and "))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn whose_records_are_out() {
        use State::*;
        type Row<'a> = (&'a str, &'a [(State, bool)], &'a [i64]);
        let rows: [Row<'_>; 7] = [
            ("nothing", &[], &[]),
            ("what is deployed", &[(Archived, true), (Expired, true), (Deployed, true)], &[3]),
            ("and what will be", &[(Deployed, true), (Prepublished, true)], &[1, 2]),
            ("two that are deployed: a host may show either", &[(Deployed, true), (Deployed, true)], &[1, 2]),
            ("what is only issued", &[(Deployed, true), (Issued, false)], &[1]),
            ("what is on its way to its hosts", &[(Deployed, true), (Issued, true)], &[1, 2]),
            ("what was passed by", &[(Issued, true), (Deployed, true), (Revoked, true)], &[2]),
        ];
        for (case, instances, expected) in rows {
            let stage = |(id, (state, is_published)): (i64, &(State, bool))| Stage {
                id,
                state: *state,
                whole: true,
                not_before: None,
                not_after: None,
                published: is_published.then_some(datetime!(2026-01-01 0:00 UTC)),
                touched: None,
                missing: 0,
            };
            let stages: Vec<Stage> = (1..).zip(instances).map(stage).collect();
            assert_eq!(out(&stages), expected, "{case}");
        }
    }
}
