//! Times as people read them.

use jiff::Timestamp;

/// The moment that ages are counted to.
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

/// Time since an RFC 3339 moment; the text itself when it does not parse.
pub(super) fn ago(since: &str, now: Timestamp) -> String {
    match since.parse::<Timestamp>() {
        Ok(then) => {
            let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
            format!("{} ago", span(u64::try_from(seconds).unwrap_or(0)))
        }
        Err(_) => since.to_owned(),
    }
}

/// `2026-01-02 03:04:05 UTC` of an RFC 3339 moment in UTC.
pub(super) fn moment(at: &str) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => at.to_owned(),
    }
}

/// `03:04:05.678` of an RFC 3339 moment.
pub(super) fn clock(at: &str) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => at.strftime("%H:%M:%S%.3f").to_string(),
        Err(_) => at.to_owned(),
    }
}

/// Two largest units.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Milliseconds, as an age: `0.4 s`, `65 s`.
pub(super) fn millis(count: u64) -> String {
    match count {
        0..10_000 => format!("{}.{} s", count / 1000, count % 1000 / 100),
        10_000..120_000 => format!("{} s", count / 1000),
        _ => span(count / 1000),
    }
}
