//! IPv6 extension headers and fragments.

use ha_agent_common::FAMILY_V6;
use ha_agent_common::frame::HOST_DEVICE;
use proptest::prelude::*;

use super::*;
use crate::wire::pieces::ipv6;

const VRRP: u8 = 112;

fn advert() -> Advert {
    let addresses = (1..3).map(|last| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, last])).collect();
    Advert { addresses, ..Advert::v6() }
}

fn unicast() -> Advert {
    Advert { destination: "fe80::99".parse().unwrap(), ..advert() }
}

/// Puts headers between the IPv6 header and what follows it; each begins with what follows the last but one.
fn behind(packet: &[u8], first: u8, headers: &[&[u8]]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[6] = first;
    let rest = packet.split_off(40);
    packet.extend(headers.concat());
    packet.extend(rest);
    let length = u16::try_from(packet.len() - 40).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet
}

/// Options, filled up with one option of padding.
fn options(next: u8, options: &[u8]) -> Vec<u8> {
    let mut header = vec![next, 0];
    header.extend(options);
    match header.len().next_multiple_of(8) - header.len() {
        0 => {}
        1 => header.push(0),
        missing => {
            header.extend([1, u8::try_from(missing - 2).unwrap()]);
            header.resize(header.len() + missing - 2, 0);
        }
    }
    header[1] = u8::try_from(header.len() / 8 - 1).unwrap();
    header
}

/// A fragment header.
fn part(next: u8, at: usize, more: bool, id: u8) -> [u8; 8] {
    let [high, low] = u16::try_from(at | usize::from(more)).unwrap().to_be_bytes();
    [next, 0, high, low, 0, 0, 0, id]
}

/// Fragments of `length` bytes each, with headers before the fragment header.
fn cut(packet: &[u8], first: u8, headers: &[&[u8]], next: u8, length: usize) -> Vec<Vec<u8>> {
    let carried = &packet[40..];
    let pieces = carried.chunks(length).enumerate();
    pieces
        .map(|(index, chunk)| {
            let at = index * length;
            let part = part(next, at, at + chunk.len() < carried.len(), 9);
            let all: Vec<&[u8]> = headers.iter().copied().chain([&part[..], chunk]).collect();
            behind(&packet[..40], first, &all)
        })
        .collect()
}

fn one(packet: &[u8]) -> Option<Whole> {
    Assembly::default().take(&head(FAMILY_V6, START), packet, || 0)
}

fn outcome(packet: &[u8]) -> (Class, Option<Reason>) {
    judged(&one(packet).expect("VRRP"), &advert())
}

const UNHEARD: (Class, Option<Reason>) = (Class::Unheard, Some(Reason::Header));

#[test]
fn options_before_the_advert_are_passed() {
    let plain = packet(&advert());
    for kinds in [&[0][..], &[60], &[0, 60], &[60, 60]] {
        let next = |index: usize| kinds.get(index + 1).copied().unwrap_or(VRRP);
        let headers: Vec<Vec<u8>> = (0..kinds.len()).map(|index| options(next(index), &[])).collect();
        let headers: Vec<&[u8]> = headers.iter().map(Vec::as_slice).collect();
        let whole = one(&behind(&plain, kinds[0], &headers)).unwrap();
        assert_eq!(whole.bytes, plain, "{kinds:?}");
        assert_eq!(judged(&whole, &advert()), PEER);
    }
}

