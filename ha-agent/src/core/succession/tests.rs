use std::net::{IpAddr, Ipv4Addr};

use super::*;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn at(after: Duration) -> Mono {
    Mono(1_000_000_000_000) + after
}

fn advert(side: Side, last: u8, priority: u8, sent: Duration) -> Advert {
    Advert {
        side,
        refused: None,
        source: IpAddr::V4(Ipv4Addr::new(169, 254, 192, last)),
        mac: None,
        vlan: None,
        sender: 0,
        content: 7,
        priority,
        interval: S,
        version: 2,
        vip_count: 1,
        ttl: 255,
        run_since: at(sent),
        at: at(sent),
        run_adverts: 1,
    }
}

#[test]
fn the_master_down_interval_is_that_of_the_peer_s_version_and_priority() {
    // Measured with keepalived 2.2.7: 6.805 s with priority 50 and 2 s, VRRPv2.
    let of = |version, priority, interval| {
        master_down(&Advert { version, priority, ..advert(Side::Foreign, 2, 0, S) }, interval).as_millis()
    };
    assert_eq!((of(2, 50, S * 2), of(3, 50, S * 2)), (6804, 7609));
    assert_eq!((of(2, 254, S), of(3, 1, S), of(3, 255, S)), (3007, 3996, 3003));
}

#[test]
fn a_successor_begins_when_its_time_is_over_or_missed_one_advert() {
    let ours = advert(Side::Local, 1, 50, S * 10);
    let over = at(S * 13) + MS * 804;
    let begins = |begin: Duration| succeeded_from(&ours, &advert(Side::Foreign, 2, 50, begin));
    for sound in [MS * 13_805, MS * 14_000, MS * 12_900] {
        assert!(begins(sound).since(over) < MS, "{sound:?}");
    }
    for early in [S, S * 10, S * 12, MS * 12_700] {
        assert!(begins(early).since(at(S * 17)) < MS * 620, "{early:?}: twice the time");
        assert!(begins(early) > at(S * 17) + MS * 600, "{early:?}: twice the time");
    }
}

#[test]
fn an_interval_counts_as_far_as_it_is_kept() {
    let claims = |interval, count: u64, every: Duration| {
        let begun = advert(Side::Foreign, 2, 1, S);
        let last = begun.at + every * (count - 1) as u32;
        kept_interval(&Advert { interval, run_adverts: count, at: last, ..begun }, S)
    };
    assert_eq!(claims(MS * 40_950, 1, S), S, "one advert alone");
    assert_eq!(claims(MS * 40_950, 9, S * 2), MS * 2250, "it is kept to nothing like that");
    assert_eq!(claims(S * 10, 2, S * 10), S * 10, "it is kept");
    assert_eq!(claims(MS * 500, 1, S), MS * 500, "a shorter one");
}

#[test]
fn what_comes_back_to_us_is_no_other_node_s() {
    let ours = advert(Side::Local, 1, 50, S * 10);
    let comes = |last, priority, sent| is_reflection(&ours, &advert(Side::Foreign, last, priority, sent));
    assert!(comes(1, 50, S * 10 + MS));
    assert!(comes(1, 50, S * 9 + MS), "the one before");
    assert!(comes(1, 150, S * 9 + MS), "from before our priority sank");
    assert!(comes(1, 0, S * 10 + MS));
    assert!(!comes(2, 50, S * 10 + MS), "another address");
    assert!(!comes(1, 60, S * 10 + MS), "a better one makes keepalived yield");
    assert!(!comes(1, 50, MS * 11_500), "it goes on when ours have ended");
}
