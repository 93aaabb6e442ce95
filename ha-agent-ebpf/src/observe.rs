//! From a packet to maps and records.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_ANY},
    helpers::{bpf_ktime_get_ns, bpf_skb_load_bytes},
    maps::RingBuf,
};
use aya_log_ebpf::debug;
use ha_agent_common::frame::{self, ETH_LEN, Envelope, Link, Seen};
use ha_agent_common::judge::{self, Judgement, PeerKey};
use ha_agent_common::list::List;
use ha_agent_common::{
    BUDGET_BURST, BUDGET_REFILL_NS, Class, DeviceKey, FAMILY_V4, FAMILY_V6, ForeignKey, INGRESS, PIECE_BYTES, Piece,
    PieceHead, RECORD_FRAME, Record, Rules, Speaker, Watch, WatchKey, budget, counter, speaker,
};

use crate::maps::{
    ADVERT, Advert, DEVICES, DIGEST_KEY, FOREIGN, FOREIGN_EVENTS, LOCAL, LOCAL_EVENTS, PEERS, PIECES, WATCHES, count,
};
use crate::skb::{Ip, Skb};

/// Looks at one packet that may be VRRP. `how`: the direction, and 256 for IPv6.
///
/// A function of its own, so that the programs for links with and without a header share it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ha_packet(skb: *mut __sk_buff, base: u32, how: u32) -> u32 {
    let direction = how as u8;
    let packet = Ip { skb: Skb::from_raw(skb), base };
    let seen = ha_open(skb, base, how);
    if seen == Seen::Vrrp as u32 {
        if let Some(advert) = ADVERT.get_ptr_mut(0) {
            // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
            let advert = unsafe { &mut *advert };
            vrrp(&packet, advert, direction);
        }
    } else if seen == Seen::Piece as u32 && direction == INGRESS {
        ha_piece(skb, base, if how >> 8 == 0 { FAMILY_V4 } else { FAMILY_V6 } as u32);
    }
    seen
}

/// Reads the IP header into [`ADVERT`]; a [`Seen`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_open(skb: *mut __sk_buff, base: u32, how: u32) -> u32 {
    let Some(advert) = ADVERT.get_ptr_mut(0) else {
        return Seen::Other as u32;
    };
    // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
    let envelope = unsafe { &mut (*advert).envelope };
    let packet = Ip { skb: Skb::from_raw(skb), base };
    let arriving = how as u8 == INGRESS;
    let seen = if how >> 8 == 0 {
        frame::open_v4(&packet, envelope, arriving)
    } else {
        frame::open_v6(&packet, envelope, arriving)
    };
    seen as u32
}

