//! What an L3 agent heard, real or stood in for, and waiting for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use uuid::Uuid;

/// What was heard: one state of one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// The router, as written.
    pub router: String,
    /// The state, as written.
    pub state: String,
    /// Sequence number (`json` only).
    pub sequence: Option<u64>,
}

/// All that was heard, by whoever listens.
#[derive(Debug, Default)]
pub struct Hearing {
    heard: Mutex<Vec<Heard>>,
    more: Condvar,
}

impl Hearing {
    /// Keeps a state, heard now.
    pub fn keep(&self, router: &str, state: &str, sequence: Option<u64>) {
        self.all().push(Heard { at: Instant::now(), router: router.to_owned(), state: state.to_owned(), sequence });
        self.more.notify_all();
    }

    /// Everything heard so far, in order.
    pub fn heard(&self) -> Vec<Heard> {
        self.all().clone()
    }

    /// What was heard after the first `known` states.
    pub fn heard_after(&self, known: usize) -> Vec<Heard> {
        self.all().get(known..).unwrap_or_default().to_vec()
    }

    /// The states of one router, in order.
    pub fn states(&self, router: Uuid) -> Vec<String> {
        states(&self.all(), router)
    }

    /// Waits until the router's states are exactly these.
    ///
    /// # Errors
    /// When they are not in time, or cannot be any more.
    pub fn expect(&self, within: Duration, router: Uuid, expected: &[&str]) -> Result<()> {
        let started = Instant::now();
        let mut heard = self.all();
        loop {
            let now = states(&heard, router);
            if now == expected {
                return Ok(());
            }
            let left = within.saturating_sub(started.elapsed());
            if left.is_zero() || !expected.starts_with(&now.iter().map(String::as_str).collect::<Vec<_>>()) {
                bail!("the L3 agent heard {now:?}, expected {expected:?} within {within:?}");
            }
            heard = self.more.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The shortest time between two states of a router that differ.
    pub fn closest(&self, router: Uuid) -> Option<Duration> {
        let router = router.to_string();
        let heard: Vec<Heard> = self.heard().into_iter().filter(|heard| heard.router == router).collect();
        heard
            .windows(2)
            .filter(|pair| pair[0].state != pair[1].state)
            .map(|pair| pair[1].at.duration_since(pair[0].at))
            .min()
    }

    /// Waits until a router's states, repeats dropped, are exactly these: delivery is at least once,
    /// and a receiver that comes back is told again.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn expect_changes(&self, within: Duration, router: Uuid, expected: &[&str]) -> Result<()> {
        let changes = || {
            let mut states = self.states(router);
            states.dedup();
            states
        };
        crate::wait::until(within, "the changes", || (changes() == expected).then_some(()))
            .map_err(|_| anyhow::anyhow!("the L3 agent heard {:?}, expected {expected:?}", self.states(router)))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn states(heard: &[Heard], router: Uuid) -> Vec<String> {
    let router = router.to_string();
    heard.iter().filter(|heard| heard.router == router).map(|heard| heard.state.clone()).collect()
}
