//! Packets that cannot be judged where they stand: fragments, and what is behind extension headers.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_ktime_get_ns, bpf_skb_load_bytes},
};
use ha_agent_common::frame::{ETH_LEN, Link};
use ha_agent_common::{BUDGET_BURST, BUDGET_REFILL_NS, DeviceKey, PIECE_BYTES, Piece, PieceHead, budget, counter};

use crate::maps::{DEVICES, PIECES, count};
use crate::skb::{Ip, Skb};

/// Hands a packet that cannot be judged where it stands to the agent, within the interface's budget.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ha_piece(skb: *mut __sk_buff, base: u32, family: u32) -> u32 {
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
