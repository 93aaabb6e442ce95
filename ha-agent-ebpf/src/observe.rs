//! From a frame to maps and records.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_ktime_get_ns, maps::RingBuf, programs::TcContext};
use aya_log_ebpf::debug;
use ha_agent_common::{
    ForeignKey, INGRESS, LAYOUT_VERSION, RECORD_INVALID, Record, Speaker, Watch, WatchKey, budget, counter,
    frame::{self, Envelope, Seen},
    speaker,
};

use crate::{
    maps::{FOREIGN, FOREIGN_EVENTS, LAYOUT_1, LOCAL, LOCAL_EVENTS, SPEAKER, WATCHES, count},
    skb::{First, Frame},
};

/// Looks at one frame.
#[inline(always)]
pub(crate) fn frame(ctx: &TcContext, direction: u8) {
    if LAYOUT_1.load() != LAYOUT_VERSION {
        return;
    }
    count(counter::FRAMES);
    let packet = Frame::new(ctx);
    let mut envelope = Envelope::default();
    let seen = match packet.first_look() {
        First::Other => return,
        First::Tagged => {
            count(counter::VRRP);
            count(counter::TAGGED);
            return;
        }
        First::V4 => frame::open_v4(&packet, &mut envelope),
        First::V6 => frame::open_v6(&packet, &mut envelope),
    };
    match seen {
        Seen::Other => return,
        Seen::Fragment => {
            count(counter::VRRP);
            count(counter::FRAGMENT);
            return;
        }
        Seen::Vrrp => {}
    }
    if direction == INGRESS && packet.looped_back() {
        return;
    }
    count(counter::VRRP);
    vrrp(&packet, &envelope, direction);
}

/// Looks at one VRRP frame.
#[inline(always)]
fn vrrp(packet: &Frame, envelope: &Envelope, direction: u8) {
    let Some(header) = frame::header(packet, envelope) else {
        return;
    };
    let key = WatchKey {
        realm: packet.realm(),
        ifindex: packet.ifindex(),
        vrid: header[1],
        family: envelope.family,
        pad: [0; 2],
    };
    let Some(watch) = WATCHES.get_ptr_mut(key) else {
        count(counter::UNKNOWN_VRID);
        return;
    };
    // SAFETY: a value of a map that is not preallocated lives until an RCU grace period after its
    // removal, so for the whole run. Two processors may write the same budget or count at once:
    // either may lose one step, which both bear.
    let watch = unsafe { &mut *watch };
    // SAFETY: the helper has no precondition.
    let now = unsafe { bpf_ktime_get_ns() };
    budget::refill(watch, now);

    let Some(speaker) = SPEAKER.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
    let speaker = unsafe { &mut *speaker };
    *speaker = Speaker::default();
    let invalid = frame::judge(packet, envelope, &header, speaker);
    let about = About { watch: watch.id, direction, family: envelope.family, ttl: envelope.ttl, invalid };
    let kind = if invalid != 0 {
        count(counter::INVALID);
        watch.invalid_frames += 1;
        speaker.last_seen_ns = now;
        if budget::take(&mut watch.invalid_tokens) { RECORD_INVALID } else { withhold(watch) }
    } else if direction == INGRESS {
        foreign(watch, speaker, &about, now)
    } else {
        local(watch, speaker, &about, now)
    };
    if kind != 0 {
        send(watch, speaker, &about, kind);
    }
}

/// What a record says beside the speaker.
struct About {
    watch: u32,
    direction: u8,
    family: u8,
    ttl: u8,
    invalid: u8,
}

/// A valid advert that leaves. Returns the record to send, or 0.
#[inline(always)]
fn local(watch: &mut Watch, new: &mut Speaker, about: &About, now: u64) -> u8 {
    watch.local_adverts += 1;
    let Some(slot) = LOCAL.get_ptr_mut(about.watch) else {
        return 0;
    };
    // SAFETY: an array's values live as long as the program. A reader that gets half of an update
    // reads again.
    let slot = unsafe { &mut *slot };
    let kind = speaker::observe(slot, new, now);
    *slot = *new;
    if kind == 0 || budget::take(&mut watch.local_tokens) { kind } else { withhold(watch) }
}

/// A valid advert that arrives. Returns the record to send, or 0.
///
/// A speaker that is not known yet is remembered only within the budget, so that a flood of sources
/// fills the map no faster than the ring buffer.
#[inline(always)]
fn foreign(watch: &mut Watch, new: &mut Speaker, about: &About, now: u64) -> u8 {
    watch.foreign_adverts += 1;
    let key = ForeignKey { watch: about.watch, family: about.family as u32, src: new.src };
    let slot = FOREIGN.get_ptr_mut(key);
    if let Some(slot) = slot {
        // SAFETY: an LRU value is preallocated and never freed while the program runs; if it is
        // evicted meanwhile, one speaker's last advert is lost with it.
        let slot = unsafe { &mut *slot };
        let kind = speaker::observe(slot, new, now);
        *slot = *new;
        if kind == 0 || budget::take(&mut watch.foreign_tokens) { kind } else { withhold(watch) }
    } else if budget::take(&mut watch.foreign_tokens) {
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

/// Counts a record that the budget does not allow; 0, for none to send.
#[inline(always)]
fn withhold(watch: &mut Watch) -> u8 {
    watch.withheld += 1;
    count(counter::WITHHELD);
    0
}

/// Sends a record to the ring buffer of its direction.
#[inline(always)]
fn send(watch: &mut Watch, speaker: &Speaker, about: &About, kind: u8) {
    let (ring, lost): (&RingBuf, u32) = if about.direction == INGRESS {
        (&FOREIGN_EVENTS, counter::FOREIGN_RING_FULL)
    } else {
        (&LOCAL_EVENTS, counter::LOCAL_RING_FULL)
    };
    let Some(mut entry) = ring.reserve::<Record>(0) else {
        watch.withheld += 1;
        count(lost);
        ha_log_lost(about.watch);
        return;
    };
    entry.write(Record {
        speaker: *speaker,
        watch: about.watch,
        kind,
        direction: about.direction,
        family: about.family,
        invalid: about.invalid,
        ttl: about.ttl,
        pad: [0; 7],
    });
    entry.submit(0);
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
