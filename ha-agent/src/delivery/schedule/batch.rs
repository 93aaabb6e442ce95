//! The open batches: who waits in them, and what has become of each until its last state is
//! answered.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Output;
use super::slot::Want;
use crate::core::model::RouterId;
use crate::outbox::Entry;
use crate::telemetry::event::Delivered;

/// All open batches. Their states wait in common, changes before re-assertions.
#[derive(Debug, Default)]
pub(super) struct Batches {
    pub(super) changes: VecDeque<RouterId>,
    pub(super) again: VecDeque<RouterId>,
    pub(super) progress: BTreeMap<u64, Progress>,
    last: u64,
}

impl Batches {
    /// Opens a batch of so many states, which are to be [`push`](Self::push)ed; its number.
    pub(super) fn open(&mut self, attempt: u32, states: usize) -> u64 {
        self.last += 1;
        self.progress.insert(self.last, Progress::new(attempt, states));
        self.last
    }

    pub(super) fn push(&mut self, router: RouterId, want: Want) {
        match want {
            Want::Change => self.changes.push_back(router),
            Want::Again | Want::Routine | Want::Nothing => self.again.push_back(router),
        }
    }

    /// Before all others.
    pub(super) fn push_front(&mut self, router: RouterId) {
        self.changes.push_front(router);
    }

    pub(super) fn pop(&mut self) -> Option<RouterId> {
        self.changes.pop_front().or_else(|| self.again.pop_front())
    }

    pub(super) fn leave(&mut self, router: RouterId) {
        self.changes.retain(|other| *other != router);
        self.again.retain(|other| *other != router);
    }

    /// Whether nobody waits; requests may still be in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.again.is_empty()
    }

    /// Everyone who waits, in order.
    pub(super) fn drain(&mut self) -> Vec<RouterId> {
        self.changes.drain(..).chain(self.again.drain(..)).collect()
    }

    /// One state of a batch is done with; the last one closes the batch.
    pub(super) fn close_one(&mut self, batch: u64, note: impl FnOnce(&mut Progress), outputs: &mut Vec<Output>) {
        let Some(progress) = self.progress.get_mut(&batch) else {
            return;
        };
        note(progress);
        if progress.close_one()
            && let Some(progress) = self.progress.remove(&batch)
        {
            progress.tell(batch, outputs);
        }
    }
}

#[derive(Debug)]
pub(super) struct Progress {
    attempt: u32,
    open: usize,
    taken: Vec<Delivered>,
    failed: usize,
    refused: usize,
    reason: Option<String>,
    refusal: Option<String>,
    retry_in: Duration,
}

impl Progress {
    fn new(attempt: u32, states: usize) -> Self {
        Self {
            attempt,
            open: states,
            taken: Vec::new(),
            failed: 0,
            refused: 0,
            reason: None,
            refusal: None,
            retry_in: Duration::ZERO,
        }
    }

    pub(super) fn taken(&mut self, entry: &Entry) {
        self.taken.push(Delivered { router_id: entry.router, state: entry.state, sequence: entry.sequence });
    }

    pub(super) fn failed(&mut self, reason: String, retry_in: Duration) {
        self.failed += 1;
        self.reason.get_or_insert(reason);
        self.retry_in = self.retry_in.max(retry_in);
    }

    pub(super) fn refused(&mut self, reason: String) {
        self.refused += 1;
        self.refusal.get_or_insert(reason);
    }

    /// True when nothing of the batch is open any more.
    fn close_one(&mut self) -> bool {
        self.open = self.open.saturating_sub(1);
        self.open == 0
    }

    fn tell(self, batch: u64, outputs: &mut Vec<Output>) {
        if !self.taken.is_empty() {
            outputs.push(Output::Sent { batch, attempt: self.attempt, states: self.taken });
        }
        if let Some(reason) = self.refusal {
            outputs.push(Output::Failed { batch, count: self.refused, attempt: self.attempt, reason, retry_in: None });
        }
        // Attempts 1, 2, 4, 8 …: a long outage is told, not counted out.
        if let Some(reason) = self.reason
            && self.attempt.is_power_of_two()
        {
            outputs.push(Output::Failed {
                batch,
                count: self.failed,
                attempt: self.attempt,
                reason,
                retry_in: Some(self.retry_in),
            });
        }
    }
}
