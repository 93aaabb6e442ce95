//! What the wire said: our own adverts (W-tx) and those of the peers that keepalived takes (W-rx).
//! Whom keepalived rejects is elsewhere; all that comes of it here is how long our silence is explained.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use super::crowd::{Standing, given_up};
use super::evidence::{ForeignEvidence, Tx, TxEvidence};
use super::model::{Advert, Frame, Side, Vip};
use super::policy::{JOIN, ORDER, Policy, silence};
use super::senders::Senders;
use super::succession::{is_reflection, kept_interval, succeeded_from};
use super::time::Mono;

/// Peers kept per router.
const MAX_PEERS: usize = 16;

/// Our own adverts and the peers of one router's VRID.
///
/// The kernel side reports only what is new; a speaker that goes on as before just has its record
/// refreshed there. So nobody may be called silent later than [`Speakers::as_of`], the moment of the
/// last reading.
#[derive(Clone, Debug)]
pub struct Speakers {
    configured: Duration,
    settle: Duration,
    local: Option<Advert>,
    senders: Senders,
    peers: Vec<Advert>,
    /// The newest frame that keepalived read and dropped.
    rejected_at: Option<Mono>,
    /// Our silence since the last advert was once found unexplained: nothing later explains it.
    lapsed: bool,
    vip: Vip,
    vip_gone: Option<Mono>,
    since: Mono,
    as_of: Mono,
    /// Our adverts up to here count no more: the interface went down.
    cut: Mono,
}

impl Speakers {
    /// Nothing heard, listening from `since`; of the policy count the interval until an advert tells
    /// better, and the time to settle.
    pub fn new(since: Mono, policy: &Policy) -> Self {
        Self {
            configured: policy.advert_interval,
            settle: policy.settle,
            local: None,
            senders: Senders::default(),
            peers: Vec::new(),
            rejected_at: None,
            lapsed: false,
            vip: Vip::Unknown,
            vip_gone: None,
            since,
            as_of: since,
            cut: Mono(0),
        }
    }

    /// Takes in one speaker's record, which is ours or a peer's; an older one than known changes nothing.
    pub fn hear(&mut self, advert: Advert) {
        match advert.side {
            Side::Local => {
                let before = self.local.as_ref().map(|known| known.at);
                if before.is_none_or(|before| before <= advert.at) {
                    self.senders.sent(&advert);
                    self.lapsed &= before == Some(advert.at);
                    self.local = Some(advert);
                }
            }
            Side::Foreign => {
                if let Some(known) = self.peers.iter_mut().find(|known| known.is_same_speaker(&advert)) {
                    if known.at <= advert.at {
                        *known = advert;
                    }
                } else {
                    self.peers.push(advert);
                    self.give_up();
                }
            }
        }
    }

    /// Keeps no more than [`MAX_PEERS`].
    fn give_up(&mut self) {
        if self.peers.len() > MAX_PEERS {
            let crowd: Vec<_> = self.peers.iter().map(|known| (self.standing(known), known.run_since)).collect();
            if let Some(index) = given_up(&crowd) {
                self.peers.swap_remove(index);
            }
        }
    }

    fn standing(&self, advert: &Advert) -> Standing {
        if self.live(advert) { Standing::Peer((advert.priority, advert.source)) } else { Standing::Silent(advert.at) }
    }

    /// Takes in a reading of all speakers that are ours or peers.
    pub fn read(&mut self, mut speakers: Vec<Advert>, rejected_at: Option<Mono>, as_of: Mono) {
        speakers.sort_by_key(|advert| advert.at);
        for advert in speakers {
            self.hear(advert);
        }
        self.rejected_at = self.rejected_at.max(rejected_at);
        self.as_of = self.as_of.max(as_of);
        self.lapsed |= self.tx() == Tx::Silent;
    }

