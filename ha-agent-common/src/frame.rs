//! From the link to the VRRP header: what a kernel's IP layer looks at before it delivers a packet.
//!
//! Free of helpers, so that the kernel program and user space run the same code: bytes come from a
//! [`Packet`]. Loads have constant sizes and loops constant bounds, for the verifier's sake.

use crate::{FAMILY_V4, FAMILY_V6, NO_VLAN, Reason, ah, list, options};

/// EtherType of IPv4.
pub const ETH_P_IP: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETH_P_IPV6: u16 = 0x86dd;
/// EtherType of 802.1Q, and of 802.1ad.
pub const ETH_P_TAGGED: [u16; 2] = [0x8100, 0x88a8];
/// Protocol number of VRRP.
pub const IPPROTO_VRRP: u8 = 112;
/// Protocol number of the IP authentication header.
pub const IPPROTO_AH: u8 = 51;
/// IPv6 extension headers that the kernel reads on the way to the protocol behind them: hop-by-hop options,
/// routing, fragment, destination options (RFC 8200 section 4).
pub const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];
/// Length of an untagged Ethernet header.
pub const ETH_LEN: u32 = 14;
/// Length of an IPv6 header.
pub const IPV6_LEN: u32 = 40;
/// Length of a VRRP header.
pub const HEADER_LEN: u32 = 8;

/// A buffer whose words can be read without byte-wise loads.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Bytes<const N: usize>(pub [u8; N]);

impl<const N: usize> Bytes<N> {
    /// All zero.
    #[inline(always)]
    pub const fn zero() -> Self {
        Self([0; N])
    }
}

/// A packet, beginning with its IP header.
pub trait Packet: Sized {
    /// Copies the `N` bytes at `offset`; false, with `into` in any state, when the packet ends before.
    fn load<const N: usize>(&self, offset: u32, into: &mut Bytes<N>) -> bool;

    /// Bytes that arrived, from the IP header on; Ethernet may have padded them.
    fn len(&self) -> u32;

    /// Whether nothing arrived.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// [`list::read`], or a call to it that the verifier looks at once.
    fn list(&self, at: u32, count: u32, v4: bool, into: &mut list::List) -> bool;

    /// Copies the `length` bytes at `at`, 1 to 63, to the begin of the block.
    fn tail(&self, at: u32, length: u32, into: &mut Bytes<64>) -> bool;

    /// The ones' complement sum of `length` bytes at `at`; none when the packet ends before.
    #[inline(always)]
    fn sum(&self, at: u32, length: u32) -> Option<u64> {
        read_sum(self, at, length)
    }

    /// [`options::fault`] of the options behind the fixed header, and their ones' complement sum.
    #[inline(always)]
    fn options(&self, length: u32) -> (u8, u64) {
        let mut bytes = Bytes::zero();
        let sum = read_options(self, length, &mut bytes);
        options_fault(sum, length, |walk| options::step(&bytes.0, length, walk))
    }

    /// [`ah::mix`], or a call to it.
    #[inline(always)]
    fn mix(&self, at: u32, fields: ah::Mutable, work: &mut ah::Work) -> ah::Mixed {
        ah::mix(self, at, fields, work)
    }

    /// [`ah::fits`], or a call to it.
    #[inline(always)]
    fn icv_fits(&self, key: &ah::Key, fields: ah::Mutable) -> bool {
        ah::fits(self, key, fields, &mut ah::Work::new())
    }
}

/// What the link says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Source MAC; zero where the link has none.
    pub mac: [u8; 6],
    /// Destination MAC, likewise.
    pub to: [u8; 6],
    /// VLAN id of a tag, or [`NO_VLAN`].
    pub vlan: u16,
    /// Whether it is this host's by its destination MAC: `HOST_…`.
    pub host: u8,
}

/// The frame is for a group or for all, or its link has no addresses.
pub const HOST_GROUP: u8 = 0;
/// The frame is another host's; the kernel's `PACKET_OTHERHOST`.
pub const HOST_OTHER: u8 = 1;
/// The frame is for this device alone; the kernel's `PACKET_HOST`.
pub const HOST_DEVICE: u8 = 2;

impl Default for Link {
    fn default() -> Self {
        Self { mac: [0; 6], to: [0; 6], vlan: NO_VLAN, host: HOST_GROUP }
    }
}

