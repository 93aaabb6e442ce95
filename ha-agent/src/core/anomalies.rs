//! The disagreements: when each is named, and when it is over.
//!
//! A new kind is a variant of [`AnomalyKind`], a row in `conditions`, a sentence in `detail`, and
//! a sentence in `cli/explain`. A new reason to reject a frame is a row of [`named_by`] and an advice in
//! `detail`.

mod detail;

use std::collections::VecDeque;
use std::time::Duration;

use super::evidence::Tx;
use super::model::{Advert, AnomalyKind, Frame, Further, Link, Listener, Reason, State, Vip};
use super::policy::{FLAP_CLEAR, FLAP_RAISE, FLAP_WINDOW, FORGED_QUIET, JOIN, Policy, master_down_max, nobody_after};
use super::refused::Refused;
use super::seen::{Seen, Votes};
use super::speakers::{Speakers, overlap};
use super::time::Mono;

/// What the conditions look at.
pub struct Context<'a> {
    /// Settings.
    pub policy: &'a Policy,
    /// Channels that vote.
    pub votes: Votes,
    /// Address table.
    pub vip: Vip,
    /// When the VIP went, if it was there before.
    pub vip_gone: Option<Mono>,
    /// HA interface.
    pub link: Link,
    /// Whether the VIP is among the addresses of our last advert, where that can be told.
    pub lists_vip: Option<bool>,
    /// The further addresses.
    pub further: &'a Further,
    /// When those last changed.
    pub further_since: Mono,
    /// Who listens for adverts here, where that was looked for.
    pub listener: Option<Listener>,
    /// This is a backup whose keepalived does not read adverts.
    pub absent: bool,
    /// W-tx.
    pub tx: Tx,
    /// The seen role.
    pub seen: Seen,
    /// The wire: ours and peers.
    pub speakers: &'a Speakers,
    /// The wire: whom keepalived rejects.
    pub refused: &'a Refused,
    /// Advert interval in force.
    pub interval: Duration,
    /// Now.
    pub now: Mono,
}

/// Which disagreement a frame shows that is for `reason` not taken.
pub fn named_by(reason: Reason) -> AnomalyKind {
    match reason {
        Reason::Interval => AnomalyKind::AdvertIntervalMismatch,
        Reason::Addresses | Reason::Version | Reason::Auth | Reason::Mode | Reason::PeerSource | Reason::Owner => {
            AnomalyKind::ForeignMaster
        }
        Reason::Password
        | Reason::Icv
        | Reason::Sequence
        | Reason::Ttl
        | Reason::Checksum
        | Reason::Length
        | Reason::Type
        | Reason::PeerTtl
        | Reason::OtherHost
        | Reason::Destination
        | Reason::Header
        | Reason::SourceRoute
        | Reason::MartianSource
        | Reason::OwnSource
        | Reason::Protocol
        | Reason::Forwarded
        | Reason::NotVrrpSocket
        | Reason::LocalSource
        | Reason::LocalTtl
        | Reason::SecondSender
        | Reason::StrangerResigned
        | Reason::Contradiction => AnomalyKind::ForgedAdvert,
    }
}

/// What changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// It holds.
    Raised {
        /// Which.
        kind: AnomalyKind,
        /// In words.
        detail: String,
    },
    /// It is over.
    Cleared {
        /// Which.
        kind: AnomalyKind,
        /// For how long it was there.
        lasted: Duration,
    },
}

/// One condition, as it stands now.
struct Condition {
    kind: AnomalyKind,
    /// Whether it holds.
    holds: bool,
    /// How long it must hold before it is named.
    hold: Duration,
    /// Nor is it named before.
    not_before: Mono,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    kind: AnomalyKind,
    since: Mono,
    raised: bool,
}

/// The anomalies of one router.
#[derive(Debug, Default)]
pub struct Anomalies {
    standing: Vec<Standing>,
    last_forged: Option<Frame>,
    changes: VecDeque<Mono>,
    listening_since: Mono,
    /// The VIP that is held here was named an orphan.
    orphaned: bool,
    /// What is known of the wire is too old to say that nobody is master.
    wants_reading: bool,
}

impl Anomalies {
    /// A frame came that is named `forged_advert`; the newest counts.
    pub fn forged(&mut self, frame: Frame) {
        if self.last_forged.as_ref().is_none_or(|last| last.at <= frame.at) {
            self.last_forged = Some(frame);
        }
    }

    /// What goes on is named as long as it does.
    fn goes_on(&mut self, c: &Context<'_>) -> bool {
        let mut frames: Vec<Frame> = c
            .refused
            .live()
            .filter_map(|advert| advert.refused.map(|reason| Frame::of(advert, reason)))
            .filter(|frame| named_by(frame.reason) == AnomalyKind::ForgedAdvert)
            .collect();
        frames.extend(contradiction(c).map(|(later, _)| Frame::of(later, Reason::Contradiction)));
        let any = !frames.is_empty();
        frames.extend(c.speakers.second_sender().cloned());
        frames.extend(c.speakers.reflected().map(|advert| Frame::of(advert, Reason::OwnSource)));
        for frame in frames {
            self.forged(frame);
        }
        any
    }

