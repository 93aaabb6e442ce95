//! Frames to disagree about: adverts of every variant, bent in the places where readers differ.
//!
//! A checksum that does not fit hides every other fault behind it, so most bent frames are made to
//! sum up again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use ha_agent_common::build::{Advert, Auth};

use super::reference::ones_complement_sum;

/// VRIDs that are watched, and one that is not.
pub const VRIDS: [u8; 3] = [1, 7, 99];
/// The longest frame: a page less what the kernel needs of it in a test run.
const LONGEST: usize = 3000;

const ETHERNET: usize = 14;

/// A frame.
pub fn frame(rng: &mut Rng) -> Vec<u8> {
    if rng.u8(..) < 4 {
        return noise(rng);
    }
    let advert = advert(rng);
    let mut frame = advert.frame();
    if advert.trailer {
        trailer_sums(rng, &mut frame);
    }
    // A third stays as it is.
    for _ in 0..rng.u8(0..3) {
        bend(rng, &mut frame);
    }
    fit(frame)
}

/// Makes the kernel take it in a test run (6.18): more than an Ethernet header, and where its type
/// says IP a whole header without options.
fn fit(mut frame: Vec<u8>) -> Vec<u8> {
    frame.truncate(LONGEST);
    frame.resize(frame.len().max(ETHERNET + 1), 0);
    let least = match frame.get(12..14) {
        Some([0x08, 0x00]) => ETHERNET + 20,
        Some([0x86, 0xdd]) => ETHERNET + 40,
        _ => 0,
    };
    frame.resize(frame.len().max(least), 0);
    frame
}

/// Random bytes, most behind a header that lets them in.
fn noise(rng: &mut Rng) -> Vec<u8> {
    let mut frame = bytes(rng, 200);
    if rng.bool() {
        let kind: &[u8] = rng.choice([&[0x08, 0x00][..], &[0x86, 0xdd], &[0x81, 0x00], &[0x88, 0xa8]]).unwrap_or(&[]);
        put(&mut frame, 12, kind);
        put(&mut frame, ETHERNET, &[rng.choice([0x45, 0x46, 0x60]).unwrap_or(0)]);
        let at = rng.choice([20, 23, 24, 27]).unwrap_or(0);
        put(&mut frame, at, &[rng.choice([112, 51]).unwrap_or(0)]);
    }
    fit(frame)
}

fn advert(rng: &mut Rng) -> Advert {
    let v6 = rng.u8(0..3) == 0;
    let base = match (v6, rng.bool()) {
        (true, _) => Advert::v6(),
        (false, true) => Advert::v2(),
        (false, false) => Advert::v3(),
    };
    let version = if rng.u8(0..24) == 0 { rng.u8(0..16) } else { rng.choice([2, 3]).unwrap_or(3) };
    let auth = match rng.u8(0..8) {
        0 | 1 => Auth::Pass(rng.choice([*b"secret\0\0", *b"12345678"]).unwrap_or_default()),
        2 if !v6 => Auth::Ah,
        _ => Auth::None,
    };
    let last = rng.u8(0..6);
    let group = base.destination;
    let any = rng.u16(..);
    Advert {
        version,
        kind: if rng.u8(0..24) == 0 { rng.u8(0..16) } else { 1 },
        vrid: if rng.u8(0..32) == 0 { rng.u8(..) } else { rng.choice(VRIDS).unwrap_or(1) },
        priority: rng.choice([0, 1, 50, 50, 50, 100, 254, 255]).unwrap_or(50),
        interval_cs: rng.choice([0, 1, 100, 200, 200, 4095, 25_500]).unwrap_or(100),
        addresses: addresses(rng, v6),
        source: if v6 {
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into()).into()
        } else {
            Ipv4Addr::new(169, 254, 192, last).into()
        },
        destination: match (rng.u8(0..12), v6) {
            (0, true) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, any).into(),
            (0, false) => Ipv4Addr::from_bits(u32::from(any) << 16 | 9).into(),
            (1, true) => Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, any).into(),
            (1, false) => Ipv4Addr::new(rng.u8(223..=240), 0, 0, 18).into(),
            _ => group,
        },
        ttl: if rng.u8(0..12) == 0 { rng.choice([0, 1, 64, 254]).unwrap_or(1) } else { 255 },
        auth,
        plain_checksum: rng.bool(),
        option_words: if rng.u8(0..8) == 0 { rng.u8(0..=10) } else { 0 },
        vmac: rng.u8(0..4) == 0,
        trailer: version == 3 && rng.u8(0..6) == 0,
        fragment: if rng.u8(0..10) == 0 {
            rng.choice([0x2000, 1, 0x1fff, 0x6001, 0x8000]).unwrap_or(0)
        } else {
            rng.choice([0, 0x4000]).unwrap_or(0)
        },
    }
}

