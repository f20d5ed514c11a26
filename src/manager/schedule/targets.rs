//! How many days before its end a certificate is renewed: a table of knots over its lifetime, with straight
//! lines between them, which the site may change; and a shift that spreads the work of a site over days.

use serde::Serialize;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use super::Version;
use crate::manager::config::Service;
use crate::manager::name::ServiceName;

/// Lifetime in days, days left at which it is renewed.
const KNOTS: [(f64, f64); 10] = [
    (0.0, 0.25),
    (1.0, 0.5),
    (2.0, 1.0),
    (5.0, 2.0),
    (10.0, 5.0),
    (45.0, 10.0),
    (60.0, 20.0),
    (90.0, 30.0),
    (120.0, 45.0),
    (300.0, 60.0),
];
/// A key of the site stands for the knot that is at most this many days above it.
const SAME_KNOT: f64 = 0.1 + 1e-9;
/// The largest part of a lifetime that may be left at renewal: whatever is configured, nothing is renewed
/// over and over again.
const MOST_LEFT: f64 = 0.75;
/// The largest part of the target by which the shift may come closer to the end.
const MOST_SHIFT: f64 = 0.5;
/// The part of a lifetime that is left at renewal at least, whatever an authority suggests.
const LEAST_LEFT: f64 = 0.1;
/// The same of a short life, of which a tenth would be hours, and a failure or two cost as much.
const LEAST_LEFT_SHORT: f64 = 1.0 / 6.0;
/// Days below which a life is short.
const SHORT_LIFE: f64 = 10.0;
const DAY: f64 = 86_400.0;

/// The site's table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Targets {
    targets: Vec<(f64, f64)>,
    spreads: Vec<(f64, f64)>,
}

impl Targets {
    /// The built-in knots, changed and extended by those of the site: lifetime in days, and either the days
    /// left or the largest shift in days. A later pair wins over an earlier one; what is no number, or
    /// below 0, is passed over.
    pub fn new(renew_targets: &[(f64, f64)], renew_spreads: &[(f64, f64)]) -> Self {
        let unspread: Vec<_> = KNOTS.iter().map(|(lifetime, _)| (*lifetime, 0.0)).collect();
        Self { targets: merged(&KNOTS, renew_targets), spreads: merged(&unspread, renew_spreads) }
    }

    /// What holds for one service, with its own values where it has any.
    pub fn policy(&self, service: &Service) -> Policy<'_> {
        Policy { targets: self, target: service.renew_target, spread: service.renew_spread }
    }
}

/// The knots in order, each replaced by the site's where that has one for it.
fn merged(built_in: &[(f64, f64)], site: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let sound =
        |pair: &&(f64, f64)| [pair.0, pair.1].iter().all(|number| number.is_finite() && *number >= 0.0);
    let mut knots = built_in.to_vec();
    for &(lifetime, days) in site.iter().filter(sound) {
        knots.retain(|(knot, _)| !(0.0..=SAME_KNOT).contains(&(knot - lifetime)));
        knots.push((lifetime, days));
    }
    knots.sort_by(|one, other| one.0.total_cmp(&other.0));
    knots
}

/// A straight line between knots; the last knot's ratio above it, the first knot's value below.
fn interpolated(knots: &[(f64, f64)], lifetime: f64) -> f64 {
    for pair in knots.windows(2) {
        if let [(from, low), (to, high)] = *pair
            && (from..=to).contains(&lifetime)
        {
            return low + (high - low) * (lifetime - from) / (to - from);
        }
    }
    match (knots.first(), knots.last()) {
        (_, Some((last, days))) if lifetime > *last && *last > 0.0 => days / last * lifetime,
        (Some((_, days)), _) => *days,
        _ => 0.0,
    }
}

/// When one service is renewed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy<'a> {
    /// The site's table.
    pub targets: &'a Targets,
    /// The service's own target in days left, whatever the lifetime.
    pub target: Option<f64>,
    /// The service's own largest shift in days.
    pub spread: Option<f64>,
}

impl Policy<'_> {
    /// Days left at which a certificate of this lifetime in days is renewed, before any shift.
    pub fn target(&self, lifetime: f64) -> f64 {
        let days = sound(self.target).unwrap_or_else(|| interpolated(&self.targets.targets, lifetime));
        days.min(lifetime.max(0.0) * MOST_LEFT)
    }

    /// The largest shift in days to either side, for a certificate of this lifetime in days.
    pub fn spread(&self, lifetime: f64) -> f64 {
        let days = sound(self.spread).unwrap_or_else(|| interpolated(&self.targets.spreads, lifetime));
        days.min(self.target(lifetime) * MOST_SHIFT)
    }

    /// The time from which a certificate is due; the same in every run. A suggestion of its authority is kept
    /// to, earlier or later than our own target, as far as that leaves time for what goes wrong.
    pub fn renew_at(&self, name: &ServiceName, version: &Version) -> OffsetDateTime {
        let lifetime = (version.not_after - version.not_before).as_seconds_f64() / DAY;
        if let Some(suggested) = version.suggested {
            return suggested.min(before(version.not_after, least_left(lifetime)));
        }
        let shift = self.spread(lifetime) * draw(name, &version.serial);
        let left = (self.target(lifetime) + shift).min(lifetime.max(0.0) * MOST_LEFT);
        before(version.not_after, left)
    }
}

fn before(end: OffsetDateTime, days: f64) -> OffsetDateTime {
    end.saturating_sub(Duration::saturating_seconds_f64(days * DAY))
}

/// Days left at which a certificate of this lifetime in days is renewed in any case.
fn least_left(lifetime: f64) -> f64 {
    let part = if lifetime < SHORT_LIFE { LEAST_LEFT_SHORT } else { LEAST_LEFT };
    lifetime.max(0.0) * part
}

fn sound(days: Option<f64>) -> Option<f64> {
    days.filter(|days| days.is_finite() && *days >= 0.0)
}

/// A number from -1 to 1, evenly spread over certificates, and always the same for one.
fn draw(name: &ServiceName, serial: &[u8]) -> f64 {
    let mut hash = Sha256::new();
    hash.update(name.to_string());
    // No name holds a zero octet: nobody's serial is another's name.
    hash.update([0]);
    hash.update(serial);
    let number = hash.finalize().iter().take(4).fold(0_u32, |sum, octet| sum << 8 | u32::from(*octet));
    f64::from(number) / f64::from(u32::MAX) * 2.0 - 1.0
}
