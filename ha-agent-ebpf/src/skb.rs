//! Reading the frame, where it was seen, and who sent it.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_sk_fullsock, bpf_skb_load_bytes},
    programs::TcContext,
};
use ha_agent_common::ah::{self, Mixed, Mutable};
use ha_agent_common::frame::{
    Bytes, HOST_DEVICE, HOST_OTHER, IPPROTO_AH, IPPROTO_VRRP, Link, Packet, options_fault, read_options, read_sum,
};
use ha_agent_common::judge::Sender;
use ha_agent_common::list::{self, List};
use ha_agent_common::options;

use crate::maps::{AH_KEY, ANY_SENDER, DIGEST_KEY, LIST, NETNS_OFFSETS, OPTIONS, SOCKET_OFFSETS, WORK};

/// `linux/if_packet.h`: to this device.
const PACKET_HOST: u32 = 0;
/// `linux/if_packet.h`: to another host.
const PACKET_OTHERHOST: u32 = 3;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const SOCK_RAW: u32 = 3;

/// The kernel's buffer as a classifier sees it.
#[derive(Clone, Copy)]
pub(crate) struct Skb {
    skb: *mut __sk_buff,
}

impl Skb {
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        Self { skb: ctx.skb.skb }
    }

    #[inline(always)]
    pub(crate) fn from_raw(skb: *mut __sk_buff) -> Self {
        Self { skb }
    }

    #[inline(always)]
    pub(crate) fn raw(&self) -> *mut __sk_buff {
        self.skb
    }

    /// EtherType of what is behind the tag that is not in the data.
    #[inline(always)]
    pub(crate) fn protocol(&self) -> u16 {
        // SAFETY: the verifier rewrites this load of a valid context.
        u16::from_be(unsafe { (*self.skb).protocol } as u16)
    }

    /// A byte of the frame; 0 beyond its end.
    #[inline(always)]
    pub(crate) fn byte(&self, offset: u32) -> u8 {
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

    /// Copies the `N` bytes at `offset` of the frame.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(&self, offset: u32, into: &mut Bytes<N>) -> bool {
        // SAFETY: `into` is valid for writes of `N` bytes; the helper checks the frame's bounds.
        let result = unsafe { bpf_skb_load_bytes(self.skb.cast(), offset, into.0.as_mut_ptr().cast(), N as u32) };
        result == 0
    }

    /// Bytes of the frame.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: the verifier rewrites this load of a valid context.
        unsafe { (*self.skb).len }
    }

    /// VLAN id of a tag that was taken out of the data; 0 for a priority tag and without one.
    #[inline(always)]
    pub(crate) fn vlan_id(&self) -> u16 {
        if !self.is_tagged() {
            return 0;
        }
        // SAFETY: the verifier rewrites this load of a valid context.
        (unsafe { (*self.skb).vlan_tci } & 0x0fff) as u16
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: the verifier rewrites this load of a valid context.
        unsafe { (*self.skb).vlan_present != 0 }
    }

    /// `PACKET_…` of linux/if_packet.h.
    #[inline(always)]
    pub(crate) fn packet_type(&self) -> u32 {
        // SAFETY: the verifier rewrites this load of a valid context.
        unsafe { (*self.skb).pkt_type }
    }

    /// Index of the interface that the program is attached to.
    #[inline(always)]
    pub(crate) fn ifindex(&self) -> u32 {
        // SAFETY: the verifier rewrites this load of a valid context.
        unsafe { (*self.skb).ifindex }
    }

    /// What the link says of a frame that arrives.
    #[inline(always)]
    pub(crate) fn read_link(&self, has_header: bool, link: &mut Link) {
        *link = Link::default();
        let to = self.packet_type();
        if to == PACKET_OTHERHOST {
            link.host = HOST_OTHER;
        }
        if !has_header {
            return;
        }
        if to == PACKET_HOST {
            link.host = HOST_DEVICE;
        }
        if self.is_tagged() {
            link.vlan = self.vlan_id();
        }
        let mut macs = Bytes::<12>::zero();
        if self.load(0, &mut macs) {
            let macs = &macs.0;
            link.to = [macs[0], macs[1], macs[2], macs[3], macs[4], macs[5]];
            link.mac = [macs[6], macs[7], macs[8], macs[9], macs[10], macs[11]];
        }
    }

    /// Who sent a frame that leaves.
    #[inline(always)]
    pub(crate) fn sender(&self) -> Sender {
        // SAFETY: the verifier rewrites this load of a valid context.
        let forwarded = unsafe { (*self.skb).ingress_ifindex } != 0;
        if ANY_SENDER.load() != 0 {
            return Sender { forwarded, vrrp_socket: true, cookie: 0 };
        }
        let mut sender = Sender { forwarded, vrrp_socket: false, cookie: 0 };
        if forwarded {
            return sender;
        }
        // SAFETY: the context is valid as long as the program runs.
        let context = unsafe { &*self.skb };
        // SAFETY: the verifier rewrites this load; the union has one field.
        let socket = unsafe { context.__bindgen_anon_2.sk };
        if socket.is_null() {
            return sender;
        }
        // SAFETY: a socket of the context, compared with null.
        let socket = unsafe { bpf_sk_fullsock(socket) };
        if socket.is_null() {
            return sender;
        }
        // SAFETY: a full socket, compared with null; the verifier rewrites the loads.
        let family = unsafe { (*socket).family };
        // SAFETY: as above.
        let kind = unsafe { (*socket).type_ };
        // SAFETY: as above.
        let protocol = unsafe { (*socket).protocol };
        let internet = family == AF_INET || family == AF_INET6;
        let vrrp = protocol == IPPROTO_VRRP as u32 || protocol == IPPROTO_AH as u32;
        sender.vrrp_socket = internet && kind == SOCK_RAW && vrrp && self.is_of_its_device();
        // SAFETY: the helper takes a valid context.
        sender.cookie = unsafe { bpf_get_socket_cookie(self.skb.cast()) };
        sender
    }

    /// See `ha_agent_common::WatchKey::realm`.
    #[inline(always)]
    pub(crate) fn realm(&self) -> u64 {
        let [known, dev, net, cookie] = NETNS_OFFSETS.load();
        if known == 0 {
            // SAFETY: the verifier rewrites this load of a valid context.
            return unsafe { (*self.skb).tc_classid } as u64;
        }
        self.kernel_word(self.netns(dev, net) as usize, cookie)
    }

    /// Whether the socket that sent the frame is of the namespace that the device is in: what a virtual device in
    /// another namespace hands over keeps its socket. True where that cannot be told.
    #[inline(always)]
    fn is_of_its_device(&self) -> bool {
        let [known, sk, sk_net] = SOCKET_OFFSETS.load();
        if known == 0 {
            return true;
        }
        let [_, dev, net, _] = NETNS_OFFSETS.load();
        let socket = self.kernel_word(self.skb as usize, sk);
        self.kernel_word(socket as usize, sk_net) == self.netns(dev, net)
    }

    /// Address of the namespace that the device is in.
    #[inline(always)]
    fn netns(&self, dev: u32, net: u32) -> u64 {
        // The context pointer is the `sk_buff` itself at run time; each step reads one pointer.
        let dev = self.kernel_word(self.skb as usize, dev);
        self.kernel_word(dev as usize, net)
    }

    /// A word of kernel memory; 0 when it cannot be read, which is no namespace's cookie.
    #[inline(always)]
    fn kernel_word(&self, base: usize, offset: u32) -> u64 {
        let at = (base + offset as usize) as *const u64;
        // SAFETY: the helper checks the address and fails on a bad one.
        unsafe { bpf_probe_read_kernel(at) }.unwrap_or(0)
    }
}

