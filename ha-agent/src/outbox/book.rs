//! What the outbox holds in memory, shared by the callers, the writer thread and delivery.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::entry::{Confirmed, Entry};
use super::health::Health;
use super::metrics::Metrics;
use super::{Emit, Pace};
use crate::clock;
use crate::core::model::{RouterId, State};
use crate::core::time::Mono;
use crate::telemetry::event::Event;

/// What delivery learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A state is confirmed, and on disk unless the outbox runs from memory.
    Confirmed {
        /// The entry.
        entry: Entry,
        /// When it was put.
        at: Mono,
    },
    /// A router is no longer watched.
    Forgotten(RouterId),
}

/// How far the receiver knows a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The confirmed state.
    pub state: State,
    /// Its sequence.
    pub sequence: u64,
    /// The highest sequence that the receiver took; 0: none.
    pub delivered: u64,
    /// The state it took then.
    pub delivered_state: Option<State>,
    /// Whether it lacks the latest.
    pub pending: bool,
}

impl From<&Entry> for Standing {
    fn from(entry: &Entry) -> Self {
        Self {
            state: entry.state,
            sequence: entry.sequence,
            delivered: entry.delivered,
            delivered_state: entry.delivered_state,
            pending: entry.pending(),
        }
    }
}

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// Entries to write.
    pub(super) writes: Vec<Entry>,
    /// Routers to remove.
    pub(super) deletes: Vec<RouterId>,
    /// Which of `writes` are new states, to be handed to delivery, and when they were put.
    pub(super) fresh: Vec<(Entry, Mono)>,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Next {
    /// Write this.
    Write(Job),
    /// Try the disk again.
    Reopen,
    /// Write this, then end.
    Stop(Job),
}

#[derive(Debug, Default)]
struct Book {
    entries: BTreeMap<RouterId, Entry>,
    /// New states that wait for the writer, and since when.
    puts: BTreeMap<RouterId, Mono>,
    /// New states that the writer is committing.
    committing: BTreeMap<RouterId, Mono>,
    /// Acknowledged since the last write.
    lazy: BTreeSet<RouterId>,
    /// Forgotten since the last write.
    gone: BTreeSet<RouterId>,
    /// Since when `lazy` or `gone` hold something.
    lazy_since: Option<Mono>,
    /// For delivery.
    ready: BTreeMap<RouterId, Change>,
    /// Why entries do not reach the disk.
    trouble: Option<String>,
    /// The disk does not answer: new states are handed over without it.
    stalled: bool,
    stop: bool,
}

pub(super) struct Shared {
    book: Mutex<Book>,
    wake: Condvar,
    pub(super) ready: Notify,
    health: watch::Sender<Health>,
    pace: Pace,
    emit: Emit,
    metrics: Metrics,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(entries: &[Entry], pace: Pace, emit: Emit, metrics: Metrics) -> Self {
        metrics.healthy.set(1);
        Self {
            book: Mutex::new(Book {
                entries: entries.iter().map(|entry| (entry.router, *entry)).collect(),
                ..Book::default()
            }),
            wake: Condvar::new(),
            ready: Notify::new(),
            health: watch::Sender::new(Health::Healthy),
            pace,
            emit,
            metrics,
        }
    }

