//! The verdict: when a role may be confirmed, and what its confirmation changes.

use std::time::Duration;

use super::Machine;
use crate::core::io::{Output, Transition};
use crate::core::model::State;
use crate::core::policy::READ_RETRY;
use crate::core::seen;
use crate::core::time::Mono;

/// What keeps a role from being confirmed.
pub(super) enum Hindrance {
    /// It must hold until then.
    Until(Mono),
    /// Someone better advertises.
    Competitor,
}

/// The earliest wish so far.
pub(super) struct Deadline(pub(super) Option<Mono>);

impl Deadline {
    /// Wishes to be called at `at`, but never in the past: the earliest is a millisecond from now.
    pub(super) fn at_least(&mut self, at: Mono, now: Mono) {
        let at = at.max(now + Duration::from_millis(1));
        self.0 = Some(self.0.map_or(at, |known| known.min(at)));
    }
}

impl Machine {
    /// What still keeps a seen role from being confirmed. Only primary must settle.
    pub(super) fn hindrance(&self, state: State, now: Mono) -> Option<Hindrance> {
        if state != State::Primary {
            return None;
        }
        let settled = self.seen_since + self.policy.settle;
        if now < settled {
            return Some(Hindrance::Until(settled));
        }
        if !self.votes.wire {
            return None;
        }
        // After a standstill what is known may be old: the reading that was asked for decides.
        if let Some(asked) = self.read_asked {
            return Some(Hindrance::Until(asked + READ_RETRY));
        }
        self.speakers.better_peer().map(|_| Hindrance::Competitor)
    }

    pub(super) fn confirm(&mut self, state: State, claimed: bool, now: Mono, out: &mut Vec<Output>) {
        let mut basis = seen::basis(state, self.votes, self.vip, self.tx());
        // The kernel says that the namespace is gone, and its addresses with it.
        basis.vip |= state == State::Fault && self.has_lost_namespace();
        basis.report = claimed
            || self
                .reported
                .is_some_and(|report| report.state == state && self.sign.is_some_and(|sign| report.at >= sign));
        let previous = self.confirmed.map(|(state, ..)| state);
        let latency = now.since(self.sign.unwrap_or(now));
        let changes = previous.is_some_and(|previous| previous != state);
        if changes {
            self.anomalies.changed(now);
        }
        // What nobody saw change earns nothing, nor does what had changed when the agent began.
        let role = self.seen.role();
        if changes && self.settled_once && role.is_some() && role != self.confirmed_role {
            self.graces.changed(state, basis.report);
        }
        self.confirmed_role = role.or(self.confirmed_role);
        self.confirmed = Some((state, now, basis));
        self.settled_once = true;
        self.candidate = None;
        self.sign = None;
        self.claim = self.claim.filter(|claim| claim.state != state);
        let evidence = self.evidence(now);
        out.push(Output::Confirmed(Transition { state, previous, basis, latency, evidence }));
        if !self.policy.observe {
            out.push(Output::Deliver { state, previous: self.delivered.replace(state), basis });
        }
    }
}
