//! What is seen: a role that departs from the confirmed state is a candidate until it is passed on
//! or gone again.

use std::time::Duration;

use super::Machine;
use super::verdict::{Deadline, Hindrance};
use crate::core::evidence::Tx;
use crate::core::io::Output;
use crate::core::model::State;
use crate::core::policy::{READ_RETRY, fits};
use crate::core::seen::{self, Seen};
use crate::core::time::Mono;

/// A state that departs from the confirmed one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) state: State,
    pub(super) since: Mono,
    /// Already reported as superseded: its claim was overtaken before its role was.
    pub(super) told: bool,
}

impl Machine {
    /// Updates the seen role, the candidate and the first sign.
    pub(super) fn look(&mut self, now: Mono, out: &mut Vec<Output>) {
        let tx = self.tx();
        let seen = if self.has_lost_namespace() {
            Seen::Role(State::Fault)
        } else {
            seen::seen(self.votes, self.link, self.vip, tx, self.speakers.foreign_established())
        };
        if seen != self.seen {
            self.seen = seen;
            self.seen_since = now;
            if seen == Seen::MissingVip {
                // Whether our adverts list the VIP at all is told by a reading only.
                self.ask_reading(now, out);
            }
        }
        let Some((confirmed, ..)) = self.confirmed else {
            return;
        };
        match seen.role() {
            Some(role) if self.stands(confirmed, role) => {
                if let Some(candidate) = self.candidate.filter(|candidate| Some(candidate.state) != self.claim_state())
                {
                    self.supersede(candidate.state, role, candidate.since, now, out);
                }
                if self.settled_once && self.claim.is_none() {
                    self.sign = None;
                }
            }
            Some(role) => {
                if self.candidate.is_none_or(|candidate| candidate.state != role) {
                    self.candidate = Some(Candidate { state: role, since: now, told: false });
                }
                self.sign.get_or_insert(now);
            }
            None => {
                let put_off = tx == Tx::Delayed && seen::wire_bears(confirmed, Tx::Transmitting);
                let vip_departs = self.votes.vip && !seen::vip_bears(confirmed, self.vip);
                let wire_departs = self.votes.wire && !put_off && !seen::wire_bears(confirmed, tx);
                let departs = vip_departs || wire_departs;
                if departs && self.settled_once {
                    self.sign.get_or_insert(now);
                }
            }
        }
    }

    /// Whether the confirmed state can go on beside a seen role. `fault` beside a seen backup rests on
    /// the report alone; one that was only seen ends with what was seen.
    fn stands(&self, confirmed: State, role: State) -> bool {
        let reported = self.reported.is_some_and(|report| report.state == confirmed);
        confirmed == role || (reported && fits(confirmed, role))
    }

    /// A seen role that nobody reported is passed on after the grace.
    pub(super) fn judge_seen(&mut self, now: Mono, out: &mut Vec<Output>, next: &mut Deadline) {
        let Some(role) = self.seen.role() else { return };
        if self.settled_once && self.confirmed.is_some_and(|(confirmed, ..)| self.stands(confirmed, role)) {
            return;
        }
        if self.settled_once && !self.policy.heal_unreported {
            return;
        }
        let alone = !(self.votes.vip && self.votes.wire);
        let waits = (self.settled_once && self.graces.is_owed(role, self.policy.reporter_expected)) || alone;
        let grace = if self.has_lost_namespace() {
            self.policy.settle
        } else if waits {
            self.policy.grace(self.interval())
        } else {
            Duration::ZERO
        };
        let due = self.seen_since + grace;
        if now < due {
            next.at_least(due, now);
            return;
        }
        // A keepalived that goes on as before has nothing new to report: a reading from before the grace
        // would miss the adverts that left meanwhile.
        if waits && self.votes.wire && self.speakers.as_of() < due {
            self.ask_reading(now, out);
            next.at_least(self.read_asked.unwrap_or(now) + READ_RETRY, now);
            return;
        }
        match self.hindrance(role, now) {
            None => self.confirm(role, false, now, out),
            Some(Hindrance::Until(due)) => next.at_least(due, now),
            // Its next advert, or its silence, is a deadline of the wire.
            Some(Hindrance::Competitor) => {}
        }
    }

    /// Says once that `state` did not last.
    pub(super) fn supersede(&mut self, state: State, by: State, since: Mono, now: Mono, out: &mut Vec<Output>) {
        let departed = self.confirmed.is_some_and(|(confirmed, ..)| !fits(confirmed, state));
        let told = match &mut self.candidate {
            Some(candidate) if candidate.state == state => std::mem::replace(&mut candidate.told, true),
            _ => false,
        };
        if departed && !told {
            self.anomalies.changed(now);
            out.push(Output::Superseded { state, by, held: now.since(since) });
        }
    }
}
