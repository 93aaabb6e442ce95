//! One router's state machine: observations in, verdicts out.
//!
//! ```text
//!                    seen role differs / claim arrives
//!   confirmed ────────────────────────────────────────▶ candidate
//!       ▲                                                │  │  │
//!       │   claim or grace, primary: settled, uncontested│  │  │ overtaken: superseded
//!       └────────────────────────────────────────────────┘  │  └──▶ confirmed stays
//!                                    claim not borne out: rejected
//! ```

use std::time::Duration;

use super::anomalies::Anomalies;
use super::evidence::{Evidence, ReportEvidence, Tx};
use super::io::{Input, Output, RejectReason, Transition, View};
use super::model::{Advert, Basis, Channel, InvalidFrame, InvalidReason, Link, Reporter, RouterId, Side, State, Vip};
use super::policy::{Policy, READ_RETRY, fits, silence};
use super::seen::{self, Seen, Votes};
use super::speakers::{Speakers, millis};
use super::time::Mono;

/// A claim that waits for its verdict.
#[derive(Clone, Copy, Debug)]
struct Claim {
    state: State,
    reporter: Reporter,
    at: Mono,
}

/// A state that departs from the confirmed one.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    state: State,
    since: Mono,
    /// Already reported as superseded: its claim was overtaken before its role was.
    told: bool,
}

/// The verdict on one router.
#[derive(Debug)]
pub struct Machine {
    router: RouterId,
    policy: Policy,
    votes: Votes,
    vip: Vip,
    link: Link,
    speakers: Speakers,
    reported: Option<Claim>,
    claim: Option<Claim>,
    /// A report was borne out since the start: reporters exist and are waited for.
    reporter_proven: bool,
    confirmed: Option<(State, Mono, Basis)>,
    delivered: Option<State>,
    /// False until the first verdict of this run.
    settled_once: bool,
    seen: Seen,
    seen_since: Mono,
    candidate: Option<Candidate>,
    /// First observation that departs from the confirmed state.
    sign: Option<Mono>,
    anomalies: Anomalies,
    read_asked: Option<Mono>,
    deadline: Option<Mono>,
}

impl Machine {
    /// A router watched from `now` on; `restored` is the state confirmed before a restart.
    /// The address table votes as soon as it is known, the wire once [`Input::Channel`] says that the
    /// classifier is attached.
    pub fn new(router: RouterId, policy: Policy, restored: Option<(State, Basis)>, now: Mono) -> Self {
        Self {
            router,
            policy,
            votes: Votes { vip: true, wire: false },
            vip: Vip::Unknown,
            link: Link::Unknown,
            speakers: Speakers::new(now),
            reported: None,
            claim: None,
            reporter_proven: false,
            confirmed: restored.map(|(state, basis)| (state, now, basis)),
            delivered: restored.map(|(state, _)| state),
            settled_once: false,
            seen: Seen::Unsettled,
            seen_since: now,
            candidate: None,
            sign: Some(now),
            anomalies: Anomalies::default(),
            read_asked: None,
            deadline: None,
        }
    }

    /// Changes the settings of a router that goes on being watched.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// When [`Machine::expire`] wants to be called next.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Takes one observation.
    pub fn input(&mut self, input: Input, now: Mono, out: &mut Vec<Output>) {
        match input {
            Input::Report { state, reporter } => self.report(state, reporter, now, out),
            Input::Vip(vip) => {
                self.vip = vip;
                self.ask_reading(now, out);
            }
            Input::Link(link) => {
                self.link = link;
                if matches!(link, Link::Down | Link::Gone) {
                    self.speakers.cut(now);
                }
            }
            Input::Advert(advert) => self.hear(advert, now),
            Input::WireRead { speakers, as_of } => {
                self.read_asked = None;
                self.speakers.read(speakers, as_of);
            }
            Input::InvalidFrame(frame) => self.anomalies.forged(frame, now),
            Input::Channel { channel, up } => self.channel(channel, up, now),
            Input::Check { seen_by_server } => {
                if let (Some(state), Some((.., basis))) = (self.delivered, self.confirmed)
                    && !fits(state, seen_by_server)
                {
                    out.push(Output::Deliver { state, previous: self.delivered, basis });
                }
            }
        }
        self.evaluate(now, out);
    }

    /// Takes the passing of time.
    pub fn expire(&mut self, now: Mono, out: &mut Vec<Output>) {
        self.evaluate(now, out);
    }

