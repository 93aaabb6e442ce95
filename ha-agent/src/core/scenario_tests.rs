//! Scenarios as keepalived plays them (facts measured on 2.2.7), on virtual time.

mod channels;
mod crowd;
mod graces;
mod links;
mod modes;
mod refused;
mod sources;
mod succession;
mod vip_goes;

use std::net::{IpAddr, Ipv4Addr};

use super::io::{Input, Output as O, RejectReason};
use super::model::{AnomalyKind as Kind, Channel, Link, Reason, Reporter, Side, State, Vip};
use super::simulation::{ADV, Bench, MS, THEM, US};

#[test]
fn an_unchanged_state_is_delivered_again_after_a_restart() {
    let mut bench = Bench::new(Some(State::Primary));
    bench.start(Vip::Present);
    bench.advertise(&[Side::Local], 50, ADV * 3);
    assert_eq!(bench.delivered(), [State::Primary]);
}

#[test]
fn a_reported_failover_is_confirmed_after_settling() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.until(ADV * 9);
    bench.out.clear();
    bench.advert(Side::Local, 50);
    bench.until(ADV * 9 + MS * 4);
    bench.input(Input::Vip(Vip::Present));
    bench.until(ADV * 9 + MS * 10);
    bench.report(State::Primary);
    bench.until(ADV * 9 + MS * 300);
    let (at, transition) = bench.last_confirmed();
    assert_eq!(transition.basis.to_string(), "report+vip+wire");
    assert_eq!((transition.state, at), (State::Primary, ADV * 9 + MS * 254));
    assert_eq!(transition.latency, MS * 254);
    assert_eq!(bench.delivered(), [State::Primary]);
    assert_eq!(bench.rejected(), []);
}

#[test]
fn backup_after_a_better_advert_needs_no_settling() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 3 + MS);
    bench.advert(Side::Foreign, 60);
    bench.until(ADV * 3 + MS * 2);
    bench.input(Input::Vip(Vip::Absent));
    let (at, transition) = bench.last_confirmed();
    assert_eq!((at, transition.state), (ADV * 3 + MS * 2, State::Backup));
    bench.report(State::Backup);
    bench.until(ADV * 4);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup]);
    assert_eq!(bench.raised(), []);
}

#[test]
fn netlink_before_the_wire_is_joined() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 3 + MS * 8);
    bench.advert(Side::Local, 0);
    bench.until(ADV * 4);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup]);
    assert_eq!(bench.raised(), []);
}

#[test]
fn a_spoofed_primary_is_rejected_after_settling() {
    let mut bench = Bench::settled_backup(ADV * 4);
    bench.report(State::Primary);
    bench.advertise(&[Side::Foreign], 50, ADV * 6);
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::Contradicted)]);
    let at = bench.out.iter().find(|(_, o)| matches!(o, O::Rejected { .. })).map(|(at, _)| *at);
    assert_eq!(at, Some(ADV * 4 + MS * 250));
    assert_eq!(bench.delivered(), [State::Backup]);
}

#[test]
fn a_spoofed_backup_is_rejected_and_the_truth_stays() {
    let mut bench = Bench::settled_primary(ADV * 4);
    bench.report(State::Backup);
    bench.advertise(&[Side::Local], 50, ADV * 6);
    assert_eq!(bench.rejected(), [(State::Backup, RejectReason::Contradicted)]);
    assert_eq!(bench.delivered(), [State::Primary]);
}

#[test]
fn a_spoof_hidden_behind_a_true_claim_is_still_told() {
    let mut bench = Bench::settled_backup(ADV * 4);
    bench.report(State::Primary);
    bench.until(ADV * 4 + MS * 100);
    bench.report(State::Backup);
    bench.advertise(&[Side::Foreign], 50, ADV * 6);
    assert_eq!((bench.superseded(), bench.delivered()), (1, vec![State::Backup]));
}

#[test]
fn a_flap_within_the_settle_time_is_one_superseded_and_nothing_is_delivered() {
    for reported in [false, true] {
        let mut bench = Bench::settled_backup(ADV * 5);
        bench.until(ADV * 9);
        bench.out.clear();
        bench.advert(Side::Local, 50);
        bench.input(Input::Vip(Vip::Present));
        if reported {
            bench.report(State::Primary);
        }
        bench.until(ADV * 9 + MS * 100);
        bench.advert(Side::Foreign, 60);
        bench.input(Input::Vip(Vip::Absent));
        bench.until(ADV * 9 + MS * 105);
        if reported {
            bench.report(State::Backup);
        }
        bench.advertise(&[Side::Foreign], 60, ADV * 12);
        assert_eq!((bench.superseded(), bench.delivered()), (1, vec![]), "{reported}: {:?}", bench.out);
        assert_eq!(bench.rejected(), []);
    }
}

