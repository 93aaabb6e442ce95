use std::hash::Hasher;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use siphasher::sip::SipHasher13;

use super::*;
use crate::slice::Slice;

const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

fn of(key: [u64; 2], addresses: &[[u8; 4]]) -> u64 {
    let mut list = List::default();
    for address in addresses {
        list.add_v4(key, *address);
    }
    list.digest
}

#[test]
fn order_does_not_matter_and_nothing_else_is_overlooked() {
    let (a, b, c) = ([10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]);
    assert_eq!(of(KEY, &[a, b, c]), of(KEY, &[c, a, b]));
    let others = [vec![a, b], vec![a, b, b], vec![a, a, b, c], vec![a, b, [10, 0, 0, 4]], vec![]];
    for other in others {
        assert_ne!(of(KEY, &[a, b, c]), of(KEY, &other), "{other:?}");
    }
    assert_ne!(of(KEY, &[a, a]), of(KEY, &[b, b]), "twice the same is no nothing");
    assert_ne!(of(KEY, &[a, b, c]), of([KEY[0] ^ 1, KEY[1]], &[a, b, c]));
    assert_ne!(of(KEY, &[a, b, c]), of([KEY[0], KEY[1] ^ 1], &[a, b, c]));
}

#[test]
fn an_ipv4_address_is_not_the_ipv6_address_that_begins_like_it() {
    let mut v6 = List::default();
    v6.add_v6(KEY, &[10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_ne!(of(KEY, &[[10, 0, 0, 1]]), v6.digest);
}

/// FNV-1a over 64 bits, as lists were compared before: the second word and the next are chosen freely, and for
/// three addresses the third one is computed.
fn fnv(addresses: &[[u8; 4]]) -> u64 {
    addresses.concat().chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let word = match chunk {
            [a, b, c, d] => u64::from(u32::from_ne_bytes([*a, *b, *c, *d])),
            _ => u64::from_ne_bytes(chunk.try_into().unwrap()),
        };
        (hash ^ word).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn three_addresses_that_fnv_cannot_tell_apart_are_told_apart() {
    let ours = [[169, 254, 0, 1], [169, 254, 0, 2], [169, 254, 0, 3]];
    // The state before the last word differs from ours only in its low half, which the last word makes up for.
    let state = |first: u64| (0xcbf2_9ce4_8422_2325 ^ first).wrapping_mul(0x0100_0000_01b3);
    let word = u64::from_ne_bytes([169, 254, 0, 1, 169, 254, 0, 2]);
    let last = u32::from_ne_bytes([169, 254, 0, 3]);
    // Multiplication by an odd number is undone by its inverse.
    let mut inverse = 1_u64;
    for _ in 0..6 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(0x0100_0000_01b3_u64.wrapping_mul(inverse)));
    }
    let other = state(word) ^ 0xdead_beef;
    let first = (other.wrapping_mul(inverse) ^ 0xcbf2_9ce4_8422_2325).to_ne_bytes();
    let third = (last ^ 0xdead_beef).to_ne_bytes();
    let theirs = [[first[0], first[1], first[2], first[3]], [first[4], first[5], first[6], first[7]], third];
    assert_ne!(ours, theirs);
    assert_eq!(fnv(&ours), fnv(&theirs), "a collision");
    assert_ne!(of(KEY, &ours), of(KEY, &theirs));
}

fn reference(key: [u64; 2], bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
    hasher.write(bytes);
    hasher.finish()
}

proptest! {
    #[test]
    fn it_is_siphash_1_3(key: [u64; 2], v4: [u8; 4], v6: [u8; 16]) {
        prop_assert_eq!(of(key, &[v4]), reference(key, &v4));
        let mut list = List::default();
        list.add_v6(key, &v6);
        prop_assert_eq!(list.digest, reference(key, &v6));
    }

    #[test]
    fn contents_are_hashed_as_two_words(key: [u64; 2], list: u64, rest: u64) {
        let bytes = [list.to_ne_bytes(), rest.to_ne_bytes()].concat();
        prop_assert_eq!(content(key, list, rest), reference(key, &bytes));
    }

    #[test]
    fn a_permutation_has_the_same_digest_and_sum(
        addresses in prop::collection::vec(any::<[u8; 4]>(), 0..20), seed: prop::sample::Index,
    ) {
        let mut other = addresses.clone();
        if !other.is_empty() {
            let at = seed.index(other.len());
            other.rotate_left(at);
        }
        let read = |addresses: &[[u8; 4]]| {
            let bytes = addresses.concat();
            let mut list = List::default();
            let count = u32::try_from(addresses.len()).unwrap();
            assert!(read(&Slice::new(&bytes, KEY), KEY, 0, count, true, &mut list));
            list
        };
        prop_assert_eq!(read(&addresses), read(&other));
        prop_assert_eq!(read(&addresses).digest, of(KEY, &addresses));
    }
}

#[test]
fn a_list_that_is_cut_off_is_none() {
    let address = Ipv4Addr::new(10, 0, 0, 1).octets();
    let bytes = [[address; 3].concat(), std::vec![1, 2, 3]].concat();
    let mut list = List::default();
    assert!(!read(&Slice::new(&bytes, KEY), KEY, 0, 4, true, &mut list));
    assert!(!read(&Slice::new(&bytes, KEY), KEY, 0, 1, false, &mut List::default()));
    assert!(read(&Slice::new(&bytes, KEY), KEY, 3, 3, true, &mut List::default()));
}
