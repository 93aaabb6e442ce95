use std::net::IpAddr;

use uuid::Uuid;

use super::*;
use crate::advert_rules::AdvertRules;
use crate::config::Netns;
use crate::wire::Family;

fn router(number: u128) -> RouterId {
    RouterId(Uuid::from_u128(number))
}

fn target(number: u128, vrid: u8) -> Target {
    Target {
        router: router(number),
        netns: Netns::Path("/run/netns/x".into()),
        interface: "ha0".to_owned(),
        through: None,
        vrid,
        family: Family::V4,
        vip: IpAddr::from([169, 254, 0, 1]),
        rules: AdvertRules::default(),
    }
}

fn place(ifindex: u32) -> Place {
    Place { namespace: 9, ifindex }
}

fn key(ifindex: u32, vrid: u8) -> WatchKey {
    WatchKey { realm: 9, ifindex, vrid, family: 4, pad: [0; 2] }
}

#[test]
fn routers_share_a_place_but_no_number() {
    let mut table = Table::default();
    let first = table.add(&target(1, 1), place(2), key(2, 1), Mono(5)).unwrap();
    let second = table.add(&target(2, 2), place(2), key(2, 2), Mono(6)).unwrap();
    assert_ne!(first, second);
    assert_eq!(table.router(second).unwrap().0, router(2));
    assert_eq!(*table.entry(router(2)).unwrap().target, target(2, 2));
    assert_eq!(table.watching(&key(2, 2)).unwrap().0, router(2));
    assert!(table.watching(&key(3, 2)).is_none());
    assert_eq!(table.holder(place(2), 2, 4), Some(router(2)));
    assert_eq!(table.holder(place(2), 2, 6), None);
    assert_eq!(table.holder(place(3), 2, 4), None);
    table.remove(router(1)).unwrap();
    assert!(table.is_used(place(2)));
    assert!(table.router(first).is_none());
    table.remove(router(2)).unwrap();
    assert!(!table.is_used(place(2)));
    assert!(table.remove(router(2)).is_none());
}

#[test]
fn numbers_are_used_again_last_and_end_with_the_map() {
    let mut table = Table::default();
    for number in 0..MAX_WATCHES {
        let id = table.add(&target(number.into(), 1), place(number), key(number, 1), Mono(1)).unwrap();
        assert_eq!(id, number);
    }
    let full = table.add(&target(1 << 40, 2), place(1), key(1, 2), Mono(1));
    assert!(matches!(full, Err(WireError::Full)));
    let freed = table.remove(router(7)).unwrap().id;
    table.remove(router(3)).unwrap();
    let again = table.add(&target(1 << 40, 2), place(1), key(1, 2), Mono(1)).unwrap();
    assert_eq!(again, freed);
}

#[test]
fn what_is_known_of_keepalived_outlives_its_watch_for_a_minute() {
    const ENDED: Mono = Mono(7);
    const KNOWN: Left = Left { ah_sequence: 40, socket: 9 };
    let later = |seconds: u64| Mono(ENDED.0 + seconds * 1_000_000_000);
    let mut table = Table::default();
    table.add(&target(1, 1), place(2), key(2, 1), Mono(5)).unwrap();
    let entry = table.remove(router(1)).unwrap();
    assert_eq!(table.left(place(2), &key(2, 1), ENDED), Left::default());
    table.keep(&entry, KNOWN, ENDED);
    assert_eq!(table.left(place(2), &key(2, 1), later(59)), KNOWN);
    // Attached anew, the place may have another realm.
    let anew = WatchKey { realm: 10, ..key(2, 1) };
    assert_eq!(table.left(place(2), &anew, later(1)), KNOWN);
    assert_eq!(table.left(place(3), &key(3, 1), later(1)), Left::default(), "another place");
    assert_eq!(table.left(place(2), &key(2, 9), later(1)), Left::default(), "another virtual router");
    assert_eq!(table.left(place(2), &key(2, 1), later(60)), Left::default());
    table.keep(&entry, Left::default(), later(61));
    assert!(table.left.is_empty());
}
