//! A backup whose keepalived does not listen; and masters that are heard late, at short intervals.

use std::time::Duration;

use super::*;

/// When `keepalived_down` was named, and in which words.
fn down(bench: &Bench) -> Vec<(Duration, String, Option<Listener>)> {
    let raised = |(at, output): &(Duration, O)| match output {
        O::AnomalyRaised { kind: Kind::KeepalivedDown, detail, evidence } => {
            Some((*at, detail.clone(), evidence.listener))
        }
        _ => None,
    };
    bench.out.iter().filter_map(raised).collect()
}

#[test]
fn a_backup_whose_keepalived_is_gone_is_named_and_is_still_a_backup() {
    let mut bench = Bench::new(None);
    bench.listener = Some(Listener::Reading);
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, ADV * 15);
    assert_eq!((bench.raised(), bench.delivered()), (vec![], vec![State::Backup]));
    bench.listener = Some(Listener::Gone);
    bench.advertise(&[Side::Foreign], 50, ADV * 28);
    let [(at, words, listener)] = &down(&bench)[..] else { panic!("{:?}", bench.out) };
    assert!(*at <= ADV * 15 + ADV * 11 + MS, "a look every ten seconds, and one more: {at:?}");
    assert!(words.contains("nobody listens for adverts here"), "{words}");
    assert_eq!(*listener, Some(Listener::Gone));
    assert_eq!(bench.delivered(), [State::Backup]);
    // Its start is reported, so that the end is seen at once.
    bench.listener = Some(Listener::Reading);
    bench.report(State::Backup);
    bench.advertise(&[Side::Foreign], 50, ADV * 30);
    assert_eq!(bench.cleared(), [Kind::KeepalivedDown]);
}

#[test]
fn a_restart_of_a_backups_keepalived_names_nothing() {
    let mut bench = Bench::new(None);
    bench.listener = Some(Listener::Gone);
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, ADV * 2);
    bench.until(ADV * 2 + MS * 600);
    bench.listener = Some(Listener::Reading);
    bench.advertise(&[Side::Foreign], 50, ADV * 15);
    assert_eq!(bench.raised(), []);
}

#[test]
fn one_that_resigned_and_ended_is_told_from_one_that_died() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.listener = Some(Listener::Gone);
    bench.advert(Side::Local, 0);
    bench.input(Input::Vip(Vip::Absent));
    bench.report(State::Backup);
    bench.advertise(&[Side::Foreign], 50, ADV * 8);
    let [(at, words, listener)] = &down(&bench)[..] else { panic!("{:?}", bench.out) };
    assert!(*at <= ADV * 5 + MS * 100 && words.contains("resigned and ended"), "{at:?}: {words}");
    assert_eq!(*listener, Some(Listener::Resigned));
    // It comes back, and dies: nothing of its resignation explains that.
    bench.listener = Some(Listener::Reading);
    bench.report(State::Backup);
    bench.advertise(&[Side::Foreign], 50, ADV * 20);
    bench.listener = Some(Listener::Gone);
    bench.advertise(&[Side::Foreign], 50, ADV * 33);
    assert_eq!(down(&bench).last().map(|(.., listener)| *listener), Some(Some(Listener::Gone)));
    assert_eq!(down(&bench).len(), 2);
}

#[test]
fn a_frozen_backup_is_named_too_and_an_unknown_one_is_not() {
    for (listener, named) in [(Some(Listener::Stalled), true), (None, false), (Some(Listener::Reading), false)] {
        let mut bench = Bench::new(None);
        bench.listener = listener;
        bench.start(Vip::Absent);
        bench.advertise(&[Side::Foreign], 50, ADV * 15);
        assert_eq!(!down(&bench).is_empty(), named, "{listener:?}");
    }
}

#[test]
fn at_short_intervals_a_late_advert_is_no_missing_master() {
    for millis in [10, 20, 50] {
        let interval = MS * millis;
        let them = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 2));
        let mut bench = Bench::with(None, |policy| policy.advert_interval = interval);
        bench.version = 3;
        bench.start(Vip::Absent);
        // A busy machine: every twentieth comes 200 ms late.
        let mut at = Duration::ZERO;
        for advert in 0..400 {
            at += if advert % 20 == 19 { MS * 200 } else { interval };
            bench.until(at);
            bench.advert_from(Side::Foreign, them, 50, interval, 7);
        }
        assert_eq!(bench.raised(), [], "every {millis} ms");
        let last = bench.elapsed();
        bench.until(last + MS * 499);
        assert_eq!(bench.raised(), []);
        bench.until(last + interval + MS * 501);
        assert_eq!(bench.raised(), [Kind::NoPrimary], "every {millis} ms");
    }
}