#[test]
fn each_option_is_passed_or_not_as_the_kernel_does() {
    let hop: [(&[u8], bool); 19] = [
        // Router alert.
        (&[5, 2, 0, 0], true),
        (&[5, 3, 0, 0, 0], false),
        // What is not known, by its upper bits.
        (&[0x3e, 2, 1, 1], true),
        (&[0x7e, 2, 1, 1], false),
        (&[0x8a, 2, 1, 1], false),
        (&[0xca, 2, 1, 1], false),
        // A jumbogram, a label, and a home address.
        (&[0xc2, 4, 0, 1, 0, 0], false),
        (&[7, 8, 0, 0, 0, 0, 0, 0, 0, 0], false),
        (&[0xc9, 2, 0, 0], false),
        // Measurements: not at a whole word, and at one.
        (&[49, 2, 0, 0], false),
        (&[1, 0, 49, 2, 0, 0], true),
        // Padding: seven bytes at most, zeros alone.
        (&[0, 0, 0, 0, 0, 0], true),
        (&[1, 4, 0, 0, 0, 0], true),
        (&[1, 4, 0, 0, 1, 0], false),
        (&[1, 5, 0, 0, 0, 0, 0, 0x1e, 0, 0, 0, 0, 0, 0], true),
        (&[1, 6, 0, 0, 0, 0, 0, 0, 0x1e, 0, 0, 0, 0, 0], false),
        (&[0, 0, 0, 0, 1, 2, 0, 0, 0x1e, 0, 0, 0, 0, 0], false),
        // Beyond the header's end.
        (&[0x1e, 5, 0, 0, 0, 0], false),
        (&[0x1e, 0, 0x1e, 0, 0, 0x1e], false),
    ];
    for (given, passes) in hop {
        let header = options(VRRP, given);
        let expected = if passes { PEER } else { UNHEARD };
        assert_eq!(outcome(&behind(&packet(&advert()), 0, &[&header])), expected, "{given:?}");
    }
    // A destination has no alerts, labels or measurements: they are not known there.
    for given in [&[5_u8, 3, 0, 0, 0][..], &[7, 8, 0, 0, 0, 0, 0, 0, 0, 0], &[49, 2, 0, 0]] {
        let header = options(VRRP, given);
        assert_eq!(outcome(&behind(&packet(&advert()), 60, &[&header])), PEER, "{given:?}");
    }
}

#[test]
fn eight_options_are_the_most() {
    for (count, expected) in [(8, PEER), (9, UNHEARD)] {
        let header = options(VRRP, &[0x1e, 0].repeat(count));
        assert_eq!(outcome(&behind(&packet(&advert()), 0, &[&header])), expected);
    }
}

#[test]
fn hop_by_hop_options_come_first_or_not_at_all() {
    let (hop, destination) = (options(VRRP, &[]), options(0, &[]));
    assert_eq!(one(&behind(&packet(&advert()), 60, &[&destination, &hop])), None);
}

#[test]
fn a_chain_that_is_too_long_is_not_passed() {
    let headers: Vec<Vec<u8>> = (0..13).map(|index| options(if index == 12 { VRRP } else { 60 }, &[])).collect();
    let headers: Vec<&[u8]> = headers.iter().map(Vec::as_slice).collect();
    assert_eq!(outcome(&behind(&packet(&advert()), 60, &headers)), UNHEARD);
    assert_eq!(outcome(&behind(&packet(&advert()), 60, &headers[1..])), PEER);
}

#[test]
fn a_routing_header_is_passed_at_its_end_and_at_the_own_mac() {
    let cases = [
        (unicast(), HOST_DEVICE, 0, 0, PEER),
        (unicast(), HOST_DEVICE, 253, 0, PEER),
        (unicast(), HOST_DEVICE, 0, 1, (Class::Unheard, Some(Reason::SourceRoute))),
        (unicast(), HOST_DEVICE, 2, 0, (Class::Unheard, Some(Reason::SourceRoute))),
        (unicast(), HOST_DEVICE, 4, 0, (Class::Unheard, Some(Reason::SourceRoute))),
        (unicast(), HOST_GROUP, 0, 0, (Class::Unheard, Some(Reason::SourceRoute))),
        (advert(), HOST_DEVICE, 0, 0, (Class::Unheard, Some(Reason::SourceRoute))),
    ];
    for (advert, host, kind, left, expected) in cases {
        let packet = behind(&packet(&advert), 43, &[&[VRRP, 0, kind, left, 0, 0, 0, 0]]);
        let head = PieceHead { host, ..head(FAMILY_V6, START) };
        let whole = Assembly::default().take(&head, &packet, || 0).unwrap();
        assert_eq!(judged(&whole, &advert), expected, "{host} {kind} {left}");
    }
}

