//! The disagreements: when each is named, and when it is over.
//!
//! A new kind is a variant of [`AnomalyKind`], a row in `conditions`, a sentence in `detail`, and
//! a sentence in `cli/explain`.

use std::collections::VecDeque;
use std::time::Duration;

use super::evidence::Tx;
use super::model::{AnomalyKind, Frame, Link, Listener, Side, Vip};
use super::policy::{FLAP_CLEAR, FLAP_RAISE, FLAP_WINDOW, FORGED_QUIET, Policy, master_down_max, silence};
use super::seen::{Seen, Votes};
use super::speakers::Speakers;
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
    /// Who listens for adverts here, where that was looked for.
    pub listener: Option<Listener>,
    /// W-tx.
    pub tx: Tx,
    /// The seen role.
    pub seen: Seen,
    /// The wire.
    pub speakers: &'a Speakers,
    /// Advert interval in force.
    pub interval: Duration,
    /// Now.
    pub now: Mono,
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
}

impl Anomalies {
    /// An invalid or dishonest frame came.
    pub fn forged(&mut self, frame: Frame, now: Mono) {
        self.last_forged = Some(Frame { at: now, ..frame });
    }

    /// The role changed, or tried to.
    pub fn changed(&mut self, now: Mono) {
        self.changes.push_back(now);
        while self.changes.len() > FLAP_RAISE {
            self.changes.pop_front();
        }
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

    /// Compares every condition with what stands; `wake` is told when to look again.
    pub fn evaluate(&mut self, context: &Context<'_>, wake: &mut dyn FnMut(Mono)) -> Vec<Change> {
        while self.changes.front().is_some_and(|at| context.now.since(*at) >= FLAP_WINDOW) {
            self.changes.pop_front();
        }
        let mut changes = Vec::new();
        for condition in self.conditions(context, wake) {
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
            let due = standing.since + condition.hold;
            if !standing.raised && context.now >= due {
                standing.raised = true;
                let detail = detail(condition.kind, context, self.last_forged.as_ref());
                changes.push(Change::Raised { kind: condition.kind, detail });
            } else if !standing.raised {
                wake(due);
            }
        }
        changes
    }

    /// The table of conditions.
    fn conditions(&self, c: &Context<'_>, wake: &mut dyn FnMut(Mono)) -> [Condition; 9] {
        use AnomalyKind as Kind;
        let both = c.votes.vip && c.votes.wire;
        let held_silently = both && c.vip == Vip::Present && c.tx == Tx::Silent;
        // The node that took over may go as well; the VIP that was left here stays an orphan.
        let orphaned = self.standing.iter().any(|s| s.kind == Kind::OrphanVip && s.raised);
        let established = c.speakers.foreign_established() || orphaned;
        let settle = c.policy.settle;
        let stranger = c.votes.wire && c.speakers.foreign().any(|f| c.speakers.live(f) && !c.speakers.kin(f));
        let forged_until = self.last_forged.as_ref().map(|frame| frame.at + FORGED_QUIET);
        if let Some(until) = forged_until.filter(|until| *until > c.now) {
            wake(until);
        }
        if let Some(first) = self.changes.front() {
            wake(*first + FLAP_WINDOW);
        }
        let flapping_now = self.standing.iter().any(|s| s.kind == Kind::Flapping && s.raised);
        let flap_count = if flapping_now { FLAP_CLEAR } else { FLAP_RAISE };
        let row = |kind, holds, hold| Condition { kind, holds, hold };
        [
            row(Kind::SplitBrain, c.votes.wire && c.speakers.contender().is_some(), Duration::ZERO),
            row(Kind::SilentPrimary, held_silently && !established, settle),
            row(Kind::OrphanVip, held_silently && established, settle),
            row(Kind::MissingVip, c.seen == Seen::MissingVip && goes_on(c), settle),
            row(Kind::ForgedAdvert, forged_until.is_some_and(|until| c.now < until), Duration::ZERO),
            row(Kind::ForeignMaster, stranger, settle),
            row(Kind::AdvertIntervalMismatch, c.votes.wire && mismatch(c).is_some(), settle),
            row(Kind::NoPrimary, nobody(c, self.listening_since, wake), Duration::ZERO),
            row(Kind::Flapping, self.changes.len() >= flap_count, Duration::ZERO),
        ]
    }
}

/// Whether an advert left after the VIP went. One from before says nothing: a keepalived whose child
/// was killed removes the VIP when it starts another one, and does not resign.
fn goes_on(c: &Context<'_>) -> bool {
    c.vip_gone.is_none_or(|gone| c.speakers.local().is_some_and(|local| local.at > gone))
}

/// A live master whose interval differs from ours. VRRPv3 backups adopt the master's interval
/// (RFC 9568 section 6.4.2), so there it matters only between two masters.
fn mismatch(c: &Context<'_>) -> Option<(Duration, Duration)> {
    let ours = c.speakers.own_interval();
    let foreign =
        c.speakers.claimants().find(|f| f.interval != ours && (f.version == 2 || c.tx == Tx::Transmitting))?;
    Some((ours, foreign.interval))
}

/// Nobody here holds the VIP or advertises, and nobody else was heard for 1.5 intervals of listening
/// (if ever anybody was; else for the longest time that an election may take).
fn nobody(c: &Context<'_>, listening_since: Mono, wake: &mut dyn FnMut(Mono)) -> bool {
    let quiet_here = c.votes.wire
        && c.vip == Vip::Absent
        && c.link == Link::Up
        && matches!(c.tx, Tx::Silent | Tx::Resigned | Tx::Yielded);
    if !quiet_here || c.speakers.competitors().next().is_some() {
        return false;
    }
    let due = match c.speakers.last() {
        Some(last) => last.at.max(listening_since) + silence(c.interval),
        None => listening_since + master_down_max(c.interval),
    };
    if c.now < due {
        wake(due);
    }
    c.now >= due
}

/// Who was heard last, for people: after a forged better advert it is somebody who came only once.
fn last_word(c: &Context<'_>) -> String {
    let Some(last) = c.speakers.last() else {
        return String::new();
    };
    let ago = c.now.since(last.at).as_millis();
    match (last.side, last.priority, last.run_adverts) {
        (Side::Local, ..) => format!("; the last advert was ours, {ago} ms ago"),
        (Side::Foreign, 0, _) => format!("; {} resigned {ago} ms ago", last.source),
        (Side::Foreign, priority, 1) => {
            format!("; {} (priority {priority}) advertised once, {ago} ms ago, and no more", last.source)
        }
        (Side::Foreign, priority, _) => {
            format!("; the last advert came from {} (priority {priority}) {ago} ms ago", last.source)
        }
    }
}

/// What a person reads.
fn detail(kind: AnomalyKind, c: &Context<'_>, forged: Option<&Frame>) -> String {
    let foreign = c.speakers.best_claimant();
    match kind {
        AnomalyKind::SplitBrain => c.speakers.contender().map_or_else(String::new, |f| {
            format!("this node and {} (priority {}) both advertise as master", f.source, f.priority)
        }),
        AnomalyKind::SilentPrimary => {
            let why = match c.listener {
                Some(Listener::Gone) => "keepalived is dead, nobody listens for adverts here",
                Some(Listener::Stalled) => "keepalived is frozen, adverts pile up unread",
                Some(Listener::Reading) => "keepalived is there, but frozen, or its output is filtered",
                None => "keepalived is frozen, dead, or its output is filtered",
            };
            format!("the VIP is set but no adverts leave: {why}")
        }
        AnomalyKind::OrphanVip => {
            let master = foreign
                .map_or_else(|| "another node".to_owned(), |f| format!("{} (priority {})", f.source, f.priority));
            let why = match c.listener {
                Some(Listener::Gone) => "; keepalived is dead, nobody listens for adverts here",
                Some(Listener::Stalled) => "; keepalived is frozen, adverts pile up unread",
                Some(Listener::Reading) => "; keepalived reads adverts here, but none of its own leave",
                None => "",
            };
            format!("the VIP is set here although {master} is master{why}")
        }
        AnomalyKind::MissingVip => "adverts leave but the VIP is not set".to_owned(),
        AnomalyKind::ForgedAdvert => forged.map_or_else(String::new, |frame| {
            let Frame { source, reason, priority, ttl, .. } = frame;
            format!("an advert from {source} is not genuine: {} (priority {priority}, TTL {ttl})", reason.as_str())
        }),
        AnomalyKind::ForeignMaster => {
            let stranger = c.speakers.foreign().find(|f| c.speakers.live(f) && !c.speakers.kin(f));
            stranger.map_or_else(String::new, |f| {
                format!("{} advertises on this VRID with other addresses, version or authentication", f.source)
            })
        }
        AnomalyKind::AdvertIntervalMismatch => mismatch(c).map_or_else(String::new, |(ours, theirs)| {
            format!("adverts come every {} ms, but ours go every {} ms", theirs.as_millis(), ours.as_millis())
        }),
        AnomalyKind::NoPrimary => format!("nobody advertises and the VIP is not set here{}", last_word(c)),
        AnomalyKind::Flapping => format!("{FLAP_RAISE} role changes within {} s", FLAP_WINDOW.as_secs()),
    }
}
