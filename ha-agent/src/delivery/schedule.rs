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

mod batch;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::config::Protocol;
use crate::core::model::{RouterId, State};
use crate::core::time::Mono;
use crate::outbox::Entry;
use crate::telemetry::event::Delivered;

use super::answer::{Answer, Failure, FailureKind, Scope};
use super::backoff::Jitter;
use batch::Progress;
use slot::{Last, Slot, Want};

const RETRY_FIRST: Duration = Duration::from_millis(100);
const BUSY_FIRST: Duration = Duration::from_millis(20);
/// Connecting to a full queue costs nothing, so it is tried at least this often.
const BUSY_MAX: Duration = Duration::from_secs(1);
/// From then on a full queue is an outage.
const BUSY_OUTAGE: Duration = Duration::from_secs(1);
/// The L3 agent's wait begins a little after its answer and ends late under load.
const HOLD_SLACK: u32 = 20;

/// The configuration's part of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Which protocol: `json` sends whole batches, one at a time, without hold.
    pub protocol: Protocol,
    /// Distance between the beginnings of batches.
    pub batch_interval: Duration,
    /// Distance between contrary states of one router; `neutron` only.
    pub hold: Duration,
    /// Requests at once; `neutron` only.
    pub max_in_flight: usize,
    /// Longest pause between attempts.
    pub retry_max: Duration,
}

/// One request: one state (`neutron`) or a whole batch (`json`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// The batch it belongs to.
    pub batch: u64,
    /// What to send; never two of one router.
    pub items: Vec<Entry>,
    begun: Mono,
    epoch: u64,
    generation: u64,
}

/// What the schedule wants told.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The receiver has this state.
    Acknowledged {
        /// The router.
        router: RouterId,
        /// The sequence it has.
        sequence: u64,
        /// The state it has.
        state: State,
        /// When the state was confirmed, if in this run.
        confirmed: Option<Mono>,
    },
    /// Event `delivery.sent`.
    Sent {
        /// Batch number.
        batch: u64,
        /// Attempts it took.
        attempt: u32,
        /// What was taken.
        states: Vec<Delivered>,
    },
    /// Event `delivery.failed`, already thinned out: attempts 1, 2, 4, 8 … of an outage.
    Failed {
        /// Batch number.
        batch: u64,
        /// States not taken.
        count: usize,
        /// The attempt that failed.
        attempt: u32,
        /// In words.
        reason: String,
        /// Until the next attempt; none: refused for good.
        retry_in: Option<Duration>,
    },
    /// Event `delivery.recovered`.
    Recovered {
        /// Whether the receiver was restarted, or only answers again.
        restarted: bool,
        /// States asserted again.
        count: usize,
    },
}

