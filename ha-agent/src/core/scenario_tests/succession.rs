//! Who has succeeded whom, who is there at all, and what comes back to us.

use std::time::Duration;

use super::*;
use crate::core::evidence::Tx;
use crate::core::model::Mac;

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 9));

fn details(bench: &Bench, wanted: Kind) -> Vec<String> {
    let details = bench.out.iter().filter_map(|(_, output)| match output {
        O::AnomalyRaised { kind, detail, .. } if *kind == wanted => Some(detail.clone()),
        _ => None,
    });
    details.collect()
}

/// What happens besides, and when.
type Event<'a> = (Duration, &'a dyn Fn(&mut Bench));

/// Plays them until `end`, and sound adverts of priority 1 every half a second beside them.
fn beside_worse_adverts(bench: &mut Bench, end: Duration, events: &[Event<'_>]) {
    let mut worse = bench.elapsed() + MS * 20;
    let mut events = events.iter().peekable();
    while worse <= end {
        while let Some((at, event)) = events.next_if(|(at, _)| *at <= worse) {
            bench.until(*at);
            event(bench);
        }
        bench.until(worse);
        bench.advert_from(Side::Foreign, STRANGER, 1, ADV, 7);
        worse += MS * 500;
    }
    bench.until(end);
}

fn ours(bench: &mut Bench) {
    bench.advert(Side::Local, 50);
}

#[test]
fn a_short_stall_beside_worse_adverts_is_no_succession() {
    let mut bench = Bench::settled_primary(ADV * 3);
    let goes_on: Vec<Event<'_>> = (0..4).map(|tick| (MS * 6700 + ADV * tick, &ours as &dyn Fn(&mut Bench))).collect();
    beside_worse_adverts(&mut bench, ADV * 11, &goes_on);
    assert_eq!(bench.delivered(), [State::Primary]);
    assert!(!bench.raised().contains(&Kind::OrphanVip), "{:?}", bench.raised());
    assert!(bench.raised().contains(&Kind::SilentPrimary), "{:?}", bench.raised());
}

#[test]
fn one_that_begins_during_a_short_stall_has_not_succeeded_either() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 3 + MS * 1700);
    beside_worse_adverts(&mut bench, ADV * 6 + MS * 500, &[]);
    bench.advert(Side::Local, 50);
    beside_worse_adverts(&mut bench, ADV * 8, &[]);
    assert_eq!(bench.delivered(), [State::Primary]);
}

#[test]
fn a_true_successor_is_told_as_soon_as_without_worse_adverts() {
    let mut told = Vec::new();
    for noisy in [false, true] {
        let mut bench = Bench::settled_primary(ADV * 3);
        // Priority 40, VRRPv2: its time is over 3.844 s after our last advert.
        let begins = ADV * 3 + MS * 3845;
        let successor = |bench: &mut Bench| bench.advert(Side::Foreign, 40);
        let adverts: Vec<Event<'_>> =
            (0..4).map(|tick| (begins + ADV * tick, &successor as &dyn Fn(&mut Bench))).collect();
        if noisy {
            beside_worse_adverts(&mut bench, ADV * 11, &adverts);
        } else {
            for (at, advert) in &adverts {
                bench.until(*at);
                advert(&mut bench);
            }
        }
        let (at, transition) = bench.last_confirmed();
        told.push((at, transition.state));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].1, State::Backup);
    assert!(told[0].0 <= ADV * 3 + MS * 4900, "{told:?}: one interval after it began");
}

#[test]
fn one_that_missed_our_last_advert_succeeds_but_nobody_does_before_its_time_is_over() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 3 + MS * 2845);
    bench.advertise(&[Side::Foreign], 40, ADV * 8);
    let (at, transition) = bench.last_confirmed();
    assert_eq!(transition.state, State::Backup);
    assert!(at >= ADV * 3 + MS * 3840 && at <= ADV * 3 + MS * 4000, "{at:?}");
}

#[test]
fn a_worse_one_from_before_is_the_master_at_last() {
    // Both spoke: the worse half of a split brain is deaf. Ours is frozen, for good.
    let mut bench = Bench::settled_primary(ADV * 3);
    for tick in 3..17 {
        bench.until(ADV * tick);
        if tick <= 6 {
            bench.advert(Side::Local, 50);
        }
        bench.advert(Side::Foreign, 40);
    }
    let (at, transition) = bench.last_confirmed();
    assert_eq!(transition.state, State::Backup);
    assert!(at > ADV * 13 && at < ADV * 15, "{at:?}: twice the master-down interval");
}

