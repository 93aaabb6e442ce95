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
//!
//! Here: what is known, and how observations change it. `claim` judges what is claimed, `role` what is
//! seen; `verdict` confirms; `grace` knows whose reports are waited for.

mod claim;
mod grace;
mod listener;
mod role;
mod verdict;

use std::time::Duration;

use super::anomalies::{Anomalies, Context, named_by};
use super::evidence::{AddressEvidence, Evidence, ReportEvidence, Tx};
use super::io::{Input, Output, View};
use super::model::{
    Advert, AnomalyKind, Basis, Channel, Frame, Further, Link, Listener, Reason, Reporter, RouterId, Side, Standing,
    State, Vip,
};
use super::policy::{Policy, READ_GRID, READ_RETRY, fits, silence};
use super::refused::Refused;
use super::seen::{Seen, Votes};
use super::speakers::{Speakers, foreign_evidence, millis, rank};
use super::time::Mono;
use claim::Claim;
use grace::Graces;
use listener::{Listening, Why};
use role::Candidate;
use verdict::Deadline;

/// The verdict on one router.
#[derive(Debug)]
pub struct Machine {
    router: RouterId,
    policy: Policy,
    votes: Votes,
    vip: Vip,
    /// When the VIP went, if it was there before.
    vip_gone: Option<Mono>,
    /// Whether the VIP is among the addresses of our last advert, where that can be told.
    lists_vip: Option<bool>,
    further: Further,
    /// When they last changed.
    further_since: Mono,
    link: Link,
    listening: Listening,
    namespace_gone: bool,
    speakers: Speakers,
    refused: Refused,
    reported: Option<Claim>,
    /// Who made the last report, from which a claim that waits came too; before the first one it says nothing.
    reporter: Reporter,
    claim: Option<Claim>,
    graces: Graces,
    /// The role that was seen when a state was last confirmed.
    confirmed_role: Option<State>,
    confirmed: Option<(State, Mono, Basis)>,
    delivered: Option<State>,
    /// What was told of a difference between the delivered and the confirmed state, while reports are passed on.
    diverged: Option<(State, State)>,
    /// What was passed on in the place of the router's own monitor.
    stood_in: Option<State>,
    /// False until the first verdict of this run.
    settled_once: bool,
    seen: Seen,
    seen_since: Mono,
    candidate: Option<Candidate>,
    /// First observation that departs from the confirmed state.
    sign: Option<Mono>,
    anomalies: Anomalies,
    /// A reading was asked for and is not answered.
    read_asked: Option<Mono>,
    /// One that only those concerns whom keepalived rejects.
    refused_asked: Option<Mono>,
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
            vip_gone: None,
            lists_vip: None,
            further: Further::default(),
            further_since: now,
            link: Link::Unknown,
            listening: Listening::default(),
            namespace_gone: false,
            speakers: Speakers::new(now, &policy),
            refused: Refused::new(now, policy.advert_interval),
            reported: None,
            reporter: Reporter::Fifo,
            claim: None,
            graces: Graces::default(),
            confirmed_role: None,
            confirmed: restored.map(|(state, basis)| (state, now, basis)),
            delivered: restored.map(|(state, _)| state),
            diverged: None,
            stood_in: None,
            settled_once: false,
            seen: Seen::Unsettled,
            seen_since: now,
            candidate: None,
            sign: Some(now),
            anomalies: Anomalies::default(),
            read_asked: None,
            refused_asked: None,
            deadline: None,
        }
    }

    /// Changes the settings of a router that goes on being watched.
    pub fn set_policy(&mut self, policy: Policy, now: Mono, out: &mut Vec<Output>) {
        if policy.reporter_expected && !self.policy.reporter_expected {
            self.graces.expect_anew();
        }
        self.policy = policy;
        self.speakers.configure(&policy);
        self.evaluate(now, out);
    }

    /// The settings in force.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    /// When [`Machine::expire`] wants to be called next.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Takes one observation.
    pub fn input(&mut self, input: Input, now: Mono, out: &mut Vec<Output>) {
        match input {
            Input::Report { state, reporter } => {
                self.listening.hurry(now);
                self.report(state, reporter, now, out);
            }
            Input::Vip(vip) => {
                match (self.vip, vip) {
                    (Vip::Present, Vip::Absent) => self.vip_gone = Some(now),
                    (_, Vip::Present) => self.vip_gone = None,
                    _ => {}
                }
                self.vip = vip;
                self.ask_reading(now, out);
            }
            Input::Further(further) => (self.further, self.further_since) = (further, now),
            Input::Link(link) => {
                let before = std::mem::replace(&mut self.link, link);
                match (before, link) {
                    (_, Link::Down | Link::Gone) => self.speakers.cut(now),
                    (Link::Down | Link::Gone, Link::Up) => self.anomalies.listen_from(now),
                    _ => {}
                }
            }
            Input::Advert(advert) => self.hear(advert),
            Input::WireRead { speakers, rejected_at, lists_vip, as_of } => {
                self.lists_vip = lists_vip;
                self.read(speakers, rejected_at, as_of);
            }
            Input::InvalidFrame(frame) => self.anomalies.forged(Frame { at: frame.at.min(now), ..frame }),
            Input::Listener(listener) => self.listening.found(listener, now),
            Input::Namespace { exists } => self.namespace_gone = !exists,
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

    /// Takes in an advert: ours, a peer's, or one that keepalived rejects.
    fn hear(&mut self, advert: Advert) {
        match advert.refused {
            None if self.is_stranger_s_resignation(&advert, &[]) => self.forged(&advert, Reason::StrangerResigned),
            None => self.speakers.hear(advert),
            Some(reason) => {
                if named_by(reason) == AnomalyKind::ForgedAdvert || !is_rejected(&advert) {
                    self.forged(&advert, reason);
                }
                if is_rejected(&advert) {
                    self.refused.hear(advert);
                }
            }
        }
    }

    /// Whether someone resigns who never was heard as a master, nor stands among `others`. A master that
    /// leaves before it could be heard at all is no stranger.
    fn is_stranger_s_resignation(&self, advert: &Advert, others: &[Advert]) -> bool {
        let listened = advert.at.since(self.anomalies.listening_since()) > silence(self.interval()) * 2;
        let known = || {
            let mut known = self.speakers.known().chain(self.speakers.local()).chain(others);
            known.any(|known| known.priority > 0 && known.is_same_host(advert))
        };
        advert.side == Side::Foreign && advert.priority == 0 && listened && !known()
    }

    /// Takes in a reading. What one finds of us and of peers that only the refused were read for waits for
    /// its own time: else whoever is refused would choose the moments at which two masters are compared.
    fn read(&mut self, speakers: Vec<Advert>, rejected_at: Option<Mono>, as_of: Mono) {
        let only_refused = self.read_asked.is_none() && self.refused_asked.is_some();
        (self.read_asked, self.refused_asked) = (None, None);
        let (taken, refused): (Vec<_>, Vec<_>) = speakers.into_iter().partition(|one| one.refused.is_none());
        self.refused.read(refused.into_iter().filter(is_rejected), as_of);
        if !only_refused {
            let is_stranger_s = |advert: &Advert| self.is_stranger_s_resignation(advert, &taken);
            let (strangers, taken): (Vec<_>, Vec<_>) = taken.iter().cloned().partition(is_stranger_s);
            for stranger in strangers {
                self.forged(&stranger, Reason::StrangerResigned);
            }
            self.speakers.read(taken, rejected_at, as_of);
        }
    }

    fn forged(&mut self, advert: &Advert, reason: Reason) {
        self.anomalies.forged(Frame::of(advert, reason));
    }

    fn channel(&mut self, channel: Channel, up: bool, now: Mono) {
        match channel {
            Channel::Report if up => {}
            Channel::Report => self.graces.forget_told(),
            // What was last seen is kept: netlink tells only what differs before it says "restored".
            Channel::Vip => self.votes.vip = up,
            Channel::Wire => {
                if up || self.votes.wire {
                    self.speakers = Speakers::new(now, &self.policy);
                    self.refused = Refused::new(now, self.policy.advert_interval);
                    self.anomalies.listen_from(now);
                }
                self.votes.wire = up;
                (self.read_asked, self.refused_asked) = (None, None);
            }
        }
    }

    /// Whether the namespace went in which the kernel showed a state. Where only reports ever told of one,
    /// its name may be wrong.
    fn has_lost_namespace(&self) -> bool {
        self.namespace_gone && self.confirmed.is_some_and(|(.., basis)| basis.vip || basis.wire)
    }

    fn interval(&self) -> Duration {
        self.speakers.interval()
    }

    fn tx(&self) -> Tx {
        if self.votes.wire { self.speakers.tx() } else { Tx::Unknown }
    }

    fn ask_reading(&mut self, now: Mono, out: &mut Vec<Output>) {
        let waiting = self.read_asked.is_some_and(|asked| now.since(asked) < READ_RETRY);
        if self.votes.wire && !waiting && self.speakers.as_of() < now {
            self.read_asked = Some(now);
            out.push(Output::ReadWire);
        }
    }

    /// Readings that only those concern whom keepalived rejects.
    fn ask_for_refused(&mut self, now: Mono, out: &mut Vec<Output>, next: &mut Deadline) {
        let Some(due) = self.refused.next_reading().filter(|_| self.votes.wire && self.read_asked.is_none()) else {
            return;
        };
        let due = together(due, self.refused.as_of());
        if let Some(again) = self.refused_asked.map(|asked| asked + READ_RETRY).filter(|again| now < *again) {
            next.at_least(again, now);
        } else if now < due {
            next.at_least(due, now);
        } else {
            self.refused_asked = Some(now);
            out.push(Output::ReadWire);
            next.at_least(now + READ_RETRY, now);
        }
    }

    fn look_for_listener(&mut self, now: Mono, out: &mut Vec<Output>, next: &mut Deadline) {
        let silent = self.votes.vip && self.vip == Vip::Present && self.tx() == Tx::Silent;
        let why = match self.seen.role() {
            _ if silent => Some(Why::Silence { established: self.speakers.foreign_established() }),
            Some(State::Backup) if self.link == Link::Up => Some(Why::Backup),
            _ => None,
        };
        if self.listening.look(why, now) {
            out.push(Output::LookForListener);
        }
        if let Some(due) = self.listening.due() {
            next.at_least(due, now);
        }
    }

    fn listener(&self) -> Option<Listener> {
        let resigned = self.speakers.local().filter(|local| self.votes.wire && local.priority == 0);
        self.listening.listener(resigned.map(|local| local.at))
    }

    /// Everything that follows from what is known at `now`; sets the next deadline.
    fn evaluate(&mut self, now: Mono, out: &mut Vec<Output>) {
        let mut next = Deadline(None);
        self.speakers.hold(if self.votes.vip { self.vip } else { Vip::Unknown }, self.vip_gone);
        self.refused.compare_with(self.speakers.interval());
        if self.votes.wire
            && let Some(due) = self.speakers.next_reading()
        {
            let due = together(due, self.speakers.as_of());
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
        self.ask_for_refused(now, out, &mut next);
        self.stand_in(out);
        self.look(now, out);
        self.look_for_listener(now, out, &mut next);
        self.judge_claim(now, out, &mut next);
        self.judge_seen(now, out, &mut next);
        // A verdict changes what departs from it: known now, not when something else happens next.
        self.look(now, out);
        if let Some(claim) = self.claim {
            self.sign.get_or_insert(claim.at);
        }
        let mut anomalies = std::mem::take(&mut self.anomalies);
        let changes = anomalies.evaluate(&self.context(now), &mut |at| next.at_least(at, now));
        self.anomalies = anomalies;
        for change in changes {
            out.push(match change {
                super::anomalies::Change::Raised { kind, detail } => {
                    Output::AnomalyRaised { kind, detail, evidence: self.evidence(now) }
                }
                super::anomalies::Change::Cleared { kind, lasted } => Output::AnomalyCleared { kind, lasted },
            });
        }
        if self.anomalies.wants_reading() {
            self.ask_reading(now, out);
            if let Some(asked) = self.read_asked {
                next.at_least(asked + READ_RETRY, now);
            }
        }
        self.compare_delivered(out);
        self.deadline = next.0;
    }

    fn context(&self, now: Mono) -> Context<'_> {
        Context {
            policy: &self.policy,
            votes: self.votes,
            vip: self.vip,
            vip_gone: self.vip_gone,
            lists_vip: self.lists_vip,
            further: &self.further,
            further_since: self.further_since,
            listener: self.listener(),
            absent: self.listening.is_absent(),
            link: self.link,
            tx: self.tx(),
            seen: self.seen,
            speakers: &self.speakers,
            refused: &self.refused,
            interval: self.interval(),
            now,
        }
    }

    fn evidence(&self, now: Mono) -> Evidence {
        let tx = if self.votes.wire {
            self.speakers.tx_evidence(now)
        } else {
            super::evidence::TxEvidence { state: Tx::Unknown, priority: None, age_ms: None }
        };
        let refused = || self.refused.live().max_by(|a, b| rank(a, b));
        let foreign = self.speakers.best_peer().or_else(refused).filter(|_| self.votes.wire);
        Evidence {
            vip: self.vip,
            link: self.link,
            tx,
            foreign: foreign.map(|foreign| foreign_evidence(foreign, now)),
            report: self.reported.map(|report| ReportEvidence {
                state: report.state,
                reporter: self.reporter.clone(),
                age_ms: millis(now.since(report.at)),
            }),
            listener: self.listener(),
            further: (self.further.of > 0).then_some(AddressEvidence { of: self.further.of, set: self.further.set }),
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
            details: self.anomalies.details(&self.context(now)),
            evidence: self.evidence(now),
        }
    }
}

/// Whether keepalived reads an advert and drops it: only such speakers are remembered.
fn is_rejected(advert: &Advert) -> bool {
    advert.side == Side::Foreign && advert.refused.is_some_and(|reason| reason.standing() == Standing::Rejected)
}

/// A reading made a little early mostly finds the next advert already. So routers whose readings are
/// due within the same [`READ_GRID`] are read at its begin, in one go, instead of waking the agent
/// one by one; a router that was read there and was silent is read again when it is due.
fn together(due: Mono, as_of: Mono) -> Mono {
    let grid = u64::try_from(READ_GRID.as_nanos()).unwrap_or(u64::MAX);
    let begin = Mono(due.0 - due.0 % grid);
    if begin > as_of { begin } else { due }
}