#[test]
fn what_ends_in_another_protocol_is_none() {
    for next in [50, 51, 59, 58, 135, 200] {
        let header = options(next, &[]);
        assert_eq!(one(&behind(&packet(&advert()), 0, &[&header])), None, "{next}");
    }
}

#[test]
fn what_is_cut_off_is_none() {
    let whole = behind(&packet(&advert()), 0, &[&options(60, &[]), &options(VRRP, &[])]);
    for length in 0..whole.len() {
        assert_eq!(one(&whole[..length]), None, "{length}");
    }
    let mut long = packet(&advert());
    long[6] = 60;
    long[40..42].copy_from_slice(&[VRRP, 200]);
    assert_eq!(one(&long), None);
}

#[test]
fn without_a_length_hop_by_hop_options_take_all_there_is() {
    let mut packet = behind(&packet(&advert()), 0, &[&options(VRRP, &[])]);
    packet[4..6].fill(0);
    assert_eq!(outcome(&packet), PEER);
    packet.extend([0; 2]);
    assert_ne!(outcome(&packet), PEER);
}

#[test]
fn a_fragment_that_is_the_whole_is_passed_once() {
    let plain = packet(&advert());
    let atomic = part(VRRP, 0, false, 9);
    assert_eq!(outcome(&behind(&plain, 44, &[&atomic])), PEER);
    let twice = [part(44, 0, false, 9), atomic];
    assert_eq!(outcome(&behind(&plain, 44, &[&twice[0], &twice[1]])), UNHEARD);
}

#[test]
fn fragments_in_any_order_are_the_packet() {
    let plain = packet(&advert());
    let hop = options(44, &[5, 2, 0, 0]);
    for (first, headers) in [(44, &[][..]), (0, &[&hop[..]])] {
        let pieces = cut(&plain, first, headers, VRRP, 16);
        assert_eq!(pieces.len(), 3);
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let pieces = order.map(|at: usize| pieces[at].clone());
            let whole = give(&mut Assembly::default(), FAMILY_V6, &pieces).unwrap();
            assert_eq!(whole.bytes, plain);
            assert_eq!(judged(&whole, &advert()), PEER);
        }
    }
}

#[test]
fn headers_behind_the_fragment_header_are_read_from_the_whole() {
    let plain = packet(&advert());
    let inner = behind(&plain, 60, &[&options(VRRP, &[])]);
    let whole = give(&mut Assembly::default(), FAMILY_V6, &cut(&inner, 44, &[], 60, 16)).unwrap();
    assert_eq!(whole.bytes, plain);
    // A first fragment with options alone is no first fragment.
    let pieces = cut(&inner, 44, &[], 60, 8);
    let alone = one(&pieces[0]).unwrap();
    assert!(Opened::new(&alone, KEY).is_none(), "no VRRP in it");
    let mut assembly = Assembly::default();
    for piece in pieces {
        let whole = assembly.take(&head(FAMILY_V6, START), &piece, || 0);
        assert!(whole.is_none_or(|whole| Opened::new(&whole, KEY).is_none()));
    }
}

#[test]
fn an_overlap_throws_all_away_and_a_duplicate_does_not() {
    let plain = packet(&advert());
    let [a, b, c] = cut(&plain, 44, &[], VRRP, 16).try_into().unwrap();
    let twice = [a.clone(), a.clone(), b.clone(), c.clone()];
    assert_eq!(give(&mut Assembly::default(), FAMILY_V6, &twice).unwrap().bytes, plain);
    let across = behind(&plain[..40], 44, &[&part(VRRP, 8, true, 9), &plain[48..64]]);
    assert_eq!(give(&mut Assembly::default(), FAMILY_V6, &[a, across, b, c]), None);
}

