//! Who advertises on our VRID and is rejected by keepalived. They name things; no verdict looks at them.

use std::time::Duration;

use super::crowd::{Standing, given_up};
use super::model::Advert;
use super::policy::{FORGED_QUIET, silence};
use super::time::Mono;

/// Refused speakers kept per router.
const MAX_REFUSED: usize = 16;

/// The refused speakers of one router's VRID. They have a memory and readings of their own, so that
/// they neither push out a peer nor choose the moments at which peers are compared with us.
#[derive(Clone, Debug)]
pub struct Refused {
    known: Vec<Advert>,
    as_of: Mono,
    /// Our own advert interval.
    ours: Duration,
}

impl Refused {
    /// Nothing heard, listening from `since`; our adverts come every `ours`.
    pub fn new(since: Mono, ours: Duration) -> Self {
        Self { known: Vec::new(), as_of: since, ours }
    }

    /// Our adverts come every `ours` from now on.
    pub fn compare_with(&mut self, ours: Duration) {
        self.ours = ours;
    }

    /// Takes in one speaker's record; an older one than known changes nothing.
    pub fn hear(&mut self, advert: Advert) {
        if let Some(known) = self.known.iter_mut().find(|known| known.is_same_speaker(&advert)) {
            if known.at <= advert.at {
                *known = advert;
            }
            return;
        }
        self.known.push(advert);
        if self.known.len() > MAX_REFUSED {
            let crowd: Vec<_> = self.known.iter().map(|known| (self.standing(known), known.run_since)).collect();
            if let Some(index) = given_up(&crowd) {
                self.known.swap_remove(index);
            }
        }
    }

    fn standing(&self, advert: &Advert) -> Standing {
        if self.is_live(advert) {
            Standing::Refused((advert.priority, advert.source))
        } else {
            Standing::Silent(advert.at)
        }
    }

    /// Takes in a reading.
    pub fn read(&mut self, speakers: impl IntoIterator<Item = Advert>, as_of: Mono) {
        for advert in speakers {
            self.hear(advert);
        }
        self.as_of = self.as_of.max(as_of);
    }

    /// The moment of the last reading.
    pub fn as_of(&self) -> Mono {
        self.as_of
    }

    /// Those that advertise now.
    pub fn live(&self) -> impl Iterator<Item = &Advert> {
        self.known.iter().filter(|advert| self.is_live(advert))
    }

    fn is_live(&self, advert: &Advert) -> bool {
        advert.priority > 0 && self.as_of.since(advert.at) < self.patience(advert) && !advert.has_resigned(&self.known)
    }

    /// How long nothing may come until a speaker is silent. The interval that a single advert claims is
    /// no reason to name it for minutes, nor for no time at all.
    fn patience(&self, advert: &Advert) -> Duration {
        let claimed = if advert.run_adverts > 1 { advert.interval } else { advert.interval.min(FORGED_QUIET) };
        silence(claimed.max(self.ours))
    }

    /// When to read next, so that nobody is named for longer than it advertises.
    pub fn next_reading(&self) -> Option<Mono> {
        self.live().map(|advert| advert.at + self.patience(advert)).min()
    }
}
