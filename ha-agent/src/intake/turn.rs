//! One user's connections take turns.
//!
//! The runtime is fair between tasks, not between users: one who has work waiting on two hundred
//! connections would have two hundred turns to another's one, and while no worker is idle, the poller is
//! asked only every so many turns. So at any time only one connection of a user is worked on, and a
//! worker is left to the others.

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::ready;

use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

/// Whose turn it is among one user's connections, first come first served.
#[derive(Clone, Debug)]
pub(super) struct Turn(Arc<Semaphore>);

impl Turn {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Does the work, each step of it when it is its turn: between two steps the others have theirs.
    pub(super) async fn take<F: Future>(&self, work: F) -> F::Output {
        let mut turn = PollSemaphore::new(self.0.clone());
        let mut work = pin!(work);
        poll_fn(|cx| {
            let _turn = ready!(turn.poll_acquire(cx));
            work.as_mut().poll(cx)
        })
        .await
    }
}
