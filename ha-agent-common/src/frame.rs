//! Reading a frame and judging it as a receiver would: RFC 9568 section 7.1, RFC 3768 section 7.1,
//! and keepalived where it is stricter (exact lengths) or laxer (checksum forms, unicast).
//!
//! Free of helpers, so that the kernel program and the tests run the same code: bytes come from a
//! [`Packet`]. Loads have constant sizes and loops constant bounds, for the verifier's sake.

use crate::{
    FAMILY_V4, FAMILY_V6, INVALID_AUTH, INVALID_CHECKSUM, INVALID_LENGTH, INVALID_TTL, INVALID_TYPE, INVALID_VERSION,
    SPEAKER_AH, SPEAKER_CHECKSUM_PLAIN, SPEAKER_UNICAST, SPEAKER_VMAC, Speaker,
};

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
/// Length of an untagged Ethernet header.
pub const ETH_LEN: u32 = 14;

const HEADER_LEN: u32 = 8;
const AUTH_LEN: u32 = 8;
/// The trailer that keepalived 2.4's `auth_hmac` appends to a VRRPv3 advert.
const HMAC_LEN: u32 = 28;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// Chunks of 32 bytes that 255 addresses of 16 bytes fill.
const MAX_CHUNKS: u32 = 127;

/// A buffer whose words can be read without byte-wise loads.
#[repr(C, align(8))]
pub struct Bytes<const N: usize>(pub [u8; N]);

impl<const N: usize> Bytes<N> {
    /// All zero.
    #[inline(always)]
    pub const fn zero() -> Self {
        Self([0; N])
    }
}

/// A frame, beginning with its Ethernet header.
pub trait Packet: Sized {
    /// Copies the `N` bytes at `offset`; false, with `into` in any state, when the frame ends before.
    fn load<const N: usize>(&self, offset: u32, into: &mut Bytes<N>) -> bool;

    /// [`read_list`], or a call to it that the verifier looks at once.
    #[inline(always)]
    fn list(&self, at: u32, listed: u32, v4: bool, into: &mut List) -> bool {
        read_list(self, at, listed, v4, into)
    }
}

/// What is kept of an advert's list of addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// Ones' complement sum.
    pub sum: u64,
    /// FNV-1a over words of 8 bytes; an odd IPv4 address at the end is a word of its own.
    pub hash: u64,
    /// The first address, IPv4 in the first four bytes; zero when there is none.
    pub first: [u8; 16],
}

impl List {
    /// Of no address.
    #[inline(always)]
    pub const fn empty() -> Self {
        Self { sum: 0, hash: FNV_OFFSET, first: [0; 16] }
    }

    #[inline(always)]
    fn word(&mut self, word: u64) {
        self.sum += halves(word);
        self.hash = (self.hash ^ word).wrapping_mul(FNV_PRIME);
    }
}

/// What carries the advert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Source address, network order; IPv4 in the first four bytes.
    pub src: [u8; 16],
    /// Ones' complement sum of the pseudo-header's two addresses.
    pub addresses_sum: u64,
    /// Where the VRRP header begins.
    pub at: u32,
    /// VRRP bytes by the IP header's own count: what Ethernet pads is not in it.
    pub len: u32,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// `SPEAKER_…` bits that the envelope decides: AH and unicast.
    pub flags: u8,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not VRRP.
    Other,
    /// VRRP, or what may be VRRP, in a fragment.
    Fragment,
    /// VRRP.
    Vrrp,
}

/// Reads the IPv4 header of an untagged frame that says protocol 112 or 51.
#[inline(always)]
pub fn open_v4<P: Packet>(packet: &P, envelope: &mut Envelope) -> Seen {
    let mut ip = Bytes::<20>::zero();
    if !packet.load(ETH_LEN, &mut ip) {
        return Seen::Other;
    }
    let ip = &ip.0;
    let header = u32::from(ip[0] & 15) * 4;
    if ip[0] >> 4 != 4 || header < 20 {
        return Seen::Other;
    }
    // More fragments, or an offset.
    if be16(ip[6], ip[7]) & 0x3fff != 0 {
        return Seen::Fragment;
    }
    envelope.family = FAMILY_V4;
    envelope.ttl = ip[8];
    envelope.at = ETH_LEN + header;
    envelope.len = u32::from(be16(ip[2], ip[3])).saturating_sub(header);
    envelope.flags = 0;
    if ip[9] == IPPROTO_AH {
        let mut ah = Bytes::<2>::zero();
        if !packet.load(envelope.at, &mut ah) || ah.0[0] != IPPROTO_VRRP {
            return Seen::Other;
        }
        // RFC 4302 section 2.2: the length in words, less two.
        let length = (u32::from(ah.0[1]) + 2) * 4;
        envelope.at += length;
        envelope.len = envelope.len.saturating_sub(length);
        envelope.flags = SPEAKER_AH;
    } else if ip[9] != IPPROTO_VRRP {
        return Seen::Other;
    }
    let source = u32::from_ne_bytes([ip[12], ip[13], ip[14], ip[15]]);
    let destination = u32::from_ne_bytes([ip[16], ip[17], ip[18], ip[19]]);
    envelope.src = [0; 16];
    envelope.src[0] = ip[12];
    envelope.src[1] = ip[13];
    envelope.src[2] = ip[14];
    envelope.src[3] = ip[15];
    envelope.addresses_sum = u64::from(source) + u64::from(destination);
    if ip[16] & 0xf0 != 0xe0 {
        envelope.flags |= SPEAKER_UNICAST;
    }
    Seen::Vrrp
}