/// Looks at one VRRP packet.
#[inline(always)]
fn vrrp(packet: &Ip, advert: &mut Advert, direction: u8) {
    let Advert { envelope, speaker, link } = advert;
    let envelope: &Envelope = envelope;
    count(counter::VRRP);
    let Some(header) = frame::header(packet, envelope) else {
        return;
    };
    let key = WatchKey {
        realm: packet.skb.realm(),
        ifindex: packet.skb.ifindex(),
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

    *speaker = Speaker::default();
    let frame = judge::Frame { packet, envelope, header };
    if direction == INGRESS {
        packet.skb.read_link(packet.base >= ETH_LEN, link);
        judge::read(&frame, link, speaker);
        let peer = if watch.rules.has(Rules::CHECK_PEERS) {
            // SAFETY: the agent replaces whole values; the copy is made here and now.
            unsafe { PEERS.get(PeerKey { watch: watch.id, address: envelope.src }) }.copied()
        } else {
            None
        };
        let judgement = judge::arriving(&frame, link, watch, peer, speaker);
        arrived(watch, speaker, envelope.family, judgement, now);
    } else {
        *link = Link::default();
        judge::read(&frame, link, speaker);
        let mut list = List::default();
        let judgement = judge::leaving(&frame, &packet.skb.sender(), speaker, &mut list);
        if judgement.class as u8 == Class::Ours as u8 {
            judge::learn(&frame, speaker, list.sum, watch);
            ours(watch, speaker, envelope.family, now);
        } else {
            refused(watch, speaker, envelope.family, judgement, direction, now);
        }
    }
}

/// An advert of ours.
#[inline(always)]
fn ours(watch: &mut Watch, new: &mut Speaker, family: u8, now: u64) {
    watch.ours += 1;
    judge::digest(DIGEST_KEY.load(), new);
    let Some(slot) = LOCAL.get_ptr_mut(watch.id) else {
        return;
    };
    // SAFETY: an array's values live as long as the program. A reader that gets half of an update
    // reads again.
    let slot = unsafe { &mut *slot };
    let kind = speaker::observe(slot, new, now);
    *slot = *new;
    if kind != 0 {
        if budget::take(&mut watch.local_tokens) {
            let about = About { kind, direction: 0, family, class: Class::Ours as u8, reason: 0 };
            send(watch, new, &about);
        } else {
            withhold(watch);
        }
    }
}

/// A frame that arrived.
#[inline(always)]
fn arrived(watch: &mut Watch, new: &mut Speaker, family: u8, judgement: Judgement, now: u64) {
    let peer = judgement.class as u8 == Class::Peer as u8;
    if peer {
        watch.peers += 1;
        if new.priority == 0 {
            speaker::resign(watch, new, now);
        }
    } else if judgement.class as u8 == Class::Rejected as u8 {
        count(counter::INVALID);
        watch.rejected += 1;
        watch.rejected_ns = now;
        watch.reason = judgement.reason;
        new.refused = judge::remembered(judgement.reason, &watch.rules, new);
    } else {
        refused(watch, new, family, judgement, INGRESS, now);
        return;
    }
    judge::digest(DIGEST_KEY.load(), new);
    let kind = remember(watch, new, family, peer, now);
    if kind != 0 {
        let about = About { kind, direction: INGRESS, family, class: judgement.class as u8, reason: judgement.reason };
        send(watch, new, &about);
    }
}

/// Remembers a speaker elsewhere. Returns the record to send, or 0.
///
/// A speaker that is not known yet is remembered only within the budget, so that a flood of sources
/// fills the map no faster than the ring buffer. Those whom keepalived rejects have a budget of their own.
#[inline(always)]
fn remember(watch: &mut Watch, new: &mut Speaker, family: u8, peer: bool, now: u64) -> u8 {
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

/// A frame that keepalived never hears, or that leaves and is not ours.
#[inline(always)]
fn refused(watch: &mut Watch, frame: &mut Speaker, family: u8, judgement: Judgement, direction: u8, now: u64) {
    count(counter::INVALID);
    watch.unheard += 1;
    watch.reason = judgement.reason;
    frame.last_seen_ns = now;
    frame.refused = judgement.reason;
    if budget::take(&mut watch.refused_tokens) {
        let about =
            About { kind: RECORD_FRAME, direction, family, class: judgement.class as u8, reason: judgement.reason };
        send(watch, frame, &about);
    } else {
        withhold(watch);
    }
}

/// What a record says beside the speaker.
struct About {
    kind: u8,
    direction: u8,
    family: u8,
    class: u8,
    reason: u8,
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
fn send(watch: &mut Watch, speaker: &Speaker, about: &About) {
    let (ring, lost): (&RingBuf, u32) = if about.direction == INGRESS {
        (&FOREIGN_EVENTS, counter::FOREIGN_RING_FULL)
    } else {
        (&LOCAL_EVENTS, counter::LOCAL_RING_FULL)
    };
    let Some(mut entry) = ring.reserve::<Record>(0) else {
        watch.withheld += 1;
        count(lost);
        ha_log_lost(watch.id);
        return;
    };
    entry.write(Record {
        speaker: *speaker,
        watch: watch.id,
        kind: about.kind,
        direction: about.direction,
        family: about.family,
        class: about.class,
        reason: about.reason,
        pad: [0; 7],
    });
    entry.submit(0);
}

/// Hands a packet that cannot be judged where it stands to the agent, within the interface's budget.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_piece(skb: *mut __sk_buff, base: u32, family: u32) -> u32 {
    let packet = Ip { skb: Skb::from_raw(skb), base };
    let key = DeviceKey { realm: packet.skb.realm(), ifindex: packet.skb.ifindex(), pad: 0 };
    let Some(device) = DEVICES.get_ptr_mut(key) else {
        return 0;
    };
    count(counter::VRRP);
    count(counter::FRAGMENT);
    // SAFETY: as for a watch.
    let device = unsafe { &mut *device };
    // SAFETY: the helper has no precondition.
    let now = unsafe { bpf_ktime_get_ns() };
    let grown = now.saturating_sub(device.refilled_ns) / BUDGET_REFILL_NS;
    if grown >= BUDGET_BURST as u64 {
        device.tokens = BUDGET_BURST;
        device.refilled_ns = now;
    } else if grown > 0 {
        device.tokens = device.tokens.saturating_add(grown as u32);
        device.refilled_ns += grown * BUDGET_REFILL_NS;
    }
    let length = packet.skb.len().saturating_sub(packet.base);
    if length == 0 || length > PIECE_BYTES as u32 || !budget::take(&mut device.tokens) {
        device.lost_ns = now;
        count(counter::WITHHELD);
        return 0;
    }
    let Some(mut entry) = PIECES.reserve::<Piece>(0) else {
        device.lost_ns = now;
        count(counter::FOREIGN_RING_FULL);
        return 0;
    };
    let mut link = Link::default();
    packet.skb.read_link(packet.base >= ETH_LEN, &mut link);
    let piece = entry.as_mut_ptr().cast::<PieceHead>();
    let head = PieceHead {
        realm: key.realm,
        seen_ns: now,
        ifindex: key.ifindex,
        length: length as u16,
        vlan: link.vlan,
        mac: link.mac,
        family: family as u8,
        host: link.host,
        to: link.to,
        pad: [0; 2],
    };
    // SAFETY: the reserved room is this run's own, and begins with the head.
    unsafe { piece.write(head) };
    let bytes = piece.wrapping_add(1).cast();
    // What is known of the length is hidden from the compiler, which would drop the bounds that the verifier
    // wants to see.
    let length = (core::hint::black_box(length).wrapping_sub(1) & (PIECE_BYTES as u32 - 1)) + 1;
    // SAFETY: behind the head is room for PIECE_BYTES bytes, and the length is no greater.
    let read = unsafe { bpf_skb_load_bytes(packet.skb.raw().cast(), packet.base, bytes, length) };
    if read == 0 {
        entry.submit(0);
    } else {
        device.lost_ns = now;
        entry.discard(0);
    }
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