    /// The address table, as far as it has a vote, and when the VIP went.
    pub fn hold(&mut self, vip: Vip, gone: Option<Mono>) {
        (self.vip, self.vip_gone) = (vip, gone);
    }

    /// The policy changed.
    pub fn configure(&mut self, policy: &Policy) {
        (self.configured, self.settle) = (policy.advert_interval, policy.settle);
    }

    /// The interface went down: what was sent until now says nothing about later.
    pub fn cut(&mut self, now: Mono) {
        self.cut = now;
    }

    /// The moment up to which silence can be told.
    pub fn as_of(&self) -> Mono {
        self.as_of
    }

    /// Nothing was read since listening began.
    pub fn unread(&self) -> bool {
        self.as_of == self.since
    }

    /// Our last advert.
    pub fn local(&self) -> Option<&Advert> {
        self.local.as_ref()
    }

    /// The newest of our adverts that shows two local senders.
    pub fn second_sender(&self) -> Option<&Frame> {
        self.senders.second()
    }

    /// Every peer remembered.
    pub fn known(&self) -> impl Iterator<Item = &Advert> {
        self.peers.iter()
    }

    /// The interval in force: ours if we ever sent, else a VRRPv3 master's (backups adopt it, RFC 9568
    /// section 6.4.2), else the configured one. It is a peer's or nobody's.
    pub fn interval(&self) -> Duration {
        let adopted = || {
            let masters = self.masters().filter(|advert| advert.version == 3).max_by(|a, b| rank(a, b));
            let known = || self.peers.iter().filter(|advert| advert.version == 3 && advert.priority > 0);
            masters.or_else(|| known().max_by_key(|advert| advert.at)).map(|advert| self.expected(advert))
        };
        let ours = self.local.as_ref().map(|local| local.interval);
        ours.or_else(adopted).unwrap_or(self.configured).max(Duration::from_millis(10))
    }

    /// The interval that adverts of our own virtual router carry as far as we can know.
    pub fn own_interval(&self) -> Duration {
        self.local.as_ref().map_or(self.configured, |local| local.interval)
    }

    /// Whether a speaker advertises as master: not resigned, and not silent as of the last reading.
    pub fn live(&self, advert: &Advert) -> bool {
        let ended = match advert.side {
            Side::Local => advert.at <= self.cut,
            Side::Foreign => advert.has_resigned(&self.peers) || self.is_reflected(advert),
        };
        !ended && advert.priority > 0 && self.as_of.since(advert.at) < silence(advert.interval)
    }

    /// W-tx.
    pub fn tx(&self) -> Tx {
        let explained = |silent| if silent && self.is_explained() { Tx::Delayed } else { Tx::Silent };
        let Some(local) = &self.local else {
            let listened = self.as_of.since(self.since);
            return if listened >= silence(self.interval()) { explained(true) } else { Tx::Unknown };
        };
        if local.at <= self.cut {
            Tx::Silent
        } else if self.as_of.since(local.at) >= silence(local.interval) {
            explained(local.priority > 0)
        } else if local.priority == 0 {
            Tx::Resigned
        } else if self.peers().any(|f| f.at > local.at && better(f, local)) {
            Tx::Yielded
        } else if self.ended_with_vip(local).is_some_and(|told| self.as_of >= told) {
            Tx::Silent
        } else {
            Tx::Transmitting
        }
    }

    /// Whether adverts that keepalived rejects account for our silence: each puts the next one of a
    /// master off by an interval. Nobody waits for adverts where the VIP is not set, nor where a peer
    /// rules: keepalived, if it lives, answers a worse peer at once and gives way to a better one.
    fn is_explained(&self) -> bool {
        let put_off =
            self.rejected_at.is_some_and(|at| at > self.cut && self.as_of.since(at) < silence(self.interval()));
        put_off && !self.lapsed && self.vip != Vip::Absent && !self.is_ruled()
    }

