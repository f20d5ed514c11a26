//! When a run that was asked for by a change may begin: once the change has come to rest, and not more
//! often than the settings say.
//!
//! Names flap: while a bridge takes over an interface, a machine may be called one thing, then
//! `localhost`, then the first thing again.

use std::time::Duration;

use time::OffsetDateTime;

use crate::config::Watch;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Look again after this long.
    Wait(Duration),
    /// The run may begin.
    Run,
}

/// Decides by when the identity was last seen to change, and when the last such run ended.
///
/// A clock that was set back must not make anybody wait for it to come round again: what lies in the
/// future is taken for long ago.
pub fn next(
    now: OffsetDateTime,
    last_run: Option<OffsetDateTime>,
    last_change: OffsetDateTime,
    settings: &Watch,
) -> Next {
    let left = |since: OffsetDateTime, seconds: u32| {
        let passed = Duration::try_from(now - since).ok()?;
        Duration::from_secs(seconds.into()).checked_sub(passed)
    };
    let settling = left(last_change, settings.settle_seconds);
    let window = last_run.and_then(|run| left(run, settings.window_seconds));
    match settling.max(window) {
        Some(wait) if !wait.is_zero() => Next::Wait(wait),
        _ => Next::Run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when() {
        let settings = Watch { settle_seconds: 5, window_seconds: 60 };
        let at = |second| OffsetDateTime::UNIX_EPOCH + Duration::from_secs(second);
        let wait = |seconds| Next::Wait(Duration::from_secs(seconds));
        let cases = [
            ("just changed", 1000, None, 1000, wait(5)),
            ("coming to rest", 1003, None, 1000, wait(2)),
            ("at rest", 1005, None, 1000, Next::Run),
            ("at rest for long", 9000, None, 1000, Next::Run),
            ("a run has just been", 1005, Some(1000), 1000, wait(55)),
            ("it changes at the end of the window", 1059, Some(1000), 1058, wait(4)),
            ("the window is over", 1060, Some(1000), 1001, Next::Run),
            ("the clock was set back since the run", 500, Some(1000), 495, Next::Run),
            ("the clock was set back while waiting", 500, None, 1000, Next::Run),
        ];
        for (case, now, run, change, expected) in cases {
            assert_eq!(next(at(now), run.map(at), at(change), &settings), expected, "{case}");
        }
        let at_once = Watch { settle_seconds: 0, window_seconds: 0 };
        assert_eq!(next(at(1000), Some(at(1000)), at(1000), &at_once), Next::Run, "nothing to wait for");
    }
}
