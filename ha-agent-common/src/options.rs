//! IPv4 options, as the kernel reads them before it delivers a packet (`ip_options_compile` and
//! `ip_rcv_options` of Linux 5.10 to 7.2; RFC 791 section 3.1).

use crate::Reason;

/// Room for the longest options, 40 bytes, and for reads beyond them.
pub const ROOM: usize = 64;
/// The longest options.
pub const MOST: u32 = 40;

const END: u8 = 0;
const NOP: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_ROUTE: u8 = 131;
const CIPSO: u8 = 134;
const STRICT_ROUTE: u8 = 137;
const ROUTER_ALERT: u8 = 148;

/// Options of a kind that may come only once, and have: bits of the state.
const SEEN_RECORD: u32 = 1;
const SEEN_ROUTE: u32 = 2;
const SEEN_TIMESTAMP: u32 = 4;
/// The walk is over: the options end here.
const ENDED: u32 = 8;
/// The walk is over: they are malformed.
const MALFORMED: u32 = 16;

/// Where a walk stands: the place of the next option, and above it the bits.
#[inline(always)]
const fn state(at: u32, bits: u32) -> u32 {
    at | bits << 8
}

/// Why the kernel drops a packet for its options; 0: it does not. `step` is [`step`], or a call to it.
///
/// CIPSO is taken for malformed: without a label domain, which hosts of HA networks do not set up, the
/// kernel drops it. A source route is dropped unless `accept_source_route` is set, and here in any case.
#[inline(always)]
pub fn fault(length: u32, step: impl Fn(u32) -> u32) -> u8 {
    let mut walk = state(0, 0);
    let mut steps = 0;
    while steps < MOST {
        if walk & 0xff >= length || walk >> 8 & (ENDED | MALFORMED) != 0 {
            break;
        }
        walk = step(walk);
        steps += 1;
    }
    let bits = walk >> 8;
    if bits & MALFORMED != 0 {
        Reason::Header as u8
    } else if bits & SEEN_ROUTE != 0 {
        Reason::SourceRoute as u8
    } else {
        0
    }
}

/// Reads one option.
#[inline(always)]
pub fn step(options: &[u8; ROOM], length: u32, walk: u32) -> u32 {
    let byte = |at: u32| options[(at & 63) as usize];
    let (at, seen) = (walk & 0xff, walk >> 8);
    let kind = byte(at);
    if kind == END {
        return state(at, seen | ENDED);
    }
    if kind == NOP {
        return state(at + 1, seen);
    }
    let left = length.saturating_sub(at);
    let size = u32::from(byte(at + 1));
    if left < 2 || size < 2 || size > left {
        return state(at, seen | MALFORMED);
    }
    let pointer = u32::from(byte(at + 2));
    let (sound, once) = match kind {
        RECORD_ROUTE => (size >= 3 && pointer >= 4 && (pointer > size || pointer + 3 <= size), SEEN_RECORD),
        LOOSE_ROUTE | STRICT_ROUTE => (size >= 3 && pointer >= 4, SEEN_ROUTE),
        TIMESTAMP => (timestamp(size, pointer, byte(at + 3)), SEEN_TIMESTAMP),
        ROUTER_ALERT => (size >= 4, 0),
        CIPSO => (false, 0),
        _ => (true, 0),
    };
    // The kernel takes some only once.
    if !sound || seen & once != 0 {
        return state(at, seen | MALFORMED);
    }
    state(at + size, seen | once)
}

#[inline(always)]
fn timestamp(size: u32, pointer: u32, flags: u8) -> bool {
    if size < 4 || pointer < 5 {
        return false;
    }
    let kind = flags & 15;
    if pointer <= size {
        // Only a time, or an address and a time.
        let more = if kind == 1 || kind == 3 { 7 } else { 3 };
        return pointer + more <= size;
    }
    kind == 3 || flags >> 4 != 15
}

#[cfg(test)]
mod tests;
