//! Frames that keepalived rejects or never hears: they name things, and move nothing.

use super::*;
use crate::core::evidence::Tx;
use crate::core::model::{Frame, Mac};

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 9));

fn detail(bench: &Bench, wanted: Kind) -> String {
    let mut details = bench.out.iter().filter_map(|(_, output)| match output {
        O::AnomalyRaised { kind, detail, .. } if *kind == wanted => Some(detail.clone()),
        _ => None,
    });
    details.next_back().unwrap_or_default()
}

fn tx(bench: &Bench) -> Tx {
    bench.machine.view(bench.now).evidence.tx.state
}

/// Rejected adverts of another interval every 0.9 intervals, until `end`.
fn put_off(bench: &mut Bench, end: std::time::Duration) {
    while bench.elapsed() + MS * 900 <= end {
        bench.until(bench.elapsed() + MS * 900);
        bench.advert_from(Side::Foreign, STRANGER, 1, ADV * 3, 7);
    }
    bench.until(end);
}

#[test]
fn adverts_that_put_ours_off_make_no_backup_and_no_flapping() {
    // Interval 3 instead of 1, priority 1, timed just before ours: ours leave every 1.9 intervals.
    let mut bench = Bench::settled_primary(ADV * 3);
    for round in 0..12 {
        let at = ADV * 3 + MS * 1900 * round;
        bench.until(at + MS * 900);
        bench.advert_from(Side::Foreign, STRANGER, 1, ADV * 3, 7);
        bench.until(at + MS * 1899);
        assert_eq!(tx(&bench), Tx::Delayed, "round {round}");
        bench.until(at + MS * 1900);
        bench.advert(Side::Local, 50);
        assert_eq!(tx(&bench), Tx::Transmitting, "round {round}");
    }
    assert_eq!((bench.delivered(), bench.raised()), (vec![State::Primary], vec![Kind::AdvertIntervalMismatch]));
    // The control: the same gaps, and nothing that explains them.
    let mut bench = Bench::settled_primary(ADV * 3);
    for round in 1..4 {
        bench.until(ADV * 3 + MS * 1900 * round);
        bench.advert(Side::Local, 50);
    }
    assert_eq!(bench.raised(), [Kind::SilentPrimary; 3], "{:?}", bench.out);
}

#[test]
fn a_silence_that_began_unexplained_is_not_explained_later() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 4 + MS * 600);
    assert_eq!(tx(&bench), Tx::Silent);
    put_off(&mut bench, ADV * 8);
    assert_eq!((tx(&bench), bench.raised()), (Tx::Silent, vec![Kind::SilentPrimary, Kind::AdvertIntervalMismatch]));
}

#[test]
fn a_frozen_master_is_an_orphan_as_soon_as_a_peer_rules_whatever_is_rejected() {
    let mut told = Vec::new();
    for attacked in [true, false] {
        let mut bench = Bench::settled_primary(ADV * 3);
        if attacked {
            put_off(&mut bench, ADV * 3 + MS * 3600);
            assert_eq!((tx(&bench), bench.delivered()), (Tx::Delayed, vec![State::Primary]));
        }
        bench.until(ADV * 3 + MS * 3600);
        // The other node's time is over; it is a worse one, and ours would answer it at once.
        for round in 0..4 {
            bench.until(ADV * 3 + MS * 3600 + ADV * round);
            bench.advert(Side::Foreign, 40);
            if attacked {
                bench.until(ADV * 3 + MS * 4100 + ADV * round);
                bench.advert_from(Side::Foreign, STRANGER, 1, ADV * 3, 7);
            }
        }
        let (at, transition) = bench.last_confirmed();
        told.push((at, transition.state));
        assert!(bench.raised().contains(&Kind::OrphanVip), "{:?}", bench.raised());
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].1, State::Backup);
}

#[test]
fn a_peer_that_is_answered_ends_no_explanation() {
    let mut bench = Bench::settled_primary(ADV * 3);
    for round in 0..6 {
        let begin = ADV * 3 + ADV * 3 * round;
        bench.until(begin + MS * 900);
        bench.advert_from(Side::Foreign, STRANGER, 1, ADV * 3, 7);
        bench.until(begin + MS * 1800);
        bench.advert_from(Side::Foreign, STRANGER, 1, ADV * 3, 7);
        // A worse peer speaks once; the master answers it at once.
        bench.until(begin + MS * 2000);
        bench.advert(Side::Foreign, 40);
        // Read in between, of all moments.
        bench.until(begin + MS * 2001);
        let reading = bench.reading();
        bench.input(reading);
        assert_eq!(tx(&bench), Tx::Delayed);
        bench.until(begin + MS * 2002);
        bench.advert(Side::Local, 50);
        bench.until(begin + MS * 2999);
        bench.advert(Side::Local, 50);
    }
    assert_eq!(bench.delivered(), [State::Primary]);
    assert!(!bench.raised().contains(&Kind::OrphanVip) && !bench.raised().contains(&Kind::SilentPrimary));
}