    /// Takes in an advert, unless no honest speaker can have sent it.
    fn hear(&mut self, advert: Advert, now: Mono) {
        let reason = if advert.side == Side::Local {
            None
        } else if self.speakers.local().is_some_and(|local| local.source == advert.source) {
            Some(InvalidReason::OwnSource)
        } else {
            // A master that leaves before it could be heard at all is no stranger.
            let listened = now.since(self.anomalies.listening_since()) > silence(self.interval()) * 2;
            let known = self.speakers.foreign().any(|known| known.source == advert.source);
            (advert.priority == 0 && advert.last_priority == 0 && listened && !known)
                .then_some(InvalidReason::StrangerResigned)
        };
        match reason {
            None => self.speakers.hear(advert),
            Some(reason) => {
                let Advert { side, source, priority, at, .. } = advert;
                self.anomalies.forged(InvalidFrame { side, source, reason, priority, ttl: 255, at }, now);
            }
        }
    }

    fn channel(&mut self, channel: Channel, up: bool, now: Mono) {
        match channel {
            Channel::Report => self.reporter_proven &= up,
            // What was last seen is kept: netlink tells only what differs before it says "restored".
            Channel::Vip => self.votes.vip = up,
            Channel::Wire => {
                if up || self.votes.wire {
                    self.speakers = Speakers::new(now);
                    self.anomalies.listen_from(now);
                }
                self.votes.wire = up;
                self.read_asked = None;
            }
        }
    }

