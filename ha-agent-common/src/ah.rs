//! The IP authentication header as keepalived uses it (RFC 2402): HMAC-MD5-96 (RFC 2403) over the whole
//! packet, its mutable fields zeroed, keyed with the eight bytes of `auth_pass`.
//!
//! MD5 (RFC 1321) is written out, since nothing that links into the kernel program offers it; the tests
//! hold it to another implementation.

use crate::frame::{Bytes, Packet};

/// Bytes of keepalived's header: RFC 2402 section 2 with 12 bytes of integrity value.
pub const LENGTH: u32 = 24;
/// Where the integrity value begins in it.
const ICV: u32 = 12;
const BLOCK: u32 = 64;
/// Length of an IPv4 header without options: packets with options are not looked at.
const IPV4_LEN: u32 = 20;
/// Blocks of the longest packet: 60 + 24 + 8 + 255 × 4 + 8 bytes, and MD5's own 9.
const MOST_BLOCKS: u32 = 18;

/// MD5's state.
pub type State = [u32; 4];

/// The two states that HMAC starts from: after the key has been mixed in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Over the packet.
    pub inner: State,
    /// Over the inner digest.
    pub outer: State,
}

/// What a digest is computed in: too large for the stack of a kernel program.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// The block that is mixed in next.
    pub block: Bytes<64>,
    /// The state so far.
    pub state: State,
}