#[test]
fn a_vip_that_is_not_set_waits_for_no_adverts() {
    // A backup that hears nobody but the rejected one: there is nothing to explain.
    let mut bench = Bench::new(None);
    bench.start(Vip::Absent);
    put_off(&mut bench, ADV * 4);
    assert_eq!((tx(&bench), bench.delivered()), (Tx::Silent, vec![State::Backup]));
    // Nor is there later, when the VIP is added by hand.
    bench.input(Input::Vip(Vip::Present));
    put_off(&mut bench, ADV * 6);
    assert_eq!(tx(&bench), Tx::Silent);
}

#[test]
fn a_better_advert_that_is_not_taken_holds_nothing_back() {
    for reason in [Reason::Password, Reason::Mode, Reason::Icv, Reason::OtherHost, Reason::MartianSource] {
        let mut bench = Bench::settled_backup(ADV * 5);
        bench.until(ADV * 9);
        bench.out.clear();
        bench.advert(Side::Local, 50);
        bench.input(Input::Vip(Vip::Present));
        bench.report(State::Primary);
        for tick in 0..8 {
            bench.until(ADV * 9 + MS * 500 * tick);
            if tick % 2 == 0 {
                bench.advert(Side::Local, 50);
            }
            bench.refused = Some(reason);
            bench.advert_from(Side::Foreign, STRANGER, 255, ADV, 7);
        }
        let (at, transition) = bench.last_confirmed();
        assert_eq!((at, transition.state), (ADV * 9 + MS * 250, State::Primary), "{reason:?}");
        assert!(!bench.raised().contains(&Kind::SplitBrain), "{reason:?}: {:?}", bench.raised());
        assert_eq!(bench.rejected(), [], "{reason:?}");
    }
}

#[test]
fn a_long_interval_of_a_rejected_vrrpv3_advert_is_not_adopted() {
    let mut bench = Bench::new(None);
    bench.start(Vip::Absent);
    bench.version = 3;
    bench.refused = Some(Reason::Checksum);
    bench.advert_from(Side::Foreign, STRANGER, 255, MS * 40_950, 7);
    bench.until(ADV + MS * 501);
    assert_eq!(bench.delivered(), [State::Backup], "1.5 of our own intervals");
    // One a minute does not keep a takeover from being told either.
    bench.until(ADV * 5);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Local], 50, ADV * 8);
    assert_eq!(bench.delivered(), [State::Backup, State::Primary]);
    // The control: keepalived adopts what it takes.
    let mut bench = Bench::new(None);
    bench.start(Vip::Absent);
    bench.version = 3;
    bench.advert_from(Side::Foreign, STRANGER, 255, MS * 40_950, 7);
    bench.until(ADV * 5);
    assert_eq!(bench.delivered(), []);
}

#[test]
fn a_password_that_stays_wrong_is_named_as_long_as_it_comes() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.mac = Some(Mac([2, 0, 0, 0, 0, 9]));
    bench.refused = Some(Reason::Password);
    bench.advertise(&[Side::Local, Side::Foreign], 50, ADV * 60);
    assert_eq!((bench.raised(), bench.cleared()), (vec![Kind::ForgedAdvert], vec![]));
    assert_eq!(
        detail(&bench, Kind::ForgedAdvert),
        "an advert from 169.254.192.2 is not genuine: password (priority 50, TTL 255); \
         it came from MAC 02:00:00:00:00:09; auth_pass differs: compare it on both nodes"
    );
    bench.advertise(&[Side::Local], 50, ADV * 70 - MS);
    assert_eq!(bench.cleared(), []);
    bench.until(ADV * 70);
    assert_eq!(bench.cleared(), [Kind::ForgedAdvert], "10 s after the last one");
}

#[test]
fn two_masters_that_reject_each_other_are_named_on_both() {
    let cases = [
        (Reason::Interval, Kind::AdvertIntervalMismatch, "advert_int differs: compare it on both nodes"),
        (Reason::Addresses, Kind::ForeignMaster, "virtual_ipaddress differs: compare it on both nodes"),
        (Reason::Version, Kind::ForeignMaster, "vrrp_version differs: compare it on both nodes"),
        (Reason::Auth, Kind::ForeignMaster, "auth_type differs: compare it on both nodes"),
        (Reason::Mode, Kind::ForeignMaster, "unicast_peer is set on one node only"),
        (Reason::PeerSource, Kind::ForeignMaster, "its source is not in unicast_peer"),
        (Reason::Password, Kind::ForgedAdvert, "auth_pass differs: compare it on both nodes"),
        (Reason::Icv, Kind::ForgedAdvert, "compare auth_pass on both nodes"),
        (Reason::Checksum, Kind::ForgedAdvert, "compare the VRRP version and the checksum settings"),
        (Reason::PeerTtl, Kind::ForgedAdvert, "min_ttl"),
    ];
    for (reason, kind, words) in cases {
        // The one is better and speaks; the other's keepalived puts its adverts off for every one it hears.
        for delayed in [false, true] {
            let mut bench = Bench::settled_primary(ADV * 3);
            bench.refused = Some(reason);
            bench.mac = Some(Mac([2, 0, 0, 0, 0, 9]));
            let end = ADV * 30;
            while bench.elapsed() < end {
                bench.until(bench.elapsed() + ADV);
                bench.advert(Side::Foreign, 60);
                if !delayed {
                    bench.advert(Side::Local, 50);
                }
            }
            assert_eq!((bench.raised(), bench.cleared()), (vec![kind], vec![]), "{reason:?} {delayed}");
            let detail = detail(&bench, kind);
            for wanted in [words, "169.254.192.2", "from MAC 02:00:00:00:00:09"] {
                assert!(detail.contains(wanted), "{detail}");
            }
            assert_eq!(bench.delivered(), [State::Primary], "{reason:?} {delayed}");
            let foreign = bench.machine.view(bench.now).evidence.foreign.expect("it is shown");
            assert_eq!((foreign.address, foreign.mac), (THEM, bench.mac));
        }
    }
}