#[test]
fn an_unreported_change_waits_for_the_grace_only_where_reports_are_expected() {
    for (expected, wait) in [(true, ADV), (false, MS * 250)] {
        let mut bench = Bench::with(None, |policy| policy.reporter_expected = expected);
        bench.start(Vip::Absent);
        bench.advertise(&[Side::Foreign], 50, ADV * 4);
        bench.until(ADV * 8);
        bench.advert(Side::Local, 50);
        bench.input(Input::Vip(Vip::Present));
        bench.advertise(&[Side::Local], 50, ADV * 12);
        let (at, transition) = bench.last_confirmed();
        assert_eq!((transition.state, transition.basis.to_string().as_str()), (State::Primary, "vip+wire"));
        assert_eq!(at, ADV * 8 + wait);
    }
}

#[test]
fn a_frozen_master_is_silent_then_orphaned_and_backup_in_truth() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 7);
    assert_eq!(bench.raised(), [Kind::SilentPrimary]);
    bench.advertise(&[Side::Foreign], 50, ADV * 10);
    assert_eq!(bench.raised(), [Kind::SilentPrimary, Kind::OrphanVip]);
    assert_eq!(bench.cleared(), [Kind::SilentPrimary]);
    let (_, transition) = bench.last_confirmed();
    assert_eq!((transition.state, transition.basis.to_string().as_str()), (State::Backup, "wire"));
    bench.input(Input::Vip(Vip::Absent));
    assert_eq!(bench.cleared(), [Kind::SilentPrimary, Kind::OrphanVip]);
}

#[test]
fn a_vip_added_by_hand_on_a_backup_is_an_orphan_and_changes_nothing() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Foreign], 50, ADV * 8);
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::OrphanVip], vec![State::Backup]));
    bench.input(Input::Vip(Vip::Absent));
    assert_eq!(bench.cleared(), [Kind::OrphanVip]);
}

#[test]
fn adverts_without_a_vip_are_named() {
    let mut bench = Bench::settled_primary(ADV * 3);
    // The next advert leaves within the time to settle.
    bench.until(ADV * 3 + MS * 900);
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 4);
    bench.advertise(&[Side::Local], 50, ADV * 6);
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::MissingVip], vec![State::Primary]));
}

#[test]
fn two_masters_side_by_side_are_a_split_brain_and_the_worse_one_is_not_confirmed() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.out.clear();
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    bench.advertise(&[Side::Local, Side::Foreign], 50, ADV * 9);
    assert_eq!(bench.raised(), [Kind::SplitBrain]);
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::BetterCompetitor)]);
    assert_eq!(bench.delivered(), []);
    // The other one goes: then it is true.
    bench.advertise(&[Side::Local], 50, ADV * 14);
    assert_eq!((bench.cleared(), bench.delivered()), (vec![Kind::SplitBrain], vec![State::Primary]));
}

#[test]
fn a_claim_outdone_by_the_last_advert_is_refused_for_that_reason() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    for tick in 0..8 {
        bench.until(ADV * 5 + ADV * tick / 4 + MS * 10);
        bench.advert_from(
            if tick % 2 == 0 { Side::Local } else { Side::Foreign },
            if tick % 2 == 0 { US } else { THEM },
            50,
            ADV,
            7,
        );
    }
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::BetterCompetitor)]);
}

#[test]
fn a_preemption_is_no_split_brain() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.until(ADV * 5 + MS * 400);
    bench.advert(Side::Local, 60);
    bench.advert(Side::Foreign, 50);
    bench.until(ADV * 5 + MS * 410);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Local], 60, ADV * 9);
    assert_eq!(bench.raised(), []);
    assert_eq!(bench.delivered(), [State::Backup, State::Primary]);
}

#[test]
fn nobody_on_the_wire_is_named_and_cleared() {
    let mut bench = Bench::settled_backup(ADV * 4);
    bench.until(ADV * 6);
    assert_eq!(bench.raised(), [Kind::NoPrimary]);
    bench.advertise(&[Side::Foreign], 50, ADV * 8);
    assert_eq!(bench.cleared(), [Kind::NoPrimary]);
}

#[test]
fn a_graceful_takeover_is_not_a_time_without_primary() {
    let mut bench = Bench::settled_backup(ADV * 4);
    bench.advert(Side::Foreign, 0);
    bench.until(ADV * 4 + MS * 805);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Local], 50, ADV * 7);
    assert_eq!((bench.raised(), bench.delivered()), (vec![], vec![State::Backup, State::Primary]));
}

#[test]
fn a_stranger_that_resigns_and_our_own_address_arriving_are_forged() {
    let stranger = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 9));
    for (source, priority) in [(stranger, 0), (US, 200)] {
        let mut bench = Bench::settled_primary(ADV * 6);
        bench.advert_from(Side::Foreign, source, priority, ADV, 7);
        bench.advertise(&[Side::Local], 50, ADV * 8);
        assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::ForgedAdvert], vec![State::Primary]));
        bench.advertise(&[Side::Local], 50, ADV * 18);
        assert_eq!(bench.cleared(), [Kind::ForgedAdvert]);
    }
}

