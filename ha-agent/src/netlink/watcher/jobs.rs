//! The requests about namespaces: queued, run a few at a time, their answers used.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Watcher;
use super::slot::{Slot, SlotId, Step, Turn};
use crate::clock;
use crate::config::Netns;
use crate::netlink::namespace::Dump;
use crate::netlink::requests::RequestError;
use crate::netlink::resolve::{self, Bound, ResolveError};
use crate::netlink::vmac::Macvlan;

/// Requests at once: enough to keep the kernel busy, few enough to bound what their answers hold.
const JOBS: usize = 8;

pub(super) enum Done {
    Resolved(SlotId, u32, Result<Bound, ResolveError>),
    Dumped(SlotId, u32, Result<(Dump, Option<Vec<Macvlan>>), RequestError>),
    Own(Result<Option<i32>, ResolveError>),
}

impl Watcher {
    /// Queues what a slot needs, unless it is under way.
    pub(super) fn enqueue(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id)
            && slot.turn == Turn::Idle
            && (slot.step == Step::Resolve || slot.stale || slot.table.needs_dump())
        {
            slot.turn = Turn::Queued;
            self.queue.push_back(id);
        }
    }

    pub(super) fn start_jobs(&mut self) {
        // Between an overrun and the dump of everything an answer could already be wrong.
        if self.recovery.as_ref().is_some_and(|r| r.due.is_some()) {
            return;
        }
        while self.jobs.len() < JOBS
            && let Some(id) = self.queue.pop_front()
        {
            let queued = |slot: &&mut Slot| slot.turn == Turn::Queued;
            let Some(slot) = self.slots.get_mut(&id).filter(queued) else {
                continue;
            };
            slot.turn = Turn::Running;
            let (requests, epoch) = (self.requests.clone(), slot.epoch);
            match (slot.step, slot.bound) {
                (Step::Dump, Some(bound)) => {
                    self.metrics.dumps.inc();
                    slot.stale = false;
                    let want = slot.table.begin_dump();
                    let macvlans = slot.vmacs.is_wanted();
                    slot.vmacs.begin();
                    self.jobs.spawn(async move {
                        let read = async {
                            let dump = requests.dump(bound.nsid, &want).await?;
                            let macvlans = if macvlans { Some(requests.macvlans(bound.nsid).await?) } else { None };
                            Ok((dump, macvlans))
                        };
                        Done::Dumped(id, epoch, read.await)
                    });
                }
                _ => {
                    let netns = Arc::clone(&slot.netns);
                    self.jobs
                        .spawn(async move { Done::Resolved(id, epoch, resolve::resolve(&requests, &netns).await) });
                }
            }
        }
    }

    pub(super) fn done(&mut self, done: Done) {
        self.drain();
        match done {
            Done::Resolved(id, epoch, result) => {
                if self.is_current(id, epoch) {
                    self.resolved(id, result);
                }
            }
            Done::Dumped(id, epoch, result) => {
                if self.is_current(id, epoch) {
                    self.dumped(id, result);
                }
            }
            Done::Own(Ok(nsid)) => self.own(nsid),
            Done::Own(Err(e)) => {
                tracing::debug!(error = %e, "cannot read the nsid of the agent's own namespace");
                self.own_due = Some(Instant::now() + Duration::from_secs(1));
            }
        }
    }

    fn is_current(&self, id: SlotId, epoch: u32) -> bool {
        self.slots.get(&id).is_some_and(|slot| slot.epoch == epoch)
    }

    fn resolved(&mut self, id: SlotId, result: Result<Bound, ResolveError>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.turn = Turn::Idle;
        slot.missing = result.as_ref().err().map(ResolveError::missing).unwrap_or_default();
        match result {
            Ok(bound) => {
                slot.attempts = 0;
                if slot.bound != Some(bound) {
                    if slot.bound.is_some() {
                        // Another namespace under the same name.
                        self.unbind(id);
                        self.missing(id);
                    }
                    self.by_nsid.insert((bound.nsid, id));
                }
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.bound = Some(bound);
                    slot.step = Step::Dump;
                }
                self.gauges();
                self.enqueue(id);
            }
            Err(ResolveError::Absent) => self.lose(id),
            Err(e) => {
                let attempts = slot.attempts;
                // Only a look that succeeded says something about a namespace that is known.
                let known = slot.bound.is_some() && !matches!(e, ResolveError::NotYet);
                if attempts == 0 && !known {
                    self.lose(id);
                }
                if matches!(e, ResolveError::NotYet) {
                    tracing::debug!(slot = id, attempts, error = %e, "not a network namespace yet");
                } else {
                    self.failed(id, &e);
                }
                self.again(id, attempts);
            }
        }
    }

    fn dumped(&mut self, id: SlotId, result: Result<(Dump, Option<Vec<Macvlan>>), RequestError>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.turn = Turn::Idle;
        match result {
            Ok((dump, macvlans)) => {
                slot.attempts = 0;
                slot.table.end_dump(dump, &mut self.changes);
                slot.vmacs.end(macvlans);
                self.told(clock::now());
                self.tell_vmacs(id);
                self.recovered(id);
                self.enqueue(id);
            }
            Err(e) => {
                // The namespace may have died meanwhile: look at its file first.
                let attempts = slot.attempts;
                slot.step = Step::Resolve;
                slot.stale = true;
                slot.table.abort_dump(&mut self.changes);
                slot.vmacs.end(None);
                self.told(clock::now());
                if !matches!(e, RequestError::Interrupted) {
                    self.failed(id, &e);
                }
                self.again(id, attempts);
            }
        }
    }

    fn failed(&self, id: SlotId, error: &dyn std::error::Error) {
        self.metrics.failures.inc();
        if let Some(slot) = self.slots.get(&id)
            && (slot.attempts == 0 || slot.attempts == 10)
        {
            tracing::warn!(netns = %slot.netns, %error,
                "cannot read a network namespace; it is tried again");
        }
    }

    /// Tries again after 1 ms, 2 ms, … up to a second.
    fn again(&mut self, id: SlotId, attempts: u8) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.attempts = attempts.saturating_add(1);
            slot.turn = Turn::Waiting;
            let pause = Duration::from_millis(1 << attempts.min(10));
            self.retries.insert((Instant::now() + pause, id));
        }
    }

    fn own(&mut self, nsid: Option<i32>) {
        if self.own_nsid == nsid {
            return;
        }
        self.own_nsid = nsid;
        // Notifications that came under the other id were not recognised.
        if let Some(id) = self.by_netns.get(&Netns::Own).copied() {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.stale = true;
            }
            self.enqueue(id);
        }
    }
}
