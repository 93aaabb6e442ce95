//! What is claimed: a report waits until it is borne out, rejected or overtaken.

use super::Machine;
use super::verdict::{Deadline, Hindrance};
use crate::core::evidence::Tx;
use crate::core::io::{Output, RejectReason};
use crate::core::model::{Basis, Reporter, State, Vip};
use crate::core::policy::{fits, silence};
use crate::core::seen;
use crate::core::time::Mono;

/// A claim that waits for its verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) state: State,
    pub(super) at: Mono,
}

impl Machine {
    pub(super) fn report(&mut self, state: State, reporter: Reporter, now: Mono, out: &mut Vec<Output>) {
        let report = Claim { state, at: now };
        self.reported = Some(report);
        self.reporter = reporter;
        // Said again while it waits: the verdict is due as before, or repeating would put it off for ever.
        let waits_since = self.claim.filter(|claim| claim.state == state).map_or(now, |claim| claim.at);
        if self.policy.observe {
            let basis = Basis { report: true, vip: false, wire: false };
            out.push(Output::Deliver { state, previous: self.delivered.replace(state), basis });
        }
        if let Some(overtaken) = self.claim.take().filter(|claim| claim.state != state) {
            self.supersede(overtaken.state, state, overtaken.at, now, out);
        }
        let nothing_new = self.confirmed.is_some_and(|(confirmed, ..)| confirmed == state)
            && self.seen.role().is_none_or(|role| fits(state, role));
        if !nothing_new || !self.settled_once {
            self.claim = Some(Claim { at: waits_since, ..report });
            self.ask_reading(now, out);
        }
    }

    /// Where only reports are passed on and the router's own monitor is gone: what that would have
    /// reported, which is the VIP, when it begins and at each change.
    pub(super) fn stand_in(&mut self, out: &mut Vec<Output>) {
        if !self.policy.observe || !self.policy.stand_in {
            self.stood_in = None;
            return;
        }
        let state = match self.vip {
            Vip::Present => State::Primary,
            Vip::Absent => State::Backup,
            Vip::Unknown => return,
        };
        if self.stood_in.replace(state) != Some(state) {
            let basis = Basis { report: false, vip: true, wire: false };
            out.push(Output::Deliver { state, previous: self.delivered.replace(state), basis });
        }
    }

    /// Where reports are passed on as they come: says when the L3 agent was told another state than the one
    /// that is confirmed, and when that is over. A claim that waits for its verdict is no such case yet.
    pub(super) fn compare_delivered(&mut self, out: &mut Vec<Output>) {
        let confirmed = self.confirmed.map(|(state, ..)| state).filter(|_| self.policy.observe && self.settled_once);
        let differs = self.delivered.zip(confirmed).filter(|(delivered, confirmed)| !fits(*delivered, *confirmed));
        if differs.is_some() && self.claim.is_some() {
            return;
        }
        if self.diverged != differs {
            self.diverged = differs;
            out.push(Output::Diverged(differs));
        }
    }

    pub(super) fn claim_state(&self) -> Option<State> {
        self.claim.map(|claim| claim.state)
    }

    /// A claim is confirmed when the seen role bears it out, rejected when nothing does in time.
    pub(super) fn judge_claim(&mut self, now: Mono, out: &mut Vec<Output>, next: &mut Deadline) {
        let Some(claim) = self.claim else { return };
        self.sign.get_or_insert(claim.at);
        if !self.votes.vip && !self.votes.wire {
            if self.settled_once && self.confirmed.is_some_and(|(state, ..)| state == claim.state) {
                self.claim = None;
                return;
            }
            // Only the report is left: held back for the settle time, and marked as such.
            let due = claim.at + self.policy.settle;
            return if now >= due { self.confirm(claim.state, true, now, out) } else { next.at_least(due, now) };
        }
        let agrees = self.seen.role().is_some_and(|role| fits(claim.state, role));
        if agrees {
            if self.settled_once && self.confirmed.is_some_and(|(state, ..)| state == claim.state) {
                (self.claim, self.sign) = (None, None);
                return;
            }
            match self.hindrance(claim.state, now) {
                None => return self.confirm(claim.state, true, now, out),
                Some(Hindrance::Until(due)) => {
                    next.at_least(due, now);
                    return;
                }
                Some(Hindrance::Competitor) => {}
            }
        }
        if self.votes.wire && self.speakers.unread() {
            return; // The classifier is being attached: no claim is refused before the wire was read.
        }
        let tx = self.tx();
        let open = (self.votes.vip && self.vip == Vip::Unknown)
            || (self.votes.wire && matches!(tx, Tx::Unknown | Tx::Delayed));
        let partly = agrees
            || open
            || (self.votes.vip && seen::vip_bears(claim.state, self.vip))
            || (self.votes.wire && seen::wire_bears(claim.state, tx));
        let patience = if partly { silence(self.interval()) + self.policy.settle } else { self.policy.settle };
        let due = claim.at + patience;
        if now < due {
            next.at_least(due, now);
            return;
        }
        let outdone = self.votes.wire && self.speakers.better_peer().is_some();
        let reason = if claim.state == State::Primary && partly && outdone {
            RejectReason::BetterCompetitor
        } else if partly {
            RejectReason::PartlyContradicted
        } else {
            RejectReason::Contradicted
        };
        self.claim = None;
        // A candidate that is no longer seen was only kept alive by its claim.
        self.candidate = self.candidate.filter(|candidate| self.seen.role() == Some(candidate.state));
        out.push(Output::Rejected {
            claim: claim.state,
            reporter: self.reporter.clone(),
            reason,
            passed_on: self.policy.observe,
            evidence: self.evidence(now),
        });
        self.sign = self.candidate.map(|candidate| candidate.since);
    }
}
