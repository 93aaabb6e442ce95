//! What the wire said: our own adverts (W-tx) and those of others (W-rx).

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use super::crowd::{Standing, given_up};
use super::evidence::{ForeignEvidence, Tx, TxEvidence};
use super::model::{Advert, Side};
use super::policy::{JOIN, Policy, silence};
use super::time::Mono;

/// Foreign speakers kept per router.
const MAX_FOREIGN: usize = 16;

/// The speakers of one router's VRID.
///
/// The kernel side reports only what is new; a speaker that goes on as before just has its record
/// refreshed there. So nobody may be called silent later than [`Speakers::as_of`], the moment of the
/// last reading.
#[derive(Clone, Debug)]
pub struct Speakers {
    configured: Duration,
    local: Option<Advert>,
    foreign: Vec<Advert>,
    since: Mono,
    as_of: Mono,
    /// Our adverts up to here count no more: the interface went down.
    cut: Mono,
}

impl Speakers {
    /// Nothing heard, listening from `since`; of the policy counts the interval until an advert tells
    /// better, and the password.
    pub fn new(since: Mono, policy: &Policy) -> Self {
        let configured = policy.advert_interval;
        Self { configured, local: None, foreign: Vec::new(), since, as_of: since, cut: Mono(0) }
    }

    /// Takes in one speaker's record; an older one than known changes nothing.
    pub fn hear(&mut self, advert: Advert) {
        match advert.side {
            Side::Local => {
                if self.local.as_ref().is_none_or(|known| known.at <= advert.at) {
                    self.local = Some(advert);
                }
            }
            Side::Foreign => {
                if let Some(known) = self.foreign.iter_mut().find(|known| known.source == advert.source) {
                    if known.at <= advert.at {
                        *known = advert;
                    }
                } else {
                    self.foreign.push(advert);
                    self.give_up();
                }
            }
        }
    }

    /// Keeps no more than [`MAX_FOREIGN`].
    fn give_up(&mut self) {
        if self.foreign.len() > MAX_FOREIGN {
            let crowd: Vec<_> = self.foreign.iter().map(|known| (self.standing(known), known.run_since)).collect();
            if let Some(index) = given_up(&crowd) {
                self.foreign.swap_remove(index);
            }
        }
    }

    fn standing(&self, advert: &Advert) -> Standing {
        let rank = (advert.priority, advert.source);
        if !self.live(advert) {
            Standing::Silent(advert.at)
        } else if advert.refused.is_some() {
            Standing::Refused(rank)
        } else {
            Standing::Peer(rank)
        }
    }

    /// Takes in a reading of all speakers.
    pub fn read(&mut self, speakers: Vec<Advert>, as_of: Mono) {
        for advert in speakers {
            self.hear(advert);
        }
        self.as_of = self.as_of.max(as_of);
    }

