//! Whom to give up when more speak for one VRID than can be kept.

use std::net::IpAddr;

use super::time::Mono;

/// By which of two masters the other one yields: priority, then address (RFC 9568 section 6.4.3).
pub type Rank = (u8, IpAddr);

/// How much depends on a foreign speaker; the greater one is worth more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Advertises no more, or nobody hears it. The newest advert.
    Silent(Mono),
    /// Advertises another virtual router than ours: keepalived rejects it.
    Stranger(Rank),
    /// Advertises ours, but not in our interval: keepalived drops it.
    Claimant(Rank),
    /// keepalived listens to it.
    Competitor(Rank),
}

/// Who of a crowd is given up: standing, and begin of the run. None of an empty one.
///
/// Half of the places are for those that have gone on for longest: whatever a newcomer says of itself,
/// it pushes out nobody who was there before the crowd. The other places go by standing: a better
/// master is kept from its first advert on, however long the others have gone on.
pub fn given_up(crowd: &[(Standing, Mono)]) -> Option<usize> {
    let begun = |index: usize| (crowd[index].1, index);
    let goes_on = |index: &usize| !matches!(crowd[*index].0, Standing::Silent(_));
    let mut steady: Vec<usize> = (0..crowd.len()).filter(goes_on).collect();
    let places = crowd.len() / 2;
    if steady.len() > places {
        steady.select_nth_unstable_by_key(places, |index| begun(*index));
        let first_without = begun(steady[places]);
        (0..crowd.len())
            .filter(|index| !goes_on(index) || begun(*index) >= first_without)
            .min_by_key(|index| crowd[*index].0)
    } else {
        (0..crowd.len()).min_by_key(|index| crowd[*index].0)
    }
}
