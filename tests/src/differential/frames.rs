//! Frames to disagree about: adverts of every variant, bent in the places where readers differ.
//!
//! A checksum that does not fit hides every other fault behind it, so most bent frames are made to
//! sum up again.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use ha_agent_common::build::{Advert, Auth, checksum, seal};
use ha_agent_common::{FAMILY_V4, FAMILY_V6, Rules, Watch, ah};

/// VRIDs that are watched, and one that is not.
pub const VRIDS: [u8; 3] = [1, 7, 99];
/// The VRRP group.
pub const GROUP: [u8; 4] = [224, 0, 0, 18];
/// What instances have as `auth_pass`.
pub const PASSWORDS: [[u8; 8]; 2] = [*b"secret\0\0", *b"12345678"];
/// The longest frame: a page less what the kernel needs of it in a test run.
const LONGEST: usize = 3000;

const ETHERNET: usize = 14;

/// What is watched, by VRID and family.
pub type Watches = BTreeMap<(u8, u8), Watch>;

/// A frame; most are such as the keepalived of a watch would take, but for a little.
pub fn frame(rng: &mut Rng, watches: &Watches) -> Vec<u8> {
    if rng.u8(..) < 4 {
        return noise(rng);
    }
    let mut advert = advert(rng);
    let family = if advert.source.is_ipv6() { FAMILY_V6 } else { FAMILY_V4 };
    if let Some(watch) = watches.get(&(advert.vrid, family)).filter(|_| rng.u8(0..8) > 0) {
        adapt(rng, &mut advert, watch);
    }
    if rng.u8(0..6) == 0 {
        advert.option_words = 0;
        advert.options = options(rng);
    }
    let mut frame = advert.frame();
    if advert.trailer {
        trailer_sums(rng, &mut frame);
    }
    // Two thirds stay as they are.
    let bends = rng.u8(0..6).saturating_sub(3);
    for _ in 0..bends {
        bend(rng, &mut frame);
    }
    if bends > 0 {
        mend(rng, &mut frame);
    }
    if rng.u8(0..16) == 0 {
        tag(rng, &mut frame);
    }
    fit(frame)
}

/// Makes an advert what an instance takes, in most respects.
fn adapt(rng: &mut Rng, advert: &mut Advert, watch: &Watch) {
    let rules = &watch.rules;
    let v6 = advert.source.is_ipv6();
    let mut fits = || rng.u8(0..12) > 0;
    if rules.version != 0 && fits() {
        advert.version = rules.version;
    }
    if rules.has(Rules::KNOWS_AUTH) && fits() {
        advert.auth = match rules.auth_type {
            1 => Auth::Pass(if rules.has(Rules::KNOWS_PASSWORD) && fits() { rules.password } else { PASSWORDS[0] }),
            2 => {
                let known = PASSWORDS.into_iter().find(|password| ah::Key::new(*password) == rules.ah);
                let key = known.filter(|_| fits()).unwrap_or(PASSWORDS[0]);
                Auth::AhKey { key, sequence: watch.ah_sequence.saturating_add(u32::from(fits())) }
            }
            _ => Auth::None,
        };
    }
    if rules.interval_cs != 0 && fits() {
        advert.interval_cs = rules.interval_cs;
    }
    if rules.has(Rules::KNOWS_LIST) && fits() {
        advert.addresses = (0..rules.vip_count).map(|low| address(v6, low)).collect();
    }
    if rules.has(Rules::KNOWS_MODE) && fits() {
        let unicast = rules.is_unicast();
        advert.destination = if unicast { own(v6) } else { group(v6) };
        advert.to_mac = unicast.then_some([0; 6]);
    }
}

/// The group of VRRP.
pub fn group(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into() } else { Ipv4Addr::from(GROUP).into() }
}

/// A virtual address.
pub fn address(v6: bool, low: u8) -> IpAddr {
    if v6 { Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, low.into()).into() } else { Ipv4Addr::new(169, 254, 0, low).into() }
}

/// Where others send from.
pub fn source(v6: bool, last: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into()).into()
    } else {
        Ipv4Addr::new(169, 254, 192, last).into()
    }
}

/// The address that unicast adverts are sent to.
pub fn own(v6: bool) -> IpAddr {
    source(v6, 9)
}

/// Makes headers that were bent right again, mostly: a wrong checksum of the IP header hides every other fault.
fn mend(rng: &mut Rng, frame: &mut [u8]) {
    if frame.get(12..14) != Some(&[0x08, 0x00]) {
        return;
    }
    if frame.get(23) == Some(&51) && rng.bool() {
        let multicast = frame.get(30).is_some_and(|first| first >> 4 == 14);
        seal(frame, rng.choice(PASSWORDS).unwrap_or_default(), multicast);
    }
    if rng.u8(0..8) > 0 {
        put(frame, 24, &[0, 0]);
        let end = ETHERNET + usize::from(frame.get(ETHERNET).copied().unwrap_or(0) & 15) * 4;
        let sum = frame.get(ETHERNET..end).map_or(0, checksum);
        put(frame, 24, &sum.to_be_bytes());
    }
}