/// Mostly few; sometimes none, or as many as one can name.
fn addresses(rng: &mut Rng, v6: bool) -> Vec<IpAddr> {
    let count = match rng.u8(0..32) {
        0 => rng.u8(..),
        1..6 => 0,
        6..16 => rng.u8(2..9),
        _ => 1,
    };
    let first = rng.choice([0, 0, 0, 1, 0xffff]).unwrap_or(0);
    (0..u16::from(count))
        .map(|i| {
            let low = first ^ i;
            if v6 {
                Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, low).into()
            } else {
                Ipv4Addr::from_bits(0xa9fe_0000 | u32::from(low)).into()
            }
        })
        .collect()
}

/// One change.
fn bend(rng: &mut Rng, frame: &mut Vec<u8>) {
    let at = vrrp_at(frame);
    match rng.u8(0..13) {
        // The headers, byte by byte.
        0 | 1 => poke(rng, frame, ETHERNET..at + 8),
        2 => poke(rng, frame, at..at + 8),
        3 => poke(rng, frame, 0..ETHERNET),
        4 => poke(rng, frame, at..usize::MAX),
        // Lengths.
        5 => length(rng, frame),
        6 => {
            let keep = rng.usize(ETHERNET..=frame.len());
            frame.truncate(keep);
        }
        7 => {
            // Cut within the VRRP packet; its length by the IP header stays.
            let keep = at + rng.usize(0..48);
            frame.truncate(keep);
        }
        8 => frame.extend(bytes(rng, 64)),
        9 => tag(rng, frame),
        10 => put(frame, 23, &[rng.choice([51, 112, 17]).unwrap_or(0)]),
        // The address count.
        11 => {
            let count = rng.choice([0, 1, 2, 255]).unwrap_or(0);
            put(frame, at + 3, &[count]);
        }
        _ => {}
    }
    match rng.u8(0..4) {
        0 | 1 => sum_up(rng, frame),
        2 => compensate(rng, frame),
        _ => {}
    }
}

/// A byte set to something: often a border value.
fn poke(rng: &mut Rng, frame: &mut [u8], range: std::ops::Range<usize>) {
    let end = range.end.min(frame.len());
    if range.start >= end {
        return;
    }
    let at = rng.usize(range.start..end);
    frame[at] = match rng.u8(0..4) {
        0 => rng.u8(..),
        1 => frame[at] ^ (1 << rng.u8(0..8)),
        2 => frame[at].wrapping_add(if rng.bool() { 1 } else { 255 }),
        _ => rng.choice([0, 1, 2, 4, 51, 64, 112, 255]).unwrap_or(0),
    };
}

/// The length that the IP header tells, a little off, or anything.
fn length(rng: &mut Rng, frame: &mut [u8]) {
    let at = if is_v6(frame) { 18 } else { 16 };
    let Some(&[high, low]) = frame.get(at..at + 2) else {
        return;
    };
    let length = u16::from_be_bytes([high, low]);
    let other = match rng.u8(0..4) {
        0 => rng.u16(..),
        1 => length.wrapping_add(28),
        2 => length.wrapping_sub(rng.u16(1..32)),
        _ => length.wrapping_add(rng.u16(1..32)),
    };
    put(frame, at, &other.to_be_bytes());
}