#[test]
fn another_password_than_ours_is_forged_and_moves_nothing() {
    let stranger = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 9));
    for (side, vip, state) in [(Side::Foreign, Vip::Absent, State::Backup), (Side::Local, Vip::Present, State::Primary)]
    {
        let mut bench = Bench::new(None);
        bench.start(vip);
        bench.advertise(&[side], 50, ADV * 4);
        assert_eq!((bench.raised(), bench.delivered()), (vec![], vec![state]), "ours is no forgery");
        bench.refused = Some(Reason::Password);
        bench.advert_from(Side::Foreign, stranger, 255, ADV, 7);
        assert_eq!(bench.raised(), [Kind::ForgedAdvert]);
        bench.refused = None;
        bench.advertise(&[side], 50, ADV * 20);
        assert_eq!((bench.raised(), bench.cleared()), (vec![Kind::ForgedAdvert], vec![Kind::ForgedAdvert]));
        assert_eq!(bench.delivered(), [state]);
    }
}

#[test]
fn a_forgery_that_no_record_told_is_found_by_the_reading() {
    let mut bench = Bench::new(None);
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, ADV * 4);
    // The kernel side refreshes what goes on and reports nothing.
    bench.speakers[0].refused = Some(Reason::Password);
    bench.speakers[0].at = bench.now;
    bench.until(ADV * 6);
    assert_eq!(bench.raised(), [Kind::ForgedAdvert, Kind::NoPrimary]);
}

#[test]
fn other_addresses_or_another_interval_on_our_vrid_are_told_apart() {
    let cases = [(ADV, 8, vec![Kind::ForeignMaster]), (ADV * 3, 7, vec![Kind::AdvertIntervalMismatch])];
    for (interval, hash, kinds) in cases {
        let mut bench = Bench::settled_primary(ADV * 3);
        bench.advert_from(Side::Foreign, THEM, 40, interval, hash);
        bench.advertise(&[Side::Local], 50, ADV * 4);
        assert_eq!(bench.raised(), kinds);
    }
}

#[test]
fn a_forged_advert_with_a_long_interval_stretches_nothing() {
    let mut bench = Bench::new(None);
    bench.start(Vip::Absent);
    bench.until(MS * 100);
    // keepalived drops a VRRPv2 advert whose interval is not its own.
    bench.advert_from(Side::Foreign, THEM, 255, ADV * 255, 7);
    bench.until(ADV * 2);
    assert_eq!(bench.delivered(), [State::Backup]);
    bench.until(ADV * 5);
    assert_eq!(bench.raised(), [Kind::AdvertIntervalMismatch, Kind::NoPrimary]);
    // Nor does it hold back a takeover that keepalived makes in spite of it.
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Local], 50, ADV * 8);
    assert_eq!(bench.delivered(), [State::Backup, State::Primary]);
}

#[test]
fn a_check_that_differs_delivers_again() {
    let mut bench = Bench::settled_primary(ADV * 3);
    for (seen, count) in [(State::Primary, 1), (State::Backup, 2), (State::Unknown, 3)] {
        bench.input(Input::Check { seen_by_server: seen });
        assert_eq!(bench.delivered(), vec![State::Primary; count]);
    }
}

#[test]
fn many_role_changes_are_flapping_until_they_end() {
    let mut bench = Bench::settled_primary(ADV * 3);
    for round in 0..4 {
        let at = ADV * (4 + round * 3);
        bench.until(at);
        bench.advert(Side::Local, 0);
        bench.input(Input::Vip(Vip::Absent));
        bench.until(at + MS * 900);
        bench.advert(Side::Local, 50);
        bench.input(Input::Vip(Vip::Present));
        bench.until(at + MS * 1800);
        bench.advert(Side::Local, 50);
    }
    assert_eq!(bench.raised(), [Kind::Flapping]);
    bench.advertise(&[Side::Local], 50, ADV * 100);
    assert_eq!(bench.cleared(), [Kind::Flapping]);
}

#[test]
fn a_spoof_that_is_repeated_is_refused_none_the_less() {
    let mut bench = Bench::settled_backup(ADV * 4);
    for tick in 0..10 {
        bench.until(ADV * 4 + MS * 100 * tick);
        bench.report(State::Primary);
    }
    bench.until(ADV * 5);
    let times = bench.out.iter().filter(|(_, o)| matches!(o, O::Rejected { .. })).map(|(at, _)| *at);
    assert_eq!(times.collect::<Vec<_>>()[0], ADV * 4 + MS * 250);
    assert_eq!(bench.delivered(), [State::Backup]);
}