impl Work {
    /// Nothing mixed in yet.
    pub const fn new() -> Self {
        Self { block: Bytes::zero(), state: INITIAL }
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the packet's mutable fields are.
#[derive(Clone, Copy, Debug)]
pub struct Mutable {
    /// Bytes of the packet, from the IP header on.
    pub total: u32,
    /// In unicast mode the TTL is mutable, too.
    pub ttl: bool,
}

impl Key {
    /// Of a password as keepalived has it: eight bytes, filled up with zeros.
    pub fn new(password: [u8; 8]) -> Self {
        let pad = |with: u8| {
            let mut work = Work::new();
            work.block.0 = [with; 64];
            let mut at = 0;
            while at < 8 {
                work.block.0[at] ^= password[at];
                at += 1;
            }
            compress(&mut work);
            work.state
        };
        Self { inner: pad(0x36), outer: pad(0x5c) }
    }
}

/// What came of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mixed {
    /// The packet ends before.
    Cut = 0,
    /// There is more.
    More = 1,
    /// It was the last one.
    Last = 2,
}

/// Whether the integrity value of a packet is the one that `key` gives.
#[inline(always)]
pub fn fits<P: Packet>(packet: &P, key: &Key, fields: Mutable, work: &mut Work) -> bool {
    if !hmac(packet, key, fields, work) {
        return false;
    }
    let mut given = Bytes::<12>::zero();
    if !packet.load(IPV4_LEN + ICV, &mut given) {
        return false;
    }
    let mut differs = 0;
    let mut at = 0;
    while at < 12 {
        differs |= given.0[at] ^ (work.state[at / 4] >> (8 * (at % 4))) as u8;
        at += 1;
    }
    differs == 0
}

/// The integrity value that `key` gives a packet; none of one that ends before, or is too long.
#[cfg(any(test, feature = "user"))]
pub fn icv<P: Packet>(packet: &P, key: &Key, fields: Mutable, work: &mut Work) -> Option<[u8; 12]> {
    hmac(packet, key, fields, work).then(|| core::array::from_fn(|at| work.state[at / 4].to_le_bytes()[at % 4]))
}

/// Leaves the packet's HMAC in the state; false where there is none.
#[inline(always)]
fn hmac<P: Packet>(packet: &P, key: &Key, fields: Mutable, work: &mut Work) -> bool {
    set(&mut work.state, &key.inner);
    let mut mixed = Mixed::More;
    let mut index = 0;
    while index < MOST_BLOCKS {
        mixed = packet.mix(index * BLOCK, fields, work);
        if mixed as u32 != Mixed::More as u32 {
            break;
        }
        index += 1;
    }
    if mixed as u32 != Mixed::Last as u32 {
        return false;
    }
    // The key's block and the inner digest.
    let mut at = 0;
    while at < 16 {
        work.block.0[at] = (work.state[at / 4] >> (8 * (at % 4))) as u8;
        at += 1;
    }
    while at < 64 {
        work.block.0[at] = if at == 16 { 0x80 } else { 0 };
        at += 1;
    }
    put_length(&mut work.block, 64 + 16);
    set(&mut work.state, &key.outer);
    compress(work);
    true
}

/// Mixes in the 64 bytes at `at` of the packet, its mutable fields zeroed.
#[inline(always)]
pub fn mix<P: Packet>(packet: &P, at: u32, fields: Mutable, work: &mut Work) -> Mixed {
    if !fill(packet, at, fields.total, &mut work.block) {
        return Mixed::Cut;
    }
    zero(&mut work.block, at, fields);
    let last = finish(&mut work.block, at, fields.total);
    compress(work);
    if last { Mixed::Last } else { Mixed::More }
}

/// A state, word by word: a copy in one would be a call in a kernel program.
#[inline(always)]
fn set(state: &mut State, to: &State) {
    state[0] = to[0];
    state[1] = to[1];
    state[2] = to[2];
    state[3] = to[3];
}

/// Reads the block at `at`; behind the packet's end it is zero.
#[inline(always)]
fn fill<P: Packet>(packet: &P, at: u32, total: u32, block: &mut Bytes<64>) -> bool {
    if at + BLOCK <= total {
        return packet.load(at, block);
    }
    *block = Bytes::zero();
    if at >= total {
        return true;
    }
    packet.tail(at, total - at, block)
}

/// RFC 2402 section 3.3.3.1: fields that change on the way, and the integrity value itself, are zero.
#[inline(always)]
fn zero(block: &mut Bytes<64>, at: u32, fields: Mutable) {
    if at == 0 {
        // TOS, flags and fragment offset, header checksum.
        block.0[1] = 0;
        block.0[6] = 0;
        block.0[7] = 0;
        block.0[10] = 0;
        block.0[11] = 0;
        if fields.ttl {
            block.0[8] = 0;
        }
    }
    // Behind an IP header without options it is in the first block.
    if at == 0 {
        let mut byte = IPV4_LEN + ICV;
        while byte < IPV4_LEN + LENGTH {
            block.0[(byte & 63) as usize] = 0;
            byte += 1;
        }
    }
}

/// Puts MD5's end into the block, as far as it belongs there; whether this is the last one.
#[inline(always)]
fn finish(block: &mut Bytes<64>, at: u32, total: u32) -> bool {
    if total >= at && total < at + BLOCK {
        block.0[(total & 63) as usize] = 0x80;
    }
    let last = total + 9 <= at + BLOCK;
    if last {
        put_length(block, 64 + total);
    }
    last
}

/// The number of bytes, in bits, where MD5 wants it.
#[inline(always)]
fn put_length(block: &mut Bytes<64>, bytes: u32) {
    let bits = (bytes * 8).to_le_bytes();
    block.0[56] = bits[0];
    block.0[57] = bits[1];
    block.0[58] = bits[2];
    block.0[59] = bits[3];
}

const INITIAL: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// RFC 1321 section 3.4: the sines.
///
/// In the object of the kernel its name is plain: a mangled one carries a hash of the folder it was built in.
#[cfg_attr(target_arch = "bpf", unsafe(export_name = "HA_SINES"))]
static SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];
/// By how much is rotated: four steps of each round, again and again. Named as above.
#[cfg_attr(target_arch = "bpf", unsafe(export_name = "HA_TURNS"))]
static TURNS: [u8; 16] = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];

/// Mixes the block into the state (RFC 1321 section 3.4).
#[inline(always)]
pub fn compress(work: &mut Work) {
    let [mut a, mut b, mut c, mut d] = work.state;
    let mut step = 0;
    while step < 64 {
        // Unrolled, it would not fit the stack of a kernel program.
        step = core::hint::black_box(step);
        let (mixed, word) = match step >> 4 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let at = (word & 15) * 4;
        let block = &work.block.0;
        let value =
            u32::from_le_bytes([block[at & 63], block[(at + 1) & 63], block[(at + 2) & 63], block[(at + 3) & 63]]);
        let turn = u32::from(TURNS[((step >> 4) * 4 + (step & 3)) & 15]);
        let sum = a.wrapping_add(mixed).wrapping_add(SINES[step & 63]).wrapping_add(value);
        a = d;
        d = c;
        c = b;
        b = b.wrapping_add(sum.rotate_left(turn));
        step += 1;
    }
    work.state[0] = work.state[0].wrapping_add(a);
    work.state[1] = work.state[1].wrapping_add(b);
    work.state[2] = work.state[2].wrapping_add(c);
    work.state[3] = work.state[3].wrapping_add(d);
}

#[cfg(test)]
mod tests;
