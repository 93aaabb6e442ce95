//! Pieces as they come from the classifier, and what they turn out to be.

mod bounds;
mod kernel;
mod v4;
mod v6;

use std::net::IpAddr;

use ha_agent_common::build::{Advert, checksum};
use ha_agent_common::frame::HOST_GROUP;
use ha_agent_common::{NO_VLAN, PieceHead, Reason};

use super::*;
use crate::wire::rules::wide;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_000 * SECOND;
const KEY: [u64; 2] = [3, 5];

/// A piece that came to a group.
fn head(family: u8, seen_ns: u64) -> PieceHead {
    PieceHead {
        realm: 7,
        seen_ns,
        ifindex: 2,
        length: 0,
        vlan: NO_VLAN,
        mac: [2, 0, 0, 0, 0, 1],
        family,
        host: HOST_GROUP,
        to: [1, 0, 0x5e, 0, 0, 0x12],
        pad: [0; 2],
    }
}

/// The packet of an advert, its IPv4 header's checksum right.
fn packet(advert: &Advert) -> Vec<u8> {
    let mut packet = advert.frame().split_off(14);
    if advert.source.is_ipv4() {
        packet.truncate(usize::from(u16::from_be_bytes([packet[2], packet[3]])));
        seal(&mut packet);
    } else {
        packet.truncate(40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])));
    }
    packet
}

/// Makes an IPv4 header's checksum right.
fn seal(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..length]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn watch(advert: &Advert) -> Watch {
    let mut rules = Rules { version: advert.version, flags: Rules::KNOWS_MODE, ..Rules::default() };
    if !advert.destination.is_multicast() {
        rules.flags |= Rules::UNICAST;
        rules.destination = wide(advert.destination);
    }
    Watch::new(1, rules, 0)
}

/// What a whole packet is to an instance that takes `advert`.
fn judged(whole: &Whole, advert: &Advert) -> (Class, Option<Reason>) {
    let opened = Opened::new(whole, KEY).expect("VRRP");
    assert_eq!(opened.header[1], advert.vrid);
    let (judgement, speaker) = opened.judge(&mut watch(advert), |_| None);
    let source: IpAddr = advert.source;
    assert_eq!(speaker.src, wide(source));
    (judgement.class, Reason::from_code(judgement.reason))
}

const PEER: (Class, Option<Reason>) = (Class::Peer, None);

/// Gives pieces to an assembly, a millisecond after each other; what came of the last one.
fn give(assembly: &mut Assembly, family: u8, pieces: &[Vec<u8>]) -> Option<Whole> {
    let mut last = None;
    for (index, piece) in pieces.iter().enumerate() {
        assert_eq!(last, None, "complete before piece {index}");
        last = assembly.take(&head(family, START + index as u64 * 1_000_000), piece, || 0);
    }
    last
}

#[test]
fn a_piece_is_read_by_its_size_alone() {
    assert!(read(&[0; size_of::<Piece>()]).is_some());
    assert!(read(&[0; size_of::<Piece>() - 1]).is_none());
}
