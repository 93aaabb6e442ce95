//! What a peer's adverts are worth beside ours: whether it can have succeeded us, when its next one is due, and
//! whether it is an echo of our own.

use std::time::Duration;

use super::model::{Advert, Side};
use super::policy::silence;
use super::time::Mono;

/// Skew_Time of VRRPv2 is a part of this (RFC 3768 section 6.1); of VRRPv3 it is one of the interval.
const SKEW_V2: Duration = Duration::from_secs(1);

/// How long a backup like `peer` waits for the next of our adverts, which come every `interval`:
/// Master_Down_Interval of RFC 9568 section 6.1.
fn master_down(peer: &Advert, interval: Duration) -> Duration {
    let whole = if peer.version == 2 { SKEW_V2 } else { interval };
    interval * 3 + whole * (256 - u32::from(peer.priority)) / 256
}

/// From when on a worse peer that goes on can be our successor, if `ours` was our last advert.
///
/// A backup begins when its master-down interval is over; an interval earlier if it missed our last advert, or
/// follows another instance of its group. A peer that began before did not succeed us: it spoke beside us, and
/// our keepalived may have paused. After twice that time nobody who lives has paused.
pub fn succeeded_from(ours: &Advert, peer: &Advert) -> Mono {
    let wait = master_down(peer, ours.interval);
    let over = ours.at + wait;
    if peer.run_since + ours.interval >= over { over } else { over + wait }
}

/// The interval that a speaker keeps to: no more than it claims, and than it was heard to keep, or `ours`.
pub fn kept_interval(speaker: &Advert, ours: Duration) -> Duration {
    let gaps = u32::try_from(speaker.run_adverts.saturating_sub(1)).unwrap_or(u32::MAX);
    let gap = speaker.at.since(speaker.run_since).checked_div(gaps).unwrap_or_default();
    speaker.interval.min(ours.max(gap + gap / 8))
}

/// Whether what arrived is an advert of ours that the network reflects: from our own address while we send, and no
/// greater than ours. A greater one keepalived gives way to.
pub fn is_reflection(ours: &Advert, advert: &Advert) -> bool {
    advert.side == Side::Foreign
        && advert.source == ours.source
        && advert.at < ours.at + silence(ours.interval)
        && (advert.at <= ours.at || advert.priority <= ours.priority)
}

#[cfg(test)]
mod tests;
