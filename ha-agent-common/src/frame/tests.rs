use super::*;
use crate::build::{Advert, Auth, checksum};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

struct Slice(Vec<u8>);

impl Packet for Slice {
    fn load<const N: usize>(&self, offset: u32, into: &mut Bytes<N>) -> bool {
        let start = offset as usize;
        match self.0.get(start..start + N) {
            Some(bytes) => {
                into.0.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }
}

/// What the program would make of a frame: the VRID, the verdict, and the speaker.
fn look(frame: Vec<u8>) -> Option<(u8, u8, Speaker)> {
    let v6 = frame[12..14] == [0x86, 0xdd];
    let packet = Slice(frame);
    let mut envelope = Envelope::default();
    let seen = if v6 { open_v6(&packet, &mut envelope) } else { open_v4(&packet, &mut envelope) };
    if seen != Seen::Vrrp {
        return None;
    }
    let header = header(&packet, &envelope)?;
    let mut speaker = Speaker::default();
    let invalid = judge(&packet, &envelope, &header, &mut speaker);
    Some((header[1], invalid, speaker))
}

fn valid(advert: &Advert) -> Speaker {
    let (vrid, invalid, speaker) = look(advert.frame()).unwrap();
    assert_eq!((vrid, invalid), (advert.vrid, 0), "{advert:?}");
    assert_eq!(speaker.priority, advert.priority);
    assert_eq!(speaker.version, advert.version);
    assert_eq!(usize::from(speaker.vip_count), advert.addresses.len());
    speaker
}

fn invalid(frame: Vec<u8>) -> u8 {
    look(frame).unwrap().1
}

/// A frame with one byte changed.
fn changed(advert: &Advert, at: usize, byte: u8) -> Vec<u8> {
    let mut frame = advert.frame();
    assert_ne!(frame[at], byte);
    frame[at] = byte;
    frame
}

/// Where VRRP begins without options.
const VRRP: usize = 34;

#[test]
fn an_advert_summed_by_hand_is_valid() {
    // 210b + 6401 + 0001 + 0a00 + 0064 = 8f71.
    let mut frame = Advert {
        vrid: 11,
        priority: 100,
        interval_cs: 100,
        addresses: vec![Ipv4Addr::new(10, 0, 0, 100).into()],
        ..Advert::v2()
    }
    .frame();
    assert_eq!(frame[VRRP + 6..VRRP + 8], (!0x8f71_u16).to_be_bytes());
    assert_eq!(invalid(frame.clone()), 0);
    frame[VRRP + 7] ^= 1;
    assert_eq!(invalid(frame), INVALID_CHECKSUM);
}

#[test]
fn every_variant_is_read() {
    let v2 = valid(&Advert::v2());
    assert_eq!(v2.interval_cs, 200);
    assert_eq!(v2.src[..4], [169, 254, 192, 1]);
    assert_eq!(v2.src[4..], [0; 12]);
    assert_eq!(v2.first_vip[..4], [169, 254, 0, 1]);
    assert_eq!((v2.flags, v2.auth_type), (0, 0));

    let pass = valid(&Advert { auth: Auth::Pass(*b"secret\0\0"), ..Advert::v2() });
    assert_eq!((pass.auth_type, &pass.auth_data), (1, b"secret\0\0"));

    let ah = valid(&Advert { auth: Auth::Ah, ..Advert::v2() });
    assert_eq!((ah.auth_type, ah.flags), (2, SPEAKER_AH));
    assert_eq!(ah.auth_data, [0; 8]);

    let v3 = valid(&Advert { interval_cs: 4095, ..Advert::v3() });
    assert_eq!((v3.interval_cs, v3.flags), (4095, 0));
    let plain = valid(&Advert { plain_checksum: true, ..Advert::v3() });
    assert_eq!(plain.flags, SPEAKER_CHECKSUM_PLAIN);

    let v6 = valid(&Advert::v6());
    assert_eq!(v6.src, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11).octets());
    assert_eq!(v6.first_vip, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets());
    let v2_over_v6 = valid(&Advert { version: 2, ..Advert::v6() });
    assert_eq!(v2_over_v6.interval_cs, 200);

    for base in [Advert::v2(), Advert::v3(), Advert::v6()] {
        let vmac = valid(&Advert { vmac: true, vrid: 200, ..base });
        assert_eq!(vmac.flags, SPEAKER_VMAC);
    }
    valid(&Advert { option_words: 1, ..Advert::v2() });
    valid(&Advert { trailer: true, ..Advert::v3() });
    valid(&Advert { trailer: true, ..Advert::v6() });
}

#[test]
fn unicast_is_not_held_to_a_ttl() {
    for (base, peer) in [
        (Advert::v2(), Ipv4Addr::new(169, 254, 192, 2).into()),
        (Advert::v6(), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x12).into()),
    ] {
        let unicast = valid(&Advert { destination: peer, ttl: 64, ..base });
        assert_eq!(unicast.flags, SPEAKER_UNICAST);
    }
}