/// A packet: the frame from its IP header on.
#[derive(Clone, Copy)]
pub(crate) struct Ip {
    pub(crate) skb: Skb,
    pub(crate) base: u32,
}

impl Packet for Ip {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32, into: &mut Bytes<N>) -> bool {
        self.skb.load(self.base + offset, into)
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.skb.len().saturating_sub(self.base)
    }

    #[inline(always)]
    fn list(&self, at: u32, count: u32, v4: bool, into: &mut List) -> bool {
        if ha_list(self.skb.skb, self.base + at, count, v4 as u32) == 0 {
            return false;
        }
        let Some(list) = LIST.get_ptr(0) else {
            return false;
        };
        // SAFETY: this processor's own slot, written by the call just before.
        *into = unsafe { *list };
        true
    }

    #[inline(always)]
    fn tail(&self, at: u32, length: u32, into: &mut Bytes<64>) -> bool {
        // What is known of the length is hidden from the compiler, which would drop the bounds that the
        // verifier wants to see.
        let length = (core::hint::black_box(length).wrapping_sub(1) & 63) + 1;
        let bytes = into.0.as_mut_ptr().cast();
        // SAFETY: `into` is valid for writes of 64 bytes, and the length is no greater.
        unsafe { bpf_skb_load_bytes(self.skb.skb.cast(), self.base + at, bytes, length) == 0 }
    }

    #[inline(always)]
    fn sum(&self, at: u32, length: u32) -> Option<u64> {
        let sum = ha_sum(self.skb.skb, self.base + at, length);
        if sum == u64::MAX { None } else { Some(sum) }
    }

    #[inline(always)]
    fn options(&self, length: u32) -> (u8, u64) {
        let packed = ha_options(self.skb.skb, self.base, length);
        (packed as u8, packed >> 8)
    }

    #[inline(always)]
    fn mix(&self, at: u32, fields: Mutable, _work: &mut ah::Work) -> Mixed {
        // `_work` is this processor's slot of WORK.
        match ha_mix(self.skb.skb, self.base, at, fields.total | (fields.ttl as u32) << 31) {
            1 => Mixed::More,
            2 => Mixed::Last,
            _ => Mixed::Cut,
        }
    }

    #[inline(always)]
    fn icv_fits(&self, key: &ah::Key, fields: Mutable) -> bool {
        let Some(slot) = AH_KEY.get_ptr_mut(0) else {
            return false;
        };
        // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
        let slot = unsafe { &mut *slot };
        let mut at = 0;
        while at < 4 {
            slot.inner[at] = key.inner[at];
            slot.outer[at] = key.outer[at];
            at += 1;
        }
        ha_icv(self.skb.skb, self.base, fields.total, fields.ttl as u32) != 0
    }
}

