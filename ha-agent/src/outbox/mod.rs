//! The latest confirmed state of each router, on disk before it is sent.
//!
//! What lives here: the entries, their sequence numbers, the file `<state_dir>/outbox.redb` and the
//! one thread that writes it. What does not: when and how an entry is sent ([`crate::delivery`]).
//!
//! ```text
//! put ──▶ book (latest per router) ──▶ writer thread: one transaction for all that waits ──▶ ready ──▶ delivery
//!                                           ▲                                                       │
//!                                           └────────── acknowledge (written lazily) ◀──────────────┘
//! ```
//!
//! - Every hand-over is a map with the latest entry per router: memory is bounded by the number of
//!   routers, nothing blocks the caller, nothing is dropped.
//! - The disk never stops the agent. A disk that fails, is full, read-only or does not answer for
//!   a second makes the outbox go on from memory ([`Health::MemoryOnly`], event
//!   `channel.degraded`), and it tries the disk again with backoff.
//! - Order is by `sequence` alone; the wall clock is only shown. A sequence is the one before and one more, and at
//!   least the wall clock in milliseconds, so that it rises even when the state directory was lost, or an older
//!   copy of it was put back, or a crash took what was in memory only.

mod book;
mod entry;
mod health;
mod metrics;
pub mod record;
mod store;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::clock;
use crate::core::model::{RouterId, State};
use crate::core::time::Mono;
use crate::telemetry::Events;
use crate::telemetry::event::Event;

pub use book::{Change, Standing};
pub use entry::{Confirmed, Entry};
pub use health::Health;
pub use metrics::Metrics;

use book::Shared;
use store::{Disk, Medium};

/// Where the outbox's events go; a closure so that tests can look at them.
pub(crate) type Emit = Arc<dyn Fn(Event) + Send + Sync>;

/// The outbox's own durations.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Pause before the disk is tried again; doubles up to `retry_max`.
    retry_first: Duration,
    /// Longest such pause.
    retry_max: Duration,
    /// How long acknowledgements wait for company before they are written.
    lazy: Duration,
    /// A commit that takes longer is not waited for.
    stall: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            lazy: Duration::from_secs(1),
            stall: Duration::from_secs(1),
        }
    }
}

/// How long [`Outbox::stop`] waits for the last commit.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// A handle; clones are cheap. The writer thread ends with [`Outbox::stop`], or with the last handle.
#[derive(Clone, Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
    owner: Arc<writer::Owner>,
}

impl Outbox {
    /// Opens `<state_dir>/outbox.redb` (directory 0700, file 0600, created if absent) and returns
    /// what it holds, ordered by router.
    ///
    /// It never fails: a file that cannot be written is read into memory, and the agent goes on
    /// from there; a corrupt file is set aside as `outbox.redb.corrupt-<unix seconds>` and named;
    /// an unreadable record is skipped and named.
    pub fn open(state_dir: &Path, events: Events, registry: &mut Registry) -> (Self, Vec<Entry>) {
        Self::open_with(state_dir, Arc::new(move |event| events.emit(event)), registry)
    }

    /// As [`Outbox::open`], with the events going anywhere.
    pub(crate) fn open_with(state_dir: &Path, emit: Emit, registry: &mut Registry) -> (Self, Vec<Entry>) {
        let metrics = Metrics::register(registry);
        Self::open_on(Disk::new(state_dir), Pace::default(), emit, metrics)
    }

    fn open_on<M: Medium>(medium: M, pace: Pace, emit: Emit, metrics: Metrics) -> (Self, Vec<Entry>) {
        let (shared, owner, entries) = writer::start(medium, pace, emit, metrics);
        let outbox = Self { shared, owner: Arc::new(owner) };
        (outbox, entries)
    }

    /// Takes confirmed states, in order. Returns at once; they are committed together with
    /// whatever else waits (one transaction, one `fdatasync`) and then handed to delivery.
    pub fn put(&self, changes: &[Confirmed]) {
        let least = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
        self.shared.put(changes, clock::now(), least);
    }

    /// The receiver took `state` under `sequence`. Written lazily: a crash costs one repeat.
    pub fn acknowledge(&self, router: RouterId, sequence: u64, state: State) {
        self.shared.acknowledge(router, sequence, state);
    }

    /// Removes a router that is no longer watched; delivery lets it go too.
    pub fn forget(&self, router: RouterId) {
        self.shared.forget(router);
    }

    /// Every router's standing, ordered by router.
    pub fn snapshot(&self) -> Vec<(RouterId, Standing)> {
        self.shared.snapshot()
    }

    /// One router's standing.
    pub fn standing(&self, router: RouterId) -> Option<Standing> {
        self.shared.standing(router)
    }

    /// Whether entries reach the disk.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health()
    }

    /// Waits until [`Outbox::take_ready`] may have something. One waiter (delivery); a permit is
    /// kept for it while it is busy.
    pub(crate) async fn ready(&self) {
        self.shared.ready.notified().await;
    }

    /// Everything committed since the last call, latest per router, and what has waited for the
    /// disk longer than a second. Call it at least once a second.
    pub(crate) fn take_ready(&self, now: Mono) -> Vec<Change> {
        self.shared.take_ready(now)
    }

    /// Writes what waits and ends the thread; gives up after 2 s if the disk does not answer
    /// (the thread then ends when it does).
    pub async fn stop(self) {
        self.owner.stop(&self.shared, STOP_WITHIN).await;
    }
}
