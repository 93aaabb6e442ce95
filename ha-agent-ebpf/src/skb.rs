//! Reading the frame and where it was seen.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_probe_read_kernel, bpf_skb_load_bytes},
    programs::TcContext,
};
use ha_agent_common::frame::{
    Bytes, ETH_LEN, ETH_P_IP, ETH_P_IPV6, ETH_P_TAGGED, IPPROTO_AH, IPPROTO_VRRP, List, Packet, read_list,
};

use crate::maps::{LIST, NETNS_OFFSETS};

/// `PACKET_LOOPBACK` of linux/if_packet.h: our own multicast, looped back by the IP layer.
const PACKET_LOOPBACK: u32 = 5;

/// A frame as the program sees it.
pub(crate) struct Frame {
    skb: *mut __sk_buff,
}

/// What the first bytes say.
pub(crate) enum First {
    /// Not VRRP.
    Other,
    /// VRRP in an 802.1Q frame, or our own looped back: not this interface's.
    Tagged,
    /// IPv4, protocol 112 or 51.
    V4,
    /// IPv6, next header 112.
    V6,
}

impl Frame {
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        Self { skb: ctx.skb.skb }
    }

    /// Tells VRRP from all else with as few instructions as possible: most frames end here.
    #[inline(always)]
    pub(crate) fn first_look(&self) -> First {
        // SAFETY: the verifier rewrites this load of a valid context.
        let protocol = u16::from_be(unsafe { (*self.skb).protocol } as u16);
        if protocol == ETH_P_IP {
            let next = self.byte(ETH_LEN + 9);
            if next != IPPROTO_VRRP && next != IPPROTO_AH {
                return First::Other;
            }
            if self.tagged() { First::Tagged } else { First::V4 }
        } else if protocol == ETH_P_IPV6 {
            if self.byte(ETH_LEN + 6) != IPPROTO_VRRP {
                return First::Other;
            }
            if self.tagged() { First::Tagged } else { First::V6 }
        } else if protocol == ETH_P_TAGGED[0] || protocol == ETH_P_TAGGED[1] {
            self.inner_look()
        } else {
            First::Other
        }
    }

    /// The same for a frame whose tag is in its data.
    #[inline(always)]
    fn inner_look(&self) -> First {
        let protocol = u16::from_be_bytes([self.byte(ETH_LEN + 2), self.byte(ETH_LEN + 3)]);
        let found = if protocol == ETH_P_IP {
            let next = self.byte(ETH_LEN + 4 + 9);
            next == IPPROTO_VRRP || next == IPPROTO_AH
        } else {
            protocol == ETH_P_IPV6 && self.byte(ETH_LEN + 4 + 6) == IPPROTO_VRRP
        };
        if found { First::Tagged } else { First::Other }
    }

    /// A byte of the frame; 0 beyond its end.
    #[inline(always)]
    fn byte(&self, offset: u32) -> u8 {
        // SAFETY: the verifier rewrites this load of a valid context.
        let at = unsafe { (*self.skb).data } as usize + offset as usize;
        // SAFETY: as above.
        let end = unsafe { (*self.skb).data_end } as usize;
        if at < end {
            // SAFETY: within the linear part, as just compared; the verifier checks the same.
            return unsafe { *(at as *const u8) };
        }
        let mut byte = Bytes::<1>::zero();
        if self.load(offset, &mut byte) { byte.0[0] } else { 0 }
    }

    /// Whether the tag was taken out of the data into the metadata.
    #[inline(always)]
    fn tagged(&self) -> bool {
        // SAFETY: the verifier rewrites this load of a valid context.
        unsafe { (*self.skb).vlan_present != 0 }
    }

    /// Our own frame, looped back.
    #[inline(always)]
    pub(crate) fn looped_back(&self) -> bool {
        // SAFETY: the verifier rewrites this load of a valid context.
        unsafe { (*self.skb).pkt_type == PACKET_LOOPBACK }
    }

    /// Index of the interface that the program is attached to.
    #[inline(always)]
    pub(crate) fn ifindex(&self) -> u32 {
        // SAFETY: the verifier rewrites this load of a valid context.
        unsafe { (*self.skb).ifindex }
    }

    /// See `ha_agent_common::WatchKey::realm`.
    #[inline(always)]
    pub(crate) fn realm(&self) -> u64 {
        let [known, dev, net, cookie] = NETNS_OFFSETS.load();
        if known == 0 {
            // SAFETY: the verifier rewrites this load of a valid context.
            return unsafe { (*self.skb).tc_classid } as u64;
        }
        // The context pointer is the `sk_buff` itself at run time; each step reads one pointer.
        let dev = self.kernel_word(self.skb as usize, dev);
        let net = self.kernel_word(dev as usize, net);
        self.kernel_word(net as usize, cookie)
    }

    /// A word of kernel memory; 0 when it cannot be read, which is no namespace's cookie.
    #[inline(always)]
    fn kernel_word(&self, base: usize, offset: u32) -> u64 {
        let at = (base + offset as usize) as *const u64;
        // SAFETY: the helper checks the address and fails on a bad one.
        unsafe { bpf_probe_read_kernel(at) }.unwrap_or(0)
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32, into: &mut Bytes<N>) -> bool {
        // SAFETY: `into` is valid for writes of `N` bytes; the helper checks the frame's bounds.
        let result = unsafe { bpf_skb_load_bytes(self.skb.cast(), offset, into.0.as_mut_ptr().cast(), N as u32) };
        result == 0
    }

    #[inline(always)]
    fn list(&self, at: u32, listed: u32, v4: bool, into: &mut List) -> bool {
        if ha_list(self.skb, at, listed, v4 as u32) == 0 {
            return false;
        }
        let Some(list) = LIST.get_ptr(0) else {
            return false;
        };
        // SAFETY: this processor's own slot, written by the call just before.
        *into = unsafe { *list };
        true
    }
}

/// Reads a list of addresses into [`LIST`]; 0 when the frame ends before.
///
/// A function of its own with global linkage: the verifier looks at its loop once, not once for
/// every way that leads there.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_list(skb: *mut __sk_buff, at: u32, listed: u32, v4: u32) -> u32 {
    let mut list = List::empty();
    if !read_list(&Frame { skb }, at, listed, v4 != 0, &mut list) {
        return 0;
    }
    let Some(slot) = LIST.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
    unsafe { *slot = list };
    1
}
