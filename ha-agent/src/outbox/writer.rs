//! The thread that owns the file, and how it is opened at the start.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::book::{Job, Next, Shared};
use super::entry::Entry;
use super::metrics::Metrics;
use super::store::{Found, Medium, Store, StoreError};
use super::{Emit, Pace};
use crate::clock;
use crate::core::time::Mono;
use crate::privilege::{self, Role};
use crate::telemetry::event::Event;

/// Ends the thread when the last handle goes.
pub(super) struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<(JoinHandle<()>, oneshot::Receiver<()>)>>,
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}

impl Owner {
    pub(super) async fn stop(&self, shared: &Shared, within: Duration) {
        shared.request_stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((thread, done)) = thread else {
            return;
        };
        // The sender is dropped at the thread's very end, also by a panic.
        match tokio::time::timeout(within, done).await {
            Ok(_) => {
                if thread.join().is_err() {
                    tracing::error!("the outbox's thread panicked");
                }
            }
            Err(_) => tracing::warn!("the disk does not answer: the outbox is left without its last commit"),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.request_stop();
    }
}

/// Opens the file, never fails, and starts the thread.
pub(super) fn start<M: Medium>(
    medium: M,
    pace: Pace,
    emit: Emit,
    metrics: Metrics,
) -> (Arc<Shared>, Owner, Vec<Entry>) {
    let (store, found, trouble) = open_first(&medium, &emit);
    let shared = Arc::new(Shared::new(&found.entries, pace, emit.clone(), metrics.clone()));
    if let Some(reason) = trouble {
        shared.reopened(Err(reason));
    }
    let (sender, done) = oneshot::channel();
    let writer = Writer { medium, store, shared: Arc::clone(&shared), pace, emit, metrics };
    let thread = std::thread::Builder::new().name(Role::Outbox.thread_name().to_owned()).spawn(move || {
        let _ends = sender;
        privilege::enter(Role::Outbox);
        writer.run();
    });
    let thread = match thread {
        Ok(thread) => Some((thread, done)),
        Err(error) => {
            // Without the thread every state is handed over after the stall time, from memory.
            shared.reopened(Err(format!("no thread for the outbox ({error}): states are kept in memory only")));
            None
        }
    };
    let owner = Owner { shared: Arc::clone(&shared), thread: Mutex::new(thread) };
    (shared, owner, found.entries)
}

/// A file that cannot be opened for writing is read from a copy in memory.
fn open_first<M: Medium>(medium: &M, emit: &Emit) -> (Option<Store>, Found, Option<String>) {
    match open_or_set_aside(medium, emit) {
        Ok((store, found)) => (Some(store), found, None),
        Err(error) => {
            let found = Store::read_image(medium).unwrap_or_else(|unread| {
                tracing::warn!(file = medium.name(), %unread, "the outbox starts empty");
                Found::default()
            });
            let reason = memory_only(medium, &error);
            (None, found, Some(reason))
        }
    }
}

fn memory_only(medium: &impl Medium, error: &StoreError) -> String {
    format!(
        "{}: {error}: confirmed states are kept in memory only and a crash of the agent loses what \
         is not delivered; free or remount the disk of the state directory, the agent tries again",
        medium.name()
    )
}

fn open_or_set_aside(medium: &impl Medium, emit: &Emit) -> Result<(Store, Found), StoreError> {
    let (store, found) = match Store::open(medium) {
        Err(StoreError::Corrupt(what)) => {
            let name = medium.set_aside().map_err(|error| StoreError::Io(format!("corrupt ({what}), and {error}")))?;
            let reason = format!(
                "{} is corrupt ({what}): set aside as {name}, a new one is begun; what was not \
                 delivered before this start is confirmed anew from what is seen",
                medium.name()
            );
            tracing::error!(%reason, "outbox");
            degraded_and_restored(emit, reason, None);
            Store::open(medium)?
        }
        other => other?,
    };
    let mut gone = Vec::new();
    for (router, error) in &found.unreadable {
        let reason =
            format!("the record of router {router} in {} cannot be read ({error}): it is dropped", medium.name());
        tracing::error!(%reason, "outbox");
        degraded_and_restored(emit, reason, Some(*router));
        gone.push(*router);
    }
    if !gone.is_empty() {
        store.commit(&[], &gone)?;
    }
    Ok((store, found))
}

/// Something is lost, and the channel works all the same.
fn degraded_and_restored(emit: &Emit, reason: String, router_id: Option<crate::core::model::RouterId>) {
    let channel = "outbox".to_owned();
    emit(Event::ChannelDegraded { channel: channel.clone(), reason, router_id });
    emit(Event::ChannelRestored { channel, router_id });
}

struct Writer<M> {
    medium: M,
    store: Option<Store>,
    shared: Arc<Shared>,
    pace: Pace,
    emit: Emit,
    metrics: Metrics,
}

impl<M: Medium> Writer<M> {
    fn run(mut self) {
        let mut pause = self.pace.retry_first;
        let mut retry_at = self.down_until(pause);
        loop {
            match self.shared.next(retry_at) {
                Next::Write(job) => {
                    self.write(&job);
                    if self.store.is_none() && retry_at.is_none() {
                        pause = self.pace.retry_first;
                        retry_at = self.down_until(pause);
                    }
                }
                Next::Reopen => {
                    self.reopen();
                    pause = (pause * 2).min(self.pace.retry_max);
                    retry_at = self.down_until(pause);
                }
                Next::Stop(job) => {
                    if self.store.is_none() {
                        self.reopen();
                    }
                    self.write(&job);
                    return;
                }
            }
        }
    }

    fn down_until(&self, pause: Duration) -> Option<Mono> {
        self.store.is_none().then(|| clock::now() + pause)
    }

    fn write(&mut self, job: &Job) {
        if job.writes.is_empty() && job.deletes.is_empty() {
            return;
        }
        let Some(store) = &self.store else {
            self.shared.written(job, None);
            return;
        };
        let begun = clock::now();
        let result = store.commit(&job.writes, &job.deletes);
        let result = self.count(begun, result);
        self.shared.written(job, Some(result));
    }

    /// Opens the file anew and makes it hold what memory holds.
    fn reopen(&mut self) {
        // A failed redb handle refuses everything until it is closed.
        self.store = None;
        let begun = clock::now();
        let result = open_or_set_aside(&self.medium, &self.emit).and_then(|(store, _)| {
            self.shared.all_is_written_next();
            store.replace(&self.shared.entries())?;
            self.store = Some(store);
            Ok(())
        });
        let result = self.count(begun, result);
        self.shared.reopened(result);
    }

    fn count(&mut self, begun: Mono, result: Result<(), StoreError>) -> Result<(), String> {
        match result {
            Ok(()) => {
                self.metrics.commits.inc();
                let took = clock::now().since(begun);
                self.metrics.commit_seconds.observe(took.as_secs_f64());
                Ok(())
            }
            Err(error) => {
                self.metrics.failures.inc();
                self.store = None;
                Err(memory_only(&self.medium, &error))
            }
        }
    }
}