#[test]
fn whoever_comes_after_a_resignation_or_a_better_one_has_succeeded() {
    for priority in [0, 60] {
        let mut bench = Bench::settled_primary(ADV * 3);
        if priority == 0 {
            bench.advert(Side::Local, 0);
        } else {
            bench.until(ADV * 3 + MS);
            bench.advert(Side::Foreign, priority);
        }
        bench.input(Input::Vip(Vip::Absent));
        bench.until(ADV * 4);
        if priority > 0 {
            bench.advert(Side::Foreign, 0);
        }
        // The VIP is set by hand while a worse one, which need not wait, is the master.
        bench.input(Input::Vip(Vip::Present));
        bench.until(ADV * 4 + MS * 100);
        for tick in 0..5 {
            bench.until(ADV * 4 + MS * 900 + ADV * tick);
            bench.advert_from(Side::Foreign, STRANGER, 40, ADV, 7);
        }
        let raised = bench.out.iter().find(|(_, o)| matches!(o, O::AnomalyRaised { kind: Kind::OrphanVip, .. }));
        let at = raised.map(|(at, _)| *at);
        assert!(at.is_some_and(|at| at <= ADV * 6 + MS * 300), "{priority}: {at:?} {:?}", bench.raised());
    }
}

#[test]
fn rejected_adverts_explain_a_silence_whoever_worse_spoke_before() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.advert_from(Side::Foreign, STRANGER, 1, ADV, 7);
    for tick in 1..16_u32 {
        bench.until(ADV * 3 + MS * 200 * tick);
        bench.refused = (tick % 5 != 0).then_some(Reason::Ttl);
        bench.advert_from(Side::Foreign, STRANGER, 1, ADV, 7);
    }
    let tx = bench.machine.view(bench.now).evidence.tx.state;
    assert_eq!((tx, bench.delivered()), (Tx::Delayed, vec![State::Primary]));
}

/// A backup of VRRPv3 hears its master until `end`.
fn backup_of_version_3(end: Duration) -> Bench {
    let mut bench = Bench::new(None);
    bench.version = 3;
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, end);
    bench
}

fn no_primary_at(bench: &Bench) -> Option<Duration> {
    let raised = |o: &O| matches!(o, O::AnomalyRaised { kind: Kind::NoPrimary, .. });
    bench.out.iter().find(|(_, o)| raised(o)).map(|(at, _)| *at)
}

#[test]
fn one_worse_advert_that_claims_a_long_interval_hides_no_time_without_primary() {
    for own in [false, true] {
        for before in [MS * 4500, MS * 5400] {
            let mut bench = backup_of_version_3(ADV * 4);
            if own {
                // We were master once, and gave way.
                bench.advert(Side::Local, 45);
            }
            bench.until(before);
            bench.advert_from(Side::Foreign, STRANGER, 1, MS * 40_950, 7);
            if before < ADV * 5 {
                bench.until(ADV * 5);
                bench.advert(Side::Foreign, 50);
            }
            bench.until(ADV * 30);
            // 1.5 of our own intervals after the last sign of anybody.
            let due = before.max(if before < ADV * 5 { ADV * 5 } else { ADV * 4 }) + MS * 1500;
            let at = no_primary_at(&bench);
            assert!(at.is_some_and(|at| at >= due && at <= due + MS * 260), "{own} {before:?}: {at:?}");
            assert!(!bench.cleared().contains(&Kind::NoPrimary), "nobody comes");
        }
    }
}

#[test]
fn one_that_repeats_its_claim_hides_no_more_than_it_keeps_to() {
    let mut bench = backup_of_version_3(ADV * 4);
    for tick in 0..4 {
        bench.until(ADV * 4 + MS * 300 * tick);
        bench.advert_from(Side::Foreign, STRANGER, 1, MS * 40_950, 7);
    }
    bench.until(ADV * 10);
    assert!(no_primary_at(&bench).is_some_and(|at| at < ADV * 7), "{:?}", bench.raised());
}

#[test]
fn a_worse_master_that_keeps_its_interval_is_one() {
    // nopreempt or preempt_delay: we are better, and rightly wait.
    let mut bench = backup_of_version_3(ADV * 4);
    bench.advert(Side::Local, 60);
    bench.until(ADV * 5);
    for tick in 0..8 {
        bench.until(ADV * 5 + ADV * 3 * tick);
        bench.advert_from(Side::Foreign, STRANGER, 40, ADV * 3, 7);
    }
    // Between the first two the longer interval is not known; later it is.
    let raised = bench.raised().iter().filter(|kind| **kind == Kind::NoPrimary).count();
    let cleared = bench.cleared().iter().filter(|kind| **kind == Kind::NoPrimary).count();
    assert_eq!((raised, cleared), (1, 1), "{:?}", bench.out);
    // With our own interval, never.
    let mut bench = backup_of_version_3(ADV * 4);
    bench.advert(Side::Local, 60);
    for tick in 1..9 {
        bench.until(ADV * 4 + ADV * tick);
        bench.advert_from(Side::Foreign, STRANGER, 40, ADV, 7);
    }
    assert_eq!(no_primary_at(&bench), None);
}

