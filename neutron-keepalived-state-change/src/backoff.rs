//! How long to wait before the next attempt. Pure: the randomness is given.

use std::time::Duration;

/// First pause after a connection was lost or did not come about.
pub(crate) const FIRST: Duration = Duration::from_millis(200);
/// Longest pause.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double from [`FIRST`] to [`LONGEST`].
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next pause: between half of it and all of it, so that the hundreds of a node do not come
    /// together.
    pub(crate) fn pause(&mut self, random: u32) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        spread(whole, random)
    }

    /// After a registration: the next pause is short again.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// Between half of `whole` and all of it.
pub(crate) fn spread(whole: Duration, random: u32) -> Duration {
    let half = whole / 2;
    half + half * (random % 1024) / 1023
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u128> = (0..10).map(|_| backoff.pause(1023).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(backoff.pause(1023), FIRST);
    }

    #[test]
    fn a_pause_is_never_less_than_half() {
        for random in [0, 1, 511, 1022, 1024, u32::MAX] {
            let pause = spread(LONGEST, random);
            assert!((LONGEST / 2..=LONGEST).contains(&pause), "{random}: {pause:?}");
        }
        assert_eq!(spread(LONGEST, 1024), LONGEST / 2);
    }
}
