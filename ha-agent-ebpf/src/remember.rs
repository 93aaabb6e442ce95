//! From a judgement to what is remembered of a speaker, and to records.

use aya_ebpf::{bindings::BPF_ANY, maps::RingBuf};
use aya_log_ebpf::debug;
use ha_agent_common::judge::{self, Judgement};
use ha_agent_common::{Class, ForeignKey, INGRESS, RECORD_FRAME, Reason, Record, Speaker, Watch, budget, counter, speaker};

use crate::maps::{ADVERT, Advert, DIGEST_KEY, FOREIGN, FOREIGN_EVENTS, LOCAL, LOCAL_EVENTS, count};

/// What was judged, in one word: class, reason, direction, and the kind of the record about it.
#[derive(Clone, Copy)]
pub(crate) struct Said(pub(crate) u32);

impl Said {
    #[inline(always)]
    pub(crate) fn new(judgement: Judgement, direction: u8) -> Self {
        Self(ha_unknown(judgement.class as u32 | (judgement.reason as u32) << 8 | (direction as u32) << 16))
    }

    #[inline(always)]
    fn is(self, class: Class) -> bool {
        self.class() == class as u8
    }

    #[inline(always)]
    fn class(self) -> u8 {
        self.0 as u8
    }

    #[inline(always)]
    fn reason(self) -> u8 {
        (self.0 >> 8) as u8
    }

    #[inline(always)]
    fn direction(self) -> u8 {
        (self.0 >> 16) as u8
    }

    #[inline(always)]
    fn kind(self) -> u8 {
        (self.0 >> 24) as u8
    }
}

/// Remembers the advert in [`ADVERT`] as it was judged, and sends a record where it is news.
#[inline(always)]
pub(crate) fn remember(advert: &mut Advert, watch: &mut Watch, said: Said) {
    let Advert { key, speaker, now, .. } = advert;
    let kind = if said.is(Class::Ours) {
        ours(watch, speaker, *now)
    } else if said.is(Class::Unheard) || said.direction() != INGRESS {
        refused(watch, speaker, said.reason(), *now)
    } else {
        arrived(watch, speaker, said, key.family, *now)
    };
    if kind != 0 && ha_send(said.0 | (kind as u32) << 24) == 0 {
        watch.withheld += 1;
    }
}

/// The same number, of which the verifier then knows nothing: what comes next it looks at once, not once for each
/// reason that may have been found.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ha_unknown(number: u32) -> u32 {
    core::hint::black_box(number)
}

/// An advert of ours. Returns the record to send, or 0.
#[inline(always)]
fn ours(watch: &mut Watch, new: &mut Speaker, now: u64) -> u8 {
    watch.ours += 1;
    judge::digest(DIGEST_KEY.load(), new);
    let Some(slot) = LOCAL.get_ptr_mut(watch.id) else {
        return 0;
    };
    // SAFETY: an array's values live as long as the program. A reader that gets half of an update
    // reads again.
    let slot = unsafe { &mut *slot };
    let kind = speaker::observe(slot, new, now);
    *slot = *new;
    if kind == 0 || budget::take(&mut watch.local_tokens) { kind } else { withhold(watch) }
}

/// A frame that arrived at keepalived. Returns the record to send, or 0.
#[inline(always)]
fn arrived(watch: &mut Watch, new: &mut Speaker, said: Said, family: u8, now: u64) -> u8 {
    let peer = said.is(Class::Peer);
    if peer {
        watch.peers += 1;
        if new.priority == 0 {
            speaker::resign(watch, new, now);
        }
    } else {
        count(counter::INVALID);
        watch.rejected += 1;
        watch.rejected_ns = now;
        watch.reason = said.reason();
        new.refused = judge::remembered(said.reason(), &watch.rules, new);
    }
    judge::digest(DIGEST_KEY.load(), new);
    elsewhere(watch, new, family, peer, now)
}

