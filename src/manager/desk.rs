//! Where certificates are asked for: an authority that is spoken to by ACME, with an account. Orders are sent many
//! at once, and never before the authority wants to hear of them.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::acme::account::{Connection, Settings};
use super::acme::limits::Limits;
use super::acme::prove::Provers;
use super::acme::{self, Granted, Progress, Refusal, Wish};
use super::acquire::ACCOUNTS;
use super::config::{Acme, Validation};
use super::name::ServiceName;
use super::run::Run;
use super::schedule::minute;

/// Until when the names of certificates that were granted are taken as proven, where the authority says so.
pub type Proven = BTreeMap<ServiceName, OffsetDateTime>;

/// What became of each order.
pub type Answers = BTreeMap<ServiceName, Result<Granted, Refusal>>;

/// Who is told the URL of an order before anything else is sent about it.
pub type Remember<'a> = dyn Fn(&ServiceName, &str) + Sync + 'a;

/// An authority and an account with it.
pub struct Desk<'r, 'a> {
    run: &'r Run<'a>,
    name: &'r str,
    acme: &'r Acme,
    settings: Settings,
}

impl<'r, 'a> Desk<'r, 'a> {
    /// By its name in `ca-info.conf` and what stands there; nobody is asked yet.
    ///
    /// # Errors
    /// [`Refusal::Ours`] when what is configured cannot be used.
    pub fn new(
        run: &'r Run<'a>,
        name: &'r str,
        acme: &'r Acme,
        contact: Vec<String>,
    ) -> Result<Self, Refusal> {
        let settings = Settings::read(run.world.root, acme, run.is_test).map_err(Refusal::ours)?;
        Ok(Self { run, name, acme, settings: Settings { contact, ..settings } })
    }

    /// What stands of it in `ca-info.conf`.
    pub fn acme(&self) -> &'r Acme {
        self.acme
    }

    /// The URL of the authority's directory.
    pub fn directory(&self) -> &str {
        &self.settings.directory
    }

    /// Asks for all of them at once. What the authority does not want to hear of yet is not sent.
    ///
    /// # Errors
    /// [`Refusal`] when nothing could be asked for at all.
    pub fn ask(&self, wishes: Vec<Wish>, remember: &Remember<'_>) -> Result<Answers, Refusal> {
        self.ask_and(wishes, remember, |_, _| ())
    }

    /// The same, and asks until when the names of what is granted are taken as proven.
    ///
    /// # Errors
    /// As for [`Self::ask`].
    pub fn ask_proven(
        &self,
        wishes: Vec<Wish>,
        remember: &Remember<'_>,
    ) -> Result<(Answers, Proven), Refusal> {
        let mut proven = Proven::new();
        let answers = self.ask_and(wishes, remember, |connection, answers| {
            for (name, answer) in answers {
                let until = answer.as_ref().ok().and_then(|granted| acme::proven_until(connection, granted));
                proven.extend(until.map(|until| (name.clone(), until)));
            }
        })?;
        Ok((answers, proven))
    }

    fn ask_and(
        &self,
        wishes: Vec<Wish>,
        remember: &Remember<'_>,
        then: impl FnOnce(&Connection, &Answers),
    ) -> Result<Answers, Refusal> {
        let Self { run, settings, .. } = self;
        let mut limits = run.limits().map_err(|error| Refusal::ours(error.to_string()))?;
        let mut answers = Answers::new();
        let mut sent = Vec::new();
        for wish in wishes {
            match limits.holding(&settings.directory, &wish.service, run.world.now) {
                Some(limit) => {
                    let error = format!("it is not asked before {}: {}", minute(limit.until), limit.why);
                    let refusal = Refusal::Authority { error, not_before: Some(limit.until) };
                    answers.insert(wish.service, Err(refusal));
                }
                None => sent.push(wish),
            }
        }
        if sent.is_empty() {
            return Ok(answers);
        }
        let accounts = run.tree.own(ACCOUNTS);
        let connection = match Connection::open(run.world.root, &accounts, settings, run.world.now) {
            Ok(connection) => connection,
            Err(refusal) => {
                self.limited(&mut limits, None, &refusal);
                return Err(refusal);
            }
        };
        let progress = |progress: Progress| (run.world.tell)(&progress.to_string());
        let prover = Provers::new(run, self.acme).telling(run.world.tell);
        let mut told = Answers::new();
        for some in batches(sent, settings.parallel_orders) {
            told.extend(acme::issue(&connection, &some, &prover, remember, &progress));
        }
        for (name, answer) in &told {
            if let Err(refusal) = answer {
                self.limited(&mut limits, Some(name), refusal);
            }
        }
        then(&connection, &told);
        answers.extend(told);
        Ok(answers)
    }

    /// Remembers until when the authority does not want to be asked, for one order or for anything.
    fn limited(&self, limits: &mut Limits, name: Option<&ServiceName>, refusal: &Refusal) {
        let Refusal::Authority { error, not_before: Some(until) } = refusal else { return };
        limits.forget(self.run.world.now);
        limits.note(&self.settings.directory, name, *until, error);
        if let Err(error) = self.run.save_limits(limits) {
            tracing::warn!("{}: its limit is not on disk: {error}", self.name);
        }
    }
}

