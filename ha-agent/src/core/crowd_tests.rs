//! [`crowd`](super::crowd): who stays, and who goes.

use std::net::{IpAddr, Ipv4Addr};

use super::crowd::{Standing, given_up};
use super::time::Mono;

const PLACES: usize = 16;

fn of(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(169, 254, 192, last))
}

/// Who stays of those that come one after the other.
fn kept(all: impl IntoIterator<Item = (Standing, Mono)>) -> Vec<(Standing, Mono)> {
    let mut crowd = Vec::new();
    for one in all {
        crowd.push(one);
        if crowd.len() > PLACES {
            crowd.swap_remove(given_up(&crowd).unwrap());
        }
    }
    crowd
}

#[test]
fn a_better_one_stays_whenever_it_comes() {
    let better = (Standing::Peer((60, of(1))), Mono(500));
    for place in [0, 20, 100] {
        let mut all: Vec<_> = (0..100).map(|n| (Standing::Peer((50, of(n))), Mono(n.into()))).collect();
        all.insert(place, better);
        assert!(kept(all).contains(&better), "{place}");
    }
}

#[test]
fn who_was_there_first_stays_whoever_comes() {
    let first = (Standing::Peer((10, of(1))), Mono(1));
    let others = (0..100).map(|n| (Standing::Peer((200, of(n))), Mono(2 + u64::from(n))));
    assert!(kept(std::iter::once(first).chain(others)).contains(&first));
}

#[test]
fn what_keepalived_does_not_hear_is_worth_less_than_what_it_hears() {
    let heard = (Standing::Peer((60, of(1))), Mono(500));
    let others = || (0..100).map(|n| (Standing::Refused((255, of(n))), Mono(n.into())));
    assert!(kept(others().chain([heard])).contains(&heard), "the last to come");
    assert!(kept([heard].into_iter().chain(others())).contains(&heard), "the first to come");
}

#[test]
fn the_silent_go_first_and_of_them_the_longest_silent() {
    let steady = (2..40).map(|n| (Standing::Refused((1, of(n))), Mono(n.into())));
    let (older, newer) = ((Standing::Silent(Mono(8)), Mono(1)), (Standing::Silent(Mono(9)), Mono(1)));
    assert_eq!(given_up(&[newer, older]), Some(1));
    let crowd = kept([older, newer].into_iter().chain(steady.take(PLACES - 1)));
    assert!(crowd.contains(&newer) && !crowd.contains(&older));
    assert_eq!(given_up(&[]), None);
}
