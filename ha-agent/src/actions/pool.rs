//! A lane: jobs of one kind, a few at once, never two of one router, of each router only the newest
//! that has not begun. Its owner stops it; whoever posts never waits.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::core::model::RouterId;

/// See the module. Clones share the lane.
#[derive(Debug)]
pub(super) struct Lane<J> {
    shared: Arc<Shared<J>>,
}

#[derive(Debug)]
struct Shared<J> {
    queue: Mutex<Queue<J>>,
    wake: Notify,
}

/// Waiting jobs by router, in the order in which the routers came; at most one per router.
#[derive(Debug)]
struct Queue<J> {
    waiting: BTreeMap<u64, (RouterId, J)>,
    places: BTreeMap<RouterId, u64>,
    running: BTreeSet<RouterId>,
    at_once: usize,
    last: u64,
    closed: bool,
}

impl<J> Queue<J> {
    /// The first job whose router has none running, if there is a place for it.
    fn begin(&mut self) -> Option<(RouterId, J)> {
        if self.running.len() >= self.at_once {
            return None;
        }
        let number = *self.waiting.iter().find(|(_, (router, _))| !self.running.contains(router))?.0;
        let (router, job) = self.waiting.remove(&number)?;
        self.places.remove(&router);
        self.running.insert(router);
        Some((router, job))
    }

    fn take(&mut self, router: RouterId) -> Option<J> {
        let number = self.places.remove(&router)?;
        self.waiting.remove(&number).map(|(_, job)| job)
    }
}

impl<J: Send + 'static> Lane<J> {
    /// A lane that runs `at_once` jobs, at least one.
    pub(super) fn new(at_once: usize) -> Self {
        let queue = Queue {
            waiting: BTreeMap::new(),
            places: BTreeMap::new(),
            running: BTreeSet::new(),
            at_once: at_once.max(1),
            last: 0,
            closed: false,
        };
        Self { shared: Arc::new(Shared { queue: Mutex::new(queue), wake: Notify::new() }) }
    }

    /// Takes a job, which stands at the end of the line or in its router's place there. Gives the one
    /// that it replaces; the job itself once the lane has ended.
    pub(super) fn post(&self, router: RouterId, job: J) -> Option<J> {
        let mut queue = self.queue();
        if queue.closed {
            return Some(job);
        }
        if let Some(number) = queue.places.get(&router).copied() {
            return queue.waiting.insert(number, (router, job)).map(|(_, older)| older);
        }
        queue.last += 1;
        let number = queue.last;
        queue.places.insert(router, number);
        queue.waiting.insert(number, (router, job));
        drop(queue);
        self.shared.wake.notify_one();
        None
    }

    /// Takes back what has not begun of a router.
    pub(super) fn withdraw(&self, router: RouterId) -> Option<J> {
        self.queue().take(router)
    }

    /// So many at once from now on.
    pub(super) fn resize(&self, at_once: usize) {
        self.queue().at_once = at_once.max(1);
        self.shared.wake.notify_one();
    }

    /// Runs jobs until `stop`; then lets those that have begun end and gives what never began.
    pub(super) fn run<F, W>(&self, work: W, stop: CancellationToken) -> JoinHandle<Vec<(RouterId, J)>>
    where
        F: Future<Output = ()> + Send + 'static,
        W: Fn(RouterId, J) -> F + Send + 'static,
    {
        let lane = Self { shared: Arc::clone(&self.shared) };
        tokio::spawn(async move {
            let mut jobs: JoinSet<RouterId> = JoinSet::new();
            // A job that panics ends without saying whose it was.
            let mut owners = BTreeMap::new();
            while !stop.is_cancelled() {
                while let Some((router, job)) = lane.begin() {
                    let job = work(router, job);
                    let handle = jobs.spawn(async move {
                        job.await;
                        router
                    });
                    owners.insert(handle.id(), router);
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = lane.shared.wake.notified() => {}
                    Some(ended) = jobs.join_next_with_id() => {
                        let id = match &ended {
                            Ok((id, _)) => *id,
                            Err(error) => {
                                tracing::error!(%error, "an action ended badly");
                                error.id()
                            }
                        };
                        if let Some(router) = owners.remove(&id) {
                            lane.queue().running.remove(&router);
                        }
                    }
                }
            }
            let left = {
                let mut queue = lane.queue();
                queue.closed = true;
                queue.places.clear();
                std::mem::take(&mut queue.waiting)
            };
            while jobs.join_next().await.is_some() {}
            left.into_values().collect()
        })
    }

    fn begin(&self) -> Option<(RouterId, J)> {
        self.queue().begin()
    }

    /// Nothing that panics happens while it is held.
    fn queue(&self) -> MutexGuard<'_, Queue<J>> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> Clone for Lane<J> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[cfg(test)]
mod tests;
