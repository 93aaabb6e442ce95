//! What the catalogue of disagreements taught (`tests/tests/scenarios/catalogue` plays it with a real
//! keepalived), on virtual time.

mod addresses;
mod listeners;

use std::net::{IpAddr, Ipv4Addr};

use super::evidence::Tx;
use super::io::{Input, Output as O};
use super::model::{AnomalyKind as Kind, Link, Listener, Side, State, Vip};
use super::simulation::{ADV, Bench, MS, US};

#[test]
fn a_vip_that_goes_with_the_adverts_is_not_missing() {
    // SIGKILL of keepalived's child: the next one removes the VIP and waits for its time.
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 3 + MS * 17);
    bench.input(Input::Vip(Vip::Absent));
    bench.report(State::Backup);
    bench.until(ADV * 4 + ADV / 2 + MS * 2);
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::NoPrimary], vec![State::Primary, State::Backup]));
    bench.until(ADV * 3 + MS * 3600);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    bench.advertise(&[Side::Local], 50, ADV * 9);
    assert_eq!((bench.raised(), bench.cleared()), (vec![Kind::NoPrimary], vec![Kind::NoPrimary]));
    assert_eq!(bench.delivered(), [State::Primary, State::Backup, State::Primary]);
    assert_eq!(bench.rejected(), []);
}

#[test]
fn one_forged_better_advert_leaves_nobody_and_its_sender_is_named() {
    let stranger = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 200));
    let mut bench = Bench::settled_primary(ADV * 4);
    bench.until(ADV * 4 + MS * 500);
    bench.advert_from(Side::Foreign, stranger, 200, ADV, 7);
    bench.until(ADV * 4 + MS * 504);
    bench.input(Input::Vip(Vip::Absent));
    bench.report(State::Backup);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup]);
    bench.until(ADV * 6 + MS * 2);
    let detail = bench.out.iter().find_map(|(_, output)| match output {
        O::AnomalyRaised { kind: Kind::NoPrimary, detail, .. } => Some(detail.clone()),
        _ => None,
    });
    let detail = detail.expect("nobody claims the VIP");
    assert!(detail.contains("169.254.192.200 (priority 200) advertised once, 1500 ms ago"), "{detail}");
    // The master's own time is over: it takes the VIP back.
    bench.until(ADV * 8 + MS * 300);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    bench.advertise(&[Side::Local], 50, ADV * 11);
    assert_eq!(bench.cleared(), [Kind::NoPrimary]);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup, State::Primary]);
}

#[test]
fn a_master_that_is_kept_from_speaking_by_adverts_of_another_interval_stays_one_and_the_interval_is_named() {
    // keepalived 2.2.7 with the longer interval: every advert that it drops puts off its own next one.
    let mut bench = Bench::with(None, |policy| policy.advert_interval = ADV * 2);
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, ADV * 6);
    bench.until(ADV * 6 + MS * 805);
    bench.advert_from(Side::Local, US, 50, ADV * 2, 7);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    bench.until(ADV * 7);
    bench.advertise(&[Side::Foreign], 50, ADV * 14);
    assert_eq!(bench.raised(), [Kind::AdvertIntervalMismatch]);
    assert_eq!(bench.delivered(), [State::Backup, State::Primary]);
    assert_eq!(bench.machine.view(bench.now).evidence.tx.state, Tx::Delayed);
    // An agent that comes only now cannot tell it from one that is frozen: it confirms nothing.
    let mut bench = Bench::with(None, |policy| policy.advert_interval = ADV * 2);
    bench.start(Vip::Present);
    bench.advertise(&[Side::Foreign], 60, ADV * 14);
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::AdvertIntervalMismatch], vec![]));
}

#[test]
fn a_backup_that_never_was_master_tells_a_stranger_from_its_master() {
    let mut bench = Bench::settled_backup(ADV * 3);
    let stranger = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 200));
    for tick in 3..6 {
        bench.until(ADV * tick + MS * 500);
        bench.advert_from(Side::Foreign, stranger, 200, ADV, 8);
        bench.until(ADV * (tick + 1));
        bench.advert(Side::Foreign, 50);
    }
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::ForeignMaster], vec![State::Backup]));
    bench.until(ADV * 6 + MS * 100);
    bench.advert_from(Side::Foreign, stranger, 0, ADV, 8);
    assert_eq!(bench.cleared(), [Kind::ForeignMaster]);
}

#[test]
fn after_a_long_loss_of_the_link_others_are_listened_for_before_nobody_is_master() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.input(Input::Link(Link::Down));
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 7 + MS * 300);
    bench.input(Input::Link(Link::Up));
    bench.until(ADV * 8);
    bench.advertise(&[Side::Foreign], 50, ADV * 10);
    assert_eq!(bench.raised(), []);
    // With nobody there it is said after 1.5 intervals of listening.
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.input(Input::Link(Link::Down));
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 7);
    bench.input(Input::Link(Link::Up));
    bench.until(ADV * 8 + MS * 490);
    assert_eq!(bench.raised(), []);
    bench.until(ADV * 8 + MS * 510);
    assert_eq!(bench.raised(), [Kind::NoPrimary]);
}

#[test]
fn an_orphan_stays_one_until_its_node_is_master() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Foreign], 50, ADV * 7);
    bench.advert(Side::Foreign, 0);
    bench.until(ADV * 7 + MS * 805);
    assert_eq!((bench.raised(), bench.cleared()), (vec![Kind::OrphanVip], vec![]));
    bench.advert(Side::Local, 50);
    bench.report(State::Primary);
    bench.advertise(&[Side::Local], 50, ADV * 9);
    assert_eq!((bench.raised(), bench.cleared()), (vec![Kind::OrphanVip], vec![Kind::OrphanVip]));
    assert_eq!(bench.delivered(), [State::Backup, State::Primary]);
}

#[test]
fn dead_frozen_and_filtered_are_told_apart_by_the_socket() {
    let cases = [
        (Some(Listener::Gone), "keepalived is dead"),
        (Some(Listener::Stalled), "keepalived is frozen, adverts pile up unread"),
        (Some(Listener::Reading), "keepalived reads adverts here, but none of its own leave"),
        (None, "is master"),
    ];
    for (listener, words) in cases {
        let mut bench = Bench::settled_primary(ADV * 3);
        bench.listener = listener;
        bench.until(ADV * 7);
        bench.advertise(&[Side::Foreign], 50, ADV * 10);
        let details: Vec<(Kind, String)> = bench
            .out
            .iter()
            .filter_map(|(_, output)| match output {
                O::AnomalyRaised { kind, detail, .. } => Some((*kind, detail.clone())),
                _ => None,
            })
            .collect();
        assert_eq!(details.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::SilentPrimary, Kind::OrphanVip]);
        assert!(details[1].1.contains(words), "{details:?}");
        assert_eq!(bench.machine.view(bench.now).evidence.listener, listener);
        // Once it is over, what was seen says nothing any more.
        bench.input(Input::Vip(Vip::Absent));
        assert_eq!(bench.machine.view(bench.now).evidence.listener, None);
    }
}
