//! What an advert adds to what is known of its speaker: the run it belongs to, and whether it is news.

use crate::frame::word;
use crate::{RECORD_CHANGED, RECORD_FIRST, RECORD_RESUMED, Speaker, Watch};

/// 1.5 centiseconds in nanoseconds: a run bears a gap of 1.5 intervals.
const GAP_NS_PER_CS: u64 = 15_000_000;

/// Completes `new`, which holds what the frame itself says, with what `old` knew of the speaker.
///
/// Returns `RECORD_…`, or 0 when the advert says nothing new. A run ends with a gap of more than
/// 1.5 of the intervals that the advert before the gap carried (at least one centisecond, for the
/// interval 0 that RFC 9568 forbids), or with an advert of priority 0, which still belongs to it.
#[inline(always)]
pub fn observe(old: &Speaker, new: &mut Speaker, now_ns: u64) -> u8 {
    new.last_seen_ns = now_ns;
    if old.last_seen_ns == 0 {
        new.run_since_ns = now_ns;
        new.adverts = 1;
        new.run_adverts = 1;
        return RECORD_FIRST;
    }
    new.adverts = old.adverts.wrapping_add(1);
    let interval = if old.interval_cs == 0 { 1 } else { u64::from(old.interval_cs) };
    let gap = now_ns.saturating_sub(old.last_seen_ns);
    let left = old.priority == 0 && new.priority != 0;
    if left || gap > interval * GAP_NS_PER_CS {
        new.run_since_ns = now_ns;
        new.run_adverts = 1;
        return RECORD_RESUMED;
    }
    new.run_since_ns = old.run_since_ns;
    new.run_adverts = old.run_adverts.wrapping_add(1);
    let differs = old.content != new.content
        || old.sender != new.sender
        || u128::from_ne_bytes(old.src) != u128::from_ne_bytes(new.src);
    // Who resigns again has been master again, under another entry.
    if differs || new.priority == 0 { RECORD_CHANGED } else { 0 }
}

/// Remembers that a peer has resigned.
#[inline(always)]
pub fn resign(watch: &mut Watch, speaker: &Speaker, now_ns: u64) {
    watch.resigned_ns = now_ns;
    watch.resigned_src = speaker.src;
    watch.resigned_mac = speaker.mac;
}

/// Whether a peer has resigned since this advert of its: the advert's run has ended.
#[inline(always)]
pub fn has_resigned(watch: &Watch, speaker: &Speaker) -> bool {
    let (a, b) = (&watch.resigned_mac, &speaker.mac);
    watch.resigned_ns > speaker.last_seen_ns
        && word(&watch.resigned_src, 0) == word(&speaker.src, 0)
        && word(&watch.resigned_src, 8) == word(&speaker.src, 8)
        && (a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] && a[5] == b[5])
}

#[cfg(test)]
mod tests;