    /// The role changed, or tried to.
    pub fn changed(&mut self, now: Mono) {
        self.changes.push_back(now);
        while self.changes.len() > FLAP_RAISE {
            self.changes.pop_front();
        }
    }

    /// Whether the wire is to be read for what is to be said next.
    pub fn wants_reading(&self) -> bool {
        self.wants_reading
    }

    /// The wire is observed from now on, or can be again: the interface is up.
    pub fn listen_from(&mut self, now: Mono) {
        self.listening_since = now;
    }

    /// Since when the wire is observed.
    pub fn listening_since(&self) -> Mono {
        self.listening_since
    }

    /// Named ones.
    pub fn present(&self) -> impl Iterator<Item = (AnomalyKind, Mono)> + '_ {
        self.standing.iter().filter(|standing| standing.raised).map(|standing| (standing.kind, standing.since))
    }

    /// What each named one is about, as it is now.
    pub fn details(&self, context: &Context<'_>) -> Vec<(AnomalyKind, String)> {
        let detail = |kind| (kind, detail::of(kind, context, self.last_forged.as_ref()));
        self.present().map(|(kind, _)| detail(kind)).collect()
    }

    /// Compares every condition with what stands; `wake` is told when to look again.
    pub fn evaluate(&mut self, context: &Context<'_>, wake: &mut dyn FnMut(Mono)) -> Vec<Change> {
        while self.changes.front().is_some_and(|at| context.now.since(*at) >= FLAP_WINDOW) {
            self.changes.pop_front();
        }
        let forged = context.votes.wire && self.goes_on(context);
        let mut changes = Vec::new();
        for condition in self.conditions(context, forged, wake) {
            let known = self.standing.iter().position(|standing| standing.kind == condition.kind);
            match (condition.holds, known) {
                (true, None) => {
                    self.standing.push(Standing { kind: condition.kind, since: context.now, raised: false });
                }
                (false, Some(index)) => {
                    let standing = self.standing.swap_remove(index);
                    if standing.raised {
                        let lasted = context.now.since(standing.since);
                        changes.push(Change::Cleared { kind: standing.kind, lasted });
                    }
                }
                _ => {}
            }
            let Some(standing) = self.standing.iter_mut().find(|standing| standing.kind == condition.kind) else {
                continue;
            };
            let due = (standing.since + condition.hold).max(condition.not_before);
            if !standing.raised && context.now >= due {
                standing.raised = true;
                let detail = detail::of(condition.kind, context, self.last_forged.as_ref());
                changes.push(Change::Raised { kind: condition.kind, detail });
            } else if !standing.raised {
                wake(due);
            }
        }
        self.orphaned = held_silently(context)
            && self.standing.iter().any(|standing| standing.kind == AnomalyKind::OrphanVip && standing.raised);
        changes
    }

    /// The table of conditions.
    fn conditions(&mut self, c: &Context<'_>, forged: bool, wake: &mut dyn FnMut(Mono)) -> [Condition; 10] {
        use AnomalyKind as Kind;
        let held_silently = held_silently(c);
        // A keepalived that does not track its interface goes on, and no other node hears it.
        let held_unheard =
            c.votes.vip && c.votes.wire && c.vip == Vip::Present && c.tx == Tx::Transmitting && c.link == Link::Down;
        // The node that took over may go as well; the VIP that was left here stays an orphan.
        let established = c.speakers.foreign_established() || self.orphaned;
        let settle = c.policy.settle;
        self.wants_reading = false;
        let forged_until = self.last_forged.as_ref().map(|frame| frame.at + FORGED_QUIET);
        if let Some(until) = forged_until.filter(|until| *until > c.now) {
            wake(until);
        }
        if let Some(first) = self.changes.front() {
            wake(*first + FLAP_WINDOW);
        }
        let nobody = match nobody(c, self.listening_since) {
            Nobody::No => false,
            Nobody::From(due) if c.now < due => {
                wake(due);
                false
            }
            Nobody::From(due) => {
                // The events of a busy machine may lie unread, where a master's next advert is told.
                self.wants_reading = c.speakers.as_of() < due;
                !self.wants_reading
            }
        };
        let flapping_now = self.standing.iter().any(|s| s.kind == Kind::Flapping && s.raised);
        let flap_count = if flapping_now { FLAP_CLEAR } else { FLAP_RAISE };
        let row = |kind, holds, hold| Condition { kind, holds, hold, not_before: Mono(0) };
        // A keepalived with thousands of addresses sets and removes them one after the other.
        let stable = c.further_since + settle;
        let or_further = |row: Condition, further: bool| Condition {
            holds: row.holds || further,
            not_before: if row.holds || !further { Mono(0) } else { stable },
            ..row
        };
        [
            row(Kind::SplitBrain, c.votes.wire && c.speakers.contender().is_some(), Duration::ZERO),
            row(Kind::SilentPrimary, held_unheard || held_silently && !established, settle),
            or_further(row(Kind::OrphanVip, held_silently && established, settle), further_left(c)),
            or_further(row(Kind::MissingVip, c.seen == Seen::MissingVip && goes_on(c), settle), further_missing(c)),
            row(Kind::ForgedAdvert, forged || forged_until.is_some_and(|until| c.now < until), Duration::ZERO),
            row(Kind::ForeignMaster, c.votes.wire && foreign_master(c).is_some(), settle),
            row(Kind::AdvertIntervalMismatch, c.votes.wire && mismatch(c).is_some(), settle),
            row(Kind::NoPrimary, nobody, Duration::ZERO),
            row(Kind::Flapping, self.changes.len() >= flap_count, Duration::ZERO),
            row(Kind::KeepalivedDown, c.absent, Duration::ZERO),
        ]
    }
}

