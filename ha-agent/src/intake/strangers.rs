//! An allowance for each user that may not report, so that none of them spends another's.
//!
//! Anybody may connect, and one person may have many users: the table ends at [`APART`], and whoever finds
//! no place in it shares one allowance with the others.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Users that are told apart at once.
const APART: usize = 64;
/// All others together; nobody's uid.
const REST: u32 = u32::MAX;
/// Who was quiet for so long has the whole allowance again, and his place is free.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Strangers {
    rate: DefaultKeyedRateLimiter<u32>,
    last_seen: Mutex<HashMap<u32, Instant>>,
}

impl Strangers {
    /// So many a second for each, and at once.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self { rate: RateLimiter::keyed(Quota::per_second(per_second)), last_seen: Mutex::default() }
    }

    /// Takes one of this user's allowance; false: it is spent.
    pub(super) fn allow(&self, uid: u32) -> bool {
        let key = if self.has_place(uid, Instant::now()) { uid } else { REST };
        self.rate.check_key(&key).is_ok()
    }

    fn has_place(&self, uid: u32, now: Instant) -> bool {
        let mut last_seen = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if last_seen.len() >= APART && !last_seen.contains_key(&uid) {
            last_seen.retain(|_, last| now.duration_since(*last) < QUIET);
            self.rate.retain_recent();
            if last_seen.len() >= APART {
                return false;
            }
        }
        last_seen.insert(uid, now);
        true
    }
}
