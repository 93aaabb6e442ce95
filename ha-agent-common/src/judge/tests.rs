//! Frames as [`crate::build`] makes them, judged for watches of many kinds.

mod arriving;
mod leaving;
mod random;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use super::*;
use crate::build::{Advert, Auth, checksum};
use crate::frame::{HOST_DEVICE, HOST_GROUP, HOST_OTHER, Seen, header, open_v4, open_v6};
use crate::slice::Slice;

const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
const SECRET: [u8; 8] = *b"secret\0\0";
/// The MAC of the interface that judges.
const OWN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 9];
const ETHERNET: usize = 14;
const GROUP: [u8; 4] = [224, 0, 0, 18];

/// An address as records have it.
fn wide(address: IpAddr) -> [u8; 16] {
    let mut wide = [0; 16];
    match address {
        IpAddr::V4(address) => wide[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => wide = address.octets(),
    }
    wide
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(169, 254, 192, last).into()
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last).into()
}

fn digest_of(addresses: &[IpAddr]) -> u64 {
    let mut list = List::default();
    for address in addresses {
        match address {
            IpAddr::V4(address) => list.add_v4(KEY, address.octets()),
            IpAddr::V6(address) => list.add_v6(KEY, &address.octets()),
        }
    }
    list.digest
}

/// The rules of a keepalived that is configured as the sender of `advert` is.
fn rules_like(advert: &Advert) -> Rules {
    let multicast = advert.destination.is_multicast();
    let v2 = advert.version == 2;
    let mut rules = Rules {
        list: digest_of(&advert.addresses),
        destination: wide(advert.destination),
        group: GROUP,
        interval_cs: if v2 { advert.interval_cs } else { 0 },
        version: advert.version,
        vip_count: u8::try_from(advert.addresses.len()).unwrap(),
        flags: Rules::KNOWS_MODE | Rules::KNOWS_AUTH | Rules::KNOWS_LIST,
        ..Rules::default()
    };
    if !multicast {
        rules.flags |= Rules::UNICAST;
    }
    match advert.auth {
        _ if !v2 => {}
        Auth::None => {}
        Auth::Pass(password) => {
            rules.auth_type = 1;
            rules.password = password;
            rules.flags |= Rules::KNOWS_PASSWORD;
        }
        Auth::Ah => rules.auth_type = 2,
        Auth::AhKey { key, .. } => {
            rules.auth_type = 2;
            rules.ah = ah::Key::new(key);
            rules.flags |= Rules::KNOWS_PASSWORD;
        }
    }
    rules
}

/// What a watch knows whose configuration nobody has read.
fn nothing() -> Rules {
    Rules { group: GROUP, ..Rules::default() }
}

fn with(rules: Rules, flags: u16) -> Rules {
    Rules { flags: rules.flags | flags, ..rules }
}

fn watch(rules: Rules) -> Watch {
    Watch::new(7, rules, 0)
}

/// What the link says of a frame to the interface of [`OWN_MAC`].
fn link(frame: &[u8]) -> Link {
    let mut link = Link::default();
    let macs: &[u8; 12] = frame[..12].try_into().unwrap();
    link.to.copy_from_slice(&macs[..6]);
    link.mac.copy_from_slice(&macs[6..]);
    link.host = if macs[..6] == OWN_MAC {
        HOST_DEVICE
    } else if macs[0] & 1 == 1 {
        HOST_GROUP
    } else {
        HOST_OTHER
    };
    link
}

/// Opens a frame; none of what is no VRRP, or has no VRID.
fn open(frame: &[u8], arriving: bool) -> Option<(Slice<'_>, Envelope, [u8; 8])> {
    let packet = Slice::new(&frame[ETHERNET..], KEY);
    let mut envelope = Envelope::default();
    let seen = match frame[12..14] {
        [0x08, 0x00] => open_v4(&packet, &mut envelope, arriving),
        [0x86, 0xdd] => open_v6(&packet, &mut envelope, arriving),
        _ => Seen::Other,
    };
    let header = (seen == Seen::Vrrp).then(|| header(&packet, &envelope)).flatten()?;
    Some((packet, envelope, header))
}

/// How a frame that arrives is judged, and what it says.
fn arrive(watch: &mut Watch, frame: &[u8], peer: Option<Peer>) -> (Judgement, Speaker) {
    let (packet, envelope, header) = open(frame, true).unwrap();
    let frame = (Frame { packet: &packet, envelope: &envelope, header }, link(frame));
    let mut speaker = Speaker::default();
    read(&frame.0, &frame.1, &mut speaker);
    (arriving(&frame.0, &frame.1, watch, peer, &mut speaker), speaker)
}

/// The class and the reason of a frame that arrives for a new watch.
fn judged(rules: Rules, frame: &[u8]) -> (Class, Option<Reason>) {
    told(arrive(&mut watch(rules), frame, None).0)
}

fn told(judgement: Judgement) -> (Class, Option<Reason>) {
    (judgement.class, Reason::from_code(judgement.reason))
}

const PEER: (Class, Option<Reason>) = (Class::Peer, None);

fn rejected_for(reason: Reason) -> (Class, Option<Reason>) {
    (Class::Rejected, Some(reason))
}

fn unheard_for(reason: Reason) -> (Class, Option<Reason>) {
    (Class::Unheard, Some(reason))
}

/// Where VRRP begins in a frame without options and authentication header.
const VRRP: usize = ETHERNET + 20;

/// Writes the IPv4 header's checksum anew.
fn sum_header(frame: &mut [u8]) {
    let end = ETHERNET + usize::from(frame[ETHERNET] & 15) * 4;
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = checksum(&frame[ETHERNET..end]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
}

/// An advert with some of its VRRP bytes changed; VRRPv2's checksum is made to fit again.
fn v2_with(advert: &Advert, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut frame = advert.frame();
    let length = usize::from(u16::from_be_bytes([frame[16], frame[17]])) + ETHERNET;
    let body = &mut frame[VRRP..length];
    change(body);
    body[6..8].fill(0);
    let sum = checksum(body);
    body[6..8].copy_from_slice(&sum.to_be_bytes());
    frame
}
