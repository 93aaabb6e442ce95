//! Which refused peers are answered and told about one by one. The rest of a flood is counted and closed, so
//! that nobody waits behind it.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::refusal::Refusal;
use super::strangers::Strangers;

/// So many a second, and at once, of all together, ...
const OF_ALL: NonZeroU32 = NonZeroU32::new(512).expect("not zero");
/// ... and so many more of each user, which nobody else can spend.
const OF_EACH: NonZeroU32 = NonZeroU32::new(16).expect("not zero");

pub(super) struct Answers {
    all: DefaultDirectRateLimiter,
    /// Of users that may report, so the table stays small whoever connects.
    each: DefaultKeyedRateLimiter<u32>,
    strangers: Strangers,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self {
            all: RateLimiter::direct(Quota::per_second(OF_ALL)),
            each: RateLimiter::keyed(Quota::per_second(OF_EACH)),
            strangers: Strangers::new(OF_EACH),
        }
    }

    /// Takes one; false: there is none left for this user.
    pub(super) fn allow(&self, refusal: Refusal, uid: u32) -> bool {
        let of_his_own = match refusal {
            Refusal::PeerNotAllowed => self.strangers.allow(uid),
            _ => self.each.check_key(&uid).is_ok(),
        };
        of_his_own || self.all.check().is_ok()
    }
}
