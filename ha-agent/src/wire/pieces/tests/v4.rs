//! IPv4 fragments.

use proptest::prelude::*;

use super::*;
use crate::wire::pieces::ipv4;

/// A fragment of a packet: `length` bytes of its payload from `at` on.
fn fragment(packet: &[u8], at: usize, length: usize) -> Vec<u8> {
    let header = usize::from(packet[0] & 15) * 4;
    let end = (header + at + length).min(packet.len());
    let mut piece = packet[..header].to_vec();
    piece.extend(&packet[header + at..end]);
    let more = if end < packet.len() { 0x2000 } else { 0 };
    place(&mut piece, at, more);
    piece
}

/// Says where a fragment belongs.
fn place(piece: &mut [u8], at: usize, more: u16) {
    let total = u16::try_from(piece.len()).unwrap();
    piece[2..4].copy_from_slice(&total.to_be_bytes());
    let place = more | u16::try_from(at / 8).unwrap();
    piece[6..8].copy_from_slice(&place.to_be_bytes());
    seal(piece);
}

/// 28 bytes of VRRP: three addresses.
fn advert() -> Advert {
    let addresses = (1..4).map(|last| IpAddr::from([169, 254, 0, last])).collect();
    Advert { addresses, ..Advert::v2() }
}

fn three() -> [Vec<u8>; 3] {
    let packet = packet(&advert());
    [(0, 8), (8, 16), (24, 8)].map(|(at, length)| fragment(&packet, at, length))
}

#[test]
fn two_fragments_in_any_order_are_the_packet() {
    let packet = packet(&advert());
    let pair = [fragment(&packet, 0, 16), fragment(&packet, 16, 100)];
    for order in [[0, 1], [1, 0]] {
        let whole = give(&mut Assembly::default(), FAMILY_V4, &order.map(|at: usize| pair[at].clone())).unwrap();
        assert_eq!(whole.bytes, packet);
        assert_eq!(judged(&whole, &advert()), PEER);
    }
}

#[test]
fn three_fragments_in_any_order_are_the_packet() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut assembly = Assembly::default();
        let whole = give(&mut assembly, FAMILY_V4, &order.map(|at: usize| three()[at].clone())).unwrap();
        assert_eq!(whole.bytes, packet(&advert()), "{order:?}");
        assert_eq!(assembly.size(), (0, 0));
    }
}

#[test]
fn duplicates_are_passed_over_whatever_they_say() {
    let [a, b, c] = three();
    let mut other = a.clone();
    other[22] = 254;
    let whole = give(&mut Assembly::default(), FAMILY_V4, &[a, other, b.clone(), b, c]).unwrap();
    assert_eq!(whole.bytes, packet(&advert()));
}

#[test]
fn an_overlap_throws_all_away() {
    let [a, b, c] = three();
    let across = fragment(&packet(&advert()), 0, 16);
    let mut assembly = Assembly::default();
    assert_eq!(give(&mut assembly, FAMILY_V4, &[b.clone(), across, c.clone()]), None);
    // The last one began anew, and the others complete it.
    assert_eq!(give(&mut assembly, FAMILY_V4, &[a, b]).unwrap().bytes, packet(&advert()));
}

#[test]
fn another_end_throws_all_away() {
    let [a, b, c] = three();
    let mut short = c.clone();
    short.truncate(short.len() - 4);
    place(&mut short, 24, 0);
    assert_eq!(give(&mut Assembly::default(), FAMILY_V4, &[c, short, a, b]), None);
}

#[test]
fn without_the_last_fragment_there_is_nothing() {
    let [a, b, _] = three();
    let mut assembly = Assembly::default();
    assert_eq!(give(&mut assembly, FAMILY_V4, &[a, b]), None);
    assert_eq!(assembly.size().0, 1);
}

#[test]
fn all_but_the_last_end_at_eight_bytes() {
    let packet = packet(&advert());
    let mut long = fragment(&packet, 0, 20);
    place(&mut long, 0, 0x2000);
    let whole = give(&mut Assembly::default(), FAMILY_V4, &[long, fragment(&packet, 16, 100)]).unwrap();
    assert_eq!(whole.bytes, packet);
}

#[test]
fn the_header_is_the_first_fragments() {
    let with = packet(&Advert { option_words: 2, ..advert() });
    let without = packet(&advert());
    let mut second = fragment(&without, 8, 100);
    second[8] = 1;
    seal(&mut second);
    let whole = give(&mut Assembly::default(), FAMILY_V4, &[second, fragment(&with, 0, 8)]).unwrap();
    assert_eq!(whole.bytes, with);
    assert_eq!(judged(&whole, &advert()), PEER);
}

#[test]
fn fragments_that_the_kernel_drops_are_named_and_complete_nothing() {
    let [a, b, c] = three();
    let mut wrong = a.clone();
    wrong[10] ^= 1;
    let mut assembly = Assembly::default();
    let named = assembly.take(&head(FAMILY_V4, START), &wrong, || 0).unwrap();
    assert_eq!(judged(&named, &advert()), (Class::Unheard, Some(Reason::Header)));
    let flooded = PieceHead { host: frame::HOST_OTHER, ..head(FAMILY_V4, START) };
    let named = assembly.take(&flooded, &a, || 0).unwrap();
    assert_eq!(judged(&named, &advert()), (Class::Unheard, Some(Reason::OtherHost)));
    assert_eq!(give(&mut assembly, FAMILY_V4, &[b, c]), None);
}