/// What carries the advert.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Source address, network order; IPv4 in the first four bytes.
    pub src: [u8; 16],
    /// Destination address, the same way.
    pub dst: [u8; 16],
    /// Where the VRRP header begins, from the IP header on.
    pub at: u32,
    /// VRRP bytes by the IP header's own count: what Ethernet pads is not in it.
    pub len: u32,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// [`IPPROTO_VRRP`] or [`IPPROTO_AH`].
    pub protocol: u8,
    /// Why the kernel's IP layer drops the packet, a [`Reason`]; 0: it does not.
    pub fault: u8,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Seen {
    /// Not VRRP.
    Other,
    /// What may be VRRP in a fragment, or behind extension headers: to be put together first.
    Piece,
    /// VRRP.
    Vrrp,
}

/// Reads the IPv4 header of a packet that says protocol 112 or 51. `arriving`: as a receiver does.
#[inline(always)]
pub fn open_v4<P: Packet>(packet: &P, envelope: &mut Envelope, arriving: bool) -> Seen {
    let mut ip = Bytes::<20>::zero();
    if !packet.load(0, &mut ip) {
        return Seen::Other;
    }
    let ip = &ip.0;
    let header = u32::from(ip[0] & 15) * 4;
    if ip[0] >> 4 != 4 || header < 20 || (ip[9] != IPPROTO_VRRP && ip[9] != IPPROTO_AH) {
        return Seen::Other;
    }
    // More fragments, or an offset.
    if be16(ip[6], ip[7]) & 0x3fff != 0 {
        return Seen::Piece;
    }
    let total = u32::from(be16(ip[2], ip[3]));
    envelope.family = FAMILY_V4;
    envelope.ttl = ip[8];
    envelope.protocol = ip[9];
    envelope.at = header;
    envelope.len = total.saturating_sub(header);
    envelope.fault = 0;
    if ip[9] == IPPROTO_AH {
        // keepalived takes the header to be of this length, whatever it says.
        envelope.at += ah::LENGTH;
        envelope.len = envelope.len.saturating_sub(ah::LENGTH);
    }
    envelope.src = [0; 16];
    envelope.dst = [0; 16];
    let mut at = 0;
    while at < 4 {
        envelope.src[at] = ip[12 + at];
        envelope.dst[at] = ip[16 + at];
        at += 1;
    }
    if arriving {
        envelope.fault = fault_v4(packet, ip);
    }
    Seen::Vrrp
}

/// `ip_rcv` and `ip_rcv_finish`: why the kernel drops a packet, or a fragment, for its IPv4 header, of which
/// `ip` is the fixed part; a [`Reason`], 0: it does not.
#[inline(always)]
pub fn fault_v4<P: Packet>(packet: &P, ip: &[u8; 20]) -> u8 {
    let header = u32::from(ip[0] & 15) * 4;
    let total = u32::from(be16(ip[2], ip[3]));
    let mut sum = halves(word(ip, 0)) + halves(word(ip, 8)) + u64::from(half(ip, 16));
    let mut fault = 0;
    if header > 20 {
        let (found, more) = packet.options(header - 20);
        fault = found;
        sum += more;
    }
    if header < 20 || total < header || total > packet.len() || !folds_to_ones(sum) {
        fault = Reason::Header as u8;
    }
    // 224/4 and 255.255.255.255; for all other sources the kernel is asked (`ip_route_input`).
    let all = ip[12] == 255 && ip[13] == 255 && ip[14] == 255 && ip[15] == 255;
    if fault == 0 && (ip[12] >> 4 == 14 || all) {
        fault = Reason::MartianSource as u8;
    }
    fault
}

/// Reads the options behind an IPv4 header; their sum, or none when the packet ends before.
#[inline(always)]
pub fn read_options<P: Packet>(packet: &P, length: u32, into: &mut Bytes<{ options::ROOM }>) -> Option<u64> {
    let mut sum = 0;
    let mut at = 0;
    while at < options::MOST {
        if at >= length {
            break;
        }
        let mut four = Bytes::<4>::zero();
        if !packet.load(20 + at, &mut four) {
            return None;
        }
        sum += u64::from(u32::from_ne_bytes(four.0));
        into.0[(at & 63) as usize] = four.0[0];
        into.0[((at + 1) & 63) as usize] = four.0[1];
        into.0[((at + 2) & 63) as usize] = four.0[2];
        into.0[((at + 3) & 63) as usize] = four.0[3];
        at += 4;
    }
    Some(sum)
}

/// What [`Packet::options`] tells, once they have been read.
#[inline(always)]
pub fn options_fault(sum: Option<u64>, length: u32, step: impl Fn(u32) -> u32) -> (u8, u64) {
    match sum {
        Some(sum) => (options::fault(length, step), sum),
        None => (Reason::Header as u8, 0),
    }
}