    /// Whether a peer that can have succeeded us has advertised for more than one of its intervals without
    /// an advert of ours; for two, if it did already when ours ended: its next one may be on the way.
    fn is_ruled(&self) -> bool {
        let ended = self.local.as_ref().map_or(Mono(0), |local| local.at);
        self.peers().any(|peer| {
            let patience = if peer.run_since > ended { peer.interval } else { peer.interval * 2 };
            peer.at > ended && self.as_of.since(peer.run_since.max(ended)) > patience && self.is_succeeded_by(peer)
        })
    }

    /// Our last advert, if nothing has ended our time as master but silence: no resignation, nor a better
    /// peer, after which any other may rightly be master.
    fn unended(&self) -> Option<&Advert> {
        let outdone = |local: &Advert| self.peers.iter().any(|peer| peer.at > local.at && better(peer, local));
        self.local.as_ref().filter(|local| local.priority > 0 && !outdone(local))
    }

    /// Whether a peer that goes on can have succeeded us by now; a better one at once.
    fn is_succeeded_by(&self, peer: &Advert) -> bool {
        self.unended().is_none_or(|ours| better(peer, ours) || self.as_of >= succeeded_from(ours, peer))
    }

    fn is_reflected(&self, advert: &Advert) -> bool {
        self.local.as_ref().is_some_and(|ours| is_reflection(ours, advert))
    }

    /// Adverts of ours that came back to us.
    pub fn reflected(&self) -> impl Iterator<Item = &Advert> {
        self.peers.iter().filter(|advert| self.is_reflected(advert))
    }

    /// The interval in which a peer's next advert is due. What it claims counts where keepalived would take
    /// it for the master; of one that is worse than we are, or than another one, what it keeps to.
    fn expected(&self, peer: &Advert) -> Duration {
        let outranked = match self.local.as_ref().filter(|local| local.priority > 0) {
            Some(local) => !better(peer, local),
            None => self.peers.iter().any(|other| better(other, peer)),
        };
        if outranked { kept_interval(peer, self.own_interval()) } else { peer.interval }
    }

    /// Peers that are there as master, by their expected intervals.
    pub fn masters(&self) -> impl Iterator<Item = &Advert> {
        self.peers().filter(|peer| self.as_of.since(peer.at) < silence(self.expected(peer)))
    }

    /// When it can be told that the VIP went and none of our adverts left after it; none when one did.
    fn ended_with_vip(&self, local: &Advert) -> Option<Mono> {
        let gone = self.vip_gone.filter(|gone| self.vip == Vip::Absent && local.at <= *gone + ORDER)?;
        Some(gone + self.settle.max(ORDER))
    }

    /// Peers that advertise as master now.
    pub fn peers(&self) -> impl Iterator<Item = &Advert> {
        self.peers.iter().filter(|advert| self.live(advert))
    }

    /// The best peer: W-rx. Of several adverts of one source it is the best.
    pub fn best_peer(&self) -> Option<&Advert> {
        self.peers().max_by(|a, b| rank(a, b))
    }

    /// A peer that is better than we are.
    pub fn better_peer(&self) -> Option<&Advert> {
        let local = self.local.as_ref()?;
        self.best_peer().filter(|peer| better(peer, local))
    }

    /// Whether a peer that can have succeeded us has been live for more than one of its intervals.
    pub fn foreign_established(&self) -> bool {
        self.peers().any(|peer| self.as_of.since(peer.run_since) > peer.interval && self.is_succeeded_by(peer))
    }

    /// A peer that advertises while we do, interleaved with us for longer than [`JOIN`]: not the short
    /// overlap of a preemption.
    pub fn contender(&self) -> Option<&Advert> {
        let local = self.local.as_ref().filter(|local| self.live(local))?;
        self.peers().find(|peer| overlap(local, peer) > JOIN)
    }