#[test]
fn a_fragment_that_does_not_end_at_eight_bytes_is_passed_over() {
    let plain = packet(&advert());
    let [a, b, c] = cut(&plain, 44, &[], VRRP, 16).try_into().unwrap();
    let odd = behind(&plain[..40], 44, &[&part(VRRP, 16, true, 9), &[0; 12]]);
    let beyond = behind(&plain[..40], 44, &[&part(VRRP, 65_528, false, 9), &[0; 12]]);
    assert_eq!(give(&mut Assembly::default(), FAMILY_V6, &[a, odd, beyond, b, c]).unwrap().bytes, plain);
}

#[test]
fn what_is_longer_than_a_packet_is_none() {
    let plain = packet(&advert());
    let hop = options(44, &[]);
    let first = behind(&plain[..40], 0, &[&hop, &part(VRRP, 0, true, 9), &vec![0; 65_528 - 16]]);
    let last = behind(&plain[..40], 44, &[&part(VRRP, 65_512, false, 9), &[0; 20]]);
    assert_eq!(give(&mut Assembly::default(), FAMILY_V6, &[first, last]), None);
}

#[test]
fn fragments_that_the_kernel_drops_are_named_and_complete_nothing() {
    let plain = packet(&advert());
    let bad = options(44, &[0x7e, 2, 1, 1]);
    let pieces = cut(&plain, 0, &[&bad], VRRP, 16);
    let named = one(&pieces[0]).unwrap();
    assert_eq!(judged(&named, &advert()), UNHEARD);
    let mut assembly = Assembly::default();
    assert_eq!(give(&mut assembly, FAMILY_V6, &pieces[1..]), None);
    assert_eq!(assembly.size(), (0, 0));
}

#[test]
fn rejected_and_unheard_contents_are_told_as_such() {
    let low = Advert { ttl: 64, ..advert() };
    let header = options(VRRP, &[]);
    let whole = one(&behind(&packet(&low), 0, &[&header])).unwrap();
    assert_eq!(judged(&whole, &low), (Class::Rejected, Some(Reason::Ttl)));
    let mut wrong = behind(&packet(&advert()), 0, &[&header]);
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(outcome(&wrong), (Class::Unheard, Some(Reason::Checksum)));
    let elsewhere = Advert { destination: "ff02::13".parse().unwrap(), ..advert() };
    let whole = one(&behind(&packet(&elsewhere), 0, &[&header])).unwrap();
    assert_eq!(judged(&whole, &elsewhere), (Class::Unheard, Some(Reason::Destination)));
}

/// Bytes that look like a chain of headers more often than any would.
fn chain() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0_u8), Just(43), Just(44), Just(60), Just(112), Just(1), 0_u8..8, any::<u8>()];
    prop::collection::vec(byte, 0..256)
}

proptest! {
    #[test]
    fn nothing_that_comes_is_too_much(
        next in prop_oneof![Just(0_u8), Just(43), Just(44), Just(60)],
        chain in chain(),
        own in any::<bool>(),
    ) {
        let bytes = behind(&packet(&advert())[..40], next, &[&chain]);
        let mut walk = ipv6::Walk::new(&bytes, own);
        for _ in 0..4 {
            match walk.take().map(ipv6::Walk::on) {
                Some(ipv6::Found::Fragment(fragment)) => {
                    let _part = fragment.part();
                    let _named = fragment.alone().map(ipv6::Walk::on);
                    walk = fragment.join(&chain, 0);
                }
                Some(ipv6::Found::Vrrp(plain, _)) => {
                    prop_assert_eq!(plain[6], VRRP);
                    prop_assert_eq!(usize::from(u16::from_be_bytes([plain[4], plain[5]])), plain.len() - 40);
                    let whole = Whole { bytes: plain, fault: 0, link: Default::default(), family: FAMILY_V6 };
                    if let Some(opened) = Opened::new(&whole, KEY) {
                        let _judged = opened.judge(&mut watch(&advert()), |_| None);
                    }
                }
                _ => {}
            }
        }
    }
}