/// Options of IPv4, sound and malformed.
fn options(rng: &mut Rng) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..rng.u8(0..4) {
        let one: &[u8] = rng
            .choice([
                &[1][..],
                &[0],
                &[7, 7, 4, 0, 0, 0, 0],
                &[7, 7, 5, 0, 0, 0, 0],
                &[68, 8, 5, 0, 0, 0, 0, 0],
                &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
                &[68, 4, 9, 0xf0],
                &[131, 7, 4, 10, 0, 0, 1],
                &[137, 3, 4],
                &[148, 4, 0, 0],
                &[134, 6, 0, 0, 0, 1],
                &[222, 3, 9],
                &[222, 44],
            ])
            .unwrap_or(&[]);
        options.extend(one);
    }
    options.truncate(40);
    options
}

/// Destination MACs: the group's, mostly.
fn to_mac(rng: &mut Rng, vrid: u8) -> Option<[u8; 6]> {
    match rng.u8(0..24) {
        0 => Some([0; 6]),
        1 => Some([0x02, 0, 0, 0, 9, 9]),
        2 => Some([0, 0, 0x5e, 0, rng.u8(0..4), if rng.bool() { vrid } else { 7 }]),
        3 => Some([0xff; 6]),
        _ => None,
    }
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
        0 => Auth::Pass(rng.choice(PASSWORDS).unwrap_or_default()),
        1 if !v6 => Auth::Ah,
        2..5 if !v6 => Auth::AhKey { key: rng.choice(PASSWORDS).unwrap_or_default(), sequence: rng.u32(0..40) },
        _ => Auth::None,
    };
    let last = rng.u8(0..6);
    let group = base.destination;
    let any = rng.u16(..);
    let vrid = if rng.u8(0..32) == 0 { rng.u8(..) } else { rng.choice([1, 1, 1, 7, 7, 7, 99]).unwrap_or(1) };
    let destination = match (rng.u8(0..24), v6) {
        (0, true) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, any).into(),
        (0, false) => Ipv4Addr::from_bits(u32::from(any) << 16 | 9).into(),
        (1, true) => Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, any).into(),
        (1, false) => Ipv4Addr::new(rng.u8(223..=240), 0, 0, 18).into(),
        (2..8, _) => own(v6),
        _ => group,
    };
    // As a sender would, mostly: to the interface's own MAC, which is zero in a test run.
    let to_mac = if destination == own(v6) && rng.u8(0..8) > 0 { Some([0; 6]) } else { to_mac(rng, vrid) };
    Advert {
        version: if matches!(auth, Auth::AhKey { .. }) && rng.u8(0..4) > 0 { 2 } else { version },
        kind: if rng.u8(0..24) == 0 { rng.u8(0..16) } else { 1 },
        vrid,
        priority: rng.choice([0, 1, 50, 50, 50, 100, 254, 255]).unwrap_or(50),
        interval_cs: rng.choice([0, 1, 100, 200, 200, 4095, 25_500]).unwrap_or(100),
        addresses: addresses(rng, v6),
        source: match (rng.u8(0..24), v6) {
            (0, true) => Ipv6Addr::LOCALHOST.into(),
            (1, true) => Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 1, 2).into(),
            (2, true) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
            (0, false) => Ipv4Addr::BROADCAST.into(),
            (1, false) => Ipv4Addr::new(rng.u8(223..=240), 0, 0, 1).into(),
            _ => source(v6, last),
        },
        destination,
        ttl: if rng.u8(0..12) == 0 { rng.choice([0, 1, 64, 254]).unwrap_or(1) } else { 255 },
        auth,
        plain_checksum: rng.u8(0..12) == 0,
        old_checksum: (destination != group && rng.u8(0..3) == 0 || rng.u8(0..24) == 0).then(|| GROUP.into()),
        option_words: if rng.u8(0..8) == 0 { rng.u8(0..=10) } else { 0 },
        options: Vec::new(),
        mac: [0x02, 0, 0, 0, 0, rng.u8(1..3)],
        to_mac,
        vmac: rng.u8(0..4) == 0,
        padding: if rng.u8(0..8) == 0 { rng.u8(0..12) } else { 0 },
        trailer: version == 3 && rng.u8(0..6) == 0,
        fragment: if rng.u8(0..16) == 0 {
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
        let id = if rng.bool() { 0 } else { rng.u8(..) };
        frame.splice(12..12, [high, low, rng.choice([0, 0xe0]).unwrap_or(0), id]);
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
    !checksum(&all)
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
