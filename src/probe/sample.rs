//! Asking often enough.
//!
//! A server that starts its workers in advance shows old and new at the same time: after a reload,
//! Cyrus' idle children go on with the old certificate. One connection meets one worker, and one
//! connection after the other may well meet the same worker each time, so [`ROUND`] connections
//! are held open side by side: each keeps its worker busy, and the next has to meet another. If no
//! more than a third of the workers are old, a round misses them in one of 25 cases, for a half in
//! one of 256.

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::protocol::Protocol;
use super::{Answer, Effort, Endpoint, KeyKind, Limits, ssh, tls};
use crate::system::clock;

/// Connections that are held side by side to one endpoint.
const ROUND: usize = 8;
/// Endpoints that are asked at the same time.
const ENDPOINTS: usize = 4;
/// How long connections of a round are held after the first of them has shaken hands: a server
/// that serves one client after the other would never come to the next.
const HOLD: Duration = Duration::from_secs(1);
/// A server that is just taking its old workers away is through after this.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks every endpoint; the answers stand in their order.
pub fn ask(endpoints: &[Endpoint], name: Option<&str>, effort: Effort, limits: &Limits) -> Vec<Vec<Answer>> {
    let next = Mutex::new(endpoints.iter().enumerate());
    let answers = Mutex::new(vec![Vec::new(); endpoints.len()]);
    std::thread::scope(|scope| {
        for _ in 0..ENDPOINTS.min(endpoints.len()) {
            scope.spawn(|| {
                loop {
                    let one = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((at, endpoint)) = one else { return };
                    let heard = ask_one(endpoint, name, effort, limits);
                    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(slot) = answers.get_mut(at) {
                        *slot = heard;
                    }
                }
            });
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn ask_one(endpoint: &Endpoint, name: Option<&str>, effort: Effort, limits: &Limits) -> Vec<Answer> {
    if endpoint.protocol == Protocol::Ssh {
        return ssh::ask(endpoint, limits);
    }
    let first = round(endpoint, name, &[KeyKind::Elliptic, KeyKind::Rsa], limits);
    let kinds: Vec<KeyKind> = first
        .iter()
        .filter_map(|answer| match answer {
            Answer::Shown(shown) => Some(shown.kind),
            _ => None,
        })
        .collect();
    // That it has no certificate for one kind of key is no answer beside the one that it has.
    if kinds.is_empty() {
        return first;
    }
    let first: Vec<Answer> = first.into_iter().filter(|answer| matches!(answer, Answer::Shown(_))).collect();
    if effort == Effort::Glance {
        return first;
    }
    let wanted: Vec<KeyKind> = kinds.iter().copied().cycle().take(ROUND).collect();
    let mut answers = first;
    answers.extend(round(endpoint, name, &wanted, limits));
    if is_of_one_mind(&answers) {
        return answers;
    }
    // Old workers that are on their way out are none that stay: the second look counts.
    clock::pause(PAUSE);
    let again = round(endpoint, name, &[wanted.clone(), wanted].concat(), limits);
    let shows = again.iter().any(|answer| matches!(answer, Answer::Shown(_)));
    // One that has had enough of being asked takes nothing back.
    if shows { again } else { answers }
}

/// One connection for each kind, open until the others have shaken hands, too.
fn round(endpoint: &Endpoint, name: Option<&str>, kinds: &[KeyKind], limits: &Limits) -> Vec<Answer> {
    let (connected, changed, first) = (Mutex::new(0), Condvar::new(), OnceLock::new());
    let arrive = || {
        let mut connected = connected.lock().unwrap_or_else(PoisonError::into_inner);
        *connected += 1;
        changed.notify_all();
        connected
    };
    let hold = || {
        let some_are_missing = |connected: &mut usize| *connected < kinds.len();
        let left = HOLD.saturating_sub(first.get_or_init(Instant::now).elapsed());
        drop(changed.wait_timeout_while(arrive(), left, some_are_missing));
    };
    let ask = |kind: KeyKind| {
        let answer = tls::ask(endpoint, name, kind, limits, hold);
        if !matches!(answer, Answer::Shown(_)) {
            drop(arrive());
        }
        answer
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = kinds.iter().map(|kind| scope.spawn(|| ask(*kind))).collect();
        let lost = |_| Answer::Unknown("the question was lost".into());
        asked.into_iter().map(|asked| asked.join().unwrap_or_else(lost)).collect()
    })
}

/// Says whether everybody who showed something showed the same for the same kind of key.
fn is_of_one_mind(answers: &[Answer]) -> bool {
    let shown: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Answer::Shown(shown) => Some((shown.kind, &shown.fingerprint)),
            _ => None,
        })
        .collect();
    shown.len() == answers.len()
        && shown.iter().all(|(kind, fingerprint)| {
            shown.iter().all(|(other, another)| other != kind || another == fingerprint)
        })
}