#[test]
fn any_number_of_addresses_is_summed_and_hashed() {
    let mut hashes = Vec::new();
    for count in 0..=255_u8 {
        let v4 = (1..=count).map(|i| Ipv4Addr::new(10, 0, 0, i).into());
        let v6 = (1..=count).map(|i| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, i.into()).into());
        for base in [Advert::v2(), Advert::v3()] {
            let advert = Advert { addresses: v4.clone().collect(), ..base };
            hashes.push(valid(&advert).vips_hash);
        }
        hashes.push(valid(&Advert { addresses: v6.collect(), ..Advert::v6() }).vips_hash);
    }
    // The version does not count, the list does.
    for chunk in hashes.chunks(3) {
        assert_eq!(chunk[0], chunk[1]);
    }
    let mut different: Vec<u64> = hashes.chunks(3).map(|chunk| chunk[0]).collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 256);
    let swapped = Advert {
        addresses: vec![Ipv4Addr::new(10, 0, 0, 2).into(), Ipv4Addr::new(10, 0, 0, 1).into()],
        ..Advert::v2()
    };
    assert_ne!(valid(&swapped).vips_hash, hashes[6]);
}

#[test]
fn ethernet_padding_is_not_the_adverts() {
    let mut frame = Advert::v3().frame();
    assert_eq!(frame.len(), 60);
    frame[59] = 0xff;
    assert_eq!(invalid(frame.clone()), 0);
    frame.extend([1; 40]);
    assert_eq!(invalid(frame), 0);
}

#[test]
fn a_trailer_that_is_cut_off_is_not_taken_for_granted() {
    // The checksum may leave the trailer out; it has to be there all the same.
    let mut frame = Advert { trailer: true, ..Advert::v3() }.frame();
    assert_eq!(invalid(frame.clone()), 0);
    frame.pop();
    assert_eq!(invalid(frame), INVALID_LENGTH);
}

#[test]
fn a_header_that_is_cut_off_is_not_taken_for_zeros() {
    // Four bytes of an advert without addresses, from a source that makes them sum up.
    let mut frame = Advert { addresses: vec![], ..Advert::v6() }.frame();
    frame.truncate(ETH_LEN as usize + 40 + 4);
    frame[36..38].fill(0);
    let mut summed = frame[22..].to_vec();
    summed.extend([0, 8, 0, IPPROTO_VRRP]);
    frame[36..38].copy_from_slice(&checksum(&summed).to_be_bytes());
    assert_eq!(invalid(frame), INVALID_LENGTH);
}

