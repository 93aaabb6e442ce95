//! What has become of a batch, until its last state is answered.

use std::time::Duration;

use super::{Delivered, Output};
use crate::outbox::Entry;

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
    pub(super) fn new(attempt: u32, states: usize) -> Self {
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
    pub(super) fn close_one(&mut self) -> bool {
        self.open = self.open.saturating_sub(1);
        self.open == 0
    }

    pub(super) fn tell(self, batch: u64, outputs: &mut Vec<Output>) {
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
