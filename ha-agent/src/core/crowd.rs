//! Whom to give up when more speak for one VRID than can be kept.

use std::net::IpAddr;

use super::time::Mono;

/// By which of two masters the other one yields: priority, then address (RFC 9568 section 6.4.3).
pub type Rank = (u8, IpAddr);

/// How much depends on a foreign speaker; the greater one is worth more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Advertises no more. The newest advert.
    Silent(Mono),
    /// Advertises, but keepalived drops it.
    Refused(Rank),
    /// keepalived takes what it says.
    Peer(Rank),
}

impl Standing {
    /// What none of a higher one is ever given up for.
    fn class(self) -> u8 {
        match self {
            Self::Silent(_) => 0,
            Self::Refused(_) => 1,
            Self::Peer(_) => 2,
        }
    }
}

/// Who of a crowd is given up: standing, and begin of the run. None of an empty one.
///
/// It is one of the lowest class that is there; of the silent the one that has been silent for longest.
/// Of those that advertise, the half that has gone on for longest stays: whatever a newcomer says of
/// itself, it pushes out nobody who was there before the crowd. Of the other half the lowest rank goes:
/// a better master is kept from its first advert on, however long the others have gone on.
pub fn given_up(crowd: &[(Standing, Mono)]) -> Option<usize> {
    let lowest = crowd.iter().map(|(standing, _)| standing.class()).min()?;
    let mut last: Vec<usize> = (0..crowd.len()).filter(|index| crowd[*index].0.class() == lowest).collect();
    if !matches!(crowd[last[0]].0, Standing::Silent(_)) {
        last.sort_unstable_by_key(|index| (crowd[*index].1, *index));
        last.drain(..last.len() / 2);
    }
    last.into_iter().min_by_key(|index| crowd[*index].0)
}
