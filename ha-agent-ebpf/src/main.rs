//! The classifier: one program for each direction, attached to a router's HA interface; for links with an
//! Ethernet header and for links without any.
//!
//! It looks, and never touches: no write to the packet, and the verdict is always "go on". What it
//! reads and judges is in `ha-agent-common`, where the tests can run it; here are the maps
//! and the helpers. Local and foreign speakers share no map and no ring buffer that either could
//! fill for the other.
#![no_std]
#![no_main]

mod look;
mod maps;
mod observe;
mod piece;
mod remember;
mod skb;

use aya_ebpf::{macros::classifier, programs::TcContext};
use ha_agent_common::frame::ETH_LEN;
use ha_agent_common::{EGRESS, INGRESS};

/// `TC_ACT_UNSPEC` of clsact and `TCX_NEXT` of tcx: the next program decides.
const GO_ON: i32 = -1;

/// Frames that arrive, with an Ethernet header.
#[classifier]
pub fn ha_ingress(ctx: TcContext) -> i32 {
    look::frame(&ctx, ETH_LEN, INGRESS);
    GO_ON
}

/// Frames that leave, with an Ethernet header.
#[classifier]
pub fn ha_egress(ctx: TcContext) -> i32 {
    look::frame(&ctx, ETH_LEN, EGRESS);
    GO_ON
}

/// Packets that arrive on a link without a header of its own: tun, WireGuard, IP tunnels.
#[classifier]
pub fn ha_ingress_ip(ctx: TcContext) -> i32 {
    look::frame(&ctx, 0, INGRESS);
    GO_ON
}

/// Packets that leave by such a link.
#[classifier]
pub fn ha_egress_ip(ctx: TcContext) -> i32 {
    look::frame(&ctx, 0, EGRESS);
    GO_ON
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// `bpf_probe_read_kernel` is for GPL-compatible programs only. This crate may be taken under
/// Apache-2.0, MIT or GPL-2.0; the kernel knows the last two by this phrase.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
