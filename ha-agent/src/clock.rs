//! The two clocks: monotonic for every decision, wall for what people read.

use rustix::time::{ClockId, clock_gettime};

use crate::core::time::Mono;

/// `CLOCK_MONOTONIC`, the clock of the kernel side's records.
pub fn now() -> Mono {
    let at = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(at.tv_nsec).unwrap_or(0);
    Mono(seconds * 1_000_000_000 + nanos)
}

/// The wall clock as RFC 3339, UTC, microseconds: `2026-01-02T03:04:05.678901Z`.
pub fn wall() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

/// The wall clock in microseconds since 1970.
pub fn wall_micros() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Microseconds since 1970 as [`wall`] writes them; none outside the years that RFC 3339 has.
pub fn rfc3339(micros: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(micros).ok().map(|at| format!("{at:.6}"))
}

/// The same in milliseconds.
pub fn rfc3339_millis(micros: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(micros).ok().map(|at| format!("{at:.3}"))
}