/// The VIP is held and nothing is sent.
fn held_silently(c: &Context<'_>) -> bool {
    c.votes.vip && c.votes.wire && c.vip == Vip::Present && c.tx == Tx::Silent
}

/// Whether an advert left after the VIP went. One from before says nothing: a keepalived whose child
/// was killed removes the VIP when it starts another one, and does not resign.
fn goes_on(c: &Context<'_>) -> bool {
    c.vip_gone.is_none_or(|gone| c.speakers.local().is_some_and(|local| local.at > gone))
}

/// Who is rejected for what `kind` names; the newest advert.
fn rejected<'a>(c: &Context<'a>, kind: AnomalyKind) -> Option<&'a Advert> {
    c.refused.live().filter(|advert| advert.refused.map(named_by) == Some(kind)).max_by_key(|advert| advert.at)
}

/// Someone else who uses our VRID.
fn foreign_master<'a>(c: &Context<'a>) -> Option<&'a Advert> {
    rejected(c, AnomalyKind::ForeignMaster)
}

/// A live master whose interval differs from ours. VRRPv2 rejects it; VRRPv3 backups adopt the master's
/// interval (RFC 9568 section 6.4.2), so there it matters only between two masters.
fn mismatch<'a>(c: &Context<'a>) -> Option<&'a Advert> {
    let ours = c.speakers.own_interval();
    let taken = || c.speakers.peers().find(|peer| c.tx == Tx::Transmitting && peer.interval != ours);
    rejected(c, AnomalyKind::AdvertIntervalMismatch).or_else(taken)
}

/// Two adverts that go on side by side from one source address, of which at least one is taken, and
/// that cannot both be of one keepalived. The one that began later comes first.
fn contradiction<'a>(c: &Context<'a>) -> Option<(&'a Advert, &'a Advert)> {
    let all: Vec<&Advert> = c.speakers.peers().chain(c.refused.live()).collect();
    let says = |of: &Advert| (of.priority, of.content);
    all.iter().find_map(|peer| {
        let other = all.iter().find(|other| {
            let differs = says(peer) != says(other) || !peer.is_same_host(other);
            peer.refused.is_none() && peer.source == other.source && differs && overlap(peer, other) > JOIN
        })?;
        Some(if peer.run_since > other.run_since { (*peer, *other) } else { (*other, *peer) })
    })
}

/// The primary lacks some of its further addresses.
fn further_missing(c: &Context<'_>) -> bool {
    c.votes.vip && c.seen == Seen::Role(State::Primary) && c.further.set < c.further.of
}

/// They are set here although this node is not master, and does not hold the VIP either.
fn further_left(c: &Context<'_>) -> bool {
    let role = matches!(c.seen, Seen::Role(State::Backup | State::Fault));
    c.votes.vip && role && c.vip == Vip::Absent && c.further.set > 0
}

/// Whether nobody is master.
enum Nobody {
    No,
    /// From then on, if nothing is heard until then.
    From(Mono),
}

/// Nobody here holds the VIP or advertises, and nobody else was heard for 1.5 intervals of listening, or
/// what short ones need (if ever anybody was; else for the longest time that an election may take).
fn nobody(c: &Context<'_>, listening_since: Mono) -> Nobody {
    let quiet_here = c.votes.wire
        && c.vip == Vip::Absent
        && c.link == Link::Up
        && matches!(c.tx, Tx::Silent | Tx::Resigned | Tx::Yielded);
    // Ours ended with the VIP, as far as is known: only the next reading tells whether they go on.
    let ours = c.speakers.local().is_some_and(|local| c.speakers.live(local));
    if !quiet_here || ours || c.speakers.masters().next().is_some() {
        return Nobody::No;
    }
    Nobody::From(match c.speakers.last() {
        Some(last) => last.at.max(listening_since) + nobody_after(c.interval),
        None => listening_since + master_down_max(c.interval).max(nobody_after(c.interval)),
    })
}

#[cfg(test)]
mod tests;