    fn report(&mut self, state: State, reporter: Reporter, now: Mono, out: &mut Vec<Output>) {
        let report = Claim { state, reporter, at: now };
        self.reported = Some(report);
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

    /// Says once that `state` did not last.
    fn supersede(&mut self, state: State, by: State, since: Mono, now: Mono, out: &mut Vec<Output>) {
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

    fn interval(&self) -> Duration {
        self.speakers.interval(self.policy.advert_interval)
    }

    fn tx(&self) -> Tx {
        if self.votes.wire { self.speakers.tx(self.policy.advert_interval) } else { Tx::Unknown }
    }

    fn ask_reading(&mut self, now: Mono, out: &mut Vec<Output>) {
        let waiting = self.read_asked.is_some_and(|asked| now.since(asked) < READ_RETRY);
        if self.votes.wire && !waiting && self.speakers.as_of() < now {
            self.read_asked = Some(now);
            out.push(Output::ReadWire);
        }
    }

    /// Everything that follows from what is known at `now`; sets the next deadline.
    fn evaluate(&mut self, now: Mono, out: &mut Vec<Output>) {
        let mut next = Deadline(None);
        if self.votes.wire
            && let Some(due) = self.speakers.next_reading(self.policy.advert_interval)
        {
            if due <= now {
                self.ask_reading(now, out);
            } else {
                next.at_least(due, now);
            }
        }
        if self.read_asked.is_some_and(|asked| now.since(asked) >= READ_RETRY) {
            self.ask_reading(now, out);
        }
        if let Some(asked) = self.read_asked {
            next.at_least(asked + READ_RETRY, now);
        }
        self.look(now, out);
        self.judge_claim(now, out, &mut next);
        self.judge_seen(now, out, &mut next);
        let context = super::anomalies::Context {
            policy: &self.policy,
            votes: self.votes,
            vip: self.vip,
            link: self.link,
            tx: self.tx(),
            seen: self.seen,
            speakers: &self.speakers,
            interval: self.interval(),
            now,
        };
        let changes = self.anomalies.evaluate(&context, &mut |at| next.at_least(at, now));
        for change in changes {
            out.push(match change {
                super::anomalies::Change::Raised { kind, detail } => {
                    Output::AnomalyRaised { kind, detail, evidence: self.evidence(now) }
                }
                super::anomalies::Change::Cleared { kind, lasted } => Output::AnomalyCleared { kind, lasted },
            });
        }
        self.deadline = next.0;
    }

    /// Updates the seen role, the candidate and the first sign.
    fn look(&mut self, now: Mono, out: &mut Vec<Output>) {
        let tx = self.tx();
        let seen = seen::seen(self.votes, self.link, self.vip, tx, self.speakers.foreign_established());
        if seen != self.seen {
            self.seen = seen;
            self.seen_since = now;
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
                let departs = !seen::vip_bears(confirmed, self.vip) || !seen::wire_bears(confirmed, tx);
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

    fn claim_state(&self) -> Option<State> {
        self.claim.map(|claim| claim.state)
    }

    /// A claim is confirmed when the seen role bears it out, rejected when nothing does in time.
    fn judge_claim(&mut self, now: Mono, out: &mut Vec<Output>, next: &mut Deadline) {
        let Some(claim) = self.claim else { return };
        self.sign.get_or_insert(claim.at);
        if !self.votes.vip && !self.votes.wire {
            // Only the report is left: held back for the settle time, and marked as such.
            let due = claim.at + self.policy.settle;
            return if now >= due { self.confirm(claim.state, true, now, out) } else { next.at_least(due, now) };
        }
        let agrees = self.seen.role().is_some_and(|role| fits(claim.state, role));
        if agrees {
            if self.settled_once && self.confirmed.is_some_and(|(state, ..)| state == claim.state) {
                self.claim = None;
                self.reporter_proven = true;
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
        let tx = self.tx();
        let open = (self.votes.vip && self.vip == Vip::Unknown) || (self.votes.wire && tx == Tx::Unknown);
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
        let outdone = self.votes.wire && self.speakers.better_competitor().is_some();
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
            reporter: claim.reporter,
            reason,
            evidence: self.evidence(now),
        });
        self.sign = self.candidate.map(|candidate| candidate.since);
    }

    /// A seen role that nobody reported is passed on after the grace.
    fn judge_seen(&mut self, now: Mono, out: &mut Vec<Output>, next: &mut Deadline) {
        let Some(role) = self.seen.role() else { return };
        if self.settled_once && self.confirmed.is_some_and(|(confirmed, ..)| self.stands(confirmed, role)) {
            return;
        }
        if self.settled_once && !self.policy.heal_unreported {
            return;
        }
        let alone = !(self.votes.vip && self.votes.wire);
        let waits = (self.settled_once && (self.policy.reporter_expected || self.reporter_proven)) || alone;
        let grace = if waits { self.policy.grace(self.interval()) } else { Duration::ZERO };
        let due = self.seen_since + grace;
        if now < due {
            next.at_least(due, now);
            return;
        }
        match self.hindrance(role, now) {
            None => self.confirm(role, false, now, out),
            Some(Hindrance::Until(due)) => next.at_least(due, now),
            // Its next advert, or its silence, is a deadline of the wire.
            Some(Hindrance::Competitor) => {}
        }
    }

    /// What still keeps a seen role from being confirmed. Only primary must settle.
    fn hindrance(&self, state: State, now: Mono) -> Option<Hindrance> {
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
        self.speakers.better_competitor().map(|_| Hindrance::Competitor)
    }

    fn confirm(&mut self, state: State, claimed: bool, now: Mono, out: &mut Vec<Output>) {
        let mut basis = seen::basis(state, self.votes, self.vip, self.tx());
        basis.report = claimed
            || self
                .reported
                .is_some_and(|report| report.state == state && self.sign.is_some_and(|sign| report.at >= sign));
        let previous = self.confirmed.map(|(state, ..)| state);
        let latency = now.since(self.sign.unwrap_or(now));
        if previous != Some(state) && previous.is_some() {
            self.anomalies.changed(now);
        }
        self.confirmed = Some((state, now, basis));
        self.settled_once = true;
        self.reporter_proven |= claimed;
        self.candidate = None;
        self.sign = None;
        self.claim = self.claim.filter(|claim| claim.state != state);
        let evidence = self.evidence(now);
        out.push(Output::Confirmed(Transition { state, previous, basis, latency, evidence }));
        if !self.policy.observe {
            out.push(Output::Deliver { state, previous: self.delivered.replace(state), basis });
        }
    }

    fn evidence(&self, now: Mono) -> Evidence {
        let tx = if self.votes.wire {
            self.speakers.tx_evidence(self.policy.advert_interval, now)
        } else {
            super::evidence::TxEvidence { state: Tx::Unknown, priority: None, age_ms: None }
        };
        Evidence {
            vip: self.vip,
            link: self.link,
            tx,
            foreign: self.votes.wire.then(|| self.speakers.foreign_evidence(now)).flatten(),
            report: self.reported.map(|report| ReportEvidence {
                state: report.state,
                reporter: report.reporter,
                age_ms: millis(now.since(report.at)),
            }),
            channels_down: [(self.votes.vip, Channel::Vip), (self.votes.wire, Channel::Wire)]
                .into_iter()
                .filter_map(|(up, channel)| (!up).then_some(channel))
                .collect(),
        }
    }

    /// What is known now, for people.
    pub fn view(&self, now: Mono) -> View {
        View {
            router: self.router,
            claimed: self.reported.map(|report| report.state),
            seen: self.seen.role(),
            confirmed: self.confirmed,
            anomalies: self.anomalies.present().collect(),
            evidence: self.evidence(now),
        }
    }
}

/// What keeps a role from being confirmed.
enum Hindrance {
    /// It must hold until then.
    Until(Mono),
    /// Someone better advertises.
    Competitor,
}

/// The earliest wish so far.
struct Deadline(Option<Mono>);

impl Deadline {
    /// Wishes to be called at `at`, but never in the past: the earliest is a millisecond from now.
    fn at_least(&mut self, at: Mono, now: Mono) {
        let at = at.max(now + Duration::from_millis(1));
        self.0 = Some(self.0.map_or(at, |known| known.min(at)));
    }
}