/// What is ordered at the same time: at most so many, and by tls-alpn-01 no name twice, since a handshake shows one
/// proof only (RFC 8737 section 3).
fn batches(wishes: Vec<Wish>, most: usize) -> Vec<Vec<Wish>> {
    let mut batches: Vec<Vec<Wish>> = Vec::new();
    for wish in wishes {
        let clashes = |other: &Wish| {
            let shows_one = wish.kind == Validation::Alpn && other.kind == Validation::Alpn;
            shows_one && wish.identifiers.iter().any(|one| other.identifiers.contains(one))
        };
        let fits = |batch: &&mut Vec<Wish>| batch.len() < most.max(1) && !batch.iter().any(clashes);
        match batches.iter_mut().find(fits) {
            Some(batch) => batch.push(wish),
            None => batches.push(vec![wish]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::acme::Identifier;

    #[test]
    fn what_is_ordered_at_the_same_time() {
        use Validation::{Alpn, Dns};
        type Rows = &'static [(&'static str, Validation, &'static [&'static str])];
        let cases: [(&str, usize, Rows, &str); 6] = [
            ("nothing", 2, &[], ""),
            (
                "as many as may be",
                2,
                &[("a", Dns, &["x"]), ("b", Dns, &["y"]), ("c", Dns, &["z"])],
                "a b | c",
            ),
            ("none is one", 0, &[("a", Dns, &["x"]), ("b", Dns, &["y"])], "a | b"),
            ("a zone shows many proofs", 9, &[("a", Dns, &["x"]), ("b", Dns, &["x"])], "a b"),
            (
                "a handshake shows one",
                9,
                &[("a", Alpn, &["x", "y"]), ("b", Alpn, &["y"]), ("c", Alpn, &["z"])],
                "a c | b",
            ),
            ("of either kind", 9, &[("a", Alpn, &["x"]), ("b", Dns, &["x"])], "a b"),
        ];
        for (case, most, rows, expected) in cases {
            let wish = |(name, kind, names): &(&str, Validation, &[&str])| Wish {
                service: ServiceName::new("example.com", name).unwrap(),
                identifiers: names.iter().map(|name| Identifier::Dns((*name).to_owned())).collect(),
                csr: Vec::new(),
                kind: *kind,
                profile: None,
                preferred_chain: None,
                replaces: None,
                resume: None,
            };
            let found = batches(rows.iter().map(wish).collect(), most);
            let text = |batch: &Vec<Wish>| {
                batch.iter().map(|wish| wish.service.service().to_owned()).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(found.iter().map(text).collect::<Vec<_>>().join(" | "), expected, "{case}");
        }
    }
}