/// Reads a list of addresses into [`LIST`]; 0 when the frame ends before.
///
/// This and those below are functions of their own with global linkage: the verifier looks at their loops
/// once, not once for every way that leads there.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_list(skb: *mut __sk_buff, at: u32, count: u32, v4: u32) -> u32 {
    let mut list = List::default();
    let packet = Ip { skb: Skb { skb }, base: 0 };
    if !list::read(&packet, DIGEST_KEY.load(), at, count, v4 != 0, &mut list) {
        return 0;
    }
    let Some(slot) = LIST.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
    unsafe { *slot = list };
    1
}

/// The ones' complement sum of some bytes; all ones when the frame ends before.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_sum(skb: *mut __sk_buff, at: u32, length: u32) -> u64 {
    read_sum(&Ip { skb: Skb { skb }, base: 0 }, at, length).unwrap_or(u64::MAX)
}

/// The fault of the IPv4 options, and above it their sum.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_options(skb: *mut __sk_buff, base: u32, length: u32) -> u64 {
    let Some(slot) = OPTIONS.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
    let slot = unsafe { &mut *slot };
    let sum = read_options(&Ip { skb: Skb { skb }, base }, length, slot);
    let (fault, sum) = options_fault(sum, length, |walk| ha_option(length, walk));
    sum << 8 | fault as u64
}

/// One option of those in [`OPTIONS`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_option(length: u32, walk: u32) -> u32 {
    let Some(slot) = OPTIONS.get_ptr(0) else {
        return walk;
    };
    // SAFETY: this processor's own slot, written before the call.
    options::step(unsafe { &(*slot).0 }, length, walk)
}

/// Whether the integrity value fits the key in [`AH_KEY`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_icv(skb: *mut __sk_buff, base: u32, total: u32, ttl: u32) -> u32 {
    let (Some(key), Some(work)) = (AH_KEY.get_ptr(0), WORK.get_ptr_mut(0)) else {
        return 0;
    };
    // SAFETY: this processor's own slot, written before the call.
    let key = unsafe { &*key };
    // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
    let work = unsafe { &mut *work };
    let fields = Mutable { total, ttl: ttl != 0 };
    ah::fits(&Ip { skb: Skb { skb }, base }, key, fields, work) as u32
}

/// Mixes 64 bytes of the packet into [`WORK`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ha_mix(skb: *mut __sk_buff, base: u32, at: u32, total: u32) -> u32 {
    let Some(work) = WORK.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this processor's own slot, and a classifier does not interrupt itself.
    let work = unsafe { &mut *work };
    let fields = Mutable { total: total & 0xffff, ttl: total >> 31 != 0 };
    ah::mix(&Ip { skb: Skb { skb }, base }, at, fields, work) as u32
}
