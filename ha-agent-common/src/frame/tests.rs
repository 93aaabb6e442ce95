use std::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::build::{Advert, Auth, checksum};
use crate::slice::Slice;

const KEY: [u64; 2] = [1, 2];

/// Opens a packet as one that arrives.
fn open(packet: &[u8]) -> (Seen, Envelope) {
    let mut envelope = Envelope::default();
    let slice = Slice::new(packet, KEY);
    let v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let seen = if v6 { open_v6(&slice, &mut envelope, true) } else { open_v4(&slice, &mut envelope, true) };
    (seen, envelope)
}

fn opened(advert: &Advert) -> Envelope {
    let (seen, envelope) = open(&advert.packet());
    assert_eq!(seen, Seen::Vrrp, "{advert:?}");
    envelope
}

/// A packet with some bytes of its IPv4 header changed, and its checksum right.
fn changed(advert: &Advert, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut packet = advert.packet();
    for (at, byte) in changes {
        packet[*at] = *byte;
    }
    let header = (usize::from(packet[0] & 15) * 4).min(packet.len());
    packet[10..12].fill(0);
    let sum = checksum(&packet[..header]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn fault(packet: &[u8]) -> Option<Reason> {
    let (seen, envelope) = open(packet);
    assert_eq!(seen, Seen::Vrrp);
    Reason::from_code(envelope.fault)
}

#[test]
fn envelopes_are_read() {
    let envelope = opened(&Advert::v2());
    assert_eq!((envelope.family, envelope.ttl, envelope.protocol), (FAMILY_V4, 255, IPPROTO_VRRP));
    assert_eq!((envelope.at, envelope.len, envelope.fault), (20, 20, 0));
    assert_eq!(envelope.src[..4], [169, 254, 192, 1]);
    assert_eq!(envelope.dst[..4], [224, 0, 0, 18]);
    assert_eq!((&envelope.src[4..], &envelope.dst[4..]), (&[0; 12][..], &[0; 12][..]));
    let envelope = opened(&Advert { option_words: 4, auth: Auth::Ah, ttl: 3, ..Advert::v2() });
    assert_eq!((envelope.at, envelope.len), (20 + 16 + 24, 20));
    assert_eq!((envelope.protocol, envelope.ttl), (IPPROTO_AH, 3));
    let envelope = opened(&Advert::v6());
    assert_eq!((envelope.family, envelope.ttl, envelope.protocol), (FAMILY_V6, 255, IPPROTO_VRRP));
    assert_eq!((envelope.at, envelope.len, envelope.fault), (40, 24, 0));
    assert_eq!(envelope.src, "fe80::11".parse::<Ipv6Addr>().unwrap().octets());
    assert_eq!(envelope.dst, "ff02::12".parse::<Ipv6Addr>().unwrap().octets());
}

#[test]
fn what_is_left_of_an_earlier_frame_is_overwritten() {
    let mut envelope = opened(&Advert { auth: Auth::Ah, option_words: 1, ..Advert::v2() });
    envelope.fault = 9;
    let packet = Advert::v6().packet();
    open_v6(&Slice::new(&packet, KEY), &mut envelope, true);
    assert_eq!(envelope, opened(&Advert::v6()));
    let packet = Advert::v2().packet();
    open_v4(&Slice::new(&packet, KEY), &mut envelope, true);
    assert_eq!(envelope, opened(&Advert::v2()));
}

#[test]
fn other_packets_are_passed_over() {
    let v2 = Advert::v2();
    for changes in [&[(9, 6)][..], &[(9, 2)], &[(0, 0x44)], &[(0, 0x55)], &[(0, 0x15)]] {
        assert_eq!(open(&changed(&v2, changes)).0, Seen::Other, "{changes:?}");
    }
    assert_eq!(open(&v2.packet()[..19]).0, Seen::Other);
    let mut v6 = Advert::v6().packet();
    assert_eq!(open(&v6[..39]).0, Seen::Other);
    v6[6] = 58;
    assert_eq!(open(&v6).0, Seen::Other);
    // Only the tagged kind tells an authentication header over IPv6: keepalived has none.
    v6[6] = IPPROTO_AH;
    assert_eq!(open(&v6).0, Seen::Other);
    let packet = Slice::new(&v6, KEY);
    assert_eq!(open_v4(&packet, &mut Envelope::default(), true), Seen::Other);
}

#[test]
fn what_is_to_be_put_together_is_a_piece() {
    for (fragment, piece) in [(0x2000, true), (1, true), (0x3fff, true), (0x4000, false), (0x8000, false), (0, false)] {
        let packet = Advert { fragment, ..Advert::v2() }.packet();
        assert_eq!(open(&packet).0, if piece { Seen::Piece } else { Seen::Vrrp }, "{fragment:#x}");
    }
    let mut packet = Advert::v6().packet();
    for next in EXTENSIONS {
        packet[6] = next;
        assert_eq!(open(&packet).0, Seen::Piece, "{next}");
    }
    assert!((0..=255).filter(|next| is_extension(*next)).count() == EXTENSIONS.len());
}

#[test]
fn a_kernel_drops_headers_that_are_wrong() {
    let v2 = Advert::v2();
    let header = Some(Reason::Header);
    assert_eq!(fault(&v2.packet()), None);
    for bit in 0..160 {
        let mut packet = v2.packet();
        packet[bit / 8] ^= 1 << (bit % 8);
        if open(&packet).0 == Seen::Vrrp {
            assert_eq!(fault(&packet), header, "bit {bit}");
        }
    }
    // The total length: beyond the packet, within it, less than the header.
    for (total, expected) in [(41, header), (40, None), (30, None), (20, None), (19, header), (0, header)] {
        assert_eq!(fault(&changed(&v2, &[(3, total)])), expected, "{total}");
    }
    // Options that end before they should.
    let options = Advert { option_words: 2, ..Advert::v2() };
    assert_eq!(fault(&options.packet()), None);
    assert_eq!(fault(&changed(&v2, &[(0, 0x4f)])), header);
    let mut sum = options.packet();
    sum[23] = 0;
    assert_eq!(fault(&sum), header, "options count in the checksum");
    let route = Advert { options: [131, 3, 4].to_vec(), ..Advert::v2() };
    assert_eq!(fault(&route.packet()), Some(Reason::SourceRoute));
    let mut both = route.packet();
    both[10] ^= 1;
    assert_eq!(fault(&both), header, "a header with a wrong checksum says nothing");
    // Ethernet's padding is no part of the packet.
    assert_eq!(fault(&v2.frame()[14..]), None);
    assert_eq!(open(&v2.frame()[14..]).1.len, 20);
}

#[test]
fn what_leaves_is_not_checked_as_a_receiver_does() {
    let mut packet = Advert { source: Ipv4Addr::BROADCAST.into(), ..Advert::v2() }.packet();
    packet[10] ^= 1;
    let mut envelope = Envelope::default();
    assert_eq!(open_v4(&Slice::new(&packet, KEY), &mut envelope, false), Seen::Vrrp);
    assert_eq!(envelope.fault, 0);
    let packet = Advert { source: Ipv6Addr::LOCALHOST.into(), ..Advert::v6() }.packet();
    assert_eq!(open_v6(&Slice::new(&packet, KEY), &mut envelope, false), Seen::Vrrp);
    assert_eq!(envelope.fault, 0);
}

#[test]
fn sources_that_nobody_else_has_are_martian() {
    let martian = Some(Reason::MartianSource);
    let v4 = |a, b, c, d| fault(&Advert { source: Ipv4Addr::new(a, b, c, d).into(), ..Advert::v2() }.packet());
    for (source, expected) in [
        (v4(224, 0, 0, 18), martian),
        (v4(239, 255, 255, 255), martian),
        (v4(255, 255, 255, 255), martian),
        // These the kernel is asked about.
        (v4(255, 255, 255, 254), None),
        (v4(240, 0, 0, 1), None),
        (v4(127, 0, 0, 1), None),
        (v4(0, 0, 0, 0), None),
        (v4(223, 255, 255, 255), None),
    ] {
        assert_eq!(source, expected);
    }
    let v6 = |source: &str| fault(&Advert { source: source.parse().unwrap(), ..Advert::v6() }.packet());
    for (source, expected) in [
        ("::1", martian),
        ("::ffff:1.2.3.4", None),
        ("ff02::1", martian),
        ("ff0e::1", martian),
        ("::", None),
        ("::2", None),
        ("::fffe:1.2.3.4", None),
        ("1::1", None),
        ("2001:db8::ffff:102:304", None),
        ("fe80::1", None),
    ] {
        assert_eq!(v6(source), expected, "{source}");
    }
}

#[test]
fn an_ipv6_packet_that_is_cut_off_is_dropped() {
    let packet = Advert::v6().packet();
    assert_eq!(fault(&packet), None);
    assert_eq!(fault(&packet[..packet.len() - 1]), Some(Reason::Header));
    assert_eq!(fault(&[packet.clone(), [0; 4].to_vec()].concat()), None);
}

#[test]
fn a_header_that_is_cut_off_counts_for_its_first_four_bytes() {
    let packet = Advert::v2().packet();
    let envelope = opened(&Advert::v2());
    let read = |len, keep: usize| header(&Slice::new(&packet[..keep], KEY), &Envelope { len, ..envelope });
    assert_eq!(read(20, 40).unwrap()[..], packet[20..28]);
    assert_eq!(read(8, 28).unwrap()[..], packet[20..28]);
    let start = [packet[20], packet[21], packet[22], packet[23], 0, 0, 0, 0];
    assert_eq!(read(7, 40), Some(start));
    assert_eq!(read(20, 27), Some(start));
    assert_eq!(read(4, 24), Some(start));
    assert_eq!(read(3, 40), None);
    assert_eq!(read(20, 23), None);
}

/// RFC 1071, in numbers of 16 bits.
fn plain_sum(bytes: &[u8]) -> u32 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

proptest! {
    #[test]
    fn sums_of_any_length_fold_as_they_should(bytes in prop::collection::vec(any::<u8>(), 1..4200), skip in 0..70_usize) {
        let skip = skip.min(bytes.len() - 1);
        let part = &bytes[skip..];
        let sum = read_sum(&Slice::new(&bytes, KEY), u32::try_from(skip).unwrap(), u32::try_from(part.len()).unwrap());
        prop_assert_eq!(folds_to_ones(sum.unwrap()), plain_sum(part) == 0xffff);
        // Completed by its checksum it gives all ones.
        let mut whole = part.to_vec();
        whole.resize(whole.len().next_multiple_of(2), 0);
        whole.extend(checksum(&whole).to_be_bytes());
        let sum = read_sum(&Slice::new(&whole, KEY), 0, u32::try_from(whole.len()).unwrap());
        prop_assert_eq!(sum.map(folds_to_ones), (whole.len() <= 66 * 64).then_some(true));
        let beyond = read_sum(&Slice::new(&bytes, KEY), u32::try_from(skip).unwrap() + 1, u32::try_from(part.len()).unwrap());
        prop_assert_eq!(beyond, None);
    }

    #[test]
    fn any_bytes_are_opened_without_a_fault_of_ours(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let packet = Slice::new(&bytes, KEY);
        let mut envelope = Envelope::default();
        for arriving in [false, true] {
            if open_v4(&packet, &mut envelope, arriving) == Seen::Vrrp {
                let _header = header(&packet, &envelope);
            }
            if open_v6(&packet, &mut envelope, arriving) == Seen::Vrrp {
                let _header = header(&packet, &envelope);
            }
        }
    }
}
