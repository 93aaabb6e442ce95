//! From a packet to a judgement.
//!
//! Each step is a function with global linkage, which the verifier looks at once, whatever leads there, and of
//! whose answer it knows nothing. Before Linux 6.3 it tells all values apart in a program that has functions: each
//! reason, if it were told inline, would be followed to the end by itself, and loading would take minutes.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_ktime_get_ns};
use ha_agent_common::frame::{self, ETH_LEN, Link, Seen};
use ha_agent_common::judge::{self, PeerKey, Standing};
use ha_agent_common::list::List;
use ha_agent_common::{Class, FAMILY_V4, FAMILY_V6, INGRESS, Rules, Speaker, WatchKey, budget, counter};

use crate::maps::{ADVERT, Advert, LOCAL, PEERS, WATCHES, count};
use crate::piece::ha_piece;
use crate::remember::{Said, ha_unknown, remember};
use crate::skb::{Ip, Skb};

/// Looks at one packet that may be VRRP. `how`: the direction, and 256 for IPv6.
///
/// A function of its own, so that the programs for links with and without a header share it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ha_packet(skb: *mut __sk_buff, base: u32, how: u32) -> u32 {
    let direction = how as u8;
    let seen = ha_open(skb, base, how);
    if seen == Seen::Vrrp as u32 {
        ha_vrrp(skb, base, direction as u32);
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

/// Judges the packet whose IP header is in [`ADVERT`], and remembers it; 0 where nobody watches its VRID.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_vrrp(skb: *mut __sk_buff, base: u32, direction: u32) -> u32 {
    let Some(advert) = ADVERT.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
    let advert = unsafe { &mut *advert };
    let packet = Ip { skb: Skb::from_raw(skb), base };
    let direction = direction as u8;
    count(counter::VRRP);
    let Some(header) = frame::header(&packet, &advert.envelope) else {
        return 0;
    };
    advert.key = WatchKey {
        realm: packet.skb.realm(),
        ifindex: packet.skb.ifindex(),
        vrid: header[1],
        family: advert.envelope.family,
        pad: [0; 2],
    };
    let Some(watch) = WATCHES.get_ptr_mut(advert.key) else {
        count(counter::UNKNOWN_VRID);
        return 0;
    };
    // SAFETY: a value of a map that is not preallocated lives until an RCU grace period after its
    // removal, so for the whole run. Two processors may write the same budget or count at once:
    // either may lose one step, which both bear.
    let watch = unsafe { &mut *watch };
    // SAFETY: the helper has no precondition.
    advert.now = unsafe { bpf_ktime_get_ns() };
    advert.watch = watch.id;
    budget::refill(watch, advert.now);

    let Advert { envelope, speaker, link, .. } = advert;
    *speaker = Speaker::default();
    let frame = judge::Frame { packet: &packet, envelope, header };
    let judgement = if direction == INGRESS {
        packet.skb.read_link(base >= ETH_LEN, link);
        judge::read(&frame, link, speaker);
        let peer = if watch.rules.has(Rules::CHECK_PEERS) {
            // SAFETY: the agent replaces whole values; the copy is made here and now.
            unsafe { PEERS.get(PeerKey { watch: watch.id, address: envelope.src }) }.copied()
        } else {
            None
        };
        judge::arriving(&frame, link, watch, peer, speaker)
    } else {
        *link = Link::default();
        judge::read(&frame, link, speaker);
        let mut list = List::default();
        let key = PeerKey { watch: watch.id, address: envelope.dst };
        // SAFETY: only whether there is one is looked at.
        let to_peer = watch.rules.is_unicast() && unsafe { PEERS.get(key) }.is_some();
        let judgement = judge::leaving(&frame, &packet.skb.sender(), &watch.rules, to_peer, speaker, &mut list);
        let Some(local) = LOCAL.get_ptr(watch.id) else {
            return 0;
        };
        if judgement.class as u8 != Class::Ours as u8 {
            judgement
        } else {
            // SAFETY: an array's values live as long as the program.
            let standing = judge::standing(watch, unsafe { &*local }, speaker) as u32;
            let standing = ha_unknown(standing);
            if standing == Standing::Vouched as u32 {
                judge::learn(&frame, speaker, list.sum, watch);
            }
            if standing == Standing::Stranger as u32 { judge::STRANGER } else { judgement }
        }
    };
    remember(advert, watch, Said::new(judgement, direction));
    1
}