#[test]
fn a_silent_or_delayed_node_that_hears_a_better_master_is_not_confirmed() {
    for refused in [None, Some(Reason::Password)] {
        let mut bench = Bench::new(None);
        bench.start(Vip::Present);
        bench.refused = refused;
        bench.report(State::Primary);
        bench.advertise(&[Side::Foreign], 60, ADV * 10);
        assert!(!bench.delivered().contains(&State::Primary), "{refused:?}: {:?}", bench.delivered());
        assert_eq!(tx(&bench), if refused.is_some() { Tx::Delayed } else { Tx::Silent });
    }
}

#[test]
fn what_is_never_heard_is_named_and_does_nothing_else() {
    for reason in [Reason::Forwarded, Reason::LocalTtl, Reason::OtherHost, Reason::Destination, Reason::SourceRoute] {
        let side = if matches!(reason, Reason::Forwarded | Reason::LocalTtl) { Side::Local } else { Side::Foreign };
        // An orphan: keepalived is frozen, the VIP stays, and somebody makes as if it still spoke.
        let mut bench = Bench::settled_primary(ADV * 3);
        for tick in 1..20 {
            bench.until(ADV * 3 + MS * 500 * tick);
            if tick >= 7 {
                bench.advert(Side::Foreign, 50);
            }
            let mac = Some(Mac([2, 0, 0, 0, 0, 7]));
            let (source, at) = (if side == Side::Local { US } else { STRANGER }, bench.now);
            let frame = Frame { side, source, mac, vlan: Some(4), reason, priority: 255, ttl: 255, at };
            bench.input(Input::InvalidFrame(frame));
        }
        assert_eq!(bench.delivered(), [State::Primary, State::Backup], "{reason:?}");
        assert_eq!(bench.raised(), [Kind::ForgedAdvert, Kind::SilentPrimary, Kind::OrphanVip], "{reason:?}");
        let detail = detail(&bench, Kind::ForgedAdvert);
        assert!(detail.contains(&format!("is not genuine: {} (priority 255, TTL 255)", reason.as_str())), "{detail}");
        assert!(detail.contains("from MAC 02:00:00:00:00:07 in VLAN 4; "), "{detail}");
    }
}

#[test]
fn a_local_advert_that_is_not_ours_never_counts() {
    let mut bench = Bench::settled_primary(ADV * 3);
    let mut forwarded = bench.speakers[0].clone();
    forwarded.refused = Some(Reason::Forwarded);
    forwarded.interval = ADV * 255;
    bench.now = bench.now + MS * 100;
    forwarded.at = bench.now;
    bench.speakers.push(forwarded.clone());
    bench.input(Input::Advert(forwarded));
    bench.until(ADV * 5);
    assert_eq!((tx(&bench), bench.raised()), (Tx::Silent, vec![Kind::ForgedAdvert, Kind::SilentPrimary]));
}

#[test]
fn one_advert_that_claims_a_long_interval_is_not_named_for_minutes() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.advert_from(Side::Foreign, STRANGER, 1, ADV * 255, 7);
    bench.advertise(&[Side::Local], 50, ADV * 19);
    assert_eq!((bench.raised(), bench.cleared().len()), (vec![Kind::AdvertIntervalMismatch], 1));
}

#[test]
fn a_crowd_that_is_rejected_does_not_hide_a_peer() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.refused = Some(Reason::Password);
    for last in 10..200 {
        bench.advert_from(Side::Foreign, IpAddr::V4(Ipv4Addr::new(169, 254, 192, last)), 255, ADV, 7);
    }
    bench.refused = None;
    // The peer resigns and another one takes over.
    bench.advert(Side::Foreign, 0);
    bench.until(ADV * 5 + MS * 800);
    bench.advert_from(Side::Foreign, STRANGER, 50, ADV, 7);
    assert_eq!(bench.machine.view(bench.now).evidence.foreign.map(|foreign| foreign.address), Some(STRANGER));
}
