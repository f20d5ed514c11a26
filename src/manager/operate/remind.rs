//! Reminds somebody of local certificates, which are issued when somebody says so: one message for all.

use time::UtcOffset;

use super::{OperateError, Operation};
use crate::manager::inventory::events::Event;
use crate::manager::inventory::model::Name;
use crate::manager::inventory::schedule::{Reason, minute};
use crate::manager::mail::{Message, send};

const SUBJECT: &str = "Local certificates are to be issued";

/// What is said of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line<'a> {
    name: &'a Name,
    reason: &'a Reason,
    is_disabled: bool,
}

/// Reminds somebody of (claimed) certificates, and records that as soon as the message was taken, not before: where
/// it was not, the next run tries again. Where nobody is to be told, a note in the report says so.
///
/// # Errors
/// [`OperateError`] when the inventory does not answer; a message that is not taken is told with each certificate.
pub fn remind(op: &mut Operation<'_>, names: &[(Name, Reason)]) -> Result<(), OperateError> {
    if names.is_empty() {
        return Ok(());
    }
    let Some(mail) = op.config.site.inventory.mail.clone() else {
        let certificates = match names.len() {
            1 => "1 local certificate wants".to_owned(),
            number => format!("{number} local certificates want"),
        };
        let note = format!("{certificates} to be issued; mail_to in [inventory] would tell somebody");
        op.report.notes.push(note);
        return Ok(());
    };
    let who: Vec<Name> = names.iter().map(|(name, _)| name.clone()).collect();
    let objects = op.inventory.objects_of(&who)?;
    let is_disabled = |name: &Name| objects.certificates.get(name).is_some_and(|it| it.disabled);
    let lines: Vec<Line<'_>> =
        names.iter().map(|(name, reason)| Line { name, reason, is_disabled: is_disabled(name) }).collect();
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| OperateError::Failed(error.to_string()))?;
    let host = &op.world.host;
    let message = Message {
        from: mail.from.clone().unwrap_or_else(|| format!("reseed@{host}")),
        to: mail.to.clone(),
        subject: mail.subject.clone().unwrap_or_else(|| SUBJECT.to_owned()),
        body: body(&lines, host),
        date: op.world.now,
        id: format!("{}.{:016x}", op.world.now.unix_timestamp(), u64::from_ne_bytes(random)),
    };
    let sent = send(&mail, &message, host);
    for (name, _) in names {
        let done = match &sent {
            Ok(()) => op.record(name, &[Event::Reminded])?.map(drop),
            Err(why) => Err(format!("nobody could be reminded: {why}")),
        };
        match done {
            Ok(()) => op.report.done(name.clone(), format!("{} was reminded of it", mail.to.join(", "))),
            Err(why) => op.report.failed(name.clone(), why),
        }
    }
    Ok(())
}

/// The text of the message.
fn body(lines: &[Line<'_>], host: &str) -> String {
    let mut body = format!(
        "These local certificates are to be issued, which \"reseed manager issue\" does.\n\
         They are in the inventory of {host}; times are in UTC.\n\n"
    );
    for Line { name, reason, is_disabled } in lines {
        let reason = match reason {
            Reason::Ends { at: Some(at), .. } => format!("ends {}", minute(at.to_offset(UtcOffset::UTC))),
            other => other.to_string(),
        };
        let disabled = if *is_disabled { "  [disabled]" } else { "" };
        body += &format!("  {name}  {reason}{disabled}\n");
    }
    body
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// serverPKI's message had no line feed between certificates.
    #[test]
    fn a_line_for_each_certificate() {
        let (a, b, c) = ("a.example", "b.example", "c.example");
        let [a, b, c] = [a, b, c].map(|text| Name::new(text).unwrap());
        let ends = Reason::Ends { instance: 3, at: Some(datetime!(2026-06-01 2:00 +2)) };
        let lines = [
            Line { name: &a, reason: &ends, is_disabled: false },
            Line { name: &b, reason: &ends, is_disabled: true },
            Line { name: &c, reason: &Reason::NothingIssued, is_disabled: false },
        ];
        let text = body(&lines, "manager.example");
        let (_, list) = text.split_once("\n\n").unwrap();
        let expected = "  a.example  ends 2026-06-01 00:00\n  b.example  ends 2026-06-01 00:00  [disabled]\n\
            \x20 c.example  nothing has been issued\n";
        assert_eq!(list, expected);
    }
}
