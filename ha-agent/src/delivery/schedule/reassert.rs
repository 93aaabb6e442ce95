//! When a confirmed state is sent again although nothing changed: an L3 agent that is still loading its
//! routers answers 200 and drops the state of one that it does not know yet.
//!
//! A round visits every router once, spread evenly over its length, in steps of a second. Rounds follow
//! each other; one that has come back (or was there when the agent started) gets two quicker ones first.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::slot::Slot;
use crate::core::model::RouterId;
use crate::core::time::Mono;

/// Rounds after the L3 agent's return: how long after it, and how long they take. It loads some
/// hundred routers within minutes.
const RETURNED: [(Duration, Duration); 2] =
    [(Duration::from_secs(30), Duration::from_secs(30)), (Duration::from_secs(120), Duration::from_secs(60))];
/// Whoever is due goes together with all of the same second.
const STEP: Duration = Duration::from_secs(1);
/// A round that is further behind goes on from where it is: after a standstill there is no burst.
const LATE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Reassert {
    /// Length of a round; none: there are none.
    every: Option<Duration>,
    round: Option<Round>,
    /// Rounds to come, with their length.
    coming: VecDeque<(Mono, Duration)>,
}

#[derive(Debug)]
struct Round {
    begin: Mono,
    length: Duration,
    /// At its begin.
    routers: usize,
    visited: usize,
    last: Option<RouterId>,
}

impl Round {
    /// When the next router is due.
    fn due(&self) -> Mono {
        let share = self.visited as f64 / self.routers.max(1) as f64;
        let at = self.length.mul_f64(share.min(1.0));
        self.begin + STEP * u32::try_from(at.as_secs()).unwrap_or(u32::MAX)
    }
}

impl Reassert {
    /// With rounds of this length.
    pub(super) fn new(every: Option<Duration>, again: bool, now: Mono) -> Self {
        let mut reassert = Self { every: None, round: None, coming: VecDeque::new() };
        reassert.reload(every, again, now);
        reassert
    }

    /// Another length. `again`: as in [`Reassert::returned`].
    pub(super) fn reload(&mut self, every: Option<Duration>, again: bool, now: Mono) {
        if self.every != every {
            self.every = every;
            self.returned(again, now);
        }
    }

    /// The receiver is there (again). `again`: whether it may still be loading its routers.
    pub(super) fn returned(&mut self, again: bool, now: Mono) {
        self.round = None;
        self.coming.clear();
        let Some(every) = self.every else { return };
        if again {
            self.coming.extend(RETURNED.map(|(after, length)| (now + after, length)));
        } else {
            self.coming.push_back((now + every, every));
        }
    }

    /// When to ask for the next router.
    pub(super) fn due(&self) -> Option<Mono> {
        self.round.as_ref().map(Round::due).or_else(|| self.coming.front().map(|(begin, _)| *begin))
    }

    /// The next router whose turn it is; ask until there is none.
    pub(super) fn next(&mut self, now: Mono, slots: &BTreeMap<RouterId, Slot>) -> Option<RouterId> {
        loop {
            if self.round.is_none() {
                let (begin, length) = self.coming.pop_front_if(|(begin, _)| *begin <= now)?;
                let begin = if now.since(begin) > LATE { now } else { begin };
                self.round = Some(Round { begin, length, routers: slots.len(), visited: 0, last: None });
            }
            let round = self.round.as_mut()?;
            let due = round.due();
            if due > now {
                return None;
            }
            if now.since(due) > LATE {
                round.begin = round.begin + now.since(due);
            }
            let from = round.last.map_or(Bound::Unbounded, Bound::Excluded);
            if let Some((router, _)) = slots.range((from, Bound::Unbounded)).next() {
                round.last = Some(*router);
                round.visited += 1;
                return Some(*router);
            }
            let end = (round.begin + round.length).max(now);
            self.round = None;
            if let Some(every) = self.every.filter(|_| self.coming.is_empty()) {
                self.coming.push_back((end, every));
            }
        }
    }
}

#[cfg(test)]
mod tests;