fn tag(rng: &mut Rng, frame: &mut Vec<u8>) {
    let kind = rng.choice([0x8100_u16, 0x88a8, 0x9100]).unwrap_or(0x8100);
    let [high, low] = kind.to_be_bytes();
    if frame.len() >= 12 {
        frame.splice(12..12, [high, low, 0, rng.u8(..)]);
    }
}

/// Writes the checksum anew, in one of the forms.
fn sum_up(rng: &mut Rng, frame: &mut [u8]) {
    let pseudo = rng.bool();
    let Some((at, end)) = packet(frame) else {
        return;
    };
    put(frame, at + 6, &[0, 0]);
    let sum = summed(frame, at, end, pseudo, end - at);
    put(frame, at + 6, &(!sum).to_be_bytes());
}

/// Leaves the checksum and changes the source address so that the packet sums up, with pseudo-header,
/// as a reader would see it that takes what is cut off for zeros.
fn compensate(rng: &mut Rng, frame: &mut [u8]) {
    let source = if is_v6(frame) { 36 } else { 28 };
    let Some((at, end)) = packet(frame) else {
        return;
    };
    let told = told_length(frame, at).unwrap_or(end - at);
    let end = if rng.bool() { end } else { end.min(at + 4) };
    put(frame, source, &[0, 0]);
    let sum = summed(frame, at, end, true, told);
    put(frame, source, &(!sum).to_be_bytes());
}

/// A trailer's checksum in the forms that the builder does not make.
fn trailer_sums(rng: &mut Rng, frame: &mut [u8]) {
    let Some((at, end)) = packet(frame) else {
        return;
    };
    let (counted, told, pseudo) = match rng.u8(0..4) {
        0 => (end, end - at, true),
        1 => (end, end - at, false),
        2 => (end.saturating_sub(28), end - at, true),
        _ => return,
    };
    put(frame, at + 6, &[0, 0]);
    let sum = summed(frame, at, counted, pseudo, told);
    put(frame, at + 6, &(!sum).to_be_bytes());
}

fn summed(frame: &[u8], at: usize, end: usize, pseudo: bool, told: usize) -> u16 {
    let mut all = Vec::new();
    if pseudo {
        let addresses = if is_v6(frame) { 22..54 } else { 26..34 };
        all.extend(frame.get(addresses).unwrap_or(&[]));
        all.extend(u32::try_from(told).unwrap_or(0).to_be_bytes());
        all.extend([0, 0, 0, 112]);
    }
    all.extend(frame.get(at..end).unwrap_or(&[]));
    ones_complement_sum(&all)
}

fn is_v6(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd])
}

/// Where VRRP begins, roughly: what is bent need not be right.
fn vrrp_at(frame: &[u8]) -> usize {
    if is_v6(frame) {
        return 54;
    }
    let header = usize::from(frame.get(ETHERNET).copied().unwrap_or(0) & 15) * 4;
    let ah = if frame.get(23) == Some(&51) { 24 } else { 0 };
    ETHERNET + header + ah
}

/// Begin and end of the VRRP packet as far as it is there.
fn packet(frame: &[u8]) -> Option<(usize, usize)> {
    let at = vrrp_at(frame);
    let end = at + told_length(frame, at)?;
    let end = end.min(frame.len());
    (at < end).then_some((at, end))
}

fn told_length(frame: &[u8], at: usize) -> Option<usize> {
    let field = if is_v6(frame) { 18 } else { 16 };
    let &[high, low] = frame.get(field..field + 2)? else {
        return None;
    };
    let told = usize::from(u16::from_be_bytes([high, low]));
    if is_v6(frame) { Some(told) } else { (ETHERNET + told).checked_sub(at) }
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn bytes(rng: &mut Rng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.usize(0..=most)];
    rng.fill(&mut bytes);
    bytes
}
