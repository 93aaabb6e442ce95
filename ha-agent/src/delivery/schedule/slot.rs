//! One router in the schedule.

use std::time::Duration;

use crate::core::model::State;
use crate::core::time::Mono;
use crate::outbox::Entry;

/// Whether and why a state is to be sent; ordered by urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// The receiver does not have it.
    Change,
    /// The receiver may have it.
    Again,
    /// The receiver has it, and is told once more.
    Routine,
    /// It has it, or refused it.
    Nothing,
}

/// What the receiver heard last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// None: unknown (before this run).
    state: Option<State>,
    /// When at the latest.
    at: Mono,
    /// When at the latest, in a round, it heard once more what it had taken and what lets nothing wait.
    repeated: Option<Mono>,
    /// Whether the present receiver said that it took it.
    sure: bool,
}

/// A word that takes the receiver no longer than to look at is over after this part of the hold: the
/// L3 agent sits out its wait after `primary` alone (Neutron 26.0.6 to 29.0.0).
const GLANCE: u32 = 4;

impl Last {
    pub(super) fn unknown(at: Mono) -> Self {
        Self { state: None, at, repeated: None, sure: false }
    }

    /// It may have heard this; `taken`: it said so, and is still the same; `routine`: in its round.
    pub(super) fn hear(&mut self, state: State, taken: bool, routine: bool, now: Mono) {
        if taken && routine && state != State::Primary && self.has(state) {
            self.repeated = Some(now);
        } else {
            *self = Self { state: Some(state), at: now, repeated: None, sure: taken };
        }
    }

    /// Whether the present receiver took this and heard nothing else since.
    pub(super) fn has(&self, state: State) -> bool {
        self.sure && self.state == Some(state)
    }

    /// From when on another state may follow.
    pub(super) fn over(&self, hold: Duration) -> Mono {
        let over = self.at + hold;
        self.repeated.map_or(over, |at| over.max(at + hold / GLANCE))
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: Entry,
    /// False before the first entry is taken in, and once the router is forgotten.
    pub(super) known: bool,
    /// Whether it was confirmed in this run: what is left of an earlier one is not sent.
    pub(super) current: bool,
    pub(super) confirmed: Option<Mono>,
    pub(super) want: Want,
    pub(super) in_flight: bool,
    /// The batch in whose queue it waits.
    pub(super) queued: Option<u64>,
    pub(super) last: Last,
    pub(super) not_before: Mono,
    pub(super) failures: u32,
}

impl Slot {
    pub(super) fn new(entry: Entry, last: Last) -> Self {
        Self {
            entry,
            known: false,
            current: false,
            confirmed: None,
            want: Want::Nothing,
            in_flight: false,
            queued: None,
            last,
            not_before: Mono(0),
            failures: 0,
        }
    }

    /// The earliest time at which it may be sent; none: nothing to send, or one is in flight.
    pub(super) fn due(&self, hold: Duration) -> Option<Mono> {
        if self.want == Want::Nothing || self.in_flight {
            return None;
        }
        let contrary = self.last.state != Some(self.entry.state);
        let held = if contrary && !hold.is_zero() { self.last.over(hold) } else { Mono(0) };
        Some(self.not_before.max(held))
    }

    pub(super) fn depart(&mut self) -> Entry {
        self.in_flight = true;
        self.entry
    }

    pub(super) fn assert_again(&mut self) {
        self.last.sure = false;
        self.not_before = Mono(0);
        if self.want > Want::Again && self.known && self.current {
            self.want = Want::Again;
        }
    }

    /// Its turn in a round.
    pub(super) fn assert_routinely(&mut self, hold: Duration, now: Mono) {
        let at_rest = self.want == Want::Nothing && !self.in_flight && self.last.over(hold) <= now;
        if at_rest && self.known && self.current {
            self.want = Want::Routine;
        }
    }
}