    /// The last sign of ours or of a peer that was master, and of the end of its time.
    pub fn last(&self) -> Option<&Advert> {
        let peers = self.peers.iter().filter(|advert| match advert.priority {
            0 => self.peers.iter().any(|master| self.ends(advert, master)),
            _ => !self.is_reflected(advert),
        });
        self.local.iter().chain(peers).max_by_key(|advert| advert.at)
    }

    /// Whether a resignation is that of a master which was not silent by then.
    fn ends(&self, resignation: &Advert, master: &Advert) -> bool {
        master.priority > 0
            && master.at <= resignation.at
            && resignation.at.since(master.at) < silence(self.expected(master))
            && resignation.is_same_host(master)
    }

    /// When the wire must be read next, so that no silence goes unnoticed.
    pub fn next_reading(&self) -> Option<Mono> {
        let mut due = None;
        let mut wake = |at: Mono| due = Some(due.map_or(at, |known: Mono| known.min(at)));
        for advert in self.local.iter().chain(&self.peers).filter(|advert| self.live(advert)) {
            wake(advert.at + silence(advert.interval));
        }
        let tx = self.tx();
        if let Some(rejected) = self.rejected_at.filter(|_| tx == Tx::Delayed) {
            wake(rejected + silence(self.interval()));
        }
        if let Some(told) = self.local.as_ref().and_then(|local| self.ended_with_vip(local))
            && tx == Tx::Transmitting
        {
            wake(told);
        }
        match &self.local {
            None if tx == Tx::Unknown => wake(self.since + silence(self.interval())),
            // Whoever goes on after a short loss of the interface says so within one and a half
            // intervals, but in the same run: the kernel side has nothing new to report.
            Some(local) if local.at <= self.cut && self.as_of < self.cut + silence(local.interval) => {
                wake(self.cut + silence(local.interval));
            }
            Some(local) if local.priority == 0 && tx == Tx::Resigned => {
                wake(local.at + silence(local.interval));
            }
            Some(local) if self.live(local) && self.peers().next().is_some() => {
                // Two masters: look once an interval whether they really go on side by side.
                wake(self.as_of + local.interval);
            }
            _ => {}
        }
        // A peer becomes established by going on, and is gone when what is expected of it does not come.
        let silent = self.unended().filter(|ours| !self.live(ours));
        for peer in self.peers() {
            let established = peer.run_since + peer.interval + Duration::from_millis(1);
            let succeeded = silent.map_or(established, |ours| succeeded_from(ours, peer));
            let over = peer.at + silence(self.expected(peer));
            for at in [established, succeeded, over] {
                if at > self.as_of {
                    wake(at);
                }
            }
        }
        due
    }

    /// Our adverts, for people.
    pub fn tx_evidence(&self, now: Mono) -> TxEvidence {
        TxEvidence {
            state: self.tx(),
            priority: self.local.as_ref().map(|local| local.priority),
            age_ms: self.local.as_ref().map(|local| millis(now.since(local.at))),
        }
    }
}

/// A foreign master, for people.
pub fn foreign_evidence(foreign: &Advert, now: Mono) -> ForeignEvidence {
    ForeignEvidence {
        address: foreign.source,
        mac: foreign.mac,
        vlan: foreign.vlan,
        priority: foreign.priority,
        interval_ms: millis(foreign.interval),
        age_ms: millis(now.since(foreign.at)),
    }
}

/// For how long two runs are known to have gone on side by side.
pub fn overlap(a: &Advert, b: &Advert) -> Duration {
    a.at.min(b.at).since(a.run_since.max(b.run_since))
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 9568 section 6.4.3: higher priority wins, then the higher primary address.
pub fn rank(a: &Advert, b: &Advert) -> Ordering {
    a.priority.cmp(&b.priority).then_with(|| match (a.source, b.source) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.cmp(&b),
        (IpAddr::V6(a), IpAddr::V6(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    })
}

fn better(a: &Advert, b: &Advert) -> bool {
    rank(a, b) == Ordering::Greater
}
