//! The device that keepalived's socket is on: the interface itself, or with `use_vmac` a macvlan on it, which
//! has the virtual router's MAC and is private (`macvlan_handle_frame` of Linux 5.10 to 7.2).

use crate::frame::{Envelope, HOST_DEVICE, HOST_GROUP, Link, half};
use crate::{FAMILY_V4, Rules};

/// The first five bytes of a virtual router's MAC (RFC 9568 section 7.3) over IPv4; the sixth is its VRID.
const VIRTUAL_V4: u64 = 0x5e_0001;
/// See [`VIRTUAL_V4`].
const VIRTUAL_V6: u64 = 0x5e_0002;
/// The first bytes of a group's MAC: RFC 1112 section 6.4.
const GROUP_V4: u64 = 0x0100_5e00_0000;
/// RFC 2464 section 7.
const GROUP_V6: u64 = 0x3333_0000_0000;
const BROADCAST: u64 = 0xffff_ffff_ffff;

/// Whether the device gets a frame by its MACs, which says that it is for the virtual router `vrid`.
#[inline(always)]
pub fn gets(link: &Link, envelope: &Envelope, vrid: u8, rules: &Rules) -> bool {
    let from_virtual = is_virtual_router(&link.mac);
    if !rules.has(Rules::VMAC) {
        // A macvlan keeps what is sent to a group from its own MAC for itself.
        let group = link.host == HOST_GROUP && !(rules.has(Rules::VMAC_BESIDE) && from_virtual);
        return group || link.host == HOST_DEVICE;
    }
    let v4 = envelope.family == FAMILY_V4;
    let own = if v4 { VIRTUAL_V4 } else { VIRTUAL_V6 } << 8 | u64::from(vrid);
    if link.host != HOST_GROUP {
        return number(&link.to) == own;
    }
    if from_virtual {
        return number(&link.mac) == own;
    }
    // Of other groups it gets those whose hash, under a key of the kernel's, is that of one of its own.
    let dst = &envelope.dst;
    let group = if v4 {
        GROUP_V4 | u64::from(u32::from_be(half(dst, 0))) & 0x7f_ffff
    } else {
        GROUP_V6 | u64::from(u32::from_be(half(dst, 12)))
    };
    number(&link.to) == group || number(&link.to) == BROADCAST
}

/// Whether a MAC is that of a virtual router.
#[inline(always)]
pub fn is_virtual_router(mac: &[u8; 6]) -> bool {
    let prefix = number(mac) >> 8;
    prefix == VIRTUAL_V4 || prefix == VIRTUAL_V6
}

#[inline(always)]
fn number(mac: &[u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]])
}

#[cfg(test)]
mod tests;