/// Reads the IPv6 header of an untagged frame that says next header 112.
#[inline(always)]
pub fn open_v6<P: Packet>(packet: &P, envelope: &mut Envelope) -> Seen {
    let mut ip = Bytes::<40>::zero();
    if !packet.load(ETH_LEN, &mut ip) {
        return Seen::Other;
    }
    let ip = &ip.0;
    if ip[0] >> 4 != 6 || ip[6] != IPPROTO_VRRP {
        return Seen::Other;
    }
    envelope.family = FAMILY_V6;
    envelope.ttl = ip[7];
    envelope.at = ETH_LEN + 40;
    envelope.len = u32::from(be16(ip[4], ip[5]));
    envelope.flags = if ip[24] == 0xff { 0 } else { SPEAKER_UNICAST };
    let mut sum = 0;
    let mut at = 8;
    while at < 40 {
        sum += u64::from(u32::from_ne_bytes([ip[at], ip[at + 1], ip[at + 2], ip[at + 3]]));
        at += 4;
    }
    envelope.addresses_sum = sum;
    let mut at = 0;
    while at < 16 {
        envelope.src[at] = ip[8 + at];
        at += 1;
    }
    Seen::Vrrp
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

/// Whether the frame's source MAC is the one of virtual router `vrid` (RFC 9568 section 7.3).
#[inline(always)]
pub fn is_vmac<P: Packet>(packet: &P, family: u8, vrid: u8) -> bool {
    // The address and the EtherType behind it; compared as one word, without a branch a byte.
    let mut word = Bytes::<8>::zero();
    if !packet.load(6, &mut word) {
        return false;
    }
    let kind = if family == FAMILY_V6 { 2 } else { 1 };
    let mask = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    let vmac = u64::from_ne_bytes([0, 0, 0x5e, 0, kind, vrid, 0, 0]);
    u64::from_ne_bytes(word.0) & mask == vmac
}

/// Judges an advert and reads it into `speaker` (all but what earlier adverts decide).
///
/// Returns `INVALID_…`, or 0. The order is a receiver's: TTL, version, type, length, checksum,
/// authentication; what was read before the first fault is in `speaker`.
#[inline(always)]
pub fn judge<P: Packet>(packet: &P, envelope: &Envelope, header: &[u8; 8], speaker: &mut Speaker) -> u8 {
    let version = header[0] >> 4;
    let count = header[3];
    let v4 = envelope.family == FAMILY_V4;
    speaker.src = envelope.src;
    speaker.version = version;
    speaker.priority = header[2];
    speaker.vip_count = count;
    speaker.flags = envelope.flags;
    if is_vmac(packet, envelope.family, header[1]) {
        speaker.flags |= SPEAKER_VMAC;
    }
    if version == 2 {
        speaker.auth_type = header[4];
        speaker.interval_cs = u16::from(header[5]) * 100;
    } else {
        speaker.interval_cs = be16(header[4], header[5]) & 0x0fff;
    }

    if envelope.flags & SPEAKER_UNICAST == 0 && envelope.ttl != 255 {
        return INVALID_TTL;
    }
    if version != 2 && version != 3 {
        return INVALID_VERSION;
    }
    if header[0] & 15 != 1 {
        return INVALID_TYPE;
    }
    let listed = if v4 { u32::from(count) * 4 } else { u32::from(count) * 16 };
    let authenticated = version == 2 && v4;
    let body = HEADER_LEN + listed + if authenticated { AUTH_LEN } else { 0 };
    let trailer = version == 3 && envelope.len == body + HMAC_LEN;
    if envelope.len != body && !trailer {
        return INVALID_LENGTH;
    }
    // The header may be read as zeros and the trailer not at all: the frame has to reach so far.
    let mut last = Bytes::<1>::zero();
    if !packet.load(envelope.at + envelope.len - 1, &mut last) {
        return INVALID_LENGTH;
    }

    let mut list = List::empty();
    let at = envelope.at + HEADER_LEN;
    if !packet.list(at, listed, v4, &mut list) {
        return INVALID_LENGTH;
    }
    speaker.vips_hash = list.hash;
    speaker.first_vip = list.first;
    let mut sum = list.sum + halves(u64::from_ne_bytes(*header));
    if authenticated {
        let mut auth = Bytes::<8>::zero();
        if !packet.load(at + listed, &mut auth) {
            return INVALID_LENGTH;
        }
        let word = u64::from_ne_bytes(auth.0);
        sum += halves(word);
        if header[4] == 1 {
            speaker.auth_data = auth.0;
        }
    }
    if !checksum_fits(packet, envelope, version, sum, at + listed, trailer, speaker) {
        return INVALID_CHECKSUM;
    }
    let ah = envelope.flags & SPEAKER_AH != 0;
    let auth = speaker.auth_type;
    if version == 2 && v4 {
        if auth > 2 || (auth == 2) != ah {
            return INVALID_AUTH;
        }
    } else if ah || auth != 0 {
        return INVALID_AUTH;
    }
    0
}

/// Reads `listed` bytes of addresses, a multiple of 4; false when the frame ends before.
#[inline(always)]
pub fn read_list<P: Packet>(packet: &P, at: u32, listed: u32, v4: bool, into: &mut List) -> bool {
    if listed != 0 && !first_address(packet, at, v4, &mut into.first) {
        return false;
    }
    let mut at = at;
    let mut left = listed;
    let mut chunks = 0;
    while chunks < MAX_CHUNKS && left >= 32 {
        let mut buffer = Bytes::<32>::zero();
        if !packet.load(at, &mut buffer) {
            return false;
        }
        let b = &buffer.0;
        let mut i = 0;
        while i < 32 {
            into.word(word(b, i));
            i += 8;
        }
        at += 32;
        left -= 32;
        chunks += 1;
    }
    if left & 16 != 0 {
        let mut buffer = Bytes::<16>::zero();
        if !packet.load(at, &mut buffer) {
            return false;
        }
        into.word(word(&buffer.0, 0));
        into.word(word(&buffer.0, 8));
        at += 16;
    }
    if left & 8 != 0 {
        let mut buffer = Bytes::<8>::zero();
        if !packet.load(at, &mut buffer) {
            return false;
        }
        into.word(word(&buffer.0, 0));
        at += 8;
    }
    if left & 4 != 0 {
        let mut buffer = Bytes::<4>::zero();
        if !packet.load(at, &mut buffer) {
            return false;
        }
        into.word(u64::from(u32::from_ne_bytes(buffer.0)));
    }
    true
}

/// Copies the first address; false when the frame ends before.
#[inline(always)]
fn first_address<P: Packet>(packet: &P, at: u32, v4: bool, into: &mut [u8; 16]) -> bool {
    if v4 {
        let mut buffer = Bytes::<4>::zero();
        let read = packet.load(at, &mut buffer);
        into[0] = buffer.0[0];
        into[1] = buffer.0[1];
        into[2] = buffer.0[2];
        into[3] = buffer.0[3];
        return read;
    }
    let mut buffer = Bytes::<16>::zero();
    let read = packet.load(at, &mut buffer);
    *into = buffer.0;
    read
}

/// Whether the checksum over `sum` fits one of the forms that this version and family may have:
/// without pseudo-header for VRRPv2 over IPv4, with it over IPv6, either for VRRPv3 over IPv4.
///
/// Whether keepalived's HMAC trailer is summed up too is left open: either way is taken.
#[inline(always)]
fn checksum_fits<P: Packet>(
    packet: &P,
    envelope: &Envelope,
    version: u8,
    sum: u64,
    trailer_at: u32,
    trailer: bool,
    speaker: &mut Speaker,
) -> bool {
    if form_fits(envelope, version, sum, envelope.len, speaker) {
        return true;
    }
    if !trailer {
        return false;
    }
    if form_fits(envelope, version, sum, envelope.len - HMAC_LEN, speaker) {
        return true;
    }
    let mut more = 0;
    let mut head = Bytes::<16>::zero();
    let mut tail = Bytes::<8>::zero();
    let mut end = Bytes::<4>::zero();
    if !packet.load(trailer_at, &mut head)
        || !packet.load(trailer_at + 16, &mut tail)
        || !packet.load(trailer_at + 24, &mut end)
    {
        return false;
    }
    more += halves(word(&head.0, 0));
    more += halves(word(&head.0, 8));
    more += halves(word(&tail.0, 0));
    more += u64::from(u32::from_ne_bytes(end.0));
    form_fits(envelope, version, sum + more, envelope.len, speaker)
}

#[inline(always)]
fn form_fits(envelope: &Envelope, version: u8, sum: u64, len: u32, speaker: &mut Speaker) -> bool {
    let v4 = envelope.family == FAMILY_V4;
    let upper = len + u32::from(IPPROTO_VRRP);
    // Length and protocol, each the low half of a word in network order, may be summed as one.
    let pseudo = envelope.addresses_sum + u64::from(u32::to_be(upper));
    if !(v4 && version == 2) && folds_to_ones(sum + pseudo) {
        return true;
    }
    if v4 && folds_to_ones(sum) {
        if version == 3 {
            speaker.flags |= SPEAKER_CHECKSUM_PLAIN;
        }
        return true;
    }
    false
}

/// RFC 1071: a message summed together with its checksum gives all ones, in any byte order.
#[inline(always)]
fn folds_to_ones(sum: u64) -> bool {
    let mut sum = sum;
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum == 0xffff
}

#[inline(always)]
fn halves(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
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

#[inline(always)]
fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests;
