//! What an answer changes: for its router, its batch, and everything that waits.

use std::time::Duration;

use super::outage::{Back, RETRY_FIRST};
use super::slot::Want;
use super::{Output, Schedule, Send, loads_routers};
use crate::config::Protocol;
use crate::core::model::RouterId;
use crate::core::time::Mono;
use crate::delivery::answer::{Answer, Failure, Scope};
use crate::outbox::Entry;

impl Schedule {
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

    /// The receiver took or refused something: it is there.
    fn heard(&mut self, send: &Send, now: Mono) {
        match self.receiver.heard(send.stamp, now) {
            Some(Back::FromLack) => {
                self.next_batch = now;
                self.outputs.push(Output::Recovered { restarted: false, count: 0 });
            }
            Some(Back::FromOutage { restarted }) => {
                self.next_batch = now;
                let count = self.assert_all_in_time(now);
                self.reassert.returned(loads_routers(&self.rules), now);
                self.outputs.push(Output::Recovered { restarted, count });
            }
            Some(Back::Restarted { waiting }) => {
                self.reassert.returned(loads_routers(&self.rules), now);
                self.outputs.push(Output::Recovered { restarted: true, count: waiting });
            }
            None => {}
        }
    }

    fn settle_answer(&mut self, send: &Send, entry: &Entry, answer: Answer, scope: Option<Scope>, now: Mono) {
        let router = entry.router;
        let newest = self.receiver.is_present(send.stamp);
        let routine = self.slots.get(&router).is_some_and(|slot| slot.want == Want::Routine);
        if let Some(slot) = self.slots.get_mut(&router) {
            slot.in_flight = false;
            let written = !matches!(&answer, Answer::Failed(failure) if !failure.written);
            if written {
                slot.last.hear(entry.state, newest && answer == Answer::Taken, routine, now);
            }
            let done = slot.entry.sequence == entry.sequence && newest;
            match &answer {
                Answer::Taken | Answer::Refused(_) => {
                    slot.failures = 0;
                    if done {
                        slot.want = Want::Nothing;
                    }
                }
                // No failure of this state's.
                Answer::Failed(_) if scope == Some(Scope::Batch) && send.items.len() > 1 => {}
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
            Answer::Taken if routine => self.close_one(send.batch, |_| {}),
            Answer::Taken => self.close_one(send.batch, |progress| progress.taken(entry)),
            Answer::Refused(reason) => {
                self.receiver.refused(format!("router {router}: {reason}"));
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
        self.receiver.failed(send, failure, &self.rules, &mut self.jitter, now)
    }

    fn failed(&mut self, send: &Send, router: RouterId, scope: Scope, failure: &Failure, now: Mono) {
        match scope {
            Scope::Busy => match self.slots.get_mut(&router) {
                // It keeps its place.
                Some(slot) if slot.want != Want::Nothing && self.rules.protocol == Protocol::Neutron => {
                    slot.queued = Some(send.batch);
                    self.batches.push_front(router);
                }
                _ => {
                    self.next_batch = now;
                    self.close_one(send.batch, |_| {});
                }
            },
            // A smaller batch goes at once.
            Scope::Batch if send.items.len() > 1 => {
                self.most = self.most.min(send.items.len().div_ceil(2));
                self.next_batch = now;
                self.close_one(send.batch, |_| {});
            }
            Scope::State | Scope::Batch => {
                let retry_max = self.rules.retry_max;
                let mut pause = Duration::ZERO;
                if let Some(slot) = self.slots.get_mut(&router) {
                    pause = self.jitter.pause(RETRY_FIRST, slot.failures, retry_max);
                    pause = failure.retry_after.map_or(pause, |wish| wish.max(pause));
                    slot.not_before = now + pause;
                }
                let reason = format!("router {router}: {}", failure.detail);
                self.close_one(send.batch, |progress| progress.failed(reason, pause));
            }
            Scope::Receiver => {
                let retry_in = self.receiver.retry_in(now);
                let reason = failure.detail.clone();
                self.close_one(send.batch, |progress| progress.failed(reason, retry_in));
            }
        }
    }

    /// In an outage nothing waits in a batch.
    fn empty_queue(&mut self, reason: &str, now: Mono) {
        let retry_in = self.receiver.retry_in(now);
        for router in self.batches.drain() {
            let slot = self.slots.get_mut(&router);
            if let Some(batch) = slot.and_then(|slot| slot.queued.take()) {
                let reason = reason.to_owned();
                self.close_one(batch, |progress| progress.failed(reason, retry_in));
            }
        }
    }
}
