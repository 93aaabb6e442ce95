//! How the receiver fares: it answers, is busy for a moment, is away, or is another one.

use std::time::Duration;

use super::{Rules, Send};
use crate::config::Protocol;
use crate::core::time::Mono;
use crate::delivery::answer::{Failure, FailureKind, Scope};
use crate::delivery::backoff::Jitter;

/// The first pause after a failure.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(100);
const BUSY_FIRST: Duration = Duration::from_millis(20);
/// Connecting to a full queue costs nothing, so it is tried at least this often.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(1);
/// From then on a full queue is an outage.
const BUSY_OUTAGE: Duration = Duration::from_secs(1);

/// What a request knew of the receiver when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Rises with each failure of the receiver: requests begun before count as the same failure.
    epoch: u64,
    /// Rises with each new receiver: an older one's answers prove nothing.
    generation: u64,
}

#[derive(Debug)]
struct Outage {
    attempts: u32,
    next_try: Mono,
    /// Whether the receiver itself was away, and not only what this host needs to reach it.
    receiver: bool,
}

/// What an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// An outage of what this host needs to reach it: the receiver has what it took.
    FromLack,
    /// An outage.
    FromOutage {
        /// Whether another receiver answers than before it.
        restarted: bool,
    },
    /// The wait for another receiver's first answer.
    Restarted {
        /// States that were to be asserted again.
        waiting: usize,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Receiver {
    outage: Option<Outage>,
    /// Since when the listen queue is full, and how often in a row.
    busy: Option<(Mono, u32)>,
    pause_until: Mono,
    stamp: Stamp,
    /// A new receiver that has not answered yet, and how many states wait for it.
    restarted: Option<usize>,
    last_heard: Option<Mono>,
    answering: Option<bool>,
    last_error: Option<String>,
}

impl Receiver {
    pub(super) fn new(start: Mono) -> Self {
        Self {
            outage: None,
            busy: None,
            pause_until: start,
            stamp: Stamp { epoch: 0, generation: 0 },
            restarted: None,
            last_heard: None,
            answering: None,
            last_error: None,
        }
    }

    /// For a request that begins now.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether a request was begun towards the present receiver.
    pub(super) fn is_present(&self, stamp: Stamp) -> bool {
        stamp.generation == self.stamp.generation
    }

    pub(super) fn is_away(&self) -> bool {
        self.outage.is_some()
    }

    /// Failed attempts of the outage, if there is one.
    pub(super) fn attempts(&self) -> Option<u32> {
        self.outage.as_ref().map(|outage| outage.attempts)
    }

    /// When the outage's next probe is due.
    pub(super) fn next_try(&self) -> Option<Mono> {
        self.outage.as_ref().map(|outage| outage.next_try)
    }

    /// Until the outage's next probe; zero without one.
    pub(super) fn retry_in(&self, now: Mono) -> Duration {
        self.next_try().map_or(Duration::ZERO, |next_try| next_try.since(now))
    }

    /// Nothing is sent before.
    pub(super) fn pause_until(&self) -> Mono {
        self.pause_until
    }

    /// Whether the last attempt succeeded; none before the first one.
    pub(super) fn answering(&self) -> Option<bool> {
        self.answering
    }

    /// The last failure, until the receiver answers again.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Another receiver, for which `waiting` states wait.
    pub(super) fn replaced(&mut self, waiting: usize, now: Mono) {
        self.stamp.generation += 1;
        self.restarted = Some(waiting);
        self.busy = None;
        self.pause_until = now;
        self.appeared(now);
    }

    /// There is a socket: an outage need not wait out its pause.
    pub(super) fn appeared(&mut self, now: Mono) {
        if let Some(outage) = &mut self.outage {
            outage.attempts = 0;
            outage.next_try = now;
        }
    }

    /// It took or refused something: it is there.
    pub(super) fn heard(&mut self, stamp: Stamp, now: Mono) -> Option<Back> {
        self.answering = Some(true);
        self.last_error = None;
        self.busy = None;
        self.last_heard = Some(now);
        if !self.is_present(stamp) {
            return None;
        }
        let outage = self.outage.take();
        let restarted = self.restarted.take();
        if let Some(outage) = outage {
            let lack = !outage.receiver && restarted.is_none();
            return Some(if lack { Back::FromLack } else { Back::FromOutage { restarted: restarted.is_some() } });
        }
        restarted.map(|waiting| Back::Restarted { waiting })
    }

    /// It refused a state for good.
    pub(super) fn refused(&mut self, reason: String) {
        self.last_error = Some(reason);
    }

    /// Takes in a request's failure, and says how far it reaches.
    pub(super) fn failed(
        &mut self,
        send: &Send,
        failure: &Failure,
        rules: &Rules,
        jitter: &mut Jitter,
        now: Mono,
    ) -> Scope {
        let mut scope = failure.kind.scope();
        // Behind a `json` socket 5xx may be a proxy's word for a receiver that is away; and while
        // the receiver is away, no failure proves that it is back.
        if scope == Scope::State && (rules.protocol == Protocol::Json || self.is_away()) {
            scope = Scope::Receiver;
        }
        // Others were answered meanwhile: it is this one state.
        if failure.kind.is_disproved_by_answers() && self.last_heard.is_some_and(|at| at > send.begun) {
            scope = Scope::State;
        }
        if scope == Scope::Busy {
            let (since, times) = *self.busy.get_or_insert((now, 0));
            if self.outage.is_some() || now.since(since) >= BUSY_OUTAGE {
                scope = Scope::Receiver;
            } else if now >= self.pause_until {
                // Requests that ran together found the same full queue.
                self.busy = Some((since, times + 1));
                let cap = BUSY_MAX.min(rules.retry_max);
                self.pause_until = now + jitter.pause(BUSY_FIRST, times + 1, cap);
            }
        }
        if scope != Scope::Busy {
            self.answering = Some(false);
            self.last_error = Some(failure.detail.clone());
        }
        if scope == Scope::Receiver {
            self.away(send.stamp, failure, rules, jitter, now);
        }
        scope
    }

    /// Begins or prolongs the outage.
    fn away(&mut self, stamp: Stamp, failure: &Failure, rules: &Rules, jitter: &mut Jitter, now: Mono) {
        let outage = self.outage.get_or_insert(Outage { attempts: 0, next_try: now, receiver: false });
        outage.receiver |= failure.kind != FailureKind::Local;
        // Requests that ran together fail together: one failure.
        if stamp.epoch == self.stamp.epoch {
            self.stamp.epoch += 1;
            outage.attempts = outage.attempts.saturating_add(1);
            let cap = match failure.kind {
                FailureKind::Busy => BUSY_MAX.min(rules.retry_max),
                _ => rules.retry_max,
            };
            let pause = jitter.pause(RETRY_FIRST, outage.attempts, cap);
            outage.next_try = now + failure.retry_after.map_or(pause, |wish| wish.max(pause));
        }
    }
}
