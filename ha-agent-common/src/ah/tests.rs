use std::vec::Vec;

use hmac::{Hmac, Mac};
use md5::Md5;
use proptest::prelude::*;

use super::*;
use crate::build::{Advert, Auth};
use crate::slice::Slice;

const SECRET: [u8; 8] = *b"secret\0\0";

/// RFC 2402 and 2403, by another implementation.
fn expected(packet: &[u8], key: [u8; 8], ttl: bool) -> Vec<u8> {
    let mut packet = packet.to_vec();
    for at in [1, 6, 7, 10, 11] {
        packet[at] = 0;
    }
    if ttl {
        packet[8] = 0;
    }
    packet[32..44].fill(0);
    let mut hmac = Hmac::<Md5>::new_from_slice(&key).unwrap();
    hmac.update(&packet);
    hmac.finalize().into_bytes()[..12].to_vec()
}

fn fields(packet: &[u8], ttl: bool) -> Mutable {
    Mutable { total: u32::try_from(packet.len()).unwrap(), ttl }
}

fn computed(packet: &[u8], key: [u8; 8], ttl: bool) -> Option<[u8; 12]> {
    icv(&Slice::new(packet, [0; 2]), &Key::new(key), fields(packet, ttl), &mut Work::new())
}

/// Bytes that look like nothing, but are the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_be_bytes()[0]
        })
        .collect()
}

#[test]
fn every_length_of_a_packet_gives_what_another_implementation_gives() {
    // The longest: 20 bytes of IPv4, 24 of the header, 8 + 255 * 4 + 8 of VRRP.
    for length in 44..=1120 {
        let packet = noise(length);
        for ttl in [false, true] {
            let icv = computed(&packet, SECRET, ttl).unwrap();
            assert_eq!(icv[..], expected(&packet, SECRET, ttl)[..], "{length}, {ttl}");
        }
    }
}

#[test]
fn what_is_longer_than_any_advert_has_none() {
    assert!(computed(&noise(1143), SECRET, false).is_some());
    assert!(computed(&noise(1144), SECRET, false).is_none());
    assert!(computed(&noise(1500), SECRET, false).is_none());
}

#[test]
fn a_packet_that_ends_before_has_none() {
    let packet = noise(200);
    let fields = Mutable { total: 201, ttl: false };
    assert!(icv(&Slice::new(&packet, [0; 2]), &Key::new(SECRET), fields, &mut Work::new()).is_none());
}

#[test]
fn a_value_fits_only_with_every_bit_of_it() {
    let mut packet = noise(100);
    let icv = computed(&packet, SECRET, false).unwrap();
    packet[32..44].copy_from_slice(&icv);
    let good =
        |packet: &[u8], key| fits(&Slice::new(packet, [0; 2]), &Key::new(key), fields(packet, false), &mut Work::new());
    assert!(good(&packet, SECRET));
    assert!(!good(&packet, *b"secret\0\x01"));
    for bit in 0..800 {
        let mut other = packet.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        let mutable = [1, 6, 7, 10, 11].contains(&(bit / 8));
        assert_eq!(good(&other, SECRET), mutable, "bit {bit}");
    }
}

/// RFC 2202 section 2, its second case, has a key of 4 bytes: keepalived's are filled up with zeros, which HMAC
/// does itself.
#[test]
fn the_key_is_that_of_hmac() {
    let mut key = [0; 8];
    key[..4].copy_from_slice(b"Jefe");
    let mut work = Work::new();
    set(&mut work.state, &Key::new(key).inner);
    let text = b"what do ya want for nothing?";
    work.block.0[..28].copy_from_slice(text);
    work.block.0[28] = 0x80;
    put_length(&mut work.block, 64 + 28);
    compress(&mut work);
    let inner: Vec<u8> = work.state.iter().flat_map(|word| word.to_le_bytes()).collect();
    work.block.0.fill(0);
    work.block.0[..16].copy_from_slice(&inner);
    work.block.0[16] = 0x80;
    put_length(&mut work.block, 64 + 16);
    set(&mut work.state, &Key::new(key).outer);
    compress(&mut work);
    let digest: Vec<u8> = work.state.iter().flat_map(|word| word.to_le_bytes()).collect();
    let expected = [0x75, 0x0c, 0x78, 0x3e, 0x6a, 0xb0, 0xb5, 0x03, 0xea, 0xa8, 0x6e, 0x31, 0x0a, 0x5d, 0xb7, 0x38];
    assert_eq!(digest, expected);
}

proptest! {
    #[test]
    fn packets_of_any_bytes_agree(
        packet in prop::collection::vec(any::<u8>(), 44..1121), key: [u8; 8], ttl: bool,
    ) {
        prop_assert_eq!(computed(&packet, key, ttl).unwrap().to_vec(), expected(&packet, key, ttl));
    }

    #[test]
    fn what_the_builder_makes_agrees(count in 0..255_u8, key: [u8; 8], sequence: u32) {
        let addresses = (0..count).map(|last| std::net::Ipv4Addr::new(10, 0, 0, last).into()).collect();
        let advert = Advert { addresses, auth: Auth::AhKey { key, sequence }, ..Advert::v2() };
        let packet = advert.packet();
        prop_assert_eq!(packet[32..44].to_vec(), expected(&packet, key, false));
    }
}
