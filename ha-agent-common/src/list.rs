//! The list of addresses in an advert: its checksum, and a digest that no stranger can aim at.

use crate::frame::{Bytes, Packet, halves};

/// What is kept of an advert's list of addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Ones' complement sum.
    pub sum: u64,
    /// The sum, modulo 2^64, of each address's SipHash-1-3 under a secret key: the same for the same
    /// addresses in any order, as keepalived compares them. Whoever does not know the key cannot make
    /// other addresses of the same digest.
    pub digest: u64,
}

impl List {
    /// Adds an IPv4 address, in network order.
    #[inline(always)]
    pub fn add_v4(&mut self, key: [u64; 2], address: [u8; 4]) {
        let word = u64::from(u32::from_ne_bytes(address));
        self.sum += word;
        self.digest = self.digest.wrapping_add(siphash(key, [word, 0], 4));
    }

    /// Adds an IPv6 address.
    #[inline(always)]
    pub fn add_v6(&mut self, key: [u64; 2], a: &[u8; 16]) {
        let low = u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]);
        let high = u64::from_ne_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]);
        self.sum += halves(low) + halves(high);
        self.digest = self.digest.wrapping_add(siphash(key, [low, high], 16));
    }
}

/// The most that the count of a VRRP header can say.
const MOST: u32 = 255;

/// Reads `count` addresses at `at`; false when the frame ends before.
///
/// A loop for each family: with a choice inside, older verifiers (5.10) try both ways at each step.
#[inline(always)]
pub fn read<P: Packet>(packet: &P, key: [u64; 2], at: u32, count: u32, v4: bool, into: &mut List) -> bool {
    let mut at = at;
    let mut index = 0;
    if v4 {
        while index < MOST {
            if index >= count {
                break;
            }
            let mut address = Bytes::<4>::zero();
            if !packet.load(at, &mut address) {
                return false;
            }
            into.add_v4(key, address.0);
            at += 4;
            index += 1;
        }
        return true;
    }
    while index < MOST {
        if index >= count {
            break;
        }
        let mut address = Bytes::<16>::zero();
        if !packet.load(at, &mut address) {
            return false;
        }
        into.add_v6(key, &address.0);
        at += 16;
        index += 1;
    }
    true
}

/// A digest over two words, for telling contents apart.
#[inline(always)]
pub fn content(key: [u64; 2], list: u64, rest: u64) -> u64 {
    siphash(key, [list, rest], 16)
}

/// SipHash-1-3 (Aumasson and Bernstein) of `length` bytes, 4 or 16, which fill `words`.
#[inline(always)]
fn siphash(key: [u64; 2], words: [u64; 2], length: u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let last = if length == 16 {
        compress(&mut v, words[0]);
        compress(&mut v, words[1]);
        length << 56
    } else {
        words[0] | (length << 56)
    };
    compress(&mut v, last);
    v[2] ^= 0xff;
    round(&mut v);
    round(&mut v);
    round(&mut v);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
fn compress(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests;