#[test]
fn a_better_master_of_version_3_is_waited_for_as_long_as_it_says() {
    let mut bench = backup_of_version_3(ADV * 4);
    bench.advert(Side::Local, 40);
    bench.until(MS * 4500);
    bench.advert_from(Side::Foreign, STRANGER, 60, ADV * 10, 7);
    bench.until(ADV * 14);
    assert_eq!(no_primary_at(&bench), None);
}

#[test]
fn whoever_only_resigns_is_no_master() {
    // A stranger, and somebody with the dead master's own address and MAC.
    for source in [STRANGER, THEM] {
        let mut bench = backup_of_version_3(ADV * 6);
        for tick in 1..8 {
            bench.until(ADV * 6 + MS * 900 * tick);
            bench.advert_from(Side::Foreign, source, 0, ADV, 7);
            let reading = bench.reading();
            bench.input(reading);
        }
        let at = no_primary_at(&bench);
        assert!(at.is_some_and(|at| at <= ADV * 6 + MS * 1810), "{source}: {at:?}");
        assert_eq!(bench.cleared().iter().filter(|kind| **kind == Kind::NoPrimary).count(), 0);
        let named = details(&bench, Kind::ForgedAdvert).iter().any(|detail| detail.contains("stranger_resigned"));
        assert_eq!(named, source == STRANGER);
    }
}

#[test]
fn a_stranger_s_resignation_that_no_record_told_is_named_by_the_reading() {
    let mut bench = backup_of_version_3(ADV * 6);
    bench.advert_from(Side::Foreign, STRANGER, 0, ADV, 7);
    let (mut told, out) = (bench.speakers.clone(), bench.out.len());
    bench.until(ADV * 20);
    bench.speakers.clear();
    bench.out.truncate(out);
    let resigned = told.iter_mut().find(|advert| advert.priority == 0).expect("it is remembered");
    resigned.at = bench.now;
    bench.speakers = told;
    let reading = bench.reading();
    bench.input(reading);
    assert_eq!(details(&bench, Kind::ForgedAdvert).len(), 2, "{:?}", bench.out);
}

#[test]
fn our_own_adverts_that_come_back_are_no_second_master() {
    for reflected_first in [false, true] {
        let mut bench = Bench::settled_primary(ADV * 3);
        bench.takes_own_address = true;
        bench.mac = Some(Mac([2, 0, 0, 0, 0, 1]));
        for tick in 1..8 {
            bench.until(ADV * 3 + ADV * tick);
            let priority = if tick < 5 { 150 } else { 100 };
            let sides = if reflected_first { [Side::Foreign, Side::Local] } else { [Side::Local, Side::Foreign] };
            for side in sides {
                bench.advert_from(side, US, priority, ADV, 7);
                bench.now = bench.now + Duration::from_micros(100);
            }
        }
        assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::ForgedAdvert], vec![State::Primary]));
        assert!(details(&bench, Kind::ForgedAdvert)[0].contains("own_source"), "{:?}", bench.out);
        assert_eq!(bench.machine.view(bench.now).evidence.foreign, None);
        // They end with ours: silent, and nobody has succeeded.
        bench.until(ADV * 20);
        assert_eq!(bench.raised(), [Kind::ForgedAdvert, Kind::SilentPrimary]);
        assert_eq!(bench.delivered(), [State::Primary]);
    }
}

#[test]
fn another_node_with_our_address_is_one_where_it_is_better_or_goes_on_without_us() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.takes_own_address = true;
    bench.until(ADV * 3 + MS * 500);
    bench.advert_from(Side::Foreign, US, 60, ADV, 7);
    assert_eq!(bench.machine.view(bench.now).evidence.tx.state, Tx::Yielded);
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.takes_own_address = true;
    bench.until(ADV * 7);
    for tick in 0..5 {
        bench.until(ADV * 7 + ADV * tick);
        bench.advert_from(Side::Foreign, US, 40, ADV, 7);
    }
    assert!(bench.raised().contains(&Kind::OrphanVip), "{:?}", bench.raised());
}