#[test]
fn a_source_route_in_a_fragment_is_not_passed() {
    let mut with = packet(&Advert { option_words: 2, ..advert() });
    with[20..28].copy_from_slice(&[131, 7, 4, 10, 0, 0, 1, 0]);
    let named = give(&mut Assembly::default(), FAMILY_V4, &[fragment(&with, 0, 8)]).unwrap();
    assert_eq!(judged(&named, &advert()), (Class::Unheard, Some(Reason::SourceRoute)));
}

#[test]
fn only_what_goes_together_is_put_together() {
    let change: [fn(&mut [u8]); 4] =
        [|piece| piece[5] ^= 1, |piece| piece[9] = 51, |piece| piece[15] ^= 1, |piece| piece[19] ^= 1];
    for change in change {
        let [mut a, b, c] = three();
        change(&mut a);
        seal(&mut a);
        assert_eq!(give(&mut Assembly::default(), FAMILY_V4, &[a, b, c]), None);
    }
    let [a, b, c] = three();
    let mut assembly = Assembly::default();
    let elsewhere = PieceHead { ifindex: 3, ..head(FAMILY_V4, START) };
    assert_eq!(assembly.take(&elsewhere, &a, || 0), None);
    assert_eq!(give(&mut assembly, FAMILY_V4, &[b, c]), None);
}

#[test]
fn another_destination_is_not_heard() {
    let elsewhere = Advert { destination: [224, 0, 0, 19].into(), ..advert() };
    let packet = packet(&elsewhere);
    let pair = [fragment(&packet, 0, 16), fragment(&packet, 16, 100)];
    let whole = give(&mut Assembly::default(), FAMILY_V4, &pair).unwrap();
    assert_eq!(judged(&whole, &elsewhere), (Class::Unheard, Some(Reason::Destination)));
}

#[test]
fn what_keepalived_drops_is_rejected() {
    let cases = [
        (Advert { ttl: 64, ..advert() }, Reason::Ttl),
        (Advert { kind: 2, ..advert() }, Reason::Type),
        (Advert { trailer: true, ..advert() }, Reason::Length),
        (Advert { version: 3, plain_checksum: true, ..advert() }, Reason::Checksum),
    ];
    for (advert, reason) in cases {
        let packet = packet(&advert);
        let pair = [fragment(&packet, 0, 8), fragment(&packet, 8, 100)];
        let whole = give(&mut Assembly::default(), FAMILY_V4, &pair).unwrap();
        assert_eq!(judged(&whole, &advert), (Class::Rejected, Some(reason)));
    }
}

#[test]
fn marked_and_unmarked_fragments_do_not_go_together() {
    let [mut a, b, c] = three();
    a[1] |= 2;
    seal(&mut a);
    assert_eq!(give(&mut Assembly::default(), FAMILY_V4, &[a, b, c]), None);
}

#[test]
fn what_is_longer_than_a_packet_is_none() {
    let mut end = fragment(&packet(&advert()), 0, 100);
    place(&mut end, 65_528, 0);
    let filling = vec![0; 32_760];
    let mut pieces = vec![end];
    for at in [0, 32_760] {
        let mut piece = packet(&advert())[..20].to_vec();
        piece.extend(&filling);
        piece.extend(if at == 0 { &[][..] } else { &[0; 8] });
        place(&mut piece, at, 0x2000);
        pieces.push(piece);
    }
    assert_eq!(give(&mut Assembly::default(), FAMILY_V4, &pieces), None);
}

proptest! {
    #[test]
    fn any_cut_in_any_order_is_the_packet(
        mut cuts in prop::collection::vec(1_usize..4, 0..6),
        order in any::<u64>(),
        options in 0_u8..8,
    ) {
        let packet = packet(&Advert { option_words: options, ..advert() });
        cuts.iter_mut().fold(0, |sum, cut| { *cut = (sum + *cut).min(3); *cut });
        cuts.dedup();
        let bounds: Vec<usize> = [0].into_iter().chain(cuts).chain([4]).collect();
        let mut pieces: Vec<Vec<u8>> =
            bounds.windows(2).map(|pair| fragment(&packet, pair[0] * 8, (pair[1] - pair[0]) * 8)).collect();
        prop_assume!(pieces.len() > 1);
        fastrand::Rng::with_seed(order).shuffle(&mut pieces);
        let whole = give(&mut Assembly::default(), FAMILY_V4, &pieces).unwrap();
        prop_assert_eq!(&whole.bytes, &packet);
        prop_assert_eq!(judged(&whole, &advert()), PEER);
    }

    #[test]
    fn nothing_that_comes_is_too_much(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        if let Some(read) = ipv4::read(&bytes) {
            let _named = ipv4::alone(&read);
            let _whole = ipv4::join(read.header, read.part.bytes, read.part.ecn);
        }
        let whole = Whole { bytes, fault: 0, link: Default::default(), family: FAMILY_V4 };
        if let Some(opened) = Opened::new(&whole, KEY) {
            let _judged = opened.judge(&mut watch(&advert()), |_| None);
        }
    }
}
