//! The first look at a frame: most are no VRRP and end here.

use aya_ebpf::programs::TcContext;
use ha_agent_common::frame::{self, ETH_LEN, ETH_P_IP, ETH_P_IPV6, ETH_P_TAGGED, IPPROTO_AH, IPPROTO_VRRP};
use ha_agent_common::{INGRESS, LAYOUT_VERSION, counter};

use crate::maps::{LAYOUT_2, count};
use crate::observe;
use crate::skb::Skb;

/// Length of an 802.1Q tag.
const TAG_LEN: u32 = 4;
/// Tags in the data that are read. The kernel takes off any number of those that name no VLAN.
const MOST_TAGS: u32 = 8;
/// `linux/if_packet.h`: our own multicast, looped back by the IP layer.
const PACKET_LOOPBACK: u32 = 5;

/// Looks at one frame, whose link has a header of `link` bytes.
#[inline(always)]
pub(crate) fn frame(ctx: &TcContext, link: u32, direction: u8) {
    if LAYOUT_2.load() != LAYOUT_VERSION {
        return;
    }
    count(counter::FRAMES);
    let skb = Skb::new(ctx);
    let mut protocol = skb.protocol();
    let mut base = link;
    // The outer tag is beside the data already; further ones in it the kernel takes off, too.
    let mut vlan = 0;
    let mut tags = 0;
    while is_tag(protocol) && tags < MOST_TAGS {
        if link != ETH_LEN {
            return;
        }
        vlan |= u16::from_be_bytes([skb.byte(base), skb.byte(base + 1)]) & 0x0fff;
        protocol = u16::from_be_bytes([skb.byte(base + 2), skb.byte(base + 3)]);
        base += TAG_LEN;
        tags += 1;
    }
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