    /// The policy changed.
    pub fn configure(&mut self, policy: &Policy) {
        self.configured = policy.advert_interval;
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

    /// Every foreign speaker remembered.
    pub fn foreign(&self) -> impl Iterator<Item = &Advert> {
        self.foreign.iter()
    }

    /// The interval in force: ours if we ever sent, else a VRRPv3 master's (backups adopt it, RFC 9568
    /// section 6.4.2), else the configured one. A VRRPv2 advert with another interval tells nothing:
    /// keepalived drops it, and anyone could stretch our patience with it.
    pub fn interval(&self) -> Duration {
        let adopted = self.foreign.iter().filter(|advert| advert.version == 3 && advert.priority > 0);
        let heard = self.local.as_ref().or_else(|| adopted.max_by_key(|advert| advert.at));
        heard.map_or(self.configured, |advert| advert.interval).max(Duration::from_millis(10))
    }

    /// The interval that adverts of our own virtual router carry as far as we can know.
    pub fn own_interval(&self) -> Duration {
        self.local.as_ref().map_or(self.configured, |local| local.interval)
    }

    /// Whether a speaker advertises as master: not resigned, and not silent as of the last reading.
    pub fn live(&self, advert: &Advert) -> bool {
        let cut = advert.side == Side::Local && advert.at <= self.cut;
        !cut && advert.priority > 0 && self.as_of.since(advert.at) < silence(advert.interval)
    }

    /// W-tx.
    pub fn tx(&self) -> Tx {
        let Some(local) = &self.local else {
            let listened = self.as_of.since(self.since);
            return if listened >= silence(self.interval()) { Tx::Silent } else { Tx::Unknown };
        };
        if local.at <= self.cut || self.as_of.since(local.at) >= silence(local.interval) {
            Tx::Silent
        } else if local.priority == 0 {
            Tx::Resigned
        } else if self.competitors().any(|f| f.at > local.at && better(f, local)) {
            Tx::Yielded
        } else {
            Tx::Transmitting
        }
    }

    /// Foreign masters of our virtual router that advertise now, also those whose interval our
    /// keepalived does not accept.
    pub fn claimants(&self) -> impl Iterator<Item = &Advert> {
        self.foreign.iter().filter(|advert| self.live(advert) && self.kin(advert))
    }

    /// Those that our keepalived listens to.
    pub fn competitors(&self) -> impl Iterator<Item = &Advert> {
        self.claimants().filter(|advert| self.is_accepted(advert))
    }

    /// Whether our keepalived accepts the interval of an advert.
    fn is_accepted(&self, advert: &Advert) -> bool {
        advert.version == 3 || advert.interval == self.own_interval()
    }

    /// The best claimant.
    pub fn best_claimant(&self) -> Option<&Advert> {
        self.claimants().max_by(|a, b| rank(a, b))
    }

    /// The best competitor: W-rx.
    pub fn best_competitor(&self) -> Option<&Advert> {
        self.competitors().max_by(|a, b| rank(a, b))
    }

    /// A competitor that is better than we are.
    pub fn better_competitor(&self) -> Option<&Advert> {
        let local = self.local.as_ref()?;
        self.best_competitor().filter(|foreign| better(foreign, local))
    }

    /// Whether a foreign master has been live for more than one of its intervals; also one that our
    /// keepalived does not listen to, because of its interval: it rules all the same where we are silent.
    pub fn foreign_established(&self) -> bool {
        self.claimants().any(|f| self.as_of.since(f.run_since) > f.interval)
    }

    /// Whether keepalived takes an advert.
    pub fn kin(&self, advert: &Advert) -> bool {
        advert.refused.is_none()
    }

    /// A competitor that advertises while we do, interleaved with us for longer than [`JOIN`]: not
    /// the short overlap of a preemption.
    pub fn contender(&self) -> Option<&Advert> {
        let local = self.local.as_ref().filter(|local| self.live(local))?;
        self.claimants().find(|foreign| {
            let begin = local.run_since.max(foreign.run_since);
            local.at.min(foreign.at).since(begin) > JOIN
        })
    }

    /// The last sign of any speaker, resignations included.
    pub fn last(&self) -> Option<&Advert> {
        self.local.iter().chain(&self.foreign).max_by_key(|advert| advert.at)
    }

    /// When the wire must be read next, so that no silence goes unnoticed.
    pub fn next_reading(&self) -> Option<Mono> {
        let mut due = None;
        let mut wake = |at: Mono| due = Some(due.map_or(at, |known: Mono| known.min(at)));
        for advert in self.local.iter().chain(&self.foreign).filter(|advert| self.live(advert)) {
            wake(advert.at + silence(advert.interval));
        }
        match &self.local {
            None if self.tx() == Tx::Unknown => wake(self.since + silence(self.interval())),
            // Whoever goes on after a short loss of the interface says so within one and a half
            // intervals, but in the same run: the kernel side has nothing new to report.
            Some(local) if local.at <= self.cut && self.as_of < self.cut + silence(local.interval) => {
                wake(self.cut + silence(local.interval));
            }
            Some(local) if local.priority == 0 && self.tx() == Tx::Resigned => {
                wake(local.at + silence(local.interval));
            }
            Some(local) if self.live(local) && self.competitors().next().is_some() => {
                // Two masters: look once an interval whether they really go on side by side.
                wake(self.as_of + local.interval);
            }
            _ => {}
        }
        // A foreign master becomes established by going on.
        for foreign in self.claimants() {
            let at = foreign.run_since + foreign.interval + Duration::from_millis(1);
            if at > self.as_of {
                wake(at);
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

    /// The best live foreign master, or else the best stranger on our VRID, for people.
    pub fn foreign_evidence(&self, now: Mono) -> Option<ForeignEvidence> {
        let live = self.foreign.iter().filter(|advert| self.live(advert));
        self.best_competitor().or_else(|| live.max_by(|a, b| rank(a, b))).map(|foreign| ForeignEvidence {
            address: foreign.source,
            mac: foreign.mac,
            vlan: foreign.vlan,
            priority: foreign.priority,
            interval_ms: millis(foreign.interval),
            age_ms: millis(now.since(foreign.at)),
        })
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 9568 section 6.4.3: higher priority wins, then the higher primary address.
fn rank(a: &Advert, b: &Advert) -> Ordering {
    a.priority.cmp(&b.priority).then_with(|| match (a.source, b.source) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.cmp(&b),
        (IpAddr::V6(a), IpAddr::V6(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    })
}

fn better(a: &Advert, b: &Advert) -> bool {
    rank(a, b) == Ordering::Greater
}