#[derive(Debug)]
struct Outage {
    attempts: u32,
    next_try: Mono,
}

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    rules: Rules,
    start: Mono,
    jitter: Jitter,
    slots: BTreeMap<RouterId, Slot>,
    /// What the receiver heard last of routers forgotten within the hold.
    forgotten: BTreeMap<RouterId, Last>,
    /// The open batches' states, changes before re-assertions.
    changes: VecDeque<RouterId>,
    again: VecDeque<RouterId>,
    progress: BTreeMap<u64, Progress>,
    last_batch: u64,
    next_batch: Mono,
    in_flight: usize,
    outage: Option<Outage>,
    /// Since when the listen queue is full, and how often in a row.
    busy: Option<(Mono, u32)>,
    pause_until: Mono,
    /// Rises with each failure of the receiver: requests begun before count as the same failure.
    epoch: u64,
    /// Rises with each new receiver: an older one's answers prove nothing.
    generation: u64,
    /// A new receiver that has not answered yet, and how many states wait for it.
    restarted: Option<usize>,
    outputs: Vec<Output>,
    last_heard: Option<Mono>,
    answering: Option<bool>,
    last_error: Option<String>,
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
            changes: VecDeque::new(),
            again: VecDeque::new(),
            progress: BTreeMap::new(),
            last_batch: 0,
            next_batch: start,
            in_flight: 0,
            outage: None,
            busy: None,
            pause_until: start,
            epoch: 0,
            generation: 0,
            restarted: None,
            outputs: Vec::new(),
            last_heard: None,
            answering: None,
            last_error: None,
        }
    }

    /// A router's newest state; older ones than known are ignored. `confirmed`: when, if in this
    /// run.
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
        slot.entry = entry;
        slot.confirmed = confirmed;
        slot.failures = 0;
        slot.not_before = Mono(0);
        // A change does not wait in the re-assertions' queue.
        let moved = slot.queued.take_if(|_| slot.want == Want::Again);
        if entry.pending() {
            slot.want = Want::Change;
        }
        if let Some(batch) = moved {
            self.leave_queue(entry.router);
            self.close_one(batch, |_| {});
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
            self.leave_queue(router);
            self.close_one(batch, |_| {});
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
        self.forgotten.retain(|_, last| now.since(last.at) < hold);
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
        self.generation += 1;
        self.restarted = Some(self.assert_all());
        self.busy = None;
        self.pause_until = now;
        self.receiver_appeared(now);
    }

    /// There is a socket: an outage need not wait out its pause.
    pub fn receiver_appeared(&mut self, now: Mono) {
        if let Some(outage) = &mut self.outage {
            outage.attempts = 0;
            outage.next_try = now;
        }
    }

    /// New rules from now on.
    pub fn reload(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// The next request, if one is due. Ask until there is none.
    pub fn poll(&mut self, now: Mono) -> Option<Send> {
        loop {
            if self.in_flight >= self.places() || now < self.pause_until {
                return None;
            }
            if now >= self.next_batch && self.outage.as_ref().is_none_or(|o| now >= o.next_try) {
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
            return Some(Send { batch, items, begun: now, epoch: self.epoch, generation: self.generation });
        }
    }

    /// When to poll again, if nothing else happens before; none: an answer or a change comes first.
    pub fn deadline(&self) -> Option<Mono> {
        if self.in_flight >= self.places() {
            return None;
        }
        let mut earliest = self.pause_until;
        if self.changes.is_empty() && self.again.is_empty() {
            let due = self.slots.values().filter_map(|slot| slot.due(self.hold())).min()?;
            earliest = earliest.max(due).max(self.next_batch);
            if let Some(outage) = &self.outage {
                earliest = earliest.max(outage.next_try);
            }
        }
        Some(earliest)
    }

    /// The answers to a request, one per item, in its order.
    pub fn answered(&mut self, send: &Send, answers: Vec<Answer>, now: Mono) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let heard = answers.iter().any(|answer| !matches!(answer, Answer::Failed(_)));
        if heard {
            self.heard(send, now);
        }
        let failure = answers.iter().find_map(|answer| match answer {
            Answer::Failed(failure) => Some(failure),
            Answer::Taken | Answer::Refused(_) => None,
        });
        let failed = failure.map(|failure| (self.judge(send, failure, now), failure.clone()));
        for (entry, answer) in send.items.iter().zip(answers) {
            self.settle_answer(send, entry, answer, failed.as_ref().map(|(scope, _)| *scope), now);
        }
        if let Some((Scope::Receiver, failure)) = failed {
            self.empty_queue(&failure.detail, now);
        }
    }

    /// What is to be told since the last call.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// States that wait for the receiver.
    pub fn pending(&self) -> usize {
        let slots = self.slots.values();
        slots.filter(|slot| slot.want != Want::Nothing).count()
    }

    /// Whether the last attempt succeeded; none before the first one.
    pub fn answering(&self) -> Option<bool> {
        self.answering
    }

    /// The last failure, until the receiver answers again.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    fn hold(&self) -> Duration {
        match self.rules.protocol {
            Protocol::Neutron => self.rules.hold + self.rules.hold / HOLD_SLACK,
            Protocol::Json => Duration::ZERO,
        }
    }

    fn places(&self) -> usize {
        match self.rules.protocol {
            Protocol::Neutron if self.outage.is_none() => self.rules.max_in_flight.max(1),
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
        if let Some(outage) = &self.outage {
            attempt = outage.attempts;
            if self.rules.protocol == Protocol::Neutron {
                // One probe; another router each time, should one of them be the cause.
                due.sort_by_key(|(want, at, router, failures)| (*failures, *want, *at, *router));
                due.truncate(1);
            }
        }
        due.sort_unstable();
        self.last_batch += 1;
        self.next_batch = now + self.rules.batch_interval;
        let progress = Progress::new(attempt + 1, due.len());
        self.progress.insert(self.last_batch, progress);
        for (want, _, router, _) in due {
            if let Some(slot) = self.slots.get_mut(&router) {
                slot.queued = Some(self.last_batch);
            }
            match want {
                Want::Change => self.changes.push_back(router),
                Want::Again | Want::Nothing => self.again.push_back(router),
            }
        }
    }

    /// The next queued router that may still go; one that may not (a newer, contrary state waits
    /// out the hold) leaves its batch.
    fn pop(&mut self, now: Mono) -> Option<RouterId> {
        let hold = self.hold();
        loop {
            let router = self.changes.pop_front().or_else(|| self.again.pop_front())?;
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

    fn leave_queue(&mut self, router: RouterId) {
        self.changes.retain(|other| *other != router);
        self.again.retain(|other| *other != router);
    }

    /// A wanted state that the receiver has already: an overtaken pair of changes came back to it.
    fn settle(&mut self, router: RouterId) {
        let Some(slot) = self.slots.get_mut(&router) else {
            return;
        };
        if self.rules.protocol != Protocol::Neutron
            || slot.want != Want::Change
            || slot.in_flight
            || !slot.last.sure
            || slot.last.state != Some(slot.entry.state)
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
            self.leave_queue(router);
            self.close_one(batch, |_| {});
        }
    }

    /// The receiver took or refused something: it is there.
    fn heard(&mut self, send: &Send, now: Mono) {
        self.answering = Some(true);
        self.last_error = None;
        self.busy = None;
        self.last_heard = Some(now);
        if send.generation != self.generation {
            return;
        }
        let outage = self.outage.take();
        let restarted = self.restarted.take();
        if outage.is_some() {
            self.next_batch = now;
            let count = self.assert_all();
            self.outputs.push(Output::Recovered { restarted: restarted.is_some(), count });
        } else if let Some(count) = restarted {
            self.outputs.push(Output::Recovered { restarted: true, count });
        }
    }

    fn assert_all(&mut self) -> usize {
        for slot in self.slots.values_mut() {
            slot.assert_again();
        }
        self.slots.values().filter(|slot| slot.known).count()
    }

    fn settle_answer(&mut self, send: &Send, entry: &Entry, answer: Answer, scope: Option<Scope>, now: Mono) {
        let router = entry.router;
        let newest = send.generation == self.generation;
        if let Some(slot) = self.slots.get_mut(&router) {
            slot.in_flight = false;
            let written = !matches!(&answer, Answer::Failed(failure) if !failure.written);
            if written {
                slot.last = Last { state: Some(entry.state), at: now, sure: newest && answer == Answer::Taken };
            }
            let done = slot.entry.sequence == entry.sequence && newest;
            match &answer {
                Answer::Taken | Answer::Refused(_) => {
                    slot.failures = 0;
                    if done {
                        slot.want = Want::Nothing;
                    }
                }
                Answer::Failed(_) => slot.failures = slot.failures.saturating_add(1),
            }
            if answer == Answer::Taken {
                let confirmed = slot.confirmed.take_if(|_| done);
                self.outputs.push(Output::Acknowledged {
                    router,
                    sequence: entry.sequence,
                    state: entry.state,
                    confirmed,
                });
            }
        }
        match answer {
            Answer::Taken => self.close_one(send.batch, |progress| progress.taken(entry)),
            Answer::Refused(reason) => {
                self.last_error = Some(format!("router {router}: {reason}"));
                self.close_one(send.batch, |progress| {
                    progress.refused(format!("router {router}: {reason}"));
                });
            }
            Answer::Failed(failure) => {
                let scope = scope.unwrap_or(Scope::State);
                self.failed(send, router, scope, &failure, now);
            }
        }
        self.let_go(router, now);
        self.settle(router);
    }

    /// How far a request's failure reaches, and what follows for all.
    fn judge(&mut self, send: &Send, failure: &Failure, now: Mono) -> Scope {
        let mut scope = failure.kind.scope();
        // Behind a `json` socket 5xx may be a proxy's word for a receiver that is away; and while
        // the receiver is away, no failure proves that it is back.
        if scope == Scope::State && (self.rules.protocol == Protocol::Json || self.outage.is_some()) {
            scope = Scope::Receiver;
        }
        // Others were answered meanwhile: it is this one state.
        if failure.kind == FailureKind::Timeout && self.last_heard.is_some_and(|at| at > send.begun) {
            scope = Scope::State;
        }
        if scope == Scope::Busy {
            let (since, times) = *self.busy.get_or_insert((now, 0));
            if self.outage.is_some() || now.since(since) >= BUSY_OUTAGE {
                scope = Scope::Receiver;
            } else if now >= self.pause_until {
                // Requests that ran together found the same full queue.
                self.busy = Some((since, times + 1));
                let cap = BUSY_MAX.min(self.rules.retry_max);
                self.pause_until = now + self.jitter.pause(BUSY_FIRST, times + 1, cap);
            }
        }
        if scope != Scope::Busy {
            self.answering = Some(false);
            self.last_error = Some(failure.detail.clone());
        }
        if scope == Scope::Receiver {
            self.receiver_failed(send, failure.kind, now);
        }
        scope
    }

    fn failed(&mut self, send: &Send, router: RouterId, scope: Scope, failure: &Failure, now: Mono) {
        match scope {
            Scope::Busy => match self.slots.get_mut(&router) {
                // It keeps its place.
                Some(slot) if slot.want != Want::Nothing && self.rules.protocol == Protocol::Neutron => {
                    slot.queued = Some(send.batch);
                    self.changes.push_front(router);
                }
                _ => {
                    self.next_batch = now;
                    self.close_one(send.batch, |_| {});
                }
            },
            Scope::State => {
                let retry_max = self.rules.retry_max;
                let mut pause = Duration::ZERO;
                if let Some(slot) = self.slots.get_mut(&router) {
                    pause = self.jitter.pause(RETRY_FIRST, slot.failures, retry_max);
                    slot.not_before = now + pause;
                }
                let reason = format!("router {router}: {}", failure.detail);
                self.close_one(send.batch, |progress| progress.failed(reason, pause));
            }
            Scope::Receiver => {
                let retry_in = self.retry_in(now);
                let reason = failure.detail.clone();
                self.close_one(send.batch, |progress| progress.failed(reason, retry_in));
            }
        }
    }

    fn retry_in(&self, now: Mono) -> Duration {
        let outage = self.outage.as_ref();
        outage.map_or(Duration::ZERO, |outage| outage.next_try.since(now))
    }

    /// Begins or prolongs the outage.
    fn receiver_failed(&mut self, send: &Send, kind: FailureKind, now: Mono) {
        let outage = self.outage.get_or_insert(Outage { attempts: 0, next_try: now });
        // Requests that ran together fail together: one failure.
        if send.epoch == self.epoch {
            self.epoch += 1;
            outage.attempts = outage.attempts.saturating_add(1);
            let cap = match kind {
                FailureKind::Busy => BUSY_MAX.min(self.rules.retry_max),
                _ => self.rules.retry_max,
            };
            outage.next_try = now + self.jitter.pause(RETRY_FIRST, outage.attempts, cap);
        }
    }

    /// In an outage nothing waits in a batch.
    fn empty_queue(&mut self, reason: &str, now: Mono) {
        let retry_in = self.retry_in(now);
        let waiting: Vec<RouterId> = self.changes.drain(..).chain(self.again.drain(..)).collect();
        for router in waiting {
            let slot = self.slots.get_mut(&router);
            if let Some(batch) = slot.and_then(|slot| slot.queued.take()) {
                let reason = reason.to_owned();
                self.close_one(batch, |progress| progress.failed(reason, retry_in));
            }
        }
    }

    /// One state of a batch is done with; the last one closes the batch.
    fn close_one(&mut self, batch: u64, note: impl FnOnce(&mut Progress)) {
        let Some(progress) = self.progress.get_mut(&batch) else {
            return;
        };
        note(progress);
        if progress.close_one()
            && let Some(progress) = self.progress.remove(&batch)
        {
            progress.tell(batch, &mut self.outputs);
        }
    }
}
