//! What is sent when: batches, hold, requests in flight, retries, re-assertion. Pure: it is told
//! the time, gives what to send and its next deadline, and does no I/O.
//!
//! - A router has one newest state and at most one request in flight; a newer state waits for the
//!   older one's answer. Everything is bounded by the number of routers.
//! - A batch takes what is due: the first change at once, then one batch per interval. Changes go
//!   before re-assertions.
//! - A receiver that is away is an outage: nothing waits in a batch, one probe (protocol `json`:
//!   one batch) goes per pause, and its first answer ends the outage and asserts everything again.
//! - A full listen queue is no outage for its first second: the states keep their places and go on
//!   after a pause of milliseconds.
//! - What nobody asked for (`reassert`) goes last, is told by no event when it succeeds, and is no
//!   pending state.

mod answers;
mod batch;
mod io;
mod outage;
mod reassert;
mod slot;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Protocol;
use crate::core::model::RouterId;
use crate::core::time::Mono;
use crate::outbox::Entry;

use super::backoff::Jitter;
use batch::{Batches, Progress};
pub use io::{Output, Rules, Send};
use outage::Receiver;
use reassert::Reassert;
use slot::{Last, Slot, Want};

/// The L3 agent's wait begins a little after its answer and ends late under load.
const HOLD_SLACK: u32 = 20;

/// Between two assertions of all states after outages.
const ASSERT_PAUSE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    rules: Rules,
    start: Mono,
    jitter: Jitter,
    slots: BTreeMap<RouterId, Slot>,
    /// What the receiver heard last of routers forgotten within the hold.
    forgotten: BTreeMap<RouterId, Last>,
    batches: Batches,
    next_batch: Mono,
    in_flight: usize,
    receiver: Receiver,
    reassert: Reassert,
    /// States in a batch at most: a receiver has said that a larger one is too large.
    most: usize,
    /// When all states were asserted last after an outage.
    asserted: Option<Mono>,
    /// When they are to be asserted again: the receiver came back too soon after the last time.
    owed: Option<Mono>,
    outputs: Vec<Output>,
}

impl Schedule {
    /// `start`: what was sent before is unknown, so that with a hold nothing goes until it has
    /// passed since then.
    pub fn new(rules: Rules, seed: u64, start: Mono) -> Self {
        Self {
            rules,
            start,
            jitter: Jitter::new(seed),
            slots: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            batches: Batches::default(),
            next_batch: start,
            in_flight: 0,
            receiver: Receiver::new(start),
            reassert: Reassert::new(rules.reassert, loads_routers(&rules), start),
            most: usize::MAX,
            asserted: None,
            owed: None,
            outputs: Vec::new(),
        }
    }

    /// A router's newest state; older ones than known are ignored. `confirmed`: when, if in this
    /// run. What is left of an earlier run is not sent: nobody knows whether it is still so.
    pub fn confirm(&mut self, entry: Entry, confirmed: Option<Mono>) {
        let start = self.start;
        let forgotten = &mut self.forgotten;
        let slot = self.slots.entry(entry.router).or_insert_with(|| {
            let last = forgotten.remove(&entry.router);
            Slot::new(entry, last.unwrap_or(Last::unknown(start)))
        });
        if slot.known && entry.sequence <= slot.entry.sequence {
            return;
        }
        slot.known = true;
        slot.current |= confirmed.is_some();
        slot.entry = entry;
        slot.confirmed = confirmed;
        slot.failures = 0;
        slot.not_before = Mono(0);
        // A change does not wait in the re-assertions' queue.
        let moved = slot.queued.take_if(|_| slot.want != Want::Change);
        if entry.pending() && slot.current {
            slot.want = Want::Change;
        }
        if let Some(batch) = moved {
            self.withdraw(entry.router, batch);
        }
        self.settle(entry.router);
    }

    /// A router that is no longer watched. A request in flight is left to end.
    pub fn forget(&mut self, router: RouterId, now: Mono) {
        let Some(slot) = self.slots.get_mut(&router) else {
            return;
        };
        slot.want = Want::Nothing;
        slot.known = false;
        if let Some(batch) = slot.queued.take() {
            self.withdraw(router, batch);
        }
        self.let_go(router, now);
    }

