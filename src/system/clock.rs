//! The clock, read once per run and handed on as a value.

use std::time::Duration;

use time::OffsetDateTime;

/// The present time in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the door to the clock")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::from(std::time::SystemTime::now())
}

/// Waits; used only between two looks at a service.
#[expect(clippy::disallowed_methods, reason = "this is the door to the clock")]
pub fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// Seconds since 1970 at which this program was built: a clock that says less is wrong.
pub fn built() -> OffsetDateTime {
    env!("RESEED_BUILT")
        .parse()
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