/// Blocks of 64 bytes in the longest IPv6 advert, 8 + 255 × 16 bytes, and a little: what is longer is no advert.
const MOST_BLOCKS: u32 = 66;

/// Sums up bytes that are no list of addresses.
#[inline(always)]
pub fn read_sum<P: Packet>(packet: &P, at: u32, length: u32) -> Option<u64> {
    let mut sum = 0;
    let mut done = 0;
    let mut blocks = 0;
    while blocks < MOST_BLOCKS {
        if done + 64 > length {
            break;
        }
        let mut block = Bytes::<64>::zero();
        if !packet.load(at + done, &mut block) {
            return None;
        }
        sum += block_sum(&block);
        done += 64;
        blocks += 1;
    }
    if length > done {
        let mut block = Bytes::<64>::zero();
        if length - done >= 64 || !packet.tail(at + done, length - done, &mut block) {
            return None;
        }
        sum += block_sum(&block);
    }
    Some(sum)
}

#[inline(always)]
fn block_sum(block: &Bytes<64>) -> u64 {
    let mut sum = 0;
    let mut i = 0;
    while i < 64 {
        sum += halves(word(&block.0, i));
        i += 8;
    }
    sum
}

/// Reads the IPv6 header of a packet whose next header is 112 or an extension.
#[inline(always)]
pub fn open_v6<P: Packet>(packet: &P, envelope: &mut Envelope, arriving: bool) -> Seen {
    let mut ip = Bytes::<40>::zero();
    if !packet.load(0, &mut ip) {
        return Seen::Other;
    }
    let ip = &ip.0;
    if ip[0] >> 4 != 6 {
        return Seen::Other;
    }
    if ip[6] != IPPROTO_VRRP {
        return if is_extension(ip[6]) { Seen::Piece } else { Seen::Other };
    }
    envelope.family = FAMILY_V6;
    envelope.ttl = ip[7];
    envelope.protocol = IPPROTO_VRRP;
    envelope.at = IPV6_LEN;
    envelope.len = u32::from(be16(ip[4], ip[5]));
    envelope.fault = 0;
    let mut at = 0;
    while at < 16 {
        envelope.src[at] = ip[8 + at];
        envelope.dst[at] = ip[24 + at];
        at += 1;
    }
    if arriving {
        envelope.fault = fault_v6(ip, envelope.len > packet.len().saturating_sub(IPV6_LEN));
    }
    Seen::Vrrp
}

/// Whether a next header is one that the kernel reads past.
#[inline(always)]
pub fn is_extension(next: u8) -> bool {
    next == EXTENSIONS[0] || next == EXTENSIONS[1] || next == EXTENSIONS[2] || next == EXTENSIONS[3]
}

/// `ip6_rcv_core`: sources that no packet from elsewhere has, and scopes that do not cross a link.
#[inline(always)]
pub fn fault_v6(ip: &[u8; 40], cut: bool) -> u8 {
    if cut {
        return Reason::Header as u8;
    }
    let loopback = word(ip, 8) == 0 && word(ip, 16) == u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]);
    if ip[8] == 0xff || loopback {
        return Reason::MartianSource as u8;
    }
    0
}

/// Reads the VRRP header; of one that is cut off the first four bytes, and zeros.
///
/// None when not even the VRID is there.
#[inline(always)]
pub fn header<P: Packet>(packet: &P, envelope: &Envelope) -> Option<[u8; 8]> {
    let mut header = Bytes::<8>::zero();
    if envelope.len >= HEADER_LEN && packet.load(envelope.at, &mut header) {
        return Some(header.0);
    }
    let mut start = Bytes::<4>::zero();
    if envelope.len >= 4 && packet.load(envelope.at, &mut start) {
        let start = start.0;
        return Some([start[0], start[1], start[2], start[3], 0, 0, 0, 0]);
    }
    None
}

/// RFC 1071: a message summed together with its checksum gives all ones, in any byte order.
#[inline(always)]
pub fn folds_to_ones(sum: u64) -> bool {
    let mut sum = sum;
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum == 0xffff
}

/// The two halves of a word, summed.
#[inline(always)]
pub fn halves(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

/// Eight bytes as one word, as they are in memory.
#[inline(always)]
pub fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_ne_bytes([
        bytes[at],
        bytes[at + 1],
        bytes[at + 2],
        bytes[at + 3],
        bytes[at + 4],
        bytes[at + 5],
        bytes[at + 6],
        bytes[at + 7],
    ])
}

/// Four bytes as one word, as they are in memory.
#[inline(always)]
pub fn half<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A number in network order.
#[inline(always)]
pub fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests;