/// Remembers a speaker elsewhere. Returns the record to send, or 0.
///
/// A speaker that is not known yet is remembered only within the budget, so that a flood of sources
/// fills the map no faster than the ring buffer. Those whom keepalived rejects have a budget of their own.
#[inline(always)]
fn elsewhere(watch: &mut Watch, new: &mut Speaker, family: u8, peer: bool, now: u64) -> u8 {
    let key = ForeignKey::of(watch.id, family, new);
    let slot = FOREIGN.get_ptr_mut(key);
    if let Some(slot) = slot {
        // SAFETY: an LRU value is preallocated and never freed while the program runs; if it is
        // evicted meanwhile, one speaker's last advert is lost with it.
        let slot = unsafe { &mut *slot };
        if peer && speaker::has_resigned(watch, slot) {
            slot.priority = 0;
        }
        let tokens = if peer { &mut watch.foreign_tokens } else { &mut watch.refused_tokens };
        let kind = speaker::observe(slot, new, now);
        *slot = *new;
        if kind == 0 || budget::take(tokens) { kind } else { withhold(watch) }
    } else if budget::take(if peer { &mut watch.foreign_tokens } else { &mut watch.refused_tokens }) {
        let kind = speaker::observe(&Speaker::default(), new, now);
        // By reference: a copy would be one on the stack.
        let value: &Speaker = new;
        if FOREIGN.insert(key, value, BPF_ANY as u64).is_err() {
            count(counter::FOREIGN_NOT_STORED);
        }
        kind
    } else {
        count(counter::FOREIGN_NOT_STORED);
        withhold(watch)
    }
}

/// A frame that keepalived never hears, or that leaves and is not ours. Returns the record to send, or 0.
#[inline(always)]
fn refused(watch: &mut Watch, frame: &mut Speaker, reason: u8, now: u64) -> u8 {
    count(counter::INVALID);
    watch.unheard += 1;
    watch.reason = reason;
    frame.last_seen_ns = now;
    frame.refused = reason;
    let tokens = if reason == Reason::LocalSource as u8 { &mut watch.source_tokens } else { &mut watch.refused_tokens };
    if budget::take(tokens) { RECORD_FRAME } else { withhold(watch) }
}

/// Counts a record that the budget does not allow; 0, for none to send.
#[inline(always)]
fn withhold(watch: &mut Watch) -> u8 {
    watch.withheld += 1;
    count(counter::WITHHELD);
    0
}

/// Sends a record about the advert in [`ADVERT`] to the ring buffer of its direction; 0 when it is full.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_send(said: u32) -> u32 {
    let said = Said(said);
    let Some(advert) = ADVERT.get_ptr(0) else {
        return 0;
    };
    // SAFETY: this processor's own slot, written before the call.
    let Advert { key, speaker, watch, .. } = unsafe { &*advert };
    let (ring, lost): (&RingBuf, u32) = if said.direction() == INGRESS {
        (&FOREIGN_EVENTS, counter::FOREIGN_RING_FULL)
    } else {
        (&LOCAL_EVENTS, counter::LOCAL_RING_FULL)
    };
    let Some(mut entry) = ring.reserve::<Record>(0) else {
        count(lost);
        ha_log_lost(*watch);
        return 0;
    };
    entry.write(Record {
        speaker: *speaker,
        watch: *watch,
        kind: said.kind(),
        direction: said.direction(),
        family: key.family,
        class: said.class(),
        reason: said.reason(),
        pad: [0; 7],
    });
    entry.submit(0);
    1
}

/// Logs that a record was lost: rare, since a record needs a token first.
///
/// A function of its own with a plain name: the code that aya-log makes is large, and a mangled name
/// would carry a hash of the folder it was built in into the object.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_log_lost(watch: u32) -> u32 {
    debug!((), "ring buffer full, a record of watch {} is lost", watch);
    watch
}
