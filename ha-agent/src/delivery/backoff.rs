//! Pauses between attempts: doubling, capped, with jitter from a seed, so that tests repeat.

use std::time::Duration;

/// A small generator (xorshift64); spreads retries, keeps no secret.
#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Between a half and the whole of `pause`.
    fn spread(&mut self, pause: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let share = (self.0 >> 40) as f64 / f64::from(1_u32 << 24);
        pause.mul_f64(0.5 + share / 2.0)
    }

    /// The pause after the `attempt`th failure in a row, from 1: `first`, twice that, … `max`.
    pub(super) fn pause(&mut self, first: Duration, attempt: u32, max: Duration) -> Duration {
        let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(20));
        self.spread(doubled.min(max))
    }
}
