//! What a successor waits for: how old it is, and where its TLSA records can be found. Asks nobody; what name
//! servers showed when they were last asked is recorded.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use super::config::{Configuration, Purpose, Service, Site};
use super::dane::Record;
use super::dns::delegation::is_within;
use super::issue::records;
use super::lineage::{Lineage, Version};
use super::name::ServiceName;
use super::published::Published;
use super::schedule::{self, Roll, Shown, Tlsa, Wait};
use super::seen::dates;

/// What is known of all successors.
#[derive(Debug)]
pub struct Successors<'a> {
    /// What is configured.
    pub config: &'a Configuration,
    /// Which records are in which zone.
    pub published: &'a Published,
    /// The least age of one that takes over.
    pub least: Duration,
    /// Whether they take over at any age.
    pub force: bool,
    /// The present time.
    pub now: OffsetDateTime,
}

/// How it stands with one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outlook {
    /// Whether it takes over.
    #[serde(flatten)]
    pub roll: Roll,
    /// Why that is: the TTL that is waited for, or the site's least age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The name servers that did not show its TLSA records when they were last asked, in words.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub missing: BTreeSet<String>,
}

/// What decides how long a successor waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "cause")]
pub enum Cause {
    /// `min_roll_mins`.
    Age {
        /// As long, in minutes.
        minutes: u64,
    },
    /// Resolvers may hold the records that were there before.
    Held {
        /// As long, in seconds.
        seconds: u32,
        /// Every name server shows the new ones since then.
        #[serde(with = "time::serde::rfc3339")]
        seen: OffsetDateTime,
    },
    /// The same, where name servers cannot be asked.
    Written {
        /// Twice as long, in seconds.
        seconds: u32,
        /// The new ones are in the zone since then.
        #[serde(with = "time::serde::rfc3339")]
        since: OffsetDateTime,
    },
}

impl Successors<'_> {
    /// How it stands with the successor of a service, whose group has these mail exchangers.
    ///
    /// # Errors
    /// In words, when its records cannot be told.
    pub fn outlook(
        &self,
        name: &ServiceName,
        lineage: &Lineage,
        exchangers: &[String],
    ) -> Result<Outlook, String> {
        let next = lineage.waiting();
        let service = self.config.services.get(name).filter(|_| !self.config.refused.contains(name));
        let (tlsa, missing) = match (next, service) {
            (Some(next), Some(service)) if !service.dane.is_empty() => {
                self.tlsa(service, next, exchangers)?
            }
            _ => (None, BTreeSet::new()),
        };
        let wait = Wait { least: self.least, tlsa };
        let (next, curr) = (next.and_then(dates), lineage.live().and_then(dates));
        let roll = schedule::roll(next.as_ref(), curr.as_ref(), &wait, self.force, self.now);
        let cause = next.as_ref().and_then(|next| self.cause(&roll, next, tlsa));
        let missing = if roll == Roll::Unseen { missing } else { BTreeSet::new() };
        Ok(Outlook { roll, cause, missing })
    }

    fn tlsa(
        &self,
        service: &Service,
        next: &Version,
        exchangers: &[String],
    ) -> Result<(Option<Tlsa>, BTreeSet<String>), String> {
        let apex = service.name.group();
        let records = records(service, &next.files, exchangers)?;
        let Some(ttl) = schedule::tlsa_ttl(service) else { return Ok((None, BTreeSet::new())) };
        let Some(all) = self.published.state(apex, &records) else {
            let nowhere = Tlsa { ttl, shown: Shown::Nowhere };
            return Ok(((!records.is_empty()).then_some(nowhere), BTreeSet::new()));
        };
        let ttl = ttl.max(all.held.unwrap_or_default());
        let askable = askable(self.config, apex, &records);
        let shown = match self.published.state(apex, askable.iter().copied()) {
            // What others publish in their own zones is not asked for.
            None => Shown::Written(all.since),
            Some(state) => match state.seen {
                None => Shown::Somewhere,
                Some(seen) if askable.len() == records.len() => Shown::Everywhere(seen),
                Some(seen) => Shown::Everywhere(
                    seen.max(all.since.saturating_add(time::Duration::seconds(i64::from(ttl)))),
                ),
            },
        };
        Ok((Some(Tlsa { ttl, shown }), all.missing))
    }

    fn cause(&self, roll: &Roll, next: &schedule::Version, tlsa: Option<Tlsa>) -> Option<Cause> {
        let Roll::Later { at } = *roll else { return None };
        let minutes = self.least.as_secs() / 60;
        let by_age = next.made.saturating_add(time::Duration::try_from(self.least).unwrap_or_default());
        match tlsa {
            _ if at == by_age => Some(Cause::Age { minutes }),
            Some(Tlsa { ttl, shown: Shown::Everywhere(seen) }) => Some(Cause::Held { seconds: ttl, seen }),
            Some(Tlsa { ttl, shown: Shown::Written(since) }) => Some(Cause::Written { seconds: ttl, since }),
            _ => None,
        }
    }
}

/// The records that a zone's name servers can be asked for: those within it, where it is known whom to ask, and
/// where it is this program that brings them there.
pub fn askable<'r>(config: &Configuration, apex: &str, records: &'r [Record]) -> Vec<&'r Record> {
    if !is_askable(&config.site, apex) {
        return Vec::new();
    }
    let below = format!(".{}", apex.to_ascii_lowercase());
    records.iter().filter(|record| record.owner.ends_with(&below)).collect()
}

/// Says whether a zone's name servers can be asked for what this program brings there.
pub fn is_askable(site: &Site, apex: &str) -> bool {
    let by_update = site.updates.iter().any(|update| {
        let covers = |domain: &String| is_within(apex, domain);
        update.purposes.contains(&Purpose::Tlsa) && update.domain.as_ref().is_none_or(covers)
    });
    let is_published = !site.dns.tlsa_directories.is_empty() || by_update;
    site.primary(apex).is_some() && is_published
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.roll)?;
        match self.cause {
            Some(Cause::Age { minutes }) => {
                write!(f, ", {minutes} minutes after it was made (min_roll_mins)")?;
            }
            Some(Cause::Held { seconds, .. }) => {
                write!(f, ", when no resolver holds its old TLSA records any more (TTL {seconds} s)")?;
            }
            Some(Cause::Written { seconds, .. }) => {
                write!(f, ", twice the TTL of {seconds} s after its TLSA records came into the zone")?;
            }
            None => {}
        }
        let missing: Vec<&str> = self.missing.iter().map(String::as_str).collect();
        if missing.is_empty() { Ok(()) } else { write!(f, ": {}", missing.join("; ")) }
    }
}