    /// Removes a forgotten router once nothing of it is in flight.
    fn let_go(&mut self, router: RouterId, now: Mono) {
        let gone = |slot: &Slot| !slot.known && !slot.in_flight;
        if !self.slots.get(&router).is_some_and(gone) {
            return;
        }
        let hold = self.hold();
        self.forgotten.retain(|_, last| now < last.over(hold));
        if let Some(slot) = self.slots.remove(&router) {
            self.forgotten.insert(router, slot.last);
        }
    }

    /// Sends a router's state once more, also if the receiver has it.
    pub fn assert_again(&mut self, router: RouterId) {
        if let Some(slot) = self.slots.get_mut(&router) {
            slot.assert_again();
        }
    }

    /// Another receiver answers at the socket: what the last one took proves nothing.
    pub fn receiver_changed(&mut self, now: Mono) {
        let waiting = self.assert_all();
        self.most = usize::MAX;
        self.receiver.replaced(waiting, now);
    }

    /// There is a socket: an outage need not wait out its pause.
    pub fn receiver_appeared(&mut self, now: Mono) {
        self.receiver.appeared(now);
    }

    /// New rules from now on.
    pub fn reload(&mut self, rules: Rules, now: Mono) {
        self.rules = rules;
        self.reassert.reload(rules.reassert, loads_routers(&rules), now);
    }

    /// The next request, if one is due. Ask until there is none.
    pub fn poll(&mut self, now: Mono) -> Option<Send> {
        if self.owed.is_some_and(|owed| owed <= now) {
            self.assert_all_in_time(now);
        }
        self.assert_routinely(now);
        loop {
            if self.in_flight >= self.places() || now < self.receiver.pause_until() {
                return None;
            }
            if now >= self.next_batch && self.receiver.next_try().is_none_or(|next_try| now >= next_try) {
                self.open_batch(now);
            }
            let first = self.pop(now)?;
            let slot = self.slots.get_mut(&first)?;
            let Some(batch) = slot.queued.take() else {
                continue;
            };
            let mut items = vec![slot.depart()];
            if self.rules.protocol == Protocol::Json {
                // All of the batch; nothing else is queued, as only one batch is open at a time.
                while let Some(router) = self.pop(now) {
                    if let Some(slot) = self.slots.get_mut(&router) {
                        slot.queued = None;
                        items.push(slot.depart());
                    }
                }
            }
            self.in_flight += 1;
            return Some(Send { batch, items, begun: now, stamp: self.receiver.stamp() });
        }
    }

    /// When to poll again, if nothing else happens before; none: an answer or a change comes first.
    pub fn deadline(&self) -> Option<Mono> {
        if self.in_flight >= self.places() {
            return None;
        }
        self.sending().into_iter().chain(self.reassert.due()).chain(self.owed).min()
    }

    /// When something that is wanted may be sent.
    fn sending(&self) -> Option<Mono> {
        let mut earliest = self.receiver.pause_until();
        if self.batches.is_empty() {
            let due = self.slots.values().filter_map(|slot| slot.due(self.hold())).min()?;
            earliest = earliest.max(due).max(self.next_batch);
            if let Some(next_try) = self.receiver.next_try() {
                earliest = earliest.max(next_try);
            }
        }
        Some(earliest)
    }

    /// What is to be told since the last call.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// States that wait for the receiver.
    pub fn pending(&self) -> usize {
        let slots = self.slots.values();
        slots.filter(|slot| slot.want < Want::Routine).count()
    }

    /// Whether the last attempt succeeded; none before the first one.
    pub fn answering(&self) -> Option<bool> {
        self.receiver.answering()
    }

    /// The last failure, until the receiver answers again.
    pub fn last_error(&self) -> Option<&str> {
        self.receiver.last_error()
    }

    fn hold(&self) -> Duration {
        match self.rules.protocol {
            Protocol::Neutron => self.rules.hold + self.rules.hold / HOLD_SLACK,
            Protocol::Json => Duration::ZERO,
        }
    }

    fn places(&self) -> usize {
        match self.rules.protocol {
            Protocol::Neutron if !self.receiver.is_away() => self.rules.max_in_flight.max(1),
            Protocol::Neutron | Protocol::Json => 1,
        }
    }

