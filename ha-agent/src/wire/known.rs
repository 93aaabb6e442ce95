//! The foreign speakers of one watch that are read. Bookkeeping only.

use ha_agent_common::{ForeignKey, Speaker};

use super::translate::source;
use crate::core::crowd::{Standing, given_up};
use crate::core::time::Mono;

/// Speakers kept per watch.
const PLACES: usize = 64;
/// 1.5 centiseconds in nanoseconds: whoever is silent for 1.5 intervals is no master.
const SILENCE_NS_PER_CS: u64 = 15_000_000;

/// Who is kept, as it was when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Known {
    kept: Vec<(ForeignKey, Speaker)>,
}

/// What came of an offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// The speaker was not kept before, and is now.
    pub(super) new: bool,
    /// Someone who goes on advertising found no place.
    pub(super) left_out: bool,
}

impl Known {
    /// Offers a speaker. When there are too many, it is [`given_up`] who goes, as far as can be told
    /// at `now`; `again` reads one anew, since nobody tells when a speaker goes on as before.
    pub(super) fn offer(
        &mut self,
        key: ForeignKey,
        speaker: Speaker,
        now: Mono,
        again: impl Fn(&ForeignKey) -> Option<Speaker>,
    ) -> Offer {
        if let Some((_, known)) = self.kept.iter_mut().find(|(known, _)| *known == key) {
            *known = speaker;
            return Offer::default();
        }
        self.kept.push((key, speaker));
        let mut looks = 0;
        while self.kept.len() > PLACES {
            let crowd: Vec<_> = self.kept.iter().map(|one| (standing(one, now), Mono(one.1.run_since_ns))).collect();
            let Some(index) = given_up(&crowd) else { break };
            let (victim, _) = self.kept[index];
            if victim != key
                && looks < PLACES
                && let Some(speaker) = again(&victim)
            {
                looks += 1;
                self.kept[index].1 = speaker;
                if standing(&self.kept[index], now) != crowd[index].0 {
                    continue;
                }
            }
            self.kept.swap_remove(index);
            let left_out = !matches!(crowd[index].0, Standing::Silent(_));
            return Offer { new: victim != key, left_out };
        }
        Offer { new: true, left_out: false }
    }

    /// Reads all of them anew; those that are remembered no more are dropped.
    pub(super) fn refresh<E>(&mut self, read: impl Fn(&ForeignKey) -> Result<Option<Speaker>, E>) -> Result<(), E> {
        let mut result = Ok(());
        self.kept.retain_mut(|(key, speaker)| match read(key) {
            Ok(Some(now)) => {
                *speaker = now;
                true
            }
            Ok(None) => false,
            Err(error) => {
                result = Err(error);
                true
            }
        });
        result
    }

    pub(super) fn speakers(&self) -> impl Iterator<Item = &Speaker> {
        self.kept.iter().map(|(_, speaker)| speaker)
    }

    /// Whether somebody may have found no place.
    pub(super) fn is_full(&self) -> bool {
        self.kept.len() >= PLACES
    }

    pub(super) fn into_keys(self) -> impl Iterator<Item = ForeignKey> {
        self.kept.into_iter().map(|(key, _)| key)
    }
}

/// When the newest frame came that keepalived read and dropped. The program counts those whose source the kernel
/// does not take among them.
#[derive(Debug)]
pub(super) struct Rejected {
    /// The newest one that the program counted; 0: none.
    newest: u64,
    since: Mono,
    /// The newest of a source that the kernel takes, and of one that it does not, or not yet for all that is known.
    taken: Option<u64>,
    untaken: Option<u64>,
    /// Not every speaker is kept: whose the newest frame was cannot be told.
    pub(super) crowded: bool,
}

impl Rejected {
    /// In a watch that began at `since`.
    pub(super) fn new(newest: u64, since: Mono) -> Self {
        Self { newest, since, taken: None, untaken: None, crowded: false }
    }

    /// One who is kept and rejected.
    pub(super) fn found(&mut self, speaker: &Speaker, taken: bool) {
        let newest = if taken { &mut self.taken } else { &mut self.untaken };
        *newest = (*newest).max(Some(speaker.last_seen_ns));
    }

    /// The newest that counts. One of a speaker that is not kept does.
    pub(super) fn at(&self) -> Option<Mono> {
        let never_heard = !self.crowded && self.untaken >= Some(self.newest);
        let newest = Some(self.newest).filter(|newest| *newest >= self.since.0 && *newest > 0 && !never_heard);
        self.taken.max(newest).map(Mono)
    }
}

/// Whether a speaker goes on advertising.
pub(super) fn is_live(speaker: &Speaker, now: Mono) -> bool {
    let silence = u64::from(speaker.interval_cs) * SILENCE_NS_PER_CS;
    speaker.priority > 0 && now.0.saturating_sub(speaker.last_seen_ns) < silence
}

/// What a speaker is worth.
fn standing((key, speaker): &(ForeignKey, Speaker), now: Mono) -> Standing {
    let rank = (speaker.priority, source(speaker, key.family as u8));
    if !is_live(speaker, now) {
        Standing::Silent(Mono(speaker.last_seen_ns))
    } else if speaker.refused != 0 {
        Standing::Refused(rank)
    } else {
        Standing::Peer(rank)
    }
}

#[cfg(test)]
mod tests;
