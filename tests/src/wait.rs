//! Waiting with a bound, for what cannot wake us.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until `look` finds something, at most for `within`.
///
/// # Errors
/// When the time is over; the message names `what`.
pub fn until<T>(within: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if started.elapsed() > within {
            bail!("not within {within:?}: {what}");
        }
        thread::sleep(PAUSE);
    }
}
