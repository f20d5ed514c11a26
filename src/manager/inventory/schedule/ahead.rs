//! What will be due next: the same decision, asked for the moments at which it can change.

use time::{Duration, OffsetDateTime};

use super::{Action, CHANGE_OVER, GRACE, Policy, RESERVED, Standing, due};

/// The first moment after the present one at which something is due that is not due now, and what; nothing where that
/// waits for something to happen.
pub fn ahead(standing: &Standing, policy: &Policy, now: OffsetDateTime) -> Option<(OffsetDateTime, Action)> {
    let known = due(standing, policy, now);
    let mut moments = moments(standing, policy);
    moments.retain(|moment| *moment > now);
    moments.sort_unstable();
    moments.dedup();
    moments.into_iter().find_map(|moment| {
        let fresh = due(standing, policy, moment).into_iter().find(|action| !known.contains(action));
        fresh.map(|action| (moment, action))
    })
}

/// Every moment at which a decision about these instances can change.
fn moments(standing: &Standing, policy: &Policy) -> Vec<OffsetDateTime> {
    let days = |days: u32| Duration::days(days.into());
    let twice = Duration::seconds(i64::from(standing.tlsa_ttl.unwrap_or_default()) * 2);
    let mut moments = Vec::new();
    for it in &standing.instances {
        moments.extend([
            it.not_before,
            it.before_end(days(policy.prepublish_days), 3),
            it.before_end(days(policy.remind_days), 3),
            it.before_end(CHANGE_OVER, 10),
            it.not_after,
            it.not_after.and_then(|end| end.checked_add(GRACE)),
            it.not_after.and_then(|end| end.checked_sub(twice)),
            it.published.and_then(|since| since.checked_add(twice)),
            it.touched.and_then(|touched| touched.checked_add(RESERVED)),
            it.touched.and_then(|touched| touched.checked_add(days(policy.keep_days))),
        ]);
    }
    moments.into_iter().flatten().collect()
}
