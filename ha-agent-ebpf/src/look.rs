//! The first look at a frame: most are no VRRP and end here.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use ha_agent_common::frame::{self, Bytes, ETH_LEN, ETH_P_IP, ETH_P_IPV6, ETH_P_TAGGED, IPPROTO_AH, IPPROTO_VRRP};
use ha_agent_common::{INGRESS, LAYOUT_VERSION, counter};

use crate::maps::{LAYOUT_3, count};
use crate::observe;
use crate::skb::Skb;

/// Length of an 802.1Q tag.
const TAG_LEN: u32 = 4;
/// `linux/if_packet.h`: our own multicast, looped back by the IP layer.
const PACKET_LOOPBACK: u32 = 5;

/// Looks at one frame, whose link has a header of `link` bytes.
#[inline(always)]
pub(crate) fn frame(ctx: &TcContext, link: u32, direction: u8) {
    if LAYOUT_3.load() != LAYOUT_VERSION {
        return;
    }
    count(counter::FRAMES);
    let skb = Skb::new(ctx);
    let mut behind = Behind { protocol: skb.protocol(), base: link, vlan: 0 };
    if is_tag(behind.protocol) {
        if link != ETH_LEN {
            return;
        }
        // The outer tag is beside the data already; further ones in it the kernel takes off, too, in any number. Eight
        // are read, step by step: Linux 5.10 refuses a loop that begins behind a call.
        behind.untag(&skb);
        behind.untag(&skb);
        behind.untag(&skb);
        behind.untag(&skb);
        behind.untag(&skb);
        behind.untag(&skb);
        behind.untag(&skb);
        behind.untag(&skb);
    }
    let Behind { protocol, base, vlan } = behind;
    if !is_candidate(&skb, protocol, base) {
        return;
    }
    if vlan | skb.vlan_id() != 0 {
        count(counter::VRRP);
        count(counter::TAGGED);
        return;
    }
    if direction == INGRESS && skb.packet_type() == PACKET_LOOPBACK {
        return;
    }
    let v6 = (protocol == ETH_P_IPV6) as u32;
    observe::ha_packet(skb.raw(), base, direction as u32 | v6 << 8);
}

/// What is behind the tags that have been read.
struct Behind {
    protocol: u16,
    base: u32,
    /// The VLAN ids, or-ed: 0 as long as none names a VLAN.
    vlan: u16,
}

impl Behind {
    /// Reads a tag, if there is one.
    #[inline(always)]
    fn untag(&mut self, skb: &Skb) {
        if is_tag(self.protocol) {
            let tag = ha_tag(skb.raw(), self.base);
            self.vlan |= (tag >> 16) as u16 & 0x0fff;
            self.protocol = tag as u16;
            self.base += TAG_LEN;
        }
    }
}

/// A tag's id, and below it the EtherType behind it; 0 beyond the frame's end.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_tag(skb: *mut __sk_buff, at: u32) -> u32 {
    let mut tag = Bytes::<4>::zero();
    if Skb::from_raw(skb).load(at, &mut tag) { u32::from_be_bytes(tag.0) } else { 0 }
}

#[inline(always)]
fn is_tag(protocol: u16) -> bool {
    protocol == ETH_P_TAGGED[0] || protocol == ETH_P_TAGGED[1]
}

/// Whether a packet may be VRRP: by its protocol, or behind an IPv6 extension header.
#[inline(always)]
fn is_candidate(skb: &Skb, protocol: u16, base: u32) -> bool {
    if protocol == ETH_P_IP {
        let next = skb.byte(base + 9);
        return next == IPPROTO_VRRP || next == IPPROTO_AH;
    }
    if protocol == ETH_P_IPV6 {
        let next = skb.byte(base + 6);
        return next == IPPROTO_VRRP || frame::is_extension(next);
    }
    false
}
