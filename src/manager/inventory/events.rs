//! What happens to a certificate: each event with what it changes, the same in every store.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::model::{
    About, Algorithms, Certificate, Delivery, Instance, KeyData, Name, Refusal, Rule, State, second,
};
use super::states::{Circumstances, may};

/// Something that happened to a certificate.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An issue begins: an instance has its number.
    Reserved {
        /// With which keys.
        algorithms: Algorithms,
        /// Whether it asks for OCSP stapling.
        must_staple: bool,
    },
    /// An issue ended well: all its keys at once.
    Issued {
        /// Which instance.
        instance: i64,
        /// A certificate for each of its keys.
        keys: Vec<KeyData>,
        /// The instance of an own authority that signed it.
        issuer: Option<i64>,
        /// The latest start of validity.
        not_before: OffsetDateTime,
        /// The earliest end.
        not_after: OffsetDateTime,
    },
    /// Its TLSA records are out.
    Published {
        /// Which instance.
        instance: i64,
    },
    /// It was brought to a host, or could not be.
    Delivered {
        /// Which instance.
        instance: i64,
        /// The host.
        host: Name,
        /// How it ended.
        delivery: Delivery,
    },
    /// It goes to another state.
    Moved {
        /// Which instance.
        instance: i64,
        /// The state.
        to: State,
        /// The authority says that it has taken the certificate back.
        taken_back: bool,
    },
    /// Its record is removed.
    Discarded {
        /// Which instance.
        instance: i64,
    },
    /// Somebody was reminded, really.
    Reminded,
    /// Until when the authority takes its names as proven.
    Authorized {
        /// Until when.
        until: Option<OffsetDateTime>,
    },
}

/// A certificate with its instances, as events change them.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its name.
    pub name: Name,
    /// What is wished for.
    pub certificate: Certificate,
    /// What there is.
    pub instances: Vec<Instance>,
}

impl Record {
    /// Lets an event happen; `fresh` is the number of an instance that begins.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot have happened; nothing is changed.
    pub fn follow(&mut self, event: &Event, fresh: i64, now: OffsetDateTime) -> Result<(), Refusal> {
        let now = second(now);
        match event {
            Event::Reserved { algorithms, must_staple } => self.instances.push(Instance {
                id: fresh,
                certificate: self.name.clone(),
                state: State::Reserved,
                algorithms: *algorithms,
                must_staple: *must_staple,
                issuer: None,
                not_before: None,
                not_after: None,
                published: None,
                about: About::new(now, None),
                deliveries: [].into(),
                keys: Vec::new(),
            }),
            Event::Issued { instance, keys, issuer, not_before, not_after } => {
                let mut next = self.instance(*instance)?.clone();
                next.keys = keys.iter().map(|key| key.info.clone()).collect();
                next.keys.sort();
                next.issuer = *issuer;
                (next.not_before, next.not_after) = (Some(second(*not_before)), Some(second(*not_after)));
                self.moved(next, State::Issued, false, now)?;
            }
            Event::Published { instance } => {
                let mut next = self.instance(*instance)?.clone();
                next.published.get_or_insert(now);
                self.put(next, now);
            }
            Event::Delivered { instance, host, delivery } => {
                let mut next = self.instance(*instance)?.clone();
                if !self.certificate.hosts().contains(host) {
                    let says = format!("{} does not go to {host}", self.name);
                    return Err(Refusal::new(Rule::Unknown, says));
                }
                let delivery = Delivery { at: second(delivery.at), ..delivery.clone() };
                next.deliveries.insert(host.clone(), delivery);
                self.put(next, now);
            }
            Event::Moved { instance, to, taken_back } => {
                let next = self.instance(*instance)?.clone();
                self.moved(next, *to, *taken_back, now)?;
            }
            Event::Discarded { instance } => {
                let state = self.instance(*instance)?.state;
                if !matches!(state, State::Reserved | State::Archived) {
                    let says = format!("instance {instance} is {state}; only what is archived is removed");
                    return Err(Refusal::new(Rule::Transition, says));
                }
                self.instances.retain(|known| known.id != *instance);
            }
            Event::Reminded => self.certificate.reminded = Some(now),
            Event::Authorized { until } => self.certificate.authorized_until = until.map(second),
        }
        Ok(())
    }

    fn instance(&self, id: i64) -> Result<&Instance, Refusal> {
        self.instances
            .iter()
            .find(|known| known.id == id)
            .ok_or_else(|| Refusal::new(Rule::Unknown, format!("{} has no instance {id}", self.name)))
    }

    fn moved(
        &mut self,
        mut next: Instance,
        to: State,
        taken_back: bool,
        now: OffsetDateTime,
    ) -> Result<(), Refusal> {
        let hosts: BTreeSet<&Name> = self.certificate.hosts();
        let later = |known: &&Instance| known.id > next.id && known.state == State::Deployed;
        let successor_out = self.instances.iter().any(|known| later(&known));
        may(&next, to, &Circumstances { hosts: &hosts, successor_out, taken_back, now })?;
        next.state = to;
        if to == State::Deployed {
            self.certificate.reminded = None;
        }
        self.put(next, now);
        Ok(())
    }

    fn put(&mut self, mut next: Instance, now: OffsetDateTime) {
        next.about.updated = Some(now);
        self.instances.retain(|known| known.id != next.id);
        self.instances.push(next);
        self.instances.sort_by_key(|known| known.id);
    }
}