#[test]
fn invalid_frames_are_named() {
    let v2 = Advert::v2();
    let ttl = Advert { ttl: 254, ..v2.clone() };
    assert_eq!(invalid(ttl.frame()), INVALID_TTL);
    for version in [1, 4] {
        let other = Advert { version, ..Advert::v3() };
        assert_eq!(invalid(other.frame()), INVALID_VERSION);
    }
    let kind = Advert { kind: 2, ..v2.clone() };
    assert_eq!(invalid(kind.frame()), INVALID_TYPE);
    // One address more than there is; then the IP header's own count wrong, both ways.
    assert_eq!(invalid(changed(&v2, VRRP + 3, 2)), INVALID_LENGTH);
    assert_eq!(invalid(changed(&v2, 17, 41)), INVALID_LENGTH);
    assert_eq!(invalid(changed(&v2, 17, 39)), INVALID_LENGTH);
    assert_eq!(invalid(changed(&v2, 17, 26)), INVALID_LENGTH);
    let mut cut = v2.frame();
    cut.truncate(VRRP + 12);
    assert_eq!(invalid(cut), INVALID_LENGTH);
    for base in [Advert::v2(), Advert::v3(), Advert::v6()] {
        let at = if base.source.is_ipv6() { 54 } else { VRRP };
        let priority = changed(&base, at + 2, 51);
        assert_eq!(invalid(priority), INVALID_CHECKSUM);
        let address = changed(&base, at + 8, 9);
        assert_eq!(invalid(address), INVALID_CHECKSUM);
    }
    // Only VRRPv3 over IPv4 may leave the pseudo-header out, and only IPv4 VRRPv2 has none.
    assert_eq!(invalid(changed(&Advert::v6(), 22 + 15, 1)), INVALID_CHECKSUM);
    assert_eq!(invalid(changed(&Advert::v3(), 29, 7)), INVALID_CHECKSUM);
    assert_eq!(invalid(changed(&v2, 29, 7)), 0);
    // VRRPv2 has no HMAC trailer.
    let trailer = Advert { trailer: true, ..v2 };
    assert_eq!(invalid(trailer.frame()), INVALID_LENGTH);
}

#[test]
fn authentication_must_fit_its_carrier() {
    let retyped = |advert: &Advert, kind: u8| {
        let mut frame = advert.frame();
        let at = if advert.auth == Auth::Ah { VRRP + 24 } else { VRRP };
        frame[at + 4] = kind;
        frame[at + 6..at + 8].fill(0);
        let sum = checksum(&frame[at..at + 20]);
        frame[at + 6..at + 8].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    let ah = Advert { auth: Auth::Ah, ..Advert::v2() };
    assert_eq!(invalid(retyped(&ah, 0)), INVALID_AUTH);
    assert_eq!(invalid(retyped(&Advert::v2(), 2)), INVALID_AUTH);
    assert_eq!(invalid(retyped(&Advert::v2(), 3)), INVALID_AUTH);
    let v3_in_ah = Advert { auth: Auth::Ah, ..Advert::v3() };
    assert_eq!(invalid(v3_in_ah.frame()), INVALID_AUTH);
    let v6 = Advert { version: 2, auth: Auth::Pass(*b"12345678"), ..Advert::v6() };
    assert_eq!(invalid(v6.frame()), INVALID_AUTH);
}

#[test]
fn a_ttl_fault_is_named_before_all_others() {
    let mut frame = Advert { ttl: 1, version: 7, kind: 9, ..Advert::v3() }.frame();
    frame[VRRP + 3] = 200;
    assert_eq!(invalid(frame), INVALID_TTL);
}

#[test]
fn fragments_and_others_are_told_apart() {
    for fragment in [0x2000, 0x0001] {
        let packet = Slice(Advert { fragment, ..Advert::v2() }.frame());
        let mut envelope = Envelope::default();
        assert_eq!(open_v4(&packet, &mut envelope), Seen::Fragment);
    }
    // Don't fragment is no fragment.
    valid(&Advert { fragment: 0x4000, ..Advert::v2() });
    // An authentication header around something else.
    let ah = Advert { auth: Auth::Ah, ..Advert::v2() };
    assert!(look(changed(&ah, VRRP, 6)).is_none());
    assert!(look(changed(&Advert::v2(), 23, 17)).is_none());
}

#[test]
fn no_frame_makes_it_read_out_of_bounds() {
    for base in [Advert::v2(), Advert::v3(), Advert::v6(), Advert { auth: Auth::Ah, ..Advert::v2() }] {
        let frame = base.frame();
        for length in 14..frame.len() {
            if let Some((_, verdict, _)) = look(frame[..length].to_vec()) {
                let whole = length >= frame.len() || frame.len() == 60;
                assert!(verdict == INVALID_LENGTH || whole, "{length}: {verdict}");
            }
        }
        for at in 14..frame.len() {
            for byte in [0, 1, 0x45, 0x7f, 0xff] {
                let mut frame = frame.clone();
                frame[at] = byte;
                look(frame);
            }
        }
    }
}