    /// The book is consistent after each statement, so a panic elsewhere does not spoil it.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, changes: &[Confirmed], now: Mono, least: u64) {
        if changes.is_empty() {
            return;
        }
        let mut book = self.book();
        for change in changes {
            let before = book.entries.get(&change.router);
            let entry = Entry {
                router: change.router,
                state: change.state,
                previous: change.previous,
                basis: change.basis,
                confirmed_at_us: change.confirmed_at_us,
                sequence: before.map_or(1, |before| before.sequence + 1).max(least),
                delivered: before.map_or(0, |before| before.delivered),
                delivered_state: before.and_then(|before| before.delivered_state),
            };
            book.entries.insert(entry.router, entry);
            book.gone.remove(&entry.router);
            book.puts.entry(entry.router).or_insert(now);
            if book.stalled {
                book.ready.insert(entry.router, Change::Confirmed { entry, at: now });
            }
        }
        let stalled = book.stalled;
        drop(book);
        self.wake.notify_one();
        if stalled {
            self.ready.notify_one();
        }
    }

    pub(super) fn acknowledge(&self, router: RouterId, sequence: u64, state: State) {
        let mut book = self.book();
        let Some(entry) = book.entries.get_mut(&router) else {
            return;
        };
        if sequence <= entry.delivered || sequence > entry.sequence {
            return;
        }
        entry.delivered = sequence;
        entry.delivered_state = Some(state);
        book.lazy.insert(router);
        self.arm_lazy(&mut book);
    }

    pub(super) fn forget(&self, router: RouterId) {
        let mut book = self.book();
        if book.entries.remove(&router).is_none() {
            return;
        }
        book.puts.remove(&router);
        book.lazy.remove(&router);
        book.gone.insert(router);
        book.ready.insert(router, Change::Forgotten(router));
        self.arm_lazy(&mut book);
        drop(book);
        self.ready.notify_one();
    }

    /// The writer sleeps without a deadline until the first lazy change.
    fn arm_lazy(&self, book: &mut Book) {
        if book.lazy_since.is_none() {
            book.lazy_since = Some(clock::now());
            self.wake.notify_one();
        }
    }

    pub(super) fn snapshot(&self) -> Vec<(RouterId, Standing)> {
        let book = self.book();
        let standings = book.entries.values();
        standings.map(|entry| (entry.router, entry.into())).collect()
    }

    pub(super) fn standing(&self, router: RouterId) -> Option<Standing> {
        self.book().entries.get(&router).map(Into::into)
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.book().entries.values().copied().collect()
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn take_ready(&self, now: Mono) -> Vec<Change> {
        let mut book = self.book();
        let overdue = |since: &Mono| now.since(*since) >= self.pace.stall;
        let late: Vec<(RouterId, Mono)> = book
            .committing
            .iter()
            .chain(&book.puts)
            .filter(|(_, since)| book.stalled || overdue(since))
            .map(|(router, since)| (*router, *since))
            .collect();
        if !late.is_empty() && !book.stalled {
            book.stalled = true;
            self.set_trouble(
                &mut book,
                Some(format!(
                    "the disk has not taken a commit for {:?}: states are sent before they are on disk; \
                     look for I/O errors in the kernel log",
                    self.pace.stall
                )),
            );
        }
        for (router, at) in late {
            if let Some(entry) = book.entries.get(&router).copied() {
                book.ready.insert(router, Change::Confirmed { entry, at });
            }
        }
        std::mem::take(&mut book.ready).into_values().collect()
    }

    /// Blocks the writer until there is work. `retry_at`: the disk is down until then.
    pub(super) fn next(&self, retry_at: Option<Mono>) -> Next {
        let mut book = self.book();
        loop {
            let now = clock::now();
            let lazy_at = book.lazy_since.map(|since| since + self.pace.lazy);
            if book.stop {
                return Next::Stop(take_job(&mut book, true));
            }
            if !book.puts.is_empty() {
                return Next::Write(take_job(&mut book, false));
            }
            // Without a disk lazy changes stay: reopening writes everything.
            let due = retry_at.or(lazy_at);
            if due.is_some_and(|due| due <= now) {
                return if retry_at.is_some() { Next::Reopen } else { Next::Write(take_job(&mut book, true)) };
            }
            book = match due {
                Some(due) => {
                    let wait = due.since(now).max(Duration::from_millis(1));
                    let woken = self.wake.wait_timeout(book, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(book).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Hands the job's new states to delivery. `on_disk`: what the disk said, if it was asked.
    pub(super) fn written(&self, job: &Job, on_disk: Option<Result<(), String>>) {
        let mut book = self.book();
        book.committing.clear();
        for (entry, at) in &job.fresh {
            // Forgotten while it was committed: delivery must not hear of it again. A newer entry
            // already handed over (stalled disk) is not replaced by an older one.
            let newer = matches!(book.ready.get(&entry.router),
                Some(Change::Confirmed { entry: other, .. }) if other.sequence > entry.sequence);
            if book.entries.contains_key(&entry.router) && !newer {
                let change = Change::Confirmed { entry: *entry, at: *at };
                book.ready.insert(entry.router, change);
            }
        }
        match on_disk {
            Some(Ok(())) if !book.stalled || book.puts.is_empty() => {
                book.stalled = false;
                self.set_trouble(&mut book, None);
            }
            Some(Err(reason)) => {
                // What the transaction held is written when the disk works again: reopening
                // writes every entry.
                book.stalled = false;
                self.set_trouble(&mut book, Some(reason));
            }
            Some(Ok(())) | None => {}
        }
        drop(book);
        if !job.fresh.is_empty() {
            self.ready.notify_one();
        }
    }

    /// The disk was tried again.
    pub(super) fn reopened(&self, result: Result<(), String>) {
        let mut book = self.book();
        if result.is_ok() {
            book.stalled = false;
        }
        self.set_trouble(&mut book, result.err());
    }

    /// Taken before every entry is written: from here on only later changes are lazy.
    pub(super) fn all_is_written_next(&self) {
        let mut book = self.book();
        book.lazy.clear();
        book.gone.clear();
        book.lazy_since = None;
    }

    fn set_trouble(&self, book: &mut Book, trouble: Option<String>) {
        if book.trouble == trouble {
            return;
        }
        match (&book.trouble, &trouble) {
            (None, Some(reason)) => {
                tracing::warn!(%reason, "the outbox goes on from memory");
                (self.emit)(Event::ChannelDegraded {
                    channel: "outbox".to_owned(),
                    reason: reason.clone(),
                    router_id: None,
                });
            }
            (Some(_), None) => {
                tracing::info!("the outbox is on disk again");
                (self.emit)(Event::ChannelRestored { channel: "outbox".to_owned(), router_id: None });
            }
            (Some(_), Some(reason)) => tracing::warn!(%reason, "the outbox is still in memory"),
            (None, None) => {}
        }
        self.metrics.healthy.set(i64::from(trouble.is_none()));
        self.health.send_replace(trouble.clone().map_or(Health::Healthy, |reason| Health::MemoryOnly { reason }));
        book.trouble = trouble;
    }

    pub(super) fn request_stop(&self) {
        self.book().stop = true;
        self.wake.notify_one();
    }
}

fn take_job(book: &mut Book, with_lazy: bool) -> Job {
    book.committing = std::mem::take(&mut book.puts);
    let mut job = Job::default();
    for (router, at) in &book.committing {
        if let Some(entry) = book.entries.get(router) {
            job.writes.push(*entry);
            job.fresh.push((*entry, *at));
            book.lazy.remove(router);
        }
    }
    if with_lazy {
        let lazy = std::mem::take(&mut book.lazy);
        job.writes.extend(lazy.iter().filter_map(|router| book.entries.get(router)));
        job.deletes = std::mem::take(&mut book.gone).into_iter().collect();
        book.lazy_since = None;
    }
    job
}