    fn open_batch(&mut self, now: Mono) {
        let hold = self.hold();
        let mut due: Vec<(Want, Option<Mono>, RouterId, u32)> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.queued.is_none())
            .filter(|(_, slot)| slot.due(hold).is_some_and(|due| due <= now))
            .map(|(router, slot)| (slot.want, slot.confirmed, *router, slot.failures))
            .collect();
        if due.is_empty() {
            return;
        }
        let mut attempt = due.iter().map(|(.., failures)| *failures).max().unwrap_or(0);
        if let Some(attempts) = self.receiver.attempts() {
            attempt = attempts;
            if self.rules.protocol == Protocol::Neutron {
                // One probe; another router each time, should one of them be the cause.
                due.sort_by_key(|(want, at, router, failures)| (*failures, *want, *at, *router));
                due.truncate(1);
            }
        }
        due.sort_unstable();
        if self.rules.protocol == Protocol::Json {
            due.truncate(self.most);
        }
        let batch = self.batches.open(attempt + 1, due.len());
        self.next_batch = now + self.rules.batch_interval;
        for (want, _, router, _) in due {
            if let Some(slot) = self.slots.get_mut(&router) {
                slot.queued = Some(batch);
            }
            self.batches.push(router, want);
        }
    }

    /// The next queued router that may still go; one that may not (a newer, contrary state waits
    /// out the hold) leaves its batch.
    fn pop(&mut self, now: Mono) -> Option<RouterId> {
        let hold = self.hold();
        loop {
            let router = self.batches.pop()?;
            let Some(slot) = self.slots.get_mut(&router) else {
                continue;
            };
            if slot.due(hold).is_some_and(|due| due <= now) {
                return Some(router);
            }
            if let Some(batch) = slot.queued.take() {
                self.close_one(batch, |_| {});
            }
        }
    }

    /// A wanted state that the receiver has already: an overtaken pair of changes came back to it. One
    /// that follows itself was asked for, because the neutron-server does not have it, and is sent.
    fn settle(&mut self, router: RouterId) {
        let Some(slot) = self.slots.get_mut(&router) else {
            return;
        };
        if self.rules.protocol != Protocol::Neutron
            || slot.want != Want::Change
            || slot.entry.previous == Some(slot.entry.state)
            || slot.in_flight
            || !slot.last.has(slot.entry.state)
        {
            return;
        }
        slot.want = Want::Nothing;
        self.outputs.push(Output::Acknowledged {
            router,
            sequence: slot.entry.sequence,
            state: slot.entry.state,
            confirmed: slot.confirmed,
        });
        if let Some(batch) = slot.queued.take() {
            self.withdraw(router, batch);
        }
    }

    /// What has been as it is for longer than the hold, and waits for nothing else.
    fn assert_routinely(&mut self, now: Mono) {
        let hold = self.hold();
        while let Some(router) = self.reassert.next(now, &self.slots) {
            if let Some(slot) = self.slots.get_mut(&router) {
                slot.assert_routinely(hold, now);
            }
        }
    }

    fn assert_all(&mut self) -> usize {
        for slot in self.slots.values_mut() {
            slot.assert_again();
        }
        self.slots.values().filter(|slot| slot.known).count()
    }

    /// As [`Self::assert_all`], but no more often than a receiver that comes and goes could take it; later where it
    /// is too soon. How many are known.
    fn assert_all_in_time(&mut self, now: Mono) -> usize {
        let next = self.asserted.map_or(now, |asserted| asserted + ASSERT_PAUSE);
        if next > now {
            self.owed = Some(next);
            return self.slots.values().filter(|slot| slot.known).count();
        }
        self.owed = None;
        self.asserted = Some(now);
        self.assert_all()
    }

    /// Takes a router out of a batch's queue.
    fn withdraw(&mut self, router: RouterId, batch: u64) {
        self.batches.leave(router);
        self.close_one(batch, |_| {});
    }

    /// One state of a batch is done with; the last one closes the batch.
    fn close_one(&mut self, batch: u64, note: impl FnOnce(&mut Progress)) {
        self.batches.close_one(batch, note, &mut self.outputs);
    }
}

/// Whether the receiver, once it is there, still has to load the routers that it is told about.
fn loads_routers(rules: &Rules) -> bool {
    rules.protocol == Protocol::Neutron
}
