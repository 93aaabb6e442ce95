use std::net::{IpAddr, Ipv4Addr};

use ha_agent_common::build::{Advert, Auth, checksum};

use super::*;

fn words(addresses: [Ipv4Addr; 3]) -> u64 {
    let bytes: Vec<u8> = addresses.iter().flat_map(|address| address.octets()).collect();
    let first = u64::from_ne_bytes(bytes[..8].try_into().expect("eight bytes"));
    let last = u64::from(u32::from_ne_bytes(bytes[8..].try_into().expect("four bytes")));
    [first, last].iter().fold(FNV_OFFSET, |hash, word| (hash ^ word).wrapping_mul(FNV_PRIME))
}

#[test]
fn a_colliding_list_is_another_one_with_the_same_hash() {
    let ours = [Ipv4Addr::new(169, 254, 0, 11), Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
    let theirs = colliding(ours, Ipv4Addr::new(203, 0, 113, 7));
    assert!(ours.iter().all(|address| !theirs.contains(address)), "{theirs:?}");
    assert_eq!(words(theirs), words(ours));
}

#[test]
fn fragments_together_are_the_whole() {
    let frame = Advert::v2().frame();
    let [first, second] = fragments(&frame);
    assert_eq!([&first[34..], &second[34..]].concat(), frame[34..54], "the body, without padding");
    for part in [&first, &second] {
        assert_eq!(checksum(&part[14..34]), 0, "a sound header");
    }
    assert_eq!((first[20] & 0x20, second[21]), (0x20, 1), "more follow the first, which has eight bytes");
}

#[test]
fn a_checksum_for_another_destination_is_that_of_the_same_advert_sent_there() {
    let group = Ipv4Addr::new(224, 0, 0, 18);
    let there = Advert::v3();
    assert_eq!(there.destination, IpAddr::V4(group));
    let here = Advert { destination: Ipv4Addr::new(169, 254, 192, 9).into(), ..there.clone() };
    assert_eq!(summed_for(here.frame(), group)[40..42], there.frame()[40..42]);
}

#[test]
fn a_signature_covers_the_advert_and_its_source() {
    let advert = Advert { auth: Auth::Ah, ..Advert::v2() };
    let icv = |advert: &Advert, password: &str, sequence| {
        signed(&advert.frame(), password, sequence).expect("python3")[14 + 20 + 12..14 + 20 + 24].to_vec()
    };
    let of = icv(&advert, "secret", 9);
    assert_eq!(of, icv(&Advert { fragment: 0x4000, ..advert.clone() }, "secret", 9), "flags may change on the way");
    assert_ne!(of, icv(&advert, "guess", 9));
    assert_ne!(of, icv(&advert, "secret", 10));
    assert_ne!(of, icv(&Advert { priority: 51, ..advert.clone() }, "secret", 9));
    assert_ne!(of, icv(&Advert { source: Ipv4Addr::new(169, 254, 192, 2).into(), ..advert }, "secret", 9));
}

#[test]
fn options_and_headers_go_before_the_advert() {
    let plain = Advert::v2().frame();
    let routed = source_routed(plain.clone(), Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!((routed[14], &routed[42..62]), (0x47, &plain[34..54]));
    assert_eq!(checksum(&routed[14..42]), 0);
    let v6 = Advert::v6().frame();
    let hopping = hop_by_hop(v6.clone());
    assert_eq!((hopping[20], hopping[54], &hopping[62..]), (0, 112, &v6[54..]));
    let tag = tagged(plain, 0);
    assert_eq!(tag[12..18], [0x81, 0, 0xe0, 0, 8, 0]);
}
